//! `information_schema`: tables that are made of the dictionary when they are read. Clauses are those of any SELECT of one table.

use crate::error::{Result, SqlError};
use crate::plan::column_type_name;
use crate::session::Session;
use crate::show::{default_text, extra_text, indexes_of, key_kind};
use duet_client::{Column, ColumnType, Table, TableDefinition, TableInfo, Value};

/// Names of the tables.
pub const NAMES: &[&str] = &["COLUMNS", "SCHEMATA", "STATISTICS", "TABLES"];

const SCHEMATA: &[&str] =
    &["CATALOG_NAME", "SCHEMA_NAME", "DEFAULT_CHARACTER_SET_NAME", "DEFAULT_COLLATION_NAME", "SQL_PATH"];
const TABLES: &[&str] = &[
    "TABLE_CATALOG",
    "TABLE_SCHEMA",
    "TABLE_NAME",
    "TABLE_TYPE",
    "ENGINE",
    "VERSION",
    "ROW_FORMAT",
    "TABLE_ROWS",
    "AVG_ROW_LENGTH",
    "DATA_LENGTH",
    "INDEX_LENGTH",
    "AUTO_INCREMENT",
    "CREATE_TIME",
    "TABLE_COLLATION",
    "CREATE_OPTIONS",
    "TABLE_COMMENT",
];
const COLUMNS: &[&str] = &[
    "TABLE_CATALOG",
    "TABLE_SCHEMA",
    "TABLE_NAME",
    "COLUMN_NAME",
    "ORDINAL_POSITION",
    "COLUMN_DEFAULT",
    "IS_NULLABLE",
    "DATA_TYPE",
    "CHARACTER_MAXIMUM_LENGTH",
    "CHARACTER_OCTET_LENGTH",
    "NUMERIC_PRECISION",
    "NUMERIC_SCALE",
    "DATETIME_PRECISION",
    "CHARACTER_SET_NAME",
    "COLLATION_NAME",
    "COLUMN_TYPE",
    "COLUMN_KEY",
    "EXTRA",
    "PRIVILEGES",
    "COLUMN_COMMENT",
    "GENERATION_EXPRESSION",
];
const STATISTICS: &[&str] = &[
    "TABLE_CATALOG",
    "TABLE_SCHEMA",
    "TABLE_NAME",
    "NON_UNIQUE",
    "INDEX_SCHEMA",
    "INDEX_NAME",
    "SEQ_IN_INDEX",
    "COLUMN_NAME",
    "COLLATION",
    "CARDINALITY",
    "SUB_PART",
    "NULLABLE",
    "INDEX_TYPE",
    "COMMENT",
];

/// Columns whose values are numbers.
const NUMBERS: &[&str] = &[
    "ORDINAL_POSITION",
    "CHARACTER_MAXIMUM_LENGTH",
    "CHARACTER_OCTET_LENGTH",
    "NUMERIC_PRECISION",
    "NUMERIC_SCALE",
    "DATETIME_PRECISION",
    "NON_UNIQUE",
    "SEQ_IN_INDEX",
    "CARDINALITY",
    "SUB_PART",
    "VERSION",
    "TABLE_ROWS",
    "AVG_ROW_LENGTH",
    "DATA_LENGTH",
    "INDEX_LENGTH",
    "AUTO_INCREMENT",
];

/// The key of tables that are never stored; no other column has this name.
const KEY_COLUMN: &str = "\u{2009}";

/// A table that only names columns, for statements about rows that are made here.
///
/// # Errors
/// When the names are no names of columns.
pub fn as_table(names: &[&str]) -> Result<TableInfo> {
    let mut builder = TableDefinition::builder(crate::catalog::INFORMATION_SCHEMA, "result");
    for name in names {
        let column_type = match NUMBERS.contains(name) {
            true => ColumnType::BigIntUnsigned,
            false => ColumnType::Text,
        };
        builder = builder.column(Column::new(*name, column_type).nullable());
    }
    // A definition needs a key; nothing is ever stored by it.
    builder = builder.column(Column::new(KEY_COLUMN, ColumnType::Int)).primary_key([KEY_COLUMN]);
    let definition = builder.build().map_err(crate::plan::definition_error)?;
    let table = duet_protocol::schema::Table::created(0, 0, definition);
    Ok(TableInfo::new(&table, 1)?)
}

fn word(content: impl Into<String>) -> Value {
    Value::Text(content.into())
}

fn number(number: u64) -> Value {
    Value::UInt(number)
}

fn schemata(names: Vec<String>) -> Vec<Vec<Value>> {
    let row = |name| vec![word("def"), word(name), word("utf8mb4"), word("utf8mb4_bin"), Value::Null];
    names.into_iter().map(row).collect()
}

