//! Rows: a header of 24 bytes, the key, the value.
//!
//! ```text
//!  0                         6       8                        14     15     16
//!  | epoch (48 bit)          | table | sequence (48 bit)       | state| value |
//!  |                         | vers. |                         |      | len hi|
//! 16             20     22     24                24+k                24+k+v
//!  | older handle | key   | value | key bytes     | value bytes         | padding to the slot
//!  | (32 bit)     | len   | len lo|               |                     |
//! ```
//!
//! All numbers are little-endian; a row starts at a multiple of 8 bytes. The value length has 24 bits. What the
//! state byte means is the caller's business.

use crate::arena::{Arena, PAGE_WORDS, RowHandle};
use crate::budget::{OutOfMemory, Priority};
use crate::prefetch::prefetch_line;
use crate::size_class::{PAGE_BYTES, class_of};

/// Bytes of a row's header.
pub const ROW_HEADER_BYTES: usize = 24;
/// The most bytes that key and value of a row may have together.
pub const MAX_ROW_BYTES: usize = PAGE_BYTES - ROW_HEADER_BYTES;

const LOW_48: u64 = (1 << 48) - 1;

/// The fields of a row's header that its owner sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowHeader {
    /// Epoch of the version, below 2^48.
    pub epoch: u64,
    /// Sequence number of the version, below 2^48.
    pub sequence: u64,
    /// Version of the table's definition that the value is encoded with.
    pub table_version: u16,
    /// State of the row, opaque here.
    pub state: u8,
    /// The version before this one, or null.
    pub older: RowHandle,
}

/// A row as it is now.
#[derive(Clone, Copy, Debug)]
pub struct RowView<'arena> {
    words: HeaderWords,
    /// The key.
    pub key: &'arena [u8],
    /// The value.
    pub value: &'arena [u8],
}

impl RowView<'_> {
    /// All fields of the header.
    #[inline]
    #[must_use]
    pub fn header(&self) -> RowHeader {
        self.words.fields()
    }

    /// Epoch of the version.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.words.0[0] & LOW_48
    }

    /// Sequence number of the version.
    #[inline]
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.words.0[1] & LOW_48
    }

    /// Version of the table's definition.
    #[inline]
    #[must_use]
    pub fn table_version(&self) -> u16 {
        (self.words.0[0] >> 48) as u16
    }

    /// State of the row.
    #[inline]
    #[must_use]
    pub fn state(&self) -> u8 {
        (self.words.0[1] >> 48) as u8
    }

    /// The version before this one, or null.
    #[inline]
    #[must_use]
    pub fn older(&self) -> RowHandle {
        RowHandle(self.words.0[2] as u32)
    }
}

/// The header as three words in the processor's byte order.
#[derive(Clone, Copy, Debug)]
struct HeaderWords([u64; 3]);

impl HeaderWords {
    #[inline(always)]
    fn new(header: &RowHeader, key_length: usize, value_length: usize) -> Self {
        assert!(header.epoch <= LOW_48, "epochs have 48 bits");
        assert!(header.sequence <= LOW_48, "sequence numbers have 48 bits");
        let key_length = key_length as u64;
        let value_length = value_length as u64;
        Self([
            header.epoch | u64::from(header.table_version) << 48,
            header.sequence | u64::from(header.state) << 48 | (value_length >> 16) << 56,
            u64::from(header.older.0) | key_length << 32 | (value_length & 0xFFFF) << 48,
        ])
    }

    #[inline(always)]
    fn fields(self) -> RowHeader {
        RowHeader {
            epoch: self.0[0] & LOW_48,
            sequence: self.0[1] & LOW_48,
            table_version: (self.0[0] >> 48) as u16,
            state: (self.0[1] >> 48) as u8,
            older: RowHandle(self.0[2] as u32),
        }
    }

    #[inline(always)]
    fn key_length(self) -> usize {
        (self.0[2] >> 32) as usize & 0xFFFF
    }

    #[inline(always)]
    fn value_length(self) -> usize {
        ((self.0[1] >> 56 << 16) | self.0[2] >> 48) as usize
    }
}

