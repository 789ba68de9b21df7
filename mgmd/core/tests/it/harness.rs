//! A cluster of management nodes, data nodes and clients in one thread, with a network and disks in memory.

use duet_mgmd_core::{
    CloseReason, Command, LinkId, LogLevel, ManagementConfiguration, ManagementNode, ManagementPeer,
    Nanoseconds, Persist,
};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder, FrameView, announced_length};
use duet_protocol::ids::Instance;
use duet_protocol::record::{ClusterConfiguration, ClusterState, ManagementChange, TableChange};
use duet_protocol::schema::{Column, ColumnType, TableDefinition};
use duet_protocol::signal::change_dictionary::{
    ChangeDictionary, KIND_CHANGE_MANAGEMENT, KIND_CHANGE_TABLE, KIND_CREATE_TABLE, KIND_DROP_TABLE,
};
use duet_protocol::signal::dictionary_changed::DictionaryChanged;
use duet_protocol::signal::hello::{Hello, ROLE_CLIENT, ROLE_DATA_NODE};
use duet_protocol::signal::node_report::NodeReport;
use duet_protocol::signal::register::Register;
use duet_protocol::signal::registered::Registered;
use duet_protocol::signal::{Sections, Signal, SignalType, SignalView};
use std::collections::VecDeque;

pub const MILLISECOND: Nanoseconds = 1_000_000;
const STEP: Nanoseconds = 10 * MILLISECOND;

/// One end of a connection: a management node, or somebody outside.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Node { index: usize, link: LinkId },
    Outside,
}

/// A connection with the bytes on their way in each direction.
#[derive(Debug)]
struct Connection {
    ends: [End; 2],
    queues: [VecDeque<Vec<u8>>; 2],
    open: bool,
}

/// A disk: the durable log, and a write that is not answered yet.
#[derive(Debug, Default)]
pub struct Disk {
    pub log: Vec<u8>,
    pub waiting: Option<Persist>,
    /// Writes are not answered while set.
    pub stalled: bool,
    pub replaced: u32,
}

pub struct Place {
    pub configuration: ManagementConfiguration,
    pub node: Option<ManagementNode>,
    pub disk: Disk,
    next_slot: u32,
    generation: u32,
    free_slots: Vec<u32>,
    pub stopped: Option<String>,
    pub warnings: Vec<String>,
}

/// A client's or data node's connection.
pub struct Outsider {
    connection: usize,
    pub received: Vec<u8>,
    pub closed: bool,
}

/// Table id and state version of a schema change, or why it was refused.
pub type Changed = Result<(u32, u64), ErrorCode>;

/// Whoever is outside, by number.
pub type OutsiderId = usize;

pub struct Cluster {
    pub now: Nanoseconds,
    pub places: Vec<Place>,
    connections: Vec<Connection>,
    outsiders: Vec<Outsider>,
    pub data_nodes: Vec<FakeDataNode>,
    /// Management nodes that cannot talk to each other, by index.
    pub cut: Vec<usize>,
}

/// A data node that registers, installs states and reports.
pub struct FakeDataNode {
    pub node: u32,
    pub process: [u8; 16],
    pub links: Vec<Option<OutsiderId>>,
    pub incarnation: u32,
    pub refused: Option<ErrorCode>,
    pub state: ClusterState,
    pub alive: bool,
    /// Versions above it are not installed.
    pub install_up_to: u64,
    /// What it registers with.
    pub data_parts: u32,
    /// Whether it builds indexes.
    pub builds: bool,
    pub failed_indexes: u64,
    /// Unique index that it cannot build, and why.
    pub refused_index: Option<(u32, ErrorCode)>,
    pub registered_at: Nanoseconds,
}

pub fn configuration(node: u32, count: u32, data_nodes: u32, replicas: u32) -> ManagementConfiguration {
    ManagementConfiguration {
        node,
        management: (1..=count).map(|node| ManagementPeer { node, address: format!("m{node}:1") }).collect(),
        address_is_given: true,
        join: Vec::new(),
        cluster: ClusterConfiguration { data_nodes, replicas, partitions: 8, lanes: 1 },
        secret: Vec::new(),
        max_links: 100,
        seed: 7_000 + u64::from(node),
        raft_id: 100 + u64::from(node),
        cluster_id: 0xc0ffee + u64::from(node),
    }
}

