//! The schema of a line of `sysbench.jsonl`; described for readers in `bench-results/README.md`.

use super::table;
use super::workload::{SqlTarget, SysbenchWorkload};
use crate::report::{Figure, Line, RunHead, median};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the schema; a change that older readers would misread raises it.
pub const SYSBENCH_SCHEMA_VERSION: u32 = 1;

/// One run of `duet bench sysbench`: every case in every round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SysbenchRecord {
    /// Which benchmark, when, of what, where.
    #[serde(flatten)]
    pub head: RunHead,
    /// What was asked.
    pub parameters: SysbenchParameters,
    /// In the order in which they ran in every round.
    pub cases: Vec<SysbenchCase>,
    /// The long case, if there was one.
    pub long: Option<LongCase>,
    /// Ratios, and whether they are as asked.
    pub figures: Vec<Figure>,
}

impl Line for SysbenchRecord {
    const NAME: &'static str = "sysbench";
    const KNOWN: u32 = SYSBENCH_SCHEMA_VERSION;

    fn head(&self) -> &RunHead {
        &self.head
    }

    fn render(runs: &[Self]) -> String {
        table::render_markdown(runs)
    }
}

/// What was asked, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SysbenchParameters {
    /// Rows of a table.
    pub table_size: u64,
    /// Tables.
    pub tables: u32,
    /// Seconds of a case.
    pub seconds: u32,
    /// Rounds.
    pub rounds: u32,
    /// Version of sysbench.
    pub sysbench: String,
    /// Version of MariaDB; `null` if it was not asked.
    pub mariadb: Option<String>,
    /// Options of the single MariaDB server.
    pub mariadb_settings: Option<String>,
    /// Options of the semi-synchronous pair.
    pub semi_sync_settings: Option<String>,
    /// Data nodes of the Duet cluster.
    pub data_nodes: u32,
    /// Replicas of every row.
    pub replicas: u32,
    /// Threads of the gateway; `null` if that was left to it.
    pub gateway_threads: Option<usize>,
}

/// What was measured of one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SysbenchCase {
    /// What was done.
    pub workload: SysbenchWorkload,
    /// Threads of sysbench.
    pub threads: u32,
    /// Who was asked.
    pub target: SqlTarget,
    /// Median of every figure over the rounds.
    pub median: SysbenchRound,
    /// The rounds.
    pub rounds: Vec<SysbenchRound>,
}

/// Figures of one round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SysbenchRound {
    /// Statements per second, as sysbench counts them.
    pub queries_per_second: f64,
    /// Transactions per second.
    pub transactions_per_second: f64,
    /// 95th percentile of the latency of a transaction, in milliseconds.
    pub p95_ms: f64,
    /// Errors after which sysbench began a transaction again: deadlocks and lock wait time-outs.
    pub ignored_errors: u64,
    /// Connections that were opened again.
    pub reconnects: u64,
    /// CPU time per statement of each kind of process, in microseconds. That of sysbench is not among them.
    pub cpu_us_per_query: BTreeMap<String, f64>,
}

impl SysbenchRound {
    /// The median of every figure by itself.
    #[must_use]
    pub fn median_of(rounds: &[Self]) -> Self {
        let middle = |figure: &dyn Fn(&Self) -> f64| median(rounds.iter().map(figure));
        let roles = rounds.first().map(|round| round.cpu_us_per_query.keys()).into_iter().flatten();
        let of_role =
            |role: &String| middle(&|round| round.cpu_us_per_query.get(role).copied().unwrap_or_default());
        Self {
            queries_per_second: middle(&|round| round.queries_per_second),
            transactions_per_second: middle(&|round| round.transactions_per_second),
            p95_ms: middle(&|round| round.p95_ms),
            ignored_errors: middle(&|round| round.ignored_errors as f64) as u64,
            reconnects: middle(&|round| round.reconnects as f64) as u64,
            cpu_us_per_query: roles.map(|role| (role.clone(), of_role(role))).collect(),
        }
    }

    /// CPU time of all server processes per statement, in microseconds.
    #[must_use]
    pub fn server_cpu_us(&self) -> f64 {
        self.cpu_us_per_query.values().sum()
    }
}

/// Many threads for a long time, against Duet alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LongCase {
    /// What was done.
    pub workload: SysbenchWorkload,
    /// Threads of sysbench.
    pub threads: u32,
    /// Seconds.
    pub seconds: u32,
    /// What came of it.
    pub result: SysbenchRound,
}
