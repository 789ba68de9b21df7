//! Ranges of ordered indexes, for programs without an asynchronous runtime.

use super::query::AggregateQueryOf;
use super::{Client, PAGE_BYTES, PAGE_ROWS};
use crate::client::unexpected;
use crate::{Aggregate, Batch, Bound, Condition, Reply, Result, Row, RowVersion, RowView, Table};
use duet_client_core::{
    AggregateQuery, Fragment, KeyedPage, PreparedQuery, PreparedRange, Query, RangeQuery, both,
};
use std::sync::Arc;

/// Most bytes of a page of a fragment whose rows are merged with those of all others: as many pages are held.
const MERGED_PAGE_BYTES: u32 = 64 << 10;

/// Rows of a table between two places of an ordered index; see [`crate::Range`].
///
/// ```no_run
/// let mut client = duet_client::blocking::Client::connect("127.0.0.1:4567")?;
/// let orders = client.table("shop.orders")?;
/// let newest = client.range(&orders).prefix(4711).reverse().limit(10).rows()?;
/// let middling = client.range(&orders).index("by_amount").from(100).before(200).rows()?;
/// # Ok::<(), duet_client::Error>(())
/// ```
#[derive(Debug)]
pub struct Range<'c> {
    client: &'c mut Client,
    table: Table,
    query: Query,
    range: RangeQuery,
    ordered: bool,
    limit: u64,
}

/// One fragment of a merge.
struct Lane {
    fragment: Fragment,
    page: KeyedPage,
    received: u64,
}

impl<'c> Range<'c> {
    pub(super) fn new(client: &'c mut Client, table: &Table) -> Range<'c> {
        let (table, query, range) = (Table::clone(table), Query::default(), RangeQuery::default());
        Range { client, table, query, range, ordered: false, limit: u64::MAX }
    }

    /// The secondary index of this name in place of the primary key.
    #[must_use]
    pub fn index(mut self, name: &str) -> Range<'c> {
        self.range.index = Some(name.to_owned());
        self
    }

