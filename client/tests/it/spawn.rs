//! What the client's functions return can be awaited by a task of a runtime with many threads. This compiles or does not;
//! nothing of it is executed.

use duet_client::{Batch, Client, Table, col, count};

fn spawned(_: impl Future + Send + 'static) {}

#[expect(dead_code, reason = "it has only to compile")]
fn every_call_may_move_between_threads(client: Client, table: Table) {
    let (one, rows) = (client.clone(), Table::clone(&table));
    spawned(async move { one.get(&rows, 1).await });
    let (one, rows) = (client.clone(), Table::clone(&table));
    spawned(async move { one.range(&rows).from(1).ordered().rows().await });
    let (one, rows) = (client.clone(), Table::clone(&table));
    spawned(async move { one.range(&rows).from(1).next().await });
    let (one, rows) = (client.clone(), Table::clone(&table));
    spawned(async move { one.scan(&rows).filter(col("a").eq(0)).next().await });
    let (one, rows) = (client.clone(), Table::clone(&table));
    spawned(async move { one.scan(&rows).aggregate([count()]).rows().await });
    let (one, rows) = (client.clone(), Table::clone(&table));
    spawned(async move { one.get_by(&rows, "by_name", "x").await });
    spawned(async move {
        let transaction = client.begin();
        let mut batch = Batch::new();
        batch.read(&table, &1)?;
        transaction.execute(&mut batch).await
    });
}
