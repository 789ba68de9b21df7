//! The chain: lost links, a stopped backup, repeated and resolved transactions, waiting writes, dropped tables.

use crate::network::{CLUSTER, Network, row, write};
use crate::requests::Session;
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder};
use duet_protocol::ids::TransactionId;
use duet_protocol::schema::TableState;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::resolve::Resolve;
use duet_protocol::signal::resolve_reply::{OUTCOME_ABORTED, OUTCOME_COMMITTED, ResolveReply};
use duet_protocol::signal::write::{OPERATION_INSERT, OPERATION_UPSERT, Write};
use duet_protocol::signal::write_reply::{FLAG_REPLAYED, WriteReply};
use duet_protocol::signal::{Sections, SignalType};

fn led_by(network: &Network, node: usize) -> i64 {
    (0..).find(|id| network.leader(&row(*id, 0, "").0) == node).expect("some")
}

fn resolve(network: &mut Network, client: &Session, id: i64, transaction: TransactionId) -> ResolveReply {
    let hash = duet_protocol::hash::key_hash(&row(id, 0, "").0);
    let body = Resolve {
        session: transaction.session.into(),
        seq: transaction.seq.into(),
        partition_hash: hash.into(),
        resolved_below: 0.into(),
    };
    network.ask(client.node, client.link, &body, Sections::none()).body::<ResolveReply>()
}

#[test]
fn a_repeated_increment_is_executed_once() {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    for node in 0..2 {
        let id = led_by(&network, node);
        client.write(&mut network, OPERATION_INSERT, id, 0);
        let (body, key, program) = client.increment(id, 1);
        for repeat in 0..3 {
            let answer =
                network.ask(0, client.link, &body, Sections::two(&key, &program)).body::<WriteReply>();
            assert_eq!((answer.code.get(), answer.result[0]), (0, 1));
            assert_eq!(answer.flags.get(), if repeat == 0 { 0 } else { FLAG_REPLAYED });
        }
        assert_eq!(client.balance(&mut network, id), Some(1));
    }
    network.assert_replicas_equal();
}

#[test]
fn resolving_tells_the_outcome_and_fences_what_never_happened() {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    for node in 0..2 {
        let id = led_by(&network, node);
        let done = TransactionId { session: client.session, seq: client.next };
        client.write(&mut network, OPERATION_INSERT, id, 0);
        for _ in 0..2 {
            assert_eq!(resolve(&mut network, &client, id, done).outcome.get(), OUTCOME_COMMITTED);
        }
        let never = client.transaction();
        for _ in 0..2 {
            assert_eq!(resolve(&mut network, &client, id, never).outcome.get(), OUTCOME_ABORTED);
        }
        let (key, value) = row(id, 8, "late");
        let late = write(OPERATION_UPSERT, never);
        let answer = network.ask(0, client.link, &late, Sections::two(&key, &value)).body::<ErrorReply>();
        assert_eq!(answer.code.get(), ErrorCode::Aborted as u16);
        assert_eq!(client.balance(&mut network, id), Some(0));
    }
    network.assert_replicas_equal();
}

#[test]
fn a_stopped_backup_lets_no_write_be_acknowledged_and_catches_up() {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    let id = led_by(&network, 0);
    client.write(&mut network, OPERATION_INSERT, id, 0);
    network.paused[1] = true;
    for request in 0..300 {
        let (body, key, program) = client.increment(id, 1);
        network.send(0, client.link, request, &body, Sections::two(&key, &program));
    }
    network.settle_for(20);
    let received = network.take(0, client.link);
    assert!(received.iter().all(|answer| answer.signal_type != SignalType::WriteReply), "{received:?}");
    assert_eq!(client.balance(&mut network, id), Some(0), "nothing is exposed");
    network.settle_for(60);
    assert_eq!(client.refused_read(&mut network, id), ErrorCode::NotServing, "the lease has run out");
    network.paused[1] = false;
    network.settle();
    let answers = network.take(0, client.link);
    assert_eq!(answers.len(), 300);
    let results: Vec<u8> = answers.iter().map(|answer| answer.body::<WriteReply>().result[0]).collect();
    let expected: Vec<u8> = (1..=300u32).map(|number| number as u8).collect();
    assert_eq!(results, expected, "writes that wait for a row are fair");
    assert_eq!(client.balance(&mut network, id), Some(300));
    network.assert_replicas_equal();
}

