//! Processes of peers.

use super::{memcached, resp};
use crate::connection::{Endpoint, Links};
use crate::cpu::CpuList;
use crate::process::{ManagedProcess, ParentDeath};
use crate::target::{KeyTarget, KeyWorker, ServerProcess, load_with_worker};
use crate::workload::Workload;
use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

const READY_WITHIN: Duration = Duration::from_secs(20);
/// Another process may take a free port before the peer does; then another one is tried.
const PORT_ATTEMPTS: usize = 5;

/// A store that can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PeerKind {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
    /// memcached.
    Memcached,
}

impl PeerKind {
    /// Name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
            Self::Memcached => "memcached",
        }
    }

    /// The executable, looked up in the search path.
    #[must_use]
    pub fn executable(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
            Self::Memcached => "memcached",
        }
    }

    /// How to get it.
    fn remedy(self) -> &'static str {
        match self {
            Self::Redis => "install the package redis-server (apt-get install redis-server)",
            Self::Valkey => {
                "install the package valkey-server (apt-get install valkey-server; \
                 Debian has it from release 13, Ubuntu from 24.10)"
            }
            Self::Memcached => "install the package memcached (apt-get install memcached)",
        }
    }

    /// An error that names the package if the executable is not in the search path.
    ///
    /// # Errors
    /// It is not.
    pub fn require(self) -> Result<()> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if std::env::split_paths(&path).any(|directory| directory.join(self.executable()).is_file()) {
            return Ok(());
        }
        bail!(
            "the peer {} needs `{}`, which is not in the search path: {}",
            self.name(),
            self.executable(),
            self.remedy()
        );
    }

    /// The command that listens on a loopback port or, if a path is given, in the Unix domain.
    fn arguments(
        self,
        port: u16,
        socket: Option<&Path>,
        workload: &Workload,
        threads: usize,
        directory: &Path,
    ) -> Vec<String> {
        let port = port.to_string();
        let socket = socket.map(|path| path.display().to_string());
        let text = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
        match self {
            Self::Redis | Self::Valkey => {
                let mut arguments = text(&[self.executable(), "--bind", "127.0.0.1", "--port", &port]);
                arguments.extend(text(&["--save", "", "--appendonly", "no", "--daemonize", "no"]));
                arguments.extend(text(&["--dir", &directory.display().to_string()]));
                arguments.extend(socket.iter().flat_map(|path| text(&["--unixsocket", path])));
                arguments
            }
            Self::Memcached => {
                // An item takes its value, key, header and slab rounding; generous, so that nothing is evicted.
                let bytes = workload.rows * (2 * workload.shape.value_bytes() as u64 + 200);
                let mebibytes = (128 + (bytes >> 20)).to_string();
                let mut arguments = match &socket {
                    Some(path) => text(&[self.executable(), "-s", path]),
                    None => text(&[self.executable(), "-l", "127.0.0.1", "-p", &port, "-U", "0"]),
                };
                arguments.extend(text(&["-m", &mebibytes, "-t", &threads.to_string()]));
                if rustix::process::geteuid().is_root() {
                    arguments.extend(text(&["-u", "root"]));
                }
                arguments
            }
        }
    }

    fn identity(self, endpoint: &Endpoint) -> Result<(u32, String)> {
        match self {
            Self::Redis | Self::Valkey => resp::identity(endpoint),
            Self::Memcached => memcached::identity(endpoint),
        }
    }
}

/// A running peer; it ends when dropped, and with the thread that started it.
#[derive(Debug)]
pub struct PeerTarget {
    kind: PeerKind,
    version: String,
    process: ManagedProcess,
    endpoint: Endpoint,
}

