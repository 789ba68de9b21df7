//! Columns of Arrow batches, wherever they come from: their cells, and what these are in a column of a table.

use crate::{FeatureError, Reason, Result};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeListArray, Float32Array,
    Float64Array, Int64Array, LargeBinaryArray, LargeStringArray, RecordBatch, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampNanosecondType, UInt64Type,
};
use duet_protocol::schema::ColumnType;
use duet_protocol::value::{Value, ValueRef, VectorRef};
use std::borrow::Cow;

/// Largest whole number up to which every whole number is a double.
pub const EXACT_DOUBLE: f64 = 9_007_199_254_740_992.0;

/// The number as an integer, when it is a whole number that a double holds exactly; not for -0.0.
pub fn whole(number: f64) -> Option<i64> {
    let is_whole = number.trunc() == number && number.abs() <= EXACT_DOUBLE;
    (is_whole && !(number == 0.0 && number.is_sign_negative())).then_some(number as i64)
}

/// Whether columns of this type hold integers.
pub fn is_integer(column_type: ColumnType) -> bool {
    column_type.is_numeric()
        && !matches!(column_type, ColumnType::Float | ColumnType::Double | ColumnType::Decimal { .. })
}

/// The value for a column of `column_type`, when it can be had without loss. Ranges and lengths are left to the encoder of
/// rows, which has numbered errors for them.
///
/// # Errors
/// A reason for people, without the name of the column.
pub fn without_loss(
    value: &ValueRef<'_>,
    column_type: ColumnType,
) -> std::result::Result<Value, Cow<'static, str>> {
    match value {
        ValueRef::Double(number) if is_integer(column_type) => integer(*number, column_type),
        ValueRef::Float(number) if is_integer(column_type) => integer((*number).into(), column_type),
        ValueRef::Float(number) if column_type == ColumnType::Double => Ok(Value::Double((*number).into())),
        ValueRef::Int(number) if column_type == ColumnType::Double => {
            let double = *number as f64;
            if double.abs() <= EXACT_DOUBLE {
                Ok(Value::Double(double))
            } else {
                Err(Cow::Owned(format!("{number} is not exact as a {column_type}")))
            }
        }
        ValueRef::Text(text) if column_type == ColumnType::Json => Ok(Value::Json(text.to_string())),
        other => Ok(other.to_value()),
    }
}

fn integer(number: f64, column_type: ColumnType) -> std::result::Result<Value, Cow<'static, str>> {
    let value = whole(number).map(Value::Int);
    value.ok_or_else(|| Cow::Owned(format!("{number} is not a whole number and the column is {column_type}")))
}

/// As [`without_loss`], for features: a time without zone is one of UTC.
///
/// # Errors
/// As [`without_loss`].
pub fn feature_value(
    value: &ValueRef<'_>,
    column_type: ColumnType,
) -> std::result::Result<Value, Cow<'static, str>> {
    match value {
        ValueRef::DateTime(time) if column_type == ColumnType::Timestamp => Ok(Value::Timestamp(*time)),
        value => without_loss(value, column_type),
    }
}

/// The type of the values of a column, however they are kept.
pub fn value_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => values,
        other => other,
    }
}

/// The type that a column is cast to, without loss, so that few kinds of arrays remain.
fn common_type(data_type: &DataType) -> DataType {
    match value_type(data_type) {
        DataType::Int8 | DataType::Int16 | DataType::Int32 => DataType::Int64,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => DataType::UInt64,
        DataType::Float16 => DataType::Float32,
        DataType::Null | DataType::Utf8 | DataType::Utf8View => DataType::LargeUtf8,
        DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::LargeBinary,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        other => other.clone(),
    }
}

