//! The cluster state, as an answer or as news.
//!
//! Sender: data or management node. Receiver: client or data node. Request id 0 for news.
//!
//! ```text
//! byte  32  version              u64      version of the state
//!           section 0: a record of kind `ClusterState`, empty when the receiver has this version already
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The cluster state, as an answer or as news. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ClusterStateSignal {
    /// Version of the state.
    pub version: U64,
}

const _: () = assert!(size_of::<ClusterStateSignal>() == 8);
