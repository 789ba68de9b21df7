//! Keys: where they come from, and how they are compared.

use crate::arena::{Arena, RowHandle};
use std::cmp::Ordering;

/// Gives the keys of rows. The key of a row must not change while the row is in the index, and keys must be byte
/// strings whose order is the one wanted (memcomparable).
pub trait RowKeys {
    /// Calls `read` with the key of `row`. Calls may be nested, with different rows.
    fn with_key<R>(&self, arena: &Arena, row: RowHandle, read: impl FnOnce(&[u8]) -> R) -> R;
}

/// The primary keys: those that the rows are stored with ([`Arena::key`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrimaryKeys;

impl RowKeys for PrimaryKeys {
    #[inline(always)]
    fn with_key<R>(&self, arena: &Arena, row: RowHandle, read: impl FnOnce(&[u8]) -> R) -> R {
        read(arena.key(row))
    }
}

/// A place in the order of (key, row handle). `row` is 2^32 for the place after all rows with that key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'key> {
    pub(super) key: &'key [u8],
    pub(super) row: u64,
}

impl Target<'_> {
    /// Order of an entry relative to this place.
    #[inline(always)]
    pub(super) fn compare_entry(self, key: &[u8], row: u32) -> Ordering {
        key.cmp(self.key).then_with(|| u64::from(row).cmp(&self.row))
    }
}

/// Bytes that two keys have in common at their start.
#[inline]
pub(super) fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    let words = left.chunks_exact(8).zip(right.chunks_exact(8)).take_while(|(left, right)| left == right);
    let start = words.count() * 8;
    start + left[start..].iter().zip(&right[start..]).take_while(|(left, right)| left == right).count()
}

/// The eight bytes of a key from `start` on as a big-endian number, zeros after the end.
#[inline(always)]
pub(super) fn window(key: &[u8], start: usize) -> u64 {
    let rest = key.get(start..).unwrap_or_default();
    if let Some(bytes) = rest.first_chunk() {
        return u64::from_be(u64::from_ne_bytes(*bytes));
    }
    let mut bytes = [0; 8];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_be(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_windows() {
        let long = [7_u8; 40];
        let mut other = long;
        for length in 0..40 {
            other[length] = 8;
            assert_eq!(common_prefix(&long, &other), length);
            assert_eq!(common_prefix(&long[..length], &long), length);
            other[length] = 7;
        }
        assert_eq!(window(b"abcdefghij", 1), u64::from_be_bytes(*b"bcdefghi"));
        assert_eq!(window(b"ab", 1), u64::from(b'b') << 56);
        assert_eq!(window(b"ab", 9), 0);
    }
}
