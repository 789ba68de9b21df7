//! Changes of the view as a data node sees them: it proposes to remove a suspect member, tells everybody that it has
//! installed a view, waits until all have, and lets take-over begin (PROTOCOL.md §2).
//!
//! All this is done by coordinator 0 of a node (in the batch pipeline: by the one kernel). Local data managers hear of
//! the barrier; what they do then is in `ldm/takeover.rs`.

use crate::interface::{Command, LinkId, Nanoseconds, Target};
use crate::kernel::{Kernel, context};
use crate::lane::Lane;
use crate::links::{LinkRole, Stage};
use crate::split::{Part, ToData};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::FrameView;
use duet_protocol::ids::Instance;
use duet_protocol::record::View;
use duet_protocol::signal::fetch_state::FetchState;
use duet_protocol::signal::heartbeat::Heartbeat;
use duet_protocol::signal::installed::Installed;
use duet_protocol::signal::propose_view::{KIND_REMOVE, ProposeView};
use duet_protocol::signal::takeover_done::TakeoverDone;
use duet_protocol::signal::view_proposed::ViewProposed;
use duet_protocol::signal::{Sections, SignalView};

const MILLISECOND: Nanoseconds = 1_000_000;
/// Time between two repetitions of a proposal, or of what the others wait for in a change of view.
const REPEAT_EVERY: Nanoseconds = 50 * MILLISECOND;
/// Time between two questions for a newer view.
const FETCH_EVERY: Nanoseconds = 20 * MILLISECOND;
/// Most bytes of frames that wait in one lane for a newer view.
const MAX_HELD_BYTES: usize = 16 << 20;

/// What one instance has said of the change of view.
#[derive(Clone, Copy, Debug)]
struct Heard {
    instance: Instance,
    installed: u64,
    epoch: u64,
    done: u64,
}

/// A proposal that is repeated until the group changes.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    body: ProposeView,
    /// Those that are swapped, as they are sent.
    partitions: Vec<u8>,
    next_at: Nanoseconds,
}

/// State of the change of view, at coordinator 0.
#[derive(Debug, Default)]
pub struct Views {
    heard: Vec<Heard>,
    /// Newest view that this node has installed in all its parts.
    installed: u64,
    /// Newest view that all its instances have installed.
    barrier: u64,
    /// The highest epoch that any of them had then.
    barrier_epoch: u64,
    /// Newest view in which this node has ended what it took over.
    taken_over: u64,
    /// Newest view in which all instances have.
    done: u64,
    announce_at: Nanoseconds,
    pub(crate) proposal: Option<Proposal>,
    fetch_at: Nanoseconds,
    proposals: u64,
}

impl Views {
    /// Whether no epoch may be closed now: a view is installed whose take-over has not ended everywhere.
    pub fn is_changing(&self) -> bool {
        self.installed > self.done
    }

    /// Whether a change of this kind is proposed.
    pub(crate) fn proposes(&self, kind: u16) -> bool {
        self.proposal.as_ref().is_some_and(|proposal| proposal.body.kind.get() == kind)
    }

    fn of(&mut self, instance: Instance) -> &mut Heard {
        let position = self.heard.iter().position(|heard| heard.instance == instance);
        let position = position.unwrap_or_else(|| {
            self.heard.push(Heard { instance, installed: 0, epoch: 0, done: 0 });
            self.heard.len() - 1
        });
        &mut self.heard[position]
    }

    /// The highest epoch that the members had when they had installed the view, once all have.
    fn installed_epoch(&mut self, view: &View) -> Option<u64> {
        let mut epoch = 0;
        for member in view.members() {
            let heard = self.of(member.instance());
            if heard.installed < view.number {
                return None;
            }
            epoch = epoch.max(heard.epoch);
        }
        Some(epoch)
    }

    /// Whether all these instances have installed this view, or a newer one.
    pub(crate) fn have_installed(&mut self, instances: &[Instance], view: u64) -> bool {
        instances.iter().all(|instance| self.of(*instance).installed >= view)
    }

    fn are_all_done(&mut self, view: &View) -> bool {
        view.members().all(|member| self.of(member.instance()).done >= view.number)
    }
}

impl Kernel {
    fn is_first(&self) -> bool {
        matches!(self.part, Part::Whole | Part::Coordinator(0))
    }

    /// Whether this kernel keeps the leases: it owns lane 0, over whose links heartbeats travel.
    pub fn keeps_leases(&self) -> bool {
        matches!(self.part, Part::Whole | Part::Data(0))
    }

