//! The kernel: all blocks of one thread, and the dispatch between them.

use crate::coordinator::{ForwardLink, TransactionCoordinator};
use crate::epochs::{BUG_DEAF, EPOCH_EVERY, Epochs};
use crate::interface::{CloseReason, Command, LinkId, Nanoseconds, NodeConfiguration, NodeCounters, Target};
use crate::joining::Joining;
use crate::ldm::LocalDataManager;
use crate::lease::{LeaseBoard, Leases, PROMISE};
use crate::leaving::Departure;
use crate::links::{LinkRole, Links, Stage};
use crate::map::ClusterMap;
use crate::membership::{Drained, Membership};
use crate::outbox::{BACKLOG_PAUSE_BYTES, Outbox, ReplyTo};
use crate::planted::{JUDGED_TOO_EARLY, LOSER_STOPS};
use crate::split::{
    Destination, Part, Remote, Shared, SharedEpoch, Split, ToCoordinator, ToData, manager_of_lane,
};
use crate::views::Views;
use duet_memory::{ArenaOptions, MemoryBudget, Section};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{
    Envelope, FrameView, MAX_FRAME_BYTES, MAX_HANDSHAKE_BYTES, PROTOCOL_VERSION, Signals,
};
use duet_protocol::record::ClusterState;
use duet_protocol::signal::cluster_state::ClusterStateSignal;
use duet_protocol::signal::fetch_state::FetchState;
use duet_protocol::signal::heartbeat::Heartbeat;
use duet_protocol::signal::lane_acknowledge::LaneAcknowledge;
use duet_protocol::signal::refuse_link::RefuseLink;
use duet_protocol::signal::registered::Registered;
use duet_protocol::signal::{Sections, SignalType, SignalView};
use std::collections::VecDeque;
use std::sync::Arc;

/// Largest frame that a client may send.
pub(crate) const CLIENT_FRAME_BYTES: usize = 1 << 20;
/// Most epochs by which clients may raise this node's one between two of its own looks at the clock: more is invented.
const CLIENT_EPOCH_AHEAD: u64 = 100_000;
/// Epochs by which clients may raise this node's one for every epoch's length that passes. Honest clients bring only
/// what other nodes counted; without this bound one could age all sessions, or use up the numbers.
const CLIENT_EPOCHS_PER_EPOCH: u64 = 2;
/// Signals that a client may send.
const CLIENT_TYPES: u64 = SignalType::Read.bit()
    | SignalType::Write.bit()
    | SignalType::Resolve.bit()
    | SignalType::Scan.bit()
    | SignalType::OpenSession.bit()
    | SignalType::Operate.bit()
    | SignalType::CommitTransaction.bit()
    | SignalType::RollbackTransaction.bit()
    | SignalType::FetchState.bit()
    | SignalType::Heartbeat.bit();
/// Time between two heartbeats on a link to another data node.
const HEARTBEAT_EVERY: Nanoseconds = 100_000_000;
/// Time between two reports of a part's counters to coordinator 0.
const MEASURE_EVERY: Nanoseconds = 100_000_000;
/// Address space of the arena of a part that keeps no rows.
const NO_ARENA_BYTES: usize = 1 << 20;

/// A message between parts of a node.
#[derive(Debug)]
pub enum Message {
    /// For a data part.
    Data(ToData),
    /// For a coordinator part.
    Coordinator(ToCoordinator),
}

