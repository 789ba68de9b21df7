//! What tools ask about tables, columns and the server: SHOW, DESCRIBE, and the tables of `information_schema`, which are made
//! when they are read.

use crate::catalog::INFORMATION_SCHEMA;
use crate::cluster_tables;
use crate::error::{Result, SqlError, not_supported};
use crate::expression::{Environment, Expression, Scope, compile};
use crate::information::{self, Content};
use crate::plan::{column_type_name, table_name, type_name};
use crate::processes::Shown;
use crate::session::{Level, Outcome, Session, Warning};
use crate::value::format::text;
use crate::wire::results::ResultColumn;
use duet_client::{Column, ColumnType, IndexKind, Table, Value};
use duet_gateway_wire::requests::{Request, Subject};
use sqlparser::ast::{
    ShowCreateObject, ShowStatementFilter, ShowStatementFilterPosition, ShowStatementOptions, Statement,
};
use std::fmt::Write;

/// Whether a database is made when it is read.
pub fn is_virtual(database: &str) -> bool {
    database.eq_ignore_ascii_case(INFORMATION_SCHEMA) || database == cluster_tables::DATABASE
}

/// One of the tables that are made when they are read; rows of tables are counted only for those who want to know.
///
/// # Errors
/// 1109 and 1146 when there is no such table; those of the cluster.
pub async fn virtual_table(session: &Session, database: &str, name: &str, counted: bool) -> Result<Content> {
    match database == cluster_tables::DATABASE {
        true => cluster_tables::rows(session, name).await,
        false => information::rows(session, database, name, counted).await,
    }
}

/// What a statement asks of the rows that are shown.
#[derive(Clone, Copy)]
pub struct Filter<'a> {
    /// LIKE or WHERE.
    pub asked: Option<&'a ShowStatementFilter>,
    /// Parameters of the statement.
    pub parameters: &'a [Value],
}

/// Whether a statement leaves the warnings of the one before.
pub fn keeps_warnings(request: &Request) -> bool {
    matches!(request, Request::Show(Subject::Warnings { .. } | Subject::WarningCount { .. }, _))
}

/// Columns of a result, as [`information::described`].
fn columns(described: &str) -> Vec<ResultColumn> {
    let column = |(name, column_type): (String, ColumnType)| ResultColumn::new(name, column_type);
    information::described(described).into_iter().map(column).collect()
}

/// A heading: what is shown, and the pattern of its LIKE.
fn heading(name: &str, filter: Filter<'_>) -> Vec<ResultColumn> {
    let name = match filter.asked {
        Some(ShowStatementFilter::Like(pattern)) => format!("{name} ({pattern})"),
        _ => name.to_owned(),
    };
    vec![ResultColumn::text(name)]
}

fn word(content: impl Into<String>) -> Value {
    Value::Text(content.into())
}

