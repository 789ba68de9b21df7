//! Constants of filters: their bytes, and how a comparison with any number becomes one with a number of the column.

use std::cmp::Ordering;

use super::ScanError;
use super::filter::Comparison;
use super::slot::Slot;
use crate::row::{Cell, ColumnCodec, Form};
use crate::schema::ColumnType;
use crate::value::{Value, ValueRef};

pub(super) fn not_comparable(codec: &ColumnCodec) -> ScanError {
    ScanError::NotComparable { column: codec.name.clone(), column_type: codec.column_type }
}

fn wrong_constant(codec: &ColumnCodec, value: &Value) -> ScanError {
    let found = ValueRef::from(value).kind();
    ScanError::WrongConstant { column: codec.name.clone(), column_type: codec.column_type, found }
}

/// Whether values of the type can be compared and grouped.
pub(super) const fn is_comparable(column_type: ColumnType) -> bool {
    !matches!(column_type, ColumnType::Json | ColumnType::Vector { .. })
}

/// Reads a constant of a program.
pub(super) fn read<'p>(codec: &ColumnCodec, bytes: &'p [u8]) -> Result<Slot<'p>, ScanError> {
    if !is_comparable(codec.column_type) {
        return Err(not_comparable(codec));
    }
    let wrong_length = ScanError::MalformedProgram { reason: "a constant has a wrong length" };
    match codec.form {
        Form::Float | Form::Double => match Slot::read(Form::Double, bytes) {
            Slot::Double(number) if number.is_nan() => {
                Err(ScanError::NotANumberConstant { column: codec.name.clone() })
            }
            Slot::Double(number) => Ok(Slot::Double(number)),
            _ => Err(wrong_length),
        },
        Form::Text | Form::Bytes | Form::Binary { .. } => Ok(Slot::Bytes(bytes)),
        form @ (Form::Signed { .. } | Form::Unsigned { .. } | Form::Decimal { .. }) => {
            match Slot::read(form, bytes) {
                Slot::Null => Err(wrong_length),
                slot => Ok(slot),
            }
        }
        Form::Vector => Err(not_comparable(codec)),
    }
}

/// A number as a column of integers or decimals sees it.
enum Exact {
    /// Less than all numbers of the column.
    Below,
    /// Greater than all numbers of the column.
    Above,
    /// In units of the column, rounded down, and whether something was cut off.
    Units { floor: i128, fraction: bool },
}

/// Smallest and greatest number of a column of integers or decimals, in its units.
fn range(codec: &ColumnCodec) -> (i128, i128) {
    match (codec.form, codec.column_type) {
        (Form::Unsigned { .. }, _) => (0, i128::from(codec.unsigned_limit())),
        (_, ColumnType::Decimal { precision, .. }) => {
            let limit = 10_i128.pow(u32::from(precision.min(38))) - 1;
            (-limit, limit)
        }
        _ => {
            let (low, high) = codec.signed_range();
            (i128::from(low), i128::from(high))
        }
    }
}

