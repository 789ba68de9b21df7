//! Commits a transaction.
//!
//! Sender: client. Receiver: coordinator that runs the transaction, which answers [`super::transaction_reply::TransactionReply`] when all
//! replicas of all its rows hold the decision, or [`super::error_reply::ErrorReply`].
//!
//! ```text
//! byte  32  session              u64      session of the transaction id
//! byte  40  seq                  u64      number of the transaction id
//! byte  48  partition_hash       u64      hash of the partition key of the first written row: the home of the outcome; 0 when nothing was written
//! byte  56  resolved_below       u64      all transactions of the session below this number are resolved for the client
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Commits a transaction. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CommitTransaction {
    /// Session of the transaction id.
    pub session: U64,
    /// Number of the transaction id.
    pub seq: U64,
    /// Hash of the partition key of the first written row: the home of the outcome; 0 when nothing was written.
    pub partition_hash: U64,
    /// All transactions of the session below this number are resolved for the client.
    pub resolved_below: U64,
}

const _: () = assert!(size_of::<CommitTransaction>() == 32);
