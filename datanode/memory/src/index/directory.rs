//! Which bucket a hash belongs to, and where that bucket is.
//!
//! Linear hashing: with `n` buckets and `m` the largest power of two not above `n`, a hash belongs to bucket
//! `hash mod 2m` if that exists, else to `hash mod m`. The table grows by bucket `n`, which takes half of bucket
//! `n - m`, and shrinks the other way round. (W. Litwin: Linear Hashing, a new tool for file and table addressing,
//! VLDB 1980.)
//!
//! Buckets are kept in segments that are never moved. The first has 4 buckets, the following ones double the table
//! (4, 8, 16, ... 1024), and from bucket 2048 on every segment is a page of 2048 buckets:
//!
//! ```text
//! bucket   | 0..4 | 4..8 | 8..16 | ... | 1024..2048 | 2048..4096 | 4096..6144 | ...
//! segment  |  0   |  1   |  2    |     |   9        |   10       |  11        |
//! bytes    | 256  | 256  | 512   |     |  64 Ki     |  128 Ki    | 128 Ki     |
//! ```

use super::bucket::{BUCKET_BYTES, BUCKET_WORDS, Bucket};
use crate::arena::Arena;
use crate::budget::{OutOfMemory, Priority};
use crate::size_class::{PAGE_BYTES, class_of};

const FIRST_SEGMENT_BUCKETS: u32 = 4;
const PAGE_BUCKETS: u32 = (PAGE_BYTES / BUCKET_BYTES) as u32;
const PAGE_BUCKETS_SHIFT: u32 = PAGE_BUCKETS.trailing_zeros();
/// Segments smaller than a page.
const SMALL_SEGMENTS: u32 = (PAGE_BUCKETS / FIRST_SEGMENT_BUCKETS).trailing_zeros() + 1;

/// The primary buckets of a table.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Word index of each segment.
    segments: Vec<u32>,
    /// Buckets in existence (`n`).
    buckets: u32,
    /// `m - 1`.
    low_mask: u32,
}

impl Directory {
    /// Buckets in existence.
    #[inline(always)]
    pub(super) fn buckets(&self) -> u32 {
        self.buckets
    }

    /// Number of the bucket of a hash. Only meaningful when there are buckets.
    #[inline(always)]
    pub(super) fn number_of(&self, hash: u64) -> u32 {
        let number = hash as u32 & (self.low_mask << 1 | 1);
        if number < self.buckets { number } else { hash as u32 & self.low_mask }
    }

    /// How many of the low bits of a hash decide that it belongs to the bucket it does.
    pub(super) fn significant_bits(&self, hash: u64) -> u32 {
        let low_bits = self.low_mask.count_ones();
        let is_split = (hash as u32 & self.low_mask) < self.buckets - self.low_mask - 1;
        low_bits + u32::from(is_split)
    }

    /// Word index of a bucket by number.
    #[inline(always)]
    pub(super) fn word_of(&self, number: u32) -> u32 {
        let (segment, first_bucket) = segment_of(number);
        self.segments[segment as usize] + (number - first_bucket) * BUCKET_WORDS
    }

    /// Word index of the bucket of a hash.
    #[inline(always)]
    pub(super) fn word_of_hash(&self, hash: u64) -> u32 {
        self.word_of(self.number_of(hash))
    }

    /// The bucket that the next growth splits. Only meaningful when there are buckets.
    pub(super) fn split_source(&self) -> u32 {
        self.buckets - self.low_mask - 1
    }

    /// The bucket that the last bucket is merged into when the table shrinks. There must be two buckets.
    pub(super) fn merge_target(&self) -> u32 {
        let last = self.buckets - 1;
        last - (1 << last.ilog2())
    }

    /// Adds an empty bucket at the end; its word index.
    pub(super) fn push(&mut self, arena: &mut Arena, priority: Priority) -> Result<u32, OutOfMemory> {
        let number = self.buckets;
        if number == 1 << 31 {
            return Err(OutOfMemory::ArenaFull);
        }
        let (segment, first_bucket) = segment_of(number);
        if number == first_bucket {
            self.segments.try_reserve(1).map_err(|_| OutOfMemory::System)?;
            self.segments.push(arena.allocate_slot(class_of(segment_bytes(segment)), priority)?);
        }
        let word = self.word_of(number);
        *arena.bucket_mut(word) = Bucket::EMPTY;
        self.set_buckets(number + 1);
        Ok(word)
    }

    /// Removes the last bucket, which must be empty and without overflow.
    pub(super) fn pop(&mut self, arena: &mut Arena) {
        let number = self.buckets - 1;
        let (segment, first_bucket) = segment_of(number);
        if number == first_bucket {
            let word = self.segments.pop().expect("a directory has a segment for each bucket");
            debug_assert_eq!(segment as usize, self.segments.len());
            arena.free_slot(word);
        }
        self.set_buckets(number);
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        (0..self.segments.len() as u32).map(|segment| segment_bytes(segment) as u64).sum()
    }

    fn set_buckets(&mut self, buckets: u32) {
        self.buckets = buckets;
        self.low_mask = if buckets == 0 { 0 } else { (1 << buckets.ilog2()) - 1 };
    }
}

/// The segment of a bucket and the number of that segment's first bucket.
#[inline(always)]
fn segment_of(number: u32) -> (u32, u32) {
    if number >= PAGE_BUCKETS {
        return (SMALL_SEGMENTS - 1 + (number >> PAGE_BUCKETS_SHIFT), number & !(PAGE_BUCKETS - 1));
    }
    if number < FIRST_SEGMENT_BUCKETS {
        return (0, 0);
    }
    let top_bit = number.ilog2();
    (top_bit - FIRST_SEGMENT_BUCKETS.ilog2() + 1, 1 << top_bit)
}

fn segment_bytes(segment: u32) -> usize {
    match segment {
        0 => FIRST_SEGMENT_BUCKETS as usize * BUCKET_BYTES,
        small if small < SMALL_SEGMENTS => (FIRST_SEGMENT_BUCKETS as usize * BUCKET_BYTES) << (small - 1),
        _ => PAGE_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_follow_each_other() {
        let (mut segment, mut first_bucket, mut room) = (0, 0, segment_bytes(0) / BUCKET_BYTES);
        for number in 0..20_000 {
            if room == 0 {
                segment += 1;
                first_bucket = number;
                room = segment_bytes(segment) / BUCKET_BYTES;
            }
            room -= 1;
            assert_eq!(segment_of(number), (segment, first_bucket));
        }
    }

    #[test]
    fn buckets_partition_the_hashes() {
        for buckets in 1..70_u32 {
            let mut directory = Directory::default();
            directory.set_buckets(buckets);
            for hash in 0..256_u64 {
                let number = directory.number_of(hash);
                assert!(number < buckets);
                let mask = (1 << directory.significant_bits(hash)) - 1;
                assert_eq!(hash & mask, u64::from(number), "hash {hash} of {buckets} buckets");
            }
            // A merge undoes the split that made the last bucket.
            let source = directory.split_source();
            directory.set_buckets(buckets + 1);
            assert_eq!(directory.merge_target(), source);
        }
    }
}
