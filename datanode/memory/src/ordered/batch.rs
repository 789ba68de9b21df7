//! Lookups of many keys at once, in stages that each ask for the memory that the next one reads (see the hash index).

use super::key::{RowKeys, Target};
use super::{OrderedIndex, find_among};
use crate::arena::{Arena, RowHandle};

/// Lookups that wait for memory together.
const GROUP: usize = 16;

impl OrderedIndex {
    /// Looks many keys up: `found[i]` becomes what [`find`](Self::find) gives for `wanted[i]`. Stops at the shorter of
    /// both slices.
    pub fn find_batch<K: AsRef<[u8]>>(
        &self,
        arena: &Arena,
        keys: &impl RowKeys,
        wanted: &[K],
        found: &mut [Option<RowHandle>],
    ) {
        for (wanted, found) in wanted.chunks(GROUP).zip(found.chunks_mut(GROUP)) {
            let leaves = self.leaves_of(arena, wanted, Arena::prefetch_leaf_heads);
            if self.is_unique && !self.is_empty() {
                let mut ties = [(0, 0); GROUP];
                for ((key, &leaf), ties) in wanted.iter().zip(&leaves).zip(&mut ties) {
                    *ties = arena.leaf(leaf).ties(key.as_ref());
                    arena.prefetch_place(leaf, ties.0);
                }
                for (&leaf, &(first, end)) in leaves.iter().zip(&ties[..wanted.len()]) {
                    let rows = &arena.leaf(leaf).rows()[first..end];
                    rows.iter().for_each(|&row| arena.prefetch(RowHandle(row)));
                }
                for (((key, &leaf), &ties), found) in wanted.iter().zip(&leaves).zip(&ties).zip(found) {
                    *found = find_among(ties, arena.leaf(leaf), arena, keys, key.as_ref());
                }
            } else {
                for (key, found) in wanted.iter().zip(found) {
                    *found = self.find(arena, keys, key.as_ref());
                }
            }
        }
    }

    /// Loads the leaves of up to sixteen keys into the cache, before they are inserted, removed or replaced one after
    /// the other.
    pub fn prefetch_leaves<K: AsRef<[u8]>>(&self, arena: &Arena, wanted: &[K]) {
        let _ = self.leaves_of(arena, &wanted[..wanted.len().min(GROUP)], Arena::prefetch_node);
    }

    /// The leaves of up to [`GROUP`] keys, on their way into the cache by `prefetch`.
    #[inline(always)]
    fn leaves_of<K: AsRef<[u8]>>(
        &self,
        arena: &Arena,
        wanted: &[K],
        prefetch: impl Fn(&Arena, u32),
    ) -> [u32; GROUP] {
        let mut nodes = [self.root; GROUP];
        if !self.is_empty() {
            for level in 1..=self.height {
                for (node, key) in nodes.iter_mut().zip(wanted) {
                    let inner = arena.inner(*node);
                    *node = inner.children()[inner.child_for(arena, Target { key: key.as_ref(), row: 0 })];
                    if level < self.height { arena.prefetch_node(*node) } else { prefetch(arena, *node) }
                }
            }
        }
        nodes
    }
}
