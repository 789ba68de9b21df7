//! One run: a fault strikes, is healed, and the cluster becomes whole again, under probes all the time.

use super::arguments::OutageArguments;
use super::fault::Fault;
use super::namespaces::{Network, Rules};
use super::probe::{Phase, Probes, Seen};
use super::stage::{DATA_NODES, SOON, Stage, leading_management_node, members};
use crate::local_cluster::LocalNode;
use crate::process::{ManagedProcess, ParentDeath, ProcessError};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Answers of every probe before the fault.
const ANSWERS_BEFORE: u64 = 100;
/// Answers of every probe after the view has changed, and after the cluster has become whole.
const ANSWERS_AFTER: u64 = 50;

/// What a run has shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    /// Longest gap between answers to the probes of any key, from the fault on.
    pub(super) outage: Duration,
    pub(super) reads: Duration,
    pub(super) writes: Duration,
    /// The same while the node comes back.
    pub(super) back: Duration,
    /// Longest gap before the fault: what the machine itself does.
    pub(super) before: Duration,
    /// From the start of the processes that had ended until the cluster was whole.
    pub(super) rejoin: Option<Duration>,
    /// Probes that were answered.
    pub(super) answered: u64,
    /// Nodes that were removed, those that joined again included.
    pub(super) removed: u32,
    /// Errors that clients were told, by name.
    pub(super) errors: BTreeMap<String, u64>,
}

/// Strikes the cluster once, in a run of this number.
pub(super) fn strike(
    arguments: &OutageArguments,
    stage: &mut Stage,
    network: Option<&Network>,
    fault: Fault,
    run: u32,
    scratch: &Path,
) -> Result<Outcome> {
    stage.make_whole()?;
    let probes = stage.probes()?;
    let struck = Strike { arguments, network, fault, run, scratch }.play(stage, &probes);
    // A wrong answer says more than what came of it.
    let seen = stage.judge(probes);
    match (struck, seen) {
        (Ok((removed, rejoin)), Ok(seen)) => Ok(outcome(seen, removed, rejoin)),
        (Err(error), Err(unread)) if !format!("{unread:#}").contains("wrong answer") => Err(error),
        (_, Err(wrong)) => Err(wrong),
        (Err(error), Ok(_)) => Err(error),
    }
}

fn outcome(seen: Seen, removed: u32, rejoin: Option<Duration>) -> Outcome {
    Outcome {
        outage: seen.longest(Phase::Fault),
        reads: seen.reads.of(Phase::Fault),
        writes: seen.writes.of(Phase::Fault),
        back: seen.longest(Phase::Return),
        before: seen.longest(Phase::Before),
        rejoin,
        answered: seen.answered,
        removed,
        errors: seen.errors,
    }
}

/// Signals a node, unless it has ended: on a machine that is too busy it may have been removed a moment before.
fn if_alive(
    node: &mut LocalNode,
    signal: impl FnOnce(&mut LocalNode) -> Result<(), ProcessError>,
) -> Result<(), ProcessError> {
    if node.is_running() { signal(node) } else { Ok(()) }
}

struct Strike<'a> {
    arguments: &'a OutageArguments,
    network: Option<&'a Network>,
    fault: Fault,
    run: u32,
    scratch: &'a Path,
}

