//! Whole queries: WITH, set operations, and ORDER BY and LIMIT of their results.

use super::{Binder, Clause, Common, Frame, unsupported};
use crate::error::{Result, SqlError};
use crate::expression::kinds::unified;
use crate::expression::{Environment, Expression, Scope, compile};
use crate::plan::{check_waits, is_of_mysql};
use crate::query::relation::{BoundColumn, Relation, Source, SourceColumn};
use crate::query::run::sql_error;
use crate::query::translate::Translator;
use crate::value::compare::exact;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr as Native, LogicalPlanBuilder, SortExpr};
use duet_client::ColumnType;
use sqlparser::ast::{
    Cte, Expr, LimitClause, OrderByExpr, OrderByKind, OrderBySort, Query, SetExpr, SetOperator,
    SetQuantifier, With,
};
use std::sync::Arc;

/// Order of a result: expressions, and whether each goes down.
pub(super) fn order_of(query: &Query) -> Result<&[OrderByExpr]> {
    match query.order_by.as_ref().map(|order| &order.kind) {
        None => Ok(&[]),
        Some(OrderByKind::Expressions(parts)) => Ok(parts),
        Some(OrderByKind::All(_)) => unsupported("ORDER BY ALL"),
    }
}

/// Whether a part of ORDER BY goes down.
pub(super) fn goes_down(part: &OrderByExpr) -> Result<bool> {
    if part.with_fill.is_some() || part.options.nulls_first.is_some() {
        return unsupported("this form of ORDER BY");
    }
    match &part.options.sort {
        None | Some(OrderBySort::Asc) => Ok(false),
        Some(OrderBySort::Desc) => Ok(true),
        Some(OrderBySort::Using(_)) => unsupported("this form of ORDER BY"),
    }
}

/// A part of an order in MySQL's way: NULL is the least.
pub(super) fn sort(expression: Native, down: bool) -> SortExpr {
    expression.sort(!down, !down)
}

fn plain(query: &Query) -> Result<()> {
    if !is_of_mysql(query) {
        return unsupported("this form of query");
    }
    query.locks.iter().try_for_each(check_waits)?;
    match query.locks.is_empty() {
        true => Ok(()),
        false => unsupported("FOR UPDATE and FOR SHARE in joins and subqueries"),
    }
}

