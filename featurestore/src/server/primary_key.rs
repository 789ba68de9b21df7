//! Rows of any table by primary key.

use super::answer::{Answer, write_error};
use super::hopsworks::check_count;
use super::{App, parse};
use crate::catalogue::SYSTEM_DATABASE;
use crate::json::{read_value, write_integer, write_text, write_value};
use crate::{FeatureError, Reason, Result};
use duet_client::{Batch, ErrorCode, RowView, Table, Value};
use serde::Deserialize;
use serde_json::Value as Json;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(default)]
    filters: Vec<Filter>,
    #[serde(default)]
    read_columns: Option<Vec<ReadColumn>>,
    #[serde(default)]
    operation_id: Option<String>,
}

#[derive(Deserialize)]
struct Filter {
    column: String,
    value: Json,
}

#[derive(Deserialize)]
struct ReadColumn {
    column: String,
}

#[derive(Deserialize)]
struct BatchRequest {
    operations: Vec<Operation>,
}

#[derive(Deserialize)]
struct Operation {
    #[serde(default)]
    method: Option<String>,
    #[serde(rename = "relative-url")]
    relative_url: String,
    body: Json,
}

/// A look-up ready to be read.
struct LookUp {
    columns: Vec<u16>,
    operation_id: Option<String>,
    table: Table,
    index: usize,
}

async fn prepare(
    app: &App,
    database: &str,
    table: &str,
    request: Request,
    batch: &mut Batch,
) -> Result<LookUp> {
    let no_table = || FeatureError::new(Reason::NotFound, format!("there is no table {database}.{table}"));
    if database == SYSTEM_DATABASE {
        return Err(no_table());
    }
    let found = app.store.client().table(&format!("{database}.{table}")).await;
    let table = found.map_err(|error| match error.is(ErrorCode::TableNotFound) {
        true => no_table(),
        false => error.into(),
    })?;
    let definition = table.definition();
    if request.filters.is_empty() {
        return Err(FeatureError::new(Reason::NoKey, "'filters' is empty"));
    }
    let mut key: Vec<Option<Value>> = vec![None; definition.primary_key.len()];
    for filter in &request.filters {
        let wrong = |what: &str| FeatureError::new(Reason::WrongKey, format!("'{}' {what}", filter.column));
        let column = definition.column_index(&filter.column);
        let part = column.and_then(|column| definition.primary_key.iter().position(|key| *key == column));
        let part = part.ok_or_else(|| wrong("is not of the primary key"))?;
        if filter.value.is_null() {
            return Err(wrong("is null"));
        }
        let column = &definition.columns[usize::from(definition.primary_key[part])];
        let value = read_value(&column.name, column.column_type, &filter.value)?;
        if key[part].replace(value).is_some() {
            return Err(wrong("is given twice"));
        }
    }
    let key: Option<Vec<Value>> = key.into_iter().collect();
    let key =
        key.ok_or_else(|| FeatureError::new(Reason::WrongKey, "a column of the primary key is missing"))?;
    let column = |read: &ReadColumn| {
        let missing = || FeatureError::new(Reason::FeatureMissing, format!("column '{}'", read.column));
        definition.column_index(&read.column).ok_or_else(missing)
    };
    let columns = match &request.read_columns {
        Some(columns) => columns.iter().map(column).collect::<Result<Vec<u16>>>()?,
        None => (0..definition.columns.len() as u16).collect(),
    };
    let index = batch.read(&table, key.as_slice())?;
    Ok(LookUp { columns, operation_id: request.operation_id, table: Table::clone(&table), index })
}

