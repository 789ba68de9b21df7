//! A node as its driver sees it, whatever its parts.

use super::SplitKernel;
use crate::interface::{CloseReason, Command, LinkId, Nanoseconds, NodeConfiguration, NodeCounters, Target};
use crate::kernel::Kernel;
use crate::ldm::ReplicaDigest;
use crate::ldm::journal::CommittedChange;
use crate::ldm::unique::UniqueEntry;
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::Instance;

/// A node of one part or of several, for the simulator and for tests.
#[derive(Debug)]
pub enum NodeKernel {
    /// Everything in one kernel: the batch pipeline.
    Whole(Box<Kernel>),
    /// Several parts.
    Split(Box<SplitKernel>),
}

impl NodeKernel {
    /// A node that is one kernel, or has these numbers of coordinator and data parts; `lazy` as in [`SplitKernel::new`].
    ///
    /// # Errors
    /// As [`Kernel::new`].
    pub fn new(
        configuration: NodeConfiguration,
        now: Nanoseconds,
        parts: Option<(usize, usize)>,
        lazy: bool,
    ) -> Result<NodeKernel, String> {
        Ok(match parts {
            None => NodeKernel::Whole(Box::new(Kernel::new(configuration, now)?)),
            Some((coordinators, managers)) => {
                let split = SplitKernel::new(&configuration, now, coordinators, managers, lazy)?;
                NodeKernel::Split(Box::new(split))
            }
        })
    }

    /// See [`SplitKernel::is_behind`].
    pub fn is_behind(&self) -> bool {
        match self {
            NodeKernel::Whole(_) => false,
            NodeKernel::Split(kernel) => kernel.is_behind(),
        }
    }

    /// See [`Kernel::leave`].
    pub fn leave(&mut self, now: Nanoseconds) {
        match self {
            NodeKernel::Whole(kernel) => kernel.leave(now),
            NodeKernel::Split(kernel) => kernel.leave(now),
        }
    }

    /// See [`Kernel::link_accepted`].
    pub fn link_accepted(&mut self, now: Nanoseconds, link: LinkId) {
        match self {
            NodeKernel::Whole(kernel) => kernel.link_accepted(now, link),
            NodeKernel::Split(kernel) => kernel.link_accepted(now, link),
        }
    }

    /// See [`Kernel::link_connected`].
    pub fn link_connected(&mut self, now: Nanoseconds, link: LinkId, target: Target) {
        match self {
            NodeKernel::Whole(kernel) => kernel.link_connected(now, link, target),
            NodeKernel::Split(kernel) => kernel.link_connected(now, link, target),
        }
    }

    /// See [`Kernel::connect_failed`].
    pub fn connect_failed(&mut self, now: Nanoseconds, target: Target) {
        match self {
            NodeKernel::Whole(kernel) => kernel.connect_failed(now, target),
            NodeKernel::Split(kernel) => kernel.connect_failed(now, target),
        }
    }

    /// See [`Kernel::link_closed`].
    pub fn link_closed(&mut self, now: Nanoseconds, link: LinkId, reason: CloseReason) {
        match self {
            NodeKernel::Whole(kernel) => kernel.link_closed(now, link, reason),
            NodeKernel::Split(kernel) => kernel.link_closed(now, link, reason),
        }
    }

    /// See [`Kernel::frame_limit`].
    pub fn frame_limit(&self, link: LinkId) -> usize {
        match self {
            NodeKernel::Whole(kernel) => kernel.frame_limit(link),
            NodeKernel::Split(kernel) => kernel.frame_limit(link),
        }
    }

    /// See [`Kernel::frame`].
    pub fn frame(&mut self, now: Nanoseconds, link: LinkId, bytes: &[u8]) {
        match self {
            NodeKernel::Whole(kernel) => kernel.frame(now, link, bytes),
            NodeKernel::Split(kernel) => kernel.frame(now, link, bytes),
        }
    }

    /// See [`Kernel::damaged`].
    pub fn damaged(&mut self, now: Nanoseconds, link: LinkId, code: ErrorCode) {
        match self {
            NodeKernel::Whole(kernel) => kernel.damaged(now, link, code),
            NodeKernel::Split(kernel) => kernel.damaged(now, link, code),
        }
    }

    /// See [`Kernel::set_wall_clock`].
    pub fn set_wall_clock(&mut self, microseconds: i64) {
        match self {
            NodeKernel::Whole(kernel) => kernel.set_wall_clock(microseconds),
            NodeKernel::Split(kernel) => kernel.set_wall_clock(microseconds),
        }
    }

    /// See [`Kernel::tick`].
    pub fn tick(&mut self, now: Nanoseconds) {
        match self {
            NodeKernel::Whole(kernel) => kernel.tick(now),
            NodeKernel::Split(kernel) => kernel.tick(now),
        }
    }

    /// See [`Kernel::flush`].
    pub fn flush(&mut self, now: Nanoseconds) {
        match self {
            NodeKernel::Whole(kernel) => kernel.flush(now),
            NodeKernel::Split(kernel) => kernel.flush(now),
        }
    }

    /// See [`Kernel::drain_output`].
    pub fn drain_output(&mut self, send: impl FnMut(LinkId, &[u8])) {
        match self {
            NodeKernel::Whole(kernel) => kernel.drain_output(send),
            NodeKernel::Split(kernel) => kernel.drain_output(send),
        }
    }

