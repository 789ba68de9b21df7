//! The schema of a line of `scan.jsonl`, `transactions.jsonl` and `hot.jsonl`; described for readers in
//! `bench-results/README.md`.

use super::table;
use crate::report::{Figure, Line, RunHead, median, plots_of_figures};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;

/// Version of the schema; a change that older readers would misread raises it.
pub const CASE_SCHEMA_VERSION: u32 = 1;

/// One of the benchmarks that consist of cases.
pub trait Benchmark {
    /// Its name and that of its files.
    const NAME: &'static str;
    /// The heading of its tables.
    const TITLE: &'static str;
    /// Whether its figures are plotted.
    const PLOTTED: bool = false;
}

/// One run: every case in every round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct CaseRecord<B> {
    /// Which benchmark, when, of what, where.
    #[serde(flatten)]
    pub head: RunHead,
    /// What was asked.
    pub parameters: CaseParameters,
    /// In the order in which they ran in every round.
    pub cases: Vec<CaseResult>,
    /// What the cases amount to, and whether that is as asked.
    pub figures: Vec<Figure>,
    /// Which benchmark.
    #[serde(skip)]
    pub benchmark: PhantomData<B>,
}

impl<B: Benchmark> Line for CaseRecord<B> {
    const NAME: &'static str = B::NAME;
    const KNOWN: u32 = CASE_SCHEMA_VERSION;

    fn head(&self) -> &RunHead {
        &self.head
    }

    fn render(runs: &[Self]) -> String {
        table::render_markdown(runs)
    }

    fn plots(runs: &[Self]) -> Option<String> {
        let figures = runs.iter().map(|run| (&run.head, run.figures.as_slice()));
        B::PLOTTED.then(|| plots_of_figures(B::TITLE, figures))
    }
}

/// What was asked, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseParameters {
    /// Rows in the table.
    pub rows: u64,
    /// What a row is, and what else one should know.
    pub description: String,
    /// Data nodes of the cluster.
    pub data_nodes: u32,
    /// Replicas of every row.
    pub replicas: u32,
    /// Rounds.
    pub rounds: u32,
    /// Seed of keys.
    pub seed: u64,
    /// CPUs of the servers; `null` if nothing was pinned.
    pub server_cpus: Option<String>,
    /// CPUs of the generator; `null` if nothing was pinned.
    pub client_cpus: Option<String>,
    /// How the data nodes were told to talk to their links; `null` if that was left to them.
    pub io: Option<String>,
}

/// What was measured of one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseResult {
    /// What was done.
    pub name: String,
    /// What is counted, in the plural: such as `rows` or `transactions`.
    pub unit: String,
    /// Median of every figure over the rounds.
    pub median: CaseRound,
    /// The rounds.
    pub rounds: Vec<CaseRound>,
}

impl CaseResult {
    pub(crate) fn new(name: impl Into<String>, unit: &str, rounds: Vec<CaseRound>) -> Self {
        let median = CaseRound::median_of(&rounds);
        Self { name: name.into(), unit: unit.to_owned(), median, rounds }
    }
}

/// Figures of one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CaseRound {
    /// Units of work that were done and answered.
    pub units: u64,
    /// From the first start to the last answer.
    pub seconds: f64,
    /// CPU time of all data nodes per unit, in microseconds.
    pub node_cpu_us: f64,
    /// CPU time of the generator with the client in it, per unit, in microseconds.
    pub client_cpu_us: f64,
}

impl CaseRound {
    /// Units per second of the clock.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.units as f64 / self.seconds } else { 0.0 }
    }

    /// CPU time of data nodes and client per unit, in microseconds.
    #[must_use]
    pub fn both_cpu_us(&self) -> f64 {
        self.node_cpu_us + self.client_cpu_us
    }

    /// The median of every figure by itself.
    #[must_use]
    pub fn median_of(rounds: &[Self]) -> Self {
        let middle = |figure: &dyn Fn(&Self) -> f64| median(rounds.iter().map(figure));
        Self {
            units: middle(&|round| round.units as f64) as u64,
            seconds: middle(&|round| round.seconds),
            node_cpu_us: middle(&|round| round.node_cpu_us),
            client_cpu_us: middle(&|round| round.client_cpu_us),
        }
    }
}
