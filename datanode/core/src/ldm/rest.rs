//! What a local data manager must not hold when nothing is under way.

use crate::ldm::LocalDataManager;
use crate::ldm::outcome::OutcomeTable;

impl LocalDataManager {
    /// Counts of everything that belongs to work under way, by name: all 0 at rest, else something was leaked.
    pub fn under_way(&self, mut count: impl FnMut(&'static str, u64)) {
        let fragments = || self.fragments.iter().flatten();
        count("writes before the backup's answer", self.pending);
        count("positions before the backup's answer", fragments().map(|at| at.pending.len() as u64).sum());
        count(
            "rows taken back before the backup's answer",
            fragments().map(|at| at.taken_back.len() as u64).sum(),
        );
        count("requests that wait for a row", self.queue.len() as u64);
        count("row locks", self.locks.len() as u64);
        count("participants", self.participants.len() as u64);
        count("prepared transactions", self.prepared.len() as u64);
        count("tables in use by writes", self.pending_of_table.iter().map(|writes| u64::from(*writes)).sum());
        count("dropped tables not freed", self.clearing.len() as u64);
        count("acceptances to be told", self.accept_due.len() as u64);
        let outcomes = || fragments().map(|at| &at.outcomes);
        count("outcomes in progress", outcomes().map(OutcomeTable::in_progress).sum());
        count("outcomes that were resolved", outcomes().map(OutcomeTable::resolved).sum());
    }
}
