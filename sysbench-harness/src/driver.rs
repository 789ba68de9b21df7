//! Runs the generator against one target and measures it.

use crate::cpu::{ThreadGroup, ThreadSample, process_cpu_time};
use crate::pace::Pacer;
use crate::target::{AnswerCounts, Caller, KeyTarget, KeyWorker, ResultBuffers, ServerProcess, SharedClient};
use crate::workload::{KeyChooser, Operation, OperationStream, Workload};
use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Longest latency that a histogram tells apart; longer ones count as this.
const LONGEST_NS: u64 = 120_000_000_000;
/// How often the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// How long an open-loop worker that has nothing to do sleeps at most before it looks at the end of the stretch.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// How long a run measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// Until the time is over.
    Time(Duration),
    /// Until all threads together have done so many operations.
    Operations(u64),
}

/// How a run is driven.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Threads of the generator, each with a worker of its own.
    pub threads: u32,
    /// Operations in flight per call.
    pub batch: usize,
    /// If not 0: so many concurrent callers with one operation in flight each, instead of threads and batches.
    pub callers: u32,
    /// Operations per second of an open loop; `None` is a closed loop.
    pub rate: Option<f64>,
    /// Whether the open loop starts whole batches at equal distances; else it starts whatever is due.
    pub whole_batches: bool,
    /// How long it measures.
    pub length: Length,
    /// How long it runs before it measures.
    pub warm_up: Duration,
    /// Whether every value that is read is compared byte for byte.
    pub verify: bool,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// Operations that were answered.
    pub operations: u64,
    /// From the first start to the last answer.
    pub elapsed: Duration,
    /// Latencies in nanoseconds: from the call (closed loop) or the intended start (open loop) to its return.
    pub latencies: Histogram<u64>,
    /// What the answers were.
    pub answers: AnswerCounts,
    /// Operations of an open loop that were due and not started when the time was over.
    pub unsent: u64,
    /// CPU time of every server process.
    pub server_cpu: Vec<(ServerProcess, Duration)>,
    /// CPU time of the threads of every server process, in the same order.
    pub server_threads: Vec<Vec<ThreadGroup>>,
    /// CPU time of the generator with the client in it.
    pub client_cpu: Duration,
}

/// A new histogram of latencies in nanoseconds with three significant digits.
#[must_use]
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3)
        .expect("the bounds are in order and three digits are allowed")
}

/// Runs `plan` against `target`; `progress` gets the share that is done, from 0 to 1.
///
/// # Errors
/// A connection failed, a server ended, or its CPU time cannot be read. Wrong answers are no error here, but
/// are counted in the measurement.
pub fn drive(
    target: &dyn KeyTarget,
    workload: &Workload,
    chooser: KeyChooser,
    plan: &Plan,
    progress: &mut dyn FnMut(f64),
) -> Result<Measurement> {
    let done = Arc::new(AtomicU64::new(0));
    let runners = runners(target, workload, chooser, plan, &done)?;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for mut runner in runners {
            let (commands, commands_here) = sync_channel::<Stretch>(1);
            let (outcomes_there, outcomes) = sync_channel(1);
            scope.spawn(move || {
                // Ends when the other side hangs up.
                while let Ok(stretch) = commands_here.recv() {
                    if outcomes_there.send(runner.run(stretch)).is_err() {
                        return;
                    }
                }
            });
            threads.push(WorkerThread { commands, outcomes });
        }
        if !plan.warm_up.is_zero() {
            run_stretch(&threads, Length::Time(plan.warm_up), &done, &mut |_| {})?;
        }
        done.store(0, Ordering::Relaxed);
        let processes = target.server_processes();
        let before = CpuTimes::read(&processes)?;
        let outcomes = run_stretch(&threads, plan.length, &done, progress)?;
        let after = CpuTimes::read(&processes)?;
        Ok(measurement(outcomes, processes, &before, &after))
    })
}

/// Whoever runs on one thread of the generator.
trait Runner: Send {
    fn run(&mut self, stretch: Stretch) -> Result<Outcome>;
}

