//! What one seed means: sizes of the cluster, the workload, and which faults are on, how often.

use crate::clock::BootClock;
use crate::crash::CrashPlan;
use crate::queue::{MICROSECOND, MILLISECOND, SECOND, Time};
use crate::random::{Purpose, Random};
use duet_datanode_core::SUSPECT_AFTER;

/// Chances are given per million.
pub const ALWAYS: u32 = 1_000_000;

/// How the network behaves.
#[derive(Clone, Debug)]
pub struct NetworkPlan {
    /// Smallest delay of a flow; each flow draws its own between this and the next.
    pub delay_low: Time,
    /// Largest delay of a flow.
    pub delay_high: Time,
    /// Largest extra delay of a frame.
    pub jitter: Time,
    /// How many frames are delayed much longer.
    pub spike_per_million: u32,
    /// Largest such delay.
    pub spike: Time,
    /// How many flows that break are read late.
    pub late_prefix_per_million: u32,
    /// How late at most.
    pub late_prefix: Time,
    /// How many connections are refused.
    pub refuse_connection_per_million: u32,
    /// Delay of each of the two steps of connecting.
    pub connect_delay: Time,
    /// How many flows are slow.
    pub slow_flow_per_million: u32,
    /// The slowest of them, in nanoseconds per byte.
    pub slow_nanoseconds_per_byte: Time,
    /// Bytes in flight that the sender's system accepts; what is beyond is the sender's backlog.
    pub socket_buffer_bytes: usize,
    /// How long others may take to notice a machine that vanished without closing its connections.
    pub silent_death: Time,
}

/// Kinds of faults that strike again and again until the run calms down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A connection of a client breaks.
    ResetClient,
    /// A lane between data nodes breaks.
    ResetLane,
    /// All lanes between two data nodes break at once.
    ResetAllLanes,
    /// A connection of a data node with a management node breaks.
    ResetManagement,
    /// A connection between management nodes breaks.
    ResetConsensus,
    /// A data node is paused.
    PauseDataNode,
    /// A management node is paused.
    PauseManagement,
    /// A client is paused.
    PauseClient,
    /// Everything from one process to another is held up.
    Stall,
    /// A management node is killed, loses what was not yet durable, and starts again.
    RestartManagement,
    /// A data node is killed, if the other one of its group lives and has all rows, and comes back without any.
    KillDataNode,
    /// A data node is paused for so long that the other one of its group takes over.
    FreezeDataNode,
    /// Two data nodes do not hear each other, or one does not hear the other.
    CutDataNodes,
    /// A data node hears no other server and is not heard by them, but clients reach it.
    IsolateDataNode,
    /// A data node runs in short slices for a while, with long stops between them.
    SlowDataNode,
    /// A management node and another server do not hear each other, or one does not hear the other.
    CutManagement,
    /// The clocks of servers run at different rates and began at different times.
    SkewClocks,
    /// The clock of a management node jumps ahead.
    JumpClock,
    /// A management node is killed and comes back with an empty directory.
    WipeManagement,
    /// A management node is killed and comes back with an older copy of its directory.
    RollBackManagement,
    /// A client ends without a word and never comes back.
    VanishClient,
    /// Processes end, stand still or lose their connections at named points of what they do.
    CrashPoints,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [FaultKind; 22] = [
        FaultKind::ResetClient,
        FaultKind::ResetLane,
        FaultKind::ResetAllLanes,
        FaultKind::ResetManagement,
        FaultKind::ResetConsensus,
        FaultKind::PauseDataNode,
        FaultKind::PauseManagement,
        FaultKind::PauseClient,
        FaultKind::Stall,
        FaultKind::RestartManagement,
        FaultKind::KillDataNode,
        FaultKind::FreezeDataNode,
        FaultKind::CutDataNodes,
        FaultKind::IsolateDataNode,
        FaultKind::SlowDataNode,
        FaultKind::CutManagement,
        FaultKind::SkewClocks,
        FaultKind::JumpClock,
        FaultKind::WipeManagement,
        FaultKind::RollBackManagement,
        FaultKind::VanishClient,
        FaultKind::CrashPoints,
    ];
    /// How many of them, from the first, every plan draws by itself.
    pub const USUAL: usize = 14;

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::ResetClient => "reset-client",
            FaultKind::ResetLane => "reset-lane",
            FaultKind::ResetAllLanes => "reset-all-lanes",
            FaultKind::ResetManagement => "reset-management",
            FaultKind::ResetConsensus => "reset-consensus",
            FaultKind::PauseDataNode => "pause-data-node",
            FaultKind::PauseManagement => "pause-management",
            FaultKind::PauseClient => "pause-client",
            FaultKind::Stall => "stall",
            FaultKind::RestartManagement => "restart-management",
            FaultKind::KillDataNode => "kill-data-node",
            FaultKind::FreezeDataNode => "freeze-data-node",
            FaultKind::CutDataNodes => "cut-data-nodes",
            FaultKind::IsolateDataNode => "isolate-data-node",
            FaultKind::SlowDataNode => "slow-data-node",
            FaultKind::CutManagement => "cut-management",
            FaultKind::SkewClocks => "skew-clocks",
            FaultKind::JumpClock => "jump-clock",
            FaultKind::WipeManagement => "wipe-management",
            FaultKind::RollBackManagement => "roll-back-management",
            FaultKind::VanishClient => "vanish-client",
            FaultKind::CrashPoints => "crash-points",
        }
    }

    /// Whether it may end the membership of a data node, or lasts that long.
    fn is_long(self) -> bool {
        matches!(
            self,
            FaultKind::KillDataNode
                | FaultKind::FreezeDataNode
                | FaultKind::CutDataNodes
                | FaultKind::IsolateDataNode
                | FaultKind::SlowDataNode
                | FaultKind::CutManagement
        )
    }

    /// Whether it comes less often than others.
    fn is_rare(self) -> bool {
        matches!(
            self,
            FaultKind::RestartManagement
                | FaultKind::PauseManagement
                | FaultKind::JumpClock
                | FaultKind::WipeManagement
                | FaultKind::RollBackManagement
                | FaultKind::VanishClient
        )
    }
}

