//! Rows past their table's time to live: the primary of their fragment deletes them, in bounded slices.
//!
//! A delete is an ordinary write with an id of its own and nobody to answer: it goes through the chain, or through a
//! coordinator where entries of unique indexes go with the row. It expects the version of the row that was seen, so that
//! a row that is written meanwhile stays. The clock is the node's; a row whose event time is NULL never expires.

use crate::interface::LinkId;
use crate::ldm::fragment::{Fragment, row_state};
use crate::ldm::planted::PURGE_WITHOUT_VERSION;
use crate::ldm::write::admit;
use crate::ldm::{Context, Job, LocalDataManager};
use crate::map::{ClusterMap, LocalTable, Role};
use crate::outbox::ReplyTo;
use duet_memory::RowView as ArenaRow;
use duet_protocol::hash::key_hash;
use duet_protocol::ids::{RowVersion, session_id};
use duet_protocol::row::RowView;
use duet_protocol::schema::{TableState, TimeToLive};
use duet_protocol::signal::write::{FLAG_EXPECT_VERSION, OPERATION_DELETE, Write};
use duet_protocol::signal::{Sections, SignalView, append_signal};
use duet_protocol::value::event_time;

/// Time since 1970-01-01 UTC in microseconds.
pub type Microseconds = i64;

/// Index buckets looked at in one slice.
const SLICE_BUCKETS: usize = 512;
/// Rows deleted in one slice, before the last bucket.
const SLICE_ROWS: usize = 512;
/// Least time between the starts of two passes over all tables with a time to live.
const PASS_EVERY: Microseconds = 1_000_000;
/// A pass is followed by a rest this many times as long, so that passes over large tables take little of the processor.
const REST_FACTOR: i64 = 4;
/// Epochs that share a session: with those around it less than the life of a session.
const SESSION_EPOCHS: u64 = 1 << 18;
/// Bits of a transaction number below its epoch. A process that leads a fragment after another one counts higher.
const NUMBER_BITS: u32 = 24;
/// Epochs after which nobody asks what became of a delete: ten seconds.
const RESOLVED_EPOCHS: u64 = 1_000;
/// Nobody waits for the answer.
const NOBODY: ReplyTo = ReplyTo { link: LinkId { slot: u32::MAX, generation: 0 }, request_id: 0 };

/// How far the purge has come.
#[derive(Debug, Default)]
pub(super) struct Purge {
    /// The node's clock; 0 while it is not known.
    now: Microseconds,
    /// Partition, slot of the table, and cursor of the next slice; none between passes.
    place: Option<(usize, usize, u64)>,
    pass_began: Microseconds,
    next_pass: Microseconds,
    /// The last transaction number.
    number: u64,
    /// Rows found by a slice: version, and end of the key in `keys`.
    found: Vec<(RowVersion, usize)>,
    keys: Vec<u8>,
    signal: Vec<u8>,
}

impl Purge {
    /// The place behind this one, where something may expire.
    fn next(map: &ClusterMap, (mut partition, mut slot): (usize, usize)) -> Option<(usize, usize, u64)> {
        while partition < map.partitions.len() {
            while slot < map.tables.len() {
                if map.tables[slot].as_ref().is_some_and(expires) {
                    return Some((partition, slot, 0));
                }
                slot += 1;
            }
            (partition, slot) = (partition + 1, 0);
        }
        None
    }
}

fn expires(table: &LocalTable) -> bool {
    table.time_to_live.is_some() && table.state == TableState::Active
}

