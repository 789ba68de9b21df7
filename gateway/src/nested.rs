//! Changes with queries in them: INSERT … SELECT, and subqueries of UPDATE and DELETE.
//!
//! The queries are executed first, and their rows take their place as values. So the change that is left finds, locks and looks at its rows as
//! any other does. A condition with a subquery that needs columns of the changed table is a query for the keys of the rows that it is true
//! of; these are what the change is left with.

use crate::error::{Result, SqlError, not_supported};
use crate::execute::read::Values;
use crate::execute::transaction::encoded;
use crate::expression::Expression;
use crate::plan::{
    Assignments, InsertMode, Plan, compile_delete, compile_insert, delete_tables, insert_table, single_table,
    table_name,
};
use crate::session::{Outcome, Prepared, Rows, Session};
use duet_client::{Table, Value};
use sqlparser::ast::{
    self, AssignmentTarget, Expr, Ident, OnInsert, Query, Select, SelectItem, SetExpr, Statement,
    TableWithJoins,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Most rows of a query in a change: as many as a transaction writes.
const MAX_ROWS: usize = 16_384;
/// The code of a column that is not there.
const UNKNOWN_COLUMN: u16 = 1_054;

/// Whether a change has queries in it.
pub fn is_nested(statement: &Statement) -> bool {
    match statement {
        Statement::Insert(insert) => {
            insert.source.as_ref().is_some_and(|source| !matches!(source.body.as_ref(), SetExpr::Values(_)))
        }
        Statement::Update(update) => {
            update.selection.as_ref().is_some_and(has_query)
                || update.assignments.iter().any(|assignment| has_query(&assignment.value))
        }
        Statement::Delete(delete) => delete.selection.as_ref().is_some_and(has_query),
        _ => false,
    }
}

/// Executes such a change.
///
/// # Errors
/// Those of the statement.
pub async fn execute(
    session: &mut Session,
    statement: &Statement,
    mut parameters: Vec<Value>,
) -> Result<Outcome> {
    let plan = match statement {
        Statement::Insert(insert) => {
            let (database, name) = table_name(insert_table(insert)?)?;
            let table = session.table_to_change(database.as_deref(), &name).await?;
            let mut insert = insert.clone();
            let beside = columns_beside(&mut insert, &table, parameters.len())?;
            let Some(source) = &insert.source else { return not_supported("INSERT without values") };
            let (columns, mut rows) = rows_of(session, source, &parameters).await?;
            let width = columns - beside;
            let others: Vec<Values> = match beside {
                0 => Vec::new(),
                _ => rows.iter_mut().map(|row| row.split_off(width)).collect(),
            };
            let mut plan = compile_insert(&insert, table, Some((width, rows)))?;
            if let InsertMode::Update(assignments) = &mut plan.mode {
                propose(assignments, parameters.len(), plan.table.definition().columns.len());
            }
            plan.beside = others;
            Plan::Insert(plan)
        }
        Statement::Update(update) => {
            let named = single_table(std::slice::from_ref(&update.table))?;
            let table = session.table_to_change(named.database.as_deref(), &named.name).await?;
            let mut update = update.clone();
            let mut dependent = Vec::new();
            for (index, assignment) in update.assignments.iter_mut().enumerate() {
                if let AssignmentTarget::Tuple(_) = &assignment.target {
                    return not_supported("assignments of several columns");
                }
                let (mut value, before) = (assignment.value.clone(), parameters.len());
                match replace(session, &mut value, &mut parameters).await {
                    Ok(()) => assignment.value = value,
                    // It may be one of the table that is changed.
                    Err(error) if error.code == UNKNOWN_COLUMN => {
                        parameters.truncate(before);
                        dependent.push((index, error));
                    }
                    Err(error) => return Err(error),
                }
            }
            let from = update.table.clone();
            settle(session, &table, &from, &mut update.selection, &mut parameters).await?;
            let given = compute(session, &table, &mut update, &dependent, &mut parameters).await?;
            let mut plan = session.update_plan(&update, table, &named.alias).await?;
            propose(&mut plan.assignments, parameters.len(), 0);
            plan.given = given;
            Plan::Update(plan)
        }
        Statement::Delete(delete) => {
            let mut delete = delete.clone();
            let from = match delete_tables(&delete)? {
                [from] => from.clone(),
                _ => return not_supported("DELETE of several tables"),
            };
            let named = single_table(std::slice::from_ref(&from))?;
            let table = session.table_to_change(named.database.as_deref(), &named.name).await?;
            settle(session, &table, &from, &mut delete.selection, &mut parameters).await?;
            Plan::Delete(compile_delete(&delete, table, &named.alias)?)
        }
        other => return Session::unknown(other),
    };
    session.execute_plan(&Arc::new(plan), parameters).await
}

/// Makes the condition of a change one without subqueries.
async fn settle(
    session: &mut Session,
    table: &Table,
    from: &TableWithJoins,
    selection: &mut Option<Expr>,
    parameters: &mut Vec<Value>,
) -> Result<()> {
    let Some(condition) = selection else { return Ok(()) };
    let mut replaced = condition.clone();
    let before = parameters.len();
    match replace(session, &mut replaced, parameters).await {
        Ok(()) => *condition = replaced,
        // It may be one of the table that is changed.
        Err(error) if error.code == UNKNOWN_COLUMN => {
            parameters.truncate(before);
            *condition =
                keys(session, table, from, condition.clone(), parameters).await.map_err(|other| {
                    // What is unknown in both ways is unknown.
                    if other.code == UNKNOWN_COLUMN { error } else { other }
                })?;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The columns of its query that an INSERT … SELECT names behind ON DUPLICATE KEY UPDATE, which are not among the columns of the table: the query
/// gives them as well, behind what it gives the table, and parameters from `first` on take their place. How many these are.
fn columns_beside(insert: &mut ast::Insert, table: &Table, first: usize) -> Result<usize> {
    let (Some(OnInsert::DuplicateKeyUpdate(list)), Some(source)) = (&mut insert.on, &mut insert.source)
    else {
        return Ok(0);
    };
    let SetExpr::Select(select) = source.body.as_mut() else { return Ok(0) };
    if !matches!(&select.group_by, ast::GroupByExpr::Expressions(parts, _) if parts.is_empty()) {
        return Ok(0);
    }
    let alias = insert.table_alias.as_ref().map_or(table.name(), |alias| alias.alias.value.as_str());
    let is_variable = |name: &Ident| name.value.starts_with('@');
    let mut columns: Vec<Expr> = Vec::new();
    let mut pending: Vec<&mut Expr> = list.iter_mut().map(|assignment| &mut assignment.value).collect();
    while let Some(part) = pending.pop() {
        let is_of_query = match &*part {
            Expr::Identifier(name) => {
                let is_default = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("DEFAULT");
                !is_default && !is_variable(name) && table.definition().column_index(&name.value).is_none()
            }
            Expr::CompoundIdentifier(names) => match names.as_slice() {
                [.., of, _] => !is_variable(&names[0]) && of.value != alias && of.value != table.name(),
                _ => false,
            },
            _ => false,
        };
        if is_of_query {
            let known = columns.iter().position(|known| known == part);
            let number = known.unwrap_or_else(|| {
                columns.push(part.clone());
                columns.len() - 1
            });
            *part = parameter(first + number);
        } else {
            pending.extend(parts_to_change(part));
        }
    }
    if !columns.is_empty() && select.distinct.is_some() {
        return not_supported("columns of a SELECT DISTINCT in ON DUPLICATE KEY UPDATE");
    }
    let count = columns.len();
    select.projection.extend(columns.into_iter().map(SelectItem::UnnamedExpr));
    Ok(count)
}

/// Parameters from `first` on become proposed values from `behind` on.
fn propose(assignments: &mut Assignments, first: usize, behind: usize) {
    fn proposed(value: &Expression, first: usize, behind: usize) -> Expression {
        match value {
            Expression::Parameter(index) if *index >= first => Expression::Proposed(behind + index - first),
            other => other.mapped(&mut |part| proposed(part, first, behind)),
        }
    }
    for (_, value) in assignments {
        *value = proposed(value, first, behind);
    }
}

/// Computes the values of an UPDATE that need columns of the table: by the keys of the rows that it is to change, which its condition names from
/// then on. Parameters behind all others take the place of the values.
async fn compute(
    session: &mut Session,
    table: &Table,
    update: &mut ast::Update,
    dependent: &[(usize, SqlError)],
    parameters: &mut Vec<Value>,
) -> Result<HashMap<Vec<u8>, Values>> {
    let Some((_, unknown)) = dependent.first() else { return Ok(HashMap::new()) };
    let mut values = Vec::with_capacity(dependent.len());
    for (index, _) in dependent {
        let value = &update.assignments[*index].value;
        // Of names alone it is not known what they are of.
        let text = value.to_string().to_lowercase();
        let mut words = text.split(|character: char| !character.is_alphanumeric() && character != '_');
        let is_set_before = |word: &str| {
            update.assignments[..*index].iter().any(|earlier| match &earlier.target {
                AssignmentTarget::ColumnName(name) => name
                    .0
                    .last()
                    .and_then(|name| name.as_ident())
                    .is_some_and(|name| name.value.to_lowercase() == word),
                AssignmentTarget::Tuple(_) => true,
            })
        };
        if words.any(is_set_before) {
            return not_supported("assignments that depend on earlier assignments of the same statement");
        }
        values.push(value.clone());
    }
    let (from, condition) = (update.table.clone(), update.selection.take());
    let rows = rows_with(session, table, &from, condition.clone(), values, parameters).await;
    let mut rows = rows.map_err(|error| match error.code {
        // What is unknown in both ways is unknown.
        UNKNOWN_COLUMN => unknown.clone(),
        _ => error,
    })?;
    let mut given = HashMap::with_capacity(rows.len());
    for row in &mut rows {
        let values = row.split_off(table.definition().primary_key.len());
        given.insert(encoded(table, row)?, values);
    }
    let chosen = in_list(key_expression(table), rows, false, parameters);
    update.selection = Some(match condition {
        None => chosen,
        Some(condition) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(condition))),
            op: ast::BinaryOperator::And,
            right: Box::new(chosen),
        },
    });
    for (number, (index, _)) in dependent.iter().enumerate() {
        update.assignments[*index].value = parameter(parameters.len() + number);
    }
    Ok(given)
}

/// The primary key of a table.
fn key_expression(table: &Table) -> Expr {
    let mut names = key_names(table);
    if names.len() == 1 { names.remove(0) } else { Expr::Tuple(names) }
}

fn key_names(table: &Table) -> Vec<Expr> {
    let definition = table.definition();
    let name = |column: &u16| Ident::with_quote('`', &definition.columns[usize::from(*column)].name);
    definition.primary_key.iter().map(|column| Expr::Identifier(name(column))).collect()
}

/// The condition that is true of the rows of which this one is true now.
async fn keys(
    session: &mut Session,
    table: &Table,
    from: &TableWithJoins,
    condition: Expr,
    parameters: &mut Vec<Value>,
) -> Result<Expr> {
    let rows = rows_with(session, table, from, Some(condition), Vec::new(), parameters).await?;
    Ok(in_list(key_expression(table), rows, false, parameters))
}

/// The rows of which a condition is true now: their keys, and behind them the values of these expressions.
async fn rows_with(
    session: &mut Session,
    table: &Table,
    from: &TableWithJoins,
    condition: Option<Expr>,
    values: Vec<Expr>,
    parameters: &[Value],
) -> Result<Vec<Values>> {
    let mut query = template()?;
    let SetExpr::Select(select) = query.body.as_mut() else { return not_supported("this subquery") };
    let items = key_names(table).into_iter().map(|name| qualified(from, &name)).chain(values);
    let select: &mut Select = select;
    select.projection = items.map(SelectItem::UnnamedExpr).collect();
    select.from = vec![from.clone()];
    select.selection = condition;
    Ok(rows_of(session, &query, parameters).await?.1)
}

/// A column of the changed table, by what it is called in the statement.
fn qualified(from: &TableWithJoins, name: &Expr) -> Expr {
    let called = match &from.relation {
        ast::TableFactor::Table { alias: Some(alias), .. } => Some(alias.name.clone()),
        ast::TableFactor::Table { name, .. } => name.0.last().and_then(|part| part.as_ident().cloned()),
        _ => None,
    };
    match (called, name) {
        (Some(called), Expr::Identifier(name)) => Expr::CompoundIdentifier(vec![called, name.clone()]),
        (_, name) => name.clone(),
    }
}

/// The least values of columns that several rows have.
///
/// # Errors
/// Those of a query.
pub async fn first_duplicate(
    session: &mut Session,
    table: &Table,
    columns: &[&str],
) -> Result<Option<Values>> {
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let names: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
    let there: Vec<String> = names.iter().map(|name| format!("{name} IS NOT NULL")).collect();
    let (names, there) = (names.join(", "), there.join(" AND "));
    let (database, table) = (quoted(table.database()), quoted(table.name()));
    let sql = format!(
        "SELECT {names} FROM {database}.{table} WHERE {there} GROUP BY {names} HAVING COUNT(*) > 1 ORDER BY {names} LIMIT 1"
    );
    let statement = crate::parse::tokens(&sql)?.pop().map(crate::parse::Tokens::parse).transpose()?;
    let Some(Statement::Query(query)) = statement else { return Ok(None) };
    Ok(rows_of(session, &query, &[]).await?.1.into_iter().next())
}

/// A query to be filled in.
fn template() -> Result<Query> {
    let statement = crate::parse::tokens("SELECT 1 FROM t")?.pop().map(crate::parse::Tokens::parse);
    match statement {
        Some(Ok(Statement::Query(query))) => Ok(*query),
        _ => not_supported("this subquery"),
    }
}

/// Executes a query within a statement: how many columns it has, and its rows.
async fn rows_of(session: &mut Session, query: &Query, parameters: &[Value]) -> Result<(usize, Vec<Values>)> {
    let (columns, rows) = opened(session, query, parameters).await?;
    Ok((columns, collect(session, rows).await?))
}

/// Begins to execute a query within a statement: how many columns it has, and its rows.
///
/// # Errors
/// Those of the query.
pub async fn opened(session: &mut Session, query: &Query, parameters: &[Value]) -> Result<(usize, Rows)> {
    let statement = Statement::Query(Box::new(query.clone()));
    let outcome = match session.prepare_statement(statement).await? {
        Prepared::Planned(plan) => session.execute_plan(&plan, parameters.to_vec()).await?,
        Prepared::Query(query) => crate::query::execute(session, &query, parameters.to_vec()).await?,
        Prepared::Nested(_) | Prepared::Other(_) | Prepared::Account(_) | Prepared::Request(_) => {
            return not_supported("this subquery");
        }
    };
    let Outcome::Rows { head, rows } = outcome else { return not_supported("this subquery") };
    Ok((head.columns().len(), rows))
}

async fn collect(session: &Session, mut rows: Rows) -> Result<Vec<Values>> {
    let mut held = session.memory.hold();
    let mut all = Vec::new();
    while let Some(chunk) = rows.next().await? {
        for row in chunk {
            if all.len() == MAX_ROWS {
                let text = format!("a query within a change gives at most {MAX_ROWS} rows");
                return Err(SqlError::other(text));
            }
            held.add(&row)?;
            all.push(row);
        }
    }
    Ok(all)
}

macro_rules! parts {
    ($name:ident $(, $change:tt)?) => {
        /// The parts of an expression that is no query itself, as far as subqueries are looked for in it.
        fn $name(expression: &$($change)? Expr) -> Vec<&$($change)? Expr> {
            match expression {
                Expr::BinaryOp { left, right, .. } => vec![left, right],
                Expr::UnaryOp { expr, .. }
                | Expr::Nested(expr)
                | Expr::IsNull(expr)
                | Expr::IsNotNull(expr)
                | Expr::IsTrue(expr)
                | Expr::IsNotTrue(expr)
                | Expr::IsFalse(expr)
                | Expr::IsNotFalse(expr)
                | Expr::Cast { expr, .. }
                | Expr::InSubquery { expr, .. } => vec![expr],
                Expr::Like { expr, pattern, .. } => vec![expr, pattern],
                Expr::Case { operand, conditions, else_result, .. } => {
                    let mut all: Vec<&$($change)? Expr> = Vec::new();
                    if let Some(part) = operand {
                        all.push(part);
                    }
                    for case in conditions {
                        all.extend([&$($change)? case.condition, &$($change)? case.result]);
                    }
                    if let Some(part) = else_result {
                        all.push(part);
                    }
                    all
                }
                Expr::Between { expr, low, high, .. } => vec![expr, low, high],
                Expr::InList { expr, list, .. } => {
                    let mut all: Vec<&$($change)? Expr> = vec![expr];
                    all.extend(list);
                    all
                }
                Expr::Tuple(list) => Vec::from_iter(list),
                Expr::Function(function) => match &$($change)? function.args {
                    ast::FunctionArguments::List(list) => {
                        let mut all = Vec::with_capacity(list.args.len());
                        for argument in &$($change)? list.args {
                            if let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) = argument {
                                all.push(expr);
                            }
                        }
                        all
                    }
                    _ => Vec::new(),
                },
                _ => Vec::new(),
            }
        }
    };
}

