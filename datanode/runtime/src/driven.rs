//! What the batch loop drives: the kernel, or a test's stand-in.

use crate::clock::wall_microseconds;
use crate::mailbox::LoopBell;
use duet_datanode_core::{CloseReason, Command, Kernel, LinkId, Nanoseconds, NodeCounters, Target};
use duet_protocol::error::ErrorCode;
use socket2::Socket;
use std::sync::Arc;

/// Usual time between two ticks.
pub(crate) const TICK_EVERY: Nanoseconds = 10_000_000;

/// The methods of [`Kernel`] that a driver calls; their meaning is documented there.
pub trait Driven {
    /// See [`Kernel::link_accepted`].
    fn link_accepted(&mut self, now: Nanoseconds, link: LinkId);
    /// See [`Kernel::link_connected`].
    fn link_connected(&mut self, now: Nanoseconds, link: LinkId, target: Target);
    /// See [`Kernel::connect_failed`].
    fn connect_failed(&mut self, now: Nanoseconds, target: Target);
    /// See [`Kernel::link_closed`].
    fn link_closed(&mut self, now: Nanoseconds, link: LinkId, reason: CloseReason);
    /// See [`Kernel::frame_limit`].
    fn frame_limit(&self, link: LinkId) -> usize;
    /// See [`Kernel::frame`].
    fn frame(&mut self, now: Nanoseconds, link: LinkId, bytes: &[u8]);
    /// See [`Kernel::damaged`].
    fn damaged(&mut self, now: Nanoseconds, link: LinkId, code: ErrorCode);
    /// See [`Kernel::tick`].
    fn tick(&mut self, now: Nanoseconds);
    /// See [`Kernel::leave`]. Those that have no part in it do nothing.
    fn leave(&mut self, _now: Nanoseconds) {}
    /// See [`Kernel::flush`].
    fn flush(&mut self, now: Nanoseconds);
    /// See [`Kernel::has_burst`].
    fn has_burst(&self) -> bool {
        false
    }
    /// See [`Kernel::drain_output`].
    fn drain_output(&mut self, send: impl FnMut(LinkId, &[u8]));
    /// See [`Kernel::set_backlog`].
    fn set_backlog(&mut self, link: LinkId, bytes: usize);
    /// See [`Kernel::wants_input`].
    fn wants_input(&self, link: LinkId) -> bool;
    /// See [`Kernel::next_command`].
    fn next_command(&mut self) -> Option<Command>;
    /// See [`Kernel::counters`].
    fn counters(&self) -> NodeCounters;
    /// A link has this socket; called before anything else is said of the link.
    fn link_opened(&mut self, _link: LinkId, _socket: &Arc<Socket>) {}
    /// This side is about to close a link, of its own accord or because the system gave up on it.
    fn link_ending(&mut self, _link: LinkId) {}
    /// Nothing can be sent on a link any more.
    fn link_removed(&mut self, _link: LinkId) {}
    /// Whether a link that was reported as damaged is closed by a later command, once the refusal was handed out, and not
    /// by the loop at the end of the burst.
    fn closes_damaged_links(&self) -> bool {
        false
    }
    /// Time between two calls of [`Driven::tick`] that is enough for now, when nothing else happens.
    fn tick_every(&self) -> Nanoseconds {
        TICK_EVERY
    }
    /// What other threads ring when they have put something into a mailbox of this one; none without mailboxes.
    fn bell(&self) -> Option<LoopBell> {
        None
    }
    /// Whether a mailbox holds something.
    fn has_mail(&mut self) -> bool {
        false
    }
}

impl Driven for Kernel {
    fn link_accepted(&mut self, now: Nanoseconds, link: LinkId) {
        Kernel::link_accepted(self, now, link);
    }

    fn link_connected(&mut self, now: Nanoseconds, link: LinkId, target: Target) {
        Kernel::link_connected(self, now, link, target);
    }

    fn connect_failed(&mut self, now: Nanoseconds, target: Target) {
        Kernel::connect_failed(self, now, target);
    }

    fn link_closed(&mut self, now: Nanoseconds, link: LinkId, reason: CloseReason) {
        Kernel::link_closed(self, now, link, reason);
    }

    fn frame_limit(&self, link: LinkId) -> usize {
        Kernel::frame_limit(self, link)
    }

    fn frame(&mut self, now: Nanoseconds, link: LinkId, bytes: &[u8]) {
        Kernel::frame(self, now, link, bytes);
    }

    fn damaged(&mut self, now: Nanoseconds, link: LinkId, code: ErrorCode) {
        Kernel::damaged(self, now, link, code);
    }

    fn tick(&mut self, now: Nanoseconds) {
        self.set_wall_clock(wall_microseconds());
        Kernel::tick(self, now);
    }

    fn leave(&mut self, now: Nanoseconds) {
        Kernel::leave(self, now);
    }

    fn flush(&mut self, now: Nanoseconds) {
        Kernel::flush(self, now);
    }

    fn has_burst(&self) -> bool {
        Kernel::has_burst(self)
    }

    fn drain_output(&mut self, send: impl FnMut(LinkId, &[u8])) {
        Kernel::drain_output(self, send);
    }

    fn set_backlog(&mut self, link: LinkId, bytes: usize) {
        Kernel::set_backlog(self, link, bytes);
    }

    fn wants_input(&self, link: LinkId) -> bool {
        Kernel::wants_input(self, link)
    }

    fn next_command(&mut self) -> Option<Command> {
        Kernel::next_command(self)
    }

    fn counters(&self) -> NodeCounters {
        Kernel::counters(self)
    }
}
