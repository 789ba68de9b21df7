//! A client of the table that gets columns while it is in use. It keeps a handle of every version that it has seen and uses them
//! all. Most rows are its own, so that it knows at any time what must be there in which column; a few are incremented by everybody.

use super::client::{Client, Evidence, Mode, register_tables};
use crate::history::Violation;
use crate::process::application::{Application, application_fields};
use crate::queue::{MICROSECOND, MILLISECOND, SECOND, Time};
use crate::random::Random;
use crate::workload::{
    ADDED_COLUMNS, COLUMN_OF_NUMBER, COLUMN_OF_TIME, COLUMNS, DATABASE, FIRST_COLUMNS, FIRST_SHARED,
    SHARED_ROWS, added_column, columns_definition, default_of, is_number, value_of,
};
use duet_client_core::{
    Batch, ClientConfiguration, ClientCore, Error, Expectation, JobId, Lock, Outcome, Reply, Table,
};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::TransactionId;
use duet_protocol::update::Assignment;
use duet_protocol::value::{AsValue, Value, ValueRef};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Time for a change of the table.
const CHANGE_WITHIN: Time = 10 * SECOND;
/// Rows of a client.
const ROWS: usize = 6;
/// Columns in the end.
const ALL_COLUMNS: usize = FIRST_COLUMNS + ADDED_COLUMNS;

/// The values of a row in all columns, those included that are not there yet. That of the key is left out.
type Values = [Value; ALL_COLUMNS];

/// An operation on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Read,
    /// Writes all columns that the handle knows.
    Put {
        number: i64,
    },
    /// Writes some columns, one bit for each.
    Set {
        number: i64,
        columns: u32,
    },
    Delete,
}

/// An operation on a row of its own, with a handle that knows so many columns.
#[derive(Clone, Copy, Debug)]
struct Step {
    row: usize,
    columns: usize,
    action: Action,
}

impl Step {
    /// Whether it makes a row, maybe without the column that takes the time.
    fn may_lack_a_time(&self) -> bool {
        matches!(self.action, Action::Put { .. }) && self.columns <= COLUMN_OF_TIME
    }
}

/// Writes whose outcome may have to be asked for.
#[derive(Clone, Debug)]
enum Written {
    Steps(Vec<Step>),
    Increment { row: u64, column: usize },
}

/// What a batch is for.
#[derive(Clone, Debug)]
enum Purpose {
    /// The shared rows are inserted.
    Fill,
    /// Operations of rows, each for itself.
    Single(Vec<Step>),
    /// Operations of rows and a commit.
    Transaction(Vec<Step>),
    Increment {
        row: u64,
        column: usize,
    },
    Resolve(Written),
    /// A new row with the oldest handle, which lacks the column that takes the time.
    Lacking,
    /// All rows of its own, with the newest handle.
    Last,
    /// The shared rows.
    LastShared,
}

/// The job under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Create(JobId),
    Add(JobId),
    Refresh(JobId),
}

/// A client of the table that gets columns.
pub struct ColumnClient {
    core: ClientCore,
    evidence: Evidence,
    random: Random,
    /// Number among its kind; the first one creates the table and adds the columns.
    number: u32,
    think: Time,
    /// Mean time between two looks for new versions.
    looks_every: Time,
    mode: Mode,
    job: Option<Job>,
    filled: bool,
    /// Handles, oldest first.
    tables: Vec<Arc<Table>>,
    rows: [Option<Box<Values>>; ROWS],
    busy: [bool; ROWS],
    batches: BTreeMap<u64, Purpose>,
    next_tag: u64,
    writes: i64,
    add_at: Time,
    look_at: Time,
    issue_at: Time,
    wake_at: Time,
    unknown: Vec<(TransactionId, Written)>,
    want_last: bool,
    abandoned: bool,
    /// Transactions that begin at once with the newest handle: nodes that have not heard of a version that others use
    /// already must take it.
    eager: u32,
    /// Columns that it has added.
    pub added: u64,
    /// Increments that happened, by row and column.
    pub counted: BTreeMap<(u64, usize), i64>,
    /// The shared rows at the end: by row and column what was added to the column's default.
    pub last: BTreeMap<(u64, usize), i64>,
}

