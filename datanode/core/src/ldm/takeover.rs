//! What a change of view means for the fragments: pending writes that need no backup any more commit, a backup takes a
//! fragment over, and what transactions have prepared is reported to whoever decides it now (PROTOCOL.md §1, §2).

use crate::interface::Nanoseconds;
use crate::ldm::fragment::row_state;
use crate::ldm::lock::{Change, Place, lock_handle};
use crate::ldm::participant::{Coordinator, State};
use crate::ldm::{Context, LocalDataManager};
use crate::map::Role;
use crate::outbox::{Address, Handle};
use crate::planted::NO_WARMING;
use crate::takeover::{TAKEOVER, taker_of};
use duet_protocol::ids::TransactionId;
use duet_protocol::signal::Sections;
use duet_protocol::signal::report_end::ReportEnd;
use duet_protocol::signal::transaction_report::{
    ROLE_BACKUP, ROLE_PRIMARY, STATE_COMMITTED, STATE_PREPARED, TransactionReport,
};

/// A fragment whose configuration is another one than before.
#[derive(Clone, Copy, Debug)]
pub struct ChangedFragment {
    /// Partition.
    pub partition: u16,
    /// The role of this node before.
    pub before: Role,
}

impl LocalDataManager {
    /// The view was changed: settles the fragments whose replicas are others now, and what the transactions of coordinators
    /// on `removed` nodes hold.
    pub fn settle_view(&mut self, context: &mut Context<'_>, changed: &[ChangedFragment], removed: &[u32]) {
        if changed.is_empty() && removed.is_empty() {
            return;
        }
        self.barrier = 0;
        for change in changed {
            let Some(fragment) = &mut self.fragments[usize::from(change.partition)] else { continue };
            let (role, upto) = (fragment.role, fragment.seq);
            let Role::Primary { backup } = role else {
                if matches!(change.before, Role::Primary { .. }) {
                    self.leave(change.partition);
                }
                continue;
            };
            let joins = backup.is_some_and(|node| context.map.is_joining(node));
            if matches!(change.before, Role::Backup { .. }) {
                self.lead(context, change.partition);
            }
            if joins {
                self.begin_copy(context, change.partition);
            } else {
                self.end_copy(change.partition);
            }
            if joins || backup.is_none() {
                // Nobody is left who could refuse: what is pending is decided.
                self.accepted(context, change.partition, upto);
            }
        }
        self.orphan(context, removed);
        for change in changed {
            self.report_prepared(context, change.partition);
        }
    }

    /// A backup becomes the primary: rows and outcome records are what it has accepted; what is prepared holds locks from
    /// now on. It answers nobody before [`LocalDataManager::warm_up`].
    fn lead(&mut self, context: &mut Context<'_>, partition: u16) {
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        fragment.warming = true;
        self.warming = true;
        fragment.accept_due = false;
        self.accept_due.retain(|due| *due != partition);
        let lane = context.map.partitions[usize::from(partition)].lane;
        let mut found: Vec<TransactionId> =
            self.prepared.transactions.keys().filter(|(_, at)| *at == partition).map(|(id, _)| *id).collect();
        found.sort_unstable();
        for transaction in found {
            let Some(prepared) = self.prepared.transactions.remove(&(transaction, partition)) else {
                continue;
            };
            let handle = Handle { number: prepared.coordinator.1, transaction: prepared.coordinator.2 };
            let coordinator = Coordinator { node: prepared.coordinator.0, lane, handle };
            let number = self.participants.inherit(transaction, partition, coordinator);
            let state = if prepared.committed { State::Committed } else { State::Prepared };
            let position = prepared.rows.first().map_or(0, |row| row.position);
            self.participants.get_mut(number).inherit(
                state,
                prepared.epoch,
                position,
                prepared.home,
                prepared.orphan,
            );
            if prepared.committed {
                continue;
            }
            for row in &prepared.rows {
                // What is locked already stays counted; a change of nothing has no lock.
                let locked = if row.row.is_null() { row.image } else { row.row };
                if locked.is_null() {
                    self.pending_of_table[row.table] -= 1;
                    continue;
                }
                let table_id = context.map.tables[row.table].as_ref().map_or(0, |table| table.id);
                let place = Place { partition, table: row.table, table_id, hash: row.hash };
                let lock = self.locks.add(place, locked, number, true);
                let kind = if row.row.is_null() { row_state::HELD_ABSENT } else { row_state::HELD };
                self.arena.set_state_and_older(locked, kind, lock_handle(lock));
                let entry = self.locks.get_mut(lock);
                entry.position = row.position;
                if row.image.is_null() {
                    entry.change = Change::Delete;
                } else {
                    entry.change = Change::Put(row.image);
                    entry.table_version = self.arena.row(row.image).table_version();
                }
                self.participants.get_mut(number).locks.push(lock);
            }
            self.prepared.recycle(prepared.rows);
        }
    }

