//! A table definition compiled to offsets.
//!
//! `docs/protocol-rows.md` draws the key and the value image. Encoding, validation and reading of
//! rows are in [`crate::row`], of keys in [`crate::key`], of updates in [`crate::update`].

use crate::key::component_bytes;
use crate::row::{ColumnCodec, Form, RowError};
use crate::schema::{Column, ColumnType, MAX_VALUE_BYTES, PrimaryKeyOrder, SchemaError, TableDefinition};
use crate::value::AsValue;
use std::sync::Arc;

/// Where a column lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the key, as its `position`-th component.
    Key { position: u16 },
    /// In the fixed part of the value image.
    Fixed {
        /// Number of the column's null bit.
        null_bit: u16,
        /// First byte, counted from the start of the value image.
        offset: u32,
        /// Number of bytes.
        bytes: u32,
    },
    /// Among the variable parts of the value image.
    Variable {
        /// Number of the column's null bit.
        null_bit: u16,
        /// Which variable part.
        part: u16,
    },
}

/// A column's rules and its place.
#[derive(Clone, Debug)]
pub(crate) struct ColumnLayout {
    pub(crate) codec: ColumnCodec,
    pub(crate) place: Place,
    /// The bytes of its default as they lie in a value image; `None` for NULL.
    pub(crate) default: Option<Arc<[u8]>>,
}

/// A component of the primary key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyComponent {
    /// Index of the column.
    pub(crate) column: u16,
    /// Is the column part of the partition key?
    pub(crate) in_partition_key: bool,
}

/// Which bytes of a key are hashed to place its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartitionKey {
    /// All of them.
    Whole,
    /// The first bytes, of a known number.
    FixedPrefix { bytes: usize },
    /// The first components.
    Prefix { components: usize },
    /// Components here and there.
    Scattered,
}

/// A table definition compiled to offsets: encodes, validates and reads keys, rows and updates.
#[derive(Clone, Debug)]
pub struct TableLayout {
    pub(crate) columns: Vec<ColumnLayout>,
    /// In key order.
    pub(crate) key: Vec<KeyComponent>,
    /// Length of every key, if all components have a fixed one.
    pub(crate) key_bytes: Option<usize>,
    /// Is a key of the right fixed length always well formed?
    pub(crate) key_needs_no_check: bool,
    pub(crate) partition_key: PartitionKey,
    /// Indexes of the columns in the fixed part, ascending.
    pub(crate) fixed: Vec<u16>,
    /// Those of `fixed` whose cells need checking.
    pub(crate) fixed_checked: Vec<u16>,
    /// Indexes of the variable columns, ascending; the position is the variable part.
    pub(crate) variable: Vec<u16>,
    /// The null bits that may be set, by byte; the fixed part follows the null bits.
    pub(crate) nullable_bits: Vec<u8>,
    /// Where the end offsets of the variable parts begin: after null bits and fixed part.
    pub(crate) ends_start: usize,
    /// Bytes of one end offset: 2 or 4.
    pub(crate) end_bytes: usize,
    /// Where the variable bytes begin.
    pub(crate) variable_start: usize,
}

/// Bytes of null bits, fixed part and end offsets of a table's value images.
pub(crate) fn image_head_bytes(definition: &TableDefinition) -> usize {
    let (mut value_columns, mut fixed_bytes, mut variable_columns) = (0_usize, 0, 0);
    for (index, column) in definition.columns.iter().enumerate() {
        if definition.is_key_column(index as u16) {
            continue;
        }
        value_columns += 1;
        match Form::of(column.column_type).fixed_bytes() {
            Some(bytes) => fixed_bytes += bytes,
            None => variable_columns += 1,
        }
    }
    value_columns.div_ceil(8) + fixed_bytes + variable_columns * end_bytes(definition)
}

