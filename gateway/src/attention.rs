//! Looking instead of sleeping, while one client alone sends short statements one after the other.
//!
//! Each step of such a statement (client, gateway, data node, its backup, and back) wakes a process that sleeps on another processor, which takes
//! longer than what it then does. A gateway that looks for what comes next instead of sleeping spares two or three of these. It looks as long
//! as twice the usual wait and no longer, and only if waits are short; with two clients at once, on whatever threads, none does, because then
//! processors have others to serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

/// Mean waits in nanoseconds above which sleeping is better: for the next statement, and for the end of one.
const MOST_THOUGHT: u64 = 60_000;
const MOST_WORK: u64 = 200_000;
/// The least time in nanoseconds that is worth a look.
const LEAST: u64 = 20_000;
/// After a statement of another client nobody is alone for so long: 10 ms.
const COMPANY: u64 = 10_000_000;
/// What a wait counts at most, in nanoseconds: one long wait is forgotten after some short ones.
const LONGEST: u64 = 1_000_000;

/// What all threads of a gateway know of its clients together.
#[derive(Debug)]
pub struct Company {
    start: Instant,
    is_allowed: bool,
    /// Who sent the last statement, as far as that was noted.
    client: AtomicU64,
    /// Others were here before this time.
    until: AtomicU64,
}

impl Company {
    /// Nobody yet. Where there is one processor only nobody may look.
    pub fn new() -> Company {
        Company {
            start: Instant::now(),
            is_allowed: std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1),
            client: AtomicU64::new(0),
            until: AtomicU64::new(0),
        }
    }

    /// A client has sent a statement at this time.
    fn note(&self, client: u64, now: u64) {
        // In lasting company not every statement is noted, so that threads do not wait for each other's notes.
        let noted = get(&self.until) > now + COMPANY / 2;
        if !noted && get(&self.client) != client {
            put(&self.client, client);
            self.until.fetch_max(now + COMPANY, Ordering::Relaxed);
        }
    }
}

/// What a thread knows of its clients. All of it belongs to that thread; the atomics only make it `Sync`.
#[derive(Debug)]
pub struct Attention {
    company: Arc<Company>,
    /// When the last statement began or ended.
    at: AtomicU64,
    /// Who sent it.
    client: AtomicU64,
    /// Whether it is under way.
    at_work: AtomicBool,
    /// Mean times from the end of a statement to the beginning of the next, and from there to its end.
    thought: AtomicU64,
    work: AtomicU64,
    looks: AtomicBool,
    wake: Notify,
}

fn get(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}

fn put(number: &AtomicU64, value: u64) {
    number.store(value, Ordering::Relaxed);
}

/// The mean moves by an eighth of the way.
fn average(mean: &AtomicU64, wait: u64) {
    put(mean, (get(mean) * 7 + wait.min(LONGEST)) / 8);
}

impl Attention {
    /// Of a thread with these others.
    pub fn new(company: Arc<Company>) -> Attention {
        Attention {
            company,
            at: AtomicU64::new(0),
            client: AtomicU64::new(0),
            at_work: AtomicBool::new(false),
            thought: AtomicU64::new(LONGEST),
            work: AtomicU64::new(LONGEST),
            looks: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    fn now(&self) -> u64 {
        self.company.start.elapsed().as_nanos() as u64
    }

    /// A statement of a client has come.
    pub fn begins(&self, client: u32) {
        let now = self.now();
        if get(&self.client) == u64::from(client) {
            average(&self.thought, now - get(&self.at));
        } else {
            put(&self.client, client.into());
        }
        self.company.note(client.into(), now);
        put(&self.at, now);
        self.at_work.store(true, Ordering::Relaxed);
        if self.company.is_allowed && !self.looks.load(Ordering::Relaxed) && self.is_worth(now) {
            self.wake.notify_one();
        }
    }

    /// Its answer was sent.
    pub fn ends(&self, client: u32) {
        let at = get(&self.at);
        // In company nobody asks for the time.
        if get(&self.client) == u64::from(client) && get(&self.company.until) <= at {
            let now = self.now();
            average(&self.work, now - at);
            put(&self.at, now);
            self.at_work.store(false, Ordering::Relaxed);
        }
    }

    /// Whether to look on at this time.
    fn is_worth(&self, now: u64) -> bool {
        let (mean, most) = match self.at_work.load(Ordering::Relaxed) {
            true => (get(&self.work), MOST_WORK),
            false => (get(&self.thought), MOST_THOUGHT),
        };
        now >= get(&self.company.until) && mean <= most && now - get(&self.at) <= (2 * mean).max(LEAST)
    }

    /// Looks whenever that is worth it; for ever.
    pub async fn look(&self) {
        loop {
            self.wake.notified().await;
            self.looks.store(true, Ordering::Relaxed);
            while self.is_worth(self.now()) {
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

    #[test]
    fn one_client_with_short_statements_is_worth_a_look() {
        let attention = Attention::new(Arc::new(Company::new()));
        attention.begins(1);
        assert!(!attention.is_worth(attention.now()), "nothing is known yet");
        put(&attention.company.until, 0);
        put(&attention.work, 50_000);
        put(&attention.thought, 20_000);
        let at = get(&attention.at);
        assert!(attention.is_worth(at + 90_000));
        assert!(!attention.is_worth(at + 110_000), "longer than usual");
        attention.ends(1);
        let at = get(&attention.at);
        assert!(get(&attention.thought) == 20_000 && attention.is_worth(at + 30_000));
        put(&attention.thought, MOST_THOUGHT + 1);
        assert!(!attention.is_worth(at + 1), "a client that thinks");
    }

    #[test]
    fn two_clients_are_not_looked_for() {
        let company = Arc::new(Company::new());
        let (one, other) = (Attention::new(Arc::clone(&company)), Attention::new(Arc::clone(&company)));
        for attention in [&one, &other] {
            put(&attention.work, 50_000);
            put(&attention.thought, 20_000);
        }
        one.begins(1);
        put(&company.until, 0);
        let at = get(&one.at);
        assert!(one.is_worth(at + 1));
        other.begins(2);
        assert!(!one.is_worth(at + 1) && !other.is_worth(get(&other.at) + 1), "on two threads");
        put(&company.until, 0);
        one.begins(3);
        put(&company.until, 0);
        one.ends(1);
        assert!(one.at_work.load(Ordering::Relaxed), "the other one's is still under way");
    }
}
