//! Epochs over the whole cluster (PROTOCOL.md §3): opened by the keeper, drained by every part of every node, closed by the
//! keeper when all are drained.
//!
//! The keeper is the lowest node id of the view. Every 10 ms, or every 100 ms while nobody commits anything, it opens the
//! next epoch; each node raises its own at once (every frame does that too) and drains those before: a part has drained
//! epoch `n` when its own epoch is above `n` and none of its commits of `n` or earlier is unfinished. One-pass writes are unfinished until they are exposed, transactions until all
//! their fragments are. That needs no bookkeeping per write: pending writes of a fragment are a queue in the order of their
//! epochs, so the oldest one tells. When all nodes have drained `n`, `n` is closed: everything committed in it and before
//! is final and consistent.
//!
//! What is told may be lost with its connection; the keeper repeats it with the next tick, and each number stands for all below.

use crate::interface::Nanoseconds;
use crate::kernel::Kernel;
use crate::split::{Part, ToCoordinator, ToData};
use duet_protocol::signal::epoch_closed::EpochClosed;
use duet_protocol::signal::epoch_drained::EpochDrained;
use duet_protocol::signal::open_epoch::OpenEpoch;
use duet_protocol::signal::{Sections, Signal, SignalType, SignalView};
use std::collections::VecDeque;

/// Length of an epoch.
pub(crate) const EPOCH_EVERY: Nanoseconds = 10_000_000;
/// Epochs that pass at once while nothing is committed: an idle cluster is woken less often.
const IDLE_EPOCHS: u64 = 10;
/// Most epochs open beyond the newest closed one: W of the protocol. A view begins this far beyond all that its members know
/// of, so that no number is used twice.
pub(crate) const WINDOW: u64 = 64;
/// Time without a closed epoch after which no commit is accepted any more.
const STALLED_AFTER: Nanoseconds = 5_000_000_000;
/// Planted bugs of the simulator's tests: epochs are not raised by what is heard, an epoch is drained while commits of it are unfinished.
pub(crate) const BUG_DEAF: u32 = 11;
const BUG_HASTY: u32 = 12;

/// What a node, or a part of one, knows of epochs besides the one it is in.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    /// This kernel: epoch to be drained, and the newest one that is.
    wanted: u64,
    drained: u64,
    /// This kernel: commits that it has told of.
    commits: u64,
    /// The following in the kernel that keeps membership only. View that it is about.
    view: u64,
    /// Newest epoch that each part has drained: coordinators, then data parts.
    parts: Vec<u64>,
    /// Something was committed: here since the keeper was told, at the keeper anywhere since an epoch was opened.
    busy: bool,
    /// Newest epoch that the keeper asked for.
    asked: u64,
    /// Newest closed epoch, and when it was heard of.
    pub closed: u64,
    closed_at: Nanoseconds,
    /// At the keeper: the other members of the view, and the newest epoch that each has drained.
    members: Vec<(u32, u64)>,
    /// At the keeper: nothing is closed, because transactions of removed instances are being taken over.
    held: bool,
    opened_at: Nanoseconds,
    /// The node accepts no commits, as coordinator 0 sees it.
    pub stalled: bool,
}

/// Commits under way, counted by their epochs: few entries, for epochs that are not closed are few.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    counts: VecDeque<(u64, u32)>,
}

impl Unfinished {
    /// A commit of this epoch begins.
    pub fn begin(&mut self, epoch: u64) {
        let place = self.counts.iter().rposition(|(known, _)| *known <= epoch);
        match place {
            Some(place) if self.counts[place].0 == epoch => self.counts[place].1 += 1,
            Some(place) => self.counts.insert(place + 1, (epoch, 1)),
            None => self.counts.push_front((epoch, 1)),
        }
    }

    /// A commit of this epoch is finished.
    pub fn end(&mut self, epoch: u64) {
        let found = self.counts.iter_mut().find(|(known, _)| *known == epoch);
        let (_, count) = found.expect("a commit ends once, in the epoch in which it began");
        *count -= 1;
        while self.counts.pop_front_if(|(_, count)| *count == 0).is_some() {}
    }

