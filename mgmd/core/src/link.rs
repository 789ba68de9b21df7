//! One connection: who is at the other end, and what waits to be sent to it.

use crate::interface::{LinkId, Nanoseconds};
use duet_protocol::frame::{Envelope, FrameBuilder, MAX_FRAME_BYTES, MAX_HANDSHAKE_BYTES};
use duet_protocol::ids::Instance;
use duet_protocol::signal::{Sections, Signal};

/// Largest frame of a client or a data node, in bytes.
const MAX_REQUEST_FRAME_BYTES: usize = 1 << 20;
/// Bytes waiting for a link above which nothing more is read from it.
const INPUT_PAUSE_BYTES: usize = 1 << 20;
/// Bytes waiting for a link above which large answers, news and Raft messages are withheld.
const OUTPUT_LIMIT_BYTES: usize = 12 << 20;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Somebody connected to us and has not said who.
    Silent,
    /// We connected to this management node and wait for its welcome.
    Greeting {
        /// Management node id.
        node: u32,
    },
    /// A client.
    Client,
    /// A data node.
    DataNode,
    /// Another management node.
    Management {
        /// Its node id.
        node: u32,
        /// Its Raft id.
        raft_id: u64,
        /// Whether it belongs to a cluster.
        in_cluster: bool,
    },
    /// Refused or closed by us; nothing that comes from it counts.
    Closing,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// Its name.
    pub(crate) id: LinkId,
    /// Who is at the other end.
    pub(crate) phase: Phase,
    /// When it was opened.
    pub(crate) opened_at: Nanoseconds,
    /// The instance at the other end, as it says.
    pub(crate) receiver: Instance,
    /// Version of the cluster state that was sent last as news.
    pub(crate) pushed_version: u64,
    builder: FrameBuilder,
    backlog: usize,
}

impl Link {
    /// A new link.
    pub(crate) fn new(id: LinkId, phase: Phase, now: Nanoseconds) -> Link {
        Link {
            id,
            phase,
            opened_at: now,
            receiver: Instance::NONE,
            pushed_version: 0,
            builder: FrameBuilder::new(),
            backlog: 0,
        }
    }

    /// Largest frame to accept now, in bytes.
    pub(crate) fn frame_limit(&self) -> usize {
        match self.phase {
            Phase::Silent | Phase::Closing => MAX_HANDSHAKE_BYTES,
            Phase::Client | Phase::DataNode => MAX_REQUEST_FRAME_BYTES,
            // The welcome of a node that this one chose to call may share its frame with Raft messages.
            Phase::Greeting { .. } | Phase::Management { .. } => MAX_FRAME_BYTES,
        }
    }

    /// Appends a signal; `envelope` is used when the open frame must be sealed first.
    pub(crate) fn push<S: Signal>(
        &mut self,
        envelope: &Envelope,
        request_id: u64,
        body: &S,
        sections: Sections<'_>,
    ) {
        if self.builder.is_full() {
            self.seal(envelope);
        }
        self.builder.push(0, request_id, body, sections);
    }

    /// Seals the open frame, if there is one.
    pub(crate) fn seal(&mut self, envelope: &Envelope) {
        self.builder.seal(&Envelope { receiver: self.receiver, ..*envelope });
    }

    /// Hands out the sealed bytes.
    pub(crate) fn drain(&mut self, send: &mut impl FnMut(LinkId, &[u8])) {
        if !self.builder.is_empty() {
            send(self.id, self.builder.sealed());
            self.builder.clear();
        }
    }

    /// Whether there is room for more `bytes`.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        let waiting = self.waiting_bytes();
        waiting == 0 || waiting + bytes <= OUTPUT_LIMIT_BYTES
    }

    /// Whether more input is wanted.
    pub(crate) fn wants_input(&self) -> bool {
        self.phase != Phase::Closing && self.waiting_bytes() < INPUT_PAUSE_BYTES
    }

    /// Handed-out bytes that the system has not accepted.
    pub(crate) fn set_backlog(&mut self, bytes: usize) {
        self.backlog = bytes;
    }

    fn waiting_bytes(&self) -> usize {
        self.backlog + self.builder.len()
    }
}