impl Cluster {
    pub fn new(count: u32, data_nodes: u32, replicas: u32) -> Cluster {
        Cluster::of((1..=count).map(|node| configuration(node, count, data_nodes, replicas)).collect())
    }

    /// A cluster whose numbers of partitions and lanes are chosen with the first view.
    pub fn automatic(count: u32, data_nodes: u32, replicas: u32) -> Cluster {
        let open = |node| {
            let mut configuration = configuration(node, count, data_nodes, replicas);
            (configuration.cluster.partitions, configuration.cluster.lanes) = (0, 0);
            configuration
        };
        Cluster::of((1..=count).map(open).collect())
    }

    fn of(configurations: Vec<ManagementConfiguration>) -> Cluster {
        let mut cluster = Cluster {
            now: 1,
            places: Vec::new(),
            connections: Vec::new(),
            outsiders: Vec::new(),
            data_nodes: Vec::new(),
            cut: Vec::new(),
        };
        configurations.into_iter().for_each(|configuration| cluster.add_place(configuration));
        cluster
    }

    /// Starts one more management node.
    pub fn add_place(&mut self, configuration: ManagementConfiguration) {
        self.places.push(Place {
            configuration,
            node: None,
            disk: Disk::default(),
            next_slot: 0,
            generation: 0,
            free_slots: Vec::new(),
            stopped: None,
            warnings: Vec::new(),
        });
        self.start(self.places.len() - 1);
    }

    /// Starts a management node from its disk.
    pub fn start(&mut self, index: usize) {
        let now = self.now;
        let place = &mut self.places[index];
        place.stopped = None;
        let node = ManagementNode::new(place.configuration.clone(), &place.disk.log, now).expect("starts");
        place.disk.log.truncate(node.intact_log_bytes() as usize);
        place.node = Some(node);
        place.next_slot = 0;
        place.free_slots.clear();
    }

    /// Kills a management node; of a write under way only `kept` bytes reach the disk.
    pub fn crash(&mut self, index: usize, kept: usize) {
        self.places[index].node = None;
        for number in 0..self.connections.len() {
            let side = self.connections[number]
                .ends
                .iter()
                .position(|end| matches!(end, End::Node { index: i, .. } if *i == index));
            if let Some(side) = side.filter(|_| self.connections[number].open) {
                self.close(number, side);
            }
        }
        let disk = &mut self.places[index].disk;
        if let Some(write) = disk.waiting.take().filter(|write| !write.replace) {
            disk.log.extend_from_slice(&write.bytes[..kept.min(write.bytes.len())]);
        }
        disk.stalled = false;
    }

    fn new_link(&mut self, index: usize) -> LinkId {
        let place = &mut self.places[index];
        let slot = place.free_slots.pop().unwrap_or_else(|| {
            place.next_slot += 1;
            place.next_slot - 1
        });
        place.generation += 1;
        LinkId { slot, generation: place.generation }
    }

    pub fn connect(&mut self, index: usize) -> OutsiderId {
        let link = self.new_link(index);
        self.connections.push(Connection {
            ends: [End::Outside, End::Node { index, link }],
            queues: [VecDeque::new(), VecDeque::new()],
            open: true,
        });
        self.outsiders.push(Outsider {
            connection: self.connections.len() - 1,
            received: Vec::new(),
            closed: false,
        });
        let now = self.now;
        if let Some(node) = self.places[index].node.as_mut() {
            node.link_accepted(now, link);
        }
        self.outsiders.len() - 1
    }

    /// Sends raw bytes from outside. A simple network hands over whole frames, as a driver does.
    pub fn send_bytes(&mut self, from: OutsiderId, bytes: Vec<u8>) {
        let connection = self.outsiders[from].connection;
        if self.connections[connection].open {
            self.connections[connection].queues[1].push_back(bytes);
        }
    }

    pub fn send<S: Signal>(&mut self, from: OutsiderId, request_id: u64, body: &S, sections: Sections<'_>) {
        self.send_from(from, Envelope::default(), request_id, body, sections);
    }

