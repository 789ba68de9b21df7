//! Asks a fragment to prepare what a transaction did there (PREPARE).
//!
//! Sender: coordinator. Receiver: LDM of the primary, which sends [`super::prepare_row::PrepareRow`] to the backup.
//! 
//! The header's request id and block name the transaction at its coordinator; they travel with all signals of the commit.
//!
//! ```text
//! byte  32  session              u64      session of the transaction id
//! byte  40  seq                  u64      number of the transaction id
//! byte  48  resolved_below       u64      outcome records of the session below this number are freed (home fragment)
//! byte  56  partition            u16      partition
//! byte  58  flags                u16      `FLAG_HOME` or 0
//! byte  60  reserved             u32      0
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Asks a fragment to prepare what a transaction did there (PREPARE). Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Prepare {
    /// Session of the transaction id.
    pub session: U64,
    /// Number of the transaction id.
    pub seq: U64,
    /// Outcome records of the session below this number are freed (home fragment).
    pub resolved_below: U64,
    /// Partition.
    pub partition: U16,
    /// `FLAG_HOME` or 0.
    pub flags: U16,
    /// 0.
    pub reserved: U32,
}

const _: () = assert!(size_of::<Prepare>() == 32);

/// The outcome record of the transaction belongs to this fragment.
pub const FLAG_HOME: u16 = 1;
