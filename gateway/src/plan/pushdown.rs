//! What data nodes are told to do: conditions and aggregates of one table as their scan programs know them.

use crate::expression::{AggregateCall, AggregateFunction, Comparison, Environment, Expression};
use crate::query::translate::comparable;
use duet_client::{Column, ColumnType, Condition, Table, Value};
use duet_protocol::scan_program::{Comparison as NodeComparison, Filter};

/// Most values of an IN list.
const MAX_VALUES: usize = 1_000;

/// Aggregates that data nodes compute.
#[derive(Clone, Debug)]
pub struct PushedAggregates {
    /// Columns that make the groups.
    pub group_by: Vec<String>,
    /// What is computed, in the statement's order.
    pub aggregates: Vec<duet_client::Aggregate>,
}

/// A constant as nodes compare a column with it.
fn constant(expression: &Expression, column: &Column, environment: &Environment<'_>) -> Option<Value> {
    if !expression.is_constant() {
        return None;
    }
    let value = expression.evaluate(environment).ok()?;
    let column_type = column.column_type;
    if matches!(column_type, ColumnType::Json | ColumnType::Boolean | ColumnType::Float) {
        return None;
    }
    match value {
        Value::Int(_) | Value::UInt(_) | Value::Decimal { .. } if is_exact(column_type) => Some(value),
        value => comparable(&value, column_type),
    }
}

fn is_exact(column_type: ColumnType) -> bool {
    matches!(column_type, ColumnType::Decimal { .. })
        || crate::value::store::integer_range(column_type).is_some()
}

fn is_summable(column_type: ColumnType) -> bool {
    is_exact(column_type) || column_type == ColumnType::Double
}

/// An expression that is true as a condition for data nodes; `None` where they cannot evaluate it.
pub fn condition(
    expression: &Expression,
    columns: &[Column],
    environment: &Environment<'_>,
) -> Option<Condition> {
    let of = |part: &Expression| condition(part, columns, environment);
    Some(match expression {
        Expression::And(a, b) => of(a)?.and(of(b)?),
        Expression::Or(a, b) => of(a)?.or(of(b)?),
        Expression::Not(a) => Filter::Not(Box::new(of(a)?)),
        Expression::IsNull(a) => match a.as_ref() {
            Expression::Column(index) => Filter::IsNull(columns.get(*index)?.name.clone()),
            _ => return None,
        },
        Expression::Compare(comparison, a, b) => {
            let (index, other, comparison) = match (a.as_ref(), b.as_ref()) {
                (Expression::Column(index), other) => (*index, other, *comparison),
                (other, Expression::Column(index)) => (*index, other, comparison.turned()),
                _ => return None,
            };
            let column = columns.get(index)?;
            let value = constant(other, column, environment)?;
            if comparison == Comparison::NullSafeEqual {
                // False of NULL, not unknown.
                let name = column.name.clone();
                let equal =
                    Filter::Compare { column: name.clone(), comparison: NodeComparison::Equal, value };
                return Some(Filter::IsNotNull(name).and(equal));
            }
            let comparison = match comparison {
                Comparison::Equal | Comparison::NullSafeEqual => NodeComparison::Equal,
                Comparison::NotEqual => NodeComparison::NotEqual,
                Comparison::Less => NodeComparison::Less,
                Comparison::LessOrEqual => NodeComparison::LessOrEqual,
                Comparison::Greater => NodeComparison::Greater,
                Comparison::GreaterOrEqual => NodeComparison::GreaterOrEqual,
            };
            Filter::Compare { column: column.name.clone(), comparison, value }
        }
        Expression::In(a, list) => match a.as_ref() {
            Expression::Column(index) if list.len() <= MAX_VALUES => {
                let column = columns.get(*index)?;
                let values = list.iter().map(|item| constant(item, column, environment));
                Filter::In { column: column.name.clone(), values: values.collect::<Option<_>>()? }
            }
            _ => return None,
        },
        Expression::Like(a, pattern, escape) => {
            let Expression::Column(index) = a.as_ref() else { return None };
            let column = columns.get(*index)?;
            if column.column_type == ColumnType::Json || !crate::wire::results::is_text(column.column_type) {
                return None;
            }
            let Value::Text(pattern) =
                pattern.is_constant().then(|| pattern.evaluate(environment).ok())??
            else {
                return None;
            };
            let prefix = pattern.strip_suffix('%')?;
            if prefix.contains(['%', '_', *escape]) {
                return None;
            }
            Filter::Prefix { column: column.name.clone(), prefix: Value::Text(prefix.to_owned()) }
        }
        _ => return None,
    })
}

