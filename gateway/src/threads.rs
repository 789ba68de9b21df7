//! The threads of a gateway.
//!
//! Every connection stays on one thread, together with the driver of that thread's own client of the cluster. So what the connections of a
//! thread ask for in one turn of its event loop goes to the data nodes in one message, and no answer wakes another thread. Queries
//! of DataFusion, which may compute for long, and everything that is rare run on other threads.

use crate::arguments::Arguments;
use crate::attention::Attention;
use crate::connection::serve;
use crate::server::{Server, connect};
use anyhow::{Context, Result};
use core_affinity::CoreId;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use tokio::runtime::Builder;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Bytes of a thread's stack: expressions nest as deeply as a statement's bounds let them.
const STACK_BYTES: usize = 32 << 20;
/// With fewer processors than this its threads have one each. With more, those of data nodes may be pinned beside them.
const SHARED_PROCESSORS: usize = 4;
/// Connections that wait for a thread to take them.
const WAITING: usize = 64;

/// A connection on its way to its thread.
struct Visitor {
    stream: TcpStream,
    /// Where it comes from.
    peer: SocketAddr,
    /// Its place among those that are allowed, given back at its end.
    place: OwnedSemaphorePermit,
    /// Counts it among the connections of its thread.
    seat: Arc<()>,
}

/// Where the connections of a thread are handed in.
pub struct Guests {
    sender: mpsc::Sender<Visitor>,
    seats: Arc<()>,
}

impl Guests {
    /// How many connections the thread has.
    pub fn count(&self) -> usize {
        Arc::strong_count(&self.seats) - 1
    }

    /// Hands a connection in; waits while too many others wait for the thread. Whether it took it.
    pub async fn welcome(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) -> bool {
        let visitor = Visitor { stream, peer, place, seat: Arc::clone(&self.seats) };
        self.sender.send(visitor).await.is_ok()
    }
}

/// Runs a gateway until it is told to end.
///
/// # Errors
/// When it cannot start.
pub fn run(arguments: &Arguments) -> Result<()> {
    let runtime = Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build()?;
    // On a worker, not on the main thread with its small stack.
    let arguments = arguments.clone();
    runtime
        .block_on(async move { tokio::spawn(async move { crate::server::run(&arguments).await }).await })?
}

/// How many threads serve connections: by default one for each processor, also where data nodes share them, because they sleep when there is
/// nothing to do, and a gateway needs most of the CPU time of a statement.
fn count(arguments: &Arguments) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.threads.unwrap_or(processors.clamp(1, 256))
}

/// The processor of each thread, where few are shared with everybody else and there is a thread for each: what belongs together stays on one,
/// and waking somebody on another costs several times as much.
fn processors(threads: usize) -> Vec<Option<CoreId>> {
    match core_affinity::get_core_ids() {
        Some(mut usable) if usable.len() == threads && threads < SHARED_PROCESSORS => {
            // So gateways beside each other mostly do not begin with the same one.
            usable.rotate_left(std::process::id() as usize % threads);
            usable.into_iter().map(Some).collect()
        }
        _ => vec![None; threads],
    }
}

/// Starts the threads that serve connections, each with a client that is connected.
///
/// # Errors
/// When a thread cannot be started or its client does not reach the cluster.
pub async fn start(arguments: &Arguments, server: &Arc<Server>) -> Result<Vec<Guests>> {
    let mut threads = Vec::new();
    for (number, processor) in processors(count(arguments)).into_iter().enumerate() {
        let (sender, visitors) = mpsc::channel(WAITING);
        let (ready, is_ready) = oneshot::channel();
        let (arguments, server) = (arguments.clone(), Arc::clone(server));
        let attention = Arc::new(Attention::new());
        std::thread::Builder::new()
            .name(format!("serve-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || {
                // A thread that may not be pinned runs anywhere.
                processor.map(core_affinity::set_for_current);
                serve_visitors(&arguments, &server, attention, visitors, ready);
            })
            .context("cannot start a thread")?;
        is_ready.await.context("a thread that serves connections has ended")??;
        threads.push(Guests { sender, seats: Arc::new(()) });
    }
    Ok(threads)
}

/// The life of a thread that serves connections; it ends with the last sender.
fn serve_visitors(
    arguments: &Arguments,
    server: &Arc<Server>,
    attention: Arc<Attention>,
    mut visitors: mpsc::Receiver<Visitor>,
    ready: oneshot::Sender<Result<()>>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Who started this thread waits for the answer.
            let _ = ready.send(Err(error).context("cannot start a runtime"));
            return;
        }
    };
    runtime.block_on(async move {
        let client = match connect(arguments).await {
            Ok(client) => client,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        let looking = Arc::clone(&attention);
        tokio::spawn(async move { looking.look().await });
        while let Some(Visitor { stream, peer, place, seat }) = visitors.recv().await {
            let stream = match tokio::net::TcpStream::from_std(stream) {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!("cannot serve a connection: {error}");
                    continue;
                }
            };
            let (server, client, attention) = (Arc::clone(server), client.clone(), Arc::clone(&attention));
            tokio::spawn(async move {
                serve(server, client, attention, stream, peer).await;
                drop((place, seat));
            });
        }
    });
}
