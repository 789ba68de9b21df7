//! The first frame of a connection in either direction.

use crate::interface::{LinkId, Nanoseconds};
use crate::link::Phase;
use crate::node::ManagementNode;
use crate::peers::is_contact;
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::FrameView;
use duet_protocol::signal::fetch_state::FetchState;
use duet_protocol::signal::hello::{
    Hello, ManagementIdentity, ROLE_CLIENT, ROLE_DATA_NODE, ROLE_MANAGEMENT, is_same_secret,
};
use duet_protocol::signal::refuse_link::RefuseLink;
use duet_protocol::signal::welcome::Welcome;
use duet_protocol::signal::{Sections, SignalView};

/// Lane field of connections that are no lane.
const NO_LANE: u16 = u16::MAX;
/// Program name told to others.
const PROGRAM: &[u8] = b"duet mgmd";
/// Characters of another side's sentence that are logged.
const MAX_LOGGED: usize = 300;

impl ManagementNode {
    /// Sends the hello of a connection that this node made.
    pub(crate) fn say_hello(&mut self, link: LinkId) {
        let body = Hello {
            role: ROLE_MANAGEMENT.into(),
            lane: NO_LANE.into(),
            process: self.identity().to_process(),
            ..Hello::default()
        };
        let secret = std::mem::take(&mut self.configuration.secret);
        self.send(link, 0, &body, Sections::two(&secret, PROGRAM));
        self.configuration.secret = secret;
    }

    /// Judges the first frame of a connection that somebody made to this node.
    pub(crate) fn hear_hello(&mut self, now: Nanoseconds, link: LinkId, frame: &FrameView<'_>) {
        let mut signals = frame.signals();
        let Some(signal) = signals.next().filter(|_| frame.signal_count() == 1) else {
            return self.refuse(link, ErrorCode::HandshakeRequired, "");
        };
        let Some(hello) = signal.body::<Hello>() else {
            return self.refuse(link, ErrorCode::HandshakeRequired, "");
        };
        if !is_same_secret(&self.configuration.secret, signal.section(0)) {
            return self.refuse(
                link,
                ErrorCode::WrongSecret,
                "give both sides the same --cluster-secret-file",
            );
        }
        let in_cluster = frame.envelope().cluster_id != 0;
        let phase = match hello.role.get() {
            ROLE_CLIENT => Phase::Client,
            ROLE_DATA_NODE => Phase::DataNode,
            ROLE_MANAGEMENT => {
                let identity = ManagementIdentity::from_process(hello.process);
                match self.judge_peer(&identity, None, in_cluster) {
                    Ok(()) => {
                        let (node, raft_id) = (identity.node.get(), identity.raft_id.get());
                        Phase::Management { node, raft_id, in_cluster }
                    }
                    Err((code, detail)) => return self.refuse(link, code, &detail),
                }
            }
            _ => return self.refuse(link, ErrorCode::UnexpectedSignal, "unknown role"),
        };
        let view = frame.envelope().view;
        self.establish(now, link, phase, frame, view);
        let body = Welcome {
            role: ROLE_MANAGEMENT.into(),
            lane: NO_LANE.into(),
            max_frame_bytes: (self.frame_limit(link) as u32).into(),
            state_version: self.machine.state().version.into(),
            process: self.identity().to_process(),
            ..Welcome::default()
        };
        self.send(link, signal.request_id(), &body, Sections::none());
        // Until it has read the welcome the other side takes small frames only, so nothing may share this one.
        let envelope = self.envelope();
        if let Some(link) = self.link_mut(link) {
            link.seal(&envelope);
        }
    }

    /// Judges the answer to [`ManagementNode::say_hello`].
    pub(crate) fn hear_welcome(&mut self, now: Nanoseconds, link: LinkId, node: u32, frame: &FrameView<'_>) {
        let Some(signal) = frame.signals().next() else {
            return self.refuse(link, ErrorCode::HandshakeRequired, "");
        };
        if signal.body::<RefuseLink>().is_some() {
            return self.hear_refusal(link, &signal);
        }
        let Some(welcome) = signal.body::<Welcome>() else {
            return self.refuse(link, ErrorCode::HandshakeRequired, "");
        };
        let identity = ManagementIdentity::from_process(welcome.process);
        if welcome.role.get() != ROLE_MANAGEMENT {
            return self.refuse(link, ErrorCode::UnexpectedSignal, "not a management node");
        }
        let in_cluster = frame.envelope().cluster_id != 0;
        if let Err((code, detail)) = self.judge_peer(&identity, Some(node), in_cluster) {
            return self.refuse(link, code, &detail);
        }
        let found = identity.node.get();
        self.contact_answered(node, found);
        let phase = Phase::Management { node: found, raft_id: identity.raft_id.get(), in_cluster };
        self.establish(now, link, phase, frame, frame.envelope().view);
        if in_cluster && !self.consensus.has_group() {
            // Where the others are, the leader among them.
            self.send(link, 0, &FetchState::default(), Sections::none());
        }
    }

