//! A client that runs the client's core, as applications do.

use super::client::{Change, Client, Evidence, Mode, is_about_table, is_never_right, register_tables};
use crate::history::{
    Action, Fingerprint, Outcome, ReadRecord, Refusal, Register, Seen, Violation, WriteRecord,
};
use crate::process::application::{Application, application_fields};
use crate::queue::{MILLISECOND, SECOND, Time};
use crate::workload::{DATABASE, Generator, Intent, RegisterTable};
use duet_client_core::{
    Batch, ClientConfiguration, ClientCore, Error, Expectation, FragmentScan, JobId, Outcome as CoreOutcome,
    Reply, Table,
};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::{RowVersion, TransactionId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Time for a schema change.
const CHANGE_WITHIN: Time = 10 * SECOND;

/// Time between two looks for new tables.
const REFRESH_EVERY: Time = 200 * MILLISECOND;

/// An operation of a batch.
enum Open {
    Read(Register),
    Write(WriteRecord),
    Scan(u32, FragmentScan),
    /// A question about a write that ended unknown; with the outcome if it is asked for again.
    Resolve(WriteRecord),
}

/// A batch under way.
struct OpenBatch {
    submitted: Time,
    operations: Vec<Open>,
}

/// A client that runs the client's core.
pub struct CoreClient {
    core: ClientCore,
    evidence: Evidence,
    generator: Generator,
    mode: Mode,
    tables: BTreeMap<u32, RegisterTable>,
    lasting: BTreeSet<u32>,
    next_tag: u64,
    open: BTreeMap<u64, OpenBatch>,
    /// Writes of unknown outcome that are to be asked for.
    unknown: Vec<WriteRecord>,
    operations: usize,
    issue_at: Time,
    wake_at: Time,
    waiting_changes: Vec<Change>,
    change: Option<(JobId, Change)>,
    refresh: Option<JobId>,
    refresh_at: Time,
    /// What was open is forgotten.
    abandoned: bool,
}

impl CoreClient {
    /// A client that has not contacted anyone yet.
    pub fn new(generator: Generator, configuration: ClientConfiguration, now: Time) -> CoreClient {
        CoreClient {
            core: ClientCore::new(configuration, now),
            evidence: Evidence::default(),
            generator,
            mode: Mode::Wait,
            tables: BTreeMap::new(),
            lasting: BTreeSet::new(),
            next_tag: 1,
            open: BTreeMap::new(),
            unknown: Vec::new(),
            operations: 0,
            issue_at: 0,
            wake_at: 0,
            waiting_changes: Vec::new(),
            change: None,
            refresh: None,
            refresh_at: 0,
            abandoned: false,
        }
    }

    /// Submits a batch of new operations, if there is room.
    fn issue_due(&mut self, now: Time) {
        let ids: Vec<u32> = register_tables(&self.core).map(|table| table.id()).collect();
        if self.mode != Mode::Traffic || now < self.issue_at || ids.is_empty() || self.core.state().is_none()
        {
            return;
        }
        let plan = &self.generator.plan;
        let room = (plan.concurrency as usize).saturating_sub(self.operations);
        let (think, batch_share) = (plan.think, plan.batch_per_million);
        let random = &mut self.generator.random;
        self.issue_at = now + random.around(think);
        let wanted = if random.chance(batch_share) { random.between(2, 12) as usize } else { 1 };
        let timeout = *random.pick(&[20 * MILLISECOND, 200 * MILLISECOND, 2 * SECOND, 5 * SECOND]);
        let mut batch = Box::new(Batch::new());
        batch.timeout = timeout;
        let mut operations = Vec::new();
        for _ in 0..wanted.min(room) {
            let intent = self.generator.next(&ids);
            if let Some(open) = self.add(now, &mut batch, intent) {
                operations.push(open);
            }
        }
        self.submit(now, batch, operations);
    }

    fn submit(&mut self, now: Time, mut batch: Box<Batch>, operations: Vec<Open>) {
        if operations.is_empty() {
            return;
        }
        assert_eq!(batch.len(), operations.len(), "every operation is remembered");
        batch.tag = self.next_tag;
        self.next_tag += 1;
        self.operations += operations.len();
        self.open.insert(batch.tag, OpenBatch { submitted: now, operations });
        self.core.submit(now, batch);
    }

    fn add(&mut self, now: Time, batch: &mut Batch, intent: Intent) -> Option<Open> {
        let id = match intent {
            Intent::Read(register) | Intent::Write(register, _) => register.table,
            Intent::Scan(table) => table,
        };
        let table = Arc::clone(register_tables(&self.core).find(|table| table.id() == id)?);
        let ours = self
            .tables
            .entry(id)
            .or_insert_with(|| RegisterTable::new(id, table.version(), table.definition(), table.indexes()));
        let added = match intent {
            Intent::Read(register) => {
                batch.read_key(&table, &ours.key(register.key)).map(|_| Open::Read(register))
            }
            Intent::Scan(_) => {
                let partition = self.generator.random.below(u64::from(table.partitions())) as u16;
                let scan = FragmentScan::new(partition);
                let max_rows = self.generator.random.between(1, 30) as u32;
                let request = scan.next_request(max_rows, 65_536)?;
                batch.scan(&table, request).map(|_| Open::Scan(id, scan))
            }
            Intent::Write(register, action) => {
                let fingerprint = self.generator.fingerprint();
                let key = ours.key(register.key);
                let partition = self.core.state()?.partition_of(ours.partition_hash(&key))?;
                let payload = ours.payload(register.key, action, fingerprint, self.generator.plan.padding);
                add_write(batch, &table, &key, action, &payload)
                    .map(|_| Open::Write(new_record(now, fingerprint, register, partition, action)))
            }
        };
        match added {
            Ok(open) => Some(open),
            Err(error) => {
                self.evidence.violate(Violation::new("operations are taken", error.to_string()));
                None
            }
        }
    }

    /// Asks what became of the writes that ended unknown.
    fn ask_for_unknown(&mut self, now: Time) {
        for record in std::mem::take(&mut self.unknown) {
            let mut batch = Box::new(Batch::new());
            batch.timeout = self.generator.random.between(1, 400) * MILLISECOND;
            match batch.resolve(record.transaction) {
                Ok(_) => self.submit(now, batch, vec![Open::Resolve(record)]),
                Err(error) => {
                    self.evidence.violate(Violation::new("operations are taken", error.to_string()));
                }
            }
        }
    }

    fn completed(&mut self, now: Time, batch: &Batch) {
        let Some(OpenBatch { submitted, operations }) = self.open.remove(&batch.tag) else {
            if self.abandoned {
                return;
            }
            let detail = format!("batch {}", batch.tag);
            return self.evidence.violate(Violation::new("every batch completes once", detail));
        };
        self.operations -= operations.len();
        for (index, open) in operations.into_iter().enumerate() {
            let reply = batch.reply(index);
            if let Err(error) = &reply {
                self.judge_error(&open, error);
            }
            match open {
                Open::Read(register) => self.read_done(now, submitted, register, &reply),
                Open::Write(record) => self.write_done(now, record, &reply),
                Open::Resolve(record) => self.resolve_done(now, record, &reply),
                Open::Scan(table, scan) => self.scanned(now, submitted, table, scan, &reply),
            }
        }
    }

    fn judge_error(&mut self, open: &Open, error: &Error) {
        let Some(code) = error.error_code() else {
            return self.evidence.violate(Violation::new("errors have known codes", error.to_string()));
        };
        self.evidence.error(code);
        let table = match open {
            Open::Read(register) => Some(register.table),
            Open::Write(record) => Some(record.register.table),
            Open::Scan(table, _) => Some(*table),
            Open::Resolve(_) => None,
        };
        // A node that was removed may lag behind until it learns that; only what is final is told under a lease.
        let unknown_table = is_about_table(code) && code != ErrorCode::TableNotActive;
        let lost_table = unknown_table && table.is_some_and(|table| self.lasting.contains(&table));
        if is_never_right(code) || lost_table {
            self.evidence.violate(Violation::new("errors have a reason", error.to_string()));
        }
    }

    fn told(&mut self, register: Register, partition: u16, version: RowVersion) {
        self.evidence.told.push((partition, version.seq));
        self.generator.seen(register, version);
    }

    fn see(&mut self, table: u32, key: &[u8], value: &[u8], version: RowVersion) -> Option<(Register, Seen)> {
        let ours = self.tables.get(&table)?;
        match ours.read(key, value, version) {
            Ok(content) => {
                let register = Register { table, key: content.key };
                let partition =
                    self.core.state().and_then(|state| state.partition_of(ours.partition_hash(key)));
                if let Some(partition) = partition {
                    self.told(register, partition, version);
                }
                Some((register, Seen { version, fingerprint: content.fingerprint, counter: content.counter }))
            }
            Err(violation) => {
                self.evidence.violate(violation);
                None
            }
        }
    }

    fn read_done(&mut self, now: Time, invoked: Time, register: Register, reply: &Result<Reply<'_>, Error>) {
        let seen = match reply {
            Ok(Reply::Row { version, row }) => {
                let Some((found, seen)) = self.see(register.table, row.key(), row.value(), *version) else {
                    return;
                };
                if found != register {
                    let detail = format!("{register} was asked for, {found} came");
                    self.evidence.violate(Violation::new("answers fit their questions", detail));
                }
                Some(seen)
            }
            Ok(Reply::NoRow) => None,
            Ok(other) => return self.misfit(other),
            Err(_) => return,
        };
        self.evidence.acknowledged += 1;
        self.evidence.history.reads.push(ReadRecord { register, invoked, responded: now, seen });
    }

    fn misfit(&mut self, reply: &Reply<'_>) {
        self.evidence.violate(Violation::new("answers fit their questions", format!("{reply:?}")));
    }

    fn write_done(&mut self, now: Time, mut record: WriteRecord, reply: &Result<Reply<'_>, Error>) {
        record.outcome = match reply {
            Ok(Reply::Written(written)) => {
                record.transaction = written.transaction;
                self.told(record.register, record.partition, written.version);
                let table = self.tables.get(&record.register.table);
                let result = table.and_then(|table| table.counter_of(written.result()));
                Outcome::Committed { version: written.version, result }
            }
            Ok(other) => return self.misfit(other),
            Err(error) => {
                record.transaction = error.transaction.unwrap_or_default();
                match error.error_code() {
                    Some(ErrorCode::RowNotFound) => Outcome::Refused(Refusal::RowNotFound),
                    Some(ErrorCode::DuplicateKey) => Outcome::Refused(Refusal::DuplicateKey),
                    Some(ErrorCode::VersionMismatch) => Outcome::Refused(Refusal::VersionMismatch),
                    Some(ErrorCode::OutcomeUnknown) => return self.unknown.push(record),
                    // Every other error promises that the write has not happened and will not.
                    _ => Outcome::Aborted,
                }
            }
        };
        record.responded = now;
        self.evidence.acknowledged += u64::from(record.outcome != Outcome::Aborted);
        self.evidence.history.writes.push(record);
    }

    fn resolve_done(&mut self, now: Time, mut record: WriteRecord, reply: &Result<Reply<'_>, Error>) {
        let outcome = match *reply {
            Ok(Reply::Resolved(CoreOutcome::Committed { version, result, result_bytes })) => {
                self.told(record.register, record.partition, version);
                let table = self.tables.get(&record.register.table);
                let result =
                    table.and_then(|table| table.counter_of(result.get(..usize::from(result_bytes))?));
                Outcome::Committed { version, result }
            }
            Ok(Reply::Resolved(CoreOutcome::Aborted)) => Outcome::Aborted,
            Ok(ref other) => return self.misfit(other),
            // The time for the question was too short; it is asked again.
            Err(_) => return self.unknown.push(record),
        };
        if record.outcome == Outcome::Unknown {
            record.outcome = outcome;
            record.responded = now;
            self.evidence.acknowledged += 1;
            if self.generator.random.chance(500_000) {
                return self.unknown.push(record);
            }
        } else if record.outcome != outcome {
            let detail = format!("{}: {:?}, then {outcome:?}", record.transaction, record.outcome);
            self.evidence.violate(Violation::new("an outcome answered twice is the same", detail));
        }
        self.evidence.history.writes.push(record);
    }

    fn scanned(
        &mut self,
        now: Time,
        invoked: Time,
        table: u32,
        mut scan: FragmentScan,
        reply: &Result<Reply<'_>, Error>,
    ) {
        let page = match reply {
            Ok(Reply::Page(page)) => page,
            Ok(other) => return self.misfit(other),
            Err(_) => return,
        };
        self.evidence.acknowledged += 1;
        for row in page.rows() {
            let (version, row) = match row {
                Ok(row) => row,
                Err(error) => {
                    return self
                        .evidence
                        .violate(Violation::new("scan batches are whole", error.to_string()));
                }
            };
            if let Some((register, seen)) = self.see(table, row.key(), row.value(), version) {
                let record = ReadRecord { register, invoked, responded: now, seen: Some(seen) };
                self.evidence.history.reads.push(record);
            }
        }
        if let Err(error) = scan.advance(page) {
            self.evidence.violate(Violation::new("scans move forward", error.to_string()));
        }
        let max_rows = self.generator.random.between(1, 30) as u32;
        let open = register_tables(&self.core).find(|open| open.id() == table).map(Arc::clone);
        let (Some(request), Some(open), Mode::Traffic) =
            (scan.next_request(max_rows, 65_536), open, self.mode)
        else {
            return;
        };
        let mut batch = Box::new(Batch::new());
        match batch.scan(&open, request) {
            Ok(_) => self.submit(now, batch, vec![Open::Scan(table, scan)]),
            Err(error) => {
                self.evidence.violate(Violation::new("operations are taken", error.to_string()));
            }
        }
    }

    fn change_schema(&mut self, now: Time) {
        while let Some((id, result)) = self.core.next_finished_job() {
            self.refresh.take_if(|job| *job == id);
            let Some((_, change)) = self.change.take_if(|(job, _)| *job == id) else { continue };
            let Err(error) = result else { continue };
            // Asked again after a time-out it is another request, and the first one may have done the work.
            let done = match error.error_code() {
                code if change.is_settled_by(code) => true,
                _ if error.retryable => false,
                _ => {
                    let detail = format!("{change:?}: {error}");
                    self.evidence.violate(Violation::new("schema changes succeed", detail));
                    true
                }
            };
            if !done {
                self.waiting_changes.insert(0, change);
            }
        }
        if self.mode != Mode::Finish && self.refresh.is_none() && now >= self.refresh_at {
            // Tables of others are seen when somebody looks.
            self.refresh_at = now + REFRESH_EVERY;
            self.refresh = Some(self.core.refresh(now, CHANGE_WITHIN));
        }
        if self.change.is_none() && !self.waiting_changes.is_empty() {
            let change = self.waiting_changes.remove(0);
            let id = match &change {
                Change::Create { name, shape } => {
                    self.core.create_table(now, CHANGE_WITHIN, &shape.definition(name))
                }
                Change::Drop { name } => self.core.drop_table(now, CHANGE_WITHIN, DATABASE, name),
                Change::Index { table, index } => {
                    let change = Change::of_table(index.as_ref());
                    self.core.change_table(now, CHANGE_WITHIN, DATABASE, table, &change)
                }
                Change::Leave(wanted) => self.core.ask_to_leave(now, CHANGE_WITHIN, wanted),
            };
            self.change = Some((id, change));
        }
    }

    fn collect_answers(&mut self, now: Time) {
        while let Some(batch) = self.core.next_completed() {
            self.completed(now, &batch);
        }
    }
}

fn new_record(
    now: Time,
    fingerprint: Fingerprint,
    register: Register,
    partition: u16,
    action: Action,
) -> WriteRecord {
    WriteRecord {
        fingerprint,
        transaction: TransactionId::default(),
        register,
        partition,
        action,
        invoked: now,
        responded: Time::MAX,
        outcome: Outcome::Unknown,
    }
}

fn add_write(
    batch: &mut Batch,
    table: &Arc<Table>,
    key: &[u8],
    action: Action,
    payload: &[u8],
) -> Result<usize, Error> {
    match action {
        Action::Insert { .. } => batch.insert_image(table, key, payload),
        Action::Upsert { .. } => batch.upsert_image(table, key, payload, Expectation::Any),
        Action::Set | Action::Increment => batch.update_program(table, key, payload, Expectation::Any),
        Action::CompareAndSet { expected } => {
            batch.update_program(table, key, payload, Expectation::Version(expected))
        }
        Action::Delete => batch.delete_key(table, key, Expectation::Any),
    }
}

impl Client for CoreClient {
    fn evidence(&mut self) -> &mut Evidence {
        &mut self.evidence
    }

    fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn change_dictionary(&mut self, change: Change) {
        self.waiting_changes.push(change);
    }

    fn has_schema_change(&self) -> bool {
        self.change.is_some() || !self.waiting_changes.is_empty()
    }

    fn expect_lasting(&mut self, tables: Vec<u32>) {
        self.lasting.extend(tables);
    }

    fn active_tables(&self) -> Vec<u32> {
        register_tables(&self.core).map(|table| table.id()).collect()
    }

    fn is_idle(&self) -> bool {
        self.is_idle_but_for_unknown()
            && self.unknown.is_empty()
            && self.open.is_empty()
            && self.core.is_idle()
            && self.core.unknown_outcomes() == 0
            && self.core.unresolved_numbers() == 0
    }

    fn is_idle_but_for_unknown(&self) -> bool {
        let asks = |open: &Open| matches!(open, Open::Resolve(_));
        // A change of the schema waits for every member, and so for ever for those of a group that is lost.
        self.open.values().all(|batch| batch.operations.iter().all(asks))
    }

    fn describe_open(&self) -> String {
        format!(
            "{} batches, {} writes to ask for, {} unknown and {} unresolved in the core, schema change {:?}",
            self.open.len(),
            self.unknown.len(),
            self.core.unknown_outcomes(),
            self.core.unresolved_numbers(),
            self.change
        )
    }

    fn abandon(&mut self) {
        for open in std::mem::take(&mut self.open).into_values().flat_map(|batch| batch.operations) {
            match open {
                Open::Write(record) | Open::Resolve(record) => self.evidence.history.writes.push(record),
                Open::Read(_) | Open::Scan(..) => {}
            }
        }
        self.evidence.history.writes.append(&mut self.unknown);
        self.abandoned = true;
        self.mode = Mode::Wait;
    }
}

impl Application for CoreClient {
    application_fields!();

    fn housekeeping(&mut self, now: Time) {
        self.change_schema(now);
        self.ask_for_unknown(now);
    }

    fn collect(&mut self, now: Time) {
        self.collect_answers(now);
    }

    fn issue(&mut self, now: Time) {
        self.issue_due(now);
    }

    fn next_issue(&self) -> Time {
        let room = self.operations < self.generator.plan.concurrency as usize;
        if self.mode == Mode::Traffic && room && register_tables(&self.core).next().is_some() {
            self.issue_at
        } else {
            Time::MAX
        }
    }
}
