//! Reads rows of tables, of data nodes' aggregates, or rows that are there already, for DataFusion.

use crate::error::Result;
use crate::execute::read::{Rows, Values, Wanted};
use crate::expression::Expression;
use crate::plan::pushdown::{PushedAggregates, conditions, counted};
use crate::plan::{Access, BoundAccess};
use crate::query::back;
use crate::query::compute::Surroundings;
use crate::query::describe::{describe_with, literal};
use crate::query::run::engine_error;
use crate::query::table::Overlay;
use crate::query::types::Builder;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result as EngineResult, Statistics};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
    ReplaceChildrenOptions, SendableRecordBatchStream,
};
use duet_client::{Client, ColumnType, Condition, Table, Value};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Most ranges that one scan reads one after the other.
const MAX_RANGES: usize = 256;

/// How rows of a table are read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The client.
    pub client: Client,
    /// The table.
    pub table: Table,
    /// How they are found.
    pub access: BoundAccess,
    /// What nodes leave out.
    pub condition: Option<Condition>,
    /// The whole condition.
    pub filter: Option<Expression>,
    /// What is still to be checked of each row.
    pub checked: Option<Expression>,
    /// Most rows.
    pub limit: Option<u64>,
    /// What the transaction has written.
    pub overlay: Option<Arc<Overlay>>,
    /// What expressions see.
    pub surroundings: Arc<Surroundings>,
    /// What joins find out about the rows that they need, once they have read their other side.
    pub joined: Vec<Arc<dyn PhysicalExpr>>,
}

/// Groups that nodes compute.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// The client.
    pub client: Client,
    /// The table.
    pub table: Table,
    /// How rows are found.
    pub access: BoundAccess,
    /// What nodes leave out.
    pub condition: Option<Condition>,
    /// The condition as an expression.
    pub filter: Option<Expression>,
    /// What they compute.
    pub pushed: PushedAggregates,
    /// The same as the statement has it.
    pub calls: Vec<crate::expression::AggregateCall>,
}

/// What is read.
#[derive(Clone, Debug)]
enum Work {
    Table(Box<Reading>),
    Groups(Box<Grouping>),
    Fixed { name: String, rows: Arc<Vec<Values>> },
}

/// Reads in one stream.
#[derive(Clone, Debug)]
pub struct Scan {
    work: Work,
    /// Columns of the source that are given out.
    projection: Vec<usize>,
    types: Vec<Option<ColumnType>>,
    schema: SchemaRef,
    rows: usize,
    properties: Arc<PlanProperties>,
}

