//! Life of a data node process.

use crate::arguments::{Arguments, Switch};
use crate::metrics::MetricsListener;
use crate::threads::Threads;
use crate::topology;
use anyhow::{Context, bail};
use duet_datanode_core::{MemoryPreparer, NodeConfiguration};
use duet_runtime::{
    Listener, Responsiveness, RuntimeError, Stopper, UsableCpus, memory_available_bytes, raise_file_limit,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;

/// Least memory that makes sense: a few pages per size class.
const LEAST_MEMORY_BYTES: u64 = 16 << 20;
/// Memory of a node that was not told, where the machine has four times as much.
const DEFAULT_MEMORY_BYTES: u64 = 1 << 30;
/// Longest cluster secret in bytes; it must fit a handshake.
const LONGEST_SECRET_BYTES: usize = 1024;

/// Runs a data node until it is told to end. Where the process is to start again, the addresses that it listened on, that of the
/// metrics last.
///
/// # Errors
/// A sentence when it cannot start or must end.
pub fn run(arguments: &Arguments) -> anyhow::Result<Option<(SocketAddr, Option<SocketAddr>)>> {
    let secret = read_secret(arguments.cluster_secret_file.as_deref())?;
    check_addresses(arguments, !secret.is_empty())?;
    let memory_bytes = memory(arguments.memory, memory_available_bytes()).map_err(anyhow::Error::msg)?;
    let option = match (&arguments.threads, &arguments.cpus) {
        (Threads::Groups { cpus: Some(_), .. }, Some(_)) => {
            bail!("CPUs are named by --cpus and in --threads: name them once");
        }
        (Threads::Groups { cpus: Some(_), .. }, None) => "--threads",
        _ => "--cpus",
    };
    let topology = topology::plan(
        &arguments.threads,
        arguments.cpus.as_ref(),
        arguments.node_id,
        &UsableCpus::of_process(),
    )
    .context(option)?;
    make_room_for_sockets(arguments.max_links);
    let listener = Listener::bind(arguments.listen, arguments.local_links == Switch::On)?;
    let listen = listener.address();
    let metrics = arguments.metrics.map(MetricsListener::bind).transpose().map_err(anyhow::Error::msg)?;
    let metrics_address = metrics.as_ref().map(MetricsListener::address);
    let mut process = [0; 16];
    let no_randomness = |error| anyhow::anyhow!("the system gives no random numbers: {error}");
    getrandom::fill(&mut process).map_err(no_randomness)?;
    let seed = getrandom::u64().map_err(no_randomness)?;
    // Only speed depends on it. A 128th of the memory is ready beyond what is used, where that is whole huge pages for each part.
    let ahead = memory_bytes / 128 / topology.data_parts() as u64;
    let memory_preparer = MemoryPreparer::start(usize::try_from(ahead).unwrap_or(usize::MAX))
        .inspect_err(
            |error| tracing::warn!(%error, "no thread prepares memory: pages are found when rows need them"),
        )
        .ok();
    let configuration = NodeConfiguration {
        node: arguments.node_id,
        process,
        address: arguments.advertise.clone().unwrap_or_else(|| listen.to_string()),
        metrics_address: metrics_address.map(|address| address.to_string()).unwrap_or_default(),
        management: arguments.management.clone(),
        secret,
        memory_bytes,
        arena_bytes: memory_bytes.saturating_add(memory_bytes / 8),
        memory_preparer,
        max_links: arguments.max_links,
        link_close_is_proof: arguments.link_close_is_proof == Switch::On,
        suspect_after: u64::from(arguments.suspect_after_ms) * 1_000_000,
        seed,
        lane_frame_signals: u16::MAX,
        planted_bug: 0,
    };
    let responsiveness = Responsiveness::new(arguments.scheduler_responsiveness);
    let node = topology::start(&topology, configuration, listener, responsiveness, arguments.io)?;
    if let Some(metrics) = metrics {
        metrics.serve(arguments.node_id, node.snapshots()).map_err(anyhow::Error::msg)?;
    }
    if arguments.parent_pipe {
        end_with_parent()?;
    }
    end_on_signals(node.stopper())?;
    if let Err(error) = announce(arguments.node_id, listen, metrics_address) {
        // Whoever started it may have closed its end before it started again.
        tracing::warn!(%error, "nobody reads the ready line");
    }
    tracing::info!(node = arguments.node_id, %listen, memory_bytes, io = %arguments.io, "data node listens");
    let restarts = match node.join() {
        Ok(()) => false,
        Err(RuntimeError::Left { restarts, reason }) => {
            tracing::info!(restarts, "{reason}");
            restarts
        }
        Err(error) => return Err(error.into()),
    };
    tracing::info!(node = arguments.node_id, "data node ends");
    Ok(restarts.then_some((listen, metrics_address)))
}

/// The memory limit: what was asked for, or 1 GiB, or a quarter of what there is if that is less.
fn memory(asked: Option<u64>, available: Option<u64>) -> Result<u64, String> {
    let Some(asked) = asked else {
        let quarter = available.map_or(DEFAULT_MEMORY_BYTES, |bytes| bytes / 4);
        return Ok(quarter.clamp(LEAST_MEMORY_BYTES, DEFAULT_MEMORY_BYTES));
    };
    if asked < LEAST_MEMORY_BYTES {
        return Err(format!("--memory is {asked} bytes; at least 16MiB are needed"));
    }
    match available {
        Some(available) if asked > available => Err(format!(
            "--memory is {} MiB, but this process may use only {} MiB in all",
            asked >> 20,
            available >> 20
        )),
        _ => Ok(asked),
    }
}

/// A link takes a descriptor, and the process some more.
fn make_room_for_sockets(max_links: u32) {
    let needed = u64::from(max_links) + 64;
    match raise_file_limit() {
        Ok(limit) if limit < needed => {
            tracing::warn!(limit, max_links, "the system allows fewer descriptors than --max-links needs");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit of descriptors"),
    }
}

fn read_secret(file: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let secret =
        std::fs::read(file).with_context(|| format!("cannot read the secret from {}", file.display()))?;
    let secret = secret.trim_ascii().to_vec();
    if secret.is_empty() || secret.len() > LONGEST_SECRET_BYTES {
        bail!("the secret in {} must have 1 to {LONGEST_SECRET_BYTES} bytes", file.display());
    }
    Ok(secret)
}

fn check_addresses(arguments: &Arguments, has_secret: bool) -> anyhow::Result<()> {
    for address in [Some(arguments.listen), arguments.metrics].into_iter().flatten() {
        if !address.ip().is_loopback() && !has_secret {
            bail!(
                "{address} can be reached from other machines, and this cluster has no secret; \
                 give all members --cluster-secret-file, or listen on 127.0.0.1"
            );
        }
    }
    if arguments.listen.ip().is_unspecified() && arguments.advertise.is_none() {
        bail!(
            "{} is no address that others can connect to; say with --advertise which one is",
            arguments.listen
        );
    }
    for address in arguments.management.iter().chain(&arguments.advertise) {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        if !port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0)) {
            bail!("'{address}' is no address; write host:port");
        }
    }
    Ok(())
}

