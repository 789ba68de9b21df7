//! `report.html`: every run with its plots, newest first, in one file without scripts or outside resources.

use super::plot::{Bar, Group, Scale, bars, escape};
use super::record::RunRecord;
use super::table::{HEADINGS, cells, summary_line};
use std::fmt::Write;

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2430; background: #fff; }
h2 { margin-top: 3rem; border-top: 1px solid #d5dbe3; padding-top: 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #e4e8ee; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; max-width: 760px; } figcaption { font-weight: 600; }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: #1c2430; }
svg .group { font-weight: 600; } svg .name { text-anchor: end; fill: #5a6675; }
.server { fill: #2f6db5; } .client { fill: #e0953b; } .latency { fill: #4b9b7d; } .rate { fill: #7a6bb0; }
.key { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; }
@media (prefers-color-scheme: dark) { body { background: #14181e; color: #dfe5ec; } svg text { fill: #dfe5ec; }
svg .name { fill: #97a3b2; } th, td, h2 { border-color: #333c47; } }
";

/// The beginning of a page, with its heading.
pub(super) fn head(title: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    )
}

/// Renders all runs.
pub(super) fn render(runs: &[RunRecord]) -> String {
    let mut page = head("Duet benchmarks");
    page.push_str(
        "<p>Medians over alternating rounds, newest run first; ratios are multiples of the first target of a run.</p>\n",
    );
    for run in runs.iter().rev() {
        append_run(&mut page, run);
    }
    page.push_str("</body></html>\n");
    page
}

fn append_run(page: &mut String, run: &RunRecord) {
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "<h2>{} · {}</h2>\n<p>{}. {}.</p>\n<table><tr>",
        escape(&run.head.time),
        escape(&run.parameters.mix),
        escape(&summary_line(&run.parameters)),
        escape(&run.head.summary()),
    );
    for heading in HEADINGS {
        let _ = write!(page, "<th>{}</th>", escape(heading));
    }
    page.push_str("</tr>\n");
    for target in &run.targets {
        page.push_str("<tr>");
        for cell in cells(run, target) {
            let _ = write!(page, "<td>{}</td>", escape(&cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
    if let Some(echo) = &run.echo {
        let (p50, p99) = (echo.p50_ns as f64 / 1e3, echo.p99_ns as f64 / 1e3);
        let _ =
            writeln!(page, "<p>Bare blocking 64-byte TCP round trip: p50 {p50:.1} µs, p99 {p99:.1} µs.</p>");
    }
    for figure in &run.figures {
        let _ = writeln!(page, "<p>{}</p>", escape(&figure.to_string()));
    }
    page.push_str(&cpu_plot(run));
    page.push_str(
        "<p><span class=\"key\" style=\"background:#2f6db5\"></span>server\
         <span class=\"key\" style=\"background:#e0953b\"></span>client</p>\n",
    );
    page.push_str(&latency_plot(run));
    page.push_str(&rate_plot(run));
}

fn cpu_plot(run: &RunRecord) -> String {
    let group = |target: &super::TargetResult| {
        let median = &target.median;
        let parts = vec![
            (median.server_cpu_us_per_operation, "server"),
            (median.client_cpu_us_per_operation, "client"),
        ];
        Group { label: target.label(), bars: vec![Bar { name: "CPU".to_owned(), parts }] }
    };
    let groups: Vec<Group> = run.targets.iter().map(group).collect();
    bars("CPU per operation, server and client", "µs", &groups, Scale::Linear)
}

fn latency_plot(run: &RunRecord) -> String {
    let group = |target: &super::TargetResult| {
        let latency = &target.median.latency_ns;
        let percentiles = [
            ("p50", latency.p50),
            ("p90", latency.p90),
            ("p99", latency.p99),
            ("p99.9", latency.p999),
            ("max", latency.max),
        ];
        let bars = percentiles
            .map(|(name, value)| Bar { name: name.to_owned(), parts: vec![(value as f64 / 1e3, "latency")] });
        Group { label: target.label(), bars: bars.into() }
    };
    let groups: Vec<Group> = run.targets.iter().map(group).collect();
    bars("Latency percentiles (logarithmic)", "µs", &groups, Scale::Logarithmic)
}

fn rate_plot(run: &RunRecord) -> String {
    let group = |target: &super::TargetResult| {
        let parts = vec![(target.median.operations_per_second / 1e3, "rate")];
        Group { label: target.label(), bars: vec![Bar { name: "rate".to_owned(), parts }] }
    };
    let groups: Vec<Group> = run.targets.iter().map(group).collect();
    bars("Throughput", "thousand operations/s", &groups, Scale::Linear)
}
