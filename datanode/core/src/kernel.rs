//! The kernel: all blocks of one thread, and the dispatch between them.

use crate::interface::{CloseReason, Command, LinkId, Nanoseconds, NodeConfiguration, NodeCounters, Target};

/// All blocks of a data node in one thread (the batch pipeline).
///
/// Driver's loop: for every event call the method of its name; when a burst of events is through call
/// [`Kernel::flush`], then write what [`Kernel::drain_output`] hands out and obey [`Kernel::next_command`].
pub struct Kernel {}

impl Kernel {
    /// A node that has not contacted anyone yet.
    ///
    /// # Errors
    /// A sentence when the configuration is impossible or the memory cannot be reserved.
    pub fn new(_configuration: NodeConfiguration, _now: Nanoseconds) -> Result<Kernel, String> {
        Ok(Kernel {})
    }

    /// Somebody connected to this node.
    pub fn link_accepted(&mut self, _now: Nanoseconds, _link: LinkId) {}

    /// A wanted connection is open.
    pub fn link_connected(&mut self, _now: Nanoseconds, _link: LinkId, _target: Target) {}

    /// A wanted connection could not be opened; the kernel asks again later.
    pub fn connect_failed(&mut self, _now: Nanoseconds, _target: Target) {}

    /// A link is gone.
    pub fn link_closed(&mut self, _now: Nanoseconds, _link: LinkId, _reason: CloseReason) {}

    /// Largest frame to accept from this link now, in bytes (small before the handshake).
    pub fn frame_limit(&self, _link: LinkId) -> usize {
        0
    }

    /// One whole frame arrived (its announced length was checked against [`Kernel::frame_limit`]).
    pub fn frame(&mut self, _now: Nanoseconds, _link: LinkId, _bytes: &[u8]) {}

    /// The link's bytes cannot be a frame: a refusal is queued and the link closed.
    pub fn damaged(&mut self, _now: Nanoseconds, _link: LinkId, _code: duet_protocol::error::ErrorCode) {}

    /// Timers; call at least every 10 ms.
    pub fn tick(&mut self, _now: Nanoseconds) {}

    /// Ends a burst: acknowledgements are added and all open frames sealed.
    pub fn flush(&mut self, _now: Nanoseconds) {}

    /// Hands out the sealed bytes of every link that has some, and forgets them.
    pub fn drain_output(&mut self, _send: impl FnMut(LinkId, &[u8])) {}

    /// Tells how many handed-out bytes of a link are not yet accepted by the system.
    pub fn set_backlog(&mut self, _link: LinkId, _bytes: usize) {}

    /// Whether the driver should read from this link now (false while its replies pile up).
    pub fn wants_input(&self, _link: LinkId) -> bool {
        true
    }

    /// The next command, if any.
    pub fn next_command(&mut self) -> Option<Command> {
        None
    }

    /// Counters and gauges now.
    pub fn counters(&self) -> NodeCounters {
        NodeCounters::default()
    }
}
