//! INSERT, REPLACE, UPDATE and DELETE of one table.

use super::{Access, table_name};
use crate::error::{Result, SqlError, not_supported};
use crate::execute::transaction::{encoded, key_of};
use crate::expression::{Expression, Function, Scope, compile};
use crate::value::arithmetic::Operator;
use duet_client::{Column, ColumnType, Table, Value};
use sqlparser::ast::{
    self, AssignmentTarget, Expr, FromTable, ObjectName, OnInsert, SetExpr, TableObject, TableWithJoins,
};
use std::collections::HashMap;

/// What an INSERT does where there is a row already.
#[derive(Clone, Debug, PartialEq)]
pub enum InsertMode {
    /// Fails.
    Fail,
    /// Leaves it, with a warning.
    Ignore,
    /// Replaces it.
    Replace,
    /// Changes it.
    Update(Assignments),
}

/// Columns and what they are set to.
pub type Assignments = Vec<(usize, Expression)>;

/// A compiled INSERT or REPLACE.
#[derive(Clone, Debug)]
pub struct InsertPlan {
    /// The table.
    pub table: Table,
    /// Columns that are given, in the order of the values.
    pub columns: Vec<usize>,
    /// Values of each row; `None` for DEFAULT.
    pub rows: Vec<Vec<Option<Expression>>>,
    /// What happens to rows that exist.
    pub mode: InsertMode,
    /// For each row other values of the query that it is from, which come behind its own ones as proposed ones.
    pub beside: Vec<Vec<Value>>,
}

/// A compiled UPDATE.
#[derive(Clone, Debug)]
pub struct UpdatePlan {
    /// The table.
    pub table: Table,
    /// What is set.
    pub assignments: Assignments,
    /// Whether an assignment sees, or undoes, what an earlier one did: then they are made one after the other.
    pub is_chained: bool,
    /// The AUTO_INCREMENT column, where it may be set.
    pub numbered: Option<u16>,
    /// Which rows.
    pub filter: Option<Expression>,
    /// How they are found.
    pub access: Access,
    /// Most rows.
    pub limit: Option<Expression>,
    /// Order of the rows.
    pub order: Vec<(Expression, bool)>,
    /// By the encoded keys of rows values that were computed for them, as proposed ones.
    pub given: HashMap<Vec<u8>, Vec<Value>>,
}

/// A compiled DELETE.
#[derive(Clone, Debug)]
pub struct DeletePlan {
    /// The table.
    pub table: Table,
    /// Which rows.
    pub filter: Option<Expression>,
    /// How they are found.
    pub access: Access,
    /// Most rows.
    pub limit: Option<Expression>,
    /// Order of the rows.
    pub order: Vec<(Expression, bool)>,
}

/// The table that an INSERT names.
///
/// # Errors
/// 1235 for what is no table.
pub fn insert_table(insert: &ast::Insert) -> Result<&ObjectName> {
    match &insert.table {
        TableObject::TableName(name) => Ok(name),
        TableObject::TableFunction(_) | TableObject::TableQuery(_) => {
            not_supported("INSERT into what is no table")
        }
    }
}

/// The tables that a DELETE names.
///
/// # Errors
/// 1235 for several tables.
pub fn delete_tables(delete: &ast::Delete) -> Result<&[TableWithJoins]> {
    if !delete.tables.is_empty() || delete.using.is_some() {
        return not_supported("DELETE of several tables");
    }
    match &delete.from {
        FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables) => Ok(tables),
    }
}

fn column_of(target: &ObjectName, table: &Table, alias: &str, place: &'static str) -> Result<usize> {
    let (qualifier, name) = match target.0.as_slice() {
        [.., table, name] => (Some(table.to_string().replace('`', "")), name),
        [name] => (None, name),
        [] => return not_supported("names without parts"),
    };
    let name = name.as_ident().map(|name| name.value.clone()).unwrap_or_default();
    let unknown = || SqlError::no_column(&name, place);
    if qualifier.is_some_and(|qualifier| qualifier != alias && qualifier != table.name()) {
        return Err(unknown());
    }
    table.definition().column_index(&name).map(usize::from).ok_or_else(unknown)
}

