//! Transactions of several rows between real processes.

use crate::cluster::Cluster;
use duet_client::{
    Assignment, Client, ColumnType, Error, ErrorCode, Row, Table, TableDefinition, Value, blocking,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const ACCOUNTS: i64 = 12;
const FIRST_BALANCE: i64 = 1_000;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn accounts() -> TableDefinition {
    TableDefinition::builder("bank", "accounts")
        .required("number", ColumnType::BigInt)
        .required("balance", ColumnType::BigInt)
        .primary_key(["number"])
        .build()
        .expect("valid")
}

#[derive(Row, Debug, PartialEq)]
#[duet(table = "bank.accounts")]
struct Account {
    #[duet(key)]
    number: i64,
    balance: i64,
}

async fn open_bank(client: &Client) -> Table {
    let table = client.create_table(accounts()).await.expect("created");
    for number in 0..ACCOUNTS {
        client.insert(&table, [Value::Int(number), Value::Int(FIRST_BALANCE)]).await.expect("inserted");
    }
    table
}

/// All the money, read under shared locks.
async fn audit(client: &Client, table: &Table) -> i64 {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let sum = client.transaction(|transaction| async move {
            let mut sum = 0;
            for number in 0..ACCOUNTS {
                let row = transaction.get_for_share(table, number).await?.expect("there");
                sum += row.get::<i64>("balance")?;
            }
            Ok(sum)
        });
        match sum.await {
            Ok(sum) => return sum,
            // The machine may give the nodes no processor for longer than the client tries.
            Err(error) => assert!(error.retryable && Instant::now() < until, "{error}"),
        }
    }
}

async fn transfer(client: &Client, table: &Table, from: i64, to: i64, amount: i64) -> Result<(), Error> {
    client
        .transaction(|transaction| async move {
            let row = transaction.get_for_update(table, from).await?.expect("there");
            let balance: i64 = row.get("balance")?;
            transaction
                .update(table, from, &[("balance", Assignment::Set((balance - amount).into()))])
                .await?;
            transaction.update(table, to, &[("balance", Assignment::Add(amount.into()))]).await?;
            if amount % 7 == 0 {
                return Err(Error::new(ErrorCode::OutOfRange, "an unlucky transfer"));
            }
            Ok(())
        })
        .await
}

#[test]
fn transfers_keep_the_sum_while_a_node_stops_for_a_moment() {
    const CLIENTS: i64 = 4;
    let cluster = Cluster::start(1);
    runtime().block_on(async {
        let client = Client::connect(&cluster.nodes[0].listen).await.expect("connected");
        let table = open_bank(&client).await;
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for number in 0..CLIENTS {
            let seed = cluster.nodes[number as usize % 2].listen.clone();
            let stop = std::sync::Arc::clone(&stop);
            tasks.push(tokio::spawn(async move {
                let client = Client::connect(&seed).await.expect("connected");
                let table = client.table("bank.accounts").await.expect("open");
                let (mut done, mut step) = (0_i64, number);
                while !stop.load(Ordering::Relaxed) || done < 50 {
                    step += 1;
                    let (from, to) = (step * 5 % ACCOUNTS, (step * 5 + 1 + step % 7) % ACCOUNTS);
                    match transfer(&client, &table, from, to, 1 + step % 20).await {
                        Ok(()) => done += 1,
                        Err(error) => assert!(error.retryable || error.is(ErrorCode::OutOfRange), "{error}"),
                    }
                }
                done
            }));
        }
        for round in 0..3 {
            assert_eq!(audit(&client, &table).await, FIRST_BALANCE * ACCOUNTS);
            let node = &cluster.nodes[round % 2];
            node.signal("STOP");
            tokio::time::sleep(Duration::from_millis(150)).await;
            node.signal("CONT");
        }
        assert_eq!(audit(&client, &table).await, FIRST_BALANCE * ACCOUNTS);
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            assert!(task.await.expect("no panic") >= 50);
        }
        assert_eq!(audit(&client, &table).await, FIRST_BALANCE * ACCOUNTS);
    });
}

