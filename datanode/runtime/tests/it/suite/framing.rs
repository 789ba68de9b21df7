use super::echo::{Behaviour, EchoNode, exchange, expect, frame};
use duet_datanode_core::CloseReason;
use duet_protocol::error::ErrorCode;
use duet_runtime::Limits;
use std::io::{Read, Write};
use std::net::Shutdown;

fn node() -> EchoNode {
    EchoNode::start(Behaviour::default(), Limits::new(64))
}

#[test]
fn a_frame_may_arrive_cut_at_every_boundary() {
    let node = node();
    let mut stream = node.connect();
    let frames: Vec<u8> = [frame(80, 1), frame(96, 2), frame(88, 3)].concat();
    for cut in 1..frames.len() {
        let received = |bytes: u64| {
            node.wait_for_counters("receiving a part", |counters| counters.links.bytes_received >= bytes);
        };
        stream.write_all(&frames[..cut]).unwrap();
        // Only some cuts wait for the counters to prove that the part arrived alone: they are renewed every 100 ms.
        if [1, 7, 8, 79, 80, 81, 90, 263].contains(&cut) {
            received((frames.len() * (cut - 1) + cut) as u64);
        }
        stream.write_all(&frames[cut..]).unwrap();
        expect(&mut stream, &frames);
    }
    let lengths = node.seen.lock().unwrap().frame_lengths.clone();
    assert_eq!(lengths, [80, 96, 88].repeat(frames.len() - 1));
}

#[test]
fn bytes_may_arrive_one_by_one() {
    let node = node();
    let mut stream = node.connect();
    let bytes = frame(128, 9);
    for byte in &bytes {
        stream.write_all(&[*byte]).unwrap();
    }
    expect(&mut stream, &bytes);
}

#[test]
fn large_frames_come_through_among_small_ones() {
    let node = node();
    let mut stream = node.connect();
    let mut other = node.connect();
    for length in [16 << 10, (16 << 10) + 8, 256 << 10, (256 << 10) + 8, 3 << 20, 16 << 20] {
        let bytes = frame(length, 5);
        let burst = [frame(80, 4), bytes, frame(80, 6)].concat();
        let mut writer = stream.try_clone().unwrap();
        let sent = burst.clone();
        let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
        expect(&mut stream, &burst);
        writing.join().unwrap();
        exchange(&mut other, &frame(88, 1));
    }
    node.wait_for_counters("sending everything", |counters| {
        counters.links.backlog_bytes == 0 && counters.links.frames_delivered == 6 * 4
    });
}

#[test]
fn garbage_is_refused_and_only_its_link_closed() {
    let node = node();
    let mut bystander = node.connect();
    let too_long = {
        let mut bytes = frame(80, 0);
        bytes[..4].copy_from_slice(&(17u32 << 20).to_le_bytes());
        bytes
    };
    let odd_length = {
        let mut bytes = frame(80, 0);
        bytes[0] = 81;
        bytes
    };
    let cases = [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), ErrorCode::ProtocolVersion),
        (too_long, ErrorCode::FrameTooLarge),
        (odd_length, ErrorCode::DamagedFrame),
    ];
    for (bytes, code) in cases {
        let mut stream = node.connect();
        // The good frame before the garbage is answered, and the refusal is not destroyed by what follows.
        stream.write_all(&[frame(80, 1), bytes, vec![0xFF; 100_000]].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, [frame(80, 1), frame(80, 0xEE)].concat());
        assert_eq!(node.seen.lock().unwrap().damaged.pop(), Some(code));
        exchange(&mut bystander, &frame(80, 2));
    }
    node.wait("closing", |seen| seen.closed.len() == 3);
    assert!(node.seen.lock().unwrap().closed.iter().all(|(_, reason)| *reason == CloseReason::Local));
}

#[test]
fn garbage_after_a_partial_frame_is_refused_too() {
    let node = node();
    let mut stream = node.connect();
    stream.write_all(&frame(80, 1)[..40]).unwrap();
    node.wait_for_counters("receiving a part", |counters| counters.links.bytes_received == 40);
    stream.write_all(&[&frame(80, 1)[40..], &[0xFF; 64]].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [frame(80, 1), frame(80, 0xEE)].concat());
}

#[test]
fn half_a_frame_and_an_end_is_an_end() {
    let node = node();
    let mut stream = node.connect();
    stream.write_all(&frame(4_096, 1)[..1_000]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    node.wait("closing", |seen| seen.closed.len() == 1);
    let seen = node.seen.lock().unwrap();
    assert_eq!((seen.closed[0].1, seen.frame_lengths.len()), (CloseReason::ByPeer, 0));
}