    /// Number of commits under way.
    pub fn len(&self) -> usize {
        self.counts.iter().map(|(_, count)| *count as usize).sum()
    }

    /// The epoch of the oldest commit under way; `u64::MAX` for none.
    pub fn lowest(&self) -> u64 {
        self.counts.front().map_or(u64::MAX, |(epoch, _)| *epoch)
    }
}

impl Kernel {
    /// Whether this kernel speaks for its node.
    fn keeps_epochs(&self) -> bool {
        matches!(self.part, Part::Whole | Part::Coordinator(0))
    }

    /// The node that keeps the epochs: the lowest id of the view.
    fn keeper(&self) -> Option<u32> {
        self.map.state.living_nodes().min()
    }

    /// Nobody waits for the nodes of a group that is lost.
    pub(crate) fn epochs_without_lost_groups(&mut self) {
        let state = &self.map.state;
        self.cut.members.retain(|(node, _)| state.living_nodes().any(|living| living == *node));
    }

    /// A view was installed. Nothing is closed from then on until [`Kernel::takeover_done`], except in the first view, which
    /// has nothing to take over.
    pub(crate) fn epochs_of_view(&mut self, now: Nanoseconds) {
        let view = self.map.state.view.number;
        if view == self.cut.view || !self.keeps_epochs() {
            return;
        }
        let me = self.configuration.node;
        let members = self.map.state.view.groups.iter().flat_map(|group| &group.members);
        self.cut.members =
            members.filter(|member| member.node != me).map(|member| (member.node, 0)).collect();
        self.cut.held = view > 1;
        self.cut.view = view;
        (self.cut.closed_at, self.cut.opened_at) = (now, now);
        let parts = self.split.as_ref().map_or(1, |split| split.shared.coordinators + split.shared.managers);
        self.cut.parts.resize(parts, 0);
    }

    /// The transactions of removed instances are taken over, and `highest` is the highest epoch that any member of the view
    /// has told: the view's own epochs begin beyond all that a removed keeper may have opened, and may be closed.
    pub(crate) fn takeover_done(&mut self, highest: u64) {
        self.cut.held = false;
        if self.epochs.sessions_from() == u64::MAX {
            self.epochs.open_sessions_from(highest + WINDOW + 1);
        }
        if self.keeper() == Some(self.configuration.node) {
            self.raise_epoch(highest + WINDOW + 1);
        }
    }

    /// Timer: the keeper opens the next epoch, everybody tries again to drain, and sees whether epochs close at all.
    pub(crate) fn tick_epochs(&mut self, now: Nanoseconds) {
        self.tell_commits();
        if self.keeps_epochs() && self.cut.view > 0 {
            let passed = now.saturating_sub(self.cut.opened_at) / EPOCH_EVERY;
            let is_keeper = self.keeper() == Some(self.configuration.node);
            let least = if is_keeper && self.is_idle() { IDLE_EPOCHS } else { 1 };
            if passed >= least {
                self.cut.opened_at += passed * EPOCH_EVERY;
            }
            if passed >= least && is_keeper {
                self.cut.busy = false;
                // Where time was lost, numbers are left out: they are the clock of sessions too.
                let room = (self.cut.closed + WINDOW).saturating_sub(self.epoch);
                self.raise_epoch(self.epoch + passed.min(room));
                let body = OpenEpoch {
                    view: self.cut.view.into(),
                    epoch: self.epoch.into(),
                    closed: self.cut.closed.into(),
                };
                self.tell_members(&body);
                self.want_drained(self.epoch - 1);
            }
            let stalled = now.saturating_sub(self.cut.closed_at) > STALLED_AFTER;
            self.cut.stalled = stalled;
            self.epochs.set_stalled(stalled);
        }
        self.drain_epochs();
    }

