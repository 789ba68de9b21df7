//! System variables that drivers and tools ask for, and set.

use crate::error::{Result, SqlError};
use crate::value::compare::exact;
use crate::value::format::text;
use crate::wire::handshake::SERVER_VERSION;
use crate::wire::packet::MAX_PACKET_BYTES;
use duet_client::{ColumnType, Value};
use std::collections::BTreeMap;

/// What a variable may be set to.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    /// Nothing.
    Fixed,
    /// Anything: it changes nothing here, and reads back.
    Free,
    /// 0, 1, ON, OFF.
    Switch,
    /// A number of seconds from 1 to a year.
    Seconds,
    /// A number of rows.
    Rows,
    /// Stays as it is; what is so then is told in a warning.
    Stays(&'static str),
    /// Only what it is already, in any spelling.
    Same,
    /// Names of SQL modes, those that would change what statements mean left out.
    Modes,
}

/// SQL modes that say what is done here anyway, or nothing about statements. Strictness stays without its modes.
const MODES: &[&str] = &[
    "",
    "0",
    NO_AUTO_VALUE_ON_ZERO,
    "ALLOW_INVALID_DATES",
    "ERROR_FOR_DIVISION_BY_ZERO",
    "IGNORE_SPACE",
    "NO_AUTO_CREATE_USER",
    "NO_DIR_IN_CREATE",
    "NO_ENGINE_SUBSTITUTION",
    "NO_FIELD_OPTIONS",
    "NO_KEY_OPTIONS",
    "NO_TABLE_OPTIONS",
    "NO_ZERO_DATE",
    "NO_ZERO_IN_DATE",
    "ONLY_FULL_GROUP_BY",
    "STRICT_ALL_TABLES",
    "STRICT_TRANS_TABLES",
    "TRADITIONAL",
];
/// SQL modes with which statements would mean something else.
const OTHER_MODES: &[&str] = &[
    "ANSI",
    "ANSI_QUOTES",
    "DB2",
    "EMPTY_STRING_IS_NULL",
    "HIGH_NOT_PRECEDENCE",
    "MAXDB",
    "MSSQL",
    "MYSQL323",
    "MYSQL40",
    "NO_BACKSLASH_ESCAPES",
    "NO_UNSIGNED_SUBTRACTION",
    "ORACLE",
    "PAD_CHAR_TO_FULL_LENGTH",
    "PIPES_AS_CONCAT",
    "POSTGRESQL",
    "REAL_AS_FLOAT",
    "SIMULTANEOUS_ASSIGNMENT",
    "TIME_ROUND_FRACTIONAL",
    "TIME_TRUNCATE_FRACTIONAL",
];
/// The SQL mode with which 0 is a value of an AUTO_INCREMENT column as any other.
const NO_AUTO_VALUE_ON_ZERO: &str = "NO_AUTO_VALUE_ON_ZERO";

