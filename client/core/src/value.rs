//! Rust types as values of columns.

use duet_protocol::schema::ColumnType;
use duet_protocol::value::{AsValue, Value, ValueRef, VectorRef};
use std::borrow::Cow;

/// Longest text that a key column of Rust type `String` takes unless the length is given, in characters.
const KEY_CHARACTERS: u32 = 255;

/// A Rust type that a column can be read into and written from.
pub trait ColumnValue {
    /// The column type that `derive(Row)` takes for a column of this type, unless told another.
    const COLUMN_TYPE: ColumnType;
    /// The same for a column of the primary key.
    const KEY_COLUMN_TYPE: ColumnType = Self::COLUMN_TYPE;
    /// Whether NULL is one of the values.
    const NULLABLE: bool = false;

    /// Whether the type holds every value that such a column can have, NULL aside: an `i64` every `INT`, but an `i32` not
    /// every `BIGINT`. Unless told otherwise, text holds text, bytes hold bytes, and all others hold their own kind.
    fn holds(column_type: ColumnType) -> bool {
        is_same_kind(Self::COLUMN_TYPE, column_type)
    }

    /// The value, borrowed.
    fn to_value(&self) -> ValueRef<'_>;

    /// Reads a value; `None` when it is of another kind or out of range.
    fn from_value(value: ValueRef<'_>) -> Option<Self>
    where
        Self: Sized;
}

/// Whether columns of both types have values of the same kind, whatever their lengths.
fn is_same_kind(one: ColumnType, other: ColumnType) -> bool {
    let is_text = |column_type| {
        matches!(column_type, ColumnType::Char { .. } | ColumnType::Varchar { .. } | ColumnType::Text)
    };
    let is_bytes = |column_type| {
        matches!(column_type, ColumnType::Binary { .. } | ColumnType::Varbinary { .. } | ColumnType::Blob)
    };
    std::mem::discriminant(&one) == std::mem::discriminant(&other)
        || (is_text(one) && is_text(other))
        || (is_bytes(one) && is_bytes(other))
}

/// Bits of an integer column and whether it is signed.
fn integer_bits(column_type: ColumnType) -> Option<(u32, bool)> {
    match column_type {
        ColumnType::TinyInt => Some((8, true)),
        ColumnType::TinyIntUnsigned => Some((8, false)),
        ColumnType::SmallInt => Some((16, true)),
        ColumnType::SmallIntUnsigned => Some((16, false)),
        ColumnType::MediumInt => Some((24, true)),
        ColumnType::MediumIntUnsigned => Some((24, false)),
        ColumnType::Int => Some((32, true)),
        ColumnType::IntUnsigned => Some((32, false)),
        ColumnType::BigInt => Some((64, true)),
        ColumnType::BigIntUnsigned => Some((64, false)),
        _ => None,
    }
}

macro_rules! integers {
    ($($name:ty: $column_type:ident),* $(,)?) => {$(
        impl ColumnValue for $name {
            const COLUMN_TYPE: ColumnType = ColumnType::$column_type;

            fn holds(column_type: ColumnType) -> bool {
                let is_signed = <$name>::MIN != 0;
                integer_bits(column_type).is_some_and(|(bits, signed)| {
                    bits < <$name>::BITS && (is_signed || !signed) || bits == <$name>::BITS && is_signed == signed
                })
            }

            fn to_value(&self) -> ValueRef<'_> {
                ValueRef::from(*self)
            }

            fn from_value(value: ValueRef<'_>) -> Option<Self> {
                match value {
                    ValueRef::Int(number) => number.try_into().ok(),
                    ValueRef::UInt(number) => number.try_into().ok(),
                    // Sums of whole numbers are decimals.
                    ValueRef::Decimal { unscaled, scale: 0 } => unscaled.try_into().ok(),
                    _ => None,
                }
            }
        }
    )*};
}

integers! {
    i8: TinyInt, i16: SmallInt, i32: Int, i64: BigInt,
    u8: TinyIntUnsigned, u16: SmallIntUnsigned, u32: IntUnsigned, u64: BigIntUnsigned,
}

