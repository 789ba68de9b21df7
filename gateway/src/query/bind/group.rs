//! GROUP BY and aggregates: by the engine, or by the data nodes where a single table is all there is.

use super::select::Selected;
use super::{Binder, Part};
use crate::error::{Result, SqlError};
use crate::expression::kinds::Known;
use crate::expression::{AggregateCall, AggregateFunction, Expression};
use crate::query::aggregate::Aggregate;
use crate::query::relation::Relation;
use crate::query::run::sql_error;
use crate::query::translate::{Leaf, Translator, columns_of};
use crate::query::types::data_type;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::{Expr as Native, LogicalPlan, LogicalPlanBuilder, cast, lit};
use duet_client::ColumnType;
use std::sync::Arc;

/// Most times that columns of grouped keys join the groups.
const MAX_IMPLIED: usize = 4_096;

impl Binder<'_> {
    /// The type of an aggregate.
    pub(super) fn aggregate_type(
        &mut self,
        calls: &[AggregateCall],
        index: usize,
    ) -> Result<Option<ColumnType>> {
        let leaves = self.leaves()?;
        let columns = columns_of(&leaves);
        let known = Known { aggregates: calls, ..self.surroundings.known(&columns) };
        Ok(Expression::Aggregate(index).column_type(known))
    }

    /// An aggregate of the engine over a column; of rows without one.
    pub(super) fn native_aggregate(
        call: &AggregateCall,
        input: Option<(Native, Option<ColumnType>)>,
        result: Option<ColumnType>,
    ) -> Result<Native> {
        let Some((input, column_type)) = input else { return Ok(count_udaf().call(vec![lit(1_i64)])) };
        if call.distinct && !matches!(call.function, AggregateFunction::Minimum | AggregateFunction::Maximum)
        {
            return Aggregate::call(call, input, column_type, result);
        }
        let data_type = data_type(column_type)?;
        Ok(match (call.function, &data_type) {
            (AggregateFunction::Count, _) => count_udaf().call(vec![input]),
            (AggregateFunction::Minimum, _) => min_udaf().call(vec![input]),
            (AggregateFunction::Maximum, _) => max_udaf().call(vec![input]),
            (AggregateFunction::Sum, DataType::Int64 | DataType::UInt64) => {
                sum_udaf().call(vec![cast(input, DataType::Decimal128(38, 0))])
            }
            (AggregateFunction::Sum, DataType::Float64) => sum_udaf().call(vec![input]),
            _ => Aggregate::call(call, input, column_type, result)?,
        })
    }

    /// Groups and their aggregates; what is selected refers to them afterwards.
    pub(super) fn grouped(&mut self, plan: LogicalPlan, selected: &mut Selected) -> Result<LogicalPlan> {
        self.add_implied(selected);
        let leaves = self.leaves()?;
        let surroundings = Arc::clone(&self.surroundings);
        let translator = Translator { leaves: &leaves, surroundings: &surroundings };
        let mut below: Vec<Native> = plan.schema().columns().into_iter().map(Native::Column).collect();
        let plain = below.len();
        let mut keys = Vec::new();
        let mut key_leaves = Vec::new();
        for expression in &selected.group {
            let native = translator.value(expression)?;
            let column_type = translator.column_type(expression);
            let column = match native {
                Native::Column(column) => column,
                other => {
                    let unique = self.unique("group");
                    below.push(other.alias(&unique));
                    Column::new_unqualified(unique)
                }
            };
            key_leaves.push(Leaf { expr: Native::Column(column.clone()), column_type, truth: false });
            if !keys.contains(&Native::Column(column.clone())) {
                keys.push(Native::Column(column));
            }
        }
        let mut natives = Vec::new();
        let mut types = Vec::new();
        for (index, call) in selected.aggregates.iter().enumerate() {
            let result = self.aggregate_type(&selected.aggregates, index)?;
            let input = match &call.argument {
                None => None,
                Some(argument) => {
                    let column_type = translator.column_type(argument);
                    let unique = self.unique("argument");
                    below.push(translator.value(argument)?.alias(&unique));
                    Some((Native::Column(Column::new_unqualified(unique)), column_type))
                }
            };
            natives.push(Self::native_aggregate(call, input, result)?);
            types.push(result);
        }
        let mut builder = LogicalPlanBuilder::from(plan);
        if below.len() > plain {
            builder = builder.project(below).map_err(sql_error)?;
        }
        let key_count = keys.len();
        builder = builder.aggregate(keys, natives).map_err(sql_error)?;
        let mut above: Vec<Native> =
            builder.schema().columns().into_iter().take(key_count).map(Native::Column).collect();
        let mut aggregate_leaves = Vec::new();
        let outputs = builder.schema().columns();
        for (index, column_type) in types.iter().enumerate() {
            let unique = self.unique("aggregate");
            let column = outputs[key_count + index].clone();
            above.push(Native::Column(column).alias(&unique));
            aggregate_leaves.push(Leaf {
                expr: Native::Column(Column::new_unqualified(unique)),
                column_type: *column_type,
                truth: false,
            });
        }
        let plan = builder.project(above).and_then(LogicalPlanBuilder::build).map_err(sql_error)?;
        self.regroup(selected, &key_leaves, &aggregate_leaves)?;
        Ok(plan)
    }

    /// Columns of a table whose whole primary key is grouped have one value in each group.
    fn add_implied(&mut self, selected: &mut Selected) {
        let parts = self.frame().parts.clone();
        let column_of = |expression: &Expression| match expression {
            Expression::Column(index) => match parts.get(*index) {
                Some(Part::Ready(Leaf { expr: Native::Column(column), .. })) => Some(column.clone()),
                _ => None,
            },
            _ => None,
        };
        let grouped: Vec<Column> = selected.group.iter().filter_map(column_of).collect();
        let mut used = Vec::new();
        let expressions = selected
            .items
            .iter()
            .map(|item| &item.expression)
            .chain(&selected.having)
            .chain(selected.order.iter().map(|(part, _)| part));
        for expression in expressions {
            expression.walk(&mut |part| {
                if column_of(part).is_some() && !used.contains(part) && !selected.group.contains(part) {
                    used.push(part.clone());
                }
            });
        }
        for expression in used.into_iter().take(MAX_IMPLIED) {
            let Some(column) = column_of(&expression) else { continue };
            let columns = &self.frame().columns;
            let Some(known) = columns.iter().find(|known| known.column == column) else { continue };
            let Some((table, _)) = known.base else { continue };
            let key: Vec<&Column> = columns
                .iter()
                .filter(|other| other.base.is_some_and(|(other, _)| other == table))
                .filter(|other| other.origin.as_ref().is_some_and(|origin| origin.is_key))
                .map(|other| &other.column)
                .collect();
            if !key.is_empty() && key.into_iter().all(|column| grouped.contains(column)) {
                selected.group.push(expression);
            }
        }
    }

    /// Puts groups and aggregates in place of their expressions.
    pub(super) fn regroup(
        &mut self,
        selected: &mut Selected,
        keys: &[Leaf],
        aggregates: &[Leaf],
    ) -> Result<()> {
        let keys: Vec<(Expression, Expression)> = selected
            .group
            .iter()
            .zip(keys)
            .map(|(expression, leaf)| {
                (expression.clone(), Expression::Column(self.part(Part::Ready(leaf.clone()))))
            })
            .collect();
        let aggregates: Vec<Expression> =
            aggregates.iter().map(|leaf| Expression::Column(self.part(Part::Ready(leaf.clone())))).collect();
        let parts = self.frame().parts.clone();
        let mut place = Place { keys: &keys, aggregates: &aggregates, parts: &parts };
        for item in &mut selected.items {
            item.expression = place.put(&item.expression)?;
        }
        if let Some(having) = &mut selected.having {
            *having = place.put(having)?;
        }
        for (part, _) in &mut selected.order {
            *part = place.put(part)?;
        }
        for (index, part) in parts.iter().enumerate() {
            let changed = match part {
                Part::In { operand, subquery, outer, negated } => Part::In {
                    // One of WHERE is done with.
                    operand: place.put(operand).unwrap_or_else(|_| operand.clone()),
                    subquery: subquery.clone(),
                    outer: outer.clone(),
                    negated: *negated,
                },
                Part::Window(call) => Part::Window(Box::new(call.try_mapped(&mut |part| place.put(part))?)),
                Part::Ready(_) => continue,
            };
            self.frame().parts[index] = changed;
        }
        Ok(())
    }

    /// The same by the data nodes, if the rows are those of one table, and its conditions, groups and aggregates such that nodes know them.
    pub(super) fn pushed_groups(
        &mut self,
        relation: &Relation,
        filter: Option<&Expression>,
        selected: &mut Selected,
    ) -> Result<Option<Relation>> {
        let LogicalPlan::TableScan(scan) = &relation.plan else { return Ok(None) };
        let parts = self.frame().parts.clone();
        let columns: Vec<Column> = relation.columns.iter().map(|column| column.column.clone()).collect();
        let Some(pushed) = crate::query::pushed::groups(
            scan,
            &columns,
            &parts,
            filter,
            &selected.group,
            &selected.aggregates,
            &self.surroundings,
        )?
        else {
            return Ok(None);
        };
        let name = datafusion::common::TableReference::bare(self.unique_table("groups"));
        let provider = datafusion::datasource::provider_as_source(Arc::clone(&pushed.provider));
        let plan = LogicalPlanBuilder::scan(name.clone(), provider, None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(sql_error)?;
        let outputs = plan.schema().columns();
        let groups = selected.group.len();
        // Groups keep the names of their columns, which subqueries may use.
        let mut items = Vec::new();
        let mut leaves = Vec::new();
        for (index, (output, source)) in outputs.iter().zip(&pushed.columns).enumerate() {
            let native = Native::Column(output.clone());
            let column = match selected.group.get(index) {
                Some(Expression::Column(part)) if index < groups => match &parts[*part] {
                    Part::Ready(Leaf { expr: Native::Column(column), .. }) => column.clone(),
                    _ => return Ok(None),
                },
                _ => Column::new_unqualified(self.unique(&source.name)),
            };
            items.push(native.alias_qualified(column.relation.clone(), column.name()));
            leaves.push(Leaf {
                expr: Native::Column(column),
                column_type: Some(source.column_type),
                truth: false,
            });
        }
        let plan = LogicalPlanBuilder::from(plan)
            .project(items)
            .and_then(LogicalPlanBuilder::build)
            .map_err(sql_error)?;
        self.regroup(selected, &leaves[..groups], &leaves[groups..])?;
        Ok(Some(Relation { plan, columns: Vec::new() }))
    }
}

