//! A table that gets columns while it is in use. What a row must hold is said in the columns of the newest version: one that
//! nobody has written has its default.

use super::DATABASE;
use duet_protocol::schema::{Column, ColumnType, TableDefinition};
use duet_protocol::value::Value;

/// Name of the table.
pub const COLUMNS: &str = "columns";
/// Columns with which the table begins: key, number, label.
pub const FIRST_COLUMNS: usize = 3;
/// Column of the number.
pub const COLUMN_OF_NUMBER: u16 = 1;
/// Columns that it gets one after the other.
pub const ADDED_COLUMNS: usize = 6;
/// Key of the first counter, a row that all clients increment.
pub const FIRST_SHARED: u64 = 1_000_000;
/// Number of counters.
pub const SHARED_ROWS: u64 = 2;

/// Definition of the table's first version.
///
/// # Panics
/// Never: the definition is valid.
pub fn columns_definition() -> TableDefinition {
    TableDefinition::builder(DATABASE, COLUMNS)
        .required("id", ColumnType::BigIntUnsigned)
        .required("number", ColumnType::BigInt)
        .nullable("label", ColumnType::Varchar { characters: 40 })
        .primary_key(["id"])
        .build()
        .expect("the definition is valid")
}

/// Whether this column holds numbers, which can be incremented.
pub fn is_number(column: usize) -> bool {
    column == usize::from(COLUMN_OF_NUMBER) || (column >= FIRST_COLUMNS && column % 2 == 1)
}

/// The added column that takes the current time on insert, so that no new row may be without it.
pub const COLUMN_OF_TIME: usize = 6;

/// What a column holds that nobody has written.
pub fn default_of(column: usize) -> Value {
    match column {
        0..FIRST_COLUMNS => Value::Null,
        COLUMN_OF_TIME => Value::DateTime(1_000_000),
        column if is_number(column) => Value::Int(1_000 * column as i64),
        column if column.is_multiple_of(4) => Value::Null,
        column => Value::Text(format!("default of {column}")),
    }
}

/// What a write with this number writes into a column.
pub fn value_of(column: usize, number: i64) -> Value {
    if column == COLUMN_OF_TIME {
        return Value::DateTime(number);
    }
    match (is_number(column), number % 5) {
        (true, _) => Value::Int(number),
        (false, 0) => Value::Null,
        // Of different lengths, so that rows do not stay where they are.
        (false, rest) => Value::Text(format!("{number}").repeat(rest as usize)),
    }
}

/// The definition of a column that is added.
pub fn added_column(column: usize) -> Column {
    let kind = match column {
        COLUMN_OF_TIME => ColumnType::DateTime,
        column if is_number(column) => ColumnType::BigInt,
        _ => ColumnType::Varchar { characters: 80 },
    };
    let mut added = Column::new(format!("added_{column}"), kind).nullable();
    if column == COLUMN_OF_TIME {
        added = added.current_time_on_insert(6);
    }
    match default_of(column) {
        Value::Null => added,
        default => added.default_value(default),
    }
}
