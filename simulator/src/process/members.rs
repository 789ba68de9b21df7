//! A client of the club: it moves unique values between rows, in transactions and without, and looks rows up by them.
//!
//! Judged are look-ups: a token is always found, and whatever is found has the values that were asked for.

use super::client::{Client, Evidence, Mode, register_tables};
use crate::history::Violation;
use crate::process::application::{Application, application_fields};
use crate::queue::{MILLISECOND, SECOND, Time};
use crate::random::Random;
use crate::workload::{
    BADGE, BY_BADGE, BY_SEAT, COUNTERS, DATABASE, FIRST_COUNTER, FIRST_GUEST, GUEST_BADGES, GUESTS, HOLDERS,
    MEMBERS, PASSING_INDEX, TOKENS, counter_badge, first_members, member, member_definition,
};
use duet_client_core::{
    Batch, ClientConfiguration, ClientCore, Expectation, JobId, Lock, Lookup, LookupStep, Outcome, Reply,
    Table, TransactionHandle,
};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::TransactionId;
use duet_protocol::update::{Assignment, update_result_value};
use duet_protocol::value::{Value, ValueRef};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Time for the table to be created.
const CREATE_WITHIN: Time = 10 * SECOND;

/// Values that are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Badge(i64),
    Seat(i64),
}

/// A look-up under way.
#[derive(Debug)]
struct Search {
    lookup: Lookup,
    wanted: Vec<Wanted>,
    /// The transaction of its locked steps, or of the caller.
    handle: Option<TransactionHandle>,
    /// It is part of a transaction that passes a token on.
    passes: bool,
    tries: u32,
    /// By the index that comes and goes.
    by_passing: bool,
}

/// A token being passed from one holder to another.
#[derive(Clone, Copy, Debug)]
struct Passing {
    handle: TransactionHandle,
    token: i64,
    holder: u64,
    receiver: u64,
}

/// What a batch is for.
#[derive(Debug)]
enum Purpose {
    Fill,
    LookAround,
    /// A write of one row by a guest.
    Guest,
    Count(u64),
    ResolveCount(u64),
    Search(Box<Search>),
    /// A transaction with its end.
    Transaction,
    /// The row that a token is passed on to, read under a lock.
    Receiver(Passing),
    Last,
}

/// A client of the club.
pub struct MemberClient {
    core: ClientCore,
    evidence: Evidence,
    random: Random,
    /// Number among its kind; the first one opens the club.
    number: u32,
    clerks: usize,
    think: Time,
    planted_bug: u32,
    mode: Mode,
    job: Option<JobId>,
    created: bool,
    open: bool,
    batches: BTreeMap<u64, Purpose>,
    next_tag: u64,
    issue_at: Time,
    wake_at: Time,
    /// Increments of counters whose outcome is to be asked for.
    unknown: Vec<(TransactionId, u64)>,
    want_last: bool,
    /// Increments that happened, by counter.
    pub counted: BTreeMap<u64, i64>,
    /// Badges of the counters at the end.
    pub last: BTreeMap<u64, i64>,
    abandoned: bool,
}

impl MemberClient {
    /// A client that has not contacted anyone yet: operations at once, mean pause, planted bug.
    pub fn new(
        random: Random,
        number: u32,
        (clerks, think, planted_bug): (usize, Time, u32),
        configuration: ClientConfiguration,
        now: Time,
    ) -> MemberClient {
        MemberClient {
            core: ClientCore::new(configuration, now),
            evidence: Evidence::default(),
            random,
            number,
            clerks,
            think,
            planted_bug,
            mode: Mode::Wait,
            job: None,
            created: false,
            open: false,
            batches: BTreeMap::new(),
            next_tag: 1,
            issue_at: 0,
            wake_at: 0,
            unknown: Vec::new(),
            want_last: false,
            counted: BTreeMap::new(),
            last: BTreeMap::new(),
            abandoned: false,
        }
    }

    /// Begins to read the counters.
    pub fn read_last(&mut self) {
        self.want_last = true;
    }

    fn table(&self) -> Option<Arc<Table>> {
        self.core.table(DATABASE, MEMBERS)
    }

