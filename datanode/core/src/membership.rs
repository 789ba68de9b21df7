//! Membership: how this node finds the management nodes, registers, learns the cluster state and reports.

mod management;

use crate::interface::{Command, LinkId, Nanoseconds, NodeConfiguration, NodeCounters, Target};
use crate::ldm::IndexRefusal;
use crate::outbox::Outbox;
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::Instance;
use duet_protocol::signal::Sections;
use duet_protocol::signal::node_report::NodeReport;
use duet_protocol::signal::register::Register;
use duet_protocol::signal::registered::Registered;
use std::collections::VecDeque;

const MILLISECOND: Nanoseconds = 1_000_000;
/// Time between two reports.
const REPORT_EVERY: Nanoseconds = 100 * MILLISECOND;
/// Time between two tries to register.
const REGISTER_EVERY: Nanoseconds = 250 * MILLISECOND;
/// Time after which another process that has this node id is no earlier life of this one.
const DOUBLED_FOR: Nanoseconds = 3_000 * MILLISECOND;
/// Shortest and longest wait before a connection is tried again.
const RECONNECT_FIRST: Nanoseconds = 20 * MILLISECOND;
const RECONNECT_LAST: Nanoseconds = 500 * MILLISECOND;

/// State of a connection that this node wants to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// To be tried at this time.
    Waiting { until: Nanoseconds },
    /// Asked of the driver, or open.
    Underway,
}

/// A connection that this node opens and keeps.
#[derive(Debug)]
struct Connection {
    target: Target,
    address: String,
    state: Wanted,
    failures: u32,
    /// The link that passed its handshake last, while it is there.
    link: Option<LinkId>,
}

/// Up to which cluster state this node, or a part of it, has ended what schema changes wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// No operation on a table that this version drops is under way.
    pub drained: u64,
    /// Every index that this version builds is built.
    pub built: u64,
    /// The member that joins in this version, if one does, has everything.
    pub copied: u64,
    /// Nothing is under way in what is closed for this attempt to hand it over.
    pub quiet: u64,
}

/// What the node knows of its own place in the cluster.
#[derive(Debug)]
pub struct Membership {
    /// This process; the incarnation is 0 until it is registered.
    pub instance: Instance,
    /// Cluster id, 0 until known.
    pub cluster_id: u64,
    connections: Vec<Connection>,
    management_links: Vec<Option<LinkId>>,
    /// How many of the management nodes are those of the configuration: they come first, and stay.
    configured: u32,
    silence: management::Silence,
    register_at: Nanoseconds,
    report_at: Nanoseconds,
    random: u64,
    /// Why a unique index cannot be built.
    pub index_refusal: Option<IndexRefusal>,
    /// Another process has had this node id since this time, as far as the management nodes know.
    doubled_since: Option<Nanoseconds>,
}

impl Membership {
    /// A node that knows only its configuration.
    pub fn new(configuration: &NodeConfiguration, now: Nanoseconds) -> Membership {
        let connections = configuration.management.iter().enumerate().map(|(index, address)| Connection {
            target: Target::Management { index: index as u32 },
            address: address.clone(),
            state: Wanted::Waiting { until: now },
            failures: 0,
            link: None,
        });
        Membership {
            instance: Instance { node: configuration.node, incarnation: 0 },
            cluster_id: 0,
            connections: connections.collect(),
            management_links: vec![None; configuration.management.len()],
            configured: configuration.management.len() as u32,
            silence: management::Silence::default(),
            register_at: now,
            report_at: now,
            random: configuration.seed | 1,
            index_refusal: None,
            doubled_since: None,
        }
    }

    /// Links to the management nodes.
    pub fn management_links(&self) -> Vec<LinkId> {
        self.management_links.iter().flatten().copied().collect()
    }

    /// Wants no connection any more to data nodes that `is_member` does not know.
    pub fn forget_peers(&mut self, is_member: impl Fn(u32) -> bool) {
        let keep = |target: Target| match target {
            Target::Management { .. } => true,
            Target::Peer { node, .. } => is_member(node),
        };
        self.connections.retain(|connection| keep(connection.target));
    }

    /// Wants a connection to another data node for a lane.
    pub fn want_peer(&mut self, node: u32, lane: u16, address: &str, now: Nanoseconds) {
        let target = Target::Peer { node, lane };
        match self.connections.iter_mut().find(|connection| connection.target == target) {
            Some(connection) => address.clone_into(&mut connection.address),
            None => self.connections.push(Connection {
                target,
                address: address.to_owned(),
                state: Wanted::Waiting { until: now },
                failures: 0,
                link: None,
            }),
        }
    }

