//! The buffers that receives of io_uring are put into.
//!
//! The system takes them from a ring in the order in which they were given to it. All of them would never fit a processor's
//! cache, so only as many are in use as the busiest turns needed: each time the system found none, one more is added.

use super::Refused;
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// Bytes of a buffer: a burst of a client fits one.
pub(crate) const BUFFER_BYTES: usize = 32 << 10;
/// Most buffers, a power of two.
const MOST_BUFFERS: u16 = 512;
/// Buffers in use at first.
const FIRST_BUFFERS: u16 = 8;
/// The only group of buffers.
pub(crate) const GROUP: u16 = 0;

/// Memory of a mapping of its own: aligned to pages, and taken from the system only where it is touched.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    fn new(bytes: usize) -> io::Result<Mapping> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping refers to nothing that exists; the result is checked before it is used.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(start.cast())
            .map(|start| Mapping { start, bytes })
            .ok_or(io::ErrorKind::OutOfMemory.into())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length and is unmapped once; whoever lets the system write to it
        // keeps it until the system has said that it does not any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Buffers shared with the system.
pub(crate) struct Buffers {
    /// The ring that hands buffers to the system.
    ring: Mapping,
    memory: Mapping,
    /// Number of buffers handed over so far, modulo 2¹⁶.
    tail: u16,
    in_use: u16,
}

impl Buffers {
    /// Registers the ring of buffers of a ring that has none.
    pub fn register(uring: &IoUring) -> Result<Buffers, Refused> {
        let bytes = usize::from(MOST_BUFFERS) * size_of::<BufRingEntry>();
        let mapped = |error| Refused { what: "mapping buffers", error };
        let ring = Mapping::new(bytes).map_err(mapped)?;
        let memory = Mapping::new(usize::from(MOST_BUFFERS) * BUFFER_BYTES).map_err(mapped)?;
        // SAFETY: `ring` is a mapping of as many entries, aligned to a page. `Ring` keeps the `Buffers` until the system
        // uses them no more.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(ring.start.as_ptr() as u64, MOST_BUFFERS, GROUP, 0)
        }
        .map_err(|error| Refused { what: "registering buffers", error })?;
        let mut buffers = Buffers { ring, memory, tail: 0, in_use: 0 };
        for _ in 0..FIRST_BUFFERS {
            buffers.add();
        }
        Ok(buffers)
    }

    /// Puts one more buffer into use, if there is one.
    pub fn add(&mut self) {
        if self.in_use < MOST_BUFFERS {
            self.in_use += 1;
            self.give_back(self.in_use - 1);
        }
    }

    /// The first bytes of a buffer that the system has handed out.
    pub fn bytes(&self, buffer: u16, count: usize) -> &[u8] {
        assert!(buffer < self.in_use && count <= BUFFER_BYTES, "the system hands out what it was given");
        // SAFETY: the range lies within `memory` and is initialised (fresh mappings are zero). The system does not write
        // to a buffer that it has handed out until `give_back`, which needs `&mut self`.
        unsafe {
            let start = self.memory.start.as_ptr().add(usize::from(buffer) * BUFFER_BYTES);
            std::slice::from_raw_parts(start, count)
        }
    }

    /// Lets the system use a buffer (again).
    #[inline]
    pub fn give_back(&mut self, buffer: u16) {
        assert!(buffer < self.in_use, "the system hands out what it was given");
        let entries = self.ring.start.as_ptr().cast::<BufRingEntry>();
        let index = usize::from(self.tail & (MOST_BUFFERS - 1));
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `index` is one of the entries of the mapping, and the system does not read it before the tail is past
        // it. There are never more buffers than entries, so an entry that is overwritten was taken. The tail lies in the
        // first entry where no setter writes; it is aligned and only ever accessed as an atomic number.
        unsafe {
            let entry = &mut *entries.add(index);
            entry.set_addr(self.memory.start.as_ptr() as u64 + u64::from(buffer) * BUFFER_BYTES as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
            let tail = &*BufRingEntry::tail(entries).cast::<AtomicU16>();
            tail.store(self.tail, Ordering::Release);
        }
    }
}
