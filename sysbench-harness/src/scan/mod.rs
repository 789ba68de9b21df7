//! `duet bench scan`: aggregates of all rows of a table at the data node, in few and in many groups, and what a filter
//! leaves. One data node with one replica, so that all rows are those of the cores that own them; every answer is checked
//! against one computed here.

mod arguments;
mod ranges;
mod rows;

pub use arguments::ScanArguments;

use crate::cases::{
    BenchCluster, Benchmark, CASE_SCHEMA_VERSION, CaseRecord, CaseResult, CaseRound, case, parameters,
    publish,
};
use crate::keys::progress_bar;
use crate::options::{Say, warn_of_debug_build};
use crate::report::{Asked, Figure, RunHead};
use anyhow::{Context, Result, ensure};
use duet_client::{Table, col, count, sum};
use ranges::{CALLERS, Neighbours, RANGE_ROWS, Ranges};
use rows::{FEW_GROUPS, Rows, SELECTED_ONE_IN, Total, check};
use std::collections::HashMap;
use std::marker::PhantomData;

const DATA_NODES: u32 = 1;
const REPLICAS: u32 = 1;
/// Rows from which on figures are comparable with what is asked.
const ASKED_ROWS: u64 = 5_000_000;
const ASKED_ROWS_PER_SECOND: f64 = 10e6;
const ASKED_GROUPS: u64 = 150_000;
const ASKED_US_PER_ROW: f64 = 1.0;

const ALL: &str = "count";
const FEW: &str = "count and two sums in 10 groups";
const MANY: &str = "count and two sums in many groups";
const SELECTED: &str = "count and two sums of one row in a hundred";
const TRANSFER: &str = "all rows with all columns";

const OWNED: &str = "ranges of 100 rows in one partition";
const NEIGHBOURS: &str = "ranges of 100 rows in all partitions";
const ASKED_RANGE_US: f64 = 12.0;

/// `scan.jsonl`.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanBenchmark;

impl Benchmark for ScanBenchmark {
    const NAME: &'static str = "scan";
    const TITLE: &'static str = "Scans";
}

/// Runs the benchmark and prints its table.
///
/// # Errors
/// A server could not be started, failed, or gave a wrong answer; results that cannot be written.
pub fn run(arguments: &ScanArguments, say: Say<'_>) -> Result<()> {
    arguments.check()?;
    let placement = arguments.run.placement()?;
    warn_of_debug_build();
    let head = RunHead::begin(ScanBenchmark::NAME, CASE_SCHEMA_VERSION);
    let run: CaseRecord<ScanBenchmark> = placement.generate(|| {
        let rows = arguments.rows;
        let mut cluster = BenchCluster::start(&arguments.run, &placement, DATA_NODES, REPLICAS, rows)?;
        let rows = Rows { count: rows, groups: arguments.groups };
        let table = cluster.create_table(&Rows::definition()?)?;
        let bar = progress_bar("duet loads", rows.count);
        let mut show = |done| bar.set_position(done);
        cluster.load(&table, rows.count, |key| rows.row(key), &mut show)?;
        bar.finish_and_clear();
        let (seconds, seed) = (arguments.seconds, arguments.run.seed);
        let ranges = Ranges::new(&mut cluster, &table, rows.count, seconds, seed)?;
        let cases = measure(arguments, &cluster, &table, rows, &ranges)?;
        cluster.check()?;
        let description = format!(
            "8 + 100 bytes, {} fragments at a time, many groups are {}, {CALLERS} ranges in flight",
            arguments.fragments, arguments.groups
        );
        let parameters =
            parameters(&arguments.run, &placement, (DATA_NODES, REPLICAS), rows.count, description);
        let figures = figures(arguments, &cases);
        Ok(CaseRecord { head, parameters, cases, figures, benchmark: PhantomData })
    })?;
    publish(&run, &arguments.run.record, say)
}

/// One of the aggregating cases.
struct Case {
    name: &'static str,
    group: Option<&'static str>,
    selected: bool,
    totals: HashMap<u64, Total>,
    rounds: Vec<CaseRound>,
}

fn measure(
    arguments: &ScanArguments,
    cluster: &BenchCluster,
    table: &Table,
    rows: Rows,
    ranges: &Ranges,
) -> Result<Vec<CaseResult>> {
    let case = |name, group, selected, totals| Case { name, group, selected, totals, rounds: Vec::new() };
    let of_selected = |key| (rows.percent(key) == 0).then_some(0);
    let mut cases = [
        case(ALL, None, false, HashMap::new()),
        case(FEW, Some("few"), false, rows.totals(|key| Some(rows.few(key)))),
        case(MANY, Some("many"), false, rows.totals(|key| Some(rows.many(key)))),
        case(SELECTED, None, true, rows.totals(of_selected)),
    ];
    let mut transfers = Vec::new();
    let mut range_cases = [(OWNED, Neighbours::OfOwner), (NEIGHBOURS, Neighbours::InAllPartitions)]
        .map(|(name, neighbours)| (name, neighbours, Vec::new()));
    for round in 1..=arguments.run.rounds {
        for case in &mut cases {
            let place = || format!("{}, round {round}", case.name);
            let bar = progress_bar(case.name, 1);
            let measured = cluster.measure(|cluster| aggregate(arguments, cluster, table, rows, case));
            bar.finish_and_clear();
            let measured = measured.with_context(place)?;
            case.rounds.push(measured);
        }
        let bar = progress_bar(TRANSFER, 1);
        let transfer = cluster.measure(|cluster| read_all(arguments, cluster, table, rows));
        bar.finish_and_clear();
        transfers.push(transfer.with_context(|| format!("{TRANSFER}, round {round}"))?);
        for (name, neighbours, rounds) in &mut range_cases {
            let bar = progress_bar(name, 1);
            let measured = cluster.measure(|cluster| ranges.read(cluster, round, *neighbours));
            bar.finish_and_clear();
            rounds.push(measured.with_context(|| format!("{name}, round {round}"))?);
        }
    }
    let results = cases.into_iter().map(|case| CaseResult::new(case.name, "rows", case.rounds));
    let results = results.chain([CaseResult::new(TRANSFER, "rows", transfers)]);
    let ranges = range_cases.into_iter().map(|(name, _, rounds)| CaseResult::new(name, "ranges", rounds));
    Ok(results.chain(ranges).collect())
}

