//! Rows that are collected to be sorted: their cells side by side, their text in one piece, so that no row is an allocation of its own.

use crate::error::Result;
use crate::memory::{Held, content_bytes};
use crate::value::compare::{first_difference, sort_order};
use duet_client::{RowView, Value, ValueRef};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Most bytes of text of all rows: the places of cells are numbers of 32 bits.
const MAX_TEXT_BYTES: usize = u32::MAX as usize;

/// A value; text and bytes lie in the buffers of all rows.
#[derive(Clone, Debug)]
enum Cell {
    Text { start: u32, end: u32 },
    Json { start: u32, end: u32 },
    Bytes { start: u32, end: u32 },
    Other(Value),
}

/// Some columns of rows, in an order that can be changed.
#[derive(Debug)]
pub struct Packed {
    /// Where the columns lie in the rows as they come.
    places: Vec<usize>,
    cells: Vec<Cell>,
    text: String,
    bytes: Vec<u8>,
    /// Numbers of the rows as they are to be given out.
    order: Vec<u32>,
    /// How many of them were given out.
    given: usize,
}

impl Packed {
    /// No rows yet; of each the columns at these places will be kept.
    pub fn new(places: Vec<usize>) -> Packed {
        Packed {
            places,
            cells: Vec::new(),
            text: String::new(),
            bytes: Vec::new(),
            order: Vec::new(),
            given: 0,
        }
    }

    /// Keeps a row.
    ///
    /// # Errors
    /// 1038 when there is too much; when the row is malformed.
    pub fn add(&mut self, view: &RowView<'_>, held: &mut Held) -> Result<()> {
        let (before, mut content) = (self.room(), 0);
        for place in &self.places {
            let value = view.column(*place).map_err(duet_client::Error::from)?;
            let cell = match value {
                ValueRef::Text(text) => {
                    let (start, end) = put_text(&mut self.text, &text);
                    Cell::Text { start, end }
                }
                ValueRef::Json(text) => {
                    let (start, end) = put_text(&mut self.text, text);
                    Cell::Json { start, end }
                }
                ValueRef::Bytes(bytes) => {
                    let start = self.bytes.len() as u32;
                    self.bytes.extend_from_slice(&bytes);
                    Cell::Bytes { start, end: self.bytes.len() as u32 }
                }
                other => {
                    let value = Value::from(other);
                    content += content_bytes(&value);
                    Cell::Other(value)
                }
            };
            self.cells.push(cell);
        }
        self.order.push(self.order.len() as u32);
        held.grow(self.room() - before + content)?;
        if self.text.len().max(self.bytes.len()) > MAX_TEXT_BYTES {
            return held.grow(usize::MAX);
        }
        Ok(())
    }

    /// Bytes of the buffers, used or not, and of what sorting them needs.
    fn room(&self) -> usize {
        self.text.capacity()
            + self.bytes.capacity()
            + self.cells.capacity() * size_of::<Cell>()
            + self.order.capacity() * (size_of::<u32>() + 2 * size_of::<(u64, u32)>())
    }

    fn cell(&self, row: u32, column: usize) -> &Cell {
        &self.cells[row as usize * self.places.len() + column]
    }

    fn text(&self, start: u32, end: u32) -> &str {
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    fn value(&self, row: u32, column: usize) -> ValueRef<'_> {
        match self.cell(row, column) {
            Cell::Text { start, end } => ValueRef::Text(Cow::Borrowed(self.text(*start, *end))),
            Cell::Json { start, end } => ValueRef::Json(self.text(*start, *end)),
            Cell::Bytes { start, end } => {
                ValueRef::Bytes(Cow::Borrowed(&self.bytes[*start as usize..*end as usize]))
            }
            Cell::Other(value) => value.into(),
        }
    }

    /// The beginning of a cell as a number: where two differ, the cells compare as they do.
    fn prefix(&self, row: u32, column: usize) -> u64 {
        let bytes = match self.cell(row, column) {
            Cell::Text { start, end } | Cell::Json { start, end } => self.text(*start, *end).as_bytes(),
            Cell::Bytes { start, end } => &self.bytes[*start as usize..*end as usize],
            Cell::Other(Value::Int(number)) => return number.cast_unsigned() ^ (1 << 63),
            Cell::Other(Value::UInt(number)) => return *number,
            // Of NULL, too, which is below the rest.
            Cell::Other(_) => return 0,
        };
        let length = bytes.len().min(8);
        let number = bytes[..length].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        // Of an empty one there is nothing to shift.
        number << (8 * (8 - length)).min(63)
    }

    fn compare(&self, one: u32, other: u32, column: usize) -> Ordering {
        match (self.cell(one, column), self.cell(other, column)) {
            (Cell::Text { start, end }, Cell::Text { start: from, end: to })
            | (Cell::Json { start, end }, Cell::Json { start: from, end: to }) => {
                self.text(*start, *end).cmp(self.text(*from, *to))
            }
            (Cell::Bytes { start, end }, Cell::Bytes { start: from, end: to }) => {
                self.bytes[*start as usize..*end as usize].cmp(&self.bytes[*from as usize..*to as usize])
            }
            (Cell::Other(one), Cell::Other(other)) => sort_order(one, other),
            // NULL, which comes first.
            (Cell::Other(_), _) => Ordering::Less,
            (_, Cell::Other(_)) => Ordering::Greater,
            // A column has one type.
            _ => Ordering::Equal,
        }
    }

    /// Puts the rows into the order of these columns, each downwards or not; those that are equal stay as they came. With `distinct` one of
    /// those that are equal in all of these columns is left.
    pub fn sort(&mut self, by: &[(usize, bool)], distinct: bool) {
        let Some(((column, down), others)) = by.split_first() else { return };
        let compare = |by: &[(usize, bool)], one: u32, other: u32| {
            first_difference(by.iter().map(|(column, down)| (self.compare(one, other, *column), *down)))
        };
        let mut rows: Vec<(u64, u32)> = Vec::with_capacity(self.order.len());
        rows.extend(self.order.iter().map(|row| (self.prefix(*row, *column), *row)));
        rows.sort_by(|(prefix, one), (other_prefix, other)| {
            let first = prefix.cmp(other_prefix).then_with(|| self.compare(*one, *other, *column));
            let first = if *down { first.reverse() } else { first };
            first.then_with(|| compare(others, *one, *other))
        });
        let mut order: Vec<u32> = rows.into_iter().map(|(_, row)| row).collect();
        if distinct {
            order.dedup_by(|next, kept| compare(by, *next, *kept).is_eq());
        }
        self.order = order;
    }

    /// Leaves the first rows out.
    pub fn skip(&mut self, rows: u64) {
        self.given = usize::try_from(rows).unwrap_or(usize::MAX).min(self.order.len());
    }

    /// The number of the next row that is given out; `None` at the end.
    pub fn take(&mut self) -> Option<u32> {
        let number = self.order.get(self.given).copied();
        self.given += usize::from(number.is_some());
        number
    }

    /// The first columns of a row.
    pub fn read<'a>(&'a self, number: u32, row: &mut [ValueRef<'a>]) {
        for (column, value) in row.iter_mut().enumerate() {
            *value = self.value(number, column);
        }
    }
}

fn put_text(all: &mut String, text: &str) -> (u32, u32) {
    let start = all.len() as u32;
    all.push_str(text);
    (start, all.len() as u32)
}
