//! Two kernels that serve, and clients and strangers that do whatever invented bytes say.
//!
//! Between the data nodes only their own frames travel, as they trust each other: links break and are held, no more. The nodes
//! share a secret that strangers do not know, so that nobody else becomes a peer. At the end the network heals: then
//! every request of a link that still stands has exactly one answer, the replicas are equal and no kernel wanted to stop.

use crate::frame::repair;
use crate::input::Input;
use crate::network::{CLUSTER, Network, TABLE, layout, row};
use crate::signals::{AnySignal, invent_envelope};
use duet_datanode_core::LinkId;
use duet_protocol::frame::{Envelope, FrameBuilder, announced_length};
use duet_protocol::signal::commit_transaction::CommitTransaction;
use duet_protocol::signal::hello::{Hello, ROLE_CLIENT};
use duet_protocol::signal::open_session::OpenSession;
use duet_protocol::signal::operate::Operate;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::resolve::Resolve;
use duet_protocol::signal::rollback_transaction::RollbackTransaction;
use duet_protocol::signal::scan::Scan;
use duet_protocol::signal::session_opened::SessionOpened;
use duet_protocol::signal::write::Write;
use duet_protocol::signal::{Sections, SignalType};
use duet_protocol::update::{Assignment, encode_update};
use duet_protocol::value::ValueRef;

/// What the data nodes and honest clients know.
const SECRET: &[u8] = b"what no fuzzer guesses: 8c1f2e77d0a94b35";
/// Coordinator and data parts of each node; none for one kernel that is everything.
const PARTS: [Option<(usize, usize)>; 3] = [None, Some((1, 2)), Some((2, 3))];
/// Memory of each node in bytes: enough to serve, little enough to run out.
const MEMORY_BYTES: u64 = 8 << 20;
/// Most links that are open at once, and most that are opened at all.
const MOST_LINKS: usize = 12;
const MOST_LINKS_EVER: usize = 60;
/// Most steps of a run.
const MOST_STEPS: usize = 300;
/// Most copies of a request in one frame: more than the kernel executes in one group.
const MOST_COPIES: usize = 150;
/// Most bytes that lanes may keep: their limit, and a frame for what was under way when it was reached, for two lanes.
const MOST_RETAINED_BYTES: u64 = 2 * (9 << 20);

/// A link from outside.
struct Outsider {
    node: usize,
    link: LinkId,
    /// It has said hello as a client.
    is_client: bool,
    /// It sent something that closes the link: answers are no longer owed.
    refused: bool,
    asked: usize,
    answered: usize,
    /// Two of its requests may have one request id: while the first is under way the second is the same question.
    repeats: bool,
    /// Session that it opened last.
    session: u64,
}

/// The network and everybody outside.
struct World {
    network: Network,
    outsiders: Vec<Outsider>,
    opened: usize,
    /// Request id that was given out last.
    request_id: u64,
    program: Vec<u8>,
}

