//! Lists to which transactions append: strict serializability of those that lock what they touch, and read committed for reads
//! without locks.
//!
//! Every transaction appends its own number, to some lists, and has read, under locks, all lists that it touches. A list
//! tells the order of those who wrote it, so the graph of dependencies is known wholly (Elle, Kingsbury and Alvaro, VLDB
//! 2020): who wrote after whom, who read whose write, whose read was overwritten by whom, who was answered before whom
//! began. Serializable means: no cycle.

use crate::checker::cycle::{Graph, Reason};
use crate::history::Violation;
use crate::queue::Time;
use std::collections::{BTreeMap, BTreeSet};

/// A transaction that did not roll back for certain.
#[derive(Clone, Debug)]
pub struct AppendRecord {
    /// Its number, which it appends; different for every transaction.
    pub number: u64,
    /// When it began.
    pub invoked: Time,
    /// When it was known to be committed; `Time::MAX` while that is unknown.
    pub responded: Time,
    /// Lists read under locks, as they were before it appended.
    pub reads: BTreeMap<u64, Vec<u64>>,
    /// Lists that it appended to.
    pub appends: BTreeSet<u64>,
}

/// A list that was read without a lock.
#[derive(Clone, Debug)]
pub struct UnlockedRead {
    /// The list.
    pub key: u64,
    /// When it was asked for.
    pub invoked: Time,
    /// When it came.
    pub responded: Time,
    /// What it was.
    pub items: Vec<u64>,
}

/// Judges the transactions, the unlocked reads, and the lists at the end, where they could be read.
///
/// # Errors
/// The first violation.
pub fn check_appends(
    records: &[AppendRecord],
    unlocked: &[UnlockedRead],
    last: Option<&BTreeMap<u64, Vec<u64>>>,
) -> Result<(), Violation> {
    let known: BTreeMap<u64, usize> =
        (0..).map(|index| (records[index].number, index)).take(records.len()).collect();
    if known.len() < records.len() {
        return Err(Violation::new("numbers of transactions differ", "one came twice"));
    }
    let orders = orders(records, unlocked, last)?;
    for (key, order) in &orders {
        check_writers(records, &known, *key, order)?;
    }
    check_atomicity(records, &orders, last.is_some())?;
    check_unlocked(records, unlocked, &orders)?;
    let mut graph = Graph::new(records.len());
    for (key, order) in &orders {
        let writer = |position: usize| order.get(position).map(|number| known[number]);
        for position in 1..order.len() {
            if let (Some(before), Some(after)) = (writer(position - 1), writer(position)) {
                graph.edge(before, after, Reason::WriteWrite);
            }
        }
        for (index, record) in records.iter().enumerate() {
            let Some(seen) = record.reads.get(key) else { continue };
            if let Some(before) = seen.len().checked_sub(1).and_then(writer) {
                graph.edge(before, index, Reason::WriteRead);
            }
            if let Some(after) = writer(seen.len()) {
                graph.edge(index, after, Reason::ReadWrite);
            }
        }
    }
    let times: Vec<(Time, Time)> = records.iter().map(|record| (record.invoked, record.responded)).collect();
    graph.order_in_time(&times);
    let Some(cycle) = graph.shortest_cycle() else { return Ok(()) };
    let mut steps = Vec::new();
    for (index, reason) in &cycle {
        let AppendRecord { number, invoked, responded, reads, appends } = &records[*index];
        let lengths: Vec<String> =
            reads.iter().map(|(key, items)| format!("{key}[{}]", items.len())).collect();
        let lengths = lengths.join(" ");
        let text = format!("{number} (read {lengths}, appended to {appends:?}, {invoked} to {responded})");
        steps.push(format!("{text} -{reason}->"));
    }
    Err(Violation::new("locked transactions are serializable", format!("a cycle: {}", steps.join(" "))))
}

