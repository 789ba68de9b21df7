//! Scan programs: what a data node does with the rows that a scan passes — filter, project, aggregate.
//!
//! A program travels as section 0 of [`crate::signal::scan::Scan`]; an empty section is no program. It is checked once
//! per request against the layout of the table ([`CompiledScan::new`]) and then evaluated on every row without
//! allocation, recursion or anything that can fail.
//!
//! ```text
//! byte  0  version      u8    1
//!       1  kind         u8    1 rows, 2 aggregates
//!       2  nodes        u16   nodes of the filter; 0: all rows
//!       4  columns      u16   kind 1: columns of the result, 0 for whole rows; kind 2: columns that rows are grouped by
//!       6  aggregates   u16   0 for kind 1
//!       8  columns      u16 each: index in the table
//!          aggregates   4 bytes each: function u8, 0, column u16 (0xffff for count of rows)
//!          nodes        8 bytes each with their payload: operation u8, 0, column u16, payload bytes u32, payload
//! ```
//!
//! The nodes are in postfix order and leave exactly one truth value; rows of which it is *true* pass. Comparisons with
//! NULL are unknown, and `AND`, `OR` and `NOT` follow the three-valued logic of SQL.
//!
//! | operation | payload | result |
//! |---|---|---|
//! | 1 `=`, 2 `<>`, 3 `<`, 4 `<=`, 5 `>`, 6 `>=` | a constant | how the column compares with it |
//! | 7 `IS NULL`, 8 `IS NOT NULL` | none | never unknown |
//! | 9 `IN` | constants in ascending order, each behind its length (u32) | whether the column equals one of them |
//! | 10 prefix | bytes | whether text or bytes begin with them |
//! | 11 `AND`, 12 `OR` | none, column 0 | takes two truth values off and leaves one |
//! | 13 `NOT` | none, column 0 | takes one off and leaves one |
//! | 14 constant | one byte: 0 false, 1 unknown, 2 true; column 0 | that |
//!
//! A constant is the bytes of its column's type as they lie in a value image; for `FLOAT` and `DOUBLE` a binary64 that is
//! not NaN, for text and bytes any bytes. Text compares as bytes. A NaN in a row is equal to itself and greater than all
//! numbers, as in PostgreSQL; -0 equals 0. `JSON` and `VECTOR` can only be tested for NULL.
//!
//! | function | result column | of |
//! |---|---|---|
//! | 1 count | `BIGINT UNSIGNED` | rows, or values that are not NULL |
//! | 2 sum | `DECIMAL(38, s)` of integers (s = 0) and decimals, `DOUBLE` of floats; NULL of no values | numbers |
//! | 3 minimum, 4 maximum | type of the column; NULL of no values | whatever can be compared |
//!
//! An average is a sum and a count, which the client divides.
//!
//! The rows of the answer are [`crate::signal::scan_reply::ScanRow`]s. With result columns the key is empty and the value
//! is an image of those columns in their order, all of them outside the key. With aggregates the node answers *partial*
//! aggregates of the rows of this page only, one row for each group: the key is an image of the group columns, the
//! value one of the aggregates; whoever asked merges the pages ([`Merger`]). So a node keeps nothing between pages.

mod aggregate;
mod compare;
mod compile;
mod constant;
mod encode;
mod error;
mod evaluate;
mod filter;
mod group;
mod image;
mod merge;
pub(crate) mod slot;
#[cfg(test)]
mod tests;

pub use aggregate::{Aggregate, Aggregation, Function};
pub use compile::CompiledScan;
pub use encode::{ScanProgram, encode_program};
pub use error::ScanError;
pub use filter::{Comparison, Filter};
pub use merge::{Merger, average};

/// Version of the format.
pub const VERSION: u8 = 1;
/// Most bytes of a program.
pub const MAX_PROGRAM_BYTES: usize = 65_536;
/// Most nodes of a filter.
pub const MAX_FILTER_NODES: usize = 256;
/// Most truth values that a filter holds at once.
pub const MAX_DEPTH: usize = 64;
/// Most aggregates of a program.
pub const MAX_AGGREGATES: usize = 64;
/// Most bytes that columns may add to a result by being named again, so that no row of a result is much larger
/// than the row that it was made of.
pub const MAX_REPEATED_BYTES: usize = 6 * crate::schema::MAX_VALUE_BYTES;
/// Most bytes of the image of a group.
pub const MAX_GROUP_BYTES: usize = u16::MAX as usize;

/// Bytes before the columns.
const HEADER_BYTES: usize = 8;
/// Bytes of a node before its payload.
const NODE_BYTES: usize = 8;
const KIND_ROWS: u8 = 1;
const KIND_AGGREGATES: u8 = 2;
/// Column of an aggregate that counts rows.
const NO_COLUMN: u16 = u16::MAX;

/// Numbers of the operations of a filter.
mod operation {
    pub const EQUAL: u8 = 1;
    pub const NOT_EQUAL: u8 = 2;
    pub const LESS: u8 = 3;
    pub const LESS_OR_EQUAL: u8 = 4;
    pub const GREATER: u8 = 5;
    pub const GREATER_OR_EQUAL: u8 = 6;
    pub const IS_NULL: u8 = 7;
    pub const IS_NOT_NULL: u8 = 8;
    pub const IN: u8 = 9;
    pub const PREFIX: u8 = 10;
    pub const AND: u8 = 11;
    pub const OR: u8 = 12;
    pub const NOT: u8 = 13;
    pub const CONSTANT: u8 = 14;
}

/// Truth values, so that AND is the smaller and OR the greater one.
mod truth {
    pub const FALSE: u8 = 0;
    pub const UNKNOWN: u8 = 1;
    pub const TRUE: u8 = 2;
}
