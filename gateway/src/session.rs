//! A session: what one connection has chosen, its transaction, and what its statements do.

use crate::catalog::{Catalog, check_writable};
use crate::error::{Result, SqlError, not_supported};
use crate::execute::alone::{ended, open_locked, retried};
use crate::execute::insert::{InsertIds, Inserted, insert_alone, insert_together, insert_within, new_rows};
use crate::execute::read::Values;
use crate::execute::select::Cursor;
use crate::execute::transaction::{MAX_WRITTEN, OpenTransaction, too_many_rows};
use crate::execute::write::{Attempt, delete_alone, delete_within, update_alone, update_within};
use crate::expression::{Environment, Facts};
use crate::memory::Memory;
use crate::parse::{Tokens, tokens};
use crate::plan::{
    InsertMode, Plan, UpdatePlan, compile_delete, compile_insert, compile_select, compile_update,
    delete_tables, insert_table, query_table, single_table, table_name,
};
use crate::plans::Plans;
use crate::processes::{Ending, Process, Processes, WAIT_TIMEOUT_SECONDS};
use crate::query::run::QueryRows;
use crate::server::Server;
use crate::users::Users;
use crate::variables::Variables;
use crate::wire::results::{Done, ResultColumn, ResultHead};
use duet_client::{Client, Table, Value};
use duet_gateway_wire::accounts::AccountStatement;
use duet_gateway_wire::outline::Outline;
use duet_gateway_wire::requests::Request;
use mysql_common::constants::StatusFlags;
use sqlparser::ast::{Query, Statement, Update};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Most warnings that are kept for SHOW WARNINGS.
pub const MAX_WARNINGS: usize = 64;
/// The code of what the fast path leaves to the query engine.
const NOT_SUPPORTED: u16 = 1_235;

/// Rows of a result on their way to the client.
pub enum Rows {
    /// All there.
    Fixed(std::vec::IntoIter<Values>),
    /// Read as they are sent.
    Cursor(Box<Cursor>),
    /// Computed by the query engine as they are sent.
    Query(Box<QueryRows>),
}

impl Rows {
    /// The next rows, maybe none; `None` at the end.
    ///
    /// # Errors
    /// Those of the statement.
    pub async fn next(&mut self) -> Result<Option<Vec<Values>>> {
        match self {
            Rows::Fixed(rows) => {
                let chunk: Vec<Values> = rows.by_ref().take(1_024).collect();
                Ok(if chunk.is_empty() { None } else { Some(chunk) })
            }
            Rows::Cursor(cursor) => cursor.next().await,
            Rows::Query(rows) => rows.next().await,
        }
    }
}

/// What a statement gives.
pub enum Outcome {
    /// No rows.
    Done(Done),
    /// Rows.
    Rows {
        /// Columns.
        head: Arc<ResultHead>,
        /// Rows.
        rows: Rows,
    },
}

impl Outcome {
    /// A result whose rows are all there.
    pub fn fixed(columns: Vec<ResultColumn>, rows: Vec<Values>) -> Outcome {
        Outcome::Rows { head: Arc::new(ResultHead::new(columns)), rows: Rows::Fixed(rows.into_iter()) }
    }

    fn nothing() -> Outcome {
        Outcome::Done(Done::default())
    }
}

/// A statement that can be executed.
#[derive(Clone, Debug)]
pub enum Prepared {
    /// On the rows of a table, with its plan.
    Planned(Arc<Plan>),
    /// A query for the engine, planned when it is executed.
    Query(Arc<Query>),
    /// A change with queries in it, planned when these are executed.
    Nested(Arc<Statement>),
    /// Anything else.
    Other(Arc<Statement>),
    /// About users.
    Account(Arc<AccountStatement>),
    /// What the parser of SQL does not know.
    Request(Arc<Request>),
}

/// How much a warning matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What was asked for is so already.
    Note,
    /// Something else was done than what was asked for.
    Warning,
    /// What ended the statement.
    Error,
}

impl Level {
    /// The word of SHOW WARNINGS.
    pub fn word(self) -> &'static str {
        match self {
            Level::Note => "Note",
            Level::Warning => "Warning",
            Level::Error => "Error",
        }
    }
}

