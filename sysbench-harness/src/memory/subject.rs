//! A table in one arena, as one thread of a data node owns it.

use crate::workload::{KEY_BYTES, mix64};
use anyhow::{Context, Result, ensure};
use duet_memory::{
    Arena, ArenaOptions, HashIndex, MemoryBudget, OrderedIndex, PrimaryKeys, Priority, Probe, RowHandle,
    RowHeader,
};

/// Bytes of a row's value as a data node keeps it: five columns of 20 bytes behind a byte of null bits.
pub(super) const VALUE_BYTES: usize = 101;
/// Where in the value its key is repeated, so that every lookup can be checked.
const CHECK: std::ops::Range<usize> = 1..1 + KEY_BYTES;
/// Memory that is allowed: more than any configuration needs.
const BUDGET_BYTES_PER_ROW: u64 = 512;
const BUDGET_BYTES: u64 = 1 << 30;

/// How a subject is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configuration {
    /// Whether the arena asks for pages of 2 MiB.
    pub huge_pages: bool,
    /// Indexes that the rows are spread over.
    pub fragments: usize,
    /// Whether each fragment also has an ordered index of its keys, which are random numbers then.
    pub ordered: bool,
}

/// Rows in an arena, spread over fragments with an index each.
pub(super) struct Subject {
    budget: MemoryBudget,
    arena: Arena,
    indexes: Vec<HashIndex>,
    /// None, or as many as there are hash indexes.
    ordered: Vec<OrderedIndex>,
    value: [u8; VALUE_BYTES],
}

fn hash_bytes(key: &[u8]) -> u64 {
    key.try_into().map_or(0, |key| mix64(u64::from_ne_bytes(key)))
}

impl Subject {
    /// Empty, with room for so many rows.
    pub(super) fn new(configuration: Configuration, rows: u64) -> Result<Self> {
        let budget = MemoryBudget::with_reserve(BUDGET_BYTES + rows * BUDGET_BYTES_PER_ROW, 0);
        let options = ArenaOptions { huge_pages: configuration.huge_pages, ..ArenaOptions::default() };
        let arena = Arena::new(budget.clone(), options).context("no addresses for an arena")?;
        let indexes = (0..configuration.fragments).map(|_| HashIndex::new(hash_bytes)).collect();
        let fragments = if configuration.ordered { configuration.fragments } else { 0 };
        let ordered = (0..fragments).map(|_| OrderedIndex::unique()).collect();
        Ok(Self { budget, arena, indexes, ordered, value: [0x5a; VALUE_BYTES] })
    }

    /// The key of a number: itself, or a random number where an ordered index must not profit from their order.
    #[inline(always)]
    fn key(&self, number: u64) -> u64 {
        if self.ordered.is_empty() { number } else { mix64(!number) }
    }

    /// The highest bits of a hash take no part in the index, so they choose the fragment.
    #[inline(always)]
    fn fragment(&self, hash: u64) -> usize {
        ((hash >> 48) as usize * self.indexes.len()) >> 16
    }

    /// Adds the row of a number that has none.
    pub(super) fn insert(&mut self, number: u64) -> Result<()> {
        let key = self.key(number);
        let hash = mix64(key);
        let fragment = self.fragment(hash);
        let key = key.to_le_bytes();
        self.value[CHECK].copy_from_slice(&key);
        let header = RowHeader { epoch: 1, sequence: 1, table_version: 1, state: 0, older: RowHandle::NULL };
        let row = self.arena.allocate_row(&header, &key, &self.value, Priority::Normal)?;
        self.indexes[fragment].insert(&mut self.arena, hash, row, Priority::Normal)?;
        if let Some(ordered) = self.ordered.get_mut(fragment) {
            ordered.insert(&mut self.arena, &PrimaryKeys, &key, row, Priority::Normal)?;
        }
        Ok(())
    }

    /// Removes the row of a number.
    pub(super) fn remove(&mut self, number: u64) -> Result<()> {
        let key = self.key(number);
        let hash = mix64(key);
        let fragment = self.fragment(hash);
        let row = self.indexes[fragment].find(&self.arena, hash, &key.to_le_bytes());
        let row = row.with_context(|| format!("key {key} has no row"))?;
        ensure!(self.indexes[fragment].remove(&mut self.arena, hash, row), "key {key} is not in its index");
        if let Some(ordered) = self.ordered.get_mut(fragment) {
            let is_removed = ordered.remove(&mut self.arena, &PrimaryKeys, &key.to_le_bytes(), row);
            ensure!(is_removed, "key {key} is not in its ordered index");
        }
        self.arena.free_versions(row);
        Ok(())
    }

