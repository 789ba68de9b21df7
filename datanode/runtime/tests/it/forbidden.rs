//! What a node does where the system refuses io_uring. The tests forbid it for real, in a child process: this executable again,
//! with one of the ignored tests below.

use super::epoll::echo::{Behaviour, EchoNode, exchange, frame, wait};
use super::epoll::strangers;
use duet_runtime::{Limits, LinkIo, Listener, RuntimeError, uring_refusal};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Answers `io_uring_setup` with EPERM from now on, as container runtimes do.
fn forbid_io_uring() -> std::io::Result<()> {
    forbid(libc::SYS_io_uring_setup)
}

/// Answers a system call with EPERM from now on, in all threads of the process.
fn forbid(system_call: libc::c_long) -> std::io::Result<()> {
    let statement = |code: u32, k: u32, jump_true: u8, jump_false: u8| libc::sock_filter {
        code: code as u16,
        jt: jump_true,
        jf: jump_false,
        k,
    };
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let filter = [
        // The number of the system call is the first field of what a filter sees.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, system_call as u32, 0, 1),
        statement(libc::BPF_RET | libc::BPF_K, refuse, 0, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: both calls read nothing but their arguments; `program` describes `filter`, which the second one copies.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_TSYNC,
                &raw const program,
            ) != 0
    };
    if refused { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// Allows no memory to be locked, which is what io_uring takes for its rings on older systems.
fn forbid_locked_memory() -> std::io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is a valid rlimit that the call only reads.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const none) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Runs an ignored test of this file in a child process for which `forbid` was called.
fn run(test: &str, forbid: fn() -> std::io::Result<()>) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &format!("forbidden::{test}"), "--ignored", "--nocapture"]);
    // SAFETY: `forbid` only makes system calls, which is allowed between fork and exec.
    unsafe { child.pre_exec(forbid) };
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{output:?}");
}

/// Whether this process has a ring.
fn has_ring() -> bool {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    let mut names = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    names.any(|name| name.to_string_lossy().contains("io_uring"))
}

fn start(io: LinkIo) -> Result<EchoNode, RuntimeError> {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), true).unwrap();
    EchoNode::try_start(io, listener, Behaviour::default(), Limits::new(8))
}

fn serve(io: LinkIo) {
    let node = start(io).unwrap();
    exchange(&mut node.connect(), &frame(80, 1));
    assert_eq!(has_ring(), io == LinkIo::Uring);
}

#[test]
fn a_choice_is_made_where_io_uring_is_forbidden() {
    run("child_serves_without", forbid_io_uring);
}

#[test]
#[ignore = "for a child process in which io_uring is forbidden"]
fn child_serves_without() {
    assert!(uring_refusal().unwrap().contains("Operation not permitted"), "the filter works");
    serve(LinkIo::UringOrEpoll);
    serve(LinkIo::Automatic);
}

#[test]
fn a_demand_for_io_uring_is_refused_with_a_sentence() {
    run("child_refuses", forbid_io_uring);
}

#[test]
#[ignore = "for a child process in which io_uring is forbidden"]
fn child_refuses() {
    let started = start(LinkIo::Uring);
    let Err(RuntimeError::Start(sentence)) = started.map(|_| ()) else { panic!("it must not start") };
    assert!(sentence.contains("refuses io_uring") && sentence.contains("--io uring,epoll"), "{sentence}");
}

#[test]
fn a_ring_that_fails_half_way_ends_the_node_with_a_sentence() {
    if uring_refusal().is_none() {
        run("child_ends", || Ok(()));
    }
}

#[test]
#[ignore = "for a child process that forbids io_uring to itself"]
fn child_ends() {
    let node = start(LinkIo::Uring).unwrap();
    let mut stream = node.connect();
    exchange(&mut stream, &frame(80, 1));
    forbid(libc::SYS_io_uring_enter).unwrap();
    let error = node.thread.join().unwrap_err().to_string();
    assert!(error.contains("Operation not permitted"), "{error}");
}

#[test]
fn a_ring_that_fails_half_way_ends_all_threads_with_one_sentence() {
    if uring_refusal().is_none() {
        run("child_ends_all_threads", || Ok(()));
    }
}

#[test]
#[ignore = "for a child process that forbids io_uring to itself"]
fn child_ends_all_threads() {
    let stages: Vec<String> = strangers::four_stages().into_iter().map(|thread| thread.name).collect();
    let alive = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| stages.iter().any(|stage| stage == name.trim())).count()
    };
    let (address, pipeline) = strangers::pipeline(LinkIo::Uring, Limits::new(8));
    assert_eq!(alive(), stages.len());
    let _client = strangers::client(address);
    forbid(libc::SYS_io_uring_enter).unwrap();
    let error = pipeline.join().unwrap_err().to_string();
    assert!(error.contains("Operation not permitted") && error.lines().count() == 1, "{error}");
    // The system lists a thread for a moment after it was joined.
    wait("the end of all threads", || alive() == 0);
}

#[test]
fn a_limit_of_locked_memory_does_not_keep_a_node_from_serving() {
    run("child_serves_with_little", forbid_locked_memory);
}

#[test]
#[ignore = "for a child process that may lock no memory"]
fn child_serves_with_little() {
    serve(if uring_refusal().is_none() { LinkIo::Uring } else { LinkIo::UringOrEpoll });
}
