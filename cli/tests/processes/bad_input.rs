//! Garbage, half frames and strangers on the sockets of real processes.

use crate::cluster::Cluster;
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
    assert_eq!(bystander.ask(&read(table), Sections::one(&key)).signal_type, SignalType::ReadReply);
    for process in cluster.nodes.iter_mut().chain(&mut cluster.management) {
        assert!(process.child.try_wait().expect("waitable").is_none(), "every process lives");
    }
}