macro_rules! wrapped {
    ($($(#[doc = $doc:literal])+ $name:ident($inner:ty) = $variant:ident;)*) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl ColumnValue for $name {
            const COLUMN_TYPE: ColumnType = ColumnType::$variant;

            fn to_value(&self) -> ValueRef<'_> {
                ValueRef::$variant(self.0)
            }

            fn from_value(value: ValueRef<'_>) -> Option<Self> {
                match value {
                    ValueRef::$variant(inner) => Some(Self(inner)),
                    _ => None,
                }
            }
        }

        impl From<$name> for Value {
            fn from(value: $name) -> Value {
                Value::$variant(value.0)
            }
        }
    )*};
}

wrapped! {
    #[doc = "A calendar date: days since 1970-01-01."]
    Date(i32) = Date;
    #[doc = "A duration in microseconds."]
    Time(i64) = Time;
    #[doc = "A calendar date and time without zone: microseconds since 1970-01-01 00:00:00."]
    DateTime(i64) = DateTime;
    #[doc = "An instant: microseconds since 1970-01-01 00:00:00 UTC."]
    Timestamp(i64) = Timestamp;
}

/// An exact decimal number, `unscaled / 10^scale`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// The digits as an integer.
    pub unscaled: i128,
    /// How many of the digits follow the decimal point.
    pub scale: u8,
}

impl ColumnValue for Decimal {
    const COLUMN_TYPE: ColumnType = ColumnType::Decimal { precision: 38, scale: 10 };

    fn to_value(&self) -> ValueRef<'_> {
        ValueRef::Decimal { unscaled: self.unscaled, scale: self.scale }
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Decimal { unscaled, scale } => Some(Decimal { unscaled, scale }),
            _ => None,
        }
    }
}

/// A JSON document as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Json(pub String);

impl ColumnValue for Json {
    const COLUMN_TYPE: ColumnType = ColumnType::Json;

    fn to_value(&self) -> ValueRef<'_> {
        ValueRef::Json(&self.0)
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Json(text) => Some(Json(text.to_owned())),
            _ => None,
        }
    }
}

impl ColumnValue for bool {
    const COLUMN_TYPE: ColumnType = ColumnType::Boolean;

    fn to_value(&self) -> ValueRef<'_> {
        ValueRef::Bool(*self)
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Bool(truth) => Some(truth),
            _ => None,
        }
    }
}

impl ColumnValue for f32 {
    const COLUMN_TYPE: ColumnType = ColumnType::Float;

    fn to_value(&self) -> ValueRef<'_> {
        ValueRef::Float(*self)
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Float(number) => Some(number),
            _ => None,
        }
    }
}

impl ColumnValue for f64 {
    const COLUMN_TYPE: ColumnType = ColumnType::Double;

    fn holds(column_type: ColumnType) -> bool {
        matches!(column_type, ColumnType::Float | ColumnType::Double)
    }

    fn to_value(&self) -> ValueRef<'_> {
        ValueRef::Double(*self)
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Double(number) => Some(number),
            ValueRef::Float(number) => Some(f64::from(number)),
            _ => None,
        }
    }
}

impl ColumnValue for String {
    const COLUMN_TYPE: ColumnType = ColumnType::Text;
    const KEY_COLUMN_TYPE: ColumnType = ColumnType::Varchar { characters: KEY_CHARACTERS };

    fn to_value(&self) -> ValueRef<'_> {
        ValueRef::Text(Cow::Borrowed(self))
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Text(text) => Some(text.into_owned()),
            _ => None,
        }
    }
}

impl ColumnValue for &str {
    const COLUMN_TYPE: ColumnType = ColumnType::Text;
    const KEY_COLUMN_TYPE: ColumnType = ColumnType::Varchar { characters: KEY_CHARACTERS };

    fn to_value(&self) -> ValueRef<'_> {
        ValueRef::Text(Cow::Borrowed(self))
    }

    fn from_value(_value: ValueRef<'_>) -> Option<Self> {
        None
    }
}

impl ColumnValue for Vec<u8> {
    const COLUMN_TYPE: ColumnType = ColumnType::Blob;
    const KEY_COLUMN_TYPE: ColumnType = ColumnType::Varbinary { bytes: KEY_CHARACTERS };

    fn to_value(&self) -> ValueRef<'_> {
        ValueRef::Bytes(Cow::Borrowed(self))
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Bytes(bytes) => Some(bytes.into_owned()),
            _ => None,
        }
    }
}

impl<const N: usize> ColumnValue for [u8; N] {
    const COLUMN_TYPE: ColumnType = ColumnType::Binary { bytes: N as u32 };

    fn holds(column_type: ColumnType) -> bool {
        column_type == Self::COLUMN_TYPE
    }

