//! Transactions: batches with and without their end, failures, lost links, what must not be asked.

use crate::fake::{Fault, Process};
use crate::harness::{Harness, MILLISECOND};
use crate::operations::{increment, insert, read};
use duet_client_core::{
    Batch, Expectation, FragmentScan, Lock, MAX_OPEN_TRANSACTIONS, Outcome, Reply, TransactionHandle,
};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::TransactionId;
use duet_protocol::value::{Value, ValueRef};

/// A cluster with rows 0 to 9, and a begun transaction.
fn begun() -> (Harness, TransactionHandle) {
    let mut harness = Harness::connected();
    let batch = insert(&harness, 0..10);
    assert_eq!(harness.run(batch).error_count(), 0);
    let handle = harness.core.begin().expect("few are open");
    (harness, handle)
}

fn within(handle: TransactionHandle, mut batch: Batch) -> Batch {
    batch.transaction = Some(handle);
    batch
}

fn commit(handle: TransactionHandle) -> Batch {
    let mut batch = Batch::new();
    batch.commit().expect("fits");
    within(handle, batch)
}

fn rollback(handle: TransactionHandle) -> Batch {
    let mut batch = Batch::new();
    batch.rollback().expect("fits");
    within(handle, batch)
}

fn count_of(batch: &Batch, index: usize) -> Option<i64> {
    match batch.row(index).expect("answered")?.column(1).expect("count") {
        ValueRef::Int(count) => Some(count),
        other => panic!("{other:?}"),
    }
}

fn counts(harness: &mut Harness, ids: std::ops::Range<i64>) -> Vec<Option<i64>> {
    let batch = read(harness, ids.clone());
    let found = harness.run(batch);
    (0..(ids.end - ids.start) as usize).map(|index| count_of(&found, index)).collect()
}

fn code_of(batch: &Batch, index: usize) -> ErrorCode {
    batch.reply(index).expect_err("an error").error_code().expect("of ours")
}

fn cut_data_links(harness: &mut Harness) {
    while let Some(index) = harness.links.iter().position(|link| matches!(link.process, Process::Node(_))) {
        harness.cut(index);
    }
    harness.cluster.lose_transactions();
}

fn assert_settled(harness: &Harness) {
    assert_eq!((harness.core.unresolved_numbers(), harness.core.unknown_outcomes()), (0, 0));
    assert_eq!(harness.cluster.open_transactions(), 0);
}

#[test]
fn operations_and_commit_travel_in_one_frame() {
    let (mut harness, handle) = begun();
    let mut batch = insert(&harness, 20..22);
    let table = harness.table();
    batch.delete(&table, &[Value::Int(3)], Expectation::Any).expect("fits");
    batch.read(&table, &[Value::Int(20)]).expect("fits");
    batch.read_locked(&table, &[Value::Int(3)], Lock::Exclusive).expect("fits");
    batch.commit().expect("fits");
    harness.core.submit(harness.now, Box::new(within(handle, batch)));
    harness.collect();
    let frames: usize = harness.links.iter().map(|link| link.to_server.len()).sum();
    assert_eq!(frames, 1);
    harness.run_until(|harness| !harness.completed.is_empty());
    let done = harness.completed.remove(0).expect("one");
    assert_eq!(done.error_count(), 0);
    assert_eq!((count_of(&done, 3), count_of(&done, 4)), (Some(200), None), "it sees its own changes");
    assert!(done.ending(5).expect("ended").committed);
    assert_eq!(counts(&mut harness, 20..22), [Some(200), Some(210)]);
    assert_eq!(counts(&mut harness, 3..4), [None]);
    assert_settled(&harness);
}

#[test]
fn a_rollback_leaves_nothing_and_others_see_only_what_is_committed() {
    let (mut harness, handle) = begun();
    let batch = within(handle, increment(&harness, 1));
    harness.run(batch).written(0).expect("changed");
    let batch = within(handle, read(&harness, 1..2));
    assert_eq!(count_of(&harness.run(batch), 0), Some(11));
    assert_eq!(counts(&mut harness, 1..2), [Some(10)]);
    assert!(!harness.run(rollback(handle)).ending(0).expect("ended").committed);
    assert_eq!(counts(&mut harness, 1..2), [Some(10)]);
    assert_settled(&harness);
}

