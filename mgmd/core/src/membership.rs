//! Which management nodes belong to the cluster: changed by operators through the log, carried out by the leader.
//!
//! A management node is known by its Raft id, which belongs to its directory. The cluster state names for each node id the Raft
//! id that votes; a node that comes with another one, since its directory was lost or is somebody else's, is refused until an
//! operator says that it is to take the place (counterexample 3 of the protocol: a wiped node must not vote as its old self).
//! Newcomers learn first. They become voters in one joint change when all that are awaited have caught up: one management node
//! becomes three at once, because two tolerate no more failures than one.

use crate::interface::Nanoseconds;
use crate::machine::{Applied, Machine, Refusal};
use crate::node::ManagementNode;
use duet_protocol::error::ErrorCode;
use duet_protocol::record::{
    FinishedRequest, ManagementChange, ManagementCommand, ManagementRecord, ManagementRole,
};

/// Most management nodes.
const MAX_MANAGEMENT: usize = 3;
/// Highest management node id.
pub(crate) const MAX_MANAGEMENT_ID: u32 = 255;
/// Longest address, in bytes.
const MAX_ADDRESS_BYTES: usize = 256;
/// A node that does not belong to the cluster any more ends after so long without a leader.
const OUTCAST_FOR: Nanoseconds = 5_000_000_000;

fn invalid(detail: impl Into<String>) -> Refusal {
    (ErrorCode::InvalidConfiguration, detail.into())
}

impl Machine {
    /// Changes which management nodes belong to the cluster; the request has ended with that, the leader does the rest.
    pub(crate) fn change_management(
        &mut self,
        request: [u8; 16],
        change: ManagementChange,
    ) -> Result<Applied, Refusal> {
        match change {
            ManagementChange::Add(added) => self.add_management(added)?,
            ManagementChange::Remove(removed) => self.remove_management(&removed)?,
            ManagementChange::Replace { node, address } => self.replace_management(node, address)?,
        }
        self.content.state.version += 1;
        let state_version = self.content.state.version;
        let (table, code, detail) = (0, 0, String::new());
        Ok(self.finish(FinishedRequest { request, table, state_version, code, detail }))
    }

    fn add_management(&mut self, added: Vec<(u32, String)>) -> Result<(), Refusal> {
        let mut management = self.content.state.management.clone();
        for (node, address) in added {
            if !(1..=MAX_MANAGEMENT_ID).contains(&node) {
                return Err(invalid(format!("management node ids are 1 to {MAX_MANAGEMENT_ID}, not {node}")));
            }
            check_address(&address)?;
            if let Some(known) = management.iter().find(|record| record.node == node) {
                if known.raft_id == 0 && known.address == address {
                    continue;
                }
                return Err(invalid(format!(
                    "management node {node} belongs to the cluster already, at {}; `duet admin replace-management {node}={address}` lets another one take its place",
                    known.address
                )));
            }
            if let Some(known) = management.iter().find(|record| record.address == address) {
                return Err(invalid(format!("management node {} is at {address} already", known.node)));
            }
            management.push(ManagementRecord { node, raft_id: 0, address });
        }
        if management.len() > MAX_MANAGEMENT {
            let count = management.len();
            return Err(invalid(format!("a cluster has 1 or 3 management nodes, not {count}")));
        }
        management.sort_by_key(|record| record.node);
        self.content.state.management = management;
        Ok(())
    }

    fn remove_management(&mut self, removed: &[u32]) -> Result<(), Refusal> {
        let state = &self.content.state;
        if let Some(unknown) =
            removed.iter().find(|node| !state.management.iter().any(|record| record.node == **node))
        {
            let detail = format!("there is no management node {unknown}");
            return Err((ErrorCode::UnknownNodeId, detail));
        }
        let mut rest = state.management.clone();
        rest.retain(|record| !removed.contains(&record.node));
        let voters = rest.iter().filter(|record| !self.awaits(record)).count();
        if voters == 0 {
            return Err(invalid("no management node would remain that has the state of the cluster"));
        }
        if voters == 2 && rest.len() == 2 {
            return Err(invalid(
                "two management nodes tolerate no more failures than one: remove two of the three, or let another one take the place with `duet admin replace-management`",
            ));
        }
        self.content.state.management = rest;
        self.content.replacing.retain(|node| !removed.contains(node));
        Ok(())
    }

