//! `duet import`: a Parquet or CSV file becomes rows of a table.

pub mod cell;
mod columnar;
mod csv_input;
pub mod definition;
pub mod load;
pub mod profile;
pub mod rows;
pub mod source;
mod text;

use crate::connection::{Connection, block_on};
use crate::output::say;
use crate::progress::{count_text, rows_bar};
use anyhow::{Context, Result, bail, ensure};
use definition::{TableName, existing_table, new_table, profile};
use duet_client::{Client, ErrorCode, Table};
use load::{Loaded, Pace, load};
use rows::{BadRows, Converter};
use source::Source;
use std::path::PathBuf;
use std::time::Duration;

/// Time that one batch may take, with all its repeats.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Options of `duet import`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// File of rows: .parquet, or .csv with a header line
    pub file: PathBuf,
    /// Table to fill
    #[arg(long, value_name = "[DATABASE.]TABLE")]
    pub table: TableName,
    /// Columns of the primary key, separated by commas; an existing table has its own
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub key: Vec<String>,
    /// The table must not exist yet
    #[arg(long, conflicts_with = "append")]
    pub create: bool,
    /// The table must exist already; its rows with the same keys are replaced
    #[arg(long)]
    pub append: bool,
    /// Rows sent at a time
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..=16_384))]
    pub batch: u16,
    /// Text that means NULL in a CSV file; may be given several times [default: the empty text]
    #[arg(long = "null", value_name = "TEXT")]
    pub nulls: Vec<String>,
    /// Show the columns that the table would get, and load nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Where the cluster is
    #[command(flatten)]
    pub connection: Connection,
}

/// Loads the file. Whether every row of it is in the table.
///
/// # Errors
/// A sentence: the file cannot be read, does not fit the table, or the cluster refused a write.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let nulls = if arguments.nulls.is_empty() { vec![String::new()] } else { arguments.nulls.clone() };
    let source = Source::open(&arguments.file, &nulls)?;
    if arguments.dry_run {
        say(format_args!("{}", describe(&new_definition(arguments, &source)?)))?;
        return Ok(true);
    }
    block_on(async {
        let client = arguments.connection.open(TIMEOUT).await?;
        let (table, created) = open_table(&client, arguments, &source).await?;
        let origins = existing_table(table.definition(), &source, &arguments.key)?;
        let mut converter = Converter::new(table.definition().clone(), origins)?;
        let pace = Pace { batch_rows: arguments.batch.into(), ..Pace::default() };
        let bar = rows_bar(&arguments.table.to_string(), source.rows());
        let loaded = load(&client, &table, &source, &mut converter, pace, &bar).await;
        bar.finish_and_clear();
        let loaded = loaded?;
        report(&arguments.table, &loaded, created, source.unit())?;
        Ok(loaded.bad.count == 0)
    })
}

fn new_definition(arguments: &Arguments, source: &Source) -> Result<duet_client::TableDefinition> {
    ensure!(!arguments.key.is_empty(), "--key names the columns of the new table's primary key");
    let bar = rows_bar("looking at the columns", source.rows());
    let profiles = profile(source, |rows| bar.inc(rows));
    bar.finish_and_clear();
    new_table(&arguments.table, source, &profiles?, &arguments.key)
}

/// The table, and whether it is new.
async fn open_table(client: &Client, arguments: &Arguments, source: &Source) -> Result<(Table, bool)> {
    let name = arguments.table.to_string();
    match client.table(&name).await {
        Ok(_) if arguments.create => bail!("table {name} exists already; --append adds to it"),
        Ok(table) => return Ok((table, false)),
        Err(error) if !error.is(ErrorCode::TableNotFound) => return Err(error.into()),
        Err(_) if arguments.append => bail!("there is no table {name}; --create creates it"),
        Err(_) => {}
    }
    let definition = new_definition(arguments, source)?;
    match client.create_table(definition.clone()).await {
        Ok(table) => {
            say(format_args!("created table {}", describe(&definition)))?;
            Ok((table, true))
        }
        // Somebody else was faster: theirs is as good.
        Err(error) if error.is(ErrorCode::TableExists) && !arguments.create => {
            Ok((client.table(&name).await?, false))
        }
        Err(error) => Err(error).with_context(|| format!("cannot create table {name}")),
    }
}

/// `shop.users (id INT NOT NULL, name VARCHAR(16)), primary key (id)`
pub fn describe(definition: &duet_client::TableDefinition) -> String {
    let columns = definition.columns.iter().map(|column| {
        let null = if column.nullable { "" } else { " NOT NULL" };
        format!("  {} {}{null}", column.name, column.column_type)
    });
    let key =
        definition.primary_key.iter().map(|index| definition.columns[usize::from(*index)].name.as_str());
    format!(
        "{}.{} (\n{}\n), primary key ({})",
        definition.database,
        definition.name,
        columns.collect::<Vec<_>>().join(",\n"),
        key.collect::<Vec<_>>().join(", ")
    )
}

fn report(table: &TableName, loaded: &Loaded, created: bool, unit: &str) -> Result<()> {
    say(format_args!(
        "{} rows into {table} in {:.1} s ({} rows/s)",
        count_text(loaded.rows),
        loaded.time.as_secs_f64(),
        count_text(loaded.rows_per_second() as u64)
    ))?;
    if !created {
        say(format_args!("rows that the table had with the same keys have been replaced"))?;
    }
    report_bad(&loaded.bad, unit);
    Ok(())
}

/// Tells on standard error which rows were left out; `unit` is what their numbers count.
pub fn report_bad(bad: &BadRows, unit: &str) {
    if bad.count == 0 {
        return;
    }
    eprintln!("{} rows were left out:", count_text(bad.count));
    for (row, reason) in &bad.first {
        eprintln!("  {unit} {row}: {reason}");
    }
    let more = bad.count - bad.first.len() as u64;
    if more > 0 {
        eprintln!("  and {} more", count_text(more));
    }
}
