//! Asks for the cluster state: nodes, view, partition map and dictionary.
//!
//! Sender: client, data or management node. Receiver: data or management node, which answers [`super::cluster_state::ClusterStateSignal`].
//!
//! ```text
//! byte  32  known_version        u64      version that the sender has, 0 for none
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Asks for the cluster state: nodes, view, partition map and dictionary. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FetchState {
    /// Version that the sender has, 0 for none.
    pub known_version: U64,
}

const _: () = assert!(size_of::<FetchState>() == 8);
