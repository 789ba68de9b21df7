//! Long IN lists, whose constants are looked up and not compared one by one.

use super::losses::Losses;
use super::{Environment, Expression};
use crate::error::Result;
use crate::value::compare::{exact, sort_order};
use crate::value::number::{prefix_double, to_double};
use duet_client::Value;
use std::sync::Arc;

/// Length from which on a list is worth sorting.
const LONG_LIST: usize = 16;

/// The constants of an IN list, to be looked up.
#[derive(Debug, Default, PartialEq)]
pub struct Constants {
    /// All but NULL, as they were written.
    values: Vec<Value>,
    /// Exact numbers, and the same as doubles: what texts and doubles are compared with.
    numbers: Vec<Value>,
    doubles: Vec<f64>,
    /// Texts, and what numbers are compared with: these as doubles.
    texts: Vec<Value>,
    texts_as_doubles: Vec<f64>,
    /// Texts that are no numbers.
    words: Vec<Value>,
    has_null: bool,
}

/// Whether a number is among sorted ones; zero is one value with both signs.
fn is_among(sorted: &[f64], number: f64) -> bool {
    sorted.binary_search_by(|known| known.total_cmp(&(number + 0.0))).is_ok()
}

fn doubles(values: &[Value]) -> Option<Vec<f64>> {
    let mut doubles: Vec<f64> =
        values.iter().map(|value| to_double(value).map(|double| double + 0.0)).collect::<Option<_>>()?;
    doubles.sort_by(f64::total_cmp);
    Some(doubles)
}

impl Constants {
    /// `None` where there are others than texts and exact numbers.
    pub fn new(values: Vec<Value>) -> Option<Constants> {
        let mut set = Constants::default();
        for value in values {
            match &value {
                Value::Null => {
                    set.has_null = true;
                    continue;
                }
                Value::Text(_) | Value::Bytes(_) => set.texts.push(value.clone()),
                number if exact(number).is_some() => set.numbers.push(value.clone()),
                _ => return None,
            }
            set.values.push(value);
        }
        set.numbers.sort_by(sort_order);
        set.texts.sort_by(sort_order);
        set.doubles = doubles(&set.numbers)?;
        set.texts_as_doubles = doubles(&set.texts)?;
        let is_word = |text: &&Value| matches!(text, Value::Text(text) if !prefix_double(text).1);
        set.words = set.texts.iter().filter(is_word).cloned().collect();
        Some(set)
    }

    /// Whether a value is among them, as `value IN (…)` is; `None` where each has to be compared with it, as dates are.
    ///
    /// # Errors
    /// 1292 in a strict statement for a text that is taken for a number.
    #[expect(clippy::option_option, reason = "NULL is one of the answers")]
    pub fn find(&self, value: &Value, losses: &Losses) -> Result<Option<Option<bool>>> {
        let has = |list: &[Value]| list.binary_search_by(|known| sort_order(known, value)).is_ok();
        let found = match value {
            Value::Null => return Ok(Some(None)),
            Value::Text(_) | Value::Bytes(_) if has(&self.texts) => true,
            Value::Text(_) | Value::Bytes(_) => match (self.numbers.first(), to_double(value)) {
                (None, _) => false,
                (Some(number), Some(double)) => {
                    losses.of_comparison(value, number)?;
                    is_among(&self.doubles, double)
                }
                (Some(_), None) => return Ok(None),
            },
            number => {
                let among_numbers = match (number, exact(number), to_double(number)) {
                    (_, Some(_), _) => has(&self.numbers),
                    (Value::Float(_) | Value::Double(_), None, Some(double)) if !double.is_nan() => {
                        is_among(&self.doubles, double)
                    }
                    _ => return Ok(None),
                };
                among_numbers
                    || to_double(number).is_some_and(|double| is_among(&self.texts_as_doubles, double))
                    || {
                        self.words.iter().try_for_each(|word| losses.of_comparison(word, number))?;
                        false
                    }
            }
        };
        Ok(Some(if found { Some(true) } else { self.otherwise() }))
    }

