//! The backup's half of a one-pass write, and the primary's receipt of what the backup says.
//!
//! A backup never locks, waits or answers reads: it applies each write at once, in the order of the positions, which
//! must be dense.

use crate::ldm::fragment::row_state;
use crate::ldm::outcome::{Outcome, OutcomeState};
use crate::ldm::planted::{ANY_POSITION, OLD_ENTRIES};
use crate::ldm::stored::StoredTable;
use crate::ldm::write::{EXPIRE_EVERY, assert_rises};
use crate::ldm::{Context, LocalDataManager};
use crate::map::{ClusterMap, LocalTable, Role};
use duet_memory::{Arena, OutOfMemory, Priority, Probe, RowHandle, RowHeader};
use duet_protocol::error::ErrorCode;
use duet_protocol::hash::key_hash;
use duet_protocol::ids::RowVersion;
use duet_protocol::signal::accept_one::AcceptOne;
use duet_protocol::signal::chain_refused::ChainRefused;
use duet_protocol::signal::operate::Operate;
use duet_protocol::signal::prepare_one::{OPERATION_DELETE, OPERATION_PUT, PrepareOne};
use duet_protocol::signal::prepare_row::{OPERATION_NONE, PrepareRow};
use duet_protocol::signal::refuse_one::RefuseOne;
use duet_protocol::signal::{Sections, SignalType, SignalView};

/// A signal for a fragment, whose index line and row are being fetched.
#[derive(Clone, Copy, Debug)]
pub struct Ahead<'a> {
    /// The signal.
    pub signal: SignalView<'a>,
    /// Of a signal that names a row of a table and a fragment that this node knows.
    place: Option<Place>,
}

/// Where the row of a signal is.
#[derive(Clone, Copy, Debug)]
struct Place {
    partition: u16,
    /// Slot of the table.
    table: usize,
    /// Hash of the primary key.
    hash: u64,
    probe: Option<Probe>,
}

/// The table of the signal before, with its slot: the next one is mostly for the same.
type Latest = Option<(u32, usize)>;

impl LocalDataManager {
    /// Takes the next group of signals and fetches the index lines and rows that they will touch. The number of
    /// signals, less than a group at the end.
    pub fn prefetch_rows<'a>(
        &self,
        map: &ClusterMap,
        signals: &mut impl Iterator<Item = SignalView<'a>>,
        group: &mut [Option<Ahead<'a>>],
    ) -> usize {
        let (mut latest, mut count) = (None, 0);
        for (ahead, signal) in group.iter_mut().zip(signals) {
            count += 1;
            let place = self.prefetch_place(map, &mut latest, &signal);
            *ahead = Some(Ahead { signal, place });
        }
        for place in group[..count].iter_mut().flatten().filter_map(|ahead| ahead.place.as_mut()) {
            if let Some(fragment) = &self.fragments[usize::from(place.partition)] {
                place.probe = Some(fragment.tables[place.table].rows.prefetch_row(&self.arena, place.hash));
            }
        }
        count
    }

    /// Where the row of a signal is; its index line is being fetched then.
    #[inline]
    fn prefetch_place(
        &self,
        map: &ClusterMap,
        latest: &mut Latest,
        signal: &SignalView<'_>,
    ) -> Option<Place> {
        let (id, partition) = match signal.signal_type() {
            SignalType::PrepareOne => {
                signal.body::<PrepareOne>().map(|body| (body.table.get(), Some(body.partition.get())))?
            }
            SignalType::PrepareRow => {
                let body = signal.body::<PrepareRow>().filter(|body| body.operation != OPERATION_NONE)?;
                (body.table.get(), Some(body.partition.get()))
            }
            SignalType::Operate => (signal.body::<Operate>()?.table.get(), None),
            _ => return None,
        };
        let table = match *latest {
            Some((known, slot)) if known == id => slot,
            _ => map.table(id)?.0,
        };
        *latest = Some((id, table));
        let key = signal.section(0);
        let hash = key_hash(key);
        let partition = partition
            .unwrap_or_else(|| map.partition_of(map.table_in(table).layout().partition_hash_from(key, hash)));
        let fragment = self.fragments.get(usize::from(partition))?.as_ref()?;
        fragment.tables[table].rows.prefetch_bucket(&self.arena, hash);
        Some(Place { partition, table, hash, probe: None })
    }

