//! Fixed-size blocks that the threads of a node share.

use super::block::{BLOCK_ALIGN, Block, HEADER_BYTES};
use super::free_list::FreeList;
use super::handle::SectionMut;
use super::sync::{Arc, AtomicU64, AtomicUsize, Ordering};
use std::alloc::Layout;
use std::ptr::NonNull;

/// A pool of equal blocks, from which any thread takes and to which any thread gives back. Clones are the same pool;
/// its memory lives as long as a clone or a section of it.
///
/// The memory is reserved at once, zeroed, and touched only when a block is first used. Blocks that were freed last
/// are taken first, so a pool that is larger than needed costs addresses, not memory.
#[derive(Clone, Debug)]
pub struct SectionPool {
    shared: Arc<Shared>,
}

/// The pool itself.
#[derive(Debug)]
pub(super) struct Shared {
    free: FreeList,
    /// Sections that had to come from the heap since the beginning.
    heap_sections: AtomicU64,
    /// Bytes of those that are in use.
    heap_bytes: AtomicUsize,
    memory: NonNull<u8>,
    layout: Layout,
    block_bytes: u32,
    /// Distance between blocks.
    stride: usize,
    /// One token for each block, by which loom sees who touches its bytes.
    #[cfg(loom)]
    pub(super) tokens: Box<[super::sync::UnsafeCell<()>]>,
}

// SAFETY: `memory` is only handed out block by block, each to the one thread that popped its number; everything else
// is atomic or never changes.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl SectionPool {
    /// A pool of `blocks` blocks, each for `block_bytes` bytes.
    ///
    /// # Panics
    /// When `block_bytes` exceeds 2³² − 1, or all blocks together the address space.
    #[must_use]
    pub fn new(blocks: u32, block_bytes: usize) -> Self {
        Self { shared: Arc::new(Shared::new(blocks, block_bytes)) }
    }

    /// A pool with a mistake, which the models must notice.
    #[cfg(all(test, loom))]
    pub(super) fn weakened(blocks: u32, block_bytes: usize, weakened: super::free_list::Weakened) -> Self {
        let mut shared = Shared::new(blocks, block_bytes);
        shared.free.weakened = Some(weakened);
        Self { shared: Arc::new(shared) }
    }

    /// An empty section with room for at least `least_bytes` bytes: a block of the pool, or as much memory from the heap when
    /// no block is free or a block is too small, which [`heap_sections`](Self::heap_sections) counts.
    ///
    /// # Panics
    /// When `least_bytes` exceeds 2³² − 1.
    #[must_use]
    pub fn take(&self, least_bytes: usize) -> SectionMut {
        let block_bytes = self.shared.block_bytes;
        let least_bytes = u32::try_from(least_bytes).expect("a section is smaller than 4 GiB");
        if least_bytes <= block_bytes
            && let Some(number) = self.shared.free.pop()
        {
            // SAFETY: `number` was just popped, so this thread alone may use the block, and no handle to it exists.
            return SectionMut::new(unsafe { Block::in_pool(self.shared.clone(), number) });
        }
        self.shared.heap_sections.fetch_add(1, Ordering::Relaxed);
        SectionMut::new(Block::on_heap(self.shared.clone(), least_bytes))
    }

    /// Bytes that a block of the pool holds.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        self.shared.block_bytes as usize
    }

    /// How many sections came from the heap since the pool was made: a sign that it is too small.
    #[must_use]
    pub fn heap_sections(&self) -> u64 {
        self.shared.heap_sections.load(Ordering::Relaxed)
    }

    /// Blocks of the pool that are in use. Walks over the others, and is exact only while no other thread uses the pool:
    /// for tests that look for leaks.
    #[must_use]
    pub fn blocks_in_use(&self) -> usize {
        self.shared.free.capacity() - self.shared.free.len()
    }

    /// Bytes of the sections in use that came from the heap. Whoever fills sections for others can wait while this is too much.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.shared.heap_bytes.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn new(blocks: u32, block_bytes: usize) -> Self {
        let block_bytes = u32::try_from(block_bytes).expect("a block is smaller than 4 GiB");
        let stride = (HEADER_BYTES + block_bytes as usize).next_multiple_of(BLOCK_ALIGN);
        let bytes = stride.checked_mul(blocks as usize).expect("the pool fits into the address space");
        // One byte at least, because an allocation may not be empty.
        let layout =
            Layout::from_size_align(bytes.max(1), BLOCK_ALIGN).expect("the pool fits into the address space");
        // SAFETY: the layout is not empty.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(memory) else { std::alloc::handle_alloc_error(layout) };
        Self {
            free: FreeList::full(blocks),
            heap_sections: AtomicU64::new(0),
            heap_bytes: AtomicUsize::new(0),
            memory,
            layout,
            block_bytes,
            stride,
            #[cfg(loom)]
            tokens: (0..blocks).map(|_| super::sync::UnsafeCell::new(())).collect(),
        }
    }

    pub(super) fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// Where block `number` begins.
    pub(super) fn block(&self, number: u32) -> NonNull<u8> {
        // SAFETY: the free list holds numbers below the number of blocks only, so the block lies in the allocation.
        unsafe { self.memory.add(number as usize * self.stride) }
    }

    /// Counts a block from the heap.
    pub(super) fn heap_taken(&self, bytes: u32) {
        self.heap_bytes.fetch_add(bytes as usize, Ordering::Relaxed);
    }

    /// A block from the heap is not used any more.
    pub(super) fn heap_given_back(&self, bytes: u32) {
        self.heap_bytes.fetch_sub(bytes as usize, Ordering::Relaxed);
    }

    /// Takes back a block that nobody refers to any more.
    pub(super) fn give_back(&self, number: u32) {
        self.free.push(number);
    }

    #[cfg(loom)]
    pub(super) fn weakened(&self) -> Option<super::free_list::Weakened> {
        self.free.weakened
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout. Every section holds the pool, so none is left.
        unsafe { std::alloc::dealloc(self.memory.as_ptr(), self.layout) };
    }
}
