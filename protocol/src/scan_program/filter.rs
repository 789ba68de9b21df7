//! Filters as trees, as clients build them.

use crate::value::Value;

/// How a column is compared with a constant.
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
}

/// A condition on the columns of a row, with columns named by `C`: by their index in a program, by name in a client.
///
/// Numbers compare by value whatever their type, exactly; dates and times with those of the same type; text and bytes
/// byte by byte. A comparison with a NULL in the row is neither true nor false, as in SQL, and only rows of which the
/// whole condition is true pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter<C> {
    /// Compares a column with a constant, which must not be NULL.
    Compare {
        /// The column.
        column: C,
        /// How.
        comparison: Comparison,
        /// The constant.
        value: Value,
    },
    /// Is the column NULL?
    IsNull(C),
    /// Is the column not NULL?
    IsNotNull(C),
    /// Does the column equal one of the constants, none of which may be NULL? Of none: never.
    In {
        /// The column.
        column: C,
        /// The constants.
        values: Vec<Value>,
    },
    /// Does a column of text or bytes begin with this text or these bytes?
    Prefix {
        /// The column.
        column: C,
        /// What it begins with.
        prefix: Value,
    },
    /// Are all true? Of none: yes.
    And(Vec<Filter<C>>),
    /// Is one true? Of none: no.
    Or(Vec<Filter<C>>),
    /// Is it false?
    Not(Box<Filter<C>>),
}

impl<C> Filter<C> {
    /// Both must be true.
    #[must_use]
    pub fn and(self, other: Filter<C>) -> Filter<C> {
        match self {
            Filter::And(mut all) => {
                all.push(other);
                Filter::And(all)
            }
            first => Filter::And(vec![first, other]),
        }
    }

    /// One must be true.
    #[must_use]
    pub fn or(self, other: Filter<C>) -> Filter<C> {
        match self {
            Filter::Or(mut any) => {
                any.push(other);
                Filter::Or(any)
            }
            first => Filter::Or(vec![first, other]),
        }
    }

    /// The same filter with its columns named otherwise.
    ///
    /// # Errors
    /// The first of `rename`.
    pub fn try_map<D, E>(self, rename: &mut impl FnMut(C) -> Result<D, E>) -> Result<Filter<D>, E> {
        Ok(match self {
            Filter::Compare { column, comparison, value } => {
                Filter::Compare { column: rename(column)?, comparison, value }
            }
            Filter::IsNull(column) => Filter::IsNull(rename(column)?),
            Filter::IsNotNull(column) => Filter::IsNotNull(rename(column)?),
            Filter::In { column, values } => Filter::In { column: rename(column)?, values },
            Filter::Prefix { column, prefix } => Filter::Prefix { column: rename(column)?, prefix },
            Filter::And(all) => {
                Filter::And(all.into_iter().map(|one| one.try_map(rename)).collect::<Result<_, E>>()?)
            }
            Filter::Or(any) => {
                Filter::Or(any.into_iter().map(|one| one.try_map(rename)).collect::<Result<_, E>>()?)
            }
            Filter::Not(inner) => Filter::Not(Box::new(inner.try_map(rename)?)),
        })
    }
}

/// `!filter`: is it false?
impl<C> std::ops::Not for Filter<C> {
    type Output = Filter<C>;

    fn not(self) -> Filter<C> {
        Filter::Not(Box::new(self))
    }
}
