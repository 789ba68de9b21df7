//! Scans between real processes: answers against a reference, programs that do not fit, tables that go, and clients that do
//! not listen.

use crate::cluster::{Cluster, wait_for};
use crate::wire::{Wire, row, write};
use duet_client::{
    Batch, Client, ColumnType, Condition, Error, ErrorCode, Expectation, Row, Table, TableDefinition, Value,
    col, count, count_of, max, min, sum,
};
use duet_protocol::frame::{Envelope, FrameBuilder};
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::scan::Scan;
use duet_protocol::signal::write::OPERATION_UPSERT;
use duet_protocol::signal::{Sections, SignalType};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;
use tokio::runtime::Runtime;

const ROWS: i64 = 4_000;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn definition() -> TableDefinition {
    TableDefinition::builder("shop", "orders")
        .required("id", ColumnType::BigInt)
        .required("kind", ColumnType::Varchar { characters: 20 })
        .nullable("amount", ColumnType::BigInt)
        .required("price", ColumnType::Decimal { precision: 12, scale: 2 })
        .required("weight", ColumnType::Double)
        .primary_key(["id"])
        .build()
        .expect("valid")
}

/// An order; everything follows from its number.
#[derive(Clone, Debug)]
struct Order {
    id: i64,
    kind: String,
    amount: Option<i64>,
    /// In cents.
    price: i128,
}

