//! What somebody may cost a node before the handshake, with the kernel of a real node.

use super::echo::{DEADLINE, frame, wait};
use duet_datanode_core::{Kernel, NodeConfiguration, SUSPECT_AFTER};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder, FrameView, MAX_HANDSHAKE_BYTES, announced_length};
use duet_protocol::signal::fetch_state::FetchState;
use duet_protocol::signal::hello::{Hello, ROLE_CLIENT};
use duet_protocol::signal::refuse_link::RefuseLink;
use duet_protocol::signal::{Sections, Signal, SignalType};
use duet_runtime::{
    BatchOptions, BatchThread, Limits, LinkIo, Listener, Pipeline, PipelineOptions, Snapshot, ThreadRoles,
};
use std::any::Any;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

const SECRET: &[u8] = b"known to friends";

/// Plans that every test runs under: all in one thread, and each stage in its own.
const PLANS: [bool; 2] = [false, true];

struct Node {
    address: SocketAddr,
    snapshots: Box<dyn Fn() -> Snapshot>,
    /// Ends when it is dropped.
    _threads: Box<dyn Any>,
}

impl Node {
    fn start(has_stages: bool, limits: Limits) -> Node {
        if has_stages {
            let (address, pipeline) = pipeline(super::io(), limits);
            return Node { address, snapshots: Box::new(pipeline.snapshots()), _threads: Box::new(pipeline) };
        }
        let (listener, configuration) = configured(&limits);
        let address = listener.address();
        let options = BatchOptions { name: "duet-batch", listener, limits, cpu: None, io: super::io() };
        let thread = BatchThread::start(options, move |now| Kernel::new(configuration, now)).unwrap();
        let reader = thread.snapshots();
        Node { address, snapshots: Box::new(move || reader.read()), _threads: Box::new(thread) }
    }

    fn wait(&self, what: &str, mut condition: impl FnMut(&Snapshot) -> bool) {
        wait(what, || condition(&(self.snapshots)()));
    }
}

/// A connection that has said nothing yet.
fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A client that knows the secret.
pub fn client(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    let hello = Hello { role: ROLE_CLIENT.into(), ..Hello::default() };
    assert_eq!(ask(&mut stream, &hello, Sections::one(SECRET)), SignalType::Welcome);
    stream
}

/// A place to listen at, and a node that belongs to no cluster yet.
fn configured(limits: &Limits) -> (Listener, NodeConfiguration) {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), true).unwrap();
    let configuration = NodeConfiguration {
        node: 1,
        process: [1; 16],
        address: listener.address().to_string(),
        metrics_address: String::new(),
        management: vec!["no management node at this address".to_owned()],
        secret: SECRET.to_vec(),
        memory_bytes: 16 << 20,
        arena_bytes: 16 << 20,
        memory_preparer: None,
        max_links: limits.max_links as u32,
        seed: 1,
        link_close_is_proof: true,
        suspect_after: SUSPECT_AFTER,
        lane_frame_signals: u16::MAX,
        planted_bug: 0,
    };
    (listener, configuration)
}

/// A node with each stage in threads of its own.
pub fn pipeline(io: LinkIo, limits: Limits) -> (SocketAddr, Pipeline) {
    let (listener, configuration) = configured(&limits);
    let address = listener.address();
    let options = PipelineOptions { threads: four_stages(), listener, limits, may_spin: false, io };
    (address, Pipeline::start(options, &configuration).unwrap())
}

/// `recv=1,tc=1,ldm=2,send=1`
pub fn four_stages() -> Vec<ThreadRoles> {
    let none = ThreadRoles {
        name: String::new(),
        receive: false,
        coordinator: false,
        managers: 0,
        send: false,
        cpu: None,
    };
    vec![
        ThreadRoles { name: "recv-0".into(), receive: true, ..none.clone() },
        ThreadRoles { name: "tc-0".into(), coordinator: true, ..none.clone() },
        ThreadRoles { name: "ldm-0".into(), managers: 1, ..none.clone() },
        ThreadRoles { name: "ldm-1".into(), managers: 1, ..none.clone() },
        ThreadRoles { name: "send-0".into(), send: true, ..none },
    ]
}

fn one_signal<S: Signal>(body: &S, sections: Sections<'_>) -> Vec<u8> {
    let mut builder = FrameBuilder::new();
    builder.push(0, 1, body, sections);
    builder.seal(&Envelope::default()).unwrap().to_vec()
}

fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    stream.read_exact(&mut bytes).unwrap();
    bytes.resize(announced_length(&bytes, usize::MAX).unwrap().unwrap(), 0);
    stream.read_exact(&mut bytes[8..]).unwrap();
    bytes
}

/// Sends one signal; the type of the answer.
fn ask<S: Signal>(stream: &mut TcpStream, body: &S, sections: Sections<'_>) -> SignalType {
    stream.write_all(&one_signal(body, sections)).unwrap();
    FrameView::new_checked(&receive(stream)).unwrap().signals().next().unwrap().signal_type()
}

