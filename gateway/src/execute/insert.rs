//! INSERT and REPLACE.
//!
//! One row goes straight to its primary; more are a transaction of one batch, commit included. Within a transaction of the session,
//! and wherever rows that exist matter, the rows' keys are looked at first, because an operation that fails in the cluster ends its
//! transaction there, while in MySQL only the statement fails.

use crate::catalog::{Catalog, Sequence};
use crate::error::{Result, SqlError};
use crate::execute::read::{Values, find_unique, read_each};
use crate::execute::transaction::{OpenTransaction, check_rows, differences, encoded, key_of};
use crate::expression::{Environment, Expression};
use crate::memory::{Held, Memory};
use crate::plan::{InsertMode, InsertPlan, default_of, times_of_change, unique_indexes};
use crate::value::compare::exact;
use crate::value::format::text;
use crate::value::store::{fit, integer_value};
use duet_client::{Batch, Client, ColumnType, ErrorCode, Expectation, IndexKind, Lock, Table, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Writes that are sent at once.
const CHUNK_WRITES: usize = 1_024;

/// Rows that are to be inserted.
#[derive(Debug)]
pub struct NewRows {
    /// Values of all columns.
    pub rows: Vec<Values>,
    /// Their AUTO_INCREMENT column.
    pub numbered: Numbered,
    /// What they take, until they are dropped.
    pub _held: Held,
}

/// The AUTO_INCREMENT column of new rows.
#[derive(Clone, Debug, Default)]
pub struct Numbered {
    column: Option<usize>,
    /// Numbers that were given out for these rows.
    generated: Range<u64>,
}

impl Numbered {
    /// The number of a row.
    fn of(&self, row: &[Value]) -> Option<u64> {
        number(&row[self.column?])
    }
}

/// A number of an AUTO_INCREMENT column.
pub fn number(value: &Value) -> Option<u64> {
    exact(value).and_then(|(digits, _)| u64::try_from(digits).ok())
}

/// What a client learns of the AUTO_INCREMENT column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InsertIds {
    /// First number that was given out and inserted, or 0: what LAST_INSERT_ID() gives from now on.
    pub generated: u64,
    /// Number of the last row that was inserted or changed, or 0.
    pub last: u64,
}

impl InsertIds {
    /// The one that goes with the answer, as of MySQL's `mysql_insert_id()`.
    pub fn answer(self) -> u64 {
        if self.generated > 0 { self.generated } else { self.last }
    }

    /// A row was inserted or changed.
    fn add(&mut self, row: &[Value], numbered: &Numbered) {
        let Some(number) = numbered.of(row) else { return };
        if self.generated == 0 && numbered.generated.contains(&number) {
            self.generated = number;
        }
        self.last = number;
    }
}

impl NewRows {
    /// What the client learns when all rows are inserted.
    pub fn ids(&self) -> InsertIds {
        let mut ids = InsertIds::default();
        self.rows.iter().for_each(|row| ids.add(row, &self.numbered));
        ids
    }
}

/// What an INSERT did.
#[derive(Clone, Debug, Default)]
pub struct Inserted {
    /// Rows affected, as MySQL counts them: 1 for a new row, 2 for one that was replaced or changed.
    pub affected: u64,
    /// Rows that were there already.
    pub duplicates: u64,
    /// Of rows that were left out.
    pub warnings: Vec<SqlError>,
    /// Numbers of the rows, where they are not simply all new ones.
    pub ids: Option<InsertIds>,
    /// Greatest number that the AUTO_INCREMENT column was set to in rows that have got another key.
    pub greatest: Option<u64>,
}

/// The error of a row that exists.
pub fn duplicate(table: &Table, index: &str, values: &[Value]) -> SqlError {
    let shown: Vec<String> = values.iter().map(|value| text(value).chars().take(64).collect()).collect();
    SqlError::duplicate_entry(format!(
        "Duplicate entry '{}' for key '{}.{index}'",
        shown.join("-"),
        table.name()
    ))
}

