//! Requests of a direct client and their answers.

use super::contacts::Peer;
use super::jobs::ASK_AGAIN;
use super::operation::{Answer, Step};
use super::{DirectClient, FETCH_EVERY, Operation};
use crate::history::{Action, Outcome, ReadRecord, Refusal, Register, Seen, Violation};
use crate::process::client::{Change, Mode, is_about_table, is_never_right};
use crate::queue::{MILLISECOND, Time};
use crate::workload::DATABASE;
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::RowVersion;
use duet_protocol::record::ClusterState;
use duet_protocol::signal::change_dictionary::{
    ChangeDictionary, KIND_CHANGE_TABLE, KIND_CREATE_TABLE, KIND_DROP_TABLE, KIND_LEAVE,
};
use duet_protocol::signal::cluster_state::ClusterStateSignal;
use duet_protocol::signal::dictionary_changed::DictionaryChanged;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::fetch_state::FetchState;
use duet_protocol::signal::open_session::OpenSession;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::read_reply::ReadReply;
use duet_protocol::signal::resolve::Resolve;
use duet_protocol::signal::resolve_reply::{OUTCOME_ABORTED, OUTCOME_COMMITTED, ResolveReply};
use duet_protocol::signal::scan::Scan;
use duet_protocol::signal::scan_reply::{FLAG_DONE, ScanReply, split_row};
use duet_protocol::signal::session_opened::SessionOpened;
use duet_protocol::signal::write::{
    FLAG_EXPECT_VERSION, OPERATION_DELETE, OPERATION_INSERT, OPERATION_UPDATE, OPERATION_UPSERT, Write,
};
use duet_protocol::signal::write_reply::WriteReply;
use duet_protocol::signal::{Sections, SignalType, SignalView};

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    peer: Peer,
    about: About,
}

/// What a request is about; numbers are those of operations.
#[derive(Clone, Copy, Debug)]
enum About {
    State,
    Session,
    Job,
    Read {
        operation: u64,
        sent: Time,
    },
    Write {
        operation: u64,
        again: bool,
    },
    Resolve {
        operation: u64,
        again: bool,
    },
    Scan {
        operation: u64,
    },
    /// A copy of a write, or a question about it, whose story has ended otherwise.
    Late {
        outcome: Outcome,
        again: bool,
    },
}

impl Request {
    fn become_late(&mut self, outcome: Outcome) {
        if let About::Write { again, .. } | About::Resolve { again, .. } = self.about {
            self.about = About::Late { outcome, again };
        }
    }

    fn is_about(&self, number: u64) -> bool {
        matches!(self.about, About::Write { operation, .. } | About::Resolve { operation, .. } if operation == number)
    }
}

/// Wait before a read or scan is tried again.
const READ_AGAIN: Time = 6 * MILLISECOND;
/// Failures in a row after which a scan while traffic runs is given up.
const SCAN_FAILURES: u32 = 8;

impl DirectClient {
    fn request(&mut self, peer: Peer, about: About) -> u64 {
        let id = self.next_request;
        self.next_request += 1;
        self.requests.insert(id, Request { peer, about });
        id
    }

    /// Cluster state, session and schema changes.
    pub(super) fn housekeeping(&mut self, now: Time) {
        let everyone = self.contacts.ready(|_| true);
        if !everyone.is_empty() && !self.fetching && (self.state.is_none() || now >= self.fetch_at) {
            self.fetching = true;
            self.fetch_at = now + FETCH_EVERY;
            let peer = *self.generator.random.pick(&everyone);
            let known_version = self.state.as_ref().map_or(0, |state| state.version);
            let id = self.request(peer, About::State);
            let body = FetchState { known_version: known_version.into() };
            self.push(peer, id, &body, Sections::none());
        }
        let data = self.contacts.ready(|peer| matches!(peer, Peer::Data(_)));
        let formed = self.state.as_ref().is_some_and(|state| state.view.number > 0);
        if self.session.is_none() && !self.session_asked && formed && !data.is_empty() {
            self.session_asked = true;
            let peer = *self.generator.random.pick(&data);
            let id = self.request(peer, About::Session);
            self.push(peer, id, &OpenSession::default(), Sections::none());
        }
        self.ask_for_schema_change(now);
    }