    pub fn send_from<S: Signal>(
        &mut self,
        from: OutsiderId,
        envelope: Envelope,
        request_id: u64,
        body: &S,
        sections: Sections<'_>,
    ) {
        let mut builder = FrameBuilder::new();
        builder.push(0, request_id, body, sections);
        builder.seal(&envelope);
        self.send_bytes(from, builder.sealed().to_vec());
    }

    pub fn hello(&mut self, from: OutsiderId, role: u16, process: [u8; 16], secret: &[u8]) {
        let body = Hello { role: role.into(), lane: u16::MAX.into(), process, ..Hello::default() };
        self.send(from, 1, &body, Sections::two(secret, b"test"));
    }

    /// A client that has shaken hands.
    pub fn client(&mut self, index: usize) -> OutsiderId {
        let client = self.connect(index);
        self.hello(client, ROLE_CLIENT, [9; 16], b"");
        self.pump();
        assert_eq!(self.types(client), [SignalType::Welcome]);
        client
    }

    pub fn is_closed(&self, outsider: OutsiderId) -> bool {
        self.outsiders[outsider].closed
    }

    /// Takes the frames that arrived outside and calls `each` with every signal.
    pub fn take(&mut self, outsider: OutsiderId, mut each: impl FnMut(&Envelope, &SignalView<'_>)) {
        let bytes = std::mem::take(&mut self.outsiders[outsider].received);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = announced_length(rest, usize::MAX).expect("sound").expect("whole");
            let frame = FrameView::new_checked(&rest[..length]).expect("valid");
            for signal in frame.signals() {
                each(&frame.envelope(), &signal);
            }
            rest = &rest[length..];
        }
    }

    /// Types of the signals that arrived outside; they are taken.
    pub fn types(&mut self, outsider: OutsiderId) -> Vec<SignalType> {
        let mut types = Vec::new();
        self.take(outsider, |_, signal| types.push(signal.signal_type()));
        types
    }

    fn close(&mut self, number: usize, by: usize) {
        let connection = &mut self.connections[number];
        connection.open = false;
        let ends = connection.ends;
        connection.queues.iter_mut().for_each(VecDeque::clear);
        for (side, end) in ends.into_iter().enumerate() {
            match end {
                End::Outside => {
                    for outsider in self.outsiders.iter_mut().filter(|outsider| outsider.connection == number)
                    {
                        outsider.closed = true;
                    }
                }
                End::Node { index, link } => {
                    let reason = if side == by { CloseReason::Local } else { CloseReason::ByPeer };
                    let now = self.now;
                    if let Some(node) = self.places[index].node.as_mut() {
                        node.link_closed(now, link, reason);
                        self.places[index].free_slots.push(link.slot);
                    }
                }
            }
        }
    }

    /// Breaks all connections between management nodes.
    pub fn reset_links_of(&mut self, index: usize) {
        for number in 0..self.connections.len() {
            let connection = &self.connections[number];
            let inner = !connection.ends.contains(&End::Outside);
            let here =
                connection.ends.iter().any(|end| matches!(end, End::Node { index: i, .. } if *i == index));
            if connection.open && inner && here {
                self.close(number, 0);
            }
        }
    }

    /// Lets everything happen that can happen without time passing.
    pub fn pump(&mut self) {
        loop {
            let mut busy = false;
            for index in 0..self.places.len() {
                busy |= self.pump_node(index);
            }
            for number in 0..self.connections.len() {
                busy |= self.deliver(number);
            }
            if !busy {
                return;
            }
        }
    }

    fn pump_node(&mut self, index: usize) -> bool {
        let now = self.now;
        let place = &mut self.places[index];
        let Some(node) = place.node.as_mut() else { return false };
        node.flush(now);
        let mut busy = false;
        let mut output = Vec::new();
        node.drain_output(|link, bytes| output.push((link, bytes.to_vec())));
        let mut commands = Vec::new();
        while let Some(command) = node.next_command() {
            commands.push(command);
        }
        if let Some(write) = node.next_persist() {
            assert!(place.disk.waiting.is_none(), "one write at a time");
            place.disk.waiting = Some(write);
        }
        if !place.disk.stalled
            && let Some(write) = place.disk.waiting.take()
        {
            if write.replace {
                place.disk.log = write.bytes;
                place.disk.replaced += 1;
            } else {
                place.disk.log.extend_from_slice(&write.bytes);
            }
            node.persisted(now, write.number);
            busy = true;
        }
        for (link, bytes) in output {
            busy = true;
            if let Some((number, side)) = self.find(index, link)
                && self.connections[number].open
            {
                self.connections[number].queues[1 - side].push_back(bytes);
            }
        }
        for command in commands {
            busy |= !matches!(command, Command::Connect { .. });
            self.obey(index, command);
        }
        busy
    }

