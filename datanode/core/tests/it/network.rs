//! A network of kernels in memory: first-in-first-out links that a test can cut, hold and inspect.

use duet_datanode_core::{
    CloseReason, Command, LinkId, NodeConfiguration, NodeKernel, SUSPECT_AFTER, Target,
};
use duet_protocol::frame::{Envelope, FrameBuilder, FrameView, announced_length};
use duet_protocol::ids::{Instance, TransactionId};
use duet_protocol::layout::TableLayout;
use duet_protocol::record::{
    ClusterConfiguration, ClusterState, GroupView, Leaving, Member, MemberState, NodeRecord, PartitionView,
    View,
};
use duet_protocol::schema::{ColumnType, Table, TableDefinition, TableState};
use duet_protocol::signal::cluster_state::ClusterStateSignal;
use duet_protocol::signal::hello::{Hello, ROLE_CLIENT, ROLE_MANAGEMENT};
use duet_protocol::signal::registered::Registered;
use duet_protocol::signal::welcome::Welcome;
use duet_protocol::signal::write::Write;
use duet_protocol::signal::{Sections, Signal, SignalType, SignalView};
use duet_protocol::value::Value;
use std::collections::{BTreeMap, VecDeque};

pub const CLUSTER: u64 = 77;
pub const TABLE: u32 = 1;
pub const USERS: u32 = 2;
const PARTITIONS: u16 = 4;

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Node { node: usize, link: LinkId },
    Management { node: usize },
    Client,
}

/// A signal that a client received.
#[derive(Clone, Debug)]
pub struct Received {
    pub signal_type: SignalType,
    pub bytes: Vec<u8>,
}

impl Received {
    pub fn view(&self) -> SignalView<'_> {
        SignalView::split_checked(&self.bytes).expect("checked").0
    }

    pub fn body<S: Signal>(&self) -> S {
        *self.view().body::<S>().unwrap_or_else(|| panic!("{:?} is not {:?}", self.signal_type, S::TYPE))
    }
}

pub struct Network {
    pub kernels: Vec<NodeKernel>,
    pub now: u64,
    /// The other end of each link of each node.
    peers: BTreeMap<(usize, u32), (LinkId, End)>,
    queue: VecDeque<(End, End, Vec<u8>)>,
    next_slot: Vec<u32>,
    generation: u32,
    pub state: ClusterState,
    /// Answers to clients by node and link slot.
    pub received: BTreeMap<(usize, u32), Vec<Received>>,
    /// Nodes that handle nothing.
    pub paused: Vec<bool>,
    pub stopped: Vec<Option<String>>,
    pub refused: Vec<(usize, u16)>,
    secret: Vec<u8>,
}

pub fn definition() -> TableDefinition {
    let table = TableDefinition::builder("test", "accounts")
        .required("id", ColumnType::BigInt)
        .nullable("balance", ColumnType::BigInt)
        .nullable("name", ColumnType::Varchar { characters: 20_000 })
        .primary_key(["id"]);
    let indexed =
        crate::INDEXES.iter().fold(table, |table, (name, columns)| table.ordered_index(*name, columns));
    indexed.build().expect("valid")
}

pub fn layout() -> TableLayout {
    TableLayout::new(&definition()).expect("valid")
}

/// A table with two unique indexes, whose hidden tables have the next two ids.
pub fn users_definition() -> TableDefinition {
    TableDefinition::builder("test", "users")
        .required("id", ColumnType::BigInt)
        .nullable("badge", ColumnType::BigInt)
        .nullable("email", ColumnType::Varchar { characters: 40 })
        .required("visits", ColumnType::BigInt)
        .primary_key(["id"])
        .unique_index("by_badge", &["badge"])
        .unique_index("by_email", &["email"])
        .build()
        .expect("valid")
}

fn tables() -> Vec<Table> {
    let mut tables = vec![Table::created(TABLE, 1, definition())];
    tables.extend(Table::created_with_entries(USERS, 1, users_definition()));
    tables.iter_mut().for_each(|table| table.state = TableState::Active);
    tables
}

/// Key and value image of a row of the test table.
pub fn row(id: i64, balance: i64, name: &str) -> (Vec<u8>, Vec<u8>) {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let values: [Value; 3] = [id.into(), balance.into(), name.into()];
    layout().encode_row(&values, &mut key, &mut value).expect("fits");
    (key, value)
}

impl Network {
    /// A formed cluster of two nodes with one active table.
    pub fn formed() -> Network {
        Network::with_memory(64 << 20, 0)
    }

