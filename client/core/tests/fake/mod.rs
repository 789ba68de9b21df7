//! A cluster without threads, replicas or durability that speaks the protocol: frames in, frames out.
//!
//! It keeps rows and outcome records the way data nodes do, so that exactly-once can be checked, and it can be told to
//! misbehave. The tests of the core drive it directly, those of the shell over TCP.

#![allow(dead_code, reason = "each test binary uses a part of it")]

mod transactions;

use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder, FrameView, MAX_FRAME_BYTES, NO_LANE};
use duet_protocol::ids::{Instance, RowVersion, TransactionId, session_id};
use duet_protocol::key::IndexLayout;
use duet_protocol::layout::TableLayout;
use duet_protocol::record::{
    ClusterConfiguration, ClusterState, ClusterStatus, GroupView, Leaving, ManagementRecord, Member,
    MemberState, NodeRecord, PartitionView, View,
};
use duet_protocol::scan_program::{Aggregation, CompiledScan};
use duet_protocol::schema::{Table, TableDefinition, TableState};
use duet_protocol::signal::change_dictionary::{ChangeDictionary, KIND_CREATE_TABLE};
use duet_protocol::signal::cluster_state::ClusterStateSignal;
use duet_protocol::signal::cluster_status::ClusterStatusSignal;
use duet_protocol::signal::dictionary_changed::DictionaryChanged;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::fetch_state::FetchState;
use duet_protocol::signal::hello::{Hello, ROLE_DATA_NODE, ROLE_MANAGEMENT};
use duet_protocol::signal::read::Read;
use duet_protocol::signal::read_reply::ReadReply;
use duet_protocol::signal::refuse_link::RefuseLink;
use duet_protocol::signal::resolve::Resolve;
use duet_protocol::signal::resolve_reply::{OUTCOME_ABORTED, OUTCOME_COMMITTED, ResolveReply};
use duet_protocol::signal::scan::{FLAG_RANGE, FLAG_REVERSE, FLAG_WITH_KEYS, Scan};
use duet_protocol::signal::scan_reply::{FLAG_DONE, ScanReply, ScanRow, push_row};
use duet_protocol::signal::session_opened::SessionOpened;
use duet_protocol::signal::welcome::Welcome;
use duet_protocol::signal::write::{
    FLAG_EXPECT_VERSION, OPERATION_DELETE, OPERATION_INSERT, OPERATION_UPDATE, OPERATION_UPSERT, Write,
};
use duet_protocol::signal::write_reply::{FLAG_REPLAYED, WriteReply};
use duet_protocol::signal::{Sections, SignalType, SignalView};
use duet_protocol::update::apply_update;
use std::collections::{BTreeMap, VecDeque};
use transactions::OpenTransaction;

/// Which process of the fake cluster is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Process {
    Node(u32),
    Management(u32),
}

/// What goes wrong with the next request of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is not executed and refused with this code.
    Refuse(ErrorCode),
    /// It is executed, and then answered with this code.
    ExecuteAndRefuse(ErrorCode),
    /// It is executed and not answered.
    ExecuteSilently,
    /// It is neither executed nor answered.
    Ignore,
    /// It is answered twice.
    AnswerTwice,
    /// It is put aside, not answered, and executed when [`FakeCluster::execute_delayed`] is called.
    Delay,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// Version and result of a committed write; `None` for a fence.
    committed: Option<(RowVersion, [u8; 16], u8)>,
}

pub struct FakeCluster {
    pub state: ClusterState,
    pub secret: Vec<u8>,
    pub leader: u32,
    /// Management nodes that know the state before this one.
    pub behind: Vec<u32>,
    pub rows: BTreeMap<(u32, Vec<u8>), (RowVersion, Vec<u8>)>,
    records: BTreeMap<(u16, TransactionId), Record>,
    transactions: BTreeMap<TransactionId, OpenTransaction>,
    resolved_below: BTreeMap<(u16, u64), u64>,
    requests: BTreeMap<[u8; 16], u32>,
    layouts: BTreeMap<u32, TableLayout>,
    pub faults: VecDeque<Fault>,
    delayed: Vec<Vec<u8>>,
    epoch: u64,
    seq: u64,
    sessions: u16,
    /// View that frames of nodes name, if not that of the state.
    pub view_override: Option<u64>,
    /// Requests executed that were executed before: must stay 0.
    pub executed_twice: u64,
    /// Highest `resolved_below` by session.
    pub seen_resolved_below: BTreeMap<u64, u64>,
    pub requests_seen: u64,
    pub epochs_expired_below: u64,
}

