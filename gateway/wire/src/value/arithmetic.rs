//! Arithmetic: 64-bit integers that refuse to overflow, exact decimals, doubles for everything else. Division of exact
//! numbers has four more digits behind the point than its dividend; by zero it is NULL.

use super::compare::exact;
use super::number::{MAX_SCALE, power_of_ten, rescale, to_double};
use crate::error::{Result, SqlError};
use duet_client::Value;

/// Digits that a quotient has behind the point beyond those of its dividend: `div_precision_increment`.
pub const QUOTIENT_DIGITS: u8 = 4;

/// Operators of arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `DIV`
    IntegerDivide,
    /// `%`
    Modulo,
    /// `&`
    BitAnd,
    /// `|`
    BitOr,
    /// `^`
    BitXor,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
}

impl Operator {
    /// Whether it works on the 64 bits of whole numbers without sign.
    pub fn is_of_bits(self) -> bool {
        matches!(
            self,
            Operator::BitAnd
                | Operator::BitOr
                | Operator::BitXor
                | Operator::ShiftLeft
                | Operator::ShiftRight
        )
    }

    /// As statements have it.
    pub fn sign(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::IntegerDivide => "DIV",
            Operator::Modulo => "%",
            Operator::BitAnd => "&",
            Operator::BitOr => "|",
            Operator::BitXor => "^",
            Operator::ShiftLeft => "<<",
            Operator::ShiftRight => ">>",
        }
    }
}

fn overflow(kind: &str, operator: Operator, a: &Value, b: &Value) -> SqlError {
    let (a, b) = (super::format::text(a), super::format::text(b));
    SqlError::arithmetic_overflow(format!("{kind} value is out of range in '({a} {} {b})'", operator.sign()))
}

fn is_integer(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::UInt(_) | Value::Bool(_))
}

/// The result of an operator.
///
/// # Errors
/// 1690 when it does not fit its type.
pub fn calculate(operator: Operator, a: &Value, b: &Value) -> Result<Value> {
    if *a == Value::Null || *b == Value::Null {
        return Ok(Value::Null);
    }
    if operator.is_of_bits() {
        return Ok(Value::UInt(with_bits(operator, bits(a), bits(b))));
    }
    let (Some((x, x_scale)), Some((y, y_scale))) = (exact(a), exact(b)) else {
        return with_doubles(operator, a, b);
    };
    if is_integer(a) && is_integer(b) && operator != Operator::Divide {
        return with_integers(operator, a, b, x, y);
    }
    let too_large = || overflow("DECIMAL", operator, a, b);
    let scale = x_scale.max(y_scale);
    let aligned = || Some((rescale(x, x_scale, scale)?, rescale(y, y_scale, scale)?));
    let (unscaled, scale) = match operator {
        Operator::Add => (aligned().and_then(|(x, y)| x.checked_add(y)), scale),
        Operator::Subtract => (aligned().and_then(|(x, y)| x.checked_sub(y)), scale),
        Operator::Multiply => {
            let scale = x_scale + y_scale;
            let product = x.checked_mul(y);
            let least = scale.min(MAX_SCALE);
            (product.and_then(|product| rescale(product, scale, least)), least)
        }
        Operator::Divide | Operator::IntegerDivide | Operator::Modulo if y == 0 => return Ok(Value::Null),
        Operator::Divide => {
            let scale = (x_scale + QUOTIENT_DIGITS).min(MAX_SCALE);
            (quotient(x, x_scale, y, y_scale, scale), scale)
        }
        Operator::IntegerDivide => {
            let whole = aligned().map(|(x, y)| x / y).and_then(|whole| i64::try_from(whole).ok());
            return whole.map(Value::Int).ok_or_else(|| overflow("BIGINT", operator, a, b));
        }
        // Those of bits are above.
        _ => (aligned().map(|(x, y)| x % y), scale),
    };
    let unscaled = unscaled.filter(|digits| digits.unsigned_abs() < 10_u128.pow(super::number::MAX_DIGITS));
    Ok(Value::Decimal { unscaled: unscaled.ok_or_else(too_large)?, scale })
}

