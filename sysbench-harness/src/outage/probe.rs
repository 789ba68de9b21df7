//! Clients that read and increment keys every millisecond, measure the gaps between answers, and judge every answer.
//!
//! Every key has one writer, so its value must be a number that the writer can account for: at least what was acknowledged before an
//! operation began, at most that and what may have happened besides (the increment under way, and those whose outcome nobody knows).

use anyhow::{Context, Result, bail, ensure};
use duet_client::{Client, ErrorCode, Table, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// Time between two probes of a key, if the first one is answered by then.
pub const INTERVAL: Duration = Duration::from_millis(1);
/// The column that is incremented.
pub const COUNT: &str = "count";
/// Longest wait for answers; operations end after five seconds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// In which part of a run a gap ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// All is well.
    Before,
    /// From the fault until everything is served again.
    Fault,
    /// While the fault is healed and the cluster becomes whole.
    Return,
}

/// A key and what its value may be.
#[derive(Debug)]
struct Account {
    key: u64,
    /// What was acknowledged.
    floor: AtomicI64,
    /// What the value may be at most.
    ceiling: AtomicI64,
}

/// Longest gap between two answers in each phase, beyond the interval of the probes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gaps {
    longest: [Duration; 3],
}

impl Gaps {
    /// Longest of a phase.
    #[must_use]
    pub fn of(&self, phase: Phase) -> Duration {
        self.longest[phase as usize]
    }

    fn add(&mut self, phase: usize, gap: Duration) {
        let gap = gap.saturating_sub(INTERVAL);
        self.longest[phase] = self.longest[phase].max(gap);
    }

    fn merge(&mut self, other: &Self) {
        for (longest, other) in self.longest.iter_mut().zip(other.longest) {
            *longest = (*longest).max(other);
        }
    }
}

/// What the probes of a run have seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Gaps of the worst reader.
    pub reads: Gaps,
    /// Gaps of the worst writer.
    pub writes: Gaps,
    /// Probes that were answered.
    pub answered: u64,
    /// Errors that clients were told, by name.
    pub errors: BTreeMap<String, u64>,
}

impl Seen {
    /// The longest gap of any key in a phase.
    #[must_use]
    pub fn longest(&self, phase: Phase) -> Duration {
        self.reads.of(phase).max(self.writes.of(phase))
    }
}

/// What one probe has seen.
#[derive(Debug, Default)]
struct One {
    gaps: Gaps,
    answered: u64,
    errors: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    phase: AtomicUsize,
}

/// Running probes of some keys.
pub struct Probes {
    runtime: Handle,
    shared: Arc<Shared>,
    accounts: Vec<Arc<Account>>,
    answered: Vec<Arc<AtomicU64>>,
    readers: Vec<JoinHandle<Result<One>>>,
    writers: Vec<JoinHandle<Result<One>>>,
}

impl Probes {
    /// Starts a reader and a writer of every key; the rows are there.
    ///
    /// # Errors
    /// A row cannot be read.
    pub fn start(
        runtime: &Handle,
        [reader, writer]: [&Client; 2],
        table: &Table,
        keys: &[u64],
    ) -> Result<Self> {
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), phase: AtomicUsize::new(0) });
        let mut probes = Self {
            runtime: runtime.clone(),
            shared,
            accounts: Vec::new(),
            answered: Vec::new(),
            readers: Vec::new(),
            writers: Vec::new(),
        };
        for key in keys {
            let value = runtime.block_on(read(writer, table, *key))?;
            let (floor, ceiling) = (AtomicI64::new(value), AtomicI64::new(value));
            let account = Arc::new(Account { key: *key, floor, ceiling });
            let counters = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
            let probe = |client: &Client, counter: &Arc<AtomicU64>| Probe {
                client: client.clone(),
                table: Table::clone(table),
                account: Arc::clone(&account),
                shared: Arc::clone(&probes.shared),
                counter: Arc::clone(counter),
            };
            probes.readers.push(runtime.spawn(probe(reader, &counters[0]).run(false)));
            probes.writers.push(runtime.spawn(probe(writer, &counters[1]).run(true)));
            probes.answered.extend(counters);
            probes.accounts.push(account);
        }
        Ok(probes)
    }

    /// Gaps that end from now on belong to this phase.
    pub fn enter(&self, phase: Phase) {
        self.shared.phase.store(phase as usize, Ordering::Release);
    }

    /// Waits until every probe has been answered so many times more.
    ///
    /// # Errors
    /// One was not within a minute, or has ended: then its complaint comes from [`Probes::stop`].
    pub fn wait_answered(&self, times: u64) -> Result<()> {
        let count = |counter: &Arc<AtomicU64>| counter.load(Ordering::Acquire);
        let wanted: Vec<u64> = self.answered.iter().map(|counter| count(counter) + times).collect();
        let deadline = Instant::now() + ANSWERED_WITHIN;
        while !self.answered.iter().zip(&wanted).all(|(counter, wanted)| count(counter) >= *wanted) {
            ensure!(!self.has_ended(), "a probe has ended");
            ensure!(Instant::now() < deadline, "a key is not served a minute after the fault");
            std::thread::sleep(INTERVAL);
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.readers.iter().chain(&self.writers).any(JoinHandle::is_finished)
    }

    /// Ends the probes and compares the values with what was acknowledged.
    ///
    /// # Errors
    /// A wrong answer: an acknowledged increment is lost, one has happened twice, a read was stale.
    pub fn stop(mut self, client: &Client, table: &Table) -> Result<Seen> {
        self.shared.stop.store(true, Ordering::Release);
        let mut seen = Seen::default();
        let (readers, writers) = (std::mem::take(&mut self.readers), std::mem::take(&mut self.writers));
        for (tasks, gaps) in [(readers, &mut seen.reads), (writers, &mut seen.writes)] {
            for task in tasks {
                let one = self.runtime.block_on(task).context("a probe has panicked")??;
                gaps.merge(&one.gaps);
                seen.answered += one.answered;
                for (name, count) in one.errors {
                    *seen.errors.entry(name).or_default() += count;
                }
            }
        }
        for account in &self.accounts {
            let value = self.runtime.block_on(read(client, table, account.key))?;
            account.check(value, account.floor.load(Ordering::Acquire))?;
        }
        Ok(seen)
    }
}

