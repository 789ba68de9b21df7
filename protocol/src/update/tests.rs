use proptest::prelude::*;

use super::{
    Assignment, apply_update, encode_update, update_result_differs, update_result_value, validate_update,
};
use crate::layout::TableLayout;
use crate::row::RowView;
use crate::row::strategies::{damage, damaged, nullable_value, table_with_rows, value};
use crate::schema::{ColumnType, TableDefinition};
use crate::value::{AsValue, Value, ValueRef};

/// An assignment of the model, with owned values.
#[derive(Clone, Debug)]
enum Change {
    Set(Value),
    SetNull,
    Add(Value),
}

impl Change {
    fn assignment(&self) -> Assignment<'_> {
        match self {
            Self::Set(value) => Assignment::Set(value.as_value()),
            Self::SetNull => Assignment::SetNull,
            Self::Add(value) => Assignment::Add(value.as_value()),
        }
    }
}

/// A change of a column that encodes: sets, NULL where allowed, additions to numbers.
fn change(definition: &TableDefinition, index: usize) -> BoxedStrategy<Option<(u16, Change)>> {
    let column = &definition.columns[index];
    if definition.is_key_column(index as u16) {
        return Just(None).boxed();
    }
    let set = nullable_value(column).prop_map(Change::Set).boxed();
    let mut kinds = vec![set];
    if column.nullable {
        kinds.push(Just(Change::SetNull).boxed());
    }
    if column.column_type.is_numeric() {
        let small = (-2_i64..=2).prop_map(Value::Int);
        let addend = match column.column_type {
            ColumnType::Float | ColumnType::Double => prop_oneof![small, value(column.column_type)].boxed(),
            ColumnType::Decimal { scale, .. } => {
                let one = (-1_i128..=1).prop_map(move |unscaled| Value::Decimal { unscaled, scale });
                prop_oneof![one, value(column.column_type)].boxed()
            }
            _ => prop_oneof![small, any::<i32>().prop_map(Value::from), any::<i64>().prop_map(Value::from)]
                .boxed(),
        };
        kinds.push(addend.prop_map(Change::Add).boxed());
    }
    let change = proptest::strategy::Union::new(kinds).prop_map(move |change| Some((index as u16, change)));
    prop_oneof![Just(None), change].boxed()
}

type Case = (TableDefinition, Vec<Value>, Vec<(u16, Change)>);

fn table_row_and_changes() -> impl Strategy<Value = Case> {
    table_with_rows(1).prop_flat_map(|(definition, mut rows)| {
        let changes: Vec<_> = (0..definition.columns.len()).map(|index| change(&definition, index)).collect();
        let changes =
            changes.prop_map(|changes| changes.into_iter().flatten().collect::<Vec<_>>()).prop_shuffle();
        (Just(definition), Just(rows.remove(0)), changes)
    })
}

/// The sum, by the rules of the documentation; `None` on overflow.
fn sum(column_type: ColumnType, value: &Value, addend: &Value) -> Option<Value> {
    let double = |value: &Value| match value {
        Value::Int(number) => *number as f64,
        Value::Float(number) => f64::from(*number),
        Value::Double(number) => *number,
        other => panic!("{other:?} is not added to floats"),
    };
    let integer = |value: &Value| match value {
        Value::Int(number) => i128::from(*number),
        Value::UInt(number) => i128::from(*number),
        Value::Decimal { unscaled, .. } => *unscaled,
        other => panic!("{other:?} is not an integer"),
    };
    match column_type {
        ColumnType::Float => {
            let sum = (double(value) + double(addend)) as f32;
            sum.is_finite().then_some(Value::Float(sum))
        }
        ColumnType::Double => {
            let sum = double(value) + double(addend);
            sum.is_finite().then_some(Value::Double(sum))
        }
        ColumnType::Decimal { precision, scale } => {
            let unscaled = integer(value).checked_add(integer(addend))?;
            (unscaled.abs() < 10_i128.pow(u32::from(precision))).then_some(Value::Decimal { unscaled, scale })
        }
        _ => {
            let (bits, unsigned) = match column_type {
                ColumnType::TinyInt => (8, false),
                ColumnType::SmallInt => (16, false),
                ColumnType::MediumInt => (24, false),
                ColumnType::Int => (32, false),
                ColumnType::BigInt => (64, false),
                ColumnType::TinyIntUnsigned => (8, true),
                ColumnType::SmallIntUnsigned => (16, true),
                ColumnType::MediumIntUnsigned => (24, true),
                ColumnType::IntUnsigned => (32, true),
                _ => (64, true),
            };
            let sum = integer(value) + integer(addend);
            if unsigned {
                (0..1_i128 << bits).contains(&sum).then_some(Value::UInt(sum as u64))
            } else {
                (-(1_i128 << (bits - 1))..1_i128 << (bits - 1))
                    .contains(&sum)
                    .then_some(Value::Int(sum as i64))
            }
        }
    }
}

