use std::cmp::Ordering;

use proptest::prelude::*;

use crate::hash::key_hash;
use crate::key::{IndexLayout, pass_prefix};
use crate::layout::TableLayout;
use crate::row::strategies::{damage, damaged, table_with_rows};
use crate::row::{RowError, RowView};
use crate::schema::{ColumnType, MAX_KEY_BYTES, TableDefinition};
use crate::value::{AsValue, Value};

/// The layout of a table whose key has columns of these types.
fn keyed(types: &[ColumnType], partition_key: &[&str]) -> TableLayout {
    let names = (0..types.len()).map(|index| format!("k{index}"));
    let mut table = TableDefinition::builder("test", "keys").primary_key(names.clone());
    for (name, column_type) in names.zip(types) {
        table = table.required(name, *column_type);
    }
    TableLayout::new(&table.partition_key(partition_key.iter().copied()).build().unwrap()).unwrap()
}

fn key(layout: &TableLayout, values: &[Value]) -> Vec<u8> {
    let mut key = Vec::new();
    layout.encode_key(values, &mut key).unwrap();
    key
}

/// The values of the key columns of a row.
fn key_values(definition: &TableDefinition, row: &[Value]) -> Vec<Value> {
    definition.primary_key.iter().map(|column| row[usize::from(*column)].clone()).collect()
}

/// The order of values of one type, which keys must have.
fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::UInt(left), Value::UInt(right)) => left.cmp(right),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right).unwrap(),
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right).unwrap(),
        (Value::Decimal { unscaled: left, .. }, Value::Decimal { unscaled: right, .. }) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (Value::Time(left), Value::Time(right))
        | (Value::DateTime(left), Value::DateTime(right))
        | (Value::Timestamp(left), Value::Timestamp(right)) => left.cmp(right),
        (left, right) => panic!("{left:?} and {right:?} are not of one orderable type"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn keys_come_back_and_sort_like_their_values((definition, rows) in table_with_rows(6)) {
        let layout = TableLayout::new(&definition).unwrap();
        let keys: Vec<(Vec<u8>, Vec<Value>)> = rows
            .iter()
            .map(|row| key_values(&definition, row))
            .map(|values| (key(&layout, &values), values))
            .collect();
        for (left, left_values) in &keys {
            layout.validate_key(left).unwrap();
            prop_assert!(left.len() <= MAX_KEY_BYTES);
            prop_assert_eq!(&layout.decode_key(left).unwrap(), left_values);
            for (right, right_values) in &keys {
                let order = left_values.iter().zip(right_values).map(|(left, right)| compare(left, right));
                prop_assert_eq!(left.cmp(right), order.fold(Ordering::Equal, Ordering::then));
            }
        }
    }

    #[test]
    fn only_what_encoding_makes_is_valid((definition, rows) in table_with_rows(1), damage in damage()) {
        let layout = TableLayout::new(&definition).unwrap();
        let damaged = damaged(&key(&layout, &key_values(&definition, &rows[0])), &damage);
        let _ = layout.partition_hash(&damaged);
        if layout.validate_key(&damaged).is_ok() {
            let values = layout.decode_key(&damaged).unwrap();
            prop_assert_eq!(key(&layout, &values), damaged);
        } else {
            prop_assert!(layout.decode_key(&damaged).is_err());
        }
    }

    #[test]
    fn random_bytes_do_no_harm((definition, _) in table_with_rows(0), bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let layout = TableLayout::new(&definition).unwrap();
        let _ = layout.partition_hash(&bytes);
        if layout.validate_key(&bytes).is_ok() {
            prop_assert_eq!(key(&layout, &layout.decode_key(&bytes).unwrap()), bytes);
        }
    }

    #[test]
    fn a_row_is_placed_by_its_partition_key((definition, rows) in table_with_rows(1)) {
        let layout = TableLayout::new(&definition).unwrap();
        let values = key_values(&definition, &rows[0]);
        let mut partition_key = Vec::new();
        for (column, value) in definition.primary_key.iter().zip(&values) {
            if definition.partition_key.is_empty() || definition.partition_key.contains(column) {
                let column_type = definition.columns[usize::from(*column)].column_type;
                partition_key.extend(key(&keyed(&[column_type], &[]), std::slice::from_ref(value)));
            }
        }
        prop_assert_eq!(layout.partition_hash(&key(&layout, &values)), key_hash(&partition_key));
    }
}

