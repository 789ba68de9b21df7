//! The server: who may come in, and how many.

use crate::arguments::Arguments;
use crate::catalog::Catalog;
use crate::connection::{refuse, serve};
use crate::plans::Plans;
use crate::wire::handshake::{Method, NONCE_BYTES, Verifier};
use anyhow::{Context, Result, ensure};
use duet_client::Client;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// User that exists unless another is named: it has no password and comes from this machine only.
pub const DEFAULT_USER: &str = "root";

/// Who may come in.
#[derive(Clone, Debug)]
pub struct Users {
    name: String,
    verifier: Verifier,
    anywhere: bool,
}

impl Users {
    /// The user without password, from this machine only.
    pub fn default_user() -> Users {
        Users { name: DEFAULT_USER.to_owned(), verifier: Verifier::new(b""), anywhere: false }
    }

    /// A user with a password, from anywhere.
    pub fn with_password(name: &str, password: &[u8]) -> Users {
        Users { name: name.to_owned(), verifier: Verifier::new(password), anywhere: true }
    }

    /// Whether a client is let in.
    pub fn admits(
        &self,
        name: &str,
        peer: SocketAddr,
        method: Method,
        answer: &[u8],
        nonce: &[u8; NONCE_BYTES],
    ) -> bool {
        name == self.name
            && (self.anywhere || peer.ip().to_canonical().is_loopback())
            && self.verifier.accepts(method, answer, nonce)
    }
}

/// What all connections share.
#[derive(Debug)]
pub struct Server {
    /// Tables and databases.
    pub catalog: Arc<Catalog>,
    /// Plans.
    pub plans: Arc<Plans>,
    /// Users.
    pub users: Users,
    most: usize,
    places: Arc<Semaphore>,
    connections: AtomicU32,
    started: Instant,
}

impl Server {
    /// A server for the cluster of a client.
    pub fn new(client: Client, users: Users, most: usize) -> Arc<Server> {
        Arc::new(Server {
            catalog: Arc::new(Catalog::new(client)),
            plans: Arc::new(Plans::default()),
            users,
            most,
            places: Arc::new(Semaphore::new(most)),
            connections: AtomicU32::new(1),
            started: Instant::now(),
        })
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.most - self.places.available_permits()
    }

    /// Seconds since the start.
    pub fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// The answer to COM_STATISTICS.
    pub fn statistics(&self) -> String {
        let uptime = self.uptime_seconds();
        format!("Uptime: {uptime}  Threads: {}  Questions: 0  Slow queries: 0  Opens: 0", self.open())
    }

    /// Accepts connections until the future is dropped.
    pub async fn run(self: Arc<Server>, listener: TcpListener) {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // As when no file descriptor is free: others will be closed.
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                tokio::spawn(refuse(stream));
                continue;
            };
            // Only that it differs from the others matters.
            let number = self.connections.fetch_add(1, Ordering::Relaxed);
            let server = Arc::clone(&self);
            tokio::spawn(async move {
                serve(server, stream, peer, number).await;
                drop(place);
            });
        }
    }
}

/// Binds, connects to the cluster and serves until it is told to end.
///
/// # Errors
/// When the address cannot be bound, the cluster does not answer, or the options make no sense.
pub async fn run(arguments: &Arguments) -> Result<()> {
    let users = users(arguments)?;
    let mut builder = Client::builder(&arguments.connect).program("duet-gateway");
    if let Some(path) = &arguments.cluster_secret_file {
        builder = builder.secret(read_file(path)?);
    }
    let client = builder.connect().await.context("cannot connect to the cluster")?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = listener.local_addr()?;
    println!("{{\"ready\":\"gateway\",\"listen\":\"{address}\"}}");
    tracing::info!("serving MySQL clients on {address}, user '{}'", users.name);
    let server = Server::new(client, users, arguments.max_connections);
    tokio::select! {
        () = server.run(listener) => {}
        ended = told_to_end(arguments.parent_pipe) => ended?,
    }
    Ok(())
}

fn read_file(path: &std::path::Path) -> Result<Vec<u8>> {
    let content = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let content = content.trim_ascii_end();
    ensure!(!content.is_empty(), "{} is empty", path.display());
    Ok(content.to_vec())
}

fn users(arguments: &Arguments) -> Result<Users> {
    let Some(path) = &arguments.password_file else {
        ensure!(
            arguments.listen.ip().is_loopback(),
            "{} can be reached from other machines; give a --password-file then",
            arguments.listen
        );
        ensure!(
            arguments.user == DEFAULT_USER,
            "the user '{}' needs a password; give a --password-file",
            arguments.user
        );
        return Ok(Users::default_user());
    };
    Ok(Users::with_password(&arguments.user, &read_file(path)?))
}

async fn told_to_end(parent_pipe: bool) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let parent = async {
        if !parent_pipe {
            return std::future::pending().await;
        }
        // A thread of its own: reading standard input cannot be given up.
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            drop(sender);
        });
        let _ = receiver.await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
        () = parent => {}
    }
    Ok(())
}
