//! A Duet cluster of child processes on this machine, for benchmarks, `duet demo` and tests of processes.
//!
//! Every process is started as `EXECUTABLE mgmd …` or `EXECUTABLE datanode …`, listens on loopback, prints one JSON line when it
//! is ready, and ends with us: we hold the other end of its standard input (`--parent-pipe`), so even a killed
//! parent leaves nothing behind. Dropping the cluster kills what still runs and deletes its scratch directory.
//!
//! ```no_run
//! use duet_bench::local_cluster::{LocalCluster, LocalClusterOptions};
//!
//! let mut options = LocalClusterOptions::new(std::env::current_exe()?);
//! options.data_nodes = 2;
//! let mut cluster = LocalCluster::start(options)?;
//! println!("clients connect to {:?}", cluster.management_addresses());
//! cluster.kill_data_node(2)?;
//! cluster.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod node;

pub use node::{LocalNode, Role};

use crate::cpu::CpuList;
use crate::process::ProcessError;
use crate::target::ServerProcess;
use node::Start;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use thiserror::Error;

/// Another process may take a free port between its choice and its use; then all management nodes start anew.
const PORT_ATTEMPTS: usize = 5;
/// How long the processes of a cluster may take to end when asked to, all together.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Why a local cluster could not be started or changed.
#[derive(Debug, Error)]
pub enum LocalClusterError {
    /// The options contradict each other.
    #[error("a local cluster cannot have {0}")]
    Options(String),
    /// A process did not start, did not become ready, or could not be signalled.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A process printed something else than a ready line.
    #[error("{name} printed `{line}` instead of its ready line")]
    ReadyLine {
        /// The process.
        name: String,
        /// What it printed.
        line: String,
    },
    /// There is no such node.
    #[error("the local cluster has no {0}")]
    NoSuchNode(String),
    /// A directory or a port could not be had.
    #[error("{what}: {reason}")]
    System {
        /// What was needed.
        what: &'static str,
        /// The operating system's words.
        reason: std::io::Error,
    },
}

/// Where one process of a cluster runs, if not simply on loopback.
#[derive(Debug, Clone)]
pub struct Place {
    /// What runs there.
    pub role: Role,
    /// Its node id.
    pub id: u32,
    /// Words before its command line, such as `nsenter …`; what they name must become the process itself (`exec`).
    pub launcher: Vec<OsString>,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Address of a data node that it tells others, where that is another one.
    pub advertise: Option<SocketAddr>,
}

/// Shape of a local cluster.
#[derive(Debug, Clone)]
pub struct LocalClusterOptions {
    /// The `duet` executable.
    pub executable: PathBuf,
    /// Management nodes, 1 or 3.
    pub management_nodes: u32,
    /// Data nodes, at least 1.
    pub data_nodes: u32,
    /// Replicas of every partition; `None` leaves it to the management node.
    pub replicas: Option<u32>,
    /// Partitions; `None` leaves it to the management node.
    pub partitions: Option<u32>,
    /// Connections between two data nodes; `None` leaves it to the management node.
    pub lanes: Option<u32>,
    /// Where the first management node listens; `None` is a free port of loopback.
    pub management_listen: Option<SocketAddr>,
    /// Memory of each data node in bytes; `None` leaves it to the data node.
    pub memory_bytes: Option<u64>,
    /// Thread plan of each data node, as `--threads` takes it; `None` leaves it to the data node.
    pub threads: Option<String>,
    /// How each data node talks to its links, as `--io` takes it; `None` leaves it to the data node.
    pub io: Option<String>,
    /// Silence after which a data node has another one removed, as `--suspect-after-ms` takes it; `None` leaves it to the data node.
    pub suspect_after: Option<Duration>,
    /// CPUs that the management nodes are confined to.
    pub management_cpus: Option<CpuList>,
    /// CPUs that the data nodes are confined to.
    pub data_cpus: Option<CpuList>,
    /// Whether every process serves `/metrics` on a free port.
    pub metrics: bool,
    /// Where logs and the management nodes' state lie; `None` is a scratch directory that is deleted at the end.
    pub directory: Option<PathBuf>,
    /// How long a process may take until it is ready.
    pub ready_within: Duration,
    /// Further arguments of every management node.
    pub management_arguments: Vec<OsString>,
    /// Further arguments of every data node.
    pub data_arguments: Vec<OsString>,
    /// Places of processes; those that have none run on free ports of loopback.
    pub places: Vec<Place>,
}

