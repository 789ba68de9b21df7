//! MariaDB servers with directories of their own: one alone, or a semi-synchronous pair.

use super::tool::SqlAddress;
use crate::process::{ManagedProcess, ParentDeath};
use crate::target::ServerProcess;
use anyhow::{Context, Result, bail, ensure};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a replica may take to apply what it has received.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(180);
const PORT_ATTEMPTS: usize = 5;
const USER: &str = "bench";
const DATABASE: &str = "sbtest";

/// Options of every server. Rows stay in memory, the log is written to the operating system at a commit and not forced to the disk, so that
/// what is acknowledged survives the death of the process, as a row of Duet survives that of one of its nodes.
const COMMON: &[&str] = &[
    "--skip-name-resolve",
    "--bind-address=127.0.0.1",
    "--innodb-buffer-pool-size=1G",
    "--innodb-log-file-size=1G",
    "--innodb-log-buffer-size=64M",
    "--skip-innodb-doublewrite",
    "--innodb-max-dirty-pages-pct=90",
    "--performance-schema=off",
    "--max-connections=300",
    "--back-log=300",
    "--transaction-isolation=READ-COMMITTED",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_nopad_bin",
];
const ALONE: &[&str] = &["--skip-log-bin"];
const PRIMARY: &[&str] = &[
    "--server-id=1",
    "--log-bin=log",
    "--binlog-format=ROW",
    "--sync-binlog=0",
    "--rpl-semi-sync-master-enabled=ON",
    "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
    "--rpl-semi-sync-master-timeout=30000",
];
const REPLICA: &[&str] = &[
    "--server-id=2",
    "--skip-log-bin",
    "--rpl-semi-sync-slave-enabled=ON",
    "--slave-parallel-threads=2",
    "--slave-parallel-mode=optimistic",
    "--read-only=ON",
];

/// A program of the package, wherever the system keeps servers.
fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("there is no `{name}`: install MariaDB (apt-get install mariadb-server)"))
}

/// One server.
struct Server {
    process: ManagedProcess,
    address: SocketAddr,
    socket: PathBuf,
}

