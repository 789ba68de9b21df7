//! The owned value.
#![allow(missing_docs, reason = "the derive of rkyv generates fields without documentation")]

use rkyv::{Archive, Deserialize, Serialize};

/// One value of a column. `PartialEq` is that of the Rust types: a NaN differs from itself.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// `BOOLEAN`.
    Bool(bool),
    /// Any signed integer column.
    Int(i64),
    /// Any unsigned integer column.
    UInt(u64),
    /// `FLOAT`.
    Float(f32),
    /// `DOUBLE`.
    Double(f64),
    /// `DECIMAL`: `unscaled / 10^scale`.
    Decimal {
        /// The digits as an integer.
        unscaled: i128,
        /// How many of the digits follow the decimal point.
        scale: u8,
    },
    /// `CHAR`, `VARCHAR` and `TEXT`.
    Text(String),
    /// `BINARY`, `VARBINARY` and `BLOB`.
    Bytes(Vec<u8>),
    /// `DATE`: days since 1970-01-01.
    Date(i32),
    /// `TIME`: microseconds, may be negative and longer than a day.
    Time(i64),
    /// `DATETIME`: microseconds since 1970-01-01 00:00:00 on a calendar without time zone.
    DateTime(i64),
    /// `TIMESTAMP`: microseconds since 1970-01-01 00:00:00 UTC.
    Timestamp(i64),
    /// `JSON`, as text.
    Json(String),
    /// `VECTOR`, an embedding.
    Vector(Vec<f32>),
}

impl Value {
    /// Is this NULL?
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}
