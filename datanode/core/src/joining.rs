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
use duet_protocol::signal::propose_view::{KIND_JOIN, KIND_PROMOTE};

/// Where a process is with respect to the view.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    /// The newest cluster state, while this process is not in its view.
    pub(crate) outside: Option<ClusterState>,
    /// It was in a view.
    entered: bool,
}

impl Joining {
    /// Whether a process that is not in the view of this state may hope to get into it.
    pub(crate) fn may_wait(&self, state: &ClusterState, me: Instance) -> bool {
        !self.entered && state.view.member(me.node).is_none_or(|member| member.incarnation < me.incarnation)
    }

    /// It is in the view.
    pub(crate) fn enter(&mut self) {
        self.entered = true;
        self.outside = None;
    }
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
            self.views.proposal = None;
            return;
        };
        let known = (group, view.changed_in_view, highest);
        if joiner == me || self.drained.copied < self.map.state.version {
            return;
        }
        self.lease_board.pair_with(joiner);
        if self.lease_board.is_paired_with(joiner) {
            self.propose(now, KIND_PROMOTE, known, joiner);
        }
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
