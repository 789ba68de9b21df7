//! The memory limit of one node, shared by all its arenas.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why memory could not be had. The request that needed it is refused; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfMemory {
    /// The node's memory limit, minus the reserve that the caller's [`Priority`] may not touch, is used up.
    #[error("the memory limit of the node is reached")]
    Budget,
    /// The arena's address range is used up (at most 32 GiB for one arena).
    #[error("the address range of the arena is used up")]
    ArenaFull,
    /// The operating system gave no memory.
    #[error("the operating system gave no memory")]
    System,
}

/// Who may use the last part of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Ordinary writes: they leave the reserve alone.
    Normal,
    /// Recovery, and deletes (which need a little memory in order to free more): may use the whole limit.
    Recovery,
}

/// A node-wide limit in bytes. Clones share the same counters.
///
/// Arenas take it page by page, so contention on the counters is negligible. The counters only guard an amount,
/// never data, so relaxed ordering is enough.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    shared: Arc<Counters>,
}

#[derive(Debug)]
struct Counters {
    limit_bytes: u64,
    reserve_bytes: u64,
    used_bytes: AtomicU64,
}

impl MemoryBudget {
    /// A budget of `limit_bytes`, of which a sixteenth is the reserve.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        Self::with_reserve(limit_bytes, limit_bytes / 16)
    }

    /// A budget of `limit_bytes`, of which `reserve_bytes` are for [`Priority::Recovery`] only.
    ///
    /// # Panics
    /// When the reserve is larger than the limit.
    #[must_use]
    pub fn with_reserve(limit_bytes: u64, reserve_bytes: u64) -> Self {
        assert!(reserve_bytes <= limit_bytes, "the reserve must be part of the limit");
        Self { shared: Arc::new(Counters { limit_bytes, reserve_bytes, used_bytes: AtomicU64::new(0) }) }
    }

    /// Takes `bytes`, all or nothing.
    ///
    /// # Errors
    /// [`OutOfMemory::Budget`] when the limit for `priority` would be passed.
    pub fn take(&self, bytes: u64, priority: Priority) -> Result<(), OutOfMemory> {
        let limit = self.limit_for(priority);
        self.shared
            .used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|&sum| sum <= limit)
            })
            .map(|_| ())
            .map_err(|_| OutOfMemory::Budget)
    }

    /// Gives back `bytes` that [`take`](Self::take) took.
    ///
    /// # Panics
    /// When more is given back than was taken.
    pub fn give_back(&self, bytes: u64) {
        let before = self.shared.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "more memory given back than was taken");
    }

    /// Bytes taken at present.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.shared.used_bytes.load(Ordering::Relaxed)
    }

    /// The limit in bytes, reserve included.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.shared.limit_bytes
    }

    /// The part of the limit, in bytes, that [`Priority::Normal`] may not use.
    #[must_use]
    pub fn reserve_bytes(&self) -> u64 {
        self.shared.reserve_bytes
    }

    /// Bytes that `priority` can still take.
    #[must_use]
    pub fn available_bytes(&self, priority: Priority) -> u64 {
        self.limit_for(priority).saturating_sub(self.used_bytes())
    }

    fn limit_for(&self, priority: Priority) -> u64 {
        match priority {
            Priority::Normal => self.shared.limit_bytes - self.shared.reserve_bytes,
            Priority::Recovery => self.shared.limit_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_is_for_recovery_only() {
        let budget = MemoryBudget::new(1600);
        assert_eq!(budget.reserve_bytes(), 100);
        assert_eq!(budget.take(1501, Priority::Normal), Err(OutOfMemory::Budget));
        assert_eq!(budget.used_bytes(), 0);
        budget.take(1500, Priority::Normal).unwrap();
        assert_eq!(budget.take(1, Priority::Normal), Err(OutOfMemory::Budget));
        assert_eq!(budget.available_bytes(Priority::Recovery), 100);
        let other = budget.clone();
        other.take(100, Priority::Recovery).unwrap();
        assert_eq!(budget.take(1, Priority::Recovery), Err(OutOfMemory::Budget));
        assert_eq!(budget.available_bytes(Priority::Normal), 0);
        budget.give_back(1600);
        assert_eq!(other.used_bytes(), 0);
    }

    #[test]
    fn take_does_not_overflow() {
        let budget = MemoryBudget::with_reserve(u64::MAX, 0);
        budget.take(u64::MAX, Priority::Normal).unwrap();
        assert_eq!(budget.take(1, Priority::Recovery), Err(OutOfMemory::Budget));
    }
}