/// Runs the steps that the bytes say, on nodes of as many parts as the first one says.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let parts = PARTS[input.below(PARTS.len())];
    let mut world = World {
        network: Network::of_replicas(parts, MEMORY_BYTES, 0, SECRET, 2),
        outsiders: Vec::new(),
        opened: 0,
        request_id: 0,
        program: Vec::new(),
    };
    encode_update(&layout(), &[(1, Assignment::Add(ValueRef::Int(1)))], &mut world.program).expect("fits");
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
        world.network.deliver();
        world.listen();
        world.check_bounds();
    }
    world.heal();
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(16) {
            0 => self.connect(input.below(2), false),
            1 | 2 => self.connect(input.below(2), true),
            3..=7 => self.request(input),
            8 => self.any_frame(input),
            9 => self.raw_bytes(input),
            10 => self.close(input),
            11 => self.pass_time(1 + input.below(32), 10_000_000),
            // Sessions age and links become overdue while nobody ticks.
            12 => self.pass_time(1, u64::from(input.short()) * 100_000_000),
            13 => self.network.cut_peers(),
            14 => {
                let node = input.below(2);
                self.network.paused[node] = !self.network.paused[node];
            }
            _ => self.set_backlog(input),
        }
    }

    fn connect(&mut self, node: usize, says_hello: bool) {
        if self.outsiders.len() >= MOST_LINKS || self.opened >= MOST_LINKS_EVER {
            return;
        }
        self.opened += 1;
        let link = self.network.connect_client(node);
        let outsider = Outsider {
            node,
            link,
            is_client: says_hello,
            refused: false,
            asked: 0,
            answered: 0,
            repeats: false,
            session: 0,
        };
        self.outsiders.push(outsider);
        if says_hello {
            let hello = Hello { role: ROLE_CLIENT.into(), ..Hello::default() };
            self.network.send(node, link, 0, &hello, Sections::one(SECRET));
        }
    }

    /// Index of an outsider, if there is one.
    fn choose(&self, input: &mut Input<'_>) -> Option<usize> {
        let choice = usize::from(input.byte());
        choice.checked_rem(self.outsiders.len())
    }

    /// A frame of requests that are mostly right.
    fn request(&mut self, input: &mut Input<'_>) {
        let Some(index) = self.choose(input) else { return };
        let copies = if input.byte() == 0xFF { 1 + input.below(MOST_COPIES) } else { 1 };
        let mut builder = FrameBuilder::new();
        let mut copied = *input;
        for _ in 0..copies {
            copied = *input;
            self.request_id += 1;
            let session = self.outsiders[index].session;
            push_request(&mut builder, &mut copied, self.request_id, session, &self.program);
        }
        *input = copied;
        let envelope = Envelope { cluster_id: CLUSTER, ..Envelope::default() };
        let frame = builder.seal(&envelope).expect("a request was pushed").to_vec();
        self.outsiders[index].asked += copies;
        self.send(index, &frame);
    }

    /// A frame with a right checksum around any signals.
    fn any_frame(&mut self, input: &mut Input<'_>) {
        let Some(index) = self.choose(input) else { return };
        let envelope = if input.byte() & 1 == 1 { invent_envelope(input) } else { Envelope::default() };
        let mut builder = FrameBuilder::new();
        for _ in 0..1 + input.below(4) {
            self.request_id += 1;
            let signal = AnySignal { request_id: self.request_id, ..AnySignal::invent(input) };
            self.outsiders[index].asked += usize::from(is_request(signal.signal_type));
            signal.push(&mut builder);
        }
        let frame = builder.seal(&envelope).expect("a signal was pushed").to_vec();
        self.send(index, &frame);
    }

    /// Bytes as they come, or made a frame; an answer may or may not be owed.
    fn raw_bytes(&mut self, input: &mut Input<'_>) {
        let Some(index) = self.choose(input) else { return };
        let is_repaired = input.byte() & 1 == 1;
        let mut bytes = input.string().to_vec();
        if is_repaired {
            repair(&mut bytes);
        }
        let outsider = &mut self.outsiders[index];
        let signals = duet_protocol::frame::FrameView::new_checked(&bytes)
            .map(|frame| frame.signals().filter(|signal| is_request(signal.signal_type())).count());
        outsider.asked += signals.unwrap_or(0);
        outsider.repeats |= signals.is_ok();
        self.send(index, &bytes);
    }

    /// Does with bytes from outside what a driver does.
    fn send(&mut self, index: usize, bytes: &[u8]) {
        let Outsider { node, link, .. } = self.outsiders[index];
        if self.network.paused[node] || !self.network.kernels[node].wants_input(link) {
            // The bytes wait in the socket; here they are given up together with the link.
            self.close_at(index);
            return;
        }
        let now = self.network.now;
        let kernel = &mut self.network.kernels[node];
        match announced_length(bytes, kernel.frame_limit(link)) {
            Ok(Some(length)) if length == bytes.len() => kernel.frame(now, link, bytes),
            Ok(_) => self.outsiders[index].refused = true,
            Err(code) => {
                kernel.damaged(now, link, code);
                self.outsiders[index].refused = true;
            }
        }
        self.network.after(node);
    }

    fn close(&mut self, input: &mut Input<'_>) {
        if let Some(index) = self.choose(input) {
            self.close_at(index);
        }
    }

    fn close_at(&mut self, index: usize) {
        let Outsider { node, link, .. } = self.outsiders.swap_remove(index);
        self.network.cut(node, link.slot);
    }

    fn pass_time(&mut self, rounds: usize, nanoseconds: u64) {
        for _ in 0..rounds {
            self.network.now += nanoseconds;
            for node in 0..self.network.kernels.len() {
                if !self.network.paused[node] {
                    self.network.kernels[node].tick(self.network.now);
                    self.network.after(node);
                }
            }
            self.network.deliver();
        }
    }

    fn set_backlog(&mut self, input: &mut Input<'_>) {
        let Some(index) = self.choose(input) else { return };
        let Outsider { node, link, .. } = self.outsiders[index];
        self.network.kernels[node].set_backlog(link, usize::from(input.byte()) << 16);
    }

    /// Counts what the outsiders have received.
    fn listen(&mut self) {
        for outsider in &mut self.outsiders {
            for received in self.network.take(outsider.node, outsider.link) {
                match received.signal_type {
                    SignalType::Welcome => outsider.is_client = true,
                    SignalType::RefuseLink => outsider.refused = true,
                    SignalType::SessionOpened => {
                        outsider.session = received.body::<SessionOpened>().session.get();
                        outsider.answered += 1;
                    }
                    _ => outsider.answered += 1,
                }
            }
            let allowed = if outsider.is_client { outsider.asked } else { 0 };
            assert!(outsider.answered <= allowed, "an answer that nobody asked for");
        }
        self.outsiders.retain(|outsider| !outsider.refused);
    }

    fn check_bounds(&self) {
        for kernel in &self.network.kernels {
            let counters = kernel.counters();
            assert!(counters.memory_used_bytes <= counters.memory_limit_bytes);
            assert!(counters.lane_retained_bytes <= MOST_RETAINED_BYTES);
            assert!(counters.links <= 100);
        }
        assert!(self.network.stopped.iter().all(Option::is_none), "{:?}", self.network.stopped);
    }

    /// Everything goes on, then everybody has their answers.
    fn heal(&mut self) {
        self.network.paused.fill(false);
        for outsider in &self.outsiders {
            self.network.kernels[outsider.node].set_backlog(outsider.link, 0);
        }
        self.network.deliver();
        // Longer than operations wait for locks, and fragments to prepare.
        self.pass_time(800, 10_000_000);
        self.network.deliver();
        self.listen();
        self.check_bounds();
        for outsider in self.outsiders.iter().filter(|outsider| outsider.is_client && !outsider.repeats) {
            assert_eq!(outsider.answered, outsider.asked, "requests without answers");
        }
        self.network.assert_replicas_equal();
    }
}

