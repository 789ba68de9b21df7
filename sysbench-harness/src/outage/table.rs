//! Tables and histograms of outages.

use super::record::{FaultResult, OutageRecord, percentile};
use crate::report::{figure_lines, grouped};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use std::fmt::Write;

const HEADINGS: [&str; 13] = [
    "fault",
    "runs",
    "p50",
    "p90",
    "p99",
    "max",
    "reads p99",
    "writes p99",
    "back p99",
    "rejoin p50",
    "removed",
    "probes",
    "errors",
];
/// Upper ends of the bars of a histogram, in milliseconds; the last bar has none.
const BOUNDS_MS: [f64; 14] =
    [5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 750.0, 1_000.0, 2_000.0];
const BAR_WIDTH: f64 = 50.0;

fn cells(fault: &FaultResult) -> [String; HEADINGS.len()] {
    let name = fault.fault.name().to_owned();
    let ms = |values: &[f64], percent| {
        let value = percentile(values, percent);
        if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
    };
    let errors: Vec<String> = fault.errors.iter().map(|(name, count)| format!("{count} {name}")).collect();
    [
        name,
        fault.outage_ms.len().to_string(),
        ms(&fault.outage_ms, 50.0),
        ms(&fault.outage_ms, 90.0),
        ms(&fault.outage_ms, 99.0),
        ms(&fault.outage_ms, 100.0),
        ms(&fault.reads_ms, 99.0),
        ms(&fault.writes_ms, 99.0),
        ms(&fault.back_ms, 99.0),
        ms(&fault.rejoin_ms, 50.0),
        fault.removed.to_string(),
        grouped(fault.answered as f64),
        if errors.is_empty() { "none".to_owned() } else { errors.join(", ") },
    ]
}

/// How many outages lie between the bounds, as bars of text.
fn histogram(fault: &FaultResult) -> String {
    let mut counts = [0_usize; BOUNDS_MS.len() + 1];
    for outage in &fault.outage_ms {
        let place = BOUNDS_MS.iter().position(|bound| outage <= bound).unwrap_or(BOUNDS_MS.len());
        counts[place] += 1;
    }
    let first = counts.iter().position(|count| *count > 0).unwrap_or(0);
    let last = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
    let most = counts.iter().max().copied().unwrap_or(0).max(1) as f64;
    let mut text = format!("{}: outages in ms\n", fault.fault.name());
    for (place, count) in counts.iter().enumerate().take(last + 1).skip(first) {
        let label = match BOUNDS_MS.get(place) {
            Some(bound) => format!("≤ {bound}"),
            None => format!("> {}", BOUNDS_MS[BOUNDS_MS.len() - 1]),
        };
        let bar = "#".repeat((*count as f64 / most * BAR_WIDTH).ceil() as usize);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", format!("{label:>7} {count:>5} {bar}").trim_end());
    }
    text
}

/// What was asked, in one line.
fn summary(run: &OutageRecord) -> String {
    let parameters = &run.parameters;
    let seconds: f64 = run.faults.iter().map(|fault| fault.seconds).sum();
    let loads: Vec<f64> =
        run.faults.iter().filter(|fault| fault.skipped.is_none()).map(|fault| fault.load).collect();
    format!(
        "2 data nodes, {} management nodes, {} keys of each data node, one reader and one writer of each key, a probe every {} ms; every \
         answer judged; {seconds:.0} s in all, load {:.1} to {:.1} at the ends of the faults",
        parameters.management_nodes,
        parameters.keys,
        parameters.interval_ms,
        percentile(&loads, 0.0),
        percentile(&loads, 100.0),
    )
}

fn struck(run: &OutageRecord) -> impl Iterator<Item = &FaultResult> {
    run.faults.iter().filter(|fault| fault.skipped.is_none())
}

fn skipped(run: &OutageRecord, bullet: &str) -> String {
    let faults = run.faults.iter();
    let sentence = |fault: &FaultResult| {
        fault.skipped.as_ref().map(|why| format!("{bullet}{} was skipped: {why}\n", fault.fault.name()))
    };
    faults.filter_map(sentence).collect()
}

/// The table of a run for the terminal.
pub(super) fn render_terminal(run: &OutageRecord) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(HEADINGS);
    for fault in struck(run) {
        table.add_row(cells(fault));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let histograms: Vec<String> = struck(run).map(histogram).collect();
    format!(
        "{}\nTimes are in ms.\n{table}\n\n{}\n{}{}",
        summary(run),
        histograms.join("\n"),
        skipped(run, ""),
        figure_lines(&run.figures, "")
    )
}

/// All runs, newest first.
pub(super) fn render_markdown(runs: &[OutageRecord]) -> String {
    let mut text = "# Outages of a client's keys\n\nRendered from `outage.jsonl` by `duet bench`; do not edit. Newest run first. Times are in \
                    ms: an outage is the longest gap between answers to the probes of any key, less the interval between probes.\n"
        .to_owned();
    for run in runs.iter().rev() {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n## {}\n\n{}. {}.\n\n", run.head.time, summary(run), run.head.summary());
        let _ = writeln!(text, "| {} |\n|---|{}", HEADINGS.join(" | "), "---:|".repeat(HEADINGS.len() - 1));
        for fault in struck(run) {
            let _ = writeln!(text, "| {} |", cells(fault).join(" | "));
        }
        let _ = write!(text, "\n{}{}", skipped(run, "- "), figure_lines(&run.figures, "- "));
        let histograms: Vec<String> = struck(run).map(histogram).collect();
        let _ = write!(text, "\n```text\n{}```\n", histograms.join("\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::fault::Fault;
    use super::super::record::{OUTAGE_SCHEMA_VERSION, OutageParameters};
    use super::*;
    use crate::report::{Line, record_tests};

    #[test]
    fn both_renderings_have_every_fault_and_its_histogram() {
        let mut kill = FaultResult::new(Fault::Kill);
        kill.outage_ms = vec![31.0, 32.0, 33.0, 90.0];
        kill.errors.insert("OutcomeUnknown".to_owned(), 2);
        let mut cut = FaultResult::new(Fault::Cut);
        cut.skipped = Some("there is no `ip`".to_owned());
        let figures = kill.figures();
        let run = OutageRecord {
            head: record_tests::head("outage", OUTAGE_SCHEMA_VERSION),
            parameters: OutageParameters {
                management_nodes: 3,
                keys: 2,
                interval_ms: 1.0,
                fault_seconds: 2.0,
                loss_percent: 10,
                delay_ms: 20,
                jitter_ms: 20,
                busy_seconds: 600.0,
            },
            faults: vec![kill, cut],
            figures,
        };
        let text = OutageRecord::render(std::slice::from_ref(&run));
        assert!(text.contains("| kill | 4 | 32.0 | 90.0 | 90.0 | 90.0 |"), "{text}");
        assert!(text.contains("2 OutcomeUnknown") && text.contains("cut was skipped: there is no `ip`"));
        for text in [text, render_terminal(&run)] {
            assert!(text.contains("   ≤ 40     3 ##") && text.contains("   ≤ 50     0\n"), "{text}");
            assert!(text.contains("kill: p99 of 4 outages: 90.00 ms (at most 100 is asked: met)"), "{text}");
        }
        let line = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<OutageRecord>(&line).unwrap(), run);
    }
}
