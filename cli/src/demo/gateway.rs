//! The demo's SQL gateway, where its executable lies beside this one.

use crate::output::{program, say};
use crate::shell::DEFAULT_PORT as MYSQL_PORT;
use anyhow::{Context, Result};
use duet_bench::local_cluster::LocalCluster;
use duet_bench::process::{ManagedProcess, ParentDeath};
use serde_json::Value;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the gateway may take until it listens.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// A query worth running: which airlines are late, over all flights of the year.
const QUERY: &str = "SELECT carrier, COUNT(*) AS flights, AVG(arr_delay) AS minutes_late FROM flights \
                     GROUP BY carrier ORDER BY minutes_late DESC LIMIT 5";

/// A gateway that ends with this value.
pub struct Gateway {
    process: ManagedProcess,
    address: SocketAddr,
    executable: PathBuf,
    management: String,
}

impl Gateway {
    /// Starts a gateway for a cluster, at the usual port where that is free and not any will do; `None` when there is no executable.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn start(cluster: &LocalCluster, management: &str, any_port: bool) -> Result<Option<Gateway>> {
        let Some(executable) = executable() else {
            say(format_args!(
                "no SQL: duet-gateway is not in the folder of this program; `cargo build --release -p duet-gateway` builds it"
            ))?;
            return Ok(None);
        };
        let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, MYSQL_PORT));
        let port = if !any_port && TcpListener::bind(usual).is_ok() { MYSQL_PORT } else { 0 };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = cluster.directory().join("gateway.log");
        let (process, address) = launch(&executable, management, listen, &log)?;
        Ok(Some(Gateway { process, address, executable, management: management.to_owned() }))
    }

    /// How it ended and the end of its log, if it has.
    pub fn unexpected_end(&mut self) -> Option<String> {
        let status = self.process.exit_status()?;
        Some(format!("the SQL gateway has ended ({status}){}", self.process.log_tail()))
    }

    /// Starts it again at its old address.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn restart(&mut self) -> Result<()> {
        let log = self.process.log().to_owned();
        (self.process, self.address) = launch(&self.executable, &self.management, self.address, &log)?;
        Ok(())
    }

    /// Its port on this machine.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Lines for a terminal: how to ask a question in SQL.
    pub fn commands(&self, database: &str) -> String {
        let (program, port) = (program(), self.address.port());
        let where_to = match port {
            MYSQL_PORT => String::new(),
            port => format!(" --gateway 127.0.0.1:{port}"),
        };
        format!(
            "\x20 {program} shell {database}{where_to} -e \"{QUERY}\"\n\
             \x20 mysql --protocol=tcp -h 127.0.0.1 -P {port} -u root {database}\n"
        )
    }
}

/// Starts a gateway and waits until it listens; where it does.
fn launch(
    executable: &Path,
    management: &str,
    listen: SocketAddr,
    log: &Path,
) -> Result<(ManagedProcess, SocketAddr)> {
    let mut arguments: Vec<OsString> = vec![executable.into()];
    let listen = listen.to_string();
    arguments.extend(["--connect", management, "--listen", &listen, "--parent-pipe"].map(OsString::from));
    let mut process = ManagedProcess::start("the SQL gateway", &arguments, ParentDeath::Pipe, None, log)?;
    let line = process.ready_line(READY_WITHIN)?;
    let address = serde_json::from_str::<Value>(&line)
        .ok()
        .and_then(|ready| ready["listen"].as_str().and_then(|address| address.parse().ok()))
        .with_context(|| format!("the SQL gateway printed '{}'", line.trim()))?;
    Ok((process, address))
}

/// The executable beside this one.
fn executable() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.parent()?.join("duet-gateway");
    path.is_file().then_some(path)
}
