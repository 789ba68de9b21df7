//! Lost links, writes in doubt, unknown outcomes.

use crate::fake::{Fault, Process};
use crate::harness::{Harness, MILLISECOND};
use crate::operations::{increment, insert, read};
use duet_client_core::{Batch, Outcome, Reply};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::TransactionId;
use duet_protocol::value::ValueRef;

fn count(harness: &mut Harness, id: i64) -> ValueRef<'static> {
    let batch = read(harness, id..id + 1);
    let found = harness.run(batch);
    match found.row(0).expect("answered").expect("there").column(1).expect("count") {
        ValueRef::Int(count) => ValueRef::Int(count),
        other => panic!("{other:?}"),
    }
}

fn cut_data_links(harness: &mut Harness) {
    while let Some(index) = harness.links.iter().position(|link| matches!(link.process, Process::Node(_))) {
        harness.cut(index);
    }
}

/// The link breaks before the request arrives, after it was executed, and after the answer was sent.
#[test]
fn a_write_survives_a_lost_link_wherever_it_is() {
    for point in 0..3 {
        let mut harness = Harness::connected();
        let batch = insert(&harness, 0..1);
        harness.run(batch);
        let batch = increment(&harness, 0);
        harness.core.submit(harness.now, Box::new(batch));
        harness.collect();
        if point > 0 {
            for index in 0..harness.links.len() {
                harness.serve(index);
            }
        }
        if point > 1 {
            harness.collect();
        }
        cut_data_links(&mut harness);
        harness.run_until(|harness| !harness.completed.is_empty());
        let written = harness.completed.remove(0).expect("one").written(0).expect("once");
        assert_eq!(written.replayed, point > 0);
        assert_eq!(count(&mut harness, 0), ValueRef::Int(1));
    }
}

#[test]
fn an_unknown_outcome_is_resolved_in_the_background() {
    for (fault, happened) in [(Fault::ExecuteSilently, true), (Fault::Ignore, false)] {
        let mut harness = Harness::connected();
        let batch = insert(&harness, 0..1);
        harness.run(batch);
        harness.cluster.faults.push_back(fault);
        let mut batch = increment(&harness, 0);
        batch.timeout = 20 * MILLISECOND;
        let error = harness.run(batch).written(0).expect_err("no answer");
        assert!(error.is(ErrorCode::OutcomeUnknown));
        let transaction = error.transaction.expect("it was sent");
        let mut batch = Batch::new();
        batch.resolve(transaction).expect("fits");
        let resolved = harness.run(batch);
        let Ok(Reply::Resolved(outcome)) = resolved.reply(0) else { panic!("an outcome") };
        assert_eq!(matches!(outcome, Outcome::Committed { .. }), happened);
        assert_eq!(harness.core.outcome(transaction), Some(outcome));
        assert_eq!(count(&mut harness, 0), ValueRef::Int(i64::from(happened)));
        assert_eq!((harness.core.unresolved_numbers(), harness.core.unknown_outcomes()), (0, 0));
        let mut batch = Batch::new();
        batch.resolve(transaction).expect("fits");
        batch.resolve(TransactionId { session: 1, seq: 1 }).expect("fits");
        let again = harness.run(batch);
        assert!(matches!(again.reply(0), Ok(Reply::Resolved(same)) if same == outcome));
        assert!(again.reply(1).expect_err("not ours").is(ErrorCode::InvalidTransaction));
    }
}

/// PROTOCOL.md counterexample 15: the caller was told that the write did not happen; then the original arrives.
#[test]
fn a_late_original_meets_the_fence() {
    let mut harness = Harness::connected();
    let batch = insert(&harness, 0..1);
    harness.run(batch);
    harness.cluster.faults.push_back(Fault::Delay);
    let mut batch = increment(&harness, 0);
    batch.timeout = 20 * MILLISECOND;
    let error = harness.run(batch).written(0).expect_err("no answer");
    let transaction = error.transaction.expect("it was sent");
    harness.run_until(|harness| harness.core.outcome(transaction).is_some());
    assert_eq!(harness.core.outcome(transaction), Some(Outcome::Aborted));
    harness.cluster.execute_delayed();
    assert_eq!(count(&mut harness, 0), ValueRef::Int(0));
}

/// A refusal of the second try must not be told while the first may still happen.
#[test]
fn a_refusal_in_doubt_is_fenced_before_it_is_told() {
    let mut harness = Harness::connected();
    harness.cluster.faults.push_back(Fault::Delay);
    let batch = increment(&harness, 0);
    harness.core.submit(harness.now, Box::new(batch));
    harness.run_until(|harness| harness.cluster.requests_seen == 1);
    cut_data_links(&mut harness);
    harness.run_until(|harness| !harness.completed.is_empty());
    let error = harness.completed.remove(0).expect("one").written(0).expect_err("no such row");
    assert!(error.is(ErrorCode::RowNotFound));
    let batch = insert(&harness, 0..1);
    harness.run(batch).written(0).expect("new");
    harness.cluster.execute_delayed();
    assert_eq!(count(&mut harness, 0), ValueRef::Int(0), "the first try must not touch the new row");
}

#[test]
fn an_answer_that_was_lost_inside_the_cluster_is_found_again() {
    for code in [ErrorCode::OutcomeUnknown, ErrorCode::ReplyBufferFull] {
        let mut harness = Harness::connected();
        let batch = insert(&harness, 0..1);
        harness.run(batch);
        harness.cluster.faults.push_back(Fault::ExecuteAndRefuse(code));
        let batch = increment(&harness, 0);
        assert!(harness.run(batch).written(0).expect("replayed").replayed);
        assert_eq!(count(&mut harness, 0), ValueRef::Int(1));
    }
}

#[test]
fn too_many_unknown_outcomes_are_forgotten_oldest_first() {
    let mut harness = Harness::new(|configuration| configuration.limits.unknown_outcomes = 2);
    harness.connect();
    let batch = insert(&harness, 0..1);
    harness.run(batch);
    let mut transactions = Vec::new();
    harness.cluster.faults.extend([Fault::Ignore; 1_000]);
    for _ in 0..3 {
        let mut batch = increment(&harness, 0);
        batch.timeout = 5 * MILLISECOND;
        let error = harness.run(batch).written(0).expect_err("no answer");
        transactions.push(error.transaction.expect("it was sent"));
    }
    assert_eq!(harness.core.unknown_outcomes(), 2);
    assert_eq!(harness.core.outcome(transactions[0]), Some(Outcome::Forgotten));
    harness.cluster.faults.clear();
    cut_data_links(&mut harness);
    harness.run_until(|harness| harness.core.unknown_outcomes() == 0);
    assert_eq!(harness.core.outcome(transactions[2]), Some(Outcome::Aborted));
    assert_eq!(harness.core.unresolved_numbers(), 0);
}