#[test]
fn nothing_is_done_after_the_end() {
    let (mut harness, handle) = begun();
    let batch = within(handle, increment(&harness, 1));
    harness.run(batch).written(0).expect("changed");
    assert!(harness.run(commit(handle)).ending(0).expect("ended").committed);
    for batch in [increment(&harness, 1), read(&harness, 1..2), commit(handle)] {
        let batch = harness.run(within(handle, batch));
        assert_eq!(code_of(&batch, 0), ErrorCode::UnknownTransaction);
    }
    // An end that is repeated, and operations behind the end in one batch.
    let handle = harness.core.begin().expect("few are open");
    let mut batch = increment(&harness, 1);
    batch.commit().expect("fits");
    batch.read(&harness.table(), &[Value::Int(1)]).expect("fits");
    batch.commit().expect("fits");
    let batch = harness.run(within(handle, batch));
    assert!(batch.ending(1).expect("ended").committed);
    for index in [2, 3] {
        let code = code_of(&batch, index);
        assert!([ErrorCode::UnknownTransaction, ErrorCode::InvalidRequest].contains(&code), "{code:?}");
    }
    assert_eq!(counts(&mut harness, 1..2), [Some(12)]);
    assert_settled(&harness);
}

#[test]
fn a_transaction_that_nobody_began_is_unknown() {
    let (mut harness, _) = begun();
    let handle = TransactionHandle::numbered(1 << 40);
    for batch in [increment(&harness, 1), commit(handle)] {
        let batch = harness.run(within(handle, batch));
        assert_eq!(code_of(&batch, 0), ErrorCode::UnknownTransaction);
    }
    // As is a roll-back, which succeeds: it is not committed.
    assert_eq!(harness.run(rollback(handle)).error_count(), 0);
    assert_eq!(counts(&mut harness, 1..2), [Some(10)]);
}

#[test]
fn a_failed_operation_ends_all_others() {
    let (mut harness, handle) = begun();
    let mut batch = increment(&harness, 1);
    let table = harness.table();
    batch.insert(&table, &[Value::Int(2), Value::Int(0)]).expect("fits");
    batch.read(&table, &[Value::Int(1)]).expect("fits");
    batch.commit().expect("fits");
    let batch = harness.run(within(handle, batch));
    batch.written(0).expect("before the failure");
    assert_eq!(code_of(&batch, 1), ErrorCode::DuplicateKey);
    assert_eq!(code_of(&batch, 2), ErrorCode::TransactionFailed);
    assert_eq!(code_of(&batch, 3), ErrorCode::TransactionFailed);
    assert_eq!(counts(&mut harness, 1..2), [Some(10)]);
    assert_settled(&harness);

    let handle = harness.core.begin().expect("few are open");
    let batch = within(handle, increment(&harness, 99));
    assert_eq!(code_of(&harness.run(batch), 0), ErrorCode::RowNotFound);
    let batch = within(handle, read(&harness, 1..2));
    assert_eq!(code_of(&harness.run(batch), 0), ErrorCode::TransactionFailed);
    assert_eq!(code_of(&harness.run(commit(handle)), 0), ErrorCode::TransactionFailed);
    harness.run_until(|harness| harness.cluster.open_transactions() == 0);
    assert_settled(&harness);
}

#[test]
fn missing_and_existing_rows_may_be_accepted() {
    let (mut harness, handle) = begun();
    let mut batch = increment(&harness, 99);
    let table = harness.table();
    batch.insert(&table, &[Value::Int(2), Value::Int(0)]).expect("fits");
    batch.delete(&table, &[Value::Int(98)], Expectation::Any).expect("fits");
    (0..3).for_each(|index| batch.ignore_row(index));
    batch.update(&table, &[Value::Int(2)], &[], Expectation::Any).expect("fits");
    batch.commit().expect("fits");
    let batch = harness.run(within(handle, batch));
    assert_eq!(batch.error_count(), 0);
    let ignored: Vec<bool> = (0..4).map(|index| batch.written(index).expect("accepted").ignored).collect();
    assert_eq!(ignored, [true, true, true, false]);
    assert_settled(&harness);
}