/// The order of each list: the longest one seen. All others begin it.
fn orders<'a>(
    records: &'a [AppendRecord],
    unlocked: &'a [UnlockedRead],
    last: Option<&'a BTreeMap<u64, Vec<u64>>>,
) -> Result<BTreeMap<u64, &'a [u64]>, Violation> {
    let locked = records.iter().flat_map(|record| &record.reads).map(|(key, items)| (*key, &items[..]));
    let others = unlocked.iter().map(|read| (read.key, &read.items[..]));
    let at_end = last.into_iter().flatten().map(|(key, items)| (*key, &items[..]));
    let mut orders: BTreeMap<u64, &[u64]> = BTreeMap::new();
    for (key, items) in locked.chain(others).chain(at_end) {
        let order = orders.entry(key).or_insert(items);
        let (short, long) = if items.len() < order.len() { (items, *order) } else { (*order, items) };
        if !long.starts_with(short) {
            let at = short.iter().zip(long).position(|(one, other)| one != other).unwrap_or(0);
            let detail = format!("list {key} was seen with {} and with {} at {at}", short[at], long[at]);
            return Err(Violation::new("the order of a list is one", detail));
        }
        *order = long;
    }
    if let Some(last) = last {
        for (key, order) in &orders {
            if last.get(key).map_or(0, Vec::len) < order.len() {
                let detail = format!("list {key} was longer before the end");
                return Err(Violation::new("what was read stays", detail));
            }
        }
    }
    Ok(orders)
}

/// Every number in a list is there once, and comes from a transaction that appended it and was not rolled back.
fn check_writers(
    records: &[AppendRecord],
    known: &BTreeMap<u64, usize>,
    key: u64,
    order: &[u64],
) -> Result<(), Violation> {
    let mut seen = BTreeSet::new();
    for number in order {
        let writer = known.get(number).map(|index| &records[*index]);
        if !writer.is_some_and(|writer| writer.appends.contains(&key)) {
            let detail = format!(
                "list {key} shows {number} of a transaction that rolled back or did not append to it"
            );
            return Err(Violation::new("nothing is read that was rolled back", detail));
        }
        if !seen.insert(number) {
            return Err(Violation::new("nothing is appended twice", format!("{number} to list {key}")));
        }
    }
    Ok(())
}

/// Transactions are in all lists that they appended to, or in none and then not committed. Where the lists at the end are
/// not known only what was seen counts.
fn check_atomicity(
    records: &[AppendRecord],
    orders: &BTreeMap<u64, &[u64]>,
    at_end: bool,
) -> Result<(), Violation> {
    let sets: BTreeMap<u64, BTreeSet<u64>> =
        orders.iter().map(|(key, order)| (*key, order.iter().copied().collect())).collect();
    if !at_end {
        return Ok(());
    }
    for record in records {
        let is_in = |key: &&u64| sets.get(*key).is_some_and(|set| set.contains(&record.number));
        let count = record.appends.iter().filter(is_in).count();
        let whole = count == record.appends.len();
        if !whole && (count > 0 || record.responded != Time::MAX) {
            let detail = format!("{} is in {count} of the lists {:?}", record.number, record.appends);
            return Err(Violation::new("transactions happen wholly or not at all", detail));
        }
    }
    Ok(())
}

