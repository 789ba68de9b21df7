//! The management node: joins consensus, state machine, links and the duties of a leader.

use crate::consensus::{Consensus, ConsensusEvent};
use crate::interface::{
    CloseReason, Command, LinkId, LogLevel, ManagementConfiguration, ManagementGauges, Nanoseconds, Persist,
    StartError,
};
use crate::leader::{Duties, RollbackCheck};
use crate::link::{Link, Phase};
use crate::machine::{Applied, Machine};
use crate::membership::{MAX_MANAGEMENT_ID, Outcast};
use crate::peers::Peer;
use crate::placement::MAX_LANES;
use crate::requests::Waiters;
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameView};
use duet_protocol::hash::BUCKET_COUNT;
use duet_protocol::ids::Instance;
use duet_protocol::record::{ManagementCommand, read_log};
use duet_protocol::signal::cluster_state::ClusterStateSignal;
use duet_protocol::signal::node_report::NodeReport;
use duet_protocol::signal::raft_message::RaftMessage;
use duet_protocol::signal::{Sections, Signal, SignalView};
use std::collections::VecDeque;

/// Raft's clock.
const TICK: Nanoseconds = 20_000_000;
/// A link must have shaken hands within this time.
const HANDSHAKE_TIMEOUT: Nanoseconds = 5_000_000_000;
/// A data node that has not reported for so long is not connected.
pub(crate) const SUSPECT_AFTER: Nanoseconds = 500_000_000;
/// Most data nodes.
const MAX_DATA_NODES: usize = 255;
/// Rounds of consensus and leader's work in one flush; more wait for the next tick.
const MAX_ROUNDS: u32 = 16;

/// The latest report of a data node.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) instance: Instance,
    pub(crate) heard_at: Nanoseconds,
    pub(crate) body: NodeReport,
    /// Why an index cannot be built.
    pub(crate) detail: String,
}

/// A management node.
///
/// Driver's loop: for every event call the method of its name; when a burst of events is through call
/// [`ManagementNode::flush`], then write what [`ManagementNode::drain_output`] hands out, obey
/// [`ManagementNode::next_command`], and make [`ManagementNode::next_persist`] durable.
pub struct ManagementNode {
    pub(crate) configuration: ManagementConfiguration,
    pub(crate) consensus: Consensus,
    pub(crate) machine: Machine,
    pub(crate) peers: Vec<Peer>,
    /// Cluster id, state version and Raft ids of the members that the list of peers was made from.
    pub(crate) peers_as_of: Option<(u64, u64, Vec<u64>)>,
    pub(crate) reports: Vec<Option<Report>>,
    pub(crate) waiters: Waiters,
    pub(crate) duties: Duties,
    pub(crate) rollback: RollbackCheck,
    pub(crate) outcast: Outcast,
    links: Vec<Option<Link>>,
    link_count: u32,
    links_refused: u64,
    pub(crate) commands: VecDeque<Command>,
    state_record: (u64, Vec<u8>),
    intact_log_bytes: u64,
    next_tick: Nanoseconds,
    role: (u64, bool),
    stopped: bool,
}

