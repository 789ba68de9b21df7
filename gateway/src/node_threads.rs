//! The threads of data nodes, which their metrics tell of.

use duet_client::NodeRecord;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long a node may take to answer; one that does not has no rows.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Most bytes of an answer.
const MOST_BYTES: u64 = 4 << 20;
/// What the names of the counts of threads begin with.
const PREFIX: &str = "duet_datanode_thread_";
/// What the line begins with that says whose metrics these are.
const NODE: &str = "duet_datanode_node_id ";

/// A thread of a data node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeThread {
    /// Data node.
    pub node: u32,
    /// Its id in the system of the node.
    pub id: u32,
    /// Its name: the stages that it runs, and its number.
    pub name: String,
    /// The CPUs that it may run on.
    pub cpus: String,
    /// CPU time.
    pub cpu_microseconds: u64,
    /// Time for which it could have run and had no CPU.
    pub wait_microseconds: u64,
    /// How often it was given a CPU.
    pub turns: u64,
}

/// The threads of all these nodes that serve metrics and answer in time, by node and id.
pub async fn read(nodes: &[NodeRecord]) -> Vec<NodeThread> {
    let mut answers = JoinSet::new();
    for record in nodes {
        if let Some(address) = reachable(&record.metrics_address, &record.address) {
            let node = record.node;
            answers.spawn(async move {
                let text = tokio::time::timeout(ANSWER_WITHIN, fetch(address)).await;
                text.ok().and_then(Result::ok).map(|text| parse(node, &text))
            });
        }
    }
    let mut threads = Vec::new();
    while let Some(answer) = answers.join_next().await {
        threads.extend(answer.ok().flatten().unwrap_or_default());
    }
    threads.sort_by_key(|thread| (thread.node, thread.id));
    threads
}

/// Where the metrics of a node are: on the machine that serves its rows, where they are served on all addresses.
fn reachable(metrics: &str, rows: &str) -> Option<SocketAddr> {
    let mut address: SocketAddr = metrics.parse().ok()?;
    if address.ip().is_unspecified() {
        address.set_ip(rows.parse::<SocketAddr>().ok()?.ip());
    }
    Some(address)
}

/// The text of the metrics, with the head of the answer before it.
async fn fetch(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The threads in a text of metrics; none in that of another node, as when an address is one of the gateway's own machine.
fn parse(node: u32, text: &str) -> Vec<NodeThread> {
    if !text.lines().any(|line| line.strip_prefix(NODE).is_some_and(|id| id.parse() == Ok(node))) {
        return Vec::new();
    }
    let mut threads: BTreeMap<u32, NodeThread> = BTreeMap::new();
    for (what, id, name, cpus, value) in text.lines().filter_map(count) {
        let thread = threads.entry(id).or_insert_with(|| NodeThread {
            node,
            id,
            name: name.to_owned(),
            cpus: cpus.to_owned(),
            ..NodeThread::default()
        });
        // A float becomes the nearest number that there is.
        let microseconds = (value * 1e6) as u64;
        match what {
            "cpu_seconds" => thread.cpu_microseconds = microseconds,
            "wait_seconds" => thread.wait_microseconds = microseconds,
            "turns" => thread.turns = value as u64,
            _ => {}
        }
    }
    threads.into_values().collect()
}

/// What is counted, thread id, name, CPUs and the number of a line of metrics that is of a thread.
fn count(line: &str) -> Option<(&str, u32, &str, &str, f64)> {
    let (what, rest) = line.strip_prefix(PREFIX)?.split_once("{thread=\"")?;
    let (name, rest) = rest.split_once("\",id=\"")?;
    let (id, rest) = rest.split_once("\",cpus=\"")?;
    let (cpus, value) = rest.split_once("\"} ")?;
    Some((what, id.parse().ok()?, name, cpus, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_found_among_other_metrics() {
        let text = "HTTP/1.0 200 OK\r\n\r\nduet_datanode_node_id 3\nduet_datanode_reads 7\n# TYPE duet_datanode_thread_turns counter\n\
                    duet_datanode_thread_cpu_seconds{thread=\"ldm-1\",id=\"12\",cpus=\"2\"} 1.5\n\
                    duet_datanode_thread_cpu_seconds{thread=\"recv\",id=\"11\",cpus=\"0-1\"} 0.25\n\
                    duet_datanode_thread_wait_seconds{thread=\"ldm-1\",id=\"12\",cpus=\"2\"} 0.000001\n\
                    duet_datanode_thread_turns{thread=\"ldm-1\",id=\"12\",cpus=\"2\"} 9\n\
                    duet_datanode_thread_turns{thread=\"ldm-1\",id=\"x\",cpus=\"2\"} 9\n\
                    duet_datanode_thread_turns{thread=\"ldm-1\"";
        let thread = |id, name: &str, cpus: &str, cpu_microseconds, wait_microseconds, turns| NodeThread {
            node: 3,
            id,
            name: name.to_owned(),
            cpus: cpus.to_owned(),
            cpu_microseconds,
            wait_microseconds,
            turns,
        };
        let wanted = [thread(11, "recv", "0-1", 250_000, 0, 0), thread(12, "ldm-1", "2", 1_500_000, 1, 9)];
        assert_eq!(parse(3, text), wanted);
        assert_eq!(parse(4, text), [], "another node");
    }

    #[test]
    fn metrics_on_all_addresses_are_on_the_machine_of_the_node() {
        let address = |text: &str| text.parse::<SocketAddr>().ok();
        assert_eq!(reachable("0.0.0.0:90", "10.0.0.1:80"), address("10.0.0.1:90"));
        assert_eq!(reachable("127.0.0.1:90", "10.0.0.1:80"), address("127.0.0.1:90"));
        assert_eq!(reachable("", "10.0.0.1:80"), None);
    }
}
