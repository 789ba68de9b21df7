//! `information_schema`: tables that are made of the dictionary when they are read. Clauses are those of any SELECT of one table.

use crate::error::{Result, SqlError};
use crate::plan::column_type_name;
use crate::session::Session;
use crate::show::{
    character_set_row, collation_of, collation_row, default_text, engine_row, extra_text, key_kind,
    process_rows,
};
use crate::wire::results::ResultColumn;
use duet_client::{Column, ColumnType, IndexKind, Table, TableDefinition, TableInfo, Value};
use futures::{StreamExt, TryStreamExt};
use std::sync::atomic::{AtomicBool, Ordering};

/// The tables and their columns, those of MySQL 8. Behind a name `%` is for a number of 32 bits, `#` for one of 64, `@` for a date with
/// a time; others are text.
const TABLES: &[(&str, &str)] = &[
    ("CHARACTER_SETS", "CHARACTER_SET_NAME,DEFAULT_COLLATE_NAME,DESCRIPTION,MAXLEN%"),
    ("CHECK_CONSTRAINTS", "CONSTRAINT_CATALOG,CONSTRAINT_SCHEMA,CONSTRAINT_NAME,CHECK_CLAUSE"),
    ("COLLATIONS", "COLLATION_NAME,CHARACTER_SET_NAME,ID#,IS_DEFAULT,IS_COMPILED,SORTLEN%,PAD_ATTRIBUTE"),
    ("COLLATION_CHARACTER_SET_APPLICABILITY", "COLLATION_NAME,CHARACTER_SET_NAME"),
    (
        "COLUMNS",
        "TABLE_CATALOG,TABLE_SCHEMA,TABLE_NAME,COLUMN_NAME,ORDINAL_POSITION#,COLUMN_DEFAULT,IS_NULLABLE, \
         DATA_TYPE,CHARACTER_MAXIMUM_LENGTH#,CHARACTER_OCTET_LENGTH#,NUMERIC_PRECISION#,NUMERIC_SCALE#, \
         DATETIME_PRECISION#,CHARACTER_SET_NAME,COLLATION_NAME,COLUMN_TYPE,COLUMN_KEY,EXTRA,PRIVILEGES, \
         COLUMN_COMMENT,GENERATION_EXPRESSION,SRS_ID#",
    ),
    (
        "COLUMN_PRIVILEGES",
        "GRANTEE,TABLE_CATALOG,TABLE_SCHEMA,TABLE_NAME,COLUMN_NAME,PRIVILEGE_TYPE,IS_GRANTABLE",
    ),
    ("COLUMN_STATISTICS", "SCHEMA_NAME,TABLE_NAME,COLUMN_NAME,HISTOGRAM"),
    ("ENGINES", "ENGINE,SUPPORT,COMMENT,TRANSACTIONS,XA,SAVEPOINTS"),
    (
        "EVENTS",
        "EVENT_CATALOG,EVENT_SCHEMA,EVENT_NAME,DEFINER,TIME_ZONE,EVENT_BODY,EVENT_DEFINITION,EVENT_TYPE, \
         EXECUTE_AT@,INTERVAL_VALUE,INTERVAL_FIELD,SQL_MODE,STARTS@,ENDS@,STATUS,ON_COMPLETION,CREATED@, \
         LAST_ALTERED@,LAST_EXECUTED@,EVENT_COMMENT,ORIGINATOR%,CHARACTER_SET_CLIENT,COLLATION_CONNECTION, \
         DATABASE_COLLATION",
    ),
    (
        "KEY_COLUMN_USAGE",
        "CONSTRAINT_CATALOG,CONSTRAINT_SCHEMA,CONSTRAINT_NAME,TABLE_CATALOG,TABLE_SCHEMA,TABLE_NAME, \
         COLUMN_NAME,ORDINAL_POSITION%,POSITION_IN_UNIQUE_CONSTRAINT%,REFERENCED_TABLE_SCHEMA, \
         REFERENCED_TABLE_NAME,REFERENCED_COLUMN_NAME",
    ),
    (
        "PARAMETERS",
        "SPECIFIC_CATALOG,SPECIFIC_SCHEMA,SPECIFIC_NAME,ORDINAL_POSITION#,PARAMETER_MODE,PARAMETER_NAME, \
         DATA_TYPE,CHARACTER_MAXIMUM_LENGTH#,CHARACTER_OCTET_LENGTH#,NUMERIC_PRECISION%,NUMERIC_SCALE#, \
         DATETIME_PRECISION%,CHARACTER_SET_NAME,COLLATION_NAME,DTD_IDENTIFIER,ROUTINE_TYPE",
    ),
    (
        "PARTITIONS",
        "TABLE_CATALOG,TABLE_SCHEMA,TABLE_NAME,PARTITION_NAME,SUBPARTITION_NAME,PARTITION_ORDINAL_POSITION%, \
         SUBPARTITION_ORDINAL_POSITION%,PARTITION_METHOD,SUBPARTITION_METHOD,PARTITION_EXPRESSION, \
         SUBPARTITION_EXPRESSION,PARTITION_DESCRIPTION,TABLE_ROWS#,AVG_ROW_LENGTH#,DATA_LENGTH#, \
         MAX_DATA_LENGTH#,INDEX_LENGTH#,DATA_FREE#,CREATE_TIME@,UPDATE_TIME@,CHECK_TIME@,CHECKSUM#, \
         PARTITION_COMMENT,NODEGROUP,TABLESPACE_NAME",
    ),
    ("PROCESSLIST", "ID#,USER,HOST,DB,COMMAND,TIME#,STATE,INFO"),
    (
        "REFERENTIAL_CONSTRAINTS",
        "CONSTRAINT_CATALOG,CONSTRAINT_SCHEMA,CONSTRAINT_NAME,UNIQUE_CONSTRAINT_CATALOG, \
         UNIQUE_CONSTRAINT_SCHEMA,UNIQUE_CONSTRAINT_NAME,MATCH_OPTION,UPDATE_RULE,DELETE_RULE,TABLE_NAME, \
         REFERENCED_TABLE_NAME",
    ),
    (
        "ROUTINES",
        "SPECIFIC_NAME,ROUTINE_CATALOG,ROUTINE_SCHEMA,ROUTINE_NAME,ROUTINE_TYPE,DATA_TYPE, \
         CHARACTER_MAXIMUM_LENGTH#,CHARACTER_OCTET_LENGTH#,NUMERIC_PRECISION%,NUMERIC_SCALE%, \
         DATETIME_PRECISION%,CHARACTER_SET_NAME,COLLATION_NAME,DTD_IDENTIFIER,ROUTINE_BODY, \
         ROUTINE_DEFINITION,EXTERNAL_NAME,EXTERNAL_LANGUAGE,PARAMETER_STYLE,IS_DETERMINISTIC,SQL_DATA_ACCESS, \
         SQL_PATH,SECURITY_TYPE,CREATED@,LAST_ALTERED@,SQL_MODE,ROUTINE_COMMENT,DEFINER,CHARACTER_SET_CLIENT, \
         COLLATION_CONNECTION,DATABASE_COLLATION",
    ),
    (
        "SCHEMATA",
        "CATALOG_NAME,SCHEMA_NAME,DEFAULT_CHARACTER_SET_NAME,DEFAULT_COLLATION_NAME,SQL_PATH, \
         DEFAULT_ENCRYPTION",
    ),
    ("SCHEMA_PRIVILEGES", "GRANTEE,TABLE_CATALOG,TABLE_SCHEMA,PRIVILEGE_TYPE,IS_GRANTABLE"),
    (
        "STATISTICS",
        "TABLE_CATALOG,TABLE_SCHEMA,TABLE_NAME,NON_UNIQUE%,INDEX_SCHEMA,INDEX_NAME,SEQ_IN_INDEX%,COLUMN_NAME, \
         COLLATION,CARDINALITY#,SUB_PART#,PACKED,NULLABLE,INDEX_TYPE,COMMENT,INDEX_COMMENT,IS_VISIBLE, \
         EXPRESSION",
    ),
    (
        "TABLES",
        "TABLE_CATALOG,TABLE_SCHEMA,TABLE_NAME,TABLE_TYPE,ENGINE,VERSION%,ROW_FORMAT,TABLE_ROWS#, \
         AVG_ROW_LENGTH#,DATA_LENGTH#,MAX_DATA_LENGTH#,INDEX_LENGTH#,DATA_FREE#,AUTO_INCREMENT#,CREATE_TIME@, \
         UPDATE_TIME@,CHECK_TIME@,TABLE_COLLATION,CHECKSUM#,CREATE_OPTIONS,TABLE_COMMENT",
    ),
    (
        "TABLE_CONSTRAINTS",
        "CONSTRAINT_CATALOG,CONSTRAINT_SCHEMA,CONSTRAINT_NAME,TABLE_SCHEMA,TABLE_NAME,CONSTRAINT_TYPE, \
         ENFORCED",
    ),
    ("TABLE_PRIVILEGES", "GRANTEE,TABLE_CATALOG,TABLE_SCHEMA,TABLE_NAME,PRIVILEGE_TYPE,IS_GRANTABLE"),
    (
        "TRIGGERS",
        "TRIGGER_CATALOG,TRIGGER_SCHEMA,TRIGGER_NAME,EVENT_MANIPULATION,EVENT_OBJECT_CATALOG, \
         EVENT_OBJECT_SCHEMA,EVENT_OBJECT_TABLE,ACTION_ORDER%,ACTION_CONDITION,ACTION_STATEMENT, \
         ACTION_ORIENTATION,ACTION_TIMING,ACTION_REFERENCE_OLD_TABLE,ACTION_REFERENCE_NEW_TABLE, \
         ACTION_REFERENCE_OLD_ROW,ACTION_REFERENCE_NEW_ROW,CREATED@,SQL_MODE,DEFINER,CHARACTER_SET_CLIENT, \
         COLLATION_CONNECTION,DATABASE_COLLATION",
    ),
    ("USER_PRIVILEGES", "GRANTEE,TABLE_CATALOG,PRIVILEGE_TYPE,IS_GRANTABLE"),
    (
        "VIEWS",
        "TABLE_CATALOG,TABLE_SCHEMA,TABLE_NAME,VIEW_DEFINITION,CHECK_OPTION,IS_UPDATABLE,DEFINER, \
         SECURITY_TYPE,CHARACTER_SET_CLIENT,COLLATION_CONNECTION",
    ),
];