/// The parts of a condition that data nodes evaluate, and whether these are all of it.
pub fn conditions(
    filter: &Expression,
    table: &Table,
    environment: &Environment<'_>,
) -> (Option<Condition>, bool) {
    let columns = &table.definition().columns;
    let mut all: Option<Condition> = None;
    let mut exact = true;
    for part in filter.conjuncts() {
        match condition(part, columns, environment).filter(|condition| is_valid(condition, table)) {
            Some(condition) => {
                all = Some(match all {
                    Some(all) => all.and(condition),
                    None => condition,
                });
            }
            None => exact = false,
        }
    }
    // Each part fits into a program, maybe not all of them together.
    match all {
        Some(all) if is_valid(&all, table) => (Some(all), exact),
        Some(_) => (None, false),
        None => (None, exact),
    }
}

/// Whether nodes take a condition.
pub fn is_valid(condition: &Condition, table: &Table) -> bool {
    let query = duet_client::Query { filter: Some(condition.clone()), columns: Vec::new() };
    query.prepare(table).is_ok()
}

/// Groups and aggregates as nodes compute them; `None` where they cannot.
pub fn aggregates(table: &Table, group: &[Expression], calls: &[AggregateCall]) -> Option<PushedAggregates> {
    let columns = &table.definition().columns;
    let column_of = |expression: &Expression| match expression {
        Expression::Column(index) => columns.get(*index),
        _ => None,
    };
    let mut group_by = Vec::with_capacity(group.len());
    for part in group {
        let column = column_of(part)?;
        // A double that is not a number, and minus zero, are other groups here than there.
        if matches!(column.column_type, ColumnType::Float | ColumnType::Double | ColumnType::Json) {
            return None;
        }
        group_by.push(column.name.clone());
    }
    let mut aggregates = Vec::with_capacity(calls.len());
    for (index, call) in calls.iter().enumerate() {
        use duet_client::{count, count_of, max, min, sum};
        let column = match &call.argument {
            Some(argument) => Some(column_of(argument)?),
            None => None,
        };
        let extreme = matches!(call.function, AggregateFunction::Minimum | AggregateFunction::Maximum);
        if call.distinct && !extreme {
            return None;
        }
        let aggregate = match (call.function, column) {
            (AggregateFunction::Count, None) => count(),
            (AggregateFunction::Count, Some(column)) => count_of(&column.name),
            (AggregateFunction::Sum, Some(column)) if is_summable(column.column_type) => sum(&column.name),
            (AggregateFunction::Minimum, Some(column)) => min(&column.name),
            (AggregateFunction::Maximum, Some(column)) => max(&column.name),
            _ => return None,
        };
        aggregates.push(aggregate.named(&format!("aggregate {index}")));
    }
    let pushed = PushedAggregates { group_by, aggregates };
    pushed.query(None).prepare(table).is_ok().then_some(pushed)
}

impl PushedAggregates {
    /// As the client knows it.
    pub fn query(&self, filter: Option<Condition>) -> duet_client::AggregateQuery {
        duet_client::AggregateQuery {
            filter,
            aggregates: self.aggregates.clone(),
            group_by: self.group_by.clone(),
            ..duet_client::AggregateQuery::default()
        }
    }
}

/// The value of a count, which nodes give without sign.
pub fn counted(value: Value, call: &AggregateCall) -> Value {
    match (call.function, value) {
        (AggregateFunction::Count, Value::UInt(count)) => {
            Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
        }
        (_, value) => value,
    }
}
