//! The table of a run, on the terminal and as `latency.md`.

use super::record::{CaseResult, LatencyRecord};
use crate::report::{figure_lines, grouped, microseconds};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use std::fmt::Write;

const HEADINGS: [&str; 7] = ["case", "operations", "p50 µs", "p90 µs", "p99 µs", "p99.9 µs", "p99/p50"];

fn cells(case: &CaseResult, idle_ms: u64) -> [String; HEADINGS.len()] {
    let latency = &case.median.latency_ns;
    let idling = if case.after_idling { format!(" after {idle_ms} ms of idling") } else { String::new() };
    [
        format!("{}{idling}", case.action.name()),
        grouped(case.median.operations as f64),
        microseconds(latency.p50),
        microseconds(latency.p90),
        microseconds(latency.p99),
        microseconds(latency.p999),
        format!("{:.2}", latency.p99 as f64 / latency.p50.max(1) as f64),
    ]
}

/// What was asked, in one line.
fn summary(run: &LatencyRecord) -> String {
    let parameters = &run.parameters;
    let common = &parameters.common;
    let verify = common.verified();
    format!(
        "{}, uniform keys, two data nodes, two replicas, one synchronous caller, median of {} rounds of {} s{verify}",
        common.table(),
        common.rounds,
        parameters.seconds,
    )
}

/// The table of a run for the terminal.
pub(super) fn render_terminal(run: &LatencyRecord) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(HEADINGS);
    for case in &run.cases {
        table.add_row(cells(case, run.parameters.idle_ms));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{}\n{table}\n{}", summary(run), figure_lines(&run.figures, ""))
}

/// `latency.md`: all runs, newest first.
pub(super) fn render_markdown(runs: &[LatencyRecord]) -> String {
    let mut text = String::from(
        "# Latency of one synchronous caller\n\nRendered from `latency.jsonl` by `duet bench`; do not edit. Newest run first. \
         Figures are medians over alternating rounds.\n",
    );
    for run in runs.iter().rev() {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n## {}\n\n{}. {}; {}.\n\n",
            run.head.time,
            summary(run),
            run.head.summary(),
            run.parameters.common.placement(),
        );
        let _ = writeln!(text, "| {} |\n|---|{}", HEADINGS.join(" | "), "---:|".repeat(HEADINGS.len() - 1));
        for case in &run.cases {
            let _ = writeln!(text, "| {} |", cells(case, run.parameters.idle_ms).join(" | "));
        }
        let _ = write!(text, "\n{}", figure_lines(&run.figures, "- "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::record::{Action, CaseRound, LATENCY_SCHEMA_VERSION, LatencyParameters};
    use super::*;
    use crate::report::{Figure, LatencySummary, record_tests};

    #[test]
    fn both_renderings_have_every_case_and_figure() {
        let latency_ns = LatencySummary { p50: 20_000, p90: 30_000, p99: 50_000, p999: 60_000, max: 70_000 };
        let median = CaseRound { operations: 1_234, latency_ns };
        let run = LatencyRecord {
            head: record_tests::head("latency", LATENCY_SCHEMA_VERSION),
            parameters: LatencyParameters { common: record_tests::common(), seconds: 3.0, idle_ms: 10 },
            cases: vec![CaseResult {
                action: Action::Read,
                after_idling: true,
                median,
                rounds: vec![median],
            }],
            figures: vec![Figure::new("a figure", 1.5, "µs", None)],
        };
        let row = "| read after 10 ms of idling | 1 234 | 20.0 | 30.0 | 50.0 | 60.0 | 2.50 |";
        let text = render_markdown(std::slice::from_ref(&run));
        assert!(text.contains(row) && text.contains("- a figure: 1.50 µs"), "{text}");
        assert!(render_terminal(&run).contains("read after 10 ms of idling"));
        let line = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<LatencyRecord>(&line).unwrap(), run);
    }
}
