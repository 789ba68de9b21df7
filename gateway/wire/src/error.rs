//! Errors as MySQL's clients know them: code, SQLSTATE and a sentence.

use crate::wire::packet::MAX_PACKET_BYTES;
use duet_client::ErrorCode;

/// An error that ends a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error {code} ({state}): {message}")]
pub struct SqlError {
    /// MySQL's number.
    pub code: u16,
    /// Five characters of the SQL standard.
    pub state: &'static str,
    /// A sentence.
    pub message: String,
}

/// What statements return.
pub type Result<T> = std::result::Result<T, SqlError>;

/// MySQL's numbers, with their SQLSTATE.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $state:literal;)+) => {
        impl SqlError {
            $($(#[doc = $doc])+ pub fn $name(message: impl Into<String>) -> SqlError {
                SqlError { code: $code, state: $state, message: message.into() }
            })+
        }
    };
}

codes! {
    #[doc = "ER_DB_CREATE_EXISTS: the database exists."]
    database_exists = 1007, "HY000";
    #[doc = "ER_DB_DROP_EXISTS: there is no database to drop."]
    no_database_to_drop = 1008, "HY000";
    #[doc = "ER_OUT_OF_RESOURCES: a bound of memory is reached."]
    out_of_memory = 1041, "HY000";
    #[doc = "ER_CON_COUNT_ERROR: as many connections as there may be."]
    too_many_connections = 1040, "08004";
    #[doc = "ER_HANDSHAKE_ERROR: the client's first packets make no sense."]
    handshake = 1043, "08S01";
    #[doc = "ER_DBACCESS_DENIED_ERROR: the database is not for users."]
    database_denied = 1044, "42000";
    #[doc = "ER_ACCESS_DENIED_ERROR: wrong name or password."]
    access_denied = 1045, "28000";
    #[doc = "ER_NO_DB_ERROR: no database is chosen."]
    no_database = 1046, "3D000";
    #[doc = "ER_UNKNOWN_COM_ERROR: the command is unknown."]
    unknown_command = 1047, "08S01";
    #[doc = "ER_BAD_NULL_ERROR: NULL where none may be."]
    bad_null = 1048, "23000";
    #[doc = "ER_BAD_DB_ERROR: there is no such database."]
    unknown_database = 1049, "42000";
    #[doc = "ER_TABLE_EXISTS_ERROR: the table exists."]
    table_exists = 1050, "42S01";
    #[doc = "ER_BAD_TABLE_ERROR: there is no table to drop."]
    unknown_table_to_drop = 1051, "42S02";
    #[doc = "ER_BAD_FIELD_ERROR: there is no such column."]
    unknown_column = 1054, "42S22";
    #[doc = "ER_MIX_OF_GROUP_FUNC_AND_FIELDS and its kin: a column that is not grouped."]
    not_grouped = 1055, "42000";
    #[doc = "ER_TOO_LONG_IDENT: a name is too long."]
    name_too_long = 1059, "42000";
    #[doc = "ER_DUP_FIELDNAME: two columns have one name."]
    duplicate_column = 1060, "42S21";
    #[doc = "ER_DUP_KEYNAME: two indexes have one name."]
    duplicate_index = 1061, "42000";
    #[doc = "ER_DUP_ENTRY: a row with this key exists."]
    duplicate_entry = 1062, "23000";
    #[doc = "ER_PARSE_ERROR: the statement cannot be read."]
    syntax = 1064, "42000";
    #[doc = "ER_EMPTY_QUERY: there is no statement."]
    empty_query = 1065, "42000";
    #[doc = "ER_INVALID_DEFAULT: a default does not fit its column."]
    invalid_default = 1067, "42000";
    #[doc = "ER_MULTIPLE_PRI_KEY: two primary keys."]
    multiple_primary_keys = 1068, "42000";
    #[doc = "ER_KEY_COLUMN_DOES_NOT_EXITS: a key names a column that does not exist."]
    unknown_key_column = 1072, "42000";
    #[doc = "ER_TOO_BIG_FIELDLENGTH: a length is out of range."]
    column_too_long = 1074, "42000";
    #[doc = "ER_WRONG_AUTO_KEY: AUTO_INCREMENT where it cannot be."]
    wrong_auto_increment = 1075, "42000";
    #[doc = "ER_CANT_DROP_FIELD_OR_KEY: there is no such index or column."]
    cannot_drop = 1091, "42000";
    #[doc = "ER_NO_SUCH_THREAD: there is no connection of this number."]
    no_such_connection = 1094, "HY000";
    #[doc = "ER_UNKNOWN_ERROR: what has no number of its own."]
    other = 1105, "HY000";
    #[doc = "ER_WRONG_TABLE_NAME and its kin."]
    wrong_name = 1103, "42000";
    #[doc = "ER_FIELD_SPECIFIED_TWICE: a column is given twice."]
    column_twice = 1110, "42000";
    #[doc = "ER_INVALID_GROUP_FUNC_USE: an aggregate where none may be."]
    invalid_aggregate = 1111, "HY000";
    #[doc = "ER_UNSUPPORTED_EXTENSION: the table definition uses what is not there."]
    wrong_column_count = 1136, "21S01";
    #[doc = "ER_TOO_BIG_ROWSIZE: a row is longer than the store takes."]
    row_too_large = 1118, "42000";
    #[doc = "ER_NO_SUCH_TABLE: there is no such table."]
    unknown_table = 1146, "42S02";
    #[doc = "ER_NET_PACKET_TOO_LARGE: the packet is larger than `max_allowed_packet`."]
    packet_too_large = 1153, "08S01";
    #[doc = "ER_NET_PACKETS_OUT_OF_ORDER: packets are out of order."]
    packets_out_of_order = 1156, "08S01";
    #[doc = "ER_TOO_MANY_ROWS: SELECT … INTO has found several rows."]
    several_rows = 1172, "42000";
    #[doc = "ER_REQUIRES_PRIMARY_KEY: a table needs a primary key."]
    needs_primary_key = 1173, "42000";
    #[doc = "ER_ERROR_DURING_COMMIT: the transaction could not be committed."]
    commit_failed = 1180, "HY000";
    #[doc = "ER_UNKNOWN_SYSTEM_VARIABLE."]
    unknown_variable = 1193, "HY000";
    #[doc = "ER_LOCK_WAIT_TIMEOUT: a row lock could not be had in time."]
    lock_timeout = 1205, "HY000";
    #[doc = "ER_LOCK_TABLE_FULL: a transaction has more operations, or more bytes, than it may have."]
    transaction_too_large = 1206, "HY000";
    #[doc = "ER_WRONG_ARGUMENTS: arguments that make no sense."]
    wrong_arguments = 1210, "HY000";
    #[doc = "ER_LOCK_DEADLOCK: the transaction was rolled back; try it again."]
    deadlock = 1213, "40001";
    #[doc = "ER_WRONG_NUMBER_OF_COLUMNS_IN_SELECT: as many columns as there are variables are needed."]
    wrong_width = 1222, "21000";
    #[doc = "ER_WRONG_VALUE_FOR_VAR: a variable cannot have this value."]
    wrong_variable_value = 1231, "42000";
    #[doc = "ER_WRONG_TYPE_FOR_VAR: a variable cannot have a value of this type."]
    wrong_variable_type = 1232, "42000";
    #[doc = "ER_NOT_SUPPORTED_YET: MySQL can do this and we cannot."]
    not_supported = 1235, "42000";
    #[doc = "ER_INCORRECT_GLOBAL_LOCAL_VAR: the variable is of another kind."]
    read_only_variable = 1238, "HY000";
    #[doc = "ER_OPERAND_COLUMNS: operands have different numbers of columns."]
    operand_columns = 1241, "21000";
    #[doc = "ER_UNKNOWN_STMT_HANDLER: there is no such prepared statement."]
    unknown_statement = 1243, "HY000";
    #[doc = "ER_WARN_DATA_OUT_OF_RANGE: a number does not fit its column."]
    out_of_range = 1264, "22003";
    #[doc = "WARN_DATA_TRUNCATED: a value does not fit its column."]
    truncated = 1265, "01000";
    #[doc = "ER_TRUNCATED_WRONG_VALUE: text that is no date or number."]
    wrong_value = 1292, "22007";
    #[doc = "ER_WARN_ALLOWED_PACKET_OVERFLOWED: the result of a function is too long."]
    result_too_long = 1301, "HY000";
    #[doc = "ER_SP_DOES_NOT_EXIST: there is no such function."]
    unknown_function = 1305, "42000";
    #[doc = "ER_QUERY_INTERRUPTED: the statement was killed."]
    interrupted = 1317, "70100";
    #[doc = "ER_SP_UNDECLARED_VAR: there is no such variable of a program."]
    undeclared_variable = 1327, "42000";
    #[doc = "ER_SP_FETCH_NO_DATA: SELECT … INTO has found no row."]
    no_data = 1329, "02000";
    #[doc = "ER_TABLE_DEF_CHANGED: an index was dropped under the statement; try it again."]
    table_changed = 1412, "HY000";
    #[doc = "ER_DIVISION_BY_ZERO."]
    division_by_zero = 1365, "22012";
    #[doc = "ER_TRUNCATED_WRONG_VALUE_FOR_FIELD: text that is no number."]
    wrong_value_for_column = 1366, "HY000";
    #[doc = "ER_NO_DEFAULT_FOR_FIELD: a column without default is not given."]
    no_default = 1364, "HY000";
    #[doc = "ER_DATA_TOO_LONG."]
    too_long = 1406, "22001";
    #[doc = "ER_DATA_OUT_OF_RANGE: the result of arithmetic does not fit."]
    arithmetic_overflow = 1690, "22003";
    #[doc = "ER_STACK_OVERRUN_NEED_MORE: a statement is nested too deeply."]
    nested_too_deeply = 1436, "HY000";
    #[doc = "ER_WRONG_VALUE: a value of the wrong form in a comparison."]
    incorrect_value = 1525, "HY000";
    #[doc = "ER_MALFORMED_PACKET."]
    malformed_packet = 1835, "HY000";
    #[doc = "ER_INVALID_JSON_TEXT: text that is no JSON document."]
    invalid_json = 3140, "22032";
    #[doc = "ER_TABLE_DEF_CHANGED and the like: definitions that the store refuses."]
    invalid_definition = 1005, "HY000";
}