/// All blocks of a data node in one thread (the batch pipeline).
///
/// Driver's loop: for every event call the method of its name; when a burst of events is through call
/// [`Kernel::flush`], then write what [`Kernel::drain_output`] hands out and obey [`Kernel::next_command`].
#[derive(Debug)]
pub struct Kernel {
    pub(crate) configuration: NodeConfiguration,
    pub(crate) links: Links,
    pub(crate) out: Outbox,
    pub(crate) membership: Membership,
    pub(crate) map: ClusterMap,
    pub(crate) commands: VecDeque<Command>,
    pub(crate) counters: NodeCounters,
    pub(crate) coordinator: TransactionCoordinator,
    pub(crate) ldm: LocalDataManager,
    pub(crate) part: Part,
    /// In a part of a node.
    pub(crate) split: Option<Box<Split>>,
    /// In a part of a node: the frame that is being processed.
    pub(crate) current: Option<Section>,
    budget: MemoryBudget,
    /// Link of lane 0 to each node, by node id.
    pub(crate) forward_links: Vec<Option<LinkId>>,
    /// A state that came before this node was registered.
    pub(crate) early_state: Option<(ClusterState, Vec<u8>)>,
    pub(crate) epoch: u64,
    /// What is known of epochs of the whole cluster.
    pub(crate) cut: Epochs,
    clients_at: Nanoseconds,
    /// The epoch and how far clients may raise it, as the other parts of the node see them.
    pub(crate) epochs: SharedEpoch,
    heartbeat_at: Nanoseconds,
    /// What schema changes wait for.
    pub(crate) drained: Drained,
    /// Time of the event that is processed.
    pub(crate) now: Nanoseconds,
    /// Until then an earlier life of this node may have promised something.
    pub(crate) start_until: Nanoseconds,
    /// In the part that owns lane 0: the leases.
    pub(crate) leases: Leases,
    pub(crate) lease_board: Arc<LeaseBoard>,
    /// In coordinator 0: the change of view.
    pub(crate) views: Views,
    /// Whether this node leads what others should lead.
    pub(crate) hands_over: bool,
    /// In coordinator 0: how this process gets into the view.
    pub(crate) joining: Joining,
    /// In coordinator 0: how it leaves.
    pub(crate) departure: Departure,
}

/// The context of one event, from the fields of a kernel.
macro_rules! context {
    ($kernel:ident) => {
        $crate::ldm::Context {
            map: &$kernel.map,
            epoch: $kernel.epoch,
            stalled: $kernel.cut.stalled,
            out: &mut $kernel.out,
            counters: &mut $kernel.counters,
            planted_bug: $kernel.configuration.planted_bug,
        }
    };
}
pub(crate) use context;

impl Kernel {
    /// A node that has not contacted anyone yet.
    ///
    /// # Errors
    /// A sentence when the configuration is impossible or the memory cannot be reserved.
    pub fn new(configuration: NodeConfiguration, now: Nanoseconds) -> Result<Kernel, String> {
        let budget = MemoryBudget::new(configuration.memory_bytes);
        Kernel::build(configuration, now, Part::Whole, budget, None)
    }

    /// The part of a node that coordinates requests on some links: those that its driver hands to it. Number 0 also keeps
    /// membership; connections that this node opens, and only they, must be handed to it.
    ///
    /// # Errors
    /// As [`Kernel::new`].
    pub fn coordinator(
        configuration: NodeConfiguration,
        now: Nanoseconds,
        shared: &Shared,
        number: usize,
    ) -> Result<Kernel, String> {
        let part = Part::Coordinator(number);
        Kernel::build(configuration, now, part, shared.budget.clone(), Some(shared.clone()))
    }

    /// The part of a node that owns the rows of some partitions.
    ///
    /// # Errors
    /// As [`Kernel::new`].
    pub fn data(
        configuration: NodeConfiguration,
        now: Nanoseconds,
        shared: &Shared,
        number: usize,
    ) -> Result<Kernel, String> {
        let part = Part::Data(number);
        Kernel::build(configuration, now, part, shared.budget.clone(), Some(shared.clone()))
    }

