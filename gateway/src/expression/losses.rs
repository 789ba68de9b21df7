//! What conversions within expressions lose: warnings of a SELECT, errors of a statement that changes rows, as the strict modes of MySQL
//! have it.

use super::Function;
use super::functions::{self, Unit, calendar, moment};
use crate::error::{Result, SqlError};
use crate::session::{Level, MAX_WARNINGS, Warning};
use crate::value::arithmetic::Operator;
use crate::value::calendar::parse_time;
use crate::value::compare::compare;
use crate::value::format::text;
use crate::value::number::prefix_double;
use crate::value::store::fit;
use duet_client::{Column, ColumnType, Value};
use std::cmp::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// What the conversions of a statement have lost so far. Copies are of the same statement.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    strict: bool,
    told: Arc<Mutex<Vec<Warning>>>,
}

impl Losses {
    /// Those of a new statement, which ends with the first one when it is strict.
    pub fn begin(&mut self, strict: bool) {
        self.strict = strict;
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes what was told.
    pub fn take(&self) -> Vec<Warning> {
        std::mem::take(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells of something lost.
    ///
    /// # Errors
    /// That, in a strict statement.
    pub fn tell(&self, error: impl FnOnce() -> SqlError) -> Result<()> {
        if self.strict {
            return Err(error());
        }
        self.keep(Level::Warning, error);
        Ok(())
    }

    /// Tells of digits that were rounded away, which ends no statement.
    pub fn note(&self, error: impl FnOnce() -> SqlError) {
        self.keep(Level::Note, error);
    }

    fn keep(&self, level: Level, error: impl FnOnce() -> SqlError) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MAX_WARNINGS {
            told.push(Warning { level, error: error() });
        }
    }

    fn division_by_zero(&self) -> Result<()> {
        self.tell(|| SqlError::division_by_zero("Division by 0"))
    }

    /// Of a value that is taken for a number.
    ///
    /// # Errors
    /// 1292 in a strict statement.
    pub fn of_number(&self, value: &Value, kind: &str) -> Result<()> {
        match value {
            Value::Text(text) if !prefix_double(text).1 => self.tell(|| truncated(kind, text)),
            _ => Ok(()),
        }
    }

    /// Of an argument that is taken for a number: of a whole one the digits alone count.
    fn of_argument(&self, value: &Value, kind: &str) -> Result<()> {
        match value {
            Value::Text(text) if kind == "INTEGER" && text.trim().parse::<i128>().is_err() => {
                self.tell(|| truncated(kind, text))
            }
            _ => self.of_number(value, kind),
        }
    }

    /// Of an operator.
    ///
    /// # Errors
    /// 1292 and 1365 in a strict statement.
    pub fn of_arithmetic(&self, operator: Operator, a: &Value, b: &Value, result: &Value) -> Result<()> {
        if *a == Value::Null || *b == Value::Null {
            return Ok(());
        }
        if *result == Value::Null {
            self.division_by_zero()?;
        }
        let kind = if operator.is_of_bits() { "INTEGER" } else { "DOUBLE" };
        self.of_number(a, kind)?;
        self.of_number(b, kind)
    }

    /// Of a comparison, where a text is compared with a number.
    ///
    /// # Errors
    /// 1292 in a strict statement.
    pub fn of_comparison(&self, a: &Value, b: &Value) -> Result<()> {
        let is_number = |value: &Value| {
            matches!(
                value,
                Value::Int(_)
                    | Value::UInt(_)
                    | Value::Bool(_)
                    | Value::Decimal { .. }
                    | Value::Float(_)
                    | Value::Double(_)
            )
        };
        match (a, b) {
            (Value::Text(text), number) | (number, Value::Text(text)) if is_number(number) => {
                match prefix_double(text).1 || self.has_told_of(text) {
                    true => Ok(()),
                    false => self.tell(|| truncated("DOUBLE", text)),
                }
            }
            _ => Ok(()),
        }
    }

    /// Whether this was told already: what is compared with all rows is one text.
    fn has_told_of(&self, text: &str) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().any(|told| {
            let quoted = told.error.message.strip_prefix("Truncated incorrect DOUBLE value: '");
            let quoted = quoted.and_then(|quoted| quoted.strip_suffix('\''));
            quoted.is_some_and(|quoted| {
                quoted == text || text.len() > quoted.len() && quoted == self::quoted(text)
            })
        })
    }

    /// Of CAST.
    ///
    /// # Errors
    /// 1292 in a strict statement.
    pub fn of_cast(&self, value: &Value, column_type: ColumnType, result: &Value) -> Result<()> {
        match column_type {
            ColumnType::BigInt | ColumnType::BigIntUnsigned => match value {
                // The digits of a whole number alone count.
                Value::Text(text) if text.trim().parse::<i128>().is_err() => {
                    self.tell(|| truncated("INTEGER", text))
                }
                _ => Ok(()),
            },
            ColumnType::Decimal { .. } => self.of_number(value, "DECIMAL"),
            ColumnType::Double | ColumnType::Float => self.of_number(value, "DOUBLE"),
            ColumnType::Char { characters } => {
                let given = text(value);
                match given.chars().count() > characters as usize {
                    true => self.tell(|| truncated(&format!("CHAR({characters})"), &given)),
                    false => Ok(()),
                }
            }
            ColumnType::Binary { bytes } | ColumnType::Varbinary { bytes } => {
                let given = text(value);
                let length = if let Value::Bytes(content) = value { content.len() } else { given.len() };
                match length > bytes as usize {
                    true => self.tell(|| truncated(&format!("BINARY({bytes})"), &given)),
                    false => Ok(()),
                }
            }
            ColumnType::Date | ColumnType::DateTime | ColumnType::Timestamp | ColumnType::Time
                if *result == Value::Null =>
            {
                let kind = if column_type == ColumnType::Time { "time" } else { "datetime" };
                self.tell(|| incorrect(kind, &text(value)))
            }
            _ => Ok(()),
        }
    }

    /// Fits a value into a column; digits behind the point that do not fit are rounded away with a note.
    ///
    /// # Errors
    /// Those of [`fit`].
    pub fn fit(&self, value: Value, column: &Column, row: usize) -> Result<Value> {
        let ColumnType::Decimal { .. } = column.column_type else { return fit(value, column, row) };
        let fitted = fit(value.clone(), column, row)?;
        if compare(&value, &fitted)?.is_some_and(Ordering::is_ne) {
            self.note(|| {
                SqlError::truncated(format!("Data truncated for column '{}' at row {row}", column.name))
            });
        }
        Ok(fitted)
    }

    /// Of a function whose arguments were evaluated.
    ///
    /// # Errors
    /// 1292, 1365 and 1411 in a strict statement.
    pub fn of_call(&self, function: Function, values: &[Value], result: &Value) -> Result<()> {
        if *result == Value::Null && !values.contains(&Value::Null) {
            if function == Function::Modulo {
                return self.division_by_zero();
            }
            if function.is_logarithm() {
                return self.tell(|| SqlError {
                    code: 3_020,
                    state: "2201E",
                    message: "Invalid argument for logarithm".to_owned(),
                });
            }
            if function == Function::TextToDate {
                let given = text(&values[0]);
                return self.tell(|| SqlError {
                    code: 1_411,
                    state: "HY000",
                    message: format!(
                        "Incorrect datetime value: '{}' for function str_to_date",
                        quoted(&given)
                    ),
                });
            }
            if function.is_of_time() {
                let moves = matches!(function, Function::AddInterval | Function::SubtractInterval);
                // Behind the moment there are zones, or an amount.
                let looked_at =
                    if function == Function::ConvertZone || moves { &values[..1] } else { values };
                for value in looked_at {
                    let Value::Text(given) = value else { continue };
                    let is_time = !moves && parse_time(given).is_some();
                    if Unit::named(given).is_none() && moment(value).is_none() && !is_time {
                        return self.tell(|| incorrect("datetime", given));
                    }
                }
                if moves {
                    return self.tell(|| SqlError {
                        code: 1_441,
                        state: "22008",
                        message: "Datetime function: datetime field overflow".to_owned(),
                    });
                }
            }
        }
        for (index, value) in values.iter().enumerate() {
            if let Some(kind) = function.number_kind(index) {
                self.of_argument(value, kind)?;
            }
        }
        self.of_other_calls(function, values, result)
    }

    /// Of functions that have losses of their own.
    fn of_other_calls(&self, function: Function, values: &[Value], result: &Value) -> Result<()> {
        match (function, values) {
            (Function::NullIf, [a, b]) => self.of_comparison(a, b),
            (Function::UnixTimestamp, [value]) if *value != Value::Null && moment(value).is_none() => {
                self.tell(|| incorrect("datetime", &text(value)))
            }
            (Function::TextToDate, [source, format]) if *result != Value::Null => {
                let source = text(source);
                let kind = match result {
                    Value::Date(_) => "date",
                    Value::Time(_) => "time",
                    _ => "datetime",
                };
                match calendar::has_rest(&source, &text(format)) {
                    true => self.tell(|| truncated(kind, &source)),
                    false => Ok(()),
                }
            }
            (Function::AddInterval | Function::SubtractInterval, [_, amount, unit]) => {
                match Unit::named(&text(unit)).and_then(Unit::number_kind) {
                    Some(kind) => self.of_argument(amount, kind),
                    None => Ok(()),
                }
            }
            _ if *result != Value::Null || values.contains(&Value::Null) => Ok(()),
            (Function::Repeat, _) => self.tell(|| SqlError::longer_than_a_packet("repeat")),
            (Function::SpaceText, _) => self.tell(|| SqlError::longer_than_a_packet("space")),
            // Others have no length, or nothing to fill it with.
            (Function::PadLeft | Function::PadRight, [_, length, ..]) if is_too_long(length) => {
                let name = if function == Function::PadLeft { "lpad" } else { "rpad" };
                self.tell(|| SqlError::longer_than_a_packet(name))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a text of so many characters is longer than functions make.
fn is_too_long(length: &Value) -> bool {
    functions::whole_double(length) > functions::MAX_TEXT_BYTES as f64
}

/// A text as errors quote it.
pub(super) fn quoted(text: &str) -> String {
    text.chars().take(128).collect()
}

pub(super) fn truncated(kind: &str, text: &str) -> SqlError {
    SqlError::wrong_value(format!("Truncated incorrect {kind} value: '{}'", quoted(text)))
}

fn incorrect(kind: &str, text: &str) -> SqlError {
    SqlError::wrong_value(format!("Incorrect {kind} value: '{}'", quoted(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_quoted_in_part() {
        let losses = Losses::default();
        let long = Value::Text("x".repeat(1 << 20));
        let format = Value::Text("%Y".to_owned());
        losses.of_call(Function::TextToDate, &[long, format], &Value::Null).expect("a warning");
        let told = losses.take();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].error.code, 1_411);
        assert!(told[0].error.message.len() < 1_000);
    }
}
