//! `duet admin add-management`, `remove-management` and `replace-management`: which management nodes belong to the cluster.

use super::TIMEOUT;
use crate::connection::Connection;
use crate::output::say;
use anyhow::{Result, bail};
use duet_client::{Client, ClusterStatus, ManagementChange, ManagementRole, ManagementStatus};
use std::time::{Duration, Instant};

/// Time between two looks at what has become of a change.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Options of `duet admin add-management`.
#[derive(Clone, Debug, clap::Args)]
pub struct AddArguments {
    /// Ids and addresses of the new management nodes: one becomes three, so name two
    #[arg(required = true, value_name = "ID=ADDRESS", value_parser = place)]
    pub nodes: Vec<(u32, String)>,
    /// Seconds to wait until they vote
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub wait: u64,
    /// Where the cluster is
    #[command(flatten)]
    pub connection: Connection,
}

/// Options of `duet admin remove-management`.
#[derive(Clone, Debug, clap::Args)]
pub struct RemoveArguments {
    /// Ids of the management nodes: three become one, so name two
    #[arg(required = true, value_name = "ID")]
    pub nodes: Vec<u32>,
    /// Seconds to wait until the rest goes on without them
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub wait: u64,
    /// Where the cluster is
    #[command(flatten)]
    pub connection: Connection,
}

/// Options of `duet admin replace-management`.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplaceArguments {
    /// Id of the management node whose directory is lost, or that moves; with an address where the new one is
    #[arg(value_name = "ID[=ADDRESS]", value_parser = place_or_node)]
    pub node: (u32, Option<String>),
    /// Seconds to wait until the new one votes
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub wait: u64,
    /// Where the cluster is
    #[command(flatten)]
    pub connection: Connection,
}

fn place(text: &str) -> Result<(u32, String), String> {
    let sentence = || format!("{text:?} is not ID=HOST:PORT");
    let (node, address) = text.split_once('=').ok_or_else(sentence)?;
    if !address.contains(':') {
        return Err(sentence());
    }
    Ok((node.trim().parse().map_err(|_| sentence())?, address.trim().to_owned()))
}

fn place_or_node(text: &str) -> Result<(u32, Option<String>), String> {
    if text.contains('=') {
        return place(text).map(|(node, address)| (node, Some(address)));
    }
    let node = text.trim().parse().map_err(|_| format!("{text:?} is neither ID nor ID=HOST:PORT"))?;
    Ok((node, None))
}

/// Takes management nodes in, and waits until they vote.
///
/// # Errors
/// What the management nodes say against it, or the new ones have not come in time.
pub async fn add(arguments: &AddArguments) -> Result<()> {
    let client = arguments.connection.open(TIMEOUT).await?;
    client.change_management(ManagementChange::Add(arguments.nodes.clone())).await?;
    let status = client.status().await?;
    let contacts = voters(&status).join(",");
    for (node, address) in &arguments.nodes {
        say(format_args!(
            "management node {node} is awaited: duet mgmd --node-id {node} --listen {address} --directory DIRECTORY --join {contacts}"
        ))?;
    }
    if status.management.len() == 2 {
        return say(format_args!(
            "it will have the state of the cluster, and vote when a third one is there: two tolerate no more failures than one"
        ));
    }
    let nodes: Vec<u32> = arguments.nodes.iter().map(|(node, _)| *node).collect();
    wait_for_votes(&client, &nodes, arguments.wait).await
}

/// Takes management nodes out.
///
/// # Errors
/// What the management nodes say against it.
pub async fn remove(arguments: &RemoveArguments) -> Result<()> {
    let client = arguments.connection.open(TIMEOUT).await?;
    client.change_management(ManagementChange::Remove(arguments.nodes.clone())).await?;
    let until = Instant::now() + Duration::from_secs(arguments.wait);
    while Instant::now() < until {
        // The rest answers as the leader only when it needs nobody else.
        if let Ok(status) = client.status().await
            && status.management.iter().any(|node| node.leader && node.role == ManagementRole::Voter)
        {
            let rest: Vec<String> = status.management.iter().map(|node| node.node.to_string()).collect();
            return say(format_args!(
                "the cluster's management nodes are {}; those removed end by themselves",
                rest.join(", ")
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!("no management node leads yet; `duet admin status` shows them")
}

/// Lets a node with another directory take the place of one, and waits until it votes.
///
/// # Errors
/// What the management nodes say against it, or the new one has not come in time.
pub async fn replace(arguments: &ReplaceArguments) -> Result<()> {
    let client = arguments.connection.open(TIMEOUT).await?;
    let (node, address) = arguments.node.clone();
    client.change_management(ManagementChange::Replace { node, address }).await?;
    let status = client.status().await?;
    let contacts: Vec<&str> = status
        .management
        .iter()
        .filter(|other| other.node != node && other.role == ManagementRole::Voter)
        .map(|other| other.address.as_str())
        .collect();
    let address =
        status.management.iter().find(|other| other.node == node).map_or("ADDRESS", |own| &own.address);
    say(format_args!(
        "management node {node} is awaited, with an empty directory: duet mgmd --node-id {node} --listen {address} --directory DIRECTORY --join {}",
        contacts.join(",")
    ))?;
    wait_for_votes(&client, &[node], arguments.wait).await
}

fn voters(status: &ClusterStatus) -> Vec<&str> {
    let voters = status.management.iter().filter(|node| node.role == ManagementRole::Voter);
    voters.map(|node| node.address.as_str()).collect()
}

async fn wait_for_votes(client: &Client, nodes: &[u32], seconds: u64) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let is_meant = |node: &&ManagementStatus| nodes.contains(&node.node);
    let mut missing = nodes.to_vec();
    while Instant::now() < until {
        if let Ok(status) = client.status().await {
            let voting = |node: &&ManagementStatus| node.role == ManagementRole::Voter;
            let waited = status.management.iter().filter(is_meant).filter(|node| !voting(node));
            missing = waited.map(|node| node.node).collect();
            if missing.is_empty() {
                let all: Vec<String> = status.management.iter().map(|node| node.node.to_string()).collect();
                return say(format_args!("management nodes {} vote", all.join(", ")));
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    bail!(
        "management node {} does not vote yet: start it as above; `duet admin status` shows when it does",
        missing.join(" and ")
    )
}
