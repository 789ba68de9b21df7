//! UPDATE and DELETE.
//!
//! A single row by its primary key is changed in one or two round trips without a transaction: additions and deletions at once, other
//! changes by compare-and-set on the version that was read, because MySQL tells how many rows a statement has really changed.
//! Everything else locks its rows in a transaction first.

use crate::error::{Result, SqlError};
use crate::execute::insert::{duplicate, number};
use crate::execute::locked::{Search, find_locked};
use crate::execute::read::{Values, find_unique, read_each};
use crate::execute::select::sort;
use crate::execute::transaction::{OpenTransaction, check_rows, key_of};
use crate::expression::aggregate::put_distinct;
use crate::expression::{Environment, Expression};
use crate::memory::{Memory, content_bytes};
use crate::plan::{BoundAccess, DeletePlan, UpdatePlan, times_of_change, unique_indexes};
use crate::value::compare::{exact, first_difference, sort_order};
use duet_client::{
    Assignment, Batch, Client, ErrorCode, Expectation, IndexKind, Lock, Table, Value, ValueRef,
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;

/// Tries of a compare-and-set before the row is locked instead.
const TRIES: usize = 8;
/// Writes that are sent at once.
const CHUNK_WRITES: usize = 1_024;

/// Rows that a statement found, and those that it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that the condition is true of.
    pub matched: u64,
    /// Rows that are different now.
    pub changed: u64,
    /// Greatest number that the AUTO_INCREMENT column was set to in rows that have got another key.
    pub greatest: Option<u64>,
}

impl Counts {
    fn of(matched: u64, changed: u64) -> Counts {
        Counts { matched, changed, greatest: None }
    }
}

/// What came of trying without a transaction.
pub enum Attempt {
    /// It is done.
    Done(Counts),
    /// It needs a transaction.
    NeedsTransaction,
}

/// The values that assignments give a row: those that differ from what it has, and where there are any the times of the change.
fn changes(
    plan: &UpdatePlan,
    times: &[(u16, Value)],
    row: &[Value],
    environment: &Environment<'_>,
    number: usize,
) -> Result<Vec<(u16, Value)>> {
    let columns = &plan.table.definition().columns;
    let proposed = plan.given_to(row)?;
    let mut changed = Vec::new();
    if plan.is_chained {
        let mut new = row.to_vec();
        for (column, expression) in &plan.assignments {
            let at = Environment { proposed, ..environment.with_row(&new) };
            new[*column] = expression.fitted(&columns[*column], &at, number)?;
        }
        let differ = new.into_iter().enumerate().filter(|(column, value)| *value != row[*column]);
        changed.extend(differ.map(|(column, value)| (column as u16, value)));
    } else {
        let at = Environment { proposed, ..environment.with_row(row) };
        for (column, expression) in &plan.assignments {
            let value = expression.fitted(&columns[*column], &at, number)?;
            if value != row[*column] {
                changed.push((*column as u16, value));
            }
        }
    }
    if !changed.is_empty() {
        let new = times.iter().filter(|(column, time)| row[usize::from(*column)] != *time);
        changed.extend(new.cloned());
    }
    Ok(changed)
}

