//! SELECT from one table, or from none.

use super::{Access, NamedTable, single_table};
use crate::error::{Result, SqlError, not_supported};
use crate::expression::kinds::Known;
use crate::expression::{AggregateCall, Expression, Facts, Scope, compile};
use crate::wire::results::{Origin, ResultColumn, ResultHead};
use duet_client::{Lock, Table, Value};
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, LimitClause, LockClause, LockType, NonBlock, OrderByExpr,
    OrderByKind, OrderBySort, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
};
use std::sync::{Arc, OnceLock};

/// Most columns of a result, as in MySQL.
const MAX_RESULT_COLUMNS: usize = 4_096;

/// Names and what they stand for.
pub type Names = Vec<(String, Expression)>;

/// A compiled SELECT.
#[derive(Clone, Debug)]
pub struct SelectPlan {
    /// The table.
    pub table: Option<Table>,
    /// What it is called.
    pub alias: String,
    /// Names of the result and what they are.
    pub items: Vec<(String, Expression)>,
    /// Condition of rows.
    pub filter: Option<Expression>,
    /// How rows are found.
    pub access: Access,
    /// Expressions that make groups.
    pub group: Vec<Expression>,
    /// Aggregates; with them, or with groups, rows of the result are groups.
    pub aggregates: Vec<AggregateCall>,
    /// Condition of groups.
    pub having: Option<Expression>,
    /// Order of the result, and whether each goes down.
    pub order: Vec<(Expression, bool)>,
    /// Equal rows come once.
    pub distinct: bool,
    /// Most rows.
    pub limit: Option<Expression>,
    /// Rows left out at first.
    pub offset: Option<Expression>,
    /// How rows are locked.
    pub lock: Option<Lock>,
    /// Columns of the result where they do not depend on parameters, with the AUTO_INCREMENT column that the table had then.
    pub head: OnceLock<(Option<u16>, Arc<ResultHead>)>,
}

/// The table of a query, if it has one.
///
/// # Errors
/// 1235 for what is more than one SELECT of one table.
pub fn query_table(query: &Query) -> Result<Option<NamedTable>> {
    let select = body(bare(query))?;
    if select.from.is_empty() {
        return Ok(None);
    }
    let named = single_table(&select.from)?;
    let is_dual = named.database.is_none() && named.name.eq_ignore_ascii_case("dual");
    Ok((!is_dual).then_some(named))
}

/// What parentheses hold, around which there is nothing else.
pub fn bare(query: &Query) -> &Query {
    let is_nothing_else = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.locks.is_empty()
        && is_of_mysql(query);
    match query.body.as_ref() {
        SetExpr::Query(inner) if is_nothing_else => bare(inner),
        _ => query,
    }
}

/// Whether a query has no clauses of other databases around its body.
pub fn is_of_mysql(query: &Query) -> bool {
    query.fetch.is_none()
        && query.for_clause.is_none()
        && query.settings.is_none()
        && query.format_clause.is_none()
        && query.pipe_operators.is_empty()
}

fn body(query: &Query) -> Result<&Select> {
    if query.with.is_some() {
        return not_supported("WITH");
    }
    match query.body.as_ref() {
        SetExpr::Select(select) => Ok(select),
        SetExpr::SetOperation { .. } => not_supported("UNION and its kin"),
        _ => not_supported("this form of query"),
    }
}

fn check_select(query: &Query, select: &Select) -> Result<()> {
    if !select.named_window.is_empty() || !is_of_mysql(query) {
        return not_supported("this form of SELECT");
    }
    check_select_form(select)
}

