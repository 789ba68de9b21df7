//! Requests of clients: reads, all kinds of writes, forwarding, scans, bad input.

use crate::network::{Network, TABLE, layout, row, write};
use duet_datanode_core::LinkId;
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder};
use duet_protocol::ids::TransactionId;
use duet_protocol::row::RowView;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::open_session::OpenSession;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::read_reply::ReadReply;
use duet_protocol::signal::scan::{FLAG_ANY_REPLICA, Scan};
use duet_protocol::signal::scan_reply::{FLAG_DONE, ScanReply, split_row};
use duet_protocol::signal::session_opened::SessionOpened;
use duet_protocol::signal::write::{
    FLAG_EXPECT_VERSION, OPERATION_DELETE, OPERATION_INSERT, OPERATION_UPDATE, OPERATION_UPSERT, Write,
};
use duet_protocol::signal::write_reply::WriteReply;
use duet_protocol::signal::{Sections, SignalType};
use duet_protocol::update::{Assignment, encode_update};
use duet_protocol::value::{Value, ValueRef};

/// A client with a session and a running number.
pub struct Session {
    pub node: usize,
    pub link: LinkId,
    pub session: u64,
    pub next: u64,
}

impl Session {
    pub fn open(network: &mut Network, node: usize) -> Session {
        let link = network.client_link(node);
        let session =
            network.ask(node, link, &OpenSession::default(), Sections::none()).body::<SessionOpened>();
        Session { node, link, session: session.session.get(), next: 1 }
    }

    pub fn transaction(&mut self) -> TransactionId {
        self.next += 1;
        TransactionId { session: self.session, seq: self.next - 1 }
    }

    pub fn write(&mut self, network: &mut Network, operation: u8, id: i64, balance: i64) -> WriteReply {
        let (key, value) = row(id, balance, "somebody");
        let body = write(operation, self.transaction());
        let value = if operation == OPERATION_DELETE { Vec::new() } else { value };
        network.ask(self.node, self.link, &body, Sections::two(&key, &value)).body::<WriteReply>()
    }

    /// The error that a read is answered with.
    pub fn refused_read(&self, network: &mut Network, id: i64) -> ErrorCode {
        let (key, _) = row(id, 0, "");
        let body = Read { table: TABLE.into(), table_version: 1.into(), flags: 0.into() };
        let answer = network.ask(self.node, self.link, &body, Sections::one(&key));
        ErrorCode::from_number(answer.body::<ErrorReply>().code.get()).expect("known")
    }

    pub fn balance(&self, network: &mut Network, id: i64) -> Option<i64> {
        let (key, _) = row(id, 0, "");
        let body = Read { table: TABLE.into(), table_version: 1.into(), flags: 0.into() };
        let answer = network.ask(self.node, self.link, &body, Sections::one(&key));
        if answer.body::<ReadReply>().code.get() == ErrorCode::RowNotFound as u16 {
            return None;
        }
        let (layout, view) = (layout(), answer.view());
        let values = RowView::new(&layout, &key, view.section(0)).to_values().expect("valid");
        assert_eq!(values[2], Value::Text("somebody".to_owned()));
        match values[1] {
            Value::Int(balance) => Some(balance),
            _ => panic!("{values:?}"),
        }
    }

    pub fn increment(&mut self, id: i64, by: i64) -> (Write, Vec<u8>, Vec<u8>) {
        let (key, _) = row(id, 0, "");
        let mut program = Vec::new();
        encode_update(&layout(), &[(1, Assignment::Add(ValueRef::Int(by)))], &mut program).expect("valid");
        (write(OPERATION_UPDATE, self.transaction()), key, program)
    }
}

