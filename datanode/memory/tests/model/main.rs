//! Model-based tests of the arena, the indexes and sections. Case counts are small under Miri.

#![allow(clippy::unwrap_used)] // Helpers beside the tests, too, may fail by panicking.

mod arena;
mod index;
mod ordered;
mod scan;
mod section;

use duet_memory::{Arena, ArenaOptions, MemoryBudget, RowHandle, RowHeader};
use proptest::test_runner::Config;

/// Number of random cases: `normal`, or `miri` under Miri.
fn cases(normal: u32, miri: u32) -> Config {
    Config { cases: if cfg!(miri) { miri } else { normal }, failure_persistence: None, ..Config::default() }
}

/// An arena with a budget of its own, large enough for any test.
fn new_arena() -> (MemoryBudget, Arena) {
    let budget = MemoryBudget::with_reserve(64 << 20, 0);
    let max_bytes = if cfg!(miri) { 4 << 20 } else { 64 << 20 };
    let arena = Arena::new(budget.clone(), ArenaOptions::small(max_bytes)).unwrap();
    (budget, arena)
}

fn header(sequence: u64) -> RowHeader {
    RowHeader { epoch: 3, sequence, table_version: 1, state: 0, older: RowHandle::NULL }
}
