//! Seeds of the corpus: real encodings, in the form that each target reads.

use crate::signals::AnySignal;
use crate::tables::{FuzzTable, TABLES};
use crate::{frame, records, rows, scan_program, sql_seeds};
use duet_protocol::frame::{Envelope, FrameBuilder, LanePosition};
use duet_protocol::ids::{Instance, RowVersion};
use duet_protocol::record::{
    ClusterConfiguration, ClusterState, ClusterStatus, FinishedRequest, GroupView, JobKind, JobStage,
    LOG_HEADER_BYTES, Leaving, LogBlock, LogEntry, LogHardState, LogIdentity, LogMembers, LogSnapshot,
    ManagementChange, ManagementCommand, ManagementRecord, ManagementSnapshot, ManagementStatus, Member,
    MemberState, NodeRecord, NodeStatus, PartitionView, RECORD_HEADER_BYTES, SchemaJob, TableChange,
    UserChange, UserList, UserRecord, View, ViewChange, ViewRecord, encode_log_block,
};
use duet_protocol::scan_program::{Aggregate, Comparison, Filter, Function, ScanProgram, encode_program};
use duet_protocol::schema::{Column, ColumnType, Table, TableState};
use duet_protocol::signal::SignalType;
use duet_protocol::signal::scan_reply::{ScanRow, push_row};
use duet_protocol::update::{Assignment, encode_update};
use duet_protocol::value::{AsValue, Value, ValueRef};

/// One seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Target, also the name of its folder.
    pub target: &'static str,
    /// Name of its file.
    pub name: String,
    /// What the target gets.
    pub bytes: Vec<u8>,
}

impl Seed {
    pub(crate) fn new(target: &'static str, name: impl Into<String>, bytes: Vec<u8>) -> Seed {
        Seed { target, name: name.into(), bytes }
    }
}

/// All seeds. Each of them is accepted by the decoder that it is for.
pub fn all() -> Vec<Seed> {
    [frames(), signals(), kernel(), records(), rows(), scan_programs(), sql_seeds::all()].concat()
}

/// A signal of the type, with recognisable bytes.
fn signal(signal_type: SignalType, sections: [&[u8]; 3]) -> AnySignal<'_> {
    let body = (0..signal_type.body_bytes()).map(|position| position as u8).collect();
    AnySignal { signal_type, block: 0x0102, request_id: 77, body, sections }
}

fn frames() -> Vec<Seed> {
    let mut batch = Vec::new();
    let version = RowVersion { epoch: 3, seq: 4 };
    for key in [&b"one"[..], b"", b"another key"] {
        push_row(&mut batch, &ScanRow { version, table_version: 1, key, value: b"a value image" });
    }
    let lane = Some(LanePosition { lane: 1, number: 8, acknowledged: 3 });
    let in_lane = Envelope {
        cluster_id: 9,
        sender: Instance { node: 1, incarnation: 2 },
        receiver: Instance { node: 2, incarnation: 3 },
        view: 4,
        epoch: 5,
        lane,
    };
    let frame_of = |signals: &[AnySignal<'_>], envelope: &Envelope| {
        let mut builder = FrameBuilder::new();
        signals.iter().for_each(|signal| signal.push(&mut builder));
        let bytes = builder.seal(envelope).expect("a signal was pushed").to_vec();
        assert!(frame::check(&bytes));
        bytes
    };
    let all: Vec<AnySignal<'_>> = SignalType::ALL
        .iter()
        .map(|(signal_type, _)| signal(*signal_type, [b"first section", b"", b"third"]))
        .collect();
    let mut seeds: Vec<Seed> = all
        .iter()
        .map(|one| {
            let bytes = frame_of(std::slice::from_ref(one), &Envelope::default());
            Seed::new("frame", format!("{:?}", one.signal_type), bytes)
        })
        .collect();
    seeds.push(Seed::new("frame", "all-types", frame_of(&all, &Envelope::default())));
    let prepare = signal(SignalType::PrepareOne, [b"key", b"value", b""]);
    seeds.push(Seed::new("frame", "in-lane", frame_of(&[prepare.clone(), prepare], &in_lane)));
    let rows = signal(SignalType::ScanReply, [&batch, b"", b""]);
    seeds.push(Seed::new("frame", "scan-rows", frame_of(&[rows], &Envelope::default())));
    seeds
}

