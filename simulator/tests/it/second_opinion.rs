//! Another checker judges the histories of the lists, and comes to the same verdict.

use adya::{History, Opts, Valid, Workload, check};
use duet_simulator::checker::AppendRecord;
use duet_simulator::plan::Plan;
use duet_simulator::run_plan;
use duet_simulator::workload::workload;

/// The history in the notation of that checker: one event for each begin and each end, in the order in time; every
/// transaction is a process of its own.
fn history(records: &[AppendRecord]) -> History {
    let mut events = Vec::new();
    for (process, record) in records.iter().enumerate() {
        let append = |key: &u64| format!("[\"append\",{key},{}]", record.number);
        let appends: Vec<String> = record.appends.iter().map(append).collect();
        let value = |read: &dyn Fn(&[u64]) -> String| {
            let reads = record.reads.iter().map(|(key, items)| format!("[\"r\",{key},{}]", read(items)));
            reads.chain(appends.iter().cloned()).collect::<Vec<_>>().join(",")
        };
        let event = |kind: &str, value: String| {
            format!("{{\"type\":\"{kind}\",\"process\":{process},\"value\":[{value}]}}")
        };
        let unknown = value(&|_| "null".to_owned());
        events.push((record.invoked, 1, event("invoke", unknown.clone())));
        // What ends at the same moment as something begins may overlap it.
        events.push(match record.responded {
            u64::MAX => (u64::MAX, 2, event("info", unknown)),
            responded => (responded, 2, event("ok", value(&|items| format!("{items:?}")))),
        });
    }
    events.sort_by_key(|(time, order, _)| (*time, *order));
    let lines: Vec<String> = events.into_iter().map(|(_, _, line)| line).collect();
    History::from_json(&lines.join("\n")).expect("the history is well formed")
}

fn plan(seed: u64, planted_bug: u32) -> Plan {
    let mut plan = Plan::new(seed, planted_bug);
    (workload("append").expect("it exists").choose)(&mut plan);
    plan
}

fn verdict(records: &[AppendRecord]) -> Valid {
    let options = Opts { models: vec!["strict-serializable".into()], ..Opts::default() };
    check(&history(records), Workload::ListAppend, &options).valid
}

#[test]
fn both_checkers_find_nothing_where_nothing_is_wrong() {
    let mut transactions = 0;
    for seed in 700..708 {
        let report = run_plan(plan(seed, 0), false);
        assert_eq!(report.failure.map(|(violation, _)| violation), None, "seed {seed}");
        transactions += report.lists.len();
        assert_eq!(verdict(&report.lists), Valid::True, "seed {seed}");
    }
    // Where nodes come and go, and some transactions linger, a run has few.
    assert!(transactions > 500, "{transactions} transactions");
}

#[test]
fn both_checkers_find_lost_updates_and_cycles() {
    let of_lists = [
        "locked transactions are serializable",
        "the order of a list is one",
        "transactions happen wholly or not at all",
    ];
    let mut found = 0;
    for seed in 700..706 {
        let report = run_plan(plan(seed, 13), false);
        let Some((violation, _)) = report.failure else { continue };
        if of_lists.contains(&violation.check) {
            assert_ne!(verdict(&report.lists), Valid::True, "seed {seed}: {violation}");
            found += 1;
        }
    }
    assert!(found > 2, "{found} seeds have lost updates or cycles");
}