/// Ends this process at once when its standard input ends: its parent holds the other end (`--parent-pipe`).
///
/// # Errors
/// No thread could be started.
pub fn end_with_parent() -> anyhow::Result<()> {
    let wait = || {
        let mut ignored = [0; 64];
        while matches!(std::io::stdin().read(&mut ignored), Ok(1..)) {}
        std::process::exit(0);
    };
    std::thread::Builder::new().name("duet-parent".to_owned()).spawn(wait)?;
    Ok(())
}

/// The first signal makes the node hand over what it leads and end, the second one ends it at once.
fn end_on_signals(stopper: Stopper) -> anyhow::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    let wait = move || {
        for (number, _) in signals.forever().enumerate() {
            if number > 0 {
                tracing::warn!("told to end a second time: ends at once");
                stopper.stop();
                continue;
            }
            tracing::info!("told to end: hands over what it leads first");
            stopper.leave();
        }
    };
    std::thread::Builder::new().name("duet-signals".to_owned()).spawn(wait)?;
    Ok(())
}

/// The one line on standard output that tells a parent where the node listens.
fn announce(node: u32, listen: SocketAddr, metrics: Option<SocketAddr>) -> anyhow::Result<()> {
    let metrics = metrics.map(|address| address.to_string());
    let line = serde_json::json!({
        "ready": "datanode", "node_id": node, "listen": listen.to_string(), "metrics": metrics,
    });
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn check(line: &str, has_secret: bool) -> Result<(), String> {
        let words = ["datanode", "--node-id", "1"].into_iter().chain(line.split(' '));
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        check_addresses(&line.arguments, has_secret).map_err(|error| error.to_string())
    }

    #[test]
    fn memory_has_a_default_and_bounds() {
        assert_eq!(memory(None, Some(64 << 30)), Ok(1 << 30));
        assert_eq!(memory(None, Some(1 << 30)), Ok(256 << 20));
        assert_eq!(memory(None, Some(1 << 20)), Ok(16 << 20));
        assert_eq!(memory(Some(2 << 30), Some(4 << 30)), Ok(2 << 30));
        assert!(memory(Some(5 << 30), Some(4 << 30)).unwrap_err().contains("5120 MiB"));
        assert!(memory(Some(1), None).unwrap_err().contains("16MiB"));
    }

    #[test]
    fn addresses_are_checked_before_anything_starts() {
        assert_eq!(check("--management 127.0.0.1:1,localhost:2", false), Ok(()));
        assert_eq!(check("--management [::1]:1 --listen [::1]:0", false), Ok(()));
        let open = "--management 10.0.0.1:1 --listen 0.0.0.0:5";
        assert!(check(open, false).unwrap_err().contains("secret"));
        assert!(check(open, true).unwrap_err().contains("--advertise"));
        assert_eq!(check(&format!("{open} --advertise db1:5"), true), Ok(()));
        let open_metrics = "--management 127.0.0.1:1 --metrics 0.0.0.0:5";
        assert!(check(open_metrics, false).unwrap_err().contains("secret"));
        for wrong in ["localhost", "localhost:", ":1", "localhost:99999", "localhost:0"] {
            assert!(
                check(&format!("--management {wrong}"), false).unwrap_err().contains("host:port"),
                "{wrong}"
            );
        }
        assert!(check("--management 127.0.0.1:1 --cpus 3-1", false).unwrap_err().contains("list of CPUs"));
        assert!(check("--management 127.0.0.1:1 --max-links 3", false).unwrap_err().contains("16"));
    }
}
