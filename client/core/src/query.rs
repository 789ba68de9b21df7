//! What a scan shall give, with columns by name: filters, result columns, aggregates.

use crate::{Error, Table};
use duet_protocol::error::ErrorCode;
use duet_protocol::scan_program::{
    Aggregate as WireAggregate, Comparison, Filter, Function, Merger, ScanProgram, average, encode_program,
};
use duet_protocol::schema::{Column, ColumnType};
use duet_protocol::value::Value;
use std::sync::Arc;

/// A condition on the columns of a row, by name; see [`col`].
pub type Condition = Filter<String>;

/// Digits that an average has behind those of its column.
const AVERAGE_DIGITS: u8 = 4;
/// Most groups of a result, unless told otherwise.
const MOST_GROUPS: usize = 1_000_000;

/// A column in a condition.
///
/// Numbers compare by value, whatever their types; decimals exactly. Dates and times compare with those of the same type,
/// text and bytes byte by byte. A comparison with NULL is neither true nor false, as in SQL.
///
/// ```
/// use duet_client_core::col;
/// let far = col("distance").gt(1000).and(col("carrier").one_of(["UA", "AA"]));
/// let unknown = col("arrival_delay").is_null().or(!col("tail_number").starts_with("N"));
/// ```
pub fn col(name: impl Into<String>) -> ColumnName {
    ColumnName(name.into())
}

/// See [`col`].
#[derive(Clone, Debug)]
pub struct ColumnName(String);

impl ColumnName {
    fn compare(self, comparison: Comparison, value: Value) -> Condition {
        Filter::Compare { column: self.0, comparison, value }
    }

    /// `=`
    pub fn eq(self, value: impl Into<Value>) -> Condition {
        self.compare(Comparison::Equal, value.into())
    }

    /// `<>`
    pub fn ne(self, value: impl Into<Value>) -> Condition {
        self.compare(Comparison::NotEqual, value.into())
    }

    /// `<`
    pub fn lt(self, value: impl Into<Value>) -> Condition {
        self.compare(Comparison::Less, value.into())
    }

    /// `<=`
    pub fn le(self, value: impl Into<Value>) -> Condition {
        self.compare(Comparison::LessOrEqual, value.into())
    }

    /// `>`
    pub fn gt(self, value: impl Into<Value>) -> Condition {
        self.compare(Comparison::Greater, value.into())
    }

    /// `>=`
    pub fn ge(self, value: impl Into<Value>) -> Condition {
        self.compare(Comparison::GreaterOrEqual, value.into())
    }

    /// `BETWEEN`: not less than the first and not greater than the second.
    pub fn between(self, low: impl Into<Value>, high: impl Into<Value>) -> Condition {
        self.clone().ge(low).and(self.le(high))
    }

    /// `IN`: one of these values.
    pub fn one_of<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Condition {
        Filter::In { column: self.0, values: values.into_iter().map(Into::into).collect() }
    }

    /// `LIKE 'prefix%'`: text or bytes that begin so.
    pub fn starts_with(self, prefix: impl Into<Value>) -> Condition {
        Filter::Prefix { column: self.0, prefix: prefix.into() }
    }

    /// `IS NULL`
    pub fn is_null(self) -> Condition {
        Filter::IsNull(self.0)
    }