    /// The lane 0 to an instance, if it is connected.
    fn heartbeat_link(&self, instance: Instance) -> Option<LinkId> {
        self.out.lanes.iter().find(|lane| lane.number == 0 && lane.peer == instance)?.link
    }

    /// A view was made this kernel's own: what belonged to removed instances goes.
    pub(crate) fn adopt_view(&mut self, now: Nanoseconds) {
        for index in 0..self.out.lanes.len() {
            let lane = &mut self.out.lanes[index];
            if lane.retired || self.map.state.view.contains(lane.peer) {
                continue;
            }
            if let Some(link) = lane.retire() {
                self.links.mark_closing(link, &mut self.commands);
                if lane.number == 0 {
                    let node = lane.peer.node;
                    self.set_forward_link(node, None);
                }
            }
        }
        let me = self.membership.instance;
        if self.keeps_leases()
            && let Some((_, group)) = self.map.state.view.group_of(me.node)
        {
            self.leases.install(now, me, group);
        }
    }

    /// All parts of this node have installed the view: the others wait to hear that.
    pub(crate) fn view_installed(&mut self) {
        let view = self.map.state.view.number;
        if !self.is_first() || view <= self.views.installed {
            return;
        }
        self.views.installed = view;
        self.views.announce_at = 0;
        self.views.proposal = None;
        let (me, epoch) = (self.membership.instance, self.epoch);
        let heard = self.views.of(me);
        (heard.installed, heard.epoch) = (view, epoch);
        let state = &self.map.state;
        self.views.heard.retain(|heard| state.view.contains(heard.instance));
        self.look_at_barrier();
    }

    /// Somebody has installed a view.
    pub(crate) fn hear_installed(&mut self, body: &Installed) {
        if !self.is_first() {
            return;
        }
        let instance = Instance { node: body.node.get(), incarnation: body.incarnation.get() };
        let heard = self.views.of(instance);
        if body.view.get() > heard.installed {
            (heard.installed, heard.epoch) = (body.view.get(), body.epoch.get());
            self.look_at_barrier();
        }
    }

    fn look_at_barrier(&mut self) {
        let view = self.map.state.view.number;
        if self.views.barrier >= view || self.views.installed < view {
            return;
        }
        let Some(epoch) = self.views.installed_epoch(&self.map.state.view) else { return };
        (self.views.barrier, self.views.barrier_epoch) = (view, epoch);
        match &mut self.split {
            Some(split) => split.out.all_data(|| ToData::Barrier { view }),
            None => self.ldm.barrier(&mut context!(self), view),
        }
        self.deliver_mail();
    }

    /// This node has ended what it took over in a view.
    pub(crate) fn note_taken_over(&mut self) {
        let view = self.coordinator.transactions.takeover.finished_view();
        if !self.is_first() || view <= self.views.taken_over {
            return;
        }
        self.views.taken_over = view;
        self.views.announce_at = 0;
        let me = self.membership.instance;
        self.hear_takeover_done(&TakeoverDone {
            view: view.into(),
            node: me.node.into(),
            incarnation: me.incarnation.into(),
        });
    }

    /// Somebody has ended what it took over.
    pub(crate) fn hear_takeover_done(&mut self, body: &TakeoverDone) {
        if !self.is_first() {
            return;
        }
        let instance = Instance { node: body.node.get(), incarnation: body.incarnation.get() };
        let heard = self.views.of(instance);
        heard.done = heard.done.max(body.view.get());
        let view = &self.map.state.view;
        if self.views.done < view.number && self.views.are_all_done(view) {
            self.views.done = view.number;
            self.takeover_done(self.views.barrier_epoch);
        }
    }

    /// Coordinator 0's timers: proposals, and what others wait for in a change of view.
    pub(crate) fn tick_views(&mut self, now: Nanoseconds) {
        if !self.tick_leaving(now) {
            self.propose_removal(now);
        }
        self.note_taken_over();
        if now < self.views.announce_at || self.views.installed == 0 {
            return;
        }
        // Whoever is behind may have missed it, so it is said again for good, though rarely.
        let every = if self.views.is_changing() { REPEAT_EVERY } else { 10 * REPEAT_EVERY };
        self.views.announce_at = now + every;
        let me = self.membership.instance;
        let epoch = self.views.of(me).epoch;
        let (node, incarnation) = (me.node.into(), me.incarnation.into());
        let installed =
            Installed { view: self.views.installed.into(), epoch: epoch.into(), node, incarnation };
        let done = TakeoverDone { view: self.views.taken_over.into(), node, incarnation };
        for index in 0..self.forward_links.len() {
            if let Some(link) = self.forward_links[index] {
                self.out.send(link, 0, &installed, Sections::none());
                self.out.send(link, 0, &done, Sections::none());
            }
        }
        for link in self.membership.management_links() {
            self.out.send(link, 0, &installed, Sections::none());
        }
    }

