//! One bucket: a cache line with twelve rows, their tags, and a link to an overflow bucket.
//!
//! ```text
//!  0                                   48              60         64
//!  | 12 row handles (u32)              | 12 tags (u8)  | overflow  |
//! ```
//!
//! A tag of zero marks a free place. In a chain of buckets only the last one has free places, and they are its last
//! ones. The overflow link is the word index of the next bucket of the chain, or zero.

use crate::arena::{Arena, PAGE_WORDS, RowHandle};

/// Rows of a bucket.
pub(super) const BUCKET_ROWS: usize = 12;
/// Bytes of a bucket.
pub(super) const BUCKET_BYTES: usize = 64;
/// 8-byte words of a bucket.
pub(super) const BUCKET_WORDS: u32 = 8;
/// The overflow link of the last bucket of a chain.
pub(super) const NO_BUCKET: u32 = 0;

/// The bits of [`Bucket::matches`], one per row.
const ROW_MASK: u32 = (1 << BUCKET_ROWS) - 1;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    pub(super) rows: [u32; BUCKET_ROWS],
    pub(super) tags: [u8; BUCKET_ROWS],
    pub(super) overflow: u32,
}

const _: () = assert!(size_of::<Bucket>() == BUCKET_BYTES);

impl Bucket {
    pub(super) const EMPTY: Self =
        Self { rows: [0; BUCKET_ROWS], tags: [0; BUCKET_ROWS], overflow: NO_BUCKET };

    /// The places whose tag is `tag`, as bits.
    #[inline(always)]
    pub(super) fn matches(&self, tag: u8) -> TagMatches {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
            // SAFETY: the sixteen bytes from the tags on are the tags and the overflow link, the end of this very
            // bucket; the pointer is derived from the whole bucket. SSE2 is part of x86-64.
            let mask = unsafe {
                let tags = std::ptr::from_ref(self).cast::<u8>().add(std::mem::offset_of!(Bucket, tags));
                _mm_movemask_epi8(_mm_cmpeq_epi8(
                    _mm_loadu_si128(tags.cast()),
                    _mm_set1_epi8(tag.cast_signed()),
                ))
            };
            TagMatches(mask as u32 & ROW_MASK)
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let bit = |(place, &other): (usize, &u8)| u32::from(other == tag) << place;
            TagMatches(self.tags.iter().enumerate().map(bit).fold(0, |mask, bit| mask | bit))
        }
    }

    /// Rows in use.
    #[inline(always)]
    pub(super) fn used(&self) -> usize {
        (self.matches(0).0 | 1 << BUCKET_ROWS).trailing_zeros() as usize
    }

    /// The rows in use.
    #[inline(always)]
    pub(super) fn rows(&self) -> impl Iterator<Item = RowHandle> + '_ {
        self.rows[..self.used()].iter().map(|&row| RowHandle(row))
    }
}

/// Places of a bucket, iterated from the first to the last.
#[derive(Clone, Copy)]
pub(super) struct TagMatches(u32);

impl Iterator for TagMatches {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let place = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(place)
    }
}

/// The tag of a hash: bits 32..40, never zero.
#[inline(always)]
pub(super) fn tag_of(hash: u64) -> u8 {
    ((hash >> 32) as u8).max(1)
}

impl Arena {
    /// The bucket at a word index.
    #[inline(always)]
    pub(super) fn bucket(&self, word: u32) -> &Bucket {
        self.check_bucket(word);
        // SAFETY: the bucket lies below the watermark and is aligned; every bit pattern is a valid bucket, so even a
        // stale index is harmless; `&self` keeps writers away.
        unsafe { &*self.word_address(word).cast::<Bucket>() }
    }

    /// The bucket at a word index, to change it.
    #[inline(always)]
    pub(super) fn bucket_mut(&mut self, word: u32) -> &mut Bucket {
        self.check_bucket(word);
        // SAFETY: as in `bucket`; `&mut self` makes this the only reference into the arena.
        unsafe { &mut *self.word_address(word).cast::<Bucket>() }
    }

    /// Asserts that a whole aligned bucket lies at a word index. Pages consist of whole buckets, so the check of the
    /// first words is enough.
    #[inline(always)]
    fn check_bucket(&self, word: u32) {
        const { assert!(PAGE_WORDS.is_multiple_of(BUCKET_WORDS)) };
        assert!(word.is_multiple_of(BUCKET_WORDS), "bucket not aligned");
        self.check_word(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_and_used() {
        let mut bucket = Bucket::EMPTY;
        bucket.overflow = u32::MAX;
        assert_eq!(bucket.used(), 0);
        for (place, tag) in [7, 255, 7, 1].into_iter().enumerate() {
            bucket.tags[place] = tag;
            bucket.rows[place] = place as u32 + 100;
        }
        assert_eq!(bucket.used(), 4);
        assert_eq!(bucket.matches(7).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(bucket.matches(255).collect::<Vec<_>>(), [1]);
        assert_eq!(bucket.rows().map(RowHandle::to_u32).collect::<Vec<_>>(), [100, 101, 102, 103]);
        bucket.tags = [9; BUCKET_ROWS];
        assert_eq!(bucket.used(), BUCKET_ROWS);
        assert_eq!(tag_of(0), 1);
        assert_eq!(tag_of(0xAB_1234_5678), 0xAB);
    }
}
