//! Garbage, foreigners and wrong roles.

use crate::harness::{Cluster, OutsiderId};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder};
use duet_protocol::signal::change_dictionary::ChangeDictionary;
use duet_protocol::signal::fetch_state::FetchState;
use duet_protocol::signal::hello::{Hello, ManagementIdentity, ROLE_CLIENT, ROLE_DATA_NODE, ROLE_MANAGEMENT};
use duet_protocol::signal::node_report::NodeReport;
use duet_protocol::signal::raft_message::RaftMessage;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::refuse_link::RefuseLink;
use duet_protocol::signal::register::Register;
use duet_protocol::signal::{Sections, SignalType};

fn refusal(cluster: &mut Cluster, outsider: OutsiderId) -> ErrorCode {
    cluster.pump();
    let mut code = None;
    cluster.take(outsider, |_, signal| {
        if let Some(body) = signal.body::<RefuseLink>() {
            code = ErrorCode::from_number(body.code.get());
        }
    });
    assert!(cluster.is_closed(outsider), "a refused link is closed");
    code.expect("a refusal says why")
}

#[test]
fn the_first_frame_must_be_a_sound_hello() {
    let mut cluster = Cluster::new(1, 1, 1);
    cluster.places[0].configuration.secret = b"abc".to_vec();
    cluster.crash(0, 0);
    cluster.places[0].disk.log.clear();
    cluster.start(0);
    cluster.run(100);

    let outsider = cluster.connect(0);
    cluster.send_bytes(outsider, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec());
    assert_eq!(refusal(&mut cluster, outsider), ErrorCode::ProtocolVersion);

    let outsider = cluster.connect(0);
    cluster.send(outsider, 1, &FetchState::default(), Sections::none());
    assert_eq!(refusal(&mut cluster, outsider), ErrorCode::HandshakeRequired);

    for secret in [&b""[..], b"abd", b"abcd"] {
        let outsider = cluster.connect(0);
        cluster.hello(outsider, ROLE_CLIENT, [1; 16], secret);
        assert_eq!(refusal(&mut cluster, outsider), ErrorCode::WrongSecret);
    }

    let outsider = cluster.connect(0);
    let hello = Hello { role: ROLE_CLIENT.into(), ..Hello::default() };
    cluster.send(outsider, 1, &hello, Sections::two(b"abc", &[b'x'; 8_000]));
    assert_eq!(refusal(&mut cluster, outsider), ErrorCode::FrameTooLarge);

    let outsider = cluster.connect(0);
    let foreign = Envelope { cluster_id: 42, ..Envelope::default() };
    cluster.send_from(outsider, foreign, 1, &hello, Sections::one(b"abc"));
    assert_eq!(refusal(&mut cluster, outsider), ErrorCode::ForeignCluster);

    let outsider = cluster.connect(0);
    cluster.hello(outsider, 9, [1; 16], b"abc");
    assert_eq!(refusal(&mut cluster, outsider), ErrorCode::UnexpectedSignal);

    let outsider = cluster.connect(0);
    cluster.hello(outsider, ROLE_MANAGEMENT, [1; 16], b"abc");
    assert_eq!(refusal(&mut cluster, outsider), ErrorCode::UnknownNodeId);

    let silent = cluster.connect(0);
    cluster.run(5_200);
    assert_eq!(refusal(&mut cluster, silent), ErrorCode::HandshakeRequired);

    let outsider = cluster.connect(0);
    cluster.hello(outsider, ROLE_CLIENT, [1; 16], b"abc");
    cluster.pump();
    assert_eq!(cluster.types(outsider), [SignalType::Welcome]);
}

#[test]
fn roles_may_say_only_what_is_theirs() {
    let mut cluster = Cluster::new(1, 1, 1);
    cluster.run(100);
    let mut one = |role: u16, push: &dyn Fn(&mut FrameBuilder)| {
        let outsider = cluster.connect(0);
        cluster.hello(outsider, role, [1; 16], b"");
        cluster.pump();
        let mut builder = FrameBuilder::new();
        push(&mut builder);
        builder.seal(&Envelope::default());
        cluster.send_bytes(outsider, builder.sealed().to_vec());
        refusal(&mut cluster, outsider)
    };
    let none = Sections::none();
    assert_eq!(one(ROLE_CLIENT, &|b| b.push(0, 1, &Register::default(), none)), ErrorCode::UnexpectedSignal);
    assert_eq!(
        one(ROLE_CLIENT, &|b| b.push(0, 1, &RaftMessage::default(), none)),
        ErrorCode::UnexpectedSignal
    );
    assert_eq!(
        one(ROLE_CLIENT, &|b| b.push(0, 1, &NodeReport::default(), none)),
        ErrorCode::UnexpectedSignal
    );
    assert_eq!(one(ROLE_CLIENT, &|b| b.push(0, 1, &Hello::default(), none)), ErrorCode::UnexpectedSignal);
    assert_eq!(one(ROLE_CLIENT, &|b| b.push(0, 1, &Read::default(), none)), ErrorCode::UnexpectedSignal);
    let change = ChangeDictionary::default();
    assert_eq!(one(ROLE_DATA_NODE, &|b| b.push(0, 1, &change, none)), ErrorCode::UnexpectedSignal);
}