/// Whether a client gets an answer to this signal.
fn is_request(signal_type: SignalType) -> bool {
    matches!(
        signal_type,
        SignalType::Read
            | SignalType::Write
            | SignalType::Resolve
            | SignalType::Scan
            | SignalType::OpenSession
            | SignalType::FetchState
            | SignalType::Operate
            | SignalType::CommitTransaction
            | SignalType::RollbackTransaction
    )
}

/// One request for the test table, right but for a few choices.
fn push_request(
    builder: &mut FrameBuilder,
    input: &mut Input<'_>,
    request_id: u64,
    session: u64,
    program: &[u8],
) {
    let (choice, detail) = (input.byte(), input.byte());
    let session = if detail & 0x80 == 0 { session } else { u64::from(input.word()) << 24 };
    let (mut key, mut value) = row(i64::from(detail & 0x0F), i64::from(detail), "a name of some length");
    if detail & 0x40 != 0 {
        (key, value) = (input.string().to_vec(), input.string().to_vec());
    }
    let table_version = u16::from(choice != 0xFF);
    match choice % 11 {
        8 | 9 => push_operation(builder, input, request_id, session, table_version, program, (key, value)),
        10 if detail & 1 == 0 => {
            let body = CommitTransaction {
                session: session.into(),
                seq: u64::from(input.byte() & 7).into(),
                partition_hash: layout().partition_hash(&key).into(),
                resolved_below: u64::from(input.byte() & 7).into(),
            };
            builder.push(0, request_id, &body, Sections::none());
        }
        10 => {
            let body =
                RollbackTransaction { session: session.into(), seq: u64::from(input.byte() & 7).into() };
            builder.push(0, request_id, &body, Sections::none());
        }
        0 | 1 => {
            let body = Read { table: TABLE.into(), table_version: table_version.into(), ..Read::default() };
            builder.push(0, request_id, &body, Sections::one(&key));
        }
        2 => builder.push(0, request_id, &OpenSession::default(), Sections::none()),
        3 => {
            let body = Scan {
                table: TABLE.into(),
                table_version: table_version.into(),
                partition: u16::from(detail % 5).into(),
                cursor: input.long().into(),
                max_rows: u32::from(input.byte()).into(),
                max_bytes: u32::from(input.short()).into(),
                flags: u32::from(detail >> 5).into(),
                ..Scan::default()
            };
            builder.push(0, request_id, &body, Sections::none());
        }
        4 => {
            let body = Resolve {
                session: session.into(),
                seq: u64::from(input.byte()).into(),
                partition_hash: layout().partition_hash(&key).into(),
                resolved_below: u64::from(input.byte() & 7).into(),
            };
            builder.push(0, request_id, &body, Sections::none());
        }
        _ => {
            let (operation, flags) = (input.byte(), input.byte());
            let body = Write {
                table: TABLE.into(),
                table_version: table_version.into(),
                operation: operation % 6,
                flags: flags & 1,
                session: session.into(),
                seq: u64::from(input.byte()).into(),
                resolved_below: u64::from(flags >> 4).into(),
                expected_epoch: u64::from(flags >> 1 & 3).into(),
                expected_seq: u64::from(flags >> 3 & 1).into(),
            };
            let value = match operation % 6 {
                2 if detail & 0x40 == 0 => program,
                4 if detail & 0x40 == 0 => b"",
                _ => &value,
            };
            builder.push(0, request_id, &body, Sections::two(&key, value));
        }
    }
}

/// One operation of a transaction, right but for a few choices.
fn push_operation(
    builder: &mut FrameBuilder,
    input: &mut Input<'_>,
    request_id: u64,
    session: u64,
    table_version: u16,
    program: &[u8],
    (key, value): (Vec<u8>, Vec<u8>),
) {
    let (operation, flags, number) = (input.byte() % 9, input.byte(), input.byte());
    let body = Operate {
        table: TABLE.into(),
        table_version: table_version.into(),
        operation,
        flags: flags & 7,
        session: session.into(),
        seq: u64::from(number & 7).into(),
        number: (1 + u32::from(number >> 3 & 3)).into(),
        tries: 0.into(),
        expected_epoch: u64::from(flags >> 3 & 3).into(),
        expected_seq: u64::from(flags >> 5).into(),
    };
    let payload: &[u8] = match operation {
        1 | 3 => &value,
        2 => program,
        _ => b"",
    };
    builder.push(0, request_id, &body, Sections::two(&key, payload));
}