/// Name, value at first, rule.
fn known(name: &str) -> Option<(Value, Rule)> {
    let text = |content: &str| Value::Text(content.to_owned());
    Some(match name {
        "autocommit" => (Value::Int(1), Rule::Switch),
        "sql_mode" => (
            text(
                "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
            ),
            Rule::Modes,
        ),
        "time_zone" => (text("+00:00"), Rule::Same),
        "system_time_zone" => (text("UTC"), Rule::Fixed),
        "transaction_isolation" | "tx_isolation" => (text("READ-COMMITTED"), Rule::Same),
        "transaction_read_only" | "tx_read_only" => (Value::Int(0), Rule::Same),
        "character_set_client" | "character_set_connection" | "character_set_results" => {
            (text("utf8mb4"), Rule::Free)
        }
        "character_set_server" | "character_set_database" | "character_set_system" => {
            (text("utf8mb4"), Rule::Fixed)
        }
        "collation_connection" => (text("utf8mb4_bin"), Rule::Free),
        "collation_server" | "collation_database" => (text("utf8mb4_bin"), Rule::Fixed),
        "version" => (text(SERVER_VERSION), Rule::Fixed),
        "version_comment" => (text("Duet SQL gateway"), Rule::Fixed),
        "version_compile_os" => (text(std::env::consts::OS), Rule::Fixed),
        "version_compile_machine" => (text(std::env::consts::ARCH), Rule::Fixed),
        "protocol_version" => (Value::Int(10), Rule::Fixed),
        "license" => (text("Apache-2.0"), Rule::Fixed),
        "max_allowed_packet" => (Value::Int(MAX_PACKET_BYTES as i64), Rule::Same),
        "lower_case_table_names" | "lower_case_file_system" => (Value::Int(0), Rule::Fixed),
        "auto_increment_increment" | "auto_increment_offset" => (Value::Int(1), Rule::Same),
        "innodb_lock_wait_timeout" => (Value::Int(2), Rule::Stays("a lock is waited for 2 seconds")),
        "lock_wait_timeout" => (Value::Int(5), Rule::Stays("DROP TABLE waits 5 seconds for transactions")),
        "wait_timeout" | "interactive_timeout" => {
            (Value::Int(i64::from(crate::processes::WAIT_TIMEOUT_SECONDS)), Rule::Seconds)
        }
        "net_read_timeout" => (Value::Int(30), Rule::Free),
        "net_write_timeout" => (Value::Int(60), Rule::Free),
        "information_schema_stats_expiry" => (Value::Int(86_400), Rule::Free),
        "net_buffer_length" => (Value::Int(16_384), Rule::Free),
        "max_execution_time" => (Value::Int(0), Rule::Same),
        "foreign_key_checks" | "unique_checks" | "sql_notes" | "sql_warnings" | "sql_log_bin" => {
            (Value::Int(1), Rule::Switch)
        }
        "sql_auto_is_null" | "sql_safe_updates" | "big_tables" => (Value::Int(0), Rule::Same),
        "sql_select_limit" => (Value::UInt(u64::MAX), Rule::Rows),
        "sql_quote_show_create" => (Value::Int(1), Rule::Same),
        "performance_schema" | "query_cache_size" | "have_query_cache" => (Value::Int(0), Rule::Fixed),
        "query_cache_type" => (text("OFF"), Rule::Fixed),
        "init_connect" => (text(""), Rule::Fixed),
        "port" => (Value::Int(3_306), Rule::Fixed),
        "hostname" => (text("duet"), Rule::Fixed),
        "have_ssl" | "have_openssl" => (text("DISABLED"), Rule::Fixed),
        "default_storage_engine" | "storage_engine" => (text("ndbcluster"), Rule::Free),
        "explicit_defaults_for_timestamp" => (Value::Int(1), Rule::Fixed),
        "read_only" | "super_read_only" => (Value::Int(0), Rule::Fixed),
        "default_week_format" => (Value::Int(0), Rule::Same),
        "div_precision_increment" => (Value::Int(4), Rule::Same),
        "group_concat_max_len" => (Value::Int(16 << 20), Rule::Stays("GROUP_CONCAT cuts nothing off")),
        "warning_count" | "error_count" => (Value::Int(0), Rule::Fixed),
        "gtid_executed" | "gtid_purged" => (text(""), Rule::Fixed),
        "gtid_mode" => (text("OFF"), Rule::Fixed),
        "profiling" => (Value::Int(0), Rule::Same),
        // That of the server.
        "max_connections" => (Value::Int(0), Rule::Fixed),
        "max_user_connections" => (Value::Int(0), Rule::Fixed),
        "max_prepared_stmt_count" => (Value::Int(16_382), Rule::Fixed),
        "max_error_count" => (Value::Int(crate::session::MAX_WARNINGS as i64), Rule::Same),
        "server_id" => (Value::Int(1), Rule::Fixed),
        "character_set_filesystem" => (text("binary"), Rule::Fixed),
        "character_sets_dir" | "datadir" | "basedir" | "tmpdir" | "socket" => (text(""), Rule::Fixed),
        "lc_messages" | "lc_time_names" => (text("en_US"), Rule::Same),
        "default_authentication_plugin" => (text("caching_sha2_password"), Rule::Fixed),
        "default_tmp_storage_engine" => (text("ndbcluster"), Rule::Free),
        "completion_type" => (text("NO_CHAIN"), Rule::Same),
        "sql_require_primary_key" => (Value::Int(1), Rule::Same),
        "sql_big_selects" => (Value::Int(1), Rule::Same),
        "sql_buffer_result" | "low_priority_updates" => (Value::Int(0), Rule::Same),
        "local_infile" | "log_bin" | "general_log" | "slow_query_log" | "skip_networking"
        | "skip_show_database" => (Value::Int(0), Rule::Fixed),
        "event_scheduler" => (text("DISABLED"), Rule::Fixed),
        "optimizer_switch" => (text(""), Rule::Free),
        _ => return None,
    })
}

