//! What the process uses, and what the system lets it use.

use std::io;
use std::mem::MaybeUninit;
use std::path::Path;

/// What the process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUsage {
    /// CPU time of all threads in user mode, in seconds.
    pub user_seconds: f64,
    /// CPU time of all threads in the system, in seconds.
    pub system_seconds: f64,
    /// Memory in use now, in bytes.
    pub resident_bytes: u64,
}

impl ProcessUsage {
    /// Of this process, now.
    pub fn now() -> ProcessUsage {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the pointer is to a whole rusage, which the call fills; all-zero bytes are a valid rusage, so it is
        // initialised even if the call should fail.
        let usage = unsafe {
            libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
            usage.assume_init()
        };
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        ProcessUsage {
            user_seconds: seconds(usage.ru_utime),
            system_seconds: seconds(usage.ru_stime),
            resident_bytes: resident_bytes().unwrap_or(0),
        }
    }
}

fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages = statm.split(' ').nth(1)?.parse::<u64>().ok()?;
    // SAFETY: no pointers are passed.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * u64::try_from(page_bytes).ok()?)
}

/// Raises the number of descriptors the process may have to the highest that it may choose, and returns it.
///
/// # Errors
/// When the system refuses.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a valid rlimit that outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to a valid rlimit that the call only reads.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

/// Memory that the process may use: that of the machine or of its control group, whichever is less, in bytes.
pub fn memory_available_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = machine.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let total = total.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or("");
    let limits = Path::new(group).ancestors().filter_map(|group| {
        let file = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
        std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
    });
    Some(limits.min().map_or(total, |limit| limit.min(total)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_grows_and_memory_is_known() {
        let before = ProcessUsage::now();
        assert!(before.resident_bytes > 0);
        let mut work = 0u64;
        while ProcessUsage::now().user_seconds + ProcessUsage::now().system_seconds
            <= before.user_seconds + before.system_seconds
        {
            work = std::hint::black_box(work + 1);
        }
        assert!(memory_available_bytes().unwrap() > before.resident_bytes);
    }
}
