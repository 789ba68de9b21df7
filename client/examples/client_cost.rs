//! What one operation costs in a client, with its system calls: CPU time of the client's thread by the kernel's
//! scheduler accounting, against nodes that answer without looking anything up.
//! `cargo run --release -p duet-client --example client_cost [part of a name]`

#[path = "../core/tests/fake/mod.rs"]
mod fake;

use duet_client::{
    Batch, Client, ColumnType, EncodedKey, Expectation, Table, TableDefinition, Value, blocking,
};
use duet_protocol::frame::{Envelope, FrameBuilder, FrameView, announced_length};
use duet_protocol::ids::Instance;
use duet_protocol::signal::Sections;
use duet_protocol::signal::read::Read as ReadSignal;
use duet_protocol::signal::read_reply::ReadReply;
use duet_protocol::signal::write::Write as WriteSignal;
use duet_protocol::signal::write_reply::WriteReply;
use fake::{FakeCluster, Process};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const OPERATIONS: usize = 128;
const SECONDS: u64 = 2;

fn definition() -> TableDefinition {
    TableDefinition::builder("bench", "rows")
        .required("id", ColumnType::BigInt)
        .required("value", ColumnType::Binary { bytes: 100 })
        .primary_key(["id"])
        .build()
        .expect("valid")
}

/// CPU time of this thread; wall time where the kernel does not tell.
fn cpu(start: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split(' ').next().and_then(|number| number.parse().ok()));
    nanoseconds.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn serve(process: Process, mut stream: TcpStream, cluster: &Mutex<FakeCluster>) {
    stream.set_nodelay(true).expect("a socket");
    let mut greeted = false;
    let mut buffer = vec![0; 1 << 20];
    let mut end = 0;
    let value = [7_u8; 101];
    let mut builder = FrameBuilder::new();
    let mut answers = Vec::new();
    loop {
        let mut start = 0;
        answers.clear();
        while let Some(length) = announced_length(&buffer[start..end], 1 << 20).expect("frames") {
            if end - start < length {
                break;
            }
            let bytes = &buffer[start..start + length];
            start += length;
            let frame = FrameView::new_checked(bytes).expect("valid");
            let mut answered = true;
            for signal in frame.signals() {
                if signal.body::<ReadSignal>().is_some() {
                    let body = ReadReply {
                        table_version: 1.into(),
                        epoch: 5.into(),
                        seq: 9.into(),
                        ..Default::default()
                    };
                    builder.push(0, signal.request_id(), &body, Sections::one(&value));
                } else if signal.body::<WriteSignal>().is_some() {
                    let body = WriteReply { epoch: 5.into(), seq: 9.into(), ..Default::default() };
                    builder.push(0, signal.request_id(), &body, Sections::none());
                } else {
                    answered = false;
                }
            }
            if answered {
                let Process::Node(node) = process else { panic!("management nodes hold no rows") };
                let sender = Instance { node, incarnation: 1 };
                builder.seal(&Envelope { cluster_id: 77, sender, view: 1, epoch: 5, ..Envelope::default() });
                builder.drain_into(&mut answers);
            } else {
                builder.clear();
                cluster.lock().expect("no panic").frame(process, &mut greeted, bytes, &mut answers);
            }
        }
        buffer.copy_within(start..end, 0);
        end -= start;
        if !answers.is_empty() && stream.write_all(&answers).is_err() {
            return;
        }
        match stream.read(&mut buffer[end..]) {
            Ok(length) if length > 0 => end += length,
            Ok(_) | Err(_) => return,
        }
    }
}

fn start() -> String {
    let processes = [Process::Management(1), Process::Node(1), Process::Node(2)];
    let listeners =
        processes.map(|process| (process, TcpListener::bind("127.0.0.1:0").expect("a free port")));
    let addresses: Vec<(Process, String)> = listeners
        .iter()
        .map(|(process, listener)| (*process, listener.local_addr().expect("bound").to_string()))
        .collect();
    let address = |process: Process| {
        addresses
            .iter()
            .find(|(known, _)| *known == process)
            .map(|(_, address)| address.clone())
            .expect("known")
    };
    let mut cluster = FakeCluster::new(2, 1, address);
    cluster.add_table(definition());
    let cluster = Arc::new(Mutex::new(cluster));
    for (process, listener) in listeners {
        let cluster = Arc::clone(&cluster);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let cluster = Arc::clone(&cluster);
                std::thread::spawn(move || serve(process, stream, &cluster));
            }
        });
    }
    addresses[0].1.clone()
}

