//! The library: snapshots, times to live, deletes, definitions.

use crate::cluster::Cluster;
use duet_client::{Client, Value};
use duet_featurestore::{
    Feature, FeatureStore, FeatureValue, GroupDefinition, GroupStatus, ReadOptions, Reason, RowOutcome,
    Versioned, ViewDefinition, ViewFeature, ViewSource, time,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a condition may take; far more than it does.
const PATIENCE: Duration = Duration::from_secs(60);

fn definition(name: &str, ttl_seconds: Option<u64>) -> GroupDefinition {
    let feature = |name, kind| Feature::new(name, kind).expect("a type");
    GroupDefinition {
        store: "shop".to_owned(),
        name: name.to_owned(),
        version: 1,
        primary_key: vec!["id".to_owned()],
        event_time: Some("at".to_owned()),
        ttl_seconds,
        features: vec![feature("id", "bigint"), feature("at", "timestamp"), feature("x", "bigint")],
    }
}

fn view(groups: &[&str]) -> ViewDefinition {
    let sources =
        groups.iter().map(|group| ViewSource::new(group, 1).prefixed(&format!("{group}_")).keyed("id", "id"));
    ViewDefinition {
        store: "shop".to_owned(),
        name: "both".to_owned(),
        version: 1,
        sources: sources.collect(),
        features: (0..groups.len()).map(|source| ViewFeature::new(source, "x")).collect(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

#[test]
fn definitions_are_kept_and_changes_need_versions() {
    let cluster = Cluster::start(1);
    runtime().block_on(async {
        let client = || Client::connect(&cluster.nodes[0].listen);
        let store = FeatureStore::open(client().await.expect("connected")).await.expect("open");
        let one = definition("one", None);
        // Several may create the same; there is one.
        let other = FeatureStore::open(client().await.expect("connected")).await.expect("open");
        let (first, second) = tokio::join!(store.create_group(&one), other.create_group(&one));
        assert_eq!(first.expect("created").id, second.expect("the same").id);
        let changed = GroupDefinition { ttl_seconds: Some(5), ..one.clone() };
        assert_eq!(store.create_group(&changed).await.expect_err("refused").reason, Reason::Exists);
        let name = one.versioned();
        let more = |name, kind| [Feature::new(name, kind).expect("a type")];
        store.add_features(&name, &more("x", "bigint")).await.expect("it is there");
        let error = store.add_features(&name, &more("x", "double")).await.expect_err("refused");
        assert_eq!(error.reason, Reason::SchemaChange, "{error}");
        let error = store.add_features(&name, &more("No", "double")).await.expect_err("refused");
        assert_eq!(error.reason, Reason::InvalidDefinition, "{error}");
        let with_rows = store.writer(&name).await.expect("there");
        let columns = with_rows.columns(["id", "at", "x"]).expect("columns");
        let row = vec![1_i64.into(), Value::Timestamp(5), 7_i64.into()];
        with_rows.upsert(&columns, &[row]).await.expect("written");
        let extended = store.add_features(&name, &more("y", "double")).await.expect("added");
        assert_eq!(extended.definition.features.len(), 4);
        // Another client, which knows the old table, finds the column, and the row's other columns as they were.
        let writer = other.writer(&name).await.expect("there");
        let columns = writer.columns(["id", "at", "y"]).expect("columns");
        let row = vec![1_i64.into(), Value::Timestamp(6), 0.5.into()];
        assert_eq!(writer.upsert(&columns, &[row]).await.expect("written").written(), 1);
        let row = store.client().get(&extended.table, 1_i64).await.expect("read").expect("there");
        assert_eq!(row.values()[2..], [7_i64.into(), Value::Double(0.5)]);
        let both = view(&["one"]);
        store.create_view(&both).await.expect("created");
        other.create_view(&both).await.expect("the same");
        let missing = ViewDefinition { name: "third".to_owned(), ..view(&["one", "two"]) };
        assert_eq!(store.create_view(&missing).await.expect_err("refused").reason, Reason::GroupMissing);
        assert_eq!(store.drop_group(&name).await.expect_err("refused").reason, Reason::InUse);
        other.drop_view(&both.versioned()).await.expect("dropped");
        store.drop_group(&name).await.expect("dropped");
        assert_eq!(store.group(&name).await.expect_err("gone").reason, Reason::StoreMissing);
        assert!(store.groups(None).await.expect("read").is_empty());
        assert!(store.create_group(&one).await.expect("again").id > 1, "identities are not used again");
    });
}

#[test]
fn rows_grow_old_and_can_be_deleted() {
    let cluster = Cluster::start(1);
    runtime().block_on(async {
        let client = Client::connect(&cluster.nodes[0].listen).await.expect("connected");
        let store = FeatureStore::open(client).await.expect("open");
        let mut short = definition("short", Some(3_600));
        short.features[1] = Feature::new("at", "bigint").expect("a type");
        store.create_group(&short).await.expect("created");
        store.create_group(&definition("long", None)).await.expect("created");
        store.create_view(&view(&["short", "long"])).await.expect("created");
        let now = time::now_microseconds();
        for group in ["short", "long"] {
            let writer = store.writer(&Versioned::new("shop", group, 1)).await.expect("there");
            let columns = writer.columns(["id", "at", "x"]).expect("columns");
            let at = |at: i64| if group == "short" { Value::Int(at / 1_000) } else { Value::Timestamp(at) };
            let row = |id: i64, time: i64| vec![id.into(), at(time), id.into()];
            let rows = [row(1, now), row(2, now - 3_601_000_000), row(3, now)];
            let report = writer.upsert(&columns, &rows).await.expect("written");
            assert_eq!((report.written(), report.outcomes[1].clone()), (3, RowOutcome::Written));
            let gone = writer.delete(&[vec![3.into()], vec![4.into()]]).await.expect("deleted");
            assert_eq!(gone.outcomes, [RowOutcome::Written, RowOutcome::NotFound]);
        }
        let view = store.prepare(&Versioned::new("shop", "both", 1)).await.expect("there");
        let keys: Vec<Vec<Value>> =
            (1..=3_i64).map(|id| vec![id.into()]).chain([vec![Value::Null]]).collect();
        let keys = || keys.iter().map(Vec::as_slice);
        // A row that has expired can be seen until the data nodes purge it; then it is written once more.
        let writer = store.writer(&Versioned::new("shop", "short", 1)).await.expect("there");
        let columns = writer.columns(["id", "at", "x"]).expect("columns");
        let read_expired = async |options: ReadOptions| {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let expired = vec![2.into(), Value::Int((now - 3_601_000_000) / 1_000), 2.into()];
                assert_eq!(writer.upsert(&columns, &[expired]).await.expect("written").written(), 1);
                let vectors = view.get_many(keys(), &options).await.expect("read");
                if vectors.vector(1).expect("a vector").status(0) != &GroupStatus::NotFound {
                    return vectors;
                }
                assert!(Instant::now() < deadline, "the row is purged at once");
            }
        };
        let vectors = read_expired(ReadOptions::default()).await;
        let first = vectors.vector(0).expect("a vector");
        assert_eq!((first.is_complete(), first.values()), (true, vec![1.into(), 1.into()]));
        assert_eq!(first.event_time(1), Some(now));
        let second = vectors.vector(1).expect("a vector");
        assert_eq!(second.status(0), &GroupStatus::OutsideMaxAge);
        assert_eq!(second.value(0), FeatureValue::OutsideMaxAge);
        assert_eq!(second.values(), [Value::Null, 2.into()]);
        assert_eq!(vectors.vector(2).expect("a vector").value(1), FeatureValue::NotFound);
        assert!(vectors.vector(3).is_none() && vectors.error(3).is_some_and(|error| error.code() == 12));
        let options = ReadOptions { ignore_ttl: true, consistent: true };
        let vectors = read_expired(options).await;
        assert_eq!(vectors.vector(1).expect("a vector").values(), [2.into(), 2.into()]);
    });
}

#[test]
fn expired_rows_are_purged_by_the_data_nodes() {
    purged("timestamp", Value::Timestamp);
}

#[test]
fn expired_rows_whose_event_time_is_a_number_are_purged() {
    purged("bigint", |microseconds| Value::Int(microseconds / 1_000));
}

fn purged(event_time: &str, value: fn(i64) -> Value) {
    const ROWS: i64 = 3_000;
    let cluster = Cluster::start(1);
    runtime().block_on(async {
        let client = Client::connect(&cluster.nodes[0].listen).await.expect("connected");
        let store = FeatureStore::open(client.clone()).await.expect("open");
        let mut definition = definition("passing", Some(3_600));
        definition.features[1] = Feature::new("at", event_time).expect("a type");
        let group = store.create_group(&definition).await.expect("created");
        let writer = store.writer(&group.definition.versioned()).await.expect("there");
        let columns = writer.columns(["id", "at", "x"]).expect("columns");
        let now = time::now_microseconds();
        // Every third row has expired.
        let at = |id: i64| value(if id % 3 == 0 { now - 3_601_000_000 } else { now });
        let rows: Vec<Vec<Value>> = (0..ROWS).map(|id| vec![id.into(), at(id), id.into()]).collect();
        assert_eq!(writer.upsert(&columns, &rows).await.expect("written").written(), rows.len());
        let deadline = Instant::now() + PATIENCE;
        let left = loop {
            let rows = client.scan(&group.table).rows().await.expect("read");
            if rows.len() as i64 == ROWS * 2 / 3 {
                break rows;
            }
            assert!(Instant::now() < deadline, "{} rows are left", rows.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(left.iter().all(|row| row.get::<i64>("id").is_ok_and(|id| id % 3 > 0)));
    });
}

/// Transactions write the same number to both groups; a vector with two numbers was read in the middle of one.
#[test]
fn consistent_vectors_show_no_half_of_a_transaction() {
    let cluster = Cluster::start(1);
    runtime().block_on(async {
        let client = Client::connect(&cluster.nodes[0].listen).await.expect("connected");
        let store = FeatureStore::open(client.clone()).await.expect("open");
        let mut tables = Vec::new();
        for group in ["one", "two"] {
            tables.push(store.create_group(&definition(group, None)).await.expect("created").table);
        }
        store.create_view(&view(&["one", "two"])).await.expect("created");
        let view = store.prepare(&Versioned::new("shop", "both", 1)).await.expect("there");
        let ended = Arc::new(AtomicBool::new(false));
        let writer = {
            let ended = Arc::clone(&ended);
            tokio::spawn(async move {
                let tables = &tables;
                let mut number = 0_i64;
                while !ended.load(Ordering::Relaxed) {
                    number += 1;
                    let written = client.transaction(|transaction| async move {
                        for table in tables {
                            let row = [1_i64.into(), Value::Timestamp(number), number.into()];
                            transaction.upsert(table, row).await?;
                        }
                        Ok(())
                    });
                    written.await.expect("written");
                }
                number
            })
        };
        let options = ReadOptions { consistent: true, ..ReadOptions::default() };
        let mut last = Value::Null;
        for _ in 0..300 {
            let vectors = view.get(&[1_i64.into()], &options).await.expect("read");
            let values = vectors.vector(0).expect("a vector").values();
            assert_eq!(values[0], values[1]);
            last = values[0].clone();
        }
        ended.store(true, Ordering::Relaxed);
        assert!(writer.await.expect("no panic") > 1 && last != Value::Null);
    });
}
