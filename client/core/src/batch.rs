//! A batch of operations: the requests, and later their results, in buffers that are used again.

use crate::interface::Nanoseconds;
use crate::key::Key;
use crate::outcome::Outcome;
use crate::scan::Page;
use crate::transaction::{Ending, TransactionHandle};
use crate::{Error, Table};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::{RowVersion, TransactionId};
use duet_protocol::row::RowView;
use duet_protocol::schema::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use duet_protocol::update::{Assignment, encode_update};
use duet_protocol::value::AsValue;
use std::sync::Arc;

/// Most operations of a batch.
pub const MAX_BATCH_OPERATIONS: usize = 16_384;
/// Most bytes of keys and values of a batch.
pub const MAX_BATCH_BYTES: usize = 64 << 20;
/// Most tables that one batch may name.
const MAX_BATCH_TABLES: usize = 4_096;
/// Bytes of an error's detail that are kept.
pub(crate) const MAX_DETAIL_BYTES: usize = 256;

/// Which version the row must have for a write to happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expectation {
    /// Any.
    #[default]
    Any,
    /// Exactly this one (compare-and-set).
    Version(RowVersion),
}

/// How a transaction locks a row that it reads, until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Others may read it locked so too, nobody may change it.
    Shared,
    /// Nobody else may lock or change it.
    Exclusive,
}

/// The next rows of a fragment to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanRequest {
    /// Partition.
    pub partition: u16,
    /// 0 at the start, then the cursor of the last page.
    pub cursor: u64,
    /// Most rows wanted.
    pub max_rows: u32,
    /// Most bytes wanted; at least one row comes.
    pub max_bytes: u32,
}

/// A write that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its transaction id.
    pub transaction: TransactionId,
    /// The new row version.
    pub version: RowVersion,
    /// New value of the first incremented column, as in a value image; see
    /// [`duet_protocol::update::update_result_value`] and [`Written::differs`].
    pub result: [u8; 16],
    /// Used bytes of `result`.
    pub result_bytes: u8,
    /// Whether the answer came from the outcome record of an earlier try.
    pub replayed: bool,
    /// In a transaction: it did nothing, because the row was missing or existed, and was told to accept that. The version is
    /// that of the committed row before the transaction.
    pub ignored: bool,
}

impl Written {
    /// The used bytes of the result.
    pub fn result(&self) -> &[u8] {
        &self.result[..usize::from(self.result_bytes).min(16)]
    }

    /// Whether an update without increments made its row another one than it was; `None` for all other writes.
    pub fn differs(&self) -> Option<bool> {
        duet_protocol::update::update_result_differs(self.result())
    }
}

/// What came of an operation that did not fail.
#[derive(Clone, Copy, Debug)]
pub enum Reply<'a> {
    /// Read: the row.
    Row {
        /// Its version.
        version: RowVersion,
        /// Its columns.
        row: RowView<'a>,
    },
    /// Read: there is no such row.
    NoRow,
    /// Write.
    Written(Written),
    /// Scan.
    Page(Page<'a>),
    /// Resolve.
    Resolved(Outcome),
    /// Commit or roll-back.
    Ended(Ending),
}

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Insert,
    Update,
    Upsert,
    Delete,
    Scan,
    ScanRange,
    Resolve,
    ReadShared,
    ReadExclusive,
    Commit,
    Rollback,
}

impl Kind {
    pub(crate) fn is_write(self) -> bool {
        match self {
            Kind::Insert | Kind::Update | Kind::Upsert | Kind::Delete => true,
            Kind::Read
            | Kind::Scan
            | Kind::ScanRange
            | Kind::Resolve
            | Kind::ReadShared
            | Kind::ReadExclusive
            | Kind::Commit
            | Kind::Rollback => false,
        }
    }

    pub(crate) fn is_read(self) -> bool {
        matches!(self, Kind::Read | Kind::ReadShared | Kind::ReadExclusive)
    }

    /// Whether it is about one row.
    pub(crate) fn has_row(self) -> bool {
        self.is_write() || self.is_read()
    }

    /// Whether it means nothing outside of a transaction.
    pub(crate) fn needs_transaction(self) -> bool {
        matches!(self, Kind::ReadShared | Kind::ReadExclusive | Kind::Commit | Kind::Rollback)
    }
}

/// Where an operation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In a queue: no request is under way.
    Waiting,
    /// A request is under way.
    InFlight,
    /// Its result is there.
    Done,
}

