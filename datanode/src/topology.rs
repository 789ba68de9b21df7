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
    Responsiveness, RuntimeError, Snapshot, Stopper, ThreadRoles, UsableCpus, plan_cpu,
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

impl Topology {
    /// Parts of the node that own data, each with an arena.
    pub fn data_parts(&self) -> usize {
        match self {
            Topology::Batch(_) => 1,
            Topology::Pipeline { threads, .. } => threads.iter().map(|thread| thread.managers).sum(),
        }
    }
}

/// The running threads of a node.
#[derive(Debug)]
pub enum RunningNode {
    /// The batch pipeline.
    Batch(BatchThread),
    /// Several threads.
    Pipeline(Pipeline),
}

/// Chooses the threads of a node.
///
/// # Errors
/// When a CPU was named that the process may not use.
pub fn plan(
    threads: &Threads,
    cpus: Option<&CpuList>,
    node: u32,
    usable: &UsableCpus,
) -> Result<Topology, CpuListError> {
    let named = match threads {
        Threads::Groups { cpus: Some(cpus), .. } => Some(cpus.as_slice()),
        _ => cpus.map(|list| list.0.as_slice()),
    };
    let batch = plan_cpu(usable, named, node)?;
    let at_once = usable.count();
    let groups = match threads {
        Threads::Batch => None,
        Threads::Automatic => {
            let count = named.map_or(at_once, <[usize]>::len);
            (count >= PIPELINE_FROM_CPUS).then(|| automatic(count))
        }
        Threads::Groups { groups, .. } => Some(groups.clone()),
    };
    let Some(groups) = groups else {
        tracing::info!(
            usable_cpus = ?usable.mask,
            quota_cpus = usable.quota,
            "thread plan: all stages in {BATCH_THREAD}, {batch}"
        );
        return Ok(Topology::Batch(batch));
    };
    let count: usize = groups.iter().map(|(_, count)| count).sum();
    // Pinned where CPUs were named, or where there is one for each thread.
    let places = match named {
        Some(named) => named.to_vec(),
        None if at_once >= PIPELINE_FROM_CPUS.max(count) => usable.mask.clone(),
        None => Vec::new(),
    };
    let may_spin = at_once >= PIPELINE_FROM_CPUS && places.len() >= count;
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
        usable_cpus = ?usable.mask,
        quota_cpus = usable.quota,
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

    /// What is chosen for `threads` where the mask has so many CPUs: the CPU of each thread by name, and whether they may spin.
    fn chosen(threads: &str, mask: usize, quota: Option<f64>) -> (Vec<(String, Option<usize>)>, bool) {
        let usable = UsableCpus { mask: (0..mask).collect(), quota };
        let threads = threads.parse().expect("a plan");
        match plan(&threads, None, 1, &usable).expect("no CPU is named that is not there") {
            Topology::Batch(plan) => (vec![("batch".to_owned(), plan.cpu)], false),
            Topology::Pipeline { threads, may_spin } => {
                (threads.into_iter().map(|thread| (thread.name, thread.cpu)).collect(), may_spin)
            }
        }
    }

    /// Threads of each group, such as `recv-tc 1, ldm 2`.
    fn groups(threads: &[(String, Option<usize>)]) -> String {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for (name, _) in threads {
            let group = name.rsplit_once('-').map_or(name.as_str(), |(group, _)| group);
            match counts.last_mut() {
                Some((last, count)) if *last == group => *count += 1,
                _ => counts.push((group, 1)),
            }
        }
        let shown: Vec<String> = counts.iter().map(|(group, count)| format!("{group} {count}")).collect();
        shown.join(", ")
    }

    #[test]
    fn the_automatic_choice_has_a_cpu_for_each_thread() {
        // CPUs by the mask and by the quota; threads, and which CPU the first is pinned to.
        let cases = [
            (1, None, "batch 1", None),
            (2, None, "batch 1", None),
            (3, None, "batch 1", None),
            (4, None, "recv-tc 1, ldm 2, send 1", Some(0)),
            (5, None, "recv-tc 1, ldm 3, send 1", Some(0)),
            (8, None, "recv 1, tc 1, ldm 5, send 1", Some(0)),
            (16, None, "recv 1, tc 3, ldm 11, send 1", Some(0)),
            (64, None, "recv 7, tc 14, ldm 37, send 6", Some(0)),
            // The quota is smaller than the mask, or the other way round.
            (64, Some(0.5), "batch 1", None),
            (64, Some(3.9), "batch 1", None),
            (64, Some(5.0), "recv-tc 1, ldm 3, send 1", Some(0)),
            (8, Some(4.5), "recv-tc 1, ldm 2, send 1", Some(0)),
            (2, Some(16.0), "batch 1", None),
            (4, Some(4.0), "recv-tc 1, ldm 2, send 1", Some(0)),
            (5, Some(64.0), "recv-tc 1, ldm 3, send 1", Some(0)),
        ];
        for (mask, quota, wanted, first) in cases {
            let (threads, may_spin) = chosen("auto", mask, quota);
            assert_eq!((groups(&threads).as_str(), threads[0].1), (wanted, first), "{mask} {quota:?}");
            assert_eq!(may_spin, wanted != "batch 1", "{mask} {quota:?}");
            let mut cpus: Vec<usize> = threads.iter().filter_map(|(_, cpu)| *cpu).collect();
            cpus.dedup();
            assert!(first.is_none() || cpus.len() == threads.len(), "{mask} {quota:?}: {cpus:?}");
        }
    }

    #[test]
    fn plans_that_are_asked_for_are_pinned_where_each_thread_has_a_cpu() {
        let four_stages = "recv=1,tc=1,ldm=2,send=1";
        for (mask, quota, is_pinned) in [
            (2, None, false),
            (4, None, false),
            (5, None, true),
            (16, Some(4.0), false),
            (16, Some(5.0), true),
        ] {
            let (threads, may_spin) = chosen(four_stages, mask, quota);
            assert_eq!(groups(&threads), "recv 1, tc 1, ldm 2, send 1");
            assert!(threads.iter().all(|(_, cpu)| cpu.is_some() == is_pinned), "{mask} {quota:?}");
            assert_eq!(may_spin, is_pinned, "{mask} {quota:?}");
        }
        // CPUs that are named are used, however few; then nobody spins.
        let (threads, may_spin) = chosen(&format!("{four_stages},cpus=1,3"), 4, None);
        let cpus: Vec<Option<usize>> = threads.iter().map(|(_, cpu)| *cpu).collect();
        assert_eq!((cpus, may_spin), ([1, 3, 1, 3, 1].map(Some).to_vec(), false));
        let refused = plan(
            &format!("{four_stages},cpus=9").parse().expect("a plan"),
            None,
            1,
            &UsableCpus { mask: vec![0, 1], quota: None },
        );
        assert_eq!(refused, Err(CpuListError::NotUsable { cpu: 9, usable: "0,1".to_owned() }));
        // One thread is pinned by the number of its node.
        assert_eq!(chosen("batch", 8, None).0, [("batch".to_owned(), Some(7))]);
        assert_eq!(chosen("batch", 8, Some(3.0)).0, [("batch".to_owned(), None)]);
    }

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
