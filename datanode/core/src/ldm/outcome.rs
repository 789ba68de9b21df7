//! Outcome records: what became of each transaction, kept beside the rows until the client has the answer.
//!
//! They change only at positions of the fragment's chain, so both replicas hold the same records. A client numbers its
//! transactions in ascending order, so the records of a session form a queue that is almost always appended at its end
//! and freed at its front.

use duet_protocol::ids::{RowVersion, SESSION_LIFE_EPOCHS, TransactionId, session_epoch};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Most unresolved transactions of one session on one fragment.
pub const MAX_RECORDS_PER_SESSION: usize = 65_536;
/// Most sessions that a fragment remembers.
pub const MAX_SESSIONS: usize = 65_536;
/// Epochs that a session may be ahead of this node before its id counts as invented (one minute).
pub const SESSION_AHEAD_EPOCHS: u64 = 6_000;

/// State of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeState {
    /// On its way through the chain at this position.
    InProgress {
        /// Position in the fragment.
        seq: u64,
    },
    /// Committed.
    Committed,
    /// Fenced: it has not happened and never will.
    Aborted,
}

/// What is kept of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Number within the session.
    pub transaction_seq: u64,
    /// State.
    pub state: OutcomeState,
    /// Version of the row that it wrote.
    pub version: RowVersion,
    /// Used bytes of `result`.
    pub result_bytes: u8,
    /// Small result.
    pub result: [u8; 16],
}

/// What is known of a transaction id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it may be executed.
    New,
    /// Its record.
    Recorded(Outcome),
    /// Its record was freed because the client has the answer.
    Resolved,
    /// The session is too old.
    Expired,
    /// The session id was never given out, or the number is 0.
    Invalid,
}

#[derive(Debug, Default)]
struct Session {
    resolved_below: u64,
    records: VecDeque<Outcome>,
}

impl Session {
    fn position(&self, transaction_seq: u64) -> Result<usize, usize> {
        match self.records.back() {
            None => Err(0),
            Some(last) if last.transaction_seq < transaction_seq => Err(self.records.len()),
            Some(_) => self.records.binary_search_by_key(&transaction_seq, |record| record.transaction_seq),
        }
    }

    /// Frees the records below `resolved_below`; their number.
    fn free_below(&mut self, resolved_below: u64) -> usize {
        if resolved_below <= self.resolved_below {
            return 0;
        }
        self.resolved_below = resolved_below;
        let before = self.records.len();
        while self.records.front().is_some_and(|first| first.transaction_seq < resolved_below) {
            self.records.pop_front();
        }
        before - self.records.len()
    }
}

/// The outcome records of one fragment.
#[derive(Debug)]
pub struct OutcomeTable {
    sessions: FxHashMap<u64, Session>,
    records: usize,
    limit: usize,
}

impl OutcomeTable {
    /// An empty table for at most about `limit` records, counted where new transactions are admitted.
    pub fn new(limit: usize) -> OutcomeTable {
        OutcomeTable { sessions: FxHashMap::default(), records: 0, limit }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records
    }

    /// What is known of `id` at a node whose epoch is `epoch`.
    pub fn known(&self, id: TransactionId, epoch: u64) -> Known {
        let opened = session_epoch(id.session);
        if id.session == 0 || id.seq == 0 || opened > epoch + SESSION_AHEAD_EPOCHS {
            return Known::Invalid;
        }
        if opened + SESSION_LIFE_EPOCHS < epoch {
            return Known::Expired;
        }
        let Some(session) = self.sessions.get(&id.session) else { return Known::New };
        if id.seq < session.resolved_below {
            return Known::Resolved;
        }
        match session.position(id.seq) {
            Ok(index) => Known::Recorded(session.records[index]),
            Err(_) => Known::New,
        }
    }

    /// Whether one more record of the session fits, once those below `resolved_below` are freed. A full table must let
    /// such writes in: nothing else frees records before their sessions expire.
    pub fn has_room(&self, session: u64, resolved_below: u64) -> bool {
        let Some(session) = self.sessions.get(&session) else {
            return self.sessions.len() < MAX_SESSIONS && self.records < self.limit;
        };
        let frees = session.records.front().is_some_and(|first| first.transaction_seq < resolved_below);
        frees || (session.records.len() < MAX_RECORDS_PER_SESSION && self.records < self.limit)
    }

