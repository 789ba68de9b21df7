//! Value images of one version of a table as those of another.
//!
//! Versions differ by columns at the end only, so that the columns that both have lie alike: the same null bits, the same
//! bytes in the fixed part, the same variable parts in the same order.

use super::RowError;
use super::encode::{check_size, is_null, set_null};
use crate::layout::{ColumnLayout, Place, TableLayout};
use crate::schema::{SchemaError, Table};

/// A value image and the layout that it follows.
#[derive(Clone, Copy, Debug)]
struct Source<'a> {
    layout: &'a TableLayout,
    image: &'a [u8],
}

/// The layouts of all versions of a table that rows and requests may follow.
#[derive(Clone, Debug, Default)]
pub struct TableLayouts {
    /// Version 1 first.
    versions: Vec<TableLayout>,
}

impl TableLayouts {
    /// Compiles the versions of a table that `self` does not have yet.
    ///
    /// # Errors
    /// When a definition is not valid.
    pub fn extend(&mut self, table: &Table) -> Result<(), SchemaError> {
        while self.versions.len() < usize::from(table.newest_version()) {
            let version = self.versions.len() as u16 + 1;
            let Some(definition) = table.definition_of(version) else { break };
            self.versions.push(TableLayout::new(&definition)?);
        }
        Ok(())
    }

    /// The layout of a version, if there is one.
    #[inline]
    #[must_use]
    pub fn of(&self, version: u16) -> Option<&TableLayout> {
        self.versions.get(usize::from(version).wrapping_sub(1))
    }

    /// The layout of a row that is stored under this version. Where there is none the newest: reading never fails worse
    /// than with an error, and only a client that names a version before it was told of it can store such a row.
    ///
    /// # Panics
    /// When there is no version at all.
    #[inline]
    #[must_use]
    pub fn of_row(&self, version: u16) -> &TableLayout {
        let newest = self.versions.len() - 1;
        &self.versions[usize::from(version).wrapping_sub(1).min(newest)]
    }

    /// The newest version.
    #[must_use]
    pub fn newest(&self) -> u16 {
        self.versions.len() as u16
    }

    /// Appends to `out` the image of a row, stored under version `from`, as version `to` has it: columns that it lacks
    /// have their defaults, columns that `to` lacks are left out.
    ///
    /// # Errors
    /// When the image is malformed; `out` is as before then.
    pub fn convert(&self, image: &[u8], from: u16, to: u16, out: &mut Vec<u8>) -> Result<(), RowError> {
        self.of_row(to).append_version(Source { layout: self.of_row(from), image }, None, out)
    }

    /// Appends to `out` the image of a row after a write of all columns that version `given` has: what the row, stored
    /// under a later version `stored`, has in columns that the writer does not know stays.
    ///
    /// # Errors
    /// When an image is malformed or the row would be too large; `out` is as before then.
    pub fn overlay(
        &self,
        given_image: &[u8],
        given: u16,
        stored_image: &[u8],
        stored: u16,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        let start = out.len();
        let layout = self.of_row(stored);
        let below = Source { layout, image: stored_image };
        layout.append_version(Source { layout: self.of_row(given), image: given_image }, Some(below), out)?;
        check_size(out.len() - start).inspect_err(|_| out.truncate(start))
    }
}

