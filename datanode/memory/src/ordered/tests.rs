//! The tree against a map, with nodes of a few entries so that small trees are high; every step checks all that must
//! hold. `tests/model/ordered.rs` does it with nodes of the real size.

use super::inner::INNER_BYTES;
use super::key::common_prefix;
use super::leaf::{LEAF_BYTES, LEAF_ROOM};
use super::path::MAX_HEIGHT;
use super::{BulkError, InsertError, OrderedIndex, Position, PrimaryKeys};
use crate::arena::{Arena, ArenaOptions, RowHandle};
use crate::budget::{MemoryBudget, OutOfMemory, Priority};
use crate::row::RowHeader;
use crate::size_class::PAGE_BYTES;
use proptest::prelude::*;
use proptest::test_runner::Config;
use std::collections::BTreeMap;

const HEADER: RowHeader =
    RowHeader { epoch: 1, sequence: 1, table_version: 1, state: 0, older: RowHandle::NULL };

fn new_arena() -> Arena {
    let bytes = if cfg!(miri) { 4 << 20 } else { 64 << 20 };
    Arena::new(MemoryBudget::with_reserve(bytes, 0), ArenaOptions::small(bytes as usize)).unwrap()
}

fn new_row(arena: &mut Arena, key: &[u8]) -> RowHandle {
    arena.allocate_row(&HEADER, key, b"", Priority::Normal).unwrap()
}

impl OrderedIndex {
    /// Panics unless everything that must hold does; returns all entries in order.
    pub(super) fn check(&self, arena: &Arena) -> Vec<(Vec<u8>, u32)> {
        let mut all = Vec::new();
        if self.is_empty() {
            assert_eq!((self.height, self.bytes()), (0, 0));
            return all;
        }
        let (mut leaves, mut inners, mut slots) = (0, 0, 0);
        let mut path = self.descend_to_end(arena, false);
        loop {
            let leaf = arena.leaf(path.leaf);
            let scale = leaf.scale();
            let fences = path.fences(arena);
            assert!(leaf.count() > 0 && leaf.count() <= LEAF_ROOM);
            for (&row, &head) in leaf.rows().iter().zip(leaf.heads()) {
                let key = arena.key(RowHandle(row));
                assert_eq!(head, scale.head(key));
                let first = arena.key(RowHandle(leaf.rows()[0]));
                assert!(common_prefix(first, key) >= usize::from(scale.prefix));
                for (fence, is_low) in [(fences.low, true), (fences.high, false)] {
                    let Some(separator) = fence.map(|separator| arena.separator(separator)) else { continue };
                    assert!(common_prefix(separator.key, key) >= usize::from(scale.prefix));
                    let entry_row = if self.is_unique { 0 } else { row };
                    assert_eq!((key, entry_row) >= (separator.key, separator.row), is_low);
                }
                all.push((key.to_vec(), row));
            }
            leaves += 1;
            // Inner nodes are counted where they begin.
            for (level, step) in path.steps().iter().enumerate() {
                if path.steps()[level..].iter().all(|step| step.index == 0) {
                    let inner = arena.inner(step.node);
                    inner.check(arena);
                    assert!(inner.count() > 0, "inner nodes have two children");
                    inners += 1;
                    slots += inner
                        .separators()
                        .iter()
                        .map(|&word| arena.bytes(RowHandle(word)).len())
                        .sum::<usize>();
                }
            }
            if !path.advance(arena, true) {
                break;
            }
        }
        assert!(all.is_sorted() && all.len() as u64 == self.len());
        assert_eq!((leaves, inners, slots as u64), (self.leaves, self.inners, self.separator_bytes));
        assert_eq!(self.bytes(), (leaves * LEAF_BYTES as u64) + inners * INNER_BYTES as u64 + slots as u64);
        all
    }
}

