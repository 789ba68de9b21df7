//! Answer to [`super::operate::Operate`].
//!
//! Sender: LDM of the primary. Receiver: coordinator, which passes it on to the client.
//! 
//! A code other than 0 ends the transaction, except row not found as answer to a read.
//!
//! ```text
//! byte  32  code                 u16      0 done; else row not found, duplicate key, version mismatch; between nodes any error
//! byte  34  flags                u16      sum of `FLAG_` constants
//! byte  36  number               u32      number of the operation
//! byte  40  table_version        u16      version of the table that the row follows
//! byte  42  result_bytes         u16      used bytes of `result`
//! byte  44  node                 u32      node that executed the operation
//! byte  48  epoch                u64      epoch of the committed row version, 0 without one
//! byte  56  seq                  u64      position of the committed row version, 0 without one
//! byte  64  result               [u8;16]  new value of the first incremented column, or whether an update without increments changed the row
//!           section 0: value image of a row that was read; with an error a detail for people
//!           section 1: between nodes: changes of entries of unique indexes, see [`crate::unique`]
//!           section 2: between nodes: with such changes and `FLAG_IGNORE_EXISTING` of the operation its primary key
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Answer to [`super::operate::Operate`]. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct OperateReply {
    /// 0 done; else row not found, duplicate key, version mismatch; between nodes any error.
    pub code: U16,
    /// Sum of `FLAG_` constants.
    pub flags: U16,
    /// Number of the operation.
    pub number: U32,
    /// Version of the table that the row follows.
    pub table_version: U16,
    /// Used bytes of `result`.
    pub result_bytes: U16,
    /// Node that executed the operation.
    pub node: U32,
    /// Epoch of the committed row version, 0 without one.
    pub epoch: U64,
    /// Position of the committed row version, 0 without one.
    pub seq: U64,
    /// New value of the first incremented column.
    pub result: [u8; 16],
}

const _: () = assert!(size_of::<OperateReply>() == 48);

/// The operation did nothing, as it was told for this case.
pub const FLAG_IGNORED: u16 = 1;
/// Between nodes: the operation is done when the changes of entries in section 1 are.
pub const FLAG_ENTRIES: u16 = 2;
/// Between nodes: the operation was not executed and comes back in section 1; whoever leads its partition later may do so.
pub const FLAG_GIVEN_BACK: u16 = 4;
