//! A table definition as a record.

use crate::error::ErrorCode;
use crate::record::{RecordKind, decode, encode};
use crate::schema::TableDefinition;

/// Version of the [`TableDefinition`] record.
const TABLE_DEFINITION_VERSION: u16 = 2;

impl TableDefinition {
    /// Encodes as a record.
    ///
    /// # Errors
    /// See [`encode`].
    pub fn to_record(&self) -> Result<Vec<u8>, ErrorCode> {
        encode(RecordKind::TableDefinition, TABLE_DEFINITION_VERSION, self)
    }

    /// Decodes a record; whether the definition is valid is for [`TableDefinition::validate`] to say.
    ///
    /// # Errors
    /// See [`decode`].
    pub fn from_record(bytes: &[u8]) -> Result<TableDefinition, ErrorCode> {
        decode(RecordKind::TableDefinition, TABLE_DEFINITION_VERSION, bytes)
    }
}
