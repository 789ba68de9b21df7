//! The backup cannot apply a write; sent before the [`super::accept_one::AcceptOne`] that covers it.
//!
//! Sender: LDM of the backup. Receiver: LDM of the primary, through the lane of the partition.
//!
//! ```text
//! byte  32  partition            u16      partition
//! byte  34  code                 u16      an error code, 0 where none applies
//! byte  36  reserved             u32      0
//! byte  40  cfg                  u64      fragment configuration
//! byte  48  seq                  u64      refused position
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The backup cannot apply a write; sent before the [`super::accept_one::AcceptOne`] that covers it. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RefuseOne {
    /// Partition.
    pub partition: U16,
    /// An error code, 0 where none applies.
    pub code: U16,
    /// 0.
    pub reserved: U32,
    /// Fragment configuration.
    pub cfg: U64,
    /// Refused position.
    pub seq: U64,
}

const _: () = assert!(size_of::<RefuseOne>() == 24);