/// Executes SHOW and its kin; `None` when it is another statement.
///
/// # Errors
/// Those of names that do not exist; 1235 for what is not supported.
pub async fn execute(
    session: &Session,
    statement: &Statement,
    parameters: &[Value],
) -> Result<Option<Outcome>> {
    let filter = Filter { asked: filter_of(statement), parameters };
    Ok(Some(match statement {
        Statement::ShowDatabases { .. } | Statement::ShowSchemas { .. } => {
            let names = session.catalog.databases().await?;
            let rows = names.into_iter().map(|name| vec![word(name)]).collect();
            shown(session, heading("Database", filter), rows, filter)?
        }
        Statement::ShowTables { full, show_options, .. } => {
            let database = shown_database(session, show_options)?;
            if !is_virtual(&database) {
                session.catalog.check_database(&database).await?;
            }
            let name = format!("Tables_in_{database}");
            let mut rows = Vec::new();
            if is_virtual(&database) {
                let names: Vec<&str> = match database == cluster_tables::DATABASE {
                    true => cluster_tables::NAMES.to_vec(),
                    false => information::names().collect(),
                };
                rows.extend(names.into_iter().map(|name| vec![word(name), word("SYSTEM VIEW")]));
            }
            for table in session.catalog.tables().await? {
                if table.database() == database {
                    rows.push(vec![word(table.name()), word("BASE TABLE")]);
                }
            }
            let mut shown_columns = heading(&name, filter);
            match full {
                true => shown_columns.push(ResultColumn::text("Table_type")),
                false => rows.iter_mut().for_each(|row| row.truncate(1)),
            }
            shown(session, shown_columns, rows, filter)?
        }
        Statement::ShowColumns { full, show_options, .. } => {
            let Some(show_in) = &show_options.show_in else {
                return not_supported("SHOW COLUMNS without a table");
            };
            let Some(name) = &show_in.parent_name else {
                return not_supported("SHOW COLUMNS without a table");
            };
            let (database, name) = table_name(name)?;
            let database = session.database(database.as_deref())?;
            describe_named(session, &database, &name, *full, filter).await?
        }
        Statement::ExplainTable { table_name: name, .. } => {
            let (database, name) = table_name(name)?;
            describe_named(session, &session.database(database.as_deref())?, &name, false, filter).await?
        }
        Statement::ShowCreate { obj_type: ShowCreateObject::Table, obj_name } => {
            let (database, name) = table_name(obj_name)?;
            let database = session.database(database.as_deref())?;
            if is_virtual(&database) {
                virtual_table(session, &database, &name, false).await?;
                return not_supported(&format!(
                    "SHOW CREATE TABLE of {database}.{name}, which is made when it is read; mysqldump needs --databases in place \
                     of --all-databases"
                ));
            }
            let table = session.catalog.table(&database, &name).await?;
            let sequence = session.catalog.sequence(&table).await?.map(|sequence| sequence.column);
            let next = session.catalog.next_number(&table).await?;
            let row = vec![word(table.name()), word(create_statement(&table, sequence, next))];
            Outcome::fixed(columns("Table,Create Table"), vec![row])
        }
        Statement::ShowVariables { .. } => {
            let rows = session
                .facts
                .variables
                .shown()
                .into_iter()
                .map(|(name, value)| vec![word(name), word(value)]);
            shown(session, columns("Variable_name,Value"), rows.collect(), filter)?
        }
        Statement::ShowStatus { .. } => {
            shown(session, columns("Variable_name,Value"), status_rows(session), filter)?
        }
        Statement::ShowCollation { .. } => {
            let names = "Collation,Charset,Id#,Default,Compiled,Sortlen%,Pad_attribute";
            shown(session, columns(names), vec![collation_row()], filter)?
        }
        Statement::ShowCharset(_) => {
            let mut row = character_set_row();
            // The description comes first here.
            row.swap(1, 2);
            let names = "Charset,Description,Default collation,Maxlen%";
            shown(session, columns(names), vec![row], filter)?
        }
        Statement::ShowVariable { variable } => {
            let words: Vec<String> = variable.iter().map(|word| word.value.to_ascii_uppercase()).collect();
            return not_supported(&format!("SHOW {}", words.join(" ")));
        }
        Statement::ShowProcessList { full } => {
            Outcome::fixed(columns("Id#,User,Host,db,Command,Time#,State,Info"), process_rows(session, *full))
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

/// The only character set, as `information_schema` has it.
pub fn character_set_row() -> Vec<Value> {
    vec![word("utf8mb4"), word("utf8mb4_bin"), word("UTF-8 Unicode"), Value::UInt(4)]
}

/// The only collation.
pub fn collation_row() -> Vec<Value> {
    vec![
        word("utf8mb4_bin"),
        word("utf8mb4"),
        Value::UInt(46),
        word("Yes"),
        word("Yes"),
        Value::UInt(1),
        word("NO PAD"),
    ]
}

/// The only engine.
pub fn engine_row() -> Vec<Value> {
    ["ndbcluster", "DEFAULT", "Duet, a distributed in-memory row store", "YES", "NO", "YES"]
        .map(word)
        .to_vec()
}

/// The connections of this gateway.
pub fn process_rows(session: &Session, full: bool) -> Vec<Vec<Value>> {
    session.processes.shown().into_iter().map(|process| process_row(process, full)).collect()
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
        Value::UInt(process.seconds),
        word(if process.command == "Sleep" { "" } else { "executing" }),
        statement.map_or(Value::Null, Value::Text),
    ]
}

fn warning_row(warning: &Warning) -> Vec<Value> {
    let error = &warning.error;
    vec![word(warning.level.word()), Value::UInt(error.code.into()), word(error.message.clone())]
}

/// Executes SHOW of what the parser of SQL does not know.
///
/// # Errors
/// Those of names that do not exist.
pub async fn subject(session: &Session, subject: &Subject, filter: Filter<'_>) -> Result<Outcome> {
    /// Columns of results that are always empty.
    const TRIGGERS: &str = "Trigger,Event,Table,Statement,Timing,Created@,sql_mode,Definer,character_set_client,\
                            collation_connection,Database Collation";
    const EVENTS: &str = "Db,Name,Definer,Time zone,Type,Execute at@,Interval value,Interval field,Starts@,Ends@,Status,Originator#,\
         character_set_client,collation_connection,Database Collation";
    const ROUTINES: &str = "Db,Name,Type,Definer,Modified@,Created@,Security_type,Comment,character_set_client,\
                            collation_connection,Database Collation";
    let told = |only_errors: bool| move |warning: &&Warning| !only_errors || warning.level == Level::Error;
    let (names, rows) = match subject {
        Subject::Warnings { only_errors, skip, most } => {
            let warnings = session.warnings.iter().filter(told(*only_errors));
            ("Level,Code%,Message", warnings.skip(*skip).take(*most).map(warning_row).collect())
        }
        Subject::WarningCount { only_errors } => {
            let count = session.warnings.iter().filter(told(*only_errors)).count();
            let name = if *only_errors { "@@session.error_count#" } else { "@@session.warning_count#" };
            (name, vec![vec![Value::UInt(count as u64)]])
        }
        Subject::CreateDatabase { if_not_exists, name } => {
            session.catalog.check_database(name).await?;
            let condition = if *if_not_exists { "/*!32312 IF NOT EXISTS*/ " } else { "" };
            let name_quoted = quoted(name);
            let statement = format!(
                "CREATE DATABASE {condition}{name_quoted} /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */"
            );
            ("Database,Create Database", vec![vec![word(name.clone()), word(statement)]])
        }
        Subject::TableStatus(database) => {
            let database = shown_name(session, database.as_deref()).await?;
            let mut rows = information::tables(session, Some(&database), true).await?;
            // As TABLES, without database and type.
            rows.iter_mut().for_each(|row| {
                row.remove(3);
                row.drain(..2);
            });
            (
                "Name,Engine,Version%,Row_format,Rows#,Avg_row_length#,Data_length#,Max_data_length#,Index_length#,Data_free#,\
                 Auto_increment#,Create_time@,Update_time@,Check_time@,Collation,Checksum#,Create_options,Comment",
                rows,
            )
        }
        Subject::OpenTables(database) => {
            if let Some(database) = database {
                session.catalog.check_database(database).await?;
            }
            ("Database,Table,In_use%,Name_locked%", Vec::new())
        }
        Subject::Triggers(database) | Subject::Events(database) => {
            shown_name(session, database.as_deref()).await?;
            (if matches!(subject, Subject::Events(_)) { EVENTS } else { TRIGGERS }, Vec::new())
        }
        Subject::Routines => (ROUTINES, Vec::new()),
        Subject::Engines => ("Engine,Support,Comment,Transactions,XA,Savepoints", vec![engine_row()]),
        Subject::Plugins => ("Name,Status,Type,Library,License", Vec::new()),
        Subject::Indexes((database, name)) => {
            let database = session.database(database.as_deref())?;
            let mut rows = Vec::new();
            match is_virtual(&database) {
                true => drop(virtual_table(session, &database, name, false).await?),
                false => rows = information::index_rows(&session.catalog.table(&database, name).await?),
            }
            // As STATISTICS, without databases.
            rows.iter_mut().for_each(|row| {
                row.remove(4);
                row.drain(..2);
            });
            (
                "Table,Non_unique%,Key_name,Seq_in_index%,Column_name,Collation,Cardinality#,Sub_part#,Packed,Null,Index_type,\
                 Comment,Index_comment,Visible,Expression",
                rows,
            )
        }
        Subject::Grants(user) => return grants(session, user.as_deref()),
    };
    shown(session, columns(names), rows, filter)
}

/// Everybody may do everything.
fn grants(session: &Session, user: Option<&str>) -> Result<Outcome> {
    let own = session.facts.user.rsplit_once('@').map_or("", |(name, _)| name);
    let name = user.unwrap_or(own);
    if !session.users.knows(name) {
        return Err(SqlError {
            code: 1_141,
            state: "42000",
            message: format!("There is no such grant defined for user '{name}' on host '%'"),
        });
    }
    let row = vec![word(format!("GRANT ALL PRIVILEGES ON *.* TO {}@`%`", quoted(name)))];
    Ok(Outcome::fixed(vec![ResultColumn::text(format!("Grants for {name}@%"))], vec![row]))
}

/// The database that is named, or the one that is chosen; it exists.
async fn shown_name(session: &Session, database: Option<&str>) -> Result<String> {
    let database = session.database(database)?;
    if !is_virtual(&database) {
        session.catalog.check_database(&database).await?;
    }
    Ok(database)
}

/// The database that `SHOW … FROM database` names, or the one that is chosen.
fn shown_database(session: &Session, options: &ShowStatementOptions) -> Result<String> {
    let named = options.show_in.as_ref().and_then(|show_in| show_in.parent_name.as_ref());
    match named {
        None => session.database(None),
        Some(name) => Ok(table_name(name)?.1),
    }
}

/// LIKE or WHERE of a statement.
fn filter_of(statement: &Statement) -> Option<&ShowStatementFilter> {
    match statement {
        Statement::ShowDatabases { show_options, .. }
        | Statement::ShowSchemas { show_options, .. }
        | Statement::ShowTables { show_options, .. }
        | Statement::ShowColumns { show_options, .. } => match show_options.filter_position.as_ref()? {
            ShowStatementFilterPosition::Infix(filter) | ShowStatementFilterPosition::Suffix(filter) => {
                Some(filter)
            }
        },
        Statement::ShowVariables { filter, .. }
        | Statement::ShowStatus { filter, .. }
        | Statement::ShowCollation { filter } => filter.as_ref(),
        Statement::ShowCharset(charset) => charset.filter.as_ref(),
        _ => None,
    }
}

/// Rows that pass the filter: LIKE is for the first column.
fn shown(
    session: &Session,
    columns: Vec<ResultColumn>,
    rows: Vec<Vec<Value>>,
    filter: Filter<'_>,
) -> Result<Outcome> {
    let environment = Environment::new(filter.parameters, &session.facts);
    let mut kept = Vec::new();
    match filter.asked {
        None => kept = rows,
        Some(ShowStatementFilter::Like(pattern)) => {
            let pattern = Expression::Constant(word(pattern.to_lowercase()));
            for row in rows {
                let name = Expression::Constant(word(text(&row[0]).to_lowercase()));
                let like = Expression::Like(Box::new(name), Box::new(pattern.clone()), '\\');
                if like.truth(&environment)? == Some(true) {
                    kept.push(row);
                }
            }
        }
        Some(ShowStatementFilter::Where(condition)) => {
            let table = information::as_table(&columns)?;
            let condition = compile(condition, &mut Scope::of(&table, "", "where clause"))?;
            for row in rows {
                let environment = Environment::new(filter.parameters, &session.facts).with_row(&row);
                if condition.truth(&environment)? == Some(true) {
                    kept.push(row);
                }
            }
        }
        Some(_) => return not_supported("this form of SHOW"),
    }
    Ok(Outcome::fixed(columns, kept))
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

/// The default of a column as a text; NULL where there is none.
pub fn default_text(column: &Column) -> Value {
    match column.current_time {
        Some(rule) if rule.on_insert => word(rule.to_string()),
        _ => match &column.default {
            None => Value::Null,
            Some(Value::Bytes(bytes)) => word(hexadecimal(bytes)),
            Some(default) => word(text(default)),
        },
    }
}

/// The collation of a column; NULL where it is not one of text.
pub fn collation_of(column: &Column) -> Value {
    match column.column_type {
        ColumnType::Json => Value::Null,
        column_type if crate::wire::results::is_text(column_type) => word("utf8mb4_bin"),
        _ => Value::Null,
    }
}

/// What else there is to say of a column.
pub fn extra_text(column: &Column, auto_increment: bool) -> String {
    let Some(rule) = column.current_time else {
        return if auto_increment { "auto_increment".to_owned() } else { String::new() };
    };
    match (rule.on_insert, rule.on_update) {
        (true, false) => "DEFAULT_GENERATED".to_owned(),
        (true, true) => format!("DEFAULT_GENERATED on update {rule}"),
        (false, _) => format!("on update {rule}"),
    }
}

/// Columns of a table, also of one that is made when it is read.
///
/// # Errors
/// 1146 and 1109 when there is no such table; those of the cluster.
pub async fn describe_named(
    session: &Session,
    database: &str,
    name: &str,
    full: bool,
    filter: Filter<'_>,
) -> Result<Outcome> {
    if !is_virtual(database) {
        let table = session.catalog.table(database, name).await?;
        return describe(session, &table, full, filter).await;
    }
    let (content, _) = virtual_table(session, database, name, false).await?;
    let row = |(name, column_type): (String, ColumnType)| {
        let mut row = vec![word(name), word(type_name(column_type))];
        if full {
            row.push(Value::Null);
        }
        row.extend([word("YES"), word(""), Value::Null, word("")]);
        if full {
            row.extend([word("select"), word("")]);
        }
        row
    };
    shown(session, columns(description(full)), content.into_iter().map(row).collect(), filter)
}

/// Columns of SHOW COLUMNS and DESCRIBE.
fn description(full: bool) -> &'static str {
    match full {
        false => "Field,Type,Null,Key,Default,Extra",
        true => "Field,Type,Collation,Null,Key,Default,Extra,Privileges,Comment",
    }
}

async fn describe(session: &Session, table: &Table, full: bool, filter: Filter<'_>) -> Result<Outcome> {
    let sequence = session.catalog.sequence(table).await?.map(|sequence| sequence.column);
    let mut rows = Vec::new();
    for (index, column) in table.definition().columns.iter().enumerate() {
        let index = index as u16;
        let mut row = vec![
            word(column.name.clone()),
            word(column_type_name(column)),
            word(if column.nullable { "YES" } else { "NO" }),
            word(key_kind(table, index)),
            default_text(column),
            word(extra_text(column, sequence == Some(index))),
        ];
        if full {
            row.insert(2, collation_of(column));
            row.extend([word("select,insert,update"), word(column.comment.clone())]);
        }
        rows.push(row);
    }
    shown(session, columns(description(full)), rows, filter)
}

/// A name in backquotes.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Bytes as a number of sixteen digits; none as nothing.
fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes {
        // Writing into memory cannot fail.
        let _ = write!(digits, "{}{byte:02x}", if digits.is_empty() { "0x" } else { "" });
    }
    digits
}

/// A value as a literal.
fn literal(value: &Value) -> String {
    if let Value::Bytes(bytes) = value
        && !bytes.is_empty()
    {
        return hexadecimal(bytes);
    }
    let mut literal = String::from("'");
    for character in text(value).chars() {
        match character {
            '\\' => literal.push_str("\\\\"),
            '\'' => literal.push_str("''"),
            '\0' => literal.push_str("\\0"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\x1a' => literal.push_str("\\Z"),
            other => literal.push(other),
        }
    }
    literal.push('\'');
    literal
}

/// CREATE TABLE for a table as it is; `next` is the next number of its AUTO_INCREMENT column.
pub fn create_statement(table: &Table, auto_increment: Option<u16>, next: Option<u64>) -> String {
    let definition = table.definition();
    let names = |columns: &[u16]| {
        let names = columns.iter().map(|column| quoted(&definition.columns[usize::from(*column)].name));
        names.collect::<Vec<_>>().join(",")
    };
    let mut lines = Vec::new();
    for (index, column) in definition.columns.iter().enumerate() {
        let mut line = format!("  {} {}", quoted(&column.name), column_type_name(column));
        match (column.nullable, column.column_type) {
            (false, _) => line.push_str(" NOT NULL"),
            // Old servers take it for one that is not, unless it says so.
            (true, ColumnType::Timestamp) => line.push_str(" NULL"),
            (true, _) => {}
        }
        match (&column.default, column.current_time) {
            (_, Some(rule)) if rule.on_insert => line.push_str(&format!(" DEFAULT {rule}")),
            (Some(default), _) => line.push_str(&format!(" DEFAULT {}", literal(default))),
            (None, _) if column.nullable => line.push_str(" DEFAULT NULL"),
            (None, _) => {}
        }
        if let Some(rule) = column.current_time.filter(|rule| rule.on_update) {
            line.push_str(&format!(" ON UPDATE {rule}"));
        }
        if auto_increment == Some(index as u16) {
            line.push_str(" AUTO_INCREMENT");
        }
        if !column.comment.is_empty() {
            line.push_str(&format!(" COMMENT {}", literal(&Value::Text(column.comment.clone()))));
        }
        lines.push(line);
    }
    lines.push(format!("  PRIMARY KEY ({})", names(&definition.primary_key)));
    for index in &definition.indexes {
        let kind = if index.kind == IndexKind::Unique { "UNIQUE KEY" } else { "KEY" };
        lines.push(format!("  {kind} {} ({})", quoted(&index.name), names(&index.columns)));
    }
    let mut statement = format!("CREATE TABLE {} (\n{}\n)", quoted(&definition.name), lines.join(",\n"));
    statement.push_str(" ENGINE=ndbcluster");
    if let Some(next) = next.filter(|next| *next > 1) {
        statement.push_str(&format!(" AUTO_INCREMENT={next}"));
    }
    statement.push_str(" DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin");
    if !definition.comment.is_empty() {
        statement.push_str(&format!(" COMMENT={}", literal(&Value::Text(definition.comment.clone()))));
    }
    statement
}
