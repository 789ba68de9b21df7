//! What every record begins with.

use super::machine::{MachineFacts, git_revision, utc_time};
use serde::{Deserialize, Serialize};

/// The head of every record: which benchmark, when, of what, where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunHead {
    /// Version of the benchmark's schema when it was written.
    pub schema: u32,
    /// `keys`, `latency`, `pipeline` or `memory`.
    pub benchmark: String,
    /// When the run began, as `2026-01-31T12:00:00Z`.
    pub time: String,
    /// Git revision of the working directory, with `-dirty` if files were changed; `unknown` outside a repository.
    pub revision: String,
    /// `release` or `debug` build of the harness.
    pub build: String,
    /// The machine.
    pub machine: MachineFacts,
}

impl RunHead {
    /// The head of a run that begins now.
    #[must_use]
    pub fn begin(benchmark: &str, schema: u32) -> Self {
        Self {
            schema,
            benchmark: benchmark.to_owned(),
            time: utc_time(),
            revision: git_revision(),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            machine: MachineFacts::read(),
        }
    }

    /// `Revision 0123456789ab with changes, release build; 2 CPUs (a CPU), Linux 6.1`.
    pub(crate) fn summary(&self) -> String {
        let revision: String = self.revision.chars().take(12).collect();
        let dirty = if self.revision.ends_with("-dirty") { " with changes" } else { "" };
        let MachineFacts { cpus, cpu_model, kernel, .. } = &self.machine;
        format!("Revision {revision}{dirty}, {} build; {cpus} CPUs ({cpu_model}), Linux {kernel}", self.build)
    }
}

/// Parameters of every benchmark that asks servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommonParameters {
    /// Rows in the table.
    pub rows: u64,
    /// Bytes of a key.
    pub key_bytes: usize,
    /// Value columns.
    pub columns: usize,
    /// Bytes of a value column.
    pub column_bytes: usize,
    /// Seconds before every measurement.
    pub warm_up_seconds: f64,
    /// Rounds.
    pub rounds: u32,
    /// Whether every value that was read was compared byte for byte.
    pub verify: bool,
    /// Seed of keys and kinds.
    pub seed: u64,
    /// CPUs of the servers; `null` if nothing was pinned.
    pub server_cpus: Option<String>,
    /// CPUs of the generator; `null` if nothing was pinned.
    pub client_cpus: Option<String>,
    /// How the data nodes were told to talk to their links; `null` if that was left to them.
    #[serde(default)]
    pub io: Option<String>,
}

impl CommonParameters {
    /// `servers on CPU 0, generator on CPU 1`.
    pub(crate) fn placement(&self) -> String {
        let cpus = |cpus: &Option<String>| cpus.clone().unwrap_or_else(|| "any".to_owned());
        format!("servers on CPU {}, generator on CPU {}", cpus(&self.server_cpus), cpus(&self.client_cpus))
    }

    /// What a summary ends with when values were compared.
    pub(crate) fn verified(&self) -> &'static str {
        if self.verify { ", every value verified" } else { "" }
    }

    /// `4 000 000 rows of 8 + 5 × 20 bytes`.
    pub(crate) fn table(&self) -> String {
        let Self { rows, key_bytes, columns, column_bytes, .. } = self;
        format!("{} rows of {key_bytes} + {columns} × {column_bytes} bytes", super::grouped(*rows as f64))
    }
}
