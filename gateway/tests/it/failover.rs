//! A data node is killed under load: statements in flight may fail with errors that clients know to try again after, and the load goes on.

use crate::cluster::Cluster;
use mysql::Conn;
use mysql::prelude::Queryable;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const THREADS: u64 = 4;
const ROWS: u64 = 200;
/// Transactions of each thread before a node is killed, and again afterwards.
const TRANSACTIONS: u64 = 30;

/// What a thread has seen.
#[derive(Default)]
struct Seen {
    committed: AtomicU64,
    /// Commits of which nobody could tell whether they happened: error 1180.
    unknown: AtomicU64,
    failed: AtomicU64,
}

/// The statements of sysbench's `oltp_read_write` on one row and its neighbours.
fn transaction(connection: &mut Conn, id: u64, number: u64) -> Result<(), (bool, mysql::Error)> {
    let within = |error| (false, error);
    connection.query_drop("BEGIN").map_err(within)?;
    connection.exec_drop("SELECT c FROM sbtest1 WHERE id = ?", (id,)).map_err(within)?;
    connection
        .exec_drop("SELECT SUM(k) FROM sbtest1 WHERE id BETWEEN ? AND ?", (id, id + 20))
        .map_err(within)?;
    connection.exec_drop("UPDATE sbtest1 SET k = k + 1 WHERE id = ?", (id,)).map_err(within)?;
    let row = (ROWS + number, 0, "c");
    connection.exec_drop("DELETE FROM sbtest1 WHERE id = ?", (row.0,)).map_err(within)?;
    connection.exec_drop("INSERT INTO sbtest1 (id, k, c) VALUES (?, ?, ?)", row).map_err(within)?;
    connection.query_drop("COMMIT").map_err(|error| (true, error))
}

/// Works until it has committed a number of transactions.
fn work(connection: &mut Conn, thread: u64, seen: &Seen) {
    let until = Instant::now() + Duration::from_secs(120);
    let goal = seen.committed.load(Ordering::Relaxed) + TRANSACTIONS;
    let mut number = 0;
    while seen.committed.load(Ordering::Relaxed) < goal {
        assert!(Instant::now() < until, "the load does not go on");
        number += 1;
        // Threads meet at some rows.
        let id = 1 + (number * 7 + thread * 3) % 20;
        match transaction(connection, id, thread * 10 + number % 10) {
            Ok(()) => seen.committed.fetch_add(1, Ordering::Relaxed),
            Err((ends, mysql::Error::MySqlError(error))) => {
                let unknown = ends && error.code == 1_180;
                assert!(unknown || matches!(error.code, 1_205 | 1_213), "{error}");
                connection.query_drop("ROLLBACK").expect("nothing to roll back is no error");
                if unknown { &seen.unknown } else { &seen.failed }.fetch_add(1, Ordering::Relaxed)
            }
            Err((_, error)) => panic!("{error}"),
        };
        // A statement that is a transaction of its own is tried again by the gateway where that cannot do harm.
        match connection.exec_drop("UPDATE sbtest1 SET c = ? WHERE id = ?", (number, 100 + thread)) {
            Ok(()) => {}
            Err(mysql::Error::MySqlError(error)) => {
                assert!(matches!(error.code, 1_180 | 1_205 | 1_213), "{error}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_killed_data_node_gives_only_errors_that_may_be_tried_again() {
    let mut cluster = Cluster::start();
    let mut connection = cluster.connect();
    connection.query_drop("CREATE DATABASE sbtest").expect("created");
    connection.query_drop("USE sbtest").expect("there");
    connection
        .query_drop(
            "CREATE TABLE sbtest1 (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0, \
             c CHAR(120) NOT NULL DEFAULT '', KEY k_1 (k))",
        )
        .expect("created");
    for id in 1..=ROWS {
        connection.exec_drop("INSERT INTO sbtest1 (id, k, c) VALUES (?, 0, 'c')", (id,)).expect("inserted");
    }
    let options = cluster.options().db_name(Some("sbtest"));
    let seen = Seen::default();
    let before = std::sync::Barrier::new(THREADS as usize + 1);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (options, seen, before) = (options.clone(), &seen, &before);
            scope.spawn(move || {
                let mut connection = Conn::new(options).expect("connected");
                work(&mut connection, thread, seen);
                before.wait();
                work(&mut connection, thread, seen);
            });
        }
        before.wait();
        cluster.kill_node(1);
    });
    let (committed, unknown) = (seen.committed.into_inner(), seen.unknown.into_inner());
    assert!(committed >= 2 * TRANSACTIONS, "{committed}");
    // Every increment that was committed is there, and none that was not.
    let sum: u64 =
        connection.query_first("SELECT SUM(k) FROM sbtest1 WHERE id <= 20").expect("read").expect("a row");
    assert!((committed..=committed + unknown).contains(&sum), "{sum} of {committed} and maybe {unknown}");
    eprintln!("{committed} committed, {unknown} unknown, {} failed", seen.failed.into_inner());
}