    fn replace_management(&mut self, node: u32, address: Option<String>) -> Result<(), Refusal> {
        address.as_deref().map_or(Ok(()), check_address)?;
        let content = &mut self.content;
        if let (1, [only]) = (content.state.management.len(), &content.state.management[..])
            && only.node == node
        {
            return Err(invalid(format!(
                "management node {node} is the only one: `duet admin add-management` takes two more in first"
            )));
        }
        let management = &mut content.state.management;
        let Some(record) = management.iter_mut().find(|record| record.node == node) else {
            let detail = format!(
                "there is no management node {node}; `duet admin add-management {node}=ADDRESS` takes one in"
            );
            return Err((ErrorCode::UnknownNodeId, detail));
        };
        if let Some(address) = address {
            record.address = address;
        }
        if record.raft_id != 0 && !content.replacing.contains(&node) {
            content.replacing.push(node);
        }
        Ok(())
    }

    /// A node that was awaited votes now.
    pub(crate) fn management_joined(&mut self, node: u32, raft_id: u64) {
        let replacing = &mut self.content.replacing;
        let state = &mut self.content.state;
        let Some(record) = state.management.iter_mut().find(|record| record.node == node) else { return };
        if record.raft_id == 0 || replacing.contains(&node) {
            record.raft_id = raft_id;
            replacing.retain(|replaced| *replaced != node);
            state.version += 1;
        }
    }

    /// A node has another address.
    pub(crate) fn management_moved(&mut self, raft_id: u64, address: String) {
        let state = &mut self.content.state;
        let record = state.management.iter_mut().find(|record| record.raft_id == raft_id);
        if let Some(record) = record.filter(|record| record.address != address) {
            record.address = address;
            state.version += 1;
        }
    }

    /// Whether a node with a directory that the cluster does not know may come for this record.
    pub(crate) fn awaits(&self, record: &ManagementRecord) -> bool {
        record.raft_id == 0 || self.content.replacing.contains(&record.node)
    }

    /// Whether the node with this Raft id may be the one of this record: the heart of the fix of counterexample 3.
    fn may_be(&self, record: &ManagementRecord, raft_id: u64) -> bool {
        if self.awaits(record) { record.raft_id != raft_id } else { record.raft_id == raft_id }
    }

    /// The record of a management node.
    pub(crate) fn management_record(&self, node: u32) -> Option<&ManagementRecord> {
        self.content.state.management.iter().find(|record| record.node == node)
    }

    /// Whether a management node belongs to the cluster.
    pub(crate) fn is_management(&self, node: u32, raft_id: u64) -> bool {
        self.management_record(node).is_some_and(|record| self.may_be(record, raft_id))
    }
}

fn check_address(address: &str) -> Result<(), Refusal> {
    let sound = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(char::is_whitespace)
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if !sound || address.len() > MAX_ADDRESS_BYTES {
        return Err(invalid(format!("{address:?} is no address of a management node; write host:port")));
    }
    Ok(())
}

/// Notices when this node does not belong to the cluster any more.
#[derive(Debug, Default)]
pub(crate) struct Outcast {
    /// Another member has said so.
    pub(crate) told: Option<String>,
    /// Since when no leader can be reached.
    since: Option<Nanoseconds>,
}

impl Outcast {
    /// Whether no leader could be reached for a while.
    pub(crate) fn misses_leader(&self, now: Nanoseconds) -> bool {
        self.since.is_some_and(|since| now.saturating_sub(since) >= OUTCAST_FOR / 2)
    }
}

