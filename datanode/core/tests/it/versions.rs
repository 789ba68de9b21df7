//! Versions of a table: a column is added while rows, clients and nodes of both versions are about.

use crate::network::{Network, TABLE, definition, write};
use crate::requests::Session;
use duet_protocol::error::ErrorCode;
use duet_protocol::layout::TableLayout;
use duet_protocol::row::{RowView, TableLayouts};
use duet_protocol::scan_program::{Comparison, Filter, ScanProgram, encode_program};
use duet_protocol::schema::{Column, ColumnType, Table, TableState};
use duet_protocol::signal::Sections;
use duet_protocol::signal::commit_transaction::CommitTransaction;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::operate::{OPERATION_READ, Operate};
use duet_protocol::signal::operate_reply::OperateReply;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::read_reply::ReadReply;
use duet_protocol::signal::scan::Scan;
use duet_protocol::signal::scan_reply::{FLAG_DONE, ScanReply, split_row};
use duet_protocol::signal::transaction_reply::{OUTCOME_COMMITTED, TransactionReply};
use duet_protocol::signal::write::{OPERATION_INSERT, OPERATION_UPDATE, OPERATION_UPSERT};
use duet_protocol::signal::write_reply::WriteReply;
use duet_protocol::update::{Assignment, encode_update};
use duet_protocol::value::{Value, ValueRef};

/// What a row of version 2 has in its new column when nobody gave it a value.
const DEFAULT: i64 = 50;

fn table() -> Table {
    Table { state: TableState::Active, ..Table::created(TABLE, 1, definition()) }
}

fn points() -> Column {
    Column::new("points", ColumnType::BigInt).default_value(DEFAULT)
}

fn layouts() -> TableLayouts {
    let (mut table, mut layouts) = (table(), TableLayouts::default());
    table.begin_column(points()).expect("valid");
    layouts.extend(&table).expect("valid");
    layouts
}

fn layout_of(layouts: &TableLayouts, version: u16) -> &TableLayout {
    layouts.of(version).expect("known")
}

fn key_of(id: i64) -> Vec<u8> {
    let mut key = Vec::new();
    layout_of(&layouts(), 1).encode_key(&[Value::Int(id)], &mut key).expect("fits");
    key
}

/// Balance, and the points of a row of version 2.
fn values(id: i64, version: u16, balance: i64, points: i64) -> Vec<u8> {
    let row = [Value::Int(id), Value::Int(balance), Value::from("somebody"), Value::Int(points)];
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let count = usize::from(version) + 2;
    layout_of(&layouts(), version).encode_row(&row[..count], &mut key, &mut value).expect("fits");
    value
}

fn program(version: u16, column: u16, assignment: Assignment<'_>) -> Vec<u8> {
    let mut program = Vec::new();
    encode_update(layout_of(&layouts(), version), &[(column, assignment)], &mut program).expect("valid");
    program
}

struct Client {
    session: Session,
    version: u16,
}

impl Client {
    fn open(network: &mut Network, node: usize, version: u16) -> Client {
        Client { session: Session::open(network, node), version }
    }

    fn write(&mut self, network: &mut Network, operation: u8, id: i64, payload: &[u8]) {
        let body = duet_protocol::signal::write::Write {
            table_version: self.version.into(),
            ..write(operation, self.session.transaction())
        };
        let sections = (key_of(id), payload);
        let answer =
            network.ask(self.session.node, self.session.link, &body, Sections::two(&sections.0, sections.1));
        assert_eq!(answer.body::<WriteReply>().code.get(), 0);
    }

    /// Balance and points of a row as this client reads it.
    fn read(&self, network: &mut Network, id: i64) -> (i64, Option<i64>) {
        let key = key_of(id);
        let body = Read { table: TABLE.into(), table_version: self.version.into(), flags: 0.into() };
        let answer = network.ask(self.session.node, self.session.link, &body, Sections::one(&key));
        let reply = answer.body::<ReadReply>();
        assert_eq!((reply.code.get(), reply.table_version.get()), (0, self.version));
        self.values(&key, answer.view().section(0))
    }

    fn values(&self, key: &[u8], image: &[u8]) -> (i64, Option<i64>) {
        let layouts = layouts();
        let layout = layout_of(&layouts, self.version);
        layout.validate_value(image).expect("canonical");
        let values = RowView::new(layout, key, image).to_values().expect("readable");
        let number = |value: &Value| match value {
            Value::Int(number) => *number,
            other => panic!("{other:?} is not a number"),
        };
        (number(&values[1]), values.get(3).map(number))
    }

