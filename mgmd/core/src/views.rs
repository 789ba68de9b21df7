//! Changes of the view: compare-and-set per group, decided where they are applied (PROTOCOL.md §2).

use crate::interface::LinkId;
use crate::machine::Machine;
use crate::node::ManagementNode;
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::Instance;
use duet_protocol::record::{
    GroupView, Leaving, ManagementCommand, Member, MemberState, PartitionView, ViewChange, ViewRecord,
};
use duet_protocol::signal::installed::Installed;
use duet_protocol::signal::propose_view::{
    KIND_JOIN, KIND_LEAVE, KIND_PROMOTE, KIND_REMOVE, KIND_SWAP, ProposeView,
};
use duet_protocol::signal::view_proposed::ViewProposed;
use duet_protocol::signal::{Sections, SignalView};

/// Changes of the view that are remembered.
const MAX_VIEWS: usize = 256;
/// Most proposals that may be on their way into the log.
const MAX_PROPOSED: usize = 256;

impl Machine {
    /// Makes a change of the view if the group has not changed since `changed_in_view`; the view that it made. A proposal
    /// that was applied before is answered with the view that it made then.
    pub(crate) fn change_view(
        &mut self,
        request: [u8; 16],
        group: u16,
        changed_in_view: u64,
        proposer: Instance,
        change: ViewChange,
    ) -> Result<u64, ErrorCode> {
        if let Some(record) = self.content.views.iter().find(|record| record.request == request) {
            return Ok(record.view);
        }
        let state = &mut self.content.state;
        let found = state.view.groups.get_mut(usize::from(group)).ok_or(ErrorCode::InvalidRequest)?;
        if found.changed_in_view != changed_in_view {
            return Err(ErrorCode::ViewChanged);
        }
        let by_full = full_members(found).any(|member| member.instance() == proposer);
        // A joining member may go, as everybody may.
        let by_itself = match change {
            ViewChange::Join { node, incarnation } | ViewChange::Remove { node, incarnation } => {
                Instance { node, incarnation } == proposer
            }
            ViewChange::Promote { .. } | ViewChange::Swap { .. } | ViewChange::Leave { .. } => false,
        };
        if !by_full && !by_itself {
            return Err(ErrorCode::NotInView);
        }
        let number = state.view.number + 1;
        let partitions = &mut state.view.partitions;
        match &change {
            ViewChange::Remove { node, incarnation } => {
                let instance = Instance { node: *node, incarnation: *incarnation };
                remove(found, partitions, group, instance, number)?;
            }
            ViewChange::Join { node, incarnation } => {
                let instance = Instance { node: *node, incarnation: *incarnation };
                let registered = state.nodes.iter().any(|record| record.instance() == instance);
                let present = state.view.groups.iter().flat_map(|group| &group.members);
                let replicas = state.configuration.replicas.max(1);
                let belongs = node.saturating_sub(1) / replicas == u32::from(group);
                if !registered || !belongs || present.clone().any(|member| member.node == *node) {
                    return Err(ErrorCode::InvalidRequest);
                }
                let replicas = state.configuration.replicas as usize;
                join(
                    &mut state.view.groups[usize::from(group)],
                    partitions,
                    group,
                    instance,
                    replicas,
                    number,
                )?;
            }
            ViewChange::Promote { node, incarnation } => {
                let instance = Instance { node: *node, incarnation: *incarnation };
                promote(found, instance, proposer)?;
            }
            ViewChange::Swap { partitions: wanted } => {
                if found.members.iter().any(|member| member.state == MemberState::Joining) {
                    return Err(ErrorCode::InvalidRequest);
                }
                swap(partitions, group, wanted, number)?;
            }
            ViewChange::Leave { node, incarnation, restarts } => {
                let instance = Instance { node: *node, incarnation: *incarnation };
                leave(found, instance, *restarts, false)?;
            }
        }
        Ok(self.view_changed(request, group, change))
    }

    /// A group has changed: the next view, which is remembered under its request.
    pub(crate) fn view_changed(&mut self, request: [u8; 16], group: u16, change: ViewChange) -> u64 {
        let view = &mut self.content.state.view;
        view.number += 1;
        let number = view.number;
        view.groups[usize::from(group)].changed_in_view = number;
        self.content.state.version += 1;
        self.ask_again();
        if self.content.views.len() >= MAX_VIEWS {
            self.content.views.remove(0);
        }
        self.content.views.push(ViewRecord { view: number, request, group, change });
        number
    }
}

fn full_members(group: &GroupView) -> impl Iterator<Item = &Member> {
    group.members.iter().filter(|member| member.state == MemberState::Full)
}