#[test]
fn lanes_resume_after_every_cut_without_loss_or_repetition() {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    let ids = [led_by(&network, 0), led_by(&network, 1)];
    for id in ids {
        client.write(&mut network, OPERATION_INSERT, id, 0);
    }
    let mut acknowledged = 0;
    for round in 0..60 {
        for id in ids {
            let (body, key, program) = client.increment(id, 1);
            network.send(0, client.link, round, &body, Sections::two(&key, &program));
        }
        if round % 3 == 0 {
            // Cut while the writes are on their way: some frames are lost and must be sent again.
            network.cut_peers();
        }
        network.settle();
        for answer in network.take(0, client.link) {
            match answer.signal_type {
                SignalType::WriteReply => acknowledged += 1,
                SignalType::ErrorReply => {
                    let code = ErrorCode::from_number(answer.body::<ErrorReply>().code.get()).expect("known");
                    assert!(code.is_retryable(), "{code}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let total: i64 = ids.iter().filter_map(|id| client.balance(&mut network, *id)).sum();
    assert!(acknowledged >= 80 && total >= acknowledged && total <= 120, "{acknowledged} {total}");
    assert!(network.kernels.iter().map(|kernel| kernel.counters().lane_frames_resent).sum::<u64>() > 0);
    network.assert_replicas_equal();
    let counters = network.kernels[0].counters();
    assert_eq!((counters.pending_writes, counters.queued_writes), (0, 0));
}

#[test]
fn a_broken_link_refuses_new_writes_until_it_is_back() {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    let id = led_by(&network, 0);
    network.cut_peers();
    let (key, value) = row(id, 8, "x");
    let body = write(OPERATION_UPSERT, client.transaction());
    let answer = network.ask(0, client.link, &body, Sections::two(&key, &value)).body::<ErrorReply>();
    assert_eq!(answer.code.get(), ErrorCode::BackupUnreachable as u16);
    assert_eq!(client.refused_read(&mut network, id), ErrorCode::NotServing, "it was surrendered");
    let elsewhere = row(led_by(&network, 1), 8, "x");
    let answer =
        network.ask(0, client.link, &body, Sections::two(&elsewhere.0, &elsewhere.1)).body::<ErrorReply>();
    assert_eq!(answer.code.get(), ErrorCode::NodeUnreachable as u16);
    network.settle();
    let answer = network.ask(0, client.link, &body, Sections::two(&key, &value)).body::<WriteReply>();
    assert_eq!(answer.code.get(), 0);
}

#[test]
fn a_dropped_table_gives_its_memory_back() {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    let before = network.kernels[0].counters().memory_used_bytes;
    for id in 0..2_000 {
        client.write(&mut network, OPERATION_INSERT, id, id);
    }
    network.state.tables[0].state = TableState::Dropping;
    network.state.version += 1;
    network.publish_state();
    let (key, value) = row(1, 8, "x");
    let body = write(OPERATION_UPSERT, client.transaction());
    let answer = network.ask(0, client.link, &body, Sections::two(&key, &value)).body::<ErrorReply>();
    assert_eq!(answer.code.get(), ErrorCode::TableNotActive as u16);
    network.state.tables.clear();
    network.state.version += 1;
    network.publish_state();
    network.settle();
    let counters = network.kernels[0].counters();
    assert_eq!(counters.rows, 0);
    assert!(counters.memory_used_bytes <= before + (1 << 20), "{} {before}", counters.memory_used_bytes);
    let answer = network.ask(0, client.link, &body, Sections::two(&key, &value)).body::<ErrorReply>();
    assert_eq!(answer.code.get(), ErrorCode::TableNotFound as u16);
}

#[test]
fn a_repeated_request_ends_the_one_whose_place_it_takes() {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    let id = led_by(&network, 1);
    client.write(&mut network, OPERATION_INSERT, id, 0);
    network.paused[0] = true;
    let leader = Session::open(&mut network, 1);
    let (body, key, program) = client.increment(id, 1);
    let transaction = TransactionId { session: client.session, seq: body.seq.get() };
    let resolve = Resolve {
        session: transaction.session.into(),
        seq: transaction.seq.into(),
        partition_hash: duet_protocol::hash::key_hash(&key).into(),
        resolved_below: 0.into(),
    };
    for request in 1..=3 {
        network.send(1, leader.link, request, &body, Sections::two(&key, &program));
        network.send(1, leader.link, 10 + request, &resolve, Sections::none());
    }
    network.paused[0] = false;
    network.deliver();
    let received = network.take(1, leader.link);
    let of = |wanted: u64| {
        let mut answers = received.iter().filter(|answer| answer.view().request_id() == wanted);
        let answer = answers.next().expect("every request is answered");
        assert!(answers.next().is_none(), "every request is answered once");
        answer
    };
    for displaced in [1, 2, 11, 12] {
        let code = of(displaced).body::<ErrorReply>().code.get();
        assert_eq!(code, ErrorCode::OutcomeUnknown as u16, "request {displaced}");
    }
    assert_eq!(of(3).body::<WriteReply>().code.get(), 0);
    assert_eq!(of(13).body::<ResolveReply>().outcome.get(), OUTCOME_COMMITTED);
    assert_eq!(client.balance(&mut network, id), Some(1));
}

#[test]
fn a_full_outcome_table_is_emptied_by_the_session_that_filled_it() {
    // So little memory that a fragment keeps the least number of records.
    let mut network = Network::with_memory(8 << 20, 0);
    let mut client = Session::open(&mut network, 0);
    let id = led_by(&network, 0);
    let (key, value) = row(id, 1, "somebody");
    let refusal = loop {
        let body = write(OPERATION_UPSERT, client.transaction());
        let answer = network.ask(0, client.link, &body, Sections::two(&key, &value));
        if answer.signal_type == SignalType::ErrorReply {
            break answer.body::<ErrorReply>().code.get();
        }
        assert!(client.next < 20_000, "the table has a bound");
    };
    assert_eq!(refusal, ErrorCode::TooManyUnresolved as u16);
    let next = client.transaction();
    let body = Write { resolved_below: next.seq.into(), ..write(OPERATION_UPSERT, next) };
    let answer = network.ask(0, client.link, &body, Sections::two(&key, &value));
    assert_eq!(answer.signal_type, SignalType::WriteReply, "resolved records make room");
    network.assert_replicas_equal();
}

/// Lane frames hold more signals than one group of prefetched ones.
#[test]
fn hundreds_of_writes_of_one_frame_reach_the_backup() {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    let ids: Vec<i64> = (0..).filter(|id| network.leader(&row(*id, 0, "").0) == 0).take(300).collect();
    for round in 0..2 {
        let mut builder = FrameBuilder::new();
        for id in &ids {
            let (key, value) = row(*id, round, "somebody");
            let body = write(OPERATION_UPSERT, client.transaction());
            builder.push(0, *id as u64, &body, Sections::two(&key, &value));
        }
        let envelope = Envelope { cluster_id: CLUSTER, ..Envelope::default() };
        let frame = builder.seal(&envelope).expect("open").to_vec();
        network.raw(0, client.link, &frame);
        let answers = network.take(0, client.link);
        assert_eq!(answers.len(), ids.len());
        assert!(answers.iter().all(|answer| answer.body::<WriteReply>().code.get() == 0));
        network.assert_replicas_equal();
    }
    assert_eq!(client.balance(&mut network, ids[299]), Some(1));
}
