//! The client for programs without an asynchronous runtime.
//!
//! It drives the same core on the calling thread, over blocking sockets: an operation costs one write and one read of a
//! socket per data node and wakes no other thread. Each thread has a client of its own.
//!
//! ```no_run
//! let mut client = duet_client::blocking::Client::connect("127.0.0.1:4567")?;
//! let users = client.table("shop.users")?;
//! let user = client.get(&users, 7)?;
//! # Ok::<(), duet_client::Error>(())
//! ```
//!
//! Rows can be structs here, too: see [`TypedTable`].

mod lookup;
mod query;
mod range;
mod transaction;
mod typed;

pub use query::{AggregateQueryOf, Query};
pub use range::Range;
pub use transaction::Transaction;
pub use typed::TypedTable;

use crate::client::{no_table, numbered, row_of, split_name, sum_of, unexpected};
use crate::input::Input;
use crate::network::{BlockingStream, connect_blocking, is_deaf};
use crate::{
    Assignment, Batch, ClientBuilder, ClusterStatus, Column, Error, ErrorCode, Expectation, Key, Outcome,
    Reply, Result, Row, RowValues, RowVersion, RowView, Table, TableDefinition, TransactionId, Value,
    Written,
};
use duet_client_core::{
    ClientCore, CloseReason, Command, JobId, JobResult, LinkId, MAX_BATCH_OPERATIONS, Nanoseconds, Target,
};
use duet_protocol::schema::IndexKind;
use duet_protocol::value::ValueRef;
use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Longest wait in one system call; timers are looked after in between.
const TURN: Duration = Duration::from_millis(10);
/// Time within which a connection must be opened.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Connections being opened at once; more wait their turn.
const CONNECTS: usize = 64;
/// Rows and bytes of a page of a scan.
const PAGE_ROWS: u32 = 1_024;
const PAGE_BYTES: u32 = 256 << 10;

struct Socket {
    link: LinkId,
    stream: BlockingStream,
    input: Input,
    pending: Vec<u8>,
    broken: bool,
    /// The other side takes nothing any more; what it has sent is read to its end.
    deaf: bool,
}

/// A blocking client of a cluster, for one thread.
pub struct Client {
    core: ClientCore,
    started: Instant,
    sockets: Vec<Socket>,
    /// The socket to read from first.
    turn: usize,
    next_generation: u32,
    connected: Receiver<(Target, std::io::Result<BlockingStream>)>,
    connecting: SyncSender<(Target, std::io::Result<BlockingStream>)>,
    connects: usize,
    /// Used for single operations.
    batch: Option<Box<Batch>>,
    finished: Vec<(JobId, Result<JobResult>)>,
    /// Time for an operation.
    timeout: Duration,
}

impl Client {
    /// Connects to the cluster that the nodes at these addresses belong to; see [`crate::Client::connect`].
    ///
    /// # Errors
    /// See [`crate::ClientBuilder::connect`].
    pub fn connect(addresses: &str) -> Result<Client> {
        Client::with(crate::Client::builder(addresses))
    }

    /// Connects with settings of its own.
    ///
    /// # Errors
    /// See [`crate::ClientBuilder::connect`].
    pub fn with(builder: ClientBuilder) -> Result<Client> {
        let (connecting, connected) = sync_channel(CONNECTS);
        let configuration = builder.configuration()?;
        let timeout = Duration::from_nanos(configuration.timeout);
        let mut client = Client {
            timeout,
            core: ClientCore::new(configuration, 0),
            started: Instant::now(),
            sockets: Vec::new(),
            turn: 0,
            next_generation: 0,
            connected,
            connecting,
            connects: 0,
            batch: None,
            finished: Vec::new(),
        };
        client.refresh()?;
        Ok(client)
    }

    fn now(&self) -> Nanoseconds {
        self.started.elapsed().as_nanos() as Nanoseconds
    }

    /// Executes a batch; afterwards it holds the result of each operation. It may be cleared and used again.
    pub fn execute(&mut self, batch: &mut Batch) {
        let mut boxed = self.batch.take().unwrap_or_default();
        std::mem::swap(&mut *boxed, batch);
        let mut done = self.execute_boxed(boxed);
        std::mem::swap(&mut *done, batch);
        self.batch = Some(done);
    }

