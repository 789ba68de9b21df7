//! Which blocks run on which thread. The only place where both are named.

use crate::arguments::CpuList;
use duet_datanode_core::{Kernel, NodeConfiguration};
use duet_runtime::{
    BatchOptions, BatchThread, CpuListError, CpuPlan, Limits, Listener, RuntimeError, plan_cpu,
};

/// Name of the thread that runs all blocks: links, membership, transaction coordinator, local data manager.
const BATCH_THREAD: &str = "duet-batch";

/// Threads of a node: the batch pipeline alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    batch: CpuPlan,
}

/// Chooses the threads of a node. Call it before any thread is pinned.
///
/// # Errors
/// When a CPU was named that the process may not use.
pub fn plan(cpus: Option<&CpuList>, node: u32) -> Result<Topology, CpuListError> {
    let batch = plan_cpu(cpus.map(|list| list.0.as_slice()), node)?;
    tracing::info!(
        usable_cpus = ?batch.usable,
        quota_cpus = batch.quota,
        "thread plan: all stages in {BATCH_THREAD}, {batch}"
    );
    Ok(Topology { batch })
}

/// Starts the blocks on their threads.
///
/// # Errors
/// When the memory cannot be reserved or the system refuses a thread.
pub fn start(
    topology: &Topology,
    configuration: NodeConfiguration,
    listener: Listener,
) -> Result<BatchThread, RuntimeError> {
    let limits = Limits::new(configuration.max_links as usize);
    let options = BatchOptions { name: BATCH_THREAD, listener, limits, cpu: topology.batch.cpu };
    BatchThread::start(options, move |now| Kernel::new(configuration, now))
}
