//! The death and the pause of a data node under load: nothing that was acknowledged is lost, nothing happens twice.

use crate::cluster::{Cluster, wait_for};
use crate::wire::Wire;
use duet_client::{Client, ColumnType, ErrorCode, Row, TableDefinition};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

const KEYS: i32 = 16;
const TASKS: i32 = 16;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn counters() -> TableDefinition {
    TableDefinition::builder("test", "counters")
        .required("id", ColumnType::Int)
        .nullable("value", ColumnType::BigInt)
        .primary_key(["id"])
        .build()
        .expect("valid")
}

/// Number of the view that a node has installed.
fn view_of(cluster: &Cluster, node: usize) -> u64 {
    Wire::client(&cluster.nodes[node].listen).state().expect("formed").view.number
}

/// Increments counters from several tasks, lets `fail` strike in the middle, and compares what was acknowledged with what is
/// there. The keys that every node led at first all go on being written.
pub fn increments_survive(cluster: &mut Cluster, fail: impl FnOnce(&mut Cluster)) {
    let runtime = runtime();
    let (acknowledged, unknown) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let (client, table) = runtime.block_on(async {
        let client = Client::connect(&cluster.management_addresses).await.expect("connected");
        let table = client.create_table(counters()).await.expect("created");
        for id in 0..KEYS {
            let row = Row::new(&table).with("id", id).and_then(|row| row.with("value", 0)).expect("a row");
            client.insert(&table, row).await.expect("inserted");
        }
        (client, table)
    });
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (client, table, stop) = (client.clone(), table.clone(), Arc::clone(&stop));
            let (acknowledged, unknown) = (Arc::clone(&acknowledged), Arc::clone(&unknown));
            runtime.spawn(async move {
                let mut number = task;
                while !stop.load(Ordering::Acquire) {
                    number += 1;
                    match client.increment(&table, number % KEYS, "value", 1).await {
                        Ok(_) => {
                            acknowledged.fetch_add(1, Ordering::AcqRel);
                        }
                        Err(error) if error.is(ErrorCode::OutcomeUnknown) => {
                            unknown.fetch_add(1, Ordering::AcqRel);
                        }
                        Err(error) => {
                            let code = error.error_code().expect("known");
                            assert!(code.is_retryable() || code == ErrorCode::DeadlineExceeded, "{error}");
                        }
                    }
                }
            })
        })
        .collect();
    let reached = |least: i64| (acknowledged.load(Ordering::Acquire) >= least).then_some(());
    wait_for("traffic before the failure", || reached(500));
    fail(cluster);
    let before = acknowledged.load(Ordering::Acquire);
    wait_for("traffic after the failure", || reached(before + 2_000));
    // Every key can be written again.
    runtime.block_on(async {
        for id in 0..KEYS {
            let mut written = client.increment(&table, id, "value", 1).await;
            for _ in 0..20 {
                if written.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                written = client.increment(&table, id, "value", 1).await;
            }
            written.expect("the key is served");
            acknowledged.fetch_add(1, Ordering::AcqRel);
        }
    });
    stop.store(true, Ordering::Release);
    let total = runtime.block_on(async {
        for task in tasks {
            task.await.expect("no panic");
        }
        let rows = client.get_many(&table, 0..KEYS).await.expect("read");
        let values =
            rows.iter().map(|row| row.as_ref().expect("there").get::<i64>("value").expect("a number"));
        values.sum::<i64>()
    });
    let (acknowledged, unknown) = (acknowledged.load(Ordering::Acquire), unknown.load(Ordering::Acquire));
    // A repeat of the last loop whose first try timed out may have counted as well.
    let most = acknowledged + unknown + 20 * i64::from(KEYS);
    assert!((acknowledged..=most).contains(&total), "{total} is not between {acknowledged} and {most}");
}

#[test]
fn a_killed_node_loses_no_acknowledged_write() {
    let mut cluster = Cluster::start(1);
    increments_survive(&mut cluster, |cluster| cluster.nodes[1].kill());
    assert_eq!(view_of(&cluster, 0), 2);
}

#[test]
fn a_stopped_node_is_taken_over_and_ends_when_it_goes_on() {
    let mut cluster = Cluster::start(1);
    increments_survive(&mut cluster, |cluster| cluster.nodes[0].signal("STOP"));
    assert!(view_of(&cluster, 1) >= 2);
    cluster.nodes[0].signal("CONT");
    wait_for("the end of the node that was voted out", || cluster.nodes[0].has_ended().then_some(()));
    cluster.nodes[0].wait_until_it_says("is not a member of view");
    cluster.nodes[0].wait_until_it_says("start it again");
}

#[test]
fn both_nodes_die_and_come_back_in_turn() {
    let mut cluster = Cluster::start(1);
    increments_survive(&mut cluster, |cluster| {
        for node in [1, 0, 1, 0] {
            cluster.nodes[node].kill();
            cluster.restart_node(node);
            cluster.wait_for_full_members();
        }
    });
    assert!(view_of(&cluster, 0) >= 13);
    wait_for("both nodes lead partitions again", || {
        let view = cluster.state().view;
        let led = |node: u32| view.partitions.iter().filter(|found| found.replicas[0] == node).count();
        (led(1) == led(2)).then_some(())
    });
}

#[test]
fn a_group_whose_nodes_have_both_ended_is_lost_and_says_so() {
    let mut cluster = Cluster::start(1);
    cluster.nodes.iter_mut().for_each(crate::cluster::Process::kill);
    let ends = [1, 2].map(|id: u32| {
        let id = id.to_string();
        let arguments: Vec<String> = cluster.node_arguments(&id).into_iter().map(str::to_owned).collect();
        std::thread::spawn(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            crate::cluster::run_to_end(&arguments)
        })
    });
    for end in ends {
        let (code, error) = end.join().expect("no panic");
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains("GroupLost") && error.contains("start a new cluster"), "{error}");
    }
}
