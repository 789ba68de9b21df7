//! `duet bench outage` in its shortest form: every fault strikes a cluster of real processes once, under clients whose answers are all
//! judged. Times are measured by longer runs, nothing is said about them here.

use std::process::Command;

/// Strikes with these faults; each must be in the table, or be skipped with a sentence where the system refuses namespaces.
fn survives(faults: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_duet"))
        .args(["bench", "outage", "--no-record", "--runs", "1", "--fault-seconds", "0.5", "--keys", "1"])
        .args(["--faults", &faults.join(",")])
        .output()
        .expect("the binary exists");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    for fault in faults {
        let skipped = text.lines().find(|line| line.starts_with(&format!("{fault} was skipped: ")));
        match skipped {
            Some(sentence) => eprintln!("{sentence}"),
            None => {
                assert!(text.contains(&format!("{fault}: p99 of 1 outages: ")), "{fault}: {text}{errors}");
            }
        }
    }
}

#[test]
fn dying_and_stopping_nodes_cost_no_answer() {
    survives(&["kill", "stop", "kill-with-leader"]);
}

#[test]
fn cuts_cost_no_answer() {
    survives(&["cut", "cut-between", "one-way-cut"]);
}

#[test]
fn bad_links_cost_no_answer() {
    survives(&["loss", "reject", "delay"]);
}