async fn tables(session: &Session) -> Result<Vec<Vec<Value>>> {
    let mut rows = Vec::new();
    for table in session.catalog.tables().await? {
        let has_numbers = session.catalog.sequence(&table).await?.is_some();
        rows.push(vec![
            word("def"),
            word(table.database()),
            word(table.name()),
            word("BASE TABLE"),
            word("ndbcluster"),
            number(10),
            word("Dynamic"),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            if has_numbers { number(1) } else { Value::Null },
            Value::Null,
            word("utf8mb4_bin"),
            word(""),
            word(table.definition().comment.clone()),
        ]);
    }
    Ok(rows)
}

async fn columns(session: &Session) -> Result<Vec<Vec<Value>>> {
    let mut rows = Vec::new();
    for table in session.catalog.tables().await? {
        let sequence = session.catalog.sequence(&table).await?.map(|sequence| sequence.column);
        for (index, column) in table.definition().columns.iter().enumerate() {
            rows.push(column_row(&table, index as u16, column, sequence == Some(index as u16)));
        }
    }
    Ok(rows)
}

fn column_row(table: &Table, index: u16, column: &Column, auto_increment: bool) -> Vec<Value> {
    let full = column_type_name(column);
    let short = full.split(['(', ' ']).next().unwrap_or_default().to_owned();
    let is_text = crate::wire::results::is_text(column.column_type);
    let (characters, bytes) = match column.column_type {
        ColumnType::Char { characters } | ColumnType::Varchar { characters } => {
            (number(characters.into()), number(u64::from(characters) * 4))
        }
        ColumnType::Binary { bytes } | ColumnType::Varbinary { bytes } => {
            (number(bytes.into()), number(bytes.into()))
        }
        ColumnType::Text | ColumnType::Blob => (number(65_535), number(65_535)),
        _ => (Value::Null, Value::Null),
    };
    let (precision, scale) = match column.column_type {
        ColumnType::Decimal { precision, scale } => (number(precision.into()), number(scale.into())),
        ColumnType::Float => (number(12), Value::Null),
        ColumnType::Double => (number(22), Value::Null),
        other => match crate::value::store::integer_range(other) {
            Some((_, greatest)) => (number(greatest.to_string().len() as u64), number(0)),
            None => (Value::Null, Value::Null),
        },
    };
    let has_clock =
        matches!(column.column_type, ColumnType::Time | ColumnType::DateTime | ColumnType::Timestamp);
    vec![
        word("def"),
        word(table.database()),
        word(table.name()),
        word(column.name.clone()),
        number(u64::from(index) + 1),
        default_text(column),
        word(if column.nullable { "YES" } else { "NO" }),
        word(short),
        characters,
        bytes,
        precision,
        scale,
        if has_clock {
            number(column.current_time.map_or(6, |rule| rule.digits.into()))
        } else {
            Value::Null
        },
        if is_text { word("utf8mb4") } else { Value::Null },
        if is_text { word("utf8mb4_bin") } else { Value::Null },
        word(full),
        word(key_kind(table, index)),
        word(extra_text(column, auto_increment)),
        word("select,insert,update"),
        word(""),
        word(""),
    ]
}

async fn statistics(session: &Session) -> Result<Vec<Vec<Value>>> {
    let mut rows = Vec::new();
    for table in session.catalog.tables().await? {
        for (name, unique, columns) in indexes_of(&table) {
            for (place, column) in columns.iter().enumerate() {
                let column = &table.definition().columns[usize::from(*column)];
                rows.push(vec![
                    word("def"),
                    word(table.database()),
                    word(table.name()),
                    number(u64::from(!unique)),
                    word(table.database()),
                    word(name.clone()),
                    number(place as u64 + 1),
                    word(column.name.clone()),
                    word("A"),
                    Value::Null,
                    Value::Null,
                    word(if column.nullable { "YES" } else { "" }),
                    word("BTREE"),
                    word(""),
                ]);
            }
        }
    }
    Ok(rows)
}

/// Columns of a table with their types, and its rows.
pub type Content = (Vec<(String, ColumnType)>, Vec<Vec<Value>>);

/// One of the tables.
///
/// # Errors
/// 1109 when there is no such table; those of the cluster.
pub async fn rows(session: &Session, database: &str, name: &str) -> Result<Content> {
    let (names, rows) = match name.to_ascii_uppercase().as_str() {
        "SCHEMATA" => (SCHEMATA, schemata(session.catalog.databases().await?)),
        "TABLES" => (TABLES, tables(session).await?),
        "COLUMNS" => (COLUMNS, columns(session).await?),
        "STATISTICS" => (STATISTICS, statistics(session).await?),
        other => {
            return Err(SqlError {
                code: 1_109,
                state: "42S02",
                message: format!("Unknown table '{other}' in {database}"),
            });
        }
    };
    let column = |name: &&str| match NUMBERS.contains(name) {
        true => ((*name).to_owned(), ColumnType::BigIntUnsigned),
        false => ((*name).to_owned(), ColumnType::Varchar { characters: 1_024 }),
    };
    Ok((names.iter().map(column).collect(), rows))
}
