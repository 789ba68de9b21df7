//! A write of one row that also changes entries of unique indexes: it cannot be one-pass (PROTOCOL.md, counterexample 20).
//! Or a row that is to be entered into the indexes that are being built: `OPERATION_ENTER_ROW` of [`super::operate`].
//!
//! Sender: LDM of the primary. Receiver: a coordinator of the same node, always the same for a partition, which executes it as a
//! transaction under the id of the write and answers [`super::write_reply::WriteReply`] or [`super::error_reply::ErrorReply`] on
//! the link that the write came from; for the LDM itself [`super::row_entered::RowEntered`].
//!
//! ```text
//! byte  32  link_slot            u32      link of the asker; `LOCAL_DATA_MANAGER` for the LDM itself
//! byte  36  link_generation      u32      link of the asker
//! byte  40  request              u64      request id of the asker
//! byte  48  partition            u16      partition of the row
//! byte  50  reserved             u16      0
//! byte  52  reserved_2           u32      0
//!           section 0: the whole [`super::write::Write`]
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A write of one row that also changes entries of unique indexes. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TwoPhaseWrite {
    /// Link of the asker; `LOCAL_DATA_MANAGER` for the LDM itself.
    pub link_slot: U32,
    /// Link of the asker.
    pub link_generation: U32,
    /// Request id of the asker.
    pub request: U64,
    /// Partition of the row.
    pub partition: U16,
    /// 0.
    pub reserved: U16,
    /// 0.
    pub reserved_2: U32,
}

const _: () = assert!(size_of::<TwoPhaseWrite>() == 24);

/// The LDM asks by itself, not for a link.
pub const LOCAL_DATA_MANAGER: u32 = u32::MAX;
