//! The cluster state that the management nodes replicate and everybody else learns.

use crate::error::ErrorCode;
use crate::hash::BUCKET_COUNT;
use crate::ids::Instance;
use crate::record::{RecordKind, decode, encode};
use crate::schema::{Table, TableState};
use rkyv::{Archive, Deserialize, Serialize};

/// Version of the [`ClusterState`] record.
const CLUSTER_STATE_VERSION: u16 = 4;
/// The same with columns that take the current time, of which readers of the version before know nothing.
const WITH_TIMES_VERSION: u16 = 5;
/// The same where a column has a comment.
const WITH_COMMENTS_VERSION: u16 = 6;
/// Version of the [`ClusterStatus`] record.
const CLUSTER_STATUS_VERSION: u16 = 4;

/// What was configured when the cluster was created.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterConfiguration {
    /// Number of data nodes; their ids are 1..=data_nodes.
    pub data_nodes: u32,
    /// Replicas of every partition: 1 or 2.
    pub replicas: u32,
    /// Number of partitions; 0 until the first view is formed where the number is left to it.
    pub partitions: u16,
    /// Lanes, that is connections, between two data nodes; partition `p` uses lane `(p / data_nodes) % lanes`. 0 until
    /// the first view is formed where the number is left to it.
    pub lanes: u16,
}

/// A registered data node.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRecord {
    /// Node id.
    pub node: u32,
    /// Latest incarnation.
    pub incarnation: u32,
    /// Random identity of the process that has this incarnation.
    pub process: [u8; 16],
    /// Address for clients and nodes, `host:port`.
    pub address: String,
    /// Address of its metrics, may be empty.
    pub metrics_address: String,
    /// Its data parts, that is threads that own data: more than there are lanes are of no use.
    pub data_parts: u16,
}

impl NodeRecord {
    /// The instance.
    pub fn instance(&self) -> Instance {
        Instance { node: self.node, incarnation: self.incarnation }
    }
}

/// A management node.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagementRecord {
    /// Node id, 1..=255.
    pub node: u32,
    /// Raft id: random, kept in the data directory; 0 until the node has joined.
    pub raft_id: u64,
    /// Address, `host:port`.
    pub address: String,
}

/// Whether a member holds all rows of its group.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It holds everything.
    Full,
    /// It is copying.
    Joining,
}

/// Whether a member wants to go: it hands over what it leads, and no partition is handed to it.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leaving {
    /// It stays.
    #[default]
    No,
    /// Its process is to end.
    ToEnd,
    /// Its process is to start again.
    ToRestart,
}

/// A member of a node group.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Node id.
    pub node: u32,
    /// Incarnation.
    pub incarnation: u32,
    /// Whether it holds everything.
    pub state: MemberState,
    /// Whether it could restart the group from its disk alone.
    pub recoverable: bool,
    /// Whether it wants to go.
    pub leaving: Leaving,
}

impl Member {
    /// The instance.
    pub fn instance(&self) -> Instance {
        Instance { node: self.node, incarnation: self.incarnation }
    }

    /// Whether it holds everything and stays.
    pub fn stays_full(&self) -> bool {
        self.state == MemberState::Full && self.leaving == Leaving::No
    }
}

/// A node group in the view.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupView {
    /// View in which this group last changed.
    pub changed_in_view: u64,
    /// Its members.
    pub members: Vec<Member>,
}

/// Who holds a partition.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionView {
    /// Node group.
    pub group: u16,
    /// Node ids of the replicas, primary first, at most 4.
    pub replicas: Vec<u32>,
    /// View that last changed the replicas: the fragment configuration number.
    pub cfg: u64,
}

/// The numbered set of data nodes that may serve.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Number, 0 while the cluster forms.
    pub number: u64,
    /// Node groups.
    pub groups: Vec<GroupView>,
    /// Partitions by number.
    pub partitions: Vec<PartitionView>,
}

impl View {
    /// Rank, among the members of its group in order of their ids, of the node that leads a partition in the first view: primaries
    /// alternate over the members.
    pub fn first_primary_rank(partition: usize, groups: usize, members: usize) -> usize {
        partition / groups.max(1) % members.max(1)
    }

