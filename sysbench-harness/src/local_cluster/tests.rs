//! The cluster against shell scripts that speak like nodes.

use super::*;
use std::os::unix::fs::PermissionsExt;

/// A program that prints `ready_line` (with its node id, role and listen address) and ends with its input.
fn executable(directory: &Path, script: &str) -> PathBuf {
    let path = directory.join("duet");
    let text = format!(
        "#!/bin/sh\nrole=$1; id=$3; listen=$5\necho \"$0 $*\" >>\"{}/calls\"\n{script}\n",
        directory.display()
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

const READY: &str = r#"[ "$listen" = 127.0.0.1:0 ] && listen=127.0.0.1:4$id
echo "{\"ready\":\"$role\",\"node_id\":$id,\"listen\":\"$listen\",\"metrics\":null}"
exec cat >/dev/null"#;

/// Starting a script that was just written can fail while another thread forks with the file still open.
fn start(options: &LocalClusterOptions) -> LocalCluster {
    loop {
        match LocalCluster::start(options.clone()) {
            Ok(cluster) => return cluster,
            Err(error) if error.to_string().contains("Text file busy") => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn three_management_nodes_know_each_other_and_data_nodes_know_them() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = LocalClusterOptions::new(executable(directory.path(), READY));
    options.management_nodes = 3;
    options.memory_bytes = Some(1 << 20);
    options.threads = Some("recv=1,tc=1,ldm=1".to_owned());
    options.io = Some("uring".to_owned());
    let cluster = start(&options);
    let addresses = cluster.management_addresses();
    assert_eq!(addresses.len(), 3);
    assert_eq!(cluster.data_nodes().len(), 2);
    assert_eq!(cluster.processes().len(), 5);
    assert_eq!(cluster.processes()[0].role, "data node 1");
    let calls = std::fs::read_to_string(directory.path().join("calls")).unwrap();
    let [a, b, c] = [0, 1, 2].map(|index| addresses[index].to_string());
    assert!(calls.contains(&format!("--management 1={a},2={b},3={c}")), "{calls}");
    assert!(
        calls.contains(&format!(
            "--management {a},{b},{c} --memory 1048576 --threads recv=1,tc=1,ldm=1 --io uring"
        )),
        "{calls}"
    );
    assert!(calls.contains("datanode --node-id 2 --listen 127.0.0.1:0 --parent-pipe"), "{calls}");
}

#[test]
fn nodes_are_killed_restarted_and_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let options = LocalClusterOptions::new(executable(directory.path(), READY));
    let mut cluster = start(&options);
    assert_eq!(cluster.unexpected_end(), None);
    cluster.kill_data_node(2).unwrap();
    assert!(!cluster.data_node(2).unwrap().is_running());
    assert_eq!(cluster.unexpected_end(), None);
    cluster.restart_data_node(2).unwrap();
    assert!(cluster.data_node(2).unwrap().is_running());
    cluster.restart_management_node(1).unwrap();
    assert!(matches!(cluster.data_node(3), Err(LocalClusterError::NoSuchNode(_))));
    let id = cluster.data_nodes()[0].process_id();
    let process = rustix::process::Pid::from_raw(id as i32).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while cluster.data_node(1).unwrap().is_running() && Instant::now() < deadline {}
    assert!(cluster.unexpected_end().unwrap().starts_with("data node 1 has ended (signal: 9"));
    let scratch = cluster.directory().to_owned();
    let ids: Vec<u32> = cluster.processes().iter().map(|process| process.process_id).collect();
    // These end by the signal instead of cleanly.
    assert_eq!(cluster.stop(), ["data node 2", "management node 1"]);
    assert!(!scratch.exists());
    assert!(ids.iter().all(|id| !Path::new(&format!("/proc/{id}")).exists()));
}

#[test]
fn a_failing_node_is_a_sentence_with_its_log() {
    let directory = tempfile::tempdir().unwrap();
    let script = "if [ $role = datanode ]; then echo 'no memory' >&2; exit 1; fi\n";
    let options = LocalClusterOptions::new(executable(directory.path(), &format!("{script}{READY}")));
    let error = loop {
        let error = LocalCluster::start(options.clone()).expect_err("it fails").to_string();
        if !error.contains("Text file busy") {
            break error;
        }
    };
    assert!(error.starts_with("data node 1 ended before it was ready"), "{error}");
    assert!(error.contains("no memory"), "{error}");
}

#[test]
fn impossible_shapes_are_refused() {
    let mut options = LocalClusterOptions::new("duet");
    options.management_nodes = 2;
    assert!(matches!(LocalCluster::start(options.clone()), Err(LocalClusterError::Options(_))));
    options.management_nodes = 1;
    options.data_nodes = 0;
    assert!(matches!(LocalCluster::start(options), Err(LocalClusterError::Options(_))));
}
