//! Groups of updates in different partitions, as one transaction or one by one, and the proof that all of them happened.

use crate::cases::key_partition;
use crate::workload::mix64;
use anyhow::{Context, Result, ensure};
use duet_client::{Assignment, Batch, Client, Expectation, Table, Value, ValueRef};
use std::borrow::Cow;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How a group is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Every update is committed by itself.
    OneByOne,
    /// All together or none.
    Transaction,
}

impl Way {
    pub(super) fn name(self) -> &'static str {
        match self {
            Way::OneByOne => "one by one",
            Way::Transaction => "transactions",
        }
    }
}

/// Writes groups.
pub(super) struct Groups {
    client: Client,
    table: Table,
    /// Keys of each partition.
    keys: Rc<Vec<Vec<u64>>>,
    updates: usize,
    seed: u64,
    /// Groups that every caller has written so far, the newest with its keys.
    newest: Vec<Option<(u64, Vec<u64>)>>,
    numbers: u64,
}

/// Keys of every partition that are used.
const KEYS_PER_PARTITION: usize = 1 << 16;
/// Bytes of a value column.
const COLUMN_BYTES: usize = 20;

impl Groups {
    pub(super) fn new(client: Client, table: Table, rows: u64, updates: usize, seed: u64) -> Result<Self> {
        let mut keys = vec![Vec::new(); usize::from(table.partitions())];
        ensure!(keys.len() >= updates, "the table has only {} partitions", keys.len());
        let wanted = keys.len() * KEYS_PER_PARTITION;
        // From all over the table.
        let step = (rows / wanted as u64).max(1);
        for number in 0..rows.min(wanted as u64) {
            let key = number * step;
            keys[usize::from(key_partition(&client, &table, key)?)].push(key);
        }
        ensure!(keys.iter().all(|keys| keys.len() >= 256), "too few rows for {} partitions", keys.len());
        let keys = Rc::new(keys);
        Ok(Self { client, table, keys, updates, seed, newest: Vec::new(), numbers: 0 })
    }

    /// `callers` callers write one group after the other for a time, each in rows of its own. Returns how many groups were
    /// written; an update that is refused is an error.
    pub(super) fn run(&mut self, runtime: &Runtime, way: Way, callers: u32, time: Duration) -> Result<u64> {
        let end = Instant::now() + time;
        let callers = callers as usize;
        self.newest.resize(callers, None);
        self.numbers += 1 << 32;
        let local = tokio::task::LocalSet::new();
        let tasks: Vec<_> = (0..callers)
            .map(|caller| {
                let random = mix64(self.seed ^ mix64(self.numbers + caller as u64));
                let caller = Caller {
                    client: self.client.clone(),
                    table: Table::clone(&self.table),
                    keys: Rc::clone(&self.keys),
                    updates: self.updates,
                    place: (caller, callers),
                    random,
                    number: self.numbers,
                };
                local.spawn_local(caller.run(way, end))
            })
            .collect();
        let mut done = 0;
        let newest = &mut self.newest;
        local.block_on(runtime, async {
            for (task, newest) in tasks.into_iter().zip(newest) {
                let (groups, last) = task.await.context("a caller has panicked")??;
                done += groups;
                *newest = last.or(newest.take());
            }
            anyhow::Ok(())
        })?;
        Ok(done)
    }

    /// All rows of the newest group of every caller must hold it.
    pub(super) fn check(&self, runtime: &Runtime) -> Result<()> {
        runtime.block_on(async {
            for (number, keys) in self.newest.iter().flatten() {
                for key in keys {
                    let row = self.client.get(&self.table, *key).await?.context("a row is gone")?;
                    let found = row.value("value0");
                    let right = column(*number);
                    ensure!(
                        matches!(found, Some(Value::Bytes(bytes)) if bytes[..] == right),
                        "row {key} of group {number} holds {found:?}"
                    );
                }
            }
            Ok(())
        })
    }
}

/// The value of a column of all rows of a group.
fn column(number: u64) -> [u8; COLUMN_BYTES] {
    let mut bytes = [7; COLUMN_BYTES];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// Who writes one group after the other.
struct Caller {
    client: Client,
    table: Table,
    keys: Rc<Vec<Vec<u64>>>,
    updates: usize,
    /// Its number, and how many there are: rows are dealt out, so that nobody waits for another's locks.
    place: (usize, usize),
    random: u64,
    number: u64,
}

impl Caller {
    async fn run(mut self, way: Way, end: Instant) -> Result<(u64, Option<(u64, Vec<u64>)>)> {
        let mut batch = Batch::new();
        let mut keys = Vec::new();
        let mut done = 0;
        while Instant::now() < end {
            self.number += 1;
            self.choose(&mut keys);
            batch.clear();
            let value = column(self.number << 12 | self.place.0 as u64);
            let set = Assignment::Set(ValueRef::Bytes(Cow::Borrowed(&value)));
            let assignments: Vec<_> = (1..=5).map(|column| (column, set.clone())).collect();
            for key in &keys {
                batch.update(&self.table, key, &assignments, Expectation::Any)?;
            }
            match way {
                Way::OneByOne => self.client.execute(&mut batch).await?,
                Way::Transaction => {
                    batch.commit()?;
                    let transaction = self.client.begin();
                    transaction.execute(&mut batch).await?;
                    ensure!(batch.ending(keys.len())?.committed, "a transaction was rolled back");
                    batch.transaction = None;
                }
            }
            for index in 0..keys.len() {
                batch.written(index).context("an update was refused")?;
            }
            done += 1;
        }
        let newest = (done > 0).then_some((self.number << 12 | self.place.0 as u64, keys));
        Ok((done, newest))
    }

    /// One row in each of some partitions.
    fn choose(&mut self, keys: &mut Vec<u64>) {
        keys.clear();
        self.random = mix64(self.random);
        let partitions = self.keys.len();
        let (caller, callers) = self.place;
        for number in 0..self.updates {
            let all = &self.keys[(self.random as usize + number) % partitions];
            let share = all.len() / callers;
            let place = mix64(self.random ^ number as u64) as usize % share.max(1);
            keys.push(all[(place * callers + caller) % all.len()]);
        }
    }
}
