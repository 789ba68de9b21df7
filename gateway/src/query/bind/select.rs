//! One SELECT: conditions, groups, window functions, result columns and order.

use super::query::{goes_down, position, sort};
use super::{Binder, Clause, Frame, Part, unsupported};
use crate::error::{Result, SqlError};
use crate::expression::{AggregateCall, Expression};
use crate::plan::{Names, check_result_columns, check_select_form, item_name, repeats_random, table_name};
use crate::query::relation::{BoundColumn, Relation, find};
use crate::query::run::sql_error;
use crate::query::translate::Leaf;
use crate::wire::results::Origin;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr as Native, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, OrderByExpr, Select, SelectItem, SelectItemQualifiedWildcardKind,
};

/// A column of the result.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub name: String,
    pub expression: Expression,
    pub nullable: bool,
    pub origin: Option<Origin>,
    /// Whether the statement gives the name.
    pub aliased: bool,
}

/// A SELECT, compiled.
pub(super) struct Selected {
    pub items: Vec<Item>,
    pub group: Vec<Expression>,
    pub aggregates: Vec<AggregateCall>,
    pub having: Option<Expression>,
    pub order: Vec<(Expression, bool)>,
}

impl Binder<'_> {
    /// A SELECT and the order of its rows.
    pub(super) fn select(&mut self, select: &Select, order: &[OrderByExpr]) -> Result<Relation> {
        check_select_form(select)?;
        let relation = self.from(&select.from)?;
        self.frames.push(Frame {
            columns: relation.columns.clone(),
            windows: select.named_window.clone(),
            ..Frame::default()
        });
        let bound = self.select_from(select, order, &relation);
        let frame = self.frames.pop().unwrap_or_default();
        self.taken.extend(frame.outer);
        bound
    }

    fn select_from(
        &mut self,
        select: &Select,
        order: &[OrderByExpr],
        relation: &Relation,
    ) -> Result<Relation> {
        let filter = match &select.selection {
            None => None,
            Some(condition) => {
                let clause = Clause { place: "where clause", aggregates: None, names: &[] };
                Some(self.compile(condition, clause)?)
            }
        };
        let mut selected = self.compiled(select, order)?;
        let grouped = !selected.group.is_empty() || !selected.aggregates.is_empty();
        if let (true, Some(relation)) =
            (grouped, self.pushed_groups(relation, filter.as_ref(), &mut selected)?)
        {
            return self.result(select, selected, relation.plan);
        }
        let mut plan = relation.plan.clone();
        if let Some(filter) = &filter {
            plan = self.filtered(plan, filter)?;
        }
        if grouped {
            plan = self.grouped(plan, &mut selected)?;
        }
        self.result(select, selected, plan)
    }

    fn compiled(&mut self, select: &Select, order: &[OrderByExpr]) -> Result<Selected> {
        let mut aggregates = Vec::new();
        let mut items = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expression) => {
                    let name = item_name(expression);
                    items.push(self.item(expression, name, false, &mut aggregates)?);
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    items.push(self.item(expr, alias.value.clone(), true, &mut aggregates)?);
                }
                SelectItem::Wildcard(_) => {
                    if self.frame().columns.is_empty() {
                        return Err(SqlError {
                            code: 1_096,
                            state: "HY000",
                            message: "No tables used".to_owned(),
                        });
                    }
                    self.all_columns(None, &mut items);
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let (_, name) = table_name(name)?;
                    let before = items.len();
                    self.all_columns(Some(&name), &mut items);
                    if items.len() == before {
                        return Err(SqlError::unknown_table_to_drop(format!("Unknown table '{name}'")));
                    }
                }
                _ => return unsupported("this form of a result column"),
            }
            check_result_columns(items.len())?;
        }
        let ambiguous = self.ambiguous(&items);
        let group = match &select.group_by {
            GroupByExpr::Expressions(expressions, modifiers) if modifiers.is_empty() => expressions
                .iter()
                .map(|expression| self.group_part(expression, &items, &ambiguous))
                .collect::<Result<Vec<_>>>()?,
            GroupByExpr::All(_) => return unsupported("GROUP BY ALL"),
            GroupByExpr::Expressions(..) => return unsupported("GROUP BY … WITH ROLLUP"),
        };
        let aliased = aliases(&items);
        let names: Names = aliased.iter().cloned().chain(ambiguous).collect();
        let having = match &select.having {
            None => None,
            Some(having) => {
                // Columns that are grouped by come before names of the result.
                let mut names = names.clone();
                names.retain(|(name, _)| !self.is_grouped(name, &group));
                let clause =
                    Clause { place: "having clause", aggregates: Some(&mut aggregates), names: &names };
                Some(self.compile(having, clause)?)
            }
        };
        let mut compiled_order = Vec::new();
        for part in order {
            let down = goes_down(part)?;
            let expression = match positioned(&part.expr, &items, "order clause")? {
                Some(expression) => expression,
                None => {
                    let names = match part.expr {
                        Expr::Identifier(_) => &names,
                        _ => &aliased,
                    };
                    let clause = Clause { place: "order clause", aggregates: Some(&mut aggregates), names };
                    self.compile(&part.expr, clause)?
                }
            };
            compiled_order.push((expression, down));
        }
        for argument in aggregates.iter().filter_map(|call| call.argument.as_ref()) {
            self.check_windows(argument, "argument of an aggregate")?;
        }
        let grouped = !group.is_empty() || !aggregates.is_empty();
        if let Some(having) = &having {
            self.check_having(having, &items, grouped)?;
        }
        Ok(Selected { items, group, aggregates, having, order: compiled_order })
    }

    /// Without groups HAVING is about columns of the result only.
    fn check_having(&mut self, having: &Expression, items: &[Item], grouped: bool) -> Result<()> {
        if repeats_random(having, items.iter().map(|item| &item.expression)) {
            return unsupported("the name of a random value in HAVING");
        }
        if !grouped && let Some(column) = unselected(having, items, &self.frame().parts) {
            return Err(SqlError::no_column(column.name(), "having clause"));
        }
        Ok(())
    }

    fn item(
        &mut self,
        expression: &Expr,
        name: String,
        aliased: bool,
        aggregates: &mut Vec<AggregateCall>,
    ) -> Result<Item> {
        let clause = Clause { place: "field list", aggregates: Some(aggregates), names: &[] };
        let compiled = self.compile(expression, clause)?;
        let mut item = Item { name, expression: compiled, nullable: true, origin: None, aliased };
        if let Expression::Column(index) = &item.expression
            && let Some(Part::Ready(leaf)) = self.frame().parts.get(*index).cloned()
            && let Native::Column(column) = &leaf.expr
            && let Some(known) = self.frame().columns.iter().find(|known| known.column == *column)
        {
            item.nullable = known.nullable;
            item.origin.clone_from(&known.origin);
            if !aliased {
                item.name.clone_from(&known.name);
            }
        }
        Ok(item)
    }

    fn all_columns(&mut self, alias: Option<&str>, items: &mut Vec<Item>) {
        let columns = self.frame().columns.clone();
        for column in columns {
            let wanted = match alias {
                None => !column.merged,
                Some(alias) => column.alias.as_deref() == Some(alias),
            };
            if wanted {
                let part = self.part(Part::Ready(super::leaf(&column)));
                items.push(Item {
                    name: column.name,
                    expression: Expression::Column(part),
                    nullable: column.nullable,
                    origin: column.origin,
                    aliased: false,
                });
            }
        }
    }

    /// Columns of the result whose names several tables have: elsewhere in the statement such a name means the one that is selected, if it
    /// is one.
    fn ambiguous(&mut self, items: &[Item]) -> Names {
        let mut found = Names::new();
        let plain = |item: &&Item| !item.aliased && matches!(item.expression, Expression::Column(_));
        for item in items.iter().filter(plain) {
            let name = Ident::new(&item.name);
            let is_other = |other: &Item| {
                other.name.eq_ignore_ascii_case(&item.name) && other.expression != item.expression
            };
            let several = find(&self.frame().columns, &[], &name, "field list");
            if several.is_err_and(|error| error.code == 1_052) && !items.iter().any(is_other) {
                found.push((item.name.clone(), item.expression.clone()));
            }
        }
        found
    }

    /// Whether a column of this name is grouped by.
    fn is_grouped(&mut self, name: &str, group: &[Expression]) -> bool {
        let column = find(&self.frame().columns, &[], &Ident::new(name), "having clause");
        let leaf = column.ok().flatten().map(super::leaf);
        leaf.is_some_and(|leaf| {
            let part = self.part(Part::Ready(leaf));
            group.contains(&Expression::Column(part))
        })
    }

    fn group_part(&mut self, expression: &Expr, items: &[Item], ambiguous: &Names) -> Result<Expression> {
        if let Some(found) = positioned(expression, items, "group statement")? {
            return Ok(found);
        }
        let clause = Clause { place: "group statement", aggregates: None, names: &[] };
        let compiled = self.compile(expression, clause);
        // A column of the tables comes before a name of the result, unless it may be one of several.
        if let (Err(error), Expr::Identifier(name)) = (&compiled, expression) {
            let is_named = |(known, _): &&(String, Expression)| known.eq_ignore_ascii_case(&name.value);
            let found = match error.code {
                1_052 => ambiguous.iter().find(is_named).map(|(_, item)| item.clone()),
                1_054 => {
                    let mut aliased = items.iter().filter(|item| item.aliased);
                    let item = aliased.find(|item| item.name.eq_ignore_ascii_case(&name.value));
                    item.map(|item| item.expression.clone())
                }
                _ => None,
            };
            if let Some(item) = found {
                return Ok(item);
            }
        }
        compiled
    }

    /// Result columns, DISTINCT and order above rows or groups.
    fn result(&mut self, select: &Select, mut selected: Selected, plan: LogicalPlan) -> Result<Relation> {
        let mut plan = plan;
        if let Some(having) = selected.having.take() {
            plan = self.filtered(plan, &having)?;
        }
        self.value_truths(&selected)?;
        let parts: Vec<Expression> = selected
            .items
            .iter()
            .map(|item| item.expression.clone())
            .chain(selected.order.iter().map(|(part, _)| part.clone()))
            .collect();
        plan = self.windows(plan, &parts)?;
        let distinct = match &select.distinct {
            None | Some(Distinct::All) => false,
            Some(Distinct::Distinct) => true,
            Some(Distinct::On(_)) => return unsupported("DISTINCT ON"),
        };
        let mut columns = Vec::with_capacity(selected.items.len());
        let mut natives = Vec::with_capacity(selected.items.len());
        let leaves = self.leaves()?;
        for item in &selected.items {
            let surroundings = std::sync::Arc::clone(&self.surroundings);
            let translator = super::Translator { leaves: &leaves, surroundings: &surroundings };
            let unique = self.unique(&item.name);
            natives.push(translator.value(&item.expression)?.alias(&unique));
            columns.push(BoundColumn {
                database: None,
                alias: item.origin.as_ref().map(|origin| origin.alias.clone()),
                name: item.name.clone(),
                column: Column::new_unqualified(unique),
                column_type: translator.column_type(&item.expression),
                nullable: item.nullable,
                origin: item.origin.clone(),
                base: None,
                merged: false,
            });
        }
        let mut sorts = Vec::with_capacity(selected.order.len());
        for (part, down) in &selected.order {
            if part.is_constant() {
                continue;
            }
            let native = match selected.items.iter().position(|item| item.expression == *part) {
                Some(index) => Native::Column(columns[index].column.clone()),
                None if distinct => {
                    return Err(SqlError {
                        code: 3_065,
                        state: "HY000",
                        message: "Expression of ORDER BY clause is not in SELECT list; this is incompatible with DISTINCT"
                            .to_owned(),
                    });
                }
                None => {
                    let surroundings = std::sync::Arc::clone(&self.surroundings);
                    let translator = super::Translator { leaves: &leaves, surroundings: &surroundings };
                    let unique = self.unique("order");
                    natives.push(translator.value(part)?.alias(&unique));
                    Native::Column(Column::new_unqualified(unique))
                }
            };
            sorts.push(sort(native, *down));
        }
        let hidden = natives.len() > columns.len();
        let mut builder = LogicalPlanBuilder::from(plan).project(natives).map_err(sql_error)?;
        if distinct {
            builder = builder.distinct().map_err(sql_error)?;
        }
        if !sorts.is_empty() {
            builder = builder.sort(sorts).map_err(sql_error)?;
        }
        if hidden {
            let shown: Vec<Native> =
                columns.iter().map(|column| Native::Column(column.column.clone())).collect();
            builder = builder.project(shown).map_err(sql_error)?;
        }
        Ok(Relation { plan: builder.build().map_err(sql_error)?, columns })
    }
}

