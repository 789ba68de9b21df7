//! Nanoseconds per 64-byte message through a mailbox, in batches: once within one thread (the cost of the ring
//! itself) and once between two threads (that, and the cache lines that travel), as one JSON line per round.
//!
//! Both are medians over spans of 8192 messages, so that they hold on a machine that does other things, too: while one
//! of the two threads is off its CPU, nothing passes. The mean over the whole round is what is left of it then. Between
//! two threads the floor is what the machine takes to move one cache line to the receiver and to take it back for
//! overwriting, which depends on how far apart the two CPUs are.
//!
//! `cargo run --release -p duet-runtime --example mailbox [MESSAGES] [BATCH] [ROUNDS]`

#![allow(clippy::unwrap_used, reason = "an example that cannot go on panics")]

use duet_runtime::{MailboxReceiver, MailboxSender, mailbox};
use std::time::Instant;

const CAPACITY: usize = 1024;
/// Messages timed together.
const SPAN: u64 = 8192;
type Message = [u64; 8];

fn main() {
    let mut arguments =
        std::env::args().skip(1).map(|text| text.parse::<u64>().expect("arguments are numbers"));
    let messages = arguments.next().unwrap_or(20_000_000);
    let batch = arguments.next().unwrap_or(32).clamp(1, CAPACITY as u64);
    let rounds = arguments.next().unwrap_or(5);
    for _ in 0..rounds {
        let one = one_thread(messages, batch);
        let two = two_threads(messages, batch);
        println!(
            "{{\"example\":\"mailbox\",\"messages\":{messages},\"batch\":{batch},\"message_bytes\":{},\
             \"one_thread_ns\":{:.2},\"two_threads_ns\":{:.2},\"two_threads_mean_ns\":{:.2}}}",
            size_of::<Message>(),
            one.median_ns,
            two.median_ns,
            two.mean_ns
        );
    }
}

/// Nanoseconds per message.
struct Cost {
    median_ns: f64,
    mean_ns: f64,
}

/// Takes the time of every span of messages.
struct Watch {
    start: Instant,
    span_start: Instant,
    span_messages: u64,
    spans_ns: Vec<f64>,
}

impl Watch {
    fn start(messages: u64) -> Watch {
        let now = Instant::now();
        let spans_ns = Vec::with_capacity((messages / SPAN) as usize + 1);
        Watch { start: now, span_start: now, span_messages: 0, spans_ns }
    }

    fn count(&mut self, messages: u64) {
        self.span_messages += messages;
        if self.span_messages >= SPAN {
            let now = Instant::now();
            let nanoseconds = now.duration_since(self.span_start).as_nanos() as f64;
            self.spans_ns.push(nanoseconds / self.span_messages as f64);
            (self.span_start, self.span_messages) = (now, 0);
        }
    }

    /// Checks that every message came, by the sum of their numbers.
    fn finish(mut self, messages: u64, sum: u64) -> Cost {
        let mean_ns = self.start.elapsed().as_nanos() as f64 / messages as f64;
        assert_eq!(sum, (0..messages).sum::<u64>(), "a message was lost or changed");
        self.spans_ns.sort_by(f64::total_cmp);
        Cost { median_ns: self.spans_ns.get(self.spans_ns.len() / 2).copied().unwrap_or(mean_ns), mean_ns }
    }
}

/// Pushes and drains batch after batch in this thread.
fn one_thread(messages: u64, batch: u64) -> Cost {
    let (mut sender, mut receiver) = mailbox(CAPACITY);
    let mut watch = Watch::start(messages);
    let (mut sum, mut sent) = (0, 0);
    while sent < messages {
        let end = messages.min(sent + batch);
        send_range(&mut sender, sent, end);
        while receive(&mut receiver, batch, &mut sum) > 0 {}
        watch.count(end - sent);
        sent = end;
    }
    watch.finish(messages, sum)
}

/// Pushes in one thread and drains in another, each on a CPU of its own if there are two.
fn two_threads(messages: u64, batch: u64) -> Cost {
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    let (mut sender, mut receiver) = mailbox(CAPACITY);
    std::thread::scope(|scope| {
        let (sending_cpu, receiving_cpu) = (cpus.first().copied(), cpus.get(1).copied());
        scope.spawn(move || {
            let _ = sending_cpu.map(core_affinity::set_for_current);
            let mut sent = 0;
            while sent < messages {
                let end = messages.min(sent + batch);
                send_range(&mut sender, sent, end);
                sent = end;
            }
        });
        let receiving = scope.spawn(move || {
            let _ = receiving_cpu.map(core_affinity::set_for_current);
            while receiver.is_empty() {
                std::hint::spin_loop();
            }
            let mut watch = Watch::start(messages);
            let (mut sum, mut received, mut idle) = (0, 0, 0);
            while received < messages {
                let count = receive(&mut receiver, batch, &mut sum);
                received += count;
                watch.count(count);
                wait_a_little(count == 0, &mut idle);
            }
            watch.finish(messages, sum)
        });
        receiving.join().unwrap()
    })
}

fn send_range(sender: &mut MailboxSender<Message>, from: u64, to: u64) {
    for number in from..to {
        let mut message = [number; 8];
        let mut idle = 0;
        while let Err(refused) = sender.push(message) {
            message = refused;
            wait_a_little(true, &mut idle);
        }
    }
    sender.publish();
}

fn receive(receiver: &mut MailboxReceiver<Message>, batch: u64, sum: &mut u64) -> u64 {
    // All words of a message are equal, so these three together are its number.
    receiver.drain(batch as usize, |message| *sum = sum.wrapping_add(message[0] ^ message[7] ^ message[3]))
        as u64
}

/// Spins a while before it asks whether somebody else wants the CPU.
fn wait_a_little(is_idle: bool, idle: &mut u32) {
    *idle = if is_idle { *idle + 1 } else { 0 };
    if is_idle && idle.is_multiple_of(1024) {
        std::thread::yield_now();
    } else if is_idle {
        std::hint::spin_loop();
    }
}
