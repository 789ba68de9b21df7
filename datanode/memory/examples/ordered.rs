//! Measures the ordered index: nanoseconds of CPU per insertion, lookup and step of a range, and bytes per row.
//!
//! `cargo run --release --example ordered -p duet-memory -- [ROWS] [KEYS]`
//!
//! KEYS is `random` or `ascending` (8 bytes), `strings` (a long common prefix, decimals in random order), or `pairs`
//! (two numbers, thirty rows with the same first one); without it all are measured. Prints one JSON line each.

use duet_memory::{
    Arena, ArenaOptions, MemoryBudget, OrderedIndex, Position, PrimaryKeys, Priority, RowHandle, RowHeader,
};
use std::hint::black_box;
use std::time::Duration;

const BATCH: usize = 64;
const LOOKUPS: usize = 2 << 20;
const RANGE_ROWS: usize = 100;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A mixed number (the finaliser of SplitMix64): a permutation of the 64-bit numbers.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The `number`-th key of a kind.
fn key_of(kind: &str, number: u64) -> Vec<u8> {
    match kind {
        "ascending" => number.to_be_bytes().to_vec(),
        "strings" => format!("https://www.example.com/customers/{:020}", mix(number)).into_bytes(),
        "pairs" => [mix(number / 30).to_be_bytes(), mix(number).to_be_bytes()].concat(),
        _ => mix(number).to_be_bytes().to_vec(),
    }
}

/// CPU time of this thread: unlike the wall clock it leaves out what other processes take.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "every thread has a CPU clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Nanoseconds of CPU since `start` per operation.
fn nanoseconds(start: Duration, operations: usize) -> f64 {
    (cpu_time() - start).as_nanos() as f64 / operations as f64
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let rows = arguments.next().map_or(Ok(4_000_000), |text| text.parse::<u64>())?.max(1);
    match arguments.next() {
        Some(kind) => measure(&kind, rows),
        None => {
            ["random", "ascending", "strings", "pairs"].into_iter().try_for_each(|kind| measure(kind, rows))
        }
    }
}

fn measure(kind: &str, rows: u64) -> Outcome<()> {
    let mut arena = Arena::new(MemoryBudget::with_reserve(24 << 30, 0), ArenaOptions::default())?;
    let mut index = OrderedIndex::unique();
    let mut handles = Vec::with_capacity(rows as usize);
    // The rows come in the order of their numbers; `pairs` are inserted in a different one.
    for number in 0..rows {
        let key = key_of(kind, number);
        let header =
            RowHeader { epoch: 1, sequence: number, table_version: 1, state: 0, older: RowHandle::NULL };
        handles.push(arena.allocate_row(&header, &key, &[0x5A; 101], Priority::Normal)?);
    }
    if kind == "pairs" {
        handles.sort_by_cached_key(|row| mix(u64::from(row.to_u32())));
    }
    let key_bytes = arena.key(handles[0]).len();
    let keys: Vec<u8> = handles.iter().flat_map(|&row| arena.key(row)).copied().collect();
    let keys: Vec<&[u8]> = keys.chunks_exact(key_bytes).collect();

    let start = cpu_time();
    let mut worst_bytes = 0_f64;
    for (keys, rows) in keys.chunks(16).zip(handles.chunks(16)) {
        index.prefetch_leaves(&arena, keys);
        for (key, &row) in keys.iter().zip(rows) {
            index.insert(&mut arena, &PrimaryKeys, key, row, Priority::Normal)?;
        }
        if index.len() > 100_000 {
            worst_bytes = worst_bytes.max(index.bytes() as f64 / index.len() as f64);
        }
    }
    let insert_ns = nanoseconds(start, rows as usize);
    let bytes = index.bytes() as f64 / rows as f64;

    // In the order of use, so that only the index and the rows are waited for.
    let order: Vec<u8> =
        (0..LOOKUPS as u64).flat_map(|number| keys[(mix(!number) % rows) as usize].iter().copied()).collect();
    let order: Vec<&[u8]> = order.chunks_exact(key_bytes).collect();
    let start = cpu_time();
    for key in &order {
        black_box(index.find(&arena, &PrimaryKeys, key));
    }
    let find_ns = nanoseconds(start, LOOKUPS);
    let mut found = [None; BATCH];
    let start = cpu_time();
    for batch in order.chunks_exact(BATCH) {
        index.find_batch(&arena, &PrimaryKeys, batch, &mut found);
        assert!(black_box(&mut found).iter().all(Option::is_some));
    }
    let batch_ns = nanoseconds(start, LOOKUPS);

    let start = cpu_time();
    let ranges = LOOKUPS / RANGE_ROWS;
    let mut steps = 0;
    for key in &order[..ranges] {
        let range = index.range(&arena, &PrimaryKeys, Position::Before(key), Position::Last);
        steps += range.take(RANGE_ROWS).fold(0, |steps, row| steps + u64::from(!black_box(row).is_null()));
    }
    let range_ns = nanoseconds(start, ranges);
    let start = cpu_time();
    let all = index.range(&arena, &PrimaryKeys, Position::First, Position::Last);
    steps += all.fold(0, |steps, row| steps + u64::from(!black_box(row).is_null()));
    let step_ns = nanoseconds(start, rows as usize);
    assert!(steps >= rows);

    let start = cpu_time();
    for (keys, rows) in keys.chunks(16).zip(handles.chunks(16)) {
        index.prefetch_leaves(&arena, keys);
        for (key, &row) in keys.iter().zip(rows) {
            assert!(index.remove(&mut arena, &PrimaryKeys, key, row));
        }
    }
    let remove_ns = nanoseconds(start, rows as usize);
    assert_eq!(index.bytes(), 0);
    handles.sort_by(|&left, &right| arena.key(left).cmp(arena.key(right)));
    let start = cpu_time();
    for slice in handles.chunks(1024) {
        index.append(&mut arena, &PrimaryKeys, slice, Priority::Normal)?;
    }
    let append_ns = nanoseconds(start, rows as usize);
    println!(
        "{{\"bench\":\"memory-ordered\",\"keys\":\"{kind}\",\"rows\":{rows},\"insert_ns\":{insert_ns:.1},\
         \"find_ns\":{find_ns:.1},\"find_batch_ns\":{batch_ns:.1},\"range_of_100_ns\":{range_ns:.1},\
         \"step_ns\":{step_ns:.2},\"remove_ns\":{remove_ns:.1},\"append_ns\":{append_ns:.1},\
         \"bytes_per_row\":{bytes:.2},\"worst_bytes_per_row\":{worst_bytes:.2},\
         \"append_bytes_per_row\":{:.2}}}",
        index.bytes() as f64 / rows as f64
    );
    Ok(())
}
