//! Merges the partial aggregates of pages: the client's side.

use super::aggregate::{Aggregate, Function, check_aggregate, result_column};
use super::compare::order;
use super::compile::reader_of;
use super::group::Groups;
use super::image::columns_of;
use super::slot::{Reader, Slot};
use super::{ScanError, ScanProgram};
use crate::layout::TableLayout;
use crate::row::{RowError, RowView};
use crate::schema::{Column, ColumnType};
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
    readers: Vec<Reader>,
    most_groups: usize,
    groups: Groups,
    /// Aggregates of group 0, then those of group 1, ...
    totals: Vec<Total>,
}

/// An aggregate of a group, so far.
#[derive(Clone, Debug)]
enum Total {
    /// No value yet.
    None,
    Count(u64),
    /// In units of the column's scale.
    Decimal(i128),
    Double(f64),
    /// The smallest or greatest value; apart, so that the others are small.
    Extreme(Box<Value>),
}

impl Total {
    /// That of no rows.
    fn of_none(function: Function) -> Total {
        match function {
            Function::Count => Total::Count(0),
            Function::Sum | Function::Minimum | Function::Maximum => Total::None,
        }
    }

    /// As a value of its column.
    fn into_value(self, column: &Column) -> Value {
        match self {
            Total::None => Value::Null,
            Total::Count(count) => Value::UInt(count),
            Total::Decimal(unscaled) => {
                let scale = match column.column_type {
                    ColumnType::Decimal { scale, .. } => scale,
                    _ => 0,
                };
                Value::Decimal { unscaled, scale }
            }
            Total::Double(sum) => Value::Double(sum),
            Total::Extreme(value) => *value,
        }
    }

    /// Adds a partial aggregate that is not NULL, the column `index` of a row; `None` when the sum does not fit.
    fn add(
        &mut self,
        function: Function,
        partial: Slot<'_>,
        row: &RowView<'_>,
        index: usize,
    ) -> Result<Option<()>, RowError> {
        let sum = match (function, &mut *self, partial) {
            (Function::Count, Total::Count(total), Slot::Unsigned(count)) => {
                total.checked_add(count).map(Total::Count)
            }
            (Function::Sum, Total::None, Slot::Decimal(sum)) => fitting(Some(sum)),
            (Function::Sum, Total::Decimal(total), Slot::Decimal(sum)) => fitting(total.checked_add(sum)),
            (Function::Sum, Total::None, Slot::Double(sum)) => Some(Total::Double(sum)),
            (Function::Sum, Total::Double(total), Slot::Double(sum)) => Some(Total::Double(*total + sum)),
            (Function::Minimum, Total::Extreme(least), partial) if order(partial, slot_of(least)).is_ge() => {
                return Ok(Some(()));
            }
            (Function::Maximum, Total::Extreme(most), partial) if order(partial, slot_of(most)).is_le() => {
                return Ok(Some(()));
            }
            (Function::Minimum | Function::Maximum, _, _) => {
                Some(Total::Extreme(Box::new(row.column(index)?.to_value())))
            }
            // The layout of the partial aggregates has no other columns for these functions.
            (Function::Count | Function::Sum, _, _) => None,
        };
        Ok(sum.map(|sum| *self = sum))
    }
}

fn fitting(sum: Option<i128>) -> Option<Total> {
    sum.filter(|sum| sum.unsigned_abs() < 10_u128.pow(MOST_DIGITS)).map(Total::Decimal)
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
        let value_layout = TableLayout::without_key(value_columns.clone());
        let readers = (0..value_columns.len())
            .map(|column| reader_of(&value_layout, column as u16))
            .collect::<Result<_, _>>()?;
        let group_layout = TableLayout::without_key(group_columns.clone());
        Ok(Merger {
            value_layout,
            group_columns,
            value_columns,
            functions: aggregates.iter().map(|aggregate| aggregate.function).collect(),
            readers,
            // Groups have numbers of 32 bits.
            most_groups: most_groups.min(1 << 31),
            groups: Groups::new(&group_layout),
            group_layout,
            totals: Vec::new(),
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
        self.value_layout.validate_value(values).map_err(|_| ScanError::MalformedResult)?;
        let group = match self.groups.find(group) {
            Ok(number) => number,
            Err(place) => {
                self.group_layout.validate_value(group).map_err(|_| ScanError::MalformedResult)?;
                if self.groups.len() >= self.most_groups {
                    return Err(ScanError::TooManyGroups { most: self.most_groups });
                }
                self.totals.extend(self.functions.iter().copied().map(Total::of_none));
                self.groups.insert(place, group)
            }
        };
        let width = self.functions.len();
        let row = RowView::new(&self.value_layout, &[], values);
        let totals = &mut self.totals[group * width..][..width];
        for (index, (total, reader)) in totals.iter_mut().zip(&self.readers).enumerate() {
            let slot = reader.read(&row);
            if slot.is_null() {
                continue;
            }
            let added = total.add(self.functions[index], slot, &row, index);
            if added.map_err(|_| ScanError::MalformedResult)?.is_none() {
                return Err(ScanError::SumOverflow {
                    column: self.value_columns[index].name.as_str().into(),
                });
            }
        }
        Ok(())
    }

    /// The values of every group, then its aggregates, in an order of the groups that means nothing. Without group columns
    /// there is exactly one row, also of no rows: counts are 0 then and the others NULL.
    ///
    /// # Errors
    /// `MalformedResult`.
    pub fn finish(mut self) -> Result<Vec<Vec<Value>>, ScanError> {
        let count = self.groups.len();
        let mut totals = self.totals.into_iter();
        let columns = &self.value_columns;
        if self.group_columns.is_empty() && count == 0 {
            let none = self.functions.iter().zip(columns);
            return Ok(vec![none.map(|(of, column)| Total::of_none(*of).into_value(column)).collect()]);
        }
        let mut rows = Vec::with_capacity(count);
        for group in 0..count {
            let view = RowView::new(&self.group_layout, &[], self.groups.image(group));
            let mut row = view.to_values().map_err(|_| ScanError::MalformedResult)?;
            row.reserve_exact(columns.len());
            row.extend(
                totals.by_ref().take(columns.len()).zip(columns).map(|(of, column)| of.into_value(column)),
            );
            rows.push(row);
        }
        Ok(rows)
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
