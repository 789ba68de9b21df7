//! Cuts at closed epochs, judged while a run goes on from what the data nodes have committed.
//!
//! - Once an epoch is closed nothing more is committed in it or before.
//! - The versions of a row have ascending positions, and epochs that never fall; all changes of a transaction have one epoch. So
//!   a cut holds a transaction wholly or not at all, and none without what it has overwritten.
//! - In every closed cut the money of the bank is all there.
//!
//! That a cut holds none without what its client knew is judged from what clients saw: [`super::causality`].

use crate::history::Violation;
use crate::workload::{FIRST_BALANCE, read_bank};
use duet_datanode_core::CommittedChange;
use duet_protocol::ids::{RowVersion, TransactionId};
use duet_protocol::layout::TableLayout;
use duet_protocol::row::RowView;
use std::collections::BTreeMap;

/// A row: table id and key.
type RowName = (u32, Vec<u8>);

/// The bank's table, as the cuts are read.
struct Bank {
    table: u32,
    layout: TableLayout,
    accounts: u64,
    /// All accounts were there in an earlier cut.
    complete: bool,
}

/// What is known of all commits.
#[derive(Default)]
pub struct CutChecker {
    closed: u64,
    cuts: u64,
    latest: BTreeMap<RowName, RowVersion>,
    epochs: BTreeMap<TransactionId, u64>,
    /// Changes of epochs that are not closed.
    open: BTreeMap<u64, Vec<CommittedChange>>,
    /// Rows of the bank in the newest cut.
    rows: BTreeMap<RowName, Vec<u8>>,
    bank: Option<Bank>,
}

impl CutChecker {
    /// From now on the money of the bank is counted in every cut.
    pub fn watch_bank(&mut self, table: u32, layout: TableLayout, accounts: u64) {
        self.bank = Some(Bank { table, layout, accounts, complete: false });
    }

    /// Number of cuts judged.
    pub fn cuts(&self) -> u64 {
        self.cuts
    }

    /// A change was exposed by the node that leads its row.
    ///
    /// # Errors
    /// The violation, if it is one.
    pub fn committed(&mut self, change: CommittedChange) -> Result<(), Violation> {
        let version = change.version;
        let told = |check, other: &dyn std::fmt::Display| {
            let CommittedChange { partition, table, transaction, .. } = &change;
            let detail =
                format!("partition {partition} table {table}: {transaction} commits {version}, {other}");
            Err(Violation::new(check, detail))
        };
        if version.epoch <= self.closed {
            let closed = format!("epoch {} is closed", self.closed);
            return told("a closed epoch takes no more commits", &closed);
        }
        let name = (change.table, change.key.clone());
        if let Some(before) = self.latest.insert(name, version)
            && (before.seq >= version.seq || before.epoch > version.epoch)
        {
            return told("versions of a row rise", &format!("after {before}"));
        }
        let epoch = *self.epochs.entry(change.transaction).or_insert(version.epoch);
        if epoch != version.epoch {
            return told("a transaction has one epoch", &format!("and in epoch {epoch}"));
        }
        self.open.entry(version.epoch).or_default().push(change);
        Ok(())
    }

    /// A node says that an epoch is closed.
    ///
    /// # Errors
    /// The violation, if the cut is not sound.
    pub fn closed_by(&mut self, epoch: u64) -> Result<(), Violation> {
        if epoch <= self.closed {
            return Ok(());
        }
        self.closed = epoch;
        self.cuts += 1;
        let later = self.open.split_off(&(epoch + 1));
        for change in std::mem::replace(&mut self.open, later).into_values().flatten() {
            let name = (change.table, change.key);
            match change.value {
                Some(value) => self.rows.insert(name, value),
                None => self.rows.remove(&name),
            };
        }
        self.count_money()
    }

    fn count_money(&mut self) -> Result<(), Violation> {
        let Some(bank) = &mut self.bank else { return Ok(()) };
        self.rows.retain(|(table, _), _| *table == bank.table);
        let (mut money, mut keys) = (0, Vec::new());
        for ((_, key), value) in &self.rows {
            money += read_bank(&RowView::new(&bank.layout, key, value))?.balance;
            keys.push(key);
        }
        bank.complete |= keys.len() as u64 >= bank.accounts;
        let right = FIRST_BALANCE * bank.accounts as i64;
        if bank.complete && money != right {
            let detail = format!("{money} instead of {right} at the end of epoch {}", self.closed);
            return Err(Violation::new("money is neither made nor lost in a closed epoch", detail));
        }
        Ok(())
    }
}
