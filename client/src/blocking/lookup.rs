//! Rows by the values of a unique index, for the blocking client.

use super::{Client, Transaction, TypedTable};
use crate::lookup::{looked_up, lookup_of};
use crate::transaction::Tries;
use crate::{Batch, Error, ErrorCode, Key, Lock, Result, Row, Table, TableRow};
use duet_client_core::{Lookup, LookupStep, TransactionHandle};

impl Client {
    fn look_up(&mut self, lookup: &mut Lookup) -> Result<()> {
        let mut tries = Tries::within(self.timeout);
        let mut transaction: Option<TransactionHandle> = None;
        let mut batch = Batch::new();
        let result = loop {
            let step = match lookup.next(&mut batch) {
                Ok(LookupStep::Done) => break Ok(()),
                Ok(step) => step,
                Err(error) => break Err(error),
            };
            if step == LookupStep::ExecuteLocked && transaction.is_none() {
                transaction = self.core.begin_again(tries.count());
                if transaction.is_none() {
                    break Err(Error::new(ErrorCode::Overloaded, "too many transactions"));
                }
            }
            batch.transaction = transaction;
            self.execute(&mut batch);
            let Err(error) = lookup.take(&batch) else { continue };
            let wait = tries.next(&error).filter(|_| step == LookupStep::ExecuteLocked);
            let Some(wait) = wait else { break Err(error) };
            self.end_lookup(transaction.take());
            lookup.lock_again();
            std::thread::sleep(wait);
        };
        self.end_lookup(transaction);
        result
    }

    /// A transaction that only read is rolled back, which needs no answer.
    fn end_lookup(&mut self, transaction: Option<TransactionHandle>) {
        if let Some(handle) = transaction {
            let now = self.now();
            self.core.forget(now, handle);
            self.core.flush(now);
            self.write(now);
        }
    }

    /// Reads the row that has these values in the columns of a unique index; see [`crate::Client::get_by`].
    ///
    /// # Errors
    /// As there.
    pub fn get_by(&mut self, table: &Table, index: &str, key: impl Key) -> Result<Option<Row>> {
        let mut lookup = lookup_of(table, index, None, &mut std::iter::once(key))?;
        self.look_up(&mut lookup)?;
        looked_up(table, &lookup, 0)
    }

    /// Reads many rows at once by the values of a unique index; see [`crate::Client::get_many_by`].
    ///
    /// # Errors
    /// As there.
    pub fn get_many_by<K: Key>(
        &mut self,
        table: &Table,
        index: &str,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Row>>> {
        let mut rows = Vec::new();
        let mut keys = keys.into_iter().peekable();
        while keys.peek().is_some() {
            let mut lookup = lookup_of(table, index, None, &mut keys)?;
            self.look_up(&mut lookup)?;
            for number in 0..lookup.len() {
                rows.push(looked_up(table, &lookup, number)?);
            }
        }
        Ok(rows)
    }
}

impl<T: TableRow> TypedTable<T> {
    /// Reads the row that has these values in the columns of a unique index; see [`crate::Client::get_by`].
    ///
    /// # Errors
    /// As there, and as [`TypedTable::decode`].
    pub fn get_by(&self, client: &mut Client, index: &str, key: impl Key) -> Result<Option<T>> {
        let mut lookup = lookup_of(self.table(), index, None, &mut std::iter::once(key))?;
        client.look_up(&mut lookup)?;
        lookup.row(0).map(|(_, row)| self.decode(&row)).transpose()
    }
}

impl Transaction<'_> {
    /// Reads the row that has these values in the columns of a unique index; see [`crate::Transaction::get_by`].
    ///
    /// # Errors
    /// As there.
    pub fn get_by(
        &mut self,
        table: &Table,
        index: &str,
        key: impl Key,
        lock: Option<Lock>,
    ) -> Result<Option<Row>> {
        let mut lookup = lookup_of(table, index, lock, &mut std::iter::once(key))?;
        let mut batch = Batch::new();
        while lookup.next(&mut batch)? != LookupStep::Done {
            self.execute(&mut batch);
            lookup.take(&batch)?;
        }
        looked_up(table, &lookup, 0)
    }
}
