//! What clients asked and what they were told, with the times: the evidence that the checkers judge.

use crate::queue::Time;
use crate::workload::KeyBound;
use duet_protocol::ids::{RowVersion, TransactionId};
use std::collections::BTreeSet;
use std::fmt;

/// A register: one row of one table. Table ids are never used again, so a table that was dropped and created
/// anew has other registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register {
    /// Table id.
    pub table: u32,
    /// Key.
    pub key: u64,
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} key {}", self.table, self.key)
    }
}

/// The number that a write leaves in the row, different for every write of the run; never 0.
pub type Fingerprint = u64;

/// What a write does. All but `Delete` also leave their fingerprint in the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// New row with this counter; fails when there is one.
    Insert {
        /// The counter.
        counter: i64,
    },
    /// New row or whole replacement, with this counter.
    Upsert {
        /// The counter.
        counter: i64,
    },
    /// Update that leaves the counter as it is; fails without a row.
    Set,
    /// Update that adds one to the counter and returns it; fails without a row.
    Increment,
    /// As `Set`, if the row still has this version.
    CompareAndSet {
        /// The version.
        expected: RowVersion,
    },
    /// Removes the row; fails without one.
    Delete,
}

/// Why a row refused a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no row.
    RowNotFound,
    /// There is a row.
    DuplicateKey,
    /// The row has another version.
    VersionMismatch,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody told.
    Unknown,
    /// It is committed.
    Committed {
        /// Version of the row after it.
        version: RowVersion,
        /// Counter after an increment.
        result: Option<i64>,
    },
    /// The row refused it; it was not executed.
    Refused(Refusal),
    /// It was not executed and never will be.
    Aborted,
}

/// A write and its answer.
#[derive(Clone, Copy, Debug)]
pub struct WriteRecord {
    /// What it leaves in the row.
    pub fingerprint: Fingerprint,
    /// Its transaction id.
    pub transaction: TransactionId,
    /// The register.
    pub register: Register,
    /// Partition of the register.
    pub partition: u16,
    /// What it does.
    pub action: Action,
    /// When the client sent it first.
    pub invoked: Time,
    /// When the client knew the outcome; `Time::MAX` while it is unknown.
    pub responded: Time,
    /// What became of it.
    pub outcome: Outcome,
}

/// A row as a client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Version of the row.
    pub version: RowVersion,
    /// Fingerprint in the row.
    pub fingerprint: Fingerprint,
    /// Counter in the row.
    pub counter: i64,
}

/// A read and its answer. Reads without an answer are no evidence and are not recorded.
#[derive(Clone, Copy, Debug)]
pub struct ReadRecord {
    /// The register.
    pub register: Register,
    /// When the client sent it.
    pub invoked: Time,
    /// When the answer came.
    pub responded: Time,
    /// The row, or `None` for "there is no row".
    pub seen: Option<Seen>,
}

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The keys of the rows that came.
    Keys(BTreeSet<u64>),
    /// How many rows the nodes counted.
    Count(u64),
}

/// A scan that reached the end of its table while traffic ran. The rows themselves are recorded as reads.
#[derive(Clone, Debug)]
pub struct ScanRecord {
    /// Table id.
    pub table: u32,
    /// Which rows were wanted; `None` for all.
    pub bound: Option<KeyBound>,
    /// Before the first request.
    pub began: Time,
    /// When the last answer came.
    pub ended: Time,
    /// Whether a write could move a row within the scan: out of its way, or before it once more.
    pub moves: bool,
    /// What was found.
    pub found: Found,
}

/// The evidence of a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// All writes.
    pub writes: Vec<WriteRecord>,
    /// All answered reads, and the rows of scans.
    pub reads: Vec<ReadRecord>,
    /// Scans that reached the end of their tables.
    pub scans: Vec<ScanRecord>,
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{check}: {detail}")]
pub struct Violation {
    /// Name of the check.
    pub check: &'static str,
    /// What was found.
    pub detail: String,
}

impl Violation {
    /// A failed check.
    pub fn new(check: &'static str, detail: impl Into<String>) -> Violation {
        Violation { check, detail: detail.into() }
    }
}
