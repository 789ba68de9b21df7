//! Transactions of several rows: two-phase commit, locks, waiting, deadlocks, time-outs, lost links.

use crate::network::{Network, Received, TABLE, layout, row, write};
use crate::requests::Session;
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::TransactionId;
use duet_protocol::row::RowView;
use duet_protocol::signal::commit_transaction::CommitTransaction;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::operate::{
    FLAG_IGNORE_EXISTING, FLAG_IGNORE_MISSING, OPERATION_READ, OPERATION_READ_EXCLUSIVE,
    OPERATION_READ_SHARED, Operate,
};
use duet_protocol::signal::operate_reply::{FLAG_IGNORED, OperateReply};
use duet_protocol::signal::resolve::Resolve;
use duet_protocol::signal::resolve_reply::{OUTCOME_ABORTED, OUTCOME_COMMITTED, ResolveReply};
use duet_protocol::signal::rollback_transaction::RollbackTransaction;
use duet_protocol::signal::transaction_reply::{self, TransactionReply};
use duet_protocol::signal::write::{OPERATION_DELETE, OPERATION_INSERT, OPERATION_UPDATE, OPERATION_UPSERT};
use duet_protocol::signal::write_reply::WriteReply;
use duet_protocol::signal::{Sections, SignalType};
use duet_protocol::update::{Assignment, encode_update};
use duet_protocol::value::{Value, ValueRef};

/// A transaction of a session.
pub struct Open {
    id: TransactionId,
    number: u32,
    home: u64,
    tries: u32,
}

impl Open {
    pub fn begin(client: &mut Session) -> Open {
        Open { id: client.transaction(), number: 0, home: 0, tries: 0 }
    }

    /// Sends an operation; its request id is 100 plus its number.
    fn send(
        &mut self,
        network: &mut Network,
        client: &Session,
        operation: u8,
        flags: u8,
        id: i64,
        value: i64,
    ) {
        let (key, image) = row(id, value, "somebody");
        let mut payload = Vec::new();
        match operation {
            OPERATION_INSERT | OPERATION_UPSERT => payload = image,
            OPERATION_UPDATE => {
                encode_update(&layout(), &[(1, Assignment::Add(ValueRef::Int(value)))], &mut payload)
                    .expect("valid");
            }
            _ => {}
        }
        self.number += 1;
        if self.home == 0 && matches!(operation, OPERATION_INSERT..=OPERATION_DELETE) {
            self.home = layout().partition_hash(&key);
        }
        let body = Operate {
            table: TABLE.into(),
            table_version: 1.into(),
            operation,
            flags,
            session: self.id.session.into(),
            seq: self.id.seq.into(),
            number: self.number.into(),
            tries: self.tries.into(),
            ..Operate::default()
        };
        let request = 100 + u64::from(self.number);
        network.send(client.node, client.link, request, &body, Sections::two(&key, &payload));
    }

    /// Executes an operation whose answer comes at once.
    pub fn run(
        &mut self,
        network: &mut Network,
        client: &Session,
        operation: u8,
        flags: u8,
        id: i64,
        value: i64,
    ) -> Received {
        self.send(network, client, operation, flags, id, value);
        network.deliver();
        let mut answers = network.take(client.node, client.link);
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0)
    }

    /// The balance that a read tells.
    fn read(&mut self, network: &mut Network, client: &Session, operation: u8, id: i64) -> Option<i64> {
        let answer = self.run(network, client, operation, 0, id, 0);
        balance_of(id, &answer)
    }

    fn add(&mut self, network: &mut Network, client: &Session, id: i64, by: i64) {
        let answer = self.run(network, client, OPERATION_UPDATE, 0, id, by);
        assert_eq!(answer.body::<OperateReply>().code.get(), 0);
    }

    fn commit_body(&self) -> CommitTransaction {
        CommitTransaction {
            session: self.id.session.into(),
            seq: self.id.seq.into(),
            partition_hash: self.home.into(),
            resolved_below: 0.into(),
        }
    }

    fn commit(&self, network: &mut Network, client: &Session) -> Received {
        network.ask(client.node, client.link, &self.commit_body(), Sections::none())
    }

    pub fn commits(&self, network: &mut Network, client: &Session) {
        let answer = self.commit(network, client);
        assert_eq!(answer.signal_type, SignalType::TransactionReply, "{answer:?}");
        assert_eq!(answer.body::<TransactionReply>().outcome.get(), transaction_reply::OUTCOME_COMMITTED);
    }

    pub fn rolls_back(&self, network: &mut Network, client: &Session) {
        let body = RollbackTransaction { session: self.id.session.into(), seq: self.id.seq.into() };
        let answer = network.ask(client.node, client.link, &body, Sections::none());
        assert_eq!(answer.body::<TransactionReply>().outcome.get(), transaction_reply::OUTCOME_ABORTED);
    }

    fn resolve(&self, network: &mut Network, client: &Session) -> u16 {
        let body = Resolve {
            session: self.id.session.into(),
            seq: self.id.seq.into(),
            partition_hash: self.home.into(),
            resolved_below: 0.into(),
        };
        let answer = network.ask(client.node, client.link, &body, Sections::none());
        answer.body::<ResolveReply>().outcome.get()
    }
}

