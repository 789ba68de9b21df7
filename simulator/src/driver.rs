//! `duet sim`: runs seeds and tells what they found.

use crate::choice::FaultChoice;
use crate::crash::{Coverage, crash_points_text};
use crate::plan::{FaultKind, Plan};
use crate::planted::{PLANTED_BUGS, planted_bugs_text};
use crate::run::{Report, run_plan};
use crate::workload::{WORKLOADS, workload};
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::time::Duration;

/// Arguments of `duet sim`.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Number of seeds to run.
    #[arg(long, default_value_t = 10)]
    pub seeds: u64,
    /// First seed.
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// Run this seed only.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    pub seed: Option<u64>,
    /// Print a line with events, acknowledgements, faults and the hash of every seed.
    #[arg(long)]
    pub stats: bool,
    /// Print every event.
    #[arg(long)]
    pub trace: bool,
    /// Plant a bug in the data nodes, to see that it is found.
    #[arg(long, default_value_t = 0, help = planted_bugs_text(),
        value_parser = clap::value_parser!(u32).range(0..=PLANTED_BUGS.len() as i64))]
    pub planted_bug: u32,
    /// Which faults may strike.
    #[arg(long, default_value = "usual", help = faults_text(), value_parser = FaultChoice::parse)]
    pub faults: FaultChoice,
    /// List the crash points.
    #[arg(long)]
    pub crash_points: bool,
    /// What the clients do.
    #[arg(long, default_value = "all", help = workloads_text(), value_parser = workload_names())]
    pub workload: String,
}

/// Output whose reader may have seen enough (`duet sim --stats | head`): the seeds still decide how the run ends.
struct Patient<W>(W);

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Runs the seeds in order up to the first that finds something. Whether none did.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    if arguments.crash_points {
        write!(Patient(std::io::stdout().lock()), "{}", crash_points_text())?;
        return Ok(true);
    }
    let (first, count) = arguments.seed.map_or((arguments.from, arguments.seeds), |seed| (seed, 1));
    let mut out = Patient(std::io::stdout().lock());
    let (mut events, mut acknowledged, mut spent) = (0, 0, Duration::ZERO);
    let mut hash = 0u64;
    let mut sights: BTreeMap<&str, u64> = BTreeMap::new();
    let mut coverage: Option<Coverage> = None;
    for seed in first..first.saturating_add(count) {
        let mut plan = Plan::new(seed, arguments.planted_bug);
        if let Some(workload) = workload(&arguments.workload) {
            (workload.choose)(&mut plan);
        }
        arguments.faults.apply(&mut plan);
        let has_points = !plan.crash_points.is_empty();
        let (report, time) = measured(|| run_plan(plan, arguments.trace));
        events += report.events;
        acknowledged += report.acknowledged;
        spent += time;
        for (name, count) in &report.sights {
            *sights.entry(name).or_default() += count;
        }
        if has_points {
            coverage.get_or_insert_default().add(&report.coverage);
        }
        hash = hash.rotate_left(1) ^ report.hash;
        if arguments.stats {
            print_stats(&mut out, &report, time)?;
        }
        if let Some((violation, recent)) = &report.failure {
            writeln!(out, "\nlast events:\n{recent}\n")?;
            writeln!(out, "seed {seed} violates \"{}\": {}", violation.check, violation.detail)?;
            writeln!(out, "repeat it with: duet sim --seed {seed} --trace{}", choices(arguments))?;
            return Ok(false);
        }
    }
    if arguments.stats {
        let sights: Vec<String> = sights.iter().map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(out, "seen on the way: {}", sights.join(", "))?;
    }
    if let Some(coverage) = coverage {
        writeln!(out, "{}", coverage.describe())?;
    }
    let rate = events as f64 / spent.as_secs_f64().max(1e-9);
    writeln!(
        out,
        "{count} seeds from {first}: nothing found; {events} events, {acknowledged} acknowledged operations, \
         {rate:.0} events/s, hash {hash:016x}"
    )?;
    Ok(true)
}

/// The arguments without which a seed means something else.
fn choices(arguments: &Arguments) -> String {
    let mut text = String::new();
    if arguments.workload != "all" {
        text += &format!(" --workload {}", arguments.workload);
    }
    if arguments.faults != FaultChoice::Usual {
        text += &format!(" --faults {}", arguments.faults.text());
    }
    if arguments.planted_bug != 0 {
        text += &format!(" --planted-bug {}", arguments.planted_bug);
    }
    text
}

fn faults_text() -> String {
    let names: Vec<&str> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
    format!(
        "Which faults may strike: all (each seed draws), none, usual (those that plans draw by themselves), or names separated by \
         commas, which then strike in every seed: {}",
        names.join(", ")
    )
}

fn workload_names() -> PossibleValuesParser {
    PossibleValuesParser::new(WORKLOADS.iter().map(|workload| workload.name))
}

fn workloads_text() -> String {
    let lines = WORKLOADS.iter().map(|workload| format!("{}: {}", workload.name, workload.about));
    format!("What the clients do ({})", lines.collect::<Vec<_>>().join("; "))
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures the simulator itself; nothing of a run depends on it"
)]
fn measured<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    let result = work();
    (result, start.elapsed())
}

fn print_stats(out: &mut impl Write, report: &Report, time: Duration) -> std::io::Result<()> {
    let faults = report.faults;
    writeln!(
        out,
        "seed {:>6}  hash {:016x}  {:>8} events  {:>6} acknowledged  {:>6} writes  {:>6} reads  {:>7.3} s virtual  \
         {:>7.0} events/ms  resets {} pauses {} stalls {} restarts {} kills {} cuts {} removed {} rejoined {} slowed {} wiped {} \
         rolled back {} jumps {} vanished {} crash points {} left {}",
        report.seed,
        report.hash,
        report.events,
        report.acknowledged,
        report.evidence.0,
        report.evidence.1,
        report.virtual_time as f64 / 1e9,
        report.events as f64 / (time.as_secs_f64() * 1e3).max(1e-9),
        faults.resets,
        faults.pauses,
        faults.stalls,
        faults.restarts,
        faults.kills,
        faults.cuts,
        faults.removed,
        faults.rejoined,
        faults.slowed,
        faults.wiped,
        faults.rolled_back,
        faults.jumps,
        faults.vanished,
        faults.crash_points,
        faults.left,
    )
}
