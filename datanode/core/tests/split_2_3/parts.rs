//! Parts whose mailboxes are emptied in an order that the node of the other tests seldom or never draws.

use crate::network::{CLUSTER, Network};
use duet_datanode_core::{
    CloseReason, Destination, Installation, Kernel, LinkId, Message, NodeConfiguration, Shared, Target,
    ToCoordinator, ToData,
};
use duet_memory::{Section, SectionPool};
use duet_protocol::frame::{Envelope, FrameBuilder, NO_LANE};
use duet_protocol::ids::Instance;
use duet_protocol::record::ClusterState;
use duet_protocol::signal::cluster_state::ClusterStateSignal;
use duet_protocol::signal::heartbeat::Heartbeat;
use duet_protocol::signal::hello::{Hello, ROLE_DATA_NODE, ROLE_MANAGEMENT};
use duet_protocol::signal::registered::Registered;
use duet_protocol::signal::welcome::Welcome;
use duet_protocol::signal::{Sections, Signal};
use std::sync::Arc;

const HERE: Instance = Instance { node: 1, incarnation: 11 };
const THERE: Instance = Instance { node: 2, incarnation: 12 };

fn configuration() -> NodeConfiguration {
    NodeConfiguration {
        node: HERE.node,
        process: [1; 16],
        address: "node-1".to_owned(),
        metrics_address: String::new(),
        management: vec!["management".to_owned()],
        secret: Vec::new(),
        memory_bytes: 16 << 20,
        arena_bytes: 16 << 20,
        memory_preparer: None,
        max_links: 100,
        seed: 1,
        link_close_is_proof: true,
        suspect_after: duet_datanode_core::SUSPECT_AFTER,
        lane_frame_signals: u16::MAX,
        planted_bug: 0,
    }
}

fn frame<S: Signal>(body: &S, sections: Sections<'_>) -> Section {
    let mut builder = FrameBuilder::new();
    builder.push(0, 0, body, sections);
    let envelope = Envelope { cluster_id: CLUSTER, sender: THERE, receiver: HERE, ..Envelope::default() };
    let bytes = builder.seal(&envelope).expect("open").to_vec();
    let mut section = SectionPool::new(4, 4096).take(bytes.len());
    section.extend_from_slice(&bytes);
    section.freeze()
}

fn hello(lane: u16) -> Section {
    let body = Hello { role: ROLE_DATA_NODE.into(), lane: lane.into(), ..Hello::default() };
    frame(&body, Sections::none())
}

fn messages(part: &mut Kernel) -> Vec<(Destination, Message)> {
    let mut taken = Vec::new();
    part.drain_messages(|destination, message| {
        taken.push((destination, message));
        Ok(())
    });
    taken
}

/// Links of lane 0 that a data part has told to coordinator 1.
fn forward_links(part: &mut Kernel) -> Vec<Option<LinkId>> {
    let told = |(destination, message)| match (destination, message) {
        (Destination::Coordinator(1), Message::Coordinator(ToCoordinator::ForwardLink { node, link })) => {
            assert_eq!(node, THERE.node);
            Some(link)
        }
        _ => None,
    };
    messages(part).into_iter().filter_map(told).collect()
}

/// The only data part of a node that also has two coordinators, in a formed cluster.
fn data_part() -> Kernel {
    let shared = Shared::new(16 << 20, 100, 2, 1).expect("valid");
    let mut part = Kernel::data(configuration(), 0, &shared, 0).expect("valid");
    let state = Network::formed().state;
    let record = state.to_record().expect("fits");
    let installation = Installation { state, record, instance: HERE, cluster_id: CLUSTER };
    part.data_message(0, 0, ToData::Install(Arc::new(installation)));
    messages(&mut part);
    part
}

#[test]
fn requests_are_forwarded_over_an_accepted_link_once_its_peer_has_spoken() {
    let (mut part, link) = (data_part(), LinkId { slot: 5, generation: 1 });
    part.data_message(0, 1, ToData::PeerFrame { link, frame: hello(0) });
    assert_eq!(forward_links(&mut part), [], "a coordinator's request could overtake the welcome");
    let heartbeat = || frame(&Heartbeat::default(), Sections::none());
    part.data_message(0, 1, ToData::PeerFrame { link, frame: heartbeat() });
    assert_eq!(forward_links(&mut part), [Some(link)]);
    part.data_message(0, 1, ToData::PeerFrame { link, frame: heartbeat() });
    assert_eq!(forward_links(&mut part), [], "once");
    part.data_message(0, 1, ToData::LinkClosed { link, by_peer: false });
    assert_eq!(forward_links(&mut part), [None]);
}

