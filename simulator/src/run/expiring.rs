//! The workload of rows with a time to live: read at the end, until those that have expired are gone.

use super::Run;
use crate::history::Violation;
use crate::plan::REST_LIMIT;
use crate::process::{Client, ExpiringClient, Process};

impl Run {
    fn owners_of_expiring(&mut self) -> impl Iterator<Item = &mut ExpiringClient> {
        self.world.slots.iter_mut().filter_map(|slot| {
            if let Some(Process::Expiring(client)) = &mut slot.process { Some(client.as_mut()) } else { None }
        })
    }

    /// Rows that have not expired are there, the others are gone.
    pub(super) fn judge_expiring(&mut self) -> Result<(), Violation> {
        if self.world.plan.expiring == 0 {
            return Ok(());
        }
        self.owners_of_expiring().for_each(ExpiringClient::read_last);
        self.wait("rows that have expired are purged", REST_LIMIT, |run| {
            run.owners_of_expiring().all(|client| client.is_idle())
        })
    }
}
