//! Statements that are transactions of their own.

use crate::error::{Result, SqlError};
use crate::execute::select::Cursor;
use crate::execute::transaction::OpenTransaction;
use crate::expression::Facts;
use crate::memory::Memory;
use crate::plan::Plan;
use duet_client::{Client, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a statement is tried again after a deadlock and the like.
const RETRY_WITHIN: Duration = Duration::from_secs(5);
/// What took so long and ended with 1205 has waited for a lock until the data node refused it (after 2 s).
const LOCK_WAIT: Duration = Duration::from_secs(1);
/// A transaction with more operations than it may have.
const TOO_LARGE: u16 = 1_206;

/// Commits what a statement has done, or rolls it back when it failed.
///
/// # Errors
/// Those of the statement and of the commit.
pub async fn ended<T>(transaction: OpenTransaction, done: Result<T>) -> Result<T> {
    match done {
        Ok(done) => transaction.commit().await.map(|()| done),
        Err(error) => {
            transaction.rollback().await;
            Err(error)
        }
    }
}

/// Tries a statement again while others are in its way; not when it has waited for a lock as long as it may.
///
/// # Errors
/// That of the last try.
pub async fn retried<T, F: Future<Output = Result<T>>>(mut attempt: impl FnMut() -> F) -> Result<T> {
    let until = Instant::now() + RETRY_WITHIN;
    let mut wait = Duration::from_millis(1);
    loop {
        let begun = Instant::now();
        match attempt().await {
            Err(error)
                if Instant::now() < until
                    && (error.code == 1_213 || error.code == 1_205 && begun.elapsed() < LOCK_WAIT) =>
            {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_millis(100));
            }
            other => return other,
        }
    }
}

/// SELECT … FOR UPDATE and FOR SHARE: they wait for the locks of others, and give back their own when they have read. Of more rows than a
/// transaction may lock they read what is committed, without a lock.
///
/// # Errors
/// As [`Cursor::open`].
pub async fn open_locked(
    client: &Client,
    plan: &Arc<Plan>,
    parameters: Vec<Value>,
    facts: &Facts,
    memory: &Memory,
) -> Result<Cursor> {
    let open = async |transaction: Option<&mut OpenTransaction>| {
        let (plan, parameters, facts) = (Arc::clone(plan), parameters.clone(), facts.clone());
        Cursor::open(client, plan, parameters, facts, memory, transaction).await
    };
    let locked = retried(|| async {
        let mut transaction = OpenTransaction::begin(client, memory);
        let opened = open(Some(&mut transaction)).await;
        transaction.rollback().await;
        opened
    });
    match locked.await {
        Err(SqlError { code: TOO_LARGE, .. }) => open(None).await,
        other => other,
    }
}
