//! Ends what a transaction holds in a fragment without a commit: locks, changes, prepared or not (ABORT).
//!
//! Sender: coordinator. Receiver: LDM of the primary, which tells the backup with [`super::abort_prepared::AbortPrepared`] if anything was
//! prepared. It also releases the locks of a transaction that commits elsewhere and has only read here.
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

/// Ends what a transaction holds in a fragment without a commit: locks, changes, prepared or not (ABORT). Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AbortRows {
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

const _: () = assert!(size_of::<AbortRows>() == 24);
