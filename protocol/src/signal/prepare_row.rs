//! One prepared change of a transaction on its way to the backup (PREPARE_B).
//!
//! Sender: LDM of the primary. Receiver: LDM of the backup, which answers the coordinator with [`super::prepared::Prepared`] after the last
//! change and acknowledges the position to the primary with [`super::accept_one::AcceptOne`].
//!
//! ```text
//! byte  32  partition            u16      partition
//! byte  34  operation            u8       1 put the whole row, 2 delete, 4 no row
//! byte  35  flags                u8       sum of `FLAG_` constants
//! byte  36  table                u32      table id
//! byte  40  table_version        u16      version of the table that the value image follows
//! byte  42  coordinator          u16      number of the coordinator in its node
//! byte  44  coordinator_node     u32      node of the coordinator
//! byte  48  cfg                  u64      fragment configuration
//! byte  56  position             u64      position in the fragment, one more than the last
//! byte  64  epoch                u64      epoch of the primary
//! byte  72  session              u64      session of the transaction id
//! byte  80  seq                  u64      number of the transaction id
//! byte  88  resolved_below       u64      outcome records of the session below this number are freed (home fragment)
//! byte  96  handle               u64      name of the transaction at its coordinator
//!           section 0: primary key
//!           section 1: value image after the commit; empty for a delete
//!           section 2: with `FLAG_HOME`: the result for the outcome record, at most 16 bytes
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One prepared change of a transaction on its way to the backup (PREPARE_B). Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PrepareRow {
    /// Partition.
    pub partition: U16,
    /// 1 put the whole row, 2 delete, 4 no row.
    pub operation: u8,
    /// Sum of `FLAG_` constants.
    pub flags: u8,
    /// Table id.
    pub table: U32,
    /// Version of the table that the value image follows.
    pub table_version: U16,
    /// Number of the coordinator in its node.
    pub coordinator: U16,
    /// Node of the coordinator.
    pub coordinator_node: U32,
    /// Fragment configuration.
    pub cfg: U64,
    /// Position in the fragment, one more than the last.
    pub position: U64,
    /// Epoch of the primary.
    pub epoch: U64,
    /// Session of the transaction id.
    pub session: U64,
    /// Number of the transaction id.
    pub seq: U64,
    /// Outcome records of the session below this number are freed (home fragment).
    pub resolved_below: U64,
    /// Name of the transaction at its coordinator.
    pub handle: U64,
}

const _: () = assert!(size_of::<PrepareRow>() == 72);

/// No row: only the outcome record, or nothing.
pub const OPERATION_NONE: u8 = 4;
/// The last change of the transaction in this fragment.
pub const FLAG_LAST: u8 = 1;
/// The outcome record of the transaction belongs to this fragment, at this position.
pub const FLAG_HOME: u8 = 2;