    fn submit(&mut self, now: Time, mut batch: Batch, purpose: Purpose) {
        batch.tag = self.next_tag;
        self.next_tag += 1;
        if batch.timeout == 0 {
            batch.timeout = *self.random.pick(&[50 * MILLISECOND, 500 * MILLISECOND, 5 * SECOND]);
        }
        self.batches.insert(batch.tag, purpose);
        self.core.submit(now, Box::new(batch));
    }

    /// Opens the club: table, first rows; then waits until all are there.
    fn prepare(&mut self, now: Time) {
        while let Some((id, result)) = self.core.next_finished_job() {
            if self.job == Some(id) {
                self.job = None;
                let exists = result.as_ref().is_err_and(|error| error.is(ErrorCode::TableExists));
                self.created |= exists || (result.is_ok() && self.number == 0);
            }
        }
        if self.job.is_some() || !self.batches.is_empty() || now < self.issue_at {
            return;
        }
        if self.open {
            // Tables of others are seen when somebody looks.
            if self.mode == Mode::Wait && !self.abandoned {
                self.issue_at = now + 100 * MILLISECOND;
                self.job = Some(self.core.refresh(now, CREATE_WITHIN));
            }
            return;
        }
        let Some(table) = self.table() else {
            self.issue_at = now + 20 * MILLISECOND;
            self.job = Some(if self.number == 0 && !self.created {
                self.core.create_table(now, CREATE_WITHIN, &member_definition())
            } else {
                self.core.refresh(now, CREATE_WITHIN)
            });
            return;
        };
        self.issue_at = now + 5 * MILLISECOND;
        let mut batch = Batch::new();
        batch.timeout = CREATE_WITHIN;
        for values in first_members() {
            let added = match self.number {
                0 => batch.upsert(&table, &values, Expectation::Any),
                _ => batch.read(&table, &values[..1]),
            };
            self.evidence.added(added);
        }
        self.submit(now, batch, if self.number == 0 { Purpose::Fill } else { Purpose::LookAround });
    }

    fn issue_due(&mut self, now: Time) {
        for (transaction, counter) in std::mem::take(&mut self.unknown) {
            let mut batch = Batch::new();
            let added = batch.resolve(transaction);
            self.evidence.added(added);
            self.submit(now, batch, Purpose::ResolveCount(counter));
        }
        let Some(table) = self.table().filter(|_| self.open) else { return };
        if std::mem::take(&mut self.want_last) {
            let mut batch = Batch::new();
            for id in FIRST_COUNTER..FIRST_COUNTER + COUNTERS {
                let added = batch.read(&table, &id);
                self.evidence.added(added);
            }
            self.submit(now, batch, Purpose::Last);
        }
        if self.mode != Mode::Traffic || now < self.issue_at || self.batches.len() >= self.clerks {
            return;
        }
        self.issue_at = now + self.random.around(self.think);
        match self.random.below(10) {
            0 | 1 => self.guest(now, &table),
            2 => self.count(now, &table),
            3 | 4 => self.search(now, &table, None),
            5 => self.guests(now, &table),
            _ if self.random.chance(500_000) => self.search(now, &table, Some(Lock::Exclusive)),
            _ => self.search(now, &table, None),
        }
    }

    fn badge(&mut self) -> Option<i64> {
        let (first, count) = GUEST_BADGES;
        let some = self.random.chance(800_000);
        some.then(|| first + self.random.below(count) as i64)
    }

    fn seat(&mut self) -> Option<i64> {
        self.random.chance(300_000).then(|| self.random.below(5) as i64)
    }

    /// One operation of a guest.
    fn add_guest(&mut self, table: &Arc<Table>, batch: &mut Batch) {
        let id = FIRST_GUEST + self.random.below(GUESTS);
        let (badge, seat) = (self.badge(), self.seat());
        let set_badge =
            [(BADGE, badge.map_or(Assignment::SetNull, |badge| Assignment::Set(ValueRef::Int(badge))))];
        let visit = [(4, Assignment::Add(ValueRef::Int(1)))];
        let added = match self.random.below(6) {
            0 | 1 => batch.insert(table, &member(id, badge, seat)),
            2 => batch.upsert(table, &member(id, badge, seat), Expectation::Any),
            3 => batch.update(table, &id, &set_badge, Expectation::Any),
            4 => batch.update(table, &id, &visit, Expectation::Any),
            _ => batch.delete(table, &id, Expectation::Any),
        };
        if let Ok(index) = added
            && batch.transaction.is_some()
            && self.random.chance(700_000)
        {
            batch.ignore_row(index);
        }
        self.evidence.added(added);
    }