    /// A connection could not be opened, or its `link` is gone; it is tried again after a jittered back-off. Nothing is lost with an
    /// attempt that another one has outrun.
    pub fn lost(&mut self, target: Target, link: Option<LinkId>, now: Nanoseconds) {
        let is_open = |connection: &Connection| connection.link.is_some() && connection.link != link;
        if self.connections.iter().any(|connection| connection.target == target && is_open(connection)) {
            return;
        }
        if let Target::Management { index } = target {
            self.management_links[index as usize] = None;
        }
        // xorshift64: jitter needs no better randomness, and the simulator replays it.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let random = self.random;
        if let Some(connection) = self.connections.iter_mut().find(|connection| connection.target == target) {
            let wait = (RECONNECT_FIRST << connection.failures.min(5)).min(RECONNECT_LAST);
            connection.failures += 1;
            connection.link = None;
            connection.state = Wanted::Waiting { until: now + wait / 2 + random % (wait / 2) };
        }
    }

    /// A wanted connection passed its handshake.
    pub fn established(&mut self, target: Target, link: LinkId, now: Nanoseconds) {
        if let Some(connection) = self.connections.iter_mut().find(|connection| connection.target == target) {
            connection.failures = 0;
            connection.link = Some(link);
            connection.state = Wanted::Underway;
        }
        if let Target::Management { index } = target {
            self.management_links[index as usize] = Some(link);
            self.register_at = now;
            self.report_at = now;
        }
    }

    /// Reports at the next tick, not only when the time has come.
    pub fn report_soon(&mut self) {
        self.report_at = 0;
    }

    /// Opens connections, registers and reports, each when it is due.
    pub fn tick(
        &mut self,
        now: Nanoseconds,
        configuration: &NodeConfiguration,
        out: &mut Outbox,
        commands: &mut VecDeque<Command>,
        data_parts: usize,
        report: impl FnOnce() -> (NodeCounters, Drained),
    ) {
        for connection in &mut self.connections {
            if matches!(connection.state, Wanted::Waiting { until } if until <= now) {
                connection.state = Wanted::Underway;
                let (target, address) = (connection.target, connection.address.clone());
                commands.push_back(Command::Connect { target, address });
            }
        }
        self.notice_silence(now, commands);
        if self.instance.incarnation == 0 {
            if now >= self.register_at {
                self.register_at = now + REGISTER_EVERY;
                self.register(configuration, data_parts, out);
            }
        } else if now >= self.report_at && self.management_links.iter().any(Option::is_some) {
            self.report_at = now + REPORT_EVERY;
            let (counters, drained) = report();
            self.report(out, &counters, drained);
        }
    }

    fn register(&self, configuration: &NodeConfiguration, data_parts: usize, out: &mut Outbox) {
        let body = Register {
            node: configuration.node.into(),
            data_parts: (data_parts as u32).into(),
            process: configuration.process,
            highest_view: out.identity.view.into(),
        };
        let sections =
            Sections::two(configuration.address.as_bytes(), configuration.metrics_address.as_bytes());
        for link in self.management_links.iter().flatten() {
            out.send(*link, 0, &body, sections);
        }
    }

    fn report(&self, out: &mut Outbox, counters: &NodeCounters, drained: Drained) {
        let refusal = self.index_refusal.as_ref();
        let body = NodeReport {
            node: self.instance.node.into(),
            incarnation: self.instance.incarnation.into(),
            state_version: counters.state_version.into(),
            drained_version: drained.drained.into(),
            built_version: drained.built.into(),
            refused_index: refusal.map_or(0, |refusal| refusal.index).into(),
            refused_code: refusal.map_or(0, |refusal| u32::from(refusal.code as u16)).into(),
            view: counters.view.into(),
            serving: counters.serving.into(),
            memory_used: counters.memory_used_bytes.into(),
            memory_limit: counters.memory_limit_bytes.into(),
            rows: counters.rows.into(),
            failed_indexes: counters.failed_indexes.into(),
            building_indexes: counters.building_indexes.into(),
            building_done: counters.building_done.into(),
            epoch: counters.epoch.into(),
            closed_epoch: counters.closed_epoch.into(),
        };
        let detail = refusal.map_or("", |refusal| &refusal.detail).as_bytes();
        for link in self.management_links.iter().flatten() {
            out.send(*link, 0, &body, Sections::one(detail));
        }
    }

    /// The answer to a registration. Why the process must end, if it must.
    pub fn registered(&mut self, now: Nanoseconds, body: &Registered, detail: &[u8]) -> Option<String> {
        let code = ErrorCode::from_number(body.code.get());
        match (body.code.get(), code) {
            (0, _) if self.instance.incarnation == 0 => {
                self.instance.incarnation = body.incarnation.get();
                self.cluster_id = body.cluster_id.get();
                self.report_at = 0;
                None
            }
            (0, _) => None,
            // The last reports of an earlier life are taken for those of a process that lives.
            (_, Some(ErrorCode::DuplicateNodeId))
                if now.saturating_sub(*self.doubled_since.get_or_insert(now)) < DOUBLED_FOR =>
            {
                None
            }
            (_, Some(code)) if code.is_retryable() => None,
            (number, code) => {
                let code = code.map_or_else(|| format!("error {number}"), |code| code.to_string());
                let detail = String::from_utf8_lossy(detail);
                Some(format!("the management node refuses node {}: {code} {detail}", self.instance.node))
            }
        }
    }
}
