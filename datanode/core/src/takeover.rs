//! The coordinator's part in a change of view: it ends its own transactions that have lost something, tells replicas what
//! became of what they report, and takes over the transactions of coordinators that were removed (PROTOCOL.md §1).
//!
//! Those are shared among the members of the view by the transaction's id. When all local data managers of all members have
//! ended their reports, every reported transaction is decided: committed if any replica knows that it was, else aborted.

use crate::ldm::Context;
use crate::operation_check::primary_of;
use crate::outbox::{Address, Handle};
use crate::planted::{EARLY_REPORTS, GOES_ON, NOT_TOLD};
use crate::transaction::{State, Transactions};
use duet_protocol::error::ErrorCode;
use duet_protocol::hash::key_hash;
use duet_protocol::ids::TransactionId;
use duet_protocol::record::View;
use duet_protocol::signal::abort_rows::AbortRows;
use duet_protocol::signal::commit_rows::CommitRows;
use duet_protocol::signal::committed::Committed;
use duet_protocol::signal::complete::Complete;
use duet_protocol::signal::report_end::ReportEnd;
use duet_protocol::signal::transaction_report::{ROLE_BACKUP, STATE_COMMITTED, TransactionReport};
use duet_protocol::signal::{Sections, SignalView};
use std::collections::{BTreeMap, BTreeSet};

/// Bit of a handle's name that says: the transaction is being taken over; the lower bits are its place.
pub const TAKEOVER: u64 = 1 << 63;
/// Bits of the place of a transaction that is being taken over.
const PLACE_BITS: u32 = 24;

/// The node that takes over a transaction whose coordinator was removed.
pub fn taker_of(view: &View, transaction: TransactionId) -> u32 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&transaction.session.to_be_bytes());
    bytes[8..].copy_from_slice(&transaction.seq.to_be_bytes());
    let count = view.members().count().max(1) as u64;
    let chosen = (key_hash(&bytes) % count) as usize;
    view.members().nth(chosen).map_or(0, |member| member.node)
}

/// A transaction without a coordinator.
#[derive(Debug, Default)]
struct Orphan {
    /// Epoch with which it was committed, if a replica knows that it was.
    committed: Option<u64>,
    /// Replicas that have reported it: partition, node, whether as backup.
    replicas: BTreeSet<(u16, u32, bool)>,
    /// Partitions whose primaries have not yet exposed it.
    open: BTreeSet<u16>,
}

/// What a coordinator takes over in one view.
#[derive(Debug, Default)]
pub struct Takeover {
    view: u64,
    orphans: BTreeMap<TransactionId, Orphan>,
    ends: BTreeSet<(u32, u16)>,
    order: Vec<TransactionId>,
    decided: bool,
    open: usize,
    /// Newest view in which everything was ended.
    finished: u64,
    /// Reports of a view that is not installed here yet.
    early: Vec<(Handle, TransactionReport)>,
}

impl Takeover {
    /// Newest view in which this coordinator has ended everything that it took over.
    pub fn finished_view(&self) -> u64 {
        self.finished
    }

    /// A newer view begins afresh.
    fn begin(&mut self, view: u64) {
        if view > self.view {
            let early = std::mem::take(&mut self.early);
            *self = Takeover { view, finished: self.finished, early, ..Takeover::default() };
        }
    }

    fn place(&self, index: usize) -> Handle {
        let view = self.view & ((1 << (63 - PLACE_BITS)) - 1);
        Handle { number: 0, transaction: TAKEOVER | view << PLACE_BITS | index as u64 }
    }
}

impl Transactions {
    /// A view was installed without these nodes: undecided transactions that had a lock or an operation there are given up,
    /// decided ones told to those that lead now.
    pub(crate) fn install(&mut self, context: &mut Context<'_>, removed: &[u32]) {
        self.takeover.begin(context.map.state.view.number);
        if !removed.is_empty() {
            self.leave(context, removed);
        }
        for (handle, report) in std::mem::take(&mut self.takeover.early) {
            self.reported(context, handle, &report);
        }
    }

    fn leave(&mut self, context: &mut Context<'_>, removed: &[u32]) {
        for index in 0..self.slots.len() {
            let transaction = &mut self.slots[index];
            if !transaction.used {
                continue;
            }
            let lost = |node: u32| removed.contains(&node);
            let touched = transaction.parts.iter().any(|part| lost(part.node))
                || transaction.outstanding.iter().flatten().any(|waiting| lost(waiting.node));
            match transaction.state {
                State::Active | State::Preparing if touched && context.planted_bug != GOES_ON => {
                    for part in &mut transaction.parts {
                        part.node = primary_of(context, part.partition);
                    }
                    let node = removed[0];
                    self.fail(context, index, ErrorCode::NodeUnreachable, node);
                }
                State::Committing => self.tell_again(context, index, removed),
                State::Active | State::Preparing | State::Failed(_) => {}
            }
        }
    }