/// All names, in order.
const NAMES: &[&str] = &[
    "auto_increment_increment",
    "auto_increment_offset",
    "autocommit",
    "basedir",
    "character_set_client",
    "character_set_connection",
    "character_set_database",
    "character_set_filesystem",
    "character_set_results",
    "character_set_server",
    "character_set_system",
    "collation_connection",
    "collation_database",
    "collation_server",
    "datadir",
    "default_authentication_plugin",
    "default_storage_engine",
    "div_precision_increment",
    "event_scheduler",
    "explicit_defaults_for_timestamp",
    "foreign_key_checks",
    "gtid_executed",
    "gtid_mode",
    "have_ssl",
    "hostname",
    "init_connect",
    "interactive_timeout",
    "lc_messages",
    "lc_time_names",
    "license",
    "local_infile",
    "log_bin",
    "lower_case_table_names",
    "max_allowed_packet",
    "max_connections",
    "max_error_count",
    "max_execution_time",
    "max_prepared_stmt_count",
    "max_user_connections",
    "net_buffer_length",
    "net_read_timeout",
    "net_write_timeout",
    "optimizer_switch",
    "performance_schema",
    "port",
    "protocol_version",
    "read_only",
    "server_id",
    "socket",
    "sql_auto_is_null",
    "sql_big_selects",
    "sql_mode",
    "sql_notes",
    "sql_require_primary_key",
    "sql_safe_updates",
    "sql_select_limit",
    "system_time_zone",
    "time_zone",
    "transaction_isolation",
    "transaction_read_only",
    "unique_checks",
    "version",
    "version_comment",
    "version_compile_machine",
    "version_compile_os",
    "wait_timeout",
];

/// The type of a variable.
pub fn variable_type(name: &str) -> ColumnType {
    match known(name) {
        Some((Value::Int(_), _)) => ColumnType::BigInt,
        Some((Value::UInt(_), _)) => ColumnType::BigIntUnsigned,
        _ => ColumnType::Varchar { characters: 1_024 },
    }
}

/// The variables of a session: those that differ from what all have at first.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    changed: BTreeMap<String, Value>,
    most_connections: usize,
}

fn unknown(name: &str) -> SqlError {
    let name: String = name.chars().take(64).collect();
    SqlError::unknown_variable(format!("Unknown system variable '{name}'"))
}

impl Variables {
    /// Those of a session of a server that takes so many connections.
    pub fn with_most_connections(most_connections: usize) -> Variables {
        Variables { most_connections, ..Variables::default() }
    }

    /// As they were at first.
    #[must_use]
    pub fn at_first(&self) -> Variables {
        Variables::with_most_connections(self.most_connections)
    }

    /// The value of a variable, by its name in lower case.
    ///
    /// # Errors
    /// 1193 when there is none.
    pub fn get(&self, name: &str) -> Result<Value> {
        let (first, _) = known(name).ok_or_else(|| unknown(name))?;
        if name == "max_connections" {
            return Ok(Value::Int(i64::try_from(self.most_connections).unwrap_or(i64::MAX)));
        }
        Ok(self.changed.get(name).cloned().unwrap_or(first))
    }

    /// Whether there is such a variable.
    ///
    /// # Errors
    /// 1193 when there is none.
    pub fn check(name: &str) -> Result<()> {
        known(name).map(|_| ()).ok_or_else(|| unknown(name))
    }

