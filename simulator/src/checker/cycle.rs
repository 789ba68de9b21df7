//! A graph of transactions: who comes before whom and why, and its shortest cycle.

use crate::queue::Time;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The other one has overwritten what it wrote.
    WriteWrite,
    /// The other one has read what it wrote.
    WriteRead,
    /// The other one has overwritten what it read.
    ReadWrite,
    /// It was answered before the other one began.
    Time,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::WriteWrite => "ww",
            Reason::WriteRead => "wr",
            Reason::ReadWrite => "rw",
            Reason::Time => "time",
        })
    }
}

/// Nodes are transactions, then moments in time; edges lead to what comes later.
#[derive(Debug)]
pub struct Graph {
    transactions: usize,
    later: Vec<BTreeMap<usize, Reason>>,
}

impl Graph {
    /// A graph of so many transactions.
    pub fn new(transactions: usize) -> Graph {
        Graph { transactions, later: vec![BTreeMap::new(); transactions] }
    }

    /// `from` comes before `to`; a transaction does not come before itself.
    pub fn edge(&mut self, from: usize, to: usize, reason: Reason) {
        if from != to {
            self.later[from].entry(to).or_insert(reason);
        }
    }

    /// The order in time as a chain of moments, one for every answer: what was answered leads into it, what begins later
    /// leads out of it. `times` are those of the transactions; an answer at `Time::MAX` never came.
    pub fn order_in_time(&mut self, times: &[(Time, Time)]) {
        let answers = times.iter().enumerate().filter(|(_, (_, answered))| *answered != Time::MAX);
        let mut moments: Vec<(Time, usize)> =
            answers.map(|(index, (_, answered))| (*answered, index)).collect();
        moments.sort_unstable();
        let first = self.later.len();
        for (position, (_, index)) in moments.iter().enumerate() {
            self.later.push(BTreeMap::new());
            self.edge(*index, first + position, Reason::Time);
            if position > 0 {
                self.edge(first + position - 1, first + position, Reason::Time);
            }
        }
        for (index, (began, _)) in times.iter().enumerate() {
            let before = moments.partition_point(|(answered, _)| answered < began);
            if before > 0 {
                self.edge(first + before - 1, index, Reason::Time);
            }
        }
    }

    /// The nodes that no topological order can place, and those that only follow them.
    fn unplaced(&self) -> Vec<usize> {
        let mut before = vec![0usize; self.later.len()];
        for to in self.later.iter().flat_map(BTreeMap::keys) {
            before[*to] += 1;
        }
        let mut free: Vec<usize> = (0..before.len()).filter(|node| before[*node] == 0).collect();
        while let Some(node) = free.pop() {
            for to in self.later[node].keys() {
                before[*to] -= 1;
                if before[*to] == 0 {
                    free.push(*to);
                }
            }
        }
        (0..self.later.len()).filter(|node| before[*node] > 0).collect()
    }

    /// A shortest cycle: transactions in order, each with the reason why it comes before the next one (the last one before the
    /// first); none when there is an order of all.
    pub fn shortest_cycle(&self) -> Option<Vec<(usize, Reason)>> {
        let unplaced = self.unplaced();
        let mut best: Option<Vec<usize>> = None;
        for start in unplaced.iter().copied().filter(|node| *node < self.transactions) {
            let limit = best.as_ref().map_or(usize::MAX, Vec::len);
            if let Some(found) = self.way_back(start, limit) {
                best = Some(found);
            }
        }
        best.map(|cycle| self.explain(&cycle))
    }

    /// The shortest way from a node back to it, if it has fewer than `limit` nodes.
    fn way_back(&self, start: usize, limit: usize) -> Option<Vec<usize>> {
        let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
        let mut queue = VecDeque::from([(start, 1)]);
        while let Some((node, length)) = queue.pop_front() {
            if length >= limit {
                return None;
            }
            for next in self.later[node].keys().copied() {
                if next == start {
                    let mut way = vec![node];
                    while let Some(before) = came_from.get(way.last()?) {
                        way.push(*before);
                    }
                    way.reverse();
                    return Some(way);
                }
                if let std::collections::btree_map::Entry::Vacant(entry) = came_from.entry(next) {
                    entry.insert(node);
                    queue.push_back((next, length + 1));
                }
            }
        }
        None
    }

    /// Leaves the moments out.
    fn explain(&self, cycle: &[usize]) -> Vec<(usize, Reason)> {
        let steps = (0..cycle.len()).map(|index| (cycle[index], cycle[(index + 1) % cycle.len()]));
        let transactions = steps.filter(|(from, _)| *from < self.transactions);
        transactions.map(|(from, to)| (from, self.later[from][&to])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_cycle_is_found_and_explained() {
        let mut graph = Graph::new(5);
        for (from, to) in [(0, 1), (1, 2), (2, 3), (3, 0), (3, 4)] {
            graph.edge(from, to, Reason::WriteWrite);
        }
        assert_eq!(graph.shortest_cycle().map(|cycle| cycle.len()), Some(4));
        graph.edge(2, 1, Reason::ReadWrite);
        assert_eq!(graph.shortest_cycle(), Some(vec![(1, Reason::WriteWrite), (2, Reason::ReadWrite)]));
    }

    #[test]
    fn time_is_part_of_cycles() {
        let mut graph = Graph::new(3);
        graph.edge(1, 0, Reason::ReadWrite);
        assert_eq!(graph.shortest_cycle(), None);
        graph.order_in_time(&[(0, 10), (20, 30), (0, Time::MAX)]);
        assert_eq!(graph.shortest_cycle(), Some(vec![(0, Reason::Time), (1, Reason::ReadWrite)]));
        let mut graph = Graph::new(3);
        graph.edge(1, 0, Reason::ReadWrite);
        graph.order_in_time(&[(0, 10), (10, 30), (0, Time::MAX)]);
        assert_eq!(graph.shortest_cycle(), None, "they have overlapped");
    }
}