fn runners<'a>(
    target: &dyn KeyTarget,
    workload: &Workload,
    chooser: KeyChooser,
    plan: &'a Plan,
    done: &Arc<AtomicU64>,
) -> Result<Vec<Box<dyn Runner + 'a>>> {
    let buffers = || ResultBuffers::new(workload.shape.value_bytes(), plan.verify);
    let stream = |index| OperationStream::new(workload, chooser, index);
    let (threads, batch) = if plan.callers == 0 {
        (plan.threads, plan.batch)
    } else if let Some(client) = target.shared_client()? {
        let callers = (0..plan.callers)
            .map(|index| Caller::new(stream(index), buffers(), latency_histogram(), Arc::clone(done)));
        return Ok(vec![Box::new(CallerLoop { client, callers: callers.collect() })]);
    } else {
        (plan.callers, 1)
    };
    let mut runners: Vec<Box<dyn Runner + 'a>> = Vec::new();
    for index in 0..threads {
        runners.push(Box::new(WorkerLoop {
            index,
            workers: threads,
            most_in_flight: batch,
            rate: plan.rate,
            unit: if plan.whole_batches { batch as u64 } else { 1 },
            worker: target.worker(workload, batch)?,
            stream: stream(index),
            batch: Vec::with_capacity(batch),
            buffers: buffers(),
            latencies: latency_histogram(),
            done: Arc::clone(done),
        }));
    }
    Ok(runners)
}

/// CPU times at one moment.
struct CpuTimes {
    servers: Vec<ThreadSample>,
    client: Duration,
}

impl CpuTimes {
    fn read(processes: &[ServerProcess]) -> Result<Self> {
        let servers: Result<_> =
            processes.iter().map(|process| ThreadSample::read(process.process_id)).collect();
        Ok(Self { servers: servers?, client: process_cpu_time(std::process::id())? })
    }
}

fn measurement(
    outcomes: Vec<Outcome>,
    processes: Vec<ServerProcess>,
    before: &CpuTimes,
    after: &CpuTimes,
) -> Measurement {
    let samples = before.servers.iter().zip(&after.servers);
    let server_threads: Vec<Vec<ThreadGroup>> = samples.map(|(before, after)| after.since(before)).collect();
    let server_cpu = server_threads.iter().map(|groups| groups.iter().map(|group| group.cpu).sum());
    let started = outcomes.iter().map(|outcome| outcome.started).min();
    let ended = outcomes.iter().map(|outcome| outcome.ended).max();
    let mut measurement = Measurement {
        operations: 0,
        elapsed: started.zip(ended).map_or(Duration::ZERO, |(started, ended)| ended - started),
        latencies: latency_histogram(),
        answers: AnswerCounts::default(),
        unsent: 0,
        server_cpu: processes.into_iter().zip(server_cpu).collect(),
        server_threads,
        client_cpu: after.client.saturating_sub(before.client),
    };
    for outcome in outcomes {
        measurement.operations += outcome.operations;
        measurement.unsent += outcome.unsent;
        measurement.answers += &outcome.answers;
        // Both have the same bounds.
        measurement.latencies += outcome.latencies;
    }
    measurement
}

struct WorkerThread {
    commands: SyncSender<Stretch>,
    outcomes: Receiver<Result<Outcome>>,
}

/// A part of a run that all threads begin together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    pub(crate) begin: Instant,
    /// No operation starts from here on.
    pub(crate) end: Option<Instant>,
    /// Most operations of this thread.
    pub(crate) operations: Option<u64>,
}

#[derive(Debug)]
struct Outcome {
    started: Instant,
    ended: Instant,
    operations: u64,
    unsent: u64,
    answers: AnswerCounts,
    latencies: Histogram<u64>,
}

