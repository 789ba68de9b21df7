//! Random tables and rows for tests.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::schema::{Column, ColumnType, PrimaryKeyOrder, TableDefinition};
use crate::value::Value;

/// Any column type, with small parameters so that limits are met often.
pub(crate) fn column_type() -> impl Strategy<Value = ColumnType> {
    use ColumnType::*;
    let simple = proptest::sample::select(vec![
        TinyInt,
        TinyIntUnsigned,
        SmallInt,
        SmallIntUnsigned,
        MediumInt,
        MediumIntUnsigned,
        Int,
        IntUnsigned,
        BigInt,
        BigIntUnsigned,
        Float,
        Double,
        Text,
        Blob,
        Date,
        Time,
        DateTime,
        Timestamp,
        Boolean,
        Json,
    ]);
    prop_oneof![
        8 => simple,
        2 => (1_u8..=38).prop_flat_map(|precision| (Just(precision), 0..=precision))
            .prop_map(|(precision, scale)| Decimal { precision, scale }),
        1 => (1_u32..6).prop_map(|characters| Char { characters }),
        2 => (1_u32..9).prop_map(|characters| Varchar { characters }),
        1 => Just(Varchar { characters: 20_000 }),
        1 => (1_u32..9).prop_map(|bytes| Binary { bytes }),
        2 => (1_u32..9).prop_map(|bytes| Varbinary { bytes }),
        1 => (1_u32..5).prop_map(|dimensions| Vector { dimensions }),
    ]
}

/// Signed integers with many near the ends and near zero.
fn signed(low: i64, high: i64) -> BoxedStrategy<i64> {
    prop_oneof![Just(low), Just(high), (-2_i64..=2), low..=high].boxed()
}

fn unsigned(high: u64) -> BoxedStrategy<u64> {
    prop_oneof![Just(0), Just(high), 0..=high].boxed()
}

/// Text with zero characters and characters of one to four bytes, at most `characters` long.
fn text(characters: usize) -> BoxedStrategy<String> {
    let character =
        prop_oneof![Just('\0'), Just('\u{1}'), Just('a'), Just('ß'), Just('…'), Just('🦆'), any::<char>()];
    vec(character, 0..=characters.min(12)).prop_map(String::from_iter).boxed()
}

/// Bytes in which the ones that keys escape are frequent.
fn bytes(lengths: std::ops::RangeInclusive<usize>) -> BoxedStrategy<Vec<u8>> {
    vec(prop_oneof![Just(0_u8), Just(1), Just(0xfe), Just(0xff), any::<u8>()], lengths).boxed()
}

/// Values that a column of this type returns unchanged; never NULL, never NaN.
pub(crate) fn value(column_type: ColumnType) -> BoxedStrategy<Value> {
    use proptest::num::{f32, f64};
    let any_float = f32::NORMAL | f32::SUBNORMAL | f32::ZERO | f32::INFINITE | f32::POSITIVE | f32::NEGATIVE;
    match column_type {
        ColumnType::TinyInt => signed(-128, 127).prop_map(Value::Int).boxed(),
        ColumnType::SmallInt => signed(-32_768, 32_767).prop_map(Value::Int).boxed(),
        ColumnType::MediumInt => signed(-(1 << 23), (1 << 23) - 1).prop_map(Value::Int).boxed(),
        ColumnType::Int => signed(i64::from(i32::MIN), i64::from(i32::MAX)).prop_map(Value::Int).boxed(),
        ColumnType::BigInt => signed(i64::MIN, i64::MAX).prop_map(Value::Int).boxed(),
        ColumnType::TinyIntUnsigned => unsigned(255).prop_map(Value::UInt).boxed(),
        ColumnType::SmallIntUnsigned => unsigned(65_535).prop_map(Value::UInt).boxed(),
        ColumnType::MediumIntUnsigned => unsigned((1 << 24) - 1).prop_map(Value::UInt).boxed(),
        ColumnType::IntUnsigned => unsigned(u64::from(u32::MAX)).prop_map(Value::UInt).boxed(),
        ColumnType::BigIntUnsigned => unsigned(u64::MAX).prop_map(Value::UInt).boxed(),
        ColumnType::Float => any_float.prop_map(Value::Float).boxed(),
        ColumnType::Double => {
            (f64::NORMAL | f64::SUBNORMAL | f64::ZERO | f64::INFINITE | f64::POSITIVE | f64::NEGATIVE)
                .prop_map(Value::Double)
                .boxed()
        }
        ColumnType::Decimal { precision, scale } => {
            let limit = 10_i128.pow(u32::from(precision)) - 1;
            prop_oneof![Just(limit), Just(-limit), -2_i128..=2, -limit..=limit]
                .prop_map(move |unscaled| Value::Decimal { unscaled, scale })
                .prop_filter(
                    "fits",
                    move |value| !matches!(value, Value::Decimal { unscaled, .. } if unscaled.abs() > limit),
                )
                .boxed()
        }
        ColumnType::Char { characters } | ColumnType::Varchar { characters } => {
            text(characters as usize).prop_map(Value::Text).boxed()
        }
        ColumnType::Text => text(12).prop_map(Value::Text).boxed(),
        ColumnType::Json => text(12).prop_map(Value::Json).boxed(),
        ColumnType::Binary { bytes: length } => {
            bytes(length as usize..=length as usize).prop_map(Value::Bytes).boxed()
        }
        ColumnType::Varbinary { bytes: limit } => bytes(0..=limit as usize).prop_map(Value::Bytes).boxed(),
        ColumnType::Blob => bytes(0..=12).prop_map(Value::Bytes).boxed(),
        ColumnType::Date => signed(-719_162, 2_932_896).prop_map(|days| Value::Date(days as i32)).boxed(),
        ColumnType::Time => signed(-3_020_399_000_000, 3_020_399_000_000).prop_map(Value::Time).boxed(),
        ColumnType::DateTime => {
            signed(-62_135_596_800_000_000, 253_402_300_799_999_999).prop_map(Value::DateTime).boxed()
        }
        ColumnType::Timestamp => {
            signed(-62_135_596_800_000_000, 253_402_300_799_999_999).prop_map(Value::Timestamp).boxed()
        }
        ColumnType::Boolean => any::<bool>().prop_map(Value::Bool).boxed(),
        ColumnType::Vector { dimensions } => {
            vec(any_float, dimensions as usize).prop_map(Value::Vector).boxed()
        }
    }
}

