//! Asks what became of a transaction and fences it: if no record exists, it can never happen afterwards.
//!
//! Sender: client, or a coordinator that forwards. Receiver: LDM of the primary of the home fragment, which answers
//! [`super::resolve_reply::ResolveReply`].
//!
//! ```text
//! byte  32  session              u64      session of the transaction id
//! byte  40  seq                  u64      number of the transaction id
//! byte  48  partition_hash       u64      hash of the partition key of the first written row
//! byte  56  resolved_below       u64      all transactions of the session below this number are resolved for the client
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Asks what became of a transaction and fences it: if no record exists, it can never happen afterwards. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Resolve {
    /// Session of the transaction id.
    pub session: U64,
    /// Number of the transaction id.
    pub seq: U64,
    /// Hash of the partition key of the first written row.
    pub partition_hash: U64,
    /// All transactions of the session below this number are resolved for the client.
    pub resolved_below: U64,
}

const _: () = assert!(size_of::<Resolve>() == 32);
