//! The rules of one column: which values it takes, how they become cells, and which cells are legal.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Cell, Form, RowError};
use crate::schema::{Column, ColumnType};
use crate::value::{ValueRef, VectorRef};

/// Days of 0001-01-01 and 9999-12-31.
const DATE_RANGE: (i64, i64) = (-719_162, 2_932_896);
/// Microseconds of 0001-01-01 00:00:00 and 9999-12-31 23:59:59.999999.
const DATETIME_RANGE: (i64, i64) = (-719_162 * 86_400_000_000, 2_932_897 * 86_400_000_000 - 1);
/// Microseconds of ±838:59:59, the range of TIME in MySQL.
const TIME_LIMIT: i64 = (838 * 3600 + 59 * 60 + 59) * 1_000_000;

/// A column's name, type and form, with the conversions between values and cells.
#[derive(Clone, Debug)]
pub(crate) struct ColumnCodec {
    pub(crate) name: Arc<str>,
    pub(crate) column_type: ColumnType,
    pub(crate) form: Form,
    pub(crate) nullable: bool,
}

impl ColumnCodec {
    pub(crate) fn new(column: &Column) -> Self {
        Self {
            name: Arc::from(column.name.as_str()),
            column_type: column.column_type,
            form: Form::of(column.column_type),
            nullable: column.nullable,
        }
    }

    /// Would the column take this value?
    pub(crate) fn check_value(&self, value: &ValueRef<'_>) -> Result<(), RowError> {
        self.cell_of(value).map(|_| ())
    }

    /// The cell of a value, checked; `None` is NULL.
    #[inline]
    pub(crate) fn cell_of<'v>(&self, value: &'v ValueRef<'_>) -> Result<Option<Cell<'v>>, RowError> {
        if value.is_null() {
            return if self.nullable { Ok(None) } else { Err(self.null_not_allowed()) };
        }
        let cell = self.convert(value)?;
        self.check_cell(cell)?;
        Ok(Some(cell))
    }

    /// The cell of a value that is not NULL, not range-checked yet. Converts between numbers where
    /// nothing is lost; nothing is parsed, rounded or padded.
    #[inline]
    fn convert<'v>(&self, value: &'v ValueRef<'_>) -> Result<Cell<'v>, RowError> {
        let out_of_range = || self.out_of_range(value);
        let wrong_type = || self.wrong_type(value);
        Ok(match self.column_type {
            ColumnType::TinyInt
            | ColumnType::SmallInt
            | ColumnType::MediumInt
            | ColumnType::Int
            | ColumnType::BigInt => Cell::Signed(match value {
                ValueRef::Int(number) => *number,
                ValueRef::UInt(number) => i64::try_from(*number).map_err(|_| out_of_range())?,
                _ => return Err(wrong_type()),
            }),
            ColumnType::TinyIntUnsigned
            | ColumnType::SmallIntUnsigned
            | ColumnType::MediumIntUnsigned
            | ColumnType::IntUnsigned
            | ColumnType::BigIntUnsigned => Cell::Unsigned(match value {
                ValueRef::Int(number) => u64::try_from(*number).map_err(|_| out_of_range())?,
                ValueRef::UInt(number) => *number,
                _ => return Err(wrong_type()),
            }),
            ColumnType::Float => Cell::Float(match value {
                ValueRef::Float(number) => *number,
                _ => {
                    let number = self.double_of(value)?;
                    let narrow = number as f32;
                    if f64::from(narrow) != number && !number.is_nan() {
                        return Err(out_of_range());
                    }
                    narrow
                }
            }),
            ColumnType::Double => Cell::Double(self.double_of(value)?),
            ColumnType::Decimal { scale, .. } => {
                let (unscaled, from) = match value {
                    ValueRef::Decimal { unscaled, scale } => (*unscaled, *scale),
                    ValueRef::Int(number) => (i128::from(*number), 0),
                    ValueRef::UInt(number) => (i128::from(*number), 0),
                    _ => return Err(wrong_type()),
                };
                Cell::Decimal(rescale(unscaled, from, scale).ok_or_else(out_of_range)?)
            }
            ColumnType::Char { .. } | ColumnType::Varchar { .. } | ColumnType::Text => match value {
                ValueRef::Text(text) => Cell::Bytes(text.as_bytes()),
                _ => return Err(wrong_type()),
            },
            ColumnType::Binary { .. } | ColumnType::Varbinary { .. } | ColumnType::Blob => match value {
                ValueRef::Bytes(bytes) => Cell::Bytes(bytes),
                _ => return Err(wrong_type()),
            },
            ColumnType::Date => match value {
                ValueRef::Date(days) => Cell::Signed(i64::from(*days)),
                _ => return Err(wrong_type()),
            },
            ColumnType::Time => match value {
                ValueRef::Time(microseconds) => Cell::Signed(*microseconds),
                _ => return Err(wrong_type()),
            },
            ColumnType::DateTime => match value {
                ValueRef::DateTime(microseconds) => Cell::Signed(*microseconds),
                _ => return Err(wrong_type()),
            },
            ColumnType::Timestamp => match value {
                ValueRef::Timestamp(microseconds) => Cell::Signed(*microseconds),
                _ => return Err(wrong_type()),
            },
            ColumnType::Boolean => match value {
                ValueRef::Bool(truth) => Cell::Unsigned(u64::from(*truth)),
                _ => return Err(wrong_type()),
            },
            ColumnType::Json => match value {
                ValueRef::Json(text) => Cell::Bytes(text.as_bytes()),
                _ => return Err(wrong_type()),
            },
            ColumnType::Vector { .. } => match value {
                ValueRef::Vector(VectorRef::Floats(floats)) => Cell::Floats(floats),
                ValueRef::Vector(VectorRef::LittleEndian(bytes)) => Cell::Bytes(bytes),
                _ => return Err(wrong_type()),
            },
        })
    }