impl Server {
    fn start(name: &str, options: &[&str], flush: u8, directory: &Path) -> Result<Self> {
        let server = program("mariadbd")?;
        let directory = directory.join(name.replace(' ', "-"));
        let data = directory.join("data");
        std::fs::create_dir_all(&directory).context("cannot create a directory")?;
        let root = rustix::process::geteuid().is_root();
        let done = Command::new(program("mariadb-install-db")?)
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(root.then_some("--user=root"))
            .arg(format!("--datadir={}", data.display()))
            .stdin(Stdio::null())
            .output()
            .context("cannot start mariadb-install-db")?;
        ensure!(
            done.status.success(),
            "mariadb-install-db failed: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        let socket = directory.join("socket");
        let log = directory.join("log");
        let mut attempt = 1;
        loop {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
            let address = free.local_addr().context("no free port")?;
            drop(free);
            let mut arguments = vec![server.display().to_string(), "--no-defaults".to_owned()];
            arguments.extend(root.then(|| "--user=root".to_owned()));
            arguments.extend(COMMON.iter().chain(options).map(|option| (*option).to_owned()));
            arguments.push(format!("--innodb-flush-log-at-trx-commit={flush}"));
            arguments.push(format!("--datadir={}", data.display()));
            arguments.push(format!("--socket={}", socket.display()));
            arguments.push(format!("--pid-file={}", directory.join("pid").display()));
            arguments.push(format!("--port={}", address.port()));
            let process = ManagedProcess::start(name, &arguments, ParentDeath::KernelSignal, None, &log)?;
            let mut started = Self { process, address, socket: socket.clone() };
            let ask = |socket: &Path| ask_through(socket, "SELECT 1").is_ok();
            match started.process.ready_when(READY_WITHIN, || ask(&socket)) {
                Ok(()) => return Ok(started),
                Err(_) if attempt < PORT_ATTEMPTS && started.process.exit_status().is_some() => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Executes statements; the answer without headings, columns separated by tabs.
    fn ask(&self, sql: &str) -> Result<String> {
        ask_through(&self.socket, sql).with_context(|| format!("{}: {sql}", self.process.name()))
    }
}

fn ask_through(socket: &Path, sql: &str) -> Result<String> {
    let asked = Command::new(program("mariadb")?)
        .args(["--no-defaults", "-u", "root", "-N", "-B", "-e", sql])
        .arg(format!("--socket={}", socket.display()))
        .stdin(Stdio::null())
        .output()
        .context("cannot start the client of MariaDB")?;
    if !asked.status.success() {
        bail!("{}", String::from_utf8_lossy(&asked.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&asked.stdout).trim().to_owned())
}

/// One server, or a pair.
pub(super) struct MariaDb {
    /// Its version as it tells it.
    pub(super) version: String,
    primary: Server,
    replica: Option<Server>,
}

impl MariaDb {
    /// The options of such servers, for the record.
    pub(super) fn settings(pair: bool, flush: u8) -> String {
        let flush = format!("--innodb-flush-log-at-trx-commit={flush}");
        let mut parts: Vec<&str> = COMMON.to_vec();
        parts.push(&flush);
        match pair {
            false => parts.extend(ALONE),
            true => {
                parts.push("; primary:");
                parts.extend(PRIMARY);
                parts.push("; replica:");
                parts.extend(REPLICA);
            }
        }
        parts.join(" ").replace(" ;", ";")
    }

    /// Starts a server, or a pair, and creates the database.
    pub(super) fn start(pair: bool, flush: u8, directory: &Path) -> Result<Self> {
        let (name, options) = if pair { ("mariadb primary", PRIMARY) } else { ("mariadb", ALONE) };
        let primary = Server::start(name, options, flush, directory)?;
        let replica =
            pair.then(|| Server::start("mariadb replica", REPLICA, flush, directory)).transpose()?;
        if let Some(replica) = &replica {
            // Before anything is created, so that the replica gets all of it.
            let port = primary.address.port();
            primary
                .ask(&format!("CREATE USER {USER}@'127.0.0.1'; GRANT ALL ON *.* TO {USER}@'127.0.0.1'"))?;
            replica.ask(&format!(
                "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='{USER}', \
                 MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1; START SLAVE"
            ))?;
            let deadline = Instant::now() + READY_WITHIN;
            while primary.ask("SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'")?.split('\t').nth(1)
                != Some("1")
            {
                ensure!(Instant::now() < deadline, "the replica does not come: {}", replica.state()?);
                std::thread::sleep(Duration::from_millis(50));
            }
        } else {
            primary
                .ask(&format!("CREATE USER {USER}@'127.0.0.1'; GRANT ALL ON *.* TO {USER}@'127.0.0.1'"))?;
        }
        primary.ask(&format!("CREATE DATABASE {DATABASE}"))?;
        let version = primary.ask("SELECT VERSION()")?;
        Ok(Self { version, primary, replica })
    }

    /// Where sysbench finds it.
    pub(super) fn address(&self) -> SqlAddress {
        SqlAddress { address: self.primary.address, user: USER, database: DATABASE }
    }

    /// Its processes, for the accounting of CPU time.
    pub(super) fn processes(&self) -> Vec<ServerProcess> {
        let servers = std::iter::once(&self.primary).chain(&self.replica);
        servers
            .map(|server| ServerProcess {
                role: server.process.name().to_owned(),
                process_id: server.process.process_id(),
            })
            .collect()
    }

    /// Waits until a replica has applied everything, so that it does nothing beside the next case; and fails where it was not
    /// semi-synchronous all the time.
    pub(super) fn settle(&self) -> Result<()> {
        let Some(replica) = &self.replica else { return Ok(()) };
        let position = self.primary.ask("SELECT @@gtid_binlog_pos")?;
        let seconds = CATCH_UP_WITHIN.as_secs();
        let reached = replica.ask(&format!("SELECT MASTER_GTID_WAIT('{position}', {seconds})"))?;
        ensure!(reached == "0", "the replica does not catch up: {}", replica.state()?);
        let status = self.primary.ask("SHOW STATUS LIKE 'Rpl_semi_sync_master_no_tx'")?;
        let asynchronous = status.split('\t').nth(1).unwrap_or_default();
        // The first statements, which let the replica in, came before it.
        ensure!(
            asynchronous.parse::<u64>().is_ok_and(|count| count <= 8),
            "{asynchronous} commits did not wait for the replica"
        );
        Ok(())
    }
}

impl Server {
    /// Why a replica does not go on.
    fn state(&self) -> Result<String> {
        self.ask("SHOW SLAVE STATUS")
    }
}