/// The expected version is to be checked.
pub(crate) const FLAG_EXPECT: u8 = 1;
/// An earlier try may have happened or may still happen.
pub(crate) const FLAG_IN_DOUBT: u8 = 2;
/// Refused while in doubt: the id is being fenced before the refusal is told.
pub(crate) const FLAG_FENCING: u8 = 4;
/// Write: replayed. Scan: complete.
pub(crate) const FLAG_RESULT: u8 = 8;
/// Resolve, commit: committed.
pub(crate) const FLAG_COMMITTED: u8 = 16;
/// In a transaction: the operation may do nothing, where it would otherwise fail for a missing or existing row.
pub(crate) const FLAG_IGNORE: u8 = 32;

/// An operation: request, progress and result.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) kind: Kind,
    pub(crate) state: State,
    pub(crate) attempt: u8,
    pub(crate) flags: u8,
    pub(crate) table: u16,
    pub(crate) key_bytes: u16,
    pub(crate) endpoint: u16,
    /// Last error, also of a try that is followed by another; 0 is success.
    pub(crate) code: u16,
    pub(crate) bytes_start: u32,
    pub(crate) payload_bytes: u32,
    /// Hash of the partition key; of a scan the partition, and of a range more, see [`Batch::scan_range`].
    pub(crate) hash: u64,
    /// Expected version; of a scan cursor and, in `seq`, rows and bytes.
    pub(crate) expected: RowVersion,
    /// Given when a write is first sent; what a resolve asks for.
    pub(crate) transaction: TransactionId,
    pub(crate) node: u32,
    pub(crate) tries: u16,
    /// What a write was refused with while in doubt, kept until its id is fenced.
    pub(crate) refusal: u16,
    pub(crate) result_bytes: u8,
    pub(crate) reply_start: u32,
    pub(crate) reply_bytes: u32,
    /// Version of the row read or written; of a scan the next cursor, or the bytes of the key reached, and the row count.
    pub(crate) version: RowVersion,
    pub(crate) result: [u8; 16],
}