    fn execute_boxed(&mut self, batch: Box<Batch>) -> Box<Batch> {
        let mut now = self.now();
        self.core.tick(now);
        self.core.submit(now, batch);
        loop {
            // There is never more than one batch under way.
            if let Some(done) = self.core.next_completed() {
                return done;
            }
            now = self.work(now);
        }
    }

    /// Sends what there is to send, waits for something to arrive, and lets time pass. Returns the time afterwards.
    fn work(&mut self, now: Nanoseconds) -> Nanoseconds {
        self.core.flush(now);
        self.write(now);
        self.obey(now);
        let reading = (0..self.sockets.len())
            .map(|offset| (self.turn + offset) % self.sockets.len())
            .find(|index| self.core.awaits(self.sockets[*index].link));
        match reading {
            Some(index) => {
                self.turn = index + 1;
                self.read(index);
            }
            None => self.wait(now),
        }
        let now = self.now();
        if self.connects > 0 {
            while let Ok((target, connected)) = self.connected.try_recv() {
                self.attach(now, target, connected);
            }
        }
        if self.core.next_timer(now).is_some_and(|due| due <= now) {
            self.core.tick(now);
        }
        now
    }

    /// Nothing is awaited from any socket: waits for a connection or for time to pass.
    fn wait(&mut self, now: Nanoseconds) {
        let due = self.core.next_timer(now).unwrap_or(Nanoseconds::MAX);
        let turn = Duration::from_nanos(due.saturating_sub(now)).min(TURN);
        if turn.is_zero() {
            return;
        }
        if let Ok((target, connected)) = self.connected.recv_timeout(turn) {
            let now = self.now();
            self.attach(now, target, connected);
        }
    }