/// Aggregates all rows once, and checks the answer.
fn aggregate(
    arguments: &ScanArguments,
    cluster: &BenchCluster,
    table: &Table,
    rows: Rows,
    case: &Case,
) -> Result<u64> {
    let scan = cluster.client.scan(table).fragments(arguments.fragments);
    if case.totals.is_empty() && !case.selected {
        let counted = cluster.runtime.block_on(scan.aggregate([count()]).rows())?;
        let found = counted.first().map(|row| row.get::<u64>("count(*)")).transpose()?;
        ensure!(found == Some(rows.count), "{found:?} rows were counted, {} are there", rows.count);
        return Ok(rows.count);
    }
    let scan = if case.selected { scan.filter(col("percent").eq(0)) } else { scan };
    let mut scan = scan.aggregate([count(), sum("amount"), sum("price")]);
    if let Some(column) = case.group {
        scan = scan.group_by([column]);
    }
    let answer = cluster.runtime.block_on(scan.rows())?;
    if case.selected && case.totals.is_empty() {
        // So few rows that none passes: one row of the result, with NULL sums.
        return Ok(rows.count);
    }
    check(&answer, case.group, &case.totals)?;
    Ok(rows.count)
}

/// Reads all rows once, and checks how many there are, and the sum of their keys.
fn read_all(arguments: &ScanArguments, cluster: &BenchCluster, table: &Table, rows: Rows) -> Result<u64> {
    let mut scan = cluster.client.scan(table).fragments(arguments.fragments).page_rows(4_096);
    let (mut found, mut keys, mut bad) = (0_u64, 0_u128, 0_u64);
    cluster.runtime.block_on(async {
        while scan
            .next_page(|_, row| {
                found += 1;
                match row.column(0) {
                    Ok(duet_client::ValueRef::UInt(key)) => keys += u128::from(key),
                    Ok(_) | Err(_) => bad += 1,
                }
            })
            .await?
        {}
        anyhow::Ok(())
    })?;
    let right = u128::from(rows.count) * u128::from(rows.count.saturating_sub(1)) / 2;
    ensure!(found == rows.count && keys == right && bad == 0, "{found} rows came, {bad} of them wrong");
    Ok(found)
}

fn figures(arguments: &ScanArguments, cases: &[CaseResult]) -> Vec<Figure> {
    let comparable = arguments.rows >= ASKED_ROWS;
    let rate = |name| case(cases, name).map_or(0.0, |round| 1.0 / round.node_cpu_us.max(f64::MIN_POSITIVE));
    let asked = comparable.then_some(Asked::AtLeast(ASKED_ROWS_PER_SECOND / 1e6));
    let unit = "million rows/s";
    let mut figures = vec![
        Figure::new(format!("per data-node core, {ALL}"), rate(ALL), unit, asked),
        Figure::new(format!("per data-node core, {FEW}"), rate(FEW), unit, asked),
        Figure::new(format!("per data-node core, {SELECTED}"), rate(SELECTED), unit, None),
        Figure::new(format!("per data-node core, {TRANSFER}"), rate(TRANSFER), unit, None),
    ];
    if let Some(many) = case(cases, MANY) {
        let asked =
            (comparable && arguments.groups >= ASKED_GROUPS).then_some(Asked::AtMost(ASKED_US_PER_ROW));
        let name = format!("time per row, {} groups", arguments.groups);
        figures.push(Figure::new(name, many.seconds * 1e6 / many.units.max(1) as f64, "µs", asked));
        let name = format!("data-node CPU per row, {} groups", arguments.groups);
        figures.push(Figure::new(name, many.node_cpu_us, "µs", asked));
    }
    let asked = comparable.then_some(Asked::AtMost(ASKED_RANGE_US));
    // One scan of 100 rows; and, for comparison, as many scans of a few rows as there are partitions.
    for (name, asked) in [(OWNED, asked), (NEIGHBOURS, None)] {
        if let Some(range) = case(cases, name) {
            figures.push(Figure::new(format!("data-node CPU, {name}"), range.node_cpu_us, "µs", asked));
        }
    }
    debug_assert_eq!(RANGE_ROWS, 100);
    debug_assert_eq!(FEW_GROUPS, 10);
    debug_assert_eq!(SELECTED_ONE_IN, 100);
    figures
}
