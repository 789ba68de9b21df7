//! From syntax trees to plans of DataFusion. Names are MySQL's; expressions are compiled as on the fast path, over leaves that
//! are columns, subqueries and window functions.

mod from;
mod group;
mod query;
mod select;
mod subquery;
mod window;

use crate::error::{Result, SqlError, not_supported};
use crate::expression::window::WindowCall;
use crate::expression::{AggregateCall, Expression, Outside, Scope, compile};
use crate::query::compute::Surroundings;
use crate::query::relation::{BoundColumn, Relation, Source, find};
use crate::query::translate::{Leaf, Translator};
use crate::query::types::data_type;
use datafusion::arrow::datatypes::{Field, FieldRef};
use datafusion::logical_expr::{Expr as Native, LogicalPlan};
use duet_client::Value;
use rustc_hash::{FxHashMap, FxHashSet};
use sqlparser::ast::{Cte, Expr, Ident, NamedWindowDefinition, Query, WindowSpec};
use std::sync::Arc;

/// Most relations of one statement; WITH makes one for each mention.
const MAX_RELATIONS: usize = 256;
/// The code of the error that asks for what is missing.
const MISSING: u16 = 0;

/// What the binder has to be told before it can go on.
#[derive(Debug)]
pub enum Missing {
    /// A table, by its database and name.
    Table(String, String),
    /// The value of a subquery that does not depend on other rows, by its place in the statement.
    Value(usize, Box<Relation>),
}

/// What the binder was told.
#[derive(Debug, Default)]
pub struct Told {
    /// Tables.
    pub sources: FxHashMap<(String, String), Source>,
    /// First rows of subqueries, by their places; `None` of those without rows.
    pub values: FxHashMap<usize, Option<Value>>,
    /// Whether subqueries are not asked for their values: plans are only shown.
    pub unasked: bool,
}

/// What an expression is made of, some of it only known later.
#[derive(Clone, Debug)]
pub enum Part {
    /// Known.
    Ready(Leaf),
    /// `operand IN (subquery)`.
    In {
        /// Left of IN.
        operand: Expression,
        /// The subquery, of one column.
        subquery: Box<Relation>,
        /// What it takes from outside.
        outer: Vec<Native>,
        /// NOT IN.
        negated: bool,
    },
    /// A window function.
    Window(Box<WindowCall>),
}

/// One SELECT while it is bound.
#[derive(Default)]
pub struct Frame {
    columns: Vec<BoundColumn>,
    parts: Vec<Part>,
    /// Columns of outer SELECTs that it uses.
    outer: Vec<Native>,
    windows: Vec<NamedWindowDefinition>,
}

/// A table of WITH.
#[derive(Clone)]
enum Common {
    /// Bound anew where it is mentioned, with the tables of WITH before it.
    Query { cte: Arc<Cte>, before: usize, recursive: bool },
    /// The rows that a recursive one found last.
    Work { name: String, source: Source, columns: Vec<String> },
}

/// Binds one statement.
pub struct Binder<'a> {
    told: &'a Told,
    surroundings: Arc<Surroundings>,
    database: Option<&'a str>,
    names: FxHashSet<String>,
    relations: usize,
    subqueries: usize,
    columns: usize,
    /// What the SELECTs of a subquery take from outside of it.
    taken: Vec<Native>,
    frames: Vec<Frame>,
    /// How many subqueries are within each other here.
    nested: usize,
    commons: Vec<(String, Common)>,
    /// Set when binding ended because something is missing.
    pub missing: Option<Missing>,
}

/// Clauses of which names are resolved.
pub struct Clause<'c> {
    /// As messages name it.
    pub place: &'static str,
    /// Collects aggregates, where there may be some.
    pub aggregates: Option<&'c mut Vec<AggregateCall>>,
    /// Names of result columns that stand for their expressions.
    pub names: &'c [(String, Expression)],
}

