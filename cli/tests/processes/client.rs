//! The client library against real processes.

use crate::cluster::Cluster;
use duet_client::{Batch, Client, ColumnType, Error, ErrorCode, Expectation, Row, TableDefinition, Value};
use std::time::Duration;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn counters() -> TableDefinition {
    TableDefinition::builder("test", "counters")
        .required("id", ColumnType::Int)
        .nullable("value", ColumnType::BigInt)
        .nullable("note", ColumnType::Varchar { characters: 8 })
        .primary_key(["id"])
        .build()
        .expect("valid")
}

#[test]
fn concurrent_increments_are_exact_while_a_node_stops_and_goes_on() {
    const TASKS: i64 = 32;
    const INCREMENTS: i64 = 150;
    let cluster = Cluster::start(1);
    let total = runtime().block_on(async {
        let client = Client::connect(&cluster.nodes[0].listen).await.expect("connected");
        let table = client.create_table(counters()).await.expect("created");
        for id in 0..4 {
            let row = Row::new(&table).with("id", id).and_then(|row| row.with("value", 0)).expect("a row");
            client.insert(&table, row).await.expect("inserted");
        }
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (client, table) = (client.clone(), table.clone());
                tokio::spawn(async move {
                    for number in 0..INCREMENTS {
                        let sum = client.increment(&table, ((task + number) % 4) as i32, "value", 1).await;
                        sum.expect("the pause is shorter than the deadline");
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            cluster.nodes[1].signal("STOP");
            tokio::time::sleep(Duration::from_millis(150)).await;
            cluster.nodes[1].signal("CONT");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        let rows = client.get_many(&table, 0..4).await.expect("read");
        let values =
            rows.iter().map(|row| row.as_ref().expect("there").get::<i64>("value").expect("a number"));
        values.sum::<i64>()
    });
    assert_eq!(total, TASKS * INCREMENTS);
}

#[test]
fn rows_come_back_as_they_were_written_and_bad_input_is_named() {
    let cluster = Cluster::start(1);
    runtime().block_on(async {
        let client = Client::connect(&cluster.management_addresses).await.expect("connected");
        let table = client.create_table(counters()).await.expect("created");
        let mut batch = Batch::new();
        for id in 0..3_000 {
            let values = [Value::from(id), Value::from(i64::from(id) * 3), Value::Null];
            batch.upsert(&table, &values, Expectation::Any).expect("a row");
        }
        client.execute(&mut batch).await.expect("executed");
        assert_eq!(batch.error_count(), 0);

        let rows = client.get_many(&table, (0..3_000).rev()).await.expect("read");
        for (row, id) in rows.iter().zip((0..3_000).rev()) {
            let row = row.as_ref().expect("there");
            assert_eq!((row.get::<i32>("id"), row.get::<i64>("value")), (Ok(id), Ok(i64::from(id) * 3)));
        }
        let mut scan = client.scan(&table);
        let mut seen = Vec::new();
        while let Some(row) = scan.next().await.expect("scanned") {
            seen.push(row.get::<i32>("id").expect("a number"));
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..3_000).collect::<Vec<_>>());

        let is = |result: Result<duet_client::Written, Error>, code| result.expect_err("refused").is(code);
        let row = |id: Value, note: &str| {
            Row::new(&table).with("id", id).and_then(|row| row.with("note", note)).expect("columns exist")
        };
        assert!(is(client.insert(&table, row(7.into(), "x")).await, ErrorCode::DuplicateKey));
        assert!(is(client.delete(&table, 70_000).await, ErrorCode::RowNotFound));
        for bad in [row(Value::Null, "x"), row("text".into(), "x"), row(7.into(), "much too long")] {
            let error = client.insert(&table, bad).await.expect_err("refused");
            assert!((150..200).contains(&error.code) && !error.retryable, "{error}");
        }
        assert!(Row::new(&table).with("no such column", 1).is_err());
        let error = client.table("nothing").await.expect_err("refused");
        assert!(error.is(ErrorCode::TableNotFound), "{error}");
        let error = client.create_table(counters()).await.expect_err("refused");
        assert!(error.is(ErrorCode::TableExists), "{error}");
        client.drop_table("test.counters").await.expect("dropped");
        let error = client.get(&table, 1).await.expect_err("refused");
        assert!(error.is(ErrorCode::TableNotFound), "{error}");
    });
}
