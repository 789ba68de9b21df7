//! Tables created and dropped, status, sessions, secrets.

use crate::fake::{Fault, Process};
use crate::harness::{Harness, MILLISECOND, counters};
use crate::operations::{increment, insert};
use duet_client_core::{Error, JobResult};
use duet_protocol::error::ErrorCode;
use duet_protocol::schema::{ColumnType, TableDefinition};

fn finish(harness: &mut Harness) -> Result<JobResult, Error> {
    harness.run_until(|harness| !harness.finished.is_empty());
    harness.finished.remove(0).1
}

fn definition(name: &str) -> TableDefinition {
    TableDefinition::builder("test", name)
        .required("id", ColumnType::Int)
        .primary_key(["id"])
        .build()
        .expect("valid")
}

#[test]
fn tables_come_and_go_whoever_leads() {
    for leader in 1..=3 {
        let mut harness = Harness::connected();
        harness.cluster.leader = leader;
        harness.core.create_table(harness.now, 0, &definition("t"));
        assert_eq!(finish(&mut harness), Ok(JobResult::Created { table: 2 }));
        assert_eq!(harness.core.table("test", "t").expect("open").id(), 2);
        harness.core.create_table(harness.now, 0, &definition("t"));
        assert!(finish(&mut harness).expect_err("exists").is(ErrorCode::TableExists));
        harness.core.drop_table(harness.now, 0, "test", "t");
        assert_eq!(finish(&mut harness), Ok(JobResult::Dropped));
        assert!(harness.core.table("test", "t").is_none());
        harness.core.drop_table(harness.now, 0, "test", "t");
        assert!(finish(&mut harness).expect_err("gone").is(ErrorCode::TableNotFound));
    }
}

#[test]
fn a_lost_answer_does_not_create_a_table_twice() {
    let mut harness = Harness::connected();
    harness.core.create_table(harness.now, 0, &definition("t"));
    for _ in 0..2_000 {
        harness.collect();
        let created = harness.cluster.state.tables.len() == 2;
        if created {
            break;
        }
        for index in 0..harness.links.len() {
            harness.serve(index);
            if harness.cluster.state.tables.len() < 2 {
                harness.hear(index);
            }
        }
        harness.now += MILLISECOND;
        harness.core.tick(harness.now);
    }
    assert_eq!(harness.cluster.state.tables.len(), 2);
    while let Some(index) =
        harness.links.iter().position(|link| matches!(link.process, Process::Management(_)))
    {
        harness.cut(index);
    }
    assert_eq!(finish(&mut harness), Ok(JobResult::Created { table: 2 }));
}

#[test]
fn a_management_node_that_is_away_is_passed_over() {
    let mut harness = Harness::connected();
    harness.unreachable = vec![Process::Management(1), Process::Management(2)];
    while let Some(index) =
        harness.links.iter().position(|link| matches!(link.process, Process::Management(_)))
    {
        harness.cut(index);
    }
    harness.core.fetch_status(harness.now, 0);
    let Ok(JobResult::Status(status)) = finish(&mut harness) else { panic!("a status") };
    assert_eq!(status.answered_by, 3);
    harness.unreachable.push(Process::Management(3));
    while let Some(index) =
        harness.links.iter().position(|link| matches!(link.process, Process::Management(_)))
    {
        harness.cut(index);
    }
    harness.core.fetch_status(harness.now, 500 * MILLISECOND);
    let error = finish(&mut harness).expect_err("nobody");
    assert!(error.is(ErrorCode::NodeUnreachable) && error.message.contains("management-"), "{error}");
}

