use super::*;
use crate::value::Value;

fn table() -> TableBuilder {
    TableDefinition::builder("shop", "orders")
        .required("id", ColumnType::BigInt)
        .required("region", ColumnType::Varchar { characters: 20 })
        .nullable("paid_at", ColumnType::Timestamp)
        .column(Column::new("state", ColumnType::TinyInt).default_value(0))
        .primary_key(["region", "id"])
}

fn updated(name: &str) -> Column {
    Column::new(name, ColumnType::Timestamp).current_time_on_insert(0).current_time_on_update(0)
}

fn refused(table: TableBuilder) -> (u16, String) {
    let error = table.build().unwrap_err();
    (error.code(), error.to_string())
}

#[test]
fn a_definition_is_built_from_names() {
    let definition =
        table().partition_key(["REGION"]).time_to_live(3600, "paid_at").comment("x").build().unwrap();
    assert_eq!(definition.primary_key, [1, 0]);
    assert_eq!(definition.partition_key, [1]);
    assert_eq!(definition.time_to_live, Some(TimeToLive { seconds: 3600, event_time_column: 2 }));
    assert_eq!(definition.column_index("State"), Some(3));
    assert_eq!(definition.columns[3].default, Some(Value::Int(0)));
    assert_eq!(table().build().unwrap().partition_key, [1, 0], "the whole primary key by default");
}

#[test]
fn every_rule_has_its_number() {
    let numbered = |name: &str, column_type| table().required(name, column_type);
    let long = "ä".repeat(MAX_NAME_CHARACTERS + 1);
    let cases = [
        (100, TableDefinition::builder("", "t").required("a", ColumnType::Int).primary_key(["a"])),
        (100, numbered("", ColumnType::Int)),
        (101, numbered(&long, ColumnType::Int)),
        (102, numbered("a\nb", ColumnType::Int)),
        (103, TableDefinition::builder("d", "t")),
        (
            104,
            (0..MAX_COLUMNS)
                .fold(table(), |table, index| table.required(format!("c{index}"), ColumnType::Int)),
        ),
        (105, numbered("ID", ColumnType::Int)),
        (106, TableDefinition::builder("d", "t").required("a", ColumnType::Int)),
        (107, table().primary_key(["ident"])),
        (108, table().primary_key(["id", "id"])),
        (109, table().primary_key(["paid_at"])),
        (110, numbered("doc", ColumnType::Json).primary_key(["doc"])),
        (
            111,
            (0..=MAX_KEY_COLUMNS)
                .fold(table(), |table, index| table.required(format!("c{index}"), ColumnType::Int))
                .primary_key((0..=MAX_KEY_COLUMNS).map(|index| format!("c{index}"))),
        ),
        (112, numbered("path", ColumnType::Varchar { characters: 768 }).primary_key(["path"])),
        (112, numbered("path", ColumnType::Varbinary { bytes: 1536 }).primary_key(["path"])),
        (113, table().partition_key(["state"])),
        (114, numbered("d", ColumnType::Decimal { precision: 39, scale: 0 })),
        (114, numbered("d", ColumnType::Decimal { precision: 3, scale: 4 })),
        (114, numbered("c", ColumnType::Char { characters: 256 })),
        (114, numbered("c", ColumnType::Varchar { characters: 0 })),
        (114, numbered("c", ColumnType::Binary { bytes: 65_536 })),
        (114, numbered("c", ColumnType::Vector { dimensions: u32::MAX })),
        (
            115,
            numbered("a", ColumnType::Binary { bytes: 65_535 })
                .required("b", ColumnType::Binary { bytes: 4_096 }),
        ),
        (116, table().column(Column::new("c", ColumnType::TinyInt).default_value(300))),
        (116, table().column(Column::new("c", ColumnType::TinyInt).default_value(Value::Null))),
        (117, table().time_to_live(0, "paid_at")),
        (117, table().time_to_live(5, "state")),
        (126, table().column(Column::new("c", ColumnType::Date).current_time_on_insert(0))),
        (126, table().column(Column::new("c", ColumnType::BigInt).current_time_on_update(0))),
        (126, table().column(Column::new("c", ColumnType::DateTime).current_time_on_insert(7))),
        (126, table().column(updated("c")).primary_key(["c"])),
        (118, table().comment("x".repeat(MAX_COMMENT_CHARACTERS + 1))),
        (
            118,
            table().column(
                Column::new("a", ColumnType::Int).comment("x".repeat(MAX_COLUMN_COMMENT_CHARACTERS + 1)),
            ),
        ),
        (100, table().ordered_index("", &["state"])),
        (107, table().ordered_index("by_stat", &["stat"])),
        (108, table().unique_index("by_state", &["state", "STATE"])),
        (
            119,
            (0..=MAX_INDEXES)
                .fold(table(), |table, index| table.ordered_index(format!("i{index}"), &["state"])),
        ),
        (120, table().ordered_index("by_state", &["state"]).unique_index("By_State", &["id"])),
        (121, table().ordered_index("PRIMARY", &["state"])),
        (122, table().ordered_index("nothing", &[])),
        (
            122,
            (0..=MAX_INDEX_COLUMNS)
                .fold(table(), |table, index| table.required(format!("c{index}"), ColumnType::Int))
                .ordered_index(
                    "wide",
                    &(0..=MAX_INDEX_COLUMNS)
                        .map(|index| -> &str { Box::leak(format!("c{index}").into_boxed_str()) })
                        .collect::<Vec<_>>(),
                ),
        ),
        (123, numbered("doc", ColumnType::Json).ordered_index("by_doc", &["doc"])),
        (124, numbered("path", ColumnType::Varchar { characters: 768 }).ordered_index("by_path", &["path"])),
        (
            124,
            table()
                .nullable("path", ColumnType::Varbinary { bytes: 1_535 })
                .ordered_index("by_path", &["path"]),
        ),
    ];
    for (code, table) in cases {
        assert_eq!(refused(table.clone()).0, code, "{:?}", refused(table));
    }
    let longest = numbered("path", ColumnType::Varchar { characters: 767 }).primary_key(["path"]);
    longest.build().unwrap();
}

