//! Scans with filters, selected columns, limits and aggregates.

use crate::server::{Server, users};
use duet_client::{
    Client, Condition, ErrorCode, Expectation, Row, Table, Value, avg, blocking, col, count, count_of, max,
    min, sum,
};

/// 1,000 users; every third has no credit, the others that of their number modulo 10.
fn values(id: i64) -> [Value; 3] {
    let credit = if id % 3 == 0 { Value::Null } else { Value::Int(id % 10) };
    [Value::Int(id), Value::Text(format!("user {id}")), credit]
}

async fn filled() -> (Server, Client, Table) {
    let server = Server::start();
    let client = Client::connect(&server.seed()).await.expect("the fake answers");
    let table = client.create_table(users()).await.expect("a new table");
    let mut batch = duet_client::Batch::new();
    for id in 0..1_000 {
        batch.upsert(&table, &values(id), Expectation::Any).expect("fits");
    }
    client.execute(&mut batch).await.expect("executed");
    assert_eq!(batch.error_count(), 0);
    (server, client, table)
}

fn ids(rows: &[Row]) -> Vec<i64> {
    let mut ids: Vec<i64> = rows.iter().map(|row| row.get("id").expect("an id")).collect();
    ids.sort_unstable();
    ids
}

fn some_users() -> Condition {
    col("credit").ge(8).and(!col("name").starts_with("user 1")).or(col("id").one_of([3, 5_000]))
}

fn expected() -> Vec<i64> {
    let is_some = |id: &i64| (id % 3 != 0 && id % 10 >= 8 && !format!("{id}").starts_with('1')) || *id == 3;
    (0..1_000).filter(is_some).collect()
}

#[tokio::test]
async fn filters_selected_columns_and_limits() {
    let (_server, client, table) = filled().await;
    let rows = client.scan(&table).filter(some_users()).page_rows(30).rows().await.expect("read");
    assert_eq!(ids(&rows), expected());
    assert_eq!(rows[0].columns().count(), 3);

    let scan = client.scan(&table).filter(col("id").lt(50)).filter(col("id").between(40, 60));
    let rows = scan.select(["credit", "ID"]).rows().await.expect("read");
    assert_eq!(ids(&rows), (40..50).collect::<Vec<i64>>());
    let names: Vec<&str> = rows[0].columns().map(|(name, _)| name).collect();
    assert_eq!(names, ["credit", "id"]);
    assert!(rows.iter().all(|row| row.version().seq > 0 && row.value("name").is_none()));
    let refused = client.insert(&table, &rows[0]).await.expect_err("a row of a scan is none of the table");
    assert!(refused.is(ErrorCode::InvalidRequest));

    for limit in [0, 1, 7, 400, 5_000] {
        let mut scan = client.scan(&table).filter(col("credit").is_not_null()).limit(limit);
        let mut count = 0;
        while scan.next().await.expect("read").is_some() {
            count += 1;
        }
        assert_eq!(count, limit.min(666));
    }
}

