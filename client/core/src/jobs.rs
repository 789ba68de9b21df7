//! Requests to management nodes: schema changes and status; and the wait for a fresh map.

use crate::core::{ClientCore, NEEDED_FOR};
use crate::endpoint::{Endpoint, Phase};
use crate::interface::{MILLISECOND, Nanoseconds, SECOND, Target};
use crate::wire::Wire;
use crate::{Error, Table};
use duet_protocol::error::ErrorCode;
use duet_protocol::record::{
    ClusterStatus, LeaveRequest, ManagementChange, TableChange, UserChange, UserList,
};
use duet_protocol::schema::{self, Column, IndexDefinition, IndexKind, TableDefinition};
use duet_protocol::signal::Sections;
use duet_protocol::signal::change_dictionary::{
    ChangeDictionary, KIND_CHANGE_MANAGEMENT, KIND_CHANGE_TABLE, KIND_CHANGE_USER, KIND_CREATE_TABLE,
    KIND_DROP_TABLE, KIND_END, KIND_LEAVE,
};
use duet_protocol::signal::dictionary_changed::DictionaryChanged;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::fetch_status::FetchStatus;
use duet_protocol::signal::fetch_users::FetchUsers;
use duet_protocol::signal::hello::ROLE_MANAGEMENT;
use std::collections::VecDeque;

/// A management node that cannot be reached or does not answer for so long is left for the next one.
const CONNECT_WITHIN: Nanoseconds = SECOND;
const STATUS_WITHIN: Nanoseconds = 2 * SECOND;
const CHANGE_WITHIN: Nanoseconds = 10 * SECOND;
/// First and longest wait between two tries.
const RETRY_FIRST: Nanoseconds = 5 * MILLISECOND;
const RETRY_LAST: Nanoseconds = 250 * MILLISECOND;
/// Most management nodes.
const MANAGEMENT_NODES: usize = 3;

/// Name of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// What came of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobResult {
    /// The table is created and in the map.
    Created {
        /// Its id.
        table: u32,
    },
    /// The table is changed, and its newest form in the map.
    Changed,
    /// The table is dropped and gone from the map.
    Dropped,
    /// How the cluster is.
    Status(Box<ClusterStatus>),
    /// The users of the SQL gateways; `None` when they are as known.
    Users(Option<Box<UserList>>),
    /// A map was fetched after the job was started.
    Refreshed,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Create,
    Change,
    Drop,
    User,
    Leave,
    End,
    Management,
    Status,
    Users { known: u64 },
    Refresh { answers: u64 },
}

impl Kind {
    /// How long one management node has for its answer.
    fn within(&self) -> Nanoseconds {
        match self {
            Kind::Status | Kind::Users { .. } => STATUS_WITHIN,
            Kind::Create
            | Kind::Change
            | Kind::Drop
            | Kind::User
            | Kind::Leave
            | Kind::End
            | Kind::Management
            | Kind::Refresh { .. } => CHANGE_WITHIN,
        }
    }
}

#[derive(Debug)]
struct Job {
    id: JobId,
    kind: Kind,
    body: Vec<u8>,
    /// Second section of the request.
    change: Vec<u8>,
    identity: [u8; 16],
    deadline: Nanoseconds,
    next_at: Nanoseconds,
    /// Request id, endpoint and time of the request under way.
    request: Option<(u64, usize, Nanoseconds)>,
    /// Which of the management nodes is asked next, modulo their number.
    turn: usize,
    /// The one that is asked, where it must be that.
    only: Option<u32>,
    /// Since when the connection to it is awaited.
    connecting_since: Option<Nanoseconds>,
    tries: u32,
    /// The state version that shows the change, and the table.
    awaits: Option<(u64, u32)>,
    last_error: Option<Error>,
    /// The newest status that is older than what this client knows, and whose turn it was when the first one came.
    older: Option<(usize, Box<ClusterStatus>)>,
    result: Option<Result<JobResult, Error>>,
}

/// All jobs under way and those that ended.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    list: Vec<Job>,
    finished: VecDeque<(JobId, Result<JobResult, Error>)>,
    last_id: u64,
}