    fn build(
        configuration: NodeConfiguration,
        now: Nanoseconds,
        part: Part,
        budget: MemoryBudget,
        shared: Option<Shared>,
    ) -> Result<Kernel, String> {
        if !(1..=255).contains(&configuration.node) {
            return Err(format!("node id {} is not in 1..=255", configuration.node));
        }
        if configuration.management.is_empty() {
            return Err("no management node is configured".to_owned());
        }
        let arena_bytes = match part {
            Part::Coordinator(_) => NO_ARENA_BYTES,
            Part::Whole | Part::Data(_) => usize::try_from(configuration.arena_bytes).unwrap_or(usize::MAX),
        };
        let mut options = ArenaOptions::small(arena_bytes);
        options.huge_pages = configuration.memory_bytes >= 64 << 20;
        if let Part::Whole | Part::Data(_) = part {
            options.preparer = configuration.memory_preparer.clone();
        }
        let mut ldm = LocalDataManager::new(&budget, options)?;
        let membership = Membership::new(&configuration, now);
        let epochs = shared.as_ref().map(|shared| shared.epoch.clone()).unwrap_or_default();
        if matches!(part, Part::Whole | Part::Coordinator(0)) {
            epochs.give_client_epochs(CLIENT_EPOCH_AHEAD, CLIENT_EPOCH_AHEAD);
        }
        let number = if let Part::Coordinator(number) = part { number } else { 0 };
        let coordinators = shared.as_ref().map_or(1, |shared| shared.coordinators);
        ldm.coordinators = coordinators as u16;
        let lease_board = shared.as_ref().map(|shared| Arc::clone(&shared.leases)).unwrap_or_default();
        let mut out = match &shared {
            Some(shared) => Outbox::of_part(Arc::clone(&shared.board)),
            None => Outbox::default(),
        };
        out.identity.sender = membership.instance;
        out.identity.epoch = 1;
        out.without_lanes = matches!(part, Part::Coordinator(_));
        Ok(Kernel {
            links: Links::default(),
            out,
            membership,
            map: ClusterMap::default(),
            commands: VecDeque::new(),
            counters: NodeCounters::default(),
            coordinator: TransactionCoordinator::numbered(number as u8, coordinators as u16),
            ldm,
            part,
            split: shared.map(|shared| Box::new(Split::new(shared))),
            current: None,
            budget,
            forward_links: Vec::new(),
            early_state: None,
            epoch: 1,
            cut: Epochs::default(),
            clients_at: now,
            epochs,
            heartbeat_at: now,
            drained: Drained::default(),
            now,
            start_until: now + PROMISE,
            leases: Leases::new(
                Arc::clone(&lease_board),
                configuration.link_close_is_proof,
                configuration.suspect_after,
                configuration.planted_bug,
            ),
            lease_board,
            views: Views::default(),
            hands_over: false,
            joining: Joining::default(),
            departure: Departure::default(),
            configuration,
        })
    }

    /// Somebody connected to this node.
    pub fn link_accepted(&mut self, now: Nanoseconds, link: LinkId) {
        self.now = now;
        self.links.open(link, Stage::AwaitHello { since: now });
        self.out.open(link);
    }

    /// A wanted connection is open.
    pub fn link_connected(&mut self, _now: Nanoseconds, link: LinkId, target: Target) {
        self.links.open(link, Stage::AwaitWelcome(target));
        self.show_frame_limit(link);
        if let (Part::Coordinator(_), Target::Peer { lane, .. }) = (self.part, target) {
            let manager = self.hand_over(link, lane);
            if let (Some(split), Some(manager)) = (&mut self.split, manager) {
                split.out.to_data[manager].push_back(ToData::PeerConnected { link, target });
            }
            return;
        }
        self.out.open(link);
        self.send_hello(link, target);
    }

    /// A wanted connection could not be opened; the kernel asks again later.
    pub fn connect_failed(&mut self, now: Nanoseconds, target: Target) {
        self.membership.lost(target, None, now);
    }

    /// A link is gone.
    pub fn link_closed(&mut self, now: Nanoseconds, link: LinkId, reason: CloseReason) {
        self.now = now;
        let by_peer = reason == CloseReason::ByPeer;
        self.coordinator.transactions.now = now;
        let Some(closed) = self.links.close(link) else { return };
        self.out.close(link);
        if let Some(split) = &mut self.split {
            split.out.all_data(|| ToData::LinkClosed { link, by_peer });
        }
        if let Some(target) = closed.target {
            self.membership.lost(target, Some(link), now);
        }
        self.detach_lane(link, closed.stage, by_peer);
        self.coordinator.link_closed(&mut context!(self), link);
        self.deliver_mail();
    }