#[test]
fn golden_keys() {
    // Cited by docs/protocol-rows.md.
    use ColumnType::*;
    let cases: [(ColumnType, Value, &[u8]); 18] = [
        (TinyInt, Value::Int(-1), &[0x7f]),
        (SmallInt, Value::Int(1), &[0x80, 0x01]),
        (MediumInt, Value::Int(-2), &[0x7f, 0xff, 0xfe]),
        (Int, Value::Int(1), &[0x80, 0, 0, 0x01]),
        (BigInt, Value::Int(-1), &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (IntUnsigned, Value::UInt(258), &[0, 0, 1, 2]),
        (Float, Value::Float(1.5), &[0xbf, 0xc0, 0, 0]),
        (Double, Value::Double(-1.5), &[0x40, 0x07, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (Double, Value::Double(-0.0), &[0x80, 0, 0, 0, 0, 0, 0, 0]),
        (
            Decimal { precision: 10, scale: 2 },
            Value::Decimal { unscaled: 150, scale: 2 },
            &[0x80, 0, 0, 0, 0, 0, 0, 0x96],
        ),
        (
            Decimal { precision: 20, scale: 0 },
            Value::Int(-1),
            &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
        (Varchar { characters: 9 }, Value::from("a\0b"), &[b'a', 0, 0xff, b'b', 0, 0]),
        (Varchar { characters: 9 }, Value::from(""), &[0, 0]),
        (Varbinary { bytes: 9 }, Value::from([0]), &[0, 0xff, 0, 0]),
        (Binary { bytes: 3 }, Value::from([1, 0, 2]), &[1, 0, 2]),
        (Date, Value::Date(15_706), &[0x80, 0, 0x3d, 0x5a]),
        (Timestamp, Value::Timestamp(1), &[0x80, 0, 0, 0, 0, 0, 0, 1]),
        (Boolean, Value::Bool(true), &[1]),
    ];
    for (column_type, value, bytes) in cases {
        assert_eq!(key(&keyed(&[column_type], &[]), &[value]), bytes, "{column_type}");
    }
}

#[test]
fn keys_refuse_what_they_cannot_hold() {
    let layout = keyed(&[ColumnType::Double, ColumnType::Varchar { characters: 3 }], &[]);
    let refused = |values: &[Value]| layout.encode_key(values, &mut Vec::new()).unwrap_err().code();
    assert_eq!(refused(&[Value::Double(1.0)]), 150);
    assert_eq!(refused(&[Value::Double(f64::NAN), Value::from("a")]), 157);
    assert_eq!(refused(&[Value::Double(1.0), Value::Null]), 155);
    assert_eq!(refused(&[Value::Double(1.0), Value::from("aßcd")]), 154);
    assert_eq!(refused(&[Value::Double(1.0), Value::from(vec![1_u8])]), 152);
}

#[test]
fn malformed_keys_are_named() {
    let layout = keyed(&[ColumnType::Double, ColumnType::Varchar { characters: 3 }], &[]);
    let good = key(&layout, &[Value::Double(0.0), Value::from("a\0")]);
    let error = |key: &[u8]| layout.validate_key(key).unwrap_err();
    let code = |key: &[u8]| error(key).code();
    layout.validate_key(&good).unwrap();
    assert_eq!(code(&[]), 160);
    assert_eq!(code(&good[..9]), 160);
    assert_eq!(code(&good[..good.len() - 1]), 160);
    assert_eq!(code(&[&good[..], &[0]].concat()), 160);
    assert_eq!(code(&[&good[..8], &[b'a', 0, 7, 0, 0]].concat()), 160);
    assert_eq!(code(&[&good[..8], &[0xff, 0, 0]].concat()), 156);
    assert_eq!(code(&[&good[..8], b"a\0\xffbc\0\0"].concat()), 154);
    assert_eq!(code(&[0xff; 4000]), 159);
    // A negative zero would be a second key of zero.
    let negative_zero = [&(!(-0.0_f64).to_bits()).to_be_bytes()[..], &good[8..]].concat();
    assert_eq!(
        error(&negative_zero),
        RowError::MalformedKey { column: "k0".into(), reason: "it is a negative zero" }
    );
    let not_a_number = [&(f64::NAN.to_bits() | 1 << 63).to_be_bytes()[..], &good[8..]].concat();
    assert_eq!(code(&not_a_number), 157);
}

#[test]
fn every_kind_of_partition_key_is_met() {
    use ColumnType::*;
    let text = Varchar { characters: 9 };
    let types = [Int, text, BigInt];
    let values = [Value::from(1), Value::from("x"), Value::from(2)];
    let whole = keyed(&types, &[]);
    let encoded = key(&whole, &values);
    assert_eq!(whole.partition_hash(&encoded), key_hash(&encoded));
    assert_eq!(keyed(&types, &["k2", "k0", "k1"]).partition_hash(&encoded), key_hash(&encoded));
    assert_eq!(keyed(&types, &["k0"]).partition_hash(&encoded), key_hash(&encoded[..4]));
    assert_eq!(keyed(&types, &["k0", "k1"]).partition_hash(&encoded), key_hash(&encoded[..7]));
    assert_eq!(keyed(&types, &["k1"]).partition_hash(&encoded), key_hash(&encoded[4..7]));
    let ends = [&encoded[..4], &encoded[7..]].concat();
    assert_eq!(keyed(&types, &["k2", "k0"]).partition_hash(&encoded), key_hash(&ends));
}

fn sortable(value: &Value) -> bool {
    !matches!(value, Value::Float(number) if number.is_nan())
        && !matches!(value, Value::Double(number) if number.is_nan())
}

proptest! {
    #[test]
    fn index_keys_compare_as_the_columns_and_then_the_key(
        (definition, rows) in table_with_rows(6),
        picks in proptest::collection::vec(any::<proptest::sample::Index>(), 1..4),
    ) {
        let layout = TableLayout::new(&definition).unwrap();
        let mut columns: Vec<u16> = picks.iter().map(|pick| pick.index(definition.columns.len()) as u16).collect();
        columns.dedup();
        let Some(index) = IndexLayout::secondary(&layout, &columns) else {
            let orderable = |column: &u16| definition.columns[usize::from(*column)].column_type.is_orderable();
            prop_assert!(!columns.iter().all(orderable));
            return Ok(());
        };
        let mut keys = Vec::new();
        for row in &rows {
            let (mut key, mut image, mut found) = (Vec::new(), Vec::new(), Vec::new());
            layout.encode_row(row, &mut key, &mut image).unwrap();
            index.append_key(&RowView::new(&layout, &key, &image), &mut found);
            let values: Vec<&Value> = columns.iter().map(|column| &row[usize::from(*column)]).collect();
            if values.iter().all(|value| sortable(value)) {
                // The bound of all columns is the beginning of the key, and the primary key is the rest.
                let mut bound = Vec::new();
                index.append_bound(&values, &mut bound).unwrap();
                prop_assert_eq!(&found, &[&bound[..], &key[..]].concat());
                let hash = layout.partition_hash_of(|column| Some(row[usize::from(column)].as_value())).unwrap();
                prop_assert_eq!(hash, Some(layout.partition_hash(&key)));
                keys.push((found, row.clone(), key));
            }
        }
        for (left, left_row, left_key) in &keys {
            for (right, right_row, right_key) in &keys {
                let mut expected = Ordering::Equal;
                for column in &columns {
                    let (left, right) = (&left_row[usize::from(*column)], &right_row[usize::from(*column)]);
                    let order = match (left, right) {
                        (Value::Null, Value::Null) => Ordering::Equal,
                        (Value::Null, _) => Ordering::Less,
                        (_, Value::Null) => Ordering::Greater,
                        (left, right) => compare(left, right),
                    };
                    expected = expected.then(order);
                }
                prop_assert_eq!(left.cmp(right), expected.then(left_key.cmp(right_key)));
            }
        }
    }
}

#[test]
fn every_nan_has_the_same_place_behind_all_numbers_and_null_comes_first() {
    let definition = TableDefinition::builder("main", "numbers")
        .required("id", ColumnType::Int)
        .nullable("wide", ColumnType::Double)
        .primary_key(["id"])
        .build()
        .unwrap();
    let layout = TableLayout::new(&definition).unwrap();
    let index = IndexLayout::secondary(&layout, &[1]).unwrap();
    let key_of = |value: Value| {
        let (mut key, mut image, mut found) = (Vec::new(), Vec::new(), Vec::new());
        layout.encode_row(&[Value::Int(1), value], &mut key, &mut image).unwrap();
        index.append_key(&RowView::new(&layout, &key, &image), &mut found);
        found
    };
    let double = |number: f64| key_of(Value::Double(number));
    assert_eq!(double(f64::NAN), double(-f64::NAN));
    assert_eq!(double(0.0), double(-0.0));
    assert!(double(f64::NAN) > double(f64::INFINITY));
    assert!(key_of(Value::Null) < double(f64::NEG_INFINITY));
    let mut bound = Vec::new();
    assert!(index.append_bound(&[Value::Double(f64::NAN)], &mut bound).is_err());
    assert!(index.append_bound(&[Value::Null, Value::Int(1)], &mut bound).is_err());
}

#[test]
fn what_follows_a_prefix_is_found() {
    let passed = |bytes: &[u8]| {
        let mut bound = bytes.to_vec();
        pass_prefix(&mut bound).then_some(bound)
    };
    assert_eq!(passed(b"ab"), Some(b"ac".to_vec()));
    assert_eq!(passed(&[7, 0xff, 0xff]), Some(vec![8]));
    assert_eq!((passed(&[0xff]), passed(&[])), (None, None));
}
