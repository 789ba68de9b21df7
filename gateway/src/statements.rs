//! Statements that are not about rows: transactions, variables, definitions.

use crate::catalog::DROP_PATIENCE;
use crate::error::{Result, SqlError, not_supported};
use crate::execute::insert::duplicate;
use crate::execute::transaction::unknown_savepoint;
use crate::expression::{Environment, Scope, compile};
use crate::nested;
use crate::plan::character_sets::{check_character_set, check_collation};
use crate::plan::{column_definition, free_name, key_columns, new_table, table_name};
use crate::processes::Ending;
use crate::session::{Outcome, Session};
use crate::show::Filter;
use crate::value::compare::exact;
use crate::value::format::text;
use crate::wire::results::Done;
use duet_client::{ErrorCode, IndexKind, Value};
use duet_gateway_wire::requests::Request;
use sqlparser::ast::{
    AlterTable, AlterTableOperation, AnalyzeFormat, AnalyzeFormatKind, LockTable, LockTableType, ObjectName,
    ObjectType, ShowStatementFilter, Statement, TransactionAccessMode, TransactionIsolationLevel,
    TransactionMode, Truncate, Use,
};
use std::sync::Arc;
use std::time::Duration;

/// How long a client waits for an index; one that is not complete by then is built all the same.
const BUILD_WITHIN: Duration = Duration::from_secs(3_600);
/// How long TRUNCATE waits for transactions that have changed the table: without it the table would be gone.
const TRUNCATE_PATIENCE: Duration = Duration::from_secs(3_600);

/// Executes a statement that has no plan.
///
/// # Errors
/// Those of the statement; 1235 for what is not supported.
pub async fn execute(session: &mut Session, statement: &Statement, parameters: &[Value]) -> Result<Outcome> {
    match statement {
        Statement::StartTransaction { modes, .. } => {
            check_modes(modes)?;
            session.begin().await?;
            Ok(Session::nothing())
        }
        Statement::Commit { chain: false, .. } => {
            session.commit().await?;
            Ok(Session::nothing())
        }
        Statement::Rollback { chain: false, savepoint: None } => {
            session.rollback().await;
            Ok(Session::nothing())
        }
        Statement::Savepoint { name } => {
            session.ready_for_rows()?;
            // Without a transaction there is nothing that could be undone, and MySQL says nothing.
            if let Some(transaction) = session.open_transaction()? {
                transaction.set_savepoint(&name.value).await?;
            }
            Ok(Session::nothing())
        }
        Statement::ReleaseSavepoint { name } => {
            let transaction = session.open_transaction()?.ok_or_else(|| unknown_savepoint(&name.value))?;
            transaction.release_savepoint(&name.value)?;
            Ok(Session::nothing())
        }
        Statement::Rollback { chain: false, savepoint: Some(name) } => {
            let catalog = Arc::clone(&session.catalog);
            let transaction = session.open_transaction()?.ok_or_else(|| unknown_savepoint(&name.value))?;
            transaction.roll_back_to(&name.value, &catalog).await?;
            Ok(Session::nothing())
        }
        Statement::Set(set) => crate::assign::set_variables(session, set, parameters).await,
        Statement::Use(target) => {
            let (Use::Object(name) | Use::Database(name) | Use::Schema(name)) = target else {
                return not_supported("this form of USE");
            };
            let (_, name) = table_name(name)?;
            session.use_database(&name).await?;
            Ok(Session::nothing())
        }
        Statement::CreateDatabase { .. } | Statement::CreateSchema { .. } => {
            not_supported("this form of CREATE DATABASE")
        }
        Statement::LockTables { tables } => lock_tables(session, tables).await,
        // Nothing is locked.
        Statement::UnlockTables => Ok(Session::nothing()),
        Statement::CreateTable(create) => {
            let (database, name) = table_name(&create.name)?;
            let database = session.database(database.as_deref())?;
            session.before_definition(&database).await?;
            session.catalog.check_database(&database).await?;
            let mut new = new_table(create, &database, &name)?;
            let warnings = std::mem::take(&mut new.warnings);
            match session.catalog.create_table(new).await {
                Err(error) if error.code == 1_050 && create.if_not_exists => session.note(error),
                other => other?,
            }
            warnings.into_iter().for_each(|warning| session.warn(warning));
            Ok(Session::nothing())
        }
        Statement::Drop { object_type, if_exists, names, temporary: false, table, .. } => {
            drop_objects(session, *object_type, *if_exists, names, table.as_ref()).await
        }
        Statement::Truncate(truncate) => truncate_tables(session, truncate).await,
        Statement::AlterTable(alter) => alter_table(session, alter).await,
        Statement::CreateIndex(create) => {
            let plain = create.include.is_empty() && create.with.is_empty() && create.predicate.is_none();
            let Some(name) = &create.name else { return not_supported("indexes without a name") };
            if !plain {
                return not_supported("INCLUDE, WITH and WHERE of an index");
            }
            let (_, index) = table_name(name)?;
            let columns = key_columns(&create.columns)?;
            let kind = if create.unique { IndexKind::Unique } else { IndexKind::Ordered };
            create_index(session, &create.table_name, Some(&index), kind, &columns).await
        }
        Statement::Explain {
            format: Some(AnalyzeFormatKind::Keyword(format) | AnalyzeFormatKind::Assignment(format)),
            ..
        } if !matches!(format, AnalyzeFormat::TREE) => {
            not_supported(&format!("EXPLAIN FORMAT={format}; FORMAT=TREE is what EXPLAIN gives"))
        }
        Statement::Explain { statement, analyze: false, .. } => {
            // Planning a statement may plan one within it, which explains nothing.
            Box::pin(crate::query::explain::explain(session, statement, parameters)).await
        }
        other => match crate::show::execute(session, other, parameters).await? {
            Some(outcome) => Ok(outcome),
            None => Session::unknown(other),
        },
    }
}

