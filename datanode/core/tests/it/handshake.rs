//! Links: handshakes, garbage, strangers.

use crate::network::{CLUSTER, Network, stranger};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder};
use duet_protocol::signal::hello::{Hello, ROLE_CLIENT, ROLE_DATA_NODE, ROLE_MANAGEMENT};
use duet_protocol::signal::node_report::NodeReport;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::{Sections, Signal};

fn frame<S: Signal>(body: &S, envelope: &Envelope) -> Vec<u8> {
    let mut builder = FrameBuilder::new();
    builder.push(0, 1, body, Sections::none());
    builder.seal(envelope).expect("open").to_vec()
}

fn refusal_of(bytes: &[u8]) -> Option<ErrorCode> {
    let mut network = Network::formed();
    let link = network.connect_client(0);
    network.raw(0, link, bytes);
    assert!(network.stopped.iter().all(Option::is_none));
    network.refused.first().and_then(|(_, code)| ErrorCode::from_number(*code))
}

#[test]
fn strangers_are_refused_with_the_reason() {
    let hello = |role: u16| Hello { role: role.into(), ..Hello::default() };
    let ours = Envelope { cluster_id: CLUSTER, ..Envelope::default() };
    assert_eq!(refusal_of(&frame(&hello(ROLE_CLIENT), &ours)), None);
    assert_eq!(refusal_of(&frame(&hello(ROLE_MANAGEMENT), &ours)), Some(ErrorCode::UnexpectedSignal));
    assert_eq!(refusal_of(&frame(&hello(9), &ours)), Some(ErrorCode::UnexpectedSignal));
    assert_eq!(refusal_of(&frame(&Read::default(), &ours)), Some(ErrorCode::HandshakeRequired));
    let foreign = Envelope { cluster_id: CLUSTER + 1, ..Envelope::default() };
    assert_eq!(refusal_of(&frame(&hello(ROLE_CLIENT), &foreign)), Some(ErrorCode::ForeignCluster));
    let returning = Envelope { sender: stranger(), ..ours };
    assert_eq!(refusal_of(&frame(&hello(ROLE_DATA_NODE), &returning)), Some(ErrorCode::NotInView));
    let mut damaged = frame(&hello(ROLE_CLIENT), &ours);
    damaged[100] ^= 1;
    assert_eq!(refusal_of(&damaged), Some(ErrorCode::DamagedFrame));
    assert_eq!(refusal_of(b"GET / HTTP/1.1\r\n\r\n"), Some(ErrorCode::ProtocolVersion));
}

#[test]
fn a_client_may_not_speak_for_a_node_or_invent_epochs() {
    let ours = Envelope { cluster_id: CLUSTER, ..Envelope::default() };
    let mut network = Network::formed();
    let link = network.client_link(0);
    network.raw(0, link, &frame(&NodeReport::default(), &ours));
    assert_eq!(network.refused, [(0, ErrorCode::UnexpectedSignal as u16)]);

    let mut network = Network::formed();
    let link = network.client_link(0);
    network.raw(0, link, &frame(&Read::default(), &Envelope { epoch: u64::MAX, ..ours }));
    assert_eq!(network.refused, [(0, ErrorCode::InvalidRequest as u16)]);
    assert!(network.kernels[0].counters().epoch < 1_000);
}

#[test]
fn a_link_without_handshake_is_closed_in_time() {
    let mut network = Network::formed();
    let link = network.connect_client(0);
    let before = network.kernels[0].counters().links;
    for _ in 0..10 {
        network.settle();
    }
    assert_eq!(network.kernels[0].counters().links, before - 1);
    assert!(!network.kernels[0].wants_input(link));
}