    /// Largest frame to accept from this link now, in bytes (small before the handshake).
    pub fn frame_limit(&self, link: LinkId) -> usize {
        match self.links.get(link).map(|link| link.stage) {
            Some(Stage::Ready(LinkRole::Client)) => CLIENT_FRAME_BYTES,
            Some(Stage::Ready(_) | Stage::AwaitWelcome(_)) => MAX_FRAME_BYTES,
            Some(Stage::AwaitHello { .. } | Stage::HandedOver { .. }) | None => MAX_HANDSHAKE_BYTES,
        }
    }

    /// In a part of a node: shows the owner of the socket how large a frame may be now.
    pub(crate) fn show_frame_limit(&self, link: LinkId) {
        if let Some(split) = &self.split {
            split.shared.board.set_frame_limit(link, self.frame_limit(link));
        }
    }

    /// Moves a link to another stage.
    pub(crate) fn set_stage(&mut self, link: LinkId, stage: Stage) {
        if let Some(state) = self.links.get_mut(link) {
            state.stage = stage;
        }
        self.show_frame_limit(link);
    }

    /// In a coordinator part: a link belongs to the data part of this lane from now on.
    pub(crate) fn hand_over(&mut self, link: LinkId, lane: u16) -> Option<usize> {
        let manager = manager_of_lane(lane, self.split.as_ref()?.shared.managers);
        if let Some(state) = self.links.get_mut(link) {
            state.stage = Stage::HandedOver { manager };
        }
        Some(manager)
    }

    /// As [`Kernel::frame`], in a part of a node: the frame may be handed on to other parts.
    pub fn shared_frame(&mut self, now: Nanoseconds, link: LinkId, frame: &Section) {
        if let Some(Stage::HandedOver { manager }) = self.links.get(link).map(|link| link.stage)
            && let Some(split) = &mut self.split
        {
            split.out.to_data[manager].push_back(ToData::PeerFrame { link, frame: frame.clone() });
            return;
        }
        self.refresh_epoch();
        self.current = Some(frame.clone());
        self.frame(now, link, frame);
        self.current = None;
    }

    /// In a part of a node: sees the epoch that the other parts have seen.
    pub(crate) fn refresh_epoch(&mut self) {
        if self.split.is_some() {
            let epoch = self.epochs.get();
            if epoch > self.epoch {
                self.epoch = epoch;
                self.out.identity.epoch = epoch;
            }
            self.cut.stalled = self.epochs.is_stalled();
        }
    }

    /// In a part of a node: hands out messages to other parts, oldest first, until `send` gives one back because the
    /// mailbox is full. Whether all were taken.
    pub fn drain_messages(
        &mut self,
        mut send: impl FnMut(Destination, Message) -> Result<(), Message>,
    ) -> bool {
        self.deliver_mail();
        let Some(split) = &mut self.split else { return true };
        let mut all = true;
        for (index, queue) in split.out.to_data.iter_mut().enumerate() {
            while let Some(message) = queue.pop_front() {
                if let Err(Message::Data(message)) = send(Destination::Data(index), Message::Data(message)) {
                    queue.push_front(message);
                    all = false;
                    break;
                }
            }
        }
        for (index, queue) in split.out.to_coordinators.iter_mut().enumerate() {
            while let Some(message) = queue.pop_front() {
                let destination = Destination::Coordinator(index);
                if let Err(Message::Coordinator(message)) = send(destination, Message::Coordinator(message)) {
                    queue.push_front(message);
                    all = false;
                    break;
                }
            }
        }
        all
    }

    /// In a part of a node: messages that wait for their mailboxes.
    pub fn waiting_messages(&self) -> usize {
        self.split.as_ref().map_or(0, |split| split.out.len())
    }

    /// Whether what was given to this part leads to so much output that the burst should end.
    pub fn has_burst(&self) -> bool {
        self.out.has_burst()
    }

