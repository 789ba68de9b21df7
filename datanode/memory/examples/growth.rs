//! How long the owner of an arena waits for memory while rows are inserted at a steady rate, with and without a [`MemoryPreparer`]:
//! `cargo run --release -p duet-memory --example growth`. Every line is of an arena of its own.

#![allow(clippy::disallowed_methods)] // A benchmark reads the clock.

use duet_memory::{
    Arena, ArenaOptions, HashIndex, MemoryBudget, MemoryPreparer, Priority, RowHandle, RowHeader,
};
use std::time::{Duration, Instant};

const ROWS: u64 = 1_000_000;
const BATCH: u64 = 100;
const ROWS_PER_SECOND: u64 = 250_000;

fn hash(key: &[u8]) -> u64 {
    key.try_into()
        .map_or(0, |key| u64::from_le_bytes(key).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "{ROWS} rows of 8 + 100 bytes, {BATCH} at a time, {ROWS_PER_SECOND} per second; microseconds of a batch"
    );
    for round in 1..=3 {
        for (name, preparer) in [("alone", None), ("prepared", Some(MemoryPreparer::start(8 << 20)?))] {
            let options = ArenaOptions { preparer, ..ArenaOptions::default() };
            let mut arena = Arena::new(MemoryBudget::new(2 << 30), options)?;
            let mut index = HashIndex::new(hash);
            let mut times = Vec::new();
            let start = Instant::now();
            for batch in 0..ROWS / BATCH {
                std::thread::sleep(
                    Duration::from_micros(batch * BATCH * 1_000_000 / ROWS_PER_SECOND)
                        .saturating_sub(start.elapsed()),
                );
                let begun = Instant::now();
                for key in batch * BATCH..(batch + 1) * BATCH {
                    let key = key.to_le_bytes();
                    let header = RowHeader {
                        epoch: 1,
                        sequence: 1,
                        table_version: 1,
                        state: 0,
                        older: RowHandle::NULL,
                    };
                    let row = arena.allocate_row(&header, &key, &[0x5a; 100], Priority::Normal)?;
                    index.insert(&mut arena, hash(&key), row, Priority::Normal)?;
                }
                times.push(begun.elapsed().as_micros());
            }
            times.sort_unstable();
            let at = |share: f64| times[(times.len() as f64 * share) as usize];
            println!(
                "round {round}, {name:>8}: p50 {:>5}, p99 {:>5}, p99.9 {:>5}, max {:>5}",
                at(0.5),
                at(0.99),
                at(0.999),
                times[times.len() - 1]
            );
        }
    }
    Ok(())
}
