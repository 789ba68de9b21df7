//! The server: who may come in, and how many.

use crate::arguments::Arguments;
use crate::catalog::Catalog;
use crate::connection::refuse;
use crate::plans::Plans;
use crate::processes::Processes;
use crate::query::run::MemoryBounds;
use crate::threads::Guests;
use crate::users::{DEFAULT_USER, Users};
use anyhow::{Context, Result, ensure};
use duet_client::Client;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// What all connections share.
pub struct Server {
    /// Tables and databases.
    pub catalog: Arc<Catalog>,
    /// Plans.
    pub plans: Arc<Plans>,
    /// Users.
    pub users: Arc<Users>,
    /// Connections.
    pub processes: Arc<Processes>,
    /// What encrypts, if anything does.
    pub tls: Option<TlsAcceptor>,
    /// Whether connections that are not encrypted are refused.
    pub needs_encryption: bool,
    /// Most connections at once.
    pub max_connections: usize,
    places: Arc<Semaphore>,
}

impl Server {
    /// A server for the cluster of a client, without encryption.
    pub fn new(client: Client, users: Users, most: usize, memory: MemoryBounds) -> Server {
        Server {
            catalog: Arc::new(Catalog::new(client, memory)),
            plans: Arc::new(Plans::default()),
            users: Arc::new(users),
            processes: Processes::new(),
            tls: None,
            needs_encryption: false,
            max_connections: most,
            places: Arc::new(Semaphore::new(most)),
        }
    }

    /// The answer to COM_STATISTICS.
    pub fn statistics(&self) -> String {
        let processes = &self.processes;
        format!(
            "Uptime: {}  Threads: {}  Questions: {}  Slow queries: 0  Opens: 0",
            processes.uptime_seconds(),
            processes.count(),
            processes.questions()
        )
    }

    /// Accepts connections and hands each to the thread that has the fewest, until the future is dropped.
    pub async fn run(self: Arc<Server>, listener: TcpListener, threads: Vec<Guests>) {
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
            let Some(guests) = threads.iter().min_by_key(|guests| guests.count()) else { return };
            // It is registered with the runtime of the other thread.
            let Ok(stream) = stream.into_std() else { continue };
            if !guests.welcome(stream, peer, place).await {
                tracing::error!("a thread that serves connections has ended");
                return;
            }
        }
    }
}

/// Connects to the cluster: a client with connections of its own.
///
/// # Errors
/// When the cluster does not answer, or the options make no sense.
pub async fn connect(arguments: &Arguments) -> Result<Client> {
    let mut builder = Client::builder(&arguments.connect).program("duet-gateway");
    if let Some(path) = &arguments.cluster_secret_file {
        builder = builder.secret(read_file(path)?);
    }
    builder.connect().await.context("cannot connect to the cluster")
}

/// Binds, connects to the cluster and serves until it is told to end.
///
/// # Errors
/// When the address cannot be bound, the cluster does not answer, or the options make no sense.
pub async fn run(arguments: &Arguments) -> Result<()> {
    let users = users(arguments)?;
    let client = connect(arguments).await?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = listener.local_addr()?;
    // Else the first clients would be refused; learning goes on where this fails.
    if let Err(error) = users.ask(&client).await {
        tracing::warn!("the users of the cluster are not known yet: {error}");
    }
    let memory =
        MemoryBounds { query: arguments.query_memory << 20, total: arguments.total_query_memory << 20 };
    let mut server = Server::new(client.clone(), users, arguments.max_connections, memory);
    if let (Some(certificate), Some(key)) = (&arguments.tls_certificate, &arguments.tls_key) {
        server.tls = Some(crate::tls::acceptor(certificate, key)?);
        server.needs_encryption = arguments.require_tls;
    }
    let server = Arc::new(server);
    let threads = crate::threads::start(arguments, &server).await?;
    println!("{{\"ready\":\"gateway\",\"listen\":\"{address}\"}}");
    tracing::info!("serving MySQL clients on {address}");
    let learning = Arc::clone(&server);
    tokio::select! {
        () = Arc::clone(&server).run(listener, threads) => {}
        () = learning.users.learn(&client) => {}
        () = server.processes.watch_silence() => {}
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
            arguments.user == DEFAULT_USER,
            "the user '{}' needs a password; give a --password-file",
            arguments.user
        );
        return Ok(Users::of_cluster());
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
