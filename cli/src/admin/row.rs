//! `duet admin get` and `duet admin drop`: one row, and the end of a table.

use super::{TIMEOUT, text_table};
use crate::connection::Connection;
use crate::import::cell::Cell;
use crate::import::definition::TableName;
use crate::output::say;
use anyhow::{Context, Result, bail, ensure};
use duet_client::{ColumnType, Row, TableDefinition, Value};
use std::io::{BufRead, IsTerminal, Write};

/// Options of `duet admin get`.
#[derive(Clone, Debug, clap::Args)]
pub struct GetArguments {
    /// Table of the row
    #[arg(value_name = "[DATABASE.]TABLE")]
    pub table: TableName,
    /// Values of the primary key in its order, separated by commas
    #[arg(value_name = "KEY[,KEY…]", allow_negative_numbers = true)]
    pub key: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where the cluster is
    #[command(flatten)]
    pub connection: Connection,
}

/// Options of `duet admin drop`.
#[derive(Clone, Debug, clap::Args)]
pub struct DropArguments {
    /// Table to drop
    #[arg(value_name = "[DATABASE.]TABLE")]
    pub table: TableName,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Where the cluster is
    #[command(flatten)]
    pub connection: Connection,
}

/// Prints the columns of a row.
///
/// # Errors
/// There is no such table or row, the text is no key of the table, or no node answers.
pub async fn get(arguments: &GetArguments) -> Result<()> {
    let client = arguments.connection.open(TIMEOUT).await?;
    let table = client.table(&arguments.table.to_string()).await?;
    let key = key_values(table.definition(), &arguments.key)?;
    let row = client.get(&table, &key).await?;
    let row =
        row.with_context(|| format!("{} has no row with the key {}", arguments.table, arguments.key))?;
    match arguments.json {
        true => say(format_args!("{:#}", row_json(&row))),
        false => {
            let mut text = text_table(&["column", "value"]);
            for (name, value) in row.columns() {
                text.add_row([name.to_owned(), value.to_string()]);
            }
            say(format_args!("{text}"))
        }
    }
}

/// Drops a table, after a question unless `--yes` is given.
///
/// # Errors
/// There is no such table, nobody is there to be asked, the answer is no, or no node answers.
pub async fn drop_table(arguments: &DropArguments) -> Result<()> {
    let client = arguments.connection.open(TIMEOUT).await?;
    let name = arguments.table.to_string();
    client.table(&name).await?;
    if !arguments.yes {
        ensure!(
            std::io::stdin().is_terminal(),
            "nobody can be asked here; --yes drops {name} without asking"
        );
        let confirmed =
            tokio::task::block_in_place(|| confirm(&name)).context("the answer cannot be read")?;
        ensure!(confirmed, "{name} stays");
    }
    client.drop_table(&name).await?;
    say(format_args!("dropped table {name}"))
}

fn confirm(name: &str) -> std::io::Result<bool> {
    let mut question = std::io::stderr().lock();
    write!(question, "drop table {name} with all its rows? [y/N] ")?;
    question.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The values of a key as text. A key of one column is the whole text, which may have commas.
fn key_values(definition: &TableDefinition, text: &str) -> Result<Vec<Value>> {
    let columns = definition.primary_key.iter().map(|index| &definition.columns[usize::from(*index)]);
    let parts: Vec<&str> = match columns.len() {
        1 => vec![text],
        _ => text.split(',').collect(),
    };
    if parts.len() != columns.len() {
        let names: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
        bail!("the key has {} values ({}), not {}", names.len(), names.join(","), parts.len());
    }
    let values = columns.zip(parts).map(|(column, part)| {
        let value = |text: &str| Cell::Untyped(text).to_value(column.column_type);
        let value = match column.column_type {
            // Rows show them in UTC without a zone.
            ColumnType::Timestamp => {
                let zoned = format!("{part}Z");
                value(part).or_else(|reason| value(&zoned).map_err(|_| reason.into_owned().into()))
            }
            _ => value(part),
        };
        value.map_err(|reason| anyhow::anyhow!("key column '{}': {reason}", column.name))
    });
    values.collect()
}

fn row_json(row: &Row) -> serde_json::Value {
    let columns = row.columns().map(|(name, value)| {
        let value = match value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(number) => (*number).into(),
            Value::UInt(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Double(number) => (*number).into(),
            other => other.to_string().into(),
        };
        (name.to_owned(), value)
    });
    serde_json::Value::Object(columns.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_the_columns_want_them() {
        let start = || {
            TableDefinition::builder("main", "t")
                .required("at", ColumnType::Timestamp)
                .required("id", ColumnType::Int)
                .required("name", ColumnType::Varchar { characters: 16 })
        };
        let pair = start().primary_key(["at", "id"]).build().expect("valid");
        let values = [Value::Timestamp(1_357_034_400_000_000), Value::Int(-7)];
        for text in ["2013-01-01 10:00:00,-7", "2013-01-01T10:00:00Z,-7"] {
            assert_eq!(key_values(&pair, text).expect("a key"), values);
        }
        let error = |text: &str| key_values(&pair, text).expect_err("refused").to_string();
        assert_eq!(error("2013-01-01 10:00:00"), "the key has 2 values (at,id), not 1");
        assert!(error("2013-01-01 10:00:00,x").starts_with("key column 'id': \"x\""));
        let single = start().primary_key(["name"]).build().expect("valid");
        assert_eq!(key_values(&single, "a,b").expect("a key"), [Value::Text("a,b".into())]);
    }
}