/// Tables whose rows are counted at the same time.
const COUNTED_TOGETHER: usize = 16;

/// Names of the tables.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|(name, _)| *name)
}

/// Names and types of columns that are described as those of the tables above.
pub fn described(columns: &str) -> Vec<(String, ColumnType)> {
    let column = |described: &str| {
        let described = described.trim();
        let of = |sign: char, column_type: ColumnType| {
            described.strip_suffix(sign).map(|name| (name.to_owned(), column_type))
        };
        of('%', ColumnType::IntUnsigned)
            .or_else(|| of('#', ColumnType::BigIntUnsigned))
            .or_else(|| of('@', ColumnType::DateTime))
            .unwrap_or_else(|| (described.to_owned(), ColumnType::Varchar { characters: 1_024 }))
    };
    columns.split(',').map(column).collect()
}

/// The key of tables that are never stored; no other column has this name.
const KEY_COLUMN: &str = "\u{2009}";

/// A table that only names columns, for statements about rows that are made here.
///
/// # Errors
/// When the names are no names of columns.
pub fn as_table(columns: &[ResultColumn]) -> Result<TableInfo> {
    /// Most characters of the name of a column; those of SHOW TABLES may have more.
    const MOST: usize = 64;
    let mut builder = TableDefinition::builder(crate::catalog::INFORMATION_SCHEMA, "result");
    for column in columns {
        let name: String = column.name.chars().take(MOST).collect();
        let column_type = match column.column_type {
            Some(ColumnType::Varchar { .. }) | None => ColumnType::Text,
            Some(other) => other,
        };
        builder = builder.column(Column::new(name, column_type).nullable());
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
    let row =
        |name| vec![word("def"), word(name), word("utf8mb4"), word("utf8mb4_bin"), Value::Null, word("NO")];
    names.into_iter().map(row).collect()
}

/// How many rows a table has, as far as that is cheap to know: NULL for large ones, and for all others once a node has not answered.
async fn row_estimate(session: &Session, table: &Table, counted: &AtomicBool) -> Value {
    if !counted.load(Ordering::Relaxed) {
        return Value::Null;
    }
    match session.catalog.small_row_count(table).await {
        Ok(count) => count.map_or(Value::Null, |count| number(count as u64)),
        Err(_) => {
            counted.store(false, Ordering::Relaxed);
            Value::Null
        }
    }
}

async fn table_row(session: &Session, table: Table, counted: &AtomicBool) -> Result<Vec<Value>> {
    let next = session.catalog.next_number(&table).await?;
    Ok(vec![
        word("def"),
        word(table.database()),
        word(table.name()),
        word("BASE TABLE"),
        word("ndbcluster"),
        number(10),
        word("Dynamic"),
        row_estimate(session, &table, counted).await,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        next.map_or(Value::Null, number),
        Value::Null,
        Value::Null,
        Value::Null,
        word("utf8mb4_bin"),
        Value::Null,
        word(""),
        word(table.definition().comment.clone()),
    ])
}

/// Rows of `TABLES`, of one database or of all; TABLE_ROWS is NULL unless it is counted.
///
/// # Errors
/// When no node answers in time.
pub async fn tables(session: &Session, database: Option<&str>, counted: bool) -> Result<Vec<Vec<Value>>> {
    let tables = session.catalog.tables().await?;
    let shown = |table: &Table| database.is_none_or(|database| table.database() == database);
    let counted = &AtomicBool::new(counted);
    let rows = tables.into_iter().filter(shown).map(|table| table_row(session, table, counted));
    futures::stream::iter(rows).buffered(COUNTED_TOGETHER).try_collect().await
}

/// One row for each table: none has partitions that a statement could name.
async fn partitions(session: &Session, counted: bool) -> Result<Vec<Vec<Value>>> {
    let row = |table: Vec<Value>| {
        let mut row: Vec<Value> = table[..3].to_vec();
        row.resize(12, Value::Null);
        // Rows, bytes and times as in TABLES, where the next number is between them.
        row.extend_from_slice(&table[7..13]);
        row.extend_from_slice(&table[14..17]);
        row.extend([Value::Null, word(""), Value::Null, Value::Null]);
        row
    };
    Ok(tables(session, None, counted).await?.into_iter().map(row).collect())
}

/// Primary and unique keys: a row for each.
async fn table_constraints(session: &Session) -> Result<Vec<Vec<Value>>> {
    let row = |part: Vec<Value>| {
        let kind = if part[5] == word("PRIMARY") { "PRIMARY KEY" } else { "UNIQUE" };
        let [catalog, database, table, _, _, name, ..] = part.as_slice() else { return part };
        let known = [catalog, database, name, database, table].map(Value::clone);
        known.into_iter().chain([word(kind), word("YES")]).collect()
    };
    let first = |part: &Vec<Value>| part[3] == number(0) && part[6] == number(1);
    Ok(statistics(session).await?.into_iter().filter(first).map(row).collect())
}

/// Primary and unique keys: a row for each of their columns.
async fn key_column_usage(session: &Session) -> Result<Vec<Vec<Value>>> {
    let row = |part: Vec<Value>| {
        let [catalog, database, table, _, _, name, place, column, ..] = part.as_slice() else { return part };
        let known = [catalog, database, name, catalog, database, table, column, place].map(Value::clone);
        known.into_iter().chain([Value::Null, Value::Null, Value::Null, Value::Null]).collect()
    };
    let unique = |part: &Vec<Value>| part[3] == number(0);
    Ok(statistics(session).await?.into_iter().filter(unique).map(row).collect())
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
    let collation = collation_of(column);
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
        if collation == Value::Null { Value::Null } else { word("utf8mb4") },
        collation,
        word(full),
        word(key_kind(table, index)),
        word(extra_text(column, auto_increment)),
        word("select,insert,update"),
        word(column.comment.clone()),
        word(""),
        Value::Null,
    ]
}

