//! The clock of the data node.

use duet_datanode_core::Nanoseconds;

/// Nanoseconds since boot, including suspension (`CLOCK_BOOTTIME`). About 50 ns through the vDSO.
pub fn boot_nanoseconds() -> Nanoseconds {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that outlives the call, which writes nothing else.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    assert_eq!(result, 0, "CLOCK_BOOTTIME exists on every supported kernel");
    time.tv_sec as Nanoseconds * 1_000_000_000 + time.tv_nsec as Nanoseconds
}

/// Microseconds since 1970-01-01 UTC, by which rows expire; 0 when the clock stands before that.
pub fn wall_microseconds() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn time_never_falls() {
        let mut last = super::boot_nanoseconds();
        assert!(last > 0);
        for _ in 0..1_000 {
            let now = super::boot_nanoseconds();
            assert!(now >= last);
            last = now;
        }
    }
}