    /// A number as binary64, if that is exact.
    pub(crate) fn double_of(&self, value: &ValueRef<'_>) -> Result<f64, RowError> {
        let (double, integer) = match value {
            ValueRef::Double(number) => return Ok(*number),
            ValueRef::Float(number) => return Ok(f64::from(*number)),
            ValueRef::Int(number) => (*number as f64, i128::from(*number)),
            ValueRef::UInt(number) => (*number as f64, i128::from(*number)),
            _ => return Err(self.wrong_type(value)),
        };
        if double as i128 == integer { Ok(double) } else { Err(self.out_of_range(value)) }
    }

    /// Can every cell of the form be legal, so that nothing needs checking?
    pub(crate) const fn takes_any_cell(&self) -> bool {
        match self.column_type {
            ColumnType::TinyInt
            | ColumnType::TinyIntUnsigned
            | ColumnType::SmallInt
            | ColumnType::SmallIntUnsigned
            | ColumnType::MediumInt
            | ColumnType::MediumIntUnsigned
            | ColumnType::Int
            | ColumnType::IntUnsigned
            | ColumnType::BigInt
            | ColumnType::BigIntUnsigned
            | ColumnType::Float
            | ColumnType::Double
            | ColumnType::Binary { .. }
            | ColumnType::Blob => true,
            ColumnType::Decimal { .. }
            | ColumnType::Char { .. }
            | ColumnType::Varchar { .. }
            | ColumnType::Varbinary { .. }
            | ColumnType::Text
            | ColumnType::Date
            | ColumnType::Time
            | ColumnType::DateTime
            | ColumnType::Timestamp
            | ColumnType::Boolean
            | ColumnType::Json
            | ColumnType::Vector { .. } => false,
        }
    }

