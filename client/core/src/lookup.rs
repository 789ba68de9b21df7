//! Look-ups by unique indexes (PROTOCOL.md §1, counterexample 34).
//!
//! An entry and its row are exposed one after the other when their transaction commits, at nodes of their own, so an
//! entry that was read alone proves nothing. A look-up reads the entry without a lock, then the row that it names, and
//! believes the row only if that has the key. When it has not, or is not there, both are read once more; then both with
//! shared locks, which wait for whoever is changing them, and what is read so is believed. Where there is no entry at all,
//! reading it once more would mostly find none again, so it is locked at once: that waits for an insert that is being
//! exposed.

use crate::Error;
use crate::batch::{Batch, Lock, MAX_BATCH_OPERATIONS, Reply};
use crate::key::Key;
use crate::table::{Table, UniqueIndex};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::RowVersion;
use duet_protocol::row::RowView;
use std::ops::Range;
use std::sync::Arc;

/// Planted bugs of the simulator's tests (counterexample 34): an entry is believed without a look at the row's values; an
/// entry whose row does not fit is believed to be none, without another try.
const BELIEVES_ENTRIES: u32 = 16;
const NEVER_TRIES_AGAIN: u32 = 17;

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupStep {
    /// Execute the batch by itself, or in the caller's transaction.
    Execute,
    /// Execute the batch in a transaction, which is the caller's, or one that is begun for this and the further steps and
    /// forgotten afterwards. When it fails with a retryable error, call [`Lookup::lock_again`] and begin another.
    ExecuteLocked,
    /// All rows are found, or known to be missing.
    Done,
}

/// How entries and rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Round {
    First,
    Second,
    Locked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Entries,
    Rows,
}

#[derive(Debug)]
struct Wanted {
    key: Range<usize>,
    /// The round from which on the entry is read, if it is not settled.
    from: Round,
    /// The primary key that the entry names.
    row_key: Option<Range<usize>>,
    settled: bool,
    /// Version, key and value image.
    row: Option<(RowVersion, Range<usize>, Range<usize>)>,
}

/// A look-up of one or more keys in a unique index. Call [`Lookup::next`], execute the batch, hand it to
/// [`Lookup::take`], and so on until it is done.
#[derive(Debug)]
pub struct Lookup {
    table: Arc<Table>,
    index: Arc<UniqueIndex>,
    entries: Arc<Table>,
    /// In a transaction of the caller, how rows are locked.
    lock: Option<Lock>,
    wanted: Vec<Wanted>,
    bytes: Vec<u8>,
    round: Round,
    reading: Reading,
    /// Which of the wanted each operation of the batch is for.
    asked: Vec<usize>,
    scratch: [Vec<u8>; 2],
    /// Planted bug of the simulator's tests, 0 for none.
    pub planted_bug: u32,
}

impl Lookup {
    /// A look-up in the index of this name. With `lock` rows are read locked so; then its steps belong into a transaction of
    /// the caller, where the locks stay until its end.
    ///
    /// # Errors
    /// `IndexNotFound` when the handle of the table knows no such unique index; `IndexNotReady` while it is being built.
    pub fn new(table: &Arc<Table>, index: &str, lock: Option<Lock>) -> Result<Lookup, Error> {
        let (index, entries) = table.unique_index(index)?;
        Ok(Lookup {
            table: Arc::clone(table),
            index,
            entries,
            lock,
            wanted: Vec::new(),
            bytes: Vec::new(),
            round: Round::First,
            reading: Reading::Entries,
            asked: Vec::new(),
            scratch: Default::default(),
            planted_bug: 0,
        })
    }

