//! Several node groups: they fail and come back independently, while transactions and unique indexes span them.

use crate::cluster::{Cluster, run_to_end, wait_for};
use duet_client::{Assignment, Client, ColumnType, Error, ErrorCode, Lock, Table, TableDefinition, Value};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

const ACCOUNTS: i64 = 24;
const FIRST_BALANCE: i64 = 1_000;
const COUNTERS: i64 = 24;
/// Tasks of each kind; every row of `tokens` is changed by one of them only.
const TASKS: i64 = 3;
/// Rows of `tokens` of one task, and how many of them hold a token.
const PLACES: i64 = 8;
const TOKENS: i64 = 4;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn numbers(name: &str) -> TableDefinition {
    TableDefinition::builder("test", name)
        .required("id", ColumnType::BigInt)
        .required("value", ColumnType::BigInt)
        .primary_key(["id"])
        .build()
        .expect("valid")
}

fn tokens() -> TableDefinition {
    TableDefinition::builder("test", "tokens")
        .required("id", ColumnType::BigInt)
        .nullable("token", ColumnType::Varchar { characters: 40 })
        .primary_key(["id"])
        .unique_index("by_token", &["token"])
        .build()
        .expect("valid")
}

/// Place `place` of a task. The numbers lie apart, so that places, and the entries of their tokens, are in all groups.
fn place_of(task: i64, place: i64) -> i64 {
    task * 1_000 + place * 17
}

fn token_of(task: i64, number: i64) -> String {
    format!("token {number} of task {task}")
}

/// What everybody shares.
#[derive(Clone)]
struct Load {
    client: Client,
    accounts: Table,
    counters: Table,
    tokens: Table,
    /// Increments that were acknowledged, and those whose fate is not known.
    counted: Arc<AtomicI64>,
    unknown: Arc<AtomicI64>,
    /// Transfers and moves of tokens that were acknowledged, and look-ups by token.
    transferred: Arc<AtomicI64>,
    moved: Arc<AtomicI64>,
    looked_up: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
}

fn may_happen(error: &Error) {
    let code = error.error_code().expect("known");
    assert!(code.is_retryable() || code == ErrorCode::DeadlineExceeded, "{error}");
}

/// Tries again until it succeeds: for what must be so at the end.
async fn at_last<T, F: Future<Output = Result<T, Error>>>(mut ask: impl FnMut() -> F) -> T {
    let mut tries = 0;
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(error) => {
                may_happen(&error);
                tries += 1;
                assert!(tries < 10, "{error}");
            }
        }
    }
}

impl Load {
    async fn begin(addresses: &str) -> Load {
        let client = Client::connect(addresses).await.expect("connected");
        let accounts = client.create_table(numbers("accounts")).await.expect("created");
        let counters = client.create_table(numbers("counters")).await.expect("created");
        let tokens = client.create_table(tokens()).await.expect("created");
        for id in 0..ACCOUNTS {
            client.insert(&accounts, [Value::Int(id), Value::Int(FIRST_BALANCE)]).await.expect("inserted");
        }
        for id in 0..COUNTERS {
            client.insert(&counters, [Value::Int(id), Value::Int(0)]).await.expect("inserted");
        }
        for task in 0..TASKS {
            for place in 0..PLACES {
                let token = match place {
                    held if held < TOKENS => Value::from(token_of(task, held)),
                    _ => Value::Null,
                };
                let row = [Value::Int(place_of(task, place)), token];
                client.insert(&tokens, row).await.expect("inserted");
            }
        }
        let zero = || Arc::new(AtomicI64::new(0));
        Load {
            client,
            accounts,
            counters,
            tokens,
            counted: zero(),
            unknown: zero(),
            transferred: zero(),
            moved: zero(),
            looked_up: zero(),
            stop: Arc::new(AtomicBool::new(false)),
        }
    }

