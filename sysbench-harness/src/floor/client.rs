//! The yardstick server as a target.

use super::wire::{GET, MISSING, OK, PUT, REPLY_BYTES, REQUEST_BYTES, Reply, Request, padded};
use crate::connection::{Connection, Endpoint, Links};
use crate::cpu::CpuList;
use crate::process::{ManagedProcess, ParentDeath};
use crate::target::{BatchResults, KeyTarget, KeyWorker, ServerProcess, load_with_worker};
use crate::workload::{Operation, OperationKind, Workload, write_value};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

/// How long the server may take to clear its memory.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running yardstick server; it ends when dropped.
#[derive(Debug)]
pub struct FloorTarget {
    process: Option<ManagedProcess>,
    endpoint: Endpoint,
    echo: SocketAddr,
}

#[derive(Deserialize)]
struct Ready {
    listen: Option<SocketAddr>,
    echo: SocketAddr,
}

impl FloorTarget {
    /// Starts `command` (a program and its first arguments, to which the table's size is appended) on `cpus`.
    ///
    /// # Errors
    /// It did not start or did not become ready.
    pub fn start(
        command: &[OsString],
        workload: &Workload,
        cpus: Option<&CpuList>,
        directory: &Path,
        links: Links,
    ) -> Result<Self> {
        let mut arguments = command.to_vec();
        arguments.extend(["--rows", &workload.rows.to_string()].map(OsString::from));
        arguments.extend(["--value-bytes", &workload.shape.value_bytes().to_string()].map(OsString::from));
        arguments.push("--parent-pipe".into());
        let socket = directory.join("floor.socket");
        if links == Links::Unix {
            arguments.extend(["--unix".into(), socket.clone().into()]);
        }
        let log = directory.join("floor.log");
        let mut process =
            ManagedProcess::start("the yardstick server", &arguments, ParentDeath::Pipe, cpus, &log)?;
        let line = process.ready_line(READY_WITHIN)?;
        let ready: Ready =
            serde_json::from_str(&line).with_context(|| format!("not a ready line: {line}"))?;
        let endpoint = ready.listen.map_or(Endpoint::Unix(socket), Endpoint::Tcp);
        Ok(Self { process: Some(process), endpoint, echo: ready.echo })
    }

    /// Where the server sends back what it gets, for [`super::measure_echo`].
    #[must_use]
    pub fn echo_address(&self) -> SocketAddr {
        self.echo
    }
}

impl KeyTarget for FloorTarget {
    fn name(&self) -> &str {
        "floor"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn server_processes(&self) -> Vec<ServerProcess> {
        let process = self.process.iter();
        process
            .map(|process| ServerProcess { role: "floor".to_owned(), process_id: process.process_id() })
            .collect()
    }

    fn load(&mut self, workload: &Workload, progress: &mut dyn FnMut(u64)) -> Result<()> {
        load_with_worker(self, workload, progress)
    }

    fn worker(&self, workload: &Workload, batch: usize) -> Result<Box<dyn KeyWorker>> {
        let value_bytes = workload.shape.value_bytes();
        let output = Vec::with_capacity(batch * (REQUEST_BYTES + padded(value_bytes)));
        Ok(Box::new(FloorWorker { connection: Connection::open(&self.endpoint)?, output, value_bytes }))
    }
}

struct FloorWorker {
    connection: Connection,
    output: Vec<u8>,
    value_bytes: usize,
}

impl KeyWorker for FloorWorker {
    fn execute(&mut self, batch: &[Operation], results: &mut BatchResults<'_>) -> Result<()> {
        self.output.clear();
        for (index, operation) in batch.iter().enumerate() {
            self.append(index, operation);
        }
        self.connection.send(&self.output)?;
        let mut answered = 0;
        while answered < batch.len() {
            self.connection.receive()?;
            let mut consumed = 0;
            let received = self.connection.received();
            while let Ok((reply, rest)) = Reply::ref_from_prefix(&received[consumed..]) {
                let value_bytes = reply.value_bytes.get() as usize;
                ensure!(value_bytes <= self.value_bytes, "a reply announces {value_bytes} bytes");
                if rest.len() < padded(value_bytes) {
                    break;
                }
                let index = reply.request_id.get() as usize;
                let operation = batch.get(index).context("a reply to nothing that was asked")?;
                match (reply.status.get(), operation.kind) {
                    (OK, OperationKind::Read) => results.value(index, &rest[..value_bytes]),
                    (OK, OperationKind::Update) => results.updated(index),
                    (MISSING, _) => results.missing(index),
                    (status, _) => results.refused(index, &format_args!("refused with status {status}")),
                }
                answered += 1;
                consumed += REPLY_BYTES + padded(value_bytes);
            }
            self.connection.consume(consumed);
        }
        Ok(())
    }
}

impl FloorWorker {
    fn append(&mut self, index: usize, operation: &Operation) {
        let (kind, value_bytes) = match operation.kind {
            OperationKind::Read => (GET, 0),
            OperationKind::Update => (PUT, self.value_bytes),
        };
        let head = Request {
            kind: U32::new(kind),
            value_bytes: U32::new(value_bytes as u32),
            request_id: U64::new(index as u64),
            key: U64::new(operation.key),
            reserved: [U64::ZERO; 5],
        };
        self.output.extend_from_slice(head.as_bytes());
        if operation.kind == OperationKind::Update {
            let start = self.output.len();
            self.output.resize(start + padded(value_bytes), 0);
            write_value(operation.key, operation.generation, &mut self.output[start..start + value_bytes]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::Server;
    use super::super::store::Store;
    use super::*;
    use crate::driver::{Length, Plan, drive};
    use crate::workload::{Distribution, KeyChooser, ValueShape};

    fn workload() -> Workload {
        Workload {
            rows: 5_000,
            shape: ValueShape { columns: 5, column_bytes: 20 },
            distribution: Distribution::Uniform,
            mix: "read=70,update=30".parse().unwrap(),
            seed: 1,
        }
    }

    #[test]
    fn every_reply_of_a_mixed_run_is_verified() {
        let directory = tempfile::tempdir().unwrap();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        for endpoint in [Endpoint::Tcp(loopback), Endpoint::Unix(directory.path().join("floor.socket"))] {
            let server = Server::bind(&endpoint, Store::new(5_000, 100).unwrap()).unwrap();
            let endpoint = server.address().unwrap().map_or(endpoint, Endpoint::Tcp);
            std::thread::spawn(move || server.run());
            verified_run(FloorTarget { process: None, endpoint, echo: loopback });
        }
    }

    fn verified_run(mut target: FloorTarget) {
        let workload = workload();
        let mut loaded = 0;
        target.load(&workload, &mut |rows| loaded = rows).unwrap();
        assert_eq!(loaded, 5_000);
        let plan = Plan {
            threads: 3,
            batch: 500,
            callers: 0,
            rate: None,
            whole_batches: false,
            length: Length::Operations(60_000),
            warm_up: Duration::ZERO,
            verify: true,
        };
        let chooser = KeyChooser::new(workload.distribution, workload.rows);
        let measurement = drive(&target, &workload, chooser, &plan, &mut |_| {}).unwrap();
        assert_eq!(measurement.answers.first_complaint, None);
        assert_eq!(measurement.answers.good, 60_000);
        assert!(measurement.answers.verified > 40_000);
    }
}