/// Bytes of one end offset: 2 when all variable parts together cannot be longer than 65,535 bytes.
fn end_bytes(definition: &TableDefinition) -> usize {
    let value_columns =
        definition.columns.iter().enumerate().filter(|(index, _)| !definition.is_key_column(*index as u16));
    let longest: usize = value_columns.map(|(_, column)| longest_variable_part(column.column_type)).sum();
    if longest <= usize::from(u16::MAX) { 2 } else { 4 }
}

/// Most bytes that a value of this type takes in a value image.
pub(crate) fn longest_value(column_type: ColumnType) -> usize {
    let fixed = Form::of(column_type).fixed_bytes();
    fixed.unwrap_or_else(|| longest_variable_part(column_type)).min(MAX_VALUE_BYTES)
}

/// Most variable bytes that a column can take.
fn longest_variable_part(column_type: ColumnType) -> usize {
    match column_type {
        ColumnType::Char { characters } | ColumnType::Varchar { characters } => characters as usize * 4,
        ColumnType::Varbinary { bytes } => bytes as usize,
        ColumnType::Vector { dimensions } => dimensions as usize * 4,
        ColumnType::Text | ColumnType::Blob | ColumnType::Json => MAX_VALUE_BYTES,
        ColumnType::TinyInt
        | ColumnType::TinyIntUnsigned
        | ColumnType::SmallInt
        | ColumnType::SmallIntUnsigned
        | ColumnType::MediumInt
        | ColumnType::MediumIntUnsigned
        | ColumnType::Int
        | ColumnType::IntUnsigned
        | ColumnType::BigInt
        | ColumnType::BigIntUnsigned
        | ColumnType::Float
        | ColumnType::Double
        | ColumnType::Decimal { .. }
        | ColumnType::Binary { .. }
        | ColumnType::Date
        | ColumnType::Time
        | ColumnType::DateTime
        | ColumnType::Timestamp
        | ColumnType::Boolean => 0,
    }
}

/// The bytes of a column's default; none where it is NULL or there is none.
fn encoded_default(codec: &ColumnCodec, column: &Column) -> Option<Arc<[u8]>> {
    let value = column.default.as_ref()?.as_value();
    let cell = codec.cell_of(&value).ok().flatten()?;
    let mut bytes = Vec::new();
    cell.append(codec.form, &mut bytes);
    Some(bytes.into())
}

impl TableLayout {
    /// Compiles a definition.
    ///
    /// # Errors
    /// When the definition is not valid; see [`TableDefinition::validate`].
    pub fn new(definition: &TableDefinition) -> Result<Self, SchemaError> {
        definition.validate()?;
        Ok(Self::compile(definition))
    }

    /// The layout of images of these columns without a key: what a scan answers.
    #[must_use]
    pub fn without_key(columns: Vec<Column>) -> Self {
        Self::compile(&TableDefinition {
            database: String::new(),
            name: String::new(),
            columns,
            primary_key: Vec::new(),
            partition_key: Vec::new(),
            primary_key_order: PrimaryKeyOrder::HashOnly,
            indexes: Vec::new(),
            time_to_live: None,
            comment: String::new(),
        })
    }

    fn compile(definition: &TableDefinition) -> Self {
        let value_columns = definition.columns.len() - definition.primary_key.len();
        let null_bytes = value_columns.div_ceil(8);
        let mut layout = Self {
            columns: Vec::with_capacity(definition.columns.len()),
            key: Vec::new(),
            key_bytes: None,
            key_needs_no_check: false,
            partition_key: PartitionKey::Whole,
            fixed: Vec::new(),
            fixed_checked: Vec::new(),
            variable: Vec::new(),
            nullable_bits: vec![0; null_bytes],
            ends_start: null_bytes,
            end_bytes: end_bytes(definition),
            variable_start: 0,
        };
        layout.place_columns(definition);
        layout.compile_key(definition);
        layout.variable_start = layout.ends_start + layout.variable.len() * layout.end_bytes;
        debug_assert_eq!(layout.variable_start, image_head_bytes(definition));
        layout
    }

