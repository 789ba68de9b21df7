//! Scans in the order of the bit-reversed hash.
//!
//! The hashes of one bucket agree in their low bits, so their bit-reversed hashes are an interval of the 64-bit
//! numbers. Splitting a bucket halves its interval, merging two joins their intervals, and the intervals of all
//! buckets follow each other without gaps. A position in that order therefore stays good however the table grows or
//! shrinks between two steps: all rows with a smaller bit-reversed hash were visited, the others were not.

use super::HashIndex;
use super::bucket::NO_BUCKET;
use crate::arena::{Arena, RowHandle};

impl HashIndex {
    /// Number of buckets: a fact for tests and statistics, good only until the next insertion or removal.
    pub fn buckets(&self) -> u32 {
        self.directory.buckets()
    }

    /// Visits the rows of one bucket from position `cursor` on; returns the next position, or `None` at the end.
    /// A scan starts at 0.
    ///
    /// A row that is in the index throughout the scan is visited exactly once, one that comes or goes meanwhile at
    /// most once (again after it is removed and inserted anew). The caller may change the index between steps, not
    /// while rows are visited. One step visits a whole chain: about ten rows, more when many rows have equal hashes.
    pub fn scan_step(&self, arena: &Arena, cursor: u64, mut visit: impl FnMut(RowHandle)) -> Option<u64> {
        if self.directory.buckets() == 0 {
            return None;
        }
        let hash = cursor.reverse_bits();
        let number = self.directory.number_of(hash);
        let start = u64::from(number).reverse_bits();
        let following = self.position_behind(hash, start);
        if let Some(following) = following {
            self.prefetch_scan(arena, following);
        }
        let mut next = self.directory.word_of(number);
        while next != NO_BUCKET {
            let bucket = arena.bucket(next);
            if bucket.overflow != NO_BUCKET {
                arena.prefetch_line_of(bucket.overflow, 0);
            }
            for row in bucket.rows() {
                // Only after a merge can the position be inside the interval.
                if start == cursor || (self.hash)(arena.key(row)).reverse_bits() >= cursor {
                    visit(row);
                }
            }
            next = bucket.overflow;
        }
        following
    }

    /// The position behind the bucket of `hash`, whose interval starts at `start`; `None` at the end.
    #[inline(always)]
    fn position_behind(&self, hash: u64, start: u64) -> Option<u64> {
        match self.directory.significant_bits(hash) {
            0 => None,
            bits => start.checked_add(1 << (64 - bits)),
        }
    }

    /// The bucket at a position that is the start of its interval, and the position behind it.
    #[inline(always)]
    fn bucket_at(&self, position: u64) -> (u32, Option<u64>) {
        let hash = position.reverse_bits();
        let number = self.directory.number_of(hash);
        (self.directory.word_of(number), self.position_behind(hash, u64::from(number).reverse_bits()))
    }

    /// Loads what the following steps need, while this one works: the rows of the next bucket and the lines of the two
    /// buckets behind it, by which their rows are found then.
    #[inline(always)]
    fn prefetch_scan(&self, arena: &Arena, position: u64) {
        let (word, behind) = self.bucket_at(position);
        arena.bucket(word).rows().for_each(|row| arena.prefetch(row));
        let Some((_, Some(second))) = behind.map(|position| self.bucket_at(position)) else { return };
        arena.prefetch_line_of(self.bucket_at(second).0, 0);
    }
}
