//! `duet features`: the feature server, and tools for feature groups.

mod ingest;

use crate::connection::{Connection, block_on};
use crate::output::say;
use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use duet_featurestore::FeatureStore;
use duet_featurestore::server::{ServerOptions, create_key, revoke_key, serve};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// Longest time of an operation.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Options of `duet features`.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Tool>,
    #[command(flatten)]
    server: ServerArguments,
}

impl Arguments {
    /// What is logged unless told otherwise: the server tells its news, tools print theirs themselves.
    pub fn default_filter(&self) -> &'static str {
        if self.command.is_none() { "info" } else { "warn" }
    }
}

#[derive(Clone, Debug, Subcommand)]
enum Tool {
    /// Load Parquet, Arrow and CSV files into a feature group
    ///
    /// Of rows with the same key that of the newest event time is kept, in the files and in the cluster. It may be repeated
    /// and goes on where an earlier one ended.
    Ingest(ingest::Arguments),
    /// Make and revoke API keys
    #[command(subcommand)]
    Key(KeyTool),
}

#[derive(Clone, Debug, Subcommand)]
enum KeyTool {
    /// Make a key and print it; only its hash is kept
    Create {
        /// Whom it is for
        name: String,
        /// Where the cluster is
        #[command(flatten)]
        connection: Connection,
    },
    /// Revoke all keys of this name; every server refuses them within a second
    Revoke {
        /// Whom they are for
        name: String,
        /// Where the cluster is
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct ServerArguments {
    /// Where to listen: both families of endpoints
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4406")]
    listen: SocketAddr,
    /// A second address, such as 127.0.0.1:6566, where users of Feast look
    #[arg(long, value_name = "ADDRESS")]
    feast_listen: Option<SocketAddr>,
    /// Feature store of requests in Feast's form, which name none
    #[arg(long, value_name = "STORE", default_value = "default")]
    project: String,
    /// Answer as Feast's own server does: a stored null is PRESENT, the time to live is ignored
    #[arg(long)]
    feast_compatible: bool,
    /// Refuse requests without a valid key in the header X-API-KEY
    #[arg(long)]
    api_keys: bool,
    /// Most bytes of a request
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = duet_datanode::parse_bytes)]
    body_limit: u64,
    /// Most entities, operations or rows of a request
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    entity_limit: usize,
    /// Most requests at once; more are answered with 503
    #[arg(long, value_name = "COUNT", default_value_t = 1_024)]
    concurrency: usize,
    /// End when standard input reaches its end
    #[arg(long)]
    parent_pipe: bool,
    /// Where the cluster is
    #[command(flatten)]
    connection: Connection,
}

/// Runs the server until it is told to end, or a tool; whether all rows of an ingestion were good.
///
/// # Errors
/// A sentence: nothing answers, the address is taken, or what went wrong.
pub fn run(arguments: &Arguments) -> Result<bool> {
    match &arguments.command {
        None => block_on(run_server(&arguments.server)).map(|()| true),
        Some(Tool::Ingest(arguments)) => ingest::run(arguments),
        Some(Tool::Key(tool)) => block_on(run_key_tool(tool)).map(|()| true),
    }
}

async fn open(connection: &Connection, timeout: Duration) -> Result<FeatureStore> {
    let client = connection.open(timeout).await?;
    FeatureStore::open(client).await.context("the tables of the feature store cannot be opened")
}

async fn run_key_tool(tool: &KeyTool) -> Result<()> {
    match tool {
        KeyTool::Create { name, connection } => {
            let key = create_key(&open(connection, TIMEOUT).await?, name).await?;
            say(format_args!("{key}"))
        }
        KeyTool::Revoke { name, connection } => {
            let revoked = revoke_key(&open(connection, TIMEOUT).await?, name).await?;
            ensure!(revoked > 0, "there is no key for '{name}'");
            say(format_args!("revoked {revoked} keys for '{name}'"))
        }
    }
}

async fn run_server(arguments: &ServerArguments) -> Result<()> {
    for address in [Some(arguments.listen), arguments.feast_listen].into_iter().flatten() {
        ensure!(
            address.ip().is_loopback() || arguments.api_keys,
            "{address} can be reached from other machines; ask for keys with --api-keys, or listen on 127.0.0.1"
        );
    }
    let store = open(&arguments.connection, TIMEOUT).await?;
    let listen = |address: SocketAddr| async move {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
    };
    let main = listen(arguments.listen).await?;
    let address = main.local_addr()?;
    let mut listeners = vec![main];
    let mut feast_address = None;
    if let Some(feast) = arguments.feast_listen {
        let feast = listen(feast).await?;
        feast_address = Some(feast.local_addr()?.to_string());
        listeners.push(feast);
    }
    let options = ServerOptions {
        body_bytes: usize::try_from(arguments.body_limit)?,
        entities: arguments.entity_limit,
        concurrency: arguments.concurrency,
        api_keys: arguments.api_keys,
        feast_compatible: arguments.feast_compatible,
        project: arguments.project.clone(),
    };
    if arguments.parent_pipe {
        duet_datanode::end_with_parent()?;
    }
    let end = told_to_end()?;
    let ready = serde_json::json!({
        "ready": "features", "listen": address.to_string(), "feast_listen": feast_address,
        "metrics": address.to_string(),
    });
    say(format_args!("{ready}"))?;
    tracing::info!(%address, "feature server listens");
    serve(store, options, listeners, end).await?;
    tracing::info!("feature server ends");
    Ok(())
}

/// Completes at SIGTERM or SIGINT.
fn told_to_end() -> Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
