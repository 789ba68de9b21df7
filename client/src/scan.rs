//! Reading all rows of a table, or what a filter, result columns and aggregates make of them.

use crate::client::{Handle, unexpected};
use crate::shared::{PooledBatch, Shared};
use crate::{Aggregate, Condition, Reply, Result, Row, RowVersion, RowView, Table};
use duet_client_core::{AggregateQuery, Fragment, PreparedQuery, PreparedRange, Query, both};
use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

/// Fragments read at the same time, each one page ahead, unless told otherwise.
const FRAGMENTS: usize = 8;
/// Rows and bytes of a page, unless told otherwise.
const PAGE_ROWS: u32 = 1_024;
const PAGE_BYTES: u32 = 256 << 10;

/// Bytes of a page at least, however many fragments share a batch.
const LEAST_PAGE_BYTES: u32 = 32 << 10;

/// The next pages of some fragments on their way, all in one batch: an operation for each fragment.
pub(crate) type Pending = Pin<Box<dyn Future<Output = Result<(Vec<Fragment>, PooledBatch)>> + Send>>;

/// Pages of all fragments of a table: several fragments at once, one page of each on its way. Fragments that are begun together are
/// asked for in one batch, so that a small range costs one message to each node and wakes its reader once.
pub(crate) struct Pages {
    shared: Arc<Shared>,
    /// Keeps the client alive while it is scanned.
    _handle: Arc<Handle>,
    pub(crate) table: Table,
    pub(crate) program: Arc<[u8]>,
    fragments: usize,
    pub(crate) page_rows: u32,
    pub(crate) page_bytes: u32,
    /// The range that is scanned, if it is not the whole table.
    range: Option<Arc<PreparedRange>>,
    partitions: Range<u16>,
    pending: VecDeque<Pending>,
    /// Fragments of which a page is on its way.
    under_way: usize,
}

impl Pages {
    fn new(shared: Arc<Shared>, handle: Arc<Handle>, table: &Table) -> Pages {
        Pages {
            shared,
            _handle: handle,
            table: Table::clone(table),
            program: Arc::new([]),
            fragments: FRAGMENTS,
            page_rows: PAGE_ROWS,
            page_bytes: PAGE_BYTES,
            range: None,
            partitions: 0..table.partitions(),
            pending: VecDeque::new(),
            under_way: 0,
        }
    }

    /// Scans a range in place of the whole table.
    pub(crate) fn set_range(&mut self, range: PreparedRange) {
        self.partitions = range.partitions(&self.table);
        self.range = Some(Arc::new(range));
    }

    /// The partitions that are not asked yet.
    pub(crate) fn take_partitions(&mut self) -> Range<u16> {
        std::mem::take(&mut self.partitions)
    }

    /// The request for the next pages of fragments, on its way; none when all of them are read.
    pub(crate) fn request(&self, mut fragments: Vec<Fragment>) -> Option<Pending> {
        fragments.retain(|fragment| !fragment.is_done());
        let count = u32::try_from(fragments.len()).ok().filter(|count| *count > 0)?;
        let mut pooled = self.shared.take();
        let (table, program) = (Table::clone(&self.table), Arc::clone(&self.program));
        let (rows, bytes) = (self.page_rows, (self.page_bytes / count).max(LEAST_PAGE_BYTES));
        let mut pages: Pending = Box::pin(async move {
            for fragment in &fragments {
                fragment.add_to(pooled.batch(), &table, &program, rows, bytes)?;
            }
            pooled.execute().await?;
            for (index, fragment) in fragments.iter_mut().enumerate() {
                let Reply::Page(page) = pooled.batch().reply(index)? else { return Err(unexpected()) };
                fragment.advance(&page)?;
            }
            Ok((fragments, pooled))
        });
        // The first poll sends the request; whoever takes the pages polls again with a waker of its own.
        let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
        Some(match pages.as_mut().poll(&mut nobody) {
            std::task::Poll::Pending => pages,
            std::task::Poll::Ready(done) => Box::pin(std::future::ready(done)),
        })
    }

    /// The start of a fragment.
    pub(crate) fn fragment(&self, partition: u16) -> Fragment {
        Fragment::new(partition, self.range.as_ref())
    }

    /// Sends a request for the next pages of fragments.
    fn send(&mut self, fragments: Vec<Fragment>) {
        let count = fragments.len();
        if let Some(pages) = self.request(fragments) {
            self.under_way += count;
            self.pending.push_back(pages);
        }
    }