impl Order {
    fn numbered(id: i64) -> Order {
        let random = (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        Order {
            id,
            kind: format!("kind {}", random % 13),
            amount: (!random.is_multiple_of(5)).then_some((random % 2_001) as i64 - 1_000),
            price: i128::from(random % 1_000_000) - 500_000,
        }
    }

    fn values(&self) -> [Value; 5] {
        [
            Value::Int(self.id),
            Value::Text(self.kind.clone()),
            self.amount.map_or(Value::Null, Value::Int),
            Value::Decimal { unscaled: self.price, scale: 2 },
            Value::Double(self.id as f64 / 2.0),
        ]
    }
}

fn orders() -> impl Iterator<Item = Order> {
    (0..ROWS).map(Order::numbered)
}

async fn filled(client: &Client) -> Table {
    let table = client.create_table(definition()).await.expect("a new table");
    let all: Vec<Order> = orders().collect();
    for some in all.chunks(500) {
        let mut batch = Batch::new();
        for order in some {
            batch.upsert(&table, &order.values(), Expectation::Any).expect("fits");
        }
        client.execute(&mut batch).await.expect("executed");
        assert_eq!(batch.error_count(), 0);
    }
    table
}

/// A filter, and the same as a function of an order.
type Case = (Condition, fn(&Order) -> bool);

fn cases() -> Vec<Case> {
    vec![
        (col("id").ge(0), |_| true),
        (col("amount").gt(500), |order| order.amount.is_some_and(|amount| amount > 500)),
        (!col("amount").gt(500), |order| order.amount.is_some_and(|amount| amount <= 500)),
        (col("amount").is_null().or(col("price").lt(0)), |order| order.amount.is_none() || order.price < 0),
        (col("kind").starts_with("kind 1").and(!col("kind").eq("kind 1")), |order| {
            order.kind.starts_with("kind 1") && order.kind != "kind 1"
        }),
        (col("id").one_of([5, 77, 3_999, 4_000]).or(col("weight").lt(2.0)), |order| {
            [5, 77, 3_999].contains(&order.id) || order.id < 4
        }),
        (col("id").lt(0), |_| false),
    ]
}

fn ids(rows: &[Row]) -> Vec<i64> {
    let mut ids: Vec<i64> = rows.iter().map(|row| row.get("id").expect("an id")).collect();
    ids.sort_unstable();
    ids
}

fn decimal(unscaled: Option<i128>, scale: u8) -> Value {
    unscaled.map_or(Value::Null, |unscaled| Value::Decimal { unscaled, scale })
}

/// Values of the group column, of none for one group, and of the aggregates.
fn reference(passed: &[Order], by_kind: bool) -> BTreeMap<String, [Value; 6]> {
    let mut groups: BTreeMap<String, Vec<&Order>> = BTreeMap::new();
    for order in passed {
        let group = if by_kind { order.kind.clone() } else { String::new() };
        groups.entry(group).or_default().push(order);
    }
    if !by_kind && groups.is_empty() {
        groups.insert(String::new(), Vec::new());
    }
    let of = |orders: Vec<&Order>| {
        let amounts: Vec<i64> = orders.iter().filter_map(|order| order.amount).collect();
        let sum = (!amounts.is_empty()).then(|| amounts.iter().copied().map(i128::from).sum());
        let prices = (!orders.is_empty()).then(|| orders.iter().map(|order| order.price).sum());
        [
            Value::UInt(orders.len() as u64),
            Value::UInt(amounts.len() as u64),
            decimal(sum, 0),
            decimal(prices, 2),
            amounts.iter().min().map_or(Value::Null, |least| Value::Int(*least)),
            orders
                .iter()
                .map(|order| &order.kind)
                .max()
                .map_or(Value::Null, |kind| Value::Text(kind.clone())),
        ]
    };
    groups.into_iter().map(|(group, orders)| (group, of(orders))).collect()
}

#[test]
fn filters_and_aggregates_agree_with_a_reference() {
    let cluster = Cluster::start(1);
    runtime().block_on(async {
        let client = Client::connect(&cluster.management_addresses).await.expect("connected");
        let table = filled(&client).await;
        for (number, (filter, passes)) in cases().into_iter().enumerate() {
            let passed: Vec<Order> = orders().filter(passes).collect();
            let scan = || client.scan(&table).filter(filter.clone());
            let rows = scan().select(["amount", "id"]).page_rows(50).rows().await.expect("read");
            assert_eq!(ids(&rows), passed.iter().map(|order| order.id).collect::<Vec<_>>(), "case {number}");
            for row in &rows {
                let order = Order::numbered(row.get("id").expect("an id"));
                assert_eq!(row.get::<Option<i64>>("amount"), Ok(order.amount));
            }
            for by_kind in [false, true] {
                let aggregates =
                    [count(), count_of("amount"), sum("amount"), sum("price"), min("amount"), max("kind")];
                let mut aggregated = scan().aggregate(aggregates);
                if by_kind {
                    aggregated = aggregated.group_by(["kind"]);
                }
                let mut found = BTreeMap::new();
                for row in aggregated.rows().await.expect("read") {
                    let (group, values) = row.values().split_at(usize::from(by_kind));
                    let group = match group {
                        [Value::Text(kind)] => kind.clone(),
                        _ => String::new(),
                    };
                    let values = <[Value; 6]>::try_from(values.to_vec()).expect("six aggregates");
                    assert!(found.insert(group, values).is_none(), "a group comes once");
                }
                assert_eq!(found, reference(&passed, by_kind), "case {number}, by kind: {by_kind}");
            }
        }
        let limited = client.scan(&table).filter(col("price").gt(0)).limit(17).rows().await.expect("read");
        assert_eq!(limited.len(), 17);
    });
}

#[test]
fn what_does_not_fit_ends_in_numbered_errors() {
    let cluster = Cluster::start(1);
    runtime().block_on(async {
        let client = Client::connect(&cluster.management_addresses).await.expect("connected");
        let table = filled(&client).await;
        let refused = |condition: Condition| {
            let mut scan = client.scan(&table).filter(condition);
            async move { scan.next().await.expect_err("refused") }
        };
        let is = |error: Error, code: u16, text: &str| {
            assert_eq!((error.code, error.retryable), (code, false), "{error}");
            assert!(error.message.contains(text), "{error}");
        };
        is(refused(col("colour").eq(1)).await, 23, "no column 'colour'");
        is(refused(col("kind").gt(1)).await, 207, "cannot be compared with a signed integer");
        is(refused(col("amount").starts_with("1")).await, 210, "only text and bytes have prefixes");
        let groups =
            client.scan(&table).aggregate([count()]).group_by(["id"]).most_groups(1_000).rows().await;
        is(groups.expect_err("too many"), 215, "1000");
        let text = client.scan(&table).aggregate([sum("kind")]).rows().await;
        assert!(text.expect_err("no numbers").message.contains("only numbers can be summed"));
        // Whoever was refused may go on.
        assert_eq!(client.scan(&table).limit(3).rows().await.expect("read").len(), 3);

        // A table that goes while it is scanned, and one that is gone.
        let mut scan = client.scan(&table).fragments(1).page_rows(1);
        assert!(scan.next_page(|_, _| {}).await.expect("the first page"));
        client.drop_table("shop.orders").await.expect("dropped");
        let error = loop {
            match scan.next_page(|_, _| {}).await {
                Ok(true) => {}
                Ok(false) => panic!("the scan of a dropped table came to its end"),
                Err(error) => break error,
            }
        };
        assert!(error.is(ErrorCode::TableNotFound), "{error}");
        let error = client.scan(&table).aggregate([count()]).rows().await.expect_err("gone");
        assert!(error.is(ErrorCode::TableNotFound), "{error}");
    });
}

/// Bytes of the text of a row that is large.
const NOTE_BYTES: usize = 10_000;
/// Requests for pages of 256 KiB that the deaf client sends: more than a GiB of answers.
const DEAF_REQUESTS: u64 = 6_000;
/// What the node may hold for it, generously.
const MOST_GROWTH: u64 = 128 << 20;

#[test]
fn a_client_that_stops_reading_its_scan_costs_little_and_stalls_nobody() {
    let mut cluster = Cluster::start(1);
    let (_, table) = cluster.leader().create_table("accounts", 1);
    let (state, note) = (cluster.state(), "n".repeat(NOTE_BYTES));
    let mut loaders: Vec<(Wire, u64)> = Vec::new();
    for node in &cluster.nodes {
        let mut wire = Wire::client(&node.listen);
        let session = wire.open_session();
        loaders.push((wire, session));
    }
    let mut on_first = None;
    for id in 0..400_i64 {
        let (key, value) = row(id, id, &note);
        let node = cluster.leader_of(&state, &key);
        if node == 0 {
            on_first = Some(key.clone());
        }
        let (wire, session) = &mut loaders[node];
        let body = write(table, OPERATION_UPSERT, *session, id as u64 + 1);
        assert_eq!(wire.ask(&body, Sections::two(&key, &value)).signal_type, SignalType::WriteReply);
    }
    let (key, node) = (on_first.expect("rows are spread"), &cluster.nodes[0]);
    let before = node.resident_bytes();
    let partitions = state.view.partitions.len() as u16;
    let led = |partition: &u16| state.view.partitions[usize::from(*partition)].replicas[0] == 1;
    let led: Vec<u16> = (0..partitions).filter(led).collect();
    let mut deaf = Wire::client(&node.listen);
    deaf.stream.set_write_timeout(Some(Duration::from_millis(500))).expect("option");
    let mut sent = 0;
    'sending: for _ in 0..DEAF_REQUESTS / 100 {
        let mut builder = FrameBuilder::new();
        for number in 0..100 {
            let body = Scan {
                table: table.into(),
                table_version: 1.into(),
                partition: led[number % led.len()].into(),
                max_rows: 4_096.into(),
                max_bytes: (256 << 10).into(),
                ..Scan::default()
            };
            builder.push(0, number as u64, &body, Sections::none());
        }
        let frame = builder.seal(&Envelope::default()).expect("open");
        if deaf.stream.write_all(frame).is_err() {
            // The node takes no more of it.
            break 'sending;
        }
        sent += 100;
        // Meanwhile everybody else is served.
        let (wire, _) = &mut loaders[0];
        let answer = wire.ask(&crate::wire::read(table), Sections::one(&key));
        assert_eq!(answer.signal_type, SignalType::ReadReply);
    }
    assert!(sent > 0, "the node listens at all");
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < MOST_GROWTH, "{grown} bytes are held for a client that took nothing");
    // Once it listens, each request that arrived whole has one answer: a page, or that there was no room for one.
    for _ in 0..sent.min(50) {
        let answer = deaf.receive().expect("an answer");
        match answer.signal_type {
            SignalType::ScanReply => {}
            SignalType::ErrorReply => {
                let code = answer.body::<ErrorReply>().code.get();
                assert_eq!(ErrorCode::from_number(code), Some(ErrorCode::ReplyBufferFull));
            }
            other => panic!("{other:?}"),
        }
    }
    drop(deaf);
    let (wire, _) = &mut loaders[0];
    wait_for("the node answers", || {
        let answer = wire.ask(&crate::wire::read(table), Sections::one(&key));
        (answer.signal_type == SignalType::ReadReply).then_some(())
    });
}
