//! Scans with programs: filters, result columns and aggregates at the node, in bounded slices.

use crate::network::{Network, TABLE, definition, layout, row};
use crate::requests::Session;
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder};
use duet_protocol::layout::TableLayout;
use duet_protocol::row::RowView;
use duet_protocol::scan_program::{
    Aggregate, Comparison, Filter, Function, Merger, ScanProgram, encode_program,
};
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::read_reply::ReadReply;
use duet_protocol::signal::scan::Scan;
use duet_protocol::signal::scan_reply::{FLAG_DONE, ScanReply, split_row};
use duet_protocol::signal::write::OPERATION_INSERT;
use duet_protocol::signal::{Sections, SignalType};
use duet_protocol::value::Value;

fn bytes_of(program: &ScanProgram) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_program(&layout(), program, &mut bytes).expect("fits");
    bytes
}

fn scan(partition: u16, cursor: u64, max_rows: u32) -> Scan {
    Scan {
        table: TABLE.into(),
        table_version: 1.into(),
        partition: partition.into(),
        cursor: cursor.into(),
        max_rows: max_rows.into(),
        max_bytes: 100_000.into(),
        ..Scan::default()
    }
}

/// Hands keys and values of all pages of all partitions to `read`; the number of pages.
fn pages(
    network: &mut Network,
    client: &Session,
    program: &ScanProgram,
    max_rows: u32,
    mut read: impl FnMut(&[u8], &[u8]),
) -> usize {
    let (bytes, mut count) = (bytes_of(program), 0);
    for partition in 0..4 {
        let mut cursor = 0;
        loop {
            count += 1;
            let body = scan(partition, cursor, max_rows);
            let answer = network.ask(0, client.link, &body, Sections::one(&bytes));
            let reply = answer.body::<ScanReply>();
            let mut batch = answer.view().section(0);
            let mut rows = 0;
            while let Some(row) = split_row(&mut batch) {
                read(row.key, row.value);
                rows += 1;
            }
            assert_eq!(rows, reply.row_count.get());
            if reply.flags.get() & FLAG_DONE != 0 {
                break;
            }
            assert!(reply.next_cursor.get() > cursor, "the scan moves forward");
            cursor = reply.next_cursor.get();
        }
    }
    count
}

fn filled(rows: i64) -> (Network, Session) {
    let mut network = Network::formed();
    let mut client = Session::open(&mut network, 0);
    for id in 0..rows {
        client.write(&mut network, OPERATION_INSERT, id, id % 10);
    }
    (network, client)
}

fn balance(comparison: Comparison, value: i64) -> Filter<u16> {
    Filter::Compare { column: 1, comparison, value: Value::Int(value) }
}

#[test]
fn only_rows_that_pass_come_back_with_their_result_columns() {
    let (mut network, client) = filled(500);
    let filter = balance(Comparison::Greater, 6).and(!balance(Comparison::Equal, 8));
    let program = ScanProgram { filter: Some(filter), columns: vec![0], aggregates: None };
    let result = TableLayout::without_key(vec![definition().columns[0].clone()]);
    let mut ids = Vec::new();
    pages(&mut network, &client, &program, 20, |key, value| {
        assert!(key.is_empty());
        let values = RowView::new(&result, &[], value).to_values().expect("readable");
        let [Value::Int(id)] = values.as_slice() else { panic!("{values:?}") };
        ids.push(*id);
    });
    ids.sort_unstable();
    let expected: Vec<i64> = (0..500).filter(|id| id % 10 == 7 || id % 10 == 9).collect();
    assert_eq!(ids, expected);
}