fn assignments(
    list: &[ast::Assignment],
    table: &Table,
    alias: &str,
    row_alias: Option<&str>,
) -> Result<Assignments> {
    let mut scope = Scope::of(table, alias, "field list");
    scope.proposed = row_alias.is_some();
    scope.row_alias = row_alias.unwrap_or_default();
    let mut compiled: Assignments = Vec::with_capacity(list.len());
    for assignment in list {
        let AssignmentTarget::ColumnName(target) = &assignment.target else {
            return not_supported("assignments of several columns");
        };
        let column = column_of(target, table, alias, "field list")?;
        let value = match &assignment.value {
            Expr::Identifier(word) if is_default(word) => default_expression(table, column)?,
            value => compile(value, &mut scope)?,
        };
        compiled.push((column, value));
    }
    Ok(compiled)
}

/// Whether an assignment sees, or undoes, what an earlier one did.
fn is_chained(assignments: &Assignments) -> bool {
    assignments.iter().enumerate().any(|(index, (column, value))| {
        let is_set_before = |column: &usize| assignments[..index].iter().any(|(set, _)| set == column);
        let mut chained = is_set_before(column);
        value
            .walk(&mut |part| chained |= matches!(part, Expression::Column(column) if is_set_before(column)));
        chained
    })
}

fn is_default(word: &ast::Ident) -> bool {
    word.quote_style.is_none() && word.value.eq_ignore_ascii_case("DEFAULT")
}

/// The value of a column that is not given; `now` are the microseconds since 1970 when the statement began.
///
/// # Errors
/// 1364 when there is none.
pub fn default_of(table: &Table, column: usize, now: i64) -> Result<Value> {
    let column = &table.definition().columns[column];
    match column.default_at(|| now) {
        Some(value) => Ok(value),
        None if column.nullable => Ok(Value::Null),
        None => Err(SqlError::no_default(format!("Field '{}' doesn't have a default value", column.name))),
    }
}

/// What DEFAULT stands for, whenever the statement is executed.
fn default_expression(table: &Table, column: usize) -> Result<Expression> {
    match table.definition().columns[column].current_time {
        Some(rule) if rule.on_insert => {
            let digits = Expression::Constant(Value::Int(i64::from(rule.digits)));
            Ok(Expression::Call(Function::Now, vec![digits]))
        }
        _ => default_of(table, column, 0).map(Expression::Constant),
    }
}

/// The columns that take the current time when a row changes and that these assignments do not give, each with that time; `now` are the
/// microseconds since 1970 when the statement began.
pub fn times_of_change(table: &Table, assignments: &Assignments, now: i64) -> Vec<(u16, Value)> {
    let untouched = untouched_times(table, assignments);
    untouched.filter_map(|(index, column)| Some((index, column.time_of(|| now)?))).collect()
}

fn untouched_times<'t>(
    table: &'t Table,
    assignments: &'t Assignments,
) -> impl Iterator<Item = (u16, &'t Column)> {
    let columns = table.definition().columns.iter().enumerate();
    let untouched = columns.filter(|(index, column)| {
        column.takes_time_on_update() && !assignments.iter().any(|(assigned, _)| assigned == index)
    });
    untouched.map(|(index, column)| (index as u16, column))
}

