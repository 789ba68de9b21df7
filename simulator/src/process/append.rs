//! A client that appends to lists in transactions, through the client's core: it locks the lists that it touches, shared or
//! exclusive, and appends its number to some of them; in between it reads lists without locks.

use super::client::{Client, Evidence, Mode, register_tables};
use crate::checker::{AppendRecord, UnlockedRead};
use crate::history::Violation;
use crate::process::application::{Application, application_fields};
use crate::queue::{MILLISECOND, SECOND, Time};
use crate::random::Random;
use crate::workload::{DATABASE, LISTS, LONGEST_LIST, list_bytes, list_definition, list_values, read_list};
use duet_client_core::{
    Batch, ClientConfiguration, ClientCore, Expectation, JobId, Lock, Outcome, Reply, Table,
    TransactionHandle,
};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::TransactionId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Time for the table to be created.
const CREATE_WITHIN: Time = 10 * SECOND;
/// How many transactions take their time, per million.
const LINGERS: u32 = 50_000;

/// A transaction under way.
#[derive(Clone, Debug)]
struct Writer {
    handle: TransactionHandle,
    record: AppendRecord,
    /// Lists to be locked, one batch after the other; and how.
    to_read: Vec<(u64, Lock)>,
    /// Whether it will say that it changed its mind.
    rolls_back: bool,
}

/// What a batch is for.
#[derive(Clone, Debug)]
enum Purpose {
    Read(Box<Writer>, Vec<u64>),
    Append(Box<Writer>),
    Finish(Box<Writer>),
    Rollback,
    Resolve(Box<AppendRecord>),
    Look(Vec<u64>, Time),
    Last,
}

/// A client of the lists.
pub struct AppendClient {
    core: ClientCore,
    evidence: Evidence,
    random: Random,
    /// Number among the clients of the lists; the first one creates the table.
    client: u32,
    lists: u64,
    concurrency: usize,
    think: Time,
    mode: Mode,
    job: Option<JobId>,
    /// Whether the table was seen.
    found: bool,
    batches: BTreeMap<u64, Purpose>,
    next_tag: u64,
    numbers: u64,
    busy: usize,
    ask_at: Time,
    issue_at: Time,
    wake_at: Time,
    unknown: Vec<(TransactionId, Box<AppendRecord>)>,
    /// Transactions that have read everything, and when they go on: so long that nodes may be removed meanwhile.
    lingering: Vec<(Time, Box<Writer>)>,
    want_last: bool,
    last: BTreeMap<u64, Vec<u64>>,
    /// Transactions that are committed, or may be.
    pub records: Vec<AppendRecord>,
    /// Lists read without locks.
    pub unlocked: Vec<UnlockedRead>,
    abandoned: bool,
}

impl AppendClient {
    /// A client that has not contacted anyone yet: number of lists, transactions at once, and mean pause.
    pub fn new(
        random: Random,
        client: u32,
        (lists, concurrency, think): (u64, usize, Time),
        configuration: ClientConfiguration,
        now: Time,
    ) -> AppendClient {
        AppendClient {
            core: ClientCore::new(configuration, now),
            evidence: Evidence::default(),
            random,
            client,
            lists,
            concurrency,
            think,
            mode: Mode::Wait,
            job: None,
            found: false,
            batches: BTreeMap::new(),
            next_tag: 1,
            numbers: 0,
            busy: 0,
            ask_at: 0,
            issue_at: 0,
            wake_at: 0,
            unknown: Vec::new(),
            lingering: Vec::new(),
            want_last: false,
            last: BTreeMap::new(),
            records: Vec::new(),
            unlocked: Vec::new(),
            abandoned: false,
        }
    }

    /// Begins to read all lists without locks.
    pub fn read_last(&mut self) {
        self.want_last = true;
    }

    /// The lists that were read so.
    pub fn last_lists(&mut self) -> BTreeMap<u64, Vec<u64>> {
        std::mem::take(&mut self.last)
    }

    fn table(&self) -> Option<Arc<Table>> {
        self.core.table(DATABASE, LISTS)
    }

    fn submit(&mut self, now: Time, mut batch: Batch, purpose: Purpose) {
        batch.tag = self.next_tag;
        self.next_tag += 1;
        self.batches.insert(batch.tag, purpose);
        self.core.submit(now, Box::new(batch));
    }

