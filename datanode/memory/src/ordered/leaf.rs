//! Leaves: row handles in order, each with a head of 16 bits.
//!
//! ```text
//!  0       2        4       5       8      16                     180                     508  512
//!  | count | prefix | shift | -     | base | 82 heads (u16)       | 82 row handles (u32)  | -  |
//! ```
//!
//! All keys that belong into a leaf share their first `prefix` bytes. The eight bytes that follow, as a big-endian
//! number padded with zeros, are the key's window, and its head is where the window lies between the bounds of the
//! leaf, in 2^16 equal steps: `min((window - base) >> shift, 65535)`. Heads ascend like the keys; where they are equal,
//! the keys themselves decide.

use super::key::{common_prefix, window};

/// Bytes of a leaf.
pub(super) const LEAF_BYTES: usize = 512;
/// Places of a leaf.
const PLACES: usize = (LEAF_BYTES - 16) / 6;
const REST_BYTES: usize = LEAF_BYTES - 16 - 6 * PLACES;
/// Entries of a full leaf: few in unit tests and under Miri, so that small trees are high.
pub(super) const LEAF_ROOM: usize = if cfg!(any(test, miri)) { 6 } else { PLACES };
/// A leaf with fewer cells than this per entry, on average, is scaled anew when it is split.
const CELLS_PER_ENTRY: usize = 16;

/// How keys are mapped to heads; see the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) prefix: u16,
    pub(super) shift: u8,
    pub(super) base: u64,
}

impl Scale {
    /// The finest scale for keys between `low` and `high`. Where the tree ends (`open_low`, `open_high`) the range is
    /// stretched, because more keys may come there.
    pub(super) fn between(low: &[u8], high: &[u8], open_low: bool, open_high: bool) -> Self {
        // Keys have at most 65,535 bytes, and a shorter prefix would also be right.
        let prefix = common_prefix(low, high).min(usize::from(u16::MAX)) as u16;
        let (first, last) = (window(low, prefix.into()), window(high, prefix.into()));
        let stretch = last.saturating_sub(first).max(1).saturating_mul(8);
        let base = if open_low { first.saturating_sub(stretch) } else { first };
        let top = if open_high { last.saturating_add(stretch) } else { last };
        let bits = u64::BITS - top.saturating_sub(base).leading_zeros();
        Self { prefix, shift: bits.saturating_sub(16) as u8, base }
    }

    /// The head of a key that shares the prefix.
    #[inline(always)]
    pub(super) fn head(self, key: &[u8]) -> u16 {
        let cell = window(key, self.prefix.into()).saturating_sub(self.base) >> self.shift;
        cell.min(u64::from(u16::MAX)) as u16
    }

    /// Whether the head of a key that shares the prefix is not cut off.
    pub(super) fn covers(self, key: &[u8]) -> bool {
        let window = window(key, self.prefix.into());
        window >= self.base && (window - self.base) >> self.shift <= u64::from(u16::MAX)
    }

    /// Whether this scale tells more keys apart than `other` may.
    pub(super) fn is_finer_than(self, other: Self) -> bool {
        self.shift < other.shift || self.prefix > other.prefix
    }
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Leaf {
    count: u16,
    prefix: u16,
    shift: u8,
    unused: [u8; 3],
    base: u64,
    heads: [u16; PLACES],
    rows: [u32; PLACES],
    /// Explicit, because padding would be uninitialised memory in the arena.
    rest: [u8; REST_BYTES],
}

/// Where the row handles begin.
pub(super) const ROWS_OFFSET: usize = std::mem::offset_of!(Leaf, rows);

const _: () = assert!(size_of::<Leaf>() == LEAF_BYTES && LEAF_ROOM <= PLACES);

impl Leaf {
    pub(super) const EMPTY: Self = Self {
        count: 0,
        prefix: 0,
        shift: 0,
        unused: [0; 3],
        base: 0,
        heads: [0; PLACES],
        rows: [0; PLACES],
        rest: [0; REST_BYTES],
    };

    /// Entries in use.
    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.count.into()
    }

    #[inline(always)]
    pub(super) fn rows(&self) -> &[u32] {
        &self.rows[..self.count()]
    }

