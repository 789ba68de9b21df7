//! Command line, logs and exit codes.

use crate::{admin, demo, features, import, output, shell};
use clap::{Parser, Subcommand, ValueEnum};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{self, ExitCode};
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
        Command::Mgmd(arguments) => duet_mgmd::run(*arguments).and_then(end_or_start_again),
        Command::Datanode(arguments) => duet_datanode::run(&arguments).and_then(end_or_start_again),
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

/// A server has ended: it starts again where it was told to, as the program and with the arguments that it was started with, and listens
/// where it listened, on its address for metrics last.
fn end_or_start_again(again: Option<(SocketAddr, Option<SocketAddr>)>) -> anyhow::Result<ExitCode> {
    let Some((listen, metrics)) = again else { return Ok(ExitCode::SUCCESS) };
    let mut words: VecDeque<OsString> = std::env::args_os().collect();
    let program = words.pop_front().unwrap_or_default();
    let words = listen_again(words.into(), "--listen", Some(listen));
    let words = listen_again(words, "--metrics", metrics);
    let start = |program: &OsStr| process::Command::new(program).args(&words).exec();
    let error = start(&program);
    tracing::warn!("{} cannot be started again ({error}): the same program goes on", program.display());
    Err(anyhow::Error::new(start(OsStr::new("/proc/self/exe"))).context("cannot start again"))
}

/// The words of a command line with this value of an option.
fn listen_again(words: Vec<OsString>, option: &str, address: Option<SocketAddr>) -> Vec<OsString> {
    let Some(address) = address else { return words };
    let joined = format!("{option}=");
    let mut others = Vec::new();
    let mut is_value = false;
    for word in words {
        let is_option = word == option;
        if !is_value && !is_option && !word.to_string_lossy().starts_with(&joined) {
            others.push(word);
        }
        is_value = is_option;
    }
    others.extend([OsString::from(option), OsString::from(address.to_string())]);
    others
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_listens_where_it_listened() {
        let address = Some(SocketAddr::from(([127, 0, 0, 1], 4567)));
        let again = |line: &str, option| {
            let words = line.split_whitespace().map(OsString::from).collect();
            let words = listen_again(words, option, address);
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        let expected = "datanode --node-id 1 --listen 127.0.0.1:4567";
        assert_eq!(again("datanode --node-id 1", "--listen"), expected);
        assert_eq!(again("datanode --listen 127.0.0.1:0 --node-id 1", "--listen"), expected);
        assert_eq!(again("datanode --listen=127.0.0.1:0 --node-id 1", "--listen"), expected);
        assert_eq!(listen_again(vec!["mgmd".into()], "--metrics", None), ["mgmd"]);
    }
}
