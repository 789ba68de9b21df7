//! The data part: executes what the coordinators hand on, and owns the links of its lanes.

use super::message::{Installation, REQUESTS_PER_MESSAGE, RequestPlace, ToCoordinator, ToData};
use super::{Part, manager_of_lane};
use crate::coordinator::GROUP;
use crate::interface::{LinkId, Nanoseconds};
use crate::kernel::{Kernel, context};
use crate::ldm::Job;
use crate::links::{LinkRole, Stage};
use crate::outbox::ReplyTo;
use duet_memory::Section;
use duet_protocol::frame::FrameView;
use duet_protocol::signal::resolve::Resolve;
use duet_protocol::signal::scan::Scan;
use duet_protocol::signal::{SignalType, SignalView};
use std::sync::Arc;

/// Requests of one coordinator's current frame that were handed on and are not executed yet.
#[derive(Debug, Default)]
pub struct Requests {
    frame: Option<(LinkId, Section)>,
    places: Vec<RequestPlace>,
}

impl Requests {
    /// Requests that were not executed.
    pub fn waiting(&self) -> usize {
        self.places.len()
    }
}

/// A state on its way into all parts but coordinator 0.
#[derive(Debug)]
pub struct Installing {
    installation: Arc<Installation>,
    /// Parts that have not answered: data parts, then coordinators.
    missing: usize,
    /// The data parts have all answered.
    in_data: bool,
}

impl Kernel {
    /// Data part: a message of a coordinator part. Requests are executed in groups, the last ones by
    /// [`Kernel::finish_requests`].
    pub fn data_message(&mut self, now: Nanoseconds, coordinator: usize, message: ToData) {
        match message {
            ToData::Requests(places) => {
                let Some(split) = &mut self.split else { return };
                let waiting = &mut split.requests[coordinator].places;
                waiting.extend_from_slice(places.used());
                if waiting.len() + REQUESTS_PER_MESSAGE > GROUP {
                    self.finish_requests_of(coordinator);
                }
            }
            ToData::Frame { link, frame } => {
                self.finish_requests_of(coordinator);
                if let Some(split) = &mut self.split {
                    split.requests[coordinator].frame = Some((link, frame));
                }
            }
            other => {
                self.finish_requests();
                self.refresh_epoch();
                self.rare_data_message(now, coordinator, other);
            }
        }
    }

    fn rare_data_message(&mut self, now: Nanoseconds, coordinator: usize, message: ToData) {
        self.now = now;
        match message {
            ToData::PeerFrame { link, frame } => {
                if !self.claim_slot(link) {
                    return;
                }
                if self.links.get(link).is_none() {
                    self.links.open(link, Stage::AwaitHello { since: now });
                    self.out.open(link);
                }
                self.shared_frame(now, link, &frame);
            }
            ToData::PeerConnected { link, target } => {
                if self.claim_slot(link) {
                    self.link_connected(now, link, target);
                }
            }
            ToData::LinkClosed { link, by_peer } => self.data_link_closed(link, by_peer),
            ToData::Barrier { view } => {
                self.ldm.barrier(&mut context!(self), view);
                self.deliver_mail();
            }
            ToData::Install(installation) => self.data_install(now, &installation),
            ToData::Drain { epoch } => self.part_wants_drained(epoch),
            ToData::Mark { version } => {
                if let Some(split) = &mut self.split {
                    split.marks[coordinator] = version;
                }
                self.update_drained();
            }
            ToData::Transactions { node, lane, signals } => {
                self.transactions_from_coordinator(node, lane, &signals);
            }
            ToData::Frame { .. } | ToData::Requests(_) => {}
        }
    }

    /// Makes the slot of a link free of older links: coordinators have no common order, so that their end may be told
    /// later. False when the link itself is such an older one.
    fn claim_slot(&mut self, link: LinkId) -> bool {
        if self.out.is_outdated(link) {
            return false;
        }
        if let Some(older) = self.links.in_slot(link.slot).filter(|older| *older != link) {
            self.data_link_closed(older, false);
        }
        true
    }

    /// Data part: executes the requests that were handed on so far.
    pub fn finish_requests(&mut self) {
        for coordinator in 0..self.split.as_ref().map_or(0, |split| split.requests.len()) {
            self.finish_requests_of(coordinator);
        }
    }

    fn finish_requests_of(&mut self, coordinator: usize) {
        let Some(split) = &mut self.split else { return };
        let requests = &mut split.requests[coordinator];
        if requests.places.is_empty() {
            return;
        }
        let Some((link, frame)) = requests.frame.take() else { return };
        let mut places = std::mem::take(&mut requests.places);
        self.refresh_epoch();
        for group in places.chunks(GROUP) {
            self.execute_places(link, &frame, group);
        }
        places.clear();
        if let Some(split) = &mut self.split {
            // More requests of the same frame may follow.
            split.requests[coordinator] = Requests { frame: Some((link, frame)), places };
        }
    }