    /// Commits of this kernel, as primary, backup or coordinator, and sessions, whose numbers an epoch has 65,535 of.
    fn commits(&self) -> u64 {
        let counters = &self.counters;
        let transactions = counters.transactions_committed + counters.sessions_opened;
        counters.writes_committed + counters.writes_applied + transactions
    }

    /// At the keeper: all that was opened is closed but the newest epoch, and nobody is known to have committed anything in it.
    fn is_idle(&self) -> bool {
        !self.cut.busy && self.cut.closed + 1 >= self.epoch
    }

    /// Tells on, towards the keeper, that there was a commit since the last drained epoch: the first one after a pause is not to wait for
    /// the keeper's next question.
    fn tell_commits(&mut self) {
        if self.commits() != self.cut.commits {
            self.report_drained();
        }
        if self.cut.busy && self.keeps_epochs() && self.keeper() != Some(self.configuration.node) {
            self.tell_drained(self.node_drained());
        }
    }

    fn tell_members<S: Signal>(&mut self, body: &S) {
        for index in 0..self.cut.members.len() {
            let node = self.cut.members[index].0 as usize;
            if let Some(link) = self.forward_links.get(node).copied().flatten() {
                self.out.send(link, 0, body, Sections::none());
            }
        }
    }

    /// A signal about epochs from a node. Only the kernel that speaks for its node takes it.
    pub(crate) fn epoch_signal(&mut self, signal: &SignalView<'_>, from: u32) {
        if !self.keeps_epochs() {
            return;
        }
        match signal.signal_type() {
            SignalType::OpenEpoch => {
                let Some(body) = signal.body::<OpenEpoch>() else { return };
                if body.view.get() != self.cut.view || self.keeper() != Some(from) {
                    return;
                }
                self.raise_epoch(body.epoch.get());
                self.see_closed(body.closed.get());
                let before = body.epoch.get().saturating_sub(1);
                // An answer may be lost: the repeated question is answered again.
                if self.node_drained() >= before {
                    self.tell_drained(before);
                } else {
                    self.want_drained(before);
                }
            }
            SignalType::EpochDrained => {
                let Some(body) = signal.body::<EpochDrained>() else { return };
                if body.view.get() == self.cut.view {
                    self.member_drained(from, body.epoch.get(), body.committed.get() > 0);
                }
            }
            SignalType::EpochClosed => {
                let Some(body) = signal.body::<EpochClosed>() else { return };
                if body.view.get() == self.cut.view && self.keeper() == Some(from) {
                    self.see_closed(body.epoch.get());
                }
            }
            _ => {}
        }
    }

    fn see_closed(&mut self, epoch: u64) {
        if epoch > self.cut.closed {
            assert!(epoch < self.epoch, "epoch {epoch} is closed while this node is still in {}", self.epoch);
            self.cut.closed = epoch;
            self.cut.closed_at = self.coordinator.transactions.now;
            self.cut.stalled = false;
            self.epochs.set_stalled(false);
        }
    }

    /// All parts of this node are to drain an epoch.
    fn want_drained(&mut self, epoch: u64) {
        if epoch <= self.cut.asked {
            return;
        }
        self.cut.asked = epoch;
        if let Some(split) = &mut self.split {
            split.out.all_data(|| ToData::Drain { epoch });
            split.out.coordinators_except(Some(0), || ToCoordinator::Drain { epoch });
        }
        self.cut.wanted = epoch;
        self.drain_epochs();
    }

    /// In a part of a node: an epoch is to be drained.
    pub(crate) fn part_wants_drained(&mut self, epoch: u64) {
        self.cut.wanted = self.cut.wanted.max(epoch);
        self.drain_epochs();
    }

    /// Whether this kernel has an epoch to drain that it could not yet.
    #[inline]
    pub(crate) fn is_draining(&self) -> bool {
        self.cut.wanted > self.cut.drained
    }