impl FakeCluster {
    /// A formed cluster of data nodes 1..=nodes; addresses are filled in by `address`.
    pub fn new(nodes: u32, management: u32, address: impl Fn(Process) -> String) -> FakeCluster {
        let partitions = (nodes * 4) as u16;
        let view = View {
            number: 1,
            groups: vec![GroupView {
                changed_in_view: 1,
                members: (1..=nodes)
                    .map(|node| Member {
                        node,
                        incarnation: 1,
                        state: MemberState::Full,
                        recoverable: false,
                        leaving: Leaving::No,
                    })
                    .collect(),
            }],
            partitions: (0..partitions)
                .map(|partition| PartitionView {
                    group: 0,
                    replicas: vec![u32::from(partition) % nodes + 1],
                    cfg: 1,
                })
                .collect(),
        };
        let state = ClusterState {
            lost_groups: Vec::new(),
            cluster_id: 77,
            fork: 0,
            version: 1,
            configuration: ClusterConfiguration { data_nodes: nodes, replicas: 1, partitions, lanes: 1 },
            management: (1..=management)
                .map(|node| ManagementRecord {
                    node,
                    raft_id: u64::from(node),
                    address: address(Process::Management(node)),
                })
                .collect(),
            nodes: (1..=nodes)
                .map(|node| NodeRecord {
                    node,
                    incarnation: 1,
                    address: address(Process::Node(node)),
                    ..NodeRecord::default()
                })
                .collect(),
            view,
            buckets: ClusterState::deal_buckets(partitions),
            tables: Vec::new(),
            next_table_id: 1,
            next_index_id: 1,
        };
        FakeCluster {
            state,
            secret: Vec::new(),
            behind: Vec::new(),
            leader: 1,
            rows: BTreeMap::new(),
            records: BTreeMap::new(),
            transactions: BTreeMap::new(),
            resolved_below: BTreeMap::new(),
            requests: BTreeMap::new(),
            layouts: BTreeMap::new(),
            faults: VecDeque::new(),
            delayed: Vec::new(),
            epoch: 5,
            seq: 0,
            sessions: 0,
            view_override: None,
            executed_twice: 0,
            seen_resolved_below: BTreeMap::new(),
            requests_seen: 0,
            epochs_expired_below: 0,
        }
    }

    pub fn add_table(&mut self, definition: TableDefinition) -> u32 {
        let id = self.state.next_table_id;
        self.state.next_table_id += 1;
        let created = Table::created_with_entries(id, self.state.next_index_id, definition);
        self.state.next_index_id += created[0].indexes.len() as u32;
        self.state.next_table_id += created.len() as u32 - 1;
        for table in created {
            let layout = TableLayout::new(&table.definition).expect("valid definition");
            self.layouts.insert(table.id, layout);
            self.state.tables.push(Table { state: TableState::Active, ..table });
        }
        self.state.version += 1;
        id
    }

    /// Answers one frame; the answers are appended to `out` as sealed frames. False closes the link.
    pub fn frame(&mut self, process: Process, greeted: &mut bool, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let frame = FrameView::new_checked(bytes).expect("clients send valid frames");
        assert!(bytes.len() <= 1 << 20, "clients send at most 1 MiB");
        let mut builder = FrameBuilder::new();
        let mut open = true;
        for signal in frame.signals() {
            open &= self.signal(process, greeted, &signal, &mut builder);
            if builder.is_full() {
                builder.seal(&self.envelope(process));
            }
        }
        builder.seal(&self.envelope(process));
        out.extend_from_slice(builder.sealed());
        open
    }

