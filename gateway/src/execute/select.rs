//! SELECT: rows are filtered, grouped, ordered and cut as they come; what has to wait is bounded.

use crate::error::{Result, SqlError};
use crate::execute::locked::{Search, find_locked};
use crate::execute::packed::Packed;
use crate::execute::read::{Rows, Values, Wanted};
use crate::execute::transaction::OpenTransaction;
use crate::expression::aggregate::put_distinct;
use crate::expression::kinds::Known;
use crate::expression::{Accumulator, Environment, Expression, Facts};
use crate::memory::{Held, Memory, content_bytes};
use crate::plan::pushdown::{PushedAggregates, aggregates, conditions};
use crate::plan::{Access, AccessKind, BoundAccess, Plan, SelectPlan, order_matches};
use crate::query::scan::{Grouping, read_groups};
use crate::value::compare::{exact, first_difference, sort_by_keys, sort_order};
use crate::value::number::rescale;
use duet_client::{Client, ColumnType, Value, ValueRef};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// Bytes of an entry of those that were seen, beside its content: estimated.
const SEEN_BYTES: usize = 48;
/// Rows that are given out at once.
const CHUNK_ROWS: usize = 1_024;
/// Items of a row for which nothing is allocated.
const FEW_ITEMS: usize = 16;

/// Rows of a result on their way.
pub struct Cursor {
    plan: Arc<Plan>,
    parameters: Vec<Value>,
    facts: Facts,
    rows: Option<Rows>,
    /// Rows in order that are still to be given out, when they had to be collected.
    collected: Option<std::vec::IntoIter<Values>>,
    check_filter: bool,
    /// The condition with its long lists sorted, if it has any.
    prepared: Option<Expression>,
    offset: u64,
    limit: u64,
    seen: Option<FxHashSet<Vec<u8>>>,
    /// What has been collected, and the rows that were seen.
    held: Held,
    /// Where the items lie in rows that go to the client as they come.
    direct: Option<Vec<usize>>,
    /// Rows in order that go to the client as they were collected.
    packed: Option<Packed>,
    /// Digits behind the point of items whose parts have different ones.
    scales: Vec<Option<u8>>,
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
        memory: &Memory,
        mut transaction: Option<&mut OpenTransaction>,
    ) -> Result<Cursor> {
        let Plan::Select(select) = plan.as_ref() else {
            return Err(SqlError::other("the plan is not one of SELECT"));
        };
        let mut cursor = Cursor::begin(&plan, select, parameters, facts, memory)?;
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
        let by_key = matches!(access, BoundAccess::Keys { .. });
        // Rows of the transaction itself come from it and not from the nodes.
        let beside = transaction.as_deref().is_some_and(|transaction| transaction.written(table).is_some());
        let mut wanted = Wanted::default();
        let mut nodes_filter = false;
        let is_exact = select.access.is_exact(&access, columns);
        if let (Some(filter), false, None) = (&select.filter, by_key, select.lock) {
            (wanted.filter, nodes_filter) = match is_exact {
                true => (None, true),
                false => conditions(filter, table, &environment),
            };
        }
        cursor.check_filter = match by_key {
            true => !is_exact,
            false => select.filter.is_some() && (!nodes_filter || beside),
        };
        if let (Some(filter), true) = (&select.filter, cursor.check_filter) {
            cursor.prepared = filter.prepared(&environment);
        }
        if grouped
            && !by_key
            && !beside
            && !cursor.check_filter
            && select.lock.is_none()
            && let Some(pushed) = aggregates(table, &select.group, &select.aggregates)
        {
            let groups = pushed_groups(client, select, access, wanted.filter, pushed, memory).await?;
            cursor.collect_groups(select, groups)?;
            return Ok(cursor);
        }
        let mut sorted = select.order.is_empty();
        if !grouped && !sorted {
            wanted.order = ordered_by(select, &mut access);
            sorted = wanted.order.is_some();
        }
        if sorted && !grouped && !cursor.check_filter && !select.distinct && limit != u64::MAX {
            wanted.limit = Some(limit.saturating_add(offset));
        }
        if !by_key && !beside && select.lock.is_none() {
            wanted.columns = used_columns(select, cursor.check_filter, columns.len());
        }
        let one_key = matches!(&access, BoundAccess::Keys { keys, .. } if keys.len() <= 1);
        sorted |= one_key;
        if let (Some(lock), Some(transaction)) = (select.lock, transaction.as_deref_mut()) {
            let limited = !grouped && !select.distinct && limit != u64::MAX;
            let search = Search {
                table,
                filter: select.access.unchecked(&access, select.filter.as_ref()),
                order: &select.order,
                sorted: wanted.order,
                limit: match limited {
                    true => usize::try_from(limit.saturating_add(offset)).unwrap_or(usize::MAX),
                    false => usize::MAX,
                },
                lock,
            };
            let rows = find_locked(client, &search, access, &environment, transaction).await?;
            cursor.check_filter = false;
            match grouped {
                true => {
                    let mut groups = Groups::new(select, memory);
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
            let mut groups = Groups::new(select, memory);
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
            if !cursor.check_filter && !select.distinct {
                cursor.direct = select.plain_items().and_then(|items| rows.places(&items));
            }
            cursor.rows = Some(rows);
            return Ok(cursor);
        }
        let mut held = memory.hold();
        if limit == u64::MAX
            && !cursor.check_filter
            && let Some((columns, order)) = packed_columns(select)
            && let Some(places) = rows.places(&columns)
        {
            let mut packed = Packed::new(places);
            while rows.next_views(|view| packed.add(view, &mut held)).await? {}
            packed.sort(&order, select.distinct);
            packed.skip(offset);
            (cursor.packed, cursor.held) = (Some(packed), held);
            return Ok(cursor);
        }
        let mut all = Vec::new();
        // With a limit the rows behind it are forgotten from time to time.
        let enough = usize::try_from(limit.saturating_add(offset)).unwrap_or(usize::MAX);
        let most = if select.distinct { usize::MAX } else { enough.saturating_mul(2).saturating_add(4_096) };
        while let Some(chunk) = rows.next().await? {
            for row in chunk {
                if cursor.passes(select, &row)? {
                    held.add(&row)?;
                    all.push(row);
                }
            }
            if all.len() > most {
                all = cursor.in_wanted_order(select, all)?;
                all.truncate(enough);
                held.clear();
                all.iter().try_for_each(|row| held.add(row))?;
            }
        }
        cursor.held = held;
        cursor.finish_collected(select, all)?;
        Ok(cursor)
    }

    /// Rows of the table, sorted as the statement says.
    fn in_wanted_order(&self, select: &SelectPlan, rows: Vec<Values>) -> Result<Vec<Values>> {
        if select.order.is_empty() || rows.len() <= 1 {
            return Ok(rows);
        }
        if let Some(columns) = columns_of_order(select) {
            let mut rows = rows;
            rows.sort_by(|a, b| {
                first_difference(
                    columns.iter().map(|(column, down)| (sort_order(&a[*column], &b[*column]), *down)),
                )
            });
            return Ok(rows);
        }
        let environment = Environment::new(&self.parameters, &self.facts);
        let mut keyed = Vec::with_capacity(rows.len());
        let mut held = self.held.memory().hold();
        for row in rows {
            let at = environment.with_row(&row);
            let key = select.order.iter().map(|(part, _)| part.evaluate(&at)).collect::<Result<Values>>()?;
            held.add(&key)?;
            keyed.push((key, row));
        }
        sort(&mut keyed, &select.order);
        Ok(keyed.into_iter().map(|(_, row)| row).collect())
    }

    /// A cursor that has read nothing yet.
    fn begin(
        plan: &Arc<Plan>,
        select: &SelectPlan,
        parameters: Vec<Value>,
        facts: Facts,
        memory: &Memory,
    ) -> Result<Cursor> {
        let environment = Environment::new(&parameters, &facts);
        let limit = row_count(select.limit.as_ref(), &environment, facts.select_limit.unwrap_or(u64::MAX))?;
        let offset = row_count(select.offset.as_ref(), &environment, 0)?;
        Ok(Cursor {
            rows: None,
            collected: None,
            check_filter: true,
            prepared: None,
            offset,
            limit,
            direct: None,
            packed: None,
            held: memory.hold(),
            seen: select.distinct.then(Default::default),
            scales: scales(select, &parameters, &facts),
            plan: Arc::clone(plan),
            parameters,
            facts,
        })
    }

    fn passes(&self, select: &SelectPlan, row: &[Value]) -> Result<bool> {
        match &select.filter {
            Some(filter) if self.check_filter => {
                let filter = self.prepared.as_ref().unwrap_or(filter);
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
            let mut groups = Groups::new(select, self.held.memory());
            for row in rows {
                groups.add(row, &environment)?;
            }
            let groups = groups.finish()?;
            return self.collect_groups(select, groups);
        }
        rows = self.in_wanted_order(select, rows)?;
        let mut result = Vec::with_capacity(rows.len().min(1 << 16));
        let plain = select.plain_items().filter(|items| is_set(items));
        for mut row in rows {
            let row = match &plain {
                // Each is taken once, so it need not be copied.
                Some(items) => items.iter().map(|item| std::mem::take(&mut row[*item])).collect(),
                None => {
                    let at = Environment::new(&self.parameters, &self.facts).with_row(&row);
                    let row = items(select, &self.scales, &at)?;
                    self.held.grow(row.iter().map(content_bytes).sum())?;
                    row
                }
            };
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
            let row = items(select, &self.scales, &at)?;
            self.held.add(&key)?;
            self.held.add(&row)?;
            keyed.push((key, row));
        }
        sort(&mut keyed, &select.order);
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
        if let Some(seen) = &mut self.seen {
            let mut key = Vec::new();
            row.iter().for_each(|value| put_distinct(value, &mut key));
            let length = key.len();
            if !seen.insert(key) {
                return Ok(false);
            }
            self.held.grow(length + SEEN_BYTES)?;
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

    /// Whether rows come by [`Cursor::next_direct`].
    pub fn is_direct(&self) -> bool {
        self.direct.is_some() || self.packed.is_some()
    }

    /// Hands the next rows of the result to `put`, which copies what it needs; how many these were, `None` at the end.
    ///
    /// # Errors
    /// Those of the cluster.
    pub async fn next_direct(&mut self, mut put: impl FnMut(&mut [ValueRef<'_>])) -> Result<Option<u64>> {
        if let (Some(packed), Plan::Select(select)) = (&mut self.packed, self.plan.as_ref()) {
            let mut count = 0;
            while count < CHUNK_ROWS as u64
                && let Some(number) = packed.take()
            {
                count += 1;
                with_row(select.items.len(), |row| {
                    packed.read(number, row);
                    put(row);
                    Ok(())
                })?;
            }
            return Ok((count > 0).then_some(count));
        }
        let (Some(rows), Some(places)) = (&mut self.rows, &self.direct) else { return Ok(None) };
        if self.limit == 0 {
            return Ok(None);
        }
        let mut count = 0;
        let (limit, offset) = (&mut self.limit, &mut self.offset);
        let more = rows.next_views(|view| {
            if *offset > 0 {
                *offset -= 1;
                return Ok(());
            }
            if *limit == 0 {
                return Ok(());
            }
            *limit -= 1;
            count += 1;
            with_row(places.len(), |row| {
                for (value, place) in row.iter_mut().zip(places) {
                    *value = view.column(*place).map_err(duet_client::Error::from)?;
                }
                put(row);
                Ok(())
            })
        });
        if !more.await? {
            self.rows = None;
            return Ok(if count == 0 { None } else { Some(count) });
        }
        Ok(Some(count))
    }

    /// The next rows of the result, maybe none; `None` at the end.
    ///
    /// # Errors
    /// Those of expressions and of the cluster.
    pub async fn next(&mut self) -> Result<Option<Vec<Values>>> {
        if self.packed.is_some() {
            let mut chunk = Vec::new();
            self.next_direct(|row| {
                chunk.push(row.iter_mut().map(|value| Value::from(std::mem::take(value))).collect());
            })
            .await?;
            return Ok((!chunk.is_empty()).then_some(chunk));
        }
        if let Some(collected) = &mut self.collected {
            let chunk: Vec<Values> = collected.by_ref().take(CHUNK_ROWS).collect();
            return Ok(if chunk.is_empty() { None } else { Some(chunk) });
        }
        if self.limit == 0 {
            return Ok(None);
        }
        let plan = Arc::clone(&self.plan);
        let (Some(rows), Plan::Select(select)) = (&mut self.rows, plan.as_ref()) else { return Ok(None) };
        let Some(chunk) = rows.next().await? else { return Ok(None) };
        let mut result = Vec::with_capacity(chunk.len());
        let mut held = self.held.memory().hold();
        for row in chunk {
            if !self.passes(select, &row)? {
                continue;
            }
            let at = Environment::new(&self.parameters, &self.facts).with_row(&row);
            let row = items(select, &self.scales, &at)?;
            if self.admits(&row)? {
                held.grow(row.iter().map(content_bytes).sum())?;
                result.push(row);
            }
            if self.limit == 0 {
                break;
            }
        }
        Ok(Some(result))
    }
}

/// Lets `put` make a row of so many values, for which nothing is allocated if these are few.
fn with_row<'a>(items: usize, put: impl FnOnce(&mut [ValueRef<'a>]) -> Result<()>) -> Result<()> {
    let mut few: [ValueRef<'a>; FEW_ITEMS] = Default::default();
    match few.get_mut(..items) {
        Some(row) => put(row),
        None => put(&mut vec![ValueRef::Null; items]),
    }
}

/// Columns of rows that are collected, and by which of them, by their numbers among them, these are sorted, each downwards or not.
type PackedColumns = (Vec<usize>, Vec<(usize, bool)>);

/// For a result of columns in the order of columns: these columns, the items first, and those that the rows are sorted by, by their numbers
/// among them. Rows of which one of each kind is left must be sorted by all items, so that equal ones are side by side.
fn packed_columns(select: &SelectPlan) -> Option<PackedColumns> {
    let mut columns = select.plain_items()?;
    let order = columns_of_order(select)?;
    if select.distinct {
        let table = select.table.as_ref()?.definition();
        let by_bytes = |column: &usize| {
            let inexact = [ColumnType::Float, ColumnType::Double, ColumnType::Json];
            let column_type = &table.columns.get(*column).map(|column| column.column_type);
            column_type
                .is_some_and(|kind| !inexact.contains(&kind) && !matches!(kind, ColumnType::Vector { .. }))
        };
        let sorted = |column: &usize| order.iter().any(|(by, _)| by == column);
        if !columns.iter().all(|column| sorted(column) && by_bytes(column))
            || !order.iter().all(|(by, _)| columns.contains(by))
        {
            return None;
        }
    }
    let mut by = Vec::with_capacity(order.len());
    for (column, down) in order {
        let known = columns.iter().position(|known| *known == column);
        by.push((known.unwrap_or(columns.len()), down));
        if known.is_none() {
            columns.push(column);
        }
    }
    Some((columns, by))
}

/// Whether no number is there twice.
fn is_set(numbers: &[usize]) -> bool {
    numbers.iter().enumerate().all(|(index, number)| !numbers[..index].contains(number))
}

/// The columns of ORDER BY, and whether each goes down, where there is nothing else in it.
fn columns_of_order(select: &SelectPlan) -> Option<Vec<(usize, bool)>> {
    let column = |(part, down): &(Expression, bool)| match part {
        Expression::Column(column) => Some((*column, *down)),
        _ => None,
    };
    select.order.iter().map(column).collect()
}

/// For each item the digits behind the point that its type has, where its value may have fewer: CASE and the like give that of one branch,
/// ROUND of a quotient no more than this has.
fn scales(select: &SelectPlan, parameters: &[Value], facts: &Facts) -> Vec<Option<u8>> {
    use crate::expression::Function;
    let columns = select.table.as_ref().map_or(&[][..], |table| &table.definition().columns);
    let user_variables = Some(&facts.user_variables);
    let known = Known { columns, parameters, aggregates: &select.aggregates, user_variables };
    let scale = |(_, item): &(String, Expression)| {
        let mut chooses = false;
        let mut look = |expression: &Expression| {
            expression.walk(&mut |part| {
                chooses |= matches!(
                    part,
                    Expression::Case(..)
                        | Expression::Call(
                            Function::Coalesce
                                | Function::If
                                | Function::Greatest
                                | Function::Least
                                | Function::Round
                                | Function::Truncate,
                            _
                        )
                );
            });
        };
        look(item);
        item.walk(&mut |part| {
            if let Expression::Aggregate(index) = part
                && let Some(call) = select.aggregates.get(*index)
            {
                call.argument.iter().for_each(&mut look);
            }
        });
        match item.column_type(known) {
            Some(ColumnType::Decimal { scale, .. }) if chooses => Some(scale),
            _ => None,
        }
    };
    select.items.iter().map(scale).collect()
}

/// Most bytes of a row of a result.
const MAX_ROW_BYTES: usize = 64 << 20;

/// A row of the result.
fn items(select: &SelectPlan, scales: &[Option<u8>], at: &Environment<'_>) -> Result<Values> {
    let mut bytes = 0;
    let item = |((_, item), scale): (&(String, Expression), &Option<u8>)| {
        let value = item.evaluate(at)?;
        bytes += content_bytes(&value);
        if bytes > MAX_ROW_BYTES {
            return Err(SqlError::out_of_memory("Out of memory; a row of the result is longer than 64 MiB"));
        }
        let (Some(scale), Some((unscaled, has))) = (scale, exact(&value)) else { return Ok(value) };
        match rescale(unscaled, has, *scale) {
            Some(unscaled) if has < *scale => Ok(Value::Decimal { unscaled, scale: *scale }),
            _ => Ok(value),
        }
    };
    select.items.iter().zip(scales).map(item).collect()
}

/// Sorts what has keys by these, whose parts belong to the parts of ORDER BY.
pub(super) fn sort<T>(keyed: &mut [(Values, T)], by: &[(Expression, bool)]) {
    let down: Vec<bool> = by.iter().map(|(_, down)| *down).collect();
    sort_by_keys(keyed, |(keys, _)| keys, &down);
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

/// Columns that a statement looks at; `None` when these are all.
fn used_columns(select: &SelectPlan, with_filter: bool, count: usize) -> Option<Vec<u16>> {
    let mut used = std::collections::BTreeSet::new();
    let mut add = |expression: &Expression| {
        expression.walk(&mut |part| {
            if let Expression::Column(index) = part {
                used.insert(*index as u16);
            }
        });
    };
    select.items.iter().for_each(|(_, item)| add(item));
    select.filter.iter().filter(|_| with_filter).for_each(&mut add);
    select.group.iter().for_each(&mut add);
    select.having.iter().for_each(&mut add);
    select.order.iter().for_each(|(part, _)| add(part));
    select.aggregates.iter().filter_map(|call| call.argument.as_ref()).for_each(&mut add);
    // A row has a column at least.
    if used.is_empty() {
        used.insert(0);
    }
    (used.len() < count).then(|| used.into_iter().collect())
}

/// Groups that the data nodes computed, each as a row of the table with its aggregates.
async fn pushed_groups(
    client: &Client,
    select: &SelectPlan,
    access: BoundAccess,
    condition: Option<duet_client::Condition>,
    pushed: PushedAggregates,
    memory: &Memory,
) -> Result<Vec<(Values, Values)>> {
    let Some(table) = &select.table else { return Ok(Vec::new()) };
    let calls = select.aggregates.clone();
    let grouping = Grouping {
        client: client.clone(),
        table: table.clone(),
        access,
        condition,
        filter: None,
        pushed,
        calls,
    };
    let columns = table.definition().columns.len();
    let mut groups = Vec::new();
    for mut values in read_groups(&grouping).await? {
        let aggregates = values.split_off(select.group.len());
        let mut row = vec![Value::Null; columns];
        for (part, value) in select.group.iter().zip(values) {
            if let Expression::Column(index) = part {
                row[*index] = value;
            }
        }
        groups.push((row, aggregates));
    }
    if groups.is_empty() {
        groups = Groups::new(select, memory).finish()?;
    }
    Ok(groups)
}

/// Groups and their aggregates.
struct Groups<'a> {
    select: &'a SelectPlan,
    groups: FxHashMap<Vec<u8>, usize>,
    states: Vec<(Values, Vec<Accumulator>)>,
    held: Held,
}

impl<'a> Groups<'a> {
    fn new(select: &'a SelectPlan, memory: &Memory) -> Groups<'a> {
        Groups { select, groups: FxHashMap::default(), states: Vec::new(), held: memory.hold() }
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
                self.held.grow(key.len() + SEEN_BYTES)?;
                self.groups.insert(key, self.states.len());
                self.states.push((row, self.new_state()));
                self.states.len() - 1
            }
        };
        for (accumulator, value) in self.states[index].1.iter_mut().zip(values) {
            let before = accumulator.bytes();
            accumulator.add(value)?;
            self.held.grow(accumulator.bytes().saturating_sub(before))?;
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