async fn statistics(session: &Session) -> Result<Vec<Vec<Value>>> {
    Ok(session.catalog.tables().await?.iter().flat_map(index_rows).collect())
}

/// Rows of `STATISTICS` of a table: one for each column of each index, the primary key first.
pub fn index_rows(table: &Table) -> Vec<Vec<Value>> {
    let definition = table.definition();
    let primary = ("PRIMARY", true, &definition.primary_key);
    let others = definition
        .indexes
        .iter()
        .map(|index| (index.name.as_str(), index.kind == IndexKind::Unique, &index.columns));
    let mut rows = Vec::new();
    for (name, unique, columns) in std::iter::once(primary).chain(others) {
        for (place, column) in columns.iter().enumerate() {
            let column = &definition.columns[usize::from(*column)];
            rows.push(vec![
                word("def"),
                word(table.database()),
                word(table.name()),
                number(u64::from(!unique)),
                word(table.database()),
                word(name),
                number(place as u64 + 1),
                word(column.name.clone()),
                word("A"),
                Value::Null,
                Value::Null,
                Value::Null,
                word(if column.nullable { "YES" } else { "" }),
                word("BTREE"),
                word(""),
                word(""),
                word("YES"),
                Value::Null,
            ]);
        }
    }
    rows
}

/// Columns of a table with their types, and its rows.
pub type Content = (Vec<(String, ColumnType)>, Vec<Vec<Value>>);

