//! Subqueries in expressions. One that takes nothing from outside is executed before the statement, and its value is a constant;
//! the others become joins.

use super::{Binder, Missing, Part, unsupported};
use crate::error::{Result, SqlError};
use crate::expression::kinds::unified;
use crate::expression::{AggregateCall, AggregateFunction, Comparison, Expression};
use crate::query::aggregate::Aggregate;
use crate::query::relation::Relation;
use crate::query::run::sql_error;
use crate::query::translate::{Leaf, Translator, folded};
use datafusion::common::Spans;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{Expr as Native, LogicalPlan, LogicalPlanBuilder, Subquery, lit};
use duet_client::{ColumnType, Value};
use sqlparser::ast::Query;
use std::sync::Arc;

fn subquery(plan: LogicalPlan, outer: Vec<Native>) -> Subquery {
    Subquery { subquery: Arc::new(plan), outer_ref_columns: outer, spans: Spans::new() }
}

/// Most subqueries within each other: the engine takes half as long again for each level.
const MAX_NESTED: usize = 10;

impl Binder<'_> {
    /// The plan of a subquery, what it takes from outside, and its place.
    fn inner(&mut self, query: &Query) -> Result<(Relation, Vec<Native>, usize)> {
        if self.nested >= MAX_NESTED {
            let message = format!("Too high level of nesting for select: at most {MAX_NESTED} subqueries");
            return Err(SqlError { code: 1_473, state: "HY000", message });
        }
        let around = std::mem::take(&mut self.taken);
        self.subqueries += 1;
        let place = self.subqueries;
        self.nested += 1;
        let relation = self.query(query);
        self.nested -= 1;
        let mut outer: Vec<Native> = Vec::new();
        for used in std::mem::replace(&mut self.taken, around) {
            if !outer.contains(&used) {
                outer.push(used);
            }
        }
        Ok((relation?, outer, place))
    }

    fn one_column(relation: &Relation) -> Result<Option<ColumnType>> {
        match relation.columns.as_slice() {
            [column] => Ok(column.column_type),
            _ => Err(SqlError::operand_columns("Operand should contain 1 column(s)")),
        }
    }

    /// `(SELECT …)` as a value.
    pub(super) fn scalar(&mut self, query: &Query, _: &'static str) -> Result<Expression> {
        let (relation, outer, place) = self.inner(query)?;
        let column_type = Self::one_column(&relation)?;
        if outer.is_empty() && !self.told.unasked {
            return match self.told.values.get(&place) {
                Some(value) => {
                    let value = value.clone().unwrap_or(Value::Null);
                    let expr = lit(crate::query::types::scalar(&value, column_type)?);
                    // A constant that keeps its type when it is NULL.
                    Ok(match value {
                        Value::Null => Expression::Column(self.part(Part::Ready(Leaf {
                            expr,
                            column_type,
                            truth: false,
                        }))),
                        value => Expression::Constant(value),
                    })
                }
                None => self.ask(Missing::Value(place, Box::new(relation))),
            };
        }
        let plan = match at_most_one_row(&relation.plan) {
            true => relation.plan,
            false => self.single(&relation, column_type)?,
        };
        let expr = Native::ScalarSubquery(subquery(plan, outer));
        Ok(Expression::Column(self.part(Part::Ready(Leaf { expr, column_type, truth: false }))))
    }

    /// An aggregate of the only row, which fails if there are several.
    fn single(&mut self, relation: &Relation, column_type: Option<ColumnType>) -> Result<LogicalPlan> {
        let call = AggregateCall {
            function: AggregateFunction::Single,
            argument: None,
            distinct: false,
            listing: None,
        };
        let input = Native::Column(relation.columns[0].column.clone());
        let unique = self.unique("value");
        let aggregate = Aggregate::call(&call, input, column_type, column_type)?.alias(unique);
        LogicalPlanBuilder::from(relation.plan.clone())
            .aggregate(Vec::<Native>::new(), vec![aggregate])
            .and_then(LogicalPlanBuilder::build)
            .map_err(sql_error)
    }

    /// `EXISTS (SELECT …)`
    pub(super) fn existence(&mut self, query: &Query) -> Result<Expression> {
        let (relation, outer, place) = self.inner(query)?;
        if outer.is_empty() && !self.told.unasked {
            return match self.told.values.get(&place) {
                Some(value) => Ok(Expression::Constant(Value::Int(i64::from(value.is_some())))),
                None => {
                    let one = lit(1_i64).alias(self.unique("exists"));
                    let plan = LogicalPlanBuilder::from(relation.plan)
                        .limit(0, Some(1))
                        .and_then(|builder| builder.project(vec![one]))
                        .and_then(LogicalPlanBuilder::build)
                        .map_err(sql_error)?;
                    let mut column = crate::query::relation::BoundColumn::computed(&plan);
                    column.column_type = Some(ColumnType::BigInt);
                    self.ask(Missing::Value(place, Box::new(Relation { plan, columns: vec![column] })))
                }
            };
        }
        let exists = Exists::new(subquery(relation.plan, outer), false);
        let leaf = Leaf { expr: Native::Exists(exists), column_type: Some(ColumnType::BigInt), truth: true };
        Ok(Expression::Column(self.part(Part::Ready(leaf))))
    }

    /// `operand [NOT] IN (SELECT …)`
    pub(super) fn membership(
        &mut self,
        operand: Expression,
        query: &Query,
        negated: bool,
    ) -> Result<Expression> {
        if self.has_window(&operand) {
            return unsupported("a window function left of IN with a subquery");
        }
        let (relation, outer, _) = self.inner(query)?;
        if let Expression::Tuple(parts) = &operand {
            if parts.len() != relation.columns.len() {
                return Err(SqlError::operand_columns(format!(
                    "Operand should contain {} column(s)",
                    parts.len()
                )));
            }
            return self.tuple_membership(parts, relation, outer, negated);
        }
        Self::one_column(&relation)?;
        let part = Part::In { operand, subquery: Box::new(relation), outer, negated };
        Ok(Expression::Column(self.part(part)))
    }

    /// `(a, b) IN (SELECT x, y …)` as EXISTS of a row that is equal.
    fn tuple_membership(
        &mut self,
        parts: &[Expression],
        relation: Relation,
        mut outer: Vec<Native>,
        negated: bool,
    ) -> Result<Expression> {
        let leaves = self.leaves()?;
        let mut inner = leaves.clone();
        for leaf in &mut inner {
            if let Native::Column(column) = &leaf.expr {
                let field = datafusion::arrow::datatypes::Field::new(
                    column.name(),
                    crate::query::types::data_type(leaf.column_type)?,
                    true,
                );
                leaf.expr = Native::OuterReferenceColumn(Arc::new(field), column.clone());
            }
        }
        let first = inner.len();
        inner.extend(relation.columns.iter().map(super::leaf));
        let mut all: Option<Expression> = None;
        for (index, part) in parts.iter().enumerate() {
            let nullable = relation.columns[index].nullable;
            let unknown = nullable || !matches!(part, Expression::Constant(_)) && negated;
            if negated && unknown && nullable {
                return unsupported("(…) NOT IN a subquery of columns that may be NULL");
            }
            part.walk(&mut |used| {
                if let Expression::Column(used) = used
                    && let Native::OuterReferenceColumn(..) = &inner[*used].expr
                    && !outer.contains(&inner[*used].expr)
                {
                    outer.push(inner[*used].expr.clone());
                }
            });
            let equal = Expression::Compare(
                Comparison::Equal,
                Box::new(part.clone()),
                Box::new(Expression::Column(first + index)),
            );
            all = Some(match all {
                Some(all) => Expression::And(Box::new(all), Box::new(equal)),
                None => equal,
            });
        }
        let Some(all) = all else { return unsupported("IN of no columns") };
        let translator = Translator { leaves: &inner, surroundings: &self.surroundings };
        let predicate = translator.predicate(&all)?;
        let plan = LogicalPlanBuilder::from(relation.plan)
            .filter(predicate)
            .and_then(LogicalPlanBuilder::build)
            .map_err(sql_error)?;
        let exists = Exists::new(subquery(plan, outer), negated);
        let leaf = Leaf { expr: Native::Exists(exists), column_type: Some(ColumnType::BigInt), truth: true };
        Ok(Expression::Column(self.part(Part::Ready(leaf))))
    }

    /// Subqueries whose truth is shown or sorted by: numbers of rows in their place, which the engine can compute anywhere.
    pub(super) fn value_truths(&mut self, selected: &super::select::Selected) -> Result<()> {
        let used = |index: usize| {
            let mut found = false;
            let shown = selected.items.iter().map(|item| &item.expression);
            for expression in shown.chain(selected.order.iter().map(|(part, _)| part)) {
                expression.walk(&mut |part| found |= *part == Expression::Column(index));
            }
            found
        };
        for index in 0..self.frame().parts.len() {
            if !used(index) {
                continue;
            }
            let value = match self.frame().parts[index].clone() {
                Part::Ready(Leaf { expr: Native::Exists(exists), .. }) => {
                    let plan = exists.subquery.subquery.as_ref().clone();
                    let rows = self.row_count(plan, exists.subquery.outer_ref_columns)?;
                    let comparison = if exists.negated { Comparison::Equal } else { Comparison::NotEqual };
                    let zero = Expression::Constant(Value::Int(0));
                    (
                        vec![rows],
                        Expression::Compare(comparison, Box::new(Expression::Column(0)), Box::new(zero)),
                    )
                }
                Part::In { operand, subquery, outer, negated } => {
                    self.membership_value(&operand, &subquery, outer, negated)?
                }
                Part::Ready(_) | Part::Window(_) => continue,
            };
            let (leaves, expression) = value;
            let surroundings = Arc::clone(&self.surroundings);
            let translator = Translator { leaves: &leaves, surroundings: &surroundings };
            let expr = translator.value_as(&expression, Some(ColumnType::BigInt))?;
            self.frame().parts[index] =
                Part::Ready(Leaf { expr, column_type: Some(ColumnType::BigInt), truth: false });
        }
        Ok(())
    }

    /// The number of rows of a plan.
    fn row_count(&mut self, plan: LogicalPlan, outer: Vec<Native>) -> Result<Leaf> {
        let unique = self.unique("rows");
        let count = datafusion::functions_aggregate::count::count_udaf().call(vec![lit(1_i64)]).alias(unique);
        let plan = LogicalPlanBuilder::from(plan)
            .aggregate(Vec::<Native>::new(), vec![count])
            .and_then(LogicalPlanBuilder::build)
            .map_err(sql_error)?;
        let expr = Native::ScalarSubquery(subquery(plan, outer));
        Ok(Leaf { expr, column_type: Some(ColumnType::BigInt), truth: false })
    }

    /// `operand [NOT] IN` as a value: by the numbers of rows that are equal, that are NULL, and of all.
    fn membership_value(
        &mut self,
        operand: &Expression,
        inner: &Relation,
        outer: Vec<Native>,
        negated: bool,
    ) -> Result<(Vec<Leaf>, Expression)> {
        let leaves = self.leaves()?;
        let column = inner.columns[0].clone();
        let mut seen_inside = leaves.clone();
        let mut outer_with_operand = outer.clone();
        for leaf in &mut seen_inside {
            if let Native::Column(column) = &leaf.expr {
                let data_type = crate::query::types::data_type(leaf.column_type)?;
                let field = datafusion::arrow::datatypes::Field::new(column.name(), data_type, true);
                leaf.expr = Native::OuterReferenceColumn(Arc::new(field), column.clone());
            }
        }
        operand.walk(&mut |part| {
            if let Expression::Column(index) = part
                && let Some(Leaf { expr: expr @ Native::OuterReferenceColumn(..), .. }) =
                    seen_inside.get(*index)
                && !outer_with_operand.contains(expr)
            {
                outer_with_operand.push(expr.clone());
            }
        });
        let place = seen_inside.len();
        seen_inside.push(super::leaf(&column));
        let surroundings = Arc::clone(&self.surroundings);
        let translator = Translator { leaves: &seen_inside, surroundings: &surroundings };
        let inside = Expression::Column(place);
        let equal = translator.predicate(&Expression::Compare(
            Comparison::Equal,
            Box::new(operand.clone()),
            Box::new(inside.clone()),
        ))?;
        let unknown = translator.predicate(&Expression::IsNull(Box::new(inside)))?;
        let filtered = |predicate: Native| {
            LogicalPlanBuilder::from(inner.plan.clone())
                .filter(predicate)
                .and_then(LogicalPlanBuilder::build)
                .map_err(sql_error)
        };
        let (equal, unknown) = (filtered(equal)?, filtered(unknown)?);
        let mut counts = vec![
            self.row_count(equal, outer_with_operand)?,
            self.row_count(unknown, outer.clone())?,
            self.row_count(inner.plan.clone(), outer)?,
        ];
        counts.extend(leaves);
        let operand = operand.renumbered(&mut |index| index + 3);
        let some = |index: usize| {
            let zero = Expression::Constant(Value::Int(0));
            Expression::Compare(Comparison::Greater, Box::new(Expression::Column(index)), Box::new(zero))
        };
        let truth = |truth: bool| Expression::Constant(Value::Int(i64::from(truth != negated)));
        let open = Expression::Or(Box::new(Expression::IsNull(Box::new(operand))), Box::new(some(1)));
        let cases = vec![
            (some(0), truth(true)),
            (Expression::Not(Box::new(some(2))), truth(false)),
            (open, Expression::Constant(Value::Null)),
        ];
        Ok((counts, Expression::Case(cases, Box::new(truth(false)))))
    }

    /// The leaf of an IN, with both sides of one type.
    pub(super) fn in_leaf(
        &mut self,
        leaves: &[Leaf],
        operand: &Expression,
        inner: Relation,
        outer: Vec<Native>,
        negated: bool,
    ) -> Result<Leaf> {
        let surroundings = Arc::clone(&self.surroundings);
        let translator = Translator { leaves, surroundings: &surroundings };
        let operand = folded(operand, &surroundings);
        let left = translator.column_type(&operand);
        let right = inner.columns[0].column_type;
        let common = match (left, right) {
            (Some(left), Some(right)) if is_text(left) != is_text(right) => match is_text(left) {
                true => compared_with_text(right),
                false => compared_with_text(left),
            },
            _ => unified(left, right),
        };
        let operand = translator.value_as(&operand, common)?;
        let inner = self.cast_columns(inner, &[common])?;
        let expr =
            Native::InSubquery(InSubquery::new(Box::new(operand), subquery(inner.plan, outer), negated));
        Ok(Leaf { expr, column_type: Some(ColumnType::BigInt), truth: true })
    }
}

fn is_text(column_type: ColumnType) -> bool {
    crate::wire::results::is_text(column_type)
}

/// What values of a type and texts are compared as.
fn compared_with_text(column_type: ColumnType) -> Option<ColumnType> {
    match column_type {
        ColumnType::Date | ColumnType::DateTime | ColumnType::Timestamp => Some(ColumnType::DateTime),
        ColumnType::Time => Some(ColumnType::Time),
        ColumnType::Binary { .. } | ColumnType::Varbinary { .. } | ColumnType::Blob => Some(ColumnType::Blob),
        _ => Some(ColumnType::Double),
    }
}

/// Whether a plan gives one row at most, whatever there is.
fn at_most_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(projection) => at_most_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => at_most_one_row(&alias.input),
        LogicalPlan::Sort(sort) => at_most_one_row(&sort.input),
        LogicalPlan::Filter(filter) => at_most_one_row(&filter.input),
        _ => false,
    }
}