impl LocalClusterOptions {
    /// One management node and two data nodes of `executable`, nothing pinned, no metrics, a scratch directory. The data nodes
    /// bear two seconds of silence: on one machine, which they may share with much else, a pause says little.
    #[must_use]
    pub fn new(executable: impl Into<PathBuf>) -> Self {
        Self {
            executable: executable.into(),
            management_nodes: 1,
            data_nodes: 2,
            replicas: None,
            partitions: None,
            lanes: None,
            management_listen: None,
            memory_bytes: None,
            threads: None,
            io: None,
            suspect_after: Some(Duration::from_secs(2)),
            management_cpus: None,
            data_cpus: None,
            metrics: false,
            directory: None,
            ready_within: Duration::from_secs(30),
            management_arguments: Vec::new(),
            data_arguments: Vec::new(),
            places: Vec::new(),
        }
    }

    fn place(&self, role: Role, id: u32) -> Option<&Place> {
        self.places.iter().find(|place| place.role == role && place.id == id)
    }
}

/// A running local cluster.
#[derive(Debug)]
pub struct LocalCluster {
    options: LocalClusterOptions,
    // Before the directory: fields are dropped in order, and a process must not write where nothing is.
    data: Vec<LocalNode>,
    management: Vec<LocalNode>,
    directory: PathBuf,
    /// Deletes the directory if it is ours.
    _scratch: Option<TempDir>,
}

impl LocalCluster {
    /// Starts all processes and waits until each has printed its ready line. (A client may still have to wait until
    /// the data nodes have registered.)
    ///
    /// # Errors
    /// A process did not start or was not ready in time; the message has the end of its log, and everything that
    /// was started is killed.
    pub fn start(options: LocalClusterOptions) -> Result<Self, LocalClusterError> {
        if !matches!(options.management_nodes, 1 | 3) {
            let sentence = format!("{} management nodes; it can have 1 or 3", options.management_nodes);
            return Err(LocalClusterError::Options(sentence));
        }
        if options.data_nodes == 0 {
            return Err(LocalClusterError::Options("no data node".to_owned()));
        }
        let system = |what: &'static str| move |reason| LocalClusterError::System { what, reason };
        let (directory, scratch) = match &options.directory {
            Some(directory) => {
                std::fs::create_dir_all(directory)
                    .map_err(system("cannot create the cluster's directory"))?;
                (directory.clone(), None)
            }
            None => {
                let scratch = tempfile::Builder::new().prefix("duet-cluster-").tempdir();
                let scratch = scratch.map_err(system("cannot create a scratch directory"))?;
                (scratch.path().to_owned(), Some(scratch))
            }
        };
        let mut cluster =
            Self { options, data: Vec::new(), management: Vec::new(), directory, _scratch: scratch };
        cluster.start_management()?;
        cluster.start_data()?;
        Ok(cluster)
    }

    /// Addresses of the management nodes, as a client takes them.
    #[must_use]
    pub fn management_addresses(&self) -> Vec<SocketAddr> {
        self.management.iter().map(LocalNode::listen).collect()
    }

    /// The management nodes, by id.
    #[must_use]
    pub fn management(&self) -> &[LocalNode] {
        &self.management
    }

    /// The data nodes, by id.
    #[must_use]
    pub fn data_nodes(&self) -> &[LocalNode] {
        &self.data
    }

    /// The directory with the logs and the management nodes' state.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// All processes with their roles, for the accounting of CPU time; data nodes first.
    #[must_use]
    pub fn processes(&self) -> Vec<ServerProcess> {
        self.data
            .iter()
            .chain(&self.management)
            .map(|node| ServerProcess { role: node.name().to_owned(), process_id: node.process_id() })
            .collect()
    }

    /// A data node, to signal it.
    ///
    /// # Errors
    /// There is none with this id.
    pub fn data_node(&mut self, id: u32) -> Result<&mut LocalNode, LocalClusterError> {
        by_id(&mut self.data, Role::Data, id)
    }

