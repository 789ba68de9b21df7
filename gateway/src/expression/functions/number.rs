//! Functions of numbers.

use super::Function;
use crate::error::{Result, SqlError};
use crate::expression::losses::quoted;
use crate::value::arithmetic::bits;
use crate::value::compare::exact;
use crate::value::format::text;
use crate::value::number::{MAX_DIGITS, power_of_ten, rescale, to_double};
use duet_client::Value;

/// From here on doubles are whole numbers.
const EXACT_DOUBLES: f64 = (1_u64 << 53) as f64;
/// Digits of the greatest base of `CONV`.
const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// A result that may have been too large for a double.
fn finite(number: f64, name: &str, values: &[Value]) -> Result<Value> {
    if number.is_finite() {
        return Ok(Value::Double(number));
    }
    let arguments: Vec<String> = values.iter().map(|value| quoted(&text(value))).collect();
    let shown = arguments.join(",");
    Err(SqlError::arithmetic_overflow(format!("DOUBLE value is out of range in '{name}({shown})'")))
}

/// A logarithm; NULL of what has none.
fn logarithm(number: f64, of: impl Fn(f64) -> f64) -> Value {
    if number > 0.0 { Value::Double(of(number)) } else { Value::Null }
}

/// Calls a function of numbers whose arguments are not NULL; `None` where it is none of them.
pub(super) fn call(function: Function, values: &[Value]) -> Result<Option<Value>> {
    let double = |index: usize| values.get(index).and_then(to_double).unwrap_or(0.0);
    let angle = |number: f64| Value::Double(number);
    Ok(Some(match function {
        Function::Power => finite(double(0).powf(double(1)), "pow", values)?,
        Function::Exponential => finite(double(0).exp(), "exp", values)?,
        Function::SquareRoot if double(0) < 0.0 => Value::Null,
        Function::SquareRoot => Value::Double(double(0).sqrt()),
        Function::NaturalLogarithm => logarithm(double(0), f64::ln),
        Function::Logarithm => match values.len() {
            1 => logarithm(double(0), f64::ln),
            _ if double(0) <= 0.0 || double(0) == 1.0 => Value::Null,
            _ => logarithm(double(1), |number| number.ln() / double(0).ln()),
        },
        Function::Logarithm2 => logarithm(double(0), f64::log2),
        Function::Logarithm10 => logarithm(double(0), f64::log10),
        Function::Sine => angle(double(0).sin()),
        Function::Cosine => angle(double(0).cos()),
        Function::Tangent => finite(double(0).tan(), "tan", values)?,
        Function::Cotangent => finite(1.0 / double(0).tan(), "cot", values)?,
        Function::ArcSine | Function::ArcCosine if double(0).abs() > 1.0 => Value::Null,
        Function::ArcSine => angle(double(0).asin()),
        Function::ArcCosine => angle(double(0).acos()),
        Function::ArcTangent => match values.len() {
            1 => angle(double(0).atan()),
            _ => angle(double(0).atan2(double(1))),
        },
        Function::Pi => Value::Double(std::f64::consts::PI),
        Function::Degrees => finite(double(0).to_degrees(), "degrees", values)?,
        Function::Radians => angle(double(0).to_radians()),
        Function::Truncate => {
            truncated(&values[0], super::whole_double(&values[1]).clamp(-400.0, 400.0) as i32)
        }
        Function::BitCount => Value::Int(i64::from(bits(&values[0]).count_ones())),
        Function::BitNot => Value::UInt(!bits(&values[0])),
        Function::Checksum => {
            let mut bytes = Vec::new();
            crate::value::format::write(&values[0], &mut bytes);
            Value::UInt(u64::from(crc32fast::hash(&bytes)))
        }
        Function::Format => {
            let places = super::whole_double(&values[1]).clamp(0.0, 30.0) as u8;
            let digits = match exact(&values[0]) {
                Some((unscaled, scale)) => {
                    let scale_kept = scale.min(places);
                    let unscaled = rescale(unscaled, scale, scale_kept).unwrap_or(unscaled);
                    text(&Value::Decimal { unscaled, scale: scale_kept })
                }
                None if !double(0).is_finite() => return Ok(Some(Value::Null)),
                // Beyond these there are no digits behind the point, and zeros for those before it that a double does not have.
                None if double(0).abs() >= EXACT_DOUBLES => double(0).to_string(),
                None => {
                    let rounded = rounded(double(0), i32::from(places), f64::round_ties_even);
                    format!("{:.*}", usize::from(places), rounded)
                }
            };
            Value::Text(grouped(&digits, usize::from(places)))
        }
        Function::Convert => {
            let [from, to] = [1, 2].map(|index| super::whole_double(&values[index]) as i64);
            convert(&text(&values[0]), from, to)
        }
        Function::Binary => convert(&text(&values[0]), 10, 2),
        Function::Octal => convert(&text(&values[0]), 10, 8),
        Function::AddressToNumber => address(&text(&values[0])),
        Function::NumberToAddress => match u32::try_from(bits(&values[0])) {
            Ok(number) => Value::Text(std::net::Ipv4Addr::from(number).to_string()),
            Err(_) => Value::Null,
        },
        Function::Random => Value::Double((random_bits()? >> 11) as f64 / (1_u64 << 53) as f64),
        Function::Uuid => {
            let (high, low) = (random_bits()?, random_bits()?);
            // Version 4, variant 1 of RFC 9562.
            let high = high & !0xF000 | 0x4000;
            let low = low & !(0b11 << 62) | 1 << 63;
            Value::Text(format!(
                "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                high >> 32,
                high >> 16 & 0xFFFF,
                high & 0xFFFF,
                low >> 48,
                low & 0xFFFF_FFFF_FFFF
            ))
        }
        Function::SpaceText => {
            let count = super::count(&values[0]);
            match count <= super::MAX_TEXT_BYTES {
                true => Value::Text(" ".repeat(count)),
                false => Value::Null,
            }
        }
        _ => return Ok(None),
    }))
}

