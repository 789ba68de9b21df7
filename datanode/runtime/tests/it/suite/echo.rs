//! A kernel that echoes frames, and what a test needs around it.

use duet_datanode_core::{CloseReason, Command, LinkId, Nanoseconds, NodeCounters, Target};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::PROTOCOL_VERSION;
use duet_runtime::{BatchOptions, BatchThread, Driven, Limits, LinkIo, Listener, RuntimeError, Snapshot};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What the kernel was told, and what the test tells it.
#[derive(Debug, Default)]
pub struct Seen {
    pub accepted: Vec<LinkId>,
    pub connected: Vec<(LinkId, Target)>,
    pub connect_failed: Vec<Target>,
    pub closed: Vec<(LinkId, CloseReason)>,
    pub damaged: Vec<ErrorCode>,
    pub frame_lengths: Vec<usize>,
    /// Bytes of the frames between two flushes, where there were any.
    pub bursts: Vec<usize>,
    /// Most bytes of answers between two flushes.
    pub largest_answer: usize,
    pub largest_backlog: usize,
    pub input_refused: u64,
    pub commands: VecDeque<Command>,
}

/// How the kernel behaves.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// Largest frame accepted.
    pub frame_limit: usize,
    /// Each frame is answered this often.
    pub copies: usize,
    /// Unsent bytes of a link above which it wants no input; `None` wants input always.
    pub pause_above: Option<usize>,
    /// Bytes of frames of all links between two flushes above which it wants no input.
    pub room: usize,
    /// Bytes of answers above which the burst should end.
    pub burst_above: usize,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            frame_limit: 16 << 20,
            copies: 1,
            pause_above: Some(1 << 20),
            room: usize::MAX,
            burst_above: usize::MAX,
        }
    }
}

#[derive(Default)]
struct Output {
    id: Option<LinkId>,
    bytes: Vec<u8>,
    backlog: usize,
}

struct Echo {
    behaviour: Behaviour,
    seen: Arc<Mutex<Seen>>,
    outputs: Vec<Output>,
    commands: VecDeque<Command>,
    burst: usize,
}

impl Echo {
    fn open(&mut self, link: LinkId) {
        let slot = link.slot as usize;
        if self.outputs.len() <= slot {
            self.outputs.resize_with(slot + 1, Output::default);
        }
        assert!(self.outputs[slot].id.is_none(), "the slot is in use");
        self.outputs[slot] = Output { id: Some(link), ..Output::default() };
    }

    /// Bytes of answers since the last flush.
    fn answered(&self) -> usize {
        self.outputs.iter().map(|output| output.bytes.len()).sum()
    }

    fn output(&mut self, link: LinkId) -> &mut Output {
        let output = &mut self.outputs[link.slot as usize];
        assert_eq!(output.id, Some(link), "an event of a link that is not open");
        output
    }
}

impl Driven for Echo {
    fn link_accepted(&mut self, _now: Nanoseconds, link: LinkId) {
        self.open(link);
        self.seen.lock().unwrap().accepted.push(link);
    }

    fn link_connected(&mut self, _now: Nanoseconds, link: LinkId, target: Target) {
        self.open(link);
        self.seen.lock().unwrap().connected.push((link, target));
    }

    fn connect_failed(&mut self, _now: Nanoseconds, target: Target) {
        self.seen.lock().unwrap().connect_failed.push(target);
    }

    fn link_closed(&mut self, _now: Nanoseconds, link: LinkId, reason: CloseReason) {
        *self.output(link) = Output::default();
        self.seen.lock().unwrap().closed.push((link, reason));
    }

    fn frame_limit(&self, _link: LinkId) -> usize {
        self.behaviour.frame_limit
    }

    fn frame(&mut self, _now: Nanoseconds, link: LinkId, bytes: &[u8]) {
        let copies = self.behaviour.copies;
        let output = self.output(link);
        for _ in 0..copies {
            output.bytes.extend_from_slice(bytes);
        }
        self.burst += bytes.len();
        self.seen.lock().unwrap().frame_lengths.push(bytes.len());
    }

