//! `duet admin add-column`, `create-index` and `drop-index`: changes of tables that exist, while they are used.

use super::TIMEOUT;
use crate::connection::Connection;
use crate::import::cell::Cell;
use crate::import::definition::TableName;
use crate::output::say;
use anyhow::{Context, Result, bail};
use duet_client::{Column, ColumnType, IndexKind};
use std::time::Duration;

/// Options of `duet admin add-column`.
#[derive(Clone, Debug, clap::Args)]
pub struct AddColumnArguments {
    /// Table that gets the column
    #[arg(value_name = "[DATABASE.]TABLE")]
    pub table: TableName,
    /// Name of the column
    #[arg(value_name = "COLUMN")]
    pub column: String,
    /// Its type as `duet admin tables` shows it: bigint, "decimal(10,2)", "varchar(40)"
    #[arg(value_name = "TYPE", value_parser = column_type)]
    pub column_type: ColumnType,
    /// Value of the rows that exist, and of new ones that give none; NULL without it. CURRENT_TIMESTAMP, or CURRENT_TIMESTAMP(6) with
    /// digits of the second's fraction, is the time of this command for the rows that exist, and the current time for new ones
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub default: Option<String>,
    /// The column may not be NULL; needs a default
    #[arg(long)]
    pub not_null: bool,
    /// Where the cluster is
    #[command(flatten)]
    pub connection: Connection,
}

/// Adds a column to a table.
///
/// # Errors
/// There is no such table, the column cannot be added, or no node answers.
pub async fn add_column(arguments: &AddColumnArguments) -> Result<()> {
    let mut column = Column::new(&arguments.column, arguments.column_type);
    column.nullable = !arguments.not_null;
    let digits = arguments.default.as_deref().and_then(|text| time_digits(text, arguments.column_type));
    if let Some(digits) = digits {
        column = column.current_time_on_insert(digits);
    } else if let Some(text) = &arguments.default {
        let value = Cell::Untyped(text).to_value(arguments.column_type);
        let value = value.map_err(|reason| anyhow::anyhow!("the default: {reason}"))?;
        column.default = Some(value);
    }
    let client = arguments.connection.open(TIMEOUT).await?;
    let table = client.table(&arguments.table.to_string()).await?;
    let table = client.add_column(&table, column).await?;
    say(format_args!("added column {} to table {}.{}", arguments.column, table.database(), table.name()))
}

/// The digits of CURRENT_TIMESTAMP, if that is the default of a column of dates with times.
fn time_digits(text: &str, column_type: ColumnType) -> Option<u8> {
    if !matches!(column_type, ColumnType::DateTime | ColumnType::Timestamp) {
        return None;
    }
    let text = text.trim().to_ascii_uppercase();
    match text.strip_prefix("CURRENT_TIMESTAMP")? {
        "" | "()" => Some(0),
        digits => digits.strip_prefix('(')?.strip_suffix(')')?.trim().parse().ok(),
    }
}

/// Options of `duet admin create-index`.
#[derive(Clone, Debug, clap::Args)]
pub struct CreateIndexArguments {
    /// Table that gets the index
    #[arg(value_name = "[DATABASE.]TABLE")]
    pub table: TableName,
    /// Name of the index
    #[arg(value_name = "INDEX")]
    pub index: String,
    /// Its columns, in the order in which they are compared
    #[arg(value_name = "COLUMN[,COLUMN…]", value_delimiter = ',', required = true)]
    pub columns: Vec<String>,
    /// No two rows may have the same values, unless one of them is NULL; without it the index is ordered, for ranges
    #[arg(long)]
    pub unique: bool,
    /// Seconds to wait until all rows are in the index
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    pub within: u64,
    /// Where the cluster is
    #[command(flatten)]
    pub connection: Connection,
}

/// Options of `duet admin drop-index`.
#[derive(Clone, Debug, clap::Args)]
pub struct DropIndexArguments {
    /// Table of the index
    #[arg(value_name = "[DATABASE.]TABLE")]
    pub table: TableName,
    /// Name of the index
    #[arg(value_name = "INDEX")]
    pub index: String,
    /// Where the cluster is
    #[command(flatten)]
    pub connection: Connection,
}

/// Creates an index of a table, and waits until it can be used.
///
/// # Errors
/// There is no such table or column, two rows have the same values in a unique index, a node has no memory for the
/// index, or no node answers.
pub async fn create_index(arguments: &CreateIndexArguments) -> Result<()> {
    let client = arguments.connection.open(TIMEOUT).await?;
    let table = client.table(&arguments.table.to_string()).await?;
    let columns: Vec<&str> = arguments.columns.iter().map(String::as_str).collect();
    let within = Duration::from_secs(arguments.within);
    let kind = if arguments.unique { IndexKind::Unique } else { IndexKind::Ordered };
    client.create_index(&table, &arguments.index, kind, &columns, within).await?;
    say(format_args!("created index {} of table {}", arguments.index, arguments.table))
}

