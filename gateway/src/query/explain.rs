//! EXPLAIN: one tree of what is done, the data nodes' part included.

use crate::error::{Result, not_supported};
use crate::session::{Outcome, Prepared, Session};
use crate::wire::results::ResultColumn;
use datafusion::physical_plan::displayable;
use duet_client::Value;
use sqlparser::ast::Statement;

/// Operators of DataFusion, and what they do.
const OPERATORS: &[(&str, &str)] = &[
    ("AggregateExec", "Group"),
    ("BoundedWindowAggExec", "Window functions, row by row"),
    ("CoalesceBatchesExec", "Gather rows"),
    ("CoalescePartitionsExec", "Gather parts"),
    ("CrossJoinExec", "Cross join"),
    ("DataSourceExec", "Rows of the statement"),
    ("EmptyExec", "No rows"),
    ("FilterExec", "Filter"),
    ("GlobalLimitExec", "Limit"),
    ("HashJoinExec", "Hash join"),
    ("InterleaveExec", "Union"),
    ("LocalLimitExec", "Limit of a part"),
    ("NestedLoopJoinExec", "Nested loop join"),
    ("PartialSortExec", "Sort within groups"),
    ("PlaceholderRowExec", "One row"),
    ("ProjectionExec", "Compute"),
    ("RecursiveQueryExec", "Recursive query"),
    ("RepartitionExec", "Share out"),
    ("ScalarSubqueryExec", "Scalar subquery"),
    ("SortExec", "Sort"),
    ("SortMergeJoinExec", "Merge join"),
    ("SortPreservingMergeExec", "Merge sorted parts"),
    ("SymmetricHashJoinExec", "Hash join of both sides"),
    ("UnionExec", "Union"),
    ("UnnestExec", "Unnest"),
    ("WindowAggExec", "Window functions"),
    ("WorkTableExec", "Rows of the recursion so far"),
];

/// What only yields to other work, and is not shown.
const YIELDING: &str = "CooperativeExec";

/// Adds the text of an operator, without the places of columns (`name@0`) and the numbers (`name#1`) that tell equal names apart.
fn put_without_places(text: &str, plain: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(['@', '#']) {
        let (before, sign) = rest.split_at(at);
        plain.push_str(before);
        let digits = sign[1..].bytes().take_while(u8::is_ascii_digit).count();
        let end = if digits > 0 { 1 + digits } else { 1 };
        if digits == 0 {
            plain.push_str(&sign[..1]);
        }
        rest = &sign[end..];
    }
    plain.push_str(rest);
}

/// A tree with what the operators do in the place of their names.
fn plain(tree: &str) -> String {
    let mut plain = String::with_capacity(tree.len());
    // Depths of what is left out above a line.
    let mut left_out: Vec<usize> = Vec::new();
    for line in tree.lines() {
        let shown = line.trim_start();
        let depth = line.len() - shown.len();
        left_out.retain(|above| *above < depth);
        let (name, rest) = shown.split_at(shown.find([':', ' ']).unwrap_or(shown.len()));
        if name == YIELDING {
            left_out.push(depth);
            continue;
        }
        let known = OPERATORS.iter().find(|(known, _)| *known == name);
        let does = known.map_or_else(|| name.trim_end_matches("Exec"), |(_, does)| does);
        plain.extend(std::iter::repeat_n(' ', depth.saturating_sub(2 * left_out.len())));
        plain.push_str(does);
        match known {
            Some(_) => put_without_places(rest, &mut plain),
            None => plain.push_str(rest),
        }
        plain.push('\n');
    }
    plain
}

/// Shows how a statement is executed.
///
/// # Errors
/// Those of planning it; 1235 for what has no plan.
pub async fn explain(session: &mut Session, statement: &Statement, parameters: &[Value]) -> Result<Outcome> {
    let text = match session.prepare_statement(statement.clone()).await? {
        Prepared::Query(query) => {
            let (relation, _end) = super::planned(session, &query, parameters.to_vec(), true).await?;
            let (plan, _) = session.catalog.engine().physical(&relation).await?;
            let tree = displayable(plan.as_ref()).indent(false).to_string();
            plain(&tree)
        }
        Prepared::Planned(plan) => {
            let environment = crate::expression::Environment::new(parameters, &session.facts);
            crate::execute::explain::tree(&plan, &environment)?
        }
        Prepared::Nested(_) | Prepared::Other(_) | Prepared::Account(_) | Prepared::Request(_) => {
            return not_supported("EXPLAIN of this statement");
        }
    };
    let rows = text.trim_end().lines().map(|line| vec![Value::Text(line.to_owned())]).collect();
    Ok(Outcome::fixed(vec![ResultColumn::text("EXPLAIN")], rows))
}
