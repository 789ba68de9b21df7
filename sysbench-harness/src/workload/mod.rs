//! What is asked of a target: keys, values, kinds of operations. Everything follows from a seed, so that two
//! runs ask the same questions and every reply can be checked byte for byte.

mod distribution;
mod generator;
mod mix;
mod value;

pub use distribution::{Distribution, KeyChooser};
pub use generator::{Operation, OperationKind, OperationStream};
pub use mix::Mix;
pub use value::{ValueError, ValueShape, check_value, write_value};

/// Bytes of a key on the wire of every target.
pub const KEY_BYTES: usize = 8;

/// A table of rows and the stream of operations on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Rows in the table; keys are `0..rows`.
    pub rows: u64,
    /// Columns of a row and their width.
    pub shape: ValueShape,
    /// How keys are drawn.
    pub distribution: Distribution,
    /// Share of reads and updates.
    pub mix: Mix,
    /// Seed of all streams.
    pub seed: u64,
}

/// Writes `key` as eight printable bytes without spaces, which text protocols accept as a key: six bits per
/// byte, so keys below 2^48 differ.
#[must_use]
pub fn printable_key(key: u64) -> [u8; KEY_BYTES] {
    const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    let mut text = [0; KEY_BYTES];
    let mut rest = key;
    for byte in text.iter_mut().rev() {
        *byte = DIGITS[(rest & 63) as usize];
        rest >>= 6;
    }
    text
}

/// One step of SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64-bit numbers with good avalanche.
#[must_use]
pub(crate) fn mix64(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn printable_keys_differ_and_have_no_separators() {
        let keys: HashSet<_> = (0..100_000).chain((1 << 48) - 10..1 << 48).map(printable_key).collect();
        assert_eq!(keys.len(), 100_010);
        assert!(keys.iter().flatten().all(u8::is_ascii_graphic));
    }
}
