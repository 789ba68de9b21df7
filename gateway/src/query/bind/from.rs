//! FROM: tables, derived tables, tables of WITH, and joins.

use super::{Binder, Clause, Common, Frame, Missing, unsupported};
use crate::error::{Result, SqlError};
use crate::plan::table_name;
use crate::query::relation::{BoundColumn, Relation, Source, find};
use crate::query::run::sql_error;
use crate::query::translate::Translator;
use datafusion::common::{Column, JoinType, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr as Native, LogicalPlanBuilder};
use sqlparser::ast::{
    Expr, Ident, Join, JoinConstraint, JoinOperator, TableAlias, TableFactor, TableWithJoins,
};

impl Binder<'_> {
    /// The rows of a FROM clause.
    pub(super) fn from(&mut self, from: &[TableWithJoins]) -> Result<Relation> {
        let mut whole: Option<Relation> = None;
        for part in from {
            let relation = self.joined(part)?;
            whole = Some(match whole {
                None => relation,
                Some(left) => self.join(left, relation, JoinType::Inner, &JoinConstraint::None)?,
            });
        }
        match whole {
            Some(relation) => {
                check_aliases(&relation.columns)?;
                Ok(relation)
            }
            None => {
                let plan = LogicalPlanBuilder::empty(true).build().map_err(sql_error)?;
                Ok(Relation { plan, columns: Vec::new() })
            }
        }
    }

    fn joined(&mut self, part: &TableWithJoins) -> Result<Relation> {
        let mut relation = self.factor(&part.relation)?;
        for Join { relation: right, join_operator, .. } in &part.joins {
            let right = self.factor(right)?;
            let (kind, constraint) = match join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::CrossJoin(constraint)
                | JoinOperator::StraightJoin(constraint) => (JoinType::Inner, constraint),
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                    (JoinType::Left, constraint)
                }
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                    (JoinType::Right, constraint)
                }
                _ => return unsupported("this kind of JOIN"),
            };
            relation = self.join(relation, right, kind, constraint)?;
        }
        Ok(relation)
    }

    fn factor(&mut self, factor: &TableFactor) -> Result<Relation> {
        match factor {
            TableFactor::Table { name, alias, args: None, partitions, sample: None, .. } => {
                if !partitions.is_empty() {
                    return unsupported("PARTITION");
                }
                let (database, name) = table_name(name)?;
                if database.is_none()
                    && let Some(found) =
                        self.commons.iter().rposition(|(known, _)| known.eq_ignore_ascii_case(&name))
                {
                    return self.common(found, &name, alias.as_ref());
                }
                if database.is_none() && name.eq_ignore_ascii_case("dual") {
                    return self.from(&[]);
                }
                let Some(database) = database.or_else(|| self.database.map(str::to_owned)) else {
                    return Err(SqlError::no_database("No database selected"));
                };
                let key = (database.clone(), name.clone());
                let Some(source) = self.told.sources.get(&key) else {
                    return self.ask(Missing::Table(database, name));
                };
                let shown = alias.as_ref().map_or(name.as_str(), |alias| alias.name.value.as_str());
                if let Some(table) = &source.table {
                    crate::plan::check_hints(factor, table, shown)?;
                }
                let mut relation = self.scan(source, Some(&database), shown)?;
                rename(&mut relation.columns, alias.as_ref())?;
                Ok(relation)
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                let Some(alias) = alias else {
                    return Err(SqlError {
                        code: 1_248,
                        state: "42000",
                        message: "Every derived table must have its own alias".to_owned(),
                    });
                };
                let mut relation = self.query(subquery)?;
                named(&mut relation.columns, &alias.name.value)?;
                rename(&mut relation.columns, Some(alias))?;
                Ok(relation)
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.joined(table_with_joins),
            TableFactor::Derived { .. } => unsupported("LATERAL"),
            _ => unsupported("functions in FROM"),
        }
    }

    /// All columns of a source.
    pub(super) fn scan(&mut self, source: &Source, database: Option<&str>, alias: &str) -> Result<Relation> {
        let number = self.count_relation()?;
        let name = TableReference::bare(self.unique_table(alias));
        let provider = provider_as_source(std::sync::Arc::clone(&source.provider));
        let plan = LogicalPlanBuilder::scan(name.clone(), provider, None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(sql_error)?;
        let column = |(index, column): (usize, &crate::query::relation::SourceColumn)| BoundColumn {
            database: database.map(str::to_owned),
            alias: Some(alias.to_owned()),
            name: column.name.clone(),
            column: Column::new(Some(name.clone()), &column.name),
            column_type: Some(column.column_type),
            nullable: column.nullable,
            origin: column.origin.clone().map(|mut origin| {
                alias.clone_into(&mut origin.alias);
                origin
            }),
            base: source.table.as_ref().map(|_| (number, index as u16)),
            merged: false,
        };
        Ok(Relation { plan, columns: source.columns.iter().enumerate().map(column).collect() })
    }

    fn common(&mut self, index: usize, name: &str, alias: Option<&TableAlias>) -> Result<Relation> {
        let shown = alias.map_or(name, |alias| alias.name.value.as_str()).to_owned();
        let mut relation = match self.commons[index].1.clone() {
            Common::Work { source, columns, name } => {
                self.count_relation()?;
                let reference = TableReference::bare(name);
                let provider = provider_as_source(std::sync::Arc::clone(&source.provider));
                let plan = LogicalPlanBuilder::scan(reference, provider, None)
                    .and_then(LogicalPlanBuilder::build)
                    .map_err(sql_error)?;
                self.columns_of_plan(plan, &source, &columns)?
            }
            Common::Query { cte, before, recursive } => {
                self.count_relation()?;
                // It sees the tables of WITH before it, and no columns of the statement around.
                let hidden = self.commons.split_off(before);
                let frames = std::mem::take(&mut self.frames);
                let relation = match recursive && mentions(&cte) {
                    true => self.recursive(&cte),
                    false => self.query(&cte.query),
                };
                self.frames = frames;
                self.commons.truncate(before);
                self.commons.extend(hidden);
                let mut relation = relation?;
                named(&mut relation.columns, &shown)?;
                rename(&mut relation.columns, Some(&cte.alias))?;
                relation
            }
        };
        named(&mut relation.columns, &shown)?;
        rename(&mut relation.columns, alias)?;
        Ok(relation)
    }

    /// Gives all columns of a plan names of their own.
    pub(super) fn columns_of_plan(
        &mut self,
        plan: datafusion::logical_expr::LogicalPlan,
        source: &Source,
        names: &[String],
    ) -> Result<Relation> {
        let mut items = Vec::new();
        let mut columns = Vec::new();
        for (index, (column, name)) in source.columns.iter().zip(names).enumerate() {
            let unique = self.unique(name);
            let native = Native::Column(Column::from(plan.schema().qualified_field(index)));
            items.push(native.alias(unique.clone()));
            columns.push(BoundColumn {
                database: None,
                alias: None,
                name: name.clone(),
                column: Column::new_unqualified(unique),
                column_type: Some(column.column_type),
                nullable: true,
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

    fn join(
        &mut self,
        left: Relation,
        right: Relation,
        kind: JoinType,
        constraint: &JoinConstraint,
    ) -> Result<Relation> {
        let mut columns = left.columns;
        let middle = columns.len();
        columns.extend(right.columns);
        let mut conditions = Vec::new();
        match constraint {
            JoinConstraint::None => {}
            JoinConstraint::On(condition) => {
                conditions.push(self.join_condition(&columns, condition)?);
            }
            JoinConstraint::Using(names) => {
                for name in names {
                    let (_, name) = table_name(name)?;
                    conditions.push(self.merge(&mut columns, middle, &name, kind)?);
                }
            }
            JoinConstraint::Natural => {
                let (left, right) = columns.split_at(middle);
                let shared: Vec<String> = left
                    .iter()
                    .filter(|column| !column.merged)
                    .filter(|column| {
                        right
                            .iter()
                            .any(|other| !other.merged && other.name.eq_ignore_ascii_case(&column.name))
                    })
                    .map(|column| column.name.clone())
                    .collect();
                for name in shared {
                    conditions.push(self.merge(&mut columns, middle, &name, kind)?);
                }
            }
        }
        for (index, column) in columns.iter_mut().enumerate() {
            let optional = match kind {
                JoinType::Left => index >= middle,
                JoinType::Right => index < middle,
                _ => false,
            };
            column.nullable |= optional;
        }
        let builder = LogicalPlanBuilder::from(left.plan);
        let joined = match (conditions.is_empty(), kind) {
            (true, JoinType::Inner) => builder.cross_join(right.plan),
            _ => builder.join_on(right.plan, kind, conditions),
        };
        Ok(Relation { plan: joined.and_then(LogicalPlanBuilder::build).map_err(sql_error)?, columns })
    }

    fn join_condition(&mut self, columns: &[BoundColumn], condition: &Expr) -> Result<Native> {
        self.frames.push(Frame { columns: columns.to_vec(), ..Frame::default() });
        let clause = Clause { place: "on clause", aggregates: None, names: &[] };
        let native = self
            .compile(condition, clause)
            .and_then(|condition| self.translated(|translator| translator.predicate(&condition)));
        let frame = self.frames.pop().unwrap_or_default();
        self.taken.extend(frame.outer);
        native
    }

    /// Makes one column of two of the same name: the right one stands for both in a right join, else the left one.
    fn merge(
        &mut self,
        columns: &mut [BoundColumn],
        middle: usize,
        name: &str,
        kind: JoinType,
    ) -> Result<Native> {
        let name = Ident::new(name);
        let place = "from clause";
        let (left, right) = columns.split_at(middle);
        let missing = || SqlError::no_column(&name.value, place);
        let one = find(left, &[], &name, place)?.ok_or_else(missing)?.clone();
        let other = find(right, &[], &name, place)?.ok_or_else(missing)?.clone();
        let leaves = [super::leaf(&one), super::leaf(&other)];
        let translator = Translator { leaves: &leaves, surroundings: &self.surroundings };
        use crate::expression::{Comparison, Expression};
        let equal = Expression::Compare(
            Comparison::Equal,
            Box::new(Expression::Column(0)),
            Box::new(Expression::Column(1)),
        );
        let native = translator.predicate(&equal)?;
        let hidden = if kind == JoinType::Right { &one.column } else { &other.column };
        columns.iter_mut().filter(|column| column.column == *hidden).for_each(|column| column.merged = true);
        Ok(native)
    }
}

/// Puts all columns into a table of this name.
fn named(columns: &mut Vec<BoundColumn>, alias: &str) -> Result<()> {
    columns.retain(|column| !column.merged);
    let mut seen = rustc_hash::FxHashSet::default();
    for column in columns {
        if !seen.insert(column.name.to_ascii_lowercase()) {
            return Err(SqlError::duplicate_column(format!("Duplicate column name '{}'", column.name)));
        }
        column.database = None;
        column.alias = Some(alias.to_owned());
        column.base = None;
    }
    Ok(())
}

/// Names of columns behind the name of the table.
fn rename(columns: &mut [BoundColumn], alias: Option<&TableAlias>) -> Result<()> {
    let Some(alias) = alias.filter(|alias| !alias.columns.is_empty()) else { return Ok(()) };
    if alias.columns.len() != columns.len() {
        return Err(SqlError {
            code: 1_353,
            state: "HY000",
            message: "In definition of view, derived table or common table expression, SELECT list and column names list have \
                      different column counts"
                .to_owned(),
        });
    }
    for (column, name) in columns.iter_mut().zip(&alias.columns) {
        column.name.clone_from(&name.name.value);
    }
    Ok(())
}

/// No two tables may have one name.
fn check_aliases(columns: &[BoundColumn]) -> Result<()> {
    let mut seen: Vec<(&Option<String>, &Option<String>, &Column)> = Vec::new();
    for column in columns {
        let relation = &column.column;
        match seen
            .iter()
            .find(|(database, alias, _)| *database == &column.database && *alias == &column.alias)
        {
            Some((.., known)) if known.relation != relation.relation => {
                return Err(SqlError {
                    code: 1_066,
                    state: "42000",
                    message: format!(
                        "Not unique table/alias: '{}'",
                        column.alias.as_deref().unwrap_or_default()
                    ),
                });
            }
            Some(_) => {}
            None => seen.push((&column.database, &column.alias, relation)),
        }
    }
    Ok(())
}

/// Whether a table of WITH RECURSIVE mentions its own name, where tables are named.
fn mentions(cte: &sqlparser::ast::Cte) -> bool {
    let text = cte.query.to_string();
    let tokens = sqlparser::tokenizer::Tokenizer::new(&sqlparser::dialect::MySqlDialect {}, &text).tokenize();
    tokens.is_ok_and(|tokens| {
        tokens.iter().any(|token| {
            matches!(token, sqlparser::tokenizer::Token::Word(word)
                if word.value.eq_ignore_ascii_case(&cte.alias.name.value))
        })
    })
}
