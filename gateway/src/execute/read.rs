//! Rows of a table by an access path, chunk by chunk, as the transaction sees them.

use crate::error::{Result, SqlError};
use crate::execute::transaction::{OpenTransaction, key_of};
use crate::plan::BoundAccess;
use duet_client::{
    Batch, Client, Condition, ErrorCode, Key, Lock, Range, Reply, Row, RowView, Scan, Table, Value,
};
use std::collections::VecDeque;

/// Rows that are looked up at once.
const CHUNK_KEYS: usize = 1_024;

/// The same where rows go to the client as they come, so that few wait to be sent.
const CHUNK_DIRECT: usize = 256;

/// A row of a table.
pub type Values = Vec<Value>;

enum Source {
    /// Rows that are there already.
    Ready(Vec<Values>),
    /// Keys that are looked up, chunk by chunk.
    Keys {
        keys: VecDeque<Vec<Value>>,
    },
    Range(Box<Range>),
    Scan(Box<Scan>),
    End,
}

/// Rows of a table.
pub struct Rows {
    client: Client,
    table: Table,
    source: Source,
    /// Keys that the transaction has written: their rows come last, as the transaction has them.
    hidden: rustc_hash::FxHashSet<Vec<u8>>,
    last: Vec<Values>,
    /// Columns that come, if these are not all.
    columns: Option<Vec<u16>>,
}

fn values_of(view: &RowView<'_>) -> Result<Values> {
    Ok(view.to_values().map_err(duet_client::Error::from)?)
}

/// What a look-up by a unique index ends in, made of the cluster's error by `tell`: where the entries, which are a table of their own, are
/// gone, the index was dropped meanwhile.
fn lookup_error(error: duet_client::Error, tell: impl FnOnce(duet_client::Error) -> SqlError) -> SqlError {
    let is_gone = error.is(ErrorCode::TableNotFound);
    let told = tell(error);
    if is_gone { SqlError::table_changed(told.message) } else { told }
}

/// How rows are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// In the order of the index, and whether backwards.
    pub order: Option<bool>,
    /// No more than so many.
    pub limit: Option<u64>,
    /// Those that meet this condition; rows that are looked up by keys come all the same.
    pub filter: Option<Condition>,
    /// Only these columns of rows that are not looked up by keys; the others are NULL then. All without.
    pub columns: Option<Vec<u16>>,
}

impl Rows {
    /// Begins to read. In a transaction keys are read in it, ranges outside of it with what it has written put in their place;
    /// then their order is not that of the index.
    ///
    /// # Errors
    /// Those of the cluster.
    pub async fn open(
        client: &Client,
        table: &Table,
        access: BoundAccess,
        wanted: Wanted,
        transaction: Option<&mut OpenTransaction>,
    ) -> Result<Rows> {
        let mut rows = Rows {
            client: client.clone(),
            table: Table::clone(table),
            source: Source::End,
            hidden: Default::default(),
            last: Vec::new(),
            columns: None,
        };
        // Rows that the transaction has not written it reads as everybody does: no lock is asked for, and none is held for it.
        let transaction = match (&access, transaction) {
            (BoundAccess::Keys { index: None, keys }, Some(transaction))
                if transaction.leaves(table, keys)? =>
            {
                transaction.check()?;
                None
            }
            (BoundAccess::Keys { index: Some(_), .. }, Some(transaction))
                if transaction.written(table).is_none() =>
            {
                transaction.check()?;
                None
            }
            (_, transaction) => transaction,
        };
        match (access, transaction) {
            (BoundAccess::Keys { index, keys }, Some(transaction)) => {
                rows.source = Source::Ready(match index {
                    None => read_keys(transaction, table, &keys, None).await?,
                    Some(index) => read_unique(transaction, table, &index, &keys).await?,
                });
            }
            (BoundAccess::Keys { index: None, keys }, None) => {
                rows.source = Source::Keys { keys: keys.into() }
            }
            (BoundAccess::Keys { index: Some(index), keys }, None) => {
                let found = client.get_many_by(table, &index, &keys).await;
                let found = found.map_err(|error| lookup_error(error, SqlError::from))?;
                rows.source =
                    Source::Ready(found.into_iter().flatten().map(|row| row.values().to_vec()).collect());
            }
            (access, transaction) => {
                let mut wanted = wanted;
                if let Some(transaction) = transaction {
                    transaction.check()?;
                    if let Some(written) = transaction.written(table) {
                        rows.hidden = written.keys().cloned().collect();
                        let keys: Vec<Vec<Value>> = written.values().cloned().collect();
                        rows.last = read_keys(transaction, table, &keys, None).await?;
                        wanted.limit = wanted.limit.map(|limit| limit.saturating_add(keys.len() as u64));
                    }
                }
                rows.columns.clone_from(&wanted.columns);
                rows.source = rows.range_or_scan(access, wanted);
            }
        }
        Ok(rows)
    }

