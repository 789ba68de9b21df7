//! The blocking client.

use crate::fake::{Fault, Process};
use crate::server::{Server, users};
use duet_client::blocking::Client;
use duet_client::{Assignment, Batch, ErrorCode, Outcome, Row, Table, Value};
use std::time::Duration;

fn connect() -> (Server, Client, Table) {
    let server = Server::start();
    let mut client = Client::connect(&server.seed()).expect("the fake answers");
    let table = client.create_table(&users()).expect("a new table");
    (server, client, table)
}

fn user(table: &Table, id: i64) -> Row {
    let row = Row::new(table).with("id", id).and_then(|row| row.with("name", format!("user {id}")));
    row.expect("columns of the table")
}

#[test]
fn rows_are_written_and_read() {
    let (_server, mut client, table) = connect();
    client.insert(&table, user(&table, 7)).expect("new");
    let row = client.get(&table, 7).expect("answered").expect("there");
    assert_eq!(row, user(&table, 7));
    assert!(client.get_with(&table, 8, |row| row.is_none()).expect("answered"));
    client.upsert(&table, user(&table, 7).with("credit", 3).expect("a column")).expect("written");
    assert_eq!(client.increment(&table, 7, "credit", 4).expect("a number"), Value::Int(7));
    let set = [("credit", Assignment::Set(1.into()))];
    let written = client.update(&table, 7, &set).expect("there");
    client.update_if_version(&table, 7, written.version, &set).expect("that version");
    let stale = client.update_if_version(&table, 7, written.version, &set).expect_err("another version");
    assert!(stale.is(ErrorCode::VersionMismatch));
    client.delete(&table, 7).expect("there");
    assert!(client.get(&table, 7).expect("answered").is_none());
    assert_eq!(client.get(&table, "x").expect_err("a number is wanted").code, 152);
    assert_eq!(client.tables().expect("answered").len(), 1);
    assert_eq!(client.status().expect("answered").state.nodes.len(), 2);
    client.drop_table("shop.users").expect("there");
    assert!(client.table("shop.users").expect_err("gone").is(ErrorCode::TableNotFound));
}

/// More than sockets hold in both directions at once: neither side may wait for the other for ever.
#[test]
fn large_batches_do_not_lock_up() {
    let (_server, mut client, _) = connect();
    let definition = duet_client::TableDefinition::builder("shop", "blobs")
        .required("id", duet_client::ColumnType::BigInt)
        .required("data", duet_client::ColumnType::Blob)
        .primary_key(["id"])
        .build()
        .expect("valid");
    let table = client.create_table(&definition).expect("new");
    let mut batch = Batch::new();
    for id in 0..400_i64 {
        batch.insert(&table, &[Value::Int(id), vec![id as u8; 60_000].into()]).expect("fits");
    }
    client.execute(&mut batch);
    assert_eq!(batch.error_count(), 0);
    let rows = client.get_many(&table, 0..400_i64).expect("answered");
    assert!(rows.iter().all(Option::is_some));
    let mut count = 0;
    client
        .scan(&table, |_, row| {
            assert_eq!(row.column(1)?.to_value(), Value::from(vec![count_of(&row)?; 60_000]));
            count += 1;
            Ok(())
        })
        .expect("answered");
    assert_eq!(count, 400);
}

fn count_of(row: &duet_client::RowView<'_>) -> duet_client::Result<u8> {
    match row.column(0)? {
        duet_client::ValueRef::Int(id) => Ok(id as u8),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lost_links_and_unknown_outcomes() {
    let (server, _, table) = connect();
    let builder = duet_client::Client::builder(&server.seed()).timeout(Duration::from_millis(500));
    let mut client = Client::with(builder).expect("the fake answers");
    client.insert(&table, user(&table, 1).with("credit", 0).expect("a column")).expect("new");
    for turn in 0..5 {
        server.cut(Process::Node(1));
        server.cut(Process::Node(2));
        assert_eq!(client.increment(&table, 1, "credit", 1).expect("once"), Value::Int(turn + 1));
    }
    server.with(|cluster| cluster.faults.push_back(Fault::ExecuteSilently));
    let error = client.increment(&table, 1, "credit", 1).expect_err("no answer");
    assert!(error.is(ErrorCode::OutcomeUnknown), "{error}");
    let outcome = client.resolve(error.transaction.expect("it was sent")).expect("resolved");
    assert!(matches!(outcome, Outcome::Committed { .. }));
}

#[test]
fn nobody_there() {
    let builder = duet_client::Client::builder("127.0.0.1:1").timeout(Duration::from_secs(1));
    let error = Client::with(builder).expect_err("nobody there");
    assert!(error.is(ErrorCode::NodeUnreachable), "{error}");
    assert!(error.message.contains("127.0.0.1:1 (connection refused)"), "{error}");
    let error = Client::connect("127.0.0.1").expect_err("no port");
    assert!(error.is(ErrorCode::InvalidRequest) && error.message.contains("has no port"), "{error}");
}

#[test]
fn structs_are_rows() {
    #[derive(Row, Debug, Clone, PartialEq)]
    #[duet(table = "shop.users")]
    struct User {
        #[duet(key)]
        id: i64,
        #[duet(length = 64)]
        name: String,
        credit: Option<i32>,
    }
    #[derive(Row, Debug)]
    #[duet(table = "shop.users")]
    struct Part {
        #[duet(key)]
        id: i64,
        name: String,
    }
    let server = Server::start();
    let mut client = Client::connect(&server.seed()).expect("the fake answers");
    let users = client.open_or_create_typed_table::<User>().expect("created");
    let again = client.open_or_create_typed_table::<User>().expect("opened");
    assert_eq!(users.table().id(), again.table().id());
    let user = |id: i64| User { id, name: format!("user {id}"), credit: None };
    users.insert(&mut client, &user(1)).expect("new");
    let many: Vec<User> = (2..3_000).map(user).collect();
    users.upsert_many(&mut client, &many).expect("written");
    let found = users.get_many(&mut client, [1_i64, 5_000, 2_999]).expect("answered");
    assert_eq!(found, [Some(user(1)), None, Some(user(2_999))]);
    let (mut row, version) = users.get_versioned(&mut client, 1).expect("answered").expect("there");
    row.credit = Some(3);
    users.replace_if_version(&mut client, &row, version).expect("that version");
    let stale = users.replace_if_version(&mut client, &row, version).expect_err("another version");
    assert!(stale.is(ErrorCode::VersionMismatch));
    users.update(&mut client, 1, &[("credit", Assignment::SetNull)]).expect("there");
    assert_eq!(users.get(&mut client, 1).expect("answered"), Some(user(1)));
    users.delete(&mut client, 1).expect("there");
    let mut count = 0;
    users
        .scan(&mut client, |_, row| {
            assert_eq!(row, user(row.id));
            count += 1;
            Ok(())
        })
        .expect("answered");
    assert_eq!(count, 2_998);
    let part = client.typed_table::<Part>().expect("it fits");
    let error =
        part.upsert(&mut client, &Part { id: 2, name: "x".to_owned() }).expect_err("a column is missing");
    assert!(error.is(ErrorCode::InvalidRequest) && error.message.contains("'credit'"), "{error}");
    let row = part.get(&mut client, 2).expect("answered").expect("there");
    assert_eq!((row.id, row.name.as_str()), (2, "user 2"));
}