/// A row after changes, and the column and sum of the first addition.
type Outcome = (Vec<Value>, Option<(u16, Value)>);

/// What the changes make of a row, and the sum of the first column that is added to.
fn model(definition: &TableDefinition, row: &[Value], changes: &[(u16, Change)]) -> Option<Outcome> {
    let mut changed = row.to_vec();
    let mut first = None::<(u16, Value)>;
    for (index, change) in changes {
        let slot = &mut changed[usize::from(*index)];
        match change {
            Change::Set(value) => *slot = value.clone(),
            Change::SetNull => *slot = Value::Null,
            Change::Add(addend) => {
                if !slot.is_null() {
                    *slot = sum(definition.columns[usize::from(*index)].column_type, slot, addend)?;
                }
                if first.as_ref().is_none_or(|(column, _)| index < column) {
                    first = Some((*index, slot.clone()));
                }
            }
        }
    }
    Some((changed, first))
}

fn encode_row(layout: &TableLayout, row: &[Value]) -> (Vec<u8>, Vec<u8>) {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    layout.encode_row(row, &mut key, &mut value).unwrap();
    (key, value)
}

fn program(layout: &TableLayout, changes: &[(u16, Change)]) -> Vec<u8> {
    let assignments: Vec<_> = changes.iter().map(|(index, change)| (*index, change.assignment())).collect();
    let mut program = Vec::new();
    encode_update(layout, &assignments, &mut program).unwrap();
    program
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn updates_do_what_the_model_does((definition, row, changes) in table_row_and_changes()) {
        let layout = TableLayout::new(&definition).unwrap();
        let (_, image) = encode_row(&layout, &row);
        let program = program(&layout, &changes);
        validate_update(&layout, &program).unwrap();
        let mut out = vec![0xee];
        let applied = apply_update(&layout, &image, &program, &mut out);
        match model(&definition, &row, &changes) {
            Some((changed, first)) => {
                let result = applied.unwrap();
                prop_assert_eq!(&out[1..], &encode_row(&layout, &changed).1);
                match first {
                    Some((index, sum)) => {
                        prop_assert_eq!(update_result_value(&layout, index, result.as_bytes()).unwrap(), sum);
                    }
                    None => {
                        let differs = out[1..] != image[..];
                        prop_assert_eq!(update_result_differs(result.as_bytes()), Some(differs));
                    }
                }
            }
            None => {
                prop_assert_eq!(applied.unwrap_err().code(), 165);
                prop_assert_eq!(out, [0xee]);
            }
        }
    }

    #[test]
    fn damaged_programs_do_no_harm((definition, row, changes) in table_row_and_changes(), damage in damage()) {
        let layout = TableLayout::new(&definition).unwrap();
        let (_, image) = encode_row(&layout, &row);
        let program = damaged(&program(&layout, &changes), &damage);
        let mut out = Vec::new();
        let applied = apply_update(&layout, &image, &program, &mut out);
        if applied.is_ok() {
            validate_update(&layout, &program).unwrap();
            layout.validate_value(&out).unwrap();
        }
        if validate_update(&layout, &program).is_err() {
            prop_assert!(applied.is_err());
        }
    }

    #[test]
    fn damaged_rows_do_no_harm((definition, row, changes) in table_row_and_changes(), damage in damage()) {
        let layout = TableLayout::new(&definition).unwrap();
        let image = damaged(&encode_row(&layout, &row).1, &damage);
        let _ = apply_update(&layout, &image, &program(&layout, &changes), &mut Vec::new());
    }
}

fn counters() -> TableLayout {
    let table = TableDefinition::builder("test", "counters")
        .required("id", ColumnType::Int)
        .required("hits", ColumnType::IntUnsigned)
        .nullable("name", ColumnType::Varchar { characters: 5 })
        .nullable("money", ColumnType::Decimal { precision: 20, scale: 2 })
        .primary_key(["id"]);
    TableLayout::new(&table.build().unwrap()).unwrap()
}

