//! Merges the partial aggregates of pages: the client's side.

use std::collections::BTreeMap;

use super::aggregate::{Aggregate, Function, check_aggregate, result_column};
use super::compare::order;
use super::image::columns_of;
use super::slot::Slot;
use super::{ScanError, ScanProgram};
use crate::layout::TableLayout;
use crate::row::RowView;
use crate::schema::Column;
use crate::value::{Value, ValueRef};

/// Digits that an average has behind those of its column, as in MySQL.
const AVERAGE_DIGITS: u32 = 4;
/// Most digits of a decimal.
const MOST_DIGITS: u32 = 38;

/// Merges pages of partial aggregates. It holds one entry for each group, at most as many as it is told.
#[derive(Debug)]
pub struct Merger {
    group_columns: Vec<Column>,
    value_columns: Vec<Column>,
    group_layout: TableLayout,
    value_layout: TableLayout,
    functions: Vec<Function>,
    most_groups: usize,
    groups: BTreeMap<Box<[u8]>, Vec<Value>>,
}

impl Merger {
    /// No pages yet. `program` must want aggregates of the table of `layout`.
    ///
    /// # Errors
    /// When a column or aggregate does not fit the table.
    pub fn new(layout: &TableLayout, program: &ScanProgram, most_groups: usize) -> Result<Merger, ScanError> {
        let aggregates: &[Aggregate] = program.aggregates.as_deref().unwrap_or_default();
        let group_columns = columns_of(layout, &program.columns)?;
        for aggregate in aggregates {
            check_aggregate(layout, *aggregate)?;
        }
        let value_columns = aggregates
            .iter()
            .map(|aggregate| result_column(layout, *aggregate))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Merger {
            group_layout: TableLayout::without_key(group_columns.clone()),
            value_layout: TableLayout::without_key(value_columns.clone()),
            group_columns,
            value_columns,
            functions: aggregates.iter().map(|aggregate| aggregate.function).collect(),
            most_groups,
            groups: BTreeMap::new(),
        })
    }

    /// The columns of the result: those of the groups, then one for each aggregate.
    pub fn columns(&self) -> impl Iterator<Item = &Column> {
        self.group_columns.iter().chain(&self.value_columns)
    }

    /// Number of groups so far.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Adds one row of a page: the image of a group and that of its partial aggregates.
    ///
    /// # Errors
    /// `MalformedResult`, `SumOverflow`, `TooManyGroups`.
    pub fn add(&mut self, group: &[u8], values: &[u8]) -> Result<(), ScanError> {
        let partials = self
            .value_layout
            .validate_value(values)
            .and_then(|()| RowView::new(&self.value_layout, &[], values).to_values());
        let partials = partials.map_err(|_| ScanError::MalformedResult)?;
        let Some(totals) = self.groups.get_mut(group) else {
            self.group_layout.validate_value(group).map_err(|_| ScanError::MalformedResult)?;
            if self.groups.len() >= self.most_groups {
                return Err(ScanError::TooManyGroups { most: self.most_groups });
            }
            self.groups.insert(group.into(), partials);
            return Ok(());
        };
        for (index, (total, partial)) in totals.iter_mut().zip(partials).enumerate() {
            if partial.is_null() {
                continue;
            }
            if total.is_null() {
                *total = partial;
                continue;
            }
            match self.functions[index] {
                Function::Count | Function::Sum => {
                    *total = sum(total, &partial).ok_or_else(|| ScanError::SumOverflow {
                        column: self.value_columns[index].name.as_str().into(),
                    })?;
                }
                Function::Minimum if order(slot_of(&partial), slot_of(total)).is_lt() => *total = partial,
                Function::Maximum if order(slot_of(&partial), slot_of(total)).is_gt() => *total = partial,
                Function::Minimum | Function::Maximum => {}
            }
        }
        Ok(())
    }

    /// The values of every group, then its aggregates, in an order of the groups that means nothing. Without group columns
    /// there is exactly one row, also of no rows: counts are 0 then and the others NULL.
    ///
    /// # Errors
    /// `MalformedResult`.
    pub fn finish(self) -> Result<Vec<Vec<Value>>, ScanError> {
        if self.group_columns.is_empty() && self.groups.is_empty() {
            let of_none = |function: &Function| match function {
                Function::Count => Value::UInt(0),
                Function::Sum | Function::Minimum | Function::Maximum => Value::Null,
            };
            return Ok(vec![self.functions.iter().map(of_none).collect()]);
        }
        let mut rows = Vec::with_capacity(self.groups.len());
        for (group, mut values) in self.groups {
            let view = RowView::new(&self.group_layout, &[], &group);
            let mut row = view.to_values().map_err(|_| ScanError::MalformedResult)?;
            row.append(&mut values);
            rows.push(row);
        }
        Ok(rows)
    }
}