    fn spawn(&self, runtime: &Runtime) -> Vec<JoinHandle<()>> {
        let tasks = (0..TASKS).flat_map(|task| {
            let (count, transfer, move_tokens, look_up) =
                (self.clone(), self.clone(), self.clone(), self.clone());
            [
                runtime.spawn(async move { count.count(task).await }),
                runtime.spawn(async move { transfer.transfer(task).await }),
                runtime.spawn(async move { move_tokens.move_tokens(task).await }),
                runtime.spawn(async move { look_up.look_up(task).await }),
            ]
        });
        tasks.collect()
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Acquire)
    }

    async fn count(&self, task: i64) {
        let mut number = task;
        while self.goes_on() {
            number += 1;
            match self.client.increment(&self.counters, number % COUNTERS, "value", 1).await {
                Ok(_) => self.counted.fetch_add(1, Ordering::AcqRel),
                Err(error) => {
                    may_happen(&error);
                    self.unknown.fetch_add(1, Ordering::AcqRel)
                }
            };
        }
    }

    /// Transactions between any two accounts: mostly in different partitions, often in different groups.
    async fn transfer(&self, task: i64) {
        let mut step = task * 7;
        while self.goes_on() {
            step += 1;
            let from = step * 5 % ACCOUNTS;
            let (to, amount) = ((from + 1 + step % 11) % ACCOUNTS, 1 + step % 20);
            let accounts = &self.accounts;
            let done = self
                .client
                .transaction(|transaction| async move {
                    let row = transaction.get_for_update(accounts, from).await?.expect("there");
                    let balance: i64 = row.get("value")?;
                    let rest = [("value", Assignment::Set((balance - amount).into()))];
                    transaction.update(accounts, from, &rest).await?;
                    transaction.update(accounts, to, &[("value", Assignment::Add(amount.into()))]).await?;
                    Ok(())
                })
                .await;
            match done {
                Ok(()) => {
                    self.transferred.fetch_add(1, Ordering::AcqRel);
                }
                Err(error) => may_happen(&error),
            }
        }
    }

    /// Moves tokens between the places of one task, each in a transaction of two rows and two entries.
    async fn move_tokens(&self, task: i64) {
        let mut step = task;
        while self.goes_on() {
            step += 1;
            let token = token_of(task, step % TOKENS);
            let (tokens, token) = (&self.tokens, token.as_str());
            let done = self
                .client
                .transaction(|transaction| async move {
                    let holder = transaction.get_by(tokens, "by_token", token, Some(Lock::Exclusive)).await?;
                    let holder: i64 = holder.expect("every token has a place").get("id")?;
                    for offset in 0..PLACES {
                        let place = place_of(task, (step + offset) % PLACES);
                        let row = transaction.get_for_update(tokens, place).await?.expect("there");
                        if row.get::<Option<String>>("token")?.is_none() {
                            transaction.update(tokens, holder, &[("token", Assignment::SetNull)]).await?;
                            let set = [("token", Assignment::Set(token.into()))];
                            transaction.update(tokens, place, &set).await?;
                            return Ok(());
                        }
                    }
                    panic!("half of the places are free");
                })
                .await;
            match done {
                Ok(()) => {
                    self.moved.fetch_add(1, Ordering::AcqRel);
                }
                Err(error) => may_happen(&error),
            }
        }
    }

    /// A token is always somewhere, whoever moves it.
    async fn look_up(&self, task: i64) {
        let mut step = task;
        while self.goes_on() {
            step += 1;
            let token = token_of(step % TASKS, step % TOKENS);
            match self.client.get_by(&self.tokens, "by_token", token.as_str()).await {
                Ok(row) => {
                    let row = row.unwrap_or_else(|| panic!("{token} is nowhere"));
                    assert_eq!(row.get::<String>("token").expect("there"), token);
                    self.looked_up.fetch_add(1, Ordering::AcqRel);
                }
                Err(error) => may_happen(&error),
            }
        }
    }

    /// Waits until everything goes on: increments, transfers, moves and look-ups.
    fn wait_for_progress(&self, what: &str) {
        let load = |counter: &Arc<AtomicI64>| counter.load(Ordering::Acquire);
        let now = || [&self.counted, &self.transferred, &self.moved, &self.looked_up].map(load);
        let before = now();
        let done = || now().iter().zip(before).all(|(now, before)| *now >= before + 60);
        wait_for(what, || done().then_some(()));
    }

    /// Everything again, as it must be when the load has ended.
    async fn check(&self) {
        for id in 0..COUNTERS {
            at_last(|| self.client.increment(&self.counters, id, "value", 1)).await;
            self.counted.fetch_add(1, Ordering::AcqRel);
        }
        let values = |rows: Vec<Option<duet_client::Row>>| -> i64 {
            let values = rows.iter().map(|row| row.as_ref().expect("there").get::<i64>("value"));
            values.map(|value| value.expect("a number")).sum()
        };
        let counted = at_last(|| self.client.get_many(&self.counters, 0..COUNTERS)).await;
        let (total, least) = (values(counted), self.counted.load(Ordering::Acquire));
        // A try of the loop above whose outcome was not known may have counted as well.
        let most = least + self.unknown.load(Ordering::Acquire) + 10 * COUNTERS;
        assert!((least..=most).contains(&total), "{total} is not between {least} and {most}");
        let accounts = at_last(|| self.client.get_many(&self.accounts, 0..ACCOUNTS)).await;
        assert_eq!(values(accounts), ACCOUNTS * FIRST_BALANCE, "no money came or went");
        self.check_tokens().await;
    }

    /// Every token has one place, and its entry names that.
    async fn check_tokens(&self) {
        for task in 0..TASKS {
            let places: Vec<i64> = (0..PLACES).map(|place| place_of(task, place)).collect();
            let rows = at_last(|| self.client.get_many(&self.tokens, places.iter().copied())).await;
            let mut held: Vec<(String, i64)> = Vec::new();
            for row in rows {
                let row = row.expect("places stay");
                if let Some(token) = row.get::<Option<String>>("token").expect("there") {
                    held.push((token, row.get("id").expect("there")));
                }
            }
            held.sort();
            let names: Vec<&str> = held.iter().map(|(token, _)| token.as_str()).collect();
            let wanted: Vec<String> = (0..TOKENS).map(|number| token_of(task, number)).collect();
            assert_eq!(names, wanted);
            for (token, place) in &held {
                let row = at_last(|| self.client.get_by(&self.tokens, "by_token", token.as_str())).await;
                assert_eq!(row.expect("its entry").get::<i64>("id").expect("there"), *place);
            }
            let taken = Value::from(token_of(task, 0));
            let error = self.client.insert(&self.tokens, [Value::Int(-1 - task), taken]).await;
            assert!(error.is_err_and(|error| error.is(ErrorCode::UniqueViolation)));
        }
        let gone = at_last(|| self.client.get_by(&self.tokens, "by_token", "no token")).await;
        assert!(gone.is_none());
    }
}

