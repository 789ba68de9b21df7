//! Asks the leading management node for the users of the SQL gateways.
//!
//! Sender: client. Receiver: management node, which answers [`super::users::Users`].
//!
//! ```text
//! byte  32  known_version        u64      version of the list that the sender has, 0 for none
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Asks the leading management node for the users of the SQL gateways. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FetchUsers {
    /// Version of the list that the sender has, 0 for none.
    pub known_version: U64,
}

const _: () = assert!(size_of::<FetchUsers>() == 8);
