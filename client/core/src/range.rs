//! Ranges of ordered indexes: bounds as values, fragments read page by page, and their rows merged into one order.

use crate::batch::{Batch, ScanRequest};
use crate::scan::{FragmentScan, Page};
use crate::value::ColumnValue;
use crate::{Error, Table};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::RowVersion;
use duet_protocol::key::{IndexLayout, pass_prefix};
use duet_protocol::row::RowView;
use duet_protocol::schema::{IndexKind, IndexState, PRIMARY_KEY_INDEX, PrimaryKeyOrder};
use duet_protocol::value::{AsValue, Value, ValueRef};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Values of the first columns of an index: a single value, or a tuple or list of values in the order of the index.
pub trait Bound {
    /// The values.
    fn values(&self) -> Vec<Value>;
}

impl<V: AsValue> Bound for [V] {
    fn values(&self) -> Vec<Value> {
        self.iter().map(|value| Value::from(value.as_value())).collect()
    }
}

impl<V: AsValue, const N: usize> Bound for [V; N] {
    fn values(&self) -> Vec<Value> {
        self.as_slice().values()
    }
}

impl<V: AsValue> Bound for Vec<V> {
    fn values(&self) -> Vec<Value> {
        self.as_slice().values()
    }
}

impl<B: Bound + ?Sized> Bound for &B {
    fn values(&self) -> Vec<Value> {
        (**self).values()
    }
}

impl Bound for str {
    fn values(&self) -> Vec<Value> {
        vec![self.into()]
    }
}

macro_rules! single_bounds {
    ($($name:ty),* $(,)?) => {$(
        impl Bound for $name {
            fn values(&self) -> Vec<Value> {
                vec![Value::from(self.to_value())]
            }
        }
    )*};
}

single_bounds!(
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
    f32,
    f64,
    bool,
    String,
    crate::value::Date,
    crate::value::Time,
    crate::value::DateTime,
    crate::value::Timestamp,
    crate::value::Decimal,
    Value
);

macro_rules! tuple_bounds {
    ($($name:ident . $index:tt),+) => {
        impl<$($name: ColumnValue),+> Bound for ($($name,)+) {
            fn values(&self) -> Vec<Value> {
                vec![$(Value::from(self.$index.to_value())),+]
            }
        }
    };
}

tuple_bounds!(A.0);
tuple_bounds!(A.0, B.1);
tuple_bounds!(A.0, B.1, C.2);
tuple_bounds!(A.0, B.1, C.2, D.3);
tuple_bounds!(A.0, B.1, C.2, D.3, E.4);
tuple_bounds!(A.0, B.1, C.2, D.3, E.4, F.5);

/// One end of a range.
#[derive(Clone, Debug, PartialEq)]
struct End {
    values: Vec<Value>,
    inclusive: bool,
}

/// A range of an ordered index, by names and values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeQuery {
    /// Name of a secondary index; `None` for the primary key.
    pub index: Option<String>,
    /// Descending.
    pub reverse: bool,
    from: Option<End>,
    to: Option<End>,
    /// An end was given twice.
    twice: bool,
}

impl RangeQuery {
    /// Only rows whose first index columns are not less than these values, or greater where it is not `inclusive`.
    pub fn set_from(&mut self, bound: &(impl Bound + ?Sized), inclusive: bool) {
        self.twice |= self.from.replace(End { values: bound.values(), inclusive }).is_some();
    }

    /// Only rows whose first index columns are not greater than these values, or less where it is not `inclusive`.
    pub fn set_to(&mut self, bound: &(impl Bound + ?Sized), inclusive: bool) {
        self.twice |= self.to.replace(End { values: bound.values(), inclusive }).is_some();
    }

    /// Checks the range against a table. Where rows whose columns are equal to the values at both ends can only be in one
    /// partition, only that one is read.
    ///
    /// # Errors
    /// `IndexNotFound` when there is no such index, or the primary key has no order; `IndexNotReady` while it is being built;
    /// `InvalidRequest` when an end was given twice; the code of a value that does not fit its column, or of too many.
    pub fn prepare(&self, table: &Table) -> Result<PreparedRange, Error> {
        if self.twice {
            let detail = "the beginning or the end of the range is given twice";
            return Err(Error::new(ErrorCode::InvalidRequest, detail));
        }
        let (id, index) = self.resolve(table)?;
        let bound = |end: &End| -> Result<Vec<u8>, Error> {
            let mut bytes = Vec::new();
            index.append_bound(&end.values, &mut bytes)?;
            Ok(bytes)
        };
        let (mut from, mut to, mut is_empty) = (Vec::new(), Vec::new(), false);
        if let Some(end) = &self.from {
            from = bound(end)?;
            is_empty = !end.inclusive && !pass_prefix(&mut from);
        }
        if let Some(end) = &self.to {
            to = bound(end)?;
            if end.inclusive {
                // No bound at all where nothing is greater.
                let _ = pass_prefix(&mut to);
            } else {
                is_empty |= to.is_empty();
            }
        }
        is_empty |= !to.is_empty() && from >= to;
        let partition = self.partition(table, &index)?;
        Ok(PreparedRange {
            id,
            index,
            from,
            to,
            is_empty,
            partition,
            reverse: self.reverse,
            with_keys: false,
        })
    }

