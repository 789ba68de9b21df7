//! Rows into a table: batches of upserts, several under way at once.

use super::rows::{BadRows, Converter, GoodRow};
use super::source::Source;
use anyhow::{Context, Result, anyhow};
use duet_client::{Batch, Client, Expectation, Table};
use indicatif::ProgressBar;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, block_in_place};

/// How rows are sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Batches under way at once.
    pub batches: usize,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { batch_rows: 1024, batches: 4 }
    }
}

/// What was loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Rows written.
    pub rows: u64,
    /// Rows left out.
    pub bad: BadRows,
    /// How long it took.
    pub time: Duration,
}

impl Loaded {
    /// Rows written in a second.
    pub fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

/// Writes all rows of a source that fit; repeating it is harmless. `progress` counts rows.
///
/// # Errors
/// The file cannot be read, or a write failed; the sentence says how many rows had been written.
pub async fn load(
    client: &Client,
    table: &Table,
    source: &Source,
    converter: &mut Converter,
    pace: Pace,
    progress: &ProgressBar,
) -> Result<Loaded> {
    let start = Instant::now();
    let mut loaded = Loaded { rows: 0, bad: BadRows::default(), time: Duration::ZERO };
    let mut under_way = JoinSet::new();
    let mut batches = source.batches()?;
    let mut problem = None;
    'file: while let Some(batch) = block_in_place(|| batches.next()) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                problem = Some(error);
                break;
            }
        };
        let mut rows = block_in_place(|| converter.convert(&batch, &mut loaded.bad));
        progress.inc((batch.rows() - rows.len()) as u64);
        while !rows.is_empty() {
            let rest = rows.split_off(pace.batch_rows.min(rows.len()));
            let chunk = std::mem::replace(&mut rows, rest);
            if under_way.len() >= pace.batches.max(1)
                && let Some(finished) = under_way.join_next().await
                && let Err(error) = count(finished, &mut loaded, progress)
            {
                problem = Some(error);
                break 'file;
            }
            under_way.spawn(write(client.clone(), Table::clone(table), chunk, source.unit()));
        }
    }
    while let Some(finished) = under_way.join_next().await {
        if let Err(error) = count(finished, &mut loaded, progress) {
            problem.get_or_insert(error);
        }
    }
    loaded.time = start.elapsed();
    match problem {
        None => Ok(loaded),
        Some(error) => Err(error.context(format!("stopped after {} rows", loaded.rows))),
    }
}

fn count(
    finished: Result<Result<u64>, tokio::task::JoinError>,
    loaded: &mut Loaded,
    progress: &ProgressBar,
) -> Result<()> {
    let rows = finished.context("a task of the import ended")??;
    loaded.rows += rows;
    progress.inc(rows);
    Ok(())
}

/// Writes rows in as few batches as their size allows.
async fn write(client: Client, table: Table, rows: Vec<GoodRow>, unit: &'static str) -> Result<u64> {
    let mut batch = Batch::new();
    let mut numbers = Vec::with_capacity(rows.len());
    for row in &rows {
        if batch.upsert(&table, &row.values, Expectation::Any).is_err() && !batch.is_empty() {
            // A batch holds a limited number of bytes; a row alone always fits.
            flush(&client, &mut batch, &mut numbers, unit).await?;
            batch.upsert(&table, &row.values, Expectation::Any)?;
        }
        numbers.push(row.number);
    }
    flush(&client, &mut batch, &mut numbers, unit).await?;
    Ok(rows.len() as u64)
}

async fn flush(client: &Client, batch: &mut Batch, numbers: &mut Vec<u64>, unit: &str) -> Result<()> {
    client.execute(batch).await?;
    if batch.error_count() > 0 {
        for (index, number) in numbers.iter().enumerate() {
            batch.written(index).map_err(|error| anyhow!(error).context(format!("{unit} {number}")))?;
        }
    }
    batch.clear();
    numbers.clear();
    Ok(())
}
