//! A client that moves money between accounts in transactions, through the client's core: reads under locks, blind
//! increments, audits, roll-backs, transactions given up in the middle, and one-pass increments in between.

use super::client::{Client, Evidence, Mode, register_tables};
use crate::checker::BankRecord;
use crate::history::Violation;
use crate::process::application::{Application, application_fields};
use crate::queue::{MILLISECOND, SECOND, Time};
use crate::random::Random;
use crate::workload::{
    BANK, BankRow, DATABASE, FIRST_BALANCE, FIRST_SAVINGS, SAVINGS, bank_definition, bank_keys, bank_program,
    bank_values, read_bank,
};
use duet_client_core::{
    Batch, ClientConfiguration, ClientCore, Expectation, JobId, Lock, Outcome, Reply, Table,
    TransactionHandle,
};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::TransactionId;
use duet_protocol::layout::TableLayout;
use duet_protocol::update::Assignment;
use duet_protocol::value::ValueRef;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Time for the bank's table to be created.
const CREATE_WITHIN: Time = 10 * SECOND;

/// How a transaction is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    Rollback,
    /// Its client just stops.
    Forget,
    /// By an operation that must fail.
    Fail,
}

/// A transaction under way.
#[derive(Clone, Debug)]
struct Clerk {
    handle: TransactionHandle,
    record: BankRecord,
    rows: BTreeMap<u64, Option<BankRow>>,
    /// Keys to be read one batch after the other; the first ones come next.
    to_read: Vec<u64>,
    /// Highest epoch that its client had seen when it asked for the commit.
    known: u64,
    lock: Lock,
    end: End,
    audit: bool,
}

/// What a batch is for.
#[derive(Clone, Debug)]
enum Purpose {
    Fill,
    LookAround,
    Touch,
    Read(Box<Clerk>, Vec<u64>),
    Write(Box<Clerk>),
    /// The last operation commits or rolls back.
    Finish(Box<Clerk>),
    /// Everything at once, without having read.
    Blind(Box<Clerk>),
    ResolveTouch,
    Resolve(Box<BankRecord>),
    Last,
}

/// A client of the bank.
pub struct BankClient {
    core: ClientCore,
    evidence: Evidence,
    random: Random,
    /// Number among the bankers; the first one opens the bank.
    banker: u32,
    accounts: u64,
    clerks: usize,
    think: Time,
    mode: Mode,
    job: Option<JobId>,
    created: bool,
    open: bool,
    batches: BTreeMap<u64, Purpose>,
    next_tag: u64,
    stamps: u64,
    busy: usize,
    issue_at: Time,
    wake_at: Time,
    /// Highest epoch seen.
    known: u64,
    /// Outcomes to be asked for.
    unknown: Vec<(TransactionId, Option<Box<BankRecord>>)>,
    want_last: bool,
    last: BTreeMap<u64, BankRow>,
    /// Increments outside of transactions that happened.
    pub touched: u64,
    /// Transactions that are committed, or may be.
    pub records: Vec<BankRecord>,
    abandoned: bool,
}

impl BankClient {
    /// A client that has not contacted anyone yet: number of accounts, transactions at once, and mean pause.
    pub fn new(
        random: Random,
        banker: u32,
        (accounts, clerks, think): (u64, usize, Time),
        configuration: ClientConfiguration,
        now: Time,
    ) -> BankClient {
        BankClient {
            core: ClientCore::new(configuration, now),
            evidence: Evidence::default(),
            random,
            banker,
            accounts,
            clerks,
            think,
            mode: Mode::Wait,
            job: None,
            created: false,
            open: false,
            batches: BTreeMap::new(),
            next_tag: 1,
            stamps: 0,
            busy: 0,
            issue_at: 0,
            wake_at: 0,
            known: 0,
            unknown: Vec::new(),
            want_last: false,
            last: BTreeMap::new(),
            touched: 0,
            records: Vec::new(),
            abandoned: false,
        }
    }

    /// Begins to read all rows of the bank without locks.
    pub fn read_last(&mut self) {
        self.want_last = true;
    }

    /// The rows that were read so.
    pub fn last_rows(&mut self) -> BTreeMap<u64, BankRow> {
        std::mem::take(&mut self.last)
    }

    /// Id and layout of the bank's table.
    pub fn bank_table(&self) -> Option<(u32, TableLayout)> {
        let table = self.table()?;
        let layout = TableLayout::new(table.definition()).ok()?;
        Some((table.id(), layout))
    }

