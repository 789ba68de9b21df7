//! Two data nodes, their management node and one client, joined in memory.

use crate::network::CLUSTER;
use crate::node::{Arrived, Node, Output, counted_turn, turn};
use duet_datanode_core::{Command, LinkId, NodeConfiguration, SUSPECT_AFTER, Target};
use duet_protocol::frame::{Envelope, FrameBuilder, FrameView, announced_length};
use duet_protocol::record::ClusterState;
use duet_protocol::signal::cluster_state::ClusterStateSignal;
use duet_protocol::signal::hello::{Hello, ROLE_CLIENT, ROLE_MANAGEMENT};
use duet_protocol::signal::open_session::OpenSession;
use duet_protocol::signal::registered::Registered;
use duet_protocol::signal::session_opened::SessionOpened;
use duet_protocol::signal::welcome::Welcome;
use duet_protocol::signal::{Sections, Signal, SignalType};

/// The other end of a link.
#[derive(Clone, Copy)]
enum End {
    Management,
    Client,
    Node { node: usize, link: LinkId },
}

/// Type and bytes of a signal that the client got.
pub type Answer = (SignalType, Vec<u8>);

pub struct Cluster {
    nodes: Vec<Node>,
    /// By node and slot of the link.
    ends: [Vec<End>; 2],
    inboxes: [Vec<Arrived>; 2],
    /// The client's link to each node.
    client_links: [LinkId; 2],
    state: ClusterState,
    output: Output,
    now: u64,
}

fn frame<S: Signal>(body: &S, sections: Sections<'_>) -> Vec<u8> {
    let mut builder = FrameBuilder::new();
    builder.push(0, 0, body, sections);
    builder.seal(&Envelope { cluster_id: CLUSTER, ..Envelope::default() }).expect("open").to_vec()
}

impl Cluster {
    /// A cluster that serves, and a client that has said hello to both nodes.
    pub fn formed(state: ClusterState, split: bool) -> Cluster {
        let nodes = (1..=2).map(|node| {
            let configuration = NodeConfiguration {
                node,
                process: [node as u8; 16],
                address: format!("node-{node}"),
                metrics_address: String::new(),
                management: vec!["management".to_owned()],
                secret: Vec::new(),
                memory_bytes: 64 << 20,
                arena_bytes: 64 << 20,
                memory_preparer: None,
                max_links: 100,
                seed: u64::from(node),
                link_close_is_proof: true,
                suspect_after: SUSPECT_AFTER,
                lane_frame_signals: u16::MAX,
                planted_bug: 0,
            };
            Node::new(configuration, split)
        });
        let none = LinkId { slot: 0, generation: 0 };
        let mut cluster = Cluster {
            nodes: nodes.collect(),
            ends: [Vec::new(), Vec::new()],
            inboxes: [Vec::new(), Vec::new()],
            client_links: [none; 2],
            state,
            output: Output::new(),
            now: 0,
        };
        // Until handshakes, registration and the first cluster state are through.
        for _ in 0..80 {
            cluster.now += 10_000_000;
            for node in 0..2 {
                cluster.nodes[node].tick(cluster.now);
                cluster.obey(node);
            }
            cluster.exchange(false);
        }
        for node in 0..2 {
            assert_eq!(cluster.nodes[node].first().counters().serving, 1, "node {} serves", node + 1);
            let link = cluster.new_link(node, End::Client);
            cluster.client_links[node] = link;
            cluster.nodes[node].first().link_accepted(cluster.now, link);
            cluster.send(
                node,
                &frame(&Hello { role: ROLE_CLIENT.into(), ..Hello::default() }, Sections::none()),
            );
        }
        let answers = cluster.exchange(false);
        assert!(answers.len() == 2 && answers.iter().all(|answer| answer.0 == SignalType::Welcome));
        cluster
    }