/// Operations on any tables with their results. Build it, submit it, read the results, clear it, use it again.
///
/// Nothing is promised about the order in which the operations of a batch are executed.
#[derive(Debug, Default)]
pub struct Batch {
    /// Whatever the driver wants to find again.
    pub tag: u64,
    /// Time after which its operations end; 0 for the client's usual time.
    pub timeout: Nanoseconds,
    /// The transaction that its operations belong to. Those on one row are executed in order; none is tried again by itself.
    pub transaction: Option<TransactionHandle>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) replies: Vec<u8>,
    pub(crate) tables: Vec<Arc<Table>>,
    pub(crate) deadline: Nanoseconds,
    pub(crate) remaining: u32,
    /// Value image of the row that is being encoded.
    scratch: Vec<u8>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether it has no operation.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Forgets operations and results, keeping the memory.
    pub fn clear(&mut self) {
        self.operations.clear();
        self.bytes.clear();
        self.replies.clear();
        self.tables.clear();
        self.transaction = None;
    }

    /// Bytes of memory that its buffers hold.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.replies.capacity() + self.operations.capacity() * size_of::<Operation>()
    }

    fn table_index(&mut self, table: &Arc<Table>) -> Result<u16, Error> {
        if let Some(last) = self.tables.last()
            && Arc::ptr_eq(last, table)
        {
            return Ok((self.tables.len() - 1) as u16);
        }
        if let Some(index) = self.tables.iter().position(|known| Arc::ptr_eq(known, table)) {
            return Ok(index as u16);
        }
        if self.tables.len() >= MAX_BATCH_TABLES {
            return Err(Error::new(ErrorCode::InvalidRequest, "the batch names too many tables"));
        }
        self.tables.push(Arc::clone(table));
        Ok((self.tables.len() - 1) as u16)
    }

    fn check_room(&self) -> Result<(), Error> {
        if self.operations.len() >= MAX_BATCH_OPERATIONS {
            let detail = format!("a batch has at most {MAX_BATCH_OPERATIONS} operations");
            return Err(Error::new(ErrorCode::InvalidRequest, &detail));
        }
        if self.bytes.len() > MAX_BATCH_BYTES {
            let detail = format!("a batch has at most {MAX_BATCH_BYTES} bytes of keys and values");
            return Err(Error::new(ErrorCode::InvalidRequest, &detail));
        }
        Ok(())
    }

    /// Adds the operation whose key and payload `encode` appends to the bytes; it returns the length of the key.
    pub(crate) fn add(
        &mut self,
        kind: Kind,
        table: &Arc<Table>,
        expectation: Expectation,
        encode: impl FnOnce(&Table, &mut Vec<u8>) -> Result<usize, Error>,
    ) -> Result<usize, Error> {
        self.check_room()?;
        let table_index = self.table_index(table)?;
        let start = self.bytes.len();
        let key_bytes = match encode(table, &mut self.bytes) {
            Ok(key_bytes) => key_bytes,
            Err(error) => {
                self.bytes.truncate(start);
                return Err(error);
            }
        };
        let payload_bytes = self.bytes.len() - start - key_bytes;
        if key_bytes > MAX_KEY_BYTES || payload_bytes > MAX_VALUE_BYTES {
            self.bytes.truncate(start);
            return Err(Error::new(ErrorCode::RowTooLarge, ""));
        }
        let hash = table.layout().partition_hash(&self.bytes[start..start + key_bytes]);
        let (flags, expected) = match expectation {
            Expectation::Any => (0, RowVersion::default()),
            Expectation::Version(version) => (FLAG_EXPECT, version),
        };
        self.operations.push(Operation {
            kind,
            state: State::Waiting,
            attempt: 0,
            flags,
            table: table_index,
            key_bytes: key_bytes as u16,
            endpoint: u16::MAX,
            code: 0,
            bytes_start: start as u32,
            payload_bytes: payload_bytes as u32,
            hash,
            expected,
            transaction: TransactionId::default(),
            node: 0,
            tries: 0,
            refusal: 0,
            result_bytes: 0,
            reply_start: 0,
            reply_bytes: 0,
            version: RowVersion::default(),
            result: [0; 16],
        });
        Ok(self.operations.len() - 1)
    }

    /// Reads the row of an encoded key. Returns the number of the operation.
    ///
    /// # Errors
    /// When the key is not one of the table, or the batch is full; then nothing is added.
    pub fn read_key(&mut self, table: &Arc<Table>, key: &[u8]) -> Result<usize, Error> {
        self.add(Kind::Read, table, Expectation::Any, |table, bytes| append_key(table, key, bytes))
    }

    /// Reads the row of a key. Returns the number of the operation.
    ///
    /// # Errors
    /// When the values are not a key of the table, or the batch is full; then nothing is added.
    pub fn read<K: Key + ?Sized>(&mut self, table: &Arc<Table>, key: &K) -> Result<usize, Error> {
        self.add(Kind::Read, table, Expectation::Any, |table, bytes| encode_key(table, key, bytes))
    }

    /// In a transaction: reads the row of a key and locks it, also when there is no row. Returns the number of the operation.
    ///
    /// # Errors
    /// When the values are not a key of the table, or the batch is full; then nothing is added.
    pub fn read_locked<K: Key + ?Sized>(
        &mut self,
        table: &Arc<Table>,
        key: &K,
        lock: Lock,
    ) -> Result<usize, Error> {
        let kind = kind_of(lock);
        self.add(kind, table, Expectation::Any, |table, bytes| encode_key(table, key, bytes))
    }

    /// As [`Batch::read_locked`], with an encoded key.
    ///
    /// # Errors
    /// When the key is not one of the table, or the batch is full; then nothing is added.
    pub fn read_key_locked(&mut self, table: &Arc<Table>, key: &[u8], lock: Lock) -> Result<usize, Error> {
        let kind = kind_of(lock);
        self.add(kind, table, Expectation::Any, |table, bytes| append_key(table, key, bytes))
    }

    /// In a transaction: lets an insert do nothing when there is a row, an update or delete when there is none, instead of
    /// ending the transaction.
    pub fn ignore_row(&mut self, index: usize) {
        if let Some(operation) = self.operations.get_mut(index) {
            operation.flags |= FLAG_IGNORE;
        }
    }

    /// Commits the transaction, as the last operation of its last batch. Returns the number of the operation.
    ///
    /// # Errors
    /// When the batch is full; then nothing is added.
    pub fn commit(&mut self) -> Result<usize, Error> {
        self.add_end(Kind::Commit)
    }

    /// Rolls the transaction back. Returns the number of the operation.
    ///
    /// # Errors
    /// When the batch is full; then nothing is added.
    pub fn rollback(&mut self) -> Result<usize, Error> {
        self.add_end(Kind::Rollback)
    }

    fn add_end(&mut self, kind: Kind) -> Result<usize, Error> {
        let index = self.resolve(TransactionId::default())?;
        self.operations[index].kind = kind;
        Ok(index)
    }

    /// Inserts a row given by the values of all columns in table order; no row may have its key.
    ///
    /// # Errors
    /// When the values are not a row of the table, or the batch is full; then nothing is added.
    pub fn insert<V: AsValue>(&mut self, table: &Arc<Table>, values: &[V]) -> Result<usize, Error> {
        let mut image = std::mem::take(&mut self.scratch);
        let added = self.add(Kind::Insert, table, Expectation::Any, |table, bytes| {
            encode_row(table, values, bytes, &mut image)
        });
        self.scratch = image;
        added
    }

    /// Inserts a row or replaces the whole row of its key.
    ///
    /// # Errors
    /// When the values are not a row of the table, or the batch is full; then nothing is added.
    pub fn upsert<V: AsValue>(
        &mut self,
        table: &Arc<Table>,
        values: &[V],
        expectation: Expectation,
    ) -> Result<usize, Error> {
        let mut image = std::mem::take(&mut self.scratch);
        let added = self.add(Kind::Upsert, table, expectation, |table, bytes| {
            encode_row(table, values, bytes, &mut image)
        });
        self.scratch = image;
        added
    }

    /// Updates columns of a row, which must exist.
    ///
    /// # Errors
    /// When key or assignments do not fit the table, or the batch is full; then nothing is added.
    pub fn update<K: Key + ?Sized>(
        &mut self,
        table: &Arc<Table>,
        key: &K,
        assignments: &[(u16, Assignment<'_>)],
        expectation: Expectation,
    ) -> Result<usize, Error> {
        self.add(Kind::Update, table, expectation, |table, bytes| {
            let key_bytes = encode_key(table, key, bytes)?;
            encode_update(table.layout(), assignments, bytes)?;
            Ok(key_bytes)
        })
    }

    /// Deletes a row, which must exist.
    ///
    /// # Errors
    /// When the key does not fit the table, or the batch is full; then nothing is added.
    pub fn delete<K: Key + ?Sized>(
        &mut self,
        table: &Arc<Table>,
        key: &K,
        expectation: Expectation,
    ) -> Result<usize, Error> {
        self.add(Kind::Delete, table, expectation, |table, bytes| encode_key(table, key, bytes))
    }

    /// Inserts a row given as encoded key and value image.
    ///
    /// # Errors
    /// When they do not fit the table, or the batch is full; then nothing is added.
    pub fn insert_image(&mut self, table: &Arc<Table>, key: &[u8], value: &[u8]) -> Result<usize, Error> {
        self.add(Kind::Insert, table, Expectation::Any, |table, bytes| append_row(table, key, value, bytes))
    }

    /// Inserts or replaces a row given as encoded key and value image.
    ///
    /// # Errors
    /// When they do not fit the table, or the batch is full; then nothing is added.
    pub fn upsert_image(
        &mut self,
        table: &Arc<Table>,
        key: &[u8],
        value: &[u8],
        expectation: Expectation,
    ) -> Result<usize, Error> {
        self.add(Kind::Upsert, table, expectation, |table, bytes| append_row(table, key, value, bytes))
    }

    /// Updates a row by a program of [`encode_update`], which the data node checks.
    ///
    /// # Errors
    /// When the key does not fit the table, or the batch is full; then nothing is added.
    pub fn update_program(
        &mut self,
        table: &Arc<Table>,
        key: &[u8],
        program: &[u8],
        expectation: Expectation,
    ) -> Result<usize, Error> {
        self.add(Kind::Update, table, expectation, |table, bytes| {
            let key_bytes = append_key(table, key, bytes)?;
            bytes.extend_from_slice(program);
            Ok(key_bytes)
        })
    }

    /// Deletes the row of an encoded key.
    ///
    /// # Errors
    /// When the key does not fit the table, or the batch is full; then nothing is added.
    pub fn delete_key(
        &mut self,
        table: &Arc<Table>,
        key: &[u8],
        expectation: Expectation,
    ) -> Result<usize, Error> {
        self.add(Kind::Delete, table, expectation, |table, bytes| append_key(table, key, bytes))
    }

    /// Asks what became of a write that ended in `OutcomeUnknown`; it completes when that is known.
    ///
    /// # Errors
    /// When the batch is full; then nothing is added.
    pub fn resolve(&mut self, transaction: TransactionId) -> Result<usize, Error> {
        self.check_room()?;
        self.operations.push(Operation {
            kind: Kind::Resolve,
            state: State::Waiting,
            attempt: 0,
            flags: 0,
            table: 0,
            key_bytes: 0,
            endpoint: u16::MAX,
            code: 0,
            bytes_start: 0,
            payload_bytes: 0,
            hash: 0,
            expected: RowVersion::default(),
            transaction,
            node: 0,
            tries: 0,
            refusal: 0,
            result_bytes: 0,
            reply_start: 0,
            reply_bytes: 0,
            version: RowVersion::default(),
            result: [0; 16],
        });
        Ok(self.operations.len() - 1)
    }

    /// The result of an operation of a completed batch.
    ///
    /// # Errors
    /// What the operation ended with.
    #[inline]
    pub fn reply(&self, index: usize) -> Result<Reply<'_>, Error> {
        let Some(operation) = self.operations.get(index) else {
            return Err(Error::new(ErrorCode::InvalidRequest, "the batch has no such operation"));
        };
        if operation.state != State::Done {
            return Err(Error::new(ErrorCode::InvalidRequest, "the batch is not completed"));
        }
        if operation.code != 0
            && !(operation.kind.is_read() && operation.code == ErrorCode::RowNotFound as u16)
        {
            return Err(self.error(operation));
        }
        let reply = self.reply_bytes(operation);
        Ok(match operation.kind {
            Kind::Read | Kind::ReadShared | Kind::ReadExclusive if operation.code != 0 => Reply::NoRow,
            Kind::Read | Kind::ReadShared | Kind::ReadExclusive => {
                let start = operation.bytes_start as usize;
                let key = &self.bytes[start..start + usize::from(operation.key_bytes)];
                let layout = self.tables[usize::from(operation.table)].layout();
                Reply::Row { version: operation.version, row: RowView::new(layout, key, reply) }
            }
            Kind::Insert | Kind::Update | Kind::Upsert | Kind::Delete => Reply::Written(Written {
                transaction: operation.transaction,
                version: operation.version,
                result: operation.result,
                result_bytes: operation.result_bytes,
                replayed: operation.flags & FLAG_RESULT != 0 && self.transaction.is_none(),
                ignored: operation.flags & FLAG_RESULT != 0 && self.transaction.is_some(),
            }),
            Kind::Scan | Kind::ScanRange => Reply::Page(self.page(operation, reply)),
            Kind::Resolve if operation.flags & FLAG_COMMITTED != 0 => Reply::Resolved(Outcome::Committed {
                version: operation.version,
                result: operation.result,
                result_bytes: operation.result_bytes,
            }),
            Kind::Resolve => Reply::Resolved(Outcome::Aborted),
            Kind::Commit | Kind::Rollback => Reply::Ended(Ending {
                committed: operation.flags & FLAG_COMMITTED != 0,
                epoch: operation.version.epoch,
            }),
        })
    }

    /// The row that a read found.
    ///
    /// # Errors
    /// What the operation ended with; `InvalidRequest` when it is not a read.
    #[inline]
    pub fn row(&self, index: usize) -> Result<Option<RowView<'_>>, Error> {
        match self.reply(index)? {
            Reply::Row { row, .. } => Ok(Some(row)),
            Reply::NoRow => Ok(None),
            Reply::Written(_) | Reply::Page(_) | Reply::Resolved(_) | Reply::Ended(_) => Err(wrong_kind()),
        }
    }

    /// What a write did.
    ///
    /// # Errors
    /// What the operation ended with; `InvalidRequest` when it is not a write.
    #[inline]
    pub fn written(&self, index: usize) -> Result<Written, Error> {
        match self.reply(index)? {
            Reply::Written(written) => Ok(written),
            Reply::Row { .. } | Reply::NoRow | Reply::Page(_) | Reply::Resolved(_) | Reply::Ended(_) => {
                Err(wrong_kind())
            }
        }
    }

    /// How a commit or roll-back ended the transaction.
    ///
    /// # Errors
    /// What the operation ended with; `InvalidRequest` when it is neither.
    pub fn ending(&self, index: usize) -> Result<Ending, Error> {
        match self.reply(index)? {
            Reply::Ended(ending) => Ok(ending),
            Reply::Row { .. } | Reply::NoRow | Reply::Written(_) | Reply::Page(_) | Reply::Resolved(_) => {
                Err(wrong_kind())
            }
        }
    }

    /// Number of operations that ended with an error; a read without row is none.
    pub fn error_count(&self) -> usize {
        let found = |operation: &&Operation| {
            operation.code != 0
                && !(operation.kind.is_read() && operation.code == ErrorCode::RowNotFound as u16)
        };
        self.operations.iter().filter(found).count()
    }

    fn reply_bytes(&self, operation: &Operation) -> &[u8] {
        let start = operation.reply_start as usize;
        &self.replies[start..start + operation.reply_bytes as usize]
    }

    fn error(&self, operation: &Operation) -> Error {
        let detail = String::from_utf8_lossy(self.reply_bytes(operation));
        Error::from_number(operation.code, &detail).at(operation.node).of(operation.transaction)
    }

    /// Makes every operation a new one, with no result.
    pub(crate) fn restart(&mut self, deadline: Nanoseconds) {
        self.deadline = deadline;
        self.remaining = self.operations.len() as u32;
        self.replies.clear();
        for operation in &mut self.operations {
            operation.state = State::Waiting;
            operation.flags &= FLAG_EXPECT | FLAG_IGNORE;
            (operation.code, operation.node, operation.tries) = (0, 0, 0);
            (operation.reply_start, operation.reply_bytes) = (0, 0);
            if operation.kind != Kind::Resolve {
                operation.transaction = TransactionId::default();
            }
        }
    }

    /// Keeps bytes of an answer as the operation's reply.
    #[inline]
    pub(crate) fn keep_reply(&mut self, index: usize, bytes: &[u8]) {
        let operation = &mut self.operations[index];
        operation.reply_start = self.replies.len() as u32;
        operation.reply_bytes = bytes.len() as u32;
        self.replies.extend_from_slice(bytes);
    }

    /// Keeps more of the answer that was kept last.
    pub(crate) fn extend_reply(&mut self, index: usize, bytes: &[u8]) {
        self.operations[index].reply_bytes += bytes.len() as u32;
        self.replies.extend_from_slice(bytes);
    }

    /// The transaction that changed something has committed: operations whose answers did not come must not be tried again.
    pub(crate) fn lose_answers(&mut self) {
        for index in 0..self.operations.len() {
            let Operation { code, node, .. } = self.operations[index];
            if code != 0 && ErrorCode::from_number(code).is_some_and(ErrorCode::is_retryable) {
                self.keep_error(index, ErrorCode::AnswerLost as u16, node, b"");
            }
        }
    }

    /// Keeps an error; the detail of an earlier try is overwritten where it fits.
    pub(crate) fn keep_error(&mut self, index: usize, code: u16, node: u32, detail: &[u8]) {
        let detail = &detail[..detail.len().min(MAX_DETAIL_BYTES)];
        let operation = &mut self.operations[index];
        operation.code = code;
        operation.node = node;
        if detail.len() <= operation.reply_bytes as usize {
            let start = operation.reply_start as usize;
            self.replies[start..start + detail.len()].copy_from_slice(detail);
            operation.reply_bytes = detail.len() as u32;
        } else {
            self.keep_reply(index, detail);
        }
    }
}