    fn guest(&mut self, now: Time, table: &Arc<Table>) {
        let mut batch = Batch::new();
        for _ in 0..self.random.between(1, 3) {
            self.add_guest(table, &mut batch);
        }
        self.submit(now, batch, Purpose::Guest);
    }

    /// Several operations of guests in a transaction, all at once.
    fn guests(&mut self, now: Time, table: &Arc<Table>) {
        let tries = self.random.below(3) as u32;
        let Some(handle) = self.core.begin_again(tries) else { return };
        let mut batch = Batch::new();
        batch.transaction = Some(handle);
        for _ in 0..self.random.between(1, 5) {
            self.add_guest(table, &mut batch);
        }
        let added = if self.random.chance(800_000) { batch.commit() } else { batch.rollback() };
        self.evidence.added(added);
        self.submit(now, batch, Purpose::Transaction);
    }

    fn count(&mut self, now: Time, table: &Arc<Table>) {
        let counter = FIRST_COUNTER + self.random.below(COUNTERS);
        let mut batch = Batch::new();
        let add = [(BADGE, Assignment::Add(ValueRef::Int(1)))];
        let added = batch.update(table, &counter, &add, Expectation::Any);
        self.evidence.added(added);
        self.submit(now, batch, Purpose::Count(counter));
    }

    /// Looks values up; with a lock in a transaction that passes the token on.
    fn search(&mut self, now: Time, table: &Arc<Table>, lock: Option<Lock>) {
        let by_seat = lock.is_none() && self.random.chance(200_000);
        let passing =
            (!by_seat && self.random.chance(300_000)).then(|| passing_lookup(table, lock)).flatten();
        let by_passing = passing.is_some();
        let index = if by_seat { BY_SEAT } else { BY_BADGE };
        let mut lookup = match passing.map_or_else(|| Lookup::new(table, index, lock), Ok) {
            Ok(lookup) => lookup,
            Err(error) => return self.evidence.added::<()>(Err(error)),
        };
        lookup.planted_bug = self.planted_bug;
        let count = if lock.is_some() { 1 } else { self.random.between(1, 3) };
        let mut wanted = Vec::new();
        for _ in 0..count {
            let token = lock.is_some() || self.random.chance(600_000);
            let want = match token {
                _ if by_seat => Wanted::Seat(self.random.below(5) as i64),
                true => Wanted::Badge(self.random.below(TOKENS as u64) as i64),
                false => Wanted::Badge(self.badge().unwrap_or(GUEST_BADGES.0)),
            };
            let added = match want {
                Wanted::Badge(badge) => lookup.add(&badge),
                Wanted::Seat(seat) => lookup.add(&[ValueRef::from("blue"), ValueRef::Int(seat)]),
            };
            self.evidence.added(added);
            wanted.push(want);
        }
        let tries = self.random.below(3) as u32;
        let handle = match lock {
            Some(_) => match self.core.begin_again(tries) {
                Some(handle) => Some(handle),
                None => return,
            },
            None => None,
        };
        let search = Search { lookup, wanted, handle, passes: lock.is_some(), tries: 0, by_passing };
        self.step(now, Box::new(search));
    }

    /// The next step of a look-up.
    fn step(&mut self, now: Time, mut search: Box<Search>) {
        let mut batch = Batch::new();
        let step = search.lookup.next(&mut batch);
        match step {
            Ok(LookupStep::Done) => return self.found(now, *search),
            Ok(LookupStep::Execute) => batch.transaction = search.handle.filter(|_| search.passes),
            Ok(LookupStep::ExecuteLocked) => {
                if search.handle.is_none() {
                    search.handle = self.core.begin_again(search.tries);
                    search.tries += 1;
                }
                batch.transaction = search.handle;
            }
            Err(error) => return self.evidence.added::<()>(Err(error)),
        }
        self.submit(now, batch, Purpose::Search(search));
    }

