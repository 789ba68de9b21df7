//! Ranges of ordered indexes: bounds, order, limits, aggregates, and what does not go.

use crate::server::Server;
use duet_client::{
    Batch, Client, ColumnType, ErrorCode, Expectation, Row, Table, TableDefinition, TableRow, Value,
    blocking, col, count, max,
};

#[derive(Row, Debug, Clone, PartialEq)]
#[duet(table = "shop.orders")]
struct Order {
    #[duet(partition_key)]
    customer: i64,
    #[duet(key)]
    number: u32,
    #[duet(index, index = "by_state")]
    amount: Option<i32>,
    #[duet(index = "by_state", length = 20)]
    state: String,
}

/// 20 orders of 30 customers each.
fn orders() -> Vec<Order> {
    let amount = |number: u32| (!number.is_multiple_of(7)).then_some((number * 37 % 50) as i32);
    let state = |number: u32| ["new", "paid", "sent"][number as usize % 3].to_owned();
    let order = |customer: i64, number: u32| Order {
        customer,
        number,
        amount: amount(number + customer as u32),
        state: state(number),
    };
    (0..30).flat_map(|customer| (0..20).map(move |number| order(customer, number))).collect()
}

async fn filled() -> (Server, Client, Table) {
    let server = Server::start();
    let client = Client::connect(&server.seed()).await.expect("the fake answers");
    let table = client.create_table(Order::definition().expect("valid")).await.expect("a new table");
    let mut batch = Batch::new();
    for order in orders() {
        batch.upsert(&table, &order.values(), Expectation::Any).expect("fits");
    }
    client.execute(&mut batch).await.expect("executed");
    assert_eq!(batch.error_count(), 0);
    (server, client, table)
}

/// The orders in the order of an index, by what it compares.
fn sorted<K: Ord>(key: impl Fn(&Order) -> K) -> Vec<Order> {
    let mut orders = orders();
    orders.sort_by_key(|order| (key(order), order.customer, order.number));
    orders
}

#[tokio::test]
async fn rows_come_in_order_between_bounds() {
    let (_server, client, _) = filled().await;
    let orders_table = client.typed_table::<Order>().await.expect("the table fits");
    let all = sorted(|_| ());
    for page in [3, 1_000] {
        let range = client.range(orders_table.table()).ordered().page_rows(page);
        let rows = range.rows().await.expect("read");
        let found: Vec<(i64, u32)> = rows
            .iter()
            .map(|row| (row.get("customer").expect("one"), row.get("number").expect("one")))
            .collect();
        let expected: Vec<(i64, u32)> = all.iter().map(|order| (order.customer, order.number)).collect();
        assert_eq!(found, expected);
    }
    // Descending, with a limit, in one partition.
    let newest = orders_table.range().prefix(7_i64).reverse().limit(3).rows().await.expect("read");
    let numbers: Vec<u32> = newest.iter().map(|order| order.number).collect();
    assert_eq!((newest[0].customer, numbers), (7, vec![19, 18, 17]));

    let key = |order: &Order| (order.amount, order.state.clone());
    let by_state = sorted(key);
    let expected: Vec<Order> = by_state
        .iter()
        .filter(|order| order.amount.is_some_and(|a| (10..20).contains(&a)))
        .cloned()
        .collect();
    let range = || orders_table.range().index("by_state");
    let rows = range().from(10).before(20).ordered().rows().await.expect("read");
    assert_eq!(rows, expected);
    let expected: Vec<Order> = by_state.iter().filter(|order| order.amount.is_none()).cloned().collect();
    let rows = range().prefix(Value::Null).ordered().rows().await.expect("read");
    assert_eq!(rows, expected, "NULL is less than all values");
    let (from, to) = ((Some(3), "paid".to_owned()), (Some(12), "paid".to_owned()));
    let expected: Vec<Order> =
        by_state.iter().filter(|order| key(order) > from && key(order) <= to).rev().cloned().collect();
    let range = range().after((3, "paid".to_owned())).to((12, "paid".to_owned()));
    assert_eq!(range.reverse().rows().await.expect("read"), expected);
}