#[test]
fn every_kind_of_write_works_on_both_nodes_and_replicas_stay_equal() {
    let mut network = Network::formed();
    for node in 0..2 {
        let mut client = Session::open(&mut network, node);
        for id in 0..40 {
            let id = id + 100 * node as i64;
            assert_eq!(client.balance(&mut network, id), None);
            assert_eq!(client.write(&mut network, OPERATION_INSERT, id, 5).code.get(), 0);
            let again = client.write(&mut network, OPERATION_INSERT, id, 6);
            assert_eq!(again.code.get(), ErrorCode::DuplicateKey as u16);
            assert_eq!(client.balance(&mut network, id), Some(5));
            let (body, key, program) = client.increment(id, 37);
            let answer =
                network.ask(node, client.link, &body, Sections::two(&key, &program)).body::<WriteReply>();
            assert_eq!((answer.code.get(), answer.result_bytes.get()), (0, 8));
            assert_eq!(i64::from_le_bytes(answer.result[..8].try_into().expect("8")), 42);
            assert_eq!(client.balance(&mut network, id), Some(42));
            let stale = Write {
                flags: FLAG_EXPECT_VERSION,
                expected_epoch: answer.epoch,
                expected_seq: (answer.seq.get() + 1).into(),
                ..write(OPERATION_DELETE, client.transaction())
            };
            let refused = network.ask(node, client.link, &stale, Sections::one(&key)).body::<WriteReply>();
            assert_eq!(refused.code.get(), ErrorCode::VersionMismatch as u16);
            if id % 2 == 0 {
                assert_eq!(client.write(&mut network, OPERATION_DELETE, id, 0).code.get(), 0);
                let missing = client.write(&mut network, OPERATION_DELETE, id, 0);
                assert_eq!(missing.code.get(), ErrorCode::RowNotFound as u16);
                assert_eq!(client.balance(&mut network, id), None);
                assert_eq!(client.write(&mut network, OPERATION_UPSERT, id, 8).code.get(), 0);
                assert_eq!(client.write(&mut network, OPERATION_UPSERT, id, 9).code.get(), 0);
                assert_eq!(client.balance(&mut network, id), Some(9));
            }
        }
    }
    network.settle();
    assert!(network.kernels.iter().all(|kernel| kernel.counters().forwarded > 0));
    assert_eq!(network.kernels[0].counters().rows, 80);
    network.assert_replicas_equal();
}

#[test]
fn a_scan_returns_every_row_once() {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    for id in 0..500 {
        client.write(&mut network, OPERATION_INSERT, id, id);
    }
    for flags in [0, FLAG_ANY_REPLICA] {
        let (mut seen, mut requests) = (Vec::new(), 0);
        for partition in 0..4u16 {
            let mut cursor = 0.into();
            loop {
                requests += 1;
                let body = Scan {
                    table: TABLE.into(),
                    table_version: 1.into(),
                    partition: partition.into(),
                    cursor,
                    max_rows: 20.into(),
                    max_bytes: 100_000.into(),
                    flags: flags.into(),
                    ..Scan::default()
                };
                let answer = network.ask(0, client.link, &body, Sections::none());
                let reply = answer.body::<ScanReply>();
                let mut batch = answer.view().section(0);
                let mut rows = 0;
                while let Some(found) = split_row(&mut batch) {
                    seen.push(found.key.to_vec());
                    rows += 1;
                }
                assert_eq!(rows, reply.row_count.get());
                if reply.flags.get() & FLAG_DONE != 0 {
                    break;
                }
                cursor = reply.next_cursor;
            }
        }
        assert_eq!(seen.len(), 500);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 500);
        assert!(requests > 12, "{requests}");
    }
}

#[test]
fn bad_requests_get_numbered_errors_and_disturb_nobody() {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    let other = Session::open(&mut network, 0);
    client.write(&mut network, OPERATION_INSERT, 1, 1);
    let (key, value) = row(1, 1, "x");
    let id = client.transaction();
    let good = write(OPERATION_UPSERT, id);
    let unknown = Write { table: 9.into(), ..good };
    let old = Write { table_version: 7.into(), ..good };
    let strange = Write { operation: 77, ..good };
    let nobody = Write { session: 0.into(), ..good };
    let invented = Write { session: u64::MAX.into(), ..good };
    let cases: [(&Write, &[u8], &[u8], ErrorCode); 9] = [
        (&unknown, &key, &value, ErrorCode::TableNotFound),
        (&old, &key, &value, ErrorCode::TableVersionMismatch),
        (&strange, &key, &value, ErrorCode::InvalidRequest),
        (&nobody, &key, &value, ErrorCode::InvalidTransaction),
        (&invented, &key, &value, ErrorCode::InvalidTransaction),
        (&good, &key[1..], &value, ErrorCode::InvalidKey),
        (&good, &[], &value, ErrorCode::InvalidKey),
        (&good, &key, &value[1..], ErrorCode::InvalidRow),
        (&good, &key, &[0xff; 300], ErrorCode::InvalidRow),
    ];
    for (body, key, value, expected) in cases {
        let answer = network.ask(0, client.link, body, Sections::two(key, value)).body::<ErrorReply>();
        assert_eq!(ErrorCode::from_number(answer.code.get()), Some(expected));
        assert_eq!(answer.retryable.get() == 1, expected.is_retryable());
    }
    let update = write(OPERATION_UPDATE, id);
    let answer = network.ask(0, client.link, &update, Sections::two(&key, &[1, 2, 3])).body::<ErrorReply>();
    assert_eq!(answer.code.get(), ErrorCode::InvalidUpdate as u16);
    assert_eq!(other.balance(&mut network, 1), Some(1));
    network.assert_replicas_equal();
}

