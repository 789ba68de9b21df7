//! SAVEPOINT and ROLLBACK TO.
//!
//! The cluster knows no parts of a transaction, so the gateway does: at SAVEPOINT it reads the rows that the transaction has written since the
//! one before, and ROLLBACK TO writes back what is different. Rows that were written only after the savepoint are again as they are
//! committed, which nobody else can change while the transaction has their locks. The locks stay until its end, as in MySQL.

use super::{OpenTransaction, WrittenTables, differences, encoded};
use crate::catalog::Catalog;
use crate::error::{Result, SqlError};
use crate::execute::read::{Values, read_each};
use crate::memory::Held;
use crate::plan::unique_indexes;
use duet_client::{Batch, Expectation, Table, Value};
use rustc_hash::FxHashMap;

/// Rows that are read, or written, at once.
const CHUNK_ROWS: usize = 1_024;

/// A state of a transaction that it can go back to.
#[derive(Debug)]
pub struct Savepoint {
    name: String,
    /// What was written since the savepoint before.
    written: WrittenTables,
    /// By table and encoded key these rows as they were then; `None` for one that was deleted.
    rows: FxHashMap<u32, FxHashMap<Vec<u8>, Option<Values>>>,
    /// The memory that they take.
    _held: Held,
}

/// A row that is to be as it was.
struct Restored {
    table: Table,
    key: Vec<Value>,
    now: Option<Values>,
    before: Option<Values>,
}

