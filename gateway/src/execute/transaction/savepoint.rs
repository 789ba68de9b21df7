//! SAVEPOINT and ROLLBACK TO.
//!
//! The cluster knows no parts of a transaction, so the gateway does: at SAVEPOINT it reads the rows that the transaction has written so far, and
//! ROLLBACK TO writes back what is different. Rows that were written only after the savepoint are again as they are committed, which
//! nobody else can change while the transaction has their locks. The locks stay until its end, as in MySQL.

use super::OpenTransaction;
use crate::catalog::Catalog;
use crate::error::{Result, SqlError};
use crate::execute::read::{Values, read_each};
use crate::memory::Held;
use crate::plan::unique_indexes;
use duet_client::{Assignment, Batch, Expectation, Table, Value, ValueRef};
use rustc_hash::FxHashMap;

/// Writes that are sent at once.
const CHUNK_WRITES: usize = 1_024;

/// A state of a transaction that it can go back to.
#[derive(Debug)]
pub struct Savepoint {
    name: String,
    /// By table and encoded key the rows that the transaction had written by then; `None` for one that was deleted.
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
                let columns = now.iter().zip(before).enumerate().filter(|(_, (now, before))| now != before);
                let set = columns
                    .map(|(column, (_, before))| (column as u16, Assignment::Set(ValueRef::from(before))));
                batch.update(&self.table, &self.key, &set.collect::<Vec<_>>(), Expectation::Any)?;
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

impl OpenTransaction {
    /// SAVEPOINT: one that has the name already is forgotten.
    ///
    /// # Errors
    /// As [`OpenTransaction::execute`]; 1038 when the rows written so far take too much memory.
    pub async fn set_savepoint(&mut self, name: &str) -> Result<()> {
        self.check()?;
        let mut held = self.memory.hold();
        held.grow(size_of::<Savepoint>() + name.len())?;
        let mut rows = FxHashMap::default();
        for (table, keys) in self.written_keys() {
            let there = read_each(self, &table, &keys, None).await?;
            let mut known = FxHashMap::default();
            for (key, row) in keys.iter().zip(there) {
                held.add(key)?;
                held.add(row.as_deref().unwrap_or_default())?;
                known.insert(super::encoded(&table, key)?, row);
            }
            rows.insert(table.id(), known);
        }
        self.savepoints.retain(|savepoint| !savepoint.name.eq_ignore_ascii_case(name));
        self.savepoints.push(Savepoint { name: name.to_owned(), rows, _held: held });
        Ok(())
    }

    /// RELEASE SAVEPOINT: forgets it, and those that were set after it.
    ///
    /// # Errors
    /// 1305 when there is none of this name.
    pub fn release_savepoint(&mut self, name: &str) -> Result<()> {
        let place = self.place_of(name)?;
        self.savepoints.truncate(place);
        Ok(())
    }

    /// ROLLBACK TO: undoes what was written since, and forgets the savepoints that were set after this one.
    ///
    /// # Errors
    /// 1305 when there is none of this name; as [`OpenTransaction::execute`]; 1412 when the definition of a table has changed meanwhile, which
    /// ends the transaction.
    pub async fn roll_back_to(&mut self, name: &str, catalog: &Catalog) -> Result<()> {
        self.check()?;
        let place = self.place_of(name)?;
        self.savepoints.truncate(place + 1);
        let mut held = self.memory.hold();
        let mut restored = Vec::new();
        for (written, keys) in self.written_keys() {
            let table = catalog.table(written.database(), written.name()).await?;
            if table.id() != written.id() || table.definition() != written.definition() {
                let text = "Table definition has changed, please retry transaction";
                let error = SqlError::table_changed(text);
                self.failed = Some(error.clone());
                return Err(error);
            }
            let committed = self.client.get_many(&table, &keys).await?;
            let now = read_each(self, &table, &keys, None).await?;
            let known = self.savepoints[place].rows.get(&table.id());
            for ((key, now), committed) in keys.into_iter().zip(now).zip(committed) {
                let then = known.and_then(|rows| rows.get(&super::encoded(&table, &key).ok()?));
                let before = match then {
                    Some(row) => row.clone(),
                    None => committed.map(|row| row.values().to_vec()),
                };
                if now != before {
                    held.add(now.as_deref().unwrap_or_default())?;
                    held.add(before.as_deref().unwrap_or_default())?;
                    restored.push(Restored { table: Table::clone(&table), key, now, before });
                }
            }
        }
        let mut batch = Batch::new();
        let deleted: Vec<&Restored> = restored.iter().filter(|row| row.is_deleted()).collect();
        for chunk in deleted.chunks(CHUNK_WRITES) {
            batch.clear();
            for row in chunk {
                batch.delete(&row.table, &row.key, Expectation::Any)?;
            }
            self.execute(&mut batch).await?;
        }
        for chunk in restored.chunks(CHUNK_WRITES) {
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

    /// Tables that were written, and keys of the rows.
    fn written_keys(&self) -> Vec<(Table, Vec<Vec<Value>>)> {
        let written = self.written.values();
        written.map(|(table, keys)| (Table::clone(table), keys.values().cloned().collect())).collect()
    }
}