#[test]
fn indexes_are_built_from_names_and_have_limits_of_their_own() {
    let path = ColumnType::Varbinary { bytes: 1_535 };
    let definition = table()
        .required("path", path)
        .ordered_index("by_payment", &["paid_at", "region"])
        .unique_index("by_path", &["PATH"])
        .hash_only()
        .build()
        .unwrap();
    assert_eq!(definition.primary_key_order, PrimaryKeyOrder::HashOnly);
    let by_payment =
        IndexDefinition { name: "by_payment".into(), kind: IndexKind::Ordered, columns: vec![2, 1] };
    let by_path = IndexDefinition { name: "by_path".into(), kind: IndexKind::Unique, columns: vec![4] };
    assert_eq!(definition.indexes, [by_payment, by_path]);
    assert_eq!(definition.index_position("By_Path"), Some(1));
    let indexes = [7, 9].map(|id| TableIndex { id, state: IndexState::Public, hidden_table: None });
    let table = Table { indexes: indexes.to_vec(), ..Table::created(1, 1, definition) };
    assert_eq!(table.index_named("BY_PATH").map(|(_, index)| index.id), Some(9));
    assert!(table.index_named("primary").is_none());
}

#[test]
fn messages_name_the_column_and_the_reason() {
    let table = table().column(Column::new("age", ColumnType::TinyInt).default_value(300));
    let expected =
        "the default of column 'age' does not fit it: column 'age' is TINYINT, which cannot hold 300";
    assert_eq!(refused(table).1, expected);
}

#[test]
fn indexes_out_of_bounds_are_refused() {
    let good = table().build().unwrap();
    let mut definition = good.clone();
    definition.primary_key = vec![9];
    assert_eq!(definition.validate().unwrap_err().code(), 107);
    let mut definition = good.clone();
    definition.partition_key = vec![9];
    assert_eq!(definition.validate().unwrap_err().code(), 107);
    let mut definition = good.clone();
    definition.indexes =
        vec![IndexDefinition { name: "by_nine".into(), kind: IndexKind::Ordered, columns: vec![9] }];
    assert_eq!(definition.validate().unwrap_err().code(), 107);
    let mut definition = good;
    definition.time_to_live = Some(TimeToLive { seconds: 1, event_time_column: 9 });
    assert_eq!(definition.validate().unwrap_err().code(), 107);
}

