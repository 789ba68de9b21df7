//! Window functions as statements have them; only the query engine computes them.

use super::{AggregateFunction, Expression, Scope, compile};
use crate::error::{Result, SqlError, not_supported};
use duet_client::Value;
use sqlparser::ast::{Expr, OrderBySort, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType};

/// A window function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowFunction {
    /// `ROW_NUMBER()`
    RowNumber,
    /// `RANK()`
    Rank,
    /// `DENSE_RANK()`
    DenseRank,
    /// `PERCENT_RANK()`
    PercentRank,
    /// `CUME_DIST()`
    CumulativeDistribution,
    /// `NTILE(n)`
    Tile,
    /// `LAG(a, n, default)`
    Lag,
    /// `LEAD(a, n, default)`
    Lead,
    /// `FIRST_VALUE(a)`
    FirstValue,
    /// `LAST_VALUE(a)`
    LastValue,
    /// `NTH_VALUE(a, n)`
    NthValue,
    /// `AVG(a)` of the rows of the frame.
    Average,
    /// An aggregate of the rows of the frame.
    Aggregate(AggregateFunction),
}

impl WindowFunction {
    /// The function of this name in upper case, and how many arguments it takes.
    pub fn named(name: &str) -> Option<(WindowFunction, std::ops::RangeInclusive<usize>)> {
        Some(match name {
            "ROW_NUMBER" => (WindowFunction::RowNumber, 0..=0),
            "RANK" => (WindowFunction::Rank, 0..=0),
            "DENSE_RANK" => (WindowFunction::DenseRank, 0..=0),
            "PERCENT_RANK" => (WindowFunction::PercentRank, 0..=0),
            "CUME_DIST" => (WindowFunction::CumulativeDistribution, 0..=0),
            "NTILE" => (WindowFunction::Tile, 1..=1),
            "LAG" => (WindowFunction::Lag, 1..=3),
            "LEAD" => (WindowFunction::Lead, 1..=3),
            "FIRST_VALUE" => (WindowFunction::FirstValue, 1..=1),
            "LAST_VALUE" => (WindowFunction::LastValue, 1..=1),
            "NTH_VALUE" => (WindowFunction::NthValue, 2..=2),
            _ => return None,
        })
    }
}

/// An end of a frame; `None` for all rows there are.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// The current row.
    Current,
    /// Before it.
    Preceding(Option<Value>),
    /// Behind it.
    Following(Option<Value>),
}

/// A frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Counted in rows, not in values.
    pub rows: bool,
    /// Its first row.
    pub start: Bound,
    /// Its last row.
    pub end: Bound,
}

/// A window function with its window.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowCall {
    /// The function.
    pub function: WindowFunction,
    /// Its arguments.
    pub arguments: Vec<Expression>,
    /// What makes partitions.
    pub partition: Vec<Expression>,
    /// Order within them, and whether each goes down.
    pub order: Vec<(Expression, bool)>,
    /// The frame, where it is given.
    pub frame: Option<Frame>,
}

impl WindowCall {
    /// The same with other expressions.
    ///
    /// # Errors
    /// Those of `map`.
    pub fn try_mapped(&self, map: &mut dyn FnMut(&Expression) -> Result<Expression>) -> Result<WindowCall> {
        Ok(WindowCall {
            function: self.function,
            arguments: self.arguments.iter().map(&mut *map).collect::<Result<_>>()?,
            partition: self.partition.iter().map(&mut *map).collect::<Result<_>>()?,
            order: self.order.iter().map(|(part, down)| Ok((map(part)?, *down))).collect::<Result<_>>()?,
            frame: self.frame.clone(),
        })
    }
}

fn bound(bound: &WindowFrameBound, scope: &mut Scope<'_>) -> Result<Bound> {
    let mut value = |amount: &Option<Box<Expr>>| -> Result<Option<Value>> {
        match amount {
            None => Ok(None),
            Some(amount) => match compile(amount, scope)? {
                Expression::Constant(value) => Ok(Some(value)),
                _ => not_supported("frames that are no literals"),
            },
        }
    };
    Ok(match bound {
        WindowFrameBound::CurrentRow => Bound::Current,
        WindowFrameBound::Preceding(amount) => Bound::Preceding(value(amount)?),
        WindowFrameBound::Following(amount) => Bound::Following(value(amount)?),
    })
}

/// Compiles the window of a function whose arguments are compiled.
///
/// # Errors
/// As [`compile`]; 1235 where there is no engine for it.
pub(super) fn compile_window(
    function: WindowFunction,
    arguments: Vec<Expression>,
    over: &WindowType,
    scope: &mut Scope<'_>,
) -> Result<Expression> {
    let Some(outside) = scope.outside.as_deref_mut() else { return not_supported("window functions") };
    let spec: WindowSpec = match over {
        WindowType::WindowSpec(spec) => match &spec.window_name {
            None => spec.clone(),
            Some(name) => {
                let mut named = outside.named_window(name)?;
                if !spec.partition_by.is_empty() || (!named.order_by.is_empty() && !spec.order_by.is_empty())
                {
                    return Err(SqlError {
                        code: 3_581,
                        state: "HY000",
                        message: "A window which depends on another cannot define partitioning.".to_owned(),
                    });
                }
                if named.order_by.is_empty() {
                    named.order_by.clone_from(&spec.order_by);
                }
                if named.window_frame.is_none() {
                    named.window_frame.clone_from(&spec.window_frame);
                }
                named
            }
        },
        WindowType::NamedWindow(name) => outside.named_window(name)?,
    };
    let partition = spec.partition_by.iter().map(|part| compile(part, scope)).collect::<Result<_>>()?;
    let mut order = Vec::with_capacity(spec.order_by.len());
    for part in &spec.order_by {
        if part.options.nulls_first.is_some() || matches!(part.options.sort, Some(OrderBySort::Using(_))) {
            return not_supported("this form of ORDER BY");
        }
        order.push((compile(&part.expr, scope)?, matches!(part.options.sort, Some(OrderBySort::Desc))));
    }
    let frame = match &spec.window_frame {
        None => None,
        Some(frame) => {
            let rows = match frame.units {
                WindowFrameUnits::Rows => true,
                WindowFrameUnits::Range => false,
                WindowFrameUnits::Groups => return not_supported("GROUPS"),
            };
            let start = bound(&frame.start_bound, scope)?;
            let end = frame.end_bound.as_ref().map(|end| bound(end, scope)).transpose()?;
            Some(Frame { rows, start, end: end.unwrap_or(Bound::Current) })
        }
    };
    let call = WindowCall { function, arguments, partition, order, frame };
    match scope.outside.as_deref_mut() {
        Some(outside) => Ok(Expression::Column(outside.window(call)?)),
        None => not_supported("window functions"),
    }
}
