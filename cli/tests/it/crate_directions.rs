//! The crates that think cannot link the crates that talk.

use super::repository;
use std::collections::BTreeSet;
use std::process::Command;

/// Crates of ours that do input or output, own threads or read clocks.
const TALKING: &[&str] = &[
    "duet",
    "duet-bench",
    "duet-client",
    "duet-datanode",
    "duet-featurestore",
    "duet-gateway",
    "duet-mgmd",
    "duet-runtime",
];
/// Crates of others that do.
const FOREIGN_TALKING: &[&str] =
    &["async-io", "core_affinity", "io-uring", "mio", "nix", "polling", "rustix", "smol", "socket2", "tokio"];

/// Names of the packages that `package` reaches through normal and build dependencies, itself included.
/// `direct` stops after the first step.
fn reached(package: &str, direct: bool) -> BTreeSet<String> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(repository())
        .args(["tree", "--offline", "--locked", "--edges", "normal,build", "--prefix", "none"])
        .args(["--format", "{p}", "--package", package]);
    if direct {
        command.args(["--depth", "1"]);
    }
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listing = String::from_utf8(output.stdout).expect("UTF-8");
    listing.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn cargo_tree_shows_what_is_known_to_be_there() {
    // If the listing were empty or misread, every check below would pass.
    let datanode = reached("duet-datanode", false);
    for known in ["duet-runtime", "duet-datanode-core", "duet-memory", "duet-protocol", "libc", "socket2"] {
        assert!(datanode.contains(known), "duet-datanode does not reach {known}");
    }
}

#[test]
fn thinking_crates_reach_no_talking_crate() {
    for thinking in [
        "duet-protocol",
        "duet-memory",
        "duet-datanode-core",
        "duet-mgmd-core",
        "duet-client-core",
        "duet-simulator",
    ] {
        let reached = reached(thinking, false);
        for forbidden in TALKING.iter().chain(FOREIGN_TALKING) {
            assert!(!reached.contains(*forbidden), "{thinking} reaches {forbidden}");
        }
    }
}

#[test]
fn protocol_and_client_core_reach_no_system_calls() {
    for package in ["duet-protocol", "duet-client-core"] {
        let reached = reached(package, false);
        for forbidden in ["libc", "getrandom", "rand", "tracing-subscriber"] {
            assert!(!reached.contains(forbidden), "{package} reaches {forbidden}");
        }
    }
}

#[test]
fn the_client_runs_wherever_tokio_does() {
    let direct = reached("duet-client", true);
    for forbidden in ["libc", "nix", "rustix", "io-uring", "core_affinity"] {
        assert!(!direct.contains(forbidden), "duet-client depends on {forbidden}");
    }
    let all = reached("duet-client", false);
    for forbidden in ["duet-memory", "duet-datanode-core", "duet-runtime", "duet-mgmd-core", "raft"] {
        assert!(!all.contains(forbidden), "duet-client reaches {forbidden}");
    }
    for path in super::files_below("client", ".rs") {
        // Links within the machine are taken where the system has them.
        if path.ends_with("client/src/network.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        for forbidden in ["std::os::", "target_os", "cfg(unix)"] {
            assert!(!text.contains(forbidden), "{} has `{forbidden}`", path.display());
        }
    }
}

#[test]
fn only_the_named_crates_link_raft_and_the_event_loop() {
    for package in ["duet-datanode", "duet-client", "duet-datanode-core", "duet-memory", "duet-runtime"] {
        assert!(!reached(package, false).contains("raft"), "{package} reaches raft");
    }
    for package in ["duet-mgmd", "duet-client"] {
        assert!(!reached(package, false).contains("duet-runtime"), "{package} reaches duet-runtime");
    }
}

#[test]
fn nobody_links_the_gateway() {
    for package in ["duet", "duet-bench", "duet-featurestore", "duet-simulator"] {
        let reached = reached(package, false);
        for forbidden in ["duet-gateway", "sqlparser", "mysql_common", "datafusion"] {
            // `duet shell` is a client of MySQL's protocol like any other.
            let is_of_shell = (package, forbidden) == ("duet", "mysql_common");
            assert!(is_of_shell || !reached.contains(forbidden), "{package} reaches {forbidden}");
        }
    }
}