    fn table(&self) -> Option<Arc<Table>> {
        self.core.table(DATABASE, BANK)
    }

    fn submit(&mut self, now: Time, mut batch: Batch, mut purpose: Purpose) {
        if let Purpose::Finish(clerk) | Purpose::Blind(clerk) = &mut purpose {
            clerk.known = self.known;
        }
        batch.tag = self.next_tag;
        self.next_tag += 1;
        self.batches.insert(batch.tag, purpose);
        self.core.submit(now, Box::new(batch));
    }

    /// Opens the bank: table, accounts; then waits until all accounts are there.
    fn prepare(&mut self, now: Time) {
        while let Some((id, result)) = self.core.next_finished_job() {
            if self.job == Some(id) {
                self.job = None;
                let exists = result.as_ref().is_err_and(|error| error.is(ErrorCode::TableExists));
                self.created |= exists || (result.is_ok() && self.banker == 0);
            }
        }
        if self.job.is_some() || !self.batches.is_empty() {
            return;
        }
        if self.open {
            // Tables of others are seen when somebody looks.
            if self.mode == Mode::Wait && !self.abandoned && now >= self.issue_at {
                self.issue_at = now + 100 * MILLISECOND;
                self.job = Some(self.core.refresh(now, CREATE_WITHIN));
            }
            return;
        }
        let Some(table) = self.table() else {
            if now >= self.issue_at {
                self.issue_at = now + 20 * MILLISECOND;
                self.job = Some(if self.banker == 0 && !self.created {
                    self.core.create_table(now, CREATE_WITHIN, &bank_definition())
                } else {
                    self.core.refresh(now, CREATE_WITHIN)
                });
            }
            return;
        };
        if now < self.issue_at {
            return;
        }
        self.issue_at = now + 5 * MILLISECOND;
        let mut batch = Batch::new();
        if self.banker == 0 {
            for key in 0..self.accounts {
                let row = BankRow { balance: FIRST_BALANCE, stamp: 0, touches: 0 };
                let added = batch.upsert(&table, &bank_values(key, row), Expectation::Any);
                self.evidence.added(added);
            }
            return self.submit(now, batch, Purpose::Fill);
        }
        for key in 0..self.accounts {
            let added = batch.read(&table, &key);
            self.evidence.added(added);
        }
        self.submit(now, batch, Purpose::LookAround);
    }

    fn issue_due(&mut self, now: Time) {
        for (transaction, record) in std::mem::take(&mut self.unknown) {
            let mut batch = Batch::new();
            batch.timeout = self.random.between(1, 400) * MILLISECOND;
            let added = batch.resolve(transaction);
            self.evidence.added(added);
            self.submit(now, batch, record.map_or(Purpose::ResolveTouch, Purpose::Resolve));
        }
        let Some(table) = self.table().filter(|_| self.open) else { return };
        if std::mem::take(&mut self.want_last) {
            let mut batch = Batch::new();
            for key in bank_keys(self.accounts) {
                let added = batch.read(&table, &key);
                self.evidence.added(added);
            }
            self.submit(now, batch, Purpose::Last);
        }
        if self.mode != Mode::Traffic || now < self.issue_at || self.busy >= self.clerks {
            return;
        }
        self.issue_at = now + self.random.around(self.think);
        self.busy += 1;
        if self.random.chance(150_000) {
            let key = self.random.below(self.accounts);
            let program = bank_program(table.layout(), None, None, 1);
            let mut batch = Batch::new();
            batch.timeout = self.timeout();
            let added = self.encoded(&table, key);
            let added = batch.update_program(&table, &added, &program, Expectation::Any);
            self.evidence.added(added);
            return self.submit(now, batch, Purpose::Touch);
        }
        self.begin(now, &table);
    }

    fn timeout(&mut self) -> Time {
        *self.random.pick(&[20 * MILLISECOND, 300 * MILLISECOND, 3 * SECOND, 5 * SECOND])
    }

    fn encoded(&self, table: &Table, key: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let encoded = table.layout().encode_key(&[ValueRef::UInt(key)], &mut bytes);
        debug_assert!(encoded.is_ok(), "keys fit");
        bytes
    }

    fn shuffled(&mut self, mut keys: Vec<u64>) -> Vec<u64> {
        for index in (1..keys.len()).rev() {
            let other = self.random.below(index as u64 + 1) as usize;
            keys.swap(index, other);
        }
        keys
    }

