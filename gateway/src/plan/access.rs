//! Which rows a WHERE clause can be true of, as far as keys and indexes tell. An access path may give too many rows, never too few: the
//! whole clause is evaluated for every row that comes, unless [`Access::is_exact`] says that the path gives no row too many.

use crate::error::Result;
use crate::expression::{Comparison, Environment, Expression};
use crate::value::store::{KeyValue, integer_range, key_value};
use duet_client::{Column, IndexDefinition, IndexKind, PrimaryKeyOrder, Table, Value};
use duet_protocol::schema::IndexState;

/// Most keys that are looked up one by one.
const MAX_KEYS: usize = 16_384;

/// An end of a range: a constant, and whether it belongs to the range.
type End = (Expression, bool);

/// Lists of constants: alternatives of each column, or whole keys.
type Lists = Vec<Vec<Expression>>;

/// How rows are found, with constants that are not evaluated yet.
#[derive(Clone, Debug)]
pub enum AccessKind {
    /// By whole keys: lists of as many values as there are columns, each of alternatives.
    Keys {
        /// The unique index; `None` for the primary key.
        index: Option<String>,
        /// Columns of the key.
        columns: Vec<u16>,
        /// Alternatives per column, combined with each other.
        alternatives: Vec<Vec<Expression>>,
        /// In place of these, whole keys.
        tuples: Vec<Vec<Expression>>,
    },
    /// By a range of an ordered index.
    Range {
        /// The index; `None` for the primary key.
        index: Option<String>,
        /// Columns of the index.
        columns: Vec<u16>,
        /// Values of its first columns.
        equal: Vec<Expression>,
        /// Ends of the next column.
        low: Option<End>,
        /// Ends of the next column.
        high: Option<End>,
    },
    /// All rows.
    Full,
}

/// How rows are found.
#[derive(Clone, Debug)]
pub struct Access {
    /// How.
    pub kind: AccessKind,
    /// Whether the keys or the range use every part of the condition: by [`BoundAccess::Keys`] nothing else is to be checked then, by a range
    /// where [`Access::is_exact`] says so.
    pub exact: bool,
}

/// The same with values.
#[derive(Clone, Debug, PartialEq)]
pub enum BoundAccess {
    /// By whole keys of a unique index, or of the primary key.
    Keys {
        /// The unique index; `None` for the primary key.
        index: Option<String>,
        /// The keys; none twice.
        keys: Vec<Vec<Value>>,
    },
    /// By a range of an ordered index.
    Range {
        /// The index; `None` for the primary key.
        index: Option<String>,
        /// Values of the first columns, and whether they are in the range.
        low: Option<(Vec<Value>, bool)>,
        /// The same for the other end.
        high: Option<(Vec<Value>, bool)>,
    },
    /// All rows.
    Full,
}

#[derive(Default)]
struct ColumnFacts {
    alternatives: Option<Vec<Expression>>,
    low: Option<End>,
    high: Option<End>,
}

/// What the parts of a condition say about columns.
struct Gathered {
    columns: Vec<ColumnFacts>,
    tuples: Vec<(Vec<u16>, Vec<Vec<Expression>>)>,
    /// Parts of the condition.
    parts: usize,
}

