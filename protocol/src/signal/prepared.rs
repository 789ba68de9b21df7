//! A fragment is prepared on all its replicas, or cannot be (PREPARED).
//!
//! Sender: LDM of the last replica; of the primary when it refuses. Receiver: coordinator.
//! 
//! The header's request id and block name the transaction at its coordinator; they travel with all signals of the commit.
//!
//! ```text
//! byte  32  partition            u16      partition
//! byte  34  code                 u16      0 prepared; else why not
//! byte  36  node                 u32      node that answers
//! byte  40  epoch                u64      epoch of that node
//! byte  48  replicas             [u8;8]   nodes that hold the changes, primary first, then zeros
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A fragment is prepared on all its replicas, or cannot be (PREPARED). Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Prepared {
    /// Partition.
    pub partition: U16,
    /// 0 prepared; else why not.
    pub code: U16,
    /// Node that answers.
    pub node: U32,
    /// Epoch of that node.
    pub epoch: U64,
    /// Nodes that hold the changes, primary first, then zeros.
    pub replicas: [u8; 8],
}

const _: () = assert!(size_of::<Prepared>() == 24);
