//! Seeds without planted bugs find nothing, and do enough to mean something.

use duet_simulator::run_seed;

#[test]
fn seeds_find_nothing() {
    let (mut resets, mut pauses, mut restarts, mut kills) = (0, 0, 0, 0);
    let mut transactions = std::collections::BTreeMap::new();
    for seed in 0..40 {
        let report = run_seed(seed, 0, false);
        if let Some((violation, recent)) = &report.failure {
            panic!("seed {seed}: {violation}\n{recent}");
        }
        assert!(report.events >= 50_000, "seed {seed}: {} events", report.events);
        assert!(report.acknowledged >= 2_000, "seed {seed}: {} operations", report.acknowledged);
        resets += report.faults.resets;
        pauses += report.faults.pauses;
        restarts += report.faults.restarts;
        kills += report.faults.kills;
        for name in ["transactions committed", "transactions rolled back", "deadlocks"] {
            *transactions.entry(name).or_insert(0) += report.sights.get(name).copied().unwrap_or(0);
        }
    }
    assert!(transactions.values().all(|count| *count > 50), "{transactions:?}");
    assert!(resets > 0 && pauses > 0 && restarts > 0 && kills > 0, "the seeds hold faults of all kinds");
}
