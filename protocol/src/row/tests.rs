use proptest::prelude::*;

use super::strategies::{damage, damaged, table_with_rows};
use super::{RowError, RowView};
use crate::layout::TableLayout;
use crate::schema::{ColumnType, MAX_VALUE_BYTES, TableDefinition};
use crate::value::{Value, ValueRef};

/// The first table of docs/protocol-rows.md.
fn planes() -> TableLayout {
    let definition = TableDefinition::builder("nycflights", "planes")
        .required("tailnum", ColumnType::Varchar { characters: 10 })
        .nullable("year", ColumnType::SmallInt)
        .required("model", ColumnType::Varchar { characters: 20 })
        .required("seats", ColumnType::IntUnsigned)
        .nullable("engine", ColumnType::Varchar { characters: 20 })
        .primary_key(["tailnum"])
        .build()
        .unwrap();
    TableLayout::new(&definition).unwrap()
}

/// The second: wide offsets, a key that is not first, and every other way to lie in a row.
fn readings() -> TableLayout {
    let definition = TableDefinition::builder("lab", "readings")
        .nullable("note", ColumnType::Text)
        .required("at", ColumnType::Timestamp)
        .required("sensor", ColumnType::BigInt)
        .nullable("price", ColumnType::Decimal { precision: 10, scale: 2 })
        .required("ok", ColumnType::Boolean)
        .required("tag", ColumnType::Binary { bytes: 2 })
        .nullable("embedding", ColumnType::Vector { dimensions: 2 })
        .required("level", ColumnType::MediumInt)
        .primary_key(["sensor", "at"])
        .partition_key(["sensor"])
        .build()
        .unwrap();
    TableLayout::new(&definition).unwrap()
}

fn encode(layout: &TableLayout, row: &[Value]) -> (Vec<u8>, Vec<u8>) {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    layout.encode_row(row, &mut key, &mut value).unwrap();
    (key, value)
}

/// A table with an integer key and one column of this type.
fn one_column(column_type: ColumnType) -> TableLayout {
    let table = TableDefinition::builder("test", "one").required("id", ColumnType::Int).primary_key(["id"]);
    TableLayout::new(&table.required("c", column_type).build().unwrap()).unwrap()
}

/// What the column makes of a value: the value that comes back, or the code of the error.
fn store(column_type: ColumnType, value: Value) -> Result<Value, u16> {
    let layout = one_column(column_type);
    let (mut key, mut image) = (Vec::new(), Vec::new());
    layout.encode_row(&[Value::from(1), value], &mut key, &mut image).map_err(|error| error.code())?;
    layout.validate_value(&image).unwrap();
    Ok(RowView::new(&layout, &key, &image).column(1).unwrap().to_value())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn rows_come_back_and_equal_rows_are_equal_bytes((definition, rows) in table_with_rows(3)) {
        let layout = TableLayout::new(&definition).unwrap();
        let encoded: Vec<_> = rows.iter().map(|row| encode(&layout, row)).collect();
        for (row, (key, value)) in rows.iter().zip(&encoded) {
            layout.validate_key(key).unwrap();
            layout.validate_value(value).unwrap();
            let view = RowView::new(&layout, key, value);
            let read: Vec<Value> = view.to_values().unwrap();
            prop_assert_eq!(&read, row);
            prop_assert_eq!(&encode(&layout, &read).1, value);
            let borrowed: Vec<ValueRef<'_>> = (0..row.len()).map(|index| view.column(index).unwrap()).collect();
            let (mut key_again, mut value_again) = (Vec::new(), Vec::new());
            layout.encode_row(&borrowed, &mut key_again, &mut value_again).unwrap();
            prop_assert_eq!((&key_again, &value_again), (key, value));
        }
    }

    #[test]
    fn only_what_encoding_makes_is_valid((definition, rows) in table_with_rows(1), damage in damage()) {
        let layout = TableLayout::new(&definition).unwrap();
        let (key, value) = encode(&layout, &rows[0]);
        let damaged = damaged(&value, &damage);
        let view = RowView::new(&layout, &key, &damaged);
        match layout.validate_value(&damaged) {
            Ok(()) => prop_assert_eq!(&encode(&layout, &view.to_values().unwrap()).1, &damaged),
            // Reading must do no harm even so.
            Err(_) => drop(view.to_values()),
        }
    }

    #[test]
    fn random_bytes_do_no_harm((definition, _) in table_with_rows(0), key in any::<Vec<u8>>(), value in any::<Vec<u8>>()) {
        let layout = TableLayout::new(&definition).unwrap();
        let _ = layout.validate_value(&value);
        let _ = RowView::new(&layout, &key, &value).to_values();
    }
}