impl ColumnClient {
    /// A client that has not contacted anyone yet, with its mean pause.
    pub fn new(
        mut random: Random,
        number: u32,
        think: Time,
        configuration: ClientConfiguration,
        now: Time,
    ) -> ColumnClient {
        ColumnClient {
            core: ClientCore::new(configuration, now),
            evidence: Evidence::default(),
            looks_every: *random.pick(&[1, 10, 100]) * MILLISECOND,
            random,
            number,
            think,
            mode: Mode::Wait,
            job: None,
            filled: number > 0,
            tables: Vec::new(),
            rows: Default::default(),
            busy: [false; ROWS],
            batches: BTreeMap::new(),
            next_tag: 1,
            writes: 0,
            add_at: 0,
            look_at: 0,
            issue_at: 0,
            wake_at: 0,
            unknown: Vec::new(),
            want_last: false,
            abandoned: false,
            eager: 0,
            added: 0,
            counted: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    /// Begins to read all rows.
    pub fn read_last(&mut self) {
        self.want_last = true;
    }

    fn key(&self, row: usize) -> u64 {
        u64::from(self.number) * 1_000 + row as u64
    }

    fn submit(&mut self, now: Time, mut batch: Batch, purpose: Purpose) {
        batch.tag = self.next_tag;
        self.next_tag += 1;
        batch.timeout = *self.random.pick(&[50 * MILLISECOND, 500 * MILLISECOND, 5 * SECOND]);
        self.batches.insert(batch.tag, purpose);
        self.core.submit(now, Box::new(batch));
    }

    /// Keeps a handle of each version.
    fn look_at_table(&mut self, now: Time) {
        let Some(table) = self.core.table(DATABASE, COLUMNS) else { return };
        if self.tables.last().is_none_or(|known| known.version() < table.version()) {
            self.tables.push(table);
            (self.eager, self.issue_at) = (3, now);
        }
    }

    /// Creates the table, or waits until it is there; adds columns; looks for new versions and for tables of others.
    fn prepare(&mut self, now: Time) {
        while let Some((id, result)) = self.core.next_finished_job() {
            match self.job {
                Some(Job::Create(job) | Job::Refresh(job)) if job == id => {}
                Some(Job::Add(job)) if job == id => match result {
                    Ok(_) => self.added += 1,
                    // It may be there since a try that took too long.
                    Err(error) if error.is(ErrorCode::InvalidSchema) => self.look_at = 0,
                    Err(error) => self.evidence.judge(&error, is_wrong_here),
                },
                _ => continue,
            }
            self.job = None;
        }
        self.look_at_table(now);
        if self.job.is_some() || self.abandoned {
            return;
        }
        let Some(newest) = self.tables.last().cloned() else {
            if now >= self.look_at {
                self.look_at = now + 20 * MILLISECOND;
                self.job = Some(match self.number {
                    0 => Job::Create(self.core.create_table(now, CHANGE_WITHIN, &columns_definition())),
                    _ => Job::Refresh(self.core.refresh(now, CHANGE_WITHIN)),
                });
            }
            return;
        };
        let columns = newest.definition().columns.len();
        let adds = self.number == 0 && self.mode == Mode::Traffic && columns < ALL_COLUMNS;
        if adds && now >= self.add_at && now >= self.look_at {
            self.add_at = now + self.random.around(8 * MILLISECOND);
            let column = added_column(columns);
            self.job = Some(Job::Add(self.core.add_column(now, CHANGE_WITHIN, &newest, &column)));
        } else if now >= self.look_at && self.mode != Mode::Finish {
            let every = if self.mode == Mode::Wait { 100 * MILLISECOND } else { self.looks_every };
            self.look_at = now + self.random.around(every);
            self.job = Some(Job::Refresh(self.core.refresh(now, CHANGE_WITHIN)));
        }
    }

    fn issue_due(&mut self, now: Time) {
        for (transaction, written) in std::mem::take(&mut self.unknown) {
            let mut batch = Batch::new();
            let added = batch.resolve(transaction);
            self.evidence.added(added);
            self.submit(now, batch, Purpose::Resolve(written));
        }
        let Some(newest) = self.tables.last().cloned() else { return };
        if now < self.issue_at {
            return;
        }
        if !self.filled && self.batches.is_empty() {
            self.issue_at = now + 5 * MILLISECOND;
            return self.fill(now);
        }
        if self.want_last && self.batches.is_empty() {
            self.want_last = false;
            return self.ask_for_last(now, &newest);
        }
        if self.mode != Mode::Traffic || !self.filled || self.batches.len() >= ROWS {
            return;
        }
        self.issue_at = now + self.random.around(self.think);
        if self.eager > 0 {
            self.issue_at = now + MICROSECOND;
        } else if self.random.chance(200_000) {
            return self.increment(now);
        }
        let mut free: Vec<usize> = (0..ROWS).filter(|row| !self.busy[*row]).collect();
        let wanted = self.random.between(1, 3).min(free.len() as u64);
        if wanted == 0 {
            return;
        }
        let rows: Vec<usize> =
            (0..wanted).map(|_| free.swap_remove(self.random.below(free.len() as u64) as usize)).collect();
        let handle = match self.eager > 0 || self.random.chance(400_000) {
            true => match self.core.begin() {
                Some(handle) => Some(handle),
                None => return,
            },
            false => None,
        };
        let mut batch = Batch::new();
        batch.transaction = handle;
        let steps: Vec<Step> = rows.into_iter().map(|row| self.add_step(&mut batch, row)).collect();
        let purpose = match handle {
            Some(_) => {
                let added = batch.commit();
                self.evidence.added(added);
                Purpose::Transaction(steps)
            }
            None => Purpose::Single(steps),
        };
        self.eager = self.eager.saturating_sub(1);
        self.submit(now, batch, purpose);
    }

    fn fill(&mut self, now: Time) {
        // An older one may lack the column that new rows must have.
        let Some(table) = self.tables.last().cloned() else { return };
        let mut batch = Batch::new();
        for row in 0..SHARED_ROWS {
            let mut values: Vec<Value> = vec![Value::UInt(FIRST_SHARED + row), Value::Int(0)];
            values.extend((values.len()..table.definition().columns.len()).map(default_of));
            let added = batch.insert(&table, &values);
            self.evidence.added(added);
        }
        self.submit(now, batch, Purpose::Fill);
    }

    fn ask_for_last(&mut self, now: Time, newest: &Arc<Table>) {
        let oldest = Arc::clone(&self.tables[0]);
        let lacks = oldest.definition().columns.len() <= COLUMN_OF_TIME;
        if lacks && newest.definition().columns.len() > COLUMN_OF_TIME {
            let mut batch = Batch::new();
            let mut values = vec![Value::UInt(self.key(ROWS))];
            values.extend((1..oldest.definition().columns.len()).map(|column| value_of(column, 1)));
            let added = match self.random.chance(500_000) {
                true => batch.insert(&oldest, &values),
                false => batch.upsert(&oldest, &values, Expectation::Any),
            };
            self.evidence.added(added);
            self.submit(now, batch, Purpose::Lacking);
        }
        let mut batch = Batch::new();
        for row in 0..ROWS {
            let added = batch.read(newest, &self.key(row));
            self.evidence.added(added);
        }
        self.submit(now, batch, Purpose::Last);
        let mut batch = Batch::new();
        for row in 0..SHARED_ROWS {
            let added = batch.read(newest, &(FIRST_SHARED + row));
            self.evidence.added(added);
        }
        self.submit(now, batch, Purpose::LastShared);
    }

    /// A handle: often the newest.
    fn handle(&mut self) -> Arc<Table> {
        let newest = self.tables.len() - 1;
        let chosen = if self.eager > 0 || self.random.chance(500_000) {
            newest
        } else {
            self.random.below(self.tables.len() as u64) as usize
        };
        Arc::clone(&self.tables[chosen])
    }

    fn increment(&mut self, now: Time) {
        let table = self.handle();
        let numbers: Vec<usize> =
            (0..table.definition().columns.len()).filter(|column| is_number(*column)).collect();
        let (row, column) = (self.random.below(SHARED_ROWS), *self.random.pick(&numbers));
        let mut batch = Batch::new();
        let add = [(column as u16, Assignment::Add(ValueRef::Int(1)))];
        let added = batch.update(&table, &(FIRST_SHARED + row), &add, Expectation::Any);
        self.evidence.added(added);
        self.submit(now, batch, Purpose::Increment { row, column });
    }

    fn add_step(&mut self, batch: &mut Batch, row: usize) -> Step {
        let table = self.handle();
        let (columns, key) = (table.definition().columns.len(), self.key(row));
        self.writes += 1;
        let number = self.writes * 100 + i64::from(self.number);
        let action = match self.random.below(10) {
            0..3 => Action::Read,
            3 => Action::Delete,
            4..7 if self.rows[row].is_some() => {
                let some = self.random.below(1 << columns) as u32 & !1;
                Action::Set { number, columns: some | 1 << COLUMN_OF_NUMBER }
            }
            _ => Action::Put { number },
        };
        let added = match action {
            Action::Read if batch.transaction.is_some() => {
                batch.read_locked(&table, &key, *self.random.pick(&[Lock::Shared, Lock::Exclusive]))
            }
            Action::Read => batch.read(&table, &key),
            Action::Delete => batch.delete(&table, &key, Expectation::Any),
            Action::Put { number } => {
                let mut values = vec![Value::UInt(key)];
                values.extend((1..columns).map(|column| value_of(column, number)));
                batch.upsert(&table, &values, Expectation::Any)
            }
            Action::Set { number, columns } => {
                let set = columns_of(columns).map(|column| (column as u16, value_of(column, number)));
                let set: Vec<(u16, Value)> = set.collect();
                let set: Vec<_> =
                    set.iter().map(|(column, value)| (*column, Assignment::Set(value.as_value()))).collect();
                batch.update(&table, &key, &set, Expectation::Any)
            }
        };
        self.evidence.added(added);
        self.busy[row] = true;
        Step { row, columns, action }
    }

    fn collect_answers(&mut self, now: Time) {
        while let Some(batch) = self.core.next_completed() {
            match self.batches.remove(&batch.tag) {
                Some(purpose) => self.completed(now, &batch, purpose),
                None if self.abandoned => {}
                None => {
                    let detail = format!("batch {}", batch.tag);
                    self.evidence.violate(Violation::new("every batch completes once", detail));
                }
            }
        }
    }

    fn completed(&mut self, now: Time, batch: &Batch, purpose: Purpose) {
        let may_lack = match &purpose {
            Purpose::Single(steps) | Purpose::Transaction(steps) => steps.iter().any(Step::may_lack_a_time),
            Purpose::Lacking => true,
            _ => false,
        };
        for index in 0..batch.len() {
            if let Err(error) = batch.reply(index) {
                self.evidence.judge(&error, |code| {
                    (is_wrong_here(code) && !(may_lack && code == ErrorCode::TableVersionMismatch))
                        || (code == ErrorCode::DuplicateKey && !matches!(purpose, Purpose::Fill))
                });
            }
        }
        match purpose {
            Purpose::Fill => {
                self.filled = (0..batch.len()).all(|index| match batch.written(index) {
                    Ok(_) => true,
                    Err(error) => error.is(ErrorCode::DuplicateKey),
                });
            }
            Purpose::Single(steps) => {
                for (index, step) in steps.into_iter().enumerate() {
                    self.single(batch, index, step);
                }
            }
            Purpose::Transaction(steps) => self.ended(batch, steps),
            Purpose::Increment { row, column } => match batch.written(0) {
                Ok(_) => self.incremented(row, column),
                Err(error) if error.is(ErrorCode::OutcomeUnknown) => {
                    let written = Written::Increment { row, column };
                    self.unknown.push((error.transaction.unwrap_or_default(), written));
                }
                Err(_) => {}
            },
            Purpose::Resolve(written) => match batch.reply(0) {
                Ok(Reply::Resolved(outcome)) => self.resolved(written, outcome),
                Ok(_) => {}
                Err(error) => self.unknown.push((error.transaction.unwrap_or_default(), written)),
            },
            Purpose::Lacking => match batch.written(0) {
                Ok(_) => {
                    let detail = format!("row {} was written", self.key(ROWS));
                    let violation = Violation::new("no new row lacks a column that takes the time", detail);
                    self.evidence.violate(violation);
                }
                Err(error) if error.is(ErrorCode::TableVersionMismatch) => self.evidence.acknowledged += 1,
                Err(_) => self.read_again(now, batch),
            },
            Purpose::Last => {
                for row in 0..ROWS {
                    self.saw(batch, row, row);
                }
                self.read_again(now, batch);
            }
            Purpose::LastShared => {
                for row in 0..SHARED_ROWS {
                    self.saw_shared(batch, row);
                }
                self.read_again(now, batch);
            }
        }
    }

    fn read_again(&mut self, now: Time, batch: &Batch) {
        if batch.error_count() > 0 {
            self.want_last = true;
            self.issue_at = now + 20 * MILLISECOND;
        }
    }

    fn single(&mut self, batch: &Batch, index: usize, step: Step) {
        if step.action == Action::Read {
            self.busy[step.row] = false;
            self.evidence.acknowledged += 1;
            return self.saw(batch, index, step.row);
        }
        match batch.written(index) {
            Ok(_) => self.done(&[step]),
            Err(error) => self.failed(&error, vec![step]),
        }
    }

    /// A transaction has ended.
    fn ended(&mut self, batch: &Batch, steps: Vec<Step>) {
        for (index, step) in steps.iter().enumerate() {
            match (step.action, batch.reply(index)) {
                (Action::Read, Ok(_)) => self.saw(batch, index, step.row),
                (_, Err(error)) => self.not_found(&error, step.row),
                (_, Ok(_)) => {}
            }
        }
        match batch.ending(steps.len()) {
            Ok(ending) if ending.committed => self.done(&steps),
            Ok(_) => self.release(&steps),
            Err(error) => self.failed(&error, steps),
        }
    }

    fn failed(&mut self, error: &Error, steps: Vec<Step>) {
        if error.is(ErrorCode::OutcomeUnknown) {
            return self.unknown.push((error.transaction.unwrap_or_default(), Written::Steps(steps)));
        }
        if let [step] = steps.as_slice() {
            self.not_found(error, step.row);
        }
        self.release(&steps);
    }

    fn release(&mut self, steps: &[Step]) {
        steps.iter().for_each(|step| self.busy[step.row] = false);
    }

    fn not_found(&mut self, error: &Error, row: usize) {
        if error.is(ErrorCode::RowNotFound) && self.rows[row].is_some() {
            let detail = format!("row {} was not found", self.key(row));
            self.evidence.violate(Violation::new("no row loses or gains values", detail));
        }
    }

    /// Writes have happened.
    fn done(&mut self, steps: &[Step]) {
        self.release(steps);
        for step in steps {
            self.evidence.acknowledged += 1;
            let row = &mut self.rows[step.row];
            match step.action {
                Action::Read => {}
                Action::Delete => *row = None,
                Action::Put { number } => {
                    let values = row.get_or_insert_with(|| Box::new(std::array::from_fn(default_of)));
                    (1..step.columns).for_each(|column| values[column] = value_of(column, number));
                }
                Action::Set { number, columns } => {
                    let Some(values) = row else {
                        let detail = format!("row {} was updated and is not there", self.key(step.row));
                        let violation = Violation::new("no row loses or gains values", detail);
                        return self.evidence.violate(violation);
                    };
                    columns_of(columns).for_each(|column| values[column] = value_of(column, number));
                }
            }
        }
    }

    fn incremented(&mut self, row: u64, column: usize) {
        self.evidence.acknowledged += 1;
        *self.counted.entry((row, column)).or_default() += 1;
    }

    fn resolved(&mut self, written: Written, outcome: Outcome) {
        let committed = matches!(outcome, Outcome::Committed { .. });
        match written {
            Written::Steps(steps) if committed => self.done(&steps),
            Written::Steps(steps) => self.release(&steps),
            Written::Increment { row, column } if committed => self.incremented(row, column),
            Written::Increment { .. } => {}
        }
    }

    /// A row of its own was read while nobody writes it.
    fn saw(&mut self, batch: &Batch, index: usize, row: usize) {
        let Ok(found) = batch.row(index) else { return };
        let found: Option<Result<Vec<Value>, _>> = found.map(|found| found.to_values());
        let fits = match (&self.rows[row], &found) {
            (None, None) => true,
            (Some(known), Some(Ok(seen))) => seen.len() <= ALL_COLUMNS && seen[1..] == known[1..seen.len()],
            _ => false,
        };
        if !fits {
            let detail = format!("row {} is {:?}, a read has seen {found:?}", self.key(row), self.rows[row]);
            self.evidence.violate(Violation::new("no row loses or gains values", detail));
        }
    }

    fn saw_shared(&mut self, batch: &Batch, row: u64) {
        let Ok(Some(found)) = batch.row(row as usize) else { return };
        for column in (1..ALL_COLUMNS).filter(|column| is_number(*column)) {
            let Ok(ValueRef::Int(value)) = found.column(column) else { continue };
            let first = if let Value::Int(default) = default_of(column) { default } else { 0 };
            self.last.insert((row, column), value - first);
        }
    }
}

/// The columns whose bits are set.
fn columns_of(bits: u32) -> impl Iterator<Item = usize> {
    (0..ALL_COLUMNS).filter(move |column| bits >> column & 1 == 1)
}

/// Whether no operation of this client can rightly end with this error: its rows are its own, and all versions stay in use.
fn is_wrong_here(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::HiddenTable
            | ErrorCode::UniqueViolation
            | ErrorCode::TableVersionMismatch
            | ErrorCode::TableNotFound
    )
}

impl Client for ColumnClient {
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
            && (self.core.is_idle() || matches!(self.job, Some(Job::Refresh(_))))
            && self.core.unknown_outcomes() == 0
            && self.core.unresolved_numbers() == 0
    }

    fn is_idle_but_for_unknown(&self) -> bool {
        let asks = |purpose: &Purpose| matches!(purpose, Purpose::Resolve(_));
        self.filled && !self.tables.is_empty() && self.batches.values().all(asks) && !self.want_last
    }

    fn describe_open(&self) -> String {
        format!(
            "versions {}, job {:?}, {} outcomes to ask for, {} unknown and {} unresolved in the core, batches: {:?}",
            self.tables.len(),
            self.job,
            self.unknown.len(),
            self.core.unknown_outcomes(),
            self.core.unresolved_numbers(),
            self.batches.values().take(3).collect::<Vec<_>>(),
        )
    }

    fn abandon(&mut self) {
        self.batches.clear();
        self.unknown.clear();
        self.abandoned = true;
        self.mode = Mode::Wait;
    }
}

impl Application for ColumnClient {
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
        let room = self.mode == Mode::Traffic && self.filled && self.batches.len() < ROWS;
        if room && !self.tables.is_empty() { self.issue_at } else { Time::MAX }
    }
}