impl ManagementNode {
    /// A node as its log left it; `log` is empty for a new one. The driver must cut the log to
    /// [`ManagementNode::intact_log_bytes`] before it appends to it.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn new(
        configuration: ManagementConfiguration,
        log: &[u8],
        now: Nanoseconds,
    ) -> Result<ManagementNode, StartError> {
        check_configuration(&configuration).map_err(StartError::Configuration)?;
        let contents = read_log(log)?;
        let intact_log_bytes = contents.intact_bytes;
        let consensus =
            Consensus::new(configuration.node, configuration.raft_id, configuration.seed, contents)?;
        let machine = if consensus.has_group() {
            Machine::from_snapshot(consensus.snapshot_data())
                .map_err(|code| StartError::InconsistentLog(format!("its snapshot cannot be read: {code}")))?
        } else {
            Machine::default()
        };
        let mut node = ManagementNode {
            reports: vec![None; MAX_DATA_NODES],
            configuration,
            consensus,
            machine,
            peers: Vec::new(),
            peers_as_of: None,
            waiters: Waiters::default(),
            duties: Duties::default(),
            rollback: RollbackCheck::default(),
            outcast: Outcast::default(),
            links: Vec::new(),
            link_count: 0,
            links_refused: 0,
            commands: VecDeque::new(),
            state_record: (0, Vec::new()),
            intact_log_bytes,
            next_tick: now + TICK,
            role: (0, false),
            stopped: false,
        };
        node.check_state_against_configuration().map_err(StartError::Configuration)?;
        node.find_peers(now);
        node.compare_addresses();
        Ok(node)
    }

    /// Bytes of the log handed to [`ManagementNode::new`] that are intact; the rest is a torn tail.
    pub fn intact_log_bytes(&self) -> u64 {
        self.intact_log_bytes
    }

    /// Somebody connected to this node.
    pub fn link_accepted(&mut self, now: Nanoseconds, link: LinkId) {
        self.add_link(Link::new(link, Phase::Silent, now));
        if self.link_count > self.configuration.max_links {
            self.refuse(link, ErrorCode::TooManyConnections, "");
        }
    }

    /// A wanted connection is open.
    pub fn link_connected(&mut self, now: Nanoseconds, link: LinkId, node: u32) {
        self.add_link(Link::new(link, Phase::Greeting { node }, now));
        self.say_hello(link);
    }

    /// A link is gone.
    pub fn link_closed(&mut self, now: Nanoseconds, link: LinkId, _reason: CloseReason) {
        let Some(slot) = self.links.get_mut(link.slot as usize) else { return };
        let Some(gone) = slot.take_if(|gone| gone.id == link) else { return };
        self.link_count -= 1;
        self.waiters.forget_link(link);
        let greeted = match gone.phase {
            Phase::Greeting { node } => Some(node),
            Phase::Silent | Phase::Client | Phase::DataNode | Phase::Management { .. } | Phase::Closing => {
                None
            }
        };
        if let Some(peer) =
            self.peers.iter_mut().find(|peer| peer.link == Some(link) || greeted == Some(peer.node))
        {
            if peer.link == Some(link) {
                peer.link = None;
                self.consensus.unreachable(peer.raft_id);
            }
            let node = peer.node;
            self.connect_failed(now, node);
        }
    }

    /// Largest frame to accept from this link now, in bytes (small before the handshake).
    pub fn frame_limit(&self, link: LinkId) -> usize {
        self.link(link).map_or(0, Link::frame_limit)
    }

    /// One whole frame arrived (its announced length was checked against [`ManagementNode::frame_limit`]).
    pub fn frame(&mut self, now: Nanoseconds, link: LinkId, bytes: &[u8]) {
        let Some(phase) = self.link(link).map(|link| link.phase) else { return };
        let frame = match FrameView::new_checked(bytes) {
            Ok(frame) => frame,
            Err(code) => return self.refuse(link, code, ""),
        };
        let envelope = frame.envelope();
        let own = self.cluster_id();
        match phase {
            Phase::Closing => {}
            _ if own != 0 && envelope.cluster_id != 0 && envelope.cluster_id != own => {
                let detail = foreign(own, envelope.cluster_id);
                self.refuse(link, ErrorCode::ForeignCluster, &detail);
            }
            Phase::Silent => self.hear_hello(now, link, &frame),
            Phase::Greeting { node } => {
                self.hear_welcome(now, link, node, &frame);
                // What the other side had to say at once follows its welcome.
                self.signals(now, link, frame.signals().skip(1));
            }
            Phase::Client | Phase::DataNode | Phase::Management { .. } => {
                self.hear_envelope(link, phase, &envelope);
                self.signals(now, link, frame.signals());
            }
        }
    }

    fn signals<'a>(&mut self, now: Nanoseconds, link: LinkId, signals: impl Iterator<Item = SignalView<'a>>) {
        for signal in signals {
            match self.link(link).map(|link| link.phase) {
                Some(phase) if phase != Phase::Closing => self.signal(now, link, phase, &signal),
                Some(_) | None => return,
            }
        }
    }

    fn hear_envelope(&mut self, link: LinkId, phase: Phase, envelope: &Envelope) {
        match phase {
            Phase::Management { node, .. } => {
                self.rollback.hear(envelope.view);
                for peer in self.peers.iter_mut().filter(|peer| peer.node == node && peer.link == Some(link))
                {
                    peer.in_cluster = envelope.cluster_id != 0;
                }
            }
            Phase::DataNode => {
                self.rollback.hear(envelope.view);
                if let Some(link) = self.link_mut(link) {
                    link.receiver = envelope.sender;
                }
            }
            Phase::Silent | Phase::Greeting { .. } | Phase::Client | Phase::Closing => {}
        }
    }

    /// The link's bytes cannot be a frame: a refusal is queued and the link closed.
    pub fn damaged(&mut self, _now: Nanoseconds, link: LinkId, code: ErrorCode) {
        self.refuse(link, code, "");
    }

    /// Timers; call at least every 10 ms.
    pub fn tick(&mut self, now: Nanoseconds) {
        if self.stopped || now < self.next_tick {
            return;
        }
        // A process that was paused does not make up for lost ticks: its inbox must come first.
        self.next_tick = if now >= self.next_tick + 4 * TICK { now + TICK } else { self.next_tick + TICK };
        if self.consensus.has_durable_identity() {
            self.consensus.tick();
            self.find_peers(now);
            self.connect_peers(now);
            self.create_group();
            self.reconcile_members();
            self.check_outcast(now);
        }
        self.check_rollback(now);
        let late: Vec<LinkId> = self
            .links
            .iter()
            .flatten()
            .filter(|link| matches!(link.phase, Phase::Silent | Phase::Greeting { .. }))
            .filter(|link| now.saturating_sub(link.opened_at) > HANDSHAKE_TIMEOUT)
            .map(|link| link.id)
            .collect();
        for link in late {
            self.refuse(link, ErrorCode::HandshakeRequired, "no handshake in time");
        }
    }

    /// Ends a burst: consensus and leader's work are done, news and answers written, all open frames sealed.
    pub fn flush(&mut self, now: Nanoseconds) {
        if !self.stopped {
            self.advance(now);
            self.route_raft_messages();
            self.push_news();
        }
        let envelope = self.envelope();
        for link in self.links.iter_mut().flatten() {
            link.seal(&envelope);
        }
    }

    fn advance(&mut self, now: Nanoseconds) {
        for _ in 0..MAX_ROUNDS {
            self.consensus.work();
            while let Some(event) = self.consensus.next_event() {
                self.handle(event);
            }
            if let Some(reason) = self.consensus.take_fatal() {
                return self.stop(reason);
            }
            self.notice_role();
            if self.consensus.wants_compaction() {
                match self.machine.to_snapshot() {
                    Ok(data) => self.consensus.compact(data),
                    Err(code) => {
                        return self.stop(format!("the state cannot be written as a snapshot: {code}"));
                    }
                }
            }
            if !self.lead(now) {
                break;
            }
        }
    }

    fn handle(&mut self, event: ConsensusEvent) {
        match event {
            ConsensusEvent::Command(bytes) => match ManagementCommand::from_record(&bytes) {
                Ok(command) => {
                    let applied = self.machine.apply(command);
                    self.answer_applied(applied);
                }
                Err(code) => {
                    self.stop(format!("a command of the log cannot be read by this version: {code}"));
                }
            },
            ConsensusEvent::Install(bytes) => match Machine::from_snapshot(&bytes) {
                Ok(machine) => {
                    self.machine = machine;
                    match self.check_state_against_configuration() {
                        Ok(()) => self.inform(format!(
                            "member of cluster {:016x}, state version {}",
                            self.cluster_id(),
                            self.machine.state().version
                        )),
                        Err(reason) => self.stop(reason),
                    }
                }
                Err(code) => self.stop(format!("a snapshot cannot be read by this version: {code}")),
            },
            ConsensusEvent::ReadIndex { context, index } => self.rollback.confirm(&context, index),
        }
    }

    fn answer_applied(&mut self, applied: Applied) {
        match applied {
            Applied::Registered { node, process, result } => {
                self.duties.registrations.retain(|pending| *pending != (node, process));
                if result.is_ok() {
                    self.compare_data_parts(node);
                }
                self.answer_registration(node, &process, result);
            }
            Applied::ViewChanged { request, result } => self.answer_view(request, result),
            Applied::View => {
                let formed_here = std::mem::take(&mut self.duties.view_proposed);
                if formed_here && self.machine.state().view.number > 0 {
                    let state = self.machine.state();
                    let (view, configuration) = (state.view.number, &state.configuration);
                    self.inform(format!(
                        "view {view} is formed with {} partitions and {} lanes",
                        configuration.partitions, configuration.lanes
                    ));
                }
            }
            Applied::JobRunning { request } => self.duties.requests.retain(|pending| *pending != request),
            Applied::JobRefused { request, code, detail } => {
                self.duties.requests.retain(|pending| *pending != request);
                self.answer_dictionary(&request, Err((code, &detail)));
            }
            Applied::JobFinished(finished) => {
                self.duties.requests.retain(|pending| *pending != finished.request);
                self.answer_dictionary(&finished.request, Ok(&finished));
            }
            Applied::Other => {}
        }
    }

    /// Says when a data node has more data parts than it can use. The number of lanes, once chosen, stays.
    fn compare_data_parts(&mut self, node: u32) {
        let state = self.machine.state();
        let lanes = state.configuration.lanes;
        let Some(parts) = state.node(node).map(|record| record.data_parts) else { return };
        if lanes > 0 && parts > lanes {
            self.warn(format!(
                "data node {node} has {parts} data parts and the cluster {lanes} lanes: {} of its data parts get no work",
                parts - lanes
            ));
        }
    }

    fn notice_role(&mut self) {
        let role = (self.consensus.term(), self.consensus.is_leader());
        if role == self.role {
            return;
        }
        if self.role.1 {
            self.answer_all_not_leader();
        }
        self.duties = Duties::default();
        if role.1 || self.role.1 {
            let what = if role.1 { "leads" } else { "leads no longer" };
            self.inform(format!("management node {} {what} in term {}", self.configuration.node, role.0));
        }
        self.role = role;
    }

    fn route_raft_messages(&mut self) {
        let envelope = self.envelope();
        let from = self.consensus.raft_id();
        for message in self.consensus.take_outgoing() {
            let link = self
                .peers
                .iter()
                .find(|peer| peer.raft_id == message.to)
                .and_then(|peer| peer.link)
                .and_then(|link| self.link_mut(link))
                .filter(|link| link.has_room_for(message.bytes.len()));
            let sent = link.is_some();
            if let Some(link) = link {
                let body = RaftMessage { from: from.into(), to: message.to.into() };
                link.push(&envelope, 0, &body, Sections::one(&message.bytes));
            } else {
                self.consensus.unreachable(message.to);
            }
            if message.is_snapshot {
                self.consensus.snapshot_sent(message.to, sent);
            }
        }
    }

    fn push_news(&mut self) {
        let version = self.machine.state().version;
        let behind = |link: &&mut Link| link.phase == Phase::DataNode && link.pushed_version < version;
        if self.cluster_id() == 0 || self.links.iter_mut().flatten().find(behind).is_none() {
            return;
        }
        let envelope = self.envelope();
        let record = self.take_state_record();
        for link in self.links.iter_mut().flatten().filter(behind) {
            if link.has_room_for(record.len()) {
                link.push(
                    &envelope,
                    0,
                    &ClusterStateSignal { version: version.into() },
                    Sections::one(&record),
                );
                link.pushed_version = version;
            }
        }
        self.state_record = (version, record);
    }

    /// The cluster state as a record, made once per version; hand it back to `state_record` after use.
    pub(crate) fn take_state_record(&mut self) -> Vec<u8> {
        let version = self.machine.state().version;
        if self.state_record.0 == version && !self.state_record.1.is_empty() {
            return std::mem::take(&mut self.state_record.1);
        }
        // The machine bounds the state far below what a record may hold.
        self.machine.state().to_record().unwrap_or_default()
    }

    /// Keeps a record made by [`ManagementNode::take_state_record`].
    pub(crate) fn keep_state_record(&mut self, record: Vec<u8>) {
        self.state_record = (self.machine.state().version, record);
    }

    /// Hands out the sealed bytes of every link that has some, and forgets them.
    pub fn drain_output(&mut self, mut send: impl FnMut(LinkId, &[u8])) {
        let envelope = self.envelope();
        for link in self.links.iter_mut().flatten() {
            link.seal(&envelope);
            link.drain(&mut send);
        }
    }

    /// Tells how many handed-out bytes of a link are not yet accepted by the system.
    pub fn set_backlog(&mut self, link: LinkId, bytes: usize) {
        if let Some(link) = self.link_mut(link) {
            link.set_backlog(bytes);
        }
    }

    /// Whether the driver should read from this link now (false while its answers pile up).
    pub fn wants_input(&self, link: LinkId) -> bool {
        self.link(link).is_some_and(Link::wants_input)
    }

    /// The next command, if any.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// What has to be made durable now, if anything; nothing more comes before it is answered.
    pub fn next_persist(&mut self) -> Option<Persist> {
        self.consensus.take_persist()
    }

    /// The bytes of [`Persist`] `number` are durable.
    pub fn persisted(&mut self, _now: Nanoseconds, number: u64) {
        self.consensus.persisted(number);
    }

    /// The cluster state as applied by this node.
    pub fn state(&self) -> &duet_protocol::record::ClusterState {
        self.machine.state()
    }

    /// Gauges now.
    pub fn gauges(&self, now: Nanoseconds) -> ManagementGauges {
        let state = self.machine.state();
        ManagementGauges {
            term: self.consensus.term(),
            leader: u64::from(self.leader_node()),
            leading: u64::from(self.consensus.is_acting_leader()),
            applied: self.consensus.applied(),
            log_entries: self.consensus.kept_entries(),
            links: u64::from(self.link_count),
            links_refused: self.links_refused,
            state_version: state.version,
            view: state.view.number,
            tables: state.tables.len() as u64,
            jobs: self.machine.jobs().len() as u64,
            nodes_connected: self.reports.iter().flatten().filter(|report| is_fresh(report, now)).count()
                as u64,
            management_connected: self.peers.iter().filter(|peer| peer.link.is_some()).count() as u64,
            rolled_back: u64::from(self.rollback.is_rolled_back()),
        }
    }

    /// Node id of the leader, 0 when none is known.
    pub(crate) fn leader_node(&self) -> u32 {
        let leader = self.consensus.leader();
        if leader == 0 {
            return 0;
        }
        if leader == self.consensus.raft_id() {
            return self.configuration.node;
        }
        let connected = self.peers.iter().find(|peer| peer.raft_id == leader).map(|peer| peer.node);
        let recorded = || {
            let management = &self.machine.state().management;
            management.iter().find(|record| record.raft_id == leader).map(|record| record.node)
        };
        connected.or_else(recorded).unwrap_or(0)
    }

    pub(crate) fn cluster_id(&self) -> u64 {
        self.machine.state().cluster_id
    }

    pub(crate) fn envelope(&self) -> Envelope {
        Envelope {
            cluster_id: self.cluster_id(),
            view: self.machine.state().view.number,
            ..Envelope::default()
        }
    }

    fn add_link(&mut self, link: Link) {
        let slot = link.id.slot as usize;
        if self.links.len() <= slot {
            self.links.resize_with(slot + 1, || None);
        }
        let replaced = self.links[slot].replace(link);
        assert!(replaced.is_none(), "the driver reuses a slot only after its link is closed");
        self.link_count += 1;
    }

    /// The links of data nodes that take something now.
    pub(crate) fn data_node_links(&self) -> Vec<LinkId> {
        let links = self.links.iter().flatten();
        links
            .filter(|link| link.phase == Phase::DataNode && link.has_room_for(0))
            .map(|link| link.id)
            .collect()
    }

    pub(crate) fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.get(id.slot as usize)?.as_ref().filter(|link| link.id == id)
    }

    pub(crate) fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(id.slot as usize)?.as_mut().filter(|link| link.id == id)
    }

    /// Appends a signal to a link, if it is still there.
    pub(crate) fn send<S: Signal>(
        &mut self,
        link: LinkId,
        request_id: u64,
        body: &S,
        sections: Sections<'_>,
    ) {
        let envelope = self.envelope();
        if let Some(link) = self.link_mut(link) {
            link.push(&envelope, request_id, body, sections);
        }
    }

    /// Counts a refused link.
    pub(crate) fn count_refused(&mut self) {
        self.links_refused += 1;
    }

    /// Closes a link after what waits for it was sent.
    pub(crate) fn close(&mut self, id: LinkId) {
        let Some(link) = self.link_mut(id) else { return };
        if link.phase == Phase::Closing {
            return;
        }
        if let Phase::Greeting { node } = link.phase {
            link.phase = Phase::Closing;
            let opened_at = link.opened_at;
            self.peers.iter_mut().filter(|peer| peer.node == node).for_each(|peer| peer.rest(opened_at));
        } else {
            link.phase = Phase::Closing;
        }
        for peer in self.peers.iter_mut().filter(|peer| peer.link == Some(id)) {
            peer.link = None;
        }
        self.waiters.forget_link(id);
        self.commands.push_back(Command::Close { link: id });
    }

    pub(crate) fn inform(&mut self, text: String) {
        self.commands.push_back(Command::Log { level: LogLevel::Info, text });
    }

    pub(crate) fn warn(&mut self, text: String) {
        self.commands.push_back(Command::Log { level: LogLevel::Warning, text });
    }

    /// The process ends, as it was told to.
    pub(crate) fn end(&mut self, restarts: bool) {
        self.commands.push_back(Command::End { restarts });
    }

    /// The process must end.
    pub(crate) fn stop(&mut self, reason: String) {
        if !self.stopped {
            self.stopped = true;
            self.commands.push_back(Command::Stop { reason });
        }
    }

    fn check_state_against_configuration(&self) -> Result<(), String> {
        let state = self.machine.state();
        if state.cluster_id == 0 || !self.configuration.join.is_empty() {
            return Ok(());
        }
        let wanted = &self.configuration.cluster;
        let found = &state.configuration;
        let fits = found.data_nodes == wanted.data_nodes
            && found.replicas == wanted.replicas
            && [0, found.partitions].contains(&wanted.partitions)
            && [0, found.lanes].contains(&wanted.lanes);
        if !fits {
            let shown = |number: u16| if number == 0 { "automatic".to_owned() } else { number.to_string() };
            return Err(format!(
                "the cluster was created with {} data nodes, {} replicas, {} partitions and {} lanes; the command line says {}, {}, {} and {}",
                found.data_nodes,
                found.replicas,
                shown(found.partitions),
                shown(found.lanes),
                wanted.data_nodes,
                wanted.replicas,
                shown(wanted.partitions),
                shown(wanted.lanes)
            ));
        }
        Ok(())
    }
}

