//! The world: processes, the network between them, and the hand that moves time.

use crate::burst::Crashes;
use crate::checker::{CutChecker, ViewChecker};
use crate::clock::BootClock;
use crate::crash::{Burst, Output};
use crate::disk::Disk;
use crate::event::Event;
use crate::history::Violation;
use crate::management_faults::DirectoryCopy;
use crate::network::{Connection, ConnectionNumber, End, Kept, Network};
use crate::plan::{Ending, Plan};
use crate::process::{DataNode, Order, Process};
use crate::queue::{MICROSECOND, MILLISECOND, Time};
use crate::random::{Purpose, Random};
use crate::trace::{ProcessNumber, Trace, What};
use duet_protocol::ids::Instance;
use duet_protocol::record::{Member, MemberState, View};
use std::collections::{BTreeMap, VecDeque};

/// Period of the timers of every process.
pub(crate) const TICK: Time = 10 * MILLISECOND;
/// Wait before a frame is offered again to a process that does not want input.
const OFFER_AGAIN: Time = 200 * MICROSECOND;

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Management node with this id.
    Management(u32),
    /// Data node with this id.
    Data(u32),
    /// Client with this number.
    Client(u32),
}

/// A place for a process, over its lives.
pub struct Slot {
    /// What it is for.
    pub role: Role,
    /// Its address.
    pub address: String,
    /// The process while it lives.
    pub process: Option<Process>,
    /// Counts its lives.
    pub life: u32,
    /// Its disk.
    pub disk: Disk,
    /// What it said when it stopped itself, where that was expected.
    pub stopped: Option<String>,
    /// Whether it may stop itself.
    pub may_stop: bool,
    /// The life and instance of a data node that were checked last.
    instance_checked: (u32, Instance),
    /// Number of the view of a management node that was checked last.
    view_checked: u64,
    /// Its clock.
    pub(crate) clock: BootClock,
    /// The Raft id under which a management node began on the directory that it has.
    pub(crate) raft_id: u64,
    /// An older copy of its directory.
    pub(crate) copy: Option<DirectoryCopy>,
    /// Whether its directory is an older copy.
    pub(crate) rolled_back: bool,
    /// Whether it is a client that has ended; what it has seen is kept.
    pub(crate) vanished: bool,
    /// Until when it runs in slices, and the lengths of a slice and of the stop behind it.
    pub(crate) slow: Option<(Time, Time, Time)>,
    /// What it has done since its last flush.
    pub(crate) burst: Burst,
    /// What was held back of its last burst.
    pub(crate) held_output: Option<Output>,
    paused: bool,
    held: VecDeque<Event>,
    flush_due: bool,
    pub(crate) wake_at: Time,
}

/// Counts of what went wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Connections broken.
    pub resets: u64,
    /// Processes paused.
    pub pauses: u64,
    /// Ways held up.
    pub stalls: u64,
    /// Management nodes killed and started again.
    pub restarts: u64,
    /// Data nodes killed.
    pub kills: u64,
    /// Data nodes that were removed from the view while they lived.
    pub removed: u64,
    /// Cuts between two data nodes, in one direction or both.
    pub cuts: u64,
    /// Data nodes that came back as new processes and were promoted.
    pub rejoined: u64,
    /// Data nodes that ran in slices for a while.
    pub slowed: u64,
    /// Management nodes that lost their directories.
    pub wiped: u64,
    /// Management nodes that came back with older directories.
    pub rolled_back: u64,
    /// Clocks that jumped.
    pub jumps: u64,
    /// Clients that ended for good.
    pub vanished: u64,
    /// Blows at crash points.
    pub crash_points: u64,
    /// Data nodes that left as they were told to.
    pub left: u64,
}

