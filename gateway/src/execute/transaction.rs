//! A transaction of a session: the client's, the rows that it has written, and whether it has failed.

use crate::error::{Result, SqlError};
use duet_client::{Batch, Client, ErrorCode, Key, Table, Transaction, Value};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Most rows that one transaction may write.
const MAX_WRITTEN: usize = 16_384;

/// Keys of rows that were written, by their encoding.
pub type WrittenKeys = BTreeMap<Vec<u8>, Vec<Value>>;

/// An open transaction.
#[derive(Debug)]
pub struct OpenTransaction {
    transaction: Transaction,
    written: FxHashMap<u32, WrittenKeys>,
    count: usize,
    failed: Option<SqlError>,
}

impl OpenTransaction {
    /// Begins one; nothing is sent yet.
    pub fn begin(client: &Client) -> OpenTransaction {
        OpenTransaction { transaction: client.begin(), written: FxHashMap::default(), count: 0, failed: None }
    }

    /// The client's transaction.
    pub fn inner(&self) -> &Transaction {
        &self.transaction
    }

    /// Whether it can go on.
    ///
    /// # Errors
    /// 1180 when an error has rolled it back already.
    pub fn check(&self) -> Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(cause) => Err(SqlError::commit_failed(format!(
                "The transaction was rolled back by an earlier error; end it with ROLLBACK. That error was: {}",
                cause.message
            ))),
        }
    }

    /// Whether an error has rolled it back.
    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Translates an error of an operation, which has ended the transaction in the cluster.
    pub fn fail(&mut self, error: duet_client::Error) -> SqlError {
        let error = SqlError::from(error);
        self.failed = Some(error.clone());
        error
    }

    /// Executes a batch.
    ///
    /// # Errors
    /// When the client has ended.
    pub async fn execute(&mut self, batch: &mut Batch) -> Result<()> {
        self.check()?;
        match self.transaction.execute(batch).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Remembers that the row of a key is written.
    ///
    /// # Errors
    /// When there are too many.
    pub fn wrote(&mut self, table: &Table, key: Vec<Value>) -> Result<()> {
        let mut bytes = Vec::new();
        key.append_to(table.layout(), &mut bytes).map_err(duet_client::Error::from)?;
        if self.written.entry(table.id()).or_default().insert(bytes, key).is_none() {
            self.count += 1;
            if self.count > MAX_WRITTEN {
                let text = format!("a transaction writes at most {MAX_WRITTEN} rows");
                self.failed = Some(SqlError::other(text.clone()));
                return Err(SqlError::other(text));
            }
        }
        Ok(())
    }

    /// The rows of a table that were written.
    pub fn written(&self, table: &Table) -> Option<&WrittenKeys> {
        self.written.get(&table.id()).filter(|keys| !keys.is_empty())
    }

    /// Commits.
    ///
    /// # Errors
    /// 1180 when it had failed before or nobody can tell; those of the cluster.
    pub async fn commit(self) -> Result<()> {
        self.check()?;
        if self.count == 0 {
            // Only locks are given back.
            return Ok(self.transaction.rollback().await?);
        }
        match self.transaction.commit().await {
            Ok(_) => Ok(()),
            Err(error) if error.is(ErrorCode::OutcomeUnknown) => Err(SqlError::commit_failed(error.message)),
            Err(error) => Err(error.into()),
        }
    }

    /// Rolls back.
    pub async fn rollback(self) {
        // One that has failed is rolled back already; one whose client has ended will be.
        let _ = self.transaction.rollback().await;
    }
}

/// Values of the primary key of a row.
pub fn key_of(table: &Table, row: &[Value]) -> Vec<Value> {
    table.definition().primary_key.iter().map(|column| row[usize::from(*column)].clone()).collect()
}
