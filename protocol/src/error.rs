//! Numbered errors of the cluster: the code, what it means, and whether the same request may be retried.
//!
//! Schema and row errors (100–199) live beside the types that raise them; `docs/errors.md` lists all.

use std::fmt;

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $retryable:ident;)+) => {
        /// What went wrong, as a stable number that travels in replies.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum ErrorCode { $($(#[doc = $doc])+ $name = $code,)+ }

        impl ErrorCode {
            /// Every code, in ascending order.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)+];

            /// The code with this number, if there is one.
            pub fn from_number(number: u16) -> Option<ErrorCode> {
                match number { $($code => Some(ErrorCode::$name),)+ _ => None }
            }

            /// Name of the code as written in `docs/errors.md`.
            pub fn name(self) -> &'static str {
                match self { $(ErrorCode::$name => stringify!($name),)+ }
            }

            /// One sentence that says what happened.
            pub fn description(self) -> &'static str {
                match self { $(ErrorCode::$name => concat!($($doc),+),)+ }
            }

            /// Whether the same request, with the same transaction id, may succeed when sent again; for an operation of a
            /// transaction of several, whether the whole transaction may succeed under a new id.
            pub fn is_retryable(self) -> bool {
                match self { $(ErrorCode::$name => error_codes!(@$retryable),)+ }
            }

            /// Whether an operation was refused because of what its row is: that is its result, told in the answer of its kind.
            pub const fn is_of_row(self) -> bool {
                matches!(
                    self,
                    ErrorCode::RowNotFound
                        | ErrorCode::DuplicateKey
                        | ErrorCode::VersionMismatch
                        | ErrorCode::StoredIsNewer
                )
            }
        }
    };
    (@retry) => { true };
    (@fatal) => { false };
}