    fn searched(&mut self, now: Time, batch: &Batch, mut search: Box<Search>) {
        match search.lookup.take(batch) {
            Ok(()) => self.step(now, search),
            Err(error) => {
                // An index that comes and goes may be gone.
                let by_passing = search.by_passing;
                self.evidence.judge(&error, |code| !by_passing && is_wrong_here(code));
                if let Some(handle) = search.handle.take() {
                    self.core.forget(now, handle);
                }
                let goes_on = !search.passes && error.retryable && self.mode == Mode::Traffic;
                if goes_on && search.tries < 5 {
                    search.lookup.lock_again();
                    self.step(now, search);
                }
            }
        }
    }

    fn found(&mut self, now: Time, mut search: Search) {
        let mut holder = None;
        for (number, wanted) in search.wanted.iter().enumerate() {
            let row = search.lookup.row(number).map(|(_, row)| row);
            let column = |index: u16| row.as_ref().and_then(|row| row.column(usize::from(index)).ok());
            let fits = match wanted {
                Wanted::Badge(badge) => column(BADGE) == Some(ValueRef::Int(*badge)),
                Wanted::Seat(seat) => {
                    column(3) == Some(ValueRef::Int(*seat)) && column(2) == Some(ValueRef::from("blue"))
                }
            };
            if row.is_some() && !fits {
                let detail = format!("{wanted:?}: {:?}", row.map(|row| row.to_values()));
                self.evidence.violate(Violation::new("a row found by unique values has them", detail));
            } else if row.is_none() && matches!(wanted, Wanted::Badge(badge) if *badge < TOKENS) {
                let detail = format!("{wanted:?} in a transaction: {}", search.passes);
                self.evidence.violate(Violation::new("a value that exists all the while is found", detail));
            }
            if let Some(ValueRef::UInt(id)) = column(0) {
                holder = Some(id);
            }
        }
        self.evidence.acknowledged += 1;
        match (search.handle.take(), holder, self.table()) {
            (Some(handle), Some(holder), Some(table)) if search.passes => {
                self.read_receiver(now, &table, handle, holder, search.wanted[0]);
            }
            (Some(handle), _, _) => self.core.forget(now, handle),
            (None, _, _) => {}
        }
    }

    /// A holder is locked: locks the row that its token goes to.
    fn read_receiver(
        &mut self,
        now: Time,
        table: &Arc<Table>,
        handle: TransactionHandle,
        holder: u64,
        wanted: Wanted,
    ) {
        let Wanted::Badge(token) = wanted else { return };
        let receiver = (holder + 1 + self.random.below(HOLDERS - 1)) % HOLDERS;
        let mut batch = Batch::new();
        batch.transaction = Some(handle);
        let added = batch.read_locked(table, &receiver, Lock::Exclusive);
        self.evidence.added(added);
        self.submit(now, batch, Purpose::Receiver(Passing { handle, token, holder, receiver }));
    }