/// No clauses of other databases.
///
/// # Errors
/// 1235 where there are some.
pub fn check_select_form(select: &Select) -> Result<()> {
    if select.into.is_some() {
        return not_supported("SELECT … INTO");
    }
    if select.select_modifiers.as_ref().is_some_and(|modifiers| modifiers.sql_calc_found_rows) {
        return not_supported(
            "SQL_CALC_FOUND_ROWS; a second statement with COUNT(*) tells how many rows there are",
        );
    }
    let plain = select.top.is_none()
        && select.exclude.is_none()
        && select.lateral_views.is_empty()
        && select.prewhere.is_none()
        && select.connect_by.is_empty()
        && select.cluster_by.is_empty()
        && select.distribute_by.is_empty()
        && select.sort_by.is_empty()
        && select.qualify.is_none()
        && select.value_table_mode.is_none();
    match plain {
        true => Ok(()),
        false => not_supported("this form of SELECT"),
    }
}

/// How the rows of a table are locked.
///
/// # Errors
/// 1235 for locks that are not waited for, 3568 for those of other tables.
pub fn lock_of(lock: &LockClause, alias: &str) -> Result<Lock> {
    check_waits(lock)?;
    if let Some(of) = &lock.of {
        let (_, name) = super::table_name(of)?;
        if name != alias {
            let message = format!("Unresolved table name '{name}' in locking clause.");
            return Err(SqlError { code: 3_568, state: "HY000", message });
        }
    }
    Ok(match lock.lock_type {
        LockType::Share => Lock::Shared,
        LockType::Update => Lock::Exclusive,
    })
}

/// Locks are waited for.
///
/// # Errors
/// 1235 where they are not to be.
pub fn check_waits(lock: &LockClause) -> Result<()> {
    match lock.nonblock {
        None => Ok(()),
        Some(NonBlock::Nowait) => {
            not_supported("NOWAIT: a lock is waited for up to 2 seconds, then error 1205")
        }
        Some(NonBlock::SkipLocked) => not_supported("SKIP LOCKED"),
    }
}

