//! Which field of a struct belongs to which column of a table.

use crate::clock::Clock;
use crate::{
    Column, Error, ErrorCode, Result, RowField, RowView, Table, TableDefinition, TableRow, ValueRef,
};
use std::marker::PhantomData;

/// A table and where the fields of `T` are in it.
#[derive(Debug)]
pub(crate) struct Mapping<T> {
    pub(crate) table: Table,
    /// Column of each field.
    columns: Vec<u16>,
    /// Field of each column.
    fields: Vec<Option<usize>>,
    row: PhantomData<fn() -> T>,
}

impl<T> Clone for Mapping<T> {
    fn clone(&self) -> Mapping<T> {
        let (columns, fields) = (self.columns.clone(), self.fields.clone());
        Mapping { table: Table::clone(&self.table), columns, fields, row: PhantomData }
    }
}

/// The definition of a row type, after checking that the fields can hold what its columns do: attributes may say otherwise.
pub(crate) fn checked_definition<T: TableRow>() -> Result<TableDefinition> {
    let definition = T::definition()?;
    columns_of(T::fields(), &definition)?;
    Ok(definition)
}

/// The column of each field, each found to be of a type that the field holds, with the same primary key.
fn columns_of(fields: &[RowField], definition: &TableDefinition) -> Result<Vec<u16>> {
    let refused = |detail: String| {
        let table = format!("{}.{}", definition.database, definition.name);
        Err(Error::new(
            ErrorCode::InvalidSchema,
            &format!("the struct does not fit table '{table}': {detail}"),
        ))
    };
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let RowField { name, type_name, .. } = field;
        let Some(index) = definition.column_index(field.column) else {
            return refused(format!("there is no column '{}' for field '{name}'", field.column));
        };
        let Column { name: column, column_type, nullable, .. } = &definition.columns[usize::from(index)];
        if !(field.holds)(*column_type) {
            return refused(format!(
                "column '{column}' is {column_type}; field '{name}: {type_name}' cannot hold all of its values"
            ));
        }
        if *nullable && !field.is_nullable {
            return refused(format!(
                "column '{column}' is nullable; field '{name}: {type_name}' must be an Option<{type_name}>"
            ));
        }
        columns.push(index);
    }
    let key = fields.iter().zip(&columns).filter(|(field, _)| field.is_key).map(|(_, column)| *column);
    let key: Vec<u16> = key.collect();
    if key != definition.primary_key {
        let names = |columns: &[u16]| {
            let names = columns.iter().map(|column| definition.columns[usize::from(*column)].name.as_str());
            names.collect::<Vec<_>>().join(", ")
        };
        let (ours, theirs) = (names(&key), names(&definition.primary_key));
        return refused(format!("its primary key is ({theirs}), the fields marked as key are ({ours})"));
    }
    Ok(columns)
}

impl<T: TableRow> Mapping<T> {
    /// # Errors
    /// `InvalidSchema` when the type does not fit the table.
    pub(crate) fn new(table: Table) -> Result<Mapping<T>> {
        let columns = columns_of(T::fields(), table.definition())?;
        let mut fields = vec![None; table.definition().columns.len()];
        for (field, column) in columns.iter().enumerate() {
            fields[usize::from(*column)] = Some(field);
        }
        Ok(Mapping { table, columns, fields, row: PhantomData })
    }

    /// # Errors
    /// `InvalidRow` when a field does not take the value of its column.
    pub(crate) fn decode(&self, view: &RowView<'_>) -> Result<T> {
        let mut broken = None;
        let row = T::from_values(|field| {
            view.column(usize::from(self.columns[field])).unwrap_or_else(|error| {
                broken = Some(error);
                ValueRef::Null
            })
        });
        if let Some(error) = broken {
            return Err(error.into());
        }
        row.map_err(|field| {
            let name = T::column_names()[field];
            let detail = format!("column '{name}' of table '{}' does not fit its field", self.table.name());
            Error::new(ErrorCode::InvalidRow, &detail)
        })
    }

    /// The columns without a field.
    fn missing(&self) -> impl Iterator<Item = &Column> {
        let columns = self.table.definition().columns.iter().zip(&self.fields);
        columns.filter(|(_, field)| field.is_none()).map(|(column, _)| column)
    }

    /// Values of all columns in table order; columns without a field have their defaults, or the current time.
    fn encode<'r>(&'r self, row: &'r T) -> Vec<ValueRef<'r>> {
        let values = row.values();
        let columns = self.table.definition().columns.iter().zip(&self.fields);
        let clock = Clock::default();
        let value = |(column, field): (&'r Column, &Option<usize>)| match field {
            Some(field) => values[*field].clone(),
            None => clock.default_of(column),
        };
        columns.map(value).collect()
    }

    /// Values of a new row.
    ///
    /// # Errors
    /// `InvalidRequest` when a column without a field has neither a default nor may be NULL.
    pub(crate) fn encode_new<'r>(&'r self, row: &'r T) -> Result<Vec<ValueRef<'r>>> {
        match self.missing().find(|column| !column.may_be_left_out()) {
            None => Ok(self.encode(row)),
            Some(column) => {
                let detail = format!(
                    "column '{}' of table '{}' has no field in the struct, must not be NULL and has no default",
                    column.name,
                    self.table.name()
                );
                Err(Error::new(ErrorCode::InvalidRequest, &detail))
            }
        }
    }

    /// Values of a row that may replace another.
    ///
    /// # Errors
    /// `InvalidRequest` when the struct does not have all columns.
    pub(crate) fn encode_whole<'r>(&'r self, row: &'r T) -> Result<Vec<ValueRef<'r>>> {
        match self.missing().next() {
            None => Ok(self.encode(row)),
            Some(column) => {
                let detail = format!(
                    "the struct has no field for column '{}' of table '{}', which replacing the row would wipe out; use \
                     `update` to change the columns it has, or `insert` for a new row",
                    column.name,
                    self.table.name()
                );
                Err(Error::new(ErrorCode::InvalidRequest, &detail))
            }
        }
    }
}
