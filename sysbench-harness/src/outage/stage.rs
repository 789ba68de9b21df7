//! The cluster that a fault strikes: two data nodes, their clients, and how far it is from being whole.

use super::arguments::OutageArguments;
use super::fault::Fault;
use super::namespaces::Network;
use super::probe::{COUNT, Probes};
use super::relay::{Lateness, Relay};
use crate::cases::key_partition;
use crate::local_cluster::{LocalCluster, LocalClusterOptions, Place, Role};
use anyhow::{Context, Result, bail, ensure};
use duet_client::{Client, ClusterStatus, ColumnType, ErrorCode, Row, Table, TableDefinition};
use std::cell::Cell;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Data nodes, and replicas of every row.
pub(super) const DATA_NODES: u32 = 2;
const MEMORY_BYTES: u64 = 256 << 20;
/// Time for whatever should happen soon.
pub(super) const SOON: Duration = Duration::from_secs(60);
/// How often a data node is started again until a run is given up.
const MOST_RESTARTS: u32 = 5;
const POLL: Duration = Duration::from_millis(5);

/// A cluster that is struck.
pub(super) struct Stage {
    pub(super) cluster: LocalCluster,
    pub(super) lateness: Arc<Lateness>,
    pub(super) runtime: Arc<Runtime>,
    reader: Client,
    writer: Client,
    table: Table,
    /// Keys, as many led by each data node.
    keys: Vec<u64>,
    /// Version of the newest state that was seen.
    seen: Cell<u64>,
    _relays: Vec<Relay>,
}

impl Stage {
    /// Starts a cluster for a fault and waits until it serves.
    pub(super) fn start(
        arguments: &OutageArguments,
        fault: Fault,
        network: Option<&Network>,
        runtime: &Arc<Runtime>,
        scratch: &Path,
    ) -> Result<Self> {
        let mut options = LocalClusterOptions::new(arguments.executable()?);
        options.data_nodes = DATA_NODES;
        options.replicas = Some(DATA_NODES);
        options.management_nodes =
            if fault == Fault::KillWithLeader { 3 } else { arguments.management_nodes };
        options.memory_bytes = Some(MEMORY_BYTES);
        options.suspect_after = None;
        if let Some(logs) = &arguments.logs {
            let directory = logs.join(fault.name());
            // The state of an earlier cluster must not come back to life.
            ensure!(!directory.exists(), "{} exists already: name another --logs", directory.display());
            options.directory = Some(directory);
        }
        // Addresses that others could reach need a secret; here nobody can.
        let secret = "known to nobody else";
        if let Some(network) = network.filter(|_| fault.needs_network()) {
            let file = scratch.join("secret");
            std::fs::write(&file, secret).context("the secret cannot be written")?;
            let pair = [OsString::from("--cluster-secret-file"), file.into_os_string()];
            options.management_arguments.extend(pair.clone());
            options.data_arguments.extend(pair);
            options.places = network.places();
        }
        if fault == Fault::Reject {
            options.data_arguments.extend(["--link-close-is-proof", "off"].map(OsString::from));
        }
        let (lateness, mut relays) = (Arc::new(Lateness::default()), Vec::new());
        if fault == Fault::Delay {
            for id in 1..=DATA_NODES {
                let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let relay = runtime.block_on(Relay::start(Arc::clone(&lateness)))?;
                let advertise = Some(relay.address());
                options.places.push(Place { role: Role::Data, id, launcher: Vec::new(), listen, advertise });
                relays.push(relay);
            }
        }
        let cluster = LocalCluster::start(options)?;
        for (relay, node) in relays.iter().zip(cluster.data_nodes()) {
            relay.lead_to(node.listen());
        }
        let addresses = cluster.management_addresses();
        let addresses = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let connect = || {
            let mut builder = Client::builder(&addresses).program("duet bench outage");
            if network.is_some() && fault.needs_network() {
                builder = builder.secret(secret);
            }
            runtime.block_on(builder.connect()).context("cannot connect to the cluster")
        };
        let (reader, writer) = (connect()?, connect()?);
        let table = create_table(runtime, &writer)?;
        let (runtime, _relays) = (Arc::clone(runtime), relays);
        let keys = Vec::new();
        let seen = Cell::new(0);
        let mut stage = Self { cluster, lateness, runtime, reader, writer, table, keys, seen, _relays };
        stage.make_whole()?;
        stage.keys = insert_keys(&stage.runtime, &stage.writer, &stage.table, arguments.keys)?;
        Ok(stage)
    }

    /// Starts the probes of all keys.
    pub(super) fn probes(&self) -> Result<Probes> {
        Probes::start(self.runtime.handle(), [&self.reader, &self.writer], &self.table, &self.keys)
    }

    /// Ends them and judges what they have seen.
    pub(super) fn judge(&self, probes: Probes) -> Result<super::probe::Seen> {
        probes.stop(&self.writer, &self.table)
    }

