//! The copy of a fragment to a joining replica: what its primary sends (PROTOCOL.md §2 "Joiner"; the receiver: `copy_in.rs`).
//!
//! From [`CopyBegin`] on the joining replica is the backup of the fragment's chain: every write runs through it, with its whole
//! after-image. What was there before is sent in bounded slices into the *same lane*, each row as it is in the moment in which it is
//! sent, so the order of the lane is the truth and no row can come back that was deleted meanwhile (counterexample 33).
//!
//! | state of a row when its slice comes | what is sent |
//! |---|---|
//! | committed, or held by a transaction that has prepared nothing | the row |
//! | locked by a one-pass write | nothing: the chain has brought its after-image |
//! | changed by what was prepared before `CopyBegin` | the row now, its change when that is committed |
//! | changed by what was prepared since | nothing; the row if that is aborted |
//!
//! [`CopyEnd`] is sent when no transaction of the last two kinds is left, and what was prepared before is also completed: who takes over
//! must be able to tell the other fragments of a transaction that it was committed. It takes a position: when the joining replica has
//! accepted it, it holds what this replica holds.

use crate::ldm::fragment::{Fragment, row_state};
use crate::ldm::lock::Change;
use crate::ldm::participant::State;
use crate::ldm::planted::{CHANGES_NOT_COPIED, DECISIONS_NOT_AWAITED, LATE_COPY, NO_OUTCOMES_COPIED};
use crate::ldm::{Context, LocalDataManager};
use duet_memory::{Arena, RowHandle};
use duet_protocol::ids::TransactionId;
use duet_protocol::signal::Sections;
use duet_protocol::signal::copy_begin::CopyBegin;
use duet_protocol::signal::copy_end::CopyEnd;
use duet_protocol::signal::copy_outcomes::{self, CopiedOutcome, CopyOutcomes};
use duet_protocol::signal::copy_row::CopyRow;
use duet_protocol::signal::prepare_one::{OPERATION_DELETE, OPERATION_PUT};

/// Bytes of rows sent in one burst: about a tenth of a millisecond of work for each side.
const SLICE_BYTES: usize = 16 << 10;
/// Bytes of rows sent between two ticks of 10 ms at most: 100 MB/s, a fifth of a core.
const BYTES_PER_TICK: usize = 1 << 20;
/// Bytes in a lane that the other side has not acknowledged above which no more rows are sent.
const LANE_BYTES: usize = 2 << 20;
/// Outcome records in one signal.
const OUTCOMES_PER_SIGNAL: usize = 512;

/// What a joining replica lacks of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lacks {
    /// Nothing.
    #[default]
    Nothing,
    /// Its changes: they were prepared before.
    Changes,
    /// Rows that it changes, as they are if it does not.
    Rows,
    /// That it is decided: it is committed here, but perhaps not everywhere, and nobody else of the group could tell the others.
    Decision,
}

/// How far the copy of a fragment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Outcome records, behind this number of the session in this slot.
    Outcomes { slot: usize, after: u64 },
    /// Rows of the table in this slot, from this cursor of a full scan.
    Rows { table: usize, cursor: u64 },
    /// All are sent but what transactions have prepared.
    Settling,
    /// The end has this position.
    Ended { position: u64 },
}

/// The copy of a fragment, at its primary.
#[derive(Debug)]
pub struct Copy {
    stage: Stage,
}

impl Copy {
    /// Whether the joining replica has everything once it has accepted up to this position.
    pub fn is_ended_by(&self, upto: u64) -> bool {
        matches!(self.stage, Stage::Ended { position } if position <= upto)
    }
}

/// Planted bug: lane, signal, key and value of a row that is sent a turn later.
type LateRow = (usize, CopyRow, Vec<u8>, Vec<u8>);

/// What the copies of all fragments of a local data manager share, in both directions.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Whether any fragment is being copied from here.
    active: bool,
    /// Fragments that are being copied to here.
    joining: usize,
    /// A row that was copied to here found no memory.
    pub(super) lacks_memory: bool,
    /// Bytes that may be sent before the next tick.
    room: usize,
    /// Whether to look if transactions that are prepared still lack something: once between two ticks.
    look: bool,
    outcomes: Vec<CopiedOutcome>,
    /// Rows of a bucket.
    found: Vec<RowHandle>,
    /// Planted bug: rows that are sent a turn later.
    late: Vec<LateRow>,
}

