//! The backup has applied every write of the fragment up to a number.
//!
//! Sender: LDM of the backup. Receiver: LDM of the primary, through the lane of the partition.
//!
//! ```text
//! byte  32  partition            u16      partition
//! byte  34  code                 u16      an error code, 0 where none applies
//! byte  36  reserved             u32      0
//! byte  40  cfg                  u64      fragment configuration
//! byte  48  upto_seq             u64      highest applied or refused position
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The backup has applied every write of the fragment up to a number. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AcceptOne {
    /// Partition.
    pub partition: U16,
    /// An error code, 0 where none applies.
    pub code: U16,
    /// 0.
    pub reserved: U32,
    /// Fragment configuration.
    pub cfg: U64,
    /// Highest applied or refused position.
    pub upto_seq: U64,
}

const _: () = assert!(size_of::<AcceptOne>() == 24);