/// What SHOW WARNINGS tells of a statement.
#[derive(Clone, Debug)]
pub struct Warning {
    /// How much it matters.
    pub level: Level,
    /// What it is.
    pub error: SqlError,
}

/// A session.
pub struct Session {
    /// Tables and databases.
    pub catalog: Arc<Catalog>,
    /// The client of the connection's thread.
    pub client: Client,
    /// Where its statements get their memory.
    pub memory: Memory,
    /// Plans of all sessions.
    plans: Arc<Plans>,
    /// Who may come in.
    pub users: Arc<Users>,
    /// What expressions see.
    pub facts: Facts,
    /// Whether affected rows are those that were found, not those that were changed: CLIENT_FOUND_ROWS.
    pub counts_found: bool,
    transaction: Option<OpenTransaction>,
    /// All connections.
    pub processes: Arc<Processes>,
    /// This connection.
    pub process: Arc<Process>,
    /// Notes and warnings of the last statement, and the error that ended it.
    pub warnings: Vec<Warning>,
    /// Whether they are those of the statement before, which this one only shows.
    shows_warnings: bool,
}

impl Session {
    /// A session of a user.
    pub fn new(server: &Server, client: Client, process: Arc<Process>, user: String) -> Session {
        let variables = Variables::with_most_connections(server.max_connections);
        let facts = Facts { connection: process.number, user, variables, ..Facts::default() };
        Session {
            catalog: Arc::clone(&server.catalog),
            client,
            memory: server.catalog.engine().memory(),
            plans: Arc::clone(&server.plans),
            users: Arc::clone(&server.users),
            facts,
            counts_found: false,
            transaction: None,
            processes: Arc::clone(&server.processes),
            process,
            warnings: Vec::new(),
            shows_warnings: false,
        }
    }

    /// Ends a statement or a connection by its number.
    ///
    /// # Errors
    /// 1094 when there is none; 1317 when it is this one.
    pub fn kill(&mut self, number: u64, ending: Ending) -> Result<()> {
        self.processes.kill(number, ending)?;
        match number == u64::from(self.process.number) {
            true => Err(SqlError::interrupted("Query execution was interrupted")),
            false => Ok(()),
        }
    }

    /// Status flags of answers.
    pub fn status(&self) -> StatusFlags {
        let mut status = StatusFlags::empty();
        status.set(StatusFlags::SERVER_STATUS_AUTOCOMMIT, self.facts.variables.autocommit());
        status.set(StatusFlags::SERVER_STATUS_IN_TRANS, self.transaction.is_some());
        status
    }

    /// Chooses a database.
    ///
    /// # Errors
    /// 1049 when there is none.
    pub async fn use_database(&mut self, name: &str) -> Result<()> {
        self.catalog.check_database(name).await?;
        self.facts.database = Some(name.to_owned());
        Ok(())
    }

    /// Back to the beginning: no transaction, no database beside the first one, variables as at first.
    pub async fn reset(&mut self) {
        self.rollback().await;
        let (connection, user, database) =
            (self.facts.connection, std::mem::take(&mut self.facts.user), self.facts.database.take());
        let variables = self.facts.variables.at_first();
        self.facts = Facts { connection, user, database, variables, ..Facts::default() };
        self.process.set_wait_timeout(WAIT_TIMEOUT_SECONDS);
        self.warnings.clear();
    }

    /// The database of a table.
    ///
    /// # Errors
    /// 1046 when none is given and none chosen.
    pub fn database(&self, given: Option<&str>) -> Result<String> {
        let chosen = given.map(str::to_owned).or_else(|| self.facts.database.clone());
        chosen.ok_or_else(|| SqlError::no_database("No database selected"))
    }

    /// The statements of a text.
    ///
    /// # Errors
    /// 1064 and 1436.
    pub fn statements(&self, sql: &str) -> Result<Vec<Tokens>> {
        tokens(sql)
    }

