//! A client of rows with a time to live. Each of its rows is its own, so that it knows at any time what must be there: a row that has not
//! expired is never lost, one that has expired is gone in the end.

use super::client::{Client, Evidence, Mode, register_tables};
use crate::history::Violation;
use crate::process::application::{Application, application_fields};
use crate::queue::{MILLISECOND, SECOND, Time};
use crate::random::Random;
use crate::workload::{DATABASE, EVENT_TIME, EXPIRING, NUMBER, event_time, expiring_definition};
use duet_client_core::{
    Batch, ClientConfiguration, ClientCore, Error, Expectation, JobId, Outcome, Reply, Table,
};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::TransactionId;
use duet_protocol::update::Assignment;
use duet_protocol::value::ValueRef;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Time for the table to be created.
const CREATE_WITHIN: Time = 10 * SECOND;
/// Rows of a client.
const ROWS: usize = 6;

/// What a client knows of one of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Absent,
    /// Written with this number; it may be purged at any time.
    Expired(i64),
    /// Written with this number; it must be there.
    Lasting(i64),
}

/// An operation on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Read,
    Put {
        number: i64,
        expired: bool,
    },
    /// Changes event time and number of a row.
    Refresh {
        number: i64,
        expired: bool,
    },
    Delete,
}

/// What a batch is for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    One(usize, Action),
    Resolve(usize, Action),
    Last,
}

/// A client of rows with a time to live.
pub struct ExpiringClient {
    core: ClientCore,
    evidence: Evidence,
    random: Random,
    /// Number among its kind; the first one creates the table.
    number: u32,
    /// Whether the table gets a unique index.
    indexed: bool,
    think: Time,
    mode: Mode,
    job: Option<JobId>,
    /// Whether the table was seen.
    found: bool,
    rows: [Known; ROWS],
    busy: [bool; ROWS],
    batches: BTreeMap<u64, Purpose>,
    next_tag: u64,
    writes: i64,
    ask_at: Time,
    issue_at: Time,
    wake_at: Time,
    unknown: Vec<(TransactionId, usize, Action)>,
    want_last: bool,
    abandoned: bool,
}

impl ExpiringClient {
    /// A client that has not contacted anyone yet, with its mean pause.
    pub fn new(
        mut random: Random,
        number: u32,
        think: Time,
        configuration: ClientConfiguration,
        now: Time,
    ) -> ExpiringClient {
        ExpiringClient {
            core: ClientCore::new(configuration, now),
            evidence: Evidence::default(),
            indexed: random.chance(400_000),
            random,
            number,
            think,
            mode: Mode::Wait,
            job: None,
            found: false,
            rows: [Known::Absent; ROWS],
            busy: [false; ROWS],
            batches: BTreeMap::new(),
            next_tag: 1,
            writes: 0,
            ask_at: 0,
            issue_at: 0,
            wake_at: 0,
            unknown: Vec::new(),
            want_last: false,
            abandoned: false,
        }
    }

    /// Begins to read all rows, again and again until those that have expired are gone.
    pub fn read_last(&mut self) {
        self.want_last = true;
    }

    fn table(&self) -> Option<Arc<Table>> {
        self.core.table(DATABASE, EXPIRING)
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
        self.job = Some(if self.number == 0 && !self.found {
            self.core.create_table(now, CREATE_WITHIN, &expiring_definition(self.indexed))
        } else {
            self.core.refresh(now, CREATE_WITHIN)
        });
    }

    fn issue_due(&mut self, now: Time) {
        for (transaction, row, action) in std::mem::take(&mut self.unknown) {
            let mut batch = Batch::new();
            let added = batch.resolve(transaction);
            self.evidence.added(added);
            self.submit(now, batch, Purpose::Resolve(row, action));
        }
        let Some(table) = self.table() else { return };
        if now < self.issue_at {
            return;
        }
        if self.want_last && self.batches.is_empty() {
            self.want_last = false;
            let mut batch = Batch::new();
            for row in 0..ROWS {
                let added = batch.read(&table, &self.key(row));
                self.evidence.added(added);
            }
            return self.submit(now, batch, Purpose::Last);
        }
        let free: Vec<usize> = (0..ROWS).filter(|row| !self.busy[*row]).collect();
        if self.mode != Mode::Traffic || free.is_empty() {
            return;
        }
        self.issue_at = now + self.random.around(self.think);
        let row = *self.random.pick(&free);
        self.one(now, &table, row);
    }

    fn one(&mut self, now: Time, table: &Arc<Table>, row: usize) {
        self.writes += 1;
        let number = self.writes * 100 + i64::from(self.number);
        let (expired, refreshes) = (self.random.chance(500_000), self.random.chance(500_000));
        let action = match self.random.below(8) {
            0 => Action::Read,
            1 => Action::Delete,
            _ if refreshes && self.rows[row] != Known::Absent => Action::Refresh { number, expired },
            _ => Action::Put { number, expired },
        };
        let (mut batch, key) = (Batch::new(), self.key(row));
        let added = match action {
            Action::Read => batch.read(table, &key),
            Action::Delete => batch.delete(table, &key, Expectation::Any),
            Action::Put { number, expired } => {
                let values = [ValueRef::UInt(key), event_time(expired, number), ValueRef::Int(number)];
                batch.upsert(table, &values, Expectation::Any)
            }
            Action::Refresh { number, expired } => {
                let time = match event_time(expired, number) {
                    ValueRef::Null => Assignment::SetNull,
                    time => Assignment::Set(time),
                };
                let set = [(EVENT_TIME, time), (NUMBER, Assignment::Set(ValueRef::Int(number)))];
                batch.update(table, &key, &set, Expectation::Any)
            }
        };
        self.evidence.added(added);
        self.busy[row] = true;
        self.submit(now, batch, Purpose::One(row, action));
    }

