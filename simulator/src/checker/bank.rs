//! Strict serializability of the bank's transactions.
//!
//! Every transaction leaves its own stamp in the rows that it writes and has read, under locks, the stamps that were there
//! before. So each row tells the order of those who wrote it. Transactions and these orders make a graph, together with
//! the order in time: whoever was answered before another one began comes before it. Serializable means: no circle.

use crate::history::Violation;
use crate::queue::Time;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a transaction that did not roll back for certain.
#[derive(Clone, Debug)]
pub struct BankRecord {
    /// Its stamp.
    pub stamp: u64,
    /// When it began.
    pub invoked: Time,
    /// When it was known to be committed; `Time::MAX` while that is unknown.
    pub responded: Time,
    /// Stamps read under locks, by key; none for no row.
    pub reads: BTreeMap<u64, Option<u64>>,
    /// Keys that carry its stamp, or that it removed.
    pub writes: BTreeSet<u64>,
}

/// Judges the bank's transactions and the stamps in the rows at the end.
///
/// # Errors
/// The first violation.
pub fn check_bank(records: &[BankRecord], last: &BTreeMap<u64, u64>) -> Result<(), Violation> {
    let broken = |detail| Err(Violation::new("locked transactions are serializable", detail));
    let mut known: BTreeMap<u64, usize> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        if known.insert(record.stamp, index).is_some() {
            return broken(format!("stamp {:x} twice", record.stamp));
        }
    }
    let seen = records.iter().flat_map(|record| record.reads.iter().map(|(key, stamp)| (*key, *stamp)));
    let seen = seen.chain(last.iter().map(|(key, stamp)| (*key, Some(*stamp))));
    for (key, stamp) in seen {
        let Some(stamp) = stamp.filter(|stamp| *stamp != 0) else { continue };
        let writer = known.get(&stamp).map(|index| &records[*index]);
        if !writer.is_some_and(|writer| writer.writes.contains(&key)) {
            return broken(format!("key {key} shows stamp {stamp:x} of a transaction that did not write it"));
        }
    }
    let mut graph = Graph::new(records.len());
    // Who replaced a stamp, by key and stamp; and who only read it.
    let mut replaced: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        for (key, stamp) in &record.reads {
            let Some(stamp) = *stamp else { continue };
            if let Some(writer) = known.get(&stamp) {
                graph.edge(*writer, index);
            }
            if record.writes.contains(key)
                && let Some(other) = replaced.insert((*key, stamp), index)
            {
                let (first, second) = (records[other].stamp, record.stamp);
                return broken(format!("key {key}: {first:x} and {second:x} both replaced {stamp:x}"));
            }
        }
    }
    for (index, record) in records.iter().enumerate() {
        for (key, stamp) in &record.reads {
            let next = stamp.and_then(|stamp| replaced.get(&(*key, stamp)));
            if let Some(next) = next.filter(|next| **next != index) {
                graph.edge(index, *next);
            }
        }
    }
    graph.order_in_time(records);
    match graph.circle(records.len()) {
        None => Ok(()),
        Some(circle) => {
            let stamps: Vec<String> =
                circle.iter().take(12).map(|index| format!("{:x}", records[*index].stamp)).collect();
            broken(format!("{} transactions in circles: {}", circle.len(), stamps.join(" ")))
        }
    }
}

/// Transactions, then moments; edges lead to what comes later.
struct Graph {
    later: Vec<Vec<usize>>,
}

impl Graph {
    fn new(nodes: usize) -> Graph {
        Graph { later: vec![Vec::new(); nodes] }
    }

    fn edge(&mut self, from: usize, to: usize) {
        self.later[from].push(to);
    }

    /// A chain of moments, one for every answer: what was answered leads into it, what begins later leads out of it.
    fn order_in_time(&mut self, records: &[BankRecord]) {
        let mut moments: Vec<(Time, usize)> = records
            .iter()
            .enumerate()
            .filter(|(_, record)| record.responded != Time::MAX)
            .map(|(index, record)| (record.responded, index))
            .collect();
        moments.sort_unstable();
        let first = self.later.len();
        for (position, (_, index)) in moments.iter().enumerate() {
            self.later.push(Vec::new());
            self.edge(*index, first + position);
            if position > 0 {
                self.edge(first + position - 1, first + position);
            }
        }
        for (index, record) in records.iter().enumerate() {
            let before = moments.partition_point(|(responded, _)| *responded < record.invoked);
            if before > 0 {
                self.edge(first + before - 1, index);
            }
        }
    }

    /// Those of the first `count` nodes that no topological order can place.
    fn circle(&self, count: usize) -> Option<Vec<usize>> {
        let mut before = vec![0usize; self.later.len()];
        for to in self.later.iter().flatten() {
            before[*to] += 1;
        }
        let mut free: Vec<usize> = (0..before.len()).filter(|node| before[*node] == 0).collect();
        while let Some(node) = free.pop() {
            for to in &self.later[node] {
                before[*to] -= 1;
                if before[*to] == 0 {
                    free.push(*to);
                }
            }
        }
        let left: Vec<usize> = (0..count).filter(|node| before[*node] > 0).collect();
        (!left.is_empty()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stamp: u64, times: (Time, Time), reads: &[(u64, Option<u64>)], writes: &[u64]) -> BankRecord {
        BankRecord {
            stamp,
            invoked: times.0,
            responded: times.1,
            reads: reads.iter().copied().collect(),
            writes: writes.iter().copied().collect(),
        }
    }

    #[test]
    fn an_order_is_found_where_there_is_one() {
        let records = [
            record(1, (0, 10), &[(1, Some(0)), (2, Some(0))], &[1, 2]),
            record(2, (0, 30), &[(1, Some(1))], &[1]),
            record(3, (11, 20), &[(1, Some(1)), (2, Some(1))], &[]),
        ];
        assert_eq!(check_bank(&records, &BTreeMap::from([(1, 2), (2, 1)])), Ok(()));
    }

    #[test]
    fn lost_updates_skews_stale_reads_and_ghosts_are_found() {
        let lost = [record(1, (0, 9), &[(1, Some(0))], &[1]), record(2, (0, 9), &[(1, Some(0))], &[1])];
        let skew = [
            record(1, (0, 9), &[(1, Some(0)), (2, Some(0))], &[1]),
            record(2, (0, 9), &[(1, Some(0)), (2, Some(0))], &[2]),
        ];
        let stale = [record(1, (0, 9), &[(1, Some(0))], &[1]), record(2, (10, 19), &[(1, Some(0))], &[])];
        let ghost = [record(1, (0, 9), &[(1, Some(7))], &[])];
        for records in [&lost[..], &skew[..], &stale[..], &ghost[..]] {
            assert!(check_bank(records, &BTreeMap::new()).is_err(), "{records:?}");
        }
    }
}
