//! Which blocks run on which thread. The only place where both are named.

use crate::arguments::CpuList;
use crate::threads::{Stages, Threads, automatic};
use duet_datanode_core::{Kernel, NodeConfiguration};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder};
use duet_protocol::signal::Sections;
use duet_protocol::signal::refuse_link::RefuseLink;
use duet_runtime::{
    BatchOptions, BatchThread, CpuListError, CpuPlan, Limits, LinkIo, Listener, Pipeline, PipelineOptions,
    Responsiveness, RuntimeError, Snapshot, Stopper, ThreadRoles, plan_cpu,
};

/// Name of the thread that runs all blocks: links, membership, transaction coordinator, local data manager.
const BATCH_THREAD: &str = "duet-batch";
/// Fewest CPUs for which the automatic plan has more than one thread, and threads may spin.
const PIPELINE_FROM_CPUS: usize = 4;

/// Threads of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Topology {
    /// All blocks in one thread, which calls them directly.
    Batch(CpuPlan),
    /// Several threads joined by mailboxes.
    Pipeline {
        /// The threads.
        threads: Vec<ThreadRoles>,
        /// Whether each has a CPU of its own.
        may_spin: bool,
    },
}

/// The running threads of a node.
#[derive(Debug)]
pub enum RunningNode {
    /// The batch pipeline.
    Batch(BatchThread),
    /// Several threads.
    Pipeline(Pipeline),
}

/// Chooses the threads of a node. Call it before any thread is pinned.
///
/// # Errors
/// When a CPU was named that the process may not use.
pub fn plan(threads: &Threads, cpus: Option<&CpuList>, node: u32) -> Result<Topology, CpuListError> {
    let named = match threads {
        Threads::Groups { cpus: Some(cpus), .. } => Some(cpus.as_slice()),
        _ => cpus.map(|list| list.0.as_slice()),
    };
    let batch = plan_cpu(named, node)?;
    let usable = batch.quota.map_or(batch.usable.len(), |quota| batch.usable.len().min(quota as usize));
    let groups = match threads {
        Threads::Batch => None,
        Threads::Automatic => {
            let count = named.map_or(usable, <[usize]>::len);
            (count >= PIPELINE_FROM_CPUS).then(|| automatic(count))
        }
        Threads::Groups { groups, .. } => Some(groups.clone()),
    };
    let Some(groups) = groups else {
        tracing::info!(
            usable_cpus = ?batch.usable,
            quota_cpus = batch.quota,
            "thread plan: all stages in {BATCH_THREAD}, {batch}"
        );
        return Ok(Topology::Batch(batch));
    };
    let count: usize = groups.iter().map(|(_, count)| count).sum();
    // Pinned where CPUs were named, or where there is one for each thread.
    let places = match named {
        Some(named) => named.to_vec(),
        None if usable >= PIPELINE_FROM_CPUS.max(count) => batch.usable.clone(),
        None => Vec::new(),
    };
    let may_spin = usable >= PIPELINE_FROM_CPUS && places.len() >= count;
    if !places.is_empty() && places.len() < count {
        tracing::warn!(threads = count, cpus = ?places, "several threads share a CPU; none of them spins");
    }
    let threads = name_threads(&groups, &places);
    let shown: Vec<String> = threads
        .iter()
        .map(|thread| match thread.cpu {
            Some(cpu) => format!("{} on CPU {cpu}", thread.name),
            None => format!("{} not pinned", thread.name),
        })
        .collect();
    tracing::info!(
        usable_cpus = ?batch.usable,
        quota_cpus = batch.quota,
        may_spin,
        "thread plan: {}",
        shown.join(", ")
    );
    Ok(Topology::Pipeline { threads, may_spin })
}