    pub fn with_memory(memory_bytes: u64, planted_bug: u32) -> Network {
        Network::of_replicas(super::PARTS, memory_bytes, planted_bug, b"", 2)
    }

    /// A formed cluster whose partitions have one replica each.
    pub fn without_backups() -> Network {
        Network::of_replicas(super::PARTS, 64 << 20, 0, b"", 1)
    }

    /// A formed cluster of nodes of these parts, whose partitions have so many replicas each and whose members know a secret.
    pub fn of_replicas(
        parts: Option<(usize, usize)>,
        memory_bytes: u64,
        planted_bug: u32,
        secret: &[u8],
        replicas: usize,
    ) -> Network {
        let nodes = 2;
        let member = |node| Member {
            node,
            incarnation: node + 10,
            state: MemberState::Full,
            recoverable: false,
            leaving: Leaving::No,
        };
        let partitions = (0..PARTITIONS).map(|partition| PartitionView {
            group: 0,
            replicas: if partition % 2 == 0 { [1, 2] } else { [2, 1] }[..replicas].to_vec(),
            cfg: 1,
        });
        let record = |node: u32| NodeRecord {
            node,
            incarnation: node + 10,
            process: [node as u8; 16],
            address: format!("node-{node}"),
            metrics_address: String::new(),
            data_parts: 1,
        };
        let state = ClusterState {
            cluster_id: CLUSTER,
            version: 5,
            configuration: ClusterConfiguration {
                data_nodes: 2,
                replicas: 2,
                partitions: PARTITIONS,
                lanes: 2,
            },
            nodes: vec![record(1), record(2)],
            view: View {
                number: 1,
                groups: vec![GroupView { changed_in_view: 1, members: vec![member(1), member(2)] }],
                partitions: partitions.collect(),
            },
            buckets: ClusterState::deal_buckets(PARTITIONS),
            tables: tables(),
            next_table_id: USERS + 3,
            ..ClusterState::default()
        };
        let kernels = (1..=nodes).map(|node| {
            let configuration = NodeConfiguration {
                node,
                process: [node as u8; 16],
                address: format!("node-{node}"),
                metrics_address: String::new(),
                management: vec!["management".to_owned()],
                secret: secret.to_vec(),
                memory_bytes,
                arena_bytes: 64 << 20,
                memory_preparer: None,
                max_links: 100,
                seed: u64::from(node),
                link_close_is_proof: true,
                suspect_after: SUSPECT_AFTER,
                lane_frame_signals: u16::MAX,
                planted_bug,
            };
            NodeKernel::new(configuration, 0, parts, false).expect("valid")
        });
        let mut network = Network {
            kernels: kernels.collect(),
            now: 0,
            peers: BTreeMap::new(),
            queue: VecDeque::new(),
            next_slot: vec![0; nodes as usize],
            generation: 0,
            state,
            received: BTreeMap::new(),
            paused: vec![false; nodes as usize],
            stopped: vec![None; nodes as usize],
            refused: Vec::new(),
            secret: secret.to_vec(),
        };
        network.settle();
        assert!(network.kernels.iter().all(|kernel| kernel.counters().serving == 1), "{:?}", network.stopped);
        network
    }

    fn new_link(&mut self, node: usize) -> LinkId {
        self.generation += 1;
        self.next_slot[node] += 1;
        LinkId { slot: self.next_slot[node], generation: self.generation }
    }

    /// Runs ticks and deliveries until nothing moves for a while of virtual time.
    pub fn settle(&mut self) {
        self.settle_for(80);
    }

