//! What can be wrong with a table definition.
//!
//! | code | error | meaning |
//! |---|---|---|
//! | 100 | `EmptyName` | a database, table or column has no name |
//! | 101 | `NameTooLong` | a name has more than 64 characters |
//! | 102 | `InvalidName` | a name contains a control character |
//! | 103 | `NoColumns` | the table has no columns |
//! | 104 | `TooManyColumns` | the table has more than 512 columns |
//! | 105 | `DuplicateColumn` | two columns have the same name |
//! | 106 | `NoPrimaryKey` | the table has no primary key |
//! | 107 | `UnknownColumn` | a key or option names a column that does not exist |
//! | 108 | `DuplicateKeyColumn` | a column appears twice in a key |
//! | 109 | `NullableKeyColumn` | a primary-key column may be NULL |
//! | 110 | `KeyTypeNotOrderable` | a primary-key column has a type without an order |
//! | 111 | `TooManyKeyColumns` | the primary key has more than 32 columns |
//! | 112 | `KeyTooLarge` | keys may be encoded longer than 3072 bytes |
//! | 113 | `PartitionKeyOutsidePrimaryKey` | a partition-key column is not in the primary key |
//! | 114 | `InvalidColumnType` | a length, precision or scale is out of range |
//! | 115 | `RowTooLarge` | the fixed-size columns alone exceed the row limit |
//! | 116 | `InvalidDefault` | a default does not fit its column |
//! | 117 | `InvalidTimeToLive` | seconds are zero or the event time is not a date, time or BIGINT |
//! | 118 | `CommentTooLong` | the comment has more than 2048 characters |
//! | 119 | `TooManyIndexes` | the table has more than 32 secondary indexes |
//! | 120 | `DuplicateIndex` | two indexes have the same name |
//! | 121 | `ReservedIndexName` | an index is named `primary`, as the primary key's own |
//! | 122 | `WrongIndexColumnCount` | an index has no columns or more than 16 |
//! | 123 | `IndexTypeNotOrderable` | an index column has a type without an order |
//! | 124 | `IndexKeyTooLarge` | keys of an index may be encoded longer than 3072 bytes |
//! | 125 | `DefaultNeeded` | a column that is added to a table must be nullable or have a default |
//! | 126 | `InvalidCurrentTime` | a column cannot take the current time by itself |

use super::{
    ColumnType, MAX_COLUMNS, MAX_INDEX_COLUMNS, MAX_INDEXES, MAX_KEY_BYTES, MAX_KEY_COLUMNS,
    MAX_NAME_CHARACTERS, MAX_VALUE_BYTES,
};
use crate::row::RowError;

