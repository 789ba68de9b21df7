//! Everything was reported that a node holds, behind one lane, of transactions without a coordinator.
//!
//! Sender: LDM of every instance of a view, once per lane. Receiver: coordinator 0 of every instance of the view.
//!
//! ```text
//! byte  32  view                 u64      the view
//! byte  40  node                 u32      node id of the sender
//! byte  44  lane                 u16      lane
//! byte  46  reserved             u16      0
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Everything was reported that a node holds, behind one lane, of transactions without a coordinator. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ReportEnd {
    /// The view.
    pub view: U64,
    /// Node id of the sender.
    pub node: U32,
    /// Lane.
    pub lane: U16,
    /// 0.
    pub reserved: U16,
}

const _: () = assert!(size_of::<ReportEnd>() == 16);
