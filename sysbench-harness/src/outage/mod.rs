//! `duet bench outage`: clusters of real processes are struck by faults while clients probe keys every millisecond. Each run
//! tells how long a client's key was not served, and every answer is judged: no acknowledged increment may be lost, none may
//! happen twice, no read may be stale.
//!
//! | part | |
//! |---|---|
//! | `fault.rs` | what strikes, and what is asked of the outage |
//! | `strike.rs` | one run: strike, wait, heal, come back |
//! | `probe.rs` | clients, gaps, and the history that is judged |
//! | `stage.rs` | the cluster that is struck |
//! | `namespaces.rs` | a host of its own for every process, and what happens to its packets |
//! | `relay.rs` | connections through which everything comes late |

mod arguments;
mod fault;
mod namespaces;
mod probe;
mod record;
mod relay;
mod stage;
mod strike;
mod table;

pub use arguments::OutageArguments;
pub use fault::Fault;
pub use namespaces::why_impossible;
pub use record::{FaultResult, OUTAGE_SCHEMA_VERSION, OutageParameters, OutageRecord};
pub(crate) use stage::{is_whole, members};

use crate::keys::progress_bar;
use crate::options::{Say, warn_of_debug_build};
use crate::report::{Results, RunHead};
use anyhow::{Context, Result};
use namespaces::Network;
use stage::Stage;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};

/// Strikes as often as asked and prints the table.
///
/// # Errors
/// A wrong answer; a cluster that did not start, or did not become whole again; results that cannot be written.
pub fn run(arguments: &OutageArguments, say: Say<'_>) -> Result<()> {
    arguments.check()?;
    let wanted = arguments.wanted();
    let mut impossible = None;
    if wanted.iter().any(|fault| fault.needs_network()) && !arguments.in_namespace {
        impossible = why_impossible();
        if impossible.is_none() {
            match namespaces::enter("--in-namespace")? {}
        }
    }
    warn_of_debug_build();
    let head = RunHead::begin("outage", OUTAGE_SCHEMA_VERSION);
    let scratch = tempfile::Builder::new().prefix("duet-outage-").tempdir();
    let scratch = scratch.context("cannot create a scratch directory")?;
    let network = match arguments.in_namespace {
        true => Some(Network::new(stage::DATA_NODES, arguments.management_nodes, scratch.path())?),
        false => None,
    };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = Arc::new(runtime.context("cannot start a runtime")?);
    let mut faults = Vec::new();
    for fault in wanted {
        match &impossible {
            Some(why) if fault.needs_network() => {
                say(format_args!("{} is skipped: {why}", fault.name()))?;
                faults.push(FaultResult { skipped: Some(why.clone()), ..FaultResult::new(fault) });
            }
            _ => faults.push(strike_often(arguments, fault, network.as_ref(), &runtime, scratch.path())?),
        }
    }
    let figures = faults.iter().flat_map(FaultResult::figures).collect();
    let run = OutageRecord { head, parameters: parameters(arguments), faults, figures };
    say(format_args!("{}", table::render_terminal(&run)))?;
    if let Some(directory) = arguments.record.directory() {
        let results = Results::new(directory);
        results.add(&run)?;
        say(format_args!("added to {}", results.lines::<OutageRecord>().display()))?;
    }
    Ok(())
}

/// All runs of one fault, against one cluster.
fn strike_often(
    arguments: &OutageArguments,
    fault: Fault,
    network: Option<&Network>,
    runtime: &Arc<Runtime>,
    scratch: &Path,
) -> Result<FaultResult> {
    let begin = Instant::now();
    let runs = if fault == Fault::Busy { 1 } else { arguments.runs };
    let bar = progress_bar(fault.name(), runs.into());
    let mut result = FaultResult::new(fault);
    let mut stage = Stage::start(arguments, fault, network, runtime, scratch).context(fault.name())?;
    for run in 1..=runs {
        let outcome = strike::strike(arguments, &mut stage, network, fault, run, scratch);
        result.add(outcome.with_context(|| format!("{}, run {run}", fault.name()))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    result.seconds = (begin.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    result.load = load();
    Ok(result)
}

fn parameters(arguments: &OutageArguments) -> OutageParameters {
    OutageParameters {
        management_nodes: arguments.management_nodes,
        keys: arguments.keys,
        interval_ms: probe::INTERVAL.as_secs_f64() * 1e3,
        fault_seconds: arguments.fault_seconds,
        loss_percent: arguments.loss_percent,
        delay_ms: arguments.delay_ms,
        jitter_ms: arguments.jitter_ms,
        busy_seconds: arguments.busy_seconds,
    }
}

/// Processes that want to run, as the mean of a minute; 0 if the system does not tell.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}