/// The reason of the refusal that must come, after which the link ends.
fn refusal(stream: &mut TcpStream) -> Option<ErrorCode> {
    let answer = receive(stream);
    let signal = FrameView::new_checked(&answer).unwrap().signals().next().unwrap();
    let code = signal.body::<RefuseLink>().expect("a refusal").code.get();
    assert!(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)), "the link ends");
    ErrorCode::from_number(code)
}

#[test]
fn unfinished_first_frames_cost_little_and_end() {
    const STRANGERS: usize = 40;
    for has_stages in PLANS {
        let node = Node::start(has_stages, Limits { first_frame_within: 200_000_000, ..Limits::new(64) });
        let mut client = client(node.address);
        let unfinished = &frame(MAX_HANDSHAKE_BYTES, 0)[..MAX_HANDSHAKE_BYTES - 8];
        let mut most_held = 0;
        let mut strangers: Vec<TcpStream> = (0..STRANGERS).map(|_| connect(node.address)).collect();
        for stranger in &mut strangers {
            // The node may have given up already: that is what this test wants in the end.
            let _ = stranger.write_all(unfinished);
        }
        node.wait("giving up on strangers", |counters| {
            most_held = most_held.max(counters.links.partial_bytes);
            counters.links.links_silent == STRANGERS as u64
        });
        assert!(most_held <= (STRANGERS * MAX_HANDSHAKE_BYTES) as u64, "{most_held} bytes for strangers");
        for stranger in &mut strangers {
            assert!(matches!(stranger.read(&mut [0; 8]), Ok(0) | Err(_)));
        }
        node.wait("freeing what they sent", |counters| {
            counters.links.partial_bytes == 0 && counters.node.links == 1
        });
        assert_eq!(
            ask(&mut client, &FetchState::default(), Sections::none()),
            SignalType::ClusterStateSignal
        );
    }
}

#[test]
fn a_stranger_who_dribbles_is_no_less_silent() {
    for has_stages in PLANS {
        let node = Node::start(has_stages, Limits { first_frame_within: 200_000_000, ..Limits::new(8) });
        let mut stranger = connect(node.address);
        let hello =
            one_signal(&Hello { role: ROLE_CLIENT.into(), ..Hello::default() }, Sections::one(SECRET));
        let mut next = hello.iter().take(hello.len() - 1);
        node.wait("giving up", |counters| {
            if let Some(byte) = next.next() {
                let _ = stranger.write_all(&[*byte]);
            }
            counters.links.links_silent == 1
        });
        assert!(matches!(stranger.read(&mut [0; 8]), Ok(0) | Err(_)));
    }
}

#[test]
fn the_cap_is_small_before_the_handshake_and_large_after_it() {
    for has_stages in PLANS {
        let node = Node::start(has_stages, Limits::new(8));
        // Eight bytes that announce more are enough to be refused: nothing is kept for the rest.
        for announced in [MAX_HANDSHAKE_BYTES + 8, 1 << 20, 16 << 20, u32::MAX as usize & !7] {
            let mut stranger = connect(node.address);
            let mut start = frame(80, 0)[..8].to_vec();
            start[..4].copy_from_slice(&(announced as u32).to_le_bytes());
            stranger.write_all(&start).unwrap();
            assert_eq!(refusal(&mut stranger), Some(ErrorCode::FrameTooLarge), "{announced} bytes");
        }
        // A whole large frame is refused by its head; what follows is read and dropped.
        let padding = vec![0; 100_000];
        let mut stranger = connect(node.address);
        let hello = Hello { role: ROLE_CLIENT.into(), ..Hello::default() };
        stranger.write_all(&one_signal(&hello, Sections::two(SECRET, &padding))).unwrap();
        assert_eq!(refusal(&mut stranger), Some(ErrorCode::FrameTooLarge));
        // Neither do requests before the handshake get an answer, nor does a wrong secret help.
        let mut stranger = connect(node.address);
        stranger.write_all(&one_signal(&FetchState::default(), Sections::none())).unwrap();
        assert_eq!(refusal(&mut stranger), Some(ErrorCode::HandshakeRequired));
        let mut stranger = connect(node.address);
        stranger.write_all(&one_signal(&hello, Sections::one(b"known to nobody!"))).unwrap();
        assert_eq!(refusal(&mut stranger), Some(ErrorCode::WrongSecret));

        let mut client = client(node.address);
        let answer = ask(&mut client, &FetchState::default(), Sections::one(&padding));
        assert_eq!(answer, SignalType::ClusterStateSignal);
        let mut start = frame(80, 0)[..8].to_vec();
        start[..4].copy_from_slice(&((1_u32 << 20) + 8).to_le_bytes());
        client.write_all(&start).unwrap();
        assert_eq!(refusal(&mut client), Some(ErrorCode::FrameTooLarge));
    }
}
