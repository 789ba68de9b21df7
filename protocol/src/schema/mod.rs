//! Tables as users define them: columns, primary key, partition key and options.
//!
//! A definition is plain data that travels in the dictionary; [`crate::layout::TableLayout`] is its
//! compiled form. Nothing but [`TableDefinition::validate`] decides which definitions are legal.

mod builder;
mod column;
mod column_type;
mod error;
mod index;
mod stored;
#[cfg(test)]
mod tests;
mod validate;
mod version;

use rkyv::{Archive, Deserialize, Serialize};

pub use builder::TableBuilder;
pub use column::{Column, CurrentTime, MAX_FRACTION_DIGITS};
pub use column_type::ColumnType;
pub use error::SchemaError;
pub use index::{
    IndexDefinition, IndexKind, IndexState, MAX_INDEX_COLUMNS, MAX_INDEXES, PRIMARY_KEY_INDEX,
    PRIMARY_KEY_INDEX_NAME, PrimaryKeyOrder, TableIndex,
};

/// Longest name of a database, table or column, in characters.
pub const MAX_NAME_CHARACTERS: usize = 64;
/// Most columns of a table.
pub const MAX_COLUMNS: usize = 512;
/// Most columns of a primary key.
pub const MAX_KEY_COLUMNS: usize = 32;
/// Longest encoded primary key, in bytes.
pub const MAX_KEY_BYTES: usize = 3072;
/// Longest comment of a table, in characters.
pub const MAX_COMMENT_CHARACTERS: usize = 2048;
/// Longest comment of a column, in characters.
pub const MAX_COLUMN_COMMENT_CHARACTERS: usize = 1024;
/// Longest value image of a row, in bytes: 64 KiB of data and room for null bits and offsets.
pub const MAX_VALUE_BYTES: usize = 65_536 + 4_096;

/// When rows of a table expire.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeToLive {
    /// Seconds after the event time at which a row expires; at least 1.
    pub seconds: u64,
    /// Index of the column that holds the event time: a DATE, DATETIME, TIMESTAMP, or a BIGINT of seconds or milliseconds
    /// ([`crate::value::event_time`]).
    pub event_time_column: u16,
}

/// A table as its user defines it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct TableDefinition {
    /// Database name.
    pub database: String,
    /// Table name.
    pub name: String,
    /// Columns in order; their indexes are their identity within a table version.
    pub columns: Vec<Column>,
    /// Indexes of the primary-key columns, in key order.
    pub primary_key: Vec<u16>,
    /// Indexes of the columns whose hash places a row: a subset of the primary key, hashed in key
    /// order. Empty means the whole primary key.
    pub partition_key: Vec<u16>,
    /// Whether rows can be scanned in the order of the primary key.
    pub primary_key_order: PrimaryKeyOrder,
    /// Secondary indexes.
    pub indexes: Vec<IndexDefinition>,
    /// When rows expire, if they do.
    pub time_to_live: Option<TimeToLive>,
    /// What the table is for.
    pub comment: String,
}

impl TableDefinition {
    /// Starts a definition.
    #[must_use]
    pub fn builder(database: impl Into<String>, name: impl Into<String>) -> TableBuilder {
        TableBuilder::new(database.into(), name.into())
    }

    /// Index of the column of this name, compared without regard to ASCII case.
    #[must_use]
    pub fn column_index(&self, name: &str) -> Option<u16> {
        self.columns
            .iter()
            .position(|column| column.name.eq_ignore_ascii_case(name))
            .map(|index| index as u16)
    }

    /// Position of the secondary index of this name, compared without regard to ASCII case.
    #[must_use]
    pub fn index_position(&self, name: &str) -> Option<usize> {
        self.indexes.iter().position(|index| index.name.eq_ignore_ascii_case(name))
    }

    /// Is the column part of the primary key?
    #[must_use]
    pub fn is_key_column(&self, index: u16) -> bool {
        self.primary_key.contains(&index)
    }

    /// Checks everything that a definition must keep.
    ///
    /// # Errors
    /// The first rule that is broken; see [`SchemaError`].
    pub fn validate(&self) -> Result<(), SchemaError> {
        validate::validate(self)
    }
}

/// Where a table is in its life.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableState {
    /// Not every data node knows the table yet; no rows.
    Preparing,
    /// Open for requests.
    Active,
    /// Being dropped; requests are refused.
    Dropping,
}

/// A table of the dictionary.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Table {
    /// Identity, never reused in a cluster.
    pub id: u32,
    /// Version of the definition, counted from 1.
    pub version: u16,
    /// Where the table is in its life.
    pub state: TableState,
    /// What the user defined.
    pub definition: TableDefinition,
    /// What the dictionary knows of the secondary indexes, in the order of [`TableDefinition::indexes`].
    pub indexes: Vec<TableIndex>,
    /// Number of columns of each earlier version, oldest first: a version is the one before it and columns at the end.
    pub older_columns: Vec<u16>,
    /// A column that the next version will have; not every data node knows of it yet.
    pub adding: Option<Column>,
    /// The table whose unique index has its entries here: users neither see nor address this one.
    pub hidden_of: Option<u32>,
}

impl Table {
    /// A table as it is created: in its first version, not yet open, and with indexes that are complete because it is
    /// empty, numbered from `first_index` on.
    #[must_use]
    pub fn created(id: u32, first_index: u32, definition: TableDefinition) -> Table {
        let numbered = definition.indexes.iter().zip(first_index..);
        let indexes = numbered
            .map(|(_, id)| TableIndex { id, state: IndexState::Public, hidden_table: None })
            .collect();
        Table {
            id,
            version: 1,
            state: TableState::Preparing,
            definition,
            indexes,
            older_columns: Vec::new(),
            adding: None,
            hidden_of: None,
        }
    }

    /// As [`Table::created`], followed by the hidden tables of its unique indexes, numbered from `id` on.
    #[must_use]
    pub fn created_with_entries(id: u32, first_index: u32, definition: TableDefinition) -> Vec<Table> {
        let mut base = Table::created(id, first_index, definition);
        let mut hidden = Vec::new();
        for (index, known) in base.definition.indexes.iter().zip(&mut base.indexes) {
            if index.kind == IndexKind::Unique {
                let entries = base.id + 1 + hidden.len() as u32;
                known.hidden_table = Some(entries);
                let definition = crate::unique::entries_definition(&base.definition, index);
                hidden.push(Table { hidden_of: Some(id), ..Table::created(entries, 0, definition) });
            }
        }
        hidden.insert(0, base);
        hidden
    }

    /// Whether the table holds the entries of a unique index.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.hidden_of.is_some()
    }

    /// The secondary index of this name, compared without regard to ASCII case.
    #[must_use]
    pub fn index_named(&self, name: &str) -> Option<(&IndexDefinition, &TableIndex)> {
        let position = self.definition.index_position(name)?;
        Some((&self.definition.indexes[position], self.indexes.get(position)?))
    }

    /// The secondary indexes: what their user defined and what the dictionary knows.
    pub fn secondary_indexes(&self) -> impl Iterator<Item = (&IndexDefinition, &TableIndex)> {
        self.definition.indexes.iter().zip(&self.indexes)
    }
}