    fn establish(&mut self, now: Nanoseconds, link: LinkId, phase: Phase, frame: &FrameView<'_>, view: u64) {
        if let Some(link) = self.link_mut(link) {
            link.phase = phase;
            link.receiver = frame.envelope().sender;
        }
        match phase {
            Phase::Management { node, raft_id, in_cluster } => {
                self.rollback.hear(view);
                self.peer_connected(now, link, node, raft_id, in_cluster);
            }
            Phase::DataNode => self.rollback.hear(view),
            Phase::Client | Phase::Silent | Phase::Greeting { .. } | Phase::Closing => {}
        }
    }

    fn judge_peer(
        &self,
        identity: &ManagementIdentity,
        expected: Option<u32>,
        in_cluster: bool,
    ) -> Result<(), (ErrorCode, String)> {
        let (node, raft_id) = (identity.node.get(), identity.raft_id.get());
        if !self.consensus.has_durable_identity() {
            return Err((ErrorCode::NotServing, "this management node is starting".to_owned()));
        }
        let unexpected = expected.is_some_and(|expected| !is_contact(expected) && expected != node);
        if raft_id == 0 || unexpected {
            let expected = expected.unwrap_or(node);
            let detail = format!(
                "management node {node} answers at the address of management node {expected}: check --management and the addresses in `duet admin status`"
            );
            return Err((ErrorCode::UnknownNodeId, detail));
        }
        if node == self.configuration.node || raft_id == self.consensus.raft_id() {
            let detail = format!(
                "management node {node} is this node itself, or uses its id or a copy of its directory: each needs a --node-id and a directory of its own"
            );
            return Err((ErrorCode::DuplicateNodeId, detail));
        }
        if self.cluster_id() != 0 {
            return self.judge_member(node, raft_id, in_cluster);
        }
        let joins = !self.configuration.join.is_empty();
        if !joins && !self.peers.iter().any(|peer| peer.node == node) {
            let detail = format!(
                "management node {node} is not among those that create this cluster: give all of them the same --management"
            );
            return Err((ErrorCode::UnknownNodeId, detail));
        }
        Ok(())
    }

    /// The other side closes the connection and says why.
    pub(crate) fn hear_refusal(&mut self, link: LinkId, signal: &SignalView<'_>) {
        let code = signal.body::<RefuseLink>().map_or(0, |body| body.code.get());
        let detail: String = String::from_utf8_lossy(signal.section(0))
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_LOGGED)
            .collect();
        let what = match ErrorCode::from_number(code) {
            Some(code) => code.to_string(),
            None => format!("error {code}"),
        };
        let who = match self.link(link).map(|link| link.phase) {
            Some(Phase::Greeting { node }) => self.called(node),
            Some(Phase::Management { node, .. }) => format!("management node {node}"),
            Some(Phase::Silent | Phase::Client | Phase::DataNode | Phase::Closing) | None => {
                "the other side".to_owned()
            }
        };
        let text = format!("{who} refused the connection: {what} {detail}");
        if matches!(ErrorCode::from_number(code), Some(ErrorCode::UnknownNodeId | ErrorCode::DuplicateNodeId))
        {
            self.outcast.told = Some(text.clone());
        }
        self.warn(text);
        self.close(link);
    }

    /// Says why and closes.
    pub(crate) fn refuse(&mut self, link: LinkId, code: ErrorCode, detail: &str) {
        if self.link(link).is_none_or(|link| link.phase == Phase::Closing) {
            return;
        }
        self.count_refused();
        self.warn(format!("a connection is refused: {code} {detail}"));
        let body = RefuseLink { code: (code as u16).into(), ..RefuseLink::default() };
        self.send(link, 0, &body, Sections::one(detail.as_bytes()));
        self.close(link);
    }

    fn identity(&self) -> ManagementIdentity {
        ManagementIdentity {
            raft_id: self.consensus.raft_id().into(),
            node: self.configuration.node.into(),
            ..ManagementIdentity::default()
        }
    }
}