/// What a probe works with.
struct Probe {
    client: Client,
    table: Table,
    account: Arc<Account>,
    shared: Arc<Shared>,
    counter: Arc<AtomicU64>,
}

impl Probe {
    async fn run(self, writes: bool) -> Result<One> {
        let mut one = One::default();
        let mut timer = tokio::time::interval(INTERVAL);
        timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut newest, mut answered_at) = (i64::MIN, Instant::now());
        while !self.shared.stop.load(Ordering::Acquire) {
            timer.tick().await;
            let answer = match writes {
                true => self.increment().await?,
                false => self.read(&mut newest).await?,
            };
            match answer {
                None => {
                    let now = Instant::now();
                    one.gaps.add(self.shared.phase.load(Ordering::Acquire), now - answered_at);
                    one.answered += 1;
                    answered_at = now;
                    self.counter.fetch_add(1, Ordering::AcqRel);
                }
                Some(error) => *one.errors.entry(error).or_default() += 1,
            }
        }
        Ok(one)
    }

    /// Increments the key: the name of the error, if there was one.
    async fn increment(&self) -> Result<Option<String>> {
        let account = &self.account;
        let floor = account.floor.load(Ordering::Acquire);
        account.ceiling.fetch_add(1, Ordering::AcqRel);
        match self.client.increment(&self.table, account.key, COUNT, 1).await {
            Ok(Value::Int(value)) => {
                account.check(value, floor + 1)?;
                account.floor.store(value, Ordering::Release);
                Ok(None)
            }
            Ok(other) => bail!("an increment answered {other:?}"),
            Err(error) if error.is(ErrorCode::OutcomeUnknown) => Ok(Some(name_of(&error))),
            Err(error) => {
                account.ceiling.fetch_sub(1, Ordering::AcqRel);
                Ok(Some(name_of(&error)))
            }
        }
    }

    /// Reads the key, as [`Probe::increment`].
    async fn read(&self, newest: &mut i64) -> Result<Option<String>> {
        let account = &self.account;
        let floor = account.floor.load(Ordering::Acquire).max(*newest);
        match self.client.get(&self.table, account.key).await {
            Ok(row) => {
                let row = row.with_context(|| format!("wrong answer: key {} is gone", account.key))?;
                *newest = row.get(COUNT)?;
                account.check(*newest, floor)?;
                Ok(None)
            }
            Err(error) => Ok(Some(name_of(&error))),
        }
    }
}

impl Account {
    /// Whether a value can be right that was answered to an operation before which `floor` was acknowledged or read.
    fn check(&self, value: i64, floor: i64) -> Result<()> {
        let (key, ceiling) = (self.key, self.ceiling.load(Ordering::Acquire));
        ensure!(
            value >= floor,
            "wrong answer: key {key} holds {value}, but {floor} was acknowledged before: lost or stale"
        );
        ensure!(
            value <= ceiling,
            "wrong answer: key {key} holds {value}, but there were only {ceiling} increments: some happened twice"
        );
        Ok(())
    }
}

fn name_of(error: &duet_client::Error) -> String {
    error.error_code().map_or_else(|| error.code.to_string(), |code| format!("{code:?}"))
}

async fn read(client: &Client, table: &Table, key: u64) -> Result<i64> {
    let row = client.get(table, key).await.with_context(|| format!("key {key} cannot be read"))?;
    let row = row.with_context(|| format!("wrong answer: key {key} is gone"))?;
    Ok(row.get(COUNT)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_belong_to_the_phase_in_which_they_end() {
        let mut gaps = Gaps::default();
        gaps.add(Phase::Before as usize, Duration::from_micros(800));
        gaps.add(Phase::Fault as usize, Duration::from_millis(71));
        gaps.add(Phase::Fault as usize, Duration::from_millis(5));
        gaps.merge(&Gaps { longest: [Duration::from_millis(3), Duration::ZERO, Duration::from_millis(9)] });
        let all = [Phase::Before, Phase::Fault, Phase::Return].map(|phase| gaps.of(phase).as_millis());
        assert_eq!(all, [3, 70, 9]);
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        let account = Account { key: 7, floor: AtomicI64::new(10), ceiling: AtomicI64::new(12) };
        for value in [10, 11, 12] {
            account.check(value, 10).unwrap();
        }
        assert!(account.check(9, 10).unwrap_err().to_string().contains("lost or stale"));
        assert!(account.check(13, 10).unwrap_err().to_string().contains("twice"));
    }
}
