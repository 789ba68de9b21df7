//! `duet admin stop-node`, `restart-node` and `rolling-restart`: nodes leave without anybody noticing.

use crate::connection::Connection;
use crate::output::say;
use anyhow::{Context, Result, bail, ensure};
use duet_client::{
    Client, ClusterStatus, Error, ErrorCode, LeaveRequest, Leaving, Member, MemberState, NodeStatus,
};
use std::time::{Duration, Instant};

/// Time that an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two looks at the cluster.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Options of `duet admin stop-node`.
#[derive(Clone, Debug, clap::Args)]
pub struct StopArguments {
    /// Node id
    #[arg(value_name = "NODE")]
    node: u32,
    /// The management node with this id, not the data node
    #[arg(long)]
    management: bool,
    /// Stop it also when no other one has all rows of its group: they are lost; or when the management nodes have no majority without it
    #[arg(long)]
    force: bool,
    /// Longest wait until it has ended
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Where the cluster is
    #[command(flatten)]
    connection: Connection,
}

/// Options of `duet admin restart-node`.
#[derive(Clone, Debug, clap::Args)]
pub struct RestartArguments {
    /// Node id
    #[arg(value_name = "NODE")]
    node: u32,
    /// The management node with this id, not the data node
    #[arg(long)]
    management: bool,
    /// Restart it also when no other one has all rows of its group: they are lost; or when the management nodes have no majority without it
    #[arg(long)]
    force: bool,
    /// Longest wait until it has all rows again
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Where the cluster is
    #[command(flatten)]
    connection: Connection,
}

/// Options of `duet admin rolling-restart`.
#[derive(Clone, Debug, clap::Args)]
pub struct RollingArguments {
    /// Longest wait for each node until it has all rows again and leads its share
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Where the cluster is
    #[command(flatten)]
    connection: Connection,
}

/// What a data node is in the view, in a word.
pub fn standing(status: &ClusterStatus, node: u32) -> &'static str {
    match member(status, node).map(|member| (member.state, member.leaving)) {
        None => "no",
        Some((MemberState::Joining, _)) => "joining",
        Some((MemberState::Full, Leaving::No)) => "full",
        Some((MemberState::Full, Leaving::ToEnd)) => "leaving",
        Some((MemberState::Full, Leaving::ToRestart)) => "restarting",
    }
}

fn member(status: &ClusterStatus, node: u32) -> Option<&Member> {
    status.state.view.members().find(|member| member.node == node)
}

/// Ends a data node that is not needed for the rows.
///
/// # Errors
/// A sentence: it is the only one with its rows, or did not end in time.
pub async fn stop(arguments: &StopArguments) -> Result<()> {
    let client = arguments.connection.open(TIMEOUT).await?;
    if arguments.management {
        let wanted = LeaveRequest { node: arguments.node, restarts: false, forced: arguments.force };
        client.end_management(wanted).await?;
        return say(format_args!("management node {} ends", arguments.node));
    }
    let mut watch = Watch::new(&client, arguments.node, arguments.timeout);
    let before = watch.ask(false, arguments.force).await?;
    watch
        .until("has not ended", |status| {
            let gone = member(status, before.node).is_none_or(|now| now.incarnation != before.incarnation);
            let same =
                |node: &&NodeStatus| node.node == before.node && node.incarnation == before.incarnation;
            let silent = !status.nodes.iter().filter(same).any(|node| node.connected);
            // The only one with its rows stays in the view when it was forced to end.
            (silent && (gone || arguments.force)).then_some(())
        })
        .await?;
    say(format_args!("data node {} has ended", arguments.node))
}

/// Starts a data node again.
///
/// # Errors
/// A sentence: it is the only one with its rows, or did not come back in time.
pub async fn restart(arguments: &RestartArguments) -> Result<()> {
    let client = arguments.connection.open(TIMEOUT).await?;
    if arguments.management {
        return restart_management(&client, arguments.node, arguments.force, arguments.timeout).await;
    }
    restart_one(&client, arguments.node, arguments.force, arguments.timeout).await
}

async fn restart_one(client: &Client, node: u32, force: bool, timeout: u64) -> Result<()> {
    let mut watch = Watch::new(client, node, timeout);
    let before = watch.ask(true, force).await?;
    watch
        .until("is not back with all rows", |status| {
            let back = member(status, node).filter(|now| now.incarnation > before.incarnation);
            back.filter(|now| now.stays_full()).map(|_| ())
        })
        .await?;
    say(format_args!("data node {node} is back with all rows"))
}

/// Starts all nodes again in turn.
///
/// # Errors
/// A sentence: a group is not whole, or a node did not come back in time.
pub async fn rolling_restart(arguments: &RollingArguments) -> Result<()> {
    let client = arguments.connection.open(TIMEOUT).await?;
    let status = client.status().await?;
    check_whole(&status)?;
    for node in 1..=status.state.configuration.data_nodes {
        restart_one(&client, node, false, arguments.timeout).await?;
        let mut watch = Watch::new(&client, node, arguments.timeout);
        watch.until("does not lead its share again", |status| is_spread(status).then_some(())).await?;
        say(format_args!("data node {node} leads its share again"))?;
    }
    // Whoever leads is the last, so that there is one election.
    let status = client.status().await?;
    let mut management = status.management;
    management.sort_by_key(|node| (node.leader, node.node));
    for node in management {
        restart_management(&client, node.node, false, arguments.timeout).await?;
    }
    say(format_args!("all nodes were started again"))
}

