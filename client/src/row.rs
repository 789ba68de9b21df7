//! Rows whose columns are known by name at run time.

use crate::clock::Clock;
use crate::{ColumnValue, Error, ErrorCode, Result, RowVersion, Table, TableInfo, Value};
use duet_protocol::row::RowView;
use std::borrow::Cow;

/// A row of a table: names and values.
#[derive(Clone)]
pub struct Row {
    table: Table,
    values: Vec<Value>,
    version: RowVersion,
}

impl Row {
    /// A row with the defaults of all columns; NULL where there is none, and the time of this call where new rows take the current time.
    pub fn new(table: &Table) -> Row {
        let clock = Clock::default();
        let values = table.definition().columns.iter().map(|column| clock.owned_default_of(column)).collect();
        Row { table: Table::clone(table), values, version: RowVersion::default() }
    }

    pub(crate) fn from_view(table: &Table, version: RowVersion, view: &RowView<'_>) -> Result<Row> {
        Ok(Row { table: Table::clone(table), values: view.to_values()?, version })
    }

    /// A row of the result of a scan.
    pub(crate) fn of_result(table: &Table, values: Vec<Value>) -> Row {
        Row { table: Table::clone(table), values, version: RowVersion::default() }
    }

    /// Sets a column.
    ///
    /// # Errors
    /// `InvalidRequest` when the table has no such column.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) -> Result<()> {
        let index = self.table.column(name)?;
        self.values[usize::from(index)] = value.into();
        Ok(())
    }

    /// Sets a column and returns the row.
    ///
    /// # Errors
    /// `InvalidRequest` when the table has no such column.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Result<Row> {
        self.set(name, value)?;
        Ok(self)
    }

    /// The value of a column; `None` when the table has no such column.
    pub fn value(&self, name: &str) -> Option<&Value> {
        let index = self.table.definition().column_index(name)?;
        self.values.get(usize::from(index))
    }

    /// The value of a column as a Rust type; `Option` takes NULL.
    ///
    /// # Errors
    /// `InvalidRequest` when there is no such column or its value is not of that type.
    pub fn get<T: ColumnValue>(&self, name: &str) -> Result<T> {
        let index = usize::from(self.table.column(name)?);
        T::from_value((&self.values[index]).into()).ok_or_else(|| {
            let kind = duet_protocol::value::ValueRef::from(&self.values[index]).kind();
            let wanted = std::any::type_name::<T>();
            Error::new(
                ErrorCode::InvalidRequest,
                &format!("column '{name}' holds {kind}, which is no {wanted}"),
            )
        })
    }

    /// The values in table order.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Names and values in table order.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Value)> {
        let names = self.table.definition().columns.iter().map(|column| column.name.as_str());
        names.zip(&self.values)
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Version of the row as it was read; zero in a row that was not read.
    pub fn version(&self) -> RowVersion {
        self.version
    }
}

/// Names and values.
impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut row = f.debug_struct("Row");
        for (name, value) in self.columns() {
            row.field(name, value);
        }
        row.finish()
    }
}

/// Rows of the same table with the same values are equal, whatever their versions.
impl PartialEq for Row {
    fn eq(&self, other: &Row) -> bool {
        self.table.id() == other.table.id() && self.values == other.values
    }
}

/// Something that gives the values of a whole row in table order: a [`Row`], a list of values, or pairs of names and
/// values, where columns that are not named take their defaults, or the current time.
pub trait RowValues {
    /// The values.
    ///
    /// # Errors
    /// When a name is unknown or the row belongs to another table.
    fn row_values(&self, table: &TableInfo) -> Result<Cow<'_, [Value]>>;
}

impl RowValues for Row {
    fn row_values(&self, table: &TableInfo) -> Result<Cow<'_, [Value]>> {
        if self.table.id() != table.id() {
            let detail =
                format!("the row belongs to table '{}', not to '{}'", self.table.name(), table.name());
            return Err(Error::new(ErrorCode::InvalidRequest, &detail));
        }
        // Columns that were added to the table since the row was made.
        let added = table.definition().columns.get(self.values.len()..).unwrap_or_default();
        if added.is_empty() {
            return Ok(Cow::Borrowed(&self.values));
        }
        let clock = Clock::default();
        let defaults = added.iter().map(|column| clock.owned_default_of(column));
        Ok(Cow::Owned(self.values.iter().cloned().chain(defaults).collect()))
    }
}

impl RowValues for [Value] {
    fn row_values(&self, _table: &TableInfo) -> Result<Cow<'_, [Value]>> {
        Ok(Cow::Borrowed(self))
    }
}

impl RowValues for Vec<Value> {
    fn row_values(&self, _table: &TableInfo) -> Result<Cow<'_, [Value]>> {
        Ok(Cow::Borrowed(self))
    }
}

impl<const N: usize> RowValues for [Value; N] {
    fn row_values(&self, _table: &TableInfo) -> Result<Cow<'_, [Value]>> {
        Ok(Cow::Borrowed(self))
    }
}

impl RowValues for [(&str, Value)] {
    fn row_values(&self, table: &TableInfo) -> Result<Cow<'_, [Value]>> {
        let clock = Clock::default();
        let mut values: Vec<Value> =
            table.definition().columns.iter().map(|column| clock.owned_default_of(column)).collect();
        for (name, value) in self {
            values[usize::from(table.column(name)?)] = value.clone();
        }
        Ok(Cow::Owned(values))
    }
}

impl<const N: usize> RowValues for [(&str, Value); N] {
    fn row_values(&self, table: &TableInfo) -> Result<Cow<'_, [Value]>> {
        self.as_slice().row_values(table)
    }
}

impl<R: RowValues + ?Sized> RowValues for &R {
    fn row_values(&self, table: &TableInfo) -> Result<Cow<'_, [Value]>> {
        (**self).row_values(table)
    }
}