/// Whether a report is recent enough for its node to count as connected.
pub(crate) fn is_fresh(report: &Report, now: Nanoseconds) -> bool {
    now.saturating_sub(report.heard_at) < SUSPECT_AFTER
}

fn foreign(own: u64, theirs: u64) -> String {
    format!(
        "this management node belongs to cluster {own:016x}, the other side to {theirs:016x}: check its addresses; a management node whose directory was lost is started with --join"
    )
}

fn check_configuration(configuration: &ManagementConfiguration) -> Result<(), String> {
    let cluster = &configuration.cluster;
    let mut nodes: Vec<u32> = configuration.management.iter().map(|peer| peer.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let count = configuration.management.len();
    if nodes.len() != count {
        return Err("a management node id is given twice".to_owned());
    }
    if count != 1 && count != 3 {
        return Err(format!(
            "a cluster has 1 or 3 management nodes, not {count}: two tolerate no more failures than one"
        ));
    }
    if !nodes.contains(&configuration.node) || nodes.contains(&0) {
        return Err(format!(
            "management node {} is not among the management nodes given",
            configuration.node
        ));
    }
    if nodes.iter().any(|node| *node > MAX_MANAGEMENT_ID) {
        return Err(format!("management node ids are 1 to {MAX_MANAGEMENT_ID}"));
    }
    if !configuration.join.is_empty() {
        if count != 1 {
            return Err("a management node that joins learns of the others from the cluster: leave --management out, or let it name this node only".to_owned());
        }
        return Ok(());
    }
    if !(1..=MAX_DATA_NODES as u32).contains(&cluster.data_nodes) {
        return Err(format!("a cluster has 1 to 255 data nodes, not {}", cluster.data_nodes));
    }
    if !(1..=2).contains(&cluster.replicas) || !cluster.data_nodes.is_multiple_of(cluster.replicas) {
        return Err(format!(
            "{} data nodes cannot be grouped with {} replicas: replicas are 1 or 2 and divide the number of data nodes",
            cluster.data_nodes, cluster.replicas
        ));
    }
    if usize::from(cluster.partitions) > BUCKET_COUNT {
        return Err(format!("a cluster has 1 to {BUCKET_COUNT} partitions, not {}", cluster.partitions));
    }
    if cluster.lanes > MAX_LANES {
        return Err(format!("there are 1 to {MAX_LANES} lanes, not {}", cluster.lanes));
    }
    Ok(())
}
