//! The arena against a map of what each handle must hold.

use super::{cases, header, new_arena};
use duet_memory::{
    Arena, ArenaOptions, MAX_ROW_BYTES, MemoryBudget, OutOfMemory, PAGE_BYTES, Priority, RowHandle, RowHeader,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Allocate { header: RowHeader, key_length: usize, value_length: usize, fill: u8 },
    Free { pick: usize },
    ReplaceValue { pick: usize, value_length: usize, fill: u8 },
    SetHeader { pick: usize, header: RowHeader },
    ChangeValue { pick: usize, fill: u8 },
}

fn any_header() -> impl Strategy<Value = RowHeader> {
    (0..1_u64 << 48, 0..1_u64 << 48, any::<u16>(), any::<u8>(), any::<u32>()).prop_map(
        |(epoch, sequence, table_version, state, older)| RowHeader {
            epoch,
            sequence,
            table_version,
            state,
            older: RowHandle::from_u32(older),
        },
    )
}

/// Mostly small, sometimes near the largest possible.
fn any_length() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..200_usize, 3 => 200..3000_usize, 1 => 3000..100_000_usize]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (any_header(), 0..60_usize, any_length(), any::<u8>()).prop_map(
            |(header, key_length, value_length, fill)| Step::Allocate { header, key_length, value_length, fill }
        ),
        3 => any::<usize>().prop_map(|pick| Step::Free { pick }),
        2 => (any::<usize>(), any_length(), any::<u8>())
            .prop_map(|(pick, value_length, fill)| Step::ReplaceValue { pick, value_length, fill }),
        1 => (any::<usize>(), any_header()).prop_map(|(pick, header)| Step::SetHeader { pick, header }),
        1 => (any::<usize>(), any::<u8>()).prop_map(|(pick, fill)| Step::ChangeValue { pick, fill }),
    ]
}

struct Row {
    header: RowHeader,
    key: Vec<u8>,
    value: Vec<u8>,
}

fn pattern(length: usize, fill: u8) -> Vec<u8> {
    (0..length).map(|place| fill.wrapping_add(place as u8)).collect()
}

fn check_all(arena: &Arena, model: &BTreeMap<RowHandle, Row>) {
    let mut end_before = 0;
    for (&handle, row) in model {
        let found = arena.row(handle);
        assert_eq!(found.header(), row.header);
        assert_eq!(found.key, row.key);
        assert_eq!(found.value, row.value);
        let start = handle.to_u32() as usize * 8;
        assert!(start >= end_before, "slots overlap");
        end_before = start + arena.bytes(handle).len();
    }
}

proptest! {
    #![proptest_config(cases(64, 3))]

    #[test]
    fn rows_keep_their_content(steps in prop::collection::vec(any_step(), 1..if cfg!(miri) { 30 } else { 300 })) {
        let (budget, mut arena) = new_arena();
        let mut model = BTreeMap::<RowHandle, Row>::new();
        for step in steps {
            let nth = |model: &BTreeMap<RowHandle, Row>, pick: usize| {
                model.keys().nth(pick % model.len().max(1)).copied()
            };
            match step {
                Step::Allocate { header, key_length, value_length, fill } => {
                    let (key, value) = (pattern(key_length, fill), pattern(value_length, !fill));
                    let handle = arena.allocate_row(&header, &key, &value, Priority::Normal).unwrap();
                    let before = model.insert(handle, Row { header, key, value });
                    prop_assert!(before.is_none());
                }
                Step::Free { pick } => {
                    if let Some(handle) = nth(&model, pick) {
                        arena.free(handle);
                        model.remove(&handle);
                    }
                }
                Step::ReplaceValue { pick, value_length, fill } => {
                    if let Some(handle) = nth(&model, pick) {
                        let row = model.get_mut(&handle).unwrap();
                        let value = pattern(value_length, fill);
                        let slot_bytes = arena.bytes(handle).len();
                        let header = RowHeader { state: fill, ..row.header };
                        let replaced = arena.replace_in_place(handle, &header, &value);
                        let bytes = 24 + row.key.len() + value_length;
                        prop_assert!(!replaced || bytes <= slot_bytes);
                        prop_assert!(replaced || bytes > slot_bytes || value_length != row.value.len());
                        if replaced {
                            row.header = header;
                            row.value = value;
                        }
                    }
                }
                Step::SetHeader { pick, header } => {
                    if let Some(handle) = nth(&model, pick) {
                        arena.set_header(handle, &header);
                        model.get_mut(&handle).unwrap().header = header;
                    }
                }
                Step::ChangeValue { pick, fill } => {
                    if let Some(handle) = nth(&model, pick) {
                        arena.value_mut(handle).fill(fill);
                        model.get_mut(&handle).unwrap().value.fill(fill);
                    }
                }
            }
            if cfg!(not(miri)) {
                prop_assert_eq!(budget.used_bytes(), arena.used_bytes());
            }
        }
        check_all(&arena, &model);
        let slots: usize = model.keys().map(|&handle| arena.bytes(handle).len()).sum();
        prop_assert_eq!(arena.allocated_bytes(), slots as u64);
        for handle in model.into_keys() {
            arena.free(handle);
        }
        prop_assert_eq!(arena.allocated_bytes(), 0);
        prop_assert_eq!(budget.used_bytes(), 0);
    }
}