    fn attach(&mut self, now: Nanoseconds, target: Target, connected: std::io::Result<BlockingStream>) {
        self.connects -= 1;
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) => {
                return self.core.connect_failed_because(now, target, crate::address::reason(&error));
            }
        };
        self.next_generation = self.next_generation.wrapping_add(1);
        let used = |slot: u32| self.sockets.iter().any(|socket| socket.link.slot == slot);
        let slot = (0..).find(|slot| !used(*slot)).unwrap_or_default();
        let link = LinkId { slot, generation: self.next_generation };
        self.sockets.push(Socket {
            link,
            stream,
            input: Input::new(),
            pending: Vec::new(),
            broken: false,
            deaf: false,
        });
        self.core.link_connected(now, link, target);
    }

    fn write(&mut self, now: Nanoseconds) {
        let sockets = &mut self.sockets;
        self.core.drain_output(|link, bytes| {
            let Some(socket) = sockets.iter_mut().find(|socket| socket.link == link) else { return };
            let rest = if socket.pending.is_empty() { write_some(socket, bytes) } else { bytes };
            socket.pending.extend_from_slice(rest);
        });
        let mut any_broken = false;
        for socket in &mut self.sockets {
            if !socket.pending.is_empty() && !socket.broken {
                let pending = std::mem::take(&mut socket.pending);
                let rest = write_some(socket, &pending).len();
                socket.pending = pending;
                socket.pending.drain(..socket.pending.len() - rest);
            }
            if socket.broken {
                any_broken = true;
                self.core.link_closed(now, socket.link, CloseReason::Local);
            }
        }
        if any_broken {
            self.sockets.retain(|socket| !socket.broken);
        }
    }

    fn read(&mut self, index: usize) {
        let socket = &mut self.sockets[index];
        let received = socket.stream.read(socket.input.room());
        let now = self.started.elapsed().as_nanos() as Nanoseconds;
        match received {
            Ok(length) if length > 0 => {
                socket.broken |= !socket.input.received(length, now, socket.link, &mut self.core);
            }
            Err(error) if is_no_error(error.kind()) => {}
            Ok(_) | Err(_) => {
                self.core.link_closed(now, socket.link, CloseReason::ByPeer);
                socket.broken = true;
            }
        }
        if self.sockets[index].broken {
            self.sockets.remove(index);
        }
    }

    fn obey(&mut self, now: Nanoseconds) {
        while let Some(command) = self.core.next_command() {
            match command {
                Command::Close { link } => self.sockets.retain(|socket| socket.link != link),
                Command::Connect { target, .. } if self.connects >= CONNECTS => {
                    self.core.connect_failed(now, target);
                }
                Command::Connect { target, address } => {
                    let connecting = self.connecting.clone();
                    self.connects += 1;
                    // A node that does not answer must not hold up the others.
                    let spawned =
                        std::thread::Builder::new().name("duet-connect".to_owned()).spawn(move || {
                            // The client may be gone by then.
                            let _ =
                                connecting.send((target, connect_blocking(&address, CONNECT_WITHIN, TURN)));
                        });
                    if spawned.is_err() {
                        self.connects -= 1;
                        self.core.connect_failed(now, target);
                    }
                }
            }
        }
    }

    fn job(&mut self, job: JobId) -> Result<JobResult> {
        let mut now = self.now();
        loop {
            while let Some(finished) = self.core.next_finished_job() {
                self.finished.push(finished);
            }
            if let Some(index) = self.finished.iter().position(|(id, _)| *id == job) {
                return self.finished.swap_remove(index).1;
            }
            now = self.work(now);
        }
    }

    fn refresh(&mut self) -> Result<()> {
        let job = self.core.refresh(self.now(), 0);
        self.job(job).map(|_| ())
    }

    fn single<T>(
        &mut self,
        build: impl FnOnce(&mut Batch) -> Result<usize>,
        read: impl FnOnce(&Batch) -> Result<T>,
    ) -> Result<T> {
        let mut batch = self.batch.take().unwrap_or_default();
        batch.clear();
        let built = build(&mut batch);
        if let Err(error) = built {
            self.batch = Some(batch);
            return Err(error);
        }
        let done = self.execute_boxed(batch);
        let result = read(&done);
        self.batch = Some(done);
        result
    }

    /// Reads a row; see [`crate::Client::get`].
    ///
    /// # Errors
    /// When the key does not fit the table, or no node could answer in time.
    pub fn get(&mut self, table: &Table, key: impl Key) -> Result<Option<Row>> {
        self.single(|batch| batch.read(table, &key), |batch| row_of(table, batch, 0))
    }

    /// Reads a row without copying it; see [`crate::Client::get_with`].
    ///
    /// # Errors
    /// When the key does not fit the table, or no node could answer in time.
    pub fn get_with<T>(
        &mut self,
        table: &Table,
        key: impl Key,
        read: impl FnOnce(Option<RowView<'_>>) -> T,
    ) -> Result<T> {
        self.single(|batch| batch.read(table, &key), |batch| Ok(read(batch.row(0)?)))
    }

    /// Reads many rows at once, in the order of their keys.
    ///
    /// # Errors
    /// The first error; use a [`Batch`] to have one per key.
    pub fn get_many<K: Key>(
        &mut self,
        table: &Table,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Row>>> {
        let mut rows = Vec::new();
        self.read_each(table, keys, |batch, index| {
            rows.push(row_of(table, batch, index)?);
            Ok(())
        })?;
        Ok(rows)
    }

    /// Reads rows in as many batches as needed; `each` gets the place of every answer, in the order of the keys.
    fn read_each<K: Key>(
        &mut self,
        table: &Table,
        keys: impl IntoIterator<Item = K>,
        mut each: impl FnMut(&Batch, usize) -> Result<()>,
    ) -> Result<()> {
        let mut keys = keys.into_iter().peekable();
        let mut batch = Batch::new();
        while keys.peek().is_some() {
            batch.clear();
            for key in keys.by_ref().take(MAX_BATCH_OPERATIONS) {
                batch.read(table, &key)?;
            }
            self.execute(&mut batch);
            for index in 0..batch.len() {
                each(&batch, index)?;
            }
        }
        Ok(())
    }

    /// Inserts a row; see [`crate::Client::insert`].
    ///
    /// # Errors
    /// When the values do not fit the table, or the row could not be written.
    pub fn insert(&mut self, table: &Table, row: impl RowValues) -> Result<Written> {
        let values = row.row_values(table)?;
        self.single(|batch| batch.insert(table, &values), |batch| batch.written(0))
    }

    /// Inserts or replaces a row; see [`crate::Client::upsert`].
    ///
    /// # Errors
    /// When the values do not fit the table, or the row could not be written.
    pub fn upsert(&mut self, table: &Table, row: impl RowValues) -> Result<Written> {
        let values = row.row_values(table)?;
        self.single(|batch| batch.upsert(table, &values, Expectation::Any), |batch| batch.written(0))
    }

    /// Updates columns of a row; see [`crate::Client::update`].
    ///
    /// # Errors
    /// When key or assignments do not fit the table, or the row could not be written.
    pub fn update(
        &mut self,
        table: &Table,
        key: impl Key,
        assignments: &[(&str, Assignment<'_>)],
    ) -> Result<Written> {
        self.update_expecting(table, key, Expectation::Any, assignments)
    }

    /// Updates columns of a row if it still has that version; see [`crate::Client::update_if_version`].
    ///
    /// # Errors
    /// When key or assignments do not fit the table, or the row could not be written.
    pub fn update_if_version(
        &mut self,
        table: &Table,
        key: impl Key,
        version: RowVersion,
        assignments: &[(&str, Assignment<'_>)],
    ) -> Result<Written> {
        self.update_expecting(table, key, Expectation::Version(version), assignments)
    }

    fn update_expecting(
        &mut self,
        table: &Table,
        key: impl Key,
        expectation: Expectation,
        assignments: &[(&str, Assignment<'_>)],
    ) -> Result<Written> {
        let numbered = numbered(table, assignments)?;
        self.single(|batch| batch.update(table, &key, &numbered, expectation), |batch| batch.written(0))
    }

    /// Adds to a number and returns the sum; see [`crate::Client::increment`].
    ///
    /// # Errors
    /// When the key does not fit the table, the column holds no numbers, or the row could not be written.
    pub fn increment(&mut self, table: &Table, key: impl Key, column: &str, by: i64) -> Result<Value> {
        let column = table.column(column)?;
        let add = [(column, Assignment::Add(ValueRef::Int(by)))];
        let written =
            self.single(|batch| batch.update(table, &key, &add, Expectation::Any), |batch| batch.written(0))?;
        sum_of(table, column, &written)
    }

    /// Deletes a row; see [`crate::Client::delete`].
    ///
    /// # Errors
    /// When the key does not fit the table, or the row could not be deleted.
    pub fn delete(&mut self, table: &Table, key: impl Key) -> Result<Written> {
        self.single(|batch| batch.delete(table, &key, Expectation::Any), |batch| batch.written(0))
    }

    /// Hands every row of a table to `read`, in no particular order. [`Client::query`] filters, selects and aggregates.
    ///
    /// # Errors
    /// When a page cannot be read in time, or what `read` returns.
    pub fn scan(
        &mut self,
        table: &Table,
        mut read: impl FnMut(RowVersion, RowView<'_>) -> Result<()>,
    ) -> Result<()> {
        self.pages(table, None, &[], PAGE_ROWS, |page| {
            for row in page.rows() {
                let (version, row) = row?;
                read(version, row)?;
            }
            Ok(true)
        })
    }

    /// Tells what became of a write; see [`crate::Client::resolve`].
    ///
    /// # Errors
    /// `InvalidTransaction` when the write is not one of this client's; `OutcomeExpired` when nobody can tell any more.
    pub fn resolve(&mut self, transaction: TransactionId) -> Result<Outcome> {
        self.single(
            |batch| batch.resolve(transaction),
            |batch| match batch.reply(0)? {
                Reply::Resolved(outcome) => Ok(outcome),
                Reply::Row { .. } | Reply::NoRow | Reply::Written(_) | Reply::Page(_) | Reply::Ended(_) => {
                    Err(unexpected())
                }
            },
        )
    }

    /// Creates a table; see [`crate::Client::create_table`].
    ///
    /// # Errors
    /// `TableExists`; the codes of an invalid definition; or no leading management node could be reached in time.
    pub fn create_table(&mut self, definition: &TableDefinition) -> Result<Table> {
        let job = self.core.create_table(self.now(), 0, definition);
        self.job(job)?;
        self.core
            .table(&definition.database, &definition.name)
            .ok_or_else(|| Error::new(ErrorCode::TableNotFound, &definition.name))
    }

    /// Adds a column to a table; see [`crate::Client::add_column`].
    ///
    /// # Errors
    /// The codes of a column that cannot be added; `TableNotFound`; or no leading management node could be reached in time.
    pub fn add_column(&mut self, table: &Table, column: &Column) -> Result<Table> {
        let column = column.clone().added_at(|| crate::clock::Clock::default().now());
        let job = self.core.add_column(self.now(), 0, table, &column);
        self.job(job)?;
        self.changed_table(table)
    }

    /// Creates an index; see [`crate::Client::create_index`].
    ///
    /// # Errors
    /// As there.
    pub fn create_index(
        &mut self,
        table: &Table,
        name: &str,
        kind: IndexKind,
        columns: &[&str],
        within: Duration,
    ) -> Result<Table> {
        let timeout = Nanoseconds::try_from(within.as_nanos()).unwrap_or(Nanoseconds::MAX);
        let job = self.core.create_index(self.now(), timeout.max(1), table, name, kind, columns);
        self.job(job)?;
        self.changed_table(table)
    }

    /// Drops an index; see [`crate::Client::drop_index`].
    ///
    /// # Errors
    /// As there.
    pub fn drop_index(&mut self, table: &Table, name: &str) -> Result<Table> {
        let job = self.core.drop_index(self.now(), 0, table, name);
        self.job(job)?;
        self.changed_table(table)
    }

    /// The newest form of a table.
    fn changed_table(&self, table: &Table) -> Result<Table> {
        self.core
            .table(table.database(), table.name())
            .ok_or_else(|| Error::new(ErrorCode::TableNotFound, table.name()))
    }

    /// Drops a table; see [`crate::Client::drop_table`].
    ///
    /// # Errors
    /// `TableNotFound`; or no leading management node could be reached in time.
    pub fn drop_table(&mut self, name: &str) -> Result<()> {
        let (database, name) = split_name(name);
        let job = self.core.drop_table(self.now(), 0, database, name);
        self.job(job).map(|_| ())
    }

    /// The table of this name; see [`crate::Client::table`].
    ///
    /// # Errors
    /// `TableNotFound`, after the newest map was fetched.
    pub fn table(&mut self, name: &str) -> Result<Table> {
        let (database, table) = split_name(name);
        if let Some(table) = self.core.table(database, table) {
            return Ok(table);
        }
        self.refresh()?;
        self.core.table(database, table).ok_or_else(|| no_table(name))
    }

    /// The open tables, after the newest map was fetched.
    ///
    /// # Errors
    /// When no node answers in time.
    pub fn tables(&mut self) -> Result<Vec<Table>> {
        self.refresh()?;
        Ok(self.core.tables().to_vec())
    }

    /// How the cluster is, as a management node sees it.
    ///
    /// # Errors
    /// When no management node answers in time.
    pub fn status(&mut self) -> Result<ClusterStatus> {
        let job = self.core.fetch_status(self.now(), 0);
        match self.job(job)? {
            JobResult::Status(status) => Ok(*status),
            JobResult::Created { .. }
            | JobResult::Changed
            | JobResult::Dropped
            | JobResult::Users(_)
            | JobResult::Refreshed => Err(unexpected()),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("links", &self.sockets.len()).finish_non_exhaustive()
    }
}

/// Whether a read or write only took too long.
fn is_no_error(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Writes until the system takes no more for a turn; returns what is left.
fn write_some<'b>(socket: &mut Socket, bytes: &'b [u8]) -> &'b [u8] {
    let mut rest = bytes;
    while !rest.is_empty() && !socket.deaf {
        match socket.stream.write(rest) {
            Ok(written) if written > 0 => rest = &rest[written..],
            Err(error) if is_no_error(error.kind()) => return rest,
            Err(error) if is_deaf(&error) => socket.deaf = true,
            Ok(_) | Err(_) => {
                socket.broken = true;
                return &[];
            }
        }
    }
    &[]
}
