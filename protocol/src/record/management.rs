//! What the management nodes write into their Raft log: commands, and snapshots of the state that they build.

use crate::error::ErrorCode;
use crate::record::{ClusterState, ManagementChange, RecordKind, UserChange, UserList, decode, encode};
use crate::schema::{Column, IndexDefinition, TableDefinition};
use rkyv::{Archive, Deserialize, Serialize};

/// Version of the [`ManagementCommand`] record.
const COMMAND_VERSION: u16 = 5;
/// Version of the [`ManagementSnapshot`] record.
const SNAPSHOT_VERSION: u16 = 5;

/// Version of the [`TableChange`] record.
const TABLE_CHANGE_VERSION: u16 = 1;
/// Version of the [`LeaveRequest`] record.
const LEAVE_REQUEST_VERSION: u16 = 1;

/// A change of the replicated state, as proposed by the leader and applied by everyone in the same order.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum ManagementCommand {
    /// A process asks for an incarnation of a data node; a repeat by the same process changes nothing.
    Register {
        /// Node id.
        node: u32,
        /// Random identity of the process.
        process: [u8; 16],
        /// Address for clients and nodes.
        address: String,
        /// Address of its metrics, may be empty.
        metrics_address: String,
        /// Its data parts.
        data_parts: u16,
    },
    /// Form the first view of exactly these instances, and choose the numbers of lanes and partitions that were left to
    /// it; without effect when one of them was replaced meanwhile.
    FormView {
        /// Node ids and incarnations in order of the node ids.
        instances: Vec<(u32, u32)>,
    },
    /// Change the view, if the group is still as of the view that the proposer knows.
    ChangeView {
        /// Random identity of the proposal.
        request: [u8; 16],
        /// Node group.
        group: u16,
        /// View in which the group last changed, as the proposer knows it.
        changed_in_view: u64,
        /// Node id and incarnation of the proposer.
        proposer: (u32, u32),
        /// What to change.
        change: ViewChange,
    },
    /// Start the job that creates a table.
    CreateTable {
        /// Random identity of the request.
        request: [u8; 16],
        /// The table.
        definition: TableDefinition,
    },
    /// Start the job that drops a table.
    DropTable {
        /// Random identity of the request.
        request: [u8; 16],
        /// Database of the table.
        database: String,
        /// Name of the table.
        name: String,
    },
    /// Start the job that changes a table.
    ChangeTable {
        /// Random identity of the request.
        request: [u8; 16],
        /// Database of the table.
        database: String,
        /// Name of the table.
        name: String,
        /// What is changed.
        change: TableChange,
    },
    /// Every member of the view has done what this stage of the job waits for.
    AdvanceJob {
        /// The job's request.
        request: [u8; 16],
        /// The stage that is over.
        stage: JobStage,
    },
    /// A job cannot be carried out: what it began is taken back.
    AbortJob {
        /// The job's request.
        request: [u8; 16],
        /// Number of the [`ErrorCode`].
        code: u16,
        /// What exactly.
        detail: String,
    },
    /// Note that no process with the rows of a group lives, or that one does after all.
    MarkGroup {
        /// Node group.
        group: u16,
        /// View in which the group last changed, as the proposer knows it.
        changed_in_view: u64,
        /// Whether it is lost.
        lost: bool,
    },
    /// Change which management nodes belong to the cluster.
    ChangeManagement {
        /// Random identity of the request.
        request: [u8; 16],
        /// What is changed.
        change: ManagementChange,
    },
    /// A management node that was awaited votes now.
    ManagementJoined {
        /// Its node id.
        node: u32,
        /// Its Raft id.
        raft_id: u64,
    },
    /// A management node has another address.
    ManagementMoved {
        /// Its Raft id.
        raft_id: u64,
        /// The address.
        address: String,
    },
    /// Change the users of the SQL gateways.
    ChangeUser {
        /// Random identity of the request.
        request: [u8; 16],
        /// What is changed.
        change: UserChange,
    },
    /// Tell a data node to leave.
    AskToLeave {
        /// Random identity of the request.
        request: [u8; 16],
        /// Which one, and how.
        wanted: LeaveRequest,
    },
}

impl ManagementCommand {
    /// Encodes as a record.
    ///
    /// # Errors
    /// See [`encode`].
    pub fn to_record(&self) -> Result<Vec<u8>, ErrorCode> {
        encode(RecordKind::ManagementCommand, COMMAND_VERSION, self)
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// See [`decode`].
    pub fn from_record(bytes: &[u8]) -> Result<ManagementCommand, ErrorCode> {
        decode(RecordKind::ManagementCommand, COMMAND_VERSION, bytes)
    }
}

/// A change of a table that exists.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum TableChange {
    /// Adds a column at the end.
    AddColumn(Column),
    /// Creates an index.
    CreateIndex(IndexDefinition),
    /// Drops the index of this name.
    DropIndex(String),
}

impl TableChange {
    /// Encodes as a record.
    ///
    /// # Errors
    /// See [`encode`].
    pub fn to_record(&self) -> Result<Vec<u8>, ErrorCode> {
        encode(RecordKind::TableChange, TABLE_CHANGE_VERSION, self)
    }

