//! `duet demo`: a cluster of processes on this machine that serves real rows.

pub mod data;
mod features;
mod gateway;
mod lookups;
mod verify;

use crate::admin::text_table;
use crate::connection::{Connection, block_on};
use crate::import::definition::{TableName, existing_table, new_table, profile};
use crate::import::load::{Loaded, Pace, load};
use crate::import::report_bad;
use crate::import::rows::Converter;
use crate::output::{program, say};
use crate::progress::{bytes_text, count_text, rows_bar};
use anyhow::{Context, Result, anyhow, bail, ensure};
use data::{DEMO_DATABASE, DemoTable, TABLES};
use duet_bench::local_cluster::{LocalCluster, LocalClusterOptions};
use duet_client::{Client, Table};
use gateway::Gateway;
use lookups::Lookups;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use verify::{Verified, verify};

/// Replicas of every row.
const REPLICAS: u64 = 2;
/// Tables with fewer rows mostly consist of pages that are not full.
const SMALL_TABLE_ROWS: u64 = 10_000;
/// Time that the data nodes have to form a cluster, and that they have to report what they hold.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Where clients look for a cluster unless they are told otherwise.
const DEFAULT_PORT: u16 = 4567;
/// Whoever ends a child may be about to end us: how long that may take.
const MOMENT: Duration = Duration::from_millis(500);
/// How often the processes are looked at while the demo stays.
const WATCH: Duration = Duration::from_millis(500);
/// How often data nodes, and the gateway, are started again within a time.
const RESTARTS: usize = 5;
/// That time.
const RESTARTS_WITHIN: Duration = Duration::from_secs(60);

/// Options of `duet demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Load, verify and measure, then end: code 0 when every row was right
    #[arg(long)]
    pub check: bool,
    /// Port of the management node; 0 for any, also of the gateway and the feature server, which otherwise take 3306 and 4406
    /// [default: 4567, which clients use by default, when it is free; 0 with --check]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Directory for the logs of the processes, kept afterwards [default: a temporary one]
    #[arg(long, value_name = "DIRECTORY")]
    pub dir: Option<PathBuf>,
    /// Memory of each of the two data nodes
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = duet_datanode::parse_bytes)]
    pub memory: u64,
}

/// What became of one table.
struct Served {
    name: &'static str,
    table: Table,
    loaded: Loaded,
    verified: Verified,
    row_bytes: u64,
}

/// Runs the demo to its end.
///
/// # Errors
/// A sentence: the cluster did not start, a row is not as it should be, or a process ended by itself.
pub fn run(arguments: &Arguments) -> Result<()> {
    // Three processes and their state end with this value, whatever happens below.
    let mut cluster = start(arguments)?;
    let mut stopped = false;
    let result = block_on(async {
        let mut end = std::pin::pin!(told_to_end());
        let result = tokio::select! {
            result = serve(arguments, &mut cluster) => result,
            () = &mut end => {
                stopped = true;
                Ok(())
            }
        };
        let finished = result.is_ok() && arguments.check;
        if !stopped && !finished {
            stopped = tokio::time::timeout(MOMENT, &mut end).await.is_ok();
        }
        if stopped { say(format_args!("\nstopped")) } else { result }
    });
    let died = if stopped { None } else { cluster.unexpected_end() };
    let unclean = cluster.stop();
    match (result, died) {
        (Ok(()), None) => {
            ensure!(unclean.is_empty(), "{} did not end when told to", unclean.join(", "));
            Ok(())
        }
        (Ok(()), Some(died)) => bail!("{died}"),
        (Err(error), None) => Err(error),
        (Err(error), Some(died)) => Err(error.context(died)),
    }
}

fn start(arguments: &Arguments) -> Result<LocalCluster> {
    say(format_args!("starting 1 management node and 2 data nodes on this machine"))?;
    let executable = std::env::current_exe().context("this executable cannot be found")?;
    let mut options = LocalClusterOptions::new(executable);
    options.memory_bytes = Some(arguments.memory);
    options.metrics = true;
    options.management_listen = listen(arguments)?;
    options.directory = arguments.dir.as_deref().map(fresh_directory).transpose()?;
    Ok(LocalCluster::start(options)?)
}