impl ManagementNode {
    /// Judges a management node of the same cluster, or of none yet, that connected or answered.
    pub(crate) fn judge_member(
        &self,
        node: u32,
        raft_id: u64,
        in_cluster: bool,
    ) -> Result<(), (ErrorCode, String)> {
        // Without a leader this node may not know yet who has joined, and its vote may be needed. Raft itself lets nobody win who
        // does not have the log; a wiped node has no cluster and is not meant.
        if self.machine.is_management(node, raft_id) || (in_cluster && self.consensus.leader() == 0) {
            return Ok(());
        }
        let Some(record) = self.machine.management_record(node) else {
            if self.consensus.members().contains(&raft_id) {
                // It is being taken out, and its vote may be needed for that.
                return Ok(());
            }
            let detail = format!(
                "management node {node} does not belong to the cluster; `duet admin add-management {node}=ADDRESS` takes it in"
            );
            return Err((ErrorCode::UnknownNodeId, detail));
        };
        if self.machine.awaits(record) {
            let detail = format!("another one takes the place of management node {node}: end this process");
            return Err((ErrorCode::UnknownNodeId, detail));
        }
        let runs = self.peers.iter().any(|peer| peer.node == node && peer.link.is_some());
        let code = if runs { ErrorCode::DuplicateNodeId } else { ErrorCode::UnknownNodeId };
        let detail = format!(
            "management node {node} of the cluster, at {}, has another directory; if that is lost, `duet admin replace-management {node}` lets this one take its place",
            record.address
        );
        Err((code, detail))
    }

    /// An operator's `duet admin replace-management`, for a driver that plays the operator: whether it was proposed.
    pub fn replace(&mut self, node: u32) -> bool {
        let Some(record) = self.machine.management_record(node) else { return false };
        if self.judge_change().is_err() || self.machine.awaits(record) {
            return false;
        }
        let mut request = [0xd0; 16];
        request[..8].copy_from_slice(&record.raft_id.to_be_bytes());
        let change = ManagementChange::Replace { node, address: None };
        self.propose(&ManagementCommand::ChangeManagement { request, change })
    }

    /// Raft id of the newcomer that is connected for a record that awaits one.
    fn newcomer(&self, record: &ManagementRecord) -> Option<u64> {
        let mut peers = self.peers.iter().filter(|peer| peer.node == record.node && peer.link.is_some());
        peers.find(|peer| self.machine.is_management(peer.node, peer.raft_id)).map(|peer| peer.raft_id)
    }

    /// The Raft id that is to vote for a record, once it is known.
    fn wanted(&self, record: &ManagementRecord) -> Option<u64> {
        if self.machine.awaits(record) { self.newcomer(record) } else { Some(record.raft_id) }
    }

    /// What a management node of the state is to the others.
    pub(crate) fn role_of(&self, record: &ManagementRecord) -> ManagementRole {
        if !self.machine.awaits(record) {
            return ManagementRole::Voter;
        }
        let learners = self.consensus.learners();
        match self.newcomer(record) {
            Some(raft_id) if learners.contains(&raft_id) => ManagementRole::Learner,
            Some(_) | None => ManagementRole::Awaited,
        }
    }

    /// Proposes what the state does not say of the members yet; whether anything was proposed.
    pub(crate) fn record_management(&mut self) -> bool {
        let voters = self.consensus.voters();
        let mut commands = Vec::new();
        for record in &self.machine.state().management {
            if self.machine.awaits(record)
                && let Some(raft_id) = self.newcomer(record).filter(|raft_id| voters.contains(raft_id))
            {
                commands.push(ManagementCommand::ManagementJoined { node: record.node, raft_id });
            }
        }
        if let Some(address) = self.moved_to() {
            let raft_id = self.consensus.raft_id();
            commands.push(ManagementCommand::ManagementMoved { raft_id, address });
        }
        let mut proposed = false;
        for command in commands {
            if !self.duties.management.contains(&command) && self.propose(&command) {
                self.duties.management.push(command);
                proposed = true;
            }
        }
        proposed
    }

