//! The database `duet`: what the management nodes know of the cluster, as tables that are made when they are read.

use crate::error::{Result, SqlError};
use crate::information::Content;
use crate::node_threads;
use crate::session::Session;
use duet_client::{ClusterStatus, ColumnType, Value};

/// The name of the database.
pub const DATABASE: &str = "duet";
/// Names of the tables.
pub const NAMES: &[&str] = &["memory", "nodes", "partitions", "threads"];

const NUMBER: ColumnType = ColumnType::BigIntUnsigned;
const WORD: ColumnType = ColumnType::Varchar { characters: 64 };
/// 0 or 1.
const TRUTH: ColumnType = ColumnType::BigInt;

fn number(number: impl Into<u64>) -> Value {
    Value::UInt(number.into())
}

fn truth(truth: bool) -> Value {
    Value::Int(i64::from(truth))
}

fn word(word: impl Into<String>) -> Value {
    Value::Text(word.into())
}

/// Data nodes and management nodes.
fn nodes(status: &ClusterStatus) -> Content {
    let columns = [
        ("role", WORD),
        ("node_id", NUMBER),
        ("address", WORD),
        ("connected", TRUTH),
        ("serving", TRUTH),
        ("in_view", TRUTH),
        ("leader", TRUTH),
        ("incarnation", NUMBER),
        ("row_count", NUMBER),
        ("epoch", NUMBER),
        ("closed_epoch", NUMBER),
        ("state_version", NUMBER),
    ];
    let data = status.nodes.iter().map(|node| {
        vec![
            word("data"),
            number(node.node),
            word(&node.address),
            truth(node.connected),
            truth(node.serving),
            truth(node.in_view),
            Value::Null,
            number(node.incarnation),
            number(node.rows),
            number(node.epoch),
            number(node.closed_epoch),
            number(node.state_version),
        ]
    });
    let management = status.management.iter().map(|node| {
        let mut row = vec![
            word("management"),
            number(node.node),
            word(&node.address),
            truth(node.connected),
            Value::Null,
            Value::Null,
            truth(node.leader),
        ];
        row.resize(columns.len(), Value::Null);
        row
    });
    (named(&columns), data.chain(management).collect())
}

/// Where the replicas of partitions are: one row for each.
fn partitions(status: &ClusterStatus) -> Content {
    let columns = [
        ("partition_id", NUMBER),
        ("node_group", NUMBER),
        ("node_id", NUMBER),
        ("is_primary", TRUTH),
        ("configuration", NUMBER),
    ];
    let mut rows = Vec::new();
    for (partition, view) in status.state.view.partitions.iter().enumerate() {
        for (place, node) in view.replicas.iter().enumerate() {
            rows.push(vec![
                number(partition as u64),
                number(view.group),
                number(*node),
                truth(place == 0),
                number(view.cfg),
            ]);
        }
    }
    (named(&columns), rows)
}

/// Memory of data nodes, and what queries hold in this gateway.
fn memory(session: &Session, status: &ClusterStatus) -> Content {
    let columns = [
        ("part", WORD),
        ("node_id", NUMBER),
        ("used_bytes", NUMBER),
        ("limit_bytes", NUMBER),
        ("row_count", NUMBER),
    ];
    let row = |node: &duet_client::NodeStatus| {
        vec![
            word("data node"),
            number(node.node),
            number(node.memory_used),
            number(node.memory_limit),
            number(node.rows),
        ]
    };
    let mut rows: Vec<Vec<Value>> = status.nodes.iter().map(row).collect();
    let total = &session.catalog.engine().total;
    rows.push(vec![
        word("queries of this gateway"),
        Value::Null,
        number(total.used() as u64),
        number(total.most() as u64),
        Value::Null,
    ]);
    (named(&columns), rows)
}

/// Threads of the data nodes that serve metrics, which tell of them.
async fn threads(status: &ClusterStatus) -> Content {
    let columns = [
        ("node_id", NUMBER),
        ("thread_id", NUMBER),
        ("name", WORD),
        ("cpus", WORD),
        ("cpu_us", NUMBER),
        ("wait_us", NUMBER),
        ("turns", NUMBER),
    ];
    let rows = node_threads::read(&status.state.nodes).await.into_iter().map(|thread| {
        vec![
            number(thread.node),
            number(thread.id),
            word(thread.name),
            word(thread.cpus),
            number(thread.cpu_microseconds),
            number(thread.wait_microseconds),
            number(thread.turns),
        ]
    });
    (named(&columns), rows.collect())
}

fn named(columns: &[(&str, ColumnType)]) -> Vec<(String, ColumnType)> {
    columns.iter().map(|(name, column_type)| ((*name).to_owned(), *column_type)).collect()
}

/// One of the tables.
///
/// # Errors
/// 1146 when there is no such table; those of the cluster.
pub async fn rows(session: &Session, name: &str) -> Result<Content> {
    let status = session.catalog.client().status().await?;
    match name.to_ascii_lowercase().as_str() {
        "nodes" => Ok(nodes(&status)),
        "partitions" => Ok(partitions(&status)),
        "memory" => Ok(memory(session, &status)),
        "threads" => Ok(threads(&status).await),
        other => Err(SqlError::no_table(DATABASE, other)),
    }
}
