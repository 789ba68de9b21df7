//! Changes of the management nodes, as an operator asks for them.

use crate::error::ErrorCode;
use crate::record::{RecordKind, decode, encode};
use rkyv::{Archive, Deserialize, Serialize};

/// Version of the [`ManagementChange`] record.
const MANAGEMENT_CHANGE_VERSION: u16 = 1;

/// A change of the management nodes. The cluster carries it out by itself as soon as the nodes are there.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum ManagementChange {
    /// Takes management nodes in: node ids and addresses.
    Add(Vec<(u32, String)>),
    /// Takes management nodes out.
    Remove(Vec<u32>),
    /// Lets a node with another directory take the place of one.
    Replace {
        /// Node id.
        node: u32,
        /// Where the new one is, if not where the old one was.
        address: Option<String>,
    },
}

impl ManagementChange {
    /// Encodes as a record.
    ///
    /// # Errors
    /// See [`encode`].
    pub fn to_record(&self) -> Result<Vec<u8>, ErrorCode> {
        encode(RecordKind::ManagementChange, MANAGEMENT_CHANGE_VERSION, self)
    }

    /// Decodes a record; whether the change makes sense is for the management nodes to say.
    ///
    /// # Errors
    /// See [`decode`].
    pub fn from_record(bytes: &[u8]) -> Result<ManagementChange, ErrorCode> {
        decode(RecordKind::ManagementChange, MANAGEMENT_CHANGE_VERSION, bytes)
    }
}
