//! Results: OK and error packets, column definitions, rows as text and as binary values.

use crate::error::SqlError;
use crate::value::format;
use crate::wire::handshake::UTF8MB4_BIN;
use crate::wire::packet::{put_length, put_string};
use duet_client::{ColumnType, Value, ValueRef};
use duet_protocol::value::{MICROSECONDS_PER_DAY, civil_from_days};
use mysql_common::constants::{ColumnFlags, ColumnType as WireType, StatusFlags};

/// Number of the character set of bytes that are no text.
const BINARY: u16 = 63;
/// Most characters of a column's name.
const MAX_NAME: usize = 256;
/// Bytes of a column definition behind its names.
const FIXED_BYTES: u8 = 12;
/// Decimals of a floating-point column: as many as there are.
const DYNAMIC: u8 = 31;

/// A column of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultColumn {
    /// Name, or what the statement calls it.
    pub name: String,
    /// Type; `None` for what is always NULL.
    pub column_type: Option<ColumnType>,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Database, table and column that it comes from, if it is one.
    pub origin: Option<Origin>,
}

/// Where a column of a result comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Database.
    pub database: String,
    /// Name of the table.
    pub table: String,
    /// Name of the table in the statement.
    pub alias: String,
    /// Name of the column.
    pub column: String,
    /// Part of the primary key.
    pub is_key: bool,
    /// Has numbers of its own.
    pub is_auto_increment: bool,
}

impl ResultColumn {
    /// A computed column.
    pub fn new(name: impl Into<String>, column_type: ColumnType) -> ResultColumn {
        ResultColumn { name: name.into(), column_type: Some(column_type), nullable: true, origin: None }
    }

    /// A column of text.
    pub fn text(name: impl Into<String>) -> ResultColumn {
        ResultColumn::new(name, ColumnType::Varchar { characters: 1_024 })
    }

    /// The type as it travels.
    pub fn wire_type(&self) -> WireType {
        match self.column_type {
            None => WireType::MYSQL_TYPE_NULL,
            Some(column_type) => wire_type(column_type),
        }
    }

    fn put(&self, output: &mut Vec<u8>) {
        let mut flags = ColumnFlags::empty();
        flags.set(ColumnFlags::NOT_NULL_FLAG, !self.nullable);
        let mut character_set = BINARY;
        let mut decimals = 0;
        let mut length = 0;
        if let Some(column_type) = self.column_type {
            flags.set(ColumnFlags::UNSIGNED_FLAG, is_unsigned(column_type));
            flags.set(ColumnFlags::BINARY_FLAG, !is_text(column_type));
            flags.set(ColumnFlags::BLOB_FLAG, is_long(column_type));
            if is_text(column_type) {
                character_set = UTF8MB4_BIN;
            }
            decimals = match column_type {
                ColumnType::Float | ColumnType::Double => DYNAMIC,
                ColumnType::Decimal { scale, .. } => scale,
                _ => 0,
            };
            length = display_bytes(column_type);
        }
        // MySQL, too, cuts what it takes for a name from a statement.
        let name = self.name.char_indices().nth(MAX_NAME).map_or(&*self.name, |(end, _)| &self.name[..end]);
        let names: [&str; 5] = match &self.origin {
            None => ["", "", "", name, ""],
            Some(origin) => {
                flags.set(ColumnFlags::PRI_KEY_FLAG, origin.is_key);
                flags.set(ColumnFlags::AUTO_INCREMENT_FLAG, origin.is_auto_increment);
                [&origin.database, &origin.alias, &origin.table, name, &origin.column]
            }
        };
        // By hand: `Column::serialize` of mysql_common 0.38 exchanges character set and length.
        put_string(b"def", output);
        names.into_iter().for_each(|name| put_string(name.as_bytes(), output));
        output.push(FIXED_BYTES);
        output.extend_from_slice(&character_set.to_le_bytes());
        output.extend_from_slice(&length.to_le_bytes());
        output.push(self.wire_type() as u8);
        output.extend_from_slice(&flags.bits().to_le_bytes());
        output.extend_from_slice(&[decimals, 0, 0]);
    }
}

fn is_unsigned(column_type: ColumnType) -> bool {
    matches!(
        column_type,
        ColumnType::TinyIntUnsigned
            | ColumnType::SmallIntUnsigned
            | ColumnType::MediumIntUnsigned
            | ColumnType::IntUnsigned
            | ColumnType::BigIntUnsigned
    )
}