impl Binder<'_> {
    /// A query, where frames are those around it.
    pub(super) fn query(&mut self, query: &Query) -> Result<Relation> {
        plain(query)?;
        let before = self.commons.len();
        let bound = self.with(query.with.as_ref()).and_then(|()| self.body_and_order(query));
        self.commons.truncate(before);
        bound
    }

    fn body_and_order(&mut self, query: &Query) -> Result<Relation> {
        let order = order_of(query)?;
        let (skip, fetch) = self.limits(query.limit_clause.as_ref())?;
        let relation = match query.body.as_ref() {
            SetExpr::Select(select) => self.select(select, order)?,
            body => {
                let relation = self.body(body)?;
                self.ordered(relation, order)?
            }
        };
        match skip > 0 || fetch.is_some() {
            true => relation.limit(skip, fetch),
            false => Ok(relation),
        }
    }

    fn body(&mut self, body: &SetExpr) -> Result<Relation> {
        match body {
            SetExpr::Select(select) => self.select(select, &[]),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let left = self.body(left)?;
                let right = self.body(right)?;
                self.combined(left, right, *op, *set_quantifier)
            }
            SetExpr::Table(table) => {
                let name = |name: &Option<String>| name.clone().map(sqlparser::ast::Ident::new);
                let (Some(table_name), schema) = (name(&table.table_name), name(&table.schema_name)) else {
                    return unsupported("this form of TABLE");
                };
                let text = match schema {
                    Some(schema) => format!("SELECT * FROM `{}`.`{}`", schema.value, table_name.value),
                    None => format!("SELECT * FROM `{}`", table_name.value),
                };
                let mut tokens = crate::parse::tokens(&text)?;
                match tokens.remove(0).parse()? {
                    sqlparser::ast::Statement::Query(query) => self.query(&query),
                    _ => unsupported("this form of TABLE"),
                }
            }
            _ => unsupported("this form of query"),
        }
    }

    /// LIMIT as rows left out and rows taken.
    fn limits(&mut self, clause: Option<&LimitClause>) -> Result<(usize, Option<usize>)> {
        let surroundings = Arc::clone(&self.surroundings);
        let number = |expression: &Expr| -> Result<usize> {
            let compiled = compile(expression, &mut Scope::empty("limit clause"))?;
            let environment = Environment::new(&surroundings.parameters, &surroundings.facts);
            match exact(&compiled.evaluate(&environment)?) {
                Some((number, 0)) if number >= 0 => {
                    Ok(usize::try_from(number).unwrap_or(usize::MAX >> 1).min(usize::MAX >> 1))
                }
                _ => Err(SqlError::wrong_arguments("Undeclared variable or negative number in LIMIT")),
            }
        };
        // Parameters that are not known yet.
        if self.told.unasked && self.surroundings.parameters.contains(&duet_client::Value::Null) {
            return Ok((0, None));
        }
        Ok(match clause {
            None => (0, None),
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => (
                offset.as_ref().map(|offset| number(&offset.value)).transpose()?.unwrap_or(0),
                limit.as_ref().map(number).transpose()?,
            ),
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => (number(offset)?, Some(number(limit)?)),
            Some(LimitClause::LimitOffset { .. }) => return unsupported("LIMIT BY"),
        })
    }

    /// ORDER BY of a set operation: numbers, names and expressions of its columns.
    fn ordered(&mut self, relation: Relation, order: &[OrderByExpr]) -> Result<Relation> {
        if order.is_empty() {
            return Ok(relation);
        }
        self.frames.push(Frame { columns: relation.columns.clone(), ..Frame::default() });
        let sorts: Result<Vec<SortExpr>> =
            order.iter().map(|part| self.order_of_set(&relation, part)).collect();
        let frame = self.frames.pop().unwrap_or_default();
        self.taken.extend(frame.outer);
        let sorts = sorts?;
        let plan = LogicalPlanBuilder::from(relation.plan)
            .sort(sorts)
            .and_then(LogicalPlanBuilder::build)
            .map_err(sql_error)?;
        Ok(Relation { plan, ..relation })
    }

    fn order_of_set(&mut self, relation: &Relation, part: &OrderByExpr) -> Result<SortExpr> {
        let down = goes_down(part)?;
        if let Some(text) = position(&part.expr) {
            let index = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let column = index.and_then(|index| relation.columns.get(index));
            let column = column.ok_or_else(|| SqlError::no_column(text, "order clause"))?;
            return Ok(sort(Native::Column(column.column.clone()), down));
        }
        let clause = Clause { place: "order clause", aggregates: None, names: &[] };
        let compiled = self.compile(&part.expr, clause)?;
        Ok(sort(self.translated(|translator| translator.value(&compiled))?, down))
    }

    fn combined(
        &mut self,
        left: Relation,
        right: Relation,
        operator: SetOperator,
        quantifier: SetQuantifier,
    ) -> Result<Relation> {
        if left.columns.len() != right.columns.len() {
            return Err(SqlError {
                code: 1_222,
                state: "21000",
                message: "The used SELECT statements have a different number of columns".to_owned(),
            });
        }
        let all = match quantifier {
            SetQuantifier::All => true,
            SetQuantifier::Distinct | SetQuantifier::None => false,
            _ => return unsupported("BY NAME"),
        };
        let types: Vec<Option<ColumnType>> = left
            .columns
            .iter()
            .zip(&right.columns)
            .map(|(one, other)| unified(one.column_type, other.column_type))
            .collect();
        let names: Vec<String> = left.columns.iter().map(|column| column.name.clone()).collect();
        let nullable: Vec<bool> = left
            .columns
            .iter()
            .zip(&right.columns)
            .map(|(one, other)| one.nullable || other.nullable)
            .collect();
        let left = self.cast_columns(left, &types)?;
        let right = self.cast_columns(right, &types)?;
        let builder = LogicalPlanBuilder::from(left.plan);
        let built = match (operator, all) {
            (SetOperator::Union, true) => builder.union(right.plan),
            (SetOperator::Union, false) => builder.union_distinct(right.plan),
            (SetOperator::Intersect, false) => {
                return self.positional(
                    LogicalPlanBuilder::intersect(builder.build().map_err(sql_error)?, right.plan, false)
                        .map_err(sql_error)?,
                    &names,
                    &types,
                    &nullable,
                );
            }
            (SetOperator::Except, false) => {
                return self.positional(
                    LogicalPlanBuilder::except(builder.build().map_err(sql_error)?, right.plan, false)
                        .map_err(sql_error)?,
                    &names,
                    &types,
                    &nullable,
                );
            }
            (SetOperator::Intersect | SetOperator::Except, true) => {
                return unsupported("INTERSECT ALL and EXCEPT ALL");
            }
            (SetOperator::Minus, _) => return unsupported("MINUS; write EXCEPT"),
        };
        let plan = built.and_then(LogicalPlanBuilder::build).map_err(sql_error)?;
        self.positional(plan, &names, &types, &nullable)
    }

    /// The columns of a plan under names of their own.
    fn positional(
        &mut self,
        plan: datafusion::logical_expr::LogicalPlan,
        names: &[String],
        types: &[Option<ColumnType>],
        nullable: &[bool],
    ) -> Result<Relation> {
        let mut items = Vec::with_capacity(names.len());
        let mut columns = Vec::with_capacity(names.len());
        for (index, ((name, column_type), nullable)) in names.iter().zip(types).zip(nullable).enumerate() {
            let unique = self.unique(name);
            items.push(Native::Column(Column::from(plan.schema().qualified_field(index))).alias(&unique));
            columns.push(BoundColumn {
                database: None,
                alias: None,
                name: name.clone(),
                column: Column::new_unqualified(unique),
                column_type: *column_type,
                nullable: *nullable,
                origin: None,
                base: None,
                merged: false,
            });
        }
        let plan = LogicalPlanBuilder::from(plan)
            .project(items)
            .and_then(LogicalPlanBuilder::build)
            .map_err(sql_error)?;
        Ok(Relation { plan, columns })
    }

    /// The columns of a relation as values of these types, under names of their own.
    pub(super) fn cast_columns(
        &mut self,
        relation: Relation,
        types: &[Option<ColumnType>],
    ) -> Result<Relation> {
        let leaves: Vec<_> = relation.columns.iter().map(super::leaf).collect();
        let mut items = Vec::with_capacity(types.len());
        let mut columns = relation.columns;
        for (index, (column, column_type)) in columns.iter_mut().zip(types).enumerate() {
            let translator = Translator { leaves: &leaves, surroundings: &self.surroundings };
            let native = translator.value_as(&Expression::Column(index), *column_type)?;
            let unique = self.unique(&column.name);
            items.push(native.alias(&unique));
            column.column = Column::new_unqualified(unique);
            column.column_type = *column_type;
        }
        let plan = LogicalPlanBuilder::from(relation.plan)
            .project(items)
            .and_then(LogicalPlanBuilder::build)
            .map_err(sql_error)?;
        Ok(Relation { plan, columns })
    }

    fn with(&mut self, with: Option<&With>) -> Result<()> {
        let Some(with) = with else { return Ok(()) };
        for cte in &with.cte_tables {
            let cte = Arc::new(cte.clone());
            let name = cte.alias.name.value.clone();
            let before = self.commons.len();
            self.commons.push((name, Common::Query { cte, before, recursive: with.recursive }));
        }
        Ok(())
    }

    /// A table of WITH RECURSIVE that mentions itself: `first UNION [ALL] next`.
    pub(super) fn recursive(&mut self, cte: &Cte) -> Result<Relation> {
        let name = &cte.alias.name.value;
        let SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right } =
            cte.query.body.as_ref()
        else {
            return unsupported("this form of WITH RECURSIVE");
        };
        if cte.query.order_by.is_some() || cte.query.limit_clause.is_some() || cte.query.with.is_some() {
            return unsupported("ORDER BY, LIMIT and WITH in a recursive table");
        }
        let first = self.body(left)?;
        let names: Vec<String> = match cte.alias.columns.as_slice() {
            [] => first.columns.iter().map(|column| column.name.clone()).collect(),
            names => names.iter().map(|column| column.name.value.clone()).collect(),
        };
        let types: Vec<Option<ColumnType>> = first.columns.iter().map(|column| column.column_type).collect();
        let first = self.cast_columns(first, &types)?;
        let columns: Vec<SourceColumn> = first
            .columns
            .iter()
            .map(|column| SourceColumn {
                name: column.column.name().to_owned(),
                column_type: column.column_type.unwrap_or(ColumnType::Varchar { characters: 1 }),
                nullable: true,
                origin: None,
            })
            .collect();
        let work = self.unique_table(name);
        let schema = Arc::new(Source::schema(&columns)?);
        let provider = Arc::new(CteWorkTable::new(&work, schema));
        let source = Source { provider, columns, table: None };
        let common = Common::Work { name: work.clone(), source: source.clone(), columns: names.clone() };
        self.commons.push((name.clone(), common));
        let next = self.body(right);
        self.commons.pop();
        let next = next?;
        if next.columns.len() != types.len() {
            return Err(SqlError {
                code: 1_222,
                state: "21000",
                message: "The used SELECT statements have a different number of columns".to_owned(),
            });
        }
        let next = self.cast_columns(next, &types)?;
        let next = match next.columns.first() {
            None => next,
            Some(column) => {
                let bounded = crate::query::rounds::bounded(Native::Column(column.column.clone()));
                let plan = LogicalPlanBuilder::from(next.plan)
                    .filter(bounded)
                    .and_then(LogicalPlanBuilder::build)
                    .map_err(sql_error)?;
                Relation { plan, columns: next.columns }
            }
        };
        let distinct = !matches!(set_quantifier, SetQuantifier::All);
        let plan = LogicalPlanBuilder::from(first.plan)
            .to_recursive_query(work, next.plan, distinct)
            .and_then(LogicalPlanBuilder::build)
            .map_err(sql_error)?;
        self.columns_of_plan(plan, &source, &names)
    }
}

/// The digits of a number that stands for a column of the result.
pub(super) fn position(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Value(value) => match &value.value {
            sqlparser::ast::Value::Number(text, _) => Some(text),
            _ => None,
        },
        _ => None,
    }
}
