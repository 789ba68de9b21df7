//! The `duet` command: every role, tool and demo of the Duet row store.

use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Duet, a distributed in-memory row store.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a management node: decides who may serve, keeps the dictionary
    Mgmd(duet_mgmd::Arguments),
    /// Run a data node: serves partitions from memory
    Datanode(duet_datanode::Arguments),
    /// Measure speed, beside other stores on the same machine
    #[command(subcommand)]
    Bench(duet_bench::BenchCommand),
    /// Simulate clusters with faults from seeds, and check what clients see
    Sim(duet_simulator::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_standard_error();
    let result = match arguments.command {
        Command::Mgmd(arguments) => duet_mgmd::run(arguments),
        Command::Datanode(arguments) => duet_datanode::run(&arguments),
        Command::Bench(command) => duet_bench::run(&command),
        Command::Sim(arguments) => match duet_simulator::run(&arguments) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("duet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Structured logs on standard error; `RUST_LOG` chooses what, warnings and news of the roles by default.
fn log_to_standard_error() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
