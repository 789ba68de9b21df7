//! Scans with filters, result columns and aggregates, for programs without an asynchronous runtime.

use super::{Client, PAGE_BYTES, PAGE_ROWS};
use crate::client::unexpected;
use crate::{Aggregate, Batch, Condition, Reply, Result, Row, RowVersion, RowView, Table};
use duet_client_core::{AggregateQuery, Fragment, Page, PreparedQuery, PreparedRange, both};
use std::sync::Arc;

/// Fragments read at the same time.
const FRAGMENTS: usize = 8;

/// What a scan shall give; see [`crate::Scan`].
///
/// ```no_run
/// use duet_client::{col, count};
/// let mut client = duet_client::blocking::Client::connect("127.0.0.1:4567")?;
/// let flights = client.table("flights.flights")?;
/// let far = client.query(&flights).filter(col("distance").gt(2000)).select(["carrier"]).limit(10).rows()?;
/// let carriers = client.query(&flights).aggregate([count()]).group_by(["carrier"]).rows()?;
/// # Ok::<(), duet_client::Error>(())
/// ```
#[derive(Debug)]
pub struct Query<'c> {
    client: &'c mut Client,
    table: Table,
    query: duet_client_core::Query,
    limit: u64,
}

impl<'c> Query<'c> {
    pub(super) fn new(client: &'c mut Client, table: &Table) -> Query<'c> {
        let query = duet_client_core::Query::default();
        Query { client, table: Table::clone(table), query, limit: u64::MAX }
    }

    /// Only rows that meet this condition, and those of filters before; see [`col`](crate::col).
    #[must_use]
    pub fn filter(mut self, condition: Condition) -> Query<'c> {
        self.query.filter = both(self.query.filter.take(), condition);
        self
    }

    /// Only these columns, in this order. Rows have no others then.
    #[must_use]
    pub fn select<N: Into<String>>(mut self, columns: impl IntoIterator<Item = N>) -> Query<'c> {
        self.query.columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// At most so many rows; which ones is not promised.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> Query<'c> {
        self.limit = rows;
        self
    }

    /// Aggregates of the rows that pass, instead of the rows. What was selected or limited means nothing then.
    #[must_use]
    pub fn aggregate(self, aggregates: impl IntoIterator<Item = Aggregate>) -> AggregateQueryOf<'c> {
        let aggregates = aggregates.into_iter().collect();
        let query = AggregateQuery { filter: self.query.filter, aggregates, ..AggregateQuery::default() };
        AggregateQueryOf { client: self.client, table: self.table, range: None, query }
    }

    /// Hands every row to `read`, in no particular order.
    ///
    /// # Errors
    /// When the query does not fit the table, a page cannot be read in time, or what `read` returns.
    pub fn each(self, mut read: impl FnMut(RowVersion, RowView<'_>) -> Result<()>) -> Result<()> {
        let PreparedQuery { program, result } = self.query.prepare(&self.table)?;
        let mut left = self.limit;
        if left == 0 {
            return Ok(());
        }
        let page_rows = u32::try_from(left).unwrap_or(u32::MAX).min(PAGE_ROWS);
        self.client.pages(&self.table, None, &program, page_rows, |page| {
            for row in page.images() {
                let (version, key, value) = row?;
                read(version, RowView::new(result.layout(), key, value))?;
                left -= 1;
                if left == 0 {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// All rows. The caller answers for the memory; use [`Query::limit`] or [`Query::each`] for large tables.
    ///
    /// # Errors
    /// When the query does not fit the table, or a page cannot be read in time.
    pub fn rows(self) -> Result<Vec<Row>> {
        let result = self.query.clone().prepare(&self.table)?.result;
        let mut rows = Vec::new();
        self.each(|version, view| {
            rows.push(Row::from_view(&result, version, &view)?);
            Ok(())
        })?;
        Ok(rows)
    }
}

/// Aggregates of the rows of a table; see [`crate::AggregateScan`].
#[derive(Debug)]
pub struct AggregateQueryOf<'c> {
    pub(super) client: &'c mut Client,
    pub(super) table: Table,
    pub(super) range: Option<Arc<PreparedRange>>,
    pub(super) query: AggregateQuery,
}

impl<'c> AggregateQueryOf<'c> {
    /// One row of the result for each combination of values of these columns; without it there is one for all rows.
    #[must_use]
    pub fn group_by<N: Into<String>>(mut self, columns: impl IntoIterator<Item = N>) -> AggregateQueryOf<'c> {
        self.query.group_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Most groups of the result, a million unless told otherwise: more end in the error `TooManyGroups`.
    #[must_use]
    pub fn most_groups(mut self, groups: usize) -> AggregateQueryOf<'c> {
        self.query.most_groups = groups;
        self
    }

    /// The rows of the result; see [`crate::AggregateScan::rows`].
    ///
    /// # Errors
    /// As there.
    pub fn rows(self) -> Result<Vec<Row>> {
        let mut prepared = self.query.prepare(&self.table)?;
        let program = std::mem::take(&mut prepared.program);
        self.client.pages(&self.table, self.range.as_ref(), &program, PAGE_ROWS, |page| {
            for row in page.images() {
                let (_, group, values) = row?;
                prepared.add(group, values)?;
            }
            Ok(true)
        })?;
        let result = Table::clone(&prepared.result);
        Ok(prepared.finish()?.into_iter().map(|values| Row::of_result(&result, values)).collect())
    }
}

impl Client {
    /// A scan with a filter, selected columns, a limit or aggregates.
    pub fn query(&mut self, table: &Table) -> Query<'_> {
        Query::new(self, table)
    }

    /// Hands the pages of all fragments to `read`, those of several fragments asked for at once, until it returns false.
    pub(super) fn pages(
        &mut self,
        table: &Table,
        range: Option<&Arc<PreparedRange>>,
        program: &[u8],
        page_rows: u32,
        mut read: impl FnMut(&Page<'_>) -> Result<bool>,
    ) -> Result<()> {
        let mut partitions = range.map_or(0..table.partitions(), |range| range.partitions(table));
        let mut fragments: Vec<Fragment> = Vec::new();
        let mut batch = Batch::new();
        loop {
            fragments.retain(|fragment| !fragment.is_done());
            let free = FRAGMENTS - fragments.len();
            fragments.extend(partitions.by_ref().take(free).map(|partition| Fragment::new(partition, range)));
            // A range without rows has nothing to ask for.
            fragments.retain(|fragment| !fragment.is_done());
            if fragments.is_empty() {
                return Ok(());
            }
            batch.clear();
            for fragment in &fragments {
                fragment.add_to(&mut batch, table, program, page_rows, PAGE_BYTES)?;
            }
            self.execute(&mut batch);
            for (index, fragment) in fragments.iter_mut().enumerate() {
                let Reply::Page(page) = batch.reply(index)? else { return Err(unexpected()) };
                fragment.advance(&page)?;
                if !read(&page)? {
                    return Ok(());
                }
            }
        }
    }
}
