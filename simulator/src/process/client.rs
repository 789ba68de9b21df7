//! What a run wants of its clients, whether they run the client's core or speak the protocol themselves.

use crate::history::{History, Violation};
use crate::workload::{BADGE, DATABASE, OTHER_TABLES, PASSING_INDEX, Shape};
use duet_client_core::{ClientCore, Error, Table};
use duet_protocol::error::ErrorCode;
use duet_protocol::record::{LeaveRequest, TableChange};
use duet_protocol::schema::{IndexDefinition, IndexKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a client is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only what it is told.
    Wait,
    /// Operations one after the other.
    Traffic,
    /// Bring what is open to its end.
    Finish,
}

/// A schema change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Create a table.
    Create {
        /// Name.
        name: String,
        /// Form of its key.
        shape: Shape,
    },
    /// Drop a table.
    Drop {
        /// Name.
        name: String,
    },
    /// Create an index of a table, or drop the one that was created so.
    Index {
        /// Name of the table.
        table: String,
        /// Its kind and columns; none to drop it.
        index: Option<(IndexKind, Vec<u16>)>,
    },
    /// Not of the schema, though asked for in the same way: a data node leaves.
    Leave(LeaveRequest),
}

impl Change {
    /// The change of a table that exists, as management nodes want it.
    pub fn of_table(index: Option<&(IndexKind, Vec<u16>)>) -> TableChange {
        match index {
            Some((kind, columns)) => TableChange::CreateIndex(IndexDefinition {
                name: PASSING_INDEX.to_owned(),
                kind: *kind,
                columns: columns.clone(),
            }),
            None => TableChange::DropIndex(PASSING_INDEX.to_owned()),
        }
    }

    /// Whether an error says that the change was made already, or cannot be made.
    pub fn is_settled_by(&self, code: Option<ErrorCode>) -> bool {
        match self {
            Change::Create { .. } => code == Some(ErrorCode::TableExists),
            Change::Drop { .. } => code == Some(ErrorCode::TableNotFound),
            Change::Index { index: Some((_, columns)), .. } => match code {
                // No two members have the same badge.
                Some(ErrorCode::UniqueViolation) => columns != &[BADGE],
                code => matches!(code, Some(ErrorCode::InvalidSchema | ErrorCode::IndexGivenUp)),
            },
            Change::Index { index: None, .. } => code == Some(ErrorCode::IndexNotFound),
            Change::Leave(_) => matches!(code, Some(ErrorCode::NotInView | ErrorCode::LastFullInstance)),
        }
    }
}

/// What a client has seen.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What it asked and was told.
    pub history: History,
    /// Operations that were answered with a result.
    pub acknowledged: u64,
    /// Versions that it was told of since the last look: partition and `seq`, which every replica must hold.
    pub told: Vec<(u16, u64)>,
    /// Errors that it was answered with, by their names.
    pub errors: BTreeMap<&'static str, u64>,
    /// The first check of its own that failed.
    pub violation: Option<Violation>,
}

impl Evidence {
    /// Remembers the first violation.
    pub fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// Counts an error.
    pub fn error(&mut self, code: ErrorCode) {
        *self.errors.entry(code.name()).or_default() += 1;
    }

    /// Counts an error that an operation ended with. One that can never be right, for any client or for this one, is a
    /// finding.
    pub fn judge(&mut self, error: &Error, is_wrong_here: impl FnOnce(ErrorCode) -> bool) {
        let Some(code) = error.error_code() else {
            return self.violate(Violation::new("errors have known codes", error.to_string()));
        };
        self.error(code);
        if is_never_right(code) || is_wrong_here(code) {
            self.violate(Violation::new("errors have a reason", error.to_string()));
        }
    }

    /// An operation that could not be added to its batch is a finding.
    pub fn added<T>(&mut self, added: Result<T, Error>) {
        if let Err(error) = added {
            self.violate(Violation::new("operations are taken", error.to_string()));
        }
    }
}

/// The tables of registers that a client's core knows.
pub fn register_tables(core: &ClientCore) -> impl Iterator<Item = &Arc<Table>> {
    let is_register = |name: &str| !OTHER_TABLES.contains(&name);
    let tables = core.tables().iter();
    tables.filter(move |table| table.database() == DATABASE && is_register(table.name()))
}

/// A client of the run.
pub trait Client {
    /// What it has seen.
    fn evidence(&mut self) -> &mut Evidence;
    /// Tells it what to do from now on.
    fn set_mode(&mut self, mode: Mode);
    /// Begins a schema change. Clients with a table of their own begin none.
    fn change_dictionary(&mut self, _change: Change) {}
    /// Whether a schema change is under way.
    fn has_schema_change(&self) -> bool {
        false
    }
    /// From now on every node must know these tables; for clients that ask for all kinds of tables.
    fn expect_lasting(&mut self, _tables: Vec<u32>) {}
    /// Ids of the tables that can be used, as far as it knows.
    fn active_tables(&self) -> Vec<u32>;
    /// Whether nothing is under way: no operation, no schema change, no request without an answer.
    fn is_idle(&self) -> bool;
    /// Whether nothing is under way but writes whose outcome the cluster cannot tell.
    fn is_idle_but_for_unknown(&self) -> bool;
    /// What is under way, for messages.
    fn describe_open(&self) -> String;
    /// Gives up everything that is open; outcomes that are not known stay unknown.
    fn abandon(&mut self);
}

/// Whether a request of a register can never rightly end with this error.
pub fn is_never_right(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::InvalidKey
            | ErrorCode::InvalidRow
            | ErrorCode::InvalidUpdate
            | ErrorCode::InvalidRequest
            | ErrorCode::InvalidSchema
            | ErrorCode::InvalidTransaction
            | ErrorCode::RowTooLarge
            | ErrorCode::OutOfRange
            | ErrorCode::OutcomeExpired
            | ErrorCode::AlreadyResolved
            | ErrorCode::UnexpectedSignal
            | ErrorCode::Internal
    )
}

/// Whether the error says that the table cannot be used.
pub fn is_about_table(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::TableNotFound | ErrorCode::TableNotActive | ErrorCode::TableVersionMismatch)
}
