//! Changes of tables that exist, as jobs of the replicated state machine (PROTOCOL.md §2 "Schema").
//!
//! | job | `Preparing`, until all members have it | `Completing`, until all members have it |
//! |---|---|---|
//! | create index | writes maintain it; until all members have entered the rows from before | it is open for scans |
//! | drop index | it is closed | it is gone |
//! | add column | the next version is known beside the present one, and taken in requests | it is the version of the table |
//!
//! The client has its answer when the job has ended. Earlier versions stay in use: clients that know only them go on, and
//! rows that follow them are not rewritten. So nothing needs to drain before a version is retired, for none ever is.

use crate::machine::{Applied, MAX_STATE_BYTES, Machine, Refusal};
use duet_protocol::error::ErrorCode;
use duet_protocol::record::{JobKind, JobStage, SchemaJob, TableChange};
use duet_protocol::schema::{Column, IndexDefinition, IndexKind, IndexState, Table, TableIndex, TableState};

impl Machine {
    /// Starts the job that changes a table.
    pub(crate) fn change_table(
        &mut self,
        request: [u8; 16],
        database: &str,
        name: &str,
        change: TableChange,
    ) -> Result<Applied, Refusal> {
        self.room_for_job()?;
        let full_name = || format!("{database}.{name}");
        let state = &self.content.state;
        let Some(position) = state.tables.iter().position(|table| is_named(table, database, name)) else {
            return Err((ErrorCode::TableNotFound, full_name()));
        };
        if state.tables[position].state != TableState::Active {
            return Err((ErrorCode::TableNotActive, full_name()));
        }
        self.refuse_second_job(state.tables[position].id, full_name)?;
        let before = state.tables[position].clone();
        let kind = match change {
            TableChange::AddColumn(column) => self.begin_column(position, column)?,
            TableChange::CreateIndex(definition) => self.begin_index(position, definition)?,
            TableChange::DropIndex(index) => self.begin_drop_of_index(position, &index)?,
        };
        let state = &mut self.content.state;
        state.version += 1;
        if !state.to_record().is_ok_and(|record| record.len() <= MAX_STATE_BYTES) {
            state.tables[position] = before;
            state.version -= 1;
            let detail = format!("the dictionary would exceed {MAX_STATE_BYTES} bytes");
            return Err((ErrorCode::TooManyTables, detail));
        }
        self.start_job(request, kind, before.id);
        Ok(Applied::JobRunning { request })
    }

    /// One job at a time changes a table.
    pub(crate) fn refuse_second_job(
        &self,
        table: u32,
        full_name: impl Fn() -> String,
    ) -> Result<(), Refusal> {
        match self.content.jobs.iter().any(|job| job.table == table) {
            true => Err((ErrorCode::SchemaChangeUnderway, full_name())),
            false => Ok(()),
        }
    }

    fn begin_column(&mut self, position: usize, column: Column) -> Result<JobKind, Refusal> {
        let table = &mut self.content.state.tables[position];
        table.begin_column(column).map_err(|error| (ErrorCode::InvalidSchema, error.to_string()))?;
        Ok(JobKind::AddColumn)
    }

    /// All members have prepared a job's table.
    pub(crate) fn activate(&mut self, job: &SchemaJob) {
        let tables = &mut self.content.state.tables;
        let Some(table) = tables.iter_mut().find(|table| table.id == job.table) else { return };
        match job.kind {
            JobKind::AddColumn => table.finish_column(),
            JobKind::CreateIndex { index } => {
                for known in table.indexes.iter_mut().filter(|known| known.id == index) {
                    known.state = IndexState::Public;
                }
            }
            JobKind::DropIndex { index } => remove_index(table, index),
            JobKind::CreateTable | JobKind::DropTable => {}
        }
    }

    fn begin_index(&mut self, position: usize, definition: IndexDefinition) -> Result<JobKind, Refusal> {
        let invalid = |detail: String| (ErrorCode::InvalidSchema, detail);
        if definition.kind != IndexKind::Ordered {
            let detail = format!("index '{}': unique indexes are created with their table", definition.name);
            return Err(invalid(detail));
        }
        // One at a time, so that what a node reports of its building is about this one.
        let builds = |job: &SchemaJob| matches!(job.kind, JobKind::CreateIndex { .. });
        if self.content.jobs.iter().any(builds) {
            let detail = "another index is being built".to_owned();
            return Err((ErrorCode::SchemaChangeUnderway, detail));
        }
        let state = &mut self.content.state;
        let table = &mut state.tables[position];
        table.definition.indexes.push(definition);
        if let Err(error) = table.definition.validate() {
            table.definition.indexes.pop();
            return Err(invalid(error.to_string()));
        }
        let index = state.next_index_id;
        state.next_index_id += 1;
        table.indexes.push(TableIndex { id: index, state: IndexState::WriteOnly, hidden_table: None });
        Ok(JobKind::CreateIndex { index })
    }

    fn begin_drop_of_index(&mut self, position: usize, name: &str) -> Result<JobKind, Refusal> {
        let table = &mut self.content.state.tables[position];
        let Some(place) = table.definition.index_position(name) else {
            return Err((ErrorCode::IndexNotFound, format!("index '{name}'")));
        };
        if table.definition.indexes[place].kind != IndexKind::Ordered {
            let detail = format!("index '{name}': unique indexes are dropped with their table");
            return Err((ErrorCode::InvalidSchema, detail));
        }
        table.indexes[place].state = IndexState::Dropping;
        Ok(JobKind::DropIndex { index: table.indexes[place].id })
    }

    /// A job cannot be carried out: what it began is taken back, and the client told when all members have that.
    pub(crate) fn abort_job(&mut self, request: &[u8; 16], code: u16, detail: String) {
        let content = &mut self.content;
        let preparing = |job: &&mut SchemaJob| job.request == *request && job.stage == JobStage::Preparing;
        let Some(job) = content.jobs.iter_mut().find(preparing) else { return };
        let JobKind::CreateIndex { index } = job.kind else { return };
        for table in content.state.tables.iter_mut().filter(|table| table.id == job.table) {
            remove_index(table, index);
        }
        content.state.version += 1;
        (job.stage, job.version) = (JobStage::Completing, content.state.version);
        (job.code, job.detail) = (code, detail);
    }
}

fn remove_index(table: &mut Table, index: u32) {
    if let Some(place) = table.indexes.iter().position(|known| known.id == index) {
        table.indexes.remove(place);
        table.definition.indexes.remove(place);
    }
}

fn is_named(table: &Table, database: &str, name: &str) -> bool {
    table.state != TableState::Dropping
        && !table.is_hidden()
        && table.definition.name == name
        && table.definition.database == database
}
