//! Values as users give and read them, owned ([`Value`]) and borrowed ([`ValueRef`]).

mod calendar;
mod convert;
mod display;
mod event_time;
mod owned;

use std::borrow::Cow;

pub use calendar::{MICROSECONDS_PER_DAY, civil_from_days, days_from_civil};
pub use event_time::event_time;
pub use owned::{ArchivedValue, Value};

/// A [`Value`] that borrows its bytes from a row image or from the caller.
///
/// Text and bytes are copy-on-write because a key with zero bytes in it stores them escaped.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ValueRef<'a> {
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
    Text(Cow<'a, str>),
    /// `BINARY`, `VARBINARY` and `BLOB`.
    Bytes(Cow<'a, [u8]>),
    /// `DATE`: days since 1970-01-01.
    Date(i32),
    /// `TIME`: microseconds.
    Time(i64),
    /// `DATETIME`: microseconds since 1970-01-01 00:00:00, no zone.
    DateTime(i64),
    /// `TIMESTAMP`: microseconds since 1970-01-01 00:00:00 UTC.
    Timestamp(i64),
    /// `JSON`, as text.
    Json(&'a str),
    /// `VECTOR`.
    Vector(VectorRef<'a>),
}

/// The elements of a vector, either in memory or as they lie in a row.
#[derive(Clone, Copy, Debug)]
pub enum VectorRef<'a> {
    /// Elements in memory.
    Floats(&'a [f32]),
    /// Elements in a row: four little-endian bytes each, not aligned.
    LittleEndian(&'a [u8]),
}

impl<'a> VectorRef<'a> {
    /// Number of elements.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        match self {
            Self::Floats(floats) => floats.len(),
            Self::LittleEndian(bytes) => bytes.len() / 4,
        }
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = f32> + use<'a> {
        let (floats, bytes): (&'a [f32], &'a [u8]) = match *self {
            Self::Floats(floats) => (floats, &[]),
            Self::LittleEndian(bytes) => (&[], bytes),
        };
        let encoded = bytes.as_chunks::<4>().0.iter().map(|element| f32::from_le_bytes(*element));
        floats.iter().copied().chain(encoded)
    }
}

impl PartialEq for VectorRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl ValueRef<'_> {
    /// Copies what is borrowed.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::UInt(value) => Value::UInt(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Double(value) => Value::Double(*value),
            Self::Decimal { unscaled, scale } => Value::Decimal { unscaled: *unscaled, scale: *scale },
            Self::Text(text) => Value::Text(text.clone().into_owned()),
            Self::Bytes(bytes) => Value::Bytes(bytes.clone().into_owned()),
            Self::Date(days) => Value::Date(*days),
            Self::Time(microseconds) => Value::Time(*microseconds),
            Self::DateTime(microseconds) => Value::DateTime(*microseconds),
            Self::Timestamp(microseconds) => Value::Timestamp(*microseconds),
            Self::Json(text) => Value::Json((*text).to_owned()),
            Self::Vector(vector) => Value::Vector(vector.iter().collect()),
        }
    }

    /// Is this NULL?
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The name of the kind of value, for error messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a signed integer",
            Self::UInt(_) => "an unsigned integer",
            Self::Float(_) => "a 32-bit float",
            Self::Double(_) => "a 64-bit float",
            Self::Decimal { .. } => "a decimal",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Date(_) => "a date",
            Self::Time(_) => "a time",
            Self::DateTime(_) => "a datetime",
            Self::Timestamp(_) => "a timestamp",
            Self::Json(_) => "JSON",
            Self::Vector(_) => "a vector",
        }
    }
}

/// What can be encoded into a row: owned and borrowed values alike.
pub trait AsValue {
    /// The value, borrowed.
    fn as_value(&self) -> ValueRef<'_>;
}

impl AsValue for Value {
    fn as_value(&self) -> ValueRef<'_> {
        ValueRef::from(self)
    }
}

impl AsValue for ValueRef<'_> {
    fn as_value(&self) -> ValueRef<'_> {
        match self {
            Self::Text(text) => ValueRef::Text(Cow::Borrowed(text)),
            Self::Bytes(bytes) => ValueRef::Bytes(Cow::Borrowed(bytes)),
            other => other.clone(),
        }
    }
}

impl<T: AsValue> AsValue for &T {
    fn as_value(&self) -> ValueRef<'_> {
        (**self).as_value()
    }
}