#[test]
fn scans_resolves_and_empty_transactions() {
    let (mut harness, handle) = begun();
    let table = harness.table();
    let mut batch = Batch::new();
    let request = FragmentScan::new(0).next_request(10, 1_000).expect("a request");
    batch.scan(&table, request).expect("fits");
    assert_eq!(code_of(&harness.run(within(handle, batch)), 0), ErrorCode::InvalidRequest);
    let mut batch = Batch::new();
    batch.resolve(TransactionId { session: 1, seq: 1 }).expect("fits");
    assert_eq!(code_of(&harness.run(within(handle, batch)), 0), ErrorCode::InvalidRequest);

    let seen = harness.cluster.requests_seen;
    for (end, committed) in [(commit as fn(TransactionHandle) -> Batch, true), (rollback, false)] {
        let handle = harness.core.begin().expect("few are open");
        assert_eq!(harness.run(end(handle)).ending(0).expect("ended").committed, committed);
    }
    assert_eq!(harness.cluster.requests_seen, seen, "what does nothing asks nobody");
    assert_settled(&harness);
}

#[test]
fn a_lost_link_ends_transactions_before_their_commit() {
    let (mut harness, handle) = begun();
    let batch = within(handle, increment(&harness, 1));
    harness.run(batch).written(0).expect("changed");
    cut_data_links(&mut harness);
    for batch in [increment(&harness, 1), commit(handle)] {
        let batch = harness.run(within(handle, batch));
        let error = batch.reply(0).expect_err("lost");
        assert!(error.is(ErrorCode::NodeUnreachable) && error.retryable, "{error}");
    }
    assert_eq!(counts(&mut harness, 1..2), [Some(10)]);
    assert_settled(&harness);
}

#[test]
fn a_transaction_begins_again_when_its_first_operation_is_not_executed() {
    for code in [ErrorCode::NotServing, ErrorCode::StaleMap] {
        let (mut harness, handle) = begun();
        harness.cluster.faults.extend([Fault::Refuse(code); 3]);
        let batch = within(handle, increment(&harness, 1));
        harness.run(batch).written(0).expect("executed by the fourth");
        assert!(!harness.run(rollback(handle)).ending(0).expect("ended").committed);
        let handle = harness.core.begin().expect("few are open");
        harness.cluster.faults.push_back(Fault::Refuse(code));
        harness.core.submit(harness.now, Box::new(within(handle, increment(&harness, 1))));
        harness.step();
        // What comes while it waits comes after it.
        harness.core.submit(harness.now, Box::new(within(handle, read(&harness, 1..2))));
        harness.run_until(|harness| harness.completed.len() == 2);
        harness.completed.remove(0).expect("the first one").written(0).expect("changed");
        let found = harness.completed.remove(0).expect("the second one");
        assert_eq!(count_of(&found, 0), Some(11));
        assert!(harness.run(commit(handle)).ending(0).expect("ended").committed);
        assert_eq!(counts(&mut harness, 1..2), [Some(11)]);
        assert_settled(&harness);
    }
    let (mut harness, handle) = begun();
    harness.core.submit(harness.now, Box::new(within(handle, increment(&harness, 1))));
    harness.collect();
    cut_data_links(&mut harness);
    harness.run_until(|harness| !harness.completed.is_empty());
    harness.completed.remove(0).expect("one").written(0).expect("changed");
    assert!(harness.run(commit(handle)).ending(0).expect("ended").committed);
    assert_eq!(counts(&mut harness, 1..2), [Some(11)]);
    assert_settled(&harness);
}

#[test]
fn a_transaction_that_has_begun_does_not_begin_again() {
    let (mut harness, handle) = begun();
    let batch = within(handle, increment(&harness, 1));
    harness.run(batch).written(0).expect("changed");
    harness.cluster.faults.push_back(Fault::Refuse(ErrorCode::NotServing));
    let batch = within(handle, increment(&harness, 2));
    assert_eq!(harness.run(batch).written(0).expect_err("refused").error_code(), Some(ErrorCode::NotServing));
    let mut batch = rollback(handle);
    batch.timeout = 0;
    assert!(!harness.run(batch).ending(0).expect("ended").committed);
    // Nobody serves the row in time: the last refusal is told.
    let handle = harness.core.begin().expect("few are open");
    harness.cluster.faults.extend([Fault::Refuse(ErrorCode::NotServing); 400]);
    let mut batch = within(handle, increment(&harness, 1));
    batch.timeout = 100 * MILLISECOND;
    let error = harness.run(batch).written(0).expect_err("refused");
    assert!(error.is(ErrorCode::NotServing) && error.retryable, "{error}");
    harness.cluster.faults.clear();
    harness.core.forget(harness.now, handle);
    assert_eq!(counts(&mut harness, 1..3), [Some(10), Some(20)]);
    assert_settled(&harness);
}

