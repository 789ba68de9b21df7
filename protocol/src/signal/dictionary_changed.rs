//! Answer to [`super::change_dictionary::ChangeDictionary`].
//!
//! Sender: management node. Receiver: client.
//!
//! ```text
//! byte  32  code                 u16      0 or an error code
//! byte  34  reserved             u16      0
//! byte  36  table                u32      id of the table
//! byte  40  state_version        u64      cluster state that shows the change
//!           section 0: detail, UTF-8
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Answer to [`super::change_dictionary::ChangeDictionary`]. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DictionaryChanged {
    /// 0 or an error code.
    pub code: U16,
    /// 0.
    pub reserved: U16,
    /// Id of the table.
    pub table: U32,
    /// Cluster state that shows the change.
    pub state_version: U64,
}

const _: () = assert!(size_of::<DictionaryChanged>() == 16);
