//! Seeds without planted bugs find nothing, and do enough to mean something.

use duet_simulator::run_seed;

#[test]
fn seeds_find_nothing() {
    let (mut resets, mut pauses, mut restarts, mut kills) = (0, 0, 0, 0);
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
    }
    assert!(resets > 0 && pauses > 0 && restarts > 0 && kills > 0, "the seeds hold faults of all kinds");
}
