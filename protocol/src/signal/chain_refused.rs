//! A chain signal named another fragment configuration than the receiver knows.
//!
//! Sender: LDM. Receiver: LDM of the other replica.
//!
//! ```text
//! byte  32  partition            u16      partition
//! byte  34  code                 u16      an error code, 0 where none applies
//! byte  36  reserved             u32      0
//! byte  40  cfg                  u64      fragment configuration
//! byte  48  view                 u64      view of the sender
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A chain signal named another fragment configuration than the receiver knows. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ChainRefused {
    /// Partition.
    pub partition: U16,
    /// An error code, 0 where none applies.
    pub code: U16,
    /// 0.
    pub reserved: U32,
    /// Fragment configuration.
    pub cfg: U64,
    /// View of the sender.
    pub view: U64,
}

const _: () = assert!(size_of::<ChainRefused>() == 24);