/// Compiles INSERT and REPLACE. Where it has a query, `queried` are the number of its columns and its rows.
///
/// # Errors
/// 1054, 1110 and 1136 for columns that do not fit, 1235 for what is not supported.
pub fn compile_insert(
    insert: &ast::Insert,
    table: Table,
    queried: Option<(usize, Vec<Vec<Value>>)>,
) -> Result<InsertPlan> {
    let plain = insert.or.is_none()
        && !insert.overwrite
        && insert.partitioned.is_none()
        && insert.after_columns.is_empty()
        && insert.returning.is_none()
        && insert.output.is_none()
        && insert.settings.is_none()
        && insert.format_clause.is_none()
        && insert.multi_table_insert_type.is_none()
        && insert
            .insert_alias
            .as_ref()
            .is_none_or(|alias| alias.col_aliases.as_ref().is_none_or(Vec::is_empty));
    if !plain {
        return not_supported("PARTITION, RETURNING and the like of INSERT");
    }
    let alias =
        insert.table_alias.as_ref().map_or(table.name(), |alias| alias.alias.value.as_str()).to_owned();
    let count = table.definition().columns.len();
    let mut columns = Vec::new();
    for name in &insert.columns {
        let column = column_of(name, &table, &alias, "field list")?;
        if columns.contains(&column) {
            let name = &table.definition().columns[column].name;
            return Err(SqlError::column_twice(format!("Column '{name}' specified twice")));
        }
        columns.push(column);
    }
    let mut scope = Scope::empty("field list");
    let mut rows: Vec<Vec<Option<Expression>>> = Vec::new();
    if !insert.assignments.is_empty() {
        let mut row = Vec::new();
        for assignment in &insert.assignments {
            let AssignmentTarget::ColumnName(target) = &assignment.target else {
                return not_supported("assignments of several columns");
            };
            columns.push(column_of(target, &table, &alias, "field list")?);
            row.push(given(&assignment.value, &mut scope)?);
        }
        rows.push(row);
    } else if let Some((width, queried)) = queried {
        if insert.columns.is_empty() {
            columns = (0..count).collect();
        }
        if width != columns.len() {
            let text = "Column count doesn't match value count at row 1";
            return Err(SqlError::wrong_column_count(text));
        }
        let row = |row: Vec<Value>| row.into_iter().map(|value| Some(Expression::Constant(value))).collect();
        rows = queried.into_iter().map(row).collect();
    } else {
        if insert.columns.is_empty() {
            columns = (0..count).collect();
        }
        let Some(source) = &insert.source else { return not_supported("INSERT without values") };
        let SetExpr::Values(values) = source.body.as_ref() else { return not_supported("INSERT … SELECT") };
        if source.order_by.is_some() || source.limit_clause.is_some() || source.with.is_some() {
            return not_supported("ORDER BY, LIMIT and WITH of an INSERT with values");
        }
        rows.reserve(values.rows.len());
        for (number, row) in values.rows.iter().enumerate() {
            let row = &row.content;
            // `VALUES ()` gives defaults to all columns.
            if row.is_empty() && insert.columns.is_empty() {
                rows.push(vec![None; count]);
                continue;
            }
            if row.len() != columns.len() {
                let text = format!("Column count doesn't match value count at row {}", number + 1);
                return Err(SqlError::wrong_column_count(text));
            }
            rows.push(row.iter().map(|value| given(value, &mut scope)).collect::<Result<_>>()?);
        }
    }
    let mode = match (&insert.on, insert.replace_into, insert.ignore) {
        (None, false, false) => InsertMode::Fail,
        (None, false, true) => InsertMode::Ignore,
        (None, true, false) => InsertMode::Replace,
        (Some(OnInsert::DuplicateKeyUpdate(list)), false, false) => {
            // Empty without an alias: VALUES() is there in any case.
            let row = insert.insert_alias.as_ref().map(|named| table_name(&named.row_alias)).transpose()?;
            let row = row.map_or(String::new(), |(_, name)| name);
            InsertMode::Update(assignments(list, &table, &alias, Some(&row))?)
        }
        _ => return not_supported("IGNORE and REPLACE with ON DUPLICATE KEY UPDATE"),
    };
    Ok(InsertPlan { table, columns, rows, mode, beside: Vec::new() })
}

fn given(value: &Expr, scope: &mut Scope<'_>) -> Result<Option<Expression>> {
    match value {
        Expr::Identifier(word) if is_default(word) => Ok(None),
        value => compile(value, scope).map(Some),
    }
}

fn order_of(list: &[ast::OrderByExpr], table: &Table, alias: &str) -> Result<Vec<(Expression, bool)>> {
    let mut scope = Scope::of(table, alias, "order clause");
    let part = |part: &ast::OrderByExpr| -> Result<(Expression, bool)> {
        let down = match &part.options.sort {
            None | Some(ast::OrderBySort::Asc) => false,
            Some(ast::OrderBySort::Desc) => true,
            Some(ast::OrderBySort::Using(_)) => return not_supported("this form of ORDER BY"),
        };
        Ok((compile(&part.expr, &mut scope)?, down))
    };
    list.iter().map(part).collect()
}

fn limit_of(limit: Option<&Expr>) -> Result<Option<Expression>> {
    limit.map(|limit| compile(limit, &mut Scope::empty("limit clause"))).transpose()
}

