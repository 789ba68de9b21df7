//! A client that speaks the protocol itself, without the client's core, and stretches its rules: it sends requests to
//! the wrong node, sends writes twice at once, asks again what it knows already, and resolves while writing.

mod contacts;
mod jobs;
mod live_range;
mod live_scan;
mod operation;
mod requests;

use super::client::{Change, Client, Evidence, Mode};
use crate::history::{Action, Outcome, Register, Seen, Violation, WriteRecord};
use crate::network::Link;
use crate::process::{Core, Order};
use crate::queue::{MILLISECOND, Time};
use crate::workload::{Generator, Intent, OTHER_TABLES, RegisterTable};
use contacts::{Contacts, Peer};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameView, MAX_FRAME_BYTES};
use duet_protocol::ids::TransactionId;
use duet_protocol::record::ClusterState;
use duet_protocol::schema::{Table, TableState};
use jobs::Jobs;
use live_scan::LiveScan;
use operation::{ReadOperation, ScanOperation, WriteOperation};
use requests::Request;
use std::collections::{BTreeMap, BTreeSet};

/// Time between two looks for a newer cluster state.
const FETCH_EVERY: Time = 300 * MILLISECOND;

/// Something under way.
enum Operation {
    Read(ReadOperation),
    Write(WriteOperation),
    Scan(ScanOperation),
}

/// A direct client.
pub struct DirectClient {
    evidence: Evidence,
    /// Rows of the last scans.
    pub last_rows: BTreeMap<Register, Seen>,
    contacts: Contacts,
    generator: Generator,
    mode: Mode,
    state: Option<ClusterState>,
    tables: BTreeMap<u32, RegisterTable>,
    active: Vec<u32>,
    /// Tables that every node must know.
    lasting: BTreeSet<u32>,
    epoch: u64,
    session: Option<u64>,
    session_asked: bool,
    fetch_at: Time,
    fetching: bool,
    next_transaction: u64,
    unresolved: BTreeSet<u64>,
    next_request: u64,
    requests: BTreeMap<u64, Request>,
    next_operation: u64,
    operations: BTreeMap<u64, Operation>,
    /// When each operation wants to be looked at again.
    due: BTreeSet<(Time, u64)>,
    issue_at: Time,
    jobs: Jobs,
}

impl DirectClient {
    /// A client that knows the addresses of the management nodes.
    pub fn new(generator: Generator, process: [u8; 16], management: &[String]) -> DirectClient {
        let mut contacts = Contacts::new(process);
        for (index, address) in management.iter().enumerate() {
            contacts.want(Peer::Management(index as u32), address);
        }
        DirectClient {
            evidence: Evidence::default(),
            last_rows: BTreeMap::new(),
            contacts,
            generator,
            mode: Mode::Wait,
            state: None,
            tables: BTreeMap::new(),
            active: Vec::new(),
            lasting: BTreeSet::new(),
            epoch: 0,
            session: None,
            session_asked: false,
            fetch_at: 0,
            fetching: false,
            next_transaction: 1,
            unresolved: BTreeSet::new(),
            next_request: 1,
            requests: BTreeMap::new(),
            next_operation: 1,
            operations: BTreeMap::new(),
            due: BTreeSet::new(),
            issue_at: 0,
            jobs: Jobs::default(),
        }
    }

    /// Begins to read all rows of a table into `last_rows`.
    pub fn scan_last(&mut self, table: u32) {
        let scan = ScanOperation {
            table,
            partition: 0,
            cursor: 0,
            sent: 0,
            live: false,
            not_before: 0,
            failures: 0,
            last: true,
            query: None,
        };
        self.begin(0, Operation::Scan(scan));
    }

    /// The cluster state as this client knows it.
    pub fn state(&self) -> Option<&ClusterState> {
        self.state.as_ref()
    }

    /// Numbers of the transactions of the session below this one are all resolved.
    fn resolved_below(&self) -> u64 {
        self.unresolved.first().copied().unwrap_or(self.next_transaction)
    }

    fn envelope(&self) -> Envelope {
        Envelope {
            cluster_id: self.state.as_ref().map_or(0, |state| state.cluster_id),
            view: self.state.as_ref().map_or(0, |state| state.view.number),
            epoch: self.epoch,
            ..Envelope::default()
        }
    }

    fn violate(&mut self, violation: Violation) {
        self.evidence.violate(violation);
    }