/// The form that [`AnySignal::invent`] reads.
fn invented(signal_type: SignalType, sections: [&[u8]; 3]) -> Vec<u8> {
    let mut bytes = vec![signal_type as u8, 1, 2, 77, 0, 0, 0];
    bytes.extend((0..signal_type.body_bytes()).map(|position| position as u8));
    for section in sections {
        string(&mut bytes, section);
    }
    bytes
}

/// The form that `Input::string` reads.
fn string(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.push(u8::try_from(part.len()).expect("parts of seeds are short"));
    bytes.extend_from_slice(part);
}

fn signals() -> Vec<Seed> {
    let each = SignalType::ALL.iter().map(|(signal_type, _)| {
        let mut bytes = vec![0, 0];
        bytes.extend(invented(*signal_type, [b"first", b"", b"third section"]));
        // Damage: the length of the frame, then a byte of the first signal.
        bytes.extend([0, 0, 0xFF, 90, 0, 1]);
        Seed::new("signals", format!("{signal_type:?}"), bytes)
    });
    let mut seeds: Vec<Seed> = each.collect();
    let mut many = vec![1];
    many.extend([2, 0]);
    many.extend((0..56).map(|byte| byte as u8));
    many.push(2);
    for signal_type in [SignalType::PrepareOne, SignalType::AcceptOne, SignalType::LaneAcknowledge] {
        many.extend(invented(signal_type, [b"key", b"value", b"x"]));
    }
    seeds.push(Seed::new("signals", "in-lane", many));
    seeds
}

fn kernel() -> Vec<Seed> {
    // Steps as `kernel::run` reads them; 1 connects a client, 3 sends a request.
    const SESSION: &[u8] = &[3, 0, 0, 2, 0];
    let write = |operation: u8, row: u8, number: u8| vec![3, 0, 0, 5, row, operation, 0, number];
    let begin = |node: u8| [vec![1, node], SESSION.to_vec()].concat();
    let writes: Vec<u8> = [(1, 1), (3, 2), (2, 1), (2, 1), (4, 2), (1, 1)]
        .iter()
        .zip(1..)
        .flat_map(|((operation, row), number)| write(*operation, *row, number))
        .collect();
    let read = vec![3, 0, 0, 0, 1];
    let scan: Vec<u8> = (0..4)
        .flat_map(|partition| [&[3, 0, 0, 3, partition][..], &[0; 8], &[9, 0xFF, 0x0F]].concat())
        .collect();
    let resolve = vec![3, 0, 0, 4, 1, 1, 0];
    let mut copies = begin(0);
    copies.extend([3, 0, 0xFF, 100, 5, 3, 3, 0, 9]);
    let mut garbage = vec![0, 0, 9, 0, 0, 18];
    garbage.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    let mut any = vec![1, 0];
    for signal_type in
        [SignalType::FetchState, SignalType::Heartbeat, SignalType::Scan, SignalType::NodeReport]
    {
        any.extend([8, 0, 0, 0]);
        any.extend(invented(signal_type, [b"", b"", b""]));
    }
    let unreachable = [
        begin(0),
        writes.clone(),
        vec![14, 1],
        write(3, 3, 40),
        vec![11, 9, 13],
        write(3, 4, 41),
        vec![14, 1, 11, 31],
    ];
    let steps = [
        ("writes", [begin(0), writes.clone(), read, resolve.clone()].concat()),
        ("forwarded", [begin(1), writes.clone(), resolve, scan.clone()].concat()),
        ("scans", [begin(0), writes.clone(), scan].concat()),
        ("copies", copies),
        ("garbage", garbage),
        ("any-signals", any),
        ("backup-away", unreachable.concat()),
        ("time", [begin(0), writes, vec![12, 0xFF, 0xFF], write(3, 1, 50)].concat()),
        ("slow-reader", [begin(0), vec![15, 0, 0xFF, 3, 0, 0, 0, 1]].concat()),
    ];
    let nodes = ["whole", "split-1-2", "split-2-3"];
    let each = nodes.iter().zip(0..).flat_map(|(node, parts)| {
        steps.iter().map(move |(name, steps)| {
            Seed::new("kernel", format!("{name}-{node}"), [&[parts], &steps[..]].concat())
        })
    });
    each.collect()
}

