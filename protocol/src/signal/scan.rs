//! Asks for the next batch of rows of one fragment, in bit-reversed hash order. Each request is one credit.
//!
//! Sender: client, or a coordinator that forwards. Receiver: LDM of the primary, which answers [`super::scan_reply::ScanReply`].
//!
//! ```text
//! byte  32  table                u32      table id
//! byte  36  table_version        u16      version of the table that the sender knows
//! byte  38  partition            u16      partition
//! byte  40  cursor               u64      0 at the start, then `next_cursor` of the last answer
//! byte  48  max_rows             u32      most rows wanted
//! byte  52  max_bytes            u32      most bytes wanted; at least one row comes
//! byte  56  flags                u32      `FLAG_ANY_REPLICA` or 0
//! byte  60  reserved             u32      0
//!           section 0: program, see [`crate::scan_program`]; empty for all rows whole
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Asks for the next batch of rows of one fragment, in bit-reversed hash order. Each request is one credit. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Scan {
    /// Table id.
    pub table: U32,
    /// Version of the table that the sender knows.
    pub table_version: U16,
    /// Partition.
    pub partition: U16,
    /// 0 at the start, then `next_cursor` of the last answer.
    pub cursor: U64,
    /// Most rows wanted.
    pub max_rows: U32,
    /// Most bytes wanted; at least one row comes.
    pub max_bytes: U32,
    /// `FLAG_ANY_REPLICA` or 0.
    pub flags: U32,
    /// 0.
    pub reserved: U32,
}

const _: () = assert!(size_of::<Scan>() == 32);

/// Diagnosis only: answer from this node's replica even if it is the backup.
pub const FLAG_ANY_REPLICA: u32 = 1;

