//! The range that a scan while traffic runs reads, how far it has come, and whether its rows come in order.

use crate::history::Violation;
use crate::random::Random;
use crate::workload::{KeyBound, RegisterTable};
use duet_protocol::ids::RowVersion;
use duet_protocol::key::{IndexLayout, pass_prefix};
use duet_protocol::row::RowView;
use duet_protocol::signal::scan::{FLAG_RANGE, FLAG_REVERSE};
use duet_protocol::value::Value;
use std::collections::BTreeSet;

/// A range of an ordered index, fragment by fragment.
#[derive(Debug)]
pub struct LiveRange {
    /// Number of the index.
    pub index: u32,
    layout: IndexLayout,
    reverse: bool,
    whole: (Vec<u8>, Vec<u8>),
    /// What is left of it in the fragment that is being read.
    pub left: (Vec<u8>, Vec<u8>),
    last: Option<Vec<u8>>,
    versions: BTreeSet<(Vec<u8>, RowVersion)>,
}

impl LiveRange {
    /// A range of the primary key with the keys within a bound, or all rows.
    ///
    /// # Panics
    /// Never: the bounds fit the tables.
    pub fn of_primary_key(random: &mut Random, table: &RegisterTable, bound: Option<&KeyBound>) -> LiveRange {
        let layout = IndexLayout::primary(table.layout());
        let mut to = Vec::new();
        if let Some(bound) = bound {
            let (value, inclusive) = match bound {
                KeyBound::Below(key) => (Value::UInt(*key), false),
                KeyBound::Tenant(tenant) => (Value::Int(*tenant), true),
            };
            layout.append_bound(&[value], &mut to).expect("bounds fit");
            assert!(!inclusive || pass_prefix(&mut to), "tenants are no greatest numbers");
        }
        LiveRange::new(random, 0, layout, (Vec::new(), to))
    }

    /// A range of a secondary index: with all rows, or those whose counter is not less than this.
    ///
    /// # Panics
    /// Never: the bounds fit the tables.
    pub fn of_index(
        random: &mut Random,
        table: &RegisterTable,
        (index, columns): (u32, &[u16]),
        least_counter: Option<i64>,
    ) -> LiveRange {
        let layout = IndexLayout::secondary(table.layout(), columns).expect("the columns have an order");
        let mut from = Vec::new();
        if let Some(least) = least_counter.filter(|_| columns[0] == table.counter_column()) {
            layout.append_bound(&[Value::Int(least)], &mut from).expect("bounds fit");
        }
        LiveRange::new(random, index, layout, (from, Vec::new()))
    }

    fn new(random: &mut Random, index: u32, layout: IndexLayout, whole: (Vec<u8>, Vec<u8>)) -> LiveRange {
        let (reverse, left) = (random.chance(500_000), whole.clone());
        LiveRange { index, layout, reverse, whole, left, last: None, versions: BTreeSet::new() }
    }

    /// Flags of its requests.
    pub fn flags(&self) -> u32 {
        FLAG_RANGE | if self.reverse { FLAG_REVERSE } else { 0 }
    }

    /// Whether updates can change where rows are in it.
    pub fn moves(&self) -> bool {
        !self.layout.is_primary()
    }

    /// A row came: it is in the range, behind the one before, and has not come before as it is.
    pub fn see(
        &mut self,
        table: &RegisterTable,
        version: RowVersion,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Violation> {
        let mut index_key = Vec::new();
        self.layout.append_key(&RowView::new(table.layout(), key, value), &mut index_key);
        let (from, to) = &self.whole;
        if index_key < *from || (!to.is_empty() && index_key >= *to) {
            return Err(Violation::new("a range has no rows outside", format!("{version}: {index_key:?}")));
        }
        let in_order = self.last.as_ref().is_none_or(|last| match self.reverse {
            true => index_key < *last,
            false => index_key > *last,
        });
        if !in_order {
            let detail = format!("{version}: {index_key:?} comes after {:?}", self.last);
            return Err(Violation::new("rows of a range come in order", detail));
        }
        self.last = Some(index_key);
        if !self.versions.insert((key.to_vec(), version)) {
            return Err(Violation::new("a range returns a version of a row once", version.to_string()));
        }
        Ok(())
    }

    /// Goes on behind this key.
    pub fn advance(&mut self, last: &[u8]) {
        if self.reverse {
            self.left.1 = last.to_vec();
        } else {
            self.left.0 = [last, &[0]].concat();
        }
    }

    /// Begins with another fragment.
    pub fn restart(&mut self) {
        self.left = self.whole.clone();
        self.last = None;
    }
}
