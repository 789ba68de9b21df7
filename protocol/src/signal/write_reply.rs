//! Answer to [`super::write::Write`]: the write is committed on all live replicas, or refused by the row.
//!
//! Sender: LDM of the primary. Receiver: client, or the coordinator that forwarded the request.
//!
//! ```text
//! byte  32  code                 u16      0 committed; else row not found, duplicate key or version mismatch
//! byte  34  flags                u16      1: the answer comes from the outcome record of an earlier try
//! byte  36  result_bytes         u32      used bytes of `result`
//! byte  40  epoch                u64      epoch of the new row version
//! byte  48  seq                  u64      position of the new row version
//! byte  56  result               [u8;16]  new value of the first incremented column, or whether an update without increments changed the row
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Answer to [`super::write::Write`]: the write is committed on all live replicas, or refused by the row. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct WriteReply {
    /// 0 committed; else row not found, duplicate key or version mismatch.
    pub code: U16,
    /// 1: the answer comes from the outcome record of an earlier try.
    pub flags: U16,
    /// Used bytes of `result`.
    pub result_bytes: U32,
    /// Epoch of the new row version.
    pub epoch: U64,
    /// Position of the new row version.
    pub seq: U64,
    /// New value of the first incremented column.
    pub result: [u8; 16],
}

const _: () = assert!(size_of::<WriteReply>() == 40);

/// The answer comes from the outcome record of an earlier try.
pub const FLAG_REPLAYED: u16 = 1;

