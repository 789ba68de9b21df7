//! SELECT: rows are filtered, grouped, ordered and cut as they come; what has to wait is bounded.

use crate::error::{Result, SqlError};
use crate::execute::read::{Rows, Values, Wanted, read_keys};
use crate::execute::transaction::{OpenTransaction, key_of};
use crate::expression::aggregate::put_distinct;
use crate::expression::{Accumulator, Environment, Expression, Facts};
use crate::plan::{Access, AccessKind, BoundAccess, Plan, SelectPlan, order_matches};
use crate::value::compare::{exact, order};
use duet_client::{Client, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use std::cmp::Ordering;
use std::sync::Arc;

/// Most bytes, by estimate, that one statement holds of rows that it sorts or groups.
pub const MAX_STATEMENT_BYTES: usize = 256 << 20;

/// Counts the bytes of rows that are held.
#[derive(Debug, Default)]
pub struct Held {
    bytes: usize,
}

impl Held {
    /// Adds a row.
    ///
    /// # Errors
    /// 1038 when there are too many.
    pub fn add(&mut self, row: &[Value]) -> Result<()> {
        let content = |value: &Value| match value {
            Value::Text(text) | Value::Json(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        self.bytes += row.iter().map(|value| size_of::<Value>() + content(value)).sum::<usize>() + 32;
        match self.bytes <= MAX_STATEMENT_BYTES {
            true => Ok(()),
            false => Err(SqlError {
                code: 1_038,
                state: "HY001",
                message: "Out of sort memory: the statement holds more than 256 MiB of rows".to_owned(),
            }),
        }
    }
}

/// Rows of a result on their way.
pub struct Cursor {
    plan: Arc<Plan>,
    parameters: Vec<Value>,
    facts: Facts,
    rows: Option<Rows>,
    /// Rows in order that are still to be given out, when they had to be collected.
    collected: Option<std::vec::IntoIter<Values>>,
    check_filter: bool,
    offset: u64,
    limit: u64,
    seen: Option<(FxHashSet<Vec<u8>>, usize)>,
}

fn row_count(expression: Option<&Expression>, environment: &Environment<'_>, otherwise: u64) -> Result<u64> {
    let Some(expression) = expression else { return Ok(otherwise) };
    let value = expression.evaluate(environment)?;
    match exact(&value) {
        Some((number, 0)) if number >= 0 => Ok(u64::try_from(number).unwrap_or(u64::MAX)),
        _ => Err(SqlError::wrong_arguments("Undeclared variable or negative number in LIMIT")),
    }
}

impl Cursor {
    /// Begins a SELECT.
    ///
    /// # Errors
    /// Those of expressions and of the cluster.
    pub async fn open(
        client: &Client,
        plan: Arc<Plan>,
        parameters: Vec<Value>,
        facts: Facts,
        transaction: Option<&mut OpenTransaction>,
    ) -> Result<Cursor> {
        let Plan::Select(select) = plan.as_ref() else {
            return Err(SqlError::other("the plan is not one of SELECT"));
        };
        let mut cursor = Cursor::begin(&plan, select, parameters, facts)?;
        let (limit, offset) = (cursor.limit, cursor.offset);
        let environment = Environment::new(&cursor.parameters, &cursor.facts);
        let Some(table) = &select.table else {
            let passes = match &select.filter {
                Some(filter) => filter.truth(&environment)? == Some(true),
                None => true,
            };
            let rows = if passes { vec![Vec::new()] } else { Vec::new() };
            cursor.finish_collected(select, rows)?;
            return Ok(cursor);
        };
        if limit == 0 {
            cursor.collected = Some(Vec::new().into_iter());
            return Ok(cursor);
        }
        let columns = &table.definition().columns;
        let grouped = !select.group.is_empty() || !select.aggregates.is_empty();
        let mut access = select.access.bind(columns, &environment)?;
        cursor.check_filter =
            !select.access.exact || matches!(access, BoundAccess::Full if select.filter.is_some());
        let mut wanted = Wanted::default();
        let mut sorted = select.order.is_empty();
        if !grouped && !sorted {
            wanted.order = ordered_by(select, &mut access);
            sorted = wanted.order.is_some();
        }
        if sorted && !grouped && !cursor.check_filter && !select.distinct && limit != u64::MAX {
            wanted.limit = Some(limit.saturating_add(offset));
        }
        let one_key = matches!(&access, BoundAccess::Keys { keys, .. } if keys.len() <= 1);
        sorted |= one_key;
        let mut transaction = transaction;
        if let (Some(lock), Some(transaction)) = (select.lock, transaction.as_deref_mut()) {
            let rows = locked_rows(client, select, access, &environment, lock, transaction).await?;
            cursor.check_filter = false;
            match grouped {
                true => {
                    let mut groups = Groups::new(select);
                    for row in rows {
                        groups.add(row, &environment)?;
                    }
                    let groups = groups.finish()?;
                    cursor.collect_groups(select, groups)?;
                }
                false => cursor.finish_collected(select, rows)?,
            }
            return Ok(cursor);
        }
        let mut rows = Rows::open(client, table, access, wanted, transaction).await?;
        if grouped {
            let mut groups = Groups::new(select);
            while let Some(chunk) = rows.next().await? {
                for row in chunk {
                    if cursor.passes(select, &row)? {
                        groups.add(row, &environment)?;
                    }
                }
            }
            let groups = groups.finish()?;
            cursor.collect_groups(select, groups)?;
            return Ok(cursor);
        }
        if sorted && (select.order.is_empty() || !rows.is_mixed()) {
            cursor.rows = Some(rows);
            return Ok(cursor);
        }
        let mut held = Held::default();
        let mut all = Vec::new();
        while let Some(chunk) = rows.next().await? {
            for row in chunk {
                if cursor.passes(select, &row)? {
                    held.add(&row)?;
                    all.push(row);
                }
            }
        }
        cursor.finish_collected(select, all)?;
        Ok(cursor)
    }

    /// A cursor that has read nothing yet.
    fn begin(plan: &Arc<Plan>, select: &SelectPlan, parameters: Vec<Value>, facts: Facts) -> Result<Cursor> {
        let environment = Environment::new(&parameters, &facts);
        let limit = row_count(select.limit.as_ref(), &environment, u64::MAX)?;
        let offset = row_count(select.offset.as_ref(), &environment, 0)?;
        Ok(Cursor {
            rows: None,
            collected: None,
            check_filter: true,
            offset,
            limit,
            seen: select.distinct.then(Default::default),
            plan: Arc::clone(plan),
            parameters,
            facts,
        })
    }

    fn passes(&self, select: &SelectPlan, row: &[Value]) -> Result<bool> {
        match &select.filter {
            Some(filter) if self.check_filter => {
                let environment = Environment::new(&self.parameters, &self.facts).with_row(row);
                Ok(filter.truth(&environment)? == Some(true))
            }
            _ => Ok(true),
        }
    }

    /// Sorts rows of the table and makes them rows of the result.
    fn finish_collected(&mut self, select: &SelectPlan, mut rows: Vec<Values>) -> Result<()> {
        let environment = Environment::new(&self.parameters, &self.facts);
        if !select.group.is_empty() || !select.aggregates.is_empty() {
            let mut groups = Groups::new(select);
            for row in rows {
                groups.add(row, &environment)?;
            }
            let groups = groups.finish()?;
            return self.collect_groups(select, groups);
        }
        if !select.order.is_empty() && rows.len() > 1 {
            let mut keyed = Vec::with_capacity(rows.len());
            for row in rows {
                let at = environment.with_row(&row);
                let key =
                    select.order.iter().map(|(part, _)| part.evaluate(&at)).collect::<Result<Values>>()?;
                keyed.push((key, row));
            }
            keyed.sort_by(|(a, _), (b, _)| in_order(select, a, b));
            rows = keyed.into_iter().map(|(_, row)| row).collect();
        }
        let mut result = Vec::with_capacity(rows.len().min(1 << 16));
        for row in rows {
            let at = Environment::new(&self.parameters, &self.facts).with_row(&row);
            let row = select.items.iter().map(|(_, item)| item.evaluate(&at)).collect::<Result<Values>>()?;
            if !self.admits(&row)? {
                continue;
            }
            result.push(row);
            if self.limit == 0 {
                break;
            }
        }
        self.collected = Some(result.into_iter());
        Ok(())
    }

    fn collect_groups(&mut self, select: &SelectPlan, groups: Vec<(Values, Values)>) -> Result<()> {
        let mut keyed = Vec::with_capacity(groups.len());
        for (row, aggregates) in groups {
            let environment = Environment::new(&self.parameters, &self.facts);
            let at = Environment { row: &row, aggregates: &aggregates, ..environment };
            if let Some(having) = &select.having
                && having.truth(&at)? != Some(true)
            {
                continue;
            }
            let key = select.order.iter().map(|(part, _)| part.evaluate(&at)).collect::<Result<Values>>()?;
            let row = select.items.iter().map(|(_, item)| item.evaluate(&at)).collect::<Result<Values>>()?;
            keyed.push((key, row));
        }
        if !select.order.is_empty() {
            keyed.sort_by(|(a, _), (b, _)| in_order(select, a, b));
        }
        let mut result = Vec::with_capacity(keyed.len());
        for (_, row) in keyed {
            if self.limit == 0 {
                break;
            }
            if self.admits(&row)? {
                result.push(row);
            }
        }
        self.collected = Some(result.into_iter());
        Ok(())
    }

    /// Whether a row of the result is given out: not seen before, behind the offset, within the limit.
    fn admits(&mut self, row: &[Value]) -> Result<bool> {
        if let Some((seen, bytes)) = &mut self.seen {
            let mut key = Vec::new();
            row.iter().for_each(|value| put_distinct(value, &mut key));
            let length = key.len();
            if !seen.insert(key) {
                return Ok(false);
            }
            *bytes += length + 48;
            if *bytes > MAX_STATEMENT_BYTES {
                return Err(SqlError::out_of_memory("Out of memory: DISTINCT holds more than 256 MiB"));
            }
        }
        if self.offset > 0 {
            self.offset -= 1;
            return Ok(false);
        }
        if self.limit == 0 {
            return Ok(false);
        }
        self.limit -= 1;
        Ok(true)
    }

    /// The next rows of the result, maybe none; `None` at the end.
    ///
    /// # Errors
    /// Those of expressions and of the cluster.
    pub async fn next(&mut self) -> Result<Option<Vec<Values>>> {
        if let Some(collected) = &mut self.collected {
            let chunk: Vec<Values> = collected.by_ref().take(1_024).collect();
            return Ok(if chunk.is_empty() { None } else { Some(chunk) });
        }
        if self.limit == 0 {
            return Ok(None);
        }
        let plan = Arc::clone(&self.plan);
        let (Some(rows), Plan::Select(select)) = (&mut self.rows, plan.as_ref()) else { return Ok(None) };
        let Some(chunk) = rows.next().await? else { return Ok(None) };
        let mut result = Vec::with_capacity(chunk.len());
        for row in chunk {
            if !self.passes(select, &row)? {
                continue;
            }
            let at = Environment::new(&self.parameters, &self.facts).with_row(&row);
            let row = select.items.iter().map(|(_, item)| item.evaluate(&at)).collect::<Result<Values>>()?;
            if self.admits(&row)? {
                result.push(row);
            }
            if self.limit == 0 {
                break;
            }
        }
        Ok(Some(result))
    }
}

fn in_order(select: &SelectPlan, a: &[Value], b: &[Value]) -> Ordering {
    for ((a, b), (_, down)) in a.iter().zip(b).zip(&select.order) {
        let ordering = if *down { order(b, a) } else { order(a, b) };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}

/// Whether rows come in the wanted order when they are read in the order of an index. With a limit a full scan becomes one of an index that
/// has the order.
fn ordered_by(select: &SelectPlan, access: &mut BoundAccess) -> Option<bool> {
    let table = select.table.as_ref()?;
    match (&*access, &select.access.kind) {
        (BoundAccess::Range { .. }, AccessKind::Range { columns, equal, .. }) => {
            order_matches(&select.order, columns, equal.len())
        }
        (BoundAccess::Full, _) if select.limit.is_some() => {
            for (index, columns) in Access::ordered(table) {
                if let Some(down) = order_matches(&select.order, &columns, 0) {
                    *access = BoundAccess::Range { index, low: None, high: None };
                    return Some(down);
                }
            }
            None
        }
        _ => None,
    }
}

/// Rows that pass, locked: found without a lock, locked by their keys, and looked at once more.
async fn locked_rows(
    client: &Client,
    select: &SelectPlan,
    access: BoundAccess,
    environment: &Environment<'_>,
    lock: duet_client::Lock,
    transaction: &mut OpenTransaction,
) -> Result<Vec<Values>> {
    let Some(table) = &select.table else { return Ok(Vec::new()) };
    find_locked(client, table, access, select.filter.as_ref(), environment, lock, transaction).await
}

/// See [`locked_rows`].
///
/// # Errors
/// Those of expressions and of the cluster.
pub async fn find_locked(
    client: &Client,
    table: &duet_client::Table,
    access: BoundAccess,
    filter: Option<&Expression>,
    environment: &Environment<'_>,
    lock: duet_client::Lock,
    transaction: &mut OpenTransaction,
) -> Result<Vec<Values>> {
    let passes = |row: &[Value]| -> Result<bool> {
        match filter {
            Some(filter) => Ok(filter.truth(&environment.with_row(row))? == Some(true)),
            None => Ok(true),
        }
    };
    let keys = match access {
        BoundAccess::Keys { index: None, keys } => keys,
        access => {
            let mut keys = Vec::new();
            let mut held = Held::default();
            let mut rows = Rows::open(client, table, access, Wanted::default(), Some(transaction)).await?;
            while let Some(chunk) = rows.next().await? {
                for row in chunk {
                    if passes(&row)? {
                        let key = key_of(table, &row);
                        held.add(&key)?;
                        keys.push(key);
                    }
                }
            }
            keys
        }
    };
    let mut held = Held::default();
    let mut locked = Vec::new();
    for row in read_keys(transaction, table, &keys, Some(lock)).await? {
        if passes(&row)? {
            held.add(&row)?;
            locked.push(row);
        }
    }
    Ok(locked)
}

/// Groups and their aggregates.
struct Groups<'a> {
    select: &'a SelectPlan,
    groups: FxHashMap<Vec<u8>, usize>,
    states: Vec<(Values, Vec<Accumulator>)>,
    held: Held,
}

impl<'a> Groups<'a> {
    fn new(select: &'a SelectPlan) -> Groups<'a> {
        Groups { select, groups: FxHashMap::default(), states: Vec::new(), held: Held::default() }
    }

    fn new_state(&self) -> Vec<Accumulator> {
        self.select.aggregates.iter().map(Accumulator::new).collect()
    }

    fn add(&mut self, row: Values, environment: &Environment<'_>) -> Result<()> {
        let at = environment.with_row(&row);
        let mut key = Vec::new();
        for part in &self.select.group {
            put_distinct(&part.evaluate(&at)?, &mut key);
        }
        let mut values = Vec::with_capacity(self.select.aggregates.len());
        for call in &self.select.aggregates {
            values.push(match &call.argument {
                Some(argument) => argument.evaluate(&at)?,
                None => Value::Int(1),
            });
        }
        let index = match self.groups.get(&key) {
            Some(index) => *index,
            None => {
                self.held.add(&row)?;
                self.groups.insert(key, self.states.len());
                self.states.push((row, self.new_state()));
                self.states.len() - 1
            }
        };
        for (accumulator, value) in self.states[index].1.iter_mut().zip(values) {
            accumulator.add(value)?;
        }
        Ok(())
    }

    /// A row of each group and its aggregates.
    fn finish(mut self) -> Result<Vec<(Values, Values)>> {
        if self.select.group.is_empty() && self.states.is_empty() {
            // Aggregates of no rows are one row.
            let columns = self.select.table.as_ref().map_or(0, |table| table.definition().columns.len());
            let state = self.new_state();
            self.states.push((vec![Value::Null; columns], state));
        }
        let finish = |(row, accumulators): (Values, Vec<Accumulator>)| {
            let aggregates = accumulators.iter().map(Accumulator::result).collect::<Result<Values>>()?;
            Ok((row, aggregates))
        };
        self.states.into_iter().map(finish).collect()
    }
}
