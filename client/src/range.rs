//! Reading the rows of a range of an ordered index, in its order or as they come.

use crate::client::{Handle, unexpected};
use crate::scan::{Pages, Pending, Scan};
use crate::shared::Shared;
use crate::{
    Aggregate, AggregateScan, Bound, Condition, Error, Reply, Result, Row, RowVersion, RowView, Table,
};
use duet_client_core::{Fragment, KeyedPage, PreparedRange, RangeQuery};
use std::collections::VecDeque;
use std::sync::Arc;

/// Most bytes of a page of a fragment whose rows are merged with those of all others: as many pages are held.
const MERGED_PAGE_BYTES: u32 = 64 << 10;
/// Fragments of a merge whose first pages are asked for in one batch.
const FIRST_FRAGMENTS: usize = 64;

/// Rows of a table between two places of an ordered index: that of the primary key, or a secondary one.
///
/// ```no_run
/// # async fn example(client: duet_client::Client, orders: duet_client::Table) -> Result<(), duet_client::Error> {
/// // The newest ten orders of a customer; the primary key is (customer, number).
/// let mut newest = client.range(&orders).prefix(4711).reverse().limit(10);
/// while let Some(order) = newest.next().await? {
///     println!("{}", order.get::<u32>("number")?);
/// }
/// // Orders of a secondary index, 100 <= amount < 200, as they come.
/// let middling = client.range(&orders).index("by_amount").from(100).before(200).rows().await?;
/// # Ok(())
/// # }
/// ```
///
/// A bound gives values of the first columns of the index, in their order: one value, a tuple, or a list. Rows are compared
/// with it by these columns only. NULL is less than all values. Without bounds all rows of the index are read.
///
/// With [`Range::ordered`] or [`Range::reverse`] rows come in the order of the index, merged from all fragments; else as they
/// come. Every row that is in the range, and passes the filter, during the whole scan comes exactly once; one that is
/// written meanwhile may come or not, as it was or as it is, and one whose index columns are updated meanwhile may come as
/// both. What does not fit the table is the error of the first call that reads.
pub struct Range {
    scan: Scan,
    query: RangeQuery,
    ordered: bool,
    /// Set by the first call that reads.
    merge: Option<Merge>,
    started: bool,
    rows: VecDeque<Row>,
}

impl Range {
    pub(crate) fn new(shared: Arc<Shared>, handle: Arc<Handle>, table: &Table) -> Range {
        Range {
            scan: Scan::new(shared, handle, table),
            query: RangeQuery::default(),
            ordered: false,
            merge: None,
            started: false,
            rows: VecDeque::new(),
        }
    }

    /// The secondary index of this name in place of the primary key.
    #[must_use]
    pub fn index(mut self, name: &str) -> Range {
        self.query.index = Some(name.to_owned());
        self
    }

    /// Only rows that are not less than this.
    #[must_use]
    pub fn from(mut self, bound: impl Bound) -> Range {
        self.query.set_from(&bound, true);
        self
    }

    /// Only rows that are greater than this.
    #[must_use]
    pub fn after(mut self, bound: impl Bound) -> Range {
        self.query.set_from(&bound, false);
        self
    }

    /// Only rows that are not greater than this.
    #[must_use]
    pub fn to(mut self, bound: impl Bound) -> Range {
        self.query.set_to(&bound, true);
        self
    }

    /// Only rows that are less than this.
    #[must_use]
    pub fn before(mut self, bound: impl Bound) -> Range {
        self.query.set_to(&bound, false);
        self
    }

    /// Only rows that are equal to this: both [`Range::from`] and [`Range::to`]. Where it gives all columns of the partition
    /// key, only one partition is asked.
    #[must_use]
    pub fn prefix(mut self, bound: impl Bound) -> Range {
        self.query.set_from(&bound, true);
        self.query.set_to(&bound, true);
        self
    }

    /// Rows in the order of the index.
    #[must_use]
    pub fn ordered(mut self) -> Range {
        self.ordered = true;
        self
    }

