//! From values to key and value image.

use super::{Cell, RowError};
use crate::layout::{Place, TableLayout};
use crate::schema::MAX_VALUE_BYTES;
use crate::value::{AsValue, ValueRef};

impl TableLayout {
    /// Appends the key and the value image of a row to `key` and `value`. `values` are those of all
    /// columns in table order. On error both buffers are as before.
    ///
    /// # Errors
    /// When the number of values or a value does not fit the table, or the row is too large.
    pub fn encode_row<V: AsValue>(
        &self,
        values: &[V],
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        if values.len() != self.columns.len() {
            return Err(RowError::WrongValueCount { expected: self.columns.len(), found: values.len() });
        }
        let (key_start, value_start) = (key.len(), value.len());
        let result = self
            .append_key(|position| values[usize::from(self.key[position].column)].as_value(), key)
            .and_then(|()| self.append_value(values, value));
        if result.is_err() {
            key.truncate(key_start);
            value.truncate(value_start);
        }
        result
    }

    fn append_value<V: AsValue>(&self, values: &[V], out: &mut Vec<u8>) -> Result<(), RowError> {
        let start = out.len();
        out.resize(start + self.variable_start, 0);
        for index in &self.fixed {
            let index = usize::from(*index);
            let column = &self.columns[index];
            let Place::Fixed { null_bit, offset, bytes } = column.place else { continue };
            let from = start + offset as usize;
            match column.codec.cell_of(&values[index].as_value())? {
                Some(cell) => cell.overwrite(&mut out[from..from + bytes as usize]),
                None => set_null(&mut out[start..], null_bit),
            }
        }
        let mut ends = start + self.ends_start;
        for index in &self.variable {
            let index = usize::from(*index);
            let column = &self.columns[index];
            let Place::Variable { null_bit, .. } = column.place else { continue };
            let borrowed: ValueRef<'_> = values[index].as_value();
            match column.codec.cell_of(&borrowed)? {
                Some(cell) => self.append_variable(cell, start, column.codec.form, out)?,
                None => set_null(&mut out[start..], null_bit),
            }
            let end = (out.len() - start - self.variable_start) as u32;
            out[ends..ends + self.end_bytes].copy_from_slice(&end.to_le_bytes()[..self.end_bytes]);
            ends += self.end_bytes;
        }
        check_size(out.len() - start)
    }

    /// Appends a variable part, after checking that it is not huge.
    fn append_variable(
        &self,
        cell: Cell<'_>,
        start: usize,
        form: super::Form,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        check_size(out.len() - start + cell.variable_bytes())?;
        cell.append(form, out);
        Ok(())
    }
}

/// Is a value image of this length allowed?
pub(crate) fn check_size(bytes: usize) -> Result<(), RowError> {
    if bytes <= MAX_VALUE_BYTES { Ok(()) } else { Err(RowError::RowTooLarge { bytes }) }
}

/// Sets a null bit of a value image.
pub(crate) fn set_null(image: &mut [u8], null_bit: u16) {
    image[usize::from(null_bit) / 8] |= 1 << (null_bit % 8);
}

/// Clears a null bit of a value image.
pub(crate) fn clear_null(image: &mut [u8], null_bit: u16) {
    image[usize::from(null_bit) / 8] &= !(1 << (null_bit % 8));
}

/// Is the null bit set? Bits beyond the image are not.
pub(crate) fn is_null(image: &[u8], null_bit: u16) -> bool {
    image.get(usize::from(null_bit) / 8).is_some_and(|byte| byte >> (null_bit % 8) & 1 == 1)
}
