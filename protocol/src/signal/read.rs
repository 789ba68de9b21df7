//! Committed read of one row by primary key.
//!
//! Sender: client, or a transaction coordinator that forwards. Receiver: transaction coordinator, then the LDM of the primary, which answers
//! [`super::read_reply::ReadReply`] or [`super::error_reply::ErrorReply`].
//!
//! ```text
//! byte  32  table                u32      table id
//! byte  36  table_version        u16      version of the table that the sender knows
//! byte  38  flags                u16      0
//!           section 0: primary key, memcomparable
//! ```

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Committed read of one row by primary key. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Read {
    /// Table id.
    pub table: U32,
    /// Version of the table that the sender knows.
    pub table_version: U16,
    /// 0.
    pub flags: U16,
}

const _: () = assert!(size_of::<Read>() == 8);
