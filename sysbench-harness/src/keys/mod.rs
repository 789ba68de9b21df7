//! `duet bench keys`: every target answers the same questions in alternating rounds.

mod arguments;

pub use arguments::KeysArguments;

use crate::cpu::CpuList;
use crate::driver::{Measurement, drive};
use crate::duet::DuetTarget;
use crate::floor::{EchoResult, FloorTarget, measure_echo};
use crate::peer::PeerTarget;
use crate::report::{
    MachineFacts, Results, RoundResult, RunRecord, SCHEMA_VERSION, TargetResult, git_revision,
    render_targets, utc_time,
};
use crate::target::KeyTarget;
use crate::workload::{KeyChooser, Workload};
use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::net::SocketAddr;
use std::path::Path;

const ECHO_ROUND_TRIPS: u64 = 20_000;

/// The targets of a run; dropped, they end.
struct Targets {
    all: Vec<Box<dyn KeyTarget>>,
    /// Where the yardstick server sends back what it gets.
    echo: Option<SocketAddr>,
}

/// Runs the benchmark and prints its table.
///
/// # Errors
/// A target could not be started, failed, or gave a wrong answer; results that cannot be written.
pub fn run(arguments: &KeysArguments) -> Result<()> {
    let workload = arguments.workload()?;
    arguments.check()?;
    let (server_cpus, client_cpus) = arguments.placement()?;
    if cfg!(debug_assertions) {
        eprintln!("This is not a release build: its figures say nothing about speed.");
    }
    let began = utc_time();
    let scratch = tempfile::Builder::new().prefix("duet-bench-").tempdir();
    let scratch = scratch.context("cannot create a scratch directory")?;
    let mut targets = start_targets(arguments, &workload, server_cpus.as_ref(), scratch.path())?;
    // Threads of the generator inherit the CPUs.
    let mut generate = || run_rounds(arguments, &workload, &mut targets);
    let (rounds, echo) = match &client_cpus {
        Some(cpus) => cpus.inherited_by(generate)?,
        None => generate(),
    }?;
    let run = RunRecord {
        schema: SCHEMA_VERSION,
        benchmark: "keys".to_owned(),
        time: began,
        revision: git_revision(),
        build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        machine: MachineFacts::read(),
        parameters: arguments.parameters(&workload, server_cpus.as_ref(), client_cpus.as_ref()),
        echo,
        targets: target_results(&targets.all, rounds),
    };
    println!("{}", render_targets(&run));
    if let Some(directory) = arguments.results_directory() {
        let results = Results::new(directory);
        results.add(&run)?;
        println!("added to {}", results.lines().display());
    }
    Ok(())
}

/// Starts what was asked for: Duet first, which all ratios refer to, then the yardstick, then the peers.
fn start_targets(
    arguments: &KeysArguments,
    workload: &Workload,
    cpus: Option<&CpuList>,
    directory: &Path,
) -> Result<Targets> {
    let mut all: Vec<Box<dyn KeyTarget>> = Vec::new();
    let mut echo = None;
    // A missing peer should be known before anything large is started.
    arguments.peers.iter().try_for_each(|peer| peer.require())?;
    if !arguments.no_duet {
        all.push(Box::new(DuetTarget::start(arguments.cluster()?, workload, cpus)?));
    }
    if arguments.floor {
        let floor = FloorTarget::start(&arguments.floor_command()?, workload, cpus, directory)?;
        echo = Some(floor.echo_address());
        all.push(Box::new(floor));
    }
    for peer in &arguments.peers {
        all.push(Box::new(PeerTarget::start(*peer, workload, cpus, directory)?));
    }
    ensure!(!all.is_empty(), "nothing to measure: choose --floor or --peer beside --no-duet");
    Ok(Targets { all, echo })
}

/// The rounds of every target, in the order of the targets, and the bare round trip.
fn run_rounds(
    arguments: &KeysArguments,
    workload: &Workload,
    targets: &mut Targets,
) -> Result<(Vec<Vec<RoundResult>>, Option<EchoResult>)> {
    let echo = targets.echo.map(|address| measure_echo(address, ECHO_ROUND_TRIPS)).transpose()?;
    for target in &mut targets.all {
        let name = format!("{} loads", target.name());
        let bar = progress_bar(&name, workload.rows);
        target.load(workload, &mut |rows| bar.set_position(rows)).context(name)?;
        bar.finish_and_clear();
    }
    let chooser = KeyChooser::new(workload.distribution, workload.rows);
    let plan = arguments.plan();
    let mut results: Vec<Vec<RoundResult>> = targets.all.iter().map(|_| Vec::new()).collect();
    for round in 1..=arguments.rounds {
        for (target, results) in targets.all.iter().zip(&mut results) {
            let name = format!("{} round {round}/{}", target.name(), arguments.rounds);
            let bar = progress_bar(&name, 1000);
            let show = &mut |share: f64| bar.set_position((share * 1000.0) as u64);
            let measurement =
                drive(target.as_ref(), workload, chooser, &plan, show).with_context(|| name.clone())?;
            bar.finish_and_clear();
            check_answers(&name, &measurement)?;
            results.push(RoundResult::from(&measurement));
        }
    }
    Ok((results, echo))
}

/// A figure is worth nothing if the answers were wrong.
pub(crate) fn check_answers(name: &str, measurement: &Measurement) -> Result<()> {
    let answers = &measurement.answers;
    if answers.bad() > 0 {
        bail!(
            "{name}: of {} operations {} gave a wrong value, {} found no row, {} were refused, {} had no proper answer; the first: {}",
            measurement.operations,
            answers.wrong,
            answers.missing,
            answers.refused,
            answers.unanswered,
            answers.first_complaint.as_deref().unwrap_or("unknown"),
        );
    }
    ensure!(measurement.operations > 0, "{name}: not one operation was answered in the time");
    Ok(())
}

fn target_results(targets: &[Box<dyn KeyTarget>], rounds: Vec<Vec<RoundResult>>) -> Vec<TargetResult> {
    let results = targets.iter().zip(rounds).map(|(target, rounds)| TargetResult {
        name: target.name().to_owned(),
        version: target.version().to_owned(),
        median: RoundResult::median_of(&rounds),
        rounds,
    });
    results.collect()
}

/// A bar that is drawn rarely, so that drawing costs the generator nothing; not drawn at all without a terminal.
pub(crate) fn progress_bar(name: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(4));
    if let Ok(style) = ProgressStyle::with_template("{msg:22} {wide_bar} {percent:>3} % {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(name.to_owned());
    bar
}