impl Scan {
    fn new(
        work: Work,
        schema: &SchemaRef,
        types: &[Option<ColumnType>],
        projection: Vec<usize>,
        rows: usize,
    ) -> EngineResult<Scan> {
        let projected = Arc::new(schema.project(&projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&projected)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let types = projection.iter().map(|column| types[*column]).collect();
        Ok(Scan { work, projection, types, schema: projected, rows, properties: Arc::new(properties) })
    }

    /// Of a table.
    ///
    /// # Errors
    /// When the projection does not fit the schema.
    pub fn table(
        reading: Reading,
        schema: &SchemaRef,
        projection: Vec<usize>,
        rows: usize,
    ) -> EngineResult<Scan> {
        let columns = &reading.table.definition().columns;
        let types: Vec<_> = columns.iter().map(|column| Some(column.column_type)).collect();
        Scan::new(Work::Table(Box::new(reading)), schema, &types, projection, rows)
    }

    /// Of groups.
    ///
    /// # Errors
    /// When the projection does not fit the schema.
    pub fn groups(
        grouping: Grouping,
        schema: &SchemaRef,
        types: &[Option<ColumnType>],
        projection: Vec<usize>,
    ) -> EngineResult<Scan> {
        Scan::new(Work::Groups(Box::new(grouping)), schema, types, projection, 1_000)
    }

    /// Of rows that are there.
    ///
    /// # Errors
    /// When the projection does not fit the schema.
    pub fn fixed(
        name: &str,
        rows: &Arc<Vec<Values>>,
        schema: &SchemaRef,
        types: &[Option<ColumnType>],
        projection: Vec<usize>,
    ) -> EngineResult<Scan> {
        let count = rows.len();
        let work = Work::Fixed { name: name.to_owned(), rows: Arc::clone(rows) };
        Scan::new(work, schema, types, projection, count)
    }

    fn batch(&self, rows: &[Values], map: &[usize]) -> Result<RecordBatch> {
        let mut arrays = Vec::with_capacity(map.len());
        for (column, column_type) in map.iter().zip(&self.types) {
            let mut builder = Builder::new(*column_type)?;
            for row in rows {
                builder.add(row.get(*column).unwrap_or(&Value::Null))?;
            }
            arrays.push(builder.finish());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| crate::query::run::sql_error(error.into()))
    }
}

/// Rows on their way: of one access path after the other.
struct Open {
    paths: VecDeque<BoundAccess>,
    rows: Option<Rows>,
    /// Columns that are needed, if these are not all.
    columns: Option<Vec<u16>>,
    filter: Option<Condition>,
    checked: Option<Expression>,
    left: u64,
}

impl Open {
    /// Begins, once joins have found out what they can.
    fn begin(scan: &Scan, reading: &Reading) -> Result<Open> {
        let environment = reading.surroundings.environment();
        let definition = reading.table.definition();
        let column = |name: &str| definition.column_index(name).map(usize::from);
        let found: Vec<Expression> =
            reading.joined.iter().flat_map(|filter| back::necessary(filter, &column)).collect();
        let mut access = reading.access.clone();
        let mut filter = reading.condition.clone();
        let mut paths = VecDeque::new();
        if !found.is_empty() {
            let all = found.iter().cloned().chain(reading.filter.clone());
            let all = all.reduce(|a, b| Expression::And(Box::new(a), Box::new(b)));
            let chosen =
                Access::choose(&reading.table, all.as_ref()).bind(&definition.columns, &environment)?;
            if !matches!(access, BoundAccess::Keys { .. }) {
                match chosen {
                    BoundAccess::Full => {}
                    narrower => access = narrower,
                }
                if !matches!(access, BoundAccess::Keys { .. })
                    && let Some(all) = &all
                {
                    paths = ranges(reading, all, &environment)?;
                    filter = conditions(all, &reading.table, &environment).0.or(filter);
                }
            }
        }
        if paths.is_empty() {
            paths.push_back(access.clone());
        }
        let by_key = matches!(paths.front(), Some(BoundAccess::Keys { .. }));
        let mut checked = reading.checked.clone();
        if by_key || reading.overlay.is_some() {
            checked.clone_from(&reading.filter);
            filter = None;
        }
        let columns = match by_key || reading.overlay.is_some() {
            true => None,
            false => {
                let mut wanted: BTreeSet<usize> = scan.projection.iter().copied().collect();
                if let Some(checked) = &checked {
                    checked.walk(&mut |part| {
                        if let Expression::Column(index) = part {
                            wanted.insert(*index);
                        }
                    });
                }
                // Rows have a column at least.
                if wanted.is_empty() {
                    wanted.extend(definition.primary_key.first().map(|column| usize::from(*column)));
                }
                (wanted.len() < definition.columns.len())
                    .then(|| wanted.into_iter().map(|column| column as u16).collect())
            }
        };
        let left = reading.limit.unwrap_or(u64::MAX);
        let checked = checked.map(|checked| checked.prepared(&environment).unwrap_or(checked));
        Ok(Open { paths, rows: None, columns, filter, checked, left })
    }

    async fn next(&mut self, scan: &Scan, reading: &Reading) -> Result<Option<RecordBatch>> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            if self.rows.is_none() {
                let Some(access) = self.paths.pop_front() else { return Ok(None) };
                let wanted = Wanted {
                    order: None,
                    limit: (self.left != u64::MAX && self.checked.is_none()).then_some(self.left),
                    filter: self.filter.clone(),
                    columns: self.columns.clone(),
                };
                let last = self.paths.is_empty();
                let (hidden, rows) = match &reading.overlay {
                    Some(overlay) if last => (overlay.hidden.clone(), overlay.rows.clone()),
                    Some(overlay) => (overlay.hidden.clone(), Vec::new()),
                    None => Default::default(),
                };
                let rows =
                    Rows::open_beside(&reading.client, &reading.table, access, wanted, hidden, rows).await?;
                self.rows = Some(rows);
            }
            let Some(rows) = &mut self.rows else { return Ok(None) };
            let Some(mut chunk) = rows.next().await? else {
                self.rows = None;
                continue;
            };
            if let Some(filter) = &self.checked {
                let environment = reading.surroundings.environment();
                let mut kept = Vec::with_capacity(chunk.len());
                for row in chunk {
                    if filter.truth(&environment.with_row(&row))? == Some(true) {
                        kept.push(row);
                    }
                }
                chunk = kept;
            }
            chunk.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            if chunk.is_empty() {
                continue;
            }
            if self.left != u64::MAX {
                self.left -= chunk.len() as u64;
            }
            return scan.batch(&chunk, &scan.projection).map(Some);
        }
    }
}