/// Distinct keys in several manners: short, with long common prefixes, prefixes of each other, clustered.
fn key_of(manner: u8, number: u16) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    match manner {
        0 => u64::from(number).to_be_bytes().to_vec(),
        1 => [&[b'x'; if cfg!(miri) { 40 } else { 700 }][..], &bytes].concat(),
        2 => [&vec![7; usize::from(number) % 40][..], &bytes].concat(),
        3 => vec![0; usize::from(number)],
        4 => [&[bytes[1] % 3][..], &[0; 9], &[bytes[1] / 90], &bytes].concat(),
        _ => [&u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[..], &bytes].concat(),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16),
    Remove(u16),
    Replace(u16),
    Range(u16, u16),
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let keys = 0..if cfg!(miri) { 60_u16 } else { 300 };
    let phase = any::<bool>().prop_flat_map(move |grows| {
        let (inserts, removes) = if grows { (8, 1) } else { (1, 8) };
        let step = prop_oneof![
            inserts => keys.clone().prop_map(Step::Insert),
            removes => keys.clone().prop_map(Step::Remove),
            1 => keys.clone().prop_map(Step::Replace),
            1 => (keys.clone(), keys.clone()).prop_map(|(from, to)| Step::Range(from, to)),
        ];
        prop::collection::vec(step, 1..if cfg!(miri) { 30 } else { 300 })
    });
    prop::collection::vec(phase, 1..if cfg!(miri) { 3 } else { 5 }).prop_map(|phases| phases.concat())
}