fn state(tables: &[Table], partitions: u16) -> ClusterState {
    let member = |node| Member {
        node,
        incarnation: 1,
        state: MemberState::Full,
        recoverable: false,
        leaving: Leaving::No,
    };
    let record = |node: u32| NodeRecord {
        node,
        incarnation: 1,
        process: [node as u8; 16],
        address: format!("127.0.0.1:{node}"),
        metrics_address: String::new(),
        data_parts: 1,
    };
    ClusterState {
        cluster_id: 9,
        fork: 0,
        version: 4,
        configuration: ClusterConfiguration { data_nodes: 2, replicas: 2, partitions, lanes: 1 },
        management: vec![ManagementRecord { node: 1, raft_id: 5, address: "127.0.0.1:9".into() }],
        nodes: vec![record(1), record(2)],
        view: View {
            number: 1,
            groups: vec![GroupView { changed_in_view: 1, members: vec![member(1), member(2)] }],
            partitions: vec![
                PartitionView { group: 0, replicas: vec![1, 2], cfg: 1 };
                usize::from(partitions)
            ],
        },
        lost_groups: Vec::new(),
        buckets: ClusterState::deal_buckets(partitions),
        tables: tables.to_vec(),
        next_table_id: 7,
        next_index_id: 1,
    }
}

fn commands(definition: &duet_protocol::schema::TableDefinition) -> Vec<(&'static str, ManagementCommand)> {
    let request = [3; 16];
    vec![
        (
            "command-register",
            ManagementCommand::Register {
                node: 1,
                process: [1; 16],
                address: "127.0.0.1:1".into(),
                metrics_address: String::new(),
                data_parts: 2,
            },
        ),
        ("command-form-view", ManagementCommand::FormView { instances: vec![(1, 1), (2, 1)] }),
        ("command-create", ManagementCommand::CreateTable { request, definition: definition.clone() }),
        (
            "command-drop",
            ManagementCommand::DropTable { request, database: "fuzz".into(), name: "fixed".into() },
        ),
        (
            "command-change",
            ManagementCommand::ChangeTable {
                request,
                database: "shop".to_owned(),
                name: "orders".to_owned(),
                change: TableChange::AddColumn(Column::new("note", ColumnType::Text).nullable()),
            },
        ),
        ("command-advance", ManagementCommand::AdvanceJob { request, stage: JobStage::Preparing }),
        ("command-user", ManagementCommand::ChangeUser { request, change: UserChange::Create(user()) }),
        (
            "command-management",
            ManagementCommand::ChangeManagement {
                request,
                change: ManagementChange::Add(vec![(2, "127.0.0.1:9".into())]),
            },
        ),
        ("command-joined", ManagementCommand::ManagementJoined { node: 2, raft_id: 5 }),
        ("command-moved", ManagementCommand::ManagementMoved { raft_id: 5, address: "127.0.0.1:8".into() }),
    ]
}

fn user() -> UserRecord {
    UserRecord { name: "ada".into(), native: [7; 20], sha2: [8; 32] }
}

fn records() -> Vec<Seed> {
    let table = |(definition, id): (&FuzzTable, u32)| Table {
        state: TableState::Active,
        ..Table::created(id, id, definition.definition.clone())
    };
    let tables: Vec<Table> = TABLES.iter().zip(1..).map(table).collect();
    let state = state(&tables[2..], 2);
    let users = UserList { version: 7, users: vec![user()] };
    let snapshot = ManagementSnapshot {
        state: state.clone(),
        jobs: vec![SchemaJob {
            request: [4; 16],
            kind: JobKind::DropTable,
            stage: JobStage::Completing,
            table: 1,
            version: 4,
            code: 0,
            detail: String::new(),
        }],
        finished: vec![FinishedRequest {
            request: [5; 16],
            table: 2,
            state_version: 3,
            code: 0,
            detail: String::new(),
        }],
        views: vec![ViewRecord {
            view: 2,
            request: [6; 16],
            group: 0,
            change: ViewChange::Remove { node: 2, incarnation: 1 },
        }],
        users: users.clone(),
        replacing: vec![1],
    };
    let status = ClusterStatus {
        state: state.clone(),
        nodes: vec![NodeStatus { node: 1, address: "127.0.0.1:1".into(), ..NodeStatus::default() }],
        management: vec![ManagementStatus { node: 1, leader: true, ..ManagementStatus::default() }],
        term: 2,
        process: 7,
        answered_by: 1,
    };
    let mut encoded: Vec<(String, Vec<u8>)> = vec![
        ("state".into(), state.to_record().expect("fits")),
        ("status".into(), status.to_record().expect("fits")),
        ("snapshot".into(), snapshot.to_record().expect("fits")),
        ("users".into(), users.to_record().expect("fits")),
        ("user-change".into(), UserChange::SetPassword(user()).to_record().expect("fits")),
        ("management-change".into(), ManagementChange::Remove(vec![2, 3]).to_record().expect("fits")),
    ];
    for table in &tables {
        let definition = &table.definition;
        encoded.push((format!("definition-{}", definition.name), definition.to_record().expect("fits")));
    }
    for (name, command) in commands(&tables[3].definition) {
        encoded.push((name.into(), command.to_record().expect("fits")));
    }
    let mut seeds = Vec::new();
    for (name, record) in encoded {
        assert!(records::check_all(&record), "{name}");
        let payload = &record[RECORD_HEADER_BYTES..];
        seeds.push(Seed::new("records", format!("payload-{name}"), [&[1], payload].concat()));
        if record.len() < 1_000 {
            seeds.push(Seed::new("records", format!("record-{name}"), [&[0], &record[..]].concat()));
        }
    }
    seeds.push(log());
    seeds
}