impl<'a> Binder<'a> {
    /// A binder.
    pub fn new(told: &'a Told, surroundings: &Arc<Surroundings>, database: Option<&'a str>) -> Binder<'a> {
        Binder {
            told,
            surroundings: Arc::clone(surroundings),
            database,
            names: FxHashSet::default(),
            relations: 0,
            subqueries: 0,
            columns: 0,
            taken: Vec::new(),
            frames: Vec::new(),
            nested: 0,
            commons: Vec::new(),
            missing: None,
        }
    }

    /// The plan of a query.
    ///
    /// # Errors
    /// Those of names and types; 1235 for what is not supported; any with [`Binder::missing`] set when something is missing.
    pub fn bind(&mut self, query: &Query) -> Result<Relation> {
        self.query(query)
    }

    fn ask<T>(&mut self, missing: Missing) -> Result<T> {
        self.missing = Some(missing);
        Err(SqlError { code: MISSING, state: "HY000", message: "something is missing".to_owned() })
    }

    fn count_relation(&mut self) -> Result<usize> {
        self.relations += 1;
        match self.relations <= MAX_RELATIONS {
            true => Ok(self.relations),
            false => Err(SqlError {
                code: 1_116,
                state: "HY000",
                message: format!("Too many tables; Duet can only use {MAX_RELATIONS} tables in a join"),
            }),
        }
    }

    /// A name that no other column of the plan has, those of tables included.
    fn unique(&mut self, hint: &str) -> String {
        let hint: String = hint.chars().take(60).collect();
        self.columns += 1;
        format!("{hint}#{}", self.columns)
    }

    /// A name that no other table of the plan has.
    fn unique_table(&mut self, hint: &str) -> String {
        let hint: String = hint.chars().take(60).collect();
        let mut name = hint.clone();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            number += 1;
            name = format!("{hint}#{number}");
        }
        name
    }

    fn frame(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn compile(&mut self, expression: &Expr, clause: Clause<'_>) -> Result<Expression> {
        let Clause { place, aggregates, names } = clause;
        let mut collected = aggregates.as_deref().cloned();
        let mut scope = Scope::empty(place);
        scope.aggregates = collected.take();
        scope.names = names.to_vec();
        scope.outside = Some(self);
        let compiled = compile(expression, &mut scope)?;
        if let (Some(aggregates), Some(collected)) = (aggregates, scope.aggregates.take()) {
            *aggregates = collected;
        }
        if !matches!(place, "field list" | "order clause") {
            self.check_windows(&compiled, place)?;
        }
        Ok(compiled)
    }

    /// No window functions where there can be none.
    fn check_windows(&mut self, expression: &Expression, place: &str) -> Result<()> {
        if self.has_window(expression) {
            let message = format!("You cannot use a window function, or the name of one, in the {place}");
            return Err(SqlError { code: 3_593, state: "HY000", message });
        }
        Ok(())
    }

    /// Whether window functions are right in an expression.
    fn has_window(&mut self, expression: &Expression) -> bool {
        let parts = &self.frame().parts;
        let mut has_window = false;
        expression.walk(&mut |part| {
            has_window |=
                matches!(part, Expression::Column(index) if matches!(parts[*index], Part::Window(_)));
        });
        has_window
    }

    /// The number of a part; equal leaves have one.
    fn part(&mut self, part: Part) -> usize {
        let parts = &mut self.frame().parts;
        if let Part::Ready(leaf) = &part
            && let Some(known) =
                parts.iter().position(|known| matches!(known, Part::Ready(known) if known == leaf))
        {
            return known;
        }
        parts.push(part);
        parts.len() - 1
    }

    /// The leaves of the current SELECT. Window functions that are not computed yet have none: nothing that is translated uses them.
    fn leaves(&mut self) -> Result<Vec<Leaf>> {
        let parts = self.frame().parts.clone();
        let mut leaves: Vec<Leaf> = Vec::with_capacity(parts.len());
        for part in parts {
            leaves.push(match part {
                Part::Ready(leaf) => leaf,
                Part::In { operand, subquery, outer, negated } => {
                    self.in_leaf(&leaves, &operand, *subquery, outer, negated)?
                }
                Part::Window(_) => Leaf { expr: Native::default(), column_type: None, truth: false },
            });
        }
        Ok(leaves)
    }

    fn translated<T>(&mut self, translate: impl FnOnce(Translator<'_>) -> Result<T>) -> Result<T> {
        let leaves = self.leaves()?;
        translate(Translator { leaves: &leaves, surroundings: &self.surroundings })
    }

    /// Rows of a plan that meet a condition.
    fn filtered(&mut self, plan: LogicalPlan, condition: &Expression) -> Result<LogicalPlan> {
        let predicate = self.translated(|translator| translator.predicate(condition))?;
        let builder = datafusion::logical_expr::LogicalPlanBuilder::from(plan);
        builder
            .filter(predicate)
            .and_then(datafusion::logical_expr::LogicalPlanBuilder::build)
            .map_err(super::run::sql_error)
    }
}

fn leaf(column: &BoundColumn) -> Leaf {
    Leaf { expr: Native::Column(column.column.clone()), column_type: column.column_type, truth: false }
}

impl Outside for Binder<'_> {
    fn column(&mut self, qualifier: &[Ident], name: &Ident, place: &'static str) -> Result<usize> {
        let depth = self.frames.len();
        for level in (0..depth).rev() {
            let Some(column) = find(&self.frames[level].columns, qualifier, name, place)? else { continue };
            let mut found = leaf(column);
            if level + 1 < depth {
                let field = Field::new(column.column.name(), data_type(column.column_type)?, true);
                found.expr = Native::OuterReferenceColumn(FieldRef::from(field), column.column.clone());
                for frame in &mut self.frames[level + 1..] {
                    if !frame.outer.contains(&found.expr) {
                        frame.outer.push(found.expr.clone());
                    }
                }
            }
            return Ok(self.part(Part::Ready(found)));
        }
        let shown: Vec<&str> = qualifier.iter().chain([name]).map(|part| part.value.as_str()).collect();
        Err(SqlError::no_column(&shown.join("."), place))
    }

    fn subquery(&mut self, query: &Query, place: &'static str) -> Result<Expression> {
        self.scalar(query, place)
    }

    fn exists(&mut self, query: &Query) -> Result<Expression> {
        self.existence(query)
    }

    fn in_subquery(&mut self, operand: Expression, query: &Query, negated: bool) -> Result<Expression> {
        self.membership(operand, query, negated)
    }

    fn window(&mut self, call: WindowCall) -> Result<usize> {
        let known = |part: &Part| matches!(part, Part::Window(known) if **known == call);
        if let Some(index) = self.frame().parts.iter().position(known) {
            return Ok(index);
        }
        Ok(self.part(Part::Window(Box::new(call))))
    }

    fn named_window(&mut self, name: &Ident) -> Result<WindowSpec> {
        use sqlparser::ast::NamedWindowExpr;
        let mut name = name.value.clone();
        // A window may be another one by a second name; as often as there are windows.
        for _ in 0..=self.frame().windows.len() {
            let found = self.frame().windows.iter().find(|known| known.0.value.eq_ignore_ascii_case(&name));
            match found.map(|known| known.1.clone()) {
                Some(NamedWindowExpr::WindowSpec(spec)) => return Ok(spec),
                Some(NamedWindowExpr::NamedWindow(other)) => name = other.value,
                None => break,
            }
        }
        Err(SqlError {
            code: 3_579,
            state: "HY000",
            message: format!("Window name '{name}' is not defined."),
        })
    }
}

/// The parts of a list, or 1235.
fn unsupported<T>(what: &str) -> Result<T> {
    not_supported(what)
}
