//! Signals of established links, and the answers that wait for the log.

use crate::interface::{LinkId, Nanoseconds};
use crate::link::Phase;
use crate::machine::MAX_JOBS;
use crate::node::{ManagementNode, Report, is_fresh};
use crate::placement::MAX_LANES;
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::Instance;
use duet_protocol::record::{
    FinishedRequest, LeaveRequest, ManagementChange, ManagementCommand, Member, MemberState, TableChange,
    UserChange,
};
use duet_protocol::schema::TableDefinition;
use duet_protocol::signal::change_dictionary::{
    ChangeDictionary, KIND_CHANGE_MANAGEMENT, KIND_CHANGE_TABLE, KIND_CHANGE_USER, KIND_CREATE_TABLE,
    KIND_DROP_TABLE, KIND_END, KIND_LEAVE,
};
use duet_protocol::signal::cluster_state::ClusterStateSignal;
use duet_protocol::signal::cluster_status::ClusterStatusSignal;
use duet_protocol::signal::dictionary_changed::DictionaryChanged;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::fetch_state::FetchState;
use duet_protocol::signal::node_report::NodeReport;
use duet_protocol::signal::raft_message::RaftMessage;
use duet_protocol::signal::register::Register;
use duet_protocol::signal::registered::Registered;
use duet_protocol::signal::{Sections, SignalType, SignalView};

/// Entries that may be proposed and not yet applied.
const MAX_UNAPPLIED: u64 = 256;
/// Answers that may wait for the log.
const MAX_WAITERS: usize = 4_096;
/// Answers of one link that may wait for the log.
const MAX_LINK_WAITERS: usize = 256;
/// Largest table definition, in bytes.
const MAX_DEFINITION_BYTES: usize = 256 << 10;
/// Longest address, in bytes.
const MAX_ADDRESS_BYTES: usize = 256;
/// Longest reason, in characters, for which a data node cannot build an index.
const MAX_DETAIL: usize = 1_024;
/// Time for which a process that tried to register, while an earlier life of it is a member, is taken to live.
const RETURNING_FOR: Nanoseconds = 2_000_000_000;
/// Longest `database.table`, in bytes.
const MAX_NAME_BYTES: usize = 512;

/// Who waits for what.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    registrations: Vec<Waiter<(u32, [u8; 16])>>,
    changes: Vec<Waiter<[u8; 16]>>,
}

/// One answer that waits for the log.
#[derive(Debug)]
struct Waiter<K> {
    key: K,
    link: LinkId,
    request_id: u64,
}

impl Waiters {
    /// A link is gone, and with it everybody who waited there.
    pub(crate) fn forget_link(&mut self, link: LinkId) {
        self.registrations.retain(|waiter| waiter.link != link);
        self.changes.retain(|waiter| waiter.link != link);
    }
}

/// Adds a waiter unless there are too many; a repeat of the same question waits once.
fn wait<K: PartialEq>(
    waiters: &mut Vec<Waiter<K>>,
    key: K,
    link: LinkId,
    request_id: u64,
) -> Result<(), ErrorCode> {
    let here = waiters.iter().filter(|waiter| waiter.link == link);
    if here.clone().any(|waiter| waiter.key == key && waiter.request_id == request_id) {
        return Ok(());
    }
    if waiters.len() >= MAX_WAITERS || here.count() >= MAX_LINK_WAITERS {
        return Err(ErrorCode::Overloaded);
    }
    waiters.push(Waiter { key, link, request_id });
    Ok(())
}

pub(crate) type Refusal = (ErrorCode, String);

impl ManagementNode {
    /// One signal of an established link.
    pub(crate) fn signal(&mut self, now: Nanoseconds, link: LinkId, phase: Phase, signal: &SignalView<'_>) {
        match (phase, signal.signal_type()) {
            (_, SignalType::RefuseLink) => self.hear_refusal(link, signal),
            (_, SignalType::FetchState) => self.fetch_state(link, signal),
            (Phase::Client, SignalType::FetchStatus) => self.fetch_status(now, link, signal.request_id()),
            (Phase::Client, SignalType::FetchUsers) => self.fetch_users(link, signal),
            (Phase::Client, SignalType::ChangeDictionary) => self.change_dictionary(link, signal),
            (Phase::DataNode, SignalType::Register) => self.register(now, link, signal),
            (Phase::DataNode, SignalType::NodeReport) => self.node_report(now, signal),
            (Phase::DataNode, SignalType::ProposeView) => self.propose_view(link, signal),
            (Phase::DataNode, SignalType::Installed) => self.relay_installed(link, signal),
            (Phase::Management { raft_id, .. }, SignalType::RaftMessage) => {
                self.raft_message(raft_id, signal);
            }
            (Phase::Management { .. }, SignalType::ClusterStateSignal) => self.hear_members(now, signal),
            (Phase::Management { .. }, SignalType::ErrorReply) => {}
            _ => self.refuse(link, ErrorCode::UnexpectedSignal, "not accepted from this role"),
        }
    }

