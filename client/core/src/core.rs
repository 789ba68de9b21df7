//! The client core: what a driver calls.

use crate::batches::{Batches, internal_request};
use crate::endpoint::{Endpoint, Phase};
use crate::interface::{
    ClientConfiguration, ClientCounters, CloseReason, Command, LinkId, MILLISECOND, Nanoseconds, SECOND,
    Target,
};
use crate::jobs::Jobs;
use crate::outcome::{Outcome, Outcomes};
use crate::random::Random;
use crate::refresh::Refresh;
use crate::transaction::Transactions;
use crate::wire::Wire;
use crate::{Batch, Table};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{FrameView, MAX_FRAME_BYTES, MAX_HANDSHAKE_BYTES};
use duet_protocol::ids::{Instance, TransactionId};
use duet_protocol::record::ClusterState;
use duet_protocol::signal::hello::{Hello, ROLE_CLIENT, ROLE_DATA_NODE, ROLE_MANAGEMENT};
use duet_protocol::signal::refuse_link::RefuseLink;
use duet_protocol::signal::welcome::Welcome;
use duet_protocol::signal::{Sections, SignalView};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

/// First and longest wait before a connection is tried again.
const RECONNECT_FIRST: Nanoseconds = 10 * MILLISECOND;
const RECONNECT_LAST: Nanoseconds = 500 * MILLISECOND;
/// How long a seed or management node stays connected after it was last needed.
pub(crate) const NEEDED_FOR: Nanoseconds = 10 * SECOND;
/// Bytes of the program's name that are sent.
const PROGRAM_BYTES: usize = 64;

/// The Duet client without IO.
///
/// Driver's loop: for every event call the method of its name; when a burst of events is through call
/// [`ClientCore::flush`], then write what [`ClientCore::drain_output`] hands out, obey
/// [`ClientCore::next_command`], and take [`ClientCore::next_completed`] and [`ClientCore::next_finished_job`].
/// Call [`ClientCore::tick`] when [`ClientCore::next_timer`] says so, or every few milliseconds.
#[derive(Debug)]
pub struct ClientCore {
    pub(crate) configuration: ClientConfiguration,
    pub(crate) wire: Wire,
    pub(crate) batches: Batches,
    pub(crate) completed: VecDeque<Box<Batch>>,
    pub(crate) commands: VecDeque<Command>,
    /// Operations that wait for a map.
    pub(crate) waiting_for_map: VecDeque<u64>,
    /// Writes that wait for a transaction number.
    pub(crate) waiting_for_number: VecDeque<u64>,
    /// Operations that are tried again at a time.
    pub(crate) retries: BinaryHeap<Reverse<(Nanoseconds, u64)>>,
    /// No batch ends before this time.
    pub(crate) earliest_deadline: Nanoseconds,
    pub(crate) outcomes: Outcomes,
    pub(crate) transactions: Transactions,
    pub(crate) jobs: Jobs,
    pub(crate) refresh: Refresh,
    /// Whether a data node of the view is gone or silent.
    pub(crate) misses_member: bool,
    pub(crate) random: Random,
    /// Endpoint of each link, by slot, with the link's generation.
    links: Vec<Option<(u32, usize)>>,
    own_requests: u64,
}

impl ClientCore {
    /// A client that has not contacted anyone yet.
    pub fn new(configuration: ClientConfiguration, _now: Nanoseconds) -> ClientCore {
        let mut wire = Wire { limits: configuration.limits, ..Wire::default() };
        wire.limits.batches = wire.limits.batches.min(crate::batches::MAX_SLOTS);
        for (index, address) in configuration.seeds.iter().enumerate() {
            wire.endpoints.push(Endpoint::new(Target::Seed { index: index as u32 }, address.clone()));
        }
        ClientCore {
            random: Random::new(configuration.seed),
            configuration,
            wire,
            batches: Batches::default(),
            completed: VecDeque::new(),
            commands: VecDeque::new(),
            waiting_for_map: VecDeque::new(),
            waiting_for_number: VecDeque::new(),
            retries: BinaryHeap::new(),
            earliest_deadline: Nanoseconds::MAX,
            outcomes: Outcomes::default(),
            transactions: Transactions::default(),
            jobs: Jobs::default(),
            refresh: Refresh::default(),
            misses_member: false,
            links: Vec::new(),
            own_requests: 0,
        }
    }

