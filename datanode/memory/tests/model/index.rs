//! The hash index against a map, with several hash functions.

use super::{cases, header, new_arena};
use duet_memory::{
    Arena, ArenaOptions, HashIndex, MemoryBudget, OutOfMemory, PAGE_BYTES, Priority, RowHandle,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

pub fn good_hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// All keys collide in everything.
fn equal_hash(_key: &[u8]) -> u64 {
    0x1234_5678_9ABC_DEF0
}

/// Few different buckets, and a tag of zero.
fn poor_hash(key: &[u8]) -> u64 {
    good_hash(key) & 0x5
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16),
    Remove(u16),
    Replace(u16),
    Find(u16),
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    // Phases that mostly insert or mostly remove let the table grow and shrink.
    let phase = (0..10_u32, any::<bool>()).prop_flat_map(|(_, grows)| {
        let (inserts, removes) = if grows { (8, 1) } else { (1, 8) };
        let keys = 0..if cfg!(miri) { 120_u16 } else { 1500 };
        let step = prop_oneof![
            inserts => keys.clone().prop_map(Step::Insert),
            removes => keys.clone().prop_map(Step::Remove),
            1 => keys.clone().prop_map(Step::Replace),
            1 => keys.prop_map(Step::Find),
        ];
        prop::collection::vec(step, 1..if cfg!(miri) { 100 } else { 800 })
    });
    prop::collection::vec(phase, 1..5).prop_map(|phases| phases.concat())
}

fn new_row(arena: &mut Arena, key: &[u8]) -> RowHandle {
    arena.allocate_row(&header(1), key, b"value", Priority::Normal).unwrap()
}

fn find_in_stages(index: &HashIndex, arena: &Arena, hash: u64, key: &[u8]) -> Option<RowHandle> {
    index.prefetch_bucket(arena, hash);
    let mut probe = index.prefetch_row(arena, hash);
    index.prefetch_overflow(arena, hash, &mut probe);
    index.find_probed(arena, hash, key, probe)
}

fn check(hash: fn(&[u8]) -> u64, steps: Vec<Step>) {
    let (budget, mut arena) = new_arena();
    let mut index = HashIndex::new(hash);
    let mut model = BTreeMap::<[u8; 2], RowHandle>::new();
    for step in steps {
        let (Step::Insert(number) | Step::Remove(number) | Step::Replace(number) | Step::Find(number)) = step;
        let key = number.to_be_bytes();
        let found = index.find(&arena, hash(&key), &key);
        assert_eq!(found, model.get(&key).copied());
        match (step, found) {
            (Step::Insert(_), None) => {
                let row = new_row(&mut arena, &key);
                index.insert(&mut arena, hash(&key), row, Priority::Normal).unwrap();
                model.insert(key, row);
            }
            (Step::Remove(_), Some(row)) => {
                assert!(index.remove(&mut arena, hash(&key), row));
                assert!(!index.remove(&mut arena, hash(&key), row));
                arena.free(row);
                model.remove(&key);
            }
            (Step::Replace(_), Some(row)) => {
                let new = new_row(&mut arena, &key);
                assert!(index.replace(&mut arena, hash(&key), row, new));
                assert!(!index.replace(&mut arena, hash(&key), row, new));
                arena.free(row);
                model.insert(key, new);
            }
            (Step::Find(_), _) => {
                assert_eq!(find_in_stages(&index, &arena, hash(&key), &key), found);
            }
            (Step::Insert(_), Some(_)) | (Step::Remove(_) | Step::Replace(_), None) => {}
        }
        assert_eq!(index.len(), model.len() as u64);
    }
    for (key, &row) in &model {
        assert_eq!(index.find(&arena, hash(key), key), Some(row));
        assert_eq!(find_in_stages(&index, &arena, hash(key), key), Some(row));
    }
    while !index.clear_step(&mut arena, 7) {
        let left = model.iter().filter(|(key, _)| index.find(&arena, hash(*key), *key).is_some()).count();
        assert_eq!(left as u64, index.len());
        if cfg!(miri) || left > 100 {
            while !index.clear_step(&mut arena, 50) {}
        }
    }
    assert!(index.is_empty());
    assert_eq!((index.bytes(), arena.allocated_bytes(), budget.used_bytes()), (0, 0, 0));
}

proptest! {
    #![proptest_config(cases(48, 2))]

    #[test]
    fn matches_a_map(steps in any_steps()) {
        check(good_hash, steps);
    }

    #[test]
    fn matches_a_map_with_poor_hashes(steps in any_steps()) {
        check(poor_hash, steps);
    }

    #[test]
    fn matches_a_map_with_equal_hashes(steps in any_steps()) {
        check(equal_hash, steps);
    }
}

