//! What the benchmarks of scans, transactions and hot rows share: cases, each with its cost per unit of work, measured in
//! alternating rounds against one local cluster.

mod cluster;
mod record;
mod table;

pub(crate) use cluster::{BenchCluster, connect, key_partition, load_rows, measure, parameters};
pub use record::{Benchmark, CASE_SCHEMA_VERSION, CaseParameters, CaseRecord, CaseResult, CaseRound};

use crate::options::{RecordArguments, Say};
use crate::report::Results;
use anyhow::Result;

/// Prints the table of a run and records it, if that is wanted.
pub(crate) fn publish<B: Benchmark>(
    run: &CaseRecord<B>,
    record: &RecordArguments,
    say: Say<'_>,
) -> Result<()> {
    say(format_args!("{}", table::render_terminal(run)))?;
    if let Some(directory) = record.directory() {
        let results = Results::new(directory);
        results.add(run)?;
        say(format_args!("added to {}", results.lines::<CaseRecord<B>>().display()))?;
    }
    Ok(())
}

/// The case of this name.
pub(crate) fn case<'c>(cases: &'c [CaseResult], name: &str) -> Option<&'c CaseRound> {
    cases.iter().find(|case| case.name == name).map(|case| &case.median)
}
