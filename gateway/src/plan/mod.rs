//! From syntax trees to what is executed: which rows, by which index, and what is done with them.

mod access;
mod change;
pub mod character_sets;
mod definition;
pub mod pushdown;
mod select;

pub use access::{Access, AccessKind, BoundAccess, unique_indexes};
pub use change::{
    Assignments, DeletePlan, InsertMode, InsertPlan, UpdatePlan, compile_delete, compile_insert,
    compile_update, default_of, delete_tables, insert_table, times_of_change,
};
pub use definition::{
    NewTable, column_definition, column_type, column_type_name, definition_error, free_name, key_columns,
    new_table, type_name,
};
pub use select::{
    Names, SelectPlan, bare, check_result_columns, check_select_form, check_waits, compile_select,
    is_of_mysql, item_name, order_matches, query_table, repeats_random,
};

use crate::error::{Result, SqlError, not_supported};
use duet_client::Table;
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart, TableFactor, TableWithJoins};

/// Database and name of a table; no database where the statement names none.
///
/// # Errors
/// 1235 for names of more than two parts.
pub fn table_name(name: &ObjectName) -> Result<(Option<String>, String)> {
    let mut parts = Vec::new();
    for part in &name.0 {
        let ObjectNamePart::Identifier(part) = part else { return not_supported("this form of a name") };
        parts.push(part.value.clone());
    }
    match parts.len() {
        1 => Ok((None, parts.remove(0))),
        2 => Ok((Some(parts.remove(0)), parts.remove(0))),
        _ => not_supported("names of more than two parts"),
    }
}

/// A table as a statement names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTable {
    /// Database, if it is given.
    pub database: Option<String>,
    /// Name.
    pub name: String,
    /// What it is called in the statement.
    pub alias: String,
}

/// The only table of a FROM clause.
///
/// # Errors
/// 1235 for joins and everything else that is not one table.
pub fn single_table(from: &[TableWithJoins]) -> Result<NamedTable> {
    let [TableWithJoins { relation, joins }] = from else {
        return not_supported("several tables in one statement");
    };
    if !joins.is_empty() {
        return not_supported("JOIN");
    }
    let TableFactor::Table {
        name,
        alias,
        args: None,
        version: None,
        with_ordinality: false,
        partitions,
        sample: None,
        ..
    } = relation
    else {
        return not_supported("subqueries and functions in FROM");
    };
    if !partitions.is_empty() {
        return not_supported("PARTITION");
    }
    let (database, name) = table_name(name)?;
    let alias = match alias {
        Some(alias) if alias.columns.is_empty() => alias.name.value.clone(),
        Some(_) => return not_supported("names of columns in FROM"),
        None => name.clone(),
    };
    Ok(NamedTable { database, name, alias })
}

/// Hints choose nothing here, but the indexes that they name have to exist.
///
/// # Errors
/// 1176 where one does not.
pub fn check_hints(factor: &TableFactor, table: &Table, alias: &str) -> Result<()> {
    let TableFactor::Table { index_hints, .. } = factor else { return Ok(()) };
    if index_hints.is_empty() {
        return Ok(());
    }
    let mut names = index_hints.iter().flat_map(|hint| &hint.index_names);
    let indexes = table.definition().indexes.iter().map(|index| index.name.as_str());
    let known: Vec<&str> = std::iter::once("PRIMARY").chain(indexes).collect();
    let is_missing = |name: &&Ident| {
        // The beginning of a name is enough where no other name begins so.
        let starts = |known: &&&str| {
            known.get(..name.value.len()).is_some_and(|start| start.eq_ignore_ascii_case(&name.value))
        };
        !known.iter().any(|known| known.eq_ignore_ascii_case(&name.value))
            && known.iter().filter(starts).count() != 1
    };
    match names.find(is_missing) {
        None => Ok(()),
        Some(name) => {
            let message = format!("Key '{}' doesn't exist in table '{alias}'", name.value);
            Err(SqlError { code: 1_176, state: "42000", message })
        }
    }
}

/// A plan for a statement on one table.
#[derive(Clone, Debug)]
pub enum Plan {
    /// SELECT.
    Select(SelectPlan),
    /// INSERT, REPLACE.
    Insert(InsertPlan),
    /// UPDATE.
    Update(UpdatePlan),
    /// DELETE.
    Delete(DeletePlan),
}

impl Plan {
    /// The table, if there is one.
    pub fn table(&self) -> Option<&Table> {
        match self {
            Plan::Select(plan) => plan.table.as_ref(),
            Plan::Insert(plan) => Some(&plan.table),
            Plan::Update(plan) => Some(&plan.table),
            Plan::Delete(plan) => Some(&plan.table),
        }
    }
}
