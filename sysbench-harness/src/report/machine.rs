//! Facts about the machine and the source, without names of hosts or people.

use serde::{Deserialize, Serialize};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a reader must know of the machine to judge figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineFacts {
    /// CPUs that the run may use.
    pub cpus: usize,
    /// As the processor names itself.
    pub cpu_model: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Memory of the machine.
    pub memory_bytes: u64,
}

impl MachineFacts {
    /// Reads the facts; what cannot be read is `unknown` or 0.
    #[must_use]
    pub fn read() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let unknown = || "unknown".to_owned();
        let kernel = file("/proc/sys/kernel/osrelease").trim().to_owned();
        let memory = value(&file("/proc/meminfo"), "MemTotal");
        let memory_kib = memory.and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok());
        Self {
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            cpu_model: value(&file("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
            kernel: if kernel.is_empty() { unknown() } else { kernel },
            memory_bytes: memory_kib.unwrap_or(0) * 1024,
        }
    }
}

/// The git revision of the working directory, with `-dirty` if tracked files were changed.
#[must_use]
pub fn git_revision() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(revision) = git(&["rev-parse", "HEAD"]) else { return "unknown".to_owned() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => revision,
        Some(_) | None => format!("{revision}-dirty"),
    }
}

/// The present time as `2026-01-31T12:00:00Z`.
#[must_use]
pub fn utc_time() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format_utc(since.as_secs())
}

/// Seconds since 1970 as a date and time; civil dates from days after Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms".
fn format_utc(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
        ] {
            assert_eq!(format_utc(seconds), text);
        }
    }

    #[test]
    fn the_machine_is_described() {
        let facts = MachineFacts::read();
        assert!(facts.cpus > 0 && facts.memory_bytes > 0);
        assert_ne!(facts.kernel, "unknown");
    }
}
