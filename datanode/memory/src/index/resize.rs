//! Growing, shrinking and clearing, one bucket at a time.

use super::HashIndex;
use super::bucket::{BUCKET_BYTES, BUCKET_ROWS, Bucket, NO_BUCKET, tag_of};
use crate::arena::{Arena, RowHandle};
use crate::budget::{OutOfMemory, Priority};
use crate::size_class::class_of;

/// Fill of the primary buckets, in percent, above which an insertion splits a bucket.
const GROW_PERCENT: u64 = 80;
/// Rows that may be added before a split when the first rows that it reads are asked for.
const GROWTH_AHEAD: i64 = 6;
/// Fill below which a removal merges two buckets: far enough below the other one that they do not alternate.
const SHRINK_PERCENT: u64 = 35;

/// Overflow buckets at hand while chains are rebuilt, linked by `overflow`.
struct Spares {
    first: u32,
}

impl Spares {
    fn push(&mut self, arena: &mut Arena, word: u32) {
        arena.bucket_mut(word).overflow = self.first;
        self.first = word;
    }

    fn pop(&mut self, arena: &Arena) -> u32 {
        let word = self.first;
        self.first = arena.bucket(word).overflow;
        word
    }
}

/// The last bucket of a chain that rows are appended to.
struct Tail {
    word: u32,
    used: usize,
}

impl Tail {
    /// Appends a row, taking an overflow bucket from the spares when the last one is full.
    fn append(&mut self, arena: &mut Arena, spares: &mut Spares, row: u32, tag: u8) {
        if self.used == BUCKET_ROWS {
            let next = spares.pop(arena);
            *arena.bucket_mut(next) = Bucket::EMPTY;
            arena.bucket_mut(self.word).overflow = next;
            *self = Self { word: next, used: 0 };
        }
        let bucket = arena.bucket_mut(self.word);
        bucket.rows[self.used] = row;
        bucket.tags[self.used] = tag;
        self.used += 1;
    }
}

impl HashIndex {
    /// Rows that may be added before a bucket is split; less than zero when one should be.
    pub(super) fn rows_until_growth(&self) -> i64 {
        let most = u64::from(self.directory.buckets()) * BUCKET_ROWS as u64 * GROW_PERCENT / 100;
        most as i64 - self.rows as i64
    }

    /// Loads what the next split reads into the cache, so that it does not wait for two dozen rows all over the memory:
    /// every second of the insertions before it asks for the keys of one bucket of the chain, and for the next bucket. The
    /// split before has asked for the first.
    pub(super) fn prefetch_growth(&self, arena: &Arena, rows_until_growth: i64) {
        let inserted = GROWTH_AHEAD - rows_until_growth;
        if inserted < 0 || inserted % 2 != 0 {
            return;
        }
        let mut bucket = arena.bucket(self.directory.word_of(self.directory.split_source()));
        for _ in 0..inserted / 2 {
            if bucket.overflow == NO_BUCKET {
                return;
            }
            bucket = arena.bucket(bucket.overflow);
        }
        bucket.rows().for_each(|row| arena.prefetch_key(row));
        if bucket.overflow != NO_BUCKET {
            arena.prefetch_line_of(bucket.overflow, 0);
        }
    }

    fn is_sparse(&self) -> bool {
        let buckets = u64::from(self.directory.buckets());
        buckets > 1 && self.rows * 100 < buckets * BUCKET_ROWS as u64 * SHRINK_PERCENT
    }

    /// Allocates an empty overflow bucket.
    pub(super) fn new_overflow(&mut self, arena: &mut Arena, priority: Priority) -> Result<u32, OutOfMemory> {
        let word = arena.allocate_slot(class_of(BUCKET_BYTES), priority)?;
        *arena.bucket_mut(word) = Bucket::EMPTY;
        self.overflow_buckets += 1;
        Ok(word)
    }

    pub(super) fn free_overflow(&mut self, arena: &mut Arena, word: u32) {
        arena.free_slot(word);
        self.overflow_buckets -= 1;
    }

