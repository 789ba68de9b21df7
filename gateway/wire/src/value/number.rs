//! Numbers in text, and exact decimals.

use duet_client::Value;

/// Most digits of a decimal here.
pub const MAX_DIGITS: u32 = 38;
/// Most digits behind the point of a decimal.
pub const MAX_SCALE: u8 = 30;

/// 10 to a power of at most 38.
pub fn power_of_ten(exponent: u8) -> Option<i128> {
    10_i128.checked_pow(u32::from(exponent))
}

/// The bytes at the beginning of a text that make a number: sign, digits, point, digits, exponent.
fn number_bytes(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut end = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let mut digits = 0;
    let mut run = |end: &mut usize| {
        while bytes.get(*end).is_some_and(u8::is_ascii_digit) {
            *end += 1;
            digits += 1;
        }
        digits
    };
    run(&mut end);
    if bytes.get(end) == Some(&b'.') {
        end += 1;
        run(&mut end);
    }
    if run(&mut end) == 0 {
        return 0;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let mut behind = end + 1;
        behind += usize::from(matches!(bytes.get(behind), Some(b'+' | b'-')));
        let first = behind;
        while bytes.get(behind).is_some_and(u8::is_ascii_digit) {
            behind += 1;
        }
        if behind > first {
            end = behind;
        }
    }
    end
}

/// The number at the beginning of a text, and whether that is all of it but spaces. One out of range is the nearest in range, of which not
/// all of the text was used.
pub fn prefix_double(text: &str) -> (f64, bool) {
    let (number, whole) = unbounded_double(text);
    (number.clamp(f64::MIN, f64::MAX), whole && number.is_finite())
}

/// The same, with one out of range being infinite.
pub(super) fn unbounded_double(text: &str) -> (f64, bool) {
    let text = text.trim();
    let (number, rest) = text.split_at(number_bytes(text));
    (number.parse().unwrap_or(0.0), rest.is_empty() && !number.is_empty())
}

/// The exact decimal that a text is; `None` when it is none, or too long. An exponent makes it none.
pub fn decimal(text: &str) -> Option<Value> {
    let text = text.trim();
    if number_bytes(text) != text.len() || text.is_empty() || text.contains(['e', 'E']) {
        return None;
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let scale = u8::try_from(fraction.len()).ok().filter(|scale| *scale <= MAX_SCALE)?;
    let unscaled = format!("{whole}{fraction}").parse().ok().filter(|number| fits(*number))?;
    Some(Value::Decimal { unscaled, scale })
}

fn fits(unscaled: i128) -> bool {
    unscaled.unsigned_abs() < 10_u128.pow(MAX_DIGITS)
}

/// The integer that a text is, spaces aside.
pub fn integer(text: &str) -> Option<i128> {
    text.trim().parse().ok()
}

/// A number as a literal of a statement: an integer, a decimal, or with an exponent a double.
pub fn literal(text: &str) -> Option<Value> {
    if text.contains(['e', 'E']) {
        return text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Double);
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(Value::Int(number));
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(Value::UInt(number));
    }
    decimal(text).or_else(|| text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Double))
}

/// A decimal with another number of digits behind the point, rounded half away from zero.
pub fn rescale(unscaled: i128, from: u8, to: u8) -> Option<i128> {
    if to >= from {
        return unscaled.checked_mul(power_of_ten(to - from)?);
    }
    let divisor = power_of_ten(from - to)?;
    let (quotient, rest) = (unscaled / divisor, unscaled % divisor);
    let rounds = rest.unsigned_abs() * 2 >= divisor.unsigned_abs();
    Some(quotient + if rounds { unscaled.signum() } else { 0 })
}

/// The decimal nearest to a double.
pub fn from_double(number: f64, scale: u8) -> Option<i128> {
    if !number.is_finite() {
        return None;
    }
    // As text, so that 0.1 stays 0.1.
    let text = format!("{number:.*}", usize::from(scale.min(MAX_SCALE)));
    match decimal(&text)? {
        Value::Decimal { unscaled, scale: has } => rescale(unscaled, has, scale),
        _ => None,
    }
}

/// A value as a double, as arithmetic sees it; `None` for NULL.
pub fn to_double(value: &Value) -> Option<f64> {
    use super::calendar::{date_number, moment_number, time_number};
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => f64::from(u8::from(*truth)),
        Value::Int(number) => *number as f64,
        Value::UInt(number) => *number as f64,
        Value::Float(number) => f64::from(*number),
        Value::Double(number) => *number,
        Value::Decimal { unscaled, scale } => {
            let text = super::format::text(&Value::Decimal { unscaled: *unscaled, scale: *scale });
            text.parse().unwrap_or(0.0)
        }
        Value::Json(document) if document == "true" => 1.0,
        Value::Text(text) | Value::Json(text) => prefix_double(text).0,
        Value::Bytes(bytes) => prefix_double(&String::from_utf8_lossy(bytes)).0,
        Value::Date(days) => date_number(*days) as f64,
        Value::DateTime(moment) | Value::Timestamp(moment) => {
            moment_number(*moment) as f64 + moment.rem_euclid(1_000_000) as f64 / 1e6
        }
        Value::Time(time) => time_number(*time) as f64 + (*time % 1_000_000) as f64 / 1e6,
        Value::Vector(_) => 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        assert_eq!(prefix_double(" 12abc"), (12.0, false));
        assert_eq!(prefix_double("-1.5e2 "), (-150.0, true));
        assert_eq!(prefix_double("1e"), (1.0, false));
        assert_eq!(prefix_double("abc"), (0.0, false));
        assert_eq!(prefix_double("."), (0.0, false));
        assert_eq!(prefix_double("1e999"), (f64::MAX, false));
        assert_eq!(prefix_double("-1e999x"), (f64::MIN, false));
        assert_eq!(prefix_double("1.7976931348623157e308"), (f64::MAX, true));
        assert_eq!(prefix_double("inf"), (0.0, false));
        assert_eq!(to_double(&Value::Bytes(b"1e999".to_vec())), Some(f64::MAX));
        assert_eq!(literal("18446744073709551615"), Some(Value::UInt(u64::MAX)));
        assert_eq!(literal("1.50"), Some(Value::Decimal { unscaled: 150, scale: 2 }));
        assert_eq!(literal("1e3"), Some(Value::Double(1_000.0)));
        assert_eq!(literal("1e999"), None);
    }

    #[test]
    fn decimals_round_away_from_zero() {
        assert_eq!(rescale(125, 2, 1), Some(13));
        assert_eq!(rescale(-125, 2, 1), Some(-13));
        assert_eq!(rescale(124, 2, 1), Some(12));
        assert_eq!(rescale(12, 0, 2), Some(1_200));
        assert_eq!(rescale(i128::MAX, 0, 1), None);
        assert_eq!(from_double(0.1, 3), Some(100));
        assert_eq!(from_double(f64::NAN, 3), None);
    }
}
