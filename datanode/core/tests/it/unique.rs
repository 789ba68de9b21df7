//! Unique indexes: entries follow their rows, in one transaction with them, whoever writes and however often.

use crate::network::{Network, Received, TABLE, USERS, users_definition};
use crate::requests::Session;
use duet_protocol::error::ErrorCode;
use duet_protocol::hash::key_hash;
use duet_protocol::ids::TransactionId;
use duet_protocol::layout::TableLayout;
use duet_protocol::signal::commit_transaction::CommitTransaction;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::operate::{FLAG_IGNORE_EXISTING, OPERATION_READ_SHARED, Operate};
use duet_protocol::signal::operate_reply::{FLAG_IGNORED, OperateReply};
use duet_protocol::signal::read::Read;
use duet_protocol::signal::read_reply::ReadReply;
use duet_protocol::signal::resolve::Resolve;
use duet_protocol::signal::resolve_reply::{OUTCOME_ABORTED, ResolveReply};
use duet_protocol::signal::rollback_transaction::RollbackTransaction;
use duet_protocol::signal::write::{
    FLAG_EXPECT_VERSION, OPERATION_DELETE, OPERATION_INSERT, OPERATION_UPDATE, OPERATION_UPSERT, Write,
};
use duet_protocol::signal::write_reply::{FLAG_REPLAYED, WriteReply};
use duet_protocol::signal::{Sections, SignalType};
use duet_protocol::unique::UniqueLayout;
use duet_protocol::update::{Assignment, encode_update};
use duet_protocol::value::{Value, ValueRef};

const BY_BADGE: u32 = USERS + 1;
const BY_EMAIL: u32 = USERS + 2;

fn users() -> TableLayout {
    TableLayout::new(&users_definition()).expect("valid")
}

/// Key and value image of a user.
fn user(id: i64, badge: Option<i64>, email: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let values = [
        Value::Int(id),
        badge.map_or(Value::Null, Value::Int),
        email.map_or(Value::Null, |email| Value::Text(email.to_owned())),
        Value::Int(0),
    ];
    users().encode_row(&values, &mut key, &mut value).expect("fits");
    (key, value)
}

/// The index with this hidden table.
fn index_of(table: u32) -> UniqueLayout {
    let definition = users_definition();
    UniqueLayout::new(&definition, &definition.indexes[(table - BY_BADGE) as usize]).expect("valid")
}

fn entry_key(table: u32, values: &[Value]) -> Vec<u8> {
    let mut key = Vec::new();
    index_of(table).entries().encode_key(values, &mut key).expect("fits");
    key
}

fn set_badge(badge: i64) -> Vec<u8> {
    program(&[(1, Assignment::Set(ValueRef::Int(badge)))])
}