    /// Rows in the opposite of the order of the index.
    #[must_use]
    pub fn reverse(mut self) -> Range {
        self.query.reverse = true;
        self.ordered()
    }

    /// At most so many rows: the first ones in the order that was asked for, any ones without.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> Range {
        self.scan = self.scan.limit(rows);
        self
    }

    /// Only rows that meet this condition, and those of filters before; see [`col`](crate::col).
    #[must_use]
    pub fn filter(mut self, condition: Condition) -> Range {
        self.scan = self.scan.filter(condition);
        self
    }

    /// Only these columns, in this order. Rows have no others then.
    #[must_use]
    pub fn select<N: Into<String>>(mut self, columns: impl IntoIterator<Item = N>) -> Range {
        self.scan = self.scan.select(columns);
        self
    }

    /// How many fragments are read at the same time, 1 to 64; all of them where rows are to be in order.
    #[must_use]
    pub fn fragments(mut self, fragments: usize) -> Range {
        self.scan = self.scan.fragments(fragments);
        self
    }

    /// Most rows of a page.
    #[must_use]
    pub fn page_rows(mut self, rows: u32) -> Range {
        self.scan = self.scan.page_rows(rows);
        self
    }

    /// Aggregates of the rows of the range that pass, instead of the rows. What was selected, limited or ordered means
    /// nothing then.
    ///
    /// # Errors
    /// As the first call that reads; see [`Range::next`].
    pub fn aggregate(mut self, aggregates: impl IntoIterator<Item = Aggregate>) -> Result<AggregateScan> {
        let prepared = self.query.prepare(&self.scan.pages.table)?;
        self.scan.pages.set_range(prepared);
        Ok(self.scan.aggregate(aggregates))
    }

    /// The table that the result's rows are of: with selected columns one that has just these.
    ///
    /// # Errors
    /// As the first call that reads; see [`Range::next`].
    pub fn result(&mut self) -> Result<Table> {
        let result = self.scan.result()?;
        if !self.started {
            let mut prepared = self.query.prepare(&self.scan.pages.table)?;
            let whole = Arc::ptr_eq(&result, &self.scan.pages.table);
            prepared.with_keys = self.ordered && !whole;
            self.scan.pages.set_range(prepared.clone());
            if self.ordered {
                self.scan.pages.page_bytes = MERGED_PAGE_BYTES;
                self.merge = Some(Merge::new(&mut self.scan.pages, prepared, whole, self.scan.left));
            }
            self.started = true;
        }
        Ok(result)
    }

    /// Hands some rows to `read`; false when there are no more. There may be none when a filter lets few pass.
    ///
    /// # Errors
    /// As [`Range::next`].
    pub async fn next_page(&mut self, mut read: impl FnMut(RowVersion, RowView<'_>)) -> Result<bool> {
        let result = self.result()?;
        let Some(merge) = &mut self.merge else { return self.scan.next_page(read).await };
        merge.fill(&mut self.scan.pages).await?;
        let mut any = false;
        while self.scan.left > 0
            && let Some((version, view)) = merge.take(&result)
        {
            self.scan.left -= 1;
            any = true;
            read(version, view);
        }
        Ok(any)
    }

    /// The next row; `None` at the end of the range.
    ///
    /// # Errors
    /// `IndexNotFound` when there is no such index, or the primary key has no order; `IndexNotReady` while it is being built;
    /// `InvalidRequest` when an end of the range was given twice; the codes of bounds, filters and columns that do not fit;
    /// when a page cannot be read in time.
    pub async fn next(&mut self) -> Result<Option<Row>> {
        loop {
            if let Some(row) = self.rows.pop_front() {
                return Ok(Some(row));
            }
            let result = self.result()?;
            let mut page = Vec::new();
            if !self.next_page(|version, view| page.push(Row::from_view(&result, version, &view))).await? {
                return Ok(None);
            }
            for row in page {
                self.rows.push_back(row?);
            }
        }
    }

    /// All rows that are left. The caller answers for the memory; use [`Range::limit`] or [`Range::next`] for large ranges.
    ///
    /// # Errors
    /// As [`Range::next`].
    pub async fn rows(mut self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        while let Some(row) = self.next().await? {
            rows.push(row);
        }
        Ok(rows)
    }
}