fn balance_of(id: i64, answer: &Received) -> Option<i64> {
    let body = answer.body::<OperateReply>();
    if body.code.get() == ErrorCode::RowNotFound as u16 {
        return None;
    }
    assert_eq!(body.code.get(), 0);
    let (key, _) = row(id, 0, "");
    let (layout, view) = (layout(), answer.view());
    let values = RowView::new(&layout, &key, view.section(0)).to_values().expect("valid");
    match values[1] {
        Value::Int(balance) => Some(balance),
        _ => panic!("{values:?}"),
    }
}

fn error_of(answer: &Received) -> ErrorCode {
    ErrorCode::from_number(answer.body::<ErrorReply>().code.get()).expect("known")
}

/// Nothing is left of any transaction, and replicas are equal.
fn assert_clean(network: &mut Network) {
    network.settle();
    for kernel in &network.kernels {
        let counters = kernel.counters();
        let left = [
            counters.transactions,
            counters.row_locks,
            counters.participants,
            counters.prepared,
            counters.queued_writes,
            counters.pending_writes,
        ];
        assert_eq!(left, [0; 6], "transactions, locks, participants, prepared, queued, pending");
    }
    network.assert_replicas_equal();
}

fn cluster_of(rows: i64) -> (Network, Session) {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    for id in 0..rows {
        assert_eq!(client.write(&mut network, OPERATION_INSERT, id, 100).code.get(), 0);
    }
    (network, client)
}

#[test]
fn all_kinds_of_operations_on_many_partitions_commit_together() {
    let (mut network, mut client) = cluster_of(8);
    let mut open = Open::begin(&mut client);
    for id in 0..8 {
        assert_eq!(open.read(&mut network, &client, OPERATION_READ_EXCLUSIVE, id), Some(100));
        open.add(&mut network, &client, id, id);
        assert_eq!(open.read(&mut network, &client, OPERATION_READ, id), Some(100 + id), "its own change");
        assert_eq!(client.balance(&mut network, id), Some(100), "nobody else's");
    }
    assert_eq!(open.read(&mut network, &client, OPERATION_READ_SHARED, 20), None);
    for (operation, id) in [(OPERATION_INSERT, 20), (OPERATION_UPSERT, 21), (OPERATION_UPSERT, 1)] {
        let answer = open.run(&mut network, &client, operation, 0, id, 7);
        assert_eq!(answer.body::<OperateReply>().code.get(), 0);
    }
    for id in [2, 21] {
        let answer = open.run(&mut network, &client, OPERATION_DELETE, 0, id, 0);
        assert_eq!(answer.body::<OperateReply>().code.get(), 0);
        assert_eq!(open.read(&mut network, &client, OPERATION_READ, id), None);
    }
    for (operation, flag, id) in
        [(OPERATION_DELETE, FLAG_IGNORE_MISSING, 50), (OPERATION_INSERT, FLAG_IGNORE_EXISTING, 3)]
    {
        let answer = open.run(&mut network, &client, operation, flag, id, 1).body::<OperateReply>();
        assert_eq!((answer.code.get(), answer.flags.get()), (0, FLAG_IGNORED));
    }
    open.commits(&mut network, &client);
    for (id, balance) in [(0, Some(100)), (1, Some(7)), (2, None), (3, Some(103)), (20, Some(7)), (21, None)]
    {
        assert_eq!(client.balance(&mut network, id), balance, "row {id}");
    }
    assert_eq!(open.resolve(&mut network, &client), OUTCOME_COMMITTED);
    assert_eq!(error_of(&open.commit(&mut network, &client)), ErrorCode::UnknownTransaction);
    assert_clean(&mut network);
}

