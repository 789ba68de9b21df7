//! The Duet cluster with its gateway.

use super::tool::SqlAddress;
use crate::local_cluster::{LocalCluster, LocalClusterOptions};
use crate::process::{ManagedProcess, ParentDeath};
use crate::target::ServerProcess;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const READY_WITHIN: Duration = Duration::from_secs(60);
const USER: &str = "root";
/// The database that always exists.
const DATABASE: &str = "default";
pub(super) const DATA_NODES: u32 = 2;
pub(super) const REPLICAS: u32 = 2;

/// A running cluster with a gateway.
pub(super) struct DuetSql {
    gateway: ManagedProcess,
    address: SocketAddr,
    cluster: LocalCluster,
}

#[derive(Deserialize)]
struct Ready {
    listen: SocketAddr,
}

/// The executable of the gateway, which lies beside that of everything else.
pub(super) fn gateway_executable(executable: &Path) -> Result<PathBuf> {
    let path = executable.with_file_name("duet-gateway");
    ensure!(
        path.is_file(),
        "{} does not exist; `cargo build --release --workspace --bins` builds it",
        path.display()
    );
    Ok(path)
}

impl DuetSql {
    /// Starts all processes.
    pub(super) fn start(executable: PathBuf, threads: Option<usize>, memory_bytes: u64) -> Result<Self> {
        let gateway = gateway_executable(&executable)?;
        let mut options = LocalClusterOptions::new(executable);
        options.data_nodes = DATA_NODES;
        options.replicas = Some(REPLICAS);
        options.memory_bytes = Some(memory_bytes);
        let cluster = LocalCluster::start(options).context("cannot start a Duet cluster")?;
        let management: Vec<String> =
            cluster.management_addresses().iter().map(ToString::to_string).collect();
        let mut arguments: Vec<OsString> = vec![gateway.into()];
        let connect = management.join(",");
        arguments
            .extend(["--connect", &connect, "--listen", "127.0.0.1:0", "--parent-pipe"].map(OsString::from));
        if let Some(threads) = threads {
            arguments.extend(["--threads".into(), threads.to_string().into()]);
        }
        let log = cluster.directory().join("gateway.log");
        let mut gateway = ManagedProcess::start("gateway", &arguments, ParentDeath::Pipe, None, &log)?;
        let line = gateway.ready_line(READY_WITHIN)?;
        let ready: Ready = serde_json::from_str(&line)
            .with_context(|| format!("the gateway's ready line is '{}'", line.trim()))?;
        Ok(Self { gateway, address: ready.listen, cluster })
    }

    /// Where sysbench finds it.
    pub(super) fn address(&self) -> SqlAddress {
        SqlAddress { address: self.address, user: USER, database: DATABASE }
    }

    /// Its processes, for the accounting of CPU time.
    pub(super) fn processes(&self) -> Vec<ServerProcess> {
        let mut processes = self.cluster.processes();
        processes.push(ServerProcess { role: "gateway".to_owned(), process_id: self.gateway.process_id() });
        processes
    }

    /// Fails if a process has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.gateway.exit_status() {
            bail!("the gateway has ended ({status}){}", self.gateway.log_tail());
        }
        match self.cluster.unexpected_end() {
            Some(sentence) => bail!(sentence),
            None => Ok(()),
        }
    }
}