#[test]
fn single_fields_are_set_alone() {
    let (_budget, mut arena) = new_arena();
    let mut expected = header(9);
    let row = arena.allocate_row(&expected, b"k", &[1; 70_000], Priority::Normal).unwrap();
    arena.set_state_and_older(row, 200, RowHandle::from_u32(77));
    expected.state = 200;
    expected.older = RowHandle::from_u32(77);
    let view = arena.row(row);
    assert_eq!(view.header(), expected);
    assert_eq!((view.epoch(), view.sequence(), view.table_version()), (3, 9, 1));
    assert_eq!((view.state(), view.older()), (200, RowHandle::from_u32(77)));
    assert_eq!((arena.key(row), arena.value(row).len()), (&b"k"[..], 70_000));
}

#[test]
fn largest_row_fits_and_versions_are_freed_together() {
    let (budget, mut arena) = new_arena();
    let value = vec![5; MAX_ROW_BYTES - 3];
    let oldest = arena.allocate_row(&header(1), b"key", &value, Priority::Normal).unwrap();
    let middle = arena
        .allocate_row(&RowHeader { older: oldest, ..header(2) }, b"key", b"value", Priority::Normal)
        .unwrap();
    let newest =
        arena.allocate_row(&RowHeader { older: middle, ..header(3) }, b"key", b"", Priority::Normal).unwrap();
    assert_eq!(arena.value(oldest), value);
    assert!(!arena.replace_in_place(oldest, &header(1), &vec![5; MAX_ROW_BYTES]));
    assert_eq!(arena.free_versions(newest), 3);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn empty_pages_serve_other_sizes() {
    let (budget, mut arena) = new_arena();
    let rounds = if cfg!(miri) { 2 } else { 8 };
    for round in 0..rounds {
        // More pages than are kept, so that some memory goes back to the system and is used again.
        let rows: Vec<_> = (0..24)
            .map(|_| arena.allocate_bytes(PAGE_BYTES / 2 + 1 + round * 1000, Priority::Normal).unwrap())
            .collect();
        assert!(rows.iter().all(|row| row.to_u32() as usize * 8 <= 24 * PAGE_BYTES));
        for &row in &rows {
            arena.bytes_mut(row)[0] = 7;
        }
        for row in rows {
            arena.free(row);
        }
        assert_eq!(budget.used_bytes(), 0);
    }
}

#[test]
fn full_memory_is_an_error_and_the_reserve_is_kept() {
    let budget = MemoryBudget::with_reserve(4 * PAGE_BYTES as u64, PAGE_BYTES as u64);
    let mut arena = Arena::new(budget.clone(), ArenaOptions::small(4 << 20)).unwrap();
    let value = vec![1; PAGE_BYTES / 2];
    let mut rows = Vec::new();
    let error = loop {
        match arena.allocate_row(&header(1), b"k", &value, Priority::Normal) {
            Ok(row) => rows.push(row),
            Err(error) => break error,
        }
    };
    assert_eq!((error, rows.len()), (OutOfMemory::Budget, 3));
    let last = arena.allocate_row(&header(1), b"k", &value, Priority::Recovery).unwrap();
    assert!(arena.allocate_row(&header(1), b"k", &value, Priority::Recovery).is_err());
    assert!(rows.iter().chain([&last]).all(|&row| arena.value(row) == value));
    arena.free(last);
    assert!(arena.allocate_row(&header(1), b"k", &value, Priority::Normal).is_err());
    arena.free(rows[0]);
    assert!(arena.allocate_row(&header(1), b"k", &value, Priority::Normal).is_ok());
    drop(arena);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn a_used_up_range_is_an_error() {
    let budget = MemoryBudget::with_reserve(64 << 20, 0);
    let mut arena = Arena::new(budget.clone(), ArenaOptions::small(3 * PAGE_BYTES)).unwrap();
    arena.allocate_bytes(PAGE_BYTES, Priority::Normal).unwrap();
    arena.allocate_bytes(PAGE_BYTES, Priority::Normal).unwrap();
    assert_eq!(arena.allocate_bytes(1, Priority::Normal), Err(OutOfMemory::ArenaFull));
    assert_eq!(budget.used_bytes(), 2 * PAGE_BYTES as u64);
}

/// Whether `act` panics, as it must for handles that cannot be good.
fn panics(act: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_err()
}

#[test]
fn bad_handles_are_refused() {
    let (_budget, mut arena) = new_arena();
    assert!(panics(|| _ = arena.row(RowHandle::NULL).header()));
    assert!(panics(|| _ = arena.row(RowHandle::from_u32(PAGE_BYTES as u32 / 8)).header()));
    let row = arena.allocate_row(&header(1), b"key", b"value", Priority::Normal).unwrap();
    for number in [0, 1, row.to_u32() - 1, row.to_u32() + PAGE_BYTES as u32 / 8, u32::MAX, u32::MAX - 3] {
        let bad = RowHandle::from_u32(number);
        assert!(panics(|| _ = arena.row(bad).header()), "{bad:?}");
        assert!(panics(|| arena.set_state_and_older(bad, 1, RowHandle::NULL)), "{bad:?}");
        assert!(panics(|| arena.free(bad)), "{bad:?}");
        arena.prefetch(bad);
    }
    // The last words of the last page have no room for a header.
    for words_before_end in 1..3 {
        let bad = RowHandle::from_u32(2 * (PAGE_BYTES as u32 / 8) - words_before_end);
        assert!(panics(|| _ = arena.row(bad).header()), "{bad:?}");
    }
    assert!(panics(|| arena.free(RowHandle::from_u32(row.to_u32() + 1))));
    assert!(panics(|| arena.free(RowHandle::from_u32(row.to_u32() + 5))));
    assert_eq!(arena.value(row), b"value");
    arena.free(row);
    assert!(panics(|| arena.free(row)));
    // A row that is gone can be read, but is not a row any more or an old one.
    let _ = panics(|| _ = arena.row(row).header());
}

#[test]
fn a_write_through_a_stale_handle_is_contained() {
    let (_budget, mut arena) = new_arena();
    let first = arena.allocate_row(&header(1), b"key", b"value", Priority::Normal).unwrap();
    let second = arena.allocate_row(&header(1), b"key", b"value", Priority::Normal).unwrap();
    arena.free(first);
    // Damages the link of the free list.
    arena.set_header(first, &RowHeader { epoch: 0x4001, ..header(1) });
    let third = panics(|| _ = arena.allocate_row(&header(1), b"key", b"value", Priority::Normal));
    assert!(third, "a damaged free list is noticed");
    assert_eq!(arena.value(second), b"value");
}