fn as_assignments(changed: &[(u16, Value)]) -> Vec<(u16, Assignment<'_>)> {
    let mut list: Vec<(u16, Assignment<'_>)> =
        changed.iter().map(|(column, value)| (*column, Assignment::Set(ValueRef::from(value)))).collect();
    list.sort_by_key(|(column, _)| *column);
    list
}

/// The error of a change that another row's unique values, or a column's range, forbid.
fn changed_error(table: &Table, error: duet_client::Error) -> SqlError {
    match error.error_code() {
        Some(ErrorCode::UniqueViolation) => {
            SqlError::duplicate_entry(format!("Duplicate entry for a unique key of '{}'", table.name()))
        }
        // What is sent is well formed: it is the sum that does not fit.
        Some(ErrorCode::OutOfRange | ErrorCode::InvalidUpdate) => {
            SqlError::out_of_range(format!("Out of range value for a column of '{}' at row 1", table.name()))
        }
        _ => error.into(),
    }
}

/// The additions of an update as the data node makes them; `None` where one is no integer, `Some` empty where all are zero.
fn bound_additions(
    additions: &[(usize, bool, &Expression)],
    environment: &Environment<'_>,
) -> Result<Option<Vec<(u16, i64)>>> {
    let mut bound = Vec::with_capacity(additions.len());
    for (column, subtract, amount) in additions {
        let value = amount.evaluate(environment)?;
        let amount = match (&value, exact(&value)) {
            (Value::Decimal { .. }, _) | (_, None) => return Ok(None),
            (_, Some((number, _))) => i64::try_from(if *subtract { -number } else { number }).ok(),
        };
        let Some(amount) = amount else { return Ok(None) };
        bound.push((*column as u16, amount));
    }
    bound.retain(|(_, amount)| *amount != 0);
    bound.sort_by_key(|(column, _)| *column);
    Ok(Some(bound))
}

fn single_key(access: &BoundAccess) -> Option<Option<&Vec<Value>>> {
    match access {
        BoundAccess::Keys { index: None, keys } => match keys.as_slice() {
            [] => Some(None),
            [key] => Some(Some(key)),
            _ => None,
        },
        _ => None,
    }
}

/// Additions and times of the change as the cluster takes them, sorted by column.
fn added<'a>(bound: &[(u16, i64)], times: &'a [(u16, Value)]) -> Vec<(u16, Assignment<'a>)> {
    let mut list = as_assignments(times);
    list.extend(bound.iter().map(|(column, by)| (*column, Assignment::Add(ValueRef::Int(*by)))));
    list.sort_by_key(|(column, _)| *column);
    list
}

/// The new values of an update that depend on no row, and of no column that a key has; `None` of other updates, and of tables with
/// a column that takes the time of a change: whether there is one has to be known first.
fn constant_values(plan: &UpdatePlan, environment: &Environment<'_>) -> Result<Option<Vec<(u16, Value)>>> {
    let definition = plan.table.definition();
    if plan.sets_key()
        || plan.is_chained
        || !times_of_change(&plan.table, &plan.assignments, environment.facts.now).is_empty()
    {
        return Ok(None);
    }
    let mut values = Vec::with_capacity(plan.assignments.len());
    for (column, expression) in &plan.assignments {
        let number = *column as u16;
        let unique = |index: &duet_client::IndexDefinition| {
            index.kind == IndexKind::Unique && index.columns.contains(&number)
        };
        if !expression.is_constant() || definition.indexes.iter().any(unique) {
            return Ok(None);
        }
        values.push((number, expression.fitted(&definition.columns[*column], environment, 1)?));
    }
    Ok(Some(values))
}