    fn push<S: duet_protocol::signal::Signal>(
        &mut self,
        peer: Peer,
        id: u64,
        body: &S,
        sections: Sections<'_>,
    ) {
        let envelope = self.envelope();
        self.contacts.push(peer, id, body, sections, &envelope);
    }

    fn ask_for_schema_change(&mut self, now: Time) {
        let management = self.contacts.ready(|peer| matches!(peer, Peer::Management(_)));
        let Some(job) = self.jobs.current().filter(|job| !job.live && now >= job.not_before) else { return };
        if management.is_empty() {
            return;
        }
        let peer = management[job.asked as usize % management.len()];
        job.asked += 1;
        job.live = true;
        let mut second = Vec::new();
        let (kind, section) = match &job.change {
            Change::Create { name, shape } => {
                let definition = shape.definition(name);
                let record = definition.to_record().expect("definitions are small");
                (KIND_CREATE_TABLE, record)
            }
            Change::Drop { name } => (KIND_DROP_TABLE, format!("{DATABASE}.{name}").into_bytes()),
            Change::Index { table, index } => {
                second = Change::of_table(index.as_ref()).to_record().expect("changes are small");
                (KIND_CHANGE_TABLE, format!("{DATABASE}.{table}").into_bytes())
            }
            Change::Leave(wanted) => (KIND_LEAVE, wanted.to_record().expect("requests are small")),
        };
        let body =
            ChangeDictionary { kind: kind.into(), request: job.request, ..ChangeDictionary::default() };
        let id = self.request(peer, About::Job);
        self.push(peer, id, &body, Sections::two(&section, &second));
    }

    /// Looks at every operation that is due.
    pub(super) fn advance(&mut self, now: Time) {
        while let Some((time, number)) = self.due.first().copied() {
            if time > now {
                return;
            }
            self.due.remove(&(time, number));
            match self.operations.get(&number) {
                Some(Operation::Read(_)) => self.advance_read(now, number),
                Some(Operation::Write(_)) => self.advance_write(now, number),
                Some(Operation::Scan(_)) => self.advance_scan(now, number),
                None => {}
            }
        }
    }

    /// The node to ask for a partition: the one that leads it, or on purpose another one.
    fn node_for(&mut self, partition: u16) -> Option<Peer> {
        let state = self.state.as_ref()?;
        let mut node = *state.view.partitions.get(usize::from(partition))?.replicas.first()?;
        let nodes = state.configuration.data_nodes;
        if self.mode == Mode::Traffic
            && self.generator.random.chance(self.generator.plan.misroute_per_million)
        {
            node = self.generator.random.between(1, u64::from(nodes)) as u32;
        }
        let peer = Peer::Data(node);
        self.contacts.is_ready(peer).then_some(peer)
    }

    fn advance_read(&mut self, now: Time, number: u64) {
        let Some(Operation::Read(read)) = self.operations.get(&number) else { return };
        let (register, table_version) = (read.record.register, read.table_version);
        let Some(table) = self.tables.get(&register.table) else { return };
        let key = table.key(register.key);
        let hash = table.partition_hash(&key);
        let partition = self.state.as_ref().and_then(|state| state.partition_of(hash));
        let peer = partition.and_then(|partition| self.node_for(partition));
        let Some(peer) = peer else {
            if self.mode == Mode::Traffic {
                self.due.insert((now + READ_AGAIN, number));
            } else {
                self.operations.remove(&number);
            }
            return;
        };
        let id = self.request(peer, About::Read { operation: number, sent: now });
        let body =
            Read { table: register.table.into(), table_version: table_version.into(), flags: 0.into() };
        self.push(peer, id, &body, Sections::one(&key));
    }

