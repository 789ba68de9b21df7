//! Expressions over leaves — columns, aggregates, subqueries — as expressions of DataFusion: comparisons of values of one type and the
//! logic around them as its own, so that its optimiser sees keys of joins and conditions of tables; everything else as [`Compute`].

use crate::error::Result;
use crate::expression::{Comparison, Expression};
use crate::query::compute::{Compute, Surroundings};
use crate::query::types::{data_type, scalar};
use crate::value::compare::exact;
use crate::value::number::to_double;
use crate::value::store::{KeyValue, key_value};
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, cast, lit};
use duet_client::{Column, ColumnType, Value};
use std::sync::Arc;

/// What an expression is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// As DataFusion knows it.
    pub expr: Expr,
    /// Its type; `None` for what is always NULL.
    pub column_type: Option<ColumnType>,
    /// Whether it is a truth, not a value.
    pub truth: bool,
}

/// Translates expressions over these leaves.
#[derive(Clone, Copy)]
pub struct Translator<'a> {
    /// The leaves, by the numbers of columns.
    pub leaves: &'a [Leaf],
    /// What constants see.
    pub surroundings: &'a Arc<Surroundings>,
}

/// Types of leaves as columns.
pub fn columns_of(leaves: &[Leaf]) -> Vec<Column> {
    let column_type = |leaf: &Leaf| match leaf.truth {
        true => ColumnType::BigInt,
        false => leaf.column_type.unwrap_or(ColumnType::Varchar { characters: 1 }),
    };
    leaves.iter().map(|leaf| Column::new("leaf", column_type(leaf)).nullable()).collect()
}

/// An expression with its constant parts evaluated, where that is possible.
pub fn folded(expression: &Expression, surroundings: &Surroundings) -> Expression {
    if matches!(expression, Expression::Constant(_)) {
        return expression.clone();
    }
    if expression.is_constant()
        && let Ok(value) = expression.evaluate(&surroundings.environment())
    {
        // Types of columns are those of the expression, which a NULL has lost: there it stays as it is.
        if value != Value::Null || matches!(expression, Expression::Parameter(_)) {
            return Expression::Constant(value);
        }
    }
    let takes_truths = matches!(expression, Expression::Call(function, _) if function.takes_truths());
    expression.mapped(&mut |part| match folded_part(part, surroundings) {
        // Else it would be a number to its function.
        Expression::Constant(Value::Int(number)) if takes_truths && part.is_truth() => {
            Expression::Constant(Value::Bool(number != 0))
        }
        other => other,
    })
}

/// A part of a larger expression, which goes on with all digits of a quotient and not with its value.
fn folded_part(part: &Expression, surroundings: &Surroundings) -> Expression {
    match part {
        part if part.is_precise() && part.has_quotient() => {
            part.mapped(&mut |inner| folded_part(inner, surroundings))
        }
        other => folded(other, surroundings),
    }
}

