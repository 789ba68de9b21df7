//! The memory under a section: a header, and the bytes after it.

use super::pool::Shared;
use super::sync::{Arc, AtomicUsize, Ordering, fence};
use std::alloc::Layout;
use std::ptr::NonNull;

/// Blocks begin at a cache line of their own.
pub(super) const BLOCK_ALIGN: usize = 64;

/// Bytes between the beginning of a block and the bytes of its section: one cache line, so that these are aligned.
/// (Loom's atomics are larger.)
pub(super) const HEADER_BYTES: usize = size_of::<Header>().next_multiple_of(BLOCK_ALIGN);

/// Beyond this many handles something has gone wrong, as in `Arc`.
const MAX_REFERENCES: usize = isize::MAX as usize;

/// Number of a block that did not come from the memory of its pool.
const ON_HEAP: u32 = u32::MAX;

struct Header {
    /// Handles that refer to the block.
    references: AtomicUsize,
    /// The pool that was asked for it.
    home: Arc<Shared>,
    /// Its number in the pool, or [`ON_HEAP`].
    number: u32,
    /// Bytes after the header.
    capacity: u32,
}

/// One counted reference to a block.
///
/// The count is that of `Arc`: a new reference is made from an existing one, so *relaxed* will do; giving one up is a
/// *release*, and the last one follows it with an *acquire* fence, so that whatever any thread did with its reference
/// comes before the block is given back (and, by the order of the free list, before it is filled again).
pub(super) struct Block {
    header: NonNull<Header>,
}

// SAFETY: a block is shared like an `Arc` of bytes: the count is atomic, the header never changes while there are
// references, and the bytes are only written through `bytes_mut`, whose contract asks for a sole reference.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// The only reference to block `number` of a pool.
    ///
    /// # Safety
    /// The number was popped from the free list of `home` by the caller, and used for this block only.
    pub(super) unsafe fn in_pool(home: Arc<Shared>, number: u32) -> Self {
        let memory = home.block(number);
        let capacity = home.block_bytes();
        // SAFETY: the block has room for a header and `capacity` bytes, which were zeroed at first and then only
        // written with bytes; by the contract nobody else uses it.
        unsafe { Self::write_header(memory, home, number, capacity) }
    }

    /// The only reference to a new block of its own, which `home` counts.
    pub(super) fn on_heap(home: Arc<Shared>, capacity: u32) -> Self {
        home.heap_taken(capacity);
        let layout = heap_layout(capacity);
        // SAFETY: the layout has at least a header, so it is not empty.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(memory) else { std::alloc::handle_alloc_error(layout) };
        // SAFETY: the allocation has room for a header and `capacity` bytes, which are zeroed.
        unsafe { Self::write_header(memory, home, ON_HEAP, capacity) }
    }

    /// # Safety
    /// `memory` is aligned to [`BLOCK_ALIGN`], exclusively the caller's, and has room for a header and `capacity`
    /// initialised bytes.
    unsafe fn write_header(memory: NonNull<u8>, home: Arc<Shared>, number: u32, capacity: u32) -> Self {
        let header = memory.cast::<Header>();
        // SAFETY: by the contract there is room and alignment for a header and nobody else looks.
        unsafe { header.write(Header { references: AtomicUsize::new(1), home, number, capacity }) };
        Self { header }
    }

    /// Bytes the block has room for.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.header().capacity as usize
    }

    /// All bytes of the block, as they are.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        #[cfg(loom)]
        self.observe(false);
        // SAFETY: `capacity` initialised bytes follow the header in the same allocation. They are written only through
        // `bytes_mut`, which needs the sole reference, mutably; `self` is a reference, borrowed for as long.
        unsafe { std::slice::from_raw_parts(self.data(), self.capacity()) }
    }

    /// All bytes of the block, for writing.
    ///
    /// # Safety
    /// This is the only reference to the block.
    #[inline]
    pub(super) unsafe fn bytes_mut(&mut self) -> &mut [u8] {
        #[cfg(loom)]
        self.observe(true);
        // SAFETY: as in `bytes`; and nobody else can reach the bytes, because by the contract there is no other
        // reference and this one is mutably borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.data(), self.capacity()) }
    }

    #[inline]
    fn data(&self) -> *mut u8 {
        // SAFETY: the header is followed by the block's bytes in the same allocation.
        unsafe { self.header.cast::<u8>().add(HEADER_BYTES).as_ptr() }
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: the header lives as long as there are references, of which `self` is one, and is never changed
        // while there are (except its count, which is atomic).
        unsafe { self.header.as_ref() }
    }

    /// Gives up the last reference.
    #[cold]
    fn free(&mut self) {
        // SAFETY: this was the last reference, so nobody else looks at the header, and it is taken once. What it held
        // is dropped by this function; the memory is not used as a header again before a new one is written.
        let header = unsafe { self.header.read() };
        if header.number != ON_HEAP {
            return header.home.give_back(header.number);
        }
        header.home.heap_given_back(header.capacity);
        // SAFETY: a block with this number was allocated in `on_heap` with this layout.
        unsafe { std::alloc::dealloc(self.header.cast::<u8>().as_ptr(), heap_layout(header.capacity)) };
    }

    /// Tells loom that the bytes are read or written.
    #[cfg(loom)]
    fn observe(&self, written: bool) {
        let header = self.header();
        if header.number != ON_HEAP {
            let token = &header.home.tokens[header.number as usize];
            if written { token.with_mut(|_| ()) } else { token.with(|_| ()) }
        }
    }

    #[cfg(loom)]
    fn is_count_weakened(&self) -> bool {
        self.header().home.weakened() == Some(super::free_list::Weakened::Count)
    }
}

impl Clone for Block {
    #[inline]
    fn clone(&self) -> Self {
        let before = self.header().references.fetch_add(1, Ordering::Relaxed);
        if before > MAX_REFERENCES {
            // Only leaked handles can come here, and a wrapped count would free what is in use.
            std::process::abort();
        }
        Self { header: self.header }
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        #[cfg(loom)]
        if self.is_count_weakened() {
            if self.header().references.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.free();
            }
            return;
        }
        if self.header().references.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            self.free();
        }
    }
}

fn heap_layout(capacity: u32) -> Layout {
    let bytes = HEADER_BYTES + capacity as usize;
    Layout::from_size_align(bytes, BLOCK_ALIGN).expect("four gigabytes fit into the address space")
}
