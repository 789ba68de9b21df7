//! Expressions: compiled once per statement from its syntax tree, evaluated per row.

pub mod aggregate;
mod compile;
mod evaluate;
mod functions;
mod insert_id;
pub mod kinds;
mod losses;
mod precise;
mod set;
pub mod window;

pub use aggregate::{Accumulator, AggregateCall, AggregateFunction, Listing};
pub use compile::{Outside, Scope, compile};
pub use evaluate::{Environment, Facts};
pub use functions::{Function, Unit};
pub use insert_id::LastInsertId;
pub use set::Constants;

use crate::value::arithmetic::Operator;
use duet_client::{ColumnType, Value};
use std::cmp::Ordering;
use std::sync::Arc;

/// Operators of comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<=>`: also true of two NULLs, never NULL.
    NullSafeEqual,
}

impl Comparison {
    /// Whether it is true of this order.
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal | Comparison::NullSafeEqual => order == Ordering::Equal,
            Comparison::NotEqual => order != Ordering::Equal,
            Comparison::Less => order == Ordering::Less,
            Comparison::LessOrEqual => order != Ordering::Greater,
            Comparison::Greater => order == Ordering::Greater,
            Comparison::GreaterOrEqual => order != Ordering::Less,
        }
    }

    /// The one that holds with both sides exchanged.
    #[must_use]
    pub fn turned(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
            same @ (Comparison::Equal | Comparison::NotEqual | Comparison::NullSafeEqual) => same,
        }
    }
}

/// A compiled expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// A literal.
    Constant(Value),
    /// A parameter of a prepared statement, from 0.
    Parameter(usize),
    /// A column of the table, by number.
    Column(usize),
    /// `VALUES(column)`: what INSERT would have written.
    Proposed(usize),
    /// The result of an aggregate, by number.
    Aggregate(usize),
    /// `@@name`
    SystemVariable(String),
    /// `@name`
    UserVariable(String),
    /// `a + b` and the like.
    Arithmetic(Operator, Box<Expression>, Box<Expression>),
    /// `-a`
    Negate(Box<Expression>),
    /// `a = b` and the like.
    Compare(Comparison, Box<Expression>, Box<Expression>),
    /// `a AND b`
    And(Box<Expression>, Box<Expression>),
    /// `a OR b`
    Or(Box<Expression>, Box<Expression>),
    /// `a XOR b`
    Xor(Box<Expression>, Box<Expression>),
    /// `NOT a`
    Not(Box<Expression>),
    /// `a IS NULL`
    IsNull(Box<Expression>),
    /// `a IS TRUE`, `a IS FALSE`
    IsTruth(Box<Expression>, bool),
    /// `a IN (…)`
    In(Box<Expression>, Vec<Expression>),
    /// The same of many constants, as [`Expression::prepared`] makes it for the rows of one execution.
    InSet(Box<Expression>, Arc<Constants>),
    /// `(a, b)`, in comparisons and IN lists.
    Tuple(Vec<Expression>),
    /// `a LIKE pattern` with an escape character.
    Like(Box<Expression>, Box<Expression>, char),
    /// `CASE WHEN … THEN … ELSE … END`, already without operand.
    Case(Vec<(Expression, Expression)>, Box<Expression>),
    /// A function of this list.
    Call(Function, Vec<Expression>),
    /// `CAST(a AS type)`
    Cast(Box<Expression>, ColumnType),
}

impl Expression {
    /// Calls `visit` with this expression and all below it.
    pub fn walk(&self, visit: &mut impl FnMut(&Expression)) {
        self.walk_where(&mut |part| {
            visit(part);
            true
        });
    }

    /// The same, without what is below the expressions of which `visit` says `false`.
    pub fn walk_where(&self, visit: &mut impl FnMut(&Expression) -> bool) {
        if !visit(self) {
            return;
        }
        match self {
            Expression::Constant(_)
            | Expression::Parameter(_)
            | Expression::Column(_)
            | Expression::Proposed(_)
            | Expression::Aggregate(_)
            | Expression::SystemVariable(_)
            | Expression::UserVariable(_) => {}
            Expression::Negate(a)
            | Expression::Not(a)
            | Expression::IsNull(a)
            | Expression::IsTruth(a, _)
            | Expression::InSet(a, _)
            | Expression::Cast(a, _) => a.walk_where(visit),
            Expression::Arithmetic(_, a, b)
            | Expression::Compare(_, a, b)
            | Expression::And(a, b)
            | Expression::Or(a, b)
            | Expression::Xor(a, b)
            | Expression::Like(a, b, _) => {
                a.walk_where(visit);
                b.walk_where(visit);
            }
            Expression::In(a, list) => {
                a.walk_where(visit);
                list.iter().for_each(|item| item.walk_where(visit));
            }
            Expression::Tuple(list) | Expression::Call(_, list) => {
                list.iter().for_each(|item| item.walk_where(visit));
            }
            Expression::Case(cases, otherwise) => {
                for (condition, result) in cases {
                    condition.walk_where(visit);
                    result.walk_where(visit);
                }
                otherwise.walk_where(visit);
            }
        }
    }