impl Translator<'_> {
    /// The type of an expression.
    pub fn column_type(&self, expression: &Expression) -> Option<ColumnType> {
        if let Expression::Column(index) = expression
            && let Some(leaf) = self.leaves.get(*index)
        {
            return if leaf.truth { Some(ColumnType::BigInt) } else { leaf.column_type };
        }
        let columns = columns_of(self.leaves);
        expression.column_type(self.surroundings.known(&columns))
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// 1235 for types that the engine lacks.
    pub fn value(&self, expression: &Expression) -> Result<Expr> {
        let column_type = self.column_type(expression);
        self.value_as(expression, column_type)
    }

    /// The value of an expression as one of this type.
    ///
    /// # Errors
    /// As [`Translator::value`].
    pub fn value_as(&self, expression: &Expression, column_type: Option<ColumnType>) -> Result<Expr> {
        let expression = folded(expression, self.surroundings);
        match &expression {
            Expression::Column(index)
                if !self.leaves[*index].truth
                    && data_type(self.leaves[*index].column_type)? == data_type(column_type)? =>
            {
                Ok(self.leaves[*index].expr.clone())
            }
            Expression::Constant(value) => Ok(lit(scalar(value, column_type)?)),
            _ => self.computed(&expression, column_type, false),
        }
    }

    fn computed(
        &self,
        expression: &Expression,
        column_type: Option<ColumnType>,
        truth: bool,
    ) -> Result<Expr> {
        let mut used: Vec<usize> = Vec::new();
        let local = expression.renumbered(&mut |index| {
            used.iter().position(|known| *known == index).unwrap_or_else(|| {
                used.push(index);
                used.len() - 1
            })
        });
        let arguments = used.iter().map(|index| {
            let leaf = &self.leaves[*index];
            (leaf.expr.clone(), leaf.column_type)
        });
        Compute::call(local, arguments.collect(), column_type, truth, self.surroundings)
    }

    /// Whether an expression is true, as a boolean of DataFusion.
    ///
    /// # Errors
    /// As [`Translator::value`].
    pub fn predicate(&self, expression: &Expression) -> Result<Expr> {
        let expression = folded(expression, self.surroundings);
        self.folded_predicate(&expression)
    }

    fn folded_predicate(&self, expression: &Expression) -> Result<Expr> {
        Ok(match expression {
            Expression::Constant(value) => {
                lit(datafusion::common::ScalarValue::Boolean(crate::value::compare::truth(value)))
            }
            Expression::Column(index) if self.leaves[*index].truth => self.leaves[*index].expr.clone(),
            Expression::And(a, b) => self.folded_predicate(a)?.and(self.folded_predicate(b)?),
            Expression::Or(a, b) => self.folded_predicate(a)?.or(self.folded_predicate(b)?),
            Expression::Not(a) => match self.folded_predicate(a)? {
                Expr::Exists(mut exists) => {
                    exists.negated = !exists.negated;
                    Expr::Exists(exists)
                }
                Expr::InSubquery(mut subquery) => {
                    subquery.negated = !subquery.negated;
                    Expr::InSubquery(subquery)
                }
                other => Expr::Not(Box::new(other)),
            },
            Expression::IsNull(a) if !matches!(a.as_ref(), Expression::Tuple(_)) => self.value(a)?.is_null(),
            Expression::Compare(comparison, a, b) => match self.comparison(*comparison, a, b)? {
                Some(native) => native,
                None => self.computed(expression, None, true)?,
            },
            Expression::In(value, list) => match self.in_list(value, list)? {
                Some(native) => native,
                None => self.computed(expression, None, true)?,
            },
            _ => self.computed(expression, None, true)?,
        })
    }

    /// A comparison as one of DataFusion, where both sides are or can be made of one type.
    fn comparison(&self, comparison: Comparison, a: &Expression, b: &Expression) -> Result<Option<Expr>> {
        if let (Expression::Tuple(a), Expression::Tuple(b)) = (a, b) {
            if comparison != Comparison::Equal || a.len() != b.len() {
                return Ok(None);
            }
            let mut all: Option<Expr> = None;
            for (a, b) in a.iter().zip(b) {
                let part = Expression::Compare(Comparison::Equal, Box::new(a.clone()), Box::new(b.clone()));
                let part = self.folded_predicate(&part)?;
                all = Some(match all {
                    Some(all) => all.and(part),
                    None => part,
                });
            }
            return Ok(all);
        }
        let (a, b, comparison) = match (a, b) {
            (Expression::Constant(_), other) if !matches!(other, Expression::Constant(_)) => {
                (b, a, comparison.turned())
            }
            _ => (a, b, comparison),
        };
        let a_type = self.column_type(a);
        if let Expression::Constant(value) = b {
            let Some(a_type) = a_type else { return Ok(None) };
            let Some(constant) = comparable(value, a_type) else { return Ok(None) };
            return Ok(Some(native(comparison, self.value(a)?, lit(scalar(&constant, Some(a_type))?))));
        }
        let (Some(a_type), Some(b_type)) = (a_type, self.column_type(b)) else { return Ok(None) };
        let (Some(a_class), Some(b_class)) = (class(a_type), class(b_type)) else { return Ok(None) };
        let (left, right) = (self.value(a)?, self.value(b)?);
        if a_class == b_class {
            return Ok(Some(native(comparison, left, right)));
        }
        let scale = match (a_class, b_class) {
            (Class::Exact { scale: a, .. }, Class::Exact { scale: b, .. }) => a.max(b),
            _ => return Ok(None),
        };
        // 20 digits of the greatest integer, and those behind the point.
        if scale > 18 {
            return Ok(None);
        }
        let common = DataType::Decimal128(38, scale as i8);
        Ok(Some(native(comparison, cast(left, common.clone()), cast(right, common))))
    }

    fn in_list(&self, value: &Expression, list: &[Expression]) -> Result<Option<Expr>> {
        let Some(column_type) = self.column_type(value) else { return Ok(None) };
        if matches!(value, Expression::Tuple(_)) {
            return Ok(None);
        }
        let mut items = Vec::with_capacity(list.len());
        for item in list {
            let Expression::Constant(constant) = item else { return Ok(None) };
            match comparable(constant, column_type) {
                Some(constant) => items.push(lit(scalar(&constant, Some(column_type))?)),
                None if key_value(constant, column_type) == KeyValue::Never && *constant != Value::Null => {}
                None => return Ok(None),
            }
        }
        if items.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.value(value)?.in_list(items, false)))
    }
}