    fn envelope(&self, process: Process) -> Envelope {
        let sender = match process {
            Process::Node(node) => Instance { node, incarnation: 1 },
            Process::Management(_) => Instance::NONE,
        };
        let view = self.view_override.unwrap_or(self.state.view.number);
        Envelope { cluster_id: 77, sender, view, epoch: self.epoch, ..Envelope::default() }
    }

    fn signal(
        &mut self,
        process: Process,
        greeted: &mut bool,
        signal: &SignalView<'_>,
        out: &mut FrameBuilder,
    ) -> bool {
        let id = signal.request_id();
        if !*greeted {
            let hello = signal.body::<Hello>().expect("the first signal is a Hello");
            assert_eq!(hello.lane.get(), NO_LANE);
            if signal.section(0) != self.secret {
                let body =
                    RefuseLink { code: (ErrorCode::WrongSecret as u16).into(), ..RefuseLink::default() };
                out.push(0, 0, &body, Sections::one(b"secrets differ"));
                return false;
            }
            *greeted = true;
            let role = match process {
                Process::Node(_) => ROLE_DATA_NODE,
                Process::Management(_) => ROLE_MANAGEMENT,
            };
            let body = Welcome {
                role: role.into(),
                lane: NO_LANE.into(),
                max_frame_bytes: (MAX_FRAME_BYTES as u32).into(),
                state_version: self.state.version.into(),
                ..Welcome::default()
            };
            out.push(0, id, &body, Sections::none());
            return true;
        }
        match (process, signal.signal_type()) {
            (_, SignalType::FetchState) => {
                let body = signal.body::<FetchState>().expect("type");
                let newer = self.state.version > body.known_version.get();
                let record = if newer { self.state.to_record().expect("record") } else { Vec::new() };
                let answer = ClusterStateSignal { version: self.state.version.into() };
                out.push(0, id, &answer, Sections::one(&record));
            }
            (Process::Management(node), SignalType::ChangeDictionary) => self.change(node, signal, out),
            (Process::Management(node), SignalType::FetchStatus) => {
                let mut status =
                    ClusterStatus { state: self.state.clone(), answered_by: node, ..Default::default() };
                status.state.version -= u64::from(self.behind.contains(&node));
                let body = ClusterStatusSignal { version: self.state.version.into() };
                out.push(0, id, &body, Sections::one(&status.to_record().expect("record")));
            }
            (Process::Node(node), SignalType::OpenSession) => {
                self.sessions += 1;
                let session = session_id(self.epoch, node, self.sessions);
                let body = SessionOpened { session: session.into(), epoch: self.epoch.into() };
                out.push(0, id, &body, Sections::none());
            }
            (Process::Node(node), _) => self.faulty_request(node, signal, out),
            (Process::Management(_), other) => panic!("{other:?} is not for management nodes"),
        }
        true
    }

    fn change(&mut self, node: u32, signal: &SignalView<'_>, out: &mut FrameBuilder) {
        let id = signal.request_id();
        if node != self.leader {
            return error(out, id, ErrorCode::NotLeader, node);
        }
        let body = signal.body::<ChangeDictionary>().expect("type");
        let mut answer = DictionaryChanged::default();
        let repeated = self.requests.get(&body.request).copied();
        if body.kind.get() == KIND_CREATE_TABLE {
            let definition = TableDefinition::from_record(signal.section(0)).expect("definition");
            let taken = self.state.table_named(&definition.database, &definition.name).is_some();
            match repeated {
                Some(table) => answer.table = table.into(),
                None if taken => answer.code = (ErrorCode::TableExists as u16).into(),
                None => {
                    let table = self.add_table(definition);
                    self.requests.insert(body.request, table);
                    answer.table = table.into();
                }
            }
        } else {
            let name = std::str::from_utf8(signal.section(0)).expect("name");
            let (database, name) = name.split_once('.').expect("database.table");
            let position = self
                .state
                .tables
                .iter()
                .position(|table| table.definition.name == name && table.definition.database == database);
            match position {
                _ if repeated.is_some() => {}
                None => answer.code = (ErrorCode::TableNotFound as u16).into(),
                Some(position) => {
                    let table = self.state.tables.remove(position);
                    self.rows.retain(|(id, _), _| *id != table.id);
                    self.state.version += 1;
                    self.requests.insert(body.request, table.id);
                }
            }
        }
        answer.state_version = self.state.version.into();
        out.push(0, id, &answer, Sections::none());
    }

