//! Transactions of several operations.

use crate::client::{numbered, row_of, unexpected};
use crate::shared::PooledBatch;
use crate::{
    Assignment, Batch, Client, Ending, Error, ErrorCode, Expectation, Key, Lock, Reply, Result, Row,
    RowValues, RowVersion, Table, TableRow, TypedTable, Written,
};
use duet_client_core::TransactionHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// First and longest wait before a transaction is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(1);
const RETRY_LAST: Duration = Duration::from_millis(100);

/// A transaction: operations on any tables that happen all or not at all, on rows that stay locked until its end.
///
/// Get one from [`Client::begin`], or let [`Client::transaction`] try again what may be tried again. What it writes is seen by
/// itself at once and by others when it is committed. [`Transaction::get`] reads without a lock what is committed;
/// [`Transaction::get_for_share`] and [`Transaction::get_for_update`] lock the row, also when there is none, so that
/// transactions that read only so are serializable.
///
/// The first operation that fails ends the transaction: all later ones fail, too, and nothing of it happens. It ends
/// also when it waits for a row for two seconds, is silent for ten, or is dropped.
///
/// Cheap to clone; all clones are the same transaction.
#[derive(Clone, Debug)]
pub struct Transaction {
    open: Arc<Open>,
}

#[derive(Debug)]
struct Open {
    client: Client,
    handle: TransactionHandle,
    ended: AtomicBool,
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.ended.load(Ordering::Relaxed) {
            self.client.handle.shared.enqueue(|queue| queue.forgotten.push(self.handle));
        }
    }
}

impl Transaction {
    pub(crate) fn new(client: Client, tries: u32) -> Transaction {
        let shared = &client.handle.shared;
        let handle = shared.next_transaction();
        shared.enqueue(|queue| queue.begun.push((handle, tries)));
        Transaction { open: Arc::new(Open { client, handle, ended: AtomicBool::new(false) }) }
    }

    pub(crate) fn handle(&self) -> TransactionHandle {
        self.open.handle
    }

    pub(crate) fn take(&self) -> PooledBatch {
        let mut pooled = self.open.client.handle.shared.take();
        pooled.batch().transaction = Some(self.open.handle);
        pooled
    }

    async fn run(&self, build: impl FnOnce(&mut Batch) -> Result<usize>) -> Result<PooledBatch> {
        let mut pooled = self.take();
        build(pooled.batch())?;
        pooled.execute().await?;
        Ok(pooled)
    }

    /// Reads a row without a lock: the transaction's own change of it, or what is committed. It waits for nothing but the
    /// transaction's own operations on the row before it.
    ///
    /// # Errors
    /// When the key does not fit the table, or the transaction has failed.
    pub async fn get(&self, table: &Table, key: impl Key) -> Result<Option<Row>> {
        let mut pooled = self.run(|batch| batch.read(table, &key)).await?;
        row_of(table, pooled.batch(), 0)
    }

    /// Reads a row and locks it: others may read it so, too, nobody may change it before the transaction ends.
    ///
    /// # Errors
    /// As [`Transaction::get`]; `Deadlock` or `LockTimeout` when the lock could not be had.
    pub async fn get_for_share(&self, table: &Table, key: impl Key) -> Result<Option<Row>> {
        let mut pooled = self.run(|batch| batch.read_locked(table, &key, Lock::Shared)).await?;
        row_of(table, pooled.batch(), 0)
    }

    /// Reads a row and locks it: nobody else may lock or change it before the transaction ends.
    ///
    /// # Errors
    /// As [`Transaction::get`]; `Deadlock` or `LockTimeout` when the lock could not be had.
    pub async fn get_for_update(&self, table: &Table, key: impl Key) -> Result<Option<Row>> {
        let mut pooled = self.run(|batch| batch.read_locked(table, &key, Lock::Exclusive)).await?;
        row_of(table, pooled.batch(), 0)
    }

    /// Inserts a row; `DuplicateKey` when there is one with its key.
    ///
    /// # Errors
    /// As [`Transaction::get_for_update`]; when the values do not fit the table, or there is such a row.
    pub async fn insert(&self, table: &Table, row: impl RowValues) -> Result<Written> {
        let values = row.row_values(table)?;
        self.run(|batch| batch.insert(table, &values)).await?.batch().written(0)
    }

    /// Inserts a row or replaces the one with its key as a whole.
    ///
    /// # Errors
    /// As [`Transaction::get_for_update`]; when the values do not fit the table.
    pub async fn upsert(&self, table: &Table, row: impl RowValues) -> Result<Written> {
        let values = row.row_values(table)?;
        self.run(|batch| batch.upsert(table, &values, Expectation::Any)).await?.batch().written(0)
    }

