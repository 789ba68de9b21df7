//! Sign of life and lease between data nodes, every 100 ms.
//!
//! Sender and receiver: data nodes; between other roles only `number` is used. The frame header carries view and epoch.
//!
//! ```text
//! byte  32  number               u64      number of this heartbeat, from 1
//! byte  40  seen                 u64      highest number received from the other side
//! byte  48  grant                u64      number of the heartbeat for which a lease is granted, 0 for none
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Sign of life and lease between data nodes, every 100 ms. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Heartbeat {
    /// Number of this heartbeat, from 1.
    pub number: U64,
    /// Highest number received from the other side.
    pub seen: U64,
    /// Number of the heartbeat for which a lease is granted, 0 for none.
    pub grant: U64,
}

const _: () = assert!(size_of::<Heartbeat>() == 24);
