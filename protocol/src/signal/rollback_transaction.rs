//! Rolls a transaction back.
//!
//! Sender: client. Receiver: coordinator that runs the transaction, which answers [`super::transaction_reply::TransactionReply`].
//!
//! ```text
//! byte  32  session              u64      session of the transaction id
//! byte  40  seq                  u64      number of the transaction id
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Rolls a transaction back. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RollbackTransaction {
    /// Session of the transaction id.
    pub session: U64,
    /// Number of the transaction id.
    pub seq: U64,
}

const _: () = assert!(size_of::<RollbackTransaction>() == 16);