impl TableLayout {
    fn append_version(
        &self,
        source: Source<'_>,
        below: Option<Source<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        let start = out.len();
        out.resize(start + self.variable_start, 0);
        self.copy_common_head(source, &mut out[start..]);
        for column in self.columns.iter().skip(source.layout.columns.len()) {
            self.fill_column(column, below, &mut out[start..]);
        }
        let result = self.append_variable_of(source, below, start, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// Copies null bits and fixed part of the columns that both layouts have.
    fn copy_common_head(&self, source: Source<'_>, head: &mut [u8]) {
        let (from, image) = (source.layout, source.image);
        let common_bits = (self.value_columns()).min(from.value_columns());
        let (whole, rest) = (common_bits / 8, common_bits % 8);
        let image_bits = image.get(..from.fixed_start()).unwrap_or(&[]);
        for (target, bits) in head[..self.fixed_start()].iter_mut().zip(image_bits).take(whole) {
            *target = *bits;
        }
        if rest > 0
            && let (Some(target), Some(bits)) = (head.get_mut(whole), image_bits.get(whole))
        {
            *target = bits & ((1 << rest) - 1);
        }
        let fixed_bytes = |layout: &TableLayout| layout.ends_start - layout.fixed_start();
        let bytes = fixed_bytes(self).min(fixed_bytes(from));
        if let Some(fixed) = image.get(from.fixed_start()..from.fixed_start() + bytes) {
            head[self.fixed_start()..self.fixed_start() + bytes].copy_from_slice(fixed);
        }
    }

    /// Fills null bit and fixed part of a column that the source lacks.
    fn fill_column(&self, column: &ColumnLayout, below: Option<Source<'_>>, head: &mut [u8]) {
        let (null_bit, fixed) = match column.place {
            Place::Key { .. } => return,
            Place::Fixed { null_bit, offset, bytes } => (null_bit, Some((offset as usize, bytes as usize))),
            Place::Variable { null_bit, .. } => (null_bit, None),
        };
        let null = below.map_or(column.default.is_none(), |below| is_null(below.image, null_bit));
        if null {
            return set_null(head, null_bit);
        }
        let Some((offset, bytes)) = fixed else { return };
        let content = match below {
            Some(below) => {
                let from = below.layout.fixed_start() + offset - self.fixed_start();
                below.image.get(from..from + bytes)
            }
            None => column.default.as_deref(),
        };
        if let Some(content) = content.filter(|content| content.len() == bytes) {
            head[offset..offset + bytes].copy_from_slice(content);
        }
    }

    /// Appends end offsets and variable parts.
    fn append_variable_of(
        &self,
        source: Source<'_>,
        below: Option<Source<'_>>,
        start: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        const DAMAGED: RowError =
            RowError::MalformedRow { reason: "an end offset is out of order or out of bounds" };
        let variable_start = start + self.variable_start;
        for (part, index) in self.variable.iter().enumerate() {
            let bytes = if part < source.layout.variable.len() {
                source.layout.variable_part(source.image, part).ok_or(DAMAGED)?
            } else if let Some(below) = below {
                below.layout.variable_part(below.image, part).ok_or(DAMAGED)?
            } else {
                self.columns[usize::from(*index)].default.as_deref().unwrap_or(&[])
            };
            out.extend_from_slice(bytes);
            let end = ((out.len() - variable_start) as u32).to_le_bytes();
            let slot = start + self.ends_start + part * self.end_bytes;
            out[slot..slot + self.end_bytes].copy_from_slice(&end[..self.end_bytes]);
        }
        Ok(())
    }

    fn value_columns(&self) -> usize {
        self.fixed.len() + self.variable.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::RowView;
    use crate::schema::{Column, ColumnType, TableDefinition, TableState};
    use crate::value::Value;

    fn table() -> Table {
        let definition = TableDefinition::builder("shop", "users")
            .required("id", ColumnType::BigInt)
            .required("age", ColumnType::Int)
            .nullable("name", ColumnType::Text)
            .nullable("city", ColumnType::Varchar { characters: 40 })
            .primary_key(["id"])
            .build()
            .expect("valid");
        Table { state: TableState::Active, ..Table::created(1, 1, definition) }
    }

    /// Columns that move everything: they need a further byte of null bits, and wider end offsets.
    fn added() -> Vec<Column> {
        let mut columns = vec![
            Column::new("score", ColumnType::Double).default_value(2.5),
            Column::new("note", ColumnType::Text).default_value("none"),
            Column::new("seen", ColumnType::Timestamp).nullable(),
            Column::new("data", ColumnType::Blob).nullable(),
        ];
        columns.extend((0..9).map(|number| {
            Column::new(format!("n{number}"), ColumnType::SmallInt).default_value(i64::from(number))
        }));
        columns
    }

    fn versions() -> (Table, TableLayouts) {
        let (mut table, mut layouts) = (table(), TableLayouts::default());
        for column in added() {
            layouts.extend(&table).expect("valid");
            table.begin_column(column).expect("valid");
            table.finish_column();
        }
        layouts.extend(&table).expect("valid");
        assert_eq!(usize::from(table.version), added().len() + 1);
        assert!(table.has_sound_versions());
        let mut whole = TableLayouts::default();
        whole.extend(&table).expect("valid");
        assert_eq!(whole.newest(), layouts.newest());
        (table, layouts)
    }

    fn default_of(column: &Column) -> Value {
        column.default.clone().unwrap_or(Value::Null)
    }

    #[test]
    fn every_version_reads_rows_of_every_other() {
        let (table, layouts) = versions();
        let all: Vec<Value> = [Value::Int(7), Value::Int(-3), Value::Null, Value::from("Bern")]
            .into_iter()
            .chain(added().iter().enumerate().map(|(number, column)| match number % 3 {
                0 if column.nullable => Value::Null,
                _ => default_of(column),
            }))
            .collect();
        for from in 1..=table.version {
            let layout = layouts.of(from).expect("known");
            let (mut key, mut image) = (Vec::new(), Vec::new());
            layout.encode_row(&all[..layout.column_count()], &mut key, &mut image).expect("fits");
            for to in 1..=table.version {
                let target = layouts.of(to).expect("known");
                let mut converted = vec![9; 3];
                layouts.convert(&image, from, to, &mut converted).expect("valid");
                let converted = &converted[3..];
                target.validate_value(converted).expect("canonical");
                let expected: Vec<Value> = (0..target.column_count())
                    .map(|index| {
                        let known = (index < layout.column_count()).then(|| all[index].clone());
                        known.unwrap_or_else(|| default_of(&table.definition.columns[index]))
                    })
                    .collect();
                assert_eq!(RowView::new(target, &key, converted).to_values().expect("valid"), expected);
            }
        }
    }

    #[test]
    fn a_write_of_an_older_version_leaves_unknown_columns_alone() {
        let (table, layouts) = versions();
        let newest = layouts.of(table.version).expect("known");
        let mut stored: Vec<Value> = vec![Value::Int(7), Value::Int(1), Value::from("Ada"), Value::Null];
        stored.extend(added().iter().map(|column| match column.column_type {
            ColumnType::Double => Value::Double(9.0),
            ColumnType::Text => Value::from("kept"),
            ColumnType::Blob => Value::Bytes(vec![1, 2, 3]),
            ColumnType::SmallInt => Value::Int(99),
            _ => Value::Null,
        }));
        let (mut key, mut image) = (Vec::new(), Vec::new());
        newest.encode_row(&stored, &mut key, &mut image).expect("fits");
        for given in 1..=table.version {
            let layout = layouts.of(given).expect("known");
            let mut written = stored[..layout.column_count()].to_vec();
            (written[1], written[2], written[3]) = (Value::Int(2), Value::Null, Value::from("Zug"));
            let (mut same_key, mut given_image, mut result) = (Vec::new(), Vec::new(), Vec::new());
            layout.encode_row(&written, &mut same_key, &mut given_image).expect("fits");
            layouts.overlay(&given_image, given, &image, table.version, &mut result).expect("fits");
            newest.validate_value(&result).expect("canonical");
            let mut expected = stored.clone();
            expected[..written.len()].clone_from_slice(&written);
            assert_eq!(RowView::new(newest, &key, &result).to_values().expect("valid"), expected);
        }
    }

    #[test]
    fn malformed_images_give_errors() {
        let (table, layouts) = versions();
        let mut out = Vec::new();
        for length in 0..40 {
            for byte in [0, 0x7f, 0xff] {
                let image = vec![byte; length];
                let _ = layouts.convert(&image, 1, table.version, &mut out);
                let _ = layouts.convert(&image, table.version, 1, &mut out);
                let _ = layouts.overlay(&image, 1, &image, table.version, &mut out);
            }
        }
    }

    #[test]
    fn columns_that_cannot_be_added_are_named() {
        let refused = |column: Column| table().begin_column(column).expect_err("refused").code();
        assert_eq!(refused(Column::new("points", ColumnType::Int)), 125);
        assert_eq!(refused(Column::new("AGE", ColumnType::Int).nullable()), 105);
        assert_eq!(refused(Column::new("points", ColumnType::TinyInt).default_value(300)), 116);
        let long = "x".repeat(70_000);
        assert_eq!(refused(Column::new("text", ColumnType::Text).default_value(long.as_str())), 115);
        let mut full = table();
        full.definition
            .columns
            .extend((0..508).map(|number| Column::new(format!("c{number}"), ColumnType::TinyInt).nullable()));
        let last = Column::new("last", ColumnType::TinyInt).nullable();
        assert_eq!(full.begin_column(last).expect_err("too many").code(), 104);
    }
}