    fn faulty_request(&mut self, node: u32, signal: &SignalView<'_>, out: &mut FrameBuilder) {
        self.requests_seen += 1;
        let id = signal.request_id();
        let mut unheard = FrameBuilder::new();
        match self.faults.pop_front().unwrap_or(Fault::None) {
            Fault::None => self.request(node, signal, out),
            Fault::Refuse(code) => error(out, id, code, node),
            Fault::ExecuteAndRefuse(code) => {
                self.request(node, signal, &mut unheard);
                error(out, id, code, node);
            }
            Fault::ExecuteSilently => self.request(node, signal, &mut unheard),
            Fault::Ignore => {}
            Fault::AnswerTwice => {
                self.request(node, signal, out);
                self.request(node, signal, out);
            }
            Fault::Delay => self.delayed.push(signal.bytes().to_vec()),
        }
    }

    /// Executes what was put aside; nobody hears the answers.
    pub fn execute_delayed(&mut self) {
        for bytes in std::mem::take(&mut self.delayed) {
            let (signal, _) = SignalView::split_checked(&bytes).expect("kept as it came");
            self.request(1, &signal, &mut FrameBuilder::new());
        }
    }

    fn partition(&self, table: u32, key: &[u8]) -> u16 {
        let hash = self.layouts[&table].partition_hash(key);
        self.state.partition_of(hash).expect("formed")
    }

    fn known_table(&self, id: u32, version: u16) -> Result<(), ErrorCode> {
        let table = self.state.tables.iter().find(|table| table.id == id).ok_or(ErrorCode::TableNotFound)?;
        if table.version == version { Ok(()) } else { Err(ErrorCode::TableVersionMismatch) }
    }

    fn request(&mut self, node: u32, signal: &SignalView<'_>, out: &mut FrameBuilder) {
        if self.transaction_request(node, signal, out) {
            return;
        }
        let id = signal.request_id();
        let key = signal.section(0);
        if let Some(body) = signal.body::<Read>() {
            if let Err(code) = self.known_table(body.table.get(), body.table_version.get()) {
                return error(out, id, code, node);
            }
            match self.rows.get(&(body.table.get(), key.to_vec())) {
                Some((version, value)) => {
                    let answer = ReadReply {
                        table_version: body.table_version,
                        epoch: version.epoch.into(),
                        seq: version.seq.into(),
                        ..ReadReply::default()
                    };
                    out.push(0, id, &answer, Sections::one(value));
                }
                None => {
                    let answer = ReadReply { code: 1.into(), ..ReadReply::default() };
                    out.push(0, id, &answer, Sections::none());
                }
            }
        } else if let Some(body) = signal.body::<Write>() {
            self.write(node, id, body, key, signal.section(1), out);
        } else if let Some(body) = signal.body::<Resolve>() {
            self.resolve(id, body, out);
        } else if let Some(body) = signal.body::<Scan>() {
            self.scan(node, id, body, signal, out);
        }
    }

    fn known_record(
        &mut self,
        partition: u16,
        transaction: TransactionId,
    ) -> Result<Option<Record>, ErrorCode> {
        if duet_protocol::ids::session_epoch(transaction.session) < self.epochs_expired_below {
            return Err(ErrorCode::OutcomeExpired);
        }
        let below = self.resolved_below.get(&(partition, transaction.session)).copied().unwrap_or(0);
        if transaction.seq < below {
            return Err(ErrorCode::AlreadyResolved);
        }
        Ok(self.records.get(&(partition, transaction)).copied())
    }

    fn note_resolved_below(&mut self, partition: u16, session: u64, below: u64) {
        let known = self.resolved_below.entry((partition, session)).or_default();
        *known = (*known).max(below);
        let below = *known;
        self.records.retain(|(at, id), _| *at != partition || id.session != session || id.seq >= below);
    }

