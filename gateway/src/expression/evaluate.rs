//! Values of expressions.

use super::losses::Losses;
use super::{Comparison, Expression, Function, functions};
use crate::error::{Result, SqlError};
use crate::value::compare::{compare, truth};
use crate::value::{format, store};
use duet_client::{Column, Value};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Characters that one LIKE compares at most while it looks for a part with `_`.
const MOST_LOOKS: usize = 100_000_000;

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
    pub last_insert_id: super::LastInsertId,
    /// `ROW_COUNT()`.
    pub row_count: i64,
    /// `FOUND_ROWS()`.
    pub found_rows: u64,
    /// Values of `@@name`.
    pub variables: crate::variables::Variables,
    /// Values of `@name`.
    pub user_variables: BTreeMap<String, Value>,
    /// Most rows of a SELECT that does not say so itself.
    pub select_limit: Option<u64>,
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
            // See `Expression::is_precise`.
            Expression::Arithmetic(..)
            | Expression::Negate(_)
            | Expression::Case(..)
            | Expression::Call(Function::Coalesce | Function::If, _) => self.precisely(environment)?.shown(),
            Expression::And(..)
            | Expression::Or(..)
            | Expression::Xor(..)
            | Expression::Not(_)
            | Expression::IsNull(_)
            | Expression::IsTruth(..)
            | Expression::Compare(..)
            | Expression::In(..)
            | Expression::InSet(..)
            | Expression::Like(..) => boolean(self.truth(environment)?),
            Expression::Tuple(_) => {
                return Err(SqlError::operand_columns("Operand should contain 1 column(s)"));
            }
            Expression::Call(function, arguments) => functions::call(*function, arguments, environment)?,
            Expression::Cast(inner, column_type) => match inner.evaluate_for(*column_type, environment)? {
                Value::Null => Value::Null,
                inner => {
                    let result = cast(&inner, *column_type, &environment.facts.losses)?;
                    environment.facts.losses.of_cast(&inner, *column_type, &result)?;
                    result
                }
            },
        })
    }

    /// The value, which is not copied where it lies somewhere.
    fn borrowed<'a>(&'a self, environment: &Environment<'a>) -> Result<Cow<'a, Value>> {
        match self {
            Expression::Constant(constant) => Ok(Cow::Borrowed(constant)),
            Expression::Parameter(index) => {
                environment.parameters.get(*index).map(Cow::Borrowed).ok_or_else(missing)
            }
            Expression::Column(index) => environment.row.get(*index).map(Cow::Borrowed).ok_or_else(missing),
            other => other.evaluate(environment).map(Cow::Owned),
        }
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
                // Once for all items: it may be long, or random.
                let a = match a.as_ref() {
                    Expression::Tuple(parts) => {
                        let constant =
                            |part: &Expression| part.evaluate(environment).map(Expression::Constant);
                        Expression::Tuple(parts.iter().map(constant).collect::<Result<_>>()?)
                    }
                    single => Expression::Constant(single.evaluate(environment)?),
                };
                for item in list {
                    match compared(Comparison::Equal, &a, item, environment)? {
                        Some(true) => return Ok(Some(true)),
                        Some(false) => {}
                        None => result = None,
                    }
                }
                result
            }
            Expression::InSet(a, set) => {
                let value = a.borrowed(environment)?;
                if let Some(found) = set.find(&value, &environment.facts.losses)? {
                    return Ok(found);
                }
                let mut result = set.otherwise();
                for item in set.values() {
                    match compared_values(Comparison::Equal, &value, item, environment)? {
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
                    (a, pattern) => Some(like(&format::text(&a), &format::text(&pattern), *escape)?),
                }
            }
            other => {
                let value = other.precisely(environment)?.value;
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
        _ => compared_values(comparison, &*a.borrowed(environment)?, &*b.borrowed(environment)?, environment),
    }
}

fn compared_values(
    comparison: Comparison,
    a: &Value,
    b: &Value,
    environment: &Environment<'_>,
) -> Result<Option<bool>> {
    if comparison == Comparison::NullSafeEqual && (*a == Value::Null || *b == Value::Null) {
        return Ok(Some(a == b));
    }
    environment.facts.losses.of_comparison(a, b)?;
    Ok(compare(a, b)?.map(|order| comparison.holds(order)))
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
                match compare(&*a.borrowed(environment)?, &*b.borrowed(environment)?)? {
                    None => return Ok(None),
                    Some(Ordering::Equal) => {}
                    Some(order) => return Ok(Some(comparison.holds(order))),
                }
            }
            Ok(Some(comparison.holds(Ordering::Equal)))
        }
    }
}

