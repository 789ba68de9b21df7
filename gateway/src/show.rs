//! What tools ask about tables, columns and the server: SHOW, DESCRIBE, and the tables of `information_schema`, which are made
//! when they are read.

use crate::catalog::INFORMATION_SCHEMA;
use crate::cluster_tables;
use crate::error::{Result, not_supported};
use crate::expression::{Environment, Expression, Scope, compile};
use crate::information;
use crate::plan::{table_name, type_name};
use crate::processes::Shown;
use crate::session::{Level, Outcome, Session, Warning};
use crate::value::format::text;
use crate::wire::results::ResultColumn;
use duet_client::{ColumnType, IndexKind, Table, Value};
use sqlparser::ast::{
    ObjectName, ShowCreateObject, ShowStatementFilter, ShowStatementFilterPosition, ShowStatementOptions,
    Statement,
};

/// Whether a database is made when it is read.
pub fn is_virtual(database: &str) -> bool {
    database.eq_ignore_ascii_case(INFORMATION_SCHEMA) || database == cluster_tables::DATABASE
}

/// Whether a statement leaves the warnings of the one before.
pub fn keeps_warnings(statement: &Statement) -> bool {
    matches!(statement, Statement::ShowVariable { variable } if variable.first().is_some_and(|word| {
        word.value.eq_ignore_ascii_case("WARNINGS") || word.value.eq_ignore_ascii_case("ERRORS")
    }))
}

fn columns(names: &[&str]) -> Vec<ResultColumn> {
    names.iter().map(|name| ResultColumn::text(*name)).collect()
}

fn word(content: impl Into<String>) -> Value {
    Value::Text(content.into())
}

/// Executes SHOW and its kin; `None` when it is another statement.
///
/// # Errors
/// Those of names that do not exist; 1235 for what is not supported.
pub async fn execute(session: &mut Session, statement: &Statement) -> Result<Option<Outcome>> {
    Ok(Some(match statement {
        Statement::ShowDatabases { show_options, .. } | Statement::ShowSchemas { show_options, .. } => {
            let names = session.catalog.databases().await?;
            let rows = names.into_iter().map(|name| vec![word(name)]).collect();
            shown(columns(&["Database"]), rows, filter_of(show_options))?
        }
        Statement::ShowTables { full, show_options, .. } => {
            let database = shown_database(session, show_options)?;
            if !is_virtual(&database) {
                session.catalog.check_database(&database).await?;
            }
            let name = format!("Tables_in_{database}");
            let mut rows = Vec::new();
            if is_virtual(&database) {
                let names = match database == cluster_tables::DATABASE {
                    true => cluster_tables::NAMES,
                    false => information::NAMES,
                };
                rows.extend(names.iter().map(|name| vec![word(*name), word("SYSTEM VIEW")]));
            }
            for table in session.catalog.tables().await? {
                if table.database() == database {
                    rows.push(vec![word(table.name()), word("BASE TABLE")]);
                }
            }
            let mut shown_columns = columns(&[&name, "Table_type"]);
            if !full {
                shown_columns.truncate(1);
                rows.iter_mut().for_each(|row| row.truncate(1));
            }
            shown(shown_columns, rows, filter_of(show_options))?
        }
        Statement::ShowColumns { full, show_options, .. } => {
            let Some(show_in) = &show_options.show_in else {
                return not_supported("SHOW COLUMNS without a table");
            };
            let Some(name) = &show_in.parent_name else {
                return not_supported("SHOW COLUMNS without a table");
            };
            let table = named_table(session, name).await?;
            describe(session, &table, *full, filter_of(show_options)).await?
        }
        Statement::ExplainTable { table_name, .. } => {
            let table = named_table(session, table_name).await?;
            describe(session, &table, false, None).await?
        }
        Statement::ShowCreate { obj_type: ShowCreateObject::Table, obj_name } => {
            let table = named_table(session, obj_name).await?;
            let sequence = session.catalog.sequence(&table).await?.map(|sequence| sequence.column);
            let row = vec![word(table.name()), word(create_statement(&table, sequence))];
            Outcome::fixed(columns(&["Table", "Create Table"]), vec![row])
        }
        Statement::ShowVariables { filter, .. } => {
            let rows = session
                .facts
                .variables
                .shown()
                .into_iter()
                .map(|(name, value)| vec![word(name), word(value)]);
            shown(columns(&["Variable_name", "Value"]), rows.collect(), filter.as_ref())?
        }
        Statement::ShowStatus { filter, .. } => {
            shown(columns(&["Variable_name", "Value"]), status_rows(session), filter.as_ref())?
        }
        Statement::ShowCollation { filter } => {
            let row = ["utf8mb4_bin", "utf8mb4", "46", "Yes", "Yes", "1", "NO PAD"].map(word).to_vec();
            let names = ["Collation", "Charset", "Id", "Default", "Compiled", "Sortlen", "Pad_attribute"];
            shown(columns(&names), vec![row], filter.as_ref())?
        }
        Statement::ShowCharset(_) => {
            let row = ["utf8mb4", "UTF-8 Unicode", "utf8mb4_bin", "4"].map(word).to_vec();
            Outcome::fixed(columns(&["Charset", "Description", "Default collation", "Maxlen"]), vec![row])
        }
        Statement::ShowVariable { variable } => show_words(session, variable).await?,
        Statement::ShowProcessList { full } => {
            let rows = session.processes.shown().into_iter().map(|process| process_row(process, *full));
            Outcome::fixed(process_columns(), rows.collect())
        }
        _ => return Ok(None),
    }))
}

