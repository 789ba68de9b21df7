//! The connection is closed by its sender after this signal.
//!
//! Sender and receiver: either side of any connection.
//!
//! ```text
//! byte  32  code                 u16      an error code
//! byte  34  reserved             u16      0
//! byte  36  reserved_2           u32      0
//!           section 0: what happened, UTF-8
//! ```

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The connection is closed by its sender after this signal. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RefuseLink {
    /// An error code.
    pub code: U16,
    /// 0.
    pub reserved: U16,
    /// 0.
    pub reserved_2: U32,
}

const _: () = assert!(size_of::<RefuseLink>() == 8);
