//! Hash index of cache-line buckets, probed in groups.
//!
//! A bucket is one cache line with twelve tag bytes and twelve row numbers. A group of keys is looked up in
//! passes — read every bucket's line, choose candidates by tag, read every candidate's row — so that the
//! cache misses of a group overlap instead of following one another ("group prefetching", Chen, Ailamaki,
//! Gibbons, Mowry, ICDE 2004). Without unsafe code there is no prefetch instruction; a plain load whose value is
//! only folded into a sum does the same on a processor that executes out of order.

use crate::workload::mix64;

/// Slots of a bucket.
const SLOTS: usize = 12;
/// Keys that are looked up together.
pub const GROUP: usize = 32;
/// No row.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    /// 0 is an empty slot.
    tags: [u8; SLOTS],
    rows: [u32; SLOTS],
    /// 1 if a row that belongs here lies in a later bucket.
    overflowed: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// Row numbers by key; the keys themselves lie with the rows.
#[derive(Debug)]
pub struct Index {
    buckets: Vec<Bucket>,
}

/// Where a key's row is looked for.
#[derive(Debug, Clone, Copy)]
struct Place {
    bucket: usize,
    tag: u8,
}

impl Index {
    /// An index for at most `rows` rows, about half full then.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        let empty = Bucket { tags: [0; SLOTS], rows: [NONE; SLOTS], overflowed: 0 };
        Self { buckets: vec![empty; rows / (SLOTS / 2) + 2] }
    }

    /// The rows of up to [`GROUP`] keys, in order. `key_of` reads the key of a row.
    pub fn find_group(&self, keys: &[u64], key_of: impl Fn(u32) -> u64, found: &mut [Option<u32>; GROUP]) {
        let mut places = [Place { bucket: 0, tag: 0 }; GROUP];
        for (place, key) in places.iter_mut().zip(keys) {
            *place = self.place(*key);
        }
        let mut touched = 0;
        for place in &places[..keys.len().min(GROUP)] {
            touched ^= self.buckets[place.bucket].overflowed;
        }
        std::hint::black_box(touched);
        let mut candidates = [NONE; GROUP];
        for (candidate, place) in candidates.iter_mut().zip(&places[..keys.len().min(GROUP)]) {
            let bucket = &self.buckets[place.bucket];
            // Without branches, so that the processor runs ahead of the misses.
            for slot in 0..SLOTS {
                let row = bucket.rows[slot];
                *candidate = if bucket.tags[slot] == place.tag { row } else { *candidate };
            }
        }
        let mut row_keys = [0; GROUP];
        for (row_key, candidate) in row_keys.iter_mut().zip(&candidates[..keys.len().min(GROUP)]) {
            if *candidate != NONE {
                *row_key = key_of(*candidate);
            }
        }
        for (index, key) in keys.iter().take(GROUP).enumerate() {
            let candidate = candidates[index];
            found[index] = if candidate != NONE && row_keys[index] == *key {
                Some(candidate)
            } else {
                self.find(*key, &key_of)
            };
        }
    }

    /// The row of `key`.
    pub fn find(&self, key: u64, key_of: impl Fn(u32) -> u64) -> Option<u32> {
        let place = self.place(key);
        let mut at = place.bucket;
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            for slot in 0..SLOTS {
                if bucket.tags[slot] == place.tag && key_of(bucket.rows[slot]) == key {
                    return Some(bucket.rows[slot]);
                }
            }
            if bucket.overflowed == 0 {
                return None;
            }
            at = (at + 1) % self.buckets.len();
        }
        None
    }

    /// Adds `row` under `key`, which is not in the index; `false` if there is no room.
    pub fn insert(&mut self, key: u64, row: u32) -> bool {
        let place = self.place(key);
        let count = self.buckets.len();
        for distance in 0..count {
            let bucket = &mut self.buckets[(place.bucket + distance) % count];
            if let Some(slot) = bucket.tags.iter().position(|tag| *tag == 0) {
                bucket.tags[slot] = place.tag;
                bucket.rows[slot] = row;
                return true;
            }
            bucket.overflowed = 1;
        }
        false
    }

    fn place(&self, key: u64) -> Place {
        let hash = mix64(key);
        // Multiply and shift instead of a division (Lemire 2016).
        let bucket = ((u128::from(hash) * self.buckets.len() as u128) >> 64) as usize;
        Place { bucket, tag: (hash & 0xff).max(1) as u8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_inserted_also_beyond_a_full_bucket() {
        // Three buckets for 36 keys: every one is full and most rows lie elsewhere.
        for rows in [1_usize, 6, 36, 10_000] {
            let mut index = Index::new(rows.min(8_000));
            let keys: Vec<u64> = (0..rows as u64).map(|number| number * 977).collect();
            let key_of = |row: u32| keys[row as usize];
            let inserted = keys.iter().enumerate().take_while(|(row, key)| index.insert(**key, *row as u32));
            let inserted = inserted.count();
            assert!(inserted == rows || inserted == index.buckets.len() * SLOTS);
            for group in (0..inserted).collect::<Vec<_>>().chunks(GROUP) {
                let wanted: Vec<u64> = group.iter().map(|row| keys[*row]).collect();
                let mut found = [None; GROUP];
                index.find_group(&wanted, key_of, &mut found);
                for (row, found) in group.iter().zip(found) {
                    assert_eq!(found, Some(*row as u32));
                }
            }
            assert_eq!(index.find(u64::MAX, key_of), None);
        }
    }
}
