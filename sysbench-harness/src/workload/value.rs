//! Values that prove what they are.
//!
//! A value starts with its generation (8 bytes, little-endian) and goes on with a stream of bytes that
//! follows from key and generation, so whoever reads it can recompute every byte: a flipped bit, a torn update
//! and a value of another key are all seen. Generation 0 is the loaded row; an update of worker `w` writes
//! `(w + 1) << 40 | counter`, so no two updates of a run write the same value.

use super::mix64;
use thiserror::Error;

/// Bytes of the generation at the start of a value.
pub const GENERATION_BYTES: usize = 8;

/// Columns of a row beside its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueShape {
    /// Number of columns.
    pub columns: usize,
    /// Bytes of each column.
    pub column_bytes: usize,
}

impl ValueShape {
    /// Bytes of all columns together.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        self.columns * self.column_bytes
    }

    /// Least bytes of a value: a generation and as many bytes that prove it.
    #[must_use]
    pub fn least_value_bytes() -> usize {
        2 * GENERATION_BYTES
    }
}

/// Why a value is not the one that was written under its key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    /// The value is longer or shorter than it was written.
    #[error("key {key}: the value has {found} bytes instead of {expected}")]
    Length {
        /// The key that was asked for.
        key: u64,
        /// Bytes that were written.
        expected: usize,
        /// Bytes that came back.
        found: usize,
    },
    /// The bytes do not follow from key and generation.
    #[error(
        "key {key}: byte {offset} of the value is {found:#04x} instead of {expected:#04x} (generation {generation:#x})"
    )]
    Byte {
        /// The key that was asked for.
        key: u64,
        /// The generation at the start of the value.
        generation: u64,
        /// Offset of the first wrong byte.
        offset: usize,
        /// The byte that was written.
        expected: u8,
        /// The byte that came back.
        found: u8,
    },
}

/// Writes the value of `key` in `generation`; `value` has at least the bytes of a generation.
pub fn write_value(key: u64, generation: u64, value: &mut [u8]) {
    let (head, stream) = value.split_at_mut(GENERATION_BYTES);
    head.copy_from_slice(&generation.to_le_bytes());
    let mut state = stream_start(key, generation);
    for chunk in stream.chunks_mut(8) {
        chunk.copy_from_slice(&next_word(&mut state)[..chunk.len()]);
    }
}

/// Checks that `value` was written under `key` with `value_bytes` bytes, and returns its generation.
///
/// # Errors
/// The length or the first byte that differs.
pub fn check_value(key: u64, value_bytes: usize, value: &[u8]) -> Result<u64, ValueError> {
    if value.len() != value_bytes || value.len() < GENERATION_BYTES {
        return Err(ValueError::Length { key, expected: value_bytes, found: value.len() });
    }
    let (head, stream) = value.split_at(GENERATION_BYTES);
    let generation = head.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let mut state = stream_start(key, generation);
    for (index, chunk) in stream.chunks(8).enumerate() {
        let word = next_word(&mut state);
        if chunk != &word[..chunk.len()] {
            let within = chunk.iter().zip(word).position(|(found, expected)| *found != expected).unwrap_or(0);
            let offset = GENERATION_BYTES + index * 8 + within;
            return Err(ValueError::Byte {
                key,
                generation,
                offset,
                expected: word[within],
                found: chunk[within],
            });
        }
    }
    Ok(generation)
}

fn stream_start(key: u64, generation: u64) -> u64 {
    mix64(mix64(key) ^ generation)
}

fn next_word(state: &mut u64) -> [u8; 8] {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix64(*state).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_recognised() {
        for bytes in [16, 17, 100, 1000] {
            let mut value = vec![0; bytes];
            write_value(7, 3 << 40 | 5, &mut value);
            assert_eq!(check_value(7, bytes, &value), Ok(3 << 40 | 5));
        }
    }

    #[test]
    fn every_corrupted_byte_is_seen() {
        let mut value = vec![0; 100];
        write_value(7, 0, &mut value);
        for offset in 0..value.len() {
            value[offset] ^= 0x10;
            assert!(matches!(check_value(7, 100, &value), Err(ValueError::Byte { .. })), "byte {offset}");
            value[offset] ^= 0x10;
        }
        assert_eq!(check_value(7, 100, &value), Ok(0));
    }

    #[test]
    fn another_key_and_another_length_are_seen() {
        let mut value = vec![0; 100];
        write_value(7, 0, &mut value);
        assert!(check_value(8, 100, &value).is_err());
        assert_eq!(
            check_value(7, 100, &value[..99]),
            Err(ValueError::Length { key: 7, expected: 100, found: 99 })
        );
        assert!(check_value(7, 3, &value[..3]).is_err());
    }
}
