//! `duet bench latency`: one synchronous caller with one operation in flight; a bare round trip, reads and updates in
//! alternating rounds, without and with idling before each operation.

mod arguments;
mod figures;
mod record;
mod table;

pub use arguments::LatencyArguments;
pub use record::{Action, CaseResult, CaseRound, LATENCY_SCHEMA_VERSION, LatencyParameters, LatencyRecord};

use crate::connection::Links;
use crate::driver::latency_histogram;
use crate::duet::DuetTarget;
use crate::floor::{EchoClient, FloorTarget};
use crate::keys::progress_bar;
use crate::options::{Say, warn_of_debug_build};
use crate::report::{LatencySummary, Results, RunHead};
use crate::target::{KeyTarget, KeyWorker, ResultBuffers};
use crate::workload::{KeyChooser, Mix, Operation, OperationStream, Workload};
use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use std::ffi::OsString;
use std::time::{Duration, Instant};

const DATA_NODES: u32 = 2;
const REPLICAS: u32 = 2;

/// Runs the benchmark and prints its table.
///
/// # Errors
/// A server could not be started, failed, or gave a wrong answer; results that cannot be written.
pub fn run(arguments: &LatencyArguments, say: Say<'_>) -> Result<()> {
    arguments.check()?;
    let reads = arguments.workload(Mix::READS);
    let placement = arguments.run.placement()?;
    warn_of_debug_build();
    let head = RunHead::begin("latency", LATENCY_SCHEMA_VERSION);
    let scratch = tempfile::Builder::new().prefix("duet-bench-").tempdir();
    let scratch = scratch.context("cannot create a scratch directory")?;
    let servers = placement.servers.as_ref();
    let cluster = arguments.run.cluster(DATA_NODES, REPLICAS, Links::Tcp)?;
    let mut duet = DuetTarget::start(cluster, &reads, servers)?;
    let floor_command: Vec<OsString> =
        vec![arguments.run.executable()?.into(), "bench".into(), "floor-server".into()];
    let mut floor = FloorTarget::start(&floor_command, &reads, servers, scratch.path(), Links::Tcp)?;
    let cases = placement.generate(|| {
        for target in [&mut duet as &mut dyn KeyTarget, &mut floor] {
            let name = format!("{} loads", target.name());
            let bar = progress_bar(&name, reads.rows);
            target.load(&reads, &mut |rows| bar.set_position(rows)).context(name)?;
            bar.finish_and_clear();
        }
        measure(arguments, &duet, &floor)
    })?;
    let figures = figures::figures(&cases);
    let run = LatencyRecord { head, parameters: arguments.parameters(&placement), cases, figures };
    say(format_args!("{}", table::render_terminal(&run)))?;
    if let Some(directory) = arguments.run.record.directory() {
        let results = Results::new(directory);
        results.add(&run)?;
        say(format_args!("added to {}", results.lines::<LatencyRecord>().display()))?;
    }
    Ok(())
}

/// Measures every action without and with idling, in rounds.
fn measure(arguments: &LatencyArguments, duet: &DuetTarget, floor: &FloorTarget) -> Result<Vec<CaseResult>> {
    let reads = arguments.workload(Mix::READS);
    let updates = arguments.workload(Mix::UPDATES);
    let keyed = |target: &dyn KeyTarget, workload: &Workload| -> Result<Box<dyn Synchronous>> {
        let chooser = KeyChooser::new(workload.distribution, workload.rows);
        Ok(Box::new(KeyedCaller {
            worker: target.worker(workload, 1)?,
            stream: OperationStream::new(workload, chooser, 0),
            batch: Vec::with_capacity(1),
            buffers: ResultBuffers::new(workload.shape.value_bytes(), arguments.run.verify),
        }))
    };
    let mut subjects = Vec::new();
    for action in Action::ALL {
        let caller = match action {
            Action::Echo => Box::new(EchoClient::connect(floor.echo_address())?),
            Action::FloorRead => keyed(floor, &reads)?,
            Action::Read => keyed(duet, &reads)?,
            Action::Update => keyed(duet, &updates)?,
        };
        let rounds = [Vec::new(), Vec::new()];
        subjects.push(Subject { action, caller, latencies: latency_histogram(), rounds });
    }
    for round in 1..=arguments.run.rounds {
        for after_idling in [false, true] {
            for subject in &mut subjects {
                let name = format!("{} round {round}/{}", subject.action.name(), arguments.run.rounds);
                subject.run_round(arguments, after_idling).context(name)?;
            }
        }
    }
    let results = [false, true].into_iter().flat_map(|after_idling| {
        subjects.iter().map(move |subject| {
            let rounds = subject.rounds[usize::from(after_idling)].clone();
            CaseResult { action: subject.action, after_idling, median: CaseRound::median_of(&rounds), rounds }
        })
    });
    Ok(results.collect())
}

/// Somebody who does one thing at a time.
trait Synchronous {
    /// Chooses what is done next, which takes no part in the latency.
    fn prepare(&mut self) {}

    /// Does it, and returns when it is answered.
    fn call(&mut self) -> Result<()>;

    /// Checks the answers since the last time.
    fn check(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Synchronous for EchoClient {
    fn call(&mut self) -> Result<()> {
        self.round_trip()
    }
}

struct KeyedCaller {
    worker: Box<dyn KeyWorker>,
    stream: OperationStream,
    batch: Vec<Operation>,
    buffers: ResultBuffers,
}

impl Synchronous for KeyedCaller {
    fn prepare(&mut self) {
        self.stream.fill(&mut self.batch, 1);
    }

    fn call(&mut self) -> Result<()> {
        let mut results = self.buffers.start(&self.batch);
        self.worker.execute(&self.batch, &mut results)?;
        results.finish();
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        match self.buffers.take_counts() {
            counts if counts.bad() == 0 => Ok(()),
            counts => bail!(
                "{} operations without a proper answer; the first: {}",
                counts.bad(),
                counts.first_complaint.unwrap_or_default()
            ),
        }
    }
}

/// An action, who does it, and its rounds: without, and with idling before each.
struct Subject {
    action: Action,
    caller: Box<dyn Synchronous>,
    latencies: Histogram<u64>,
    rounds: [Vec<CaseRound>; 2],
}

impl Subject {
    fn run_round(&mut self, arguments: &LatencyArguments, after_idling: bool) -> Result<()> {
        let idle = after_idling.then(|| arguments.idle());
        self.call_for(Duration::from_secs_f64(arguments.warm_up), idle)?;
        self.latencies.reset();
        self.call_for(Duration::from_secs_f64(arguments.seconds), idle)?;
        self.caller.check()?;
        self.rounds[usize::from(after_idling)].push(CaseRound {
            operations: self.latencies.len(),
            latency_ns: LatencySummary::of(&self.latencies),
        });
        Ok(())
    }

    /// Calls for a time, at least once.
    fn call_for(&mut self, time: Duration, idle: Option<Duration>) -> Result<()> {
        let begin = Instant::now();
        loop {
            self.caller.prepare();
            if let Some(idle) = idle {
                std::thread::sleep(idle);
            }
            let call = Instant::now();
            self.caller.call()?;
            let answered = Instant::now();
            self.latencies.saturating_record((answered - call).as_nanos() as u64);
            if answered - begin >= time {
                return Ok(());
            }
        }
    }
}