/// `{"operationId":"a","data":{"x":2}}`
fn write_row(out: &mut Vec<u8>, look_up: &LookUp, row: Option<RowView<'_>>) {
    out.push(b'{');
    if let Some(operation) = &look_up.operation_id {
        out.extend_from_slice(b"\"operationId\":");
        write_text(out, operation);
        out.push(b',');
    }
    out.extend_from_slice(b"\"data\":");
    let Some(row) = row else {
        out.extend_from_slice(b"null}");
        return;
    };
    out.push(b'{');
    for (position, column) in look_up.columns.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_text(out, &look_up.table.definition().columns[usize::from(*column)].name);
        out.push(b':');
        write_value(out, &row.column(usize::from(*column)).unwrap_or_default());
    }
    out.extend_from_slice(b"}}");
}

/// `POST /0.1.0/{db}/{table}/pk-read`
pub(super) async fn single(app: &App, database: &str, table: &str, bytes: &[u8]) -> Result<Answer> {
    let request: Request = parse(bytes)?;
    let mut batch = Batch::new();
    let look_up = prepare(app, database, table, request, &mut batch).await?;
    app.store.client().execute(&mut batch).await?;
    let row = batch.row(look_up.index)?;
    let mut out = Vec::with_capacity(256);
    write_row(&mut out, &look_up, row);
    Ok(Answer { status: if row.is_some() { 200 } else { 404 }, ..Answer::json(out) })
}

/// `POST /0.1.0/batch`
pub(super) async fn batch(app: &App, bytes: &[u8]) -> Result<Answer> {
    let request: BatchRequest = parse(bytes)?;
    check_count(app, request.operations.len())?;
    let mut batch = Batch::new();
    let mut look_ups = Vec::with_capacity(request.operations.len());
    for operation in request.operations {
        look_ups.push(prepare_operation(app, operation, &mut batch).await);
    }
    if !batch.is_empty() {
        app.store.client().execute(&mut batch).await?;
    }
    let mut out = Vec::with_capacity(64 + look_ups.len() * 128);
    let mut failures = 0;
    out.extend_from_slice(b"{\"result\":[");
    for (position, look_up) in look_ups.iter().enumerate() {
        out.extend_from_slice(if position > 0 { b",{\"code\":" } else { b"{\"code\":" });
        let row = look_up.as_ref().map_err(FeatureError::clone);
        match row.and_then(|look_up| Ok((look_up, batch.row(look_up.index)?))) {
            Ok((look_up, row)) => {
                let (code, message) = if row.is_some() { (200, "") } else { (404, "Not Found") };
                write_integer(&mut out, code);
                out.extend_from_slice(b",\"message\":");
                write_text(&mut out, message);
                out.extend_from_slice(b",\"body\":");
                write_row(&mut out, look_up, row);
            }
            Err(error) => {
                failures += 1;
                write_integer(&mut out, i64::from(error.status()));
                out.extend_from_slice(b",\"message\":");
                write_text(&mut out, &error.to_string());
                out.extend_from_slice(b",\"body\":{");
                write_error(&mut out, &error);
                out.push(b'}');
            }
        }
        out.push(b'}');
    }
    out.push(b']');
    if failures > 0 {
        out.extend_from_slice(b",\"failures\":");
        write_integer(&mut out, failures as i64);
    }
    out.push(b'}');
    Ok(Answer::json(out).with_failures(failures))
}

async fn prepare_operation(app: &App, operation: Operation, batch: &mut Batch) -> Result<LookUp> {
    let wrong = |message: String| FeatureError::new(Reason::InvalidRequest, message);
    if operation.method.as_deref().is_some_and(|method| !method.eq_ignore_ascii_case("POST")) {
        return Err(wrong("the method of an operation is POST".to_owned()));
    }
    let segments: Vec<&str> = operation.relative_url.trim_matches('/').split('/').collect();
    let [database, table, "pk-read"] = segments.as_slice() else {
        return Err(wrong(format!("'{}' is not database/table/pk-read", operation.relative_url)));
    };
    let request: Request =
        serde_json::from_value(operation.body).map_err(|error| wrong(error.to_string()))?;
    prepare(app, database, table, request, batch).await
}