    fn write(
        &mut self,
        node: u32,
        id: u64,
        body: &Write,
        key: &[u8],
        payload: &[u8],
        out: &mut FrameBuilder,
    ) {
        if let Err(code) = self.known_table(body.table.get(), body.table_version.get()) {
            return error(out, id, code, node);
        }
        let transaction = TransactionId { session: body.session.get(), seq: body.seq.get() };
        assert!(transaction.session != 0 && transaction.seq != 0, "writes have transaction ids");
        let seen = self.seen_resolved_below.entry(transaction.session).or_default();
        *seen = (*seen).max(body.resolved_below.get());
        let partition = self.partition(body.table.get(), key);
        match self.known_record(partition, transaction) {
            Err(code) => return error(out, id, code, node),
            Ok(Some(Record { committed: None })) => return error(out, id, ErrorCode::Aborted, node),
            Ok(Some(Record { committed: Some((version, result, bytes)) })) => {
                return committed(out, id, version, result, bytes, FLAG_REPLAYED);
            }
            Ok(None) => {}
        }
        let place = (body.table.get(), key.to_vec());
        let current = self.rows.get(&place).cloned();
        let refused = match (&current, body.operation) {
            (Some(_), OPERATION_INSERT) => Some(ErrorCode::DuplicateKey),
            (None, OPERATION_UPDATE | OPERATION_DELETE) => Some(ErrorCode::RowNotFound),
            (current, _) if body.flags & FLAG_EXPECT_VERSION != 0 => {
                let expected = RowVersion { epoch: body.expected_epoch.get(), seq: body.expected_seq.get() };
                let matches = current.as_ref().is_some_and(|(version, _)| *version == expected);
                (!matches).then_some(ErrorCode::VersionMismatch)
            }
            _ => None,
        };
        if let Some(code) = refused {
            let answer = WriteReply { code: (code as u16).into(), ..WriteReply::default() };
            return out.push(0, id, &answer, Sections::none());
        }
        self.seq += 1;
        let version = RowVersion { epoch: self.epoch, seq: self.seq };
        let (mut result, mut result_bytes) = ([0; 16], 0);
        match body.operation {
            OPERATION_INSERT | OPERATION_UPSERT => {
                self.rows.insert(place, (version, payload.to_vec()));
            }
            OPERATION_DELETE => {
                self.rows.remove(&place);
            }
            _ => {
                let mut image = Vec::new();
                let layout = &self.layouts[&body.table.get()];
                let (_, old) = current.expect("checked");
                match apply_update(layout, &old, payload, &mut image) {
                    Ok(sum) => {
                        result_bytes = sum.as_bytes().len() as u8;
                        result[..sum.as_bytes().len()].copy_from_slice(sum.as_bytes());
                    }
                    Err(refused) => return error(out, id, refused.refusal(), node),
                }
                self.rows.insert(place, (version, image));
            }
        }
        self.note_resolved_below(
            partition,
            transaction.session,
            body.resolved_below.get().min(transaction.seq),
        );
        self.records
            .insert((partition, transaction), Record { committed: Some((version, result, result_bytes)) });
        committed(out, id, version, result, result_bytes, 0);
    }

    fn resolve(&mut self, id: u64, body: &Resolve, out: &mut FrameBuilder) {
        let transaction = TransactionId { session: body.session.get(), seq: body.seq.get() };
        let partition = self.state.partition_of(body.partition_hash.get()).expect("formed");
        let record = match self.known_record(partition, transaction) {
            Err(code) => return error(out, id, code, 1),
            Ok(record) => record.unwrap_or(Record { committed: None }),
        };
        self.records.insert((partition, transaction), record);
        let mut answer = ResolveReply { outcome: OUTCOME_ABORTED.into(), ..ResolveReply::default() };
        if let Some((version, result, bytes)) = record.committed {
            answer.outcome = OUTCOME_COMMITTED.into();
            answer.epoch = version.epoch.into();
            answer.seq = version.seq.into();
            answer.result = result;
            answer.result_bytes = u32::from(bytes).into();
        }
        out.push(0, id, &answer, Sections::none());
    }

