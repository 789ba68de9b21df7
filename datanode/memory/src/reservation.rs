//! A reserved range of addresses, made usable from the bottom up.

use crate::budget::OutOfMemory;
use crate::preparer::MemoryPreparer;
#[cfg(not(miri))]
use crate::preparer::Upcoming;
#[cfg(not(miri))]
use std::sync::Arc;

/// Size of a huge page; ranges are aligned to it and made usable in steps of it, because the kernel only backs an
/// address by a huge page when the whole aligned 2 MiB around it are accessible at the first touch.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Addresses of the system, given back with the last reference.
#[cfg(not(miri))]
#[derive(Debug)]
pub(crate) struct Mapping {
    start: *mut libc::c_void,
    bytes: usize,
}

// SAFETY: a mapping has no content of its own; only the reservation that made it reads or writes there.
#[cfg(not(miri))]
unsafe impl Send for Mapping {}
// SAFETY: as above.
#[cfg(not(miri))]
unsafe impl Sync for Mapping {}

#[cfg(not(miri))]
impl Mapping {
    /// Finds memory for a part of the addresses; what is there keeps its content. Nothing happens where the system does not know how.
    pub(crate) fn populate(&self, start: usize, bytes: usize) {
        let inside = start.wrapping_sub(self.start as usize);
        assert!(inside <= self.bytes && bytes <= self.bytes - inside, "the part lies in the mapping");
        // SAFETY: the addresses are mapped for as long as `self` lives, and the advice changes no content. A refusal
        // (an older kernel, no memory) changes speed only.
        let _ =
            unsafe { libc::madvise(self.start.wrapping_byte_add(inside), bytes, libc::MADV_POPULATE_WRITE) };
    }
}

#[cfg(not(miri))]
impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that was mapped; nobody refers to it any more.
        let _ = unsafe { libc::munmap(self.start, self.bytes) };
    }
}

/// A range of `bytes` addresses. The part below `usable_bytes` can be read and written, and every byte of it is
/// initialised (fresh memory is zero).
pub(crate) struct Reservation {
    base: *mut u8,
    bytes: usize,
    usable_bytes: usize,
    #[cfg(not(miri))]
    mapping: Arc<Mapping>,
    /// Who makes memory ready, how many bytes ahead, and up to where it was asked to.
    #[cfg(not(miri))]
    preparer: Option<MemoryPreparer>,
    #[cfg(not(miri))]
    ahead_bytes: usize,
    #[cfg(not(miri))]
    asked_bytes: usize,
}

// SAFETY: the reservation owns its range exclusively; nothing in it is tied to the thread that created it.
unsafe impl Send for Reservation {}

#[cfg(not(miri))]
impl Reservation {
    /// Reserves `bytes` addresses without memory behind them. `huge_pages` asks for transparent huge pages; `preparer` finds memory for some
    /// MiB more than is in use.
    pub(crate) fn new(
        bytes: usize,
        huge_pages: bool,
        preparer: Option<MemoryPreparer>,
    ) -> Result<Self, OutOfMemory> {
        let mapping_bytes = bytes.checked_add(HUGE_PAGE_BYTES).ok_or(OutOfMemory::System)?;
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no existing memory.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapping_bytes,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(OutOfMemory::System);
        }
        let mapping = Arc::new(Mapping { start, bytes: mapping_bytes });
        let start = start.cast::<u8>();
        let base = start.wrapping_add(start.align_offset(HUGE_PAGE_BYTES));
        let advice = if huge_pages { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
        // SAFETY: `base..base + bytes` lies inside the mapping made above. The advice may be refused (a kernel
        // without huge pages), which changes speed only.
        let _ = unsafe { libc::madvise(base.cast(), bytes, advice) };
        let ahead = preparer.as_ref().map_or(0, |preparer| preparer.ahead_bytes);
        let ahead_bytes = ahead / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
        Ok(Self { base, bytes, usable_bytes: 0, mapping, preparer, ahead_bytes, asked_bytes: 0 })
    }

