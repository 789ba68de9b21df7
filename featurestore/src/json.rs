//! Values to and from JSON.
//!
//! The encoder appends to one buffer and allocates nothing else: a response of 100 vectors with 250 features has 25,000
//! values.

use crate::time::{parse_date, parse_timestamp, write_date, write_timestamp};
use crate::{FeatureError, Reason, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use duet_client::{ColumnType, Value, ValueRef};
use std::io::Write;

/// Appends a value. NaN and infinities, which JSON has no words for, become `null`.
pub fn write_value(out: &mut Vec<u8>, value: &ValueRef<'_>) {
    match value {
        ValueRef::Null => out.extend_from_slice(b"null"),
        ValueRef::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        ValueRef::Int(number) | ValueRef::Time(number) => write_integer(out, *number),
        ValueRef::UInt(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
        ValueRef::Float(number) => write_float(out, number.is_finite(), ryu::Buffer::new().format(*number)),
        ValueRef::Double(number) => write_float(out, number.is_finite(), ryu::Buffer::new().format(*number)),
        ValueRef::Decimal { .. } => {
            // Writing to memory cannot fail.
            let _ = write!(out, "{value}");
        }
        ValueRef::Text(text) => write_text(out, text),
        ValueRef::Json(text) => out.extend_from_slice(text.as_bytes()),
        ValueRef::Bytes(bytes) => write_base64(out, bytes),
        ValueRef::Date(days) => {
            out.push(b'"');
            write_date(out, i64::from(*days));
            out.push(b'"');
        }
        ValueRef::DateTime(microseconds) | ValueRef::Timestamp(microseconds) => {
            out.push(b'"');
            write_timestamp(out, *microseconds, ' ');
            out.push(b'"');
        }
        ValueRef::Vector(vector) => {
            out.push(b'[');
            for (index, element) in vector.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_float(out, element.is_finite(), ryu::Buffer::new().format(element));
            }
            out.push(b']');
        }
    }
}

/// Appends a whole number.
pub fn write_integer(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn write_float(out: &mut Vec<u8>, finite: bool, text: &str) {
    out.extend_from_slice(if finite { text.as_bytes() } else { b"null" });
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    // The room is what the encoding takes.
    let _ = STANDARD.encode_slice(bytes, &mut out[start..]);
    out.push(b'"');
}

/// Appends text in quotes.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f => &[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]],
            _ => continue,
        };
        out.extend_from_slice(&bytes[start..index]);
        out.extend_from_slice(escape);
        start = index + 1;
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

/// The value of a feature of this type that a JSON value stands for.
///
/// Nothing is rounded or cut: a number must be exact in its column, a text is a date or it is not.
///
/// # Errors
/// `WrongType` when it is of another kind, `WrongValue` when it does not fit.
pub fn read_value(name: &str, column: ColumnType, value: &serde_json::Value) -> Result<Value> {
    use serde_json::Value as Json;
    let wrong_type = || {
        FeatureError::new(
            Reason::WrongType,
            format!("'{name}' is {column} and does not take {}", kind(value)),
        )
    };
    let wrong_value =
        |text: &str| FeatureError::new(Reason::WrongValue, format!("'{name}' is {column}: {text}"));
    if value.is_null() {
        return Ok(Value::Null);
    }
    match column {
        ColumnType::Boolean => match value {
            Json::Bool(value) => Ok(Value::Bool(*value)),
            Json::Number(number) if number.as_u64().is_some_and(|number| number < 2) => {
                Ok(Value::Bool(number.as_u64() == Some(1)))
            }
            _ => Err(wrong_type()),
        },
        ColumnType::Float | ColumnType::Double => {
            let number = value.as_f64().ok_or_else(wrong_type)?;
            let fits = number.is_finite() && (column == ColumnType::Double || (number as f32).is_finite());
            match column {
                _ if !fits => Err(wrong_value("the number is too large")),
                ColumnType::Float => Ok(Value::Float(number as f32)),
                _ => Ok(Value::Double(number)),
            }
        }
        ColumnType::Decimal { scale, .. } => match value {
            Json::Number(number) => read_decimal(&number.to_string(), scale),
            Json::String(text) => read_decimal(text, scale),
            _ => return Err(wrong_type()),
        }
        .ok_or_else(|| wrong_value("it is no decimal of this scale")),
        ColumnType::Date => {
            let text = value.as_str().ok_or_else(wrong_type)?;
            // A date that comes as a timestamp must be the start of its day.
            let days = parse_date(text).or_else(|| {
                let day = duet_protocol::value::MICROSECONDS_PER_DAY;
                parse_timestamp(text).filter(|time| time % day == 0).map(|time| time.div_euclid(day) as i32)
            });
            days.map(Value::Date).ok_or_else(|| wrong_value("dates are written YYYY-MM-DD"))
        }
        ColumnType::DateTime | ColumnType::Timestamp => {
            let text = value.as_str().ok_or_else(wrong_type)?;
            let time = parse_timestamp(text)
                .ok_or_else(|| wrong_value("timestamps are written YYYY-MM-DD HH:MM:SS[.fff]"))?;
            Ok(if column == ColumnType::DateTime { Value::DateTime(time) } else { Value::Timestamp(time) })
        }
        ColumnType::Char { .. } | ColumnType::Varchar { .. } | ColumnType::Text => {
            value.as_str().map(Value::from).ok_or_else(wrong_type)
        }
        ColumnType::Binary { .. } | ColumnType::Varbinary { .. } | ColumnType::Blob => {
            let text = value.as_str().ok_or_else(wrong_type)?;
            STANDARD.decode(text).map(Value::Bytes).map_err(|_| wrong_value("bytes are written in base64"))
        }
        ColumnType::Json => Ok(Value::Json(value.to_string())),
        ColumnType::Vector { dimensions } => {
            let elements = value.as_array().ok_or_else(wrong_type)?;
            if elements.len() != dimensions as usize {
                return Err(wrong_value("the vector has another number of elements"));
            }
            let element = |value: &Json| {
                let number = value.as_f64().ok_or_else(wrong_type)? as f32;
                if number.is_finite() { Ok(number) } else { Err(wrong_value("an element is too large")) }
            };
            elements.iter().map(element).collect::<Result<Vec<f32>>>().map(Value::Vector)
        }
        ColumnType::Time => value.as_i64().map(Value::Time).ok_or_else(wrong_type),
        _ => {
            if let Some(number) = value.as_i64() {
                return Ok(Value::Int(number));
            }
            if let Some(number) = value.as_u64() {
                return Ok(Value::UInt(number));
            }
            // Nulls turn integers into floats in the data frames of Python: 7.0 is 7.
            let number = value.as_f64().ok_or_else(wrong_type)?;
            let exact = number.trunc() == number && number.abs() <= 9_007_199_254_740_992.0;
            if exact { Ok(Value::Int(number as i64)) } else { Err(wrong_value("it is no whole number")) }
        }
    }
}

fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a boolean",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "text",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "an object",
    }
}

