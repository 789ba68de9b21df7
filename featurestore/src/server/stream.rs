//! Rows as lines of JSON in a body without end.
//!
//! The body is read only as fast as rows are written: whoever sends faster is held back by TCP.

use super::App;
use super::answer::Answer;
use super::rows::{report_answer, write_objects};
use crate::{FeatureError, GroupWriter, Reason, Result, RowOutcome, Versioned};
use axum::body::{Body, HttpBody};
use serde_json::Value as Json;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Longest line in bytes.
const LONGEST_LINE: usize = 1 << 20;
/// Most rows written at once.
const BATCH_ROWS: usize = 1_024;
/// Batches under way at once, where the event time says which row counts.
const BATCHES: usize = 4;
/// Longest silence of the sender.
const PATIENCE: Duration = Duration::from_secs(300);
/// Failures that are told one by one.
const TOLD: usize = 10;

/// What became of the rows so far.
#[derive(Default)]
struct Totals {
    written: usize,
    older: usize,
    failures: Vec<(u64, FeatureError)>,
    failed: u64,
}

impl Totals {
    fn add(&mut self, first_line: u64, outcomes: Vec<RowOutcome>) {
        for (line, outcome) in (first_line..).zip(outcomes) {
            match outcome {
                RowOutcome::Written => self.written += 1,
                RowOutcome::Older => self.older += 1,
                RowOutcome::NotFound => {}
                RowOutcome::Failed(error) => {
                    self.failed += 1;
                    if self.failures.len() < TOLD {
                        self.failures.push((line, error));
                    }
                }
            }
        }
    }
}

/// `POST /feature_groups/{store}/{name}/{version}/stream`
pub(super) async fn stream(app: &Arc<App>, name: &Versioned, mut body: Body) -> Result<Answer> {
    let writer = Arc::new(app.store.writer(name).await?);
    let batches = if writer.group().definition.event_time.is_some() { BATCHES } else { 1 };
    let mut under_way: JoinSet<Result<(u64, Vec<RowOutcome>)>> = JoinSet::new();
    let mut totals = Totals::default();
    let mut rest: Vec<u8> = Vec::new();
    let mut lines = 0;
    let mut rows: Vec<Result<Json>> = Vec::new();
    loop {
        let chunk = match tokio::time::timeout(PATIENCE, next_chunk(&mut body)).await {
            Ok(chunk) => chunk?,
            Err(_) => return Err(FeatureError::new(Reason::InvalidRequest, "nothing came for five minutes")),
        };
        let arrived = Instant::now();
        let ended = chunk.is_none();
        rest.extend_from_slice(&chunk.unwrap_or_default());
        if ended && !rest.is_empty() {
            rest.push(b'\n');
        }
        let mut start = 0;
        while let Some(length) = rest[start..].iter().position(|byte| *byte == b'\n') {
            let line = rest[start..start + length].trim_ascii();
            start += length + 1;
            let parsed = serde_json::from_slice(line);
            let wrong =
                |error: serde_json::Error| FeatureError::new(Reason::InvalidRequest, error.to_string());
            if !line.is_empty() {
                rows.push(parsed.map_err(wrong));
            }
            if rows.len() >= BATCH_ROWS {
                spawn(app, &writer, &mut under_way, batches, &mut totals, (&mut lines, &mut rows), arrived)
                    .await?;
            }
        }
        rest.drain(..start);
        if rest.len() > LONGEST_LINE {
            let message = format!("a line has more than {LONGEST_LINE} bytes");
            return Err(FeatureError::new(Reason::TooLarge, message));
        }
        if !rows.is_empty() {
            spawn(app, &writer, &mut under_way, batches, &mut totals, (&mut lines, &mut rows), arrived)
                .await?;
        }
        if ended {
            break;
        }
    }
    while let Some(done) = under_way.join_next().await {
        settle(done, &mut totals)?;
    }
    let summary = serde_json::json!({
        "written": totals.written,
        "older": totals.older,
        "failures": totals.failed,
        "errors": totals.failures.iter().map(|(line, error)| serde_json::json!({
            "row": line, "code": error.code(), "reason": error.reason.text(), "message": error.message,
        })).collect::<Vec<_>>(),
    });
    Ok(Answer::json(summary.to_string()).with_failures(usize::try_from(totals.failed).unwrap_or(usize::MAX)))
}

/// The next piece of the body; `None` at its end.
async fn next_chunk(body: &mut Body) -> Result<Option<bytes::Bytes>> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                // Trailers say nothing that we want to know.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => {
                return Err(FeatureError::new(
                    Reason::InvalidRequest,
                    format!("the body broke off: {error}"),
                ));
            }
        }
    }
}

fn settle(
    done: std::result::Result<Result<(u64, Vec<RowOutcome>)>, tokio::task::JoinError>,
    totals: &mut Totals,
) -> Result<()> {
    let failed = |error| FeatureError::new(Reason::Database, format!("a task ended: {error}"));
    let (first, outcomes) = done.map_err(failed)??;
    totals.add(first, outcomes);
    Ok(())
}

/// Writes rows in a task of their own, when there is room for one more.
async fn spawn(
    app: &Arc<App>,
    writer: &Arc<GroupWriter>,
    under_way: &mut JoinSet<Result<(u64, Vec<RowOutcome>)>>,
    batches: usize,
    totals: &mut Totals,
    (lines, rows): (&mut u64, &mut Vec<Result<Json>>),
    arrived: Instant,
) -> Result<()> {
    while under_way.len() >= batches
        && let Some(done) = under_way.join_next().await
    {
        settle(done, totals)?;
    }
    let rows = std::mem::take(rows);
    let first = *lines;
    *lines += rows.len() as u64;
    let (app, writer) = (Arc::clone(app), Arc::clone(writer));
    under_way.spawn(async move {
        let outcomes = write_objects(&writer, &rows).await?;
        report_answer(&app, &writer, &outcomes);
        app.metrics.readable_after(&writer.group().definition.name, arrived.elapsed());
        Ok((first, outcomes))
    });
    Ok(())
}
