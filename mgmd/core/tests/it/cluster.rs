//! Formation: elections, registration, the first view, restarts.

use crate::harness::{Cluster, FakeDataNode, MILLISECOND, configuration};
use duet_mgmd_core::{ManagementNode, StartError};
use duet_protocol::error::ErrorCode;
use duet_protocol::record::{ClusterState, ClusterStatus};
use duet_protocol::signal::Sections;
use duet_protocol::signal::cluster_state::ClusterStateSignal;
use duet_protocol::signal::cluster_status::ClusterStatusSignal;
use duet_protocol::signal::fetch_state::FetchState;
use duet_protocol::signal::fetch_status::FetchStatus;

#[test]
fn one_node_leads_at_once_and_forms_the_view() {
    let mut cluster = Cluster::new(1, 2, 2);
    cluster.run(30);
    assert_eq!(cluster.leader(), Some(0));
    cluster.form(2);
    let state = cluster.state(0);
    assert_eq!(state.check(), Ok(()));
    assert_eq!(state.view.number, 1);
    assert_eq!(state.view.groups.len(), 1);
    assert_eq!(state.nodes.len(), 2);
    assert_eq!(cluster.data_nodes[1].state, *state, "pushed as it is");
    let version = state.version;
    cluster.run(1_000);
    assert_eq!(cluster.state(0).version, version, "nothing changes at rest");
}

#[test]
fn three_nodes_elect_one_leader_and_agree() {
    let mut cluster = Cluster::new(3, 4, 2);
    let leader = cluster.wait_for_leader();
    cluster.form(4);
    cluster.run(200);
    for index in 0..3 {
        assert_eq!(cluster.state(index), cluster.state(leader));
    }
    let state = cluster.state(leader);
    assert_eq!(state.cluster_id, 0xc0ffee + 1, "the lowest node creates the cluster");
    assert_eq!(state.management.iter().map(|record| record.raft_id).collect::<Vec<_>>(), [101, 102, 103]);
    assert_eq!(state.view.groups.len(), 2);
    let terms: Vec<u64> = cluster
        .places
        .iter()
        .filter_map(|place| Some(place.node.as_ref()?.gauges(cluster.now).term))
        .collect();
    cluster.run(5_000);
    for (place, term) in cluster.places.iter().zip(terms) {
        assert_eq!(place.node.as_ref().expect("runs").gauges(cluster.now).term, term, "no election at rest");
    }
}

/// Whoever leads when the last data node registers knows the parts of all of them.
#[test]
fn lanes_and_partitions_follow_the_data_parts_that_registered() {
    let mut cluster = Cluster::automatic(3, 4, 2);
    let first = cluster.wait_for_leader();
    let parts = [1, 4, 2, 3];
    for (node, parts) in (1..=3).zip(parts) {
        let data_node = FakeDataNode { data_parts: parts, ..FakeDataNode::new(node, node as u8) };
        cluster.data_nodes.push(data_node);
    }
    cluster.run_until("three registrations", |cluster| {
        cluster.data_nodes.iter().all(|node| node.incarnation > 0)
    });
    let open = cluster.state(first).clone();
    assert_eq!((open.configuration.lanes, open.configuration.partitions, open.buckets.len()), (0, 0, 0));
    assert_eq!(open.check(), Ok(()));
    cluster.crash(first, 0);
    let second = cluster.wait_for_leader();
    cluster.data_nodes.push(FakeDataNode { data_parts: parts[3], ..FakeDataNode::new(4, 4) });
    cluster.run_until("the first view", |cluster| cluster.data_nodes[3].state.view.number == 1);
    let state = cluster.state(second).clone();
    assert_eq!((state.configuration.lanes, state.configuration.partitions), (4, 32));
    assert_eq!((state.check(), state.view.partitions.len()), (Ok(()), 32));
    assert_eq!(state.nodes.iter().map(|node| u32::from(node.data_parts)).collect::<Vec<_>>(), parts);
    cluster.start(first);
    cluster.run(2_000);
    assert_eq!(*cluster.state(first), state, "a restarted node learns what was chosen");
    assert!(cluster.places.iter().all(|place| place.warnings.is_empty()));
}

