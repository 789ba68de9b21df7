//! The thread of the batch pipeline: how it is started, pinned, stopped and joined.

use crate::affinity::pin_current_thread;
use crate::batch::{Batch, Limits, Sockets};
use crate::clock::boot_nanoseconds;
use crate::driven::Driven;
use crate::links::LinkIo;
use crate::poll::Waker;
use crate::snapshot::SnapshotReader;
use crate::socket::Listener;
use duet_datanode_core::Nanoseconds;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

/// Why the loop did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The kernel could not be made.
    #[error("{0}")]
    Start(String),
    /// The kernel wants the process to end.
    #[error("{0}")]
    Stopped(String),
    /// The kernel was told to leave the cluster, and has: no error of its own.
    #[error("{reason}")]
    Left {
        /// Whether the process is to start again.
        restarts: bool,
        /// For people.
        reason: String,
    },
    /// The operating system refused something that the loop cannot do without.
    #[error("{what}: {source}")]
    System {
        /// What it refused.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// An assertion failed in the thread.
    #[error("a thread of the pipeline panicked: {0}")]
    Panicked(String),
}

impl RuntimeError {
    pub(crate) fn system(what: &'static str, source: io::Error) -> RuntimeError {
        RuntimeError::System { what, source }
    }
}

/// What a thread said when it panicked.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// What the thread is started with.
#[derive(Debug)]
pub struct BatchOptions {
    /// Name of the thread, at most 15 bytes.
    pub name: &'static str,
    /// Where others connect to.
    pub listener: Listener,
    /// Bounds.
    pub limits: Limits,
    /// CPU to pin the thread to.
    pub cpu: Option<usize>,
    /// How to talk to links.
    pub io: LinkIo,
}

/// A running batch pipeline. Dropping it stops the thread and waits for it.
#[derive(Debug)]
pub struct BatchThread {
    waker: Waker,
    stop: Arc<AtomicU8>,
    snapshots: SnapshotReader,
    handle: Option<JoinHandle<Result<(), RuntimeError>>>,
}

/// Ends the loop from another thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    wakers: Vec<Waker>,
    stop: Arc<AtomicU8>,
}

/// What loops are told, in one number shared by all of a node: go on.
pub(crate) const GO_ON: u8 = 0;
/// The kernel hears [`Driven::leave`] once.
pub(crate) const LEAVE: u8 = 1;
/// The loops end.
pub(crate) const STOP: u8 = 2;

impl Stopper {
    pub(crate) fn of(wakers: Vec<Waker>, stop: Arc<AtomicU8>) -> Stopper {
        Stopper { wakers, stop }
    }

    /// Makes the loop send what it has and end.
    pub fn stop(&self) {
        self.tell(STOP);
    }

    /// Tells the kernel to leave the cluster; the loop ends with [`RuntimeError::Left`] when it has.
    pub fn leave(&self) {
        self.tell(LEAVE);
    }

    fn tell(&self, what: u8) {
        self.stop.fetch_max(what, Ordering::AcqRel);
        for waker in &self.wakers {
            waker.wake();
        }
    }
}

impl BatchThread {
    /// Starts the thread; it pins itself and makes its kernel, so that the kernel's memory is near its CPU.
    ///
    /// # Errors
    /// [`RuntimeError::Start`] with the sentence of `build`, or [`RuntimeError::System`].
    pub fn start<K: Driven>(
        options: BatchOptions,
        build: impl FnOnce(Nanoseconds) -> Result<K, String> + Send + 'static,
    ) -> Result<BatchThread, RuntimeError> {
        let waker = Waker::new().map_err(|error| RuntimeError::system("eventfd", error))?;
        let stop = Arc::new(AtomicU8::new(GO_ON));
        let snapshots = SnapshotReader::default();
        let (sender, started) = sync_channel(1);
        let (thread_waker, thread_stop, thread_snapshots) = (waker.clone(), stop.clone(), snapshots.clone());
        let BatchOptions { name, listener, limits, cpu, io } = options;
        let run = move || {
            if let Some(cpu) = cpu {
                pin_current_thread(name, cpu);
            }
            let batch = build(boot_nanoseconds()).map_err(RuntimeError::Start).and_then(|kernel| {
                let sockets = Sockets { listener: Some(listener), number: 0, of: 1, may_spin: false, io };
                Batch::new(kernel, sockets, limits, thread_waker, thread_stop, thread_snapshots)
            });
            let mut batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    let _ = sender.send(Err(error));
                    return Ok(());
                }
            };
            batch.publish();
            let _ = sender.send(Ok(()));
            batch.run()
        };
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(|error| RuntimeError::system("starting a thread", error))?;
        let mut thread = BatchThread { waker, stop, snapshots, handle: Some(handle) };
        match started.recv() {
            Ok(Ok(())) => Ok(thread),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                Err(thread.wait().err().unwrap_or_else(|| RuntimeError::Start("it ended at once".into())))
            }
        }
    }

    /// Ends the loop from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { wakers: vec![self.waker.clone()], stop: self.stop.clone() }
    }

    /// Reads the counters from another thread.
    pub fn snapshots(&self) -> SnapshotReader {
        self.snapshots.clone()
    }

    /// Waits until the loop ends by itself or is stopped.
    ///
    /// # Errors
    /// [`RuntimeError::Stopped`] when the kernel wants the process to end, and the others of [`RuntimeError`].
    pub fn join(mut self) -> Result<(), RuntimeError> {
        self.wait()
    }

    fn wait(&mut self) -> Result<(), RuntimeError> {
        let Some(handle) = self.handle.take() else { return Ok(()) };
        handle.join().unwrap_or_else(|panic| Err(RuntimeError::Panicked(panic_text(&*panic))))
    }
}

impl Drop for BatchThread {
    fn drop(&mut self) {
        self.stopper().stop();
        let _ = self.wait();
    }
}
