//! Command line of `duet datanode`.

use crate::threads::Threads;
use duet_runtime::{CpuListError, LinkIo, parse_cpu_list};
use std::net::SocketAddr;
use std::path::PathBuf;

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// Serve partitions of a cluster from memory.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Number of this node, 1 to the number of data nodes.
    #[arg(long, value_name = "N")]
    pub node_id: u32,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Address that others reach this node at, where it differs from the one it listens on.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Addresses of all management nodes.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    pub management: Vec<String>,
    /// Memory for rows and indexes, such as 512MiB or 8GiB; without it 1GiB, or a quarter of the machine's if that is less.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub memory: Option<u64>,
    /// Threads of the node: auto, batch (all stages in one thread), or groups such as recv=1,tc=1,ldm=2,send=1,cpus=0-4.
    /// Stages joined by + share their threads, as in recv+tc=1,ldm=2; without send every receiver sends itself. A cluster
    /// has as many lanes, which ldm threads own, as its widest node has such threads when it forms.
    #[arg(long, env = "DUET_THREADS", value_name = "PLAN", default_value = "auto", value_parser = str::parse::<Threads>)]
    pub threads: Threads,
    /// How the threads talk to their links: auto, epoll, uring (io_uring; the start fails where the system refuses it), or
    /// uring,epoll (the first that the system allows).
    #[arg(long, env = "DUET_IO", value_name = "WAY", default_value = "auto", value_parser = str::parse::<LinkIo>)]
    pub io: LinkIo,
    /// How soon threads hand on what they have, 0 (throughput) to 10 (latency): each step up halves the bytes that are read
    /// (1 MiB at 5) and the messages that are taken (512 at 5) before replies are written and other threads woken, and
    /// lengthens the time that a thread with a CPU of its own looks for work before it sleeps; at 0 none does.
    #[arg(long, env = "DUET_SCHEDULER_RESPONSIVENESS", value_name = "N", default_value_t = 5,
        value_parser = parse_responsiveness)]
    pub scheduler_responsiveness: u8,
    /// Whether gateways, programs and nodes on this machine that run as the same user reach this node by sockets of the Unix domain, which cost
    /// less than its network interfaces; not where it listens on all of these (0.0.0.0).
    #[arg(long, env = "DUET_LOCAL_LINKS", value_enum, value_name = "SWITCH", default_value_t = Switch::On)]
    pub local_links: Switch,
    /// CPUs that the node may pin its threads to, such as 0 or 2-3,6; without it nothing is pinned on fewer than 4 CPUs.
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    pub cpus: Option<CpuList>,
    /// Address of metrics and health over HTTP.
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Most connections at once, those that the node opens itself included.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    pub max_links: u32,
    /// Whether a connection that another data node closes proves that it has stopped serving: then it is replaced at once.
    /// `off` for networks in which others may close connections; then its leases must run out first.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub link_close_is_proof: Switch,
    /// Milliseconds without an answer after which this node has another one of its group removed and takes over what that led.
    /// A longer time lets short pauses of machines pass; it does not delay what is taken over because a connection was closed.
    #[arg(long, env = "DUET_SUSPECT_AFTER_MS", value_name = "N", default_value_t = 500,
        value_parser = clap::value_parser!(u32).range(500..=60_000))]
    pub suspect_after_ms: u32,
    /// File with the secret that all members of the cluster and its clients share.
    #[arg(long, value_name = "FILE")]
    pub cluster_secret_file: Option<PathBuf>,
    /// End when standard input ends: the parent holds the other end.
    #[arg(long)]
    pub parent_pipe: bool,
}

/// CPUs in the order in which they were named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub Vec<usize>);

fn parse_responsiveness(text: &str) -> Result<u8, String> {
    let number = text.parse().ok().filter(|number| (0..=10).contains(number));
    number.ok_or_else(|| format!("{text} is not in 0..=10"))
}

fn parse_cpus(text: &str) -> Result<CpuList, CpuListError> {
    parse_cpu_list(text).map(CpuList)
}

/// Parses a number of bytes with an optional unit: B, K, M, G (powers of 1024), KiB, MiB, GiB.
///
/// # Errors
/// A sentence.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(format!("'{text}' is no size; write for example 512MiB or 8GiB")),
    };
    let number: u64 =
        number.parse().map_err(|_| format!("'{text}' is no size; write for example 512MiB or 8GiB"))?;
    number.checked_mul(factor).ok_or_else(|| format!("'{text}' is more than any machine has"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("17"), Ok(17));
        assert_eq!(parse_bytes("2GiB"), Ok(2 << 30));
        assert_eq!(parse_bytes("64 m"), Ok(64 << 20));
        for wrong in ["", "GiB", "-1", "1.5G", "7 parsecs", "99999999999999999999", "999999999TiB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
