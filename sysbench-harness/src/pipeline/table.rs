//! The table of a run, on the terminal and as `pipeline.md`.

use super::record::{PipelineRecord, PipelineResult, PipelineRound};
use crate::report::grouped;
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
    let microseconds = |nanoseconds: u64| format!("{:.1}", nanoseconds as f64 / 1e3);
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
    let verify = if parameters.verify { ", every value verified" } else { "" };
    format!(
        "{} rows of {} + {} × {} bytes, uniform keys, {}, one data node, one replica, closed loop of one thread, \
         median of {} rounds of {} s{verify}",
        grouped(parameters.rows as f64),
        parameters.key_bytes,
        parameters.columns,
        parameters.column_bytes,
        parameters.mix,
        parameters.rounds,
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
    format!("{}\n{table}\n", summary(run))
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
        let revision: String = run.revision.chars().take(12).collect();
        let dirty = if run.revision.ends_with("-dirty") { " with changes" } else { "" };
        let cpus = |cpus: &Option<String>| cpus.clone().unwrap_or_else(|| "any".to_owned());
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n## {}\n\n{}. Revision {revision}{dirty}, {} build; {} CPUs ({}), Linux {}; cluster on CPU {}, generator on \
             CPU {}.\n\n",
            run.time,
            summary(run),
            run.build,
            run.machine.cpus,
            run.machine.cpu_model,
            run.machine.kernel,
            cpus(&run.parameters.server_cpus),
            cpus(&run.parameters.client_cpus),
        );
        let rule: Vec<&str> =
            (0..HEADINGS.len()).map(|index| if WORDS.contains(&index) { "---" } else { "---:" }).collect();
        let _ = writeln!(text, "| {} |\n|{}|", HEADINGS.join(" | "), rule.join("|"));
        for result in &run.results {
            let _ = writeln!(text, "| {} |", cells(result).join(" | "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::round;
    use super::super::record::{PIPELINE_SCHEMA_VERSION, PipelineParameters};
    use super::*;
    use crate::report::MachineFacts;

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
            schema: PIPELINE_SCHEMA_VERSION,
            benchmark: "pipeline".to_owned(),
            time: "2026-01-31T12:00:00Z".to_owned(),
            revision: "0123456789abcdef-dirty".to_owned(),
            build: "release".to_owned(),
            machine: MachineFacts {
                cpus: 2,
                cpu_model: "a CPU".to_owned(),
                kernel: "6.1".to_owned(),
                memory_bytes: 1 << 34,
            },
            parameters: PipelineParameters {
                rows: 1_000_000,
                key_bytes: 8,
                columns: 5,
                column_bytes: 20,
                mix: "read=100".to_owned(),
                seconds: 2.0,
                warm_up_seconds: 0.5,
                rounds: 3,
                verify: false,
                seed: 1,
                server_cpus: Some("0".to_owned()),
                client_cpus: None,
                io: None,
            },
            results: vec![result("batch", 1, None), result("recv+tc=1,ldm=2", 3, Some(61.6))],
        }
    }

    #[test]
    fn the_terminal_shows_stages_hops_and_what_is_oversubscribed() {
        let text = render_terminal(&run());
        for part in ["1 000 000 rows", "recv 200 + ldm (2) 600", "+62", "oversubscribed"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("duet 0"), "{text}");
    }

    #[test]
    fn the_document_has_a_row_for_every_result() {
        let text = render_markdown(&[run(), PipelineRecord { time: "later".to_owned(), ..run() }]);
        assert!(text.find("## later") < text.find("## 2026-01-31"), "{text}");
        let row = "| 16 | batch | 1 | 1 000 | 2.0 | 6.0 | 800 | – | 400 | recv 200 + ldm (2) 600 |  |";
        assert_eq!(text.matches(row).count(), 2, "{text}");
        assert!(text.contains("Revision 0123456789ab with changes"), "{text}");
    }
}