/// The link breaks before the commit arrives, and after it was executed.
#[test]
fn a_commit_in_doubt_is_resolved() {
    for executed in [false, true] {
        let (mut harness, handle) = begun();
        let batch = within(handle, increment(&harness, 1));
        harness.run(batch).written(0).expect("changed");
        harness.core.submit(harness.now, Box::new(commit(handle)));
        harness.collect();
        if executed {
            (0..harness.links.len()).for_each(|index| harness.serve(index));
        }
        cut_data_links(&mut harness);
        harness.run_until(|harness| !harness.completed.is_empty());
        let done = harness.completed.remove(0).expect("one");
        match executed {
            true => assert!(done.ending(0).expect("found").committed),
            false => assert_eq!(code_of(&done, 0), ErrorCode::NodeUnreachable),
        }
        assert_eq!(counts(&mut harness, 1..2), [Some(10 + i64::from(executed))]);
        assert_settled(&harness);
    }
}

#[test]
fn a_commit_without_an_answer_is_an_unknown_outcome() {
    for (fault, happened) in [(Fault::ExecuteSilently, true), (Fault::Ignore, false)] {
        let (mut harness, handle) = begun();
        let batch = within(handle, increment(&harness, 1));
        harness.run(batch).written(0).expect("changed");
        harness.cluster.faults.push_back(fault);
        let mut batch = commit(handle);
        batch.timeout = 20 * MILLISECOND;
        let batch = harness.run(batch);
        let error = batch.ending(0).expect_err("no answer");
        assert!(error.is(ErrorCode::OutcomeUnknown), "{error}");
        let transaction = error.transaction.expect("it was sent");
        let mut batch = Batch::new();
        batch.resolve(transaction).expect("fits");
        let resolved = harness.run(batch);
        let Ok(Reply::Resolved(outcome)) = resolved.reply(0) else { panic!("an outcome") };
        assert_eq!(matches!(outcome, Outcome::Committed { .. }), happened);
        assert_eq!(counts(&mut harness, 1..2), [Some(10 + i64::from(happened))]);
        assert_eq!((harness.core.unresolved_numbers(), harness.core.unknown_outcomes()), (0, 0));
    }
}

#[test]
fn a_lock_of_another_transaction_is_a_retryable_error() {
    let (mut harness, first) = begun();
    let second = harness.core.begin().expect("few are open");
    let batch = within(first, increment(&harness, 1));
    harness.run(batch).written(0).expect("changed");
    let batch = within(second, increment(&harness, 1));
    let error = harness.run(batch).written(0).expect_err("locked");
    assert!(error.is(ErrorCode::LockTimeout) && error.retryable, "{error}");
    // Later operations are told the same, so that whoever runs the transaction tries it again.
    let batch = within(second, read(&harness, 2..3));
    assert_eq!(code_of(&harness.run(batch), 0), ErrorCode::LockTimeout);
    harness.core.forget(harness.now, second);
    assert!(harness.run(commit(first)).ending(0).expect("ended").committed);
    harness.run_until(|harness| harness.cluster.open_transactions() == 0);
    assert_settled(&harness);
}

#[test]
fn too_many_open_transactions_are_refused() {
    let (mut harness, first) = begun();
    let mut open = vec![first];
    while let Some(handle) = harness.core.begin() {
        open.push(handle);
    }
    assert_eq!(open.len(), MAX_OPEN_TRANSACTIONS);
    let more = TransactionHandle::numbered(1 << 40);
    harness.core.begin_as(more, 0);
    let batch = within(more, increment(&harness, 1));
    assert_eq!(code_of(&harness.run(batch), 0), ErrorCode::Overloaded);
    for handle in open {
        harness.core.forget(harness.now, handle);
    }
    let handle = harness.core.begin().expect("all were forgotten");
    let mut batch = increment(&harness, 1);
    batch.commit().expect("fits");
    assert!(harness.run(within(handle, batch)).ending(1).expect("ended").committed);
}