impl Arena {
    /// Stores a new row.
    ///
    /// # Errors
    /// When the budget for `priority` or the arena is used up; nothing is changed then.
    ///
    /// # Panics
    /// When the key is longer than 65,535 bytes, key and value together are longer than [`MAX_ROW_BYTES`], or epoch
    /// or sequence number have more than 48 bits: lengths are checked where requests come in.
    #[inline]
    pub fn allocate_row(
        &mut self,
        header: &RowHeader,
        key: &[u8],
        value: &[u8],
        priority: Priority,
    ) -> Result<RowHandle, OutOfMemory> {
        assert!(key.len() <= usize::from(u16::MAX), "keys have at most 65,535 bytes");
        assert!(value.len() <= MAX_ROW_BYTES - key.len(), "rows have at most {MAX_ROW_BYTES} bytes");
        let words = HeaderWords::new(header, key.len(), value.len());
        let word = self.allocate_slot(class_of(ROW_HEADER_BYTES + key.len() + value.len()), priority)?;
        let address = self.word_address(word);
        // SAFETY: the slot is ours, starts at a multiple of 8 and has room for header, key and value, which cannot
        // lie in the arena because it is borrowed mutably.
        unsafe {
            write_words(address, words);
            let payload = address.add(ROW_HEADER_BYTES);
            payload.copy_from_nonoverlapping(key.as_ptr(), key.len());
            payload.add(key.len()).copy_from_nonoverlapping(value.as_ptr(), value.len());
        }
        Ok(RowHandle(word))
    }

