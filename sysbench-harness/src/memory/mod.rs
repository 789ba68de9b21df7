//! `duet bench memory`: arenas and hash indexes by themselves, without threads and sockets. Bytes per row, inserts while
//! the index grows and while it does not, lookups in stages and one by one; with and without huge pages, with the
//! same rows spread over several fragments, and with an ordered index.

mod arguments;
mod figures;
mod record;
mod subject;
mod table;

pub use arguments::MemoryArguments;
pub use record::{ConfigurationResult, MEMORY_SCHEMA_VERSION, MemoryParameters, MemoryRecord, MemoryRound};
pub use subject::Configuration;

use crate::driver::latency_histogram;
use crate::keys::progress_bar;
use crate::options::{Say, warn_of_debug_build};
use crate::report::{LatencySummary, Results, RunHead, median};
use crate::workload::mix64;
use anyhow::{Context, Result};
use std::hint::black_box;
use std::time::Instant;
use subject::{Subject, VALUE_BYTES};

/// Runs the benchmark and prints its table.
///
/// # Errors
/// Memory is short, a row is not found, or results cannot be written.
pub fn run(arguments: &MemoryArguments, say: Say<'_>) -> Result<()> {
    arguments.check()?;
    warn_of_debug_build();
    let head = RunHead::begin("memory", MEMORY_SCHEMA_VERSION);
    let configurations = measure(arguments)?;
    let figures = figures::figures(arguments.rows, &configurations);
    let run = MemoryRecord { head, parameters: arguments.parameters(), configurations, figures };
    say(format_args!("{}", table::render_terminal(&run)))?;
    if let Some(directory) = arguments.record.directory() {
        let results = Results::new(directory);
        results.add(&run)?;
        say(format_args!("added to {}", results.lines::<MemoryRecord>().display()))?;
    }
    Ok(())
}

/// Fills every configuration, the second half in measured slices in turn; then looks rows up in turn.
fn measure(arguments: &MemoryArguments) -> Result<Vec<ConfigurationResult>> {
    let configurations = arguments.configurations();
    let mut subjects = Vec::new();
    for configuration in &configurations {
        subjects.push(Subject::new(*configuration, arguments.rows)?);
    }
    let bar = progress_bar("rows", arguments.rows);
    let half = arguments.rows / 2;
    for subject in &mut subjects {
        (0..half).try_for_each(|key| subject.insert(key))?;
    }
    let rounds = u64::from(arguments.rounds);
    let slice_end = |slice: u64| half + (arguments.rows - half) * slice / rounds;
    let mut inserts: Vec<Vec<(LatencySummary, LatencySummary)>> = vec![Vec::new(); subjects.len()];
    for slice in 0..rounds {
        let (from, to) = (slice_end(slice), slice_end(slice + 1));
        bar.set_position(from);
        for (subject, inserts) in subjects.iter_mut().zip(&mut inserts) {
            let growing = time_inserts(subject, from..to)?;
            // As many rows from all over the table: afterwards it is as full as before, so that no bucket is split.
            let count = to - from;
            let again = (0..count).map(|number| number * (to / count));
            again.clone().try_for_each(|key| subject.remove(key))?;
            inserts.push((growing, time_inserts(subject, again)?));
        }
    }
    bar.finish_and_clear();
    let mut lookups: Vec<Vec<(f64, f64)>> = vec![Vec::new(); subjects.len()];
    let mut state = mix64(arguments.seed);
    for round in 1..=arguments.rounds {
        let bar = progress_bar(&format!("lookups round {round}/{}", arguments.rounds), 1);
        for (subject, lookups) in subjects.iter().zip(&mut lookups) {
            state = mix64(state);
            lookups.push(time_lookups(subject, arguments, state).context("a lookup")?);
        }
        bar.finish_and_clear();
    }
    let results = configurations.iter().zip(&subjects).zip(inserts.iter().zip(&lookups));
    Ok(results
        .map(|((configuration, subject), (inserts, lookups))| {
            result(*configuration, subject, inserts, lookups)
        })
        .collect())
}

/// Inserts keys that have no rows, one by one.
fn time_inserts(subject: &mut Subject, keys: impl Iterator<Item = u64>) -> Result<LatencySummary> {
    let mut latencies = latency_histogram();
    let mut before = Instant::now();
    for key in keys {
        subject.insert(key)?;
        let now = Instant::now();
        latencies.saturating_record((now - before).as_nanos() as u64);
        // Recording takes no part in the next one.
        before = Instant::now();
    }
    Ok(LatencySummary::of(&latencies))
}

