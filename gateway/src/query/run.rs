//! Executes plans: DataFusion's optimiser and operators, one partition per query, bounded memory, no files.

use crate::error::SqlError;
use crate::execute::read::Values;
use crate::memory::{Memory, Total};
use crate::query::compute::EndsWith;
use crate::query::memory::QueryMemory;
use crate::query::relation::Relation;
use crate::query::types::Reader;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use duet_client::{ColumnType, Value};
use futures::StreamExt;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet, spawn_blocking};

/// Batches that wait until the connection sends them.
const WAITING_BATCHES: usize = 2;
/// Rows of a batch between operators.
const BATCH_ROWS: usize = 4_096;
/// Most keys that a join tells its other side to look up.
const MAX_JOIN_KEYS: usize = 10_000;
/// Most bytes of these keys.
const MAX_JOIN_KEY_BYTES: usize = 4 << 20;

/// An error of ours on its way through DataFusion.
pub fn engine_error(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// An error of DataFusion as MySQL's.
#[allow(clippy::needless_pass_by_value)] // It is what `map_err` gives.
pub fn sql_error(error: DataFusionError) -> SqlError {
    fn arrow(error: &ArrowError) -> SqlError {
        match error {
            ArrowError::ArithmeticOverflow(text) => SqlError::arithmetic_overflow(text.clone()),
            ArrowError::DivideByZero => SqlError::division_by_zero("Division by 0"),
            ArrowError::ExternalError(inner) => match inner.downcast_ref::<SqlError>() {
                Some(error) => error.clone(),
                None => SqlError::other(error.to_string()),
            },
            other => SqlError::other(other.to_string()),
        }
    }
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<SqlError>() {
            Some(error) => error.clone(),
            None => SqlError::other(inner.to_string()),
        },
        DataFusionError::ArrowError(inner, _) => arrow(inner),
        DataFusionError::ResourcesExhausted(text) => SqlError {
            code: 1_038,
            state: "HY001",
            message: format!("Out of sort memory: {text}; --query-memory says how much a statement may take"),
        },
        DataFusionError::NotImplemented(text) | DataFusionError::Plan(text) => {
            SqlError::not_supported(format!("This version of Duet doesn't yet support this query: {text}"))
        }
        other => SqlError::other(format!("the query engine failed: {other}")),
    }
}

/// A plan in which joins, whose results may have many more batches than what they read, pause after some of them: only then a query that
/// nobody waits for any more can end.
fn pausing(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>, DataFusionError> {
    match plan.name().ends_with("JoinExec") {
        true => Ok(Transformed::yes(Arc::new(CooperativeExec::new(plan)))),
        false => Ok(Transformed::no(plan)),
    }
}

/// Bounds of memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct MemoryBounds {
    /// Of one query.
    pub query: usize,
    /// Of all statements of the gateway.
    pub total: usize,
}

impl Default for MemoryBounds {
    fn default() -> MemoryBounds {
        MemoryBounds { query: 256 << 20, total: 1 << 30 }
    }
}

/// What all queries of a gateway share.
#[derive(Debug)]
pub struct Engine {
    most: usize,
    /// Memory of all queries.
    pub total: Arc<Total>,
    config: SessionConfig,
    /// Where queries are computed: not on the threads of connections, which others wait for.
    runtime: Handle,
}

impl Engine {
    /// With these bounds; queries are computed on the runtime that this is called on.
    pub fn new(bounds: MemoryBounds) -> Engine {
        let mut config = SessionConfig::new().with_target_partitions(1).with_batch_size(BATCH_ROWS);
        let options = config.options_mut();
        options.optimizer.hash_join_inlist_pushdown_max_distinct_values = MAX_JOIN_KEYS;
        options.optimizer.hash_join_inlist_pushdown_max_size = MAX_JOIN_KEY_BYTES;
        Engine { most: bounds.query, total: Total::new(bounds.total), config, runtime: Handle::current() }
    }

    /// Where statements that do not need the engine get their memory.
    pub fn memory(&self) -> Memory {
        Memory::new(self.most, &self.total)
    }

    fn state(&self) -> crate::error::Result<SessionState> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(QueryMemory::new(self.most, &self.total)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(sql_error)?;
        Ok(SessionStateBuilder::new().with_config(self.config.clone()).with_runtime_env(runtime).build())
    }

