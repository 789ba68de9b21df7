//! Scans while the table grows and shrinks under them.

use super::index::good_hash;
use super::{cases, header, new_arena};
use duet_memory::{Arena, HashIndex, Priority, RowHandle};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// An index together with the rows that it must hold.
struct Table {
    arena: Arena,
    index: HashIndex,
    rows: BTreeMap<u16, RowHandle>,
}

impl Table {
    fn new() -> Self {
        Self { arena: new_arena().1, index: HashIndex::new(good_hash), rows: BTreeMap::new() }
    }

    fn insert(&mut self, number: u16) -> bool {
        if self.rows.contains_key(&number) {
            return false;
        }
        let key = number.to_be_bytes();
        let row = self.arena.allocate_row(&header(1), &key, b"", Priority::Normal).unwrap();
        self.index.insert(&mut self.arena, good_hash(&key), row, Priority::Normal).unwrap();
        self.rows.insert(number, row);
        true
    }

    fn remove(&mut self, number: u16) -> bool {
        let Some(row) = self.rows.remove(&number) else { return false };
        assert!(self.index.remove(&mut self.arena, good_hash(&number.to_be_bytes()), row));
        self.arena.free(row);
        true
    }

    /// One step; the keys visited.
    fn scan_step(&self, cursor: u64) -> (Vec<u16>, Option<u64>) {
        let mut keys = Vec::new();
        let next = self.index.scan_step(&self.arena, cursor, |row| {
            keys.push(u16::from_be_bytes(self.arena.key(row).try_into().unwrap()));
        });
        (keys, next)
    }
}

proptest! {
    #![proptest_config(cases(96, 3))]

    #[test]
    fn rows_that_stay_are_seen_exactly_once(
        first in prop::collection::btree_set(0..2000_u16, 0..if cfg!(miri) { 60 } else { 1200 }),
        changes in prop::collection::vec((any::<bool>(), prop::collection::vec(0..2000_u16, 0..200)), 1..20),
    ) {
        let mut table = Table::new();
        for &number in &first {
            table.insert(number);
        }
        let (mut inserted, mut removed) = (BTreeSet::new(), BTreeSet::new());
        let mut seen = BTreeMap::<u16, u32>::new();
        let mut highest = 0;
        let (mut cursor, mut step) = (Some(0), 0);
        while let Some(position) = cursor {
            let (keys, next) = table.scan_step(position);
            for key in keys {
                let place = good_hash(&key.to_be_bytes()).reverse_bits();
                prop_assert!(place >= position && next.is_none_or(|next| place < next));
                *seen.entry(key).or_default() += 1;
            }
            prop_assert!(next.is_none_or(|next| next > position));
            highest = highest.max(position);
            if let Some((inserts, numbers)) = changes.get(step) {
                for &number in numbers.iter().take(if cfg!(miri) { 20 } else { 200 }) {
                    if *inserts && table.insert(number) {
                        inserted.insert(number);
                    } else if !*inserts && table.remove(number) {
                        removed.insert(number);
                    }
                }
            }
            step += 1;
            cursor = next;
        }
        for number in first {
            if !removed.contains(&number) {
                prop_assert_eq!(seen.get(&number), Some(&1), "row {} stayed throughout", number);
            }
        }
        for (number, times) in seen {
            prop_assert!(times == 1 || inserted.contains(&number) && removed.contains(&number));
        }
    }
}

#[test]
fn an_empty_index_is_scanned_at_once() {
    let mut table = Table::new();
    assert_eq!(table.scan_step(0), (vec![], None));
    table.insert(5);
    assert_eq!(table.scan_step(0), (vec![5], None));
}

#[test]
fn a_position_inside_a_merged_bucket_visits_the_rest_only() {
    let mut table = Table::new();
    let count = if cfg!(miri) { 150 } else { 2000 };
    for number in 0..count {
        table.insert(number);
    }
    // Half of all hashes are visited, then the table shrinks to one bucket.
    let mut cursor = 0;
    while cursor < 1 << 63 {
        cursor = table.scan_step(cursor).1.unwrap();
    }
    assert_eq!(cursor, 1 << 63);
    for number in 3..count {
        table.remove(number);
    }
    let mut rest = Vec::new();
    let mut next = Some(cursor);
    while let Some(position) = next {
        let (keys, following) = table.scan_step(position);
        rest.extend(keys);
        next = following;
    }
    rest.sort_unstable();
    let expected: Vec<u16> =
        (0..3).filter(|number: &u16| good_hash(&number.to_be_bytes()).reverse_bits() >= cursor).collect();
    assert_eq!(rest, expected);
}