    /// `IS NOT NULL`
    pub fn is_not_null(self) -> Condition {
        Filter::IsNotNull(self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Computed {
    Plain(Function),
    Average,
}

/// Something computed of the rows of a group; see [`count`], [`sum`], [`min`], [`max`], [`avg`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    computed: Computed,
    column: Option<String>,
    name: Option<String>,
}

impl Aggregate {
    fn of(computed: Computed, column: &str) -> Aggregate {
        Aggregate { computed, column: Some(column.to_owned()), name: None }
    }

    /// Gives its column in the result a name, in place of `sum(column)`.
    #[must_use]
    pub fn named(mut self, name: &str) -> Aggregate {
        self.name = Some(name.to_owned());
        self
    }

    fn result_name(&self) -> String {
        let function = match self.computed {
            Computed::Plain(function) => function.name(),
            Computed::Average => "avg",
        };
        let column = self.column.as_deref().unwrap_or("*");
        self.name.clone().unwrap_or_else(|| format!("{function}({column})"))
    }
}

/// `count(*)`: the number of rows.
pub fn count() -> Aggregate {
    Aggregate { computed: Computed::Plain(Function::Count), column: None, name: None }
}

/// `count(column)`: the number of values that are not NULL.
pub fn count_of(column: &str) -> Aggregate {
    Aggregate::of(Computed::Plain(Function::Count), column)
}

/// The sum: of integers and decimals an exact decimal of at most 38 digits (`SumOverflow` beyond), of floats a double; NULL
/// of no values. That of integers can be read as an integer that is large enough.
pub fn sum(column: &str) -> Aggregate {
    Aggregate::of(Computed::Plain(Function::Sum), column)
}

/// The smallest value; NULL of no values.
pub fn min(column: &str) -> Aggregate {
    Aggregate::of(Computed::Plain(Function::Minimum), column)
}

/// The greatest value; NULL of no values.
pub fn max(column: &str) -> Aggregate {
    Aggregate::of(Computed::Plain(Function::Maximum), column)
}

/// The average: of integers and decimals a decimal with four more digits, of floats a double; NULL of no values.
pub fn avg(column: &str) -> Aggregate {
    Aggregate::of(Computed::Average, column)
}

/// What a scan shall give.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Which rows; `None` for all.
    pub filter: Option<Condition>,
    /// Columns of the result; none for whole rows.
    pub columns: Vec<String>,
}

/// A [`Query`] for one table.
#[derive(Clone, Debug)]
pub struct PreparedQuery {
    /// The program for the nodes; empty when there is nothing to tell them.
    pub program: Vec<u8>,
    /// A table with the columns of the result: its layout reads the rows of the pages.
    pub result: Arc<Table>,
}

/// Both conditions, where there are two.
pub fn both(before: Option<Condition>, condition: Condition) -> Option<Condition> {
    Some(match before {
        Some(before) => before.and(condition),
        None => condition,
    })
}

impl Query {
    fn program(self, table: &Table) -> Result<ScanProgram, Error> {
        let filter =
            self.filter.map(|filter| filter.try_map(&mut |name: String| table.column(&name))).transpose()?;
        let columns =
            self.columns.iter().map(|name| table.column(name)).collect::<Result<Vec<_>, Error>>()?;
        Ok(ScanProgram { filter, columns, aggregates: None })
    }