/// Compiles UPDATE.
///
/// # Errors
/// 1054 for unknown columns, 1235 for what is not supported.
pub fn compile_update(update: &ast::Update, table: Table, alias: &str) -> Result<UpdatePlan> {
    if update.from.is_some() || update.returning.is_some() || update.output.is_some() || update.or.is_some() {
        return not_supported("FROM, RETURNING and the like of UPDATE");
    }
    super::check_hints(&update.table.relation, &table, alias)?;
    let assignments = assignments(&update.assignments, &table, alias, None)?;
    let mut scope = Scope::of(&table, alias, "where clause");
    let filter = update.selection.as_ref().map(|filter| compile(filter, &mut scope)).transpose()?;
    let access = Access::choose(&table, filter.as_ref());
    let order = order_of(&update.order_by, &table, alias)?;
    let limit = limit_of(update.limit.as_ref())?;
    let is_chained = is_chained(&assignments);
    Ok(UpdatePlan {
        assignments,
        is_chained,
        numbered: None,
        filter,
        access,
        limit,
        order,
        table,
        given: HashMap::new(),
    })
}

/// Compiles DELETE.
///
/// # Errors
/// As [`compile_update`].
pub fn compile_delete(delete: &ast::Delete, table: Table, alias: &str) -> Result<DeletePlan> {
    if delete.returning.is_some() || delete.output.is_some() {
        return not_supported("RETURNING of DELETE");
    }
    let mut scope = Scope::of(&table, alias, "where clause");
    let filter = delete.selection.as_ref().map(|filter| compile(filter, &mut scope)).transpose()?;
    let access = Access::choose(&table, filter.as_ref());
    let order = order_of(&delete.order_by, &table, alias)?;
    let limit = limit_of(delete.limit.as_ref())?;
    Ok(DeletePlan { filter, access, limit, order, table })
}

impl UpdatePlan {
    /// Whether columns of the primary key are set, maybe to what they are.
    pub fn sets_key(&self) -> bool {
        let definition = self.table.definition();
        self.assignments.iter().any(|(column, _)| definition.is_key_column(*column as u16))
    }

    /// The values that were computed for a row.
    ///
    /// # Errors
    /// When its key does not fit the table.
    pub fn given_to(&self, row: &[Value]) -> Result<&[Value]> {
        if self.given.is_empty() {
            return Ok(&[]);
        }
        let key = encoded(&self.table, &key_of(&self.table, row))?;
        Ok(self.given.get(&key).map_or(&[], Vec::as_slice))
    }

    /// The columns to which constants are added, if that is all that the statement does to its rows: then the data node can do it without
    /// the row being read. Only integer columns that are never NULL, so that every row that is found changes, and columns that take the
    /// time of a change can be written with it.
    pub fn additions(&self) -> Option<Vec<(usize, bool, &Expression)>> {
        let columns = &self.table.definition().columns;
        if self.sets_key() || self.is_chained {
            return None;
        }
        let indexed = |column: usize| {
            let unique = |index: &&duet_client::IndexDefinition| index.kind == duet_client::IndexKind::Unique;
            let mut indexes = self.table.definition().indexes.iter().filter(unique);
            indexes.any(|index| index.columns.contains(&(column as u16)))
        };
        let addition = |(column, _): &(usize, Expression)| {
            let definition = &columns[*column];
            let is_integer = crate::value::store::integer_range(definition.column_type).is_some()
                && definition.column_type != ColumnType::Boolean;
            if !is_integer || definition.nullable || indexed(*column) {
                return None;
            }
            Some(*column)
        };
        if untouched_times(&self.table, &self.assignments).any(|(column, _)| indexed(usize::from(column))) {
            return None;
        }
        let mut list = Vec::with_capacity(self.assignments.len());
        for pair in &self.assignments {
            let column = addition(pair)?;
            match &pair.1 {
                Expression::Arithmetic(operator @ (Operator::Add | Operator::Subtract), a, b)
                    if **a == Expression::Column(column) && b.is_constant() =>
                {
                    list.push((column, *operator == Operator::Subtract, b.as_ref()));
                }
                Expression::Arithmetic(Operator::Add, a, b)
                    if **b == Expression::Column(column) && a.is_constant() =>
                {
                    list.push((column, false, a.as_ref()));
                }
                _ => return None,
            }
        }
        (!list.is_empty() && self.limit.is_none()).then_some(list)
    }
}
