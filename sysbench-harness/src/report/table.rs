//! The table on the terminal, and the cells that all renderings share.

use super::figure::figure_lines;
use super::record::{RunParameters, RunRecord, TargetResult};
use super::statistics::ratio;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

/// Columns of every table of targets.
pub(super) const HEADINGS: [&str; 12] = [
    "target",
    "operations/s",
    "p50 µs",
    "p90 µs",
    "p99 µs",
    "p99.9 µs",
    "max µs",
    "server CPU µs/op",
    "client CPU µs/op",
    "both CPU µs/op",
    "server CPU ratio",
    "both CPU ratio",
];

/// Nanoseconds as microseconds with one decimal.
pub(crate) fn microseconds(nanoseconds: u64) -> String {
    format!("{:.1}", nanoseconds as f64 / 1e3)
}

/// A whole number with thin groups of three digits.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Server and client together.
pub(super) fn both_cpu(target: &TargetResult) -> f64 {
    target.median.server_cpu_us_per_operation + target.median.client_cpu_us_per_operation
}

/// The cells of one target; ratios are multiples of the run's first target.
pub(super) fn cells(run: &RunRecord, target: &TargetResult) -> [String; HEADINGS.len()] {
    let median = &target.median;
    let first = run.targets.first().unwrap_or(target);
    let multiple = |figure, base| ratio(figure, base).map_or("–".to_owned(), |it| format!("{it:.2} ×"));
    [
        match &target.variant {
            None => format!("{} {}", target.name, target.version),
            Some(variant) => format!("{} {}, {variant}", target.name, target.version),
        },
        grouped(median.operations_per_second),
        microseconds(median.latency_ns.p50),
        microseconds(median.latency_ns.p90),
        microseconds(median.latency_ns.p99),
        microseconds(median.latency_ns.p999),
        microseconds(median.latency_ns.max),
        format!("{:.3}", median.server_cpu_us_per_operation),
        format!("{:.3}", median.client_cpu_us_per_operation),
        format!("{:.3}", both_cpu(target)),
        multiple(median.server_cpu_us_per_operation, first.median.server_cpu_us_per_operation),
        multiple(both_cpu(target), both_cpu(first)),
    ]
}

/// What was asked, in one line.
#[must_use]
pub fn summary_line(parameters: &RunParameters) -> String {
    let RunParameters { common, distribution, mix, threads, batch, .. } = parameters;
    let flight = match parameters.callers {
        0 => format!("{threads} thread(s) with {batch} in flight"),
        callers => format!("{callers} concurrent callers"),
    };
    let pace =
        parameters.rate.map_or("closed loop".to_owned(), |rate| format!("open loop at {}/s", grouped(rate)));
    let length = match (parameters.seconds, parameters.operations) {
        (Some(seconds), _) => format!("{seconds} s"),
        (None, Some(operations)) => format!("{} operations", grouped(operations as f64)),
        (None, None) => "nothing".to_owned(),
    };
    let half_load =
        if parameters.half_load { " and open loop of whole batches at half its rate" } else { "" };
    let links = if parameters.links.is_some() { ", over sockets of the Unix domain" } else { "" };
    let verify = common.verified();
    format!(
        "{}, {distribution} keys, {mix}, {flight}, {pace}{half_load}{links}, median of {} rounds of {length}{verify}",
        common.table(),
        common.rounds,
    )
}

/// The table of a run for the terminal.
#[must_use]
pub fn render_targets(run: &RunRecord) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(HEADINGS);
    for target in &run.targets {
        table.add_row(cells(run, target));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{}\n{table}\n", summary_line(&run.parameters));
    for target in run.targets.iter().filter(|target| target.median.server_processes.len() > 1) {
        let parts = target.median.server_processes.iter();
        let parts = parts.map(|part| format!("{} {:.3}", part.role, part.cpu_us_per_operation));
        text.push_str(&format!(
            "{}: server CPU µs/op: {}\n",
            target.label(),
            parts.collect::<Vec<_>>().join(", ")
        ));
    }
    for target in run.targets.iter().filter(|target| target.median.unsent > 0) {
        let unsent = grouped(target.median.unsent as f64);
        text.push_str(&format!(
            "{}: {unsent} operations were due and could not be sent in time\n",
            target.label()
        ));
    }
    if let Some(echo) = &run.echo {
        let (p50, p99) = (microseconds(echo.p50_ns), microseconds(echo.p99_ns));
        text.push_str(&format!("bare blocking 64-byte TCP round trip: p50 {p50} µs, p99 {p99} µs\n"));
    }
    text.push_str(&figure_lines(&run.figures, ""));
    text
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::run;
    use super::*;

    #[test]
    fn ratios_are_multiples_of_the_first_target() {
        let run = run();
        assert_eq!(cells(&run, &run.targets[0])[10], "1.00 ×");
        assert_eq!(cells(&run, &run.targets[1])[10], "2.00 ×");
        assert_eq!(cells(&run, &run.targets[1])[11], "2.00 ×");
        assert_eq!(cells(&run, &run.targets[1])[7], "2.000");
    }

    #[test]
    fn the_table_shows_targets_and_the_round_trip() {
        let text = render_targets(&run());
        for part in ["duet 1.2", "redis 1.2", "4 000 000 rows of 8 + 5 × 20 bytes", "p50 15.0 µs"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
