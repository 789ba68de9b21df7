//! Members of a club: a table with unique indexes. Three kinds of rows share it.
//!
//! *Holders* pass tokens on: badges that exist all the while, each with exactly one of them. *Counters* have badges of their own
//! that only grow, by increments. *Guests* come and go with whatever badge and seat they like, if nobody has it.

use super::DATABASE;
use duet_protocol::schema::{ColumnType, TableDefinition};
use duet_protocol::value::ValueRef;

/// Name of the table.
pub const MEMBERS: &str = "members";
/// Index on the badge.
pub const BY_BADGE: &str = "by_badge";
/// Index on team and seat.
pub const BY_SEAT: &str = "by_seat";
/// Rows that tokens are passed between: keys 0 and up.
pub const HOLDERS: u64 = 6;
/// Badges that always exist: 0 and up.
pub const TOKENS: i64 = 3;
/// Key of the first counter.
pub const FIRST_COUNTER: u64 = 100;
/// Number of counters.
pub const COUNTERS: u64 = 3;
/// Key of the first guest.
pub const FIRST_GUEST: u64 = 200;
/// Number of guests.
pub const GUESTS: u64 = 10;
/// The first badge of guests, and how many there are.
pub const GUEST_BADGES: (i64, u64) = (10, 7);
/// Column of the badge.
pub const BADGE: u16 = 1;

/// Definition of the table.
///
/// # Panics
/// Never: the definition is valid.
pub fn member_definition() -> TableDefinition {
    TableDefinition::builder(DATABASE, MEMBERS)
        .required("id", ColumnType::BigIntUnsigned)
        .nullable("badge", ColumnType::BigInt)
        .nullable("team", ColumnType::Varchar { characters: 10 })
        .required("seat", ColumnType::Int)
        .required("visits", ColumnType::BigInt)
        .primary_key(["id"])
        .unique_index(BY_BADGE, &["badge"])
        .unique_index(BY_SEAT, &["team", "seat"])
        .build()
        .expect("the definition is valid")
}

/// First badge of a counter.
pub fn counter_badge(id: u64) -> i64 {
    id as i64 * 1_000_000
}

/// The rows with which the table begins.
pub fn first_members() -> Vec<[ValueRef<'static>; 5]> {
    let holders = (0..HOLDERS).map(|id| member(id, Some(id as i64).filter(|badge| *badge < TOKENS), None));
    let counters =
        (FIRST_COUNTER..FIRST_COUNTER + COUNTERS).map(|id| member(id, Some(counter_badge(id)), None));
    holders.chain(counters).collect()
}

/// The values of a row.
pub fn member(id: u64, badge: Option<i64>, seat: Option<i64>) -> [ValueRef<'static>; 5] {
    [
        ValueRef::UInt(id),
        badge.map_or(ValueRef::Null, ValueRef::Int),
        seat.map_or(ValueRef::Null, |_| ValueRef::from("blue")),
        ValueRef::Int(seat.unwrap_or(0)),
        ValueRef::Int(0),
    ]
}
