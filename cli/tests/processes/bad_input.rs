//! Garbage, half frames and strangers on the sockets of real processes.

use crate::cluster::{Cluster, Process, free_address, run_to_end, wait_for};
use crate::wire::{Wire, read, row};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder};
use duet_protocol::signal::hello::{Hello, ROLE_CLIENT};
use duet_protocol::signal::refuse_link::RefuseLink;
use duet_protocol::signal::{Sections, SignalType};
use std::io::Write;

/// What is said to bytes on a fresh connection, before it is closed.
fn answer_to(address: &str, bytes: &[u8]) -> Option<ErrorCode> {
    let mut wire = Wire::connect(address);
    wire.stream.write_all(bytes).expect("sent");
    let received = wire.receive().ok()?;
    if received.signal_type != SignalType::RefuseLink {
        return None;
    }
    assert!(wire.receive().is_err(), "the link is closed");
    ErrorCode::from_number(received.body::<RefuseLink>().code.get())
}

#[test]
fn garbage_closes_its_own_link_only() {
    let mut cluster = Cluster::start(1);
    let (_, table) = cluster.leader().create_table("accounts", 1);
    let addresses = [
        cluster.nodes[0].listen.clone(),
        cluster.nodes[1].listen.clone(),
        cluster.management[0].listen.clone(),
    ];
    let mut bystander = Wire::client(&cluster.nodes[0].listen);
    let (key, _) = row(1, 0, "");
    let mut builder = FrameBuilder::new();
    builder.push(0, 1, &Hello { role: ROLE_CLIENT.into(), ..Hello::default() }, Sections::none());
    let hello = builder.seal(&Envelope::default()).expect("open").to_vec();
    builder.clear();
    builder.push(0, 1, &Hello { role: ROLE_CLIENT.into(), ..Hello::default() }, Sections::none());
    let foreign = builder.seal(&Envelope { cluster_id: 1, ..Envelope::default() }).expect("open").to_vec();
    builder.clear();
    builder.push(0, 1, &read(table), Sections::one(&key));
    let rude = builder.seal(&Envelope::default()).expect("open").to_vec();
    let mut damaged = hello.clone();
    damaged[90] ^= 4;
    let mut huge = hello.clone();
    huge[..4].copy_from_slice(&0x7fff_fff8u32.to_le_bytes());
    for address in &addresses {
        assert_eq!(
            answer_to(address, b"GET / HTTP/1.1\r\nHost: duet\r\n\r\n"),
            Some(ErrorCode::ProtocolVersion)
        );
        assert_eq!(answer_to(address, &[0xff; 1000]), Some(ErrorCode::ProtocolVersion));
        assert_eq!(answer_to(address, &damaged), Some(ErrorCode::DamagedFrame));
        assert_eq!(answer_to(address, &huge), Some(ErrorCode::FrameTooLarge));
        assert_eq!(answer_to(address, &foreign), Some(ErrorCode::ForeignCluster));
        assert_eq!(answer_to(address, &rude), Some(ErrorCode::HandshakeRequired));
        // Half a frame, then nothing: the other side waits, and forgets it when we go.
        let mut half = Wire::connect(address);
        half.stream.write_all(&hello[..50]).expect("sent");
        drop(half);
        assert_eq!(answer_to(address, &hello), None, "a proper client is welcome");
    }
    for node in &cluster.nodes {
        for refusal in
            ["ProtocolVersion", "DamagedFrame", "FrameTooLarge", "ForeignCluster", "HandshakeRequired"]
        {
            node.wait_until_it_says(refusal);
        }
    }
    assert_eq!(bystander.ask(&read(table), Sections::one(&key)).signal_type, SignalType::ReadReply);
    for process in cluster.nodes.iter_mut().chain(&mut cluster.management) {
        assert!(process.child.try_wait().expect("waitable").is_none(), "every process lives");
    }
}