proptest! {
    #![proptest_config(Config { cases: if cfg!(miri) { 2 } else { 150 }, failure_persistence: None, ..Config::default() })]

    #[test]
    fn matches_a_map(manner in 0..6_u8, steps in any_steps()) {
        let mut arena = new_arena();
        let mut index = OrderedIndex::unique();
        let mut model = BTreeMap::<Vec<u8>, RowHandle>::new();
        for step in steps {
            match step {
                Step::Insert(number) => {
                    let key = key_of(manner, number);
                    let row = new_row(&mut arena, &key);
                    let result = index.insert(&mut arena, &PrimaryKeys, &key, row, Priority::Normal);
                    let expected = model.get(&key).map_or(Ok(()), |&old| Err(InsertError::Duplicate(old)));
                    prop_assert_eq!(result, expected);
                    if result.is_ok() { model.insert(key, row); } else { arena.free(row); }
                }
                Step::Remove(number) => {
                    let key = key_of(manner, number);
                    let row = model.remove(&key);
                    let wanted = row.unwrap_or(RowHandle(77));
                    prop_assert_eq!(index.remove(&mut arena, &PrimaryKeys, &key, wanted), row.is_some());
                    row.into_iter().for_each(|row| arena.free(row));
                }
                Step::Replace(number) => {
                    let key = key_of(manner, number);
                    let new = new_row(&mut arena, &key);
                    let old = model.get(&key).copied();
                    let wanted = old.unwrap_or(RowHandle(77));
                    let result = index.replace(&mut arena, &PrimaryKeys, &key, wanted, new, Priority::Normal);
                    prop_assert_eq!(result, Ok(old.is_some()));
                    if old.is_some() { model.insert(key, new); }
                    arena.free(old.unwrap_or(new));
                }
                Step::Range(from, to) => {
                    let (from, to) = (key_of(manner, from), key_of(manner, to));
                    let mut range =
                        index.range(&arena, &PrimaryKeys, Position::After(&from), Position::Before(&to));
                    let expected: Vec<RowHandle> =
                        model.iter().filter(|(key, _)| **key > from && **key < to).map(|(_, &row)| row).collect();
                    prop_assert_eq!(range.clone().collect::<Vec<_>>(), &expected[..]);
                    // From both ends in turn.
                    let (mut front, mut back) = (Vec::new(), Vec::new());
                    while let Some(row) = range.next() {
                        front.push(row);
                        back.extend(range.next_back());
                    }
                    back.reverse();
                    prop_assert_eq!([front, back].concat(), expected);
                }
            }
            let entries: Vec<(Vec<u8>, u32)> = model.iter().map(|(key, row)| (key.clone(), row.0)).collect();
            prop_assert_eq!(index.check(&arena), entries);
        }
        let wanted: Vec<Vec<u8>> = (0..if cfg!(miri) { 60 } else { 300 }).map(|number| key_of(manner, number)).collect();
        let mut found = vec![None; wanted.len()];
        index.find_batch(&arena, &PrimaryKeys, &wanted, &mut found);
        for (key, found) in wanted.iter().zip(found) {
            prop_assert_eq!(found, model.get(key).copied());
            prop_assert_eq!(index.find(&arena, &PrimaryKeys, key), found);
        }
        while !index.clear_step(&mut arena, 2) {
            index.check(&arena);
        }
        model.into_values().for_each(|row| arena.free(row));
        prop_assert_eq!(arena.allocated_bytes(), 0);
    }

    #[test]
    fn matches_a_set_with_duplicates(
        steps in prop::collection::vec((0..12_u8, 0..60_usize, 0..3_u8), 1..if cfg!(miri) { 40 } else { 500 }),
    ) {
        let mut arena = new_arena();
        // Few keys, many rows each: the row of (key, place) exists all the time.
        let rows: Vec<Vec<RowHandle>> =
            (0..12).map(|key| (0..61).map(|_| new_row(&mut arena, &[1, 2, key])).collect()).collect();
        let mut index = OrderedIndex::with_duplicates();
        let mut model = BTreeMap::<(Vec<u8>, u32), ()>::new();
        for (key, place, what) in steps {
            let (bytes, row) = ([1, 2, key], rows[usize::from(key)][place]);
            let entry = (bytes.to_vec(), row.0);
            match what {
                0 => {
                    let removed = index.remove(&mut arena, &PrimaryKeys, &bytes, row);
                    prop_assert_eq!(removed, model.remove(&entry).is_some());
                }
                1 => {
                    let new = rows[usize::from(key)][(place + 7) % 61];
                    let moved = (bytes.to_vec(), new.0);
                    let result = index.replace(&mut arena, &PrimaryKeys, &bytes, row, new, Priority::Normal);
                    if !model.contains_key(&entry) {
                        prop_assert_eq!(result, Ok(false));
                    } else if model.contains_key(&moved) {
                        prop_assert_eq!(result, Err(InsertError::Duplicate(new)));
                    } else {
                        prop_assert_eq!(result, Ok(true));
                        model.remove(&entry);
                        model.insert(moved, ());
                    }
                }
                _ => {
                    let result = index.insert(&mut arena, &PrimaryKeys, &bytes, row, Priority::Normal);
                    prop_assert_eq!(result.is_ok(), model.insert(entry, ()).is_none());
                }
            }
            prop_assert_eq!(index.check(&arena), model.keys().cloned().collect::<Vec<_>>());
            let equal: Vec<RowHandle> = index
                .range(&arena, &PrimaryKeys, Position::Before(&bytes), Position::After(&bytes)).collect();
            let expected: Vec<RowHandle> =
                model.keys().filter(|(other, _)| *other == bytes).map(|&(_, row)| RowHandle(row)).collect();
            prop_assert_eq!(index.find(&arena, &PrimaryKeys, &bytes), expected.first().copied());
            prop_assert_eq!(&equal, &expected);
            let after = Position::AfterEntry(&bytes, row);
            let later = index.range(&arena, &PrimaryKeys, after, Position::After(&bytes)).count();
            prop_assert_eq!(later, expected.iter().filter(|&&other| other > row).count());
            let before = Position::BeforeEntry(&bytes, row);
            let earlier = index.range(&arena, &PrimaryKeys, Position::Before(&bytes), before).count();
            prop_assert_eq!(earlier, expected.iter().filter(|&&other| other < row).count());
        }
    }
}