    /// Updates columns of a row; `RowNotFound` when there is none. [`Assignment::Add`] adds to what the row holds then.
    ///
    /// # Errors
    /// As [`Transaction::get_for_update`]; when key or assignments do not fit the table, or there is no such row.
    pub async fn update(
        &self,
        table: &Table,
        key: impl Key,
        assignments: &[(&str, Assignment<'_>)],
    ) -> Result<Written> {
        self.update_if(table, key, Expectation::Any, assignments).await
    }

    /// Updates columns of a row if its committed version is still the one that was read; else `VersionMismatch`.
    ///
    /// # Errors
    /// As [`Transaction::update`].
    pub async fn update_if_version(
        &self,
        table: &Table,
        key: impl Key,
        version: RowVersion,
        assignments: &[(&str, Assignment<'_>)],
    ) -> Result<Written> {
        self.update_if(table, key, Expectation::Version(version), assignments).await
    }

    async fn update_if(
        &self,
        table: &Table,
        key: impl Key,
        expectation: Expectation,
        assignments: &[(&str, Assignment<'_>)],
    ) -> Result<Written> {
        let numbered = numbered(table, assignments)?;
        self.run(|batch| batch.update(table, &key, &numbered, expectation)).await?.batch().written(0)
    }

    /// Deletes a row; `RowNotFound` when there is none.
    ///
    /// # Errors
    /// As [`Transaction::get_for_update`]; when there is no such row.
    pub async fn delete(&self, table: &Table, key: impl Key) -> Result<Written> {
        self.run(|batch| batch.delete(table, &key, Expectation::Any)).await?.batch().written(0)
    }

    /// An empty batch of this transaction with buffers that are used again; see [`Client::batch`].
    pub fn batch(&self) -> PooledBatch {
        self.take()
    }

    /// Executes a batch in the transaction, in one round trip; afterwards it holds the result of each operation. Operations on
    /// the same row are executed in order. A batch that ends with [`Batch::commit`] or [`Batch::rollback`] ends the
    /// transaction.
    ///
    /// # Errors
    /// Only when the client has ended or its queue is full; errors of operations are in the batch.
    pub async fn execute(&self, batch: &mut Batch) -> Result<()> {
        let mut pooled = self.take();
        batch.transaction = Some(self.open.handle);
        std::mem::swap(pooled.batch(), batch);
        let executed = pooled.execute().await;
        if executed.is_ok() {
            std::mem::swap(pooled.batch(), batch);
        }
        executed
    }

    /// The rows of a table as structs, within this transaction.
    pub fn typed<'t, T: TableRow>(&'t self, table: &'t TypedTable<T>) -> TypedTransaction<'t, T> {
        TypedTransaction { transaction: self, table }
    }

    /// Commits. When this returns, all replicas of all rows hold the commit.
    ///
    /// # Errors
    /// `OutcomeUnknown` with the transaction's id when the answer did not come in time: [`Client::resolve`] tells later
    /// what became of it. With every other error nothing of the transaction happened.
    pub async fn commit(self) -> Result<Ending> {
        let mut pooled = self.run(Batch::commit).await?;
        self.open.ended.store(true, Ordering::Relaxed);
        pooled.batch().ending(0)
    }

    /// Rolls back: nothing of the transaction happens.
    ///
    /// # Errors
    /// Only when the client has ended.
    pub async fn rollback(self) -> Result<()> {
        self.run(Batch::rollback).await?;
        self.open.ended.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// A transaction's view of a table whose rows are structs.
#[derive(Debug)]
pub struct TypedTransaction<'t, T> {
    transaction: &'t Transaction,
    table: &'t TypedTable<T>,
}

impl<T: TableRow> TypedTransaction<'_, T> {
    async fn read(&self, key: impl Key, lock: Option<Lock>) -> Result<Option<T>> {
        let table = self.table.table();
        let build = |batch: &mut Batch| match lock {
            Some(lock) => batch.read_locked(table, &key, lock),
            None => batch.read(table, &key),
        };
        let mut pooled = self.transaction.run(build).await?;
        match pooled.batch().reply(0)? {
            Reply::Row { row, .. } => self.table.decode(&row).map(Some),
            Reply::NoRow => Ok(None),
            Reply::Written(_) | Reply::Page(_) | Reply::Resolved(_) | Reply::Ended(_) => Err(unexpected()),
        }
    }

    /// See [`Transaction::get`].
    ///
    /// # Errors
    /// See [`Transaction::get`] and [`TypedTable::decode`].
    pub async fn get(&self, key: impl Key) -> Result<Option<T>> {
        self.read(key, None).await
    }

    /// See [`Transaction::get_for_share`].
    ///
    /// # Errors
    /// See [`Transaction::get_for_share`] and [`TypedTable::decode`].
    pub async fn get_for_share(&self, key: impl Key) -> Result<Option<T>> {
        self.read(key, Some(Lock::Shared)).await
    }

    /// See [`Transaction::get_for_update`].
    ///
    /// # Errors
    /// See [`Transaction::get_for_update`] and [`TypedTable::decode`].
    pub async fn get_for_update(&self, key: impl Key) -> Result<Option<T>> {
        self.read(key, Some(Lock::Exclusive)).await
    }

    /// See [`Transaction::insert`] and [`TypedTable::insert`].
    ///
    /// # Errors
    /// As there.
    pub async fn insert(&self, row: &T) -> Result<Written> {
        let values = self.table.encode_new(row)?;
        let table = self.table.table();
        self.transaction.run(|batch| batch.insert(table, &values)).await?.batch().written(0)
    }

    /// See [`Transaction::upsert`] and [`TypedTable::upsert`].
    ///
    /// # Errors
    /// As there.
    pub async fn upsert(&self, row: &T) -> Result<Written> {
        let values = self.table.encode_whole(row)?;
        let table = self.table.table();
        let build = |batch: &mut Batch| batch.upsert(table, &values, Expectation::Any);
        self.transaction.run(build).await?.batch().written(0)
    }

    /// See [`Transaction::update`].
    ///
    /// # Errors
    /// As there.
    pub async fn update(&self, key: impl Key, assignments: &[(&str, Assignment<'_>)]) -> Result<Written> {
        self.transaction.update(self.table.table(), key, assignments).await
    }

    /// See [`Transaction::delete`].
    ///
    /// # Errors
    /// As there.
    pub async fn delete(&self, key: impl Key) -> Result<Written> {
        self.transaction.delete(self.table.table(), key).await
    }
}

/// Waits between the tries of a transaction, until its deadline.
#[derive(Debug)]
pub(crate) struct Tries {
    deadline: Instant,
    tries: u32,
}

impl Tries {
    pub(crate) fn within(time: Duration) -> Tries {
        Tries { deadline: Instant::now() + time, tries: 0 }
    }

    /// Tries that have failed.
    pub(crate) fn count(&self) -> u32 {
        self.tries
    }

    /// The wait before the next try; none when the error is final or time is up.
    pub(crate) fn next(&mut self, error: &Error) -> Option<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if !error.retryable || error.is(ErrorCode::OutcomeUnknown) || left.is_zero() {
            return None;
        }
        let most = (RETRY_FIRST * (1 << self.tries.min(10))).min(RETRY_LAST).min(left);
        self.tries += 1;
        Some(most * (crate::entropy::random() % 1_024) as u32 / 1_024)
    }
}

impl Client {
    /// Begins a transaction; nothing is sent before its first operation.
    pub fn begin(&self) -> Transaction {
        Transaction::new(self.clone(), 0)
    }

    /// Runs a transaction: `body` gets one, and when it succeeds the transaction is committed, else rolled back. When an error
    /// says that it may succeed later (`Deadlock`, `LockTimeout`, a lost link …) it is begun anew after a short wait,
    /// until the client's time for operations is over. So `body` may run several times: it should have no other effects.
    ///
    /// ```no_run
    /// # use duet_client::{Assignment, Client, Error, ErrorCode};
    /// # async fn example(client: Client) -> Result<(), Error> {
    /// let accounts = client.table("bank.accounts").await?;
    /// let accounts = &accounts;
    /// client
    ///     .transaction(|transaction| async move {
    ///         let from = transaction.get_for_update(accounts, 7).await?;
    ///         let balance: i64 = from.map_or(Ok(0), |row| row.get("balance"))?;
    ///         if balance < 10 {
    ///             return Err(Error::new(ErrorCode::OutOfRange, "not enough money"));
    ///         }
    ///         transaction.update(accounts, 7, &[("balance", Assignment::Add((-10).into()))]).await?;
    ///         transaction.update(accounts, 8, &[("balance", Assignment::Add(10.into()))]).await?;
    ///         Ok(())
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// That of `body`; or of the commit. A commit whose answer did not come is resolved within the client's time first;
    /// `OutcomeUnknown` means that even then nobody could tell.
    pub async fn transaction<T, F: Future<Output = Result<T>>>(
        &self,
        mut body: impl FnMut(Transaction) -> F,
    ) -> Result<T> {
        let mut tries = Tries::within(self.handle.timeout);
        loop {
            let transaction = Transaction::new(self.clone(), tries.count());
            let error = match body(transaction.clone()).await {
                Ok(value) => match transaction.commit().await {
                    Ok(_) => return Ok(value),
                    Err(error) if error.is(ErrorCode::OutcomeUnknown) => {
                        let Some(id) = error.transaction else { return Err(error) };
                        match self.resolve(id).await {
                            Ok(crate::Outcome::Committed { .. }) => return Ok(value),
                            Ok(crate::Outcome::Aborted) => {
                                Error::new(ErrorCode::NodeUnreachable, "the commit did not happen")
                            }
                            Ok(crate::Outcome::Forgotten) | Err(_) => return Err(error),
                        }
                    }
                    Err(error) => error,
                },
                Err(error) => {
                    transaction.rollback().await?;
                    error
                }
            };
            match tries.next(&error) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            }
        }
    }
}