fn status_rows(session: &Session) -> Vec<Vec<Value>> {
    let processes = &session.processes;
    let connections = processes.shown();
    let running = connections.iter().filter(|process| process.command != "Sleep").count();
    [
        ("Questions", processes.questions()),
        ("Threads_connected", connections.len() as u64),
        ("Threads_running", running as u64),
        ("Uptime", processes.uptime_seconds()),
    ]
    .map(|(name, value)| vec![word(name), word(value.to_string())])
    .into()
}

fn process_columns() -> Vec<ResultColumn> {
    let mut all = columns(&["Id", "User", "Host", "db", "Command", "Time", "State", "Info"]);
    all[0].column_type = Some(ColumnType::BigIntUnsigned);
    all[5].column_type = Some(ColumnType::BigInt);
    all
}

fn process_row(process: Shown, full: bool) -> Vec<Value> {
    /// Characters of a statement without FULL.
    const FEW: usize = 100;
    let statement = process.statement.map(|statement| match full {
        true => statement,
        false => statement.chars().take(FEW).collect(),
    });
    vec![
        Value::UInt(u64::from(process.number)),
        word(process.user),
        word(process.peer.to_string()),
        process.database.map_or(Value::Null, Value::Text),
        word(process.command),
        Value::Int(i64::try_from(process.seconds).unwrap_or(i64::MAX)),
        word(if process.command == "Sleep" { "" } else { "executing" }),
        statement.map_or(Value::Null, Value::Text),
    ]
}

/// `SHOW WARNINGS`, `SHOW INDEX FROM t`, `SHOW ENGINES` and others that the parser gives as words.
async fn show_words(session: &mut Session, words: &[sqlparser::ast::Ident]) -> Result<Outcome> {
    let upper: Vec<String> = words.iter().map(|word| word.value.to_ascii_uppercase()).collect();
    let plain: Vec<&str> = upper.iter().map(String::as_str).collect();
    match plain.as_slice() {
        ["WARNINGS" | "ERRORS", ..] => {
            let only_errors = plain[0] == "ERRORS";
            let shown = |warning: &&Warning| !only_errors || warning.level == Level::Error;
            let row = |warning: &Warning| {
                let error = &warning.error;
                vec![word(warning.level.word()), Value::UInt(error.code.into()), word(error.message.clone())]
            };
            let rows = session.warnings.iter().filter(shown).map(row).collect();
            let mut all = columns(&["Level", "Code", "Message"]);
            all[1].column_type = Some(ColumnType::IntUnsigned);
            Ok(Outcome::fixed(all, rows))
        }
        ["ENGINES"] | ["STORAGE", "ENGINES"] => {
            let row = ["ndbcluster", "DEFAULT", "Duet, a distributed in-memory row store", "YES", "NO", "NO"]
                .map(word);
            let names = ["Engine", "Support", "Comment", "Transactions", "XA", "Savepoints"];
            Ok(Outcome::fixed(columns(&names), vec![row.to_vec()]))
        }
        ["PLUGINS"] => {
            Ok(Outcome::fixed(columns(&["Name", "Status", "Type", "Library", "License"]), Vec::new()))
        }
        ["INDEX" | "INDEXES" | "KEYS", "FROM" | "IN", ..] => {
            let names: Vec<_> = words[2..].iter().filter(|word| word.value != ".").cloned().collect();
            let table = named_table(session, &ObjectName::from(names)).await?;
            Ok(Outcome::fixed(index_columns(), index_rows(&table)))
        }
        ["TABLE", "STATUS", ..] => not_supported("SHOW TABLE STATUS; read information_schema.tables"),
        _ => not_supported(&format!("SHOW {}", upper.join(" "))),
    }
}