impl Jobs {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn next_due(&self) -> Option<Nanoseconds> {
        let due = |job: &Job| {
            let within = job.kind.within();
            let next = match (&job.kind, job.request) {
                (Kind::Refresh { .. }, _) => job.deadline,
                _ if job.awaits.is_some() => job.deadline,
                (_, Some((_, _, sent_at))) => sent_at + within,
                (_, None) => job.next_at,
            };
            next.min(job.deadline)
        };
        self.list.iter().map(due).min()
    }

    pub(crate) fn link_lost(&mut self, now: Nanoseconds, endpoint: usize) {
        for job in &mut self.list {
            if job.request.is_some_and(|(_, at, _)| at == endpoint) {
                job.request = None;
                job.turn += 1;
                job.next_at = now;
            }
        }
    }

    fn of_request(&mut self, id: u64) -> Option<&mut Job> {
        self.list.iter_mut().find(|job| job.request.is_some_and(|(request, _, _)| request == id))
    }

    /// A management node has told its status. One that has just come back may know less than this client `knows`: then the others are
    /// asked as well, each once, and the newest answer counts.
    pub(crate) fn status_arrived(&mut self, now: Nanoseconds, id: u64, record: &[u8], knows: u64) {
        let Some(job) = self.of_request(id) else { return };
        let status = match ClusterStatus::from_record(record) {
            Ok(status) => Box::new(status),
            Err(code) => {
                job.result = Some(Err(Error::new(code, "the status cannot be read")));
                return;
            }
        };
        if status.state.version >= knows || job.only.is_some() {
            job.result = Some(Ok(JobResult::Status(status)));
            return;
        }
        match &mut job.older {
            None => job.older = Some((job.turn, status)),
            Some((_, newest)) if status.state.version > newest.state.version => *newest = status,
            Some(_) => {}
        }
        job.request = None;
        job.next_candidate(now);
    }

    pub(crate) fn users_arrived(&mut self, id: u64, record: &[u8]) {
        if let Some(job) = self.of_request(id) {
            job.result = Some(match record {
                [] => Ok(JobResult::Users(None)),
                record => UserList::from_record(record)
                    .map(|list| JobResult::Users(Some(Box::new(list))))
                    .map_err(|code| Error::new(code, "the users cannot be read")),
            });
        }
    }

    /// The request of a job was refused.
    pub(crate) fn refused(
        &mut self,
        now: Nanoseconds,
        id: u64,
        body: &ErrorReply,
        detail: &[u8],
        retryable: bool,
    ) {
        if let Some(job) = self.of_request(id) {
            let error =
                Error::from_number(body.code.get(), &String::from_utf8_lossy(detail)).at(body.node.get());
            job.refused(now, error, retryable);
        }
    }
}

impl Job {
    /// The older status, once nobody is left who might know more.
    fn older_status(&mut self, now: Nanoseconds) -> Option<JobResult> {
        let all_asked = |first: usize| self.turn >= first + MANAGEMENT_NODES;
        let (_, status) = self.older.take_if(|(first, _)| now >= self.deadline || all_asked(*first))?;
        Some(JobResult::Status(status))
    }

    fn refused(&mut self, now: Nanoseconds, error: Error, retryable: bool) {
        self.request = None;
        if !retryable {
            self.result = Some(Err(error));
            return;
        }
        self.turn += 1;
        // Not being the leader is no reason to wait until all have been asked.
        let wait = if error.is(ErrorCode::NotLeader) && !self.turn.is_multiple_of(MANAGEMENT_NODES) {
            0
        } else {
            (RETRY_FIRST << self.tries.min(10)).min(RETRY_LAST)
        };
        self.tries += 1;
        self.next_at = now + wait;
        self.last_error = Some(error);
    }

    fn next_candidate(&mut self, now: Nanoseconds) {
        self.turn += 1;
        self.connecting_since = None;
        self.next_at = now + RETRY_FIRST;
    }