    fn advance_write(&mut self, now: Time, number: u64) {
        loop {
            let hurry = self.mode != Mode::Traffic;
            let Some(Operation::Write(write)) = self.operations.get_mut(&number) else { return };
            let step = write.step(now, hurry, &mut self.generator.random);
            let partition = write.record.partition;
            match step {
                Step::Wait(until) => {
                    if until != Time::MAX {
                        self.due.insert((until, number));
                    }
                    return;
                }
                Step::Finish => {
                    let (record, live) = (write.record, write.live);
                    self.operations.remove(&number);
                    if live > 0 {
                        for request in self.requests.values_mut().filter(|request| request.is_about(number)) {
                            request.become_late(record.outcome);
                        }
                    }
                    self.unresolved.remove(&record.transaction.seq);
                    self.evidence.history.writes.push(record);
                    return;
                }
                Step::SendWrite | Step::SendResolve => {
                    let Some(peer) = self.node_for(partition) else {
                        let Some(Operation::Write(write)) = self.operations.get_mut(&number) else { return };
                        write.not_sent(now, &mut self.generator.random);
                        continue;
                    };
                    if step == Step::SendWrite {
                        self.send_write(now, number, peer);
                    } else {
                        self.send_resolve(now, number, peer);
                    }
                }
            }
        }
    }

    fn send_write(&mut self, now: Time, number: u64, peer: Peer) {
        let resolved_below = self.resolved_below();
        let again = self.is_known(number);
        let id = self.request(peer, About::Write { operation: number, again });
        let envelope = self.envelope();
        let Some(Operation::Write(write)) = self.operations.get_mut(&number) else { return };
        let record = &write.record;
        let mut body = Write {
            table: record.register.table.into(),
            table_version: write.table_version.into(),
            session: record.transaction.session.into(),
            seq: record.transaction.seq.into(),
            resolved_below: resolved_below.into(),
            ..Write::default()
        };
        body.operation = match record.action {
            Action::Insert { .. } => OPERATION_INSERT,
            Action::Upsert { .. } => OPERATION_UPSERT,
            Action::Set | Action::Increment | Action::CompareAndSet { .. } => OPERATION_UPDATE,
            Action::Delete => OPERATION_DELETE,
        };
        if let Action::CompareAndSet { expected } = record.action {
            body.flags = FLAG_EXPECT_VERSION;
            body.expected_epoch = expected.epoch.into();
            body.expected_seq = expected.seq.into();
        }
        self.contacts.push(peer, id, &body, Sections::two(&write.key, &write.payload), &envelope);
        write.sent(now, true);
    }

    /// Whether the outcome of a write is known already.
    fn is_known(&self, number: u64) -> bool {
        match self.operations.get(&number) {
            Some(Operation::Write(write)) => write.record.outcome != Outcome::Unknown,
            Some(Operation::Read(_) | Operation::Scan(_)) | None => false,
        }
    }

    fn send_resolve(&mut self, now: Time, number: u64, peer: Peer) {
        let resolved_below = self.resolved_below();
        let again = self.is_known(number);
        let id = self.request(peer, About::Resolve { operation: number, again });
        let envelope = self.envelope();
        let Some(Operation::Write(write)) = self.operations.get_mut(&number) else { return };
        let body = Resolve {
            session: write.record.transaction.session.into(),
            seq: write.record.transaction.seq.into(),
            partition_hash: write.partition_hash.into(),
            resolved_below: resolved_below.into(),
        };
        self.contacts.push(peer, id, &body, Sections::none(), &envelope);
        write.sent(now, false);
    }

