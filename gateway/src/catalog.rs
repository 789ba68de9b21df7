//! Tables, databases and sequences: what the gateway knows beside the dictionary of the cluster lies in tables of the cluster, in the
//! database `duet_sql`, so that any number of gateways share it.
//!
//! | table | row |
//! |---|---|
//! | `databases` | a database that was created by CREATE DATABASE |
//! | `sequences` | the AUTO_INCREMENT column of a table, by the table's id, and the next number that nobody has reserved |

use crate::error::{Result, SqlError};
use crate::query::run::{Engine, MemoryBounds};
use duet_client::{
    Client, Column, ColumnType, DEFAULT_DATABASE, ErrorCode, Row, Table, TableDefinition, Value,
};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long DROP waits for transactions that have changed the table.
pub const DROP_PATIENCE: Duration = Duration::from_secs(60);

/// Database of the gateways' own tables.
pub const OWN_DATABASE: &str = "duet_sql";
/// Databases that are not made of tables.
pub const INFORMATION_SCHEMA: &str = "information_schema";
/// Fewest and most numbers that a gateway reserves at once.
const FEWEST_RESERVED: u64 = 64;
const MOST_RESERVED: u64 = 65_536;
/// Tries of a change that others may be making as well.
const TRIES: usize = 100;
/// How long the number of a small table's rows is believed.
const ROW_COUNT_LASTS: Duration = Duration::from_secs(60);
/// Rows that are counted at most: tables with more are large.
const MOST_COUNTED: u64 = 2_000;
/// Most tables whose sequences are remembered.
const MAX_SEQUENCES: usize = 65_536;

/// What is known of a table's AUTO_INCREMENT column.
#[derive(Debug)]
pub struct Sequence {
    /// The column.
    pub column: u16,
    reserved: tokio::sync::Mutex<Reserved>,
}

/// Numbers that belong to this gateway.
#[derive(Debug, Default)]
struct Reserved {
    next: u64,
    end: u64,
    /// How many are reserved next time.
    amount: u64,
}

/// Tables and databases as statements name them.
#[derive(Debug)]
pub struct Catalog {
    client: Client,
    engine: Arc<Engine>,
    row_counts: Mutex<FxHashMap<u32, (Instant, Option<usize>)>>,
    sequences: Mutex<FxHashMap<u32, Option<Arc<Sequence>>>>,
}

fn databases_definition() -> Result<TableDefinition> {
    let definition = TableDefinition::builder(OWN_DATABASE, "databases")
        .column(Column::new("name", ColumnType::Varchar { characters: 64 }))
        .primary_key(["name"])
        .comment("databases that were created by CREATE DATABASE");
    definition.build().map_err(crate::plan::definition_error)
}

fn sequences_definition() -> Result<TableDefinition> {
    let definition = TableDefinition::builder(OWN_DATABASE, "sequences")
        .column(Column::new("table_id", ColumnType::IntUnsigned))
        .column(Column::new("column_index", ColumnType::SmallIntUnsigned))
        .column(Column::new("next", ColumnType::BigIntUnsigned))
        .primary_key(["table_id"])
        .comment("the next number of AUTO_INCREMENT columns");
    definition.build().map_err(crate::plan::definition_error)
}

impl Catalog {
    /// A catalog of the client's cluster.
    pub fn new(client: Client, memory: MemoryBounds) -> Catalog {
        Catalog {
            client,
            engine: Arc::new(Engine::new(memory)),
            row_counts: Mutex::default(),
            sequences: Mutex::new(FxHashMap::default()),
        }
    }

    /// How many rows a small table has, or had up to a minute ago; `None` of a large one.
    ///
    /// # Errors
    /// When no node answers in time.
    pub async fn small_row_count(&self, table: &Table) -> Result<Option<usize>> {
        let known = self.row_counts.lock().unwrap_or_else(PoisonError::into_inner).get(&table.id()).copied();
        if let Some((when, count)) = known
            && when.elapsed() < ROW_COUNT_LASTS
        {
            return Ok(count);
        }
        let definition = table.definition();
        let key = definition.primary_key.first().map(|column| &definition.columns[usize::from(*column)].name);
        let mut scan = self.client.scan(table).select(key).limit(MOST_COUNTED);
        let mut found = 0;
        while scan.next_page(|_, _| found += 1).await? {}
        let count = (found < MOST_COUNTED).then_some(found as usize);
        let mut counts = self.row_counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_SEQUENCES {
            counts.clear();
        }
        counts.insert(table.id(), (Instant::now(), count));
        Ok(count)
    }