    /// Gives the token of a holder to another one, and what that one had to the holder.
    fn pass_on(&mut self, now: Time, table: &Arc<Table>, answer: &Batch, passing: Passing) {
        let Passing { handle, token, holder, receiver } = passing;
        let theirs = match answer.row(0).ok().flatten().and_then(|row| row.column(usize::from(BADGE)).ok()) {
            Some(ValueRef::Int(badge)) => Some(badge),
            _ => None,
        };
        let mut batch = Batch::new();
        batch.transaction = Some(handle);
        let leaves = match self.random.below(3) {
            0 => batch.delete(table, &holder, Expectation::Any),
            1 => batch.upsert(table, &member(holder, None, None), Expectation::Any),
            _ => batch.update(table, &holder, &[(BADGE, Assignment::SetNull)], Expectation::Any),
        };
        self.evidence.added(leaves);
        let added = batch.upsert(table, &member(receiver, Some(token), None), Expectation::Any);
        self.evidence.added(added);
        if theirs.is_some() {
            let added = batch.upsert(table, &member(holder, theirs, None), Expectation::Any);
            self.evidence.added(added);
        }
        let added = if self.random.chance(850_000) { batch.commit() } else { batch.rollback() };
        self.evidence.added(added);
        self.submit(now, batch, Purpose::Transaction);
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
        if let Purpose::Search(search) = purpose {
            return self.searched(now, batch, search);
        }
        let mut failed = false;
        for index in 0..batch.len() {
            match batch.reply(index) {
                Ok(_) => {}
                Err(error) => {
                    self.evidence.judge(&error, is_wrong_here);
                    failed = true;
                }
            }
        }
        match purpose {
            Purpose::Fill => self.open |= !failed,
            Purpose::LookAround => {
                let missing = (0..batch.len()).any(|index| !matches!(batch.row(index), Ok(Some(_))));
                self.open |= !missing;
            }
            Purpose::Receiver(passing) => match self.table() {
                Some(table) if !failed => self.pass_on(now, &table, batch, passing),
                Some(_) | None => self.core.forget(now, passing.handle),
            },
            Purpose::Guest | Purpose::Transaction => {
                let done = (0..batch.len()).filter(|index| batch.reply(*index).is_ok()).count();
                self.evidence.acknowledged += done as u64;
            }
            Purpose::Count(counter) => match batch.written(0) {
                Ok(written) => {
                    self.counted_one(counter);
                    let told = self
                        .table()
                        .map(|table| update_result_value(table.layout(), BADGE, written.result()));
                    if !matches!(told, Some(Ok(Value::Int(told))) if told > counter_badge(counter)) {
                        let detail = format!("counter {counter} was told {told:?}");
                        self.evidence.violate(Violation::new("answers fit their questions", detail));
                    }
                }
                Err(error) if error.is(ErrorCode::OutcomeUnknown) => {
                    self.unknown.push((error.transaction.unwrap_or_default(), counter));
                }
                Err(error) if error.is(ErrorCode::UniqueViolation) || error.is(ErrorCode::RowNotFound) => {
                    let detail = format!("counter {counter}: {error}");
                    self.evidence.violate(Violation::new("nobody has the badge of a counter", detail));
                }
                Err(_) => {}
            },
            Purpose::ResolveCount(counter) => match batch.reply(0) {
                Ok(Reply::Resolved(Outcome::Committed { .. })) => self.counted_one(counter),
                Ok(Reply::Resolved(_)) => {}
                other => {
                    let transaction = other.err().and_then(|error| error.transaction);
                    self.unknown.push((transaction.unwrap_or_default(), counter));
                }
            },
            Purpose::Last => {
                for (index, id) in (FIRST_COUNTER..FIRST_COUNTER + COUNTERS).enumerate() {
                    match batch.row(index).ok().flatten().and_then(|row| row.column(usize::from(BADGE)).ok())
                    {
                        Some(ValueRef::Int(badge)) => {
                            self.last.insert(id, badge - counter_badge(id));
                        }
                        _ => self.want_last = true,
                    }
                }
            }
            Purpose::Search(_) => {}
        }
    }

    fn counted_one(&mut self, counter: u64) {
        *self.counted.entry(counter).or_default() += 1;
        self.evidence.acknowledged += 1;
    }
}

/// Whether no operation of this client can rightly end with this error.
/// A look-up of badges by the index that comes and goes, if that is there.
fn passing_lookup(table: &Arc<Table>, lock: Option<Lock>) -> Option<Lookup> {
    let passing = table.definition().indexes.iter().find(|index| index.name == PASSING_INDEX)?;
    (passing.columns == [BADGE]).then(|| Lookup::new(table, PASSING_INDEX, lock).ok()).flatten()
}

fn is_wrong_here(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::HiddenTable | ErrorCode::IndexNotFound)
}

impl Client for MemberClient {
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
        let asks = |purpose: &Purpose| matches!(purpose, Purpose::ResolveCount(_));
        self.open && self.batches.values().all(asks) && !self.want_last
    }

    fn describe_open(&self) -> String {
        format!(
            "club open {}, {} outcomes to ask for, {} unknown and {} unresolved in the core, idle {}, batches: {:?}",
            self.open,
            self.unknown.len(),
            self.core.unknown_outcomes(),
            self.core.unresolved_numbers(),
            self.core.is_idle(),
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

impl Application for MemberClient {
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
        let room = self.open && self.mode == Mode::Traffic && self.batches.len() < self.clerks;
        if room { self.issue_at } else { Time::MAX }
    }
}