#[tokio::test]
async fn aggregates_by_group() {
    let (_server, client, table) = filled().await;
    let aggregates =
        [count(), count_of("credit"), sum("credit").named("credits"), min("id"), max("name"), avg("credit")];
    let rows = client.scan(&table).page_rows(17).aggregate(aggregates.clone()).rows().await.expect("read");
    let with_credit: Vec<i64> = (0..1_000).filter(|id| id % 3 != 0).collect();
    let total: i64 = with_credit.iter().map(|id| id % 10).sum();
    assert_eq!(rows.len(), 1);
    let decimal = |unscaled: i64, scale| Value::Decimal { unscaled: i128::from(unscaled), scale };
    let number = with_credit.len() as i64;
    assert_eq!(
        rows[0].values(),
        [
            Value::UInt(1_000),
            Value::UInt(number as u64),
            decimal(total, 0),
            Value::Int(0),
            Value::from("user 999"),
            decimal((total * 20_000 + number) / (2 * number), 4),
        ]
    );
    assert_eq!(rows[0].value("credits"), Some(&decimal(total, 0)));
    assert!(rows[0].value("avg(credit)").is_some() && rows[0].value("count(*)").is_some());

    let scan = client.scan(&table).filter(col("id").lt(100)).aggregate([count(), sum("id")]);
    let mut rows = scan.group_by(["credit"]).rows().await.expect("read");
    rows.sort_by_key(|row| row.get::<Option<i32>>("credit").expect("a credit"));
    assert_eq!(rows.len(), 11);
    for row in rows {
        let credit: Option<i32> = row.get("credit").expect("a credit");
        let of: Vec<i64> =
            (0..100).filter(|id| (id % 3 != 0).then_some((id % 10) as i32) == credit).collect();
        assert_eq!(row.get::<u64>("count(*)"), Ok(of.len() as u64));
        assert_eq!(row.value("sum(id)"), Some(&decimal(of.iter().sum(), 0)));
        assert_eq!(row.get::<i64>("sum(id)").expect("a whole number"), of.iter().sum::<i64>());
    }
    // Distinct values are groups without aggregates; of no rows there is no group, but one row of them all.
    let distinct = client.scan(&table).aggregate([]).group_by(["credit"]).rows().await.expect("read");
    assert_eq!(distinct.len(), 11);
    let none = client.scan(&table).filter(col("id").lt(0));
    let rows = none.aggregate([count(), sum("credit"), avg("credit")]).rows().await.expect("read");
    assert_eq!(rows[0].values(), [Value::UInt(0), Value::Null, Value::Null]);
    let refused = client.scan(&table).aggregate([]).group_by(["id"]).most_groups(99).rows().await;
    assert_eq!(refused.expect_err("too many groups").code, 215);
}

#[tokio::test]
async fn what_does_not_fit_the_table_is_named() {
    let (_server, client, table) = filled().await;
    for (condition, code, text) in [
        (col("salary").gt(1), 23, "table 'users' has no column 'salary'"),
        (col("name").gt(1), 207, "column 'name' is VARCHAR(64) and cannot be compared with a signed integer"),
        (col("credit").eq(Value::Null), 208, "column 'credit' is compared with NULL"),
        (col("credit").starts_with("1"), 210, "column 'credit' is INT; only text and bytes have prefixes"),
    ] {
        let error = client.scan(&table).filter(condition).next().await.expect_err("refused");
        assert_eq!((error.code, error.retryable), (code, false));
        assert!(error.message.contains(text), "{error}");
    }
    assert!(client.scan(&table).select(["salary"]).next().await.is_err());
    let error = client.scan(&table).aggregate([sum("name")]).rows().await.expect_err("refused");
    assert!(error.message.contains("only numbers can be summed"), "{error}");
    assert!(client.scan(&table).aggregate([]).rows().await.is_err());
}

#[test]
fn without_an_asynchronous_runtime() {
    let server = Server::start();
    let mut client = blocking::Client::connect(&server.seed()).expect("the fake answers");
    let table = client.create_table(&users()).expect("a new table");
    let mut batch = duet_client::Batch::new();
    for id in 0..1_000 {
        batch.upsert(&table, &values(id), Expectation::Any).expect("fits");
    }
    client.execute(&mut batch);
    let rows = client.query(&table).filter(some_users()).select(["id"]).rows().expect("read");
    assert_eq!(ids(&rows), expected());
    assert_eq!(client.query(&table).limit(7).rows().expect("read").len(), 7);
    assert!(client.query(&table).limit(0).rows().expect("read").is_empty());
    let rows = client.query(&table).aggregate([count(), max("id")]).group_by(["credit"]).rows();
    let rows = rows.expect("read");
    assert_eq!(rows.len(), 11);
    let counted: u64 = rows.iter().map(|row| row.get::<u64>("count(*)").expect("a number")).sum();
    assert_eq!(counted, 1_000);
    assert!(client.query(&table).filter(col("x").is_null()).rows().is_err());
}