/// One kind of fault that is on.
#[derive(Clone, Copy, Debug)]
pub struct FaultPlan {
    /// The kind.
    pub kind: FaultKind,
    /// Mean time between two of them.
    pub every: Time,
    /// Mean length, for those that have one.
    pub length: Time,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Faults stop, everything comes to rest, and all is compared.
    Rest,
    /// One data node is killed while traffic runs, which goes on; it comes back at the end, then as [`Ending::Rest`].
    Kill {
        /// Whether the others only notice late, because the machine is gone and closes nothing.
        silent: bool,
    },
    /// Both data nodes of a group are killed for good.
    Lose,
}

/// What clients do.
#[derive(Clone, Debug)]
pub struct WorkloadPlan {
    /// Tables that live as long as the run.
    pub tables: u32,
    /// Keys in each.
    pub keys: u64,
    /// Part of the operations that go to key 0 of the first table.
    pub hot_per_million: u32,
    /// Operations that each client keeps under way.
    pub concurrency: u32,
    /// Mean pause of a client between two operations.
    pub think: Time,
    /// Largest padding of a row in bytes.
    pub padding: u64,
    /// Weights of read, insert, upsert, set, increment, compare-and-set, delete, scan.
    pub weights: [u32; 8],
    /// Part of the operations sent in one frame with others.
    pub batch_per_million: u32,
    /// Part of the operations of direct clients sent to a node that is not the primary.
    pub misroute_per_million: u32,
    /// Part of the writes of direct clients sent a second time while the first is under way.
    pub duplicate_per_million: u32,
    /// Part of the writes whose outcome is asked for again afterwards.
    pub ask_again_per_million: u32,
    /// Mean time between schema changes while traffic runs; 0 for none.
    pub schema_change_every: Time,
    /// Acknowledged operations to reach.
    pub acknowledged: u64,
    /// Events to reach.
    pub events: u64,
}