    /// A wanted connection is open.
    pub fn link_connected(&mut self, now: Nanoseconds, link: LinkId, target: Target) {
        let Some(index) = self.endpoint_of_target(target) else {
            self.commands.push_back(Command::Close { link });
            return;
        };
        if self.wire.endpoints[index].phase != Phase::Connecting {
            self.commands.push_back(Command::Close { link });
            return;
        }
        let slot = link.slot as usize;
        if self.links.len() <= slot {
            self.links.resize(slot + 1, None);
        }
        self.links[slot] = Some((link.generation, index));
        let endpoint = &mut self.wire.endpoints[index];
        endpoint.unlink(Phase::Greeting { link, since: now });
        endpoint.heard_at = now;
        endpoint.instance = Instance::NONE;
        let body = Hello {
            role: ROLE_CLIENT.into(),
            lane: duet_protocol::frame::NO_LANE.into(),
            process: self.configuration.process,
            ..Hello::default()
        };
        let program = self.configuration.program.as_bytes();
        let program = &program[..program.len().min(PROGRAM_BYTES)];
        endpoint.builder.push(0, 0, &body, Sections::two(&self.configuration.secret, program));
    }

    /// A wanted connection could not be opened for this reason, a part of a sentence; the core asks again later.
    pub fn connect_failed_because(&mut self, now: Nanoseconds, target: Target, reason: String) {
        if let Some(index) = self.endpoint_of_target(target) {
            self.wire.endpoints[index].failure = Some(reason);
        }
        self.connect_failed(now, target);
    }

    /// A wanted connection could not be opened; the core asks again later.
    pub fn connect_failed(&mut self, now: Nanoseconds, target: Target) {
        if let Some(index) = self.endpoint_of_target(target)
            && self.wire.endpoints[index].phase == Phase::Connecting
        {
            self.lose(now, index);
        }
    }

    /// A link is gone.
    pub fn link_closed(&mut self, now: Nanoseconds, link: LinkId, _reason: CloseReason) {
        if let Some(index) = self.endpoint_of_link(link) {
            if matches!(self.wire.endpoints[index].phase, Phase::Greeting { .. }) {
                self.wire.endpoints[index].failure =
                    Some("it closed the connection without an answer".to_owned());
            }
            self.lose(now, index);
        }
    }

    /// Largest frame to accept from this link now, in bytes (small before the handshake).
    pub fn frame_limit(&self, link: LinkId) -> usize {
        match self.endpoint_of_link(link) {
            Some(index) if self.wire.endpoints[index].is_ready() => MAX_FRAME_BYTES,
            Some(_) => MAX_HANDSHAKE_BYTES,
            // What still comes on a link that was left is dropped.
            None => MAX_FRAME_BYTES,
        }
    }

    /// One whole frame arrived (its announced length was checked against [`ClientCore::frame_limit`]).
    pub fn frame(&mut self, now: Nanoseconds, link: LinkId, bytes: &[u8]) {
        let Some(index) = self.endpoint_of_link(link) else { return };
        let Ok(frame) = FrameView::new_checked(bytes) else {
            return self.close(now, index);
        };
        let envelope = frame.envelope();
        let ours = self.wire.identity.cluster_id;
        if envelope.cluster_id != 0 && ours != 0 && envelope.cluster_id != ours {
            self.wire.endpoints[index].refusal = Some((ErrorCode::ForeignCluster as u16, String::new()));
            return self.close(now, index);
        }
        self.wire.identity.epoch = self.wire.identity.epoch.max(envelope.epoch);
        self.wire.endpoints[index].heard_at = now;
        if envelope.view > self.wire.map.seen_view {
            self.wire.map.seen_view = envelope.view;
            self.refresh.hurry(now);
        }
        if self.wire.endpoints[index].is_ready() {
            self.answers(now, index, &frame, envelope.view);
        } else {
            self.welcomed(now, index, link, &frame);
        }
    }

    /// The link's bytes cannot be a frame: it is closed.
    pub fn damaged(&mut self, now: Nanoseconds, link: LinkId, _code: ErrorCode) {
        if let Some(index) = self.endpoint_of_link(link) {
            self.wire.endpoints[index].failure = Some("its answer is not one of a Duet node".to_owned());
            self.close(now, index);
        }
    }

    /// Ends a burst: sends what can be sent and seals all open frames.
    pub fn flush(&mut self, now: Nanoseconds) {
        self.pump(now);
        self.step_refresh(now);
        self.step_session(now);
        self.step_jobs(now);
        self.step_resolves(now);
        self.wire.seal();
    }

    /// Hands out the sealed bytes of every link that has some, and forgets them.
    pub fn drain_output(&mut self, mut send: impl FnMut(LinkId, &[u8])) {
        for endpoint in &mut self.wire.endpoints {
            if endpoint.builder.is_empty() {
                continue;
            }
            if let Some(link) = endpoint.link() {
                send(link, endpoint.builder.sealed());
            }
            endpoint.builder.clear();
        }
    }

    /// The next command, if any.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// The next completed batch, if any. Every submitted batch comes back exactly once.
    pub fn next_completed(&mut self) -> Option<Box<Batch>> {
        self.completed.pop_front()
    }

    /// Whether the core waits for something from this link.
    pub fn awaits(&self, link: LinkId) -> bool {
        self.endpoint_of_link(link).is_some_and(|index| {
            let endpoint = &self.wire.endpoints[index];
            endpoint.outstanding > 0 || !endpoint.is_ready()
        })
    }

