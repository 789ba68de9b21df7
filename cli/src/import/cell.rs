//! One value of a file, before the table decides its type.

use super::text;
use duet_featurestore::columnar::without_loss;
pub use duet_featurestore::columnar::{EXACT_DOUBLE, is_integer, whole};
use duet_protocol::schema::ColumnType;
use duet_protocol::value::{Value, ValueRef};
use std::borrow::Cow;

/// A value as it lies in a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// The file says what type it has.
    Typed(ValueRef<'a>),
    /// Text of a CSV file: the column decides what it means.
    Untyped(&'a str),
    /// It cannot be used; the reason is for people.
    Invalid(&'static str),
}

impl Cell<'_> {
    /// Whether the file has no value here.
    pub fn is_null(&self) -> bool {
        matches!(self, Cell::Typed(ValueRef::Null))
    }

    /// The value for a column of `column_type`, when it can be had without loss. Ranges and lengths are left to the
    /// encoder of rows, which has numbered errors for them.
    ///
    /// # Errors
    /// A reason for people, without the name of the column.
    pub fn to_value(&self, column_type: ColumnType) -> Result<Value, Cow<'static, str>> {
        match self {
            Cell::Invalid(reason) => Err(Cow::Borrowed(*reason)),
            Cell::Untyped(text) => text::parse(text, column_type)
                .ok_or_else(|| Cow::Owned(format!("{text:?} is not a value of type {column_type}"))),
            Cell::Typed(value) => without_loss(value, column_type),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_become_integers_only_when_nothing_is_lost() {
        let cell = |number| Cell::Typed(ValueRef::Double(number)).to_value(ColumnType::SmallInt);
        assert_eq!(cell(517.0), Ok(Value::Int(517)));
        assert!(cell(517.5).is_err());
        assert!(cell(f64::NAN).is_err());
        assert!(cell(f64::INFINITY).is_err());
        assert!(cell(1e300).is_err());
        assert!(cell(-0.0).is_err());
    }

    #[test]
    fn values_of_the_columns_own_type_pass() {
        let value = Cell::Typed(ValueRef::Timestamp(5)).to_value(ColumnType::Timestamp);
        assert_eq!(value, Ok(Value::Timestamp(5)));
        assert_eq!(Cell::Untyped("2").to_value(ColumnType::Double), Ok(Value::Double(2.0)));
        assert!(Cell::Untyped("two").to_value(ColumnType::Double).is_err());
        assert!(Cell::Typed(ValueRef::Int(i64::MAX)).to_value(ColumnType::Double).is_err());
    }
}