    /// Where this node is, if the cluster knows another address and this one is certain.
    fn moved_to(&self) -> Option<String> {
        let state = self.machine.state();
        let record = self.machine.management_record(self.configuration.node)?;
        let certain = self.configuration.address_is_given || state.management.len() == 1;
        let own = self.own_address();
        (certain && record.raft_id == self.consensus.raft_id() && record.address != own)
            .then(|| own.to_owned())
    }

    /// Address of this node as it was configured.
    pub(crate) fn own_address(&self) -> &str {
        let own = self.configuration.management.iter().find(|peer| peer.node == self.configuration.node);
        own.map_or("", |peer| &peer.address)
    }

    /// Carries out what the state says of the members: newcomers learn, then vote in one joint change in place of those that
    /// leave.
    pub(crate) fn reconcile_members(&mut self) {
        if !self.consensus.is_acting_leader() || self.rollback.is_rolled_back() {
            return;
        }
        if self.consensus.members_are_changing() {
            return self.consensus.leave_joint_change();
        }
        let records = &self.machine.state().management;
        let (voters, learners) = (self.consensus.voters(), self.consensus.learners());
        let is_member = |raft_id: &u64| voters.contains(raft_id) || learners.contains(raft_id);
        let wanted: Vec<u64> = records.iter().filter_map(|record| self.wanted(record)).collect();
        if let Some(newcomer) = wanted.iter().copied().find(|raft_id| !is_member(raft_id)) {
            return self.consensus.add_learner(newcomer);
        }
        let complete = wanted.len() == records.len() && [1, MAX_MANAGEMENT].contains(&wanted.len());
        let leaving = |members: &[u64]| -> Vec<u64> {
            members.iter().copied().filter(|raft_id| !wanted.contains(raft_id)).collect()
        };
        let mut removed = leaving(&learners);
        let mut added: Vec<u64> = Vec::new();
        if complete {
            added = wanted.iter().copied().filter(|raft_id| !voters.contains(raft_id)).collect();
            removed.extend(leaving(&voters));
        }
        let ready = added.iter().all(|raft_id| self.consensus.has_caught_up(*raft_id));
        if !ready || (added.is_empty() && removed.is_empty()) {
            return;
        }
        if removed.contains(&self.consensus.raft_id()) {
            // Whoever leaves does not lead that: the next leader removes this one.
            let next =
                wanted.into_iter().find(|raft_id| voters.contains(raft_id) && self.is_linked(*raft_id));
            return next.into_iter().for_each(|raft_id| self.consensus.transfer_leader(raft_id));
        }
        self.consensus.replace_voters(&added, &removed);
    }

    fn is_linked(&self, raft_id: u64) -> bool {
        self.peers.iter().any(|peer| peer.raft_id == raft_id && peer.link.is_some())
    }

    /// Ends a node that does not belong to the cluster any more, when nobody leads it either.
    pub(crate) fn check_outcast(&mut self, now: Nanoseconds) {
        let (node, raft_id) = (self.configuration.node, self.consensus.raft_id());
        let leader = self.consensus.leader();
        if !self.consensus.has_group() || leader == raft_id || self.is_linked(leader) {
            self.outcast = Outcast::default();
            return;
        }
        let since = *self.outcast.since.get_or_insert(now);
        let removed = !self.machine.is_management(node, raft_id);
        if now.saturating_sub(since) >= OUTCAST_FOR && (removed || self.outcast.told.is_some()) {
            let told = self.outcast.told.take().unwrap_or_default();
            self.stop(format!(
                "{} management node {node} was removed from the cluster, or another one took its place: it can serve again only from an empty directory, after `duet admin add-management` or `replace-management`. {told}",
                ErrorCode::UnknownNodeId as u16
            ));
        }
    }
}
