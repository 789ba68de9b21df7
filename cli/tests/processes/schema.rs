//! Schema changes over real sockets, while clients read and write.

use crate::cluster::Cluster;
use duet_client::{
    Batch, Client, Column, ColumnType, ErrorCode, Expectation, IndexKind, Row, TableDefinition, Value,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Rows before the change.
const ROWS: i32 = 5_000;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn players() -> TableDefinition {
    TableDefinition::builder("test", "players")
        .required("id", ColumnType::Int)
        .required("score", ColumnType::BigInt)
        .primary_key(["id"])
        .build()
        .expect("valid")
}

#[derive(Row, Debug, PartialEq)]
#[duet(table = "test.players")]
struct Player {
    #[duet(key)]
    id: i32,
    score: i64,
}

#[derive(Row, Debug, PartialEq)]
#[duet(table = "test.players")]
struct Leveled {
    #[duet(key)]
    id: i32,
    score: i64,
    level: Option<i32>,
    title: Option<String>,
}

async fn fill(client: &Client, table: &duet_client::Table) {
    let mut batch = Batch::new();
    for id in 0..ROWS {
        let values = [Value::from(id), Value::from(0)];
        batch.upsert(table, &values, Expectation::Any).expect("a row");
    }
    client.execute(&mut batch).await.expect("executed");
    assert_eq!(batch.error_count(), 0);
}

#[test]
fn columns_are_added_while_clients_write() {
    let cluster = Cluster::start(1);
    runtime().block_on(async {
        let client = Client::connect(&cluster.management_addresses).await.expect("connected");
        let old = client.create_table(players()).await.expect("created");
        fill(&client, &old).await;
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
                let address = cluster.nodes[writer % 2].listen.clone();
                tokio::spawn(async move {
                    // Its own connection, and the table as it was.
                    let client = Client::connect(&address).await.expect("connected");
                    let table = client.table("test.players").await.expect("there");
                    let typed = client.typed_table::<Player>().await.expect("fits");
                    let mut id = writer as i32;
                    while !stop.load(Ordering::Relaxed) {
                        client.increment(&table, id, "score", 1).await.expect("goes on");
                        assert!(typed.get(id).await.expect("read").expect("there").score > 0);
                        written.fetch_add(1, Ordering::Relaxed);
                        id = (id + 4) % ROWS;
                    }
                })
            })
            .collect();
        let before = written.load(Ordering::Relaxed);
        while written.load(Ordering::Relaxed) < before + 50 {
            tokio::task::yield_now().await;
        }
        let level = Column::new("level", ColumnType::Int).nullable().default_value(1);
        let middle = client.add_column(&old, level.clone()).await.expect("added");
        let title = Column::new("title", ColumnType::Varchar { characters: 20 }).nullable();
        let new = client.add_column(&middle, title).await.expect("added");
        assert_eq!((old.version(), middle.version(), new.version()), (1, 2, 3));
        let during = written.load(Ordering::Relaxed);
        while written.load(Ordering::Relaxed) < during + 50 {
            tokio::task::yield_now().await;
        }
        // Rows of the first version have the defaults; what is written with one handle is read with all.
        let typed = client.typed_table::<Leveled>().await.expect("fits");
        let row = typed.get(ROWS - 1).await.expect("read").expect("there");
        assert_eq!((row.level, row.title), (Some(1), None));
        let values = [Value::from(ROWS), Value::from(7), Value::from(9), Value::from("captain")];
        client.insert(&new, values).await.expect("inserted");
        client.increment(&old, ROWS, "score", 1).await.expect("goes on");
        let values = [Value::from(ROWS), Value::from(20), Value::from(10)];
        client.upsert(&middle, values).await.expect("replaced");
        let row = typed.get(ROWS).await.expect("read").expect("there");
        let expected = Leveled { id: ROWS, score: 20, level: Some(10), title: Some("captain".to_owned()) };
        assert_eq!(row, expected);
        let player = client.typed_table::<Player>().await.expect("a struct of some columns fits");
        assert_eq!(player.get(ROWS).await.expect("read"), Some(Player { id: ROWS, score: 20 }));

        let mut scan = client.scan(&new);
        let (mut rows, mut with_default) = (0, 0);
        while let Some(row) = scan.next().await.expect("scanned") {
            rows += 1;
            with_default += i32::from(row.get::<Option<i32>>("level").expect("there") == Some(1));
        }
        assert_eq!((rows, with_default), (ROWS + 1, ROWS));
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.expect("no error");
        }

        let refused = |column: Column| client.add_column(&new, column);
        for (column, code) in [
            (level, 105),
            (Column::new("rank", ColumnType::Int), 125),
            (Column::new("text", ColumnType::Text).default_value("x".repeat(70_000).as_str()), 115),
        ] {
            assert_eq!(refused(column).await.expect_err("refused").code, code);
        }
        // A handle that is behind does not hide what the cluster knows.
        let again = client.add_column(&old, Column::new("level", ColumnType::Int).nullable()).await;
        assert!(again.expect_err("refused").is(ErrorCode::InvalidSchema));
        client.drop_table("test.players").await.expect("dropped");
        let gone = client.add_column(&new, Column::new("rank", ColumnType::Int).nullable()).await;
        assert!(gone.expect_err("refused").is(ErrorCode::TableNotFound));
    });
}