impl Strike<'_> {
    /// How many nodes were removed, and how long those that had ended needed to come back.
    fn play(&self, stage: &mut Stage, probes: &Probes) -> Result<(u32, Option<Duration>)> {
        let victim = self.run % DATA_NODES + 1;
        let status = stage.status()?;
        let leader = leading_management_node(&status);
        probes.wait_answered(ANSWERS_BEFORE)?;
        probes.enter(Phase::Fault);
        match self.fault {
            Fault::Kill => if_alive(stage.cluster.data_node(victim)?, LocalNode::strike)?,
            Fault::KillWithLeader => {
                let leader = leader.context("no management node leads")?;
                if_alive(stage.cluster.management_node(leader)?, LocalNode::strike)?;
                if_alive(stage.cluster.data_node(victim)?, LocalNode::strike)?;
            }
            Fault::Stop => if_alive(stage.cluster.data_node(victim)?, LocalNode::pause)?,
            Fault::Cut | Fault::CutBetween | Fault::OneWayCut | Fault::Loss | Fault::Reject => {
                self.network()?.set_rules(victim, self.rules(victim)?)?;
            }
            Fault::Delay => {
                let milliseconds = |number: u32| Duration::from_millis(number.into());
                let (delay, jitter) = (self.arguments.delay_ms, self.arguments.jitter_ms);
                stage.lateness.set(milliseconds(delay), milliseconds(jitter));
            }
            Fault::Busy => {}
        }
        if self.fault.removes() {
            stage.wait_for("a node is removed", |status| members(status).count() < DATA_NODES as usize)?;
        } else {
            self.let_it_last(stage)?;
        }
        match self.fault {
            Fault::Loss => self.network()?.heal()?,
            Fault::Delay => stage.lateness.set(Duration::ZERO, Duration::ZERO),
            _ => {}
        }
        probes.wait_answered(ANSWERS_AFTER)?;
        probes.enter(Phase::Return);
        match self.fault {
            Fault::Stop => if_alive(stage.cluster.data_node(victim)?, LocalNode::resume)?,
            Fault::Cut | Fault::CutBetween | Fault::OneWayCut | Fault::Reject => self.network()?.heal()?,
            Fault::KillWithLeader => {
                stage.cluster.restart_management_node(leader.context("no management node leads")?)?;
            }
            Fault::Kill | Fault::Loss | Fault::Delay | Fault::Busy => {}
        }
        let (removed, rejoin) = self.bring_back(stage)?;
        probes.wait_answered(ANSWERS_AFTER)?;
        Ok((removed, rejoin))
    }

    fn network(&self) -> Result<&Network> {
        self.network.context("packets are dropped in network namespaces only")
    }

    fn rules(&self, victim: u32) -> Result<Rules> {
        let peer = self.network()?.address(DATA_NODES + 1 - victim)?;
        Ok(match self.fault {
            Fault::CutBetween => Rules::DropPeer { peer },
            Fault::OneWayCut => Rules::DropTo { peer },
            Fault::Loss => Rules::Lose { percent: self.arguments.loss_percent },
            Fault::Reject => Rules::Reset { peer },
            _ => Rules::Drop,
        })
    }

    /// Waits while a fault lasts that need not remove anybody.
    fn let_it_last(&self, stage: &mut Stage) -> Result<()> {
        let mut busy = Vec::new();
        let seconds = match self.fault {
            Fault::Busy => {
                let cpus = std::thread::available_parallelism().map_or(1, usize::from) as u32;
                let script = ["sh", "-c", "while :; do :; done"];
                let log = self.scratch.join("busy.log");
                for _ in 0..self.arguments.busy_processes.unwrap_or(cpus) {
                    let death = ParentDeath::KernelSignal;
                    busy.push(ManagedProcess::start("a busy process", &script, death, None, &log)?);
                }
                self.arguments.busy_seconds
            }
            _ => self.arguments.fault_seconds,
        };
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50).min(end.saturating_duration_since(Instant::now())));
            if self.fault == Fault::Busy && stage.cluster.unexpected_end().is_some() {
                // That a node was removed is what this fault is about: it is counted below.
                break;
            }
        }
        Ok(())
    }

    /// Starts again what is no member any more, once it has ended: by itself, unless it was killed. How many were started, and how long
    /// that took.
    fn bring_back(&self, stage: &mut Stage) -> Result<(u32, Option<Duration>)> {
        let status = stage.status()?;
        let members: Vec<u32> = members(&status).collect();
        let gone: Vec<u32> = (1..=DATA_NODES).filter(|id| !members.contains(id)).collect();
        for id in &gone {
            let node = stage.cluster.data_node(*id)?;
            let ended = node.wait(SOON);
            let (status, log) =
                ended.with_context(|| format!("data node {id} was removed and goes on as if it were not"))?;
            let killed = matches!(self.fault, Fault::Kill | Fault::KillWithLeader);
            let as_it_should = killed || status.code() == Some(1);
            ensure!(as_it_should, "data node {id} was removed and ended with {status}{log}");
        }
        if gone.is_empty() {
            return Ok((stage.make_whole()?, None));
        }
        let begin = Instant::now();
        for id in gone {
            stage.cluster.restart_data_node(id)?;
        }
        let again = stage.make_whole()?;
        Ok((1 + again, Some(begin.elapsed())))
    }
}
