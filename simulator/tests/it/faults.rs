//! All kinds of faults together, and each of the rarer ones.

use duet_simulator::crash::Coverage;
use duet_simulator::plan::Plan;
use duet_simulator::{FaultChoice, FaultCounts, Report, run_plan};

fn run(seed: u64, faults: &str) -> Report {
    let choice = FaultChoice::parse(faults).expect("there are such faults");
    let mut plan = Plan::new(seed, 0);
    choice.apply(&mut plan);
    let report = run_plan(plan, false);
    if let Some((violation, recent)) = &report.failure {
        panic!("seed {seed} with {faults}: {violation}\n{recent}");
    }
    report
}

#[test]
fn all_faults_find_nothing_and_strike_at_many_points() {
    let mut coverage = Coverage::default();
    for seed in 1_000..1_024 {
        coverage.add(&run(seed, "all").coverage);
    }
    assert!(coverage.points_struck() >= 80, "{}", coverage.describe());
}

#[test]
fn a_seed_gives_the_same_hash_twice_under_all_faults() {
    for seed in [2_000, 2_001] {
        assert_eq!(run(seed, "all").hash, run(seed, "all").hash);
    }
}

#[test]
fn without_faults_nothing_strikes() {
    let report = run(7, "none");
    assert_eq!(report.faults, FaultCounts { rejoined: report.faults.rejoined, ..FaultCounts::default() });
}

#[test]
fn management_nodes_survive_lost_and_old_directories() {
    let (mut wiped, mut rolled_back) = (0, 0);
    for seed in 0..24 {
        let faults = run(seed, "wipe-management,roll-back-management,kill-data-node").faults;
        wiped += faults.wiped;
        rolled_back += faults.rolled_back;
    }
    assert!(wiped > 3 && rolled_back > 0, "{wiped} wiped, {rolled_back} rolled back");
}

#[test]
fn clocks_may_differ_and_jump_and_nodes_may_be_slow() {
    let (mut jumps, mut slowed, mut vanished) = (0, 0, 0);
    for seed in 0..8 {
        let faults = run(seed, "skew-clocks,jump-clock,slow-data-node,vanish-client").faults;
        jumps += faults.jumps;
        slowed += faults.slowed;
        vanished += faults.vanished;
    }
    assert!(jumps > 0 && slowed > 0 && vanished > 0, "{jumps} jumps, {slowed} slowed, {vanished} vanished");
}

/// A greeting of an old connection arrived late; the end of that connection was taken for a surrender of leases that it was not.
#[test]
fn a_late_greeting_ends_no_promise() {
    run(7, "all");
}

/// A data node that had come back a moment before was taken for one that had ended, so its group for lost.
#[test]
fn a_node_that_has_just_come_back_counts_as_living() {
    run(35, "all");
}
