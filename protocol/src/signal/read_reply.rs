//! Answer to [`super::read::Read`].
//!
//! Sender: LDM. Receiver: client, or the coordinator that forwarded the request.
//!
//! ```text
//! byte  32  code                 u16      0 found, 1 row not found
//! byte  34  table_version        u16      version of the table that the value image follows
//! byte  36  reserved             u32      0
//! byte  40  epoch                u64      commit epoch of the row
//! byte  48  seq                  u64      position of the row version in its fragment
//!           section 0: value image
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Answer to [`super::read::Read`]. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ReadReply {
    /// 0 found, 1 row not found.
    pub code: U16,
    /// Version of the table that the value image follows.
    pub table_version: U16,
    /// 0.
    pub reserved: U32,
    /// Commit epoch of the row.
    pub epoch: U64,
    /// Position of the row version in its fragment.
    pub seq: U64,
}

const _: () = assert!(size_of::<ReadReply>() == 24);