#[test]
fn golden_update() {
    // Cited by docs/protocol-rows.md.
    let layout = counters();
    let mut program = Vec::new();
    let assignments = [
        (3, Assignment::SetNull),
        (2, Assignment::Set("ab".into())),
        (1, Assignment::Add(ValueRef::Int(-1))),
    ];
    encode_update(&layout, &assignments, &mut program).unwrap();
    #[rustfmt::skip]
    assert_eq!(program, [
        1, 0, 2, 0, 8, 0, 0, 0,   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,   // hits: add -1
        2, 0, 0, 0, 2, 0, 0, 0,   b'a', b'b',                                       // name: set 'ab'
        3, 0, 1, 0, 0, 0, 0, 0,                                                     // money: set NULL
    ]);
    let row = [Value::from(1), Value::from(7), Value::Null, Value::from(5)];
    let (key, image) = encode_row(&layout, &row);
    let mut out = Vec::new();
    let result = apply_update(&layout, &image, &program, &mut out).unwrap();
    assert_eq!(result.as_bytes(), 6_u64.to_le_bytes());
    let expected = [Value::Int(1), Value::UInt(6), Value::from("ab"), Value::Null];
    assert_eq!(RowView::new(&layout, &key, &out).to_values().unwrap(), expected);
}

#[test]
fn a_sum_that_does_not_fit_is_out_of_range() {
    let layout = counters();
    let mut program = Vec::new();
    encode_update(&layout, &[(1, Assignment::Add(ValueRef::Int(-8)))], &mut program).unwrap();
    let row = [Value::from(1), Value::from(7), Value::Null, Value::from(5)];
    let (_, image) = encode_row(&layout, &row);
    let error = apply_update(&layout, &image, &program, &mut Vec::new()).unwrap_err();
    assert_eq!((error.code(), error.refusal()), (165, crate::error::ErrorCode::OutOfRange));
}