    /// What is said of a value that is none of them.
    pub fn otherwise(&self) -> Option<bool> {
        (!self.has_null).then_some(false)
    }

    /// Those that are not NULL.
    pub fn values(&self) -> &[Value] {
        &self.values
    }
}

impl Expression {
    /// The same with long lists of constants sorted, if it has any, for one execution with many rows.
    pub fn prepared(&self, environment: &Environment<'_>) -> Option<Expression> {
        let mut found = false;
        self.walk(&mut |part| found |= part.is_long_list());
        found.then(|| self.with_sets(environment))
    }

    fn is_long_list(&self) -> bool {
        match self {
            Expression::In(_, list) => list.len() >= LONG_LIST && list.iter().all(Expression::is_constant),
            _ => false,
        }
    }

    fn with_sets(&self, environment: &Environment<'_>) -> Expression {
        let set_of = |list: &[Expression]| {
            let values = list.iter().map(|item| item.evaluate(environment).ok());
            values.collect::<Option<Vec<Value>>>().and_then(Constants::new)
        };
        if let Expression::In(operand, list) = self
            && self.is_long_list()
            && let Some(set) = set_of(list)
        {
            return Expression::InSet(Box::new(operand.with_sets(environment)), Arc::new(set));
        }
        self.mapped(&mut |part| part.with_sets(environment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::Facts;

    /// Sets say of every value what a comparison with each of their items says.
    #[test]
    fn sets_agree_with_lists() {
        let text = |text: String| Value::Text(text);
        let numbers = (0..40).map(|number| match number % 3 {
            0 => Value::Int(number),
            1 => Value::UInt(number as u64),
            _ => Value::Decimal { unscaled: i128::from(number) * 10 + 5, scale: 1 },
        });
        let texts = (0..40).map(|number| match number % 2 {
            0 => text(number.to_string()),
            _ => Value::Bytes(number.to_string().into_bytes()),
        });
        let facts = Facts::default();
        let (numbers, texts): (Vec<Value>, Vec<Value>) = (numbers.collect(), texts.collect());
        let mixed = [&numbers[..20], &texts[20..]].concat();
        for list in [numbers, texts, mixed] {
            for with_null in [false, true] {
                let mut items = list.clone();
                items.extend(with_null.then_some(Value::Null));
                let items: Vec<Expression> = items.into_iter().map(Expression::Constant).collect();
                let looked = Expression::In(Box::new(Expression::Column(0)), items);
                let none = Environment::new(&[], &facts);
                let prepared = looked.prepared(&none).expect("a set");
                assert!(matches!(prepared, Expression::InSet(..)));
                for value in [
                    Value::Null,
                    Value::Int(3),
                    Value::Int(2),
                    Value::Int(-1),
                    Value::Double(4.0),
                    Value::Double(2.5),
                    Value::Double(-0.0),
                    Value::Double(f64::NAN),
                    Value::Date(3),
                    Value::Int(21),
                    text("21".to_owned()),
                    text("21.0".to_owned()),
                    Value::Decimal { unscaled: 250, scale: 2 },
                    Value::Decimal { unscaled: 251, scale: 2 },
                    text("4".to_owned()),
                    text("4.0".to_owned()),
                    text("x".to_owned()),
                    Value::Bytes(b"5".to_vec()),
                ] {
                    let row = [value.clone()];
                    let at = none.with_row(&row);
                    let expected = looked.truth(&at).map_err(|error| error.code);
                    assert_eq!(prepared.truth(&at).map_err(|error| error.code), expected, "{value:?}");
                }
            }
        }
        let dates = (0..40).map(|day| Expression::Constant(Value::Date(day)));
        let dates = Expression::In(Box::new(Expression::Column(0)), dates.collect());
        assert_eq!(dates.prepared(&Environment::new(&[], &facts)), Some(dates));
    }
}