/// Read committed: a read without locks sees whatever was answered as committed before it was asked for.
fn check_unlocked(
    records: &[AppendRecord],
    unlocked: &[UnlockedRead],
    orders: &BTreeMap<u64, &[u64]>,
) -> Result<(), Violation> {
    let responded: BTreeMap<u64, Time> =
        records.iter().map(|record| (record.number, record.responded)).collect();
    for read in unlocked {
        let missed =
            orders.get(&read.key).and_then(|order| order.get(read.items.len()..)).unwrap_or_default();
        if let Some(number) = missed.iter().find(|number| responded[number] < read.invoked) {
            let detail = format!(
                "list {} was read from {} to {} without {number}, which was committed before",
                read.key, read.invoked, read.responded
            );
            return Err(Violation::new("reads without locks see what is committed", detail));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64, times: (Time, Time), reads: &[(u64, &[u64])], appends: &[u64]) -> AppendRecord {
        AppendRecord {
            number,
            invoked: times.0,
            responded: times.1,
            reads: reads.iter().map(|(key, items)| (*key, items.to_vec())).collect(),
            appends: appends.iter().copied().collect(),
        }
    }

    fn lists(lists: &[(u64, &[u64])]) -> BTreeMap<u64, Vec<u64>> {
        lists.iter().map(|(key, items)| (*key, items.to_vec())).collect()
    }

    #[test]
    fn an_order_is_found_where_there_is_one() {
        let records = [
            record(1, (0, 10), &[(7, &[]), (8, &[])], &[7, 8]),
            record(2, (5, 20), &[(7, &[1])], &[7]),
            record(3, (21, 30), &[(7, &[1, 2]), (8, &[1])], &[]),
            record(4, (0, Time::MAX), &[(8, &[1])], &[8]),
        ];
        let unlocked = [UnlockedRead { key: 7, invoked: 11, responded: 12, items: vec![1] }];
        assert_eq!(check_appends(&records, &unlocked, Some(&lists(&[(7, &[1, 2]), (8, &[1])]))), Ok(()));
        assert_eq!(check_appends(&records, &unlocked, None), Ok(()));
    }

    #[test]
    fn each_anomaly_is_found() {
        let skew =
            [record(1, (0, 9), &[(7, &[]), (8, &[])], &[7]), record(2, (0, 9), &[(7, &[]), (8, &[])], &[8])];
        let lost = [record(1, (0, 9), &[(7, &[])], &[7]), record(2, (0, 9), &[(7, &[])], &[7])];
        let stale = [record(1, (0, 9), &[(7, &[])], &[7]), record(2, (10, 19), &[(7, &[])], &[])];
        let half = [record(1, (0, 9), &[(7, &[]), (8, &[])], &[7, 8])];
        let ghost = [record(1, (0, 9), &[(7, &[5])], &[])];
        let found = |records: &[AppendRecord], last: &[(u64, &[u64])]| {
            let violation = check_appends(records, &[], Some(&lists(last))).expect_err("an anomaly");
            (violation.check, violation.detail)
        };
        let serializable = "locked transactions are serializable";
        let (check, detail) = found(&skew, &[(7, &[1]), (8, &[2])]);
        assert_eq!(check, serializable);
        assert_eq!(detail.matches("-rw->").count(), 2, "{detail}");
        assert_eq!(found(&lost, &[(7, &[1, 2])]).0, serializable);
        assert_eq!(found(&lost, &[(7, &[2])]).0, "transactions happen wholly or not at all");
        assert_eq!(found(&stale, &[(7, &[1])]).0, serializable);
        assert_eq!(found(&half, &[(7, &[1])]).0, "transactions happen wholly or not at all");
        assert_eq!(found(&ghost, &[(7, &[5])]).0, "nothing is read that was rolled back");
        assert_eq!(found(&stale, &[]).0, "transactions happen wholly or not at all");
    }

    #[test]
    fn unlocked_reads_are_judged() {
        let records = [record(1, (0, 9), &[(7, &[])], &[7]), record(2, (0, 9), &[(7, &[1])], &[7])];
        let last = lists(&[(7, &[1, 2])]);
        let read =
            |invoked, items: &[u64]| [UnlockedRead { key: 7, invoked, responded: 99, items: items.to_vec() }];
        assert_eq!(check_appends(&records, &read(8, &[1]), Some(&last)), Ok(()));
        assert!(check_appends(&records, &read(10, &[1]), Some(&last)).is_err());
        assert!(check_appends(&records, &read(8, &[2]), Some(&last)).is_err());
    }
}