    /// Says that this kernel has drained what it was asked for, if it has.
    pub(crate) fn drain_epochs(&mut self) {
        if !self.is_draining() {
            return;
        }
        let wanted = self.cut.wanted;
        let unfinished = self.ldm.oldest_unfinished().min(self.coordinator.transactions.unfinished.lowest());
        if self.epoch <= wanted || (unfinished <= wanted && self.configuration.planted_bug != BUG_HASTY) {
            return;
        }
        self.cut.drained = wanted;
        self.ldm.drained = wanted;
        self.coordinator.transactions.drained = wanted;
        self.report_drained();
    }

    /// Says, to the kernel that speaks for the node, up to where this one has drained, and whether it has committed anything since it
    /// last said so.
    fn report_drained(&mut self) {
        let commits = self.commits();
        let busy = std::mem::replace(&mut self.cut.commits, commits) != commits;
        let epoch = self.cut.drained;
        let coordinators = self.split.as_ref().map_or(0, |split| split.shared.coordinators);
        let part = match self.part {
            Part::Whole => 0,
            Part::Coordinator(number) => number,
            Part::Data(number) => coordinators + number,
        };
        match &mut self.split {
            Some(split) if self.part != Part::Coordinator(0) => {
                split.out.to_coordinators[0].push_back(ToCoordinator::EpochDrained { part, epoch, busy });
            }
            _ => self.part_drained(part, epoch, busy),
        }
    }

    /// A part of this node has drained an epoch, and has committed something since the one before or not.
    pub(crate) fn part_drained(&mut self, part: usize, epoch: u64, busy: bool) {
        self.cut.busy |= busy;
        let before = self.node_drained();
        if let Some(drained) = self.cut.parts.get_mut(part) {
            *drained = epoch.max(*drained);
        }
        let drained = self.node_drained();
        if drained > before {
            self.tell_drained(drained);
        }
    }

    /// The newest epoch that all parts of this node have drained.
    fn node_drained(&self) -> u64 {
        self.cut.parts.iter().copied().min().unwrap_or(0)
    }

    fn tell_drained(&mut self, epoch: u64) {
        match self.keeper() {
            Some(keeper) if keeper == self.configuration.node => self.close_epochs(),
            Some(keeper) => {
                let committed = u64::from(std::mem::take(&mut self.cut.busy)).into();
                let body = EpochDrained { view: self.cut.view.into(), epoch: epoch.into(), committed };
                if let Some(link) = self.forward_links.get(keeper as usize).copied().flatten() {
                    self.out.send(link, 0, &body, Sections::none());
                }
            }
            None => {}
        }
    }

    fn member_drained(&mut self, node: u32, epoch: u64, busy: bool) {
        self.cut.busy |= busy;
        assert!(epoch < self.epoch, "node {node} has drained epoch {epoch}, and {} is open", self.epoch);
        if let Some((_, drained)) = self.cut.members.iter_mut().find(|(member, _)| *member == node) {
            *drained = epoch.max(*drained);
            self.close_epochs();
        }
    }

    /// Keeper: closes what all nodes of the view have drained.
    fn close_epochs(&mut self) {
        let others = self.cut.members.iter().map(|(_, drained)| *drained).min().unwrap_or(u64::MAX);
        let drained = others.min(self.node_drained());
        if drained > self.cut.closed && !self.cut.held {
            self.see_closed(drained);
            let body = EpochClosed { view: self.cut.view.into(), epoch: drained.into() };
            self.tell_members(&body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_commits_are_counted_by_epoch() {
        let mut unfinished = Unfinished::default();
        assert_eq!(unfinished.lowest(), u64::MAX);
        for epoch in [5, 5, 9, 7, 5, 3] {
            unfinished.begin(epoch);
        }
        assert_eq!(unfinished.counts, [(3, 1), (5, 3), (7, 1), (9, 1)]);
        for (ended, lowest) in [(5, 3), (7, 3), (3, 5), (5, 5), (5, 9), (9, u64::MAX)] {
            unfinished.end(ended);
            assert_eq!(unfinished.lowest(), lowest);
        }
        assert!(unfinished.counts.is_empty());
    }
}