/// The values of all rows, with defaults and numbers of AUTO_INCREMENT.
///
/// # Errors
/// Those of values that do not fit, and of the sequence; 1038 when they take too much memory.
pub async fn new_rows(
    catalog: &Catalog,
    plan: &InsertPlan,
    environment: &Environment<'_>,
    memory: &Memory,
) -> Result<NewRows> {
    let table = &plan.table;
    let columns = &table.definition().columns;
    let now = environment.facts.now;
    let mut sequence = catalog.sequence(table).await?;
    let mut defaults: Vec<Option<Value>> = Vec::new();
    for index in 0..columns.len() {
        let is_own = |sequence: &Option<Arc<Sequence>>| {
            sequence.as_ref().is_some_and(|sequence| usize::from(sequence.column) == index)
        };
        let needed = !plan.columns.contains(&index) || plan.rows.iter().any(|row| row.contains(&None));
        let mut default = if is_own(&sequence) { Ok(Value::Null) } else { default_of(table, index, now) };
        if default.is_err() && needed {
            sequence = catalog.sequence_after_all(table).await?;
            if is_own(&sequence) {
                default = Ok(Value::Null);
            }
        }
        match default {
            Ok(value) => defaults.push(Some(value)),
            Err(error) if !plan.columns.contains(&index) => return Err(error),
            Err(_) => defaults.push(None),
        }
    }
    let zero_asks = environment.facts.variables.zero_asks_for_a_number();
    let own = sequence.as_ref().map(|sequence| usize::from(sequence.column));
    let mut rows = Vec::with_capacity(plan.rows.len());
    let mut held = memory.hold();
    let mut missing = 0;
    let mut greatest = None;
    for (number, given) in plan.rows.iter().enumerate() {
        // Where nothing is given the default is kept: values are put into their places.
        let mut row: Vec<Option<Value>> = defaults.clone();
        for (column, expression) in plan.columns.iter().zip(given) {
            let Some(expression) = expression else { continue };
            let value = evaluated(expression, columns[*column].column_type, environment)?;
            row[*column] = Some(match own == Some(*column) {
                // NULL and mostly 0 ask for a number.
                true if value == Value::Null
                    || zero_asks && exact(&value).is_some_and(|(digits, _)| digits == 0) =>
                {
                    Value::Null
                }
                _ => environment.facts.losses.fit(value, &columns[*column], number + 1)?,
            });
        }
        let mut whole = Vec::with_capacity(columns.len());
        for (index, value) in row.into_iter().enumerate() {
            whole.push(match value {
                Some(value) => value,
                None => default_of(table, index, now)?,
            });
        }
        if let Some(own) = own {
            match &whole[own] {
                Value::Null => missing += 1,
                value => {
                    let digits = exact(value).map_or(0, |(digits, _)| digits);
                    greatest = greatest.max(u64::try_from(digits).ok());
                }
            }
        }
        held.add(&whole)?;
        rows.push(whole);
    }
    let mut generated = 0..0;
    if let (Some(sequence), Some(own)) = (&sequence, own) {
        if let Some(greatest) = greatest {
            catalog.advance(table, sequence, greatest).await?;
        }
        if missing > 0 {
            let mut next = catalog.reserve(table, sequence, missing).await?;
            let first = next;
            for (number, row) in rows.iter_mut().enumerate() {
                if row[own] == Value::Null {
                    let value = integer_value(duet_client::ColumnType::BigIntUnsigned, i128::from(next));
                    row[own] = fit(value, &columns[own], number + 1)?;
                    next += 1;
                }
            }
            generated = first..next;
        }
    }
    Ok(NewRows { rows, numbered: Numbered { column: own, generated }, _held: held })
}

fn evaluated(
    expression: &Expression,
    column_type: ColumnType,
    environment: &Environment<'_>,
) -> Result<Value> {
    match expression {
        Expression::Constant(value) => Ok(value.clone()),
        other => other.evaluate_for(column_type, environment),
    }
}

/// Inserts a single row outside of a transaction.
///
/// # Errors
/// 1062 when there is such a row; those of the cluster.
pub async fn insert_alone(client: &Client, table: &Table, row: &Values) -> Result<Inserted> {
    let mut pooled = client.batch();
    pooled.batch().insert(table, row)?;
    pooled.execute().await?;
    match pooled.batch().written(0) {
        Ok(_) => Ok(Inserted { affected: 1, ..Inserted::default() }),
        Err(error) if error.is(ErrorCode::DuplicateKey) => {
            Err(duplicate(table, "PRIMARY", &key_of(table, row)))
        }
        Err(error) if error.is(ErrorCode::UniqueViolation) => Err(unique_violation(table, row)),
        Err(error) => Err(error.into()),
    }
}

