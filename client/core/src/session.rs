//! Sessions and the dense transaction numbers in them (PROTOCOL.md §1, counterexample 16).

use crate::interface::{MILLISECOND, Nanoseconds, SECOND};
use duet_protocol::ids::TransactionId;
use std::collections::VecDeque;

/// Numbers of a session that may be unresolved at once, from the lowest unresolved one.
pub(crate) const WINDOW: u64 = 65_536;
/// Sessions kept until their writes are resolved; beyond it the oldest is given up.
const MAX_SESSIONS: usize = 8;
/// Age at which a new session is opened.
const RENEW_AFTER: Nanoseconds = 50 * 60 * SECOND;
/// Age at which a session takes no new writes, so that a write and its retries end before the node forgets it.
const UNUSABLE_AFTER: Nanoseconds = 55 * 60 * SECOND;
/// First and longest wait before another try to open a session.
pub(crate) const RETRY_FIRST: Nanoseconds = 5 * MILLISECOND;
pub(crate) const RETRY_LAST: Nanoseconds = 500 * MILLISECOND;

/// A session and which of its numbers are resolved.
#[derive(Debug)]
struct Session {
    id: u64,
    asked_at: Nanoseconds,
    /// The next number to give out.
    next: u64,
    /// The lowest number that is not resolved.
    resolved_below: u64,
    /// One bit per number of the window, by number modulo [`WINDOW`]: resolved out of order.
    resolved: Vec<u64>,
    expired: bool,
}

impl Session {
    fn new(id: u64, asked_at: Nanoseconds) -> Session {
        let resolved = vec![0; (WINDOW / 64) as usize];
        Session { id, asked_at, next: 1, resolved_below: 1, resolved, expired: false }
    }

    fn bit(&mut self, number: u64) -> (&mut u64, u64) {
        let position = number % WINDOW;
        (&mut self.resolved[(position / 64) as usize], 1 << (position % 64))
    }

    fn allot(&mut self) -> Option<u64> {
        if self.next - self.resolved_below >= WINDOW {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    fn resolve(&mut self, number: u64) {
        assert!(number < self.next, "a number that was never given out cannot be resolved");
        if number < self.resolved_below {
            return;
        }
        let (word, mask) = self.bit(number);
        *word |= mask;
        while self.resolved_below < self.next {
            let lowest = self.resolved_below;
            let (word, mask) = self.bit(lowest);
            if *word & mask == 0 {
                break;
            }
            *word &= !mask;
            self.resolved_below += 1;
        }
    }

    fn is_idle(&self) -> bool {
        self.resolved_below == self.next
    }
}

/// The current session, those that end, and the one that is being opened.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// Oldest first; the last one takes new writes.
    list: VecDeque<Session>,
    /// The request to open one: its id, its endpoint and when it was sent.
    pub(crate) request: Option<(u64, usize, Nanoseconds)>,
    /// Whether one should be opened.
    pub(crate) wanted: bool,
    pub(crate) retry_at: Nanoseconds,
    pub(crate) tries: u32,
}

impl Sessions {
    /// A number for a new write; `None` when a session must be opened or the window is full.
    pub(crate) fn allot(&mut self, now: Nanoseconds) -> Option<TransactionId> {
        let Some(session) = self.list.back_mut() else {
            self.wanted = true;
            return None;
        };
        let age = now.saturating_sub(session.asked_at);
        self.wanted |= age >= RENEW_AFTER || session.expired;
        if age >= UNUSABLE_AFTER || session.expired {
            return None;
        }
        match session.allot() {
            Some(seq) => Some(TransactionId { session: session.id, seq }),
            None => {
                // One write that stays unknown must not stop the others.
                self.wanted = true;
                None
            }
        }
    }

    /// Whether [`Sessions::allot`] would succeed.
    pub(crate) fn has_room(&self, now: Nanoseconds) -> bool {
        self.list.back().is_some_and(|session| {
            !session.expired
                && now.saturating_sub(session.asked_at) < UNUSABLE_AFTER
                && session.next - session.resolved_below < WINDOW
        })
    }

