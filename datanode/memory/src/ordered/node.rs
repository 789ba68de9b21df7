//! Nodes and separators in the arena.

use super::inner::{INNER_BYTES, Inner, SEPARATOR_HEADER_BYTES, Separator};
use super::leaf::{LEAF_BYTES, Leaf, ROWS_OFFSET};
use crate::arena::{Arena, PAGE_WORDS};
use crate::budget::{OutOfMemory, Priority};
use crate::size_class::{PAGE_BYTES, class_of};

const LEAF_WORDS: u32 = (LEAF_BYTES / 8) as u32;
const INNER_WORDS: u32 = (INNER_BYTES / 8) as u32;
/// Cache lines of a leaf, and of the heads of an inner node.
const NODE_LINES: usize = 8;
const _: () = assert!(LEAF_BYTES <= NODE_LINES * 64);
/// Cache lines of the heads of a leaf.
const LEAF_HEAD_LINES: usize = ROWS_OFFSET.div_ceil(64);

// A page consists of whole nodes, so a node whose start is aligned and in use lies in one page.
const _: () = assert!(PAGE_WORDS.is_multiple_of(LEAF_WORDS) && PAGE_WORDS.is_multiple_of(INNER_WORDS));
const _: () = assert!(LEAF_BYTES.is_multiple_of(align_of::<Leaf>()));
const _: () = assert!(INNER_BYTES.is_multiple_of(align_of::<Inner>()));

impl Arena {
    /// The leaf at a word index.
    #[inline(always)]
    pub(super) fn leaf(&self, word: u32) -> &Leaf {
        assert!(word.is_multiple_of(LEAF_WORDS), "leaf not aligned");
        self.check_word(word);
        // SAFETY: the leaf lies in one page below the watermark and is aligned; every bit pattern is a valid leaf, so
        // even a stale index is harmless; `&self` keeps writers away.
        unsafe { &*self.word_address(word).cast::<Leaf>() }
    }

    /// The leaf at a word index, to change it.
    #[inline(always)]
    pub(super) fn leaf_mut(&mut self, word: u32) -> &mut Leaf {
        assert!(word.is_multiple_of(LEAF_WORDS), "leaf not aligned");
        self.check_word(word);
        // SAFETY: as in `leaf`; `&mut self` makes this the only reference into the arena.
        unsafe { &mut *self.word_address(word).cast::<Leaf>() }
    }

    /// The inner node at a word index.
    #[inline(always)]
    pub(super) fn inner(&self, word: u32) -> &Inner {
        assert!(word.is_multiple_of(INNER_WORDS), "inner node not aligned");
        self.check_word(word);
        // SAFETY: the node lies in one page below the watermark and is aligned; every bit pattern is a valid node;
        // `&self` keeps writers away.
        unsafe { &*self.word_address(word).cast::<Inner>() }
    }

    /// The inner node at a word index, to change it. (Its methods need the arena for the separators: change a copy.)
    #[inline(always)]
    pub(super) fn set_inner(&mut self, word: u32, node: &Inner) {
        assert!(word.is_multiple_of(INNER_WORDS), "inner node not aligned");
        self.check_word(word);
        // SAFETY: as in `inner`; `&mut self` makes this the only access to the arena.
        unsafe { self.word_address(word).cast::<Inner>().write(*node) };
    }

    /// Loads a leaf, or the heads of an inner node, into the cache.
    #[inline(always)]
    pub(super) fn prefetch_node(&self, word: u32) {
        for line in 0..NODE_LINES {
            self.prefetch_line_of(word, line);
        }
    }

    /// Loads the heads of a leaf into the cache.
    #[inline(always)]
    pub(super) fn prefetch_leaf_heads(&self, word: u32) {
        for line in 0..LEAF_HEAD_LINES {
            self.prefetch_line_of(word, line);
        }
    }

    /// Loads the row handle at `place` of a leaf into the cache.
    #[inline(always)]
    pub(super) fn prefetch_place(&self, word: u32, place: usize) {
        self.prefetch_line_of(word, (ROWS_OFFSET + 4 * place) / 64);
    }

