//! Exact numbers with more digits than they are shown with: quotients. `2 / 3` is shown as 0.6667, and `2 / 3 * 100` as 66.6667.
//!
//! MySQL divides decimals by words of nine digits (`do_div_mod` of its `decimal.c`): a quotient has all digits of the words that hold the
//! four it gets behind the point, and arithmetic goes on with these. They are cut off, not rounded. What shows a value, compares it or
//! makes a text of it takes the digits of its type; what takes a number, as ROUND and columns do, takes all.

use super::{Environment, Expression, Function};
use crate::error::Result;
use crate::value::arithmetic::{Operator, QUOTIENT_DIGITS, calculate, negate, truncated_quotient};
use crate::value::compare::exact;
use crate::value::number::{MAX_SCALE, rescale};
use duet_client::{Column, ColumnType, Value};

/// Digits of a word.
const WORD: u8 = 9;

/// A value with all its digits.
#[derive(Clone, Debug)]
pub struct Precise {
    /// The value.
    pub value: Value,
    /// Digits behind the point that it is shown with, where it has more.
    shown: Option<u8>,
}

impl From<Value> for Precise {
    fn from(value: Value) -> Precise {
        Precise { value, shown: None }
    }
}

impl Precise {
    /// The value as it is shown.
    pub fn shown(self) -> Value {
        match (self.shown, &self.value) {
            (Some(digits), Value::Decimal { unscaled, scale }) if digits < *scale => {
                let unscaled = rescale(*unscaled, *scale, digits).unwrap_or(*unscaled);
                Value::Decimal { unscaled, scale: digits }
            }
            _ => self.value,
        }
    }
}

/// Digits behind the point that fill their last word.
fn whole_words(digits: u8) -> u8 {
    digits.div_ceil(WORD) * WORD
}

/// The result of an operator with all its digits; with those that are shown where there is no room for more.
fn calculated(operator: Operator, a: &Precise, b: &Precise) -> Result<Precise> {
    let (Some((x, x_scale)), Some((y, y_scale))) = (exact(&a.value), exact(&b.value)) else {
        return calculate(operator, &a.value, &b.value).map(Precise::from);
    };
    let (x_shown, y_shown) = (a.shown.unwrap_or(x_scale), b.shown.unwrap_or(y_scale));
    if operator == Operator::Divide && y != 0 {
        let shown = (x_shown + QUOTIENT_DIGITS).min(MAX_SCALE);
        let (x_words, y_words) = (whole_words(x_scale), whole_words(y_scale));
        let more = QUOTIENT_DIGITS.saturating_sub(x_words - x_scale + y_words - y_scale);
        let mut digits = whole_words(x_words + y_words + more).min(MAX_SCALE);
        while digits >= shown {
            if let Some(unscaled) = truncated_quotient(x, x_scale, y, y_scale, digits) {
                return Ok(Precise { value: Value::Decimal { unscaled, scale: digits }, shown: Some(shown) });
            }
            digits = digits.saturating_sub(WORD);
        }
    }
    let is_whole = operator.is_of_bits() || operator == Operator::IntegerDivide;
    if a.shown.or(b.shown).is_none() || is_whole {
        return calculate(operator, &a.value, &b.value).map(Precise::from);
    }
    match calculate(operator, &a.value, &b.value) {
        Ok(value) => {
            let shown = match operator {
                Operator::Multiply => x_shown + y_shown,
                Operator::Divide => x_shown + QUOTIENT_DIGITS,
                _ => x_shown.max(y_shown),
            };
            Ok(Precise { value, shown: Some(shown.min(MAX_SCALE)) })
        }
        // With fewer digits it may fit.
        Err(_) => calculate(operator, &a.clone().shown(), &b.clone().shown()).map(Precise::from),
    }
}

impl Expression {
    /// The value, with all the digits that it has for what goes on with it.
    ///
    /// # Errors
    /// As [`Expression::evaluate`].
    pub fn precisely(&self, environment: &Environment<'_>) -> Result<Precise> {
        let losses = &environment.facts.losses;
        match self {
            Expression::Arithmetic(operator, a, b) => {
                let (a, b) = (a.precisely(environment)?, b.precisely(environment)?);
                let result = calculated(*operator, &a, &b)?;
                losses.of_arithmetic(*operator, &a.value, &b.value, &result.value)?;
                Ok(result)
            }
            Expression::Negate(a) => {
                let number = a.precisely(environment)?;
                if number.value == Value::Null {
                    return Ok(number);
                }
                losses.of_number(&number.value, "DOUBLE")?;
                Ok(Precise { value: negate(&number.value)?, ..number })
            }
            Expression::Case(cases, otherwise) => {
                for (condition, result) in cases {
                    if condition.truth(environment)? == Some(true) {
                        return result.precisely(environment);
                    }
                }
                otherwise.precisely(environment)
            }
            Expression::Call(Function::Coalesce, arguments) => {
                for argument in arguments {
                    let value = argument.precisely(environment)?;
                    if value.value != Value::Null {
                        return Ok(value);
                    }
                }
                Ok(Value::Null.into())
            }
            Expression::Call(Function::If, arguments) => {
                let [condition, yes, no] = arguments.as_slice() else { return Ok(Value::Null.into()) };
                let chosen = if condition.truth(environment)? == Some(true) { yes } else { no };
                chosen.precisely(environment)
            }
            other => other.evaluate(environment).map(Precise::from),
        }
    }