enum Column {
    Boolean(BooleanArray),
    Int(Int64Array),
    UInt(UInt64Array),
    Float(Float32Array),
    Double(Float64Array),
    Text(LargeStringArray),
    Bytes(LargeBinaryArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Microseconds { array: TimestampMicrosecondArray, zoned: bool },
    Nanoseconds { array: TimestampNanosecondArray, zoned: bool },
    Decimal { array: Decimal128Array, scale: u8 },
    Vector(FixedSizeListArray),
}

impl Column {
    fn new(array: &ArrayRef) -> std::result::Result<Column, String> {
        let wanted = common_type(array.data_type());
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let array = cast_with_options(array, &wanted, &options).map_err(|error| error.to_string())?;
        Ok(match &wanted {
            DataType::Boolean => Column::Boolean(array.as_boolean().clone()),
            DataType::Int64 => Column::Int(array.as_primitive::<Int64Type>().clone()),
            DataType::UInt64 => Column::UInt(array.as_primitive::<UInt64Type>().clone()),
            DataType::Float32 => Column::Float(array.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Column::Double(array.as_primitive::<Float64Type>().clone()),
            DataType::LargeUtf8 => Column::Text(array.as_string::<i64>().clone()),
            DataType::LargeBinary => Column::Bytes(array.as_binary::<i64>().clone()),
            DataType::Date32 => Column::Date(array.as_primitive::<Date32Type>().clone()),
            DataType::Time64(TimeUnit::Microsecond) => {
                Column::Time(array.as_primitive::<Time64MicrosecondType>().clone())
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => Column::Microseconds {
                array: array.as_primitive::<TimestampMicrosecondType>().clone(),
                zoned: zone.is_some(),
            },
            DataType::Timestamp(TimeUnit::Nanosecond, zone) => Column::Nanoseconds {
                array: array.as_primitive::<TimestampNanosecondType>().clone(),
                zoned: zone.is_some(),
            },
            DataType::Decimal128(_, scale) => Column::Decimal {
                array: array.as_primitive::<Decimal128Type>().clone(),
                scale: scale.unsigned_abs(),
            },
            DataType::FixedSizeList(..) => Column::Vector(array.as_fixed_size_list().clone()),
            other => return Err(format!("it has type {other}, which no column of a table can hold")),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Column::Boolean(array) => array.is_null(row),
            Column::Int(array) => array.is_null(row),
            Column::UInt(array) => array.is_null(row),
            Column::Float(array) => array.is_null(row),
            Column::Double(array) => array.is_null(row),
            Column::Text(array) => array.is_null(row),
            Column::Bytes(array) => array.is_null(row),
            Column::Date(array) => array.is_null(row),
            Column::Time(array) => array.is_null(row),
            Column::Microseconds { array, .. } => array.is_null(row),
            Column::Nanoseconds { array, .. } => array.is_null(row),
            Column::Decimal { array, .. } => array.is_null(row),
            Column::Vector(array) => array.is_null(row),
        }
    }

    fn cell(&self, row: usize) -> std::result::Result<ValueRef<'_>, &'static str> {
        if self.is_null(row) {
            return Ok(ValueRef::Null);
        }
        let instant = |microseconds, zoned| match zoned {
            true => ValueRef::Timestamp(microseconds),
            false => ValueRef::DateTime(microseconds),
        };
        Ok(match self {
            Column::Boolean(array) => ValueRef::Bool(array.value(row)),
            Column::Int(array) => ValueRef::Int(array.value(row)),
            Column::UInt(array) => ValueRef::UInt(array.value(row)),
            Column::Float(array) => ValueRef::Float(array.value(row)),
            Column::Double(array) => ValueRef::Double(array.value(row)),
            Column::Text(array) => ValueRef::Text(Cow::Borrowed(array.value(row))),
            Column::Bytes(array) => ValueRef::Bytes(Cow::Borrowed(array.value(row))),
            Column::Date(array) => ValueRef::Date(array.value(row)),
            Column::Time(array) => ValueRef::Time(array.value(row)),
            Column::Microseconds { array, zoned } => instant(array.value(row), *zoned),
            Column::Nanoseconds { array, zoned } => match array.value(row) {
                nanoseconds if nanoseconds % 1000 == 0 => instant(nanoseconds / 1000, *zoned),
                _ => return Err("the time has nanoseconds and a column keeps microseconds"),
            },
            Column::Decimal { array, scale } => {
                ValueRef::Decimal { unscaled: array.value(row), scale: *scale }
            }
            Column::Vector(array) => {
                // The elements of all rows lie behind each other in one array.
                let elements = array.values().as_primitive::<Float32Type>();
                let length = array.value_length().unsigned_abs() as usize;
                let start = array.value_offset(row).unsigned_abs() as usize;
                if elements.null_count() > 0 && (start..start + length).any(|index| elements.is_null(index)) {
                    return Err("the vector has an element without a value");
                }
                ValueRef::Vector(VectorRef::Floats(&elements.values()[start..start + length]))
            }
        })
    }
}

/// A batch of rows in columns.
pub struct ArrowBatch {
    columns: Vec<Column>,
    rows: usize,
}

impl ArrowBatch {
    /// Casts the columns to their common types.
    ///
    /// # Errors
    /// `WrongType` when a column has a type that no column of a table can hold, or a value does not fit the common type: a time
    /// beyond the range of microseconds.
    pub fn new(batch: &RecordBatch) -> Result<ArrowBatch> {
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
            let wrong =
                |what| FeatureError::new(Reason::WrongType, format!("column '{}': {what}", field.name()));
            columns.push(Column::new(array).map_err(wrong)?);
        }
        Ok(ArrowBatch { columns, rows: batch.num_rows() })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The value of a column in a row.
    ///
    /// # Errors
    /// It cannot be used; the reason is for people.
    pub fn cell(&self, column: usize, row: usize) -> std::result::Result<ValueRef<'_>, &'static str> {
        self.columns[column].cell(row)
    }
}
