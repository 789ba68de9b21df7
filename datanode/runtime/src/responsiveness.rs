//! One setting between throughput and latency: how much work a thread gathers before it shows results to others.
//!
//! Large batches cost fewer system calls, wake-ups and cache lines per operation; small ones let the first operation of
//! a burst go on while the last is still being read. Each level doubles or halves the bounds of its neighbour.

use duet_datanode_core::Nanoseconds;

/// The level without a wish.
const USUAL: u8 = 5;
/// Messages taken from one mailbox before results are handed on, at the usual level.
const MESSAGES: usize = 512;
/// Most and fewest such messages; a mailbox holds no more than the most.
const MOST_MESSAGES: usize = 4_096;
const FEWEST_MESSAGES: usize = 16;
/// Bytes read from sockets before frames are handed on and replies written, at the usual level.
const BURST_BYTES: usize = 1 << 20;
/// Most such bytes, and therefore of replies that wait.
const MOST_BURST_BYTES: usize = 4 << 20;
/// Gaps between work up to this are bridged by looking, at the usual level: about what sleeping and waking cost both
/// sides together.
const SPIN_WORTH: Nanoseconds = 20_000;

/// `scheduler_responsiveness`: 0 is for throughput, 10 for latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Responsiveness(u8);

impl Default for Responsiveness {
    fn default() -> Responsiveness {
        Responsiveness(USUAL)
    }
}

impl Responsiveness {
    /// Highest level.
    pub const HIGHEST: u8 = 10;

    /// A level; one above the highest is the highest.
    #[must_use]
    pub fn new(level: u8) -> Responsiveness {
        Responsiveness(level.min(Self::HIGHEST))
    }

    /// `usual` halved for each level above the usual one and doubled for each below.
    fn scaled(self, usual: usize) -> usize {
        (usual << USUAL) >> self.0
    }

    /// Messages taken from one mailbox before their results are handed on.
    pub(crate) fn messages_per_turn(self) -> usize {
        self.scaled(MESSAGES).clamp(FEWEST_MESSAGES, MOST_MESSAGES)
    }

    /// Bytes read from sockets before frames are handed on and replies are written.
    pub(crate) fn burst_bytes(self) -> usize {
        self.scaled(BURST_BYTES).min(MOST_BURST_BYTES)
    }

    /// Longest gap between work that is bridged by looking for work; 0: none is.
    pub(crate) fn spin_worth(self) -> Nanoseconds {
        SPIN_WORTH * Nanoseconds::from(self.0) / Nanoseconds::from(USUAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_shrink_from_level_to_level() {
        let levels: Vec<Responsiveness> = (0..=10).map(Responsiveness::new).collect();
        for pair in levels.windows(2) {
            assert!(pair[0].messages_per_turn() >= pair[1].messages_per_turn());
            assert!(pair[0].burst_bytes() >= pair[1].burst_bytes());
            assert!(pair[0].spin_worth() < pair[1].spin_worth());
        }
        let of = |level: u8| {
            let level = Responsiveness::new(level);
            (level.messages_per_turn(), level.burst_bytes(), level.spin_worth())
        };
        assert_eq!(of(0), (4_096, 4 << 20, 0));
        assert_eq!(of(5), (512, 1 << 20, 20_000));
        assert_eq!(of(10), (16, 32 << 10, 40_000));
        assert_eq!(of(11), of(10));
        assert_eq!(Responsiveness::default(), Responsiveness::new(5));
    }
}
