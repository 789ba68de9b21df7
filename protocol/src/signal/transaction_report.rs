//! A replica holds something of a transaction whose coordinator may not know that it does.
//!
//! Sender: LDM of a replica after a change of view. Receiver: the coordinator of the transaction, or the one that takes it over.
//!
//! ```text
//! byte  32  session              u64      session of the transaction id
//! byte  40  seq                  u64      number of the transaction id
//! byte  48  view                 u64      view in which the report is made
//! byte  56  epoch                u64      commit epoch, 0 while it is not committed
//! byte  64  partition            u16      partition
//! byte  66  state                u8       1 prepared, 2 committed
//! byte  67  role                 u8       1 primary, 2 backup
//! byte  68  node                 u32      node id of the replica
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A replica holds something of a transaction whose coordinator may not know that it does. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TransactionReport {
    /// Session of the transaction id.
    pub session: U64,
    /// Number of the transaction id.
    pub seq: U64,
    /// View in which the report is made.
    pub view: U64,
    /// Commit epoch, 0 while it is not committed.
    pub epoch: U64,
    /// Partition.
    pub partition: U16,
    /// 1 prepared, 2 committed.
    pub state: u8,
    /// 1 primary, 2 backup.
    pub role: u8,
    /// Node id of the replica.
    pub node: U32,
}

const _: () = assert!(size_of::<TransactionReport>() == 40);

/// Prepared, and not decided as far as the replica knows.
pub const STATE_PREPARED: u8 = 1;
/// Committed, not yet complete.
pub const STATE_COMMITTED: u8 = 2;
/// The replica leads the partition.
pub const ROLE_PRIMARY: u8 = 1;
/// The replica is a backup.
pub const ROLE_BACKUP: u8 = 2;
