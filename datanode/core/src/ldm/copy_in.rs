//! The copy of a fragment to a joining replica: what that does with it (the sender, and what is sent when: `copy.rs`).

use crate::ldm::chain::put_row;
use crate::ldm::fragment::{Fragment, row_state};
use crate::ldm::{Context, LocalDataManager};
use crate::map::Role;
use duet_memory::{RowHandle, RowHeader};
use duet_protocol::hash::key_hash;
use duet_protocol::signal::SignalView;
use duet_protocol::signal::copy_begin::CopyBegin;
use duet_protocol::signal::copy_end::CopyEnd;
use duet_protocol::signal::copy_outcomes::{self, CopyOutcomes};
use duet_protocol::signal::copy_row::CopyRow;
use duet_protocol::signal::prepare_one::OPERATION_DELETE;

impl LocalDataManager {
    /// A signal of the primary about the copy of a fragment to here.
    pub fn copy_signal(&mut self, context: &mut Context<'_>, lane: usize, signal: &SignalView<'_>) {
        if let Some(body) = signal.body::<CopyRow>() {
            self.copied_row(context, lane, body, signal.section(0), signal.section(1));
        } else if let Some(body) = signal.body::<CopyOutcomes>() {
            if let Some(fragment) = self.copied_fragment(context, lane, body.partition.get(), body.cfg.get())
            {
                let outcomes = copy_outcomes::outcomes(signal.section(0));
                fragment.outcomes.merge(body.session.get(), body.resolved_below.get(), outcomes);
            }
        } else if let Some(body) = signal.body::<CopyBegin>() {
            if let Some(fragment) = self.copied_fragment(context, lane, body.partition.get(), body.cfg.get())
            {
                fragment.seq = body.seq.get();
            }
        } else if let Some(body) = signal.body::<CopyEnd>() {
            let (partition, cfg) = (body.partition.get(), body.cfg.get());
            let joins = self.copied_fragment(context, lane, partition, cfg).is_some();
            if joins && self.takes_position(context.planted_bug, partition, cfg, body.position.get()) {
                if let Some(fragment) = &mut self.fragments[usize::from(partition)] {
                    fragment.joining = false;
                }
                self.copies.end_joining();
            }
        }
    }

    /// The fragment that is copied to here, if it is this one in this configuration.
    fn copied_fragment(
        &mut self,
        context: &mut Context<'_>,
        lane: usize,
        partition: u16,
        cfg: u64,
    ) -> Option<&mut Fragment> {
        let fragment = self.fragments.get_mut(usize::from(partition)).and_then(Option::as_mut);
        let fragment = fragment.filter(|fragment| {
            let backup = matches!(fragment.role, Role::Backup { .. });
            backup && fragment.joining && fragment.cfg == cfg && fragment.lane == Some(lane)
        });
        context.out.errors += u64::from(fragment.is_none());
        fragment
    }

    fn copied_row(
        &mut self,
        context: &mut Context<'_>,
        lane: usize,
        body: &CopyRow,
        key: &[u8],
        value: &[u8],
    ) {
        let partition = body.partition.get();
        if self.copied_fragment(context, lane, partition, body.cfg.get()).is_none() {
            return;
        }
        // The table may have been dropped meanwhile.
        let Some((slot, table)) = context.map.table(body.table.get()) else { return };
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        let (stored, hash) = (&mut fragment.tables[slot], key_hash(key));
        let found = stored.rows.find(&self.arena, hash, key);
        if let Some(row) = found.map(|row| self.arena.row(row)) {
            assert_eq!(row.state(), row_state::COMMITTED, "what is prepared here is not copied");
            if (row.epoch(), row.sequence()) == (body.epoch.get(), body.seq.get()) {
                return;
            }
        }
        if body.operation.get() == u16::from(OPERATION_DELETE) {
            if let Some(row) = found {
                stored.remove(&mut self.arena, table, hash, row);
            }
            return;
        }
        let header = RowHeader {
            epoch: body.epoch.get(),
            sequence: body.seq.get(),
            table_version: body.table_version.get(),
            state: row_state::COMMITTED,
            older: RowHandle::NULL,
        };
        let put = put_row(&mut self.arena, stored, table, (hash, found), &header, (key, value), false);
        self.copies.lacks_memory |= put.is_err();
    }
}
