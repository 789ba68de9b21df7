//! How much is gathered before it is handed on.

use super::echo::{Behaviour, EchoNode, frame};
use duet_runtime::{Limits, LinkIo, Listener, Responsiveness};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

const LINKS: usize = 64;
const FRAME_BYTES: usize = 8 << 10;

/// Bytes between flushes when this many links have each sent a frame before the loop looks at any.
fn bursts(level: u8) -> Vec<usize> {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), true).unwrap();
    let mut streams: Vec<TcpStream> =
        (0..LINKS).map(|_| TcpStream::connect(listener.address()).unwrap()).collect();
    let bytes = frame(FRAME_BYTES, 7);
    for stream in &mut streams {
        stream.write_all(&bytes).unwrap();
    }
    let limits = Limits::new(1_000).with_responsiveness(Responsiveness::new(level));
    let node = EchoNode::start_on(listener, Behaviour::default(), limits);
    let mut answer = vec![0; FRAME_BYTES];
    for stream in &mut streams {
        stream.read_exact(&mut answer).unwrap();
    }
    let seen = node.seen.lock().unwrap();
    seen.bursts.clone()
}

#[test]
fn responsiveness_bounds_what_is_read_before_replies_are_written() {
    let all = LINKS * FRAME_BYTES;
    for (level, most) in [(0, all), (5, all), (8, 128 << 10), (10, 32 << 10)] {
        let bursts = bursts(level);
        assert_eq!(bursts.iter().sum::<usize>(), all);
        assert!(bursts.iter().all(|burst| *burst <= most), "level {level}: {bursts:?}");
        // io_uring brings bytes as they arrive, epoll as much as there is.
        if super::io() == LinkIo::Epoll {
            assert_eq!(bursts.len(), all / most, "level {level}");
        }
    }
}