/// One thread after the other, with its name and CPU.
fn name_threads(groups: &[(Stages, usize)], cpus: &[usize]) -> Vec<ThreadRoles> {
    let mut threads = Vec::new();
    for (stages, count) in groups {
        let names: Vec<&str> = [
            (stages.receive, "recv"),
            (stages.coordinate, "tc"),
            (stages.manage, "ldm"),
            (stages.send, "send"),
        ]
        .iter()
        .filter_map(|(has, name)| has.then_some(*name))
        .collect();
        // Linux keeps 15 bytes of a thread's name.
        let name = if names.len() > 2 { names[0].to_owned() + "-all" } else { names.join("-") };
        for number in 0..*count {
            let cpu = if cpus.is_empty() { None } else { Some(cpus[threads.len() % cpus.len()]) };
            threads.push(ThreadRoles {
                name: format!("{name}-{number}"),
                receive: stages.receive,
                coordinator: stages.coordinate,
                managers: usize::from(stages.manage),
                send: stages.send,
                cpu,
            });
        }
    }
    threads
}

/// The frame for connections that are too many.
fn refusal(max_links: u32) -> Vec<u8> {
    let body = RefuseLink { code: (ErrorCode::TooManyConnections as u16).into(), ..RefuseLink::default() };
    let detail = format!("the node has --max-links {max_links}, some of them for other nodes");
    let mut builder = FrameBuilder::new();
    builder.push(0, 0, &body, Sections::one(detail.as_bytes()));
    builder.seal(&Envelope::default()).map(<[u8]>::to_vec).unwrap_or_default()
}

/// Starts the blocks on their threads.
///
/// # Errors
/// When the memory cannot be reserved or the system refuses a thread.
pub fn start(
    topology: &Topology,
    configuration: NodeConfiguration,
    listener: Listener,
    responsiveness: Responsiveness,
    io: LinkIo,
) -> Result<RunningNode, RuntimeError> {
    let usual = Limits::new(configuration.max_links as usize).with_responsiveness(responsiveness);
    let limits = Limits { refusal: refusal(configuration.max_links), ..usual };
    match topology {
        Topology::Batch(plan) => {
            let options = BatchOptions { name: BATCH_THREAD, listener, limits, cpu: plan.cpu, io };
            let thread = BatchThread::start(options, move |now| Kernel::new(configuration, now))?;
            Ok(RunningNode::Batch(thread))
        }
        Topology::Pipeline { threads, may_spin } => {
            let options =
                PipelineOptions { threads: threads.clone(), listener, limits, may_spin: *may_spin, io };
            Ok(RunningNode::Pipeline(Pipeline::start(options, &configuration)?))
        }
    }
}

impl RunningNode {
    /// Reads the counters of the node from another thread.
    pub fn snapshots(&self) -> Box<dyn Fn() -> Snapshot + Send> {
        match self {
            RunningNode::Batch(thread) => {
                let reader = thread.snapshots();
                Box::new(move || reader.read())
            }
            RunningNode::Pipeline(pipeline) => Box::new(pipeline.snapshots()),
        }
    }

    /// Ends the node from another thread.
    pub fn stopper(&self) -> Stopper {
        match self {
            RunningNode::Batch(thread) => thread.stopper(),
            RunningNode::Pipeline(pipeline) => pipeline.stopper(),
        }
    }

    /// Waits until the node ends.
    ///
    /// # Errors
    /// Why it ended by itself.
    pub fn join(self) -> Result<(), RuntimeError> {
        match self {
            RunningNode::Batch(thread) => thread.join(),
            RunningNode::Pipeline(pipeline) => pipeline.join(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_names_and_cpus_in_order() {
        let Ok(Threads::Groups { groups, .. }) = "recv=1,tc=1,ldm=2,send=1".parse() else { panic!("valid") };
        let threads = name_threads(&groups, &[3, 5]);
        let shown: Vec<_> = threads.iter().map(|thread| (thread.name.as_str(), thread.cpu)).collect();
        assert_eq!(
            shown,
            [
                ("recv-0", Some(3)),
                ("tc-0", Some(5)),
                ("ldm-0", Some(3)),
                ("ldm-1", Some(5)),
                ("send-0", Some(3))
            ]
        );
        assert!(name_threads(&groups, &[]).iter().all(|thread| thread.cpu.is_none()));
    }
}