    /// An update and a read of one row, committed as a transaction; what the transaction read of itself.
    fn transaction(
        &mut self,
        network: &mut Network,
        operation: u8,
        id: i64,
        payload: &[u8],
    ) -> (i64, Option<i64>) {
        let transaction = self.session.transaction();
        let key = key_of(id);
        let mut seen = (0, None);
        for (number, operation, payload) in [(1, operation, payload), (2, OPERATION_READ, &[][..])] {
            let body = Operate {
                table: TABLE.into(),
                table_version: self.version.into(),
                operation,
                session: transaction.session.into(),
                seq: transaction.seq.into(),
                number: number.into(),
                ..Operate::default()
            };
            let sections = Sections::two(&key, payload);
            let answer = network.ask(self.session.node, self.session.link, &body, sections);
            let reply = answer.body::<OperateReply>();
            assert_eq!(reply.code.get(), 0);
            if operation == OPERATION_READ {
                assert_eq!(reply.table_version.get(), self.version);
                seen = self.values(&key, answer.view().section(0));
            }
        }
        let layouts = layouts();
        let body = CommitTransaction {
            session: transaction.session.into(),
            seq: transaction.seq.into(),
            partition_hash: layout_of(&layouts, 1).partition_hash(&key).into(),
            resolved_below: 0.into(),
        };
        let answer = network.ask(self.session.node, self.session.link, &body, Sections::none());
        assert_eq!(answer.body::<TransactionReply>().outcome.get(), OUTCOME_COMMITTED);
        seen
    }

    /// Rows that a scan finds, by the order in which they come.
    fn scan(&self, network: &mut Network, program: &ScanProgram) -> Vec<(i64, Option<i64>)> {
        let (layouts, mut bytes, mut found) = (layouts(), Vec::new(), Vec::new());
        let layout = layout_of(&layouts, self.version);
        if !program.is_plain() {
            encode_program(layout, program, &mut bytes).expect("fits");
        }
        for partition in 0..4 {
            let body = Scan {
                table: TABLE.into(),
                table_version: self.version.into(),
                partition: partition.into(),
                max_rows: 1_000.into(),
                max_bytes: 100_000.into(),
                ..Scan::default()
            };
            let answer = network.ask(self.session.node, self.session.link, &body, Sections::one(&bytes));
            assert_eq!(answer.body::<ScanReply>().flags.get(), FLAG_DONE);
            let mut batch = answer.view().section(0);
            while let Some(row) = split_row(&mut batch) {
                assert_eq!(row.table_version, self.version);
                found.push(self.values(row.key, row.value));
            }
        }
        found.sort_unstable();
        found
    }
}

/// Makes the table's next step known to a node, or to both.
fn publish(network: &mut Network, table: &Table, to: Option<usize>) {
    network.state.version += 1;
    network.state.tables = vec![table.clone()];
    match to {
        Some(node) => network.publish_state_to(node),
        None => network.publish_state(),
    }
}

