//! `duet admin`: how the cluster is, which tables it has, and single rows.

mod management;
mod nodes;
mod row;
mod schema;
pub mod user;

use crate::connection::{Connection, block_on};
use crate::output::say;
use crate::progress::{bytes_text, count_text};
use anyhow::Result;
use comfy_table::{Table as TextTable, presets};
use duet_client::{ClusterStatus, Column, IndexKind, ManagementRole, PrimaryKeyOrder, TableDefinition};
use duet_protocol::schema::IndexState;
use serde_json::{Value, json};
use std::time::Duration;

/// Time that an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Subcommands of `duet admin`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum AdminCommand {
    /// Show nodes, view, partitions, memory and rows
    Status(Arguments),
    /// Let a data node hand over what it leads, and end it
    StopNode(nodes::StopArguments),
    /// Let a data node hand over what it leads, and start it again
    RestartNode(nodes::RestartArguments),
    /// Start all nodes again, one after the other, while the cluster is used
    RollingRestart(nodes::RollingArguments),
    /// Show tables with their columns and keys
    Tables(Arguments),
    /// Show the columns of one row, found by its primary key
    Get(row::GetArguments),
    /// Drop a table with all its rows
    Drop(row::DropArguments),
    /// Add a column to a table, while it is used
    AddColumn(schema::AddColumnArguments),
    /// Create an index of a table, while it is used
    CreateIndex(schema::CreateIndexArguments),
    /// Drop an index of a table
    DropIndex(schema::DropIndexArguments),
    /// Take management nodes in: one becomes three
    AddManagement(management::AddArguments),
    /// Take management nodes out: three become one
    RemoveManagement(management::RemoveArguments),
    /// Let a management node with an empty directory take the place of one
    ReplaceManagement(management::ReplaceArguments),
    /// Say who may come in through the SQL gateways
    #[command(subcommand)]
    User(user::UserCommand),
}

/// Options of `duet admin status` and `duet admin tables`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where the cluster is
    #[command(flatten)]
    pub connection: Connection,
}

/// Prints what was asked for.
///
/// # Errors
/// A sentence when no node answers.
pub fn run(command: &AdminCommand) -> Result<()> {
    block_on(async {
        match command {
            AdminCommand::Status(arguments) => {
                let client = arguments.connection.open(TIMEOUT).await?;
                let status = client.status().await?;
                match arguments.json {
                    true => say(format_args!("{:#}", status_json(&status)))?,
                    false => say(format_args!("{}", status_text(&status)))?,
                }
            }
            AdminCommand::StopNode(arguments) => nodes::stop(arguments).await?,
            AdminCommand::RestartNode(arguments) => nodes::restart(arguments).await?,
            AdminCommand::RollingRestart(arguments) => nodes::rolling_restart(arguments).await?,
            AdminCommand::Get(arguments) => row::get(arguments).await?,
            AdminCommand::Drop(arguments) => row::drop_table(arguments).await?,
            AdminCommand::AddColumn(arguments) => schema::add_column(arguments).await?,
            AdminCommand::CreateIndex(arguments) => schema::create_index(arguments).await?,
            AdminCommand::DropIndex(arguments) => schema::drop_index(arguments).await?,
            AdminCommand::AddManagement(arguments) => management::add(arguments).await?,
            AdminCommand::RemoveManagement(arguments) => management::remove(arguments).await?,
            AdminCommand::ReplaceManagement(arguments) => management::replace(arguments).await?,
            AdminCommand::User(command) => user::run(command).await?,
            AdminCommand::Tables(arguments) => {
                let client = arguments.connection.open(TIMEOUT).await?;
                let tables = client.tables().await?;
                match arguments.json {
                    true => {
                        let tables = tables
                            .iter()
                            .map(|table| table_json(table.id(), table.version(), table.definition()));
                        say(format_args!("{:#}", json!({ "tables": tables.collect::<Vec<_>>() })))?;
                    }
                    false if tables.is_empty() => {
                        say(format_args!("there are no tables; `duet import` creates one"))?;
                    }
                    false => {
                        for table in &tables {
                            say(format_args!("{}", table_text(table.definition())))?;
                        }
                    }
                }
            }
        }
        Ok(())
    })
}

/// A text table with a header.
pub fn text_table(header: &[&str]) -> TextTable {
    let mut table = TextTable::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.to_vec());
    table
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn role_name(role: ManagementRole) -> &'static str {
    match role {
        ManagementRole::Voter => "yes",
        ManagementRole::Learner => "no, it learns",
        ManagementRole::Awaited => "no, it is awaited",
    }
}