    /// COMMIT again to the fragments of a decided transaction whose replicas are others now.
    fn tell_again(&mut self, context: &mut Context<'_>, index: usize, removed: &[u32]) {
        let handle = self.handle(index);
        let transaction = &mut self.slots[index];
        let (id, epoch) = (transaction.id, transaction.epoch);
        for part in transaction.parts.iter_mut().filter(|part| part.writes && !part.committed) {
            let lost = |node: u32| removed.contains(&node);
            if !lost(part.node) && !part.replicas.iter().any(|node| lost(u32::from(*node))) {
                continue;
            }
            part.node = primary_of(context, part.partition);
            if context.planted_bug != NOT_TOLD {
                send_commit(context, handle, id, part.partition, part.lane, epoch, part.node);
            }
        }
    }

    /// A replica holds something prepared in a new configuration: it hears what became of it. The parts of a node install a view one
    /// after the other: a report of one that this coordinator has not installed waits until then, for what it is about may have lost
    /// another replica with the rest of its operations.
    pub(crate) fn reported(&mut self, context: &mut Context<'_>, handle: Handle, body: &TransactionReport) {
        let id = TransactionId { session: body.session.get(), seq: body.seq.get() };
        if handle.transaction & TAKEOVER != 0 {
            return self.collect(body, id);
        }
        if body.view.get() > context.map.state.view.number && context.planted_bug != EARLY_REPORTS {
            return self.takeover.early.push((handle, *body));
        }
        let (partition, node) = (body.partition.get(), body.node.get());
        let lane = context.map.partitions[usize::from(partition)].lane;
        let index = self.of_handle(handle.transaction).filter(|index| self.slots[*index].id == id);
        let state = index.map(|index| self.slots[index].state);
        let asked = |index: usize| self.slots[index].ending.is_some();
        let is_open = match state {
            Some(State::Preparing | State::Committing) => true,
            // It was asked to prepare before all operations were answered.
            Some(State::Active) => index.is_some_and(asked),
            Some(State::Failed(_)) | None => false,
        };
        let Some(index) = index.filter(|_| is_open) else {
            if !matches!(state, Some(State::Active)) {
                // Nobody has decided to commit it and nobody will.
                send_abort(context, handle, id, partition, lane, node);
            }
            return;
        };
        let mut replicas = [0; 8];
        replicas[0] = node as u8;
        if state != Some(State::Committing) {
            self.prepared_alone(context, index, partition, replicas);
        } else {
            let handle = self.handle(index);
            let transaction = &self.slots[index];
            let open = transaction.parts.iter().any(|part| part.partition == partition && !part.committed);
            if open && context.planted_bug != NOT_TOLD {
                send_commit(context, handle, id, partition, lane, transaction.epoch, node);
            }
        }
    }

    /// A replica reports a transaction that this coordinator takes over.
    fn collect(&mut self, body: &TransactionReport, id: TransactionId) {
        self.takeover.begin(body.view.get());
        if self.takeover.view != body.view.get() {
            return;
        }
        let orphan = self.takeover.orphans.entry(id).or_default();
        orphan.replicas.insert((body.partition.get(), body.node.get(), body.role == ROLE_BACKUP));
        if body.state == STATE_COMMITTED {
            orphan.committed = Some(orphan.committed.unwrap_or(0).max(body.epoch.get()));
        }
    }

    /// A local data manager has reported everything behind one lane.
    pub(crate) fn report_ended(&mut self, context: &mut Context<'_>, body: &ReportEnd) {
        self.takeover.begin(body.view.get());
        if self.takeover.view != body.view.get() {
            return;
        }
        self.takeover.ends.insert((body.node.get(), body.lane.get()));
        self.decide_orphans(context);
    }

