//! Are these bytes a value image of the table?

use super::encode::{check_size, is_null};
use super::{Cell, RowError};
use crate::layout::{Place, TableLayout};

impl TableLayout {
    /// Accepts exactly the value images that [`TableLayout::encode_row`] makes: any bytes that pass
    /// are those of one set of values, and its only ones. Allocates nothing.
    ///
    /// # Errors
    /// What is wrong first.
    #[inline]
    pub fn validate_value(&self, image: &[u8]) -> Result<(), RowError> {
        let no_content_to_check = self.fixed_checked.is_empty() && self.variable.is_empty();
        if no_content_to_check
            && image.len() == self.variable_start
            && image.iter().zip(&self.nullable_bits).all(|(byte, _)| *byte == 0)
        {
            return Ok(());
        }
        self.validate_parts(image)
    }

    fn validate_parts(&self, image: &[u8]) -> Result<(), RowError> {
        if image.len() < self.variable_start {
            return Err(RowError::MalformedRow { reason: "it is too short" });
        }
        check_size(image.len())?;
        self.validate_null_bits(image)?;
        self.validate_fixed(image)?;
        self.validate_variable(image)
    }

    fn validate_null_bits(&self, image: &[u8]) -> Result<(), RowError> {
        if image.iter().zip(&self.nullable_bits).all(|(bits, allowed)| bits & !allowed == 0) {
            return Ok(());
        }
        for column in &self.columns {
            match column.place {
                Place::Fixed { null_bit, .. } | Place::Variable { null_bit, .. }
                    if !column.codec.nullable && is_null(image, null_bit) =>
                {
                    return Err(column.codec.null_not_allowed());
                }
                Place::Key { .. } | Place::Fixed { .. } | Place::Variable { .. } => {}
            }
        }
        Err(RowError::MalformedRow { reason: "a null bit beyond the last column is set" })
    }

    fn validate_fixed(&self, image: &[u8]) -> Result<(), RowError> {
        if image.iter().zip(&self.nullable_bits).any(|(bits, _)| *bits != 0) {
            for index in &self.fixed {
                if let Place::Fixed { null_bit, offset, bytes } = self.columns[usize::from(*index)].place
                    && is_null(image, null_bit)
                    && self.fixed_slot(image, offset, bytes).iter().any(|byte| *byte != 0)
                {
                    return Err(RowError::MalformedRow {
                        reason: "a column is NULL but its bytes are not zero",
                    });
                }
            }
        }
        for index in &self.fixed_checked {
            let column = &self.columns[usize::from(*index)];
            if let Place::Fixed { null_bit, offset, bytes } = column.place
                && !is_null(image, null_bit)
            {
                let cell = Cell::read(column.codec.form, self.fixed_slot(image, offset, bytes))
                    .ok_or(RowError::MalformedRow { reason: "it is too short" })?;
                column.codec.check_cell(cell)?;
            }
        }
        Ok(())
    }

    fn validate_variable(&self, image: &[u8]) -> Result<(), RowError> {
        let mut start = 0;
        let variable = image.get(self.variable_start..).unwrap_or(&[]);
        for (part, index) in self.variable.iter().enumerate() {
            let column = &self.columns[usize::from(*index)];
            let Place::Variable { null_bit, .. } = column.place else { continue };
            let end = self.variable_end(image, part);
            let bytes = variable
                .get(start..end)
                .ok_or(RowError::MalformedRow { reason: "an end offset is out of order or out of bounds" })?;
            if !is_null(image, null_bit) {
                column.codec.check_cell(Cell::Bytes(bytes))?;
            } else if !bytes.is_empty() {
                return Err(RowError::MalformedRow { reason: "a column is NULL but has bytes" });
            }
            start = end;
        }
        if start != variable.len() {
            return Err(RowError::MalformedRow { reason: "bytes follow the last column" });
        }
        Ok(())
    }

    /// The bytes of a fixed column; empty if the image is too short.
    #[inline]
    pub(crate) fn fixed_slot<'i>(&self, image: &'i [u8], offset: u32, bytes: u32) -> &'i [u8] {
        image.get(offset as usize..offset as usize + bytes as usize).unwrap_or(&[])
    }

    /// Where a variable part ends, counted from the first variable byte; out of all bounds if the
    /// image is too short.
    #[inline]
    pub(crate) fn variable_end(&self, image: &[u8], part: usize) -> usize {
        let offset = self.ends_start + part * self.end_bytes;
        match image.get(offset..offset + self.end_bytes) {
            Some(&[low, high]) => usize::from(u16::from_le_bytes([low, high])),
            Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]) as usize,
            _ => usize::MAX,
        }
    }

    /// The bytes of a variable part, or `None` if the offsets are not in order and within bounds.
    #[inline]
    pub(crate) fn variable_part<'i>(&self, image: &'i [u8], part: usize) -> Option<&'i [u8]> {
        let start = if part == 0 { 0 } else { self.variable_end(image, part - 1) };
        let end = self.variable_end(image, part);
        image.get(self.variable_start..)?.get(start..end)
    }
}