    /// Adds a key: the values of the columns of the index. Returns its number. Add all keys before the first step.
    ///
    /// # Errors
    /// When the values do not fit the index; NULL does not, for it has no entry. `InvalidRequest` with too many keys.
    pub fn add<K: Key + ?Sized>(&mut self, key: &K) -> Result<usize, Error> {
        if self.wanted.len() >= MAX_BATCH_OPERATIONS {
            let detail = format!("at most {MAX_BATCH_OPERATIONS} keys at once");
            return Err(Error::new(ErrorCode::InvalidRequest, &detail));
        }
        let start = self.bytes.len();
        key.append_to(self.index.layout.entries(), &mut self.bytes)?;
        let key = start..self.bytes.len();
        let from = Round::First;
        self.wanted.push(Wanted { key, from, row_key: None, settled: false, row: None });
        Ok(self.wanted.len() - 1)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Fills the batch, which is cleared except for its transaction, with the next reads.
    ///
    /// # Errors
    /// When a read does not fit a batch.
    pub fn next(&mut self, batch: &mut Batch) -> Result<LookupStep, Error> {
        let transaction = batch.transaction;
        batch.clear();
        batch.transaction = transaction;
        self.asked.clear();
        loop {
            for (number, wanted) in self.wanted.iter().enumerate() {
                let key = match self.reading {
                    Reading::Entries if wanted.from <= self.round => Some(&wanted.key),
                    Reading::Entries => None,
                    Reading::Rows => wanted.row_key.as_ref(),
                };
                let Some(key) = key.filter(|_| !wanted.settled) else { continue };
                let (table, lock) = match self.reading {
                    Reading::Entries => (&self.entries, None),
                    Reading::Rows => (&self.table, self.lock),
                };
                let lock = if self.round == Round::Locked { lock.or(Some(Lock::Shared)) } else { lock };
                let key = &self.bytes[key.clone()];
                match lock {
                    Some(lock) => batch.read_key_locked(table, key, lock)?,
                    None => batch.read_key(table, key)?,
                };
                self.asked.push(number);
            }
            if !self.asked.is_empty() {
                let locked = self.round == Round::Locked;
                return Ok(if locked { LookupStep::ExecuteLocked } else { LookupStep::Execute });
            }
            if self.round == Round::Locked && self.reading == Reading::Rows {
                return Ok(LookupStep::Done);
            }
            self.advance();
        }
    }

    fn advance(&mut self) {
        (self.round, self.reading) = match (self.round, self.reading) {
            (round, Reading::Entries) => (round, Reading::Rows),
            (Round::First, Reading::Rows) => (Round::Second, Reading::Entries),
            (Round::Second | Round::Locked, Reading::Rows) => (Round::Locked, Reading::Entries),
        };
    }

    /// Takes the results of the batch of the last step.
    ///
    /// # Errors
    /// The first error of an operation; the look-up is where it was before the step.
    pub fn take(&mut self, batch: &Batch) -> Result<(), Error> {
        for position in 0..self.asked.len() {
            batch.row(position)?;
        }
        for (position, number) in std::mem::take(&mut self.asked).into_iter().enumerate() {
            let found = match batch.reply(position)? {
                Reply::Row { version, row } => Some((version, row)),
                _ => None,
            };
            match self.reading {
                Reading::Entries => self.take_entry(number, found.map(|(_, row)| row.value())),
                Reading::Rows => self.take_row(number, found),
            }
        }
        // The last rows settle everything: there is no other round.
        if !(self.round == Round::Locked && self.reading == Reading::Rows) {
            self.advance();
        }
        Ok(())
    }

    fn take_entry(&mut self, number: usize, entry: Option<&[u8]>) {
        let wanted = &mut self.wanted[number];
        wanted.row_key = None;
        match entry.and_then(|value| self.index.layout.primary_key(value)) {
            Some(key) => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(key);
                wanted.row_key = Some(start..self.bytes.len());
            }
            None if self.round == Round::Locked || self.planted_bug == NEVER_TRIES_AGAIN => {
                wanted.settled = true;
            }
            None => wanted.from = Round::Locked,
        }
    }

    fn take_row(&mut self, number: usize, found: Option<(RowVersion, RowView<'_>)>) {
        let wanted = &mut self.wanted[number];
        let (bytes, scratch) = (&mut self.bytes, &mut self.scratch);
        let fits = |row: &RowView<'_>, bytes: &[u8], scratch: &mut [Vec<u8>; 2]| {
            self.index.layout.has_key(row, &bytes[wanted.key.clone()], scratch)
        };
        let believes = self.planted_bug == BELIEVES_ENTRIES;
        let fitting = found.filter(|(_, row)| believes || fits(row, bytes, scratch));
        if let Some((version, row)) = fitting {
            let start = bytes.len();
            bytes.extend_from_slice(row.key());
            let key_end = bytes.len();
            bytes.extend_from_slice(row.value());
            wanted.row = Some((version, start..key_end, key_end..bytes.len()));
            wanted.settled = true;
        } else if self.round == Round::Locked || self.planted_bug == NEVER_TRIES_AGAIN {
            wanted.settled = true;
        }
        wanted.row_key = None;
    }

    /// The transaction of the locked steps has failed: they begin again in another one.
    pub fn lock_again(&mut self) {
        if self.round == Round::Locked {
            self.reading = Reading::Entries;
            self.wanted.iter_mut().for_each(|wanted| wanted.row_key = None);
        }
    }

    /// The row of a key, with its version; none when there is no such row. For a look-up that is done.
    pub fn row(&self, number: usize) -> Option<(RowVersion, RowView<'_>)> {
        let (version, key, value) = self.wanted.get(number)?.row.as_ref()?;
        let (key, value) = (&self.bytes[key.clone()], &self.bytes[value.clone()]);
        Some((*version, RowView::new(self.table.layout(), key, value)))
    }
}
