//! What tools ask about tables, columns and the server: SHOW, DESCRIBE, and the tables of `information_schema`, which are made
//! when they are read.

use crate::catalog::INFORMATION_SCHEMA;
use crate::cluster_tables;
use crate::error::{Result, SqlError, not_supported};
use crate::expression::{Environment, Expression, Scope, compile};
use crate::information;
use crate::plan::{column_type_name, table_name, type_name};
use crate::processes::Shown;
use crate::session::{Level, Outcome, Session, Warning};
use crate::value::format::text;
use crate::wire::results::ResultColumn;
use duet_client::{Column, ColumnType, IndexKind, Table, Value};
use duet_gateway_wire::requests::{Request, Subject};
use sqlparser::ast::{
    ObjectName, ShowCreateObject, ShowStatementFilter, ShowStatementFilterPosition, ShowStatementOptions,
    Statement,
};

/// Whether a database is made when it is read.
pub fn is_virtual(database: &str) -> bool {
    database.eq_ignore_ascii_case(INFORMATION_SCHEMA) || database == cluster_tables::DATABASE
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
fn heading(name: &str, filter: Option<&ShowStatementFilter>) -> Vec<ResultColumn> {
    let name = match filter {
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
pub async fn execute(session: &mut Session, statement: &Statement) -> Result<Option<Outcome>> {
    Ok(Some(match statement {
        Statement::ShowDatabases { show_options, .. } | Statement::ShowSchemas { show_options, .. } => {
            let names = session.catalog.databases().await?;
            let rows = names.into_iter().map(|name| vec![word(name)]).collect();
            let filter = filter_of(show_options);
            shown(heading("Database", filter), rows, filter)?
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
            let filter = filter_of(show_options);
            let mut shown_columns = heading(&name, filter);
            match full {
                true => shown_columns.push(ResultColumn::text("Table_type")),
                false => rows.iter_mut().for_each(|row| row.truncate(1)),
            }
            shown(shown_columns, rows, filter)?
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
            describe_named(session, &database, &name, *full, filter_of(show_options)).await?
        }
        Statement::ExplainTable { table_name: name, .. } => {
            let (database, name) = table_name(name)?;
            describe_named(session, &session.database(database.as_deref())?, &name, false, None).await?
        }
        Statement::ShowCreate { obj_type: ShowCreateObject::Table, obj_name } => {
            let table = named_table(session, obj_name).await?;
            let sequence = session.catalog.sequence(&table).await?.map(|sequence| sequence.column);
            let next = session.catalog.next_number(&table).await?;
            let row = vec![word(table.name()), word(create_statement(&table, sequence, next))];
            Outcome::fixed(columns("Table,Create Table"), vec![row])
        }
        Statement::ShowVariables { filter, .. } => {
            let rows = session
                .facts
                .variables
                .shown()
                .into_iter()
                .map(|(name, value)| vec![word(name), word(value)]);
            shown(columns("Variable_name,Value"), rows.collect(), filter.as_ref())?
        }
        Statement::ShowStatus { filter, .. } => {
            shown(columns("Variable_name,Value"), status_rows(session), filter.as_ref())?
        }
        Statement::ShowCollation { filter } => {
            let names = "Collation,Charset,Id#,Default,Compiled,Sortlen%,Pad_attribute";
            shown(columns(names), vec![collation_row()], filter.as_ref())?
        }
        Statement::ShowCharset(charset) => {
            let mut row = character_set_row();
            // The description comes first here.
            row.swap(1, 2);
            let names = "Charset,Description,Default collation,Maxlen%";
            shown(columns(names), vec![row], charset.filter.as_ref())?
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
    ["ndbcluster", "DEFAULT", "Duet, a distributed in-memory row store", "YES", "NO", "NO"].map(word).to_vec()
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
pub async fn subject(
    session: &mut Session,
    subject: &Subject,
    filter: Option<&ShowStatementFilter>,
) -> Result<Outcome> {
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
            let mut rows = information::tables(session, Some(&database)).await?;
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
            let table = session.catalog.table(&database, name).await?;
            (
                "Table,Non_unique%,Key_name,Seq_in_index%,Column_name,Collation,Cardinality#,Sub_part#,Packed,Null,Index_type,\
                 Comment,Index_comment,Visible,Expression",
                index_rows(&table),
            )
        }
        Subject::Grants(user) => return grants(session, user.as_deref()),
    };
    shown(columns(names), rows, filter)
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
            let table = information::as_table(&columns)?;
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

/// The default of a column as a text; NULL where there is none.
pub fn default_text(column: &Column) -> Value {
    match column.current_time {
        Some(rule) if rule.on_insert => word(rule.to_string()),
        _ => column.default.as_ref().map_or(Value::Null, |default| word(text(default))),
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
    filter: Option<&ShowStatementFilter>,
) -> Result<Outcome> {
    if !is_virtual(database) {
        let table = session.catalog.table(database, name).await?;
        return describe(session, &table, full, filter).await;
    }
    let (content, _) = match database == cluster_tables::DATABASE {
        true => cluster_tables::rows(session, name).await?,
        false => information::rows(session, database, name).await?,
    };
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
    shown(columns(description(full)), content.into_iter().map(row).collect(), filter)
}

/// Columns of SHOW COLUMNS and DESCRIBE.
fn description(full: bool) -> &'static str {
    match full {
        false => "Field,Type,Null,Key,Default,Extra",
        true => "Field,Type,Collation,Null,Key,Default,Extra,Privileges,Comment",
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
            word(column_type_name(column)),
            word(if column.nullable { "YES" } else { "NO" }),
            word(key_kind(table, index)),
            default_text(column),
            word(extra_text(column, sequence == Some(index))),
        ];
        if full {
            let collation =
                crate::wire::results::is_text(column.column_type).then(|| "utf8mb4_bin".to_owned());
            row.insert(2, collation.map_or(Value::Null, Value::Text));
            row.extend([word("select,insert,update"), word("")]);
        }
        rows.push(row);
    }
    shown(columns(description(full)), rows, filter)
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
        if !column.nullable {
            line.push_str(" NOT NULL");
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

/// Rows of SHOW INDEX.
fn index_rows(table: &Table) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for (name, unique, index) in indexes_of(table) {
        for (place, column) in index.iter().enumerate() {
            let column = &table.definition().columns[usize::from(*column)];
            rows.push(vec![
                word(table.name()),
                Value::UInt(u64::from(!unique)),
                word(name.clone()),
                Value::UInt(place as u64 + 1),
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

/// Name, uniqueness and columns of each index, the primary key first.
pub fn indexes_of(table: &Table) -> Vec<(String, bool, Vec<u16>)> {
    let definition = table.definition();
    let mut indexes = vec![("PRIMARY".to_owned(), true, definition.primary_key.clone())];
    for index in &definition.indexes {
        indexes.push((index.name.clone(), index.kind == IndexKind::Unique, index.columns.clone()));
    }
    indexes
}
