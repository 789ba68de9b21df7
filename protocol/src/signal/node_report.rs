//! What a data node has installed and how it is, every 100 ms and after each installation.
//!
//! Sender: data node. Receiver: every management node.
//!
//! ```text
//! byte  32  node                 u32      node id
//! byte  36  incarnation          u32      incarnation
//! byte  40  state_version        u64      cluster state that is installed and whose schema changes are prepared
//! byte  48  drained_version      u64      cluster state as of which no operation on a table being dropped is under way
//! byte  56  view                 u64      view that is installed
//! byte  64  serving              u64      1 when the node serves
//! byte  72  memory_used          u64      bytes taken from the budget
//! byte  80  memory_limit         u64      bytes of the budget
//! byte  88  rows                 u64      rows of all replicas
//! byte  96  epoch                u64      epoch that the node is in
//! byte 104  closed_epoch         u64      newest closed epoch that it has heard of
//! byte 112  failed_indexes       u64      indexes being built for which its memory does not suffice
//! byte 120  built_version        u64      cluster state as of which every index is built
//! byte 128  refused_index        u32      unique index that cannot be built, 0 for none
//! byte 132  refused_code         u32      why
//! byte 136  building_indexes     u64      indexes of its fragments that are being built
//! byte 144  building_done        u64      how much of them is done: their thousandths added up
//!           section 0: what exactly
//! ```

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What a data node has installed and how it is, every 100 ms and after each installation. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NodeReport {
    /// Node id.
    pub node: U32,
    /// Incarnation.
    pub incarnation: U32,
    /// Cluster state that is installed and whose schema changes are prepared.
    pub state_version: U64,
    /// Cluster state as of which no operation on a table being dropped is under way.
    pub drained_version: U64,
    /// View that is installed.
    pub view: U64,
    /// 1 when the node serves.
    pub serving: U64,
    /// Bytes taken from the budget.
    pub memory_used: U64,
    /// Bytes of the budget.
    pub memory_limit: U64,
    /// Rows of all replicas.
    pub rows: U64,
    /// Epoch that the node is in.
    pub epoch: U64,
    /// Newest closed epoch that it has heard of.
    pub closed_epoch: U64,
    /// Indexes being built for which its memory does not suffice.
    pub failed_indexes: U64,
    /// Cluster state as of which every index is built.
    pub built_version: U64,
    /// Unique index that cannot be built, 0 for none.
    pub refused_index: U32,
    /// Why.
    pub refused_code: U32,
    /// Indexes of its fragments that are being built.
    pub building_indexes: U64,
    /// How much of them is done: their thousandths added up.
    pub building_done: U64,
}

const _: () = assert!(size_of::<NodeReport>() == 120);