fn fill(batch: &mut Batch, table: &Table, keys: &[Vec<u8>], next: &mut usize, count: usize, write: bool) {
    batch.clear();
    for _ in 0..count {
        let key = &keys[*next % keys.len()];
        *next += 1;
        if write {
            batch.update_program(table, key, &[], Expectation::Any).expect("fits");
        } else {
            batch.read(table, &EncodedKey(key)).expect("fits");
        }
    }
}

fn report(name: &str, operations: usize, spent: Duration, wall: Duration) {
    println!(
        "{name:44} {:7.3} us of client CPU per operation, {:8.2} us of time each",
        spent.as_nanos() as f64 / operations as f64 / 1_000.0,
        wall.as_nanos() as f64 / operations as f64 / 1_000.0,
    );
}

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    let seed = start();
    let mut client = blocking::Client::connect(&seed).expect("the fake answers");
    let table = client.table("bench.rows").expect("known");
    let keys: Vec<Vec<u8>> = (0..4_000_000_i64)
        .step_by(61)
        .map(|id| {
            let mut key = Vec::new();
            table.layout().encode_key(&[Value::Int(id)], &mut key).expect("fits");
            key
        })
        .collect();
    let mut next = 0;
    let mut batch = Batch::new();
    for (name, count, write) in [
        ("blocking, batches of 128 reads", OPERATIONS, false),
        ("blocking, batches of 128 writes", OPERATIONS, true),
        ("blocking, single reads", 1, false),
    ] {
        if !name.contains(&only) {
            continue;
        }
        let (begin, spent) = (Instant::now(), cpu(Instant::now()));
        let mut operations = 0;
        while begin.elapsed() < Duration::from_secs(SECONDS) {
            for _ in 0..64 {
                fill(&mut batch, &table, &keys, &mut next, count, write);
                client.execute(&mut batch);
                assert_eq!(batch.error_count(), 0);
                operations += count;
            }
        }
        report(name, operations, cpu(begin) - spent, begin.elapsed());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(asynchronous(&seed, keys, &only));
}

async fn asynchronous(seed: &str, keys: Vec<Vec<u8>>, only: &str) {
    let client = Client::connect(seed).await.expect("the fake answers");
    let table = client.table("bench.rows").await.expect("known");
    let keys = Arc::new(keys);
    for (name, count, write, callers) in [
        ("async, 1 caller, batches of 128 reads", OPERATIONS, false, 1),
        ("async, 1 caller, batches of 128 writes", OPERATIONS, true, 1),
        ("async, 64 callers, single reads", 1, false, 64),
        ("async, 64 callers, single writes", 1, true, 64),
        ("async, 1 caller, single reads", 1, false, 1),
    ] {
        if !name.contains(only) {
            continue;
        }
        let (begin, spent) = (Instant::now(), cpu(Instant::now()));
        let callers: Vec<_> = (0..callers)
            .map(|caller| {
                let (client, table, keys) = (client.clone(), table.clone(), Arc::clone(&keys));
                tokio::spawn(async move {
                    let mut batch = Batch::new();
                    let (mut operations, mut next) = (0, caller * 1_000);
                    while begin.elapsed() < Duration::from_secs(SECONDS) {
                        for _ in 0..16 {
                            fill(&mut batch, &table, &keys, &mut next, count, write);
                            client.execute(&mut batch).await.expect("the runtime lives");
                            assert_eq!(batch.error_count(), 0);
                            operations += count;
                        }
                    }
                    operations
                })
            })
            .collect();
        let mut operations = 0;
        for caller in callers {
            operations += caller.await.expect("no panic");
        }
        report(name, operations, cpu(begin) - spent, begin.elapsed());
    }
}
