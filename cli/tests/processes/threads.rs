//! Thread plans of real processes: what they cost and what is refused.

use crate::cluster::{Cluster, wait_for};
use std::time::{Duration, Instant};

/// A pipeline of four stages.
pub const FOUR_STAGES: &str = "recv=1,tc=1,ldm=2,send=1";

/// Nobody asks anything of the cluster: no process may keep a CPU busy, whatever its threads.
#[test]
fn an_idle_cluster_uses_hardly_any_processor_time() {
    for plan in ["batch", FOUR_STAGES] {
        let cluster = Cluster::start_with(1, &["--threads", plan]);
        let processes: Vec<_> = cluster.management.iter().chain(&cluster.nodes).collect();
        let begin = Instant::now();
        let before: Vec<u64> = processes.iter().map(|process| process.processor_ticks()).collect();
        wait_for("some idle time to pass", || (begin.elapsed() >= Duration::from_secs(2)).then_some(()));
        // What passed in fact, on a machine that may be busy with other things.
        let bound = begin.elapsed().as_millis() as u64 / 10 / 10;
        for (process, before) in processes.iter().zip(before) {
            let used = process.processor_ticks() - before;
            assert!(used <= bound, "{plan}: {used} of at most {bound} ticks of 10 ms at {}", process.listen);
        }
    }
}

/// Nobody says how many lanes there are: enough for every thread that owns data, and each leads partitions.
#[test]
fn a_cluster_has_lanes_for_all_threads_that_own_data() {
    if std::env::var_os("DUET_LANES").is_some() {
        return; // Somebody does say.
    }
    let cluster = Cluster::start_with(1, &["--threads", "recv=1,tc=1,ldm=3"]);
    let state = cluster.state();
    let configuration = &state.configuration;
    assert_eq!((configuration.lanes, configuration.partitions), (3, 12));
    assert!(state.nodes.iter().all(|node| node.data_parts == 3));
    let cluster = Cluster::start_with(1, &["--threads", "batch"]);
    assert_eq!(cluster.state().configuration.lanes, 1);
}
