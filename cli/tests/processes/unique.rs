//! Unique indexes between real processes.

use crate::cluster::Cluster;
use duet_client::{
    Assignment, Batch, Client, ColumnType, Error, ErrorCode, Expectation, IndexKind, Lock, Row, Table,
    TableDefinition, Value, blocking,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

#[derive(Row, Debug, PartialEq, Clone)]
#[duet(table = "shop.users")]
struct User {
    #[duet(key)]
    id: i64,
    #[duet(unique = "by_email", length = 60)]
    email: Option<String>,
    #[duet(unique = "by_place")]
    country: i32,
    #[duet(unique = "by_place")]
    number: i64,
    visits: i64,
}

fn user(id: i64, email: &str) -> User {
    User { id, email: Some(email.to_owned()), country: 49, number: id, visits: 0 }
}

fn set(email: &str) -> [(&'static str, Assignment<'_>); 1] {
    [("email", Assignment::Set(email.into()))]
}

fn violation_of(error: &Error, index: &str) {
    assert!(error.is(ErrorCode::UniqueViolation), "{error}");
    assert!(error.to_string().contains(index), "{error}");
}

async fn id_of(client: &Client, table: &Table, email: &str) -> Option<i64> {
    let row = client.get_by(table, "by_email", email).await.expect("answered");
    row.map(|row| row.get("id").expect("a number"))
}

#[test]
fn rows_are_found_by_unique_values_and_nobody_else_gets_them() {
    let cluster = Cluster::start(1);
    runtime().block_on(async {
        let client = Client::connect(&cluster.nodes[0].listen).await.expect("connected");
        let users = client.create_typed_table::<User>().await.expect("created");
        let table = users.table();
        assert_eq!(client.tables().await.expect("listed").len(), 1, "hidden tables are not listed");
        assert!(client.table("shop.by_email").await.is_err_and(|error| error.is(ErrorCode::TableNotFound)));
        for id in 0..50 {
            users.insert(&user(id, &format!("user{id}@example"))).await.expect("inserted");
        }
        violation_of(&users.insert(&user(99, "user7@example")).await.expect_err("taken"), "by_email");
        let same_place = User { number: 7, ..user(99, "new@example") };
        violation_of(&users.insert(&same_place).await.expect_err("taken"), "by_place");
        assert_eq!(users.get(99_i64).await.expect("answered"), None);
        assert_eq!(
            users.get_by("by_email", "user7@example").await.expect("answered"),
            Some(user(7, "user7@example"))
        );
        assert_eq!(
            users.get_by("by_place", (49, 8_i64)).await.expect("answered"),
            Some(user(8, "user8@example"))
        );
        assert_eq!(users.get_by("by_place", (48, 8_i64)).await.expect("answered"), None);
        let wrong = users.get_by("by_name", "x").await.expect_err("no such index");
        assert!(wrong.is(ErrorCode::IndexNotFound), "{wrong}");

        let emails = (0..60).map(|id| format!("user{id}@example"));
        let found = client.get_many_by(table, "by_email", emails).await.expect("answered");
        assert_eq!(found.iter().flatten().count(), 50);

        // Values move, alone and in transactions, and NULLs are equal to nothing.
        users.update(1, &set("first@example")).await.expect("updated");
        violation_of(&users.update(2, &set("first@example")).await.expect_err("taken"), "by_email");
        for id in [3, 4] {
            users.update(id, &[("email", Assignment::SetNull)]).await.expect("updated");
        }
        assert_eq!(id_of(&client, table, "user1@example").await, None);
        assert_eq!(id_of(&client, table, "first@example").await, Some(1));
        client
            .transaction(|transaction| async move {
                let row =
                    transaction.get_by(table, "by_email", "first@example", Some(Lock::Exclusive)).await?;
                assert!(row.is_some_and(|row| row.get::<i64>("id").is_ok_and(|id| id == 1)));
                transaction.delete(table, 1).await?;
                transaction.update(table, 5, &set("first@example")).await?;
                let seen = transaction.get_by(table, "by_email", "first@example", None).await?;
                assert!(
                    seen.is_some_and(|row| row.get::<i64>("id").is_ok_and(|id| id == 5)),
                    "its own change"
                );
                assert!(transaction.get_by(table, "by_email", "user5@example", None).await?.is_none());
                Ok(())
            })
            .await
            .expect("committed");
        assert_eq!(id_of(&client, table, "first@example").await, Some(5));

        // Everything at once in one batch, with and without entries that change.
        let mut batch = Batch::new();
        for id in 10..40 {
            let visit = [(table.column("visits").expect("known"), Assignment::Add(1.into()))];
            batch.update(table, &id, &visit, Expectation::Any).expect("fits");
            let moved = format!("moved{id}@example");
            let email = [(table.column("email").expect("known"), Assignment::Set(moved.as_str().into()))];
            batch
                .update(table, &(id + 100 * i64::from(id % 2 == 0)), &email, Expectation::Any)
                .expect("fits");
        }
        client.execute(&mut batch).await.expect("executed");
        assert_eq!(batch.error_count(), 15, "half of the rows do not exist");
        assert_eq!(id_of(&client, table, "moved11@example").await, Some(11));
        client.drop_table("shop.users").await.expect("dropped");
    });
}

#[test]
fn increments_of_a_unique_column_count_once_and_look_ups_find_what_moves() {
    const ROUNDS: i64 = 60;
    let cluster = Cluster::start(1);
    let mut client = blocking::Client::connect(&cluster.nodes[0].listen).expect("connected");
    let definition = TableDefinition::builder("shop", "tokens")
        .required("id", ColumnType::BigInt)
        .nullable("token", ColumnType::BigInt)
        .primary_key(["id"])
        .unique_index("by_token", &["token"])
        .build()
        .expect("valid");
    let table = client.create_table(&definition).expect("created");
    for id in 0..4_i64 {
        let token = if id == 0 { Value::Int(-1) } else { Value::Null };
        client.insert(&table, [Value::Int(id), token]).expect("inserted");
    }
    client.insert(&table, [Value::Int(9), Value::Int(0)]).expect("inserted");
    let address = cluster.nodes[1].listen.clone();
    let mover = std::thread::spawn(move || {
        let mut client = blocking::Client::connect(&address).expect("connected");
        let table = client.table("shop.tokens").expect("there");
        for round in 0..ROUNDS {
            client
                .transaction(|transaction| {
                    let row = transaction.get_by(&table, "by_token", -1, Some(Lock::Exclusive))?;
                    let id: i64 = row.expect("the token exists").get("id")?;
                    transaction.update(&table, id, &[("token", Assignment::SetNull)])?;
                    let next = [("token", Assignment::Set((-1).into()))];
                    transaction.update(&table, (id + 1 + round % 3) % 4, &next)?;
                    Ok(())
                })
                .expect("moved");
        }
    });
    for round in 1..=ROUNDS {
        let row = client.get_by(&table, "by_token", -1).expect("answered").expect("the token exists");
        assert_eq!(row.get::<i64>("token").expect("a number"), -1);
        assert_eq!(client.increment(&table, 9, "token", 1).expect("counted"), Value::Int(round));
        let counted = client.get_by(&table, "by_token", round).expect("answered").expect("there");
        assert_eq!(counted.get::<i64>("id").expect("a number"), 9);
    }
    mover.join().expect("the mover is well");
}

#[test]
fn unique_indexes_are_created_and_dropped_while_clients_write() {
    const ROWS: i32 = 2_000;
    let cluster = Cluster::start(1);
    runtime().block_on(async {
        let client = Client::connect(&cluster.nodes[0].listen).await.expect("connected");
        let definition = TableDefinition::builder("shop", "codes")
            .required("id", ColumnType::Int)
            .nullable("code", ColumnType::BigInt)
            .required("class", ColumnType::Int)
            .primary_key(["id"])
            .build()
            .expect("valid");
        let table = client.create_table(definition).await.expect("created");
        let mut batch = Batch::new();
        for id in 0..ROWS {
            let code = if id % 7 == 0 { Value::Null } else { Value::from(i64::from(id)) };
            batch.insert(&table, &[Value::from(id), code, Value::from(id % 10)]).expect("fits");
        }
        client.execute(&mut batch).await.expect("executed");
        assert_eq!(batch.error_count(), 0);
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
                let (client, table) = (client.clone(), table.clone());
                tokio::spawn(async move {
                    let mut id = writer;
                    while !stop.load(Ordering::Relaxed) {
                        if id % 7 != 0 {
                            // Codes of different rows stay different.
                            client.increment(&table, id, "code", 10_000).await.expect("goes on");
                        } else {
                            client.delete(&table, id).await.expect("there");
                            let row = [Value::from(id), Value::Null, Value::from(id % 10)];
                            // An index that cannot be built refuses what it could not hold until it is given up.
                            while let Err(error) = client.insert(&table, row.clone()).await {
                                assert!(error.is(ErrorCode::UniqueViolation), "{error}");
                            }
                        }
                        written.fetch_add(1, Ordering::Relaxed);
                        id = (id + 4) % ROWS;
                    }
                })
            })
            .collect();
        let within = Duration::from_secs(60);
        for round in 0..2 {
            let before = written.load(Ordering::Relaxed);
            while written.load(Ordering::Relaxed) < before + 50 {
                assert!(writers.iter().any(|writer| !writer.is_finished()), "the writers have given up");
                tokio::task::yield_now().await;
            }
            let unique = IndexKind::Unique;
            let indexed =
                client.create_index(&table, "by_code", unique, &["code"], within).await.expect("built");
            assert_eq!(indexed.definition().indexes.len(), 1);
            let refused = client.create_index(&indexed, "by_class", unique, &["class"], within).await;
            let refused = refused.expect_err("ten classes");
            assert!(refused.is(ErrorCode::UniqueViolation), "{refused}");
            assert!(
                refused.to_string().contains("index 'by_class': the row with primary key ("),
                "{refused}"
            );
            if round == 0 {
                client.drop_index(&indexed, "by_code").await.expect("dropped");
                let gone = client.get_by(&indexed, "by_code", 1_i64).await.expect_err("refused");
                assert!(gone.is(ErrorCode::IndexNotFound) || gone.is(ErrorCode::TableNotFound), "{gone}");
            }
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.expect("no error");
        }
        let table = client.table("shop.codes").await.expect("there");
        let mut scan = client.scan(&table);
        let mut codes = Vec::new();
        while let Some(row) = scan.next().await.expect("scanned") {
            if let Some(code) = row.get::<Option<i64>>("code").expect("there") {
                codes.push((code, row.get::<i32>("id").expect("there")));
            }
        }
        assert_eq!(codes.len(), (0..ROWS).filter(|id| id % 7 != 0).count());
        let found = client.get_many_by(&table, "by_code", codes.iter().map(|(code, _)| *code)).await;
        for ((_, id), row) in codes.iter().zip(found.expect("answered")) {
            assert_eq!(row.map(|row| row.get::<i32>("id").expect("there")), Some(*id));
        }
        let taken = [Value::from(ROWS), Value::from(codes[0].0), Value::from(0)];
        violation_of(&client.insert(&table, taken).await.expect_err("taken"), "by_code");
        client.drop_table("shop.codes").await.expect("dropped");
    });
}
