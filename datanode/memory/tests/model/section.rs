//! Sections against plain vectors, and a pool under several threads.

use crate::cases;
use duet_memory::{Section, SectionMut, SectionPool};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

const BLOCKS: u32 = 3;
const BLOCK_BYTES: usize = 24;

#[derive(Clone, Debug)]
enum Step {
    Take(usize),
    Extend(usize, Vec<u8>),
    Spare(usize, u8, usize),
    Overwrite(usize, u8),
    Truncate(usize, usize),
    Freeze(usize),
    Clone(usize),
    Slice(usize, usize, usize),
    Drop(usize),
    DropUnfinished(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0usize..8;
    prop_oneof![
        4 => (0usize..2 * BLOCK_BYTES).prop_map(Step::Take),
        4 => (which.clone(), proptest::collection::vec(any::<u8>(), 0..20)).prop_map(|(which, bytes)| Step::Extend(which, bytes)),
        2 => (which.clone(), any::<u8>(), 0usize..20).prop_map(|(which, byte, count)| Step::Spare(which, byte, count)),
        1 => (which.clone(), any::<u8>()).prop_map(|(which, byte)| Step::Overwrite(which, byte)),
        1 => (which.clone(), 0usize..30).prop_map(|(which, bytes)| Step::Truncate(which, bytes)),
        3 => which.clone().prop_map(Step::Freeze),
        2 => which.clone().prop_map(Step::Clone),
        2 => (which.clone(), 0usize..30, 0usize..30).prop_map(|(which, start, end)| Step::Slice(which, start, end)),
        3 => which.clone().prop_map(Step::Drop),
        1 => which.prop_map(Step::DropUnfinished),
    ]
}

/// The element that a step means, if there is any.
fn pick<T>(list: &mut [T], which: usize) -> Option<&mut T> {
    let count = list.len();
    if count == 0 { None } else { list.get_mut(which % count) }
}

fn run(steps: &[Step]) {
    let pool = SectionPool::new(BLOCKS, BLOCK_BYTES);
    let mut unfinished: Vec<(SectionMut, Vec<u8>)> = Vec::new();
    let mut finished: Vec<(Section, Vec<u8>)> = Vec::new();
    for step in steps {
        match step {
            Step::Take(least) => {
                let section = pool.take(*least);
                assert!(section.capacity() >= *least && section.is_empty());
                unfinished.push((section, Vec::new()));
            }
            Step::Extend(which, bytes) => {
                if let Some((section, model)) = pick(&mut unfinished, *which) {
                    let fits = bytes.len().min(section.capacity() - model.len());
                    assert_eq!(section.extend_from_slice(bytes), fits);
                    model.extend_from_slice(&bytes[..fits]);
                }
            }
            Step::Spare(which, byte, count) => {
                if let Some((section, model)) = pick(&mut unfinished, *which) {
                    let spare = section.spare_mut();
                    let count = (*count).min(spare.len());
                    spare[..count].fill(*byte);
                    section.advance(count);
                    model.resize(model.len() + count, *byte);
                }
            }
            Step::Overwrite(which, byte) => {
                if let Some((section, model)) = pick(&mut unfinished, *which) {
                    section.fill(*byte);
                    model.fill(*byte);
                }
            }
            Step::Truncate(which, bytes) => {
                if let Some((section, model)) = pick(&mut unfinished, *which) {
                    section.truncate(*bytes);
                    model.truncate(*bytes);
                }
            }
            Step::Freeze(which) => {
                if !unfinished.is_empty() {
                    let (section, model) = unfinished.swap_remove(which % unfinished.len());
                    finished.push((section.freeze(), model));
                }
            }
            Step::Clone(which) => {
                if let Some(clone) =
                    pick(&mut finished, *which).map(|(section, model)| (section.clone(), model.clone()))
                {
                    finished.push(clone);
                }
            }
            Step::Slice(which, start, end) => {
                let slice = pick(&mut finished, *which).map(|(section, model)| {
                    let end = (*end).min(model.len());
                    let start = (*start).min(end);
                    (section.slice(start..end), model[start..end].to_vec())
                });
                finished.extend(slice);
            }
            Step::Drop(which) => {
                if !finished.is_empty() {
                    finished.swap_remove(which % finished.len());
                }
            }
            Step::DropUnfinished(which) => {
                if !unfinished.is_empty() {
                    unfinished.swap_remove(which % unfinished.len());
                }
            }
        }
        assert!(unfinished.iter().all(|(section, model)| section[..] == model[..]));
        assert!(finished.iter().all(|(section, model)| section[..] == model[..]));
    }
    drop((unfinished, finished));
    let heap_sections = pool.heap_sections();
    let all: Vec<SectionMut> = (0..BLOCKS).map(|_| pool.take(BLOCK_BYTES)).collect();
    assert_eq!(pool.heap_sections(), heap_sections, "every block came back");
    let one_more = pool.take(BLOCK_BYTES);
    assert_eq!(pool.heap_sections(), heap_sections + 1, "and none came back twice");
    drop((all, one_more));
}

proptest! {
    #![proptest_config(cases(400, 2))]

    #[test]
    fn sections_are_like_vectors(steps in proptest::collection::vec(step(), 0..if cfg!(miri) { 30 } else { 80 })) {
        run(&steps);
    }
}

#[test]
fn handles_are_small() {
    assert_eq!(size_of::<Section>(), 16);
    assert_eq!(size_of::<Option<Section>>(), 16);
    assert_eq!(size_of::<SectionMut>(), 16);
}

#[test]
fn sections_begin_at_a_cache_line() {
    let pool = SectionPool::new(1, 100);
    let (pooled, large) = (pool.take(1), pool.take(101));
    assert_eq!((pool.heap_sections(), pool.heap_bytes()), (1, 101));
    assert_eq!((pooled.as_ptr().addr() % 64, large.as_ptr().addr() % 64), (0, 0));
    assert_eq!((pooled.capacity(), large.capacity()), (100, 101));
    drop((pooled, large));
    assert_eq!((pool.heap_sections(), pool.heap_bytes()), (1, 0));
}

#[test]
fn a_section_outlives_its_pool() {
    let pool = SectionPool::new(1, 8);
    let mut section = pool.take(3);
    assert_eq!(section.extend_from_slice(b"abc"), 3);
    let section = section.freeze();
    drop(pool);
    let tail = section.slice(1..);
    drop(section);
    assert_eq!((&tail[..], &tail.slice(..=0)[..], &tail.slice(2..2)[..]), (&b"bc"[..], &b"b"[..], &b""[..]));
}

#[test]
fn a_pool_without_blocks_uses_the_heap() {
    let pool = SectionPool::new(0, 16);
    let mut section = pool.take(16);
    assert_eq!(section.extend_from_slice(&[1; 20]), 16);
    assert_eq!((section.len(), section.spare_mut().len(), pool.heap_sections()), (16, 0, 1));
}

#[test]
#[should_panic(expected = "more bytes filled")]
fn too_many_filled_bytes_are_a_bug() {
    SectionPool::new(1, 4).take(4).advance(5);
}

#[test]
#[should_panic(expected = "does not lie within")]
fn a_slice_outside_is_a_bug() {
    let mut section = SectionPool::new(1, 4).take(4);
    section.advance(2);
    let _ = section.freeze().slice(1..3);
}

/// Threads fill sections with their own pattern, share and drop them; whoever is last gives the block back.
#[test]
fn threads_share_a_pool() {
    const THREADS: u64 = 3;
    let rounds: u64 = if cfg!(miri) { 10 } else { 20_000 };
    let pool = SectionPool::new(4, 64);
    let read = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (give, taken): (Vec<_>, Vec<_>) =
            (0..THREADS).map(|_| std::sync::mpsc::sync_channel::<(u64, Section)>(2)).unzip();
        for (thread, inbox) in taken.into_iter().enumerate() {
            let neighbour = give[(thread + 1) % give.len()].clone();
            let (pool, read) = (pool.clone(), &read);
            scope.spawn(move || {
                let check = |(pattern, section): (u64, Section)| {
                    assert_eq!(&section[..], [pattern.to_le_bytes(); 3].concat());
                    read.fetch_add(1, Ordering::Relaxed);
                };
                for round in 0..rounds {
                    let pattern = round * THREADS + thread as u64;
                    let mut section = pool.take(24);
                    for _ in 0..3 {
                        assert_eq!(section.extend_from_slice(&pattern.to_le_bytes()), 8);
                    }
                    let section = section.freeze();
                    if let Err(refused) = neighbour.try_send((pattern, section.clone())) {
                        drop(refused);
                        std::thread::yield_now();
                    }
                    inbox.try_iter().for_each(check);
                    check((pattern, section));
                }
            });
        }
    });
    assert!(read.load(Ordering::Relaxed) >= rounds * THREADS);
    let before = pool.heap_sections();
    let all: Vec<SectionMut> = (0..4).map(|_| pool.take(64)).collect();
    assert_eq!(pool.heap_sections(), before, "every block came back");
    drop(all);
}
