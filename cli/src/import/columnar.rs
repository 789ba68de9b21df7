//! Columns of Parquet and Arrow files: which types can be imported.

use super::profile::Declared;
use anyhow::{Result, bail};
use arrow::datatypes::{DataType, Field};
use duet_featurestore::columnar::value_type;
use duet_protocol::schema::ColumnType;

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
