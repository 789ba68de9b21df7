//! Aggregates of the rows of one page: a node computes them, and keeps them no longer than that.

use std::sync::Arc;

use super::compare::order;
use super::compile::{CompiledScan, reader_of};
use super::encode::codec_of;
use super::group::Groups;
use super::image::{ImageWriter, append_image};
use super::slot::{Reader, Slot};
use super::{MAX_GROUP_BYTES, ScanError, constant};
use crate::layout::TableLayout;
use crate::row::{Form, RowView};
use crate::schema::{Column, ColumnType};

/// Most digits of a sum.
const SUM_DIGITS: u8 = 38;
/// The first number with more digits.
const SUM_LIMIT: u128 = 10_u128.pow(SUM_DIGITS as u32);

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Function {
    /// Number of rows, or of values that are not NULL.
    Count = 1,
    /// Sum of the values that are not NULL; NULL of none.
    Sum = 2,
    /// Smallest value; NULL of none.
    Minimum = 3,
    /// Greatest value; NULL of none.
    Maximum = 4,
}

impl Function {
    pub(super) fn from_number(number: u8) -> Option<Function> {
        [Function::Count, Function::Sum, Function::Minimum, Function::Maximum]
            .into_iter()
            .find(|function| *function as u8 == number)
    }

    /// Its name in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Function::Count => "count",
            Function::Sum => "sum",
            Function::Minimum => "min",
            Function::Maximum => "max",
        }
    }
}

/// A function of a column; of rows for `count(*)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// What is computed.
    pub function: Function,
    /// Index of the column in the table; `None` counts rows.
    pub column: Option<u16>,
}

/// Whether the aggregate can be computed of the column.
pub(super) fn check_aggregate(layout: &TableLayout, aggregate: Aggregate) -> Result<(), ScanError> {
    let codec = match (aggregate.column, aggregate.function) {
        (Some(column), _) => codec_of(layout, column)?,
        (None, Function::Count) => return Ok(()),
        (None, Function::Sum | Function::Minimum | Function::Maximum) => {
            return Err(ScanError::MalformedProgram { reason: "an aggregate lacks its column" });
        }
    };
    match aggregate.function {
        Function::Sum if !codec.column_type.is_numeric() => {
            Err(ScanError::NotSummable { column: codec.name.clone(), column_type: codec.column_type })
        }
        Function::Minimum | Function::Maximum if !constant::is_comparable(codec.column_type) => {
            Err(constant::not_comparable(codec))
        }
        Function::Count | Function::Sum | Function::Minimum | Function::Maximum => Ok(()),
    }
}

/// The column of an aggregate in the result.
pub(super) fn result_column(layout: &TableLayout, aggregate: Aggregate) -> Result<Column, ScanError> {
    let codec = aggregate.column.map(|column| codec_of(layout, column)).transpose()?;
    let name = format!("{}({})", aggregate.function.name(), codec.map_or("*", |codec| &*codec.name));
    let column_type = match (aggregate.function, codec) {
        (Function::Count, _) | (_, None) => return Ok(Column::new(name, ColumnType::BigIntUnsigned)),
        (Function::Sum, Some(codec)) => match codec.column_type {
            ColumnType::Float | ColumnType::Double => ColumnType::Double,
            ColumnType::Decimal { scale, .. } => ColumnType::Decimal { precision: SUM_DIGITS, scale },
            _ => ColumnType::Decimal { precision: SUM_DIGITS, scale: 0 },
        },
        (Function::Minimum | Function::Maximum, Some(codec)) => codec.column_type,
    };
    Ok(Column::new(name, column_type).nullable())
}

/// An aggregate with the reader of its column.
#[derive(Clone, Debug)]
pub(super) struct CompiledAggregate {
    function: Function,
    reader: Option<Reader>,
    /// Name of the column, for errors.
    name: Arc<str>,
    result: Column,
}

impl CompiledAggregate {
    pub(super) fn new(layout: &TableLayout, aggregate: Aggregate) -> Result<CompiledAggregate, ScanError> {
        let name = match aggregate.column {
            Some(column) => codec_of(layout, column)?.name.clone(),
            None => Arc::from("*"),
        };
        let reader = aggregate.column.map(|column| reader_of(layout, column)).transpose()?;
        let result = result_column(layout, aggregate)?;
        Ok(CompiledAggregate { function: aggregate.function, reader, name, result })
    }

    fn start<'r>(&self) -> Partial<'r> {
        match (self.function, self.reader.as_ref().map(|reader| reader.form)) {
            (Function::Count, _) => Partial::Count(0),
            (Function::Sum, Some(Form::Float | Form::Double)) => Partial::Double(None),
            (Function::Sum, _) => Partial::Integer(None),
            (Function::Minimum, _) => Partial::Minimum(Slot::Null),
            (Function::Maximum, _) => Partial::Maximum(Slot::Null),
        }
    }

    fn overflow(&self) -> ScanError {
        ScanError::SumOverflow { column: self.name.clone() }
    }
}

