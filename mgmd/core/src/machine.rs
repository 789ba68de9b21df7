//! The replicated state machine: commands in log order change the cluster state, the jobs and the finished requests.
//!
//! Nothing here knows the time, the role of the node or who is connected: the same commands give the same state.

use crate::placement::{choose_rest, first_view};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::Instance;
use duet_protocol::record::{
    ClusterConfiguration, ClusterState, FinishedRequest, JobKind, JobStage, ManagementCommand,
    ManagementRecord, ManagementSnapshot, NodeRecord, SchemaJob,
};
use duet_protocol::schema::{Table, TableDefinition, TableState};

/// Most tables in the dictionary.
pub(crate) const MAX_TABLES: usize = 1_000;
/// Most schema changes under way at once.
pub(crate) const MAX_JOBS: usize = 64;
/// Finished requests that are remembered.
pub(crate) const MAX_FINISHED: usize = 1_024;
/// Largest cluster state in bytes; a table that would make it larger is refused.
pub(crate) const MAX_STATE_BYTES: usize = 8 << 20;

/// What a command did, for those who wait for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Applied {
    /// A registration.
    Registered {
        /// Node id.
        node: u32,
        /// The process that asked.
        process: [u8; 16],
        /// Its incarnation, or why it gets none.
        result: Result<u32, ErrorCode>,
    },
    /// A change of the view was made or refused.
    ViewChanged {
        /// Its proposal.
        request: [u8; 16],
        /// The view that it made, or why it was refused.
        result: Result<u64, ErrorCode>,
    },
    /// The view was formed, or was not because an instance had been replaced.
    View,
    /// A schema change was started, or is under way already.
    JobRunning {
        /// Its request.
        request: [u8; 16],
    },
    /// A schema change was refused.
    JobRefused {
        /// Its request.
        request: [u8; 16],
        /// Why.
        code: ErrorCode,
        /// What exactly.
        detail: String,
    },
    /// A schema change has ended.
    JobFinished(FinishedRequest),
    /// Nothing that anybody waits for.
    Other,
}

/// The replicated state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) content: ManagementSnapshot,
}

/// Why a change is refused: the code and a detail.
pub(crate) type Refusal = (ErrorCode, String);

impl Machine {
    /// The state with which a cluster begins.
    pub(crate) fn genesis(
        cluster_id: u64,
        configuration: ClusterConfiguration,
        management: Vec<ManagementRecord>,
    ) -> Machine {
        let state = ClusterState {
            cluster_id,
            version: 1,
            buckets: buckets_of(&configuration),
            configuration,
            management,
            next_table_id: 1,
            next_index_id: 1,
            ..ClusterState::default()
        };
        Machine { content: ManagementSnapshot { state, ..ManagementSnapshot::default() } }
    }

    /// The state as of a snapshot.
    ///
    /// # Errors
    /// `DamagedFrame`, `ProtocolVersion` or `InvalidConfiguration` for bytes that no management node wrote.
    pub(crate) fn from_snapshot(bytes: &[u8]) -> Result<Machine, ErrorCode> {
        Ok(Machine { content: ManagementSnapshot::from_record(bytes)? })
    }

    /// The state as a snapshot.
    ///
    /// # Errors
    /// `FrameTooLarge` or `Internal`; the bounds of the parts make both impossible.
    pub(crate) fn to_snapshot(&self) -> Result<Vec<u8>, ErrorCode> {
        self.content.to_record()
    }

    /// What everybody learns.
    pub(crate) fn state(&self) -> &ClusterState {
        &self.content.state
    }

    /// Schema changes under way, oldest first.
    pub(crate) fn jobs(&self) -> &[SchemaJob] {
        &self.content.jobs
    }

    /// The job of a request.
    pub(crate) fn job(&self, request: &[u8; 16]) -> Option<&SchemaJob> {
        self.content.jobs.iter().find(|job| job.request == *request)
    }

    /// The result of a request that has ended, while it is remembered.
    pub(crate) fn finished(&self, request: &[u8; 16]) -> Option<&FinishedRequest> {
        self.content.finished.iter().find(|finished| finished.request == *request)
    }

    /// The instance that has this node id now.
    pub(crate) fn registered(&self, node: u32) -> Option<Instance> {
        self.content.state.node(node).map(NodeRecord::instance)
    }