    fn resolve(&self, table: &Table) -> Result<(u32, IndexLayout), Error> {
        let definition = table.definition();
        let Some(name) = &self.index else {
            if definition.primary_key_order == PrimaryKeyOrder::HashOnly {
                let detail = format!("the primary key of table '{}' has no order", definition.name);
                return Err(Error::new(ErrorCode::IndexNotFound, &detail));
            }
            return Ok((PRIMARY_KEY_INDEX, IndexLayout::primary(table.layout())));
        };
        let missing = |what: &str| {
            let detail = format!("table '{}': index '{name}' {what}", definition.name);
            Error::new(ErrorCode::IndexNotFound, &detail)
        };
        let Some(position) = definition.index_position(name) else { return Err(missing("does not exist")) };
        let defined = &definition.indexes[position];
        match (defined.kind, table.indexes().get(position).map(|index| (index.id, index.state))) {
            (IndexKind::Unique, _) => Err(missing("is unique and has no order")),
            (IndexKind::Ordered, Some((id, IndexState::Public))) => {
                let layout = IndexLayout::secondary(table.layout(), &defined.columns);
                layout.map(|layout| (id, layout)).ok_or_else(|| missing("has a column without an order"))
            }
            (IndexKind::Ordered, Some((_, IndexState::WriteOnly))) => {
                let detail = format!("table '{}': index '{name}'", definition.name);
                Err(Error::new(ErrorCode::IndexNotReady, &detail))
            }
            (IndexKind::Ordered, Some((_, IndexState::Announced | IndexState::Dropping)) | None) => {
                Err(missing("is being dropped"))
            }
        }
    }

    /// The only partition where rows of the range can be.
    fn partition(&self, table: &Table, index: &IndexLayout) -> Result<Option<u16>, Error> {
        let (Some(from), Some(to)) = (&self.from, &self.to) else { return Ok(None) };
        let pairs = index.columns().zip(from.values.iter().zip(&to.values));
        let equal: Vec<(u16, &Value)> = pairs
            .take_while(|(_, (from, to))| from == to && !matches!(from, Value::Null))
            .map(|(column, (value, _))| (column, value))
            .collect();
        let value_of = |column: u16| {
            let found = equal.iter().find(|(equal, _)| *equal == column);
            found.map(|(_, value)| ValueRef::from(*value))
        };
        Ok(table.layout().partition_hash_of(value_of)?.and_then(|hash| table.partition_of(hash)))
    }
}

/// A [`RangeQuery`] for one table.
#[derive(Clone, Debug)]
pub struct PreparedRange {
    id: u32,
    index: IndexLayout,
    from: Vec<u8>,
    to: Vec<u8>,
    is_empty: bool,
    partition: Option<u16>,
    reverse: bool,
    /// Rows with result columns shall come with their index keys, so that they can be merged.
    pub with_keys: bool,
}

impl PreparedRange {
    /// The partitions that have rows of the range.
    pub fn partitions(&self, table: &Table) -> Range<u16> {
        match self.partition {
            _ if self.is_empty => 0..0,
            Some(partition) => partition..partition + 1,
            None => 0..table.partitions(),
        }
    }

    /// Whether a row with this index key comes before one with the other.
    pub fn is_before(&self, key: &[u8], other: &[u8]) -> bool {
        if self.reverse { key > other } else { key < other }
    }
}

/// The next rows of a range of a fragment to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeRequest<'a> {
    /// Partition.
    pub partition: u16,
    /// Number of the index.
    pub index: u32,
    /// Descending.
    pub reverse: bool,
    /// Rows with result columns shall come with their index keys.
    pub with_keys: bool,
    /// Rows whose index keys are not less than this.
    pub from: &'a [u8],
    /// Rows whose index keys are less than this; empty for no bound.
    pub to: &'a [u8],
    /// Most rows wanted.
    pub max_rows: u32,
    /// Most bytes wanted; at least one row comes.
    pub max_bytes: u32,
}

/// Where the scan of a range of one fragment stands. It survives lost links and changes of the map: it is only what is left
/// of the range.
#[derive(Clone, Debug)]
pub struct FragmentRange {
    range: Arc<PreparedRange>,
    partition: u16,
    from: Vec<u8>,
    to: Vec<u8>,
    done: bool,
}

impl FragmentRange {
    /// The whole range in a fragment.
    pub fn new(range: &Arc<PreparedRange>, partition: u16) -> FragmentRange {
        let (from, to) = (range.from.clone(), range.to.clone());
        FragmentRange { range: Arc::clone(range), partition, from, to, done: range.is_empty }
    }

