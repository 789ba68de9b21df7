//! The benchmark's table in Duet: a key column and value columns of fixed length.

use crate::target::BatchResults;
use crate::workload::ValueShape;
use anyhow::{Context, Result};
use duet_client::{Assignment, ColumnType, RowView, TableDefinition, Value, ValueRef};
use std::borrow::Cow;

/// Database and name of the table.
pub(crate) const NAME: &str = "bench.keys";

/// Columns of a row: 0 is the key, the value's columns follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowShape(ValueShape);

impl RowShape {
    pub(super) fn new(shape: ValueShape) -> Self {
        Self(shape)
    }

    pub(super) fn value_bytes(self) -> usize {
        self.0.value_bytes()
    }

    pub(super) fn definition(self) -> Result<TableDefinition> {
        let bytes = u32::try_from(self.0.column_bytes).context("a column is too wide")?;
        let (database, name) = NAME.split_once('.').unwrap_or(("default", NAME));
        let mut builder = TableDefinition::builder(database, name).required("id", ColumnType::BigIntUnsigned);
        for column in 0..self.0.columns {
            builder = builder.required(format!("value{column}"), ColumnType::Binary { bytes });
        }
        builder.primary_key(["id"]).build().context("the table's definition")
    }

    /// All values of a row in table order.
    pub(super) fn row(self, key: u64, value: &[u8]) -> Vec<Value> {
        let columns = value.chunks(self.0.column_bytes).map(|column| Value::Bytes(column.into()));
        std::iter::once(Value::UInt(key)).chain(columns).collect()
    }

    /// Gives every value column its part of `value`.
    pub(super) fn assignments(self, value: &[u8]) -> impl Iterator<Item = (u16, Assignment<'_>)> {
        let columns = value.chunks(self.0.column_bytes);
        (1..).zip(columns.map(|column| Assignment::Set(ValueRef::Bytes(Cow::Borrowed(column)))))
    }

    /// Puts the value columns of a row into `results`.
    pub(super) fn answer_row(self, index: usize, row: &RowView<'_>, results: &mut BatchResults<'_>) {
        let columns = (1..=self.0.columns).map(|column| match row.column(column) {
            Ok(ValueRef::Bytes(Cow::Borrowed(bytes))) => bytes,
            // Nothing that was written: its length is found to be wrong.
            Ok(_) | Err(_) => &[][..],
        });
        results.columns(index, columns);
    }
}
