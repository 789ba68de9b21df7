//! Very many clients, and clients that only ask.

use crate::cluster::{Cluster, Process, wait_for};
use crate::threads::FOUR_STAGES;
use crate::wire::{Received, Wire, read, row, write};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder};
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::hello::{Hello, ROLE_CLIENT};
use duet_protocol::signal::read_reply::ReadReply;
use duet_protocol::signal::refuse_link::RefuseLink;
use duet_protocol::signal::scan::Scan;
use duet_protocol::signal::scan_reply::ScanReply;
use duet_protocol::signal::write::OPERATION_INSERT;
use duet_protocol::signal::{Sections, Signal, SignalType};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Connections that a node keeps for those that it opens itself.
const RESERVED: usize = 256;

/// A frame of one signal.
fn frame(push: impl FnOnce(&mut FrameBuilder)) -> Vec<u8> {
    let mut builder = FrameBuilder::new();
    push(&mut builder);
    builder.seal(&Envelope::default()).expect("open").to_vec()
}

/// The second data node, to which no other node connects, with a table and a row.
fn with_row(plan: &str, io: &str, max_links: usize, note: &str) -> (Cluster, u32, Vec<u8>) {
    let links = max_links.to_string();
    let mut cluster = Cluster::start_with(1, &["--threads", plan, "--io", io, "--max-links", &links]);
    let (code, table) = cluster.leader().create_table("accounts", 1);
    assert_eq!(code, 0);
    let (key, value) = row(1, 1, note);
    let mut wire = Wire::client(&cluster.nodes[1].listen);
    let session = wire.open_session();
    wire.ask(&write(table, OPERATION_INSERT, session, 1), Sections::two(&key, &value));
    (cluster, table, key)
}

/// The request that was sent is answered with the row. As every client does it is sent again where the node says that this may help: on a
/// busy machine it may have lost its lease for a moment.
fn assert_served(wire: &mut Wire, request: &[u8]) {
    for _ in 0..250 {
        let answer = wire.receive().expect("an answer");
        if answer.signal_type == SignalType::ErrorReply {
            let code = answer.body::<ErrorReply>().code.get();
            let known = ErrorCode::from_number(code);
            assert!(known.is_some_and(ErrorCode::is_retryable), "error {code}");
            std::thread::park_timeout(Duration::from_millis(20));
            wire.stream.write_all(request).expect("sent");
            continue;
        }
        assert_eq!(answer.signal_type, SignalType::ReadReply);
        assert_eq!(answer.body::<ReadReply>().code.get(), 0);
        return;
    }
    panic!("it is not served");
}

#[test]
fn ten_thousand_connections_are_served_and_more_are_refused() {
    let descriptors = duet_runtime::raise_file_limit().expect("a limit") as usize;
    let count = 10_000.min(descriptors.saturating_sub(2_000));
    if count < 10_000 {
        eprintln!("the system allows {descriptors} descriptors: {count} connections instead of 10,000");
    }
    for plan in ["batch", FOUR_STAGES] {
        let (cluster, table, key) = with_row(plan, "auto", count + RESERVED, "x");
        let address = &cluster.nodes[1].listen;
        let hello = frame(|builder| {
            builder.push(0, 1, &Hello { role: ROLE_CLIENT.into(), ..Hello::default() }, Sections::none());
        });
        let request = frame(|builder| builder.push(0, 2, &read(table), Sections::one(&key)));
        let opening = [hello, request.clone()].concat();
        let mut crowd = Vec::new();
        while crowd.len() < count {
            // A few at a time, so that the queue of connections that are not accepted yet never overflows.
            let begin = crowd.len();
            for _ in begin..count.min(begin + 64) {
                let mut wire = Wire::connect(address);
                wire.stream.write_all(&opening).expect("sent");
                crowd.push(wire);
            }
            for wire in &mut crowd[begin..] {
                assert_eq!(wire.receive().expect("an answer").signal_type, SignalType::Welcome);
                assert_served(wire, &request);
            }
        }
        let mut refusals = 0;
        for _ in 0..20 {
            let mut wire = Wire::connect(address);
            let refused = wire.receive().expect("a refusal");
            assert_eq!(refused.body::<RefuseLink>().code.get(), ErrorCode::TooManyConnections as u16);
            assert!(wire.receive().is_err(), "the link is closed");
            refusals += 1;
        }
        assert_eq!(refusals, 20);
        for wire in &mut crowd {
            wire.stream.write_all(&request).expect("sent");
        }
        crowd.iter_mut().for_each(|wire| assert_served(wire, &request));
        // The nodes close first, so that no address of the clients stays in use.
        drop(cluster);
    }
}

/// A scan of the partition of a key.
fn whole(cluster: &Cluster, table: u32, key: &[u8]) -> Scan {
    let hash = crate::wire::layout().partition_hash(key);
    let partition = cluster.state().partition_of(hash).expect("formed");
    Scan {
        table: table.into(),
        table_version: 1.into(),
        partition: partition.into(),
        max_rows: 1_000.into(),
        max_bytes: 1_000_000.into(),
        ..Scan::default()
    }
}

/// Plans of threads, and ways to talk to links: without io_uring where the system refuses it.
const PLANS_AND_LINKS: [(&str, &str); 4] =
    [("batch", "epoll"), ("batch", "uring,epoll"), (FOUR_STAGES, "epoll"), (FOUR_STAGES, "uring,epoll")];