#[test]
fn indexes_are_created_and_dropped_while_clients_write() {
    let cluster = Cluster::start(1);
    runtime().block_on(async {
        let client = Client::connect(&cluster.management_addresses).await.expect("connected");
        let table = client.create_table(players()).await.expect("created");
        fill(&client, &table).await;
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
                let (client, table) = (client.clone(), table.clone());
                tokio::spawn(async move {
                    let mut id = writer;
                    while !stop.load(Ordering::Relaxed) {
                        client.increment(&table, id, "score", 1).await.expect("goes on");
                        if id % 5 == 0 {
                            // Rows come and go while the index is built.
                            client.delete(&table, id).await.expect("there");
                            let row = [Value::from(id), Value::from(1)];
                            client.insert(&table, row).await.expect("gone");
                        }
                        written.fetch_add(1, Ordering::Relaxed);
                        id = (id + 4) % ROWS;
                    }
                })
            })
            .collect();
        while written.load(Ordering::Relaxed) < 50 {
            tokio::task::yield_now().await;
        }
        let within = Duration::from_secs(60);
        for _ in 0..3 {
            let indexed = client
                .create_index(&table, "by_score", IndexKind::Ordered, &["score"], within)
                .await
                .expect("built");
            let before = written.load(Ordering::Relaxed);
            while written.load(Ordering::Relaxed) < before + 20 {
                tokio::task::yield_now().await;
            }
            let again = client.create_index(&table, "by_score", IndexKind::Ordered, &["score"], within).await;
            assert!(again.expect_err("refused").is(ErrorCode::InvalidSchema));
            let mut rows = client.range(&indexed).index("by_score");
            let mut count = 0;
            while let Some(row) = rows.next().await.expect("scanned") {
                assert!(row.get::<i64>("score").expect("there") >= 0);
                count += 1;
            }
            assert!(count > 0);
            let dropped = client.drop_index(&indexed, "by_score").await.expect("dropped");
            assert!(dropped.definition().indexes.is_empty());
            let error = client.drop_index(&indexed, "by_score").await.expect_err("refused");
            assert!(error.is(ErrorCode::IndexNotFound), "{error}");
        }
        let indexed = client
            .create_index(&table, "by_score", IndexKind::Ordered, &["score"], within)
            .await
            .expect("built");
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.expect("no error");
        }
        let mut scan = client.scan(&table);
        let mut expected = Vec::new();
        while let Some(row) = scan.next().await.expect("scanned") {
            expected.push((row.get::<i64>("score").expect("there"), row.get::<i32>("id").expect("there")));
        }
        expected.sort_unstable();
        let mut rows = client.range(&indexed).index("by_score").ordered();
        let mut found = Vec::new();
        while let Some(row) = rows.next().await.expect("scanned") {
            found.push((row.get::<i64>("score").expect("there"), row.get::<i32>("id").expect("there")));
        }
        assert_eq!(found, expected, "the index is the table in another order");
        let unknown = client.create_index(&table, "by_rank", IndexKind::Ordered, &["rank"], within).await;
        assert!(unknown.expect_err("refused").is(ErrorCode::InvalidRequest));
    });
}
