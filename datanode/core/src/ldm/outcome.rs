//! Outcome records: what became of each transaction, kept beside the rows until the client has the answer.
//!
//! They change only at positions of the fragment's chain, so both replicas hold the same records. A client numbers its
//! transactions in ascending order, so the records of a session form a queue that is almost always appended at its end
//! and freed at its front.

use duet_protocol::ids::{RowVersion, SESSION_LIFE_EPOCHS, TransactionId, session_epoch};
use duet_protocol::signal::copy_outcomes::CopiedOutcome;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Most unresolved transactions of one session on one fragment.
pub const MAX_RECORDS_PER_SESSION: usize = 65_536;
/// Most sessions that a fragment remembers.
pub const MAX_SESSIONS: usize = 65_536;
/// Part of a fragment's records for which the deletes of expired rows have room beside all others.
const PURGE_SHARE: usize = 4;
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
    /// 0: the slot is free.
    id: u64,
    resolved_below: u64,
    records: VecDeque<Outcome>,
    /// Records freed or removed so far: a record that was the `n`-th is now the `n - removed`-th, unless one was put or
    /// removed before it.
    removed: u64,
}

impl Session {
    #[inline]
    fn position(&self, transaction_seq: u64) -> Result<usize, usize> {
        match self.records.back() {
            None => Err(0),
            Some(last) if last.transaction_seq < transaction_seq => Err(self.records.len()),
            Some(_) => self.records.binary_search_by_key(&transaction_seq, |record| record.transaction_seq),
        }
    }

    /// Frees the records below `resolved_below`; their number.
    #[inline]
    fn free_below(&mut self, resolved_below: u64) -> usize {
        if resolved_below <= self.resolved_below {
            return 0;
        }
        self.resolved_below = resolved_below;
        let mut freed = 0;
        while self.records.front().is_some_and(|first| first.transaction_seq < resolved_below) {
            self.records.pop_front();
            freed += 1;
        }
        self.removed += freed;
        freed as usize
    }
}

/// A session whose records are copied, and where the copy goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiedSession {
    /// Session; 0 when the slot is free.
    pub session: u64,
    /// The client has the answers of all transactions below.
    pub resolved_below: u64,
    /// The next slot to copy.
    pub next_slot: usize,
    /// Number behind which to go on there.
    pub next_after: u64,
}

/// A record as it is copied; none while it is in progress, for then its chain brings it.
fn copied_outcome(record: &Outcome) -> Option<CopiedOutcome> {
    let committed = match record.state {
        OutcomeState::InProgress { .. } => return None,
        OutcomeState::Committed => 1,
        OutcomeState::Aborted => 0,
    };
    Some(CopiedOutcome {
        transaction_seq: record.transaction_seq.into(),
        epoch: record.version.epoch.into(),
        seq: record.version.seq.into(),
        result: record.result,
        result_bytes: record.result_bytes,
        committed,
        reserved: [0; 6],
    })
}

/// Where a record probably is: a hint, which is compared with the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordPlace(u64);

/// The outcome records of one fragment.
#[derive(Debug)]
pub struct OutcomeTable {
    /// Slot of each session.
    slots: FxHashMap<u64, u32>,
    sessions: Vec<Session>,
    free: Vec<u32>,
    /// The slot that was used last; the requests of a frame are of one session.
    latest: u32,
    records: usize,
    limit: usize,
}

impl OutcomeTable {
    /// An empty table for at most about `limit` records, counted where new transactions are admitted.
    pub fn new(limit: usize) -> OutcomeTable {
        OutcomeTable {
            slots: FxHashMap::default(),
            sessions: Vec::new(),
            free: Vec::new(),
            latest: 0,
            records: 0,
            limit,
        }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records
    }

    /// The slot of a session.
    #[inline]
    fn slot(&mut self, id: u64) -> Option<usize> {
        if self.sessions.get(self.latest as usize).is_none_or(|latest| latest.id != id) {
            self.latest = *self.slots.get(&id)?;
        }
        Some(self.latest as usize)
    }

    /// The session, made if it is not there.
    #[inline]
    fn session(&mut self, id: u64) -> &mut Session {
        let slot = match self.slot(id) {
            Some(slot) => slot,
            None => self.open(id),
        };
        &mut self.sessions[slot]
    }

