//! The schema of a line of `latency.jsonl`; described for readers in `bench-results/README.md`.

use super::table;
use crate::report::{CommonParameters, Figure, LatencySummary, Line, RunHead};
use serde::{Deserialize, Serialize};

/// Version of the schema; a change that older readers would misread raises it.
pub const LATENCY_SCHEMA_VERSION: u32 = 1;

/// One run of `duet bench latency`: every case in every round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyRecord {
    /// Which benchmark, when, of what, where.
    #[serde(flatten)]
    pub head: RunHead,
    /// What was asked.
    pub parameters: LatencyParameters,
    /// In the order in which they ran in every round.
    pub cases: Vec<CaseResult>,
    /// Ratios, and whether they are as asked.
    pub figures: Vec<Figure>,
}

impl Line for LatencyRecord {
    const NAME: &'static str = "latency";
    const KNOWN: u32 = LATENCY_SCHEMA_VERSION;

    fn head(&self) -> &RunHead {
        &self.head
    }

    fn render(runs: &[Self]) -> String {
        table::render_markdown(runs)
    }
}

/// What was asked, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyParameters {
    /// Table, rounds and placement.
    #[serde(flatten)]
    pub common: CommonParameters,
    /// Measured seconds per round and case.
    pub seconds: f64,
    /// Pause before each operation of the cases with idling, in milliseconds.
    pub idle_ms: u64,
}

/// What is done, one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A bare blocking 64-byte round trip over TCP.
    Echo,
    /// A read of a row from the yardstick server.
    FloorRead,
    /// A committed read by the blocking client of Duet.
    Read,
    /// An update by the same client, acknowledged when both replicas have it.
    Update,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Echo, Self::FloorRead, Self::Read, Self::Update];

    /// What tables call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::FloorRead => "floor read",
            Self::Read => "read",
            Self::Update => "update",
        }
    }
}

/// What was measured of one action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseResult {
    /// What was done.
    pub action: Action,
    /// Whether the caller slept before each.
    pub after_idling: bool,
    /// Median of every figure over the rounds.
    pub median: CaseRound,
    /// The rounds.
    pub rounds: Vec<CaseRound>,
}

/// Figures of one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CaseRound {
    /// Operations that were measured.
    pub operations: u64,
    /// From the call to its return.
    pub latency_ns: LatencySummary,
}

impl CaseRound {
    /// The median of every figure by itself.
    #[must_use]
    pub fn median_of(rounds: &[Self]) -> Self {
        let operations = crate::report::median(rounds.iter().map(|round| round.operations as f64)) as u64;
        let latencies: Vec<LatencySummary> = rounds.iter().map(|round| round.latency_ns).collect();
        Self { operations, latency_ns: LatencySummary::median_of(&latencies) }
    }
}