/// A frame of many reads, and one of many scans.
fn floods(table: u32, key: &[u8], scan: &Scan) -> [Vec<u8>; 2] {
    let reads = frame(|builder| {
        (0..100).for_each(|number| builder.push(0, number, &read(table), Sections::one(key)));
    });
    let scans = frame(|builder| (0..100).for_each(|number| builder.push(0, number, scan, Sections::none())));
    [reads, scans]
}

/// Sends requests until the node stops reading them.
fn flood(address: &str, request: &[u8]) -> Wire {
    let mut deaf = Wire::client(address);
    deaf.stream.set_nonblocking(true).expect("option");
    let mut sent = 0;
    for _ in 0..100_000 {
        match deaf.stream.write(request) {
            Ok(count) if count == request.len() => sent += 1,
            _ => break,
        }
    }
    assert!(sent > 20, "{sent}");
    deaf
}

#[test]
fn clients_that_only_ask_disturb_nobody_under_any_plan() {
    for (plan, io) in PLANS_AND_LINKS {
        let (cluster, table, key) = with_row(plan, io, 1_000, &"long ".repeat(2_000));
        let mut wires: Vec<Wire> = cluster.nodes.iter().map(|node| Wire::client(&node.listen)).collect();
        let led = cluster.leader_of(&cluster.state(), &key);
        let address = &cluster.nodes[led].listen;
        let before: u64 = cluster.nodes.iter().map(Process::resident_bytes).sum();
        let scan = whole(&cluster, table, &key);
        let [reads, scans] = floods(table, &key, &scan);
        let deaf = [flood(address, &reads), flood(address, &scans), flood(address, &scans)];
        for _ in 0..50 {
            for wire in &mut wires {
                let answer = wire.ask(&read(table), Sections::one(&key));
                assert_eq!(answer.body::<ReadReply>().code.get(), 0);
            }
            let answer = wires[led].ask(&scan, Sections::none());
            assert!(answer.body::<ScanReply>().row_count.get() > 0);
        }
        let after: u64 = cluster.nodes.iter().map(Process::resident_bytes).sum();
        assert!(after < before + (160 << 20), "{plan}, {io}: {before} {after}");
        drop(deaf);
    }
}

/// A client that asks and listens as fast as it can, in two threads, until it is dropped.
struct Torrent {
    stream: TcpStream,
    received: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Torrent {
    fn start(address: &str, request: Vec<u8>) -> Torrent {
        let stream = Wire::client(address).stream;
        let (mut asking, mut listening) =
            (stream.try_clone().expect("a copy"), stream.try_clone().expect("a copy"));
        let received = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&received);
        let asks = std::thread::spawn(move || while asking.write_all(&request).is_ok() {});
        let listens = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while let Ok(count @ 1..) = listening.read(&mut buffer) {
                counted.fetch_add(count as u64, Ordering::Relaxed);
            }
        });
        Torrent { stream, received, threads: vec![asks, listens] }
    }

    /// Bytes of answers so far.
    fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Torrent {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Asks as [`Wire::ask`] does, and again after every error that may pass: on a machine this busy a node may lose its lease or its view.
fn ask_until_served<S: Signal>(wire: &mut Wire, body: &S, sections: Sections<'_>) -> Received {
    wait_for("an answer", || {
        let answer = wire.ask(body, sections);
        if answer.signal_type != SignalType::ErrorReply {
            return Some(answer);
        }
        let code = ErrorCode::from_number(answer.body::<ErrorReply>().code.get());
        assert!(code.is_some_and(ErrorCode::is_retryable), "{code:?}");
        None
    })
}

/// Everybody is served: those who take all they can get, and those beside them.
#[test]
fn clients_that_ask_and_listen_at_full_speed_disturb_nobody_under_any_plan() {
    for (plan, io) in PLANS_AND_LINKS {
        let (cluster, table, key) = with_row(plan, io, 1_000, &"long ".repeat(2_000));
        let mut wires: Vec<Wire> = cluster.nodes.iter().map(|node| Wire::client(&node.listen)).collect();
        let led = cluster.leader_of(&cluster.state(), &key);
        let scan = whole(&cluster, table, &key);
        let requests = floods(table, &key, &scan);
        let before: u64 = cluster.nodes.iter().map(Process::resident_bytes).sum();
        let torrents: Vec<Torrent> = requests
            .iter()
            .cycle()
            .take(4)
            .map(|request| Torrent::start(&cluster.nodes[led].listen, request.clone()))
            .collect();
        let begun: Vec<u64> = torrents.iter().map(Torrent::received).collect();
        let mut rounds = 0;
        wait_for("answers for everybody", || {
            for wire in &mut wires {
                let answer = ask_until_served(wire, &read(table), Sections::one(&key));
                assert_eq!(answer.body::<ReadReply>().code.get(), 0, "{plan}, {io}");
            }
            let answer = ask_until_served(&mut wires[led], &scan, Sections::none());
            assert!(answer.body::<ScanReply>().row_count.get() > 0, "{plan}, {io}");
            rounds += 1;
            // Some frames of requests each, while the others were answered.
            let flows = |(torrent, begun): (&Torrent, &u64)| torrent.received() > begun + (1 << 22);
            (rounds >= 8 && torrents.iter().zip(&begun).all(flows)).then_some(())
        });
        let after: u64 = cluster.nodes.iter().map(Process::resident_bytes).sum();
        assert!(after < before + (160 << 20), "{plan}, {io}: {before} {after}");
    }
}
