//! A coordinator has ended all transactions that it took over in a view.
//!
//! Sender: coordinator 0 of every instance of a view. Receiver: all instances.
//!
//! ```text
//! byte  32  view                 u64      the view
//! byte  40  node                 u32      node id
//! byte  44  incarnation          u32      incarnation
//! ```

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A coordinator has ended all transactions that it took over in a view. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TakeoverDone {
    /// The view.
    pub view: U64,
    /// Node id.
    pub node: U32,
    /// Incarnation.
    pub incarnation: U32,
}

const _: () = assert!(size_of::<TakeoverDone>() == 16);