/// One range for each of the values that the first column of an ordered index may have, if there are not too many.
fn ranges(
    reading: &Reading,
    condition: &Expression,
    environment: &crate::expression::Environment<'_>,
) -> Result<VecDeque<BoundAccess>> {
    let columns = &reading.table.definition().columns;
    for part in condition.conjuncts() {
        let Expression::In(value, list) = part else { continue };
        let Expression::Column(column) = value.as_ref() else { continue };
        if list.len() > MAX_RANGES || !list.iter().all(Expression::is_constant) {
            continue;
        }
        let ordered = Access::ordered(&reading.table);
        let Some((index, _)) = ordered
            .into_iter()
            .find(|(_, known)| known.first().is_some_and(|first| usize::from(*first) == *column))
        else {
            continue;
        };
        let mut paths = VecDeque::with_capacity(list.len());
        let mut seen: Vec<Value> = Vec::new();
        for item in list {
            let value = item.evaluate(environment)?;
            match crate::value::store::key_value(&value, columns[*column].column_type) {
                crate::value::store::KeyValue::Is(value) if !seen.contains(&value) => {
                    seen.push(value.clone());
                    let end = Some((vec![value], true));
                    paths.push_back(BoundAccess::Range { index: index.clone(), low: end.clone(), high: end });
                }
                crate::value::store::KeyValue::Unclear => return Ok(VecDeque::new()),
                _ => {}
            }
        }
        if paths.is_empty() {
            paths.push_back(BoundAccess::Keys { index: None, keys: Vec::new() });
        }
        return Ok(paths);
    }
    Ok(VecDeque::new())
}

/// The groups of a table, by its nodes.
pub async fn read_groups(grouping: &Grouping) -> Result<Vec<Values>> {
    let aggregates = grouping.pushed.aggregates.clone();
    let scan = match &grouping.access {
        BoundAccess::Range { index, low, high } => {
            let mut range = grouping.client.range(&grouping.table);
            if let Some(index) = index {
                range = range.index(index);
            }
            if let Some((values, inclusive)) = low.clone() {
                range = if inclusive { range.from(values) } else { range.after(values) };
            }
            if let Some((values, inclusive)) = high.clone() {
                range = if inclusive { range.to(values) } else { range.before(values) };
            }
            if let Some(condition) = grouping.condition.clone() {
                range = range.filter(condition);
            }
            range.aggregate(aggregates)?
        }
        BoundAccess::Full | BoundAccess::Keys { .. } => {
            let mut scan = grouping.client.scan(&grouping.table);
            if let Some(condition) = grouping.condition.clone() {
                scan = scan.filter(condition);
            }
            scan.aggregate(aggregates)
        }
    };
    let groups = grouping.pushed.group_by.len();
    let rows = scan.group_by(grouping.pushed.group_by.clone()).rows().await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let value = |(index, value): (usize, &Value)| match index.checked_sub(groups) {
                Some(call) => counted(value.clone(), &grouping.calls[call]),
                None => value.clone(),
            };
            row.values().iter().enumerate().map(value).collect()
        })
        .collect())
}

impl DisplayAs for Scan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let columns = names.join(", ");
        match &self.work {
            Work::Table(reading) => {
                let name = format!("{}.{}", reading.table.database(), reading.table.name());
                write!(f, "Read {name} by {}, columns [{columns}]", access(&reading.table, &reading.access))?;
                if let Some(filter) = &reading.filter {
                    let place = match (&reading.condition, &reading.checked) {
                        (Some(_), None) => "data nodes filter",
                        (Some(_), Some(_)) => "data nodes filter by what they know of",
                        (None, _) => "the gateway filters",
                    };
                    write!(f, ", {place} {}", shown(filter, &reading.table))?;
                }
                if let Some(limit) = reading.limit {
                    write!(f, ", at most {limit} rows")?;
                }
                if !reading.joined.is_empty() {
                    write!(f, ", only keys that the join needs")?;
                }
                if reading.overlay.is_some() {
                    write!(f, ", with what the transaction has written")?;
                }
                Ok(())
            }
            Work::Groups(grouping) => {
                let name = format!("{}.{}", grouping.table.database(), grouping.table.name());
                write!(
                    f,
                    "Groups of {name} by the data nodes, rows by {}, groups by [{}]",
                    access(&grouping.table, &grouping.access),
                    grouping.pushed.group_by.join(", ")
                )?;
                if let Some(filter) = &grouping.filter {
                    write!(f, ", data nodes filter {}", shown(filter, &grouping.table))?;
                }
                Ok(())
            }
            Work::Fixed { name, .. } => write!(f, "Read {name}, columns [{columns}]"),
        }
    }
}

