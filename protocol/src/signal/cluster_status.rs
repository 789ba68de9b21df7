//! How the cluster is, as its sender sees it.
//!
//! Sender: management node. Receiver: client.
//!
//! ```text
//! byte  32  version              u64      version of the cluster state
//!           section 0: a record of kind `ClusterStatus`
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// How the cluster is, as its sender sees it. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ClusterStatusSignal {
    /// Version of the cluster state.
    pub version: U64,
}

const _: () = assert!(size_of::<ClusterStatusSignal>() == 8);