    /// A management node, to signal it.
    ///
    /// # Errors
    /// There is none with this id.
    pub fn management_node(&mut self, id: u32) -> Result<&mut LocalNode, LocalClusterError> {
        by_id(&mut self.management, Role::Management, id)
    }

    /// Kills a data node (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// There is none with this id.
    pub fn kill_data_node(&mut self, id: u32) -> Result<(), LocalClusterError> {
        self.data_node(id).map(LocalNode::kill)
    }

    /// Kills a management node (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// There is none with this id.
    pub fn kill_management_node(&mut self, id: u32) -> Result<(), LocalClusterError> {
        self.management_node(id).map(LocalNode::kill)
    }

    /// Starts a data node again that was killed or has ended (a running one is killed first), on its old address.
    ///
    /// # Errors
    /// There is none with this id, or it did not become ready.
    pub fn restart_data_node(&mut self, id: u32) -> Result<(), LocalClusterError> {
        self.data_node(id)?.kill();
        let listen = self.data_node(id)?.listen();
        let node = self.launch_data(id, listen)?.ready(self.options.ready_within)?;
        *self.data_node(id)? = node;
        Ok(())
    }

    /// Starts a management node again that was killed or has ended (a running one is killed first), on its old address
    /// and with its old state.
    ///
    /// # Errors
    /// There is none with this id, or it did not become ready.
    pub fn restart_management_node(&mut self, id: u32) -> Result<(), LocalClusterError> {
        self.management_node(id)?.kill();
        let addresses = self.management_addresses();
        let node = self.launch_management(id, &addresses)?.ready(self.options.ready_within)?;
        *self.management_node(id)? = node;
        Ok(())
    }

    /// The first process that has ended although nobody killed it here, with how it ended and the end of its log.
    pub fn unexpected_end(&mut self) -> Option<String> {
        self.data.iter_mut().chain(&mut self.management).find_map(LocalNode::unexpected_end)
    }

    /// The data nodes that have ended although nobody killed them here.
    pub fn ended_data_nodes(&mut self) -> Vec<u32> {
        let ended = self.data.iter_mut().filter_map(|node| node.unexpected_end().map(|_| node.id()));
        ended.collect()
    }

    /// Asks all processes to end (SIGTERM), data nodes first, and kills those that have not after a few seconds.
    /// Returns the names of those that had to be killed or ended with an error.
    pub fn stop(mut self) -> Vec<String> {
        let deadline = Instant::now() + STOP_WITHIN;
        let nodes = self.data.iter_mut().chain(&mut self.management);
        let mut unclean = Vec::new();
        for node in nodes {
            if node.is_running() && !node.terminate(deadline.saturating_duration_since(Instant::now())) {
                unclean.push(node.name().to_owned());
            }
        }
        unclean
    }

