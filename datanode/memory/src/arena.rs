//! Pages and slots.
//!
//! An arena reserves a range of addresses and uses it in pages of 128 KiB, each charged to the node's
//! [`MemoryBudget`] while it is in use. A page holds slots of one size class and nothing else:
//!
//! ```text
//! arena   | page 0: never used | page 1 | page 2 | ... | page watermark-1 | not yet used ... |
//! page    | slot 0 | slot 1 | ... | slot capacity-1 | rest (less than a slot) |
//! slot    in use: the object;  free: bytes 0..2 = word offset in the page of the next free slot, or 0xFFFF
//!
//! handle  bit 31                     14 13                     0
//!         | page number                | 8-byte word in the page |     0 = null (it would lie in page 0)
//! ```
//!
//! What the allocator knows about a page (16 bytes) is kept outside the pages, so that they hold objects only:
//!
//! ```text
//! 0          2          4          6     7     8            12           16
//! | free_head | used     | live     |class| -   | next page  | previous   |
//! ```
//!
//! Slots never used before are taken in order (`used` counts them), freed ones through the list that starts at
//! `free_head`. Pages with room are in a doubly linked list per class; an empty page leaves its class at once and
//! is given back to the budget. The memory of a few empty pages stays mapped for the next use; the rest is given
//! back to the operating system.
//!
//! An arena belongs to one thread at a time: it is `Send` but not `Sync`, and has no locks.

use crate::budget::{MemoryBudget, OutOfMemory, Priority};
use crate::prefetch::prefetch_line;
use crate::preparer::MemoryPreparer;
use crate::reservation::Reservation;
use crate::size_class::{CLASS_COUNT, CLASSES, PAGE_BYTES, SizeClass, class_of};

/// Words of 8 bytes in a page.
pub(crate) const PAGE_WORDS: u32 = (PAGE_BYTES / 8) as u32;
const PAGE_SHIFT: u32 = PAGE_WORDS.trailing_zeros();
/// The largest range that 32-bit word indexes can address.
const MAX_ARENA_BYTES: usize = 32 << 30;
/// Empty pages whose memory is kept for the next use (one huge page).
const CACHED_PAGES: u32 = 16;
const NO_SLOT: u16 = u16::MAX;
const NO_PAGE: u32 = 0;
const NO_CLASS: u8 = u8::MAX;

/// Names an object of an arena: the index of its first 8-byte word.
///
/// A handle is only a number. Using one whose object is gone, or one of another arena, gives wrong data or a panic
/// but never undefined behaviour.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowHandle(pub(crate) u32);

impl RowHandle {
    /// Names nothing.
    pub const NULL: Self = Self(0);

    /// Whether this is [`NULL`](Self::NULL).
    #[inline]
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The number, for storing it elsewhere.
    #[inline]
    #[must_use]
    pub fn to_u32(self) -> u32 {
        self.0
    }

    /// The handle of a number from [`to_u32`](Self::to_u32).
    #[inline]
    #[must_use]
    pub fn from_u32(number: u32) -> Self {
        Self(number)
    }
}

impl std::fmt::Debug for RowHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_null() {
            formatter.write_str("RowHandle(null)")
        } else {
            write!(formatter, "RowHandle({}:{})", self.0 >> PAGE_SHIFT, self.0 & (PAGE_WORDS - 1))
        }
    }
}

/// How an arena is set up.
#[derive(Clone, Debug)]
pub struct ArenaOptions {
    /// Size of the address range in bytes: rounded down to whole pages, at least two pages, at most 32 GiB. Costs
    /// addresses and 16 bytes of lazily touched bookkeeping per 128 KiB, no memory.
    pub max_bytes: usize,
    /// Whether to ask for transparent huge pages of 2 MiB: faster with much data, wasteful in a process with many
    /// small arenas.
    pub huge_pages: bool,
    /// Finds memory for the arena before it is used.
    pub preparer: Option<MemoryPreparer>,
}

impl Default for ArenaOptions {
    /// 32 GiB with huge pages, for a data node (8 MiB under Miri).
    fn default() -> Self {
        let max_bytes = if cfg!(miri) { 8 << 20 } else { MAX_ARENA_BYTES };
        Self { max_bytes, huge_pages: true, preparer: None }
    }
}

