//! Types of columns: those of MySQL, and vectors.

use std::fmt::{Display, Formatter, Result};

use rkyv::{Archive, Deserialize, Serialize};

/// Type of a column. Strings compare as bytes and are never padded.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// 8-bit signed integer.
    TinyInt,
    /// 8-bit unsigned integer.
    TinyIntUnsigned,
    /// 16-bit signed integer.
    SmallInt,
    /// 16-bit unsigned integer.
    SmallIntUnsigned,
    /// 24-bit signed integer.
    MediumInt,
    /// 24-bit unsigned integer.
    MediumIntUnsigned,
    /// 32-bit signed integer.
    Int,
    /// 32-bit unsigned integer.
    IntUnsigned,
    /// 64-bit signed integer.
    BigInt,
    /// 64-bit unsigned integer.
    BigIntUnsigned,
    /// IEEE 754 binary32.
    Float,
    /// IEEE 754 binary64.
    Double,
    /// Exact decimal number.
    Decimal {
        /// Digits in all, 1–38.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// Short text of at most 255 characters; stored like `Varchar`.
    Char {
        /// Most characters, 1–255.
        characters: u32,
    },
    /// Text of limited length.
    Varchar {
        /// Most characters, 1–65,535.
        characters: u32,
    },
    /// Bytes of fixed length.
    Binary {
        /// Exact number of bytes, 1–65,535.
        bytes: u32,
    },
    /// Bytes of limited length.
    Varbinary {
        /// Most bytes, 1–65,535.
        bytes: u32,
    },
    /// Text up to the row limit.
    Text,
    /// Bytes up to the row limit.
    Blob,
    /// Calendar date, 0001-01-01 to 9999-12-31.
    Date,
    /// Duration, -838:59:59 to 838:59:59, with microseconds.
    Time,
    /// Calendar date and time without zone, in the years 1 to 9999, with microseconds.
    DateTime,
    /// Instant in UTC, in the years 1 to 9999, with microseconds.
    Timestamp,
    /// True or false.
    Boolean,
    /// JSON as text up to the row limit.
    Json,
    /// Embedding of 32-bit floats.
    Vector {
        /// Exact number of elements, 1–16,384.
        dimensions: u32,
    },
}

impl ColumnType {
    /// Can the type be part of a primary key?
    #[must_use]
    pub const fn is_orderable(self) -> bool {
        !matches!(self, Self::Text | Self::Blob | Self::Json | Self::Vector { .. })
    }

    /// Can a number be added to values of this type in place?
    #[must_use]
    pub const fn is_numeric(self) -> bool {
        matches!(
            self,
            Self::TinyInt
                | Self::TinyIntUnsigned
                | Self::SmallInt
                | Self::SmallIntUnsigned
                | Self::MediumInt
                | Self::MediumIntUnsigned
                | Self::Int
                | Self::IntUnsigned
                | Self::BigInt
                | Self::BigIntUnsigned
                | Self::Float
                | Self::Double
                | Self::Decimal { .. }
        )
    }
}

impl Display for ColumnType {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        match self {
            Self::TinyInt => out.write_str("TINYINT"),
            Self::TinyIntUnsigned => out.write_str("TINYINT UNSIGNED"),
            Self::SmallInt => out.write_str("SMALLINT"),
            Self::SmallIntUnsigned => out.write_str("SMALLINT UNSIGNED"),
            Self::MediumInt => out.write_str("MEDIUMINT"),
            Self::MediumIntUnsigned => out.write_str("MEDIUMINT UNSIGNED"),
            Self::Int => out.write_str("INT"),
            Self::IntUnsigned => out.write_str("INT UNSIGNED"),
            Self::BigInt => out.write_str("BIGINT"),
            Self::BigIntUnsigned => out.write_str("BIGINT UNSIGNED"),
            Self::Float => out.write_str("FLOAT"),
            Self::Double => out.write_str("DOUBLE"),
            Self::Decimal { precision, scale } => write!(out, "DECIMAL({precision},{scale})"),
            Self::Char { characters } => write!(out, "CHAR({characters})"),
            Self::Varchar { characters } => write!(out, "VARCHAR({characters})"),
            Self::Binary { bytes } => write!(out, "BINARY({bytes})"),
            Self::Varbinary { bytes } => write!(out, "VARBINARY({bytes})"),
            Self::Text => out.write_str("TEXT"),
            Self::Blob => out.write_str("BLOB"),
            Self::Date => out.write_str("DATE"),
            Self::Time => out.write_str("TIME"),
            Self::DateTime => out.write_str("DATETIME"),
            Self::Timestamp => out.write_str("TIMESTAMP"),
            Self::Boolean => out.write_str("BOOLEAN"),
            Self::Json => out.write_str("JSON"),
            Self::Vector { dimensions } => write!(out, "VECTOR({dimensions})"),
        }
    }
}