    fn find(&self, index: usize, link: LinkId) -> Option<(usize, usize)> {
        self.connections.iter().enumerate().rev().find_map(|(number, connection)| {
            let side = connection.ends.iter().position(|end| *end == End::Node { index, link })?;
            Some((number, side))
        })
    }

    fn obey(&mut self, index: usize, command: Command) {
        let now = self.now;
        match command {
            Command::Connect { node: other, address } => {
                let named = |place: &Place| {
                    place
                        .configuration
                        .management
                        .iter()
                        .any(|peer| peer.node == place.configuration.node && peer.address == address)
                };
                let target = self.places.iter().position(named).expect("an address of the test");
                let reachable = self.places[target].node.is_some()
                    && !self.cut.contains(&index)
                    && !self.cut.contains(&target);
                if !reachable {
                    if let Some(node) = self.places[index].node.as_mut() {
                        node.connect_failed(now, other);
                    }
                    return;
                }
                let here = self.new_link(index);
                let there = self.new_link(target);
                self.connections.push(Connection {
                    ends: [End::Node { index, link: here }, End::Node { index: target, link: there }],
                    queues: [VecDeque::new(), VecDeque::new()],
                    open: true,
                });
                if let Some(node) = self.places[target].node.as_mut() {
                    node.link_accepted(now, there);
                }
                if let Some(node) = self.places[index].node.as_mut() {
                    node.link_connected(now, here, other);
                }
            }
            Command::Close { link } => {
                if let Some((number, side)) = self.find(index, link)
                    && self.connections[number].open
                {
                    // What is on its way still arrives.
                    while let Some(bytes) = self.connections[number].queues[1 - side].pop_front() {
                        self.hand_over(number, 1 - side, &bytes);
                    }
                    self.close(number, side);
                }
            }
            Command::Log { level: LogLevel::Warning, text } => self.places[index].warnings.push(text),
            Command::Log { level: LogLevel::Info, .. } => {}
            Command::End { .. } => self.crash(index, 0),
            Command::Stop { reason } => {
                self.places[index].stopped = Some(reason);
                self.crash(index, 0);
            }
        }
    }

    fn deliver(&mut self, number: usize) -> bool {
        let mut busy = false;
        for side in 0..2 {
            while let Some(bytes) = self.connections[number].queues[side].pop_front() {
                self.hand_over(number, side, &bytes);
                busy = true;
            }
        }
        busy
    }

