//! A change of the view, to be made if the group has not changed meanwhile.
//!
//! Sender: data node, every 50 ms until it sees a view in which the group has changed. Receiver: every management node;
//! the leader answers [`super::view_proposed::ViewProposed`] when the proposal is applied.
//!
//! ```text
//! byte  32  request              [u8;16]  random identity of the proposal; it is applied once
//! byte  48  changed_in_view      u64      `changed_in_view` of the group as the proposer knows it: compared at apply
//! byte  56  highest_view         u64      highest view that the proposer has installed
//! byte  64  proposer             u32      node id of the proposer
//! byte  68  proposer_incarnation u32      incarnation of the proposer
//! byte  72  node                 u32      node id of the instance that is removed, joins, is promoted or leaves, else 0
//! byte  76  incarnation          u32      its incarnation
//! byte  80  group                u16      node group
//! byte  82  kind                 u16      one of the `KIND_` constants
//! byte  84  reserved             u32      0
//!           section 0: for a swap the partitions, u16 each
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A change of the view, to be made if the group has not changed meanwhile. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ProposeView {
    /// Random identity of the proposal; it is applied once.
    pub request: [u8; 16],
    /// `changed_in_view` of the group as the proposer knows it: compared at apply.
    pub changed_in_view: U64,
    /// Highest view that the proposer has installed.
    pub highest_view: U64,
    /// Node id of the proposer.
    pub proposer: U32,
    /// Incarnation of the proposer.
    pub proposer_incarnation: U32,
    /// Node id of the instance that is removed, joins, is promoted or leaves, else 0.
    pub node: U32,
    /// Its incarnation.
    pub incarnation: U32,
    /// Node group.
    pub group: U16,
    /// One of the `KIND_` constants.
    pub kind: U16,
    /// 0.
    pub reserved: U32,
}

const _: () = assert!(size_of::<ProposeView>() == 56);

/// Remove an instance from the group.
pub const KIND_REMOVE: u16 = 1;
/// Take a registered instance in as a joining member, which is in the chains of all partitions of the group from then on.
pub const KIND_JOIN: u16 = 2;
/// Make a joining member a full one.
pub const KIND_PROMOTE: u16 = 3;
/// Let the backups lead the named partitions.
pub const KIND_SWAP: u16 = 4;
/// A member wants to end: it hands over what it leads.
pub const KIND_LEAVE: u16 = 5;