/// UPDATE of at most one row, outside of a transaction. Constants are written without a look at the row: the node that has it tells
/// whether it is different now.
///
/// # Errors
/// Those of expressions and of the cluster.
pub async fn update_alone(
    client: &Client,
    plan: &UpdatePlan,
    environment: &Environment<'_>,
) -> Result<Attempt> {
    let table = &plan.table;
    let access = plan.access.bind(&table.definition().columns, environment)?;
    let key = match single_key(&access) {
        Some(None) => return Ok(Attempt::Done(Counts::default())),
        Some(Some(key)) if plan.limit.is_none() && !plan.sets_key() => key,
        _ => return Ok(Attempt::NeedsTransaction),
    };
    if plan.access.exact
        && let Some(additions) = plan.additions()
        && let Some(bound) = bound_additions(&additions, environment)?
        && !bound.is_empty()
    {
        let times = times_of_change(table, &plan.assignments, environment.facts.now);
        let mut pooled = client.batch();
        pooled.batch().update(table, key, &added(&bound, &times), Expectation::Any)?;
        pooled.execute().await?;
        return match pooled.batch().written(0) {
            Ok(_) => Ok(Attempt::Done(Counts::of(1, 1))),
            Err(error) if error.is(ErrorCode::RowNotFound) => Ok(Attempt::Done(Counts::default())),
            Err(error) => Err(changed_error(table, error)),
        };
    }
    // An error of a value is one of statements that find their row only.
    if plan.access.exact
        && let Ok(Some(values)) = constant_values(plan, environment)
    {
        let mut pooled = client.batch();
        pooled.batch().update(table, key, &as_assignments(&values), Expectation::Any)?;
        pooled.execute().await?;
        return match pooled.batch().written(0) {
            Ok(written) => {
                let changed = u64::from(written.differs() != Some(false));
                Ok(Attempt::Done(Counts::of(1, changed)))
            }
            Err(error) if error.is(ErrorCode::RowNotFound) => Ok(Attempt::Done(Counts::default())),
            Err(error) => Err(changed_error(table, error)),
        };
    }
    let times = times_of_change(table, &plan.assignments, environment.facts.now);
    for _ in 0..TRIES {
        let Some(row) = client.get(table, key).await? else { return Ok(Attempt::Done(Counts::default())) };
        let at = environment.with_row(row.values());
        if let Some(filter) = &plan.filter
            && filter.truth(&at)? != Some(true)
        {
            return Ok(Attempt::Done(Counts::default()));
        }
        let changed = changes(plan, &times, row.values(), environment, 1)?;
        if changed.is_empty() {
            return Ok(Attempt::Done(Counts::of(1, 0)));
        }
        let mut batch = Batch::new();
        batch.update(table, key, &as_assignments(&changed), Expectation::Version(row.version()))?;
        client.execute(&mut batch).await?;
        match batch.written(0) {
            Ok(_) => return Ok(Attempt::Done(Counts::of(1, 1))),
            Err(error) if error.is(ErrorCode::VersionMismatch) || error.is(ErrorCode::RowNotFound) => {}
            Err(error) => return Err(changed_error(table, error)),
        }
    }
    Ok(Attempt::NeedsTransaction)
}

/// DELETE of at most one row, outside of a transaction.
///
/// # Errors
/// Those of expressions and of the cluster.
pub async fn delete_alone(
    client: &Client,
    plan: &DeletePlan,
    environment: &Environment<'_>,
) -> Result<Attempt> {
    let access = plan.access.bind(&plan.table.definition().columns, environment)?;
    match single_key(&access) {
        Some(None) => Ok(Attempt::Done(Counts::default())),
        Some(Some(key)) if plan.access.exact && plan.limit.is_none() => {
            match client.delete(&plan.table, key).await {
                Ok(_) => Ok(Attempt::Done(Counts::of(1, 1))),
                Err(error) if error.is(ErrorCode::RowNotFound) => Ok(Attempt::Done(Counts::default())),
                Err(error) => Err(error.into()),
            }
        }
        _ => Ok(Attempt::NeedsTransaction),
    }
}

/// Rows in the order of the statement, as many as it wants.
fn chosen(
    mut rows: Vec<Values>,
    search: &Search<'_>,
    environment: &Environment<'_>,
    memory: &Memory,
) -> Result<Vec<Values>> {
    if !search.order.is_empty() {
        let mut keyed = Vec::with_capacity(rows.len());
        let mut held = memory.hold();
        for row in rows {
            let at = environment.with_row(&row);
            let key = search.order.iter().map(|(part, _)| part.evaluate(&at)).collect::<Result<Values>>()?;
            held.add(&key)?;
            keyed.push((key, row));
        }
        sort(&mut keyed, search.order);
        rows = keyed.into_iter().map(|(_, row)| row).collect();
    }
    rows.truncate(search.limit);
    Ok(rows)
}

