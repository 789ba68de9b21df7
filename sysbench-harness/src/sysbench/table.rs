//! The table of a run, on the terminal and as `sysbench.md`.

use super::record::{SysbenchCase, SysbenchRecord};
use super::workload::SqlTarget;
use crate::report::{figure_lines, grouped};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use std::fmt::Write;

const HEADINGS: [&str; 9] = [
    "workload",
    "threads",
    "target",
    "statements/s",
    "transactions/s",
    "p95 ms",
    "errors",
    "server CPU µs/statement",
    "of which",
];

fn cells(case: &SysbenchCase) -> [String; HEADINGS.len()] {
    let median = &case.median;
    let parts: Vec<String> =
        median.cpu_us_per_query.iter().map(|(role, cpu)| format!("{role} {cpu:.1}")).collect();
    [
        case.workload.name().to_owned(),
        case.threads.to_string(),
        case.target.name().to_owned(),
        grouped(median.queries_per_second),
        grouped(median.transactions_per_second),
        format!("{:.2}", median.p95_ms),
        (median.ignored_errors + median.reconnects).to_string(),
        format!("{:.1}", median.server_cpu_us()),
        if parts.len() > 1 { parts.join(", ") } else { String::new() },
    ]
}

/// What was asked, in one line.
fn summary(run: &SysbenchRecord) -> String {
    let parameters = &run.parameters;
    let mariadb = parameters.mariadb.as_ref().map(|version| format!(", MariaDB {version}"));
    format!(
        "{}{}; {} table(s) of {} rows, cases of {} s in turn, median of {} round(s); Duet: {} data nodes, {} replicas, 1 gateway; \
         everything on all processors",
        parameters.sysbench,
        mariadb.unwrap_or_default(),
        parameters.tables,
        grouped(parameters.table_size as f64),
        parameters.seconds,
        parameters.rounds,
        parameters.data_nodes,
        parameters.replicas,
    )
}

/// The settings of the peers, and the long case.
fn notes(run: &SysbenchRecord) -> Vec<String> {
    let mut notes = Vec::new();
    let parameters = &run.parameters;
    for (target, settings) in [
        (SqlTarget::Mariadb, &parameters.mariadb_settings),
        (SqlTarget::SemiSync, &parameters.semi_sync_settings),
    ] {
        notes.extend(settings.as_ref().map(|settings| format!("{}: `{settings}`", target.name())));
    }
    if let Some(long) = &run.long {
        notes.push(format!(
            "{} for {} s with {} threads against Duet: {} statements/s, p95 {:.2} ms, {} errors, {} reconnects",
            long.workload.name(),
            long.seconds,
            long.threads,
            grouped(long.result.queries_per_second),
            long.result.p95_ms,
            long.result.ignored_errors,
            long.result.reconnects,
        ));
    }
    notes
}

/// The table of a run for the terminal.
pub(super) fn render_terminal(run: &SysbenchRecord) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(HEADINGS);
    for case in &run.cases {
        table.add_row(cells(case));
    }
    for column in table.column_iter_mut().skip(3).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let figures = figure_lines(&run.figures, "");
    format!("{}\n{table}\n{}\n{figures}", summary(run), notes(run).join("\n"))
}

/// `sysbench.md`: all runs, newest first.
pub(super) fn render_markdown(runs: &[SysbenchRecord]) -> String {
    let mut text = String::from(
        "# SQL: sysbench beside MariaDB\n\nRendered from `sysbench.jsonl` by `duet bench`; do not edit. Newest run first. \
         Figures are medians over rounds in which everybody is asked in turn.\n",
    );
    for run in runs.iter().rev() {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n## {}\n\n{}. {}.\n\n", run.head.time, summary(run), run.head.summary());
        let _ = writeln!(text, "| {} |\n|---|---:|---|{}---|", HEADINGS.join(" | "), "---:|".repeat(5));
        for case in &run.cases {
            let _ = writeln!(text, "| {} |", cells(case).join(" | "));
        }
        text.push('\n');
        for note in notes(run) {
            let _ = writeln!(text, "- {note}");
        }
        let _ = write!(text, "\n{}", figure_lines(&run.figures, "- "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::record::{LongCase, SYSBENCH_SCHEMA_VERSION, SysbenchParameters, SysbenchRound};
    use super::super::workload::SysbenchWorkload;
    use super::*;
    use crate::report::{Figure, record_tests};

    #[test]
    fn both_renderings_have_every_case_note_and_figure() {
        let median = SysbenchRound {
            queries_per_second: 12_345.6,
            transactions_per_second: 617.0,
            p95_ms: 1.5,
            ignored_errors: 1,
            reconnects: 2,
            cpu_us_per_query: [("data node 1".to_owned(), 1.25), ("gateway".to_owned(), 4.0)].into(),
        };
        let run = SysbenchRecord {
            head: record_tests::head("sysbench", SYSBENCH_SCHEMA_VERSION),
            parameters: SysbenchParameters {
                table_size: 10_000,
                tables: 1,
                seconds: 3,
                rounds: 1,
                sysbench: "sysbench 1.0.20".to_owned(),
                mariadb: Some("10.11".to_owned()),
                mariadb_settings: Some("--an-option".to_owned()),
                semi_sync_settings: None,
                data_nodes: 2,
                replicas: 2,
                gateway_threads: None,
            },
            cases: vec![SysbenchCase {
                workload: SysbenchWorkload::OltpReadWrite,
                threads: 16,
                target: SqlTarget::Duet,
                rounds: vec![median.clone()],
                median: median.clone(),
            }],
            long: Some(LongCase {
                workload: SysbenchWorkload::OltpReadWrite,
                threads: 64,
                seconds: 60,
                result: median,
            }),
            figures: vec![Figure::new("a figure", 1.5, "×", None)],
        };
        let row =
            "| oltp_read_write | 16 | duet | 12 346 | 617 | 1.50 | 3 | 5.2 | data node 1 1.2, gateway 4.0 |";
        let text = render_markdown(std::slice::from_ref(&run));
        for part in [row, "- mariadb: `--an-option`", "for 60 s with 64 threads", "- a figure: 1.50 ×"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(render_terminal(&run).contains("oltp_read_write"));
        let line = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<SysbenchRecord>(&line).unwrap(), run);
    }
}
