//! Rows by the values of a unique index.

use crate::transaction::Tries;
use crate::{
    Client, Error, ErrorCode, Key, Lock, Result, Row, RowView, Table, TableRow, Transaction, TypedTable,
};
use duet_client_core::{Lookup, LookupStep, MAX_BATCH_OPERATIONS};

/// The row of a look-up, copied.
pub(crate) fn looked_up(table: &Table, lookup: &Lookup, number: usize) -> Result<Option<Row>> {
    lookup.row(number).map(|(version, row)| Row::from_view(table, version, &row)).transpose()
}

/// A look-up of as many keys as fit one.
pub(crate) fn lookup_of<K: Key>(
    table: &Table,
    index: &str,
    lock: Option<Lock>,
    keys: &mut impl Iterator<Item = K>,
) -> Result<Lookup> {
    let mut lookup = Lookup::new(table, index, lock)?;
    for key in keys.take(MAX_BATCH_OPERATIONS) {
        lookup.add(&key)?;
    }
    Ok(lookup)
}

impl Client {
    async fn look_up(&self, lookup: &mut Lookup) -> Result<()> {
        let mut tries = Tries::within(self.handle.timeout);
        let mut transaction: Option<Transaction> = None;
        let mut pooled = self.handle.shared.take();
        loop {
            let step = lookup.next(pooled.batch())?;
            match step {
                // A transaction that only read goes by itself when it is dropped.
                LookupStep::Done => return Ok(()),
                LookupStep::Execute => pooled.execute().await?,
                LookupStep::ExecuteLocked => {
                    let transaction =
                        transaction.get_or_insert_with(|| Transaction::new(self.clone(), tries.count()));
                    pooled.batch().transaction = Some(transaction.handle());
                    pooled.execute().await?;
                }
            }
            let Err(error) = lookup.take(pooled.batch()) else { continue };
            let wait = tries.next(&error).filter(|_| step == LookupStep::ExecuteLocked);
            let Some(wait) = wait else { return Err(error) };
            transaction = None;
            lookup.lock_again();
            tokio::time::sleep(wait).await;
        }
    }

    /// Reads the row that has these values in the columns of a unique index: a value, or a tuple of values for several
    /// columns. It is exact: a row that exists all the while is found, and what is returned has these values.
    ///
    /// # Errors
    /// `IndexNotFound`; when the values do not fit the index, NULL among them; or no node could answer in time.
    pub async fn get_by(&self, table: &Table, index: &str, key: impl Key) -> Result<Option<Row>> {
        let mut lookup = lookup_of(table, index, None, &mut std::iter::once(key))?;
        self.look_up(&mut lookup).await?;
        looked_up(table, &lookup, 0)
    }

    /// Reads many rows at once by the values of a unique index, in the order of the keys; see [`Client::get_by`].
    ///
    /// # Errors
    /// See there. The first error.
    pub async fn get_many_by<K: Key>(
        &self,
        table: &Table,
        index: &str,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Row>>> {
        let mut rows = Vec::new();
        let mut keys = keys.into_iter().peekable();
        while keys.peek().is_some() {
            let mut lookup = lookup_of(table, index, None, &mut keys)?;
            self.look_up(&mut lookup).await?;
            for number in 0..lookup.len() {
                rows.push(looked_up(table, &lookup, number)?);
            }
        }
        Ok(rows)
    }

    async fn get_by_with<T>(
        &self,
        table: &Table,
        index: &str,
        key: impl Key,
        read: impl FnOnce(&RowView<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut lookup = lookup_of(table, index, None, &mut std::iter::once(key))?;
        self.look_up(&mut lookup).await?;
        lookup.row(0).map(|(_, row)| read(&row)).transpose()
    }
}

impl<T: TableRow> TypedTable<T> {
    /// Reads the row that has these values in the columns of a unique index; see [`Client::get_by`].
    ///
    /// # Errors
    /// See [`Client::get_by`] and [`TypedTable::decode`].
    pub async fn get_by(&self, index: &str, key: impl Key) -> Result<Option<T>> {
        self.client().get_by_with(self.table(), index, key, |row| self.decode(row)).await
    }
}

impl Transaction {
    /// Looks up keys of a unique index within the transaction; see [`Transaction::get_by`].
    async fn look_up(&self, lookup: &mut Lookup) -> Result<()> {
        let mut pooled = self.take();
        while lookup.next(pooled.batch())? != LookupStep::Done {
            pooled.execute().await?;
            lookup.take(pooled.batch())?;
        }
        Ok(())
    }

    /// Reads the row that has these values in the columns of a unique index, as this transaction sees it. The row is
    /// locked if `lock` says so. Where it seems to be changing or is not found, the entry of the index is locked as well,
    /// so that nobody gives these values to another row before the transaction ends.
    ///
    /// # Errors
    /// `IndexNotFound`; when the values do not fit the index; as [`Transaction::get_for_update`].
    pub async fn get_by(
        &self,
        table: &Table,
        index: &str,
        key: impl Key,
        lock: Option<Lock>,
    ) -> Result<Option<Row>> {
        let mut lookup = lookup_of(table, index, lock, &mut std::iter::once(key))?;
        self.look_up(&mut lookup).await?;
        looked_up(table, &lookup, 0)
    }

    /// As [`Transaction::get_by`], for many keys at once, in their order.
    ///
    /// # Errors
    /// As there; `InvalidRequest` for more keys than a batch holds.
    pub async fn get_many_by<K: Key>(
        &self,
        table: &Table,
        index: &str,
        keys: impl IntoIterator<Item = K>,
        lock: Option<Lock>,
    ) -> Result<Vec<Option<Row>>> {
        let mut keys = keys.into_iter().peekable();
        let mut lookup = lookup_of(table, index, lock, &mut keys)?;
        if keys.peek().is_some() {
            let detail = format!("at most {MAX_BATCH_OPERATIONS} keys at once");
            return Err(Error::new(ErrorCode::InvalidRequest, &detail));
        }
        self.look_up(&mut lookup).await?;
        (0..lookup.len()).map(|number| looked_up(table, &lookup, number)).collect()
    }
}
