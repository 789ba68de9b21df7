//! Reading all rows of a table.

use crate::client::{Handle, unexpected};
use crate::shared::{PooledBatch, Shared};
use crate::{Reply, Result, Row, RowVersion, RowView, Table};
use duet_client_core::FragmentScan;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

/// Fragments read at the same time, each one page ahead, unless told otherwise.
const FRAGMENTS: usize = 4;
/// Rows and bytes of a page, unless told otherwise.
const PAGE_ROWS: u32 = 1_024;
const PAGE_BYTES: u32 = 256 << 10;

/// A page on its way.
type Pending = Pin<Box<dyn Future<Output = Result<(FragmentScan, PooledBatch)>> + Send>>;

/// Rows of a table, page by page. At most as many pages as fragments are read at once are held, so a slow reader holds
/// back the nodes and not the memory.
///
/// ```no_run
/// # async fn example(client: duet_client::Client, table: duet_client::Table) -> Result<(), duet_client::Error> {
/// let mut scan = client.scan(&table);
/// while let Some(row) = scan.next().await? {
///     println!("{:?}", row.values());
/// }
/// # Ok(())
/// # }
/// ```
pub struct Scan {
    shared: Arc<Shared>,
    /// Keeps the client alive while it is scanned.
    _handle: Arc<Handle>,
    table: Table,
    fragments: usize,
    page_rows: u32,
    page_bytes: u32,
    next_partition: u16,
    pending: VecDeque<Pending>,
    rows: VecDeque<Row>,
}

impl Scan {
    pub(crate) fn new(shared: Arc<Shared>, handle: Arc<Handle>, table: &Table) -> Scan {
        Scan {
            shared,
            _handle: handle,
            table: Table::clone(table),
            fragments: FRAGMENTS,
            page_rows: PAGE_ROWS,
            page_bytes: PAGE_BYTES,
            next_partition: 0,
            pending: VecDeque::new(),
            rows: VecDeque::new(),
        }
    }

    /// How many fragments are read at the same time.
    #[must_use]
    pub fn fragments(mut self, fragments: usize) -> Scan {
        self.fragments = fragments.clamp(1, 64);
        self
    }

    /// Most rows of a page.
    #[must_use]
    pub fn page_rows(mut self, rows: u32) -> Scan {
        self.page_rows = rows.max(1);
        self
    }

    /// Asks for the next page of a fragment.
    fn ask(&mut self, fragment: FragmentScan) {
        let Some(request) = fragment.next_request(self.page_rows, self.page_bytes) else { return };
        let mut pooled = self.shared.take();
        let table = Table::clone(&self.table);
        let mut page: Pending = Box::pin(async move {
            pooled.batch().scan(&table, request)?;
            pooled.execute().await?;
            let mut fragment = fragment;
            let Reply::Page(page) = pooled.batch().reply(0)? else { return Err(unexpected()) };
            fragment.advance(&page)?;
            Ok((fragment, pooled))
        });
        // The first poll sends the request; whoever takes the page polls again with a waker of its own.
        let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
        match page.as_mut().poll(&mut nobody) {
            std::task::Poll::Pending => self.pending.push_back(page),
            std::task::Poll::Ready(done) => self.pending.push_back(Box::pin(std::future::ready(done))),
        }
    }

    /// Hands every row of the next page to `read`; false at the end of the table. Nothing is copied.
    ///
    /// # Errors
    /// When a page cannot be read in time; the scan may be tried again from where it stands only by starting anew.
    pub async fn next_page(&mut self, mut read: impl FnMut(RowVersion, RowView<'_>)) -> Result<bool> {
        while self.pending.len() < self.fragments && self.next_partition < self.table.partitions() {
            let partition = self.next_partition;
            self.next_partition += 1;
            self.ask(FragmentScan::new(partition));
        }
        let Some(page) = self.pending.front_mut() else { return Ok(false) };
        let (fragment, mut pooled) = page.await?;
        self.pending.pop_front();
        self.ask(fragment);
        let Reply::Page(page) = pooled.batch().reply(0)? else { return Err(unexpected()) };
        for row in page.rows() {
            let (version, row) = row?;
            read(version, row);
        }
        Ok(true)
    }

    /// The next row; `None` at the end of the table.
    ///
    /// # Errors
    /// When a page cannot be read in time.
    pub async fn next(&mut self) -> Result<Option<Row>> {
        loop {
            if let Some(row) = self.rows.pop_front() {
                return Ok(Some(row));
            }
            let table = Table::clone(&self.table);
            let mut page = Vec::new();
            if !self.next_page(|version, view| page.push(Row::from_view(&table, version, &view))).await? {
                return Ok(None);
            }
            for row in page {
                self.rows.push_back(row?);
            }
        }
    }
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("table", &self.table.name()).finish_non_exhaustive()
    }
}