/// Whether values are characters, not bytes or numbers.
pub fn is_text(column_type: ColumnType) -> bool {
    matches!(
        column_type,
        ColumnType::Char { .. } | ColumnType::Varchar { .. } | ColumnType::Text | ColumnType::Json
    )
}

fn is_long(column_type: ColumnType) -> bool {
    matches!(column_type, ColumnType::Text | ColumnType::Blob | ColumnType::Json | ColumnType::Vector { .. })
}

fn wire_type(column_type: ColumnType) -> WireType {
    match column_type {
        ColumnType::TinyInt | ColumnType::TinyIntUnsigned | ColumnType::Boolean => WireType::MYSQL_TYPE_TINY,
        ColumnType::SmallInt | ColumnType::SmallIntUnsigned => WireType::MYSQL_TYPE_SHORT,
        ColumnType::MediumInt | ColumnType::MediumIntUnsigned => WireType::MYSQL_TYPE_INT24,
        ColumnType::Int | ColumnType::IntUnsigned => WireType::MYSQL_TYPE_LONG,
        ColumnType::BigInt | ColumnType::BigIntUnsigned => WireType::MYSQL_TYPE_LONGLONG,
        ColumnType::Float => WireType::MYSQL_TYPE_FLOAT,
        ColumnType::Double => WireType::MYSQL_TYPE_DOUBLE,
        ColumnType::Decimal { .. } => WireType::MYSQL_TYPE_NEWDECIMAL,
        ColumnType::Char { .. } | ColumnType::Binary { .. } => WireType::MYSQL_TYPE_STRING,
        ColumnType::Varchar { .. } | ColumnType::Varbinary { .. } => WireType::MYSQL_TYPE_VAR_STRING,
        ColumnType::Text | ColumnType::Blob | ColumnType::Vector { .. } => WireType::MYSQL_TYPE_BLOB,
        ColumnType::Date => WireType::MYSQL_TYPE_DATE,
        ColumnType::Time => WireType::MYSQL_TYPE_TIME,
        ColumnType::DateTime => WireType::MYSQL_TYPE_DATETIME,
        ColumnType::Timestamp => WireType::MYSQL_TYPE_TIMESTAMP,
        ColumnType::Json => WireType::MYSQL_TYPE_JSON,
    }
}

/// Most bytes that values take as text; drivers size buffers by it.
fn display_bytes(column_type: ColumnType) -> u32 {
    match column_type {
        ColumnType::TinyInt | ColumnType::TinyIntUnsigned => 4,
        ColumnType::Boolean => 1,
        ColumnType::SmallInt | ColumnType::SmallIntUnsigned => 6,
        ColumnType::MediumInt | ColumnType::MediumIntUnsigned => 9,
        ColumnType::Int | ColumnType::IntUnsigned => 11,
        ColumnType::BigInt | ColumnType::BigIntUnsigned => 20,
        ColumnType::Float => 12,
        ColumnType::Double => 22,
        ColumnType::Decimal { precision, .. } => u32::from(precision) + 2,
        ColumnType::Char { characters } | ColumnType::Varchar { characters } => characters.saturating_mul(4),
        ColumnType::Binary { bytes } | ColumnType::Varbinary { bytes } => bytes,
        ColumnType::Text | ColumnType::Blob | ColumnType::Json => 65_535,
        ColumnType::Vector { dimensions } => dimensions.saturating_mul(16),
        ColumnType::Date | ColumnType::Time => 10,
        ColumnType::DateTime | ColumnType::Timestamp => 26,
    }
}

/// The columns of a result, with their definitions as they travel.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultHead {
    columns: Vec<ResultColumn>,
    types: Vec<WireType>,
    definitions: Vec<Vec<u8>>,
}

impl ResultHead {
    /// Of these columns.
    pub fn new(columns: Vec<ResultColumn>) -> ResultHead {
        let types = columns.iter().map(ResultColumn::wire_type).collect();
        let definition = |column: &ResultColumn| {
            let mut bytes = Vec::new();
            column.put(&mut bytes);
            bytes
        };
        let definitions = columns.iter().map(definition).collect();
        ResultHead { columns, types, definitions }
    }

    /// The columns.
    pub fn columns(&self) -> &[ResultColumn] {
        &self.columns
    }

    /// Their types as they travel.
    pub fn types(&self) -> &[WireType] {
        &self.types
    }

