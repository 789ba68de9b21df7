//! Answer to [`super::register::Register`].
//!
//! Sender: management node. Receiver: data node.
//!
//! ```text
//! byte  32  code                 u16      0 or an error code
//! byte  34  reserved             u16      0
//! byte  36  incarnation          u32      incarnation of the process
//! byte  40  cluster_id           u64      cluster id
//!           section 0: detail, UTF-8
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Answer to [`super::register::Register`]. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Registered {
    /// 0 or an error code.
    pub code: U16,
    /// 0.
    pub reserved: U16,
    /// Incarnation of the process.
    pub incarnation: U32,
    /// Cluster id.
    pub cluster_id: U64,
}

const _: () = assert!(size_of::<Registered>() == 16);