/// Lets every allocation that insertions make fail once, one kind of slot after the other.
#[test]
fn without_memory_an_insertion_changes_nothing() {
    let pages = if cfg!(miri) { 24 } else { 64 };
    let budget = MemoryBudget::with_reserve(pages * PAGE_BYTES as u64, 0);
    let mut arena = Arena::new(budget.clone(), ArenaOptions::small(64 * PAGE_BYTES)).unwrap();
    let mut index = OrderedIndex::unique();
    // Short separators; their slots are too many for the interpreter.
    let kinds = if cfg!(miri) { &[LEAF_BYTES, INNER_BYTES][..] } else { &[LEAF_BYTES, INNER_BYTES, 16] };
    let mut failures = vec![0; kinds.len()];
    for number in 0..if cfg!(miri) { 26 } else { 400_u16 } {
        let key = key_of(5, number);
        let row = new_row(&mut arena, &key);
        let before = index.check(&arena);
        for (kind, &bytes) in kinds.iter().enumerate() {
            // All other memory is taken, then all slots of this size.
            let room = budget.available_bytes(Priority::Normal);
            budget.take(room, Priority::Normal).unwrap();
            let mut slots = Vec::new();
            while let Ok(slot) = arena.allocate_bytes(bytes, Priority::Normal) {
                slots.push(slot);
            }
            let mut clone = OrderedIndex { ..index };
            let needs = clone.insert(&mut arena, &PrimaryKeys, &key, row, Priority::Normal);
            slots.into_iter().for_each(|slot| arena.free(slot));
            budget.give_back(room);
            match needs {
                Ok(()) => {
                    assert!(clone.remove(&mut arena, &PrimaryKeys, &key, row));
                    index = clone;
                }
                Err(error) => {
                    assert_eq!(error, InsertError::OutOfMemory(OutOfMemory::Budget));
                    assert_eq!(clone.bytes(), index.bytes());
                    failures[kind] += 1;
                }
            }
            assert_eq!(index.check(&arena), before);
        }
        index.insert(&mut arena, &PrimaryKeys, &key, row, Priority::Normal).unwrap();
    }
    assert!(failures.iter().all(|&count| count > 0), "{failures:?}");
}

#[test]
fn appending_takes_ascending_rows_only() {
    let mut arena = new_arena();
    let count = if cfg!(miri) { 50 } else { 1000_u16 };
    let rows: Vec<RowHandle> = (0..count).map(|number| new_row(&mut arena, &key_of(1, number))).collect();
    let mut index = OrderedIndex::unique();
    for slice in rows[..40].chunks(7) {
        index.append(&mut arena, &PrimaryKeys, slice, Priority::Normal).unwrap();
        index.check(&arena);
    }
    let wrong = [rows[40], rows[41], rows[41], rows[42]];
    let error = index.append(&mut arena, &PrimaryKeys, &wrong, Priority::Normal).unwrap_err();
    assert_eq!(error, BulkError { appended: 2, reason: InsertError::Duplicate(rows[41]) });
    index.append(&mut arena, &PrimaryKeys, &rows[42..], Priority::Normal).unwrap();
    assert_eq!(index.check(&arena).len(), rows.len());
    let all: Vec<RowHandle> = index.range(&arena, &PrimaryKeys, Position::First, Position::Last).collect();
    assert_eq!(all, rows);
    assert!(index.append(&mut arena, &PrimaryKeys, &rows[5..6], Priority::Normal).is_err());
}

#[test]
fn keys_of_any_length() {
    let mut arena = new_arena();
    let mut index = OrderedIndex::unique();
    let too_long = vec![1; 65_536];
    let row = new_row(&mut arena, b"");
    let result = index.insert(&mut arena, &PrimaryKeys, &too_long, row, Priority::Normal);
    assert_eq!(result, Err(InsertError::KeyTooLong(65_536)));
    assert_eq!(index.find(&arena, &PrimaryKeys, b"any"), None);
    let lengths: Vec<usize> = if cfg!(miri) {
        vec![0, 1, 7, 8, 9, 300, 301, 302]
    } else {
        (0..=65_535).step_by(3_000).chain([65_534, 65_535]).collect()
    };
    for &length in lengths.iter().rev() {
        let key = vec![1; length];
        let row = new_row(&mut arena, &key);
        index.insert(&mut arena, &PrimaryKeys, &key, row, Priority::Normal).unwrap();
        index.check(&arena);
    }
    assert_eq!(index.find(&arena, &PrimaryKeys, &too_long), None);
    assert!(index.range(&arena, &PrimaryKeys, Position::After(&too_long), Position::Last).next().is_none());
    for &length in &lengths {
        let key = vec![1; length];
        let row = index.find(&arena, &PrimaryKeys, &key).unwrap();
        assert!(index.remove(&mut arena, &PrimaryKeys, &key, row));
        index.check(&arena);
    }
    assert!(index.is_empty() && MAX_HEIGHT < 32);
}