    /// The value for a column of this type, which takes all digits of a number and a text as it is shown.
    ///
    /// # Errors
    /// As [`Expression::evaluate`].
    pub fn evaluate_for(&self, column_type: ColumnType, environment: &Environment<'_>) -> Result<Value> {
        let takes_all = crate::value::store::integer_range(column_type).is_some()
            || matches!(column_type, ColumnType::Decimal { .. } | ColumnType::Float | ColumnType::Double);
        match takes_all {
            true => Ok(self.precisely(environment)?.value),
            false => self.evaluate(environment),
        }
    }

    /// The value as a column has it; `row` is the number of the row in the statement, from 1.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], and those of values that do not fit.
    pub fn fitted(&self, column: &Column, environment: &Environment<'_>, row: usize) -> Result<Value> {
        let value = self.evaluate_for(column.column_type, environment)?;
        environment.facts.losses.fit(value, column, row)
    }

    /// Whether it gives all digits of its parts on: [`Expression::precisely`] knows more of it than its value.
    pub fn is_precise(&self) -> bool {
        matches!(
            self,
            Expression::Arithmetic(..)
                | Expression::Negate(_)
                | Expression::Case(..)
                | Expression::Call(Function::Coalesce | Function::If, _)
        )
    }

    /// Whether there is a quotient in it, whose digits are more than its type says.
    pub fn has_quotient(&self) -> bool {
        let mut found = false;
        self.walk(&mut |part| found |= matches!(part, Expression::Arithmetic(Operator::Divide, ..)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::Facts;

    fn number(text: &str) -> Box<Expression> {
        let value = match text.parse::<i64>() {
            Ok(whole) => Value::Int(whole),
            Err(_) => crate::value::number::decimal(text).expect("a decimal"),
        };
        Box::new(Expression::Constant(value))
    }

    fn of(operator: Operator, a: Box<Expression>, b: Box<Expression>) -> Box<Expression> {
        Box::new(Expression::Arithmetic(operator, a, b))
    }

    /// As MariaDB 10.11 says.
    #[test]
    fn quotients_keep_their_digits() {
        use Operator::{Divide, Multiply, Subtract};
        let facts = Facts::default();
        let none = Environment::new(&[], &facts);
        let quotient = |a, b| of(Divide, number(a), number(b));
        for (expression, shown, all) in [
            (quotient("1", "3"), "0.3333", "0.333333333"),
            (quotient("2", "3"), "0.6667", "0.666666666"),
            (of(Multiply, quotient("1", "3"), number("3")), "1.0000", "0.999999999"),
            (of(Multiply, quotient("2", "3"), number("100")), "66.6667", "66.666666600"),
            (quotient("2.00000", "3"), "0.666666666", "0.666666666"),
            (quotient("2.000000", "3"), "0.6666666667", "0.666666666666666666"),
            (quotient("2.000", "3.00"), "0.6666667", "0.666666666666666666"),
            (
                of(Divide, quotient("10.00", "3"), quotient("1", "3")),
                "10.0000000090",
                "10.000000009000000009",
            ),
            (of(Subtract, quotient("1", "3"), number("0.00000")), "0.33333", "0.333333333"),
            (quotient("123456789012345678901234567890", "7"), "17636684144620811271604938270.0000", ""),
            (
                quotient("999999999999999999999999999999999", "3"),
                "333333333333333333333333333333333.0000",
                "",
            ),
            (Box::new(Expression::Negate(quotient("1", "3"))), "-0.3333", "-0.333333333"),
        ] {
            let text = |value: &Value| crate::value::format::text(value);
            let value = expression.evaluate(&none).expect(shown);
            assert!(text(&value).starts_with(shown), "{} {shown}", text(&value));
            let precise = text(&expression.precisely(&none).expect(shown).value);
            assert!(precise.starts_with(all), "{precise} {all}");
        }
    }
}
