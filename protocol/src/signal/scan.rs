//! Asks for the next batch of rows of one fragment, in bit-reversed hash order or in the order of an index. Each request is
//! one credit.
//!
//! Sender: client, or a coordinator that forwards. Receiver: LDM of the primary, which answers [`super::scan_reply::ScanReply`].
//!
//! ```text
//! byte  32  table                u32      table id
//! byte  36  table_version        u16      version of the table that the sender knows
//! byte  38  partition            u16      partition
//! byte  40  cursor               u64      0 at the start, then `next_cursor` of the last answer; 0 for a range
//! byte  48  max_rows             u32      most rows wanted
//! byte  52  max_bytes            u32      most bytes wanted; at least one row comes
//! byte  56  flags                u32      sum of `FLAG_ANY_REPLICA`, `FLAG_RANGE`, `FLAG_REVERSE`, `FLAG_WITH_KEYS`
//! byte  60  index                u32      of a range: number of the ordered index, 0 for that of the primary key
//!           section 0: program, see [`crate::scan_program`]; empty for all rows whole
//!           section 1: of a range: rows whose index keys are not less than this
//!           section 2: of a range: rows whose index keys are less than this; empty for no bound
//! ```
//!
//! A range is continued by a request for what is left of it. Section 1 of the answer is the index key up to which it has
//! come: ascending, the next range begins with that key and one zero byte behind it, descending, it ends before that key.
//! [`crate::key::IndexLayout`] says what index keys are.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Asks for the next batch of rows of one fragment, in bit-reversed hash order or in the order of an index. Each request is one credit. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Scan {
    /// Table id.
    pub table: U32,
    /// Version of the table that the sender knows.
    pub table_version: U16,
    /// Partition.
    pub partition: U16,
    /// 0 at the start, then `next_cursor` of the last answer; 0 for a range.
    pub cursor: U64,
    /// Most rows wanted.
    pub max_rows: U32,
    /// Most bytes wanted; at least one row comes.
    pub max_bytes: U32,
    /// Sum of `FLAG_ANY_REPLICA`, `FLAG_RANGE`, `FLAG_REVERSE`, `FLAG_WITH_KEYS`.
    pub flags: U32,
    /// Of a range: number of the ordered index, 0 for that of the primary key.
    pub index: U32,
}

const _: () = assert!(size_of::<Scan>() == 32);

/// Diagnosis only: answer from this node's replica even if it is the backup.
pub const FLAG_ANY_REPLICA: u32 = 1;
/// Rows in the order of an index, between two of its keys.
pub const FLAG_RANGE: u32 = 2;
/// Of a range: in descending order.
pub const FLAG_REVERSE: u32 = 4;
/// Of a range: rows with result columns come with their index keys, so that whoever asks can merge fragments.
pub const FLAG_WITH_KEYS: u32 = 8;