impl ArenaOptions {
    /// An arena of at most `max_bytes` without huge pages, for the simulator and tests.
    #[must_use]
    pub fn small(max_bytes: usize) -> Self {
        Self { max_bytes, huge_pages: false, preparer: None }
    }
}

/// What the allocator knows about a page; see the module's documentation.
#[derive(Clone, Copy)]
struct Page {
    free_head: u16,
    used: u16,
    live: u16,
    class: u8,
    next: u32,
    previous: u32,
}

const UNUSED_PAGE: Page =
    Page { free_head: NO_SLOT, used: 0, live: 0, class: NO_CLASS, next: NO_PAGE, previous: NO_PAGE };

/// Owner of all rows, index buckets and other objects of one thread.
pub struct Arena {
    /// `reservation.base()`, kept here for the hot paths.
    base: *mut u8,
    /// Words from page 1 to the watermark, minus two: a word index `w` is good for a header of three words when
    /// `w - PAGE_WORDS < word_limit`. Zero while no page was ever used.
    word_limit: u32,
    /// One entry per page below the watermark; entry 0 is never used.
    pages: Vec<Page>,
    max_pages: usize,
    /// First page with room, by class.
    open_pages: [u32; CLASS_COUNT],
    /// Empty pages whose memory is kept, linked by `next`.
    cached_page: u32,
    cached_pages: u32,
    /// Empty pages without memory, linked by `next`.
    discarded_page: u32,
    pages_in_use: u64,
    allocated_bytes: u64,
    budget: MemoryBudget,
    reservation: Reservation,
}

// SAFETY: `base` points into the reservation, which the arena owns exclusively and which is `Send`.
unsafe impl Send for Arena {}

impl Arena {
    /// An empty arena that charges `budget`.
    ///
    /// # Errors
    /// [`OutOfMemory::System`] when the address range cannot be reserved.
    pub fn new(budget: MemoryBudget, options: ArenaOptions) -> Result<Self, OutOfMemory> {
        let max_pages = options.max_bytes.clamp(2 * PAGE_BYTES, MAX_ARENA_BYTES) / PAGE_BYTES;
        let reservation = Reservation::new(max_pages * PAGE_BYTES, options.huge_pages, options.preparer)?;
        let mut pages = Vec::new();
        pages.try_reserve_exact(max_pages).map_err(|_| OutOfMemory::System)?;
        pages.push(UNUSED_PAGE);
        Ok(Self {
            base: reservation.base(),
            word_limit: 0,
            pages,
            max_pages,
            open_pages: [NO_PAGE; CLASS_COUNT],
            cached_page: NO_PAGE,
            cached_pages: 0,
            discarded_page: NO_PAGE,
            pages_in_use: 0,
            allocated_bytes: 0,
            budget,
            reservation,
        })
    }

