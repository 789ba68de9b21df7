//! The workload of lists: read at the end, and judged.

use super::Run;
use crate::checker::{self, AppendRecord};
use crate::history::Violation;
use crate::plan::REST_LIMIT;
use crate::process::{AppendClient, Process};
use std::collections::BTreeSet;

impl Run {
    fn appenders(&mut self) -> impl Iterator<Item = &mut AppendClient> {
        self.world.slots.iter_mut().filter_map(|slot| {
            if let Some(Process::Append(client)) = &mut slot.process { Some(client.as_mut()) } else { None }
        })
    }

    /// Locked transactions have an order, and unlocked reads see what is committed.
    pub(super) fn judge_lists(&mut self, at_rest: bool) -> Result<(), Violation> {
        if self.world.plan.appenders == 0 {
            return Ok(());
        }
        let mut last = None;
        if at_rest {
            self.appenders().take(1).for_each(AppendClient::read_last);
            self.wait("the lists are read at the end", REST_LIMIT, |run| {
                run.clients().all(|client| client.is_idle())
            })?;
            last = self.appenders().next().map(AppendClient::last_lists);
        }
        let (mut records, mut unlocked) = (Vec::new(), Vec::new());
        for client in self.appenders() {
            records.append(&mut client.records);
            unlocked.append(&mut client.unlocked);
        }
        let verdict = checker::check_appends(&records, &unlocked, last.as_ref());
        if let Some(reads) = last {
            let (now, appends) = (self.world.now(), BTreeSet::new());
            records.push(AppendRecord { number: 0, invoked: now, responded: now + 1, reads, appends });
        }
        self.lists = records;
        verdict
    }
}
