//! Cache-line prefetch hints.
//!
//! They load into the second-level cache, not the first: processors track more misses there (on Zen 4 batched
//! lookups took 34 ns instead of 75), and a batch's rows are too many for the first level anyway.

/// Asks the processor to load the cache line of `address`. Never faults, whatever the address.
#[inline(always)]
pub(crate) fn prefetch_line(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch is a hint; it has no effect on memory and does not fault on invalid addresses.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as above; PRFM neither writes memory nor faults.
    unsafe {
        std::arch::asm!("prfm pldl2keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = address;
}