    /// Sends the request to the management node whose turn it is, once it can be reached.
    fn ask(&mut self, now: Nanoseconds, wire: &mut Wire, id: u64) {
        let candidates = match self.only {
            Some(node) => management_node(wire, node),
            None => management(&wire.endpoints),
        };
        let Some(index) = candidates.get(self.turn % candidates.len().max(1)).copied() else {
            self.next_at = now + RETRY_LAST;
            return;
        };
        let endpoint = &mut wire.endpoints[index];
        endpoint.needed_until = now + NEEDED_FOR;
        match endpoint.phase {
            Phase::Ready { .. } if endpoint.role == ROLE_MANAGEMENT => {
                self.connecting_since = None;
                self.request = Some((id, index, now));
                self.send(now, wire, index, id);
            }
            Phase::Ready { .. } => self.next_candidate(now),
            Phase::Waiting { .. } if endpoint.failures > 0 => {
                let detail = format!("management node at {}: {}", endpoint.address, endpoint.cause());
                self.last_error = Some(Error::new(ErrorCode::NodeUnreachable, &detail));
                self.next_candidate(now);
                self.next_at = now + RETRY_FIRST * 4;
            }
            Phase::Idle | Phase::Waiting { .. } | Phase::Connecting | Phase::Greeting { .. } => {
                let since = *self.connecting_since.get_or_insert(now);
                if now >= since + CONNECT_WITHIN {
                    self.next_candidate(now);
                } else {
                    self.next_at = now + RETRY_FIRST;
                }
            }
        }
    }

    fn send(&self, now: Nanoseconds, wire: &mut Wire, index: usize, id: u64) {
        let kind = match self.kind {
            Kind::Create => KIND_CREATE_TABLE,
            Kind::Change => KIND_CHANGE_TABLE,
            Kind::Drop => KIND_DROP_TABLE,
            Kind::User => KIND_CHANGE_USER,
            Kind::Leave => KIND_LEAVE,
            Kind::End => KIND_END,
            Kind::Management => KIND_CHANGE_MANAGEMENT,
            Kind::Users { known } => {
                let body = FetchUsers { known_version: known.into() };
                return wire.send_own(now, index, id, &body, Sections::none());
            }
            Kind::Status => return wire.send_own(now, index, id, &FetchStatus::default(), Sections::none()),
            Kind::Refresh { .. } => return,
        };
        let body =
            ChangeDictionary { kind: kind.into(), request: self.identity, ..ChangeDictionary::default() };
        wire.send_own(now, index, id, &body, Sections::two(&self.body, &self.change));
    }
}

/// The management node with this id.
fn management_node(wire: &Wire, node: u32) -> Vec<usize> {
    let state = wire.map.state();
    let position = state.and_then(|state| state.management.iter().position(|record| record.node == node));
    let target = position.map(|index| Target::Management { index: index as u32 });
    let of_target = |endpoint: &Endpoint| target == Some(endpoint.target);
    wire.endpoints.iter().position(of_target).into_iter().collect()
}

/// The management nodes of the cluster state; while there are none, the seeds.
fn management(endpoints: &[Endpoint]) -> Vec<usize> {
    let of = |wanted: fn(&Target) -> bool| {
        let indexes = endpoints.iter().enumerate().filter(move |(_, endpoint)| wanted(&endpoint.target));
        indexes.map(|(index, _)| index).collect::<Vec<usize>>()
    };
    let known = of(|target| matches!(target, Target::Management { .. }));
    if known.is_empty() { of(|target| matches!(target, Target::Seed { .. })) } else { known }
}

impl ClientCore {
    /// Creates a table. The job ends when the table is open on all data nodes and in this client's map.
    pub fn create_table(
        &mut self,
        now: Nanoseconds,
        timeout: Nanoseconds,
        definition: &TableDefinition,
    ) -> JobId {
        let checked = definition.validate().map_err(Error::from).and_then(|()| {
            definition.to_record().map_err(|code| Error::new(code, "the definition cannot be encoded"))
        });
        match checked {
            Ok(record) => self.start_job(now, timeout, Kind::Create, record),
            Err(error) => self.failed_job(error),
        }
    }

