//! Aggregates over the rows of a group.

use super::Expression;
use crate::error::{Result, SqlError};
use crate::memory::content_bytes;
use crate::value::arithmetic::{Operator, bits, calculate};
use crate::value::compare::{exact, order, sort_by_keys};
use crate::value::format::text;
use crate::value::number::to_double;
use duet_client::Value;
use rustc_hash::FxHashSet;
use std::cmp::Ordering;

/// Most different values that one aggregate remembers.
const MAX_DISTINCT: usize = 1 << 20;
/// Bytes of a different value beside its own.
const BYTES_OF_KEY: usize = 64;
/// Longest result of `GROUP_CONCAT`.
const MAX_LISTING_BYTES: usize = 1 << 20;
/// Most bytes that `GROUP_CONCAT` holds of a group.
const MAX_LISTED_BYTES: usize = 64 << 20;

/// Kinds of aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateFunction {
    /// `COUNT(*)` and `COUNT(a)`
    Count,
    /// `SUM(a)`
    Sum,
    /// `MIN(a)`
    Minimum,
    /// `MAX(a)`
    Maximum,
    /// `VAR_POP(a)`
    VariancePopulation,
    /// `VAR_SAMP(a)`
    VarianceSample,
    /// `STDDEV_POP(a)`
    DeviationPopulation,
    /// `STDDEV_SAMP(a)`
    DeviationSample,
    /// `BIT_AND(a)`
    BitAnd,
    /// `BIT_OR(a)`
    BitOr,
    /// `BIT_XOR(a)`
    BitXor,
    /// `ANY_VALUE(a)`
    Any,
    /// `GROUP_CONCAT(a ORDER BY b SEPARATOR c)`
    Concatenation,
    /// The value of the only row; more are an error.
    Single,
}

