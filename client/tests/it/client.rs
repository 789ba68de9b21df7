//! The asynchronous client.

use crate::fake::{Fault, Process};
use crate::server::{Server, eventually, users};
use duet_client::{Assignment, Batch, Client, ErrorCode, Expectation, Outcome, Row, Table, Value, ValueRef};
use std::time::Duration;

async fn connect() -> (Server, Client, Table) {
    let server = Server::start();
    let client = Client::connect(&server.seed()).await.expect("the fake answers");
    let table = client.create_table(users()).await.expect("a new table");
    (server, client, table)
}

fn user(table: &Table, id: i64) -> Row {
    let row = Row::new(table).with("id", id).and_then(|row| row.with("name", format!("user {id}")));
    row.expect("columns of the table")
}

#[tokio::test]
async fn rows_by_name() {
    let (_server, client, table) = connect().await;
    let written = client.insert(&table, user(&table, 7)).await.expect("new");
    let row = client.get(&table, 7).await.expect("answered").expect("there");
    assert_eq!(row, user(&table, 7));
    assert_eq!(row.version(), written.version);
    assert_eq!(row.get::<String>("NAME").expect("text"), "user 7");
    assert_eq!(row.get::<Option<i32>>("credit").expect("nullable"), None);
    assert!(row.get::<i32>("credit").is_err() && row.get::<i32>("nonsense").is_err());
    assert_eq!(row.columns().map(|(name, _)| name).collect::<Vec<_>>(), ["id", "name", "credit"]);
    assert!(client.get(&table, 8).await.expect("answered").is_none());
    assert!(client.insert(&table, user(&table, 7)).await.expect_err("exists").is(ErrorCode::DuplicateKey));

    let by_name = [("id", Value::Int(8)), ("name", "Eve".into()), ("credit", 5.into())];
    client.upsert(&table, by_name).await.expect("written");
    assert_eq!(client.increment(&table, 8, "credit", -7).await.expect("a number"), Value::Int(-2));
    let set = [("credit", Assignment::SetNull), ("name", Assignment::Set("Eva".into()))];
    client.update(&table, 8, &set).await.expect("there");
    let row = client.get(&table, (8_i64,)).await.expect("answered").expect("there");
    assert_eq!(row.values(), [Value::Int(8), "Eva".into(), Value::Null]);
    let stale =
        client.update_if_version(&table, 8, written.version, &set).await.expect_err("another version");
    assert!(stale.is(ErrorCode::VersionMismatch));
    client.update_if_version(&table, 8, row.version(), &set).await.expect("that version");
    client.delete(&table, 8).await.expect("there");
    assert!(client.delete(&table, 8).await.expect_err("gone").is(ErrorCode::RowNotFound));

    let error = client.get(&table, "text").await.expect_err("a number is wanted");
    assert_eq!((error.code, error.retryable), (152, false));
    let long = [("id", Value::Int(9)), ("name", "x".repeat(65).into())];
    assert_eq!(client.insert(&table, long).await.expect_err("too long").code, 154);
    assert_eq!(client.insert(&table, [Value::Int(1)]).await.expect_err("too few").code, 150);
}