/// A rule of table definitions that is broken; the table in the module documentation lists the codes.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SchemaError {
    /// A name is missing.
    #[error("the {what} has no name")]
    EmptyName {
        /// What is not named: database, table, column or index.
        what: &'static str,
    },
    /// A name is too long.
    #[error("the {what} name '{name}' has more than {MAX_NAME_CHARACTERS} characters")]
    NameTooLong {
        /// What is named.
        what: &'static str,
        /// The name, cut to its first characters.
        name: String,
    },
    /// A name contains a control character.
    #[error("the {what} name {name:?} contains a control character")]
    InvalidName {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// There are no columns.
    #[error("the table has no columns")]
    NoColumns,
    /// There are too many columns.
    #[error("the table has {count} columns; at most {MAX_COLUMNS} are allowed")]
    TooManyColumns {
        /// How many there are.
        count: usize,
    },
    /// Two columns have one name.
    #[error("two columns are named '{column}' (names are compared without regard to case)")]
    DuplicateColumn {
        /// The name.
        column: String,
    },
    /// There is no primary key.
    #[error("the table has no primary key")]
    NoPrimaryKey,
    /// A key or option names a column that does not exist.
    #[error("the {part} names column '{column}', which does not exist")]
    UnknownColumn {
        /// Primary key, partition key or time to live.
        part: &'static str,
        /// Name or index of the column.
        column: String,
    },
    /// A column appears twice in a key.
    #[error("column '{column}' appears twice in the {part}")]
    DuplicateKeyColumn {
        /// Primary key or partition key.
        part: &'static str,
        /// Name of the column.
        column: String,
    },
    /// A primary-key column may be NULL.
    #[error("column '{column}' is part of the primary key and must be NOT NULL")]
    NullableKeyColumn {
        /// Name of the column.
        column: String,
    },
    /// A primary-key column has a type that keys cannot hold.
    #[error("column '{column}' of type {column_type} cannot be part of the primary key")]
    KeyTypeNotOrderable {
        /// Name of the column.
        column: String,
        /// Its type.
        column_type: ColumnType,
    },
    /// The primary key has too many columns.
    #[error("the primary key has {count} columns; at most {MAX_KEY_COLUMNS} are allowed")]
    TooManyKeyColumns {
        /// How many there are.
        count: usize,
    },
    /// Keys may be too long.
    #[error(
        "keys may take {bytes} bytes; at most {MAX_KEY_BYTES} are allowed (a character takes up to 4 bytes, a byte of VARBINARY up to 2)"
    )]
    KeyTooLarge {
        /// Longest key that the columns allow.
        bytes: usize,
    },
    /// The partition key is not a subset of the primary key.
    #[error("column '{column}' of the partition key is not part of the primary key")]
    PartitionKeyOutsidePrimaryKey {
        /// Name of the column.
        column: String,
    },
    /// A parameter of a type is out of range.
    #[error("column '{column}' has type {column_type}, but {reason}")]
    InvalidColumnType {
        /// Name of the column.
        column: String,
        /// Its type.
        column_type: ColumnType,
        /// What is allowed.
        reason: &'static str,
    },
    /// Even the smallest row is too large.
    #[error("every row takes at least {bytes} bytes; at most {MAX_VALUE_BYTES} are allowed")]
    RowTooLarge {
        /// Bytes of null bits, fixed-size columns and offsets.
        bytes: usize,
    },
    /// A default does not fit its column.
    #[error("the default of column '{column}' does not fit it: {reason}")]
    InvalidDefault {
        /// Name of the column.
        column: String,
        /// What is wrong with the value.
        reason: RowError,
    },
    /// The time to live makes no sense.
    #[error("the time to live is invalid: {reason}")]
    InvalidTimeToLive {
        /// Why.
        reason: &'static str,
    },
    /// A comment is too long.
    #[error("the comment of {what} has more than {most} characters")]
    CommentTooLong {
        /// What it is of: the table, or a column with its name.
        what: String,
        /// Most characters.
        most: usize,
    },
    /// There are too many secondary indexes.
    #[error("the table has {count} secondary indexes; at most {MAX_INDEXES} are allowed")]
    TooManyIndexes {
        /// How many there are.
        count: usize,
    },
    /// Two indexes have one name.
    #[error("two indexes are named '{index}' (names are compared without regard to case)")]
    DuplicateIndex {
        /// The name.
        index: String,
    },
    /// An index has the name of the primary key's own.
    #[error("an index cannot be named '{index}': that is the index on the primary key")]
    ReservedIndexName {
        /// The name.
        index: String,
    },
    /// An index has no columns or too many.
    #[error("index '{index}' has {count} columns; 1 to {MAX_INDEX_COLUMNS} are allowed")]
    WrongIndexColumnCount {
        /// Name of the index.
        index: String,
        /// How many columns it has.
        count: usize,
    },
    /// An index column has a type that keys cannot hold.
    #[error("column '{column}' of type {column_type} cannot be part of index '{index}'")]
    IndexTypeNotOrderable {
        /// Name of the index.
        index: String,
        /// Name of the column.
        column: String,
        /// Its type.
        column_type: ColumnType,
    },
    /// Keys of an index may be too long.
    #[error(
        "keys of index '{index}' may take {bytes} bytes; at most {MAX_KEY_BYTES} are allowed (a character takes up to 4 bytes, a byte of VARBINARY up to 2)"
    )]
    IndexKeyTooLarge {
        /// Name of the index.
        index: String,
        /// Longest key that the columns allow.
        bytes: usize,
    },
    /// Rows that exist would have no value in a new column.
    #[error("column '{column}' is NOT NULL and has no default: the rows that exist would have no value")]
    DefaultNeeded {
        /// Name of the column.
        column: String,
    },
    /// A column cannot take the current time by itself.
    #[error("column '{column}' cannot take the current time: {reason}")]
    InvalidCurrentTime {
        /// Name of the column.
        column: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl SchemaError {
    /// Stable number of the error, 100–149.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::EmptyName { .. } => 100,
            Self::NameTooLong { .. } => 101,
            Self::InvalidName { .. } => 102,
            Self::NoColumns => 103,
            Self::TooManyColumns { .. } => 104,
            Self::DuplicateColumn { .. } => 105,
            Self::NoPrimaryKey => 106,
            Self::UnknownColumn { .. } => 107,
            Self::DuplicateKeyColumn { .. } => 108,
            Self::NullableKeyColumn { .. } => 109,
            Self::KeyTypeNotOrderable { .. } => 110,
            Self::TooManyKeyColumns { .. } => 111,
            Self::KeyTooLarge { .. } => 112,
            Self::PartitionKeyOutsidePrimaryKey { .. } => 113,
            Self::InvalidColumnType { .. } => 114,
            Self::RowTooLarge { .. } => 115,
            Self::InvalidDefault { .. } => 116,
            Self::InvalidTimeToLive { .. } => 117,
            Self::CommentTooLong { .. } => 118,
            Self::TooManyIndexes { .. } => 119,
            Self::DuplicateIndex { .. } => 120,
            Self::ReservedIndexName { .. } => 121,
            Self::WrongIndexColumnCount { .. } => 122,
            Self::IndexTypeNotOrderable { .. } => 123,
            Self::IndexKeyTooLarge { .. } => 124,
            Self::DefaultNeeded { .. } => 125,
            Self::InvalidCurrentTime { .. } => 126,
        }
    }
}