    /// One whole frame arrived (its announced length was checked against [`Kernel::frame_limit`]).
    pub fn frame(&mut self, now: Nanoseconds, link: LinkId, bytes: &[u8]) {
        self.now = now;
        let Some(stage) = self.links.get(link).filter(|link| !link.closing).map(|link| link.stage) else {
            return;
        };
        let frame = match FrameView::new_checked(bytes) {
            Ok(frame) => frame,
            Err(code) => return self.refuse(link, code, "the frame is not valid"),
        };
        self.counters.frames_received += 1;
        self.counters.signals_received += frame.signal_count() as u64;
        let envelope = frame.envelope();
        let ours = self.membership.cluster_id;
        if envelope.cluster_id != 0 && ours != 0 && envelope.cluster_id != ours {
            self.hear_foreigner(now, stage, envelope.cluster_id);
            return self.refuse(link, ErrorCode::ForeignCluster, "this node belongs to another cluster");
        }
        self.coordinator.transactions.now = now;
        match stage {
            Stage::HandedOver { .. } => {}
            Stage::AwaitHello { .. } => self.hello(link, &frame),
            Stage::AwaitWelcome(target) => self.welcomed(now, link, target, &frame),
            Stage::Ready(LinkRole::Client) => self.client_frame(link, &frame, envelope),
            Stage::Ready(LinkRole::Peer { lane }) => self.peer_frame(link, lane, &frame, envelope),
            Stage::Ready(LinkRole::Management { .. }) => self.management_signals(now, link, frame.signals()),
        }
        self.deliver_mail();
    }

    /// The link's bytes cannot be a frame: a refusal is queued and the link closed.
    pub fn damaged(&mut self, _now: Nanoseconds, link: LinkId, code: ErrorCode) {
        let detail = match code {
            ErrorCode::ProtocolVersion => format!("this node speaks version {PROTOCOL_VERSION}"),
            _ => String::from("the bytes are not a frame"),
        };
        self.refuse(link, code, &detail);
    }

    /// Whether [`Kernel::tick`] may for now be called only every 100 ms: nothing waits for it but heartbeats and counters.
    pub fn is_calm(&self) -> bool {
        let busy = match self.part {
            Part::Whole | Part::Coordinator(0) => true,
            Part::Coordinator(_) => self.is_draining() || self.coordinator.transactions.postponed.len() > 0,
            Part::Data(0) => true,
            Part::Data(_) => {
                self.ldm.is_warming()
                    || self.drained.drained != self.map.state.version
                    || self.is_draining()
                    || self.hands_over
                    || self.ldm.has_background_work()
                    || self.out.lanes.iter().any(|lane| lane.link.is_some() && lane.owes_acknowledgement())
            }
        };
        !busy
    }

    /// Tells the clock: microseconds since 1970-01-01 UTC. Rows with a time to live expire by it; call before
    /// [`Kernel::tick`]. Without it none does.
    pub fn set_wall_clock(&mut self, microseconds: i64) {
        self.ldm.set_wall_clock(microseconds);
    }

    /// Timers; call at least every 10 ms, or every 100 ms while [`Kernel::is_calm`].
    pub fn tick(&mut self, now: Nanoseconds) {
        self.now = now;
        self.refresh_epoch();
        self.allow_client_epochs(now);
        self.coordinator.transactions.now = now;
        self.tick_epochs(now);
        self.end_transactions();
        self.coordinator.transactions.tick(&mut context!(self));
        self.update_drained();
        self.measure_part(now);
        if !matches!(self.part, Part::Whole | Part::Coordinator(0)) {
            return self.tick_links(now);
        }
        let mut commands = std::mem::take(&mut self.commands);
        let (membership, ldm) = (&mut self.membership, &self.ldm);
        let (mut counters, budget, drained) = (self.counters, &self.budget, self.drained);
        let split = &self.split;
        let (version, view) = (self.map.state.version, self.map.state.view.number);
        let serving = self.map.is_serving();
        let (epoch, closed_epoch) = (self.epoch, self.cut.closed);
        let data_parts = split.as_ref().map_or(1, |split| split.shared.managers);
        membership.tick(now, &self.configuration, &mut self.out, &mut commands, data_parts, || {
            ldm.measure(&mut counters);
            for part in split.iter().flat_map(|split| &split.counters) {
                counters.add(part);
            }
            counters.memory_used_bytes = budget.used_bytes();
            counters.memory_limit_bytes = budget.limit_bytes();
            (counters.state_version, counters.view, counters.serving) = (version, view, u64::from(serving));
            (counters.epoch, counters.closed_epoch) = (epoch, closed_epoch);
            (counters, drained)
        });
        self.commands = commands;
        if now >= self.start_until
            && self.membership.instance.incarnation > 0
            && let Some((state, record)) = self.early_state.take()
        {
            self.install(now, state, record);
        }
        self.tick_views(now);
        self.tick_joining(now);
        self.tick_links(now);
    }