    fn begin(&mut self, now: Time, table: &Arc<Table>) {
        let tries = self.random.below(3) as u32;
        let Some(handle) = self.core.begin_again(tries) else { return };
        self.stamps += 1;
        let stamp = (u64::from(self.banker) + 1) << 40 | self.stamps;
        let audit = self.random.chance(150_000);
        let first = self.random.below(self.accounts);
        let second = match self.random.chance(250_000) {
            true => FIRST_SAVINGS + self.random.below(SAVINGS),
            false => (first + 1 + self.random.below(self.accounts - 1)) % self.accounts,
        };
        let end = match self.random.below(16) {
            0 => End::Rollback,
            1 => End::Forget,
            2 => End::Fail,
            _ => End::Commit,
        };
        let record = BankRecord {
            stamp,
            invoked: now,
            responded: Time::MAX,
            reads: BTreeMap::new(),
            writes: BTreeSet::new(),
        };
        let lock = if audit || self.random.chance(200_000) { Lock::Shared } else { Lock::Exclusive };
        let mut clerk =
            Clerk { handle, record, rows: BTreeMap::new(), to_read: Vec::new(), known: 0, lock, end, audit };
        if audit {
            clerk.to_read = self.shuffled(bank_keys(self.accounts));
            return self.read_next(now, table, clerk);
        }
        if second < FIRST_SAVINGS && self.random.chance(250_000) {
            let amount = self.random.between(1, 50) as i64;
            let mut batch = self.batch_of(&clerk);
            for (key, amount) in [(first, -amount), (second, amount)] {
                let program = bank_program(
                    table.layout(),
                    Some(Assignment::Add(ValueRef::Int(amount))),
                    Some(stamp),
                    0,
                );
                let encoded = self.encoded(table, key);
                let added = batch.update_program(table, &encoded, &program, Expectation::Any);
                self.evidence.added(added);
                clerk.record.writes.insert(key);
            }
            clerk.end = End::Commit;
            let added = batch.commit();
            self.evidence.added(added);
            return self.submit(now, batch, Purpose::Blind(Box::new(clerk)));
        }
        clerk.to_read = vec![first, second];
        if self.random.chance(500_000) {
            clerk.to_read.sort_unstable();
        }
        self.read_next(now, table, clerk);
    }

    fn batch_of(&mut self, clerk: &Clerk) -> Batch {
        let mut batch = Batch::new();
        batch.transaction = Some(clerk.handle);
        batch.timeout = self.timeout();
        batch
    }

    /// Reads the next keys under locks: all at once, or the next one.
    fn read_next(&mut self, now: Time, table: &Arc<Table>, mut clerk: Clerk) {
        let count = if self.random.chance(500_000) { clerk.to_read.len() } else { 1 };
        let keys: Vec<u64> = clerk.to_read.drain(..count).collect();
        let mut batch = self.batch_of(&clerk);
        for key in &keys {
            let added = batch.read_locked(table, key, clerk.lock);
            self.evidence.added(added);
        }
        self.submit(now, batch, Purpose::Read(Box::new(clerk), keys));
    }

    fn write(&mut self, now: Time, table: &Arc<Table>, mut clerk: Clerk) {
        let mut batch = self.batch_of(&clerk);
        let stamp = clerk.record.stamp;
        let rows: Vec<(u64, Option<BankRow>)> = clerk.rows.iter().map(|(key, row)| (*key, *row)).collect();
        let (Some((first, Some(mine))), Some((second, theirs))) =
            (rows.first().copied(), rows.get(1).copied())
        else {
            let detail = format!("accounts are missing: {rows:?}");
            return self.evidence.violate(Violation::new("money is neither made nor lost", detail));
        };
        let amount = self.random.between(1, 50) as i64;
        let mut change = |client: &mut BankClient, key: u64, before: BankRow, balance: i64| {
            let row = BankRow { balance, stamp, ..before };
            let added = if client.random.chance(300_000) {
                batch.upsert(table, &bank_values(key, row), Expectation::Any)
            } else {
                let balance = Assignment::Set(ValueRef::Int(balance));
                let program = bank_program(table.layout(), Some(balance), Some(stamp), 0);
                let encoded = client.encoded(table, key);
                batch.update_program(table, &encoded, &program, Expectation::Any)
            };
            client.evidence.added(added);
        };
        match theirs {
            Some(theirs) if second < FIRST_SAVINGS => {
                change(self, first, mine, mine.balance - amount);
                change(self, second, theirs, theirs.balance + amount);
            }
            Some(theirs) => {
                change(self, first, mine, mine.balance + theirs.balance);
                let added = batch.delete(table, &second, Expectation::Any);
                self.evidence.added(added);
            }
            None => {
                change(self, first, mine, mine.balance - amount);
                let row = BankRow { balance: amount, stamp, touches: 0 };
                let added = batch.insert(table, &bank_values(second, row));
                self.evidence.added(added);
            }
        }
        clerk.record.writes = BTreeSet::from([first, second]);
        if clerk.end == End::Fail {
            let added = batch.insert(table, &bank_values(first, mine));
            self.evidence.added(added);
        }
        if clerk.end == End::Commit && self.random.chance(500_000) {
            let added = batch.commit();
            self.evidence.added(added);
            return self.submit(now, batch, Purpose::Finish(Box::new(clerk)));
        }
        self.submit(now, batch, Purpose::Write(Box::new(clerk)));
    }