/// Everything of one run.
pub struct World {
    /// What the seed decided.
    pub plan: Plan,
    /// The network.
    pub network: Network,
    /// What happened.
    pub trace: Trace,
    /// The processes: management nodes, data nodes, clients.
    pub slots: Vec<Slot>,
    /// The first check that failed.
    pub violation: Option<Violation>,
    /// Commits and cuts.
    pub cuts: CutChecker,
    /// Views that management nodes have applied.
    pub views: ViewChecker,
    pub(crate) crashes: Crashes,
    /// Counts of faults.
    pub faults: FaultCounts,
    /// The life of its place in which an instance was registered.
    instances: BTreeMap<Instance, u32>,
    newest_view: View,
    /// Instances that have proposed a promotion and were cut off.
    pub(crate) promoters: Vec<Instance>,
    /// Data nodes that an operator told to leave, in that order.
    pub(crate) leavers: Vec<Instance>,
    /// Faults strike no more.
    pub(crate) calm: bool,
    pub(crate) fault_random: Random,
    pub(crate) identity_random: Random,
    scheduling: Random,
    pub(crate) output: Output,
}

impl World {
    /// A world without processes.
    pub fn new(plan: Plan, trace: Trace) -> World {
        let seed = plan.seed;
        World {
            network: Network::new(plan.network.clone(), Random::new(seed, Purpose::Network)),
            trace,
            slots: Vec::new(),
            violation: None,
            cuts: CutChecker::default(),
            views: ViewChecker::default(),
            crashes: Crashes::new(seed, plan.crash_points.clone()),
            faults: FaultCounts::default(),
            instances: BTreeMap::new(),
            newest_view: View::default(),
            promoters: Vec::new(),
            leavers: Vec::new(),
            calm: false,
            fault_random: Random::new(seed, Purpose::Faults),
            identity_random: Random::new(seed, Purpose::Identity),
            scheduling: Random::new(seed, Purpose::Scheduling),
            output: Output::default(),
            plan,
        }
    }

    /// Virtual time.
    pub fn now(&self) -> Time {
        self.network.queue.now()
    }

    /// Makes a place for a process that does not live yet.
    pub fn add_slot(&mut self, role: Role, address: String) -> ProcessNumber {
        let number = self.slots.len() as ProcessNumber;
        self.trace.name_process(match role {
            Role::Management(node) => format!("mgmd-{node}"),
            Role::Data(node) => format!("data-{node}"),
            Role::Client(client) => format!("client-{client}"),
        });
        self.network.add_process(address.clone());
        self.slots.push(Slot {
            role,
            address,
            process: None,
            life: 0,
            disk: Disk::default(),
            stopped: None,
            may_stop: false,
            instance_checked: (0, Instance::default()),
            view_checked: 0,
            clock: self.plan.clocks.get(usize::from(number)).copied().unwrap_or_default(),
            raft_id: 0,
            copy: None,
            rolled_back: false,
            vanished: false,
            slow: None,
            burst: Burst::default(),
            held_output: None,
            paused: false,
            held: VecDeque::new(),
            flush_due: false,
            wake_at: Time::MAX,
        });
        number
    }

    /// Lets a process live.
    pub fn start(&mut self, number: ProcessNumber, process: Process) {
        let now = self.now();
        let slot = &mut self.slots[usize::from(number)];
        slot.life += 1;
        slot.process = Some(process);
        slot.paused = false;
        slot.held.clear();
        slot.slow = None;
        slot.burst = Burst::default();
        slot.held_output = None;
        slot.flush_due = false;
        slot.wake_at = Time::MAX;
        self.network.process_started(number, slot.life);
        let first = now + self.scheduling.below(TICK);
        self.network.queue.push(first, Event::Tick { process: number, life: slot.life });
        self.note(number, What::Start, 0);
    }

    /// Ends a process without a word. `silent`: its machine is gone too and closes nothing.
    pub fn kill(&mut self, number: ProcessNumber, silent: bool) {
        self.end(number, silent, Kept::Some);
    }

