//! Many concurrent callers of one asynchronous client.

use super::table::{NAME, RowShape};
use crate::target::{Caller, SharedClient};
use crate::workload::{OperationKind, write_value};
use anyhow::{Context, Result};
use duet_client::{Client, Table, Written};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// One client on a runtime of one thread, as a service would share it between its requests.
pub(super) struct DuetCallers {
    runtime: Runtime,
    client: Client,
    table: Table,
    shape: RowShape,
}

impl DuetCallers {
    pub(super) fn connect(addresses: &str, timeout: Duration, shape: RowShape) -> Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_all().build().context("an asynchronous runtime")?;
        let (client, table) = runtime.block_on(async {
            let client = Client::builder(addresses).timeout(timeout).program("duet bench").connect().await;
            let client = client.context("cannot connect to the Duet cluster")?;
            let table = client.table(NAME).await.context("the table")?;
            anyhow::Ok((client, table))
        })?;
        Ok(Self { runtime, client, table, shape })
    }
}

impl SharedClient for DuetCallers {
    fn run(&mut self, callers: Vec<Caller>) -> Result<Vec<Caller>> {
        self.runtime.block_on(async {
            let tasks: Vec<_> = callers
                .into_iter()
                .map(|caller| {
                    tokio::spawn(call(self.client.clone(), Table::clone(&self.table), self.shape, caller))
                })
                .collect();
            let mut callers = Vec::with_capacity(tasks.len());
            for task in tasks {
                callers.push(task.await.context("a caller has panicked")?);
            }
            Ok(callers)
        })
    }
}

/// Asks and waits until the caller is done.
async fn call(client: Client, table: Table, shape: RowShape, mut caller: Caller) -> Caller {
    let names: Vec<String> =
        table.definition().columns.iter().skip(1).map(|column| column.name.clone()).collect();
    let mut value = vec![0; shape.value_bytes()];
    while let Some(operation) = caller.begin() {
        match operation.kind {
            OperationKind::Read => {
                let read = client.get_with(&table, operation.key, |row| {
                    caller.end(|results| match row {
                        Some(row) => shape.answer_row(0, &row, results),
                        None => results.missing(0),
                    });
                });
                if let Err(error) = read.await {
                    caller.end(|results| results.refused(0, &error));
                }
            }
            OperationKind::Update => {
                write_value(operation.key, operation.generation, &mut value);
                let assignments = shape.assignments(&value).zip(&names);
                let assignments: Vec<_> =
                    assignments.map(|((_, assignment), name)| (name.as_str(), assignment)).collect();
                let written: duet_client::Result<Written> =
                    client.update(&table, operation.key, &assignments).await;
                caller.end(|results| match written {
                    Ok(_) => results.updated(0),
                    Err(error) => results.refused(0, &error),
                });
            }
        }
    }
    caller
}
