//! `duet bench features`: feature vectors over HTTP in the grid of Feast's benchmark, vectors with the native client, and how fast
//! rows come in and can be read.

mod arguments;
mod grid;
mod groups;
mod native;

pub use arguments::FeaturesArguments;

use crate::cases::{
    BenchCluster, Benchmark, CASE_SCHEMA_VERSION, CaseRecord, CaseResult, parameters, publish,
};
use crate::keys::progress_bar;
use crate::options::{Placement, Say, warn_of_debug_build};
use crate::process::{ManagedProcess, ParentDeath};
use crate::report::{Asked, Figure, RunHead, median};
use crate::workload::mix64;
use anyhow::{Context, Result};
use arguments::WIDEST;
use duet_featurestore::{FeatureStore, PreparedView, Versioned};
use grid::Cell;
use groups::{Numbers, STORE};
use hdrhistogram::Histogram;
use native::{BATCH, BATCH_CALLERS, SINGLE_CALLERS};
use serde::Deserialize;
use std::ffi::OsString;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const DATA_NODES: u32 = 2;
const REPLICAS: u32 = 2;
/// Memory of a row of the widest group counts for so many rows of the usual size.
const WIDE_ROWS: u64 = 16;
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The group that requests over HTTP ask.
const GRID: &str = "grid";

const BATCHES: &str = "vectors of 11 features, batches of 100";
const SINGLES: &str = "vectors of 11 features one by one, 16 callers";
const NARROW: &str = "rows of 11 features written";
const WIDE: &str = "rows of 101 features written";
const HALF: &str = "rows of 11 features written at half that rate";

/// `features.jsonl`.
#[derive(Debug, Clone, PartialEq)]
pub struct FeaturesBenchmark;

impl Benchmark for FeaturesBenchmark {
    const NAME: &'static str = "features";
    const TITLE: &'static str = "Feature vectors and their ingestion";
    const PLOTTED: bool = true;
}

/// Measured rounds of a case, with percentiles of each.
struct Measured {
    result: CaseResult,
    /// Milliseconds: medians over the rounds.
    p50: f64,
    p99: f64,
}

/// Runs the benchmark and prints its table.
///
/// # Errors
/// A server could not be started, failed, or gave a wrong answer; results that cannot be written.
pub fn run(arguments: &FeaturesArguments, say: Say<'_>) -> Result<()> {
    arguments.check()?;
    let placement = arguments.run.placement()?;
    warn_of_debug_build();
    let head = RunHead::begin(FeaturesBenchmark::NAME, CASE_SCHEMA_VERSION);
    let run: CaseRecord<FeaturesBenchmark> = placement.generate(|| {
        let rows = arguments.rows;
        let cluster =
            BenchCluster::start(&arguments.run, &placement, DATA_NODES, REPLICAS, rows * WIDE_ROWS)?;
        let store = cluster.runtime.block_on(FeatureStore::open(cluster.client.clone()))?;
        let mut measured = native(arguments, &cluster, &store)?;
        measured.extend(over_http(arguments, &placement, &cluster, &store)?);
        let description = format!("of 11, 101 and {WIDEST} whole numbers with an event time");
        let parameters = parameters(&arguments.run, &placement, (DATA_NODES, REPLICAS), rows, description);
        let figures = measured.iter().flat_map(figures).collect();
        let cases = measured.into_iter().map(|measured| measured.result).collect();
        Ok(CaseRecord { head, parameters, cases, figures, benchmark: PhantomData })
    })?;
    publish(&run, &arguments.run.record, say)
}

