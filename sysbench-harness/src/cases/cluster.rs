//! A cluster with an asynchronous client, and the measuring of what it does.

use super::record::{CaseParameters, CaseRound};
use crate::connection::Links;
use crate::cpu::process_cpu_time;
use crate::local_cluster::LocalCluster;
use crate::options::{Placement, ServerRunArguments};
use crate::target::ServerProcess;
use anyhow::{Context, Result, bail, ensure};
use duet_client::{Batch, Client, ErrorCode, Table, TableDefinition, Value};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// How long the cluster may take until it creates a table.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Longest time of one operation with its repeats.
const OPERATION_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of a row, generously: header, key, value, padding, indexes.
const ROW_BYTES: u64 = 400;
/// Memory of a data node beside its rows.
const NODE_BYTES: u64 = 1 << 30;
/// Rows per call while loading.
const LOAD_BATCH: usize = 512;

/// A running cluster and a client of it on a runtime of one thread.
pub(crate) struct BenchCluster {
    cluster: LocalCluster,
    pub(crate) runtime: Runtime,
    pub(crate) client: Client,
}

impl BenchCluster {
    /// Starts a cluster with memory for so many rows. Call it where the generator's CPUs are set.
    pub(crate) fn start(
        run: &ServerRunArguments,
        placement: &Placement,
        data_nodes: u32,
        replicas: u32,
        rows: u64,
    ) -> Result<Self> {
        let mut options = run.cluster(data_nodes, replicas, Links::Tcp)?;
        let rows_per_node = (rows * u64::from(replicas)).div_ceil(u64::from(data_nodes));
        options.memory_bytes = Some(NODE_BYTES + rows_per_node * ROW_BYTES);
        options.management_cpus = placement.servers.clone();
        options.data_cpus = placement.servers.clone();
        let cluster = LocalCluster::start(options).context("cannot start a Duet cluster")?;
        let runtime =
            Builder::new_current_thread().enable_all().build().context("an asynchronous runtime")?;
        let client = runtime.block_on(connect(&addresses(&cluster)))?;
        Ok(Self { cluster, runtime, client })
    }

    /// Where the cluster is, for other processes.
    pub(crate) fn addresses(&self) -> String {
        addresses(&self.cluster)
    }

    /// The directory with the logs of its processes.
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.cluster.directory()
    }

    /// A client with connections of its own.
    pub(crate) fn another_client(&self) -> Result<Client> {
        self.runtime.block_on(connect(&addresses(&self.cluster)))
    }

    /// Creates a table; a cluster that has just started may need some time for it.
    pub(crate) fn create_table(&self, definition: &TableDefinition) -> Result<Table> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match self.runtime.block_on(self.client.create_table(definition.clone())) {
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

    /// Inserts rows 0 to `rows`, telling how many there are.
    pub(crate) fn load(
        &mut self,
        table: &Table,
        rows: u64,
        row: impl Fn(u64) -> Vec<Value>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        load_rows(&self.runtime, &self.client, table, rows, row, progress)?;
        self.check()
    }

    /// Fails if a process has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.cluster.unexpected_end() {
            Some(sentence) => bail!(sentence),
            None => Ok(()),
        }
    }

    /// Runs `work`, which returns how many units it did, and measures it.
    pub(crate) fn measure(&self, work: impl FnOnce(&Self) -> Result<u64>) -> Result<CaseRound> {
        measure(&self.cluster.processes(), || work(self))
    }
}

/// Inserts rows 0 to `rows`, telling how many there are.
pub(crate) fn load_rows(
    runtime: &Runtime,
    client: &Client,
    table: &Table,
    rows: u64,
    row: impl Fn(u64) -> Vec<Value>,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut batch = Batch::new();
    let mut next = 0;
    while next < rows {
        let end = rows.min(next + LOAD_BATCH as u64);
        batch.clear();
        for key in next..end {
            batch.insert(table, &row(key)).context("a row does not fit its table")?;
        }
        runtime.block_on(client.execute(&mut batch)).context("loading")?;
        for index in 0..batch.len() {
            if let Err(error) = batch.written(index) {
                bail!("row {} was refused while loading: {error}", next + index as u64);
            }
        }
        next = end;
        progress(next);
    }
    Ok(())
}

/// Runs `work`, which returns how many units it did, and measures the data nodes among these processes, and this process.
pub(crate) fn measure(processes: &[ServerProcess], work: impl FnOnce() -> Result<u64>) -> Result<CaseRound> {
    let nodes = || processes.iter().filter(|process| process.role.starts_with("data node"));
    let cpu = || -> Result<(Duration, Duration)> {
        let nodes: Result<Vec<Duration>> = nodes().map(|node| process_cpu_time(node.process_id)).collect();
        Ok((nodes?.iter().sum(), process_cpu_time(std::process::id())?))
    };
    ensure!(nodes().next().is_some(), "there is no data node to measure");
    let (nodes_before, client_before) = cpu()?;
    let begin = Instant::now();
    let units = work()?;
    let seconds = begin.elapsed().as_secs_f64();
    let (nodes_after, client_after) = cpu()?;
    ensure!(units > 0, "nothing was done");
    let per_unit =
        |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() * 1e6 / units as f64;
    Ok(CaseRound {
        units,
        seconds,
        node_cpu_us: per_unit(nodes_before, nodes_after),
        client_cpu_us: per_unit(client_before, client_after),
    })
}

/// The parameters as they are recorded; nodes and replicas come from the caller.
pub(crate) fn parameters(
    run: &ServerRunArguments,
    placement: &Placement,
    (data_nodes, replicas): (u32, u32),
    rows: u64,
    description: String,
) -> CaseParameters {
    CaseParameters {
        rows,
        description,
        data_nodes,
        replicas,
        rounds: run.rounds,
        seed: run.seed,
        server_cpus: placement.servers.as_ref().map(ToString::to_string),
        client_cpus: placement.clients.as_ref().map(ToString::to_string),
        io: run.io.clone(),
    }
}

fn addresses(cluster: &LocalCluster) -> String {
    let addresses = cluster.management_addresses();
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A client with links of its own.
pub(crate) async fn connect(addresses: &str) -> Result<Client> {
    let client = Client::builder(addresses).timeout(OPERATION_WITHIN).program("duet bench").connect().await;
    client.context("cannot connect to the Duet cluster")
}

/// The partition of a row, from the state that the client knows.
pub(crate) fn key_partition(client: &Client, table: &Table, key: u64) -> Result<u16> {
    let mut bytes = Vec::new();
    let values = [Value::UInt(key)];
    table.layout().encode_key(&values, &mut bytes).context("a key does not fit its table")?;
    let state = client.state().context("the client knows no cluster state")?;
    state.partition_of(table.layout().partition_hash(&bytes)).context("the state has no such partition")
}
