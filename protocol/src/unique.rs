//! Unique secondary indexes: entries are rows of a hidden table, one for each row of the base table whose indexed columns
//! are all not NULL.
//!
//! The key of an entry holds the indexed columns, its value one column with the encoded primary key of the row. The
//! hidden table is a table like any other: its rows are placed by the hash of their keys, wherever the base row is.
//!
//! The changes of entries that a write of a row needs travel as a list:
//!
//! ```text
//! byte  0  index         u32   id of the index
//!       4  table         u32   id of its hidden table
//!       8  table_version u16   version of that
//!      10  kind          u8    0 remove, 1 insert
//!      11  reserved      u8    0
//!      12  key_bytes     u16
//!      14  value_bytes   u16
//!      16  key, then value image
//! ```

use crate::layout::TableLayout;
use crate::row::{RowError, RowView};
use crate::schema::{
    Column, ColumnType, IndexDefinition, MAX_INDEX_COLUMNS, MAX_KEY_BYTES, PrimaryKeyOrder, SchemaError,
    TableDefinition,
};
use crate::value::ValueRef;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Name of the hidden table of an index; names of hidden tables need not be unique, for nobody finds them by name.
fn hidden_name(index: &IndexDefinition) -> String {
    index.name.clone()
}

/// The definition of the hidden table that holds the entries of a unique index.
#[must_use]
pub fn entries_definition(base: &TableDefinition, index: &IndexDefinition) -> TableDefinition {
    let mut columns: Vec<Column> = index
        .columns
        .iter()
        .filter_map(|column| base.columns.get(usize::from(*column)))
        .map(|column| Column::new(&column.name, column.column_type))
        .collect();
    let mut value_name = "primary_key".to_owned();
    while columns.iter().any(|column| column.name.eq_ignore_ascii_case(&value_name)) {
        value_name.push('_');
    }
    let primary_key: Vec<u16> = (0..columns.len() as u16).collect();
    columns.push(Column::new(value_name, ColumnType::Varbinary { bytes: MAX_KEY_BYTES as u32 }));
    TableDefinition {
        database: base.database.clone(),
        name: hidden_name(index),
        columns,
        partition_key: primary_key.clone(),
        primary_key,
        primary_key_order: PrimaryKeyOrder::HashOnly,
        indexes: Vec::new(),
        time_to_live: None,
        comment: String::new(),
    }
}

/// A unique index compiled: makes entries of rows.
#[derive(Clone, Debug)]
pub struct UniqueLayout {
    columns: Vec<u16>,
    entries: TableLayout,
}

impl UniqueLayout {
    /// Compiles an index of a table.
    ///
    /// # Errors
    /// When the hidden table's definition would not be valid, which a valid table excludes.
    pub fn new(base: &TableDefinition, index: &IndexDefinition) -> Result<UniqueLayout, SchemaError> {
        let entries = TableLayout::new(&entries_definition(base, index))?;
        Ok(UniqueLayout { columns: index.columns.clone(), entries })
    }

    /// Layout of the hidden table: encodes the keys that are looked up.
    #[must_use]
    pub fn entries(&self) -> &TableLayout {
        &self.entries
    }

    /// Columns of the index.
    #[must_use]
    pub fn columns(&self) -> &[u16] {
        &self.columns
    }

    /// Appends key and value image of the entry of a row; false, and nothing is appended, when one of its indexed columns
    /// is NULL.
    ///
    /// # Errors
    /// When the row is malformed, or holds a number that is none (NaN), which cannot be indexed.
    pub fn append_entry(
        &self,
        row: &RowView<'_>,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, RowError> {
        let mut values = [const { ValueRef::Null }; MAX_INDEX_COLUMNS + 1];
        for (value, column) in values.iter_mut().zip(&self.columns) {
            *value = row.column(usize::from(*column))?;
            if matches!(value, ValueRef::Null) {
                return Ok(false);
            }
        }
        let count = self.columns.len();
        values[count] = ValueRef::from(row.key());
        self.entries.encode_row(&values[..=count], key, value)?;
        Ok(true)
    }

    /// The encoded primary key that the value image of an entry names.
    #[must_use]
    pub fn primary_key<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        self.entries.variable_part(value, 0)
    }

    /// Whether the row has exactly this key in the index. The buffers are used for its own.
    pub fn has_key(&self, row: &RowView<'_>, key: &[u8], [own, value]: &mut [Vec<u8>; 2]) -> bool {
        own.clear();
        value.clear();
        self.append_entry(row, own, value).is_ok_and(|indexed| indexed && own == key)
    }
}

/// What happens to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryChangeKind {
    /// It is removed, if it names the row that it is removed for.
    Remove,
    /// It is inserted; one that names another row is a violation.
    Insert,
}

