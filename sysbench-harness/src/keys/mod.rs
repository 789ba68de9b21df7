//! `duet bench keys`: every target answers the same questions in alternating rounds.

mod arguments;
mod figures;
mod variant;

pub use arguments::KeysArguments;
pub use variant::Variant;

use crate::cpu::CpuList;
use crate::driver::{Measurement, Plan, drive};
use crate::duet::DuetTarget;
use crate::floor::{EchoResult, FloorTarget, measure_echo};
use crate::options::{Say, warn_of_debug_build};
use crate::peer::PeerTarget;
use crate::report::{Results, RoundResult, RunHead, RunRecord, SCHEMA_VERSION, TargetResult, render_targets};
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

/// Rounds of every target and variant, variants of a target one after the other, and the bare round trip.
type Rounds = (Vec<Vec<RoundResult>>, Option<EchoResult>);

/// Runs the benchmark and prints its table.
///
/// # Errors
/// A target could not be started, failed, or gave a wrong answer; results that cannot be written.
pub fn run(arguments: &KeysArguments, say: Say<'_>) -> Result<()> {
    let workload = arguments.workload()?;
    arguments.check()?;
    let placement = arguments.run.placement()?;
    warn_of_debug_build();
    let head = RunHead::begin("keys", SCHEMA_VERSION);
    let scratch = tempfile::Builder::new().prefix("duet-bench-").tempdir();
    let scratch = scratch.context("cannot create a scratch directory")?;
    let mut targets = start_targets(arguments, &workload, placement.servers.as_ref(), scratch.path())?;
    let (rounds, echo) = placement.generate(|| run_rounds(arguments, &workload, &mut targets))?;
    let parameters = arguments.parameters(&workload, &placement);
    let targets = target_results(&targets.all, &arguments.variants(), rounds);
    let figures = figures::figures(&parameters, &targets);
    let run = RunRecord { head, parameters, echo, targets, figures };
    say(format_args!("{}", render_targets(&run)))?;
    if let Some(directory) = arguments.run.record.directory() {
        let results = Results::new(directory);
        results.add(&run)?;
        say(format_args!("added to {}", results.lines::<RunRecord>().display()))?;
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
        let floor =
            FloorTarget::start(&arguments.floor_command()?, workload, cpus, directory, arguments.links)?;
        echo = Some(floor.echo_address());
        all.push(Box::new(floor));
    }
    for peer in &arguments.peers {
        all.push(Box::new(PeerTarget::start(*peer, workload, cpus, directory, arguments.links)?));
    }
    ensure!(!all.is_empty(), "nothing to measure: choose --floor or --peer beside --no-duet");
    Ok(Targets { all, echo })
}

/// Loads the targets and measures them in turn, each in all variants.
fn run_rounds(arguments: &KeysArguments, workload: &Workload, targets: &mut Targets) -> Result<Rounds> {
    let echo = targets.echo.map(|address| measure_echo(address, ECHO_ROUND_TRIPS)).transpose()?;
    for target in &mut targets.all {
        let name = format!("{} loads", target.name());
        let bar = progress_bar(&name, workload.rows);
        target.load(workload, &mut |rows| bar.set_position(rows)).context(name)?;
        bar.finish_and_clear();
    }
    let variants = arguments.variants();
    let choosers: Vec<KeyChooser> =
        variants.iter().map(|variant| KeyChooser::new(variant.keys, workload.rows)).collect();
    let base = arguments.plan();
    let mut results = vec![Vec::new(); targets.all.len() * variants.len()];
    for round in 1..=arguments.run.rounds {
        for (target, results) in targets.all.iter().zip(results.chunks_mut(variants.len())) {
            let mut rate = 0.0;
            for ((variant, chooser), results) in variants.iter().zip(&choosers).zip(results) {
                let label = variant.label(&variants).map(|label| format!(", {label}")).unwrap_or_default();
                let name = format!("{}{label} round {round}/{}", target.name(), arguments.run.rounds);
                let plan = variant.plan(&base, rate);
                let result = run_round(target.as_ref(), workload, *chooser, &plan, &name)?;
                rate = result.operations_per_second;
                results.push(result);
            }
        }
    }
    Ok((results, echo))
}

fn run_round(
    target: &dyn KeyTarget,
    workload: &Workload,
    chooser: KeyChooser,
    plan: &Plan,
    name: &str,
) -> Result<RoundResult> {
    let bar = progress_bar(name, 1000);
    let show = &mut |share: f64| bar.set_position((share * 1000.0) as u64);
    let measurement = drive(target, workload, chooser, plan, show).with_context(|| name.to_owned())?;
    bar.finish_and_clear();
    check_answers(name, &measurement)?;
    Ok(RoundResult::from(&measurement))
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

fn target_results(
    targets: &[Box<dyn KeyTarget>],
    variants: &[Variant],
    rounds: Vec<Vec<RoundResult>>,
) -> Vec<TargetResult> {
    let asked = targets.iter().flat_map(|target| variants.iter().map(move |variant| (target, variant)));
    let results = asked.zip(rounds).map(|((target, variant), rounds)| TargetResult {
        name: target.name().to_owned(),
        version: target.version().to_owned(),
        variant: variant.label(variants),
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