#[test]
fn a_slot_may_be_used_again_before_its_end_is_told() {
    let mut part = data_part();
    let (first, second) = (LinkId { slot: 5, generation: 1 }, LinkId { slot: 5, generation: 2 });
    let heartbeat = || frame(&Heartbeat::default(), Sections::none());
    part.data_message(0, 0, ToData::PeerFrame { link: first, frame: hello(0) });
    part.data_message(0, 0, ToData::PeerFrame { link: first, frame: heartbeat() });
    assert_eq!(forward_links(&mut part), [Some(first)]);
    // The next link in the slot belongs to the other coordinator, whose mailbox is emptied first.
    part.data_message(0, 1, ToData::PeerFrame { link: second, frame: hello(1) });
    assert_eq!(forward_links(&mut part), [None], "the lane has lost its link");
    part.data_message(0, 0, ToData::PeerFrame { link: first, frame: heartbeat() });
    part.data_message(0, 0, ToData::LinkClosed { link: first, by_peer: false });
    part.data_message(0, 1, ToData::PeerFrame { link: second, frame: heartbeat() });
    assert_eq!(part.next_command(), None, "the new link is not disturbed");
    part.data_message(0, 1, ToData::LinkClosed { link: second, by_peer: false });
    part.data_message(0, 0, ToData::PeerFrame { link: first, frame: hello(0) });
    assert_eq!(forward_links(&mut part), []);
}

/// Time at which nothing that an earlier life of the node has promised holds any more.
const STARTED: u64 = 1_000_000_000;

/// Coordinator 0 of two, registered.
fn first_coordinator(link: LinkId) -> Kernel {
    let shared = Shared::new(16 << 20, 100, 2, 1).expect("valid");
    let mut part = Kernel::coordinator(configuration(), 0, &shared, 0).expect("valid");
    part.link_connected(0, link, Target::Management { index: 0 });
    let welcome = Welcome { role: ROLE_MANAGEMENT.into(), lane: NO_LANE.into(), ..Welcome::default() };
    part.shared_frame(0, link, &frame(&welcome, Sections::none()));
    let incarnation = HERE.incarnation.into();
    let registered = Registered { incarnation, cluster_id: CLUSTER.into(), ..Registered::default() };
    part.shared_frame(0, link, &frame(&registered, Sections::none()));
    part
}

fn state_frame(state: &ClusterState) -> Section {
    let body = ClusterStateSignal { version: state.version.into() };
    frame(&body, Sections::one(&state.to_record().expect("fits")))
}

/// Destinations and versions of the installations that a coordinator hands out.
fn installations(part: &mut Kernel) -> Vec<(Destination, u64)> {
    let handed_out = |(destination, message)| match message {
        Message::Data(ToData::Install(installation))
        | Message::Coordinator(ToCoordinator::Install(installation)) => {
            Some((destination, installation.state.version))
        }
        _ => None,
    };
    messages(part).into_iter().filter_map(handed_out).collect()
}

#[test]
fn a_version_is_reported_when_every_part_has_it_and_the_newest_is_next() {
    let link = LinkId { slot: 1, generation: 1 };
    let mut part = first_coordinator(link);
    let mut state = Network::formed().state;
    let first = state.version;
    part.shared_frame(STARTED, link, &state_frame(&state));
    assert_eq!(installations(&mut part), [(Destination::Data(0), first)]);
    // Two management nodes, of which one lags behind.
    for version in [first + 2, first + 1] {
        state.version = version;
        part.shared_frame(STARTED, link, &state_frame(&state));
    }
    assert_eq!(installations(&mut part), []);
    part.coordinator_message(0, ToCoordinator::Installed { version: first });
    assert_eq!(installations(&mut part), [(Destination::Coordinator(1), first)]);
    assert_eq!(part.counters().state_version, 0, "coordinator 1 does not know the tables yet");
    part.coordinator_message(0, ToCoordinator::Installed { version: first });
    assert_eq!(part.counters().state_version, first);
    assert_eq!(installations(&mut part), [(Destination::Data(0), first + 2)]);
    part.link_closed(0, link, CloseReason::ByPeer);
}