    /// The payloads of the packets that define them.
    pub fn definitions(&self) -> &[Vec<u8>] {
        &self.definitions
    }
}

/// The number of columns, ahead of their definitions.
pub fn put_column_count(columns: usize, output: &mut Vec<u8>) {
    put_length(columns as u64, output);
}

/// The definition of a column.
pub fn put_column(column: &ResultColumn, output: &mut Vec<u8>) {
    column.put(output);
}

/// What a statement without rows did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Rows that it changed.
    pub affected: u64,
    /// First number that it gave out by AUTO_INCREMENT.
    pub last_insert_id: u64,
    /// A sentence for people, such as `Records: 3  Duplicates: 0  Warnings: 0`.
    pub info: String,
}

/// An OK packet; with `ends_rows` that behind the rows of a result.
pub fn put_ok(done: &Done, status: StatusFlags, warnings: u16, ends_rows: bool, output: &mut Vec<u8>) {
    output.push(if ends_rows { 0xFE } else { 0 });
    put_length(done.affected, output);
    put_length(done.last_insert_id, output);
    output.extend_from_slice(&status.bits().to_le_bytes());
    output.extend_from_slice(&warnings.to_le_bytes());
    if !done.info.is_empty() {
        put_string(done.info.as_bytes(), output);
    }
}

/// The end of columns or rows for clients that know no other.
pub fn put_end(status: StatusFlags, warnings: u16, output: &mut Vec<u8>) {
    output.push(0xFE);
    output.extend_from_slice(&warnings.to_le_bytes());
    output.extend_from_slice(&status.bits().to_le_bytes());
}

/// An error packet.
pub fn put_error(error: &SqlError, output: &mut Vec<u8>) {
    output.push(0xFF);
    output.extend_from_slice(&error.code.to_le_bytes());
    output.push(b'#');
    output.extend_from_slice(error.state.as_bytes());
    // Clients have a buffer of 512 bytes.
    let mut end = error.message.len().min(511);
    while !error.message.is_char_boundary(end) {
        end -= 1;
    }
    output.extend_from_slice(&error.message.as_bytes()[..end]);
}

/// A row of the text protocol.
pub fn put_text_row(values: &[Value], scratch: &mut Vec<u8>, output: &mut Vec<u8>) {
    for value in values {
        match value {
            Value::Null => output.push(0xFB),
            Value::Text(text) | Value::Json(text) => put_string(text.as_bytes(), output),
            Value::Bytes(bytes) => put_string(bytes, output),
            other => {
                scratch.clear();
                format::write(other, scratch);
                put_string(scratch, output);
            }
        }
    }
}

/// The beginning of a row of the binary protocol of so many columns; the place of the bits of NULL.
pub fn begin_binary_row(columns: usize, output: &mut Vec<u8>) -> usize {
    output.push(0);
    let nulls = output.len();
    output.resize(nulls + (columns + 7 + 2) / 8, 0);
    nulls
}

/// The next value of a row of the binary protocol, or its bit of NULL behind `nulls`.
pub fn put_binary_value(
    (index, nulls): (usize, usize),
    value: ValueRef<'_>,
    wire_type: WireType,
    scratch: &mut Vec<u8>,
    output: &mut Vec<u8>,
) {
    match value {
        ValueRef::Null => output[nulls + (index + 2) / 8] |= 1 << ((index + 2) % 8),
        ValueRef::Text(text) => put_string(text.as_bytes(), output),
        ValueRef::Json(text) => put_string(text.as_bytes(), output),
        ValueRef::Bytes(bytes) => put_string(&bytes, output),
        other => put_binary(&Value::from(other), wire_type, scratch, output),
    }
}

/// The next value of a row of the text protocol.
pub fn put_text_value(value: ValueRef<'_>, scratch: &mut Vec<u8>, output: &mut Vec<u8>) {
    match value {
        ValueRef::Null => output.push(0xFB),
        ValueRef::Text(text) => put_string(text.as_bytes(), output),
        ValueRef::Json(text) => put_string(text.as_bytes(), output),
        ValueRef::Bytes(bytes) => put_string(&bytes, output),
        other => {
            scratch.clear();
            format::write(&Value::from(other), scratch);
            put_string(scratch, output);
        }
    }
}

