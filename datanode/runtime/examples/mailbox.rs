//! Nanoseconds per 64-byte message through a mailbox, in batches: once within one thread (the cost of the ring
//! itself) and once between two threads (that, and the cache lines that travel), as one JSON line per round.
//!
//! `cargo run --release -p duet-runtime --example mailbox [MESSAGES] [BATCH] [ROUNDS]`

#![allow(clippy::unwrap_used, reason = "an example that cannot go on panics")]

use duet_runtime::{MailboxReceiver, MailboxSender, mailbox};
use std::time::Instant;

const CAPACITY: usize = 1024;
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
             \"one_thread_ns\":{one:.2},\"two_threads_ns\":{two:.2}}}",
            size_of::<Message>()
        );
    }
}

/// Pushes and drains batch after batch in this thread.
fn one_thread(messages: u64, batch: u64) -> f64 {
    let (mut sender, mut receiver) = mailbox(CAPACITY);
    let start = Instant::now();
    let mut sum = 0;
    let mut sent = 0;
    while sent < messages {
        let end = messages.min(sent + batch);
        send_range(&mut sender, sent, end);
        sent = end;
        while receive(&mut receiver, batch, &mut sum) > 0 {}
    }
    finish(start, messages, sum)
}

/// Pushes in a second thread and drains in this one, each on a CPU of its own if there are two.
fn two_threads(messages: u64, batch: u64) -> f64 {
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    let (mut sender, mut receiver) = mailbox(CAPACITY);
    std::thread::scope(|scope| {
        let sending_cpu = cpus.first().copied();
        let receiving_cpu = cpus.get(1).copied();
        let (started, start) = std::sync::mpsc::sync_channel(1);
        scope.spawn(move || {
            let _ = sending_cpu.map(core_affinity::set_for_current);
            started.send(Instant::now()).unwrap();
            let mut sent = 0;
            while sent < messages {
                let end = messages.min(sent + batch);
                send_range(&mut sender, sent, end);
                sent = end;
            }
        });
        let receiving = scope.spawn(move || {
            let _ = receiving_cpu.map(core_affinity::set_for_current);
            let start = start.recv().unwrap();
            let (mut sum, mut received) = (0, 0);
            while received < messages {
                let count = receive(&mut receiver, batch, &mut sum);
                if count == 0 {
                    wait_a_little();
                }
                received += count;
            }
            finish(start, messages, sum)
        });
        receiving.join().unwrap()
    })
}

fn send_range(sender: &mut MailboxSender<Message>, from: u64, to: u64) {
    for number in from..to {
        let mut message = [number; 8];
        while let Err(refused) = sender.push(message) {
            message = refused;
            wait_a_little();
        }
    }
    sender.publish();
}

fn receive(receiver: &mut MailboxReceiver<Message>, batch: u64, sum: &mut u64) -> u64 {
    receiver.drain(batch as usize, |message| *sum = sum.wrapping_add(message[0] ^ message[7] ^ message[3]))
        as u64
}

/// Spins a while before it asks whether somebody else wants the CPU.
fn wait_a_little() {
    for _ in 0..64 {
        std::hint::spin_loop();
    }
    std::thread::yield_now();
}

fn finish(start: Instant, messages: u64, sum: u64) -> f64 {
    let elapsed = start.elapsed();
    // Word 0 and word 7 of a message are equal, so what was summed are the numbers of the messages.
    assert_eq!(sum, (0..messages).sum::<u64>(), "a message was lost or changed");
    elapsed.as_nanos() as f64 / messages as f64
}
