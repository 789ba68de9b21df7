//! The table of a run, on the terminal and as `memory.md`.

use super::record::{ConfigurationResult, MemoryRecord};
use crate::report::{figure_lines, grouped};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use std::fmt::Write;

const HEADINGS: [&str; 11] = [
    "pages",
    "fragments",
    "bytes/row",
    "index bytes/row",
    "growing insert p50 ns",
    "growing p99.9 ns",
    "growing max ns",
    "quiet insert p50 ns",
    "quiet p99.9 ns",
    "lookup in stages ns",
    "lookup by itself ns",
];

fn cells(result: &ConfigurationResult) -> [String; HEADINGS.len()] {
    let whole = |nanoseconds: u64| grouped(nanoseconds as f64);
    [
        format!(
            "{}{}",
            if result.huge_pages { "huge" } else { "small" },
            if result.ordered { ", ordered" } else { "" }
        ),
        result.fragments.to_string(),
        format!("{:.1}", result.bytes_per_row),
        format!("{:.1}", result.index_bytes_per_row),
        whole(result.growth_insert_ns.p50),
        whole(result.growth_insert_ns.p999),
        whole(result.growth_insert_ns.max),
        whole(result.quiet_insert_ns.p50),
        whole(result.quiet_insert_ns.p999),
        format!("{:.1}", result.staged_lookup_ns),
        format!("{:.1}", result.single_lookup_ns),
    ]
}

/// What was asked, in one line.
fn summary(run: &MemoryRecord) -> String {
    let parameters = &run.parameters;
    format!(
        "{} rows of {} + {} bytes, one thread, {} lookups in {} at a time, median of {} rounds",
        grouped(parameters.rows as f64),
        parameters.key_bytes,
        parameters.value_bytes,
        grouped(parameters.lookups as f64),
        parameters.batch,
        parameters.rounds,
    )
}

/// The table of a run for the terminal.
pub(super) fn render_terminal(run: &MemoryRecord) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(HEADINGS);
    for result in &run.configurations {
        table.add_row(cells(result));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{}\n{table}\n{}", summary(run), figure_lines(&run.figures, ""))
}

/// `memory.md`: all runs, newest first.
pub(super) fn render_markdown(runs: &[MemoryRecord]) -> String {
    let mut text = String::from(
        "# Arenas and hash indexes\n\nRendered from `memory.jsonl` by `duet bench`; do not edit. Newest run first. One thread, \
         no sockets: configurations take turns, figures are medians over the rounds.\n",
    );
    for run in runs.iter().rev() {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n## {}\n\n{}. {}.\n\n", run.head.time, summary(run), run.head.summary());
        let _ = writeln!(text, "| {} |\n|---|{}", HEADINGS.join(" | "), "---:|".repeat(HEADINGS.len() - 1));
        for result in &run.configurations {
            let _ = writeln!(text, "| {} |", cells(result).join(" | "));
        }
        let _ = write!(text, "\n{}", figure_lines(&run.figures, "- "));
    }
    text
}