    fn tick_links(&mut self, now: Nanoseconds) {
        if now >= self.heartbeat_at {
            self.heartbeat_at = now + HEARTBEAT_EVERY;
            for lane in 0..self.out.lanes.len() {
                if let Some(link) = self.out.lanes[lane].link {
                    self.send_heartbeat(link);
                }
            }
            for link in self.links.overdue(now) {
                self.refuse(link, ErrorCode::HandshakeRequired, "no handshake came in time");
            }
        }
        self.tick_leases(now);
        self.acknowledge_lanes(true);
        self.stop_without_memory();
        self.ldm.warm_up(&context!(self), self.lease_board.promised_until(), now);
        self.ldm.tick(&mut context!(self));
        self.deliver_mail();
    }

    pub(crate) fn send_heartbeat(&mut self, link: LinkId) {
        // Those that carry leases are numbered, see `lease.rs`.
        self.out.send(link, 0, &Heartbeat::default(), Sections::none());
    }

    /// Ends a burst: acknowledgements are added and all open frames sealed. `now` must have been read after the last
    /// event of the burst was handed in: what the burst tells of rows is judged by it.
    pub fn flush(&mut self, now: Nanoseconds) {
        if self.split.is_some() {
            self.finish_requests();
        }
        let copied = self.ldm.copy_slice(&mut context!(self));
        if copied > 0 {
            self.lease_board.note_copied(copied);
        }
        self.ldm.flush(&mut context!(self));
        self.drain_epochs();
        // Copied rows come as fast as they are acknowledged.
        self.acknowledge_lanes(self.ldm.is_joining());
        self.out.flush();
        self.leases.flush(now);
        let judged = if self.configuration.planted_bug == JUDGED_TOO_EARLY { self.now } else { now };
        if !self.lease_board.is_valid(judged) {
            self.withhold();
        }
    }

    /// Takes back what the burst tells of rows; transactions whose operations were answered so end. What waited for their
    /// locks is answered then, and taken back as well.
    #[cold]
    fn withhold(&mut self) {
        loop {
            let links = self.out.withhold();
            if links.is_empty() {
                return;
            }
            for link in &links {
                self.coordinator.transactions.fail_on_link(&mut context!(self), *link);
            }
            self.deliver_mail();
            self.out.flush();
        }
    }

    /// Hands out the sealed bytes of every link that has some, and forgets them.
    pub fn drain_output(&mut self, send: impl FnMut(LinkId, &[u8])) {
        self.out.drain(send);
    }

    /// Tells how many handed-out bytes of a link are not yet accepted by the system.
    pub fn set_backlog(&mut self, link: LinkId, bytes: usize) {
        self.out.set_backlog(link, bytes);
    }

    /// Whether the driver should read from this link now (false while its replies pile up).
    pub fn wants_input(&self, link: LinkId) -> bool {
        match self.links.get(link).map(|link| link.stage) {
            Some(Stage::Ready(LinkRole::Client)) => self.out.waiting(link) <= BACKLOG_PAUSE_BYTES,
            Some(_) => true,
            None => false,
        }
    }

    /// The next command, if any.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Counters and gauges now.
    pub fn counters(&self) -> NodeCounters {
        let mut counters = self.own_counters();
        for part in self.split.iter().flat_map(|split| &split.counters) {
            counters.add(part);
        }
        counters
    }