    /// All members of all groups.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.groups.iter().flat_map(|group| &group.members)
    }

    /// Whether this instance is a member.
    pub fn contains(&self, instance: Instance) -> bool {
        self.member(instance.node) == Some(instance)
    }

    /// The group of a node, with its number, if it is a member.
    pub fn group_of(&self, node: u32) -> Option<(u16, &GroupView)> {
        let of_node = |group: &&GroupView| group.members.iter().any(|member| member.node == node);
        let position = self.groups.iter().position(|group| of_node(&group))?;
        Some((position as u16, &self.groups[position]))
    }

    /// The instance of `node`, if it is a member.
    pub fn member(&self, node: u32) -> Option<Instance> {
        self.groups
            .iter()
            .flat_map(|group| &group.members)
            .find(|member| member.node == node)
            .map(Member::instance)
    }
}

/// Everything that the management nodes replicate and others need to know.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct ClusterState {
    /// Random id of the cluster, never 0.
    pub cluster_id: u64,
    /// Raised when an operator forces a start that may lose data.
    pub fork: u32,
    /// Grows with every change of anything here.
    pub version: u64,
    /// Configuration.
    pub configuration: ClusterConfiguration,
    /// Management nodes.
    pub management: Vec<ManagementRecord>,
    /// Registered data nodes in order of their ids.
    pub nodes: Vec<NodeRecord>,
    /// The view.
    pub view: View,
    /// Node groups of which no process with the rows lives, as far as the management nodes know.
    pub lost_groups: Vec<u16>,
    /// Partition of each of the 4096 buckets.
    pub buckets: Vec<u16>,
    /// Tables in order of their ids.
    pub tables: Vec<Table>,
    /// Id for the next table.
    pub next_table_id: u32,
    /// Id for the next secondary index of any table.
    pub next_index_id: u32,
}

impl ClusterState {
    /// Buckets dealt evenly over `partitions`, in runs: bucket b belongs to partition b·P/4096.
    pub fn deal_buckets(partitions: u16) -> Vec<u16> {
        (0..BUCKET_COUNT).map(|bucket| (bucket * usize::from(partitions) / BUCKET_COUNT) as u16).collect()
    }

    /// The partition that holds rows whose partition key has this hash; `None` before the map exists.
    pub fn partition_of(&self, partition_hash: u64) -> Option<u16> {
        self.buckets.get(usize::from(crate::hash::bucket_of(partition_hash))).copied()
    }

    /// Node ids of the members of all groups that are not lost.
    pub fn living_nodes(&self) -> impl Iterator<Item = u32> {
        let living = (0..).zip(&self.view.groups).filter(|(group, _)| !self.lost_groups.contains(group));
        living.flat_map(|(_, group)| &group.members).map(|member| member.node)
    }

    /// The node with this id, if registered.
    pub fn node(&self, node: u32) -> Option<&NodeRecord> {
        self.nodes.iter().find(|record| record.node == node)
    }

