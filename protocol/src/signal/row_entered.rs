//! What became of a row that was to be entered into the unique indexes that are being built.
//!
//! Sender: coordinator that was asked with [`super::two_phase_write::TwoPhaseWrite`]. Receiver: LDM of the row's primary, on the
//! same node.
//!
//! ```text
//! byte  32  request              u64      request of the LDM
//! byte  40  partition            u16      partition of the row
//! byte  42  code                 u16      0, or why the row has no entries now
//! byte  44  reserved             u32      0
//!           section 0: what exactly
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What became of a row that was to be entered into the unique indexes that are being built. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RowEntered {
    /// Request of the LDM.
    pub request: U64,
    /// Partition of the row.
    pub partition: U16,
    /// 0, or why the row has no entries now.
    pub code: U16,
    /// 0.
    pub reserved: U32,
}

const _: () = assert!(size_of::<RowEntered>() == 16);
