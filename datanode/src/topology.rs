//! Which blocks run on which thread. The only place where both are named.

use std::num::NonZero;

/// CPUs from which a node without `--cpus` pins its thread: on fewer it would fight with its neighbours.
const PIN_FROM_CPUS: usize = 4;

/// Threads of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// CPU of the batch pipeline `duet-batch` (links, membership, transaction coordinator, local data manager), if pinned.
    pub batch_cpu: Option<usize>,
}

/// Chooses the threads of a node: the batch pipeline, pinned to the first CPU that was named. Unnamed CPUs are used
/// without pinning, because other nodes on this machine would choose the same.
///
/// # Errors
/// A sentence when a named CPU does not exist.
pub fn plan(cpus: &[usize]) -> Result<Topology, String> {
    let available = std::thread::available_parallelism().map_or(1, NonZero::get);
    if let Some(cpu) = cpus.iter().find(|cpu| **cpu >= 4096) {
        return Err(format!("CPU {cpu} does not exist"));
    }
    let batch_cpu = cpus.first().copied();
    let pinned = batch_cpu.map_or_else(|| "no".to_owned(), |cpu| format!("to CPU {cpu}"));
    tracing::info!(
        available,
        pin_from = PIN_FROM_CPUS,
        pinned,
        "thread plan: one batch pipeline (duet-batch)"
    );
    Ok(Topology { batch_cpu })
}