#[test]
fn a_batch_with_its_commit_is_one_round_trip() {
    let (mut network, mut client) = cluster_of(4);
    let mut open = Open::begin(&mut client);
    for id in 0..4 {
        open.send(&mut network, &client, OPERATION_UPDATE, 0, id, 1);
    }
    network.send(0, client.link, 9, &open.commit_body(), Sections::none());
    network.deliver();
    let answers = network.take(0, client.link);
    assert_eq!(answers.len(), 5);
    assert_eq!(answers.last().expect("five").signal_type, SignalType::TransactionReply);
    assert!((0..4).all(|id| client.balance(&mut network, id) == Some(101)));
    assert_clean(&mut network);
}

#[test]
fn a_rollback_leaves_nothing() {
    let (mut network, mut client) = cluster_of(4);
    let mut open = Open::begin(&mut client);
    for id in 0..6 {
        let operation = if id < 4 { OPERATION_UPDATE } else { OPERATION_INSERT };
        open.run(&mut network, &client, operation, 0, id, 1);
    }
    open.rolls_back(&mut network, &client);
    for id in 0..6 {
        assert_eq!(client.balance(&mut network, id), (id < 4).then_some(100));
    }
    assert_eq!(open.resolve(&mut network, &client), OUTCOME_ABORTED);
    assert_clean(&mut network);
}

#[test]
fn a_failed_operation_ends_the_transaction() {
    let (mut network, mut client) = cluster_of(4);
    for (operation, id, code) in
        [(OPERATION_INSERT, 1, ErrorCode::DuplicateKey), (OPERATION_UPDATE, 50, ErrorCode::RowNotFound)]
    {
        let mut open = Open::begin(&mut client);
        open.add(&mut network, &client, 0, 1);
        let answer = open.run(&mut network, &client, operation, 0, id, 1);
        assert_eq!(answer.body::<OperateReply>().code.get(), code as u16);
        let late = open.run(&mut network, &client, OPERATION_UPDATE, 0, 2, 1);
        assert_eq!(error_of(&late), ErrorCode::TransactionFailed);
        assert_eq!(error_of(&open.commit(&mut network, &client)), ErrorCode::TransactionFailed);
        assert_eq!(client.balance(&mut network, 0), Some(100));
    }
    let mut open = Open::begin(&mut client);
    open.number = 6;
    let answer = open.run(&mut network, &client, OPERATION_UPDATE, 0, 2, 1);
    assert_eq!(error_of(&answer), ErrorCode::UnknownTransaction);
    assert_clean(&mut network);
}

#[test]
fn one_pass_writes_and_transactions_wait_in_one_queue() {
    let (mut network, mut client) = cluster_of(4);
    let mut other = Session::open(&mut network, 1);
    let mut open = Open::begin(&mut client);
    open.add(&mut network, &client, 0, 10);
    let (body, key, program) = other.increment(0, 1);
    network.send(1, other.link, 1, &body, Sections::two(&key, &program));
    let mut second = Open::begin(&mut other);
    second.send(&mut network, &other, OPERATION_UPDATE, 0, 0, 5);
    second.send(&mut network, &other, OPERATION_READ_SHARED, 0, 0, 0);
    let (body, key, program) = other.increment(0, 1);
    network.send(1, other.link, 2, &body, Sections::two(&key, &program));
    network.deliver();
    assert!(network.take(1, other.link).is_empty(), "all wait for the first transaction");
    assert_eq!(client.balance(&mut network, 0), Some(100), "readers do not");
    open.commits(&mut network, &client);
    let answers = network.take(1, other.link);
    assert_eq!(answers.len(), 3, "the first write and both operations of the second transaction");
    assert_eq!(answers[0].body::<WriteReply>().result[0], 111);
    assert_eq!(balance_of(0, &answers[2]), Some(116));
    let body = RollbackTransaction { session: second.id.session.into(), seq: second.id.seq.into() };
    network.send(1, other.link, 9, &body, Sections::none());
    network.deliver();
    assert_eq!(network.take(1, other.link).len(), 2, "the roll-back and the last write");
    assert_eq!(client.balance(&mut network, 0), Some(112));
    assert_clean(&mut network);
}

