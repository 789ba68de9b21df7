//! Answer to [`super::commit_transaction::CommitTransaction`] and [`super::rollback_transaction::RollbackTransaction`].
//!
//! Sender: coordinator. Receiver: client.
//!
//! ```text
//! byte  32  outcome              u16      1 committed, 2 aborted
//! byte  34  reserved             u16      0
//! byte  36  reserved_2           u32      0
//! byte  40  epoch                u64      epoch of the commit
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Answer to [`super::commit_transaction::CommitTransaction`] and [`super::rollback_transaction::RollbackTransaction`]. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TransactionReply {
    /// 1 committed, 2 aborted.
    pub outcome: U16,
    /// 0.
    pub reserved: U16,
    /// 0.
    pub reserved_2: U32,
    /// Epoch of the commit.
    pub epoch: U64,
}

const _: () = assert!(size_of::<TransactionReply>() == 16);

/// The transaction is committed on all replicas of its rows.
pub const OUTCOME_COMMITTED: u16 = 1;
/// The transaction is rolled back.
pub const OUTCOME_ABORTED: u16 = 2;
