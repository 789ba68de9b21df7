//! What can be wrong with a value, a key, a row image or an update program.
//!
//! | code | error | meaning |
//! |---|---|---|
//! | 150 | `WrongValueCount` | not as many values as columns |
//! | 151 | `UnknownColumn` | the table has no column of this index |
//! | 152 | `WrongType` | the value is of a kind that the column does not take |
//! | 153 | `OutOfRange` | the number, date or decimal does not fit the column |
//! | 154 | `WrongLength` | the text, bytes or vector is too long or not of the exact length |
//! | 155 | `NullNotAllowed` | NULL in a NOT NULL column |
//! | 156 | `InvalidUtf8` | text is not valid UTF-8 |
//! | 157 | `NotANumber` | NaN in a key |
//! | 158 | `RowTooLarge` | the value image exceeds the row limit |
//! | 159 | `KeyTooLarge` | the key exceeds the key limit |
//! | 160 | `MalformedKey` | the key bytes are not an encoding of the primary key |
//! | 161 | `MalformedRow` | the value bytes are not a canonical value image |
//! | 162 | `MalformedUpdate` | the bytes are not an update program |
//! | 163 | `KeyColumnUpdate` | an update assigns to a primary-key column |
//! | 164 | `NotNumeric` | an update adds to a column that holds no numbers |
//! | 165 | `AddOverflow` | the sum does not fit the column |
//! | 166 | `DuplicateAssignment` | an update assigns to a column twice |
//! | 167 | `StoredIsNewer` | an update would advance a column to less than it holds |

use std::sync::Arc;

use crate::error::ErrorCode;
use crate::schema::{ColumnType, MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// What is wrong with a value, key, row or update; the table in the module documentation lists the codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Not as many values as columns.
    #[error("{found} values were given for {expected} columns")]
    WrongValueCount {
        /// Columns of the row or key.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// The table has no column of this index.
    #[error("the table has no column number {index}; it has {columns}")]
    UnknownColumn {
        /// Index, counted from 0.
        index: usize,
        /// Columns of the table.
        columns: usize,
    },
    /// The value is of a kind that the column does not take.
    #[error("column '{column}' is {column_type} and does not take {found}")]
    WrongType {
        /// Name of the column.
        column: Arc<str>,
        /// Its type.
        column_type: ColumnType,
        /// Kind of the value.
        found: &'static str,
    },
    /// The value does not fit the column.
    #[error("column '{column}' is {column_type}, which cannot hold {value}")]
    OutOfRange {
        /// Name of the column.
        column: Arc<str>,
        /// Its type.
        column_type: ColumnType,
        /// The value as text.
        value: String,
    },
    /// The text, bytes or vector has a wrong length.
    #[error("column '{column}' is {column_type}; the value has {length} {unit}")]
    WrongLength {
        /// Name of the column.
        column: Arc<str>,
        /// Its type, which says what is allowed.
        column_type: ColumnType,
        /// Length of the value.
        length: usize,
        /// Unit of the length.
        unit: &'static str,
    },
    /// NULL in a NOT NULL column.
    #[error("column '{column}' must not be NULL")]
    NullNotAllowed {
        /// Name of the column.
        column: Arc<str>,
    },
    /// Text is not valid UTF-8.
    #[error("column '{column}' is {column_type}; the value is not valid UTF-8")]
    InvalidUtf8 {
        /// Name of the column.
        column: Arc<str>,
        /// Its type.
        column_type: ColumnType,
    },
    /// NaN has no place in an order.
    #[error("column '{column}' is part of the primary key and cannot hold NaN")]
    NotANumber {
        /// Name of the column.
        column: Arc<str>,
    },
    /// The value image exceeds the row limit.
    #[error("the row takes {bytes} bytes; at most {MAX_VALUE_BYTES} are allowed")]
    RowTooLarge {
        /// Bytes of the value image.
        bytes: usize,
    },
    /// The key exceeds the key limit.
    #[error("the key takes {bytes} bytes; at most {MAX_KEY_BYTES} are allowed")]
    KeyTooLarge {
        /// Bytes of the key.
        bytes: usize,
    },
    /// The key bytes are not an encoding of the primary key.
    #[error("the key is malformed at column '{column}': {reason}")]
    MalformedKey {
        /// Name of the column.
        column: Arc<str>,
        /// What is wrong.
        reason: &'static str,
    },
    /// The value bytes are not a canonical value image.
    #[error("the value image is malformed: {reason}")]
    MalformedRow {
        /// What is wrong.
        reason: &'static str,
    },
    /// The bytes are not an update program.
    #[error("the update is malformed: {reason}")]
    MalformedUpdate {
        /// What is wrong.
        reason: &'static str,
    },
    /// An update assigns to a primary-key column.
    #[error("column '{column}' is part of the primary key and cannot be updated")]
    KeyColumnUpdate {
        /// Name of the column.
        column: Arc<str>,
    },
    /// An update adds to a column that holds no numbers.
    #[error("column '{column}' is {column_type}; only numbers can be added to")]
    NotNumeric {
        /// Name of the column.
        column: Arc<str>,
        /// Its type.
        column_type: ColumnType,
    },
    /// The sum does not fit the column.
    #[error("adding to column '{column}' gives a number that {column_type} cannot hold")]
    AddOverflow {
        /// Name of the column.
        column: Arc<str>,
        /// Its type.
        column_type: ColumnType,
    },
    /// An update assigns to a column twice.
    #[error("the update assigns to column '{column}' twice")]
    DuplicateAssignment {
        /// Name of the column.
        column: Arc<str>,
    },
    /// An update would advance a column to less than it holds.
    #[error("column '{column}' holds more than the value that it should advance to")]
    StoredIsNewer {
        /// Name of the column.
        column: Arc<str>,
    },
}

impl RowError {
    /// The error of the cluster that an update ends with when it cannot be applied because of this.
    #[must_use]
    pub const fn refusal(&self) -> ErrorCode {
        match self {
            Self::StoredIsNewer { .. } => ErrorCode::StoredIsNewer,
            Self::AddOverflow { .. } => ErrorCode::OutOfRange,
            Self::RowTooLarge { .. } => ErrorCode::RowTooLarge,
            _ => ErrorCode::InvalidUpdate,
        }
    }

    /// Stable number of the error, 150–199.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::WrongValueCount { .. } => 150,
            Self::UnknownColumn { .. } => 151,
            Self::WrongType { .. } => 152,
            Self::OutOfRange { .. } => 153,
            Self::WrongLength { .. } => 154,
            Self::NullNotAllowed { .. } => 155,
            Self::InvalidUtf8 { .. } => 156,
            Self::NotANumber { .. } => 157,
            Self::RowTooLarge { .. } => 158,
            Self::KeyTooLarge { .. } => 159,
            Self::MalformedKey { .. } => 160,
            Self::MalformedRow { .. } => 161,
            Self::MalformedUpdate { .. } => 162,
            Self::KeyColumnUpdate { .. } => 163,
            Self::NotNumeric { .. } => 164,
            Self::AddOverflow { .. } => 165,
            Self::DuplicateAssignment { .. } => 166,
            Self::StoredIsNewer { .. } => 167,
        }
    }
}