/// An aggregate of the rows seen so far. The extremes are where their rows lie.
#[derive(Clone, Copy, Debug)]
enum Partial<'r> {
    Count(u64),
    Integer(Option<i128>),
    Double(Option<f64>),
    Minimum(Slot<'r>),
    Maximum(Slot<'r>),
}

impl<'r> Partial<'r> {
    fn slot(self) -> Slot<'r> {
        match self {
            Partial::Count(count) => Slot::Unsigned(count),
            Partial::Integer(sum) => sum.map_or(Slot::Null, Slot::Decimal),
            Partial::Double(sum) => sum.map_or(Slot::Null, Slot::Double),
            Partial::Minimum(slot) | Partial::Maximum(slot) => slot,
        }
    }

    /// Adds a value that is not NULL; `None` on overflow. Returns by how many bytes the aggregate grew.
    #[inline(always)]
    fn add(&mut self, slot: Slot<'r>) -> Option<usize> {
        match self {
            Partial::Count(count) => *count += 1,
            Partial::Integer(sum) => {
                let number = match slot {
                    Slot::Signed(number) => i128::from(number),
                    Slot::Unsigned(number) => i128::from(number),
                    Slot::Decimal(number) => number,
                    Slot::Null | Slot::Float(_) | Slot::Double(_) | Slot::Bytes(_) | Slot::Escaped(_) => 0,
                };
                let total = sum.unwrap_or(0).checked_add(number)?;
                if total.unsigned_abs() >= SUM_LIMIT {
                    return None;
                }
                *sum = Some(total);
            }
            Partial::Double(sum) => {
                let number = match slot {
                    Slot::Float(number) => f64::from(number),
                    Slot::Double(number) => number,
                    Slot::Null
                    | Slot::Signed(_)
                    | Slot::Unsigned(_)
                    | Slot::Decimal(_)
                    | Slot::Bytes(_)
                    | Slot::Escaped(_) => 0.0,
                };
                *sum = Some(sum.map_or(number, |sum| sum + number));
            }
            Partial::Minimum(least) => {
                if least.is_null() || order(slot, *least).is_lt() {
                    let before = std::mem::replace(least, slot.canonical()).variable_bytes();
                    return Some(slot.variable_bytes().saturating_sub(before));
                }
            }
            Partial::Maximum(greatest) => {
                if greatest.is_null() || order(slot, *greatest).is_gt() {
                    let before = std::mem::replace(greatest, slot.canonical()).variable_bytes();
                    return Some(slot.variable_bytes().saturating_sub(before));
                }
            }
        }
        Some(0)
    }
}

/// Partial aggregates of the rows of one page, by group. Its memory is bounded by the rows that are added.
#[derive(Debug)]
pub struct Aggregation<'s, 'r> {
    aggregates: &'s [CompiledAggregate],
    start: Vec<Partial<'r>>,
    groups: Option<(&'s ImageWriter, Groups)>,
    /// Aggregates of group 0, then those of group 1, ...
    partials: Vec<Partial<'r>>,
    /// Groups so far.
    count: usize,
    image: Vec<u8>,
    values: TableLayout,
    bytes: usize,
}

impl<'s: 'r, 'r> Aggregation<'s, 'r> {
    /// No rows yet; `None` when the program wants rows.
    #[must_use]
    pub fn new(scan: &'s CompiledScan<'s, 's>) -> Option<Aggregation<'s, 'r>> {
        let aggregates = scan.aggregates.as_deref()?;
        let columns = aggregates.iter().map(|aggregate| aggregate.result.clone()).collect();
        Some(Aggregation {
            aggregates,
            start: aggregates.iter().map(CompiledAggregate::start).collect(),
            groups: scan.columns.as_ref().map(|columns| (columns, Groups::new(columns.image()))),
            partials: Vec::new(),
            count: 0,
            image: Vec::new(),
            values: TableLayout::without_key(columns),
            bytes: 0,
        })
    }

    /// Adds a row that has passed the filter. Returns the bytes of its group columns.
    ///
    /// # Errors
    /// When a sum overflows, or the group columns are too long.
    #[inline]
    pub fn add(&mut self, row: RowView<'r>) -> Result<usize, ScanError> {
        let (group, is_new, image_bytes) = match &mut self.groups {
            Some((columns, groups)) => {
                let found = groups.of_row(columns, &row, MAX_GROUP_BYTES);
                let found = found.map_err(|bytes| ScanError::GroupTooLarge { bytes })?;
                (found.number, found.is_new, found.image_bytes)
            }
            // Without group columns all rows are one group, whose image is empty.
            None => (0, self.partials.is_empty(), 0),
        };
        if is_new {
            self.partials.extend_from_slice(&self.start);
            self.count += 1;
            self.bytes += image_bytes + self.values.smallest_value_bytes();
        }
        let first = group * self.aggregates.len();
        for (aggregate, partial) in self.aggregates.iter().zip(&mut self.partials[first..]) {
            let slot = match &aggregate.reader {
                Some(reader) => reader.read(&row),
                None => Slot::Unsigned(1),
            };
            if !slot.is_null() {
                self.bytes += partial.add(slot).ok_or_else(|| aggregate.overflow())?;
            }
        }
        Ok(image_bytes)
    }

    /// Bytes of the images so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands out the image of each group's columns and that of its aggregates.
    pub fn finish(mut self, mut emit: impl FnMut(&[u8], &[u8])) {
        let width = self.aggregates.len();
        for group in 0..self.count {
            let partials = &self.partials[group * width..(group + 1) * width];
            self.image.clear();
            append_image(&self.values, |index| partials[index].slot(), &mut self.image);
            let columns = self.groups.as_mut().map_or(&[][..], |(_, groups)| groups.image(group));
            emit(columns, &self.image);
        }
    }
}