    fn fetch_state(&mut self, link: LinkId, signal: &SignalView<'_>) {
        let known = signal.body::<FetchState>().map_or(0, |body| body.known_version.get());
        let version = self.machine.state().version;
        let body = ClusterStateSignal { version: version.into() };
        if self.cluster_id() == 0 {
            return self.reply_error(
                link,
                signal.request_id(),
                ErrorCode::NotServing,
                "the cluster does not exist yet",
            );
        }
        if known >= version {
            return self.send(link, signal.request_id(), &body, Sections::none());
        }
        let record = self.take_state_record();
        if self.link(link).is_some_and(|link| link.has_room_for(record.len())) {
            self.send(link, signal.request_id(), &body, Sections::one(&record));
        } else {
            self.reply_error(link, signal.request_id(), ErrorCode::ReplyBufferFull, "");
        }
        self.keep_state_record(record);
    }

    fn fetch_status(&mut self, now: Nanoseconds, link: LinkId, request_id: u64) {
        if !self.link(link).is_some_and(|link| link.has_room_for(0) && link.wants_input()) {
            return self.reply_error(link, request_id, ErrorCode::ReplyBufferFull, "");
        }
        if self.cluster_id() == 0 {
            let detail = "this management node waits for the others, or to be taken in";
            return self.reply_error(link, request_id, ErrorCode::NotServing, detail);
        }
        let status = self.status(now);
        match status.to_record() {
            Ok(record) => {
                let body = ClusterStatusSignal { version: status.state.version.into() };
                self.send(link, request_id, &body, Sections::one(&record));
            }
            Err(code) => self.reply_error(link, request_id, code, "the status cannot be encoded"),
        }
    }

    fn raft_message(&mut self, raft_id: u64, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<RaftMessage>() else { return };
        if body.from.get() == raft_id && body.to.get() == self.consensus.raft_id() {
            self.consensus.step(raft_id, signal.section(0));
        }
    }

    fn node_report(&mut self, now: Nanoseconds, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<NodeReport>() else { return };
        let instance = Instance { node: body.node.get(), incarnation: body.incarnation.get() };
        self.rollback.hear(body.view.get());
        self.rollback.hear_version(body.state_version.get());
        // A report that overtakes its registration here is repeated soon.
        if self.machine.registered(instance.node) != Some(instance) {
            return;
        }
        if let Some(slot) = self.reports.get_mut(instance.node as usize - 1) {
            let detail = String::from_utf8_lossy(signal.section(0)).chars().take(MAX_DETAIL).collect();
            *slot = Some(Report { instance, heard_at: now, body: *body, detail });
        }
    }

    fn register(&mut self, now: Nanoseconds, link: LinkId, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<Register>() else { return };
        self.rollback.hear(body.highest_view.get());
        let answer = match self.judge_registration(now, link, signal, body) {
            Ok(Some(incarnation)) => Ok(incarnation),
            Ok(None) => return,
            Err(refusal) => Err(refusal),
        };
        let (code, incarnation, detail) = match answer {
            Ok(incarnation) => (0, incarnation, String::new()),
            Err((code, detail)) => (code as u16, 0, detail),
        };
        self.reply_registered(link, signal.request_id(), code, incarnation, &detail);
    }

