//! The schema of a line of `outage.jsonl`; described for readers in `bench-results/README.md`.

use super::fault::Fault;
use super::strike::Outcome;
use super::table;
use crate::report::{Asked, Figure, Line, RunHead};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Version of the schema; a change that older readers would misread raises it.
pub const OUTAGE_SCHEMA_VERSION: u32 = 1;

/// One run of `duet bench outage`: every fault, struck as often as asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutageRecord {
    /// Which benchmark, when, of what, where.
    #[serde(flatten)]
    pub head: RunHead,
    /// What was asked.
    pub parameters: OutageParameters,
    /// In the order in which they struck.
    pub faults: Vec<FaultResult>,
    /// Percentiles, and whether they are as asked.
    pub figures: Vec<Figure>,
}

impl Line for OutageRecord {
    const NAME: &'static str = "outage";
    const KNOWN: u32 = OUTAGE_SCHEMA_VERSION;

    fn head(&self) -> &RunHead {
        &self.head
    }

    fn render(runs: &[Self]) -> String {
        table::render_markdown(runs)
    }
}

/// What was asked, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutageParameters {
    /// Management nodes.
    pub management_nodes: u32,
    /// Keys that each data node led, each with a reader and a writer.
    pub keys: u32,
    /// Time between two probes, in milliseconds.
    pub interval_ms: f64,
    /// How long loss and delay lasted.
    pub fault_seconds: f64,
    /// Share of packets that loss dropped.
    pub loss_percent: u32,
    /// What delay added.
    pub delay_ms: u32,
    /// What delay added at most on top of that.
    pub jitter_ms: u32,
    /// How long busy lasted.
    pub busy_seconds: f64,
}

/// What was seen of one fault. Times are in milliseconds, in the order of the runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultResult {
    /// What struck.
    pub fault: Fault,
    /// Why it could not strike here; then everything else is empty.
    pub skipped: Option<String>,
    /// Longest gap between answers to the probes of any key, less the interval between probes: the outage.
    pub outage_ms: Vec<f64>,
    /// The same of reads alone.
    pub reads_ms: Vec<f64>,
    /// The same of increments alone.
    pub writes_ms: Vec<f64>,
    /// The longest gap while the fault is healed, the node joins, copies and takes back what it led.
    pub back_ms: Vec<f64>,
    /// The longest gap before the fault.
    pub before_ms: Vec<f64>,
    /// From the start of the node that comes back until the cluster is whole; only of runs in which one came back.
    pub rejoin_ms: Vec<f64>,
    /// Nodes that were removed, also while they joined again.
    pub removed: u32,
    /// Probes that were answered; every answer was judged.
    pub answered: u64,
    /// Errors that clients were told after all their repeats, by name.
    pub errors: BTreeMap<String, u64>,
    /// Wall-clock time of all runs.
    pub seconds: f64,
    /// Load of the machine at the end, the cluster and its clients included: processes that want to run, mean of a minute.
    pub load: f64,
}

impl FaultResult {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            skipped: None,
            outage_ms: Vec::new(),
            reads_ms: Vec::new(),
            writes_ms: Vec::new(),
            back_ms: Vec::new(),
            before_ms: Vec::new(),
            rejoin_ms: Vec::new(),
            removed: 0,
            answered: 0,
            errors: BTreeMap::new(),
            seconds: 0.0,
            load: 0.0,
        }
    }

    pub(super) fn add(&mut self, outcome: Outcome) {
        let milliseconds = |time: Duration| (time.as_secs_f64() * 1e5).round() / 100.0;
        self.outage_ms.push(milliseconds(outcome.outage));
        self.reads_ms.push(milliseconds(outcome.reads));
        self.writes_ms.push(milliseconds(outcome.writes));
        self.back_ms.push(milliseconds(outcome.back));
        self.before_ms.push(milliseconds(outcome.before));
        self.rejoin_ms.extend(outcome.rejoin.map(milliseconds));
        self.removed += outcome.removed;
        self.answered += outcome.answered;
        for (name, count) in outcome.errors {
            *self.errors.entry(name).or_default() += count;
        }
    }

    pub(super) fn figures(&self) -> Vec<Figure> {
        if self.skipped.is_some() {
            return Vec::new();
        }
        let asked = self.fault.asked_p99_ms().map(Asked::AtMost);
        let name = format!("{}: p99 of {} outages", self.fault.name(), self.outage_ms.len());
        let mut figures = vec![Figure::new(name, percentile(&self.outage_ms, 99.0), "ms", asked)];
        if self.fault == Fault::Busy {
            let asked = Some(Asked::AtMost(0.0));
            figures.push(Figure::new("busy: nodes removed", f64::from(self.removed), "", asked));
        }
        figures
    }
}

/// The smallest value that so many percent of all do not exceed; 0 of none.
pub(super) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(
            [50.0, 90.0, 99.0, 100.0].map(|percent| percentile(&values, percent)),
            [50.0, 90.0, 99.0, 100.0]
        );
        assert_eq!(percentile(&[7.0], 99.0), 7.0);
        assert_eq!(percentile(&[3.0, 5.0], 50.0), 3.0);
        assert_eq!(percentile(&[], 50.0), 0.0);
    }

    #[test]
    fn a_skipped_fault_has_no_figures() {
        let mut result = FaultResult::new(Fault::Kill);
        result.outage_ms = vec![99.0, 101.0];
        assert!(!result.figures()[0].is_met());
        result.skipped = Some("not here".to_owned());
        assert!(result.figures().is_empty());
        assert!(FaultResult::new(Fault::Busy).figures()[1].is_met());
    }
}