    /// How the cluster is, no older than what was seen before: a management node that was started again a moment ago answers too, with
    /// what it knew when it ended.
    pub(super) fn status(&self) -> Result<ClusterStatus> {
        let deadline = Instant::now() + SOON;
        loop {
            match self.runtime.block_on(self.reader.status()) {
                Ok(status) if status.state.version >= self.seen.get() => {
                    self.seen.set(status.state.version);
                    return Ok(status);
                }
                Ok(status) => {
                    let (version, seen) = (status.state.version, self.seen.get());
                    ensure!(
                        Instant::now() < deadline,
                        "management node {} stays at version {version}, and {seen} was seen",
                        status.answered_by
                    );
                }
                Err(error) => {
                    ensure!(Instant::now() < deadline, "the management nodes do not answer: {error}");
                }
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits for a condition of the cluster; returns it as it is then.
    pub(super) fn wait_for(
        &self,
        what: &str,
        condition: impl Fn(&ClusterStatus) -> bool,
    ) -> Result<ClusterStatus> {
        let deadline = Instant::now() + SOON;
        loop {
            let status = self.status()?;
            if condition(&status) {
                return Ok(status);
            }
            let view = &status.state.view;
            ensure!(
                Instant::now() < deadline,
                "{what}: not within {} s; the view is {view:?}",
                SOON.as_secs()
            );
            std::thread::sleep(POLL);
        }
    }

    /// Waits until both data nodes are members and lead as many partitions as the other one. One that has ended is started again: on a
    /// busy machine it may be removed while it joins. How often that was so.
    pub(super) fn make_whole(&mut self) -> Result<u32> {
        let deadline = Instant::now() + SOON;
        let mut restarted = 0;
        loop {
            let status = self.status()?;
            if is_whole(&status) {
                return Ok(restarted);
            }
            let view = &status.state.view;
            ensure!(Instant::now() < deadline, "the cluster does not become whole; the view is {view:?}");
            for id in 1..=DATA_NODES {
                if let Some((status, log)) = self.cluster.data_node(id)?.wait(Duration::ZERO) {
                    ensure!(restarted < MOST_RESTARTS, "data node {id} has ended again ({status}){log}");
                    self.cluster.restart_data_node(id)?;
                    restarted += 1;
                }
            }
            std::thread::sleep(POLL);
        }
    }
}

/// Whether both data nodes are members and lead as many partitions as the other one.
pub(crate) fn is_whole(status: &ClusterStatus) -> bool {
    let view = &status.state.view;
    let leads = |node| view.partitions.iter().filter(|found| found.replicas.first() == Some(&node)).count();
    let both = view.partitions.iter().all(|found| found.replicas.len() == DATA_NODES as usize);
    view.number > 0 && members(status).count() == DATA_NODES as usize && both && leads(1) == leads(2)
}

/// Ids of the data nodes in the view.
pub(crate) fn members(status: &ClusterStatus) -> impl Iterator<Item = u32> {
    status.state.view.members().map(|member| member.node)
}

/// Id of the management node that leads.
pub(super) fn leading_management_node(status: &ClusterStatus) -> Option<u32> {
    status.management.iter().find(|node| node.leader).map(|node| node.node)
}

fn create_table(runtime: &Runtime, client: &Client) -> Result<Table> {
    let definition = TableDefinition::builder("bench", "outage")
        .required("id", ColumnType::BigIntUnsigned)
        .required(COUNT, ColumnType::BigInt)
        .primary_key(["id"])
        .build()
        .context("the table's definition")?;
    let deadline = Instant::now() + SOON;
    loop {
        match runtime.block_on(client.create_table(definition.clone())) {
            Ok(table) => return Ok(table),
            Err(error)
                if Instant::now() < deadline && error.error_code().is_some_and(ErrorCode::is_retryable) =>
            {
                std::thread::sleep(POLL);
            }
            Err(error) => return Err(error).context("cannot create the table"),
        }
    }
}

/// Inserts as many keys as each data node shall lead.
fn insert_keys(runtime: &Runtime, client: &Client, table: &Table, of_each: u32) -> Result<Vec<u64>> {
    let mut keys = Vec::new();
    let mut led = [0; DATA_NODES as usize];
    for key in 0..100_000_u64 {
        if led.iter().all(|count| *count == of_each) {
            break;
        }
        let partition = key_partition(client, table, key)?;
        let state = client.state().context("the client knows no cluster state")?;
        let view = state.view.partitions.get(usize::from(partition)).context("no such partition")?;
        let leader = view.replicas.first().context("a partition without a leader")?;
        let Some(count) = led.get_mut(*leader as usize - 1) else { bail!("an unknown leader") };
        if *count < of_each {
            *count += 1;
            let row = Row::new(table).with("id", key)?.with(COUNT, 0_i64)?;
            runtime.block_on(client.upsert(table, row)).context("a key cannot be inserted")?;
            keys.push(key);
        }
    }
    ensure!(led.iter().all(|count| *count == of_each), "a data node leads no partition");
    Ok(keys)
}