fn program(assignments: &[(u16, Assignment<'_>)]) -> Vec<u8> {
    let mut program = Vec::new();
    encode_update(&users(), assignments, &mut program).expect("valid");
    program
}

fn write_body(operation: u8, transaction: TransactionId) -> Write {
    Write { table: USERS.into(), ..crate::network::write(operation, transaction) }
}

/// What a write, or another operation, ended with.
fn code(answer: &Received) -> u16 {
    match answer.signal_type {
        SignalType::WriteReply => answer.body::<WriteReply>().code.get(),
        SignalType::OperateReply => answer.body::<OperateReply>().code.get(),
        _ => answer.body::<ErrorReply>().code.get(),
    }
}

const VIOLATION: u16 = ErrorCode::UniqueViolation as u16;

struct Users {
    network: Network,
    client: Session,
}

impl Users {
    fn new() -> Users {
        let mut network = Network::formed();
        let client = Session::open(&mut network, 0);
        Users { network, client }
    }

    fn leader(&self, key: &[u8]) -> usize {
        let partition = self.network.state.partition_of(key_hash(key)).expect("formed");
        self.network.state.view.partitions[usize::from(partition)].replicas[0] as usize - 1
    }

    fn write_as(&mut self, id: TransactionId, operation: u8, key: &[u8], value: &[u8]) -> Received {
        let body = write_body(operation, id);
        let (node, link) = (self.client.node, self.client.link);
        self.network.send(node, link, 9, &body, Sections::two(key, value));
        self.network.deliver();
        let mut answers = self.network.take(node, link);
        if answers.is_empty() {
            // Parts of a node hand messages on at their next events.
            self.network.settle();
            answers = self.network.take(node, link);
        }
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0)
    }

    fn write(&mut self, operation: u8, key: &[u8], value: &[u8]) -> Received {
        let id = self.client.transaction();
        self.write_as(id, operation, key, value)
    }

    fn insert(&mut self, id: i64, badge: Option<i64>, email: Option<&str>) -> u16 {
        let (key, value) = user(id, badge, email);
        code(&self.write(OPERATION_INSERT, &key, &value))
    }

    fn update(&mut self, id: i64, program: &[u8]) -> u16 {
        code(&self.write(OPERATION_UPDATE, &user(id, None, None).0, program))
    }

    fn delete(&mut self, id: i64) -> u16 {
        code(&self.write(OPERATION_DELETE, &user(id, None, None).0, &[]))
    }

    /// The primary key that an entry names.
    fn entry(&mut self, table: u32, values: &[Value]) -> Option<Vec<u8>> {
        let (layout, key) = (index_of(table), entry_key(table, values));
        let body = Read { table: table.into(), table_version: 1.into(), flags: 0.into() };
        let node = self.leader(&key);
        let link = self.network.client_link(node);
        let answer = self.network.ask(node, link, &body, Sections::one(&key));
        let found = answer.body::<ReadReply>().code.get() == 0;
        found.then(|| layout.primary_key(answer.view().section(0)).expect("well formed").to_vec())
    }

    fn badge(&mut self, badge: i64) -> Option<i64> {
        let key = self.entry(BY_BADGE, &[Value::Int(badge)])?;
        match users().decode_key(&key).expect("well formed")[..] {
            [Value::Int(id)] => Some(id),
            ref other => panic!("{other:?}"),
        }
    }

    fn email(&mut self, email: &str) -> bool {
        self.entry(BY_EMAIL, &[Value::Text(email.to_owned())]).is_some()
    }

    fn committed(&self) -> u64 {
        self.network.kernels.iter().map(|kernel| kernel.counters().transactions_committed).sum()
    }

    fn operate(
        &mut self,
        id: TransactionId,
        number: u32,
        operation: u8,
        flags: u8,
        key: &[u8],
        value: &[u8],
    ) {
        let body = Operate {
            table: USERS.into(),
            table_version: 1.into(),
            operation,
            flags,
            session: id.session.into(),
            seq: id.seq.into(),
            number: number.into(),
            ..Operate::default()
        };
        let request = 100 + u64::from(number);
        self.network.send(self.client.node, self.client.link, request, &body, Sections::two(key, value));
    }

    fn commit(&mut self, id: TransactionId, home: &[u8]) {
        let body = CommitTransaction {
            session: id.session.into(),
            seq: id.seq.into(),
            partition_hash: key_hash(home).into(),
            resolved_below: 0.into(),
        };
        self.network.send(self.client.node, self.client.link, 99, &body, Sections::none());
    }

    fn roll_back(&mut self, id: TransactionId) {
        let body = RollbackTransaction { session: id.session.into(), seq: id.seq.into() };
        self.network.send(self.client.node, self.client.link, 99, &body, Sections::none());
    }

    fn answers(&mut self) -> Vec<Received> {
        self.network.deliver();
        let mut answers = self.network.take(self.client.node, self.client.link);
        answers.sort_by_key(|answer| answer.view().request_id());
        answers
    }

    /// Nothing is left of any transaction, and replicas are equal.
    fn assert_clean(&mut self) {
        self.network.settle();
        for kernel in &self.network.kernels {
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
        self.network.assert_replicas_equal();
    }
}

#[test]
fn entries_follow_the_rows_of_single_writes() {
    let mut users = Users::new();
    for id in 0..8 {
        assert_eq!(users.insert(id, Some(id * 10), Some(&format!("user{id}"))), 0);
    }
    assert_eq!((users.badge(30), users.email("user3"), users.badge(31)), (Some(3), true, None));
    assert_eq!(users.insert(3, Some(99), None), ErrorCode::DuplicateKey as u16);
    assert_eq!(users.insert(9, Some(30), Some("other")), VIOLATION);
    assert_eq!((users.badge(99), users.email("other")), (None, false), "nothing of a refused write stays");
    assert_eq!(users.update(3, &set_badge(31)), 0);
    assert_eq!((users.badge(30), users.badge(31)), (None, Some(3)));
    assert_eq!(users.update(3, &set_badge(40)), VIOLATION);
    let (key, value) = user(4, Some(30), Some("user3"));
    assert_eq!(code(&users.write(OPERATION_UPSERT, &key, &value)), VIOLATION, "of the second index");
    let (key, value) = user(4, Some(30), None);
    assert_eq!(code(&users.write(OPERATION_UPSERT, &key, &value)), 0);
    assert_eq!((users.badge(40), users.badge(30), users.email("user4")), (None, Some(4), false));
    assert_eq!(users.delete(4), 0);
    assert_eq!(users.badge(30), None);
    assert_eq!(users.delete(4), ErrorCode::RowNotFound as u16);
    assert_eq!(users.insert(10, None, None), 0);
    assert_eq!(users.insert(11, None, None), 0, "NULL is equal to nothing");
    assert_eq!(users.delete(10), 0);
    users.assert_clean();
    let rows: u64 = users.network.kernels.iter().map(|kernel| kernel.counters().rows).sum();
    assert_eq!(rows, 2 * (8 + 7 + 7), "rows and entries on both replicas");
}

#[test]
fn a_write_that_leaves_the_columns_alone_is_one_pass() {
    let mut users = Users::new();
    assert_eq!(users.insert(1, Some(5), Some("a")), 0);
    let before = users.committed();
    assert_eq!(before, 1);
    assert_eq!(users.update(1, &program(&[(3, Assignment::Add(ValueRef::Int(1)))])), 0);
    assert_eq!(users.update(1, &set_badge(5)), 0, "the same value");
    let (key, value) = user(1, Some(5), Some("a"));
    assert_eq!(code(&users.write(OPERATION_UPSERT, &key, &value)), 0);
    assert_eq!(users.insert(2, None, None), 0);
    assert_eq!(users.committed(), before);
    assert_eq!(users.update(1, &set_badge(6)), 0);
    assert_eq!(users.committed(), before + 1);
    users.assert_clean();
}

#[test]
fn a_repeated_write_happens_once_and_answers_the_same() {
    let mut users = Users::new();
    assert_eq!(users.insert(1, Some(5), Some("a")), 0);
    let id = users.client.transaction();
    let key = user(1, None, None).0;
    let add = program(&[(1, Assignment::Add(ValueRef::Int(10)))]);
    let first = users.write_as(id, OPERATION_UPDATE, &key, &add).body::<WriteReply>();
    assert_eq!((first.code.get(), first.flags.get(), first.result_bytes.get()), (0, 0, 8));
    let second = users.write_as(id, OPERATION_UPDATE, &key, &add).body::<WriteReply>();
    assert_eq!((second.code.get(), second.flags.get()), (0, FLAG_REPLAYED));
    assert_eq!((second.epoch, second.seq, second.result), (first.epoch, first.seq, first.result));
    assert_eq!((users.badge(5), users.badge(15), users.badge(25)), (None, Some(1), None));
    // The version is that of the row, as a compare-and-set needs it.
    let body = Write {
        flags: FLAG_EXPECT_VERSION,
        expected_epoch: first.epoch,
        expected_seq: first.seq,
        ..write_body(OPERATION_UPDATE, users.client.transaction())
    };
    let (node, link) = (users.client.node, users.client.link);
    let answer = users.network.ask(node, link, &body, Sections::two(&key, &add));
    assert_eq!(code(&answer), 0);
    let body = Write { seq: (body.seq.get() + 100).into(), ..body };
    let answer = users.network.ask(node, link, &body, Sections::two(&key, &add));
    assert_eq!(code(&answer), ErrorCode::VersionMismatch as u16);
    // Sent twice before the first is done, over two links.
    let other = users.network.client_link(1);
    let body = write_body(OPERATION_UPDATE, users.client.transaction());
    users.network.send(node, link, 1, &body, Sections::two(&key, &add));
    users.network.send(1, other, 2, &body, Sections::two(&key, &add));
    users.network.deliver();
    let codes = [users.network.take(node, link), users.network.take(1, other)].map(|mut answers| {
        assert_eq!(answers.len(), 1);
        code(&answers.remove(0))
    });
    assert!(
        codes.contains(&0) && codes.iter().all(|code| [0, ErrorCode::OutcomeUnknown as u16].contains(code))
    );
    assert_eq!((users.badge(25), users.badge(35), users.badge(45)), (None, Some(1), None));
    users.assert_clean();
}

#[test]
fn writes_wait_for_entries_that_transactions_hold() {
    for commits in [true, false] {
        let mut users = Users::new();
        assert_eq!(users.insert(1, Some(5), None), 0);
        let id = users.client.transaction();
        users.operate(id, 1, OPERATION_UPDATE, 0, &user(1, None, None).0, &set_badge(6));
        assert_eq!(users.answers().iter().map(code).collect::<Vec<_>>(), [0]);
        assert_eq!((users.badge(5), users.badge(6)), (Some(1), None), "not committed");
        let other = users.network.client_link(1);
        let (key, value) = user(2, Some(6), None);
        let body = write_body(OPERATION_INSERT, TransactionId { seq: 77, ..id });
        users.network.send(1, other, 1, &body, Sections::two(&key, &value));
        users.network.deliver();
        assert!(users.network.take(1, other).is_empty(), "it waits");
        if commits {
            users.commit(id, &user(1, None, None).0);
        } else {
            users.roll_back(id);
        }
        users.answers();
        let answer = users.network.take(1, other).remove(0);
        assert_eq!(code(&answer), if commits { VIOLATION } else { 0 });
        if commits {
            assert!(answer.view().section(0).ends_with(b"index 'by_badge'"), "{answer:?}");
        }
        assert_eq!(users.badge(6), Some(if commits { 1 } else { 2 }));
        users.assert_clean();
    }
}

#[test]
fn operations_of_a_transaction_see_the_entries_of_those_before() {
    let mut users = Users::new();
    for id in 1..=6 {
        assert_eq!(users.insert(id, Some(id), Some(&format!("user{id}"))), 0);
    }
    // All in one go: 6 leaves, 5 takes its badge, and so on; the last one takes what 1 leaves.
    let id = users.client.transaction();
    let key = |id| user(id, None, None).0;
    users.operate(id, 1, OPERATION_DELETE, 0, &key(6), &[]);
    for (number, user) in (2..).zip((1..=5).rev()) {
        users.operate(id, number, OPERATION_UPDATE, 0, &key(user), &set_badge(user + 1));
    }
    let (new, value) = user(9, Some(1), Some("user6"));
    users.operate(id, 7, OPERATION_INSERT, 0, &new, &value);
    users.commit(id, &key(6));
    let answers = users.answers();
    assert_eq!(answers.len(), 8);
    assert!(answers[1..].iter().all(|answer| code(answer) == 0), "{answers:?}");
    let found: Vec<_> = (1..=6).map(|badge| users.badge(badge)).collect();
    assert_eq!(found, [Some(9), Some(1), Some(2), Some(3), Some(4), Some(5)]);

    let id = users.client.transaction();
    users.operate(id, 1, OPERATION_UPDATE, 0, &key(1), &set_badge(50));
    users.operate(id, 2, OPERATION_UPDATE, 0, &key(2), &set_badge(6));
    users.commit(id, &key(1));
    let codes: Vec<u16> = users.answers().iter().map(code).collect();
    let failed = ErrorCode::TransactionFailed as u16;
    assert_eq!(codes[2], VIOLATION);
    assert!([0, failed].contains(&codes[1]), "its entries may still be under way: {codes:?}");
    assert!([failed, ErrorCode::UnknownTransaction as u16].contains(&codes[0]), "{codes:?}");
    assert_eq!((users.badge(50), users.badge(2)), (None, Some(1)), "rolled back");
    users.assert_clean();
}

#[test]
fn an_insert_may_be_told_to_do_nothing_when_it_violates_an_index() {
    let mut users = Users::new();
    assert_eq!(users.insert(1, Some(1), Some("a")), 0);
    let id = users.client.transaction();
    let insert = |users: &mut Users, number, user: (Vec<u8>, Vec<u8>)| {
        users.operate(id, number, OPERATION_INSERT, FLAG_IGNORE_EXISTING, &user.0, &user.1);
    };
    insert(&mut users, 1, user(2, Some(2), Some("a")));
    insert(&mut users, 2, user(3, Some(2), Some("b")));
    insert(&mut users, 3, user(3, Some(3), Some("c")));
    insert(&mut users, 4, user(4, Some(2), None));
    users.operate(id, 5, OPERATION_UPDATE, 0, &user(3, None, None).0, &set_badge(7));
    users.commit(id, &user(2, None, None).0);
    let answers = users.answers();
    let flags: Vec<u16> =
        answers[1..].iter().map(|answer| answer.body::<OperateReply>().flags.get()).collect();
    assert_eq!(answers[1..].iter().map(code).sum::<u16>(), 0);
    assert_eq!(flags, [FLAG_IGNORED, 0, FLAG_IGNORED, FLAG_IGNORED, 0]);
    assert_eq!(
        (users.badge(2), users.badge(7), users.email("b"), users.email("c")),
        (None, Some(3), true, false)
    );
    users.assert_clean();
    let rows: u64 = users.network.kernels.iter().map(|kernel| kernel.counters().rows).sum();
    assert_eq!(rows, 2 * 6);
}

#[test]
fn clients_do_not_write_entries_nor_borrow_the_ways_of_coordinators() {
    let mut users = Users::new();
    assert_eq!(users.insert(1, Some(1), None), 0);
    let (key, value) = user(2, None, None);
    let body = Write { table: BY_BADGE.into(), ..write_body(OPERATION_DELETE, users.client.transaction()) };
    let (node, link) = (users.client.node, users.client.link);
    let answer = users.network.ask(node, link, &body, Sections::one(&key));
    assert_eq!(code(&answer), ErrorCode::HiddenTable as u16);
    for (table, operation, flags, wanted) in [
        (BY_BADGE, OPERATION_DELETE, 0, ErrorCode::HiddenTable),
        (USERS, 8, 0, ErrorCode::InvalidRequest),
        (USERS, OPERATION_INSERT, 16, ErrorCode::InvalidRequest),
        (TABLE, 9, 0, ErrorCode::InvalidRequest),
    ] {
        let id = users.client.transaction();
        let body = Operate {
            table: table.into(),
            table_version: 1.into(),
            operation,
            flags,
            session: id.session.into(),
            seq: id.seq.into(),
            number: 1.into(),
            ..Operate::default()
        };
        let value: &[u8] = if operation == OPERATION_INSERT { &value } else { &[] };
        let answer = users.network.ask(node, link, &body, Sections::two(&key, value));
        assert_eq!(code(&answer), wanted as u16);
        users.roll_back(id);
        users.answers();
    }
    for flags in [2, 4, 8, 16, 128] {
        let (key, value) = user(20, Some(20), None);
        let body = Write { flags, ..write_body(OPERATION_INSERT, users.client.transaction()) };
        let answer = users.network.ask(node, link, &body, Sections::two(&key, &value));
        assert_eq!(code(&answer), ErrorCode::InvalidRequest as u16, "flags {flags} of a single write");
    }
    assert_eq!((users.badge(20), users.insert(20, Some(20), None)), (None, 0));
    assert_eq!(users.badge(20), Some(20));
    // Two coordinators with one id: the second is refused and does not disturb the first.
    let id = users.client.transaction();
    users.operate(id, 1, OPERATION_READ_SHARED, 0, &user(1, None, None).0, &[]);
    users.answers();
    let partition = |users: &Users, key: &[u8]| users.network.state.partition_of(key_hash(key));
    let held = partition(&users, &user(1, None, None).0);
    let beside = (10..).map(|id| user(id, Some(3), None)).find(|(key, _)| partition(&users, key) == held);
    let (key, value) = beside.expect("there are many");
    let body = write_body(OPERATION_INSERT, id);
    let answer = users.network.ask(node, link, &body, Sections::two(&key, &value));
    assert_eq!(code(&answer), ErrorCode::InvalidTransaction as u16);
    users.operate(id, 2, OPERATION_UPDATE, 0, &user(1, None, None).0, &set_badge(4));
    users.commit(id, &user(1, None, None).0);
    users.answers();
    assert_eq!((users.badge(3), users.badge(4)), (None, Some(1)));
    users.assert_clean();
}

#[test]
fn what_a_resolve_has_told_stays_true_for_a_late_copy_of_the_write() {
    let mut users = Users::new();
    // Node 0 leads the row and its entry, and cannot prepare them: their backup does not answer.
    let led = (0..).find(|id| users.leader(&user(*id, None, None).0) == 0).expect("some");
    let badge = (0..).find(|badge| users.leader(&entry_key(BY_BADGE, &[Value::Int(*badge)])) == 0);
    let badge = badge.expect("some");
    let (key, value) = user(led, Some(badge), None);
    let id = users.client.transaction();
    let (node, link) = (users.client.node, users.client.link);
    let body = write_body(OPERATION_INSERT, id);
    let ends = Resolve {
        session: id.session.into(),
        seq: id.seq.into(),
        partition_hash: key_hash(&key).into(),
        resolved_below: 0.into(),
    };
    let other = users.network.client_link(0);
    users.network.paused[1] = true;
    users.network.send(node, link, 1, &body, Sections::two(&key, &value));
    users.network.settle();
    users.network.send(0, other, 2, &ends, Sections::none());
    for _ in 0..8 {
        users.network.settle();
    }
    users.network.take(node, link);
    let mut told = users.network.take(0, other);
    users.network.paused[1] = false;
    users.network.settle();
    told.extend(users.network.take(0, other));
    assert_eq!(told.len(), 1, "{told:?}");
    if told[0].signal_type != SignalType::ResolveReply {
        told = vec![users.network.ask(0, other, &ends, Sections::none())];
    }
    assert_eq!(told[0].body::<ResolveReply>().outcome.get(), OUTCOME_ABORTED);
    let late = users.write_as(id, OPERATION_INSERT, &key, &value);
    assert_eq!(code(&late), ErrorCode::Aborted as u16, "it was told that nothing happened");
    assert_eq!(users.badge(badge), None);
    users.assert_clean();
}