    /// The incarnation if it can be told at once, `None` if the answer waits for the log.
    fn judge_registration(
        &mut self,
        now: Nanoseconds,
        link: LinkId,
        signal: &SignalView<'_>,
        body: &Register,
    ) -> Result<Option<u32>, Refusal> {
        let (node, process) = (body.node.get(), body.process);
        self.judge_change()?;
        let data_nodes = self.machine.state().configuration.data_nodes;
        if node == 0 || node > data_nodes {
            return Err((ErrorCode::UnknownNodeId, format!("data node ids are 1 to {data_nodes}")));
        }
        if process == [0; 16] {
            return Err((ErrorCode::InvalidRequest, "the process has no identity".to_owned()));
        }
        let data_parts = body.data_parts.get();
        if !(1..=u32::from(MAX_LANES)).contains(&data_parts) {
            let detail = format!("a data node has 1 to {MAX_LANES} data parts, not {data_parts}");
            return Err((ErrorCode::InvalidRequest, detail));
        }
        let data_parts = data_parts as u16;
        let address = text(signal.section(0), MAX_ADDRESS_BYTES, "the address")?;
        let metrics_address = text(signal.section(1), MAX_ADDRESS_BYTES, "the metrics address")?;
        if address.is_empty() {
            return Err((ErrorCode::InvalidRequest, "the address is empty".to_owned()));
        }
        let state = self.machine.state();
        if let Some(record) = state.node(node) {
            if record.process == process {
                if record.address == address && record.metrics_address == metrics_address {
                    return Ok(Some(record.incarnation));
                }
            } else {
                let report = self.report(node).filter(|report| report.instance == record.instance());
                if report.is_some_and(|report| is_fresh(report, now)) {
                    return Err((
                        ErrorCode::DuplicateNodeId,
                        format!("data node {node} runs at {}", record.address),
                    ));
                }
                if let Some(earlier) = state.view.member(node) {
                    return Err(self.refuse_returning(now, earlier));
                }
            }
        }
        let key = (node, process);
        wait(&mut self.waiters.registrations, key, link, signal.request_id()).map_err(bare)?;
        if !self.duties.registrations.contains(&key) {
            let command = ManagementCommand::Register { node, process, address, metrics_address, data_parts };
            if !self.propose(&command) {
                self.waiters.registrations.retain(|waiter| waiter.key != key);
                return Err(bare(ErrorCode::Overloaded));
            }
            self.duties.registrations.push(key);
        }
        Ok(None)
    }

    /// Refuses a process whose node id still belongs to a member: its earlier life, which the others of its group remove. If none of
    /// those lives either, nobody has the rows any more.
    fn refuse_returning(&mut self, now: Nanoseconds, earlier: Instance) -> Refusal {
        self.duties.returning.retain(|(gone, heard_at)| *gone != earlier && now - heard_at < RETURNING_FOR);
        self.duties.returning.push((earlier, now));
        let returning = &self.duties.returning;
        // A node that came back a moment ago and is a member again lives.
        let is_gone = |member: &Member| returning.iter().any(|(gone, _)| *gone == member.instance());
        let group = self.machine.state().view.group_of(earlier.node);
        let lost = group.filter(|(_, group)| {
            group.members.iter().filter(|member| member.state == MemberState::Full).all(is_gone)
        });
        let lost = lost.map(|(number, _)| number);
        if let Some(group) = lost {
            self.mark(group, true);
            let detail = format!(
                "all processes with the rows of the group of node {} have ended: start a new cluster and load it again",
                earlier.node
            );
            return (ErrorCode::GroupLost, detail);
        }
        (ErrorCode::ReturningInstance, format!("data node {} is still a member as {earlier}", earlier.node))
    }

    /// Whether this node may propose changes now.
    pub(crate) fn judge_change(&self) -> Result<(), Refusal> {
        if self.rollback.is_rolled_back() {
            return Err((ErrorCode::RolledBack, self.roll_back_advice()));
        }
        if !self.consensus.is_acting_leader() {
            return Err((ErrorCode::NotLeader, self.leader_hint()));
        }
        if self.consensus.unapplied() >= MAX_UNAPPLIED {
            return Err(bare(ErrorCode::Overloaded));
        }
        Ok(())
    }

    fn leader_hint(&self) -> String {
        match self.leader_node() {
            0 => "no leader is known".to_owned(),
            leader => format!("management node {leader} leads"),
        }
    }

    fn change_dictionary(&mut self, link: LinkId, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<ChangeDictionary>() else { return };
        let request = body.request;
        if body.kind.get() == KIND_END {
            return self.hear_end(link, signal, request);
        }
        match self.judge_change_dictionary(link, signal, body) {
            Ok(Some(finished)) => self.reply_changed(link, signal.request_id(), Ok(&finished)),
            Ok(None) => {}
            Err((code, detail)) => {
                self.waiters.changes.retain(|waiter| waiter.link != link || waiter.key != request);
                self.reply_changed(link, signal.request_id(), Err((code, &detail)));
            }
        }
    }

