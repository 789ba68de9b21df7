//! Takes a prepared transaction back at the backup (ABORT on its second hop).
//!
//! Sender: LDM of the primary. Receiver: LDM of the backup, through the lane of the partition, behind what it takes back.
//!
//! ```text
//! byte  32  partition            u16      partition
//! byte  34  reserved             u16      0
//! byte  36  reserved_2           u32      0
//! byte  40  cfg                  u64      fragment configuration
//! byte  48  position             u64      position in the fragment, one more than the last
//! byte  56  epoch                u64      epoch of the primary
//! byte  64  session              u64      session of the transaction id
//! byte  72  seq                  u64      number of the transaction id
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Takes a prepared transaction back at the backup (ABORT on its second hop). Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AbortPrepared {
    /// Partition.
    pub partition: U16,
    /// 0.
    pub reserved: U16,
    /// 0.
    pub reserved_2: U32,
    /// Fragment configuration.
    pub cfg: U64,
    /// Position in the fragment, one more than the last.
    pub position: U64,
    /// Epoch of the primary.
    pub epoch: U64,
    /// Session of the transaction id.
    pub session: U64,
    /// Number of the transaction id.
    pub seq: U64,
}

const _: () = assert!(size_of::<AbortPrepared>() == 48);
