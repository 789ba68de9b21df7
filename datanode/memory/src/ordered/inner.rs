//! Inner nodes: children and the separators between them.
//!
//! ```text
//!  0       2        4   8                    504                    752              1004  1024
//!  | count | prefix | - | 62 heads (u64)     | 62 separators (u32)  | 63 children (u32) | -  |
//! ```
//!
//! Separator `i` lies between the children `i` and `i + 1`: all entries before it are smaller, all after it are equal
//! or larger. It is the shortest such string (R. Bayer, K. Unterauer: Prefix B-trees, TODS 1977), kept in a slot of
//! its own:
//!
//! ```text
//!  0            4        6
//!  | row handle | length | bytes |     row handle: 0 unless the neighbours' keys are equal
//! ```
//!
//! All separators of a node share their first `prefix` bytes; a head is the eight bytes that follow.

use super::key::{Target, common_prefix, window};
use crate::arena::Arena;
use std::cmp::Ordering;

/// Bytes of an inner node.
pub(super) const INNER_BYTES: usize = 1024;
/// Places for separators.
const PLACES: usize = (INNER_BYTES - 12) / 16 - 1;
const REST_BYTES: usize = INNER_BYTES - 12 - 16 * PLACES;
/// Separators of a full node: few in unit tests and under Miri.
pub(super) const INNER_ROOM: usize = if cfg!(any(test, miri)) { 4 } else { PLACES };
/// Bytes of a separator's slot before the string.
pub(super) const SEPARATOR_HEADER_BYTES: usize = 6;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Inner {
    count: u16,
    prefix: u16,
    unused: u32,
    heads: [u64; PLACES],
    separators: [u32; PLACES],
    children: [u32; PLACES + 1],
    /// Explicit, because padding would be uninitialised memory in the arena.
    rest: [u8; REST_BYTES],
}

const _: () = assert!(size_of::<Inner>() == INNER_BYTES && INNER_ROOM <= PLACES);

/// A separator where it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Separator<'arena> {
    pub(super) key: &'arena [u8],
    pub(super) row: u32,
}

impl Inner {
    /// A node with one child and no separator.
    pub(super) fn with_child(child: u32) -> Self {
        let mut children = [0; PLACES + 1];
        children[0] = child;
        Self {
            count: 0,
            prefix: 0,
            unused: 0,
            heads: [0; PLACES],
            separators: [0; PLACES],
            children,
            rest: [0; REST_BYTES],
        }
    }