    /// The table with this name, unless it is being dropped. Hidden tables have no names that count.
    pub fn table_named(&self, database: &str, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| {
            table.state != TableState::Dropping
                && !table.is_hidden()
                && table.definition.name == name
                && table.definition.database == database
        })
    }

    /// Whether the structure is sound enough to be installed: map sizes, partition and node numbers.
    ///
    /// # Errors
    /// `InvalidConfiguration`.
    pub fn check(&self) -> Result<(), ErrorCode> {
        let partitions = usize::from(self.configuration.partitions);
        let formed = self.view.number > 0;
        let lanes_chosen = self.configuration.lanes >= 1;
        let partitions_chosen =
            (1..=BUCKET_COUNT).contains(&partitions) && self.buckets.len() == BUCKET_COUNT;
        let partitions_open = partitions == 0 && self.buckets.is_empty();
        let sound = self.cluster_id != 0
            && (lanes_chosen || !formed)
            && (partitions_chosen || (partitions_open && !formed))
            && self.buckets.iter().all(|partition| usize::from(*partition) < partitions)
            && (!formed || self.view.partitions.len() == partitions)
            && self.view.partitions.iter().all(|partition| {
                (1..=4).contains(&partition.replicas.len())
                    && partition.replicas.iter().all(|node| self.view.member(*node).is_some())
            })
            && self.lost_groups.iter().all(|group| usize::from(*group) < self.view.groups.len())
            && self.tables.iter().all(|table| {
                table.indexes.len() == table.definition.indexes.len() && table.has_sound_versions()
            });
        if sound { Ok(()) } else { Err(ErrorCode::InvalidConfiguration) }
    }

    /// Encodes as a record.
    ///
    /// # Errors
    /// See [`encode`].
    pub fn to_record(&self) -> Result<Vec<u8>, ErrorCode> {
        let mut columns =
            self.tables.iter().flat_map(|table| table.definition.columns.iter().chain(&table.adding));
        let version = if columns.clone().any(|column| !column.comment.is_empty()) {
            WITH_COMMENTS_VERSION
        } else if columns.any(|column| column.current_time.is_some()) {
            WITH_TIMES_VERSION
        } else {
            CLUSTER_STATE_VERSION
        };
        encode(RecordKind::ClusterState, version, self)
    }

    /// Decodes a record and checks it.
    ///
    /// # Errors
    /// See [`decode`] and [`ClusterState::check`].
    pub fn from_record(bytes: &[u8]) -> Result<ClusterState, ErrorCode> {
        let mut state = decode(RecordKind::ClusterState, CLUSTER_STATE_VERSION, bytes);
        for newer in [WITH_TIMES_VERSION, WITH_COMMENTS_VERSION] {
            if matches!(state, Err(ErrorCode::ProtocolVersion)) {
                state = decode(RecordKind::ClusterState, newer, bytes);
            }
        }
        let state: ClusterState = state?;
        state.check()?;
        Ok(state)
    }
}

/// A data node as a management node sees it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Node id.
    pub node: u32,
    /// Incarnation.
    pub incarnation: u32,
    /// Address.
    pub address: String,
    /// Whether its reports arrive.
    pub connected: bool,
    /// Whether it says that it serves.
    pub serving: bool,
    /// Whether it is a member of the view.
    pub in_view: bool,
    /// Cluster state that it has installed.
    pub state_version: u64,
    /// Bytes taken from its budget.
    pub memory_used: u64,
    /// Bytes of its budget.
    pub memory_limit: u64,
    /// Rows of all its replicas.
    pub rows: u64,
    /// Epoch that it is in.
    pub epoch: u64,
    /// Newest closed epoch that it has heard of.
    pub closed_epoch: u64,
    /// Indexes of its fragments that are being built.
    pub building_indexes: u64,
    /// How much of them is done: their thousandths added up.
    pub building_done: u64,
}

/// What a management node is to the others.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManagementRole {
    /// It votes.
    #[default]
    Voter,
    /// It receives the log and does not vote yet.
    Learner,
    /// It, or another one in its place, has not come yet.
    Awaited,
}

/// A management node as its peer sees it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagementStatus {
    /// Node id.
    pub node: u32,
    /// Address.
    pub address: String,
    /// Whether it can be reached from the sender of this status (or is the sender).
    pub connected: bool,
    /// Whether it leads.
    pub leader: bool,
    /// What it is to the others.
    pub role: ManagementRole,
}

/// How the cluster is.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct ClusterStatus {
    /// The cluster state.
    pub state: ClusterState,
    /// Data nodes.
    pub nodes: Vec<NodeStatus>,
    /// Management nodes.
    pub management: Vec<ManagementStatus>,
    /// Raft term.
    pub term: u64,
    /// Node id of the management node that answers.
    pub answered_by: u32,
    /// Random number of its process.
    pub process: u64,
}

impl ClusterStatus {
    /// Encodes as a record.
    ///
    /// # Errors
    /// See [`encode`].
    pub fn to_record(&self) -> Result<Vec<u8>, ErrorCode> {
        encode(RecordKind::ClusterStatus, CLUSTER_STATUS_VERSION, self)
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// See [`decode`].
    pub fn from_record(bytes: &[u8]) -> Result<ClusterStatus, ErrorCode> {
        decode(RecordKind::ClusterStatus, CLUSTER_STATUS_VERSION, bytes)
    }
}