    pub(crate) fn propose_removal(&mut self, now: Nanoseconds) {
        let me = self.membership.instance;
        let Some(suspect) = self.lease_board.suspect() else {
            return self.propose_promotion(now);
        };
        if self.map.is_joining(me.node) {
            // Nobody else has everything.
            return;
        }
        let Some((group, view)) = self.map.state.view.group_of(me.node) else { return };
        if !view.members.iter().any(|member| member.instance() == suspect) {
            return;
        }
        let (changed, highest) = (view.changed_in_view, self.map.state.view.number);
        let proposals = self.views.proposals;
        self.propose(now, KIND_REMOVE, (group, changed, highest), suspect);
        if self.views.proposals > proposals {
            let milliseconds = self.configuration.suspect_after / 1_000_000;
            let text = format!(
                "data node {} has closed its connection or has not answered for {milliseconds} ms: its removal is proposed",
                suspect.node
            );
            self.commands.push_back(Command::Warn { text });
        }
    }

    /// Proposes a change of a group that last changed in view `changed`, every 50 ms for as long as this is called. `highest` is the
    /// newest view that this node knows.
    pub(crate) fn propose(
        &mut self,
        now: Nanoseconds,
        kind: u16,
        (group, changed, highest): (u16, u64, u64),
        instance: Instance,
    ) {
        self.propose_with(now, kind, (group, changed, highest), instance, Vec::new());
    }

    /// As [`Kernel::propose`], with the partitions of a swap.
    pub(crate) fn propose_with(
        &mut self,
        now: Nanoseconds,
        kind: u16,
        (group, changed, highest): (u16, u64, u64),
        instance: Instance,
        partitions: Vec<u8>,
    ) {
        let me = self.membership.instance;
        let same = |proposal: &Proposal| {
            proposal.body.node.get() == instance.node
                && proposal.body.incarnation.get() == instance.incarnation
                && proposal.body.kind.get() == kind
                && proposal.body.changed_in_view.get() == changed
        };
        if !self.views.proposal.as_ref().is_some_and(same) {
            self.views.proposals += 1;
            let body = ProposeView {
                request: request_of(&self.configuration.process, self.views.proposals),
                changed_in_view: changed.into(),
                highest_view: highest.into(),
                proposer: me.node.into(),
                proposer_incarnation: me.incarnation.into(),
                node: instance.node.into(),
                incarnation: instance.incarnation.into(),
                group: group.into(),
                kind: kind.into(),
                reserved: 0.into(),
            };
            self.views.proposal = Some(Proposal { body, partitions, next_at: now });
        }
        let Some(proposal) = &mut self.views.proposal else { return };
        if now >= proposal.next_at {
            proposal.next_at = now + REPEAT_EVERY;
            let (body, partitions) = (proposal.body, &proposal.partitions);
            for link in self.membership.management_links() {
                self.out.send(link, 0, &body, Sections::one(partitions));
            }
        }
    }

    /// Heartbeats that carry leases, sent by the part that owns lane 0.
    pub(crate) fn tick_leases(&mut self, now: Nanoseconds) {
        if !self.keeps_leases() {
            return;
        }
        let lanes = &self.out.lanes;
        let has_link = |instance: Instance| {
            lanes.iter().any(|lane| lane.number == 0 && lane.peer == instance && lane.link.is_some())
        };
        let due = self.leases.due(now, has_link);
        for (instance, body) in &due {
            if let Some(link) = self.heartbeat_link(*instance) {
                self.out.send_alone(link, body);
            }
        }
        self.leases.recycle(due);
        if let Some(pause) = self.leases.take_pause() {
            let milliseconds = pause / 1_000_000;
            let text = format!(
                "this node has not run for {milliseconds} ms: its processors were stopped or busy with something else"
            );
            self.commands.push_back(Command::Warn { text });
        }
    }