fn exact(codec: &ColumnCodec, value: &Value) -> Result<Exact, ScanError> {
    let column_scale = match codec.column_type {
        ColumnType::Decimal { scale, .. } => scale,
        _ => 0,
    };
    let units = match value {
        Value::Int(number) => decimal(i128::from(*number), 0, column_scale),
        Value::UInt(number) => decimal(i128::from(*number), 0, column_scale),
        Value::Decimal { unscaled, scale } => decimal(*unscaled, *scale, column_scale),
        Value::Float(_) | Value::Double(_) => {
            let number = match value {
                Value::Float(number) => f64::from(*number),
                Value::Double(number) => *number,
                _ => 0.0,
            };
            if matches!(codec.column_type, ColumnType::Decimal { .. }) {
                // Which decimal is meant by a binary fraction is for the caller to say.
                return Err(wrong_constant(codec, value));
            }
            if number.is_nan() {
                return Err(ScanError::NotANumberConstant { column: codec.name.clone() });
            }
            // Beyond 2^100 no column of integers has numbers, and the conversion saturates.
            let floor = number.floor().clamp(-(2.0_f64.powi(100)), 2.0_f64.powi(100));
            Exact::Units { floor: floor as i128, fraction: number.fract() != 0.0 }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Text(_)
        | Value::Bytes(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::DateTime(_)
        | Value::Timestamp(_)
        | Value::Json(_)
        | Value::Vector(_) => return Err(wrong_constant(codec, value)),
    };
    let (low, high) = range(codec);
    Ok(match units {
        Exact::Units { floor, .. } if floor < low => Exact::Below,
        Exact::Units { floor, fraction } if floor > high || (floor == high && fraction) => Exact::Above,
        other => other,
    })
}

/// `unscaled / 10^scale` in units of `10^-column_scale`.
fn decimal(unscaled: i128, scale: u8, column_scale: u8) -> Exact {
    if column_scale >= scale {
        let factor = 10_i128.checked_pow(u32::from(column_scale - scale));
        return match (factor.and_then(|factor| unscaled.checked_mul(factor)), unscaled.cmp(&0)) {
            (Some(floor), _) => Exact::Units { floor, fraction: false },
            (None, Ordering::Less) => Exact::Below,
            (None, Ordering::Equal) => Exact::Units { floor: 0, fraction: false },
            (None, Ordering::Greater) => Exact::Above,
        };
    }
    match 10_i128.checked_pow(u32::from(scale - column_scale)) {
        Some(divisor) => {
            Exact::Units { floor: unscaled.div_euclid(divisor), fraction: unscaled.rem_euclid(divisor) != 0 }
        }
        None => Exact::Units { floor: if unscaled < 0 { -1 } else { 0 }, fraction: unscaled != 0 },
    }
}

fn is_exact(form: Form, column_type: ColumnType) -> bool {
    match column_type {
        ColumnType::Date
        | ColumnType::Time
        | ColumnType::DateTime
        | ColumnType::Timestamp
        | ColumnType::Boolean => false,
        _ => matches!(form, Form::Signed { .. } | Form::Unsigned { .. } | Form::Decimal { .. }),
    }
}

fn append_exact(codec: &ColumnCodec, units: i128, out: &mut Vec<u8>) {
    // All widths are cuts of the widest one, for the number is in the column's range.
    Cell::Decimal(units).append(codec.form, out);
}

/// Appends the constant of a comparison and returns the comparison to make with it: for a number that the column cannot
/// hold, one with the same result.
pub(super) fn append(
    codec: &ColumnCodec,
    comparison: Comparison,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<Comparison, ScanError> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    if value.is_null() {
        return Err(ScanError::NullConstant { column: codec.name.clone() });
    }
    if !is_exact(codec.form, codec.column_type) {
        append_plain(codec, value, out)?;
        return Ok(comparison);
    }
    let (low, _) = range(codec);
    // True and false of every value that is not NULL.
    let (always, never) = (GreaterOrEqual, Less);
    let (units, comparison) = match (exact(codec, value)?, comparison) {
        (Exact::Below, Greater | GreaterOrEqual | NotEqual) => (low, always),
        (Exact::Below, Less | LessOrEqual | Equal) => (low, never),
        (Exact::Above, Less | LessOrEqual | NotEqual) => (low, always),
        (Exact::Above, Greater | GreaterOrEqual | Equal) => (low, never),
        (Exact::Units { fraction: true, .. }, Equal) => (low, never),
        (Exact::Units { fraction: true, .. }, NotEqual) => (low, always),
        (Exact::Units { floor, fraction: true }, Less | LessOrEqual) => (floor, LessOrEqual),
        (Exact::Units { floor, fraction: true }, Greater | GreaterOrEqual) => (floor, Greater),
        (Exact::Units { floor, fraction: false }, comparison) => (floor, comparison),
    };
    append_exact(codec, units, out);
    Ok(comparison)
}

/// Appends a member of a list; false, and nothing, when no value of the column equals it.
pub(super) fn append_member(
    codec: &ColumnCodec,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<bool, ScanError> {
    if value.is_null() {
        return Err(ScanError::NullConstant { column: codec.name.clone() });
    }
    if !is_exact(codec.form, codec.column_type) {
        append_plain(codec, value, out)?;
        return Ok(true);
    }
    match exact(codec, value)? {
        Exact::Units { floor, fraction: false } => {
            append_exact(codec, floor, out);
            Ok(true)
        }
        Exact::Units { .. } | Exact::Below | Exact::Above => Ok(false),
    }
}

/// Appends a constant of another type than integers and decimals.
fn append_plain(codec: &ColumnCodec, value: &Value, out: &mut Vec<u8>) -> Result<(), ScanError> {
    if !is_comparable(codec.column_type) {
        return Err(not_comparable(codec));
    }
    match (codec.column_type, value) {
        (ColumnType::Float | ColumnType::Double, _) => {
            let number = match value {
                Value::Float(number) => f64::from(*number),
                Value::Double(number) => *number,
                Value::Int(number) => *number as f64,
                Value::UInt(number) => *number as f64,
                Value::Decimal { unscaled, scale } => *unscaled as f64 / 10_f64.powi(i32::from(*scale)),
                _ => return Err(wrong_constant(codec, value)),
            };
            if number.is_nan() {
                return Err(ScanError::NotANumberConstant { column: codec.name.clone() });
            }
            out.extend_from_slice(&number.to_le_bytes());
        }
        (ColumnType::Char { .. } | ColumnType::Varchar { .. } | ColumnType::Text, Value::Text(text)) => {
            out.extend_from_slice(text.as_bytes());
        }
        (
            ColumnType::Binary { .. } | ColumnType::Varbinary { .. } | ColumnType::Blob,
            Value::Bytes(bytes),
        ) => out.extend_from_slice(bytes),
        (ColumnType::Date, Value::Date(days)) => out.extend_from_slice(&days.to_le_bytes()),
        (ColumnType::Time, Value::Time(microseconds))
        | (ColumnType::DateTime, Value::DateTime(microseconds))
        | (ColumnType::Timestamp, Value::Timestamp(microseconds)) => {
            out.extend_from_slice(&microseconds.to_le_bytes());
        }
        (ColumnType::Boolean, Value::Bool(truth)) => out.push(u8::from(*truth)),
        _ => return Err(wrong_constant(codec, value)),
    }
    Ok(())
}

/// Appends what text or bytes shall begin with.
pub(super) fn append_prefix(codec: &ColumnCodec, value: &Value, out: &mut Vec<u8>) -> Result<(), ScanError> {
    check_prefix(codec)?;
    if value.is_null() {
        return Err(ScanError::NullConstant { column: codec.name.clone() });
    }
    append_plain(codec, value, out)
}

/// Whether values of the column have prefixes.
pub(super) fn check_prefix(codec: &ColumnCodec) -> Result<(), ScanError> {
    let is_string = matches!(codec.form, Form::Text | Form::Bytes | Form::Binary { .. });
    if is_string && is_comparable(codec.column_type) {
        return Ok(());
    }
    Err(ScanError::NoPrefix { column: codec.name.clone(), column_type: codec.column_type })
}
