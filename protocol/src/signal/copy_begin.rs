//! A joining replica is in the chain of a fragment from here on: the next signal of the chain has the position behind this one.
//!
//! Sender: LDM of the primary, in the lane of the fragment. Receiver: LDM of the joining replica, which drops what an earlier copy
//! has left.
//!
//! ```text
//! byte  32  partition            u16      partition
//! byte  34  reserved             u16      0
//! byte  36  reserved_2           u32      0
//! byte  40  cfg                  u64      fragment configuration
//! byte  48  seq                  u64      last position before
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A joining replica is in the chain of a fragment from here on. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CopyBegin {
    /// Partition.
    pub partition: U16,
    /// 0.
    pub reserved: U16,
    /// 0.
    pub reserved_2: U32,
    /// Fragment configuration.
    pub cfg: U64,
    /// Last position before.
    pub seq: U64,
}

const _: () = assert!(size_of::<CopyBegin>() == 24);
