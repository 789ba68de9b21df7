//! Transactions of the blocking client.

use super::{Client, TypedTable};
use crate::client::{numbered, row_of, unexpected};
use crate::transaction::Tries;
use crate::{
    Assignment, Batch, Ending, Error, ErrorCode, Expectation, Key, Lock, Outcome, Reply, Result, Row,
    RowValues, RowVersion, Table, TableRow, Written,
};
use duet_client_core::TransactionHandle;

/// A transaction; see [`crate::Transaction`]. It borrows its client until it ends.
pub struct Transaction<'c> {
    client: &'c mut Client,
    handle: TransactionHandle,
}

impl std::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Transaction").field(&self.handle).finish()
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        let now = self.client.now();
        self.client.core.forget(now, self.handle);
        // At once: nobody else sends while the program does something else, and the locks would stay.
        self.client.core.flush(now);
        self.client.write(now);
    }
}

impl Transaction<'_> {
    fn run<T>(
        &mut self,
        build: impl FnOnce(&mut Batch) -> Result<usize>,
        read: impl FnOnce(&Batch) -> Result<T>,
    ) -> Result<T> {
        let handle = self.handle;
        self.client.single(
            |batch| {
                batch.transaction = Some(handle);
                build(batch)
            },
            read,
        )
    }

    /// See [`crate::Transaction::get`].
    ///
    /// # Errors
    /// As there.
    pub fn get(&mut self, table: &Table, key: impl Key) -> Result<Option<Row>> {
        self.run(|batch| batch.read(table, &key), |batch| row_of(table, batch, 0))
    }

    /// See [`crate::Transaction::get_for_share`].
    ///
    /// # Errors
    /// As there.
    pub fn get_for_share(&mut self, table: &Table, key: impl Key) -> Result<Option<Row>> {
        self.run(|batch| batch.read_locked(table, &key, Lock::Shared), |batch| row_of(table, batch, 0))
    }

    /// See [`crate::Transaction::get_for_update`].
    ///
    /// # Errors
    /// As there.
    pub fn get_for_update(&mut self, table: &Table, key: impl Key) -> Result<Option<Row>> {
        self.run(|batch| batch.read_locked(table, &key, Lock::Exclusive), |batch| row_of(table, batch, 0))
    }

    /// See [`crate::Transaction::insert`].
    ///
    /// # Errors
    /// As there.
    pub fn insert(&mut self, table: &Table, row: impl RowValues) -> Result<Written> {
        let values = row.row_values(table)?;
        self.run(|batch| batch.insert(table, &values), |batch| batch.written(0))
    }

    /// See [`crate::Transaction::upsert`].
    ///
    /// # Errors
    /// As there.
    pub fn upsert(&mut self, table: &Table, row: impl RowValues) -> Result<Written> {
        let values = row.row_values(table)?;
        self.run(|batch| batch.upsert(table, &values, Expectation::Any), |batch| batch.written(0))
    }

    /// See [`crate::Transaction::update`].
    ///
    /// # Errors
    /// As there.
    pub fn update(
        &mut self,
        table: &Table,
        key: impl Key,
        assignments: &[(&str, Assignment<'_>)],
    ) -> Result<Written> {
        self.update_if(table, key, Expectation::Any, assignments)
    }

    /// See [`crate::Transaction::update_if_version`].
    ///
    /// # Errors
    /// As there.
    pub fn update_if_version(
        &mut self,
        table: &Table,
        key: impl Key,
        version: RowVersion,
        assignments: &[(&str, Assignment<'_>)],
    ) -> Result<Written> {
        self.update_if(table, key, Expectation::Version(version), assignments)
    }

    fn update_if(
        &mut self,
        table: &Table,
        key: impl Key,
        expectation: Expectation,
        assignments: &[(&str, Assignment<'_>)],
    ) -> Result<Written> {
        let numbered = numbered(table, assignments)?;
        self.run(|batch| batch.update(table, &key, &numbered, expectation), |batch| batch.written(0))
    }

    /// See [`crate::Transaction::delete`].
    ///
    /// # Errors
    /// As there.
    pub fn delete(&mut self, table: &Table, key: impl Key) -> Result<Written> {
        self.run(|batch| batch.delete(table, &key, Expectation::Any), |batch| batch.written(0))
    }

    /// See [`crate::Transaction::execute`].
    pub fn execute(&mut self, batch: &mut Batch) {
        batch.transaction = Some(self.handle);
        self.client.execute(batch);
    }

    /// Reads a row as a struct, locked if `lock` says so.
    ///
    /// # Errors
    /// See [`crate::Transaction::get_for_update`] and [`TypedTable::decode`].
    pub fn get_typed<T: TableRow>(
        &mut self,
        table: &TypedTable<T>,
        key: impl Key,
        lock: Option<Lock>,
    ) -> Result<Option<T>> {
        self.run(
            |batch| match lock {
                Some(lock) => batch.read_locked(table.table(), &key, lock),
                None => batch.read(table.table(), &key),
            },
            |batch| match batch.reply(0)? {
                Reply::Row { row, .. } => table.decode(&row).map(Some),
                Reply::NoRow => Ok(None),
                Reply::Written(_) | Reply::Page(_) | Reply::Resolved(_) | Reply::Ended(_) => {
                    Err(unexpected())
                }
            },
        )
    }

    /// Inserts or replaces a row given as a struct.
    ///
    /// # Errors
    /// See [`crate::Transaction::upsert`] and [`TypedTable::upsert`].
    pub fn upsert_typed<T: TableRow>(&mut self, table: &TypedTable<T>, row: &T) -> Result<Written> {
        let values = table.encode_whole(row)?;
        self.run(|batch| batch.upsert(table.table(), &values, Expectation::Any), |batch| batch.written(0))
    }

    /// See [`crate::Transaction::commit`].
    ///
    /// # Errors
    /// As there.
    pub fn commit(mut self) -> Result<Ending> {
        self.run(Batch::commit, |batch| batch.ending(0))
    }

    /// See [`crate::Transaction::rollback`].
    ///
    /// # Errors
    /// As there.
    pub fn rollback(mut self) -> Result<()> {
        self.run(Batch::rollback, |_| Ok(()))
    }
}

impl Client {
    /// Begins a transaction; see [`crate::Client::begin`].
    ///
    /// # Errors
    /// `Overloaded` when too many are open.
    pub fn begin(&mut self) -> Result<Transaction<'_>> {
        self.begin_again(0)
    }

    fn begin_again(&mut self, tries: u32) -> Result<Transaction<'_>> {
        let handle = self.core.begin_again(tries);
        let handle = handle.ok_or_else(|| Error::new(ErrorCode::Overloaded, "too many transactions"))?;
        Ok(Transaction { client: self, handle })
    }

    /// Runs a transaction, again if an error says that it may succeed later; see [`crate::Client::transaction`].
    ///
    /// ```no_run
    /// # use duet_client::{Assignment, blocking::Client};
    /// let mut client = Client::connect("127.0.0.1:4567")?;
    /// let accounts = client.table("bank.accounts")?;
    /// client.transaction(|transaction| {
    ///     transaction.update(&accounts, 7, &[("balance", Assignment::Add((-10).into()))])?;
    ///     transaction.update(&accounts, 8, &[("balance", Assignment::Add(10.into()))])?;
    ///     Ok(())
    /// })?;
    /// # Ok::<(), duet_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn transaction<T>(&mut self, mut body: impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut tries = Tries::within(self.timeout);
        loop {
            let mut transaction = self.begin_again(tries.count())?;
            let error = match body(&mut transaction) {
                Ok(value) => match transaction.commit() {
                    Ok(_) => return Ok(value),
                    Err(error) if error.is(ErrorCode::OutcomeUnknown) => {
                        let Some(id) = error.transaction else { return Err(error) };
                        match self.resolve(id) {
                            Ok(Outcome::Committed { .. }) => return Ok(value),
                            Ok(Outcome::Aborted) => {
                                Error::new(ErrorCode::NodeUnreachable, "the commit did not happen")
                            }
                            Ok(Outcome::Forgotten) | Err(_) => return Err(error),
                        }
                    }
                    Err(error) => error,
                },
                Err(error) => {
                    transaction.rollback()?;
                    error
                }
            };
            match tries.next(&error) {
                Some(wait) => std::thread::sleep(wait),
                None => return Err(error),
            }
        }
    }
}