/// A row of the binary protocol.
pub fn put_binary_row(values: &[Value], types: &[WireType], scratch: &mut Vec<u8>, output: &mut Vec<u8>) {
    let nulls = begin_binary_row(values.len(), output);
    for (index, (value, wire_type)) in values.iter().zip(types).enumerate() {
        if *value == Value::Null {
            output[nulls + (index + 2) / 8] |= 1 << ((index + 2) % 8);
        } else {
            put_binary(value, *wire_type, scratch, output);
        }
    }
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Bool(truth) => i64::from(*truth),
        Value::Int(number) => *number,
        // The same bits; the column says that there is no sign.
        Value::UInt(number) => *number as i64,
        Value::Double(number) => *number as i64,
        Value::Float(number) => *number as i64,
        Value::Decimal { unscaled, scale } => {
            (unscaled / 10_i128.checked_pow(u32::from(*scale)).unwrap_or(i128::MAX)) as i64
        }
        _ => 0,
    }
}

fn double(value: &Value) -> f64 {
    match value {
        Value::Double(number) => *number,
        Value::Float(number) => f64::from(*number),
        Value::UInt(number) => *number as f64,
        Value::Decimal { unscaled, scale } => *unscaled as f64 / 10_f64.powi(i32::from(*scale)),
        other => integer(other) as f64,
    }
}

fn put_binary(value: &Value, wire_type: WireType, scratch: &mut Vec<u8>, output: &mut Vec<u8>) {
    match wire_type {
        WireType::MYSQL_TYPE_TINY => output.push(integer(value) as u8),
        WireType::MYSQL_TYPE_SHORT => output.extend_from_slice(&(integer(value) as i16).to_le_bytes()),
        WireType::MYSQL_TYPE_INT24 | WireType::MYSQL_TYPE_LONG => {
            output.extend_from_slice(&(integer(value) as i32).to_le_bytes());
        }
        WireType::MYSQL_TYPE_LONGLONG => output.extend_from_slice(&integer(value).to_le_bytes()),
        WireType::MYSQL_TYPE_FLOAT => output.extend_from_slice(&(double(value) as f32).to_le_bytes()),
        WireType::MYSQL_TYPE_DOUBLE => output.extend_from_slice(&double(value).to_le_bytes()),
        WireType::MYSQL_TYPE_DATE | WireType::MYSQL_TYPE_DATETIME | WireType::MYSQL_TYPE_TIMESTAMP => {
            match value {
                Value::Date(days) => put_moment(i64::from(*days) * MICROSECONDS_PER_DAY, output),
                Value::DateTime(moment) | Value::Timestamp(moment) => put_moment(*moment, output),
                _ => output.push(0),
            }
        }
        WireType::MYSQL_TYPE_TIME => match value {
            Value::Time(microseconds) => put_time(*microseconds, output),
            _ => output.push(0),
        },
        _ => match value {
            Value::Text(text) | Value::Json(text) => put_string(text.as_bytes(), output),
            Value::Bytes(bytes) => put_string(bytes, output),
            other => {
                scratch.clear();
                format::write(other, scratch);
                put_string(scratch, output);
            }
        },
    }
}

fn put_moment(microseconds: i64, output: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(microseconds.div_euclid(MICROSECONDS_PER_DAY));
    let rest = microseconds.rem_euclid(MICROSECONDS_PER_DAY);
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    output.push(if fraction != 0 {
        11
    } else if seconds != 0 {
        7
    } else {
        4
    });
    output.extend_from_slice(&(year as u16).to_le_bytes());
    output.extend_from_slice(&[month as u8, day as u8]);
    if rest != 0 {
        output.extend_from_slice(&[(seconds / 3_600) as u8, (seconds / 60 % 60) as u8, (seconds % 60) as u8]);
    }
    if fraction != 0 {
        output.extend_from_slice(&(fraction as u32).to_le_bytes());
    }
}

fn put_time(microseconds: i64, output: &mut Vec<u8>) {
    if microseconds == 0 {
        output.push(0);
        return;
    }
    let size = microseconds.unsigned_abs();
    let (seconds, fraction) = (size / 1_000_000, size % 1_000_000);
    output.push(if fraction == 0 { 8 } else { 12 });
    output.push(u8::from(microseconds < 0));
    output.extend_from_slice(&((seconds / 86_400) as u32).to_le_bytes());
    output.extend_from_slice(&[
        (seconds / 3_600 % 24) as u8,
        (seconds / 60 % 60) as u8,
        (seconds % 60) as u8,
    ]);
    if fraction != 0 {
        output.extend_from_slice(&(fraction as u32).to_le_bytes());
    }
}
