//! Scans of ranges of ordered indexes, against a model, and what does not go.

use crate::network::{Network, TABLE, layout, row, write};
use crate::requests::Session;
use crate::transactions::Open;
use duet_protocol::error::ErrorCode;
use duet_protocol::key::{IndexLayout, pass_prefix};
use duet_protocol::layout::TableLayout;
use duet_protocol::row::RowView;
use duet_protocol::scan_program::{Aggregate, Comparison, Filter, Function, ScanProgram, encode_program};
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::operate::FLAG_IGNORE_MISSING;
use duet_protocol::signal::scan::{FLAG_RANGE, FLAG_REVERSE, FLAG_WITH_KEYS, Scan};
use duet_protocol::signal::scan_reply::{FLAG_DONE, ScanReply, split_row};
use duet_protocol::signal::write::{OPERATION_DELETE, OPERATION_INSERT, OPERATION_UPDATE, OPERATION_UPSERT};
use duet_protocol::signal::write_reply::WriteReply;
use duet_protocol::signal::{Sections, SignalType};
use duet_protocol::update::{Assignment, encode_update};
use duet_protocol::value::{Value, ValueRef};
use std::collections::{BTreeMap, BTreeSet};

/// Numbers of the indexes of the test table.
const PRIMARY: u32 = 0;
const BY_BALANCE: u32 = 1;
const BY_BOTH: u32 = 2;

/// Balance and name by id.
type Model = BTreeMap<i64, (i64, String)>;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn index_layout(index: u32) -> IndexLayout {
    match index {
        PRIMARY => IndexLayout::primary(&layout()),
        BY_BALANCE => IndexLayout::secondary(&layout(), &[1]).expect("orderable"),
        _ => IndexLayout::secondary(&layout(), &[0, 1]).expect("orderable"),
    }
}

fn scan_of(index: u32, flags: u32, partition: u16, max_rows: u32) -> Scan {
    Scan {
        table: TABLE.into(),
        table_version: 1.into(),
        partition: partition.into(),
        cursor: 0.into(),
        max_rows: max_rows.into(),
        max_bytes: 100_000.into(),
        flags: (FLAG_RANGE | flags).into(),
        index: index.into(),
    }
}

/// The index keys and rows of a range of one partition, page by page.
fn range(
    network: &mut Network,
    client: &Session,
    scan: Scan,
    program: &[u8],
    (mut from, mut to): (Vec<u8>, Vec<u8>),
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    loop {
        let answer = network.ask(0, client.link, &scan, Sections::three(program, &from, &to));
        let (reply, view) = (answer.body::<ScanReply>(), answer.view());
        let mut batch = view.section(0);
        while let Some(row) = split_row(&mut batch) {
            rows.push((row.key.to_vec(), row.value.to_vec()));
        }
        let last = view.section(1).to_vec();
        if reply.flags.get() & FLAG_DONE != 0 {
            assert!(last.is_empty());
            return rows;
        }
        assert!(last >= from && (to.is_empty() || last < to), "the range gets shorter");
        if scan.flags.get() & FLAG_REVERSE != 0 {
            to = last;
        } else {
            from = last;
            from.push(0);
        }
    }
}

/// The rows of the model with their index keys, in the order of an index, of one partition.
fn expected(network: &Network, model: &Model, index: u32, partition: u16) -> Vec<(Vec<u8>, i64)> {
    let (layout, index) = (layout(), index_layout(index));
    let mut rows = Vec::new();
    for (id, (balance, name)) in model {
        let (key, value) = row(*id, *balance, name);
        if network.state.partition_of(layout.partition_hash(&key)) == Some(partition) {
            let mut index_key = Vec::new();
            index.append_key(&RowView::new(&layout, &key, &value), &mut index_key);
            rows.push((index_key, *id));
        }
    }
    rows.sort();
    rows
}

fn id_of(key: &[u8]) -> i64 {
    match layout().decode_key(key).expect("a key").as_slice() {
        [Value::Int(id)] => *id,
        values => panic!("{values:?}"),
    }
}

/// Random bounds, from the keys of the index so that they are met.
fn bounds(random: &mut Random, rows: &[(Vec<u8>, i64)]) -> (Vec<u8>, Vec<u8>) {
    let mut bound = |none: u64| {
        if rows.is_empty() || random.below(4) < none {
            return Vec::new();
        }
        let key = &rows[random.below(rows.len() as u64) as usize].0;
        let mut bound = key[..1 + random.below(key.len() as u64) as usize].to_vec();
        if random.below(3) == 0 && !pass_prefix(&mut bound) {
            bound.clear();
        }
        bound
    };
    (bound(1), bound(2))
}

