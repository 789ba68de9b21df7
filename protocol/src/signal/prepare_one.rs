//! One-pass write on its way to the backup. Acceptance is the decision.
//!
//! Sender: LDM of the primary. Receiver: LDM of the backup, through the lane of the partition.
//!
//! ```text
//! byte  32  partition            u16      partition
//! byte  34  operation            u8       1 put the whole row, 2 delete, 3 fence the transaction id
//! byte  35  result_bytes         u8       used bytes of `result`
//! byte  36  table                u32      table id
//! byte  40  table_version        u16      version of the table that the value image follows
//! byte  42  origin_cluster       u16      cluster in which the write began, 0 for this one
//! byte  44  reserved             u32      0
//! byte  48  cfg                  u64      fragment configuration
//! byte  56  seq                  u64      position in the fragment, one more than the last
//! byte  64  epoch                u64      commit epoch
//! byte  72  session              u64      session of the transaction id
//! byte  80  transaction_seq      u64      number of the transaction id
//! byte  88  resolved_below       u64      outcome records of the session below this number are freed
//! byte  96  commit_time          u64      hybrid logical commit time, 0 where not kept
//! byte 104  result               [u8;16]  result kept in the outcome record
//!           section 0: primary key
//!           section 1: value image after the write; empty for delete and fence
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One-pass write on its way to the backup. Acceptance is the decision. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PrepareOne {
    /// Partition.
    pub partition: U16,
    /// 1 put the whole row, 2 delete, 3 fence the transaction id.
    pub operation: u8,
    /// Used bytes of `result`.
    pub result_bytes: u8,
    /// Table id.
    pub table: U32,
    /// Version of the table that the value image follows.
    pub table_version: U16,
    /// Cluster in which the write began, 0 for this one.
    pub origin_cluster: U16,
    /// 0.
    pub reserved: U32,
    /// Fragment configuration.
    pub cfg: U64,
    /// Position in the fragment, one more than the last.
    pub seq: U64,
    /// Commit epoch.
    pub epoch: U64,
    /// Session of the transaction id.
    pub session: U64,
    /// Number of the transaction id.
    pub transaction_seq: U64,
    /// Outcome records of the session below this number are freed.
    pub resolved_below: U64,
    /// Hybrid logical commit time, 0 where not kept.
    pub commit_time: U64,
    /// Result kept in the outcome record.
    pub result: [u8; 16],
}

const _: () = assert!(size_of::<PrepareOne>() == 88);

/// Put the whole row.
pub const OPERATION_PUT: u8 = 1;
/// Delete the row.
pub const OPERATION_DELETE: u8 = 2;
/// Only record the transaction as aborted.
pub const OPERATION_FENCE: u8 = 3;