    fn install(&mut self, state: ClusterState) {
        if self.state.as_ref().is_some_and(|known| known.version >= state.version) {
            return;
        }
        for node in &state.nodes {
            self.contacts.want(Peer::Data(node.node), &node.address);
        }
        let is_register = |name: &str| !OTHER_TABLES.contains(&name);
        let ours = |table: &&Table| is_register(&table.definition.name) && !table.is_hidden();
        let registers = || state.tables.iter().filter(ours);
        for table in registers() {
            self.tables.entry(table.id).or_insert_with(|| {
                RegisterTable::new(table.id, table.version, &table.definition, &table.indexes)
            });
        }
        let active = registers().filter(|table| table.state == TableState::Active);
        self.active = active.map(|table| table.id).collect();
        self.state = Some(state);
    }

    fn begin(&mut self, now: Time, operation: Operation) {
        let number = self.next_operation;
        self.next_operation += 1;
        self.operations.insert(number, operation);
        self.due.insert((now, number));
    }

    /// Begins new operations while there is room.
    fn issue(&mut self, now: Time) {
        let Some(session) = self.session else { return };
        if self.mode != Mode::Traffic || self.active.is_empty() || now < self.issue_at {
            return;
        }
        let plan = &self.generator.plan;
        let room = (plan.concurrency as usize).saturating_sub(self.operations.len());
        let (think, batch) = (plan.think, plan.batch_per_million);
        self.issue_at = now + self.generator.random.around(think);
        let wanted =
            if self.generator.random.chance(batch) { self.generator.random.between(2, 12) } else { 1 };
        for _ in 0..room.min(wanted as usize) {
            match self.generator.next(&self.active) {
                Intent::Read(register) => self.begin_read(now, register),
                Intent::Write(register, action) => self.begin_write(now, session, register, action),
                Intent::Scan(table) => self.scan(now, table),
            }
        }
    }

    fn scan(&mut self, now: Time, table: u32) {
        let Some(known) = self.tables.get(&table) else { return };
        let query = LiveScan::draw(&mut self.generator.random, known, self.generator.plan.keys, now);
        let scan = ScanOperation {
            table,
            partition: 0,
            cursor: 0,
            sent: 0,
            live: false,
            not_before: now,
            failures: 0,
            last: false,
            query: Some(Box::new(query)),
        };
        self.begin(now, Operation::Scan(scan));
    }

    fn begin_read(&mut self, now: Time, register: Register) {
        let Some(table) = self.tables.get(&register.table) else { return };
        let record = crate::history::ReadRecord { register, invoked: now, responded: now, seen: None };
        let operation = ReadOperation { record, table_version: table.version };
        self.begin(now, Operation::Read(operation));
    }

    fn begin_write(&mut self, now: Time, session: u64, register: Register, action: Action) {
        let (Some(table), Some(state)) = (self.tables.get(&register.table), &self.state) else { return };
        let fingerprint = self.generator.fingerprint();
        let key = table.key(register.key);
        let partition_hash = table.partition_hash(&key);
        let Some(partition) = state.partition_of(partition_hash) else { return };
        let payload = table.payload(register.key, action, fingerprint, self.generator.plan.padding);
        let transaction = TransactionId { session, seq: self.next_transaction };
        self.next_transaction += 1;
        self.unresolved.insert(transaction.seq);
        let record = WriteRecord {
            fingerprint,
            transaction,
            register,
            partition,
            action,
            invoked: now,
            responded: Time::MAX,
            outcome: Outcome::Unknown,
        };
        let mut write = WriteOperation::new(record, key, partition_hash, payload, table.version);
        let random = &mut self.generator.random;
        write.duplicate = random.chance(self.generator.plan.duplicate_per_million);
        write.ask_again = u32::from(random.chance(self.generator.plan.ask_again_per_million));
        self.begin(now, Operation::Write(write));
    }
}

impl Client for DirectClient {
    fn evidence(&mut self) -> &mut Evidence {
        &mut self.evidence
    }

    fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn change_dictionary(&mut self, change: Change) {
        let request = self.generator.random.identity();
        self.jobs.add(change, request);
    }

    fn expect_lasting(&mut self, tables: Vec<u32>) {
        self.lasting.extend(tables);
    }

    fn is_idle(&self) -> bool {
        self.operations.is_empty() && self.jobs.is_empty() && self.requests.is_empty()
    }

    fn has_schema_change(&self) -> bool {
        !self.jobs.is_empty()
    }

