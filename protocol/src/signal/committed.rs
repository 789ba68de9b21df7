//! All replicas of a fragment hold the commit and its rows are exposed (COMMITTED).
//!
//! Sender: LDM of the primary. Receiver: coordinator.
//! 
//! The header's request id and block name the transaction at its coordinator; they travel with all signals of the commit.
//!
//! ```text
//! byte  32  partition            u16      partition
//! byte  34  reserved             u16      0
//! byte  36  node                 u32      the primary
//! byte  40  epoch                u64      epoch of the primary
//! byte  48  position             u64      position of the first change, where the outcome record is
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// All replicas of a fragment hold the commit and its rows are exposed (COMMITTED). Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Committed {
    /// Partition.
    pub partition: U16,
    /// 0.
    pub reserved: U16,
    /// The primary.
    pub node: U32,
    /// Epoch of the primary.
    pub epoch: U64,
    /// Position of the first change, where the outcome record is.
    pub position: U64,
}

const _: () = assert!(size_of::<Committed>() == 24);