/// Where the management node listens; `None` is any port.
fn listen(arguments: &Arguments) -> Result<Option<SocketAddr>> {
    let wanted = arguments.port.unwrap_or(if arguments.check { 0 } else { DEFAULT_PORT });
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, wanted));
    // A port that was asked for must be that one: then the management node itself says why it is not.
    if arguments.port.is_none() && TcpListener::bind(address).is_err() {
        say(format_args!("port {wanted} is taken, so the management node listens on another one"))?;
        return Ok(None);
    }
    Ok(Some(address))
}

/// A directory of its own for every run: rows live in memory, so the state of an earlier cluster is of no use.
fn fresh_directory(parent: &Path) -> Result<PathBuf> {
    for number in 1..10_000 {
        let directory = parent.join(format!("demo-{number}"));
        if !directory.exists() {
            return Ok(directory);
        }
    }
    bail!("{} is full of earlier demos; delete them", parent.display())
}

async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        }
        // Without handlers the signals end the process, and its children with it.
        (Err(_), _) | (_, Err(_)) => std::future::pending().await,
    }
}

async fn serve(arguments: &Arguments, cluster: &mut LocalCluster) -> Result<()> {
    let management = cluster.management()[0].listen().to_string();
    let client = Connection::to(management.clone()).open(PATIENCE).await?;
    formed(&client).await?;
    let mut served = Vec::new();
    let mut rows = 0;
    for table in &TABLES {
        let served_table = load_and_verify(&client, table, &mut rows).await?;
        served.push(served_table);
    }
    let wrong = served.iter().map(|table| table.loaded.bad.count + table.verified.wrong.count).sum::<u64>();
    let flights = served.last_mut().context("the demo has tables")?;
    let keys = Arc::new(std::mem::take(&mut flights.verified.keys));
    let looked_up = vec![
        lookups::measure(&client, &flights.table, &keys, 128, 4).await?,
        lookups::measure(&client, &flights.table, &keys, 1, 1).await?,
    ];
    say(format_args!("{}", summary(&served, &looked_up)))?;
    ensure!(wrong == 0, "{} rows are not as they should be", count_text(wrong));
    say(format_args!("every row was read back by its key and is equal to its source in every column"))?;
    let features = features::build(&client, arguments.check, arguments.port == Some(0))
        .await
        .context("the demo's feature store")?;
    tell_features(&features)?;
    let mut gateway =
        tokio::task::block_in_place(|| Gateway::start(cluster, &management, arguments.port == Some(0)))?;
    if arguments.check {
        return Ok(());
    }
    say(format_args!("{}", farewell(cluster, &management, &features, gateway.as_ref())))?;
    watch(cluster, gateway.as_mut()).await
}

