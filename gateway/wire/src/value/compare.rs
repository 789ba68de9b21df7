//! Comparison of values of any types, by MySQL's rules: text with text byte by byte, exact numbers exactly, anything else
//! as doubles; dates and times with text that reads as such.

use super::calendar::{parse_moment, parse_time};
use super::number::{rescale, to_double};
use crate::error::{Result, SqlError, not_supported};
use duet_client::Value;
use duet_protocol::value::MICROSECONDS_PER_DAY;
use std::borrow::Cow;
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
        (Value::Json(a), Value::Json(b)) => {
            if let (Some(a), Some(b)) = (number_of(a), number_of(b)) {
                return compare(&a, &b);
            }
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

/// The number that a document is.
fn number_of(document: &str) -> Option<Value> {
    match document.parse::<i128>() {
        Ok(unscaled) if unscaled.unsigned_abs() < 10_u128.pow(37) => {
            Some(Value::Decimal { unscaled, scale: 0 })
        }
        _ => document.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Double),
    }
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

/// Kinds of values that sort among themselves; NULL is below all.
fn sort_class(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_)
        | Value::Int(_)
        | Value::UInt(_)
        | Value::Decimal { .. }
        | Value::Float(_)
        | Value::Double(_) => 1,
        Value::Text(_) | Value::Bytes(_) => 2,
        Value::Date(_) | Value::DateTime(_) | Value::Timestamp(_) => 3,
        Value::Time(_) => 4,
        Value::Json(_) => 5,
        Value::Vector(_) => 6,
    }
}

/// A total order of all values, for sorting: NULL first, then as [`compare`] has it for values of one kind; values of different kinds, which
/// it compares now one way and now another, by their kinds.
pub fn sort_order(a: &Value, b: &Value) -> Ordering {
    let (class, other) = (sort_class(a), sort_class(b));
    if class != other {
        return class.cmp(&other);
    }
    match class {
        1 => match (exact(a), exact(b)) {
            (Some(a), Some(b)) => compare_exact(a, b),
            // What is exact is below the double that is as large, so that the order stays one among several exact numbers that round to it.
            (one, another) => {
                let double = |value| to_double(value).unwrap_or_default() + 0.0;
                double(a).total_cmp(&double(b)).then(another.is_some().cmp(&one.is_some()))
            }
        },
        2 | 5 => bytes_of(a).cmp(&bytes_of(b)),
        3 => moment_of(a).cmp(&moment_of(b)),
        4 => match (a, b) {
            (Value::Time(a), Value::Time(b)) => a.cmp(b),
            _ => Ordering::Equal,
        },
        6 => super::format::text(a).cmp(&super::format::text(b)),
        _ => Ordering::Equal,
    }
}

/// How two rows compare by these comparisons of their parts, of which some go down.
pub fn first_difference(parts: impl Iterator<Item = (Ordering, bool)>) -> Ordering {
    let mut directed = parts.map(|(ordering, down)| if down { ordering.reverse() } else { ordering });
    directed.find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
}

/// Sorts rows by the parts of their keys, of which some go down; with equal keys they stay as they were. A part with values of several kinds
/// is sorted by what these read as, as MySQL sorts an expression like `IF(id % 2, text, number)`.
pub fn sort_by_keys<T>(rows: &mut [T], keys: impl Fn(&T) -> &[Value], down: &[bool]) {
    let is_mixed = |part: usize| {
        let values = rows.iter().filter_map(|row| keys(row).get(part));
        let mut classes = values.filter(|value| **value != Value::Null).map(sort_class);
        classes.next().is_some_and(|first| classes.any(|class| class != first))
    };
    let parts: Vec<(bool, bool)> =
        down.iter().enumerate().map(|(part, down)| (*down, is_mixed(part))).collect();
    rows.sort_by(|a, b| {
        first_difference(keys(a).iter().zip(keys(b)).zip(&parts).map(|((a, b), (down, mixed))| {
            let ordering = match *mixed && *a != Value::Null && *b != Value::Null {
                true => read_as(a).cmp(&read_as(b)),
                false => sort_order(a, b),
            };
            (ordering, *down)
        }))
    });
}

/// The bytes of a value as text.
fn read_as(value: &Value) -> Cow<'_, [u8]> {
    match bytes_of(value) {
        Some(bytes) => Cow::Borrowed(bytes),
        None => Cow::Owned(super::format::text(value).into_bytes()),
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
    fn sorting_has_one_order() {
        let text = |text: &str| Value::Text(text.to_owned());
        let all = [
            Value::Null,
            Value::Int(9),
            Value::Int(10),
            text("10"),
            text("9"),
            text("x"),
            Value::Double(f64::NAN),
            Value::Double(9_007_199_254_740_992.0),
            Value::Int(9_007_199_254_740_992),
            Value::Int(9_007_199_254_740_993),
            decimal(95, 1),
            Value::Date(3),
            Value::DateTime(5),
            Value::Time(7),
            Value::Json("{}".to_owned()),
        ];
        for a in &all {
            for b in &all {
                assert_eq!(sort_order(a, b), sort_order(b, a).reverse(), "{a:?} {b:?}");
                for c in &all {
                    let less = |a, b| sort_order(a, b) != Ordering::Greater;
                    assert!(!less(a, b) || !less(b, c) || less(a, c), "{a:?} {b:?} {c:?}");
                }
            }
        }
        let sorted = |mut keys: Vec<Value>, down| {
            sort_by_keys(&mut keys, std::slice::from_ref, &[down]);
            keys
        };
        let mixed = vec![text("9"), Value::Int(10), Value::Null];
        assert_eq!(sorted(mixed.clone(), false), [Value::Null, Value::Int(10), text("9")]);
        assert_eq!(sorted(mixed, true), [text("9"), Value::Int(10), Value::Null]);
        let numbers = vec![Value::Int(10), Value::Double(1.5)];
        assert_eq!(sorted(numbers, false), [Value::Double(1.5), Value::Int(10)]);
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
