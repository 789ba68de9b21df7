//! Table definitions that the targets and seeds share.

use duet_protocol::layout::TableLayout;
use duet_protocol::schema::{Column, ColumnType, TableDefinition};
use duet_protocol::value::Value;
use std::sync::LazyLock;

/// Every type of column, with small limits.
pub const TYPES: &[ColumnType] = &[
    ColumnType::TinyInt,
    ColumnType::TinyIntUnsigned,
    ColumnType::SmallInt,
    ColumnType::SmallIntUnsigned,
    ColumnType::MediumInt,
    ColumnType::MediumIntUnsigned,
    ColumnType::Int,
    ColumnType::IntUnsigned,
    ColumnType::BigInt,
    ColumnType::BigIntUnsigned,
    ColumnType::Float,
    ColumnType::Double,
    ColumnType::Decimal { precision: 20, scale: 4 },
    ColumnType::Char { characters: 5 },
    ColumnType::Varchar { characters: 9 },
    ColumnType::Binary { bytes: 3 },
    ColumnType::Varbinary { bytes: 9 },
    ColumnType::Text,
    ColumnType::Blob,
    ColumnType::Date,
    ColumnType::Time,
    ColumnType::DateTime,
    ColumnType::Timestamp,
    ColumnType::Boolean,
    ColumnType::Json,
    ColumnType::Vector { dimensions: 3 },
];

/// A value of `column_type`.
pub fn sample(column_type: ColumnType) -> Value {
    match column_type {
        ColumnType::TinyInt
        | ColumnType::SmallInt
        | ColumnType::MediumInt
        | ColumnType::Int
        | ColumnType::BigInt => Value::Int(-7),
        ColumnType::TinyIntUnsigned
        | ColumnType::SmallIntUnsigned
        | ColumnType::MediumIntUnsigned
        | ColumnType::IntUnsigned
        | ColumnType::BigIntUnsigned => Value::UInt(200),
        ColumnType::Float => Value::Float(1.5),
        ColumnType::Double => Value::Double(-2.5),
        ColumnType::Decimal { scale, .. } => Value::Decimal { unscaled: -12_345, scale },
        ColumnType::Char { .. } | ColumnType::Varchar { .. } | ColumnType::Text => Value::Text("a\0ü".into()),
        ColumnType::Binary { bytes } => Value::Bytes(vec![0xAB; bytes as usize]),
        ColumnType::Varbinary { .. } | ColumnType::Blob => Value::Bytes(vec![0, 255, 0, 1]),
        ColumnType::Date => Value::Date(15_000),
        ColumnType::Time => Value::Time(-5_000_000),
        ColumnType::DateTime => Value::DateTime(1_700_000_000_000_000),
        ColumnType::Timestamp => Value::Timestamp(1_700_000_000_000_000),
        ColumnType::Boolean => Value::Bool(true),
        ColumnType::Json => Value::Json("{\"a\":[1,null]}".into()),
        ColumnType::Vector { dimensions } => Value::Vector(vec![0.5; dimensions as usize]),
    }
}

/// Every type as a value column; nullable ones and others alternate.
fn every_value() -> TableDefinition {
    let mut builder = TableDefinition::builder("fuzz", "every_value").required("id", ColumnType::BigInt);
    for (index, column_type) in TYPES.iter().enumerate() {
        let column = Column::new(format!("c{index}"), *column_type);
        builder = builder.column(if index % 3 == 2 { column } else { column.nullable() });
    }
    builder.primary_key(["id"]).build().expect("valid")
}

/// Every type that can be in a key, in a key, placed by components here and there.
fn every_key() -> TableDefinition {
    let mut builder = TableDefinition::builder("fuzz", "every_key");
    let mut names = Vec::new();
    for (index, column_type) in TYPES.iter().enumerate().filter(|(_, column_type)| column_type.is_orderable())
    {
        names.push(format!("k{index}"));
        builder = builder.required(format!("k{index}"), *column_type);
    }
    builder = builder.nullable("value", ColumnType::Int);
    let placing: Vec<&str> = names.iter().map(String::as_str).skip(1).step_by(5).collect();
    builder.primary_key(names.iter().map(String::as_str)).partition_key(placing).build().expect("valid")
}

/// Fixed columns only, placed by a prefix of the key.
fn fixed() -> TableDefinition {
    TableDefinition::builder("fuzz", "fixed")
        .required("a", ColumnType::IntUnsigned)
        .required("b", ColumnType::BigInt)
        .required("balance", ColumnType::BigInt)
        .required("rate", ColumnType::Double)
        .primary_key(["a", "b"])
        .partition_key(["a"])
        .ordered_index("by_rate", &["rate", "a"])
        .build()
        .expect("valid")
}

/// A key and nothing else.
fn only_key() -> TableDefinition {
    TableDefinition::builder("fuzz", "only_key")
        .required("name", ColumnType::Varchar { characters: 20 })
        .primary_key(["name"])
        .build()
        .expect("valid")
}

/// A definition and its compiled form.
#[derive(Debug)]
pub struct FuzzTable {
    /// Definition.
    pub definition: TableDefinition,
    /// Compiled form.
    pub layout: TableLayout,
}

impl FuzzTable {
    /// One value for each column.
    pub fn sample_row(&self) -> Vec<Value> {
        self.definition.columns.iter().map(|column| sample(column.column_type)).collect()
    }
}

/// The tables.
pub static TABLES: LazyLock<Vec<FuzzTable>> = LazyLock::new(|| {
    [every_value(), every_key(), fixed(), only_key()]
        .into_iter()
        .map(|definition| FuzzTable { layout: TableLayout::new(&definition).expect("valid"), definition })
        .collect()
});
