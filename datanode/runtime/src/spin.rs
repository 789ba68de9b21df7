//! How long an idle thread looks for work before it goes to sleep.
//!
//! Going to sleep and being woken costs both sides several microseconds. Looking for work instead pays only when the next
//! work is closer than that, so the time that is spent looking follows the gaps between work as they were measured; a node
//! without load never spins, and one under load hardly ever sleeps.

use duet_datanode_core::Nanoseconds;

/// Longest gap that counts in the mean, so that one long silence is soon forgotten.
const LONGEST_GAP: Nanoseconds = 200_000;

/// The recent gaps between work.
#[derive(Debug)]
pub(crate) struct Spin {
    /// Gaps up to this are bridged by looking; 0 when this thread must not spin.
    worth: Nanoseconds,
    mean_gap: Nanoseconds,
}

impl Spin {
    /// Bridges gaps up to `worth`; 0 never looks.
    pub fn new(worth: Nanoseconds) -> Spin {
        Spin { worth, mean_gap: LONGEST_GAP }
    }

    /// How long to look before the next sleep.
    pub fn budget(&self) -> Nanoseconds {
        if self.mean_gap <= self.worth { 2 * self.mean_gap } else { 0 }
    }

    /// There was nothing to do for so long.
    pub fn idle_was(&mut self, gap: Nanoseconds) {
        self.mean_gap = (7 * self.mean_gap + gap.min(LONGEST_GAP)) / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_gaps_are_bridged_and_long_ones_are_slept_through() {
        let mut spin = Spin::new(20_000);
        assert_eq!(spin.budget(), 0, "nothing is known yet");
        for _ in 0..40 {
            spin.idle_was(3_000);
        }
        assert!((3_000..=10_000).contains(&spin.budget()));
        for _ in 0..10 {
            spin.idle_was(10_000_000);
        }
        assert_eq!(spin.budget(), 0);
        for worth in [0, 2_000] {
            let mut never = Spin::new(worth);
            for _ in 0..100 {
                never.idle_was(3_000);
            }
            assert_eq!(never.budget(), 0, "not worth it");
        }
    }
}