    /// Bytes taken from the budget, per row: rows, buckets and what is not used of their pages.
    pub(super) fn bytes_per_row(&self) -> f64 {
        self.budget.used_bytes() as f64 / self.rows().max(1) as f64
    }

    /// Bytes of all buckets, and of the nodes of ordered indexes, per row.
    pub(super) fn index_bytes_per_row(&self) -> f64 {
        let hashed: u64 = self.indexes.iter().map(HashIndex::bytes).sum();
        let ordered: u64 = self.ordered.iter().map(OrderedIndex::bytes).sum();
        (hashed + ordered) as f64 / self.rows().max(1) as f64
    }

    fn rows(&self) -> u64 {
        self.indexes.iter().map(HashIndex::len).sum()
    }

    /// Looks up keys one after the other, and copies their values into `reply`.
    #[inline(never)]
    pub(super) fn look_up_one_by_one(&self, keys: &[u64], reply: &mut [u8]) -> Result<()> {
        for (number, target) in keys.iter().zip(reply.chunks_exact_mut(VALUE_BYTES)) {
            let key = self.key(*number);
            let hash = mix64(key);
            let row = self.indexes[self.fragment(hash)].find(&self.arena, hash, &key.to_le_bytes());
            self.copy(key, row, target)?;
        }
        Ok(())
    }

    /// Looks up keys in stages, each for all of them before the next, and copies their values into `reply`.
    #[inline(never)]
    pub(super) fn look_up_in_stages(
        &self,
        keys: &[u64],
        probes: &mut Vec<(u64, usize, Probe)>,
        reply: &mut [u8],
    ) -> Result<()> {
        for number in keys {
            let hash = mix64(self.key(*number));
            self.indexes[self.fragment(hash)].prefetch_bucket(&self.arena, hash);
        }
        probes.clear();
        probes.extend(keys.iter().map(|number| {
            let hash = mix64(self.key(*number));
            let fragment = self.fragment(hash);
            (hash, fragment, self.indexes[fragment].prefetch_row(&self.arena, hash))
        }));
        for (hash, fragment, probe) in probes.iter_mut() {
            self.indexes[*fragment].prefetch_overflow(&self.arena, *hash, probe);
        }
        let found = keys.iter().zip(probes.iter()).zip(reply.chunks_exact_mut(VALUE_BYTES));
        for ((number, (hash, fragment, probe)), target) in found {
            let key = self.key(*number);
            let index = &self.indexes[*fragment];
            self.copy(key, index.find_probed(&self.arena, *hash, &key.to_le_bytes(), *probe), target)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn copy(&self, key: u64, row: Option<RowHandle>, target: &mut [u8]) -> Result<()> {
        let row = row.with_context(|| format!("key {key} has no row"))?;
        target.copy_from_slice(self.arena.value(row));
        ensure!(target[CHECK] == key.to_le_bytes(), "key {key} has the row of another key");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_find_every_row_in_every_fragment() {
        for (fragments, ordered) in [(1, false), (3, false), (8, true)] {
            let configuration = Configuration { huge_pages: false, fragments, ordered };
            let mut subject = Subject::new(configuration, 5_000).unwrap();
            (0..5_000).for_each(|key| subject.insert(key).unwrap());
            subject.remove(7).unwrap();
            assert!(subject.indexes.iter().all(|index| index.len() > 300), "{fragments}");
            assert!(subject.bytes_per_row() > subject.index_bytes_per_row());
            let keys: Vec<u64> = (0..5_000).filter(|key| *key != 7).collect();
            let mut reply = vec![0; keys.len() * VALUE_BYTES];
            let mut probes = Vec::new();
            subject.look_up_in_stages(&keys, &mut probes, &mut reply).unwrap();
            subject.look_up_one_by_one(&keys, &mut reply).unwrap();
            assert!(subject.look_up_in_stages(&[7], &mut probes, &mut reply).is_err());
            assert!(subject.look_up_one_by_one(&[7], &mut reply).is_err());
            assert!(subject.remove(7).is_err());
        }
    }
}