#[test]
fn large_table_grows_evenly_and_shrinks() {
    let count: u32 = if cfg!(miri) { 300 } else { 60_000 };
    let (budget, mut arena) = new_arena();
    let mut index = HashIndex::new(good_hash);
    assert_eq!((index.len(), index.bytes()), (0, 0));
    let mut rows = Vec::new();
    for number in 0..count {
        let key = number.to_be_bytes();
        let row = new_row(&mut arena, &key);
        index.insert(&mut arena, good_hash(&key), row, Priority::Normal).unwrap();
        rows.push(row);
    }
    if cfg!(not(miri)) {
        let bytes_per_row = index.bytes() as f64 / f64::from(count);
        assert!(bytes_per_row < 11.0, "{bytes_per_row} bytes of index per row");
    }
    for number in 0..count {
        let key = number.to_be_bytes();
        assert_eq!(index.find(&arena, good_hash(&key), &key), Some(rows[number as usize]));
        let absent = (number + count).to_be_bytes();
        assert_eq!(index.find(&arena, good_hash(&absent), &absent), None);
    }
    for number in 0..count {
        assert!(index.remove(&mut arena, good_hash(&number.to_be_bytes()), rows[number as usize]));
        arena.free(rows[number as usize]);
    }
    assert!(index.is_empty());
    assert!(index.bytes() <= 256, "an emptied table gives its buckets back");
    assert!(index.clear_step(&mut arena, 10));
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn a_probe_from_before_a_change_is_not_trusted() {
    let (_budget, mut arena) = new_arena();
    let mut index = HashIndex::new(good_hash);
    let hash = good_hash(b"key");
    let row = new_row(&mut arena, b"key");
    let absent = index.prefetch_row(&arena, hash);
    index.insert(&mut arena, hash, row, Priority::Normal).unwrap();
    assert_eq!(index.find_probed(&arena, hash, b"key", absent), Some(row));
    let old = index.prefetch_row(&arena, hash);
    let new = new_row(&mut arena, b"key");
    assert!(index.replace(&mut arena, hash, row, new));
    arena.free(row);
    assert_eq!(index.find_probed(&arena, hash, b"key", old), Some(new));
    let present = index.prefetch_row(&arena, hash);
    assert!(index.remove(&mut arena, hash, new));
    arena.free(new);
    assert_eq!(index.find_probed(&arena, hash, b"key", present), None);
}

#[test]
fn a_small_table_is_small() {
    let (_budget, mut arena) = new_arena();
    let mut index = HashIndex::new(good_hash);
    for number in 0..5_u8 {
        let row = new_row(&mut arena, &[number]);
        index.insert(&mut arena, good_hash(&[number]), row, Priority::Normal).unwrap();
    }
    assert_eq!(index.bytes(), 256);
}

#[test]
fn clearing_is_bounded_and_frees_older_versions() {
    let (budget, mut arena) = new_arena();
    let mut index = HashIndex::new(good_hash);
    let count = if cfg!(miri) { 60 } else { 1000_u32 };
    for number in 0..count {
        let key = number.to_be_bytes();
        let older = new_row(&mut arena, &key);
        let row = new_row(&mut arena, &key);
        arena.set_state_and_older(row, 0, older);
        index.insert(&mut arena, good_hash(&key), row, Priority::Normal).unwrap();
    }
    let mut steps = 0;
    loop {
        let before = index.len();
        let done = index.clear_step(&mut arena, 20);
        assert!(before - index.len() <= 10);
        steps += 1;
        if done {
            break;
        }
    }
    assert!(steps >= count / 10);
    assert_eq!(budget.used_bytes(), 0);
    // The index can be used again.
    let row = new_row(&mut arena, b"k");
    index.insert(&mut arena, good_hash(b"k"), row, Priority::Normal).unwrap();
    assert_eq!(index.find(&arena, good_hash(b"k"), b"k"), Some(row));
}

#[test]
fn without_memory_an_insertion_changes_nothing() {
    for limit_pages in 1..if cfg!(miri) { 3 } else { 8 } {
        let budget = MemoryBudget::with_reserve(limit_pages * PAGE_BYTES as u64, 0);
        let mut arena = Arena::new(budget, ArenaOptions::small(4 << 20)).unwrap();
        let mut index = HashIndex::new(poor_hash);
        let mut rows = Vec::new();
        let error = loop {
            let key = (rows.len() as u32).to_be_bytes();
            let Ok(row) = arena.allocate_row(&header(1), &key, b"", Priority::Normal) else {
                break OutOfMemory::Budget;
            };
            if let Err(error) = index.insert(&mut arena, poor_hash(&key), row, Priority::Normal) {
                arena.free(row);
                break error;
            }
            rows.push(row);
            if rows.len() == if cfg!(miri) { 150 } else { 4000 } {
                break OutOfMemory::Budget;
            }
        };
        assert_eq!(error, OutOfMemory::Budget);
        assert_eq!(index.len(), rows.len() as u64);
        for (number, &row) in rows.iter().enumerate() {
            let key = (number as u32).to_be_bytes();
            assert_eq!(index.find(&arena, poor_hash(&key), &key), Some(row));
        }
        for (number, &row) in rows.iter().enumerate() {
            assert!(index.remove(&mut arena, poor_hash(&(number as u32).to_be_bytes()), row));
            arena.free(row);
        }
        assert!(index.clear_step(&mut arena, 10));
        assert_eq!(arena.used_bytes(), 0);
    }
}