#[tokio::test]
async fn many_rows_and_scans() {
    let (_server, client, table) = connect().await;
    let mut batch = Batch::new();
    for id in 0..1_000_i64 {
        batch.insert(&table, &[Value::Int(id), "x".into(), Value::Null]).expect("fits");
    }
    client.execute(&mut batch).await.expect("executed");
    assert_eq!((batch.len(), batch.error_count()), (1_000, 0));
    let rows = client.get_many(&table, [3_i64, 5_000, 4]).await.expect("answered");
    let ids: Vec<Option<i64>> =
        rows.iter().map(|row| row.as_ref().map(|row| row.get("id").expect("id"))).collect();
    assert_eq!(ids, [Some(3), None, Some(4)]);
    let mut seen = Vec::new();
    client
        .get_many_with(&table, 0..1_000_i64, |index, row| {
            let id = row.expect("there").column(0).expect("id");
            assert_eq!(id, ValueRef::Int(index as i64));
            seen.push(index);
        })
        .await
        .expect("answered");
    assert_eq!(seen.len(), 1_000);
    for fragments in [1, 3, 64] {
        let mut scan = client.scan(&table).fragments(fragments).page_rows(17);
        let mut ids = Vec::new();
        while let Some(row) = scan.next().await.expect("answered") {
            ids.push(row.get::<i64>("id").expect("id"));
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..1_000).collect::<Vec<i64>>());
        assert!(scan.next().await.expect("still the end").is_none());
    }
    drop(client.scan(&table));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_callers_share_frames() {
    let (server, client, table) = connect().await;
    let before = *server.frames.lock().expect("no panic");
    let tasks: Vec<_> = (0..64_i64)
        .map(|task| {
            let (client, table) = (client.clone(), table.clone());
            tokio::spawn(async move {
                for turn in 0..50 {
                    client.insert(&table, user(&table, task * 1_000 + turn)).await.expect("new");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    let frames = *server.frames.lock().expect("no panic") - before;
    assert!(frames < 64 * 50 / 2, "{frames} frames for 3200 operations");
    assert_eq!(server.with(|cluster| cluster.rows.len()), 64 * 50);
}

#[tokio::test]
async fn lost_links_do_not_lose_or_double_writes() {
    let (server, client, table) = connect().await;
    client
        .insert(&table, [("id", 1_i64.into()), ("name", "x".into()), ("credit", 0.into())])
        .await
        .expect("new");
    for turn in 0..30 {
        if turn % 3 == 0 {
            server.with(|cluster| cluster.faults.push_back(Fault::ExecuteSilently));
        }
        let seen = server.with(|cluster| cluster.requests_seen);
        let increment = client.increment(&table, 1, "credit", 1);
        let cut = async {
            while server.with(|cluster| cluster.requests_seen) <= seen {
                tokio::task::yield_now().await;
            }
            server.cut(Process::Node(1));
            server.cut(Process::Node(2));
        };
        let (sum, ()) = tokio::join!(increment, cut);
        assert_eq!(sum.expect("exactly once"), Value::Int(turn + 1));
    }
}

#[tokio::test]
async fn an_unknown_outcome_can_be_resolved() {
    let (server, _, table) = connect().await;
    let client = Client::builder(&server.seed()).timeout(Duration::from_millis(500)).connect().await;
    let client = client.expect("the fake answers");
    client.insert(&table, user(&table, 1)).await.expect("new");
    for (fault, happened) in [(Fault::ExecuteSilently, true), (Fault::Ignore, false)] {
        server.with(|cluster| cluster.faults.push_back(fault));
        let set = [("credit", Assignment::Set(5.into()))];
        let error = client.update(&table, 1, &set).await.expect_err("no answer");
        assert!(error.is(ErrorCode::OutcomeUnknown), "{error}");
        let outcome = client.resolve(error.transaction.expect("it was sent")).await.expect("resolved");
        assert_eq!(matches!(outcome, Outcome::Committed { .. }), happened);
    }
}

#[tokio::test]
async fn tables_come_and_go() {
    let (server, client, table) = connect().await;
    assert!(client.create_table(users()).await.expect_err("exists").is(ErrorCode::TableExists));
    assert_eq!(client.table("shop.users").await.expect("known").id(), table.id());
    let other = Client::connect(&server.seed()).await.expect("the fake answers");
    assert_eq!(other.tables().await.expect("answered").len(), 1);
    client.drop_table("shop.users").await.expect("there");
    assert!(client.table("shop.users").await.expect_err("gone").is(ErrorCode::TableNotFound));
    let error = other.get(&table, 1).await.expect_err("gone");
    assert!(error.is(ErrorCode::TableNotFound) && !error.retryable, "{error}");
    assert!(client.drop_table("shop.users").await.expect_err("gone").is(ErrorCode::TableNotFound));
    let status = client.status().await.expect("a management node answers");
    assert_eq!(status.state.nodes.len(), 2);
    assert_eq!(client.state().expect("known").cluster_id, 77);
}

#[tokio::test]
async fn nobody_there_and_wrong_secret() {
    let builder = Client::builder("127.0.0.1:1").timeout(Duration::from_millis(100));
    let error = builder.connect().await.expect_err("nobody there");
    assert!(error.is(ErrorCode::NodeUnreachable) && error.message.contains("127.0.0.1:1"), "{error}");
    assert!(Client::connect(" , ").await.expect_err("no address").is(ErrorCode::InvalidRequest));
    let server = Server::start();
    server.with(|cluster| cluster.secret = b"secret".to_vec());
    assert!(Client::connect(&server.seed()).await.expect_err("no secret").is(ErrorCode::WrongSecret));
    let seeds = format!("127.0.0.1:1,{}", server.seed());
    Client::builder(&seeds).secret(*b"secret").connect().await.expect("the second address answers");
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_connections() {
    let (server, client, table) = connect().await;
    client.insert(&table, user(&table, 1)).await.expect("new");
    let second = client.clone();
    drop(client);
    assert!(second.get(&table, 1).await.expect("the clone works on").is_some());
    assert!(server.open_connections() >= 2);
    drop(second);
    while server.open_connections() > 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_client_whose_runtime_has_ended_says_so() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = runtime.block_on(async {
        let client = Client::connect(&server.seed()).await.expect("the fake answers");
        client.create_table(users()).await.expect("new");
        client
    });
    let table = runtime.block_on(client.table("shop.users")).expect("known");
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let error = runtime.block_on(client.get(&table, 1)).expect_err("the task is gone");
    assert!(error.is(ErrorCode::NodeUnreachable), "{error}");
    assert!(runtime.block_on(client.status()).is_err());
}

#[tokio::test]
async fn a_future_that_is_dropped_disturbs_nobody() {
    let (server, client, table) = connect().await;
    server.with(|cluster| cluster.faults.extend([Fault::Ignore; 3]));
    for _ in 0..3 {
        let get = client.get(&table, 1);
        assert!(tokio::time::timeout(Duration::from_millis(5), get).await.is_err());
    }
    let mut batch = Batch::new();
    batch.upsert(&table, &[Value::Int(1), "x".into(), Value::Null], Expectation::Any).expect("fits");
    client.execute(&mut batch).await.expect("executed");
    batch.written(0).expect("written");
    eventually("the row", || server.with(|cluster| cluster.rows.len() == 1));
}

#[tokio::test]
async fn what_programs_print_can_be_read() {
    let (_server, client, table) = connect().await;
    let row = user(&table, 7);
    assert_eq!(format!("{row:?}"), r#"Row { id: Int(7), name: Text("user 7"), credit: Null }"#);
    assert_eq!(format!("{table:?}"), format!("Table {{ name: shop.users, id: {}, version: 1 }}", table.id()));
    assert_eq!(format!("{client:?}"), "Client { .. }");
}

#[tokio::test]
async fn who_cannot_be_reached_is_named_with_the_cause() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let closing = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addresses = [silent.local_addr().expect("bound"), closing.local_addr().expect("bound")];
    std::thread::spawn(move || closing.incoming().for_each(drop));
    let seeds = format!("127.0.0.1:1, {}, {}", addresses[0], addresses[1]);
    let builder = Client::builder(&seeds).timeout(Duration::from_secs(1));
    let error = builder.connect().await.expect_err("nobody is a node");
    assert!(error.is(ErrorCode::NodeUnreachable), "{error}");
    let causes =
        ["127.0.0.1:1 (connection refused)".to_owned(), format!("{} (no answer in time)", addresses[0])];
    for cause in causes {
        assert!(error.message.contains(&cause), "{error}");
    }
    let closed = format!("{} (it closed the connection without an answer)", addresses[1]);
    assert!(error.message.contains(&closed), "{error}");
    let error = Client::connect("127.0.0.1:4567,h:99999").await.expect_err("no such port");
    assert!(error.is(ErrorCode::InvalidRequest) && error.message.contains("'h:99999'"), "{error}");
}
