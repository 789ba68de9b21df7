//! Figures that were asked for, and whether they are met.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What is asked of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

/// A figure of a run, usually a ratio, beside what is asked of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it says, such as `read p50 / echo p50`.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// Its unit: `×` for a ratio.
    pub unit: String,
    /// What is asked of it; `null` if it only informs.
    pub asked: Option<Asked>,
}

impl Figure {
    /// A ratio of two figures of the same run.
    #[must_use]
    pub fn ratio(name: impl Into<String>, figure: f64, base: f64, asked: Option<Asked>) -> Self {
        let value = super::ratio(figure, base).unwrap_or(0.0);
        Self { name: name.into(), value, unit: "×".to_owned(), asked }
    }

    /// A figure with a unit.
    #[must_use]
    pub fn new(name: impl Into<String>, value: f64, unit: &str, asked: Option<Asked>) -> Self {
        Self { name: name.into(), value, unit: unit.to_owned(), asked }
    }

    /// Whether it is as asked; what is not asked for is met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        match self.asked {
            None => true,
            Some(Asked::AtMost(bound)) => self.value <= bound,
            Some(Asked::AtLeast(bound)) => self.value >= bound,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.value.abs() < 100.0 { 2 } else { 1 };
        write!(formatter, "{}: {:.digits$} {}", self.name, self.value, self.unit)?;
        let (words, bound) = match self.asked {
            None => return Ok(()),
            Some(Asked::AtMost(bound)) => ("at most", bound),
            Some(Asked::AtLeast(bound)) => ("at least", bound),
        };
        let verdict = if self.is_met() { "met" } else { "missed" };
        write!(formatter, " ({words} {bound} is asked: {verdict})")
    }
}

/// One line per figure, each after `bullet`.
pub(crate) fn figure_lines(figures: &[Figure], bullet: &str) -> String {
    figures.iter().map(|figure| format!("{bullet}{figure}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_say_what_is_asked_and_whether_it_is_met() {
        let read = Figure::ratio("read / echo", 26.0, 20.0, Some(Asked::AtMost(1.3)));
        assert_eq!(read.to_string(), "read / echo: 1.30 × (at most 1.3 is asked: met)");
        let hot = Figure::ratio("hot / uniform", 3.0, 4.0, Some(Asked::AtLeast(0.8)));
        assert_eq!(hot.to_string(), "hot / uniform: 0.75 × (at least 0.8 is asked: missed)");
        let hop = Figure::new("hop", 144.4, "ns", None);
        assert_eq!((hop.to_string(), hop.is_met()), ("hop: 144.4 ns".to_owned(), true));
        assert_eq!(Figure::ratio("of nothing", 1.0, 0.0, None).value, 0.0);
    }
}
