//! Where a row lives: XXH3-64 of its partition key picks one of 4096 buckets.

use xxhash_rust::xxh3::xxh3_64;

/// How many buckets the hash space is cut into. Buckets, not hashes, are mapped to partitions, so
/// that adding partitions moves whole buckets.
pub const BUCKET_COUNT: usize = 4096;

/// How many leading bits of a hash name its bucket.
const BUCKET_BITS: u32 = BUCKET_COUNT.trailing_zeros();

/// XXH3-64 with seed 0 of encoded key bytes.
#[inline]
#[must_use]
pub fn key_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The bucket of a hash, `0..BUCKET_COUNT`: its 12 most significant bits. The low bits stay free
/// for the hash index inside a fragment.
#[inline]
#[must_use]
pub const fn bucket_of(hash: u64) -> u16 {
    (hash >> (64 - BUCKET_BITS)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_match_the_published_vectors() {
        // The first is the reference value of XXH3-64 for the empty input; the others are cited by
        // docs/protocol-rows.md, so that other implementations can check themselves.
        let vectors: [(&[u8], u64, u16); 4] = [
            (b"", 0x2d06_8005_38d3_94c2, 0x2d0),
            (&[0x80, 0, 0, 1], 0x25c7_5f1b_c399_bb66, 0x25c),
            (&[0x80, 0, 0, 0, 0, 0, 0, 1], 0xce5e_29c5_f1ee_5d11, 0xce5),
            (b"N14228\0\0", 0xf824_180f_f669_fa09, 0xf82),
        ];
        for (key, hash, bucket) in vectors {
            assert_eq!(key_hash(key), hash, "hash of {key:02x?} is {:#018x}", key_hash(key));
            assert_eq!(bucket_of(hash), bucket);
        }
    }

    #[test]
    fn buckets_cover_exactly_the_range() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of((1 << 52) - 1), 0);
        assert_eq!(bucket_of(1 << 52), 1);
        assert_eq!(usize::from(bucket_of(u64::MAX)), BUCKET_COUNT - 1);
    }
}
