//! Conditions of DataFusion as expressions of MySQL again, where tables choose how they find their rows.

use crate::expression::{Comparison, Expression};
use crate::query::compute::Compute;
use crate::query::types::value_of;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::expressions as physical;
use duet_client::Value;
use std::sync::Arc;

fn comparison(operator: Operator) -> Option<Comparison> {
    Some(match operator {
        Operator::Eq => Comparison::Equal,
        Operator::NotEq => Comparison::NotEqual,
        Operator::Lt => Comparison::Less,
        Operator::LtEq => Comparison::LessOrEqual,
        Operator::Gt => Comparison::Greater,
        Operator::GtEq => Comparison::GreaterOrEqual,
        Operator::IsNotDistinctFrom => Comparison::NullSafeEqual,
        _ => return None,
    })
}

fn constant(scalar: &ScalarValue) -> Option<Expression> {
    value_of(scalar, None).ok().map(Expression::Constant)
}

fn not(expression: Expression, negated: bool) -> Expression {
    if negated { Expression::Not(Box::new(expression)) } else { expression }
}

fn binary(operator: Operator, a: Expression, b: Expression) -> Option<Expression> {
    let (a, b) = (Box::new(a), Box::new(b));
    Some(match operator {
        Operator::And => Expression::And(a, b),
        Operator::Or => Expression::Or(a, b),
        Operator::IsDistinctFrom => {
            Expression::Not(Box::new(Expression::Compare(Comparison::NullSafeEqual, a, b)))
        }
        other => Expression::Compare(comparison(other)?, a, b),
    })
}

/// A condition over columns, which `column` gives numbers.
pub fn expression(native: &Expr, column: &dyn Fn(&str) -> Option<usize>) -> Option<Expression> {
    let of = |part: &Expr| expression(part, column);
    Some(match native {
        Expr::Column(name) => Expression::Column(column(&name.name)?),
        Expr::Literal(scalar, _) => constant(scalar)?,
        Expr::Alias(alias) => of(&alias.expr)?,
        Expr::Not(inner) => not(of(inner)?, true),
        Expr::IsNull(inner) => Expression::IsNull(Box::new(of(inner)?)),
        Expr::IsNotNull(inner) => not(Expression::IsNull(Box::new(of(inner)?)), true),
        Expr::IsTrue(inner) => Expression::IsTruth(Box::new(of(inner)?), true),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => binary(*op, of(left)?, of(right)?)?,
        Expr::Between(between) => {
            let (value, low, high) = (of(&between.expr)?, of(&between.low)?, of(&between.high)?);
            let low = Expression::Compare(Comparison::GreaterOrEqual, Box::new(value.clone()), Box::new(low));
            let high = Expression::Compare(Comparison::LessOrEqual, Box::new(value), Box::new(high));
            not(Expression::And(Box::new(low), Box::new(high)), between.negated)
        }
        Expr::InList(InList { expr, list, negated }) => {
            let list = list.iter().map(of).collect::<Option<Vec<_>>>()?;
            not(Expression::In(Box::new(of(expr)?), list), *negated)
        }
        Expr::ScalarFunction(call) => {
            let compute = (call.func.inner().as_ref() as &dyn std::any::Any).downcast_ref::<Compute>()?;
            let (inner, truth) = compute.expression();
            if !truth {
                return None;
            }
            let arguments = call.args.iter().map(of).collect::<Option<Vec<_>>>()?;
            placed(inner, &arguments)
        }
        _ => return None,
    })
}

/// An expression with others in place of its columns.
fn placed(expression: &Expression, arguments: &[Expression]) -> Expression {
    match expression {
        Expression::Column(index) => {
            arguments.get(*index).cloned().unwrap_or(Expression::Constant(Value::Null))
        }
        other => other.mapped(&mut |part| placed(part, arguments)),
    }
}

/// What is known of a condition that a join found out while it ran: only parts that are understood, which are necessary for the whole.
pub fn necessary(native: &Arc<dyn PhysicalExpr>, column: &dyn Fn(&str) -> Option<usize>) -> Vec<Expression> {
    let mut found = Vec::new();
    let mut pending = vec![Arc::clone(native)];
    while let Some(part) = pending.pop() {
        if let Some(dynamic) = part.downcast_ref::<physical::DynamicFilterPhysicalExpr>() {
            if let Ok(current) = dynamic.current() {
                pending.push(current);
            }
            continue;
        }
        if let Some(binary) = part.downcast_ref::<physical::BinaryExpr>()
            && *binary.op() == Operator::And
        {
            pending.push(Arc::clone(binary.left()));
            pending.push(Arc::clone(binary.right()));
            continue;
        }
        found.extend(physical_expression(&part, column));
    }
    found
}

fn physical_expression(
    part: &Arc<dyn PhysicalExpr>,
    column: &dyn Fn(&str) -> Option<usize>,
) -> Option<Expression> {
    if let Some(name) = part.downcast_ref::<physical::Column>() {
        return Some(Expression::Column(column(name.name())?));
    }
    if let Some(literal) = part.downcast_ref::<physical::Literal>() {
        return constant(literal.value());
    }
    if let Some(list) = part.downcast_ref::<physical::InListExpr>() {
        let value = physical_expression(list.expr(), column)?;
        let items = list.list().iter().map(|item| physical_expression(item, column));
        return Some(not(Expression::In(Box::new(value), items.collect::<Option<_>>()?), list.negated()));
    }
    let both = part.downcast_ref::<physical::BinaryExpr>()?;
    binary(*both.op(), physical_expression(both.left(), column)?, physical_expression(both.right(), column)?)
}
