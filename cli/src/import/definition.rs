//! From a file to a table: a new definition that fits its data, or the columns of an existing table.

use super::profile::ColumnProfile;
use super::source::Source;
use anyhow::{Context, Result, bail, ensure};
use duet_client::DEFAULT_DATABASE;
use duet_protocol::schema::{Column, TableDefinition};

/// Looks at every value of the file once. `progress` gets the number of rows of each batch.
///
/// # Errors
/// The file cannot be read.
pub fn profile(source: &Source, mut progress: impl FnMut(u64)) -> Result<Vec<ColumnProfile>> {
    let mut profiles: Vec<_> =
        source.columns().iter().map(|(_, declared)| ColumnProfile::new(*declared)).collect();
    for batch in source.batches()? {
        let batch = batch?;
        for row in (0..batch.rows()).filter(|row| batch.problem(*row).is_none()) {
            for (index, profile) in profiles.iter_mut().enumerate() {
                profile.add(&batch.cell(index, row));
            }
        }
        progress(batch.rows() as u64);
    }
    Ok(profiles)
}

/// A table whose columns hold the profiled data. Key columns are NOT NULL, all others nullable: a file without nulls
/// does not promise that the next one has none.
///
/// # Errors
/// A key column is not in the file, or the definition breaks a rule of tables.
pub fn new_table(
    name: &TableName,
    source: &Source,
    profiles: &[ColumnProfile],
    key: &[String],
) -> Result<TableDefinition> {
    let in_key = |column: &str| key.iter().any(|part| part.eq_ignore_ascii_case(column));
    for part in key {
        let known = source.columns().iter().any(|(column, _)| part.eq_ignore_ascii_case(column));
        ensure!(
            known,
            "{} has no column '{part}' for the key; its columns are {}",
            source.name(),
            names(source.columns().iter().map(|(column, _)| column))
        );
    }
    let mut builder = TableDefinition::builder(&name.database, &name.table).primary_key(key);
    for ((column, _), profile) in source.columns().iter().zip(profiles) {
        let mut new = Column::new(column, profile.column_type());
        new.nullable = !in_key(column);
        builder = builder.column(new);
    }
    let definition = builder.build();
    definition
        .map_err(|error| anyhow::anyhow!("error {}: {error}", error.code()))
        .context("no table fits the file")
}

/// Where the value of a table's column comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// A column of the file.
    File(usize),
    /// Not in the file: the default of the column, or NULL.
    Default,
}

/// Finds the columns of an existing table in the file.
///
/// # Errors
/// The file has a column that the table lacks, lacks one that the table needs, or `key` is another key.
pub fn existing_table(definition: &TableDefinition, source: &Source, key: &[String]) -> Result<Vec<Origin>> {
    let table = format!("table {}.{}", definition.database, definition.name);
    let key_names: Vec<&str> = definition
        .primary_key
        .iter()
        .map(|index| definition.columns[usize::from(*index)].name.as_str())
        .collect();
    let same_key = key.len() == key_names.len()
        && key.iter().zip(&key_names).all(|(given, name)| given.eq_ignore_ascii_case(name));
    ensure!(same_key || key.is_empty(), "{table} has the key {}, not {}", key_names.join(","), key.join(","));
    for (column, _) in source.columns() {
        ensure!(
            definition.column_index(column).is_some(),
            "{table} has no column '{column}'; its columns are {}",
            names(definition.columns.iter().map(|column| &column.name))
        );
    }
    let mut origins = Vec::with_capacity(definition.columns.len());
    for column in &definition.columns {
        let found = source.columns().iter().position(|(name, _)| name.eq_ignore_ascii_case(&column.name));
        match found {
            Some(index) => origins.push(Origin::File(index)),
            None if column.may_be_left_out() => origins.push(Origin::Default),
            None => bail!(
                "{} has no column '{}', which {table} needs; its columns are {}",
                source.name(),
                column.name,
                names(source.columns().iter().map(|(name, _)| name))
            ),
        }
    }
    Ok(origins)
}

/// `'id', 'name'`, not too many of them.
fn names<'a>(columns: impl ExactSizeIterator<Item = &'a String>) -> String {
    const SHOWN: usize = 30;
    let more = columns.len().saturating_sub(SHOWN);
    let shown: Vec<String> = columns.take(SHOWN).map(|column| format!("'{column}'")).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &more
}

/// Name of a table with its database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// Database.
    pub database: String,
    /// Table.
    pub table: String,
}

impl std::str::FromStr for TableName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<TableName> {
        let (database, table) = text.split_once('.').unwrap_or((DEFAULT_DATABASE, text));
        let sound = !database.is_empty() && !table.is_empty() && !table.contains('.');
        ensure!(sound, "'{text}' is not the name of a table: TABLE or DATABASE.TABLE");
        Ok(TableName { database: database.to_owned(), table: table.to_owned() })
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{}", self.database, self.table)
    }
}
