//! The users of the SQL gateways.
//!
//! Sender: management node. Receiver: client.
//!
//! ```text
//! byte  32  version              u64      version of the list
//!           section 0: a record of kind `UserList`, empty when the receiver's list is not older
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The users of the SQL gateways. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Users {
    /// Version of the list.
    pub version: U64,
}

const _: () = assert!(size_of::<Users>() == 8);