/// A valid definition of up to twelve columns with a primary key of one to three.
pub(crate) fn definition() -> impl Strategy<Value = TableDefinition> {
    let columns = vec((column_type(), any::<bool>()), 0..12);
    let key_types = vec(
        column_type().prop_filter("orderable and short", |column_type| {
            column_type.is_orderable() && *column_type != ColumnType::Varchar { characters: 20_000 }
        }),
        1..4,
    );
    (columns, key_types, vec(any::<Index>(), 3), vec(any::<bool>(), 3)).prop_map(
        |(columns, key_types, places, in_partition_key)| {
            let mut columns: Vec<(ColumnType, bool, bool)> =
                columns.into_iter().map(|(column_type, nullable)| (column_type, nullable, false)).collect();
            for (key_type, place) in key_types.iter().zip(&places) {
                columns.insert(place.index(columns.len() + 1), (*key_type, false, true));
            }
            let mut definition = TableDefinition {
                database: "test".into(),
                name: "random".into(),
                columns: Vec::new(),
                primary_key: Vec::new(),
                partition_key: Vec::new(),
                primary_key_order: PrimaryKeyOrder::default(),
                indexes: Vec::new(),
                time_to_live: None,
                comment: String::new(),
            };
            for (index, (column_type, nullable, in_key)) in columns.into_iter().enumerate() {
                let column = Column::new(format!("c{index}"), column_type);
                definition.columns.push(if nullable { column.nullable() } else { column });
                if in_key {
                    definition.primary_key.push(index as u16);
                }
            }
            // Keys need not follow the order of the columns.
            let first = places[0].index(definition.primary_key.len());
            definition.primary_key.rotate_left(first);
            let chosen = definition.primary_key.iter().zip(&in_partition_key).filter(|(_, chosen)| **chosen);
            definition.partition_key = chosen.map(|(column, _)| *column).collect();
            definition
        },
    )
}

/// A row of a table: a value for each column, NULL now and then where that is allowed.
pub(crate) fn row(definition: &TableDefinition) -> BoxedStrategy<Vec<Value>> {
    let columns = definition.columns.iter();
    columns.map(nullable_value).collect::<Vec<_>>().boxed()
}

/// A value of a column, NULL now and then where that is allowed.
pub(crate) fn nullable_value(column: &Column) -> BoxedStrategy<Value> {
    let value = value(column.column_type);
    if column.nullable { prop_oneof![1 => Just(Value::Null), 3 => value].boxed() } else { value }
}

/// A table and some rows of it.
pub(crate) fn table_with_rows(rows: usize) -> impl Strategy<Value = (TableDefinition, Vec<Vec<Value>>)> {
    definition().prop_flat_map(move |definition| {
        let rows = vec(row(&definition), rows);
        (Just(definition), rows)
    })
}

/// A way to damage bytes.
#[derive(Clone, Debug)]
pub(crate) enum Damage {
    Replace(Index, u8),
    Flip(Index, u8),
    Remove(Index),
    Insert(Index, u8),
    Truncate(Index),
    Append(u8),
}

pub(crate) fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let byte = || prop_oneof![Just(0_u8), Just(1), Just(0xff), any::<u8>()];
    let one = prop_oneof![
        (any::<Index>(), byte()).prop_map(|(index, byte)| Damage::Replace(index, byte)),
        (any::<Index>(), 0_u8..8).prop_map(|(index, bit)| Damage::Flip(index, bit)),
        any::<Index>().prop_map(Damage::Remove),
        (any::<Index>(), byte()).prop_map(|(index, byte)| Damage::Insert(index, byte)),
        any::<Index>().prop_map(Damage::Truncate),
        byte().prop_map(Damage::Append),
    ];
    vec(one, 1..4)
}

/// Bytes after some damage.
pub(crate) fn damaged(bytes: &[u8], damage: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for one in damage {
        let length = bytes.len();
        match one {
            Damage::Append(byte) => bytes.push(*byte),
            Damage::Insert(index, byte) => bytes.insert(index.index(length + 1), *byte),
            _ if length == 0 => {}
            Damage::Replace(index, byte) => bytes[index.index(length)] = *byte,
            Damage::Flip(index, bit) => bytes[index.index(length)] ^= 1 << bit,
            Damage::Remove(index) => drop(bytes.remove(index.index(length))),
            Damage::Truncate(index) => bytes.truncate(index.index(length)),
        }
    }
    bytes
}
