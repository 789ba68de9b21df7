//! The stream of operations of one worker.

use super::{KeyChooser, Mix, Workload};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// What is done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    /// Read all value columns as committed.
    Read,
    /// Write all value columns of an existing row.
    Update,
}

/// One operation on one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Read or update.
    pub kind: OperationKind,
    /// The key, below the number of rows.
    pub key: u64,
    /// Generation of the value that an update writes; 0 for a read.
    pub generation: u64,
}

/// Operations of one worker, in an order that follows from the workload's seed and the worker's number.
#[derive(Debug, Clone)]
pub struct OperationStream {
    random: SmallRng,
    chooser: KeyChooser,
    mix: Mix,
    next_generation: u64,
}

impl OperationStream {
    /// The stream of `worker`, with keys drawn by `chooser` (which belongs to `workload`).
    #[must_use]
    pub fn new(workload: &Workload, chooser: KeyChooser, worker: u32) -> Self {
        let seed = super::mix64(workload.seed ^ super::mix64(u64::from(worker)));
        Self {
            random: SmallRng::seed_from_u64(seed),
            chooser,
            mix: workload.mix,
            next_generation: ((u64::from(worker) + 1) << 40) | 1,
        }
    }

    /// The next operation.
    pub fn next_operation(&mut self) -> Operation {
        let key = self.chooser.next_key(&mut self.random);
        let reads = match self.mix.read {
            0 => false,
            100 => true,
            percent => self.random.random_range(0..100) < percent,
        };
        if reads {
            return Operation { kind: OperationKind::Read, key, generation: 0 };
        }
        let generation = self.next_generation;
        self.next_generation += 1;
        Operation { kind: OperationKind::Update, key, generation }
    }

    /// Replaces `batch` by the next `count` operations; does not allocate once `batch` has the capacity.
    pub fn fill(&mut self, batch: &mut Vec<Operation>, count: usize) {
        batch.clear();
        batch.extend((0..count).map(|_| self.next_operation()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Distribution, ValueShape};

    fn workload(mix: &str) -> Workload {
        Workload {
            rows: 1000,
            shape: ValueShape { columns: 5, column_bytes: 20 },
            distribution: Distribution::Uniform,
            mix: mix.parse().unwrap(),
            seed: 42,
        }
    }

    fn operations(workload: &Workload, worker: u32, count: usize) -> Vec<Operation> {
        let chooser = KeyChooser::new(workload.distribution, workload.rows);
        let mut batch = Vec::new();
        OperationStream::new(workload, chooser, worker).fill(&mut batch, count);
        batch
    }

    #[test]
    fn the_same_seed_gives_the_same_operations_and_workers_differ() {
        let workload = workload("read=50,update=50");
        assert_eq!(operations(&workload, 0, 500), operations(&workload, 0, 500));
        assert_ne!(operations(&workload, 0, 500), operations(&workload, 1, 500));
        let other = Workload { seed: 43, ..workload.clone() };
        assert_ne!(operations(&workload, 0, 500), operations(&other, 0, 500));
    }

    #[test]
    fn the_first_operations_of_a_seed_never_change() {
        // Results of different days are comparable only if the questions are the same.
        let keys: Vec<u64> = operations(&workload("read=100"), 0, 4).iter().map(|it| it.key).collect();
        assert_eq!(keys, operations(&workload("read=100"), 0, 4).iter().map(|it| it.key).collect::<Vec<_>>());
        assert!(keys.iter().all(|key| *key < 1000));
    }

    #[test]
    fn the_mix_is_kept_and_generations_are_unique() {
        let all: Vec<Operation> =
            (0..2).flat_map(|worker| operations(&workload("read=20,update=80"), worker, 10_000)).collect();
        let mut generations: Vec<u64> =
            all.iter().filter(|it| it.kind == OperationKind::Update).map(|it| it.generation).collect();
        let updates = generations.len();
        assert!((15_500..16_500).contains(&updates), "{updates}");
        generations.sort_unstable();
        generations.dedup();
        assert_eq!(generations.len(), updates);
        assert!(generations[0] > 0);
        assert!(operations(&workload("read=100"), 0, 100).iter().all(|it| it.kind == OperationKind::Read));
    }
}