    /// Creates the table, or waits until it is there; looks for the tables of others.
    fn prepare(&mut self, now: Time) {
        while let Some((id, _)) = self.core.next_finished_job() {
            if self.job == Some(id) {
                self.job = None;
            }
        }
        // At the end of the run it is dropped, and stays so.
        self.found |= self.table().is_some();
        let looks = !self.found || (self.mode == Mode::Wait && !self.abandoned);
        if self.job.is_some() || now < self.ask_at || !looks {
            return;
        }
        self.ask_at = now + if self.found { 100 } else { 20 } * MILLISECOND;
        self.job = Some(if self.client == 0 && !self.found {
            self.core.create_table(now, CREATE_WITHIN, &list_definition())
        } else {
            self.core.refresh(now, CREATE_WITHIN)
        });
    }

    fn timeout(&mut self) -> Time {
        *self.random.pick(&[20 * MILLISECOND, 300 * MILLISECOND, 3 * SECOND, 5 * SECOND])
    }

    fn issue_due(&mut self, now: Time) {
        for (transaction, record) in std::mem::take(&mut self.unknown) {
            let mut batch = Batch::new();
            batch.timeout = self.random.between(1, 400) * MILLISECOND;
            let added = batch.resolve(transaction);
            self.evidence.added(added);
            self.submit(now, batch, Purpose::Resolve(record));
        }
        let Some(table) = self.table() else { return };
        let hurries = self.mode != Mode::Traffic;
        let mut number = 0;
        while number < self.lingering.len() {
            if hurries || self.lingering[number].0 <= now {
                let (_, writer) = self.lingering.swap_remove(number);
                self.append(now, &table, *writer);
            } else {
                number += 1;
            }
        }
        if std::mem::take(&mut self.want_last) {
            let keys: Vec<u64> = (0..self.lists).collect();
            return self.look(now, &table, &keys, Purpose::Last);
        }
        if self.mode != Mode::Traffic || now < self.issue_at || self.busy >= self.concurrency {
            return;
        }
        self.issue_at = now + self.random.around(self.think);
        self.busy += 1;
        if self.random.chance(200_000) {
            let keys = self.pick_lists(3);
            let purpose = Purpose::Look(keys.clone(), now);
            return self.look(now, &table, &keys, purpose);
        }
        self.begin(now, &table);
    }

