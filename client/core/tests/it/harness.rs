//! A client core and a fake cluster joined by queues of frames, in virtual time.

use crate::fake::{FakeCluster, Process};
use duet_client_core::{
    Batch, ClientConfiguration, ClientCore, CloseReason, Command, JobId, JobResult, LinkId, Nanoseconds,
    Table, Target,
};
use duet_protocol::frame::announced_length;
use duet_protocol::schema::{ColumnType, TableDefinition};
use std::collections::VecDeque;
use std::sync::Arc;

pub const MILLISECOND: Nanoseconds = 1_000_000;

pub struct Link {
    pub id: LinkId,
    pub process: Process,
    pub greeted: bool,
    pub to_server: VecDeque<Vec<u8>>,
    pub to_client: VecDeque<Vec<u8>>,
}

pub struct Harness {
    pub core: ClientCore,
    pub cluster: FakeCluster,
    pub now: Nanoseconds,
    pub links: Vec<Link>,
    pub unreachable: Vec<Process>,
    /// They take what is sent to them, and answer nothing.
    pub stopped: Vec<Process>,
    pub completed: VecDeque<Box<Batch>>,
    pub finished: Vec<(JobId, Result<JobResult, duet_client_core::Error>)>,
    next_slot: u32,
}

pub fn process_of(address: &str) -> Process {
    let (kind, number) = address.split_once('-').expect("kind-number");
    let number = number.parse().expect("number");
    if kind == "node" { Process::Node(number) } else { Process::Management(number) }
}

pub fn address(process: Process) -> String {
    match process {
        Process::Node(node) => format!("node-{node}"),
        Process::Management(node) => format!("management-{node}"),
    }
}

pub fn counters() -> TableDefinition {
    TableDefinition::builder("test", "counters")
        .required("id", ColumnType::BigInt)
        .required("count", ColumnType::BigInt)
        .primary_key(["id"])
        .build()
        .expect("valid")
}

impl Harness {
    pub fn new(configure: impl FnOnce(&mut ClientConfiguration)) -> Harness {
        Harness::with(FakeCluster::new(2, 3, address), configure)
    }

    pub fn with(mut cluster: FakeCluster, configure: impl FnOnce(&mut ClientConfiguration)) -> Harness {
        cluster.add_table(counters());
        let mut configuration = ClientConfiguration::new(vec!["management-1".to_owned()], [7; 16], 42);
        configure(&mut configuration);
        let now = 1_000 * MILLISECOND;
        Harness {
            core: ClientCore::new(configuration, now),
            cluster,
            now,
            links: Vec::new(),
            unreachable: Vec::new(),
            stopped: Vec::new(),
            completed: VecDeque::new(),
            finished: Vec::new(),
            next_slot: 0,
        }
    }

    /// A client that knows the map.
    pub fn connected() -> Harness {
        let mut harness = Harness::new(|_| {});
        harness.connect();
        harness
    }

    pub fn connect(&mut self) {
        let job = self.core.refresh(self.now, 0);
        self.run_until(|harness| !harness.finished.is_empty());
        assert_eq!(self.finished.remove(0), (job, Ok(JobResult::Refreshed)));
    }

    pub fn table(&self) -> Arc<Table> {
        self.core.table("test", "counters").expect("open")
    }

    /// Hands out bytes and commands of the core.
    pub fn collect(&mut self) {
        self.core.flush(self.now);
        let links = &mut self.links;
        self.core.drain_output(|link, bytes| {
            let link = links.iter_mut().find(|known| known.id == link).expect("an open link");
            let mut rest = bytes;
            while let Some(length) = announced_length(rest, 1 << 20).expect("valid") {
                let (frame, tail) = rest.split_at(length);
                link.to_server.push_back(frame.to_vec());
                rest = tail;
            }
            assert!(rest.is_empty());
        });
        while let Some(command) = self.core.next_command() {
            match command {
                Command::Connect { target, address } => self.open(target, process_of(&address)),
                Command::Close { link } => self.links.retain(|known| known.id != link),
            }
        }
        while let Some(batch) = self.core.next_completed() {
            self.completed.push_back(batch);
        }
        while let Some(job) = self.core.next_finished_job() {
            self.finished.push(job);
        }
    }

    fn open(&mut self, target: Target, process: Process) {
        if self.unreachable.contains(&process) {
            return self.core.connect_failed(self.now, target);
        }
        self.next_slot += 1;
        let id = LinkId { slot: self.next_slot % 8, generation: self.next_slot };
        let link =
            Link { id, process, greeted: false, to_server: VecDeque::new(), to_client: VecDeque::new() };
        self.links.push(link);
        self.core.link_connected(self.now, id, target);
    }

    /// Lets the server of a link take one frame.
    pub fn serve(&mut self, index: usize) {
        let link = &mut self.links[index];
        let Some(frame) = link.to_server.pop_front() else { return };
        if self.stopped.contains(&link.process) {
            return;
        }
        let mut answers = Vec::new();
        let open = self.cluster.frame(link.process, &mut link.greeted, &frame, &mut answers);
        let mut rest = &answers[..];
        while let Some(length) = announced_length(rest, usize::MAX).expect("valid") {
            link.to_client.push_back(rest[..length].to_vec());
            rest = &rest[length..];
        }
        if !open {
            while !self.links[index].to_client.is_empty() {
                self.hear(index);
            }
        }
    }

    /// Lets the client hear one frame of a link.
    pub fn hear(&mut self, index: usize) {
        let link = &mut self.links[index];
        let Some(frame) = link.to_client.pop_front() else { return };
        assert!(frame.len() <= self.core.frame_limit(link.id), "the client accepts what nodes send");
        self.core.frame(self.now, link.id, &frame);
    }

    /// Breaks a link; what is on its way in either direction is lost.
    pub fn cut(&mut self, index: usize) {
        let link = self.links.remove(index);
        self.core.link_closed(self.now, link.id, CloseReason::ByPeer);
    }

    /// Delivers everything that is on its way, then lets a millisecond pass.
    pub fn step(&mut self) {
        self.collect();
        for _ in 0..64 {
            for index in 0..self.links.len() {
                while self.links.get(index).is_some_and(|link| !link.to_server.is_empty()) {
                    self.serve(index);
                }
            }
            for index in 0..self.links.len() {
                while self.links.get(index).is_some_and(|link| !link.to_client.is_empty()) {
                    self.hear(index);
                }
            }
            self.collect();
            if self.links.iter().all(|link| link.to_server.is_empty()) {
                break;
            }
        }
        self.now += MILLISECOND;
        self.core.tick(self.now);
        self.collect();
    }

    /// Steps until the condition holds; 20 seconds of virtual time are the limit.
    pub fn run_until(&mut self, condition: impl Fn(&Harness) -> bool) {
        for _ in 0..20_000 {
            if condition(self) {
                return;
            }
            self.step();
        }
        panic!("the condition never held; {:?}", self.core.counters());
    }

    /// Submits a batch and waits for it.
    pub fn run(&mut self, batch: Batch) -> Box<Batch> {
        self.core.submit(self.now, Box::new(batch));
        self.run_until(|harness| !harness.completed.is_empty());
        self.completed.pop_front().expect("waited for")
    }
}