    /// Begins to read beside a transaction: without the rows of the keys `hidden`, and with `last` behind all others.
    ///
    /// # Errors
    /// Those of the cluster.
    pub async fn open_beside(
        client: &Client,
        table: &Table,
        access: BoundAccess,
        wanted: Wanted,
        hidden: rustc_hash::FxHashSet<Vec<u8>>,
        last: Vec<Values>,
    ) -> Result<Rows> {
        let mut rows = Rows::open(client, table, access, wanted, None).await?;
        rows.hidden = hidden;
        rows.last = last;
        Ok(rows)
    }

    /// Whether rows that the transaction has written come out of the order of the index.
    pub fn is_mixed(&self) -> bool {
        !self.hidden.is_empty()
    }

    fn names(&self, columns: &[u16]) -> Vec<String> {
        let all = &self.table.definition().columns;
        columns.iter().map(|column| all[usize::from(*column)].name.clone()).collect()
    }

    fn range_or_scan(&self, access: BoundAccess, wanted: Wanted) -> Source {
        match access {
            BoundAccess::Range { index, low, high } => {
                let mut range = self.client.range(&self.table);
                if let Some(index) = index {
                    range = range.index(&index);
                }
                if let Some((values, inclusive)) = low {
                    range = if inclusive { range.from(values) } else { range.after(values) };
                }
                if let Some((values, inclusive)) = high {
                    range = if inclusive { range.to(values) } else { range.before(values) };
                }
                match wanted.order {
                    Some(true) => range = range.reverse(),
                    Some(false) => range = range.ordered(),
                    None => {}
                }
                if let Some(limit) = wanted.limit {
                    range = range.limit(limit);
                }
                if let Some(filter) = wanted.filter {
                    range = range.filter(filter);
                }
                if let Some(columns) = wanted.columns {
                    range = range.select(self.names(&columns));
                }
                Source::Range(Box::new(range))
            }
            BoundAccess::Full | BoundAccess::Keys { .. } => {
                let mut scan = self.client.scan(&self.table);
                if let Some(limit) = wanted.limit {
                    scan = scan.limit(limit);
                }
                if let Some(filter) = wanted.filter {
                    scan = scan.filter(filter);
                }
                if let Some(columns) = wanted.columns {
                    scan = scan.select(self.names(&columns));
                }
                Source::Scan(Box::new(scan))
            }
        }
    }

    /// The next rows, maybe none; `None` at the end.
    ///
    /// # Errors
    /// Those of the cluster.
    pub async fn next(&mut self) -> Result<Option<Vec<Values>>> {
        let Some((chunk, more)) = self.chunk().await? else { return Ok(None) };
        let mut chunk = chunk;
        if !self.hidden.is_empty() {
            let mut bytes = Vec::new();
            let mut keep = Vec::with_capacity(chunk.len());
            for row in chunk {
                bytes.clear();
                key_of(&self.table, &row)
                    .append_to(self.table.layout(), &mut bytes)
                    .map_err(duet_client::Error::from)?;
                if !self.hidden.contains(&bytes) {
                    keep.push(row);
                }
            }
            chunk = keep;
        }
        if !more {
            self.source = Source::End;
            chunk.append(&mut self.last);
        }
        Ok(Some(chunk))
    }

    /// Where the columns of the table lie in the rows that [`Rows::next_views`] gives; `None` where it cannot.
    pub fn places(&self, columns: &[usize]) -> Option<Vec<usize>> {
        if matches!(self.source, Source::Ready(_) | Source::End) || self.is_mixed() || !self.last.is_empty() {
            return None;
        }
        let Some(narrow) = &self.columns else { return Some(columns.to_vec()) };
        let place = |column: &usize| narrow.iter().position(|known| usize::from(*known) == *column);
        columns.iter().map(place).collect()
    }

    /// Hands the next rows to `each` as they lie in the answer, which copies nothing; false at the end. Only where [`Rows::places`] gives
    /// some.
    ///
    /// # Errors
    /// Those of the cluster and of `each`.
    pub async fn next_views(&mut self, mut each: impl FnMut(&RowView<'_>) -> Result<()>) -> Result<bool> {
        let mut failed = Ok(());
        let mut hand = |view: &RowView<'_>| {
            if failed.is_ok() {
                failed = each(view);
            }
        };
        let more = match &mut self.source {
            Source::End | Source::Ready(_) => false,
            Source::Keys { keys } => {
                let mut pooled = self.client.batch();
                let batch = pooled.batch();
                for key in keys.drain(..keys.len().min(CHUNK_DIRECT)) {
                    batch.read(&self.table, &key)?;
                }
                if batch.is_empty() {
                    return Ok(false);
                }
                pooled.execute().await?;
                let batch = pooled.batch();
                for index in 0..batch.len() {
                    if let Some(row) = batch.row(index)? {
                        hand(&row);
                    }
                }
                !keys.is_empty()
            }
            Source::Range(range) => range.next_page(|_, view| hand(&view)).await?,
            Source::Scan(scan) => scan.next_page(|_, view| hand(&view)).await?,
        };
        failed.map(|()| more)
    }