    /// Applies the next command of the log.
    pub(crate) fn apply(&mut self, command: ManagementCommand) -> Applied {
        match command {
            ManagementCommand::Register { node, process, address, metrics_address, data_parts } => {
                let record =
                    NodeRecord { node, incarnation: 0, process, address, metrics_address, data_parts };
                let result = self.register(record);
                Applied::Registered { node, process, result }
            }
            ManagementCommand::FormView { instances } => {
                self.form_view(&instances);
                Applied::View
            }
            ManagementCommand::ChangeView { request, group, changed_in_view, proposer, change } => {
                let proposer = Instance { node: proposer.0, incarnation: proposer.1 };
                let result = self.change_view(request, group, changed_in_view, proposer, change);
                Applied::ViewChanged { request, result }
            }
            ManagementCommand::CreateTable { request, definition } => {
                let result =
                    self.repeated(&request).map_or_else(|| self.create_table(request, definition), Ok);
                job_outcome(request, result)
            }
            ManagementCommand::DropTable { request, database, name } => {
                let result =
                    self.repeated(&request).map_or_else(|| self.drop_table(request, &database, &name), Ok);
                job_outcome(request, result)
            }
            ManagementCommand::ChangeTable { request, database, name, change } => {
                let result = self
                    .repeated(&request)
                    .map_or_else(|| self.change_table(request, &database, &name, change), Ok);
                job_outcome(request, result)
            }
            ManagementCommand::ChangeUser { request, change } => {
                let result = self.repeated(&request).map_or_else(|| self.change_user(request, change), Ok);
                job_outcome(request, result)
            }
            ManagementCommand::AskToLeave { request, wanted } => {
                let result = self.repeated(&request).map_or_else(|| self.ask_to_leave(request, wanted), Ok);
                job_outcome(request, result)
            }
            ManagementCommand::AdvanceJob { request, stage } => self.advance_job(&request, stage),
            ManagementCommand::AbortJob { request, code, detail } => {
                self.abort_job(&request, code, detail);
                Applied::Other
            }
            ManagementCommand::MarkGroup { group, changed_in_view, lost } => {
                self.mark_group(group, changed_in_view, lost);
                Applied::Other
            }
            ManagementCommand::ChangeManagement { request, change } => {
                let result =
                    self.repeated(&request).map_or_else(|| self.change_management(request, change), Ok);
                job_outcome(request, result)
            }
            ManagementCommand::ManagementJoined { node, raft_id } => {
                self.management_joined(node, raft_id);
                Applied::Other
            }
            ManagementCommand::ManagementMoved { raft_id, address } => {
                self.management_moved(raft_id, address);
                Applied::Other
            }
        }
    }

    /// Registers a process; its incarnation, which `wanted` does not know.
    fn register(&mut self, wanted: NodeRecord) -> Result<u32, ErrorCode> {
        let node = wanted.node;
        let state = &mut self.content.state;
        if node == 0 || node > state.configuration.data_nodes {
            return Err(ErrorCode::UnknownNodeId);
        }
        let in_view = state.view.member(node).is_some();
        let position = state.nodes.partition_point(|record| record.node < node);
        let incarnation = match state.nodes.get(position) {
            Some(record) if record.node == node && record.process == wanted.process => {
                let incarnation = record.incarnation;
                if *record == (NodeRecord { incarnation, ..wanted.clone() }) {
                    return Ok(incarnation);
                }
                incarnation
            }
            Some(_) if in_view => return Err(ErrorCode::ReturningInstance),
            Some(record) if record.node == node => record.incarnation + 1,
            Some(_) | None => 1,
        };
        let record = NodeRecord { incarnation, ..wanted };
        match state.nodes.get_mut(position) {
            Some(existing) if existing.node == node => *existing = record,
            Some(_) | None => state.nodes.insert(position, record),
        }
        state.version += 1;
        Ok(incarnation)
    }

    fn form_view(&mut self, wanted: &[(u32, u32)]) {
        let state = &mut self.content.state;
        let instances: Vec<Instance> = state.nodes.iter().map(NodeRecord::instance).collect();
        let complete = instances.len() == state.configuration.data_nodes as usize;
        let unchanged =
            instances.iter().map(|instance| (instance.node, instance.incarnation)).eq(wanted.iter().copied());
        if state.view.number == 0 && complete && unchanged {
            choose_rest(&mut state.configuration, &state.nodes);
            state.buckets = buckets_of(&state.configuration);
            state.view = first_view(&state.configuration, &instances);
            state.version += 1;
        }
    }

    /// What to answer to a request that was applied before.
    fn repeated(&self, request: &[u8; 16]) -> Option<Applied> {
        if let Some(finished) = self.finished(request) {
            return Some(Applied::JobFinished(finished.clone()));
        }
        self.job(request).map(|job| Applied::JobRunning { request: job.request })
    }

    fn create_table(&mut self, request: [u8; 16], definition: TableDefinition) -> Result<Applied, Refusal> {
        definition.validate().map_err(|error| (ErrorCode::InvalidSchema, error.to_string()))?;
        self.room_for_job()?;
        let state = &mut self.content.state;
        if state.table_named(&definition.database, &definition.name).is_some() {
            return Err((ErrorCode::TableExists, format!("{}.{}", definition.database, definition.name)));
        }
        let table = state.next_table_id;
        let index_count = definition.indexes.len() as u32;
        let created = Table::created_with_entries(table, state.next_index_id, definition);
        let count = created.len();
        if state.tables.len() + count > MAX_TABLES {
            let detail = format!("there may be {MAX_TABLES} tables, those of unique indexes included");
            return Err((ErrorCode::TooManyTables, detail));
        }
        state.tables.extend(created);
        state.next_table_id += count as u32;
        state.next_index_id += index_count;
        state.version += 1;
        if state.to_record().is_ok_and(|record| record.len() <= MAX_STATE_BYTES) {
            self.start_job(request, JobKind::CreateTable, table);
            return Ok(Applied::JobRunning { request });
        }
        let state = &mut self.content.state;
        state.tables.truncate(state.tables.len() - count);
        state.next_table_id -= count as u32;
        state.next_index_id -= index_count;
        state.version -= 1;
        Err((ErrorCode::TooManyTables, format!("the dictionary would exceed {MAX_STATE_BYTES} bytes")))
    }