#[test]
fn transactions_by_hand_conflicts_and_bad_input() {
    let cluster = Cluster::start(1);
    runtime().block_on(async {
        let client = Client::connect(&cluster.management_addresses).await.expect("connected");
        let table = open_bank(&client).await;
        let typed = client.typed_table::<Account>().await.expect("fits");

        let transaction = client.begin();
        let view = transaction.typed(&typed);
        let account = view.get_for_update(3).await.expect("locked").expect("there");
        assert_eq!(account, Account { number: 3, balance: FIRST_BALANCE });
        view.upsert(&Account { number: 3, balance: 7 }).await.expect("changed");
        view.insert(&Account { number: 100, balance: 1 }).await.expect("new");
        assert_eq!(view.get(3).await.expect("its own change").expect("there").balance, 7);
        assert_eq!(typed.get(3).await.expect("committed").expect("there").balance, FIRST_BALANCE);
        assert!(typed.get(100).await.expect("not committed").is_none());
        // A one-pass write waits for the lock, and comes after the commit.
        let (other, waiting) = (client.clone(), table.clone());
        let increment = tokio::spawn(async move { other.increment(&waiting, 3, "balance", 1).await });
        assert!(transaction.commit().await.expect("committed").committed);
        assert_eq!(increment.await.expect("no panic"), Ok(8.into()));
        assert_eq!(typed.get(100).await.expect("read").expect("there").balance, 1);

        let transaction = client.begin();
        transaction.delete(&table, 100).await.expect("deleted");
        transaction.rollback().await.expect("rolled back");
        assert!(typed.get(100).await.expect("read").is_some());

        let transaction = client.begin();
        transaction.update(&table, 1, &[("balance", Assignment::Set(0.into()))]).await.expect("changed");
        let error = transaction.insert(&table, [Value::Int(1), Value::Int(1)]).await.expect_err("exists");
        assert!(error.is(ErrorCode::DuplicateKey), "{error}");
        let error = transaction.get(&table, 1).await.expect_err("failed before");
        assert!(error.is(ErrorCode::TransactionFailed), "{error}");
        let error = transaction.commit().await.expect_err("failed before");
        assert!(error.is(ErrorCode::TransactionFailed), "{error}");
        assert_eq!(typed.get(1).await.expect("read").expect("there").balance, FIRST_BALANCE);

        // Two transactions wait for each other: one of them is told at once, the other goes on.
        let (first, second) = (client.begin(), client.begin());
        first.get_for_update(&table, 1).await.expect("locked");
        second.get_for_update(&table, 2).await.expect("locked");
        let (one, two) = tokio::join!(first.get_for_update(&table, 2), async {
            let result = second.get_for_update(&table, 1).await;
            drop(second);
            result
        });
        let errors: Vec<_> = [one.map(|_| ()), two.map(|_| ())].into_iter().filter_map(Result::err).collect();
        assert!(matches!(&errors[..], [error] if error.is(ErrorCode::Deadlock)), "{errors:?}");
        drop(first);

        // A dropped transaction lets its locks go.
        let started = Instant::now();
        client.increment(&table, 1, "balance", 1).await.expect("free");
        assert!(started.elapsed() < Duration::from_secs(30));
    });
    let mut client = blocking::Client::connect(&cluster.nodes[1].listen).expect("connected");
    let table = client.table("bank.accounts").expect("open");
    let moved = client.transaction(|transaction| {
        let from: i64 = transaction.get_for_update(&table, 5)?.expect("there").get("balance")?;
        transaction.update(&table, 5, &[("balance", Assignment::Set(0.into()))])?;
        transaction.update(&table, 6, &[("balance", Assignment::Add(from.into()))])?;
        Ok(from)
    });
    assert_eq!(moved, Ok(FIRST_BALANCE));
    let balance = |client: &mut blocking::Client, number: i64| -> i64 {
        client.get(&table, number).expect("read").expect("there").get("balance").expect("a number")
    };
    assert_eq!((balance(&mut client, 5), balance(&mut client, 6)), (0, 2 * FIRST_BALANCE));
}