impl Copies {
    /// Allows more to be sent: call every 10 ms.
    pub(super) fn refill(&mut self) {
        self.room = (self.room + BYTES_PER_TICK).min(2 * BYTES_PER_TICK);
        self.look = true;
    }

    /// A fragment was made, perhaps one that joins.
    pub(super) fn begin_joining(&mut self, joins: bool) {
        self.joining += usize::from(joins);
    }

    /// A fragment that joined has everything.
    pub(super) fn end_joining(&mut self) {
        self.joining -= 1;
    }
}

/// A row, or that there is none, on its way to the joining replica.
struct Sent<'a> {
    table: u32,
    table_version: u16,
    epoch: u64,
    seq: u64,
    key: &'a [u8],
    /// None when it was deleted.
    value: Option<&'a [u8]>,
}

impl LocalDataManager {
    /// Whether a joining replica lacks something of a fragment that is led here.
    pub fn is_copying(&self) -> bool {
        self.copies.active
    }

    /// Whether fragments of this node lack something that their primaries have.
    pub fn is_joining(&self) -> bool {
        self.copies.joining > 0
    }

    /// Whether what is copied to here does not fit the memory.
    pub fn lacks_memory_to_join(&self) -> bool {
        self.copies.lacks_memory
    }

    /// A joining replica is the backup of a fragment from now on.
    pub(super) fn begin_copy(&mut self, context: &mut Context<'_>, partition: u16) {
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        let Some(lane) = fragment.lane else { return };
        let body = CopyBegin {
            partition: partition.into(),
            cfg: fragment.cfg.into(),
            seq: fragment.seq.into(),
            ..CopyBegin::default()
        };
        context.out.send_lane(lane, &body, Sections::none());
        fragment.copy = Some(Box::new(Copy { stage: Stage::Outcomes { slot: 0, after: 0 } }));
        self.copies.active = true;
        for participant in self.participants.of_partition(partition) {
            participant.lacks = match participant.state {
                State::Prepared if context.planted_bug != CHANGES_NOT_COPIED => Lacks::Changes,
                State::Committed if context.planted_bug != DECISIONS_NOT_AWAITED => Lacks::Decision,
                State::Locked | State::Prepared | State::Committed => Lacks::Nothing,
            };
        }
    }

    /// The joining replica has everything of a fragment, or is gone.
    pub(super) fn end_copy(&mut self, partition: u16) {
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        if fragment.copy.take().is_none() {
            return;
        }
        for participant in self.participants.of_partition(partition) {
            participant.lacks = Lacks::Nothing;
        }
        self.copies.active = self.fragments.iter().flatten().any(|fragment| fragment.copy.is_some());
    }

    /// Sends the next slice of what is being copied: at the end of a burst. How much that was, 0 for nothing.
    pub fn copy_slice(&mut self, context: &mut Context<'_>) -> usize {
        if !self.copies.active {
            return 0;
        }
        for (lane, body, key, value) in std::mem::take(&mut self.copies.late) {
            context.out.send_lane(lane, &body, Sections::two(&key, &value));
        }
        let mut left = SLICE_BYTES.min(self.copies.room);
        let before = left;
        for partition in 0..self.fragments.len() {
            let before = left;
            while left > 0 {
                match self.copy_step(context, partition as u16) {
                    Some(bytes) => left = left.saturating_sub(bytes),
                    None => break,
                }
            }
            let lane = self.fragments[partition].as_ref().and_then(|fragment| fragment.lane);
            if let Some(lane) = lane
                && left < before
            {
                context.out.lanes[lane].sent_slice();
            }
        }
        self.copies.room = self.copies.room.saturating_sub(before - left);
        self.copies.look = false;
        before - left
    }

