//! Options that several benchmarks share.

use crate::connection::Links;
use crate::cpu::CpuList;
use crate::local_cluster::LocalClusterOptions;
use crate::report::CommonParameters;
use crate::workload::{KEY_BYTES, ValueShape};
use anyhow::{Context, Result, ensure};
use std::fmt::Arguments;
use std::path::{Path, PathBuf};

/// Writes a line for the user; the program decides where to, and what it means that nobody reads it.
pub type Say<'a> = &'a dyn Fn(Arguments<'_>) -> Result<()>;

/// Most rows of a table: keys are written in 48 bits where they must be printable.
const MOST_ROWS: u64 = 1 << 32;
const MOST_ROUNDS: u32 = 1000;
const MOST_SECONDS: f64 = 86_400.0;

/// Whether and where a run is recorded.
#[derive(Debug, Clone, clap::Args)]
pub struct RecordArguments {
    /// Directory of results; one JSON line is appended to the file of this benchmark.
    #[arg(long, default_value = "bench-results")]
    pub results: PathBuf,
    /// Record nothing.
    #[arg(long)]
    pub no_record: bool,
}

impl RecordArguments {
    /// Where the run is recorded, if it is.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        (!self.no_record).then_some(self.results.as_path())
    }
}

/// Options of every benchmark that starts servers and asks them.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerRunArguments {
    /// Rounds, each over all that is compared; the table shows medians over them.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Compare every value that is read byte for byte.
    #[arg(long)]
    pub verify: bool,
    /// CPUs of all servers, such as 0 or 0,2-3 [default: the first half].
    #[arg(long)]
    pub server_cpus: Option<CpuList>,
    /// CPUs of the generator [default: the other half].
    #[arg(long)]
    pub client_cpus: Option<CpuList>,
    /// Leave the choice of CPUs to the kernel.
    #[arg(long, conflicts_with_all = ["server_cpus", "client_cpus"])]
    pub no_pin: bool,
    /// How the data nodes of the Duet cluster talk to their links [default: their own choice].
    #[arg(long, value_parser = ["auto", "epoll", "uring", "uring,epoll"])]
    pub io: Option<String>,
    /// Seed of keys and kinds of operations.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The duet executable that runs the servers [default: this one].
    #[arg(long, hide = true)]
    pub executable: Option<PathBuf>,
    /// Whether and where it is recorded.
    #[command(flatten)]
    pub record: RecordArguments,
}

/// CPUs of the servers and of the generator; `None` where nothing is pinned.
pub(crate) struct Placement {
    pub(crate) servers: Option<CpuList>,
    pub(crate) clients: Option<CpuList>,
}

impl Placement {
    /// Runs the generator, whose threads inherit its CPUs.
    pub(crate) fn generate<T>(&self, generate: impl FnOnce() -> Result<T>) -> Result<T> {
        match &self.clients {
            Some(cpus) => cpus.inherited_by(generate)?,
            None => generate(),
        }
    }
}

impl ServerRunArguments {
    pub(crate) fn check(&self) -> Result<()> {
        check_rounds(self.rounds)
    }

    /// Where servers and generator run.
    pub(crate) fn placement(&self) -> Result<Placement> {
        let (servers, clients) =
            CpuList::placement(self.server_cpus.as_ref(), self.client_cpus.as_ref(), self.no_pin)?;
        Ok(Placement { servers, clients })
    }

    /// The `duet` executable.
    pub(crate) fn executable(&self) -> Result<PathBuf> {
        match &self.executable {
            Some(path) => Ok(path.clone()),
            None => std::env::current_exe().context("cannot find this executable"),
        }
    }

    /// A cluster of so many data nodes and replicas, but for its memory and CPUs. It is reached as the peers and the floor are.
    pub(crate) fn cluster(
        &self,
        data_nodes: u32,
        replicas: u32,
        links: Links,
    ) -> Result<LocalClusterOptions> {
        let mut options = LocalClusterOptions::new(self.executable()?);
        options.data_nodes = data_nodes;
        options.replicas = Some(replicas);
        options.io = self.io.clone();
        let local = if links == Links::Unix { "on" } else { "off" };
        options.data_arguments = ["--local-links", local].map(Into::into).into();
        Ok(options)
    }

    /// The parameters that every record has.
    pub(crate) fn parameters(
        &self,
        rows: u64,
        shape: ValueShape,
        warm_up: f64,
        placement: &Placement,
    ) -> CommonParameters {
        CommonParameters {
            rows,
            key_bytes: KEY_BYTES,
            columns: shape.columns,
            column_bytes: shape.column_bytes,
            warm_up_seconds: warm_up,
            rounds: self.rounds,
            verify: self.verify,
            seed: self.seed,
            server_cpus: placement.servers.as_ref().map(ToString::to_string),
            client_cpus: placement.clients.as_ref().map(ToString::to_string),
            io: self.io.clone(),
        }
    }
}

pub(crate) fn check_rounds(rounds: u32) -> Result<()> {
    ensure!((1..=MOST_ROUNDS).contains(&rounds), "--rounds lies between 1 and {MOST_ROUNDS}");
    Ok(())
}

pub(crate) fn check_rows(rows: u64) -> Result<()> {
    ensure!((1..=MOST_ROWS).contains(&rows), "--rows lies between 1 and {MOST_ROWS}");
    Ok(())
}

/// `seconds` are measured, after `warm_up` seconds that are not.
pub(crate) fn check_times(seconds: f64, warm_up: f64) -> Result<()> {
    let time = |seconds: f64| seconds.is_finite() && (0.0..=MOST_SECONDS).contains(&seconds);
    ensure!(time(seconds) && seconds > 0.0, "--seconds lies above 0 and at most at a day");
    ensure!(time(warm_up), "--warm-up lies between 0 and a day");
    Ok(())
}

/// Says so when the figures are worth nothing.
pub(crate) fn warn_of_debug_build() {
    if cfg!(debug_assertions) {
        eprintln!("This is not a release build: its figures say nothing about speed.");
    }
}
