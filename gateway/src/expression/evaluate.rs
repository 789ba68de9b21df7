//! Values of expressions.

use super::losses::Losses;
use super::{Comparison, Expression, functions};
use crate::error::{Result, SqlError};
use crate::value::arithmetic::{calculate, negate};
use crate::value::compare::{compare, truth};
use crate::value::{format, store};
use duet_client::{Column, Value};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What expressions see of their session.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Microseconds since 1970 when the statement began.
    pub now: i64,
    /// `user@host`.
    pub user: String,
    /// The database that is chosen.
    pub database: Option<String>,
    /// Number of the connection.
    pub connection: u32,
    /// `LAST_INSERT_ID()`.
    pub last_insert_id: u64,
    /// `ROW_COUNT()`.
    pub row_count: i64,
    /// `FOUND_ROWS()`.
    pub found_rows: u64,
    /// Values of `@@name`.
    pub variables: crate::variables::Variables,
    /// Values of `@name`.
    pub user_variables: BTreeMap<String, Value>,
    /// What the statement's conversions have lost.
    pub losses: Losses,
}

/// What an expression is evaluated with.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// Values of the columns.
    pub row: &'a [Value],
    /// Values of the parameters.
    pub parameters: &'a [Value],
    /// Results of the aggregates.
    pub aggregates: &'a [Value],
    /// The row that INSERT would have written.
    pub proposed: &'a [Value],
    /// The session.
    pub facts: &'a Facts,
}

impl<'a> Environment<'a> {
    /// Without a row.
    pub fn new(parameters: &'a [Value], facts: &'a Facts) -> Environment<'a> {
        Environment { row: &[], parameters, aggregates: &[], proposed: &[], facts }
    }

    /// With this row.
    #[must_use]
    pub fn with_row(self, row: &'a [Value]) -> Environment<'a> {
        Environment { row, ..self }
    }
}

fn boolean(truth: Option<bool>) -> Value {
    truth.map_or(Value::Null, |truth| Value::Int(i64::from(truth)))
}

fn missing() -> SqlError {
    SqlError::other("the statement refers to a value that is not there")
}

impl Expression {
    /// The value.
    ///
    /// # Errors
    /// Overflow, and what cannot be compared or converted.
    pub fn evaluate(&self, environment: &Environment<'_>) -> Result<Value> {
        let value = |part: &Expression| part.evaluate(environment);
        let at = |values: &[Value], index: usize| values.get(index).cloned().ok_or_else(missing);
        Ok(match self {
            Expression::Constant(constant) => constant.clone(),
            Expression::Parameter(index) => at(environment.parameters, *index)?,
            Expression::Column(index) => at(environment.row, *index)?,
            Expression::Proposed(index) => at(environment.proposed, *index)?,
            Expression::Aggregate(index) => at(environment.aggregates, *index)?,
            Expression::SystemVariable(name) => environment.facts.variables.get(name)?,
            Expression::UserVariable(name) => {
                environment.facts.user_variables.get(name).cloned().unwrap_or(Value::Null)
            }
            Expression::Arithmetic(operator, a, b) => {
                let (a, b) = (value(a)?, value(b)?);
                let result = calculate(*operator, &a, &b)?;
                environment.facts.losses.of_arithmetic(*operator, &a, &b, &result)?;
                result
            }
            Expression::Negate(a) => match value(a)? {
                Value::Null => Value::Null,
                number => {
                    environment.facts.losses.of_number(&number, "DOUBLE")?;
                    negate(&number)?
                }
            },
            Expression::And(..)
            | Expression::Or(..)
            | Expression::Xor(..)
            | Expression::Not(_)
            | Expression::IsNull(_)
            | Expression::IsTruth(..)
            | Expression::Compare(..)
            | Expression::In(..)
            | Expression::Like(..) => boolean(self.truth(environment)?),
            Expression::Tuple(_) => {
                return Err(SqlError::operand_columns("Operand should contain 1 column(s)"));
            }
            Expression::Case(cases, otherwise) => {
                for (condition, result) in cases {
                    if condition.truth(environment)? == Some(true) {
                        return value(result);
                    }
                }
                value(otherwise)?
            }
            Expression::Call(function, arguments) => functions::call(*function, arguments, environment)?,
            Expression::Cast(inner, column_type) => match value(inner)? {
                Value::Null => Value::Null,
                inner => {
                    let result = cast(&inner, *column_type, &environment.facts.losses)?;
                    environment.facts.losses.of_cast(&inner, *column_type, &result)?;
                    result
                }
            },
        })
    }

