//! What the fast path does with a statement, as EXPLAIN shows it.

use crate::error::Result;
use crate::expression::{AggregateCall, Environment, Expression};
use crate::plan::pushdown::{aggregates, conditions};
use crate::plan::{BoundAccess, Plan, SelectPlan};
use crate::query::describe::{describe, describe_with};
use crate::query::scan::{access, shown};

/// A plan as lines, each deeper than the one that takes its rows.
///
/// # Errors
/// When a constant cannot be evaluated.
pub fn tree(plan: &Plan, environment: &Environment<'_>) -> Result<String> {
    let mut lines = Vec::new();
    match plan {
        Plan::Select(select) => select_lines(select, environment, &mut lines)?,
        Plan::Insert(insert) => {
            lines.push(format!("Insert into {}.{}", insert.table.database(), insert.table.name()));
        }
        Plan::Update(update) => {
            let bound = update.access.bind(&update.table.definition().columns, environment)?;
            lines.push(format!("Update {}.{}", update.table.database(), update.table.name()));
            lines.push(format!("Find rows by {}", access(&update.table, &bound)));
        }
        Plan::Delete(delete) => {
            let bound = delete.access.bind(&delete.table.definition().columns, environment)?;
            lines.push(format!("Delete from {}.{}", delete.table.database(), delete.table.name()));
            lines.push(format!("Find rows by {}", access(&delete.table, &bound)));
        }
    }
    let indented = lines.iter().enumerate().map(|(depth, line)| format!("{}{line}\n", "  ".repeat(depth)));
    Ok(indented.collect())
}

fn call(call: &AggregateCall, select: &SelectPlan) -> String {
    let argument = call.argument.as_ref().map_or_else(|| "*".to_owned(), |argument| name(argument, select));
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    format!("{}({distinct}{argument})", call.function.name())
}

fn name(expression: &Expression, select: &SelectPlan) -> String {
    let column = |index: usize| {
        let table = select.table.as_ref().map(|table| &table.definition().columns);
        table.and_then(|columns| columns.get(index)).map(|column| column.name.clone()).unwrap_or_default()
    };
    describe_with(expression, &column)
}

fn select_lines(select: &SelectPlan, environment: &Environment<'_>, lines: &mut Vec<String>) -> Result<()> {
    let Some(table) = &select.table else {
        lines.push("One row without a table".to_owned());
        return Ok(());
    };
    if select.limit.is_some() || select.offset.is_some() {
        let limit = select.limit.as_ref().map_or_else(|| "all".to_owned(), describe);
        lines.push(format!("Limit {limit} rows"));
    }
    if select.distinct {
        lines.push("Distinct".to_owned());
    }
    let bound = select.access.bind(&table.definition().columns, environment)?;
    let grouped = !select.group.is_empty() || !select.aggregates.is_empty();
    if !select.order.is_empty() {
        let parts = select
            .order
            .iter()
            .map(|(part, down)| format!("{}{}", name(part, select), if *down { " DESC" } else { "" }));
        let parts: Vec<String> = parts.collect();
        lines.push(format!("In order of {}, sorted unless the index has it", parts.join(", ")));
    }
    let by_key = matches!(bound, BoundAccess::Keys { .. });
    let found_exactly =
        (by_key || select.lock.is_none()) && select.access.is_exact(&bound, &table.definition().columns);
    let (condition, exact) = match &select.filter {
        Some(filter) if !found_exactly => conditions(filter, table, environment),
        _ => (None, true),
    };
    if grouped {
        let by = match exact && !by_key && aggregates(table, &select.group, &select.aggregates).is_some() {
            true => "the data nodes",
            false => "the gateway",
        };
        let calls: Vec<String> = select.aggregates.iter().map(|aggregate| call(aggregate, select)).collect();
        let groups: Vec<String> = select.group.iter().map(|part| name(part, select)).collect();
        lines.push(format!("Groups by {by}: by [{}], computing [{}]", groups.join(", "), calls.join(", ")));
    }
    let mut line = format!("Read {}.{} by {}", table.database(), table.name(), access(table, &bound));
    if let Some(filter) = &select.filter {
        let place = match (&condition, exact, by_key) {
            _ if found_exactly && by_key => "the keys are the condition",
            _ if found_exactly => "the range is the condition",
            (Some(_), true, false) => "data nodes filter",
            (Some(_), false, false) => "data nodes filter by what they know of",
            _ => "the gateway filters",
        };
        line.push_str(&format!(", {place} {}", shown(filter, table)));
    }
    lines.push(line);
    Ok(())
}
