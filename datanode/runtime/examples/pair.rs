//! CPU time per operation of two data nodes over real sockets, with a scripted management node and a bare client:
//! committed reads and two-replica updates, 128 in flight.
//!
//! `cargo run --release -p duet-runtime --example pair -- [rows] [batch]`

use duet_datanode_core::{Kernel, NodeConfiguration, SUSPECT_AFTER};
use duet_protocol::frame::{Envelope, FrameBuilder, FrameView, announced_length};
use duet_protocol::ids::TransactionId;
use duet_protocol::layout::TableLayout;
use duet_protocol::record::{
    ClusterConfiguration, ClusterState, GroupView, Leaving, Member, MemberState, NodeRecord, PartitionView,
    View,
};
use duet_protocol::schema::{ColumnType, Table, TableDefinition, TableState};
use duet_protocol::signal::cluster_state::ClusterStateSignal;
use duet_protocol::signal::hello::{Hello, ROLE_CLIENT, ROLE_MANAGEMENT};
use duet_protocol::signal::open_session::OpenSession;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::register::Register;
use duet_protocol::signal::registered::Registered;
use duet_protocol::signal::session_opened::SessionOpened;
use duet_protocol::signal::welcome::Welcome;
use duet_protocol::signal::write::{OPERATION_UPSERT, Write};
use duet_protocol::signal::{Sections, Signal, SignalType};
use duet_protocol::value::Value;
use duet_runtime::{BatchOptions, BatchThread, Limits, Listener};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CLUSTER: u64 = 77;
const PARTITIONS: u16 = 8;

struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    used: usize,
}

impl Wire {
    fn new(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).expect("option");
        Wire { stream, buffer: vec![0; 1 << 20], used: 0 }
    }

    fn send<S: Signal>(&mut self, body: &S, sections: Sections<'_>) {
        let mut builder = FrameBuilder::new();
        builder.push(0, 0, body, sections);
        let envelope = Envelope { cluster_id: CLUSTER, ..Envelope::default() };
        self.stream.write_all(builder.seal(&envelope).expect("open")).expect("sent");
    }

    /// Reads once and hands out all whole frames; false at the end of the stream.
    fn frames(&mut self, mut each: impl FnMut(FrameView<'_>)) -> bool {
        let Ok(count @ 1..) = self.stream.read(&mut self.buffer[self.used..]) else { return false };
        self.used += count;
        let mut start = 0;
        while let Ok(Some(length)) = announced_length(&self.buffer[start..self.used], usize::MAX) {
            if start + length > self.used {
                break;
            }
            each(FrameView::new_checked(&self.buffer[start..start + length]).expect("valid"));
            start += length;
        }
        self.buffer.copy_within(start..self.used, 0);
        self.used -= start;
        true
    }
}

fn state(addresses: &[String]) -> ClusterState {
    let definition = TableDefinition::builder("test", "rows").required("id", ColumnType::BigInt);
    let definition = (0..5).fold(definition, |table, column| {
        table.nullable(format!("c{column}"), ColumnType::Binary { bytes: 20 })
    });
    let definition = definition.primary_key(["id"]).build().expect("valid");
    let member = |node| Member {
        node,
        incarnation: 1,
        state: MemberState::Full,
        recoverable: false,
        leaving: Leaving::No,
    };
    let record = |(index, address): (usize, &String)| NodeRecord {
        node: index as u32 + 1,
        incarnation: 1,
        address: address.clone(),
        ..NodeRecord::default()
    };
    let partitions = (0..PARTITIONS).map(|partition| PartitionView {
        group: 0,
        replicas: if partition % 2 == 0 { vec![1, 2] } else { vec![2, 1] },
        cfg: 1,
    });
    ClusterState {
        cluster_id: CLUSTER,
        version: 1,
        configuration: ClusterConfiguration { data_nodes: 2, replicas: 2, partitions: PARTITIONS, lanes: 1 },
        nodes: addresses.iter().enumerate().map(record).collect(),
        view: View {
            number: 1,
            groups: vec![GroupView { changed_in_view: 1, members: vec![member(1), member(2)] }],
            partitions: partitions.collect(),
        },
        buckets: ClusterState::deal_buckets(PARTITIONS),
        tables: vec![Table { state: TableState::Active, ..Table::created(1, 1, definition) }],
        next_table_id: 2,
        ..ClusterState::default()
    }
}