/// Which unique index it was, where the cluster does not say.
fn unique_violation(table: &Table, row: &Values) -> SqlError {
    let mut unique = table.definition().indexes.iter().filter(|index| index.kind == IndexKind::Unique);
    match (unique.next(), unique.next()) {
        (Some(index), None) => {
            let values: Vec<Value> =
                index.columns.iter().map(|column| row[usize::from(*column)].clone()).collect();
            duplicate(table, &index.name, &values)
        }
        _ => SqlError::duplicate_entry(format!("Duplicate entry for a unique key of '{}'", table.name())),
    }
}

/// Inserts rows in a transaction of their own that fails as a whole, in one batch with its commit.
///
/// # Errors
/// 1062 when there is such a row; those of the cluster.
pub async fn insert_together(client: &Client, table: &Table, rows: &[Values]) -> Result<Inserted> {
    let transaction = client.begin();
    let mut batch = Batch::new();
    for row in rows {
        batch.insert(table, row)?;
    }
    batch.commit()?;
    transaction.execute(&mut batch).await?;
    let mut first = None;
    for (index, row) in rows.iter().enumerate() {
        match batch.written(index) {
            Ok(_) => {}
            Err(error) if error.is(ErrorCode::DuplicateKey) => {
                return Err(duplicate(table, "PRIMARY", &key_of(table, row)));
            }
            Err(error) if error.is(ErrorCode::UniqueViolation) => return Err(unique_violation(table, row)),
            // Said of all operations behind the one that failed.
            Err(error) if error.is(ErrorCode::TransactionFailed) => first = first.or(Some(error)),
            Err(error) => return Err(error.into()),
        }
    }
    match (batch.ending(rows.len()), first) {
        (Ok(ending), None) if ending.committed => {
            Ok(Inserted { affected: rows.len() as u64, ..Inserted::default() })
        }
        (Err(error), _) | (Ok(_), Some(error)) => Err(error.into()),
        (Ok(_), None) => Err(SqlError::deadlock("the transaction was rolled back")),
    }
}

/// A row of the table or of the statement that a new row collides with.
struct Known {
    row: Values,
}

