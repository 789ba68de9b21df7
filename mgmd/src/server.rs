//! Start and end of a management node process.

use crate::arguments::{Arguments, bindable};
use crate::connection;
use crate::directory::LogFile;
use crate::metrics;
use crate::shell::{SharedShell, Shell, elapsed, pump};
use anyhow::{Context, Result, anyhow};
use duet_mgmd_core::{ManagementConfiguration, ManagementGauges, ManagementNode};
use rand::TryRngCore;
use rand::rngs::OsRng;
use std::future::Future;
use std::io::{IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;

/// Most links of the node.
const MAX_LINKS: u32 = 1_024;
/// Connections beyond [`MAX_LINKS`] that may be open while they are being refused.
const MAX_REFUSALS: usize = 64;
/// How often the node hears the time.
const TICK: Duration = Duration::from_millis(10);
/// Pause after the system could not accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A management node that listens and has not begun to serve.
pub struct Server {
    node: ManagementNode,
    log: LogFile,
    listener: TcpListener,
    listening: SocketAddr,
    metrics: Option<SocketAddr>,
    gauges: metrics::SharedGauges,
    started: Instant,
}

impl Server {
    /// Locks the directory, reads the log and binds the addresses.
    ///
    /// # Errors
    /// A sentence when the arguments are wrong, the directory is in use or damaged, or an address cannot be bound.
    pub fn bind(arguments: &Arguments) -> Result<Server> {
        let secret = arguments.secret()?;
        let address = bindable("--listen", &arguments.listen, !secret.is_empty())?;
        let metrics_address = arguments
            .metrics
            .as_ref()
            .map(|text| bindable("--metrics", text, !secret.is_empty()))
            .transpose()?;
        let (mut log, bytes) = LogFile::open(&arguments.directory)?;
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let listening = listener.local_addr()?;
        let started = Instant::now();
        let configuration = ManagementConfiguration {
            node: arguments.node_id,
            management: arguments.management_nodes(listening)?,
            address_is_given: arguments.management.is_some(),
            join: arguments.contacts()?,
            cluster: arguments.cluster(),
            secret,
            max_links: MAX_LINKS,
            seed: random()?,
            raft_id: random()?,
            cluster_id: random()?,
        };
        let directory = arguments.directory.display();
        let node = ManagementNode::new(configuration, &bytes, elapsed(started))
            .with_context(|| format!("cannot start from {directory}"))?;
        if node.intact_log_bytes() < bytes.len() as u64 {
            tracing::warn!("a torn tail is cut off the log in {directory}");
            log.truncate(node.intact_log_bytes())
                .with_context(|| format!("cannot cut the log in {directory}"))?;
        }
        let gauges = Arc::new(Mutex::new(ManagementGauges::default()));
        let metrics =
            metrics_address.map(|address| metrics::serve(address, Arc::clone(&gauges))).transpose()?;
        Ok(Server { node, log, listener, listening, metrics, gauges, started })
    }

    /// Where the node listens.
    pub fn listening(&self) -> SocketAddr {
        self.listening
    }

    /// Where the metrics are served.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Serves until `end` is ready, or an operator ends it. Whether the process is to start again.
    ///
    /// # Errors
    /// The sentence with which the node gave up: its log cannot be made durable, or was rolled back.
    pub fn serve(self, end: impl Future<Output = ()>) -> Result<bool> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async move {
            self.listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(self.listener)?;
            let shared = Shell::new(self.node, self.log, self.started, self.gauges);
            let stopped = Rc::clone(&shared.borrow().stopped);
            tokio::task::spawn_local(accept(Rc::clone(&shared), listener));
            tokio::task::spawn_local(tick(Rc::clone(&shared)));
            pump(&shared);
            tokio::select! {
                () = end => Ok(false),
                () = stopped.notified() => {
                    let shell = shared.borrow();
                    if let (Some(restarts), None) = (shell.restarts(), shell.stop_reason()) {
                        tracing::info!(restarts, "ended by an operator");
                        return Ok(restarts);
                    }
                    Err(anyhow!("{}", shell.stop_reason().unwrap_or("the node stopped")))
                }
            }
        })
    }
}

async fn accept(shared: SharedShell, listener: tokio::net::TcpListener) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("a connection cannot be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let link = {
            let mut shell = shared.borrow_mut();
            if shell.open_connections() >= MAX_LINKS as usize + MAX_REFUSALS {
                continue;
            }
            let link = shell.add_connection();
            let now = shell.now();
            shell.node.link_accepted(now, link);
            link
        };
        tokio::task::spawn_local(connection::serve(Rc::clone(&shared), stream, link));
        pump(&shared);
    }
}

async fn tick(shared: SharedShell) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        {
            let mut shell = shared.borrow_mut();
            let now = shell.now();
            shell.node.tick(now);
        }
        pump(&shared);
        shared.borrow().publish_gauges();
    }
}

fn random() -> Result<u64> {
    OsRng.try_next_u64().context("the system gives no random numbers")
}

/// Runs `duet mgmd` until SIGTERM, SIGINT, or the end of the parent's pipe. Where the process is to start again, the addresses that it
/// listened on, that of the metrics last.
///
/// # Errors
/// A sentence for people; the process should end with code 1.
#[expect(clippy::needless_pass_by_value, reason = "the role's entry point takes its arguments whole")]
pub fn run(arguments: Arguments) -> Result<Option<(SocketAddr, Option<SocketAddr>)>> {
    // The caller may have installed a subscriber already; then that one stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
    let server = Server::bind(&arguments)?;
    if arguments.parent_pipe {
        std::thread::Builder::new().name("parent pipe".to_owned()).spawn(end_with_parent)?;
    }
    let addresses = (server.listening(), server.metrics());
    let metrics = server.metrics().map_or_else(|| "null".to_owned(), |address| format!("\"{address}\""));
    let ready = format!(
        "{{\"ready\":\"mgmd\",\"node_id\":{},\"listen\":\"{}\",\"metrics\":{metrics}}}",
        arguments.node_id,
        server.listening()
    );
    let restarts = server.serve(async move {
        // Signals are caught before anybody knows that the node is there.
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        if let Err(error) = announce(&ready) {
            // Whoever started it may have closed its end before it started again.
            tracing::warn!("nobody reads the ready line: {error}");
        }
        match signals {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("ended by a signal");
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!("signals cannot be caught: {error}");
                std::future::pending::<()>().await;
            }
        }
    })?;
    Ok(restarts.then_some(addresses))
}

fn announce(ready: &str) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{ready}")?;
    output.flush()
}

/// Ends the process when the other end of standard input is closed, which the kernel does however the parent dies.
fn end_with_parent() {
    let mut input = std::io::stdin().lock();
    let mut bytes = [0; 64];
    while !matches!(input.read(&mut bytes), Ok(0) | Err(_)) {}
    std::process::exit(0);
}
