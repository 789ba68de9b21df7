//! A committed row, or that there is none, as the primary has it when it sends this.
//!
//! Sender: LDM of the primary, in the lane of the fragment between its writes (counterexample 33). Receiver: LDM of the joining
//! replica.
//!
//! ```text
//! byte  32  partition            u16      partition
//! byte  34  operation            u16      [`super::prepare_one::OPERATION_PUT`] or [`super::prepare_one::OPERATION_DELETE`]
//! byte  36  table                u32      table id
//! byte  40  table_version        u16      version of the table that the row follows
//! byte  42  reserved             u16      0
//! byte  44  reserved_2           u32      0
//! byte  48  cfg                  u64      fragment configuration
//! byte  56  epoch                u64      epoch of the row's version
//! byte  64  seq                  u64      position of the row's version
//!           section 0: primary key; section 1: value image, empty for a delete
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A committed row, or that there is none, for a joining replica. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CopyRow {
    /// Partition.
    pub partition: U16,
    /// Put or delete.
    pub operation: U16,
    /// Table id.
    pub table: U32,
    /// Version of the table that the row follows.
    pub table_version: U16,
    /// 0.
    pub reserved: U16,
    /// 0.
    pub reserved_2: U32,
    /// Fragment configuration.
    pub cfg: U64,
    /// Epoch of the row's version.
    pub epoch: U64,
    /// Position of the row's version.
    pub seq: U64,
}

const _: () = assert!(size_of::<CopyRow>() == 40);