/// Whether a text matches a pattern of `%` and `_`. What lies between two `%` is looked for from where the one before was found, and never
/// again before that: in time that grows with the text, times the length of the part for parts with `_`.
fn like(text: &str, pattern: &str, escape: char) -> Result<bool> {
    let mut parts = vec![Vec::new()];
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let mark = match character {
            '%' => {
                parts.push(Vec::new());
                continue;
            }
            '_' => None,
            character if character == escape => Some(characters.next().unwrap_or(escape)),
            character => Some(character),
        };
        if let Some(part) = parts.last_mut() {
            part.push(mark);
        }
    }
    let Some((first, others)) = parts.split_first() else { return Ok(text.is_empty()) };
    let Some(mut rest) = behind(text, first) else { return Ok(false) };
    let Some((last, between)) = others.split_last() else { return Ok(rest.is_empty()) };
    let mut looks = MOST_LOOKS;
    for part in between.iter().filter(|part| !part.is_empty()) {
        match found(rest, part, &mut looks)? {
            Some(further) => rest = further,
            None => return Ok(false),
        }
    }
    let start = match last.len() {
        0 => return Ok(true),
        length => rest.char_indices().rev().nth(length - 1).map(|(at, _)| at),
    };
    Ok(start.is_some_and(|start| behind(&rest[start..], last).is_some_and(str::is_empty)))
}

/// What is behind a part of a pattern without `%` that a text begins with; a mark that is `None` is any character.
fn behind<'t>(text: &'t str, part: &[Option<char>]) -> Option<&'t str> {
    let mut characters = text.chars();
    for mark in part {
        let character = characters.next()?;
        if mark.is_some_and(|wanted| wanted != character) {
            return None;
        }
    }
    Some(characters.as_str())
}

/// What is behind the first place where a part of a pattern is.
fn found<'t>(text: &'t str, part: &[Option<char>], looks: &mut usize) -> Result<Option<&'t str>> {
    if let Some(fixed) = part.iter().copied().collect::<Option<String>>() {
        return Ok(text.find(&fixed).map(|at| &text[at + fixed.len()..]));
    }
    let mut rest = text;
    loop {
        if let Some(behind) = behind(rest, part) {
            return Ok(Some(behind));
        }
        let mut characters = rest.chars();
        if characters.next().is_none() {
            return Ok(None);
        }
        rest = characters.as_str();
        let Some(left) = looks.checked_sub(part.len()) else {
            let message =
                "Timeout exceeded in pattern match: many characters are compared with many places of '_'";
            return Err(SqlError { code: 3_699, state: "HY000", message: message.to_owned() });
        };
        *looks = left;
    }
}

/// A value as another type, as CAST does: what does not fit is cut, which is told where the nearest value that does is another one.
/// What a document says that is not an object or an array.
fn said_by(value: &Value) -> Option<Value> {
    let Value::Json(document) = value else { return None };
    Some(match document.as_str() {
        "true" => Value::Int(1),
        "false" => Value::Int(0),
        text if text.starts_with('"') => Value::Text(serde_json::from_str(text).ok()?),
        text => Value::Text(text.to_owned()),
    })
}

fn cast(value: &Value, column_type: duet_client::ColumnType, losses: &Losses) -> Result<Value> {
    use crate::value::calendar::{MAX_TIME, parse_long_time};
    use crate::value::number::prefix_double;
    use duet_client::ColumnType;
    let column = Column::new("CAST", column_type).nullable();
    let said = said_by(value);
    let value = match column_type {
        // Documents are texts otherwise.
        ColumnType::Json | ColumnType::Char { .. } | ColumnType::Varchar { .. } => value,
        ColumnType::Varbinary { .. } | ColumnType::Binary { .. } => value,
        _ => said.as_ref().unwrap_or(value),
    };
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
            return match column_type {
                ColumnType::Binary { .. } => store::padded(content, bytes),
                _ => Ok(Value::Bytes(content)),
            };
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
            (text("1e40"), decimal(10, 2), Value::Decimal { unscaled: 9_999_999_999, scale: 2 }, 1_264),
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
        let endless = Expression::Cast(
            Box::new(Expression::Constant(text("a"))),
            ColumnType::Binary { bytes: u32::MAX },
        );
        let refused = endless.evaluate(&Environment::new(&[], &Facts::default()));
        assert_eq!(refused.expect_err("too long").code, 1_301);
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
            ("", "", true),
            ("a", "", false),
            ("", "%%", true),
            ("ab", "ab%ab", false),
            ("abab", "ab%ab", true),
            ("xabyabz", "%a_y%_z", true),
            ("xabyabz", "%a_y%__b_", false),
            ("éaé", "%_é", true),
            ("é", "%__%", false),
            ("a_b", "%\\_%", true),
            ("a\\", "a\\", true),
        ] {
            assert_eq!(like(text, pattern, '\\').expect("short"), expected, "{text} {pattern}");
        }
        let long = "a".repeat(1_000_000);
        assert!(!like(&long, &format!("%{}b", "a".repeat(500_000)), '|').expect("in linear time"));
        assert!(!like(&long, &format!("%{}b%", "a".repeat(500_000)), '|').expect("in linear time"));
        assert_eq!(like(&long, &format!("%{}_b%", "a".repeat(500_000)), '|').expect_err("never").code, 3_699);
    }
}
