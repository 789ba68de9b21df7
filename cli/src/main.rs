//! The `duet` command: every role, tool and demo of the Duet row store.

use clap::{Parser, Subcommand, ValueEnum};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Duet, a distributed in-memory row store.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
struct Arguments {
    /// Shape of the log lines on standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
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
    log_to_standard_error(arguments.log_format);
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
fn log_to_standard_error(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
