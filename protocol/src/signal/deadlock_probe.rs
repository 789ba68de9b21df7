//! Follows who waits for whom, to find a circle of waiting transactions.
//!
//! Sender: coordinator of a transaction that waits. Receiver: coordinator of the transaction that it waits for, named by the header's block. A
//! probe that comes back to where it began (`target` is the initiator) has found a circle (edge chasing: Chandy, Misra, Haas 1983).
//!
//! ```text
//! byte  32  initiator_session    u64      session of the transaction that began the probe, the youngest of a circle
//! byte  40  initiator_seq        u64      its number
//! byte  48  initiator_node       u32      node of its coordinator
//! byte  52  initiator_coordinator u32      number of its coordinator
//! byte  56  target_session       u64      session of the transaction that is asked
//! byte  64  target_seq           u64      its number
//! byte  72  hops                 u32      transactions passed so far
//! byte  76  reserved             u32      0
//! ```

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Follows who waits for whom, to find a circle of waiting transactions. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DeadlockProbe {
    /// Session of the transaction that began the probe, the youngest of a circle.
    pub initiator_session: U64,
    /// Its number.
    pub initiator_seq: U64,
    /// Node of its coordinator.
    pub initiator_node: U32,
    /// Number of its coordinator.
    pub initiator_coordinator: U32,
    /// Session of the transaction that is asked.
    pub target_session: U64,
    /// Its number.
    pub target_seq: U64,
    /// Transactions passed so far.
    pub hops: U32,
    /// 0.
    pub reserved: U32,
}

const _: () = assert!(size_of::<DeadlockProbe>() == 48);