    /// One step of the copy of a fragment: the bytes that it sent, or none when there is nothing to do now.
    fn copy_step(&mut self, context: &mut Context<'_>, partition: u16) -> Option<usize> {
        let fragment = self.fragments[usize::from(partition)].as_mut()?;
        let (lane, stage) = (fragment.lane?, fragment.copy.as_ref()?.stage);
        let ready = context.out.lanes.get(lane).filter(|lane| lane.link.is_some())?;
        if ready.retained_bytes() > LANE_BYTES || !ready.takes_slice() {
            return None;
        }
        let (next, bytes) = match stage {
            Stage::Outcomes { slot, after } => {
                if context.planted_bug == NO_OUTCOMES_COPIED {
                    (Stage::Rows { table: 0, cursor: 0 }, 0)
                } else {
                    fragment.copy_outcomes(context, slot, after, &mut self.copies.outcomes)
                }
            }
            Stage::Rows { table, cursor } => self.copy_rows(context, partition, table, cursor),
            Stage::Settling if !self.copies.look => return None,
            Stage::Settling => {
                let open = |found: &crate::ldm::participant::Participant| found.lacks != Lacks::Nothing;
                if self.participants.of_partition(partition).any(|found| open(found))
                    || !self.copies.late.is_empty()
                {
                    return None;
                }
                // No transaction: only the position counts.
                let none = TransactionId { session: 0, seq: 0 };
                let position = fragment.note(context.epoch, none);
                let body = CopyEnd {
                    partition: partition.into(),
                    cfg: fragment.cfg.into(),
                    position: position.into(),
                    epoch: context.epoch.into(),
                    ..CopyEnd::default()
                };
                context.out.send_lane(lane, &body, Sections::none());
                (Stage::Ended { position }, 0)
            }
            Stage::Ended { .. } => return None,
        };
        let fragment = self.fragments[usize::from(partition)].as_mut()?;
        fragment.copy.as_mut()?.stage = next;
        // Nothing is free, else an empty fragment would be walked through in one burst.
        Some(bytes + 64)
    }

    /// Sends the rows of the next bucket of a table.
    fn copy_rows(
        &mut self,
        context: &mut Context<'_>,
        partition: u16,
        slot: usize,
        cursor: u64,
    ) -> (Stage, usize) {
        let Some(fragment) = &self.fragments[usize::from(partition)] else { return (Stage::Settling, 0) };
        if slot >= fragment.tables.len() {
            return (Stage::Settling, 0);
        }
        let next_table = Stage::Rows { table: slot + 1, cursor: 0 };
        let Some(Some(table)) = context.map.tables.get(slot) else { return (next_table, 0) };
        let (id, mut found, mut bytes) = (table.id, std::mem::take(&mut self.copies.found), 0);
        found.clear();
        let next = fragment.tables[slot].rows.scan_step(&self.arena, cursor, |row| found.push(row));
        for row in &found {
            bytes += self.copy_stored(context, partition, id, *row);
        }
        self.copies.found = found;
        (next.map_or(next_table, |cursor| Stage::Rows { table: slot, cursor }), bytes)
    }

    /// Sends a row as it is stored, unless the joining replica has got or will get it otherwise; the bytes sent.
    fn copy_stored(
        &mut self,
        context: &mut Context<'_>,
        partition: u16,
        table: u32,
        handle: RowHandle,
    ) -> usize {
        let row = self.arena.row(handle);
        match row.state() {
            row_state::COMMITTED => {}
            row_state::HELD => {
                let lock = self.locks.get(row.older().to_u32());
                if lock.change != Change::None
                    && let Some(holder) = lock.holders.first()
                {
                    let participant = self.participants.get_mut(*holder);
                    if participant.state == State::Prepared && participant.lacks != Lacks::Changes {
                        participant.lacks = Lacks::Rows;
                        return 0;
                    }
                }
            }
            _ => return 0,
        }
        self.copy_committed(context, partition, table, handle)
    }

    /// Sends the committed row.
    fn copy_committed(
        &mut self,
        context: &mut Context<'_>,
        partition: u16,
        table: u32,
        handle: RowHandle,
    ) -> usize {
        let LocalDataManager { fragments, arena, copies, .. } = self;
        let Some(fragment) = &fragments[usize::from(partition)] else { return 0 };
        let row = arena.row(handle);
        let sent = Sent {
            table,
            table_version: row.table_version(),
            epoch: row.epoch(),
            seq: row.sequence(),
            key: row.key,
            value: Some(row.value),
        };
        let late = (context.planted_bug == LATE_COPY).then_some(&mut copies.late);
        fragment.send_copy(context, &sent, late)
    }

