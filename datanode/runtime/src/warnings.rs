//! Warnings about connections, of which strangers can cause as many as they like.

use duet_datanode_core::Nanoseconds;

/// Warnings about other people's connections written per second.
const WARNINGS_PER_SECOND: u32 = 10;

/// Keeps strangers from filling the log.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    second: Nanoseconds,
    written: u32,
    kept_back: u32,
}

impl Warnings {
    /// Writes a warning, unless there were many in this second.
    pub fn warn(&mut self, now: Nanoseconds, write: impl FnOnce()) {
        let second = now / 1_000_000_000;
        if second != self.second {
            if self.kept_back > 0 {
                tracing::warn!(count = self.kept_back, "warnings about connections were left out");
            }
            *self = Warnings { second, written: 0, kept_back: 0 };
        }
        if self.written < WARNINGS_PER_SECOND {
            self.written += 1;
            write();
        } else {
            self.kept_back += 1;
        }
    }
}