    fn execute_places(&mut self, link: LinkId, frame: &[u8], places: &[RequestPlace]) {
        let mut group: [Option<Job<'_>>; GROUP] = [None; GROUP];
        let mut used = 0;
        for place in places {
            // The coordinator has checked the frame before it named places in it.
            let bytes = frame.get(place.offset as usize..).unwrap_or_default();
            let Some((signal, _)) = SignalView::split_again(bytes) else { continue };
            let reply = ReplyTo { link, request_id: signal.request_id() };
            let RequestPlace { partition, hash, .. } = *place;
            let table = usize::from(place.table);
            if matches!(signal.signal_type(), SignalType::Read | SignalType::Write) {
                self.ldm.prefetch_bucket(partition, table, hash);
                group[used] = Some(Job { signal, reply, partition, table, hash });
                used += 1;
                continue;
            }
            self.ldm.execute(&mut context!(self), &group[..used]);
            used = 0;
            if let Some(body) = signal.body::<Resolve>() {
                self.ldm.resolve(&mut context!(self), reply, body, partition);
            } else if let Some(body) = signal.body::<Scan>() {
                self.ldm.scan(&mut context!(self), reply, &signal, body, table);
            }
        }
        self.ldm.execute(&mut context!(self), &group[..used]);
    }

    /// Makes the node's identity and a state this part's own; the version of the state.
    fn adopt(&mut self, now: Nanoseconds, installation: &Installation) -> u64 {
        self.membership.instance = installation.instance;
        self.membership.cluster_id = installation.cluster_id;
        self.out.identity.sender = installation.instance;
        self.coordinator.transactions.incarnation = installation.instance.incarnation as u16;
        self.out.identity.cluster_id = installation.cluster_id;
        self.apply_state(now, installation.state.clone(), installation.record.clone());
        installation.state.version
    }

    /// Installs a state that coordinator 0 handed on.
    fn data_install(&mut self, now: Nanoseconds, installation: &Installation) {
        let version = self.adopt(now, installation);
        if let Some(split) = &mut self.split {
            split.out.to_coordinators[0].push_back(ToCoordinator::Installed { version });
        }
    }

    fn data_link_closed(&mut self, link: LinkId, by_peer: bool) {
        self.out.close(link);
        let Some(closed) = self.links.close(link) else { return };
        self.detach_lane(link, closed.stage, by_peer);
    }

    /// A link in this stage is gone: if it carried a lane, the lane has no connection any more.
    pub(crate) fn detach_lane(&mut self, link: LinkId, stage: Stage, by_peer: bool) {
        if let Stage::Ready(LinkRole::Peer { lane }) = stage
            && self.out.lanes[lane].detach(link)
            && self.out.lanes[lane].number == 0
        {
            self.set_forward_link(self.out.lanes[lane].peer.node, None);
            if self.keeps_leases() {
                let peer = self.out.lanes[lane].peer;
                if !by_peer {
                    // The other side may take our end of the link for a proof.
                    self.leases.surrender(self.now, peer);
                }
                self.leases.closed(self.now, peer, by_peer);
            }
        }
    }

    /// The link over which requests for a node are forwarded; a data part tells it to all coordinators.
    pub(crate) fn set_forward_link(&mut self, node: u32, link: Option<LinkId>) {
        let before = std::mem::replace(&mut self.forward_links[node as usize], link);
        if before != link
            && let Some(split) = &mut self.split
        {
            split.out.coordinators_except(None, || ToCoordinator::ForwardLink { node, link });
        }
    }

    /// A data part forwards over a link that it has accepted once the other side has spoken after the handshake: the
    /// requests come from other parts, and could overtake the welcome on their way to the socket.
    pub(crate) fn peer_has_spoken(&mut self, link: LinkId, lane: usize) {
        let lane = &self.out.lanes[lane];
        if lane.number == 0 && lane.link == Some(link) {
            self.set_forward_link(lane.peer.node, Some(link));
        }
    }

    /// Data part: a checked frame outside the lanes is for the coordinators too.
    pub(crate) fn share_peer_frame(&mut self, link: LinkId, frame: &FrameView<'_>) {
        const FOR_COORDINATORS: u64 = SignalType::Read.bit()
            | SignalType::Write.bit()
            | SignalType::Resolve.bit()
            | SignalType::Scan.bit()
            | SignalType::ReadReply.bit()
            | SignalType::WriteReply.bit()
            | SignalType::ErrorReply.bit()
            | SignalType::ResolveReply.bit()
            | SignalType::ScanReply.bit()
            | SignalType::OpenEpoch.bit()
            | SignalType::EpochDrained.bit()
            | SignalType::EpochClosed.bit()
            | SignalType::Installed.bit()
            | SignalType::TakeoverDone.bit()
            | SignalType::ClusterStateSignal.bit();
        if frame.types() & FOR_COORDINATORS == 0 {
            return;
        }
        let Some(section) = self.current.clone() else { return };
        if let Some(split) = &mut self.split {
            split.out.coordinators_except(None, || ToCoordinator::PeerFrame { link, frame: section.clone() });
        }
    }

    /// Whether a lane belongs to this kernel.
    pub(crate) fn owns_lane(&self, lane: u16) -> bool {
        match (self.part, &self.split) {
            (Part::Data(index), Some(split)) => manager_of_lane(lane, split.shared.managers) == index,
            (Part::Coordinator(_), _) => false,
            _ => true,
        }
    }

    /// Coordinator 0: the data parts install first.
    pub(crate) fn start_install(&mut self, installation: Arc<Installation>) {
        let Some(split) = &mut self.split else { return };
        if let Some(current) = &split.installing {
            let newest = split.next_install.as_ref().unwrap_or(&current.installation);
            if installation.state.version > newest.state.version {
                split.next_install = Some(installation);
            }
            return;
        }
        split.out.all_data(|| ToData::Install(Arc::clone(&installation)));
        split.installing = Some(Installing { installation, missing: split.shared.managers, in_data: false });
    }

    /// Coordinator part: a message of a data part, or of coordinator 0.
    pub fn coordinator_message(&mut self, now: Nanoseconds, message: ToCoordinator) {
        self.now = now;
        self.refresh_epoch();
        self.coordinator.transactions.now = now;
        match message {
            ToCoordinator::Installed { version } => self.part_installed(now, version),
            ToCoordinator::Install(installation) => self.coordinator_install(now, &installation),
            ToCoordinator::IndexRefused(refusal) => self.index_refused(*refusal),
            ToCoordinator::Drained { manager, drained } => {
                if let Some(split) = &mut self.split {
                    split.drained[manager] = drained;
                }
                self.update_drained();
            }
            // A link that has closed meanwhile is lost already.
            ToCoordinator::Established { link, target } if self.links.get(link).is_some() => {
                self.membership.established(target, link, now);
            }
            ToCoordinator::Established { .. } => {}
            ToCoordinator::ForwardLink { node, link } => {
                let node = node as usize;
                if self.forward_links.len() <= node {
                    self.forward_links.resize(node + 1, None);
                }
                let lost = std::mem::replace(&mut self.forward_links[node], link);
                if let Some(lost) = lost.filter(|lost| Some(*lost) != link) {
                    self.coordinator.link_closed(&mut context!(self), lost);
                    self.out.close(lost);
                }
            }
            ToCoordinator::PeerFrame { link, frame } => {
                if let Ok(view) = FrameView::new_checked(&frame) {
                    self.current = Some(frame.clone());
                    self.peer_signals(link, usize::MAX, view.envelope().sender.node, view.signals());
                    self.current = None;
                }
            }
            ToCoordinator::Transactions { signals } => self.transactions_from_data(&signals),
            ToCoordinator::Drain { epoch } => self.part_wants_drained(epoch),
            ToCoordinator::EpochDrained { part, epoch, busy } => self.part_drained(part, epoch, busy),
            ToCoordinator::Measured { part, counters } => {
                if let Some(split) = &mut self.split {
                    split.counters[part] = *counters;
                }
            }
        }
    }

    /// Coordinator 0: another part has installed a version.
    fn part_installed(&mut self, now: Nanoseconds, version: u64) {
        let Some(split) = &mut self.split else { return };
        let Some(installing) = &mut split.installing else { return };
        if installing.installation.state.version != version {
            return;
        }
        installing.missing -= 1;
        if installing.missing > 0 {
            return;
        }
        let others = split.shared.coordinators - 1;
        if !std::mem::replace(&mut installing.in_data, true) && others > 0 {
            installing.missing = others;
            let installation = &installing.installation;
            let install = || ToCoordinator::Install(Arc::clone(installation));
            return split.out.coordinators_except(Some(0), install);
        }
        let Some(installed) = split.installing.take() else { return };
        let next = split.next_install.take();
        self.coordinator_install(now, &installed.installation);
        if let Some(next) = next {
            self.start_install(next);
        }
    }

    /// Installs a state that all data parts have installed, and marks it in the mailboxes.
    fn coordinator_install(&mut self, now: Nanoseconds, installation: &Installation) {
        let version = self.adopt(now, installation);
        if let Some(split) = &mut self.split {
            split.out.all_data(|| ToData::Mark { version });
            if self.part != Part::Coordinator(0) {
                split.out.to_coordinators[0].push_back(ToCoordinator::Installed { version });
            }
        }
        self.view_installed();
    }
}
