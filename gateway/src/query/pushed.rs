//! Groups of a table that its data nodes compute, and rows that are there already, as tables of DataFusion.

use crate::error::Result;
use crate::execute::read::Values;
use crate::expression::kinds::Known;
use crate::expression::{AggregateCall, Expression};
use crate::plan::pushdown::{aggregates, conditions};
use crate::plan::{Access, BoundAccess};
use crate::query::bind::Part;
use crate::query::compute::Surroundings;
use crate::query::relation::{Source, SourceColumn};
use crate::query::scan::{Grouping, Scan};
use crate::query::table::ClusterTable;
use crate::query::translate::{Leaf, folded};
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Column;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr as Native, TableScan, TableType};
use datafusion::physical_plan::ExecutionPlan;
use duet_client::ColumnType;
use std::any::Any;
use std::sync::Arc;

/// Where rows come from that are not those of a table of the cluster.
#[derive(Debug)]
enum Origin {
    /// The groups that the data nodes make of a table.
    Groups(Box<Grouping>),
    /// They are there already, under this name.
    Rows { name: String, rows: Arc<Vec<Values>> },
}

/// Such rows as a table of DataFusion.
#[derive(Debug)]
pub struct Computed {
    origin: Origin,
    schema: SchemaRef,
    types: Vec<Option<ColumnType>>,
}

impl Computed {
    fn source(origin: Origin, columns: Vec<SourceColumn>) -> Result<Source> {
        let schema = Arc::new(Source::schema(&columns)?);
        let types = columns.iter().map(|column| Some(column.column_type)).collect();
        Ok(Source { provider: Arc::new(Computed { origin, schema, types }), columns, table: None })
    }

    /// Rows that are there already as a source.
    ///
    /// # Errors
    /// 1235 for columns of types that the engine lacks.
    pub fn rows(name: &str, columns: Vec<SourceColumn>, rows: Vec<Values>) -> Result<Source> {
        Computed::source(Origin::Rows { name: name.to_owned(), rows: Arc::new(rows) }, columns)
    }
}

#[async_trait]
impl TableProvider for Computed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Native],
        _: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        let all = (0..self.types.len()).collect();
        let projection = projection.cloned().unwrap_or(all);
        Ok(Arc::new(match &self.origin {
            Origin::Groups(grouping) => {
                Scan::groups(Grouping::clone(grouping), &self.schema, &self.types, projection)?
            }
            Origin::Rows { name, rows } => Scan::fixed(name, rows, &self.schema, &self.types, projection)?,
        }))
    }
}

/// An expression over leaves as one over the columns of a table, with its constants evaluated.
fn local(
    expression: &Expression,
    parts: &[Part],
    columns: &[Column],
    surroundings: &Surroundings,
) -> Option<Expression> {
    let mut known = true;
    let renumbered = folded(expression, surroundings).renumbered(&mut |part| {
        let found = match parts.get(part) {
            Some(Part::Ready(Leaf { expr: Native::Column(column), .. })) => {
                columns.iter().position(|other| other == column)
            }
            _ => None,
        };
        known &= found.is_some();
        found.unwrap_or_default()
    });
    known.then_some(renumbered)
}

/// The groups of a scan by its data nodes, where these can.
///
/// # Errors
/// 1235 for types that the engine lacks.
pub fn groups(
    scan: &TableScan,
    columns: &[Column],
    parts: &[Part],
    filter: Option<&Expression>,
    group: &[Expression],
    calls: &[AggregateCall],
    surroundings: &Arc<Surroundings>,
) -> Result<Option<Source>> {
    let Ok(provider) = source_as_provider(&scan.source) else { return Ok(None) };
    let Some(table) = (provider.as_ref() as &dyn Any).downcast_ref::<ClusterTable>() else { return Ok(None) };
    if table.overlay.is_some() {
        return Ok(None);
    }
    let of = |expression: &Expression| local(expression, parts, columns, surroundings);
    let filter = match filter {
        None => None,
        Some(filter) => match of(filter) {
            Some(filter) => Some(filter),
            None => return Ok(None),
        },
    };
    let Some(group) = group.iter().map(of).collect::<Option<Vec<_>>>() else { return Ok(None) };
    let call = |call: &AggregateCall| {
        let argument = match &call.argument {
            Some(argument) => Some(of(argument)?),
            None => None,
        };
        Some(AggregateCall { argument, ..call.clone() })
    };
    let Some(calls) = calls.iter().map(call).collect::<Option<Vec<_>>>() else { return Ok(None) };
    let environment = surroundings.environment();
    let Some(pushed) = aggregates(&table.table, &group, &calls) else { return Ok(None) };
    let definition = table.table.definition();
    let access = Access::choose(&table.table, filter.as_ref()).bind(&definition.columns, &environment)?;
    if matches!(access, BoundAccess::Keys { .. }) {
        return Ok(None);
    }
    let condition = match &filter {
        None => None,
        Some(filter) => match conditions(filter, &table.table, &environment) {
            (condition, true) => condition,
            (_, false) => return Ok(None),
        },
    };
    let known =
        Known { columns: &definition.columns, parameters: &[], aggregates: &calls, user_variables: None };
    let mut outputs = Vec::with_capacity(group.len() + calls.len());
    let all = group.iter().cloned().chain((0..calls.len()).map(Expression::Aggregate));
    for (index, expression) in all.enumerate() {
        let Some(column_type) = expression.column_type(known) else { return Ok(None) };
        outputs.push(SourceColumn {
            name: match index < group.len() {
                true => pushed.group_by[index].clone(),
                false => format!("aggregate {}", index - group.len() + 1),
            },
            column_type,
            nullable: true,
            origin: None,
        });
    }
    let grouping = Grouping {
        client: table.client.clone(),
        table: duet_client::Table::clone(&table.table),
        access,
        condition,
        filter,
        pushed,
        calls,
    };
    Computed::source(Origin::Groups(Box::new(grouping)), outputs).map(Some)
}