#[test]
fn shared_locks_are_shared_and_upgraded() {
    let (mut network, mut client) = cluster_of(2);
    let mut other = Session::open(&mut network, 1);
    let mut first = Open::begin(&mut client);
    let mut second = Open::begin(&mut other);
    for id in 0..2 {
        assert_eq!(first.read(&mut network, &client, OPERATION_READ_SHARED, id), Some(100));
        assert_eq!(second.read(&mut network, &other, OPERATION_READ_SHARED, id), Some(100));
    }
    first.send(&mut network, &client, OPERATION_UPDATE, 0, 0, 1);
    network.deliver();
    assert!(network.take(0, client.link).is_empty(), "the other one reads");
    second.commits(&mut network, &other);
    let answers = network.take(0, client.link);
    assert_eq!(answers.len(), 1, "upgraded");
    let mut third = Open::begin(&mut other);
    third.send(&mut network, &other, OPERATION_READ_SHARED, 0, 0, 0);
    network.deliver();
    assert!(network.take(1, other.link).is_empty());
    first.commits(&mut network, &client);
    let answers = network.take(1, other.link);
    assert_eq!(balance_of(0, &answers[0]), Some(101));
    third.commits(&mut network, &other);
    assert_clean(&mut network);
}

#[test]
fn operations_on_one_row_are_executed_in_order_also_when_they_wait() {
    for upgrade in [true, false] {
        let (mut network, mut client) = cluster_of(2);
        let mut other = Session::open(&mut network, 1);
        let mut first = Open::begin(&mut client);
        let mut second = Open::begin(&mut other);
        let held = if upgrade { OPERATION_READ_SHARED } else { OPERATION_READ_EXCLUSIVE };
        assert_eq!(second.read(&mut network, &other, held, 0), Some(100));
        if upgrade {
            assert_eq!(first.read(&mut network, &client, OPERATION_READ_SHARED, 0), Some(100));
        }
        for (operation, balance) in [
            (OPERATION_UPSERT, 5),
            (OPERATION_READ, 0),
            (OPERATION_READ_SHARED, 0),
            (OPERATION_UPDATE, 1),
            (OPERATION_UPSERT, 8),
            (OPERATION_READ, 0),
        ] {
            first.send(&mut network, &client, operation, 0, 0, balance);
        }
        network.deliver();
        let early = network.take(0, client.link);
        assert!(early.is_empty(), "all wait for the other transaction: {early:?}");
        assert_eq!(client.balance(&mut network, 0), Some(100));
        second.rolls_back(&mut network, &other);
        network.settle();
        let answers = network.take(0, client.link);
        let balances: Vec<_> = [1, 2, 5].iter().map(|answer| balance_of(0, &answers[*answer])).collect();
        assert_eq!((answers.len(), balances), (6, vec![Some(5), Some(5), Some(8)]));
        first.commits(&mut network, &client);
        assert_eq!(client.balance(&mut network, 0), Some(8));
        assert_clean(&mut network);
    }
}

#[test]
fn circles_of_waiting_transactions_lose_their_youngest() {
    for upgrade in [false, true] {
        let (mut network, mut client) = cluster_of(8);
        let mut other = Session::open(&mut network, 1);
        let mut first = Open::begin(&mut client);
        let mut second = Open::begin(&mut other);
        let rows = if upgrade { [3, 3] } else { [3, 4] };
        if upgrade {
            first.read(&mut network, &client, OPERATION_READ_SHARED, 3);
            second.read(&mut network, &other, OPERATION_READ_SHARED, 3);
        } else {
            first.add(&mut network, &client, rows[0], 1);
            second.add(&mut network, &other, rows[1], 1);
        }
        first.send(&mut network, &client, OPERATION_UPDATE, 0, rows[1], 1);
        second.send(&mut network, &other, OPERATION_UPDATE, 0, rows[0], 1);
        network.settle();
        let (mine, others) = (network.take(0, client.link), network.take(1, other.link));
        assert_eq!((mine.len(), others.len()), (1, 1), "{mine:?} {others:?}");
        assert_eq!(mine[0].body::<OperateReply>().code.get(), 0, "the older one goes on");
        assert_eq!(error_of(&others[0]), ErrorCode::Deadlock);
        assert_eq!(network.kernels[1].counters().deadlocks, 1);
        first.commits(&mut network, &client);
        assert_eq!(error_of(&second.commit(&mut network, &other)), ErrorCode::Deadlock);
        assert_clean(&mut network);
    }
}