    /// A frame of another node that is as long as one with a heartbeat and nothing else, ahead of what waits between the
    /// threads, in which it comes again: a node with much to do must not be taken for dead.
    pub fn early_frame(&mut self, now: Nanoseconds, link: LinkId, bytes: &[u8]) {
        let Ok(frame) = FrameView::new_checked(bytes) else { return };
        let sender = frame.envelope().sender;
        let lane = self.out.lanes.iter().position(|lane| {
            lane.link == Some(link) && lane.peer == sender && lane.number == 0 && !lane.retired
        });
        if let (Some(lane), Some(signal)) = (lane, frame.signals().next())
            && let Some(body) = signal.body::<Heartbeat>()
        {
            self.hear_heartbeat(now, lane, body);
        }
    }

    /// A heartbeat arrived in the link of a lane.
    pub(crate) fn hear_heartbeat(&mut self, now: Nanoseconds, lane: usize, body: &Heartbeat) {
        if self.keeps_leases() && self.out.lanes[lane].number == 0 {
            self.leases.heard(now, self.out.lanes[lane].peer, body);
        }
    }

    /// This side is about to close a link: leases got over it are given up first.
    pub(crate) fn surrender_link(&mut self, link: LinkId) {
        let lane = match self.links.get(link).map(|link| link.stage) {
            Some(Stage::Ready(LinkRole::Peer { lane })) if self.out.lanes[lane].link == Some(link) => {
                Some(lane)
            }
            // The other side may have made it the link of the lane already, and take its end for a proof.
            Some(Stage::AwaitWelcome(Target::Peer { node, lane: 0 })) => self.lane_index(node, 0),
            _ => None,
        };
        if let Some(lane) = lane.map(|lane| &self.out.lanes[lane])
            && lane.number == 0
            && self.keeps_leases()
        {
            self.leases.surrender(self.now, lane.peer);
        }
    }

    /// Keeps a lane frame of an instance that has installed a newer view, and asks for that view.
    pub(crate) fn hold(&mut self, link: LinkId, lane: usize, frame: &FrameView<'_>) {
        if self.out.lanes[lane].held_bytes() + frame.bytes().len() > MAX_HELD_BYTES {
            return self.refuse(link, ErrorCode::Overloaded, "too much waits for a newer view");
        }
        self.out.lanes[lane].hold(frame.bytes());
        self.fetch_view(link);
    }

    /// Asks whoever is at the other end for its cluster state.
    pub(crate) fn fetch_view(&mut self, link: LinkId) {
        if self.now >= self.views.fetch_at {
            self.views.fetch_at = self.now + FETCH_EVERY;
            let body = FetchState { known_version: self.map.state.version.into() };
            self.out.send(link, 0, &body, Sections::none());
        }
    }

    /// A view was installed: what was kept for it is processed.
    pub(crate) fn release_held(&mut self) {
        for lane in 0..self.out.lanes.len() {
            let held = self.out.lanes[lane].take_held();
            let Some(link) = self.out.lanes[lane].link else { continue };
            for bytes in held {
                if let Ok(frame) = FrameView::new_checked(&bytes) {
                    self.peer_frame(link, lane, &frame, frame.envelope());
                }
            }
        }
    }

    /// Planted bug: a proposal that came too late is taken for the removal of this node.
    #[cold]
    pub(crate) fn stop_as_loser(&mut self, signal: &SignalView<'_>) {
        let late = |body: &ViewProposed| u32::from(body.code) == ErrorCode::ViewChanged as u32;
        if signal.body::<ViewProposed>().is_some_and(late) {
            let reason = "another change of the view came first".to_owned();
            self.commands.push_back(Command::Stop { reason });
        }
    }

    /// Signals about changes of view that came outside of lanes.
    pub(crate) fn view_signal(&mut self, signal: &SignalView<'_>) {
        if let Some(body) = signal.body::<Installed>() {
            self.hear_installed(body);
        } else if let Some(body) = signal.body::<TakeoverDone>() {
            self.hear_takeover_done(body);
        }
    }

    /// Makes a lane to an instance; the place of one whose instance was removed is used again.
    pub(crate) fn add_lane(&mut self, lane: Lane) {
        let unused = |known: &Lane| known.retired && known.link.is_none();
        match self.out.lanes.iter_mut().find(|known| unused(known)) {
            Some(place) => *place = lane,
            None => self.out.lanes.push(lane),
        }
    }
}

/// A name for the `number`-th proposal of a process.
fn request_of(process: &[u8; 16], number: u64) -> [u8; 16] {
    let mut request = *process;
    for (byte, mixed) in request.iter_mut().zip(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()) {
        *byte ^= mixed;
    }
    request
}
