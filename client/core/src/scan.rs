//! Reading all rows of a table: fragment by fragment, page by page, each page asked for.

use crate::batch::{Batch, Expectation, FLAG_RESULT, Kind, Operation, ScanRequest};
use crate::range::RangeRequest;
use crate::{Error, Table};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::RowVersion;
use duet_protocol::row::RowView;
use duet_protocol::signal::scan::{FLAG_RANGE, FLAG_REVERSE, FLAG_WITH_KEYS};
use duet_protocol::signal::scan_reply::split_row;
use std::sync::Arc;

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

impl Batch {
    /// Asks for rows of one fragment.
    ///
    /// # Errors
    /// When the partition does not exist, or the batch is full; then nothing is added.
    pub fn scan(&mut self, table: &Arc<Table>, request: ScanRequest) -> Result<usize, Error> {
        self.scan_program(table, request, &[])
    }

    /// Asks for what a program makes of rows of one fragment; see [`duet_protocol::scan_program`]. The data node checks
    /// the program.
    ///
    /// # Errors
    /// When the partition does not exist, or the batch is full; then nothing is added.
    pub fn scan_program(
        &mut self,
        table: &Arc<Table>,
        request: ScanRequest,
        program: &[u8],
    ) -> Result<usize, Error> {
        if request.partition >= table.partitions() {
            let detail = format!("partition {} does not exist", request.partition);
            return Err(Error::new(ErrorCode::InvalidRequest, &detail));
        }
        let index = self.add(Kind::Scan, table, Expectation::Any, |_, bytes| {
            bytes.extend_from_slice(program);
            Ok(0)
        })?;
        let operation = &mut self.operations[index];
        operation.hash = u64::from(request.partition);
        let wanted = u64::from(request.max_rows) << 32 | u64::from(request.max_bytes);
        operation.expected = RowVersion { epoch: request.cursor, seq: wanted };
        Ok(index)
    }

    /// Asks for what a program makes of the rows of a range of one fragment.
    ///
    /// # Errors
    /// As [`Batch::scan_program`], and `InvalidRequest` when a bound is longer than any key.
    pub fn scan_range(
        &mut self,
        table: &Arc<Table>,
        request: &RangeRequest<'_>,
        program: &[u8],
    ) -> Result<usize, Error> {
        let RangeRequest { partition, index, reverse, with_keys, from, to, max_rows, max_bytes } = *request;
        let (Ok(from_bytes), Ok(to_bytes)) = (u16::try_from(from.len()), u16::try_from(to.len())) else {
            return Err(Error::new(ErrorCode::InvalidRequest, "a bound of the range is too long"));
        };
        let bounds = [program, from, to].concat();
        let number =
            self.scan_program(table, ScanRequest { partition, cursor: 0, max_rows, max_bytes }, &bounds)?;
        let flags =
            FLAG_RANGE | if reverse { FLAG_REVERSE } else { 0 } | if with_keys { FLAG_WITH_KEYS } else { 0 };
        let operation = &mut self.operations[number];
        operation.kind = Kind::ScanRange;
        operation.hash = u64::from(partition)
            | u64::from(from_bytes) << 16
            | u64::from(to_bytes) << 32
            | u64::from(flags) << 48;
        operation.expected.epoch = u64::from(index);
        Ok(number)
    }

    /// The page that a scan or range has answered.
    pub(crate) fn page<'a>(&'a self, operation: &Operation, reply: &'a [u8]) -> Page<'a> {
        let key_bytes = if operation.kind == Kind::ScanRange { operation.version.epoch as usize } else { 0 };
        let (rows, last_key) = reply.split_at(reply.len() - key_bytes.min(reply.len()));
        Page {
            table: &self.tables[usize::from(operation.table)],
            next_cursor: operation.version.epoch,
            row_count: operation.version.seq as u32,
            done: operation.flags & FLAG_RESULT != 0,
            rows,
            last_key,
        }
    }
}