    fn damaged(&mut self, _now: Nanoseconds, link: LinkId, code: ErrorCode) {
        self.output(link).bytes.extend_from_slice(&frame(80, 0xEE));
        self.commands.push_back(Command::Close { link, refused: None });
        self.seen.lock().unwrap().damaged.push(code);
    }

    fn tick(&mut self, _now: Nanoseconds) {
        self.commands.extend(self.seen.lock().unwrap().commands.drain(..));
    }

    fn flush(&mut self, _now: Nanoseconds) {
        let burst = std::mem::take(&mut self.burst);
        if burst > 0 {
            let answered = self.answered();
            let mut seen = self.seen.lock().unwrap();
            seen.bursts.push(burst);
            seen.largest_answer = seen.largest_answer.max(answered);
        }
    }

    fn has_burst(&self) -> bool {
        self.answered() > self.behaviour.burst_above
    }

    fn drain_output(&mut self, mut send: impl FnMut(LinkId, &[u8])) {
        for output in &mut self.outputs {
            if let Some(id) = output.id
                && !output.bytes.is_empty()
            {
                send(id, &output.bytes);
                output.bytes.clear();
            }
        }
    }

    fn set_backlog(&mut self, link: LinkId, bytes: usize) {
        self.output(link).backlog = bytes;
        let mut seen = self.seen.lock().unwrap();
        seen.largest_backlog = seen.largest_backlog.max(bytes);
    }

    fn wants_input(&self, link: LinkId) -> bool {
        let output = &self.outputs[link.slot as usize];
        assert_eq!(output.id, Some(link), "a question about a link that is not open");
        let is_read =
            self.behaviour.pause_above.is_none_or(|most| output.bytes.len() + output.backlog <= most);
        let wants = is_read && self.burst <= self.behaviour.room;
        self.seen.lock().unwrap().input_refused += u64::from(!wants);
        wants
    }

    fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    fn counters(&self) -> NodeCounters {
        NodeCounters {
            links: self.outputs.iter().filter(|output| output.id.is_some()).count() as u64,
            ..NodeCounters::default()
        }
    }
}

/// A running loop with an echo kernel.
pub struct EchoNode {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Seen>>,
    pub thread: BatchThread,
}

impl EchoNode {
    pub fn start(behaviour: Behaviour, limits: Limits) -> EchoNode {
        EchoNode::start_on(Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), true).unwrap(), behaviour, limits)
    }

    /// On a listener that others may have connected to already.
    pub fn start_on(listener: Listener, behaviour: Behaviour, limits: Limits) -> EchoNode {
        EchoNode::try_start(super::io(), listener, behaviour, limits).unwrap()
    }

    /// With this way to talk to links, which the system may refuse.
    pub fn try_start(
        io: LinkIo,
        listener: Listener,
        behaviour: Behaviour,
        limits: Limits,
    ) -> Result<EchoNode, RuntimeError> {
        let address = listener.address();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let options = BatchOptions { name: "duet-batch", listener, limits, cpu: None, io };
        let shared = seen.clone();
        let thread = BatchThread::start(options, move |_| {
            Ok(Echo { behaviour, seen: shared, outputs: Vec::new(), commands: VecDeque::new(), burst: 0 })
        })?;
        Ok(EchoNode { address, seen, thread })
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    pub fn command(&self, command: Command) {
        self.seen.lock().unwrap().commands.push_back(command);
    }

    pub fn wait(&self, what: &str, mut condition: impl FnMut(&Seen) -> bool) {
        wait(what, || condition(&self.seen.lock().unwrap()));
    }

    pub fn wait_for_counters(&self, what: &str, mut condition: impl FnMut(&Snapshot) -> bool) {
        let reader = self.thread.snapshots();
        wait(what, || condition(&reader.read()));
    }
}

pub fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A frame of this length; the loop looks at its length and version only.
pub fn frame(length: usize, fill: u8) -> Vec<u8> {
    assert!(length >= 80 && length.is_multiple_of(8));
    let mut bytes = vec![fill; length];
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    bytes[4..6].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    bytes
}

/// Sends a frame and reads its echo.
pub fn exchange(stream: &mut TcpStream, frame: &[u8]) {
    stream.write_all(frame).unwrap();
    expect(stream, frame);
}

/// Reads exactly these bytes.
pub fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer == bytes, "another answer");
}