fn status_text(status: &ClusterStatus) -> String {
    let state = &status.state;
    let mut management = text_table(&["management node", "address", "connected", "leader", "votes"]);
    for node in &status.management {
        let (id, votes) = (node.node.to_string(), role_name(node.role));
        management.add_row([&id, &node.address, yes(node.connected), yes(node.leader), votes]);
    }
    let header = [
        "data node",
        "address",
        "connected",
        "serving",
        "member",
        "primary of",
        "backup of",
        "rows",
        "memory",
    ];
    let mut data = text_table(&header);
    for node in &status.nodes {
        let led =
            state.view.partitions.iter().filter(|partition| partition.replicas.first() == Some(&node.node));
        let kept = state
            .view
            .partitions
            .iter()
            .filter(|partition| partition.replicas.iter().skip(1).any(|id| *id == node.node));
        // What a node that is away said last is not how it is.
        let current = |text: String| if node.connected { text } else { "unknown".to_owned() };
        data.add_row([
            format!("{}.{}", node.node, node.incarnation),
            node.address.clone(),
            yes(node.connected).to_owned(),
            current(yes(node.serving).to_owned()),
            nodes::standing(status, node.node).to_owned(),
            led.count().to_string(),
            kept.count().to_string(),
            current(count_text(node.rows)),
            current(format!("{} of {}", bytes_text(node.memory_used), bytes_text(node.memory_limit))),
        ]);
    }
    let view = match state.view.number {
        0 => format!(
            "forming: {} of {} data nodes have registered",
            state.nodes.len(),
            state.configuration.data_nodes
        ),
        number => format!("view {number}, {}", epochs_text(status)),
    };
    let mut text = format!(
        "cluster {:016x}, {view}, state {}, term {}, {} tables\n{management}\n{data}",
        state.cluster_id,
        state.version,
        status.term,
        state.tables.len()
    );
    if state.view.number > 0 {
        let mut partitions = text_table(&["partition", "group", "primary", "backup", "configuration"]);
        for (number, partition) in state.view.partitions.iter().enumerate() {
            let node =
                |index: usize| partition.replicas.get(index).map_or("-".to_owned(), ToString::to_string);
            partitions.add_row([
                number.to_string(),
                partition.group.to_string(),
                node(0),
                node(1),
                partition.cfg.to_string(),
            ]);
        }
        text.push_str(&format!("\n{partitions}"));
    }
    for group in &state.lost_groups {
        text.push_str(&format!(
            "\ngroup {group} is lost: all processes with its rows have ended; start a new cluster and load it again"
        ));
    }
    for (table, index, state) in changing_indexes(status) {
        text.push_str(&format!("\nindex {index} of {table} is being {}", doing(state)));
        if let (IndexState::WriteOnly, Some(part)) = (state, built_part(status)) {
            text.push_str(&format!(": {:.0} % of the rows are entered", part * 100.0));
        }
    }
    text
}

/// Indexes that are being built or dropped, with their tables.
fn changing_indexes(status: &ClusterStatus) -> Vec<(String, &str, IndexState)> {
    let tables = status.state.tables.iter().flat_map(|table| {
        let name = format!("{}.{}", table.definition.database, table.definition.name);
        table.secondary_indexes().map(move |(index, known)| (name.clone(), index.name.as_str(), known.state))
    });
    tables.filter(|(_, _, state)| *state != IndexState::Public).collect()
}

fn doing(state: IndexState) -> &'static str {
    match state {
        IndexState::Announced => "announced or taken back",
        IndexState::WriteOnly => "built",
        IndexState::Public => "used",
        IndexState::Dropping => "dropped",
    }
}

/// How much is done of the index that is being built: of all fragments on all nodes that are there.
fn built_part(status: &ClusterStatus) -> Option<f64> {
    let nodes = || status.nodes.iter().filter(|node| node.connected && node.in_view);
    let all: u64 = nodes().map(|node| node.building_indexes).sum();
    let done: u64 = nodes().map(|node| node.building_done).sum();
    (all > 0).then(|| done as f64 / (1_000.0 * all as f64))
}

/// The epochs as the nodes that are there know them.
fn epochs_text(status: &ClusterStatus) -> String {
    let known = || status.nodes.iter().filter(|node| node.connected);
    let open = known().map(|node| node.epoch).max().unwrap_or(0);
    let closed = known().map(|node| node.closed_epoch).max().unwrap_or(0);
    format!("epoch {open} open, {closed} closed")
}