/// Nanoseconds of a lookup in stages, and of one by itself, of keys all over the table.
fn time_lookups(subject: &Subject, arguments: &MemoryArguments, seed: u64) -> Result<(f64, f64)> {
    let mut reply = vec![0; arguments.batch * VALUE_BYTES];
    let mut probes = Vec::with_capacity(arguments.batch);
    let mut keys = vec![0; arguments.batch];
    let batches = 2 * arguments.lookups.div_ceil(arguments.batch as u64);
    let mut latencies = [latency_histogram(), latency_histogram()];
    for batch in 0..batches {
        let mut next = seed ^ mix64(batch);
        for key in &mut keys {
            next = mix64(next);
            *key = next % arguments.rows;
        }
        // Both ways take turns with keys of their own, so that neither finds what the other has loaded.
        let way = (batch % 2) as usize;
        let begin = Instant::now();
        match way {
            0 => subject.look_up_in_stages(&keys, &mut probes, &mut reply)?,
            _ => subject.look_up_one_by_one(&keys, &mut reply)?,
        }
        latencies[way].saturating_record(begin.elapsed().as_nanos() as u64);
        black_box(&mut reply);
    }
    // The median of the batches: a thread that loses its CPU for a while says nothing about a lookup.
    Ok(latencies.each_ref().map(|way| way.value_at_quantile(0.5) as f64 / arguments.batch as f64).into())
}

fn result(
    configuration: Configuration,
    subject: &Subject,
    inserts: &[(LatencySummary, LatencySummary)],
    lookups: &[(f64, f64)],
) -> ConfigurationResult {
    let rounds = inserts.iter().zip(lookups).map(|(inserts, lookups)| MemoryRound {
        growth_insert_ns: inserts.0,
        quiet_insert_ns: inserts.1,
        staged_lookup_ns: lookups.0,
        single_lookup_ns: lookups.1,
    });
    let rounds: Vec<MemoryRound> = rounds.collect();
    let summary = |of: &dyn Fn(&MemoryRound) -> LatencySummary| {
        LatencySummary::median_of(&rounds.iter().map(of).collect::<Vec<_>>())
    };
    ConfigurationResult {
        huge_pages: configuration.huge_pages,
        fragments: configuration.fragments,
        ordered: configuration.ordered,
        bytes_per_row: subject.bytes_per_row(),
        index_bytes_per_row: subject.index_bytes_per_row(),
        growth_insert_ns: summary(&|round| round.growth_insert_ns),
        quiet_insert_ns: summary(&|round| round.quiet_insert_ns),
        staged_lookup_ns: median(rounds.iter().map(|round| round.staged_lookup_ns)),
        single_lookup_ns: median(rounds.iter().map(|round| round.single_lookup_ns)),
        rounds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::RecordArguments;
    use crate::report::read_all;
    use std::cell::RefCell;

    #[test]
    fn a_small_run_is_printed_and_recorded() {
        let directory = tempfile::tempdir().unwrap();
        let arguments = MemoryArguments {
            rows: 5_000,
            fragments: vec![1, 3],
            batch: 16,
            lookups: 1_000,
            rounds: 2,
            seed: 1,
            record: RecordArguments { results: directory.path().to_owned(), no_record: false },
        };
        let said = RefCell::new(String::new());
        let say = |line: std::fmt::Arguments<'_>| {
            said.borrow_mut().push_str(&format!("{line}\n"));
            Ok(())
        };
        run(&arguments, &say).unwrap();
        let said = said.into_inner();
        for part in
            ["5 000 rows of 8 + 101 bytes", "insert p99.9 while growing / quiet: ", "3 fragments / 1: "]
        {
            assert!(said.contains(part), "{part} is not in\n{said}");
        }
        let runs: Vec<MemoryRecord> = read_all(&directory.path().join("memory.jsonl")).unwrap();
        assert_eq!(runs.len(), 1);
        let results = &runs[0].configurations;
        assert_eq!(results.len(), 4);
        assert!(results.iter().all(|result| result.rounds.len() == 2 && result.staged_lookup_ns > 0.0));
        let tables = std::fs::read_to_string(directory.path().join("memory.md")).unwrap();
        assert_eq!(tables.matches("\n| huge | ").count(), 2, "{tables}");
        assert_eq!(tables.matches("\n| huge, ordered | ").count(), 1, "{tables}");
    }
}
