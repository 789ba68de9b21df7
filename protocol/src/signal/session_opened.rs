//! Answer to [`super::open_session::OpenSession`].
//!
//! Sender: transaction coordinator. Receiver: client.
//!
//! ```text
//! byte  32  session              u64      the new session, unique in the cluster
//! byte  40  epoch                u64      epoch in which it was opened
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Answer to [`super::open_session::OpenSession`]. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SessionOpened {
    /// The new session, unique in the cluster.
    pub session: U64,
    /// Epoch in which it was opened.
    pub epoch: U64,
}

const _: () = assert!(size_of::<SessionOpened>() == 16);
