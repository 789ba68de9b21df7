//! `duet bench transactions`: transactions of some updates, each in another partition, beside as many updates that are
//! committed one by one, with the same client and as much in flight; and, on the same cluster, the batched reads and updates of
//! `duet bench keys`, to see what transactions cost those who do not use them.

mod arguments;
mod groups;

pub use arguments::TransactionsArguments;

use crate::cases::{
    Benchmark, CASE_SCHEMA_VERSION, CaseRecord, CaseResult, CaseRound, case, connect, measure, parameters,
    publish,
};
use crate::connection::Links;
use crate::driver::drive;
use crate::duet::DuetTarget;
use crate::keys::{check_answers, progress_bar};
use crate::options::{Say, warn_of_debug_build};
use crate::report::{Asked, Figure, Results, RunHead, RunRecord, read_all};
use crate::target::KeyTarget;
use crate::workload::{KeyChooser, Mix};
use anyhow::{Context, Result};
use arguments::KEYS_BATCH;
use groups::{Groups, Way};
use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

const DATA_NODES: u32 = 2;
const REPLICAS: u32 = 2;
const ASKED_UPDATES: usize = 4;
const ASKED_TRANSACTION: f64 = 2.5;
/// Share of the recorded rate of batched reads and updates that must be kept.
const ASKED_KEPT: f64 = 0.9;

const SINGLE: &str = "updates committed one by one, groups of them";
const TRANSACTIONS: &str = "transactions of updates in as many partitions";
const READS: &str = "reads, 128 in flight";
const UPDATES: &str = "updates, 128 in flight";

/// `transactions.jsonl`.
#[derive(Debug, Clone, PartialEq)]
pub struct TransactionsBenchmark;

impl Benchmark for TransactionsBenchmark {
    const NAME: &'static str = "transactions";
    const TITLE: &'static str = "Transactions";
}

/// Runs the benchmark and prints its table.
///
/// # Errors
/// A server could not be started, failed, or gave a wrong answer; results that cannot be written.
pub fn run(arguments: &TransactionsArguments, say: Say<'_>) -> Result<()> {
    arguments.check()?;
    let placement = arguments.run.placement()?;
    warn_of_debug_build();
    let head = RunHead::begin(TransactionsBenchmark::NAME, CASE_SCHEMA_VERSION);
    let reads = arguments.workload(Mix::READS);
    let cluster = arguments.run.cluster(DATA_NODES, REPLICAS, Links::Tcp)?;
    let mut duet = DuetTarget::start(cluster, &reads, placement.servers.as_ref())?;
    let cases = placement.generate(|| {
        let bar = progress_bar("duet loads", reads.rows);
        duet.load(&reads, &mut |rows| bar.set_position(rows)).context("loading")?;
        bar.finish_and_clear();
        cases(arguments, &duet)
    })?;
    let description = format!(
        "8 + 5 × 20 bytes; {} updates to a transaction, {} transactions in flight",
        arguments.updates, arguments.in_flight
    );
    let nodes = (DATA_NODES, REPLICAS);
    let parameters = parameters(&arguments.run, &placement, nodes, arguments.rows, description);
    let figures = figures(arguments, &cases);
    let run =
        CaseRecord { head, parameters, cases, figures, benchmark: PhantomData::<TransactionsBenchmark> };
    publish(&run, &arguments.run.record, say)
}

fn cases(arguments: &TransactionsArguments, duet: &DuetTarget) -> Result<Vec<CaseResult>> {
    let runtime: Runtime =
        Builder::new_current_thread().enable_all().build().context("an asynchronous runtime")?;
    let client = runtime.block_on(connect(&duet.addresses()))?;
    let table = runtime.block_on(client.table(crate::duet::TABLE_NAME)).context("the table")?;
    let mut groups = Groups::new(client, table, arguments.rows, arguments.updates, arguments.run.seed)?;
    let processes = duet.server_processes();
    let mut rounds: [Vec<CaseRound>; 4] = Default::default();
    // Before the groups, whose values are not those that reads are verified with.
    for _ in 1..=arguments.run.rounds {
        for (mix, rounds) in [Mix::READS, Mix::UPDATES].into_iter().zip(&mut rounds[2..]) {
            rounds.push(batched(arguments, duet, mix)?);
        }
    }
    for round in 1..=arguments.run.rounds {
        for (way, rounds) in [Way::OneByOne, Way::Transaction].into_iter().zip(&mut rounds) {
            let name = format!("{} round {round}/{}", way.name(), arguments.run.rounds);
            let bar = progress_bar(&name, 1);
            groups.run(&runtime, way, arguments.in_flight, Duration::from_secs_f64(arguments.warm_up))?;
            let time = Duration::from_secs_f64(arguments.seconds);
            let measured = measure(&processes, || groups.run(&runtime, way, arguments.in_flight, time));
            bar.finish_and_clear();
            rounds.push(measured.context(name)?);
        }
        groups.check(&runtime).with_context(|| format!("after round {round}"))?;
    }
    let [single, transactions, reads, updates] = rounds;
    Ok(vec![
        CaseResult::new(SINGLE, "groups", single),
        CaseResult::new(TRANSACTIONS, "transactions", transactions),
        CaseResult::new(READS, "reads", reads),
        CaseResult::new(UPDATES, "updates", updates),
    ])
}

