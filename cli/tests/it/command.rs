//! The `duet` command itself, with real processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a condition may take; far more than it does.
const PATIENCE: Duration = Duration::from_secs(120);

fn duet(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_duet")).args(arguments).stdin(Stdio::null()).output().expect("duet runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A demo that stays, where its management node listens, and the request of a feature vector that it proposes.
struct Demo {
    child: Child,
    management: String,
    curl: String,
    /// The query that it proposes, where it has a gateway.
    sql: Option<String>,
}

impl Demo {
    fn start() -> Demo {
        let mut child = Command::new(env!("CARGO_BIN_EXE_duet"))
            .args(["demo", "--port", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("duet runs");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (mut management, mut curl, mut sql) = (None, None, None);
        for line in output.lines() {
            let line = line.expect("UTF-8");
            if let Some((_, address)) = line.split_once("duet admin status --connect ") {
                management = Some(address.trim().to_owned());
            }
            if line.trim().starts_with("curl ") {
                curl = Some(line.trim().to_owned());
            }
            if line.contains("duet shell ") {
                sql = Some(line.trim().to_owned());
            }
            if line.contains("ctrl-C ends the demo") {
                break;
            }
        }
        let management = management.expect("the demo names its address");
        Demo { child, management, curl: curl.expect("the demo proposes a request"), sql }
    }

    fn tool(&self, arguments: &[&str]) -> Output {
        duet(&[arguments, &["--connect", &self.management]].concat())
    }

    /// Process ids of the demo's children.
    fn children(&self) -> Vec<u32> {
        let parent = self.child.id();
        let mut children = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let Ok(status) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            // "pid (name) state parent …": the name may hold anything, also parentheses.
            let parent_field = status.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
            if parent_field == Some(&parent.to_string()) {
                children.extend(entry.file_name().to_string_lossy().parse::<u32>());
            }
        }
        children
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process still runs (and is not only waiting to be collected).
fn runs(process: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"))
    else {
        return false;
    };
    !matches!(status.rsplit(") ").next().and_then(|rest| rest.chars().next()), Some('Z' | 'X') | None)
}

/// The answer to `curl -s http://ADDRESS/PATH -d 'BODY'`.
fn answer_to_curl(line: &str) -> String {
    let (url, body) = line.split_once(" -d '").expect("a body");
    let url = url.strip_prefix("curl -s http://").expect("a URL");
    let (address, path) = url.split_once('/').expect("a path");
    let body = body.strip_suffix('\'').expect("a quote");
    let mut stream = TcpStream::connect(address).expect("the feature server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let head = format!("POST /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Users of the gateways, and the query that the demo proposes.
fn users_and_sql(demo: &Demo) {
    let with_input = |arguments: &[&str], input: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
        command.args(arguments).args(["--connect", &demo.management]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("duet runs");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
        child.wait_with_output().expect("collected")
    };
    let created = with_input(&["admin", "user", "create", "ada"], "secret\n");
    assert_eq!(created.status.code(), Some(0), "{}", text(&created.stderr));
    let again = with_input(&["admin", "user", "create", "ada"], "secret\n");
    assert!(text(&again.stderr).contains("exists already"), "{}", text(&again.stderr));
    let empty = with_input(&["admin", "user", "set-password", "ada"], "\n");
    assert!(text(&empty.stderr).contains("the password is empty"), "{}", text(&empty.stderr));
    let changed = with_input(&["admin", "user", "set-password", "ada"], "other\n");
    assert_eq!(changed.status.code(), Some(0), "{}", text(&changed.stderr));
    assert!(text(&demo.tool(&["admin", "user", "list"]).stdout).contains(" ada "));

    let Some(line) = &demo.sql else {
        eprintln!("skipped: duet-gateway is not beside duet, so the demo has no SQL");
        assert_eq!(demo.tool(&["admin", "user", "drop", "ada"]).status.code(), Some(0));
        return;
    };
    let shell =
        |line: &str| Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().expect("sh runs");
    let answer = shell(line);
    assert_eq!(answer.status.code(), Some(0), "{}", text(&answer.stderr));
    let answer = text(&answer.stdout);
    assert_eq!(answer.lines().next(), Some("carrier\tflights\tminutes_late"), "{answer}");
    assert!(answer.lines().nth(1).is_some_and(|line| line.starts_with("F9\t685\t21.9")), "{answer}");
    // As the new user, with other forms of answers and errors.
    let (start, _) = line.split_once(" -e ").expect("a query");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "other\n").expect("written");
    let ada = format!("{start} -u ada --password-file {}", file.path().display());
    let deadline = Instant::now() + PATIENCE;
    let answer = loop {
        let answer = shell(&format!("{ada} -e 'SELECT CURRENT_USER() AS me\\G'"));
        // The gateway learns of the user within a second.
        if answer.status.code() == Some(0) {
            break text(&answer.stdout);
        }
        assert!(text(&answer.stderr).contains("ERROR 1045"), "{}", text(&answer.stderr));
        assert!(Instant::now() < deadline, "the user is not learnt");
    };
    assert!(answer.contains("1. row") && answer.contains("me: ada@"), "{answer}");
    let wrong = shell(&format!("{ada} -e 'SELECT 1; SELECT nonsense; SELECT 2'"));
    assert_eq!((wrong.status.code(), text(&wrong.stdout).as_str()), (Some(1), "1\n1\n"));
    assert!(text(&wrong.stderr).contains("ERROR 1054 (42S22)"), "{}", text(&wrong.stderr));
    let piped = shell(&format!("printf 'SELECT 1\\n;\\nSELEC 2;' | {ada}"));
    assert_eq!((piped.status.code(), text(&piped.stdout).as_str()), (Some(1), "1\n1\n"));
    assert!(text(&piped.stderr).contains("ERROR 1064 (42000) at line 3: "), "{}", text(&piped.stderr));
    assert_eq!(demo.tool(&["admin", "user", "drop", "ada"]).status.code(), Some(0));
}

#[test]
fn the_demo_serves_tools_and_leaves_nothing_behind() {
    let mut demo = Demo::start();
    let children = demo.children();
    let gateway = Path::new(env!("CARGO_BIN_EXE_duet")).with_file_name("duet-gateway").is_file();
    assert_eq!(
        children.len(),
        3 + usize::from(gateway),
        "one management node, two data nodes, maybe a gateway"
    );

    let status = demo.tool(&["admin", "status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    let rows: u64 =
        status["data_nodes"].as_array().expect("nodes").iter().filter_map(|n| n["rows"].as_u64()).sum();
    let tables = 16 + 1_458 + 3_322 + 26_115 + 336_776;
    // Four feature groups; four definitions of groups, one of a view, and a counter.
    let features = (1_458 + 3_322 + 26_115 + 16) + (4 + 1 + 1);
    assert_eq!(rows, 2 * (tables + features));
    let vector = answer_to_curl(&demo.curl);
    assert!(vector.contains("\"BOEING\"") && vector.contains("\"COMPLETE\""), "{vector}");
    assert!(text(&demo.tool(&["admin", "status"]).stdout).contains("view 1"));
    // A reader that has seen enough is no error.
    let mut impatient = Command::new(env!("CARGO_BIN_EXE_duet"));
    impatient.args(["admin", "tables", "--connect", &demo.management]).stdout(Stdio::piped());
    let mut impatient = impatient.spawn().expect("duet runs");
    drop(impatient.stdout.take());
    assert_eq!(impatient.wait().expect("collected").code(), Some(0));
    let tables = text(&demo.tool(&["admin", "tables"]).stdout);
    assert!(tables.contains("nyc.flights") && tables.contains("dep_delay") && tables.contains("SMALLINT"));

    users_and_sql(&demo);

    let directory = tempfile::tempdir().expect("a directory");
    let csv = directory.path().join("people.csv");
    std::fs::write(&csv, "id,name,born\n1,Ada,1815-12-10\n2,Alan,1912-06-23\n").expect("writable");
    let file = csv.to_str().expect("UTF-8");
    let import = |extra: &[&str]| demo.tool(&[&["import", file, "--table", "people"], extra].concat());
    assert_eq!(import(&["--append", "--key", "id"]).status.code(), Some(1), "there is no table yet");
    assert_eq!(import(&[]).status.code(), Some(1), "a new table needs a key");
    let created = import(&["--key", "id"]);
    assert_eq!(created.status.code(), Some(0), "{}", text(&created.stderr));
    assert!(text(&created.stdout).contains("born DATE") && text(&created.stdout).contains("2 rows into"));
    assert_eq!(import(&["--create", "--key", "id"]).status.code(), Some(1), "there is one now");

    std::fs::write(&csv, "id,name\n3,Grace\n,Nobody\n3,Again\n4,a name that is much too long\n")
        .expect("writable");
    let partial = import(&["--append"]);
    assert_eq!(partial.status.code(), Some(3));
    let report = text(&partial.stderr);
    for expected in
        ["3 rows were left out", "line 3: error 155", "line 4: an earlier row", "line 5: error 154"]
    {
        assert!(report.contains(expected), "{expected} is missing in {report}");
    }
    std::fs::write(&csv, "id,nonsense\n3,1\n").expect("writable");
    assert!(
        text(&import(&[]).stderr).contains("has no column 'nonsense'; its columns are 'id', 'name', 'born'")
    );
    std::fs::write(&csv, "id,name\n1,Ada\n2,\"Alan\n3,Grace\n").expect("writable");
    let unclosed = import(&[]);
    assert_eq!(unclosed.status.code(), Some(1));
    assert!(
        text(&unclosed.stderr).contains("line 3: a quote is opened and never closed"),
        "{}",
        text(&unclosed.stderr)
    );
    std::fs::write(&csv, "id,name\n1,Augusta\n").expect("writable");
    assert!(text(&import(&[]).stdout).contains("with the same keys have been replaced"));

    let row = demo.tool(&["admin", "get", "people", "1", "--json"]);
    let row: serde_json::Value = serde_json::from_slice(&row.stdout).expect("JSON");
    assert_eq!(row, serde_json::json!({ "id": 1, "name": "Augusta", "born": null }));
    let flight = demo.tool(&["admin", "get", "nyc.flights", "2013-01-01 10:00:00,UA,1545"]);
    assert!(text(&flight.stdout).contains("N14228"), "{}", text(&flight.stderr));
    let missing = demo.tool(&["admin", "get", "people", "-1"]);
    assert!(
        text(&missing.stderr).contains("default.people has no row with the key -1"),
        "{}",
        text(&missing.stderr)
    );
    let unasked = demo.tool(&["admin", "drop", "people"]);
    assert!(
        text(&unasked.stderr).contains("--yes drops default.people without asking"),
        "{}",
        text(&unasked.stderr)
    );
    assert_eq!(demo.tool(&["admin", "drop", "people", "--yes"]).status.code(), Some(0));
    assert_eq!(demo.tool(&["admin", "drop", "people", "--yes"]).status.code(), Some(1), "it is gone");

    demo.child.kill().expect("SIGKILL");
    demo.child.wait().expect("collected");
    let deadline = Instant::now() + PATIENCE;
    while let Some(process) = children.iter().find(|process| runs(**process)) {
        assert!(Instant::now() < deadline, "process {process} outlives the killed demo");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn ctrl_c_in_a_terminal_ends_the_demo_cleanly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_duet"))
        .args(["demo", "--port", "0"])
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("duet runs");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    while !line.starts_with("airlines") {
        line.clear();
        assert!(output.read_line(&mut line).expect("UTF-8") > 0, "the demo ended before it loaded a table");
    }
    // A terminal signals the whole process group, not only the demo.
    let group = format!("-{}", child.id());
    let sent = Command::new("kill").args(["-INT", "--", &group]).status().expect("kill exists");
    assert!(sent.success());
    let (mut rest, mut errors) = (String::new(), String::new());
    output.read_to_string(&mut rest).expect("UTF-8");
    child.stderr.take().expect("its errors").read_to_string(&mut errors).expect("UTF-8");
    assert_eq!(child.wait().expect("collected").code(), Some(0), "{rest}\n{errors}");
    assert!(rest.contains("stopped"), "{rest}");
    assert!(!errors.contains("has ended"), "{errors}");
}

#[test]
fn the_demo_says_once_which_child_has_died() {
    let mut demo = Demo::start();
    let victim = demo.children()[0];
    assert!(
        Command::new("kill").args(["-KILL", &victim.to_string()]).status().expect("kill exists").success()
    );
    let mut errors = String::new();
    demo.child.stderr.take().expect("its errors").read_to_string(&mut errors).expect("UTF-8");
    assert_eq!(demo.child.wait().expect("collected").code(), Some(1));
    assert_eq!(errors.matches("has ended (signal: 9 (SIGKILL))").count(), 1, "{errors}");
}

#[test]
fn the_demo_outlives_a_data_node_and_its_gateway() {
    let demo = Demo::start();
    let is_gateway = |process: &u32| {
        let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        text(&line).contains("duet-gateway")
    };
    if let (Some(sql), Some(gateway)) = (&demo.sql, demo.children().into_iter().find(is_gateway)) {
        let kill = Command::new("kill").args(["-KILL", &gateway.to_string()]).status().expect("kill exists");
        assert!(kill.success());
        let deadline = Instant::now() + PATIENCE;
        // At the same port as before.
        while demo.children().contains(&gateway)
            || !Command::new("sh").args(["-c", sql]).output().expect("sh runs").status.success()
        {
            assert!(Instant::now() < deadline, "the gateway is not started again");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let before = demo.children();
    let victim = before[1];
    assert!(
        Command::new("kill").args(["-KILL", &victim.to_string()]).status().expect("kill exists").success()
    );
    let flight = demo.tool(&["admin", "get", "nyc.flights", "2013-01-01 10:00:00,UA,1545"]);
    assert!(text(&flight.stdout).contains("N14228"), "{}", text(&flight.stderr));
    let deadline = Instant::now() + PATIENCE;
    while !demo.children().iter().any(|child| !before.contains(child)) {
        assert!(Instant::now() < deadline, "the data node is not started again");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_reader_that_has_seen_enough_of_a_trace_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_duet"))
        .args(["sim", "--seed", "5", "--trace"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("duet runs");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    output.read_line(&mut String::new()).expect("UTF-8");
    drop(output);
    let output = child.wait_with_output().expect("collected");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn the_demo_checks_every_row() {
    let output = duet(&["demo", "--check"]);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
    assert!(stdout.contains("336,776"), "{stdout}");
    assert!(stdout.contains("every row was read back by its key"), "{stdout}");
}

#[test]
fn errors_are_sentences() {
    // Port 1 is reserved and nothing listens there.
    let nobody = duet(&["admin", "status", "--connect", "127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("no Duet node answers at 127.0.0.1:1"), "{}", text(&nobody.stderr));

    let missing = duet(&["import", "no-such-file.csv", "--table", "t", "--key", "id"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        text(&missing.stderr).starts_with("duet: no-such-file.csv cannot be read"),
        "{}",
        text(&missing.stderr)
    );

    assert_eq!(duet(&["import", "a.csv", "--table", "a.b.c"]).status.code(), Some(2));
    let nowhere = duet(&["admin", "status", "--connect", "foo"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(
        text(&nowhere.stderr).contains("'foo' is no address; write host:port"),
        "{}",
        text(&nowhere.stderr)
    );
    assert_eq!(duet(&["no-such-subcommand"]).status.code(), Some(2));
    let open = duet(&["datanode", "--node-id", "1", "--listen", "0.0.0.0:0", "--management", "127.0.0.1:1"]);
    assert_eq!(open.status.code(), Some(1));
    assert!(text(&open.stderr).contains("secret"), "{}", text(&open.stderr));
}

#[test]
fn every_subcommand_has_help() {
    for arguments in [
        &["--help"][..],
        &["demo", "--help"],
        &["import", "--help"],
        &["admin", "status", "--help"],
        &["admin", "tables", "--help"],
        &["admin", "get", "--help"],
        &["admin", "drop", "--help"],
        &["mgmd", "--help"],
        &["datanode", "--help"],
        &["bench", "keys", "--help"],
        &["bench", "pipeline", "--help"],
        &["sim", "--help"],
    ] {
        let help = duet(arguments);
        assert_eq!(help.status.code(), Some(0), "{arguments:?}");
        assert!(help.stdout.len() > 200, "{arguments:?}");
    }
}

#[test]
fn the_pipeline_benchmark_accounts_for_every_stage() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let results = directory.path().to_string_lossy();
    let small =
        "--batches 16 --rows 2000 --mix read=50,update=50 --verify --seconds 0.1 --warm-up 0 --rounds 1";
    let plans = ["bench", "pipeline", "--plans", "batch", "recv=1,tc=1,ldm=2,send=1"];
    let arguments: Vec<&str> =
        plans.into_iter().chain(small.split(' ')).chain(["--results", &results]).collect();
    let output = duet(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let line = std::fs::read_to_string(directory.path().join("pipeline.jsonl")).expect("a line");
    let run: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    let stages = |index: usize| -> Vec<(String, u64)> {
        let stages = run["results"][index]["median"]["stages"].as_array().expect("stages").iter();
        let named = stages.map(|stage| {
            (stage["name"].as_str().expect("a name").to_owned(), stage["threads"].as_u64().expect("a number"))
        });
        named.collect()
    };
    assert!(stages(0).contains(&("duet-batch".to_owned(), 1)), "{line}");
    for stage in [("recv", 1), ("tc", 1), ("ldm", 2), ("send", 1)] {
        assert!(stages(1).contains(&(stage.0.to_owned(), stage.1)), "{line}");
    }
    assert!(run["results"][0]["hops_cpu_ns_per_operation"].is_null(), "{line}");
    assert!(run["results"][1]["hops_cpu_ns_per_operation"].is_f64(), "{line}");
    let tables = std::fs::read_to_string(directory.path().join("pipeline.md")).expect("the tables");
    assert!(tables.contains("| recv=1,tc=1,ldm=2,send=1 | 5 |"), "{tables}");
    let refused =
        duet(&["bench", "pipeline", "--plans", "batch", "recv=1,ldm=1", "--rows", "10", "--no-record"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("the plan `recv=1,ldm=1`"), "{}", text(&refused.stderr));
}
