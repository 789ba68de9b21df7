//! The subcommands of `duet bench`.

use crate::cases::CaseRecord;
use crate::features::{self, FeaturesArguments, FeaturesBenchmark};
use crate::floor::{self, FloorServerOptions};
use crate::hot::{self, HotArguments, HotBenchmark};
use crate::keys::{self, KeysArguments};
use crate::latency::{self, LatencyArguments, LatencyRecord};
use crate::memory::{self, MemoryArguments, MemoryRecord};
use crate::options::Say;
use crate::outage::{self, OutageArguments, OutageRecord};
use crate::pipeline::{self, PipelineArguments, PipelineRecord};
use crate::rejoin::{self, RejoinArguments, RejoinBenchmark};
use crate::report::{Results, RunRecord};
use crate::scan::{self, ScanArguments, ScanBenchmark};
use crate::sysbench::{self, SysbenchArguments, SysbenchRecord};
use crate::transactions::{self, TransactionsArguments, TransactionsBenchmark};
use anyhow::Result;
use std::path::PathBuf;

/// Measure speed.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum BenchCommand {
    /// Compare key operations of Duet, a bare yardstick server and other stores.
    Keys(Box<KeysArguments>),
    /// Compare the latency of one synchronous caller with a bare round trip.
    Latency(Box<LatencyArguments>),
    /// Compare thread plans of a data node.
    Pipeline(Box<PipelineArguments>),
    /// Measure arenas and hash indexes by themselves: bytes per row, growth, lookups.
    Memory(Box<MemoryArguments>),
    /// Measure scans that filter and aggregate at the data node.
    Scan(ScanArguments),
    /// Compare transactions of several rows with operations that are committed one by one.
    Transactions(TransactionsArguments),
    /// Measure increments of few rows by many clients.
    Hot(HotArguments),
    /// Measure feature vectors and their ingestion.
    Features(Box<FeaturesArguments>),
    /// Compare SQL with MariaDB by sysbench.
    Sysbench(Box<SysbenchArguments>),
    /// Measure how long keys are not served when something fails, and judge every answer.
    Outage(Box<OutageArguments>),
    /// Measure how long a data node needs that comes back, and what is left for clients meanwhile.
    Rejoin(RejoinArguments),
    /// Render tables and plots of all recorded runs.
    Report(ReportArguments),
    /// Run the bare yardstick server.
    #[command(hide = true)]
    FloorServer(FloorServerOptions),
}

/// Render tables and plots of all recorded runs.
#[derive(Debug, Clone, clap::Args)]
pub struct ReportArguments {
    /// Directory of results.
    #[arg(long, default_value = "bench-results")]
    pub results: PathBuf,
}

/// Runs a subcommand to its end. Call it on the main thread: peers end with the thread that started them.
///
/// # Errors
/// A sentence for the user.
pub fn run(command: &BenchCommand, say: Say<'_>) -> Result<()> {
    match command {
        BenchCommand::Keys(arguments) => keys::run(arguments, say),
        BenchCommand::Latency(arguments) => latency::run(arguments, say),
        BenchCommand::Pipeline(arguments) => pipeline::run(arguments, say),
        BenchCommand::Memory(arguments) => memory::run(arguments, say),
        BenchCommand::Scan(arguments) => scan::run(arguments, say),
        BenchCommand::Transactions(arguments) => transactions::run(arguments, say),
        BenchCommand::Hot(arguments) => hot::run(arguments, say),
        BenchCommand::Features(arguments) => features::run(arguments, say),
        BenchCommand::Sysbench(arguments) => sysbench::run(arguments, say),
        BenchCommand::Outage(arguments) => outage::run(arguments, say),
        BenchCommand::Rejoin(arguments) => rejoin::run(arguments, say),
        BenchCommand::Report(arguments) => {
            let results = Results::new(&arguments.results);
            results.render_tables::<RunRecord>()?;
            results.render_tables::<LatencyRecord>()?;
            results.render_tables::<PipelineRecord>()?;
            results.render_tables::<MemoryRecord>()?;
            results.render_tables::<CaseRecord<ScanBenchmark>>()?;
            results.render_tables::<CaseRecord<TransactionsBenchmark>>()?;
            results.render_tables::<CaseRecord<HotBenchmark>>()?;
            results.render_tables::<CaseRecord<FeaturesBenchmark>>()?;
            results.render_tables::<SysbenchRecord>()?;
            results.render_tables::<OutageRecord>()?;
            results.render_tables::<CaseRecord<RejoinBenchmark>>()?;
            say(format_args!("wrote {}", results.render_report()?.display()))
        }
        BenchCommand::FloorServer(options) => floor::serve(options, say),
    }
}