/// A change of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryChange<'a> {
    /// Id of the index.
    pub index: u32,
    /// Id of its hidden table.
    pub table: u32,
    /// Version of the hidden table.
    pub table_version: u16,
    /// What happens.
    pub kind: EntryChangeKind,
    /// Key of the entry.
    pub key: &'a [u8],
    /// Value image of the entry.
    pub value: &'a [u8],
}

/// Fixed part of a change in a list; layout in the module documentation.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ChangeHeader {
    index: U32,
    table: U32,
    table_version: U16,
    kind: u8,
    reserved: u8,
    key_bytes: U16,
    value_bytes: U16,
}

impl<'a> EntryChange<'a> {
    /// Appends the change to a list.
    pub fn append_to(&self, list: &mut Vec<u8>) {
        let header = ChangeHeader {
            index: self.index.into(),
            table: self.table.into(),
            table_version: self.table_version.into(),
            kind: u8::from(self.kind == EntryChangeKind::Insert),
            reserved: 0,
            key_bytes: (self.key.len() as u16).into(),
            value_bytes: (self.value.len() as u16).into(),
        };
        list.extend_from_slice(header.as_bytes());
        list.extend_from_slice(self.key);
        list.extend_from_slice(self.value);
    }

    /// Splits the first change off a list; `None` at its end and for malformed bytes.
    #[must_use]
    pub fn split(list: &'a [u8]) -> Option<(EntryChange<'a>, &'a [u8])> {
        let (header, rest) = ChangeHeader::ref_from_prefix(list).ok()?;
        let (key, rest) = rest.split_at_checked(usize::from(header.key_bytes.get()))?;
        let (value, rest) = rest.split_at_checked(usize::from(header.value_bytes.get()))?;
        let kind = if header.kind == 0 { EntryChangeKind::Remove } else { EntryChangeKind::Insert };
        let (index, table) = (header.index.get(), header.table.get());
        let table_version = header.table_version.get();
        Some((EntryChange { index, table, table_version, kind, key, value }, rest))
    }

    /// The changes of a list, in order.
    pub fn all(list: &'a [u8]) -> impl Iterator<Item = EntryChange<'a>> {
        let mut rest = list;
        std::iter::from_fn(move || {
            let (change, tail) = EntryChange::split(rest)?;
            rest = tail;
            Some(change)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn table() -> TableDefinition {
        TableDefinition::builder("shop", "users")
            .required("id", ColumnType::BigInt)
            .nullable("email", ColumnType::Varchar { characters: 80 })
            .required("primary_key", ColumnType::Double)
            .primary_key(["id"])
            .unique_index("by_email", &["email", "primary_key"])
            .build()
            .expect("valid")
    }

    fn row(layout: &TableLayout, values: &[Value]) -> (Vec<u8>, Vec<u8>) {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        layout.encode_row(values, &mut key, &mut value).expect("fits");
        (key, value)
    }

    #[test]
    fn rows_have_entries_unless_a_column_is_null_or_no_number() {
        let definition = table();
        let base = TableLayout::new(&definition).expect("valid");
        let index = UniqueLayout::new(&definition, &definition.indexes[0]).expect("valid");
        let (key, value) = row(&base, &[7.into(), "a\0b".into(), (-0.0).into()]);
        let view = RowView::new(&base, &key, &value);
        let (mut entry, mut image) = (Vec::new(), Vec::new());
        assert!(index.append_entry(&view, &mut entry, &mut image).expect("fits"));
        assert_eq!(index.primary_key(&image), Some(&key[..]));
        assert!(index.has_key(&view, &entry, &mut Default::default()));
        index.entries().validate_key(&entry).expect("well formed");
        index.entries().validate_value(&image).expect("well formed");
        let mut wanted = Vec::new();
        index.entries().encode_key(&[Value::from("a\0b"), 0.0.into()], &mut wanted).expect("fits");
        assert_eq!(entry, wanted, "equal numbers are equal keys");

        let (key, value) = row(&base, &[8.into(), Value::Null, 1.0.into()]);
        let view = RowView::new(&base, &key, &value);
        assert!(!index.append_entry(&view, &mut entry, &mut image).expect("fits"));
        let (key, value) = row(&base, &[8.into(), "c".into(), f64::NAN.into()]);
        assert!(index.append_entry(&RowView::new(&base, &key, &value), &mut entry, &mut image).is_err());
        assert_eq!(entry, wanted, "nothing is appended");
    }

    #[test]
    fn lists_of_changes_round_trip_and_malformed_ones_end() {
        let change =
            |kind, key| EntryChange { index: 3, table: 70_000, table_version: 2, kind, key, value: b"v" };
        let changes =
            [change(EntryChangeKind::Remove, &b"old"[..]), change(EntryChangeKind::Insert, &b"new"[..])];
        let mut list = Vec::new();
        changes.iter().for_each(|change| change.append_to(&mut list));
        assert!(EntryChange::all(&list).eq(changes));
        for length in 0..list.len() {
            assert!(EntryChange::all(&list[..length]).count() < 2);
        }
    }
}
