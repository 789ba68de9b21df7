//! Asks for a schema change, which runs as a job, or for a change of the users of the SQL gateways.
//!
//! Sender: client. Receiver: management node, which answers [`super::dictionary_changed::DictionaryChanged`] when the job has ended.
//!
//! ```text
//! byte  32  kind                 u16      1 create table, 2 drop table, 3 change a table, 4 change a user
//! byte  34  reserved             u16      0
//! byte  36  reserved_2           u32      0
//! byte  40  request              [u8;16]  random identity of the request, so that a repeated one is applied once
//!           section 0: create: record of kind `TableDefinition`; drop, change: `database.table` in UTF-8; user: record of kind `UserChange`
//!           section 1: change: record of kind `TableChange`
//! ```

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Asks for a schema change, which runs as a job, or for a change of the users of the SQL gateways. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ChangeDictionary {
    /// 1 create table, 2 drop table, 3 change a table, 4 change a user.
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