fn manage(listener: &TcpListener, state: &Arc<ClusterState>) {
    for stream in listener.incoming().flatten() {
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            let mut wire = Wire::new(stream);
            let mut asked = Vec::new();
            while wire.frames(|frame| {
                for signal in frame.signals() {
                    match (signal.signal_type(), signal.body::<Register>()) {
                        (SignalType::Hello, _) => asked.push(false),
                        (_, Some(_)) => asked.push(true),
                        _ => {}
                    }
                }
            }) {
                for register in asked.drain(..) {
                    if register {
                        let body = Registered {
                            incarnation: 1.into(),
                            cluster_id: CLUSTER.into(),
                            ..Default::default()
                        };
                        wire.send(&body, Sections::none());
                        let record = state.to_record().expect("fits");
                        wire.send(&ClusterStateSignal { version: 1.into() }, Sections::one(&record));
                    } else {
                        let body = Welcome { role: ROLE_MANAGEMENT.into(), ..Default::default() };
                        wire.send(&body, Sections::none());
                    }
                }
            }
        });
    }
}

/// CPU time of all pipeline threads, in nanoseconds.
fn pipeline_nanoseconds() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("proc");
    tasks
        .flatten()
        .filter(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("duet-batch"))
        })
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()))
        .sum()
}

fn main() {
    let argument =
        |index, default| std::env::args().nth(index).map_or(default, |text| text.parse().expect("number"));
    let (rows, batch): (u64, u64) = (argument(1, 1_000_000), argument(2, 128));
    let management = TcpListener::bind("127.0.0.1:0").expect("port");
    let management_address = management.local_addr().expect("bound").to_string();
    let free = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let listeners: Vec<Listener> = (0..2).map(|_| Listener::bind(free, true).expect("port")).collect();
    let addresses: Vec<String> = listeners.iter().map(|listener| listener.address().to_string()).collect();
    let state = Arc::new(state(&addresses));
    let managed = Arc::clone(&state);
    std::thread::spawn(move || manage(&management, &managed));
    let nodes: Vec<BatchThread> = listeners
        .into_iter()
        .enumerate()
        .map(|(index, listener)| {
            let configuration = NodeConfiguration {
                node: index as u32 + 1,
                process: [index as u8; 16],
                address: addresses[index].clone(),
                metrics_address: String::new(),
                management: vec![management_address.clone()],
                secret: Vec::new(),
                memory_bytes: 4 << 30,
                arena_bytes: 5 << 30,
                memory_preparer: None,
                max_links: 100,
                seed: 1,
                link_close_is_proof: true,
                suspect_after: SUSPECT_AFTER,
                lane_frame_signals: u16::MAX,
                planted_bug: 0,
            };
            let options = BatchOptions {
                name: "duet-batch",
                listener,
                limits: Limits::new(configuration.max_links as usize),
                cpu: Some(0),
                io: duet_runtime::LinkIo::Automatic,
            };
            BatchThread::start(options, move |now| Kernel::new(configuration, now)).expect("started")
        })
        .collect();
    let snapshot = |node: &BatchThread| node.snapshots().read().node;
    while nodes.iter().any(|node| snapshot(node).serving == 0 || snapshot(node).links < 2) {
        std::thread::sleep(Duration::from_millis(20));
    }
    core_affinity::set_for_current(core_affinity::CoreId { id: 1 });
    let mut wires: Vec<Wire> =
        addresses.iter().map(|address| Wire::new(TcpStream::connect(address).expect("connected"))).collect();
    for wire in &mut wires {
        wire.send(&Hello { role: ROLE_CLIENT.into(), ..Default::default() }, Sections::none());
        wire.frames(|_| {});
    }
    wires[0].send(&OpenSession::default(), Sections::none());
    let mut session = 0;
    wires[0].frames(|frame| {
        for signal in frame.signals() {
            session = signal.body::<SessionOpened>().map_or(session, |body| body.session.get());
        }
    });
    let layout = TableLayout::new(&state.tables[0].definition).expect("valid");
    let mut transaction = TransactionId { session, seq: 0 };
    let mut builders = [FrameBuilder::new(), FrameBuilder::new()];
    let envelope = Envelope { cluster_id: CLUSTER, ..Envelope::default() };
    let mut run = |name: &str, updates: bool, operations: u64, key_of: &dyn Fn(u64) -> u64| {
        let (started, cpu) = (Instant::now(), pipeline_nanoseconds());
        let (mut done, mut key, mut value) = (0, Vec::new(), Vec::new());
        let mut latencies = Vec::new();
        while done < operations {
            let (batch_started, oldest, mut failed) = (Instant::now(), transaction.seq, 0);
            for _ in 0..batch {
                key.clear();
                value.clear();
                let column = Value::Bytes(vec![done as u8; 20]);
                if updates {
                    let values = [
                        Value::Int(key_of(done) as i64),
                        column.clone(),
                        column.clone(),
                        column.clone(),
                        column.clone(),
                        column,
                    ];
                    layout.encode_row(&values, &mut key, &mut value).expect("fits");
                } else {
                    layout.encode_key(&[Value::Int(key_of(done) as i64)], &mut key).expect("fits");
                }
                let partition = state.partition_of(layout.partition_hash(&key)).expect("formed");
                let node = state.view.partitions[usize::from(partition)].replicas[0] as usize - 1;
                if updates {
                    transaction.seq += 1;
                    let body = Write {
                        table: 1.into(),
                        table_version: 1.into(),
                        operation: OPERATION_UPSERT,
                        session: transaction.session.into(),
                        seq: transaction.seq.into(),
                        resolved_below: oldest.into(),
                        ..Write::default()
                    };
                    builders[node].push(0, done, &body, Sections::two(&key, &value));
                } else {
                    let body = Read { table: 1.into(), table_version: 1.into(), flags: 0.into() };
                    builders[node].push(0, done, &body, Sections::one(&key));
                }
                done += 1;
            }
            let mut missing = [0usize; 2];
            for (node, builder) in builders.iter_mut().enumerate() {
                if let Some(frame) = builder.seal(&envelope) {
                    missing[node] = FrameView::new_checked(frame).expect("valid").signal_count();
                    wires[node].stream.write_all(frame).expect("sent");
                }
                builder.clear();
            }
            for (node, wire) in wires.iter_mut().enumerate() {
                while missing[node] > 0 {
                    wire.frames(|frame| {
                        missing[node] -= frame.signal_count();
                        failed +=
                            frame.signals().filter(|s| s.signal_type() == SignalType::ErrorReply).count();
                    });
                }
            }
            assert_eq!(failed, 0, "errors");
            latencies.push(batch_started.elapsed());
        }
        latencies.sort();
        let cpu = (pipeline_nanoseconds() - cpu) as f64 / operations as f64;
        let (p50, p99) = (latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100]);
        let rate = operations as f64 / started.elapsed().as_secs_f64();
        println!(
            "{name:8} {cpu:7.1} ns of node CPU per operation, {rate:9.0}/s, batch p50 {p50:?} p99 {p99:?}"
        );
    };
    run("load", true, rows, &|done| done);
    let scramble = |done: u64| (done.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % rows;
    for _ in 0..3 {
        run("reads", false, 2_000_000.min(rows * 2), &scramble);
        run("updates", true, 1_000_000.min(rows), &scramble);
    }
    let node = snapshot(&nodes[0]);
    println!("memory {:.1} bytes per row", node.memory_used_bytes as f64 / node.rows as f64);
    for node in nodes {
        node.stopper().stop();
        node.join().expect("clean");
    }
}
