//! Changes of tables that exist, as jobs of the replicated state machine (PROTOCOL.md §2 "Schema").
//!
//! | job | `Preparing`, until all members have it | `Completing`, until all members have it |
//! |---|---|---|
//! | add column | the next version is known beside the present one, and taken in requests | it is the version of the table |
//!
//! The client has its answer when the job has ended. Earlier versions stay in use: clients that know only them go on, and
//! rows that follow them are not rewritten. So nothing needs to drain before a version is retired, for none ever is.

use crate::machine::{Applied, MAX_STATE_BYTES, Machine, Refusal};
use duet_protocol::error::ErrorCode;
use duet_protocol::record::{JobKind, SchemaJob, TableChange};
use duet_protocol::schema::{Column, Table, TableState};

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
            JobKind::CreateTable | JobKind::DropTable => {}
        }
    }
}

fn is_named(table: &Table, database: &str, name: &str) -> bool {
    table.state != TableState::Dropping
        && !table.is_hidden()
        && table.definition.name == name
        && table.definition.database == database
}