    /// Applies a write of the primary. Acceptance is told at the end of the burst.
    pub fn prepare_one(&mut self, context: &mut Context<'_>, lane: usize, ahead: &Ahead<'_>) {
        let Some(body) = ahead.signal.body::<PrepareOne>() else { return };
        let partition = body.partition.get();
        let fragment = self.fragments.get_mut(usize::from(partition)).and_then(Option::as_mut);
        let fragment = fragment.filter(|fragment| {
            matches!(fragment.role, Role::Backup { .. })
                && fragment.cfg == body.cfg.get()
                && fragment.lane == Some(lane)
        });
        let Some(fragment) = fragment else {
            let refusal = ChainRefused {
                partition: partition.into(),
                code: (ErrorCode::StaleMap as u16).into(),
                reserved: 0.into(),
                cfg: body.cfg,
                view: context.map.state.view.number.into(),
            };
            context.out.send_lane(lane, &refusal, Sections::none());
            return;
        };
        assert!(
            body.seq.get() == fragment.seq + 1 || context.planted_bug == ANY_POSITION,
            "positions of partition {partition} are dense: {} after {}",
            body.seq.get(),
            fragment.seq
        );
        fragment.seq = body.seq.get();
        if !fragment.accept_due {
            fragment.accept_due = true;
            self.accept_due.push(partition);
        }
        let session = body.session.get();
        match self.apply(context, partition, body, ahead) {
            Ok(state) => {
                context.counters.writes_applied += 1;
                let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
                let outcome = Outcome {
                    transaction_seq: body.transaction_seq.get(),
                    state,
                    version: RowVersion { epoch: body.epoch.get(), seq: body.seq.get() },
                    result_bytes: body.result_bytes,
                    result: body.result,
                };
                fragment.outcomes.put(session, body.resolved_below.get(), outcome);
            }
            Err(_) => {
                let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
                self.copies.lacks_memory |= fragment.joining;
                fragment.outcomes.free_below(session, body.resolved_below.get());
                let refusal = RefuseOne {
                    partition: partition.into(),
                    code: (ErrorCode::BackupOutOfMemory as u16).into(),
                    reserved: 0.into(),
                    cfg: body.cfg,
                    seq: body.seq,
                };
                context.out.send_lane(lane, &refusal, Sections::none());
            }
        }
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        if fragment.seq.is_multiple_of(EXPIRE_EVERY) {
            fragment.outcomes.expire(body.epoch.get());
        }
    }

    fn apply(
        &mut self,
        context: &Context<'_>,
        partition: u16,
        body: &PrepareOne,
        ahead: &Ahead<'_>,
    ) -> Result<OutcomeState, OutOfMemory> {
        if !matches!(body.operation, OPERATION_PUT | OPERATION_DELETE) {
            return Ok(OutcomeState::Aborted);
        }
        if context.planted_bug == 1 && body.seq.get().is_multiple_of(64) {
            return Ok(OutcomeState::Committed);
        }
        let Some(Place { table, hash, probe, .. }) = ahead.place else {
            unreachable!("table {} is used by the primary before every node has it", body.table.get());
        };
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else {
            return Ok(OutcomeState::Aborted);
        };
        let (stored, local) = (&mut fragment.tables[table], context.map.table_in(table));
        let (key, value) = (ahead.signal.section(0), ahead.signal.section(1));
        let found = match probe {
            Some(probe) => stored.rows.find_probed(&self.arena, hash, key, probe),
            None => stored.rows.find(&self.arena, hash, key),
        };
        if body.operation == OPERATION_DELETE {
            let Some(row) = found else {
                assert!(fragment.joining, "the primary deletes rows that exist");
                return Ok(OutcomeState::Committed);
            };
            stored.remove(&mut self.arena, local, hash, row);
            return Ok(OutcomeState::Committed);
        }
        let header = RowHeader {
            epoch: body.epoch.get(),
            sequence: body.seq.get(),
            table_version: body.table_version.get(),
            state: row_state::COMMITTED,
            older: RowHandle::NULL,
        };
        let forgets = context.planted_bug == OLD_ENTRIES;
        put_row(&mut self.arena, stored, local, (hash, found), &header, (key, value), forgets)?;
        Ok(OutcomeState::Committed)
    }

