//! Everything that decodes bytes from outside gets damaged and invented bytes: it answers or refuses, and never panics. The
//! sequence is fixed; `DUET_FUZZ_ROUNDS` makes the runs longer.

use duet_protocol::frame::{Envelope, FrameBuilder, FrameView, announced_length};
use duet_protocol::layout::TableLayout;
use duet_protocol::record::{
    ClusterConfiguration, ClusterState, ClusterStatus, GroupView, Leaving, ManagementCommand,
    ManagementSnapshot, Member, MemberState, NodeRecord, PartitionView, UserList, View,
};
use duet_protocol::scan_program::{
    Aggregate, Aggregation, Comparison, CompiledScan, Filter, Function, ScanProgram, encode_program,
};
use duet_protocol::schema::{Column, ColumnType, Table, TableDefinition, TableState};
use duet_protocol::signal::scan_reply::{ScanRow, push_row, split_row};
use duet_protocol::signal::write::Write;
use duet_protocol::signal::{Sections, SignalType};
use duet_protocol::update::{Assignment, apply_update, encode_update, validate_update};
use duet_protocol::value::{Value, ValueRef};

/// A small generator (xorshift) with a fixed start: the same bytes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Changes, inserts, removes, repeats or cuts a few bytes.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        for _ in 0..1 + self.below(4) {
            let position = self.below(damaged.len());
            match self.below(8) {
                0 => damaged.insert(position, self.next() as u8),
                1 if !damaged.is_empty() => drop(damaged.remove(position)),
                2 => damaged.truncate(position),
                3 => {
                    let length = self.below(damaged.len() - position).min(16);
                    damaged.extend_from_within(position..position + length);
                }
                4 if damaged.len() >= position + 4 => {
                    let special = [0, 1, 0x7f, 0x80, 0xff][self.below(5)];
                    damaged[position..position + 4].fill(special);
                }
                _ if !damaged.is_empty() => damaged[position] ^= 1 << self.below(8),
                _ => {}
            }
        }
        damaged
    }
}

