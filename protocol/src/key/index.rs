//! Keys of ordered indexes: bytes whose order is that of the index columns, and of the primary key where those are equal.
//!
//! A key is the concatenation of the components of the index columns and of the whole primary key. A column that may be
//! NULL has a byte in front: 0 and nothing else for NULL, which so comes first, or 1. All NaN are one value, larger than
//! all numbers; -0.0 is 0.0. The index on the primary key has the primary keys as they are. No key is the beginning of
//! another one of its index, so the first bytes of keys, as many whole columns as wanted, bound ranges.

use super::component::{append_canonical, append_escaped};
use crate::layout::TableLayout;
use crate::row::{Cell, ColumnCodec, RowError, RowView};
use crate::scan_program::slot::{Reader, Slot};
use crate::value::{AsValue, ValueRef};

/// Marks NULL.
const NULL: u8 = 0;
/// Comes before a component of a column that may be NULL.
const NOT_NULL: u8 = 1;

/// A column of an index: its number in the table, and where it lies in rows.
#[derive(Clone, Debug)]
struct IndexColumn {
    column: u16,
    codec: ColumnCodec,
    reader: Reader,
}

/// The columns of an ordered index compiled to places: builds keys of rows and bounds of ranges.
#[derive(Clone, Debug)]
pub struct IndexLayout {
    columns: Vec<IndexColumn>,
    is_primary: bool,
}

impl IndexLayout {
    /// The index on these columns of a table. `None` when there is no such column, or one without an order.
    #[must_use]
    pub fn secondary(layout: &TableLayout, columns: &[u16]) -> Option<IndexLayout> {
        let column = |column: &u16| {
            let codec = &layout.columns.get(usize::from(*column))?.codec;
            let reader = Reader::new(layout, *column).filter(|_| codec.column_type.is_orderable())?;
            Some(IndexColumn { column: *column, codec: codec.clone(), reader })
        };
        let columns = columns.iter().map(column).collect::<Option<_>>()?;
        Some(IndexLayout { columns, is_primary: false })
    }

    /// The index on the primary key of a table.
    #[must_use]
    pub fn primary(layout: &TableLayout) -> IndexLayout {
        let columns: Vec<u16> = layout.key.iter().map(|component| component.column).collect();
        let secondary = IndexLayout::secondary(layout, &columns);
        let columns = secondary.map_or(Vec::new(), |index| index.columns);
        IndexLayout { columns, is_primary: true }
    }

    /// Whether it is the index on the primary key, whose keys are the primary keys themselves.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.is_primary
    }

    /// Numbers of the columns in the order in which they are compared, without those of the primary key behind them.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = u16> {
        self.columns.iter().map(|column| column.column)
    }

    /// Appends the key of a row, of whichever version of the table. Allocates nothing but room in `out`.
    #[inline]
    pub fn append_key(&self, row: &RowView<'_>, out: &mut Vec<u8>) {
        if !self.is_primary {
            for column in &self.columns {
                append_slot(&column.codec, column.reader.read(row), out);
            }
        }
        out.extend_from_slice(row.key());
    }

    /// Appends the beginning of keys whose first columns have these values.
    ///
    /// # Errors
    /// `WrongValueCount` when the index has fewer columns; when a value does not fit its column; NaN.
    pub fn append_bound<V: AsValue>(&self, values: &[V], out: &mut Vec<u8>) -> Result<(), RowError> {
        if values.len() > self.columns.len() {
            return Err(RowError::WrongValueCount { expected: self.columns.len(), found: values.len() });
        }
        for (column, value) in self.columns.iter().zip(values) {
            append_value(&column.codec, &value.as_value(), out)?;
        }
        Ok(())
    }
}

#[inline]
fn append_slot(codec: &ColumnCodec, slot: Slot<'_>, out: &mut Vec<u8>) {
    if codec.nullable {
        out.push(if slot == Slot::Null { NULL } else { NOT_NULL });
    }
    let cell = match slot {
        Slot::Null => return,
        Slot::Escaped(bytes) => return append_escaped(bytes, out),
        Slot::Signed(number) => Cell::Signed(number),
        Slot::Unsigned(number) => Cell::Unsigned(number),
        Slot::Float(number) => Cell::Float(number),
        Slot::Double(number) => Cell::Double(number),
        Slot::Decimal(number) => Cell::Decimal(number),
        Slot::Bytes(bytes) => Cell::Bytes(bytes),
    };
    append_canonical(codec, cell, out);
}

fn append_value(codec: &ColumnCodec, value: &ValueRef<'_>, out: &mut Vec<u8>) -> Result<(), RowError> {
    let cell = codec.cell_of(value)?;
    if codec.nullable {
        out.push(if cell.is_none() { NULL } else { NOT_NULL });
    }
    match cell {
        None => Ok(()),
        Some(cell) => super::component::append(codec, cell, out),
    }
}

/// Makes `bound` the smallest byte string that is larger than all that begin with it. False when there is none, for then
/// nothing is larger.
#[must_use]
pub fn pass_prefix(bound: &mut Vec<u8>) -> bool {
    while let Some(last) = bound.pop() {
        if last < u8::MAX {
            bound.push(last + 1);
            return true;
        }
    }
    false
}

impl TableLayout {
    /// The hash that places a row whose partition-key columns have these values: the same as [`Self::partition_hash`] of its
    /// key. `None` when a value is not given.
    ///
    /// # Errors
    /// When a value does not fit its column.
    pub fn partition_hash_of<'v>(
        &self,
        value_of: impl Fn(u16) -> Option<ValueRef<'v>>,
    ) -> Result<Option<u64>, RowError> {
        let whole = !self.key.iter().any(|component| component.in_partition_key);
        let mut bytes = Vec::new();
        for component in self.key.iter().filter(|component| whole || component.in_partition_key) {
            let Some(value) = value_of(component.column) else { return Ok(None) };
            let codec = self.key_codec(*component);
            let cell = codec.cell_of(&value)?.ok_or_else(|| codec.null_not_allowed())?;
            super::component::append(codec, cell, &mut bytes)?;
        }
        Ok(Some(crate::hash::key_hash(&bytes)))
    }
}