    /// The counters of this kernel, and the gauges of the node.
    pub(crate) fn own_counters(&self) -> NodeCounters {
        let mut counters = self.part_counters();
        counters.memory_used_bytes = self.budget.used_bytes();
        counters.memory_limit_bytes = self.budget.limit_bytes();
        counters.state_version = self.map.state.version;
        counters.view = self.map.state.view.number;
        counters.epoch = self.epoch;
        counters.closed_epoch = self.cut.closed;
        counters.serving = u64::from(self.map.is_serving());
        counters
    }

    /// What this kernel alone has counted; gauges of the whole node are left out.
    pub(crate) fn part_counters(&self) -> NodeCounters {
        let mut counters = self.counters;
        self.ldm.measure(&mut counters);
        counters.transactions = self.coordinator.transactions.len() as u64;
        counters.errors = self.out.errors;
        counters.links = if matches!(self.part, Part::Data(_)) { 0 } else { self.links.count() as u64 };
        counters.lane_frames_resent = self.out.lanes.iter().map(|lane| lane.resent).sum();
        counters.lane_retained_bytes = self.out.lanes.iter().map(|lane| lane.retained_bytes() as u64).sum();
        counters
    }

    /// A part tells coordinator 0 what it has counted.
    fn measure_part(&mut self, now: Nanoseconds) {
        let number = match (self.part, &self.split) {
            (Part::Data(number), Some(split)) => split.shared.coordinators + number,
            (Part::Coordinator(number), Some(_)) if number > 0 => number,
            _ => return,
        };
        if self.split.as_ref().is_none_or(|split| now < split.measure_at) {
            return;
        }
        let counters = Box::new(self.part_counters());
        if let Some(split) = &mut self.split {
            split.measure_at = now + MEASURE_EVERY;
            split.out.to_coordinators[0].push_back(ToCoordinator::Measured { part: number, counters });
        }
    }

    /// Says why on the link, and closes it.
    pub(crate) fn refuse(&mut self, link: LinkId, code: ErrorCode, detail: &str) {
        let Some(state) = self.links.get_mut(link) else { return };
        if std::mem::replace(&mut state.closing, true) {
            return;
        }
        self.surrender_link(link);
        self.counters.links_refused += 1;
        let body = RefuseLink { code: (code as u16).into(), ..RefuseLink::default() };
        self.out.send(link, 0, &body, Sections::one(detail.as_bytes()));
        self.commands.push_back(Command::Close { link, refused: Some(code) });
    }