/// Waits until all data nodes serve.
async fn formed(client: &Client) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = client.status().await?;
        let serving = status.nodes.iter().filter(|node| node.serving && node.in_view).count();
        if serving as u64 == REPLICAS {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "only {serving} of {REPLICAS} data nodes serve");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn load_and_verify(client: &Client, demo: &DemoTable, rows: &mut u64) -> Result<Served> {
    let source = demo.source()?;
    let name = TableName { database: DEMO_DATABASE.to_owned(), table: demo.name.to_owned() };
    let before = memory(client, *rows).await?;
    let profiles = tokio::task::block_in_place(|| profile(&source, |_| {}))?;
    let definition = new_table(&name, &source, &profiles, &demo.key_columns())?;
    let table = client.create_table(definition).await.with_context(|| format!("cannot create {name}"))?;
    let origins = existing_table(table.definition(), &source, &demo.key_columns())?;
    let converter = || Converter::new(table.definition().clone(), origins.clone());

    let bar = rows_bar(&format!("loading {}", demo.name), source.rows());
    let loaded = load(client, &table, &source, &mut converter()?, Pace::default(), &bar).await;
    bar.finish_and_clear();
    let loaded = loaded.with_context(|| format!("cannot load {name}"))?;
    report_bad(&loaded.bad, source.unit());
    *rows += loaded.rows;
    let after = memory(client, *rows).await?;

    let bar = rows_bar(&format!("verifying {}", demo.name), source.rows());
    let verified = verify(client, &table, &source, &mut converter()?, &bar).await;
    bar.finish_and_clear();
    let mut verified = verified.with_context(|| format!("cannot verify {name}"))?;
    for (row, reason) in &verified.wrong.first {
        eprintln!("  {name}, row {row}: {reason}");
    }
    if source.rows() != Some(verified.equal + verified.wrong.count) {
        verified.wrong.add(0, "the number of rows differs".to_owned());
    }
    say(format_args!(
        "{:9} {:>8} rows loaded in {:.1} s, verified in {:.1} s",
        demo.name,
        count_text(loaded.rows),
        loaded.time.as_secs_f64(),
        verified.time.as_secs_f64()
    ))?;
    let row_bytes = after.saturating_sub(before) / (loaded.rows * REPLICAS).max(1);
    Ok(Served { name: demo.name, table, loaded, verified, row_bytes })
}