    /// Decodes a record; whether the change makes sense is for the table to say.
    ///
    /// # Errors
    /// See [`decode`].
    pub fn from_record(bytes: &[u8]) -> Result<TableChange, ErrorCode> {
        decode(RecordKind::TableChange, TABLE_CHANGE_VERSION, bytes)
    }
}

/// What an operator wants a node to do: to end or start again; a data node hands over first what it leads.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaveRequest {
    /// Node id.
    pub node: u32,
    /// Whether its process starts again.
    pub restarts: bool,
    /// Whether it may be the only data node that has all rows of its group, which are lost then; or a management node that the others need
    /// for a majority.
    pub forced: bool,
}

impl LeaveRequest {
    /// Encodes as a record.
    ///
    /// # Errors
    /// See [`encode`].
    pub fn to_record(&self) -> Result<Vec<u8>, ErrorCode> {
        encode(RecordKind::LeaveRequest, LEAVE_REQUEST_VERSION, self)
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// See [`decode`].
    pub fn from_record(bytes: &[u8]) -> Result<LeaveRequest, ErrorCode> {
        decode(RecordKind::LeaveRequest, LEAVE_REQUEST_VERSION, bytes)
    }
}

/// A change of the view.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum ViewChange {
    /// Remove an instance.
    Remove {
        /// Node id.
        node: u32,
        /// Incarnation.
        incarnation: u32,
    },
    /// Take a registered instance in, as a joining member that holds nothing yet.
    Join {
        /// Node id.
        node: u32,
        /// Incarnation.
        incarnation: u32,
    },
    /// Make a joining member a full one, and the backup of all partitions of the group.
    Promote {
        /// Node id.
        node: u32,
        /// Incarnation.
        incarnation: u32,
    },
    /// Let the backups of partitions lead them.
    Swap {
        /// The partitions.
        partitions: Vec<u16>,
    },
    /// A member hands over what it leads, to be removed then.
    Leave {
        /// Node id.
        node: u32,
        /// Incarnation.
        incarnation: u32,
        /// Whether its process starts again.
        restarts: bool,
    },
}

/// A view that was made by a proposal.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ViewRecord {
    /// Number of the view.
    pub view: u64,
    /// The proposal.
    pub request: [u8; 16],
    /// Node group that changed.
    pub group: u16,
    /// What changed.
    pub change: ViewChange,
}

/// What a schema job does.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// It creates a table.
    CreateTable,
    /// It drops a table.
    DropTable,
    /// It adds a column to a table.
    AddColumn,
    /// It creates an index of a table.
    CreateIndex {
        /// Number of the index.
        index: u32,
    },
    /// It drops an index of a table.
    DropIndex {
        /// Number of the index.
        index: u32,
    },
}

/// What a schema job waits for.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStage {
    /// Unique index. Create: all members know its hidden table. Drop: no member reads it any more.
    Announcing,
    /// Drop unique index: no member maintains it any more.
    Releasing,
    /// Create, add column: all members have prepared the table, or its next version. Drop: no member works on the table
    /// any more.
    Preparing,
    /// All members have installed the final state.
    Completing,
}

/// A schema change under way.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SchemaJob {
    /// Random identity of the request.
    pub request: [u8; 16],
    /// What it does.
    pub kind: JobKind,
    /// What it waits for.
    pub stage: JobStage,
    /// Id of the table.
    pub table: u32,
    /// Version of the cluster state that all members must report.
    pub version: u64,
    /// Number of the [`ErrorCode`] for which it was given up, 0 while it is carried out.
    pub code: u16,
    /// What exactly.
    pub detail: String,
}

/// A schema change that has ended, kept so that a repeated request is answered and not applied again.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct FinishedRequest {
    /// Random identity of the request.
    pub request: [u8; 16],
    /// Id of the table.
    pub table: u32,
    /// Version of the cluster state that shows the change.
    pub state_version: u64,
    /// Number of the [`ErrorCode`] for which it was given up, 0 when it was carried out.
    pub code: u16,
    /// What exactly.
    pub detail: String,
}

/// The whole state that the management nodes replicate.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct ManagementSnapshot {
    /// What everybody else learns of it.
    pub state: ClusterState,
    /// Schema changes under way, oldest first.
    pub jobs: Vec<SchemaJob>,
    /// Schema changes that have ended, oldest first.
    pub finished: Vec<FinishedRequest>,
    /// The latest changes of the view, oldest first.
    pub views: Vec<ViewRecord>,
    /// Users of the SQL gateways.
    pub users: UserList,
    /// Management nodes that others, with other directories, are to take the place of.
    pub replacing: Vec<u32>,
}

impl ManagementSnapshot {
    /// Encodes as a record.
    ///
    /// # Errors
    /// See [`encode`].
    pub fn to_record(&self) -> Result<Vec<u8>, ErrorCode> {
        encode(RecordKind::ManagementSnapshot, SNAPSHOT_VERSION, self)
    }

    /// Decodes a record and checks its state.
    ///
    /// # Errors
    /// See [`decode`] and [`ClusterState::check`].
    pub fn from_record(bytes: &[u8]) -> Result<ManagementSnapshot, ErrorCode> {
        let snapshot: ManagementSnapshot = decode(RecordKind::ManagementSnapshot, SNAPSHOT_VERSION, bytes)?;
        snapshot.state.check()?;
        Ok(snapshot)
    }
}
