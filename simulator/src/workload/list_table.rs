//! Lists of numbers: each row is a list, to which transactions append.

use super::DATABASE;
use crate::history::Violation;
use duet_protocol::row::RowView;
use duet_protocol::schema::{ColumnType, TableDefinition};
use duet_protocol::value::ValueRef;

/// Name of the table.
pub const LISTS: &str = "lists";
/// Elements after which nothing is appended to a list any more.
pub const LONGEST_LIST: usize = 2_000;
/// Most bytes of an element with its separator.
const ELEMENT_BYTES: usize = 21;

/// Definition of the table.
///
/// # Panics
/// Never: the definition is valid.
pub fn list_definition() -> TableDefinition {
    TableDefinition::builder(DATABASE, LISTS)
        .required("id", ColumnType::BigIntUnsigned)
        .required("items", ColumnType::Varbinary { bytes: ((LONGEST_LIST + 64) * ELEMENT_BYTES) as u32 })
        .primary_key(["id"])
        .build()
        .expect("the definition is valid")
}

/// A list as the bytes of its column.
pub fn list_bytes(items: &[u64]) -> Vec<u8> {
    items.iter().flat_map(|item| item.to_string().into_bytes().into_iter().chain([b' '])).collect()
}

/// The values of a row, for upserts.
pub fn list_values(key: u64, bytes: &[u8]) -> [ValueRef<'_>; 2] {
    [ValueRef::UInt(key), ValueRef::Bytes(bytes.into())]
}

/// Reads a row back.
///
/// # Errors
/// When it is no list.
pub fn read_list(row: &RowView<'_>) -> Result<Vec<u64>, Violation> {
    let broken = |what: String| Violation::new("rows are whole", format!("a list: {what}"));
    let column = row.column(1).map_err(|error| broken(error.to_string()))?;
    let ValueRef::Bytes(bytes) = column else { return Err(broken(format!("{column:?}"))) };
    let text = std::str::from_utf8(&bytes).map_err(|error| broken(error.to_string()))?;
    let items = text.split_terminator(' ').map(|item| item.parse().map_err(|_| broken(item.to_owned())));
    items.collect()
}
