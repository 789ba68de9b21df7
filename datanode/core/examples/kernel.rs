//! CPU time per operation inside the kernels, without sockets: committed reads and two-replica updates, 128 in flight.
//!
//! `cargo run --release -p duet-datanode-core --example kernel -- [rows]`

#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

#[allow(dead_code)]
#[path = "../tests/it/network.rs"]
mod network;

/// The nodes are one kernel each.
const PARTS: Option<(usize, usize)> = None;

use duet_protocol::frame::{Envelope, FrameBuilder};
use duet_protocol::ids::TransactionId;
use duet_protocol::signal::Sections;
use duet_protocol::signal::open_session::OpenSession;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::session_opened::SessionOpened;
use duet_protocol::signal::write::{OPERATION_UPSERT, Write};
use network::{CLUSTER, Network, TABLE, row, write};
use std::time::Instant;

const BATCH: u64 = 128;

fn main() {
    let rows: i64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let mut network = Network::with_memory(4 << 30, 0);
    let links = [network.client_link(0), network.client_link(1)];
    let session = network.ask(0, links[0], &OpenSession::default(), Sections::none()).body::<SessionOpened>();
    let session = session.session.get();
    let name = "x".repeat(85);
    let mut transaction = TransactionId { session, seq: 0 };
    let mut run = |network: &mut Network, updates: bool, operations: u64, key_of: &dyn Fn(u64) -> i64| {
        let mut builders = [FrameBuilder::new(), FrameBuilder::new()];
        let envelope = Envelope { cluster_id: CLUSTER, ..Envelope::default() };
        let (mut busy, mut done) = (std::time::Duration::ZERO, 0u64);
        while done < operations {
            let oldest = transaction.seq;
            for _ in 0..BATCH {
                let (key, value) = row(key_of(done), done as i64, &name);
                let node = network.leader(&key);
                if updates {
                    transaction.seq += 1;
                    let body =
                        Write { resolved_below: oldest.into(), ..write(OPERATION_UPSERT, transaction) };
                    builders[node].push(0, done, &body, Sections::two(&key, &value));
                } else {
                    let body = Read { table: TABLE.into(), table_version: 1.into(), flags: 0.into() };
                    builders[node].push(0, done, &body, Sections::one(&key));
                }
                done += 1;
            }
            for (node, builder) in builders.iter_mut().enumerate() {
                if let Some(frame) = builder.seal(&envelope) {
                    let started = Instant::now();
                    network.kernels[node].frame(network.now, links[node], frame);
                    network.kernels[node].flush(network.now);
                    busy += started.elapsed();
                    network.after(node);
                }
                builder.clear();
            }
            let started = Instant::now();
            network.deliver();
            if updates {
                busy += started.elapsed();
            }
            let answers: usize = (0..2).map(|node| network.take(node, links[node]).len()).sum();
            assert_eq!(answers as u64, BATCH);
        }
        busy.as_nanos() as f64 / operations as f64
    };
    let load = run(&mut network, true, rows as u64, &|done| done as i64);
    println!("load      {load:7.1} ns per row, both kernels and the test network");
    let scramble = |done: u64| (done.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as i64 % rows;
    for _ in 0..3 {
        let reads = run(&mut network, false, 1_000_000, &scramble);
        println!("reads     {reads:7.1} ns per operation");
        let updates = run(&mut network, true, 1_000_000, &scramble);
        println!("updates   {updates:7.1} ns per operation, both kernels and the test network");
    }
    let counters = network.kernels[0].counters();
    println!("memory    {:7.1} bytes per row", counters.memory_used_bytes as f64 / counters.rows as f64);
}
