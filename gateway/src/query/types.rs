//! Values as Arrow arrays and back. Arrow knows fewer types than MySQL: each column keeps its MySQL type beside it.

use crate::error::{Result, SqlError};
use crate::value::calendar::{parse_moment, parse_time};
use crate::value::compare::{exact, moment_of};
use crate::value::format;
use crate::value::number::{from_double, rescale, to_double};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Date32Builder, Decimal128Builder,
    DurationMicrosecondBuilder, Float32Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder, UInt64Builder,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Float32Type, Float64Type, Int64Type,
    TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use datafusion::common::ScalarValue;
use duet_client::{ColumnType, Value};
use duet_protocol::value::MICROSECONDS_PER_DAY;

/// Digits of every decimal.
const DIGITS: u8 = 38;

/// The Arrow type of a column; text for what is always NULL.
///
/// # Errors
/// 1235 for vectors.
pub fn data_type(column_type: Option<ColumnType>) -> Result<DataType> {
    let Some(column_type) = column_type else { return Ok(DataType::Utf8) };
    Ok(match column_type {
        ColumnType::Boolean
        | ColumnType::TinyInt
        | ColumnType::SmallInt
        | ColumnType::MediumInt
        | ColumnType::Int
        | ColumnType::BigInt => DataType::Int64,
        ColumnType::TinyIntUnsigned
        | ColumnType::SmallIntUnsigned
        | ColumnType::MediumIntUnsigned
        | ColumnType::IntUnsigned
        | ColumnType::BigIntUnsigned => DataType::UInt64,
        ColumnType::Decimal { scale, .. } => DataType::Decimal128(DIGITS, scale as i8),
        ColumnType::Float => DataType::Float32,
        ColumnType::Double => DataType::Float64,
        ColumnType::Char { .. } | ColumnType::Varchar { .. } | ColumnType::Text | ColumnType::Json => {
            DataType::Utf8
        }
        ColumnType::Binary { .. } | ColumnType::Varbinary { .. } | ColumnType::Blob => DataType::Binary,
        ColumnType::Date => DataType::Date32,
        ColumnType::Time => DataType::Duration(TimeUnit::Microsecond),
        ColumnType::DateTime | ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        ColumnType::Vector { .. } => return crate::error::not_supported("VECTOR in joins and subqueries"),
    })
}

/// Reads the values of an array, which may be of booleans as well.
pub struct Reader<'a> {
    array: &'a dyn Array,
    column_type: Option<ColumnType>,
}

impl<'a> Reader<'a> {
    /// Of an array whose values are of this type.
    pub fn new(array: &'a dyn Array, column_type: Option<ColumnType>) -> Reader<'a> {
        Reader { array, column_type }
    }

    /// The value of a row.
    pub fn value(&self, row: usize) -> Value {
        let array = self.array;
        if array.is_null(row) {
            return Value::Null;
        }
        match array.data_type() {
            DataType::Boolean => Value::Int(i64::from(array.as_boolean().value(row))),
            DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
            DataType::UInt64 => Value::UInt(array.as_primitive::<UInt64Type>().value(row)),
            DataType::Decimal128(_, scale) => Value::Decimal {
                unscaled: array.as_primitive::<Decimal128Type>().value(row),
                scale: scale.unsigned_abs(),
            },
            DataType::Float32 => Value::Float(array.as_primitive::<Float32Type>().value(row)),
            DataType::Float64 => Value::Double(array.as_primitive::<Float64Type>().value(row)),
            DataType::Utf8 => {
                let text = array.as_string::<i32>().value(row).to_owned();
                match self.column_type {
                    Some(ColumnType::Json) => Value::Json(text),
                    _ => Value::Text(text),
                }
            }
            DataType::Binary => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
            DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
            DataType::Duration(_) => Value::Time(array.as_primitive::<DurationMicrosecondType>().value(row)),
            DataType::Timestamp(..) => {
                let moment = array.as_primitive::<TimestampMicrosecondType>().value(row);
                match self.column_type {
                    Some(ColumnType::Timestamp) => Value::Timestamp(moment),
                    _ => Value::DateTime(moment),
                }
            }
            // No other type is ever made.
            _ => Value::Null,
        }
    }
}

/// Collects values to an array.
pub enum Builder {
    /// BIGINT and smaller ones.
    Int(Int64Builder),
    /// The same without sign.
    UInt(UInt64Builder),
    /// DECIMAL, and its scale.
    Decimal(Decimal128Builder, u8),
    /// FLOAT.
    Float(Float32Builder),
    /// DOUBLE.
    Double(Float64Builder),
    /// Text and JSON.
    Text(StringBuilder),
    /// Bytes.
    Bytes(BinaryBuilder),
    /// DATE.
    Date(Date32Builder),
    /// TIME.
    Time(DurationMicrosecondBuilder),
    /// DATETIME and TIMESTAMP.
    Moment(TimestampMicrosecondBuilder),
}

fn unfitting(value: &Value) -> SqlError {
    SqlError::other(format!("the value {} is of another type than its column", format::text(value)))
}

fn whole(value: &Value) -> Option<i128> {
    match exact(value) {
        Some((unscaled, scale)) => rescale(unscaled, scale, 0),
        None => to_double(value).and_then(|number| from_double(number, 0)),
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes.clone(),
        other => {
            let mut bytes = Vec::new();
            format::write(other, &mut bytes);
            bytes
        }
    }
}

impl Builder {
    /// For values of a type.
    ///
    /// # Errors
    /// As [`data_type`].
    pub fn new(column_type: Option<ColumnType>) -> Result<Builder> {
        Ok(match data_type(column_type)? {
            DataType::Int64 => Builder::Int(Int64Builder::new()),
            DataType::UInt64 => Builder::UInt(UInt64Builder::new()),
            DataType::Decimal128(digits, scale) => Builder::Decimal(
                Decimal128Builder::new().with_data_type(DataType::Decimal128(digits, scale)),
                scale.unsigned_abs(),
            ),
            DataType::Float32 => Builder::Float(Float32Builder::new()),
            DataType::Float64 => Builder::Double(Float64Builder::new()),
            DataType::Binary => Builder::Bytes(BinaryBuilder::new()),
            DataType::Date32 => Builder::Date(Date32Builder::new()),
            DataType::Duration(_) => Builder::Time(DurationMicrosecondBuilder::new()),
            DataType::Timestamp(..) => Builder::Moment(TimestampMicrosecondBuilder::new()),
            _ => Builder::Text(StringBuilder::new()),
        })
    }