impl Restored {
    /// Whether it is written as a new row: its values of unique indexes may be those that another row has until it is deleted.
    fn is_new(&self) -> bool {
        match (&self.now, &self.before) {
            (Some(now), Some(before)) => unique_indexes(&self.table).any(|index| {
                let mut columns = index.columns.iter().map(|column| usize::from(*column));
                columns.any(|column| now[column] != before[column])
            }),
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }

    fn is_deleted(&self) -> bool {
        self.now.is_some() && (self.before.is_none() || self.is_new())
    }

    /// What is written behind the deletions.
    fn add_to(&self, batch: &mut Batch) -> Result<()> {
        match (&self.now, &self.before) {
            (_, Some(before)) if self.is_new() => {
                batch.insert(&self.table, before)?;
            }
            (Some(now), Some(before)) => {
                let changes = differences(now, before);
                batch.update(&self.table, &self.key, &changes, Expectation::Any)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// What a name that no savepoint has is told.
pub fn unknown_savepoint(name: &str) -> SqlError {
    SqlError { code: 1_305, state: "42000", message: format!("SAVEPOINT {name} does not exist") }
}

fn add(all: &mut WrittenTables, more: WrittenTables) {
    for (id, (table, keys)) in more {
        all.entry(id).or_insert_with(|| (table, Default::default())).1.extend(keys);
    }
}

impl OpenTransaction {
    /// SAVEPOINT: one that has the name already is forgotten.
    ///
    /// # Errors
    /// As [`OpenTransaction::execute`]; 1038 when the rows written so far take too much memory. They end the transaction.
    pub async fn set_savepoint(&mut self, name: &str) -> Result<()> {
        self.check()?;
        if let Ok(place) = self.place_of(name) {
            let forgotten = self.savepoints.remove(place);
            match self.savepoints.get_mut(place) {
                None => add(&mut self.recent, forgotten.written),
                // What was so then was so at the next one as well, unless it says something else.
                Some(next) => {
                    for (id, rows) in forgotten.rows {
                        let known = next.rows.entry(id).or_default();
                        for (key, row) in rows {
                            known.entry(key).or_insert(row);
                        }
                    }
                    add(&mut next.written, forgotten.written);
                }
            }
        }
        let written = match self.savepoints.is_empty() {
            true => self.written.clone(),
            false => std::mem::take(&mut self.recent),
        };
        match self.read_savepoint(name, written).await {
            Ok(savepoint) => {
                self.recent.clear();
                self.savepoints.push(savepoint);
                Ok(())
            }
            Err(error) => Err(self.give_up(error)),
        }
    }

    async fn read_savepoint(&mut self, name: &str, written: WrittenTables) -> Result<Savepoint> {
        let mut held = self.memory.hold();
        held.grow(size_of::<Savepoint>() + name.len())?;
        let mut rows = FxHashMap::default();
        for (table, keys) in written.values() {
            let keys: Vec<Vec<Value>> = keys.values().cloned().collect();
            let known: &mut FxHashMap<Vec<u8>, Option<Values>> = rows.entry(table.id()).or_default();
            for chunk in keys.chunks(CHUNK_ROWS) {
                for (key, row) in chunk.iter().zip(read_each(self, table, chunk, None).await?) {
                    held.add(key)?;
                    held.add(row.as_deref().unwrap_or_default())?;
                    known.insert(encoded(table, key)?, row);
                }
            }
        }
        Ok(Savepoint { name: name.to_owned(), written, rows, _held: held })
    }

    /// RELEASE SAVEPOINT: forgets it, and those that were set after it.
    ///
    /// # Errors
    /// 1305 when there is none of this name.
    pub fn release_savepoint(&mut self, name: &str) -> Result<()> {
        let place = self.place_of(name)?;
        for forgotten in self.savepoints.drain(place..) {
            add(&mut self.recent, forgotten.written);
        }
        Ok(())
    }

    /// ROLLBACK TO: undoes what was written since, and forgets the savepoints that were set after this one.
    ///
    /// # Errors
    /// 1305 when there is none of this name. All others end the transaction: as [`OpenTransaction::execute`], 1038, and 1412 when the definition
    /// of a table has changed meanwhile.
    pub async fn roll_back_to(&mut self, name: &str, catalog: &Catalog) -> Result<()> {
        self.check()?;
        let place = self.place_of(name)?;
        let mut written = std::mem::take(&mut self.recent);
        for forgotten in self.savepoints.drain(place + 1..) {
            add(&mut written, forgotten.written);
        }
        match self.restore(written, catalog).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.give_up(error)),
        }
    }

    /// Writes rows as they were at the last savepoint.
    async fn restore(&mut self, written: WrittenTables, catalog: &Catalog) -> Result<()> {
        let mut held = self.memory.hold();
        let mut restored = Vec::new();
        for (known, keys) in written.into_values() {
            let table = catalog.table(known.database(), known.name()).await?;
            if table.id() != known.id() || table.definition() != known.definition() {
                return Err(SqlError::table_changed(
                    "Table definition has changed, please retry transaction",
                ));
            }
            let keys: Vec<Vec<Value>> = keys.into_values().collect();
            for chunk in keys.chunks(CHUNK_ROWS) {
                let committed = self.client.get_many(&table, chunk).await?;
                let now = read_each(self, &table, chunk, None).await?;
                for ((key, now), committed) in chunk.iter().zip(now).zip(committed) {
                    let bytes = encoded(&table, key)?;
                    let mut earlier =
                        self.savepoints.iter().rev().filter_map(|known| known.rows.get(&table.id()));
                    let before = match earlier.find_map(|rows| rows.get(&bytes)) {
                        Some(row) => row.clone(),
                        None => committed.map(|row| row.values().to_vec()),
                    };
                    if now != before {
                        held.add(now.as_deref().unwrap_or_default())?;
                        held.add(before.as_deref().unwrap_or_default())?;
                        let (table, key) = (Table::clone(&table), key.clone());
                        restored.push(Restored { table, key, now, before });
                    }
                }
            }
        }
        let mut batch = Batch::new();
        let deleted: Vec<&Restored> = restored.iter().filter(|row| row.is_deleted()).collect();
        for chunk in deleted.chunks(CHUNK_ROWS) {
            batch.clear();
            for row in chunk {
                batch.delete(&row.table, &row.key, Expectation::Any)?;
            }
            self.execute(&mut batch).await?;
        }
        for chunk in restored.chunks(CHUNK_ROWS) {
            batch.clear();
            chunk.iter().try_for_each(|row| row.add_to(&mut batch))?;
            if !batch.is_empty() {
                self.execute(&mut batch).await?;
            }
        }
        Ok(())
    }

    fn place_of(&self, name: &str) -> Result<usize> {
        let is_it = |savepoint: &Savepoint| savepoint.name.eq_ignore_ascii_case(name);
        self.savepoints.iter().position(is_it).ok_or_else(|| unknown_savepoint(name))
    }
}
