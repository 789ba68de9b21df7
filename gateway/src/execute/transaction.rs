//! A transaction of a session: the client's, the rows that it has written, its savepoints, and whether it has failed.

mod savepoint;

pub use savepoint::unknown_savepoint;

use crate::error::{Result, SqlError};
use crate::memory::Memory;
use duet_client::{
    Assignment, Batch, Client, ErrorCode, Key, PooledBatch, Table, Transaction, Value, ValueRef,
};
use rustc_hash::FxHashMap;
use savepoint::Savepoint;
use std::collections::BTreeMap;

/// Most rows that one transaction may write.
pub const MAX_WRITTEN: usize = 16_384;

/// Keys of rows that were written, by their encoding.
pub type WrittenKeys = BTreeMap<Vec<u8>, Vec<Value>>;

/// By the identities of tables the rows of each that were written.
pub type WrittenTables = FxHashMap<u32, (Table, WrittenKeys)>;

/// What a transaction with more rows is told.
pub fn too_many_rows() -> SqlError {
    SqlError::transaction_too_large(format!(
        "The total number of locks exceeds the lock table size: a transaction writes at most {MAX_WRITTEN} rows; change fewer at once, as \
         with LIMIT, or --net-buffer-length of mysqldump"
    ))
}

/// An open transaction.
#[derive(Debug)]
pub struct OpenTransaction {
    client: Client,
    memory: Memory,
    /// The client's, once there was something to do in it.
    transaction: Option<Transaction>,
    written: WrittenTables,
    count: usize,
    /// What was written since the last savepoint, if there is one.
    recent: WrittenTables,
    /// In the order in which they were set.
    savepoints: Vec<Savepoint>,
    failed: Option<SqlError>,
}

impl OpenTransaction {
    /// Begins one; nothing is sent yet.
    pub fn begin(client: &Client, memory: &Memory) -> OpenTransaction {
        OpenTransaction {
            client: client.clone(),
            memory: memory.clone(),
            transaction: None,
            written: FxHashMap::default(),
            count: 0,
            recent: WrittenTables::default(),
            savepoints: Vec::new(),
            failed: None,
        }
    }

    /// One that this error has rolled back, and that waits for its end.
    pub fn ended_by(error: &SqlError, client: &Client, memory: &Memory) -> OpenTransaction {
        OpenTransaction { failed: Some(error.clone()), ..OpenTransaction::begin(client, memory) }
    }

    /// Where its statements get their memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The client's transaction.
    pub fn inner(&mut self) -> &Transaction {
        self.transaction.get_or_insert_with(|| self.client.begin())
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

    /// After an error that leaves a part of a statement done, the transaction can only be rolled back.
    pub fn give_up(&mut self, error: SqlError) -> SqlError {
        self.failed.get_or_insert_with(|| error.clone());
        error
    }

    /// An empty batch of the transaction, for [`OpenTransaction::run`].
    ///
    /// # Errors
    /// As [`OpenTransaction::check`].
    pub fn batch(&mut self) -> Result<PooledBatch> {
        self.check()?;
        Ok(self.inner().batch())
    }

    /// Executes such a batch.
    ///
    /// # Errors
    /// When the client has ended.
    pub async fn run(&mut self, batch: &mut PooledBatch) -> Result<()> {
        match batch.execute().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Executes a batch.
    ///
    /// # Errors
    /// When the client has ended; when an operation has failed, and the transaction with it: what that one was told.
    pub async fn execute(&mut self, batch: &mut Batch) -> Result<()> {
        self.check()?;
        if let Err(error) = self.inner().execute(batch).await {
            return Err(self.fail(error));
        }
        // All others are told that the transaction has failed.
        let errors = || (0..batch.len()).filter_map(|index| batch.reply(index).err());
        let cause = errors().find(|error| !error.is(ErrorCode::TransactionFailed));
        match cause.or_else(|| errors().next()) {
            Some(error) => Err(self.fail(error)),
            None => Ok(()),
        }
    }

    /// Remembers that the row of a key is written.
    ///
    /// # Errors
    /// When there are too many.
    pub fn wrote(&mut self, table: &Table, key: Vec<Value>) -> Result<()> {
        let bytes = encoded(table, &key)?;
        let new = || (Table::clone(table), WrittenKeys::new());
        if !self.savepoints.is_empty() {
            self.recent.entry(table.id()).or_insert_with(new).1.insert(bytes.clone(), key.clone());
        }
        let (_, keys) = self.written.entry(table.id()).or_insert_with(new);
        if keys.insert(bytes, key).is_none() {
            self.count += 1;
            if self.count > MAX_WRITTEN {
                let error = too_many_rows();
                self.failed = Some(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether all of these rows are as they are committed: the transaction has written none of them.
    ///
    /// # Errors
    /// When a key does not fit the table.
    pub fn leaves(&self, table: &Table, keys: &[Vec<Value>]) -> Result<bool> {
        let Some(written) = self.written(table) else { return Ok(true) };
        let mut bytes = Vec::new();
        for key in keys {
            bytes.clear();
            key.append_to(table.layout(), &mut bytes).map_err(duet_client::Error::from)?;
            if written.contains_key(&bytes) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The rows of a table that were written.
    pub fn written(&self, table: &Table) -> Option<&WrittenKeys> {
        self.written.get(&table.id()).map(|(_, keys)| keys).filter(|keys| !keys.is_empty())
    }

    /// Commits.
    ///
    /// # Errors
    /// 1180 when it had failed before or nobody can tell; those of the cluster.
    pub async fn commit(self) -> Result<()> {
        self.check()?;
        let Some(transaction) = self.transaction else { return Ok(()) };
        if self.count == 0 {
            // Only locks are given back.
            return Ok(transaction.rollback().await?);
        }
        match transaction.commit().await {
            Ok(_) => Ok(()),
            Err(error) if error.is(ErrorCode::OutcomeUnknown) => Err(SqlError::commit_failed(error.message)),
            Err(error) => Err(error.into()),
        }
    }

    /// Rolls back.
    pub async fn rollback(self) {
        // One that has failed is rolled back already; one whose client has ended will be.
        if let Some(transaction) = self.transaction {
            let _ = transaction.rollback().await;
        }
    }
}

/// Finds out whether rows can be written at all: told of only after others of the statement are written, it would be half done.
///
/// # Errors
/// 1118 for rows that take too many bytes.
pub fn check_rows<'r>(table: &Table, rows: impl Iterator<Item = &'r Vec<Value>>) -> Result<()> {
    let mut batch = Batch::new();
    for row in rows {
        batch.clear();
        batch.insert(table, row)?;
    }
    Ok(())
}

/// What makes one row of another with the same key.
pub fn differences<'r>(before: &[Value], behind: &'r [Value]) -> Vec<(u16, Assignment<'r>)> {
    let differ = before.iter().zip(behind).enumerate().filter(|(_, (before, behind))| before != behind);
    differ.map(|(column, (_, value))| (column as u16, Assignment::Set(ValueRef::from(value)))).collect()
}

/// A primary key as one text of bytes.
///
/// # Errors
/// When it does not fit the table.
pub fn encoded(table: &Table, key: &Vec<Value>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    key.append_to(table.layout(), &mut bytes).map_err(duet_client::Error::from)?;
    Ok(bytes)
}

/// Values of the primary key of a row.
pub fn key_of(table: &Table, row: &[Value]) -> Vec<Value> {
    table.definition().primary_key.iter().map(|column| row[usize::from(*column)].clone()).collect()
}
