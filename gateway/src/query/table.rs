//! Tables of the cluster as DataFusion reads them: conditions that nodes know go to them, keys and ranges are found, only columns that
//! are needed come.

use crate::execute::read::Values;
use crate::expression::Expression;
use crate::plan::pushdown::{conditions, is_valid};
use crate::plan::{Access, BoundAccess};
use crate::query::back;
use crate::query::compute::Surroundings;
use crate::query::relation::{Source, SourceColumn};
use crate::query::run::engine_error;
use crate::query::scan::{Reading, Scan};
use crate::wire::results::Origin;
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, Statistics};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use duet_client::{Client, Table};
use rustc_hash::FxHashSet;
use std::sync::Arc;

/// What a transaction has written to a table: its rows come in place of those of their keys.
#[derive(Debug, Default)]
pub struct Overlay {
    /// Keys of these rows, and of rows that were deleted.
    pub hidden: FxHashSet<Vec<u8>>,
    /// The rows.
    pub rows: Vec<Values>,
}

/// A table of the cluster, as a statement sees it.
#[derive(Debug)]
pub struct ClusterTable {
    /// The client.
    pub client: Client,
    /// The table.
    pub table: Table,
    /// What the statement's transaction has written.
    pub overlay: Option<Arc<Overlay>>,
    /// What constants see.
    pub surroundings: Arc<Surroundings>,
    /// About how many rows it has.
    pub rows: usize,
    schema: SchemaRef,
}

impl ClusterTable {
    /// As a source of rows.
    ///
    /// # Errors
    /// 1235 for columns of types that the engine lacks.
    pub fn source(
        client: &Client,
        table: &Table,
        overlay: Option<Arc<Overlay>>,
        auto_increment: Option<u16>,
        rows: usize,
        surroundings: &Arc<Surroundings>,
    ) -> crate::error::Result<Source> {
        let definition = table.definition();
        let column = |(index, column): (usize, &duet_client::Column)| SourceColumn {
            name: column.name.clone(),
            column_type: column.column_type,
            nullable: column.nullable,
            origin: Some(Origin {
                database: table.database().to_owned(),
                table: table.name().to_owned(),
                alias: table.name().to_owned(),
                column: column.name.clone(),
                is_key: definition.primary_key.contains(&(index as u16)),
                is_auto_increment: auto_increment == Some(index as u16),
            }),
        };
        let columns: Vec<SourceColumn> = definition.columns.iter().enumerate().map(column).collect();
        let schema = Arc::new(Source::schema(&columns)?);
        let provider = ClusterTable {
            client: client.clone(),
            table: Table::clone(table),
            overlay,
            surroundings: Arc::clone(surroundings),
            rows,
            schema,
        };
        Ok(Source { provider: Arc::new(provider), columns, table: Some(Table::clone(table)) })
    }

    fn expression(&self, native: &Expr) -> Option<Expression> {
        let column = |name: &str| self.table.definition().column_index(name).map(usize::from);
        back::expression(native, &column)
    }
}

/// A table with more rows than are ever counted.
pub const MANY_ROWS: usize = 1_000_000;

/// Rows that an access path into a table of so many rows is expected to give: joins begin with the smaller side.
pub fn estimate(access: &BoundAccess, all: usize, is_filtered: bool) -> usize {
    let rows = match access {
        BoundAccess::Keys { keys, .. } => return keys.len(),
        BoundAccess::Range { low: Some((low, _)), high: Some((high, _)), .. } if low == high => 100,
        BoundAccess::Range { low: Some(_), high: Some(_), .. } => 10_000,
        BoundAccess::Range { .. } => 300_000,
        BoundAccess::Full => MANY_ROWS,
    };
    let rows = rows.min(all);
    if is_filtered { rows / 10 } else { rows }
}

#[async_trait]
impl TableProvider for ClusterTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // The scan evaluates itself what nodes cannot.
        let support = |filter: &&Expr| match self.expression(filter) {
            Some(_) => TableProviderFilterPushDown::Exact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut filter: Option<Expression> = None;
        for part in filters.iter().filter_map(|part| self.expression(part)) {
            filter = Some(match filter {
                Some(filter) => Expression::And(Box::new(filter), Box::new(part)),
                None => part,
            });
        }
        let environment = self.surroundings.environment();
        let columns = &self.table.definition().columns;
        let access = Access::choose(&self.table, filter.as_ref());
        let bound = access.bind(columns, &environment).map_err(engine_error)?;
        let (condition, exact) = match &filter {
            Some(filter) => conditions(filter, &self.table, &environment),
            None => (None, true),
        };
        let by_key = matches!(bound, BoundAccess::Keys { .. });
        let checked = if exact && !by_key { None } else { filter.clone() };
        let all: Vec<usize> = (0..columns.len()).collect();
        let projection = projection.cloned().unwrap_or(all);
        let rows = estimate(&bound, self.rows, condition.is_some());
        let reading = Reading {
            client: self.client.clone(),
            table: Table::clone(&self.table),
            access: bound,
            condition: condition.filter(|condition| !by_key && is_valid(condition, &self.table)),
            filter,
            checked,
            limit: limit.filter(|_| self.overlay.is_none()).map(|limit| limit as u64),
            overlay: self.overlay.clone(),
            surroundings: Arc::clone(&self.surroundings),
            joined: Vec::new(),
        };
        Ok(Arc::new(Scan::table(reading, &self.schema, projection, rows)?))
    }

    fn statistics(&self) -> Option<Statistics> {
        None
    }
}
