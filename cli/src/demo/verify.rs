//! Every row of a source is read back by its key and compared in every column.

use crate::import::rows::{BadRows, Converter, GoodRow};
use crate::import::source::Source;
use anyhow::{Context, Result};
use duet_client::{Client, RowView, Table, Value, ValueRef};
use indicatif::ProgressBar;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, block_in_place};

/// Rows of one request.
const BATCH_ROWS: usize = 128;
/// Requests under way at once.
const BATCHES: usize = 8;
/// Keys that are kept for the look-ups afterwards.
const SAMPLED_KEYS: usize = 65_536;

/// What a verification found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Rows that are equal in every column.
    pub equal: u64,
    /// Rows that are missing or differ, with their reasons.
    pub wrong: BadRows,
    /// How long it took.
    pub time: Duration,
    /// Encoded keys from all over the table.
    pub keys: Vec<Vec<u8>>,
}

/// Whether a column holds the expected value. Integers are equal by number, whether signed or not.
pub fn same(expected: &Value, found: &ValueRef<'_>) -> bool {
    match (expected, found) {
        (Value::Int(expected), ValueRef::UInt(found)) => u64::try_from(*expected) == Ok(*found),
        (Value::UInt(expected), ValueRef::Int(found)) => i64::try_from(*expected) == Ok(*found),
        (Value::Double(expected), ValueRef::Double(found)) => expected.to_bits() == found.to_bits(),
        (Value::Float(expected), ValueRef::Float(found)) => expected.to_bits() == found.to_bits(),
        (expected, found) => ValueRef::from(expected) == *found,
    }
}

/// Why a row is not the expected one.
fn difference(table: &Table, expected: &GoodRow, found: Option<RowView<'_>>) -> Option<String> {
    let Some(view) = found else { return Some("it is missing".to_owned()) };
    for (index, value) in expected.values.iter().enumerate() {
        let name = &table.definition().columns[index].name;
        match view.column(index) {
            Ok(found) if same(value, &found) => {}
            Ok(found) => return Some(format!("column '{name}' is {found} and should be {value}")),
            Err(error) => return Some(format!("column '{name}' cannot be read: {error}")),
        }
    }
    None
}

async fn compare(client: Client, table: Table, rows: Vec<GoodRow>) -> Result<(u64, Vec<(u64, String)>)> {
    let key = table.definition().primary_key.clone();
    let keys = rows.iter().map(|row| {
        key.iter().map(|index| ValueRef::from(&row.values[usize::from(*index)])).collect::<Vec<_>>()
    });
    let keys: Vec<_> = keys.collect();
    let (mut equal, mut wrong) = (0, Vec::new());
    client
        .get_many_with(&table, &keys, |index, found| match difference(&table, &rows[index], found) {
            None => equal += 1,
            Some(reason) => wrong.push((rows[index].number, reason)),
        })
        .await?;
    Ok((equal, wrong))
}

/// Reads every row of `source` from the table. `converter` is a fresh one for the table.
///
/// # Errors
/// The source cannot be read, or the cluster does not answer.
pub async fn verify(
    client: &Client,
    table: &Table,
    source: &Source,
    converter: &mut Converter,
    progress: &ProgressBar,
) -> Result<Verified> {
    let start = Instant::now();
    let mut verified = Verified::default();
    let every = source.rows().unwrap_or(0) as usize / SAMPLED_KEYS + 1;
    let mut under_way = JoinSet::new();
    for batch in source.batches()? {
        let batch = batch?;
        let mut unreadable = BadRows::default();
        let mut rows = block_in_place(|| converter.convert(&batch, &mut unreadable));
        for (row, reason) in unreadable.first {
            verified.wrong.add(row, reason);
        }
        for row in rows.iter().step_by(every) {
            let mut key = Vec::new();
            table.layout().encode_key(&converter.key_values(&row.values), &mut key)?;
            verified.keys.push(key);
        }
        while !rows.is_empty() {
            let rest = rows.split_off(BATCH_ROWS.min(rows.len()));
            let chunk = std::mem::replace(&mut rows, rest);
            if under_way.len() >= BATCHES
                && let Some(finished) = under_way.join_next().await
            {
                count(finished, &mut verified, progress)?;
            }
            under_way.spawn(compare(client.clone(), Table::clone(table), chunk));
        }
    }
    while let Some(finished) = under_way.join_next().await {
        count(finished, &mut verified, progress)?;
    }
    verified.time = start.elapsed();
    Ok(verified)
}

type Compared = Result<Result<(u64, Vec<(u64, String)>)>, tokio::task::JoinError>;

fn count(finished: Compared, verified: &mut Verified, progress: &ProgressBar) -> Result<()> {
    let (equal, wrong) = finished.context("a task of the verification ended")??;
    progress.inc(equal + wrong.len() as u64);
    verified.equal += equal;
    for (row, reason) in wrong {
        verified.wrong.add(row, reason);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_is_exact() {
        assert!(same(&Value::Int(5), &ValueRef::UInt(5)));
        assert!(!same(&Value::Int(-5), &ValueRef::UInt(5)));
        assert!(same(&Value::Double(f64::NAN), &ValueRef::Double(f64::NAN)));
        assert!(!same(&Value::Double(0.0), &ValueRef::Double(-0.0)));
        assert!(!same(&Value::Null, &ValueRef::Int(0)));
        assert!(same(&Value::Text("a".into()), &ValueRef::Text("a".into())));
        assert!(!same(&Value::Timestamp(1), &ValueRef::DateTime(1)));
    }
}