    /// Is the cell one that the column may hold? Text is checked to be UTF-8.
    #[inline]
    pub(crate) fn check_cell(&self, cell: Cell<'_>) -> Result<(), RowError> {
        match (self.column_type, cell) {
            (_, Cell::Signed(number)) => {
                let (low, high) = self.signed_range();
                if (low..=high).contains(&number) { Ok(()) } else { Err(self.cell_out_of_range(cell)) }
            }
            (_, Cell::Unsigned(number)) => {
                if number <= self.unsigned_limit() {
                    Ok(())
                } else {
                    Err(self.cell_out_of_range(cell))
                }
            }
            (_, Cell::Float(_) | Cell::Double(_)) => Ok(()),
            (ColumnType::Decimal { precision, .. }, Cell::Decimal(unscaled)) => {
                let limit = 10_u128.pow(u32::from(precision.min(38)));
                if unscaled.unsigned_abs() < limit { Ok(()) } else { Err(self.cell_out_of_range(cell)) }
            }
            (ColumnType::Char { characters } | ColumnType::Varchar { characters }, Cell::Bytes(bytes)) => {
                let text = self.text_of(bytes)?;
                self.check_characters(text, characters as usize)
            }
            (ColumnType::Text | ColumnType::Json, Cell::Bytes(bytes)) => self.text_of(bytes).map(|_| ()),
            (ColumnType::Binary { bytes: length }, Cell::Bytes(bytes)) => {
                if bytes.len() == length as usize {
                    Ok(())
                } else {
                    Err(self.wrong_length(bytes.len(), "bytes"))
                }
            }
            (ColumnType::Varbinary { bytes: limit }, Cell::Bytes(bytes)) => {
                if bytes.len() <= limit as usize {
                    Ok(())
                } else {
                    Err(self.wrong_length(bytes.len(), "bytes"))
                }
            }
            (ColumnType::Vector { dimensions }, Cell::Bytes(bytes)) => {
                let expected = dimensions as usize * 4;
                if bytes.len() == expected { Ok(()) } else { Err(self.wrong_length(bytes.len(), "bytes")) }
            }
            (ColumnType::Vector { dimensions }, Cell::Floats(floats)) => {
                let length = floats.len();
                if length == dimensions as usize {
                    Ok(())
                } else {
                    Err(self.wrong_length(length, "elements"))
                }
            }
            (_, Cell::Decimal(_) | Cell::Bytes(_) | Cell::Floats(_)) => Ok(()),
        }
    }

    fn check_characters(&self, text: &str, limit: usize) -> Result<(), RowError> {
        // Text has at most as many characters as bytes, so most text need not be counted.
        if text.len() <= limit {
            return Ok(());
        }
        let length = text.chars().count();
        if length <= limit { Ok(()) } else { Err(self.wrong_length(length, "characters")) }
    }

