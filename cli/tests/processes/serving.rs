//! Reads and writes through processes, stopped nodes, lost management nodes.

use crate::cluster::{Cluster, wait_for};
use crate::wire::{Wire, read, row, write};
use duet_protocol::error::ErrorCode;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::read_reply::ReadReply;
use duet_protocol::signal::scan::{FLAG_ANY_REPLICA, Scan};
use duet_protocol::signal::scan_reply::{FLAG_DONE, ScanReply};
use duet_protocol::signal::write::{OPERATION_INSERT, OPERATION_UPSERT};
use duet_protocol::signal::write_reply::WriteReply;
use duet_protocol::signal::{Sections, SignalType};
use std::io;

/// Rows of a partition as one replica holds them.
fn replica(wire: &mut Wire, table: u32, partition: u16) -> Vec<u8> {
    let (mut rows, mut cursor) = (Vec::new(), 0);
    loop {
        let body = Scan {
            table: table.into(),
            table_version: 1.into(),
            partition: partition.into(),
            cursor: cursor.into(),
            max_rows: 1_000.into(),
            max_bytes: 100_000.into(),
            flags: FLAG_ANY_REPLICA.into(),
            ..Scan::default()
        };
        let answer = wire.ask(&body, Sections::none());
        rows.extend_from_slice(answer.view().section(0));
        let reply = answer.body::<ScanReply>();
        if reply.flags.get() & FLAG_DONE != 0 {
            return rows;
        }
        cursor = reply.next_cursor.get();
    }
}

#[test]
fn a_stopped_backup_lets_no_write_be_acknowledged_and_replicas_end_equal() {
    let mut cluster = Cluster::start(1);
    let (code, table) = cluster.leader().create_table("accounts", 1);
    assert_eq!(code, 0);
    let state = cluster.state();
    let mut wires: Vec<Wire> = cluster.nodes.iter().map(|node| Wire::client(&node.listen)).collect();
    let session = wires[0].open_session();
    for id in 0..200 {
        let (key, value) = row(id, id, "first");
        // Every second request goes to the wrong node and is forwarded.
        let body = write(table, OPERATION_INSERT, session, id as u64 + 1);
        let answer = wires[id as usize % 2].ask(&body, Sections::two(&key, &value)).body::<WriteReply>();
        assert_eq!(answer.code.get(), 0);
    }
    let led: Vec<i64> = (0..200).filter(|id| cluster.leader_of(&state, &row(*id, 0, "").0) == 0).collect();
    cluster.nodes[1].signal("STOP");
    for id in &led {
        let (key, value) = row(*id, 7_000 + id, "second");
        let body = write(table, OPERATION_UPSERT, session, 1_000 + *id as u64);
        wires[0].send(1_000 + *id as u64, &body, Sections::two(&key, &value));
    }
    // Reads of what this node leads are still answered, with the old values; none of the writes is.
    for id in &led {
        let (key, value) = row(*id, *id, "first");
        wires[0].send(42, &read(table), Sections::one(&key));
        let answer = wires[0].receive().expect("an answer");
        assert_eq!((answer.signal_type, answer.request_id), (SignalType::ReadReply, 42));
        assert_eq!(answer.view().section(0), value);
    }
    cluster.nodes[1].signal("CONT");
    for _ in &led {
        let answer = wires[0].receive().expect("an answer");
        assert_eq!((answer.signal_type, answer.body::<WriteReply>().code.get()), (SignalType::WriteReply, 0));
    }
    let [first, second] = &mut wires[..] else { panic!("two nodes") };
    let mut bytes = 0;
    for partition in 0..state.configuration.partitions {
        let rows = replica(first, table, partition);
        bytes += rows.len();
        assert_eq!(rows, replica(second, table, partition), "partition {partition}");
    }
    assert!(bytes > 200 * 30);
}

