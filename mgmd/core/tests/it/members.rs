//! Lagging, wiped, added and rolled-back management nodes.

use crate::harness::{Cluster, FakeDataNode, configuration};
use duet_mgmd_core::{ManagementConfiguration, ManagementPeer};
use duet_protocol::error::ErrorCode;
use duet_protocol::record::ManagementChange;
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
fn a_wiped_member_joins_under_a_new_id_when_it_is_asked_for() {
    for wiped in 0..3 {
        let mut cluster = Cluster::new(3, 2, 2);
        cluster.form(2);
        cluster.crash(wiped, 0);
        cluster.run(1_500);
        cluster.places[wiped].disk.log.clear();
        cluster.places[wiped].configuration.raft_id = 555;
        cluster.start(wiped);
        cluster.run(3_000);
        let leader = cluster.wait_for_leader();
        assert_eq!(
            cluster.state(leader).management[wiped].raft_id,
            101 + wiped as u64,
            "nobody asked for it"
        );
        assert_eq!(cluster.state(wiped).cluster_id, 0);
        let told = |text: &String| text.contains("duet admin replace-management");
        assert!(cluster.places[wiped].warnings.iter().any(told), "{:?}", cluster.places[wiped].warnings);
        let replace = ManagementChange::Replace { node: wiped as u32 + 1, address: None };
        cluster.change_management(90, &replace).expect("replaced");
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

/// A management node that joins at the first one.
fn joiner(node: u32) -> ManagementConfiguration {
    let mut configuration = configuration(node, 3, 2, 2);
    configuration.management.retain(|peer| peer.node == node);
    configuration.join = vec!["m1:1".to_owned()];
    configuration
}

/// One management node with two data nodes, and two more that would join.
fn one_and_joiners() -> Cluster {
    let mut cluster = Cluster::new(3, 2, 2);
    for index in 0..3 {
        cluster.crash(index, 0);
        cluster.places[index].disk.log.clear();
        let node = index as u32 + 1;
        cluster.places[index].configuration =
            if node == 1 { configuration(1, 1, 2, 2) } else { joiner(node) };
    }
    cluster.start(0);
    cluster.form(2);
    cluster
}

fn members_are(cluster: &mut Cluster, count: usize) {
    cluster.run_until("the members", |cluster| {
        let leader = cluster.leader();
        leader.is_some_and(|leader| {
            let management = &cluster.state(leader).management;
            management.len() == count && management.iter().all(|record| record.raft_id != 0)
        })
    });
}

#[test]
fn one_node_grows_to_three_and_shrinks_again() {
    let mut cluster = one_and_joiners();
    let before = cluster.state(0).clone();
    cluster.start(1);
    cluster.run(2_000);
    assert_eq!(cluster.state(0).management.len(), 1, "nobody asked for it");
    let told = |text: &String| text.contains("duet admin add-management 2=");
    assert!(cluster.places[1].warnings.iter().any(told), "{:?}", cluster.places[1].warnings);
    let add = |node: u32| ManagementChange::Add(vec![(node, format!("m{node}:1"))]);
    cluster.change_management(1, &add(2)).expect("added");
    cluster.run_until("the learner", |cluster| cluster.state(1).view == before.view);
    cluster.run(1_000);
    assert_eq!(cluster.state(0).management[1].raft_id, 0, "two would be worse than one");
    cluster.crash(1, 0);
    cluster.run(1_000);
    assert_eq!(cluster.leader(), Some(0), "whoever learns is not needed");
    cluster.start(1);
    cluster.start(2);
    cluster.change_management(2, &add(3)).expect("added");
    members_are(&mut cluster, 3);
    cluster.run(500);
    for index in 0..3 {
        assert_eq!(cluster.state(index).view, before.view);
    }
    cluster.crash(0, 0);
    cluster.run_until("another leader", |cluster| cluster.leader().is_some_and(|leader| leader != 0));
    let refused = cluster.change_management(3, &ManagementChange::Remove(vec![2]));
    assert_eq!(refused, Err(ErrorCode::InvalidConfiguration));
    cluster.start(0);
    cluster.run(1_000);
    // Whoever leads goes too.
    let leader = cluster.wait_for_leader();
    let stays = (leader + 1) % 3;
    let gone: Vec<u32> = (1..=3).filter(|node| *node != stays as u32 + 1).collect();
    cluster.change_management(4, &ManagementChange::Remove(gone.clone())).expect("removed");
    cluster.run_until("the last one", |cluster| cluster.leader() == Some(stays));
    cluster.run_until("the end of the others", |cluster| {
        gone.iter().all(|node| cluster.places[*node as usize - 1].stopped.is_some())
    });
    let sentence = cluster.places[leader].stopped.clone().expect("stopped");
    assert!(sentence.contains("was removed from the cluster"), "{sentence}");
    let client = cluster.client(stays);
    cluster.request_create(client, 9, "orders");
    assert!(cluster.wait_changed(client).is_ok());
    cluster.crash(stays, 0);
    cluster.start(stays);
    cluster.run_until("its return", |cluster| cluster.leader() == Some(stays));
}

#[test]
fn a_living_node_is_replaced_and_ends() {
    for replaced in 0..3 {
        let mut cluster = Cluster::new(3, 2, 2);
        cluster.form(2);
        let node = replaced as u32 + 1;
        let before = cluster.state(replaced).management[replaced].raft_id;
        // The new one is elsewhere, and was told of both others.
        let mut place = configuration(node, 3, 2, 2);
        place.management = vec![ManagementPeer { node, address: "elsewhere:1".to_owned() }];
        place.join = (1..=3).filter(|other| *other != node).map(|other| format!("m{other}:1")).collect();
        place.raft_id = 777;
        cluster.add_place(place);
        let replace = ManagementChange::Replace { node, address: Some("elsewhere:1".to_owned()) };
        cluster.change_management(1, &replace).expect("begun");
        cluster.run_until("the new member", |cluster| {
            let leader = cluster.leader();
            leader.is_some_and(|leader| cluster.state(leader).management[replaced].raft_id == 777)
        });
        assert_ne!(before, 777);
        cluster.run_until("the end of the old one", |cluster| cluster.places[replaced].stopped.is_some());
        let other = (replaced + 1) % 3;
        cluster.crash(other, 0);
        cluster.run_until("a leader", |cluster| cluster.leader().is_some_and(|leader| leader != other));
        let leader = cluster.leader().expect("one");
        let client = cluster.client(leader);
        cluster.request_create(client, 9, "orders");
        assert!(cluster.wait_changed(client).is_ok(), "the new one votes");
    }
}

#[test]
fn senseless_changes_of_members_are_refused() {
    let mut cluster = Cluster::new(1, 2, 2);
    cluster.form(2);
    let at = |node: u32, address: &str| (node, address.to_owned());
    let wrong = [
        ManagementChange::Add(vec![at(0, "a:1")]),
        ManagementChange::Add(vec![at(300, "a:1")]),
        ManagementChange::Add(vec![at(2, "a")]),
        ManagementChange::Add(vec![at(2, "a:0")]),
        ManagementChange::Add(vec![at(1, "a:1")]),
        ManagementChange::Add(vec![at(2, "m1:1")]),
        ManagementChange::Add(vec![at(2, "a:1"), at(3, "b:1"), at(4, "c:1")]),
        ManagementChange::Remove(vec![1]),
        ManagementChange::Replace { node: 1, address: None },
    ];
    for (request, change) in (1..).zip(wrong) {
        let refused = cluster.change_management(request, &change);
        assert_eq!(refused, Err(ErrorCode::InvalidConfiguration), "{change:?}");
    }
    let unknown = [ManagementChange::Remove(vec![2]), ManagementChange::Replace { node: 2, address: None }];
    for (request, change) in (50..).zip(unknown) {
        assert_eq!(cluster.change_management(request, &change), Err(ErrorCode::UnknownNodeId));
    }
    assert_eq!(cluster.state(0).management.len(), 1);
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
fn a_state_that_a_data_node_has_seen_proves_a_roll_back_within_a_view() {
    let mut cluster = Cluster::new(1, 2, 2);
    cluster.form(2);
    let old_log = cluster.places[0].disk.log.clone();
    let client = cluster.client(0);
    cluster.request_create(client, 1, "orders");
    cluster.wait_changed(client).expect("created");
    cluster.crash(0, 0);
    cluster.places[0].disk.log = old_log;
    cluster.start(0);
    cluster.run_until("the proof", |cluster| {
        cluster.places[0].node.as_ref().expect("runs").gauges(cluster.now).rolled_back == 1
    });
    assert!(cluster.places[0].warnings.iter().any(|text| text.contains("newer copy of its directory")));
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