    fn is_idle_but_for_unknown(&self) -> bool {
        let unknown = |operation: &Operation| match operation {
            Operation::Write(write) => write.record.outcome == Outcome::Unknown,
            Operation::Read(_) | Operation::Scan(_) => false,
        };
        self.operations.values().all(unknown)
    }

    fn describe_open(&self) -> String {
        let operations = self.operations.values().take(3).map(|operation| match operation {
            Operation::Read(read) => format!("read of {}", read.record.register),
            Operation::Write(write) => format!("{:?} live {}", write.record, write.live),
            Operation::Scan(scan) => format!("{scan:?}"),
        });
        let requests = self.requests.iter().take(3).map(|(id, request)| format!("request {id} {request:?}"));
        format!(
            "{} operations, {} requests, {} jobs: {}",
            self.operations.len(),
            self.requests.len(),
            self.jobs.len(),
            operations.chain(requests).collect::<Vec<_>>().join("; ")
        )
    }

    fn abandon(&mut self) {
        for operation in std::mem::take(&mut self.operations).into_values() {
            if let Operation::Write(write) = operation {
                self.evidence.history.writes.push(write.record);
            }
        }
        self.due.clear();
        self.requests.clear();
        self.jobs = Jobs::default();
    }

    fn active_tables(&self) -> Vec<u32> {
        self.active.clone()
    }
}

impl Core for DirectClient {
    fn accepted(&mut self, _now: Time, _link: Link) {}

    fn connected(&mut self, _now: Time, link: Link, token: u64) {
        self.contacts.connected(Peer::of_token(token), link);
    }

    fn connect_failed(&mut self, now: Time, token: u64) {
        self.contacts.lost(now, Peer::of_token(token), None, &mut self.generator.random);
    }

    fn closed(&mut self, now: Time, link: Link, _by_peer: bool) {
        let Some(peer) = self.contacts.peer_of(link) else { return };
        self.contacts.lost(now, peer, Some(link), &mut self.generator.random);
        self.requests_lost(now, peer);
    }

    fn frame_limit(&self, _link: Link) -> usize {
        MAX_FRAME_BYTES
    }

    fn frame(&mut self, now: Time, link: Link, bytes: &[u8]) {
        let Some(peer) = self.contacts.peer_of(link) else { return };
        let frame = match FrameView::new_checked(bytes) {
            Ok(frame) => frame,
            Err(code) => return self.damaged(now, link, code),
        };
        self.epoch = self.epoch.max(frame.envelope().epoch);
        if self.contacts.greeted(peer, link, &frame) {
            return;
        }
        let envelope = frame.envelope();
        if self.state.as_ref().is_some_and(|state| state.view.number < envelope.view) {
            self.fetch_at = now;
        }
        // A data node that left the view may still tell how things were.
        let has_left =
            |state: &ClusterState| envelope.view < state.view.number && !state.view.contains(envelope.sender);
        if matches!(peer, Peer::Data(_)) && self.state.as_ref().is_some_and(has_left) {
            return self.contacts.leave(link);
        }
        for signal in frame.signals() {
            self.reply(now, peer, &signal);
        }
    }

    fn damaged(&mut self, _now: Time, link: Link, code: ErrorCode) {
        self.violate(Violation::new("frames are whole", format!("link {link:?}: {code}")));
        self.contacts.damaged(link, code);
    }

    fn set_backlog(&mut self, _link: Link, _bytes: usize) {}

    fn wants_input(&self, _link: Link) -> bool {
        true
    }

    fn tick(&mut self, now: Time) {
        self.housekeeping(now);
        self.issue(now);
        self.advance(now);
    }

    fn next_wake(&self) -> Time {
        let due = self.due.first().map_or(Time::MAX, |(time, _)| *time);
        let room = self.operations.len() < self.generator.plan.concurrency as usize;
        let issue = if self.mode == Mode::Traffic && room && self.session.is_some() && !self.active.is_empty()
        {
            self.issue_at
        } else {
            Time::MAX
        };
        due.min(issue)
    }

    fn violation(&mut self) -> Option<Violation> {
        self.evidence.violation.take()
    }

    fn flush(&mut self, now: Time, send: &mut dyn FnMut(Link, &[u8]), orders: &mut Vec<Order>) {
        self.advance(now);
        let envelope = self.envelope();
        self.contacts.flush(&envelope, send);
        self.contacts.due(now, orders);
    }
}