/// The name that an expression has in the result.
pub fn item_name(expression: &Expr) -> String {
    match expression {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(names) if !names[0].value.starts_with('@') => {
            names.last().map(|name| name.value.clone()).unwrap_or_default()
        }
        Expr::Value(value) => match &value.value {
            sqlparser::ast::Value::SingleQuotedString(text)
            | sqlparser::ast::Value::DoubleQuotedString(text) => text.clone(),
            sqlparser::ast::Value::Placeholder(_) => "?".to_owned(),
            sqlparser::ast::Value::Boolean(truth) => if *truth { "TRUE" } else { "FALSE" }.to_owned(),
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}

/// Compiles a SELECT.
///
/// # Errors
/// 1054 for unknown columns, 1055 for columns that are not grouped, 1235 for what is not supported.
pub fn compile_select(query: &Query, table: Option<Table>, alias: &str) -> Result<SelectPlan> {
    let query = bare(query);
    let select = body(query)?;
    check_select(query, select)?;
    if let (Some(table), [from]) = (&table, select.from.as_slice()) {
        super::check_hints(&from.relation, table, alias)?;
    }
    let mut scope = match &table {
        Some(table) => Scope::of(table, alias, "field list"),
        None => Scope::empty("field list"),
    };
    scope.aggregates = Some(Vec::new());
    let mut items = Vec::new();
    // Names that the statement gives to items.
    let mut names: Names = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expression) => {
                items.push((item_name(expression), compile(expression, &mut scope)?));
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let item = (alias.value.clone(), compile(expr, &mut scope)?);
                names.push(item.clone());
                items.push(item);
            }
            SelectItem::Wildcard(_) => all_columns(table.as_ref(), &mut items)?,
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let (_, name) = super::table_name(name)?;
                if name != alias {
                    return Err(SqlError::unknown_table_to_drop(format!("Unknown table '{name}'")));
                }
                all_columns(table.as_ref(), &mut items)?;
            }
            _ => return not_supported("this form of a result column"),
        }
        check_result_columns(items.len())?;
    }
    let aggregates = scope.aggregates.take();
    scope.place = "where clause";
    let mut filter = select.selection.as_ref().map(|filter| compile(filter, &mut scope)).transpose()?;
    scope.place = "group statement";
    let mut group = match &select.group_by {
        GroupByExpr::Expressions(expressions, modifiers) if modifiers.is_empty() => {
            let of = |expression: &Expr| {
                by_name_or_number(expression, &items, &names, &mut scope, "group statement")
            };
            expressions.iter().map(of).collect::<Result<Vec<_>>>()?
        }
        GroupByExpr::All(_) => return not_supported("GROUP BY ALL"),
        GroupByExpr::Expressions(..) => return not_supported("GROUP BY … WITH ROLLUP"),
    };
    scope.aggregates = aggregates;
    scope.place = "having clause";
    // Also in HAVING where it is grouped by them.
    let is_grouped = |name: &str| {
        let column = table.as_ref().and_then(|table| table.definition().column_index(name));
        column.is_some_and(|column| group.contains(&Expression::Column(usize::from(column))))
    };
    scope.names.extend(names.iter().filter(|(name, _)| !is_grouped(name)).cloned());
    let mut having = match &select.having {
        None => None,
        Some(having) => Some(compile(having, &mut scope)?),
    };
    scope.names.clear();
    let order = match query.order_by.as_ref().map(|order| &order.kind) {
        None => Vec::new(),
        Some(OrderByKind::Expressions(expressions)) => expressions
            .iter()
            .map(|part| order_part(part, &items, &names, &mut scope))
            .collect::<Result<_>>()?,
        Some(OrderByKind::All(_)) => return not_supported("ORDER BY ALL"),
    };
    let aggregates = scope.aggregates.take().unwrap_or_default();
    let distinct = match &select.distinct {
        None | Some(Distinct::All) => false,
        Some(Distinct::Distinct) => true,
        Some(Distinct::On(_)) => return not_supported("DISTINCT ON"),
    };
    let (limit, offset) = limits(query.limit_clause.as_ref())?;
    let lock = match query.locks.as_slice() {
        [] => None,
        [lock] => Some(lock_of(lock, alias)?),
        _ => return not_supported("FOR UPDATE and FOR SHARE twice in one SELECT"),
    };
    if having.as_ref().is_some_and(|having| repeats_random(having, items.iter().map(|(_, item)| item))) {
        return not_supported("the name of a random value in HAVING");
    }
    if !group.is_empty() || !aggregates.is_empty() {
        let parts =
            items.iter().map(|(_, item)| item).chain(&having).chain(order.iter().map(|(part, _)| part));
        add_implied(&mut group, parts.clone(), table.as_ref());
        for part in parts {
            check_grouped(part, &group, table.as_ref())?;
        }
    } else if let Some(having) = having.take() {
        check_selected(&having, &items, table.as_ref())?;
        filter = Some(match filter {
            None => having,
            Some(filter) => Expression::And(Box::new(filter), Box::new(having)),
        });
    }
    let access = match &table {
        Some(table) => Access::choose(table, filter.as_ref()),
        None => Access { kind: super::AccessKind::Full, exact: filter.is_none() },
    };
    Ok(SelectPlan {
        table,
        alias: alias.to_owned(),
        items,
        filter,
        access,
        group,
        aggregates,
        having,
        order,
        distinct,
        limit,
        offset,
        lock,
        head: OnceLock::new(),
    })
}

/// A result has no more columns than it may.
///
/// # Errors
/// 1117 when it has.
pub fn check_result_columns(count: usize) -> Result<()> {
    match count <= MAX_RESULT_COLUMNS {
        true => Ok(()),
        false => Err(SqlError { code: 1_117, state: "HY000", message: "Too many columns".to_owned() }),
    }
}

fn all_columns(table: Option<&Table>, items: &mut Vec<(String, Expression)>) -> Result<()> {
    let Some(table) = table else { return Err(SqlError::other("No tables used")) };
    for (index, column) in table.definition().columns.iter().enumerate() {
        items.push((column.name.clone(), Expression::Column(index)));
    }
    Ok(())
}

