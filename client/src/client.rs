//! The asynchronous client.

use crate::mapping::checked_definition;
use crate::shared::{JobRequest, PooledBatch, Shared, lock};
use crate::{
    Assignment, Batch, ClientBuilder, ClusterState, ClusterStatus, Column, Error, ErrorCode, Expectation,
    Key, LeaveRequest, Outcome, Range, Reply, Result, Row, RowValues, RowVersion, RowView, Scan, Table,
    TableDefinition, TableRow, TransactionId, TypedTable, Value, Written,
};
use duet_client_core::{JobResult, MAX_BATCH_OPERATIONS};
use duet_protocol::schema::IndexKind;
use duet_protocol::update::update_result_value;
use duet_protocol::value::ValueRef;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Database of table names without one.
pub const DEFAULT_DATABASE: &str = "default";

/// How often, and after which wait, a table is looked for again that another program has begun to create.
pub(crate) const OPEN_TRIES: usize = 100;
pub(crate) const OPEN_WAIT: Duration = Duration::from_millis(20);

/// Keeps the client's task alive.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    /// Time for an operation.
    pub(crate) timeout: Duration,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.enqueue(|queue| queue.closed = true);
    }
}

/// A client of a cluster: cheap to clone, safe to share between tasks and threads.
///
/// Dropping the last clone closes the connections; operations under way are given up then.
#[derive(Clone)]
pub struct Client {
    pub(crate) handle: Arc<Handle>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Database and name of `database.table`.
pub(crate) fn split_name(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or((DEFAULT_DATABASE, name))
}

pub(crate) fn no_table(name: &str) -> Error {
    Error::new(ErrorCode::TableNotFound, &format!("'{name}'"))
}

pub(crate) fn unexpected() -> Error {
    Error::new(ErrorCode::Internal, "the answer is of another kind than the question")
}

/// The named assignments by column number.
pub(crate) fn numbered<'v>(
    table: &Table,
    assignments: &[(&str, Assignment<'v>)],
) -> Result<Vec<(u16, Assignment<'v>)>> {
    assignments.iter().map(|(name, assignment)| Ok((table.column(name)?, assignment.clone()))).collect()
}

/// The row of a read, copied.
pub(crate) fn row_of(table: &Table, batch: &Batch, index: usize) -> Result<Option<Row>> {
    match batch.reply(index)? {
        Reply::Row { version, row } => Row::from_view(table, version, &row).map(Some),
        Reply::NoRow => Ok(None),
        Reply::Written(_) | Reply::Page(_) | Reply::Resolved(_) | Reply::Ended(_) => Err(unexpected()),
    }
}

/// The sum that an increment made.
pub(crate) fn sum_of(table: &Table, column: u16, written: &Written) -> Result<Value> {
    Ok(update_result_value(table.layout(), column, written.result())?)
}

impl Client {
    /// Connects to the cluster that the nodes at these addresses belong to: `host:port`, several separated by commas,
    /// data or management nodes; one that answers is enough.
    ///
    /// # Errors
    /// See [`ClientBuilder::connect`].
    pub async fn connect(addresses: &str) -> Result<Client> {
        Client::builder(addresses).connect().await
    }

    /// A client with settings of its own.
    pub fn builder(addresses: &str) -> ClientBuilder {
        ClientBuilder::new(addresses)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    pub(crate) async fn run(&self, build: impl FnOnce(&mut Batch) -> Result<usize>) -> Result<PooledBatch> {
        let mut pooled = self.shared().take();
        build(pooled.batch())?;
        pooled.execute().await?;
        Ok(pooled)
    }

    /// An empty batch with buffers that are used again: nothing is allocated for it where others were executed before.
    pub fn batch(&self) -> PooledBatch {
        self.shared().take()
    }

    /// Executes a batch; afterwards it holds the result of each operation ([`Batch::reply`], [`Batch::row`],
    /// [`Batch::written`]). It may be cleared and used again. A batch whose future is dropped comes back empty.
    ///
    /// # Errors
    /// Only when the client has ended or its queue is full; errors of operations are in the batch.
    pub async fn execute(&self, batch: &mut Batch) -> Result<()> {
        let mut pooled = self.shared().take();
        std::mem::swap(pooled.batch(), batch);
        let executed = pooled.execute().await;
        if executed.is_ok() {
            std::mem::swap(pooled.batch(), batch);
        }
        executed
    }

    /// Reads a row.
    ///
    /// # Errors
    /// When the key does not fit the table, or no node could answer in time.
    pub async fn get(&self, table: &Table, key: impl Key) -> Result<Option<Row>> {
        let mut pooled = self.run(|batch| batch.read(table, &key)).await?;
        row_of(table, pooled.batch(), 0)
    }

    /// Reads a row without copying it: `read` sees it in the receive buffer.
    ///
    /// # Errors
    /// When the key does not fit the table, or no node could answer in time.
    pub async fn get_with<T>(
        &self,
        table: &Table,
        key: impl Key,
        read: impl FnOnce(Option<RowView<'_>>) -> T,
    ) -> Result<T> {
        let mut pooled = self.run(|batch| batch.read(table, &key)).await?;
        Ok(read(pooled.batch().row(0)?))
    }

    /// Reads many rows at once, in the order of their keys.
    ///
    /// # Errors
    /// The first error; use a [`Batch`] to have one per key.
    pub async fn get_many<K: Key>(
        &self,
        table: &Table,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Row>>> {
        let mut rows = Vec::new();
        let mut pooled = self.shared().take();
        let mut keys = keys.into_iter().peekable();
        while keys.peek().is_some() {
            let batch = pooled.batch();
            batch.clear();
            for key in keys.by_ref().take(MAX_BATCH_OPERATIONS) {
                batch.read(table, &key)?;
            }
            pooled.execute().await?;
            let batch = pooled.batch();
            for index in 0..batch.len() {
                rows.push(row_of(table, batch, index)?);
            }
        }
        Ok(rows)
    }

    /// Reads many rows at once without copying them: `read` sees each with the number of its key.
    ///
    /// # Errors
    /// The first error; use a [`Batch`] to have one per key.
    pub async fn get_many_with<K: Key>(
        &self,
        table: &Table,
        keys: impl IntoIterator<Item = K>,
        mut read: impl FnMut(usize, Option<RowView<'_>>),
    ) -> Result<()> {
        let mut pooled = self.shared().take();
        let mut keys = keys.into_iter().peekable();
        let mut done = 0;
        while keys.peek().is_some() {
            let batch = pooled.batch();
            batch.clear();
            for key in keys.by_ref().take(MAX_BATCH_OPERATIONS) {
                batch.read(table, &key)?;
            }
            pooled.execute().await?;
            let batch = pooled.batch();
            for index in 0..batch.len() {
                read(done + index, batch.row(index)?);
            }
            done += batch.len();
        }
        Ok(())
    }

    /// Inserts a row; `DuplicateKey` when there is one with its key.
    ///
    /// # Errors
    /// When the values do not fit the table, or the row could not be written.
    pub async fn insert(&self, table: &Table, row: impl RowValues) -> Result<Written> {
        let values = row.row_values(table)?;
        self.run(|batch| batch.insert(table, &values)).await?.batch().written(0)
    }

    /// Inserts a row or replaces the one with its key as a whole: columns that are not named take their defaults or NULL.
    /// [`Client::update`] changes some columns only.
    ///
    /// # Errors
    /// When the values do not fit the table, or the row could not be written.
    pub async fn upsert(&self, table: &Table, row: impl RowValues) -> Result<Written> {
        let values = row.row_values(table)?;
        self.run(|batch| batch.upsert(table, &values, Expectation::Any)).await?.batch().written(0)
    }

    /// Updates columns of a row; `RowNotFound` when there is none.
    ///
    /// # Errors
    /// When key or assignments do not fit the table, or the row could not be written.
    pub async fn update(
        &self,
        table: &Table,
        key: impl Key,
        assignments: &[(&str, Assignment<'_>)],
    ) -> Result<Written> {
        let numbered = numbered(table, assignments)?;
        self.run(|batch| batch.update(table, &key, &numbered, Expectation::Any)).await?.batch().written(0)
    }

    /// Updates columns of a row if it still has the version that was read; else `VersionMismatch`.
    ///
    /// # Errors
    /// When key or assignments do not fit the table, or the row could not be written.
    pub async fn update_if_version(
        &self,
        table: &Table,
        key: impl Key,
        version: RowVersion,
        assignments: &[(&str, Assignment<'_>)],
    ) -> Result<Written> {
        let numbered = numbered(table, assignments)?;
        let expectation = Expectation::Version(version);
        self.run(|batch| batch.update(table, &key, &numbered, expectation)).await?.batch().written(0)
    }

    /// Adds to a number and returns the sum; `RowNotFound` when there is no such row. It is added exactly once, whatever
    /// happens to connections and nodes.
    ///
    /// # Errors
    /// When the key does not fit the table, the column holds no numbers, or the row could not be written.
    pub async fn increment(&self, table: &Table, key: impl Key, column: &str, by: i64) -> Result<Value> {
        let column = table.column(column)?;
        let add = [(column, Assignment::Add(ValueRef::Int(by)))];
        let written =
            self.run(|batch| batch.update(table, &key, &add, Expectation::Any)).await?.batch().written(0)?;
        sum_of(table, column, &written)
    }

    /// Deletes a row; `RowNotFound` when there is none.
    ///
    /// # Errors
    /// When the key does not fit the table, or the row could not be deleted.
    pub async fn delete(&self, table: &Table, key: impl Key) -> Result<Written> {
        self.run(|batch| batch.delete(table, &key, Expectation::Any)).await?.batch().written(0)
    }

    /// Deletes a row if it still has the version that was read; else `VersionMismatch`.
    ///
    /// # Errors
    /// When the key does not fit the table, or the row could not be deleted.
    pub async fn delete_if_version(
        &self,
        table: &Table,
        key: impl Key,
        version: RowVersion,
    ) -> Result<Written> {
        let expectation = Expectation::Version(version);
        self.run(|batch| batch.delete(table, &key, expectation)).await?.batch().written(0)
    }

    /// Reads all rows of a table in no particular order, or what [`Scan::filter`], [`Scan::select`] and [`Scan::aggregate`]
    /// make of them. Rows that are written meanwhile may be seen or not.
    pub fn scan(&self, table: &Table) -> Scan {
        Scan::new(Arc::clone(self.shared()), Arc::clone(&self.handle), table)
    }

    /// Reads the rows of a table between two places of an ordered index: of the primary key, or with [`Range::index`] of a
    /// secondary one.
    pub fn range(&self, table: &Table) -> Range {
        Range::new(Arc::clone(self.shared()), Arc::clone(&self.handle), table)
    }

    /// Tells what became of a write that ended in `OutcomeUnknown`, waiting until that is known.
    ///
    /// # Errors
    /// `InvalidTransaction` when the write is not one of this client's; `OutcomeExpired` when nobody can tell any more.
    pub async fn resolve(&self, transaction: TransactionId) -> Result<Outcome> {
        let mut pooled = self.run(|batch| batch.resolve(transaction)).await?;
        match pooled.batch().reply(0)? {
            Reply::Resolved(outcome) => Ok(outcome),
            Reply::Row { .. } | Reply::NoRow | Reply::Written(_) | Reply::Page(_) | Reply::Ended(_) => {
                Err(unexpected())
            }
        }
    }

    /// Creates a table; it is open when this returns.
    ///
    /// # Errors
    /// `TableExists`; the codes of an invalid definition; or no leading management node could be reached in time.
    pub async fn create_table(&self, definition: TableDefinition) -> Result<Table> {
        let name = format!("{}.{}", definition.database, definition.name);
        self.shared().job(JobRequest::CreateTable(Box::new(definition))).await?;
        self.table(&name).await
    }

    /// Adds a column at the end of a table, which goes on being read and written meanwhile: rows that exist have the
    /// column's default, or NULL; in a column that takes the current time on insert, and has no default beside it, the time of this call.
    /// The table with the column; handles of the table without it stay good, and what they
    /// write leaves the column alone. One thing they cannot do: insert rows without a column that takes the current time, which ends in
    /// `TableVersionMismatch`; get the table again by [`Client::table`] then.
    ///
    /// # Errors
    /// The codes of a column that cannot be added; `TableNotFound`; or no leading management node could be reached in time.
    pub async fn add_column(&self, table: &Table, column: Column) -> Result<Table> {
        let column = column.added_at(|| crate::clock::Clock::default().now());
        let request = JobRequest::AddColumn { table: Table::clone(table), column: Box::new(column) };
        self.shared().job(request).await?;
        self.table(&format!("{}.{}", table.database(), table.name())).await
    }

    /// Creates an index of a table, which goes on being read and written meanwhile. The table with the index, when
    /// all rows are in it. `within` bounds the wait; building goes on without anybody waiting.
    ///
    /// # Errors
    /// The codes of an index that cannot be; `IndexGivenUp` when a node has no memory for it; `UniqueViolation`, with the values,
    /// when two rows of a unique one have the same;
    /// `DeadlineExceeded` when the time did not suffice.
    pub async fn create_index(
        &self,
        table: &Table,
        name: &str,
        kind: IndexKind,
        columns: &[&str],
        within: Duration,
    ) -> Result<Table> {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        let (table, name) = (Table::clone(table), name.to_owned());
        let full_name = format!("{}.{}", table.database(), table.name());
        self.shared().job(JobRequest::CreateIndex { table, name, kind, columns, within }).await?;
        self.table(&full_name).await
    }

    /// Drops an index of a table. Scans of it and look-ups that are under way end in `IndexNotFound`.
    ///
    /// # Errors
    /// `IndexNotFound`; or no leading management node could be reached in time.
    pub async fn drop_index(&self, table: &Table, name: &str) -> Result<Table> {
        let request = JobRequest::DropIndex { table: Table::clone(table), name: name.to_owned() };
        self.shared().job(request).await?;
        self.table(&format!("{}.{}", table.database(), table.name())).await
    }

    /// Drops a table, `database.table`, with all its rows.
    ///
    /// # Errors
    /// `TableNotFound`; or no leading management node could be reached in time.
    pub async fn drop_table(&self, name: &str) -> Result<()> {
        let (database, name) = split_name(name);
        let request = JobRequest::DropTable { database: database.to_owned(), name: name.to_owned() };
        self.shared().job(request).await?;
        Ok(())
    }

    /// The table of this name, `database.table`; without a database that of [`DEFAULT_DATABASE`].
    ///
    /// # Errors
    /// `TableNotFound`, after the newest map was fetched.
    pub async fn table(&self, name: &str) -> Result<Table> {
        if let Some(table) = self.known_table(name) {
            return Ok(table);
        }
        self.shared().job(JobRequest::Refresh).await?;
        self.known_table(name).ok_or_else(|| no_table(name))
    }

    fn known_table(&self, name: &str) -> Option<Table> {
        let (database, name) = split_name(name);
        let snapshot = lock(&self.shared().snapshot);
        snapshot.tables.iter().find(|table| table.name() == name && table.database() == database).cloned()
    }

    /// The table of a row type. The struct must fit it: a column for every field, of a type that the field can hold (an
    /// `Option` for a nullable column), and the same primary key.
    ///
    /// # Errors
    /// `TableNotFound`; `InvalidSchema` when the struct does not fit the table.
    pub async fn typed_table<T: TableRow>(&self) -> Result<TypedTable<T>> {
        let definition = T::definition()?;
        let table = self.table(&format!("{}.{}", definition.database, definition.name)).await?;
        TypedTable::new(self.clone(), table)
    }

    /// Creates the table of a row type, which must not exist yet; see [`Client::open_or_create_typed_table`].
    ///
    /// # Errors
    /// See [`Client::create_table`]; `InvalidSchema` when a field cannot hold the column that it describes.
    pub async fn create_typed_table<T: TableRow>(&self) -> Result<TypedTable<T>> {
        let table = self.create_table(checked_definition::<T>()?).await?;
        TypedTable::new(self.clone(), table)
    }

    /// Opens the table of a row type, or creates it when there is none. It may be done by several programs at once.
    ///
    /// # Errors
    /// See [`Client::typed_table`] and [`Client::create_typed_table`].
    pub async fn open_or_create_typed_table<T: TableRow>(&self) -> Result<TypedTable<T>> {
        for _ in 0..OPEN_TRIES {
            match self.typed_table().await {
                Err(error) if error.is(ErrorCode::TableNotFound) => {}
                opened => return opened,
            }
            match self.create_typed_table().await {
                Err(error) if error.is(ErrorCode::TableExists) => tokio::time::sleep(OPEN_WAIT).await,
                created => return created,
            }
        }
        self.typed_table().await
    }

    /// The open tables, after the newest map was fetched.
    ///
    /// # Errors
    /// When no node answers in time.
    pub async fn tables(&self) -> Result<Vec<Table>> {
        self.shared().job(JobRequest::Refresh).await?;
        Ok(lock(&self.shared().snapshot).tables.clone())
    }

    /// Fetches the newest map and dictionary, if there are newer ones than this client knows. Nothing is transferred otherwise.
    ///
    /// # Errors
    /// When no node answers in time.
    pub async fn refresh(&self) -> Result<()> {
        self.shared().job(JobRequest::Refresh).await?;
        Ok(())
    }

    /// The newest cluster state that this client knows: nodes, view, partition map, dictionary.
    pub fn state(&self) -> Option<Arc<ClusterState>> {
        lock(&self.shared().snapshot).state.clone()
    }

    /// Version of that state, which grows with every change of it; 0 before there is one. As long as it is the same, [`Client::table`]
    /// gives the same tables. It costs one load.
    pub fn state_version(&self) -> u64 {
        self.shared().version.load(Ordering::Acquire)
    }

    /// Tells a data node to hand over what it leads, and to end or start again. Returns when it has begun with that; look at
    /// [`Client::status`] for how far it is.
    ///
    /// # Errors
    /// `NotInView` for one that is no member, `LastFullInstance` for one that is alone with the rows of its group; no leading management
    /// node could be reached in time.
    pub async fn ask_to_leave(&self, wanted: LeaveRequest) -> Result<()> {
        self.shared().job(JobRequest::Leave(wanted)).await.map(|_| ())
    }

    /// Tells a management node to end or start again. Returns when it is about to.
    ///
    /// # Errors
    /// `NoMajority` where another one is away; it could not be reached in time.
    pub async fn end_management(&self, wanted: LeaveRequest) -> Result<()> {
        self.shared().job(JobRequest::EndManagement(wanted)).await.map(|_| ())
    }

    /// How the cluster is, as a management node sees it.
    ///
    /// # Errors
    /// When no management node answers in time.
    pub async fn status(&self) -> Result<ClusterStatus> {
        self.fetch_status(JobRequest::Status).await
    }

    /// How the cluster is, as the management node with this id sees it.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn status_of(&self, node: u32) -> Result<ClusterStatus> {
        self.fetch_status(JobRequest::StatusOf(node)).await
    }

    async fn fetch_status(&self, request: JobRequest) -> Result<ClusterStatus> {
        match self.shared().job(request).await? {
            JobResult::Status(status) => Ok(*status),
            JobResult::Created { .. }
            | JobResult::Changed
            | JobResult::Dropped
            | JobResult::Users(_)
            | JobResult::Refreshed => Err(unexpected()),
        }
    }
}