impl AggregateFunction {
    /// The aggregate of a name in upper case.
    pub fn named(name: &str) -> Option<AggregateFunction> {
        Some(match name {
            "COUNT" => AggregateFunction::Count,
            "SUM" => AggregateFunction::Sum,
            "MIN" => AggregateFunction::Minimum,
            "MAX" => AggregateFunction::Maximum,
            "VARIANCE" | "VAR_POP" => AggregateFunction::VariancePopulation,
            "VAR_SAMP" => AggregateFunction::VarianceSample,
            "STD" | "STDDEV" | "STDDEV_POP" => AggregateFunction::DeviationPopulation,
            "STDDEV_SAMP" => AggregateFunction::DeviationSample,
            "BIT_AND" => AggregateFunction::BitAnd,
            "BIT_OR" => AggregateFunction::BitOr,
            "BIT_XOR" => AggregateFunction::BitXor,
            "ANY_VALUE" => AggregateFunction::Any,
            "GROUP_CONCAT" => AggregateFunction::Concatenation,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            AggregateFunction::Count => "count",
            AggregateFunction::Sum => "sum",
            AggregateFunction::Minimum => "min",
            AggregateFunction::Maximum => "max",
            AggregateFunction::VariancePopulation => "var_pop",
            AggregateFunction::VarianceSample => "var_samp",
            AggregateFunction::DeviationPopulation => "stddev_pop",
            AggregateFunction::DeviationSample => "stddev_samp",
            AggregateFunction::BitAnd => "bit_and",
            AggregateFunction::BitOr => "bit_or",
            AggregateFunction::BitXor => "bit_xor",
            AggregateFunction::Any => "any_value",
            AggregateFunction::Concatenation => "group_concat",
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
    /// How values are put together, of `GROUP_CONCAT`.
    pub listing: Option<Listing>,
}

/// How `GROUP_CONCAT` puts values together. Each is packed with the keys of its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// What is between them.
    pub separator: String,
    /// Whether each key of the order goes down.
    pub down: Vec<bool>,
}

/// The state of an aggregate while rows come.
#[derive(Clone, Debug)]
pub struct Accumulator {
    function: AggregateFunction,
    count: u64,
    value: Value,
    seen: Option<FxHashSet<Vec<u8>>>,
    /// Bytes of the keys of these.
    seen_bytes: usize,
    /// Mean and sum of squared differences from it, of variances.
    spread: (f64, f64),
    /// Bits of those that are of bits.
    bits: u64,
    listing: Option<Listing>,
    /// Values of a listing with the keys of their order, and their bytes.
    listed: Vec<(String, Vec<Value>)>,
    listed_bytes: usize,
}

impl Accumulator {
    /// Without rows.
    pub fn new(call: &AggregateCall) -> Accumulator {
        let seen = call.distinct.then(FxHashSet::default);
        Accumulator {
            function: call.function,
            count: 0,
            value: Value::Null,
            seen,
            seen_bytes: 0,
            spread: (0.0, 0.0),
            bits: if call.function == AggregateFunction::BitAnd { u64::MAX } else { 0 },
            listing: call.listing.clone(),
            listed: Vec::new(),
            listed_bytes: 0,
        }
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
            match (&self.listing, &value) {
                // The keys of the order make no difference.
                (Some(_), Value::Bytes(bytes)) => {
                    put_distinct(unpacked(bytes).first().unwrap_or(&Value::Null), &mut key);
                }
                _ => put_distinct(&value, &mut key),
            }
            let bytes = key.len() + BYTES_OF_KEY;
            if !seen.insert(key) {
                return Ok(());
            }
            self.seen_bytes += bytes;
            if seen.len() > MAX_DISTINCT {
                return Err(SqlError::out_of_memory(
                    "Out of memory; an aggregate has too many different values",
                ));
            }
        }
        self.count += 1;
        match self.function {
            AggregateFunction::Count | AggregateFunction::Single => {}
            AggregateFunction::Sum => {
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
            AggregateFunction::VariancePopulation
            | AggregateFunction::VarianceSample
            | AggregateFunction::DeviationPopulation
            | AggregateFunction::DeviationSample => {
                // Welford, 1962.
                let number = to_double(&value).unwrap_or(0.0);
                let (mean, sum) = self.spread;
                let next = mean + (number - mean) / self.count as f64;
                self.spread = (next, sum + (number - mean) * (number - next));
            }
            AggregateFunction::BitAnd => self.bits &= bits(&value),
            AggregateFunction::BitOr => self.bits |= bits(&value),
            AggregateFunction::BitXor => self.bits ^= bits(&value),
            AggregateFunction::Any => {
                if self.value == Value::Null {
                    self.value = value;
                }
            }
            AggregateFunction::Concatenation => self.list(&value)?,
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
    /// Of an average, which is made of a sum and a count.
    pub fn result(&self) -> Result<Value> {
        match self.function {
            AggregateFunction::Count => Ok(Value::Int(i64::try_from(self.count).unwrap_or(i64::MAX))),
            AggregateFunction::Sum
            | AggregateFunction::Minimum
            | AggregateFunction::Maximum
            | AggregateFunction::Any
            | AggregateFunction::Single => Ok(self.value.clone()),
            AggregateFunction::BitAnd | AggregateFunction::BitOr | AggregateFunction::BitXor => {
                Ok(Value::UInt(self.bits))
            }
            AggregateFunction::VariancePopulation | AggregateFunction::DeviationPopulation => {
                Ok(self.spread_over(self.count))
            }
            AggregateFunction::VarianceSample | AggregateFunction::DeviationSample => {
                Ok(self.spread_over(self.count.saturating_sub(1)))
            }
            AggregateFunction::Concatenation => Ok(self.put_together()),
        }
    }
}

impl Accumulator {
    /// The variance, or the deviation, with this many degrees of freedom.
    fn spread_over(&self, freedom: u64) -> Value {
        if freedom == 0 {
            return Value::Null;
        }
        let variance = self.spread.1 / freedom as f64;
        Value::Double(match self.function {
            AggregateFunction::DeviationPopulation | AggregateFunction::DeviationSample => variance.sqrt(),
            _ => variance,
        })
    }

    /// Adds a packed value to a listing.
    fn list(&mut self, value: &Value) -> Result<()> {
        let Value::Bytes(bytes) = value else { return Ok(()) };
        let mut parts = unpacked(bytes).into_iter();
        let content = parts.next().map(|content| text(&content)).unwrap_or_default();
        let ordered = self.listing.as_ref().is_some_and(|listing| !listing.down.is_empty());
        // Without an order what is behind the greatest length is not needed.
        if !ordered && self.listed_bytes > MAX_LISTING_BYTES {
            return Ok(());
        }
        self.listed_bytes += bytes.len() + size_of::<(String, Vec<Value>)>();
        if self.listed_bytes > MAX_LISTED_BYTES {
            return Err(SqlError::out_of_memory("Out of memory; GROUP_CONCAT has too many values"));
        }
        self.listed.push((content, parts.collect()));
        Ok(())
    }

    fn put_together(&self) -> Value {
        let Some(listing) = self.listing.as_ref().filter(|_| !self.listed.is_empty()) else {
            return Value::Null;
        };
        let mut parts: Vec<&(String, Vec<Value>)> = self.listed.iter().collect();
        sort_by_keys(&mut parts, |(_, keys)| keys, &listing.down);
        let mut output = String::new();
        for (index, (content, _)) in parts.into_iter().enumerate() {
            if index > 0 {
                output.push_str(&listing.separator);
            }
            output.push_str(content);
            if output.len() > MAX_LISTING_BYTES {
                let end = (0..=MAX_LISTING_BYTES).rev().find(|end| output.is_char_boundary(*end));
                output.truncate(end.unwrap_or(0));
                break;
            }
        }
        Value::Text(output)
    }

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
        self.seen_bytes + self.listed_bytes + content_bytes(&self.value)
    }
}

/// Values as one.
pub fn packed(values: &[Value]) -> Vec<u8> {
    rkyv::to_bytes::<rkyv::rancor::Error>(&values.to_vec()).map(|bytes| bytes.to_vec()).unwrap_or_default()
}

fn unpacked(bytes: &[u8]) -> Vec<Value> {
    let mut aligned = rkyv::util::AlignedVec::<16>::new();
    aligned.extend_from_slice(bytes);
    rkyv::from_bytes::<Vec<Value>, rkyv::rancor::Error>(&aligned).unwrap_or_default()
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
