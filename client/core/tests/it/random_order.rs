//! Random orders of everything that can happen: nothing panics, every operation completes exactly once, every
//! increment happens exactly as often as it was told.

use crate::fake::{FakeCluster, Fault};
use crate::harness::{Harness, MILLISECOND, address};
use crate::operations::insert;
use duet_client_core::{Batch, Expectation, Outcome};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::TransactionId;
use duet_protocol::update::Assignment;
use duet_protocol::value::{Value, ValueRef};
use proptest::prelude::*;
use std::collections::BTreeSet;

const ROWS: i64 = 4;

#[derive(Clone, Copy, Debug)]
enum Event {
    Submit { operations: u8, milliseconds: u8 },
    Serve(u8),
    Hear(u8),
    Cut(u8),
    Fault(u8),
    Wait(u8),
    ExecuteDelayed,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..6u8, 1..60u8).prop_map(|(operations, milliseconds)| Event::Submit { operations, milliseconds }),
        12 => any::<u8>().prop_map(Event::Serve),
        12 => any::<u8>().prop_map(Event::Hear),
        1 => any::<u8>().prop_map(Event::Cut),
        2 => any::<u8>().prop_map(Event::Fault),
        4 => (1..30u8).prop_map(Event::Wait),
        1 => Just(Event::ExecuteDelayed),
    ]
}

fn fault(number: u8) -> Fault {
    match number % 8 {
        0 => Fault::Refuse(ErrorCode::Overloaded),
        1 => Fault::Refuse(ErrorCode::StaleMap),
        2 => Fault::ExecuteAndRefuse(ErrorCode::OutcomeUnknown),
        3 => Fault::ExecuteSilently,
        4 => Fault::Ignore,
        5 => Fault::AnswerTwice,
        6 => Fault::Delay,
        _ => Fault::None,
    }
}

fn increments(harness: &Harness, first: u64, operations: u8) -> Batch {
    let mut batch = Batch::new();
    let add = [(1, Assignment::Add(ValueRef::Int(1)))];
    for offset in 0..u64::from(operations) {
        let key = [Value::Int(((first + offset) % ROWS as u64) as i64)];
        if (first + offset).is_multiple_of(5) {
            batch.read(&harness.table(), &key).expect("fits");
        } else {
            batch.update(&harness.table(), &key, &add, Expectation::Any).expect("fits");
        }
    }
    batch
}

fn total(harness: &Harness) -> i64 {
    let layout_table = harness.table();
    let rows = harness.cluster.rows.iter();
    rows.map(|((_, key), (_, value))| {
        let row = duet_protocol::row::RowView::new(layout_table.layout(), key, value);
        match row.column(1).expect("count") {
            ValueRef::Int(count) => count,
            other => panic!("{other:?}"),
        }
    })
    .sum()
}

fn run(events: &[Event]) -> (u64, i64) {
    let mut harness = Harness::with(FakeCluster::new(2, 1, address), |configuration| {
        configuration.limits.requests_per_node = 16;
    });
    harness.connect();
    let mut batch = insert(&harness, 0..ROWS);
    batch.tag = u64::MAX;
    assert_eq!(harness.run(batch).error_count(), 0);
    let start = total(&harness);
    let mut submitted = 0;
    for event in events {
        let links = harness.links.len();
        match *event {
            Event::Submit { operations, milliseconds } => {
                let mut batch = increments(&harness, submitted, operations);
                batch.tag = submitted;
                batch.timeout = u64::from(milliseconds) * MILLISECOND;
                submitted += 1;
                harness.core.submit(harness.now, Box::new(batch));
            }
            Event::Serve(link) if links > 0 => harness.serve(usize::from(link) % links),
            Event::Hear(link) if links > 0 => harness.hear(usize::from(link) % links),
            Event::Cut(link) if links > 0 => harness.cut(usize::from(link) % links),
            Event::Serve(_) | Event::Hear(_) | Event::Cut(_) => {}
            Event::Fault(number) => harness.cluster.faults.push_back(fault(number)),
            Event::Wait(milliseconds) => {
                harness.now += u64::from(milliseconds) * MILLISECOND;
                harness.core.tick(harness.now);
            }
            Event::ExecuteDelayed => harness.cluster.execute_delayed(),
        }
        harness.collect();
    }
    harness.cluster.faults.clear();
    harness.run_until(|harness| harness.completed.len() as u64 == submitted);
    // What got no answer at all on a link that stays open is asked again only when the link is given up.
    while !harness.links.is_empty() {
        harness.cut(0);
    }
    harness.run_until(|harness| harness.core.unknown_outcomes() == 0);
    harness.cluster.execute_delayed();
    let mut tags = BTreeSet::new();
    let mut told = 0;
    let mut transactions: BTreeSet<TransactionId> = BTreeSet::new();
    for batch in &harness.completed {
        assert!(tags.insert(batch.tag), "a batch came back twice");
        for index in 0..batch.len() {
            let Err(error) = batch.reply(index) else {
                if let Ok(written) = batch.written(index) {
                    assert!(transactions.insert(written.transaction), "a transaction id was used twice");
                    told += 1;
                }
                continue;
            };
            if error.is(ErrorCode::OutcomeUnknown) {
                let transaction = error.transaction.expect("an unknown write has an id");
                match harness.core.outcome(transaction).expect("resolved") {
                    Outcome::Committed { .. } => told += 1,
                    Outcome::Aborted => {}
                    Outcome::Forgotten => panic!("nothing had to be forgotten"),
                }
            } else {
                assert!(error.retryable, "{error}");
            }
        }
    }
    assert_eq!(total(&harness) - start, told, "increments that happened and that were told");
    assert_eq!(harness.core.unresolved_numbers(), 0);
    assert!(harness.core.is_idle());
    (harness.core.counters().requests_sent, total(&harness))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_operation_completes_once_and_happens_as_told(events in proptest::collection::vec(event(), 1..200)) {
        let first = run(&events);
        prop_assert_eq!(first, run(&events), "the same events give the same run");
    }
}