#[test]
fn full_memory_refuses_writes_but_not_reads_and_deletes() {
    let mut network = Network::with_memory(3 << 20, 0);
    let mut client = Session::open(&mut network, 0);
    let name = "n".repeat(20_000);
    let mut stored = Vec::new();
    let mut refused = 0;
    for id in 0..400 {
        let (key, value) = row(id, id, &name);
        let body = write(OPERATION_INSERT, client.transaction());
        let answer = network.ask(0, client.link, &body, Sections::two(&key, &value));
        match answer.view().body::<WriteReply>() {
            Some(reply) if reply.code.get() == 0 => stored.push(id),
            _ => {
                let code = ErrorCode::from_number(answer.body::<ErrorReply>().code.get());
                assert!(
                    matches!(code, Some(ErrorCode::OutOfMemory | ErrorCode::BackupOutOfMemory)),
                    "{code:?}"
                );
                refused += 1;
            }
        }
    }
    assert!(stored.len() > 30 && refused > 30, "{} {refused}", stored.len());
    network.assert_replicas_equal();
    for id in &stored {
        assert_eq!(client.write(&mut network, OPERATION_DELETE, *id, 0).code.get(), 0);
    }
    assert_eq!(client.write(&mut network, OPERATION_INSERT, 1_000, 1).code.get(), 0);
    network.assert_replicas_equal();
}

#[test]
fn sessions_of_one_epoch_are_different() {
    let mut network = Network::formed();
    let epoch = network.kernels[0].counters().epoch;
    let mut sessions: Vec<u64> = (0..8).map(|_| Session::open(&mut network, 0).session).collect();
    assert_eq!(network.kernels[0].counters().epoch, epoch);
    sessions.sort_unstable();
    sessions.dedup();
    assert_eq!(sessions.len(), 8, "{sessions:x?}");
}

#[test]
fn clients_cannot_age_the_cluster() {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    let start = network.kernels[0].counters().epoch;
    let mut refused = 0;
    for _ in 0..20 {
        let link = network.client_link(0);
        let mut builder = FrameBuilder::new();
        builder.push(0, 1, &OpenSession::default(), Sections::none());
        let epoch = network.kernels[0].counters().epoch + 90_000;
        let frame = builder.seal(&Envelope { epoch, ..Envelope::default() }).expect("open").to_vec();
        network.raw(0, link, &frame);
        refused +=
            network.refused.drain(..).filter(|(_, code)| *code == ErrorCode::InvalidRequest as u16).count();
    }
    assert_eq!(refused, 19, "what one client is believed, the next is not, until time has passed");
    assert!(network.kernels[0].counters().epoch < start + 100_000);
    assert_eq!(
        client.write(&mut network, OPERATION_INSERT, 1, 1).code.get(),
        0,
        "the session is not expired"
    );
}

#[test]
fn a_client_with_too_many_unread_answers_gets_no_more_of_them() {
    let mut network = Network::formed();
    let client = Session::open(&mut network, 0);
    let key = (0..).map(|id| row(id, 0, "").0).find(|key| network.leader(key) == 0).expect("some");
    let body = Read { table: TABLE.into(), table_version: 1.into(), ..Read::default() };
    let mut builder = FrameBuilder::new();
    (1..=50).for_each(|request| builder.push(0, request, &body, Sections::one(&key)));
    let frame = builder.seal(&Envelope::default()).expect("open").to_vec();
    for (unread, code) in [(9 << 20, Some(ErrorCode::ReplyBufferFull)), (7 << 20, None)] {
        network.kernels[0].set_backlog(client.link, unread);
        network.raw(0, client.link, &frame);
        let answers = network.take(0, client.link);
        assert_eq!(answers.len(), 50);
        for answer in answers {
            let is_refused = answer.signal_type == SignalType::ErrorReply;
            let refused = is_refused.then(|| answer.body::<ErrorReply>().code.get());
            assert_eq!(refused, code.map(|code| code as u16), "request {}", answer.view().request_id());
        }
    }
}
