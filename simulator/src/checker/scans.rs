//! Scans while traffic runs: a row that is there throughout is not missed, and nothing is counted that cannot be there.

use crate::history::{Action, Found, History, Outcome, ScanRecord, Violation, WriteRecord};
use std::collections::BTreeMap;

/// Checks every scan that reached the end of its table.
pub fn check(history: &History) -> Result<(), Violation> {
    let mut tables: BTreeMap<u32, BTreeMap<u64, Vec<&WriteRecord>>> = BTreeMap::new();
    for write in &history.writes {
        let registers = tables.entry(write.register.table).or_default();
        registers.entry(write.register.key).or_default().push(write);
    }
    let none = BTreeMap::new();
    for scan in &history.scans {
        let registers = tables.get(&scan.table).unwrap_or(&none);
        let wanted = registers.iter().filter(|(key, _)| scan.bound.is_none_or(|bound| bound.contains(**key)));
        let (mut certain, mut possible) = (0, 0);
        for (key, writes) in wanted {
            possible += u64::from(may_be_there(writes, scan));
            if !is_there_throughout(writes, scan) {
                continue;
            }
            certain += 1;
            if let Found::Keys(keys) = &scan.found
                && !keys.contains(key)
            {
                let detail = format!(
                    "table {} key {key} was there from {} to {} and did not come",
                    scan.table, scan.began, scan.ended
                );
                return Err(Violation::new("a scan misses no row", detail));
            }
        }
        if let Found::Count(count) = scan.found
            && !(certain..=possible).contains(&count)
        {
            let detail = format!("table {}: {count} rows, not {certain} to {possible}", scan.table);
            return Err(Violation::new("a scan counts the rows that are there", detail));
        }
    }
    Ok(())
}

fn version_of(write: &WriteRecord) -> Option<u64> {
    match write.outcome {
        Outcome::Committed { version, .. } => Some(version.seq),
        Outcome::Unknown | Outcome::Refused(_) | Outcome::Aborted => None,
    }
}

/// Whether a write may have taken place, now or later.
fn may_happen(write: &WriteRecord) -> bool {
    match write.outcome {
        Outcome::Committed { .. } | Outcome::Unknown => true,
        Outcome::Refused(_) | Outcome::Aborted => false,
    }
}

/// Some write had left the row before the scan began, and no later delete can have taken place before its end (nor any later
/// write, where that could move the row).
fn is_there_throughout(writes: &[&WriteRecord], scan: &ScanRecord) -> bool {
    let before = writes.iter().filter(|write| write.responded <= scan.began);
    let latest =
        before.filter_map(|write| Some((version_of(write)?, write.action))).max_by_key(|(seq, _)| *seq);
    let Some((latest, action)) = latest else { return false };
    let removed = |write: &&WriteRecord| {
        (scan.moves || write.action == Action::Delete)
            && may_happen(write)
            && write.invoked <= scan.ended
            && version_of(write).is_none_or(|seq| seq > latest)
    };
    action != Action::Delete && !writes.iter().copied().any(|write| removed(&write))
}

/// Some write that leaves a row was asked for before the scan ended.
fn may_be_there(writes: &[&WriteRecord], scan: &ScanRecord) -> bool {
    writes.iter().any(|write| {
        matches!(write.action, Action::Insert { .. } | Action::Upsert { .. })
            && may_happen(write)
            && write.invoked <= scan.ended
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Register;
    use duet_protocol::ids::{RowVersion, TransactionId};
    use std::collections::BTreeSet;

    fn write(key: u64, action: Action, invoked: u64, responded: u64, seq: u64) -> WriteRecord {
        WriteRecord {
            fingerprint: seq,
            transaction: TransactionId { session: 1, seq },
            register: Register { table: 1, key },
            partition: 0,
            action,
            invoked,
            responded,
            outcome: Outcome::Committed { version: RowVersion { epoch: 1, seq }, result: None },
        }
    }

    fn judged(writes: Vec<WriteRecord>, found: Found) -> bool {
        let scan = ScanRecord { table: 1, bound: None, began: 100, ended: 200, moves: false, found };
        check(&History { writes, scans: vec![scan], ..History::default() }).is_ok()
    }

    #[test]
    fn missed_rows_and_wrong_counts_are_found() {
        let insert = Action::Insert { counter: 0 };
        let throughout = || vec![write(7, insert, 1, 2, 1), write(7, Action::Set, 120, 130, 2)];
        let none = || Found::Keys(BTreeSet::new());
        assert!(judged(throughout(), Found::Keys([7].into())));
        assert!(!judged(throughout(), none()));
        assert!(!judged(throughout(), Found::Count(0)) && !judged(throughout(), Found::Count(2)));
        // A row that comes or goes meanwhile may be seen or not.
        let coming = || vec![write(7, insert, 99, 101, 1)];
        assert!(judged(coming(), none()) && judged(coming(), Found::Count(1)));
        let going = || vec![write(7, insert, 1, 2, 1), write(7, Action::Delete, 199, 300, 2)];
        assert!(judged(going(), none()) && judged(going(), Found::Count(1)));
        // One that was removed before and inserted again is there.
        let again =
            vec![write(7, insert, 1, 2, 1), write(7, Action::Delete, 3, 4, 2), write(7, insert, 5, 6, 3)];
        assert!(!judged(again, none()));
        assert!(!judged(vec![write(7, insert, 201, 202, 1)], Found::Count(1)));
    }

    #[test]
    fn a_row_that_moves_may_be_missed() {
        let insert = Action::Insert { counter: 0 };
        let missed = |writes, moves| {
            let found = Found::Keys(BTreeSet::new());
            let scan = ScanRecord { table: 1, bound: None, began: 100, ended: 200, moves, found };
            check(&History { writes, scans: vec![scan], ..History::default() }).is_err()
        };
        let moved = || vec![write(7, insert, 1, 2, 1), write(7, Action::Increment, 120, 130, 2)];
        assert!(missed(moved(), false) && !missed(moved(), true));
        assert!(missed(vec![write(7, insert, 1, 2, 1)], true), "this one has not moved");
    }
}