    /// The next pages, after the requests for those behind them were sent; `None` at the end of the table.
    async fn next(&mut self) -> Result<Option<PooledBatch>> {
        let free = self.fragments.saturating_sub(self.under_way);
        let new: Vec<Fragment> = self
            .partitions
            .by_ref()
            .take(free)
            .map(|partition| Fragment::new(partition, self.range.as_ref()))
            .collect();
        self.send(new);
        let Some(pages) = self.pending.front_mut() else { return Ok(None) };
        let pages = pages.await;
        self.pending.pop_front();
        let (fragments, pooled) = pages?;
        self.under_way -= fragments.len();
        for fragment in fragments.into_iter().filter(|fragment| !fragment.is_done()) {
            self.send(vec![fragment]);
        }
        Ok(Some(pooled))
    }

    /// No further page is wanted.
    fn end(&mut self) {
        self.pending.clear();
        self.under_way = 0;
        self.partitions = 0..0;
    }
}

/// Rows of a table, page by page. At most as many pages as fragments are read at once are held, so a slow reader holds
/// back the nodes and not the memory.
///
/// ```no_run
/// # async fn example(client: duet_client::Client, table: duet_client::Table) -> Result<(), duet_client::Error> {
/// use duet_client::col;
/// let mut scan = client
///     .scan(&table)
///     .filter(col("distance").gt(1000).and(col("carrier").eq("UA")))
///     .select(["carrier", "distance"])
///     .limit(100);
/// while let Some(row) = scan.next().await? {
///     println!("{} {}", row.get::<String>("carrier")?, row.get::<i64>("distance")?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Filter and result columns are evaluated where the rows are. No order is promised. Every row that is there, and passes,
/// during the whole scan comes exactly once; one that is written meanwhile may come or not, as it was or as it is.
/// A wrong column, or a constant that a column cannot be compared with, is the error of the first call that reads.
pub struct Scan {
    pub(crate) pages: Pages,
    filter: Option<Condition>,
    columns: Vec<String>,
    /// Rows still wanted.
    pub(crate) left: u64,
    /// The table that the result's rows are of, once the first page was asked for.
    result: Option<Table>,
    rows: VecDeque<Row>,
}

impl Scan {
    pub(crate) fn new(shared: Arc<Shared>, handle: Arc<Handle>, table: &Table) -> Scan {
        Scan {
            pages: Pages::new(shared, handle, table),
            filter: None,
            columns: Vec::new(),
            left: u64::MAX,
            result: None,
            rows: VecDeque::new(),
        }
    }

    /// Only rows that meet this condition, and those of filters before; see [`col`](crate::col).
    #[must_use]
    pub fn filter(mut self, condition: Condition) -> Scan {
        self.filter = both(self.filter.take(), condition);
        self
    }

    /// Only these columns, in this order. Rows have no others then.
    #[must_use]
    pub fn select<N: Into<String>>(mut self, columns: impl IntoIterator<Item = N>) -> Scan {
        self.columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// At most so many rows; which ones is not promised.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> Scan {
        self.left = rows;
        self
    }

    /// Aggregates of the rows that pass, instead of the rows. What was selected or limited means nothing then.
    #[must_use]
    pub fn aggregate(self, aggregates: impl IntoIterator<Item = Aggregate>) -> AggregateScan {
        let aggregates = aggregates.into_iter().collect();
        let query = AggregateQuery { filter: self.filter, aggregates, ..AggregateQuery::default() };
        AggregateScan { pages: self.pages, query }
    }

    /// How many fragments are read at the same time, 1 to 64.
    #[must_use]
    pub fn fragments(mut self, fragments: usize) -> Scan {
        self.pages.fragments = fragments.clamp(1, 64);
        self
    }

    /// Most rows of a page.
    #[must_use]
    pub fn page_rows(mut self, rows: u32) -> Scan {
        self.pages.page_rows = rows.max(1);
        self
    }

    /// The table that the result's rows are of: with selected columns one that has just these.
    ///
    /// # Errors
    /// `InvalidRequest` when the table has no such column; the codes of a filter that does not fit.
    pub fn result(&mut self) -> Result<Table> {
        if let Some(result) = &self.result {
            return Ok(Table::clone(result));
        }
        let query = Query { filter: self.filter.take(), columns: std::mem::take(&mut self.columns) };
        let PreparedQuery { program, result } = query.prepare(&self.pages.table)?;
        self.pages.program = program.into();
        // A page need not hold more rows than are wanted.
        self.pages.page_rows = self.pages.page_rows.min(u32::try_from(self.left).unwrap_or(u32::MAX)).max(1);
        self.result = Some(Table::clone(&result));
        Ok(result)
    }