    /// Whether it is true; `None` for NULL.
    ///
    /// # Errors
    /// As [`Expression::evaluate`].
    pub fn truth(&self, environment: &Environment<'_>) -> Result<Option<bool>> {
        Ok(match self {
            Expression::And(a, b) => match a.truth(environment)? {
                Some(false) => Some(false),
                first => match (first, b.truth(environment)?) {
                    (_, Some(false)) => Some(false),
                    (Some(true), second) => second,
                    _ => None,
                },
            },
            Expression::Or(a, b) => match a.truth(environment)? {
                Some(true) => Some(true),
                first => match (first, b.truth(environment)?) {
                    (_, Some(true)) => Some(true),
                    (Some(false), second) => second,
                    _ => None,
                },
            },
            Expression::Xor(a, b) => match (a.truth(environment)?, b.truth(environment)?) {
                (Some(a), Some(b)) => Some(a != b),
                _ => None,
            },
            Expression::Not(a) => a.truth(environment)?.map(|truth| !truth),
            Expression::IsNull(a) => Some(a.evaluate(environment)? == Value::Null),
            Expression::IsTruth(a, wanted) => Some(a.truth(environment)? == Some(*wanted)),
            Expression::Compare(comparison, a, b) => compared(*comparison, a, b, environment)?,
            Expression::In(a, list) => {
                let mut result = Some(false);
                for item in list {
                    match compared(Comparison::Equal, a, item, environment)? {
                        Some(true) => return Ok(Some(true)),
                        Some(false) => {}
                        None => result = None,
                    }
                }
                result
            }
            Expression::Like(a, pattern, escape) => {
                match (a.evaluate(environment)?, pattern.evaluate(environment)?) {
                    (Value::Null, _) | (_, Value::Null) => None,
                    (a, pattern) => Some(like(&format::text(&a), &format::text(&pattern), *escape)),
                }
            }
            other => {
                let value = other.evaluate(environment)?;
                environment.facts.losses.of_number(&value, "DOUBLE")?;
                truth(&value)
            }
        })
    }
}

fn compared(
    comparison: Comparison,
    a: &Expression,
    b: &Expression,
    environment: &Environment<'_>,
) -> Result<Option<bool>> {
    match (a, b) {
        (Expression::Tuple(a), Expression::Tuple(b)) => compared_tuples(comparison, a, b, environment),
        _ => {
            let (a, b) = (a.evaluate(environment)?, b.evaluate(environment)?);
            if comparison == Comparison::NullSafeEqual && (a == Value::Null || b == Value::Null) {
                return Ok(Some(a == b));
            }
            environment.facts.losses.of_comparison(&a, &b)?;
            Ok(compare(&a, &b)?.map(|order| comparison.holds(order)))
        }
    }
}

fn compared_tuples(
    comparison: Comparison,
    a: &[Expression],
    b: &[Expression],
    environment: &Environment<'_>,
) -> Result<Option<bool>> {
    if a.len() != b.len() {
        return Err(SqlError::operand_columns(format!("Operand should contain {} column(s)", a.len())));
    }
    match comparison {
        Comparison::Equal | Comparison::NullSafeEqual | Comparison::NotEqual => {
            let each = match comparison {
                Comparison::NotEqual => Comparison::Equal,
                same => same,
            };
            let mut equal = Some(true);
            for (a, b) in a.iter().zip(b) {
                match compared(each, a, b, environment)? {
                    Some(false) => {
                        equal = Some(false);
                        break;
                    }
                    Some(true) => {}
                    None => equal = None,
                }
            }
            Ok(equal.map(|equal| equal == (comparison != Comparison::NotEqual)))
        }
        _ => {
            for (a, b) in a.iter().zip(b) {
                match compare(&a.evaluate(environment)?, &b.evaluate(environment)?)? {
                    None => return Ok(None),
                    Some(Ordering::Equal) => {}
                    Some(order) => return Ok(Some(comparison.holds(order))),
                }
            }
            Ok(Some(comparison.holds(Ordering::Equal)))
        }
    }
}