#[test]
fn what_cannot_be_updated_is_refused() {
    let layout = counters();
    let refused = |assignments: &[(u16, Assignment<'_>)]| {
        let mut program = vec![1];
        let code = encode_update(&layout, assignments, &mut program).unwrap_err().code();
        assert_eq!(program, [1]);
        code
    };
    assert_eq!(refused(&[(9, Assignment::SetNull)]), 151);
    assert_eq!(refused(&[(0, Assignment::Add(1.into()))]), 163);
    assert_eq!(refused(&[(1, Assignment::SetNull)]), 155);
    assert_eq!(refused(&[(1, Assignment::Set(ValueRef::Null))]), 155);
    assert_eq!(refused(&[(2, Assignment::Add(1.into()))]), 164);
    assert_eq!(refused(&[(1, Assignment::Add("1".into()))]), 152);
    assert_eq!(refused(&[(1, Assignment::Add(ValueRef::Null))]), 152);
    assert_eq!(refused(&[(1, Assignment::Add(u64::MAX.into()))]), 153);
    assert_eq!(refused(&[(3, Assignment::Add(ValueRef::Null))]), 152);
    assert_eq!(refused(&[(2, Assignment::Set("abcdef".into()))]), 154);
    assert_eq!(
        refused(&[(2, Assignment::SetNull), (1, Assignment::Add(1.into())), (2, Assignment::SetNull)]),
        166
    );
}

#[test]
fn malformed_programs_are_refused() {
    let layout = counters();
    let code = |program: &[u8]| validate_update(&layout, program).unwrap_err().code();
    let set_name = [2, 0, 0, 0, 1, 0, 0, 0, b'a'];
    let add = [1, 0, 2, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    validate_update(&layout, &[]).unwrap();
    validate_update(&layout, &[&add[..], &set_name].concat()).unwrap();
    assert_eq!(code(&[&set_name[..], &add].concat()), 162, "descending");
    assert_eq!(code(&[add, add].concat()), 162, "twice");
    assert_eq!(code(&set_name[..8]), 162, "truncated payload");
    assert_eq!(code(&set_name[..5]), 162, "truncated header");
    assert_eq!(code(&[2, 0, 4, 0, 0, 0, 0, 0]), 162, "unknown action");
    assert_eq!(code(&[2, 0, 0, 1, 1, 0, 0, 0, b'a']), 162, "reserved byte");
    assert_eq!(code(&[2, 0, 1, 0, 1, 0, 0, 0, b'a']), 162, "NULL with payload");
    assert_eq!(code(&[2, 0, 0, 0, 1, 0, 0, 0, 0xff]), 156, "not UTF-8");
    assert_eq!(code(&[1, 0, 0, 0, 1, 0, 0, 0, 1]), 162, "wrong width");
    assert_eq!(code(&[0, 0, 1, 0, 0, 0, 0, 0]), 163, "key column");
    assert_eq!(code(&[1, 0, 1, 0, 0, 0, 0, 0]), 155, "NOT NULL");
    assert_eq!(code(&[2, 0, 2, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]), 164, "not a number");
    assert_eq!(code(&[7, 0, 1, 0, 0, 0, 0, 0]), 151, "no such column");
}

#[test]
fn a_row_cannot_grow_beyond_the_limit() {
    let table = TableDefinition::builder("test", "blobs")
        .required("id", ColumnType::Int)
        .required("a", ColumnType::Blob)
        .required("b", ColumnType::Blob)
        .primary_key(["id"]);
    let layout = TableLayout::new(&table.build().unwrap()).unwrap();
    let half = vec![1_u8; 40_000];
    let (_, image) =
        encode_row(&layout, &[Value::from(1), Value::from(half.clone()), Value::Bytes(Vec::new())]);
    let mut program = Vec::new();
    encode_update(&layout, &[(2, Assignment::Set((&half).into()))], &mut program).unwrap();
    let mut out = Vec::new();
    assert_eq!(apply_update(&layout, &image, &program, &mut out).unwrap_err().code(), 158);
    assert!(out.is_empty());
}

#[test]
fn advancing_never_goes_back() {
    let definition = TableDefinition::builder("main", "t")
        .required("id", ColumnType::Int)
        .nullable("at", ColumnType::Timestamp)
        .nullable("name", ColumnType::Varchar { characters: 8 })
        .nullable("share", ColumnType::Double)
        .nullable("number", ColumnType::BigIntUnsigned)
        .primary_key(["id"])
        .build()
        .expect("valid");
    let layout = TableLayout::new(&definition).expect("valid");
    let (mut key, mut image) = (Vec::new(), Vec::new());
    let row = [Value::Int(1), Value::Null, "old".into(), Value::Null, Value::UInt(u64::MAX)];
    layout.encode_row(&row, &mut key, &mut image).expect("fits");
    let apply = |image: &[u8], at: i64, name: &'static str| {
        let mut program = Vec::new();
        let changes = [(1, Assignment::Advance(ValueRef::Timestamp(at))), (2, Assignment::Set(name.into()))];
        encode_update(&layout, &changes, &mut program).expect("fits");
        validate_update(&layout, &program).expect("valid");
        let mut out = vec![7];
        apply_update(&layout, image, &program, &mut out).map(|_| out.split_off(1)).map_err(|error| {
            assert_eq!(out, [7], "a refused update leaves nothing behind");
            (error.code(), error.refusal())
        })
    };
    let name = |image: &[u8]| RowView::new(&layout, &key, image).column(2).expect("there").to_value();
    let first = apply(&image, -5, "first").expect("NULL is least");
    let same = apply(&first, -5, "same").expect("an equal time may write again");
    assert_eq!(name(&same), "same".into());
    let refused = apply(&same, -6, "older").expect_err("older");
    assert_eq!(refused, (167, crate::error::ErrorCode::StoredIsNewer));
    assert_eq!(name(&apply(&same, 3, "newer").expect("newer")), "newer".into());

    let encode = |index, value: ValueRef<'static>| {
        let mut program = Vec::new();
        encode_update(&layout, &[(index, Assignment::Advance(value))], &mut program).map(|()| program)
    };
    let program = encode(4, ValueRef::UInt(7)).expect("fits");
    let error = apply_update(&layout, &image, &program, &mut Vec::new()).expect_err("unsigned are unsigned");
    assert_eq!(error.code(), 167);
    assert_eq!(encode(2, "x".into()).expect_err("text has no such order").code(), 164);
    assert_eq!(encode(3, ValueRef::Double(1.0)).expect_err("nor have floats").code(), 164);
    assert_eq!(encode(1, ValueRef::Null).expect_err("NULL is no time").code(), 152);
}