/// `x / y` with `scale` digits behind the point, rounded half away from zero.
pub fn quotient(x: i128, x_scale: u8, y: i128, y_scale: u8, scale: u8) -> Option<i128> {
    // x/10^xs / (y/10^ys) * 10^scale = x * 10^(scale + ys - xs) / y
    let shift = i32::from(scale) + i32::from(y_scale) - i32::from(x_scale);
    let power = power_of_ten(shift.unsigned_abs() as u8)?;
    let (dividend, divisor) = match shift >= 0 {
        true => (x.checked_mul(power)?, y),
        false => (x, y.checked_mul(power)?),
    };
    let (whole, rest) = (dividend / divisor, dividend % divisor);
    let rounds = rest.unsigned_abs().checked_mul(2)? >= divisor.unsigned_abs();
    Some(whole + if rounds { dividend.signum() * divisor.signum() } else { 0 })
}

/// The same with the digits behind these cut off; `None` where there is no room for so many.
pub fn truncated_quotient(x: i128, x_scale: u8, y: i128, y_scale: u8, scale: u8) -> Option<i128> {
    let shift = i32::from(scale) + i32::from(y_scale) - i32::from(x_scale);
    let power = power_of_ten(u8::try_from(shift.unsigned_abs()).ok()?)?;
    let whole = match shift >= 0 {
        true => x.checked_mul(power)?.checked_div(y)?,
        false => x.checked_div(y.checked_mul(power)?)?,
    };
    (whole.unsigned_abs() < 10_u128.pow(super::number::MAX_DIGITS)).then_some(whole)
}

fn with_integers(operator: Operator, a: &Value, b: &Value, x: i128, y: i128) -> Result<Value> {
    let unsigned = matches!(a, Value::UInt(_)) || matches!(b, Value::UInt(_));
    let result = match operator {
        Operator::Add => x + y,
        Operator::Subtract => x - y,
        Operator::Multiply => match x.checked_mul(y) {
            Some(product) => product,
            None => return Err(overflow("BIGINT", operator, a, b)),
        },
        Operator::Divide | Operator::IntegerDivide | Operator::Modulo if y == 0 => return Ok(Value::Null),
        Operator::Divide | Operator::IntegerDivide => x / y,
        // The sign, and whether there is one, are those of the dividend.
        _ => {
            return Ok(match a {
                Value::UInt(_) => Value::UInt((x % y) as u64),
                _ => Value::Int((x % y) as i64),
            });
        }
    };
    match unsigned {
        true => {
            u64::try_from(result).map(Value::UInt).map_err(|_| overflow("BIGINT UNSIGNED", operator, a, b))
        }
        false => i64::try_from(result).map(Value::Int).map_err(|_| overflow("BIGINT", operator, a, b)),
    }
}

fn with_doubles(operator: Operator, a: &Value, b: &Value) -> Result<Value> {
    let (Some(x), Some(y)) = (to_double(a), to_double(b)) else { return Ok(Value::Null) };
    let result = match operator {
        Operator::Add => x + y,
        Operator::Subtract => x - y,
        Operator::Multiply => x * y,
        Operator::Divide | Operator::IntegerDivide | Operator::Modulo if y == 0.0 => return Ok(Value::Null),
        Operator::Divide => x / y,
        Operator::IntegerDivide => {
            let whole = (x / y).trunc();
            // Beyond this a double is no exact integer of 64 bits.
            if whole.abs() >= 9.2e18 {
                return Err(overflow("BIGINT", operator, a, b));
            }
            return Ok(Value::Int(whole as i64));
        }
        _ => x % y,
    };
    if result.is_finite() { Ok(Value::Double(result)) } else { Err(overflow("DOUBLE", operator, a, b)) }
}

