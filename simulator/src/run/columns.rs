//! The workload of the table that gets columns: read at the end and compared with what was written.

use super::Run;
use crate::history::Violation;
use crate::plan::REST_LIMIT;
use crate::process::{Client, ColumnClient, Process};
use std::collections::BTreeMap;

impl Run {
    pub(super) fn column_clients(&mut self) -> impl Iterator<Item = &mut ColumnClient> {
        self.world.slots.iter_mut().filter_map(|slot| {
            if let Some(Process::Columns(client)) = &mut slot.process { Some(client.as_mut()) } else { None }
        })
    }

    /// Every column of every row holds what was written last, or its default, and every increment counted once.
    pub(super) fn judge_columns(&mut self) -> Result<(), Violation> {
        if self.world.plan.columns == 0 {
            return Ok(());
        }
        self.column_clients().for_each(ColumnClient::read_last);
        self.wait("rows with added columns are read at the end", REST_LIMIT, |run| {
            run.column_clients().all(|client| client.is_idle())
        })?;
        let mut counted: BTreeMap<(u64, usize), i64> = BTreeMap::new();
        let mut last = BTreeMap::new();
        for client in self.column_clients() {
            for (place, count) in &client.counted {
                *counted.entry(*place).or_default() += count;
            }
            // Whoever knows most columns.
            if client.last.len() > last.len() {
                last = std::mem::take(&mut client.last);
            }
        }
        let wrong = last.iter().find(|(place, count)| counted.get(place).copied().unwrap_or(0) != **count);
        match wrong {
            Some((place, count)) => {
                let detail = format!("row and column {place:?}: {count}, told {:?}", counted.get(place));
                Err(Violation::new("increments of added columns count once", detail))
            }
            None => Ok(()),
        }
    }
}