/// Inserts rows within a transaction, doing with rows that exist what the statement says.
///
/// # Errors
/// 1062 when there is such a row and the statement shall fail then; those of the cluster.
pub async fn insert_within(
    plan: &InsertPlan,
    rows: Vec<Values>,
    numbered: &Numbered,
    environment: &Environment<'_>,
    transaction: &mut OpenTransaction,
) -> Result<Inserted> {
    let table = &plan.table;
    let unique: Vec<_> = unique_indexes(table).collect();
    if plan.mode == InsertMode::Fail && unique.is_empty() {
        return insert_or_undo(table, &rows, transaction).await;
    }
    let keys: Vec<Vec<Value>> = rows.iter().map(|row| key_of(table, row)).collect();
    let encoded = |key: &Vec<Value>| encoded(table, key);
    // What is there, by primary key, and by the values of each unique index the primary key.
    let mut present: FxHashMap<Vec<u8>, Known> = FxHashMap::default();
    for (key, row) in keys.iter().zip(read_each(transaction, table, &keys, Some(Lock::Exclusive)).await?) {
        if let Some(row) = row {
            present.insert(encoded(key)?, Known { row });
        }
    }
    let mut owners: Vec<FxHashMap<Vec<u8>, Vec<Value>>> = vec![FxHashMap::default(); unique.len()];
    let values_of = |columns: &[u16], row: &Values| -> Option<Vec<Value>> {
        let values: Vec<Value> = columns.iter().map(|column| row[usize::from(*column)].clone()).collect();
        (!values.contains(&Value::Null)).then_some(values)
    };
    let name_of = |values: &[Value]| {
        let mut bytes = Vec::new();
        values.iter().for_each(|value| crate::expression::aggregate::put_distinct(value, &mut bytes));
        bytes
    };
    for (index, owners) in unique.iter().zip(&mut owners) {
        let wanted: Vec<Vec<Value>> = rows.iter().filter_map(|row| values_of(&index.columns, row)).collect();
        let found = find_unique(transaction, table, &index.name, &wanted, Some(Lock::Exclusive)).await?;
        for (values, row) in wanted.iter().zip(found) {
            if let Some(row) = row {
                let key = key_of(table, row.values());
                present.entry(encoded(&key)?).or_insert_with(|| Known { row: row.values().to_vec() });
                owners.insert(name_of(values), key);
            }
        }
    }
    let mut writes: Vec<Write> = Vec::with_capacity(rows.len());
    // Keys that rows had when the statement began, and have no longer.
    let mut left: FxHashSet<Vec<u8>> = FxHashSet::default();
    let (mut done, mut ids) = (Inserted::default(), InsertIds::default());
    for (number, (row, key)) in rows.into_iter().zip(keys).enumerate() {
        // Keys of the rows that this one collides with, and how the first collision is called.
        let mut others: Vec<Vec<Value>> = Vec::new();
        let mut collision: Option<SqlError> = None;
        if present.contains_key(&encoded(&key)?) {
            collision = Some(duplicate(table, "PRIMARY", &key));
            others.push(key.clone());
        }
        for (index, owners) in unique.iter().zip(&owners) {
            let Some(values) = values_of(&index.columns, &row) else { continue };
            if let Some(owner) = owners.get(&name_of(&values)) {
                collision.get_or_insert_with(|| duplicate(table, &index.name, &values));
                if !others.contains(owner) {
                    others.push(owner.clone());
                }
            }
        }
        let forget = |row: &Values, owners: &mut Vec<FxHashMap<Vec<u8>, Vec<Value>>>| {
            for (index, owners) in unique.iter().zip(owners) {
                if let Some(values) = values_of(&index.columns, row) {
                    owners.remove(&name_of(&values));
                }
            }
        };
        let remember = |row: &Values, key: &Vec<Value>, owners: &mut Vec<FxHashMap<Vec<u8>, Vec<Value>>>| {
            for (index, owners) in unique.iter().zip(owners) {
                if let Some(values) = values_of(&index.columns, row) {
                    owners.insert(name_of(&values), key.clone());
                }
            }
        };
        match (collision, &plan.mode) {
            (None, _) => {
                ids.add(&row, numbered);
                remember(&row, &key, &mut owners);
                present.insert(encoded(&key)?, Known { row: row.clone() });
                writes.push(Write::Insert(key, row));
                done.affected += 1;
            }
            (Some(error), InsertMode::Fail) => return Err(error),
            (Some(error), InsertMode::Ignore) => {
                done.duplicates += 1;
                done.warnings.push(error);
            }
            (Some(_), InsertMode::Replace) => {
                for other in &others {
                    if let Some(known) = present.remove(&encoded(other)?) {
                        forget(&known.row, &mut owners);
                    }
                    if *other != key {
                        writes.push(Write::Delete(other.clone()));
                    }
                }
                ids.add(&row, numbered);
                remember(&row, &key, &mut owners);
                present.insert(encoded(&key)?, Known { row: row.clone() });
                writes.push(Write::Replace(key, row));
                done.affected += 1 + others.len() as u64;
                done.duplicates += 1;
            }
            (Some(_), InsertMode::Update(assignments)) => {
                let other = others.swap_remove(0);
                let bytes = encoded(&other)?;
                let Some(known) = present.get(&bytes) else { continue };
                let proposed = match plan.beside.get(number) {
                    None => Cow::Borrowed(&row),
                    Some(beside) => Cow::Owned([row.as_slice(), beside].concat()),
                };
                let mut changed = known.row.clone();
                for (column, value) in assignments {
                    let at = Environment { proposed: &proposed, ..environment.with_row(&changed) };
                    changed[*column] = value.fitted(&table.definition().columns[*column], &at, number + 1)?;
                }
                done.duplicates += 1;
                ids.add(&changed, numbered);
                if changed == known.row {
                    continue;
                }
                for (column, time) in times_of_change(table, assignments, environment.facts.now) {
                    changed[usize::from(column)] = time;
                }
                for (index, owners) in unique.iter().zip(&owners) {
                    if let Some(values) = values_of(&index.columns, &changed)
                        && values_of(&index.columns, &known.row).as_ref() != Some(&values)
                    {
                        // Looked up by the new values, which nobody has looked at yet.
                        let found = find_unique(
                            transaction,
                            table,
                            &index.name,
                            std::slice::from_ref(&values),
                            Some(Lock::Exclusive),
                        )
                        .await?;
                        if owners.contains_key(&name_of(&values)) || found.iter().any(Option::is_some) {
                            return Err(duplicate(table, &index.name, &values));
                        }
                    }
                }
                let new = key_of(table, &changed);
                if new != other {
                    let taken = encoded(&new)?;
                    let mut is_taken = present.contains_key(&taken);
                    if !is_taken && !left.contains(&taken) {
                        let there =
                            read_each(transaction, table, std::slice::from_ref(&new), Some(Lock::Exclusive))
                                .await?;
                        is_taken = there.iter().any(Option::is_some);
                    }
                    if is_taken {
                        return Err(duplicate(table, "PRIMARY", &new));
                    }
                }
                forget(&known.row, &mut owners);
                remember(&changed, &new, &mut owners);
                done.affected += 2;
                let after = Known { row: changed.clone() };
                if new == other {
                    let before = present.insert(bytes, after);
                    let before = before.map(|known| known.row).unwrap_or_default();
                    writes.push(Write::Change(other, before, changed));
                } else {
                    present.insert(encoded(&new)?, after);
                    present.remove(&bytes);
                    left.insert(bytes);
                    done.greatest = done.greatest.max(numbered.of(&changed));
                    writes.push(Write::Delete(other));
                    writes.push(Write::Insert(new, changed));
                }
            }
        }
    }
    write_all(table, &writes, transaction).await?;
    Ok(Inserted { ids: Some(ids), ..done })
}

