//! Nodes that leave as they are told to, by a signal or by an operator, under load: no request and no transaction fails.

use crate::cluster::{Cluster, wait_for};
use crate::wire::Wire;
use duet_client::{Assignment, Client, ColumnType, Error, Row, Table, TableDefinition};
use duet_protocol::record::ClusterState;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

const KEYS: i32 = 24;
const TASKS: i32 = 4;
/// What is said of transactions that may not be tried again.
const ONCE: &str = "transaction without another try";

fn counters() -> TableDefinition {
    TableDefinition::builder("test", "graceful")
        .required("id", ColumnType::Int)
        .nullable("value", ColumnType::BigInt)
        .primary_key(["id"])
        .build()
        .expect("valid")
}

/// Reads, increments and transactions over several partitions that go on until the load is stopped.
struct Load {
    runtime: Runtime,
    client: Client,
    table: Table,
    tasks: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// What acknowledged changes have added to all rows together.
    added: AtomicI64,
    transactions: AtomicI64,
    failures: Mutex<Vec<String>>,
}

impl Shared {
    fn count<T>(&self, what: &str, added: i64, result: Result<T, Error>) {
        match result {
            Ok(_) => {
                self.added.fetch_add(added, Ordering::AcqRel);
            }
            Err(error) => self.failures.lock().expect("no panic").push(format!("{what}: {error:?}")),
        }
    }
}

/// Adds 1 to two rows, which may lie anywhere.
async fn add_to_both(client: &Client, table: &Table, one: i32, other: i32) -> Result<(), Error> {
    let change = |transaction: duet_client::Transaction| async move {
        let row = transaction.get_for_update(table, one).await?.expect("there");
        let value: i64 = row.get("value")?;
        transaction.update(table, one, &[("value", Assignment::Set((value + 1).into()))]).await?;
        transaction.update(table, other, &[("value", Assignment::Add(1.into()))]).await?;
        Ok(())
    };
    client.transaction(change).await
}

/// As [`add_to_both`], but it may not be tried again: it waits while its partitions are handed over.
async fn add_once(client: &Client, table: &Table, one: i32, other: i32) -> Result<(), Error> {
    let transaction = client.begin();
    for key in [one, other] {
        transaction.get_for_update(table, key).await?;
        transaction.update(table, key, &[("value", Assignment::Add(1.into()))]).await?;
    }
    transaction.commit().await.map(|_| ())
}

impl Load {
    fn start(cluster: &Cluster) -> Load {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (client, table) = runtime.block_on(async {
            let client = Client::connect(&cluster.management_addresses).await.expect("connected");
            let table = client.create_table(counters()).await.expect("created");
            for id in 0..KEYS {
                let row =
                    Row::new(&table).with("id", id).and_then(|row| row.with("value", 0)).expect("a row");
                client.insert(&table, row).await.expect("inserted");
            }
            (client, table)
        });
        let shared = Arc::new(Shared::default());
        let mut tasks = Vec::new();
        for task in 0..TASKS {
            for kind in 0..4 {
                let (client, table, shared) = (client.clone(), table.clone(), Arc::clone(&shared));
                tasks.push(runtime.spawn(async move {
                    let mut number = task;
                    while !shared.stop.load(Ordering::Acquire) {
                        number += 1;
                        let (key, other) = (number % KEYS, (number * 7 + task) % KEYS);
                        match kind {
                            0 => shared.count("get", 0, client.get(&table, key).await),
                            1 => {
                                let written = client.increment(&table, key, "value", 1).await;
                                shared.count("increment", 1, written);
                            }
                            _ if key == other => {}
                            2 => {
                                let done = add_once(&client, &table, key.min(other), key.max(other)).await;
                                shared.count(ONCE, 2, done);
                            }
                            _ => {
                                let done = add_to_both(&client, &table, key.min(other), key.max(other)).await;
                                shared.count("transaction", 2, done);
                                shared.transactions.fetch_add(1, Ordering::AcqRel);
                            }
                        }
                    }
                }));
            }
        }
        let load = Load { runtime, client, table, tasks, shared };
        load.go_on();
        load
    }

    /// Waits until some more was done of everything.
    fn go_on(&self) {
        let transactions = self.shared.transactions.load(Ordering::Acquire) + 200;
        let added = self.shared.added.load(Ordering::Acquire) + 1_000;
        wait_for("the load goes on", || {
            let goes_on = self.shared.transactions.load(Ordering::Acquire) >= transactions
                && self.shared.added.load(Ordering::Acquire) >= added;
            (goes_on || !self.shared.failures.lock().expect("no panic").is_empty()).then_some(())
        });
    }

