//! Management nodes: any one of three may die, one becomes three and three become one by command, and a directory that was lost or
//! rolled back is noticed.

use crate::cluster::{Cluster, Process, copy_directory, free_address, run_to_end, wait_for};
use crate::failover::increments_survive;
use crate::wire::Wire;
use duet_client::{Client, ColumnType, TableDefinition};
use duet_protocol::error::ErrorCode;
use std::process::Command;

/// Runs `duet admin` to its end: whether it succeeded, and what it wrote.
fn admin(arguments: &[&str], connect: &str) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_duet"))
        .arg("admin")
        .args(arguments)
        .args(["--connect", connect])
        .output()
        .expect("the binary exists");
    let text = if output.status.success() { output.stdout } else { [output.stdout, output.stderr].concat() };
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn must(arguments: &[&str], connect: &str) -> String {
    let (succeeded, text) = admin(arguments, connect);
    assert!(succeeded, "{arguments:?}: {text}");
    text
}

fn must_not(arguments: &[&str], connect: &str, sentence: &str) {
    let (succeeded, text) = admin(arguments, connect);
    assert!(!succeeded && text.contains(sentence), "{arguments:?}: {text}");
}

/// The management nodes as `duet admin status` shows them: id, connected, votes.
fn members(connect: &str) -> Option<Vec<(u64, bool, bool)>> {
    let (succeeded, text) = admin(&["status", "--json"], connect);
    let status: serde_json::Value = serde_json::from_str(&text).ok().filter(|_| succeeded)?;
    let is = |node: &serde_json::Value, what: &str| node[what].as_bool().expect("a boolean");
    let management = status["management"].as_array().expect("a list").iter();
    Some(
        management
            .map(|node| (node["node"].as_u64().expect("a number"), is(node, "connected"), is(node, "votes")))
            .collect(),
    )
}

/// Waits until these management nodes vote and are connected, and one of them leads.
fn wait_for_members(cluster: &mut Cluster, nodes: &[u64]) {
    wait_for("the management nodes", || {
        let leader = cluster.leading();
        let all = members(&cluster.management[leader].listen)?;
        let wanted: Vec<(u64, bool, bool)> = nodes.iter().map(|node| (*node, true, true)).collect();
        (all == wanted).then_some(())
    });
}

fn some_table(name: &str) -> TableDefinition {
    TableDefinition::builder("test", name)
        .required("id", ColumnType::Int)
        .primary_key(["id"])
        .build()
        .expect("valid")
}

#[test]
fn any_management_node_may_die_and_come_back() {
    let mut cluster = Cluster::start(3);
    for index in 0..3 {
        cluster.management[index].kill();
        let name = format!("without{index}");
        let (code, _) = cluster.leader().create_table(&name, 1 + index as u8);
        assert_eq!(code, 0, "two of three change the state");
        cluster.restart_management(index);
        wait_for_members(&mut cluster, &[1, 2, 3]);
    }
}

#[test]
fn a_leading_management_node_and_a_data_node_die_in_the_same_instant() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leading();
    increments_survive(&mut cluster, |cluster| {
        cluster.management[leader].kill();
        cluster.nodes[0].kill();
    });
    cluster.restart_management(leader);
    cluster.restart_node(0);
    cluster.wait_for_full_members();
    wait_for_members(&mut cluster, &[1, 2, 3]);
}

#[test]
fn one_management_node_becomes_three_and_one_again() {
    let mut cluster = Cluster::start(1);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let first = cluster.management[0].listen.clone();
    let client = runtime.block_on(async {
        let client = Client::connect(&first).await.expect("connected");
        client.create_table(some_table("before")).await.expect("created");
        client
    });
    let addresses = [first.clone(), free_address(), free_address()];
    for node in [2, 3] {
        let joiner = cluster.start_joiner(node, &addresses[node as usize - 1], &first);
        // Nobody has asked for it yet.
        joiner.wait_until_it_says("duet admin add-management");
        cluster.management.push(joiner);
    }
    let (second, third) = (format!("2={}", addresses[1]), format!("3={}", addresses[2]));
    must_not(&["add-management", "2=nowhere"], &first, "ID=HOST:PORT");
    must_not(&["add-management", "1=127.0.0.1:5"], &first, "belongs to the cluster already");
    must_not(&["add-management", &second, &third, "4=127.0.0.1:5"], &first, "1 or 3 management nodes");
    must_not(&["remove-management", "1"], &first, "no management node would remain");
    must_not(&["remove-management", "7"], &first, "error 72");
    must_not(&["replace-management", "1"], &first, "is the only one");
    // The second one alone learns only.
    let said = must(&["add-management", &second], &first);
    assert!(said.contains("vote when a third one is there"), "{said}");
    wait_for("the learner", || {
        members(&first).filter(|all| all == &[(1, true, true), (2, true, false)]).map(drop)
    });
    let said = must(&["add-management", &third], &first);
    assert!(said.contains("management nodes 1, 2, 3 vote"), "{said}");
    wait_for_members(&mut cluster, &[1, 2, 3]);
    must_not(&["remove-management", "3"], &first, "tolerate no more failures than one");

    // Everybody has learnt where the new ones are: the cluster survives the loss of the first one, and of a data node.
    cluster.management[0].kill();
    increments_survive(cluster_of(&mut cluster, &addresses[1..]), |cluster| cluster.nodes[1].kill());
    cluster.management_addresses = addresses[1].clone();
    cluster.restart_node(1);
    cluster.wait_for_full_members();
    runtime.block_on(async {
        client.create_table(some_table("after")).await.expect("created");
    });
    cluster.restart_management(0);
    wait_for_members(&mut cluster, &[1, 2, 3]);

    let said = must(&["remove-management", "2", "3"], &addresses.join(","));
    assert!(said.contains("management nodes are 1"), "{said}");
    for index in [1, 2] {
        wait_for("the end of a removed management node", || {
            cluster.management[index].has_ended().then_some(())
        });
        cluster.management[index].wait_until_it_says("was removed from the cluster");
    }
    cluster.management.truncate(1);
    wait_for_members(&mut cluster, &[1]);
    let (code, _) = cluster.leader().create_table("alone", 9);
    assert_eq!(code, 0);
}

