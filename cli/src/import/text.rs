//! What the text of a CSV field can mean. Only spellings that can be written back without doubt count: `007` and
//! `1e400` are text.

use super::cell::{is_integer, whole};
use duet_protocol::schema::ColumnType;
use duet_protocol::value::{MICROSECONDS_PER_DAY, Value, days_from_civil};

/// What a text looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// An integer.
    Integer(i128),
    /// A number with a point or an exponent.
    Double(f64),
    /// `true` or `false`.
    Boolean,
    /// `2013-01-31`.
    Date,
    /// Date and time without zone.
    DateTime,
    /// Date and time with zone.
    Timestamp,
    /// Anything else.
    Text,
}

/// Looks at one text.
pub fn shape(text: &str) -> Shape {
    if let Some(number) = parse_integer(text) {
        Shape::Integer(number)
    } else if let Some(number) = parse_double(text) {
        Shape::Double(number)
    } else if parse_boolean(text).is_some() {
        Shape::Boolean
    } else if parse_date(text).is_some() {
        Shape::Date
    } else {
        match parse_instant(text) {
            Some((_, true)) => Shape::Timestamp,
            Some((_, false)) => Shape::DateTime,
            None => Shape::Text,
        }
    }
}

/// The value that `text` has in a column of this type; `None` when it has none.
pub fn parse(text: &str, column_type: ColumnType) -> Option<Value> {
    match column_type {
        integer if is_integer(integer) => match shape(text) {
            Shape::Integer(number) => match i64::try_from(number) {
                Ok(number) => Some(Value::Int(number)),
                Err(_) => u64::try_from(number).ok().map(Value::UInt),
            },
            Shape::Double(number) => whole(number).map(Value::Int),
            Shape::Boolean | Shape::Date | Shape::DateTime | Shape::Timestamp | Shape::Text => None,
        },
        ColumnType::Float => text.parse().ok().map(Value::Float),
        ColumnType::Double => text.parse().ok().map(Value::Double),
        ColumnType::Decimal { .. } => parse_decimal(text),
        ColumnType::Char { .. } | ColumnType::Varchar { .. } | ColumnType::Text => {
            Some(Value::Text(text.to_owned()))
        }
        ColumnType::Json => Some(Value::Json(text.to_owned())),
        ColumnType::Boolean => parse_boolean(text).map(Value::Bool),
        ColumnType::Date => parse_date(text).map(Value::Date),
        ColumnType::Time => parse_clock(text).map(Value::Time),
        ColumnType::DateTime => {
            parse_instant(text).filter(|(_, zoned)| !zoned).map(|(t, _)| Value::DateTime(t))
        }
        ColumnType::Timestamp => {
            parse_instant(text).filter(|(_, zoned)| *zoned).map(|(t, _)| Value::Timestamp(t))
        }
        // Bytes and vectors have no agreed spelling; integers are above.
        _ => None,
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_integer(text: &str) -> Option<i128> {
    let magnitude = text.strip_prefix('-').unwrap_or(text);
    let canonical = digits(magnitude) && (magnitude == "0" || !magnitude.starts_with('0')) && text != "-0";
    if canonical { text.parse().ok() } else { None }
}

fn parse_double(text: &str) -> Option<f64> {
    let magnitude = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let canonical = magnitude.contains(['.', 'e', 'E'])
        && digits(before)
        && digits(after)
        && (before == "0" || !before.starts_with('0'))
        && digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    let number: f64 = if canonical { text.parse().ok()? } else { return None };
    number.is_finite().then_some(number)
}

fn parse_decimal(text: &str) -> Option<Value> {
    let magnitude = text.strip_prefix('-').unwrap_or(text);
    let (before, after) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    if !digits(before) || !(after.is_empty() || digits(after)) || after.len() > 38 {
        return None;
    }
    let unscaled: i128 = format!("{before}{after}").parse().ok()?;
    let unscaled = if text.starts_with('-') { -unscaled } else { unscaled };
    Some(Value::Decimal { unscaled, scale: after.len() as u8 })
}

fn parse_boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else {
        text.eq_ignore_ascii_case("false").then_some(false)
    }
}

/// A number of exactly `length` digits at the start, and the rest.
fn number(text: &str, length: usize) -> Option<(u32, &str)> {
    let (start, rest) = text.split_at_checked(length)?;
    if digits(start) { Some((start.parse().ok()?, rest)) } else { None }
}

fn split_date(text: &str) -> Option<(i32, &str)> {
    let (year, rest) = number(text, 4)?;
    let (month, rest) = number(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = number(rest.strip_prefix('-')?, 2)?;
    if year == 0 {
        return None;
    }
    Some((days_from_civil(year as i32, month, day)?, rest))
}

fn parse_date(text: &str) -> Option<i32> {
    split_date(text).filter(|(_, rest)| rest.is_empty()).map(|(days, _)| days)
}

/// Microseconds of `HH:MM[:SS[.ffffff]]`, and the rest.
fn split_clock(text: &str) -> Option<(i64, &str)> {
    let (hour, rest) = number(text, 2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = match rest.strip_prefix(':') {
        Some(rest) => number(rest, 2)?,
        None => (0, rest),
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let length = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, rest) = rest.split_at(length);
            let (kept, dropped) = fraction.split_at(length.min(6));
            if fraction.is_empty() || dropped.bytes().any(|digit| digit != b'0') {
                return None;
            }
            (format!("{kept:0<6}").parse().ok()?, rest)
        }
        None => (0, rest),
    };
    Some((i64::from(hour * 3600 + minute * 60 + second) * 1_000_000 + fraction, rest))
}

fn parse_clock(text: &str) -> Option<i64> {
    split_clock(text).filter(|(_, rest)| rest.is_empty()).map(|(microseconds, _)| microseconds)
}

/// Offset from UTC in microseconds: `Z`, `+02`, `+02:00` or `+0200`.
fn parse_zone(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, rest) = number(&text[1..], 2)?;
    let (minutes, rest) = match rest {
        "" => (0, ""),
        rest => number(rest.strip_prefix(':').unwrap_or(rest), 2)?,
    };
    let in_range = rest.is_empty() && hours <= 18 && minutes <= 59;
    in_range.then(|| sign * i64::from(hours * 60 + minutes) * 60_000_000)
}