    /// Nothing has failed, and everything that was acknowledged has happened once. Transactions that may not be tried again may have
    /// been refused if the machine let a node stand still.
    fn end(self, cluster: &Cluster) {
        self.go_on();
        self.shared.stop.store(true, Ordering::Release);
        let total = self.runtime.block_on(async {
            for task in self.tasks {
                task.await.expect("no panic");
            }
            let rows = self.client.get_many(&self.table, 0..KEYS).await.expect("read");
            let values =
                rows.iter().map(|row| row.as_ref().expect("there").get::<i64>("value").expect("a number"));
            values.sum::<i64>()
        });
        let mut failures = self.shared.failures.lock().expect("no panic");
        if cluster.has_paused() {
            failures.retain(|failure| !failure.starts_with(ONCE) || !failure.contains("NotServing"));
        }
        assert!(
            failures.is_empty(),
            "{} failed, first {:?}",
            failures.len(),
            failures.iter().take(3).collect::<Vec<_>>()
        );
        assert_eq!(total, self.shared.added.load(Ordering::Acquire), "every change happened once");
    }
}

/// Runs `duet admin` to its end: whether it succeeded, and all that it said.
fn admin(cluster: &Cluster, words: &[&str]) -> (bool, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_duet"))
        .arg("admin")
        .args(words)
        .args(["--connect", &cluster.management_addresses])
        .output()
        .expect("the binary exists");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn incarnations(state: &ClusterState) -> Vec<u32> {
    state.view.members().map(|member| member.incarnation).collect()
}

fn wait_for_even_share(cluster: &Cluster) {
    wait_for("both nodes lead partitions", || {
        let view = cluster.state().view;
        let led = |node: u32| view.partitions.iter().filter(|found| found.replicas[0] == node).count();
        (led(1) == led(2)).then_some(())
    });
}

#[test]
fn a_node_that_is_told_to_end_hands_over_first() {
    let mut cluster = Cluster::start(1);
    let load = Load::start(&cluster);
    for index in [1, 0] {
        cluster.nodes[index].signal("TERM");
        let status = wait_for("the end", || cluster.nodes[index].child.try_wait().expect("waitable"));
        assert_eq!(status.code(), Some(0));
        let other = Wire::client(&cluster.nodes[1 - index].listen).state().expect("formed");
        assert!(other.view.member(index as u32 + 1).is_none(), "it had itself removed");
        load.go_on();
        cluster.restart_node(index);
        cluster.wait_for_full_members();
        wait_for_even_share(&cluster);
    }
    load.end(&cluster);
}

fn rolling_restart(management: usize) {
    let cluster = Cluster::start(management);
    let before = incarnations(&cluster.state());
    let load = Load::start(&cluster);
    let (done, said) = admin(&cluster, &["rolling-restart", "--timeout", "60"]);
    assert!(done, "{said}");
    load.end(&cluster);
    let after = incarnations(&cluster.state());
    assert!(before.iter().zip(&after).all(|(before, after)| after > before), "{before:?} {after:?}");
    wait_for_even_share(&cluster);
}

#[test]
fn a_rolling_restart_fails_nothing() {
    rolling_restart(1);
}

#[test]
fn a_rolling_restart_with_three_management_nodes_fails_nothing() {
    rolling_restart(3);
}

#[test]
fn a_node_is_stopped_only_where_its_rows_stay() {
    let mut cluster = Cluster::start(1);
    let (done, said) = admin(&cluster, &["stop-node", "3"]);
    assert!(!done && said.contains("UnknownNodeId") || said.contains("1 to 2"), "{said}");
    let (done, said) = admin(&cluster, &["stop-node", "2"]);
    assert!(done && said.contains("has ended"), "{said}");
    assert!(cluster.nodes[1].has_ended());
    for words in [&["stop-node", "1"][..], &["restart-node", "1"], &["rolling-restart"]] {
        let (done, said) = admin(&cluster, words);
        assert!(!done, "{said}");
        assert!(said.contains("only one") || said.contains("not whole"), "{said}");
    }
    let (done, said) = admin(&cluster, &["stop-node", "2"]);
    assert!(!done && said.contains("no member"), "{said}");
    cluster.restart_node(1);
    cluster.wait_for_full_members();
    let (done, said) = admin(&cluster, &["restart-node", "1"]);
    assert!(done && said.contains("back with all rows"), "{said}");
    let (done, said) = admin(&cluster, &["stop-node", "1"]);
    assert!(done, "{said}");
    let (done, said) = admin(&cluster, &["stop-node", "2", "--force"]);
    assert!(done, "{said}");
    assert!(cluster.nodes.iter_mut().all(crate::cluster::Process::has_ended));
}
