//! Random numbers for identities and jitter, from the standard library's source.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A number that differs between processes and between calls.
pub(crate) fn random() -> u64 {
    // Every RandomState has its own keys, seeded by the operating system.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

/// An identity of 16 bytes.
pub(crate) fn identity() -> [u8; 16] {
    let (first, second) = (random().to_ne_bytes(), random().to_ne_bytes());
    std::array::from_fn(|index| if index < 8 { first[index] } else { second[index - 8] })
}