/// Everything that the seed decides in advance.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Data nodes, in groups of two.
    pub data_nodes: u32,
    /// Management nodes, 1 or 3.
    pub management_nodes: u32,
    /// Clients that run the client's core.
    pub clients: u32,
    /// Clients that speak the protocol themselves and stretch its rules.
    pub direct_clients: u32,
    /// Clients that move money between accounts in transactions.
    pub bankers: u32,
    /// Accounts of the bank.
    pub accounts: u64,
    /// Transactions that each banker and each client of the lists keeps under way.
    pub clerks: usize,
    /// Clients that append to lists in transactions.
    pub appenders: u32,
    /// Lists.
    pub lists: u64,
    /// Clients that move unique values between rows.
    pub members: u32,
    /// Clients of rows with a time to live.
    pub expiring: u32,
    /// Clients of a table that gets columns.
    pub columns: u32,
    /// Lanes between data nodes; 0 leaves their number to the management nodes.
    pub lanes: u16,
    /// Partitions; 0 leaves their number to the management nodes.
    pub partitions: u16,
    /// Coordinator and data parts of each data node, as if each ran on a thread of its own; none for one kernel.
    pub parts: Vec<Option<(usize, usize)>>,
    /// Memory budget of each data node in bytes.
    pub memory_bytes: Vec<u64>,
    /// Largest time between an event and the flush of its burst.
    pub burst: Time,
    /// Most signals of a frame between data nodes.
    pub lane_frame_signals: u16,
    /// Mean time until bytes are durable on a disk.
    pub disk: Time,
    /// The network.
    pub network: NetworkPlan,
    /// Faults that are on.
    pub faults: Vec<FaultPlan>,
    /// The workload.
    pub workload: WorkloadPlan,
    /// How long the node that had everything is cut off from all servers in the moment in which a joining one is promoted; 0 for not.
    pub cut_at_promotion: Time,
    /// Mean time between two data nodes that an operator tells to leave, while traffic runs; 0 for never.
    pub leave_every: Time,
    /// Whether data nodes may take a closed link for a proof; then nobody but its ends closes one between them.
    pub link_close_is_proof: bool,
    /// Time without an answer after which each data node asks for the removal of another one.
    pub suspect_after: Vec<Time>,
    /// How it ends.
    pub ending: Ending,
    /// Whether the run looks at what every burst hears and sends, for the points below and to know what was proposed.
    pub watched: bool,
    /// Crash points at which something happens, in no order.
    pub crash_points: Vec<CrashPlan>,
    /// Clocks of the servers, management nodes first; none when all of them are exact.
    pub clocks: Vec<BootClock>,
    /// Bug to plant in the data nodes, 0 for none.
    pub planted_bug: u32,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64, planted_bug: u32) -> Plan {
        let mut random = Random::new(seed, Purpose::Plan);
        let random = &mut random;
        let data_nodes = if random.chance(250_000) { 4 } else { 2 };
        let management_nodes = if random.chance(500_000) { 3 } else { 1 };
        let everyone = random.between(2, 6) as u32;
        let direct_clients = 1 + random.below(u64::from(everyone) - 1) as u32;
        let tight = random.chance(120_000);
        let memory = |random: &mut Random| match tight && random.chance(700_000) {
            true => random.between(1, 6) << 18,
            false => 64 << 20,
        };
        let mut plan = Plan {
            seed,
            data_nodes,
            management_nodes,
            clients: everyone - direct_clients,
            direct_clients,
            bankers: 0,
            members: 0,
            expiring: 0,
            columns: 0,
            accounts: 0,
            clerks: 0,
            appenders: 0,
            lists: 0,
            lanes: random.between(1, 3) as u16,
            partitions: random.between(4, 16) as u16,
            parts: Vec::new(),
            memory_bytes: (0..data_nodes).map(|_| memory(random)).collect(),
            burst: *random.pick(&[1, 5, 20, 100]) * MICROSECOND,
            lane_frame_signals: u16::MAX,
            disk: *random.pick(&[50, 500, 4_000]) * MICROSECOND,
            network: network(random),
            faults: faults(random, management_nodes),
            workload: workload(random),
            ending: match random.below(8) {
                0 => Ending::Kill { silent: false },
                1 => Ending::Kill { silent: true },
                2 => Ending::Lose,
                _ => Ending::Rest,
            },
            cut_at_promotion: 0,
            leave_every: 0,
            link_close_is_proof: true,
            suspect_after: vec![SUSPECT_AFTER; data_nodes as usize],
            watched: false,
            crash_points: Vec::new(),
            clocks: Vec::new(),
            planted_bug,
        };
        let draw = |random: &mut Random| (random.between(1, 3) as usize, random.between(1, 4) as usize);
        plan.parts = (0..data_nodes).map(|_| random.chance(600_000).then(|| draw(random))).collect();
        if random.chance(400_000) {
            plan.lanes = 0;
        }
        if random.chance(200_000) {
            plan.partitions = 0;
        }
        // With less memory the accounts themselves may not fit.
        if random.chance(700_000) && plan.memory_bytes.iter().all(|bytes| *bytes >= 2 << 20) {
            plan.bankers = random.between(1, 3) as u32;
        }
        plan.accounts = *random.pick(&[2, 3, 6, 12]);
        plan.clerks = random.between(1, 4) as usize;
        if random.chance(400_000) && plan.memory_bytes.iter().all(|bytes| *bytes >= 64 << 20) {
            plan.appenders = random.between(1, 3) as u32;
        }
        plan.lists = *random.pick(&[2, 3, 6, 20]);
        if random.chance(500_000) && plan.memory_bytes.iter().all(|bytes| *bytes >= 4 << 20) {
            plan.members = random.between(1, 3) as u32;
        }
        // Drawn last: what was drawn before stays what it was.
        if random.chance(500_000) && plan.memory_bytes.iter().all(|bytes| *bytes >= 4 << 20) {
            plan.expiring = random.between(1, 2) as u32;
        }
        plan.link_close_is_proof = random.chance(700_000);
        if random.chance(400_000) && plan.memory_bytes.iter().all(|bytes| *bytes >= 4 << 20) {
            plan.columns = random.between(1, 3) as u32;
        }
        if random.chance(300_000) {
            plan.cut_at_promotion = *random.pick(&[700, 1_500]) * MILLISECOND;
        }
        if random.chance(400_000) && plan.ending != Ending::Lose {
            plan.leave_every = *random.pick(&[300, 1_000, 3_000]) * MILLISECOND;
        }
        if random.chance(300_000) {
            plan.lane_frame_signals = *random.pick(&[1, 1, 2, 5]);
        }
        if random.chance(250_000) {
            plan.suspect_after.fill_with(|| *random.pick(&[1, 1, 2, 6]) * SUSPECT_AFTER);
        }
        plan
    }

    /// Number of clients of all kinds.
    pub fn all_clients(&self) -> u32 {
        self.everyone() + self.bankers + self.appenders + self.members + self.expiring + self.columns
    }

    /// Number of clients of both kinds.
    pub fn everyone(&self) -> u32 {
        self.clients + self.direct_clients
    }
}

