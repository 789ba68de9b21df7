//! The one clock of a data node.

use duet_datanode_core::Nanoseconds;

/// Time since boot in nanoseconds, including suspension (`CLOCK_BOOTTIME`).
pub fn boot_nanoseconds() -> Nanoseconds {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that the call fills in.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    assert_eq!(result, 0, "the boot clock exists on every Linux since 2.6.39");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards() {
        let first = boot_nanoseconds();
        assert!(first > 0 && boot_nanoseconds() >= first);
    }
}