/// Bytes that all data nodes hold, once they report `rows` rows on every replica.
async fn memory(client: &Client, rows: u64) -> Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = client.status().await?;
        let held: u64 = status.nodes.iter().map(|node| node.rows).sum();
        if held == rows * REPLICAS {
            return Ok(status.nodes.iter().map(|node| node.memory_used).sum());
        }
        ensure!(
            Instant::now() < deadline,
            "the data nodes report {} rows on all replicas together instead of {}",
            count_text(held),
            count_text(rows * REPLICAS)
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn summary(served: &[Served], looked_up: &[Lookups]) -> String {
    // Fits 80 columns; the bytes are those of one replica.
    let header = ["table", "rows", "bytes/row", "loaded/s", "verified/s", "equal", "wrong"];
    let mut tables = text_table(&header);
    for table in served {
        let verified = table.verified.equal as f64 / table.verified.time.as_secs_f64().max(1e-9);
        tables.add_row([
            format!("{DEMO_DATABASE}.{}", table.name),
            count_text(table.loaded.rows),
            match table.loaded.rows {
                0..SMALL_TABLE_ROWS => "-".to_owned(),
                _ => bytes_text(table.row_bytes),
            },
            count_text(table.loaded.rows_per_second() as u64),
            count_text(verified as u64),
            count_text(table.verified.equal),
            count_text(table.loaded.bad.count + table.verified.wrong.count),
        ]);
    }
    let mut lookups =
        text_table(&["look-ups of flights by key", "rows/s", "median of a request", "99 % within"]);
    for measured in looked_up {
        lookups.add_row([
            measured.name.clone(),
            count_text(measured.rows_per_second as u64),
            format!("{:.0} µs", measured.median.as_secs_f64() * 1e6),
            format!("{:.0} µs", measured.p99.as_secs_f64() * 1e6),
        ]);
    }
    format!("\n{tables}\n{lookups}")
}

fn tell_features(served: &features::Served) -> Result<()> {
    let groups = served.groups.iter().map(|(name, rows)| format!("{name} ({})", count_text(*rows)));
    let groups: Vec<String> = groups.collect();
    say(format_args!("feature groups {}; feature view {}", groups.join(", "), features::view_name()))?;
    if served.equal > 0 {
        say(format_args!(
            "the feature vectors of {} flights are equal to their sources; {} flights have no tail number",
            count_text(served.equal),
            count_text(served.without_key)
        ))?;
    }
    Ok(())
}

fn farewell(
    cluster: &LocalCluster,
    management: &str,
    features: &features::Served,
    gateway: Option<&Gateway>,
) -> String {
    let sql = gateway.map(|gateway| gateway.commands(DEMO_DATABASE)).unwrap_or_default();
    let program = program();
    let curl = features::curl(features);
    let mut endpoints = text_table(&["process", "clients and tools", "metrics"]);
    for node in cluster.management().iter().chain(cluster.data_nodes()) {
        let metrics = node.metrics().map_or("-".to_owned(), |address| format!("http://{address}/metrics"));
        endpoints.add_row([node.name().to_owned(), node.listen().to_string(), metrics]);
    }
    format!(
        "\n{endpoints}\nlogs are in {}\n\n\
         Rows are in memory only for now: they are gone when the demo ends.\n\n\
         Try in another terminal:\n\
         \x20 {program} admin status --connect {management}\n\
         \x20 {program} admin tables --connect {management}\n\
         \x20 {program} import FILE.csv --table mine --key id --connect {management}\n\
         \x20 {curl}\n\
         {sql}\n\
         Or in Rust:\n\
         \x20 let client = duet_client::Client::connect(\"{management}\").await?;\n\
         \x20 let planes = client.table(\"{DEMO_DATABASE}.planes\").await?;\n\
         \x20 println!(\"{{:?}}\", client.get(&planes, \"N14228\").await?);\n\n\
         ctrl-C ends the demo.",
        cluster.directory().display()
    )
}

/// Starts a data node that has ended again, as long as the other one has its rows, and the gateway; returns when a process ends that the
/// demo cannot do without, or a data node that ends again and again. A gateway that does is left alone: the rows outlive it.
///
/// # Errors
/// A data node does not start.
async fn watch(cluster: &mut LocalCluster, mut gateway: Option<&mut Gateway>) -> Result<()> {
    let (mut node_starts, mut gateway_starts) = (Restarts::default(), Restarts::default());
    loop {
        tokio::time::sleep(WATCH).await;
        if let Some(died) = cluster.unexpected_end() {
            // Ctrl-C in a terminal ends all processes at once, this one as well.
            tokio::time::sleep(MOMENT).await;
            let [id] = cluster.ended_data_nodes()[..] else { return Ok(()) };
            if !node_starts.one_more(Instant::now()) {
                return Ok(());
            }
            say(format_args!(
                "\n{died}\nThe other data node serves; data node {id} is started again and copies its rows."
            ))?;
            tokio::task::block_in_place(|| cluster.restart_data_node(id))?;
        }
        if let Some((serving, died)) =
            gateway.as_mut().and_then(|gateway| gateway.unexpected_end().map(|died| (gateway, died)))
        {
            tokio::time::sleep(MOMENT).await;
            let started = match gateway_starts.one_more(Instant::now()) {
                true => tokio::task::block_in_place(|| serving.restart()),
                false => Err(anyhow!(
                    "it has ended {RESTARTS} times within {} s before",
                    RESTARTS_WITHIN.as_secs()
                )),
            };
            match started {
                Ok(()) => say(format_args!(
                    "\n{died}\nIt has been started again and listens on port {}, as before.",
                    serving.port()
                ))?,
                Err(error) => {
                    say(format_args!(
                        "\n{died}\nIt is not started again ({error:#}): there is no SQL any more; the rest of the demo serves."
                    ))?;
                    gateway = None;
                }
            }
        }
    }
}

/// When processes were started again, so that one that always ends is not started for ever.
#[derive(Default)]
struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// Counts one more, unless there have been enough of late.
    fn one_more(&mut self, now: Instant) -> bool {
        self.0.retain(|earlier| now.saturating_duration_since(*earlier) < RESTARTS_WITHIN);
        let allowed = self.0.len() < RESTARTS;
        if allowed {
            self.0.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_always_ends_is_not_started_for_ever() {
        let mut starts = Restarts::default();
        let began = Instant::now();
        for _ in 0..RESTARTS {
            assert!(starts.one_more(began));
        }
        assert!(!starts.one_more(began + RESTARTS_WITHIN / 2));
        assert!(starts.one_more(began + RESTARTS_WITHIN));
    }
}
