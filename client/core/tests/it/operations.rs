//! Reads, writes, scans, retries, deadlines, bounds.

use crate::fake::{Fault, Process};
use crate::harness::{Harness, MILLISECOND};
use duet_client_core::{Batch, Expectation, FragmentScan, Reply};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::RowVersion;
use duet_protocol::update::{Assignment, update_result_value};
use duet_protocol::value::{Value, ValueRef};

pub fn insert(harness: &Harness, ids: std::ops::Range<i64>) -> Batch {
    let mut batch = Batch::new();
    for id in ids {
        batch.insert(&harness.table(), &[Value::Int(id), Value::Int(id * 10)]).expect("fits");
    }
    batch
}

pub fn increment(harness: &Harness, id: i64) -> Batch {
    let mut batch = Batch::new();
    let add = [(1, Assignment::Add(ValueRef::Int(1)))];
    batch.update(&harness.table(), &[Value::Int(id)], &add, Expectation::Any).expect("fits");
    batch
}

pub fn read(harness: &Harness, ids: std::ops::Range<i64>) -> Batch {
    let mut batch = Batch::new();
    for id in ids {
        batch.read(&harness.table(), &[Value::Int(id)]).expect("fits");
    }
    batch
}

#[test]
fn rows_are_written_and_read() {
    let mut harness = Harness::connected();
    let batch = insert(&harness, 0..100);
    let written = harness.run(batch);
    let versions: Vec<RowVersion> =
        (0..100).map(|index| written.written(index).expect("new").version).collect();
    let batch = read(&harness, 0..101);
    let found = harness.run(batch);
    for (index, written) in versions.iter().enumerate() {
        let row = found.row(index).expect("answered").expect("there");
        assert_eq!(row.column(0).expect("id"), ValueRef::Int(index as i64));
        assert_eq!(row.column(1).expect("count"), ValueRef::Int(index as i64 * 10));
        let Ok(Reply::Row { version, .. }) = found.reply(index) else { panic!("a row") };
        assert_eq!(version, *written);
    }
    assert!(found.row(100).expect("answered").is_none());
    assert_eq!(found.error_count(), 0);

    let batch = increment(&harness, 3);
    let summed = harness.run(batch);
    let result = summed.written(0).expect("there");
    let sum = update_result_value(harness.table().layout(), 1, result.result()).expect("a sum");
    assert_eq!(sum, Value::Int(31));

    let batch = insert(&harness, 5..6);
    let refused = harness.run(batch).written(0).expect_err("exists");
    assert!(refused.is(ErrorCode::DuplicateKey) && !refused.retryable);

    let mut batch = Batch::new();
    let table = harness.table();
    batch.upsert(&table, &[Value::Int(7), Value::Int(1)], Expectation::Version(versions[8])).expect("fits");
    batch.delete(&table, &[Value::Int(8)], Expectation::Version(versions[8])).expect("fits");
    batch.delete(&table, &[Value::Int(8_000)], Expectation::Any).expect("fits");
    let mixed = harness.run(batch);
    assert!(mixed.written(0).expect_err("another version").is(ErrorCode::VersionMismatch));
    mixed.written(1).expect("that version");
    assert!(mixed.written(2).expect_err("no row").is(ErrorCode::RowNotFound));
    assert_eq!(harness.core.unresolved_numbers(), 0);
    let below: Vec<u64> = harness.cluster.seen_resolved_below.values().copied().collect();
    assert_eq!(below.len(), 1, "one session is enough");
    assert!(below[0] > 100);
}

#[test]
fn a_batch_may_be_submitted_again() {
    let mut harness = Harness::connected();
    let batch = insert(&harness, 0..1);
    harness.run(batch);
    let batch = increment(&harness, 0);
    let mut batch = harness.run(batch);
    let first = batch.written(0).expect("there");
    batch = harness.run(*batch);
    assert_ne!(batch.written(0).expect("again").transaction, first.transaction);
    let batch = read(&harness, 0..1);
    assert_eq!(harness.run(batch).row(0).expect("there").expect("row").column(1), Ok(ValueRef::Int(2)));
}

#[test]
fn a_table_is_scanned_page_by_page() {
    let mut harness = Harness::connected();
    let batch = insert(&harness, 0..200);
    harness.run(batch);
    let table = harness.table();
    let mut ids = Vec::new();
    for partition in 0..table.partitions() {
        let mut fragment = FragmentScan::new(partition);
        while let Some(request) = fragment.next_request(7, 1 << 16) {
            let mut batch = Batch::new();
            batch.scan(&table, request).expect("fits");
            let page = harness.run(batch);
            let Ok(Reply::Page(page)) = page.reply(0) else { panic!("a page") };
            assert!(page.row_count() <= 7);
            for row in page.rows() {
                let (_, row) = row.expect("whole");
                ids.push(row.column(0).expect("id").to_value());
            }
            fragment.advance(&page).expect("forward");
        }
    }
    ids.sort_by_key(|id| format!("{id:?}"));
    ids.dedup();
    assert_eq!(ids.len(), 200);
    let mut batch = Batch::new();
    let request = FragmentScan::new(table.partitions()).next_request(1, 1).expect("a request");
    assert!(batch.scan(&table, request).is_err(), "no such partition");
}

