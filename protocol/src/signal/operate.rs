//! One operation of a transaction.
//!
//! Sender: client, to the coordinator that runs the transaction; that coordinator, which passes it on with its own request id and its
//! number in `block`. Receiver: LDM of the primary, which answers [`super::operate_reply::OperateReply`].
//! 
//! Operation 1 begins the transaction. It ends by [`super::commit_transaction::CommitTransaction`] or
//! [`super::rollback_transaction::RollbackTransaction`] on the same link, or with the link.
//!
//! ```text
//! byte  32  table                u32      table id
//! byte  36  table_version        u16      version of the table that the sender knows
//! byte  38  operation            u8       one of the `OPERATION_` constants, here or of [`super::write`]
//! byte  39  flags                u8       sum of `FLAG_` constants
//! byte  40  session              u64      session of the transaction id
//! byte  48  seq                  u64      number of the transaction id
//! byte  56  number               u32      number of the operation in its transaction: 1, 2, 3 …
//! byte  60  tries                u32      how often its client has tried this transaction before; of a circle of waiting ones that with the fewest is rolled back
//! byte  64  expected_epoch       u64      with `FLAG_EXPECT_VERSION`: the committed row version wanted
//! byte  72  expected_seq         u64      with `FLAG_EXPECT_VERSION`: the committed row version wanted
//!           section 0: primary key
//!           section 1: insert, upsert: value image; update: update program; else empty
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One operation of a transaction. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Operate {
    /// Table id.
    pub table: U32,
    /// Version of the table that the sender knows.
    pub table_version: U16,
    /// One of the `OPERATION_` constants, here or of [`super::write`].
    pub operation: u8,
    /// Sum of `FLAG_` constants.
    pub flags: u8,
    /// Session of the transaction id.
    pub session: U64,
    /// Number of the transaction id.
    pub seq: U64,
    /// Number of the operation in its transaction: 1, 2, 3 ….
    pub number: U32,
    /// How often its client has tried this transaction before; of a circle of waiting ones that with the fewest is rolled back.
    pub tries: U32,
    /// With `FLAG_EXPECT_VERSION`: the committed row version wanted.
    pub expected_epoch: U64,
    /// With `FLAG_EXPECT_VERSION`: the committed row version wanted.
    pub expected_seq: U64,
}

const _: () = assert!(size_of::<Operate>() == 48);

/// Read without a lock: the transaction's own change of the row, else what is committed.
pub const OPERATION_READ: u8 = 5;
/// Read with a shared lock until the transaction ends.
pub const OPERATION_READ_SHARED: u8 = 6;
/// Read with an exclusive lock until the transaction ends.
pub const OPERATION_READ_EXCLUSIVE: u8 = 7;
/// Between nodes: insert the entry of a unique index, unless it is there; one that names another row is a duplicate key.
pub const OPERATION_INSERT_ENTRY: u8 = 8;
/// Between nodes: remove the entry of a unique index, if it has exactly this value.
pub const OPERATION_REMOVE_ENTRY: u8 = 9;
/// Between nodes: enter an existing row into the unique indexes of its table that are being built.
pub const OPERATION_ENTER_ROW: u8 = 10;
/// The row must have the expected version (compare-and-set).
pub const FLAG_EXPECT_VERSION: u8 = 1;
/// An update or delete without a row does nothing, instead of ending the transaction.
pub const FLAG_IGNORE_MISSING: u8 = 2;
/// An insert with a row, or with the values of another row in a unique index, does nothing, instead of ending the transaction.
pub const FLAG_IGNORE_EXISTING: u8 = 4;
/// Between nodes: the operation is all that its transaction does to rows, so its result belongs to the outcome record.
pub const FLAG_SINGLE: u8 = 8;
/// Between nodes: the operation takes back what was done; entries of unique indexes are looked after by the coordinator.
pub const FLAG_WITHOUT_ENTRIES: u8 = 16;
/// The flags that a client may give.
pub const CLIENT_FLAGS: u8 = FLAG_EXPECT_VERSION | FLAG_IGNORE_MISSING | FLAG_IGNORE_EXISTING;