#[test]
fn whoever_was_tried_more_often_wins_over_the_older() {
    let (mut network, mut client) = cluster_of(8);
    let mut other = Session::open(&mut network, 1);
    let mut older = Open::begin(&mut client);
    let mut younger = Open { tries: 1, ..Open::begin(&mut other) };
    older.add(&mut network, &client, 3, 1);
    younger.add(&mut network, &other, 4, 1);
    older.send(&mut network, &client, OPERATION_UPDATE, 0, 4, 1);
    younger.send(&mut network, &other, OPERATION_UPDATE, 0, 3, 1);
    network.settle();
    let (olders, youngers) = (network.take(0, client.link), network.take(1, other.link));
    assert_eq!((olders.len(), youngers.len()), (1, 1), "{olders:?} {youngers:?}");
    assert_eq!(error_of(&olders[0]), ErrorCode::Deadlock);
    assert_eq!(youngers[0].body::<OperateReply>().code.get(), 0);
    younger.commits(&mut network, &other);
    assert_eq!(error_of(&older.commit(&mut network, &client)), ErrorCode::Deadlock);
    assert_clean(&mut network);
}

#[test]
fn a_circle_is_broken_within_fifty_milliseconds() {
    let (mut network, mut client) = cluster_of(8);
    let mut others = [Session::open(&mut network, 0), Session::open(&mut network, 1)];
    let mut open: Vec<Open> = others.iter_mut().map(Open::begin).collect();
    let mut first = Open::begin(&mut client);
    // A circle of three over rows of both nodes.
    let rows = [0, 1, 2];
    first.add(&mut network, &client, rows[0], 1);
    open[0].add(&mut network, &others[0], rows[1], 1);
    open[1].add(&mut network, &others[1], rows[2], 1);
    first.send(&mut network, &client, OPERATION_READ_SHARED, 0, rows[1], 0);
    open[0].send(&mut network, &others[0], OPERATION_READ_SHARED, 0, rows[2], 0);
    open[1].send(&mut network, &others[1], OPERATION_READ_SHARED, 0, rows[0], 0);
    network.deliver();
    let deadlocks =
        |network: &Network| -> u64 { network.kernels.iter().map(|kernel| kernel.counters().deadlocks).sum() };
    for _ in 0..5 {
        assert_eq!(deadlocks(&network), 0, "not before the end of the first ticks");
        network.now += 10_000_000;
        for node in 0..2 {
            network.kernels[node].tick(network.now);
            network.after(node);
        }
        network.deliver();
        if deadlocks(&network) > 0 {
            break;
        }
    }
    assert_eq!(deadlocks(&network), 1);
    let answers: Vec<_> = [(0, client.link), (0, others[0].link), (1, others[1].link)]
        .into_iter()
        .map(|(node, link)| network.take(node, link))
        .collect();
    let failed = answers.iter().flatten().filter(|answer| answer.signal_type == SignalType::ErrorReply);
    assert_eq!(failed.count(), 1, "{answers:?}");
}

#[test]
fn without_backups_the_primary_does_it_alone() {
    let mut network = Network::without_backups();
    let mut client = Session::open(&mut network, 0);
    for id in 0..6 {
        assert_eq!(client.write(&mut network, OPERATION_INSERT, id, 100).code.get(), 0);
    }
    let mut open = Open::begin(&mut client);
    for id in 0..6 {
        open.add(&mut network, &client, id, id);
    }
    assert_eq!(client.balance(&mut network, 5), Some(100));
    open.commits(&mut network, &client);
    assert!((0..6).all(|id| client.balance(&mut network, id) == Some(100 + id)));
    assert_eq!(open.resolve(&mut network, &client), OUTCOME_COMMITTED);
    let mut open = Open::begin(&mut client);
    open.add(&mut network, &client, 1, 1);
    assert_eq!(open.resolve(&mut network, &client), OUTCOME_ABORTED);
    assert_eq!(error_of(&open.commit(&mut network, &client)), ErrorCode::Aborted);
    network.settle();
    let counters = network.kernels[0].counters();
    assert_eq!((counters.transactions, counters.row_locks, counters.participants), (0, 0, 0));
}

