//! Slot sizes: steps of 8 bytes up to 256, then eight sizes per doubling up to a whole page.
//!
//! From 512 bytes on every size is a multiple of 64, so that slots of these classes (and of the classes 64, 128, 192
//! and 256) start at cache lines; the index relies on it for its buckets. Large sizes are stretched to the largest
//! one of which the same number fits into a page, and sizes that become equal are one class.

/// Bytes of a page.
pub const PAGE_BYTES: usize = 128 << 10;

const FINE_STEP_BYTES: usize = 8;
const FINE_LIMIT_BYTES: usize = 256;
const FINE_CLASSES: usize = FINE_LIMIT_BYTES / FINE_STEP_BYTES;
/// Doublings from 256 bytes to a page.
const OCTAVES: usize = (PAGE_BYTES / FINE_LIMIT_BYTES).trailing_zeros() as usize;
/// Number of class indexes (some above 16 KiB are aliases of a larger class and never used).
pub(crate) const CLASS_COUNT: usize = FINE_CLASSES + 8 * OCTAVES;

/// The figures of a class that allocation needs.
#[derive(Clone, Copy)]
pub(crate) struct SizeClass {
    /// Slot size in 8-byte words.
    pub(crate) slot_words: u16,
    /// Slots of a page.
    pub(crate) capacity: u16,
    /// 2^28 divided by `slot_words`, rounded up.
    reciprocal: u32,
}

impl SizeClass {
    /// The slot that starts at a word of a page, if one does.
    #[inline(always)]
    pub(crate) fn slot_at(self, word: u16) -> Option<u16> {
        // Exact for words of a page: the error of the reciprocal is below 2^14 in 2^28, and so is `word`. No division,
        // which would cost as much as the rest of taking or freeing a slot.
        let slot = ((u64::from(word) * u64::from(self.reciprocal)) >> RECIPROCAL_BITS) as u16;
        (u32::from(slot) * u32::from(self.slot_words) == u32::from(word)).then_some(slot)
    }
}

const RECIPROCAL_BITS: u32 = 28;
const _: () = assert!(PAGE_BYTES / 8 <= 1 << (RECIPROCAL_BITS / 2));

/// All classes by index.
pub(crate) const CLASSES: [SizeClass; CLASS_COUNT] = build_classes();
/// Nominal class index to the class that is used for it.
const CANONICAL: [u8; CLASS_COUNT] = build_canonical();

const fn nominal_bytes(index: usize) -> usize {
    if index < FINE_CLASSES {
        return (index + 1) * FINE_STEP_BYTES;
    }
    let octave = (index - FINE_CLASSES) / 8;
    let step = (index - FINE_CLASSES) % 8 + 1;
    (FINE_LIMIT_BYTES << octave) + step * ((FINE_LIMIT_BYTES / 8) << octave)
}

const fn fitted_bytes(index: usize) -> usize {
    let nominal = nominal_bytes(index);
    if nominal < 512 {
        return nominal;
    }
    (PAGE_BYTES / (PAGE_BYTES / nominal)) & !63
}

const fn build_classes() -> [SizeClass; CLASS_COUNT] {
    let mut classes = [SizeClass { slot_words: 0, capacity: 0, reciprocal: 0 }; CLASS_COUNT];
    let mut index = 0;
    while index < CLASS_COUNT {
        let bytes = fitted_bytes(index);
        classes[index] = SizeClass {
            slot_words: (bytes / 8) as u16,
            capacity: (PAGE_BYTES / bytes) as u16,
            reciprocal: (1_u32 << RECIPROCAL_BITS).div_ceil((bytes / 8) as u32),
        };
        index += 1;
    }
    classes
}

const fn build_canonical() -> [u8; CLASS_COUNT] {
    let mut canonical = [0; CLASS_COUNT];
    let mut index = CLASS_COUNT;
    while index > 0 {
        index -= 1;
        let joins_next = index + 1 < CLASS_COUNT && fitted_bytes(index) == fitted_bytes(index + 1);
        canonical[index] = if joins_next { canonical[index + 1] } else { index as u8 };
    }
    canonical
}

/// The class of an object of `bytes`.
///
/// # Panics
/// When `bytes` is more than a page.
#[inline]
pub(crate) fn class_of(bytes: usize) -> u8 {
    if bytes <= FINE_LIMIT_BYTES {
        return (bytes.saturating_sub(1) / FINE_STEP_BYTES) as u8;
    }
    assert!(bytes <= PAGE_BYTES, "an object of {bytes} bytes does not fit into a page");
    let octave_bits = (bytes - 1).ilog2();
    let octave = (octave_bits - FINE_LIMIT_BYTES.ilog2()) as usize;
    let step = ((bytes - 1) >> (octave_bits - 3)) & 7;
    let index = FINE_CLASSES + octave * 8 + step;
    // The class before was perhaps stretched far enough.
    let fits_before = bytes <= CLASSES[index - 1].slot_words as usize * 8;
    CANONICAL[index - usize::from(fits_before)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_found_without_dividing() {
        for class in CLASSES {
            let step = if cfg!(miri) { 97 } else { 1 };
            for word in (0..=u16::MAX).step_by(step) {
                let slot = word / class.slot_words;
                let expected = word.is_multiple_of(class.slot_words).then_some(slot);
                if usize::from(word) < PAGE_BYTES / 8 {
                    assert_eq!(class.slot_at(word), expected, "word {word} of slots of {}", class.slot_words);
                } else {
                    // Only a damaged list names such a word.
                    assert!(class.slot_at(word).is_none_or(|slot| slot >= class.capacity));
                }
            }
        }
    }

    #[test]
    fn every_size_has_the_smallest_class_that_holds_it() {
        let mut sizes: Vec<usize> = CLASSES.iter().map(|class| class.slot_words as usize * 8).collect();
        assert!(sizes.is_sorted());
        sizes.dedup();
        let step = if cfg!(miri) { 997 } else { 1 };
        for bytes in (1..=PAGE_BYTES).step_by(step) {
            let class = CLASSES[class_of(bytes) as usize];
            let slot_bytes = class.slot_words as usize * 8;
            let best = sizes[sizes.partition_point(|&size| size < bytes)];
            assert_eq!(slot_bytes, best, "for {bytes}");
            assert!(class.capacity as usize * slot_bytes <= PAGE_BYTES);
        }
        assert_eq!(CLASSES[class_of(PAGE_BYTES) as usize].capacity, 1);
        assert_eq!(class_of(0), 0);
    }

    #[test]
    fn waste_is_bounded() {
        for bytes in (257..=16 << 10).step_by(if cfg!(miri) { 997 } else { 1 }) {
            let slot_bytes = CLASSES[class_of(bytes) as usize].slot_words as usize * 8;
            assert!(slot_bytes * 100 <= bytes * 120 + 6400, "{bytes} in {slot_bytes}");
        }
    }

    #[test]
    fn bucket_segments_are_aligned() {
        for shift in 0..=9 {
            let bytes = 256 << shift;
            assert_eq!(CLASSES[class_of(bytes) as usize].slot_words as usize * 8, bytes);
        }
        for class in CLASSES.iter().filter(|class| class.slot_words >= 64) {
            assert_eq!(class.slot_words % 8, 0);
        }
    }
}
