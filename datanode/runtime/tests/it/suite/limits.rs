use super::echo::{Behaviour, EchoNode, exchange, frame, wait};
use duet_runtime::{BatchOptions, BatchThread, Limits, Listener, RuntimeError};
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};

#[test]
fn connections_above_the_limit_are_closed_and_those_below_live_on() {
    let limits = Limits { reserved_links: 2, ..Limits::new(6) };
    let node = EchoNode::start(Behaviour::default(), limits);
    let mut streams: Vec<TcpStream> = (0..4).map(|_| node.connect()).collect();
    for stream in &mut streams {
        exchange(stream, &frame(80, 1));
    }
    for _ in 0..20 {
        let mut refused = node.connect();
        // An end, or a reset when the end overtakes the connection's first bytes.
        assert!(matches!(refused.read(&mut [0; 10]), Ok(0) | Err(_)));
    }
    node.wait_for_counters("counting", |counters| counters.links.accepts_refused == 20);
    for stream in &mut streams {
        exchange(stream, &frame(80, 2));
    }
    streams.pop();
    wait("taking a freed place", || {
        let mut stream = node.connect();
        std::io::Write::write_all(&mut stream, &frame(80, 3)).is_ok()
            && matches!(stream.read(&mut [0; 80]), Ok(count) if count > 0)
    });
}

#[test]
fn a_link_that_says_nothing_is_closed() {
    let limits = Limits { first_frame_within: 100_000_000, ..Limits::new(8) };
    let node = EchoNode::start(Behaviour::default(), limits);
    let mut speaker = node.connect();
    exchange(&mut speaker, &frame(80, 1));
    let mut silent = node.connect();
    assert_eq!(silent.read(&mut [0; 10]).unwrap(), 0);
    exchange(&mut speaker, &frame(80, 1));
    node.wait_for_counters("counting", |counters| counters.links.links_silent == 1);
}

#[test]
fn a_kernel_that_cannot_be_made_is_an_error_of_the_start() {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), true).unwrap();
    let options =
        BatchOptions { name: "duet-batch", listener, limits: Limits::new(8), cpu: None, io: super::io() };
    let started = BatchThread::start::<duet_datanode_core::Kernel>(options, |_| Err("no memory".to_owned()));
    assert!(matches!(started, Err(RuntimeError::Start(reason)) if reason == "no memory"));
}

#[test]
fn the_thread_carries_its_name() {
    let node = EchoNode::start(Behaviour::default(), Limits::new(8));
    let names = || {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .any(|name| name.trim() == "duet-batch")
    };
    assert!(names());
    drop(node);
}
