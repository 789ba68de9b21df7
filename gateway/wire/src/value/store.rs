//! Fitting values into columns, as strict mode does: a value that does not fit is an error, digits behind the point round.

use super::calendar::{parse_moment, parse_time};
use super::compare::{exact, moment_of};
use super::format::text;
use super::number::{from_double, integer, rescale, unbounded_double};
use crate::error::{Result, SqlError, not_supported};
use crate::wire::packet::MAX_PACKET_BYTES;
use duet_client::{Column, ColumnType, Value};
use duet_protocol::value::MICROSECONDS_PER_DAY;

/// Least and greatest value of an integer column.
pub fn integer_range(column_type: ColumnType) -> Option<(i128, i128)> {
    let signed = |bits: u32| Some((-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1));
    let unsigned = |bits: u32| Some((0, (1_i128 << bits) - 1));
    match column_type {
        ColumnType::TinyInt => signed(8),
        ColumnType::SmallInt => signed(16),
        ColumnType::MediumInt => signed(24),
        ColumnType::Int => signed(32),
        ColumnType::BigInt => signed(64),
        ColumnType::TinyIntUnsigned => unsigned(8),
        ColumnType::SmallIntUnsigned => unsigned(16),
        ColumnType::MediumIntUnsigned => unsigned(24),
        ColumnType::IntUnsigned => unsigned(32),
        ColumnType::BigIntUnsigned => unsigned(64),
        ColumnType::Boolean => Some((0, 1)),
        _ => None,
    }
}

/// An integer as the value of a column that has room for it.
pub fn integer_value(column_type: ColumnType, number: i128) -> Value {
    match column_type {
        ColumnType::Boolean => Value::Bool(number != 0),
        ColumnType::TinyIntUnsigned
        | ColumnType::SmallIntUnsigned
        | ColumnType::MediumIntUnsigned
        | ColumnType::IntUnsigned
        | ColumnType::BigIntUnsigned => Value::UInt(number as u64),
        _ => Value::Int(number as i64),
    }
}

fn out_of_range(column: &Column, row: usize) -> SqlError {
    SqlError::out_of_range(format!("Out of range value for column '{}' at row {row}", column.name))
}

fn incorrect(kind: &str, value: &Value, column: &Column, row: usize) -> SqlError {
    let shown: String = text(value).chars().take(64).collect();
    let text = format!("Incorrect {kind} value: '{shown}' for column '{}' at row {row}", column.name);
    match kind {
        "date" | "datetime" | "time" => SqlError::wrong_value(text),
        _ => SqlError::wrong_value_for_column(text),
    }
}

fn truncated(column: &Column, row: usize) -> SqlError {
    SqlError::truncated(format!("Data truncated for column '{}' at row {row}", column.name))
}

fn too_long(column: &Column, row: usize) -> SqlError {
    SqlError::too_long(format!("Data too long for column '{}' at row {row}", column.name))
}

/// A value of a `BINARY` column of so many bytes, with zeros behind the content.
///
/// # Errors
/// 1301 where it would be longer than a packet.
pub fn padded(mut content: Vec<u8>, bytes: u32) -> Result<Value> {
    if bytes as usize > MAX_PACKET_BYTES {
        return Err(SqlError::longer_than_a_packet("cast_as_binary"));
    }
    content.resize(bytes as usize, 0);
    Ok(Value::Bytes(content))
}

