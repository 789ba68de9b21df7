//! The two handles of a section: one that fills it, and those that read it.

use super::block::Block;
use std::ops::{Bound, Deref, DerefMut, RangeBounds};

/// A section being filled: the sole handle to its bytes. It reads as the bytes filled so far.
pub struct SectionMut {
    block: Block,
    filled: u32,
}

impl SectionMut {
    /// Takes over a block to which there is no other reference.
    pub(super) fn new(block: Block) -> Self {
        Self { block, filled: 0 }
    }

    /// Bytes the section has room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.block.capacity()
    }

    /// The bytes not filled yet, to be written and then counted by [`advance`](Self::advance). They hold zeros or
    /// what an earlier section left.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let filled = self.filled as usize;
        &mut self.all_mut()[filled..]
    }

    /// Counts the next `bytes` bytes as filled.
    ///
    /// # Panics
    /// When fewer are left.
    pub fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.capacity() - self.len(), "more bytes filled than the section has room for");
        // Fits: the sum is at most the capacity, which has 32 bits.
        self.filled += bytes as u32;
    }

    /// Appends as much of `bytes` as there is room for, and returns how much that is.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> usize {
        let spare = self.spare_mut();
        let count = bytes.len().min(spare.len());
        spare[..count].copy_from_slice(&bytes[..count]);
        self.advance(count);
        count
    }

    /// Takes back everything filled after the first `bytes` bytes; without effect when there is nothing.
    pub fn truncate(&mut self, bytes: usize) {
        // Fits: the minimum is at most `filled`.
        self.filled = bytes.min(self.len()) as u32;
    }

    /// The finished section: the bytes filled so far, for reading from now on.
    #[must_use]
    pub fn freeze(self) -> Section {
        Section { block: self.block, offset: 0, length: self.filled }
    }

    fn all_mut(&mut self) -> &mut [u8] {
        // SAFETY: a `SectionMut` is made from a sole reference and never clones it, so it holds the only one.
        unsafe { self.block.bytes_mut() }
    }
}

impl Deref for SectionMut {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.block.bytes()[..self.filled as usize]
    }
}

impl DerefMut for SectionMut {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let filled = self.filled as usize;
        &mut self.all_mut()[..filled]
    }
}

impl std::fmt::Debug for SectionMut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let filled = self.filled;
        formatter
            .debug_struct("SectionMut")
            .field("filled", &filled)
            .field("capacity", &self.capacity())
            .finish()
    }
}

/// A finished section, or a part of one: bytes that no longer change, shared by all clones. 16 bytes in size, and
/// `Option<Section>` is no larger.
#[derive(Clone)]
pub struct Section {
    block: Block,
    offset: u32,
    length: u32,
}

impl Section {
    /// A handle to a part of these bytes; it keeps the whole block in use.
    ///
    /// # Panics
    /// When the range does not lie within the section.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Section {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len(),
        };
        assert!(start <= end && end <= self.len(), "the range does not lie within the section");
        // Fits: both are at most `length`, and `offset + length` is at most the capacity, which has 32 bits.
        Section {
            block: self.block.clone(),
            offset: self.offset + start as u32,
            length: (end - start) as u32,
        }
    }
}

impl Deref for Section {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let start = self.offset as usize;
        &self.block.bytes()[start..start + self.length as usize]
    }
}

impl AsRef<[u8]> for Section {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for Section {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Section").field("offset", &self.offset).field("length", &self.length).finish()
    }
}