/// How many rows LIMIT lets a statement change.
fn limit_of(limit: Option<&Expression>, environment: &Environment<'_>) -> Result<usize> {
    let Some(limit) = limit else { return Ok(usize::MAX) };
    match exact(&limit.evaluate(environment)?) {
        Some((number, 0)) if number >= 0 => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
        _ => Err(SqlError::wrong_arguments("Incorrect arguments to LIMIT")),
    }
}

/// UPDATE within a transaction.
///
/// # Errors
/// Those of expressions and of the cluster.
pub async fn update_within(
    client: &Client,
    plan: &UpdatePlan,
    environment: &Environment<'_>,
    transaction: &mut OpenTransaction,
) -> Result<Counts> {
    let table = &plan.table;
    let access = plan.access.bind(&table.definition().columns, environment)?;
    if let Some(None) = single_key(&access) {
        return Ok(Counts::default());
    }
    if let Some(Some(key)) = single_key(&access)
        && plan.access.exact
        && let Some(additions) = plan.additions()
        && let Some(bound) = bound_additions(&additions, environment)?
        && !bound.is_empty()
    {
        let times = times_of_change(table, &plan.assignments, environment.facts.now);
        let mut pooled = transaction.batch()?;
        let index = pooled.batch().update(table, key, &added(&bound, &times), Expectation::Any)?;
        pooled.batch().ignore_row(index);
        transaction.run(&mut pooled).await?;
        return match pooled.batch().written(index) {
            Ok(written) if written.ignored => Ok(Counts::default()),
            Ok(_) => {
                transaction.wrote(table, key.clone())?;
                Ok(Counts::of(1, 1))
            }
            Err(error) => {
                let shown = changed_error(table, error.clone());
                transaction.fail(error);
                Err(shown)
            }
        };
    }
    if let Some(Some(key)) = single_key(&access)
        && plan.access.exact
        && plan.limit.is_none()
        && let Ok(Some(values)) = constant_values(plan, environment)
    {
        return update_constants(table, key, &values, transaction).await;
    }
    let filter = plan.access.unchecked(&access, plan.filter.as_ref());
    let limit = limit_of(plan.limit.as_ref(), environment)?;
    let search = Search { table, filter, order: &plan.order, sorted: None, limit, lock: Lock::Exclusive };
    let rows = find_locked(client, &search, access, environment, transaction).await?;
    let mut rows = chosen(rows, &search, environment, transaction.memory())?;
    if plan.sets_key() && plan.order.is_empty() {
        // As in MySQL: a row may take the key that one before it had.
        rows.sort_by(|a, b| {
            let columns = table.definition().primary_key.iter().map(|column| usize::from(*column));
            first_difference(columns.map(|column| (sort_order(&a[column], &b[column]), false)))
        });
    }
    let times = times_of_change(table, &plan.assignments, environment.facts.now);
    let mut counts = Counts::of(rows.len() as u64, 0);
    // All new values first: a row that does not fit leaves the transaction as it was.
    let mut writes = Vec::with_capacity(rows.len());
    let mut held = transaction.memory().hold();
    for (number, row) in rows.iter().enumerate() {
        let changed = changes(plan, &times, row, environment, number + 1)?;
        if !changed.is_empty() {
            let write = Write::new(table, row, changed);
            held.grow(write.bytes())?;
            counts.greatest = counts.greatest.max(write.number(plan.numbered));
            writes.push(write);
        }
    }
    let borders = check_unique_changes(table, &writes, transaction).await?;
    let mut batch = Batch::new();
    // Rows that get another key leave theirs, and their values of unique indexes, before others take them.
    let moved: Vec<&Write<'_>> = writes.iter().filter(|write| write.moved.is_some()).collect();
    // Nothing is deleted before it is known that all rows can be written.
    check_rows(table, moved.iter().filter_map(|write| write.moved.as_ref()).map(|(_, row)| row))?;
    for chunk in moved.chunks(CHUNK_WRITES) {
        batch.clear();
        for write in chunk {
            batch.delete(table, &write.key, Expectation::Any)?;
        }
        transaction.execute(&mut batch).await?;
        for write in chunk {
            transaction.wrote(table, write.key.clone())?;
        }
    }
    let ends = borders.iter().copied().chain([writes.len()]);
    let runs =
        [0].into_iter().chain(borders.iter().copied()).zip(ends).map(|(begin, end)| &writes[begin..end]);
    for chunk in runs.flat_map(|run| run.chunks(CHUNK_WRITES)) {
        batch.clear();
        for write in chunk {
            match &write.moved {
                None => batch.update(table, &write.key, &as_assignments(&write.changed), Expectation::Any),
                Some((_, row)) => batch.insert(table, row),
            }
            .map_err(|error| transaction.give_up(error.into()))?;
        }
        transaction.execute(&mut batch).await?;
        for write in chunk {
            transaction.wrote(table, write.key.clone())?;
            if let Some((key, _)) = &write.moved {
                transaction.wrote(table, key.clone())?;
            }
            counts.changed += 1;
        }
    }
    Ok(counts)
}