    /// Rows as they are stored, and whether there may be more; `None` at the end.
    async fn chunk(&mut self) -> Result<Option<(Vec<Values>, bool)>> {
        let mut chunk = Vec::new();
        let mut failed = None;
        let more = match &mut self.source {
            Source::End => return Ok(None),
            Source::Ready(rows) => return Ok(Some((std::mem::take(rows), false))),
            Source::Keys { keys } => {
                let mut pooled = self.client.batch();
                let batch = pooled.batch();
                for key in keys.drain(..keys.len().min(CHUNK_KEYS)) {
                    batch.read(&self.table, &key)?;
                }
                if batch.is_empty() {
                    return Ok(Some((chunk, false)));
                }
                pooled.execute().await?;
                let batch = pooled.batch();
                for index in 0..batch.len() {
                    if let Some(row) = batch.row(index)? {
                        chunk.push(values_of(&row)?);
                    }
                }
                return Ok(Some((chunk, true)));
            }
            Source::Range(range) => {
                range
                    .next_page(|_, view| match values_of(&view) {
                        Ok(values) => chunk.push(values),
                        Err(error) => failed = Some(error),
                    })
                    .await?
            }
            Source::Scan(scan) => {
                scan.next_page(|_, view| match values_of(&view) {
                    Ok(values) => chunk.push(values),
                    Err(error) => failed = Some(error),
                })
                .await?
            }
        };
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(columns) = &self.columns {
            let width = self.table.definition().columns.len();
            for row in &mut chunk {
                let mut whole = vec![Value::Null; width];
                for (column, value) in columns.iter().zip(row.drain(..)) {
                    whole[usize::from(*column)] = value;
                }
                *row = whole;
            }
        }
        Ok(Some((chunk, more)))
    }
}

/// Rows by their keys within a transaction, locked if `lock` says so. Missing ones are left out.
///
/// # Errors
/// Those of the cluster, which end the transaction.
pub async fn read_keys(
    transaction: &mut OpenTransaction,
    table: &Table,
    keys: &[Vec<Value>],
    lock: Option<Lock>,
) -> Result<Vec<Values>> {
    let mut rows = Vec::with_capacity(keys.len());
    for row in read_each(transaction, table, keys, lock).await? {
        rows.extend(row);
    }
    Ok(rows)
}

/// As [`read_keys`], with `None` for those that are missing.
///
/// # Errors
/// As there.
pub async fn read_each(
    transaction: &mut OpenTransaction,
    table: &Table,
    keys: &[Vec<Value>],
    lock: Option<Lock>,
) -> Result<Vec<Option<Values>>> {
    let mut rows = Vec::with_capacity(keys.len());
    let mut batch = Batch::new();
    for chunk in keys.chunks(CHUNK_KEYS) {
        batch.clear();
        for key in chunk {
            match lock {
                Some(lock) => batch.read_locked(table, key, lock)?,
                None => batch.read(table, key)?,
            };
        }
        transaction.execute(&mut batch).await?;
        for index in 0..batch.len() {
            match batch.reply(index) {
                Ok(Reply::Row { row, .. }) => rows.push(Some(values_of(&row)?)),
                Ok(Reply::NoRow) => rows.push(None),
                Ok(_) => return Err(SqlError::other("the answer is of another kind than the question")),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(rows)
}

/// Rows by the values of a unique index within a transaction.
///
/// # Errors
/// Those of the cluster, which end the transaction.
pub async fn read_unique(
    transaction: &mut OpenTransaction,
    table: &Table,
    index: &str,
    keys: &[Vec<Value>],
) -> Result<Vec<Values>> {
    let found = find_unique(transaction, table, index, keys, None).await?;
    Ok(found.into_iter().flatten().map(|row| row.values().to_vec()).collect())
}

/// Rows by the values of a unique index within a transaction, with `None` for those that are missing.
///
/// # Errors
/// Those of the cluster, which end the transaction.
pub async fn find_unique(
    transaction: &mut OpenTransaction,
    table: &Table,
    index: &str,
    keys: &[Vec<Value>],
    lock: Option<Lock>,
) -> Result<Vec<Option<Row>>> {
    transaction.check()?;
    let mut rows = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(CHUNK_KEYS) {
        match transaction.inner().get_many_by(table, index, chunk, lock).await {
            Ok(found) => rows.extend(found),
            Err(error) => return Err(lookup_error(error, |error| transaction.fail(error))),
        }
    }
    Ok(rows)
}