    /// The plan of a text whose outline was learned, if it is one for the table as it is.
    pub async fn known(&self, outline: &Outline) -> Option<Prepared> {
        let plan = self.plans.get(self.chosen(), &outline.text)?;
        self.is_current(&plan, &mut 0).await.then_some(Prepared::Planned(plan))
    }

    /// Learns the plan of a text from its outline, where that finds the same literals as reading it in full: then it does so for all texts of
    /// this outline, because what is a literal depends on the words and signs around it.
    pub fn learn(&self, outline: Outline, prepared: &Prepared, literals: &[Value]) {
        if let Prepared::Planned(plan) = prepared
            && outline.literals == literals
        {
            self.plans.put(self.chosen(), outline.text, Arc::clone(plan));
        }
    }

    /// The database that is chosen; no text where there is none.
    fn chosen(&self) -> &str {
        self.facts.database.as_deref().unwrap_or_default()
    }

    /// Plans a statement of COM_QUERY: with its literals taken out, so that others of its shape find the plan.
    ///
    /// # Errors
    /// Those of statements that cannot be planned.
    pub async fn plan_text(&mut self, mut tokens: Tokens) -> Result<(Prepared, Vec<Value>)> {
        if tokens.parameters > 0 {
            return Err(SqlError::syntax(
                "You have an error in your SQL syntax; ? stands for a parameter in prepared statements only",
            ));
        }
        tokens.share();
        let literals = std::mem::take(&mut tokens.literals);
        let shape = std::mem::take(&mut tokens.shape);
        if shape.is_empty() {
            return Ok((self.prepare(tokens).await?, Vec::new()));
        }
        if let Some(plan) = self.plans.get(self.chosen(), &shape)
            && self.is_current(&plan, &mut 0).await
        {
            return Ok((Prepared::Planned(plan), literals));
        }
        let prepared = self.prepare_statement(tokens.parse()?).await?;
        if let Prepared::Planned(plan) = &prepared {
            self.plans.put(self.chosen(), shape, Arc::clone(plan));
        }
        Ok((prepared, literals))
    }

    /// Whether a plan was made for the table as it is. `looked` is the version of the state that it was found to be so at before.
    pub async fn is_current(&self, plan: &Plan, looked: &mut u64) -> bool {
        let Some(table) = plan.table() else { return true };
        let version = self.catalog.client().state_version();
        if *looked == version {
            return true;
        }
        let now = self.catalog.table(table.database(), table.name()).await;
        let current = now.is_ok_and(|now| Arc::ptr_eq(&now, table));
        if current {
            *looked = version;
        }
        current
    }

    /// Plans a statement.
    ///
    /// # Errors
    /// Those of statements that cannot be planned.
    pub async fn prepare(&mut self, tokens: Tokens) -> Result<Prepared> {
        if let Some(statement) = tokens.account_statement()? {
            return Ok(Prepared::Account(Arc::new(statement)));
        }
        match tokens.request()? {
            Some(request) => Ok(Prepared::Request(Arc::new(request))),
            None => self.prepare_statement(tokens.parse()?).await,
        }
    }

    /// Plans a statement that is parsed.
    ///
    /// # Errors
    /// Those of statements that cannot be planned.
    pub async fn prepare_statement(&mut self, statement: Statement) -> Result<Prepared> {
        if crate::nested::is_nested(&statement) {
            return Ok(Prepared::Nested(Arc::new(statement)));
        }
        let plan = match &statement {
            Statement::Query(query) => {
                let for_engine = |query: &Query| Ok(Prepared::Query(Arc::new(query.clone())));
                let named = match query_table(query) {
                    Err(error) if error.code == NOT_SUPPORTED => return for_engine(query),
                    named => named?,
                };
                let (table, alias) = match &named {
                    None => (None, ""),
                    Some(named) => {
                        let database = self.database(named.database.as_deref())?;
                        if crate::show::is_virtual(&database) {
                            return for_engine(query);
                        }
                        (Some(self.catalog.table(&database, &named.name).await?), named.alias.as_str())
                    }
                };
                match compile_select(query, table, alias) {
                    Err(error) if error.code == NOT_SUPPORTED => return for_engine(query),
                    plan => Plan::Select(plan?),
                }
            }
            Statement::Insert(insert) => {
                let (database, name) = table_name(insert_table(insert)?)?;
                let table = self.table_to_change(database.as_deref(), &name).await?;
                Plan::Insert(compile_insert(insert, table, None)?)
            }
            Statement::Update(update) => {
                let named = single_table(std::slice::from_ref(&update.table))?;
                let table = self.table_to_change(named.database.as_deref(), &named.name).await?;
                Plan::Update(self.update_plan(update, table, &named.alias).await?)
            }
            Statement::Delete(delete) => {
                let named = single_table(delete_tables(delete)?)?;
                let table = self.table_to_change(named.database.as_deref(), &named.name).await?;
                Plan::Delete(compile_delete(delete, table, &named.alias)?)
            }
            _ => return Ok(Prepared::Other(Arc::new(statement))),
        };
        Ok(Prepared::Planned(Arc::new(plan)))
    }

