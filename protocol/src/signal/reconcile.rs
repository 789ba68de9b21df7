//! The accepted prefix of a new primary is the truth: pending writes behind it are undone.
//!
//! Sender: LDM of the new primary. Receiver: LDM of the old one.
//!
//! ```text
//! byte  32  partition            u16      partition
//! byte  34  code                 u16      an error code, 0 where none applies
//! byte  36  reserved             u32      0
//! byte  40  cfg                  u64      fragment configuration
//! byte  48  last_seq             u64      last accepted position
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The accepted prefix of a new primary is the truth: pending writes behind it are undone. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Reconcile {
    /// Partition.
    pub partition: U16,
    /// An error code, 0 where none applies.
    pub code: U16,
    /// 0.
    pub reserved: U32,
    /// Fragment configuration.
    pub cfg: U64,
    /// Last accepted position.
    pub last_seq: U64,
}

const _: () = assert!(size_of::<Reconcile>() == 24);
