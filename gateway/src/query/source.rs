//! What names in FROM stand for.

use crate::error::Result;
use crate::execute::read::read_keys;
use crate::query::compute::Surroundings;
use crate::query::pushed::Computed;
use crate::query::relation::{Source, SourceColumn};
use crate::query::table::{ClusterTable, Overlay};
use crate::session::Session;
use duet_client::Value;
use sqlparser::ast::Query;
use std::sync::Arc;

/// Whether a query may need how many rows tables have: it names that, or takes all columns.
fn counts_rows(query: &Query) -> bool {
    let text = query.to_string().to_ascii_uppercase();
    ["TABLE_ROWS", "*", "NATURAL", "TABLE "].iter().any(|sign| text.contains(sign))
}

/// A table as a query of the session sees it: what is committed, and what the session's transaction has written.
///
/// # Errors
/// 1146 when there is none; those of the cluster.
pub async fn source(
    session: &mut Session,
    database: &str,
    name: &str,
    query: &Query,
    surroundings: &Arc<Surroundings>,
) -> Result<Source> {
    if crate::show::is_virtual(database) {
        let (columns, rows) = crate::show::virtual_table(session, database, name, counts_rows(query)).await?;
        let column = |(name, column_type): (String, duet_client::ColumnType)| SourceColumn {
            name,
            column_type,
            nullable: true,
            origin: None,
        };
        let columns = columns.into_iter().map(column).collect();
        return Computed::rows(&format!("{database}.{name}"), columns, rows);
    }
    let table = session.catalog.table(database, name).await?;
    let auto_increment = session.catalog.sequence(&table).await?.map(|sequence| sequence.column);
    let client = session.catalog.client().clone();
    let mut overlay = None;
    if let Some(transaction) = session.open_transaction()? {
        let written = transaction.written(&table).cloned();
        if let Some(written) = written {
            let keys: Vec<Vec<Value>> = written.values().cloned().collect();
            let rows = read_keys(transaction, &table, &keys, None).await?;
            overlay = Some(Arc::new(Overlay { hidden: written.into_keys().collect(), rows }));
        }
    }
    let rows = session.catalog.small_row_count(&table).await?.unwrap_or(crate::query::table::MANY_ROWS);
    ClusterTable::source(&client, &table, overlay, auto_increment, rows, surroundings)
}