/// The value that a column has when it is given this one; `row` is the number of the row in the statement, from 1.
///
/// # Errors
/// MySQL's for a value that does not fit.
pub fn fit(value: Value, column: &Column, row: usize) -> Result<Value> {
    if value == Value::Null {
        return match column.nullable {
            true => Ok(Value::Null),
            false => Err(SqlError::bad_null(format!("Column '{}' cannot be null", column.name))),
        };
    }
    let column_type = column.column_type;
    if let Some((least, greatest)) = integer_range(column_type) {
        let number = whole_number(&value, column, row)?;
        return match (least..=greatest).contains(&number) {
            true => Ok(integer_value(column_type, number)),
            false => Err(out_of_range(column, row)),
        };
    }
    match column_type {
        ColumnType::Float => {
            let number = double(&value, column, row)? as f32;
            if number.is_finite() { Ok(Value::Float(number)) } else { Err(out_of_range(column, row)) }
        }
        ColumnType::Double => double(&value, column, row).map(Value::Double),
        ColumnType::Decimal { precision, scale } => {
            let unscaled = decimal_digits(&value, scale, column, row)?;
            let fits = |digits: &i128| digits.unsigned_abs() < 10_u128.pow(u32::from(precision.min(38)));
            let unscaled = unscaled.filter(fits).ok_or_else(|| out_of_range(column, row))?;
            Ok(Value::Decimal { unscaled, scale })
        }
        ColumnType::Char { characters } => fit_text(value, characters, true, column, row),
        ColumnType::Varchar { characters } => fit_text(value, characters, false, column, row),
        ColumnType::Text => fit_text(value, u32::MAX, false, column, row),
        ColumnType::Binary { bytes } => {
            let content = into_bytes(value);
            if content.len() > bytes as usize {
                return Err(too_long(column, row));
            }
            padded(content, bytes)
        }
        ColumnType::Varbinary { bytes } => {
            let content = into_bytes(value);
            if content.len() > bytes as usize {
                Err(too_long(column, row))
            } else {
                Ok(Value::Bytes(content))
            }
        }
        ColumnType::Blob => Ok(Value::Bytes(into_bytes(value))),
        ColumnType::Date => {
            let moment = fit_moment(&value).ok_or_else(|| incorrect("date", &value, column, row))?;
            Ok(Value::Date(moment.div_euclid(MICROSECONDS_PER_DAY) as i32))
        }
        ColumnType::DateTime => {
            fit_moment(&value).map(Value::DateTime).ok_or_else(|| incorrect("datetime", &value, column, row))
        }
        ColumnType::Timestamp => {
            fit_moment(&value).map(Value::Timestamp).ok_or_else(|| incorrect("datetime", &value, column, row))
        }
        ColumnType::Time => {
            let time = match &value {
                Value::Time(time) => Some(*time),
                Value::DateTime(moment) | Value::Timestamp(moment) => {
                    Some(moment.rem_euclid(MICROSECONDS_PER_DAY))
                }
                Value::Date(_) | Value::Vector(_) => None,
                other => parse_time(&text(other)),
            };
            time.map(Value::Time).ok_or_else(|| incorrect("time", &value, column, row))
        }
        ColumnType::Json => match value {
            Value::Json(document) => Ok(Value::Json(document)),
            Value::Text(document) => match serde_json::from_str::<serde::de::IgnoredAny>(&document) {
                Ok(_) => Ok(Value::Json(document)),
                Err(error) => Err(SqlError::invalid_json(format!(
                    "Invalid JSON text: \"{error}\" in value for column '{}'.",
                    column.name
                ))),
            },
            other => Err(incorrect("JSON", &other, column, row)),
        },
        ColumnType::Vector { .. } => not_supported("vectors in SQL"),
        // The integers are above.
        _ => Err(incorrect("column", &value, column, row)),
    }
}