    /// The lowest unresolved number of a session.
    pub(crate) fn resolved_below(&self, session: u64) -> u64 {
        self.list.iter().rev().find(|known| known.id == session).map_or(0, |known| known.resolved_below)
    }

    /// The write is resolved for this client.
    pub(crate) fn resolve(&mut self, transaction: TransactionId) {
        let last = self.list.len().wrapping_sub(1);
        let Some(index) = self.list.iter().rposition(|session| session.id == transaction.session) else {
            return;
        };
        self.list[index].resolve(transaction.seq);
        if index != last && self.list[index].is_idle() {
            self.list.remove(index);
        }
    }

    /// A session is opened; it takes the new writes.
    pub(crate) fn opened(&mut self, id: u64, asked_at: Nanoseconds) {
        self.wanted = false;
        self.tries = 0;
        if self.list.iter().any(|session| session.id == id) {
            return;
        }
        self.list.retain(|session| !session.is_idle());
        if self.list.len() >= MAX_SESSIONS {
            self.list.pop_front();
        }
        self.list.push_back(Session::new(id, asked_at));
    }

    /// The nodes say that a session is too old.
    pub(crate) fn expire(&mut self, id: u64) {
        for session in self.list.iter_mut().filter(|session| session.id == id) {
            session.expired = true;
        }
    }

    /// Numbers given out and not resolved, of all sessions.
    pub(crate) fn unresolved(&self) -> u64 {
        self.list.iter().map(|session| session.next - session.resolved_below).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_window_asks_for_another_session() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.allot(0), None);
        assert!(sessions.wanted);
        sessions.opened(7, 0);
        for number in 1..=WINDOW {
            assert_eq!(sessions.allot(0), Some(TransactionId { session: 7, seq: number }));
        }
        assert_eq!(sessions.allot(0), None);
        assert!(sessions.wanted && !sessions.has_room(0));
        for number in 2..=WINDOW {
            sessions.resolve(TransactionId { session: 7, seq: number });
        }
        assert_eq!((sessions.resolved_below(7), sessions.has_room(0)), (1, false));
        sessions.opened(8, 0);
        assert_eq!(sessions.allot(0), Some(TransactionId { session: 8, seq: 1 }));
        sessions.resolve(TransactionId { session: 7, seq: 1 });
        assert_eq!(sessions.list.len(), 1, "an old session ends with its last write");
    }

    #[test]
    fn sessions_age() {
        let mut sessions = Sessions::default();
        sessions.opened(7, 0);
        assert!(sessions.allot(RENEW_AFTER - 1).is_some() && !sessions.wanted);
        assert!(sessions.allot(RENEW_AFTER).is_some() && sessions.wanted);
        assert!(sessions.allot(UNUSABLE_AFTER).is_none());
    }

    proptest! {
        /// Whatever the order in which numbers are resolved, `resolved_below` is the lowest unresolved one and never falls.
        #[test]
        fn resolved_below_is_exact(steps in proptest::collection::vec((any::<bool>(), any::<u16>()), 1..400)) {
            let mut sessions = Sessions::default();
            sessions.opened(1, 0);
            let mut open: Vec<u64> = Vec::new();
            let mut given = 0;
            let mut before = 0;
            for (give, pick) in steps {
                if give || open.is_empty() {
                    let id = sessions.allot(0).expect("room");
                    prop_assert_eq!(id.seq, given + 1);
                    given = id.seq;
                    open.push(id.seq);
                } else {
                    let seq = open.swap_remove(usize::from(pick) % open.len());
                    sessions.resolve(TransactionId { session: 1, seq });
                }
                let expected = open.iter().min().copied().unwrap_or(given + 1);
                prop_assert_eq!(sessions.resolved_below(1), expected);
                prop_assert!(expected >= before);
                before = expected;
            }
        }
    }
}
