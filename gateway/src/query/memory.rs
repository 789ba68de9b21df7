//! Memory of DataFusion's operators, out of that of the gateway.

use crate::memory::{Total, too_much_for_all, too_much_for_one};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Memory of one query, given back when it ends.
#[derive(Debug)]
pub struct QueryMemory {
    used: AtomicUsize,
    most: usize,
    total: Arc<Total>,
}

impl QueryMemory {
    /// For a query that may hold so many bytes.
    pub fn new(most: usize, total: &Arc<Total>) -> QueryMemory {
        QueryMemory { used: AtomicUsize::new(0), most, total: Arc::clone(total) }
    }

    fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.total.add(bytes);
    }
}

impl std::fmt::Display for QueryMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} bytes", self.used.load(Ordering::Relaxed), self.most)
    }
}

impl Drop for QueryMemory {
    fn drop(&mut self) {
        self.total.give_back(self.used.load(Ordering::Relaxed));
    }
}

impl MemoryPool for QueryMemory {
    fn name(&self) -> &'static str {
        "query"
    }

    fn grow(&self, _: &MemoryReservation, additional: usize) {
        self.add(additional);
    }

    fn shrink(&self, _: &MemoryReservation, shrink: usize) {
        self.used.fetch_sub(shrink, Ordering::Relaxed);
        self.total.give_back(shrink);
    }

    fn try_grow(&self, _: &MemoryReservation, additional: usize) -> Result<()> {
        let refused = |text: String| Err(DataFusionError::ResourcesExhausted(text));
        if self.used.load(Ordering::Relaxed).saturating_add(additional) > self.most {
            return refused(too_much_for_one(self.most));
        }
        if !self.total.try_add(additional) {
            return refused(too_much_for_all(self.total.most()));
        }
        self.used.fetch_add(additional, Ordering::Relaxed);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::MemoryConsumer;

    #[test]
    fn memory_is_bounded_per_query_and_in_total_and_given_back() {
        let total = Total::new(150);
        let first: Arc<dyn MemoryPool> = Arc::new(QueryMemory::new(100, &total));
        let second: Arc<dyn MemoryPool> = Arc::new(QueryMemory::new(100, &total));
        let one = MemoryConsumer::new("one").register(&first);
        let other = MemoryConsumer::new("other").register(&second);
        one.try_grow(100).expect("within its bound");
        assert!(one.try_grow(1).is_err(), "more than a query may have");
        assert!(other.try_grow(60).is_err(), "more than all may have");
        other.try_grow(50).expect("within the total");
        assert_eq!(total.used(), 150);
        drop(one);
        other.try_grow(50).expect("given back");
        drop(other);
        assert_eq!(total.used(), 0);
    }
}
