//! `keys.md`: all runs as tables, newest first.

use super::figure::figure_lines;
use super::record::RunRecord;
use super::table::{HEADINGS, cells, summary_line};
use std::fmt::Write;

/// Renders all runs.
pub(super) fn render(runs: &[RunRecord]) -> String {
    let mut text = String::from(
        "# Key operations\n\nRendered from `keys.jsonl` by `duet bench`; do not edit. Newest run first. Ratios are multiples \
         of the first target of a run. Figures are medians over alternating rounds.\n",
    );
    for run in runs.iter().rev() {
        append(&mut text, run);
    }
    text
}

fn append(text: &mut String, run: &RunRecord) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\n## {}\n\n{}. {}; {}.\n\n",
        run.head.time,
        summary_line(&run.parameters),
        run.head.summary(),
        run.parameters.common.placement(),
    );
    let _ = writeln!(text, "| {} |\n|---|{}", HEADINGS.join(" | "), "---:|".repeat(HEADINGS.len() - 1));
    for target in &run.targets {
        let _ = writeln!(text, "| {} |", cells(run, target).join(" | "));
    }
    if let Some(echo) = &run.echo {
        let _ = write!(
            text,
            "\nBare blocking 64-byte TCP round trip: p50 {:.1} µs, p99 {:.1} µs.\n",
            echo.p50_ns as f64 / 1e3,
            echo.p99_ns as f64 / 1e3
        );
    }
    if !run.figures.is_empty() {
        let _ = write!(text, "\n{}", figure_lines(&run.figures, "- "));
    }
}
