//! An instance has installed a view in all its parts.
//!
//! Sender: data node, at once and every 50 ms while the view change is under way. Receiver: all data nodes and management nodes, which
//! relay it to all data nodes.
//!
//! ```text
//! byte  32  view                 u64      the view
//! byte  40  epoch                u64      epoch of the instance when it had installed the view
//! byte  48  node                 u32      node id
//! byte  52  incarnation          u32      incarnation
//! ```

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An instance has installed a view in all its parts. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Installed {
    /// The view.
    pub view: U64,
    /// Epoch of the instance when it had installed the view.
    pub epoch: U64,
    /// Node id.
    pub node: U32,
    /// Incarnation.
    pub incarnation: U32,
}

const _: () = assert!(size_of::<Installed>() == 24);
