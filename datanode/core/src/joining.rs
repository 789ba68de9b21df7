//! How a process gets into the view that was not in it: a node that comes back, with the next incarnation and without its memory
//! (PROTOCOL.md §2 "Joiner").
//!
//! 1. It registers. While an earlier life of it is still a member the management nodes refuse; the other member removes that.
//! 2. It keeps the cluster state aside and proposes that it joins; the view in which it is JOINING is the first that it installs.
//! 3. The full member of its group copies every fragment to it (`ldm/copy.rs`), needs its lease from then on (PAIRED), and proposes that
//!    it is promoted.
//!
//! A process that was a member once and is none any more ends: it has no right to what it holds.

use crate::interface::{Command, Nanoseconds};
use crate::kernel::Kernel;
use crate::split::Part;
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::Instance;
use duet_protocol::record::{ClusterState, MemberState};
use duet_protocol::signal::propose_view::{KIND_JOIN, KIND_PROMOTE, KIND_REMOVE, KIND_SWAP};

/// Time for which partitions are closed to be handed over before that is given up for now.
const CLOSED_FOR: Nanoseconds = 100_000_000;
/// Time until it is tried again.
const HAND_OVER_AGAIN: Nanoseconds = 500_000_000;
/// Time after which a member that joins and does not get on is given up: its group goes on without it, and it may be started again.
const STUCK_AFTER: Nanoseconds = 5_000_000_000;

/// Where a process is with respect to the view.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    /// The newest cluster state, while this process is not in its view.
    pub(crate) outside: Option<ClusterState>,
    /// It was in a view.
    entered: bool,
    /// What is closed for a hand-over is opened again then.
    give_up_at: Nanoseconds,
    /// Hand-overs that were tried.
    attempts: u32,
    /// View in which the group had changed last when a swap was proposed.
    swap_proposed_in: u64,
    /// No hand-over begins before.
    hand_over_at: Nanoseconds,
    /// What this node has seen last of the member that joins: what had been copied to it, and when that became more.
    joiner: Option<(Instance, u64, Nanoseconds)>,
    looked_at: Nanoseconds,
}

impl Joining {
    /// Whether a process that is not in the view of this state may hope to get into it.
    pub(crate) fn may_wait(&self, state: &ClusterState, me: Instance) -> bool {
        !self.entered && state.view.member(me.node).is_none_or(|member| member.incarnation < me.incarnation)
    }

    /// Whether the member that joins has got nothing more for long.
    fn is_stuck(&mut self, now: Nanoseconds, joiner: Instance, copied: u64) -> bool {
        let was_away = now.saturating_sub(std::mem::replace(&mut self.looked_at, now)) > STUCK_AFTER / 4;
        match self.joiner {
            Some((known, before, since)) if known == joiner && before == copied && !was_away => {
                now.saturating_sub(since) > STUCK_AFTER
            }
            _ => {
                self.joiner = Some((joiner, copied, now));
                false
            }
        }
    }

    /// It is in the view.
    pub(crate) fn enter(&mut self) {
        self.entered = true;
        self.outside = None;
    }
}

/// Whether an attempt to hand over is one of the view in which the group changed last.
fn is_of_view(attempt: u64, changed_in_view: u64) -> bool {
    attempt != 0 && attempt >> 32 == changed_in_view & u64::from(u32::MAX)
}

impl Kernel {
    /// Timer: a process outside of the view proposes that it joins.
    pub(crate) fn tick_joining(&mut self, now: Nanoseconds) {
        let Some(state) = &self.joining.outside else { return };
        // An earlier life of this node may have promised to keep still until then.
        if now < self.start_until || !matches!(self.part, Part::Whole | Part::Coordinator(0)) {
            return;
        }
        let me = self.membership.instance;
        let replicas = state.configuration.replicas.max(1);
        let group = ((me.node.saturating_sub(1)) / replicas) as u16;
        let Some(found) = state.view.groups.get(usize::from(group)) else { return };
        if found.members.len() >= replicas as usize || state.view.member(me.node).is_some() {
            return;
        }
        let known = (group, found.changed_in_view, state.view.number);
        self.propose(now, KIND_JOIN, known, me);
    }

