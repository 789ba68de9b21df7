//! One connection: its socket, its place in life, and the bytes that wait in either direction.

use crate::poll::Interest;
use duet_datanode_core::{LinkId, Nanoseconds, Target};
use socket2::Socket;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// Buffers above this size are not kept for the next large frame.
const KEEP_BUFFER_BYTES: usize = 1 << 20;

/// Backlogs grow by so much.
const CHUNK_BYTES: usize = 256 << 10;

/// Place of a link in its life.
#[derive(Debug)]
pub(crate) enum Phase {
    /// The connection that the kernel asked for is under way.
    Connecting {
        /// For whom.
        target: Target,
        /// Addresses of the same name still to be tried, last one first.
        others: Vec<SocketAddr>,
        /// When to give up.
        until: Nanoseconds,
    },
    /// Frames flow.
    Open {
        /// Since when.
        since: Nanoseconds,
    },
    /// What was handed out is still being sent; nothing is read any more.
    Closing {
        /// When to give up.
        until: Nanoseconds,
    },
    /// Our end of the stream is sent and the kernel has forgotten the link. Closing the socket while the other side
    /// still sends would reset the connection and destroy what it has not read yet, such as the reason of a refusal.
    Lingering {
        /// When to give up.
        until: Nanoseconds,
    },
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub id: LinkId,
    /// Shared with the thread that sends on it, if that is another one.
    pub socket: Arc<Socket>,
    /// Of the other side, for logs.
    pub address: SocketAddr,
    /// The other side connected to us.
    pub accepted: bool,
    pub phase: Phase,
    /// What epoll was told.
    pub interest: Interest,
    /// Place among those of the ring, with io_uring.
    pub port: u32,
    /// The system took less than it was offered, with io_uring: the rest waits for room.
    pub blocked: bool,
    /// The other side takes nothing any more; what it has sent is read to its end.
    pub deaf: bool,
    /// The kernel does not want input from this link now.
    pub paused: bool,
    /// A whole frame has arrived.
    pub spoke: bool,
    /// Bytes moved since the last sweep.
    pub active: bool,
    pub partial: Partial,
    pub backlog: Backlog,
}

impl Link {
    pub fn new(id: LinkId, socket: Arc<Socket>, address: SocketAddr, accepted: bool, phase: Phase) -> Link {
        Link {
            id,
            socket,
            address,
            accepted,
            phase,
            interest: Interest::NONE,
            port: 0,
            blocked: false,
            deaf: false,
            paused: false,
            spoke: false,
            active: true,
            partial: Partial::default(),
            backlog: Backlog::default(),
        }
    }

    /// What the link waits for now.
    pub fn wanted_interest(&self) -> Interest {
        match self.phase {
            Phase::Connecting { .. } => Interest::WRITE,
            Phase::Open { .. } => Interest { read: !self.paused, write: !self.backlog.is_empty() },
            Phase::Closing { .. } => Interest::WRITE,
            Phase::Lingering { .. } => Interest::READ,
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// Gives memory back that an idle link does not need.
    pub fn shrink(&mut self) {
        let idle = !std::mem::replace(&mut self.active, false);
        if self.partial.filled == 0 && (idle || self.partial.bytes.len() > KEEP_BUFFER_BYTES) {
            self.partial.bytes = Vec::new();
        }
        if self.backlog.is_empty() && idle {
            self.backlog = Backlog::default();
        }
    }
}

/// Received bytes that are not a whole frame yet, or frames that the kernel does not want yet.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    /// Room; only the first `filled` bytes mean something.
    pub bytes: Vec<u8>,
    pub filled: usize,
    /// Length of the frame that begins here, 0 while fewer than 8 bytes of it are known.
    pub announced: usize,
}

impl Partial {
    /// Keeps the beginning of a frame.
    pub fn keep(&mut self, bytes: &[u8], announced: usize) {
        if self.bytes.len() < bytes.len() {
            self.bytes.resize(bytes.len(), 0);
        }
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        self.filled = bytes.len();
        self.announced = announced;
    }

    /// Keeps bytes behind what is kept already, without a look at them.
    pub fn park(&mut self, bytes: &[u8]) {
        self.append(bytes);
        self.announced = 0;
    }

