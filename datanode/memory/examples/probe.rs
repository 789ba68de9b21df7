//! Measures the hash index: nanoseconds of a batched lookup with the copy of the value, and bytes per row.
//!
//! `cargo run --release --example probe -p duet-memory -- [ROWS] [VALUE_BYTES] [ROUNDS]`
//!
//! Keys of 8 bytes are uniform; a batch is 128 lookups. Prints one line per round and one JSON line.

#![allow(clippy::disallowed_methods)] // A benchmark reads the clock.

use duet_memory::{Arena, ArenaOptions, HashIndex, MemoryBudget, Priority, Probe, RowHandle, RowHeader};
use std::hint::black_box;
use std::time::Instant;

const BATCH: usize = 128;
const LOOKUPS: usize = 4 << 20;

fn hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// The next number of a SplitMix64 sequence.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next_number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
    let rows = next_number(4_000_000)?.max(1);
    let value_bytes = next_number(101)?.max(1) as usize;
    let rounds = next_number(5)?.max(1) as usize;

    let budget = MemoryBudget::with_reserve(24 << 30, 0);
    let mut arena = Arena::new(budget.clone(), ArenaOptions::default())?;
    let mut index = HashIndex::new(hash);
    let value = vec![0x5A; value_bytes];
    let start = Instant::now();
    for number in 0..rows {
        let key = number.to_be_bytes();
        let header =
            RowHeader { epoch: 1, sequence: number, table_version: 1, state: 0, older: RowHandle::NULL };
        let row = arena.allocate_row(&header, &key, &value, Priority::Normal)?;
        index.insert(&mut arena, hash(&key), row, Priority::Normal)?;
    }
    let load_ns = start.elapsed().as_nanos() as f64 / rows as f64;
    let bytes_per_row = budget.used_bytes() as f64 / rows as f64;
    let index_bytes_per_row = index.bytes() as f64 / rows as f64;

    let mut state = 42;
    let keys: Vec<[u8; 8]> = (0..LOOKUPS).map(|_| (next_random(&mut state) % rows).to_be_bytes()).collect();
    let mut reply = vec![0_u8; BATCH * value_bytes];
    let mut samples = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let start = Instant::now();
        for batch in keys.chunks_exact(BATCH) {
            look_up(&arena, &index, batch, &mut reply, value_bytes);
            black_box(&mut reply);
        }
        let lookup_ns = start.elapsed().as_nanos() as f64 / LOOKUPS as f64;
        println!("round {round}: {lookup_ns:.1} ns per lookup");
        samples.push(lookup_ns);
    }
    samples.sort_by(f64::total_cmp);
    println!(
        "{{\"bench\":\"memory-probe\",\"rows\":{rows},\"value_bytes\":{value_bytes},\"batch\":{BATCH},\
         \"lookup_ns_min\":{:.1},\"lookup_ns_median\":{:.1},\"load_ns\":{load_ns:.1},\
         \"bytes_per_row\":{bytes_per_row:.2},\"index_bytes_per_row\":{index_bytes_per_row:.2}}}",
        samples[0],
        samples[rounds / 2],
    );
    Ok(())
}

/// Looks a batch up in four passes and copies the values into `reply`.
#[inline(never)]
fn look_up(arena: &Arena, index: &HashIndex, batch: &[[u8; 8]], reply: &mut [u8], value_bytes: usize) {
    let hashes: [u64; BATCH] = std::array::from_fn(|place| {
        let hash = hash(&batch[place]);
        index.prefetch_bucket(arena, hash);
        hash
    });
    let mut probes: [Probe; BATCH] = std::array::from_fn(|place| index.prefetch_row(arena, hashes[place]));
    for (probe, &hash) in probes.iter_mut().zip(&hashes) {
        index.prefetch_overflow(arena, hash, probe);
    }
    for (place, target) in reply.chunks_exact_mut(value_bytes).enumerate() {
        let row = index.find_probed(arena, hashes[place], &batch[place], probes[place]);
        target.copy_from_slice(arena.row(row.expect("every key was loaded")).value);
    }
}