    /// Splits the next bucket in turn. Without memory for the new one the table stays as it is.
    ///
    /// No overflow bucket has to be allocated: after `r` buckets of the old chain were read, their at most `12 r`
    /// rows fill at most `r + 1` buckets of the two chains, and there are `r` plus the new one.
    pub(super) fn grow(&mut self, arena: &mut Arena, priority: Priority) -> Result<(), OutOfMemory> {
        let source = self.directory.split_source();
        let new_number = self.directory.buckets();
        let new_word = self.directory.push(arena, priority)?;
        let source_word = self.directory.word_of(source);
        let mut source_tail = Tail { word: source_word, used: 0 };
        let mut new_tail = Tail { word: new_word, used: 0 };
        let mut spares = Spares { first: NO_BUCKET };
        let mut next = source_word;
        while next != NO_BUCKET {
            let bucket = *arena.bucket(next);
            if next == source_word {
                *arena.bucket_mut(next) = Bucket::EMPTY;
            } else {
                spares.push(arena, next);
            }
            for row in bucket.rows() {
                let hash = (self.hash)(arena.key(row));
                let moves = self.directory.number_of(hash) == new_number;
                let tail = if moves { &mut new_tail } else { &mut source_tail };
                tail.append(arena, &mut spares, row.0, tag_of(hash));
            }
            next = bucket.overflow;
        }
        self.free_spares(arena, spares);
        // For `prefetch_growth`, some insertions from now.
        arena.prefetch_line_of(self.directory.word_of(self.directory.split_source()), 0);
        Ok(())
    }

    /// Merges the last bucket into the one it was split from, if the table is sparse. Without memory for an
    /// overflow bucket that this may need, the table stays as it is.
    pub(super) fn shrink_if_sparse(&mut self, arena: &mut Arena) {
        if !self.is_sparse() {
            return;
        }
        let target_word = self.directory.word_of(self.directory.merge_target());
        let source_word = self.directory.word_of(self.directory.buckets() - 1);
        let (last_word, used) = last_bucket(arena, target_word);
        let mut spares = Spares { first: NO_BUCKET };
        // The chain of the source needs as many buckets as it has, and all but its first can be used again.
        if used + arena.bucket(source_word).used() > BUCKET_ROWS {
            let Ok(word) = self.new_overflow(arena, Priority::Recovery) else { return };
            spares.push(arena, word);
        }
        let mut tail = Tail { word: last_word, used };
        let mut next = source_word;
        while next != NO_BUCKET {
            let bucket = *arena.bucket(next);
            if next != source_word {
                spares.push(arena, next);
            }
            for place in 0..bucket.used() {
                tail.append(arena, &mut spares, bucket.rows[place], bucket.tags[place]);
            }
            next = bucket.overflow;
        }
        self.free_spares(arena, spares);
        self.directory.pop(arena);
    }

    fn free_spares(&mut self, arena: &mut Arena, mut spares: Spares) {
        while spares.first != NO_BUCKET {
            let word = spares.pop(arena);
            self.free_overflow(arena, word);
        }
    }

    /// Frees rows, their older versions and buckets, about `max_rows` of them together, starting at the last
    /// bucket. Returns whether the table is empty and all its memory given back. Between the slices the index stays
    /// valid for the rows that are left.
    ///
    /// Every row of the index, and every row reachable over its `older` handles, is freed: nothing else may own
    /// one of them.
    pub fn clear_step(&mut self, arena: &mut Arena, max_rows: usize) -> bool {
        let mut budget = max_rows.max(1);
        while self.directory.buckets() > 0 {
            let word = self.directory.word_of(self.directory.buckets() - 1);
            while let Some(row) = self.pop_row(arena, word) {
                budget = budget.saturating_sub(arena.free_versions(row));
                if budget == 0 {
                    return false;
                }
            }
            self.directory.pop(arena);
            budget -= 1;
            if budget == 0 {
                return self.directory.buckets() == 0;
            }
        }
        true
    }

    /// Takes some row out of a chain: from its second bucket if there is one, so that the way there is short.
    fn pop_row(&mut self, arena: &mut Arena, word: u32) -> Option<RowHandle> {
        let overflow = arena.bucket(word).overflow;
        let from = if overflow == NO_BUCKET { word } else { overflow };
        let place = arena.bucket(from).used().checked_sub(1)?;
        let bucket = arena.bucket_mut(from);
        let row = RowHandle(bucket.rows[place]);
        bucket.rows[place] = 0;
        bucket.tags[place] = 0;
        self.rows -= 1;
        self.changes = self.changes.wrapping_add(1);
        if place == 0 && from != word {
            let next = arena.bucket(from).overflow;
            arena.bucket_mut(word).overflow = next;
            self.free_overflow(arena, from);
        }
        Some(row)
    }
}

/// The last bucket of the chain that starts at `word`, and the rows in it.
pub(super) fn last_bucket(arena: &Arena, word: u32) -> (u32, usize) {
    let mut last = word;
    loop {
        let bucket = arena.bucket(last);
        if bucket.overflow == NO_BUCKET {
            return (last, bucket.used());
        }
        last = bucket.overflow;
    }
}