fn rounds() -> usize {
    std::env::var("DUET_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20_000)
}

fn every_type() -> TableDefinition {
    let mut builder = TableDefinition::builder("main", "everything")
        .required("id", ColumnType::BigInt)
        .required("name", ColumnType::Varchar { characters: 20 })
        .required("blob", ColumnType::Varbinary { bytes: 9 });
    for (index, column_type) in [
        ColumnType::TinyInt,
        ColumnType::MediumIntUnsigned,
        ColumnType::Float,
        ColumnType::Double,
        ColumnType::Decimal { precision: 20, scale: 4 },
        ColumnType::Char { characters: 5 },
        ColumnType::Binary { bytes: 3 },
        ColumnType::Text,
        ColumnType::Date,
        ColumnType::Time,
        ColumnType::Timestamp,
        ColumnType::Boolean,
        ColumnType::Json,
        ColumnType::Vector { dimensions: 3 },
    ]
    .into_iter()
    .enumerate()
    {
        builder = builder.column(Column::new(format!("c{index}"), column_type).nullable());
    }
    builder
        .primary_key(["name", "id", "blob"])
        .partition_key(["id"])
        .ordered_index("by_decimal", &["c4", "c10"])
        .unique_index("by_date", &["c8"])
        .build()
        .expect("valid")
}

fn one_row() -> Vec<Value> {
    vec![
        Value::Int(-5),
        Value::Text("na\0me".into()),
        Value::Bytes(vec![0, 255]),
        Value::Int(7),
        Value::UInt(70_000),
        Value::Float(1.5),
        Value::Double(-2.5),
        Value::Decimal { unscaled: 123, scale: 4 },
        Value::Text("char".into()),
        Value::Bytes(vec![1, 2, 3]),
        Value::Text("text".repeat(5)),
        Value::Date(15_000),
        Value::Time(-5),
        Value::Timestamp(1),
        Value::Null,
        Value::Json("{}".into()),
        Value::Vector(vec![1.0, 2.0, 3.0]),
    ]
}

#[test]
fn damaged_keys_rows_and_updates() {
    let layout = TableLayout::new(&every_type()).expect("valid");
    let (mut key, mut image, mut program) = (Vec::new(), Vec::new(), Vec::new());
    layout.encode_row(&one_row(), &mut key, &mut image).expect("fits");
    let assignments = [
        (3, Assignment::Add(ValueRef::Int(1))),
        (10, Assignment::Set(ValueRef::Text("other".into()))),
        (16, Assignment::SetNull),
    ];
    encode_update(&layout, &assignments, &mut program).expect("fits");
    let mut random = Random(0x1d87_2b41_9f2c_0017);
    let mut accepted = [0; 3];
    for _ in 0..rounds() {
        let damaged_key = random.damage(&key);
        if layout.validate_key(&damaged_key).is_ok() {
            accepted[0] += 1;
            let values = layout.decode_key(&damaged_key).expect("a valid key can be read");
            let mut again = Vec::new();
            layout.encode_key(&values, &mut again).expect("and written");
            assert_eq!(again, damaged_key, "two encodings of one key");
            let _ = layout.partition_hash(&damaged_key);
        } else {
            assert!(layout.decode_key(&damaged_key).is_err());
        }
        let damaged_image = random.damage(&image);
        if layout.validate_value(&damaged_image).is_ok() {
            accepted[1] += 1;
            duet_protocol::row::RowView::new(&layout, &key, &damaged_image)
                .to_values()
                .expect("a valid image can be read");
        }
        let damaged_program = random.damage(&program);
        let mut out = Vec::new();
        if validate_update(&layout, &damaged_program).is_ok() {
            accepted[2] += 1;
        }
        if apply_update(&layout, &image, &damaged_program, &mut out).is_ok() {
            layout.validate_value(&out).expect("an update leaves a valid image");
        }
    }
    assert!(accepted.iter().all(|count| *count > 0), "no damage was harmless: {accepted:?}");
}

fn state() -> ClusterState {
    let member = |node| Member {
        node,
        incarnation: 1,
        state: MemberState::Full,
        recoverable: false,
        leaving: Leaving::No,
    };
    ClusterState {
        cluster_id: 9,
        version: 4,
        configuration: ClusterConfiguration { data_nodes: 2, replicas: 2, partitions: 4, lanes: 1 },
        nodes: (1..=2)
            .map(|node| NodeRecord {
                node,
                incarnation: 1,
                address: "127.0.0.1:1".into(),
                ..NodeRecord::default()
            })
            .collect(),
        view: View {
            number: 1,
            groups: vec![GroupView { changed_in_view: 1, members: vec![member(1), member(2)] }],
            partitions: vec![PartitionView { group: 0, replicas: vec![1, 2], cfg: 1 }; 4],
        },
        buckets: ClusterState::deal_buckets(4),
        tables: vec![Table { state: TableState::Active, ..Table::created(1, 1, every_type()) }],
        next_table_id: 2,
        ..ClusterState::default()
    }
}

/// Damages a record behind its envelope and makes length and checksum right again, so that its structure is what is checked.
fn reseal(random: &mut Random, record: &[u8]) -> Vec<u8> {
    let (envelope, payload) = record.split_at(duet_protocol::record::RECORD_HEADER_BYTES);
    let mut envelope = envelope.to_vec();
    let payload = random.damage(payload);
    envelope[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&envelope[..16]), &payload);
    envelope[16..20].copy_from_slice(&checksum.to_le_bytes());
    envelope.extend_from_slice(&payload);
    envelope
}

#[test]
fn damaged_records() {
    let state = state().to_record().expect("encodes");
    let definition = every_type().to_record().expect("encodes");
    assert!(ClusterState::from_record(&state).is_ok() && TableDefinition::from_record(&definition).is_ok());
    let mut random = Random(0x52ab_11c3_0d6e_4401);
    for _ in 0..rounds() / 10 {
        for record in [&state, &definition] {
            assert!(ClusterState::from_record(&random.damage(&record[..record.len() / 2])).is_err());
            let resealed = reseal(&mut random, record);
            let _ = ClusterState::from_record(&resealed);
            let _ = ClusterStatus::from_record(&resealed);
            let _ = TableDefinition::from_record(&resealed).map(|definition| definition.validate());
            let _ = ManagementCommand::from_record(&resealed);
            let _ = ManagementSnapshot::from_record(&resealed);
            let _ = UserList::from_record(&resealed);
        }
    }
}

