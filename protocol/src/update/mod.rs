//! Partial updates: small programs that a data node applies to a row without knowing its values.
//!
//! A program is a sequence of assignments in ascending order of column, each column at most once:
//!
//! ```text
//! 0        2        3        4                 8
//! +--------+--------+--------+-----------------+----------------+
//! | column | action | zero   | payload length  | payload        |   little-endian
//! +--------+--------+--------+-----------------+----------------+
//! ```
//!
//! | action | payload |
//! |---|---|
//! | 0 set | the value as it lies in a value image |
//! | 1 set NULL | none |
//! | 2 add | integer columns: an `i64`; FLOAT and DOUBLE: an `f64`; DECIMAL: as it lies in a value image |
//! | 3 advance | integer, DATE, DATETIME and TIMESTAMP columns: the value as it lies in a value image |
//!
//! The empty program is legal and changes nothing. All assignments see the row as it was before.

mod apply;
mod program;
#[cfg(test)]
mod tests;

pub use apply::{UpdateResult, apply_update, update_result_differs, update_result_value};
pub use program::{encode_update, validate_update};

use crate::value::ValueRef;

/// What an update does to a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Assignment<'v> {
    /// Gives the column this value; `Set(ValueRef::Null)` is `SetNull`.
    Set(ValueRef<'v>),
    /// Makes the column NULL.
    SetNull,
    /// Adds to a number. What is added to an integer column must fit an `i64`; it may be negative
    /// for unsigned columns. NULL stays NULL.
    Add(ValueRef<'v>),
    /// Gives the column this value unless the stored one is larger: then the update as a whole is refused, and the row stays
    /// as it is. NULL counts as smallest. For columns of whole numbers, dates and times; it keeps an older event from
    /// overwriting a newer one.
    Advance(ValueRef<'v>),
}