    /// Sets a variable; `None` for its first value.
    ///
    /// # Errors
    /// 1193, 1231 and 1238: there is none, it cannot have this value, it cannot be set.
    pub fn set(&mut self, name: &str, value: Option<Value>) -> Result<()> {
        let (first, rule) = known(name).ok_or_else(|| unknown(name))?;
        let Some(value) = value else {
            self.changed.remove(name);
            return Ok(());
        };
        let wrong = |value: &Value| {
            SqlError::wrong_variable_value(format!(
                "Variable '{name}' can't be set to the value of '{}'",
                text(value)
            ))
        };
        match rule {
            Rule::Fixed => {
                return Err(SqlError::read_only_variable(format!(
                    "Variable '{name}' is a read only variable"
                )));
            }
            Rule::Same if name == "time_zone" => {
                let zone = text(&value).to_ascii_uppercase();
                if !matches!(zone.as_str(), "+00:00" | "UTC" | "SYSTEM" | "-00:00") {
                    return crate::error::not_supported("time zones other than UTC");
                }
            }
            Rule::Same => {
                let spelling = |value: &Value| text(value).replace(' ', "-").to_ascii_uppercase();
                let meant = match spelling(&value).as_str() {
                    "ON" | "TRUE" => "1".to_owned(),
                    "OFF" | "FALSE" => "0".to_owned(),
                    other => other.to_owned(),
                };
                if meant != spelling(&first) {
                    return Err(wrong(&value));
                }
            }
            Rule::Seconds => {
                let seconds = text(&value).parse::<i64>().map_err(|_| wrong(&value))?;
                // MySQL, too, takes the nearest value that may be.
                self.changed.insert(name.to_owned(), Value::Int(seconds.clamp(1, 31_536_000)));
            }
            Rule::Rows => {
                let rows = match exact(&value) {
                    // MySQL, too, takes the nearest value that may be.
                    Some((rows, 0)) => u64::try_from(rows.max(0)).unwrap_or(u64::MAX),
                    _ => {
                        let message = format!("Incorrect argument type to variable '{name}'");
                        return Err(SqlError::wrong_variable_type(message));
                    }
                };
                self.changed.insert(name.to_owned(), Value::UInt(rows));
            }
            Rule::Switch => {
                let on = match text(&value).to_ascii_uppercase().as_str() {
                    "1" | "ON" | "TRUE" => 1,
                    "0" | "OFF" | "FALSE" => 0,
                    _ => return Err(wrong(&value)),
                };
                self.changed.insert(name.to_owned(), Value::Int(on));
            }
            Rule::Modes => {
                let modes = text(&value).to_ascii_uppercase();
                for mode in modes.split(',').map(str::trim) {
                    if OTHER_MODES.contains(&mode) {
                        return crate::error::not_supported(&format!("the SQL mode {mode}"));
                    }
                    if !MODES.contains(&mode) {
                        return Err(wrong(&Value::Text(mode.chars().take(64).collect())));
                    }
                }
                if modes.len() > 4_096 {
                    return Err(wrong(&value));
                }
                let named: Vec<&str> = modes.split(',').map(str::trim).filter(|mode| *mode != "0").collect();
                self.changed.insert(name.to_owned(), Value::Text(named.join(",")));
            }
            Rule::Stays(_) => {}
            Rule::Free => {
                if text(&value).len() > 4_096 {
                    return Err(wrong(&value));
                }
                self.changed.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    /// How many warnings and errors the last statement had, notes included.
    pub fn set_counts(&mut self, warnings: usize, errors: usize) {
        for (name, count) in [("warning_count", warnings), ("error_count", errors)] {
            match count {
                0 if self.changed.is_empty() => {}
                0 => drop(self.changed.remove(name)),
                count => drop(self.changed.insert(name.to_owned(), Value::Int(count as i64))),
            }
        }
    }

    /// What a statement that sets a variable is to be told, if it changes less than it says.
    pub fn caveat(name: &str, given: &Value) -> Option<String> {
        let (first, rule) = known(name)?;
        let (first, given) = (text(&first), text(given).to_ascii_uppercase());
        match rule {
            Rule::Stays(truth) if given != first => Some(format!("{name} stays {first}: {truth}")),
            Rule::Modes if !given.contains("STRICT_") && !given.contains("TRADITIONAL") => {
                Some("statements stay strict, also without a strict mode".to_owned())
            }
            _ => None,
        }
    }

    /// Whether every statement is a transaction of its own.
    pub fn autocommit(&self) -> bool {
        self.changed.get("autocommit") != Some(&Value::Int(0))
    }

    /// Whether 0 for an AUTO_INCREMENT column asks for a number.
    pub fn zero_asks_for_a_number(&self) -> bool {
        let named = |value: &Value| text(value).split(',').any(|mode| mode == NO_AUTO_VALUE_ON_ZERO);
        !self.changed.get("sql_mode").is_some_and(named)
    }

    /// Most rows of a SELECT without LIMIT, if that is set to less than any result could have.
    pub fn select_limit(&self) -> Option<u64> {
        match self.changed.get("sql_select_limit") {
            Some(Value::UInt(rows)) if *rows < i64::MAX as u64 => Some(*rows),
            _ => None,
        }
    }

    /// Whether notes are told of.
    pub fn notes(&self) -> bool {
        self.changed.get("sql_notes") != Some(&Value::Int(0))
    }

    /// Names and values, as SHOW VARIABLES gives them.
    pub fn shown(&self) -> Vec<(String, String)> {
        let value = |name: &str| match (known(name), self.get(name).unwrap_or_default()) {
            (Some((_, Rule::Switch)), Value::Int(0)) => "OFF".to_owned(),
            (Some((_, Rule::Switch)), Value::Int(_)) => "ON".to_owned(),
            (_, value) => text(&value),
        };
        NAMES.iter().map(|name| ((*name).to_owned(), value(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_set_or_refused() {
        let mut variables = Variables::default();
        let text = |content: &str| Some(Value::Text(content.to_owned()));
        assert!(NAMES.iter().all(|name| known(name).is_some()));
        variables.set("autocommit", text("OFF")).expect("a switch");
        assert!(!variables.autocommit());
        variables.set("transaction_isolation", text("read committed")).expect("the same");
        assert!(variables.zero_asks_for_a_number());
        variables.set("sql_mode", text("strict_all_tables, No_Auto_Value_On_Zero")).expect("modes");
        assert!(!variables.zero_asks_for_a_number());
        let read = variables.get("sql_mode").expect("known");
        assert_eq!(Some(read), text("STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO"));
        for (rows, wanted) in
            [(Value::Int(7), Some(7)), (Value::Int(-7), Some(0)), (Value::UInt(u64::MAX), None)]
        {
            variables.set("sql_select_limit", Some(rows)).expect("a number");
            assert_eq!(variables.select_limit(), wanted);
        }
        assert_eq!(variables.set("sql_select_limit", text("7")).expect_err("a text").code, 1232);
        variables.set("sql_select_limit", None).expect("as at first");
        assert_eq!(variables.select_limit(), None);
        for (modes, code) in
            [("ansi_quotes", 1235), ("STRICT_ALL_TABLES,PIPES_AS_CONCAT", 1235), ("nosuch", 1231)]
        {
            assert_eq!(variables.set("sql_mode", text(modes)).expect_err(modes).code, code);
        }
        variables.set("sql_mode", text("")).expect("none");
        assert!(variables.zero_asks_for_a_number());
        assert_eq!(
            variables.set("transaction_isolation", text("SERIALIZABLE")).expect_err("other").code,
            1231
        );
        let mut variables = Variables::with_most_connections(7);
        assert_eq!(variables.get("max_connections").expect("known"), Value::Int(7));
        assert_eq!(variables.at_first().get("max_connections").expect("known"), Value::Int(7));
        assert_eq!(variables.set("version", text("9")).expect_err("fixed").code, 1238);
        assert_eq!(variables.set("nothing", text("9")).expect_err("unknown").code, 1193);
        assert_eq!(variables.set("time_zone", text("Europe/Berlin")).expect_err("other").code, 1235);
    }
}
