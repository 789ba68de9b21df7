//! Full scans (those of ranges are in `range.rs`): one bounded slice of a fragment per request, in bit-reversed hash order, so that a split or merge of
//! buckets neither hides nor repeats a row that exists throughout (source: the cursor of Redis' `SCAN`).
//!
//! The node keeps nothing between requests: the cursor is the place, the program comes with each request, and
//! aggregates are those of the slice. A client that stops asking costs nothing, however large the result is.

use super::fragment::{Fragment, row_state};
use super::range::Range;
use super::{Context, LocalDataManager};
use crate::map::{LocalTable, Role};
use crate::outbox::{BACKLOG_REFUSE_BYTES, ReplyTo};
use duet_memory::{Arena, HashIndex, RowView as ArenaRow};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::RowVersion;
use duet_protocol::row::RowView;
use duet_protocol::scan_program::{Aggregation, CompiledScan, ScanError};
use duet_protocol::signal::Sections;
use duet_protocol::signal::SignalView;
use duet_protocol::signal::scan::{FLAG_ANY_REPLICA, FLAG_RANGE, Scan};
use duet_protocol::signal::scan_reply::{FLAG_DONE, ScanReply, ScanRow, push_row};

/// Most rows in one batch.
pub(super) const MAX_ROWS: u32 = 4_096;
/// Most bytes in one batch, before the last bucket.
const MAX_BYTES: usize = 256 << 10;
/// Most index buckets visited for one batch.
const MAX_STEPS: usize = 4_096;
/// Most work on rows for one batch, before the last bucket, in units of [`CompiledScan::row_cost`]: 4,096 rows of a small
/// program, which take less than a millisecond.
pub(super) const MAX_WORK: usize = 4_096 * 16;
/// Work of all slices between two ends of bursts, beyond which requests are refused: a frame full of scans that find
/// nothing must not keep this thread from everything else. Far more than a client asks for at once that reads ahead.
const MAX_BURST_WORK: usize = 128 * MAX_WORK;
/// Work of a request besides that of its rows.
const REQUEST_WORK: usize = MAX_WORK / 256;
/// Bytes of group columns that cost as much as a node of a filter.
pub(super) const GROUP_BYTES_PER_WORK: usize = 64;

/// What a slice may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rows: u32,
    pub(super) bytes: usize,
}

/// What a slice has come to.
#[derive(Clone, Copy, Debug)]
struct Slice {
    /// `None` at the end of the fragment.
    cursor: Option<u64>,
    rows: u32,
    work: usize,
    steps: usize,
}

impl Slice {
    fn may_go_on(&self, limits: Limits, bytes: usize) -> Option<u64> {
        let within =
            self.rows < limits.rows && bytes < limits.bytes && self.steps < MAX_STEPS && self.work < MAX_WORK;
        self.cursor.filter(|_| within)
    }
}

impl LocalDataManager {
    /// Answers the next batch of a scan of the table in slot `table`.
    pub fn scan(
        &mut self,
        context: &mut Context<'_>,
        reply: ReplyTo,
        signal: &SignalView<'_>,
        body: &Scan,
        table: usize,
    ) {
        let partition = body.partition.get();
        let any_replica = body.flags.get() & FLAG_ANY_REPLICA != 0;
        if self.is_warming_at(partition) {
            return context.out.error(reply, ErrorCode::NotServing, "the partition is being taken over");
        }
        let fragment = self.fragments.get(usize::from(partition)).and_then(Option::as_ref);
        let serves = |fragment: &&Fragment| {
            (any_replica && !fragment.joining) || matches!(fragment.role, Role::Primary { .. })
        };
        let Some(fragment) = fragment.filter(serves) else {
            context.out.error(reply, ErrorCode::StaleMap, "this node does not serve the partition");
            return;
        };
        if context.out.waiting(reply.link) > BACKLOG_REFUSE_BYTES {
            // Before the work: a frame full of scans must not be executed for nothing.
            context.out.error(reply, ErrorCode::ReplyBufferFull, "");
            return;
        }
        if self.scan_work > MAX_BURST_WORK {
            context.out.error(reply, ErrorCode::Overloaded, "too many scans at once");
            return;
        }
        self.scan_work += REQUEST_WORK;
        // The table may have been dropped since the coordinator looked.
        let described = context.map.tables.get(table).and_then(Option::as_ref);
        let (Some(described), Some(stored)) = (described, fragment.tables.get(table)) else {
            context.out.error(reply, ErrorCode::TableNotFound, "");
            return;
        };
        let versions = Versions { table: described, named: body.table_version.get() };
        let program =
            match CompiledScan::new(versions.table.layouts.of_row(versions.named), signal.section(0)) {
                Ok(program) => program,
                Err(error) => {
                    context.out.error(reply, ErrorCode::InvalidScan, &error.to_string());
                    return;
                }
            };
        let limits = Limits {
            rows: body.max_rows.get().clamp(1, MAX_ROWS),
            bytes: (body.max_bytes.get() as usize).clamp(1, MAX_BYTES),
        };
        self.batch.clear();
        if body.flags.get() & FLAG_RANGE != 0 {
            let range = Range { versions, stored, program: &program, limits };
            let buffers = (&mut self.older_image, &mut self.batch);
            let answer = range.answer(context, &self.arena, reply, signal, body, fragment.seq, buffers);
            match answer {
                Ok(work) => self.scan_work += work,
                Err((code, detail)) => context.out.error(reply, code, &detail),
            }
            return;
        }
        let index = &stored.rows;
        let slice = Slice { cursor: Some(body.cursor.get()), rows: 0, work: 0, steps: 0 };
        let outcome = match Aggregation::new(&program) {
            None => {
                let in_wrong_order = context.planted_bug == 9;
                let (scratch, batch) = (&mut self.older_image, &mut self.batch);
                Ok(rows(
                    &self.arena,
                    index,
                    versions,
                    &program,
                    limits,
                    slice,
                    in_wrong_order,
                    scratch,
                    batch,
                ))
            }
            Some(groups) => {
                aggregates(&self.arena, index, versions, &program, limits, slice, groups, &mut self.batch)
            }
        };
        match outcome {
            Ok(slice) => {
                // Empty buckets are looked at in fractions of the time of a row.
                self.scan_work += slice.work + slice.steps;
                let answer = ScanReply {
                    next_cursor: slice.cursor.unwrap_or(0).into(),
                    row_count: slice.rows.into(),
                    flags: if slice.cursor.is_none() { FLAG_DONE } else { 0 }.into(),
                    fragment_seq: fragment.seq.into(),
                };
                context.out.reply(reply, &answer, Sections::one(&self.batch));
            }
            Err(error) => context.out.error(reply, code_of(&error), &error.to_string()),
        }
    }
}