    /// The row of `handle`.
    ///
    /// # Panics
    /// When the handle is null or outside of the arena, or what is there cannot be a row.
    #[inline(always)]
    #[must_use]
    pub fn row(&self, handle: RowHandle) -> RowView<'_> {
        let words = self.checked_words(handle);
        let (key_length, value_length) = (words.key_length(), words.value_length());
        let payload = self.word_address(handle.0).wrapping_add(ROW_HEADER_BYTES);
        // SAFETY: `checked_words` has checked that header, key and value lie within one page below the watermark;
        // `&self` keeps writers away.
        unsafe {
            RowView {
                words,
                key: std::slice::from_raw_parts(payload, key_length),
                value: std::slice::from_raw_parts(payload.add(key_length), value_length),
            }
        }
    }

    /// The key of a row. Panics like [`row`](Self::row).
    #[inline(always)]
    #[must_use]
    pub fn key(&self, handle: RowHandle) -> &[u8] {
        self.row(handle).key
    }

    /// Loads what [`key`](Self::key) reads of a row with a key of eight bytes into the cache, which is often two lines.
    /// Any handle is fine, also null.
    #[inline(always)]
    pub(crate) fn prefetch_key(&self, handle: RowHandle) {
        let address = self.word_address(handle.0);
        prefetch_line(address);
        prefetch_line(address.wrapping_add(ROW_HEADER_BYTES + 7));
    }

    /// The value of a row. Panics like [`row`](Self::row).
    #[inline(always)]
    #[must_use]
    pub fn value(&self, handle: RowHandle) -> &[u8] {
        self.row(handle).value
    }

    /// The value of a row, to change its bytes but not its length. Panics like [`row`](Self::row).
    #[inline]
    #[must_use]
    pub fn value_mut(&mut self, handle: RowHandle) -> &mut [u8] {
        let words = self.checked_words(handle);
        let payload = self.word_address(handle.0).wrapping_add(ROW_HEADER_BYTES);
        // SAFETY: as in `row`; `&mut self` makes this the only reference into the arena.
        unsafe { std::slice::from_raw_parts_mut(payload.add(words.key_length()), words.value_length()) }
    }

    /// Replaces all header fields of a row; key and value stay.
    ///
    /// # Panics
    /// Like [`row`](Self::row), and when epoch or sequence number have more than 48 bits.
    #[inline]
    pub fn set_header(&mut self, handle: RowHandle, header: &RowHeader) {
        let old = self.checked_words(handle);
        let words = HeaderWords::new(header, old.key_length(), old.value_length());
        // SAFETY: `checked_words` has checked that the header lies in the arena; `&mut self` is exclusive.
        unsafe { write_words(self.word_address(handle.0), words) };
    }

    /// Replaces the state byte of a row and the handle of the version before it. Panics like [`row`](Self::row).
    #[inline]
    pub fn set_state_and_older(&mut self, handle: RowHandle, state: u8, older: RowHandle) {
        let HeaderWords([first, second, third]) = self.checked_words(handle);
        let second = second & !(0xFF << 48) | u64::from(state) << 48;
        let third = third & !u64::from(u32::MAX) | u64::from(older.0);
        // SAFETY: `checked_words` has checked that the header lies in the arena; `&mut self` is exclusive.
        unsafe { write_words(self.word_address(handle.0), HeaderWords([first, second, third])) };
    }

    /// Replaces header and value of a row, the latter also by one of another length, when the row's size class stays the
    /// same. Returns false and changes nothing otherwise; a new row is needed then.
    ///
    /// # Panics
    /// Like [`row`](Self::row), when no slot starts at `handle`, and when epoch or sequence number have more than 48 bits.
    #[inline]
    #[must_use]
    pub fn replace_in_place(&mut self, handle: RowHandle, header: &RowHeader, value: &[u8]) -> bool {
        let key_length = self.checked_words(handle).key_length();
        let bytes = ROW_HEADER_BYTES + key_length + value.len();
        if value.len() > MAX_ROW_BYTES - key_length || class_of(bytes) != self.class_at(handle.0) {
            return false;
        }
        // Even for a stale handle the write stays within the page.
        let offset = (handle.0 & (PAGE_WORDS - 1)) as usize * 8;
        assert!(offset + bytes <= PAGE_BYTES, "handle into the middle of a slot");
        let words = HeaderWords::new(header, key_length, value.len());
        let address = self.word_address(handle.0);
        // SAFETY: header, key and the new value lie within one page below the watermark, as asserted; `&mut self`
        // is exclusive, so `value` is not in the arena.
        unsafe {
            write_words(address, words);
            let target = address.add(ROW_HEADER_BYTES + key_length);
            target.copy_from_nonoverlapping(value.as_ptr(), value.len());
        }
        true
    }

    /// Makes `target` a copy of `source`, header and value, when both have the same key and the size class of `target`
    /// stays the same; whoever knows the row by `target` need not learn another handle then. Returns false and changes
    /// nothing otherwise.
    ///
    /// # Panics
    /// Like [`row`](Self::row), and when no slot starts at `target`.
    #[inline]
    #[must_use]
    pub fn copy_over(&mut self, target: RowHandle, source: RowHandle) -> bool {
        let (old, new) = (self.checked_words(target), self.checked_words(source));
        let bytes = ROW_HEADER_BYTES + new.key_length() + new.value_length();
        if old.key_length() != new.key_length() || class_of(bytes) != self.class_at(target.0) {
            return false;
        }
        // Even for a stale handle the write stays within the page.
        let offset = (target.0 & (PAGE_WORDS - 1)) as usize * 8;
        assert!(offset + bytes <= PAGE_BYTES, "handle into the middle of a slot");
        let (from, to) = (self.word_address(source.0), self.word_address(target.0));
        // SAFETY: the source was checked to lie within one page below the watermark, the target is asserted to; the two
        // may overlap only if one of the handles is stale, which `copy_to` allows; `&mut self` is exclusive.
        unsafe { from.copy_to(to, bytes) };
        true
    }

    /// Frees a row and all its older versions; returns how many rows that were.
    pub fn free_versions(&mut self, handle: RowHandle) -> usize {
        let mut next = handle;
        let mut freed = 0;
        while !next.is_null() {
            let older = self.row(next).older();
            self.free(next);
            freed += 1;
            next = older;
        }
        freed
    }

    /// Reads the header and asserts that the whole row lies within one page.
    #[inline(always)]
    fn checked_words(&self, handle: RowHandle) -> HeaderWords {
        self.check_word(handle.0);
        let address = self.word_address(handle.0).cast::<u64>();
        // SAFETY: `check_word` has checked that three words from here on are usable; words are aligned, and every
        // byte of the arena is initialised.
        let words = unsafe { [address.read(), address.add(1).read(), address.add(2).read()] };
        let words = HeaderWords(words.map(u64::from_le));
        let offset = (handle.0 & (PAGE_WORDS - 1)) as usize * 8;
        let end = offset + ROW_HEADER_BYTES + words.key_length() + words.value_length();
        assert!(end <= PAGE_BYTES, "handle does not name a row");
        words
    }
}

/// # Safety
/// 24 bytes from `address` on must be writable, aligned to 8, and not referred to.
#[inline(always)]
unsafe fn write_words(address: *mut u8, words: HeaderWords) {
    let address = address.cast::<u64>();
    let [first, second, third] = words.0.map(u64::to_le);
    // SAFETY: promised by the caller.
    unsafe {
        address.write(first);
        address.add(1).write(second);
        address.add(2).write(third);
    }
}