    #[cold]
    fn open(&mut self, id: u64) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.sessions.push(Session::default());
            (self.sessions.len() - 1) as u32
        });
        self.sessions[slot as usize].id = id;
        self.slots.insert(id, slot);
        self.latest = slot;
        slot as usize
    }

    /// What is known of `id` at a node whose epoch is `epoch`.
    #[inline]
    pub fn known(&mut self, id: TransactionId, epoch: u64) -> Known {
        let opened = session_epoch(id.session);
        if id.session == 0 || id.seq == 0 || opened > epoch + SESSION_AHEAD_EPOCHS {
            return Known::Invalid;
        }
        if opened + SESSION_LIFE_EPOCHS < epoch {
            return Known::Expired;
        }
        let Some(slot) = self.slot(id.session) else { return Known::New };
        let session = &self.sessions[slot];
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
    #[inline]
    pub fn has_room(&mut self, session: u64, resolved_below: u64) -> bool {
        let Some(slot) = self.slot(session) else {
            return self.slots.len() < MAX_SESSIONS && self.records < self.limit;
        };
        let session = &self.sessions[slot];
        let frees = session.records.front().is_some_and(|first| first.transaction_seq < resolved_below);
        frees || (session.records.len() < MAX_RECORDS_PER_SESSION && self.records < self.limit)
    }

    /// As [`Self::has_room`], for a fence, which has as much room again: without it sessions that ask what became of their
    /// transactions could wait for each other's records to be freed, until they expire.
    pub fn has_room_for_fence(&mut self, session: u64, resolved_below: u64) -> bool {
        let of_session = self.slot(session).map_or(0, |slot| self.sessions[slot].records.len());
        self.has_room(session, resolved_below)
            || (of_session < 2 * MAX_RECORDS_PER_SESSION
                && self.slots.len() < MAX_SESSIONS
                && self.records < 2 * self.limit)
    }

    /// As [`Self::has_room`], for the deletes of expired rows, which have some room of their own: rows must not stay for ever because
    /// clients do not ask what became of their transactions.
    pub fn has_room_for_purge(&mut self, session: u64, resolved_below: u64) -> bool {
        let of_session = self.slot(session).map_or(0, |slot| self.sessions[slot].records.len());
        self.has_room(session, resolved_below)
            || (of_session < (self.limit / PURGE_SHARE).clamp(1, MAX_RECORDS_PER_SESSION)
                && self.records < 2 * self.limit)
    }

    /// Frees the session's records below `resolved_below` and puts `record`, replacing one with the same number.
    #[inline]
    pub fn put(&mut self, session: u64, resolved_below: u64, record: Outcome) -> RecordPlace {
        let session = self.session(session);
        let freed = session.free_below(resolved_below);
        let (index, new) = match session.position(record.transaction_seq) {
            Ok(index) => {
                session.records[index] = record;
                (index, 0)
            }
            Err(index) if index == session.records.len() => {
                session.records.push_back(record);
                (index, 1)
            }
            Err(index) => {
                session.records.insert(index, record);
                (index, 1)
            }
        };
        let place = RecordPlace(session.removed + index as u64);
        self.records = self.records - freed + new;
        place
    }

    /// Frees the session's records below `resolved_below`, except those still in progress.
    pub fn free_below(&mut self, session: u64, resolved_below: u64) {
        self.records -= self.session(session).free_below(resolved_below);
    }

    /// Ends the transaction that is in progress under `id`, whose record was put at `place`; nothing when the record was
    /// freed meanwhile.
    #[inline]
    pub fn finish(&mut self, id: TransactionId, place: RecordPlace, state: OutcomeState) {
        let Some(slot) = self.slot(id.session) else { return };
        let session = &mut self.sessions[slot];
        let index = place.0.wrapping_sub(session.removed) as usize;
        if let Some(record) = session.records.get_mut(index)
            && record.transaction_seq == id.seq
        {
            record.state = state;
        } else if let Ok(index) = session.position(id.seq) {
            session.records[index].state = state;
        }
    }

    /// Commits the transaction of several rows that is in progress under `id`, in this epoch.
    pub fn commit(&mut self, id: TransactionId, epoch: u64) {
        let Some(slot) = self.slot(id.session) else { return };
        let session = &mut self.sessions[slot];
        if let Ok(index) = session.position(id.seq) {
            session.records[index].state = OutcomeState::Committed;
            session.records[index].version.epoch = epoch;
        }
    }

    /// Forgets the record of `id`: its write was refused by the backup and may be tried again.
    pub fn remove(&mut self, id: TransactionId) {
        let Some(slot) = self.slot(id.session) else { return };
        let session = &mut self.sessions[slot];
        if let Ok(index) = session.position(id.seq) {
            session.records.remove(index);
            session.removed += 1;
            self.records -= 1;
        }
    }

    /// Drops sessions that expired well before `epoch`.
    pub fn expire(&mut self, epoch: u64) {
        for (slot, session) in self.sessions.iter_mut().enumerate() {
            let keep = session_epoch(session.id) + SESSION_LIFE_EPOCHS + SESSION_AHEAD_EPOCHS >= epoch;
            if session.id != 0 && !keep {
                self.records -= session.records.len();
                self.slots.remove(&session.id);
                self.free.push(slot as u32);
                *session = Session::default();
            }
        }
    }

    /// Decided records of the session in a slot behind a number, at most `most`, appended to `into`; where to go on. None behind the
    /// last slot.
    pub fn copied(
        &self,
        slot: usize,
        after: u64,
        most: usize,
        into: &mut Vec<CopiedOutcome>,
    ) -> Option<CopiedSession> {
        let session = self.sessions.get(slot)?;
        let begin = session.records.partition_point(|record| record.transaction_seq <= after);
        let records = session.records.iter().skip(begin).take(most);
        into.extend(records.filter_map(copied_outcome));
        let last = begin + most;
        let (next_slot, next_after) = match session.records.get(last - 1) {
            Some(record) if last < session.records.len() => (slot, record.transaction_seq),
            _ => (slot + 1, 0),
        };
        let (session, resolved_below) = (session.id, session.resolved_below);
        Some(CopiedSession { session, resolved_below, next_slot, next_after })
    }

    /// The record of a transaction that is decided, and the number below which its session's are freed.
    pub fn copied_one(&mut self, id: TransactionId) -> Option<(u64, CopiedOutcome)> {
        let slot = self.slot(id.session)?;
        let session = &self.sessions[slot];
        let record = session.records.get(session.position(id.seq).ok()?)?;
        Some((session.resolved_below, copied_outcome(record)?))
    }

    /// Adds copied records to what is known of a session, which is at least as new.
    pub fn merge(&mut self, id: u64, resolved_below: u64, copied: &[CopiedOutcome]) {
        let session = self.session(id);
        let freed = session.free_below(resolved_below);
        let mut added = 0;
        for record in copied {
            let transaction_seq = record.transaction_seq.get();
            if transaction_seq < session.resolved_below {
                continue;
            }
            let Err(place) = session.position(transaction_seq) else { continue };
            let state = if record.committed != 0 { OutcomeState::Committed } else { OutcomeState::Aborted };
            let outcome = Outcome {
                transaction_seq,
                state,
                version: RowVersion { epoch: record.epoch.get(), seq: record.seq.get() },
                result_bytes: record.result_bytes,
                result: record.result,
            };
            session.records.insert(place, outcome);
            added += 1;
        }
        self.records = self.records - freed + added;
    }

    fn all(&self) -> impl Iterator<Item = (&Session, &Outcome)> {
        self.sessions.iter().flat_map(|session| session.records.iter().map(move |record| (session, record)))
    }

    /// Number of transactions in progress.
    pub fn in_progress(&self) -> u64 {
        let open = |outcome: &Outcome| matches!(outcome.state, OutcomeState::InProgress { .. });
        self.all().filter(|(_, outcome)| open(outcome)).count() as u64
    }

    /// Number of records that are kept though their clients have the answers.
    pub fn resolved(&self) -> u64 {
        self.all().filter(|(session, outcome)| outcome.transaction_seq < session.resolved_below).count()
            as u64
    }

    /// Records and their sessions in a fixed order, for digests.
    pub fn sorted(&self) -> Vec<(u64, u64, Vec<Outcome>)> {
        let open = self.sessions.iter().filter(|session| session.id != 0);
        let mut all: Vec<_> = open
            .map(|session| (session.id, session.resolved_below, session.records.iter().copied().collect()))
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
        assert!(table.has_room_for_fence(other, 0), "a question has room of its own");
        assert!(table.has_room(session, 4), "the session's own records make room");
        table.put(session, 4, record(4));
        assert_eq!(table.len(), 1);
        assert!(table.has_room(other, 0));
    }

    #[test]
    fn a_full_table_takes_some_deletes_of_expired_rows() {
        let (session, own) = (session_id(100, 1, 1), session_id(100, 1, u16::MAX));
        let mut table = OutcomeTable::new(8);
        for seq in 1..=8 {
            table.put(session, 1, record(seq));
        }
        for seq in 1..=2 {
            assert!(!table.has_room(own, 1) && table.has_room_for_purge(own, 1));
            table.put(own, 1, record(seq));
        }
        assert!(!table.has_room_for_purge(own, 1));
        assert!(table.has_room_for_purge(own, 2), "its own records make room");
        table.put(own, 3, record(3));
        assert!(table.has_room_for_purge(own, 3) && !table.has_room(session, 1));
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

    #[test]
    fn a_record_is_finished_wherever_it_has_moved() {
        let (session, other) = (session_id(100, 1, 1), session_id(100, 1, 2));
        let id = |seq| TransactionId { session, seq };
        let mut table = OutcomeTable::new(100);
        let mut places = Vec::new();
        for seq in [4, 2, 9, 7, 6] {
            let state = OutcomeState::InProgress { seq };
            places.push((seq, table.put(session, 0, Outcome { state, ..record(seq) })));
            table.put(other, seq, record(seq));
        }
        table.put(session, 3, record(12));
        table.remove(id(7));
        for (seq, place) in places {
            table.finish(id(seq), place, OutcomeState::Aborted);
        }
        let aborted = |seq| Known::Recorded(Outcome { state: OutcomeState::Aborted, ..record(seq) });
        assert_eq!(table.known(id(2), 100), Known::Resolved);
        assert_eq!(table.known(id(7), 100), Known::New);
        assert_eq!(table.known(id(12), 100), Known::Recorded(record(12)));
        for seq in [4, 6, 9] {
            assert_eq!(table.known(id(seq), 100), aborted(seq));
        }
        assert_eq!(table.known(TransactionId { session: other, seq: 9 }, 100), Known::Recorded(record(9)));
        // An expired session leaves its slot to the next one.
        table.expire(101 + SESSION_LIFE_EPOCHS + SESSION_AHEAD_EPOCHS);
        let later = session_id(200_000, 1, 1);
        table.put(later, 0, record(1));
        assert_eq!((table.len(), table.sorted().len()), (1, 1));
    }
}