#[test]
fn aggregates_of_pages_add_up() {
    let (mut network, client) = filled(500);
    let of = |function, column| Aggregate { function, column };
    let aggregates =
        vec![of(Function::Count, None), of(Function::Sum, Some(0)), of(Function::Maximum, Some(0))];
    let filter = Some(Filter::Compare { column: 0, comparison: Comparison::Less, value: Value::Int(100) });
    let program = ScanProgram { filter, columns: vec![1], aggregates: Some(aggregates) };
    let mut merger = Merger::new(&layout(), &program, 100).expect("fits");
    pages(&mut network, &client, &program, 1, |group, values| merger.add(group, values).expect("fits"));
    let mut found = merger.finish().expect("well formed");
    found.sort_by_key(|row| format!("{row:?}"));
    let expected: Vec<Vec<Value>> = (0..10)
        .map(|group| {
            let sum = i128::from(group * 10 + 450);
            vec![
                Value::Int(group),
                Value::UInt(10),
                Value::Decimal { unscaled: sum, scale: 0 },
                Value::Int(90 + group),
            ]
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_filter_that_nothing_passes_still_answers_in_slices() {
    let (mut network, mut client) = filled(0);
    for id in 0..40_000 {
        client.write(&mut network, OPERATION_INSERT, id, 1);
    }
    // As many nodes as there may be, so that a row costs much and a slice has few of them.
    let never = Filter::Or((0..128).map(|value| balance(Comparison::Equal, 1_000 + value)).collect());
    let program = ScanProgram { filter: Some(never), ..ScanProgram::default() };
    let mut rows = 0;
    let count = pages(&mut network, &client, &program, 1_000, |_, _| rows += 1);
    assert_eq!(rows, 0);
    assert!(count > 80, "{count} pages are too few for 40,000 rows of 263 units of work");
}

#[test]
fn programs_that_do_not_fit_get_a_numbered_error() {
    let (mut network, client) = filled(1);
    let good = bytes_of(&ScanProgram { columns: vec![0, 1], ..ScanProgram::default() });
    let mut unknown_column = good.clone();
    unknown_column[8] = 99;
    let mut other_version = good.clone();
    other_version[0] = 2;
    let cases = [
        (&unknown_column[..], "the table has no column number 99; it has 3"),
        (&other_version, "the scan program is of version 2, which this node does not know"),
        (&good[..9], "the scan program is malformed: it ends too early"),
        (&[1; 70_000], "the scan program takes 70000 bytes; at most 65536 are allowed"),
    ];
    for (program, text) in cases {
        let answer = network.ask(0, client.link, &scan(0, 0, 10), Sections::one(program));
        assert_eq!(answer.body::<ErrorReply>().code.get(), ErrorCode::InvalidScan as u16);
        assert_eq!(String::from_utf8_lossy(answer.view().section(0)), text);
    }
}

/// A scan of a partition that the first node leads, its program, and a frame of 8,000 of them.
fn flood(network: &Network) -> (Scan, Vec<u8>, Vec<u8>) {
    let program = ScanProgram { filter: Some(balance(Comparison::Equal, 77)), ..ScanProgram::default() };
    let bytes = bytes_of(&program);
    let led = network.state.view.partitions.iter().position(|partition| partition.replicas[0] == 1);
    let body = scan(led.expect("some") as u16, 0, 10);
    let mut builder = FrameBuilder::new();
    for request in 1..=8_000 {
        builder.push(0, request, &body, Sections::one(&bytes));
    }
    let frame = builder.seal(&Envelope::default()).expect("open").to_vec();
    (body, bytes, frame)
}

#[test]
fn a_frame_full_of_scans_does_not_occupy_the_node() {
    let (mut network, client) = filled(2_000);
    let (body, bytes, frame) = flood(&network);
    network.raw(0, client.link, &frame);
    network.settle();
    let answers = network.take(0, client.link);
    assert_eq!(answers.len(), 8_000);
    let refused = answers.iter().filter(|answer| answer.signal_type == SignalType::ErrorReply);
    let refused: Vec<_> = refused.map(|answer| answer.body::<ErrorReply>().code.get()).collect();
    assert!(refused.iter().all(|code| *code == ErrorCode::Overloaded as u16), "{refused:?}");
    // Parts of a node end their bursts more often.
    let is_split = super::PARTS.is_some();
    assert!(is_split || (2_000..8_000).contains(&refused.len()), "{}", refused.len());
    let answer = network.ask(0, client.link, &body, Sections::one(&bytes));
    assert_eq!(answer.signal_type, SignalType::ScanReply, "the next burst is another one");
}

#[test]
fn a_key_is_read_in_the_same_burst_as_a_flood_of_scans() {
    let (mut network, client) = filled(2_000);
    let (_, _, flood) = flood(&network);
    let key = (0..).map(|id| row(id, 0, "").0).find(|key| network.leader(key) == 0).expect("some");
    let bystander = network.client_link(0);
    network.kernels[0].frame(network.now, client.link, &flood);
    // No tick and nothing more of the flood comes in between: one end of a burst answers both.
    let read = Read { table: TABLE.into(), table_version: 1.into(), ..Read::default() };
    network.send(0, bystander, 5, &read, Sections::one(&key));
    network.deliver();
    let answers = network.take(0, bystander);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].body::<ReadReply>().code.get(), 0);
    assert_eq!(network.take(0, client.link).len(), 8_000, "every scan is answered or refused");
}
