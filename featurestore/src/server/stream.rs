//! Rows in a body without end: as lines of JSON, and what streams of other forms share.
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
pub(super) struct Totals {
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

    /// What the sender is told in the end.
    pub(super) fn answer(&self) -> Answer {
        let errors = self.failures.iter().map(|(line, error)| {
            serde_json::json!({
                "row": line, "code": error.code(), "reason": error.reason.text(), "message": error.message,
            })
        });
        let summary = serde_json::json!({
            "written": self.written, "older": self.older, "failures": self.failed, "errors": errors.collect::<Vec<_>>(),
        });
        let failed = usize::try_from(self.failed).unwrap_or(usize::MAX);
        Answer::json(summary.to_string()).with_failures(failed)
    }
}

/// First row of a batch, and what became of its rows.
type Written = Result<(u64, Vec<RowOutcome>)>;

/// Batches of a stream that are being written.
pub(super) struct UnderWay {
    tasks: JoinSet<Written>,
    most: usize,
    /// What all rows of all of them name, if that is the same.
    names: Option<Vec<String>>,
    /// Rows begun.
    rows: u64,
}

impl UnderWay {
    /// None yet. Without event time the order of the stream says which row counts, so there is one batch at a time.
    pub(super) fn new(writer: &GroupWriter) -> UnderWay {
        let most = if writer.group().definition.event_time.is_some() { BATCHES } else { 1 };
        UnderWay { tasks: JoinSet::new(), most, names: None, rows: 0 }
    }

    /// Waits until there is room for one more batch. Rows that name other features than those before wait for all of them:
    /// an older row that came later would be dropped with features that the newer one leaves alone.
    pub(super) async fn make_room(&mut self, names: Option<Vec<String>>, totals: &mut Totals) -> Result<()> {
        let alike = names.is_some() && names == self.names;
        let most = if alike { self.most } else { 1 };
        while self.tasks.len() >= most
            && let Some(done) = self.tasks.join_next().await
        {
            settle(done, totals)?;
        }
        self.names = names;
        Ok(())
    }

    /// Begins to write a batch; `write` gets the number of its first row.
    pub(super) fn begin<W: Future<Output = Written> + Send + 'static>(
        &mut self,
        rows: usize,
        write: impl FnOnce(u64) -> W,
    ) {
        self.tasks.spawn(write(self.rows));
        self.rows += rows as u64;
    }

    /// Waits for all.
    pub(super) async fn finish(mut self, totals: &mut Totals) -> Result<()> {
        while let Some(done) = self.tasks.join_next().await {
            settle(done, totals)?;
        }
        Ok(())
    }
}

/// `POST /feature_groups/{store}/{name}/{version}/stream`
pub(super) async fn stream(app: &Arc<App>, name: &Versioned, mut body: Body) -> Result<Answer> {
    let writer = Arc::new(app.store.writer(name).await?);
    let mut under_way = UnderWay::new(&writer);
    let mut totals = Totals::default();
    let mut rest: Vec<u8> = Vec::new();
    let mut rows: Vec<Result<Json>> = Vec::new();
    loop {
        let chunk = next_chunk(&mut body).await?;
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
                write_rows(app, &writer, &mut under_way, &mut totals, &mut rows, arrived).await?;
            }
        }
        rest.drain(..start);
        if rest.len() > LONGEST_LINE {
            let message = format!("a line has more than {LONGEST_LINE} bytes");
            return Err(FeatureError::new(Reason::TooLarge, message));
        }
        if !rows.is_empty() {
            write_rows(app, &writer, &mut under_way, &mut totals, &mut rows, arrived).await?;
        }
        if ended {
            break;
        }
    }
    under_way.finish(&mut totals).await?;
    Ok(totals.answer())
}

/// The next piece of the body; `None` at its end.
pub(super) async fn next_chunk(body: &mut Body) -> Result<Option<bytes::Bytes>> {
    let silent = |_| FeatureError::new(Reason::InvalidRequest, "nothing came for five minutes");
    tokio::time::timeout(PATIENCE, next_frame(body)).await.map_err(silent)?
}

async fn next_frame(body: &mut Body) -> Result<Option<bytes::Bytes>> {
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

/// Counts what a task has written.
fn settle(done: std::result::Result<Written, tokio::task::JoinError>, totals: &mut Totals) -> Result<()> {
    let failed = |error| FeatureError::new(Reason::Database, format!("a task ended: {error}"));
    let (first, outcomes) = done.map_err(failed)??;
    totals.add(first, outcomes);
    Ok(())
}

/// What all of these rows name, if that is the same.
fn names_of_all(rows: &[Result<Json>]) -> Option<Vec<String>> {
    let mut objects = rows.iter().filter_map(|row| row.as_ref().ok()?.as_object());
    let first = objects.next()?;
    objects.all(|object| object.keys().eq(first.keys())).then(|| first.keys().cloned().collect())
}

/// Writes rows in a task of their own, when there is room for one more.
async fn write_rows(
    app: &Arc<App>,
    writer: &Arc<GroupWriter>,
    under_way: &mut UnderWay,
    totals: &mut Totals,
    rows: &mut Vec<Result<Json>>,
    arrived: Instant,
) -> Result<()> {
    under_way.make_room(names_of_all(rows), totals).await?;
    let rows = std::mem::take(rows);
    let (app, writer) = (Arc::clone(app), Arc::clone(writer));
    under_way.begin(rows.len(), |first| async move {
        let outcomes = write_objects(&writer, &rows).await?;
        report_answer(&app, &writer, &outcomes);
        app.metrics.readable_after(&writer.group().definition.name, arrived.elapsed());
        Ok((first, outcomes))
    });
    Ok(())
}