/// The sum of two values of one kind; `None` when it does not fit.
fn sum(left: &Value, right: &Value) -> Option<Value> {
    match (left, right) {
        (Value::UInt(left), Value::UInt(right)) => Some(Value::UInt(left.checked_add(*right)?)),
        (Value::Double(left), Value::Double(right)) => Some(Value::Double(left + right)),
        (Value::Decimal { unscaled: left, scale }, Value::Decimal { unscaled: right, .. }) => {
            let unscaled = left.checked_add(*right)?;
            let fits = unscaled.unsigned_abs() < 10_u128.pow(MOST_DIGITS);
            fits.then_some(Value::Decimal { unscaled, scale: *scale })
        }
        _ => None,
    }
}

/// A value as the order knows it.
fn slot_of(value: &Value) -> Slot<'_> {
    match value {
        Value::Null | Value::Json(_) | Value::Vector(_) => Slot::Null,
        Value::Bool(truth) => Slot::Unsigned(u64::from(*truth)),
        Value::Int(number) | Value::Time(number) | Value::DateTime(number) | Value::Timestamp(number) => {
            Slot::Signed(*number)
        }
        Value::UInt(number) => Slot::Unsigned(*number),
        Value::Float(number) => Slot::Float(*number),
        Value::Double(number) => Slot::Double(*number),
        Value::Decimal { unscaled, .. } => Slot::Decimal(*unscaled),
        Value::Text(text) => Slot::Bytes(text.as_bytes()),
        Value::Bytes(bytes) => Slot::Bytes(bytes),
        Value::Date(days) => Slot::Signed(i64::from(*days)),
    }
}

/// An average of a sum and the number of its values: of decimals with four more digits than the sum has, as long as there
/// is room for them, rounded half away from zero; of floats a `DOUBLE`. NULL of no values.
#[must_use]
pub fn average(sum: &Value, count: u64) -> Value {
    if count == 0 {
        return Value::Null;
    }
    match ValueRef::from(sum) {
        ValueRef::Double(sum) => Value::Double(sum / count as f64),
        ValueRef::Decimal { unscaled, scale } => {
            let count = i128::from(count);
            let extra = AVERAGE_DIGITS.min(MOST_DIGITS.saturating_sub(u32::from(scale)));
            for digits in (0..=extra).rev() {
                let factor = 10_i128.pow(digits);
                // The rest is less than 2^64, so that its part cannot overflow.
                let (whole, rest) = (unscaled / count, unscaled % count * factor);
                let rounding = i128::from((rest % count).unsigned_abs() * 2 >= count.unsigned_abs());
                let fraction = rest / count + rounding * unscaled.signum();
                let average = whole.checked_mul(factor).and_then(|whole| whole.checked_add(fraction));
                if let Some(unscaled) = average
                    && unscaled.unsigned_abs() < 10_u128.pow(MOST_DIGITS)
                {
                    return Value::Decimal { unscaled, scale: scale + digits as u8 };
                }
            }
            Value::Null
        }
        _ => Value::Null,
    }
}
