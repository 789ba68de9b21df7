//! How the kernel makes a new cluster state its own: tables, fragments, lanes.

use crate::interface::{Command, LinkId, Nanoseconds};
use crate::kernel::{Kernel, context};
use crate::lane::Lane;
use crate::ldm::IndexRefusal;
use crate::links::{LinkRole, Stage};
use crate::membership::Drained;
use crate::planted::ONLY_ACTIVE_VERSIONS;
use crate::split::{Installation, Part, ToCoordinator, manager_of_lane};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::Instance;
use duet_protocol::record::{ClusterState, Member};
use duet_protocol::schema::{IndexState, TableIndex, TableState};
use std::sync::Arc;

impl Kernel {
    /// A cluster state arrived as a record.
    pub(crate) fn learn(&mut self, now: Nanoseconds, record: &[u8]) {
        if record.is_empty() {
            return;
        }
        let state = match ClusterState::from_record(record) {
            Ok(state) => state,
            Err(code) => {
                let reason = format!("the management node sent a cluster state that cannot be read: {code}");
                self.commands.push_back(Command::Stop { reason });
                return;
            }
        };
        if state.version <= self.map.state.version {
            return;
        }
        // Before it is registered too: the leader may be one that it was not told of.
        self.membership.know_management(&state.management, now);
        if self.membership.instance.incarnation == 0 {
            self.early_state = Some((state, record.to_vec()));
        } else {
            self.install(now, state, record.to_vec());
        }
    }

    pub(crate) fn install(&mut self, now: Nanoseconds, state: ClusterState, record: Vec<u8>) {
        if state.version <= self.map.state.version || state.cluster_id != self.membership.cluster_id {
            return;
        }
        if self.membership.instance.incarnation > 1
            && self.now < self.start_until
            && self.map.state.version == 0
        {
            // An earlier life of this node may have promised to keep still; it cannot be asked any more.
            self.early_state = Some((state, record));
            return;
        }
        let instance = self.membership.instance;
        if state.view.number > 0 && state.view.member(instance.node) != Some(instance) {
            if self.has_left(now, &state) {
                return;
            }
            if self.joining.may_wait(&state, instance) {
                self.joining.outside = Some(state);
                return;
            }
            let reason = format!(
                "{} node {} is not a member of view {} any more: start it again, and it joins with a copy of the rows",
                ErrorCode::NotInView as u16,
                instance.node,
                state.view.number,
            );
            self.commands.push_back(Command::Stop { reason });
            return;
        }
        if state.view.number > 0 {
            self.joining.enter();
        }
        if self.split.is_some() {
            let cluster_id = self.membership.cluster_id;
            return self.start_install(Arc::new(Installation { state, record, instance, cluster_id }));
        }
        self.apply_state(now, state, record);
    }

    /// Makes a state this kernel's own.
    pub(crate) fn apply_state(&mut self, now: Nanoseconds, mut state: ClusterState, record: Vec<u8>) {
        if self.configuration.planted_bug == ONLY_ACTIVE_VERSIONS {
            state.tables.iter_mut().for_each(|table| table.adding = None);
        }
        let before: Vec<Instance> = self.map.state.view.members().map(Member::instance).collect();
        if self.map.state.view.number == 0 && state.view.number > 1 {
            // Earlier lives of this node have opened sessions in epochs that this one has not heard of.
            self.epochs.open_sessions_from(u64::MAX);
        }
        let removed = match self.map.install(state, record, self.membership.instance.node) {
            Ok(removed) => removed,
            Err(code) => {
                let reason = format!("the cluster state cannot be installed: {code}");
                self.commands.push_back(Command::Stop { reason });
                return;
            }
        };
        self.out.identity.view = self.map.state.view.number;
        self.epochs_of_view(now);
        self.epochs_without_lost_groups();
        let view = &self.map.state.view;
        let gone: Vec<u32> = before
            .iter()
            .filter(|instance| !view.contains(**instance))
            .map(|instance| instance.node)
            .collect();
        let me = self.membership.instance.node;
        let partitions = 0..self.map.partitions.len() as u16;
        self.hands_over = partitions.into_iter().any(|partition| self.map.should_hand_over(partition, me));
        self.adopt_view(now);
        self.make_lanes(now);
        let (out, map) = (&self.out, &self.map);
        let lane_of = |node: u32, partition: u16| {
            out.lanes.iter().position(|lane| {
                lane.peer.node == node
                    && lane.number == map.partitions[usize::from(partition)].lane
                    && !lane.retired
            })
        };
        let managers = self.split.as_ref().map_or(1, |split| split.shared.managers);
        let part = self.part;
        let owns = |partition: u16| match part {
            Part::Whole => true,
            Part::Data(number) => {
                manager_of_lane(map.partitions[usize::from(partition)].lane, managers) == number
            }
            Part::Coordinator(_) => false,
        };
        let lanes = 0..map.state.configuration.lanes.max(1);
        let changed = self.ldm.install(&self.map, self.membership.instance.node, &removed, owns, lane_of);
        self.ldm.begin_builds(&self.map, self.configuration.planted_bug);
        self.ldm.begin_entering(&self.map, self.membership.instance.node, self.epoch);
        let mut indexes = self.map.state.tables.iter().flat_map(|table| &table.indexes);
        let refused = |index: &&TableIndex| {
            let known = self.membership.index_refusal.as_ref();
            known.is_some_and(|known| known.index == index.id)
        };
        if indexes.find(refused).is_none_or(|index| index.state != IndexState::WriteOnly) {
            self.membership.index_refusal = None;
        }
        if !matches!(part, Part::Coordinator(_)) {
            self.ldm.set_lanes(lanes.filter(|lane| self.owns_lane(*lane)).collect());
            self.ldm.settle_view(&mut context!(self), &changed, &gone);
        }
        if !matches!(part, Part::Data(_)) {
            self.coordinator.transactions.install(&mut context!(self), &gone);
        }
        self.deliver_mail();
        if self.split.is_none() {
            self.view_installed();
        }
        self.release_held();
        self.update_drained();
        self.membership.report_soon();
    }