impl PeerTarget {
    /// Starts a peer on a free loopback port and on `cpus`, with memory for `workload`. Call it on a thread
    /// that outlives the peer.
    ///
    /// # Errors
    /// The executable is missing, does not start, or does not answer.
    pub fn start(
        kind: PeerKind,
        workload: &Workload,
        cpus: Option<&CpuList>,
        directory: &Path,
        links: Links,
    ) -> Result<Self> {
        kind.require()?;
        let threads = cpus.map_or(1, |cpus| cpus.cpus().len());
        let log = directory.join(format!("{}.log", kind.name()));
        let mut attempt = 1;
        loop {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
            let address = free.local_addr().context("no free port")?;
            drop(free);
            let socket = directory.join(format!("{}-{}.socket", kind.name(), address.port()));
            let socket = (links == Links::Unix).then_some(socket);
            let arguments = kind.arguments(address.port(), socket.as_deref(), workload, threads, directory);
            let endpoint = socket.map_or(Endpoint::Tcp(address), Endpoint::Unix);
            let mut process =
                ManagedProcess::start(kind.name(), &arguments, ParentDeath::KernelSignal, cpus, &log)?;
            let process_id = process.process_id();
            let mut version = None;
            let ready = process.ready_when(READY_WITHIN, || match kind.identity(&endpoint) {
                // Whoever else has taken the port is not the process that was started.
                Ok((answering, found)) if answering == process_id => {
                    version = Some(found);
                    true
                }
                Ok(_) | Err(_) => false,
            });
            match (ready, version) {
                (Ok(()), Some(version)) => return Ok(Self { kind, version, process, endpoint }),
                (Err(_), _) if attempt < PORT_ATTEMPTS && process.exit_status().is_some() => attempt += 1,
                (Err(error), _) => return Err(error.into()),
                (Ok(()), None) => bail!("{} does not tell its version", kind.name()),
            }
        }
    }
}

impl KeyTarget for PeerTarget {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn server_processes(&self) -> Vec<ServerProcess> {
        vec![ServerProcess { role: self.kind.name().to_owned(), process_id: self.process.process_id() }]
    }

    fn load(&mut self, workload: &Workload, progress: &mut dyn FnMut(u64)) -> Result<()> {
        load_with_worker(self, workload, progress)
    }

    fn worker(&self, workload: &Workload, _batch: usize) -> Result<Box<dyn KeyWorker>> {
        let value_bytes = workload.shape.value_bytes();
        Ok(match self.kind {
            PeerKind::Redis | PeerKind::Valkey => {
                Box::new(resp::RespWorker::open(&self.endpoint, value_bytes)?)
            }
            PeerKind::Memcached => Box::new(memcached::MemcachedWorker::open(&self.endpoint, value_bytes)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{Length, Plan, drive};
    use crate::target::ResultBuffers;
    use crate::workload::{Distribution, KeyChooser, Operation, OperationKind, ValueShape};

    fn workload() -> Workload {
        Workload {
            rows: 3_000,
            shape: ValueShape { columns: 5, column_bytes: 20 },
            distribution: Distribution::Uniform,
            mix: "read=60,update=40".parse().unwrap(),
            seed: 1,
        }
    }

    /// Runs where the peer is installed; elsewhere its absence must be explained.
    fn verified_run(kind: PeerKind) {
        verified_run_over(kind, Links::Tcp);
        verified_run_over(kind, Links::Unix);
    }

    fn verified_run_over(kind: PeerKind, links: Links) {
        let directory = tempfile::tempdir().unwrap();
        let workload = workload();
        let started = PeerTarget::start(kind, &workload, None, directory.path(), links);
        if kind.require().is_err() {
            let message = started.expect_err("it is not installed").to_string();
            assert!(message.contains(&format!("install the package {}", kind.executable())), "{message}");
            return;
        }
        let mut target = started.unwrap();
        let process_id = target.process.process_id();
        target.load(&workload, &mut |_| {}).unwrap();
        let plan = Plan {
            threads: 2,
            batch: 100,
            callers: 0,
            rate: None,
            whole_batches: false,
            length: Length::Operations(20_000),
            warm_up: Duration::ZERO,
            verify: true,
        };
        let chooser = KeyChooser::new(workload.distribution, workload.rows);
        let measurement = drive(&target, &workload, chooser, &plan, &mut |_| {}).unwrap();
        assert_eq!(measurement.answers.first_complaint, None);
        assert_eq!(measurement.answers.good, 20_000);

        let batch: Vec<Operation> = [1, 99_999, 2, 99_998]
            .map(|key| Operation { kind: OperationKind::Read, key, generation: 0 })
            .to_vec();
        let mut buffers = ResultBuffers::new(100, true);
        let mut results = buffers.start(&batch);
        target.worker(&workload, 10).unwrap().execute(&batch, &mut results).unwrap();
        results.finish();
        let counts = buffers.take_counts();
        assert_eq!((counts.good, counts.missing, counts.bad()), (2, 2, 2));
        drop(target);
        assert!(!Path::new(&format!("/proc/{process_id}")).exists());
    }

    #[test]
    fn redis_answers_a_verified_mixed_run() {
        verified_run(PeerKind::Redis);
    }

    #[test]
    fn valkey_answers_a_verified_mixed_run() {
        verified_run(PeerKind::Valkey);
    }

    #[test]
    fn memcached_answers_a_verified_mixed_run() {
        verified_run(PeerKind::Memcached);
    }
}