    /// Only rows that are not less than this.
    #[must_use]
    pub fn from(mut self, bound: impl Bound) -> Range<'c> {
        self.range.set_from(&bound, true);
        self
    }

    /// Only rows that are greater than this.
    #[must_use]
    pub fn after(mut self, bound: impl Bound) -> Range<'c> {
        self.range.set_from(&bound, false);
        self
    }

    /// Only rows that are not greater than this.
    #[must_use]
    pub fn to(mut self, bound: impl Bound) -> Range<'c> {
        self.range.set_to(&bound, true);
        self
    }

    /// Only rows that are less than this.
    #[must_use]
    pub fn before(mut self, bound: impl Bound) -> Range<'c> {
        self.range.set_to(&bound, false);
        self
    }

    /// Only rows that are equal to this.
    #[must_use]
    pub fn prefix(mut self, bound: impl Bound) -> Range<'c> {
        self.range.set_from(&bound, true);
        self.range.set_to(&bound, true);
        self
    }

    /// Rows in the order of the index.
    #[must_use]
    pub fn ordered(mut self) -> Range<'c> {
        self.ordered = true;
        self
    }

    /// Rows in the opposite of the order of the index.
    #[must_use]
    pub fn reverse(mut self) -> Range<'c> {
        self.range.reverse = true;
        self.ordered()
    }

    /// At most so many rows: the first ones in the order that was asked for, any ones without.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> Range<'c> {
        self.limit = rows;
        self
    }

    /// Only rows that meet this condition, and those of filters before; see [`col`](crate::col).
    #[must_use]
    pub fn filter(mut self, condition: Condition) -> Range<'c> {
        self.query.filter = both(self.query.filter.take(), condition);
        self
    }

    /// Only these columns, in this order. Rows have no others then.
    #[must_use]
    pub fn select<N: Into<String>>(mut self, columns: impl IntoIterator<Item = N>) -> Range<'c> {
        self.query.columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Aggregates of the rows of the range that pass, instead of the rows. What was selected, limited or ordered means
    /// nothing then.
    ///
    /// # Errors
    /// As [`Range::each`].
    pub fn aggregate(self, aggregates: impl IntoIterator<Item = Aggregate>) -> Result<AggregateQueryOf<'c>> {
        let range = Some(Arc::new(self.range.prepare(&self.table)?));
        let aggregates = aggregates.into_iter().collect();
        let query = AggregateQuery { filter: self.query.filter, aggregates, ..AggregateQuery::default() };
        Ok(AggregateQueryOf { client: self.client, table: self.table, range, query })
    }

    /// Hands every row to `read`.
    ///
    /// # Errors
    /// See [`crate::Range::next`], and what `read` returns.
    pub fn each(self, mut read: impl FnMut(RowVersion, RowView<'_>) -> Result<()>) -> Result<()> {
        let PreparedQuery { program, result } = self.query.prepare(&self.table)?;
        let mut range = self.range.prepare(&self.table)?;
        if self.limit == 0 {
            return Ok(());
        }
        let page_rows = u32::try_from(self.limit).unwrap_or(u32::MAX).min(PAGE_ROWS);
        if self.ordered {
            let whole = Arc::ptr_eq(&result, &self.table);
            range.with_keys = !whole;
            let mut merge = Merge::new(self.client, &self.table, &program, range, whole);
            (merge.limit, merge.page_rows) = (self.limit, page_rows);
            for _ in 0..self.limit {
                let Some(lane) = merge.next()? else { return Ok(()) };
                let Some((version, view)) = merge.lanes[lane].page.take(&result) else { return Ok(()) };
                read(version, view)?;
            }
            return Ok(());
        }
        let (range, mut left) = (Arc::new(range), self.limit);
        self.client.pages(&self.table, Some(&range), &program, page_rows, |page| {
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

    /// All rows. The caller answers for the memory; use [`Range::limit`] or [`Range::each`] for large ranges.
    ///
    /// # Errors
    /// See [`crate::Range::next`].
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

/// Fragments whose rows are merged.
struct Merge<'c> {
    client: &'c mut Client,
    table: &'c Table,
    program: &'c [u8],
    range: Arc<PreparedRange>,
    whole: bool,
    limit: u64,
    page_rows: u32,
    lanes: Vec<Lane>,
    batch: Batch,
}

impl<'c> Merge<'c> {
    fn new(
        client: &'c mut Client,
        table: &'c Table,
        program: &'c [u8],
        range: PreparedRange,
        whole: bool,
    ) -> Merge<'c> {
        let range = Arc::new(range);
        let lane = |partition| Lane {
            fragment: Fragment::new(partition, Some(&range)),
            page: KeyedPage::default(),
            received: 0,
        };
        let lanes = range.partitions(table).map(lane).collect();
        let (limit, page_rows, batch) = (u64::MAX, PAGE_ROWS, Batch::new());
        Merge { client, table, program, range, whole, limit, page_rows, lanes, batch }
    }

    /// The lane that has the next row, after those without rows have got some; `None` at the end.
    fn next(&mut self) -> Result<Option<usize>> {
        let is_short = |lane: &Lane, limit: u64| {
            lane.page.is_empty() && !lane.fragment.is_done() && lane.received < limit
        };
        while self.lanes.iter().any(|lane| is_short(lane, self.limit)) {
            self.batch.clear();
            let bytes = MERGED_PAGE_BYTES.min(PAGE_BYTES);
            for lane in self.lanes.iter().filter(|lane| is_short(lane, self.limit)) {
                lane.fragment.add_to(&mut self.batch, self.table, self.program, self.page_rows, bytes)?;
            }
            self.client.execute(&mut self.batch);
            let asked = self.lanes.iter_mut().filter(|lane| is_short(lane, self.limit));
            for (index, lane) in asked.enumerate() {
                let Reply::Page(page) = self.batch.reply(index)? else { return Err(unexpected()) };
                lane.fragment.advance(&page)?;
                lane.page.fill(&self.range, &page, self.whole)?;
                lane.received += lane.page.len() as u64;
            }
        }
        let mut best: Option<(usize, &[u8])> = None;
        for (number, lane) in self.lanes.iter().enumerate() {
            if let Some(key) = lane.page.first()
                && best.is_none_or(|(_, least)| self.range.is_before(key, least))
            {
                best = Some((number, key));
            }
        }
        Ok(best.map(|(number, _)| number))
    }
}

impl Client {
    /// A scan of the rows between two places of an ordered index: of the primary key, or with [`Range::index`] of a secondary
    /// one.
    pub fn range(&mut self, table: &Table) -> Range<'_> {
        Range::new(self, table)
    }
}
