//! Ranges: the entries between two places, from either end.

use super::OrderedIndex;
use super::key::{RowKeys, Target};
use super::path::Path;
use crate::arena::{Arena, RowHandle};
use std::cmp::Ordering;

const AFTER_ALL_ROWS: u64 = 1 << 32;

/// A place between two entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position<'key> {
    /// Before all entries.
    First,
    /// Before the entries with this key, or where they would be (the lower bound).
    Before(&'key [u8]),
    /// Before this entry of an index with duplicates.
    BeforeEntry(&'key [u8], RowHandle),
    /// After this entry of an index with duplicates.
    AfterEntry(&'key [u8], RowHandle),
    /// After the entries with this key (the upper bound).
    After(&'key [u8]),
    /// After all entries.
    Last,
}

impl<'key> Position<'key> {
    /// None for the ends.
    fn target(self) -> Option<Target<'key>> {
        let (key, row) = match self {
            Self::First | Self::Last => return None,
            Self::Before(key) => (key, 0),
            Self::BeforeEntry(key, row) => (key, row.0.into()),
            Self::AfterEntry(key, row) => (key, u64::from(row.0) + 1),
            Self::After(key) => (key, AFTER_ALL_ROWS),
        };
        Some(Target { key, row })
    }

    /// Order of two places as the keys have it, whatever is in the index.
    fn compare(self, other: Self) -> Ordering {
        let end = |position| match position {
            Self::First => 0,
            Self::Last => 2,
            Self::Before(_) | Self::BeforeEntry(..) | Self::AfterEntry(..) | Self::After(_) => 1,
        };
        match (self.target(), other.target()) {
            (Some(left), Some(right)) => left.key.cmp(right.key).then(left.row.cmp(&right.row)),
            (Some(_) | None, _) => end(self).cmp(&end(other)),
        }
    }
}

/// The rows between two places, as an iterator from both ends that reads no row.
///
/// The index cannot change while a range is in use. A scan in slices drops the range and makes a new one: forward from
/// [`Position::After`] the key of the last row it got, backward up to [`Position::Before`] it (the entry, in an index
/// with duplicates). Whatever was changed in between, a row that is in the index throughout is then met exactly once.
#[derive(Clone, Debug)]
pub struct Range<'arena> {
    arena: &'arena Arena,
    /// Start and end; none when the index is empty.
    ends: Option<(Spot, Spot)>,
}

/// A place in the tree. The end of a leaf and the start of the next one are the same place.
#[derive(Clone, Copy, Debug)]
struct Spot {
    path: Path,
    index: usize,
}

impl OrderedIndex {
    /// The rows between two places. Empty when `to` is not after `from`.
    #[must_use]
    pub fn range<'arena>(
        &self,
        arena: &'arena Arena,
        keys: &impl RowKeys,
        from: Position<'_>,
        to: Position<'_>,
    ) -> Range<'arena> {
        let is_empty = self.is_empty() || from.compare(to).is_ge();
        let ends = (!is_empty).then(|| (self.spot(arena, keys, from), self.spot(arena, keys, to)));
        Range { arena, ends }
    }

    fn spot(&self, arena: &Arena, keys: &impl RowKeys, position: Position<'_>) -> Spot {
        let Some(target) = position.target() else {
            let path = self.descend_to_end(arena, position == Position::Last);
            let index = if position == Position::Last { arena.leaf(path.leaf).count() } else { 0 };
            return Spot { path, index };
        };
        let path = self.descend(arena, target);
        Spot { path, index: path.rank(arena, keys, target) }
    }
}

impl<'arena> Range<'arena> {
    /// Takes the next rows of the range into `rows`, as many as fit, and asks for them to be loaded into the cache.
    /// Returns how many; fewer than fit only at the end.
    pub fn take_into(&mut self, rows: &mut [RowHandle]) -> usize {
        let mut taken = 0;
        while taken < rows.len() {
            let found = self.take_front(rows.len() - taken);
            if found.is_empty() {
                break;
            }
            for (target, &row) in rows[taken..].iter_mut().zip(found) {
                *target = RowHandle(row);
                self.arena.prefetch(*target);
            }
            taken += found.len();
        }
        taken
    }

    /// Like [`take_into`](Self::take_into) from the other end, in descending order.
    pub fn take_back_into(&mut self, rows: &mut [RowHandle]) -> usize {
        let mut taken = 0;
        while taken < rows.len() {
            let found = self.take_back(rows.len() - taken);
            if found.is_empty() {
                break;
            }
            for (target, &row) in rows[taken..].iter_mut().zip(found.iter().rev()) {
                *target = RowHandle(row);
                self.arena.prefetch(*target);
            }
            taken += found.len();
        }
        taken
    }

    /// Takes entries of one leaf from the front.
    #[inline(always)]
    fn take_front(&mut self, limit: usize) -> &'arena [u32] {
        let arena = self.arena;
        let Some((start, end)) = &mut self.ends else { return &[] };
        loop {
            let is_last = start.path.leaf == end.path.leaf;
            let rows = arena.leaf(start.path.leaf).rows();
            let until = if is_last { end.index } else { rows.len() };
            if start.index < until {
                let taken = &rows[start.index..until.min(start.index + limit)];
                start.index += taken.len();
                return taken;
            }
            if is_last || !start.path.advance(arena, true) {
                return &[];
            }
            start.index = 0;
        }
    }

    /// Takes entries of one leaf from the back.
    #[inline(always)]
    fn take_back(&mut self, limit: usize) -> &'arena [u32] {
        let arena = self.arena;
        let Some((start, end)) = &mut self.ends else { return &[] };
        loop {
            let is_first = start.path.leaf == end.path.leaf;
            let rows = arena.leaf(end.path.leaf).rows();
            let from = if is_first { start.index } else { 0 };
            if from < end.index {
                let taken = &rows[from.max(end.index.saturating_sub(limit))..end.index];
                end.index -= taken.len();
                return taken;
            }
            if is_first || !end.path.advance(arena, false) {
                return &[];
            }
            end.index = arena.leaf(end.path.leaf).count();
        }
    }
}

impl Iterator for Range<'_> {
    type Item = RowHandle;

    #[inline]
    fn next(&mut self) -> Option<RowHandle> {
        self.take_front(1).first().map(|&row| RowHandle(row))
    }
}

impl DoubleEndedIterator for Range<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<RowHandle> {
        self.take_back(1).first().map(|&row| RowHandle(row))
    }
}
