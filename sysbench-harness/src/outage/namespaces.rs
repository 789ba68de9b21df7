//! Every process of a cluster on a host of its own: network namespaces joined by a bridge.
//!
//! The program runs in a new network namespace itself, the one with the bridge, and keeps one child for each host, whose only purpose
//! is to hold that host's namespace. None of them has a name; so all of them vanish, with their interfaces and rules, when the
//! processes in them end, however that happens: the children end with the pipe whose other end this process holds.

use crate::local_cluster::{Place, Role};
use crate::process::{ManagedProcess, ParentDeath};
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Every namespace is alone with these addresses.
const NETWORK: [u8; 3] = [10, 77, 0];
const HUB: u8 = 254;
/// Port of every process: each has a host of its own.
const PORT: u16 = 4_000;
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Words that run a command in a new network namespace: as root, or as root of a new user namespace.
fn unshare() -> Vec<&'static str> {
    let mut words = vec!["unshare", "--net"];
    if !rustix::process::geteuid().is_root() {
        words.extend(["--user", "--map-root-user"]);
    }
    words.push("--");
    words
}

/// Why there can be no network namespaces here, as a sentence; `None` if there can.
#[must_use]
pub fn why_impossible() -> Option<String> {
    let mut words = unshare();
    // What the rules need of the kernel is tried out where it does no harm.
    let script = "ip link add duet type bridge && ip link add duet-1 type veth peer name duet-2 && nft -f -";
    words.extend(["sh", "-c", script]);
    let rules = Rules::Lose { percent: 1 }.text() + &Rules::Reset { peer: address(1) }.text();
    run_with_input(&words, &rules).err().map(|error| format!("{error:#}"))
}

/// Replaces this process by the same command in a new network namespace, with one more argument.
///
/// # Errors
/// It could not be started there; this process goes on.
pub fn enter(argument: &str) -> Result<std::convert::Infallible> {
    let words = unshare();
    let executable = std::env::current_exe().context("cannot find this executable")?;
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(executable).args(std::env::args_os().skip(1)).arg(argument);
    Err(command.exec()).context("cannot start this program in a network namespace")
}

fn address(number: u8) -> Ipv4Addr {
    let [a, b, c] = NETWORK;
    Ipv4Addr::new(a, b, c, number)
}

/// What happens to the packets of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// All are dropped.
    Drop,
    /// Those from and to this host are dropped.
    DropPeer {
        /// The other host.
        peer: Ipv4Addr,
    },
    /// Those to this host are dropped.
    DropTo {
        /// The other host.
        peer: Ipv4Addr,
    },
    /// Some are dropped, in both directions.
    Lose {
        /// How many of 100.
        percent: u32,
    },
    /// Connections with this host are reset, as a firewall between them may do it.
    Reset {
        /// The other host.
        peer: Ipv4Addr,
    },
}

impl Rules {
    fn text(self) -> String {
        let (input, output) = match self {
            Self::Drop => ("drop".to_owned(), "drop".to_owned()),
            Self::DropPeer { peer } => (format!("ip saddr {peer} drop"), format!("ip daddr {peer} drop")),
            Self::DropTo { peer } => (String::new(), format!("ip daddr {peer} drop")),
            Self::Lose { percent } => {
                let rule = format!("numgen random mod 100 < {percent} drop");
                (rule.clone(), rule)
            }
            Self::Reset { peer } => {
                // Resets themselves must pass, in both directions.
                let rule = |word| {
                    format!(
                        "tcp flags & rst == rst accept; ip {word} {peer} meta l4proto tcp reject with tcp reset"
                    )
                };
                (rule("saddr"), rule("daddr"))
            }
        };
        format!(
            "table inet duet {{\n\
             chain input {{ type filter hook input priority 0; policy accept; iif lo accept; {input}; }}\n\
             chain output {{ type filter hook output priority 0; policy accept; oif lo accept; {output}; }}\n\
             }}\n"
        )
    }
}

/// A host: its namespace, and who runs there.
#[derive(Debug)]
struct Host {
    role: Role,
    id: u32,
    address: Ipv4Addr,
    holder: ManagedProcess,
}

impl Host {
    /// Words that run a command there; the command becomes the process itself.
    fn words(&self) -> [String; 4] {
        let target = self.holder.process_id().to_string();
        ["nsenter".to_owned(), "--target".to_owned(), target, "--net".to_owned()]
    }

    fn run(&self, words: &[&str]) -> Result<()> {
        let before = self.words();
        let all: Vec<&str> = before.iter().map(String::as_str).chain(words.iter().copied()).collect();
        run_with_input(&all, "")
    }

    fn apply(&self, rules: &str) -> Result<()> {
        let before = self.words();
        let all: Vec<&str> = before.iter().map(String::as_str).chain(["nft", "-f", "-"]).collect();
        run_with_input(&all, rules)
    }
}

/// Hosts for the processes of a cluster; they vanish when it is dropped.
#[derive(Debug)]
pub struct Network {
    hosts: Vec<Host>,
}

