//! Life of a data node process.

use crate::arguments::Arguments;
use crate::{metrics, topology};
use anyhow::{Context, bail};
use duet_datanode_core::NodeConfiguration;
use duet_runtime::{Node, start};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

/// Least memory that makes sense: a few pages per size class.
const LEAST_MEMORY_BYTES: u64 = 16 << 20;
/// Longest cluster secret in bytes; it must fit a handshake.
const LONGEST_SECRET_BYTES: usize = 1024;

/// Runs a data node until it is told to end.
///
/// # Errors
/// A sentence when it cannot start or must end.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let secret = read_secret(arguments.cluster_secret_file.as_deref())?;
    check_addresses(arguments, !secret.is_empty())?;
    if arguments.memory < LEAST_MEMORY_BYTES {
        bail!("--memory is {} bytes; at least 16MiB are needed", arguments.memory);
    }
    let topology = topology::plan(&arguments.cpus).map_err(anyhow::Error::msg)?;
    let listener = TcpListener::bind(arguments.listen)
        .with_context(|| format!("cannot listen on {}; is the port in use?", arguments.listen))?;
    let listen = listener.local_addr()?;
    let address = arguments.advertise.clone().unwrap_or_else(|| listen.to_string());
    let metrics_listener = arguments.metrics.map(reserve_metrics).transpose()?;
    let metrics_address = metrics_listener.map(|address| address.to_string()).unwrap_or_default();
    let mut process = [0; 16];
    let no_randomness = |error| anyhow::anyhow!("the system gives no random numbers: {error}");
    getrandom::fill(&mut process).map_err(no_randomness)?;
    let seed = getrandom::u64().map_err(no_randomness)?;
    let configuration = NodeConfiguration {
        node: arguments.node_id,
        process,
        address,
        metrics_address,
        management: arguments.management.clone(),
        secret,
        memory_bytes: arguments.memory,
        arena_bytes: arguments.memory.saturating_add(arguments.memory / 8),
        max_links: arguments.max_links,
        seed,
        planted_bug: 0,
    };
    let node =
        start(Node { configuration, listener, cpu: topology.batch_cpu }).map_err(anyhow::Error::msg)?;
    let metrics = match metrics_listener {
        Some(address) => Some(metrics::serve(address, node.snapshots()).map_err(anyhow::Error::msg)?),
        None => None,
    };
    if arguments.parent_pipe {
        end_with_parent()?;
    }
    end_on_signals(node.stopper())?;
    announce(arguments.node_id, listen, metrics)?;
    tracing::info!(node = arguments.node_id, %listen, memory = arguments.memory, "data node listens");
    node.join().map_err(anyhow::Error::msg)
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
    Ok(())
}

/// Finds the port of the metrics before the node registers its address.
fn reserve_metrics(address: SocketAddr) -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind(address).with_context(|| format!("cannot serve metrics on {address}"))?;
    Ok(listener.local_addr()?)
}

fn end_with_parent() -> anyhow::Result<()> {
    let wait = || {
        let mut ignored = [0; 64];
        while matches!(std::io::stdin().read(&mut ignored), Ok(1..)) {}
        std::process::exit(0);
    };
    std::thread::Builder::new().name("duet-parent".to_owned()).spawn(wait)?;
    Ok(())
}

fn end_on_signals(stop: impl Fn() + Send + 'static) -> anyhow::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    let wait = move || {
        for _ in signals.forever() {
            stop();
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
