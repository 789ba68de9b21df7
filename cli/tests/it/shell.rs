//! `duet shell` before a gateway: at a terminal, and with files and pipes.

use duet_bench::local_cluster::{LocalCluster, LocalClusterOptions};
use duet_bench::process::{ManagedProcess, ParentDeath};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a condition may take; far more than it does.
const PATIENCE: Duration = Duration::from_secs(120);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `duet shell` before a gateway, with this on its standard input.
fn shell(gateway: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
    command.args(["shell", "--gateway", gateway]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("duet runs");
    // It may end before it reads.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("collected")
}

/// A cluster with a gateway.
struct Served {
    gateway: Option<ManagedProcess>,
    address: String,
    cluster: LocalCluster,
}

impl Served {
    /// `None` when there is no gateway to start.
    fn start() -> Option<Served> {
        let mut options = LocalClusterOptions::new(env!("CARGO_BIN_EXE_duet"));
        options.memory_bytes = Some(128 << 20);
        let executable = Path::new(env!("CARGO_BIN_EXE_duet")).with_file_name("duet-gateway");
        if !executable.is_file() {
            eprintln!("skipped: duet-gateway is not beside duet");
            return None;
        }
        let cluster = LocalCluster::start(options).expect("a cluster");
        let mut served = Served { gateway: None, address: "127.0.0.1:0".to_owned(), cluster };
        served.start_gateway();
        let deadline = Instant::now() + PATIENCE;
        while !shell(&served.address, &["-e", "SHOW DATABASES"], "").status.success() {
            assert!(Instant::now() < deadline, "the cluster does not form");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(served)
    }

    /// Starts the gateway, where it listened before.
    fn start_gateway(&mut self) {
        let executable = Path::new(env!("CARGO_BIN_EXE_duet")).with_file_name("duet-gateway");
        let executable = executable.to_str().expect("UTF-8");
        let management = self.cluster.management()[0].listen().to_string();
        let arguments = [executable, "--connect", &management, "--listen", &self.address, "--parent-pipe"];
        let log = self.cluster.directory().join("gateway.log");
        let mut process =
            ManagedProcess::start("the gateway", &arguments, ParentDeath::Pipe, None, &log).expect("started");
        let ready = process.ready_line(PATIENCE).expect("ready");
        let ready: serde_json::Value = serde_json::from_str(&ready).expect("JSON");
        self.address = ready["listen"].as_str().expect("an address").to_owned();
        self.gateway = Some(process);
    }

    /// A file in the cluster's directory.
    fn write_file(&self, name: &str, content: &str) -> String {
        let path = self.cluster.directory().join(name);
        std::fs::write(&path, content).expect("writable");
        path.to_str().expect("UTF-8").to_owned()
    }
}

/// A shell at a pseudo terminal.
struct Terminal {
    child: Child,
    keys: File,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn open(served: &Served) -> Terminal {
        let pair = nix::pty::openpty(None, None).expect("a pseudo terminal");
        let slave = || Stdio::from(pair.slave.try_clone().expect("a descriptor"));
        let child = Command::new(env!("CARGO_BIN_EXE_duet"))
            .args(["shell", "--gateway", &served.address])
            .env("TERM", "xterm")
            .env("HOME", served.cluster.directory())
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .expect("duet runs");
        drop(pair.slave);
        let keys = File::from(pair.master);
        let mut screen = keys.try_clone().expect("a descriptor");
        let shown = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Ends with an error when the shell has left.
            while let Ok(length @ 1..) = screen.read(&mut bytes) {
                sink.lock().expect("no panic").push_str(&text(&bytes[..length]));
            }
        });
        let terminal = Terminal { child, keys, shown };
        terminal.wait_for(&["duet> "]);
        terminal
    }

    fn type_in(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the shell reads");
    }

    /// Waits until all of this has been shown, in this order.
    fn wait_for(&self, wanted: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.shown.lock().expect("no panic").clone();
            let found = wanted
                .iter()
                .try_fold(shown.as_str(), |rest, part| rest.split_once(part).map(|(_, after)| after));
            if found.is_some() {
                return;
            }
            assert!(Instant::now() < deadline, "{wanted:?} is not all in\n{shown}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_line_that_is_typed_is_executed() {
    let Some(mut served) = Served::start() else { return };
    let mut terminal = Terminal::open(&served);
    // Several lines that arrive in one read, without the marks of a paste; then those of a paste.
    terminal.type_in("SELECT 1000+1;\nSELECT 1000+2; SELECT 1000+3;\nSELECT\n\t1000+\n4;\n");
    terminal.wait_for(&["1001", "1002", "1003", "1004"]);
    terminal.type_in("\x1b[200~SELECT 1000+5;\nSELECT 1000\t+6;\n\x1b[201~\n");
    terminal.wait_for(&["1005", "1006"]);
    // What is typed while a statement runs: the file has no lines until we write them.
    let fifo = served.cluster.directory().join("lines");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a named pipe");
    terminal.type_in(&format!("source {}\nSELECT 2000+2;\n", fifo.display()));
    let mut lines = File::options().write(true).open(&fifo).expect("the shell reads it");
    terminal.type_in("SELECT 2000+3;\nSELECT 2000+4;\n");
    lines.write_all(b"SELECT 2000+1;\n").expect("the shell reads it");
    drop(lines);
    terminal.wait_for(&["2001", "2002", "2003", "2004"]);
    // An error is shown, and what follows is executed.
    terminal
        .type_in("SELEC 1;\n\\z\nSELECT 2000 \\c SELECT 3000+\\p1;\nstatus\nuse nowhere\nuse default\n;\n");
    terminal.wait_for(&[
        "ERROR 1064 (42000): ",
        "ERROR: Unknown command '\\z'",
        "SELECT 3000+\r\n-----",
        "3001",
        "Connection id:",
        "Current user:",
        "root@",
        &served.address,
        "ERROR 1049 (42000): Unknown database 'nowhere'",
        "Database changed",
        "ERROR: No query specified",
    ]);

    // The loss of the gateway is told, nothing is sent twice, and another one is found.
    served.gateway = None;
    terminal.type_in("SELECT 4000+1;\n");
    terminal.wait_for(&["ERROR 2006 (HY000): ", "The session is lost", "ERROR 2003 (HY000): Can't connect"]);
    served.start_gateway();
    terminal.type_in("SELECT 4000+2, DATABASE();\n");
    terminal.wait_for(&["ERROR 2003", "Current database: default", "4002", "default"]);
    assert!(!terminal.shown.lock().expect("no panic").contains("4001"));
    terminal.type_in("\\q\n");
    terminal.wait_for(&["Bye"]);
    assert!(terminal.child.wait().expect("collected").success());
}

#[test]
fn files_and_pipes_end_at_the_first_error_and_stay_readable_for_programs() {
    let Some(mut served) = Served::start() else { return };
    let run = |arguments: &[&str], input: &str| {
        let output = shell(&served.address, arguments, input);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, output, _) = run(&["-e", "SELECT 'a\nb\tc\\\\' AS `d\ne\tf`; -- the end"], "");
    assert_eq!((code, output.as_str()), (Some(0), "d\\ne\\tf\na\\nb\\tc\\\\\n"));
    let good =
        served.write_file("good.sql", "-- which one\nuse default\nSELECT DATABASE() AS d;\nquit\nSELECT 1;");
    let bad = served.write_file("bad.sql", "SELECT 3 AS a;\n\nSELEC\n4;\nSELECT 5;");
    let (code, output, errors) = run(&[], &format!("source {good}\n\\. {bad}\nSELECT 6;\n"));
    assert_eq!((code, output.as_str()), (Some(1), "d\ndefault\na\n3\n"), "{errors}");
    assert!(errors.contains(&format!("ERROR 1064 (42000) at line 3 in file: '{bad}': ")), "{errors}");
    let (code, _, errors) = run(&["-e", "SELECT 1;\n\\z"], "");
    assert_eq!(code, Some(1));
    assert!(errors.contains("ERROR at line 2: Unknown command '\\z'"), "{errors}");
    let (code, _, errors) = run(&["-e", "tee /tmp"], "");
    assert_eq!(code, Some(1));
    assert!(errors.contains("Unknown command 'tee'"), "{errors}");
    let (_, _, errors) = run(&["-e", "source no-such-file"], "");
    assert!(errors.contains("ERROR at line 1: Failed to open file 'no-such-file'"), "{errors}");
    let itself = served.cluster.directory().join("itself.sql");
    std::fs::write(&itself, format!("source {}", itself.display())).expect("writable");
    let (code, _, errors) = run(&["-e", &format!("source {}", itself.display())], "");
    assert_eq!(code, Some(1));
    assert!(errors.contains("nested more than"), "{errors}");
    let (_, output, _) = run(&["-e", "\\s"], "");
    assert!(output.contains("Server version:") && output.contains("Uptime:"), "{output}");
    let (_, _, errors) = run(&["-u", "nobody", "-e", "SELECT 1"], "");
    assert!(errors.contains("ERROR 1045 (28000): Access denied for user 'nobody'@"), "{errors}");

    // The gateway dies between two statements of a pipe.
    let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
    command.args(["shell", "--gateway", &served.address]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("duet runs");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"SELECT 1;\n").expect("written");
    let mut first = [0; 4];
    child.stdout.as_mut().expect("piped").read_exact(&mut first).expect("an answer");
    served.gateway = None;
    input.write_all(b"SELECT 2;\n").expect("written");
    drop(input);
    let output = child.wait_with_output().expect("collected");
    assert_eq!((output.status.code(), &first), (Some(1), b"1\n1\n"));
    let errors = text(&output.stderr);
    assert!(errors.contains("ERROR 2013 (HY000) at line 2: Lost connection to the gateway"), "{errors}");
}

#[test]
fn a_gateway_that_does_not_answer_is_a_sentence() {
    // Port 1 is reserved and nothing listens there.
    let nobody = shell("127.0.0.1:1", &["-e", "SELECT 1"], "");
    assert_eq!(nobody.status.code(), Some(1));
    let errors = text(&nobody.stderr);
    let expected = "ERROR 2003 (HY000): Can't connect to the gateway at '127.0.0.1:1' (connection refused); ";
    assert!(errors.contains(expected), "{errors}");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let closing = std::thread::spawn(move || drop(listener.accept()));
    let stranger = shell(&address, &["-e", "SELECT 1"], "");
    closing.join().expect("a connection");
    assert!(
        text(&stranger.stderr).contains("ERROR 2013 (HY000): Lost connection"),
        "{}",
        text(&stranger.stderr)
    );

    let nowhere = shell("http://host", &["-e", "SELECT 1"], "");
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(text(&nowhere.stderr).contains("'http://host' is no address; write host, host:port"));
}