    /// Decides everything once all reports are in.
    pub(crate) fn decide_orphans(&mut self, context: &mut Context<'_>) {
        let view = &context.map.state.view;
        let lanes = context.map.state.configuration.lanes.max(1);
        let takeover = &mut self.takeover;
        let complete =
            view.members().all(|member| (0..lanes).all(|lane| takeover.ends.contains(&(member.node, lane))));
        if takeover.decided || takeover.view != view.number || !complete {
            return;
        }
        takeover.decided = true;
        takeover.order = takeover.orphans.keys().copied().collect();
        assert!(takeover.order.len() < 1 << PLACE_BITS, "participants are bounded far below");
        for index in 0..takeover.order.len() {
            let id = takeover.order[index];
            let handle = takeover.place(index);
            let Some(orphan) = takeover.orphans.get_mut(&id) else { continue };
            let partitions: BTreeSet<u16> =
                orphan.replicas.iter().map(|(partition, _, _)| *partition).collect();
            for partition in &partitions {
                let lane = context.map.partitions[usize::from(*partition)].lane;
                let primary = primary_of(context, *partition);
                let backup = orphan.replicas.iter().find(|(at, _, backup)| at == partition && *backup);
                match orphan.committed {
                    Some(epoch) => {
                        let node = backup.map_or(primary, |(_, node, _)| *node);
                        send_commit(context, handle, id, *partition, lane, epoch, node);
                    }
                    None => send_abort(context, handle, id, *partition, lane, primary),
                }
            }
            if orphan.committed.is_some() {
                orphan.open = partitions;
                takeover.open += 1;
            }
        }
        context.counters.taken_over += takeover.order.len() as u64;
        self.finish_takeover();
    }

    fn finish_takeover(&mut self) {
        let takeover = &mut self.takeover;
        if takeover.decided && takeover.open == 0 {
            takeover.finished = takeover.finished.max(takeover.view);
        }
    }

    /// A primary has exposed what a transaction that was taken over has changed.
    pub(crate) fn orphan_committed(
        &mut self,
        context: &mut Context<'_>,
        signal: &SignalView<'_>,
        body: &Committed,
    ) {
        let takeover = &mut self.takeover;
        let name = signal.request_id();
        let index = (name & ((1 << PLACE_BITS) - 1)) as usize;
        if index >= takeover.order.len() || takeover.place(index).transaction != name {
            return;
        }
        let handle = takeover.place(index);
        let id = takeover.order[index];
        let Some(orphan) = takeover.orphans.get_mut(&id) else { return };
        if !orphan.open.remove(&body.partition.get()) || !orphan.open.is_empty() {
            return;
        }
        takeover.open -= 1;
        for (partition, node, _) in &orphan.replicas {
            let lane = context.map.partitions[usize::from(*partition)].lane;
            let body = Complete {
                session: id.session.into(),
                seq: id.seq.into(),
                partition: (*partition).into(),
                reserved: 0.into(),
                reserved_2: 0.into(),
            };
            let to = Address::Fragments { node: *node, lane };
            context.out.post(to, handle, &body, Sections::none());
        }
        self.finish_takeover();
    }

    /// Operations of a link were answered with `NotServing` instead of what they saw: their transactions end.
    pub(crate) fn fail_on_link(&mut self, context: &mut Context<'_>, link: crate::interface::LinkId) {
        let node = context.out.identity.sender.node;
        for index in 0..self.slots.len() {
            let transaction = &self.slots[index];
            let undecided = matches!(transaction.state, State::Active | State::Preparing);
            if transaction.used && transaction.link == link && undecided {
                self.fail(context, index, ErrorCode::NotServing, node);
            }
        }
    }
}

/// COMMIT of a decided transaction to a replica of a fragment.
pub(crate) fn send_commit(
    context: &mut Context<'_>,
    handle: Handle,
    id: TransactionId,
    partition: u16,
    lane: u16,
    epoch: u64,
    node: u32,
) {
    let body = CommitRows {
        session: id.session.into(),
        seq: id.seq.into(),
        epoch: epoch.into(),
        commit_time: 0.into(),
        partition: partition.into(),
        origin_cluster: 0.into(),
        reserved: 0.into(),
    };
    context.out.post(Address::Fragments { node, lane }, handle, &body, Sections::none());
}

/// ABORT of a transaction to the primary of a fragment.
pub(crate) fn send_abort(
    context: &mut Context<'_>,
    handle: Handle,
    id: TransactionId,
    partition: u16,
    lane: u16,
    node: u32,
) {
    let body = AbortRows {
        session: id.session.into(),
        seq: id.seq.into(),
        partition: partition.into(),
        reserved: 0.into(),
        reserved_2: 0.into(),
    };
    context.out.post(Address::Fragments { node, lane }, handle, &body, Sections::none());
}
