//! Looking instead of sleeping, while statements follow each other closely.
//!
//! Each step of a statement (client, gateway, data node, its backup, and back) wakes a process that sleeps, often on another processor, which
//! in a virtual machine takes longer than what it then does. A thread of the gateway that looks for what comes next instead of sleeping spares two or
//! three of these. It looks as long as twice the usual wait and no longer, and only if waits are short; after each look it leaves the
//! processor to whoever else wants it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

/// Mean waits in nanoseconds above which sleeping is better: for the next statement, and for something to happen to one that is under way.
const MOST_THOUGHT: u64 = 60_000;
const MOST_WORK: u64 = 200_000;
/// The least time in nanoseconds that is worth a look.
const LEAST: u64 = 20_000;
/// What a wait counts at most, in nanoseconds: one long wait is forgotten after some short ones.
const LONGEST: u64 = 1_000_000;
/// With more statements under way than this there is work enough, and others want the processor.
const MOST_UNDER_WAY: u64 = 2;

/// What a thread knows of its statements. All of it belongs to that thread; the atomics only make it `Sync`.
#[derive(Debug)]
pub struct Attention {
    start: Instant,
    is_allowed: bool,
    /// When the last statement began or ended.
    at: AtomicU64,
    /// Statements under way.
    under_way: AtomicU64,
    /// Mean times from one beginning or end to the next: with no statement under way before, and with some.
    thought: AtomicU64,
    work: AtomicU64,
    looks: AtomicBool,
    wake: Notify,
}

/// A statement under way; it ends when this is dropped.
#[derive(Debug)]
pub struct UnderWay<'a>(&'a Attention);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.note(|under_way| under_way - 1);
    }
}

fn get(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}

fn put(number: &AtomicU64, value: u64) {
    number.store(value, Ordering::Relaxed);
}

impl Attention {
    /// Of a thread without statements. Where there is one processor only nobody looks.
    pub fn new() -> Attention {
        Attention {
            start: Instant::now(),
            is_allowed: std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1),
            at: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            thought: AtomicU64::new(LONGEST),
            work: AtomicU64::new(LONGEST),
            looks: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// A statement has come.
    pub fn begin(&self) -> UnderWay<'_> {
        self.note(|under_way| under_way + 1);
        UnderWay(self)
    }

    /// A statement has begun or ended.
    fn note(&self, change: impl FnOnce(u64) -> u64) {
        let (now, under_way) = (self.now(), get(&self.under_way));
        let mean = if under_way > 0 { &self.work } else { &self.thought };
        // It moves by an eighth of the way.
        put(mean, (get(mean) * 7 + (now - get(&self.at)).min(LONGEST)) / 8);
        put(&self.at, now);
        put(&self.under_way, change(under_way));
        if self.is_allowed && !self.looks.load(Ordering::Relaxed) && self.is_worth(now) {
            self.wake.notify_one();
        }
    }

    /// Whether to look on at this time.
    fn is_worth(&self, now: u64) -> bool {
        let (mean, most) = match get(&self.under_way) {
            0 => (get(&self.thought), MOST_THOUGHT),
            1..=MOST_UNDER_WAY => (get(&self.work), MOST_WORK),
            _ => return false,
        };
        mean <= most && now - get(&self.at) <= (2 * mean).max(LEAST)
    }

    /// Looks whenever that is worth it; for ever.
    pub async fn look(&self) {
        loop {
            self.wake.notified().await;
            self.looks.store(true, Ordering::Relaxed);
            while self.is_worth(self.now()) {
                std::thread::yield_now();
                // The runtime asks its sockets without a wait.
                tokio::task::yield_now().await;
            }
            self.looks.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used_to(thought: u64, work: u64) -> Attention {
        let attention = Attention::new();
        put(&attention.thought, thought);
        put(&attention.work, work);
        attention
    }

    #[test]
    fn short_waits_are_worth_a_look() {
        let attention = used_to(20_000, 50_000);
        let statement = attention.begin();
        let at = get(&attention.at);
        assert!(attention.is_worth(at + 100_000));
        assert!(!attention.is_worth(at + 100_001), "longer than usual");
        put(&attention.under_way, MOST_UNDER_WAY + 1);
        assert!(!attention.is_worth(at + 1), "work enough");
        put(&attention.under_way, 1);
        drop(statement);
        put(&attention.thought, 20_000);
        let at = get(&attention.at);
        assert!(attention.is_worth(at + 40_000) && !attention.is_worth(at + 40_001));
        put(&attention.thought, MOST_THOUGHT + 1);
        assert!(!attention.is_worth(at + 1), "a client that thinks");
    }

    #[test]
    fn nothing_is_expected_of_what_is_not_known_yet() {
        let attention = Attention::new();
        let statement = attention.begin();
        assert!(!attention.is_worth(attention.now()));
        drop(statement);
        assert!(!attention.is_worth(attention.now()));
    }

    #[test]
    fn waits_are_told_apart_by_whether_a_statement_is_under_way() {
        let attention = used_to(8_000, 16_000);
        let one = attention.begin();
        assert_eq!(get(&attention.work), 16_000);
        let other = attention.begin();
        let work = get(&attention.work);
        assert_ne!(work, 16_000, "the time between two beginnings is one of work");
        let thought = get(&attention.thought);
        drop(one);
        drop(other);
        assert_eq!((get(&attention.thought), get(&attention.under_way)), (thought, 0));
    }
}