impl Network {
    /// Makes the hosts. Call it in a network namespace of one's own ([`enter`]); `directory` gets logs.
    ///
    /// # Errors
    /// A tool is missing or the kernel refuses; the sentence has what it said.
    pub fn new(data_nodes: u32, management_nodes: u32, directory: &Path) -> Result<Self> {
        run_with_input(&["ip", "link", "set", "lo", "up"], "")?;
        run_with_input(&["ip", "link", "add", "duet", "type", "bridge"], "")?;
        let hub = format!("{}/24", address(HUB));
        run_with_input(&["ip", "address", "add", &hub, "dev", "duet"], "")?;
        run_with_input(&["ip", "link", "set", "duet", "up"], "")?;
        let mut network = Self { hosts: Vec::new() };
        for id in 1..=data_nodes {
            network.add(Role::Data, id, address(id as u8), directory)?;
        }
        for id in 1..=management_nodes {
            network.add(Role::Management, id, address(100 + id as u8), directory)?;
        }
        Ok(network)
    }

    fn add(&mut self, role: Role, id: u32, address: Ipv4Addr, directory: &Path) -> Result<()> {
        let interface = format!("{}{id}", if role == Role::Data { "d" } else { "m" });
        // The root of this user namespace is the root of that one too.
        let words = ["unshare", "--net", "--", "cat"];
        let log = directory.join("hosts.log");
        let mut holder = ManagedProcess::start(&interface, &words, ParentDeath::Pipe, None, &log)?;
        let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
        let (ours, process) = (namespace("self"), holder.process_id().to_string());
        holder.ready_when(READY_WITHIN, || {
            let theirs = namespace(&process);
            theirs.is_some() && theirs != ours
        })?;
        let host = Host { role, id, address, holder };
        let peer = ["type", "veth", "peer", "name", "eth0", "netns", &process];
        let add: Vec<&str> = ["ip", "link", "add", "name", &interface].into_iter().chain(peer).collect();
        run_with_input(&add, "")?;
        run_with_input(&["ip", "link", "set", &interface, "master", "duet", "up"], "")?;
        host.run(&["ip", "link", "set", "lo", "up"])?;
        host.run(&["ip", "address", "add", &format!("{address}/24"), "dev", "eth0"])?;
        host.run(&["ip", "link", "set", "eth0", "up"])?;
        self.hosts.push(host);
        Ok(())
    }

    /// Where the processes of a cluster run.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let place = |host: &Host| Place {
            role: host.role,
            id: host.id,
            launcher: host.words().into_iter().map(OsString::from).collect(),
            listen: SocketAddr::from((host.address, PORT)),
            advertise: None,
        };
        self.hosts.iter().map(place).collect()
    }

    /// Address of a data node's host.
    ///
    /// # Errors
    /// There is none.
    pub fn address(&self, data_node: u32) -> Result<Ipv4Addr> {
        Ok(self.host(data_node)?.address)
    }

    /// What happens to the packets of a data node's host from now on.
    ///
    /// # Errors
    /// The rules could not be set.
    pub fn set_rules(&self, data_node: u32, rules: Rules) -> Result<()> {
        self.host(data_node)?.apply(&rules.text())
    }

    /// Nothing happens to any packet any more.
    ///
    /// # Errors
    /// The rules could not be removed.
    pub fn heal(&self) -> Result<()> {
        self.hosts.iter().try_for_each(|host| host.apply("flush ruleset\n"))
    }

    fn host(&self, data_node: u32) -> Result<&Host> {
        let mut hosts = self.hosts.iter();
        let found = hosts.find(|host| host.role == Role::Data && host.id == data_node);
        found.with_context(|| format!("data node {data_node} has no host"))
    }
}

fn run_with_input(words: &[&str], input: &str) -> Result<()> {
    let [program, arguments @ ..] = words else { bail!("no command is named") };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A command that ends without reading says why below.
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("cannot wait for {program}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}` failed: {}", words.join(" "), errors.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_what_they_drop() {
        let peer = address(2);
        assert_eq!(Rules::Drop.text().matches("drop").count(), 2);
        assert_eq!(Rules::DropTo { peer }.text().matches("10.77.0.2 drop").count(), 1);
        assert_eq!(Rules::DropPeer { peer }.text().matches("10.77.0.2 drop").count(), 2);
        assert!(Rules::Lose { percent: 7 }.text().contains("< 7 drop"));
        assert!(Rules::Reset { peer }.text().contains("reject with tcp reset"));
    }

    #[test]
    fn what_a_command_says_becomes_a_sentence() {
        let error = run_with_input(&["sh", "-c", "echo no such thing >&2; exit 2"], "").unwrap_err();
        assert!(error.to_string().ends_with("failed: no such thing"), "{error}");
        assert!(run_with_input(&["/no/such/tool"], "").is_err());
        run_with_input(&["sh", "-c", "test \"$(cat)\" = hello"], "hello").unwrap();
    }
}