    /// Frees the session's records below `resolved_below` and puts `record`, replacing one with the same number.
    pub fn put(&mut self, session: u64, resolved_below: u64, record: Outcome) {
        let session = self.sessions.entry(session).or_default();
        self.records -= session.free_below(resolved_below);
        match session.position(record.transaction_seq) {
            Ok(index) => session.records[index] = record,
            Err(index) => {
                session.records.insert(index, record);
                self.records += 1;
            }
        }
    }

    /// Frees the session's records below `resolved_below`, except those still in progress.
    pub fn free_below(&mut self, session: u64, resolved_below: u64) {
        self.records -= self.sessions.entry(session).or_default().free_below(resolved_below);
    }

    /// Ends the transaction that is in progress under `id`; nothing when its record was freed meanwhile.
    pub fn finish(&mut self, id: TransactionId, state: OutcomeState) {
        let Some(session) = self.sessions.get_mut(&id.session) else { return };
        if let Ok(index) = session.position(id.seq) {
            session.records[index].state = state;
        }
    }

    /// Forgets the record of `id`: its write was refused by the backup and may be tried again.
    pub fn remove(&mut self, id: TransactionId) {
        let Some(session) = self.sessions.get_mut(&id.session) else { return };
        if let Ok(index) = session.position(id.seq) {
            session.records.remove(index);
            self.records -= 1;
        }
    }

    /// Drops sessions that expired well before `epoch`.
    pub fn expire(&mut self, epoch: u64) {
        let records = &mut self.records;
        self.sessions.retain(|id, session| {
            let keep = session_epoch(*id) + SESSION_LIFE_EPOCHS + SESSION_AHEAD_EPOCHS >= epoch;
            if !keep {
                *records -= session.records.len();
            }
            keep
        });
    }

    /// Records and their sessions in a fixed order, for digests.
    pub fn sorted(&self) -> Vec<(u64, u64, Vec<Outcome>)> {
        let mut all: Vec<_> = self
            .sessions
            .iter()
            .map(|(id, session)| (*id, session.resolved_below, session.records.iter().copied().collect()))
            .collect();
        all.sort_by_key(|(id, _, _)| *id);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duet_protocol::ids::session_id;

    fn record(transaction_seq: u64) -> Outcome {
        let version = RowVersion::default();
        Outcome { transaction_seq, state: OutcomeState::Committed, version, result_bytes: 0, result: [0; 16] }
    }

    #[test]
    fn a_full_table_takes_writes_that_free_records() {
        let (session, other) = (session_id(100, 1, 1), session_id(100, 1, 2));
        let mut table = OutcomeTable::new(3);
        for seq in 1..=3 {
            assert!(table.has_room(session, 1));
            table.put(session, 1, record(seq));
        }
        assert!(!table.has_room(session, 1), "nothing would be freed");
        assert!(!table.has_room(other, 9));
        assert!(table.has_room(session, 4), "the session's own records make room");
        table.put(session, 4, record(4));
        assert_eq!(table.len(), 1);
        assert!(table.has_room(other, 0));
    }

    #[test]
    fn records_are_found_freed_and_fenced_out_of_order() {
        let session = session_id(100, 1, 1);
        let id = |seq| TransactionId { session, seq };
        let mut table = OutcomeTable::new(100);
        for seq in [2, 5, 3, 9, 1] {
            assert_eq!(table.known(id(seq), 100), Known::New);
            table.put(session, 0, record(seq));
        }
        assert_eq!(table.known(id(3), 100), Known::Recorded(record(3)));
        assert_eq!(table.known(id(4), 100), Known::New);
        table.put(session, 5, record(10));
        assert_eq!(table.len(), 3);
        assert!(table.has_room(session, 0) && !OutcomeTable::new(0).has_room(session, 0));
        assert_eq!(table.known(id(4), 100), Known::Resolved);
        assert_eq!(table.known(id(5), 100), Known::Recorded(record(5)));
        table.remove(id(5));
        assert_eq!(table.known(id(5), 100), Known::New);
        assert_eq!(table.known(id(7), 101 + SESSION_LIFE_EPOCHS), Known::Expired);
        assert_eq!(
            table.known(TransactionId { session: session_id(99_999, 1, 1), seq: 1 }, 100),
            Known::Invalid
        );
        table.expire(101 + SESSION_LIFE_EPOCHS + SESSION_AHEAD_EPOCHS);
        assert_eq!(table.len(), 0);
    }
}
