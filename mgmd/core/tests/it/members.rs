//! Lagging, wiped, added and rolled-back management nodes.

use crate::harness::{Cluster, FakeDataNode, configuration};
use duet_protocol::error::ErrorCode;
use duet_protocol::signal::Sections;
use duet_protocol::signal::change_dictionary::{ChangeDictionary, KIND_CREATE_TABLE, KIND_DROP_TABLE};

/// Enough changes that the log is compacted.
fn churn(cluster: &mut Cluster, rounds: u32) {
    let leader = cluster.wait_for_leader();
    let client = cluster.client(leader);
    let record = crate::harness::table("churned").to_record().expect("encodes");
    for round in 0..rounds {
        for (kind, section) in [(KIND_CREATE_TABLE, &record[..]), (KIND_DROP_TABLE, b"shop.churned")] {
            let mut request = [kind as u8; 16];
            request[..4].copy_from_slice(&round.to_ne_bytes());
            let body = ChangeDictionary { kind: kind.into(), request, ..ChangeDictionary::default() };
            cluster.send(client, 1, &body, Sections::one(section));
            cluster.wait_changed(client).expect("done");
        }
    }
}

#[test]
fn a_follower_that_lags_far_behind_gets_a_snapshot() {
    let mut cluster = Cluster::new(3, 2, 2);
    cluster.form(2);
    let leader = cluster.wait_for_leader();
    let lagging = (leader + 1) % 3;
    cluster.crash(lagging, 0);
    churn(&mut cluster, 120);
    cluster.start(lagging);
    cluster.run_until("catching up", |cluster| cluster.state(lagging) == cluster.state(leader));
    let before = cluster.state(lagging).clone();
    cluster.crash(lagging, 0);
    cluster.start(lagging);
    cluster.run(1_000);
    assert_eq!(*cluster.state(lagging), before);
}

#[test]
fn a_wiped_member_joins_under_a_new_id() {
    for wiped in 0..3 {
        let mut cluster = Cluster::new(3, 2, 2);
        cluster.form(2);
        cluster.crash(wiped, 0);
        cluster.run(1_500);
        cluster.places[wiped].disk.log.clear();
        cluster.places[wiped].configuration.raft_id = 555;
        cluster.start(wiped);
        cluster.run_until("the new member", |cluster| {
            let leader = cluster.leader();
            leader.is_some_and(|leader| cluster.state(leader).management[wiped].raft_id == 555)
        });
        cluster.run(500);
        let leader = cluster.wait_for_leader();
        assert_eq!(cluster.state(wiped), cluster.state(leader));
        // It votes: with another one dead there is still a majority.
        let dead = (0..3).find(|index| *index != wiped && *index == leader).unwrap_or((wiped + 1) % 3);
        cluster.crash(dead, 0);
        cluster.run(100);
        let leader = {
            cluster.run_until("a leader", |cluster| cluster.leader().is_some_and(|leader| leader != dead));
            cluster.leader().expect("one")
        };
        let client = cluster.client(leader);
        cluster.request_create(client, 1, "orders");
        assert!(cluster.wait_changed(client).is_ok());
    }
}

#[test]
fn a_wiped_majority_creates_no_second_cluster() {
    let mut cluster = Cluster::new(3, 2, 2);
    cluster.form(2);
    for wiped in 0..2 {
        cluster.crash(wiped, 0);
        cluster.places[wiped].disk.log.clear();
        cluster.places[wiped].configuration.raft_id = 900 + wiped as u64;
    }
    cluster.start(0);
    cluster.start(1);
    cluster.run(5_000);
    assert_eq!(cluster.leader(), None);
    assert_eq!(cluster.state(0).cluster_id, 0);
    assert_eq!(cluster.state(1).cluster_id, 0);
}

#[test]
fn one_node_grows_to_three() {
    let mut cluster = Cluster::new(3, 2, 2);
    for index in [1, 2] {
        cluster.crash(index, 0);
        cluster.places[index].disk.log.clear();
    }
    cluster.crash(0, 0);
    cluster.places[0].disk.log.clear();
    cluster.places[0].configuration = configuration(1, 1, 2, 2);
    cluster.start(0);
    cluster.form(2);
    let before = cluster.state(0).clone();
    cluster.crash(0, 0);
    cluster.places[0].configuration = configuration(1, 3, 2, 2);
    cluster.start(0);
    cluster.run(1_000);
    assert_eq!(cluster.leader(), Some(0), "alone until the others are there");
    cluster.start(1);
    cluster.run(2_000);
    assert_eq!(cluster.state(0).management.len(), 1, "two would be worse than one");
    cluster.start(2);
    cluster.run_until("three members", |cluster| {
        let leader = cluster.leader();
        leader.is_some_and(|leader| cluster.state(leader).management.len() == 3)
    });
    cluster.run(500);
    for index in 0..3 {
        assert_eq!(cluster.state(index).view, before.view);
    }
    cluster.crash(0, 0);
    cluster.run_until("another leader", |cluster| cluster.leader().is_some_and(|leader| leader != 0));
}

#[test]
fn a_node_whose_disk_was_rolled_back_refuses_changes() {
    let mut cluster = Cluster::new(1, 2, 2);
    cluster.wait_for_leader();
    let old_log = cluster.places[0].disk.log.clone();
    cluster.form(2);
    cluster.crash(0, 0);
    cluster.places[0].disk.log = old_log;
    cluster.start(0);
    cluster.run_until("the proof", |cluster| {
        cluster.places[0].node.as_ref().expect("runs").gauges(cluster.now).rolled_back == 1
    });
    let client = cluster.client(0);
    cluster.request_create(client, 1, "orders");
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::RolledBack));
    cluster.data_nodes.push(FakeDataNode::new(1, 99));
    cluster.run_until("the refusal", |cluster| cluster.data_nodes[2].refused.is_some());
    assert_eq!(cluster.data_nodes[2].refused, Some(ErrorCode::RolledBack));
    assert_eq!(cluster.state(0).view.number, 0);
}

#[test]
fn a_follower_that_merely_lags_is_not_rolled_back() {
    let mut cluster = Cluster::new(3, 2, 2);
    let leader = cluster.wait_for_leader();
    let lagging = (leader + 1) % 3;
    cluster.cut = vec![lagging];
    cluster.form(2);
    cluster.run(2_000);
    assert_eq!(cluster.state(lagging).view.number, 0);
    cluster.cut.clear();
    cluster.run_until("catching up", |cluster| cluster.state(lagging).view.number == 1);
    cluster.run(1_000);
    for place in &cluster.places {
        assert_eq!(place.node.as_ref().expect("runs").gauges(cluster.now).rolled_back, 0);
    }
}

#[test]
fn a_follower_with_an_older_log_stops_and_says_so() {
    let mut cluster = Cluster::new(3, 2, 2);
    cluster.run(2_000);
    let leader = cluster.wait_for_leader();
    let follower = (leader + 1) % 3;
    let old_log = cluster.places[follower].disk.log.clone();
    cluster.form(2);
    cluster.run(500);
    cluster.crash(follower, 0);
    cluster.places[follower].disk.log = old_log;
    cluster.start(follower);
    cluster.run(1_000);
    let stopped = cluster.places[follower].stopped.clone();
    match stopped {
        Some(reason) => assert!(reason.contains("rolled back"), "{reason}"),
        None => assert_eq!(cluster.state(follower), cluster.state(leader)),
    }
}
