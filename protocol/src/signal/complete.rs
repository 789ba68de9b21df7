//! Nobody will ask for this transaction any more: what is remembered of it besides its outcome may go (COMPLETE).
//!
//! Sender: coordinator, when all fragments are committed. Receiver: LDM of every replica.
//!
//! ```text
//! byte  32  session              u64      session of the transaction id
//! byte  40  seq                  u64      number of the transaction id
//! byte  48  partition            u16      partition
//! byte  50  reserved             u16      0
//! byte  52  reserved_2           u32      0
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Nobody will ask for this transaction any more: what is remembered of it besides its outcome may go (COMPLETE). Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Complete {
    /// Session of the transaction id.
    pub session: U64,
    /// Number of the transaction id.
    pub seq: U64,
    /// Partition.
    pub partition: U16,
    /// 0.
    pub reserved: U16,
    /// 0.
    pub reserved_2: U32,
}

const _: () = assert!(size_of::<Complete>() == 24);