    pub(crate) fn raise_epoch(&mut self, epoch: u64) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.out.identity.epoch = epoch;
            if self.split.is_some() {
                self.epochs.raise(epoch);
            }
        }
    }

    /// Raises how far clients may raise the epoch, as time passes.
    fn allow_client_epochs(&mut self, now: Nanoseconds) {
        let passed = now.saturating_sub(self.clients_at) / EPOCH_EVERY;
        self.clients_at += passed * EPOCH_EVERY;
        if passed > 0 && matches!(self.part, Part::Whole | Part::Coordinator(0)) {
            let allowed = passed.saturating_mul(CLIENT_EPOCHS_PER_EPOCH);
            self.epochs.give_client_epochs(allowed, CLIENT_EPOCH_AHEAD);
        }
    }

    /// The epoch in the header of a frame: nothing of the frame is processed in an earlier one (counterexample 28).
    #[inline]
    pub(crate) fn hear_epoch(&mut self, epoch: u64) {
        if self.configuration.planted_bug != BUG_DEAF {
            self.raise_epoch(epoch);
        }
    }

    fn client_frame(&mut self, link: LinkId, frame: &FrameView<'_>, envelope: Envelope) {
        let ahead = envelope.epoch.saturating_sub(self.epoch);
        if envelope.lane.is_some() || !self.epochs.take_client_epochs(ahead) {
            return self.refuse(
                link,
                ErrorCode::InvalidRequest,
                "impossible epoch or a lane in a client's frame",
            );
        }
        self.hear_epoch(envelope.epoch);
        if frame.types() & !CLIENT_TYPES != 0 {
            return self.refuse(link, ErrorCode::UnexpectedSignal, "clients do not send this signal");
        }
        if frame.types() & SignalType::FetchState.bit() != 0 {
            for signal in frame.signals() {
                self.fetch_state(link, &signal);
            }
        }
        self.requests(link, frame.signals(), true);
    }

    /// Hands the requests among `signals` to the coordinator.
    pub(crate) fn requests(&mut self, link: LinkId, signals: Signals<'_>, may_forward: bool) {
        let forward_links = &self.forward_links;
        let forward = |node: u32| forward_links.get(node as usize).copied().flatten();
        let forward: Option<ForwardLink<'_>> = if may_forward { Some(&forward) } else { None };
        let requests = signals.filter(is_request);
        self.coordinator.sessions_from = self.epochs.sessions_from();
        match (&mut self.split, &self.current) {
            (Some(split), Some(frame)) => {
                let mut remote = Remote::new(&mut split.out.to_data, link, frame, &self.map);
                self.coordinator.requests(&mut context!(self), &mut remote, link, requests, forward);
            }
            _ => self.coordinator.requests(&mut context!(self), &mut self.ldm, link, requests, forward),
        }
    }

    pub(crate) fn fetch_state(&mut self, link: LinkId, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<FetchState>() else { return };
        let version = self.map.state.version;
        let record: &[u8] = if version > body.known_version.get() { &self.map.record } else { &[] };
        let answer = ClusterStateSignal { version: version.into() };
        self.out.reply(ReplyTo { link, request_id: signal.request_id() }, &answer, Sections::one(record));
    }

    /// Signals of a management node.
    pub(crate) fn management_signals(&mut self, now: Nanoseconds, link: LinkId, signals: Signals<'_>) {
        for signal in signals {
            match signal.signal_type() {
                SignalType::Heartbeat => {}
                SignalType::RefuseLink => self.links.mark_closing(link, &mut self.commands),
                SignalType::Registered => {
                    let Some(body) = signal.body::<Registered>() else { continue };
                    if let Some(reason) = self.membership.registered(now, body, signal.section(0)) {
                        self.commands.push_back(Command::Stop { reason });
                        return;
                    }
                    self.out.identity.sender = self.membership.instance;
                    self.coordinator.transactions.incarnation = self.membership.instance.incarnation as u16;
                    self.out.identity.cluster_id = self.membership.cluster_id;
                    // Management nodes that do not lead answer, too, and then nothing is known yet.
                    if self.membership.instance.incarnation > 0
                        && let Some((state, record)) = self.early_state.take()
                    {
                        self.install(now, state, record);
                    }
                }
                SignalType::ClusterStateSignal => self.learn(now, signal.section(0)),
                // Only an installed view counts.
                SignalType::ViewProposed if self.configuration.planted_bug == LOSER_STOPS => {
                    self.stop_as_loser(&signal);
                }
                SignalType::ViewProposed => {}
                SignalType::Installed => self.view_signal(&signal),
                _ => {
                    return self.refuse(
                        link,
                        ErrorCode::UnexpectedSignal,
                        "management nodes do not send this signal",
                    );
                }
            }
        }
    }

    fn acknowledge_lanes(&mut self, idle: bool) {
        for index in 0..self.out.lanes.len() {
            let lane = &mut self.out.lanes[index];
            let (number, link) = (lane.number, lane.link);
            if let (Some(acknowledged), Some(link)) = (lane.acknowledgement_due(idle), link) {
                let body = LaneAcknowledge {
                    lane: number.into(),
                    acknowledged: acknowledged.into(),
                    ..Default::default()
                };
                self.out.send(link, 0, &body, Sections::none());
            }
        }
    }
}

fn is_request(signal: &SignalView<'_>) -> bool {
    matches!(
        signal.signal_type(),
        SignalType::Read
            | SignalType::Write
            | SignalType::Resolve
            | SignalType::Scan
            | SignalType::OpenSession
            | SignalType::Operate
            | SignalType::CommitTransaction
            | SignalType::RollbackTransaction
    )
}