/// A condition on a table with the names of its columns.
pub fn shown(filter: &Expression, table: &Table) -> String {
    describe_with(filter, &|index| {
        table.definition().columns.get(index).map(|column| column.name.clone()).unwrap_or_default()
    })
}

/// How rows are found, in words.
pub fn access(table: &Table, access: &BoundAccess) -> String {
    let index = |index: &Option<String>| match index {
        Some(index) => format!("index {index}"),
        None => "the primary key".to_owned(),
    };
    let list = |values: &[Value]| format!("({})", values.iter().map(literal).collect::<Vec<_>>().join(", "));
    match access {
        BoundAccess::Full => format!("a scan of all {} partitions", table.partitions()),
        BoundAccess::Keys { index: name, keys } => match keys.as_slice() {
            [one] => format!("{} = {}", index(name), list(one)),
            keys => format!("{} keys of {}", keys.len(), index(name)),
        },
        BoundAccess::Range { index: name, low, high } => {
            let low = low.as_ref().map(|(values, inclusive)| {
                format!("{} {}", if *inclusive { "from" } else { "after" }, list(values))
            });
            let high = high.as_ref().map(|(values, inclusive)| {
                format!("{} {}", if *inclusive { "to" } else { "before" }, list(values))
            });
            let ends: Vec<String> = low.into_iter().chain(high).collect();
            format!("a range of {} {}", index(name), ends.join(" ")).trim_end().to_owned()
        }
    }
}

impl ExecutionPlan for Scan {
    fn name(&self) -> &'static str {
        "Scan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        if let Work::Table(reading) = &self.work {
            for filter in &reading.joined {
                if visit(filter)? == TreeNodeRecursion::Stop {
                    return Ok(TreeNodeRecursion::Stop);
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> EngineResult<SendableRecordBatchStream> {
        let scan = self.clone();
        let schema = Arc::clone(&self.schema);
        let stream = futures::stream::try_unfold((scan, None, 0_usize), |(scan, open, done)| async move {
            // Whoever reads it may do much with each batch, and can be ended only in a pause.
            tokio::task::yield_now().await;
            let step = scan.step(open, done).await.map_err(engine_error)?;
            Ok::<_, datafusion::error::DataFusionError>(
                step.map(|(batch, open, done)| (batch, (scan, open, done))),
            )
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> EngineResult<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = Precision::Inexact(self.rows);
        statistics.total_byte_size = Precision::Inexact(self.rows.saturating_mul(64));
        Ok(Arc::new(statistics))
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        child_pushdown_result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> EngineResult<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let filters: Vec<Arc<dyn PhysicalExpr>> =
            child_pushdown_result.parent_filters.into_iter().map(|result| result.filter).collect();
        let mut propagation =
            FilterPushdownPropagation::with_parent_pushdown_result(vec![PushedDown::No; filters.len()]);
        if let (Work::Table(reading), FilterPushdownPhase::Post, false) =
            (&self.work, phase, filters.is_empty())
        {
            let mut reading = reading.clone();
            reading.joined.extend(filters);
            let updated: Arc<dyn ExecutionPlan> =
                Arc::new(Scan { work: Work::Table(reading), ..self.clone() });
            propagation.updated_node = Some(updated);
        }
        Ok(propagation)
    }
}

impl Scan {
    async fn step(
        &self,
        mut open: Option<Open>,
        done: usize,
    ) -> Result<Option<(RecordBatch, Option<Open>, usize)>> {
        const CHUNK: usize = 4_096;
        match &self.work {
            Work::Table(reading) => {
                let opened = match open.take() {
                    Some(open) => open,
                    None => Open::begin(self, reading)?,
                };
                let mut opened = opened;
                Ok(opened.next(self, reading).await?.map(|batch| (batch, Some(opened), 0)))
            }
            Work::Groups(grouping) => {
                if done > 0 {
                    return Ok(None);
                }
                let rows = read_groups(grouping).await?;
                Ok(Some((self.batch(&rows, &self.projection)?, None, 1)))
            }
            Work::Fixed { rows, .. } => {
                let end = (done + CHUNK).min(rows.len());
                if done >= end {
                    return Ok(None);
                }
                Ok(Some((self.batch(&rows[done..end], &self.projection)?, None, end)))
            }
        }
    }
}
