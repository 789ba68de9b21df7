//! A cluster of processes that ends with the test.

use crate::tasks::Task;
use crate::wire::{Wire, read};
use duet_protocol::record::ClusterState;
use duet_protocol::signal::Sections;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for anything that should happen soon.
const PATIENCE: Duration = Duration::from_secs(30);

/// Silence that data nodes bear: tests run beside others, on machines whose processors are taken away at times. Those of
/// `network.rs` bear what data nodes bear by themselves.
const SUSPECT_AFTER_MS: &str = "3000";

/// Waits for a condition.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "timed out: {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A child that is killed when it is dropped.
pub struct Process {
    pub child: Child,
    pub listen: String,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `duet` with these arguments and waits for its ready line.
    pub fn start(arguments: &[&str]) -> Process {
        Process::started(command(arguments), arguments)
    }

    fn started(mut command: Command, arguments: &[&str]) -> Process {
        let mut child = command.spawn().expect("the binary exists");
        let output = child.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("readable");
        if line.is_empty() {
            let mut error = String::new();
            let _ = child.stderr.take().expect("piped").read_to_string(&mut error);
            panic!("duet {arguments:?} did not start: {error}");
        }
        let ready: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
        let stderr = child.stderr.take().expect("piped");
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        // Keeps the pipe of the logs empty.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = written.lock().expect("no panic");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Process { child, listen: ready["listen"].as_str().expect("an address").to_owned(), log }
    }

    /// Waits until it has written this to its log.
    pub fn wait_until_it_says(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < until, "{text:?} is not in the log: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    /// Starts `duet` under limits that a shell sets, such as `ulimit -l 0`.
    pub fn start_under(limits: &str, arguments: &[&str]) -> Process {
        Process::started(under(limits, arguments), arguments)
    }

    /// Sends a signal by name. After `STOP` it waits until every thread stands still: a thread that runs on another
    /// processor when the signal is sent goes on for a moment.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill exists").success());
        let deadline = Instant::now() + Duration::from_secs(30);
        while name == "STOP" && !self.stands_still() {
            assert!(Instant::now() < deadline, "the process does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn stands_still(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("alive");
        tasks.flatten().all(|task| {
            // "id (name) state …": the name may hold anything.
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        })
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        self.child.kill().expect("alive");
        self.child.wait().expect("ended");
    }

    /// Starts `duet` by another program, which gets its path and these arguments after its own.
    pub fn start_by(program: &[&str], arguments: &[&str]) -> Process {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(env!("CARGO_BIN_EXE_duet")).args(arguments);
        Process::started(piped(command), arguments)
    }

    /// Its threads that live now.
    pub fn tasks(&self) -> Vec<Task> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("alive");
        tasks.flatten().filter_map(|task| Task::read(&task.path()).ok()).collect()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).expect("alive");
        text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * 4096
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
    command.args(arguments);
    piped(command)
}

fn piped(mut command: Command) -> Command {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("DUET_SUSPECT_AFTER_MS", SUSPECT_AFTER_MS);
    command
}

fn under(limits: &str, arguments: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{limits} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_duet")])
        .args(arguments);
    piped(shell)
}

/// Runs `duet` to its end under limits that a shell sets.
pub fn run_to_end_under(limits: &str, arguments: &[&str]) -> (Option<i32>, String) {
    ended(under(limits, arguments))
}

/// Runs `duet` to its end: exit code and what it wrote to standard error.
pub fn run_to_end(arguments: &[&str]) -> (Option<i32>, String) {
    ended(command(arguments))
}

fn ended(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.spawn().expect("the binary exists");
    let status = wait_for("the process to end", || child.try_wait().expect("waitable"));
    let mut error = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut error).expect("text");
    (status.code(), error)
}

/// Copies the log of a management node that does not run.
pub fn copy_directory(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).expect("writable");
    for entry in std::fs::read_dir(from).expect("readable").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

/// Management nodes and data nodes.
pub struct Cluster {
    pub management: Vec<Process>,
    pub nodes: Vec<Process>,
    pub management_addresses: String,
    management_arguments: Vec<Vec<String>>,
    memory: &'static str,
    directory: TempDir,
    /// Logs of data nodes that were replaced.
    ended_logs: String,
}

impl Cluster {
    /// Starts a cluster of two data nodes and waits until it serves.
    pub fn start(management: usize) -> Cluster {
        Cluster::start_with(management, &[])
    }

    /// The same with further arguments of the data nodes.
    pub fn start_with(management: usize, node_arguments: &[&str]) -> Cluster {
        Cluster::start_whole(management, 2, "256MiB", node_arguments)
    }

    /// Starts a cluster of node groups of two data nodes each, which keep small tables.
    pub fn start_groups(management: usize, groups: usize) -> Cluster {
        Cluster::start_whole(management, 2 * groups, "64MiB", &[])
    }