#[test]
fn bad_input_ends_in_numbered_errors() {
    let (mut network, mut client) = cluster_of(4);
    let nothing = Open::begin(&mut client);
    assert_eq!(error_of(&nothing.commit(&mut network, &client)), ErrorCode::UnknownTransaction);
    let mut open = Open::begin(&mut client);
    open.add(&mut network, &client, 0, 1);
    open.number = 5;
    let skipped = open.run(&mut network, &client, OPERATION_UPDATE, 0, 1, 1);
    assert_eq!(error_of(&skipped), ErrorCode::InvalidRequest, "a number was left out");
    assert_eq!(error_of(&open.commit(&mut network, &client)), ErrorCode::TransactionFailed);

    let mut open = Open::begin(&mut client);
    let unknown = open.run(&mut network, &client, 99, 0, 1, 1);
    assert_eq!(error_of(&unknown), ErrorCode::InvalidRequest, "no such operation");
    open.rolls_back(&mut network, &client);

    let other = Session::open(&mut network, 0);
    let mut open = Open::begin(&mut client);
    open.add(&mut network, &client, 0, 1);
    let stolen = network.ask(0, other.link, &open.commit_body(), Sections::none());
    assert_eq!(error_of(&stolen), ErrorCode::UnknownTransaction, "it belongs to another link");
    open.commits(&mut network, &client);
    let late = open.run(&mut network, &client, OPERATION_UPDATE, 0, 1, 1);
    assert_eq!(error_of(&late), ErrorCode::UnknownTransaction, "it has ended");

    let mut zero = Open::begin(&mut client);
    zero.id.seq = 0;
    let invalid = zero.run(&mut network, &client, OPERATION_UPDATE, 0, 1, 1);
    assert_eq!(error_of(&invalid), ErrorCode::InvalidTransaction);
    assert_clean(&mut network);
}

#[test]
fn a_transaction_has_a_bound() {
    let (mut network, mut client) = cluster_of(1);
    let mut open = Open::begin(&mut client);
    let mut last = open.run(&mut network, &client, OPERATION_READ_EXCLUSIVE, 0, 0, 0);
    while last.signal_type == SignalType::OperateReply {
        assert!(open.number < 20_000, "there is a bound");
        last = open.run(&mut network, &client, OPERATION_READ_EXCLUSIVE, 0, 0, 0);
    }
    assert_eq!(error_of(&last), ErrorCode::TransactionTooLarge);
    open.rolls_back(&mut network, &client);
    assert_clean(&mut network);
}

#[test]
fn waiting_ends_by_the_lock_timeout_and_silence_by_the_idle_timeout() {
    let (mut network, mut client) = cluster_of(2);
    let mut other = Session::open(&mut network, 1);
    let mut first = Open::begin(&mut client);
    first.add(&mut network, &client, 0, 1);
    let mut second = Open::begin(&mut other);
    second.send(&mut network, &other, OPERATION_READ_EXCLUSIVE, 0, 0, 0);
    for _ in 0..4 {
        network.settle();
    }
    let answers = network.take(1, other.link);
    assert_eq!(error_of(&answers[0]), ErrorCode::LockTimeout);
    for _ in 0..12 {
        network.settle();
    }
    let late = first.run(&mut network, &client, OPERATION_READ, 0, 0, 0);
    assert_eq!(error_of(&late), ErrorCode::TransactionIdle);
    first.rolls_back(&mut network, &client);
    second.rolls_back(&mut network, &other);
    assert_clean(&mut network);
}

#[test]
fn a_one_pass_write_does_not_wait_for_a_lock_for_ever() {
    let (mut network, mut client) = cluster_of(2);
    let mut other = Session::open(&mut network, 1);
    let mut open = Open::begin(&mut client);
    assert_eq!(open.read(&mut network, &client, OPERATION_READ_SHARED, 0), Some(100));
    let (body, key, program) = other.increment(0, 1);
    network.send(1, other.link, 1, &body, Sections::two(&key, &program));
    let mut reader = Open::begin(&mut other);
    reader.send(&mut network, &other, OPERATION_READ_SHARED, 0, 0, 0);
    network.deliver();
    assert!(network.take(1, other.link).is_empty(), "first come, first served");
    for _ in 0..4 {
        network.settle();
    }
    let answers = network.take(1, other.link);
    assert_eq!(error_of(&answers[0]), ErrorCode::LockTimeout);
    open.commits(&mut network, &client);
    reader.rolls_back(&mut network, &other);
    let answer = network.ask(1, other.link, &body, Sections::two(&key, &program)).body::<WriteReply>();
    assert_eq!(answer.result[0], 101, "tried again under its own id");
    assert_clean(&mut network);
}