/// Whether a row is past its time to live.
fn is_expired(table: &LocalTable, limit: TimeToLive, row: &ArenaRow<'_>, now: Microseconds) -> bool {
    let layout = table.layouts.of_row(row.table_version());
    let view = RowView::new(layout, row.key, row.value);
    let value = view.column(usize::from(limit.event_time_column)).ok();
    let Some(event_time) = value.and_then(|value| event_time(&value)) else { return false };
    let life = i64::try_from(limit.seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    event_time.saturating_add(life) < now
}

impl LocalDataManager {
    /// Tells the node's clock, without which nothing expires.
    pub fn set_wall_clock(&mut self, now: Microseconds) {
        self.purge.now = now;
    }

    /// Whether a pass over tables with a time to live is under way.
    pub(super) fn is_purging(&self) -> bool {
        self.purge.place.is_some()
    }

    /// One slice of a pass, or the start of the next pass.
    pub(super) fn purge(&mut self, context: &mut Context<'_>) {
        let now = self.purge.now;
        if now == 0 || context.stalled || !context.map.is_serving() {
            return;
        }
        let Some((partition, slot, cursor)) = self.purge.place else {
            if now >= self.purge.next_pass {
                self.purge.pass_began = now;
                self.purge.next_pass = now + PASS_EVERY;
                self.purge.place = Purge::next(context.map, (0, 0));
            }
            return;
        };
        let cursor = self.purge_slice(context, partition, slot, cursor);
        self.purge.place = match cursor {
            Some(cursor) => Some((partition, slot, cursor)),
            None => Purge::next(context.map, (partition, slot + 1)),
        };
        if self.purge.place.is_none() {
            let rest = (now - self.purge.pass_began).max(0).saturating_mul(REST_FACTOR);
            self.purge.next_pass = (self.purge.pass_began + PASS_EVERY).max(now.saturating_add(rest));
        }
    }

    /// Deletes expired rows of a few buckets; where to go on in this fragment of the table, if there is more.
    fn purge_slice(
        &mut self,
        context: &mut Context<'_>,
        partition: usize,
        slot: usize,
        start: u64,
    ) -> Option<u64> {
        let table = context.map.tables.get(slot)?.as_ref().filter(|table| expires(table))?;
        let limit = table.time_to_live?;
        let fragment = self.fragments.get(partition)?.as_ref()?;
        if !matches!(fragment.role, Role::Primary { .. }) || fragment.warming {
            return None;
        }
        let (now, planted) = (self.purge.now, context.planted_bug == PURGE_WITHOUT_VERSION);
        let (mut found, mut keys) =
            (std::mem::take(&mut self.purge.found), std::mem::take(&mut self.purge.keys));
        found.clear();
        keys.clear();
        let mut cursor = Some(start);
        for _ in 0..SLICE_BUCKETS {
            let Some(position) = cursor.filter(|_| found.len() < SLICE_ROWS) else { break };
            cursor = fragment.tables[slot].rows.scan_step(&self.arena, position, |handle| {
                let row = self.arena.row(handle);
                // Whoever holds a row may be about to give it a new event time; the next pass sees it.
                let free =
                    row.state() == row_state::COMMITTED || (planted && row.state() == row_state::LOCKED);
                if free && is_expired(table, limit, &row, now) {
                    keys.extend_from_slice(row.key);
                    found.push((RowVersion { epoch: row.epoch(), seq: row.sequence() }, keys.len()));
                }
            });
        }
        let version = table.layouts.newest();
        let mut begin = 0;
        for (seen, end) in &found {
            let key = &keys[std::mem::replace(&mut begin, *end)..*end];
            if !self.purge_row(context, partition, (slot, table.id, version), key, *seen) {
                // No room in the chain: the rows from here on are found again.
                cursor = Some(start);
                break;
            }
        }
        (self.purge.found, self.purge.keys) = (found, keys);
        cursor
    }

    /// Begins the delete of a row; false when the chain takes no more for now.
    fn purge_row(
        &mut self,
        context: &mut Context<'_>,
        partition: usize,
        (slot, table, table_version): (usize, u32, u16),
        key: &[u8],
        seen: RowVersion,
    ) -> bool {
        let Some(fragment) = self.fragments[partition].as_mut() else { return true };
        let opened = opened_at(context.epoch);
        let session = session_of(context, fragment);
        let resolved_below = context.epoch.saturating_sub(RESOLVED_EPOCHS).max(opened) << NUMBER_BITS;
        if admit(context, fragment, Some((session, resolved_below))).is_err() {
            return false;
        }
        self.purge.number = (self.purge.number + 1).max((context.epoch << NUMBER_BITS) + 1);
        let planted = context.planted_bug == PURGE_WITHOUT_VERSION;
        let body = Write {
            table: table.into(),
            table_version: table_version.into(),
            operation: OPERATION_DELETE,
            flags: if planted { 0 } else { FLAG_EXPECT_VERSION },
            session: session.into(),
            seq: self.purge.number.into(),
            resolved_below: resolved_below.into(),
            expected_epoch: seen.epoch.into(),
            expected_seq: seen.seq.into(),
        };
        let mut bytes = std::mem::take(&mut self.purge.signal);
        bytes.clear();
        append_signal(&mut bytes, 0, 0, &body, Sections::two(key, &[]));
        if let Some((signal, _)) = SignalView::split_again(&bytes) {
            let partition = partition as u16;
            let job = Job { signal, reply: NOBODY, partition, table: slot, hash: key_hash(key) };
            context.counters.rows_purged += 1;
            self.write(context, &job, None);
        }
        self.purge.signal = bytes;
        true
    }
}

/// Whether a session is that of the deletes of expired rows of this fragment.
#[cold]
pub(super) fn is_of_purge(context: &Context<'_>, fragment: &Fragment, session: u64) -> bool {
    session == session_of(context, fragment)
}

/// When the session of this time was opened.
fn opened_at(epoch: u64) -> u64 {
    epoch - epoch % SESSION_EPOCHS
}

/// The session of these deletes at this time.
fn session_of(context: &Context<'_>, fragment: &Fragment) -> u64 {
    session_id(opened_at(context.epoch), context.out.identity.sender.node, session_counter(fragment))
}

/// Sessions that nodes open for clients count from below.
fn session_counter(fragment: &Fragment) -> u16 {
    u16::MAX - fragment.partition
}