    fn scan(&mut self, node: u32, id: u64, body: &Scan, signal: &SignalView<'_>, out: &mut FrameBuilder) {
        let table = body.table.get();
        let program = match CompiledScan::new(&self.layouts[&table], signal.section(0)) {
            Ok(program) => program,
            Err(_) => return error(out, id, ErrorCode::InvalidScan, node),
        };
        let mut groups = Aggregation::new(&program);
        let mut rows: Vec<_> = self
            .rows
            .iter()
            .filter(|((of, key), _)| *of == table && self.partition(table, key) == body.partition.get())
            .map(|((_, key), row)| (Vec::new(), key, row))
            .collect();
        let flags = body.flags.get();
        if flags & FLAG_RANGE != 0 {
            let (layout, index) = (&self.layouts[&table], self.index(table, body.index.get()));
            let (from, to) = (signal.section(1), signal.section(2));
            for (order, key, (_, value)) in &mut rows {
                index.append_key(&duet_protocol::row::RowView::new(layout, key, value), order);
            }
            rows.retain(|(order, _, _)| order.as_slice() >= from && (to.is_empty() || order.as_slice() < to));
            rows.sort();
            if flags & FLAG_REVERSE != 0 {
                rows.reverse();
            }
        }
        let start = body.cursor.get() as usize;
        let mut batch = Vec::new();
        let (mut count, mut passed) = (0, 0);
        for (order, key, (version, value)) in rows.iter().skip(start) {
            if count >= body.max_rows.get() || batch.len() >= body.max_bytes.get() as usize {
                break;
            }
            count += 1;
            let row = duet_protocol::row::RowView::new(&self.layouts[&table], key, value);
            if !program.matches(row) {
                continue;
            }
            if let Some(groups) = &mut groups {
                groups.add(row).expect("small sums");
                continue;
            }
            passed += 1;
            let mut image = Vec::new();
            let row = match program.project(row, &mut image) {
                true => {
                    let key: &[u8] = if flags & FLAG_WITH_KEYS != 0 { order } else { &[] };
                    ScanRow { version: *version, table_version: 1, key, value: &image }
                }
                false => ScanRow { version: *version, table_version: 1, key, value },
            };
            push_row(&mut batch, &row);
        }
        if let Some(groups) = groups {
            groups.finish(|key, value| {
                passed += 1;
                push_row(
                    &mut batch,
                    &ScanRow { version: RowVersion::default(), table_version: 0, key, value },
                );
            });
        }
        let next = start + count as usize;
        let done = next >= rows.len();
        let last = rows.get(next.wrapping_sub(1)).filter(|_| !done && flags & FLAG_RANGE != 0);
        let answer = ScanReply {
            next_cursor: (if flags & FLAG_RANGE == 0 { next as u64 } else { 0 }).into(),
            row_count: passed.into(),
            flags: (if done { FLAG_DONE } else { 0 }).into(),
            fragment_seq: self.seq.into(),
        };
        out.push(0, id, &answer, Sections::two(&batch, last.map_or(&[], |(order, _, _)| order)));
    }

    /// The ordered index with this number.
    fn index(&self, table: u32, number: u32) -> IndexLayout {
        let layout = &self.layouts[&table];
        if number == 0 {
            return IndexLayout::primary(layout);
        }
        let known = self.state.tables.iter().find(|known| known.id == table).expect("a table");
        let mut indexes = known.secondary_indexes();
        let (definition, _) = indexes.find(|(_, index)| index.id == number).expect("an index");
        IndexLayout::secondary(layout, &definition.columns).expect("columns with an order")
    }
}

fn error(out: &mut FrameBuilder, id: u64, code: ErrorCode, node: u32) {
    let body = ErrorReply {
        code: (code as u16).into(),
        retryable: u16::from(code.is_retryable()).into(),
        node: node.into(),
    };
    out.push(0, id, &body, Sections::one(b"a detail"));
}

fn committed(
    out: &mut FrameBuilder,
    id: u64,
    version: RowVersion,
    result: [u8; 16],
    result_bytes: u8,
    flags: u16,
) {
    let answer = WriteReply {
        code: 0.into(),
        flags: flags.into(),
        result_bytes: u32::from(result_bytes).into(),
        epoch: version.epoch.into(),
        seq: version.seq.into(),
        result,
    };
    out.push(0, id, &answer, Sections::none());
}
