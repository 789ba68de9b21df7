//! When operations are meant to start.

use std::time::Duration;

/// Intended start times of an open loop: operation `i` of this worker starts `offset + i × interval` after the
/// beginning, whether or not earlier ones have been answered. Latency counts from there, which is the correction
/// for coordinated omission (Tene, "How NOT to Measure Latency").
#[derive(Debug, Clone, Copy)]
pub struct Pacer {
    interval_ns: f64,
    offset_ns: f64,
    issued: u64,
}

impl Pacer {
    /// Schedule of `worker` out of `workers` that together start `rate` operations per second.
    #[must_use]
    pub fn new(rate: f64, worker: u32, workers: u32) -> Self {
        let interval_ns = 1e9 * f64::from(workers) / rate;
        Self { interval_ns, offset_ns: interval_ns * f64::from(worker) / f64::from(workers), issued: 0 }
    }

    /// How long after the beginning the operation that is `ahead` after the next one is meant to start.
    #[must_use]
    pub fn intended_start(&self, ahead: u64) -> Duration {
        Duration::from_nanos((self.offset_ns + (self.issued + ahead) as f64 * self.interval_ns) as u64)
    }

    /// How many operations are due `now` (since the beginning) and not issued yet.
    #[must_use]
    pub fn due(&self, now: Duration) -> u64 {
        let passed = now.as_nanos() as f64 - self.offset_ns;
        if passed < 0.0 {
            return 0;
        }
        ((passed / self.interval_ns) as u64 + 1).saturating_sub(self.issued)
    }

    /// Notes that `count` operations were started.
    pub fn issue(&mut self, count: u64) {
        self.issued += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_due_at_their_intended_start() {
        let mut pacer = Pacer::new(1000.0, 0, 1);
        assert_eq!(pacer.due(Duration::ZERO), 1);
        assert_eq!(pacer.due(Duration::from_micros(9_500)), 10);
        pacer.issue(10);
        assert_eq!(pacer.due(Duration::from_micros(9_500)), 0);
        assert_eq!(pacer.intended_start(0), Duration::from_millis(10));
        assert_eq!(pacer.intended_start(5), Duration::from_millis(15));
    }

    #[test]
    fn workers_share_the_rate_and_are_staggered() {
        let starts: Vec<_> = (0..4).map(|worker| Pacer::new(1000.0, worker, 4).intended_start(0)).collect();
        assert_eq!(starts, [0, 1, 2, 3].map(Duration::from_millis));
        assert_eq!(Pacer::new(1000.0, 3, 4).intended_start(1), Duration::from_millis(7));
        assert_eq!(Pacer::new(1000.0, 3, 4).due(Duration::from_millis(1)), 0);
    }
}
