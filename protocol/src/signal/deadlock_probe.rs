//! Follows who waits for whom, to find a circle of waiting transactions.
//!
//! Sender: coordinator of a transaction that waits. Receiver: coordinator of the transaction that it waits for, named by the
//! header's block. A probe that comes back to its initiator has found a circle (edge chasing: Chandy, Misra, Haas 1983);
//! then the transaction that it passed and that was tried least often gets the verdict, the youngest of several. So whoever
//! is rolled back again and again wins in the end.
//!
//! ```text
//! byte  32  initiator_session     u64      session of the transaction that began the probe
//! byte  40  initiator_seq         u64      its number
//! byte  48  initiator_node        u32      node of its coordinator
//! byte  52  initiator_coordinator u32      number of its coordinator
//! byte  56  target_session        u64      session of the transaction that is asked
//! byte  64  target_seq            u64      its number
//! byte  72  victim_session        u64      session of the victim among those passed so far
//! byte  80  victim_seq            u64      its number
//! byte  88  victim_node           u32      node of its coordinator
//! byte  92  victim_coordinator    u32      number of its coordinator
//! byte  96  hops                  u16      transactions passed so far
//! byte  98  kind                  u16      1 probe, 2 verdict: the target is rolled back
//! byte 100  round                 u32      number of the probe among those of its initiator's coordinator
//! byte 104  victim_tries          u32      how often the victim had been tried before
//! byte 108  reserved              u32      0
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Follows who waits for whom, to find a circle of waiting transactions. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DeadlockProbe {
    /// Session of the transaction that began the probe.
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
    /// Session of the victim among those passed so far: the one tried least often, the youngest of several.
    pub victim_session: U64,
    /// Its number.
    pub victim_seq: U64,
    /// Node of its coordinator.
    pub victim_node: U32,
    /// Number of its coordinator.
    pub victim_coordinator: U32,
    /// Transactions passed so far.
    pub hops: U16,
    /// 1 probe, 2 verdict: the target is rolled back.
    pub kind: U16,
    /// Number of the probe among those of its initiator's coordinator.
    pub round: U32,
    /// How often the victim had been tried before.
    pub victim_tries: U32,
    /// 0.
    pub reserved: U32,
}

const _: () = assert!(size_of::<DeadlockProbe>() == 80);

/// A probe.
pub const KIND_PROBE: u16 = 1;
/// A verdict.
pub const KIND_VERDICT: u16 = 2;
