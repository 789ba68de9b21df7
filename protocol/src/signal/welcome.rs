//! Answer to [`super::hello::Hello`]: the connection may be used.
//!
//! Sender: the side that accepted. Receiver: the side that connected. The frame header names cluster, instance and view.
//!
//! ```text
//! byte  32  role                 u16      role of the accepting side, as in `Hello`
//! byte  34  lane                 u16      lane, as in `Hello`
//! byte  36  max_frame_bytes      u32      largest frame that this side accepts
//! byte  40  lane_received        u64      highest number received in order in that lane
//! byte  48  state_version        u64      version of the cluster state that this side holds
//! byte  56  process              [u8;16]  random identity of the accepting process
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Answer to [`super::hello::Hello`]: the connection may be used. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Welcome {
    /// Role of the accepting side, as in `Hello`.
    pub role: U16,
    /// Lane, as in `Hello`.
    pub lane: U16,
    /// Largest frame that this side accepts.
    pub max_frame_bytes: U32,
    /// Highest number received in order in that lane.
    pub lane_received: U64,
    /// Version of the cluster state that this side holds.
    pub state_version: U64,
    /// Random identity of the accepting process.
    pub process: [u8; 16],
}

const _: () = assert!(size_of::<Welcome>() == 40);