fn whole_number(value: &Value, column: &Column, row: usize) -> Result<i128> {
    if let Some((unscaled, scale)) = exact(value) {
        return rescale(unscaled, scale, 0).ok_or_else(|| out_of_range(column, row));
    }
    match value {
        Value::Text(content) => {
            if let Some(number) = integer(content) {
                return Ok(number);
            }
            let (number, whole) = unbounded_double(content);
            if number == 0.0 && !whole && !content.trim_start().starts_with(|c: char| c.is_ascii_digit()) {
                return Err(incorrect("integer", value, column, row));
            }
            if !whole {
                return Err(truncated(column, row));
            }
            rounded(number).ok_or_else(|| out_of_range(column, row))
        }
        Value::Float(number) => rounded(f64::from(*number)).ok_or_else(|| out_of_range(column, row)),
        Value::Double(number) => rounded(*number).ok_or_else(|| out_of_range(column, row)),
        Value::Date(_) | Value::DateTime(_) | Value::Timestamp(_) | Value::Time(_) => {
            super::number::to_double(value).and_then(rounded).ok_or_else(|| out_of_range(column, row))
        }
        other => Err(incorrect("integer", other, column, row)),
    }
}

/// Halves go to the even neighbour, as the C library's `rint` does.
fn rounded(number: f64) -> Option<i128> {
    (number.abs() < 1e20).then(|| number.round_ties_even() as i128)
}

fn double(value: &Value, column: &Column, row: usize) -> Result<f64> {
    if let Value::Text(content) = value {
        return match unbounded_double(content) {
            (number, true) if number.is_finite() => Ok(number),
            (_, true) => Err(out_of_range(column, row)),
            (0.0, false) => Err(incorrect("double", value, column, row)),
            (_, false) => Err(truncated(column, row)),
        };
    }
    match value {
        Value::Bytes(_) | Value::Json(_) | Value::Vector(_) => Err(incorrect("double", value, column, row)),
        other => super::number::to_double(other).ok_or_else(|| incorrect("double", value, column, row)),
    }
}

fn decimal_digits(value: &Value, scale: u8, column: &Column, row: usize) -> Result<Option<i128>> {
    if let Some((unscaled, has)) = exact(value) {
        return Ok(rescale(unscaled, has, scale));
    }
    if let Value::Text(content) = value
        && let Some(Value::Decimal { unscaled, scale: has }) = super::number::decimal(content)
    {
        return Ok(rescale(unscaled, has, scale));
    }
    if let Value::Text(content) = value
        && !unbounded_double(content).1
    {
        return Err(incorrect("decimal", value, column, row));
    }
    Ok(from_double(double(value, column, row)?, scale))
}

fn fit_text(value: Value, characters: u32, is_char: bool, column: &Column, row: usize) -> Result<Value> {
    let mut content = match value {
        Value::Text(content) | Value::Json(content) => content,
        Value::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(content) => content,
            Err(error) => {
                return Err(incorrect("string", &Value::Bytes(error.into_bytes()), column, row));
            }
        },
        other => text(&other),
    };
    // CHAR loses spaces at its end, and too many of them are no error of VARCHAR.
    if is_char {
        content.truncate(content.trim_end_matches(' ').len());
    }
    let most = characters as usize;
    if content.len() > most && content.chars().count() > most {
        let kept = content.char_indices().nth(most).map_or(content.len(), |(at, _)| at);
        if content[kept..].bytes().any(|byte| byte != b' ') {
            return Err(too_long(column, row));
        }
        content.truncate(kept);
    }
    Ok(Value::Text(content))
}

fn into_bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes,
        Value::Text(content) | Value::Json(content) => content.into_bytes(),
        other => text(&other).into_bytes(),
    }
}

/// The moment that a value stands for, in a column with a date.
fn fit_moment(value: &Value) -> Option<i64> {
    if let Some(moment) = moment_of(value) {
        return Some(moment);
    }
    match value {
        Value::Text(_) | Value::Int(_) | Value::UInt(_) => {
            parse_moment(&text(value)).map(|(moment, _)| moment)
        }
        _ => None,
    }
}

/// What is known of a value that a key column is compared with for equality.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyValue {
    /// Equal to exactly this value of the column.
    Is(Value),
    /// Equal to none.
    Never,
    /// Several values of the column may be equal to it; the index does not help.
    Unclear,
}