#[test]
fn golden_rows() {
    // Cited by docs/protocol-rows.md.
    let row =
        [Value::from("N14228"), Value::from(1999), Value::from("737-824"), Value::from(149), Value::Null];
    let (key, value) =
        encode(&planes(), &[row[0].clone(), row[1].clone(), row[2].clone(), row[3].clone(), row[4].clone()]);
    assert_eq!(key, b"N14228\0\0");
    #[rustfmt::skip]
    assert_eq!(value, [
        0b0000_1000,               // null bits: year, model, seats, engine
        0xcf, 0x07,                // year 1999
        0x95, 0, 0, 0,             // seats 149
        7, 0, 7, 0,                // ends of model and engine
        b'7', b'3', b'7', b'-', b'8', b'2', b'4',
    ]);
    let layout = readings();
    let (key, value) = encode(
        &layout,
        &[
            Value::from("dry"),
            Value::Timestamp(1),
            Value::from(-1),
            Value::Decimal { unscaled: -150, scale: 2 },
            Value::Bool(true),
            Value::from([0xab, 0xcd]),
            Value::from(vec![1.0, -2.0]),
            Value::from(-2),
        ],
    );
    assert_eq!(key, [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(layout.partition_hash(&key), crate::hash::key_hash(&key[..8]));
    #[rustfmt::skip]
    assert_eq!(value, [
        0,                                                 // null bits: note, price, ok, tag, embedding, level
        0x6a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,    // price -150 hundredths
        1,                                                 // ok
        0xab, 0xcd,                                        // tag
        0xfe, 0xff, 0xff,                                  // level -2
        3, 0, 0, 0, 11, 0, 0, 0,                           // ends of note and embedding
        b'd', b'r', b'y',
        0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0,                   // 1.0, -2.0
    ]);
}

#[test]
fn numbers_convert_where_nothing_is_lost() {
    use ColumnType::*;
    let decimal = |unscaled, scale| Value::Decimal { unscaled, scale };
    let money = Decimal { precision: 5, scale: 2 };
    let stored = [
        (TinyInt, Value::UInt(127), Ok(Value::Int(127))),
        (TinyInt, Value::Int(300), Err(153)),
        (TinyIntUnsigned, Value::Int(-1), Err(153)),
        (MediumInt, Value::Int(1 << 23), Err(153)),
        (MediumIntUnsigned, Value::Int((1 << 24) - 1), Ok(Value::UInt((1 << 24) - 1))),
        (BigInt, Value::UInt(u64::MAX), Err(153)),
        (Int, Value::Double(1.0), Err(152)),
        (Int, Value::from("1"), Err(152)),
        (Int, Value::Bool(true), Err(152)),
        (Double, Value::Int(1 << 53), Ok(Value::Double(9_007_199_254_740_992.0))),
        (Double, Value::Int((1 << 53) + 1), Err(153)),
        (Double, Value::Int(i64::MAX), Err(153)),
        (Double, Value::UInt(u64::MAX), Err(153)),
        (Double, Value::Float(0.5), Ok(Value::Double(0.5))),
        (Float, Value::Double(0.5), Ok(Value::Float(0.5))),
        (Float, Value::Double(0.1), Err(153)),
        (Float, Value::Int(16_777_217), Err(153)),
        (Float, Value::Double(f64::INFINITY), Ok(Value::Float(f32::INFINITY))),
        (money, Value::Int(-7), Ok(decimal(-700, 2))),
        (money, decimal(1500, 3), Ok(decimal(150, 2))),
        (money, decimal(1505, 3), Err(153)),
        (money, decimal(99_999, 2), Ok(decimal(99_999, 2))),
        (money, decimal(100_000, 2), Err(153)),
        (money, decimal(1, 200), Err(153)),
        (money, decimal(i128::MIN, 0), Err(153)),
        (money, Value::Double(1.5), Err(152)),
        (Boolean, Value::Int(1), Err(152)),
        (Date, Value::Date(2_932_897), Err(153)),
        (Time, Value::Time(3_020_399_000_001), Err(153)),
        (DateTime, Value::Timestamp(0), Err(152)),
        (Timestamp, Value::Timestamp(i64::MAX), Err(153)),
        (Char { characters: 2 }, Value::from("ßß"), Ok(Value::from("ßß"))),
        (Char { characters: 2 }, Value::from("abc"), Err(154)),
        (Binary { bytes: 2 }, Value::from([1]), Err(154)),
        (Varbinary { bytes: 2 }, Value::from([1, 2, 3]), Err(154)),
        (Varbinary { bytes: 2 }, Value::from("a"), Err(152)),
        (Vector { dimensions: 2 }, Value::from(vec![1.0]), Err(154)),
        (Json, Value::from("{}"), Err(152)),
        (Text, Value::Null, Err(155)),
        (Blob, Value::from(vec![0; MAX_VALUE_BYTES]), Err(158)),
        (Int, Value::Null, Err(155)),
    ];
    for (column_type, value, expected) in stored {
        assert_eq!(store(column_type, value.clone()), expected, "{value:?} in {column_type}");
    }
}

#[test]
fn a_row_may_hold_64_kib_of_data() {
    let data = Value::from(vec![7_u8; 65_536]);
    assert_eq!(store(ColumnType::Blob, data.clone()), Ok(data));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let row = [Value::from("N1"), Value::from(40_000), Value::from(""), Value::from(2), Value::Null];
    let (mut key, mut value) = (vec![1], vec![2]);
    let error = planes().encode_row(&row, &mut key, &mut value).unwrap_err();
    assert_eq!(error.to_string(), "column 'year' is SMALLINT, which cannot hold 40000");
    assert_eq!((&key, &value), (&vec![1], &vec![2]), "the buffers are as before");
    let error = planes().encode_row(&row[..4], &mut key, &mut value).unwrap_err();
    assert_eq!(error, RowError::WrongValueCount { expected: 5, found: 4 });
    let view = planes();
    let error = RowView::new(&view, b"", b"").column(9).unwrap_err();
    assert_eq!(error, RowError::UnknownColumn { index: 9, columns: 5 });
}

#[test]
fn every_breach_of_the_canonical_form_is_refused() {
    let layout = planes();
    let row = [Value::from("N1"), Value::Null, Value::from("ab"), Value::from(2), Value::Null];
    let (_, good) = encode(&layout, &row);
    assert_eq!(good, [0b1001, 0, 0, 2, 0, 0, 0, 2, 0, 2, 0, b'a', b'b']);
    let changed = |at: usize, byte: u8| {
        let mut image = good.clone();
        image[at] = byte;
        layout.validate_value(&image).unwrap_err()
    };
    let malformed = |error: RowError| matches!(error, RowError::MalformedRow { .. });
    assert!(malformed(changed(0, 0b1_1001)), "a bit beyond the columns");
    assert_eq!(changed(0, 0b1101), RowError::NullNotAllowed { column: "seats".into() });
    assert!(malformed(changed(1, 1)), "NULL with bytes in the fixed part");
    assert!(malformed(changed(7, 1)), "NULL with bytes in the variable part");
    assert!(malformed(changed(7, 3)), "ends that descend");
    assert!(malformed(changed(9, 3)), "an end out of bounds");
    assert_eq!(changed(11, 0xff).code(), 156);
    assert!(malformed(layout.validate_value(&good[..10]).unwrap_err()));
    assert!(malformed(layout.validate_value(&[&good[..], &[0]].concat()).unwrap_err()));
    assert!(malformed(layout.validate_value(&[]).unwrap_err()));
    assert_eq!(layout.validate_value(&vec![0; MAX_VALUE_BYTES + 1]).unwrap_err().code(), 158);
}

#[test]
fn offsets_are_narrow_exactly_when_that_is_always_enough() {
    let narrow = one_column(ColumnType::Varbinary { bytes: 65_535 });
    assert_eq!((narrow.end_bytes, narrow.smallest_value_bytes()), (2, 3));
    let wide = one_column(ColumnType::Varchar { characters: 16_384 });
    assert_eq!((wide.end_bytes, wide.smallest_value_bytes()), (4, 5));
    let full = Value::from(vec![9_u8; 65_535]);
    assert_eq!(store(ColumnType::Varbinary { bytes: 65_535 }, full.clone()), Ok(full));
}

#[test]
fn a_table_may_have_nothing_but_a_key() {
    let table = TableDefinition::builder("test", "set").required("id", ColumnType::Int).primary_key(["id"]);
    let layout = TableLayout::new(&table.build().unwrap()).unwrap();
    let (key, value) = encode(&layout, &[Value::from(5)]);
    assert_eq!((key.len(), value.len()), (4, 0));
    layout.validate_value(&value).unwrap();
    assert!(layout.validate_value(&[0]).is_err());
}

#[test]
fn error_codes_are_in_their_range_and_messages_are_sentences() {
    let error = RowError::RowTooLarge { bytes: 70_000 };
    assert_eq!(error.code(), 158);
    assert_eq!(error.to_string(), "the row takes 70000 bytes; at most 69632 are allowed");
}