    fn finish(&mut self, now: Time, clerk: Clerk) {
        if clerk.end == End::Forget {
            self.core.forget(now, clerk.handle);
            self.busy -= 1;
            return;
        }
        let mut batch = self.batch_of(&clerk);
        let added = if clerk.end == End::Commit { batch.commit() } else { batch.rollback() };
        self.evidence.added(added);
        self.submit(now, batch, Purpose::Finish(Box::new(clerk)));
    }

    /// A transaction that failed: its client says so, or just leaves.
    fn give_up(&mut self, now: Time, mut clerk: Clerk) {
        clerk.end = if self.random.chance(500_000) { End::Rollback } else { End::Forget };
        self.finish(now, clerk);
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
        self.see_epochs(batch);
        let table = self.table();
        match purpose {
            Purpose::Fill => self.open |= !failed,
            Purpose::LookAround => {
                let missing = (0..batch.len()).any(|index| !matches!(batch.row(index), Ok(Some(_))));
                self.open |= !missing;
            }
            Purpose::Touch => match batch.written(0) {
                Ok(_) => self.touch_done(),
                Err(error) if error.is(ErrorCode::OutcomeUnknown) => {
                    self.unknown.push((error.transaction.unwrap_or_default(), None));
                }
                Err(_) => self.busy -= 1,
            },
            Purpose::ResolveTouch => match batch.reply(0) {
                Ok(Reply::Resolved(Outcome::Committed { .. })) => self.touch_done(),
                Ok(Reply::Resolved(_)) => self.busy -= 1,
                _ => self.ask_again(batch, None),
            },
            Purpose::Read(mut clerk, keys) => {
                if failed || table.is_none() {
                    return self.give_up(now, *clerk);
                }
                self.note_rows(batch, &mut clerk, &keys);
                let Some(table) = table else { return };
                match (clerk.to_read.is_empty(), clerk.audit) {
                    (false, _) => self.read_next(now, &table, *clerk),
                    (true, true) => self.finish(now, *clerk),
                    (true, false) => self.write(now, &table, *clerk),
                }
            }
            Purpose::Write(clerk) => {
                if failed {
                    return self.give_up(now, *clerk);
                }
                if clerk.end == End::Fail {
                    let detail = "an insert of an account that exists".to_owned();
                    self.evidence.violate(Violation::new("answers fit their questions", detail));
                }
                self.finish(now, *clerk);
            }
            Purpose::Finish(clerk) | Purpose::Blind(clerk) => self.ended(now, batch, *clerk),
            Purpose::Resolve(mut record) => match batch.reply(0) {
                Ok(Reply::Resolved(Outcome::Committed { .. })) => {
                    record.responded = now;
                    self.committed(*record);
                }
                Ok(Reply::Resolved(_)) => self.busy -= 1,
                _ => self.ask_again(batch, Some(record)),
            },
            Purpose::Last => {
                if failed {
                    self.want_last = true;
                    return;
                }
                for (index, key) in bank_keys(self.accounts).into_iter().enumerate() {
                    if let Ok(Some(row)) = batch.row(index)
                        && let Ok(row) = read_bank(&row)
                    {
                        self.last.insert(key, row);
                    }
                }
            }
        }
    }

    /// Remembers the highest epoch that the answers show.
    fn see_epochs(&mut self, batch: &Batch) {
        for index in 0..batch.len() {
            let epoch = match batch.reply(index) {
                Ok(Reply::Row { version, .. }) => version.epoch,
                Ok(Reply::Written(written)) => written.version.epoch,
                Ok(_) | Err(_) => batch.ending(index).map_or(0, |ending| ending.epoch),
            };
            self.known = self.known.max(epoch);
        }
    }