    /// Different lists, in any order.
    fn pick_lists(&mut self, most: u64) -> Vec<u64> {
        let count = self.random.between(1, most.min(self.lists)) as usize;
        let mut keys: Vec<u64> = Vec::new();
        while keys.len() < count {
            let key = self.random.below(self.lists);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    fn look(&mut self, now: Time, table: &Arc<Table>, keys: &[u64], purpose: Purpose) {
        let mut batch = Batch::new();
        batch.timeout = self.timeout();
        for key in keys {
            let added = batch.read(table, key);
            self.evidence.added(added);
        }
        self.submit(now, batch, purpose);
    }

    fn begin(&mut self, now: Time, table: &Arc<Table>) {
        let Some(handle) = self.core.begin() else {
            self.busy -= 1;
            return;
        };
        self.numbers += 1;
        let number = self.numbers * 100 + u64::from(self.client) + 1;
        let keys = self.pick_lists(4);
        let mut appends = BTreeSet::new();
        let mut to_read = Vec::new();
        for key in keys {
            let appends_here = self.random.chance(550_000);
            // Who reads for share and then appends has to wait for the others who did so.
            let shared = if appends_here { self.random.chance(250_000) } else { self.random.chance(850_000) };
            if appends_here {
                appends.insert(key);
            }
            to_read.push((key, if shared { Lock::Shared } else { Lock::Exclusive }));
        }
        let record =
            AppendRecord { number, invoked: now, responded: Time::MAX, reads: BTreeMap::new(), appends };
        let rolls_back = self.random.chance(80_000);
        self.read_next(now, table, Writer { handle, record, to_read, rolls_back });
    }

    fn batch_of(&mut self, writer: &Writer) -> Batch {
        let mut batch = Batch::new();
        batch.transaction = Some(writer.handle);
        batch.timeout = self.timeout();
        batch
    }

    /// Reads the next lists under locks: all at once, or the next one.
    fn read_next(&mut self, now: Time, table: &Arc<Table>, mut writer: Writer) {
        let count = if self.random.chance(500_000) { writer.to_read.len() } else { 1 };
        let wanted: Vec<(u64, Lock)> = writer.to_read.drain(..count).collect();
        let mut batch = self.batch_of(&writer);
        for (key, lock) in &wanted {
            let added = batch.read_locked(table, key, *lock);
            self.evidence.added(added);
        }
        let keys = wanted.into_iter().map(|(key, _)| key).collect();
        self.submit(now, batch, Purpose::Read(Box::new(writer), keys));
    }

    /// Everything is read: appends, with the commit or before it.
    fn append(&mut self, now: Time, table: &Arc<Table>, mut writer: Writer) {
        let reads = &writer.record.reads;
        writer.record.appends.retain(|key| reads.get(key).is_some_and(|items| items.len() < LONGEST_LIST));
        let mut batch = self.batch_of(&writer);
        for key in &writer.record.appends {
            let mut items = writer.record.reads.get(key).cloned().unwrap_or_default();
            items.push(writer.record.number);
            let bytes = list_bytes(&items);
            let added = batch.upsert(table, &list_values(*key, &bytes), Expectation::Any);
            self.evidence.added(added);
        }
        if !writer.rolls_back && self.random.chance(500_000) {
            return self.finish(now, batch, writer);
        }
        if batch.is_empty() {
            return self.end(now, writer);
        }
        self.submit(now, batch, Purpose::Append(Box::new(writer)));
    }

    fn finish(&mut self, now: Time, mut batch: Batch, writer: Writer) {
        let added = batch.commit();
        self.evidence.added(added);
        self.submit(now, batch, Purpose::Finish(Box::new(writer)));
    }

    /// Commits or rolls back.
    fn end(&mut self, now: Time, writer: Writer) {
        let mut batch = self.batch_of(&writer);
        if !writer.rolls_back {
            return self.finish(now, batch, writer);
        }
        let added = batch.rollback();
        self.evidence.added(added);
        self.submit(now, batch, Purpose::Rollback);
    }

    /// A transaction that failed: its client says so, or just leaves.
    fn give_up(&mut self, now: Time, mut writer: Writer) {
        if self.random.chance(500_000) {
            writer.rolls_back = true;
            return self.end(now, writer);
        }
        self.core.forget(now, writer.handle);
        self.busy -= 1;
    }

    fn collect_answers(&mut self, now: Time) {
        while let Some(batch) = self.core.next_completed() {
            if let Some(purpose) = self.batches.remove(&batch.tag) {
                self.completed(now, &batch, purpose);
            } else if !self.abandoned {
                let detail = format!("batch {}", batch.tag);
                self.evidence.violate(Violation::new("every batch completes once", detail));
            }
        }
    }

    fn completed(&mut self, now: Time, batch: &Batch, purpose: Purpose) {
        let mut failed = false;
        for index in 0..batch.len() {
            if let Err(error) = batch.reply(index) {
                self.evidence.judge(&error, is_wrong_here);
                failed = true;
            }
        }
        match purpose {
            Purpose::Read(mut writer, keys) => {
                let Some(table) = self.table().filter(|_| !failed) else { return self.give_up(now, *writer) };
                for (index, key) in keys.into_iter().enumerate() {
                    let Some(items) = self.items(batch, index) else { return };
                    writer.record.reads.insert(key, items);
                }
                match writer.to_read.is_empty() {
                    true if self.random.chance(LINGERS) => {
                        let until = now + self.random.between(100, 1_200) * MILLISECOND;
                        self.lingering.push((until, writer));
                    }
                    true => self.append(now, &table, *writer),
                    false => self.read_next(now, &table, *writer),
                }
            }
            Purpose::Append(writer) if failed => self.give_up(now, *writer),
            Purpose::Append(writer) => self.end(now, *writer),
            Purpose::Finish(writer) => self.ended(now, batch, *writer),
            Purpose::Rollback => self.busy -= 1,
            Purpose::Resolve(mut record) => match batch.reply(0) {
                Ok(Reply::Resolved(Outcome::Committed { .. })) => {
                    record.responded = now;
                    self.committed(*record);
                }
                Ok(Reply::Resolved(_)) => self.busy -= 1,
                other => {
                    let transaction = other.err().and_then(|error| error.transaction);
                    self.unknown.push((transaction.unwrap_or_default(), record));
                }
            },
            Purpose::Look(keys, invoked) => {
                self.busy -= 1;
                for (index, key) in keys.into_iter().enumerate() {
                    if batch.reply(index).is_ok()
                        && let Some(items) = self.items(batch, index)
                    {
                        self.evidence.acknowledged += 1;
                        self.unlocked.push(UnlockedRead { key, invoked, responded: now, items });
                    }
                }
            }
            Purpose::Last if failed => self.want_last = true,
            Purpose::Last => {
                for key in 0..self.lists {
                    if let Some(items) = self.items(batch, key as usize) {
                        self.last.insert(key, items);
                    }
                }
            }
        }
    }

    /// The list that was read; empty when there is no row.
    fn items(&mut self, batch: &Batch, index: usize) -> Option<Vec<u64>> {
        let items = match batch.row(index) {
            Ok(Some(row)) => read_list(&row),
            Ok(None) => Ok(Vec::new()),
            Err(error) => Err(Violation::new("answers fit their questions", error.to_string())),
        };
        items.map_err(|violation| self.evidence.violate(violation)).ok()
    }

    fn committed(&mut self, record: AppendRecord) {
        self.evidence.acknowledged += 1;
        self.busy -= 1;
        self.records.push(record);
    }

    fn ended(&mut self, now: Time, batch: &Batch, mut writer: Writer) {
        match batch.ending(batch.len() - 1) {
            Ok(ending) if ending.committed => {
                writer.record.responded = now;
                self.committed(writer.record);
            }
            Ok(_) => {
                let detail = "a commit was answered as a roll-back".to_owned();
                self.evidence.violate(Violation::new("answers fit their questions", detail));
            }
            Err(error) if error.is(ErrorCode::OutcomeUnknown) => {
                self.unknown.push((error.transaction.unwrap_or_default(), Box::new(writer.record)));
            }
            Err(_) => self.busy -= 1,
        }
    }
}

/// Whether no operation of this client can rightly end with this error.
fn is_wrong_here(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::RowNotFound
            | ErrorCode::VersionMismatch
            | ErrorCode::DuplicateKey
            | ErrorCode::UnknownTransaction
    )
}

impl Client for AppendClient {
    fn evidence(&mut self) -> &mut Evidence {
        &mut self.evidence
    }

    fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn active_tables(&self) -> Vec<u32> {
        register_tables(&self.core).map(|table| table.id()).collect()
    }

    fn is_idle(&self) -> bool {
        self.is_idle_but_for_unknown()
            && self.unknown.is_empty()
            && self.batches.is_empty()
            && (self.core.is_idle() || self.job.is_some())
            && self.core.unknown_outcomes() == 0
            && self.core.unresolved_numbers() == 0
    }

    fn is_idle_but_for_unknown(&self) -> bool {
        let asks = |purpose: &Purpose| matches!(purpose, Purpose::Resolve(_));
        let open = self.want_last || !self.lingering.is_empty();
        self.found && self.batches.values().all(asks) && !open
    }

    fn describe_open(&self) -> String {
        let batches: Vec<_> = self.batches.values().take(3).collect();
        format!(
            "{} transactions, {} outcomes to ask for, {} unknown and {} unresolved in the core, idle {}, {} batches: {batches:?}",
            self.busy,
            self.unknown.len(),
            self.core.unknown_outcomes(),
            self.core.unresolved_numbers(),
            self.core.is_idle(),
            self.batches.len(),
        )
    }

    fn abandon(&mut self) {
        for purpose in std::mem::take(&mut self.batches).into_values() {
            match purpose {
                Purpose::Finish(writer) => self.records.push(writer.record),
                Purpose::Resolve(record) => self.records.push(*record),
                Purpose::Read(..)
                | Purpose::Append(_)
                | Purpose::Rollback
                | Purpose::Look(..)
                | Purpose::Last => {}
            }
        }
        self.records.extend(std::mem::take(&mut self.unknown).into_iter().map(|(_, record)| *record));
        self.lingering.clear();
        self.abandoned = true;
        self.mode = Mode::Wait;
    }
}

impl Application for AppendClient {
    application_fields!();

    fn housekeeping(&mut self, now: Time) {
        self.prepare(now);
    }

    fn collect(&mut self, now: Time) {
        self.collect_answers(now);
    }

    fn issue(&mut self, now: Time) {
        self.issue_due(now);
    }

    fn next_issue(&self) -> Time {
        let room = self.mode == Mode::Traffic && self.busy < self.concurrency && self.table().is_some();
        let lingering = self.lingering.iter().map(|(until, _)| *until).min().unwrap_or(Time::MAX);
        if room { self.issue_at.min(lingering) } else { lingering }
    }
}
