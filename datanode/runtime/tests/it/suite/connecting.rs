use super::echo::{Behaviour, EchoNode, expect, frame, wait};
use duet_datanode_core::{CloseReason, Command, Target};
use duet_runtime::Limits;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

const TARGET: Target = Target::Peer { node: 7, lane: 3 };

fn node() -> EchoNode {
    EchoNode::start(Behaviour::default(), Limits { connect_within: 200_000_000, ..Limits::new(64) })
}

fn connect(node: &EchoNode, address: &str) {
    node.command(Command::Connect { target: TARGET, address: address.to_owned() });
}

#[test]
fn a_connection_is_opened_used_and_closed() {
    let node = node();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    connect(&node, &listener.local_addr().unwrap().to_string());
    let (mut stream, _) = listener.accept().unwrap();
    node.wait("connecting", |seen| seen.connected.len() == 1);
    let (link, target) = node.seen.lock().unwrap().connected[0];
    assert_eq!(target, TARGET);
    stream.write_all(&frame(80, 1)).unwrap();
    expect(&mut stream, &frame(80, 1));
    node.command(Command::Close { link, refused: None });
    assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
    node.wait("closing", |seen| seen.closed == [(link, CloseReason::Local)]);
    drop(stream);
    node.wait_for_counters("freeing the slot", |counters| {
        counters.links.links_connected == 1 && counters.links.sockets == 0
    });
    // The slot is used again under another generation.
    connect(&node, &listener.local_addr().unwrap().to_string());
    node.wait("connecting again", |seen| seen.connected.len() == 2);
    let again = node.seen.lock().unwrap().connected[1].0;
    assert_eq!(again.slot, link.slot);
    assert_ne!(again.generation, link.generation);
}

#[test]
fn a_closed_link_does_not_wait_for_the_other_side_for_ever() {
    let node = EchoNode::start(Behaviour::default(), Limits { close_within: 50_000_000, ..Limits::new(64) });
    let mut stream = node.connect();
    stream.write_all(&frame(80, 1)).unwrap();
    expect(&mut stream, &frame(80, 1));
    let link = node.seen.lock().unwrap().accepted[0];
    node.command(Command::Close { link, refused: None });
    node.wait_for_counters("dropping the socket", |counters| {
        counters.links.links_accepted == 1 && counters.links.sockets == 0
    });
    assert_eq!(node.seen.lock().unwrap().closed, [(link, CloseReason::Local)]);
}

#[test]
fn a_name_is_looked_up() {
    let node = node();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    connect(&node, &format!("localhost:{}", listener.local_addr().unwrap().port()));
    let _stream = listener.accept().unwrap();
    node.wait("connecting", |seen| seen.connected.len() == 1);
}

#[test]
fn what_cannot_be_connected_fails() {
    let node = node();
    let free = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap()
    };
    for address in [free.to_string().as_str(), "no address at all", "127.0.0.1", "255.255.255.255:1"] {
        let failures = node.seen.lock().unwrap().connect_failed.len();
        connect(&node, address);
        node.wait(address, |seen| seen.connect_failed.len() == failures + 1);
    }
    node.wait_for_counters("closing", |counters| {
        counters.links.sockets == 0 && counters.links.connects_failed == 4
    });
}

#[test]
fn a_connection_that_nobody_answers_is_given_up() {
    // A listener whose queue is full answers no connection at all.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let waiting: Vec<socket2::Socket> = (0..4)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address.into());
            socket
        })
        .collect();
    wait("filling the queue", || waiting.iter().any(|socket| socket.peer_addr().is_ok()));
    let node = node();
    connect(&node, &address.to_string());
    node.wait("giving up", |seen| seen.connect_failed == [TARGET]);
    node.wait_for_counters("closing", |counters| {
        counters.links.connects_failed == 1 && counters.links.sockets == 0
    });
}

#[test]
fn the_kernel_can_end_the_loop_with_a_sentence() {
    let node = node();
    node.command(Command::Stop { reason: "enough".to_owned() });
    let EchoNode { thread, .. } = node;
    assert_eq!(thread.join().unwrap_err().to_string(), "enough");
}

#[test]
fn the_loop_ends_when_told_to() {
    let node = node();
    let mut stream = node.connect();
    stream.write_all(&frame(80, 1)).unwrap();
    expect(&mut stream, &frame(80, 1));
    node.thread.stopper().stop();
    let EchoNode { thread, .. } = node;
    thread.join().unwrap();
    assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
}
