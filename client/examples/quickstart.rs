//! Creates a table, writes and reads rows. Run it with the address of a data or management node:
//! `cargo run -p duet-client --example quickstart -- 127.0.0.1:4567`

use duet_client::{Assignment, Batch, Client, Error, ErrorCode, Expectation, Row, Timestamp};

#[derive(Row, Debug, Clone, PartialEq)]
#[duet(table = "quickstart.accounts")]
struct Account {
    #[duet(key, length = 32)]
    owner: String,
    #[duet(key)]
    number: u32,
    balance: i64,
    opened: Option<Timestamp>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4567".to_owned());
    let client = Client::connect(&address).await?;

    let accounts = client.open_or_create_typed_table::<Account>().await?;
    let ada = Account { owner: "Ada".to_owned(), number: 1, balance: 100, opened: Some(Timestamp(0)) };
    accounts.upsert(&ada).await?;
    let read = accounts.get(("Ada", 1_u32)).await?;
    println!("typed:     {read:?}");

    // Rows by name, sums computed where the row is, changes that happen only to the version that was read.
    let table = accounts.table();
    let sum = client.increment(table, ("Ada", 1_u32), "balance", 50).await?;
    println!("increment: balance is {sum:?}");
    let row =
        client.get(table, ("Ada", 1_u32)).await?.ok_or_else(|| Error::new(ErrorCode::RowNotFound, "Ada"))?;
    let assignments = [("balance", Assignment::Set(0_i64.into()))];
    client.update_if_version(table, ("Ada", 1_u32), row.version(), &assignments).await?;
    let again = client.update_if_version(table, ("Ada", 1_u32), row.version(), &assignments).await;
    println!("stale:     {}", again.expect_err("the version has changed"));

    // Many operations, on any tables, in one round trip.
    let mut batch = Batch::new();
    for number in 2..10_u32 {
        let values = [
            duet_client::Value::from("Ada"),
            number.into(),
            i64::from(number).into(),
            duet_client::Value::Null,
        ];
        batch.upsert(table, &values, Expectation::Any)?;
    }
    client.execute(&mut batch).await?;
    println!("batch:     {} rows written, {} errors", batch.len(), batch.error_count());

    let mut scan = client.scan(table);
    let mut rows = 0;
    while let Some(row) = scan.next().await? {
        rows += 1;
        let _balance: i64 = row.get("balance")?;
    }
    println!("scan:      {rows} rows");
    Ok(())
}