fn check_ranges(network: &mut Network, client: &Session, model: &Model, random: &mut Random) {
    for index in [PRIMARY, BY_BALANCE, BY_BOTH] {
        for partition in 0..4 {
            let all = expected(network, model, index, partition);
            let (from, to) = bounds(random, &all);
            let within = |key: &[u8]| key >= &from[..] && (to.is_empty() || key < &to[..]);
            let mut ids: Vec<i64> = all.iter().filter(|(key, _)| within(key)).map(|(_, id)| *id).collect();
            let flags = if random.below(2) == 0 { 0 } else { FLAG_REVERSE };
            if flags != 0 {
                ids.reverse();
            }
            let scan = scan_of(index, flags, partition, 1 + random.below(9) as u32);
            let found = range(network, client, scan, &[], (from, to));
            let found: Vec<i64> = found.iter().map(|(key, _)| id_of(key)).collect();
            assert_eq!(found, ids, "index {index}, partition {partition}");
        }
    }
}

fn name_of(random: &mut Random) -> String {
    // Names of many lengths, so that rows change their size, some of them equal.
    let letter = char::from(b'a' + random.below(4) as u8);
    let length = random.below(3) as usize * random.below(60) as usize;
    letter.to_string().repeat(length)
}

/// A one-pass write of any kind, in the model too.
fn write_one(network: &mut Network, client: &mut Session, model: &mut Model, random: &mut Random) {
    let id = random.below(80) as i64;
    let (balance, name) = (random.below(12) as i64 - 3, name_of(random));
    let operation =
        [OPERATION_INSERT, OPERATION_UPSERT, OPERATION_UPDATE, OPERATION_DELETE][random.below(4) as usize];
    let (key, mut value) = row(id, balance, &name);
    let by = random.below(3) as i64;
    let renames = random.below(2) == 0;
    match operation {
        OPERATION_DELETE => value.clear(),
        OPERATION_UPDATE => {
            let mut assignments = vec![(1, Assignment::Add(ValueRef::Int(by)))];
            if renames {
                assignments.push((2, Assignment::Set(ValueRef::from(name.as_str()))));
            }
            value.clear();
            encode_update(&layout(), &assignments, &mut value).expect("valid");
        }
        _ => {}
    }
    let body = write(operation, client.transaction());
    let answer = network.ask(client.node, client.link, &body, Sections::two(&key, &value));
    if answer.body::<WriteReply>().code.get() != 0 {
        assert_eq!(model.contains_key(&id), operation == OPERATION_INSERT);
        return;
    }
    match operation {
        OPERATION_DELETE => drop(model.remove(&id)),
        OPERATION_UPDATE => {
            let row = model.get_mut(&id).expect("the row was there");
            row.0 += by;
            if renames {
                row.1 = name;
            }
        }
        _ => drop(model.insert(id, (balance, name))),
    }
}

/// A transaction of some operations on few rows, so that it changes some more than once.
fn transact(network: &mut Network, client: &mut Session, model: &mut Model, random: &mut Random) {
    let mut open = Open::begin(client);
    let mut after = model.clone();
    for _ in 0..1 + random.below(6) {
        let (id, value) = (random.below(6) as i64, random.below(5) as i64);
        match random.below(3) {
            0 => {
                open.run(network, client, OPERATION_UPSERT, 0, id, value);
                after.insert(id, (value, "somebody".to_owned()));
            }
            1 => {
                open.run(network, client, OPERATION_UPDATE, FLAG_IGNORE_MISSING, id, value);
                if let Some(row) = after.get_mut(&id) {
                    row.0 += value;
                }
            }
            _ => {
                open.run(network, client, OPERATION_DELETE, FLAG_IGNORE_MISSING, id, 0);
                after.remove(&id);
            }
        }
        if random.below(4) == 0 {
            check_ranges(network, client, model, random);
        }
    }
    if random.below(3) == 0 {
        open.rolls_back(network, client);
    } else {
        open.commits(network, client);
        *model = after;
    }
}

#[test]
fn ranges_are_those_of_a_model_whatever_was_written() {
    for seed in 1..=if cfg!(debug_assertions) { 6 } else { 30 } {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ seed << 20);
        let mut network = Network::formed();
        let mut client = Session::open(&mut network, 0);
        let mut model = Model::new();
        for round in 0..300 {
            if round % 5 == 0 {
                transact(&mut network, &mut client, &mut model, &mut random);
            } else {
                write_one(&mut network, &mut client, &mut model, &mut random);
            }
            if round % 10 == 0 {
                check_ranges(&mut network, &client, &model, &mut random);
            }
        }
        network.settle();
        network.assert_replicas_equal();
    }
}

