//! Start and end of processes.

use crate::cluster::{Cluster, Process, free_address, run_to_end, wait_for};
use std::net::TcpListener;

#[test]
fn a_process_ends_with_its_parent_and_on_request() {
    let cluster = Cluster::start(1);
    drop(cluster);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    let nowhere = free_address();
    let roles: [&[&str]; 2] = [
        &["mgmd", "--listen", "127.0.0.1:0", "--directory", &path, "--data-nodes", "2", "--parent-pipe"],
        &["datanode", "--node-id", "1", "--management", &nowhere, "--parent-pipe"],
    ];
    for arguments in roles {
        let mut process = Process::start(arguments);
        drop(process.child.stdin.take());
        let status = wait_for("the end after the parent's", || process.child.try_wait().expect("waitable"));
        assert_eq!(status.code(), Some(0), "{arguments:?}");
        for signal in ["TERM", "INT"] {
            let mut process = Process::start(arguments);
            process.signal(signal);
            let status = wait_for("the end on a signal", || process.child.try_wait().expect("waitable"));
            assert_eq!(status.code(), Some(0), "{arguments:?} {signal}");
        }
    }
}

#[test]
fn what_cannot_start_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("bound").to_string();
    let nowhere = free_address();
    let node = |rest: &[&'static str]| -> Vec<String> {
        let base = ["datanode", "--node-id", "1", "--management", &nowhere];
        base.iter().copied().chain(rest.iter().copied()).map(ToOwned::to_owned).collect()
    };
    let mut port = node(&["--listen"]);
    port.push(taken.clone());
    let management = |rest: &[&str]| -> Vec<String> {
        let base = ["mgmd", "--directory", &path];
        base.iter().copied().chain(rest.iter().copied()).map(ToOwned::to_owned).collect()
    };
    let cases: [(Vec<String>, &str); 7] = [
        (port, "in use"),
        (node(&["--listen", "0.0.0.0:0"]), "secret"),
        (node(&["--metrics", "0.0.0.0:0"]), "secret"),
        (node(&["--memory", "1MiB"]), "16mib"),
        (management(&["--listen", "0.0.0.0:0", "--data-nodes", "2"]), "secret"),
        (management(&["--listen", &taken, "--data-nodes", "2"]), "in use"),
        (
            management(&[
                "--listen",
                "127.0.0.1:0",
                "--data-nodes",
                "2",
                "--management",
                "1=127.0.0.1:1,2=127.0.0.1:2",
            ]),
            "3",
        ),
    ];
    for (arguments, expected) in cases {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, error) = run_to_end(&arguments);
        assert!(code != Some(0) && code.is_some(), "{arguments:?}");
        assert!(error.to_lowercase().contains(expected), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{error}");
    }
}

#[test]
fn a_second_process_with_the_same_node_id_is_refused() {
    let cluster = Cluster::start(1);
    for (id, expected) in [("1", "DuplicateNodeId"), ("3", "UnknownNodeId")] {
        let (code, error) = run_to_end(&cluster.node_arguments(id));
        assert_eq!(code, Some(1));
        assert!(error.contains(expected), "{error}");
    }
    assert!(cluster.state().view.number > 0, "the first process is not disturbed");
}