fn log() -> Seed {
    let first = LogBlock {
        identity: Some(LogIdentity { node: 1, raft_id: 5 }),
        snapshot: Some(LogSnapshot {
            index: 3,
            term: 1,
            members: LogMembers { voters: vec![5, 6], learners: vec![7], ..LogMembers::default() },
            data: vec![1, 2, 3],
        }),
        ..LogBlock::default()
    };
    let second = LogBlock {
        entries: vec![LogEntry { index: 4, term: 2, kind: 0, data: vec![9; 20] }],
        hard_state: Some(LogHardState { term: 2, vote: 5, commit: 4 }),
        ..LogBlock::default()
    };
    let mut bytes = vec![2, 0, 1];
    for block in [first, second] {
        let encoded = encode_log_block(1, 0, &block).expect("fits");
        let length = u32::from_le_bytes(encoded[24..28].try_into().expect("four bytes"));
        bytes.extend_from_slice(&(length as u16).to_le_bytes());
        bytes.extend_from_slice(&encoded[LOG_HEADER_BYTES..][..length as usize]);
    }
    Seed::new("records", "log", bytes)
}

fn rows() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (number, table) in TABLES.iter().enumerate() {
        let full = table.sample_row();
        let sparse: Vec<Value> = full
            .iter()
            .zip(&table.definition.columns)
            .map(|(value, column)| if column.nullable { Value::Null } else { value.clone() })
            .collect();
        let name = &table.definition.name;
        let empty = Vec::new();
        seeds.push(row(number, format!("{name}-full"), table, &full, &program(table)));
        seeds.push(row(number, format!("{name}-sparse"), table, &sparse, &empty));
    }
    seeds
}

fn scan_programs() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (number, table) in TABLES.iter().enumerate() {
        let (samples, name) = (table.sample_row(), &table.definition.name);
        let of = |wanted: &dyn Fn(ColumnType) -> bool| -> Vec<u16> {
            let columns = table.definition.columns.iter().zip(0..);
            columns.filter(|(column, _)| wanted(column.column_type)).map(|(_, index)| index).collect()
        };
        let comparable =
            of(&|column_type| !matches!(column_type, ColumnType::Json | ColumnType::Vector { .. }));
        let numbers = of(&ColumnType::is_numeric);
        let compare = |column: &u16| Filter::Compare {
            column: *column,
            comparison: Comparison::LessOrEqual,
            value: samples[usize::from(*column)].clone(),
        };
        let all = Filter::And(comparable.iter().map(compare).collect());
        let any = Filter::Or(comparable.iter().map(|column| !Filter::IsNull(*column)).collect());
        let aggregate = |function, column| Aggregate { function, column };
        let mut aggregates = vec![aggregate(Function::Count, None)];
        aggregates.extend(numbers.iter().map(|column| aggregate(Function::Sum, Some(*column))));
        aggregates.extend(comparable.iter().map(|column| aggregate(Function::Maximum, Some(*column))));
        let programs = [
            ("filter", ScanProgram { filter: Some(all), ..ScanProgram::default() }),
            ("columns", ScanProgram { filter: Some(any), columns: comparable.clone(), aggregates: None }),
            (
                "groups",
                ScanProgram { filter: None, columns: comparable, aggregates: Some(aggregates.clone()) },
            ),
            ("narrow", ScanProgram { filter: None, columns: vec![0], aggregates: Some(aggregates) }),
        ];
        for (kind, program) in programs {
            let mut encoded = Vec::new();
            encode_program(&table.layout, &program, &mut encoded).expect("fits");
            assert!(scan_program::check(table, b"", b"", &encoded), "{name}-{kind}");
            let mut bytes = vec![number as u8];
            string(&mut bytes, b"a key");
            string(&mut bytes, &[1; 40]);
            bytes.extend_from_slice(&encoded);
            seeds.push(Seed::new("scan_program", format!("{name}-{kind}"), bytes));
        }
    }
    seeds
}