    /// Whether no batch, no transaction and no schema change is under way.
    pub fn is_idle(&self) -> bool {
        self.batches.len() == 0 && self.jobs.is_empty() && self.transactions.is_empty()
    }

    /// The cluster state, once one is known.
    pub fn state(&self) -> Option<&Arc<ClusterState>> {
        self.wire.map.state()
    }

    /// The open tables in order of their ids.
    pub fn tables(&self) -> &[Arc<Table>] {
        self.wire.map.tables()
    }

    /// The open table of this name, as far as this client knows; see [`ClientCore::refresh`].
    pub fn table(&self, database: &str, name: &str) -> Option<Arc<Table>> {
        self.wire.map.table(database, name).cloned()
    }

    /// What became of a write that ended in `OutcomeUnknown`; `None` while it is unknown.
    pub fn outcome(&self, transaction: TransactionId) -> Option<Outcome> {
        self.outcomes.known(transaction)
    }

    /// Writes whose outcome is unknown and being resolved.
    pub fn unknown_outcomes(&self) -> usize {
        self.outcomes.unknown_count()
    }

    /// Transaction numbers given out and not resolved.
    pub fn unresolved_numbers(&self) -> u64 {
        self.wire.sessions.unresolved()
    }

    /// Counters now.
    pub fn counters(&self) -> ClientCounters {
        self.wire.counters
    }

    /// The id of a new request of the core itself.
    pub(crate) fn own_request(&mut self) -> u64 {
        self.own_requests += 1;
        internal_request(self.own_requests)
    }

    pub(crate) fn endpoint_of_target(&self, target: Target) -> Option<usize> {
        self.wire.endpoints.iter().position(|endpoint| endpoint.target == target)
    }

    fn endpoint_of_link(&self, link: LinkId) -> Option<usize> {
        let (generation, index) = (*self.links.get(link.slot as usize)?)?;
        (generation == link.generation).then_some(index)
    }

    fn welcomed(&mut self, now: Nanoseconds, index: usize, link: LinkId, frame: &FrameView<'_>) {
        let envelope = frame.envelope();
        let mut signals = frame.signals();
        let first = signals.next();
        if let Some(refusal) =
            first.as_ref().and_then(|signal| signal.body::<RefuseLink>().map(|body| (body, signal)))
        {
            let (body, signal) = refusal;
            let detail = String::from_utf8_lossy(signal.section(0)).into_owned();
            self.wire.endpoints[index].refusal = Some((body.code.get(), detail));
            return self.close(now, index);
        }
        let Some(welcome) = first.as_ref().and_then(SignalView::body::<Welcome>) else {
            self.wire.endpoints[index].refusal = Some((ErrorCode::HandshakeRequired as u16, String::new()));
            return self.close(now, index);
        };
        let expected = match self.wire.endpoints[index].target {
            Target::Seed { .. } => true,
            Target::Management { .. } => welcome.role.get() == ROLE_MANAGEMENT,
            Target::Node { node } => welcome.role.get() == ROLE_DATA_NODE && envelope.sender.node == node,
        };
        if !expected {
            let detail = "another node answers at the address".to_owned();
            self.wire.endpoints[index].refusal = Some((ErrorCode::NodeUnreachable as u16, detail));
            self.refresh.want();
            return self.close(now, index);
        }
        if welcome.state_version.get() > self.wire.map.version() {
            self.refresh.want();
        }
        let endpoint = &mut self.wire.endpoints[index];
        endpoint.phase = Phase::Ready { link };
        endpoint.instance = envelope.sender;
        endpoint.role = welcome.role.get();
        endpoint.failures = 0;
        endpoint.refusal = None;
        endpoint.failure = None;
        for signal in signals {
            self.answer(now, index, &signal, envelope.view);
        }
    }

    /// Closes a link from this side.
    pub(crate) fn close(&mut self, now: Nanoseconds, index: usize) {
        if let Some(link) = self.wire.endpoints[index].link() {
            self.commands.push_back(Command::Close { link });
        }
        self.lose(now, index);
    }

    /// A link is gone or could not be opened: what was under way there is sent again when there is a new one.
    fn lose(&mut self, now: Nanoseconds, index: usize) {
        let endpoint = &mut self.wire.endpoints[index];
        if let Some(link) = endpoint.link() {
            self.links[link.slot as usize] = None;
            self.wire.counters.links_lost += u64::from(endpoint.is_ready());
        }
        let was_ready = endpoint.is_ready();
        let until = now + self.random.backoff(RECONNECT_FIRST, RECONNECT_LAST, endpoint.failures);
        endpoint.failures += 1;
        endpoint.unlink(Phase::Waiting { until });
        self.jobs.link_lost(now, index);
        if was_ready {
            self.transactions_lost(now, index);
            self.operations_lost(index);
            self.outcomes.link_lost(now, index, &mut self.random);
            self.refresh.link_lost(index);
            self.session_link_lost(now, index);
        }
    }
}