/// The 64 bits of a number: of one with a fraction those of the nearest whole number, of one out of range those of the nearest in range.
pub fn bits(value: &Value) -> u64 {
    let of_text = if let Value::Text(text) = value { super::number::integer(text) } else { None };
    let whole = match (of_text, exact(value)) {
        (Some(whole), _) => whole,
        (None, Some((unscaled, scale))) => rescale(unscaled, scale, 0).unwrap_or(i128::MAX),
        (None, None) => to_double(value).unwrap_or(0.0).round_ties_even() as i128,
    };
    match u64::try_from(whole) {
        Ok(number) => number,
        Err(_) if whole > 0 => u64::MAX,
        Err(_) => i64::try_from(whole).unwrap_or(i64::MIN) as u64,
    }
}

fn with_bits(operator: Operator, a: u64, b: u64) -> u64 {
    let shift = u32::try_from(b).unwrap_or(u32::MAX);
    match operator {
        Operator::BitAnd => a & b,
        Operator::BitOr => a | b,
        Operator::BitXor => a ^ b,
        Operator::ShiftLeft => a.checked_shl(shift).unwrap_or(0),
        _ => a.checked_shr(shift).unwrap_or(0),
    }
}

/// A value with the other sign.
///
/// # Errors
/// 1690 when it does not fit its type.
pub fn negate(value: &Value) -> Result<Value> {
    match value {
        Value::UInt(number) => match 0_i64.checked_sub_unsigned(*number) {
            Some(negative) => Ok(Value::Int(negative)),
            None => Err(overflow("BIGINT", Operator::Subtract, &Value::Int(0), value)),
        },
        Value::Double(number) => Ok(Value::Double(-number)),
        Value::Float(number) => Ok(Value::Double(-f64::from(*number))),
        other => calculate(Operator::Subtract, &Value::Int(0), other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_that_of_mysql() {
        let int = Value::Int;
        let decimal = |unscaled, scale| Value::Decimal { unscaled, scale };
        for (operator, a, b, expected) in [
            (Operator::Divide, int(7), int(2), decimal(35_000, 4)),
            (Operator::Divide, int(-2), int(3), decimal(-6_667, 4)),
            (Operator::Divide, int(1), int(0), Value::Null),
            (Operator::IntegerDivide, int(7), int(2), int(3)),
            (Operator::Modulo, int(-7), int(2), int(-1)),
            (Operator::Add, decimal(15, 1), int(1), decimal(25, 1)),
            (Operator::Multiply, decimal(15, 1), decimal(15, 1), decimal(225, 2)),
            (Operator::Add, Value::Text("1x".to_owned()), int(1), Value::Double(2.0)),
            (Operator::Add, Value::Null, int(1), Value::Null),
            (Operator::Add, Value::UInt(u64::MAX), int(-1), Value::UInt(u64::MAX - 1)),
        ] {
            assert_eq!(calculate(operator, &a, &b).expect("fits"), expected, "{a:?} {b:?}");
        }
        for (operator, a, b) in [
            (Operator::Add, int(i64::MAX), int(1)),
            (Operator::Subtract, Value::UInt(0), int(1)),
            (Operator::Multiply, int(i64::MAX), int(2)),
            (Operator::Multiply, Value::Double(1e300), Value::Double(1e300)),
        ] {
            assert_eq!(calculate(operator, &a, &b).expect_err("overflows").code, 1690);
        }
    }

    #[test]
    fn bits_of_text_are_those_of_its_digits() {
        let text = |content: &str| Value::Text(content.to_owned());
        assert_eq!(bits(&text("9007199254740993")), 9_007_199_254_740_993);
        assert_eq!(bits(&text("18446744073709551615")), u64::MAX);
        assert_eq!(bits(&text("99999999999999999999")), u64::MAX);
        assert_eq!(bits(&text("-1")), u64::MAX);
        assert_eq!(bits(&text("1.7")), 2);
        assert_eq!(bits(&text("7x")), 7);
    }
}