    /// Hands every row of the next pages to `read`; false at the end of the table. They may be without rows when a filter
    /// lets few pass. Nothing is copied.
    ///
    /// # Errors
    /// When the scan does not fit the table, or a page cannot be read in time; the scan may be tried again from where it
    /// stands only by starting anew.
    pub async fn next_page(&mut self, mut read: impl FnMut(RowVersion, RowView<'_>)) -> Result<bool> {
        let result = self.result()?;
        if self.left == 0 {
            self.pages.end();
        }
        let Some(mut pooled) = self.pages.next().await? else { return Ok(false) };
        let batch = pooled.batch();
        for index in 0..batch.len() {
            let Reply::Page(page) = batch.reply(index)? else { return Err(unexpected()) };
            for row in page.images() {
                if self.left == 0 {
                    return Ok(true);
                }
                self.left -= 1;
                let (version, key, value) = row?;
                read(version, RowView::new(result.layout(), key, value));
            }
        }
        Ok(true)
    }

    /// The next row; `None` at the end of the table.
    ///
    /// # Errors
    /// When the scan does not fit the table, or a page cannot be read in time.
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

    /// All rows that are left. The caller answers for the memory; use [`Scan::limit`] or [`Scan::next`] for large tables.
    ///
    /// # Errors
    /// When the scan does not fit the table, or a page cannot be read in time.
    pub async fn rows(mut self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        while let Some(row) = self.next().await? {
            rows.push(row);
        }
        Ok(rows)
    }
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("table", &self.pages.table.name()).finish_non_exhaustive()
    }
}

/// Aggregates of the rows of a table, by groups. The nodes aggregate page by page and the client adds the pages up, so that
/// nodes keep nothing in between, and memory is needed for the groups of the result alone.
///
/// ```no_run
/// # async fn example(client: duet_client::Client, table: duet_client::Table) -> Result<(), duet_client::Error> {
/// use duet_client::{Decimal, avg, col, count, sum};
/// let carriers = client
///     .scan(&table)
///     .filter(col("distance").gt(1000))
///     .aggregate([count(), sum("distance").named("miles"), avg("departure_delay")])
///     .group_by(["carrier"])
///     .rows()
///     .await?;
/// for carrier in carriers {
///     println!("{:?} {:?} {:?}", carrier.value("carrier"), carrier.value("count(*)"), carrier.value("miles"));
/// }
/// # Ok(())
/// # }
/// ```
pub struct AggregateScan {
    pages: Pages,
    query: AggregateQuery,
}

impl AggregateScan {
    /// One row of the result for each combination of values of these columns; without it there is one for all rows.
    /// NULL is a value of its own.
    #[must_use]
    pub fn group_by<N: Into<String>>(mut self, columns: impl IntoIterator<Item = N>) -> AggregateScan {
        self.query.group_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Most groups of the result, a million unless told otherwise: more end in the error `TooManyGroups`.
    #[must_use]
    pub fn most_groups(mut self, groups: usize) -> AggregateScan {
        self.query.most_groups = groups;
        self
    }

    /// How many fragments are aggregated at the same time, 1 to 64.
    #[must_use]
    pub fn fragments(mut self, fragments: usize) -> AggregateScan {
        self.pages.fragments = fragments.clamp(1, 64);
        self
    }

    /// The rows of the result, in no particular order: the columns of the group, then the aggregates under their names.
    ///
    /// # Errors
    /// `InvalidRequest` when the table has no such column; the codes of what does not fit the columns' types;
    /// `SumOverflow`; `TooManyGroups`; when a page cannot be read in time.
    pub async fn rows(mut self) -> Result<Vec<Row>> {
        let mut prepared = self.query.prepare(&self.pages.table)?;
        self.pages.program = std::mem::take(&mut prepared.program).into();
        while let Some(mut pooled) = self.pages.next().await? {
            let batch = pooled.batch();
            for index in 0..batch.len() {
                let Reply::Page(page) = batch.reply(index)? else { return Err(unexpected()) };
                for row in page.images() {
                    let (_, group, values) = row?;
                    prepared.add(group, values)?;
                }
            }
        }
        let result = Table::clone(&prepared.result);
        Ok(prepared.finish()?.into_iter().map(|values| Row::of_result(&result, values)).collect())
    }
}

impl std::fmt::Debug for AggregateScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AggregateScan").field("table", &self.pages.table.name()).finish_non_exhaustive()
    }
}