    /// Drops a table. The job ends when no data node uses it any more and it is gone from this client's map.
    pub fn drop_table(
        &mut self,
        now: Nanoseconds,
        timeout: Nanoseconds,
        database: &str,
        name: &str,
    ) -> JobId {
        self.start_job(now, timeout, Kind::Drop, format!("{database}.{name}").into_bytes())
    }

    /// Changes a table that exists. The job ends when all data nodes have the change and this client's map shows it.
    pub fn change_table(
        &mut self,
        now: Nanoseconds,
        timeout: Nanoseconds,
        database: &str,
        name: &str,
        change: &TableChange,
    ) -> JobId {
        let record = match change.to_record() {
            Ok(record) => record,
            Err(code) => return self.failed_job(Error::new(code, "the change cannot be encoded")),
        };
        let id = self.start_job(now, timeout, Kind::Change, format!("{database}.{name}").into_bytes());
        if let Some(job) = self.jobs.list.iter_mut().find(|job| job.id == id) {
            job.change = record;
        }
        id
    }

    /// Adds a column at the end of a table that exists: rows that exist have its default, or NULL. Handles of the table's
    /// earlier versions stay good.
    pub fn add_column(
        &mut self,
        now: Nanoseconds,
        timeout: Nanoseconds,
        table: &Table,
        column: &Column,
    ) -> JobId {
        // As this client knows the table: what is wrong with the column itself has a code of its own.
        let mut changed = schema::Table::created(table.id(), 1, table.definition().clone());
        if let Err(error) = changed.begin_column(column.clone()) {
            return self.failed_job(error.into());
        }
        let change = TableChange::AddColumn(column.clone());
        self.change_table(now, timeout, table.database(), table.name(), &change)
    }

    /// Creates an index of a table on these columns. The job ends when the rows that exist are entered and scans or look-ups
    /// can use it; with `UniqueViolation` when two rows of a unique one have the same values.
    pub fn create_index(
        &mut self,
        now: Nanoseconds,
        timeout: Nanoseconds,
        table: &Table,
        name: &str,
        kind: IndexKind,
        columns: &[&str],
    ) -> JobId {
        let columns = columns.iter().map(|column| table.column(column)).collect::<Result<Vec<u16>, Error>>();
        let columns = match columns {
            Ok(columns) => columns,
            Err(error) => return self.failed_job(error),
        };
        let index = IndexDefinition { name: name.to_owned(), kind, columns };
        let mut changed = table.definition().clone();
        changed.indexes.push(index.clone());
        if let Err(error) = changed.validate() {
            return self.failed_job(error.into());
        }
        let change = TableChange::CreateIndex(index);
        self.change_table(now, timeout, table.database(), table.name(), &change)
    }

    /// Drops an index of a table.
    pub fn drop_index(&mut self, now: Nanoseconds, timeout: Nanoseconds, table: &Table, name: &str) -> JobId {
        let change = TableChange::DropIndex(name.to_owned());
        self.change_table(now, timeout, table.database(), table.name(), &change)
    }

    /// Asks a management node how the cluster is.
    pub fn fetch_status(&mut self, now: Nanoseconds, timeout: Nanoseconds) -> JobId {
        self.start_job(now, timeout, Kind::Status, Vec::new())
    }

    /// As [`ClientCore::fetch_status`], of the management node with this id.
    pub fn fetch_status_of(&mut self, now: Nanoseconds, timeout: Nanoseconds, node: u32) -> JobId {
        let id = self.start_job(now, timeout, Kind::Status, Vec::new());
        self.ask_only(id, node);
        id
    }

    fn ask_only(&mut self, id: JobId, node: u32) {
        if let Some(job) = self.jobs.list.iter_mut().find(|job| job.id == id) {
            job.only = Some(node);
        }
    }

    /// Tells a management node to end or start again. The job ends when it is about to.
    pub fn end_management(&mut self, now: Nanoseconds, timeout: Nanoseconds, wanted: &LeaveRequest) -> JobId {
        match wanted.to_record() {
            Ok(record) => {
                let id = self.start_job(now, timeout, Kind::End, record);
                self.ask_only(id, wanted.node);
                id
            }
            Err(code) => self.failed_job(Error::new(code, "which node is to end cannot be encoded")),
        }
    }

