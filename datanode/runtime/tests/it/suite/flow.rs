use super::echo::{Behaviour, EchoNode, exchange, expect, frame, wait};
use duet_datanode_core::CloseReason;
use duet_runtime::Limits;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

/// Writes without blocking until nothing more is taken; returns the bytes written.
fn fill(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    stream.set_nonblocking(true).unwrap();
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    written
}

#[test]
fn input_stops_while_answers_pile_up_and_nothing_is_lost() {
    let behaviour = Behaviour { copies: 16, pause_above: Some(256 << 10), ..Behaviour::default() };
    let node = EchoNode::start(behaviour, Limits::new(64));
    let mut stream = node.connect();
    let mut bystander = node.connect();
    let requests: Vec<Vec<u8>> = (0..2_000).map(|number| frame(4_096, number as u8)).collect();
    let sent = requests.concat();
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    node.wait_for_counters("pausing the link", |counters| counters.links.links_paused == 1);
    for _ in 0..50 {
        exchange_many(&mut bystander);
    }
    for request in &requests {
        for _ in 0..behaviour.copies {
            expect(&mut stream, request);
        }
    }
    writing.join().unwrap();
    node.wait_for_counters("going on", |counters| counters.links.links_paused == 0);
    let seen = node.seen.lock().unwrap();
    // The pause is obeyed frame by frame: one request's answers may pass the mark, not those of a whole burst.
    assert!(seen.largest_backlog <= (256 << 10) + 16 * 4_096, "{}", seen.largest_backlog);
    assert!(seen.input_refused > 0 && seen.closed.is_empty());
}

/// One frame to a node that answers it 16 times.
fn exchange_many(stream: &mut TcpStream) {
    let request = frame(80, 7);
    stream.write_all(&request).unwrap();
    expect(stream, &request.repeat(16));
}

#[test]
fn links_take_turns_when_there_is_room_for_few() {
    let behaviour = Behaviour { copies: 0, room: 2_000, ..Behaviour::default() };
    let node = EchoNode::start(behaviour, Limits::new(64));
    let lengths = [400, 408, 416, 424, 432, 440];
    let floods: Vec<_> = lengths
        .into_iter()
        .map(|length| {
            let stream = node.connect();
            let mut writer = stream.try_clone().unwrap();
            let requests = frame(length, 1).repeat(100);
            (stream, std::thread::spawn(move || while writer.write_all(&requests).is_ok() {}))
        })
        .collect();
    node.wait("hearing all of them", |seen| {
        lengths
            .iter()
            .all(|asked| seen.frame_lengths.iter().filter(|length| *length == asked).count() > 5_000)
    });
    // Somebody who has little to say is heard as well.
    let mut bystander = node.connect();
    bystander.write_all(&frame(80, 2)).unwrap();
    node.wait("hearing the bystander", |seen| seen.frame_lengths.contains(&80));
    for (stream, thread) in floods {
        stream.shutdown(Shutdown::Both).unwrap();
        thread.join().unwrap();
    }
}

/// As many links as there are may be heard again at once.
#[test]
fn bursts_end_in_time_when_many_links_are_heard_again() {
    const LINKS: usize = 32;
    let behaviour = Behaviour { copies: 3_000, burst_above: 1 << 20, ..Behaviour::default() };
    let node = EchoNode::start(behaviour, Limits::new(64));
    let requests = frame(80, 1).repeat(100);
    let answers = requests.len() * behaviour.copies;
    let links: Vec<_> = (0..LINKS)
        .map(|_| {
            let mut stream = node.connect();
            stream.write_all(&requests).unwrap();
            std::thread::spawn(move || std::io::copy(&mut stream.take(answers as u64), &mut std::io::sink()))
        })
        .collect();
    for link in links {
        assert_eq!(link.join().unwrap().unwrap(), answers as u64);
    }
    // Each turn may pass the mark by what one link may have, and that by what one frame leads to.
    let most = (1 << 20) + (1 << 20) + 80 * behaviour.copies;
    assert!(node.seen.lock().unwrap().largest_answer <= most);
}