    /// Separators in use; there is one child more.
    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.count.into()
    }

    #[inline(always)]
    pub(super) fn separators(&self) -> &[u32] {
        &self.separators[..self.count()]
    }

    #[inline(always)]
    pub(super) fn children(&self) -> &[u32] {
        &self.children[..=self.count()]
    }

    /// The child that `target` belongs to.
    #[inline(always)]
    pub(super) fn child_for(&self, arena: &Arena, target: Target<'_>) -> usize {
        let prefix = usize::from(self.prefix);
        if prefix > 0 {
            let shared = &arena.separator(self.separators[0]).key[..prefix];
            match target.key[..prefix.min(target.key.len())].cmp(shared) {
                Ordering::Less => return 0,
                Ordering::Equal => {}
                Ordering::Greater => return self.count(),
            }
        }
        let head = window(target.key, prefix);
        let heads = &self.heads[..self.count()];
        let mut first = heads.partition_point(|&other| other < head);
        let mut end = first + heads[first..].partition_point(|&other| other == head);
        while first < end {
            let middle = first.midpoint(end);
            let separator = arena.separator(self.separators[middle]);
            match target.compare_entry(separator.key, separator.row) {
                Ordering::Less | Ordering::Equal => first = middle + 1,
                Ordering::Greater => end = middle,
            }
        }
        first
    }

    /// Puts a separator at `index` and `child` behind it. There must be room.
    pub(super) fn insert(&mut self, arena: &Arena, index: usize, separator: u32, child: u32) {
        let count = self.count();
        self.heads.copy_within(index..count, index + 1);
        self.separators.copy_within(index..count, index + 1);
        self.children.copy_within(index + 1..=count, index + 2);
        self.children[index + 1] = child;
        self.separators[index] = separator;
        self.count += 1;
        self.set_head(arena, index);
    }

    /// Replaces a separator; returns the one before.
    pub(super) fn replace(&mut self, arena: &Arena, index: usize, separator: u32) -> u32 {
        let old = std::mem::replace(&mut self.separators[index], separator);
        self.set_head(arena, index);
        old
    }

    /// Takes out the separator at `index` and one of the two children beside it; returns the separator.
    pub(super) fn remove(&mut self, index: usize, child: usize) -> u32 {
        let count = self.count();
        let separator = self.separators[index];
        self.heads.copy_within(index + 1..count, index);
        self.separators.copy_within(index + 1..count, index);
        self.children.copy_within(child + 1..=count, child);
        self.count -= 1;
        separator
    }

    /// Takes out the last child and the separator before it, which is returned.
    pub(super) fn pop(&mut self) -> u32 {
        self.count -= 1;
        self.separators[self.count()]
    }

    /// Moves what comes after the separator at `middle` into a new node; returns that separator and the node.
    pub(super) fn split(&mut self, arena: &Arena, middle: usize) -> (u32, Self) {
        let count = self.count();
        let mut right = Self::with_child(0);
        let moved = count - middle - 1;
        right.separators[..moved].copy_from_slice(&self.separators[middle + 1..count]);
        right.children[..=moved].copy_from_slice(&self.children[middle + 1..=count]);
        right.count = moved as u16;
        right.set_prefix(arena);
        self.count = middle as u16;
        self.set_prefix(arena);
        (self.separators[middle], right)
    }

    /// Appends a separator and all of `right`. There must be room.
    pub(super) fn append(&mut self, arena: &Arena, separator: u32, right: &Self) {
        let (count, more) = (self.count(), right.count());
        self.separators[count] = separator;
        self.separators[count + 1..=count + more].copy_from_slice(right.separators());
        self.children[count + 1..=count + 1 + more].copy_from_slice(right.children());
        self.count += right.count + 1;
        self.set_prefix(arena);
    }

    /// Moves entries between neighbours around their `separator` so that they have as many; returns the new one.
    pub(super) fn balance(&mut self, arena: &Arena, separator: u32, right: &mut Self) -> u32 {
        let mut separator = separator;
        while self.count() > right.count() + 1 {
            let count = right.count();
            right.separators.copy_within(..count, 1);
            right.children.copy_within(..=count, 1);
            right.separators[0] = separator;
            right.children[0] = self.children[self.count()];
            right.count += 1;
            self.count -= 1;
            separator = self.separators[self.count()];
        }
        while right.count() > self.count() + 1 {
            let count = self.count();
            self.separators[count] = separator;
            self.children[count + 1] = right.children[0];
            self.count += 1;
            separator = right.remove(0, 0);
        }
        self.set_prefix(arena);
        right.set_prefix(arena);
        separator
    }

    /// Finds the longest prefix and computes all heads.
    fn set_prefix(&mut self, arena: &Arena) {
        let separators = &self.separators[..usize::from(self.count)];
        let prefix = match separators {
            [] => 0,
            [first, .., last] => common_prefix(arena.separator(*first).key, arena.separator(*last).key),
            // Growing nodes shall not begin with a prefix that the second separator spoils.
            [_] => 0,
        };
        self.prefix = prefix as u16;
        for (head, &separator) in self.heads.iter_mut().zip(separators) {
            *head = window(arena.separator(separator).key, prefix);
        }
    }

    /// Computes one head, or all when the separator does not share the prefix or a longer one may be better.
    fn set_head(&mut self, arena: &Arena, index: usize) {
        let prefix = usize::from(self.prefix);
        let key = arena.separator(self.separators[index]).key;
        let other = self.separators[usize::from(index == 0).min(self.count() - 1)];
        self.heads[index] = window(key, prefix);
        let spoils_prefix = common_prefix(key, arena.separator(other).key) < prefix;
        let (before, count) = (index.saturating_sub(1), self.count());
        let is_tie = self.heads[before..count.min(index + 2)].windows(2).any(|pair| pair[0] == pair[1]);
        if spoils_prefix || is_tie {
            self.set_prefix(arena);
        }
    }

    #[cfg(test)]
    pub(super) fn check(&self, arena: &Arena) {
        for (place, &separator) in self.separators().iter().enumerate() {
            let key = arena.separator(separator).key;
            let prefix = usize::from(self.prefix);
            assert_eq!(key[..prefix], arena.separator(self.separators[0]).key[..prefix]);
            assert_eq!(self.heads[place], window(key, prefix));
        }
    }
}