parts!(parts);
parts!(parts_to_change, mut);

/// Whether there are queries in an expression.
pub fn has_query(expression: &Expr) -> bool {
    let mut pending = vec![expression];
    while let Some(part) = pending.pop() {
        if matches!(part, Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. }) {
            return true;
        }
        pending.extend(parts(part));
    }
    false
}

/// Executes the subqueries of an expression and puts their values in their places.
///
/// # Errors
/// Those of the queries; 1241 and 1242 for other values than one.
pub async fn replace(
    session: &mut Session,
    expression: &mut Expr,
    parameters: &mut Vec<Value>,
) -> Result<()> {
    let mut pending = vec![expression];
    while let Some(part) = pending.pop() {
        let value = match part {
            Expr::Subquery(query) => Some(scalar(session, query, parameters).await?),
            Expr::Exists { subquery, negated } => {
                let (_, rows) = rows_of(session, subquery, parameters).await?;
                Some(truth(rows.is_empty() == *negated))
            }
            Expr::InSubquery { expr, subquery, negated } => {
                let (columns, rows) = rows_of(session, subquery, parameters).await?;
                let width = if let Expr::Tuple(list) = expr.as_ref() { list.len() } else { 1 };
                if columns != width {
                    let text = format!("Operand should contain {width} column(s)");
                    return Err(SqlError::operand_columns(text));
                }
                Some(in_list(expr.as_ref().clone(), rows, *negated, parameters))
            }
            _ => None,
        };
        if let Some(value) = value {
            *part = value;
        }
        pending.extend(parts_to_change(part));
    }
    Ok(())
}