    /// Lanes to all other members, made once when the view is formed. The higher node id connects.
    fn make_lanes(&mut self, now: Nanoseconds) {
        let state = &self.map.state;
        let me = self.membership.instance.node;
        let mut added = Vec::new();
        self.membership.forget_peers(|node| state.view.member(node).is_some());
        for member in
            state.view.groups.iter().flat_map(|group| &group.members).filter(|member| member.node != me)
        {
            for number in 0..state.configuration.lanes.max(1) {
                let known = self
                    .out
                    .lanes
                    .iter()
                    .any(|lane| lane.peer == member.instance() && lane.number == number && !lane.retired);
                if !known && self.owns_lane(number) {
                    added.push(Lane::new(member.instance(), number, self.configuration.lane_frame_signals));
                }
                if member.node < me
                    && !matches!(self.part, Part::Data(_))
                    && let Some(record) = state.node(member.node)
                {
                    self.membership.want_peer(member.node, number, &record.address, now);
                }
            }
            let nodes = member.node as usize + 1;
            if self.forward_links.len() < nodes {
                self.forward_links.resize(nodes, None);
            }
        }
        for lane in added {
            self.add_lane(lane);
        }
    }

    /// A handshake joined a link to a lane. False when the lane cannot be resumed.
    pub(crate) fn attach_lane(&mut self, lane: usize, link: LinkId, peer_received: u64) -> bool {
        if !self.forgets_frames() && !self.out.lanes[lane].can_resume(peer_received) {
            return false;
        }
        if let Some(old) = self.out.lanes[lane].link
            && old != link
        {
            self.surrender_link(old);
            self.links.mark_closing(old, &mut self.commands);
        }
        self.out.set_receiver(link, self.out.lanes[lane].peer);
        if self.forgets_frames() {
            self.out.lanes[lane].forget_retained();
        }
        if !self.forgets_frames() && !self.out.lanes[lane].attach(link, peer_received) {
            return false;
        }
        self.out.lanes[lane].link = Some(link);
        if self.out.lanes[lane].number == 0 && self.keeps_leases() {
            self.leases.connected(self.now, self.out.lanes[lane].peer);
        }
        self.out.send_lane_frames(lane, link, false);
        if self.out.lanes[lane].number == 0 {
            let connected_here = self.links.get(link).is_some_and(|state| state.target.is_some());
            let usable = connected_here || self.split.is_none();
            self.set_forward_link(self.out.lanes[lane].peer.node, usable.then_some(link));
        }
        self.set_stage(link, Stage::Ready(LinkRole::Peer { lane }));
        true
    }

    /// Planted bugs of the simulator's tests: what a broken connection has lost is not sent again.
    pub(crate) fn forgets_frames(&self) -> bool {
        matches!(self.configuration.planted_bug, 3 | 14)
    }

    /// Looks what is drained and built of the state that is installed, and tells it.
    pub(crate) fn update_drained(&mut self) {
        let before = self.drained;
        if let (Part::Coordinator(_), Some(split)) = (self.part, &self.split) {
            let least = |of: fn(&Drained) -> u64| split.drained.iter().map(of).min().unwrap_or_default();
            self.drained = Drained {
                drained: least(|part| part.drained),
                built: least(|part| part.built),
                copied: least(|part| part.copied),
                quiet: least(|part| part.quiet),
            };
            if self.drained != before {
                self.membership.report_soon();
            }
            return;
        }
        if let Some(refusal) = self.ldm.take_index_refusal() {
            self.index_refused(refusal);
        }
        let version = self.map.state.version;
        let marked = self.split.as_ref().is_none_or(|split| split.marks.iter().all(|mark| *mark >= version));
        let quiet = self.look_at_hand_over();
        if marked {
            self.ldm.all_know();
        }
        let ended = Drained { drained: version, built: version, copied: version, quiet };
        if before == ended || !marked {
            return;
        }
        let dropping = self.map.tables.iter().enumerate().filter_map(|(slot, table)| {
            table.as_ref().filter(|table| table.state == TableState::Dropping).map(|_| slot)
        });
        if !self.ldm.has_pending(dropping) && !self.ldm.has_readers(&self.map) {
            self.drained.drained = version;
        }
        if !self.ldm.is_building() {
            self.drained.built = version;
        }
        if !self.ldm.is_copying() {
            self.drained.copied = version;
        }
        self.drained.quiet = quiet;
        if self.drained != before {
            self.membership.report_soon();
            if let (Part::Data(manager), Some(split)) = (self.part, &mut self.split) {
                let drained = self.drained;
                split.out.to_coordinators[0].push_back(ToCoordinator::Drained { manager, drained });
            }
        }
    }

    /// A unique index cannot be built.
    pub(crate) fn index_refused(&mut self, refusal: IndexRefusal) {
        if let (Part::Data(_), Some(split)) = (self.part, &mut self.split) {
            return split.out.to_coordinators[0].push_back(ToCoordinator::IndexRefused(Box::new(refusal)));
        }
        self.membership.index_refusal = Some(refusal);
        self.membership.report_soon();
    }
}
