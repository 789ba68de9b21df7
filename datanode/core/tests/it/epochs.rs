//! Epochs: opened by one node, drained and closed by both; what happens while one of them is away.

use crate::network::{Network, row, write};
use crate::requests::Session;
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::TransactionId;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::write::OPERATION_UPSERT;
use duet_protocol::signal::{Sections, SignalType};

/// Open and closed epoch of a node.
fn epochs(network: &Network, node: usize) -> (u64, u64) {
    let counters = network.kernels[node].counters();
    (counters.epoch, counters.closed_epoch)
}

#[test]
fn epochs_are_opened_and_closed_in_step() {
    let mut network = Network::formed();
    let before = epochs(&network, 0);
    network.settle();
    for node in 0..2 {
        let (open, closed) = epochs(&network, node);
        assert!(open >= before.0 + 79 && closed + 1 == open, "node {node}: {open} open, {closed} closed");
    }
    // One client lags behind, and another brings what it has seen elsewhere.
    let mut client = Session::open(&mut network, 1);
    client.write(&mut network, OPERATION_UPSERT, 1, 0);
    assert_eq!(epochs(&network, 0).0, epochs(&network, 1).0);
}

/// Epochs that are opened one by one while ticks pass, beside those that are left out.
fn openings(network: &mut Network, ticks: u32) -> usize {
    let mut openings = 0;
    for _ in 0..ticks {
        let before = epochs(network, 0).0;
        network.settle_for(1);
        openings += usize::from(epochs(network, 0).0 > before);
    }
    openings
}

#[test]
fn epochs_are_opened_rarely_while_nobody_commits() {
    let mut network = Network::formed();
    let mut clients = [Session::open(&mut network, 0), Session::open(&mut network, 1)];
    network.settle();
    let before = epochs(&network, 0);
    assert_eq!(openings(&mut network, 100), 10);
    let after = epochs(&network, 0);
    assert_eq!(
        (after.0 - before.0, after.0 - after.1),
        (100, 1),
        "their numbers count the time all the same"
    );
    for (node, client) in clients.iter_mut().enumerate() {
        let id = (0..).find(|id| network.leader(&row(*id, 0, "").0) == node).expect("some");
        let written = epochs(&network, 0).0;
        client.write(&mut network, OPERATION_UPSERT, id, 7);
        assert!(openings(&mut network, 4) >= 2, "node {node} has told of its commit");
        assert!(epochs(&network, 0).1 >= written, "node {node}: its epoch is closed");
        network.settle_for(20);
        assert_eq!(openings(&mut network, 50), 5);
    }
    // What is not closed is asked for again with every tick.
    network.paused[1] = true;
    network.settle_for(20);
    assert_eq!(openings(&mut network, 20), 20);
    network.paused[1] = false;
    network.deliver();
    network.settle_for(20);
    assert_eq!(openings(&mut network, 50), 5);
}

#[test]
fn while_a_node_is_away_epochs_stay_open_and_commits_are_refused_in_the_end() {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    client.write(&mut network, OPERATION_UPSERT, 1, 7);
    network.paused[1] = true;
    network.settle();
    network.settle();
    let (open, closed) = epochs(&network, 0);
    assert!((closed + 60..=closed + 64).contains(&open), "{open} open, {closed} closed");
    for _ in 0..5 {
        network.settle();
    }
    assert_eq!(epochs(&network, 0), (open, closed));
    let id = (0..).find(|id| network.leader(&row(*id, 0, "").0) == 0).expect("some");
    let transaction = TransactionId { session: client.session, seq: client.next };
    let (key, value) = row(id, 8, "");
    let body = write(OPERATION_UPSERT, transaction);
    let answer = network.ask(0, client.link, &body, Sections::two(&key, &value));
    assert_eq!(answer.signal_type, SignalType::ErrorReply);
    assert_eq!(answer.body::<ErrorReply>().code.get(), ErrorCode::EpochsStalled as u16);
    assert_eq!(answer.body::<ErrorReply>().retryable.get(), 1);
    network.paused[1] = false;
    network.deliver();
    network.settle();
    let (open, closed) = epochs(&network, 1);
    assert_eq!(closed + 1, open);
    let answer = network.ask(0, client.link, &body, Sections::two(&key, &value));
    assert_eq!(answer.signal_type, SignalType::WriteReply, "the same request may be sent again");
    network.settle();
    network.assert_replicas_equal();
}