/// The same cluster, whose clients begin at other management nodes.
fn cluster_of<'a>(cluster: &'a mut Cluster, addresses: &[String]) -> &'a mut Cluster {
    cluster.management_addresses = addresses.join(",");
    cluster
}

#[test]
fn a_wiped_management_node_comes_back_by_command_only() {
    let mut cluster = Cluster::start(3);
    wait_for_members(&mut cluster, &[1, 2, 3]);
    // Another process with the id of one that lives.
    let contact = cluster.management[0].listen.clone();
    let twin = {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().display().to_string();
        let twin = Process::start(&[
            "mgmd",
            "--node-id",
            "2",
            "--listen",
            "127.0.0.1:0",
            "--directory",
            &path,
            "--join",
            &contact,
        ]);
        twin.wait_until_it_says("DuplicateNodeId");
        (twin, directory)
    };
    drop(twin);

    let wiped = 1;
    cluster.management[wiped].kill();
    std::fs::remove_dir_all(cluster.management_directory(wiped)).expect("removed");
    cluster.restart_management(wiped);
    cluster.management[wiped].wait_until_it_says("duet admin replace-management 2");
    // It does not vote as its old self: with it alone the first one has no majority.
    let leader = cluster.leading();
    assert_ne!(leader, wiped);
    let other = 2 - leader;
    cluster.management[other].kill();
    let rest = cluster.management[leader].listen.clone();
    wait_for("the loss of the majority", || {
        let code = Wire::client(&rest).drop_table("nothing", 3);
        (code == ErrorCode::NotLeader as u16).then_some(())
    });
    cluster.restart_management(other);
    let leader = cluster.leading();
    let said = must(&["replace-management", "2"], &cluster.management[leader].listen.clone());
    assert!(said.contains("management nodes 1, 2, 3 vote"), "{said}");
    wait_for_members(&mut cluster, &[1, 2, 3]);
    // Now it votes.
    cluster.management[other].kill();
    let (code, _) = cluster.leader().create_table("again", 4);
    assert_eq!(code, 0);
}

#[test]
fn a_rolled_back_management_node_says_so_and_ends() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leading();
    let old = (leader + 1) % 3;
    let (directory, copy) = (cluster.management_directory(old), cluster.management_directory(7));
    cluster.management[old].kill();
    copy_directory(&directory, &copy);
    cluster.restart_management(old);
    wait_for_members(&mut cluster, &[1, 2, 3]);
    let (code, _) = cluster.leader().create_table("newer", 1);
    assert_eq!(code, 0);
    assert_eq!(cluster.leading(), leader);
    cluster.management[old].kill();
    copy_directory(&copy, &directory);
    let (code, error) = run_to_end(&cluster.management_arguments(old));
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("rolled back") && error.contains("duet admin replace-management"), "{error}");
    // Its directory is removed, another one takes its place.
    std::fs::remove_dir_all(&directory).expect("removed");
    cluster.restart_management(old);
    let id = (old + 1).to_string();
    must(&["replace-management", &id], &cluster.management[leader].listen.clone());
    wait_for_members(&mut cluster, &[1, 2, 3]);
}

#[test]
fn a_single_management_node_that_was_rolled_back_refuses_changes() {
    let mut cluster = Cluster::start(1);
    let (directory, copy) = (cluster.management_directory(0), cluster.management_directory(7));
    cluster.management[0].kill();
    copy_directory(&directory, &copy);
    cluster.restart_management(0);
    let (code, table) = cluster.leader().create_table("newer", 1);
    assert_eq!(code, 0);
    cluster.management[0].kill();
    copy_directory(&copy, &directory);
    cluster.restart_management(0);
    let address = cluster.management[0].listen.clone();
    wait_for("the proof", || {
        let code = Wire::client(&address).drop_table("nothing", 2);
        (code == ErrorCode::RolledBack as u16).then_some(())
    });
    must_not(&["user", "drop", "nobody"], &address, "newer copy of its directory");
    // The data nodes serve on.
    let (key, _) = crate::wire::row(1, 0, "");
    let mut wire = Wire::client(&cluster.nodes[0].listen);
    let answer = wire.ask(&crate::wire::read(table), duet_protocol::signal::Sections::one(&key));
    assert_eq!(answer.signal_type, duet_protocol::signal::SignalType::ReadReply);
    // Nor do they give up their rows when the directory is lost: that is another cluster, and they know.
    cluster.management[0].kill();
    std::fs::remove_dir_all(&directory).expect("removed");
    cluster.restart_management(0);
    cluster.nodes[0].wait_until_it_says("ForeignCluster");
    assert!(cluster.nodes.iter_mut().all(|node| !node.has_ended()));
    let answer = wire.ask(&crate::wire::read(table), duet_protocol::signal::Sections::one(&key));
    assert_eq!(answer.signal_type, duet_protocol::signal::SignalType::ReadReply);
}