    /// The next page to ask for; `None` when the range is read.
    pub fn next_request(&self, max_rows: u32, max_bytes: u32) -> Option<RangeRequest<'_>> {
        let PreparedRange { id, reverse, with_keys, .. } = *self.range;
        (!self.done).then_some(RangeRequest {
            partition: self.partition,
            index: id,
            reverse,
            with_keys,
            from: &self.from,
            to: &self.to,
            max_rows,
            max_bytes,
        })
    }

    /// Goes on behind a page.
    ///
    /// # Errors
    /// `DamagedFrame` when the page does not move the scan forward.
    pub fn advance(&mut self, page: &Page<'_>) -> Result<(), Error> {
        self.done = page.done;
        if page.done {
            return Ok(());
        }
        let last = page.last_key;
        if last.is_empty() || last < &self.from[..] || (!self.to.is_empty() && last >= &self.to[..]) {
            return Err(Error::new(ErrorCode::DamagedFrame, "the scan does not move forward"));
        }
        let end = if self.range.reverse { &mut self.to } else { &mut self.from };
        end.clear();
        end.extend_from_slice(last);
        if !self.range.reverse {
            // The smallest key behind it: no key begins with another one.
            end.push(0);
        }
        Ok(())
    }
}

/// Where the scan of one fragment stands, of all its rows or of a range.
#[derive(Clone, Debug)]
pub enum Fragment {
    /// All rows.
    Whole(FragmentScan),
    /// A range.
    Range(FragmentRange),
}

impl Fragment {
    /// The start of a fragment.
    pub fn new(partition: u16, range: Option<&Arc<PreparedRange>>) -> Fragment {
        match range {
            None => Fragment::Whole(FragmentScan::new(partition)),
            Some(range) => Fragment::Range(FragmentRange::new(range, partition)),
        }
    }

    /// Whether all of it is read.
    pub fn is_done(&self) -> bool {
        match self {
            Fragment::Whole(scan) => scan.next_request(1, 1).is_none(),
            Fragment::Range(range) => range.done,
        }
    }

    /// Adds the request for the next page to a batch; nothing when all is read.
    ///
    /// # Errors
    /// As [`Batch::scan_program`].
    pub fn add_to(
        &self,
        batch: &mut Batch,
        table: &Arc<Table>,
        program: &[u8],
        max_rows: u32,
        max_bytes: u32,
    ) -> Result<(), Error> {
        match self {
            Fragment::Whole(scan) => {
                let request: Option<ScanRequest> = scan.next_request(max_rows, max_bytes);
                request.map(|request| batch.scan_program(table, request, program)).transpose()?;
            }
            Fragment::Range(range) => {
                let request = range.next_request(max_rows, max_bytes);
                request.map(|request| batch.scan_range(table, &request, program)).transpose()?;
            }
        }
        Ok(())
    }

    /// Goes on behind a page.
    ///
    /// # Errors
    /// `DamagedFrame` when the page does not move the scan forward.
    pub fn advance(&mut self, page: &Page<'_>) -> Result<(), Error> {
        match self {
            Fragment::Whole(scan) => scan.advance(page),
            Fragment::Range(range) => range.advance(page),
        }
    }
}

/// A row of a [`KeyedPage`], by places in its bytes.
#[derive(Clone, Debug)]
struct KeyedRow {
    version: RowVersion,
    order: Range<usize>,
    key: Range<usize>,
    value: Range<usize>,
}

/// The rows of a page with their index keys: what a merge takes the next row from.
#[derive(Clone, Debug, Default)]
pub struct KeyedPage {
    bytes: Vec<u8>,
    rows: VecDeque<KeyedRow>,
}

impl KeyedPage {
    /// Takes the rows of a page, in place of what is left. They are whole, or have result columns and come with index keys.
    ///
    /// # Errors
    /// `DamagedFrame` when the page ends within a row.
    pub fn fill(&mut self, range: &PreparedRange, page: &Page<'_>, whole: bool) -> Result<(), Error> {
        self.bytes.clear();
        self.rows.clear();
        let bytes = &mut self.bytes;
        for image in page.images() {
            let (version, key, value) = image?;
            let start = bytes.len();
            match whole {
                true => range.index.append_key(&RowView::new(page.table.layout(), key, value), bytes),
                false => bytes.extend_from_slice(key),
            }
            let order = start..bytes.len();
            // Rows with result columns have no key.
            bytes.extend_from_slice(if whole { key } else { &[] });
            let key = order.end..bytes.len();
            bytes.extend_from_slice(value);
            self.rows.push_back(KeyedRow { version, order, value: key.end..bytes.len(), key });
        }
        Ok(())
    }

    /// Number of rows left.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row is left.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The index key of the next row.
    pub fn first(&self) -> Option<&[u8]> {
        self.rows.front().map(|row| &self.bytes[row.order.clone()])
    }

    /// Takes the next row: a row of `result`.
    pub fn take<'a>(&'a mut self, result: &'a Table) -> Option<(RowVersion, RowView<'a>)> {
        let row = self.rows.pop_front()?;
        let view = RowView::new(result.layout(), &self.bytes[row.key], &self.bytes[row.value]);
        Some((row.version, view))
    }
}
