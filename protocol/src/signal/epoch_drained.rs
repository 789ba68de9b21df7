//! No part of the sender will commit anything more in an epoch or an earlier one, and none such commit is unfinished. The answer to `OpenEpoch`.
//!
//! Sender: data node. Receiver: the data node that keeps the epochs.
//!
//! ```text
//! byte  32  view                 u64      view of the `OpenEpoch` that is answered
//! byte  40  epoch                u64      newest drained epoch
//! byte  48  committed            u64      1: the sender has committed something since it last said this, 0: nothing
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An epoch and all before it are over at the sender. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EpochDrained {
    /// View of the `OpenEpoch` that is answered.
    pub view: U64,
    /// Newest drained epoch.
    pub epoch: U64,
    /// 1: the sender has committed something since it last said this; 0: nothing.
    pub committed: U64,
}

const _: () = assert!(size_of::<EpochDrained>() == 24);