/// What value of a column can be equal to `value`, by the rules of comparison.
pub fn key_value(value: &Value, column_type: ColumnType) -> KeyValue {
    if *value == Value::Null {
        return KeyValue::Never;
    }
    if let Some((least, greatest)) = integer_range(column_type) {
        let number = match value {
            Value::Text(content) => integer(content),
            Value::Float(_) | Value::Double(_) => None,
            other => match exact(other) {
                Some((unscaled, scale)) => match rescale(unscaled, scale, 0) {
                    Some(whole) if rescale(whole, 0, scale) == Some(unscaled) => Some(whole),
                    _ => return KeyValue::Never,
                },
                None => None,
            },
        };
        // Beyond 2^53 a comparison with text goes by doubles, which are not exact.
        let Some(number) = number.filter(|number| number.unsigned_abs() <= 1 << 53 || exact(value).is_some())
        else {
            return KeyValue::Unclear;
        };
        return match (least..=greatest).contains(&number) {
            true => KeyValue::Is(integer_value(column_type, number)),
            false => KeyValue::Never,
        };
    }
    match (column_type, value) {
        (ColumnType::Decimal { precision, scale }, number) if exact(number).is_some() => {
            let Some((unscaled, has)) = exact(number) else { return KeyValue::Unclear };
            match rescale(unscaled, has, scale) {
                Some(digits) if rescale(digits, scale, has) == Some(unscaled) => {
                    match digits.unsigned_abs() < 10_u128.pow(u32::from(precision.min(38))) {
                        true => KeyValue::Is(Value::Decimal { unscaled: digits, scale }),
                        false => KeyValue::Never,
                    }
                }
                _ => KeyValue::Never,
            }
        }
        (ColumnType::Double, Value::Double(number)) if *number != 0.0 => KeyValue::Is(Value::Double(*number)),
        (ColumnType::Char { characters } | ColumnType::Varchar { characters }, Value::Text(content)) => {
            match content.chars().count() <= characters as usize {
                true => KeyValue::Is(Value::Text(content.clone())),
                false => KeyValue::Never,
            }
        }
        (ColumnType::Varbinary { bytes }, Value::Text(_) | Value::Bytes(_)) => {
            let content = into_bytes(value.clone());
            if content.len() <= bytes as usize {
                KeyValue::Is(Value::Bytes(content))
            } else {
                KeyValue::Never
            }
        }
        (ColumnType::Binary { bytes }, Value::Text(_) | Value::Bytes(_)) => {
            let content = into_bytes(value.clone());
            if content.len() == bytes as usize {
                KeyValue::Is(Value::Bytes(content))
            } else {
                KeyValue::Never
            }
        }
        (ColumnType::Date, other) => match moment_or_text(other) {
            Some(moment) if moment.rem_euclid(MICROSECONDS_PER_DAY) == 0 => {
                KeyValue::Is(Value::Date(moment.div_euclid(MICROSECONDS_PER_DAY) as i32))
            }
            Some(_) => KeyValue::Never,
            None => KeyValue::Unclear,
        },
        (ColumnType::DateTime, other) => {
            moment_or_text(other).map_or(KeyValue::Unclear, |moment| KeyValue::Is(Value::DateTime(moment)))
        }
        (ColumnType::Timestamp, other) => {
            moment_or_text(other).map_or(KeyValue::Unclear, |moment| KeyValue::Is(Value::Timestamp(moment)))
        }
        (ColumnType::Time, Value::Time(time)) => KeyValue::Is(Value::Time(*time)),
        (ColumnType::Time, Value::Text(content)) => {
            parse_time(content).map_or(KeyValue::Unclear, |time| KeyValue::Is(Value::Time(time)))
        }
        _ => KeyValue::Unclear,
    }
}