    /// Sends the change of a row that was prepared before the joining replica was in the chain, and is committed now.
    pub(super) fn copy_change(&mut self, context: &mut Context<'_>, lock: u32, epoch: u64) {
        let lock = self.locks.get(lock);
        let Some(fragment) = &self.fragments[usize::from(lock.place.partition)] else { return };
        let arena: &Arena = &self.arena;
        let value = match lock.change {
            Change::None => return,
            Change::Put(image) => Some(arena.value(image)),
            Change::Delete => None,
        };
        let (table, table_version) = (lock.place.table_id, lock.table_version);
        let sent = Sent { table, table_version, epoch, seq: lock.position, key: arena.key(lock.row), value };
        fragment.send_copy(context, &sent, None);
    }

    /// Sends the rows under these locks as they are, for their changes are aborted.
    pub(super) fn copy_locked_rows(&mut self, context: &mut Context<'_>, locks: &[u32]) {
        for number in locks {
            let lock = self.locks.get(*number);
            let (place, row, change) = (lock.place, lock.row, lock.change);
            if change != Change::None && self.arena.row(row).state() == row_state::HELD {
                self.copy_committed(context, place.partition, place.table_id, row);
            }
        }
    }
}

impl Fragment {
    fn send_copy(
        &self,
        context: &mut Context<'_>,
        sent: &Sent<'_>,
        late: Option<&mut Vec<LateRow>>,
    ) -> usize {
        let Some(lane) = self.lane else { return 0 };
        let body = CopyRow {
            partition: self.partition.into(),
            operation: u16::from(if sent.value.is_some() { OPERATION_PUT } else { OPERATION_DELETE }).into(),
            table: sent.table.into(),
            table_version: sent.table_version.into(),
            cfg: self.cfg.into(),
            epoch: sent.epoch.into(),
            seq: sent.seq.into(),
            ..CopyRow::default()
        };
        let value = sent.value.unwrap_or_default();
        match late {
            Some(late) => late.push((lane, body, sent.key.to_vec(), value.to_vec())),
            None => context.out.send_lane(lane, &body, Sections::two(sent.key, value)),
        }
        sent.key.len() + value.len() + 72
    }

    /// Sends the next outcome records; where to go on, and the bytes sent.
    fn copy_outcomes(
        &mut self,
        context: &mut Context<'_>,
        slot: usize,
        after: u64,
        buffer: &mut Vec<CopiedOutcome>,
    ) -> (Stage, usize) {
        buffer.clear();
        let Some(found) = self.outcomes.copied(slot, after, OUTCOMES_PER_SIGNAL, buffer) else {
            return (Stage::Rows { table: 0, cursor: 0 }, 0);
        };
        if found.session != 0 {
            self.send_outcomes(context, found.session, found.resolved_below, buffer);
        }
        (Stage::Outcomes { slot: found.next_slot, after: found.next_after }, size_of_val(buffer.as_slice()))
    }

    /// Sends the record of a transaction that was prepared before the joining replica was in the chain.
    pub(super) fn copy_outcome(&mut self, context: &mut Context<'_>, transaction: TransactionId) {
        if let Some((resolved_below, outcome)) = self.outcomes.copied_one(transaction) {
            self.send_outcomes(context, transaction.session, resolved_below, &[outcome]);
        }
    }

    fn send_outcomes(
        &self,
        context: &mut Context<'_>,
        session: u64,
        resolved_below: u64,
        outcomes: &[CopiedOutcome],
    ) {
        let Some(lane) = self.lane else { return };
        let body = CopyOutcomes {
            partition: self.partition.into(),
            cfg: self.cfg.into(),
            session: session.into(),
            resolved_below: resolved_below.into(),
            ..CopyOutcomes::default()
        };
        context.out.send_lane(lane, &body, Sections::one(copy_outcomes::section_of(outcomes)));
    }
}
