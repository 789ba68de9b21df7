//! Answer to [`super::resolve::Resolve`].
//!
//! Sender: LDM of the primary of the home fragment. Receiver: client or forwarding coordinator.
//!
//! ```text
//! byte  32  outcome              u16      1 committed, 2 aborted
//! byte  34  reserved             u16      0
//! byte  36  result_bytes         u32      used bytes of `result`
//! byte  40  epoch                u64      epoch of the commit
//! byte  48  seq                  u64      position of the row version
//! byte  56  result               [u8;16]  result of the write
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Answer to [`super::resolve::Resolve`]. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ResolveReply {
    /// 1 committed, 2 aborted.
    pub outcome: U16,
    /// 0.
    pub reserved: U16,
    /// Used bytes of `result`.
    pub result_bytes: U32,
    /// Epoch of the commit.
    pub epoch: U64,
    /// Position of the row version.
    pub seq: U64,
    /// Result of the write.
    pub result: [u8; 16],
}

const _: () = assert!(size_of::<ResolveReply>() == 40);

/// The transaction is committed.
pub const OUTCOME_COMMITTED: u16 = 1;
/// The transaction is aborted and can never happen.
pub const OUTCOME_ABORTED: u16 = 2;

