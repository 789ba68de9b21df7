//! A fixed amount of a data node's work without sockets, threads or clocks, for counting its instructions.
//!
//! `.ci/instructions` runs it under callgrind; `instructions -- [split-]read|update|transaction OPERATIONS`. An operation of
//! `transaction` is one changed row: four rows change in each transaction, which is sent with its commit in one frame.
//! Only [`node::counted_turn`] is meant to be counted: frames are made, carried and read outside of it.

mod cluster;
#[allow(dead_code)]
#[path = "../../../core/tests/it/network.rs"]
mod network;
mod node;

use cluster::Cluster;
use duet_protocol::frame::{Envelope, FrameBuilder};
use duet_protocol::ids::TransactionId;
use duet_protocol::signal::commit_transaction::CommitTransaction;
use duet_protocol::signal::operate::Operate;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::write::OPERATION_UPSERT;
use duet_protocol::signal::{Sections, SignalType};
use network::{CLUSTER, Network, TABLE, row};

/// The nodes of the network that lends its map are one kernel each.
const PARTS: Option<(usize, usize)> = None;
/// Secondary indexes of the table: none, like the table that is measured over sockets.
const INDEXES: &[(&str, &[&str])] = &[];
/// Operations in flight.
const BATCH: u64 = 128;
/// Rows of 8 + 100 bytes; every one is written before anything is counted.
const ROWS: u64 = 4_096;
/// Uncounted operations before the counted ones, enough for every buffer to have its size.
const WARM_UP: u64 = 2 * ROWS;

/// Rows that a transaction changes.
const ROWS_OF_TRANSACTION: u64 = 4;

/// What is counted.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Read,
    Update,
    Transaction,
}

/// A row as it travels, and the node that leads it.
struct EncodedRow {
    key: Vec<u8>,
    value: Vec<u8>,
    node: usize,
}

struct Workload {
    cluster: Cluster,
    rows: Vec<EncodedRow>,
    session: u64,
    seq: u64,
}

impl Workload {
    /// So many operations, [`BATCH`] at a time.
    fn run(&mut self, work: Work, operations: u64, counted: bool) {
        let envelope = Envelope { cluster_id: CLUSTER, ..Envelope::default() };
        let layout = network::layout();
        let (mut coordinator, mut home) = (0, 0);
        let mut number = 0;
        let mut builders = [FrameBuilder::new(), FrameBuilder::new()];
        while number < operations {
            let resolved_below = self.seq;
            for _ in 0..BATCH {
                // An odd factor: every row once before any comes again, in no order.
                let row = &self.rows[(number.wrapping_mul(0x9e37_79b1) % ROWS) as usize];
                if work == Work::Transaction {
                    let part = number % ROWS_OF_TRANSACTION;
                    if part == 0 {
                        self.seq += 1;
                        (coordinator, home) = (row.node, layout.partition_hash(&row.key));
                    }
                    let (session, seq) = (self.session.into(), self.seq.into());
                    let body = Operate {
                        table: TABLE.into(),
                        table_version: 1.into(),
                        operation: OPERATION_UPSERT,
                        session,
                        seq,
                        number: (part as u32 + 1).into(),
                        ..Operate::default()
                    };
                    let builder = &mut builders[coordinator];
                    builder.push(0, number, &body, Sections::two(&row.key, &row.value));
                    if part == ROWS_OF_TRANSACTION - 1 {
                        let (partition_hash, resolved_below) = (home.into(), resolved_below.into());
                        let body = CommitTransaction { session, seq, partition_hash, resolved_below };
                        builder.push(0, number, &body, Sections::none());
                    }
                } else if work == Work::Update {
                    self.seq += 1;
                    let transaction = TransactionId { session: self.session, seq: self.seq };
                    let mut body = network::write(OPERATION_UPSERT, transaction);
                    body.resolved_below = resolved_below.into();
                    builders[row.node].push(0, number, &body, Sections::two(&row.key, &row.value));
                } else {
                    let body = Read { table: TABLE.into(), table_version: 1.into(), flags: 0.into() };
                    builders[row.node].push(0, number, &body, Sections::one(&row.key));
                }
                number += 1;
            }
            for (node, builder) in builders.iter_mut().enumerate() {
                if let Some(frame) = builder.seal(&envelope) {
                    self.cluster.send(node, frame);
                }
                builder.clear();
            }
            let (wanted, count) = match work {
                Work::Read => (SignalType::ReadReply, BATCH),
                Work::Update => (SignalType::WriteReply, BATCH),
                Work::Transaction => (SignalType::TransactionReply, BATCH / ROWS_OF_TRANSACTION),
            };
            let answers = self.cluster.exchange(counted);
            let succeeded = answers.iter().filter(|(got, _)| *got == wanted).count();
            assert_eq!(succeeded as u64, count, "every operation succeeds");
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let operations: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (split, name) = what.strip_prefix("split-").map_or((false, what.as_str()), |name| (true, name));
    let work = match name {
        "read" => Work::Read,
        "update" => Work::Update,
        "transaction" => Work::Transaction,
        _ => {
            eprintln!("usage: instructions [split-]read|update|transaction OPERATIONS");
            std::process::exit(2);
        }
    };
    let network = Network::formed();
    let name = "x".repeat(85);
    let rows = (0..ROWS).map(|id| {
        let (key, value) = row(id as i64, 7, &name);
        EncodedRow { node: network.leader(&key), key, value }
    });
    let rows: Vec<EncodedRow> = rows.collect();
    let mut cluster = Cluster::formed(network.state.clone(), split);
    let session = cluster.open_session();
    let mut workload = Workload { cluster, rows, session, seq: 0 };
    workload.run(Work::Update, ROWS, false);
    workload.run(work, WARM_UP, false);
    workload.run(work, operations.next_multiple_of(BATCH), true);
}