    /// The budget that this arena charges.
    #[must_use]
    pub fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    /// Bytes of the pages in use: what the arena has taken from the budget.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.pages_in_use * PAGE_BYTES as u64
    }

    /// Bytes of the slots in use, padding to their class included.
    #[must_use]
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated_bytes
    }

    /// Allocates an object of `length` bytes with arbitrary content, for structures other than rows (nodes of an
    /// ordered index, images of pending changes).
    ///
    /// # Errors
    /// When the budget for `priority` or the arena is used up; nothing is changed then.
    ///
    /// # Panics
    /// When `length` is more than [`PAGE_BYTES`].
    pub fn allocate_bytes(&mut self, length: usize, priority: Priority) -> Result<RowHandle, OutOfMemory> {
        self.allocate_slot(class_of(length), priority).map(RowHandle)
    }

    /// The whole slot of an object: at least the length it was allocated with.
    ///
    /// # Panics
    /// When no slot starts at `handle`.
    #[must_use]
    pub fn bytes(&self, handle: RowHandle) -> &[u8] {
        let words = self.slot_words(handle.0);
        // SAFETY: `slot_words` has checked that a slot of that many words starts at the handle, so the range lies
        // in one page below the watermark; `&self` keeps writers away.
        unsafe { std::slice::from_raw_parts(self.word_address(handle.0), words as usize * 8) }
    }

    /// The whole slot of an object, to change it.
    ///
    /// # Panics
    /// When no slot starts at `handle`.
    #[must_use]
    pub fn bytes_mut(&mut self, handle: RowHandle) -> &mut [u8] {
        let words = self.slot_words(handle.0);
        // SAFETY: as in `bytes`; `&mut self` makes this the only reference into the arena.
        unsafe { std::slice::from_raw_parts_mut(self.word_address(handle.0), words as usize * 8) }
    }

    /// Frees a row or other object.
    ///
    /// # Panics
    /// When no slot starts at `handle`. (A second free of the same slot is not always noticed.)
    pub fn free(&mut self, handle: RowHandle) {
        self.free_slot(handle.0);
    }

    /// Loads the first three cache lines of an object (a row of 100 bytes is that long) into the cache. Any handle is fine, also null.
    #[inline(always)]
    pub fn prefetch(&self, handle: RowHandle) {
        let address = self.word_address(handle.0);
        prefetch_line(address);
        prefetch_line(address.wrapping_add(64));
        prefetch_line(address.wrapping_add(128));
    }

    /// Loads the `line`-th cache line of an object into the cache. Any handle is fine, also null.
    #[inline(always)]
    pub(crate) fn prefetch_line_of(&self, word: u32, line: usize) {
        prefetch_line(self.word_address(word).wrapping_add(64 * line));
    }

    /// Address of a word; only meaningful when the word is below the watermark.
    #[inline(always)]
    pub(crate) fn word_address(&self, word: u32) -> *mut u8 {
        self.base.wrapping_add(word as usize * 8)
    }

    /// Asserts that the three words from `word` on are readable and writable.
    #[inline(always)]
    pub(crate) fn check_word(&self, word: u32) {
        assert!(word.wrapping_sub(PAGE_WORDS) < self.word_limit, "handle outside the arena");
    }

    /// Class of the slot that starts at `word`.
    pub(crate) fn class_at(&self, word: u32) -> u8 {
        let page = self.pages[(word >> PAGE_SHIFT) as usize];
        assert!(page.class != NO_CLASS, "handle into an unused page");
        page.class
    }

    /// Words of the slot that starts at `word`.
    ///
    /// # Panics
    /// When none does.
    #[inline]
    fn slot_words(&self, word: u32) -> u16 {
        let page = &self.pages[(word >> PAGE_SHIFT) as usize];
        assert!(page.class != NO_CLASS, "handle into an unused page");
        let class = CLASSES[page.class as usize];
        let slot = class.slot_at((word & (PAGE_WORDS - 1)) as u16).expect("handle into the middle of a slot");
        assert!(slot < page.used, "handle to a slot that was never used");
        class.slot_words
    }

    /// Takes a slot of `class`; its word index.
    pub(crate) fn allocate_slot(&mut self, class: u8, priority: Priority) -> Result<u32, OutOfMemory> {
        let sizes @ SizeClass { slot_words, capacity, .. } = CLASSES[class as usize];
        let mut number = self.open_pages[class as usize];
        if number == NO_PAGE {
            number = self.take_page(priority)?;
            self.pages[number as usize] = Page { class, ..UNUSED_PAGE };
            self.link_open(number);
        }
        let page = &mut self.pages[number as usize];
        let first_word = number << PAGE_SHIFT;
        let offset = if page.free_head == NO_SLOT {
            let offset = u32::from(page.used) * u32::from(slot_words);
            page.used += 1;
            offset
        } else {
            let offset = u32::from(page.free_head);
            // SAFETY: the page is below the watermark and `free_head` is a word inside of it (checked when it was
            // set), so these two bytes are usable; they are initialised like all of the arena.
            let next = unsafe { self.base.add((first_word + offset) as usize * 8).cast::<u16>().read() };
            // A write through a stale handle may have damaged the link: never follow it out of the page.
            let next_is_slot = || sizes.slot_at(next).is_some_and(|slot| slot < page.used);
            assert!(next == NO_SLOT || next_is_slot(), "free list damaged");
            page.free_head = next;
            offset
        };
        assert!(page.live < capacity, "page with more slots in use than it has");
        page.live += 1;
        if page.live == capacity {
            self.unlink_open(number);
        }
        self.allocated_bytes += u64::from(slot_words) * 8;
        Ok(first_word + offset)
    }

    /// Gives a slot back.
    pub(crate) fn free_slot(&mut self, word: u32) {
        let slot_words = self.slot_words(word);
        let number = word >> PAGE_SHIFT;
        let address = self.word_address(word);
        let page = &mut self.pages[number as usize];
        assert!(page.live > 0, "slot freed twice");
        // SAFETY: `slot_words` has checked that a slot starts here; two bytes fit into it, and `&mut self` means
        // that no reference into the arena exists.
        unsafe { address.cast::<u16>().write(page.free_head) };
        page.free_head = (word & (PAGE_WORDS - 1)) as u16;
        let was_full = page.live == CLASSES[page.class as usize].capacity;
        page.live -= 1;
        let is_empty = page.live == 0;
        self.allocated_bytes -= u64::from(slot_words) * 8;
        match (was_full, is_empty) {
            (true, true) => self.release_page(number),
            (true, false) => self.link_open(number),
            (false, true) => {
                self.unlink_open(number);
                self.release_page(number);
            }
            (false, false) => {}
        }
    }

    fn link_open(&mut self, number: u32) {
        let class = self.pages[number as usize].class as usize;
        let next = self.open_pages[class];
        if next != NO_PAGE {
            self.pages[next as usize].previous = number;
        }
        let page = &mut self.pages[number as usize];
        page.next = next;
        page.previous = NO_PAGE;
        self.open_pages[class] = number;
    }

    fn unlink_open(&mut self, number: u32) {
        let Page { class, next, previous, .. } = self.pages[number as usize];
        if previous == NO_PAGE {
            self.open_pages[class as usize] = next;
        } else {
            self.pages[previous as usize].next = next;
        }
        if next != NO_PAGE {
            self.pages[next as usize].previous = previous;
        }
    }

    /// Finds an empty page and charges it: first one with memory, then one without, then a new one.
    fn take_page(&mut self, priority: Priority) -> Result<u32, OutOfMemory> {
        self.budget.take(PAGE_BYTES as u64, priority)?;
        let number = if self.cached_page != NO_PAGE {
            let number = self.cached_page;
            self.cached_page = self.pages[number as usize].next;
            self.cached_pages -= 1;
            number
        } else if self.discarded_page != NO_PAGE {
            let number = self.discarded_page;
            self.discarded_page = self.pages[number as usize].next;
            number
        } else {
            match self.extend() {
                Ok(number) => number,
                Err(error) => {
                    self.budget.give_back(PAGE_BYTES as u64);
                    return Err(error);
                }
            }
        };
        self.pages_in_use += 1;
        Ok(number)
    }

    /// Moves the watermark up by one page.
    fn extend(&mut self) -> Result<u32, OutOfMemory> {
        let number = self.pages.len();
        if number == self.max_pages {
            return Err(OutOfMemory::ArenaFull);
        }
        self.reservation.grow_to((number + 1) * PAGE_BYTES)?;
        self.pages.push(UNUSED_PAGE);
        self.word_limit = number as u32 * PAGE_WORDS - 2;
        Ok(number as u32)
    }

    fn release_page(&mut self, number: u32) {
        let keep = self.cached_pages < CACHED_PAGES;
        let list = if keep { &mut self.cached_page } else { &mut self.discarded_page };
        self.pages[number as usize] = Page { next: *list, ..UNUSED_PAGE };
        *list = number;
        if keep {
            self.cached_pages += 1;
        } else {
            self.reservation.discard(number as usize * PAGE_BYTES, PAGE_BYTES);
        }
        self.pages_in_use -= 1;
        self.budget.give_back(PAGE_BYTES as u64);
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.budget.give_back(self.used_bytes());
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Arena")
            .field("used_bytes", &self.used_bytes())
            .field("allocated_bytes", &self.allocated_bytes)
            .field("watermark_pages", &self.pages.len())
            .finish_non_exhaustive()
    }
}
