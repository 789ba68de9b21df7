//! The threads of data nodes as the system sees them: names, CPUs, processor time and system calls.

use crate::cluster::{Cluster, Process, wait_for};
use crate::tasks::Task;
use crate::threads::FOUR_STAGES;
use crate::wire::{Wire, read, row, write};
use duet_protocol::signal::Sections;
use duet_protocol::signal::read_reply::ReadReply;
use duet_protocol::signal::write::OPERATION_UPSERT;
use duet_protocol::signal::write_reply::WriteReply;
use duet_runtime::parse_cpu_list;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _};
use std::process::{Command, Stdio};

/// Threads of [`FOUR_STAGES`], in order.
const THREADS: [&str; 5] = ["recv-0", "tc-0", "ldm-0", "ldm-1", "send-0"];
/// Rows that are written and read: some in every partition.
const ROWS: i64 = 200;

/// CPUs that this process may use, and its children unless they pin themselves.
fn usable_cpus() -> String {
    let folder = std::fs::canonicalize("/proc/thread-self").expect("this thread");
    Task::read(&folder).expect("alive").cpus
}

fn with_table(node_arguments: &[&str]) -> (Cluster, u32) {
    let mut cluster = Cluster::start_with(1, node_arguments);
    let (code, table) = cluster.leader().create_table("accounts", 1);
    assert_eq!(code, 0);
    (cluster, table)
}

/// Writes every row and reads it, each at a node chosen by its number, so that every stage of every node has work.
fn load(cluster: &Cluster, table: u32) {
    let mut wires: Vec<Wire> = cluster.nodes.iter().map(|node| Wire::client(&node.listen)).collect();
    let session = wires[0].open_session();
    for id in 0..ROWS {
        let (key, value) = row(id, id, "a note");
        let wire = &mut wires[id as usize % cluster.nodes.len()];
        let body = write(table, OPERATION_UPSERT, session, id as u64 + 1);
        assert_eq!(wire.ask(&body, Sections::two(&key, &value)).body::<WriteReply>().code.get(), 0);
        let answer = wire.ask(&read(table), Sections::one(&key));
        assert_eq!((answer.body::<ReadReply>().code.get(), answer.view().section(0)), (0, &value[..]));
    }
}

/// The threads of all stages, by name.
fn stages(node: &Process, names: &[&str]) -> BTreeMap<String, Task> {
    let tasks = node.tasks().into_iter().filter(|task| names.contains(&task.name.as_str()));
    let found: BTreeMap<String, Task> = tasks.map(|task| (task.name.clone(), task)).collect();
    assert!(names.iter().all(|name| found.contains_key(*name)), "{found:?}");
    found
}

/// Without `cpus=` threads are pinned only where each has a CPU of its own, which the log says; CPUs that are named are dealt in turn.
#[test]
fn every_stage_has_its_thread_and_cpus_and_works_under_load() {
    let usable = usable_cpus();
    let cpus = parse_cpu_list(&usable).expect("a list");
    let few: Vec<String> = cpus.iter().take(2).map(ToString::to_string).collect();
    let pinned = format!("{FOUR_STAGES},cpus={}", few.join(","));
    for (plan, named) in [(FOUR_STAGES, None), (pinned.as_str(), Some(few))] {
        let (cluster, table) = with_table(&["--threads", plan]);
        let nodes = || cluster.nodes.iter().map(|node| stages(node, &THREADS));
        let before: Vec<BTreeMap<String, Task>> = nodes().collect();
        load(&cluster, table);
        for ((before, after), node) in before.iter().zip(nodes()).zip(&cluster.nodes) {
            for (index, name) in THREADS.iter().enumerate() {
                let (before, after) = (&before[*name], &after[*name]);
                let allowed = match &named {
                    Some(named) => named[index % named.len()].clone(),
                    None if cpus.len() < THREADS.len() => usable.clone(),
                    // A control group may allow less than the mask.
                    None if node.log().contains(&format!("{name} not pinned")) => usable.clone(),
                    None => cpus[index].to_string(),
                };
                assert_eq!((&before.cpus, &after.cpus), (&allowed, &allowed), "{plan}: {name}");
                assert_eq!(before.id, after.id, "{plan}: {name} is the same thread");
                assert!(after.ran_nanoseconds > before.ran_nanoseconds, "{plan}: {before:?} {after:?}");
                assert!(after.turns > before.turns, "{plan}: {before:?} {after:?}");
            }
        }
    }
}

