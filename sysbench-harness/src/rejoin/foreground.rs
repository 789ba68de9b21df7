//! Clients that go on reading and updating while a node is away and comes back.

use crate::workload::mix64;
use anyhow::{Context, Result, bail};
use duet_client::{Assignment, Batch, Client, ErrorCode, Expectation, Table, ValueRef};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// The column that is updated: its place among the columns.
pub(super) const VALUE: (u16, &str) = (1, "value");

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    done: AtomicU64,
    errors: AtomicU64,
}

/// Running callers.
pub(super) struct Foreground {
    runtime: Handle,
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<Result<()>>>,
}

/// What the callers do.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) client: Client,
    pub(super) table: Table,
    pub(super) rows: u64,
    pub(super) value: Vec<u8>,
    pub(super) batch: usize,
    pub(super) seed: u64,
}

impl Foreground {
    pub(super) fn start(runtime: &Handle, callers: u32, load: &Load) -> Self {
        let shared = Arc::new(Shared::default());
        let start = |number: u32| {
            let (load, shared) = (load.clone(), Arc::clone(&shared));
            runtime.spawn(call(load, shared, mix64(u64::from(number))))
        };
        let callers = (1..=callers).map(start).collect();
        Self { runtime: runtime.clone(), shared, callers }
    }

    /// Operations that were done, and errors that callers were told.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.shared.done.load(Ordering::Acquire), self.shared.errors.load(Ordering::Acquire))
    }

    /// Ends the callers.
    pub(super) fn stop(self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Release);
        for caller in self.callers {
            self.runtime.block_on(caller).context("a caller has panicked")??;
        }
        Ok(())
    }
}

async fn call(load: Load, shared: Arc<Shared>, number: u64) -> Result<()> {
    let mut random = mix64(load.seed ^ number);
    let mut batch = Batch::new();
    let change = [(VALUE.0, Assignment::Set(ValueRef::Bytes(Cow::Borrowed(&load.value))))];
    while !shared.stop.load(Ordering::Acquire) {
        batch.clear();
        for index in 0..load.batch {
            random = mix64(random);
            let key = random % load.rows;
            match index % 2 {
                0 => batch.read(&load.table, &key)?,
                _ => batch.update(&load.table, &key, &change, Expectation::Any)?,
            };
        }
        load.client.execute(&mut batch).await.context("a batch was refused")?;
        let mut errors = 0;
        for index in 0..batch.len() {
            if let Err(error) = batch.reply(index) {
                let passing = |code: ErrorCode| {
                    code.is_retryable()
                        || matches!(code, ErrorCode::DeadlineExceeded | ErrorCode::OutcomeUnknown)
                };
                if !error.error_code().is_some_and(passing) {
                    bail!("an operation was refused: {error}");
                }
                errors += 1;
            }
        }
        shared.errors.fetch_add(errors, Ordering::AcqRel);
        shared.done.fetch_add(batch.len() as u64 - errors, Ordering::AcqRel);
    }
    Ok(())
}