#[test]
fn a_lost_client_lets_its_locks_go() {
    let (mut network, mut client) = cluster_of(4);
    let mut other = Session::open(&mut network, 1);
    let mut lost = Open::begin(&mut other);
    for id in 0..4 {
        lost.add(&mut network, &other, id, 1);
    }
    network.cut(1, other.link.slot);
    network.deliver();
    for id in 0..4 {
        assert_eq!(client.write(&mut network, OPERATION_UPSERT, id, 1).code.get(), 0);
    }
    assert_clean(&mut network);
}

#[test]
fn nothing_is_exposed_before_all_replicas_decided_and_a_resolve_waits() {
    let (mut network, mut client) = cluster_of(8);
    let mut open = Open::begin(&mut client);
    for id in 0..8 {
        open.send(&mut network, &client, OPERATION_UPDATE, 0, id, 1);
    }
    network.deliver();
    assert_eq!(network.take(0, client.link).len(), 8);
    network.paused[1] = true;
    network.send(0, client.link, 9, &open.commit_body(), Sections::none());
    network.settle_for(20);
    assert!(network.take(0, client.link).is_empty());
    for id in 0..8 {
        if network.leader(&row(id, 0, "").0) == 0 {
            assert_eq!(client.balance(&mut network, id), Some(100));
        }
    }
    network.paused[1] = false;
    network.settle();
    let answers = network.take(0, client.link);
    assert_eq!(answers[0].body::<TransactionReply>().outcome.get(), transaction_reply::OUTCOME_COMMITTED);
    for id in 0..8 {
        assert_eq!(client.balance(&mut network, id), Some(101));
    }
    assert_eq!(open.resolve(&mut network, &client), OUTCOME_COMMITTED);
    assert_clean(&mut network);
}

#[test]
fn a_fence_before_the_commit_aborts_it() {
    let (mut network, mut client) = cluster_of(4);
    let mut open = Open::begin(&mut client);
    for id in 0..4 {
        open.add(&mut network, &client, id, 1);
    }
    assert_eq!(open.resolve(&mut network, &client), OUTCOME_ABORTED);
    assert_eq!(error_of(&open.commit(&mut network, &client)), ErrorCode::Aborted);
    assert!((0..4).all(|id| client.balance(&mut network, id) == Some(100)));
    assert_eq!(open.resolve(&mut network, &client), OUTCOME_ABORTED);
    assert_clean(&mut network);
}

#[test]
fn broken_links_between_the_nodes_neither_lose_nor_repeat_a_commit() {
    let (mut network, mut client) = cluster_of(8);
    let mut expected = 800;
    let mut committed = 0;
    for round in 0..60 {
        let mut open = Open::begin(&mut client);
        for id in 0..4 {
            open.send(&mut network, &client, OPERATION_UPDATE, 0, (id + round) % 8, 1);
        }
        network.send(0, client.link, 9, &open.commit_body(), Sections::none());
        if round % 3 == 1 {
            network.cut_peers();
        }
        network.settle();
        let answers = network.take(0, client.link);
        assert_eq!(answers.len(), 5, "{answers:?}");
        match answers.last().expect("five").signal_type {
            SignalType::TransactionReply => {
                committed += 1;
                expected += 4;
            }
            _ => assert_ne!(open.resolve(&mut network, &client), OUTCOME_COMMITTED),
        }
        let total: i64 = (0..8).filter_map(|id| client.balance(&mut network, id)).sum();
        assert_eq!(total, expected);
    }
    assert!(committed >= 30, "{committed}");
    let late = write(OPERATION_UPSERT, client.transaction());
    let (key, value) = row(1, 1, "somebody");
    network.ask(0, client.link, &late, Sections::two(&key, &value)).body::<WriteReply>();
    assert_clean(&mut network);
}