    /// Adds a value, as a value of the array's type.
    ///
    /// # Errors
    /// 1690 when a number does not fit; 1105 when it has no such value.
    pub fn add(&mut self, value: &Value) -> Result<()> {
        let null = *value == Value::Null;
        let overflow =
            || SqlError::arithmetic_overflow(format!("value '{}' is out of range", format::text(value)));
        match self {
            Builder::Int(builder) => match (null, value) {
                (true, _) => builder.append_null(),
                (false, Value::Int(number)) => builder.append_value(*number),
                _ => builder
                    .append_value(i64::try_from(whole(value).ok_or_else(overflow)?).map_err(|_| overflow())?),
            },
            Builder::UInt(builder) => match (null, value) {
                (true, _) => builder.append_null(),
                (false, Value::UInt(number)) => builder.append_value(*number),
                _ => builder
                    .append_value(u64::try_from(whole(value).ok_or_else(overflow)?).map_err(|_| overflow())?),
            },
            Builder::Decimal(builder, scale) => match null {
                true => builder.append_null(),
                false => {
                    let unscaled = match exact(value) {
                        Some((unscaled, has)) => rescale(unscaled, has, *scale),
                        None => to_double(value).and_then(|number| from_double(number, *scale)),
                    };
                    builder.append_value(unscaled.ok_or_else(overflow)?);
                }
            },
            Builder::Float(builder) => match (null, value) {
                (true, _) => builder.append_null(),
                (false, Value::Float(number)) => builder.append_value(*number),
                _ => builder.append_value(to_double(value).ok_or_else(|| unfitting(value))? as f32),
            },
            Builder::Double(builder) => match null {
                true => builder.append_null(),
                // Zero has one form, so that it is equal to itself as a key.
                false => builder.append_value(to_double(value).ok_or_else(|| unfitting(value))? + 0.0),
            },
            Builder::Text(builder) => match value {
                Value::Null => builder.append_null(),
                Value::Text(text) | Value::Json(text) => builder.append_value(text),
                other => builder.append_value(format::text(other)),
            },
            Builder::Bytes(builder) => match null {
                true => builder.append_null(),
                false => builder.append_value(bytes(value)),
            },
            Builder::Date(builder) => match (null, value) {
                (true, _) => builder.append_null(),
                (false, Value::Date(days)) => builder.append_value(*days),
                _ => {
                    let moment = moment(value).ok_or_else(|| unfitting(value))?;
                    builder.append_value(moment.div_euclid(MICROSECONDS_PER_DAY) as i32);
                }
            },
            Builder::Time(builder) => match value {
                Value::Null => builder.append_null(),
                Value::Time(time) => builder.append_value(*time),
                other => {
                    let time = parse_time(&format::text(other)).ok_or_else(|| unfitting(value))?;
                    builder.append_value(time);
                }
            },
            Builder::Moment(builder) => match null {
                true => builder.append_null(),
                false => builder.append_value(moment(value).ok_or_else(|| unfitting(value))?),
            },
        }
        Ok(())
    }

    /// The array.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Int(builder) => std::sync::Arc::new(builder.finish()),
            Builder::UInt(builder) => std::sync::Arc::new(builder.finish()),
            Builder::Decimal(builder, _) => std::sync::Arc::new(builder.finish()),
            Builder::Float(builder) => std::sync::Arc::new(builder.finish()),
            Builder::Double(builder) => std::sync::Arc::new(builder.finish()),
            Builder::Text(builder) => std::sync::Arc::new(builder.finish()),
            Builder::Bytes(builder) => std::sync::Arc::new(builder.finish()),
            Builder::Date(builder) => std::sync::Arc::new(builder.finish()),
            Builder::Time(builder) => std::sync::Arc::new(builder.finish()),
            Builder::Moment(builder) => std::sync::Arc::new(builder.finish()),
        }
    }
}

fn moment(value: &Value) -> Option<i64> {
    moment_of(value).or_else(|| parse_moment(&format::text(value)).map(|(moment, _)| moment))
}

/// A value as a constant of a type.
///
/// # Errors
/// As [`Builder::add`].
pub fn scalar(value: &Value, column_type: Option<ColumnType>) -> Result<ScalarValue> {
    let mut builder = Builder::new(column_type)?;
    builder.add(value)?;
    ScalarValue::try_from_array(&builder.finish(), 0).map_err(crate::query::run::sql_error)
}

/// The value of a constant.
pub fn value_of(scalar: &ScalarValue, column_type: Option<ColumnType>) -> Result<Value> {
    let array = scalar.to_array().map_err(crate::query::run::sql_error)?;
    Ok(Reader::new(array.as_ref(), column_type).value(0))
}

/// Truths as an array.
pub fn truths(truths: Vec<Option<bool>>) -> ArrayRef {
    std::sync::Arc::new(BooleanArray::from(truths))
}
