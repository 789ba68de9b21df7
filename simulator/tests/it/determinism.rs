//! The same seed gives the same trace: in one process, and in processes with other directories and environments.

use duet_simulator::run_seed;
use std::process::Command;

const SEEDS: [u64; 3] = [2, 8, 23];

fn hashes() -> String {
    SEEDS.map(|seed| format!("{:016x}", run_seed(seed, 0, false).hash)).join(" ")
}

#[test]
fn a_seed_gives_the_same_hash_twice_and_seeds_differ() {
    let first = hashes();
    assert_eq!(first, hashes());
    let parts: Vec<&str> = first.split(' ').collect();
    assert!(parts[0] != parts[1] && parts[1] != parts[2]);
}

/// Runs in the child processes of the next test.
#[test]
#[ignore = "a helper of another test"]
fn print_hashes() {
    println!("hashes: {}", hashes());
}

#[test]
fn a_seed_gives_the_same_hash_in_other_processes() {
    let program = std::env::current_exe().expect("the test knows its program");
    for (directory, value) in [(std::env::temp_dir(), "one"), (std::path::PathBuf::from("/"), "another")] {
        let output = Command::new(&program)
            .args(["determinism::print_hashes", "--exact", "--ignored", "--nocapture"])
            .current_dir(directory)
            .env("DUET_ANYTHING", value)
            .env("HOME", "/nowhere")
            .env("TZ", if value == "one" { "UTC" } else { "Asia/Tokyo" })
            .output()
            .expect("the child runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let line =
            text.lines().find_map(|line| line.split("hashes: ").nth(1)).expect("the child prints hashes");
        assert_eq!(line, hashes(), "with {value}");
    }
}
