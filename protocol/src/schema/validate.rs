//! The rules of table definitions, in the order in which they are checked.

use std::collections::BTreeSet;

use super::{
    Column, ColumnType, IndexDefinition, MAX_COLUMN_COMMENT_CHARACTERS, MAX_COLUMNS, MAX_COMMENT_CHARACTERS,
    MAX_FRACTION_DIGITS, MAX_INDEX_COLUMNS, MAX_INDEXES, MAX_KEY_BYTES, MAX_KEY_COLUMNS, MAX_NAME_CHARACTERS,
    MAX_VALUE_BYTES, PRIMARY_KEY_INDEX_NAME, SchemaError, TableDefinition,
};
use crate::key::longest_component;
use crate::layout::image_head_bytes;
use crate::row::ColumnCodec;
use crate::value::AsValue;

pub(super) fn validate(definition: &TableDefinition) -> Result<(), SchemaError> {
    check_name("database", &definition.database)?;
    check_name("table", &definition.name)?;
    check_columns(&definition.columns)?;
    check_primary_key(definition)?;
    check_partition_key(definition)?;
    check_indexes(definition)?;
    check_row_size(definition)?;
    check_time_to_live(definition)?;
    check_comment("the table", &definition.comment, MAX_COMMENT_CHARACTERS)
}

fn check_comment(what: &str, comment: &str, most: usize) -> Result<(), SchemaError> {
    match comment.chars().nth(most) {
        None => Ok(()),
        Some(_) => Err(SchemaError::CommentTooLong { what: what.to_owned(), most }),
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), SchemaError> {
    if name.is_empty() {
        return Err(SchemaError::EmptyName { what });
    }
    if name.chars().nth(MAX_NAME_CHARACTERS).is_some() {
        let name = name.chars().take(MAX_NAME_CHARACTERS).chain(['…']).collect();
        return Err(SchemaError::NameTooLong { what, name });
    }
    if name.chars().any(char::is_control) {
        return Err(SchemaError::InvalidName { what, name: name.to_owned() });
    }
    Ok(())
}

fn check_columns(columns: &[Column]) -> Result<(), SchemaError> {
    if columns.is_empty() {
        return Err(SchemaError::NoColumns);
    }
    if columns.len() > MAX_COLUMNS {
        return Err(SchemaError::TooManyColumns { count: columns.len() });
    }
    let mut names = BTreeSet::new();
    for column in columns {
        check_name("column", &column.name)?;
        if !names.insert(column.name.to_ascii_lowercase()) {
            return Err(SchemaError::DuplicateColumn { column: column.name.clone() });
        }
        if let Some(reason) = broken_type_rule(column.column_type) {
            let column_type = column.column_type;
            return Err(SchemaError::InvalidColumnType { column: column.name.clone(), column_type, reason });
        }
        if let Some(default) = &column.default {
            ColumnCodec::new(column)
                .check_value(&default.as_value())
                .map_err(|reason| SchemaError::InvalidDefault { column: column.name.clone(), reason })?;
        }
        if let Some(reason) = broken_time_rule(column) {
            return Err(SchemaError::InvalidCurrentTime { column: column.name.clone(), reason });
        }
        check_comment(&format!("column '{}'", column.name), &column.comment, MAX_COLUMN_COMMENT_CHARACTERS)?;
    }
    Ok(())
}

/// What a column's rule for the current time breaks, if anything.
fn broken_time_rule(column: &Column) -> Option<&'static str> {
    let rule = column.current_time?;
    match column.column_type {
        ColumnType::DateTime | ColumnType::Timestamp => {}
        _ => return Some("its type must be DATETIME or TIMESTAMP"),
    }
    match (rule.digits, rule.on_insert || rule.on_update) {
        (0..=MAX_FRACTION_DIGITS, true) => None,
        (_, true) => Some("a second's fraction has 0 to 6 digits"),
        (_, false) => Some("it must be on insert or on update"),
    }
}

/// What a type's parameters break, if anything.
fn broken_type_rule(column_type: ColumnType) -> Option<&'static str> {
    match column_type {
        ColumnType::Decimal { precision, scale } => match (precision, scale) {
            (1..=38, scale) if scale <= precision => None,
            _ => Some("the precision must be 1 to 38 and the scale at most the precision"),
        },
        ColumnType::Char { characters: 1..=255 } => None,
        ColumnType::Char { .. } => Some("the length must be 1 to 255 characters"),
        ColumnType::Varchar { characters: 1..=65_535 } => None,
        ColumnType::Varchar { .. } => Some("the length must be 1 to 65535 characters"),
        ColumnType::Binary { bytes: 1..=65_535 } | ColumnType::Varbinary { bytes: 1..=65_535 } => None,
        ColumnType::Binary { .. } | ColumnType::Varbinary { .. } => {
            Some("the length must be 1 to 65535 bytes")
        }
        ColumnType::Vector { dimensions: 1..=16_384 } => None,
        ColumnType::Vector { .. } => Some("the number of dimensions must be 1 to 16384"),
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
        | ColumnType::Text
        | ColumnType::Blob
        | ColumnType::Date
        | ColumnType::Time
        | ColumnType::DateTime
        | ColumnType::Timestamp
        | ColumnType::Boolean
        | ColumnType::Json => None,
    }
}