    /// Coordinators on these nodes are gone: what their transactions only hold is let go, what is prepared or committed
    /// waits for the coordinator that takes it over.
    fn orphan(&mut self, context: &mut Context<'_>, removed: &[u32]) {
        let of_removed = |node: u32| removed.contains(&node);
        let mut lost: Vec<u32> = Vec::new();
        for number in self.participants.numbers() {
            let participant = self.participants.get_mut(number);
            if of_removed(participant.coordinator.node) && !participant.orphan {
                participant.orphan = true;
                if participant.state == State::Locked {
                    lost.push(number);
                }
            }
        }
        for number in lost {
            self.abort_participant(context, number);
        }
        for prepared in self.prepared.transactions.values_mut() {
            prepared.orphan |= of_removed(prepared.coordinator.0);
        }
    }

    /// Tells the coordinators that live what they have prepared in a fragment that is led here in a new configuration.
    fn report_prepared(&mut self, context: &mut Context<'_>, partition: u16) {
        let mut reports = Vec::new();
        for (_, participant) in self.participants.iter() {
            if participant.partition == partition
                && participant.state == State::Prepared
                && !participant.orphan
            {
                let report = self.report_of(context, participant.transaction, partition, participant.state);
                reports.push((participant.transaction, participant.coordinator, report));
            }
        }
        reports.sort_by_key(|(transaction, _, _)| *transaction);
        for (_, coordinator, report) in reports {
            context.out.post(coordinator.address(), coordinator.handle, &report, Sections::none());
        }
    }

    fn report_of(
        &self,
        context: &Context<'_>,
        transaction: TransactionId,
        partition: u16,
        state: State,
    ) -> TransactionReport {
        TransactionReport {
            session: transaction.session.into(),
            seq: transaction.seq.into(),
            view: context.map.state.view.number.into(),
            epoch: 0.into(),
            partition: partition.into(),
            state: if state == State::Committed { STATE_COMMITTED } else { STATE_PREPARED },
            role: ROLE_PRIMARY,
            node: context.out.identity.sender.node.into(),
        }
    }

    /// Every instance has installed the view: what is left without a coordinator is reported to those that take it over,
    /// and an end of the reports to everybody, each in the lane of its fragments.
    pub fn barrier(&mut self, context: &mut Context<'_>, view: u64) {
        if context.map.state.view.number != view || self.barrier >= view {
            return;
        }
        self.barrier = view;
        let mut reports = Vec::new();
        for (_, participant) in self.participants.iter().filter(|(_, participant)| participant.orphan) {
            let mut report =
                self.report_of(context, participant.transaction, participant.partition, participant.state);
            report.epoch = participant.epoch.into();
            reports.push((participant.transaction, participant.partition, report));
        }
        for ((transaction, partition), prepared) in &self.prepared.transactions {
            if prepared.orphan {
                let state = if prepared.committed { State::Committed } else { State::Prepared };
                let mut report = self.report_of(context, *transaction, *partition, state);
                (report.role, report.epoch) = (ROLE_BACKUP, prepared.epoch.into());
                reports.push((*transaction, *partition, report));
            }
        }
        reports.sort_by_key(|(transaction, partition, _)| (*transaction, *partition));
        let handle = Handle { number: 0, transaction: TAKEOVER };
        for (transaction, partition, report) in reports {
            let lane = context.map.partitions[usize::from(partition)].lane;
            let node = taker_of(&context.map.state.view, transaction);
            let to = Address::Coordinator { node, lane, number: 0 };
            context.out.post(to, handle, &report, Sections::none());
        }
        let me = context.out.identity.sender.node;
        for member in context.map.state.view.members() {
            for lane in &self.own_lanes {
                let body = ReportEnd {
                    view: view.into(),
                    node: me.into(),
                    lane: (*lane).into(),
                    ..ReportEnd::default()
                };
                let to = Address::Coordinator { node: member.node, lane: *lane, number: 0 };
                context.out.post(to, handle, &body, Sections::none());
            }
        }
    }

    /// Fragments that were taken over answer from now on, if every instance has installed the view and nobody can observe
    /// anything by an older lease any more.
    pub fn warm_up(&mut self, context: &Context<'_>, promised_until: Nanoseconds, now: Nanoseconds) {
        if !self.warming {
            return;
        }
        let unready = self.barrier < context.map.state.view.number || now < promised_until;
        if unready && context.planted_bug != NO_WARMING {
            return;
        }
        self.warming = false;
        for fragment in self.fragments.iter_mut().flatten() {
            fragment.warming = false;
        }
    }

    /// Whether a fragment waits for the moment from which it may answer.
    pub fn is_warming(&self) -> bool {
        self.warming
    }

    /// Whether this fragment does.
    pub(super) fn is_warming_at(&self, partition: u16) -> bool {
        let fragment = self.fragments.get(usize::from(partition)).and_then(Option::as_ref);
        fragment.is_some_and(|fragment| fragment.warming)
    }

    /// Whether this node answers for a partition. For the simulator's checks in true time.
    pub fn leads(&self, partition: u16) -> bool {
        let fragment = self.fragments.get(usize::from(partition)).and_then(Option::as_ref);
        fragment.is_some_and(|fragment| matches!(fragment.role, Role::Primary { .. }) && !fragment.warming)
    }
}
