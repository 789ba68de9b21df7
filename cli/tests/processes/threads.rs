//! Thread plans of real processes: what they cost and what is refused.

use crate::cluster::{Cluster, Process, free_address, run_to_end, run_to_end_under, wait_for};
use std::path::Path;
use std::time::{Duration, Instant};

/// A pipeline of four stages.
pub const FOUR_STAGES: &str = "recv=1,tc=1,ldm=2,send=1";

/// Nobody asks anything of the cluster: no process may keep a CPU busy, whatever its threads. The bounds are for builds with assertions on a
/// machine that is busy with other tests, where waking up costs more; released builds use about half (docs/performance.md).
#[test]
fn an_idle_cluster_uses_hardly_any_processor_time() {
    // Per cent of a CPU that a process may use.
    let plans = [("batch", 3), (FOUR_STAGES, 6), ("recv=2,tc=2,ldm=2,send=2", 6)];
    let clusters = plans.map(|(plan, _)| Cluster::start_with(1, &["--threads", plan]));
    let used = |process: &Process| process.tasks().iter().map(|task| task.ran_nanoseconds).sum::<u64>();
    if !Path::new("/proc/thread-self/schedstat").exists() {
        eprintln!("skipped: this system does not count the time of threads");
        return;
    }
    let processes = || {
        plans.iter().zip(&clusters).flat_map(|(plan, cluster)| {
            cluster.management.iter().chain(&cluster.nodes).map(move |process| (plan, process))
        })
    };
    let begin = Instant::now();
    let before: Vec<u64> = processes().map(|(_, process)| used(process)).collect();
    wait_for("some idle time to pass", || (begin.elapsed() >= Duration::from_secs(5)).then_some(()));
    for (((plan, percent), process), before) in processes().zip(before) {
        // Of what passed in fact.
        let bound = begin.elapsed().as_nanos() as u64 * percent / 100;
        // A thread that has ended meanwhile takes its time with it.
        let (used, tasks) = (used(process).saturating_sub(before), process.tasks());
        assert!(used <= bound, "{plan}: {used} of at most {bound} ns at {}: {tasks:?}", process.listen);
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

#[test]
fn plans_that_cannot_be_carried_out_are_refused_with_a_sentence() {
    let nowhere = free_address();
    let base = ["datanode", "--node-id", "1", "--management", &nowhere, "--memory", "64MiB"];
    for (plan, says) in [
        ("recv=1,tc=1,ldm=1,cpus=0-999", "is not among those that this process may use"),
        ("recv=1,tc=1,ldm=200", "1 to 128 threads"),
        ("recv=1,tc=1", "ldm must be named once"),
        ("recv=1,tc=1,ldm=300", "1 to 128 threads"),
    ] {
        let arguments = [&base[..], &["--threads", plan]].concat();
        let (code, error) = run_to_end(&arguments);
        assert!(code.is_some_and(|code| code > 0), "{plan}: {code:?}");
        assert!(error.contains(says) && !error.contains("panicked"), "{plan}: {error}");
    }
    let arguments = [&base[..], &["--scheduler-responsiveness", "11"]].concat();
    assert!(run_to_end(&arguments).1.contains("0..=10"));
}

/// Limits that a system may set: what is needed is said in a sentence, what is not needed does not stop the node.
#[test]
fn tight_limits_of_the_system_end_in_a_sentence_or_do_not_matter() {
    let nowhere = free_address();
    for plan in ["batch", FOUR_STAGES] {
        let base = ["datanode", "--node-id", "1", "--management", &nowhere, "--threads", plan];
        // Nothing is locked into memory.
        drop(Process::start_under("ulimit -l 0", &[&base[..], &["--memory", "64MiB"]].concat()));
        // Fewer descriptors than --max-links may need are a warning.
        drop(Process::start_under("ulimit -n 128", &[&base[..], &["--memory", "64MiB"]].concat()));
        let (code, error) =
            run_to_end_under("ulimit -v 1000000", &[&base[..], &["--memory", "1GiB"]].concat());
        assert_eq!(code, Some(1), "{plan}: {error}");
        assert!(error.contains("memory") && !error.contains("panicked"), "{plan}: {error}");
    }
}
