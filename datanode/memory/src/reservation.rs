//! A reserved range of addresses, made usable from the bottom up.

use crate::budget::OutOfMemory;

/// Size of a huge page; ranges are aligned to it and made usable in steps of it, because the kernel only backs an
/// address by a huge page when the whole aligned 2 MiB around it are accessible at the first touch.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A range of `bytes` addresses. The part below `usable_bytes` can be read and written, and every byte of it is
/// initialised (fresh memory is zero).
pub(crate) struct Reservation {
    base: *mut u8,
    bytes: usize,
    usable_bytes: usize,
    #[cfg(not(miri))]
    mapping: *mut libc::c_void,
    #[cfg(not(miri))]
    mapping_bytes: usize,
}

// SAFETY: the reservation owns its range exclusively; nothing in it is tied to the thread that created it.
unsafe impl Send for Reservation {}

#[cfg(not(miri))]
impl Reservation {
    /// Reserves `bytes` addresses without memory behind them. `huge_pages` asks for transparent huge pages.
    pub(crate) fn new(bytes: usize, huge_pages: bool) -> Result<Self, OutOfMemory> {
        let mapping_bytes = bytes.checked_add(HUGE_PAGE_BYTES).ok_or(OutOfMemory::System)?;
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no existing memory.
        let mapping = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapping_bytes,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(OutOfMemory::System);
        }
        let start = mapping.cast::<u8>();
        let base = start.wrapping_add(start.align_offset(HUGE_PAGE_BYTES));
        let advice = if huge_pages { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
        // SAFETY: `base..base + bytes` lies inside the mapping made above. The advice may be refused (a kernel
        // without huge pages), which changes speed only.
        let _ = unsafe { libc::madvise(base.cast(), bytes, advice) };
        Ok(Self { base, bytes, usable_bytes: 0, mapping, mapping_bytes })
    }

    /// Makes at least the first `bytes` usable.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        if bytes <= self.usable_bytes {
            return Ok(());
        }
        if bytes > self.bytes {
            return Err(OutOfMemory::ArenaFull);
        }
        let target = bytes.next_multiple_of(HUGE_PAGE_BYTES).min(self.bytes);
        // SAFETY: the range lies inside our own mapping, and nothing refers to its inaccessible part.
        let result = unsafe {
            libc::mprotect(
                self.base.add(self.usable_bytes).cast(),
                target - self.usable_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
            )
        };
        if result != 0 {
            return Err(OutOfMemory::System);
        }
        self.usable_bytes = target;
        Ok(())
    }

    /// Gives the physical memory of a usable range back; the range stays usable and may read as zero.
    pub(crate) fn discard(&mut self, offset: usize, bytes: usize) {
        assert!(offset + bytes <= self.usable_bytes, "only usable memory can be discarded");
        // SAFETY: the range is ours and usable, `&mut self` means that no reference into it exists, and zero is a
        // valid value of everything kept in it. A refusal leaves the memory in place, which is harmless.
        let _ = unsafe { libc::madvise(self.base.add(offset).cast(), bytes, libc::MADV_DONTNEED) };
    }
}

#[cfg(not(miri))]
impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped; the owner is going away, so nothing refers to it.
        let _ = unsafe { libc::munmap(self.mapping, self.mapping_bytes) };
    }
}

/// Under Miri the range is one zeroed allocation of the standard allocator.
#[cfg(miri)]
impl Reservation {
    pub(crate) fn new(bytes: usize, _huge_pages: bool) -> Result<Self, OutOfMemory> {
        // SAFETY: the layout has a size above zero (an arena has at least two pages).
        let base = unsafe { std::alloc::alloc_zeroed(Self::layout(bytes)) };
        if base.is_null() {
            return Err(OutOfMemory::System);
        }
        Ok(Self { base, bytes, usable_bytes: 0 })
    }

    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        if bytes > self.bytes {
            return Err(OutOfMemory::ArenaFull);
        }
        self.usable_bytes = self.usable_bytes.max(bytes);
        Ok(())
    }

    pub(crate) fn discard(&mut self, offset: usize, bytes: usize) {
        assert!(offset + bytes <= self.usable_bytes, "only usable memory can be discarded");
        // SAFETY: the range is ours and inside the allocation.
        unsafe { self.base.add(offset).write_bytes(0, bytes) };
    }

    fn layout(bytes: usize) -> std::alloc::Layout {
        std::alloc::Layout::from_size_align(bytes, HUGE_PAGE_BYTES).expect("arena sizes are valid layouts")
    }
}

#[cfg(miri)]
impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout.
        unsafe { std::alloc::dealloc(self.base, Self::layout(self.bytes)) };
    }
}

impl Reservation {
    /// First address of the range, aligned to 2 MiB.
    #[inline(always)]
    pub(crate) fn base(&self) -> *mut u8 {
        self.base
    }
}
