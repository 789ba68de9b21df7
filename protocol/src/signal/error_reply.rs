//! A request was not executed.
//!
//! Sender: any block. Receiver: whoever sent the request id.
//!
//! ```text
//! byte  32  code                 u16      an error code
//! byte  34  retryable            u16      1 when the same request may succeed later
//! byte  36  node                 u32      node that met the error
//!           section 0: detail, UTF-8, may be empty
//! ```

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A request was not executed. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ErrorReply {
    /// An error code.
    pub code: U16,
    /// 1 when the same request may succeed later.
    pub retryable: U16,
    /// Node that met the error.
    pub node: U32,
}

const _: () = assert!(size_of::<ErrorReply>() == 8);