/// The database that `SHOW … FROM database` names, or the one that is chosen.
fn shown_database(session: &Session, options: &ShowStatementOptions) -> Result<String> {
    let named = options.show_in.as_ref().and_then(|show_in| show_in.parent_name.as_ref());
    match named {
        None => session.database(None),
        Some(name) => Ok(table_name(name)?.1),
    }
}

async fn named_table(session: &Session, name: &ObjectName) -> Result<Table> {
    let (database, name) = table_name(name)?;
    session.catalog.table(&session.database(database.as_deref())?, &name).await
}

fn filter_of(options: &ShowStatementOptions) -> Option<&ShowStatementFilter> {
    match &options.filter_position {
        Some(ShowStatementFilterPosition::Infix(filter) | ShowStatementFilterPosition::Suffix(filter)) => {
            Some(filter)
        }
        None => None,
    }
}

/// Rows that pass the filter: LIKE is for the first column.
fn shown(
    columns: Vec<ResultColumn>,
    mut rows: Vec<Vec<Value>>,
    filter: Option<&ShowStatementFilter>,
) -> Result<Outcome> {
    match filter {
        None => {}
        Some(ShowStatementFilter::Like(pattern)) => {
            let pattern = Expression::Constant(word(pattern.to_lowercase()));
            let facts = Default::default();
            let mut kept = Vec::new();
            for row in rows {
                let name = Expression::Constant(word(text(&row[0]).to_lowercase()));
                let like = Expression::Like(Box::new(name), Box::new(pattern.clone()), '\\');
                if like.truth(&Environment::new(&[], &facts))? == Some(true) {
                    kept.push(row);
                }
            }
            rows = kept;
        }
        Some(ShowStatementFilter::Where(condition)) => {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let table = information::as_table(&names)?;
            let condition = compile(condition, &mut Scope::of(&table, "", "where clause"))?;
            let facts = Default::default();
            let mut kept = Vec::new();
            for row in rows {
                if condition.truth(&Environment::new(&[], &facts).with_row(&row))? == Some(true) {
                    kept.push(row);
                }
            }
            rows = kept;
        }
        Some(_) => return not_supported("this form of SHOW"),
    }
    Ok(Outcome::fixed(columns, rows))
}

/// What a column is in keys: `PRI`, `UNI`, `MUL` or nothing.
pub fn key_kind(table: &Table, column: u16) -> &'static str {
    let definition = table.definition();
    if definition.primary_key.contains(&column) {
        return "PRI";
    }
    let first = |kind: IndexKind| {
        let mut indexes = definition.indexes.iter().filter(|index| index.kind == kind);
        indexes.find(|index| index.columns.first() == Some(&column)).map(|index| index.columns.len())
    };
    match (first(IndexKind::Unique), first(IndexKind::Ordered)) {
        (Some(1), _) => "UNI",
        (Some(_), _) | (_, Some(_)) => "MUL",
        (None, None) => "",
    }
}