/// Rounds of one case: `once` gets the seconds and a seed.
fn rounds(
    arguments: &FeaturesArguments,
    cluster: &BenchCluster,
    (name, unit): (&str, &str),
    mut once: impl FnMut(f64, u64) -> Result<(u64, Histogram<u64>)>,
) -> Result<Measured> {
    let (mut rounds, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=arguments.run.rounds {
        let bar = progress_bar(&format!("{name} {round}/{}", arguments.run.rounds), 1);
        let seed = mix64(arguments.run.seed ^ mix64(u64::from(round)));
        once(arguments.warm_up, seed).with_context(|| name.to_owned())?;
        let mut times = None;
        let measured = cluster.measure(|_| {
            let (units, of_round) = once(arguments.seconds, !seed)?;
            times = Some(of_round);
            Ok(units)
        });
        bar.finish_and_clear();
        rounds.push(measured.with_context(|| format!("{name}, round {round}"))?);
        for (quantile, all) in [(0.5, &mut p50), (0.99, &mut p99)] {
            all.extend(times.as_ref().map(|times| times.value_at_quantile(quantile) as f64 / 1_000.0));
        }
    }
    let result = CaseResult::new(name, unit, rounds);
    Ok(Measured { result, p50: median(p50.into_iter()), p99: median(p99.into_iter()) })
}

/// What the library does in this process.
fn native(
    arguments: &FeaturesArguments,
    cluster: &BenchCluster,
    store: &FeatureStore,
) -> Result<Vec<Measured>> {
    let (runtime, rows) = (&cluster.runtime, arguments.rows);
    let (narrow, wide, view) = runtime.block_on(async {
        let (narrow, wide) =
            (Numbers::create(store, "narrow", 11).await?, Numbers::create(store, "wide", 101).await?);
        narrow.fill(rows).await?;
        wide.fill(rows).await?;
        let view: PreparedView = store.prepare(&Versioned::new(STORE, "narrow", 1)).await?;
        anyhow::Ok((Arc::new(narrow), Arc::new(wide), view))
    })?;
    let mut measured = Vec::new();
    for (name, callers) in [(BATCHES, (BATCH_CALLERS, BATCH)), (SINGLES, (SINGLE_CALLERS, 1))] {
        measured.push(rounds(arguments, cluster, (name, "vectors"), |seconds, seed| {
            runtime.block_on(native::read(&view, rows, callers, seconds, seed))
        })?);
    }
    let mut event = 0;
    for (name, group) in [(NARROW, &narrow), (WIDE, &wide)] {
        measured.push(rounds(arguments, cluster, (name, "rows"), |seconds, _| {
            runtime.block_on(native::write(group, rows, &mut event, seconds, None))
        })?);
    }
    let fastest = measured.iter().find(|measured| measured.result.name == NARROW);
    let half = fastest.map(|measured| measured.result.median.per_second() / 2.0);
    measured.push(rounds(arguments, cluster, (HALF, "rows"), |seconds, _| {
        runtime.block_on(native::write(&narrow, rows, &mut event, seconds, half))
    })?);
    Ok(measured)
}

/// The line that the feature server prints when it listens.
#[derive(Deserialize)]
struct Ready {
    listen: SocketAddr,
}

/// The grid, asked of a feature server in a process of its own.
fn over_http(
    arguments: &FeaturesArguments,
    placement: &Placement,
    cluster: &BenchCluster,
    store: &FeatureStore,
) -> Result<Vec<Measured>> {
    cluster.runtime.block_on(async {
        let grid = Numbers::create(store, GRID, WIDEST as usize + 2).await?;
        grid.fill(arguments.rows).await
    })?;
    let mut server: Vec<OsString> = vec![arguments.run.executable()?.into()];
    let addresses = cluster.addresses();
    let options =
        ["features", "--listen", "127.0.0.1:0", "--connect", &addresses, "--project", STORE, "--parent-pipe"];
    server.extend(options.map(OsString::from));
    let log = cluster.directory().join("features.log");
    let cpus = placement.servers.as_ref();
    let mut server = ManagedProcess::start("feature server", &server, ParentDeath::Pipe, cpus, &log)?;
    let line = server.ready_line(READY_WITHIN)?;
    let ready: Ready = serde_json::from_str(&line).context("the feature server's ready line")?;
    let mut measured = Vec::new();
    for cell in Cell::all(arguments) {
        let ask = |seconds, seed| {
            let target = (ready.listen, GRID, arguments.rows);
            grid::run(cell, target, arguments.connections, seconds, seed)
        };
        measured.push(rounds(arguments, cluster, (&cell.name(), "requests"), ask)?);
    }
    server.kill();
    Ok(measured)
}

/// What is asked of a case, and its percentiles.
fn figures(measured: &Measured) -> Vec<Figure> {
    let Measured { result: CaseResult { name, unit, median, .. }, p50, p99 } = measured;
    let (rate, slowest) = match name.as_str() {
        BATCHES => (Some(200_000.0), None),
        SINGLES => (Some(60_000.0), Some(1.0)),
        NARROW => (Some(150_000.0), None),
        WIDE => (Some(60_000.0), None),
        HALF => (None, Some(50.0)),
        "HTTP, 100 entities × 250 features, 100 requests/s" => (None, Some(10.0)),
        "HTTP, 1 entities × 50 features, 1000 requests/s" => (None, Some(2.0)),
        _ => (None, None),
    };
    let mut figures = Vec::new();
    let (http, _) = name.split_once(',').unwrap_or_default();
    if http != "HTTP" {
        figures.push(Figure::new(
            format!("{name}: {unit}"),
            median.per_second(),
            "per second",
            rate.map(Asked::AtLeast),
        ));
    }
    figures.push(Figure::new(format!("{name}: p50"), *p50, "ms", None));
    figures.push(Figure::new(format!("{name}: p99"), *p99, "ms", slowest.map(Asked::AtMost)));
    figures
}
