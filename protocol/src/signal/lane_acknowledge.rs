//! Acknowledges the frames of a lane when there is no frame in the other direction to carry it.
//!
//! Sender and receiver: data nodes, outside the numbering of the lane.
//!
//! ```text
//! byte  32  lane                 u16      lane
//! byte  34  reserved             u16      0
//! byte  36  reserved_2           u32      0
//! byte  40  acknowledged         u64      highest number received in order
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Acknowledges the frames of a lane when there is no frame in the other direction to carry it. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LaneAcknowledge {
    /// Lane.
    pub lane: U16,
    /// 0.
    pub reserved: U16,
    /// 0.
    pub reserved_2: U32,
    /// Highest number received in order.
    pub acknowledged: U64,
}

const _: () = assert!(size_of::<LaneAcknowledge>() == 16);
