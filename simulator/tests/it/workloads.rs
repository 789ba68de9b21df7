//! Every workload runs, and alone finds nothing.

use duet_simulator::plan::Plan;
use duet_simulator::run_plan;
use duet_simulator::workload::WORKLOADS;

#[test]
fn every_workload_runs_alone() {
    for workload in WORKLOADS {
        for seed in 500..503 {
            let mut plan = Plan::new(seed, 0);
            (workload.choose)(&mut plan);
            let report = run_plan(plan, false);
            if let Some((violation, recent)) = &report.failure {
                panic!("workload {} seed {seed}: {violation}\n{recent}", workload.name);
            }
            assert!(report.acknowledged >= 2_000, "{}: {}", workload.name, report.acknowledged);
        }
    }
}