/// A part of GROUP BY or ORDER BY: the number of a result column, its name, or an expression.
fn by_name_or_number(
    expression: &Expr,
    items: &[(String, Expression)],
    names: &Names,
    scope: &mut Scope<'_>,
    place: &'static str,
) -> Result<Expression> {
    scope.place = place;
    if let Expr::Value(value) = expression
        && let sqlparser::ast::Value::Number(text, _) = &value.value
    {
        let index = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let item = index.and_then(|index| items.get(index));
        return match item {
            Some((_, item)) => repeated(item),
            None => Err(SqlError::no_column(text, place)),
        };
    }
    // Columns come before names of the result in GROUP BY, and behind them in ORDER BY.
    let is_column = |name: &Ident| {
        place == "group statement"
            && scope.table.is_some_and(|table| table.definition().column_index(&name.value).is_some())
    };
    if let Expr::Identifier(name) = expression
        && !is_column(name)
    {
        let named = names.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name.value));
        if let Some((_, item)) = named {
            return repeated(item);
        }
    }
    compile(expression, scope)
}

/// The expression of an item, to be evaluated once more.
fn repeated(item: &Expression) -> Result<Expression> {
    match item.has_random() {
        true => not_supported("the name of a random value here"),
        false => Ok(item.clone()),
    }
}

fn order_part(
    part: &OrderByExpr,
    items: &[(String, Expression)],
    names: &Names,
    scope: &mut Scope<'_>,
) -> Result<(Expression, bool)> {
    if part.with_fill.is_some() || part.options.nulls_first.is_some() {
        return not_supported("this form of ORDER BY");
    }
    let down = match &part.options.sort {
        None | Some(OrderBySort::Asc) => false,
        Some(OrderBySort::Desc) => true,
        Some(OrderBySort::Using(_)) => return not_supported("this form of ORDER BY"),
    };
    Ok((by_name_or_number(&part.expr, items, names, scope, "order clause")?, down))
}

fn limits(clause: Option<&LimitClause>) -> Result<(Option<Expression>, Option<Expression>)> {
    let mut scope = Scope::empty("limit clause");
    let mut of = |expression: Option<&Expr>| expression.map(|part| compile(part, &mut scope)).transpose();
    match clause {
        None => Ok((None, None)),
        Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
            Ok((of(limit.as_ref())?, of(offset.as_ref().map(|offset| &offset.value))?))
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => Ok((of(Some(limit))?, of(Some(offset))?)),
        Some(LimitClause::LimitOffset { .. }) => not_supported("LIMIT BY"),
    }
}

/// Where the whole primary key is grouped, every column has one value in each group.
fn add_implied<'e>(
    group: &mut Vec<Expression>,
    parts: impl Iterator<Item = &'e Expression>,
    table: Option<&Table>,
) {
    let is_grouped = |column: &u16| group.contains(&Expression::Column(usize::from(*column)));
    if !table.is_some_and(|table| table.definition().primary_key.iter().all(is_grouped)) {
        return;
    }
    for part in parts {
        part.walk(&mut |part| {
            if matches!(part, Expression::Column(_)) && !group.contains(part) {
                group.push(part.clone());
            }
        });
    }
}

/// Every column outside of aggregates must be one of those that make the groups, or be part of such an expression.
fn check_grouped(part: &Expression, group: &[Expression], table: Option<&Table>) -> Result<()> {
    match other_column(part, |part| group.contains(part)) {
        None => Ok(()),
        Some(column) => Err(SqlError::not_grouped(format!(
            "Expression contains nonaggregated column '{}', which is not in GROUP BY; this is incompatible with \
             sql_mode=only_full_group_by",
            column_name(table, column)
        ))),
    }
}

/// Without groups, HAVING is about columns of the result only.
fn check_selected(having: &Expression, items: &[(String, Expression)], table: Option<&Table>) -> Result<()> {
    match other_column(having, |part| items.iter().any(|(_, item)| item == part)) {
        None => Ok(()),
        Some(column) => Err(SqlError::no_column(column_name(table, column), "having clause")),
    }
}

/// Whether a random value of the result is evaluated once more.
pub fn repeats_random<'i>(expression: &Expression, items: impl Iterator<Item = &'i Expression>) -> bool {
    let random: Vec<&Expression> = items.filter(|item| item.has_random()).collect();
    let mut repeats = false;
    expression.walk(&mut |part| repeats |= random.contains(&part));
    repeats
}

