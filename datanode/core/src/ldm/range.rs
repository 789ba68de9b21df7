//! Scans of ranges: one bounded slice of an ordered index per request, in ascending or descending order.
//!
//! As in full scans the node keeps nothing between requests. The place is an index key and so a value, not a place in a
//! tree: whatever was inserted or removed meanwhile, what is left of the range is what is behind that key. Index keys end
//! with the primary key, so rows with equal columns are told apart (PROTOCOL.md, counterexample 36).

use super::Context;
use super::fragment::row_state;
use super::planted::WRONG_RESUME;
use super::scan::{GROUP_BYTES_PER_WORK, Limits, MAX_ROWS, MAX_WORK, Versions, code_of};
use super::stored::{StoredIndex, StoredTable};
use crate::outbox::ReplyTo;
use duet_memory::{Arena, Position, RowHandle};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::RowVersion;
use duet_protocol::scan_program::{Aggregation, CompiledScan};
use duet_protocol::schema::{IndexState, MAX_KEY_BYTES, PRIMARY_KEY_INDEX};
use duet_protocol::signal::scan::{FLAG_REVERSE, FLAG_WITH_KEYS, Scan};
use duet_protocol::signal::scan_reply::{FLAG_DONE, ScanReply, ScanRow, push_row};
use duet_protocol::signal::{Sections, SignalView};

/// Entries taken from an index at once; their rows are fetched together.
const ENTRIES: usize = 32;
/// Longest bound of a range in bytes: a key of index columns, a primary key, and a zero byte behind it.
const MAX_BOUND_BYTES: usize = 2 * MAX_KEY_BYTES + 64;
/// Work of an entry that is not visible.
const ENTRY_WORK: usize = 1;

/// Why a range is not scanned.
type Refusal = (ErrorCode, String);

/// A request for a slice of a range.
pub(super) struct Range<'a> {
    pub(super) versions: Versions<'a>,
    pub(super) stored: &'a StoredTable,
    pub(super) program: &'a CompiledScan<'a, 'a>,
    pub(super) limits: Limits,
}

/// The entries of a slice, in the order that was asked for.
struct Entries<'arena> {
    range: duet_memory::Range<'arena>,
    reverse: bool,
    taken: [RowHandle; ENTRIES],
    next: usize,
    count: usize,
}

impl Entries<'_> {
    /// The next entry, if any is left; fetches no more than are `wanted`.
    #[inline]
    fn next(&mut self, wanted: u32) -> Option<RowHandle> {
        if self.next == self.count {
            let taken = &mut self.taken[..ENTRIES.min(wanted.max(1) as usize)];
            self.count =
                if self.reverse { self.range.take_back_into(taken) } else { self.range.take_into(taken) };
            self.next = 0;
        }
        let entry = *self.taken[..self.count].get(self.next)?;
        self.next += 1;
        Some(entry)
    }
}

impl<'a> Range<'a> {
    /// Answers the request. The work that it took.
    ///
    /// # Errors
    /// When the index cannot be scanned, or a program's aggregates cannot be computed.
    #[expect(clippy::too_many_arguments, reason = "the parts of the block that scans")]
    pub(super) fn answer(
        &self,
        context: &mut Context<'_>,
        arena: &Arena,
        reply: ReplyTo,
        signal: &SignalView<'_>,
        body: &Scan,
        fragment_seq: u64,
        (scratch, batch): (&mut Vec<u8>, &mut Vec<u8>),
    ) -> Result<usize, Refusal> {
        let index = self.index(body.index.get())?;
        let (from, to) = (signal.section(1), signal.section(2));
        if from.len().max(to.len()) > MAX_BOUND_BYTES {
            return Err((ErrorCode::InvalidScan, format!("bounds have at most {MAX_BOUND_BYTES} bytes")));
        }
        let after = if to.is_empty() { Position::Last } else { Position::Before(to) };
        let mut entries = Entries {
            range: index.range(arena, self.versions.table, Position::Before(from), after),
            reverse: body.flags.get() & FLAG_REVERSE != 0,
            taken: [RowHandle::NULL; ENTRIES],
            next: 0,
            count: 0,
        };
        let with_keys = body.flags.get() & FLAG_WITH_KEYS != 0;
        let (row_count, work, mut last) = match Aggregation::new(self.program) {
            None => self.rows(arena, index, &mut entries, with_keys, scratch, batch),
            Some(groups) => self.aggregates(arena, &mut entries, groups, batch)?,
        };
        if context.planted_bug == WRONG_RESUME && last.is_some() {
            last = entries.next(1).or(last);
        }
        let mut answer = |flags: u32, key: &[u8]| {
            let (row_count, fragment_seq) = (row_count.into(), fragment_seq.into());
            let body = ScanReply { next_cursor: 0.into(), row_count, flags: flags.into(), fragment_seq };
            context.out.reply(reply, &body, Sections::two(batch, key));
        };
        match last {
            Some(last) => index.with_key(arena, self.versions.table, last, |key| answer(0, key)),
            None => answer(FLAG_DONE, &[]),
        }
        Ok(work)
    }