/// Writes constants to a row in one round trip: the node that has it tells whether it is different now.
async fn update_constants(
    table: &Table,
    key: &Vec<Value>,
    values: &[(u16, Value)],
    transaction: &mut OpenTransaction,
) -> Result<Counts> {
    let mut pooled = transaction.batch()?;
    let update = pooled.batch().update(table, key, &as_assignments(values), Expectation::Any)?;
    pooled.batch().ignore_row(update);
    transaction.run(&mut pooled).await?;
    match pooled.batch().written(update) {
        Ok(written) if written.ignored => Ok(Counts::default()),
        Ok(written) => {
            transaction.wrote(table, key.clone())?;
            Ok(Counts::of(1, u64::from(written.differs() != Some(false))))
        }
        Err(error) => {
            let shown = changed_error(table, error.clone());
            transaction.fail(error);
            Err(shown)
        }
    }
}

/// A row that is different after an UPDATE.
struct Write<'a> {
    key: Vec<Value>,
    row: &'a Values,
    changed: Vec<(u16, Value)>,
    /// Key and row, where it has another key afterwards.
    moved: Option<(Vec<Value>, Values)>,
}

impl<'a> Write<'a> {
    fn new(table: &Table, row: &'a Values, changed: Vec<(u16, Value)>) -> Write<'a> {
        let key = key_of(table, row);
        let mut moved = None;
        if changed.iter().any(|(column, _)| table.definition().is_key_column(*column)) {
            let mut new = row.clone();
            for (column, value) in &changed {
                new[usize::from(*column)] = value.clone();
            }
            moved = Some((key_of(table, &new), new));
        }
        Write { key, row, changed, moved }
    }

    fn bytes(&self) -> usize {
        let moved = self.moved.iter().flat_map(|(key, row)| key.iter().chain(row));
        let values = self.changed.iter().map(|(_, value)| value).chain(moved);
        values.map(|value| size_of::<Value>() + content_bytes(value)).sum()
    }

    /// What a row that gets another key has in this column then.
    fn number(&self, column: Option<u16>) -> Option<u64> {
        let (_, row) = self.moved.as_ref()?;
        number(&row[usize::from(column?)])
    }
}

/// Finds out whether changed values of unique keys belong to other rows, before anything is written: the cluster would roll the whole
/// transaction back. Rows change one after the other, as in MySQL, so that one may take what a row before has given up: it is written after
/// that, and where such writes begin is what this gives. Rows that get another key have given up everything before all writes.
async fn check_unique_changes(
    table: &Table,
    writes: &[Write<'_>],
    transaction: &mut OpenTransaction,
) -> Result<BTreeSet<usize>> {
    let mut borders = BTreeSet::new();
    let primary = (None, &table.definition().primary_key);
    let others = unique_indexes(table).map(|index| (Some(index.name.as_str()), &index.columns));
    for (name, columns) in std::iter::once(primary).chain(others) {
        // What rows give up and take, each NULL or not; which write it is.
        let mut moves: Vec<(usize, Vec<Value>, Vec<Value>)> = Vec::new();
        for (number, Write { changed, row, .. }) in writes.iter().enumerate() {
            if !changed.iter().any(|(column, _)| columns.contains(column)) {
                continue;
            }
            let old = |column: &u16| row[usize::from(*column)].clone();
            let new = |column: &u16| {
                let new = changed.iter().find(|(changed, _)| changed == column);
                new.map_or_else(|| old(column), |(_, value)| value.clone())
            };
            moves.push((number, columns.iter().map(old).collect(), columns.iter().map(new).collect()));
        }
        let taken: Vec<Vec<Value>> =
            moves.iter().map(|(.., new)| new.clone()).filter(|new| !new.contains(&Value::Null)).collect();
        if taken.is_empty() {
            continue;
        }
        let name_of = |values: &[Value]| {
            let mut bytes = Vec::new();
            values.iter().for_each(|value| put_distinct(value, &mut bytes));
            bytes
        };
        let found: Vec<Option<Values>> = match name {
            None => read_each(transaction, table, &taken, Some(Lock::Exclusive)).await?,
            Some(name) => {
                let found = find_unique(transaction, table, name, &taken, Some(Lock::Exclusive)).await?;
                found.into_iter().map(|row| row.map(|row| row.values().to_vec())).collect()
            }
        };
        let owned = found
            .iter()
            .zip(&taken)
            .filter_map(|(row, values)| row.as_ref().map(|row| (name_of(values), key_of(table, row))));
        let mut owners: FxHashMap<Vec<u8>, Vec<Value>> = owned.collect();
        let mut given_up: FxHashSet<Vec<u8>> = FxHashSet::default();
        for (number, old, new) in moves {
            let key = &writes[number].key;
            if !new.contains(&Value::Null) {
                let taken = name_of(&new);
                if owners.get(&taken).is_some_and(|owner| owner != key) {
                    return Err(duplicate(table, name.unwrap_or("PRIMARY"), &new));
                }
                if given_up.contains(&taken) {
                    borders.insert(number);
                    given_up.clear();
                }
                owners.insert(taken, key.clone());
            }
            let left = name_of(&old);
            owners.remove(&left);
            if writes[number].moved.is_none() {
                given_up.insert(left);
            }
        }
    }
    Ok(borders)
}

/// DELETE within a transaction.
///
/// # Errors
/// Those of expressions and of the cluster.
pub async fn delete_within(
    client: &Client,
    plan: &DeletePlan,
    environment: &Environment<'_>,
    transaction: &mut OpenTransaction,
) -> Result<Counts> {
    let table = &plan.table;
    let access = plan.access.bind(&table.definition().columns, environment)?;
    let keys: Vec<Vec<Value>> = match access {
        BoundAccess::Keys { index: None, keys } if plan.access.exact && plan.limit.is_none() => keys,
        access => {
            let filter = plan.access.unchecked(&access, plan.filter.as_ref());
            let limit = limit_of(plan.limit.as_ref(), environment)?;
            let lock = Lock::Exclusive;
            let search = Search { table, filter, order: &plan.order, sorted: None, limit, lock };
            let rows = find_locked(client, &search, access, environment, transaction).await?;
            let rows = chosen(rows, &search, environment, transaction.memory())?;
            rows.iter().map(|row| key_of(table, row)).collect()
        }
    };
    let mut counts = Counts::default();
    let mut batch = Batch::new();
    for chunk in keys.chunks(CHUNK_WRITES) {
        batch.clear();
        for key in chunk {
            let index = batch.delete(table, key, Expectation::Any)?;
            batch.ignore_row(index);
        }
        transaction.execute(&mut batch).await?;
        for (index, key) in chunk.iter().enumerate() {
            match batch.written(index) {
                Ok(written) if written.ignored => {}
                Ok(_) => {
                    transaction.wrote(table, key.clone())?;
                    counts.matched += 1;
                    counts.changed += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(counts)
}