    /// The only full member of a group proposes to promote the one that joins, once that has everything and its lease is needed.
    pub(crate) fn propose_promotion(&mut self, now: Nanoseconds) {
        let (me, highest) = (self.membership.instance, self.map.state.view.number);
        let Some((group, view)) = self.map.state.view.group_of(me.node) else { return };
        let joins = |node: &&duet_protocol::record::Member| node.state == MemberState::Joining;
        let Some(joiner) = view.members.iter().find(joins).map(duet_protocol::record::Member::instance)
        else {
            return self.propose_swap(now);
        };
        let known = (group, view.changed_in_view, highest);
        if joiner == me {
            return;
        }
        let has_everything = self.drained.copied >= self.map.state.version;
        let copied = self.lease_board.copied();
        let goes_on = has_everything && !self.views.is_changing();
        if goes_on {
            self.joining.joiner = None;
        } else if self.joining.is_stuck(now, joiner, copied) {
            // Nobody needs it yet, and everybody waits for it.
            return self.propose(now, KIND_REMOVE, known, joiner);
        }
        if !has_everything {
            return;
        }
        self.lease_board.pair_with(joiner);
        if self.lease_board.is_paired_with(joiner) {
            self.propose(now, KIND_PROMOTE, known, joiner);
        }
    }

    /// A full member of a whole group hands over what others led in the first view: closes it, and proposes the swap once nothing is
    /// under way in it. Where that does not come soon it is opened again, and tried later.
    pub(crate) fn propose_swap(&mut self, now: Nanoseconds) {
        let me = self.membership.instance;
        let state = &self.map.state;
        let Some((group, view)) = state.view.group_of(me.node) else { return };
        let changed = view.changed_in_view;
        let attempt = self.lease_board.closing();
        let is_closed = is_of_view(attempt, changed);
        if is_closed && self.drained.quiet >= attempt {
            self.joining.swap_proposed_in = changed;
        }
        if self.joining.swap_proposed_in == changed {
            // Until the group has changed it may come true, whatever else was proposed meanwhile.
            let partitions = self.partitions_to_hand_over();
            return self.propose_with(now, KIND_SWAP, (group, changed, state.view.number), me, partitions);
        }
        self.views.proposal = None;
        if is_closed {
            if now >= self.joining.give_up_at {
                self.lease_board.close_for(0);
                self.joining.hand_over_at = now + HAND_OVER_AGAIN;
            }
            return;
        }
        let settled = !self.views.is_changing() && self.drained.built >= self.map.state.version;
        if now < self.joining.hand_over_at || !settled || !self.hands_over {
            return;
        }
        self.joining.give_up_at = now + CLOSED_FOR;
        self.joining.attempts += 1;
        self.lease_board.close_for(changed << 32 | u64::from(self.joining.attempts));
    }

    fn partitions_to_hand_over(&self) -> Vec<u8> {
        let me = self.membership.instance.node;
        let partitions = 0..self.map.partitions.len() as u16;
        partitions
            .filter(|partition| self.map.should_hand_over(*partition, me))
            .flat_map(u16::to_le_bytes)
            .collect()
    }

    /// Closes or opens what is to be handed over; the attempt for which it is closed and quiet, 0 if it is not.
    pub(crate) fn look_at_hand_over(&mut self) -> u64 {
        let node = self.membership.instance.node;
        let changed = self.map.state.view.group_of(node).map_or(0, |(_, group)| group.changed_in_view);
        let attempt = self.lease_board.closing();
        if !is_of_view(attempt, changed) {
            self.ldm.reopen();
            return 0;
        }
        self.ldm.close_for_hand_over(&self.map, node, attempt);
        if self.ldm.is_ready_to_hand_over(self.configuration.planted_bug) { attempt } else { 0 }
    }

    /// What is copied to this node does not fit its memory: it gives up, and whoever copies goes on without it.
    pub(crate) fn stop_without_memory(&mut self) {
        if self.ldm.lacks_memory_to_join() {
            let code = ErrorCode::OutOfMemory;
            let node = self.membership.instance.node;
            let reason = format!(
                "{} node {node} has too little memory for the rows of its group: give it at least as much as the other one has",
                code as u16
            );
            self.commands.push_back(Command::Stop { reason });
        }
    }
}
