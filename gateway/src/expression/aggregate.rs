//! Aggregates over the rows of a group.

use super::Expression;
use crate::error::{Result, SqlError};
use crate::value::arithmetic::{Operator, QUOTIENT_DIGITS, calculate};
use crate::value::compare::{exact, order};
use crate::value::number::{MAX_SCALE, to_double};
use duet_client::Value;
use rustc_hash::FxHashSet;
use std::cmp::Ordering;

/// Most different values that one aggregate remembers.
const MAX_DISTINCT: usize = 1 << 20;

/// Kinds of aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateFunction {
    /// `COUNT(*)` and `COUNT(a)`
    Count,
    /// `SUM(a)`
    Sum,
    /// `AVG(a)`
    Average,
    /// `MIN(a)`
    Minimum,
    /// `MAX(a)`
    Maximum,
    /// The value of the only row; more are an error.
    Single,
}

impl AggregateFunction {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            AggregateFunction::Count => "count",
            AggregateFunction::Sum => "sum",
            AggregateFunction::Average => "avg",
            AggregateFunction::Minimum => "min",
            AggregateFunction::Maximum => "max",
            AggregateFunction::Single => "only",
        }
    }
}

/// An aggregate of a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateCall {
    /// Its kind.
    pub function: AggregateFunction,
    /// What it is of; `None` for `COUNT(*)`.
    pub argument: Option<Expression>,
    /// Equal values count once.
    pub distinct: bool,
}

/// The state of an aggregate while rows come.
#[derive(Clone, Debug)]
pub struct Accumulator {
    function: AggregateFunction,
    count: u64,
    value: Value,
    seen: Option<FxHashSet<Vec<u8>>>,
}

impl Accumulator {
    /// Without rows.
    pub fn new(call: &AggregateCall) -> Accumulator {
        let seen = call.distinct.then(FxHashSet::default);
        Accumulator { function: call.function, count: 0, value: Value::Null, seen }
    }

    /// Adds the value of a row; for `COUNT(*)` any that is not NULL.
    ///
    /// # Errors
    /// When a sum overflows, or there are too many different values.
    pub fn add(&mut self, value: Value) -> Result<()> {
        if self.function == AggregateFunction::Single {
            self.count += 1;
            if self.count > 1 {
                return Err(SqlError {
                    code: 1_242,
                    state: "21000",
                    message: "Subquery returns more than 1 row".to_owned(),
                });
            }
            self.value = value;
            return Ok(());
        }
        if value == Value::Null {
            return Ok(());
        }
        if let Some(seen) = &mut self.seen {
            let mut key = Vec::new();
            put_distinct(&value, &mut key);
            if !seen.insert(key) {
                return Ok(());
            }
            if seen.len() > MAX_DISTINCT {
                return Err(SqlError::out_of_memory(
                    "Out of memory; an aggregate has too many different values",
                ));
            }
        }
        self.count += 1;
        match self.function {
            AggregateFunction::Count | AggregateFunction::Single => {}
            AggregateFunction::Sum | AggregateFunction::Average => {
                // Exact numbers are added as decimals, which do not overflow where integers would.
                let number = match exact(&value) {
                    Some((unscaled, scale)) => Value::Decimal { unscaled, scale },
                    None => to_double(&value).map_or(Value::Null, Value::Double),
                };
                self.value = match self.value {
                    Value::Null => number,
                    _ => calculate(Operator::Add, &self.value, &number)?,
                };
            }
            AggregateFunction::Minimum => {
                if self.value == Value::Null || order(&value, &self.value) == Ordering::Less {
                    self.value = value;
                }
            }
            AggregateFunction::Maximum => {
                if self.value == Value::Null || order(&value, &self.value) == Ordering::Greater {
                    self.value = value;
                }
            }
        }
        Ok(())
    }

    /// The result.
    ///
    /// # Errors
    /// When an average overflows.
    pub fn result(&self) -> Result<Value> {
        match self.function {
            AggregateFunction::Count => Ok(Value::Int(i64::try_from(self.count).unwrap_or(i64::MAX))),
            AggregateFunction::Sum
            | AggregateFunction::Minimum
            | AggregateFunction::Maximum
            | AggregateFunction::Single => Ok(self.value.clone()),
            AggregateFunction::Average => match &self.value {
                Value::Null => Ok(Value::Null),
                Value::Decimal { unscaled, scale } => {
                    let digits = (scale + QUOTIENT_DIGITS).min(MAX_SCALE);
                    let quotient = crate::value::arithmetic::quotient(
                        *unscaled,
                        *scale,
                        i128::from(self.count),
                        0,
                        digits,
                    );
                    match quotient {
                        Some(unscaled) => Ok(Value::Decimal { unscaled, scale: digits }),
                        None => Err(SqlError::arithmetic_overflow("DECIMAL value is out of range in 'avg'")),
                    }
                }
                sum => calculate(Operator::Divide, sum, &Value::Double(self.count as f64)),
            },
        }
    }
}

impl Accumulator {
    /// Takes back a value that was added; only of counts and sums.
    ///
    /// # Errors
    /// When a sum overflows.
    pub fn remove(&mut self, value: &Value) -> Result<()> {
        if *value == Value::Null {
            return Ok(());
        }
        self.count = self.count.saturating_sub(1);
        if self.function == AggregateFunction::Sum {
            let number = match exact(value) {
                Some((unscaled, scale)) => Value::Decimal { unscaled, scale },
                None => to_double(value).map_or(Value::Null, Value::Double),
            };
            self.value = match self.count {
                0 => Value::Null,
                _ => calculate(Operator::Subtract, &self.value, &number)?,
            };
        }
        Ok(())
    }

    /// About how many bytes it holds.
    pub fn bytes(&self) -> usize {
        self.seen.as_ref().map_or(0, |seen| seen.len() * 64)
    }
}

/// Bytes that are equal for values that DISTINCT and GROUP BY take as equal.
pub fn put_distinct(value: &Value, key: &mut Vec<u8>) {
    let kind = match value {
        Value::Null => 0,
        Value::Text(_) | Value::Json(_) | Value::Bytes(_) => 1,
        _ => 2,
    };
    key.push(kind);
    let start = key.len();
    match value {
        Value::Double(number) if *number == 0.0 => key.push(b'0'),
        other => crate::value::format::write(other, key),
    }
    // The length last, so that no two lists of values have the same bytes.
    let length = (key.len() - start) as u64;
    key.extend_from_slice(&length.to_le_bytes());
}
