//! Duet as a target: a local cluster of child processes and the native client.

mod callers;
mod table;

use crate::cpu::CpuList;
use crate::local_cluster::{LocalCluster, LocalClusterOptions};
use crate::target::{BatchResults, KeyTarget, KeyWorker, ServerProcess, SharedClient};
use crate::workload::{Operation, OperationKind, Workload, write_value};
use anyhow::{Context, Result, bail, ensure};
use callers::DuetCallers;
use duet_client::{Batch, ErrorCode, Expectation, Reply, Table, Value, blocking};
use std::time::{Duration, Instant};
pub(crate) use table::NAME as TABLE_NAME;
use table::RowShape;

/// How long the cluster may take until it creates a table.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Longest time of one operation with its repeats.
const OPERATION_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of a row beside its value, generously: header, key, padding, index.
const ROW_OVERHEAD_BYTES: u64 = 200;
/// Memory of a data node beside its rows.
const NODE_BYTES: u64 = 1 << 30;
/// Rows per call while loading.
const LOAD_BATCH: usize = 512;

/// A running Duet cluster; it ends when dropped.
#[derive(Debug)]
pub struct DuetTarget {
    cluster: LocalCluster,
    shape: RowShape,
}

impl DuetTarget {
    /// Starts a cluster with memory for `workload`, all its processes on `cpus`.
    ///
    /// # Errors
    /// A process did not start or did not become ready.
    pub fn start(
        mut options: LocalClusterOptions,
        workload: &Workload,
        cpus: Option<&CpuList>,
    ) -> Result<Self> {
        let replicas = u64::from(options.replicas.unwrap_or(2));
        let row_bytes = 2 * workload.shape.value_bytes() as u64 + ROW_OVERHEAD_BYTES;
        let rows_per_node = (workload.rows * replicas).div_ceil(u64::from(options.data_nodes));
        options.memory_bytes = Some(NODE_BYTES + rows_per_node * row_bytes);
        options.management_cpus = cpus.cloned();
        options.data_cpus = cpus.cloned();
        let cluster = LocalCluster::start(options).context("cannot start a Duet cluster")?;
        Ok(Self { cluster, shape: RowShape::new(workload.shape) })
    }

    /// Addresses of the management nodes, as a client takes them.
    pub(crate) fn addresses(&self) -> String {
        let addresses = self.cluster.management_addresses();
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    fn connect(&self) -> Result<blocking::Client> {
        let builder = duet_client::Client::builder(&self.addresses()).program("duet bench");
        blocking::Client::with(builder.timeout(OPERATION_WITHIN))
            .context("cannot connect to the Duet cluster")
    }

    /// Creates the table; a cluster that has just started may need some time for it.
    fn create_table(&self, client: &mut blocking::Client) -> Result<Table> {
        let definition = self.shape.definition()?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match client.create_table(&definition) {
                Ok(table) => return Ok(table),
                Err(error)
                    if Instant::now() < deadline
                        && error.error_code().is_some_and(ErrorCode::is_retryable) =>
                {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) => return Err(error).context("cannot create the table"),
            }
        }
    }
}

impl KeyTarget for DuetTarget {
    fn name(&self) -> &str {
        "duet"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn server_processes(&self) -> Vec<ServerProcess> {
        self.cluster.processes()
    }

    fn load(&mut self, workload: &Workload, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let mut client = self.connect()?;
        let table = self.create_table(&mut client)?;
        let mut batch = Batch::new();
        let mut value = vec![0; workload.shape.value_bytes()];
        let mut next = 0;
        while next < workload.rows {
            let end = workload.rows.min(next + LOAD_BATCH as u64);
            batch.clear();
            for key in next..end {
                write_value(key, 0, &mut value);
                let values: Vec<Value> = self.shape.row(key, &value);
                batch.insert(&table, &values).context("a row does not fit its table")?;
            }
            client.execute(&mut batch);
            for index in 0..batch.len() {
                if let Err(error) = batch.written(index) {
                    bail!("duet refused row {} while loading: {error}", next + index as u64);
                }
            }
            next = end;
            progress(next);
        }
        if let Some(sentence) = self.cluster.unexpected_end() {
            bail!(sentence);
        }
        Ok(())
    }

    fn worker(&self, workload: &Workload, batch: usize) -> Result<Box<dyn KeyWorker>> {
        let mut client = self.connect()?;
        let table = client.table(table::NAME).context("the table")?;
        let values = vec![0; batch * workload.shape.value_bytes()];
        Ok(Box::new(DuetWorker { client, table, shape: self.shape, batch: Batch::new(), values }))
    }

    fn shared_client(&self) -> Result<Option<Box<dyn SharedClient>>> {
        Ok(Some(Box::new(DuetCallers::connect(&self.addresses(), OPERATION_WITHIN, self.shape)?)))
    }
}

/// A blocking client and its batch.
struct DuetWorker {
    client: blocking::Client,
    table: Table,
    shape: RowShape,
    batch: Batch,
    /// Values of the updates of a batch, one after the other.
    values: Vec<u8>,
}

impl KeyWorker for DuetWorker {
    fn execute(&mut self, batch: &[Operation], results: &mut BatchResults<'_>) -> Result<()> {
        let value_bytes = self.shape.value_bytes();
        ensure!(self.values.len() >= batch.len() * value_bytes, "the batch is larger than announced");
        self.batch.clear();
        let mut slots = self.values.chunks_exact_mut(value_bytes);
        let mut assignments = Vec::new();
        for operation in batch {
            match operation.kind {
                OperationKind::Read => self.batch.read(&self.table, &operation.key)?,
                OperationKind::Update => {
                    let slot = slots.next().context("the batch is larger than announced")?;
                    write_value(operation.key, operation.generation, slot);
                    assignments.clear();
                    assignments.extend(self.shape.assignments(slot));
                    self.batch.update(&self.table, &operation.key, &assignments, Expectation::Any)?
                }
            };
        }
        self.client.execute(&mut self.batch);
        for index in 0..batch.len() {
            self.shape.answer(index, self.batch.reply(index), results);
        }
        Ok(())
    }
}

impl RowShape {
    /// Puts a reply into `results`.
    fn answer(self, index: usize, reply: duet_client::Result<Reply<'_>>, results: &mut BatchResults<'_>) {
        match reply {
            Ok(Reply::Row { row, .. }) => self.answer_row(index, &row, results),
            Ok(Reply::NoRow) => results.missing(index),
            Ok(Reply::Written(_)) => results.updated(index),
            Ok(Reply::Page(_) | Reply::Resolved(_) | Reply::Ended(_)) => {
                results.refused(index, &"an answer of another kind");
            }
            Err(error) => results.refused(index, &error),
        }
    }
}
