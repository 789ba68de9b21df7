//! The table of a run, on the terminal and as a file of tables.

use super::record::{Benchmark, CaseRecord, CaseResult};
use crate::report::{figure_lines, grouped};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use std::fmt::Write;

const HEADINGS: [&str; 7] = [
    "case",
    "done",
    "unit",
    "per second",
    "per data-node CPU second",
    "data-node CPU µs/unit",
    "client CPU µs/unit",
];

fn cells(case: &CaseResult) -> [String; HEADINGS.len()] {
    let median = &case.median;
    let per_cpu_second = if median.node_cpu_us > 0.0 { 1e6 / median.node_cpu_us } else { 0.0 };
    let microseconds = |time: f64| if time < 10.0 { format!("{time:.3}") } else { format!("{time:.1}") };
    [
        case.name.clone(),
        grouped(median.units as f64),
        case.unit.clone(),
        grouped(median.per_second()),
        grouped(per_cpu_second),
        microseconds(median.node_cpu_us),
        microseconds(median.client_cpu_us),
    ]
}

/// What was asked, in one line.
fn summary<B>(run: &CaseRecord<B>) -> String {
    let parameters = &run.parameters;
    format!(
        "{} rows: {}; {} data node(s), {} replica(s), median of {} round(s)",
        grouped(parameters.rows as f64),
        parameters.description,
        parameters.data_nodes,
        parameters.replicas,
        parameters.rounds,
    )
}

/// The table of a run for the terminal.
pub(super) fn render_terminal<B>(run: &CaseRecord<B>) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(HEADINGS);
    for case in &run.cases {
        table.add_row(cells(case));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{}\n{table}\n{}", summary(run), figure_lines(&run.figures, ""))
}

/// All runs, newest first.
pub(super) fn render_markdown<B: Benchmark>(runs: &[CaseRecord<B>]) -> String {
    let mut text = format!(
        "# {}\n\nRendered from `{}.jsonl` by `duet bench`; do not edit. Newest run first. Figures are medians over \
         alternating rounds.\n",
        B::TITLE,
        B::NAME,
    );
    for run in runs.iter().rev() {
        let cpus = |cpus: &Option<String>| cpus.clone().unwrap_or_else(|| "any".to_owned());
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n## {}\n\n{}. {}; servers on CPU {}, generator on CPU {}.\n\n",
            run.head.time,
            summary(run),
            run.head.summary(),
            cpus(&run.parameters.server_cpus),
            cpus(&run.parameters.client_cpus),
        );
        let _ = writeln!(text, "| {} |\n|---|{}", HEADINGS.join(" | "), "---:|".repeat(HEADINGS.len() - 1));
        for case in &run.cases {
            let _ = writeln!(text, "| {} |", cells(case).join(" | "));
        }
        let _ = write!(text, "\n{}", figure_lines(&run.figures, "- "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::record::{CASE_SCHEMA_VERSION, CaseParameters, CaseRound};
    use super::*;
    use crate::report::{Figure, Line, record_tests};
    use std::marker::PhantomData;

    #[derive(Debug, Clone, PartialEq)]
    struct Example;

    impl Benchmark for Example {
        const NAME: &'static str = "example";
        const TITLE: &'static str = "An example";
    }

    #[test]
    fn both_renderings_have_every_case_and_figure() {
        let round = |units| CaseRound { units, seconds: 0.5, node_cpu_us: 0.25, client_cpu_us: 12.34 };
        let run: CaseRecord<Example> = CaseRecord {
            head: record_tests::head("example", CASE_SCHEMA_VERSION),
            parameters: CaseParameters {
                rows: 5_000,
                description: "8 + 100 bytes".to_owned(),
                data_nodes: 1,
                replicas: 1,
                rounds: 3,
                seed: 1,
                server_cpus: Some("0".to_owned()),
                client_cpus: None,
                io: None,
            },
            cases: vec![CaseResult::new("count", "rows", vec![round(1), round(5_000), round(9_000)])],
            figures: vec![Figure::new("a figure", 1.5, "µs", None)],
            benchmark: PhantomData,
        };
        let row = "| count | 5 000 | rows | 10 000 | 4 000 000 | 0.250 | 12.3 |";
        let text = CaseRecord::render(std::slice::from_ref(&run));
        assert!(text.contains(row) && text.contains("- a figure: 1.50 µs"), "{text}");
        assert!(text.contains("# An example") && text.contains("example.jsonl"), "{text}");
        assert!(render_terminal(&run).contains("4 000 000"));
        let line = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<CaseRecord<Example>>(&line).unwrap(), run);
    }
}