    /// What computes queries.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A table.
    ///
    /// # Errors
    /// 1146 when there is none.
    pub async fn table(&self, database: &str, name: &str) -> Result<Table> {
        // A name with a point in it would be taken apart at the wrong place only if it were the database's.
        if database.contains('.') {
            return Err(SqlError::no_table(database, name));
        }
        self.client.table(&format!("{database}.{name}")).await.map_err(|error| {
            match error.is(ErrorCode::TableNotFound) {
                true => SqlError::no_table(database, name),
                false => error.into(),
            }
        })
    }

    /// A table that statements of users may change.
    ///
    /// # Errors
    /// 1044 for tables of the gateways; as [`Catalog::table`].
    pub async fn table_to_change(&self, database: &str, name: &str) -> Result<Table> {
        check_writable(database)?;
        self.table(database, name).await
    }

    async fn own_table(&self, name: &str, definition: Result<TableDefinition>) -> Result<Table> {
        for _ in 0..TRIES {
            match self.client.table(&format!("{OWN_DATABASE}.{name}")).await {
                Ok(table) => return Ok(table),
                Err(error) if error.is(ErrorCode::TableNotFound) => {}
                Err(error) => return Err(error.into()),
            }
            match self.client.create_table(definition.clone()?).await {
                Ok(table) => return Ok(table),
                // Another gateway is creating it.
                Err(error) if error.is(ErrorCode::TableExists) => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(SqlError::other(format!("the table {OWN_DATABASE}.{name} cannot be created")))
    }

    /// All tables that users made, in order of their names.
    ///
    /// # Errors
    /// When no node answers in time.
    pub async fn tables(&self) -> Result<Vec<Table>> {
        let mut tables = self.client.tables().await?;
        tables.sort_by(|a, b| (a.database(), a.name()).cmp(&(b.database(), b.name())));
        Ok(tables)
    }

    /// All databases, in order.
    ///
    /// # Errors
    /// When no node answers in time.
    pub async fn databases(&self) -> Result<Vec<String>> {
        let tables = self.tables().await?;
        let mut names: BTreeSet<String> = tables.iter().map(|table| table.database().to_owned()).collect();
        if let Some(table) =
            tables.iter().find(|table| table.database() == OWN_DATABASE && table.name() == "databases")
        {
            for row in self.client.scan(table).rows().await? {
                names.insert(row.get::<String>("name")?);
            }
        }
        let always = [DEFAULT_DATABASE, INFORMATION_SCHEMA, crate::cluster_tables::DATABASE];
        names.extend(always.map(str::to_owned));
        Ok(names.into_iter().collect())
    }

    /// Whether there is such a database.
    ///
    /// # Errors
    /// 1049 when there is none.
    pub async fn check_database(&self, name: &str) -> Result<()> {
        match self.databases().await?.iter().any(|known| known == name) {
            true => Ok(()),
            false => Err(SqlError::unknown_database(format!("Unknown database '{name}'"))),
        }
    }

    /// Creates a database; whether there was none.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn create_database(&self, name: &str) -> Result<bool> {
        if name.is_empty() || name.contains('.') || name.chars().count() > 64 {
            return Err(SqlError::wrong_name(format!("Incorrect database name '{name}'")));
        }
        if self.databases().await?.iter().any(|known| known == name) {
            return Ok(false);
        }
        let table = self.own_table("databases", databases_definition()).await?;
        let row = Row::new(&table).with("name", name)?;
        match self.client.insert(&table, row).await {
            Ok(_) => Ok(true),
            Err(error) if error.is(ErrorCode::DuplicateKey) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Drops a database with its tables; how many these were.
    ///
    /// # Errors
    /// When a table cannot be dropped.
    pub async fn drop_database(&self, name: &str) -> Result<u64> {
        check_writable(name)?;
        let mut dropped = 0;
        for table in self.tables().await? {
            if table.database() == name {
                self.drop_table(&table, DROP_PATIENCE).await?;
                dropped += 1;
            }
        }
        let table = self.own_table("databases", databases_definition()).await?;
        match self.client.delete(&table, name).await {
            Ok(_) => Ok(dropped),
            Err(error) if error.is(ErrorCode::RowNotFound) => Ok(dropped),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a table.
    ///
    /// # Errors
    /// 1050 when it exists; the codes of a definition that cannot be.
    pub async fn create_table(&self, new: crate::plan::NewTable) -> Result<()> {
        let (database, name) = (new.definition.database.clone(), new.definition.name.clone());
        let table = self.client.create_table(new.definition).await.map_err(|error| {
            match error.is(ErrorCode::TableExists) {
                true => SqlError::table_exists(format!("Table '{name}' already exists")),
                false => error.into(),
            }
        })?;
        let Some((column, first)) = new.auto_increment else { return Ok(()) };
        if let Err(error) = self.insert_sequence(&table, column, first).await {
            // A table without its sequence would not be what was asked for.
            self.client.drop_table(&format!("{database}.{name}")).await?;
            return Err(error);
        }
        Ok(())
    }

    async fn insert_sequence(&self, table: &Table, column: u16, first: u64) -> Result<()> {
        let sequences = self.own_table("sequences", sequences_definition()).await?;
        let row = Row::new(&sequences)
            .with("table_id", u64::from(table.id()))?
            .with("column_index", u64::from(column))?
            .with("next", first)?;
        self.client.upsert(&sequences, row).await?;
        self.remembered()
            .insert(table.id(), Some(Arc::new(Sequence { column, reserved: Default::default() })));
        Ok(())
    }

    /// Drops a table. What has begun goes on, so that the time of one request is not the end of it: transactions that have changed the table
    /// hold it up until they end.
    ///
    /// # Errors
    /// When no management node answers in time, or it takes longer than `patience`.
    pub async fn drop_table(&self, table: &Table, patience: Duration) -> Result<()> {
        let name = format!("{}.{}", table.database(), table.name());
        let begin = Instant::now();
        let mut asked = false;
        loop {
            match self.client.drop_table(&name).await {
                Ok(()) => break,
                Err(error) if asked && error.is(ErrorCode::TableNotFound) => break,
                Err(error)
                    if begin.elapsed() < patience
                        && (error.is(ErrorCode::DeadlineExceeded)
                            || asked && error.is(ErrorCode::TableNotActive)) =>
                {
                    asked = true;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let sequence = self.remembered().remove(&table.id());
        if let Some(Some(_)) = sequence {
            let sequences = self.own_table("sequences", sequences_definition()).await?;
            match self.client.delete(&sequences, table.id()).await {
                Ok(_) => {}
                Err(error) if error.is(ErrorCode::RowNotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, FxHashMap<u32, Option<Arc<Sequence>>>> {
        self.sequences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The AUTO_INCREMENT column of a table, if it has one.
    ///
    /// # Errors
    /// When no node answers in time.
    pub async fn sequence(&self, table: &Table) -> Result<Option<Arc<Sequence>>> {
        if let Some(known) = self.remembered().get(&table.id()) {
            return Ok(known.clone());
        }
        let sequence = self.look_up_sequence(table).await?;
        let mut remembered = self.remembered();
        if remembered.len() >= MAX_SEQUENCES {
            remembered.clear();
        }
        remembered.insert(table.id(), sequence.clone());
        Ok(sequence)
    }

    /// As [`Catalog::sequence`], when a statement needs a column that seemed to have none: it may be that another gateway was just
    /// creating the table.
    ///
    /// # Errors
    /// As there.
    pub async fn sequence_after_all(&self, table: &Table) -> Result<Option<Arc<Sequence>>> {
        self.remembered().remove(&table.id());
        self.sequence(table).await
    }

    async fn look_up_sequence(&self, table: &Table) -> Result<Option<Arc<Sequence>>> {
        // Without the table of sequences there are none, and it need not be created to know that.
        let sequences = match self.client.table(&format!("{OWN_DATABASE}.sequences")).await {
            Ok(sequences) => sequences,
            Err(error) if error.is(ErrorCode::TableNotFound) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(row) = self.client.get(&sequences, table.id()).await? else { return Ok(None) };
        let column = row.get::<u16>("column_index")?;
        Ok(Some(Arc::new(Sequence { column, reserved: Default::default() })))
    }

    /// Numbers for `count` rows: the first of as many that nobody else gets.
    ///
    /// # Errors
    /// When no node answers in time, or the numbers are used up.
    pub async fn reserve(&self, table: &Table, sequence: &Sequence, count: u64) -> Result<u64> {
        let mut reserved = sequence.reserved.lock().await;
        if reserved.end - reserved.next < count {
            let amount = reserved.amount.clamp(FEWEST_RESERVED, MOST_RESERVED).max(count);
            let sequences = self.own_table("sequences", sequences_definition()).await?;
            let amount_signed = i64::try_from(amount).unwrap_or(i64::MAX);
            let end = match self.client.increment(&sequences, table.id(), "next", amount_signed).await? {
                Value::UInt(end) => end,
                _ => return Err(SqlError::other("the table of sequences is not as it should be")),
            };
            let first = end - amount;
            // Numbers that join those that are left are used together with them.
            if reserved.end != first {
                reserved.next = first;
            }
            reserved.end = end;
            reserved.amount = amount * 2;
        }
        let first = reserved.next;
        reserved.next += count;
        Ok(first)
    }

    /// The number that the next row gets, of those that this gateway gives out; `None` without an AUTO_INCREMENT column.
    ///
    /// # Errors
    /// When no node answers in time.
    pub async fn next_number(&self, table: &Table) -> Result<Option<u64>> {
        let Some(sequence) = self.sequence(table).await? else { return Ok(None) };
        let reserved = sequence.reserved.lock().await;
        if reserved.next < reserved.end {
            return Ok(Some(reserved.next));
        }
        let sequences = self.own_table("sequences", sequences_definition()).await?;
        match self.client.get(&sequences, table.id()).await? {
            Some(row) => Ok(Some(row.get::<u64>("next")?)),
            None => Ok(None),
        }
    }

    /// A row was given this number by its writer: no number up to it is given out any more.
    ///
    /// # Errors
    /// When no node answers in time.
    pub async fn advance(&self, table: &Table, sequence: &Sequence, number: u64) -> Result<()> {
        let mut reserved = sequence.reserved.lock().await;
        if number < reserved.next {
            return Ok(());
        }
        if number < reserved.end {
            reserved.next = number + 1;
            return Ok(());
        }
        let sequences = self.own_table("sequences", sequences_definition()).await?;
        for _ in 0..TRIES {
            let Some(row) = self.client.get(&sequences, table.id()).await? else { return Ok(()) };
            let next = row.get::<u64>("next")?;
            if next > number {
                // Others have gone beyond it: what is reserved here is below and may be used by the row's neighbours.
                return Ok(());
            }
            let set = [("next", duet_client::Assignment::Set((number.saturating_add(1)).into()))];
            match self.client.update_if_version(&sequences, table.id(), row.version(), &set).await {
                Ok(_) => {
                    // Nothing that is still reserved is beyond the number.
                    reserved.next = number.saturating_add(1);
                    reserved.end = reserved.next;
                    return Ok(());
                }
                Err(error) if error.is(ErrorCode::VersionMismatch) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(SqlError::deadlock("the sequence of the table is changed by too many at once"))
    }
}

/// # Errors
/// 1044 for databases that users cannot change.
pub fn check_writable(database: &str) -> Result<()> {
    match database {
        OWN_DATABASE | INFORMATION_SCHEMA | crate::cluster_tables::DATABASE => {
            Err(SqlError::database_denied(format!("Access denied to database '{database}'")))
        }
        _ => Ok(()),
    }
}
