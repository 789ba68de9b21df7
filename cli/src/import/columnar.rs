//! Columns of a Parquet file: which types can be imported, and their cells.

use super::cell::Cell;
use super::profile::Declared;
use anyhow::{Context, Result, bail};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeListArray, Float32Array,
    Float64Array, Int64Array, LargeBinaryArray, LargeStringArray, RecordBatch, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampNanosecondType, UInt64Type,
};
use duet_protocol::schema::ColumnType;
use duet_protocol::value::{ValueRef, VectorRef};
use std::borrow::Cow;

/// What the type of a field says about its column.
///
/// # Errors
/// The type has no counterpart.
pub fn declared(field: &Field) -> Result<Declared> {
    Ok(match value_type(field.data_type()) {
        DataType::Null => Declared::Text,
        DataType::Boolean => Declared::Exactly(ColumnType::Boolean),
        DataType::Int8 => Declared::Exactly(ColumnType::TinyInt),
        DataType::Int16 => Declared::Exactly(ColumnType::SmallInt),
        DataType::Int32 => Declared::Exactly(ColumnType::Int),
        DataType::Int64 => Declared::BigInt,
        DataType::UInt8 => Declared::Exactly(ColumnType::TinyIntUnsigned),
        DataType::UInt16 => Declared::Exactly(ColumnType::SmallIntUnsigned),
        DataType::UInt32 => Declared::Exactly(ColumnType::IntUnsigned),
        DataType::UInt64 => Declared::Exactly(ColumnType::BigIntUnsigned),
        DataType::Float16 | DataType::Float32 => Declared::Floating(ColumnType::Float),
        DataType::Float64 => Declared::Floating(ColumnType::Double),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Declared::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Declared::Bytes,
        DataType::FixedSizeBinary(bytes @ 1..) => {
            Declared::Exactly(ColumnType::Binary { bytes: bytes.unsigned_abs() })
        }
        DataType::Date32 | DataType::Date64 => Declared::Exactly(ColumnType::Date),
        DataType::Time32(_) | DataType::Time64(_) => Declared::Exactly(ColumnType::Time),
        DataType::Timestamp(_, Some(_)) => Declared::Exactly(ColumnType::Timestamp),
        DataType::Timestamp(_, None) => Declared::Exactly(ColumnType::DateTime),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
            if *scale >= 0 =>
        {
            Declared::Exactly(ColumnType::Decimal { precision: *precision, scale: scale.unsigned_abs() })
        }
        DataType::FixedSizeList(element, dimensions @ 1..) if element.data_type() == &DataType::Float32 => {
            Declared::Exactly(ColumnType::Vector { dimensions: dimensions.unsigned_abs() })
        }
        other => bail!("column '{}' has type {other}, which no column of a table can hold", field.name()),
    })
}

fn value_type(data_type: &DataType) -> &DataType {
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
    fn new(array: &ArrayRef) -> Result<Column> {
        let wanted = common_type(array.data_type());
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let array = cast_with_options(array, &wanted, &options)?;
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
            other => bail!("a column has type {other}, which no column of a table can hold"),
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

    fn cell(&self, row: usize) -> Cell<'_> {
        if self.is_null(row) {
            return Cell::Typed(ValueRef::Null);
        }
        let instant = |microseconds, zoned| match zoned {
            true => ValueRef::Timestamp(microseconds),
            false => ValueRef::DateTime(microseconds),
        };
        Cell::Typed(match self {
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
                _ => return Cell::Invalid("the time has nanoseconds and a column keeps microseconds"),
            },
            Column::Decimal { array, scale } => {
                ValueRef::Decimal { unscaled: array.value(row), scale: *scale }
            }
            Column::Vector(array) => {
                // The elements of all rows lie behind each other in one array.
                let elements = array.values().as_primitive::<Float32Type>();
                let length = array.value_length().unsigned_abs() as usize;
                let start = array.value_offset_at(row);
                if elements.null_count() > 0 && (start..start + length).any(|index| elements.is_null(index)) {
                    return Cell::Invalid("the vector has an element without a value");
                }
                ValueRef::Vector(VectorRef::Floats(&elements.values()[start..start + length]))
            }
        })
    }
}

/// A batch of rows of a Parquet file.
pub struct ArrowBatch {
    columns: Vec<Column>,
    rows: usize,
}

impl ArrowBatch {
    /// Casts the columns to their common types.
    ///
    /// # Errors
    /// A value does not fit the common type: a time beyond the range of microseconds.
    pub fn new(batch: &RecordBatch) -> Result<ArrowBatch> {
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
            let column = Column::new(array).with_context(|| format!("column '{}'", field.name()))?;
            columns.push(column);
        }
        Ok(ArrowBatch { columns, rows: batch.num_rows() })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The value of a column in a row.
    pub fn cell(&self, column: usize, row: usize) -> Cell<'_> {
        self.columns[column].cell(row)
    }
}
