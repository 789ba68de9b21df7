//! Rows that come in as JSON.

use super::App;
use super::answer::{Answer, write_failures};
use crate::json::{read_value, write_integer};
use crate::{FeatureError, GroupWriter, Reason, Result, RowOutcome};
use duet_client::Value;
use serde_json::Value as Json;

/// Writes rows of which some could not be read; these have failed already.
pub(super) async fn write(
    writer: &GroupWriter,
    columns: &[u16],
    rows: Vec<Result<Vec<Value>>>,
) -> Result<Vec<RowOutcome>> {
    let mut outcomes = Vec::with_capacity(rows.len());
    let (mut good, mut positions) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for row in rows {
        match row {
            Ok(values) => {
                positions.push(outcomes.len());
                good.push(values);
                outcomes.push(RowOutcome::Written);
            }
            Err(error) => outcomes.push(RowOutcome::Failed(error)),
        }
    }
    if !good.is_empty() {
        let report = writer.upsert(columns, &good).await?;
        for (position, outcome) in positions.into_iter().zip(report.outcomes) {
            outcomes[position] = outcome;
        }
    }
    Ok(outcomes)
}

/// Writes rows given as objects. Neighbours that name the same features are written together.
pub(super) async fn write_objects(writer: &GroupWriter, rows: &[Result<Json>]) -> Result<Vec<RowOutcome>> {
    let mut outcomes = Vec::with_capacity(rows.len());
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let names = names_of(first);
        let alike = rest.iter().take_while(|row| names_of(row) == names).count();
        let (alike, others) = rest.split_at(alike);
        rest = others;
        let written = match names {
            None => alike.iter().map(|row| RowOutcome::Failed(no_object(row))).collect(),
            Some(names) => write_alike(writer, &names, alike).await?,
        };
        outcomes.extend(written);
    }
    Ok(outcomes)
}

fn names_of(row: &Result<Json>) -> Option<Vec<&str>> {
    row.as_ref().ok()?.as_object().map(|object| object.keys().map(String::as_str).collect())
}

fn no_object(row: &Result<Json>) -> FeatureError {
    match row {
        Err(error) => error.clone(),
        Ok(_) => FeatureError::new(Reason::InvalidRequest, "the row is no object"),
    }
}

async fn write_alike(writer: &GroupWriter, names: &[&str], rows: &[Result<Json>]) -> Result<Vec<RowOutcome>> {
    let columns = match writer.columns(names.iter().copied()) {
        Ok(columns) => columns,
        Err(error) => return Ok(vec![RowOutcome::Failed(error); rows.len()]),
    };
    let definition = writer.group().table.definition();
    let read = |row: &Result<Json>| -> Result<Vec<Value>> {
        let object = row.as_ref().ok().and_then(Json::as_object).ok_or_else(|| no_object(row))?;
        let value = |(column, (name, value)): (&u16, (&String, &Json))| {
            read_value(name, definition.columns[usize::from(*column)].column_type, value)
        };
        columns.iter().zip(object).map(value).collect()
    };
    write(writer, &columns, rows.iter().map(read).collect()).await
}

/// `{"written":2,"older":1,"failures":1,"errors":[…]}`
pub(super) fn report_answer(app: &App, writer: &GroupWriter, outcomes: &[RowOutcome]) -> Answer {
    let mut out = Vec::with_capacity(128);
    let count = |like: RowOutcome| outcomes.iter().filter(|outcome| **outcome == like).count();
    let (written, older, missing) =
        (count(RowOutcome::Written), count(RowOutcome::Older), count(RowOutcome::NotFound));
    out.extend_from_slice(b"{\"written\":");
    write_integer(&mut out, written as i64);
    out.extend_from_slice(b",\"older\":");
    write_integer(&mut out, older as i64);
    if missing > 0 {
        out.extend_from_slice(b",\"notFound\":");
        write_integer(&mut out, missing as i64);
    }
    let failures = outcomes.iter().enumerate().filter_map(|(row, outcome)| match outcome {
        RowOutcome::Failed(error) => Some((row, error)),
        RowOutcome::Written | RowOutcome::Older | RowOutcome::NotFound => None,
    });
    let failed = write_failures(&mut out, failures);
    out.push(b'}');
    app.metrics.ingested(&writer.group().definition.name, written, older, failed);
    Answer::json(out).with_failures(failed)
}
