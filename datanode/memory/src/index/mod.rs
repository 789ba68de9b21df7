//! The hash index on the primary key: linear hashing over buckets of one cache line.
//!
//! The low bits of a row's 64-bit hash pick its bucket, bits 32..40 are its tag. Twelve tags are compared at once,
//! so a lookup touches one bucket (sometimes an overflow bucket) and, but for one in 256 tags, only the row it is
//! after. The highest bits take no part, because they place rows on partitions and are alike within one.
//!
//! The table grows by one bucket per insertion while it is fuller than 80 %, and never stops to rehash. Buckets,
//! overflow buckets included, are slots and pages of the arena; see `directory.rs` for the segments. An index without
//! rows has none.
//!
//! Lookups of many keys go in stages, each for all of the batch before the next:
//! [`prefetch_bucket`](HashIndex::prefetch_bucket), [`prefetch_row`](HashIndex::prefetch_row),
//! [`prefetch_overflow`](HashIndex::prefetch_overflow), [`find_probed`](HashIndex::find_probed). Each finds in the
//! cache what the one before asked for.

mod bucket;
mod directory;
mod probe;
mod resize;
mod scan;

use crate::arena::{Arena, RowHandle};
use crate::budget::{OutOfMemory, Priority};
use bucket::{BUCKET_BYTES, BUCKET_ROWS, NO_BUCKET, tag_of};
use directory::Directory;
use resize::last_bucket;

pub use probe::Probe;

/// An index of rows in an arena by their keys. It must always be used with the same arena.
#[derive(Debug)]
pub struct HashIndex {
    hash: fn(&[u8]) -> u64,
    directory: Directory,
    rows: u64,
    overflow_buckets: u64,
    /// Counts changes, so that probes from before are not trusted.
    changes: u32,
}

impl HashIndex {
    /// An empty index, without memory yet. `hash` is the function that all hashes passed in are computed with.
    #[must_use]
    pub fn new(hash: fn(&[u8]) -> u64) -> Self {
        Self { hash, directory: Directory::default(), rows: 0, overflow_buckets: 0, changes: 0 }
    }

    /// Rows in the index.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Whether no row is in the index.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of all buckets.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.directory.bytes() + self.overflow_buckets * BUCKET_BYTES as u64
    }

    /// The row with `key`, whose hash is `hash`.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, arena: &Arena, hash: u64, key: &[u8]) -> Option<RowHandle> {
        if self.rows == 0 {
            return None;
        }
        let tag = tag_of(hash);
        let mut bucket = arena.bucket(self.directory.word_of_hash(hash));
        loop {
            for place in bucket.matches(tag) {
                let row = RowHandle(bucket.rows[place]);
                if arena.key(row) == key {
                    return Some(row);
                }
            }
            if bucket.overflow == NO_BUCKET {
                return None;
            }
            bucket = arena.bucket(bucket.overflow);
        }
    }

    /// Adds a row whose key has `hash` and is not in the index yet (which is the caller's to know).
    ///
    /// # Errors
    /// When memory for a bucket is needed and there is none; the index is unchanged then. Memory is only needed for
    /// the first row and for a full chain: a table that cannot grow goes on with longer chains.
    ///
    /// # Panics
    /// When `row` is null.
    pub fn insert(
        &mut self,
        arena: &mut Arena,
        hash: u64,
        row: RowHandle,
        priority: Priority,
    ) -> Result<(), OutOfMemory> {
        assert!(!row.is_null(), "the null handle cannot be indexed");
        if self.directory.buckets() == 0 {
            self.directory.push(arena, priority)?;
        }
        let (mut word, mut place) = last_bucket(arena, self.directory.word_of_hash(hash));
        if place == BUCKET_ROWS {
            let next = self.new_overflow(arena, priority)?;
            arena.bucket_mut(word).overflow = next;
            (word, place) = (next, 0);
        }
        let bucket = arena.bucket_mut(word);
        bucket.rows[place] = row.0;
        bucket.tags[place] = tag_of(hash);
        self.rows += 1;
        self.changes = self.changes.wrapping_add(1);
        let rows_until_growth = self.rows_until_growth();
        if rows_until_growth < 0 {
            // Without memory the table works on as it is, and the next insertion tries again.
            let _ = self.grow(arena, priority);
        } else {
            self.prefetch_growth(arena, rows_until_growth);
        }
        Ok(())
    }

    /// Puts the row `new`, whose key is the same, into the place of `old`. Returns false if `old` is not there.
    ///
    /// # Panics
    /// When `new` is null.
    #[must_use]
    pub fn replace(&mut self, arena: &mut Arena, hash: u64, old: RowHandle, new: RowHandle) -> bool {
        assert!(!new.is_null(), "the null handle cannot be indexed");
        let Some(found) = self.locate(arena, hash, old) else { return false };
        arena.bucket_mut(found.word).rows[found.place] = new.0;
        self.changes = self.changes.wrapping_add(1);
        true
    }

    /// Takes a row out. Returns false if it is not there. The row itself is not freed.
    #[must_use]
    pub fn remove(&mut self, arena: &mut Arena, hash: u64, row: RowHandle) -> bool {
        let Some(found) = self.locate(arena, hash, row) else { return false };
        // The last row of the chain fills the gap.
        let (mut last, mut before) = (found.word, found.before);
        while arena.bucket(last).overflow != NO_BUCKET {
            (before, last) = (last, arena.bucket(last).overflow);
        }
        let bucket = arena.bucket_mut(last);
        let place = bucket.used() - 1;
        let (moved_row, moved_tag) = (bucket.rows[place], bucket.tags[place]);
        bucket.rows[place] = 0;
        bucket.tags[place] = 0;
        if (last, place) != (found.word, found.place) {
            let gap = arena.bucket_mut(found.word);
            gap.rows[found.place] = moved_row;
            gap.tags[found.place] = moved_tag;
        }
        if place == 0 && before != NO_BUCKET {
            arena.bucket_mut(before).overflow = NO_BUCKET;
            self.free_overflow(arena, last);
        }
        self.rows -= 1;
        self.changes = self.changes.wrapping_add(1);
        self.shrink_if_sparse(arena);
        true
    }

    fn locate(&self, arena: &Arena, hash: u64, row: RowHandle) -> Option<Found> {
        if self.rows == 0 {
            return None;
        }
        let tag = tag_of(hash);
        let mut before = NO_BUCKET;
        let mut word = self.directory.word_of_hash(hash);
        while word != NO_BUCKET {
            let bucket = arena.bucket(word);
            if let Some(place) = bucket.matches(tag).find(|&place| bucket.rows[place] == row.0) {
                return Some(Found { word, before, place });
            }
            (before, word) = (word, bucket.overflow);
        }
        None
    }
}

/// Where a row is: bucket, the bucket before it in the chain, and the place in the bucket.
struct Found {
    word: u32,
    before: u32,
    place: usize,
}
