//! One of many concurrent callers.

use super::{AnswerCounts, BatchResults, ResultBuffers};
use crate::driver::Stretch;
use crate::workload::{Operation, OperationStream};
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A caller with one operation in flight: asks, waits, asks again. The shared client moves it into a task.
#[derive(Debug)]
pub struct Caller {
    stream: OperationStream,
    buffers: ResultBuffers,
    latencies: Histogram<u64>,
    stretch: Option<Stretch>,
    operations: u64,
    in_flight: Option<(Operation, Instant)>,
    /// Operations of all callers in this stretch, for the progress bar.
    done: Arc<AtomicU64>,
}

impl Caller {
    pub(crate) fn new(
        stream: OperationStream,
        buffers: ResultBuffers,
        latencies: Histogram<u64>,
        done: Arc<AtomicU64>,
    ) -> Self {
        Self { stream, buffers, latencies, stretch: None, operations: 0, in_flight: None, done }
    }

    pub(crate) fn start(&mut self, stretch: Stretch) {
        self.latencies.reset();
        self.stretch = Some(stretch);
        self.operations = 0;
        self.in_flight = None;
    }

    /// The next operation, whose latency counts from now; `None` when the caller is done.
    pub fn begin(&mut self) -> Option<Operation> {
        let stretch = self.stretch?;
        let now = Instant::now();
        let over = stretch.end.is_some_and(|end| now >= end)
            || stretch.operations.is_some_and(|most| self.operations >= most);
        if over {
            return None;
        }
        let operation = self.stream.next_operation();
        self.in_flight = Some((operation, now));
        Some(operation)
    }

    /// The operation is answered now; `answer` puts what came back under index 0.
    pub fn end(&mut self, answer: impl FnOnce(&mut BatchResults<'_>)) {
        let Some((operation, begun)) = self.in_flight.take() else { return };
        let latency = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let batch = [operation];
        let mut results = self.buffers.start(&batch);
        answer(&mut results);
        results.finish();
        self.latencies.saturating_record(latency);
        self.operations += 1;
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    pub(crate) fn latencies(&self) -> &Histogram<u64> {
        &self.latencies
    }

    pub(crate) fn take_counts(&mut self) -> AnswerCounts {
        self.buffers.take_counts()
    }
}