/// Runs `duet admin status`: whether it succeeded, and what it wrote.
fn status(connect: &str, more: &[&str]) -> (bool, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_duet"))
        .args(["admin", "status", "--json", "--connect", connect])
        .args(more)
        .output()
        .expect("the binary exists");
    let text = if output.status.success() { output.stdout } else { [output.stdout, output.stderr].concat() };
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn another_release_is_told_so() {
    let cluster = Cluster::start(1);
    let mut builder = FrameBuilder::new();
    builder.push(0, 1, &Hello { role: ROLE_CLIENT.into(), ..Hello::default() }, Sections::none());
    let mut older = builder.seal(&Envelope::default()).expect("open").to_vec();
    older[4] = older[4].wrapping_sub(1);
    for address in [&cluster.nodes[0].listen, &cluster.management[0].listen] {
        assert_eq!(answer_to(address, &older), Some(ErrorCode::ProtocolVersion));
    }
    assert!(ErrorCode::ProtocolVersion.description().contains("the same release"));
}

#[test]
fn a_wrong_or_missing_secret_is_refused_everywhere() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (right, wrong) = (file("right", "a secret"), file("wrong", "another secret"));
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (own, joining) = (path("m1"), path("m2"));
    let management = Process::start(&[
        "mgmd",
        "--listen",
        "127.0.0.1:0",
        "--data-nodes",
        "2",
        "--directory",
        &own,
        "--cluster-secret-file",
        &right,
    ]);
    for secret in [&[][..], &["--cluster-secret-file", &wrong]] {
        let base = ["datanode", "--node-id", "1", "--memory", "64MiB", "--management", &management.listen];
        let (code, error) = run_to_end(&[&base[..], secret].concat());
        assert_eq!(code, Some(1));
        assert!(error.contains("WrongSecret") && error.contains("--cluster-secret-file"), "{error}");
        let (succeeded, text) = status(&management.listen, secret);
        assert!(!succeeded && text.contains("error 65"), "{text}");
        let base = ["mgmd", "--node-id", "2", "--directory", &joining, "--join", &management.listen];
        let joiner = Process::start(&[&base[..], secret].concat());
        joiner.wait_until_it_says("WrongSecret");
    }
    assert!(status(&management.listen, &["--cluster-secret-file", &right]).0);
}

#[test]
fn addresses_where_nobody_answers_are_named() {
    let nobody = free_address();
    let node = Process::start(&["datanode", "--node-id", "1", "--memory", "64MiB", "--management", &nobody]);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    let joiner = Process::start(&["mgmd", "--node-id", "2", "--directory", &path, "--join", &nobody]);
    let (succeeded, text) = status(&nobody, &[]);
    assert!(!succeeded && text.contains(&nobody) && text.contains("--connect"), "{text}");
    node.wait_until_it_says(&format!("no management node can be reached at {nobody}"));
    joiner.wait_until_it_says(&format!("cannot be reached at {nobody}"));
}

#[test]
fn two_clusters_that_are_mixed_up_stay_two() {
    let (mut one, two) = (Cluster::start(1), Cluster::start(1));
    let ids = [&one, &two].map(|cluster| cluster.state().cluster_id);
    assert_ne!(ids[0], ids[1]);
    // A data node of one at the management node of the other, whose own node has that id.
    let (code, error) = run_to_end(&two.node_arguments("2"));
    assert_eq!(code, Some(1));
    assert!(error.contains("DuplicateNodeId") && error.contains(&two.nodes[1].listen), "{error}");
    // One that names the management nodes of both.
    one.nodes[1].kill();
    let both = format!("{},{}", one.management_addresses, two.management_addresses);
    let torn = Process::start(&["datanode", "--node-id", "2", "--memory", "64MiB", "--management", &both]);
    wait_for("a sentence", || {
        let log = torn.log();
        (log.contains("ForeignCluster") || log.contains("DuplicateNodeId")).then_some(())
    });
    drop(torn);
    one.restart_node(1);
    one.wait_for_full_members();
    // A management node of one in the list of the other, and one that joins the wrong cluster.
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    let (listen, third) = (free_address(), free_address());
    let list = format!("1={},2={listen},3={third}", one.management_addresses);
    let foreign = Process::start(&[
        "mgmd",
        "--node-id",
        "2",
        "--listen",
        &listen,
        "--data-nodes",
        "2",
        "--directory",
        &path,
        "--management",
        &list,
    ]);
    foreign.wait_until_it_says("management node 2 does not belong to the cluster");
    foreign.wait_until_it_says("duet admin add-management 2=");
    // A client that is told of both takes the first that answers for its cluster, and stays there.
    let (succeeded, text) = status(&both, &[]);
    let shown: serde_json::Value = serde_json::from_str(&text).expect("a JSON object");
    let shown = shown["cluster_id"].as_str().expect("text").to_owned();
    assert!(succeeded && ids.iter().any(|id| format!("{id:016x}") == shown), "{text}");
    // Frames that name the other cluster are refused by data nodes and management nodes.
    let mut builder = FrameBuilder::new();
    builder.push(0, 1, &Hello { role: ROLE_CLIENT.into(), ..Hello::default() }, Sections::none());
    let lost = builder.seal(&Envelope { cluster_id: ids[0], ..Envelope::default() }).expect("open").to_vec();
    for address in [&two.nodes[0].listen, &two.management[0].listen] {
        assert_eq!(answer_to(address, &lost), Some(ErrorCode::ForeignCluster));
    }
    assert_eq!([&one, &two].map(|cluster| cluster.state().cluster_id), ids);
}
