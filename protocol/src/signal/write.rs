//! One-pass write of one row.
//!
//! Sender: client, or a coordinator that forwards. Receiver: coordinator, then the LDM of the primary, which answers
//! [`super::write_reply::WriteReply`] or [`super::error_reply::ErrorReply`].
//!
//! ```text
//! byte  32  table                u32      table id
//! byte  36  table_version        u16      version of the table that the sender knows
//! byte  38  operation            u8       one of the `OPERATION_` constants
//! byte  39  flags                u8       `FLAG_EXPECT_VERSION` or 0
//! byte  40  session              u64      session of the transaction id
//! byte  48  seq                  u64      number of the transaction id
//! byte  56  resolved_below       u64      all transactions of the session below this number are resolved for the client
//! byte  64  expected_epoch       u64      with `FLAG_EXPECT_VERSION`: the row version wanted
//! byte  72  expected_seq         u64      with `FLAG_EXPECT_VERSION`: the row version wanted
//!           section 0: primary key
//!           section 1: insert, upsert: value image; update: update program; delete: empty
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One-pass write of one row. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Write {
    /// Table id.
    pub table: U32,
    /// Version of the table that the sender knows.
    pub table_version: U16,
    /// One of the `OPERATION_` constants.
    pub operation: u8,
    /// `FLAG_EXPECT_VERSION` or 0.
    pub flags: u8,
    /// Session of the transaction id.
    pub session: U64,
    /// Number of the transaction id.
    pub seq: U64,
    /// All transactions of the session below this number are resolved for the client.
    pub resolved_below: U64,
    /// With `FLAG_EXPECT_VERSION`: the row version wanted.
    pub expected_epoch: U64,
    /// With `FLAG_EXPECT_VERSION`: the row version wanted.
    pub expected_seq: U64,
}

const _: () = assert!(size_of::<Write>() == 48);

/// Insert; a row with this key must not exist.
pub const OPERATION_INSERT: u8 = 1;
/// Update by program; the row must exist.
pub const OPERATION_UPDATE: u8 = 2;
/// Insert or replace the whole row.
pub const OPERATION_UPSERT: u8 = 3;
/// Delete; the row must exist.
pub const OPERATION_DELETE: u8 = 4;
/// The row must have the expected version (compare-and-set).
pub const FLAG_EXPECT_VERSION: u8 = 1;

