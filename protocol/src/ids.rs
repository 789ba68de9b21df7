//! Names of things: newtyped integers, so that a partition is never mistaken for a table.

use std::fmt;

/// A data node (1..=255) or, with value 0, "no data node" (a client, a management node).
pub type NodeId = u32;

/// One life of a data node: its id and the incarnation that the management node issued when it registered.
///
/// Views name instances, never bare nodes, so that a restarted process cannot pass for the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance {
    /// Node id; 0 for clients and management nodes.
    pub node: NodeId,
    /// Incarnation, counted from 1; 0 for "not registered".
    pub incarnation: u32,
}

impl Instance {
    /// The instance of everything that is not a registered data node.
    pub const NONE: Instance = Instance { node: 0, incarnation: 0 };
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.incarnation)
    }
}

/// Version of a row: total order of the writes of its fragment, tagged with the commit epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowVersion {
    /// Commit epoch, at most 48 bits.
    pub epoch: u64,
    /// Position in the fragment's sequence, at most 48 bits.
    pub seq: u64,
}

impl fmt::Display for RowVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

/// Identity of a write: the client's session and its running number there. A retry carries the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId {
    /// Session, opened by a data node; its upper 40 bits are the opening epoch.
    pub session: u64,
    /// Number within the session, counted from 1 without gaps.
    pub seq: u64,
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.session, self.seq)
    }
}

/// Bits of a session id below its opening epoch: 8 bits of node id, 16 bits of counter.
pub const SESSION_LOW_BITS: u32 = 24;

/// Builds the session id that `node` opens in `epoch` as its `counter`-th of that epoch.
pub fn session_id(epoch: u64, node: NodeId, counter: u16) -> u64 {
    (epoch << SESSION_LOW_BITS) | (u64::from(node & 0xff) << 16) | u64::from(counter)
}

/// The epoch in which a session was opened.
pub fn session_epoch(session: u64) -> u64 {
    session >> SESSION_LOW_BITS
}

/// Epochs in an hour at 10 ms each: the life of a session.
pub const SESSION_LIFE_EPOCHS: u64 = 360_000;