/// The digits of a decimal number at a scale; `None` when it has more digits behind the point, or too many in all.
fn read_decimal(text: &str, scale: u8) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > usize::from(scale) {
        return None;
    }
    let zeros = std::iter::repeat_n(b'0', usize::from(scale) - fraction.len());
    let mut unscaled = 0_i128;
    for byte in whole.bytes().chain(fraction.bytes()).chain(zeros) {
        let digit = byte.is_ascii_digit().then(|| i128::from(byte - b'0'))?;
        unscaled = unscaled.checked_mul(10)?.checked_add(digit)?;
    }
    Some(Value::Decimal { unscaled: if negative { -unscaled } else { unscaled }, scale })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(value: &Value) -> String {
        let mut out = Vec::new();
        write_value(&mut out, &ValueRef::from(value));
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn values_are_written_as_users_expect_them() {
        assert_eq!(text(&Value::Null), "null");
        assert_eq!(text(&Value::Int(-36)), "-36");
        assert_eq!(text(&Value::Double(0.115)), "0.115");
        assert_eq!(text(&Value::Float(1.5)), "1.5");
        assert_eq!(text(&Value::Double(f64::NAN)), "null");
        assert_eq!(text(&Value::Decimal { unscaled: -1250, scale: 2 }), "-12.50");
        assert_eq!(text(&Value::Bytes(b"duet".to_vec())), "\"ZHVldA==\"");
        assert_eq!(text(&Value::Date(19_016)), "\"2022-01-24\"");
        assert_eq!(text(&Value::Timestamp(1_643_000_645_123_000)), "\"2022-01-24 05:04:05.123\"");
        assert_eq!(text(&Value::Vector(vec![1.0, -2.5])), "[1.0,-2.5]");
        assert_eq!(text(&"a\"\\\n\u{1}é".into()), "\"a\\\"\\\\\\n\\u0001é\"");
    }

    #[test]
    fn written_values_are_read_back() {
        for (column, value) in [
            (ColumnType::BigInt, Value::Int(i64::MIN)),
            (ColumnType::BigIntUnsigned, Value::UInt(u64::MAX)),
            (ColumnType::Double, Value::Double(1e300)),
            (ColumnType::Double, Value::Double(-0.1)),
            (ColumnType::Boolean, Value::Bool(true)),
            (ColumnType::Decimal { precision: 10, scale: 2 }, Value::Decimal { unscaled: -5, scale: 2 }),
            (ColumnType::Date, Value::Date(-700_000)),
            (ColumnType::Timestamp, Value::Timestamp(-1)),
            (ColumnType::Varchar { characters: 9 }, "naïve\0".into()),
            (ColumnType::Blob, Value::Bytes(vec![0, 255])),
            (ColumnType::Vector { dimensions: 2 }, Value::Vector(vec![0.1, 2.0])),
        ] {
            let json: serde_json::Value = serde_json::from_str(&text(&value)).expect("JSON");
            let read = read_value("x", column, &json).expect("fits");
            // Small unsigned numbers come back signed; the column takes both.
            assert!(read == value || matches!(read, Value::Int(_)), "{read:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let reason = |column, value| read_value("x", column, &value).expect_err("refused").reason;
        assert_eq!(reason(ColumnType::BigInt, json!("7")), Reason::WrongType);
        assert_eq!(reason(ColumnType::BigInt, json!(7.5)), Reason::WrongValue);
        assert_eq!(read_value("x", ColumnType::BigInt, &json!(7.0)), Ok(Value::Int(7)));
        assert_eq!(reason(ColumnType::Float, json!(1e300)), Reason::WrongValue);
        assert_eq!(reason(ColumnType::Date, json!("2022-02-30")), Reason::WrongValue);
        assert_eq!(reason(ColumnType::Timestamp, json!(5)), Reason::WrongType);
        assert_eq!(reason(ColumnType::Blob, json!("?")), Reason::WrongValue);
        assert_eq!(reason(ColumnType::Varchar { characters: 5 }, json!([])), Reason::WrongType);
        assert_eq!(reason(ColumnType::Decimal { precision: 5, scale: 1 }, json!("1.25")), Reason::WrongValue);
        assert_eq!(reason(ColumnType::Vector { dimensions: 2 }, json!([1])), Reason::WrongValue);
    }
}
