//! The subcommands of `duet bench`.

use crate::floor::{self, FloorServerOptions};
use crate::keys::{self, KeysArguments};
use crate::pipeline::{self, PipelineArguments};
use crate::report::Results;
use anyhow::Result;
use std::path::PathBuf;

/// Measure speed.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum BenchCommand {
    /// Compare key operations of Duet, a bare yardstick server and other stores.
    Keys(Box<KeysArguments>),
    /// Compare thread plans of a data node.
    Pipeline(Box<PipelineArguments>),
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
pub fn run(command: &BenchCommand) -> Result<()> {
    match command {
        BenchCommand::Keys(arguments) => keys::run(arguments),
        BenchCommand::Pipeline(arguments) => pipeline::run(arguments),
        BenchCommand::Report(arguments) => {
            pipeline::render(&arguments.results)?;
            let report = Results::new(&arguments.results).render()?;
            println!("wrote {}", report.display());
            Ok(())
        }
        BenchCommand::FloorServer(options) => floor::serve(*options),
    }
}