    /// Makes at least the first `bytes` usable.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        if bytes > self.bytes {
            return Err(OutOfMemory::ArenaFull);
        }
        let with_ahead = (bytes + self.ahead_bytes).next_multiple_of(HUGE_PAGE_BYTES).min(self.bytes);
        if with_ahead > self.usable_bytes {
            // Twice as far, so that the system is asked for it before the memory behind it is being found.
            let target = (with_ahead + self.ahead_bytes).min(self.bytes);
            if self.make_usable(target).is_err() {
                // The system counts what may be used, and this is near its bound: no more than what is needed.
                self.ahead_bytes = 0;
                self.make_usable(bytes.next_multiple_of(HUGE_PAGE_BYTES).min(self.bytes))?;
            }
        }
        let until = with_ahead.min(self.usable_bytes);
        if let Some(preparer) = &self.preparer
            && until > self.asked_bytes
        {
            let mapping = Arc::clone(&self.mapping);
            let from = self.asked_bytes.max(bytes / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES);
            let start = self.base.wrapping_add(from) as usize;
            preparer.prepare(Upcoming { mapping, start, bytes: until - from });
            self.asked_bytes = until;
        }
        Ok(())
    }

    fn make_usable(&mut self, target: usize) -> Result<(), OutOfMemory> {
        if target <= self.usable_bytes {
            return Ok(());
        }
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

/// Under Miri there are no mappings, and nothing is made ready.
#[cfg(miri)]
#[derive(Debug)]
pub(crate) struct Mapping;

#[cfg(miri)]
impl Mapping {
    pub(crate) fn populate(&self, _start: usize, _bytes: usize) {}
}

/// Under Miri the range is one zeroed allocation of the standard allocator.
#[cfg(miri)]
impl Reservation {
    pub(crate) fn new(
        bytes: usize,
        _huge_pages: bool,
        _preparer: Option<MemoryPreparer>,
    ) -> Result<Self, OutOfMemory> {
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

#[cfg(all(test, not(miri), not(loom)))]
#[allow(clippy::disallowed_methods)] // They wait for a thread.
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    const RANGE_BYTES: usize = 1 << 30;
    const STEP_BYTES: usize = 128 << 10;
    const AHEAD_BYTES: usize = 8 << 20;

    fn preparer() -> MemoryPreparer {
        MemoryPreparer::start(AHEAD_BYTES).expect("a thread")
    }

    /// Whether this system finds memory when it is asked to, which speed alone depends on.
    fn can_populate() -> bool {
        // SAFETY: nothing is asked for at no address.
        unsafe { libc::madvise(std::ptr::null_mut(), 0, libc::MADV_POPULATE_WRITE) == 0 }
    }

    /// Whether the system has found memory for a small page.
    fn is_resident(reservation: &Reservation, offset: usize) -> bool {
        let mut resident = 0_u8;
        let page = reservation.base().wrapping_add(offset);
        // SAFETY: one page of the mapping, and one byte for the answer.
        let result = unsafe { libc::mincore(page.cast(), 4_096, &raw mut resident) };
        result == 0 && resident & 1 == 1
    }

    #[test]
    fn memory_is_found_ahead_of_what_is_used() {
        if !can_populate() {
            return;
        }
        let mut reservation = Reservation::new(RANGE_BYTES, false, Some(preparer())).unwrap();
        reservation.grow_to(STEP_BYTES).unwrap();
        let ahead = AHEAD_BYTES;
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_resident(&reservation, ahead) {
            assert!(Instant::now() < deadline, "nobody has found memory ahead");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!is_resident(&reservation, ahead + 2 * HUGE_PAGE_BYTES), "no further than asked for");
    }

    #[test]
    fn what_is_made_ready_keeps_its_content() {
        let preparer = preparer();
        for huge_pages in [false, true] {
            let mut reservation = Reservation::new(RANGE_BYTES, huge_pages, Some(preparer.clone())).unwrap();
            let steps = 256;
            for step in 0..steps {
                reservation.grow_to((step + 1) * STEP_BYTES).unwrap();
                let word = reservation.base().wrapping_add(step * STEP_BYTES).cast::<usize>();
                // SAFETY: inside the usable part, aligned, and nobody else has a reference to it.
                unsafe {
                    assert_eq!(word.read(), 0, "fresh memory is zero");
                    word.write(step + 1);
                }
            }
            for step in 0..steps {
                let word = reservation.base().wrapping_add(step * STEP_BYTES).cast::<usize>();
                // SAFETY: as above.
                assert_eq!(unsafe { word.read() }, step + 1);
            }
            // Some of it may be waiting to be made ready.
            drop(reservation);
        }
    }

    #[test]
    fn the_end_of_the_range_is_the_end() {
        let mut reservation = Reservation::new(RANGE_BYTES, false, Some(preparer())).unwrap();
        reservation.grow_to(RANGE_BYTES - STEP_BYTES).unwrap();
        reservation.grow_to(RANGE_BYTES).unwrap();
        assert_eq!(reservation.grow_to(RANGE_BYTES + 1), Err(OutOfMemory::ArenaFull));
        assert_eq!(reservation.usable_bytes, RANGE_BYTES);
    }
}
