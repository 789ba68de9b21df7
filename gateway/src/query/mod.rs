//! SELECTs that the fast path does not take: joins, subqueries, windows, WITH, set operations. DataFusion does the relational work;
//! what expressions mean is decided by the evaluator of the fast path, which is called for each row, so that both paths agree.
//!
//! ```text
//! syntax tree ─ bind ─ plan of DataFusion ─ its optimiser ─ operators ─ rows
//!                 │                              │
//!        compute, aggregate (MySQL's)     table, scan: conditions, keys, ranges, columns, groups to the data nodes
//! ```

mod aggregate;
mod back;
mod bind;
mod compute;
pub mod describe;
pub mod explain;
mod memory;
mod pushed;
mod relation;
mod rounds;
pub mod run;
pub mod scan;
mod source;
mod table;
pub mod translate;
mod types;

use crate::error::{Result, SqlError};
use crate::plan::bare;
use crate::query::bind::{Binder, Missing, Told};
use crate::query::compute::{EndsWith, Surroundings};
use crate::query::relation::Relation;
use crate::session::{Outcome, Rows, Session};
use crate::wire::results::{ResultColumn, ResultHead};
use duet_client::Value;
use sqlparser::ast::Query;
use std::sync::Arc;

/// Most times that binding ends because something is missing: tables and subqueries of a statement.
const MAX_ROUNDS: usize = 1_024;

/// The plan of a query, and what ends its computing. Subqueries that depend on nothing are executed for it, unless it is only shown.
///
/// # Errors
/// Those of the statement.
async fn planned(
    session: &mut Session,
    query: &Query,
    parameters: Vec<Value>,
    only_shown: bool,
) -> Result<(Relation, EndsWith)> {
    let end = EndsWith(Arc::default());
    let surroundings = Arc::new(Surroundings {
        facts: session.facts.clone(),
        parameters,
        memory: Some(session.memory.clone()),
        ended: Arc::clone(&end.0),
    });
    let database = session.facts.database.clone();
    let mut told = Told { unasked: only_shown, ..Told::default() };
    for _ in 0..MAX_ROUNDS {
        let mut binder = Binder::new(&told, &surroundings, database.as_deref());
        let bound = binder.bind(query);
        match (bound, binder.missing) {
            (_, Some(Missing::Table(database, name))) => {
                let source = source::source(session, &database, &name, query, &surroundings).await?;
                told.sources.insert((database, name), source);
            }
            (_, Some(Missing::Value(place, relation))) => {
                let value = session.catalog.engine().value(&relation).await?;
                told.values.insert(place, value);
            }
            (bound, None) => return Ok((bound?, end)),
        }
    }
    Err(SqlError::not_supported(
        "This version of Duet doesn't yet support so many subqueries in one statement",
    ))
}

fn columns(relation: &Relation) -> Vec<ResultColumn> {
    let column = |column: &relation::BoundColumn| ResultColumn {
        name: column.name.clone(),
        column_type: column.column_type,
        nullable: column.nullable,
        origin: column.origin.clone(),
    };
    relation.columns.iter().map(column).collect()
}

/// Executes a query.
///
/// # Errors
/// Those of the statement.
pub async fn execute(session: &mut Session, query: &Query, parameters: Vec<Value>) -> Result<Outcome> {
    let (mut relation, end) = planned(session, query, parameters, false).await?;
    if let (Some(most), None) = (session.facts.select_limit, &bare(query).limit_clause) {
        relation = relation.limit(0, Some(usize::try_from(most).unwrap_or(usize::MAX)))?;
    }
    let rows = session.catalog.engine().open(&relation).await?.that_end_with(end);
    let head = Arc::new(ResultHead::new(columns(&relation)));
    Ok(Outcome::Rows { head, rows: Rows::Query(Box::new(rows)) })
}

/// The columns of a query whose parameters are not known yet.
///
/// # Errors
/// Those of the statement.
pub async fn describe(session: &mut Session, query: &Query, parameters: usize) -> Result<Vec<ResultColumn>> {
    Ok(columns(&planned(session, query, vec![Value::Null; parameters], true).await?.0))
}
