//! Lookups in stages, for batches: each stage asks for the memory that the next one reads.
//!
//! A lookup that waits for memory at every step costs a few hundred nanoseconds; the memory of many lookups at once
//! arrives in a tenth of that. (S. Chen, A. Ailamaki, P. Gibbons, T. Mowry: Improving hash join performance through
//! prefetching, ICDE 2004.)

use super::HashIndex;
use super::bucket::{NO_BUCKET, tag_of};
use crate::arena::{Arena, RowHandle};

/// How far a lookup has come. Only good for the index and the hash that it was made with; when the index is changed
/// in between, the lookup is still right, but slower.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Row whose tag matches, overflow bucket to look at, or nothing, as `state` says.
    target: u32,
    changes: u32,
    state: ProbeState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProbeState {
    Row,
    Overflow,
    Absent,
}

impl HashIndex {
    /// First stage: loads the bucket of `hash` into the cache.
    #[inline(always)]
    pub fn prefetch_bucket(&self, arena: &Arena, hash: u64) {
        if self.rows > 0 {
            arena.prefetch_line_of(self.directory.word_of_hash(hash), 0);
        }
    }

    /// Second stage: compares tags, and loads the rows that may be the one into the cache, or else the overflow
    /// bucket.
    #[inline(always)]
    #[must_use]
    pub fn prefetch_row(&self, arena: &Arena, hash: u64) -> Probe {
        if self.rows == 0 {
            return Probe { target: 0, changes: self.changes, state: ProbeState::Absent };
        }
        self.probe_bucket(arena, self.directory.word_of_hash(hash), hash)
    }

    /// Third stage, for the few lookups (fewer than one in ten) that go on to an overflow bucket: does for that
    /// bucket what the second stage did. For all others it does nothing.
    #[inline(always)]
    pub fn prefetch_overflow(&self, arena: &Arena, hash: u64, probe: &mut Probe) {
        if probe.state == ProbeState::Overflow && probe.changes == self.changes {
            *probe = self.probe_bucket(arena, probe.target, hash);
        }
    }

    /// Last stage: the row with `key`, whose hash is `hash`.
    #[inline(always)]
    #[must_use]
    pub fn find_probed(&self, arena: &Arena, hash: u64, key: &[u8], probe: Probe) -> Option<RowHandle> {
        if probe.changes == self.changes && probe.state == ProbeState::Row {
            let row = RowHandle(probe.target);
            if arena.key(row) == key {
                return Some(row);
            }
        }
        self.find_anew(arena, hash, key)
    }

    /// Out of line, because it is rare and large.
    #[cold]
    #[inline(never)]
    fn find_anew(&self, arena: &Arena, hash: u64, key: &[u8]) -> Option<RowHandle> {
        self.find(arena, hash, key)
    }

    #[inline(always)]
    fn probe_bucket(&self, arena: &Arena, word: u32, hash: u64) -> Probe {
        let bucket = arena.bucket(word);
        let mut matches = bucket.matches(tag_of(hash));
        let changes = self.changes;
        if let Some(place) = matches.next() {
            let target = bucket.rows[place];
            arena.prefetch(RowHandle(target));
            for place in matches {
                arena.prefetch(RowHandle(bucket.rows[place]));
            }
            return Probe { target, changes, state: ProbeState::Row };
        }
        if bucket.overflow == NO_BUCKET {
            return Probe { target: 0, changes, state: ProbeState::Absent };
        }
        arena.prefetch_line_of(bucket.overflow, 0);
        Probe { target: bucket.overflow, changes, state: ProbeState::Overflow }
    }
}