async fn scalar(session: &mut Session, query: &Query, parameters: &mut Vec<Value>) -> Result<Expr> {
    let (columns, rows) = rows_of(session, query, parameters).await?;
    if columns != 1 {
        return Err(SqlError::operand_columns("Operand should contain 1 column(s)"));
    }
    match rows.len() {
        0 | 1 => {
            let value = rows.into_iter().next().and_then(|row| row.into_iter().next());
            Ok(placeholder(value.unwrap_or(Value::Null), parameters))
        }
        _ => Err(SqlError {
            code: 1_242,
            state: "21000",
            message: "Subquery returns more than 1 row".to_owned(),
        }),
    }
}

fn placeholder(value: Value, parameters: &mut Vec<Value>) -> Expr {
    parameters.push(value);
    parameter(parameters.len() - 1)
}

fn parameter(number: usize) -> Expr {
    Expr::Value(ast::Value::Placeholder(format!("?{number}")).into())
}

fn truth(holds: bool) -> Expr {
    Expr::Value(ast::Value::Number(if holds { "1" } else { "0" }.to_owned(), false).into())
}

/// `expr IN (rows)`; nothing is in no rows, not even NULL.
fn in_list(expr: Expr, rows: Vec<Values>, negated: bool, parameters: &mut Vec<Value>) -> Expr {
    if rows.is_empty() {
        return truth(negated);
    }
    let mut list = Vec::with_capacity(rows.len());
    for row in rows {
        let mut values: Vec<Expr> = row.into_iter().map(|value| placeholder(value, parameters)).collect();
        list.push(match values.len() {
            1 => values.remove(0),
            _ => Expr::Tuple(values),
        });
    }
    Expr::InList { expr: Box::new(expr), list, negated }
}
