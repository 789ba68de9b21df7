//! Ranges of 100 rows of an ordered primary key: those of one owner, which lie in one partition, and neighbouring keys of the
//! scanned table, which lie all over the partitions.

use super::rows::Rows;
use crate::cases::BenchCluster;
use crate::workload::mix64;
use anyhow::{Context, Result, ensure};
use duet_client::{Client, ColumnType, Row, Table, TableDefinition, Value};
use std::time::{Duration, Instant};

/// Rows of a range.
pub(super) const RANGE_ROWS: u64 = 100;
/// Owners with so many rows each.
const OWNERS: u64 = 2_000;
/// Ranges under way at the same time.
pub(super) const CALLERS: u64 = 16;
/// Bytes of a row beside its key.
const VALUE_BYTES: u32 = 100;

/// Whose rows a range has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Neighbours {
    /// All of one owner.
    OfOwner,
    /// Keys that follow each other, in all partitions.
    InAllPartitions,
}

/// A table of owners with their rows, beside the table that is scanned.
pub(super) struct Ranges {
    owned: Table,
    scanned: Table,
    /// Rows of the scanned table.
    rows: u64,
    seconds: f64,
    seed: u64,
}

impl Ranges {
    /// Creates and loads the table of owners.
    pub(super) fn new(
        cluster: &mut BenchCluster,
        scanned: &Table,
        rows: u64,
        seconds: f64,
        seed: u64,
    ) -> Result<Self> {
        let owned = cluster.create_table(&definition()?)?;
        let row = |number: u64| {
            let (owner, item) = (number / RANGE_ROWS, number % RANGE_ROWS);
            let value = vec![(owner ^ item) as u8; VALUE_BYTES as usize];
            vec![Value::UInt(owner), Value::UInt(item), Value::Bytes(value)]
        };
        cluster.load(&owned, OWNERS * RANGE_ROWS, row, &mut |_| ())?;
        Ok(Self { owned, scanned: Table::clone(scanned), rows, seconds, seed })
    }

    /// Several callers read random ranges for a time. Returns how many were read; all of them are checked.
    pub(super) fn read(&self, cluster: &BenchCluster, round: u32, neighbours: Neighbours) -> Result<u64> {
        let end = Instant::now() + Duration::from_secs_f64(self.seconds);
        let seed = mix64(self.seed ^ mix64(u64::from(round)));
        cluster.runtime.block_on(async {
            let callers: Vec<_> = (0..CALLERS)
                .map(|caller| {
                    let (client, random) = (cluster.client.clone(), mix64(seed ^ caller));
                    match neighbours {
                        Neighbours::OfOwner => {
                            tokio::spawn(read_owners(client, Table::clone(&self.owned), random, end))
                        }
                        Neighbours::InAllPartitions => tokio::spawn(read_neighbours(
                            client,
                            Table::clone(&self.scanned),
                            self.rows,
                            random,
                            end,
                        )),
                    }
                })
                .collect();
            let mut read = 0;
            for caller in callers {
                read += caller.await.context("a caller has panicked")??;
            }
            Ok(read)
        })
    }
}

fn definition() -> Result<TableDefinition> {
    let builder = TableDefinition::builder("bench", "owned")
        .required("owner", ColumnType::BigIntUnsigned)
        .required("item", ColumnType::BigIntUnsigned)
        .required("value", ColumnType::Binary { bytes: VALUE_BYTES });
    let builder = builder.primary_key(["owner", "item"]).partition_key(["owner"]);
    builder.build().context("the definition of the table of owners")
}

async fn read_owners(client: Client, table: Table, mut random: u64, end: Instant) -> Result<u64> {
    let mut read = 0;
    while Instant::now() < end {
        random = mix64(random);
        let owner = random % OWNERS;
        let rows = client.range(&table).prefix(owner).ordered().rows().await?;
        let right = |(item, row): (u64, &Row)| {
            let value = row.value("value");
            row.value("owner") == Some(&Value::UInt(owner))
                && row.value("item") == Some(&Value::UInt(item))
                && matches!(value, Some(Value::Bytes(bytes)) if bytes[..] == [(owner ^ item) as u8; VALUE_BYTES as usize])
        };
        ensure!(
            rows.len() as u64 == RANGE_ROWS && (0..).zip(&rows).all(right),
            "the rows of owner {owner} came wrong: {} of them",
            rows.len()
        );
        read += 1;
    }
    Ok(read)
}

async fn read_neighbours(
    client: Client,
    table: Table,
    count: u64,
    mut random: u64,
    end: Instant,
) -> Result<u64> {
    let wanted = RANGE_ROWS.min(count);
    let mut read = 0;
    while Instant::now() < end {
        random = mix64(random);
        let from = random % (count - wanted + 1);
        let rows = client.range(&table).from(from).before(from + wanted).ordered().rows().await?;
        let right = |(key, row): (u64, &Row)| {
            let bytes = row.value("padding");
            row.value("id") == Some(&Value::UInt(key))
                && matches!(bytes, Some(Value::Bytes(bytes)) if Rows::is_padding(key, bytes))
        };
        ensure!(
            rows.len() as u64 == wanted && (from..).zip(&rows).all(right),
            "the {wanted} rows from {from} came wrong: {} of them",
            rows.len()
        );
        read += 1;
    }
    Ok(read)
}