fn network(random: &mut Random) -> NetworkPlan {
    let delay_low = *random.pick(&[2, 10, 30]) * MICROSECOND;
    NetworkPlan {
        delay_low,
        delay_high: delay_low + *random.pick(&[1, 50, 400]) * MICROSECOND,
        jitter: *random.pick(&[1, 20, 300]) * MICROSECOND,
        spike_per_million: *random.pick(&[0, 0, 1_000, 10_000]),
        spike: *random.pick(&[2, 20, 80]) * MILLISECOND,
        late_prefix_per_million: *random.pick(&[0, 300_000, 800_000]),
        late_prefix: *random.pick(&[5, 30, 150]) * MILLISECOND,
        refuse_connection_per_million: *random.pick(&[0, 0, 100_000, 400_000]),
        connect_delay: *random.pick(&[20, 200, 2_000]) * MICROSECOND,
        slow_flow_per_million: *random.pick(&[0, 0, 100_000]),
        slow_nanoseconds_per_byte: *random.pick(&[100, 1_000, 5_000]),
        socket_buffer_bytes: *random.pick(&[4 << 10, 64 << 10, 1 << 20]),
        silent_death: *random.pick(&[100, 500, 2_000]) * MILLISECOND,
    }
}

fn faults(random: &mut Random, management_nodes: u32) -> Vec<FaultPlan> {
    let usual = &FaultKind::ALL[..FaultKind::USUAL];
    let chance = |kind: FaultKind| if kind.is_long() { 120_000 } else { 350_000 };
    usual.iter().filter_map(|kind| draw_fault(random, *kind, chance(*kind), management_nodes)).collect()
}

