//! Asks for a schema change, which runs as a job, for a change of the users of the SQL gateways, of the management nodes, or for a node to leave.
//!
//! Sender: client. Receiver: management node, which answers [`super::dictionary_changed::DictionaryChanged`] when the job has ended.
//!
//! ```text
//! byte  32  kind                 u16      1 create table, 2 drop table, 3 change a table, 4 change a user, 5 tell a data node to leave, 6 tell the receiver to end, 7 change the management nodes
//! byte  34  reserved             u16      0
//! byte  36  reserved_2           u32      0
//! byte  40  request              [u8;16]  random identity of the request, so that a repeated one is applied once
//!           section 0: create: record of kind `TableDefinition`; drop, change: `database.table` in UTF-8; user: record of kind `UserChange`; leave, end: record of kind `LeaveRequest`; management nodes: `ManagementChange`
//!           section 1: change: record of kind `TableChange`
//! ```

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Asks for a schema change, which runs as a job, for a change of the users of the SQL gateways, of the management nodes, or for a node to leave. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ChangeDictionary {
    /// 1 create table, 2 drop table, 3 change a table, 4 change a user, 5 tell a data node to leave, 6 tell the receiver to end.
    pub kind: U16,
    /// 0.
    pub reserved: U16,
    /// 0.
    pub reserved_2: U32,
    /// Random identity of the request, so that a repeated one is applied once.
    pub request: [u8; 16],
}

const _: () = assert!(size_of::<ChangeDictionary>() == 24);

/// Create a table.
pub const KIND_CREATE_TABLE: u16 = 1;
/// Drop a table.
pub const KIND_DROP_TABLE: u16 = 2;
/// Change a table.
pub const KIND_CHANGE_TABLE: u16 = 3;
/// Change a user.
pub const KIND_CHANGE_USER: u16 = 4;
/// Tell a data node to leave.
pub const KIND_LEAVE: u16 = 5;
/// Tell the management node that hears it to end.
pub const KIND_END: u16 = 6;
/// Change the management nodes.
pub const KIND_CHANGE_MANAGEMENT: u16 = 7;