    fn place_columns(&mut self, definition: &TableDefinition) {
        let mut null_bit = 0_u16;
        for (index, column) in definition.columns.iter().enumerate() {
            let index = index as u16;
            let codec = ColumnCodec::new(column);
            let place = if let Some(position) = definition.primary_key.iter().position(|key| *key == index) {
                Place::Key { position: position as u16 }
            } else if let Some(bytes) = codec.form.fixed_bytes() {
                let offset = self.ends_start as u32;
                self.ends_start += bytes;
                self.fixed.push(index);
                if !codec.takes_any_cell() {
                    self.fixed_checked.push(index);
                }
                Place::Fixed { null_bit, offset, bytes: bytes as u32 }
            } else {
                self.variable.push(index);
                Place::Variable { null_bit, part: self.variable.len() as u16 - 1 }
            };
            if !matches!(place, Place::Key { .. }) {
                self.nullable_bits[usize::from(null_bit) / 8] |= u8::from(codec.nullable) << (null_bit % 8);
                null_bit += 1;
            }
            let default = encoded_default(&codec, column);
            self.columns.push(ColumnLayout { codec, place, default });
        }
    }

    fn compile_key(&mut self, definition: &TableDefinition) {
        let partition_key = &definition.partition_key;
        self.key = definition
            .primary_key
            .iter()
            .map(|&column| KeyComponent { column, in_partition_key: partition_key.contains(&column) })
            .collect();
        let codecs: Vec<&ColumnCodec> =
            self.key.iter().map(|component| &self.columns[usize::from(component.column)].codec).collect();
        let bytes = |codecs: &[&ColumnCodec]| codecs.iter().map(|codec| component_bytes(codec.form)).sum();
        self.key_bytes = bytes(&codecs);
        self.key_needs_no_check = self.key_bytes.is_some()
            && codecs.iter().all(|codec| {
                // NaN and -0.0 are refused in keys though not in rows.
                codec.takes_any_cell() && !matches!(codec.form, Form::Float | Form::Double)
            });
        let components = self.key.iter().take_while(|component| component.in_partition_key).count();
        self.partition_key = if partition_key.is_empty() || components == self.key.len() {
            PartitionKey::Whole
        } else if components < partition_key.len() {
            PartitionKey::Scattered
        } else if let Some(bytes) = bytes(&codecs[..components]) {
            PartitionKey::FixedPrefix { bytes }
        } else {
            PartitionKey::Prefix { components }
        };
    }

    /// Number of columns, key and value together.
    #[must_use]
    pub fn column_count(&self) -> usize {
        self.columns.len()
    }

    /// Length of every key in bytes, if all key columns have a fixed size.
    #[must_use]
    pub fn key_bytes(&self) -> Option<usize> {
        self.key_bytes
    }

    /// Length of the smallest value image in bytes; that of every one if there are no variable columns.
    #[must_use]
    pub fn smallest_value_bytes(&self) -> usize {
        self.variable_start
    }

    /// Length of the value image of a row whose columns all have their defaults, in bytes.
    pub(crate) fn default_bytes(&self) -> usize {
        let longest =
            |index: &u16| self.columns[usize::from(*index)].default.as_ref().map_or(0, |bytes| bytes.len());
        self.variable_start + self.variable.iter().map(longest).sum::<usize>()
    }

    /// Where the fixed part begins.
    #[inline(always)]
    pub(crate) fn fixed_start(&self) -> usize {
        self.nullable_bits.len()
    }

    /// The rules and place of a column.
    pub(crate) fn column(&self, index: usize) -> Result<&ColumnLayout, RowError> {
        self.columns.get(index).ok_or(RowError::UnknownColumn { index, columns: self.columns.len() })
    }

    /// The rules of a key component.
    pub(crate) fn key_codec(&self, component: KeyComponent) -> &ColumnCodec {
        &self.columns[usize::from(component.column)].codec
    }
}