fn moment_or_text(value: &Value) -> Option<i64> {
    match value {
        Value::Text(content) => parse_moment(content).map(|(moment, _)| moment),
        other => moment_of(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(column_type: ColumnType) -> Column {
        Column::new("c", column_type)
    }

    fn text_value(content: &str) -> Value {
        Value::Text(content.to_owned())
    }

    #[test]
    fn values_fit_as_in_strict_mode() {
        let decimal = ColumnType::Decimal { precision: 5, scale: 2 };
        for (column_type, value, expected) in [
            (ColumnType::Int, text_value("12"), Value::Int(12)),
            (ColumnType::Int, text_value("1.6"), Value::Int(2)),
            (ColumnType::Int, Value::Decimal { unscaled: 25, scale: 1 }, Value::Int(3)),
            (ColumnType::TinyIntUnsigned, Value::Int(255), Value::UInt(255)),
            (decimal, text_value("1.005"), Value::Decimal { unscaled: 101, scale: 2 }),
            (decimal, Value::Double(0.1), Value::Decimal { unscaled: 10, scale: 2 }),
            (ColumnType::Char { characters: 3 }, text_value("ab  "), text_value("ab")),
            (ColumnType::Varchar { characters: 3 }, Value::Int(123), text_value("123")),
            (ColumnType::Binary { bytes: 3 }, text_value("a"), Value::Bytes(vec![97, 0, 0])),
            (ColumnType::Date, text_value("1970-01-02 10:00:00"), Value::Date(1)),
            (ColumnType::Json, text_value("{\"a\": 1}"), Value::Json("{\"a\": 1}".to_owned())),
        ] {
            assert_eq!(fit(value.clone(), &column(column_type), 1).expect("fits"), expected, "{value:?}");
        }
        for (column_type, value, code) in [
            (ColumnType::TinyInt, Value::Int(128), 1264),
            (ColumnType::Int, text_value("abc"), 1366),
            (ColumnType::Int, text_value("12abc"), 1265),
            (ColumnType::Int, Value::Null, 1048),
            (decimal, Value::Int(1_000), 1264),
            (ColumnType::Varchar { characters: 3 }, text_value("abcd"), 1406),
            (ColumnType::Text, Value::Bytes(vec![0xFF]), 1366),
            (ColumnType::Date, text_value("2024-02-30"), 1292),
            (ColumnType::Json, text_value("{"), 3140),
            (ColumnType::Float, Value::Double(1e300), 1264),
            (ColumnType::Double, text_value("1e999"), 1264),
            (ColumnType::Double, text_value("1e999x"), 1265),
            (ColumnType::BigInt, text_value("1e999"), 1264),
            (decimal, text_value("1e999"), 1264),
            (ColumnType::Binary { bytes: u32::MAX }, text_value("a"), 1301),
        ] {
            let error = fit(value.clone(), &column(column_type), 1).expect_err("does not fit");
            assert_eq!(error.code, code, "{value:?} {error}");
        }
    }

    #[test]
    fn keys_are_exact_or_not_used() {
        let is = KeyValue::Is;
        for (column_type, value, expected) in [
            (ColumnType::Int, text_value("5"), is(Value::Int(5))),
            (ColumnType::Int, text_value("5x"), KeyValue::Unclear),
            (ColumnType::Int, Value::Decimal { unscaled: 50, scale: 1 }, is(Value::Int(5))),
            (ColumnType::Int, Value::Decimal { unscaled: 55, scale: 1 }, KeyValue::Never),
            (ColumnType::TinyInt, Value::Int(300), KeyValue::Never),
            (ColumnType::Varchar { characters: 9 }, Value::Int(1), KeyValue::Unclear),
            (ColumnType::Date, text_value("1970-01-02"), is(Value::Date(1))),
            (ColumnType::Date, text_value("1970-01-02 01:00:00"), KeyValue::Never),
            (ColumnType::Int, Value::Null, KeyValue::Never),
        ] {
            assert_eq!(key_value(&value, column_type), expected, "{value:?}");
        }
    }
}