    /// Changes the users of the SQL gateways.
    pub fn change_user(&mut self, now: Nanoseconds, timeout: Nanoseconds, change: &UserChange) -> JobId {
        if !change.has_valid_name() {
            return self.failed_job(Error::new(ErrorCode::InvalidRequest, "no name of a user"));
        }
        match change.to_record() {
            Ok(record) => self.start_job(now, timeout, Kind::User, record),
            Err(code) => self.failed_job(Error::new(code, "the change of a user cannot be encoded")),
        }
    }

    /// Tells a data node to hand over what it leads, and to end or start again. The job ends when it has begun with that: `NotInView` for
    /// one that is no member, `LastFullInstance` for one whose rows no other one has.
    pub fn ask_to_leave(&mut self, now: Nanoseconds, timeout: Nanoseconds, wanted: &LeaveRequest) -> JobId {
        match wanted.to_record() {
            Ok(record) => self.start_job(now, timeout, Kind::Leave, record),
            Err(code) => self.failed_job(Error::new(code, "which data node is to leave cannot be encoded")),
        }
    }

    /// Changes which management nodes belong to the cluster. The job ends when that is written; the cluster then carries it out.
    pub fn change_management(
        &mut self,
        now: Nanoseconds,
        timeout: Nanoseconds,
        change: &ManagementChange,
    ) -> JobId {
        match change.to_record() {
            Ok(record) => self.start_job(now, timeout, Kind::Management, record),
            Err(code) => {
                self.failed_job(Error::new(code, "the change of the management nodes cannot be encoded"))
            }
        }
    }

    /// Asks for the users of the SQL gateways if they have changed since version `known`, 0 for in any case.
    pub fn fetch_users(&mut self, now: Nanoseconds, timeout: Nanoseconds, known: u64) -> JobId {
        self.start_job(now, timeout, Kind::Users { known }, Vec::new())
    }

    /// Fetches the cluster state.
    pub fn refresh(&mut self, now: Nanoseconds, timeout: Nanoseconds) -> JobId {
        self.refresh.want();
        let answers = self.refresh.answers;
        self.start_job(now, timeout, Kind::Refresh { answers }, Vec::new())
    }

    /// The next job that ended, if any. Every job ends exactly once.
    pub fn next_finished_job(&mut self) -> Option<(JobId, Result<JobResult, Error>)> {
        self.jobs.finished.pop_front()
    }

    fn failed_job(&mut self, error: Error) -> JobId {
        self.jobs.last_id += 1;
        let id = JobId(self.jobs.last_id);
        self.jobs.finished.push_back((id, Err(error)));
        id
    }

    fn start_job(&mut self, now: Nanoseconds, timeout: Nanoseconds, kind: Kind, body: Vec<u8>) -> JobId {
        if self.jobs.list.len() >= self.wire.limits.jobs {
            return self.failed_job(Error::new(
                ErrorCode::Overloaded,
                "too many schema changes and status requests",
            ));
        }
        self.jobs.last_id += 1;
        let id = JobId(self.jobs.last_id);
        let timeout = if timeout == 0 { self.configuration.timeout } else { timeout };
        let turn = self.random.next() as usize % MANAGEMENT_NODES;
        self.jobs.list.push(Job {
            id,
            kind,
            body,
            change: Vec::new(),
            identity: self.random.identity(&self.configuration.process),
            deadline: now.saturating_add(timeout),
            next_at: now,
            request: None,
            turn,
            only: None,
            connecting_since: None,
            tries: 0,
            awaits: None,
            last_error: None,
            older: None,
            result: None,
        });
        self.step_links(now);
        id
    }

