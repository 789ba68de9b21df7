//! How the cluster is, as this management node sees it.

use crate::interface::Nanoseconds;
use crate::node::{ManagementNode, is_fresh};
use duet_protocol::record::{ClusterStatus, ManagementStatus, NodeStatus};

impl ManagementNode {
    /// The status now; a follower answers too, with what it has applied and hears.
    pub fn status(&self, now: Nanoseconds) -> ClusterStatus {
        let state = self.machine.state();
        let nodes = (1..=state.configuration.data_nodes).map(|node| self.node_status(node, now)).collect();
        let leader = self.leader_node();
        let management = state
            .management
            .iter()
            .map(|record| ManagementStatus {
                node: record.node,
                address: record.address.clone(),
                connected: record.node == self.configuration.node
                    || self.peers.iter().any(|peer| peer.node == record.node && peer.link.is_some()),
                leader: record.node == leader,
                role: self.role_of(record),
            })
            .collect();
        ClusterStatus {
            state: state.clone(),
            nodes,
            management,
            term: self.consensus.term(),
            answered_by: self.configuration.node,
            process: self.configuration.seed,
        }
    }

    fn node_status(&self, node: u32, now: Nanoseconds) -> NodeStatus {
        let state = self.machine.state();
        let Some(record) = state.node(node) else { return NodeStatus { node, ..NodeStatus::default() } };
        let status = NodeStatus {
            node,
            incarnation: record.incarnation,
            address: record.address.clone(),
            in_view: state.view.member(node) == Some(record.instance()),
            ..NodeStatus::default()
        };
        let Some(report) = self.report(node).filter(|report| report.instance == record.instance()) else {
            return status;
        };
        let connected = is_fresh(report, now);
        NodeStatus {
            connected,
            serving: connected && report.body.serving.get() != 0,
            state_version: report.body.state_version.get(),
            memory_used: report.body.memory_used.get(),
            memory_limit: report.body.memory_limit.get(),
            rows: report.body.rows.get(),
            epoch: report.body.epoch.get(),
            closed_epoch: report.body.closed_epoch.get(),
            building_indexes: report.body.building_indexes.get(),
            building_done: report.body.building_done.get(),
            ..status
        }
    }
}