    /// Ends a process without a word; so much of what it has sent arrives.
    pub(crate) fn kill_keeping(&mut self, number: ProcessNumber, kept: Kept) {
        self.end(number, false, kept);
    }

    fn end(&mut self, number: ProcessNumber, silent: bool, kept: Kept) {
        let slot = &mut self.slots[usize::from(number)];
        slot.process = None;
        slot.life += 1;
        slot.paused = false;
        slot.held.clear();
        slot.slow = None;
        slot.held_output = None;
        self.network.process_died(number, silent, kept);
        self.note(number, What::Kill, u64::from(silent));
    }

    /// Stops a process from handling anything for a while.
    pub fn pause(&mut self, number: ProcessNumber, length: Time) {
        let until = self.now() + length;
        let slot = &mut self.slots[usize::from(number)];
        if slot.process.is_none() || slot.paused {
            return;
        }
        slot.paused = true;
        self.faults.pauses += 1;
        self.network.queue.push(until, Event::Resume { process: number, life: slot.life });
        self.note(number, What::Pause, length);
    }

    /// Whether the process lives and is not paused.
    pub fn is_running(&self, number: ProcessNumber) -> bool {
        let slot = &self.slots[usize::from(number)];
        slot.process.is_some() && !slot.paused && !slot.vanished
    }

    /// Remembers the first violation.
    pub fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// Notes an event without a frame.
    pub fn note(&mut self, process: ProcessNumber, what: What, number: u64) {
        let time = self.now();
        let spare = self.trace.note(time, process, what, number, Vec::new());
        self.network.recycle(spare);
    }

    /// Lets everything happen that is due up to `limit`, or until a check fails.
    pub fn run_until(&mut self, limit: Time) {
        while self.violation.is_none() {
            match self.network.queue.pop_until(limit) {
                Some(event) => self.handle(event),
                None => {
                    self.network.queue.advance(limit);
                    return;
                }
            }
        }
    }