#[test]
fn tables_travel_as_records() {
    let values = [
        Value::Decimal { unscaled: -5, scale: 2 },
        Value::from("text"),
        Value::from(vec![1_u8]),
        Value::from(vec![1.5_f32]),
        Value::Null,
    ];
    let mut definition = table().partition_key(["id"]).time_to_live(9, "paid_at").build().unwrap();
    for (index, value) in values.into_iter().enumerate() {
        definition.columns.push(Column::new(format!("d{index}"), ColumnType::Json).default_value(value));
    }
    let indexes = vec![TableIndex { id: 3, state: IndexState::WriteOnly, hidden_table: Some(8) }];
    let table = Table { state: TableState::Active, indexes, ..Table::created(7, 1, definition) };
    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&table).unwrap();
    assert_eq!(rkyv::from_bytes::<Table, rkyv::rancor::Error>(&bytes).unwrap(), table);
    assert!(rkyv::from_bytes::<Table, rkyv::rancor::Error>(&bytes[..bytes.len() - 8]).is_err());
}

/// The column as it was encoded before columns took the current time.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, Clone, Debug, PartialEq)]
struct OldColumn {
    name: String,
    column_type: ColumnType,
    nullable: bool,
    default: Option<Value>,
}

#[test]
fn columns_are_read_as_they_were_encoded_before_they_took_the_time() {
    let long = Value::from("longer than what lies inline");
    for default in
        [None, Some(Value::Null), Some(Value::Timestamp(5)), Some(long), Some(Value::from(vec![1.5_f32]))]
    {
        let column_type = ColumnType::Decimal { precision: 9, scale: 2 };
        let old = OldColumn { name: "a column".into(), column_type, nullable: true, default };
        let new = Column { default: old.default.clone(), ..Column::new(&old.name, column_type).nullable() };
        let (many_old, many_new) = (vec![old.clone(), old], vec![new.clone(), new]);
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&many_old).unwrap();
        assert_eq!(rkyv::from_bytes::<Vec<Column>, rkyv::rancor::Error>(&bytes).unwrap(), many_new);
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&many_new).unwrap();
        assert_eq!(rkyv::from_bytes::<Vec<OldColumn>, rkyv::rancor::Error>(&bytes).unwrap(), many_old);
    }
}

#[test]
fn columns_that_take_the_time_or_have_comments_travel_and_tell_it() {
    let now = 1_700_000_000_123_456;
    let inserted = Column::new("a", ColumnType::DateTime).current_time_on_insert(3);
    let changed = Column::new("b", ColumnType::Timestamp).nullable().current_time_on_update(6);
    let both = updated("c").added_at(|| now);
    let commented = Column::new("d", ColumnType::Int).default_value(5).comment("counted from 1");
    let all = both.clone().nullable().comment("µ");
    for column in [inserted.clone(), changed.clone(), both.clone(), commented, all] {
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&column).unwrap();
        assert_eq!(rkyv::from_bytes::<Column, rkyv::rancor::Error>(&bytes).unwrap(), column);
        assert!(rkyv::from_bytes::<OldColumn, rkyv::rancor::Error>(&bytes).is_err());
        table().column(column).build().unwrap();
    }
    assert_eq!(inserted.default_at(|| now), Some(Value::DateTime(1_700_000_000_123_000)));
    assert_eq!(inserted.default_at(|| -1), Some(Value::DateTime(-1_000)));
    assert_eq!(changed.default_at(|| now), None);
    assert_eq!(changed.time_of(|| now), Some(Value::Timestamp(now)));
    assert_eq!(both.default, Some(Value::Timestamp(1_700_000_000_000_000)));
    assert_eq!(both.default_at(|| now + 5_000_000), Some(Value::Timestamp(1_700_000_005_000_000)));
    assert!(inserted.may_be_left_out() && changed.may_be_left_out() && both.may_be_left_out());
    let usual = Column::new("n", ColumnType::Int).default_value(7);
    assert_eq!(usual.default_at(|| unreachable!("no clock is read")), Some(Value::Int(7)));
}
