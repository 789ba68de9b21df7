//! Vectors and ingestion with the library in this process.

use super::groups::{Numbers, WRITE_ROWS};
use crate::pace::Pacer;
use crate::workload::mix64;
use anyhow::{Context, Result, ensure};
use duet_client::Value;
use duet_featurestore::{FeatureValue, PreparedView, ReadOptions};
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Vectors of a call in batches.
pub(super) const BATCH: usize = 100;
/// Calls in batches that are under way at once.
pub(super) const BATCH_CALLERS: u64 = 4;
/// Callers of single vectors.
pub(super) const SINGLE_CALLERS: u64 = 16;
/// Calls of a writer that are under way at once.
const WRITERS: u64 = 4;

/// A histogram of microseconds.
pub(super) fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000, 3).context("a histogram")
}

/// Callers that read random vectors for a time, `batch` of them in a call; vectors read, and times of calls.
pub(super) async fn read(
    view: &PreparedView,
    rows: u64,
    (callers, batch): (u64, usize),
    seconds: f64,
    seed: u64,
) -> Result<(u64, Histogram<u64>)> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let view = view.clone();
        tasks.spawn(async move {
            let (mut times, mut vectors, mut random) = (histogram()?, 0, mix64(seed ^ mix64(caller)));
            let mut keys: Vec<[Value; 1]> = vec![[Value::Null]; batch];
            while Instant::now() < end {
                for key in &mut keys {
                    random = mix64(random);
                    *key = [Value::Int((random % rows) as i64)];
                }
                let start = Instant::now();
                let read =
                    view.get_many(keys.iter().map(<[Value; 1]>::as_slice), &ReadOptions::default()).await?;
                times.saturating_record(start.elapsed().as_micros() as u64);
                for (number, key) in keys.iter().enumerate() {
                    check(&read.vector(number).context("no vector")?, key, view.features().len())?;
                }
                vectors += keys.len() as u64;
            }
            anyhow::Ok((vectors, times))
        });
    }
    let (mut vectors, mut times) = (0, histogram()?);
    while let Some(done) = tasks.join_next().await {
        let (read, of_caller) = done.context("a caller has panicked")??;
        vectors += read;
        times.add(of_caller).context("histograms of one kind")?;
    }
    Ok((vectors, times))
}

/// Looks at every value of a vector.
fn check(vector: &duet_featurestore::Vector<'_>, key: &[Value; 1], features: usize) -> Result<()> {
    let Value::Int(entity) = key[0] else { anyhow::bail!("a key is a whole number") };
    for feature in 0..features {
        let FeatureValue::Present(value) = vector.value(feature) else {
            anyhow::bail!("feature {feature} of entity {entity} is missing");
        };
        if feature > 1 {
            let same = value == duet_client::ValueRef::from(&super::groups::value(entity as u64, feature));
            ensure!(same, "feature {feature} of entity {entity} is {value:?}");
        }
    }
    Ok(())
}

/// Writes rows of the next event of all entities, several calls at once, for a time: as fast as it goes, or so many rows per
/// second. Rows written, and times from when a call was meant to begin until its rows can be read.
pub(super) async fn write(
    group: &Arc<Numbers>,
    rows: u64,
    event: &mut i64,
    seconds: f64,
    rate: Option<f64>,
) -> Result<(u64, Histogram<u64>)> {
    let begin = Instant::now();
    let length = Duration::from_secs_f64(seconds);
    let mut pacer = rate.map(|rate| Pacer::new(rate / WRITE_ROWS as f64, 0, 1));
    let (mut written, mut times, mut next) = (0, histogram()?, 0_u64);
    let mut under_way: JoinSet<Result<(u64, u64)>> = JoinSet::new();
    while begin.elapsed() < length {
        let intended = match &mut pacer {
            None => begin.elapsed(),
            Some(pacer) => {
                let intended = pacer.intended_start(0);
                pacer.issue(1);
                tokio::time::sleep_until((begin + intended).into()).await;
                intended
            }
        };
        if next == 0 {
            *event += 1;
        }
        let end = rows.min(next + WRITE_ROWS as u64);
        let batch = group.rows(next..end, *event);
        next = if end == rows { 0 } else { end };
        while under_way.len() as u64 >= WRITERS
            && let Some(done) = under_way.join_next().await
        {
            add(done, &mut written, &mut times)?;
        }
        let group = Arc::clone(group);
        under_way.spawn(async move {
            let report = group.writer.upsert(&group.columns, &batch).await?;
            let failure = report.failures().next();
            ensure!(failure.is_none(), "a row was refused: {failure:?}");
            ensure!(report.written() == batch.len(), "{} rows were older", report.older());
            let time = begin.elapsed().saturating_sub(intended);
            Ok((report.written() as u64, time.as_micros() as u64))
        });
    }
    while let Some(done) = under_way.join_next().await {
        add(done, &mut written, &mut times)?;
    }
    Ok((written, times))
}

fn add(
    done: std::result::Result<Result<(u64, u64)>, tokio::task::JoinError>,
    written: &mut u64,
    times: &mut Histogram<u64>,
) -> Result<()> {
    let (rows, time) = done.context("a writer has panicked")??;
    *written += rows;
    times.saturating_record_n(time.max(1), rows);
    Ok(())
}
