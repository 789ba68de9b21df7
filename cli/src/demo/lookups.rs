//! A short look-up benchmark; `duet bench keys` is the thorough one.

use anyhow::{Context, Result, ensure};
use duet_client::{Client, EncodedKey, Table};
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one measurement takes.
const TIME: Duration = Duration::from_millis(1_200);

/// What was measured.
#[derive(Clone, Debug)]
pub struct Lookups {
    /// Name for people.
    pub name: String,
    /// Rows found in a second.
    pub rows_per_second: f64,
    /// Median time of a request.
    pub median: Duration,
    /// 99th percentile of the time of a request.
    pub p99: Duration,
}

/// A stride that is odd and near the golden ratio visits the keys in an order without locality.
fn scattered(number: usize, length: usize) -> usize {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % length
}

/// Looks up rows by keys that are known to exist, `batch` of them in a request, from `tasks` tasks.
///
/// # Errors
/// The cluster does not answer, or a row is missing.
pub async fn measure(
    client: &Client,
    table: &Table,
    keys: &Arc<Vec<Vec<u8>>>,
    batch: usize,
    tasks: usize,
) -> Result<Lookups> {
    ensure!(!keys.is_empty(), "there are no keys to look up");
    let start = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let (client, table, keys) = (client.clone(), Table::clone(table), Arc::clone(keys));
        running.spawn(async move {
            let mut times = Histogram::<u64>::new(3)?;
            let (mut found, mut next) = (0_u64, task * 7_919);
            while start.elapsed() < TIME {
                let asked = Instant::now();
                let wanted =
                    (next..next + batch).map(|number| EncodedKey(&keys[scattered(number, keys.len())]));
                client.get_many_with(&table, wanted, |_, row| found += u64::from(row.is_some())).await?;
                times.record(asked.elapsed().as_nanos() as u64)?;
                next += batch;
            }
            anyhow::Ok((times, found))
        });
    }
    let (mut times, mut found) = (Histogram::<u64>::new(3)?, 0);
    while let Some(finished) = running.join_next().await {
        let (of_task, found_by_task) = finished.context("a look-up task ended")??;
        times.add(of_task)?;
        found += found_by_task;
    }
    let asked = times.len() * batch as u64;
    ensure!(found == asked, "{} of {asked} rows that exist were not found", asked - found);
    Ok(Lookups {
        name: match batch {
            1 => "one row at a time".to_owned(),
            _ => format!("batches of {batch}, {tasks} under way"),
        },
        rows_per_second: found as f64 / start.elapsed().as_secs_f64(),
        median: Duration::from_nanos(times.value_at_quantile(0.5)),
        p99: Duration::from_nanos(times.value_at_quantile(0.99)),
    })
}