/// What `duet bench keys` measures.
fn batched(arguments: &TransactionsArguments, duet: &DuetTarget, mix: Mix) -> Result<CaseRound> {
    let workload = arguments.workload(mix);
    let chooser = KeyChooser::new(workload.distribution, workload.rows);
    let name = format!("{KEYS_BATCH} in flight, {mix}");
    let bar = progress_bar(&name, 1000);
    let show = &mut |share: f64| bar.set_position((share * 1000.0) as u64);
    let measured = drive(duet, &workload, chooser, &arguments.plan(), show).with_context(|| name.clone())?;
    bar.finish_and_clear();
    check_answers(&name, &measured)?;
    let nodes = measured.server_cpu.iter().filter(|(process, _)| process.role.starts_with("data node"));
    let per_unit = |cpu: Duration| cpu.as_secs_f64() * 1e6 / measured.operations.max(1) as f64;
    Ok(CaseRound {
        units: measured.operations,
        seconds: measured.elapsed.as_secs_f64(),
        node_cpu_us: per_unit(nodes.map(|(_, cpu)| *cpu).sum()),
        client_cpu_us: per_unit(measured.client_cpu),
    })
}

fn figures(arguments: &TransactionsArguments, cases: &[CaseResult]) -> Vec<Figure> {
    let mut figures = Vec::new();
    if let (Some(single), Some(transaction)) = (case(cases, SINGLE), case(cases, TRANSACTIONS)) {
        let updates = arguments.updates;
        let asked = (updates == ASKED_UPDATES).then_some(Asked::AtMost(ASKED_TRANSACTION));
        figures.push(Figure::ratio(
            format!("CPU of client and data nodes, a transaction of {updates} updates / {updates} updates"),
            transaction.both_cpu_us(),
            single.both_cpu_us(),
            asked,
        ));
        figures.push(Figure::ratio(
            format!("CPU of the data nodes, a transaction of {updates} updates / {updates} updates"),
            transaction.node_cpu_us,
            single.node_cpu_us,
            None,
        ));
    }
    let recorded = recorded(&arguments.run.record.results, arguments.rows);
    for (name, mix) in [(READS, "read=100"), (UPDATES, "update=100")] {
        let Some(now) = case(cases, name) else { continue };
        let Some(then) = recorded(mix) else { continue };
        let asked = Some(Asked::AtLeast(ASKED_KEPT));
        figures.push(Figure::ratio(
            format!("{name}: per second now / recorded by `duet bench keys`"),
            now.per_second(),
            then.0,
            asked,
        ));
        figures.push(Figure::ratio(
            format!("{name}: per server CPU second now / recorded by `duet bench keys`"),
            then.1,
            now.node_cpu_us,
            asked,
        ));
    }
    figures
}

/// Rate and server CPU per operation of recorded runs of `duet bench keys` over as many rows: of the newest run with this mix, uniform
/// keys and [`KEYS_BATCH`] operations in flight.
fn recorded(directory: &Path, rows: u64) -> impl Fn(&str) -> Option<(f64, f64)> {
    let runs: Vec<RunRecord> = read_all(&Results::new(directory).lines::<RunRecord>()).unwrap_or_default();
    move |mix| {
        let comparable = |run: &&RunRecord| {
            let parameters = &run.parameters;
            parameters.common.rows == rows
                && parameters.mix == mix
                && (parameters.threads, parameters.batch, parameters.callers) == (1, KEYS_BATCH, 0)
                && (parameters.data_nodes, parameters.replicas) == (DATA_NODES, REPLICAS)
                && parameters.rate.is_none()
                && parameters.links.is_none()
                && run.head.build == "release"
        };
        let targets = runs.iter().rev().filter(comparable).flat_map(|run| &run.targets);
        let plain = |variant: Option<&str>| matches!(variant, None | Some("uniform keys"));
        let mut targets = targets.filter(|target| target.name == "duet" && plain(target.variant.as_deref()));
        let median = &targets.next()?.median;
        Some((median.operations_per_second, median.server_cpu_us_per_operation))
    }
}