fn of_group(partitions: &mut [PartitionView], group: u16) -> impl Iterator<Item = &mut PartitionView> {
    partitions.iter_mut().filter(move |partition| partition.group == group)
}

fn remove(
    group: &mut GroupView,
    partitions: &mut [PartitionView],
    number_of_group: u16,
    instance: Instance,
    view: u64,
) -> Result<(), ErrorCode> {
    let position = group.members.iter().position(|member| member.instance() == instance);
    let position = position.ok_or(ErrorCode::NotInView)?;
    let full = group.members[position].state == MemberState::Full;
    if full && full_members(group).count() == 1 {
        return Err(ErrorCode::LastFullInstance);
    }
    group.members.remove(position);
    if full_members(group).count() == 1 {
        // Whoever is alone with all rows stays.
        group.members.iter_mut().for_each(|member| member.leaving = Leaving::No);
    }
    for partition in of_group(partitions, number_of_group) {
        let before = partition.replicas.len();
        partition.replicas.retain(|node| *node != instance.node);
        if partition.replicas.len() < before {
            partition.cfg = view;
        }
    }
    Ok(())
}

/// The instance is in the chains of all partitions of the group from now on, behind the one full member.
fn join(
    group: &mut GroupView,
    partitions: &mut [PartitionView],
    number_of_group: u16,
    instance: Instance,
    replicas: usize,
    view: u64,
) -> Result<(), ErrorCode> {
    if group.members.len() >= replicas || full_members(group).count() != 1 {
        return Err(ErrorCode::InvalidRequest);
    }
    let Instance { node, incarnation } = instance;
    group.members.push(Member {
        node,
        incarnation,
        state: MemberState::Joining,
        recoverable: false,
        leaving: Leaving::No,
    });
    group.members.sort_by_key(|member| member.node);
    for partition in of_group(partitions, number_of_group) {
        partition.replicas.push(node);
        partition.cfg = view;
    }
    Ok(())
}

/// Only the one full member knows that the joining one has everything. The chains stay what they are.
fn promote(group: &mut GroupView, instance: Instance, proposer: Instance) -> Result<(), ErrorCode> {
    if full_members(group).count() != 1 || full_members(group).any(|member| member.instance() != proposer) {
        return Err(ErrorCode::LastFullInstance);
    }
    let joining =
        |member: &&mut Member| member.instance() == instance && member.state == MemberState::Joining;
    let member = group.members.iter_mut().find(joining).ok_or(ErrorCode::NotInView)?;
    member.state = MemberState::Full;
    Ok(())
}

/// The member hands over what it leads. The only one that has everything and stays must not, unless that is `forced`.
pub(crate) fn leave(
    group: &mut GroupView,
    instance: Instance,
    restarts: bool,
    forced: bool,
) -> Result<(), ErrorCode> {
    let others = group.members.iter().any(|member| member.instance() != instance && member.stays_full());
    if !others && !forced {
        return Err(ErrorCode::LastFullInstance);
    }
    let member = group.members.iter_mut().find(|member| member.instance() == instance);
    let member = member.ok_or(ErrorCode::NotInView)?;
    member.leaving = if restarts { Leaving::ToRestart } else { Leaving::ToEnd };
    Ok(())
}

fn swap(partitions: &mut [PartitionView], group: u16, wanted: &[u16], view: u64) -> Result<(), ErrorCode> {
    let fits = |number: &u16| {
        partitions
            .get(usize::from(*number))
            .is_some_and(|found| found.group == group && found.replicas.len() > 1)
    };
    if wanted.is_empty() || !wanted.iter().all(fits) {
        return Err(ErrorCode::InvalidRequest);
    }
    for number in wanted {
        let partition = &mut partitions[usize::from(*number)];
        partition.replicas.swap(0, 1);
        partition.cfg = view;
    }
    Ok(())
}

impl ManagementNode {
    /// A data node proposes a change of the view.
    pub(crate) fn propose_view(&mut self, link: LinkId, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<ProposeView>() else { return };
        self.rollback.hear(body.highest_view.get());
        let request = body.request;
        if self.duties.views.iter().any(|(known, _)| *known == request) {
            return;
        }
        let refusal = match self.judge_view(body, signal.section(0)) {
            Ok(command) if self.propose(&command) => {
                self.duties.views.push((request, link));
                return;
            }
            Ok(_) => ErrorCode::Overloaded,
            Err(code) => code,
        };
        self.reply_view(link, request, Err(refusal));
    }