fn native(comparison: Comparison, a: Expr, b: Expr) -> Expr {
    let operator = match comparison {
        Comparison::Equal => Operator::Eq,
        Comparison::NotEqual => Operator::NotEq,
        Comparison::Less => Operator::Lt,
        Comparison::LessOrEqual => Operator::LtEq,
        Comparison::Greater => Operator::Gt,
        Comparison::GreaterOrEqual => Operator::GtEq,
        Comparison::NullSafeEqual => Operator::IsNotDistinctFrom,
    };
    Expr::BinaryExpr(BinaryExpr::new(Box::new(a), operator, Box::new(b)))
}

/// Types whose values DataFusion compares as MySQL does.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    Exact { scale: u8, form: u8 },
    Double,
    Text,
    Date,
    Time,
    Moment,
}

fn class(column_type: ColumnType) -> Option<Class> {
    // A text within a document is compared by what it says.
    if column_type == ColumnType::Json {
        return None;
    }
    Some(match data_type(Some(column_type)).ok()? {
        DataType::Int64 => Class::Exact { scale: 0, form: 0 },
        DataType::UInt64 => Class::Exact { scale: 0, form: 1 },
        DataType::Decimal128(_, scale) => Class::Exact { scale: scale.unsigned_abs(), form: 2 },
        DataType::Float64 => Class::Double,
        DataType::Utf8 => Class::Text,
        DataType::Date32 => Class::Date,
        DataType::Duration(_) => Class::Time,
        DataType::Timestamp(..) => Class::Moment,
        _ => return None,
    })
}

/// A constant as a value of a column's type that compares with all of its values as the constant does.
pub fn comparable(value: &Value, column_type: ColumnType) -> Option<Value> {
    if *value == Value::Null {
        return None;
    }
    match (class(column_type)?, value) {
        (Class::Double, Value::Int(_) | Value::UInt(_) | Value::Decimal { .. } | Value::Double(_)) => {
            to_double(value).map(Value::Double)
        }
        (Class::Double, _) => None,
        (Class::Text, Value::Text(_)) => Some(value.clone()),
        (Class::Text, _) => None,
        (Class::Exact { .. }, Value::Text(_)) => match key_value(value, column_type) {
            KeyValue::Is(value) => Some(value),
            KeyValue::Never | KeyValue::Unclear => None,
        },
        (Class::Exact { form: 0, .. }, Value::Int(_) | Value::Bool(_)) => Some(value.clone()),
        (Class::Exact { form: 1, .. }, Value::UInt(_)) => Some(value.clone()),
        (Class::Exact { scale, form }, _) => {
            let (unscaled, has) = exact(value)?;
            let same = crate::value::number::rescale(unscaled, has, scale)?;
            if crate::value::number::rescale(same, scale, has)? != unscaled {
                return None;
            }
            match form {
                0 => i64::try_from(same).ok().map(Value::Int),
                1 => u64::try_from(same).ok().map(Value::UInt),
                _ => (same.unsigned_abs() < 10_u128.pow(38))
                    .then_some(Value::Decimal { unscaled: same, scale }),
            }
        }
        (Class::Date | Class::Time | Class::Moment, _) => match key_value(value, column_type) {
            KeyValue::Is(value) => Some(value),
            KeyValue::Never | KeyValue::Unclear => None,
        },
    }
}
