//! Writes images of some columns of a row.

use super::ScanError;
use super::compile::reader_of;
use super::encode::codec_of;
use super::group::is_narrow;
use super::slot::{Reader, Slot, unescaped};
use crate::layout::{Place, TableLayout};
use crate::row::encode::set_null;
use crate::row::{Cell, Form, RowView};
use crate::schema::Column;

/// The columns of a result as a table without key would have them.
pub(super) fn columns_of(layout: &TableLayout, columns: &[u16]) -> Result<Vec<Column>, ScanError> {
    let column = |index: &u16| {
        let codec = codec_of(layout, *index)?;
        let column = Column::new(&*codec.name, codec.column_type);
        Ok(if codec.nullable { column.nullable() } else { column })
    };
    columns.iter().map(column).collect()
}

/// Most bytes of a narrow image: one that is a number.
pub(super) const NARROW_BYTES: usize = 16;

/// Writes images of columns.
#[derive(Debug)]
pub(super) struct ImageWriter {
    readers: Vec<Reader>,
    image: TableLayout,
    /// Bit of the first byte of every column, and its null bit, if all images are narrow.
    narrow: Option<Vec<NarrowColumn>>,
}

/// A column of a narrow image.
#[derive(Clone, Debug)]
struct NarrowColumn {
    reader: Reader,
    /// First bit.
    shift: u32,
    null_bit: u16,
    /// Ones where the column is, shifted to the right.
    mask: u128,
}

/// The columns of an image in which all of them have a fixed length and which is a number.
fn narrow_columns(image: &TableLayout, readers: &[Reader]) -> Option<Vec<NarrowColumn>> {
    if !is_narrow(image) {
        return None;
    }
    let column = |(layout, reader): (&crate::layout::ColumnLayout, &Reader)| match layout.place {
        Place::Fixed { null_bit, offset, bytes } => Some(NarrowColumn {
            reader: reader.clone(),
            shift: offset * 8,
            null_bit,
            mask: u128::MAX.checked_shr(128 - bytes * 8).unwrap_or(0),
        }),
        Place::Key { .. } | Place::Variable { .. } => None,
    };
    image.columns.iter().zip(readers).map(column).collect()
}

impl ImageWriter {
    pub(super) fn new(layout: &TableLayout, columns: &[u16]) -> Result<ImageWriter, ScanError> {
        let readers = columns.iter().map(|column| reader_of(layout, *column)).collect::<Result<_, _>>()?;
        let readers: Vec<Reader> = readers;
        let image = TableLayout::without_key(columns_of(layout, columns)?);
        let narrow = narrow_columns(&image, &readers);
        Ok(ImageWriter { readers, image, narrow })
    }

    /// The layout of the images.
    pub(super) fn image(&self) -> &TableLayout {
        &self.image
    }

    /// The image that [`ImageWriter::append_canonical`] would append, as a little-endian number; 0 unless images are narrow.
    #[inline(always)]
    pub(super) fn narrow_canonical(&self, row: &RowView<'_>) -> u128 {
        let mut image = 0;
        for column in self.narrow.as_deref().unwrap_or_default() {
            let bits = match column.reader.read(row).canonical() {
                Slot::Null => {
                    image |= 1 << column.null_bit;
                    continue;
                }
                Slot::Signed(number) => number as u128,
                Slot::Unsigned(number) => u128::from(number),
                Slot::Float(number) => u128::from(number.to_bits()),
                Slot::Double(number) => u128::from(number.to_bits()),
                Slot::Decimal(number) => number as u128,
                Slot::Bytes(bytes) => little_endian(bytes.iter().copied()),
                Slot::Escaped(bytes) => little_endian(unescaped(bytes)),
            };
            image |= (bits & column.mask) << column.shift;
        }
        image
    }

    pub(super) fn len(&self) -> usize {
        self.readers.len()
    }

    /// Appends the image of a row's columns.
    #[inline]
    pub(super) fn append(&self, row: &RowView<'_>, out: &mut Vec<u8>) {
        append_image(&self.image, |index| self.readers[index].read(row), out);
    }

    /// Appends the image of a row's columns, the same for all rows whose columns are equal.
    #[inline]
    pub(super) fn append_canonical(&self, row: &RowView<'_>, out: &mut Vec<u8>) {
        append_image(&self.image, |index| self.readers[index].read(row).canonical(), out);
    }
}

/// Appends the image in which column `index` of a layout without key has the value `slot_at(index)`.
#[inline]
pub(super) fn append_image<'a>(layout: &TableLayout, slot_at: impl Fn(usize) -> Slot<'a>, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + layout.variable_start, 0);
    for index in &layout.fixed {
        let index = usize::from(*index);
        let column = &layout.columns[index];
        let Place::Fixed { null_bit, offset, bytes } = column.place else { continue };
        let from = start + offset as usize;
        match slot_at(index) {
            Slot::Null => set_null(&mut out[start..], null_bit),
            slot => store(slot, column.codec.form, &mut out[from..from + bytes as usize]),
        }
    }
    let mut ends = start + layout.ends_start;
    for index in &layout.variable {
        let index = usize::from(*index);
        let Place::Variable { null_bit, .. } = layout.columns[index].place else { continue };
        match slot_at(index) {
            Slot::Null => set_null(&mut out[start..], null_bit),
            Slot::Bytes(bytes) => out.extend_from_slice(bytes),
            Slot::Escaped(bytes) => out.extend(unescaped(bytes)),
            // No other value is of variable length.
            Slot::Signed(_) | Slot::Unsigned(_) | Slot::Float(_) | Slot::Double(_) | Slot::Decimal(_) => {}
        }
        let end = (out.len() - start - layout.variable_start) as u32;
        out[ends..ends + layout.end_bytes].copy_from_slice(&end.to_le_bytes()[..layout.end_bytes]);
        ends += layout.end_bytes;
    }
}

/// The first bytes as a little-endian number.
fn little_endian(bytes: impl Iterator<Item = u8>) -> u128 {
    bytes.zip(0..NARROW_BYTES).fold(0, |number, (byte, place)| number | u128::from(byte) << (place * 8))
}

#[inline]
fn store(slot: Slot<'_>, form: Form, out: &mut [u8]) {
    let cell = match slot {
        Slot::Null | Slot::Escaped(_) => return,
        Slot::Signed(number) => Cell::Signed(number),
        Slot::Unsigned(number) => Cell::Unsigned(number),
        Slot::Double(number) if form == Form::Float => Cell::Float(number as f32),
        Slot::Double(number) => Cell::Double(number),
        Slot::Float(number) => Cell::Float(number),
        Slot::Decimal(number) => Cell::Decimal(number),
        Slot::Bytes(bytes) => Cell::Bytes(bytes),
    };
    cell.overwrite(out);
}
