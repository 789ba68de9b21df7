//! Asks for a session, under which writes get their transaction ids.
//!
//! Sender: client. Receiver: transaction coordinator, which answers [`super::session_opened::SessionOpened`].
//!
//! ```text
//! byte  32  reserved             u64      0
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Asks for a session, under which writes get their transaction ids. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct OpenSession {
    /// 0.
    pub reserved: U64,
}

const _: () = assert!(size_of::<OpenSession>() == 8);