/// A statement that names something that is not there yet.
pub fn not_supported<T>(what: &str) -> Result<T> {
    Err(SqlError::not_supported(format!("This version of Duet doesn't yet support '{what}'")))
}

impl SqlError {
    /// Column that does not exist, and where it was named.
    pub fn no_column(name: &str, place: &str) -> SqlError {
        SqlError::unknown_column(format!("Unknown column '{name}' in '{place}'"))
    }

    /// A value that would be longer than a packet may be, and the function that would have made it.
    pub fn longer_than_a_packet(function: &str) -> SqlError {
        SqlError::result_too_long(format!(
            "Result of {function}() was larger than max_allowed_packet ({MAX_PACKET_BYTES}) - truncated"
        ))
    }

    /// Table that does not exist.
    pub fn no_table(database: &str, name: &str) -> SqlError {
        SqlError::unknown_table(format!("Table '{database}.{name}' doesn't exist"))
    }
}

impl From<duet_client::Error> for SqlError {
    fn from(error: duet_client::Error) -> SqlError {
        let number = error.code;
        let message = format!("{} (Duet error {number})", error.message);
        let Some(code) = error.error_code() else {
            return match number {
                // A row that takes too many bytes, or one whose columns of fixed size alone do.
                115 | 158 => SqlError::row_too_large(format!("Row size too large: {message}")),
                // Rules of table definitions.
                100..=149 => SqlError::invalid_definition(message),
                _ => SqlError::other(message),
            };
        };
        match code {
            ErrorCode::DuplicateKey | ErrorCode::UniqueViolation => SqlError::duplicate_entry(message),
            ErrorCode::TableNotFound | ErrorCode::HiddenTable => SqlError::unknown_table(message),
            ErrorCode::TableExists => SqlError::table_exists(message),
            ErrorCode::IndexNotFound | ErrorCode::TableVersionMismatch => SqlError::table_changed(message),
            ErrorCode::Deadlock => {
                SqlError::deadlock("Deadlock found when trying to get lock; try restarting transaction")
            }
            ErrorCode::LockTimeout | ErrorCode::RowQueueFull => {
                SqlError::lock_timeout("Lock wait timeout exceeded; try restarting transaction")
            }
            ErrorCode::TransactionTooLarge => SqlError::transaction_too_large(format!(
                "The total number of locks exceeds the lock table size: a transaction has at most 16384 operations and 16 MiB; change \
                 fewer rows at once, as with LIMIT, or --net-buffer-length of mysqldump: {message}"
            )),
            ErrorCode::OutOfRange => SqlError::arithmetic_overflow(message),
            ErrorCode::OutOfMemory | ErrorCode::BackupOutOfMemory => SqlError::out_of_memory(message),
            ErrorCode::InvalidSchema => SqlError::invalid_definition(message),
            ErrorCode::DeadlineExceeded => SqlError::lock_timeout(message),
            ErrorCode::OutcomeUnknown | ErrorCode::OutcomeExpired => SqlError::commit_failed(message),
            // Drivers know 1213 as the error after which a transaction is to be tried again.
            ErrorCode::TransactionIdle
            | ErrorCode::Overloaded
            | ErrorCode::TooManyTransactions
            | ErrorCode::TooManyLocks
            | ErrorCode::StaleMap
            | ErrorCode::NotServing
            | ErrorCode::BackupUnreachable
            | ErrorCode::NodeUnreachable
            | ErrorCode::EpochsStalled
            | ErrorCode::Aborted
            | ErrorCode::UnknownTransaction
            | ErrorCode::TransactionFailed => SqlError::deadlock(message),
            other if other.is_retryable() => SqlError::deadlock(message),
            _ => SqlError::other(message),
        }
    }
}