    fn ask_again(&mut self, batch: &Batch, record: Option<Box<BankRecord>>) {
        let transaction = batch.reply(0).err().and_then(|error| error.transaction);
        self.unknown.push((transaction.unwrap_or_default(), record));
    }

    fn touch_done(&mut self) {
        self.touched += 1;
        self.evidence.acknowledged += 1;
        self.busy -= 1;
    }

    fn committed(&mut self, record: BankRecord) {
        self.evidence.acknowledged += 1;
        self.busy -= 1;
        self.records.push(record);
    }

    /// Rows read under locks.
    fn note_rows(&mut self, batch: &Batch, clerk: &mut Clerk, keys: &[u64]) {
        for (index, key) in keys.iter().enumerate() {
            let row = match batch.reply(index) {
                Ok(Reply::Row { version, row }) => {
                    let hash = self.table().map_or(0, |table| table.layout().partition_hash(row.key()));
                    let partition = self.core.state().and_then(|state| state.partition_of(hash));
                    if let Some(partition) = partition {
                        self.evidence.told.push((partition, version.seq));
                    }
                    match read_bank(&row) {
                        Ok(row) => Some(row),
                        Err(violation) => return self.evidence.violate(violation),
                    }
                }
                _ => None,
            };
            clerk.rows.insert(*key, row);
            clerk.record.reads.insert(*key, row.map(|row| row.stamp));
        }
    }

    fn ended(&mut self, now: Time, batch: &Batch, mut clerk: Clerk) {
        let last = batch.len() - 1;
        match batch.ending(last) {
            Ok(ending) if ending.committed => {
                clerk.record.responded = now;
                if ending.epoch != 0 && ending.epoch < clerk.known {
                    let detail = format!(
                        "stamp {:x} is committed in epoch {}, its client had seen one of epoch {} before",
                        clerk.record.stamp, ending.epoch, clerk.known
                    );
                    self.evidence.violate(Violation::new("a cut at an epoch is causally closed", detail));
                }
                if clerk.audit {
                    let money: i64 = clerk.rows.values().flatten().map(|row| row.balance).sum();
                    if money != FIRST_BALANCE * self.accounts as i64 {
                        let detail = format!("an audit found {money}: {:?}", clerk.rows);
                        let violation = Violation::new("money is neither made nor lost", detail);
                        self.evidence.violate(violation);
                    }
                }
                self.committed(clerk.record);
            }
            Ok(_) => {
                if clerk.end == End::Commit {
                    let detail = "a commit was answered as a roll-back".to_owned();
                    self.evidence.violate(Violation::new("answers fit their questions", detail));
                }
                self.evidence.acknowledged += 1;
                self.busy -= 1;
            }
            Err(error) if error.is(ErrorCode::OutcomeUnknown) => {
                let record = Some(Box::new(clerk.record));
                self.unknown.push((error.transaction.unwrap_or_default(), record));
            }
            Err(_) => self.busy -= 1,
        }
    }
}

/// Whether no operation of this client can rightly end with this error.
fn is_wrong_here(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::RowNotFound | ErrorCode::VersionMismatch | ErrorCode::UnknownTransaction)
}

impl Client for BankClient {
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
            && (self.core.is_idle() || (self.open && self.job.is_some()))
            && self.core.unknown_outcomes() == 0
            && self.core.unresolved_numbers() == 0
    }

    fn is_idle_but_for_unknown(&self) -> bool {
        let asks = |purpose: &Purpose| matches!(purpose, Purpose::Resolve(_) | Purpose::ResolveTouch);
        self.open && self.batches.values().all(asks) && !self.want_last
    }

    fn describe_open(&self) -> String {
        let batches: Vec<_> = self.batches.values().take(3).collect();
        format!(
            "bank open {}, {} busy, {} outcomes to ask for, {} unknown and {} unresolved in the core, idle {}, {} batches: {batches:?}",
            self.open,
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
                Purpose::Finish(clerk) | Purpose::Blind(clerk) => self.records.push(clerk.record),
                Purpose::Resolve(record) => self.records.push(*record),
                _ => {}
            }
        }
        for (_, record) in std::mem::take(&mut self.unknown) {
            self.records.extend(record.map(|record| *record));
        }
        self.abandoned = true;
        self.mode = Mode::Wait;
    }
}

impl Application for BankClient {
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
        let room = self.open && self.mode == Mode::Traffic && self.busy < self.clerks;
        if room { self.issue_at } else { Time::MAX }
    }
}
