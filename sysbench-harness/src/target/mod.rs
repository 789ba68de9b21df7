//! The seam between the generator and what it measures.

mod caller;
mod results;

pub use caller::Caller;
pub use results::{AnswerCounts, BatchResults, ResultBuffers};

use crate::workload::{Operation, OperationKind, Workload};

/// A process whose CPU time belongs to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerProcess {
    /// What it does, such as `data node 1`.
    pub role: String,
    /// Its process id.
    pub process_id: u32,
}

/// A store of rows by key that is measured: Duet, a peer, or the bare yardstick server.
pub trait KeyTarget {
    /// Short name in tables and results, such as `duet` or `redis`.
    fn name(&self) -> &str;

    /// Version of the software that answers.
    fn version(&self) -> &str;

    /// Its processes, for the accounting of CPU time.
    fn server_processes(&self) -> Vec<ServerProcess>;

    /// Writes every row of `workload` in generation 0 and calls `progress` with the number of rows written so far.
    ///
    /// # Errors
    /// A row was refused or the connection failed.
    fn load(&mut self, workload: &Workload, progress: &mut dyn FnMut(u64)) -> anyhow::Result<()>;

    /// A worker with a connection (or a share of one) of its own; it is moved to the thread that uses it.
    ///
    /// # Errors
    /// The connection failed.
    fn worker(&self, workload: &Workload, batch: usize) -> anyhow::Result<Box<dyn KeyWorker>>;

    /// A client that many concurrent callers share; `None` where there is no such client, and every caller gets a
    /// thread and a connection of its own.
    ///
    /// # Errors
    /// The connection failed.
    fn shared_client(&self) -> anyhow::Result<Option<Box<dyn SharedClient>>> {
        Ok(None)
    }
}

/// Executes batches of operations on one thread.
pub trait KeyWorker: Send {
    /// Has all operations of `batch` in flight at once, and returns when every one is answered in `results`
    /// (by its index in `batch`).
    ///
    /// # Errors
    /// The connection failed or the server broke its protocol; a reply that refuses one operation is put into
    /// `results` instead.
    fn execute(&mut self, batch: &[Operation], results: &mut BatchResults<'_>) -> anyhow::Result<()>;
}

/// A client that many concurrent callers share on one thread.
pub trait SharedClient: Send {
    /// Runs all callers at the same time, each with one operation in flight, until each has no next one, and gives
    /// them back.
    ///
    /// # Errors
    /// The connection failed.
    fn run(&mut self, callers: Vec<Caller>) -> anyhow::Result<Vec<Caller>>;
}

/// Rows per call while loading.
const LOAD_BATCH: usize = 512;

/// Loads a target whose updates also create rows, through one of its own workers.
///
/// # Errors
/// A row was refused or the connection failed.
pub fn load_with_worker(
    target: &dyn KeyTarget,
    workload: &Workload,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<()> {
    let mut worker = target.worker(workload, LOAD_BATCH)?;
    let mut buffers = ResultBuffers::new(workload.shape.value_bytes(), false);
    let mut batch = Vec::with_capacity(LOAD_BATCH);
    let mut next = 0;
    while next < workload.rows {
        let end = workload.rows.min(next + LOAD_BATCH as u64);
        batch.clear();
        batch.extend((next..end).map(|key| Operation { kind: OperationKind::Update, key, generation: 0 }));
        let mut results = buffers.start(&batch);
        worker.execute(&batch, &mut results)?;
        results.finish();
        let counts = buffers.take_counts();
        if counts.bad() > 0 {
            let complaint = counts.first_complaint.unwrap_or_default();
            anyhow::bail!("{} refused a row while loading: {complaint}", target.name());
        }
        next = end;
        progress(next);
    }
    Ok(())
}
