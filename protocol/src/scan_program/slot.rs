//! Columns of a row as programs read them: found once per request, read without allocation.

use crate::key::{component_content, fixed_component_cell};
use crate::layout::{Place, TableLayout};
use crate::row::encode::is_null;
use crate::row::{Cell, Form, RowView};
use std::sync::Arc;

/// The value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Slot<'a> {
    Null,
    Signed(i64),
    Unsigned(u64),
    Float(f32),
    Double(f64),
    Decimal(i128),
    Bytes(&'a [u8]),
    /// Bytes as they lie in a key: each zero byte is followed by one that does not belong to them.
    Escaped(&'a [u8]),
}

impl<'a> Slot<'a> {
    fn of_cell(cell: Cell<'a>) -> Slot<'a> {
        match cell {
            Cell::Signed(number) => Slot::Signed(number),
            Cell::Unsigned(number) => Slot::Unsigned(number),
            Cell::Float(number) => Slot::Float(number),
            Cell::Double(number) => Slot::Double(number),
            Cell::Decimal(number) => Slot::Decimal(number),
            Cell::Bytes(bytes) => Slot::Bytes(bytes),
            Cell::Floats(_) => Slot::Null,
        }
    }

    /// Reads the bytes of a value image. NULL when their number does not fit the form, which validated rows exclude.
    #[inline(always)]
    pub(super) fn read(form: Form, bytes: &'a [u8]) -> Slot<'a> {
        // The common widths without a loop over bytes.
        match (form, bytes) {
            (Form::Signed { bytes: 4 }, &[a, b, c, d]) => {
                Slot::Signed(i64::from(i32::from_le_bytes([a, b, c, d])))
            }
            (Form::Signed { bytes: 8 }, &[a, b, c, d, e, f, g, h]) => {
                Slot::Signed(i64::from_le_bytes([a, b, c, d, e, f, g, h]))
            }
            (Form::Unsigned { bytes: 4 }, &[a, b, c, d]) => {
                Slot::Unsigned(u64::from(u32::from_le_bytes([a, b, c, d])))
            }
            (Form::Unsigned { bytes: 8 }, &[a, b, c, d, e, f, g, h]) => {
                Slot::Unsigned(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
            }
            (Form::Decimal { bytes: 8 }, &[a, b, c, d, e, f, g, h]) => {
                Slot::Decimal(i128::from(i64::from_le_bytes([a, b, c, d, e, f, g, h])))
            }
            (Form::Double, &[a, b, c, d, e, f, g, h]) => {
                Slot::Double(f64::from_le_bytes([a, b, c, d, e, f, g, h]))
            }
            (Form::Text | Form::Bytes | Form::Vector | Form::Binary { .. }, bytes) => Slot::Bytes(bytes),
            _ => Cell::read(form, bytes).map_or(Slot::Null, Slot::of_cell),
        }
    }

    /// Whether there is no value; cheaper than a comparison with `Null`.
    #[inline(always)]
    pub(super) fn is_null(self) -> bool {
        matches!(self, Slot::Null)
    }

    /// Bytes that the value refers to.
    pub(super) fn variable_bytes(self) -> usize {
        match self {
            Slot::Bytes(bytes) | Slot::Escaped(bytes) => bytes.len(),
            Slot::Null
            | Slot::Signed(_)
            | Slot::Unsigned(_)
            | Slot::Float(_)
            | Slot::Double(_)
            | Slot::Decimal(_) => 0,
        }
    }

    /// The one of several equal values that stands for them all: 0 for -0, one NaN for all.
    pub(super) fn canonical(self) -> Slot<'a> {
        match self {
            Slot::Float(number) => Slot::Float(if number.is_nan() { f32::NAN } else { number + 0.0 }),
            Slot::Double(number) => Slot::Double(if number.is_nan() { f64::NAN } else { number + 0.0 }),
            other => other,
        }
    }
}

/// The bytes of a value as they lie in a key, without the bytes that only escape.
pub(super) fn unescaped(bytes: &[u8]) -> impl Iterator<Item = u8> + Clone {
    let mut behind_zero = false;
    bytes.iter().copied().filter(move |byte| {
        let skipped = behind_zero;
        behind_zero = *byte == 0 && !skipped;
        !skipped
    })
}

#[derive(Clone, Copy, Debug)]
enum Source {
    /// At a known place of the key.
    KeyFixed {
        offset: usize,
        bytes: usize,
    },
    /// Component of the key.
    KeyComponent {
        position: usize,
    },
    /// `offset` counts from the start of the fixed part, which differs between the versions of a table.
    Fixed {
        null_bit: u16,
        offset: u32,
        bytes: u32,
    },
    Variable {
        null_bit: u16,
        part: usize,
    },
}

/// Where a column lies and how it is read.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(super) form: Form,
    source: Source,
    column: usize,
    /// The value in rows of versions that lack the column, as it would lie there; `None` for NULL.
    default: Option<Arc<[u8]>>,
}

impl Reader {
    /// The reader of a column, which must exist.
    pub(crate) fn new(layout: &TableLayout, column: u16) -> Option<Reader> {
        let layout_of = layout.columns.get(usize::from(column))?;
        let form = layout_of.codec.form;
        let source = match layout_of.place {
            Place::Fixed { null_bit, offset, bytes } => {
                Source::Fixed { null_bit, offset: offset - layout.fixed_start() as u32, bytes }
            }
            Place::Variable { null_bit, part } => Source::Variable { null_bit, part: usize::from(part) },
            Place::Key { position } => {
                let position = usize::from(position);
                let before = layout.key.get(..position)?;
                let widths = before.iter().map(|component| layout.key_codec(*component).form.fixed_bytes());
                match (widths.sum::<Option<usize>>(), form.fixed_bytes()) {
                    (Some(offset), Some(bytes)) => Source::KeyFixed { offset, bytes },
                    _ => Source::KeyComponent { position },
                }
            }
        };
        Some(Reader { form, source, column: usize::from(column), default: layout_of.default.clone() })
    }

    /// The value of the column in a row, of whichever version of the table.
    #[inline(always)]
    pub(crate) fn read<'a>(&'a self, row: &RowView<'a>) -> Slot<'a> {
        let (layout, key, value) = (row.layout(), row.key(), row.value());
        if self.column >= layout.columns.len() {
            return self.default.as_deref().map_or(Slot::Null, |bytes| Slot::read(self.form, bytes));
        }
        match self.source {
            Source::Fixed { null_bit, offset, bytes } => {
                if is_null(value, null_bit) {
                    return Slot::Null;
                }
                Slot::read(self.form, layout.fixed_slot(value, layout.fixed_start() as u32 + offset, bytes))
            }
            Source::Variable { null_bit, part } => {
                if is_null(value, null_bit) {
                    return Slot::Null;
                }
                layout.variable_part(value, part).map_or(Slot::Null, Slot::Bytes)
            }
            Source::KeyFixed { offset, bytes } => match key.get(offset..offset + bytes) {
                Some(component) => Slot::of_cell(fixed_component_cell(self.form, component)),
                None => Slot::Null,
            },
            Source::KeyComponent { position } => {
                let Some(component) = layout.key_component(key, position) else { return Slot::Null };
                if self.form.fixed_bytes().is_some() {
                    return Slot::of_cell(fixed_component_cell(self.form, component));
                }
                let content = component_content(component);
                if content.contains(&0) { Slot::Escaped(content) } else { Slot::Bytes(content) }
            }
        }
    }
}
