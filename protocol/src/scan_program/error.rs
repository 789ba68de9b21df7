//! What can be wrong with a scan program, or come of its evaluation.

use std::sync::Arc;

use super::{MAX_AGGREGATES, MAX_DEPTH, MAX_FILTER_NODES, MAX_GROUP_BYTES, MAX_PROGRAM_BYTES};
use crate::schema::{ColumnType, MAX_COLUMNS};

/// What is wrong with a scan program, or what its evaluation met; `docs/errors.md` lists the codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The bytes are not a scan program.
    #[error("the scan program is malformed: {reason}")]
    MalformedProgram {
        /// What is wrong.
        reason: &'static str,
    },
    /// The program is of another version of the format.
    #[error("the scan program is of version {version}, which this node does not know")]
    UnsupportedVersion {
        /// Version of the program.
        version: u8,
    },
    /// The table has no column of this index.
    #[error("the table has no column number {index}; it has {columns}")]
    UnknownScanColumn {
        /// Index, counted from 0.
        index: usize,
        /// Columns of the table.
        columns: usize,
    },
    /// The program takes too many bytes.
    #[error("the scan program takes {bytes} bytes; at most {MAX_PROGRAM_BYTES} are allowed")]
    ProgramTooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// The program has too many columns or aggregates.
    #[error(
        "the scan has {count} columns or aggregates; at most {MAX_COLUMNS} columns and {MAX_AGGREGATES} aggregates are allowed"
    )]
    TooManyColumns {
        /// How many.
        count: usize,
    },
    /// The filter has too many nodes or is nested too deeply.
    #[error("the filter has more than {MAX_FILTER_NODES} nodes or is nested deeper than {MAX_DEPTH}")]
    FilterTooLarge,
    /// Values of the column have no order.
    #[error("column '{column}' is {column_type}, whose values cannot be compared or grouped")]
    NotComparable {
        /// Name of the column.
        column: Arc<str>,
        /// Its type.
        column_type: ColumnType,
    },
    /// The constant is of a kind that the column cannot be compared with.
    #[error("column '{column}' is {column_type} and cannot be compared with {found}")]
    WrongConstant {
        /// Name of the column.
        column: Arc<str>,
        /// Its type.
        column_type: ColumnType,
        /// Kind of the constant.
        found: &'static str,
    },
    /// A comparison with NULL is never true.
    #[error("column '{column}' is compared with NULL, which is never true; ask whether it is NULL")]
    NullConstant {
        /// Name of the column.
        column: Arc<str>,
    },
    /// NaN has no place in an order.
    #[error("column '{column}' is compared with NaN")]
    NotANumberConstant {
        /// Name of the column.
        column: Arc<str>,
    },
    /// Only texts and bytes have prefixes.
    #[error("column '{column}' is {column_type}; only text and bytes have prefixes")]
    NoPrefix {
        /// Name of the column.
        column: Arc<str>,
        /// Its type.
        column_type: ColumnType,
    },
    /// The column holds no numbers.
    #[error("column '{column}' is {column_type}; only numbers can be summed")]
    NotSummable {
        /// Name of the column.
        column: Arc<str>,
        /// Its type.
        column_type: ColumnType,
    },
    /// A sum does not fit.
    #[error("the sum of column '{column}' has more digits than a sum may have")]
    SumOverflow {
        /// Name of the column.
        column: Arc<str>,
    },
    /// The values of the group columns of a row are too long.
    #[error("the group columns of a row take {bytes} bytes; at most {MAX_GROUP_BYTES} are allowed")]
    GroupTooLarge {
        /// Bytes of the group's image.
        bytes: usize,
    },
    /// A result page of a data node does not fit the program.
    #[error("a row of the scan's result is malformed")]
    MalformedResult,
    /// The result has more groups than the client takes.
    #[error("the scan has more than {most} groups")]
    TooManyGroups {
        /// Most groups.
        most: usize,
    },
}

impl ScanError {
    /// Stable number of the error, 200–219.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::MalformedProgram { .. } => 200,
            Self::UnsupportedVersion { .. } => 201,
            Self::UnknownScanColumn { .. } => 202,
            Self::ProgramTooLarge { .. } => 203,
            Self::TooManyColumns { .. } => 204,
            Self::FilterTooLarge => 205,
            Self::NotComparable { .. } => 206,
            Self::WrongConstant { .. } => 207,
            Self::NullConstant { .. } => 208,
            Self::NotANumberConstant { .. } => 209,
            Self::NoPrefix { .. } => 210,
            Self::NotSummable { .. } => 211,
            Self::SumOverflow { .. } => 212,
            Self::GroupTooLarge { .. } => 213,
            Self::MalformedResult => 214,
            Self::TooManyGroups { .. } => 215,
        }
    }
}