    fn lost(&mut self, row: usize, detail: &str) {
        let detail = format!("row {} is {:?}: {detail}", self.key(row), self.rows[row]);
        self.evidence.violate(Violation::new("rows that have not expired are there", detail));
    }

    fn collect_answers(&mut self, now: Time) {
        while let Some(batch) = self.core.next_completed() {
            match self.batches.remove(&batch.tag) {
                Some(Purpose::One(row, action)) => self.answered(&batch, row, action),
                Some(Purpose::Resolve(row, action)) => self.resolved(&batch, row, action),
                Some(Purpose::Last) => self.read_at_last(now, &batch),
                None if self.abandoned => {}
                None => {
                    let detail = format!("batch {}", batch.tag);
                    self.evidence.violate(Violation::new("every batch completes once", detail));
                }
            }
        }
    }

    fn answered(&mut self, batch: &Batch, row: usize, action: Action) {
        if action == Action::Read {
            self.busy[row] = false;
            return match batch.row(0) {
                Ok(found) => {
                    self.evidence.acknowledged += 1;
                    let number =
                        found.map(|found| number_of(found.column(usize::from(NUMBER)).ok().as_ref()));
                    self.saw(row, number);
                }
                Err(error) => self.evidence.judge(&error, is_wrong_here),
            };
        }
        match batch.written(0) {
            Ok(_) => self.done(row, action),
            Err(error) => {
                self.evidence.judge(&error, is_wrong_here);
                self.failed(row, action, &error);
            }
        }
    }

    fn failed(&mut self, row: usize, action: Action, error: &Error) {
        if error.is(ErrorCode::OutcomeUnknown) {
            return self.unknown.push((error.transaction.unwrap_or_default(), row, action));
        }
        self.busy[row] = false;
        if error.is(ErrorCode::RowNotFound) {
            if matches!(self.rows[row], Known::Lasting(_)) {
                return self.lost(row, "an operation did not find it");
            }
            self.rows[row] = Known::Absent;
        }
    }

    /// A write has happened.
    fn done(&mut self, row: usize, action: Action) {
        self.busy[row] = false;
        self.evidence.acknowledged += 1;
        self.rows[row] = match action {
            Action::Read => return,
            Action::Delete => Known::Absent,
            Action::Put { number, expired: true } | Action::Refresh { number, expired: true } => {
                Known::Expired(number)
            }
            Action::Put { number, .. } | Action::Refresh { number, .. } => Known::Lasting(number),
        };
    }

    fn resolved(&mut self, batch: &Batch, row: usize, action: Action) {
        match batch.reply(0) {
            Ok(Reply::Resolved(Outcome::Committed { .. })) => self.done(row, action),
            Ok(_) => self.busy[row] = false,
            Err(error) => {
                self.evidence.judge(&error, is_wrong_here);
                self.unknown.push((error.transaction.unwrap_or_default(), row, action));
            }
        }
    }

    /// A row was read while nobody writes it; whether it has expired and is still there.
    fn saw(&mut self, row: usize, found: Option<Option<i64>>) -> bool {
        match (self.rows[row], found) {
            (Known::Lasting(number), Some(Some(seen))) if seen == number => false,
            (Known::Lasting(_), seen) => {
                self.lost(row, &format!("a read has seen {seen:?}"));
                false
            }
            (Known::Expired(number), Some(Some(seen))) if seen == number => true,
            (Known::Expired(_) | Known::Absent, None) => {
                self.rows[row] = Known::Absent;
                false
            }
            (known, seen) => {
                let detail = format!("row {} is {known:?}, a read has seen {seen:?}", self.key(row));
                self.evidence.violate(Violation::new("answers fit their questions", detail));
                false
            }
        }
    }

    fn read_at_last(&mut self, now: Time, batch: &Batch) {
        for row in 0..ROWS {
            match batch.row(row) {
                Ok(found) => {
                    let number =
                        found.map(|found| number_of(found.column(usize::from(NUMBER)).ok().as_ref()));
                    if self.saw(row, number) {
                        self.want_last = true;
                    }
                }
                Err(error) => {
                    self.evidence.judge(&error, is_wrong_here);
                    self.want_last = true;
                }
            }
        }
        self.issue_at = now + 100 * MILLISECOND;
    }
}

fn number_of(value: Option<&ValueRef<'_>>) -> Option<i64> {
    if let Some(ValueRef::Int(number)) = value { Some(*number) } else { None }
}

/// Whether no operation of this client can rightly end with this error: numbers are its own.
fn is_wrong_here(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::HiddenTable | ErrorCode::UniqueViolation | ErrorCode::DuplicateKey)
}

impl Client for ExpiringClient {
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
            && (self.core.is_idle() || (self.found && self.job.is_some()))
            && self.core.unknown_outcomes() == 0
            && self.core.unresolved_numbers() == 0
    }

    fn is_idle_but_for_unknown(&self) -> bool {
        let asks = |purpose: &Purpose| matches!(purpose, Purpose::Resolve(..));
        self.found && self.batches.values().all(asks) && !self.want_last
    }

    fn describe_open(&self) -> String {
        format!(
            "rows {:?}, {} outcomes to ask for, {} unknown and {} unresolved in the core, batches: {:?}",
            self.rows,
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

impl Application for ExpiringClient {
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
        let some_free = self.busy.iter().any(|busy| !busy);
        let room = self.table().is_some() && self.mode == Mode::Traffic && some_free;
        if room { self.issue_at } else { Time::MAX }
    }
}