/// 64 random bits, from the system for each thread's first ones.
fn random_bits() -> Result<u64> {
    thread_local! {
        /// State of SplitMix64 (Steele, Lea and Flood, 2014); 0 before it is seeded.
        static STATE: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }
    STATE.with(|state| {
        let mut at = state.get();
        if at == 0 {
            let mut seed = [0; 8];
            getrandom::fill(&mut seed)
                .map_err(|error| SqlError::other(format!("no random bits: {error}")))?;
            at = u64::from_ne_bytes(seed);
        }
        at = at.wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(at);
        let mixed = (at ^ at >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        Ok(mixed ^ mixed >> 31)
    })
}

/// A number with so many digits behind the point, fewer than none being zeros before it; `to_whole` rounds or cuts a number without any.
pub(super) fn rounded(number: f64, digits: i32, to_whole: impl Fn(f64) -> f64) -> f64 {
    let power = match digits.unsigned_abs() {
        exact @ 0..=22 => 10_f64.powi(exact as i32),
        // The nearest double, or infinity.
        other => format!("1e{other}").parse().unwrap_or(f64::INFINITY),
    };
    match (digits < 0, number * power) {
        (true, _) if power.is_infinite() => 0.0,
        (true, _) => to_whole(number / power) * power,
        (false, scaled) if scaled.is_finite() && power.is_finite() => to_whole(scaled) / power,
        _ => number,
    }
}

/// The 64 bits of the whole number nearest to a number, halves away from zero; all of them where it is out of range.
pub(super) fn nearest_bits(number: f64) -> u64 {
    if number <= i64::MIN as f64 || number >= u64::MAX as f64 {
        return u64::MAX;
    }
    if number < 0.0 { (number - 0.5) as i64 as u64 } else { (number + 0.5) as u64 }
}

/// `ROUND`.
pub(super) fn round(value: &Value, digits: Option<&Value>) -> Result<Value> {
    let digits = digits.map_or(0, |digits| super::whole_double(digits).clamp(-400.0, 400.0) as i32);
    match value {
        Value::Int(_) | Value::UInt(_) | Value::Bool(_) if digits >= 0 => Ok(value.clone()),
        Value::Decimal { unscaled, scale } if digits >= 0 => {
            let to = u8::try_from(digits).unwrap_or(u8::MAX).min(*scale);
            let rounded = rescale(*unscaled, *scale, to);
            rounded
                .map(|unscaled| Value::Decimal { unscaled, scale: to })
                .ok_or_else(|| SqlError::arithmetic_overflow("DECIMAL value is out of range in 'round'"))
        }
        Value::Int(_) | Value::UInt(_) | Value::Bool(_) | Value::Decimal { .. } => {
            let Some((unscaled, scale)) = exact(value) else { return Ok(Value::Null) };
            // Rounds before the point: as if that many digits were behind it.
            let places = u8::try_from(digits.unsigned_abs()).unwrap_or(u8::MAX);
            let too_large = || SqlError::arithmetic_overflow("DECIMAL value is out of range in 'round'");
            // Of fewer digits than those that go nothing is left.
            let whole = match scale.saturating_add(places) {
                gone if u32::from(gone) > MAX_DIGITS => 0,
                gone => rescale(unscaled, gone, 0).unwrap_or(0),
            };
            let back = match whole {
                0 => 0,
                whole => power_of_ten(places)
                    .and_then(|power| whole.checked_mul(power))
                    .filter(|back| back.unsigned_abs() < 10_u128.pow(MAX_DIGITS))
                    .ok_or_else(too_large)?,
            };
            let exact = Value::Decimal { unscaled: back, scale: 0 };
            Ok(match value {
                Value::Int(_) | Value::Bool(_) => i64::try_from(back).map_or(exact, Value::Int),
                Value::UInt(_) => u64::try_from(back).map_or(exact, Value::UInt),
                _ => exact,
            })
        }
        other => {
            let number = to_double(other).unwrap_or(0.0);
            Ok(Value::Double(rounded(number, digits, f64::round_ties_even)))
        }
    }
}

/// A number without the digits behind a place.
fn truncated(value: &Value, places: i32) -> Value {
    let Some((unscaled, scale)) = exact(value) else {
        let number = to_double(value).unwrap_or(0.0);
        let cut = rounded(number, places, f64::trunc);
        return Value::Double(if cut.is_finite() { cut } else { number });
    };
    if places >= i32::from(scale) {
        return value.clone();
    }
    let kept = u8::try_from(places).unwrap_or(0);
    // Digits that go, of which those before the point become zeros.
    let gone = i32::from(scale) - places;
    let power = u8::try_from(gone).ok().and_then(power_of_ten);
    let whole = power.map_or(0, |power| unscaled / power);
    let back = u8::try_from(-places).ok().and_then(power_of_ten);
    let unscaled = back.map_or(whole, |back| whole * back);
    match value {
        Value::Decimal { .. } => Value::Decimal { unscaled, scale: kept },
        Value::UInt(_) => u64::try_from(unscaled).map_or(Value::Null, Value::UInt),
        _ => i64::try_from(unscaled).map_or(Value::Null, Value::Int),
    }
}

/// The digits of a number with commas before the point, and zeros up to this many digits behind it.
fn grouped(digits: &str, places: usize) -> String {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (sign, whole) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut output = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            output.push(',');
        }
        output.push(digit);
    }
    if places > 0 {
        output.push('.');
        output.push_str(fraction);
        output.extend(std::iter::repeat_n('0', places.saturating_sub(fraction.len())));
    }
    output
}