    /// The result if the request has ended before, `None` if the answer waits for the log.
    fn judge_change_dictionary(
        &mut self,
        link: LinkId,
        signal: &SignalView<'_>,
        body: &ChangeDictionary,
    ) -> Result<Option<FinishedRequest>, Refusal> {
        self.judge_change()?;
        let request = body.request;
        if let Some(finished) = self.machine.finished(&request) {
            return Ok(Some(finished.clone()));
        }
        let known = self.machine.job(&request).is_some() || self.duties.requests.contains(&request);
        if known {
            wait(&mut self.waiters.changes, request, link, signal.request_id()).map_err(bare)?;
            return Ok(None);
        }
        let command = change_command(body, signal.section(0), signal.section(1))?;
        let needs_nodes = !matches!(
            command,
            ManagementCommand::ChangeUser { .. } | ManagementCommand::ChangeManagement { .. }
        );
        if needs_nodes && self.machine.state().view.number == 0 {
            return Err((ErrorCode::NotServing, "not all data nodes have joined yet".to_owned()));
        }
        if self.machine.jobs().len() + self.duties.requests.len() >= MAX_JOBS {
            return Err((ErrorCode::Overloaded, "too many schema changes are under way".to_owned()));
        }
        wait(&mut self.waiters.changes, request, link, signal.request_id()).map_err(bare)?;
        if !self.propose(&command) {
            return Err(bare(ErrorCode::Overloaded));
        }
        self.duties.requests.push(request);
        Ok(None)
    }

    /// A registration was applied.
    pub(crate) fn answer_registration(
        &mut self,
        node: u32,
        process: &[u8; 16],
        result: Result<u32, ErrorCode>,
    ) {
        let (code, incarnation) = match result {
            Ok(incarnation) => (0, incarnation),
            Err(code) => (code as u16, 0),
        };
        let waiting = self.waiters.registrations.extract_if(.., |waiter| waiter.key == (node, *process));
        for waiter in waiting.collect::<Vec<_>>() {
            self.reply_registered(waiter.link, waiter.request_id, code, incarnation, "");
        }
    }

    /// A schema change has ended or was refused.
    pub(crate) fn answer_dictionary(
        &mut self,
        request: &[u8; 16],
        result: Result<&FinishedRequest, (ErrorCode, &str)>,
    ) {
        let waiting = self.waiters.changes.extract_if(.., |waiter| waiter.key == *request);
        for waiter in waiting.collect::<Vec<_>>() {
            self.reply_changed(waiter.link, waiter.request_id, result);
        }
    }

    /// This node leads no longer: everybody who waits asks the next leader.
    pub(crate) fn answer_all_not_leader(&mut self) {
        let waiters = std::mem::take(&mut self.waiters);
        for waiter in waiters.registrations {
            self.reply_registered(waiter.link, waiter.request_id, ErrorCode::NotLeader as u16, 0, "");
        }
        for waiter in waiters.changes {
            self.reply_changed(waiter.link, waiter.request_id, Err((ErrorCode::NotLeader, "")));
        }
    }

    fn reply_registered(&mut self, link: LinkId, request_id: u64, code: u16, incarnation: u32, detail: &str) {
        let body = Registered {
            code: code.into(),
            incarnation: incarnation.into(),
            cluster_id: self.cluster_id().into(),
            ..Registered::default()
        };
        self.send(link, request_id, &body, Sections::one(detail.as_bytes()));
    }

    pub(crate) fn reply_changed(
        &mut self,
        link: LinkId,
        request_id: u64,
        result: Result<&FinishedRequest, (ErrorCode, &str)>,
    ) {
        let given_up = |finished: &FinishedRequest| {
            Some((
                ErrorCode::from_number(finished.code).unwrap_or(ErrorCode::Internal),
                finished.detail.clone(),
            ))
            .filter(|_| finished.code != 0)
        };
        let failure = result.ok().and_then(given_up);
        let result = match &failure {
            Some((code, detail)) => Err((*code, detail.as_str())),
            None => result,
        };
        let (body, detail) = match result {
            Ok(finished) => {
                let body = DictionaryChanged {
                    table: finished.table.into(),
                    state_version: finished.state_version.into(),
                    ..DictionaryChanged::default()
                };
                (body, "")
            }
            Err((code, detail)) => {
                let body = DictionaryChanged {
                    code: (code as u16).into(),
                    state_version: self.machine.state().version.into(),
                    ..DictionaryChanged::default()
                };
                (body, detail)
            }
        };
        self.send(link, request_id, &body, Sections::one(detail.as_bytes()));
    }