#[tokio::test]
async fn filters_columns_limits_and_aggregates_are_those_of_scans() {
    let (_server, client, table) = filled().await;
    let by_amount = sorted(|order| order.amount);
    let sent: Vec<&Order> =
        by_amount.iter().filter(|order| order.state == "sent" && order.amount >= Some(25)).collect();
    for limit in [0, 1, 9, 1_000] {
        let range = client.range(&table).index("amount").from(25).filter(col("state").eq("sent"));
        let rows = range.select(["state", "amount"]).ordered().page_rows(4).limit(limit).rows().await;
        let rows = rows.expect("read");
        let expected: Vec<Option<i32>> = sent.iter().take(limit as usize).map(|order| order.amount).collect();
        let found: Vec<Option<i32>> = rows.iter().map(|row| row.get("amount").expect("one")).collect();
        assert_eq!(found, expected);
    }
    // As they come.
    let range = client.range(&table).index("amount").from(25).filter(col("state").eq("sent"));
    let rows = range.page_rows(7).rows().await.expect("read");
    assert_eq!(rows.len(), sent.len());
    let range = client.range(&table).index("amount").from(25).filter(col("state").eq("sent"));
    let aggregates = range.aggregate([count(), max("amount")]).expect("fits").rows().await.expect("read");
    assert_eq!(aggregates[0].value("count(*)"), Some(&Value::UInt(sent.len() as u64)));
    assert_eq!(aggregates[0].value("max(amount)"), Some(&Value::Int(49)));
    let none = client.range(&table).from(9).before(9).ordered().rows().await.expect("read");
    assert!(none.is_empty());
}

#[tokio::test]
async fn what_does_not_go_is_said() {
    let (_server, client, table) = filled().await;
    let refused = async |range: duet_client::Range| range.rows().await.expect_err("does not go");
    let range = || client.range(&table);
    assert!(refused(range().index("by_price")).await.is(ErrorCode::IndexNotFound));
    assert!(refused(range().from(1).after(2)).await.is(ErrorCode::InvalidRequest));
    assert!(refused(range().from((1, 2, 3))).await.code >= 100, "too many values");
    assert!(refused(range().from("Smith")).await.code >= 100, "no number");
    let definition = TableDefinition::builder("shop", "plain").required("id", ColumnType::Int);
    let plain = definition.primary_key(["id"]).hash_only().build().expect("valid");
    let plain = client.create_table(plain).await.expect("a new table");
    assert!(refused(client.range(&plain)).await.is(ErrorCode::IndexNotFound));
}

#[test]
fn without_an_asynchronous_runtime() {
    let server = Server::start();
    let mut client = blocking::Client::connect(&server.seed()).expect("the fake answers");
    let table = client.create_table(&Order::definition().expect("valid")).expect("a new table");
    let mut batch = Batch::new();
    for order in orders() {
        batch.upsert(&table, &order.values(), Expectation::Any).expect("fits");
    }
    client.execute(&mut batch);
    assert_eq!(batch.error_count(), 0);
    let by_amount = sorted(|order| order.amount);
    let expected: Vec<Option<i32>> =
        by_amount.iter().filter(|order| order.amount >= Some(40)).map(|order| order.amount).collect();
    let amounts = |rows: Vec<Row>| -> Vec<Option<i32>> {
        rows.iter().map(|row| row.get("amount").expect("one")).collect()
    };
    let rows = client.range(&table).index("amount").from(40).ordered().rows().expect("read");
    assert_eq!(amounts(rows), expected);
    let rows = client.range(&table).index("amount").from(40).select(["amount"]).reverse().limit(5).rows();
    assert_eq!(amounts(rows.expect("read")), vec![Some(49); 5]);
    let counted = client.range(&table).index("amount").from(40).aggregate([count()]).expect("fits");
    assert_eq!(counted.rows().expect("read")[0].value("count(*)"), Some(&Value::UInt(expected.len() as u64)));
    assert_eq!(client.range(&table).prefix(3).rows().expect("read").len(), 20);
}