#[test]
fn a_management_node_that_is_behind_is_believed_only_if_all_are() {
    let mut harness = Harness::connected();
    harness.cluster.behind = vec![1, 2];
    for _ in 0..10 {
        harness.core.fetch_status(harness.now, 0);
        let Ok(JobResult::Status(status)) = finish(&mut harness) else { panic!("a status") };
        assert_eq!((status.answered_by, status.state.version), (3, harness.cluster.state.version));
    }
    harness.core.fetch_status_of(harness.now, 0, 1);
    let Ok(JobResult::Status(status)) = finish(&mut harness) else { panic!("a status") };
    assert_eq!((status.answered_by, status.state.version), (1, harness.cluster.state.version - 1));
    harness.cluster.behind.push(3);
    harness.core.fetch_status(harness.now, 0);
    let Ok(JobResult::Status(status)) = finish(&mut harness) else { panic!("an old status") };
    assert_eq!(status.state.version, harness.cluster.state.version - 1);
    // Nor is it kept back when the time is short, or when the others are away.
    harness.core.fetch_status(harness.now, 5 * MILLISECOND);
    assert!(matches!(finish(&mut harness), Ok(JobResult::Status(_))));
    harness.unreachable = vec![Process::Management(1), Process::Management(2)];
    while let Some(index) =
        harness.links.iter().position(|link| matches!(link.process, Process::Management(1 | 2)))
    {
        harness.cut(index);
    }
    for _ in 0..5 {
        harness.core.fetch_status(harness.now, 0);
        let Ok(JobResult::Status(status)) = finish(&mut harness) else { panic!("an old status") };
        assert_eq!(status.answered_by, 3);
    }
}

#[test]
fn a_wrong_secret_fails_at_once() {
    let mut harness = Harness::new(|_| {});
    harness.cluster.secret = b"secret".to_vec();
    let before = harness.now;
    harness.core.refresh(harness.now, 0);
    let error = finish(&mut harness).expect_err("no secret given");
    assert!(error.is(ErrorCode::WrongSecret) && !error.retryable, "{error}");
    assert!(harness.now - before < 1_000 * MILLISECOND);
    let mut harness = Harness::new(|configuration| configuration.secret = b"secret".to_vec());
    harness.cluster.secret = b"secret".to_vec();
    harness.connect();
}

#[test]
fn nobody_at_the_seed_address() {
    let mut harness = Harness::new(|_| {});
    harness.unreachable.push(Process::Management(1));
    harness.core.refresh(harness.now, 200 * MILLISECOND);
    let error = finish(&mut harness).expect_err("nobody");
    assert!(error.is(ErrorCode::NodeUnreachable) && error.message.contains("management-1"), "{error}");
}

#[test]
fn an_invalid_definition_is_refused_without_asking() {
    let mut harness = Harness::connected();
    let mut invalid = counters();
    invalid.columns.clear();
    harness.core.create_table(harness.now, 0, &invalid);
    assert_eq!(finish(&mut harness).expect_err("no columns").code, 103);
}

#[test]
fn a_session_is_renewed_in_time() {
    let mut harness = Harness::connected();
    let batch = insert(&harness, 0..1);
    harness.run(batch);
    harness.now += 51 * 60 * 1_000 * MILLISECOND;
    for _ in 0..2 {
        let batch = increment(&harness, 0);
        harness.run(batch).written(0).expect("before and after the renewal");
    }
    assert_eq!(harness.core.counters().sessions_opened, 2);
    harness.now += 70 * 60 * 1_000 * MILLISECOND;
    let batch = increment(&harness, 0);
    harness.run(batch).written(0).expect("a session that is too old is not used");
    assert_eq!(harness.core.counters().sessions_opened, 3);
}

#[test]
fn a_session_that_the_nodes_forgot_is_replaced() {
    let mut harness = Harness::connected();
    let batch = insert(&harness, 0..1);
    harness.run(batch);
    harness.cluster.faults.push_back(Fault::Refuse(ErrorCode::OutcomeExpired));
    let batch = increment(&harness, 0);
    harness.run(batch).written(0).expect("under a new session");
    assert_eq!(harness.core.counters().sessions_opened, 2);
    assert_eq!(harness.core.unresolved_numbers(), 0);
}

#[test]
fn a_table_that_others_made_anew_is_found_after_the_first_failure() {
    let mut harness = Harness::connected();
    let old = harness.table();
    let first = insert(&harness, 0..8);
    harness.run(first);
    let stale = insert(&harness, 0..1);
    harness.cluster.state.tables.clear();
    let table = harness.cluster.add_table(counters());
    let failed = harness.run(stale);
    assert!(failed.written(0).expect_err("the table is gone").is(ErrorCode::TableNotFound));
    harness
        .run_until(|harness| harness.core.table("test", "counters").is_some_and(|new| new.id() != old.id()));
    assert_eq!(harness.table().id(), table);
    let batch = insert(&harness, 0..1);
    harness.run(batch).written(0).expect("the new table");
}