#[test]
fn retryable_errors_are_tried_again() {
    let mut harness = Harness::connected();
    let batch = insert(&harness, 0..1);
    harness.run(batch);
    for code in [ErrorCode::Overloaded, ErrorCode::StaleMap, ErrorCode::RowQueueFull, ErrorCode::NotServing] {
        harness.cluster.faults.extend([Fault::Refuse(code), Fault::Refuse(code)]);
        let batch = increment(&harness, 0);
        harness.run(batch).written(0).expect("third time lucky");
    }
    harness.cluster.faults.push_back(Fault::Refuse(ErrorCode::InvalidUpdate));
    let batch = increment(&harness, 0);
    let error = harness.run(batch).written(0).expect_err("not retryable");
    assert!(error.is(ErrorCode::InvalidUpdate));
    assert!(error.node.is_some());
    assert!(error.message.contains("a detail"), "{error}");
    assert!(error.transaction.is_some());
    let batch = read(&harness, 0..1);
    assert_eq!(harness.run(batch).row(0).expect("there").expect("row").column(1), Ok(ValueRef::Int(4)));
}

#[test]
fn the_last_error_is_told_at_the_deadline() {
    let mut harness = Harness::connected();
    harness.cluster.faults.extend([Fault::Refuse(ErrorCode::BackupUnreachable); 200]);
    let mut batch = insert(&harness, 0..1);
    batch.timeout = 300 * MILLISECOND;
    let before = harness.now;
    let error = harness.run(batch).written(0).expect_err("no backup");
    assert!(error.is(ErrorCode::BackupUnreachable) && error.retryable, "{error}");
    assert!(harness.now - before < 400 * MILLISECOND);
    assert_eq!(harness.core.unresolved_numbers(), 0, "it was refused every time: nothing is unknown");
}

#[test]
fn a_read_without_answer_ends_at_its_deadline() {
    let mut harness = Harness::connected();
    harness.cluster.faults.push_back(Fault::Ignore);
    let mut batch = read(&harness, 0..1);
    batch.timeout = 50 * MILLISECOND;
    let error = harness.run(batch).row(0).expect_err("no answer");
    assert!(error.is(ErrorCode::DeadlineExceeded) && error.retryable);
    let batch = read(&harness, 0..1);
    assert!(harness.run(batch).row(0).expect("answered").is_none());
}

#[test]
fn a_node_that_cannot_be_reached_is_named() {
    let mut harness = Harness::new(|_| {});
    harness.unreachable = vec![Process::Node(1), Process::Node(2)];
    harness.connect();
    let mut batch = insert(&harness, 0..8);
    batch.timeout = 100 * MILLISECOND;
    let ended = harness.run(batch);
    for index in 0..8 {
        let error = ended.written(index).expect_err("nobody there");
        assert!(error.is(ErrorCode::NodeUnreachable), "{error}");
        assert!(error.message.contains("node-"), "{error}");
        assert_eq!(error.transaction, None, "it was never sent");
    }
    harness.unreachable.clear();
    let batch = insert(&harness, 0..8);
    assert_eq!(harness.run(batch).error_count(), 0, "and found again when it is there");
}

#[test]
fn operations_wait_for_a_cluster_that_forms() {
    let mut harness = Harness::new(|_| {});
    let formed = harness.cluster.state.clone();
    harness.connect();
    let table = harness.table();
    let mut harness = Harness::new(|_| {});
    harness.cluster.state.view = duet_protocol::record::View::default();
    harness.connect();
    let mut batch = Batch::new();
    batch.insert(&table, &[Value::Int(1), Value::Int(1)]).expect("fits");
    harness.core.submit(harness.now, Box::new(batch));
    for _ in 0..100 {
        harness.step();
    }
    assert!(harness.completed.is_empty());
    harness.cluster.state.view = formed.view;
    harness.cluster.state.version += 1;
    harness.run_until(|harness| !harness.completed.is_empty());
    harness.completed[0].written(0).expect("formed");
}

#[test]
fn bounds_end_in_overloaded() {
    let mut harness = Harness::new(|configuration| {
        configuration.limits.operations = 100;
        configuration.limits.requests_per_node = 4;
    });
    harness.connect();
    let batch = insert(&harness, 0..101);
    let refused = harness.run(batch);
    assert!(refused.written(0).expect_err("too many").is(ErrorCode::Overloaded));
    assert_eq!(refused.error_count(), 101);
    let batch = insert(&harness, 0..100);
    assert_eq!(harness.run(batch).error_count(), 0, "what waits for room is sent later");
}

#[test]
fn double_and_late_answers_are_dropped() {
    let mut harness = Harness::connected();
    harness.cluster.faults.extend([Fault::AnswerTwice; 20]);
    let batch = insert(&harness, 0..10);
    assert_eq!(harness.run(batch).error_count(), 0);
    let batch = read(&harness, 0..10);
    assert_eq!(harness.run(batch).error_count(), 0);
    assert_eq!(harness.core.counters().late_answers, 20);
}

