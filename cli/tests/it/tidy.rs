//! Rules of the source tree that no other tool checks.

use super::{files_below, read, repository};
use std::path::Path;

/// Folders of the workspace's crates.
const CRATES: &[&str] = &[
    "protocol",
    "datanode/memory",
    "datanode/core",
    "datanode/runtime",
    "datanode",
    "mgmd/core",
    "mgmd",
    "client/core",
    "client/derive",
    "client",
    "featurestore",
    "simulator",
    "sysbench-harness",
    "cli",
    "gateway/wire",
    "gateway",
];
/// The crates that think, which share one strict `clippy.toml`.
const THINKING: &[&str] =
    &["protocol", "datanode/memory", "datanode/core", "mgmd/core", "client/core", "simulator"];
/// The only crates that may hold unsafe code.
const UNSAFE: &[&str] = &["datanode/memory", "datanode/runtime"];

fn relative(path: &Path) -> String {
    path.strip_prefix(repository()).expect("below the repository").to_string_lossy().into_owned()
}

#[test]
fn every_crate_is_listed_here() {
    let members: Vec<String> = read("Cargo.toml")
        .lines()
        .skip_while(|line| !line.starts_with("members"))
        .skip(1)
        .take_while(|line| !line.starts_with(']'))
        .map(|line| line.trim().trim_matches(&['"', ','][..]).to_owned())
        .collect();
    assert_eq!(members, CRATES);
}

#[test]
fn unsafe_code_is_forbidden_outside_two_crates() {
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
    for directory in CRATES {
        let manifest = read(&format!("{directory}/Cargo.toml"));
        let inherits = manifest.contains("[lints]\nworkspace = true");
        assert!(inherits || UNSAFE.contains(directory), "{directory} must inherit the workspace lints");
    }
}

#[test]
fn thinking_crates_share_one_list_of_bans() {
    let first = read(&format!("{}/clippy.toml", THINKING[0]));
    assert!(first.contains("std::time::Instant::now"));
    for directory in THINKING {
        assert_eq!(first, read(&format!("{directory}/clippy.toml")), "{directory}/clippy.toml differs");
    }
}

#[test]
fn every_workspace_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let table = manifest.split("[workspace.dependencies]").nth(1).expect("dependencies");
    let table = table.split("\n[").next().expect("a table");
    let mut reason_above = false;
    let mut dependencies = 0;
    for line in table.lines() {
        // A reason holds for the lines below it until the next empty line.
        match line.trim() {
            "" => reason_above = false,
            comment if comment.starts_with('#') => reason_above = true,
            dependency => {
                assert!(reason_above, "no reason above `{dependency}`");
                dependencies += 1;
            }
        }
    }
    assert!(dependencies > 20, "the table was misread");
}

#[test]
fn only_protocol_knows_byte_offsets() {
    for directory in CRATES.iter().filter(|directory| **directory != "protocol") {
        for path in files_below(&format!("{directory}/src"), ".rs") {
            let text = std::fs::read_to_string(&path).expect("readable");
            let production = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            for word in ["from_le_bytes", "from_be_bytes"] {
                assert!(!production.contains(word), "{} calls {word}", relative(&path));
            }
        }
    }
}

#[test]
fn production_files_stay_readable() {
    for directory in CRATES {
        for path in files_below(&format!("{directory}/src"), ".rs") {
            let text = std::fs::read_to_string(&path).expect("readable");
            let production = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let lines = production.lines().count();
            assert!(lines <= 800, "{} has {lines} lines before its tests", relative(&path));
        }
    }
}