#[test]
fn more_data_parts_than_lanes_are_pointed_out() {
    let mut cluster = Cluster::new(1, 1, 1);
    cluster.data_nodes.push(FakeDataNode { data_parts: 3, ..FakeDataNode::new(1, 1) });
    cluster.run_until("the first view", |cluster| cluster.data_nodes[0].state.view.number == 1);
    assert_eq!(cluster.state(0).configuration.lanes, 1, "as the configuration says");
    let [warning] = &cluster.places[0].warnings[..] else { panic!("{:?}", cluster.places[0].warnings) };
    assert!(warning.contains("data node 1 has 3 data parts and the cluster 1 lanes"), "{warning}");
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let run = || {
        let mut cluster = Cluster::new(3, 2, 2);
        cluster.form(2);
        cluster.crash(0, 0);
        cluster.run(2_000);
        cluster.places.into_iter().map(|place| place.disk.log).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn registration_is_idempotent_and_guards_node_ids() {
    let mut cluster = Cluster::new(1, 2, 2);
    cluster.wait_for_leader();
    cluster.data_nodes.push(FakeDataNode::new(1, 1));
    cluster.run_until("registration", |cluster| cluster.data_nodes[0].incarnation == 1);
    cluster.data_nodes[0].incarnation = 0;
    cluster.run_until("registration again", |cluster| cluster.data_nodes[0].incarnation > 0);
    assert_eq!(cluster.data_nodes[0].incarnation, 1, "the same process keeps its incarnation");
    cluster.run(200);

    cluster.data_nodes.push(FakeDataNode::new(1, 77));
    cluster.run_until("a refusal", |cluster| cluster.data_nodes[1].refused.is_some());
    assert_eq!(cluster.data_nodes[1].refused, Some(ErrorCode::DuplicateNodeId));
    cluster.data_nodes.pop();

    cluster.data_nodes[0].alive = false;
    cluster.run(600);
    cluster.data_nodes.push(FakeDataNode::new(1, 78));
    cluster.run_until("the successor", |cluster| cluster.data_nodes[1].incarnation == 2);
    assert_eq!(cluster.state(0).view.number, 0, "no view with a process that is gone");

    cluster.data_nodes.remove(0);
    cluster.data_nodes.push(FakeDataNode::new(3, 3));
    cluster.run_until("a refusal", |cluster| cluster.data_nodes[1].refused.is_some());
    assert_eq!(cluster.data_nodes[1].refused, Some(ErrorCode::UnknownNodeId));
    cluster.data_nodes.pop();

    cluster.data_nodes.push(FakeDataNode::new(2, 2));
    cluster.run_until("the view", |cluster| cluster.state(0).view.number == 1);
    let member = cluster.state(0).view.member(1).expect("a member");
    assert_eq!(member.incarnation, 2);

    cluster.data_nodes[0].alive = false;
    cluster.run(600);
    cluster.data_nodes.push(FakeDataNode::new(1, 79));
    cluster.run_until("a refusal", |cluster| cluster.data_nodes[2].refused.is_some());
    assert_eq!(cluster.data_nodes[2].refused, Some(ErrorCode::ReturningInstance));
    assert_eq!(cluster.state(0).view.number, 1);
}

#[test]
fn a_view_waits_for_nodes_that_are_alive() {
    let mut cluster = Cluster::new(1, 2, 1);
    cluster.wait_for_leader();
    cluster.data_nodes.push(FakeDataNode::new(1, 1));
    cluster.run_until("registration", |cluster| cluster.data_nodes[0].incarnation == 1);
    cluster.data_nodes[0].alive = false;
    cluster.run(600);
    cluster.data_nodes.push(FakeDataNode::new(2, 2));
    cluster.run(2_000);
    assert_eq!(cluster.state(0).view.number, 0);
    cluster.data_nodes[0].alive = true;
    cluster.run_until("the view", |cluster| cluster.state(0).view.number == 1);
}

#[test]
fn state_and_status_are_answered_by_everyone() {
    let mut cluster = Cluster::new(3, 2, 2);
    cluster.form(2);
    cluster.run(300);
    let leader = cluster.leader().expect("one");
    for index in 0..3 {
        let client = cluster.client(index);
        cluster.send(client, 7, &FetchState { known_version: 0.into() }, Sections::none());
        let version = cluster.state(index).version;
        cluster.send(client, 8, &FetchState { known_version: version.into() }, Sections::none());
        cluster.send(client, 9, &FetchStatus::default(), Sections::none());
        cluster.pump();
        let mut seen = Vec::new();
        cluster.take(client, |envelope, signal| {
            assert_eq!((envelope.view, envelope.cluster_id), (1, 0xc0ffee + 1));
            seen.push(signal.request_id());
            if let Some(body) = signal.body::<ClusterStateSignal>() {
                assert_eq!(body.version.get(), version);
                match signal.request_id() {
                    7 => assert_eq!(
                        ClusterState::from_record(signal.section(0)).expect("sound").version,
                        version
                    ),
                    _ => assert!(signal.section(0).is_empty()),
                }
            }
            if signal.body::<ClusterStatusSignal>().is_some() {
                let status = ClusterStatus::from_record(signal.section(0)).expect("sound");
                assert_eq!(status.answered_by as usize, index + 1);
                assert!(status.nodes.iter().all(|node| node.connected && node.serving && node.in_view));
                assert_eq!(status.nodes[1].rows, 5);
                let leaders: Vec<u32> =
                    status.management.iter().filter(|m| m.leader).map(|m| m.node).collect();
                assert_eq!(leaders, [leader as u32 + 1]);
            }
        });
        assert_eq!(seen, [7, 8, 9]);
    }
}

#[test]
fn a_restart_keeps_everything_that_was_answered() {
    let mut cluster = Cluster::new(1, 2, 2);
    cluster.form(2);
    let before = cluster.state(0).clone();
    cluster.crash(0, 0);
    cluster.start(0);
    cluster.run(500);
    assert_eq!(*cluster.state(0), before);
    assert_eq!(cluster.leader(), Some(0));
}

#[test]
fn a_lost_tail_is_as_if_never_asked() {
    for kept in [0, 8, 39, 40, 41, 100, 1_000] {
        let mut cluster = Cluster::new(1, 2, 2);
        cluster.wait_for_leader();
        cluster.places[0].disk.stalled = true;
        cluster.data_nodes.push(FakeDataNode::new(1, 1));
        cluster.run(600);
        assert_eq!(cluster.data_nodes[0].incarnation, 0, "nothing is answered before it is durable");
        cluster.crash(0, kept);
        cluster.start(0);
        cluster.run_until("registration", |cluster| cluster.data_nodes[0].incarnation == 1);
    }
}

#[test]
fn the_leader_dies_and_the_others_go_on() {
    let mut cluster = Cluster::new(3, 2, 2);
    cluster.form(2);
    let leader = cluster.leader().expect("one");
    let before = cluster.state(leader).clone();
    cluster.crash(leader, 0);
    let died_at = cluster.now;
    cluster.run_until("another leader", |cluster| cluster.leader().is_some());
    assert!(cluster.now - died_at < 1_500 * MILLISECOND);
    let next = cluster.leader().expect("one");
    assert_ne!(next, leader);
    assert_eq!(*cluster.state(next), before);
    cluster.start(leader);
    cluster.run(1_000);
    assert_eq!(*cluster.state(leader), before);
    assert_eq!(cluster.leader(), Some(next), "the old leader does not disturb the new one");
}

#[test]
fn a_minority_changes_nothing() {
    let mut cluster = Cluster::new(3, 1, 1);
    let leader = cluster.wait_for_leader();
    cluster.cut = vec![leader];
    cluster.reset_links_of(leader);
    cluster.data_nodes.push(FakeDataNode::new(1, 1));
    cluster.run_until("registration", |cluster| cluster.data_nodes[0].incarnation == 1);
    assert!(cluster.state(leader).nodes.is_empty());
    cluster.run(1_000);
    assert_eq!(cluster.places[leader].node.as_ref().expect("runs").gauges(cluster.now).leading, 0);
    cluster.cut.clear();
    cluster.run(3_000);
    assert_eq!(cluster.state(leader).nodes.len(), 1);
}

#[test]
fn impossible_configurations_are_refused_with_a_sentence() {
    let refuse = |count, data_nodes, replicas, partitions, lanes| {
        let mut wrong = configuration(1, count, data_nodes, replicas);
        wrong.cluster.partitions = partitions;
        wrong.cluster.lanes = lanes;
        match ManagementNode::new(wrong, &[], 0) {
            Err(StartError::Configuration(sentence)) => sentence,
            _ => panic!("accepted"),
        }
    };
    assert!(refuse(2, 2, 2, 8, 1).contains("1 or 3 management nodes"));
    assert!(refuse(1, 3, 2, 8, 1).contains("divide"));
    assert!(refuse(1, 2, 3, 8, 1).contains("replicas"));
    assert!(refuse(1, 0, 1, 8, 1).contains("data nodes"));
    assert!(refuse(1, 2, 2, 5_000, 1).contains("partitions"));
    assert!(refuse(1, 2, 2, 8, 129).contains("lanes"));

    let mut cluster = Cluster::new(1, 2, 2);
    cluster.run(100);
    let log = &cluster.places[0].disk.log;
    let other = ManagementNode::new(configuration(1, 1, 4, 2), log, 0).err().expect("refused");
    assert!(other.to_string().contains("created with 2 data nodes"), "{other}");
    let mut lanes = configuration(1, 1, 2, 2);
    lanes.cluster.lanes = 2;
    let lanes = ManagementNode::new(lanes, log, 0).err().expect("refused");
    assert!(lanes.to_string().contains("8 partitions and 1 lanes"), "{lanes}");
    let mut automatic = configuration(1, 1, 2, 2);
    (automatic.cluster.lanes, automatic.cluster.partitions) = (0, 0);
    assert!(ManagementNode::new(automatic, log, 0).is_ok(), "what the cluster has is kept");
    let mut foreign = configuration(2, 1, 2, 2);
    foreign.management[0].node = 2;
    let foreign = ManagementNode::new(foreign, log, 0).err().expect("refused");
    assert_eq!(foreign, StartError::ForeignDirectory { found: 1, wanted: 2 });
}

#[test]
fn a_leader_with_a_slow_disk_goes_on_leading() {
    let mut cluster = Cluster::new(3, 1, 1);
    let leader = cluster.wait_for_leader();
    let term = cluster.places[leader].node.as_ref().expect("runs").gauges(cluster.now).term;
    cluster.places[leader].disk.stalled = true;
    cluster.data_nodes.push(FakeDataNode::new(1, 1));
    cluster.run(2_000);
    assert_eq!(cluster.leader(), Some(leader));
    assert_eq!(cluster.data_nodes[0].incarnation, 0, "what is not durable here is not answered from here");
    cluster.places[leader].disk.stalled = false;
    cluster.run_until("registration", |cluster| cluster.data_nodes[0].incarnation == 1);
    assert_eq!(cluster.places[leader].node.as_ref().expect("runs").gauges(cluster.now).term, term);
}

#[test]
fn nobody_hears_of_a_cluster_that_a_crash_can_undo() {
    let mut cluster = Cluster::new(1, 1, 1);
    cluster.run_until("the identity is durable", |cluster| !cluster.places[0].disk.log.is_empty());
    cluster.places[0].disk.stalled = true;
    cluster.run(200);
    assert!(cluster.places[0].disk.waiting.is_some(), "the new cluster is being written");
    assert_eq!(cluster.state(0).cluster_id, 0);
    cluster.places[0].disk.stalled = false;
    cluster.run_until("the cluster exists", |cluster| cluster.state(0).cluster_id != 0);
}