    fn start_management(&mut self) -> Result<(), LocalClusterError> {
        let count = self.options.management_nodes as usize;
        let mut attempt = 1;
        loop {
            // A single node can take any port itself; three must know each other's before they start.
            let mut addresses = if count == 1 { vec![any_port()] } else { free_addresses(count)? };
            if let Some(listen) = self.options.management_listen {
                addresses[0] = listen;
            }
            for (id, address) in (1..).zip(&mut addresses) {
                if let Some(place) = self.options.place(Role::Management, id) {
                    *address = place.listen;
                }
            }
            let mut starts = Vec::new();
            for id in 1..=count as u32 {
                starts.push(self.launch_management(id, &addresses)?);
            }
            let ready: Result<Vec<LocalNode>, _> =
                starts.into_iter().map(|start| start.ready(self.options.ready_within)).collect();
            match ready {
                Ok(nodes) => {
                    self.management = nodes;
                    return Ok(());
                }
                Err(LocalClusterError::Process(ProcessError::Ended { ref log, .. }))
                    if count > 1 && attempt < PORT_ATTEMPTS && log.contains("in use") =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn start_data(&mut self) -> Result<(), LocalClusterError> {
        let mut starts = Vec::new();
        for id in 1..=self.options.data_nodes {
            let listen = self.options.place(Role::Data, id).map_or_else(any_port, |place| place.listen);
            starts.push(self.launch_data(id, listen)?);
        }
        for start in starts {
            self.data.push(start.ready(self.options.ready_within)?);
        }
        Ok(())
    }

    fn launch_management(&self, id: u32, addresses: &[SocketAddr]) -> Result<Start, LocalClusterError> {
        let options = &self.options;
        let state = self.directory.join(format!("mgmd-{id}"));
        let mut arguments = self.common_arguments(Role::Management, id, addresses[id as usize - 1]);
        arguments.extend(["--directory".into(), state.into_os_string()]);
        let mut pair = |name: &str, value: String| arguments.extend([name.into(), value.into()]);
        pair("--data-nodes", options.data_nodes.to_string());
        if let Some(replicas) = options.replicas {
            pair("--replicas", replicas.to_string());
        }
        if let Some(partitions) = options.partitions {
            pair("--partitions", partitions.to_string());
        }
        if let Some(lanes) = options.lanes {
            pair("--lanes", lanes.to_string());
        }
        if addresses.len() > 1 {
            let list =
                addresses.iter().enumerate().map(|(index, address)| format!("{}={address}", index + 1));
            pair("--management", list.collect::<Vec<_>>().join(","));
        }
        arguments.extend(options.management_arguments.iter().cloned());
        Start::launch(Role::Management, id, &arguments, options.management_cpus.as_ref(), &self.directory)
    }

    fn launch_data(&self, id: u32, listen: SocketAddr) -> Result<Start, LocalClusterError> {
        let options = &self.options;
        let mut arguments = self.common_arguments(Role::Data, id, listen);
        let management = self.management.iter().map(|node| node.listen().to_string());
        arguments.extend(["--management".into(), management.collect::<Vec<_>>().join(",").into()]);
        if let Some(bytes) = options.memory_bytes {
            arguments.extend(["--memory".into(), bytes.to_string().into()]);
        }
        if let Some(threads) = &options.threads {
            arguments.extend(["--threads".into(), threads.into()]);
        }
        if let Some(io) = &options.io {
            arguments.extend(["--io".into(), io.into()]);
        }
        if let Some(silence) = options.suspect_after {
            arguments.extend(["--suspect-after-ms".into(), silence.as_millis().to_string().into()]);
        }
        if let Some(address) = options.place(Role::Data, id).and_then(|place| place.advertise) {
            arguments.extend(["--advertise".into(), address.to_string().into()]);
        }
        arguments.extend(options.data_arguments.iter().cloned());
        Start::launch(Role::Data, id, &arguments, options.data_cpus.as_ref(), &self.directory)
    }

    fn common_arguments(&self, role: Role, id: u32, listen: SocketAddr) -> Vec<OsString> {
        let place = self.options.place(role, id);
        let mut arguments = place.map_or_else(Vec::new, |place| place.launcher.clone());
        arguments.extend([self.options.executable.clone().into(), role.command().into()]);
        let listen = listen.to_string();
        arguments
            .extend(["--node-id", &id.to_string(), "--listen", &listen, "--parent-pipe"].map(OsString::from));
        if self.options.metrics {
            arguments.extend(["--metrics", "127.0.0.1:0"].map(OsString::from));
        }
        arguments
    }
}

fn by_id(nodes: &mut [LocalNode], role: Role, id: u32) -> Result<&mut LocalNode, LocalClusterError> {
    let node = nodes.iter_mut().find(|node| node.id() == id);
    node.ok_or_else(|| LocalClusterError::NoSuchNode(format!("{} {id}", role.words())))
}

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// Different loopback addresses that were free a moment ago.
fn free_addresses(count: usize) -> Result<Vec<SocketAddr>, LocalClusterError> {
    let system = |reason| LocalClusterError::System { what: "no free port", reason };
    let listeners: Result<Vec<TcpListener>, _> = (0..count).map(|_| TcpListener::bind(any_port())).collect();
    listeners.map_err(system)?.iter().map(|listener| listener.local_addr().map_err(system)).collect()
}

#[cfg(test)]
mod tests;
