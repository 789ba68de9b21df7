//! A data node that starts asks for its incarnation.
//!
//! Sender: data node. Receiver: management node, which answers [`super::registered::Registered`].
//!
//! ```text
//! byte  32  node                 u32      node id
//! byte  36  data_parts           u32      data parts, that is threads that own data; at least 1
//! byte  40  process              [u8;16]  random identity of the process
//! byte  56  highest_view         u64      highest view the node has installed
//!           section 0: address for clients and nodes, `host:port`
//!           section 1: address of its metrics, may be empty
//! ```

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A data node that starts asks for its incarnation. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Register {
    /// Node id.
    pub node: U32,
    /// Data parts, that is threads that own data; at least 1.
    pub data_parts: U32,
    /// Random identity of the process.
    pub process: [u8; 16],
    /// Highest view the node has installed.
    pub highest_view: U64,
}

const _: () = assert!(size_of::<Register>() == 32);