/// The table that is scanned, and the version that the request names.
#[derive(Clone, Copy)]
pub(super) struct Versions<'m> {
    pub(super) table: &'m LocalTable,
    pub(super) named: u16,
}

impl<'m> Versions<'m> {
    /// A row with the layout that it follows.
    #[inline(always)]
    pub(super) fn view<'a>(&self, row: &ArenaRow<'a>) -> RowView<'a>
    where
        'm: 'a,
    {
        RowView::new(self.table.layouts.of_row(row.table_version()), row.key, row.value)
    }
}

/// The code of an error that rows have led to.
pub(super) fn code_of(error: &ScanError) -> ErrorCode {
    match error {
        ScanError::SumOverflow { .. } => ErrorCode::SumOverflow,
        _ => ErrorCode::InvalidScan,
    }
}

/// A scan in the order of bucket numbers, which a split or merge puts out of step: the planted bug of the simulator's
/// tests.
fn step_by_number(
    index: &HashIndex,
    arena: &Arena,
    number: u64,
    visit: impl FnMut(duet_memory::RowHandle),
) -> Option<u64> {
    index.scan_step(arena, number.reverse_bits(), visit);
    Some(number + 1).filter(|next| *next < u64::from(index.buckets()))
}

/// Appends the rows that pass, whole or their result columns.
#[expect(
    clippy::too_many_arguments,
    reason = "a slice of a scan borrows every part of the manager by itself"
)]
fn rows(
    arena: &Arena,
    index: &HashIndex,
    versions: Versions<'_>,
    program: &CompiledScan<'_, '_>,
    limits: Limits,
    mut slice: Slice,
    in_wrong_order: bool,
    scratch: &mut Vec<u8>,
    batch: &mut Vec<u8>,
) -> Slice {
    let row_cost = program.row_cost();
    let mut image = Vec::new();
    while let Some(position) = slice.may_go_on(limits, batch.len()) {
        slice.steps += 1;
        let visit = |handle| {
            let row = arena.row(handle);
            slice.work += row_cost;
            if !row_state::is_visible(row.state()) {
                return;
            }
            let view = versions.view(&row);
            if !program.matches(view) {
                return;
            }
            slice.rows += 1;
            image.clear();
            let (key, (value, table_version)) = match program.project(view, &mut image) {
                true => (&[][..], (&image[..], versions.named)),
                false => {
                    let stored = row.table_version();
                    (row.key, versions.table.image_for(row.value, stored, versions.named, scratch))
                }
            };
            let version = RowVersion { epoch: row.epoch(), seq: row.sequence() };
            push_row(batch, &ScanRow { version, table_version, key, value });
        };
        slice.cursor = match in_wrong_order {
            false => index.scan_step(arena, position, visit),
            true => step_by_number(index, arena, position, visit),
        };
    }
    slice
}

/// Appends the partial aggregates of the rows that pass, one row for each group.
#[expect(
    clippy::too_many_arguments,
    reason = "a slice of a scan borrows every part of the manager by itself"
)]
fn aggregates<'s: 'r, 'r>(
    arena: &'r Arena,
    index: &HashIndex,
    versions: Versions<'r>,
    program: &'s CompiledScan<'s, 's>,
    limits: Limits,
    mut slice: Slice,
    mut groups: Aggregation<'s, 'r>,
    batch: &mut Vec<u8>,
) -> Result<Slice, ScanError> {
    let row_cost = program.row_cost();
    // The limit of rows is one of rows answered, and so one of groups; the work limits the rows that are read.
    let limits = Limits { rows: MAX_ROWS, ..limits };
    let mut failure = None;
    while let Some(position) = slice.may_go_on(limits, groups.bytes()) {
        slice.steps += 1;
        slice.cursor = index.scan_step(arena, position, |handle| {
            let row = arena.row(handle);
            slice.work += row_cost;
            if !row_state::is_visible(row.state()) {
                return;
            }
            let view = versions.view(&row);
            if !program.matches(view) {
                return;
            }
            match groups.add(view) {
                Ok(bytes) => slice.work += bytes / GROUP_BYTES_PER_WORK,
                Err(error) => failure = Some(error),
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
    }
    slice.rows = 0;
    groups.finish(|group, values| {
        slice.rows += 1;
        let version = RowVersion::default();
        push_row(batch, &ScanRow { version, table_version: 0, key: group, value: values });
    });
    Ok(slice)
}