    /// Compiles an UPDATE.
    ///
    /// # Errors
    /// As [`compile_update`]; those of the cluster.
    pub async fn update_plan(&self, update: &Update, table: Table, alias: &str) -> Result<UpdatePlan> {
        let mut plan = compile_update(update, table, alias)?;
        if plan.sets_key() {
            plan.numbered = self.catalog.sequence(&plan.table).await?.map(|sequence| sequence.column);
        }
        Ok(plan)
    }

    /// Rows that have got other keys may have numbers now that are not to be given out any more.
    async fn numbers_were_set(&mut self, table: &Table, greatest: Option<u64>) -> Result<()> {
        let Some(greatest) = greatest else { return Ok(()) };
        match self.catalog.sequence(table).await? {
            Some(sequence) => self.catalog.advance(table, &sequence, greatest).await,
            None => Ok(()),
        }
    }

    /// A table that the statement may change.
    ///
    /// # Errors
    /// 1046, 1146, 1044.
    pub async fn table_to_change(&self, database: Option<&str>, name: &str) -> Result<Table> {
        self.catalog.table_to_change(&self.database(database)?, name).await
    }

    /// Adds a warning.
    pub fn warn(&mut self, warning: SqlError) {
        self.tell(Level::Warning, warning);
    }

    /// Adds a note: what was asked for is so already.
    pub fn note(&mut self, note: SqlError) {
        self.tell(Level::Note, note);
    }

    /// Adds the error that ends a statement.
    pub fn failed(&mut self, error: &SqlError) {
        self.tell(Level::Error, error.clone());
    }