    /// Opens a session of the client.
    pub fn open_session(&mut self) -> u64 {
        self.send(0, &frame(&OpenSession::default(), Sections::none()));
        let answers = self.exchange(false);
        let bytes = &answers.first().expect("one answer").1;
        let (view, _) = duet_protocol::signal::SignalView::split_checked(bytes).expect("checked");
        view.body::<SessionOpened>().expect("a session").session.get()
    }

    /// Puts a frame of the client before a node.
    pub fn send(&mut self, node: usize, frame: &[u8]) {
        self.inboxes[node].push((self.client_links[node], frame.to_vec()));
    }

    /// Lets the nodes work until nothing is under way. What the client got.
    pub fn exchange(&mut self, counted: bool) -> Vec<Answer> {
        let mut answers = Vec::new();
        loop {
            let mut any = false;
            for node in 0..2 {
                let frames = std::mem::take(&mut self.inboxes[node]);
                any |= !frames.is_empty();
                let turn = if counted { counted_turn } else { turn };
                if !counted || !frames.is_empty() {
                    turn(&mut self.nodes[node], self.now, &frames, &mut self.output);
                }
                self.carry(node, &mut answers);
                self.obey(node);
            }
            if !any && self.inboxes.iter().all(Vec::is_empty) {
                return answers;
            }
        }
    }

    /// Carries what a node handed out to the other ends of its links.
    fn carry(&mut self, node: usize, answers: &mut Vec<Answer>) {
        let mut start = 0;
        for (link, end) in std::mem::take(&mut self.output.ends) {
            let mut rest = &self.output.bytes[start..end];
            start = end;
            while let Ok(Some(length)) = announced_length(rest, usize::MAX) {
                let (bytes, tail) = rest.split_at(length);
                rest = tail;
                let view = FrameView::new_checked(bytes).expect("valid");
                match self.ends[node][link.slot as usize] {
                    End::Node { node: other, link } => self.inboxes[other].push((link, bytes.to_vec())),
                    End::Client => {
                        let taken = view.signals().map(|got| (got.signal_type(), got.bytes().to_vec()));
                        answers.extend(taken);
                    }
                    End::Management => {
                        for signal in view.signals() {
                            let replies = management(&self.state, node, signal.signal_type());
                            self.inboxes[node].extend(replies.into_iter().map(|reply| (link, reply)));
                        }
                    }
                }
            }
        }
        self.output.bytes.clear();
        self.output.ends = Vec::with_capacity(64);
    }

    /// Opens the connections that a node asks for.
    fn obey(&mut self, node: usize) {
        while let Some(command) = self.nodes[node].next_command() {
            let Command::Connect { target, .. } = command else { panic!("{command:?}") };
            let link = match target {
                Target::Management { .. } => self.new_link(node, End::Management),
                Target::Peer { node: peer, .. } => {
                    let other = peer as usize - 1;
                    let theirs = LinkId { slot: self.ends[other].len() as u32, generation: 1 };
                    let link = self.new_link(node, End::Node { node: other, link: theirs });
                    self.new_link(other, End::Node { node, link });
                    self.nodes[other].first().link_accepted(self.now, theirs);
                    link
                }
            };
            self.nodes[node].link_connected(self.now, link, target);
        }
    }

    fn new_link(&mut self, node: usize, end: End) -> LinkId {
        self.ends[node].push(end);
        LinkId { slot: self.ends[node].len() as u32 - 1, generation: 1 }
    }
}

/// What the management node answers.
fn management(state: &ClusterState, node: usize, signal: SignalType) -> Vec<Vec<u8>> {
    match signal {
        SignalType::Hello => {
            vec![frame(&Welcome { role: ROLE_MANAGEMENT.into(), ..Welcome::default() }, Sections::none())]
        }
        SignalType::Register => {
            let incarnation = state.nodes[node].incarnation.into();
            let registered = Registered { incarnation, cluster_id: CLUSTER.into(), ..Registered::default() };
            let record = state.to_record().expect("fits");
            let body = ClusterStateSignal { version: state.version.into() };
            vec![frame(&registered, Sections::none()), frame(&body, Sections::one(&record))]
        }
        _ => Vec::new(),
    }
}
