//! The pool in every order of events that the memory model allows (`--cfg loom`; see the loom crate).
//!
//! Loom watches a token of each block: reading or writing a section's bytes reads or writes it, so a block in two
//! hands, or bytes read before they are complete, fail as "causality violation". The models named `…_is_noticed`
//! contain a mistake and must fail: they prove that the others would notice.

use super::free_list::{FreeList, Weakened};
use super::{Section, SectionMut, SectionPool};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

fn filled(mut section: SectionMut, byte: u8) -> Section {
    assert_eq!(section.extend_from_slice(&[byte; 4]), 4);
    section.freeze()
}

/// Two threads fill, clone, read and drop sections of a pool of two blocks, each twice.
fn take_and_give_back(pool: &SectionPool) {
    let work = |pool: SectionPool, byte: u8| {
        for round in 0..2 {
            let section = filled(pool.take(4), byte + round);
            let part = section.slice(1..3);
            drop(section);
            assert_eq!(&part[..], [byte + round; 2]);
        }
    };
    let theirs = pool.clone();
    let other = thread::spawn(move || work(theirs, 1));
    work(pool.clone(), 101);
    other.join().expect("the other thread does not panic");
}

#[test]
fn no_block_is_handed_out_twice() {
    loom::model(|| {
        let pool = SectionPool::new(2, 4);
        take_and_give_back(&pool);
        assert_eq!(pool.heap_sections(), 0, "each thread holds one block at most");
    });
}

#[test]
fn an_empty_pool_falls_back_to_the_heap() {
    loom::model(|| take_and_give_back(&SectionPool::new(1, 4)));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_relaxed_push_is_noticed() {
    loom::model(|| take_and_give_back(&SectionPool::weakened(1, 4, Weakened::Push)));
}

/// A section is read by two threads, the last of which gives the block back; then it is filled anew.
fn share_and_refill(pool: &SectionPool) {
    let mine = filled(pool.take(4), 7);
    let theirs = mine.clone();
    let other = thread::spawn(move || {
        assert_eq!(&theirs[..], [7; 4]);
        drop(theirs);
    });
    assert_eq!(&mine[..], [7; 4]);
    drop(mine);
    let next = filled(pool.take(4), 8);
    assert_eq!(&next[..], [8; 4]);
    other.join().expect("the other thread does not panic");
}

#[test]
fn a_block_is_refilled_after_its_last_reader() {
    loom::model(|| share_and_refill(&SectionPool::new(1, 4)));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_relaxed_count_is_noticed() {
    loom::model(|| share_and_refill(&SectionPool::weakened(1, 4, Weakened::Count)));
}

/// A section outlives every handle of its pool, and ends in another thread.
#[test]
fn the_last_section_frees_the_pool() {
    loom::model(|| {
        let pool = SectionPool::new(1, 4);
        let section = filled(pool.take(4), 9);
        let other = thread::spawn(move || assert_eq!(&section[..], [9; 4]));
        drop(pool);
        other.join().expect("the other thread does not panic");
    });
}

/// One thread pops while the other pops two numbers and puts the first back: the ABA problem.
fn overtake(list: FreeList) {
    let list = Arc::new(list);
    let owned: Arc<[UnsafeCell<()>; 2]> = Arc::new([UnsafeCell::new(()), UnsafeCell::new(())]);
    let touch = |owned: &[UnsafeCell<()>; 2], number: Option<u32>| {
        if let Some(number) = number {
            owned[number as usize].with_mut(|_| ());
        }
    };
    let (their_list, their_owned) = (list.clone(), owned.clone());
    let other = thread::spawn(move || {
        let first = their_list.pop();
        touch(&their_owned, first);
        let second = their_list.pop();
        touch(&their_owned, second);
        if let Some(first) = first {
            their_list.push(first);
        }
        touch(&their_owned, second);
    });
    let mine = list.pop();
    touch(&owned, mine);
    let next = list.pop();
    touch(&owned, next);
    other.join().expect("the other thread does not panic");
}

#[test]
fn an_overtaken_pop_fails_and_tries_again() {
    loom::model(|| overtake(FreeList::full(2)));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_missing_tag_is_noticed() {
    loom::model(|| {
        let mut list = FreeList::full(2);
        list.weakened = Some(Weakened::Tag);
        overtake(list);
    });
}