    /// How a relation is computed.
    ///
    /// # Errors
    /// 1235 for what the engine cannot plan.
    pub async fn physical(
        &self,
        relation: &Relation,
    ) -> crate::error::Result<(Arc<dyn ExecutionPlan>, SessionState)> {
        let state = self.state()?;
        let optimised = state.optimize(&relation.plan).map_err(sql_error)?;
        let planned = state.query_planner().create_physical_plan(&optimised, &state).await;
        Ok((planned.map_err(sql_error)?.transform_up(pausing).map_err(sql_error)?.data, state))
    }

    /// Begins to compute a relation.
    ///
    /// # Errors
    /// 1235 for what the engine cannot plan.
    pub async fn open(self: &Arc<Self>, relation: &Relation) -> crate::error::Result<QueryRows> {
        let types = relation.columns.iter().map(|column| column.column_type).collect();
        let (engine, relation) = (Arc::clone(self), relation.clone());
        let (sender, batches) = mpsc::channel(WAITING_BATCHES);
        let (planned, is_planned) = oneshot::channel();
        let mut tasks = JoinSet::new();
        let compute = async move {
            let begun = engine.physical(&relation).await;
            let begun =
                begun.and_then(|(plan, state)| execute_stream(plan, state.task_ctx()).map_err(sql_error));
            let mut stream = match begun {
                Ok(stream) => stream,
                Err(error) => {
                    // Who asked may have been killed meanwhile, here and below.
                    let _ = planned.send(Err(error));
                    return;
                }
            };
            if planned.send(Ok(())).is_err() {
                return;
            }
            while let Some(batch) = stream.next().await {
                if sender.send(batch.map_err(sql_error)).await.is_err() {
                    return;
                }
            }
        };
        // On a thread of its own: operators may compute for long without a pause, and tasks of others would wait for them. Begun from a thread
        // of the runtime, because a thread that serves connections would leave the processor that it is pinned to to all that it starts.
        let (alive, gone) = oneshot::channel::<()>();
        let runtime = self.runtime.clone();
        let until_gone = move || {
            runtime.block_on(async move {
                tokio::select! {
                    biased;
                    _ = gone => {}
                    () = compute => {}
                }
            });
        };
        tasks.spawn_on(async move { spawn_blocking(until_gone).await }, &self.runtime);
        let lost = |_| SqlError::other("the query engine has ended");
        is_planned.await.map_err(lost)??;
        Ok(QueryRows { batches, types, tasks, _alive: alive, _end: None })
    }

    /// The only value of a relation; `None` without rows.
    ///
    /// # Errors
    /// 1242 when there are more; those of the query.
    pub async fn value(self: &Arc<Self>, relation: &Relation) -> crate::error::Result<Option<Value>> {
        let mut rows = self.open(relation).await?;
        let mut found: Option<Value> = None;
        while let Some(chunk) = rows.next().await? {
            for row in chunk {
                if found.is_some() {
                    return Err(SqlError {
                        code: 1_242,
                        state: "21000",
                        message: "Subquery returns more than 1 row".to_owned(),
                    });
                }
                found = Some(row.into_iter().next().unwrap_or(Value::Null));
            }
        }
        Ok(found)
    }
}

/// Rows of a query on their way. Dropped, it ends.
pub struct QueryRows {
    batches: mpsc::Receiver<crate::error::Result<RecordBatch>>,
    types: Vec<Option<ColumnType>>,
    tasks: JoinSet<std::result::Result<(), JoinError>>,
    /// Ends the computing in its next pause when it is dropped.
    _alive: oneshot::Sender<()>,
    /// Ends what computes without a pause.
    _end: Option<EndsWith>,
}

impl QueryRows {
    /// The same, which end what this ends as well when they are dropped.
    #[must_use]
    pub fn that_end_with(self, end: EndsWith) -> QueryRows {
        QueryRows { _end: Some(end), ..self }
    }

    /// The next rows, maybe none; `None` at the end.
    ///
    /// # Errors
    /// Those of the query.
    pub async fn next(&mut self) -> crate::error::Result<Option<Vec<Values>>> {
        let Some(batch) = self.batches.recv().await else { return self.ended().await };
        let batch = batch?;
        let readers: Vec<Reader<'_>> = batch
            .columns()
            .iter()
            .zip(&self.types)
            .map(|(array, column_type)| Reader::new(array.as_ref(), *column_type))
            .collect();
        let row = |index| readers.iter().map(|reader| reader.value(index)).collect();
        Ok(Some((0..batch.num_rows()).map(row).collect()))
    }

    /// Whether all rows have come, or what computed them has failed.
    async fn ended(&mut self) -> crate::error::Result<Option<Vec<Values>>> {
        match self.tasks.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(None),
            Some(Ok(Err(error)) | Err(error)) => {
                Err(SqlError::other(format!("the query engine failed: {error}")))
            }
        }
    }
}
