//! What the binder knows of relations: plans with columns as MySQL sees them.

use crate::error::{Result, SqlError};
use crate::query::run::sql_error;
use crate::wire::results::Origin;
use datafusion::arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use duet_client::{ColumnType, Table};
use sqlparser::ast::Ident;
use std::sync::Arc;

/// A column of a source of rows.
#[derive(Clone, Debug)]
pub struct SourceColumn {
    /// Name.
    pub name: String,
    /// Type.
    pub column_type: ColumnType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Where it comes from, with an alias that is replaced.
    pub origin: Option<Origin>,
}

/// A table, or what is made when it is read.
#[derive(Clone, Debug)]
pub struct Source {
    /// Reads it.
    pub provider: Arc<dyn TableProvider>,
    /// Its columns, in the order of the provider's.
    pub columns: Vec<SourceColumn>,
    /// The table, if it is one of the cluster.
    pub table: Option<Table>,
}

impl Source {
    /// The Arrow schema of these columns.
    ///
    /// # Errors
    /// 1235 for types that the engine lacks.
    pub fn schema(columns: &[SourceColumn]) -> Result<Schema> {
        let field = |column: &SourceColumn| {
            let data_type = super::types::data_type(Some(column.column_type))?;
            Ok(FieldRef::from(Field::new(&column.name, data_type, true)))
        };
        Ok(Schema::new(columns.iter().map(field).collect::<Result<Vec<_>>>()?))
    }
}

/// A column of a relation.
#[derive(Clone, Debug)]
pub struct BoundColumn {
    /// Database and name of the table it belongs to, as the statement calls it.
    pub database: Option<String>,
    /// See there.
    pub alias: Option<String>,
    /// Name.
    pub name: String,
    /// As the plan knows it.
    pub column: Column,
    /// Its type; `None` for what is always NULL.
    pub column_type: Option<ColumnType>,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Where it comes from.
    pub origin: Option<Origin>,
    /// The table of the cluster, by the number of its mention, and the column's number there.
    pub base: Option<(usize, u16)>,
    /// Not part of `*`, and not found without its table's name: another one stands for it after USING.
    pub merged: bool,
}

impl BoundColumn {
    /// The first column of a plan, as something computed.
    pub fn computed(plan: &LogicalPlan) -> BoundColumn {
        let column = plan.schema().columns().into_iter().next();
        BoundColumn {
            database: None,
            alias: None,
            name: String::new(),
            column: column.unwrap_or_else(|| Column::new_unqualified("")),
            column_type: None,
            nullable: true,
            origin: None,
            base: None,
            merged: false,
        }
    }
}

/// A plan and its columns.
#[derive(Clone, Debug)]
pub struct Relation {
    /// The plan.
    pub plan: LogicalPlan,
    /// Its columns.
    pub columns: Vec<BoundColumn>,
}

impl Relation {
    /// Its rows behind so many, and of these at most so many.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn limit(self, skip: usize, fetch: Option<usize>) -> Result<Relation> {
        let plan = LogicalPlanBuilder::from(self.plan).limit(skip, fetch);
        Ok(Relation { plan: plan.and_then(LogicalPlanBuilder::build).map_err(sql_error)?, ..self })
    }
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// The column of a name, if there is one.
///
/// # Errors
/// 1052 when several columns have the name.
pub fn find<'a>(
    columns: &'a [BoundColumn],
    qualifier: &[Ident],
    name: &Ident,
    place: &str,
) -> Result<Option<&'a BoundColumn>> {
    let fits = |column: &&BoundColumn| {
        same(&column.name, &name.value)
            && match qualifier {
                [] => !column.merged,
                [alias] => column.alias.as_deref() == Some(alias.value.as_str()),
                [database, alias] => {
                    column.alias.as_deref() == Some(alias.value.as_str())
                        && column.database.as_deref() == Some(database.value.as_str())
                }
                _ => false,
            }
    };
    let mut found = columns.iter().filter(fits);
    let first = found.next();
    if found.next().is_some() {
        let shown: Vec<&str> = qualifier.iter().chain([name]).map(|part| part.value.as_str()).collect();
        return Err(SqlError {
            code: 1_052,
            state: "23000",
            message: format!("Column '{}' in {place} is ambiguous", shown.join(".")),
        });
    }
    Ok(first)
}
