//! The other management nodes: where they are, and the connections to them.
//!
//! Before there is a cluster they are those of the command line; then those of the cluster state. Of two management nodes the one
//! with the higher id connects. A node that joins connects to whomever it was told of, asks where the others are, and connects
//! to them too, so that it meets the leader.

use crate::interface::{Command, LinkId, Nanoseconds};
use crate::node::ManagementNode;
use crate::random::scramble;
use duet_protocol::record::{ClusterState, ManagementRecord};
use duet_protocol::signal::SignalView;

/// First pause before a connection is tried again; it doubles up to [`MAX_RECONNECT_PAUSE`].
const MIN_RECONNECT_PAUSE: Nanoseconds = 50_000_000;
/// Longest pause before a connection is tried again.
const MAX_RECONNECT_PAUSE: Nanoseconds = 1_000_000_000;
/// Stands for the first address to join at, the next number for the next: who answers there is not known.
const FIRST_CONTACT: u32 = 1 << 16;

/// Whether this stands for an address to join at.
pub(crate) fn is_contact(node: u32) -> bool {
    node >= FIRST_CONTACT
}

/// Another management node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) node: u32,
    pub(crate) address: String,
    /// The link that has shaken hands.
    pub(crate) link: Option<LinkId>,
    /// Its Raft id as it said on that link.
    pub(crate) raft_id: u64,
    /// Whether it belongs to a cluster, as its frames say.
    pub(crate) in_cluster: bool,
    /// Whether a connection to it is being made or shakes hands.
    connecting: bool,
    retry_at: Nanoseconds,
    attempts: u32,
}

impl Peer {
    fn new(node: u32, address: String, now: Nanoseconds) -> Peer {
        Peer {
            node,
            address,
            link: None,
            raft_id: 0,
            in_cluster: false,
            connecting: false,
            retry_at: now,
            attempts: 0,
        }
    }

    /// A connection that was opened then ended before the handshake was done.
    pub(crate) fn rest(&mut self, opened_at: Nanoseconds) {
        self.connecting = false;
        self.retry_at = self.retry_at.max(opened_at + MAX_RECONNECT_PAUSE);
    }
}

impl ManagementNode {
    /// Keeps the list of the others as the cluster state, or before there is one the command line, has it.
    pub(crate) fn find_peers(&mut self, now: Nanoseconds) {
        let state = self.machine.state();
        let known = Some((state.cluster_id, state.version, self.consensus.members()));
        if self.peers_as_of == known {
            return;
        }
        self.peers_as_of = known;
        let wanted: Vec<(u32, String)> = if state.cluster_id != 0 {
            addresses(&state.management)
        } else if self.configuration.join.is_empty() {
            self.configuration.management.iter().map(|peer| (peer.node, peer.address.clone())).collect()
        } else {
            (FIRST_CONTACT..).zip(self.configuration.join.iter().cloned()).collect()
        };
        self.set_peers(now, wanted);
    }

    fn set_peers(&mut self, now: Nanoseconds, wanted: Vec<(u32, String)>) {
        // Who is taken out is still needed until the members have agreed on that.
        let members = self.consensus.members();
        let is_wanted = |peer: &Peer| {
            wanted.iter().any(|(wanted, _)| *wanted == peer.node) || members.contains(&peer.raft_id)
        };
        let gone: Vec<LinkId> =
            self.peers.iter().filter(|peer| !is_wanted(peer)).filter_map(|peer| peer.link).collect();
        self.peers.retain(is_wanted);
        for (node, address) in wanted {
            if node == self.configuration.node {
                continue;
            }
            match self.peers.iter_mut().find(|peer| peer.node == node) {
                Some(peer) => peer.address = address,
                None => self.peers.push(Peer::new(node, address, now)),
            }
        }
        for link in gone {
            self.close(link);
        }
    }

    /// A node that joins hears where the members are.
    pub(crate) fn hear_members(&mut self, now: Nanoseconds, signal: &SignalView<'_>) {
        if self.consensus.has_group() || self.configuration.join.is_empty() {
            return;
        }
        let Ok(state) = ClusterState::from_record(signal.section(0)) else { return };
        for (node, address) in addresses(&state.management) {
            let known = self.peers.iter().any(|peer| peer.node == node);
            if node != self.configuration.node && !known {
                self.peers.push(Peer::new(node, address, now));
            }
        }
    }