    #[inline(always)]
    pub(super) fn rows_mut(&mut self) -> &mut [u32] {
        let count = self.count();
        &mut self.rows[..count]
    }

    #[inline(always)]
    pub(super) fn heads(&self) -> &[u16] {
        &self.heads[..self.count()]
    }

    #[inline(always)]
    pub(super) fn heads_mut(&mut self) -> &mut [u16] {
        let count = self.count();
        &mut self.heads[..count]
    }

    #[inline(always)]
    pub(super) fn scale(&self) -> Scale {
        Scale { prefix: self.prefix, shift: self.shift, base: self.base }
    }

    pub(super) fn set_scale(&mut self, scale: Scale) {
        self.prefix = scale.prefix;
        self.shift = scale.shift;
        self.base = scale.base;
    }

    /// The entries whose head is that of `key`: those before are smaller than `key`, those after are larger,
    /// provided that `key` shares the prefix.
    #[inline(always)]
    pub(super) fn ties(&self, key: &[u8]) -> (usize, usize) {
        let head = self.scale().head(key);
        let heads = self.heads();
        let first = heads.partition_point(|&other| other < head);
        let length = heads[first..].iter().take_while(|&&other| other == head).count();
        (first, first + length)
    }

    /// Puts an entry before the one at `index`. There must be room.
    pub(super) fn insert(&mut self, index: usize, head: u16, row: u32) {
        let count = self.count();
        self.heads.copy_within(index..count, index + 1);
        self.rows.copy_within(index..count, index + 1);
        self.heads[index] = head;
        self.rows[index] = row;
        self.count += 1;
    }

    /// Opens a gap of `length` entries at the front; there must be room.
    pub(super) fn open_front(&mut self, length: usize) {
        let count = self.count();
        self.heads.copy_within(..count, length);
        self.rows.copy_within(..count, length);
        self.count += length as u16;
    }

    /// Takes out the entries from `start` to `end`.
    pub(super) fn remove(&mut self, start: usize, end: usize) {
        let count = self.count();
        self.heads.copy_within(end..count, start);
        self.rows.copy_within(end..count, start);
        self.count -= (end - start) as u16;
    }

    /// Appends an entry. There must be room.
    #[inline(always)]
    pub(super) fn push(&mut self, head: u16, row: u32) {
        let count = self.count();
        self.heads[count] = head;
        self.rows[count] = row;
        self.count += 1;
    }

    /// Whether a finer scale would pay: many heads are equal, or soon will be.
    pub(super) fn is_coarse(&self) -> bool {
        let heads = self.heads();
        let (Some(first), Some(last)) = (heads.first(), heads.last()) else { return false };
        let cells = usize::from(last.saturating_sub(*first));
        let equal = heads.windows(2).filter(|pair| pair[0] == pair[1]).count();
        equal * 8 > heads.len() || (self.shift > 0 && cells < CELLS_PER_ENTRY * heads.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_ascend_with_the_keys() {
        let keys: Vec<Vec<u8>> =
            (0..600_u32).map(|number| [b"prefix", &(number * 977).to_be_bytes()[..]].concat()).collect();
        for (low, high) in [(0, 599), (100, 140), (5, 5)] {
            for (open_low, open_high) in [(false, false), (true, false), (false, true), (true, true)] {
                let scale = Scale::between(&keys[low], &keys[high], open_low, open_high);
                let heads: Vec<u16> = keys[low..=high].iter().map(|key| scale.head(key)).collect();
                assert!(heads.is_sorted());
                assert!(keys[low..=high].iter().all(|key| scale.covers(key)));
                if high - low == 40 {
                    assert!(heads.windows(2).all(|pair| pair[0] < pair[1]));
                }
            }
        }
    }

    #[test]
    fn extreme_bounds_do_not_overflow() {
        let scale = Scale::between(&[], &[255; 9], true, true);
        assert_eq!((scale.head(&[]), scale.head(&[255; 8]), scale.shift), (0, u16::MAX, 48));
        let crossed = Scale::between(&[9], &[1], true, true);
        assert_eq!(crossed.prefix, 0);
        let _ = (crossed.head(&[]), crossed.head(&[255; 8]));
    }
}
