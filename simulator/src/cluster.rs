//! Which processes a plan has, and how each is configured.

use crate::plan::Plan;
use crate::planted::{SAME_PROCESS, SAME_RAFT_ID};
use crate::process::{
    AppendClient, BankClient, ColumnClient, CoreClient, DataNode, DirectClient, ExpiringClient, Management,
    MemberClient, Process,
};
use crate::trace::{ProcessNumber, Trace, What};
use crate::workload::Generator;
use crate::world::{Role, World};
use duet_client_core::ClientConfiguration;
use duet_datanode_core::NodeConfiguration;
use duet_mgmd_core::{ManagementConfiguration, ManagementPeer};
use duet_protocol::record::ClusterConfiguration;

/// Links that a server accepts at most.
const MAX_LINKS: u32 = 256;

/// Address of the process with this number; nothing listens there, the network of the run knows it by name.
fn address(number: u32) -> String {
    format!("127.0.0.1:{}", 10_000 + number)
}

impl World {
    /// A world with all places, in which nothing lives yet.
    pub fn lay_out(plan: Plan, trace: Trace) -> World {
        let mut world = World::new(plan, trace);
        let roles = (1..=world.plan.management_nodes)
            .map(Role::Management)
            .chain((1..=world.plan.data_nodes).map(Role::Data))
            .chain((0..world.plan.all_clients()).map(Role::Client))
            .collect::<Vec<_>>();
        for (number, role) in roles.into_iter().enumerate() {
            world.add_slot(role, address(number as u32));
        }
        world
    }

    fn management_addresses(&self) -> Vec<String> {
        let management = self.numbers(|role| matches!(role, Role::Management(_)));
        management.iter().map(|number| self.slots[usize::from(*number)].address.clone()).collect()
    }

    /// Starts the management node in a place, on the disk that is there.
    ///
    /// # Errors
    /// What the node says.
    pub fn start_management(&mut self, number: ProcessNumber, node: u32) -> Result<(), String> {
        let management = self
            .management_addresses()
            .into_iter()
            .enumerate()
            .map(|(index, address)| ManagementPeer { node: index as u32 + 1, address })
            .collect();
        let plan = &self.plan;
        let configuration = ManagementConfiguration {
            node,
            management,
            address_is_given: true,
            join: Vec::new(),
            cluster: ClusterConfiguration {
                data_nodes: plan.data_nodes,
                replicas: 2,
                partitions: plan.partitions,
                lanes: plan.lanes,
            },
            secret: Vec::new(),
            max_links: MAX_LINKS,
            seed: self.identity_random.bits(),
            raft_id: self.fresh_raft_id(number),
            cluster_id: self.identity_random.bits() | 1,
        };
        let now = self.now();
        let fresh = configuration.raft_id;
        let slot = &mut self.slots[usize::from(number)];
        let process = Management::start(configuration, slot.disk.contents(), now, slot.clock)?;
        let intact = process.node.intact_log_bytes();
        slot.disk.cut(intact);
        if intact == 0 {
            slot.raft_id = fresh;
        }
        self.start(number, Process::Management(Box::new(process)));
        Ok(())
    }

    /// The Raft id that a management node takes if its directory holds none.
    fn fresh_raft_id(&mut self, number: ProcessNumber) -> u64 {
        let drawn = self.identity_random.bits() | 1;
        match self.slots[usize::from(number)].raft_id {
            used if used != 0 && self.plan.planted_bug == SAME_RAFT_ID => used,
            _ => drawn,
        }
    }

    /// Starts a new data node process in a place.
    ///
    /// # Errors
    /// What the node says.
    pub fn start_data_node(&mut self, number: ProcessNumber, node: u32) -> Result<(), String> {
        let memory_bytes = self.plan.memory_bytes[node as usize - 1];
        let configuration = NodeConfiguration {
            node,
            process: self.process_identity(node),
            address: self.slots[usize::from(number)].address.clone(),
            metrics_address: String::new(),
            management: self.management_addresses(),
            secret: Vec::new(),
            memory_bytes,
            arena_bytes: memory_bytes,
            memory_preparer: None,
            max_links: MAX_LINKS,
            seed: self.identity_random.bits(),
            link_close_is_proof: self.plan.link_close_is_proof,
            suspect_after: self.plan.suspect_after[node as usize - 1],
            lane_frame_signals: self.plan.lane_frame_signals,
            planted_bug: self.plan.planted_bug,
        };
        let (parts, clock) = (self.plan.parts[node as usize - 1], self.slots[usize::from(number)].clock);
        let process = DataNode::start(configuration, self.now(), parts, clock)?;
        self.start(number, Process::DataNode(Box::new(process)));
        Ok(())
    }