#[test]
fn a_dead_node_is_taken_over_and_comes_back_with_a_copy() {
    let mut cluster = Cluster::start(1);
    let (_, table) = cluster.leader().create_table("accounts", 1);
    let mut wire = Wire::client(&cluster.nodes[0].listen);
    let session = wire.open_session();
    for id in 0..50 {
        let (key, value) = row(id, id, "x");
        wire.ask(&write(table, OPERATION_INSERT, session, id as u64 + 1), Sections::two(&key, &value));
    }
    cluster.nodes[1].kill();
    let mut number = 100;
    for id in 0..50 {
        let (key, value) = row(id, id, "x");
        wait_for("the row of a partition that was taken over", || {
            let answer = wire.ask(&read(table), Sections::one(&key));
            if answer.signal_type == SignalType::ReadReply {
                assert_eq!(
                    (answer.body::<ReadReply>().code.get(), answer.view().section(0)),
                    (0, &value[..])
                );
                return Some(());
            }
            let code = ErrorCode::from_number(answer.body::<ErrorReply>().code.get()).expect("known");
            assert!(code.is_retryable(), "{code}");
            None
        });
        number += 1;
        let body = write(table, OPERATION_UPSERT, session, number);
        let answer = wire.ask(&body, Sections::two(&key, &value));
        assert_eq!(answer.body::<WriteReply>().code.get(), 0);
    }
    cluster.restart_node(1);
    cluster.wait_for_full_members();
    cluster.nodes[0].kill();
    let mut wire = Wire::client(&cluster.nodes[1].listen);
    for id in 0..50 {
        let (key, value) = row(id, id, "x");
        wait_for("the row at the node that came back", || {
            let answer = wire.ask(&read(table), Sections::one(&key));
            (answer.signal_type == SignalType::ReadReply)
                .then(|| assert_eq!(answer.view().section(0), &value[..]))
        });
    }
}

#[test]
fn a_client_that_does_not_read_holds_no_memory_and_disturbs_nobody() {
    let mut cluster = Cluster::start(1);
    let (_, table) = cluster.leader().create_table("accounts", 1);
    let mut wire = Wire::client(&cluster.nodes[0].listen);
    let session = wire.open_session();
    let (key, value) = row(1, 1, &"long ".repeat(2_000));
    wire.ask(&write(table, OPERATION_INSERT, session, 1), Sections::two(&key, &value));
    let before: u64 = cluster.nodes.iter().map(crate::cluster::Process::resident_bytes).sum();
    let mut deaf = Wire::client(&cluster.nodes[0].listen);
    deaf.stream.set_nonblocking(true).expect("option");
    let mut sent = 0;
    'flood: for request in 0..400_000u64 {
        let mut builder = duet_protocol::frame::FrameBuilder::new();
        builder.push(0, request, &read(table), Sections::one(&key));
        let frame = builder.seal(&duet_protocol::frame::Envelope::default()).expect("open");
        match io::Write::write(&mut deaf.stream, frame) {
            Ok(count) if count == frame.len() => sent += 1,
            _ => break 'flood,
        }
    }
    assert!(sent > 100, "{sent}");
    for _ in 0..200 {
        assert_eq!(wire.ask(&read(table), Sections::one(&key)).view().section(0), value);
    }
    let after: u64 = cluster.nodes.iter().map(crate::cluster::Process::resident_bytes).sum();
    assert!(after < before + (96 << 20), "{before} {after}");
}

#[test]
fn the_dictionary_survives_the_loss_of_any_management_node() {
    let mut cluster = Cluster::start(3);
    let (code, _) = cluster.leader().create_table("first", 1);
    assert_eq!(code, 0);
    for round in 0..3u8 {
        let leader = cluster.leader().stream.peer_addr().expect("connected").to_string();
        let index = cluster.management.iter().position(|process| process.listen == leader).expect("known");
        cluster.management[index].kill();
        let name = format!("round{round}");
        let (code, _) = cluster.leader().create_table(&name, 10 + round);
        assert_eq!(code, 0, "two of three decide");
        cluster.restart_management(index);
        let restarted = cluster.management[index].listen.clone();
        wait_for("the restarted node to catch up", || {
            Wire::client(&restarted).state().filter(|state| state.table_named("test", &name).is_some())
        });
    }
    assert_eq!(cluster.leader().create_table("first", 99).0, ErrorCode::TableExists as u16);
    assert_eq!(cluster.leader().drop_table("first", 100), 0);
    assert_eq!(cluster.state().tables.len(), 3);
}