fn kind_of(lock: Lock) -> Kind {
    match lock {
        Lock::Shared => Kind::ReadShared,
        Lock::Exclusive => Kind::ReadExclusive,
    }
}

fn wrong_kind() -> Error {
    Error::new(ErrorCode::InvalidRequest, "the operation is of another kind")
}

fn encode_key<K: Key + ?Sized>(table: &Table, key: &K, bytes: &mut Vec<u8>) -> Result<usize, Error> {
    let start = bytes.len();
    key.append_to(table.layout(), bytes)?;
    Ok(bytes.len() - start)
}

/// Encodes key and value image one behind the other, the latter by way of `image`.
fn encode_row<V: AsValue>(
    table: &Table,
    values: &[V],
    bytes: &mut Vec<u8>,
    image: &mut Vec<u8>,
) -> Result<usize, Error> {
    let start = bytes.len();
    image.clear();
    table.layout().encode_row(values, bytes, image)?;
    let key_bytes = bytes.len() - start;
    bytes.extend_from_slice(image);
    Ok(key_bytes)
}

fn append_key(table: &Table, key: &[u8], bytes: &mut Vec<u8>) -> Result<usize, Error> {
    table.layout().validate_key(key)?;
    bytes.extend_from_slice(key);
    Ok(key.len())
}

fn append_row(table: &Table, key: &[u8], value: &[u8], bytes: &mut Vec<u8>) -> Result<usize, Error> {
    table.layout().validate_value(value)?;
    let key_bytes = append_key(table, key, bytes)?;
    bytes.extend_from_slice(value);
    Ok(key_bytes)
}