/// Whether a text matches a pattern of `%` and `_`, without recursion: at most one place to go back to.
fn like(text: &str, pattern: &str, escape: char) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        Any,
        One,
        Is(char),
    }
    let mut marks = Vec::new();
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        marks.push(match character {
            '%' => Mark::Any,
            '_' => Mark::One,
            character if character == escape => Mark::Is(characters.next().unwrap_or(escape)),
            character => Mark::Is(character),
        });
    }
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut mark) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while at < text.len() {
        match marks.get(mark) {
            Some(Mark::Any) => {
                back = Some((mark, at));
                mark += 1;
                continue;
            }
            Some(Mark::One) => {
                at += 1;
                mark += 1;
                continue;
            }
            Some(Mark::Is(character)) if *character == text[at] => {
                at += 1;
                mark += 1;
                continue;
            }
            _ => {}
        }
        let Some((any, from)) = back else { return false };
        back = Some((any, from + 1));
        at = from + 1;
        mark = any + 1;
    }
    marks[mark..].iter().all(|mark| *mark == Mark::Any)
}

/// A value as another type, as CAST does: what does not fit is cut, which is told where the nearest value that does is another one.
fn cast(value: &Value, column_type: duet_client::ColumnType, losses: &Losses) -> Result<Value> {
    use crate::value::calendar::{MAX_TIME, parse_long_time};
    use crate::value::number::prefix_double;
    use duet_client::ColumnType;
    let column = Column::new("CAST", column_type).nullable();
    let fitted = match (column_type, value) {
        (ColumnType::BigInt | ColumnType::BigIntUnsigned, Value::Text(_) | Value::Bytes(_)) => {
            let text = format::text(value);
            let digits = text.trim_start();
            let sign = usize::from(digits.starts_with(['-', '+']));
            let end = digits[sign..].bytes().take_while(u8::is_ascii_digit).count() + sign;
            let number: i128 = digits[..end].parse().unwrap_or(0);
            let number = match column_type {
                ColumnType::BigInt => number.clamp(i128::from(i64::MIN), i128::from(i64::MAX)),
                _ => number.clamp(i128::from(i64::MIN), i128::from(u64::MAX)),
            };
            Ok(store::integer_value(column_type, wrapped(number, column_type)))
        }
        // The bits stay.
        (
            ColumnType::BigInt | ColumnType::BigIntUnsigned,
            Value::Int(_) | Value::UInt(_) | Value::Bool(_),
        ) => {
            let number = crate::value::compare::exact(value).map_or(0, |(number, _)| number);
            Ok(store::integer_value(column_type, wrapped(number, column_type)))
        }
        (ColumnType::Double | ColumnType::Float, Value::Text(text)) => {
            Ok(Value::Double(prefix_double(text).0))
        }
        (ColumnType::Decimal { .. }, Value::Text(text)) => {
            let number = crate::value::number::decimal(text);
            store::fit(number.unwrap_or_else(|| Value::Double(prefix_double(text).0)), &column, 1)
        }
        (ColumnType::Char { characters } | ColumnType::Varchar { characters }, _) => {
            let text: String = format::text(value).chars().take(characters as usize).collect();
            return Ok(Value::Text(text));
        }
        (ColumnType::Varbinary { bytes } | ColumnType::Binary { bytes }, _) => {
            let mut content = Vec::new();
            format::write(value, &mut content);
            content.truncate(bytes as usize);
            if let ColumnType::Binary { .. } = column_type {
                content.resize(bytes as usize, 0);
            }
            return Ok(Value::Bytes(content));
        }
        _ => store::fit(value.clone(), &column, 1),
    };
    // Text that is no date is NULL, with a warning in MySQL.
    match fitted {
        Err(error) if error.code == 1292 => {
            let given = format::text(value);
            match parse_long_time(&given).filter(|_| column_type == ColumnType::Time) {
                Some(time) => {
                    losses.tell(|| super::losses::truncated("time", &given))?;
                    Ok(Value::Time(time.clamp(-MAX_TIME, MAX_TIME)))
                }
                None => Ok(Value::Null),
            }
        }
        Err(error) if error.code == 1264 => match nearest(value, column_type) {
            Some(nearest) => {
                losses.tell(|| error)?;
                Ok(nearest)
            }
            None => Err(error),
        },
        other => other,
    }
}