fn run_stretch(
    threads: &[WorkerThread],
    length: Length,
    done: &AtomicU64,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Outcome>> {
    let begin = Instant::now();
    let count = threads.len() as u64;
    for (index, thread) in threads.iter().enumerate() {
        let stretch = match length {
            Length::Time(time) => Stretch { begin, end: Some(begin + time), operations: None },
            Length::Operations(all) => {
                let share = all / count + u64::from((index as u64) < all % count);
                Stretch { begin, end: None, operations: Some(share) }
            }
        };
        thread.commands.send(stretch).map_err(|_| anyhow!("a thread of the generator has panicked"))?;
    }
    let share_done = || match length {
        Length::Time(time) => begin.elapsed().as_secs_f64() / time.as_secs_f64(),
        Length::Operations(all) => done.load(Ordering::Relaxed) as f64 / all.max(1) as f64,
    };
    let mut outcomes = Vec::with_capacity(threads.len());
    for thread in threads {
        let outcome = loop {
            match thread.outcomes.recv_timeout(PROGRESS_INTERVAL) {
                Ok(outcome) => break outcome,
                Err(RecvTimeoutError::Timeout) => progress(share_done().min(1.0)),
                Err(RecvTimeoutError::Disconnected) => {
                    break Err(anyhow!("a thread of the generator has panicked"));
                }
            }
        };
        outcomes.push(outcome);
    }
    outcomes.into_iter().collect()
}

/// Callers that share a client.
struct CallerLoop {
    client: Box<dyn SharedClient>,
    callers: Vec<Caller>,
}

impl Runner for CallerLoop {
    fn run(&mut self, stretch: Stretch) -> Result<Outcome> {
        let count = self.callers.len() as u64;
        for (index, caller) in self.callers.iter_mut().enumerate() {
            let share = |all: u64| all / count + u64::from((index as u64) < all % count);
            caller.start(Stretch { operations: stretch.operations.map(share), ..stretch });
        }
        let started = Instant::now();
        self.callers = self.client.run(std::mem::take(&mut self.callers))?;
        let mut outcome = Outcome {
            started,
            ended: Instant::now(),
            operations: 0,
            unsent: 0,
            answers: AnswerCounts::default(),
            latencies: latency_histogram(),
        };
        for caller in &mut self.callers {
            outcome.operations += caller.operations();
            outcome.answers += &caller.take_counts();
            // All have the same bounds.
            outcome.latencies += caller.latencies();
        }
        Ok(outcome)
    }
}

/// One worker and its batches.
struct WorkerLoop {
    index: u32,
    workers: u32,
    most_in_flight: usize,
    rate: Option<f64>,
    /// Operations of an open loop that are due at the same moment.
    unit: u64,
    worker: Box<dyn KeyWorker>,
    stream: OperationStream,
    batch: Vec<Operation>,
    buffers: ResultBuffers,
    latencies: Histogram<u64>,
    /// Operations of all workers in this stretch, for the progress bar.
    done: Arc<AtomicU64>,
}

impl Runner for WorkerLoop {
    fn run(&mut self, stretch: Stretch) -> Result<Outcome> {
        self.latencies.reset();
        let started = Instant::now();
        let (operations, unsent) = match self.rate {
            None => (self.run_closed(stretch)?, 0),
            Some(rate) => {
                let starts = Pacer::new(rate / self.unit as f64, self.index, self.workers);
                self.run_open(stretch, starts)?
            }
        };
        let answers = self.buffers.take_counts();
        let latencies = self.latencies.clone();
        Ok(Outcome { started, ended: Instant::now(), operations, unsent, answers, latencies })
    }
}

impl WorkerLoop {
    /// The next batch starts when the last one is answered.
    fn run_closed(&mut self, stretch: Stretch) -> Result<u64> {
        let mut operations = 0;
        let mut now = Instant::now();
        loop {
            let count = match stretch.operations {
                Some(all) => (all - operations).min(self.most_in_flight as u64),
                None => self.most_in_flight as u64,
            };
            if count == 0 || stretch.end.is_some_and(|end| now >= end) {
                return Ok(operations);
            }
            let call = now;
            now = self.execute(count as usize)?;
            self.latencies.saturating_record_n(nanoseconds(now - call), count);
            operations += count;
        }
    }

    /// Operations start when they are due, or as soon afterwards as the worker is free. Each start of `pacer` is one of
    /// `unit` operations.
    fn run_open(&mut self, stretch: Stretch, mut pacer: Pacer) -> Result<(u64, u64)> {
        let unit = self.unit;
        let mut operations = 0;
        let mut slept = false;
        loop {
            let now = Instant::now();
            let due = pacer.due(now.saturating_duration_since(stretch.begin)) * unit;
            let wanted = match stretch.operations {
                Some(all) => due.min(all - operations),
                None => due,
            };
            if stretch.end.is_some_and(|end| now >= end) {
                // What became due while nothing was in flight was not kept waiting by the target.
                return Ok((operations, if slept { 0 } else { wanted }));
            }
            if stretch.operations.is_some_and(|all| operations == all) {
                return Ok((operations, 0));
            }
            if wanted == 0 {
                let next = stretch.begin + pacer.intended_start(0);
                std::thread::sleep(next.saturating_duration_since(now).min(LONGEST_SLEEP));
                slept = true;
                continue;
            }
            slept = false;
            let count = wanted.min(self.most_in_flight as u64);
            let answered = self.execute(count as usize)?;
            for ahead in 0..count {
                let intended = stretch.begin + pacer.intended_start(ahead / unit);
                self.latencies.saturating_record(nanoseconds(answered.saturating_duration_since(intended)));
            }
            pacer.issue(count.div_ceil(unit));
            operations += count;
        }
    }

    /// Executes the next `count` operations and returns when they were answered.
    fn execute(&mut self, count: usize) -> Result<Instant> {
        self.stream.fill(&mut self.batch, count);
        let mut results = self.buffers.start(&self.batch);
        self.worker.execute(&self.batch, &mut results)?;
        results.finish();
        let answered = Instant::now();
        self.done.fetch_add(count as u64, Ordering::Relaxed);
        Ok(answered)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
