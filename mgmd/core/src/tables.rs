//! Changes of tables that exist, as jobs of the replicated state machine (PROTOCOL.md §2 "Schema").
//!
//! | job | `Preparing`, until all members have it | `Completing`, until all members have it |
//! |---|---|---|
//! | create index | writes maintain it; until all members have entered the rows from before | it is open for scans and look-ups |
//! | drop index | it is closed; a unique one: no member works on its entries any more | it is gone |
//! | add column | the next version is known beside the present one, and taken in requests | it is the version of the table |
//!
//! The entries of a unique index are in a hidden table, and on other nodes than the rows. So before writes maintain it all
//! members know that table (`Announcing`); and when it is dropped it is closed first (`Announcing`), then no longer maintained
//! (`Releasing`). A build that is given up ends like a drop.
//!
//! The client has its answer when the job has ended. Earlier versions stay in use: clients that know only them go on, and
//! rows that follow them are not rewritten. So nothing needs to drain before a version is retired, for none ever is.

use crate::machine::{Applied, MAX_STATE_BYTES, MAX_TABLES, Machine, Refusal};
use duet_protocol::error::ErrorCode;
use duet_protocol::record::{JobKind, JobStage, SchemaJob, TableChange};
use duet_protocol::schema::{Column, IndexDefinition, IndexKind, IndexState, Table, TableIndex, TableState};
use duet_protocol::unique::entries_definition;

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
        let (before, tables) = (state.tables[position].clone(), state.tables.len());
        let kind = match change {
            TableChange::AddColumn(column) => self.begin_column(position, column)?,
            TableChange::CreateIndex(definition) => self.begin_index(position, &definition)?,
            TableChange::DropIndex(index) => self.begin_drop_of_index(position, &index)?,
        };
        let state = &mut self.content.state;
        state.version += 1;
        if !state.to_record().is_ok_and(|record| record.len() <= MAX_STATE_BYTES) {
            state.tables.truncate(tables);
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
            JobKind::DropIndex { index } => {
                let hidden = remove_index(table, index);
                tables.retain(|table| Some(table.id) != hidden);
            }
            JobKind::CreateTable | JobKind::DropTable => {}
        }
    }

    fn begin_index(&mut self, position: usize, definition: &IndexDefinition) -> Result<JobKind, Refusal> {
        let invalid = |detail: String| (ErrorCode::InvalidSchema, detail);
        // One at a time, so that what a node reports of its building is about this one.
        let builds = |job: &SchemaJob| matches!(job.kind, JobKind::CreateIndex { .. });
        if self.content.jobs.iter().any(builds) {
            let detail = "another index is being built".to_owned();
            return Err((ErrorCode::SchemaChangeUnderway, detail));
        }
        let state = &mut self.content.state;
        if definition.kind == IndexKind::Unique && state.tables.len() >= MAX_TABLES {
            let detail = format!("there may be {MAX_TABLES} tables, those of unique indexes included");
            return Err((ErrorCode::TooManyTables, detail));
        }
        let table = &mut state.tables[position];
        table.definition.indexes.push(definition.clone());
        if let Err(error) = table.definition.validate() {
            table.definition.indexes.pop();
            return Err(invalid(error.to_string()));
        }
        let index = state.next_index_id;
        state.next_index_id += 1;
        match definition.kind {
            IndexKind::Ordered => {
                let known = TableIndex { id: index, state: IndexState::WriteOnly, hidden_table: None };
                table.indexes.push(known);
            }
            IndexKind::Unique => {
                let id = state.next_table_id;
                state.next_table_id += 1;
                let known = TableIndex { id: index, state: IndexState::Announced, hidden_table: Some(id) };
                table.indexes.push(known);
                let entries = entries_definition(&table.definition, definition);
                let hidden_of = Some(table.id);
                let state = TableState::Active;
                let hidden = Table { hidden_of, state, ..Table::created(id, 0, entries) };
                self.content.state.tables.push(hidden);
            }
        }
        Ok(JobKind::CreateIndex { index })
    }

    fn begin_drop_of_index(&mut self, position: usize, name: &str) -> Result<JobKind, Refusal> {
        let table = &mut self.content.state.tables[position];
        let Some(place) = table.definition.index_position(name) else {
            return Err((ErrorCode::IndexNotFound, format!("index '{name}'")));
        };
        table.indexes[place].state = IndexState::Dropping;
        Ok(JobKind::DropIndex { index: table.indexes[place].id })
    }

    /// The stage with which a job begins that has just been noted in the dictionary.
    pub(crate) fn first_stage(&self, kind: JobKind, table: u32) -> JobStage {
        let (JobKind::CreateIndex { index } | JobKind::DropIndex { index }) = kind else {
            return JobStage::Preparing;
        };
        let tables = self.content.state.tables.iter().filter(|candidate| candidate.id == table);
        let hidden = |known: &TableIndex| known.id == index && known.hidden_table.is_some();
        match tables.flat_map(|table| &table.indexes).any(hidden) {
            true => JobStage::Announcing,
            false => JobStage::Preparing,
        }
    }

    /// All members have what a stage of a unique index wants: the next one.
    pub(crate) fn step_unique(&mut self, job: &SchemaJob) -> JobStage {
        match (job.kind, job.stage) {
            (JobKind::CreateIndex { index }, JobStage::Announcing) => {
                self.set_index(job.table, index, IndexState::WriteOnly);
                JobStage::Preparing
            }
            (JobKind::DropIndex { index }, JobStage::Announcing) => {
                self.set_index(job.table, index, IndexState::Announced);
                JobStage::Releasing
            }
            (JobKind::DropIndex { index }, JobStage::Releasing) => {
                let hidden = self.set_index(job.table, index, IndexState::Announced);
                let tables = &mut self.content.state.tables;
                for table in tables.iter_mut().filter(|table| Some(table.id) == hidden) {
                    table.state = TableState::Dropping;
                }
                JobStage::Preparing
            }
            (_, stage) => stage,
        }
    }

    /// Sets the state of an index; its hidden table.
    fn set_index(&mut self, table: u32, index: u32, state: IndexState) -> Option<u32> {
        let tables = self.content.state.tables.iter_mut().filter(|candidate| candidate.id == table);
        let known = tables.flat_map(|table| &mut table.indexes).find(|known| known.id == index)?;
        known.state = state;
        known.hidden_table
    }

    /// The view has changed: what members said of jobs before it says nothing of the fragments that they lead now.
    pub(crate) fn ask_again(&mut self) {
        let version = self.content.state.version;
        for job in self.content.jobs.iter_mut().filter(|job| job.stage != JobStage::Completing) {
            job.version = version;
        }
    }

    /// The table is to be dropped: an index that is being built for it is given up.
    pub(crate) fn end_build(&mut self, table: u32) {
        let builds = |job: &&SchemaJob| job.table == table && matches!(job.kind, JobKind::CreateIndex { .. });
        let Some(request) = self.content.jobs.iter().find(builds).map(|job| job.request) else { return };
        self.abort_job(&request, ErrorCode::TableNotFound as u16, "the table is dropped".to_owned());
    }

    /// A job cannot be carried out: what it began is taken back, and the client told when all members have that.
    pub(crate) fn abort_job(&mut self, request: &[u8; 16], code: u16, detail: String) {
        let begun = |job: &SchemaJob| job.request == *request && job.stage != JobStage::Completing;
        let Some(position) = self.content.jobs.iter().position(begun) else { return };
        let job = &self.content.jobs[position];
        let JobKind::CreateIndex { index } = job.kind else { return };
        let table = job.table;
        let is_unique = self.set_index(table, index, IndexState::Announced).is_some();
        let content = &mut self.content;
        let job = &mut content.jobs[position];
        if is_unique {
            (job.kind, job.stage) = (JobKind::DropIndex { index }, JobStage::Releasing);
        } else {
            job.stage = JobStage::Completing;
            for table in content.state.tables.iter_mut().filter(|candidate| candidate.id == table) {
                remove_index(table, index);
            }
        }
        content.state.version += 1;
        job.version = content.state.version;
        (job.code, job.detail) = (code, detail);
    }
}

/// Takes an index out of a table; its hidden table.
fn remove_index(table: &mut Table, index: u32) -> Option<u32> {
    let place = table.indexes.iter().position(|known| known.id == index)?;
    table.definition.indexes.remove(place);
    table.indexes.remove(place).hidden_table
}

fn is_named(table: &Table, database: &str, name: &str) -> bool {
    table.state != TableState::Dropping
        && !table.is_hidden()
        && table.definition.name == name
        && table.definition.database == database
}