    /// Who is meant by the number of a connection that this node makes, for people.
    pub(crate) fn called(&self, node: u32) -> String {
        match self.peers.iter().find(|peer| peer.node == node) {
            Some(peer) if is_contact(node) => format!("the management node at {}", peer.address),
            Some(_) | None => format!("management node {node}"),
        }
    }

    /// Opens the connections that are due.
    pub(crate) fn connect_peers(&mut self, now: Nanoseconds) {
        let own = self.configuration.node;
        // Whoever misses its leader does not wait to be called: it may have been left out.
        let dials_all = match self.consensus.has_group() {
            true => self.outcast.misses_leader(now),
            false => !self.configuration.join.is_empty(),
        };
        for peer in &mut self.peers {
            let dials = peer.node < own || dials_all;
            if dials
                && !peer.address.is_empty()
                && peer.link.is_none()
                && !peer.connecting
                && now >= peer.retry_at
            {
                peer.connecting = true;
                self.commands.push_back(Command::Connect { node: peer.node, address: peer.address.clone() });
            }
        }
    }

    /// A wanted connection could not be opened; it is tried again later.
    pub fn connect_failed(&mut self, now: Nanoseconds, node: u32) {
        let seed = self.configuration.seed;
        let mut silent = None;
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.node == node) {
            peer.connecting = false;
            let pause = (MIN_RECONNECT_PAUSE << peer.attempts.min(5)).min(MAX_RECONNECT_PAUSE);
            let jitter = scramble(seed ^ u64::from(node) ^ (u64::from(peer.attempts) << 8)) % (pause / 4);
            peer.retry_at = now + pause + jitter;
            peer.attempts = peer.attempts.saturating_add(1);
            // About every half minute.
            silent = (peer.attempts % 32 == 8).then(|| peer.address.clone());
        }
        if let Some(address) = silent {
            let who = self.called(node);
            self.warn(format!("{who} cannot be reached at {address}: start it, or correct its address"));
        }
    }

    /// Who answers at an address to join at is known now.
    pub(crate) fn contact_answered(&mut self, contact: u32, node: u32) {
        if !is_contact(contact) {
            return;
        }
        let known = self.peers.iter().any(|peer| peer.node == node);
        match self.peers.iter().position(|peer| peer.node == contact) {
            Some(position) if known => drop(self.peers.remove(position)),
            Some(position) => self.peers[position].node = node,
            None => {}
        }
    }

    /// The handshake with another management node is done.
    pub(crate) fn peer_connected(
        &mut self,
        now: Nanoseconds,
        link: LinkId,
        node: u32,
        raft_id: u64,
        in_cluster: bool,
    ) {
        let position = self.peers.iter().position(|peer| peer.node == node);
        let position = position.unwrap_or_else(|| {
            // It came to a node that joins and has not heard of it.
            self.peers.push(Peer::new(node, String::new(), now));
            self.peers.len() - 1
        });
        let peer = &mut self.peers[position];
        let older = peer.link.replace(link);
        peer.raft_id = raft_id;
        peer.in_cluster = in_cluster;
        peer.connecting = false;
        peer.attempts = 0;
        if let Some(older) = older {
            self.close(older);
        }
    }

    /// Says when the cluster knows this node by another address than the command line.
    pub(crate) fn compare_addresses(&mut self) {
        let own = self.own_address();
        let Some(record) = self.machine.management_record(self.configuration.node) else { return };
        if self.machine.state().management.len() > 1 && record.address != own {
            let (known, own) = (record.address.clone(), own.to_owned());
            let given = self.configuration.address_is_given;
            let then =
                if given { "the cluster will learn the new one" } else { "give --management to change that" };
            self.warn(format!(
                "the cluster knows this management node at {known}, and it listens at {own}: {then}"
            ));
        }
    }
}

fn addresses(management: &[ManagementRecord]) -> Vec<(u32, String)> {
    management.iter().map(|record| (record.node, record.address.clone())).collect()
}