#[test]
fn rows_and_clients_of_both_versions_go_together() {
    let mut network = Network::formed();
    let mut old = Client::open(&mut network, 0, 1);
    for id in 0..40 {
        old.write(&mut network, OPERATION_INSERT, id, &values(id, 1, id, 0));
    }
    let mut table = table();
    table.begin_column(points()).expect("valid");
    publish(&mut network, &table, None);
    table.finish_column();
    publish(&mut network, &table, None);
    let mut new = Client::open(&mut network, 1, 2);
    for id in 0..40 {
        assert_eq!(new.read(&mut network, id), (id, Some(DEFAULT)), "the row has the default");
        assert_eq!(old.read(&mut network, id), (id, None), "an old client reads what it knows");
    }
    // An update of an old client leaves the row in its version; one of a new client moves it on.
    old.write(&mut network, OPERATION_UPDATE, 1, &program(1, 1, Assignment::Add(ValueRef::Int(10))));
    new.write(&mut network, OPERATION_UPDATE, 2, &program(2, 3, Assignment::Add(ValueRef::Int(7))));
    assert_eq!(new.read(&mut network, 1), (11, Some(DEFAULT)));
    assert_eq!(new.read(&mut network, 2), (2, Some(DEFAULT + 7)));
    // What an old client writes leaves the column that it does not know alone.
    old.write(&mut network, OPERATION_UPSERT, 2, &values(2, 1, 22, 0));
    old.write(&mut network, OPERATION_UPDATE, 2, &program(1, 1, Assignment::Add(ValueRef::Int(1))));
    assert_eq!(new.read(&mut network, 2), (23, Some(DEFAULT + 7)));
    assert_eq!(old.read(&mut network, 2), (23, None));
    new.write(&mut network, OPERATION_UPSERT, 3, &values(3, 2, 33, 9));
    old.write(&mut network, OPERATION_INSERT, 90, &values(90, 1, 90, 0));
    assert_eq!(new.read(&mut network, 90), (90, Some(DEFAULT)));
    // The same in transactions.
    let add = |column| Assignment::Add(ValueRef::Int(column));
    assert_eq!(old.transaction(&mut network, OPERATION_UPSERT, 3, &values(3, 1, 34, 0)), (34, None));
    assert_eq!(new.read(&mut network, 3), (34, Some(9)));
    let sum = new.transaction(&mut network, OPERATION_UPDATE, 4, &program(2, 3, add(1)));
    assert_eq!(sum, (4, Some(DEFAULT + 1)));
    let sum = old.transaction(&mut network, OPERATION_UPDATE, 4, &program(1, 1, add(5)));
    assert_eq!(sum, (9, None));
    assert_eq!(new.read(&mut network, 4), (9, Some(DEFAULT + 1)));
    network.settle();
    network.assert_replicas_equal();

    let all = new.scan(&mut network, &ScanProgram::default());
    assert_eq!(all.len(), 41);
    assert_eq!(all.iter().filter(|(_, points)| *points == Some(DEFAULT)).count(), 38);
    assert!(old.scan(&mut network, &ScanProgram::default()).iter().all(|(_, points)| points.is_none()));
    let filter = Filter::Compare { column: 3, comparison: Comparison::Greater, value: Value::Int(DEFAULT) };
    let program = ScanProgram { filter: Some(filter), ..ScanProgram::default() };
    let found = new.scan(&mut network, &program);
    assert_eq!(found, [(9, Some(DEFAULT + 1)), (23, Some(DEFAULT + 7))]);
}

#[test]
fn nodes_take_the_next_version_before_it_is_the_tables_own() {
    let mut network = Network::formed();
    let mut table = table();
    table.begin_column(points()).expect("valid");
    publish(&mut network, &table, None);
    table.finish_column();
    for active in 0..2 {
        // One node has the new version, and so a client of it; the other one only knows that it comes.
        publish(&mut network, &table, Some(active));
        for node in 0..2 {
            let (mut new, mut old) =
                (Client::open(&mut network, node, 2), Client::open(&mut network, node, 1));
            for id in 0..20 {
                let id = id + 100 * node as i64 + 1_000 * active as i64;
                new.write(&mut network, OPERATION_INSERT, id, &values(id, 2, 5, 6));
                old.write(&mut network, OPERATION_UPSERT, id, &values(id, 1, 7, 0));
                assert_eq!(new.read(&mut network, id), (7, Some(6)));
            }
        }
    }
    network.settle();
    network.assert_replicas_equal();
}

#[test]
fn new_rows_have_columns_that_take_the_current_time() {
    let mut network = Network::formed();
    let (mut table, mut layouts) = (table(), TableLayouts::default());
    let moment =
        Column::new("created", ColumnType::DateTime).current_time_on_insert(6).added_at(|| 1_000_000);
    table.begin_column(moment).expect("valid");
    layouts.extend(&table).expect("valid");
    let mut session = Session::open(&mut network, 0);
    let mut write_old = |network: &mut Network, operation: u8| {
        let body = write(operation, session.transaction());
        let answer = network.ask(0, session.link, &body, Sections::two(&key_of(7), &values(7, 1, 5, 0)));
        match answer.view().body::<WriteReply>() {
            Some(reply) => reply.code.get(),
            None => answer.body::<ErrorReply>().code.get(),
        }
    };
    // The column comes; until it is there rows are as they were, and have the time of the change.
    publish(&mut network, &table, None);
    assert_eq!(write_old(&mut network, OPERATION_INSERT), 0);
    table.finish_column();
    publish(&mut network, &table, None);
    let refused = ErrorCode::TableVersionMismatch as u16;
    assert_eq!([OPERATION_UPSERT, OPERATION_INSERT].map(|new| write_old(&mut network, new)), [refused; 2]);
    network.settle();
    network.assert_replicas_equal();
}

#[test]
fn a_version_that_nobody_has_is_refused() {
    let mut network = Network::formed();
    let client = Session::open(&mut network, 0);
    for version in [0, 2, 3, u16::MAX] {
        let body = Read { table: TABLE.into(), table_version: version.into(), flags: 0.into() };
        let answer = network.ask(0, client.link, &body, Sections::one(&key_of(1)));
        assert_eq!(answer.body::<ErrorReply>().code.get(), ErrorCode::TableVersionMismatch as u16);
    }
}