    /// Hands bytes to the end at `side`.
    fn hand_over(&mut self, number: usize, side: usize, bytes: &[u8]) {
        let connection = &self.connections[number];
        let inner = !connection.ends.contains(&End::Outside);
        let cut = connection
            .ends
            .iter()
            .any(|end| matches!(end, End::Node { index, .. } if self.cut.contains(index)));
        if inner && cut {
            return;
        }
        match connection.ends[side] {
            End::Outside => {
                for outsider in self.outsiders.iter_mut().filter(|outsider| outsider.connection == number) {
                    outsider.received.extend_from_slice(bytes);
                }
            }
            End::Node { index, link } => {
                let now = self.now;
                let Some(node) = self.places[index].node.as_mut() else { return };
                let mut rest = bytes;
                while !rest.is_empty() {
                    match announced_length(rest, node.frame_limit(link)) {
                        Ok(Some(length)) if length <= rest.len() => {
                            node.frame(now, link, &rest[..length]);
                            rest = &rest[length..];
                        }
                        Ok(_) => return,
                        Err(code) => return node.damaged(now, link, code),
                    }
                }
            }
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds * MILLISECOND;
        while self.now < end {
            self.now += STEP;
            let now = self.now;
            for place in &mut self.places {
                if let Some(node) = place.node.as_mut() {
                    node.tick(now);
                }
            }
            self.pump();
            self.drive_data_nodes();
            self.pump();
        }
    }

    /// Lets time pass until `holds`, for at most 20 s.
    pub fn run_until(&mut self, what: &str, mut holds: impl FnMut(&mut Cluster) -> bool) {
        for _ in 0..2_000 {
            if holds(self) {
                return;
            }
            self.run(10);
        }
        panic!("{what} has not happened within 20 s");
    }

    /// Index of the acting leader that most nodes agree on.
    pub fn leader(&self) -> Option<usize> {
        let leading = self.places.iter().enumerate().filter_map(|(index, place)| {
            let gauges = place.node.as_ref()?.gauges(self.now);
            (gauges.leading == 1).then_some((gauges.term, index))
        });
        leading.max().map(|(_, index)| index)
    }

    pub fn wait_for_leader(&mut self) -> usize {
        self.run_until("a leader", |cluster| cluster.leader().is_some());
        self.leader().expect("there is one")
    }

    pub fn state(&self, index: usize) -> &ClusterState {
        self.places[index].node.as_ref().expect("runs").state()
    }

    /// Adds the data nodes 1..=count and waits for the first view.
    pub fn form(&mut self, count: u32) {
        for node in 1..=count {
            self.data_nodes.push(FakeDataNode::new(node, node as u8));
        }
        self.run_until("the first view", |cluster| {
            cluster.data_nodes.iter().all(|node| node.state.view.number == 1)
        });
    }

    fn drive_data_nodes(&mut self) {
        let mut data_nodes = std::mem::take(&mut self.data_nodes);
        for node in &mut data_nodes {
            node.drive(self);
        }
        self.data_nodes = data_nodes;
    }

    pub fn request_create(&mut self, client: OutsiderId, request: u8, name: &str) {
        self.request_definition(client, request, &table(name));
    }

    pub fn request_definition(&mut self, client: OutsiderId, request: u8, definition: &TableDefinition) {
        let record = definition.to_record().expect("encodes");
        let body = ChangeDictionary {
            kind: KIND_CREATE_TABLE.into(),
            request: [request; 16],
            ..ChangeDictionary::default()
        };
        self.send(client, u64::from(request), &body, Sections::one(&record));
    }

    pub fn request_column(&mut self, client: OutsiderId, request: u8, name: &str, column: Column) {
        self.request_change(client, request, name, &TableChange::AddColumn(column));
    }

    pub fn request_change(&mut self, client: OutsiderId, request: u8, name: &str, change: &TableChange) {
        let record = change.to_record().expect("encodes");
        let body = ChangeDictionary {
            kind: KIND_CHANGE_TABLE.into(),
            request: [request; 16],
            ..ChangeDictionary::default()
        };
        let full_name = format!("shop.{name}");
        self.send(client, u64::from(request), &body, Sections::two(full_name.as_bytes(), &record));
    }

    /// Changes the management nodes at the leader.
    pub fn change_management(&mut self, request: u8, change: &ManagementChange) -> Changed {
        let leader = self.wait_for_leader();
        let client = self.client(leader);
        let record = change.to_record().expect("encodes");
        let body = ChangeDictionary {
            kind: KIND_CHANGE_MANAGEMENT.into(),
            request: [request; 16],
            ..ChangeDictionary::default()
        };
        self.send(client, u64::from(request), &body, Sections::one(&record));
        self.wait_changed(client)
    }

    pub fn request_drop(&mut self, client: OutsiderId, request: u8, name: &str) {
        let body = ChangeDictionary {
            kind: KIND_DROP_TABLE.into(),
            request: [request; 16],
            ..ChangeDictionary::default()
        };
        self.send(client, u64::from(request), &body, Sections::one(format!("shop.{name}").as_bytes()));
    }

    /// The answer to a schema change that arrived, if any.
    pub fn changed(&mut self, client: OutsiderId) -> Option<(u64, Changed)> {
        let mut answer = None;
        self.take(client, |_, signal| {
            if let Some(body) = signal.body::<DictionaryChanged>() {
                let result = match ErrorCode::from_number(body.code.get()) {
                    Some(code) => Err(code),
                    None => Ok((body.table.get(), body.state_version.get())),
                };
                answer = Some((signal.request_id(), result));
            }
        });
        answer
    }

    /// Waits for the answer to a schema change.
    pub fn wait_changed(&mut self, client: OutsiderId) -> Changed {
        let mut answer = None;
        self.run_until("the answer", |cluster| {
            answer = cluster.changed(client);
            answer.is_some()
        });
        answer.expect("there is one").1
    }
}

pub fn table(name: &str) -> TableDefinition {
    TableDefinition::builder("shop", name)
        .required("id", ColumnType::BigInt)
        .nullable("price", ColumnType::Double)
        .primary_key(["id"])
        .build()
        .expect("valid")
}

impl FakeDataNode {
    pub fn new(node: u32, process: u8) -> FakeDataNode {
        FakeDataNode {
            node,
            process: [process; 16],
            links: Vec::new(),
            incarnation: 0,
            refused: None,
            state: ClusterState::default(),
            alive: true,
            install_up_to: u64::MAX,
            data_parts: 1,
            builds: true,
            failed_indexes: 0,
            refused_index: None,
            registered_at: 0,
        }
    }