    /// The index with this number, if it can be scanned.
    fn index(&self, id: u32) -> Result<&StoredIndex, Refusal> {
        let described = self.versions.table.index(id).filter(|index| index.state != IndexState::Dropping);
        let (Some(described), Some(stored)) = (described, self.stored.index(id)) else {
            let detail = match id {
                PRIMARY_KEY_INDEX => {
                    format!("table {} has its primary key by hash only", self.versions.table.id)
                }
                _ => format!("table {} has no ordered index {id}", self.versions.table.id),
            };
            return Err((ErrorCode::IndexNotFound, detail));
        };
        if described.state != IndexState::Public {
            return Err((ErrorCode::IndexNotReady, format!("index {id} is still being built")));
        }
        Ok(stored)
    }

    /// Appends the rows that pass, whole or their result columns. Their number, the work that it took, and the entry up to
    /// which they were looked at; none at the end of the range.
    fn rows(
        &self,
        arena: &Arena,
        index: &StoredIndex,
        entries: &mut Entries<'_>,
        with_keys: bool,
        scratch: &mut Vec<u8>,
        batch: &mut Vec<u8>,
    ) -> (u32, usize, Option<RowHandle>) {
        let (row_cost, mut image) = (self.program.row_cost(), Vec::new());
        let (mut rows, mut work, mut last) = (0, 0, None);
        while rows < self.limits.rows && batch.len() < self.limits.bytes && work < MAX_WORK {
            last = entries.next(self.limits.rows - rows);
            let Some(entry) = last else { return (rows, work, None) };
            let row = arena.row(entry);
            work += row_cost;
            if !row_state::is_visible(row.state()) {
                continue;
            }
            let view = self.versions.view(&row);
            if !self.program.matches(view) {
                continue;
            }
            rows += 1;
            image.clear();
            let is_projected = self.program.project(view, &mut image);
            let version = RowVersion { epoch: row.epoch(), seq: row.sequence() };
            let named = self.versions.named;
            let mut push = |key: &[u8], (value, table_version): (&[u8], u16)| {
                push_row(batch, &ScanRow { version, table_version, key, value });
            };
            match (is_projected, with_keys) {
                (false, _) => {
                    let stored = row.table_version();
                    push(row.key, self.versions.table.image_for(row.value, stored, named, scratch));
                }
                (true, false) => push(&[], (&image, named)),
                (true, true) => {
                    index.with_key(arena, self.versions.table, entry, |key| push(key, (&image, named)));
                }
            }
        }
        (rows, work, last)
    }

    /// Appends the partial aggregates of the rows that pass, one row for each group; as [`Range::rows`].
    fn aggregates<'r>(
        &self,
        arena: &'r Arena,
        entries: &mut Entries<'_>,
        mut groups: Aggregation<'r, 'r>,
        batch: &mut Vec<u8>,
    ) -> Result<(u32, usize, Option<RowHandle>), Refusal>
    where
        'a: 'r,
    {
        let row_cost = self.program.row_cost();
        let (mut work, mut last, mut ended) = (0, None, false);
        while groups.bytes() < self.limits.bytes && work < MAX_WORK {
            let Some(entry) = entries.next(MAX_ROWS) else {
                ended = true;
                break;
            };
            last = Some(entry);
            let row = arena.row(entry);
            work += row_cost.max(ENTRY_WORK);
            if !row_state::is_visible(row.state()) {
                continue;
            }
            let view = self.versions.view(&row);
            if self.program.matches(view) {
                let bytes = groups.add(view).map_err(|error| (code_of(&error), error.to_string()))?;
                work += bytes / GROUP_BYTES_PER_WORK;
            }
        }
        let mut rows = 0;
        groups.finish(|group, values| {
            rows += 1;
            let version = RowVersion::default();
            push_row(batch, &ScanRow { version, table_version: 0, key: group, value: values });
        });
        Ok((rows, work, last.filter(|_| !ended)))
    }
}
