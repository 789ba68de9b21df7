//! Nodes that an operator tells to end or to start again. A data node hands over first what it leads: it is marked in the view, and does
//! the rest. A management node just ends.

use crate::interface::LinkId;
use crate::machine::{Applied, Machine, Refusal};
use crate::node::ManagementNode;
use crate::views::leave;
use duet_protocol::error::ErrorCode;
use duet_protocol::record::{FinishedRequest, LeaveRequest, MemberState, ViewChange};
use duet_protocol::signal::SignalView;

impl Machine {
    /// Marks the member as leaving; the request has ended with that, the data node does the rest.
    pub(crate) fn ask_to_leave(
        &mut self,
        request: [u8; 16],
        wanted: LeaveRequest,
    ) -> Result<Applied, Refusal> {
        let LeaveRequest { node, restarts, forced } = wanted;
        let state = &mut self.content.state;
        if node == 0 || node > state.configuration.data_nodes {
            let most = state.configuration.data_nodes;
            return Err((ErrorCode::UnknownNodeId, format!("data node ids are 1 to {most}")));
        }
        let position = state.view.group_of(node).map(|(group, _)| group);
        let (Some(group), Some(instance)) = (position, state.view.member(node)) else {
            let detail = format!(
                "data node {node} is no member of the view: it does not run, or does not hold anything yet"
            );
            return Err((ErrorCode::NotInView, detail));
        };
        let found = &mut state.view.groups[usize::from(group)];
        leave(found, instance, restarts, forced).map_err(|code| {
            let joins = found.members.iter().find(|member| member.state == MemberState::Joining);
            let why = match (joins, found.members.iter().find(|member| member.node != node)) {
                (Some(member), _) => format!("; data node {} is still copying them", member.node),
                (None, Some(member)) => format!("; data node {} leaves already", member.node),
                (None, None) => String::new(),
            };
            let detail = format!(
                "data node {node} is the only one that stays with all rows of its group, which would be lost{why}"
            );
            (code, detail)
        })?;
        let incarnation = instance.incarnation;
        self.view_changed(request, group, ViewChange::Leave { node, incarnation, restarts });
        let state_version = self.content.state.version;
        let (table, code, detail) = (0, 0, String::new());
        Ok(self.finish(FinishedRequest { request, table, state_version, code, detail }))
    }
}

impl ManagementNode {
    /// This management node is told to end.
    pub(crate) fn hear_end(&mut self, link: LinkId, signal: &SignalView<'_>, request: [u8; 16]) {
        match self.judge_end(signal.section(0)) {
            Ok(restarts) => {
                let state_version = self.state().version;
                let (table, code, detail) = (0, 0, String::new());
                let finished = FinishedRequest { request, table, state_version, code, detail };
                self.reply_changed(link, signal.request_id(), Ok(&finished));
                self.end(restarts);
            }
            Err((code, detail)) => self.reply_changed(link, signal.request_id(), Err((code, &detail))),
        }
    }

    /// Whether this node may end: the others go on without it, and it is to start again where there are none.
    fn judge_end(&self, record: &[u8]) -> Result<bool, Refusal> {
        let LeaveRequest { node, restarts, forced } = LeaveRequest::from_record(record).map_err(|code| {
            (ErrorCode::InvalidRequest, format!("which node is to end cannot be read: {code}"))
        })?;
        if node != self.configuration.node {
            let own = self.configuration.node;
            return Err((ErrorCode::InvalidRequest, format!("this is management node {own}, not {node}")));
        }
        let away = self.peers.iter().find(|peer| peer.link.is_none()).map(|peer| peer.node);
        match away {
            _ if forced => Ok(restarts),
            Some(other) => {
                let detail = format!(
                    "management node {other} is away, and without {node} too there would be no majority"
                );
                Err((ErrorCode::NoMajority, detail))
            }
            None if self.peers.is_empty() && !restarts => {
                Err((ErrorCode::InvalidRequest, format!("management node {node} is the only one")))
            }
            None => Ok(restarts),
        }
    }
}