/// Executes a statement that the parser of SQL does not know.
///
/// # Errors
/// Those of the statement; 1235 for what is not supported.
pub async fn request(session: &mut Session, request: &Request, parameters: &[Value]) -> Result<Outcome> {
    match request {
        Request::Show(subject, filter) => {
            let filter = Filter { asked: filter.as_deref(), parameters };
            crate::show::subject(session, subject, filter).await
        }
        Request::Describe((database, table), column) => {
            let database = session.database(database.as_deref())?;
            let asked = ShowStatementFilter::Like(column.clone());
            let filter = Filter { asked: Some(&asked), parameters };
            crate::show::describe_named(session, &database, table, false, filter).await
        }
        Request::CreateDatabase { if_not_exists, name, character_set, collation } => {
            let mut warnings = Vec::new();
            if let Some(name) = character_set {
                check_character_set(name, &mut warnings)?;
            }
            if let Some(name) = collation {
                check_collation(name, &mut warnings)?;
            }
            let created = create_database(session, name, *if_not_exists).await?;
            warnings.into_iter().for_each(|warning| session.warn(warning));
            Ok(created)
        }
        Request::SwitchKeys((database, name)) => {
            let database = session.database(database.as_deref())?;
            session.before_definition(&database).await?;
            session.catalog.table(&database, name).await?;
            let message = format!("Table storage engine for '{name}' doesn't have this option");
            session.note(SqlError { code: 1_031, state: "HY000", message });
            Ok(Session::nothing())
        }
        Request::Snapshot => not_supported(
            "START TRANSACTION WITH CONSISTENT SNAPSHOT; mysqldump needs --skip-lock-tables in place of --single-transaction",
        ),
        Request::Kill { only_query, number } => {
            let number = compile(number, &mut Scope::empty("field list"))?;
            let number = number.evaluate(&Environment::new(parameters, &session.facts))?;
            let ending = if *only_query { Ending::Query } else { Ending::Connection };
            let known =
                exact(&number).and_then(|(number, scale)| u64::try_from(number).ok().filter(|_| scale == 0));
            let Some(known) = known else {
                return Err(SqlError::no_such_connection(format!("Unknown thread id: {}", text(&number))));
            };
            session.kill(known, ending)?;
            Ok(Session::nothing())
        }
        Request::SelectInto(names, query) => {
            crate::assign::select_into(session, names, query, parameters).await
        }
        Request::Refused(what) => not_supported(what),
    }
}

/// There are no locks of tables. What a dump asks for when it is read back is only to be faster by them, and goes on without; others
/// rely on them.
async fn lock_tables(session: &mut Session, tables: &[LockTable]) -> Result<Outcome> {
    let writes = tables.iter().all(|table| matches!(table.lock_type, LockTableType::Write { .. }));
    let checks = session.facts.variables.get("unique_checks")?;
    if writes && checks == Value::Int(0) {
        let text = "LOCK TABLES locks nothing here; with unique_checks = 0 it is taken for a part of a dump";
        // As in MySQL: what follows is outside of the transaction that was open.
        session.commit().await?;
        session.warn(SqlError::not_supported(text));
        return Ok(Session::nothing());
    }
    not_supported(
        "LOCK TABLES, as there are no locks of tables; mysqldump needs --skip-lock-tables, or --skip-add-locks for what it writes",
    )
}

/// Whether a statement may end at any place: one that only reads, or that waits for an index which the cluster builds by itself.
pub fn may_be_killed(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Query(_)
            | Statement::CreateIndex(_)
            | Statement::AlterTable(_)
            | Statement::ShowDatabases { .. }
            | Statement::ShowTables { .. }
            | Statement::ShowColumns { .. }
    )
}

