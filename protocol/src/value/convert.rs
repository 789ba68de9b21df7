//! Lossless conversions from Rust types.

use std::borrow::Cow;

use super::{Value, ValueRef, VectorRef};

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::UInt(value) => Self::UInt(*value),
            Value::Float(value) => Self::Float(*value),
            Value::Double(value) => Self::Double(*value),
            Value::Decimal { unscaled, scale } => Self::Decimal { unscaled: *unscaled, scale: *scale },
            Value::Text(text) => Self::Text(Cow::Borrowed(text)),
            Value::Bytes(bytes) => Self::Bytes(Cow::Borrowed(bytes)),
            Value::Date(days) => Self::Date(*days),
            Value::Time(microseconds) => Self::Time(*microseconds),
            Value::DateTime(microseconds) => Self::DateTime(*microseconds),
            Value::Timestamp(microseconds) => Self::Timestamp(*microseconds),
            Value::Json(text) => Self::Json(text),
            Value::Vector(floats) => Self::Vector(VectorRef::Floats(floats)),
        }
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Text(text) => Self::Text(text.into_owned()),
            ValueRef::Bytes(bytes) => Self::Bytes(bytes.into_owned()),
            other => other.to_value(),
        }
    }
}

/// Implements `From` for both kinds of value.
macro_rules! from_copy {
    ($($source:ty => $variant:ident),* $(,)?) => {$(
        impl From<$source> for Value {
            fn from(value: $source) -> Self {
                Self::$variant(value.into())
            }
        }
        impl From<$source> for ValueRef<'_> {
            fn from(value: $source) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from_copy! {
    bool => Bool,
    i8 => Int, i16 => Int, i32 => Int, i64 => Int,
    u8 => UInt, u16 => UInt, u32 => UInt, u64 => UInt,
    f32 => Float, f64 => Double,
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_owned())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<Vec<f32>> for Value {
    fn from(floats: Vec<f32>) -> Self {
        Self::Vector(floats)
    }
}

impl From<&[f32]> for Value {
    fn from(floats: &[f32]) -> Self {
        Self::Vector(floats.to_owned())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<'a> From<&'a str> for ValueRef<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for ValueRef<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a [u8]> for ValueRef<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a Vec<u8>> for ValueRef<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for ValueRef<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a [f32]> for ValueRef<'a> {
    fn from(floats: &'a [f32]) -> Self {
        Self::Vector(VectorRef::Floats(floats))
    }
}

impl<'a> From<&'a Vec<f32>> for ValueRef<'a> {
    fn from(floats: &'a Vec<f32>) -> Self {
        Self::Vector(VectorRef::Floats(floats))
    }
}

impl<'a, T: Into<ValueRef<'a>>> From<Option<T>> for ValueRef<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::AsValue;

    #[test]
    fn rust_types_become_values() {
        assert_eq!(Value::from(-3_i8), Value::Int(-3));
        assert_eq!(Value::from(u64::MAX), Value::UInt(u64::MAX));
        assert_eq!(Value::from(None::<i32>), Value::Null);
        assert_eq!(Value::from(Some("a")), Value::Text("a".into()));
        assert_eq!(Value::from([1_u8, 2]), Value::Bytes(vec![1, 2]));
        assert_eq!(ValueRef::from(&[1_u8, 2]).to_value(), Value::Bytes(vec![1, 2]));
        assert_eq!(ValueRef::from(Some(1.5_f32)), ValueRef::Float(1.5));
    }

    #[test]
    fn owned_and_borrowed_agree() {
        let values = [
            Value::Null,
            Value::Bool(true),
            Value::Decimal { unscaled: -5, scale: 2 },
            Value::Text("x".into()),
            Value::Json("{}".into()),
            Value::Vector(vec![1.0, -2.0]),
            Value::Timestamp(9),
        ];
        for value in values {
            assert_eq!(value.as_value().to_value(), value);
            assert_eq!(value.as_value().as_value(), value.as_value());
            assert_eq!(Value::from(value.as_value()), value);
        }
    }
}