    /// As [`Network::settle`] for so many ticks of 10 ms.
    pub fn settle_for(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.now += 10_000_000;
            for node in 0..self.kernels.len() {
                if !self.paused[node] {
                    self.kernels[node].tick(self.now);
                    self.after(node);
                }
            }
            self.deliver();
        }
    }

    /// Delivers everything that is under way, without letting time pass.
    pub fn deliver(&mut self) {
        let mut held = VecDeque::new();
        while let Some((from, to, bytes)) = self.queue.pop_front() {
            match to {
                End::Node { node, .. } if self.paused[node] => held.push_back((from, to, bytes)),
                End::Node { node, link } => {
                    self.kernels[node].frame(self.now, link, &bytes);
                    self.after(node);
                }
                End::Management { node } => self.management(node, &from, &bytes),
                End::Client => self.client(&from, &bytes),
            }
        }
        self.queue = held;
    }

    pub fn after(&mut self, node: usize) {
        self.kernels[node].flush(self.now);
        let mut outputs = Vec::new();
        self.kernels[node].drain_output(|link, bytes| outputs.push((link, bytes.to_vec())));
        for (link, bytes) in outputs {
            let Some((_, to)) = self.peers.get(&(node, link.slot)).copied() else { continue };
            let mut rest = &bytes[..];
            while let Ok(Some(length)) = announced_length(rest, usize::MAX) {
                let (frame, tail) = rest.split_at(length);
                self.queue.push_back((End::Node { node, link }, to, frame.to_vec()));
                rest = tail;
            }
            assert!(rest.is_empty(), "only whole frames are handed out");
        }
        while let Some(command) = self.kernels[node].next_command() {
            match command {
                Command::Connect { target, .. } => self.connect(node, target),
                Command::Close { link, .. } => self.cut(node, link.slot),
                Command::Warn { .. } => {}
                Command::Stop { reason } | Command::End { reason, .. } => self.stopped[node] = Some(reason),
            }
        }
    }

    fn connect(&mut self, node: usize, target: Target) {
        let link = self.new_link(node);
        match target {
            Target::Management { .. } => {
                self.peers.insert((node, link.slot), (link, End::Management { node }));
            }
            Target::Peer { node: peer, .. } => {
                let other = peer as usize - 1;
                let theirs = self.new_link(other);
                self.peers.insert((node, link.slot), (link, End::Node { node: other, link: theirs }));
                self.peers.insert((other, theirs.slot), (theirs, End::Node { node, link }));
                self.kernels[other].link_accepted(self.now, theirs);
            }
        }
        self.kernels[node].link_connected(self.now, link, target);
        self.after(node);
    }

    /// Breaks a link; frames under way on it are lost.
    pub fn cut(&mut self, node: usize, slot: u32) {
        let Some((link, to)) = self.peers.remove(&(node, slot)) else { return };
        let here = End::Node { node, link };
        // What was sent to a client before the close still arrives; the rest is lost.
        self.queue.retain(|(from, target, _)| *target != here && (*from != here || *target == End::Client));
        self.kernels[node].link_closed(self.now, link, CloseReason::Local);
        if let End::Node { node: other, link: theirs } = to {
            self.peers.remove(&(other, theirs.slot));
            self.kernels[other].link_closed(self.now, theirs, CloseReason::ByPeer);
            self.after(other);
        }
        self.after(node);
    }

    /// Breaks all links between the data nodes.
    pub fn cut_peers(&mut self) {
        let slots: Vec<u32> = self
            .peers
            .iter()
            .filter(|((node, _), (_, end))| *node == 0 && matches!(end, End::Node { .. }))
            .map(|((_, slot), _)| *slot)
            .collect();
        for slot in slots {
            self.cut(0, slot);
        }
    }

    /// Sends the current state to all nodes.
    pub fn publish_state(&mut self) {
        for node in 0..self.kernels.len() {
            self.publish_state_to(node);
        }
    }

    /// Sends the current state to one node.
    pub fn publish_state_to(&mut self, node: usize) {
        let found = self
            .peers
            .iter()
            .find(|((at, _), (_, end))| *at == node && matches!(end, End::Management { .. }));
        let link = found.expect("connected").1.0;
        self.send_state(node, link);
        self.deliver();
    }

    fn send_state(&mut self, node: usize, link: LinkId) {
        let record = self.state.to_record().expect("fits");
        let body = ClusterStateSignal { version: self.state.version.into() };
        self.send_to_node(End::Management { node }, node, link, &body, Sections::one(&record));
    }

    fn send_to_node<S: Signal>(
        &mut self,
        from: End,
        node: usize,
        link: LinkId,
        body: &S,
        sections: Sections<'_>,
    ) {
        let mut builder = FrameBuilder::new();
        builder.push(0, 0, body, sections);
        let frame =
            builder.seal(&Envelope { cluster_id: CLUSTER, ..Envelope::default() }).expect("open").to_vec();
        self.queue.push_back((from, End::Node { node, link }, frame));
    }

    fn management(&mut self, node: usize, from: &End, bytes: &[u8]) {
        let End::Node { link, .. } = *from else { return };
        let here = End::Management { node };
        for signal in FrameView::new_checked(bytes).expect("valid").signals() {
            match signal.signal_type() {
                SignalType::Hello => {
                    let body = Welcome { role: ROLE_MANAGEMENT.into(), ..Welcome::default() };
                    self.send_to_node(here, node, link, &body, Sections::none());
                }
                SignalType::Register => {
                    let incarnation = self.state.nodes[node].incarnation.into();
                    let body =
                        Registered { incarnation, cluster_id: CLUSTER.into(), ..Registered::default() };
                    self.send_to_node(here, node, link, &body, Sections::none());
                    self.send_state(node, link);
                }
                _ => {}
            }
        }
    }

    fn client(&mut self, from: &End, bytes: &[u8]) {
        let End::Node { node, link } = *from else { return };
        for signal in FrameView::new_checked(bytes).expect("valid").signals() {
            if let Some(refusal) = signal.body::<duet_protocol::signal::refuse_link::RefuseLink>() {
                self.refused.push((node, refusal.code.get()));
            }
            let received = Received { signal_type: signal.signal_type(), bytes: signal.bytes().to_vec() };
            self.received.entry((node, link.slot)).or_default().push(received);
        }
    }

    /// A raw connection of a client to a node.
    pub fn connect_client(&mut self, node: usize) -> LinkId {
        let link = self.new_link(node);
        self.peers.insert((node, link.slot), (link, End::Client));
        self.kernels[node].link_accepted(self.now, link);
        link
    }

    /// A client that has said hello.
    pub fn client_link(&mut self, node: usize) -> LinkId {
        let link = self.connect_client(node);
        let body = Hello { role: ROLE_CLIENT.into(), ..Hello::default() };
        let secret = self.secret.clone();
        self.send_to_node(End::Client, node, link, &body, Sections::one(&secret));
        self.deliver();
        let received = self.received.remove(&(node, link.slot)).expect("welcome");
        assert_eq!(received[0].signal_type, SignalType::Welcome);
        link
    }

    /// Hands raw bytes to a node as a frame.
    pub fn raw(&mut self, node: usize, link: LinkId, bytes: &[u8]) {
        self.kernels[node].frame(self.now, link, bytes);
        self.after(node);
        self.deliver();
    }

    /// Sends one request without waiting.
    pub fn send<S: Signal>(
        &mut self,
        node: usize,
        link: LinkId,
        request_id: u64,
        body: &S,
        sections: Sections<'_>,
    ) {
        let mut builder = FrameBuilder::new();
        builder.push(0, request_id, body, sections);
        let frame =
            builder.seal(&Envelope { cluster_id: CLUSTER, ..Envelope::default() }).expect("open").to_vec();
        self.kernels[node].frame(self.now, link, &frame);
        self.after(node);
    }

    /// Takes what a client has received.
    pub fn take(&mut self, node: usize, link: LinkId) -> Vec<Received> {
        self.received.remove(&(node, link.slot)).unwrap_or_default()
    }

    /// Sends one request and delivers everything; exactly one answer must come.
    pub fn ask<S: Signal>(
        &mut self,
        node: usize,
        link: LinkId,
        body: &S,
        sections: Sections<'_>,
    ) -> Received {
        self.send(node, link, 9, body, sections);
        self.deliver();
        let mut received = self.take(node, link);
        assert_eq!(received.len(), 1, "{received:?}");
        received.remove(0)
    }

    /// Node (index) that leads the partition of a key.
    pub fn leader(&self, key: &[u8]) -> usize {
        let partition = self.state.partition_of(layout().partition_hash(key)).expect("formed");
        self.state.view.partitions[usize::from(partition)].replicas[0] as usize - 1
    }

    /// Asserts that both replicas of every partition hold the same, and their indexes what their tables hold.
    pub fn assert_replicas_equal(&self) {
        let mut first = self.kernels[0].replica_digests();
        let mut second = self.kernels[1].replica_digests();
        for digest in first.iter_mut().chain(&mut second) {
            digest.primary = false;
        }
        assert_eq!(first, second);
        for kernel in &self.kernels {
            assert_eq!(kernel.index_faults(), Vec::<String>::new());
        }
    }
}

/// A write of the test table.
pub fn write(operation: u8, transaction: TransactionId) -> Write {
    Write {
        table: TABLE.into(),
        table_version: 1.into(),
        operation,
        session: transaction.session.into(),
        seq: transaction.seq.into(),
        ..Write::default()
    }
}

/// Some instance that is not a member.
pub fn stranger() -> Instance {
    Instance { node: 2, incarnation: 99 }
}