fn status_json(status: &ClusterStatus) -> Value {
    let state = &status.state;
    let management = status.management.iter().map(|node| {
        json!({ "node": node.node, "address": node.address, "connected": node.connected, "leader": node.leader, "votes": node.role == ManagementRole::Voter })
    });
    let nodes = status.nodes.iter().map(|node| {
        json!({
            "node": node.node,
            "incarnation": node.incarnation,
            "address": node.address,
            "connected": node.connected,
            "serving": node.connected && node.serving,
            "in_view": node.in_view,
            "member": nodes::standing(status, node.node),
            "state_version": node.state_version,
            "memory_used_bytes": node.memory_used,
            "memory_limit_bytes": node.memory_limit,
            "rows": node.rows,
            "epoch": node.epoch,
            "closed_epoch": node.closed_epoch,
        })
    });
    let partitions = state.view.partitions.iter().enumerate().map(|(number, partition)| {
        json!({
            "partition": number,
            "group": partition.group,
            "replicas": partition.replicas,
            "configuration": partition.cfg,
        })
    });
    let indexes = changing_indexes(status).into_iter().map(|(table, index, state)| {
        let part = built_part(status).filter(|_| state == IndexState::WriteOnly);
        json!({ "table": table, "index": index, "being": doing(state), "part_done": part })
    });
    json!({
        "changing_indexes": indexes.collect::<Vec<_>>(),
        "cluster_id": format!("{:016x}", state.cluster_id),
        "state_version": state.version,
        "view": state.view.number,
        "term": status.term,
        "answered_by": status.answered_by,
        "tables": state.tables.len(),
        "lost_groups": state.lost_groups,
        "management": management.collect::<Vec<_>>(),
        "data_nodes": nodes.collect::<Vec<_>>(),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

fn column_names(definition: &TableDefinition, indexes: &[u16]) -> Vec<String> {
    indexes.iter().map(|index| definition.columns[usize::from(*index)].name.clone()).collect()
}

fn kind_name(kind: IndexKind) -> &'static str {
    match kind {
        IndexKind::Ordered => "ordered",
        IndexKind::Unique => "unique",
    }
}

/// What rows have that do not give the column, if there is anything.
fn inserted_text(column: &Column) -> Option<String> {
    match column.current_time {
        Some(rule) if rule.on_insert => Some(rule.to_string()),
        _ => column.default.as_ref().map(ToString::to_string),
    }
}

/// The default of a column and what an UPDATE of SQL gives it.
fn default_text(column: &Column) -> String {
    let mut text = inserted_text(column).unwrap_or_default();
    if let Some(rule) = column.current_time.filter(|rule| rule.on_update) {
        let space = if text.is_empty() { "" } else { " " };
        text.push_str(&format!("{space}on update {rule}"));
    }
    text
}

fn table_text(definition: &TableDefinition) -> String {
    let mut table = text_table(&["column", "type", "null", "default", "key"]);
    for (index, column) in definition.columns.iter().enumerate() {
        let index = index as u16;
        let position = definition.primary_key.iter().position(|key| *key == index);
        let mut key = position.map_or(String::new(), |position| format!("primary {}", position + 1));
        if definition.partition_key.contains(&index) && definition.partition_key != definition.primary_key {
            key.push_str(", partition");
        }
        table.add_row([
            column.name.clone(),
            column.column_type.to_string(),
            yes(column.nullable).to_owned(),
            default_text(column),
            key,
        ]);
    }
    let mut text = format!("{}.{}\n{table}", definition.database, definition.name);
    if definition.primary_key_order == PrimaryKeyOrder::HashOnly {
        text.push_str("\nprimary key by hash only");
    }
    for index in &definition.indexes {
        let columns = column_names(definition, &index.columns).join(", ");
        text.push_str(&format!("\n{} index {} on {columns}", kind_name(index.kind), index.name));
    }
    text
}

fn table_json(id: u32, version: u16, definition: &TableDefinition) -> Value {
    let names = |indexes: &[u16]| column_names(definition, indexes);
    let indexes = definition.indexes.iter().map(|index| {
        json!({ "name": index.name, "kind": kind_name(index.kind), "columns": names(&index.columns) })
    });
    let columns = definition.columns.iter().map(|column| {
        json!({
            "name": column.name,
            "type": column.column_type.to_string(),
            "nullable": column.nullable,
            "default": inserted_text(column),
            "on_update": column.current_time.filter(|rule| rule.on_update).map(|rule| rule.to_string()),
        })
    });
    json!({
        "database": definition.database,
        "table": definition.name,
        "id": id,
        "version": version,
        "columns": columns.collect::<Vec<_>>(),
        "primary_key": names(&definition.primary_key),
        "partition_key": names(&definition.partition_key),
        "hash_only": definition.primary_key_order == PrimaryKeyOrder::HashOnly,
        "indexes": indexes.collect::<Vec<_>>(),
    })
}
