//! The error of an operation as its caller sees it.

use duet_protocol::error::ErrorCode;
use duet_protocol::ids::TransactionId;
use duet_protocol::row::RowError;
use duet_protocol::scan_program::ScanError;
use duet_protocol::schema::SchemaError;

/// What went wrong, where, and whether the same operation may succeed later.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("error {code}: {message}")]
pub struct Error {
    /// Stable number as listed in `docs/errors.md`: those of [`ErrorCode`], of [`SchemaError`], of
    /// [`RowError`] or of [`ScanError`].
    pub code: u16,
    /// A sentence.
    pub message: String,
    /// The data or management node that met the error, where one did.
    pub node: Option<u32>,
    /// Whether the same operation may succeed later.
    pub retryable: bool,
    /// The write's transaction id. After `OutcomeUnknown` it can be resolved.
    pub transaction: Option<TransactionId>,
}

impl Error {
    /// An error of the cluster with a detail, which may be empty.
    pub fn new(code: ErrorCode, detail: &str) -> Error {
        let mut message = code.description().to_owned();
        if !detail.is_empty() {
            message.truncate(message.trim_end_matches('.').len());
            message.push_str(": ");
            message.push_str(detail);
        }
        Error { code: code as u16, message, node: None, retryable: code.is_retryable(), transaction: None }
    }

    /// An error by its number, which may be one that this client does not know.
    pub(crate) fn from_number(number: u16, detail: &str) -> Error {
        match ErrorCode::from_number(number) {
            Some(code) => Error::new(code, detail),
            None => Error {
                code: number,
                message: detail.to_owned(),
                node: None,
                retryable: false,
                transaction: None,
            },
        }
    }

    /// Names the node; 0 is no node.
    #[must_use]
    pub fn at(mut self, node: u32) -> Error {
        self.node = (node != 0).then_some(node);
        if let Some(node) = self.node {
            self.message = format!("{} (node {node})", self.message);
        }
        self
    }

    /// Names the transaction; number 0 is none.
    #[must_use]
    pub fn of(mut self, transaction: TransactionId) -> Error {
        self.transaction = (transaction.seq != 0).then_some(transaction);
        self
    }

    /// Whether this is the error with that code.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.code == code as u16
    }

    /// The code, unless it is one of rows, schemas and scans.
    pub fn error_code(&self) -> Option<ErrorCode> {
        ErrorCode::from_number(self.code)
    }
}

/// As it reads when `main` returns it: name and number of the code, the sentence, and what is known beside it.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.error_code() {
            Some(code) => write!(f, "{} (error {})", code.name(), self.code)?,
            None => write!(f, "error {}", self.code)?,
        }
        write!(f, ": {}", self.message)?;
        f.write_str(if self.retryable { " [retryable" } else { " [not retryable" })?;
        if let Some(node) = self.node {
            write!(f, ", node {node}")?;
        }
        if let Some(TransactionId { session, seq }) = self.transaction {
            write!(f, ", transaction {seq} of session {session}")?;
        }
        f.write_str("]")
    }
}

impl From<RowError> for Error {
    fn from(error: RowError) -> Error {
        Error {
            code: error.code(),
            message: error.to_string(),
            node: None,
            retryable: false,
            transaction: None,
        }
    }
}

impl From<ScanError> for Error {
    fn from(error: ScanError) -> Error {
        Error {
            code: error.code(),
            message: error.to_string(),
            node: None,
            retryable: false,
            transaction: None,
        }
    }
}

impl From<SchemaError> for Error {
    fn from(error: SchemaError) -> Error {
        Error {
            code: error.code(),
            message: error.to_string(),
            node: None,
            retryable: false,
            transaction: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_can_be_read() {
        let error = Error::new(ErrorCode::NodeUnreachable, "no link").at(2);
        let text = "NodeUnreachable (error 33): The node that holds the row cannot be reached: no link (node 2) \
                    [retryable, node 2]";
        assert_eq!(format!("{error:?}"), text);
        let error = Error::from_number(60_000, "odd").of(TransactionId { session: 7, seq: 3 });
        let text = "error 60000: odd [not retryable, transaction 3 of session 7]";
        assert_eq!(format!("{error:?}"), text);
    }
}