fn row(number: usize, name: String, table: &FuzzTable, values: &[Value], program: &[u8]) -> Seed {
    let (mut key, mut image) = (Vec::new(), Vec::new());
    table.layout.encode_row(values, &mut key, &mut image).expect("fits");
    assert!(rows::check_key(table, &key) && rows::check_image(table, &key, &image));
    let mut bytes = vec![number as u8];
    string(&mut bytes, &key);
    string(&mut bytes, program);
    bytes.extend_from_slice(&image);
    Seed::new("rows", name, bytes)
}

/// Adds to every number it can, changes texts, and makes the last nullable column NULL.
fn program(table: &FuzzTable) -> Vec<u8> {
    let columns = &table.definition.columns;
    let last = columns.iter().rposition(|column| column.nullable);
    let samples = table.sample_row();
    let mut program = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let number = index as u16;
        let assignment = if Some(index) == last {
            Assignment::SetNull
        } else if column.column_type.is_numeric() && !matches!(samples[index], Value::Decimal { .. }) {
            Assignment::Add(match samples[index] {
                Value::Float(_) | Value::Double(_) => ValueRef::Double(0.5),
                _ => ValueRef::Int(1),
            })
        } else {
            Assignment::Set(samples[index].as_value())
        };
        if table.definition.is_key_column(number) || program.len() > 200 {
            continue;
        }
        encode_update(&table.layout, &[(number, assignment)], &mut program).expect("fits");
    }
    program
}

#[cfg(test)]
mod tests {
    use super::all;
    use std::collections::BTreeSet;
    use std::fs::read;
    use std::path::Path;

    /// The corpus, as seen from the package and from the member of the workspace that runs these tests too.
    const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");

    fn run(target: &str, bytes: &[u8]) {
        match target {
            "frame" => crate::frame::run(bytes),
            "signals" => crate::signals::run(bytes),
            "records" => crate::records::run(bytes),
            "rows" => crate::rows::run(bytes),
            "scan_program" => crate::scan_program::run(bytes),
            "kernel" => crate::kernel::run(bytes),
            "sql_wire" => crate::sql_wire::run(bytes),
            "sql_text" => crate::sql_text::run(bytes),
            _ => panic!("no such target: {target}"),
        }
    }

    #[test]
    fn seeds_that_are_kept_are_what_is_encoded_today() {
        let stale: Vec<String> = all()
            .into_iter()
            .map(|seed| (Path::new(CORPUS).join(seed.target).join(&seed.name), seed.bytes))
            .filter(|(path, bytes)| read(path).ok().as_ref() != Some(bytes))
            .map(|(path, _)| path.display().to_string())
            .collect();
        assert!(stale.is_empty(), "`--example seeds` writes again (docs/fuzzing.md): {stale:#?}");
    }

    /// Seeds, and what once crashed a target.
    #[test]
    fn every_target_survives_what_is_kept() {
        let mut targets = BTreeSet::new();
        for folder in std::fs::read_dir(CORPUS).expect("the corpus") {
            let folder = folder.expect("a folder");
            let target = folder.file_name().into_string().expect("UTF-8");
            for file in std::fs::read_dir(folder.path()).expect("a folder") {
                run(&target, &read(file.expect("a file").path()).expect("its bytes"));
            }
            targets.insert(target);
        }
        assert_eq!(targets, all().iter().map(|seed| seed.target.to_owned()).collect());
    }
}
