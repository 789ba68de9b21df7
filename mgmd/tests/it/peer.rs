//! A node under test in a thread of its own, and the other side of its connections.

use duet_mgmd::{Arguments, Server};
use duet_protocol::frame::{Envelope, FrameBuilder, FrameView, announced_length};
use duet_protocol::ids::Instance;
use duet_protocol::record::{ClusterState, ClusterStatus};
use duet_protocol::signal::cluster_state::ClusterStateSignal;
use duet_protocol::signal::cluster_status::ClusterStatusSignal;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::fetch_state::FetchState;
use duet_protocol::signal::fetch_status::FetchStatus;
use duet_protocol::signal::hello::Hello;
use duet_protocol::signal::node_report::NodeReport;
use duet_protocol::signal::register::Register;
use duet_protocol::signal::registered::Registered;
use duet_protocol::signal::welcome::Welcome;
use duet_protocol::signal::{Sections, Signal, SignalView};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Waiting for anything ends with a failure after this time.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub fn arguments(directory: &Path) -> Arguments {
    Arguments {
        node_id: 1,
        listen: "127.0.0.1:0".to_owned(),
        directory: directory.to_owned(),
        data_nodes: Some(1),
        join: Vec::new(),
        replicas: None,
        partitions: None,
        lanes: None,
        management: None,
        metrics: Some("127.0.0.1:0".to_owned()),
        cluster_secret_file: None,
        parent_pipe: false,
    }
}

/// A node that serves until it is dropped.
pub struct Running {
    pub listening: SocketAddr,
    pub metrics: SocketAddr,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<anyhow::Result<bool>>>,
}

impl Running {
    pub fn start(arguments: Arguments) -> Running {
        let (send_ready, ready) = mpsc::sync_channel(1);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let server = Server::bind(&arguments)?;
            send_ready.send((server.listening(), server.metrics()))?;
            server.serve(async {
                let _ = ended.await;
            })
        });
        let Ok((listening, metrics)) = ready.recv() else {
            panic!("not started: {:#}", thread.join().expect("no panic").expect_err("an error"));
        };
        Running { listening, metrics: metrics.expect("configured"), end: Some(end), thread: Some(thread) }
    }

    pub fn stop(mut self) {
        self.end.take();
        self.thread.take().expect("runs").join().expect("no panic").expect("clean end");
    }
}

/// Waits until `holds`.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "{what} has not happened");
        std::thread::yield_now();
    }
}

/// A client or data node with a blocking socket.
pub struct Peer {
    stream: TcpStream,
    pub envelope: Envelope,
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(DEADLINE)).expect("option");
        Peer { stream, envelope: Envelope::default() }
    }

    pub fn greeted(address: SocketAddr, role: u16) -> Peer {
        let mut peer = Peer::connect(address);
        let hello = Hello { role: role.into(), lane: u16::MAX.into(), process: [8; 16], ..Hello::default() };
        peer.send(1, &hello, Sections::none());
        peer.receive(|_, signal| signal.body::<Welcome>().map(|_| ()));
        peer
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sends");
    }

    pub fn send<S: Signal>(&mut self, request_id: u64, body: &S, sections: Sections<'_>) {
        let mut builder = FrameBuilder::new();
        builder.push(0, request_id, body, sections);
        builder.seal(&self.envelope);
        self.send_bytes(builder.sealed());
    }

    /// Reads frames until `wanted` finds what it looks for.
    pub fn receive<T>(&mut self, mut wanted: impl FnMut(&Envelope, &SignalView<'_>) -> Option<T>) -> T {
        let started = Instant::now();
        while started.elapsed() < DEADLINE {
            let mut bytes = vec![0; 8];
            self.stream.read_exact(&mut bytes).expect("a frame");
            let length = announced_length(&bytes, usize::MAX).expect("sound").expect("announced");
            bytes.resize(length, 0);
            self.stream.read_exact(&mut bytes[8..]).expect("a whole frame");
            let frame = FrameView::new_checked(&bytes).expect("valid");
            for signal in frame.signals() {
                if let Some(found) = wanted(&frame.envelope(), &signal) {
                    return found;
                }
            }
        }
        panic!("what is wanted has not come");
    }

    /// Whether the other side closes the connection (and does nothing else).
    pub fn reads_end(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 1]), Ok(0))
    }

    pub fn fetch_state(&mut self) -> ClusterState {
        self.send(2, &FetchState::default(), Sections::none());
        self.receive(|_, signal| {
            let _ = signal.body::<ClusterStateSignal>().filter(|_| signal.request_id() == 2)?;
            Some(ClusterState::from_record(signal.section(0)).expect("sound"))
        })
    }

    /// Asks until the node belongs to a cluster.
    pub fn fetch_status(&mut self) -> ClusterStatus {
        let started = Instant::now();
        loop {
            self.send(3, &FetchStatus::default(), Sections::none());
            let status = self.receive(|_, signal| {
                if signal.body::<ErrorReply>().is_some() {
                    return Some(None);
                }
                let _ = signal.body::<ClusterStatusSignal>()?;
                Some(Some(ClusterStatus::from_record(signal.section(0)).expect("sound")))
            });
            match status {
                Some(status) => return status,
                None => assert!(started.elapsed() < DEADLINE, "it belongs to no cluster"),
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Asks until the leader answers; the incarnation or the error code.
    pub fn register(&mut self, node: u32, process: u8) -> Result<u32, u16> {
        const NOT_LEADER: u16 = duet_protocol::error::ErrorCode::NotLeader as u16;
        loop {
            let body = Register {
                node: node.into(),
                data_parts: 1.into(),
                process: [process; 16],
                ..Register::default()
            };
            self.send(4, &body, Sections::one(b"127.0.0.1:1"));
            let answer = self.receive(|_, signal| signal.body::<Registered>().copied());
            match answer.code.get() {
                0 => {
                    self.envelope.sender = Instance { node, incarnation: answer.incarnation.get() };
                    return Ok(answer.incarnation.get());
                }
                NOT_LEADER => std::thread::yield_now(),
                other => return Err(other),
            }
        }
    }

    pub fn report(&mut self, state_version: u64) {
        let sender = self.envelope.sender;
        let body = NodeReport {
            node: sender.node.into(),
            incarnation: sender.incarnation.into(),
            state_version: state_version.into(),
            drained_version: state_version.into(),
            built_version: state_version.into(),
            ..NodeReport::default()
        };
        self.send(0, &body, Sections::none());
    }
}

/// The body of an HTTP answer and its status line.
pub fn http_get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("option");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sends");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}