/// Microseconds since 1970 of `2013-01-31 10:00:00`, also with `T`, and whether it names a zone (then it is UTC).
fn parse_instant(text: &str) -> Option<(i64, bool)> {
    let (days, rest) = split_date(text)?;
    let (clock, zone) = split_clock(rest.strip_prefix(['T', ' '])?)?;
    let local = i64::from(days) * MICROSECONDS_PER_DAY + clock;
    if zone.is_empty() { Some((local, false)) } else { Some((local - parse_zone(zone)?, true)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        for (text, expected) in [
            ("0", Shape::Integer(0)),
            ("-17", Shape::Integer(-17)),
            ("18446744073709551615", Shape::Integer(18_446_744_073_709_551_615)),
            ("2.50", Shape::Double(2.5)),
            ("1e3", Shape::Double(1000.0)),
            ("-0.0", Shape::Double(-0.0)),
            ("True", Shape::Boolean),
            ("2013-02-28", Shape::Date),
            ("2013-01-01 05:15", Shape::DateTime),
            ("2013-01-01T05:15:00.25", Shape::DateTime),
            ("2013-01-01T10:00:00Z", Shape::Timestamp),
            ("2013-01-01 10:00:00-05:00", Shape::Timestamp),
        ] {
            assert_eq!(shape(text), expected, "{text}");
        }
        for text in [
            "",
            " 1",
            "007",
            "-0",
            "+5",
            "1.",
            "1234567890123456789012345678901234567890",
            ".5",
            "1e400",
            "nan",
            "inf",
            "0x10",
            "1,5",
            "2013-02-29",
            "2013-1-1",
            "0000-01-01",
            "2013-01-01 24:00",
            "2013-01-01 10:00:00.1234567",
            "2013-01-01 10:00:00+1",
            "2013-01-01 10:00é",
            "é",
            "yes",
        ] {
            assert_eq!(shape(text), Shape::Text, "{text}");
        }
    }

    #[test]
    fn values() {
        let day = 15_706;
        assert_eq!(parse("2013-01-01", ColumnType::Date), Some(Value::Date(day)));
        let noon = i64::from(day) * MICROSECONDS_PER_DAY + 12 * 3_600_000_000;
        assert_eq!(parse("2013-01-01 12:00", ColumnType::DateTime), Some(Value::DateTime(noon)));
        assert_eq!(parse("2013-01-01 07:00-05:00", ColumnType::Timestamp), Some(Value::Timestamp(noon)));
        assert_eq!(parse("2013-01-01 13:30+0130", ColumnType::Timestamp), Some(Value::Timestamp(noon)));
        assert_eq!(parse("2013-01-01 12:00", ColumnType::Timestamp), None);
        assert_eq!(parse("5.0", ColumnType::SmallInt), Some(Value::Int(5)));
        assert_eq!(parse("5.5", ColumnType::SmallInt), None);
        assert_eq!(parse("007", ColumnType::Varchar { characters: 16 }), Some(Value::Text("007".into())));
        let decimal = ColumnType::Decimal { precision: 5, scale: 2 };
        assert_eq!(parse("-1.25", decimal), Some(Value::Decimal { unscaled: -125, scale: 2 }));
        assert_eq!(parse("1.2.5", decimal), None);
        assert_eq!(parse("01:00:00.5", ColumnType::Time), Some(Value::Time(3_600_500_000)));
    }
}