/// Puts columns of groups into expressions.
struct Place<'p> {
    keys: &'p [(Expression, Expression)],
    aggregates: &'p [Expression],
    parts: &'p [Part],
}

impl Place<'_> {
    fn put(&mut self, expression: &Expression) -> Result<Expression> {
        if let Some((_, key)) = self.keys.iter().find(|(known, _)| known == expression) {
            return Ok(key.clone());
        }
        match expression {
            Expression::Aggregate(index) => Ok(self.aggregates[*index].clone()),
            Expression::Column(index) => match &self.parts[*index] {
                Part::Ready(Leaf { expr: Native::Column(column), .. })
                    if !self.keys.iter().any(|(_, key)| key == expression)
                        && !self.aggregates.contains(expression) =>
                {
                    Err(SqlError::not_grouped(format!(
                        "Expression contains nonaggregated column '{}', which is not in GROUP BY; this is incompatible with \
                         sql_mode=only_full_group_by",
                        column.flat_name()
                    )))
                }
                _ => Ok(expression.clone()),
            },
            other => {
                let mut failed = None;
                let mapped = other.mapped(&mut |part| match self.put(part) {
                    Ok(part) => part,
                    Err(error) => {
                        failed = Some(error);
                        part.clone()
                    }
                });
                match failed {
                    Some(error) => Err(error),
                    None => Ok(mapped),
                }
            }
        }
    }
}