    fn advance_scan(&mut self, now: Time, number: u64) {
        let Some(Operation::Scan(scan)) = self.operations.get(&number) else { return };
        let (partition, table, cursor, last) = (scan.partition, scan.table, scan.cursor, scan.last);
        if scan.live {
            return;
        }
        if now < scan.not_before {
            self.due.insert((scan.not_before, number));
            return;
        }
        let partitions = self.state.as_ref().map_or(0, |state| state.configuration.partitions);
        if partition >= partitions || (!last && self.mode != Mode::Traffic) {
            let Some(Operation::Scan(scan)) = self.operations.remove(&number) else { return };
            let query = scan.query.filter(|_| partition >= partitions && partitions > 0);
            self.evidence.history.scans.extend(query.and_then(|query| query.finish(table, now)));
            return;
        }
        let peer = self.node_for(partition);
        let max_rows = self.generator.random.between(1, 40) as u32;
        let version = self.tables.get(&table).map(|table| table.version);
        let Some(Operation::Scan(scan)) = self.operations.get_mut(&number) else { return };
        let (Some(peer), Some(version)) = (peer, version) else {
            scan.not_before = now + READ_AGAIN;
            self.due.insert((scan.not_before, number));
            return;
        };
        scan.live = true;
        scan.sent = now;
        let program = scan.query.as_ref().map(|query| query.program.clone()).unwrap_or_default();
        let range = scan.query.as_ref().and_then(|query| query.range.as_ref());
        let (flags, index) = range.map_or((0, 0), |range| (range.flags(), range.index));
        let (from, to) = range.map_or((Vec::new(), Vec::new()), |range| range.left.clone());
        let body = Scan {
            table: table.into(),
            table_version: version.into(),
            partition: partition.into(),
            cursor: cursor.into(),
            max_rows: max_rows.into(),
            max_bytes: 65_536.into(),
            flags: flags.into(),
            index: index.into(),
        };
        let id = self.request(peer, About::Scan { operation: number });
        self.push(peer, id, &body, Sections::three(&program, &from, &to));
    }

    fn next_partition(&mut self, now: Time, number: u64) {
        let Some(Operation::Scan(scan)) = self.operations.get_mut(&number) else { return };
        scan.partition += 1;
        scan.cursor = 0;
        if let Some(range) = scan.query.as_mut().and_then(|query| query.range.as_mut()) {
            range.restart();
        }
        self.due.insert((now, number));
    }

