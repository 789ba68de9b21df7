//! Rows with a time to live: some have expired when they are written, others never do while a run lasts.

use super::DATABASE;
use crate::queue::{MICROSECOND, Time};
use duet_protocol::schema::{ColumnType, TableDefinition};
use duet_protocol::value::ValueRef;

/// Name of the table.
pub const EXPIRING: &str = "expiring";
/// Column of the event time.
pub const EVENT_TIME: u16 = 1;
/// Column of the number by which a write is known.
pub const NUMBER: u16 = 2;
/// Clock of the data nodes when a run begins: 2026-01-01, in microseconds.
const WALL_START: i64 = 1_767_225_600_000_000;
/// Microseconds of an hour, much more than a run lasts.
const HOUR: i64 = 3_600_000_000;
/// Time to live of the rows.
const LIFE_SECONDS: u64 = 60;

/// The clock of data nodes: microseconds since 1970-01-01 UTC.
pub fn wall_clock(now: Time) -> i64 {
    WALL_START + (now / MICROSECOND) as i64
}

/// Definition of the table, with a unique index on the number or without: then a purge concerns the index, too.
///
/// # Panics
/// Never: the definition is valid.
pub fn expiring_definition(indexed: bool) -> TableDefinition {
    let table = TableDefinition::builder(DATABASE, EXPIRING)
        .required("id", ColumnType::BigIntUnsigned)
        .nullable("at", ColumnType::Timestamp)
        .required("number", ColumnType::BigInt)
        .primary_key(["id"])
        .time_to_live(LIFE_SECONDS, "at");
    let table = if indexed { table.unique_index("by_number", &["number"]) } else { table };
    table.build().expect("the definition is valid")
}

/// An event time long ago, or one that lasts: ahead, or none.
pub fn event_time(expired: bool, number: i64) -> ValueRef<'static> {
    match expired {
        true => ValueRef::Timestamp(WALL_START - HOUR),
        false if number % 4 == 0 => ValueRef::Null,
        false => ValueRef::Timestamp(WALL_START + HOUR),
    }
}