/// The digits of a number without sign.
fn radix(mut number: u64, base: u64) -> Value {
    let mut digits = Vec::new();
    loop {
        digits.push(DIGITS[(number % base) as usize]);
        number /= base;
        if number == 0 {
            break;
        }
    }
    Value::Text(digits.iter().rev().map(|digit| char::from(*digit)).collect())
}

/// `CONV`: a number in another base; negative bases have a sign.
fn convert(number: &str, from: i64, to: i64) -> Value {
    let is_base = |base: i64| (2..=36).contains(&base.unsigned_abs());
    if !is_base(from) || !is_base(to) || number.is_empty() {
        return Value::Null;
    }
    let number = number.trim();
    let (negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let base = from.unsigned_abs();
    let mut sum = 0_u64;
    for digit in digits.chars() {
        let Some(digit) = digit.to_digit(base as u32) else { break };
        let next = sum.checked_mul(base).and_then(|sum| sum.checked_add(u64::from(digit)));
        let Some(next) = next else {
            sum = u64::MAX;
            break;
        };
        sum = next;
    }
    // Of what is out of range the nearest in range; that of numbers without sign is the greatest, also of negative ones.
    let sum = match negative {
        _ if from < 0 && sum >= 1 << 63 => {
            if negative {
                1 << 63
            } else {
                i64::MAX as u64
            }
        }
        true if sum < u64::MAX => sum.wrapping_neg(),
        _ => sum,
    };
    if to > 0 {
        return radix(sum, to.unsigned_abs());
    }
    let signed = sum as i64;
    match (signed < 0, radix(signed.unsigned_abs(), to.unsigned_abs())) {
        (true, Value::Text(digits)) => Value::Text(format!("-{digits}")),
        (_, digits) => digits,
    }
}

/// `INET_ATON`: also of addresses with fewer than four parts.
fn address(text: &str) -> Value {
    let mut bytes = Vec::new();
    // A fifth part is one too many.
    for part in text.splitn(5, '.') {
        match part.parse::<u8>() {
            Ok(byte) if bytes.len() < 4 && !part.starts_with('+') => bytes.push(byte),
            _ => return Value::Null,
        }
    }
    let Some((last, first)) = bytes.split_last() else { return Value::Null };
    let mut number = u64::from(*last);
    for (index, byte) in first.iter().enumerate() {
        number |= u64::from(*byte) << (24 - 8 * index);
    }
    Value::UInt(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_other_bases() {
        for (number, from, to, expected) in [
            ("-99999999999999999999", 10, 16, "FFFFFFFFFFFFFFFF"),
            ("99999999999999999999", 10, 16, "FFFFFFFFFFFFFFFF"),
            ("-1", 10, 16, "FFFFFFFFFFFFFFFF"),
            ("-99999999999999999999", -10, 16, "8000000000000000"),
            ("99999999999999999999", -10, 16, "7FFFFFFFFFFFFFFF"),
            ("-17", 10, -18, "-H"),
            ("", 10, 16, ""),
        ] {
            assert_eq!(text(&convert(number, from, to)), expected, "{number} {from} {to}");
        }
    }

    #[test]
    fn the_greatest_double_is_cut_to_itself() {
        for places in [-38, -1, 0, 1, 38] {
            let cut = truncated(&Value::Double(f64::MAX), places);
            assert!(matches!(cut, Value::Double(number) if number.is_finite()), "{places} {cut:?}");
        }
    }

    #[test]
    fn addresses_are_digits() {
        assert_eq!(address("1.2.3.4"), Value::UInt(0x0102_0304));
        for wrong in ["+1.2.3.4", "", "1.2.3.4.5", "1.2.3.4.5.6", "256.1.1.1", "1..2"] {
            assert_eq!(address(wrong), Value::Null, "{wrong}");
        }
    }
}