/// The value of a type of exact numbers that is nearest to one beyond all of them.
fn nearest(value: &Value, column_type: duet_client::ColumnType) -> Option<Value> {
    let is_negative = crate::value::number::to_double(value)? < 0.0;
    match column_type {
        duet_client::ColumnType::Decimal { precision, scale } => {
            let most = crate::value::number::power_of_ten(precision)? - 1;
            Some(Value::Decimal { unscaled: if is_negative { -most } else { most }, scale })
        }
        _ => {
            let (least, greatest) = store::integer_range(column_type)?;
            Some(store::integer_value(column_type, if is_negative { least } else { greatest }))
        }
    }
}

fn wrapped(number: i128, column_type: duet_client::ColumnType) -> i128 {
    match column_type {
        duet_client::ColumnType::BigInt => i128::from(number as i64),
        _ => i128::from(number as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duet_client::ColumnType;

    #[test]
    fn what_does_not_fit_is_cut() {
        let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
        let text = |content: &str| Value::Text(content.to_owned());
        for (value, column_type, expected, code) in [
            (text("abc"), ColumnType::Binary { bytes: 2 }, Value::Bytes(b"ab".to_vec()), 1_292),
            (Value::Int(1_000), decimal(3, 1), Value::Decimal { unscaled: 999, scale: 1 }, 1_264),
            (Value::Double(-1e30), decimal(3, 1), Value::Decimal { unscaled: -999, scale: 1 }, 1_264),
            (text("1e400"), decimal(10, 2), Value::Decimal { unscaled: 9_999_999_999, scale: 2 }, 1_264),
            (Value::Double(1e20), ColumnType::BigInt, Value::Int(i64::MAX), 1_264),
            (Value::Decimal { unscaled: -15, scale: 1 }, ColumnType::BigIntUnsigned, Value::UInt(0), 1_264),
            (text("900:00:00"), ColumnType::Time, Value::Time(3_020_399_000_000), 1_292),
            (text("9999-12-31 23:59:59.9999999"), ColumnType::DateTime, Value::Null, 1_292),
        ] {
            let cast = Expression::Cast(Box::new(Expression::Constant(value.clone())), column_type);
            let mut facts = Facts::default();
            facts.losses.begin(false);
            let result = cast.evaluate(&Environment::new(&[], &facts)).expect("cut");
            assert_eq!(result, expected, "{value:?} {column_type:?}");
            let told: Vec<u16> = facts.losses.take().iter().map(|told| told.error.code).collect();
            assert_eq!(told, [code], "{value:?} {column_type:?}");
            facts.losses.begin(true);
            let refused = cast.evaluate(&Environment::new(&[], &facts));
            assert_eq!(refused.expect_err("strict").code, code, "{value:?} {column_type:?}");
        }
    }

    #[test]
    fn patterns_match() {
        for (text, pattern, expected) in [
            ("abc", "abc", true),
            ("abc", "a%", true),
            ("abc", "%c", true),
            ("abc", "a_c", true),
            ("abc", "a_", false),
            ("", "%", true),
            ("a%c", "a\\%c", true),
            ("abc", "a\\%c", false),
            ("mississippi", "%iss%ip%", true),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaab", "%a%a%a%a%a%c", false),
            ("é", "_", true),
        ] {
            assert_eq!(like(text, pattern, '\\'), expected, "{text} {pattern}");
        }
    }
}