/// One of the tables; rows of tables are counted only for those who want to know.
///
/// # Errors
/// 1109 when there is no such table; those of the cluster.
pub async fn rows(session: &Session, database: &str, name: &str, counted: bool) -> Result<Content> {
    let name = name.to_ascii_uppercase();
    let Some((_, columns_of)) = TABLES.iter().find(|(known, _)| *known == name) else {
        return Err(SqlError {
            code: 1_109,
            state: "42S02",
            message: format!("Unknown table '{name}' in {database}"),
        });
    };
    let rows = match name.as_str() {
        "CHARACTER_SETS" => vec![character_set_row()],
        "COLLATIONS" => vec![collation_row()],
        "COLLATION_CHARACTER_SET_APPLICABILITY" => vec![collation_row()[..2].to_vec()],
        "COLUMNS" => columns(session).await?,
        "ENGINES" => vec![engine_row()],
        "KEY_COLUMN_USAGE" => key_column_usage(session).await?,
        "PARTITIONS" => partitions(session, counted).await?,
        "PROCESSLIST" => process_rows(session, true),
        "SCHEMATA" => schemata(session.catalog.databases().await?),
        "STATISTICS" => statistics(session).await?,
        "TABLES" => tables(session, None, counted).await?,
        "TABLE_CONSTRAINTS" => table_constraints(session).await?,
        // There are no views, triggers, foreign keys, privileges and the like.
        _ => Vec::new(),
    };
    Ok((described(columns_of), rows))
}
