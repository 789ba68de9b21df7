//! What the handles of a client and its driver share.

use crate::{Error, ErrorCode, Result, Table};
use duet_client_core::{Batch, JobResult, TransactionHandle};
use duet_protocol::record::{ClusterState, LeaveRequest, ManagementChange, UserChange};
use duet_protocol::schema::{Column, IndexKind, TableDefinition};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::oneshot;

/// Batches kept for the next operations.
const POOL_BATCHES: usize = 1_024;
/// Batches that wait for the driver; beyond it operations end in `Overloaded`.
const QUEUE_BATCHES: usize = 65_536;

/// Locks; a panic elsewhere cannot leave these small structures half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the task that submitted a batch finds it again.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    state: Mutex<WaiterState>,
}

#[derive(Debug, Default)]
struct WaiterState {
    batch: Option<Box<Batch>>,
    waker: Option<Waker>,
    abandoned: bool,
}

impl Waiter {
    /// The batch is completed.
    pub(crate) fn complete(&self, batch: Box<Batch>) {
        let waker = {
            let mut state = lock(&self.state);
            state.batch = Some(batch);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The driver has ended: there will be no result.
    pub(crate) fn abandon(&self) {
        let waker = {
            let mut state = lock(&self.state);
            state.abandoned = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A request that is not an operation on rows.
#[derive(Debug)]
pub(crate) enum JobRequest {
    CreateTable(Box<TableDefinition>),
    AddColumn { table: Table, column: Box<Column> },
    CreateIndex { table: Table, name: String, kind: IndexKind, columns: Vec<String>, within: Duration },
    DropIndex { table: Table, name: String },
    DropTable { database: String, name: String },
    ChangeUser(UserChange),
    Leave(LeaveRequest),
    EndManagement(LeaveRequest),
    StatusOf(u32),
    ChangeManagement(ManagementChange),
    Users { known: u64 },
    Status,
    Refresh,
}

/// What handles leave for the driver.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) batches: Vec<(Box<Batch>, Arc<Waiter>)>,
    /// Transactions that were begun, and how often each was tried before. Ahead of their batches.
    pub(crate) begun: Vec<(TransactionHandle, u32)>,
    /// Transactions that were dropped before their end.
    pub(crate) forgotten: Vec<TransactionHandle>,
    pub(crate) jobs: Vec<(JobRequest, oneshot::Sender<Result<JobResult>>)>,
    pub(crate) connects: Vec<(duet_client_core::Target, std::io::Result<crate::network::Stream>)>,
    /// Set while the driver sleeps.
    pub(crate) driver: Option<Waker>,
    /// The last handle is gone.
    pub(crate) closed: bool,
    /// The driver is gone.
    pub(crate) ended: bool,
}

/// The newest map, for handles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) state: Option<Arc<ClusterState>>,
    pub(crate) tables: Vec<Table>,
}

/// What the handles of a client and its driver share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) queue: Mutex<Queue>,
    pub(crate) snapshot: Mutex<Snapshot>,
    /// Version of the state in the snapshot, to be looked at without a lock.
    pub(crate) version: AtomicU64,
    pool: Mutex<Vec<(Box<Batch>, Arc<Waiter>)>>,
    transactions: AtomicU64,
}

pub(crate) fn ended() -> Error {
    Error::new(ErrorCode::NodeUnreachable, "the runtime of the client has ended")
}

impl Shared {
    /// Changes the queue and wakes the driver.
    pub(crate) fn enqueue<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let (changed, waker) = {
            let mut queue = lock(&self.queue);
            (change(&mut queue), queue.driver.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        changed
    }

    /// A name for a new transaction.
    pub(crate) fn next_transaction(&self) -> TransactionHandle {
        // Only that it differs from the others matters.
        TransactionHandle::numbered(self.transactions.fetch_add(1, Ordering::Relaxed))
    }

    /// An empty batch from the pool.
    pub(crate) fn take(self: &Arc<Self>) -> PooledBatch {
        let (batch, waiter) = lock(&self.pool).pop().unwrap_or_default();
        PooledBatch { batch: Some(batch), waiter, shared: Arc::clone(self) }
    }

    /// Submits a request that is not an operation, and waits for its end.
    pub(crate) async fn job(&self, request: JobRequest) -> Result<JobResult> {
        let (sender, receiver) = oneshot::channel();
        self.enqueue(|queue| if queue.ended { drop(sender) } else { queue.jobs.push((request, sender)) });
        receiver.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// A batch whose buffers belong to the client and go back to it when this is dropped; see [`Client::batch`](crate::Client::batch).
#[derive(Debug)]
pub struct PooledBatch {
    batch: Option<Box<Batch>>,
    waiter: Arc<Waiter>,
    shared: Arc<Shared>,
}

impl PooledBatch {
    /// The batch. It is away only while it is executed.
    pub fn batch(&mut self) -> &mut Batch {
        self.batch.get_or_insert_default()
    }

    /// Executes the batch; afterwards it holds the result of each operation.
    ///
    /// # Errors
    /// Only when the client has ended or its queue is full; errors of operations are in the batch.
    pub async fn execute(&mut self) -> Result<()> {
        let Some(batch) = self.batch.take() else { return Err(ended()) };
        let refused = self.shared.enqueue(|queue| {
            if queue.ended {
                return Some(ended());
            }
            if queue.batches.len() >= QUEUE_BATCHES {
                return Some(Error::new(ErrorCode::Overloaded, "too many operations wait to be sent"));
            }
            queue.batches.push((batch, Arc::clone(&self.waiter)));
            None
        });
        if let Some(error) = refused {
            return Err(error);
        }
        self.batch = Some(Completion { waiter: &self.waiter }.await?);
        Ok(())
    }
}

impl Drop for PooledBatch {
    fn drop(&mut self) {
        // Without its batch it was given up while under way: the waiter is the driver's now.
        let Some(mut batch) = self.batch.take() else { return };
        batch.clear();
        batch.timeout = 0;
        let mut pool = lock(&self.shared.pool);
        if pool.len() < POOL_BATCHES && batch.held_bytes() < 1 << 20 {
            pool.push((batch, Arc::clone(&self.waiter)));
        }
    }
}

/// Waits for a batch.
struct Completion<'a> {
    waiter: &'a Waiter,
}

impl Future for Completion<'_> {
    type Output = Result<Box<Batch>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.waiter.state);
        if let Some(batch) = state.batch.take() {
            return Poll::Ready(Ok(batch));
        }
        if state.abandoned {
            return Poll::Ready(Err(ended()));
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}