impl std::fmt::Debug for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Range").field("table", &self.scan.pages.table.name()).finish_non_exhaustive()
    }
}

/// Fragments whose rows are merged: of each a page that is being read and one on its way.
struct Merge {
    range: PreparedRange,
    whole: bool,
    lanes: Vec<Lane>,
    /// The first pages on their way: those of the first lanes, of the lanes behind them, and so on.
    first: VecDeque<Pending>,
    /// The first lane of the next one of them.
    next_first: usize,
    /// What ended it: rows would be missing from then on.
    failure: Option<Error>,
    /// Rows that are wanted of each fragment: no more than of all.
    limit: u64,
}

/// One fragment of a merge.
#[derive(Default)]
struct Lane {
    page: KeyedPage,
    pending: Option<Pending>,
    /// Rows that have come.
    received: u64,
}

impl Merge {
    /// Asks for the first pages.
    fn new(pages: &mut Pages, range: PreparedRange, whole: bool, limit: u64) -> Merge {
        let partitions: Vec<u16> = pages.take_partitions().collect();
        let mut first = VecDeque::new();
        for some in partitions.chunks(FIRST_FRAGMENTS).filter(|_| limit > 0) {
            first.extend(pages.request(some.iter().map(|partition| pages.fragment(*partition)).collect()));
        }
        let lanes = partitions.iter().map(|_| Lane::default()).collect();
        Merge { range, whole, lanes, first, next_first: 0, failure: None, limit }
    }

    /// Waits until every lane has a row, unless it is at its end. May be dropped and begun again.
    async fn fill(&mut self, pages: &mut Pages) -> Result<()> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let filled = self.fill_lanes(pages).await;
        self.failure = filled.as_ref().err().cloned();
        filled
    }

    async fn fill_lanes(&mut self, pages: &mut Pages) -> Result<()> {
        while let Some(first) = self.first.front_mut() {
            let answer = first.await;
            self.first.pop_front();
            let (fragments, mut pooled) = answer?;
            for (index, fragment) in fragments.into_iter().enumerate() {
                let lane = self.next_first;
                self.next_first += 1;
                self.receive(lane, pages, fragment, pooled.batch().reply(index)?)?;
            }
        }
        for lane in 0..self.lanes.len() {
            while self.lanes[lane].page.is_empty()
                && let Some(pending) = &mut self.lanes[lane].pending
            {
                let page = pending.await;
                self.lanes[lane].pending = None;
                let (fragments, mut pooled) = page?;
                for (index, fragment) in fragments.into_iter().enumerate() {
                    self.receive(lane, pages, fragment, pooled.batch().reply(index)?)?;
                }
            }
        }
        Ok(())
    }

    /// Takes a page of a lane and asks for the one behind it.
    fn receive(&mut self, lane: usize, pages: &Pages, fragment: Fragment, reply: Reply<'_>) -> Result<()> {
        let Reply::Page(page) = reply else { return Err(unexpected()) };
        let lane = &mut self.lanes[lane];
        lane.page.fill(&self.range, &page, self.whole)?;
        lane.received += lane.page.len() as u64;
        if lane.received < self.limit {
            lane.pending = pages.request(vec![fragment]);
        }
        Ok(())
    }

    /// Takes the next row: a row of `result`. `None` at the end, and where a lane has to be filled first.
    fn take<'a>(&'a mut self, result: &'a Table) -> Option<(RowVersion, RowView<'a>)> {
        let mut best: Option<(usize, &[u8])> = None;
        for (number, lane) in self.lanes.iter().enumerate() {
            match lane.page.first() {
                Some(key) if best.is_none_or(|(_, least)| self.range.is_before(key, least)) => {
                    best = Some((number, key));
                }
                None if lane.pending.is_some() => return None,
                _ => {}
            }
        }
        let (number, _) = best?;
        self.lanes[number].page.take(result)
    }
}