    /// Checks the query against a table.
    ///
    /// # Errors
    /// `InvalidRequest` when the table has no such column; the codes of
    /// [`duet_protocol::scan_program::ScanError`].
    pub fn prepare(self, table: &Arc<Table>) -> Result<PreparedQuery, Error> {
        let program = self.program(table)?;
        let mut bytes = Vec::new();
        if !program.is_plain() {
            encode_program(table.layout(), &program, &mut bytes)?;
        }
        let columns = &table.definition().columns;
        let result = match program.columns.as_slice() {
            [] => Arc::clone(table),
            picked => {
                let picked = picked.iter().map(|column| columns[usize::from(*column)].clone());
                Arc::new(Table::of_result(table, picked.collect()))
            }
        };
        Ok(PreparedQuery { program: bytes, result })
    }
}

/// What an aggregating scan shall give.
#[derive(Clone, Debug)]
pub struct AggregateQuery {
    /// Which rows; `None` for all.
    pub filter: Option<Condition>,
    /// What is computed.
    pub aggregates: Vec<Aggregate>,
    /// Columns whose values make the groups; none for one group of all rows.
    pub group_by: Vec<String>,
    /// Most groups of the result: more end in an error before they fill the memory.
    pub most_groups: usize,
}

impl Default for AggregateQuery {
    fn default() -> AggregateQuery {
        AggregateQuery {
            filter: None,
            aggregates: Vec::new(),
            group_by: Vec::new(),
            most_groups: MOST_GROUPS,
        }
    }
}

/// How a column of the result comes from those that the nodes know.
#[derive(Clone, Copy, Debug)]
enum Output {
    Plain(usize),
    Average { sum: usize, count: usize },
}

/// An [`AggregateQuery`] for one table, with the groups merged so far.
#[derive(Debug)]
pub struct PreparedAggregates {
    /// The program for the nodes.
    pub program: Vec<u8>,
    /// A table with the columns of the result.
    pub result: Arc<Table>,
    merger: Merger,
    groups: usize,
    outputs: Vec<Output>,
}

impl AggregateQuery {
    /// Checks the query against a table.
    ///
    /// # Errors
    /// `InvalidRequest` when the table has no such column, or nothing is asked for; the codes of
    /// [`duet_protocol::scan_program::ScanError`].
    pub fn prepare(self, table: &Arc<Table>) -> Result<PreparedAggregates, Error> {
        if self.aggregates.is_empty() && self.group_by.is_empty() {
            return Err(Error::new(ErrorCode::InvalidRequest, "neither aggregates nor groups are asked for"));
        }
        let query = Query { filter: self.filter, columns: self.group_by };
        let mut program = query.program(table)?;
        let mut wire: Vec<WireAggregate> = Vec::new();
        let mut index_of = |function, column| {
            let aggregate = WireAggregate { function, column };
            wire.iter().position(|known| *known == aggregate).unwrap_or_else(|| {
                wire.push(aggregate);
                wire.len() - 1
            })
        };
        let mut outputs = Vec::with_capacity(self.aggregates.len());
        for aggregate in &self.aggregates {
            let column = aggregate.column.as_deref().map(|name| table.column(name)).transpose()?;
            outputs.push(match aggregate.computed {
                Computed::Plain(function) => Output::Plain(index_of(function, column)),
                Computed::Average => Output::Average {
                    sum: index_of(Function::Sum, column),
                    count: index_of(Function::Count, column),
                },
            });
        }
        program.aggregates = Some(wire);
        let mut bytes = Vec::new();
        encode_program(table.layout(), &program, &mut bytes)?;
        let merger = Merger::new(table.layout(), &program, self.most_groups)?;
        let groups = program.columns.len();
        let known: Vec<&Column> = merger.columns().collect();
        let mut columns: Vec<Column> = known[..groups].iter().map(|column| (*column).clone()).collect();
        for (aggregate, output) in self.aggregates.iter().zip(&outputs) {
            let mut column = match output {
                Output::Plain(index) => known[groups + index].clone(),
                Output::Average { sum, .. } => average_column(known[groups + sum]),
            };
            column.name = aggregate.result_name();
            columns.push(column);
        }
        let result = Arc::new(Table::of_result(table, columns));
        Ok(PreparedAggregates { program: bytes, result, merger, groups, outputs })
    }
}

/// The column of the average of what a column has the sum of.
fn average_column(sum: &Column) -> Column {
    let mut column = sum.clone();
    if let ColumnType::Decimal { precision, scale } = column.column_type {
        column.column_type =
            ColumnType::Decimal { precision, scale: (scale + AVERAGE_DIGITS).min(precision) };
    }
    column
}

impl PreparedAggregates {
    /// Adds one row of a page.
    ///
    /// # Errors
    /// The codes of [`duet_protocol::scan_program::ScanError`]: a sum overflows, there are too many groups, the page is
    /// damaged.
    pub fn add(&mut self, group: &[u8], values: &[u8]) -> Result<(), Error> {
        Ok(self.merger.add(group, values)?)
    }

    /// The values of the result, row by row, in the order of the columns of [`PreparedAggregates::result`].
    ///
    /// # Errors
    /// When a page was damaged.
    pub fn finish(self) -> Result<Vec<Vec<Value>>, Error> {
        let mut rows = self.merger.finish()?;
        for row in &mut rows {
            let partials = row.split_off(self.groups);
            row.extend(self.outputs.iter().map(|output| match output {
                Output::Plain(index) => partials[*index].clone(),
                Output::Average { sum, count } => {
                    let count = match partials[*count] {
                        Value::UInt(count) => count,
                        _ => 0,
                    };
                    average(&partials[*sum], count)
                }
            }));
        }
        Ok(rows)
    }
}
