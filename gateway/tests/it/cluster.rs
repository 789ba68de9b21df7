//! A cluster and a gateway, each part a process of this test binary that ends with the test.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The variable that makes `process_role` a part of a cluster.
const ROLE: &str = "DUET_TEST_ROLE";

/// Not a test by itself: [`Cluster`] starts this binary again with only this one, and says by a variable what it shall be.
#[test]
fn process_role() {
    let Ok(line) = std::env::var(ROLE) else { return };
    use clap::Parser;
    #[derive(Parser)]
    enum Role {
        Mgmd(Box<duet_mgmd::Arguments>),
        Datanode(Box<duet_datanode::Arguments>),
        Gateway(Box<duet_gateway::Arguments>),
    }
    let role = Role::try_parse_from(["role"].into_iter().chain(line.split(' '))).expect("a role");
    let done = match role {
        Role::Mgmd(arguments) => duet_mgmd::run(*arguments).map(|_| ()),
        Role::Datanode(arguments) => duet_datanode::run(&arguments).map(|_| ()),
        Role::Gateway(arguments) => duet_gateway::run(&arguments),
    };
    done.expect("it runs until it is ended");
}

/// A process that is killed when it is dropped.
struct Part {
    child: Child,
    listen: String,
}

impl Part {
    fn start(line: &str) -> Part {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command
            .args(["--exact", "cluster::process_role", "--nocapture"])
            .env(ROLE, format!("{line} --parent-pipe"));
        let log = if std::env::var_os("DUET_TEST_LOG").is_some() { Stdio::inherit() } else { Stdio::null() };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("this test starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut text = String::new();
        // The harness of the test may write on the same line before it.
        let ready = loop {
            text.clear();
            assert!(
                output.read_line(&mut text).expect("readable") > 0,
                "{line}: it ended before it was ready"
            );
            if text.contains("\"ready\":") {
                break text.as_str();
            }
        };
        let listen =
            ready.split("\"listen\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an address");
        let listen = listen.to_owned();
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Part { child, listen }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster of two data nodes with gateways.
pub struct Cluster {
    // Ended in this order.
    gateways: Vec<Part>,
    nodes: Vec<Part>,
    management: Part,
    directory: TempDir,
}

impl Cluster {
    /// Starts a cluster and a gateway for it.
    pub fn start() -> Cluster {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("mgmd");
        let management = Part::start(&format!(
            "mgmd --node-id 1 --listen 127.0.0.1:0 --directory {} --data-nodes 2",
            path.display()
        ));
        let node = |id: usize| {
            let address = &management.listen;
            Part::start(&format!(
                "datanode --node-id {id} --listen 127.0.0.1:0 --management {address} --memory 128MiB --metrics 127.0.0.1:0 --suspect-after-ms 3000"
            ))
        };
        let nodes = vec![node(1), node(2)];
        let mut cluster = Cluster { gateways: Vec::new(), nodes, management, directory };
        cluster.add_gateway("");
        cluster
    }

    /// Starts another gateway; its number.
    pub fn add_gateway(&mut self, options: &str) -> usize {
        let address = &self.management.listen;
        let line = format!("gateway --connect {address} --listen 127.0.0.1:0 {options}");
        self.gateways.push(Part::start(line.trim()));
        self.gateways.len() - 1
    }

    /// Kills a data node, from 0.
    pub fn kill_node(&mut self, index: usize) {
        self.nodes[index].child.kill().expect("it runs");
        self.nodes[index].child.wait().expect("collected");
    }

    /// A file in the cluster's directory.
    pub fn write_file(&self, name: &str, content: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).expect("writable");
        path.display().to_string()
    }

    /// Process id of a gateway.
    pub fn gateway_process(&self, gateway: usize) -> u32 {
        self.gateways[gateway].child.id()
    }

    /// Port of a gateway.
    pub fn port(&self, gateway: usize) -> u16 {
        self.gateways[gateway].listen.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Options of a connection of the `mysql` crate.
    pub fn options(&self) -> mysql::OptsBuilder {
        let options = mysql::OptsBuilder::new().ip_or_hostname(Some("127.0.0.1")).tcp_port(self.port(0));
        options.user(Some("root")).prefer_socket(false)
    }

    /// A connection to the first gateway.
    pub fn connect(&self) -> mysql::Conn {
        // The cluster may still be forming.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            match mysql::Conn::new(self.options()) {
                Ok(connection) => return connection,
                Err(error) => assert!(std::time::Instant::now() < until, "{error}"),
            }
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }
}
