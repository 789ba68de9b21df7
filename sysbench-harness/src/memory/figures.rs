//! The ratios of a run, and what is asked of them.

use super::record::ConfigurationResult;
use crate::report::{Asked, Figure};

/// Rows from which on figures are comparable with what is asked.
const ASKED_ROWS: u64 = 4_000_000;
const ASKED_BYTES_PER_ROW: f64 = 145.0;
/// With an ordered index of random keys.
const ASKED_ORDERED_BYTES_PER_ROW: f64 = 155.0;
const ASKED_LOOKUP_NS: f64 = 50.0;
const ASKED_GROWTH: f64 = 3.0;

/// Figures of the first configuration, and the others as multiples of it.
pub(super) fn figures(rows: u64, results: &[ConfigurationResult]) -> Vec<Figure> {
    let Some((first, others)) = results.split_first() else { return Vec::new() };
    let asked = |bound| (rows >= ASKED_ROWS).then_some(Asked::AtMost(bound));
    let mut figures = vec![
        Figure::new("memory per row", first.bytes_per_row, "bytes", asked(ASKED_BYTES_PER_ROW)),
        Figure::ratio(
            "insert p99.9 while growing / quiet",
            first.growth_insert_ns.p999 as f64,
            first.quiet_insert_ns.p999 as f64,
            asked(ASKED_GROWTH),
        ),
        Figure::new("lookup in stages", first.staged_lookup_ns, "ns", asked(ASKED_LOOKUP_NS)),
        Figure::ratio("lookup by itself / in stages", first.single_lookup_ns, first.staged_lookup_ns, None),
    ];
    for other in others {
        if other.ordered {
            let name = "memory per row with an ordered index of random keys";
            figures.push(Figure::new(name, other.bytes_per_row, "bytes", asked(ASKED_ORDERED_BYTES_PER_ROW)));
            continue;
        }
        let (name, base) = match other.huge_pages {
            false => ("small pages".to_owned(), "huge pages".to_owned()),
            true => (format!("{} fragments", other.fragments), first.fragments.to_string()),
        };
        figures.push(Figure::ratio(
            format!("lookup in stages: {name} / {base}"),
            other.staged_lookup_ns,
            first.staged_lookup_ns,
            None,
        ));
        figures.push(Figure::ratio(
            format!("insert p99.9 while growing / quiet, {name}"),
            other.growth_insert_ns.p999 as f64,
            other.quiet_insert_ns.p999 as f64,
            asked(ASKED_GROWTH).filter(|_| other.huge_pages),
        ));
    }
    figures
}