fn column_name(table: Option<&Table>, column: usize) -> &str {
    table.and_then(|table| table.definition().columns.get(column)).map_or("", |column| &column.name)
}

/// A column in an expression that is not part of expressions which are known.
fn other_column(expression: &Expression, is_known: impl Fn(&Expression) -> bool) -> Option<usize> {
    let mut other = None;
    expression.walk_where(&mut |part| match part {
        Expression::Constant(_) | Expression::Parameter(_) => false,
        part if is_known(part) => false,
        Expression::Column(column) => {
            other = other.or(Some(*column));
            false
        }
        _ => true,
    });
    other
}

impl SelectPlan {
    /// The columns of the result, given the values of the parameters if they are known.
    pub fn columns(
        &self,
        parameters: &[Value],
        facts: &Facts,
        auto_increment: Option<u16>,
    ) -> Vec<ResultColumn> {
        let columns = self.table.as_ref().map_or(&[][..], |table| &table.definition().columns);
        let user_variables = Some(&facts.user_variables);
        let known = Known { columns, parameters, aggregates: &self.aggregates, user_variables };
        let column = |(name, item): &(String, Expression)| {
            let origin = match (item, &self.table) {
                (Expression::Column(index), Some(table)) => Some((columns.get(*index), *index as u16, table)),
                _ => None,
            };
            ResultColumn {
                name: name.clone(),
                column_type: item.column_type(known),
                nullable: !matches!(origin, Some((Some(column), ..)) if !column.nullable),
                origin: origin.map(|(column, index, table)| Origin {
                    database: table.database().to_owned(),
                    table: table.name().to_owned(),
                    alias: self.alias.clone(),
                    column: column.map(|column| column.name.clone()).unwrap_or_default(),
                    is_key: table.definition().primary_key.contains(&index),
                    is_auto_increment: auto_increment == Some(index),
                }),
            }
        };
        self.items.iter().map(column).collect()
    }

    /// The same as it travels, made once where it is always the same.
    pub fn head(&self, parameters: &[Value], facts: &Facts, auto_increment: Option<u16>) -> Arc<ResultHead> {
        let made = || Arc::new(ResultHead::new(self.columns(parameters, facts, auto_increment)));
        if let Some((column, head)) = self.head.get() {
            return if *column == auto_increment { Arc::clone(head) } else { made() };
        }
        let mut fixed = true;
        let mut look = |expression: &Expression| {
            expression.walk(&mut |part| {
                fixed &= !matches!(part, Expression::Parameter(_) | Expression::UserVariable(_));
            });
        };
        self.items.iter().for_each(|(_, item)| look(item));
        self.aggregates.iter().filter_map(|call| call.argument.as_ref()).for_each(look);
        let head = made();
        if fixed {
            // Another connection may have been faster.
            let _ = self.head.set((auto_increment, Arc::clone(&head)));
        }
        head
    }

    /// The columns of the table that the items are, where they are nothing else.
    pub fn plain_items(&self) -> Option<Vec<usize>> {
        let column = |(_, item): &(String, Expression)| match item {
            Expression::Column(index) => Some(*index),
            _ => None,
        };
        self.items.iter().map(column).collect()
    }
}

/// Whether rows in the order of an index, whose first `equal` columns are the same in all of them, are in the wanted order;
/// then whether they are to be read backwards.
pub fn order_matches(order: &[(Expression, bool)], columns: &[u16], equal: usize) -> Option<bool> {
    let mut rest = columns[equal.min(columns.len())..].iter();
    let mut down = None;
    for (part, goes_down) in order {
        let Expression::Column(column) = part else { return None };
        let column = u16::try_from(*column).ok()?;
        if columns[..equal.min(columns.len())].contains(&column) {
            continue;
        }
        if rest.next() != Some(&column) || down.is_some_and(|down| down != *goes_down) {
            return None;
        }
        down = Some(*goes_down);
    }
    Some(down.unwrap_or(false))
}
