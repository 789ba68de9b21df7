//! Changes with queries in them: INSERT … SELECT, and subqueries of UPDATE and DELETE.
//!
//! The queries are executed first, and their rows take their place as values. So the change that is left finds, locks and looks at its rows as
//! any other does. A condition with a subquery that needs columns of the changed table is a query for the keys of the rows that it is true
//! of; these are what the change is left with.

use crate::error::{Result, SqlError, not_supported};
use crate::execute::read::Values;
use crate::plan::{
    Plan, compile_delete, compile_insert, compile_update, delete_tables, insert_table, single_table,
    table_name,
};
use crate::session::{Outcome, Prepared, Rows, Session};
use duet_client::{Table, Value};
use sqlparser::ast::{
    self, AssignmentTarget, Expr, Ident, Query, Select, SelectItem, SetExpr, Statement, TableWithJoins,
};
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
            let Some(source) = &insert.source else { return not_supported("INSERT without values") };
            let (columns, rows) = rows_of(session, source, &parameters, MAX_ROWS).await?;
            Plan::Insert(compile_insert(insert, table, Some((columns, rows)))?)
        }
        Statement::Update(update) => {
            let named = single_table(std::slice::from_ref(&update.table))?;
            let table = session.table_to_change(named.database.as_deref(), &named.name).await?;
            let mut update = update.clone();
            for assignment in &mut update.assignments {
                if let AssignmentTarget::Tuple(_) = &assignment.target {
                    return not_supported("assignments of several columns");
                }
                replace(session, &mut assignment.value, &mut parameters).await?;
            }
            let from = update.table.clone();
            settle(session, &table, &from, &mut update.selection, &mut parameters).await?;
            Plan::Update(compile_update(&update, table, &named.alias)?)
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

/// The condition that is true of the rows of which this one is true now.
async fn keys(
    session: &mut Session,
    table: &Table,
    from: &TableWithJoins,
    condition: Expr,
    parameters: &mut Vec<Value>,
) -> Result<Expr> {
    let definition = table.definition();
    let names: Vec<Expr> = definition
        .primary_key
        .iter()
        .map(|column| {
            Expr::Identifier(Ident::with_quote('`', &definition.columns[usize::from(*column)].name))
        })
        .collect();
    let mut query = template()?;
    let SetExpr::Select(select) = query.body.as_mut() else { return not_supported("this subquery") };
    let items = names.iter().map(|name| SelectItem::UnnamedExpr(qualified(from, name)));
    let select: &mut Select = select;
    select.projection = items.collect();
    select.from = vec![from.clone()];
    select.selection = Some(condition);
    let (_, rows) = rows_of(session, &query, parameters, MAX_ROWS).await?;
    let expr = match names.as_slice() {
        [name] => name.clone(),
        _ => Expr::Tuple(names),
    };
    Ok(in_list(expr, rows, false, parameters))
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

/// A query to be filled in.
fn template() -> Result<Query> {
    let statement = crate::parse::tokens("SELECT 1 FROM t")?.pop().map(crate::parse::Tokens::parse);
    match statement {
        Some(Ok(Statement::Query(query))) => Ok(*query),
        _ => not_supported("this subquery"),
    }
}

/// Executes a query within a statement: how many columns it has, and its rows.
async fn rows_of(
    session: &mut Session,
    query: &Query,
    parameters: &[Value],
    most: usize,
) -> Result<(usize, Vec<Values>)> {
    let statement = Statement::Query(Box::new(query.clone()));
    let outcome = match session.prepare_statement(statement).await? {
        Prepared::Planned(plan) => session.execute_plan(&plan, parameters.to_vec()).await?,
        Prepared::Query(query) => crate::query::execute(session, &query, parameters.to_vec()).await?,
        Prepared::Nested(_) | Prepared::Other(_) | Prepared::Account(_) | Prepared::Request(_) => {
            return not_supported("this subquery");
        }
    };
    let Outcome::Rows { head, rows } = outcome else { return not_supported("this subquery") };
    Ok((head.columns().len(), collect(session, rows, most).await?))
}

async fn collect(session: &Session, mut rows: Rows, most: usize) -> Result<Vec<Values>> {
    let mut held = session.memory.hold();
    let mut all = Vec::new();
    while let Some(chunk) = rows.next().await? {
        for row in chunk {
            if all.len() == most {
                let text = format!("a query within a change gives at most {most} rows");
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
                | Expr::InSubquery { expr, .. } => vec![expr],
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

fn has_query(expression: &Expr) -> bool {
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
async fn replace(session: &mut Session, expression: &mut Expr, parameters: &mut Vec<Value>) -> Result<()> {
    let mut pending = vec![expression];
    while let Some(part) = pending.pop() {
        let value = match part {
            Expr::Subquery(query) => Some(scalar(session, query, parameters).await?),
            Expr::Exists { subquery, negated } => {
                let (_, rows) = rows_of(session, subquery, parameters, MAX_ROWS).await?;
                Some(truth(rows.is_empty() == *negated))
            }
            Expr::InSubquery { expr, subquery, negated } => {
                let (columns, rows) = rows_of(session, subquery, parameters, MAX_ROWS).await?;
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
    let (columns, rows) = rows_of(session, query, parameters, MAX_ROWS).await?;
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
    let name = format!("?{}", parameters.len());
    parameters.push(value);
    Expr::Value(ast::Value::Placeholder(name).into())
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
