//! `duet bench hot`: many clients increment the same few rows, each by one operation at a time that is committed by itself.
//! No increment may be lost and none may happen twice: every acknowledged new value comes once, and in the end each
//! row holds as many as were acknowledged.

mod arguments;

pub use arguments::HotArguments;

use crate::cases::{
    BenchCluster, Benchmark, CASE_SCHEMA_VERSION, CaseRecord, CaseResult, case, parameters, publish,
};
use crate::keys::progress_bar;
use crate::options::{Say, warn_of_debug_build};
use crate::report::{Asked, Figure, RunHead};
use crate::workload::mix64;
use anyhow::{Context, Result, ensure};
use duet_client::{Client, ColumnType, Table, TableDefinition, Value};
use std::marker::PhantomData;
use std::time::{Duration, Instant};

const DATA_NODES: u32 = 2;
const REPLICAS: u32 = 2;
const ASKED_CALLERS: u32 = 64;
const ASKED_ROWS: u64 = 8;
const ASKED_PER_SECOND: f64 = 50_000.0;

const SHARED: &str = "callers of one client";
const APART: &str = "clients with links of their own";

/// `hot.jsonl`.
#[derive(Debug, Clone, PartialEq)]
pub struct HotBenchmark;

impl Benchmark for HotBenchmark {
    const NAME: &'static str = "hot";
    const TITLE: &'static str = "Increments of few rows by many clients";
}

/// Runs the benchmark and prints its table.
///
/// # Errors
/// A server could not be started, failed, or an increment was lost or refused; results that cannot be written.
pub fn run(arguments: &HotArguments, say: Say<'_>) -> Result<()> {
    arguments.check()?;
    let placement = arguments.run.placement()?;
    warn_of_debug_build();
    let head = RunHead::begin(HotBenchmark::NAME, CASE_SCHEMA_VERSION);
    let run: CaseRecord<HotBenchmark> = placement.generate(|| {
        let rows = arguments.rows;
        let mut cluster = BenchCluster::start(&arguments.run, &placement, DATA_NODES, REPLICAS, rows)?;
        let definition = TableDefinition::builder("bench", "hot")
            .required("id", ColumnType::BigIntUnsigned)
            .required("count", ColumnType::BigInt)
            .primary_key(["id"])
            .build()
            .context("the table's definition")?;
        let table = cluster.create_table(&definition)?;
        cluster.load(&table, rows, |key| vec![Value::UInt(key), Value::Int(0)], &mut |_| {})?;
        let cases = measure(arguments, &mut cluster, &table)?;
        let description = format!("{} of one counter each, {} increments in flight", rows, arguments.clients);
        let parameters = parameters(&arguments.run, &placement, (DATA_NODES, REPLICAS), rows, description);
        let comparable = arguments.clients == ASKED_CALLERS && rows == ASKED_ROWS;
        let asked = comparable.then_some(Asked::AtLeast(ASKED_PER_SECOND));
        let rate = |name: &str| case(&cases, name).map_or(0.0, super::cases::CaseRound::per_second);
        let figures = [SHARED, APART]
            .map(|way| {
                let name = format!("{} {way}", arguments.clients);
                Figure::new(format!("increments, {name}"), rate(&name), "per second", asked)
            })
            .to_vec();
        Ok(CaseRecord { head, parameters, cases, figures, benchmark: PhantomData })
    })?;
    publish(&run, &arguments.run.record, say)
}

/// Measures both ways in rounds; after each, every row must hold what was acknowledged.
fn measure(arguments: &HotArguments, cluster: &mut BenchCluster, table: &Table) -> Result<Vec<CaseResult>> {
    let shared = vec![cluster.client.clone(); arguments.clients as usize];
    let mut apart = Vec::new();
    for _ in 0..arguments.clients {
        apart.push(cluster.another_client()?);
    }
    // How many increments each row has had.
    let mut counts = vec![0_i64; arguments.rows as usize];
    let mut results = [Vec::new(), Vec::new()];
    for round in 1..=arguments.run.rounds {
        for (way, (clients, results)) in [shared.as_slice(), &apart].iter().zip(&mut results).enumerate() {
            let name = [SHARED, APART][way];
            let bar = progress_bar(&format!("{name} round {round}/{}", arguments.run.rounds), 1);
            let seed = mix64(arguments.run.seed ^ mix64(u64::from(round) << 1 | way as u64));
            increments(cluster, clients, table, arguments.warm_up, seed, &mut counts)?;
            let measured = cluster.measure(|cluster| {
                increments(cluster, clients, table, arguments.seconds, !seed, &mut counts)
            });
            bar.finish_and_clear();
            results.push(measured.with_context(|| format!("{name}, round {round}"))?);
            check_rows(cluster, table, &counts)?;
        }
    }
    cluster.check()?;
    let named = [SHARED, APART].map(|way| format!("{} {way}", arguments.clients));
    Ok(named
        .into_iter()
        .zip(results)
        .map(|(name, rounds)| CaseResult::new(name, "increments", rounds))
        .collect())
}

/// Every client increments random rows for a time, one at a time. Each new value must come exactly once.
fn increments(
    cluster: &BenchCluster,
    clients: &[Client],
    table: &Table,
    seconds: f64,
    seed: u64,
    counts: &mut [i64],
) -> Result<u64> {
    let rows = counts.len() as u64;
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let all = cluster.runtime.block_on(async {
        let tasks: Vec<_> = (0..)
            .zip(clients)
            .map(|(number, client)| {
                tokio::spawn(increment_until(
                    client.clone(),
                    Table::clone(table),
                    rows,
                    mix64(seed ^ number),
                    end,
                ))
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.context("a caller has panicked")??);
        }
        anyhow::Ok(all)
    })?;
    let done = all.len() as u64;
    let mut values = vec![Vec::new(); counts.len()];
    for (row, value) in all {
        values[row as usize].push(value);
    }
    for (row, (count, mut values)) in counts.iter_mut().zip(values).enumerate() {
        values.sort_unstable();
        for value in values {
            *count += 1;
            ensure!(value == *count, "row {row} answered {value} where {count} comes next");
        }
    }
    Ok(done)
}

async fn increment_until(
    client: Client,
    table: Table,
    rows: u64,
    seed: u64,
    end: Instant,
) -> Result<Vec<(u64, i64)>> {
    let mut values = Vec::new();
    let mut random = seed;
    while Instant::now() < end {
        random = mix64(random);
        let row = random % rows;
        let value = client.increment(&table, row, "count", 1).await.context("an increment was refused")?;
        let Value::Int(value) = value else { anyhow::bail!("an increment answered {value:?}") };
        values.push((row, value));
    }
    Ok(values)
}

fn check_rows(cluster: &BenchCluster, table: &Table, counts: &[i64]) -> Result<()> {
    cluster.runtime.block_on(async {
        for (row, count) in (0_u64..).zip(counts) {
            let found = cluster.client.get(table, row).await?.context("a row is gone")?;
            let found: i64 = found.get("count")?;
            ensure!(found == *count, "row {row} holds {found}, {count} increments were acknowledged");
        }
        Ok(())
    })
}