    /// Puts bytes behind what is kept already.
    pub fn append(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.bytes[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// Makes room for at least `count` more bytes, and no more than twice what has arrived: an announced length alone
    /// must not cost memory.
    pub fn make_room(&mut self, count: usize) {
        let needed = self.filled + count;
        if self.bytes.len() < needed {
            let length = needed.max((2 * self.filled).min(self.announced));
            self.bytes.reserve_exact(length - self.bytes.len());
            self.bytes.resize(length, 0);
        }
    }

    pub fn clear(&mut self) {
        self.filled = 0;
        self.announced = 0;
    }
}

/// Bytes that were handed out but not accepted by the system yet, in chunks: what has been sent gives its memory back, and
/// growth moves the last chunk at most.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// Never empty ones, but for a last one that is kept for the next bytes.
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that are sent.
    start: usize,
    length: usize,
}

impl Backlog {
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The first bytes; all of them, unless they are many.
    pub fn front(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| &chunk[self.start..])
    }

    pub fn push(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len();
        while !bytes.is_empty() {
            if self.chunks.back().is_none_or(|chunk| chunk.len() == CHUNK_BYTES) {
                self.chunks.push_back(Vec::new());
            }
            let Some(chunk) = self.chunks.back_mut() else { return };
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - chunk.len()));
            let needed = chunk.len() + now.len();
            if needed > chunk.capacity() {
                chunk.reserve_exact((2 * chunk.capacity()).clamp(needed, CHUNK_BYTES) - chunk.len());
            }
            chunk.extend_from_slice(now);
            bytes = later;
        }
    }

    /// So many of the [`Backlog::front`] are sent.
    pub fn consume(&mut self, count: usize) {
        self.length -= count;
        self.start += count;
        let is_sent = self.chunks.front().is_some_and(|chunk| chunk.len() == self.start);
        if is_sent {
            self.start = 0;
            if self.chunks.len() > 1 {
                self.chunks.pop_front();
            } else {
                self.chunks.iter_mut().for_each(Vec::clear);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Backlog {
        fn memory(&self) -> usize {
            self.chunks.iter().map(Vec::capacity).sum()
        }
    }

    #[test]
    fn a_backlog_is_a_queue_of_bytes() {
        let mut backlog = Backlog::default();
        let mut model = std::collections::VecDeque::new();
        for step in 0..10_000usize {
            let push: Vec<u8> = (0..step * 7 % 31).map(|byte| (byte + step) as u8).collect();
            backlog.push(&push);
            model.extend(push);
            let take = (step * 13 % 37).min(backlog.len());
            assert_eq!(backlog.front()[..take], model.drain(..take).collect::<Vec<u8>>());
            backlog.consume(take);
            assert_eq!(backlog.len(), model.len());
        }
        assert!(backlog.memory() < 64 << 10, "consumed bytes are given up");
    }

    #[test]
    fn a_large_backlog_gives_its_memory_back_while_it_is_sent() {
        let bytes: Vec<u8> = (0..3_000_000usize).map(|number| (number % 251) as u8).collect();
        let mut backlog = Backlog::default();
        for part in [&bytes[..10], &bytes[10..2_000_000], &bytes[2_000_000..]] {
            backlog.push(part);
        }
        assert_eq!(backlog.len(), bytes.len());
        let mut sent = 0;
        while !backlog.is_empty() {
            let count = backlog.front().len().min(100_000);
            assert_eq!(backlog.front()[..count], bytes[sent..sent + count]);
            backlog.consume(count);
            sent += count;
            assert!(backlog.memory() <= bytes.len() - sent + CHUNK_BYTES);
        }
        assert_eq!(sent, bytes.len());
        backlog.push(b"next");
        assert_eq!(backlog.front(), b"next");
    }

    #[test]
    fn room_follows_what_has_arrived() {
        let mut partial = Partial::default();
        partial.keep(&[1; 100], 16 << 20);
        partial.make_room(1_000);
        assert_eq!(partial.bytes.len(), 1_100);
        partial.filled = 1_100;
        partial.make_room(10);
        assert_eq!(partial.bytes.len(), 2_200);
        assert_eq!(partial.bytes[..100], [1; 100]);
    }
}