/// Draws how often a kind of fault strikes and for how long, and with a chance per million whether it does at all.
pub(crate) fn draw_fault(
    random: &mut Random,
    kind: FaultKind,
    chance: u32,
    management_nodes: u32,
) -> Option<FaultPlan> {
    let mut on = random.chance(chance);
    let every = *random.pick(&[30, 100, 300]) * MILLISECOND;
    let length = *random.pick(&[1, 10, 50, 200]) * MILLISECOND;
    let long = kind.is_long();
    let length = if long { 350 * MILLISECOND + 4 * length } else { length };
    let needs_three =
        matches!(kind, FaultKind::ResetConsensus | FaultKind::WipeManagement | FaultKind::RollBackManagement);
    on &= !needs_three || management_nodes > 1;
    let every = if kind.is_rare() || long { every * 4 } else { every };
    on.then_some(FaultPlan { kind, every, length })
}

fn workload(random: &mut Random) -> WorkloadPlan {
    let mut weights = [0; 8];
    for (index, weight) in weights.iter_mut().enumerate() {
        let least = u64::from(index == 0 || index == 2 || index == 4);
        *weight = random.between(least, 8) as u32;
    }
    weights[7] = random.below(4) as u32;
    WorkloadPlan {
        tables: random.between(1, 3) as u32,
        keys: *random.pick(&[3, 20, 150, 600]),
        hot_per_million: *random.pick(&[0, 50_000, 400_000, 950_000]),
        concurrency: *random.pick(&[1, 4, 12, 24, 24, 200]),
        think: *random.pick(&[20, 200, 1_000]) * MICROSECOND,
        padding: *random.pick(&[0, 40, 900]),
        weights,
        batch_per_million: *random.pick(&[0, 300_000, 900_000]),
        misroute_per_million: *random.pick(&[0, 20_000, 200_000]),
        duplicate_per_million: *random.pick(&[0, 10_000, 100_000]),
        ask_again_per_million: *random.pick(&[5_000, 50_000]),
        schema_change_every: *random.pick(&[0, 50, 300]) * MILLISECOND,
        acknowledged: 2_200,
        events: 52_000,
    }
}

/// How long a cluster may take to form.
pub const FORMING_LIMIT: Time = 60 * SECOND;
/// How long the traffic may take; far more than any plan needs.
pub const TRAFFIC_LIMIT: Time = 900 * SECOND;
/// How long everything may take to complete after the faults have stopped.
pub const REST_LIMIT: Time = 60 * SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_and_every_fault_and_ending_occurs() {
        let plans: Vec<Plan> = (0..200).map(|seed| Plan::new(seed, 0)).collect();
        for kind in FaultKind::ALL[..FaultKind::USUAL].iter().copied() {
            let count =
                plans.iter().filter(|plan| plan.faults.iter().any(|fault| fault.kind == kind)).count();
            assert!((10..150).contains(&count), "{kind:?} in {count} of 200");
        }
        assert!(plans.iter().any(|plan| plan.ending == Ending::Kill { silent: true }));
        assert!(plans.iter().any(|plan| plan.lanes == 0 && plan.partitions == 0));
        assert!(plans.iter().any(|plan| plan.data_nodes == 4 && plan.management_nodes == 3));
        assert!(plans.iter().any(|plan| plan.memory_bytes.iter().any(|bytes| *bytes < 2 << 20)));
        assert!(plans.iter().all(|plan| (2..=6).contains(&(plan.clients + plan.direct_clients))));
    }
}
