//! One process of a local cluster.

use super::LocalClusterError;
use crate::cpu::CpuList;
use crate::process::{ManagedProcess, ParentDeath, ProcessError};
use rustix::process::Signal;
use serde::Deserialize;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

/// What a process of a cluster does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A management node.
    Management,
    /// A data node.
    Data,
}

impl Role {
    /// The subcommand that runs it, also in its ready line.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Management => "mgmd",
            Self::Data => "datanode",
        }
    }

    /// In sentences.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Management => "management node",
            Self::Data => "data node",
        }
    }
}

/// The line that a process prints when it is ready.
#[derive(Deserialize)]
struct Ready {
    ready: String,
    node_id: u32,
    listen: SocketAddr,
    metrics: Option<SocketAddr>,
}

/// A process that was started and is not known to be ready.
pub(super) struct Start {
    role: Role,
    id: u32,
    process: ManagedProcess,
}

impl Start {
    pub(super) fn launch(
        role: Role,
        id: u32,
        arguments: &[OsString],
        cpus: Option<&CpuList>,
        directory: &Path,
    ) -> Result<Self, LocalClusterError> {
        let name = format!("{} {id}", role.words());
        let log = directory.join(format!("{}-{id}.log", role.command()));
        let process = ManagedProcess::start(&name, arguments, ParentDeath::Pipe, cpus, &log)?;
        Ok(Self { role, id, process })
    }

    pub(super) fn ready(mut self, within: Duration) -> Result<LocalNode, LocalClusterError> {
        let line = self.process.ready_line(within)?;
        let ready: Option<Ready> = serde_json::from_str(&line).ok();
        let expected = |ready: &Ready| ready.ready == self.role.command() && ready.node_id == self.id;
        let Some(ready) = ready.filter(expected) else {
            let name = self.process.name().to_owned();
            return Err(LocalClusterError::ReadyLine { name, line: line.trim().to_owned() });
        };
        Ok(LocalNode {
            role: self.role,
            id: self.id,
            listen: ready.listen,
            metrics: ready.metrics,
            process: self.process,
            killed: false,
        })
    }
}

/// A running (or ended) process of a local cluster.
#[derive(Debug)]
pub struct LocalNode {
    role: Role,
    id: u32,
    listen: SocketAddr,
    metrics: Option<SocketAddr>,
    process: ManagedProcess,
    /// Ended by us, so that its end is no surprise.
    killed: bool,
}

impl LocalNode {
    /// What it does.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its node id; ids of data nodes and of management nodes count from 1 each.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Role and id in words, such as `data node 1`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// Where it listens.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where it serves `/metrics`, if it does.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Its process id; of the last process if it has ended.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.process_id()
    }

    /// The file with its log.
    #[must_use]
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.exit_status().is_none()
    }

    /// Stops it (SIGSTOP) until [`LocalNode::resume`].
    ///
    /// # Errors
    /// It has ended.
    pub fn pause(&mut self) -> Result<(), ProcessError> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it go on after [`LocalNode::pause`].
    ///
    /// # Errors
    /// It has ended.
    pub fn resume(&mut self) -> Result<(), ProcessError> {
        self.process.signal(Signal::CONT)
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        self.killed = true;
        self.process.kill();
    }

    /// Kills it (SIGKILL) without waiting, so that several can be killed in the same instant; [`LocalNode::kill`] waits.
    ///
    /// # Errors
    /// It has ended.
    pub fn strike(&mut self) -> Result<(), ProcessError> {
        self.killed = true;
        self.process.signal(Signal::KILL)
    }

    /// Waits until it has ended by itself or was killed: how, with the end of its log; `None` if it has not in time.
    pub fn wait(&mut self, within: Duration) -> Option<(ExitStatus, String)> {
        let status = self.process.wait(within)?;
        Some((status, self.process.log_tail()))
    }

    /// Asks it to end (SIGTERM), and kills it after the time; whether it ended by itself and without an error.
    pub fn terminate(&mut self, within: Duration) -> bool {
        self.killed = true;
        self.process.terminate(within).is_some_and(|status| status.success())
    }

    /// How it ended and the end of its log, if it has ended by itself.
    pub(super) fn unexpected_end(&mut self) -> Option<String> {
        if self.killed {
            return None;
        }
        let status = self.process.exit_status()?;
        Some(format!("{} has ended ({status}){}", self.name(), self.process.log_tail()))
    }
}