    /// Text of a column that holds UTF-8.
    pub(crate) fn text_of<'b>(&self, bytes: &'b [u8]) -> Result<&'b str, RowError> {
        std::str::from_utf8(bytes)
            .map_err(|_| RowError::InvalidUtf8 { column: self.name.clone(), column_type: self.column_type })
    }

    /// The value of a cell that lies in a row. Text is checked to be UTF-8 here again, so that bytes
    /// that were never validated cannot do harm.
    pub(crate) fn value_of<'b>(&self, cell: Cell<'b>) -> Result<ValueRef<'b>, RowError> {
        Ok(match (self.column_type, cell) {
            (ColumnType::Date, Cell::Signed(days)) => ValueRef::Date(days as i32),
            (ColumnType::Time, Cell::Signed(microseconds)) => ValueRef::Time(microseconds),
            (ColumnType::DateTime, Cell::Signed(microseconds)) => ValueRef::DateTime(microseconds),
            (ColumnType::Timestamp, Cell::Signed(microseconds)) => ValueRef::Timestamp(microseconds),
            (_, Cell::Signed(number)) => ValueRef::Int(number),
            (ColumnType::Boolean, Cell::Unsigned(number)) => ValueRef::Bool(number != 0),
            (_, Cell::Unsigned(number)) => ValueRef::UInt(number),
            (_, Cell::Float(number)) => ValueRef::Float(number),
            (_, Cell::Double(number)) => ValueRef::Double(number),
            (ColumnType::Decimal { scale, .. }, Cell::Decimal(unscaled)) => {
                ValueRef::Decimal { unscaled, scale }
            }
            (_, Cell::Decimal(unscaled)) => ValueRef::Decimal { unscaled, scale: 0 },
            (ColumnType::Json, Cell::Bytes(bytes)) => ValueRef::Json(self.text_of(bytes)?),
            (ColumnType::Vector { .. }, Cell::Bytes(bytes)) => {
                ValueRef::Vector(VectorRef::LittleEndian(bytes))
            }
            (_, Cell::Bytes(bytes)) if self.form == Form::Text => {
                ValueRef::Text(Cow::Borrowed(self.text_of(bytes)?))
            }
            (_, Cell::Bytes(bytes)) => ValueRef::Bytes(Cow::Borrowed(bytes)),
            (_, Cell::Floats(floats)) => ValueRef::Vector(VectorRef::Floats(floats)),
        })
    }

    pub(crate) const fn signed_range(&self) -> (i64, i64) {
        match self.column_type {
            ColumnType::TinyInt => (i8::MIN as i64, i8::MAX as i64),
            ColumnType::SmallInt => (i16::MIN as i64, i16::MAX as i64),
            ColumnType::MediumInt => (-(1 << 23), (1 << 23) - 1),
            ColumnType::Int => (i32::MIN as i64, i32::MAX as i64),
            ColumnType::Date => DATE_RANGE,
            ColumnType::DateTime | ColumnType::Timestamp => DATETIME_RANGE,
            ColumnType::Time => (-TIME_LIMIT, TIME_LIMIT),
            _ => (i64::MIN, i64::MAX),
        }
    }

    pub(crate) const fn unsigned_limit(&self) -> u64 {
        match self.column_type {
            ColumnType::Boolean => 1,
            ColumnType::TinyIntUnsigned => u8::MAX as u64,
            ColumnType::SmallIntUnsigned => u16::MAX as u64,
            ColumnType::MediumIntUnsigned => (1 << 24) - 1,
            ColumnType::IntUnsigned => u32::MAX as u64,
            _ => u64::MAX,
        }
    }

    pub(crate) fn null_not_allowed(&self) -> RowError {
        RowError::NullNotAllowed { column: self.name.clone() }
    }

    pub(crate) fn out_of_range(&self, value: &ValueRef<'_>) -> RowError {
        RowError::OutOfRange {
            column: self.name.clone(),
            column_type: self.column_type,
            value: value.to_string(),
        }
    }

    pub(crate) fn wrong_type(&self, value: &ValueRef<'_>) -> RowError {
        RowError::WrongType { column: self.name.clone(), column_type: self.column_type, found: value.kind() }
    }

    pub(crate) fn wrong_length(&self, length: usize, unit: &'static str) -> RowError {
        RowError::WrongLength { column: self.name.clone(), column_type: self.column_type, length, unit }
    }

    fn cell_out_of_range(&self, cell: Cell<'_>) -> RowError {
        let value = match cell {
            // Dates out of range read better as numbers than as years of five digits.
            Cell::Signed(number) => number.to_string(),
            Cell::Unsigned(number) => number.to_string(),
            Cell::Float(_) | Cell::Double(_) | Cell::Decimal(_) | Cell::Bytes(_) | Cell::Floats(_) => {
                self.value_of(cell).unwrap_or_default().to_string()
            }
        };
        RowError::OutOfRange { column: self.name.clone(), column_type: self.column_type, value }
    }
}

/// Moves a decimal to another scale, if no digit is lost.
fn rescale(unscaled: i128, from: u8, to: u8) -> Option<i128> {
    if to >= from {
        unscaled.checked_mul(10_i128.checked_pow(u32::from(to - from))?)
    } else if unscaled == 0 {
        Some(0)
    } else {
        let divisor = 10_i128.checked_pow(u32::from(from - to))?;
        (unscaled % divisor == 0).then_some(unscaled / divisor)
    }
}