    /// The requests to a peer whose link is gone have no answer.
    pub(super) fn requests_lost(&mut self, now: Time, peer: Peer) {
        let lost: Vec<u64> =
            self.requests.iter().filter(|(_, request)| request.peer == peer).map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(request) = self.requests.remove(&id) {
                self.failed(now, request.about, None);
            }
        }
    }

    /// A request ended without a result: with an error that its receiver answered, or because its link is gone.
    fn failed(&mut self, now: Time, about: About, code: Option<ErrorCode>) {
        let random = &mut self.generator.random;
        match about {
            About::Late { .. } => {}
            About::State => self.fetching = false,
            About::Session => self.session_asked = false,
            About::Job => {
                if let Some(job) = self.jobs.current() {
                    job.live = false;
                    job.not_before = now + ASK_AGAIN;
                }
            }
            About::Read { operation, .. } => {
                let gone = code == Some(ErrorCode::TableNotFound);
                if self.mode == Mode::Traffic && !gone && random.chance(700_000) {
                    self.due.insert((now + READ_AGAIN, operation));
                } else {
                    self.operations.remove(&operation);
                }
            }
            About::Write { operation, again } | About::Resolve { operation, again } => {
                let is_write = matches!(about, About::Write { .. });
                let Some(Operation::Write(write)) = self.operations.get_mut(&operation) else { return };
                match code {
                    None => write.link_lost(now, is_write, random),
                    Some(code) => {
                        // An answer that says nothing of the copy's fate, or that a later buffer swallowed.
                        let vague = matches!(
                            code,
                            ErrorCode::OutcomeUnknown
                                | ErrorCode::DeadlineExceeded
                                | ErrorCode::ReplyBufferFull
                        );
                        let answer = match code {
                            ErrorCode::Aborted => Answer::Aborted,
                            _ if vague && is_write => Answer::Unknown,
                            code => Answer::NotExecuted(code),
                        };
                        if let Err(violation) = write.answered(now, answer, again, random) {
                            self.evidence.violate(violation);
                        }
                    }
                }
                self.due.insert((now, operation));
            }
            About::Scan { operation } => {
                let Some(Operation::Scan(scan)) = self.operations.get_mut(&operation) else { return };
                scan.live = false;
                scan.failures += 1;
                scan.not_before = now + READ_AGAIN;
                let gone = code == Some(ErrorCode::TableNotFound) || scan.failures > SCAN_FAILURES;
                if gone && !scan.last {
                    self.operations.remove(&operation);
                } else {
                    self.due.insert((now, operation));
                }
            }
        }
    }

    /// An answer came.
    pub(super) fn reply(&mut self, now: Time, peer: Peer, signal: &SignalView<'_>) {
        if signal.request_id() == 0 {
            if signal.signal_type() == SignalType::ClusterStateSignal {
                self.learn_state(signal);
            }
            return;
        }
        let Some(request) = self.requests.get(&signal.request_id()).copied() else { return };
        if request.peer != peer {
            let detail = format!("{signal:?} from {peer:?} answers {request:?}");
            return self.violate(Violation::new("answers come from whom was asked", detail));
        }
        self.requests.remove(&signal.request_id());
        if let Some(error) = signal.body::<ErrorReply>() {
            return self.error(now, request.about, error, signal.section(0));
        }
        let fits = match request.about {
            About::State => self.learn_state(signal),
            About::Session => signal.body::<SessionOpened>().is_some_and(|body| {
                self.session = Some(body.session.get());
                self.epoch = self.epoch.max(body.epoch.get());
                true
            }),
            About::Job => signal.body::<DictionaryChanged>().is_some_and(|body| {
                self.dictionary_changed(now, body);
                true
            }),
            About::Read { operation, sent } => signal
                .body::<ReadReply>()
                .is_some_and(|body| self.read_done(now, operation, sent, body, signal)),
            About::Write { operation, again } => signal
                .body::<WriteReply>()
                .is_some_and(|body| self.write_answered(now, operation, again, body)),
            About::Resolve { operation, again } => {
                signal.body::<ResolveReply>().is_some_and(|body| self.resolved(now, operation, again, body))
            }
            About::Late { outcome, again } => self.late(outcome, again, signal),
            About::Scan { operation } => {
                signal.body::<ScanReply>().is_some_and(|body| self.scanned(now, operation, body, signal))
            }
        };
        if !fits {
            let detail = format!("{:?} answers {request:?}", signal.signal_type());
            self.violate(Violation::new("answers fit their questions", detail));
        }
    }

    fn error(&mut self, now: Time, about: About, error: &ErrorReply, detail: &[u8]) {
        let Some(code) = ErrorCode::from_number(error.code.get()) else {
            let detail = format!("{about:?}: error {}", error.code);
            return self.violate(Violation::new("errors have known codes", detail));
        };
        self.evidence.error(code);
        // A copy of a write that has ended may meet the end of its record.
        let is_late = code == ErrorCode::AlreadyResolved && matches!(about, About::Late { .. });
        let never = is_never_right(code) && !is_late;
        let table = match about {
            About::Read { operation, .. } | About::Write { operation, .. } | About::Scan { operation } => {
                self.operations.get(&operation).map(|operation| match operation {
                    Operation::Read(read) => read.record.register.table,
                    Operation::Write(write) => write.record.register.table,
                    Operation::Scan(scan) => scan.table,
                })
            }
            About::State | About::Session | About::Job | About::Resolve { .. } | About::Late { .. } => None,
        };
        let unknown_table = is_about_table(code);
        // A node that was removed may lag behind until it learns that; only what is final is told under a lease.
        let lags = code == ErrorCode::TableNotActive;
        let lost_table = unknown_table && !lags && table.is_some_and(|table| self.lasting.contains(&table));
        if never || lost_table {
            let detail =
                format!("{about:?} at node {}: {code} {}", error.node, String::from_utf8_lossy(detail));
            return self.violate(Violation::new("errors have a reason", detail));
        }
        if unknown_table || code == ErrorCode::StaleMap {
            self.fetch_at = now;
        }
        self.failed(now, about, Some(code));
    }

    fn learn_state(&mut self, signal: &SignalView<'_>) -> bool {
        let Some(body) = signal.body::<ClusterStateSignal>() else { return false };
        self.fetching = false;
        if !signal.section(0).is_empty() {
            match ClusterState::from_record(signal.section(0)) {
                Ok(state) => self.install(state),
                Err(code) => {
                    let detail = format!("version {}: {code}", body.version);
                    self.violate(Violation::new("cluster states are sound", detail));
                }
            }
        }
        true
    }

    fn dictionary_changed(&mut self, now: Time, body: &DictionaryChanged) {
        let code = ErrorCode::from_number(body.code.get());
        match (body.code.get(), code) {
            (0, _) => {
                self.jobs.finish();
                self.fetch_at = now;
            }
            (_, Some(code)) if code.is_retryable() => self.failed(now, About::Job, Some(code)),
            (_, code) if self.jobs.current().is_some_and(|job| is_settled(&job.change, code)) => {
                self.jobs.finish();
            }
            (number, _) => {
                let job = self.jobs.finish();
                let detail = format!("{job:?} was refused with error {number}");
                self.violate(Violation::new("schema changes succeed", detail));
            }
        }
    }

    fn told(&mut self, register: Register, partition: u16, version: RowVersion) {
        self.evidence.told.push((partition, version.seq));
        self.generator.seen(register, version);
    }

    fn read_done(
        &mut self,
        now: Time,
        number: u64,
        sent: Time,
        body: &ReadReply,
        signal: &SignalView<'_>,
    ) -> bool {
        let Some(Operation::Read(read)) = self.operations.remove(&number) else { return true };
        let register = read.record.register;
        self.evidence.acknowledged += 1;
        let mut record = ReadRecord { register, invoked: sent, responded: now, seen: None };
        if body.code.get() == 0 {
            let Some(table) = self.tables.get(&register.table) else { return false };
            let version = RowVersion { epoch: body.epoch.get(), seq: body.seq.get() };
            let key = table.key(register.key);
            let hash = table.partition_hash(&key);
            match table.read(&key, signal.section(0), version) {
                Ok(content) => {
                    let (fingerprint, counter) = (content.fingerprint, content.counter);
                    record.seen = Some(Seen { version, fingerprint, counter });
                    if let Some(partition) = self.state.as_ref().and_then(|state| state.partition_of(hash)) {
                        self.told(register, partition, version);
                    }
                }
                Err(violation) => self.violate(violation),
            }
        }
        self.evidence.history.reads.push(record);
        true
    }

    fn write_answered(&mut self, now: Time, number: u64, again: bool, body: &WriteReply) -> bool {
        let version = RowVersion { epoch: body.epoch.get(), seq: body.seq.get() };
        let answer = match body.code.get() {
            0 => {
                let result = self.counter(number, body.result_bytes.get(), &body.result);
                Answer::Committed { version, result }
            }
            code => match ErrorCode::from_number(code) {
                Some(ErrorCode::RowNotFound) => Answer::Refused(Refusal::RowNotFound),
                Some(ErrorCode::DuplicateKey) => Answer::Refused(Refusal::DuplicateKey),
                Some(ErrorCode::VersionMismatch) => Answer::Refused(Refusal::VersionMismatch),
                _ => return false,
            },
        };
        self.outcome(now, number, again, answer)
    }

    fn resolved(&mut self, now: Time, number: u64, again: bool, body: &ResolveReply) -> bool {
        let version = RowVersion { epoch: body.epoch.get(), seq: body.seq.get() };
        let answer = match body.outcome.get() {
            OUTCOME_COMMITTED => {
                let result = self.counter(number, body.result_bytes.get(), &body.result);
                Answer::Committed { version, result }
            }
            OUTCOME_ABORTED => Answer::Aborted,
            _ => return false,
        };
        self.outcome(now, number, again, answer)
    }

    /// The counter that an increment returns.
    fn counter(&self, number: u64, bytes: u32, result: &[u8; 16]) -> Option<i64> {
        let table = match (self.operations.get(&number)?, bytes) {
            (_, 0) | (Operation::Read(_) | Operation::Scan(_), _) => return None,
            (Operation::Write(write), _) => write.record.register.table,
        };
        self.tables.get(&table)?.counter_of(result.get(..bytes as usize)?)
    }

    fn outcome(&mut self, now: Time, number: u64, again: bool, answer: Answer) -> bool {
        let Some(Operation::Write(write)) = self.operations.get_mut(&number) else { return true };
        let (register, partition) = (write.record.register, write.record.partition);
        let first = write.record.responded == Time::MAX;
        if let Err(violation) = write.answered(now, answer, again, &mut self.generator.random) {
            self.evidence.violate(violation);
        }
        if first {
            self.evidence.acknowledged += 1;
        }
        if let Answer::Committed { version, .. } = answer {
            self.told(register, partition, version);
        }
        self.due.insert((now, number));
        true
    }

    /// An answer to a copy of a write whose story has ended: it may not tell another one.
    fn late(&mut self, outcome: Outcome, again: bool, signal: &SignalView<'_>) -> bool {
        let told = match (signal.body::<WriteReply>(), signal.body::<ResolveReply>()) {
            (Some(body), _) if body.code.get() != 0 => {
                if !again {
                    return true;
                }
                None
            }
            (Some(body), _) => Some((body.epoch.get(), body.seq.get())),
            (_, Some(body)) if body.outcome.get() == OUTCOME_COMMITTED => {
                Some((body.epoch.get(), body.seq.get()))
            }
            (_, Some(_)) => None,
            (None, None) => return false,
        };
        let known = match outcome {
            Outcome::Committed { version, .. } => Some((version.epoch, version.seq)),
            Outcome::Unknown | Outcome::Refused(_) | Outcome::Aborted => None,
        };
        if told != known {
            let detail = format!("{outcome:?}, then {told:?}");
            self.violate(Violation::new("an outcome answered twice is the same", detail));
        }
        true
    }

    fn scanned(&mut self, now: Time, number: u64, body: &ScanReply, signal: &SignalView<'_>) -> bool {
        let Some(Operation::Scan(scan)) = self.operations.get_mut(&number) else { return true };
        scan.live = false;
        scan.failures = 0;
        scan.cursor = body.next_cursor.get();
        let (table_id, sent, last) = (scan.table, scan.sent, scan.last);
        let Some(table) = self.tables.get(&table_id) else { return false };
        let mut batch = signal.section(0);
        let mut rows = 0;
        while let Some(row) = split_row(&mut batch) {
            rows += 1;
            if let Some(query) = scan.query.as_mut().filter(|query| !query.counts())
                && let Some(range) = &mut query.range
                && let Err(violation) = range.see(table, row.version, row.key, row.value)
            {
                self.evidence.violate(violation);
            }
            if let Some(query) = scan.query.as_mut().filter(|query| query.counts()) {
                if let Err(violation) = query.add(row.key, row.value) {
                    self.evidence.violate(violation);
                }
                continue;
            }
            let content = match table.read(row.key, row.value, row.version) {
                Ok(content) => content,
                Err(violation) => {
                    self.evidence.violate(violation);
                    return true;
                }
            };
            let register = Register { table: table_id, key: content.key };
            let (fingerprint, counter) = (content.fingerprint, content.counter);
            let seen = Seen { version: row.version, fingerprint, counter };
            if let Some(Err(violation)) = scan.query.as_mut().map(|query| query.see(register, &content)) {
                self.evidence.violate(violation);
            }
            if !last {
                self.evidence.history.reads.push(ReadRecord {
                    register,
                    invoked: sent,
                    responded: now,
                    seen: Some(seen),
                });
            } else if self.last_rows.insert(register, seen).is_some() {
                let violation = Violation::new("a scan at rest returns each row once", format!("{register}"));
                self.evidence.violate(violation);
            }
        }
        if let Some(range) = scan.query.as_mut().and_then(|query| query.range.as_mut()) {
            range.advance(signal.section(1));
        }
        if rows != body.row_count.get() || !batch.is_empty() {
            let detail = format!("{rows} rows in a batch of {}", body.row_count);
            self.violate(Violation::new("scan batches are whole", detail));
        }
        self.evidence.acknowledged += 1;
        if body.flags.get() & FLAG_DONE != 0 {
            self.next_partition(now, number);
        } else {
            self.due.insert((now, number));
        }
        true
    }
}

/// Whether a refusal ends the change of an index. Changes of tables are asked for under one identity, and so never refused.
fn is_settled(change: &Change, code: Option<ErrorCode>) -> bool {
    matches!(change, Change::Index { .. } | Change::Leave(_)) && change.is_settled_by(code)
}
