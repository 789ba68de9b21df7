//! The joining replica has everything of a fragment that was there before it was in the chain, and takes a position for it: to
//! accept that is to say so.
//!
//! Sender: LDM of the primary, in the lane of the fragment. Receiver: LDM of the joining replica.
//!
//! ```text
//! byte  32  partition            u16      partition
//! byte  34  reserved             u16      0
//! byte  36  reserved_2           u32      0
//! byte  40  cfg                  u64      fragment configuration
//! byte  48  position             u64      position in the fragment
//! byte  56  epoch                u64      epoch of the primary
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The joining replica has everything of a fragment. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CopyEnd {
    /// Partition.
    pub partition: U16,
    /// 0.
    pub reserved: U16,
    /// 0.
    pub reserved_2: U32,
    /// Fragment configuration.
    pub cfg: U64,
    /// Position in the fragment.
    pub position: U64,
    /// Epoch of the primary.
    pub epoch: U64,
}

const _: () = assert!(size_of::<CopyEnd>() == 32);
