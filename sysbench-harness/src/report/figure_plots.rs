//! Plots of the figures of a benchmark that consists of cases: rates, and percentiles of the cases.

use super::figure::Figure;
use super::head::RunHead;
use super::html;
use super::plot::{Bar, Group, Scale, bars, escape};
use std::fmt::Write;

/// A page with the plots of all runs, the newest first. The name of a percentile's figure ends in its name, `: p99`; cases whose
/// names differ only behind the last comma stand together.
pub(crate) fn plots_of_figures<'r>(
    title: &str,
    runs: impl DoubleEndedIterator<Item = (&'r RunHead, &'r [Figure])>,
) -> String {
    let mut page = html::head(title);
    for (head, figures) in runs.rev() {
        // Writing to a string cannot fail.
        let _ = write!(page, "<h2>{}</h2>\n<p>{}.</p>\n", escape(&head.time), escape(&head.summary()));
        let rates = figures.iter().filter(|figure| figure.unit == "per second");
        let rates = rates.map(|figure| (figure.name.as_str(), figure.value));
        page.push_str(&bars("Rates", "per second", &groups(rates, "rate"), Scale::Linear));
        for percentile in ["p50", "p99"] {
            let of_case = |figure: &'r Figure| {
                let case = figure.name.strip_suffix(percentile)?.strip_suffix(": ")?;
                Some((case, figure.value))
            };
            let groups = groups(figures.iter().filter_map(of_case), "latency");
            page.push_str(&bars(&format!("Times: {percentile}"), "ms", &groups, Scale::Logarithmic));
        }
    }
    page.push_str("</body></html>\n");
    page
}

fn groups<'f>(values: impl Iterator<Item = (&'f str, f64)>, class: &'static str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (name, value) in values {
        let (label, name) = name.rsplit_once(", ").unwrap_or((name, ""));
        let bar = Bar { name: name.to_owned(), parts: vec![(value, class)] };
        match groups.last_mut() {
            Some(group) if group.label == label => group.bars.push(bar),
            _ => groups.push(Group { label: label.to_owned(), bars: vec![bar] }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_stand_together_and_nothing_is_lost() {
        let figures = [
            Figure::new("rows: rows".to_owned(), 7.0, "per second", None),
            Figure::new("HTTP, 1 entity, 10/s: p99".to_owned(), 1.0, "ms", None),
            Figure::new("HTTP, 1 entity, 100/s: p99".to_owned(), 2.0, "ms", None),
            Figure::new("HTTP, 2 entities, 10/s: p99".to_owned(), 3.0, "ms", None),
        ];
        let head = RunHead::begin("features", 1);
        let page = plots_of_figures("Vectors & more", std::iter::once((&head, figures.as_slice())));
        assert!(page.contains("Vectors &amp; more") && page.contains(&head.time));
        assert_eq!(page.matches("<rect ").count(), 4);
        assert_eq!(page.matches("HTTP, 1 entity<").count(), 1);
    }
}