    /// The separator in a slot.
    #[inline(always)]
    pub(super) fn separator(&self, word: u32) -> Separator<'_> {
        // A slot may be shorter than the three words that are checked: check them before it, in the same page.
        const { assert!(PAGE_WORDS.is_multiple_of(4)) };
        self.check_word(word & !3);
        let address = self.word_address(word);
        // SAFETY: the word lies in a page below the watermark and is aligned; every byte of the arena is initialised.
        let (row, length) = unsafe { (address.cast::<u32>().read(), address.add(4).cast::<u16>().read()) };
        let offset = (word & (PAGE_WORDS - 1)) as usize * 8;
        assert!(offset + SEPARATOR_HEADER_BYTES + usize::from(length) <= PAGE_BYTES, "no separator");
        // SAFETY: the string lies in one page below the watermark, as asserted; `&self` keeps writers away.
        let key =
            unsafe { std::slice::from_raw_parts(address.add(SEPARATOR_HEADER_BYTES), usize::from(length)) };
        Separator { key, row }
    }

    /// Takes a slot for a separator of `length` bytes and writes its header.
    pub(super) fn new_separator(
        &mut self,
        row: u32,
        length: u16,
        priority: Priority,
    ) -> Result<u32, OutOfMemory> {
        let word = self.allocate_slot(class_of(SEPARATOR_HEADER_BYTES + usize::from(length)), priority)?;
        let address = self.word_address(word);
        // SAFETY: the slot is ours, aligned to 8, and has room for the header.
        unsafe {
            address.cast::<u32>().write(row);
            address.add(4).cast::<u16>().write(length);
        }
        Ok(word)
    }

    /// Writes a part of a separator's string.
    pub(super) fn write_separator(&mut self, word: u32, start: usize, part: &[u8]) {
        let length = self.separator(word).key.len();
        assert!(start <= length && part.len() <= length - start, "separator too short");
        // SAFETY: the string lies in one page (checked by `separator`), and the part in the string; `&mut self` makes
        // this the only access, so `part` is not in the arena.
        unsafe {
            let target = self.word_address(word).add(SEPARATOR_HEADER_BYTES + start);
            target.copy_from_nonoverlapping(part.as_ptr(), part.len());
        }
    }

    /// Takes a slot for a leaf and empties it.
    pub(super) fn new_leaf(&mut self, priority: Priority) -> Result<u32, OutOfMemory> {
        let word = self.allocate_slot(class_of(LEAF_BYTES), priority)?;
        *self.leaf_mut(word) = Leaf::EMPTY;
        Ok(word)
    }

    /// Takes a slot for an inner node; its content is arbitrary.
    pub(super) fn new_inner(&mut self, priority: Priority) -> Result<u32, OutOfMemory> {
        self.allocate_slot(class_of(INNER_BYTES), priority)
    }

    /// Frees a separator; returns the bytes of its slot.
    pub(super) fn free_separator(&mut self, word: u32) -> u64 {
        let before = self.allocated_bytes();
        self.free_slot(word);
        before - self.allocated_bytes()
    }
}

#[cfg(test)]
mod tests {
    use crate::arena::{Arena, ArenaOptions};
    use crate::budget::{MemoryBudget, Priority};
    use crate::size_class::PAGE_BYTES;

    #[test]
    fn separators_fill_pages_to_the_last_word() {
        for &length in if cfg!(miri) { &[10_u16][..] } else { &[0, 2, 4, 10, 12] } {
            let mut arena = Arena::new(MemoryBudget::new(1 << 20), ArenaOptions::small(1 << 20)).unwrap();
            let slot_bytes = (6 + usize::from(length)).next_multiple_of(8);
            let step = if cfg!(miri) { 4000 } else { 1 };
            for number in 0..(PAGE_BYTES / slot_bytes) as u32 {
                let word = arena.new_separator(number, length, Priority::Normal).unwrap();
                if number % step == 0 || number as usize == PAGE_BYTES / slot_bytes - 1 {
                    arena.write_separator(word, 0, &vec![7; length.into()]);
                    let separator = arena.separator(word);
                    assert_eq!((separator.row, separator.key), (number, &vec![7; length.into()][..]));
                }
            }
            assert_eq!(arena.used_bytes(), PAGE_BYTES as u64);
        }
    }
}