error_codes! {
    #[doc = "The row does not exist."]
    RowNotFound = 1, fatal;
    #[doc = "A row with this primary key exists already."]
    DuplicateKey = 2, fatal;
    #[doc = "The row's version is not the expected one."]
    VersionMismatch = 3, fatal;
    #[doc = "Another row has the same values in the columns of a unique index."]
    UniqueViolation = 4, fatal;
    #[doc = "The row holds a newer value than the one that the update advances to."]
    StoredIsNewer = 5, fatal;

    #[doc = "There is no table with this id or name."]
    TableNotFound = 10, fatal;
    #[doc = "The request names another version of the table; fetch the dictionary again."]
    TableVersionMismatch = 11, retry;
    #[doc = "A table with this name exists already."]
    TableExists = 12, fatal;
    #[doc = "The table definition is invalid."]
    InvalidSchema = 13, fatal;
    #[doc = "The table is being dropped or is not active yet."]
    TableNotActive = 14, retry;
    #[doc = "The dictionary holds as many tables as it may."]
    TooManyTables = 15, fatal;
    #[doc = "The table holds the entries of a unique index: it cannot be addressed itself."]
    HiddenTable = 16, fatal;
    #[doc = "The table has no index of this name and kind, or the handle of the table is older than the index."]
    IndexNotFound = 17, fatal;
    #[doc = "The index is still being built, or is being dropped."]
    IndexNotReady = 18, retry;
    #[doc = "Another schema change of the table is under way; ask again when it has ended."]
    SchemaChangeUnderway = 19, retry;

    #[doc = "The key is not well formed for the table's primary key."]
    InvalidKey = 20, fatal;
    #[doc = "The row image is not well formed for the table."]
    InvalidRow = 21, fatal;
    #[doc = "The update program is not well formed or cannot be applied to the row."]
    InvalidUpdate = 22, fatal;
    #[doc = "The request is not well formed."]
    InvalidRequest = 23, fatal;
    #[doc = "The row or key is larger than a row may be."]
    RowTooLarge = 24, fatal;
    #[doc = "The result of an increment does not fit the column."]
    OutOfRange = 25, fatal;
    #[doc = "The scan program does not fit the table."]
    InvalidScan = 26, fatal;
    #[doc = "A sum of a scan has more digits than a sum may have."]
    SumOverflow = 27, fatal;
    #[doc = "The index was given up while it was built: a data node has no memory for its entries."]
    IndexGivenUp = 28, fatal;

    #[doc = "This node is not the primary of the row and cannot reach it; use the newer map."]
    StaleMap = 30, retry;
    #[doc = "The node is not serving yet: the cluster is forming or the node is starting."]
    NotServing = 31, retry;
    #[doc = "The backup replica cannot be reached, so no write can be accepted."]
    BackupUnreachable = 32, retry;
    #[doc = "The node that holds the row cannot be reached."]
    NodeUnreachable = 33, retry;
    #[doc = "The link to the node broke while the request was under way; its outcome is unknown until resolved."]
    OutcomeUnknown = 34, retry;
    #[doc = "The deadline passed before an answer came."]
    DeadlineExceeded = 35, retry;
    #[doc = "No commit is accepted: epochs have not closed for a while, because a node of the view is away."]
    EpochsStalled = 36, retry;
    #[doc = "The transaction has committed, but the answer of this operation was lost on the way: do not repeat it."]
    AnswerLost = 37, fatal;

    #[doc = "The data node has no memory left for the write."]
    OutOfMemory = 40, retry;
    #[doc = "The backup replica has no memory left for the write."]
    BackupOutOfMemory = 41, retry;
    #[doc = "Too many writes wait for this row."]
    RowQueueFull = 42, retry;
    #[doc = "The node has too much work under way; try again later."]
    Overloaded = 43, retry;
    #[doc = "The replies waiting for this client exceed its buffer; read them first."]
    ReplyBufferFull = 44, retry;
    #[doc = "The node has as many open transactions as it may."]
    TooManyTransactions = 45, retry;
    #[doc = "The transaction has more operations or bytes than a transaction may have."]
    TransactionTooLarge = 46, fatal;
    #[doc = "The node holds as many row locks as it may."]
    TooManyLocks = 47, retry;

    #[doc = "The session is too old; its outcomes are no longer kept."]
    OutcomeExpired = 50, fatal;
    #[doc = "The transaction was resolved already and its record was freed."]
    AlreadyResolved = 51, fatal;
    #[doc = "The transaction was fenced as aborted by a resolve."]
    Aborted = 52, fatal;
    #[doc = "The session has too many unresolved transactions on this fragment."]
    TooManyUnresolved = 53, retry;
    #[doc = "The transaction id is invalid: session 0 or number 0."]
    InvalidTransaction = 54, fatal;
    #[doc = "No such transaction is open on this link: it was ended before, or never begun."]
    UnknownTransaction = 55, fatal;
    #[doc = "The transaction was rolled back because an operation of it failed."]
    TransactionFailed = 56, fatal;
    #[doc = "The transaction was rolled back: it waited for others that waited for it."]
    Deadlock = 57, retry;
    #[doc = "The transaction was rolled back: it waited too long for a row lock."]
    LockTimeout = 58, retry;
    #[doc = "The transaction was rolled back: its client was silent for too long."]
    TransactionIdle = 59, retry;

    #[doc = "The other side speaks another protocol version; run the same release everywhere."]
    ProtocolVersion = 60, fatal;
    #[doc = "The other side belongs to another cluster; check the addresses."]
    ForeignCluster = 61, fatal;
    #[doc = "The frame is damaged: its length, checksum or structure is wrong."]
    DamagedFrame = 62, fatal;
    #[doc = "The frame is larger than this link accepts."]
    FrameTooLarge = 63, fatal;
    #[doc = "The first frame on a link must be a handshake."]
    HandshakeRequired = 64, fatal;
    #[doc = "The cluster secret is missing or wrong; give every process the same --cluster-secret-file."]
    WrongSecret = 65, fatal;
    #[doc = "The signal is not one that this side accepts here."]
    UnexpectedSignal = 66, fatal;
    #[doc = "The other instance is not a member of the view."]
    NotInView = 67, fatal;
    #[doc = "Too many connections."]
    TooManyConnections = 68, retry;

    #[doc = "The node id is in use by another process; give each its own."]
    DuplicateNodeId = 70, fatal;
    #[doc = "An earlier life of this node is still a member; it joins as soon as the other nodes have removed that."]
    ReturningInstance = 71, retry;
    #[doc = "The node id is not part of the configuration."]
    UnknownNodeId = 72, fatal;
    #[doc = "This management node is not the leader."]
    NotLeader = 73, retry;
    #[doc = "The management nodes have no majority at the moment."]
    NoMajority = 74, retry;
    #[doc = "The configuration is invalid."]
    InvalidConfiguration = 75, fatal;
    #[doc = "The management node has seen a newer view than its own state holds: its disk was rolled back."]
    RolledBack = 76, fatal;

    #[doc = "The group has changed since the view that the proposal names."]
    ViewChanged = 77, fatal;
    #[doc = "The last full instance of a group cannot be removed, and only it can take another one in."]
    LastFullInstance = 78, fatal;
    #[doc = "No full instance of the node group lives: what it held in memory is lost."]
    GroupLost = 79, fatal;
    #[doc = "A user of this name exists already."]
    UserExists = 80, fatal;
    #[doc = "There is no user of this name."]
    UserNotFound = 81, fatal;
    #[doc = "There are as many users as there may be."]
    TooManyUsers = 82, fatal;

    #[doc = "The program met a state that it should not have reached."]
    Internal = 90, fatal;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let retry = if self.is_retryable() { "retryable" } else { "not retryable" };
        write!(f, "error {} {} ({retry}): {}", *self as u16, self.name(), self.description())
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_ascend() {
        for pair in ErrorCode::ALL.windows(2) {
            assert!(pair[0] < pair[1]);
        }
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(*code as u16), Some(*code));
            assert!(code.description().ends_with('.'), "{}", code.name());
        }
        assert_eq!(ErrorCode::from_number(0), None);
    }
}
