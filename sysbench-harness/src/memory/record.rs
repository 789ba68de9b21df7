//! The schema of a line of `memory.jsonl`; described for readers in `bench-results/README.md`.

use super::table;
use crate::report::{Figure, LatencySummary, Line, RunHead};
use serde::{Deserialize, Serialize};

/// Version of the schema; a change that older readers would misread raises it.
pub const MEMORY_SCHEMA_VERSION: u32 = 1;

/// One run of `duet bench memory`: every configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryRecord {
    /// Which benchmark, when, of what, where.
    #[serde(flatten)]
    pub head: RunHead,
    /// What was asked.
    pub parameters: MemoryParameters,
    /// In the order in which they ran in every round; the first is what ratios refer to.
    pub configurations: Vec<ConfigurationResult>,
    /// Ratios, and whether they are as asked.
    pub figures: Vec<Figure>,
}

impl Line for MemoryRecord {
    const NAME: &'static str = "memory";
    const KNOWN: u32 = MEMORY_SCHEMA_VERSION;

    fn head(&self) -> &RunHead {
        &self.head
    }

    fn render(runs: &[Self]) -> String {
        table::render_markdown(runs)
    }
}

/// What was asked, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryParameters {
    /// Rows in the end.
    pub rows: u64,
    /// Bytes of a key.
    pub key_bytes: usize,
    /// Bytes of a value as it is kept: 100 of columns and one of null bits.
    pub value_bytes: usize,
    /// Lookups that go through their stages together.
    pub batch: usize,
    /// Lookups per round and way.
    pub lookups: u64,
    /// Slices of growth, and rounds of lookups.
    pub rounds: u32,
    /// Seed of the keys that are looked up.
    pub seed: u64,
}

/// What one configuration did. Times of inserts are medians over the slices of growth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigurationResult {
    /// Whether the arena asked for pages of 2 MiB.
    pub huge_pages: bool,
    /// Indexes that the rows are spread over.
    pub fragments: usize,
    /// Whether each fragment had an ordered index of random keys, too.
    #[serde(default)]
    pub ordered: bool,
    /// Bytes of the arena's pages per row in the end.
    pub bytes_per_row: f64,
    /// Bytes of all buckets and nodes per row in the end.
    pub index_bytes_per_row: f64,
    /// Inserts of new keys, which make the index grow.
    pub growth_insert_ns: LatencySummary,
    /// Inserts of keys that were removed before, for which the index does not grow.
    pub quiet_insert_ns: LatencySummary,
    /// A lookup with the copy of its value, in stages with prefetching: the median of all batches, and of the rounds.
    pub staged_lookup_ns: f64,
    /// The same, one lookup after the other.
    pub single_lookup_ns: f64,
    /// The rounds.
    pub rounds: Vec<MemoryRound>,
}

/// Figures of one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MemoryRound {
    /// Inserts of new keys.
    pub growth_insert_ns: LatencySummary,
    /// Inserts of keys that were removed before.
    pub quiet_insert_ns: LatencySummary,
    /// A lookup in stages.
    pub staged_lookup_ns: f64,
    /// A lookup by itself.
    pub single_lookup_ns: f64,
}