#[test]
fn damaged_frames() {
    let mut builder = FrameBuilder::new();
    for number in 0..5 {
        let key = vec![number as u8; number as usize];
        builder.push(0, number, &Write::default(), Sections::two(&key, b"a value image"));
    }
    let frame = builder.seal(&Envelope::default()).expect("open").to_vec();
    let mut random = Random(0x77c0_41e9_0b4d_2290);
    let mut accepted = 0;
    for _ in 0..rounds() {
        let mut damaged = random.damage(&frame);
        let _ = announced_length(&damaged, 1 << 20);
        if damaged.len() >= 12 {
            let checksum = crc32c::crc32c(&damaged[12..]);
            damaged[8..12].copy_from_slice(&checksum.to_le_bytes());
        }
        let Ok(view) = FrameView::new_checked(&damaged) else { continue };
        accepted += 1;
        assert_eq!(view.signals().count(), view.signal_count());
        for signal in view.signals() {
            let bytes: usize = (0..3).map(|index| signal.section(index).len()).sum();
            assert!(bytes <= damaged.len());
            assert!(SignalType::from_number(signal.signal_type() as u16).is_some());
        }
    }
    assert!(accepted > 0, "no damage was harmless");
}

#[test]
fn damaged_scan_programs() {
    let layout = TableLayout::new(&every_type()).expect("valid");
    let (mut key, mut image, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    layout.encode_row(&one_row(), &mut key, &mut image).expect("fits");
    let name = Filter::In { column: 1, values: vec!["na\0me".into(), "other".into()] };
    let filter = name.and(!Filter::Compare {
        column: 7,
        comparison: Comparison::Less,
        value: Value::Decimal { unscaled: 5, scale: 1 },
    });
    let of = |function, column| Aggregate { function, column };
    let aggregates =
        vec![of(Function::Count, None), of(Function::Sum, Some(7)), of(Function::Maximum, Some(10))];
    let program = ScanProgram { filter: Some(filter), columns: vec![1, 11], aggregates: Some(aggregates) };
    encode_program(&layout, &program, &mut bytes).expect("fits");
    let mut random = Random(0x51c3_0b77_9e01_2afd);
    let mut accepted = 0;
    for _ in 0..rounds() {
        let damaged = random.damage(&bytes);
        let Ok(scan) = CompiledScan::new(&layout, &damaged) else { continue };
        accepted += 1;
        for (key, image) in [(&key, &image), (&random.damage(&key), &random.damage(&image))] {
            let row = duet_protocol::row::RowView::new(&layout, key, image);
            let _ = scan.matches(row);
            scan.project(row, &mut Vec::new());
            if let Some(mut aggregation) = Aggregation::new(&scan) {
                let _ = aggregation.add(row);
                aggregation.finish(|_, _| {});
            }
        }
    }
    assert!(accepted > 0, "some damage leaves a program");
}

#[test]
fn damaged_scan_batches() {
    let mut batch = Vec::new();
    for number in 0..9_u8 {
        let key = vec![number; usize::from(number)];
        push_row(
            &mut batch,
            &ScanRow { version: Default::default(), table_version: 1, key: &key, value: b"value" },
        );
    }
    let mut random = Random(0x0f31_9a77_5522_6b0d);
    for _ in 0..rounds() {
        let damaged = random.damage(&batch);
        let mut rest = &damaged[..];
        let mut rows = 0;
        while let Some(row) = split_row(&mut rest) {
            rows += 1;
            assert!(row.key.len() + row.value.len() <= damaged.len());
        }
        assert!(rows <= damaged.len() / 24);
    }
}