    fn judge_view(&self, body: &ProposeView, section: &[u8]) -> Result<ManagementCommand, ErrorCode> {
        self.judge_change().map_err(|(code, _)| code)?;
        if self.duties.views.len() >= MAX_PROPOSED {
            return Err(ErrorCode::Overloaded);
        }
        let (node, incarnation) = (body.node.get(), body.incarnation.get());
        let change = match body.kind.get() {
            KIND_REMOVE => ViewChange::Remove { node, incarnation },
            KIND_JOIN => ViewChange::Join { node, incarnation },
            KIND_PROMOTE => ViewChange::Promote { node, incarnation },
            KIND_LEAVE => ViewChange::Leave { node, incarnation, restarts: false },
            KIND_SWAP => {
                let numbers =
                    section.chunks_exact(2).map(|bytes| u16::from(bytes[0]) | u16::from(bytes[1]) << 8);
                ViewChange::Swap { partitions: numbers.collect() }
            }
            _ => return Err(ErrorCode::InvalidRequest),
        };
        Ok(ManagementCommand::ChangeView {
            request: body.request,
            group: body.group.get(),
            changed_in_view: body.changed_in_view.get(),
            proposer: (body.proposer.get(), body.proposer_incarnation.get()),
            change,
        })
    }

    /// A proposal was applied.
    pub(crate) fn answer_view(&mut self, request: [u8; 16], result: Result<u64, ErrorCode>) {
        if self.consensus.is_leader() {
            match (&result, self.machine.content.views.last()) {
                (Ok(view), Some(record)) if record.request == request => {
                    self.inform(format!("view {view}: group {} {:?}", record.group, record.change));
                }
                _ => {}
            }
        }
        let waiting: Vec<LinkId> =
            self.duties.views.extract_if(.., |(known, _)| *known == request).map(|(_, link)| link).collect();
        for link in waiting {
            self.reply_view(link, request, result);
        }
    }

    fn reply_view(&mut self, link: LinkId, request: [u8; 16], result: Result<u64, ErrorCode>) {
        let (code, view) = match result {
            Ok(view) => (0, view),
            Err(code) => (code as u16, self.machine.state().view.number),
        };
        let body = ViewProposed { request, view: view.into(), code: code.into(), ..ViewProposed::default() };
        self.send(link, 0, &body, Sections::none());
    }