/// What START TRANSACTION and SET TRANSACTION ask for is so.
///
/// # Errors
/// 1235 where it is not.
pub fn check_modes(modes: &[TransactionMode]) -> Result<()> {
    for mode in modes {
        match mode {
            TransactionMode::IsolationLevel(
                TransactionIsolationLevel::ReadCommitted | TransactionIsolationLevel::ReadUncommitted,
            )
            | TransactionMode::AccessMode(TransactionAccessMode::ReadWrite) => {}
            TransactionMode::IsolationLevel(_) => {
                return not_supported(
                    "isolation levels other than READ COMMITTED (as mysqldump --single-transaction asks for; it needs --skip-lock-tables)",
                );
            }
            TransactionMode::AccessMode(TransactionAccessMode::ReadOnly) => {
                return not_supported("read-only transactions");
            }
        }
    }
    Ok(())
}

async fn create_database(session: &mut Session, name: &str, if_not_exists: bool) -> Result<Outcome> {
    session.before_definition(name).await?;
    if !session.catalog.create_database(name).await? {
        let error = SqlError::database_exists(format!("Can't create database '{name}'; database exists"));
        if !if_not_exists {
            return Err(error);
        }
        session.note(error);
    }
    Ok(Outcome::Done(Done { affected: 1, ..Done::default() }))
}

async fn drop_objects(
    session: &mut Session,
    kind: ObjectType,
    if_exists: bool,
    names: &[ObjectName],
    table: Option<&ObjectName>,
) -> Result<Outcome> {
    match kind {
        ObjectType::Table => {
            let (mut missing, mut tables) = (Vec::new(), Vec::new());
            for name in names {
                let (database, name) = table_name(name)?;
                let database = session.database(database.as_deref())?;
                session.before_definition(&database).await?;
                match session.catalog.table(&database, &name).await {
                    Ok(table) if tables.iter().any(|other| Arc::ptr_eq(other, &table)) => {
                        let message = format!("Not unique table/alias: '{name}'");
                        return Err(SqlError { code: 1_066, state: "42000", message });
                    }
                    Ok(table) => tables.push(table),
                    Err(error) if error.code == 1_146 => missing.push(format!("{database}.{name}")),
                    Err(error) => return Err(error),
                }
            }
            // None where one is missing.
            if missing.is_empty() || if_exists {
                for table in tables {
                    session.catalog.drop_table(&table, DROP_PATIENCE).await?;
                }
            }
            if !missing.is_empty() {
                let error = SqlError::unknown_table_to_drop(format!("Unknown table '{}'", missing.join(",")));
                if !if_exists {
                    return Err(error);
                }
                session.note(error);
            }
            Ok(Session::nothing())
        }
        ObjectType::Database | ObjectType::Schema => {
            let [name] = names else { return not_supported("several databases in one statement") };
            let (_, name) = table_name(name)?;
            session.before_definition(&name).await?;
            if !session.catalog.databases().await?.contains(&name) {
                let error = SqlError::no_database_to_drop(format!(
                    "Can't drop database '{name}'; database doesn't exist"
                ));
                if !if_exists {
                    return Err(error);
                }
                session.note(error);
                return Ok(Session::nothing());
            }
            let affected = session.catalog.drop_database(&name).await?;
            if session.facts.database.as_deref() == Some(name.as_str()) {
                session.facts.database = None;
            }
            Ok(Outcome::Done(Done { affected, ..Done::default() }))
        }
        ObjectType::Index => {
            let ([name], Some(table)) = (names, table) else {
                return not_supported("DROP INDEX without a table");
            };
            let (_, index) = table_name(name)?;
            drop_index(session, table, &index).await
        }
        other => not_supported(&format!("DROP {other}")),
    }
}

async fn truncate_tables(session: &mut Session, truncate: &Truncate) -> Result<Outcome> {
    let [target] = truncate.table_names.as_slice() else {
        return not_supported("TRUNCATE of several tables");
    };
    if truncate.partitions.is_some() {
        return not_supported("TRUNCATE of partitions");
    }
    let (database, name) = table_name(&target.name)?;
    let database = session.database(database.as_deref())?;
    session.before_definition(&database).await?;
    let table = session.catalog.table(&database, &name).await?;
    let sequence = session.catalog.sequence(&table).await?;
    let new = crate::plan::NewTable {
        definition: table.definition().clone(),
        auto_increment: sequence.map(|sequence| (sequence.column, 1)),
        warnings: Vec::new(),
    };
    // Also if this statement is killed meanwhile: once the table is being dropped, only this knows what it was.
    let catalog = Arc::clone(&session.catalog);
    let truncated = tokio::spawn(async move {
        catalog.drop_table(&table, TRUNCATE_PATIENCE).await?;
        catalog.create_table(new).await
    });
    truncated.await.map_err(|error| SqlError::other(format!("TRUNCATE has failed: {error}")))??;
    Ok(Session::nothing())
}

