//! Checks of what the clients saw.

mod append;
mod bank;
pub mod causality;
mod cut;
mod cycle;
mod fragments;
mod registers;
mod scans;
mod views;

use crate::history::{History, Register, Violation};
use std::collections::BTreeMap;

pub use append::{AppendRecord, UnlockedRead, check_appends};
pub use bank::{BankRecord, check_bank};
pub use cut::CutChecker;
pub use registers::FinalRow;
pub use views::ViewChecker;

/// Judges a history.
///
/// `final_rows` are the rows that were there when everything had come to rest, for the tables that still exist;
/// `None` when the cluster cannot be asked any more.
///
/// # Errors
/// The first violation, in the order of tables and keys.
pub fn check(
    history: &History,
    final_rows: Option<&BTreeMap<Register, FinalRow>>,
    tables_at_end: &[u32],
) -> Result<(), Violation> {
    fragments::check(&history.writes)?;
    scans::check(history)?;
    registers::check(history, final_rows, tables_at_end)
}