    fn envelope(&self) -> Envelope {
        Envelope {
            cluster_id: self.state.cluster_id,
            sender: Instance { node: self.node, incarnation: self.incarnation },
            view: self.state.view.number,
            ..Envelope::default()
        }
    }

    fn drive(&mut self, cluster: &mut Cluster) {
        self.links.resize(cluster.places.len(), None);
        for index in 0..self.links.len() {
            if !self.alive {
                continue;
            }
            let gone = self.links[index].is_none_or(|link| cluster.is_closed(link));
            if gone && cluster.places[index].node.is_some() {
                let link = cluster.connect(index);
                cluster.hello(link, ROLE_DATA_NODE, self.process, b"");
                self.links[index] = Some(link);
            }
            if let Some(link) = self.links[index] {
                self.receive(cluster, link);
            }
        }
        if !self.alive {
            return;
        }
        if self.incarnation == 0 && cluster.now >= self.registered_at + 250 * MILLISECOND {
            self.registered_at = cluster.now;
            self.register(cluster);
        }
        if self.incarnation > 0 && (cluster.now / MILLISECOND).is_multiple_of(100) {
            self.report(cluster);
        }
    }

    pub fn register(&self, cluster: &mut Cluster) {
        let body = Register {
            node: self.node.into(),
            data_parts: self.data_parts.into(),
            process: self.process,
            ..Register::default()
        };
        let address = format!("d{}:1", self.node);
        for link in self.links.iter().flatten() {
            cluster.send(*link, 5, &body, Sections::one(address.as_bytes()));
        }
    }

    fn report(&self, cluster: &mut Cluster) {
        let body = NodeReport {
            node: self.node.into(),
            incarnation: self.incarnation.into(),
            state_version: self.state.version.into(),
            drained_version: self.state.version.into(),
            built_version: if self.builds { self.state.version } else { 0 }.into(),
            failed_indexes: self.failed_indexes.into(),
            refused_index: self.refused_index.map_or(0, |(index, _)| index).into(),
            refused_code: self.refused_index.map_or(0, |(_, code)| u32::from(code as u16)).into(),
            view: self.state.view.number.into(),
            serving: u64::from(self.state.view.number > 0).into(),
            rows: 5.into(),
            ..NodeReport::default()
        };
        for link in self.links.iter().flatten() {
            cluster.send_from(*link, self.envelope(), 0, &body, Sections::none());
        }
    }

    fn receive(&mut self, cluster: &mut Cluster, link: OutsiderId) {
        let (mut state, mut incarnation, mut refused) = (None, None, None);
        cluster.take(link, |_, signal| match signal.signal_type() {
            SignalType::ClusterStateSignal => {
                state = Some(ClusterState::from_record(signal.section(0)).expect("sound state"));
            }
            SignalType::Registered => {
                let body = signal.body::<Registered>().expect("type");
                match ErrorCode::from_number(body.code.get()) {
                    None => incarnation = Some(body.incarnation.get()),
                    Some(ErrorCode::NotLeader) => {}
                    Some(code) => refused = Some(code),
                }
            }
            _ => {}
        });
        self.incarnation = incarnation.unwrap_or(self.incarnation);
        self.refused = refused.or(self.refused);
        if let Some(state) = state
            && state.version > self.state.version
            && state.version <= self.install_up_to
        {
            self.state = state;
            self.report(cluster);
        }
    }
}
