//! Commits what a transaction prepared in a fragment (COMMIT, COMMIT_P).
//!
//! Sender: coordinator, then the backup. Receiver: LDM of the last replica, then of the primary, which exposes the rows and tells the
//! coordinator with [`super::committed::Committed`].
//! 
//! The header's request id and block name the transaction at its coordinator; they travel with all signals of the commit.
//!
//! ```text
//! byte  32  session              u64      session of the transaction id
//! byte  40  seq                  u64      number of the transaction id
//! byte  48  epoch                u64      commit epoch, at least that of every replica when it prepared
//! byte  56  commit_time          u64      hybrid logical commit time, 0 where not kept
//! byte  64  partition            u16      partition
//! byte  66  origin_cluster       u16      cluster in which the transaction began, 0 for this one
//! byte  68  reserved             u32      0
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Commits what a transaction prepared in a fragment (COMMIT, COMMIT_P). Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CommitRows {
    /// Session of the transaction id.
    pub session: U64,
    /// Number of the transaction id.
    pub seq: U64,
    /// Commit epoch, at least that of every replica when it prepared.
    pub epoch: U64,
    /// Hybrid logical commit time, 0 where not kept.
    pub commit_time: U64,
    /// Partition.
    pub partition: U16,
    /// Cluster in which the transaction began, 0 for this one.
    pub origin_cluster: U16,
    /// 0.
    pub reserved: U32,
}

const _: () = assert!(size_of::<CommitRows>() == 40);