/// Kills these nodes, at most one of each group, in the same moment under load, and starts them again.
fn die_and_come_back(cluster: &mut Cluster, load: &Load, dying: &[usize]) {
    for node in dying {
        cluster.nodes[*node].kill();
    }
    load.wait_for_progress("traffic without one node of each group");
    for node in dying {
        cluster.restart_node(*node);
    }
    cluster.wait_for_full_members();
    load.wait_for_progress("traffic with all nodes");
}

fn groups_fail_independently(groups: usize, deaths: &[&[usize]]) {
    let mut cluster = Cluster::start_groups(1, groups);
    let runtime = runtime();
    let load = runtime.block_on(Load::begin(&cluster.management_addresses));
    let tasks = load.spawn(&runtime);
    load.wait_for_progress("traffic at first");
    for dying in deaths {
        die_and_come_back(&mut cluster, &load, dying);
    }
    load.stop.store(true, Ordering::Release);
    runtime.block_on(async {
        for task in tasks {
            task.await.expect("no panic");
        }
        load.check().await;
    });
    let view = cluster.state().view;
    assert_eq!(view.groups.len(), groups);
    assert!(view.groups.iter().all(|group| group.members.len() == 2), "all are full members");
}

#[test]
fn two_groups_lose_a_node_each_and_nothing_else() {
    // Then the other node of each group: it has the rows that it copied.
    groups_fail_independently(2, &[&[1, 2], &[0, 3]]);
}