    fn drop_table(&mut self, request: [u8; 16], database: &str, name: &str) -> Result<Applied, Refusal> {
        self.room_for_job()?;
        let state = &self.content.state;
        let full_name = || format!("{database}.{name}");
        let Some(id) = state.table_named(database, name).map(|table| table.id) else {
            return Err((ErrorCode::TableNotFound, full_name()));
        };
        if state.tables.iter().any(|table| table.id == id && table.state != TableState::Active) {
            return Err((ErrorCode::TableNotActive, full_name()));
        }
        self.end_build(id);
        self.refuse_second_job(id, full_name)?;
        let state = &mut self.content.state;
        for table in with_entries(&mut state.tables, id) {
            table.state = TableState::Dropping;
        }
        state.version += 1;
        self.start_job(request, JobKind::DropTable, id);
        Ok(Applied::JobRunning { request })
    }

    pub(crate) fn room_for_job(&self) -> Result<(), Refusal> {
        if self.content.jobs.len() < MAX_JOBS {
            return Ok(());
        }
        Err((ErrorCode::Overloaded, format!("{MAX_JOBS} schema changes are under way")))
    }

    pub(crate) fn start_job(&mut self, request: [u8; 16], kind: JobKind, table: u32) {
        let version = self.content.state.version;
        let stage = self.first_stage(kind, table);
        let (code, detail) = (0, String::new());
        self.content.jobs.push(SchemaJob { request, kind, stage, table, version, code, detail });
    }

    fn advance_job(&mut self, request: &[u8; 16], stage: JobStage) -> Applied {
        let mut jobs = self.content.jobs.iter();
        let Some(position) = jobs.position(|job| job.request == *request && job.stage == stage) else {
            return Applied::Other;
        };
        let mut next = JobStage::Completing;
        match stage {
            JobStage::Announcing | JobStage::Releasing => {
                next = self.step_unique(&self.content.jobs[position].clone());
            }
            JobStage::Preparing => self.activate(&self.content.jobs[position].clone()),
            JobStage::Completing => {}
        }
        let content = &mut self.content;
        let job = &mut content.jobs[position];
        match stage {
            JobStage::Announcing | JobStage::Releasing => {
                content.state.version += 1;
                (job.stage, job.version) = (next, content.state.version);
                Applied::Other
            }
            JobStage::Preparing => {
                let table = job.table;
                match job.kind {
                    JobKind::CreateTable => {
                        for table in with_entries(&mut content.state.tables, table) {
                            table.state = TableState::Active;
                        }
                    }
                    JobKind::DropTable => {
                        let tables = &mut content.state.tables;
                        tables
                            .retain(|candidate| candidate.id != table && candidate.hidden_of != Some(table));
                    }
                    JobKind::AddColumn | JobKind::CreateIndex { .. } | JobKind::DropIndex { .. } => {}
                }
                content.state.version += 1;
                job.stage = JobStage::Completing;
                job.version = content.state.version;
                Applied::Other
            }
            JobStage::Completing => {
                let job = content.jobs.remove(position);
                let finished = FinishedRequest {
                    request: *request,
                    table: job.table,
                    state_version: job.version,
                    code: job.code,
                    detail: job.detail,
                };
                self.finish(finished)
            }
        }
    }

    /// A request has ended and is remembered.
    pub(crate) fn finish(&mut self, finished: FinishedRequest) -> Applied {
        let content = &mut self.content;
        if content.finished.len() >= MAX_FINISHED {
            content.finished.remove(0);
        }
        content.finished.push(finished.clone());
        Applied::JobFinished(finished)
    }
}

/// A table and the hidden ones that hold the entries of its unique indexes.
fn with_entries(tables: &mut [Table], id: u32) -> impl Iterator<Item = &mut Table> {
    tables.iter_mut().filter(move |table| table.id == id || table.hidden_of == Some(id))
}

/// The buckets dealt over the partitions; none while their number is not chosen.
fn buckets_of(configuration: &ClusterConfiguration) -> Vec<u16> {
    if configuration.partitions == 0 {
        return Vec::new();
    }
    ClusterState::deal_buckets(configuration.partitions)
}

fn job_outcome(request: [u8; 16], result: Result<Applied, Refusal>) -> Applied {
    result.unwrap_or_else(|(code, detail)| Applied::JobRefused { request, code, detail })
}