fn gather(filter: &Expression, columns: usize) -> Gathered {
    let mut gathered = Gathered {
        columns: (0..columns).map(|_| ColumnFacts::default()).collect(),
        tuples: Vec::new(),
        parts: 0,
    };
    for part in filter.conjuncts() {
        gathered.parts += 1;
        match part {
            Expression::Compare(comparison, a, b) => match (a.as_ref(), b.as_ref()) {
                (Expression::Column(column), constant) if constant.is_constant() => {
                    gathered.compare(*column, *comparison, constant);
                }
                (constant, Expression::Column(column)) if constant.is_constant() => {
                    gathered.compare(*column, comparison.turned(), constant);
                }
                (Expression::Tuple(names), Expression::Tuple(values)) if *comparison == Comparison::Equal => {
                    gathered.tuple(names, vec![values.clone()]);
                }
                _ => {}
            },
            Expression::In(value, list) => match value.as_ref() {
                Expression::Column(column) if list.iter().all(Expression::is_constant) => {
                    gathered.alternatives(*column, list.clone());
                }
                Expression::Tuple(names) => {
                    let tuples = list.iter().map(|item| match item {
                        Expression::Tuple(values) => Some(values.clone()),
                        _ => None,
                    });
                    if let Some(tuples) = tuples.collect::<Option<Vec<_>>>() {
                        gathered.tuple(names, tuples);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
    gathered
}

impl Gathered {
    fn compare(&mut self, column: usize, comparison: Comparison, constant: &Expression) {
        let facts = &mut self.columns[column];
        let end = |inclusive| Some((constant.clone(), inclusive));
        match comparison {
            Comparison::Equal => self.alternatives(column, vec![constant.clone()]),
            Comparison::Less if facts.high.is_none() => facts.high = end(false),
            Comparison::LessOrEqual if facts.high.is_none() => facts.high = end(true),
            Comparison::Greater if facts.low.is_none() => facts.low = end(false),
            Comparison::GreaterOrEqual if facts.low.is_none() => facts.low = end(true),
            _ => {}
        }
    }

    fn alternatives(&mut self, column: usize, list: Vec<Expression>) {
        let known = &mut self.columns[column].alternatives;
        if known.as_ref().is_none_or(|known| known.len() > list.len()) {
            *known = Some(list);
        }
    }

    fn tuple(&mut self, names: &[Expression], tuples: Vec<Vec<Expression>>) {
        let columns = names.iter().map(|name| match name {
            Expression::Column(column) => u16::try_from(*column).ok(),
            _ => None,
        });
        let constant = tuples.iter().flatten().all(Expression::is_constant);
        if let (Some(columns), true) = (columns.collect::<Option<Vec<_>>>(), constant) {
            self.tuples.push((columns, tuples));
        }
    }

    /// Alternatives for each of these columns, or whole keys, if all are given; and how many parts of the condition that uses up, `None` where
    /// it leaves some of a part, as of a tuple with more columns.
    fn keys(&self, columns: &[u16]) -> Option<(Lists, Lists, Option<usize>)> {
        let all = columns.iter().map(|column| self.columns[usize::from(*column)].alternatives.clone());
        if let Some(alternatives) = all.collect::<Option<Vec<_>>>() {
            let product = alternatives.iter().fold(1_usize, |count, list| count.saturating_mul(list.len()));
            if product <= MAX_KEYS {
                return Some((alternatives, Vec::new(), Some(columns.len())));
            }
        }
        for (named, tuples) in &self.tuples {
            let places = columns.iter().map(|column| named.iter().position(|name| name == column));
            let places: Option<Vec<usize>> = places.collect();
            if let (Some(places), true) = (places, tuples.len() <= MAX_KEYS) {
                let pick =
                    |tuple: &Vec<Expression>| places.iter().map(|place| tuple[*place].clone()).collect();
                let used = (named.len() == columns.len()).then_some(1);
                return Some((Vec::new(), tuples.iter().map(pick).collect(), used));
            }
        }
        None
    }
}

/// The unique indexes that rows can be looked up by. Those that are being built or dropped the data nodes look after by themselves.
pub fn unique_indexes(table: &Table) -> impl Iterator<Item = &IndexDefinition> {
    let indexes = table.definition().indexes.iter().zip(table.indexes());
    let usable =
        indexes.filter(|(index, known)| index.kind == IndexKind::Unique && known.state == IndexState::Public);
    usable.map(|(index, _)| index)
}

fn ordered_indexes(table: &Table) -> Vec<(Option<String>, Vec<u16>)> {
    let definition = table.definition();
    let mut indexes = Vec::new();
    if definition.primary_key_order == PrimaryKeyOrder::Ordered {
        indexes.push((None, definition.primary_key.clone()));
    }
    for (index, known) in definition.indexes.iter().zip(table.indexes()) {
        if index.kind == IndexKind::Ordered && known.state == IndexState::Public {
            indexes.push((Some(index.name.clone()), index.columns.clone()));
        }
    }
    indexes
}

impl Access {
    /// Ordered indexes of a table that can be read: name, `None` for the primary key, and columns.
    pub fn ordered(table: &Table) -> Vec<(Option<String>, Vec<u16>)> {
        ordered_indexes(table)
    }

    /// The best way to the rows that a condition can be true of.
    pub fn choose(table: &Table, filter: Option<&Expression>) -> Access {
        let full = Access { kind: AccessKind::Full, exact: filter.is_none() };
        let Some(filter) = filter else { return full };
        let definition = table.definition();
        let gathered = gather(filter, definition.columns.len());
        if let Some((alternatives, tuples, used)) = gathered.keys(&definition.primary_key) {
            let columns = definition.primary_key.clone();
            let exact = used == Some(gathered.parts);
            return Access { kind: AccessKind::Keys { index: None, columns, alternatives, tuples }, exact };
        }
        for index in unique_indexes(table) {
            if let Some((alternatives, tuples, _)) = gathered.keys(&index.columns) {
                let (index, columns) = (Some(index.name.clone()), index.columns.clone());
                return Access {
                    kind: AccessKind::Keys { index, columns, alternatives, tuples },
                    exact: false,
                };
            }
        }
        let mut best: Option<(usize, Access)> = None;
        for (index, columns) in ordered_indexes(table) {
            let single = |column: &u16| match gathered.columns[usize::from(*column)].alternatives.as_deref() {
                Some([one]) => Some(one.clone()),
                _ => None,
            };
            let equal: Vec<Expression> = columns.iter().map_while(single).collect();
            let next = columns.get(equal.len()).map(|column| &gathered.columns[usize::from(*column)]);
            let (low, high) = next.map_or((None, None), |facts| (facts.low.clone(), facts.high.clone()));
            let ends = usize::from(low.is_some()) + usize::from(high.is_some());
            let score = equal.len() * 4 + ends;
            if score > 0 && best.as_ref().is_none_or(|(known, _)| score > *known) {
                let exact = gathered.parts == equal.len() + ends;
                let kind = AccessKind::Range { index, columns, equal, low, high };
                best = Some((score, Access { kind, exact }));
            }
        }
        best.map_or(Access { exact: false, ..full }, |(_, access)| access)
    }

    /// The same with values.
    ///
    /// # Errors
    /// When a constant cannot be evaluated.
    pub fn bind(&self, columns: &[Column], environment: &Environment<'_>) -> Result<BoundAccess> {
        match &self.kind {
            AccessKind::Full => Ok(BoundAccess::Full),
            AccessKind::Keys { index, columns: key, alternatives, tuples } => {
                bind_keys(index.as_ref(), key, alternatives, tuples, columns, environment)
            }
            AccessKind::Range { index, columns: key, equal, low, high } => {
                let nothing = BoundAccess::Keys { index: None, keys: Vec::new() };
                let mut prefix = Vec::new();
                for (expression, column) in equal.iter().zip(key) {
                    let value = expression.evaluate(environment)?;
                    match key_value(&value, columns[usize::from(*column)].column_type) {
                        KeyValue::Is(value) => prefix.push(value),
                        KeyValue::Never => return Ok(nothing),
                        KeyValue::Unclear => break,
                    }
                }
                let mut ends = [None, None];
                if prefix.len() == equal.len()
                    && let Some(column) = key.get(equal.len())
                {
                    for (end, bound) in ends.iter_mut().zip([low, high]) {
                        let Some((expression, inclusive)) = bound else { continue };
                        let value = expression.evaluate(environment)?;
                        if value == Value::Null {
                            return Ok(nothing);
                        }
                        if let KeyValue::Is(value) =
                            key_value(&value, columns[usize::from(*column)].column_type)
                        {
                            let mut values = prefix.clone();
                            values.push(value);
                            *end = Some((values, *inclusive));
                        }
                    }
                }
                let whole = || (!prefix.is_empty()).then(|| (prefix.clone(), true));
                let [low, high] = ends;
                let (low, high) = (low.or_else(whole), high.or_else(whole));
                if low.is_none() && high.is_none() {
                    return Ok(BoundAccess::Full);
                }
                Ok(BoundAccess::Range { index: index.clone(), low, high })
            }
        }
    }

    /// What is left of a condition to be checked of rows that are found by whole primary keys, which no change of a row makes others.
    pub fn unchecked<'f>(
        &self,
        bound: &BoundAccess,
        filter: Option<&'f Expression>,
    ) -> Option<&'f Expression> {
        let by_key = matches!(bound, BoundAccess::Keys { index: None, .. });
        filter.filter(|_| !(self.exact && by_key))
    }

    /// Whether these are exactly the rows that the condition is true of, so that nothing is left to be checked.
    pub fn is_exact(&self, bound: &BoundAccess, columns: &[Column]) -> bool {
        match (&self.kind, bound) {
            (
                AccessKind::Range { columns: key, equal, low, high, .. },
                BoundAccess::Range { low: first, high: last, .. },
            ) => {
                let values =
                    |end: &Option<(Vec<Value>, bool)>| end.as_ref().map_or(0, |(values, _)| values.len());
                // What could not be compared exactly has no bound.
                let is_bound = values(first) == equal.len() + usize::from(low.is_some())
                    && values(last) == equal.len() + usize::from(high.is_some());
                let used = equal.len() + usize::from(low.is_some() || high.is_some());
                let mut used = key.iter().take(used).map(|column| &columns[usize::from(*column)]);
                // Only of integers it is known that an end excludes just what the condition does; NULL is below everything.
                self.exact
                    && is_bound
                    && used.all(|column| {
                        integer_range(column.column_type).is_some()
                            && (low.is_some() || high.is_none() || !column.nullable)
                    })
            }
            (AccessKind::Keys { .. }, BoundAccess::Keys { .. }) => self.exact,
            _ => false,
        }
    }
}

fn bind_keys(
    index: Option<&String>,
    key: &[u16],
    alternatives: &[Vec<Expression>],
    tuples: &[Vec<Expression>],
    columns: &[Column],
    environment: &Environment<'_>,
) -> Result<BoundAccess> {
    let bind = |expression: &Expression, column: u16| -> Result<KeyValue> {
        let value = expression.evaluate(environment)?;
        Ok(key_value(&value, columns[usize::from(column)].column_type))
    };
    let mut keys: Vec<Vec<Value>> = Vec::new();
    for tuple in tuples {
        let mut values = Vec::with_capacity(key.len());
        for (expression, column) in tuple.iter().zip(key) {
            match bind(expression, *column)? {
                KeyValue::Is(value) => values.push(value),
                KeyValue::Never => break,
                KeyValue::Unclear => return Ok(BoundAccess::Full),
            }
        }
        if values.len() == key.len() {
            keys.push(values);
        }
    }
    if tuples.is_empty() {
        keys.push(Vec::new());
        for (list, column) in alternatives.iter().zip(key) {
            let mut values = Vec::with_capacity(list.len());
            for expression in list {
                match bind(expression, *column)? {
                    KeyValue::Is(value) => values.push(value),
                    KeyValue::Never => {}
                    KeyValue::Unclear => return Ok(BoundAccess::Full),
                }
            }
            let extended = |prefix: &Vec<Value>| {
                let prefix = prefix.clone();
                values.clone().into_iter().map(move |value| {
                    let mut key = prefix.clone();
                    key.push(value);
                    key
                })
            };
            keys = keys.iter().flat_map(extended).collect();
        }
    }
    let mut seen = rustc_hash::FxHashSet::default();
    if keys.len() > 1 {
        keys.retain(|key| {
            let mut bytes = Vec::new();
            key.iter().for_each(|value| crate::expression::aggregate::put_distinct(value, &mut bytes));
            seen.insert(bytes)
        });
    }
    Ok(BoundAccess::Keys { index: index.cloned(), keys })
}