    /// Starts a client: the first ones speak the protocol themselves, the others run the client's core.
    pub fn start_client(&mut self, number: ProcessNumber, client: u32) {
        let generator = Generator::new(self.plan.seed, client, self.plan.workload.clone());
        let process = self.identity_random.identity();
        if client < self.plan.direct_clients {
            let client = DirectClient::new(generator, process, &self.management_addresses());
            return self.start(number, Process::Direct(Box::new(client)));
        }
        // Any node will do as the first contact, and one that never dies for good.
        let management = self.numbers(|role| matches!(role, Role::Management(_)));
        let servers = self.numbers(|role| !matches!(role, Role::Client(_)));
        let random = &mut self.identity_random;
        let seeds = [*random.pick(&servers), *random.pick(&management)];
        let seeds = seeds.iter().map(|number| self.slots[usize::from(*number)].address.clone()).collect();
        let mut configuration = ClientConfiguration::new(seeds, process, random.bits());
        if random.chance(300_000) {
            configuration.limits.requests_per_node = random.between(1, 20) as usize;
            configuration.limits.request_bytes_per_node = 4_000;
        }
        let others = self.plan.everyone() + self.plan.bankers;
        let expiring = others + self.plan.appenders + self.plan.members;
        if let Some(rank) = client.checked_sub(expiring + self.plan.expiring) {
            let think = self.plan.workload.think;
            let client = ColumnClient::new(generator.random, rank, think, configuration, self.now());
            return self.start(number, Process::Columns(Box::new(client)));
        }
        if let Some(rank) = client.checked_sub(expiring) {
            let think = self.plan.workload.think;
            let client = ExpiringClient::new(generator.random, rank, think, configuration, self.now());
            return self.start(number, Process::Expiring(Box::new(client)));
        }
        if let Some(rank) = client.checked_sub(others + self.plan.appenders) {
            let plan = (self.plan.clerks, self.plan.workload.think, self.plan.planted_bug);
            let member = MemberClient::new(generator.random, rank, plan, configuration, self.now());
            return self.start(number, Process::Members(Box::new(member)));
        }
        if let Some(appender) = client.checked_sub(self.plan.everyone() + self.plan.bankers) {
            let plan = (self.plan.lists, self.plan.clerks, self.plan.workload.think);
            let client = AppendClient::new(generator.random, appender, plan, configuration, self.now());
            return self.start(number, Process::Append(Box::new(client)));
        }
        if let Some(banker) = client.checked_sub(self.plan.everyone()) {
            let plan = (self.plan.accounts, self.plan.clerks, self.plan.workload.think);
            let banker = BankClient::new(generator.random, banker, plan, configuration, self.now());
            return self.start(number, Process::Bank(Box::new(banker)));
        }
        let client = CoreClient::new(generator, configuration, self.now());
        self.start(number, Process::Client(Box::new(client)));
    }

    /// The identity of a new data node process: no two processes have the same.
    fn process_identity(&mut self, node: u32) -> [u8; 16] {
        let drawn = self.identity_random.identity();
        if self.plan.planted_bug == SAME_PROCESS { [node as u8; 16] } else { drawn }
    }

    /// A server that was killed, or voted out, comes back: a management node with its disk, a data node without anything.
    pub(crate) fn restart(&mut self, number: ProcessNumber) {
        let slot = &self.slots[usize::from(number)];
        if slot.process.is_some() {
            return;
        }
        let started = match slot.role {
            Role::Management(node) => self.start_management(number, node),
            Role::Data(node) => self.start_data_node(number, node),
            Role::Client(_) => Ok(()),
        };
        if let Err(reason) = started {
            let detail = format!("process {number} cannot start again: {reason}");
            self.violate(crate::history::Violation::new("a killed server comes back", detail));
            self.note(number, What::Kill, 0);
        }
    }

    /// Starts everything for the first time.
    ///
    /// # Errors
    /// What a process says.
    pub fn start_all(&mut self) -> Result<(), String> {
        for number in self.numbers(|_| true) {
            match self.slots[usize::from(number)].role {
                Role::Management(node) => self.start_management(number, node)?,
                Role::Data(node) => self.start_data_node(number, node)?,
                Role::Client(client) => self.start_client(number, client),
            }
        }
        Ok(())
    }
}
