//! Opens an epoch, or repeats that it is open, about every 10 ms, or every 100 ms while nothing is committed: the receiver raises its own to it and drains those before it.
//!
//! Sender: data node that keeps the epochs (the lowest node id of the view). Receiver: every other data node of the view.
//!
//! ```text
//! byte  32  view                 u64      view whose keeper the sender is
//! byte  40  epoch                u64      the open epoch
//! byte  48  closed               u64      newest closed epoch
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Opens an epoch, or repeats that it is open. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct OpenEpoch {
    /// View whose keeper the sender is.
    pub view: U64,
    /// The open epoch.
    pub epoch: U64,
    /// Newest closed epoch.
    pub closed: U64,
}

const _: () = assert!(size_of::<OpenEpoch>() == 24);