#[test]
fn long_answers_keep_their_order() {
    let node = EchoNode::start(Behaviour { copies: 70, ..Behaviour::default() }, Limits::new(64));
    let askers: Vec<_> = (0..4u8)
        .map(|number| {
            let requests: Vec<_> = (0..12).map(|step| frame(100_000, step * 4 + number)).collect();
            let stream = node.connect();
            let mut writer = stream.try_clone().unwrap();
            let all = requests.concat();
            (stream, requests, std::thread::spawn(move || writer.write_all(&all).unwrap()))
        })
        .collect();
    node.wait("a backlog of some chunks", |seen| seen.largest_backlog > 1 << 20);
    let listeners: Vec<_> = askers
        .into_iter()
        .map(|(mut stream, requests, asking)| {
            std::thread::spawn(move || {
                for request in &requests {
                    for copy in 0..70 {
                        request.chunks(3_777 + 1_000 * copy).for_each(|part| expect(&mut stream, part));
                    }
                }
                asking.join().unwrap();
            })
        })
        .collect();
    listeners.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_link_that_never_reads_is_closed_at_the_cap() {
    let behaviour = Behaviour { pause_above: None, copies: 8, ..Behaviour::default() };
    let limits = Limits { backlog_bytes: 4 << 20, ..Limits::new(64) };
    let node = EchoNode::start(behaviour, limits);
    let mut greedy = node.connect();
    let mut bystander = node.connect();
    let request = frame(64 << 10, 1);
    wait("closing the greedy link", || {
        if node.seen.lock().unwrap().closed.is_empty() {
            greedy.set_nonblocking(true).unwrap();
            let _ = greedy.write(&request);
        }
        !node.seen.lock().unwrap().closed.is_empty()
    });
    let small = frame(80, 3);
    bystander.write_all(&small).unwrap();
    expect(&mut bystander, &small.repeat(8));
    node.wait_for_counters("counting", |counters| {
        counters.links.backlog_overflows == 1 && counters.links.backlog_bytes == 0
    });
    let seen = node.seen.lock().unwrap();
    assert!(seen.largest_backlog <= 4 << 20);
    assert_eq!(seen.closed[0].1, CloseReason::Local);
}

#[test]
fn all_backlogs_together_are_bounded_at_the_cost_of_the_largest() {
    let behaviour = Behaviour { pause_above: None, copies: 64, ..Behaviour::default() };
    let limits = Limits { total_backlog_bytes: 8 << 20, ..Limits::new(64) };
    let node = EchoNode::start(behaviour, limits);
    let mut greedy: Vec<TcpStream> = (0..4).map(|_| node.connect()).collect();
    let request = frame(64 << 10, 1);
    wait("closing a greedy link", || {
        for stream in &mut greedy {
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write(&request);
        }
        !node.seen.lock().unwrap().closed.is_empty()
    });
    let mut bystander = node.connect();
    let small = frame(80, 3);
    bystander.write_all(&small).unwrap();
    expect(&mut bystander, &small.repeat(64));
}

#[test]
fn two_hundred_connections_are_served() {
    let node = EchoNode::start(Behaviour::default(), Limits::new(512));
    let mut streams: Vec<TcpStream> = (0..200).map(|_| node.connect()).collect();
    for round in 0..5u8 {
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&frame(80 + 8 * (number % 50), round)).unwrap();
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            expect(stream, &frame(80 + 8 * (number % 50), round));
        }
    }
    node.wait_for_counters("counting", |counters| counters.links.sockets == 200);
    drop(streams);
    node.wait_for_counters("closing", |counters| counters.links.sockets == 0 && counters.node.links == 0);
    assert!(node.seen.lock().unwrap().closed.iter().all(|(_, reason)| *reason == CloseReason::ByPeer));
}

#[test]
fn a_flooding_link_does_not_starve_another() {
    let node = EchoNode::start(Behaviour { copies: 0, ..Behaviour::default() }, Limits::new(64));
    let mut flooder = node.connect();
    let flood = frame(80, 1).repeat(100_000);
    let flooding = std::thread::spawn(move || {
        let mut written = 0;
        while written < flood.len() {
            written += fill(&mut flooder, &flood[written..]);
            std::thread::yield_now();
        }
        flooder
    });
    let mut polite = node.connect();
    let marker = frame(88, 2);
    for _ in 0..100 {
        polite.write_all(&marker).unwrap();
    }
    node.wait("hearing both", |seen| {
        seen.frame_lengths.iter().filter(|length| **length == 88).count() == 100
            && seen.frame_lengths.len() == 100_100
    });
    drop(flooding.join().unwrap());
}

#[test]
fn a_reset_counts_as_an_act_of_the_other_side() {
    let node = EchoNode::start(Behaviour::default(), Limits::new(64));
    let mut stream = node.connect();
    exchange(&mut stream, &frame(80, 1));
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(socket);
    node.wait("closing", |seen| seen.closed.len() == 1);
    assert_eq!(node.seen.lock().unwrap().closed[0].1, CloseReason::ByPeer);
}

#[test]
fn partial_writes_keep_their_order() {
    let node = EchoNode::start(
        Behaviour { copies: 3, pause_above: Some(64 << 10), ..Behaviour::default() },
        Limits::new(64),
    );
    let mut stream = node.connect();
    let requests: Vec<u8> = (0..40u8).flat_map(|number| frame(100_000, number)).collect();
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&requests).unwrap());
    let mut answer = vec![0; 100_000];
    for number in 0..40u8 {
        for _ in 0..3 {
            // Read in odd pieces, so that the sender's buffers are never empty and never quite full.
            for piece in answer.chunks_mut(777) {
                stream.read_exact(piece).unwrap();
            }
            assert!(answer == frame(100_000, number), "answer to {number}");
        }
    }
    writing.join().unwrap();
}