    fn start_whole(
        management: usize,
        data_nodes: usize,
        memory: &'static str,
        node_arguments: &[&str],
    ) -> Cluster {
        let directory = tempfile::tempdir().expect("a directory");
        let ports: Vec<String> = (0..management).map(|_| free_address()).collect();
        let peers: Vec<String> =
            ports.iter().enumerate().map(|(index, port)| format!("{}={port}", index + 1)).collect();
        let arguments: Vec<Vec<String>> = (1..=management)
            .map(|id| {
                let path = directory.path().join(format!("m{id}"));
                std::fs::create_dir_all(&path).expect("writable");
                let (id, data_nodes) = (id.to_string(), data_nodes.to_string());
                let port = &ports[id.parse::<usize>().expect("a number") - 1];
                let mut arguments: Vec<String> =
                    ["mgmd", "--node-id", &id, "--listen", port, "--data-nodes", &data_nodes]
                        .iter()
                        .map(ToString::to_string)
                        .collect();
                arguments.extend(["--directory".to_owned(), path.display().to_string()]);
                if management > 1 {
                    arguments.extend(["--management".to_owned(), peers.join(",")]);
                }
                arguments
            })
            .collect();
        let management: Vec<Process> = arguments.iter().map(|arguments| start(arguments)).collect();
        let mut cluster = Cluster {
            management,
            nodes: Vec::new(),
            management_addresses: ports.join(","),
            management_arguments: arguments,
            memory,
            directory,
            ended_logs: String::new(),
        };
        for id in 1..=data_nodes {
            let id = id.to_string();
            let mut arguments = cluster.node_arguments(&id);
            arguments.extend(node_arguments);
            let node = Process::start(&arguments);
            cluster.nodes.push(node);
        }
        cluster.state();
        for node in &cluster.nodes {
            // Whatever is refused for good is told only under a lease.
            let mut wire = Wire::client(&node.listen);
            wire.ask(&read(u32::MAX), Sections::one(&[0; 8]));
        }
        cluster
    }

    /// Command line of a data node.
    pub fn node_arguments<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        vec!["datanode", "--node-id", id, "--management", &self.management_addresses, "--memory", self.memory]
    }

    /// Starts a new process for a data node that has ended.
    pub fn restart_node(&mut self, index: usize) {
        let id = (index + 1).to_string();
        let arguments: Vec<String> = self.node_arguments(&id).into_iter().map(str::to_owned).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = std::mem::replace(&mut self.nodes[index], Process::start(&arguments));
        self.ended_logs.push_str(&ended.log());
    }

    /// Whether the machine has let a data node stand still for so long that leases may have run out.
    pub fn has_paused(&self) -> bool {
        let logs = self.nodes.iter().map(Process::log).chain([self.ended_logs.clone()]);
        logs.into_iter().any(|log| log.contains("this node has not run for"))
    }

    /// Waits until the processes that run now are full members.
    pub fn wait_for_full_members(&self) {
        let wanted: Vec<&str> = self.nodes.iter().map(|node| node.listen.as_str()).collect();
        wait_for("full members", || {
            let state = self.state();
            let full = |address: &&str| {
                state.nodes.iter().filter(|node| node.address == **address).any(|node| {
                    let is_full = |member: &duet_protocol::record::Member| {
                        member.instance() == node.instance()
                            && member.state == duet_protocol::record::MemberState::Full
                    };
                    state.view.members().any(is_full)
                })
            };
            wanted.iter().all(full).then_some(())
        });
    }

    /// Directory of a management node.
    pub fn management_directory(&self, index: usize) -> PathBuf {
        self.directory.path().join(format!("m{}", index + 1))
    }

    /// Starts one more management node, which joins.
    pub fn start_joiner(&mut self, node: u32, listen: &str, join: &str) -> Process {
        let path = self.directory.path().join(format!("m{node}"));
        std::fs::create_dir_all(&path).expect("writable");
        let (node, path) = (node.to_string(), path.display().to_string());
        Process::start(&[
            "mgmd",
            "--node-id",
            &node,
            "--listen",
            listen,
            "--directory",
            &path,
            "--join",
            join,
        ])
    }

    /// The command line of a management node.
    pub fn management_arguments(&self, index: usize) -> Vec<&str> {
        self.management_arguments[index].iter().map(String::as_str).collect()
    }

    /// Starts a management node again in its directory.
    pub fn restart_management(&mut self, index: usize) {
        self.management[index] = start(&self.management_arguments[index]);
    }

    /// The state once every data node serves it.
    pub fn state(&self) -> ClusterState {
        let wait = |node: &Process| {
            wait_for("the cluster to form", || {
                Wire::client(&node.listen).state().filter(|state| state.view.number > 0)
            })
        };
        let mut states: Vec<ClusterState> = self.nodes.iter().map(wait).collect();
        states.pop().expect("data nodes")
    }

    /// Index of the leading management node.
    pub fn leading(&mut self) -> usize {
        let address = self.leader().stream.peer_addr().expect("connected").to_string();
        self.management.iter().position(|process| process.listen == address).expect("one of them")
    }

    /// A connection to the leading management node.
    pub fn leader(&mut self) -> Wire {
        let management = &mut self.management;
        wait_for("a leading management node", || {
            let alive = management.iter_mut().filter_map(|process| match process.child.try_wait() {
                Ok(None) => Some(process.listen.clone()),
                _ => None,
            });
            for address in alive {
                let mut wire = Wire::client(&address);
                // Dropping what does not exist changes nothing, and only the leader knows that it does not.
                let code = wire.drop_table("nothing", rand_byte());
                if code == duet_protocol::error::ErrorCode::TableNotFound as u16 {
                    return Some(wire);
                }
            }
            None
        })
    }

    /// Index of the data node that leads the partition of a key.
    pub fn leader_of(&self, state: &ClusterState, key: &[u8]) -> usize {
        let partition = state.partition_of(crate::wire::layout().partition_hash(key)).expect("formed");
        state.view.partitions[usize::from(partition)].replicas[0] as usize - 1
    }
}

fn rand_byte() -> u8 {
    let nanoseconds = Instant::now().elapsed().as_nanos() as u8;
    nanoseconds ^ std::process::id() as u8 | 0x80
}

fn start(arguments: &[String]) -> Process {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Process::start(&arguments)
}

/// An address with a port that is free and stays so: the system gives no ports of this range to others, neither to who
/// binds port 0 nor to who connects.
pub fn free_address() -> String {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    loop {
        let port = 10_000
            + (std::process::id() as u16)
                .wrapping_mul(97)
                .wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed))
                % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}