/// The columns that a key lists, each once.
fn key_columns<'a>(
    definition: &'a TableDefinition,
    part: &'static str,
    indexes: &[u16],
) -> Result<Vec<&'a Column>, SchemaError> {
    let mut columns = Vec::with_capacity(indexes.len());
    for (position, index) in indexes.iter().enumerate() {
        let column = definition
            .columns
            .get(usize::from(*index))
            .ok_or_else(|| SchemaError::UnknownColumn { part, column: index.to_string() })?;
        if indexes[..position].contains(index) {
            return Err(SchemaError::DuplicateKeyColumn { part, column: column.name.clone() });
        }
        columns.push(column);
    }
    Ok(columns)
}

fn check_primary_key(definition: &TableDefinition) -> Result<(), SchemaError> {
    let count = definition.primary_key.len();
    if count == 0 {
        return Err(SchemaError::NoPrimaryKey);
    }
    if count > MAX_KEY_COLUMNS {
        return Err(SchemaError::TooManyKeyColumns { count });
    }
    let mut bytes = 0;
    for column in key_columns(definition, "primary key", &definition.primary_key)? {
        if column.nullable {
            return Err(SchemaError::NullableKeyColumn { column: column.name.clone() });
        }
        if !column.column_type.is_orderable() {
            let column_type = column.column_type;
            return Err(SchemaError::KeyTypeNotOrderable { column: column.name.clone(), column_type });
        }
        if column.takes_time_on_update() {
            let reason = "columns of the primary key never change";
            return Err(SchemaError::InvalidCurrentTime { column: column.name.clone(), reason });
        }
        bytes += longest_component(column.column_type);
    }
    if bytes > MAX_KEY_BYTES {
        return Err(SchemaError::KeyTooLarge { bytes });
    }
    Ok(())
}

fn check_partition_key(definition: &TableDefinition) -> Result<(), SchemaError> {
    for (index, column) in definition.partition_key.iter().zip(key_columns(
        definition,
        "partition key",
        &definition.partition_key,
    )?) {
        if !definition.is_key_column(*index) {
            return Err(SchemaError::PartitionKeyOutsidePrimaryKey { column: column.name.clone() });
        }
    }
    Ok(())
}

fn check_indexes(definition: &TableDefinition) -> Result<(), SchemaError> {
    if definition.indexes.len() > MAX_INDEXES {
        return Err(SchemaError::TooManyIndexes { count: definition.indexes.len() });
    }
    let mut names = BTreeSet::new();
    for index in &definition.indexes {
        check_name("index", &index.name)?;
        let name = index.name.to_ascii_lowercase();
        if name == PRIMARY_KEY_INDEX_NAME {
            return Err(SchemaError::ReservedIndexName { index: index.name.clone() });
        }
        if !names.insert(name) {
            return Err(SchemaError::DuplicateIndex { index: index.name.clone() });
        }
        check_index_columns(definition, index)?;
    }
    Ok(())
}

fn check_index_columns(definition: &TableDefinition, index: &IndexDefinition) -> Result<(), SchemaError> {
    let name = || index.name.clone();
    let count = index.columns.len();
    if !(1..=MAX_INDEX_COLUMNS).contains(&count) {
        return Err(SchemaError::WrongIndexColumnCount { index: name(), count });
    }
    let mut bytes = 0;
    for column in key_columns(definition, "index", &index.columns)? {
        let column_type = column.column_type;
        if !column_type.is_orderable() {
            return Err(SchemaError::IndexTypeNotOrderable {
                index: name(),
                column: column.name.clone(),
                column_type,
            });
        }
        // A byte in front tells NULL from a value.
        bytes += usize::from(column.nullable) + longest_component(column_type);
    }
    if bytes > MAX_KEY_BYTES {
        return Err(SchemaError::IndexKeyTooLarge { index: name(), bytes });
    }
    Ok(())
}

fn check_row_size(definition: &TableDefinition) -> Result<(), SchemaError> {
    let bytes = image_head_bytes(definition);
    if bytes > MAX_VALUE_BYTES { Err(SchemaError::RowTooLarge { bytes }) } else { Ok(()) }
}

fn check_time_to_live(definition: &TableDefinition) -> Result<(), SchemaError> {
    let Some(time_to_live) = definition.time_to_live else { return Ok(()) };
    if time_to_live.seconds == 0 {
        return Err(SchemaError::InvalidTimeToLive { reason: "it must be at least one second" });
    }
    let index = time_to_live.event_time_column;
    match definition.columns.get(usize::from(index)).map(|column| column.column_type) {
        Some(ColumnType::Date | ColumnType::DateTime | ColumnType::Timestamp | ColumnType::BigInt) => Ok(()),
        Some(_) => Err(SchemaError::InvalidTimeToLive {
            reason: "the event time column must be a DATE, DATETIME, TIMESTAMP or BIGINT",
        }),
        None => Err(SchemaError::UnknownColumn { part: "time to live", column: index.to_string() }),
    }
}
