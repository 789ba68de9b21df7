//! Asks a management node how the cluster is.
//!
//! Sender: client. Receiver: management node, which answers [`super::cluster_status::ClusterStatusSignal`].
//!
//! ```text
//! byte  32  reserved             u64      0
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Asks a management node how the cluster is. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FetchStatus {
    /// 0.
    pub reserved: U64,
}

const _: () = assert!(size_of::<FetchStatus>() == 8);
