//! The way from the root to a leaf, and what is known there about the keys of the leaf.

use super::OrderedIndex;
use super::key::{RowKeys, Target};
use crate::arena::{Arena, RowHandle};

/// More inner levels than a tree can have: every inner node but those at the edges has at least twenty children, and
/// there are fewer than 2^32 rows.
pub(super) const MAX_HEIGHT: usize = 16;

/// An inner node and which of its children the way takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) node: u32,
    pub(super) index: u32,
}

/// The way from the root to a leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    steps: [Step; MAX_HEIGHT],
    height: usize,
    pub(super) leaf: u32,
    /// No leaf comes before this one.
    pub(super) is_first: bool,
    /// No leaf comes after this one.
    pub(super) is_last: bool,
}

/// Separators before and after a leaf; none at the ends of the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fences {
    pub(super) low: Option<u32>,
    pub(super) high: Option<u32>,
}

impl OrderedIndex {
    /// The leaf that `target` belongs to. There must be a root.
    #[inline]
    pub(super) fn descend(&self, arena: &Arena, target: Target<'_>) -> Path {
        self.descend_by(arena, |node| arena.inner(node).child_for(arena, target))
    }

    /// The first or the last leaf. There must be a root.
    pub(super) fn descend_to_end(&self, arena: &Arena, to_last: bool) -> Path {
        self.descend_by(arena, |node| if to_last { arena.inner(node).count() } else { 0 })
    }

    #[inline(always)]
    fn descend_by(&self, arena: &Arena, choose: impl Fn(u32) -> usize) -> Path {
        let mut path = Path {
            steps: [Step { node: 0, index: 0 }; MAX_HEIGHT],
            height: self.height,
            leaf: self.root,
            is_first: true,
            is_last: true,
        };
        for step in &mut path.steps[..self.height] {
            let inner = arena.inner(path.leaf);
            let index = choose(path.leaf);
            *step = Step { node: path.leaf, index: index as u32 };
            path.is_first &= index == 0;
            path.is_last &= index == inner.count();
            path.leaf = inner.children()[index];
            arena.prefetch_node(path.leaf);
        }
        path
    }
}

impl Path {
    /// The inner nodes from the root on.
    #[inline(always)]
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps[..self.height]
    }

    /// The same way but for the last step, which takes the child `index`.
    pub(super) fn beside(&self, arena: &Arena, index: usize) -> Self {
        let mut path = *self;
        if let Some(last) = path.steps[..self.height].last_mut() {
            last.index = index as u32;
            path.leaf = arena.inner(last.node).children()[index];
        }
        path.is_first = path.steps().iter().all(|step| step.index == 0);
        path.is_last = path.steps().iter().all(|step| step.index as usize == arena.inner(step.node).count());
        path
    }

    /// The separators around the leaf.
    pub(super) fn fences(&self, arena: &Arena) -> Fences {
        let mut fences = Fences { low: None, high: None };
        for &Step { node, index } in self.steps() {
            let (separators, index) = (arena.inner(node).separators(), index as usize);
            if let Some(before) = index.checked_sub(1) {
                fences.low = Some(separators[before]);
            }
            fences.high = separators.get(index).copied().or(fences.high);
        }
        fences
    }

    /// Goes on to the next leaf, or to the one before. Returns false and stays when there is none.
    pub(super) fn advance(&mut self, arena: &Arena, forward: bool) -> bool {
        let is_last = |step: &Step| {
            if forward { step.index as usize == arena.inner(step.node).count() } else { step.index == 0 }
        };
        let Some(turn) = self.steps().iter().rposition(|step| !is_last(step)) else { return false };
        let step = &mut self.steps[turn];
        step.index = if forward { step.index + 1 } else { step.index - 1 };
        let mut node = arena.inner(step.node).children()[step.index as usize];
        for step in &mut self.steps[turn + 1..self.height] {
            let inner = arena.inner(node);
            *step = Step { node, index: if forward { 0 } else { inner.count() as u32 } };
            node = inner.children()[step.index as usize];
        }
        self.leaf = node;
        self.is_first = false;
        self.is_last = false;
        // The leaf after that will be wanted soon.
        if let Some(last) = self.steps().last() {
            let index = if forward { last.index.wrapping_add(1) } else { last.index.wrapping_sub(1) };
            if let Some(&next) = arena.inner(last.node).children().get(index as usize) {
                arena.prefetch_node(next);
            }
        }
        true
    }

    /// How many entries of the leaf are smaller than `target`, which must belong into it.
    pub(super) fn rank(&self, arena: &Arena, keys: &impl RowKeys, target: Target<'_>) -> usize {
        let leaf = arena.leaf(self.leaf);
        let rows = leaf.rows();
        let compare = |row: u32| keys.with_key(arena, RowHandle(row), |key| target.compare_entry(key, row));
        // At the ends of the tree the key may lie outside of all keys and not share the prefix.
        if self.is_last && rows.last().is_none_or(|&row| compare(row).is_lt()) {
            return rows.len();
        }
        if self.is_first && rows.first().is_none_or(|&row| compare(row).is_ge()) {
            return 0;
        }
        let (first, end) = leaf.ties(target.key);
        first + rows[first..end].partition_point(|&row| compare(row).is_lt())
    }
}