#[test]
fn three_groups_lose_nodes_one_after_the_other() {
    groups_fail_independently(3, &[&[4], &[0, 3], &[1, 2, 5]]);
}

#[test]
fn a_group_that_is_lost_says_so_and_the_other_one_serves() {
    let mut cluster = Cluster::start_groups(1, 2);
    let runtime = runtime();
    let (client, table) = runtime.block_on(async {
        let builder = Client::builder(&cluster.management_addresses).timeout(Duration::from_secs(2));
        let client = builder.connect().await.expect("connected");
        let table = client.create_table(numbers("counters")).await.expect("created");
        for id in 0..COUNTERS {
            client.insert(&table, [Value::Int(id), Value::Int(0)]).await.expect("inserted");
        }
        (client, table)
    });
    let state = cluster.state();
    let is_lost = |id: &i64| cluster.leader_of(&state, &crate::wire::row(*id, 0, "").0) < 2;
    let (lost, kept): (Vec<i64>, Vec<i64>) = (0..COUNTERS).partition(is_lost);
    assert!(!lost.is_empty() && !kept.is_empty());
    for node in [0, 1] {
        cluster.nodes[node].kill();
    }
    runtime.block_on(async {
        for id in &kept {
            let row = at_last(|| client.get(&table, *id)).await;
            assert_eq!(row.expect("there").get::<i64>("value").expect("a number"), 0);
        }
        // Nobody says that there are no such rows.
        let error = client.get(&table, lost[0]).await.expect_err("nobody can know");
        assert!(error.retryable || error.is(ErrorCode::DeadlineExceeded), "{error}");
    });
    // The processes that come back have nothing, and say so; then everybody knows.
    let ends = ["1", "2"].map(|id| {
        let arguments: Vec<String> = cluster.node_arguments(id).into_iter().map(str::to_owned).collect();
        std::thread::spawn(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run_to_end(&arguments)
        })
    });
    for end in ends {
        let (code, error) = end.join().expect("no panic");
        assert!(code == Some(1) && error.contains("GroupLost"), "{error}");
    }
    wait_for("a plain answer", || {
        let read = runtime.block_on(client.get(&table, lost[0]));
        let error = read.expect_err("there is no such row any more");
        error.is(ErrorCode::GroupLost).then_some(())
    });
    runtime.block_on(async {
        let refused = |error: Error| assert!(error.is(ErrorCode::GroupLost), "{error}");
        for id in &lost {
            refused(client.get(&table, *id).await.expect_err("read"));
            refused(client.increment(&table, *id, "value", 1).await.expect_err("written"));
            refused(client.insert(&table, [Value::Int(*id), Value::Int(0)]).await.expect_err("inserted"));
        }
        refused(client.get_many(&table, 0..COUNTERS).await.expect_err("read together"));
        refused(client.scan(&table).rows().await.expect_err("scanned"));
        let (from, to) = (kept[0], lost[0]);
        let transfer = client
            .transaction(|transaction| {
                let table = &table;
                async move {
                    transaction.update(table, from, &[("value", Assignment::Add(1.into()))]).await?;
                    transaction.update(table, to, &[("value", Assignment::Add(1.into()))]).await?;
                    Ok(())
                }
            })
            .await;
        refused(transfer.expect_err("half of it"));
        // The other group takes writes for as long as it likes: more of them than there may be open epochs.
        for round in 1..=60 {
            for id in &kept {
                let value = at_last(|| client.increment(&table, *id, "value", 1)).await;
                if *id == kept[0] {
                    assert!(matches!(value, Value::Int(value) if value >= round), "nothing is lost");
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(run_admin_status(&cluster.management_addresses).contains("group 0 is lost"));
}

fn run_admin_status(connect: &str) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_duet"));
    let output = command.args(["admin", "status", "--connect", connect]).output().expect("the binary exists");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
