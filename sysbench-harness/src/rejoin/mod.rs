//! `duet bench rejoin`: a data node with many rows is killed and started again while clients go on. How long it takes until it is a
//! full member, and what the clients get done meanwhile.

mod arguments;
mod foreground;

pub use arguments::RejoinArguments;

use crate::cases::{
    Benchmark, CASE_SCHEMA_VERSION, CaseParameters, CaseRecord, CaseResult, CaseRound, connect, load_rows,
    publish,
};
use crate::cpu::process_cpu_time;
use crate::keys::progress_bar;
use crate::local_cluster::{LocalCluster, LocalClusterOptions};
use crate::options::{Say, warn_of_debug_build};
use crate::outage::{is_whole, members};
use crate::report::{Asked, Figure, RunHead};
use anyhow::{Context, Result, ensure};
use duet_client::{Client, ClusterStatus, ColumnType, Table, TableDefinition, Value};
use foreground::{Foreground, Load, VALUE};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

const DATA_NODES: u32 = 2;
const VICTIM: u32 = 2;
const KEY_BYTES: u64 = 8;
/// Bytes that a row needs beside key and value, generously: header, indexes, pages that are not full.
const OVERHEAD_BYTES: u64 = 120;
/// Memory of a data node beside its rows.
const NODE_BYTES: u64 = 256 << 20;
const ASKED_BYTES: u64 = 1 << 30;
const ASKED_SECONDS: f64 = 20.0;
const ASKED_SHARE: f64 = 0.6;
const WITHIN: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(10);

/// `rejoin.jsonl`.
#[derive(Debug, Clone, PartialEq)]
pub struct RejoinBenchmark;

impl Benchmark for RejoinBenchmark {
    const NAME: &'static str = "rejoin";
    const TITLE: &'static str = "A data node comes back";
}

/// Runs the benchmark and prints its table.
///
/// # Errors
/// The cluster could not be started or did not become whole again, an operation was refused; results that cannot be written.
pub fn run(arguments: &RejoinArguments, say: Say<'_>) -> Result<()> {
    arguments.check()?;
    warn_of_debug_build();
    let head = RunHead::begin(RejoinBenchmark::NAME, CASE_SCHEMA_VERSION);
    let mut trial = Trial::start(arguments)?;
    let (cases, mut figures) = trial.play(arguments)?;
    let description = format!(
        "8 + {} bytes, {} callers with batches of {} reads and updates, one half each",
        arguments.value_bytes, arguments.callers, arguments.batch
    );
    let asked = arguments.rows_bytes >= ASKED_BYTES;
    if !asked {
        figures.iter_mut().for_each(|figure| figure.asked = None);
    }
    let parameters = CaseParameters {
        rows: trial.rows,
        description,
        data_nodes: DATA_NODES,
        replicas: DATA_NODES,
        rounds: 1,
        seed: arguments.seed,
        server_cpus: None,
        client_cpus: None,
        io: None,
    };
    let run: CaseRecord<RejoinBenchmark> =
        CaseRecord { head, parameters, cases, figures, benchmark: PhantomData };
    publish(&run, &arguments.record, say)
}

/// A cluster with rows and a client of it.
struct Trial {
    cluster: LocalCluster,
    runtime: Runtime,
    client: Client,
    table: Table,
    rows: u64,
}

impl Trial {
    fn start(arguments: &RejoinArguments) -> Result<Self> {
        let row_bytes = KEY_BYTES + arguments.value_bytes as u64;
        let rows = arguments.rows_bytes / row_bytes;
        let mut options = LocalClusterOptions::new(arguments.executable()?);
        options.data_nodes = DATA_NODES;
        options.replicas = Some(DATA_NODES);
        options.memory_bytes = Some(rows * (row_bytes + OVERHEAD_BYTES) + NODE_BYTES);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.context("cannot start a runtime")?;
        let mut cluster = LocalCluster::start(options)?;
        let addresses = cluster.management_addresses();
        let addresses = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let client = runtime.block_on(connect(&addresses))?;
        let bytes = arguments.value_bytes as u32;
        let definition = TableDefinition::builder("bench", "rejoin")
            .required("id", ColumnType::BigIntUnsigned)
            .required(VALUE.1, ColumnType::Binary { bytes })
            .primary_key(["id"])
            .build()
            .context("the table's definition")?;
        wait_for(&runtime, &client, "the cluster forms", is_whole)?;
        let table = runtime.block_on(client.create_table(definition)).context("cannot create the table")?;
        let bar = progress_bar("loads", rows);
        let value = vec![7; arguments.value_bytes];
        let row = |key| vec![Value::UInt(key), Value::Bytes(value.clone())];
        load_rows(&runtime, &client, &table, rows, row, &mut |done| bar.set_position(done))?;
        bar.finish_and_clear();
        if let Some(sentence) = cluster.unexpected_end() {
            anyhow::bail!(sentence);
        }
        Ok(Self { cluster, runtime, client, table, rows })
    }