async fn describe(
    session: &Session,
    table: &Table,
    full: bool,
    filter: Option<&ShowStatementFilter>,
) -> Result<Outcome> {
    let sequence = session.catalog.sequence(table).await?.map(|sequence| sequence.column);
    let mut rows = Vec::new();
    for (index, column) in table.definition().columns.iter().enumerate() {
        let index = index as u16;
        let mut row = vec![
            word(column.name.clone()),
            word(type_name(column.column_type)),
            word(if column.nullable { "YES" } else { "NO" }),
            word(key_kind(table, index)),
            column.default.as_ref().map_or(Value::Null, |default| word(text(default))),
            word(if sequence == Some(index) { "auto_increment" } else { "" }),
        ];
        if full {
            let collation =
                crate::wire::results::is_text(column.column_type).then(|| "utf8mb4_bin".to_owned());
            row.insert(2, collation.map_or(Value::Null, Value::Text));
            row.extend([word("select,insert,update"), word("")]);
        }
        rows.push(row);
    }
    let names: &[&str] = match full {
        false => &["Field", "Type", "Null", "Key", "Default", "Extra"],
        true => &["Field", "Type", "Collation", "Null", "Key", "Default", "Extra", "Privileges", "Comment"],
    };
    shown(columns(names), rows, filter)
}

/// A name in backquotes.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A value as a literal.
fn literal(value: &Value) -> String {
    match value {
        Value::Int(_) | Value::UInt(_) | Value::Bool(_) | Value::Double(_) | Value::Float(_) => {
            format!("'{}'", text(value))
        }
        other => format!("'{}'", text(other).replace('\\', "\\\\").replace('\'', "''")),
    }
}

/// CREATE TABLE for a table as it is.
pub fn create_statement(table: &Table, auto_increment: Option<u16>) -> String {
    let definition = table.definition();
    let names = |columns: &[u16]| {
        let names = columns.iter().map(|column| quoted(&definition.columns[usize::from(*column)].name));
        names.collect::<Vec<_>>().join(",")
    };
    let mut lines = Vec::new();
    for (index, column) in definition.columns.iter().enumerate() {
        let mut line = format!("  {} {}", quoted(&column.name), type_name(column.column_type));
        if !column.nullable {
            line.push_str(" NOT NULL");
        }
        match &column.default {
            Some(default) => line.push_str(&format!(" DEFAULT {}", literal(default))),
            None if column.nullable => line.push_str(" DEFAULT NULL"),
            None => {}
        }
        if auto_increment == Some(index as u16) {
            line.push_str(" AUTO_INCREMENT");
        }
        lines.push(line);
    }
    lines.push(format!("  PRIMARY KEY ({})", names(&definition.primary_key)));
    for index in &definition.indexes {
        let kind = if index.kind == IndexKind::Unique { "UNIQUE KEY" } else { "KEY" };
        lines.push(format!("  {kind} {} ({})", quoted(&index.name), names(&index.columns)));
    }
    let mut statement = format!("CREATE TABLE {} (\n{}\n)", quoted(&definition.name), lines.join(",\n"));
    statement.push_str(" ENGINE=ndbcluster DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin");
    if !definition.comment.is_empty() {
        statement.push_str(&format!(" COMMENT={}", literal(&Value::Text(definition.comment.clone()))));
    }
    statement
}

fn index_columns() -> Vec<ResultColumn> {
    columns(&[
        "Table",
        "Non_unique",
        "Key_name",
        "Seq_in_index",
        "Column_name",
        "Collation",
        "Cardinality",
        "Sub_part",
        "Packed",
        "Null",
        "Index_type",
        "Comment",
        "Index_comment",
        "Visible",
    ])
}

/// Rows of SHOW INDEX.
fn index_rows(table: &Table) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for (name, unique, index) in indexes_of(table) {
        for (place, column) in index.iter().enumerate() {
            let column = &table.definition().columns[usize::from(*column)];
            rows.push(vec![
                word(table.name()),
                Value::Int(i64::from(!unique)),
                word(name.clone()),
                Value::Int(place as i64 + 1),
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
            ]);
        }
    }
    rows
}

/// Name, uniqueness and columns of each index, the primary key first.
pub fn indexes_of(table: &Table) -> Vec<(String, bool, Vec<u16>)> {
    let definition = table.definition();
    let mut indexes = vec![("PRIMARY".to_owned(), true, definition.primary_key.clone())];
    for index in &definition.indexes {
        indexes.push((index.name.clone(), index.kind == IndexKind::Unique, index.columns.clone()));
    }
    indexes
}