    /// A schema change has ended.
    pub(crate) fn dictionary_changed(
        &mut self,
        now: Nanoseconds,
        id: u64,
        body: &DictionaryChanged,
        detail: &[u8],
    ) {
        let Some(job) = self.jobs.of_request(id) else { return };
        if body.code.get() != 0 {
            let error = Error::from_number(body.code.get(), &String::from_utf8_lossy(detail));
            let retryable = error.error_code().is_some_and(ErrorCode::is_retryable);
            return job.refused(now, error, retryable);
        }
        job.request = None;
        job.awaits = Some((body.state_version.get(), body.table.get()));
        self.refresh.want_version(body.state_version.get());
    }

    /// Moves every job on as far as it goes now.
    pub(crate) fn step_jobs(&mut self, now: Nanoseconds) {
        if self.jobs.list.is_empty() {
            return;
        }
        let refusal = self.fatal_refusal();
        let (version, answers) = (self.wire.map.version(), self.refresh.answers);
        let mut jobs = std::mem::take(&mut self.jobs.list);
        for job in &mut jobs {
            if job.result.is_none() {
                job.result = job.older_status(now).map(Ok);
            }
            if job.result.is_some() {
                continue;
            }
            match (&job.kind, job.awaits) {
                (Kind::Refresh { answers: before }, _) if answers > *before => {
                    job.result = Some(Ok(JobResult::Refreshed));
                }
                (Kind::Drop, Some((shown, _))) if version >= shown => {
                    job.result = Some(Ok(JobResult::Dropped));
                }
                (
                    Kind::Change | Kind::User | Kind::Leave | Kind::End | Kind::Management,
                    Some((shown, _)),
                ) if version >= shown => {
                    job.result = Some(Ok(JobResult::Changed));
                }
                (_, Some((shown, table))) if version >= shown => {
                    job.result = Some(Ok(JobResult::Created { table }));
                }
                _ if now >= job.deadline => job.result = Some(Err(self.overdue(job))),
                (Kind::Refresh { .. }, _) => job.result = refusal.clone().map(Err),
                (_, Some(_)) => {}
                (kind, None) => {
                    let within = kind.within();
                    if job.request.is_some_and(|(_, _, sent_at)| now >= sent_at + within) {
                        job.request = None;
                        job.next_candidate(now);
                    }
                    if job.request.is_none() && now >= job.next_at && self.wire.map.state().is_some() {
                        let id = self.own_request();
                        job.ask(now, &mut self.wire, id);
                    } else if job.request.is_none() && now >= job.next_at {
                        job.next_at = now + RETRY_FIRST;
                        job.result = refusal.clone().map(Err);
                    }
                }
            }
        }
        let finished = &mut self.jobs.finished;
        jobs.retain_mut(|job| job.result.take().map(|result| finished.push_back((job.id, result))).is_none());
        self.jobs.list = jobs;
        self.step_links(now);
    }

    /// Why no seed takes this client, when waiting will not help.
    fn fatal_refusal(&self) -> Option<Error> {
        if self.wire.map.state().is_some() {
            return None;
        }
        let refusals = self.wire.endpoints.iter().filter_map(|endpoint| endpoint.refusal.as_ref());
        let fatal = |code: u16| {
            let code = ErrorCode::from_number(code);
            matches!(
                code,
                Some(ErrorCode::WrongSecret | ErrorCode::ForeignCluster | ErrorCode::ProtocolVersion)
            )
        };
        refusals
            .into_iter()
            .find(|(code, _)| fatal(*code))
            .map(|(code, detail)| Error::from_number(*code, detail))
    }

    fn overdue(&self, job: &Job) -> Error {
        if let Some(error) = &job.last_error {
            return error.clone();
        }
        if self.wire.map.state().is_none() {
            let seeds =
                self.wire.endpoints.iter().filter(|endpoint| matches!(endpoint.target, Target::Seed { .. }));
            let causes: Vec<String> = seeds
                .map(|endpoint| match endpoint.is_ready() {
                    true => format!("{} (it knows of no cluster yet)", endpoint.address),
                    false => format!("{} ({})", endpoint.address, endpoint.cause()),
                })
                .collect();
            let message = format!("No node of the cluster could be reached: {}", causes.join(", "));
            return Error { message, ..Error::new(ErrorCode::NodeUnreachable, "") };
        }
        Error::new(ErrorCode::DeadlineExceeded, "")
    }
}