    /// The backup has everything up to a position.
    pub fn accept_one(&mut self, context: &mut Context<'_>, lane: usize, body: &AcceptOne) {
        let partition = body.partition.get();
        let Some(fragment) = self.led_fragment(partition, body.cfg.get(), lane) else { return };
        let upto = body.upto_seq.get();
        assert!(upto <= fragment.seq, "the backup of partition {partition} accepts what was never sent");
        if fragment.copy.as_ref().is_some_and(|copy| copy.is_ended_by(upto)) {
            self.end_copy(partition);
        }
        self.accepted(context, partition, upto);
    }

    /// The backup could not apply a write.
    pub fn refuse_one(&mut self, lane: usize, body: &RefuseOne) {
        let Some(fragment) = self.led_fragment(body.partition.get(), body.cfg.get(), lane) else { return };
        if let Some(pending) = fragment.pending_at(body.seq.get()) {
            pending.refused = body.code.get();
        }
    }

    fn led_fragment(
        &mut self,
        partition: u16,
        cfg: u64,
        lane: usize,
    ) -> Option<&mut crate::ldm::fragment::Fragment> {
        let fragment = self.fragments.get_mut(usize::from(partition))?.as_mut()?;
        let led = matches!(fragment.role, Role::Primary { .. })
            && fragment.cfg == cfg
            && fragment.lane == Some(lane);
        led.then_some(fragment)
    }

    /// Ends a burst: tells each primary how far this node has applied its writes.
    pub fn flush(&mut self, context: &mut Context<'_>) {
        self.scan_work = 0;
        if self.copies.lacks_memory {
            self.accept_due.clear();
        }
        for partition in self.accept_due.drain(..) {
            let Some(fragment) = &mut self.fragments[usize::from(partition)] else { continue };
            fragment.accept_due = false;
            let Some(lane) = fragment.lane else { continue };
            let body = AcceptOne {
                partition: partition.into(),
                code: 0.into(),
                reserved: 0.into(),
                cfg: fragment.cfg.into(),
                upto_seq: fragment.seq.into(),
            };
            context.out.send_lane(lane, &body, Sections::none());
        }
    }
}

/// Makes the row with this header what is stored under its key, in place of `found`.
#[inline(always)]
pub(super) fn put_row(
    arena: &mut Arena,
    stored: &mut StoredTable,
    table: &LocalTable,
    (hash, found): (u64, Option<RowHandle>),
    header: &RowHeader,
    (key, value): (&[u8], &[u8]),
    forgets: bool,
) -> Result<(), OutOfMemory> {
    if let Some(row) = found {
        assert_rises(arena.row(row).epoch(), header.epoch);
    }
    if found.is_some_and(|row| !table.orders_columns && arena.replace_in_place(row, header, value)) {
        return Ok(());
    }
    let image = arena.allocate_row(header, key, value, Priority::Normal)?;
    let entered = match found {
        Some(row) => stored.enter(arena, table, Some(row), None, image),
        None => stored.insert(arena, table, hash, image),
    };
    if let Err(error) = entered {
        arena.free(image);
        return Err(error);
    }
    if let Some(row) = found {
        stored.put_but(arena, table, hash, row, image, forgets);
    }
    Ok(())
}
