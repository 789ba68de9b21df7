//! What a kernel must not hold when nothing is under way; for the simulator.

use crate::kernel::Kernel;

impl Kernel {
    /// Counts of everything that belongs to work under way, by name: all 0 at rest, else something was leaked.
    pub fn under_way(&self, mut count: impl FnMut(&'static str, u64)) {
        count("requests forwarded", self.coordinator.forwarded() as u64);
        count("transactions", self.coordinator.transactions.len() as u64);
        count("commits under way", self.coordinator.transactions.unfinished.len() as u64);
        count("signals within the node", self.out.mail_count() as u64);
        count("bytes kept for lanes", self.out.lanes.iter().map(|lane| lane.retained_bytes() as u64).sum());
        if let Some(split) = &self.split {
            count("messages between parts", split.out.len() as u64);
            let waiting = split.requests.iter().map(|requests| requests.waiting() as u64);
            count("requests between parts", waiting.sum());
        }
        self.ldm.under_way(count);
    }
}
