//! The bank: accounts that always exist, savings that come and go, and how their rows look as bytes. Money only moves.

use super::DATABASE;
use crate::history::Violation;
use duet_protocol::layout::TableLayout;
use duet_protocol::row::RowView;
use duet_protocol::schema::{ColumnType, TableDefinition};
use duet_protocol::update::{Assignment, encode_update};
use duet_protocol::value::ValueRef;

/// Name of the bank's table.
pub const BANK: &str = "bank";
/// What every account holds at first.
pub const FIRST_BALANCE: i64 = 1_000;
/// Key of the first savings row.
pub const FIRST_SAVINGS: u64 = 1_000;
/// Number of savings keys.
pub const SAVINGS: u64 = 3;

/// A row of the bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BankRow {
    /// Money.
    pub balance: i64,
    /// Number of the transaction that wrote it last, 0 for none.
    pub stamp: u64,
    /// Increments outside of transactions.
    pub touches: i64,
}

/// Definition of the bank's table.
///
/// # Panics
/// Never: the definition is valid.
pub fn bank_definition() -> TableDefinition {
    TableDefinition::builder(DATABASE, BANK)
        .required("id", ColumnType::BigIntUnsigned)
        .required("balance", ColumnType::BigInt)
        .required("stamp", ColumnType::BigIntUnsigned)
        .required("touches", ColumnType::BigInt)
        .primary_key(["id"])
        .build()
        .expect("the definition is valid")
}

/// All keys of a bank with so many accounts.
pub fn bank_keys(accounts: u64) -> Vec<u64> {
    (0..accounts).chain(FIRST_SAVINGS..FIRST_SAVINGS + SAVINGS).collect()
}

/// The values of a row, for inserts and upserts.
pub fn bank_values(key: u64, row: BankRow) -> [ValueRef<'static>; 4] {
    [ValueRef::UInt(key), ValueRef::Int(row.balance), ValueRef::UInt(row.stamp), ValueRef::Int(row.touches)]
}

/// An update program: changes of balance (set, or added), stamp and touches.
///
/// # Panics
/// Never: the assignments fit the table.
pub fn bank_program(
    layout: &TableLayout,
    balance: Option<Assignment<'static>>,
    stamp: Option<u64>,
    touches: i64,
) -> Vec<u8> {
    let mut assignments = Vec::new();
    assignments.extend(balance.map(|balance| (1, balance)));
    assignments.extend(stamp.map(|stamp| (2, Assignment::Set(ValueRef::UInt(stamp)))));
    if touches != 0 {
        assignments.push((3, Assignment::Add(ValueRef::Int(touches))));
    }
    let mut program = Vec::new();
    encode_update(layout, &assignments, &mut program).expect("updates fit");
    program
}

/// Reads a row back.
///
/// # Errors
/// When a column has another type.
pub fn read_bank(row: &RowView<'_>) -> Result<BankRow, Violation> {
    let column = |index| row.column(index).ok();
    match (column(1), column(2), column(3)) {
        (Some(ValueRef::Int(balance)), Some(ValueRef::UInt(stamp)), Some(ValueRef::Int(touches))) => {
            Ok(BankRow { balance, stamp, touches })
        }
        other => Err(Violation::new("rows are whole", format!("a row of the bank: {other:?}"))),
    }
}