    fn to_value(&self) -> ValueRef<'_> {
        ValueRef::Bytes(Cow::Borrowed(self))
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Bytes(bytes) => bytes.as_ref().try_into().ok(),
            _ => None,
        }
    }
}

impl<const N: usize> ColumnValue for [f32; N] {
    const COLUMN_TYPE: ColumnType = ColumnType::Vector { dimensions: N as u32 };

    fn holds(column_type: ColumnType) -> bool {
        column_type == Self::COLUMN_TYPE
    }

    fn to_value(&self) -> ValueRef<'_> {
        ValueRef::Vector(VectorRef::Floats(self))
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        let ValueRef::Vector(vector) = value else { return None };
        let mut floats = [0.0; N];
        if vector.dimensions() != N {
            return None;
        }
        for (target, float) in floats.iter_mut().zip(vector.iter()) {
            *target = float;
        }
        Some(floats)
    }
}

impl ColumnValue for Value {
    const COLUMN_TYPE: ColumnType = ColumnType::Text;
    const NULLABLE: bool = true;

    fn holds(_column_type: ColumnType) -> bool {
        true
    }

    fn to_value(&self) -> ValueRef<'_> {
        self.as_value()
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        Some(value.into())
    }
}

impl<T: ColumnValue> ColumnValue for Option<T> {
    const COLUMN_TYPE: ColumnType = T::COLUMN_TYPE;
    const KEY_COLUMN_TYPE: ColumnType = T::KEY_COLUMN_TYPE;
    const NULLABLE: bool = true;

    fn holds(column_type: ColumnType) -> bool {
        T::holds(column_type)
    }

    fn to_value(&self) -> ValueRef<'_> {
        self.as_ref().map_or(ValueRef::Null, ColumnValue::to_value)
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::from_value(value).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_hold_columns() {
        assert!(i64::holds(ColumnType::BigInt) && i64::holds(ColumnType::IntUnsigned));
        assert!(!i64::holds(ColumnType::BigIntUnsigned) && !i32::holds(ColumnType::BigInt));
        assert!(u64::holds(ColumnType::BigIntUnsigned) && !u64::holds(ColumnType::TinyInt));
        assert!(i32::holds(ColumnType::MediumIntUnsigned) && !i32::holds(ColumnType::Double));
        assert!(f64::holds(ColumnType::Float) && !f32::holds(ColumnType::Double));
        assert!(String::holds(ColumnType::Char { characters: 3 }) && String::holds(ColumnType::Text));
        assert!(!String::holds(ColumnType::Json) && Json::holds(ColumnType::Json));
        assert!(Vec::<u8>::holds(ColumnType::Varbinary { bytes: 9 }));
        assert!(<[u8; 2]>::holds(ColumnType::Binary { bytes: 2 }));
        assert!(!<[u8; 2]>::holds(ColumnType::Varbinary { bytes: 2 }));
        assert!(!<[f32; 2]>::holds(ColumnType::Vector { dimensions: 3 }));
        assert!(Decimal::holds(ColumnType::Decimal { precision: 5, scale: 1 }));
        assert!(Option::<Date>::holds(ColumnType::Date) && !Date::holds(ColumnType::DateTime));
        assert!(Value::holds(ColumnType::Blob));
    }

    #[test]
    fn values_come_back() {
        fn round_trip<T: ColumnValue + PartialEq + std::fmt::Debug>(value: T) {
            assert_eq!(T::from_value(value.to_value()).as_ref(), Some(&value));
            let absent: Option<T> = None;
            assert_eq!(Option::<T>::from_value(absent.to_value()), Some(None));
            assert_eq!(Option::<T>::from_value(value.to_value()), Some(Some(value)));
        }
        round_trip(-3_i8);
        round_trip(u64::MAX);
        round_trip(true);
        round_trip(1.5_f32);
        round_trip(-2.5_f64);
        round_trip("text".to_owned());
        round_trip(vec![1_u8, 2]);
        round_trip([1_u8, 2]);
        round_trip([0.5_f32, 2.0]);
        round_trip(Timestamp(5));
        round_trip(Date(-5));
        round_trip(Decimal { unscaled: -7, scale: 2 });
        round_trip(Json("{}".to_owned()));
        assert_eq!(i8::from_value(ValueRef::Int(128)), None);
        assert_eq!(u8::from_value(ValueRef::Null), None);
    }
}
