//! The ordered index with nodes of the real size: adversarial orders, scans in slices under changes, memory. (Every
//! step of small trees is checked beside the code.)

use super::{cases, header, new_arena};
use duet_memory::{
    Arena, ArenaOptions, InsertError, MemoryBudget, OrderedIndex, PAGE_BYTES, Position, PrimaryKeys,
    Priority, RowHandle, RowKeys,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn mix(number: u32) -> u32 {
    number.wrapping_mul(0x9E37_79B1).rotate_left(15).wrapping_mul(0x85EB_CA77)
}

/// An index together with the entries that it must hold.
struct Table {
    arena: Arena,
    index: OrderedIndex,
    rows: BTreeMap<Vec<u8>, RowHandle>,
}

impl Table {
    fn new() -> Self {
        Self { arena: new_arena().1, index: OrderedIndex::unique(), rows: BTreeMap::new() }
    }

    fn insert(&mut self, key: &[u8]) -> bool {
        let row = self.arena.allocate_row(&header(1), key, b"", Priority::Normal).unwrap();
        let result = self.index.insert(&mut self.arena, &PrimaryKeys, key, row, Priority::Normal);
        if let Some(&old) = self.rows.get(key) {
            assert_eq!(result, Err(InsertError::Duplicate(old)));
            self.arena.free(row);
            return false;
        }
        result.unwrap();
        self.rows.insert(key.to_vec(), row);
        true
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        let Some(row) = self.rows.remove(key) else { return false };
        assert!(self.index.remove(&mut self.arena, &PrimaryKeys, key, row));
        assert!(!self.index.remove(&mut self.arena, &PrimaryKeys, key, row));
        self.arena.free(row);
        true
    }

    fn check(&self) {
        assert_eq!(self.index.len(), self.rows.len() as u64);
        let all = || self.index.range(&self.arena, &PrimaryKeys, Position::First, Position::Last);
        assert!(all().eq(self.rows.values().copied()));
        assert!(all().rev().eq(self.rows.values().rev().copied()));
        for (key, &row) in &self.rows {
            assert_eq!(self.index.find(&self.arena, &PrimaryKeys, key), Some(row));
        }
    }
}

/// Inserts keys in one order and removes them in another, down to nothing.
fn fill_and_empty(keys: &[Vec<u8>], removals: &[Vec<u8>]) {
    let mut table = Table::new();
    for key in keys {
        assert!(table.insert(key));
    }
    table.check();
    for (done, key) in removals.iter().enumerate() {
        assert!(table.remove(key));
        if done == removals.len() / 2 {
            table.check();
            let bytes_per_row = table.index.bytes() as f64 / table.index.len() as f64;
            assert!(
                cfg!(miri) || keys[0].len() > 20 || bytes_per_row < 22.0,
                "{bytes_per_row} bytes per row"
            );
        }
    }
    assert_eq!((table.index.bytes(), table.arena.allocated_bytes()), (0, 0));
}

#[test]
fn adversarial_orders() {
    let count = if cfg!(miri) { 70 } else { 20_000_u32 };
    let ascending: Vec<u32> = (0..count).collect();
    let mut random = ascending.clone();
    random.sort_by_key(|&number| mix(number));
    let zigzag: Vec<u32> = (0..count / 2).flat_map(|number| [number, count - 1 - number]).collect();
    let inward: Vec<u32> = zigzag.iter().rev().copied().collect();
    let descending: Vec<u32> = ascending.iter().rev().copied().collect();
    let orders = [&ascending, &descending, &random, &zigzag, &inward];
    let short = |number: &u32| number.to_be_bytes().to_vec();
    let long = |number: &u32| [&[0x41; 300][..], &u64::from(*number).to_be_bytes(), b"tail"].concat();
    // Two of the orders are enough to look for undefined behaviour.
    let tried = if cfg!(miri) { 2 } else { orders.len() };
    for (place, order) in orders.into_iter().enumerate().take(tried) {
        let removal = orders[(place + 2) % orders.len()];
        let keys: Vec<Vec<u8>> = order.iter().map(short).collect();
        fill_and_empty(&keys, &removal.iter().map(short).collect::<Vec<_>>());
        let some = if cfg!(miri) { 40 } else { 2_000 };
        let keys: Vec<Vec<u8>> = order.iter().filter(|&&number| number < some).map(long).collect();
        let removals: Vec<Vec<u8>> = removal.iter().filter(|&&number| number < some).map(long).collect();
        fill_and_empty(&keys, &removals);
    }
}

#[test]
fn random_and_ascending_keys_need_few_bytes() {
    let count = if cfg!(miri) { 50 } else { 60_000_u32 };
    for (is_random, limit) in [(true, 9.5), (false, 7.0)] {
        let mut table = Table::new();
        for number in 0..count {
            let number = if is_random { mix(number) } else { number };
            table.insert(&u64::from(number).to_be_bytes());
        }
        let bytes_per_row = table.index.bytes() as f64 / table.index.len() as f64;
        assert!(cfg!(miri) || bytes_per_row < limit, "{bytes_per_row} bytes per row");
        while !table.index.clear_step(&mut table.arena, 5) {}
        assert!(table.index.is_empty() && table.index.bytes() == 0);
    }
}

proptest! {
    #![proptest_config(cases(60, 3))]

    #[test]
    fn rows_that_stay_are_seen_exactly_once(
        first in prop::collection::btree_set(0..3000_u16, 0..if cfg!(miri) { 60 } else { 1500 }),
        changes in prop::collection::vec((any::<bool>(), prop::collection::vec(0..3000_u16, 0..200)), 1..20),
        slice_rows in 1..60_usize,
        forward in any::<bool>(),
    ) {
        let key_of = |number: u16| [&b"common prefix"[..], &number.to_be_bytes()].concat();
        let mut table = Table::new();
        for &number in &first {
            table.insert(&key_of(number));
        }
        let (mut stays, mut seen) = (first, Vec::new());
        let mut resume: Option<Vec<u8>> = None;
        for step in 0.. {
            let mut slice = vec![RowHandle::NULL; slice_rows];
            let taken = match (&resume, forward) {
                (Some(key), true) =>
                    table.index.range(&table.arena, &PrimaryKeys, Position::After(key), Position::Last).take_into(&mut slice),
                (None, true) =>
                    table.index.range(&table.arena, &PrimaryKeys, Position::First, Position::Last).take_into(&mut slice),
                (Some(key), false) =>
                    table.index.range(&table.arena, &PrimaryKeys, Position::First, Position::Before(key)).take_back_into(&mut slice),
                (None, false) =>
                    table.index.range(&table.arena, &PrimaryKeys, Position::First, Position::Last).take_back_into(&mut slice),
            };
            let keys: Vec<Vec<u8>> = slice[..taken].iter().map(|&row| table.arena.key(row).to_vec()).collect();
            resume = keys.last().cloned().or(resume);
            seen.extend(keys);
            if taken < slice_rows {
                break;
            }
            if let Some((inserts, numbers)) = changes.get(step) {
                for &number in numbers.iter().take(if cfg!(miri) { 20 } else { 200 }) {
                    if *inserts {
                        table.insert(&key_of(number));
                    } else {
                        table.remove(&key_of(number));
                        stays.remove(&number);
                    }
                }
            }
        }
        if !forward {
            seen.reverse();
        }
        prop_assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
        let seen: BTreeSet<Vec<u8>> = seen.into_iter().collect();
        prop_assert!(stays.iter().all(|&number| seen.contains(&key_of(number))));
        table.check();
    }

    #[test]
    fn keys_of_all_kinds(
        keys in prop::collection::btree_set(
            prop::collection::vec(prop_oneof![Just(0_u8), Just(255), any::<u8>()], 0..24),
            0..if cfg!(miri) { 40 } else { 900 },
        ),
        order in any::<u64>(),
    ) {
        let mut table = Table::new();
        let mut shuffled: Vec<&Vec<u8>> = keys.iter().collect();
        shuffled.sort_by_key(|key| xxhash_rust::xxh3::xxh3_64_with_seed(key, order));
        for key in &shuffled {
            table.insert(key);
        }
        table.check();
        for key in &shuffled[shuffled.len() / 3..] {
            table.remove(key);
        }
        table.check();
    }
}

/// Keys that are not stored as they are compared: the last four bytes of the value, then the primary key.
struct ValueKeys;

impl RowKeys for ValueKeys {
    fn with_key<R>(&self, arena: &Arena, row: RowHandle, read: impl FnOnce(&[u8]) -> R) -> R {
        let row = arena.row(row);
        read(&[row.value, row.key].concat())
    }
}

#[test]
fn a_secondary_index_builds_its_keys() {
    let (_budget, mut arena) = new_arena();
    let mut index = OrderedIndex::unique();
    let mut expected = BTreeMap::new();
    for number in 0..if cfg!(miri) { 60 } else { 3000_u32 } {
        let (key, value) = (number.to_be_bytes(), (mix(number) % 50).to_be_bytes());
        let row = arena.allocate_row(&header(1), &key, &value, Priority::Normal).unwrap();
        let key = [value, key].concat();
        index.insert(&mut arena, &ValueKeys, &key, row, Priority::Normal).unwrap();
        expected.insert(key, row);
    }
    let group = 7_u32.to_be_bytes();
    let range = index.range(&arena, &ValueKeys, Position::Before(&group), Position::Before(&[0, 0, 0, 8]));
    assert!(range.eq(expected.iter().filter(|(key, _)| key.starts_with(&group)).map(|(_, &row)| row)));
}

#[test]
fn every_page_that_cannot_be_had_is_survived() {
    let ballast_pages = 24;
    let budget = MemoryBudget::with_reserve((ballast_pages + 1) * PAGE_BYTES as u64, 0);
    let mut arena = Arena::new(budget, ArenaOptions::small(8 << 20)).unwrap();
    let mut ballast: Vec<RowHandle> =
        (0..ballast_pages).map(|_| arena.allocate_bytes(PAGE_BYTES, Priority::Normal).unwrap()).collect();
    // Keys long enough for separators of several size classes.
    let mut index = OrderedIndex::unique();
    let mut model = BTreeMap::new();
    let mut failures = 0;
    for number in 0_u32.. {
        let number = mix(number);
        let key = [vec![5; number as usize % 50], number.to_be_bytes().to_vec()].concat();
        let Ok(row) = arena.allocate_row(&header(1), &key, b"", Priority::Normal) else {
            let Some(page) = ballast.pop() else { break };
            arena.free(page);
            continue;
        };
        let before = (index.len(), index.bytes());
        while let Err(error) = index.insert(&mut arena, &PrimaryKeys, &key, row, Priority::Normal) {
            assert!(matches!(error, InsertError::OutOfMemory(_)));
            assert_eq!((index.len(), index.bytes()), before);
            assert_eq!(index.find(&arena, &PrimaryKeys, &key), None);
            failures += 1;
            let Some(page) = ballast.pop() else { break };
            arena.free(page);
        }
        if index.len() == before.0 {
            break;
        }
        model.insert(key, row);
        if cfg!(miri) && model.len() == 80 {
            break;
        }
    }
    assert!(failures > 1);
    let all = index.range(&arena, &PrimaryKeys, Position::First, Position::Last);
    assert!(all.eq(model.values().copied()));
}