    pub(crate) fn reply_error(&mut self, link: LinkId, request_id: u64, code: ErrorCode, detail: &str) {
        let body = ErrorReply {
            code: (code as u16).into(),
            retryable: u16::from(code.is_retryable()).into(),
            ..ErrorReply::default()
        };
        self.send(link, request_id, &body, Sections::one(detail.as_bytes()));
    }
}

fn bare(code: ErrorCode) -> Refusal {
    (code, String::new())
}

fn text(bytes: &[u8], limit: usize, what: &str) -> Result<String, Refusal> {
    let invalid = |why: &str| (ErrorCode::InvalidRequest, format!("{what} is {why}"));
    if bytes.len() > limit {
        return Err(invalid("too long"));
    }
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| invalid("not UTF-8"))
}

fn change_command(
    body: &ChangeDictionary,
    section: &[u8],
    change: &[u8],
) -> Result<ManagementCommand, Refusal> {
    let request = body.request;
    if request == [0; 16] {
        return Err((ErrorCode::InvalidRequest, "the request has no identity".to_owned()));
    }
    match body.kind.get() {
        KIND_CREATE_TABLE => {
            if section.len() > MAX_DEFINITION_BYTES {
                let detail = format!("the definition has more than {MAX_DEFINITION_BYTES} bytes");
                return Err((ErrorCode::InvalidSchema, detail));
            }
            let definition = TableDefinition::from_record(section).map_err(|code| {
                (ErrorCode::InvalidSchema, format!("the definition cannot be read: {code}"))
            })?;
            definition.validate().map_err(|error| (ErrorCode::InvalidSchema, error.to_string()))?;
            Ok(ManagementCommand::CreateTable { request, definition })
        }
        KIND_DROP_TABLE => {
            let (database, name) = table_name(section)?;
            Ok(ManagementCommand::DropTable { request, database, name })
        }
        KIND_CHANGE_TABLE => {
            let (database, name) = table_name(section)?;
            if change.len() > MAX_DEFINITION_BYTES {
                let detail = format!("the change has more than {MAX_DEFINITION_BYTES} bytes");
                return Err((ErrorCode::InvalidSchema, detail));
            }
            let change = TableChange::from_record(change)
                .map_err(|code| (ErrorCode::InvalidSchema, format!("the change cannot be read: {code}")))?;
            Ok(ManagementCommand::ChangeTable { request, database, name, change })
        }
        KIND_CHANGE_USER => {
            let change = UserChange::from_record(section).map_err(|code| {
                (ErrorCode::InvalidRequest, format!("the change of a user cannot be read: {code}"))
            })?;
            Ok(ManagementCommand::ChangeUser { request, change })
        }
        KIND_LEAVE => {
            let wanted = LeaveRequest::from_record(section).map_err(|code| {
                (ErrorCode::InvalidRequest, format!("which data node is to leave cannot be read: {code}"))
            })?;
            Ok(ManagementCommand::AskToLeave { request, wanted })
        }
        KIND_CHANGE_MANAGEMENT => {
            let change = ManagementChange::from_record(section).map_err(|code| {
                let detail = format!("the change of the management nodes cannot be read: {code}");
                (ErrorCode::InvalidRequest, detail)
            })?;
            Ok(ManagementCommand::ChangeManagement { request, change })
        }
        other => Err((ErrorCode::InvalidRequest, format!("there is no schema change of kind {other}"))),
    }
}

/// Database and table of a `database.table`.
fn table_name(section: &[u8]) -> Result<(String, String), Refusal> {
    let full_name = text(section, MAX_NAME_BYTES, "the table's name")?;
    match full_name.split_once('.') {
        Some((database, name)) => Ok((database.to_owned(), name.to_owned())),
        None => Err((ErrorCode::InvalidRequest, "a table is named as database.table".to_owned())),
    }
}
