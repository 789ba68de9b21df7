//! Versions of a table: each is the one before it with a column more, at the end.
//!
//! Rows are not rewritten when a column is added. A row names the version that its value image follows, and whoever
//! reads it under a later version supplies the defaults of the columns that it lacks.

use super::{Column, MAX_VALUE_BYTES, SchemaError, Table, TableDefinition};
use crate::layout::TableLayout;

impl Table {
    /// The newest version that data nodes take in requests and rows: while a column is being added the one with it.
    #[must_use]
    pub fn newest_version(&self) -> u16 {
        self.version + u16::from(self.adding.is_some())
    }

    /// The definition as of a version; secondary indexes are left out, for they have no versions. `None` when there is no
    /// such version.
    #[must_use]
    pub fn definition_of(&self, version: u16) -> Option<TableDefinition> {
        let mut definition = TableDefinition { indexes: Vec::new(), ..self.definition.clone() };
        match &self.adding {
            _ if version == self.version => {}
            Some(column) if version == self.newest_version() => definition.columns.push(column.clone()),
            _ => {
                let count = self.older_columns.get(usize::from(version).checked_sub(1)?)?;
                definition.columns.truncate(usize::from(*count));
            }
        }
        Some(definition)
    }

    /// The first version that whole new rows may follow: rows of earlier ones lack a column that takes the current time, and would have
    /// that of the change which added it.
    #[must_use]
    pub fn first_version_of_new_rows(&self) -> u16 {
        let last = self.definition.columns.iter().rposition(super::Column::takes_time_on_insert);
        let lack = |count: &u16| last.is_some_and(|last| usize::from(*count) <= last);
        1 + self.older_columns.iter().filter(|count| lack(count)).count() as u16
    }

    /// Begins to add a column at the end.
    ///
    /// # Errors
    /// Whatever the table with the column would break, and `DefaultNeeded` where rows that exist would have no value.
    pub fn begin_column(&mut self, column: Column) -> Result<(), SchemaError> {
        if !column.nullable && column.default.is_none() {
            return Err(SchemaError::DefaultNeeded { column: column.name });
        }
        let mut definition = self.definition.clone();
        definition.columns.push(column.clone());
        let bytes = TableLayout::new(&definition)?.default_bytes();
        if bytes > MAX_VALUE_BYTES {
            return Err(SchemaError::RowTooLarge { bytes });
        }
        self.adding = Some(column);
        Ok(())
    }

    /// Makes the version with the column that is being added the table's own.
    pub fn finish_column(&mut self) {
        if let Some(column) = self.adding.take() {
            self.older_columns.push(self.definition.columns.len() as u16);
            self.definition.columns.push(column);
            self.version += 1;
        }
    }

    /// Whether the numbers of columns of the versions can be true.
    #[must_use]
    pub fn has_sound_versions(&self) -> bool {
        let counts = &self.older_columns;
        counts.len() + 1 == usize::from(self.version)
            && counts.is_sorted_by(|before, after| before < after)
            && counts.last().is_none_or(|last| usize::from(*last) < self.definition.columns.len())
    }
}