    fn tell(&mut self, level: Level, error: SqlError) {
        match level {
            Level::Note if !self.facts.variables.notes() => return,
            // An error always has a place: it is the last one.
            Level::Error => self.warnings.truncate(MAX_WARNINGS - 1),
            _ => {}
        }
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(Warning { level, error });
        }
    }

    /// How many warnings the answer to a statement tells of: none where they are those of the statement before.
    pub fn warning_count(&self) -> u16 {
        match self.shows_warnings {
            true => 0,
            false => u16::try_from(self.warnings.len()).unwrap_or(u16::MAX),
        }
    }

    /// Forgets the warnings of the statement before, of which `@@warning_count` and `@@error_count` still tell.
    pub fn forget_warnings(&mut self) {
        let errors = self.warnings.iter().filter(|warning| warning.level == Level::Error).count();
        self.facts.variables.set_counts(self.warnings.len(), errors);
        self.warnings.clear();
        self.shows_warnings = false;
    }

    /// Adds what conversions of the statement have lost.
    pub fn gather_losses(&mut self) {
        for Warning { level, error } in self.facts.losses.take() {
            self.tell(level, error);
        }
    }

    /// Executes a statement.
    ///
    /// # Errors
    /// Those of the statement.
    pub async fn execute(&mut self, prepared: &Prepared, parameters: Vec<Value>) -> Result<Outcome> {
        match matches!(prepared, Prepared::Request(request) if crate::show::keeps_warnings(request)) {
            true => self.shows_warnings = true,
            false => self.forget_warnings(),
        }
        self.facts.losses.begin(is_strict(prepared));
        self.facts.last_insert_id.begin();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.facts.now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let may_be_bounded = match prepared {
            Prepared::Planned(_) | Prepared::Query(_) => true,
            Prepared::Request(request) => matches!(request.as_ref(), Request::SelectInto(..)),
            _ => false,
        };
        self.facts.select_limit = if may_be_bounded { self.facts.variables.select_limit() } else { None };
        let executed = match prepared {
            Prepared::Planned(plan) => {
                let process = Arc::clone(&self.process);
                process.unless_killed(self.execute_plan(plan, parameters)).await
            }
            Prepared::Query(query) => {
                self.ready_for_rows()?;
                let process = Arc::clone(&self.process);
                process.unless_killed(crate::query::execute(self, query, parameters)).await
            }
            Prepared::Nested(statement) => {
                self.ready_for_rows()?;
                let process = Arc::clone(&self.process);
                let execute = Box::pin(crate::nested::execute(self, statement, parameters));
                process.unless_killed(execute).await
            }
            Prepared::Other(statement) if crate::statements::may_be_killed(statement) => {
                let process = Arc::clone(&self.process);
                process.unless_killed(crate::statements::execute(self, statement, &parameters)).await
            }
            Prepared::Other(statement) => crate::statements::execute(self, statement, &parameters).await,
            Prepared::Account(statement) => crate::accounts::execute(self, statement).await,
            Prepared::Request(request)
                if matches!(request.as_ref(), Request::Show(..) | Request::SelectInto(..)) =>
            {
                let process = Arc::clone(&self.process);
                process.unless_killed(crate::statements::request(self, request, &parameters)).await
            }
            Prepared::Request(request) => crate::statements::request(self, request, &parameters).await,
        };
        self.facts.row_count = match &executed {
            Ok(Outcome::Done(done)) => i64::try_from(done.affected).unwrap_or(i64::MAX),
            _ => -1,
        };
        self.gather_losses();
        match executed {
            Ok(done) => Ok(done),
            Err(error) => {
                self.after_error(&error).await;
                Err(self.if_changed(prepared, error).await)
            }
        }
    }

    /// A statement whose table was exchanged, or changed so that the plan does not fit it, is to be tried again, for which the new table is
    /// learned here.
    async fn if_changed(&self, prepared: &Prepared, error: SqlError) -> SqlError {
        let planned = match prepared {
            Prepared::Planned(plan) if matches!(error.code, 1_146 | 1_412) => plan.table(),
            _ => None,
        };
        let Some(table) = planned else { return error };
        // While nobody answers, the error is as good as any.
        if self.catalog.client().refresh().await.is_err() {
            return error;
        }
        match self.catalog.table(table.database(), table.name()).await {
            Ok(_) => SqlError::table_changed("Table definition has changed, please retry transaction"),
            Err(_) => SqlError::no_table(table.database(), table.name()),
        }
    }

    /// After a deadlock there is no transaction any more, as in MySQL. After other errors that ended it in the cluster it stays, and refuses
    /// everything but its end: so does one whose statement was killed at any place of its work.
    pub async fn after_error(&mut self, error: &SqlError) {
        if error.code == 1_317
            && let Some(transaction) = &mut self.transaction
        {
            // Dropped, it is rolled back by the client, also while its operations wait for locks.
            *transaction = OpenTransaction::ended_by(error, &self.client, &self.memory);
        }
        let failed = self.transaction.as_ref().is_some_and(OpenTransaction::has_failed);
        if failed && error.code == 1_213 {
            self.rollback().await;
        }
    }

    /// Begins a transaction of the session.
    ///
    /// # Errors
    /// Those of committing the one that is open.
    pub async fn begin(&mut self) -> Result<()> {
        if self.transaction.as_ref().is_some_and(OpenTransaction::has_failed) {
            self.rollback().await;
        }
        self.commit().await?;
        self.transaction = Some(OpenTransaction::begin(&self.client, &self.memory));
        Ok(())
    }

    /// Commits the transaction, if there is one.
    ///
    /// # Errors
    /// 1180 when that is not possible.
    pub async fn commit(&mut self) -> Result<()> {
        match self.transaction.take() {
            Some(transaction) => transaction.commit().await,
            None => Ok(()),
        }
    }

    /// Rolls the transaction back, if there is one.
    pub async fn rollback(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            transaction.rollback().await;
        }
    }

    /// Before a statement reads or writes rows: without autocommit the first one begins a transaction.
    ///
    /// # Errors
    /// 1180 when an error has rolled the transaction back.
    pub fn ready_for_rows(&mut self) -> Result<()> {
        if self.transaction.is_none() && !self.facts.variables.autocommit() {
            self.transaction = Some(OpenTransaction::begin(&self.client, &self.memory));
        }
        self.open_transaction().map(|_| ())
    }

    /// The transaction, if there is one.
    ///
    /// # Errors
    /// 1180 when an error has rolled it back.
    pub fn open_transaction(&mut self) -> Result<Option<&mut OpenTransaction>> {
        if let Some(transaction) = &self.transaction {
            transaction.check()?;
        }
        Ok(self.transaction.as_mut())
    }

    /// Executes a plan.
    ///
    /// # Errors
    /// Those of the statement.
    pub async fn execute_plan(&mut self, plan: &Arc<Plan>, parameters: Vec<Value>) -> Result<Outcome> {
        if plan.table().is_some() {
            self.ready_for_rows()?;
        }
        match plan.as_ref() {
            Plan::Select(select) => {
                let auto_increment = match &select.table {
                    Some(table) => self.catalog.sequence(table).await?.map(|sequence| sequence.column),
                    None => None,
                };
                let head = select.head(&parameters, &self.facts, auto_increment);
                let (client, facts) = (self.client.clone(), &self.facts);
                let cursor = match &mut self.transaction {
                    None if select.lock.is_some() => {
                        open_locked(&client, plan, parameters, facts, &self.memory).await?
                    }
                    transaction => {
                        let (plan, facts, memory) = (Arc::clone(plan), facts.clone(), &self.memory);
                        Cursor::open(&client, plan, parameters, facts, memory, transaction.as_mut()).await?
                    }
                };
                Ok(Outcome::Rows { head, rows: Rows::Cursor(Box::new(cursor)) })
            }
            Plan::Insert(insert) => {
                let catalog = Arc::clone(&self.catalog);
                let environment = Environment::new(&parameters, &self.facts);
                let new = new_rows(&catalog, insert, &environment, &self.memory).await?;
                let (rows, ids) = (new.rows.len(), new.ids());
                let client = &self.client;
                let inserted = match (&mut self.transaction, &insert.mode) {
                    _ if rows == 0 => Inserted::default(),
                    _ if rows > MAX_WRITTEN => return Err(too_many_rows()),
                    (Some(transaction), _) => {
                        insert_within(insert, new.rows, &new.numbered, &environment, transaction).await?
                    }
                    (None, InsertMode::Fail) if rows == 1 => {
                        insert_alone(client, &insert.table, &new.rows[0]).await?
                    }
                    // In one batch with the commit.
                    (None, InsertMode::Fail) if rows < MAX_WRITTEN => {
                        let (table, rows) = (&insert.table, &new.rows);
                        retried(|| insert_together(client, table, rows)).await?
                    }
                    (None, _) => {
                        let (new, environment, memory) = (&new, &environment, &self.memory);
                        retried(|| async move {
                            let mut transaction = OpenTransaction::begin(client, memory);
                            let (rows, numbered) = (new.rows.clone(), &new.numbered);
                            let inserted =
                                insert_within(insert, rows, numbered, environment, &mut transaction).await;
                            ended(transaction, inserted).await
                        })
                        .await?
                    }
                };
                if let Err(error) = self.numbers_were_set(&insert.table, inserted.greatest).await {
                    self.warn(error);
                }
                Ok(self.inserted(inserted, rows, ids))
            }
            Plan::Update(update) => {
                let client = self.client.clone();
                let environment = Environment::new(&parameters, &self.facts);
                let counts = match &mut self.transaction {
                    Some(transaction) => update_within(&client, update, &environment, transaction).await?,
                    None => match update_alone(&client, update, &environment).await? {
                        Attempt::Done(counts) => counts,
                        Attempt::NeedsTransaction => {
                            let (client, environment, memory) = (&client, &environment, &self.memory);
                            retried(|| async move {
                                let mut transaction = OpenTransaction::begin(client, memory);
                                let counts =
                                    update_within(client, update, environment, &mut transaction).await;
                                ended(transaction, counts).await
                            })
                            .await?
                        }
                    },
                };
                if let Err(error) = self.numbers_were_set(&update.table, counts.greatest).await {
                    // The rows are changed already.
                    self.warn(error);
                }
                let affected = if self.counts_found { counts.matched } else { counts.changed };
                self.gather_losses();
                let (matched, changed, warnings) = (counts.matched, counts.changed, self.warnings.len());
                let info = format!("Rows matched: {matched}  Changed: {changed}  Warnings: {warnings}");
                Ok(Outcome::Done(Done { affected, info, last_insert_id: self.facts.last_insert_id.said() }))
            }
            Plan::Delete(delete) => {
                let client = self.client.clone();
                let environment = Environment::new(&parameters, &self.facts);
                let counts = match &mut self.transaction {
                    Some(transaction) => delete_within(&client, delete, &environment, transaction).await?,
                    None => match delete_alone(&client, delete, &environment).await? {
                        Attempt::Done(counts) => counts,
                        Attempt::NeedsTransaction => {
                            let (client, environment, memory) = (&client, &environment, &self.memory);
                            retried(|| async move {
                                let mut transaction = OpenTransaction::begin(client, memory);
                                let counts =
                                    delete_within(client, delete, environment, &mut transaction).await;
                                ended(transaction, counts).await
                            })
                            .await?
                        }
                    },
                };
                Ok(Outcome::Done(Done { affected: counts.changed, ..Done::default() }))
            }
        }
    }

    fn inserted(&mut self, inserted: Inserted, rows: usize, all_new: InsertIds) -> Outcome {
        let ids = inserted.ids.unwrap_or(all_new);
        let said = self.facts.last_insert_id.said();
        if ids.generated > 0 {
            self.facts.last_insert_id.generated(ids.generated);
        }
        self.gather_losses();
        for warning in inserted.warnings {
            self.warn(warning);
        }
        let info = match rows {
            1 => String::new(),
            rows => format!(
                "Records: {rows}  Duplicates: {}  Warnings: {}",
                inserted.duplicates,
                self.warnings.len()
            ),
        };
        let last_insert_id = if ids.generated == 0 && said > 0 { said } else { ids.answer() };
        Outcome::Done(Done { affected: inserted.affected, last_insert_id, info })
    }

    /// Commits what is open before a change of definitions, as MySQL does.
    ///
    /// # Errors
    /// Those of the commit.
    pub async fn before_definition(&mut self, database: &str) -> Result<()> {
        check_writable(database)?;
        // What others have defined, and what of an index that could not be built is gone again.
        self.catalog.client().refresh().await?;
        self.commit().await
    }

    /// A statement that this gateway does not know.
    ///
    /// # Errors
    /// Always 1235.
    pub fn unknown(statement: &Statement) -> Result<Outcome> {
        let shown: String = statement.to_string().chars().take(60).collect();
        not_supported(&shown)
    }

    /// Nothing to tell.
    pub fn nothing() -> Outcome {
        Outcome::nothing()
    }
}

/// Whether what conversions lose ends a statement: one that changes rows, unless it is to ignore errors.
fn is_strict(prepared: &Prepared) -> bool {
    match prepared {
        Prepared::Planned(plan) => match plan.as_ref() {
            Plan::Select(_) => false,
            Plan::Insert(insert) => !matches!(insert.mode, InsertMode::Ignore),
            Plan::Update(_) | Plan::Delete(_) => true,
        },
        Prepared::Nested(statement) => {
            !matches!(statement.as_ref(), Statement::Insert(insert) if insert.ignore)
        }
        _ => false,
    }
}