    /// See [`Kernel::set_backlog`].
    pub fn set_backlog(&mut self, link: LinkId, bytes: usize) {
        match self {
            NodeKernel::Whole(kernel) => kernel.set_backlog(link, bytes),
            NodeKernel::Split(kernel) => kernel.set_backlog(link, bytes),
        }
    }

    /// See [`Kernel::wants_input`].
    pub fn wants_input(&self, link: LinkId) -> bool {
        match self {
            NodeKernel::Whole(kernel) => kernel.wants_input(link),
            NodeKernel::Split(kernel) => kernel.wants_input(link),
        }
    }

    /// See [`Kernel::next_command`].
    pub fn next_command(&mut self) -> Option<Command> {
        match self {
            NodeKernel::Whole(kernel) => kernel.next_command(),
            NodeKernel::Split(kernel) => kernel.next_command(),
        }
    }

    /// See [`Kernel::counters`].
    pub fn counters(&self) -> NodeCounters {
        match self {
            NodeKernel::Whole(kernel) => kernel.counters(),
            NodeKernel::Split(kernel) => kernel.counters(),
        }
    }

    /// See [`Kernel::last_position`].
    pub fn last_position(&self, partition: u16) -> Option<u64> {
        match self {
            NodeKernel::Whole(kernel) => kernel.last_position(partition),
            NodeKernel::Split(kernel) => kernel.last_position(partition),
        }
    }

    /// See [`Kernel::serves`].
    pub fn serves(&self, partition: u16, now: Nanoseconds) -> bool {
        match self {
            NodeKernel::Whole(kernel) => kernel.serves(partition, now),
            NodeKernel::Split(kernel) => kernel.serves(partition, now),
        }
    }

    /// See [`Kernel::may_observe`].
    pub fn may_observe(&self, now: Nanoseconds) -> bool {
        match self {
            NodeKernel::Whole(kernel) => kernel.may_observe(now),
            NodeKernel::Split(kernel) => kernel.may_observe(now),
        }
    }

    /// See [`Kernel::lease_with`].
    pub fn lease_with(&self, other: Instance) -> Option<(Nanoseconds, Nanoseconds)> {
        match self {
            NodeKernel::Whole(kernel) => kernel.lease_with(other),
            NodeKernel::Split(kernel) => kernel.lease_with(other),
        }
    }

    /// See [`Kernel::instance`].
    pub fn instance(&self) -> Instance {
        match self {
            NodeKernel::Whole(kernel) => kernel.instance(),
            NodeKernel::Split(kernel) => kernel.instance(),
        }
    }

    /// See [`Kernel::is_changing_view`].
    pub fn is_changing_view(&self) -> bool {
        match self {
            NodeKernel::Whole(kernel) => kernel.is_changing_view(),
            NodeKernel::Split(kernel) => kernel.is_changing_view(),
        }
    }

    /// See [`Kernel::proposes_promotion`].
    pub fn proposes_promotion(&self) -> bool {
        match self {
            NodeKernel::Whole(kernel) => kernel.proposes_promotion(),
            NodeKernel::Split(kernel) => kernel.proposes_promotion(),
        }
    }

    /// See [`Kernel::is_undecided`].
    pub fn is_undecided(&self, partition: u16, position: u64) -> bool {
        match self {
            NodeKernel::Whole(kernel) => kernel.is_undecided(partition, position),
            NodeKernel::Split(kernel) => kernel.is_undecided(partition, position),
        }
    }

    /// See [`Kernel::under_way`].
    pub fn under_way(&self, count: impl FnMut(&'static str, u64)) {
        match self {
            NodeKernel::Whole(kernel) => kernel.under_way(count),
            NodeKernel::Split(kernel) => kernel.under_way(count),
        }
    }

    /// See [`Kernel::closed_epoch`].
    pub fn closed_epoch(&self) -> u64 {
        match self {
            NodeKernel::Whole(kernel) => kernel.closed_epoch(),
            NodeKernel::Split(kernel) => kernel.closed_epoch(),
        }
    }

    /// See [`Kernel::keep_commits`].
    pub fn keep_commits(&mut self) {
        match self {
            NodeKernel::Whole(kernel) => kernel.keep_commits(),
            NodeKernel::Split(kernel) => kernel.keep_commits(),
        }
    }

    /// See [`Kernel::take_commits`].
    pub fn take_commits(&mut self) -> Vec<CommittedChange> {
        match self {
            NodeKernel::Whole(kernel) => kernel.take_commits(),
            NodeKernel::Split(kernel) => kernel.take_commits(),
        }
    }

    /// See [`Kernel::unique_entries`].
    pub fn unique_entries(&self) -> Vec<(UniqueEntry, bool)> {
        match self {
            NodeKernel::Whole(kernel) => kernel.unique_entries(),
            NodeKernel::Split(kernel) => kernel.unique_entries(),
        }
    }

    /// See [`Kernel::replica_digests`].
    pub fn replica_digests(&self) -> Vec<ReplicaDigest> {
        match self {
            NodeKernel::Whole(kernel) => kernel.replica_digests(),
            NodeKernel::Split(kernel) => kernel.replica_digests(),
        }
    }

    /// See [`Kernel::index_faults`].
    pub fn index_faults(&self) -> Vec<String> {
        match self {
            NodeKernel::Whole(kernel) => kernel.index_faults(),
            NodeKernel::Split(kernel) => kernel.index_faults(),
        }
    }
}
