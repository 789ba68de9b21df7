//! Comparison of values of any types, by MySQL's rules: text with text byte by byte, exact numbers exactly, anything else
//! as doubles; dates and times with text that reads as such.

use super::calendar::{parse_moment, parse_time};
use super::number::{rescale, to_double};
use crate::error::{Result, SqlError, not_supported};
use duet_client::Value;
use duet_protocol::value::MICROSECONDS_PER_DAY;
use std::cmp::Ordering;

/// An exact number as unscaled digits and scale.
pub fn exact(value: &Value) -> Option<(i128, u8)> {
    match value {
        Value::Bool(truth) => Some((i128::from(*truth), 0)),
        Value::Int(number) => Some((i128::from(*number), 0)),
        Value::UInt(number) => Some((i128::from(*number), 0)),
        Value::Decimal { unscaled, scale } => Some((*unscaled, *scale)),
        _ => None,
    }
}

fn bytes_of(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Text(text) | Value::Json(text) => Some(text.as_bytes()),
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// Microseconds since 1970 of what has a date.
pub fn moment_of(value: &Value) -> Option<i64> {
    match value {
        Value::Date(days) => Some(i64::from(*days) * MICROSECONDS_PER_DAY),
        Value::DateTime(moment) | Value::Timestamp(moment) => Some(*moment),
        _ => None,
    }
}

/// Compares two exact numbers.
fn compare_exact((a, a_scale): (i128, u8), (b, b_scale): (i128, u8)) -> Ordering {
    let scale = a_scale.max(b_scale);
    match (rescale(a, a_scale, scale), rescale(b, b_scale, scale)) {
        (Some(a), Some(b)) => a.cmp(&b),
        // One of them has so many digits before the point that the other cannot reach it.
        (None, Some(_)) => a.cmp(&0),
        (Some(_), None) => 0.cmp(&b),
        (None, None) => a.cmp(&b),
    }
}

/// How two values compare; `None` where one of them is NULL.
///
/// # Errors
/// When text that is compared with a date or time is none; when a time is compared with a date.
pub fn compare(a: &Value, b: &Value) -> Result<Option<Ordering>> {
    if *a == Value::Null || *b == Value::Null {
        return Ok(None);
    }
    match (a, b) {
        // A text within a document is compared as what it says.
        (Value::Json(document), Value::Text(text)) if document.starts_with('"') => {
            if let Ok(said) = serde_json::from_str::<String>(document) {
                return Ok(Some(said.as_str().cmp(text)));
            }
        }
        (Value::Text(_), Value::Json(document)) if document.starts_with('"') => {
            return Ok(compare(b, a)?.map(Ordering::reverse));
        }
        _ => {}
    }
    if let (Some(a), Some(b)) = (bytes_of(a), bytes_of(b)) {
        return Ok(Some(a.cmp(b)));
    }
    if let (Some(a), Some(b)) = (exact(a), exact(b)) {
        return Ok(Some(compare_exact(a, b)));
    }
    match (moment_of(a), moment_of(b)) {
        (Some(a), Some(b)) => return Ok(Some(a.cmp(&b))),
        (Some(moment), None) if bytes_of(b).is_some() => return Ok(Some(moment.cmp(&read_moment(b)?))),
        (None, Some(moment)) if bytes_of(a).is_some() => return Ok(Some(read_moment(a)?.cmp(&moment))),
        _ => {}
    }
    match (a, b) {
        (Value::Time(a), Value::Time(b)) => return Ok(Some(a.cmp(b))),
        (Value::Time(time), text) if bytes_of(text).is_some() => {
            return Ok(Some(time.cmp(&read_time(text)?)));
        }
        (text, Value::Time(time)) if bytes_of(text).is_some() => return Ok(Some(read_time(text)?.cmp(time))),
        (Value::Time(_), other) | (other, Value::Time(_)) if moment_of(other).is_some() => {
            return not_supported("comparison of TIME with a date");
        }
        (Value::Vector(_), _) | (_, Value::Vector(_)) => return not_supported("comparison of vectors"),
        _ => {}
    }
    let (Some(a), Some(b)) = (to_double(a), to_double(b)) else { return Ok(None) };
    Ok(a.partial_cmp(&b))
}

fn read_moment(value: &Value) -> Result<i64> {
    let text = super::format::text(value);
    let read = parse_moment(&text).map(|(moment, _)| moment);
    read.ok_or_else(|| SqlError::incorrect_value(format!("Incorrect DATETIME value: '{text}'")))
}

fn read_time(value: &Value) -> Result<i64> {
    let text = super::format::text(value);
    parse_time(&text).ok_or_else(|| SqlError::incorrect_value(format!("Incorrect TIME value: '{text}'")))
}

/// Order of rows: NULL first, then as [`compare`]; values that cannot be compared are equal.
pub fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        _ => compare(a, b).ok().flatten().unwrap_or(Ordering::Equal),
    }
}

/// Whether a value is true, as WHERE sees it; `None` for NULL.
pub fn truth(value: &Value) -> Option<bool> {
    match exact(value) {
        Some((number, _)) => Some(number != 0),
        None => to_double(value).map(|number| number != 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(unscaled: i128, scale: u8) -> Value {
        Value::Decimal { unscaled, scale }
    }

    #[test]
    fn values_compare_as_in_mysql() {
        for (a, b, expected) in [
            (Value::Int(-1), Value::UInt(u64::MAX), Some(Ordering::Less)),
            (Value::Int(10), Value::Text("10".to_owned()), Some(Ordering::Equal)),
            (Value::Int(0), Value::Text("abc".to_owned()), Some(Ordering::Equal)),
            (Value::Text("10".to_owned()), Value::Text("9".to_owned()), Some(Ordering::Less)),
            (decimal(150, 2), decimal(15, 1), Some(Ordering::Equal)),
            (decimal(i128::MAX / 2, 0), decimal(1, 30), Some(Ordering::Greater)),
            (Value::Date(0), Value::Text("1970-01-01".to_owned()), Some(Ordering::Equal)),
            (Value::Date(1), Value::DateTime(5), Some(Ordering::Greater)),
            (Value::Date(0), Value::Int(19_700_101), Some(Ordering::Equal)),
            (Value::Null, Value::Int(1), None),
        ] {
            assert_eq!(compare(&a, &b).expect("comparable"), expected, "{a:?} {b:?}");
            assert_eq!(compare(&b, &a).expect("comparable"), expected.map(Ordering::reverse));
        }
        assert!(compare(&Value::Date(0), &Value::Text("soon".to_owned())).is_err());
    }
}