#[test]
fn what_the_backup_refuses_leaves_no_entries() {
    // So little memory that the backup runs out of it before the primary or after it.
    let mut network = Network::with_memory(3 << 20, 0);
    let mut client = Session::open(&mut network, 0);
    let (mut random, mut refused) = (Random(77), 0);
    for round in 0..40_000 {
        let id = random.below(20_000) as i64;
        let name = "n".repeat(random.below(150) as usize);
        let (key, value) = row(id, random.below(1_000) as i64, &name);
        let body = write(OPERATION_UPSERT, client.transaction());
        let answer = network.ask(client.node, client.link, &body, Sections::two(&key, &value));
        if answer.signal_type == SignalType::ErrorReply {
            let code = answer.body::<ErrorReply>().code.get();
            let full = [ErrorCode::OutOfMemory as u16, ErrorCode::BackupOutOfMemory as u16];
            assert!(full.contains(&code), "{code}");
            refused += 1;
        }
        if refused > 300 && round % 7 == 0 {
            client.write(&mut network, OPERATION_DELETE, id, 0);
        }
        if refused > 600 {
            break;
        }
    }
    assert!(refused > 600, "the nodes are full: {refused}");
    network.settle();
    network.assert_replicas_equal();
}

#[test]
fn result_columns_come_with_index_keys_and_aggregates_end_where_the_range_ends() {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    let mut model = Model::new();
    for id in 0..200 {
        client.write(&mut network, OPERATION_INSERT, id, id % 10);
        model.insert(id, (id % 10, "somebody".to_owned()));
    }
    let bytes_of = |program: &ScanProgram| {
        let mut bytes = Vec::new();
        encode_program(&layout(), program, &mut bytes).expect("fits");
        bytes
    };
    let bound = |balance: i64| {
        let mut bound = Vec::new();
        index_layout(BY_BALANCE).append_bound(&[Value::Int(balance)], &mut bound).expect("fits");
        bound
    };
    let filter = Some(Filter::Compare { column: 0, comparison: Comparison::Less, value: Value::Int(100) });
    let program = ScanProgram { filter: filter.clone(), columns: vec![0], aggregates: None };
    let id_column = vec![crate::network::definition().columns[0].clone()];
    let result = TableLayout::without_key(id_column);
    let mut count = 0;
    for partition in 0..4 {
        let scan = scan_of(BY_BALANCE, FLAG_WITH_KEYS, partition, 3);
        let rows = range(&mut network, &client, scan, &bytes_of(&program), (bound(4), bound(6)));
        let mut expected = expected(&network, &model, BY_BALANCE, partition);
        expected.retain(|(_, id)| matches!(id % 10, 4 | 5) && *id < 100);
        let found = rows.iter().map(|(key, value)| {
            let values = RowView::new(&result, &[], value).to_values().expect("readable");
            let [Value::Int(id)] = values.as_slice() else { panic!("{values:?}") };
            (key.clone(), *id)
        });
        assert_eq!(found.collect::<Vec<_>>(), expected);
        count += rows.len();
    }
    assert_eq!(count, 20);

    let aggregates = Some(vec![Aggregate { function: Function::Count, column: None }]);
    let program = ScanProgram { filter, columns: vec![1], aggregates };
    let mut groups = BTreeSet::new();
    for partition in 0..4 {
        let scan = scan_of(BY_BALANCE, 0, partition, 1_000);
        let found = range(&mut network, &client, scan, &bytes_of(&program), (bound(4), bound(6)));
        groups.extend(found.into_iter().map(|(group, _)| group));
    }
    assert_eq!(groups.len(), 2, "the balances 4 and 5");
}

#[test]
fn what_does_not_go_ends_in_numbered_errors() {
    let mut network = Network::formed();
    let client = Session::open(&mut network, 0);
    let mut refused = |scan: Scan, from: &[u8]| {
        let answer = network.ask(0, client.link, &scan, Sections::three(&[], from, &[]));
        ErrorCode::from_number(answer.body::<ErrorReply>().code.get()).expect("known")
    };
    assert_eq!(refused(scan_of(9, 0, 0, 10), &[]), ErrorCode::IndexNotFound);
    assert_eq!(refused(scan_of(BY_BOTH, 0, 0, 10), &[1; 9_000]), ErrorCode::InvalidScan);
    let unknown = Scan { table: 99.into(), ..scan_of(0, 0, 0, 10) };
    assert_eq!(refused(unknown, &[]), ErrorCode::TableNotFound);
    let answer = network.ask(0, client.link, &scan_of(BY_BOTH, 0, 0, 0), Sections::three(&[], b"z", b"a"));
    assert_eq!(answer.body::<ScanReply>().row_count.get(), 0, "an empty range");
}
