//! The table of a run, on the terminal and as `pipeline.md`.

use super::record::{PipelineRecord, PipelineResult, PipelineRound};
use crate::report::{figure_lines, grouped, microseconds};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use std::fmt::Write;

const HEADINGS: [&str; 11] = [
    "in flight",
    "plan",
    "threads",
    "operations/s",
    "p50 µs",
    "p99 µs",
    "node CPU ns/op",
    "hops ns/op",
    "client CPU ns/op",
    "CPU ns/op by stage",
    "",
];
/// Columns that are words, not figures.
const WORDS: [usize; 3] = [1, 9, 10];

fn cells(result: &PipelineResult) -> [String; HEADINGS.len()] {
    let median = &result.median;
    [
        result.batch.to_string(),
        result.plan.clone(),
        result.threads.to_string(),
        grouped(median.operations_per_second),
        microseconds(median.latency_ns.p50),
        microseconds(median.latency_ns.p99),
        format!("{:.0}", median.node_cpu_ns_per_operation),
        result.hops_cpu_ns_per_operation.map_or("–".to_owned(), |hops| format!("{hops:+.0}")),
        format!("{:.0}", median.client_cpu_ns_per_operation),
        stages(median),
        if result.oversubscribed { "oversubscribed" } else { "" }.to_owned(),
    ]
}

/// `recv 120 + ldm (2) 300`; threads that hardly run (signals, the parent's pipe) are left out.
fn stages(round: &PipelineRound) -> String {
    let running = round.stages.iter().filter(|stage| stage.cpu_ns_per_operation >= 0.5);
    let parts = running.map(|stage| match stage.threads {
        1 => format!("{} {:.0}", stage.name, stage.cpu_ns_per_operation),
        threads => format!("{} ({threads}) {:.0}", stage.name, stage.cpu_ns_per_operation),
    });
    parts.collect::<Vec<_>>().join(" + ")
}

/// What was asked, in one line.
fn summary(run: &PipelineRecord) -> String {
    let parameters = &run.parameters;
    let common = &parameters.common;
    let verify = common.verified();
    format!(
        "{}, uniform keys, {}, one data node, one replica, closed loop of one thread, median of {} rounds of {} s{verify}",
        common.table(),
        parameters.mix,
        common.rounds,
        parameters.seconds,
    )
}

/// The table of a run for the terminal.
pub(super) fn render_terminal(run: &PipelineRecord) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(HEADINGS);
    for result in &run.results {
        table.add_row(cells(result));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        if !WORDS.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{}\n{table}\n{}", summary(run), figure_lines(&run.figures, ""))
}

/// `pipeline.md`: all runs, newest first.
pub(super) fn render_markdown(runs: &[PipelineRecord]) -> String {
    let mut text = String::from(
        "# Thread pipeline\n\nRendered from `pipeline.jsonl` by `duet bench`; do not edit. Newest run first. Figures are \
         medians over alternating rounds. `hops` is the CPU time per operation beyond that of the batch plan, which has one \
         thread and no mailboxes. A plan is oversubscribed when the node has more threads than CPUs: its operations per \
         second and latencies then show threads that wait for each other.\n",
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
        let rule: Vec<&str> =
            (0..HEADINGS.len()).map(|index| if WORDS.contains(&index) { "---" } else { "---:" }).collect();
        let _ = writeln!(text, "| {} |\n|{}|", HEADINGS.join(" | "), rule.join("|"));
        for result in &run.results {
            let _ = writeln!(text, "| {} |", cells(result).join(" | "));
        }
        if !run.figures.is_empty() {
            let _ = write!(text, "\n{}", figure_lines(&run.figures, "- "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::round;
    use super::super::record::{PIPELINE_SCHEMA_VERSION, PipelineParameters};
    use super::*;
    use crate::report::{CommonParameters, Figure, record_tests};

    fn run() -> PipelineRecord {
        let result = |plan: &str, threads, hops| PipelineResult {
            plan: plan.to_owned(),
            batch: 16,
            threads,
            lanes: 1,
            usable_cpus: 1,
            oversubscribed: threads > 1,
            hops_cpu_ns_per_operation: hops,
            median: round(2),
            rounds: vec![round(2)],
        };
        PipelineRecord {
            head: record_tests::head("pipeline", PIPELINE_SCHEMA_VERSION),
            parameters: PipelineParameters {
                common: CommonParameters { rows: 1_000_000, ..record_tests::common() },
                mix: "read=100".to_owned(),
                seconds: 2.0,
            },
            results: vec![result("batch", 1, None), result("recv+tc=1,ldm=2", 3, Some(61.6))],
            figures: vec![Figure::new("a hop", 61.6, "ns", None)],
        }
    }

    #[test]
    fn the_terminal_shows_stages_hops_and_what_is_oversubscribed() {
        let text = render_terminal(&run());
        for part in ["1 000 000 rows", "recv 200 + ldm (2) 600", "+62", "oversubscribed", "a hop: 61.60 ns"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("duet 0"), "{text}");
    }

    #[test]
    fn the_document_has_a_row_for_every_result() {
        let mut later = run();
        "later".clone_into(&mut later.head.time);
        let text = render_markdown(&[run(), later]);
        assert!(text.find("## later") < text.find("## 2026-01-31"), "{text}");
        let row = "| 16 | batch | 1 | 1 000 | 2.0 | 6.0 | 800 | – | 400 | recv 200 + ldm (2) 600 |  |";
        assert_eq!(text.matches(row).count(), 2, "{text}");
        assert!(text.contains("Revision 0123456789ab with changes"), "{text}");
    }
}
