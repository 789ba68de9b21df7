//! Requests and replies of the yardstick server: fixed layouts, little-endian, padded to 8 bytes.

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Read the row of `key`.
pub const GET: u32 = 1;
/// Write the row of `key`; the value follows the request.
pub const PUT: u32 = 2;
/// The row was found or written.
pub const OK: u32 = 0;
/// There is no such row.
pub const MISSING: u32 = 1;
/// The store has no room for another row.
pub const FULL: u32 = 2;

/// A request, 64 bytes like a signal of the real thing; a [`PUT`] is followed by its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Request {
    /// [`GET`] or [`PUT`].
    pub kind: U32,
    /// Bytes of the value that follows; 0 for a [`GET`].
    pub value_bytes: U32,
    /// Comes back in the reply.
    pub request_id: U64,
    /// The key.
    pub key: U64,
    /// Fills a cache line, as the addresses and versions of a real request would.
    pub reserved: [U64; 5],
}

/// The head of a reply; the value of a [`GET`] follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Reply {
    /// The id of its request.
    pub request_id: U64,
    /// [`OK`], [`MISSING`] or [`FULL`].
    pub status: U32,
    /// Bytes of the value that follows.
    pub value_bytes: U32,
}

/// Bytes of a request without its value.
pub const REQUEST_BYTES: usize = 64;
/// Bytes of a reply without its value.
pub const REPLY_BYTES: usize = 16;

const _: () = assert!(size_of::<Request>() == REQUEST_BYTES && size_of::<Reply>() == REPLY_BYTES);

/// Bytes that a value of `value_bytes` takes behind its request or reply.
#[must_use]
pub fn padded(value_bytes: usize) -> usize {
    value_bytes.next_multiple_of(8)
}