#[test]
fn damaged_and_oversized_frames_close_the_link_only() {
    let mut cluster = Cluster::new(1, 1, 1);
    cluster.run(100);
    let bystander = cluster.client(0);

    let client = cluster.client(0);
    let mut builder = FrameBuilder::new();
    builder.push(0, 1, &FetchState::default(), Sections::none());
    builder.seal(&Envelope::default());
    let mut bytes = builder.sealed().to_vec();
    bytes[100] ^= 1;
    cluster.send_bytes(client, bytes);
    assert_eq!(refusal(&mut cluster, client), ErrorCode::DamagedFrame);

    let client = cluster.client(0);
    cluster.send(client, 1, &ChangeDictionary::default(), Sections::one(&vec![0; 2 << 20]));
    assert_eq!(refusal(&mut cluster, client), ErrorCode::FrameTooLarge);

    cluster.send(bystander, 1, &FetchState::default(), Sections::none());
    cluster.pump();
    assert_eq!(cluster.types(bystander), [SignalType::ClusterStateSignal]);
}

#[test]
fn links_are_bounded() {
    let mut cluster = Cluster::new(1, 1, 1);
    cluster.run(100);
    let links: Vec<_> = (0..100).map(|_| cluster.client(0)).collect();
    let one_more = cluster.connect(0);
    assert_eq!(refusal(&mut cluster, one_more), ErrorCode::TooManyConnections);
    assert!(links.iter().all(|link| !cluster.is_closed(*link)));
}

#[test]
fn a_client_that_asks_and_does_not_read_gets_no_more() {
    let mut cluster = Cluster::new(1, 1, 1);
    cluster.form(1);
    let client = cluster.client(0);
    let mut builder = FrameBuilder::new();
    for request in 0..16_000 {
        builder.push(0, request, &FetchState::default(), Sections::none());
    }
    builder.seal(&Envelope::default());
    cluster.send_bytes(client, builder.sealed().to_vec());
    cluster.pump();
    let (mut states, mut errors, mut bytes) = (0, 0, 0);
    cluster.take(client, |_, signal| {
        bytes += signal.bytes().len();
        match signal.signal_type() {
            SignalType::ClusterStateSignal => states += 1,
            SignalType::ErrorReply => errors += 1,
            other => panic!("{other:?}"),
        }
    });
    assert!(states > 0 && errors > 0);
    assert_eq!(states + errors, 16_000);
    assert!(bytes < 14 << 20, "{bytes}");
}

#[test]
fn raft_messages_of_liars_are_ignored() {
    let mut cluster = Cluster::new(3, 1, 1);
    cluster.form(1);
    let leader = cluster.wait_for_leader();
    let victim = (leader + 1) % 3;
    let fake = (leader + 2) % 3;
    cluster.crash(fake, 0);
    let own = 101 + fake as u64;
    let identity = |raft_id: u64| ManagementIdentity {
        raft_id: raft_id.into(),
        node: (fake as u32 + 1).into(),
        ..ManagementIdentity::default()
    };
    let stranger = cluster.connect(victim);
    cluster.hello(stranger, ROLE_MANAGEMENT, identity(4_711).to_process(), b"");
    assert_eq!(refusal(&mut cluster, stranger), ErrorCode::UnknownNodeId);
    let outsider = cluster.connect(victim);
    cluster.hello(outsider, ROLE_MANAGEMENT, identity(own).to_process(), b"");
    cluster.pump();
    assert_eq!(cluster.types(outsider), [SignalType::Welcome]);
    let to = 101 + victim as u64;
    for (from, to, payload) in [
        (own, to, vec![0xff; 100]),
        (own, to, vec![0x0b; 200_000]),
        (own, to, vec![]),
        (101 + leader as u64, to, vec![]),
        (own, 1, vec![]),
    ] {
        let body = RaftMessage { from: from.into(), to: to.into() };
        cluster.send(outsider, 0, &body, Sections::one(&payload));
    }
    cluster.run(500);
    assert!(cluster.places[victim].stopped.is_none());
    assert_eq!(cluster.state(victim), cluster.state(leader));
}