async fn alter_table(session: &mut Session, alter: &AlterTable) -> Result<Outcome> {
    let (database, name) = table_name(&alter.name)?;
    let database = session.database(database.as_deref())?;
    session.before_definition(&database).await?;
    // How it is to be done is up to us.
    let mut changes = alter.operations.iter().filter(|operation| {
        !matches!(operation, AlterTableOperation::Algorithm { .. } | AlterTableOperation::Lock { .. })
    });
    let Some(change) = changes.next() else { return Ok(Session::nothing()) };
    if changes.next().is_some() {
        // Each is made for itself: none is made where not all can be.
        return not_supported("several changes in one ALTER TABLE");
    }
    match change {
        AlterTableOperation::AddColumn { if_not_exists, column_def, column_position: None, .. } => {
            let table = session.catalog.table(&database, &name).await?;
            let mut warnings = Vec::new();
            let column = column_definition(column_def, &mut warnings)?;
            if table.definition().column_index(&column.name).is_some() {
                let error = SqlError::duplicate_column(format!("Duplicate column name '{}'", column.name));
                if !if_not_exists {
                    return Err(error);
                }
                session.note(error);
                return Ok(Session::nothing());
            }
            let client = session.catalog.client().clone();
            client.add_column(&table, column).await?;
            warnings.into_iter().for_each(|warning| session.warn(warning));
        }
        AlterTableOperation::AddConstraint {
            constraint: sqlparser::ast::TableConstraint::Index(index),
            ..
        } => {
            let columns = key_columns(&index.columns)?;
            let index_name = index.name.as_ref().map(|name| name.value.as_str());
            create_index(session, &alter.name, index_name, IndexKind::Ordered, &columns).await?;
        }
        AlterTableOperation::AddConstraint {
            constraint: sqlparser::ast::TableConstraint::Unique(unique),
            ..
        } => {
            let columns = key_columns(&unique.columns)?;
            let index_name = unique.index_name.as_ref().or(unique.name.as_ref());
            let index_name = index_name.map(|name| name.value.as_str());
            create_index(session, &alter.name, index_name, IndexKind::Unique, &columns).await?;
        }
        AlterTableOperation::DropIndex { name } => {
            drop_index(session, &alter.name, &name.value).await?;
        }
        other => {
            let shown: String = other.to_string().chars().take(60).collect();
            return not_supported(&format!("ALTER TABLE … {shown}"));
        }
    }
    Ok(Session::nothing())
}

async fn create_index(
    session: &mut Session,
    table: &ObjectName,
    index: Option<&str>,
    kind: IndexKind,
    columns: &[String],
) -> Result<Outcome> {
    let (database, name) = table_name(table)?;
    let database = session.database(database.as_deref())?;
    session.before_definition(&database).await?;
    let table = session.catalog.table(&database, &name).await?;
    let definition = table.definition();
    let index = match index {
        Some(name) => name.to_owned(),
        None => {
            let names: Vec<String> = definition.indexes.iter().map(|known| known.name.clone()).collect();
            free_name(&columns[0], &names)
        }
    };
    if definition.indexes.iter().any(|known| known.name.eq_ignore_ascii_case(&index)) {
        return Err(SqlError::duplicate_index(format!("Duplicate key name '{index}'")));
    }
    for column in columns {
        if definition.column_index(column).is_none() {
            return Err(SqlError::unknown_key_column(format!(
                "Key column '{column}' doesn't exist in table"
            )));
        }
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let client = session.catalog.client().clone();
    match client.create_index(&table, &index, kind, &columns, BUILD_WITHIN).await {
        Ok(_) => Ok(Session::nothing()),
        Err(error) if error.is(ErrorCode::UniqueViolation) || error.is(ErrorCode::DuplicateKey) => {
            let error = SqlError::from(error);
            let values = nested::first_duplicate(session, &table, &columns).await;
            Err(values.ok().flatten().map_or(error, |values| duplicate(&table, &index, &values)))
        }
        Err(error) => Err(error.into()),
    }
}

async fn drop_index(session: &mut Session, table: &ObjectName, index: &str) -> Result<Outcome> {
    let (database, name) = table_name(table)?;
    let database = session.database(database.as_deref())?;
    session.before_definition(&database).await?;
    let table = session.catalog.table(&database, &name).await?;
    let Some(known) = table.definition().indexes.iter().find(|known| known.name.eq_ignore_ascii_case(index))
    else {
        return Err(SqlError::cannot_drop(format!("Can't DROP '{index}'; check that column/key exists")));
    };
    let client = session.catalog.client().clone();
    client.drop_index(&table, &known.name).await?;
    Ok(Session::nothing())
}
