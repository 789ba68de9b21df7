//! Reading all rows of a table: fragment by fragment, page by page, each page asked for.

use crate::batch::ScanRequest;
use crate::{Error, Table};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::RowVersion;
use duet_protocol::row::RowView;
use duet_protocol::signal::scan_reply::split_row;

/// Rows of one fragment.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    pub(crate) table: &'a Table,
    pub(crate) next_cursor: u64,
    pub(crate) row_count: u32,
    pub(crate) done: bool,
    pub(crate) rows: &'a [u8],
    /// Of a range that is not complete: the index key up to which it has come.
    pub(crate) last_key: &'a [u8],
}

impl<'a> Page<'a> {
    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.row_count as usize
    }

    /// Whether the fragment has no further row.
    pub fn is_last(&self) -> bool {
        self.done
    }

    /// The rows of a scan without program.
    pub fn rows(&self) -> ScanRows<'a> {
        ScanRows { table: self.table, images: self.images() }
    }

    /// The rows as they came; what they are images of depends on the program, see [`duet_protocol::scan_program`].
    pub fn images(&self) -> ScanImages<'a> {
        ScanImages { rest: self.rows, left: self.row_count }
    }
}

/// Iterator over the rows of a page as they came: version, key image and value image.
#[derive(Clone, Debug)]
pub struct ScanImages<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Iterator for ScanImages<'a> {
    type Item = Result<(RowVersion, &'a [u8], &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let Some(row) = split_row(&mut self.rest) else {
            self.left = 0;
            return Some(Err(Error::new(ErrorCode::DamagedFrame, "a page of a scan ends within a row")));
        };
        Some(Ok((row.version, row.key, row.value)))
    }
}

/// Iterator over the rows of a page.
#[derive(Clone, Debug)]
pub struct ScanRows<'a> {
    table: &'a Table,
    images: ScanImages<'a>,
}

impl<'a> Iterator for ScanRows<'a> {
    type Item = Result<(RowVersion, RowView<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.images.next()?;
        Some(row.map(|(version, key, value)| (version, RowView::new(self.table.layout(), key, value))))
    }
}

/// Where the scan of one fragment stands. It survives lost links and changes of the map: it is only a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentScan {
    partition: u16,
    cursor: u64,
    done: bool,
}

impl FragmentScan {
    /// The start of a fragment.
    pub fn new(partition: u16) -> FragmentScan {
        FragmentScan { partition, cursor: 0, done: false }
    }

    /// The next page to ask for; `None` when the fragment is read.
    pub fn next_request(&self, max_rows: u32, max_bytes: u32) -> Option<ScanRequest> {
        let FragmentScan { partition, cursor, done } = *self;
        (!done).then_some(ScanRequest { partition, cursor, max_rows, max_bytes })
    }

    /// Goes on behind a page.
    ///
    /// # Errors
    /// `DamagedFrame` when the page does not move the scan forward.
    pub fn advance(&mut self, page: &Page<'_>) -> Result<(), Error> {
        if !page.done && page.next_cursor == self.cursor {
            return Err(Error::new(ErrorCode::DamagedFrame, "the scan does not move forward"));
        }
        self.cursor = page.next_cursor;
        self.done = page.done;
        Ok(())
    }
}