/// Drops an index of a table.
///
/// # Errors
/// There is no such table or index, or no node answers.
pub async fn drop_index(arguments: &DropIndexArguments) -> Result<()> {
    let client = arguments.connection.open(TIMEOUT).await?;
    let table = client.table(&arguments.table.to_string()).await?;
    client.drop_index(&table, &arguments.index).await?;
    say(format_args!("dropped index {} of table {}", arguments.index, arguments.table))
}

/// Reads a type as [`ColumnType`] is displayed, in any case of letters.
fn column_type(text: &str) -> Result<ColumnType> {
    let upper = text.trim().to_ascii_uppercase();
    let (name, numbers) = match upper.split_once('(') {
        Some((name, rest)) => {
            let inner = rest.strip_suffix(')').context("a parenthesis is not closed")?;
            (name.trim().to_owned(), inner.to_owned())
        }
        None => (upper.clone(), String::new()),
    };
    let numbers: Vec<u32> = numbers
        .split(',')
        .filter(|part| !part.trim().is_empty())
        .map(|part| part.trim().parse().with_context(|| format!("'{part}' is not a number")))
        .collect::<Result<_>>()?;
    Ok(match (name.as_str(), numbers.as_slice()) {
        ("TINYINT", []) => ColumnType::TinyInt,
        ("TINYINT UNSIGNED", []) => ColumnType::TinyIntUnsigned,
        ("SMALLINT", []) => ColumnType::SmallInt,
        ("SMALLINT UNSIGNED", []) => ColumnType::SmallIntUnsigned,
        ("MEDIUMINT", []) => ColumnType::MediumInt,
        ("MEDIUMINT UNSIGNED", []) => ColumnType::MediumIntUnsigned,
        ("INT" | "INTEGER", []) => ColumnType::Int,
        ("INT UNSIGNED" | "INTEGER UNSIGNED", []) => ColumnType::IntUnsigned,
        ("BIGINT", []) => ColumnType::BigInt,
        ("BIGINT UNSIGNED", []) => ColumnType::BigIntUnsigned,
        ("FLOAT", []) => ColumnType::Float,
        ("DOUBLE", []) => ColumnType::Double,
        ("DECIMAL", [precision, scale]) => ColumnType::Decimal {
            precision: u8::try_from(*precision).context("the precision is too large")?,
            scale: u8::try_from(*scale).context("the scale is too large")?,
        },
        ("CHAR", [characters]) => ColumnType::Char { characters: *characters },
        ("VARCHAR", [characters]) => ColumnType::Varchar { characters: *characters },
        ("BINARY", [bytes]) => ColumnType::Binary { bytes: *bytes },
        ("VARBINARY", [bytes]) => ColumnType::Varbinary { bytes: *bytes },
        ("TEXT", []) => ColumnType::Text,
        ("BLOB", []) => ColumnType::Blob,
        ("DATE", []) => ColumnType::Date,
        ("TIME", []) => ColumnType::Time,
        ("DATETIME", []) => ColumnType::DateTime,
        ("TIMESTAMP", []) => ColumnType::Timestamp,
        ("BOOLEAN" | "BOOL", []) => ColumnType::Boolean,
        ("JSON", []) => ColumnType::Json,
        ("VECTOR", [dimensions]) => ColumnType::Vector { dimensions: *dimensions },
        _ => bail!("'{text}' is not a type; write it as `duet admin tables` does"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_they_are_shown() {
        let types = [
            ColumnType::TinyInt,
            ColumnType::TinyIntUnsigned,
            ColumnType::SmallInt,
            ColumnType::SmallIntUnsigned,
            ColumnType::MediumInt,
            ColumnType::MediumIntUnsigned,
            ColumnType::Int,
            ColumnType::IntUnsigned,
            ColumnType::BigInt,
            ColumnType::BigIntUnsigned,
            ColumnType::Float,
            ColumnType::Double,
            ColumnType::Decimal { precision: 10, scale: 2 },
            ColumnType::Char { characters: 3 },
            ColumnType::Varchar { characters: 40 },
            ColumnType::Binary { bytes: 16 },
            ColumnType::Varbinary { bytes: 30 },
            ColumnType::Text,
            ColumnType::Blob,
            ColumnType::Date,
            ColumnType::Time,
            ColumnType::DateTime,
            ColumnType::Timestamp,
            ColumnType::Boolean,
            ColumnType::Json,
            ColumnType::Vector { dimensions: 8 },
        ];
        for expected in types {
            let shown = expected.to_string();
            assert_eq!(column_type(&shown).expect("a type"), expected, "{shown}");
            assert_eq!(column_type(&shown.to_lowercase()).expect("a type"), expected, "{shown}");
        }
        for text in ["", "number", "decimal(10)", "varchar(x)", "int(4", "decimal(999,2)"] {
            assert!(column_type(text).is_err(), "{text}");
        }
    }
}