/// A program that forbids a system call, by its number, to itself and what it becomes. For Python, as the workspace has no unsafe code here.
const FORBID: &str = r"
import ctypes, os, struct, sys
statements = [(0x20, 0, 0, 0), (0x15, 0, 1, int(sys.argv[1])), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *statement) for statement in statements))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(statements), ctypes.addressof(code)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
";

#[test]
fn a_node_that_may_not_pin_its_threads_serves_and_warns() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3 to forbid a system call with");
        return;
    }
    let usable = usable_cpus();
    let cpu = parse_cpu_list(&usable).expect("a list")[0].to_string();
    for (plan, threads) in [("batch", &["duet-batch"][..]), (FOUR_STAGES, &THREADS)] {
        let (mut cluster, table) = with_table(&["--threads", plan]);
        cluster.nodes[1].kill();
        let forbidden = nix::libc::SYS_sched_setaffinity.to_string();
        let arguments = [&cluster.node_arguments("2")[..], &["--threads", plan, "--cpus", &cpu]].concat();
        let node = Process::start_by(&["python3", "-c", FORBID, &forbidden], &arguments);
        cluster.nodes[1] = node;
        cluster.wait_for_full_members();
        load(&cluster, table);
        let node = &cluster.nodes[1];
        for name in threads {
            let refused =
                format!("the system refused to pin the thread; it goes on unpinned thread=\"{name}\"");
            node.wait_until_it_says(&refused);
        }
        assert!(stages(node, threads).values().all(|task| task.cpus == usable), "{plan}");
        assert!(!node.log().contains("thread pinned"), "{}", node.log());
    }
}

/// System calls of some threads while work was done, with how often each was made; `None` where strace cannot watch.
fn calls_during(
    threads: &BTreeMap<String, Task>,
    pid: u32,
    work: impl FnOnce(),
) -> Option<BTreeMap<String, u64>> {
    let mut command = Command::new("strace");
    command.args(["-c", "-U", "calls,name"]);
    for task in threads.values() {
        command.args(["-p", &task.id.to_string()]);
    }
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let Ok(mut strace) = command.spawn() else {
        eprintln!("skipped: strace is not installed");
        return None;
    };
    let mut says = BufReader::new(strace.stderr.take().expect("piped"));
    for _ in threads {
        let mut line = String::new();
        says.read_line(&mut line).expect("readable");
        if !line.contains("attached") {
            eprintln!("skipped: strace may not watch a process: {line}");
            let _ = strace.kill();
            strace.wait().expect("ended");
            return None;
        }
    }
    // It says so a little early.
    wait_for("strace to watch", || {
        let watched = |task: &Task| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/task/{}/status", task.id));
            !status.expect("alive").contains("TracerPid:\t0\n")
        };
        threads.values().all(watched).then_some(())
    });
    work();
    let ended = Command::new("kill").args(["-INT", &strace.id().to_string()]).status();
    assert!(ended.expect("kill exists").success());
    let mut table = String::new();
    says.read_to_string(&mut table).expect("text");
    strace.wait().expect("ended");
    let rows = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse::<u64>().ok()?, words.next()?.to_owned()))
    });
    let calls: BTreeMap<String, u64> = rows.map(|(calls, name)| (name, calls)).collect();
    assert!(!calls.is_empty(), "{table}");
    Some(calls)
}

/// Rings bring what the links receive and what there is to wait for; without them the same threads make the calls that are looked for.
#[test]
fn links_on_io_uring_make_no_calls_to_receive_or_wait() {
    if let Some(why) = duet_runtime::uring_refusal() {
        eprintln!("skipped: this system refuses io_uring ({why})");
        return;
    }
    for (plan, threads) in [("batch", &["duet-batch"][..]), (FOUR_STAGES, &THREADS)] {
        for io in ["epoll", "uring"] {
            let (cluster, table) = with_table(&["--threads", plan, "--io", io]);
            let node = &cluster.nodes[0];
            let calls = calls_during(&stages(node, threads), node.child.id(), || load(&cluster, table));
            let Some(calls) = calls else { return };
            let made = |name: &str| calls.contains_key(name);
            assert_eq!(made("io_uring_enter"), io == "uring", "{plan}: {calls:?}");
            for name in ["recvfrom", "epoll_wait"] {
                assert_eq!(made(name), io == "epoll", "{plan}: {calls:?}");
            }
            for name in ["recvmsg", "recvmmsg", "epoll_pwait", "epoll_pwait2", "poll", "ppoll"] {
                assert!(!made(name), "{plan}: {calls:?}");
            }
        }
    }
}