    fn play(&mut self, arguments: &RejoinArguments) -> Result<(Vec<CaseResult>, Vec<Figure>)> {
        let load = Load {
            client: self.client.clone(),
            table: Table::clone(&self.table),
            rows: self.rows,
            value: vec![9; arguments.value_bytes],
            batch: arguments.batch,
            seed: arguments.seed,
        };
        let foreground = Foreground::start(self.runtime.handle(), arguments.callers, &load);
        let window = Duration::from_secs_f64(arguments.seconds);
        let bar = progress_bar("goes and comes back", 1);
        // The first second warms up.
        std::thread::sleep(window.min(Duration::from_secs(1)));
        let before = self.measure(&foreground, |_| {
            std::thread::sleep(window);
            Ok(())
        })?;
        self.cluster.kill_data_node(VICTIM)?;
        self.wait_for("the node is removed", |status| members(status).count() == 1)?;
        let away = self.measure(&foreground, |_| {
            std::thread::sleep(window);
            Ok(())
        })?;
        let begin = Instant::now();
        let during = self.measure(&foreground, |trial| {
            trial.cluster.restart_data_node(VICTIM)?;
            trial.wait_for("the node is a full member", is_full).map(drop)
        })?;
        let full = begin.elapsed().as_secs_f64();
        let whole_status = self.wait_for("the node leads again", is_whole)?;
        let whole = begin.elapsed().as_secs_f64();
        let after = self.measure(&foreground, |_| {
            std::thread::sleep(window);
            Ok(())
        })?;
        let (_, errors) = foreground.counts();
        foreground.stop()?;
        bar.finish_and_clear();
        if let Some(sentence) = self.cluster.unexpected_end() {
            anyhow::bail!(sentence);
        }
        let used = |node: u32| {
            whole_status.nodes.iter().find(|found| found.node == node).map_or(0, |found| found.memory_used)
        };
        let share = during.per_second() / before.per_second();
        let figures = vec![
            Figure::new("start of the process to full member", full, "s", Some(Asked::AtMost(ASKED_SECONDS))),
            Figure::new("start of the process to leading half", whole, "s", None),
            Figure::new("done while it comes back / before", share, "×", Some(Asked::AtLeast(ASKED_SHARE))),
            Figure::ratio(
                "done while it comes back / while it is away",
                during.per_second(),
                away.per_second(),
                None,
            ),
            Figure::new("keys and values copied", (arguments.rows_bytes >> 20) as f64 / full, "MiB/s", None),
            Figure::new("memory used by the survivor", used(1) as f64 / f64::from(1 << 20), "MiB", None),
            Figure::new(
                "memory used by the node that came back",
                used(VICTIM) as f64 / f64::from(1 << 20),
                "MiB",
                None,
            ),
            Figure::new("errors told to callers", errors as f64, "", None),
        ];
        let case = |name: &str, round| CaseResult::new(name, "operations", vec![round]);
        let cases = vec![
            case("both data nodes, before", before),
            case("one is away", away),
            case("it comes back", during),
            case("both again", after),
        ];
        Ok((cases, figures))
    }

    /// What callers get done while `wait` waits.
    fn measure(
        &mut self,
        foreground: &Foreground,
        wait: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<CaseRound> {
        let nodes_before = self.node_times();
        let client_before = process_cpu_time(std::process::id())?;
        let (done_before, begin) = (foreground.counts().0, Instant::now());
        wait(self)?;
        let (units, seconds) = (foreground.counts().0 - done_before, begin.elapsed().as_secs_f64());
        ensure!(units > 0, "nothing was done");
        let per_unit = |time: Duration| time.as_secs_f64() * 1e6 / units as f64;
        // A process that began meanwhile began at 0.
        let node = |(process, time): (u32, Duration)| {
            time.saturating_sub(nodes_before.get(&process).copied().unwrap_or_default())
        };
        let nodes: Duration = self.node_times().into_iter().map(node).sum();
        let client = process_cpu_time(std::process::id())?.saturating_sub(client_before);
        Ok(CaseRound { units, seconds, node_cpu_us: per_unit(nodes), client_cpu_us: per_unit(client) })
    }

    /// CPU time of the data nodes that are alive.
    fn node_times(&self) -> BTreeMap<u32, Duration> {
        let nodes = self.cluster.data_nodes().iter().map(crate::local_cluster::LocalNode::process_id);
        nodes.filter_map(|process| Some((process, process_cpu_time(process).ok()?))).collect()
    }

    fn wait_for(&self, what: &str, condition: impl Fn(&ClusterStatus) -> bool) -> Result<ClusterStatus> {
        wait_for(&self.runtime, &self.client, what, condition)
    }
}

/// Whether both data nodes hold everything: only what does leads, or takes over what it led.
fn is_full(status: &ClusterStatus) -> bool {
    let view = &status.state.view;
    let is_full = |member: &duet_client::Member| member.state == duet_client::MemberState::Full;
    view.members().filter(|member| is_full(member)).count() == DATA_NODES as usize
}

fn wait_for(
    runtime: &Runtime,
    client: &Client,
    what: &str,
    condition: impl Fn(&ClusterStatus) -> bool,
) -> Result<ClusterStatus> {
    let deadline = Instant::now() + WITHIN;
    loop {
        match runtime.block_on(client.status()) {
            Ok(status) if condition(&status) => return Ok(status),
            Ok(_) => ensure!(Instant::now() < deadline, "{what}: not within {} s", WITHIN.as_secs()),
            Err(error) => ensure!(Instant::now() < deadline, "{what}: {error}"),
        }
        std::thread::sleep(POLL);
    }
}