    /// A data node has installed a view: every other one learns it, whether they reach each other or not.
    pub(crate) fn relay_installed(&mut self, from: LinkId, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<Installed>() else { return };
        self.rollback.hear(body.view.get());
        for link in self.data_node_links() {
            if link != from {
                self.send(link, 0, body, Sections::none());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Applied;
    use duet_protocol::record::{ClusterConfiguration, LeaveRequest, NodeRecord};

    fn instance(node: u32, incarnation: u32) -> Instance {
        Instance { node, incarnation }
    }

    fn machine() -> Machine {
        let configuration = ClusterConfiguration { data_nodes: 4, replicas: 2, partitions: 4, lanes: 1 };
        let mut machine = Machine::genesis(9, configuration, Vec::new());
        let state = &mut machine.content.state;
        state.nodes =
            (1..=4).map(|node| NodeRecord { node, incarnation: 1, ..NodeRecord::default() }).collect();
        let instances: Vec<(u32, u32)> = (1..=4).map(|node| (node, 1)).collect();
        machine.apply(ManagementCommand::FormView { instances });
        machine
    }

    fn remove(node: u32, incarnation: u32) -> ViewChange {
        ViewChange::Remove { node, incarnation }
    }

    #[test]
    fn groups_change_independently_and_once() {
        let mut machine = machine();
        let by_one = instance(1, 1);
        assert_eq!(machine.change_view([1; 16], 0, 1, by_one, remove(2, 1)), Ok(2));
        assert_eq!(
            machine.change_view([1; 16], 0, 1, by_one, remove(2, 1)),
            Ok(2),
            "a repeat changes nothing"
        );
        assert_eq!(
            machine.change_view([2; 16], 0, 1, instance(2, 1), remove(1, 1)),
            Err(ErrorCode::ViewChanged)
        );
        assert_eq!(machine.change_view([3; 16], 1, 1, instance(4, 1), remove(3, 1)), Ok(3), "another group");
        let state = machine.state();
        assert_eq!((state.view.groups[0].changed_in_view, state.view.groups[1].changed_in_view), (2, 3));
        for partition in &state.view.partitions {
            let (survivor, cfg) = if partition.group == 0 { (1, 2) } else { (4, 3) };
            assert_eq!((partition.replicas.as_slice(), partition.cfg), (&[survivor][..], cfg));
        }
        assert!(state.check().is_ok());
    }

    #[test]
    fn the_last_full_instance_stays_and_only_it_promotes() {
        let mut machine = machine();
        let survivor = instance(1, 1);
        assert_eq!(machine.change_view([1; 16], 0, 1, survivor, remove(2, 1)), Ok(2));
        assert_eq!(
            machine.change_view([2; 16], 0, 2, survivor, remove(1, 1)),
            Err(ErrorCode::LastFullInstance)
        );
        let join = ViewChange::Join { node: 2, incarnation: 2 };
        let joiner = instance(2, 2);
        assert_eq!(machine.change_view([3; 16], 0, 2, joiner, join.clone()), Err(ErrorCode::InvalidRequest));
        machine.content.state.nodes[1].incarnation = 2;
        assert_eq!(machine.change_view([4; 16], 0, 2, joiner, join), Ok(3));
        let promote = ViewChange::Promote { node: 2, incarnation: 2 };
        assert_eq!(machine.change_view([5; 16], 0, 3, joiner, promote.clone()), Err(ErrorCode::NotInView));
        assert_eq!(machine.change_view([6; 16], 0, 3, joiner, remove(1, 1)), Err(ErrorCode::NotInView));
        assert_eq!(
            machine.change_view([7; 16], 0, 2, survivor, promote.clone()),
            Err(ErrorCode::ViewChanged)
        );
        assert_eq!(machine.change_view([8; 16], 0, 3, survivor, promote), Ok(4));
        let swap = ViewChange::Swap { partitions: vec![0] };
        assert_eq!(machine.change_view([9; 16], 0, 4, survivor, swap), Ok(5));
        let view = &machine.state().view;
        assert_eq!(view.partitions[0].replicas, [2, 1]);
        assert_eq!(view.partitions[2].replicas, [1, 2]);
        assert_eq!((view.partitions[0].cfg, view.partitions[2].cfg), (5, 3), "promotion changes no chain");
        assert!(machine.state().check().is_ok());
    }

    #[test]
    fn a_member_leaves_only_where_another_one_stays_with_everything() {
        let mut machine = machine();
        let (one, two) = (instance(1, 1), instance(2, 1));
        let leave = |node| ViewChange::Leave { node, incarnation: 1, restarts: false };
        assert_eq!(machine.change_view([1; 16], 0, 1, one, leave(1)), Ok(2));
        assert_eq!(machine.change_view([2; 16], 0, 2, two, leave(2)), Err(ErrorCode::LastFullInstance));
        let leaving = |machine: &Machine| machine.state().view.groups[0].members[0].leaving;
        assert_eq!(leaving(&machine), Leaving::ToEnd);
        assert_eq!(machine.change_view([3; 16], 0, 2, one, remove(2, 1)), Ok(3));
        assert_eq!(leaving(&machine), Leaving::No, "whoever is alone stays");
        let mut ask = |request, node, forced| {
            let wanted = LeaveRequest { node, restarts: true, forced };
            machine.apply(ManagementCommand::AskToLeave { request, wanted })
        };
        assert!(matches!(
            ask([4; 16], 1, false),
            Applied::JobRefused { code: ErrorCode::LastFullInstance, .. }
        ));
        assert!(matches!(ask([5; 16], 2, false), Applied::JobRefused { code: ErrorCode::NotInView, .. }));
        assert!(matches!(ask([6; 16], 9, false), Applied::JobRefused { code: ErrorCode::UnknownNodeId, .. }));
        assert!(matches!(ask([7; 16], 1, true), Applied::JobFinished(_)));
        assert!(matches!(ask([7; 16], 1, true), Applied::JobFinished(_)), "a repeat changes nothing");
        assert!(matches!(ask([8; 16], 3, false), Applied::JobFinished(_)), "another group");
        let view = &machine.state().view;
        assert_eq!((view.number, view.groups[0].members[0].leaving), (5, Leaving::ToRestart));
        assert_eq!(view.groups[1].members[0].leaving, Leaving::ToRestart);
    }

    #[test]
    fn a_joining_instance_may_be_removed() {
        let mut machine = machine();
        let survivor = instance(1, 1);
        assert_eq!(machine.change_view([1; 16], 0, 1, survivor, remove(2, 1)), Ok(2));
        machine.content.state.nodes[1].incarnation = 2;
        let join = ViewChange::Join { node: 2, incarnation: 2 };
        assert_eq!(machine.change_view([2; 16], 0, 2, instance(2, 2), join), Ok(3));
        assert_eq!(machine.change_view([3; 16], 0, 3, survivor, remove(2, 2)), Ok(4));
        let promote = ViewChange::Promote { node: 2, incarnation: 2 };
        assert_eq!(machine.change_view([4; 16], 0, 3, survivor, promote), Err(ErrorCode::ViewChanged));
        let partition = &machine.state().view.partitions[0];
        assert_eq!((partition.replicas.as_slice(), partition.cfg), (&[1][..], 4), "it left the chain");
    }
}
