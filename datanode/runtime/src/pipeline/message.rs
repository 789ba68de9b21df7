//! Messages between the threads that own sockets and the parts of the node.

use duet_datanode_core::{CloseReason, LinkId, Target};
use duet_memory::Section;
use duet_protocol::error::ErrorCode;
use socket2::Socket;
use std::sync::Arc;

/// From the receiver of a link to its coordinator part.
pub(crate) enum ToPart {
    /// Somebody connected.
    Accepted(LinkId),
    /// A wanted connection is open.
    Connected(LinkId, Target),
    /// A wanted connection could not be opened.
    ConnectFailed(Target),
    /// A link is gone.
    Closed(LinkId, CloseReason),
    /// A whole frame.
    Frame(LinkId, Section),
    /// The link's bytes cannot be a frame.
    Damaged(LinkId, ErrorCode),
}

impl ToPart {
    /// Bytes of the message, and of what it refers to.
    pub fn bytes(&self) -> usize {
        size_of::<ToPart>() + if let ToPart::Frame(_, frame) = self { frame.len() } else { 0 }
    }
}

/// From a part to the thread that sends on a link, and from a send thread to the receiver that owns the link.
pub(crate) enum ToSender {
    /// Send these bytes after all earlier ones.
    Bytes(LinkId, Section),
    /// Then close; why, if the other side was refused.
    Close(LinkId, Option<ErrorCode>),
    /// Open a connection (receiver 0).
    Connect(Target, Box<str>),
    /// Tell people (receiver 0).
    Warn(Box<str>),
    /// The process must end (receiver 0).
    Stop(Box<str>),
    /// The process ends without an error: whether it is to start again, and why.
    End(bool, Box<str>),
}

/// From the receiver that owns a link to the send thread of the link.
pub(crate) enum ToAssistant {
    /// The link is open.
    Opened(LinkId, Arc<Socket>),
    /// Everything that the assistant passed on, so many messages, is sent: it may send itself again.
    Resume(LinkId, u64),
    /// Nothing can be sent any more.
    Removed(LinkId),
}

const _: () =
    assert!(size_of::<ToPart>() <= 64 && size_of::<ToSender>() <= 64 && size_of::<ToAssistant>() <= 64);
