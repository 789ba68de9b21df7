//! What one operation costs in the client core alone: no sockets, answers made by hand and not counted.
//! `cargo run --release -p duet-client --example core_cost`

#[path = "../core/tests/fake/mod.rs"]
mod fake;

use duet_client_core::{Batch, ClientConfiguration, ClientCore, Command, EncodedKey, Expectation, LinkId};
use duet_protocol::frame::{Envelope, FrameBuilder, FrameView, announced_length};
use duet_protocol::ids::Instance;
use duet_protocol::schema::{ColumnType, TableDefinition};
use duet_protocol::signal::Sections;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::read_reply::ReadReply;
use duet_protocol::signal::write::Write;
use duet_protocol::signal::write_reply::WriteReply;
use duet_protocol::value::Value;
use fake::{FakeCluster, Process};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const OPERATIONS: usize = 128;
const BATCHES: usize = 20_000;

type Frames = Vec<(LinkId, Vec<u8>)>;

fn definition() -> TableDefinition {
    TableDefinition::builder("bench", "rows")
        .required("id", ColumnType::BigInt)
        .required("value", ColumnType::Binary { bytes: 100 })
        .primary_key(["id"])
        .build()
        .expect("valid")
}

/// Answers reads with 100 bytes and writes with success.
fn answer(frames: &mut Frames, answers: &mut Frames, node_of: &BTreeMap<LinkId, u32>) {
    let value = [7_u8; 101];
    answers.clear();
    for (link, bytes) in frames.drain(..) {
        let mut builder = FrameBuilder::new();
        let frame = FrameView::new_checked(&bytes).expect("valid");
        for signal in frame.signals() {
            if signal.body::<Read>().is_some() {
                let body = ReadReply {
                    table_version: 1.into(),
                    epoch: 5.into(),
                    seq: 9.into(),
                    ..Default::default()
                };
                builder.push(0, signal.request_id(), &body, Sections::one(&value));
            } else if signal.body::<Write>().is_some() {
                let body = WriteReply { epoch: 5.into(), seq: 9.into(), ..Default::default() };
                builder.push(0, signal.request_id(), &body, Sections::none());
            }
        }
        let sender = Instance { node: node_of[&link], incarnation: 1 };
        builder.seal(&Envelope { cluster_id: 77, sender, view: 1, epoch: 5, ..Envelope::default() });
        answers.push((link, builder.sealed().to_vec()));
    }
}

fn main() {
    let mut cluster = FakeCluster::new(2, 1, |process| format!("{process:?}"));
    cluster.add_table(definition());
    let mut core = ClientCore::new(ClientConfiguration::new(vec!["Management(1)".into()], [1; 16], 1), 0);
    let mut processes: BTreeMap<LinkId, (Process, bool)> = BTreeMap::new();
    let mut node_of = BTreeMap::new();
    core.refresh(0, 0);
    let mut now = 0;
    // Enough turns to connect and to open a session.
    let mut warm = Batch::new();
    for turn in 0..100 {
        now += 1_000_000;
        core.tick(now);
        core.flush(now);
        let mut frames: Frames = Vec::new();
        core.drain_output(|link, bytes| {
            let mut rest = bytes;
            while let Some(length) = announced_length(rest, 1 << 20).expect("valid") {
                frames.push((link, rest[..length].to_vec()));
                rest = &rest[length..];
            }
        });
        while let Some(command) = core.next_command() {
            let Command::Connect { target, address } = command else { continue };
            let link = LinkId { slot: processes.len() as u32, generation: 1 };
            let process = match address.as_str() {
                "Node(1)" => Process::Node(1),
                "Node(2)" => Process::Node(2),
                _ => Process::Management(1),
            };
            if let Process::Node(node) = process {
                node_of.insert(link, node);
            }
            processes.insert(link, (process, false));
            core.link_connected(now, link, target);
        }
        for (link, frame) in frames {
            let mut answers = Vec::new();
            let (process, greeted) = processes.get_mut(&link).expect("open");
            cluster.frame(*process, greeted, &frame, &mut answers);
            let mut rest = &answers[..];
            while let Some(length) = announced_length(rest, usize::MAX).expect("valid") {
                core.frame(now, link, &rest[..length]);
                rest = &rest[length..];
            }
        }
        if turn == 50 {
            let table = core.table("bench", "rows").expect("known");
            warm.insert(&table, &[Value::Int(1), vec![0; 100].into()]).expect("fits");
            core.submit(now, Box::new(std::mem::take(&mut warm)));
        }
    }
    assert!(core.next_completed().is_some(), "the session is open");
    let table = core.table("bench", "rows").expect("known");
    let keys: Vec<Vec<u8>> = (0..4_000_000_i64)
        .step_by(61)
        .map(|id| {
            let mut key = Vec::new();
            table.layout().encode_key(&[Value::Int(id)], &mut key).expect("fits");
            key
        })
        .collect();
    for write in [false, true] {
        let mut batch = Box::new(Batch::new());
        let (mut build, mut submit, mut receive) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = 0;
        let (mut frames, mut answers): (Frames, Frames) = (Vec::new(), Vec::new());
        for _ in 0..BATCHES {
            now += 1_000;
            let start = Instant::now();
            batch.clear();
            for _ in 0..OPERATIONS {
                let key = &keys[next % keys.len()];
                next += 1;
                if write {
                    batch.update_program(&table, key, &[], Expectation::Any).expect("fits");
                } else {
                    batch.read(&table, &EncodedKey(key)).expect("fits");
                }
            }
            let built = Instant::now();
            core.submit(now, batch);
            core.flush(now);
            let submitted = Instant::now();
            core.drain_output(|link, bytes| frames.push((link, bytes.to_vec())));
            answer(&mut frames, &mut answers, &node_of);
            let received = Instant::now();
            for (link, bytes) in &answers {
                core.frame(now, *link, bytes);
            }
            batch = core.next_completed().expect("all answered");
            receive.push(received.elapsed());
            build.push(built - start);
            submit.push(submitted - built);
            assert_eq!(batch.error_count(), 0);
        }
        // Medians, because the machine may do other things meanwhile.
        let each = |times: &mut Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2].as_nanos() as f64 / OPERATIONS as f64
        };
        let (build, submit, receive) = (each(&mut build), each(&mut submit), each(&mut receive));
        println!(
            "{}: build {:.0} + submit {:.0} + receive {:.0} = {:.0} ns per operation",
            if write { "write" } else { "read " },
            build,
            submit,
            receive,
            build + submit + receive,
        );
    }
}
