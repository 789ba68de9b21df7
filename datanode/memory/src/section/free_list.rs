//! The numbers of free blocks, as a stack that any thread may push to and pop from.

use super::sync::{AtomicU32, AtomicU64, Ordering};

/// Under the lowest number of the stack.
const NONE: u32 = u32::MAX;

/// A lock-free stack of the numbers `0..blocks`, each at most once.
///
/// Treiber's stack (*Systems Programming: Coping with Parallelism*, IBM 1986) over indices instead of pointers, so
/// that the head and a tag share one 64-bit word. The tag counts the changes: a thread that has read the head and the
/// number under it, and was then overtaken by others that popped both and pushed the first back (the ABA problem),
/// fails in its exchange, because the tag has moved on. It would have to be overtaken by exactly a multiple of 2³²
/// changes to be deceived.
///
/// Orderings: a push publishes by *release* what the pusher did to the block and the number stored under it; a pop
/// reads the head by *acquire* and so sees both. Every change of the head is a read-modify-write, so a head that a
/// later pop uncovers still belongs to the release sequence of the push that put it there.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct FreeList {
    /// The tag in the upper half, the topmost number in the lower.
    head: AtomicU64,
    /// For each number on the stack, the one under it.
    under: Box<[AtomicU32]>,
    #[cfg(loom)]
    pub(super) weakened: Option<Weakened>,
}

/// A deliberate mistake for the models.
#[cfg(loom)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "only the models make mistakes")]
pub(super) enum Weakened {
    /// Blocks are pushed with a relaxed exchange.
    Push,
    /// The tag never changes.
    Tag,
    /// The last handle of a section does not wait for what others did with theirs.
    Count,
}

impl FreeList {
    /// All numbers below `blocks`, the lowest on top.
    pub(super) fn full(blocks: u32) -> Self {
        assert!(blocks < NONE, "too many blocks");
        let under =
            (1..=blocks).map(|next| AtomicU32::new(if next == blocks { NONE } else { next })).collect();
        let top = if blocks == 0 { NONE } else { 0 };
        Self {
            head: AtomicU64::new(word(0, top)),
            under,
            #[cfg(loom)]
            weakened: None,
        }
    }

    /// How many numbers are on the stack; without meaning while others push and pop.
    pub(super) fn len(&self) -> usize {
        let (_, mut top) = parts(self.head.load(Ordering::Acquire));
        let mut count = 0;
        while top != NONE && count < self.under.len() {
            count += 1;
            top = self.under[top as usize].load(Ordering::Relaxed);
        }
        count
    }

    /// How many numbers there are.
    pub(super) fn capacity(&self) -> usize {
        self.under.len()
    }

    /// Takes the topmost number; it is the caller's until it is pushed again.
    pub(super) fn pop(&self) -> Option<u32> {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let (tag, top) = parts(head);
            if top == NONE {
                return None;
            }
            // Another thread may have popped `top` and pushed it over something else by now; then the number read
            // here is of no use, but so is `head`, and the exchange fails.
            let under = self.under[top as usize].load(Ordering::Relaxed);
            let next = word(self.next_tag(tag), under);
            match self.head.compare_exchange_weak(head, next, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(top),
                Err(actual) => head = actual,
            }
        }
    }

    /// Puts a number back that [`pop`](Self::pop) gave to the caller.
    pub(super) fn push(&self, number: u32) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let (tag, top) = parts(head);
            self.under[number as usize].store(top, Ordering::Relaxed);
            let next = word(self.next_tag(tag), number);
            match self.head.compare_exchange_weak(head, next, self.push_order(), Ordering::Relaxed) {
                Ok(_) => return,
                Err(actual) => head = actual,
            }
        }
    }

    fn next_tag(&self, tag: u32) -> u32 {
        #[cfg(loom)]
        if self.weakened == Some(Weakened::Tag) {
            return tag;
        }
        tag.wrapping_add(1)
    }

    fn push_order(&self) -> Ordering {
        #[cfg(loom)]
        if self.weakened == Some(Weakened::Push) {
            return Ordering::Relaxed;
        }
        Ordering::Release
    }
}

fn word(tag: u32, top: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(top)
}

fn parts(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_last_in_first_out() {
        let list = FreeList::full(3);
        assert_eq!([list.pop(), list.pop(), list.pop(), list.pop()], [Some(0), Some(1), Some(2), None]);
        list.push(1);
        list.push(2);
        assert_eq!([list.pop(), list.pop(), list.pop()], [Some(2), Some(1), None]);
        assert_eq!(FreeList::full(0).pop(), None);
    }

    #[test]
    fn every_change_moves_the_tag_on() {
        let list = FreeList::full(1);
        let before = list.head.load(Ordering::Relaxed);
        list.pop();
        list.push(0);
        let after = list.head.load(Ordering::Relaxed);
        assert_eq!((parts(after).1, parts(before).1), (0, 0));
        assert_ne!(before, after);
    }
}