/// Names that the statement gives to columns of the result.
fn aliases(items: &[Item]) -> Names {
    let aliased = items.iter().filter(|item| item.aliased);
    aliased.map(|item| (item.name.clone(), item.expression.clone())).collect()
}

/// A column in an expression that is in none of the items.
fn unselected<'p>(expression: &Expression, items: &[Item], parts: &'p [Part]) -> Option<&'p Column> {
    let mut found = None;
    expression.walk_where(&mut |part| match part {
        Expression::Constant(_) | Expression::Parameter(_) => false,
        part if items.iter().any(|item| item.expression == *part) => false,
        Expression::Column(index) => {
            found = found.or_else(|| match &parts[*index] {
                Part::Ready(Leaf { expr: Native::Column(column), .. }) => Some(column),
                Part::In { operand, .. } => unselected(operand, items, parts),
                Part::Ready(_) | Part::Window(_) => None,
            });
            false
        }
        _ => true,
    });
    found
}

/// The item that a number, or the name that the statement gives it, stands for.
fn positioned(expression: &Expr, items: &[Item], place: &'static str) -> Result<Option<Expression>> {
    if let Some(text) = position(expression) {
        let index = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let item = index.and_then(|index| items.get(index));
        return item
            .map(|item| Some(item.expression.clone()))
            .ok_or_else(|| SqlError::no_column(text, place));
    }
    Ok(None)
}
