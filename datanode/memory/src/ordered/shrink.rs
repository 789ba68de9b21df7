//! Giving space back: leaves and inner nodes that became sparse are merged with a neighbour.

use super::OrderedIndex;
use super::grow::move_entries;
use super::inner::INNER_ROOM;
use super::key::RowKeys;
use super::leaf::LEAF_ROOM;
use super::path::{Path, Step};
use crate::arena::Arena;

/// A leaf with fewer entries looks for a neighbour to merge with.
const SPARSE_LEAF: usize = LEAF_ROOM / 2;
/// It looks only every so many removals, because the neighbours are not in the cache.
const LOOK_EVERY: usize = if LEAF_ROOM < 16 { 1 } else { 4 };
/// Most entries of a merged leaf.
const MERGED_ROOM: usize = LEAF_ROOM * 7 / 8;
/// An inner node with fewer separators is merged with a neighbour, or takes from it.
const SPARSE_INNER: usize = INNER_ROOM / 3;

impl OrderedIndex {
    /// Repairs the tree after an entry was taken out of the leaf of `path`.
    pub(super) fn shrink(&mut self, arena: &mut Arena, keys: &impl RowKeys, path: &Path) {
        let count = arena.leaf(path.leaf).count();
        if path.steps().is_empty() {
            if count == 0 {
                self.free_leaf(arena, path.leaf);
            }
            return;
        }
        let is_due = count < SPARSE_LEAF && count.is_multiple_of(LOOK_EVERY);
        if is_due && self.merge_leaf(arena, keys, path) {
            self.shrink_inners(arena, path);
        }
    }

    /// Frees up to `leaves` leaves with the nodes above them, from the end. Returns true when the index is empty;
    /// until then it holds the other entries and can be used. The rows are not freed.
    pub fn clear_step(&mut self, arena: &mut Arena, leaves: usize) -> bool {
        for _ in 0..leaves {
            if self.is_empty() {
                break;
            }
            let path = self.descend_to_end(arena, true);
            self.entries -= arena.leaf(path.leaf).count() as u64;
            self.free_leaf(arena, path.leaf);
            if let Some(&Step { node, .. }) = path.steps().last() {
                let mut inner = *arena.inner(node);
                let separator = inner.pop();
                arena.set_inner(node, &inner);
                self.free_separator(arena, separator);
                self.shrink_inners(arena, &path);
            }
        }
        self.is_empty()
    }

    /// Merges a sparse leaf with the one after or before it, if both fit into one; an empty leaf always. Returns
    /// whether that was so.
    fn merge_leaf(&mut self, arena: &mut Arena, keys: &impl RowKeys, path: &Path) -> bool {
        let Some(&Step { node, index }) = path.steps().last() else { return false };
        let (mut inner, index) = (*arena.inner(node), index as usize);
        let count = arena.leaf(path.leaf).count();
        let fits = |other: &usize| {
            let other = inner.children().get(*other).map(|&leaf| arena.leaf(leaf).count());
            other.is_some_and(|other| count == 0 || count + other <= MERGED_ROOM)
        };
        let Some(other) = [index + 1, index.wrapping_sub(1)].into_iter().find(fits) else { return false };
        let other_leaf = inner.children()[other];
        // The leaf with fewer entries goes.
        let goes_this = count <= arena.leaf(other_leaf).count();
        let (going, staying) = if goes_this { (index, other) } else { (other, index) };
        let going_leaf = inner.children()[going];
        let separator = inner.remove(going.min(staying), going);
        arena.set_inner(node, &inner);
        self.free_separator(arena, separator);
        let staying_path = path.beside(arena, going.min(staying));
        let moved = arena.leaf(going_leaf).count();
        move_entries(arena, keys, going_leaf, &staying_path, moved, going < staying);
        self.free_leaf(arena, going_leaf);
        true
    }

    /// Merges or balances the sparse inner nodes above a leaf, and lowers the root.
    fn shrink_inners(&mut self, arena: &mut Arena, path: &Path) {
        for pair in path.steps().windows(2).rev() {
            let [Step { node: parent, index }, Step { node, .. }] = *pair else { continue };
            let mut parent_node = *arena.inner(parent);
            if arena.inner(node).count() >= SPARSE_INNER || parent_node.count() == 0 {
                break;
            }
            let place = (index as usize).min(parent_node.count() - 1);
            let (left, right) = (parent_node.children()[place], parent_node.children()[place + 1]);
            let (mut left_node, mut right_node) = (*arena.inner(left), *arena.inner(right));
            let separator = parent_node.separators()[place];
            if left_node.count() + right_node.count() < INNER_ROOM {
                left_node.append(arena, separator, &right_node);
                parent_node.remove(place, place + 1);
                arena.set_inner(left, &left_node);
                arena.set_inner(parent, &parent_node);
                self.free_inner(arena, right);
                continue;
            }
            let new = left_node.balance(arena, separator, &mut right_node);
            parent_node.replace(arena, place, new);
            arena.set_inner(left, &left_node);
            arena.set_inner(right, &right_node);
            arena.set_inner(parent, &parent_node);
            break;
        }
        self.lower_root(arena);
    }

    /// Makes the only child of the root the root.
    fn lower_root(&mut self, arena: &mut Arena) {
        while self.height > 0 && arena.inner(self.root).count() == 0 {
            let root = self.root;
            self.root = arena.inner(root).children()[0];
            self.height -= 1;
            self.free_inner(arena, root);
        }
    }

    fn free_leaf(&mut self, arena: &mut Arena, word: u32) {
        arena.free_slot(word);
        self.leaves -= 1;
    }

    fn free_inner(&mut self, arena: &mut Arena, word: u32) {
        arena.free_slot(word);
        self.inners -= 1;
    }
}
