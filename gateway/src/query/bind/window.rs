//! Window functions, each a plan above the one before.

use super::{Binder, Part, unsupported};
use crate::error::{Result, SqlError};
use crate::expression::window::{Bound, WindowCall, WindowFunction};
use crate::expression::{AggregateCall, AggregateFunction, Expression};
use crate::query::run::sql_error;
use crate::query::translate::{Leaf, Translator};
use datafusion::common::{Column, ScalarValue};
use datafusion::functions_window::{cume_dist, lead_lag, nth_value, ntile, rank, row_number};
use datafusion::logical_expr::expr::{WindowFunction as NativeWindow, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr as Native, LogicalPlan, LogicalPlanBuilder, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition,
};
use duet_client::{ColumnType, Value};
use std::sync::Arc;

impl Binder<'_> {
    /// Computes the window functions that these expressions use.
    pub(super) fn windows(&mut self, mut plan: LogicalPlan, used: &[Expression]) -> Result<LogicalPlan> {
        for index in 0..self.frame().parts.len() {
            let Part::Window(call) = self.frame().parts[index].clone() else { continue };
            let mut is_used = false;
            for expression in used {
                expression.walk(&mut |part| is_used |= *part == Expression::Column(index));
            }
            if is_used {
                let (next, leaf) = self.window(plan, &call)?;
                plan = next;
                self.frame().parts[index] = Part::Ready(leaf);
            }
        }
        Ok(plan)
    }

    fn window(&mut self, plan: LogicalPlan, call: &WindowCall) -> Result<(LogicalPlan, Leaf)> {
        let leaves = self.leaves()?;
        let surroundings = Arc::clone(&self.surroundings);
        let translator = Translator { leaves: &leaves, surroundings: &surroundings };
        let mut below: Vec<Native> = plan.schema().columns().into_iter().map(Native::Column).collect();
        let plain = below.len();
        let mut column = |binder: &mut Binder<'_>, expression: &Expression| -> Result<Native> {
            Ok(match translator.value(expression)? {
                native @ (Native::Column(_) | Native::Literal(..)) => native,
                native => {
                    let unique = binder.unique("window");
                    below.push(native.alias(&unique));
                    Native::Column(Column::new_unqualified(unique))
                }
            })
        };
        let mut arguments = Vec::new();
        for argument in &call.arguments {
            arguments.push((column(self, argument)?, translator.column_type(argument)));
        }
        let partition = call.partition.iter().map(|part| column(self, part)).collect::<Result<Vec<_>>>()?;
        let mut order = Vec::new();
        for (part, down) in &call.order {
            order.push(super::query::sort(column(self, part)?, *down));
        }
        let first = arguments.first().and_then(|(_, column_type)| *column_type);
        let number = |definition| (WindowFunctionDefinition::WindowUDF(definition), Some(ColumnType::BigInt));
        let double = |definition| (WindowFunctionDefinition::WindowUDF(definition), Some(ColumnType::Double));
        let same = |definition| (WindowFunctionDefinition::WindowUDF(definition), first);
        let mut inputs: Vec<Native> = arguments.iter().map(|(native, _)| native.clone()).collect();
        let (definition, column_type) = match call.function {
            WindowFunction::Average => return self.average(plan, call),
            WindowFunction::RowNumber => number(row_number::row_number_udwf()),
            WindowFunction::Rank => number(rank::rank_udwf()),
            WindowFunction::DenseRank => number(rank::dense_rank_udwf()),
            WindowFunction::PercentRank => double(rank::percent_rank_udwf()),
            WindowFunction::CumulativeDistribution => double(cume_dist::cume_dist_udwf()),
            WindowFunction::Tile => number(ntile::ntile_udwf()),
            WindowFunction::Lag => same(lead_lag::lag_udwf()),
            WindowFunction::Lead => same(lead_lag::lead_udwf()),
            WindowFunction::FirstValue => same(nth_value::first_value_udwf()),
            WindowFunction::LastValue => same(nth_value::last_value_udwf()),
            WindowFunction::NthValue => same(nth_value::nth_value_udwf()),
            WindowFunction::Aggregate(function) => {
                let argument = call.arguments.first().cloned();
                let aggregate = AggregateCall { function, argument, distinct: false, listing: None };
                let calls = [aggregate];
                let result = self.aggregate_type(&calls, 0)?;
                let native = Self::native_aggregate(&calls[0], arguments.first().cloned(), result)?;
                let Native::AggregateFunction(native) = native else {
                    return unsupported("this window function");
                };
                inputs = native.params.args;
                (WindowFunctionDefinition::AggregateUDF(native.func), result)
            }
        };
        // Nothing of these depends on the frame.
        let ranks = matches!(
            call.function,
            WindowFunction::RowNumber
                | WindowFunction::Rank
                | WindowFunction::DenseRank
                | WindowFunction::PercentRank
                | WindowFunction::CumulativeDistribution
                | WindowFunction::Tile
                | WindowFunction::Lag
                | WindowFunction::Lead
        );
        let window_frame = match (&call.frame, ranks) {
            (None, _) | (_, true) => WindowFrame::new((!order.is_empty()).then_some(false)),
            (Some(frame), false) => {
                let units = if frame.rows { WindowFrameUnits::Rows } else { WindowFrameUnits::Range };
                let bound = |bound: &Bound| -> Result<WindowFrameBound> {
                    let amount = |value: &Option<Value>| {
                        match (value, frame.rows) {
                        (None, _) => Ok(ScalarValue::UInt64(None)),
                        (Some(Value::Int(rows)), true) if *rows >= 0 => {
                            Ok(ScalarValue::UInt64(Some(rows.unsigned_abs())))
                        }
                        (Some(Value::Int(distance)), false) if *distance >= 0 => {
                            Ok(ScalarValue::Utf8(Some(distance.to_string())))
                        }
                        _ => Err(SqlError {
                            code: 3_586,
                            state: "HY000",
                            message: "Window '<unnamed window>': frame start or end is negative, NULL or of non-integral type"
                                .to_owned(),
                        }),
                    }
                    };
                    Ok(match bound {
                        Bound::Current => WindowFrameBound::CurrentRow,
                        Bound::Preceding(value) => WindowFrameBound::Preceding(amount(value)?),
                        Bound::Following(value) => WindowFrameBound::Following(amount(value)?),
                    })
                };
                WindowFrame::new_bounds(units, bound(&frame.start)?, bound(&frame.end)?)
            }
        };
        let native = Native::WindowFunction(Box::new(NativeWindow {
            fun: definition,
            params: WindowFunctionParams {
                args: inputs,
                partition_by: partition,
                order_by: order,
                window_frame,
                filter: None,
                null_treatment: None,
                distinct: false,
            },
        }));
        let mut builder = LogicalPlanBuilder::from(plan);
        if below.len() > plain {
            builder = builder.project(below).map_err(sql_error)?;
        }
        let builder = builder.window(vec![native]).map_err(sql_error)?;
        let mut columns: Vec<Native> = builder.schema().columns().into_iter().map(Native::Column).collect();
        let unique = self.unique("window");
        if let Some(last) = columns.pop() {
            let last = match column_type {
                Some(ColumnType::BigInt) => {
                    datafusion::logical_expr::cast(last, datafusion::arrow::datatypes::DataType::Int64)
                }
                _ => last,
            };
            columns.push(last.alias(&unique));
        }
        let plan = builder.project(columns).and_then(LogicalPlanBuilder::build).map_err(sql_error)?;
        Ok((plan, Leaf { expr: Native::Column(Column::new_unqualified(unique)), column_type, truth: false }))
    }

    /// An average is a sum and a number of values, which frames can both give rows back to.
    fn average(&mut self, plan: LogicalPlan, call: &WindowCall) -> Result<(LogicalPlan, Leaf)> {
        let of = |function| WindowCall { function: WindowFunction::Aggregate(function), ..call.clone() };
        let (plan, sum) = self.window(plan, &of(AggregateFunction::Sum))?;
        let (plan, count) = self.window(plan, &of(AggregateFunction::Count))?;
        let leaves = [sum, count];
        let translator = Translator { leaves: &leaves, surroundings: &self.surroundings };
        let quotient = Expression::average(Expression::Column(0), Expression::Column(1));
        let column_type = translator.column_type(&quotient);
        let native = translator.value(&quotient)?;
        let mut columns: Vec<Native> = plan.schema().columns().into_iter().map(Native::Column).collect();
        let unique = self.unique("average");
        columns.push(native.alias(&unique));
        let plan = LogicalPlanBuilder::from(plan)
            .project(columns)
            .and_then(LogicalPlanBuilder::build)
            .map_err(sql_error)?;
        Ok((plan, Leaf { expr: Native::Column(Column::new_unqualified(unique)), column_type, truth: false }))
    }
}
