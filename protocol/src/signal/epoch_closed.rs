//! All data nodes of the view have drained an epoch: what was committed in it and before is a consistent cut, and final.
//!
//! Sender: data node that keeps the epochs. Receiver: every other data node of the view.
//!
//! ```text
//! byte  32  view                 u64      view whose keeper the sender is
//! byte  40  epoch                u64      newest closed epoch
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// All data nodes of the view have drained an epoch. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EpochClosed {
    /// View whose keeper the sender is.
    pub view: U64,
    /// Newest closed epoch.
    pub epoch: U64,
}

const _: () = assert!(size_of::<EpochClosed>() == 16);
