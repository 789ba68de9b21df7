//! Rows into a table: batches of upserts, several under way at once.

use super::rows::{BadRows, Converter, GoodRow};
use super::source::Source;
use anyhow::{Context, Result, anyhow};
use duet_client::{Batch, Client, ClusterStatus, Expectation, NodeStatus, Table};
use indicatif::ProgressBar;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, block_in_place};

/// A batch that takes longer than this waits for something.
const LONG: Duration = Duration::from_secs(2);

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
    let writer = Writer {
        client: client.clone(),
        table: Table::clone(table),
        unit: source.unit(),
        progress: progress.clone(),
        told: Arc::default(),
    };
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
            under_way.spawn(writer.clone().write(chunk));
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

/// Writes the rows of one source.
#[derive(Clone)]
struct Writer {
    client: Client,
    table: Table,
    /// What the numbers of rows count.
    unit: &'static str,
    progress: ProgressBar,
    /// Whether somebody was told that the cluster keeps us waiting.
    told: Arc<AtomicBool>,
}

impl Writer {
    /// Writes rows in as few batches as their size allows.
    async fn write(self, rows: Vec<GoodRow>) -> Result<u64> {
        let mut batch = Batch::new();
        let mut numbers = Vec::with_capacity(rows.len());
        for row in &rows {
            if batch.upsert(&self.table, &row.values, Expectation::Any).is_err() && !batch.is_empty() {
                // A batch holds a limited number of bytes; a row alone always fits.
                self.flush(&mut batch, &mut numbers).await?;
                batch.upsert(&self.table, &row.values, Expectation::Any)?;
            }
            numbers.push(row.number);
        }
        self.flush(&mut batch, &mut numbers).await?;
        Ok(rows.len() as u64)
    }

    async fn flush(&self, batch: &mut Batch, numbers: &mut Vec<u64>) -> Result<()> {
        {
            let mut executed = pin!(self.client.execute(batch));
            tokio::select! {
                result = &mut executed => result,
                // It never ends.
                () = self.tell_of_waiting() => executed.await,
            }?;
        }
        if batch.error_count() > 0 {
            for (index, number) in numbers.iter().enumerate() {
                batch
                    .written(index)
                    .map_err(|error| anyhow!(error).context(format!("{} {number}", self.unit)))?;
            }
        }
        batch.clear();
        numbers.clear();
        Ok(())
    }

    /// Says once what the cluster waits for when a batch takes long; its operations are repeated meanwhile.
    async fn tell_of_waiting(&self) {
        tokio::time::sleep(LONG).await;
        if !self.told.swap(true, Ordering::Relaxed) {
            let reason = match tokio::time::timeout(LONG, self.client.status()).await {
                Ok(Ok(status)) => why_waiting(&status),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no node answers".to_owned(),
            };
            self.progress.suspend(|| eprintln!("waiting: {reason}"));
        }
        std::future::pending::<()>().await;
    }
}

/// What keeps a cluster from answering, as far as its state tells.
fn why_waiting(status: &ClusterStatus) -> String {
    if status.state.view.number == 0 {
        let (registered, wanted) = (status.state.nodes.len(), status.state.configuration.data_nodes);
        return format!("{registered} of {wanted} data nodes have registered");
    }
    let idle = status.nodes.iter().filter(|node| node.in_view && !(node.connected && node.serving));
    let idle: Vec<String> = idle.map(|node| node.node.to_string()).collect();
    // Writes have no use of the reserve, a small share of the limit.
    let full = |node: &&NodeStatus| node.memory_limit > 0 && node.memory_used >= node.memory_limit / 100 * 90;
    match status.nodes.iter().find(full) {
        _ if !idle.is_empty() => format!("data node {} does not serve", idle.join(" and ")),
        Some(node) => {
            format!(
                "data node {} has used up its memory; it takes more rows with a larger --memory",
                node.node
            )
        }
        None => "the data nodes have not answered yet".to_owned(),
    }
}