/// Starts a management node again, and waits until all of them are there and one leads.
async fn restart_management(client: &Client, node: u32, forced: bool, timeout: u64) -> Result<()> {
    let before = client.status_of(node).await?;
    client.end_management(LeaveRequest { node, restarts: true, forced }).await?;
    let deadline = Instant::now() + Duration::from_secs(timeout);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Ok(status) = client.status_of(node).await {
            let all = status.management.iter().all(|node| node.connected);
            let leads = status.management.iter().any(|node| node.leader);
            let current = status.state.version >= before.state.version;
            if status.process != before.process && leads && current && (all || forced) {
                return say(format_args!("management node {node} is back"));
            }
        }
        ensure!(
            Instant::now() < deadline,
            "management node {node} is not back after {timeout} seconds; `duet admin status` shows how the cluster is"
        );
    }
}

/// A rolling restart begins only where every group survives it.
fn check_whole(status: &ClusterStatus) -> Result<()> {
    let state = &status.state;
    ensure!(state.view.number > 0, "the cluster is still forming");
    ensure!(
        state.configuration.replicas > 1,
        "every row is on one data node only: a restart of any of them loses its rows"
    );
    for group in &state.view.groups {
        let whole = group.members.len() == state.configuration.replicas as usize;
        if whole && group.members.iter().all(Member::stays_full) {
            continue;
        }
        let members = group
            .members
            .iter()
            .map(|member| format!("data node {} is {}", member.node, standing(status, member.node)));
        let members: Vec<String> = members.collect();
        bail!(
            "a node group is not whole ({}): wait until all its data nodes are full members, or start those that have ended",
            members.join(", ")
        );
    }
    Ok(())
}

/// Whether every partition is led by the node that led it in the first view.
fn is_spread(status: &ClusterStatus) -> bool {
    let view = &status.state.view;
    let whole = check_whole(status).is_ok();
    whole
        && view.partitions.iter().enumerate().all(|(number, partition)| {
            let members = &view.groups[usize::from(partition.group)].members;
            let rank = duet_client::View::first_primary_rank(number, view.groups.len(), members.len());
            partition.replicas.first() == Some(&members[rank].node)
        })
}

/// A look at one data node every now and then.
struct Watch<'a> {
    client: &'a Client,
    node: u32,
    deadline: Instant,
    timeout: u64,
    /// Older states are not looked at.
    version: u64,
    told: &'static str,
}

impl<'a> Watch<'a> {
    fn new(client: &'a Client, node: u32, timeout: u64) -> Watch<'a> {
        let deadline = Instant::now() + Duration::from_secs(timeout);
        Watch { client, node, deadline, timeout, version: 0, told: "" }
    }

    /// Tells the node to leave; what it was in the view before.
    async fn ask(&mut self, restarts: bool, forced: bool) -> Result<Member> {
        let node = self.node;
        let before = self.client.status().await?;
        let instance = member(&before, node).cloned();
        let wanted = LeaveRequest { node, restarts, forced };
        self.client.ask_to_leave(wanted).await.map_err(|error| self.explained(error))?;
        self.version = self.client.state().map_or(0, |state| state.version);
        instance.with_context(|| format!("data node {node} has become a member only now: try again"))
    }

    fn explained(&self, error: Error) -> anyhow::Error {
        let last = error.is(ErrorCode::LastFullInstance);
        let error = anyhow::Error::new(error);
        match last {
            true => error.context(format!(
                "data node {} is not stopped; --force does it all the same, and the rows are lost",
                self.node
            )),
            false => error,
        }
    }

    /// Looks until `done` finds what is waited for.
    async fn until<T>(&mut self, what: &str, mut done: impl FnMut(&ClusterStatus) -> Option<T>) -> Result<T> {
        let mut unknown = None;
        loop {
            match self.client.status().await {
                Ok(status) if status.state.version >= self.version => {
                    self.version = status.state.version;
                    if let Some(found) = done(&status) {
                        return Ok(found);
                    }
                    self.tell(&status)?;
                }
                Ok(_) => {}
                Err(error) => unknown = Some(error),
            }
            if Instant::now() >= self.deadline {
                let sentence = format!(
                    "data node {} {what} after {} seconds; `duet admin status` shows how far it is",
                    self.node, self.timeout
                );
                return Err(match unknown {
                    Some(error) => anyhow::Error::new(error).context(sentence),
                    None => anyhow::Error::msg(sentence),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Says what the node is in the view, when that is something new.
    fn tell(&mut self, status: &ClusterStatus) -> Result<()> {
        let standing = standing(status, self.node);
        if standing == self.told {
            return Ok(());
        }
        let was_leaving = matches!(self.told, "leaving" | "restarting");
        if was_leaving && standing == "full" && status.state.configuration.replicas > 1 {
            bail!("data node {} stays: the other one of its group is gone meanwhile", self.node);
        }
        self.told = standing;
        let sentence = match standing {
            "leaving" | "restarting" => "hands over what it leads",
            "joining" => "copies the rows",
            "no" => "is no member for now",
            _ => return Ok(()),
        };
        say(format_args!("data node {} {sentence}", self.node))
    }
}