    /// The same with each expression right below it in place of itself.
    #[must_use]
    pub fn mapped(&self, map: &mut impl FnMut(&Expression) -> Expression) -> Expression {
        let mut one = |part: &Expression| Box::new(map(part));
        match self {
            Expression::Constant(_)
            | Expression::Parameter(_)
            | Expression::Column(_)
            | Expression::Proposed(_)
            | Expression::Aggregate(_)
            | Expression::SystemVariable(_)
            | Expression::UserVariable(_) => self.clone(),
            Expression::Negate(a) => Expression::Negate(one(a)),
            Expression::Not(a) => Expression::Not(one(a)),
            Expression::IsNull(a) => Expression::IsNull(one(a)),
            Expression::IsTruth(a, truth) => Expression::IsTruth(one(a), *truth),
            Expression::Cast(a, column_type) => Expression::Cast(one(a), *column_type),
            Expression::Arithmetic(operator, a, b) => Expression::Arithmetic(*operator, one(a), one(b)),
            Expression::Compare(comparison, a, b) => Expression::Compare(*comparison, one(a), one(b)),
            Expression::And(a, b) => Expression::And(one(a), one(b)),
            Expression::Or(a, b) => Expression::Or(one(a), one(b)),
            Expression::Xor(a, b) => Expression::Xor(one(a), one(b)),
            Expression::Like(a, b, escape) => Expression::Like(one(a), one(b), *escape),
            Expression::In(a, list) => Expression::In(one(a), list.iter().map(map).collect()),
            Expression::InSet(a, set) => Expression::InSet(one(a), Arc::clone(set)),
            Expression::Tuple(list) => Expression::Tuple(list.iter().map(map).collect()),
            Expression::Call(function, list) => Expression::Call(*function, list.iter().map(map).collect()),
            Expression::Case(cases, otherwise) => {
                let otherwise = one(otherwise);
                let cases = cases.iter().map(|(condition, result)| (map(condition), map(result)));
                Expression::Case(cases.collect(), otherwise)
            }
        }
    }

    /// The same with other numbers of columns.
    #[must_use]
    pub fn renumbered(&self, number: &mut dyn FnMut(usize) -> usize) -> Expression {
        match self {
            Expression::Column(index) => Expression::Column(number(*index)),
            other => other.mapped(&mut |part| part.renumbered(number)),
        }
    }

    /// AVG, of a sum and a count.
    pub fn average(sum: Expression, count: Expression) -> Expression {
        Expression::Arithmetic(Operator::Divide, Box::new(sum), Box::new(count))
    }

    /// Whether its value is the same for all rows of a statement.
    pub fn is_constant(&self) -> bool {
        let mut constant = true;
        self.walk(&mut |part| {
            constant &= !matches!(
                part,
                Expression::Column(_)
                    | Expression::Proposed(_)
                    | Expression::Aggregate(_)
                    | Expression::Tuple(_)
            ) && !part.is_random();
        });
        constant
    }

    /// Whether a value of it is a truth, and no other number.
    pub fn is_truth(&self) -> bool {
        matches!(
            self,
            Expression::Compare(..)
                | Expression::And(..)
                | Expression::Or(..)
                | Expression::Xor(..)
                | Expression::Not(_)
                | Expression::IsNull(_)
                | Expression::IsTruth(..)
                | Expression::In(..)
                | Expression::InSet(..)
                | Expression::Like(..)
                | Expression::Constant(Value::Bool(_))
        )
    }

    /// Whether it is a function that has another value each time, or says one to the session each time.
    fn is_random(&self) -> bool {
        match self {
            Expression::Call(Function::LastInsertId, arguments) => !arguments.is_empty(),
            other => matches!(other, Expression::Call(Function::Random | Function::Uuid, _)),
        }
    }

    /// Whether it has another value each time, or something below it has.
    pub fn has_random(&self) -> bool {
        let mut random = false;
        self.walk(&mut |part| random |= part.is_random());
        random
    }

    /// The parts of a chain of AND.
    pub fn conjuncts(&self) -> Vec<&Expression> {
        let mut parts = Vec::new();
        let mut pending = vec![self];
        while let Some(part) = pending.pop() {
            match part {
                Expression::And(a, b) => {
                    pending.push(b);
                    pending.push(a);
                }
                other => parts.push(other),
            }
        }
        parts
    }
}