/// Inserts rows that may exist: one that does is left alone and says so, and those of the statement that were inserted are deleted again.
async fn insert_or_undo(
    table: &Table,
    rows: &[Values],
    transaction: &mut OpenTransaction,
) -> Result<Inserted> {
    if rows.len() > CHUNK_WRITES {
        check_rows(table, rows.iter())?;
    }
    let mut inserted: Vec<Vec<Value>> = Vec::with_capacity(rows.len());
    let mut existing = None;
    for chunk in rows.chunks(CHUNK_WRITES) {
        let mut pooled = transaction.batch()?;
        let batch = pooled.batch();
        for row in chunk {
            let index = batch.insert(table, row)?;
            batch.ignore_row(index);
        }
        transaction.run(&mut pooled).await?;
        let batch = pooled.batch();
        for (index, row) in chunk.iter().enumerate() {
            match batch.written(index) {
                Ok(written) if written.ignored => existing = existing.or(Some(key_of(table, row))),
                Ok(_) => {
                    let key = key_of(table, row);
                    transaction.wrote(table, key.clone())?;
                    inserted.push(key);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if existing.is_some() {
            break;
        }
    }
    let Some(existing) = existing else {
        return Ok(Inserted { affected: rows.len() as u64, ..Inserted::default() });
    };
    let undo: Vec<Write> = inserted.into_iter().map(Write::Delete).collect();
    write_all(table, &undo, transaction).await?;
    Err(duplicate(table, "PRIMARY", &existing))
}

enum Write {
    Insert(Vec<Value>, Values),
    Replace(Vec<Value>, Values),
    Delete(Vec<Value>),
    /// Key, the row before, the row behind it.
    Change(Vec<Value>, Values, Values),
}

/// Deletions are done before what follows them: they may free values of unique indexes.
async fn write_all(table: &Table, writes: &[Write], transaction: &mut OpenTransaction) -> Result<()> {
    let mut batch = Batch::new();
    // What goes in one batch is sent when all of it is known to fit.
    if writes.len() > CHUNK_WRITES || writes.iter().any(|write| matches!(write, Write::Delete(_))) {
        let rows = writes.iter().filter_map(|write| match write {
            Write::Insert(_, row) | Write::Replace(_, row) => Some(row),
            Write::Delete(_) | Write::Change(..) => None,
        });
        check_rows(table, rows)?;
    }
    let together =
        |one: &Write, next: &Write| !matches!(one, Write::Delete(_)) || matches!(next, Write::Delete(_));
    for chunk in writes.chunk_by(together).flat_map(|run| run.chunks(CHUNK_WRITES)) {
        batch.clear();
        for write in chunk {
            match write {
                Write::Insert(_, row) => batch.insert(table, row)?,
                Write::Replace(_, row) => batch.upsert(table, row, Expectation::Any)?,
                Write::Delete(key) => batch.delete(table, key, Expectation::Any)?,
                Write::Change(key, before, behind) => {
                    batch.update(table, key, &differences(before, behind), Expectation::Any)?
                }
            };
        }
        transaction.execute(&mut batch).await?;
        for write in chunk {
            let (Write::Insert(key, _)
            | Write::Replace(key, _)
            | Write::Delete(key)
            | Write::Change(key, ..)) = write;
            transaction.wrote(table, key.clone())?;
        }
    }
    Ok(())
}
