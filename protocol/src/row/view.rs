//! Reading a row by column.

use super::encode::is_null;
use super::{Cell, RowError};
use crate::layout::{Place, TableLayout};
use crate::value::{Value, ValueRef};

/// A row as bytes, read column by column. Any bytes may be viewed: what is malformed gives an error
/// when it is read, never a panic.
#[derive(Clone, Copy, Debug)]
pub struct RowView<'a> {
    layout: &'a TableLayout,
    key: &'a [u8],
    value: &'a [u8],
}

impl<'a> RowView<'a> {
    /// Views a key and a value image through the layout of their table. Checks nothing.
    #[must_use]
    pub const fn new(layout: &'a TableLayout, key: &'a [u8], value: &'a [u8]) -> Self {
        Self { layout, key, value }
    }

    /// The layout that the value image follows.
    #[must_use]
    pub const fn layout(&self) -> &'a TableLayout {
        self.layout
    }

    /// The encoded key.
    #[must_use]
    pub const fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The value image.
    #[must_use]
    pub const fn value(&self) -> &'a [u8] {
        self.value
    }

    /// The value of a column, by its index in the table. Allocates only for a key column of
    /// variable length that contains zero bytes.
    ///
    /// # Errors
    /// When there is no such column, or its bytes are malformed.
    pub fn column(&self, index: usize) -> Result<ValueRef<'a>, RowError> {
        let column = self.layout.column(index)?;
        let too_short = || RowError::MalformedRow { reason: "it is too short" };
        let (null_bit, bytes) = match column.place {
            Place::Key { position } => return self.layout.key_value(self.key, usize::from(position)),
            Place::Fixed { null_bit, offset, bytes } => {
                (null_bit, self.layout.fixed_slot(self.value, offset, bytes))
            }
            Place::Variable { null_bit, part } => {
                (null_bit, self.layout.variable_part(self.value, usize::from(part)).ok_or_else(too_short)?)
            }
        };
        if is_null(self.value, null_bit) {
            return Ok(ValueRef::Null);
        }
        column.codec.value_of(Cell::read(column.codec.form, bytes).ok_or_else(too_short)?)
    }

    /// All values in table order, copied.
    ///
    /// # Errors
    /// When bytes are malformed.
    pub fn to_values(&self) -> Result<Vec<Value>, RowError> {
        (0..self.layout.column_count()).map(|index| self.column(index).map(Value::from)).collect()
    }
}