#[test]
fn observations_from_an_older_view_are_made_again() {
    let mut harness = Harness::connected();
    let batch = insert(&harness, 0..10);
    harness.run(batch);
    harness.cluster.state.view.number = 4;
    harness.cluster.state.view.groups[0].changed_in_view = 4;
    harness.cluster.state.version += 1;
    let batch = read(&harness, 0..1);
    harness.run(batch);
    harness.run_until(|harness| harness.core.state().is_some_and(|state| state.view.number == 4));
    harness.cluster.view_override = Some(3);
    let batch = read(&harness, 0..10);
    harness.core.submit(harness.now, Box::new(batch));
    for _ in 0..20 {
        harness.step();
    }
    assert!(harness.completed.is_empty());
    assert!(harness.core.counters().stale_observations >= 10);
    let batch = insert(&harness, 20..21);
    harness.run(batch).written(0).expect("commits count whatever the view");
    harness.cluster.view_override = None;
    harness.run_until(|harness| !harness.completed.is_empty());
    assert_eq!(harness.completed[0].error_count(), 0);
}

#[test]
fn a_newer_view_is_fetched_as_soon_as_it_is_heard_of() {
    let mut harness = Harness::connected();
    let batch = insert(&harness, 0..10);
    harness.run(batch);
    // A node is gone: the client asks for a view without it, ever more rarely.
    harness.unreachable.push(Process::Node(2));
    let gone = harness.links.iter().position(|link| matches!(link.process, Process::Node(2)));
    harness.cut(gone.expect("a link"));
    let batch = read(&harness, 0..10);
    harness.core.submit(harness.now, Box::new(batch));
    for _ in 0..400 {
        harness.step();
    }
    harness.cluster.state.view.number = 4;
    harness.cluster.state.view.groups[0].changed_in_view = 4;
    harness.cluster.state.version += 1;
    let batch = read(&harness, 0..10);
    harness.core.submit(harness.now, Box::new(batch));
    let begin = harness.now;
    harness.run_until(|harness| harness.core.state().is_some_and(|state| state.view.number == 4));
    assert!(harness.now - begin <= 3 * MILLISECOND, "after {} ms", (harness.now - begin) / MILLISECOND);
}

#[test]
fn a_stopped_node_is_not_the_only_one_that_is_asked() {
    for seed in 1..=8 {
        let mut harness = Harness::new(|configuration| configuration.seed = seed);
        harness.connect();
        let batch = insert(&harness, 0..10);
        harness.run(batch);
        // One node has stopped; writes at the other one wait for it, so neither says anything by itself.
        harness.stopped.push(Process::Node(2));
        harness.cluster.faults.extend([Fault::Ignore; 10]);
        let batch = read(&harness, 0..10);
        harness.core.submit(harness.now, Box::new(batch));
        for _ in 0..300 {
            harness.step();
        }
        harness.cluster.state.view.number = 4;
        harness.cluster.state.view.groups[0].changed_in_view = 4;
        harness.cluster.state.version += 1;
        let begin = harness.now;
        harness.run_until(|harness| harness.core.state().is_some_and(|state| state.view.number == 4));
        let waited = (harness.now - begin) / MILLISECOND;
        assert!(waited <= 250, "seed {seed}: after {waited} ms");
    }
}

#[test]
fn an_idle_client_sleeps() {
    let mut harness = Harness::connected();
    let batch = insert(&harness, 0..10);
    harness.run(batch);
    // The deadline of what is long done is the last timer; the links that were needed once are closed.
    harness.run_until(|harness| harness.core.next_timer(harness.now).is_none());
    let sent = harness.core.counters().requests_sent;
    let nodes = harness.links.iter().filter(|link| matches!(link.process, Process::Node(_))).count();
    assert_eq!((nodes, harness.links.len()), (2, 2));
    harness.now += 3_600_000 * MILLISECOND;
    harness.collect();
    assert_eq!((harness.core.next_timer(harness.now), harness.core.counters().requests_sent), (None, sent));
}

#[test]
fn values_that_do_not_fit_are_refused_at_once() {
    let harness = Harness::connected();
    let table = harness.table();
    let mut batch = Batch::new();
    assert!(batch.read(&table, &[Value::Text("x".into())]).is_err());
    assert!(batch.read(&table, &[Value::Int(1), Value::Int(2)]).is_err());
    assert!(batch.insert(&table, &[Value::Int(1)]).is_err());
    assert!(batch.insert(&table, &[Value::Int(1), Value::Null]).is_err());
    assert!(batch.read_key(&table, &[1, 2]).is_err());
    let set_key = [(0, Assignment::Set(ValueRef::Int(1)))];
    assert!(batch.update(&table, &[Value::Int(1)], &set_key, Expectation::Any).is_err());
    assert!(table.column("nonsense").is_err());
    assert!(batch.is_empty());
}
