//! Command line, logs and exit codes.

use crate::{admin, demo, features, import, output, shell};
use clap::{Parser, Subcommand, ValueEnum};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Exit code of an import that left rows out.
const ROWS_LEFT_OUT: u8 = 3;

/// Duet, a distributed in-memory row store: two synchronous replicas of every row, look-ups by primary key in
/// microseconds.
///
/// `duet demo` starts a whole cluster on this machine and loads real data. Exit codes: 0 done, 1 an error, which is one sentence on
/// standard error, 2 a wrong command line, 3 an import that left rows out.
#[derive(Parser)]
#[command(name = "duet", version, propagate_version = true)]
struct Arguments {
    /// Shape of the log lines on standard error; RUST_LOG chooses what is logged
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
    /// Start a two-replica cluster on this machine, load all flights of a year, verify and measure
    Demo(demo::Arguments),
    /// Load a Parquet, Arrow or CSV file into a table
    ///
    /// Every row is an upsert: a row of the table with the same key is replaced, so that an import can be repeated.
    /// Of rows of the file with the same key the first one counts; the others are reported as left out.
    Import(Box<import::Arguments>),
    /// Type SQL, or execute it from -e, a file or a pipe, by way of a gateway
    Shell(Box<shell::Arguments>),
    /// Look at a cluster and its tables, and say who may come in
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// Run a management node: decides who may serve, keeps the dictionary
    Mgmd(Box<duet_mgmd::Arguments>),
    /// Run a data node: serves partitions from memory
    Datanode(Box<duet_datanode::Arguments>),
    /// Serve feature vectors over HTTP, and load feature groups
    Features(Box<features::Arguments>),
    /// Measure speed, beside other stores on the same machine
    #[command(subcommand)]
    Bench(duet_bench::BenchCommand),
    /// Simulate clusters with faults from seeds, and check what clients see
    Sim(duet_simulator::Arguments),
}

impl Command {
    /// What is logged unless `RUST_LOG` says otherwise: servers tell their news, tools print theirs themselves.
    fn default_filter(&self) -> &'static str {
        match self {
            Command::Mgmd(_) | Command::Datanode(_) => "info",
            Command::Features(arguments) => arguments.default_filter(),
            Command::Demo(_)
            | Command::Import(_)
            | Command::Admin(_)
            | Command::Shell(_)
            | Command::Bench(_)
            | Command::Sim(_) => "warn",
        }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_standard_error(arguments.log_format, arguments.command.default_filter());
    let done = |()| ExitCode::SUCCESS;
    let result = match arguments.command {
        Command::Demo(arguments) => demo::run(&arguments).map(done),
        Command::Import(arguments) => import::run(&arguments).map(|complete| match complete {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(ROWS_LEFT_OUT),
        }),
        Command::Shell(arguments) => shell::run(&arguments).map(done),
        Command::Admin(command) => admin::run(&command).map(done),
        Command::Mgmd(arguments) => duet_mgmd::run(*arguments).map(done),
        Command::Datanode(arguments) => duet_datanode::run(&arguments).map(done),
        Command::Features(arguments) => features::run(&arguments).map(|complete| match complete {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(ROWS_LEFT_OUT),
        }),
        Command::Bench(command) => duet_bench::run(&command, &output::say).map(done),
        Command::Sim(arguments) => duet_simulator::run(&arguments).map(|clean| match clean {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }),
    };
    result.unwrap_or_else(|error| {
        eprintln!("duet: {error:#}");
        ExitCode::FAILURE
    })
}

fn log_to_standard_error(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