    /// The processes with their numbers.
    pub fn numbers(&self, wanted: impl Fn(Role) -> bool) -> Vec<ProcessNumber> {
        let numbers = 0..self.slots.len() as ProcessNumber;
        numbers.filter(|number| wanted(self.slots[usize::from(*number)].role)).collect()
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Fault { kind } => return self.strike(kind),
            Event::Restart { process } => return self.restart(process),
            Event::Resume { process, life } => return self.resume(process, life),
            Event::Accept { .. }
            | Event::Connected { .. }
            | Event::ConnectFailed { .. }
            | Event::Deliver { .. }
            | Event::Closed { .. }
            | Event::Persisted { .. }
            | Event::Flush { .. }
            | Event::Tick { .. }
            | Event::Slice { .. }
            | Event::Wake { .. } => {}
        }
        let Some(number) = self.receiver(event) else { return };
        let slot = &mut self.slots[usize::from(number)];
        if slot.process.is_none() {
            return;
        }
        if slot.paused {
            slot.held.push_back(event);
            return;
        }
        self.dispatch(number, event);
    }

    /// The living process that an event is for.
    fn receiver(&self, event: Event) -> Option<ProcessNumber> {
        let end = |connection: ConnectionNumber, end: usize| {
            let End { process, life, closed, .. } = self.network.connection(connection)?.ends[end];
            (!closed && self.slots[usize::from(process)].life == life).then_some(process)
        };
        match event {
            Event::Accept { connection } => {
                // The connecting side must hear of it when the acceptor has died meanwhile.
                end(connection, 1).or_else(|| end(connection, 0))
            }
            Event::Connected { connection } => end(connection, 0),
            Event::Deliver { connection, end: side } | Event::Closed { connection, end: side, .. } => {
                end(connection, side)
            }
            Event::ConnectFailed { process, life, .. }
            | Event::Flush { process, life }
            | Event::Persisted { process, life }
            | Event::Tick { process, life }
            | Event::Slice { process, life }
            | Event::Wake { process, life } => {
                (self.slots[usize::from(process)].life == life).then_some(process)
            }
            Event::Resume { .. } | Event::Restart { .. } | Event::Fault { .. } => None,
        }
    }

    fn dispatch(&mut self, number: ProcessNumber, event: Event) {
        let now = self.now();
        match event {
            Event::Accept { connection } => self.accept(number, connection),
            Event::Connected { connection } => {
                let token = self.network.connection(connection).map_or(0, |connection| connection.token);
                let Some(link) = self.network.connected(connection) else { return };
                self.note(number, What::Connected, u64::from(connection));
                self.core(number).connected(now, link, token);
            }
            Event::ConnectFailed { token, .. } => {
                self.note(number, What::ConnectFailed, token);
                self.core(number).connect_failed(now, token);
            }
            Event::Deliver { connection, end } => self.deliver(number, connection, end, event),
            Event::Closed { connection, end, by_peer } => {
                let Some(link) = self.network.closed(connection, end) else { return };
                let what = if by_peer { What::ClosedByPeer } else { What::ClosedLocally };
                self.burst_of(number).loses();
                self.note(number, what, u64::from(connection));
                self.core(number).closed(now, link, by_peer);
            }
            Event::Persisted { .. } => {
                let replaced = self.slots[usize::from(number)].disk.replaces_next();
                let Some(durable) = self.slots[usize::from(number)].disk.finish() else { return };
                self.burst_of(number).is_durable(replaced);
                self.note(number, What::Persisted, durable);
                self.core(number).persisted(now, durable);
            }
            Event::Tick { life, .. } => {
                self.note(number, What::Tick, 0);
                self.core(number).tick(now);
                self.replace_lost_directories(number);
                self.network.queue.push(now + TICK, Event::Tick { process: number, life });
            }
            Event::Wake { .. } => {
                self.note(number, What::Wake, 0);
                self.slots[usize::from(number)].wake_at = Time::MAX;
                self.core(number).tick(now);
            }
            Event::Slice { .. } => return self.end_slice(number),
            Event::Flush { .. } => {
                self.slots[usize::from(number)].flush_due = false;
                return self.flush(number);
            }
            Event::Resume { .. } | Event::Restart { .. } | Event::Fault { .. } => return,
        }
        self.want_flush(number);
    }

    fn core(&mut self, number: ProcessNumber) -> &mut dyn crate::process::Core {
        let slot = &mut self.slots[usize::from(number)];
        slot.process.as_mut().expect("events go to living processes").core()
    }

    fn want_flush(&mut self, number: ProcessNumber) {
        let now = self.now();
        let slot = &mut self.slots[usize::from(number)];
        if slot.process.is_some() && !slot.flush_due {
            slot.flush_due = true;
            let at = now + self.scheduling.below(self.plan.burst + 1);
            self.network.queue.push(at, Event::Flush { process: number, life: slot.life });
        }
    }

    fn accept(&mut self, number: ProcessNumber, connection: ConnectionNumber) {
        let now = self.now();
        let Some(Connection { ends, token, .. }) = self.network.connection(connection) else { return };
        if ends[1].process != number || ends[1].closed {
            let (token, End { process, life, .. }) = (*token, ends[0]);
            self.network.closed(connection, 0);
            self.network.queue.push(now, Event::ConnectFailed { process, life, token });
            return;
        }
        let Some(link) = self.network.accepted(connection) else { return };
        self.note(number, What::Accepted, u64::from(connection));
        self.core(number).accepted(now, link);
    }

    fn deliver(&mut self, number: ProcessNumber, connection: ConnectionNumber, end: usize, event: Event) {
        let now = self.now();
        let Some(link) = self.network.connection(connection).and_then(|found| found.ends[end].link) else {
            return;
        };
        let held_until = self.network.held_until(connection, end);
        if now < held_until {
            self.network.queue.push(held_until, event);
            return;
        }
        if !self.core(number).wants_input(link) {
            self.network.queue.push(now + OFFER_AGAIN, event);
            return;
        }
        let Some((bytes, backlog)) = self.network.take_frame(connection, end) else { return };
        self.note_heard(number, &bytes);
        let limit = self.core(number).frame_limit(link);
        match duet_protocol::frame::announced_length(&bytes, limit) {
            Ok(Some(length)) if length == bytes.len() => self.core(number).frame(now, link, &bytes),
            Ok(_) => self.core(number).damaged(now, link, duet_protocol::error::ErrorCode::DamagedFrame),
            Err(code) => self.core(number).damaged(now, link, code),
        }
        let spare = self.trace.note(now, number, What::Frame, u64::from(connection), bytes);
        self.network.recycle(spare);
        if let Some((sender, link, backlog)) = backlog
            && let Some(process) = &mut self.slots[usize::from(sender)].process
        {
            process.core().set_backlog(link, backlog);
            self.want_flush(sender);
        }
    }

    /// The checks in true time of what a burst has done.
    pub(crate) fn check_burst(&mut self, number: ProcessNumber) {
        self.check_instance(number);
        self.check_cuts(number);
        self.note_view(number);
        self.cut_at_promotion(number);
        self.check_told(number);
        if let Some(Process::DataNode(node)) = &self.slots[usize::from(number)].process
            && node.kernel.is_changing_view()
        {
            self.check_leases();
        }
    }

    /// An instance is one process, from its registration to its end.
    fn check_instance(&mut self, number: ProcessNumber) {
        let slot = &mut self.slots[usize::from(number)];
        let Some(Process::DataNode(node)) = &slot.process else { return };
        let instance = node.kernel.instance();
        if instance.incarnation == 0 || slot.instance_checked == (slot.life, instance) {
            return;
        }
        slot.instance_checked = (slot.life, instance);
        let life = slot.life;
        let first = *self.instances.entry(instance).or_insert(life);
        if first != life {
            let detail = format!("{instance} was a process before");
            self.violate(Violation::new("an instance is one process", detail));
        }
    }

    /// What a data node has committed, and which epochs it takes for closed: all that its burst has done.
    fn check_cuts(&mut self, number: ProcessNumber) {
        let Some(Process::DataNode(node)) = &mut self.slots[usize::from(number)].process else { return };
        let commits = node.kernel.take_commits();
        if self.newest_view.number > 1 {
            // What a removed primary has exposed, and whether before its end, nobody can tell: cuts are judged up to the
            // first change of the view.
            return;
        }
        for change in commits {
            if let Err(violation) = self.cuts.committed(change) {
                self.violation.get_or_insert(violation);
            }
        }
        if let Err(violation) = self.cuts.closed_by(node.kernel.closed_epoch()) {
            self.violation.get_or_insert(violation);
        }
    }

    /// Checks in true time: at most one node answers for a partition, and a promise lasts as long as the lease.
    pub fn check_leases(&mut self) {
        let now = self.now();
        let nodes: Vec<&DataNode> = self
            .slots
            .iter()
            .filter_map(|slot| match &slot.process {
                Some(Process::DataNode(node)) => Some(node.as_ref()),
                _ => None,
            })
            .collect();
        let partitions = self.plan.partitions.max(64);
        let mut found = None;
        for partition in 0..partitions {
            let serving: Vec<_> = nodes
                .iter()
                .filter(|node| node.kernel.serves(partition, node.clock.read(now)))
                .map(|node| node.kernel.instance())
                .collect();
            if serving.len() > 1 {
                let detail = format!("{serving:?} serve partition {partition}");
                found = Some(Violation::new("at most one node serves a partition", detail));
            }
        }
        for holder in &nodes {
            let holding = holder.kernel.instance();
            for giver in nodes.iter().filter(|giver| giver.kernel.instance().node != holding.node) {
                let giving = giver.kernel.instance();
                let (Some((lease, _)), Some((_, promise))) =
                    (holder.kernel.lease_with(giving), giver.kernel.lease_with(holding))
                else {
                    continue;
                };
                let (lease, promise) = (holder.clock.when(lease), giver.clock.when(promise));
                if lease > now && lease > promise {
                    let detail = format!("{holding} holds until {lease}, {giving} promised until {promise}");
                    found = Some(Violation::new("a promise lasts as long as the lease", detail));
                }
            }
        }
        if let Some(violation) = found {
            self.violate(violation);
        }
    }

    /// The newest view that any management node has applied so far.
    pub fn latest_view(&self) -> Option<&View> {
        Some(&self.newest_view).filter(|view| view.number > 0)
    }

    /// Remembers the view that a management node has applied.
    fn note_view(&mut self, number: ProcessNumber) {
        self.check_views(number);
        if let Some(Process::Management(management)) = &self.slots[usize::from(number)].process {
            let view = &management.node.state().view;
            if view.number > self.newest_view.number {
                let joined = |member: &&Member| member.state == MemberState::Joining;
                let before: Vec<_> =
                    self.newest_view.members().filter(joined).map(Member::instance).collect();
                let full = view.members().filter(|member| member.state == MemberState::Full);
                let rejoined = full.filter(|member| before.contains(&member.instance())).count();
                self.faults.rejoined += rejoined as u64;
                self.newest_view = view.clone();
            }
        }
    }

    /// Management nodes agree on views, and none that leads has forgotten one.
    fn check_views(&mut self, number: ProcessNumber) {
        let slot = &self.slots[usize::from(number)];
        let (Some(Process::Management(management)), Role::Management(id)) = (&slot.process, slot.role) else {
            return;
        };
        let gauges = management.node.gauges(0);
        let view = &management.node.state().view;
        let mut result = Ok(());
        if view.number != slot.view_checked {
            result = self.views.applied(id, gauges.term, view);
        }
        if gauges.leading == 1 && gauges.rolled_back == 0 {
            result = result.and_then(|()| self.views.leads(id, gauges.term, view.number));
        }
        let number_checked = view.number;
        self.slots[usize::from(number)].view_checked = number_checked;
        if let Err(violation) = result {
            self.violate(violation);
        }
    }

    /// What a client was told is on every replica that lives: an answer means that all of them hold the decision.
    fn check_told(&mut self, number: ProcessNumber) {
        let client = self.slots[usize::from(number)].process.as_mut().and_then(Process::client_mut);
        let Some(client) = client else { return };
        let mut told = std::mem::take(&mut client.evidence().told);
        let view = self.latest_view().filter(|_| !told.is_empty()).cloned();
        for (partition, seq) in &told {
            for slot in &self.slots {
                let Some(Process::DataNode(node)) = &slot.process else { continue };
                // A joining one is in the chain only from the moment in which its group knows it.
                let instance = node.kernel.instance();
                let is_full =
                    |member: &Member| member.instance() == instance && member.state == MemberState::Full;
                if !view.as_ref().is_none_or(|view| view.members().any(is_full)) {
                    continue;
                }
                if let Some(last) = node.kernel.last_position(*partition).filter(|last| last < seq) {
                    self.violation.get_or_insert_with(|| {
                        let detail = format!(
                            "a client was told of seq {seq} of partition {partition}, {:?} holds only {last}",
                            slot.role
                        );
                        Violation::new("exposed means held by all replicas", detail)
                    });
                }
                if node.kernel.is_undecided(*partition, *seq) {
                    self.violation.get_or_insert_with(|| {
                        let detail = format!(
                            "a client was told of seq {seq} of partition {partition}, {:?} does not know its fate",
                            slot.role
                        );
                        Violation::new("exposed means decided by all replicas", detail)
                    });
                }
            }
        }
        told.clear();
        let client = self.slots[usize::from(number)].process.as_mut().and_then(Process::client_mut);
        if let Some(client) = client {
            client.evidence().told = told;
        }
    }

    pub(crate) fn obey(&mut self, number: ProcessNumber, order: Order) {
        let now = self.now();
        match order {
            Order::Connect { address, token } => self.network.connect(number, &address, token),
            Order::Close { link } => self.network.close(number, link),
            Order::Persist { number: write, replace, bytes } => {
                let delay = self.scheduling.around(self.plan.disk);
                let slot = &mut self.slots[usize::from(number)];
                slot.disk.write(write, replace, bytes);
                self.network.queue.push(now + delay, Event::Persisted { process: number, life: slot.life });
            }
            Order::End { reason, .. } => self.end_gracefully(number, &reason),
            Order::Stop { reason } => {
                let slot = &mut self.slots[usize::from(number)];
                // A data node that was voted out stops; whether that was right is judged by what clients see.
                let voted_out =
                    matches!(slot.role, Role::Data(_)) && reason.contains("is not a member of view");
                if voted_out {
                    self.faults.removed += 1;
                }
                let lost = self.plan.ending == Ending::Lose && reason.contains("GroupLost");
                let too_small = reason.contains("too little memory");
                let old = slot.rolled_back && reason.contains("was rolled back");
                if voted_out {
                    let wait = self.scheduling.around(300 * MILLISECOND);
                    self.network.queue.push(now + wait, Event::Restart { process: number });
                }
                if slot.may_stop || voted_out || lost || too_small || old {
                    slot.stopped = Some(reason);
                } else {
                    let role = slot.role;
                    self.violate(Violation::new(
                        "healthy processes go on",
                        format!("{role:?} stops: {reason}"),
                    ));
                }
                self.kill(number, false);
                if old {
                    self.empty_directory(number);
                }
            }
        }
    }

    /// A data node ends that was told to leave: it is no member any more, and no transaction depends on it. It comes back.
    fn end_gracefully(&mut self, number: ProcessNumber, reason: &str) {
        let Some(Process::DataNode(node)) = &self.slots[usize::from(number)].process else { return };
        let (instance, counters) = (node.kernel.instance(), node.kernel.counters());
        let is_member = self.newest_view.contains(instance);
        if !reason.contains("could") && (is_member || counters.pending_writes > 0) {
            let detail = format!("{instance} ends: {reason}; member {is_member}, {counters:?}");
            self.violate(Violation::new("who leaves has handed over everything", detail));
        }
        self.faults.left += 1;
        let wait = self.scheduling.around(50 * MILLISECOND);
        let at = self.now() + wait;
        self.network.queue.push(at, Event::Restart { process: number });
        self.kill(number, false);
    }

    fn resume(&mut self, number: ProcessNumber, life: u32) {
        let slot = &mut self.slots[usize::from(number)];
        if slot.life != life || !slot.paused {
            return;
        }
        slot.paused = false;
        let mut held = std::mem::take(&mut slot.held);
        self.note(number, What::Resume, held.len() as u64);
        self.release_held(number);
        // One that was stopped in the middle of a burst finds in its sockets what has come meanwhile.
        let is_flush = |event: &Event| matches!(event, Event::Flush { .. });
        if let Some(place) = held.iter().position(is_flush)
            && self.scheduling.chance(700_000)
            && let Some(flush) = held.remove(place)
        {
            held.push_back(flush);
        }
        for event in held {
            self.handle(event);
        }
        self.run_slice(number);
    }

    /// Ends all faults: paused processes go on, the network is quiet, killed management nodes are started.
    pub fn calm_down(&mut self) {
        self.calm = true;
        self.network.calm_down();
        for number in self.numbers(|_| true) {
            let life = self.slots[usize::from(number)].life;
            self.resume(number, life);
        }
    }
}
