//! One connection: handshake, then commands until it ends.

use crate::attention::Attention;
use crate::error::{Result, SqlError};
use crate::execute::read::Values;
use crate::login::{HANDSHAKE_WITHIN, Wire, change, greet, plain, tell};
use crate::memory::Held;
use crate::processes::{Ending, Process};
use crate::server::Server;
use crate::session::{Outcome, Prepared, Rows, Session};
use crate::wire::packet::{Fields, MAX_PACKET_BYTES, ReadError, malformed};
use crate::wire::parameters::{self, ParameterType};
use crate::wire::results::{
    Done, ResultColumn, ResultHead, begin_binary_row, put_binary_row, put_binary_value, put_column,
    put_column_count, put_end, put_error, put_ok, put_text_row, put_text_value,
};
use duet_client::{Client, ColumnType, Value, ValueRef};
use duet_gateway_wire::outline::Outline;
use mysql_common::constants::{CapabilityFlags, Command, StatusFlags};
use rustc_hash::FxHashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a client may take nothing of what it asked for.
const WRITE_WITHIN: Duration = Duration::from_secs(60);
/// Most bytes of the texts of a connection's prepared statements.
const MAX_STATEMENT_BYTES: usize = 64 << 20;
/// Most prepared statements of a connection.
const MAX_STATEMENTS: usize = 16_382;
/// Payloads up to this length are not taken out of the gateway's memory.
const FREE_PAYLOAD_BYTES: usize = 64 << 10;
/// Most bytes that COM_STMT_SEND_LONG_DATA collects for a connection.
const MAX_LONG_DATA: usize = 64 << 20;

/// Commands that are answered with more than that they are unknown.
const COMMANDS: &[Command] = &[
    Command::COM_QUIT,
    Command::COM_PING,
    Command::COM_INIT_DB,
    Command::COM_QUERY,
    Command::COM_STMT_PREPARE,
    Command::COM_STMT_EXECUTE,
    Command::COM_STMT_SEND_LONG_DATA,
    Command::COM_STMT_CLOSE,
    Command::COM_STMT_RESET,
    Command::COM_RESET_CONNECTION,
    Command::COM_SET_OPTION,
    Command::COM_STATISTICS,
    Command::COM_FIELD_LIST,
    Command::COM_CHANGE_USER,
    Command::COM_PROCESS_KILL,
];

/// A prepared statement.
struct Statement {
    sql: String,
    prepared: Prepared,
    /// Version of the cluster's state at which the plan was found to be one for the table as it is.
    current_at: u64,
    parameters: usize,
    types: Vec<ParameterType>,
    long_data: Vec<Option<Vec<u8>>>,
}

struct Connection {
    server: Arc<Server>,
    wire: Wire,
    session: Session,
    process: Arc<Process>,
    peer: SocketAddr,
    capabilities: CapabilityFlags,
    statements: FxHashMap<u32, Statement>,
    statement_bytes: usize,
    next_statement: u32,
    long_bytes: usize,
    /// Memory of long data, of the texts of prepared statements, and of a long payload.
    held_long: Held,
    held_statements: Held,
    held_payload: Held,
    scratch: Vec<u8>,
}

/// What ends a connection.
enum End {
    /// It is closed.
    Closed,
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> End {
        End::Closed
    }
}

/// Serves a connection until it ends.
pub async fn serve(
    server: Arc<Server>,
    client: Client,
    attention: Arc<Attention>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let _ = stream.set_nodelay(true);
    let greeted = tokio::time::timeout(HANDSHAKE_WITHIN, greet(&server, client, stream, peer)).await;
    let Ok(Some(guest)) = greeted else { return };
    let memory = server.catalog.engine().memory();
    let mut connection = Connection {
        server,
        wire: guest.wire,
        session: guest.session,
        process: Arc::clone(&guest.place.process),
        peer,
        capabilities: guest.capabilities,
        statements: FxHashMap::default(),
        statement_bytes: 0,
        next_statement: 1,
        long_bytes: 0,
        held_long: memory.hold(),
        held_statements: memory.hold(),
        held_payload: memory.hold(),
        scratch: Vec::new(),
    };
    // What was open is rolled back when it is dropped.
    let _ = connection.commands(&attention).await;
}

/// Says that there are too many connections.
pub async fn refuse(stream: TcpStream) {
    tell(&mut plain(stream), &SqlError::too_many_connections("Too many connections")).await;
}

impl Connection {
    async fn commands(&mut self, attention: &Attention) -> std::result::Result<(), End> {
        loop {
            self.process.sleeps();
            self.wire.begin_command();
            let read = tokio::select! {
                // What a client sends after it was told that this connection is killed must not be executed.
                biased;
                () = self.process.ended(Ending::Connection) => {
                    self.say_farewell().await;
                    return Ok(());
                }
                read = self.wire.read(MAX_PACKET_BYTES) => read,
            };
            let payload = match read {
                Ok(payload) => payload,
                Err(ReadError::Closed) => return Ok(()),
                Err(ReadError::Broken(error)) => {
                    tell(&mut self.wire, &error).await;
                    return Ok(());
                }
            };
            let _under_way = attention.begin();
            let goes_on = match self.hold_payload(payload.len()) {
                Ok(()) => self.command(&payload).await?,
                Err(error) => {
                    self.error(&error);
                    true
                }
            };
            self.held_payload.clear();
            self.wire.give_back(payload);
            if !goes_on {
                return Ok(());
            }
            self.flush().await?;
        }
    }

    /// Takes memory for a long payload and what is made of it.
    fn hold_payload(&mut self, bytes: usize) -> Result<()> {
        match bytes <= FREE_PAYLOAD_BYTES {
            true => Ok(()),
            false => self.held_payload.grow(bytes * 2),
        }
    }

    /// Tells a client that its connection was ended by others, or by its own silence.
    async fn say_farewell(&mut self) {
        let error = match self.process.must_close() {
            Some(Ending::Silence) => SqlError {
                code: 4_031,
                state: "HY000",
                message: "The client was disconnected by the server because of inactivity. See wait_timeout \
                          for configuring this behavior."
                    .to_owned(),
            },
            _ => SqlError::interrupted("Query execution was interrupted"),
        };
        tell(&mut self.wire, &error).await;
    }

    /// Writes what has been collected. A client that takes nothing for too long, or was killed meanwhile, is given up.
    async fn flush(&mut self) -> std::result::Result<(), End> {
        let written = tokio::time::timeout(WRITE_WITHIN, self.wire.flush());
        tokio::select! {
            biased;
            written = written => Ok(written.map_err(|_| End::Closed)??),
            () = self.process.ended(Ending::Connection) => Err(End::Closed),
        }
    }

    async fn flush_if_full(&mut self) -> std::result::Result<(), End> {
        if self.wire.is_full() { self.flush().await } else { Ok(()) }
    }

    /// Executes a command; false at the end.
    async fn command(&mut self, payload: &[u8]) -> std::result::Result<bool, End> {
        let Some((code, body)) = payload.split_first() else {
            self.error(&malformed());
            return Ok(true);
        };
        let known = COMMANDS.iter().find(|command| **command as u8 == *code);
        let Some(command) = known else {
            self.error(&SqlError::unknown_command("Unknown command"));
            return Ok(true);
        };
        let done = match command {
            Command::COM_QUIT => return Ok(false),
            Command::COM_PING => Ok(()),
            Command::COM_INIT_DB => {
                self.session.forget_warnings();
                match std::str::from_utf8(body) {
                    Ok(name) => self.session.use_database(name).await,
                    Err(_) => Err(SqlError::unknown_database("Unknown database")),
                }
            }
            Command::COM_QUERY => return self.query(body).await.map(|()| true),
            Command::COM_STMT_PREPARE => match self.prepare(body).await {
                Ok(()) => return Ok(true),
                Err(error) => {
                    self.session.forget_warnings();
                    self.failed(&error);
                    return Ok(true);
                }
            },
            Command::COM_STMT_EXECUTE => return self.execute(body).await.map(|()| true),
            Command::COM_STMT_SEND_LONG_DATA => {
                // There is no answer, not even to an error.
                let _ = self.long_data(body);
                return Ok(true);
            }
            Command::COM_STMT_CLOSE => {
                if let Ok(number) = Fields(body).number(4) {
                    self.forget_statement(number as u32);
                }
                return Ok(true);
            }
            Command::COM_STMT_RESET => self.reset_statement(body),
            Command::COM_RESET_CONNECTION => {
                self.session.reset().await;
                self.forget_statements();
                Ok(())
            }
            Command::COM_SET_OPTION => match Fields(body).number(2) {
                Ok(option @ (0 | 1)) => {
                    self.capabilities.set(CapabilityFlags::CLIENT_MULTI_STATEMENTS, option == 0);
                    self.end_of_columns();
                    return Ok(true);
                }
                _ => Err(SqlError::unknown_command("Unknown option")),
            },
            Command::COM_STATISTICS => {
                let text = self.server.statistics();
                self.wire.add(|output| output.extend_from_slice(text.as_bytes()));
                return Ok(true);
            }
            Command::COM_FIELD_LIST => Err(SqlError::not_supported("COM_FIELD_LIST is not supported")),
            Command::COM_CHANGE_USER => {
                self.forget_statements();
                let (server, capabilities) = (&self.server, self.capabilities);
                let changed =
                    change(server, &mut self.wire, &mut self.session, self.peer, capabilities, body);
                let changed = tokio::time::timeout(HANDSHAKE_WITHIN, changed).await;
                return Ok(matches!(changed, Ok(Some(()))));
            }
            Command::COM_PROCESS_KILL => match Fields(body).number(4) {
                Ok(number) => self.session.kill(number, Ending::Connection),
                Err(error) => Err(error),
            },
            _ => Err(SqlError::unknown_command("Unknown command")),
        };
        match done {
            Ok(()) => self.ok(&Done::default(), false),
            Err(error) => {
                self.session.forget_warnings();
                self.failed(&error);
            }
        }
        Ok(true)
    }

    fn status(&self, more: bool) -> StatusFlags {
        let mut status = self.session.status();
        status.set(StatusFlags::SERVER_MORE_RESULTS_EXISTS, more);
        status
    }

    fn ok(&mut self, done: &Done, more: bool) {
        let (status, warnings) = (self.status(more), self.session.warning_count());
        self.wire.add(|output| put_ok(done, status, warnings, false, output));
    }

    fn error(&mut self, error: &SqlError) {
        self.wire.add(|output| put_error(error, output));
    }

    /// Tells of the error that ended a statement, as SHOW WARNINGS does afterwards.
    fn failed(&mut self, error: &SqlError) {
        self.session.failed(error);
        self.error(error);
    }

    fn deprecates_end(&self) -> bool {
        self.capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF)
    }

    fn end_of_columns(&mut self) {
        let status = self.status(false);
        self.wire.add(|output| put_end(status, 0, output));
    }

    async fn query(&mut self, body: &[u8]) -> std::result::Result<(), End> {
        let mut outline = None;
        let statements = match duet_gateway_wire::binary::text(body) {
            Ok(sql) => {
                self.process.begins("Query", self.session.facts.database.as_deref(), &sql);
                outline = Outline::of(&sql);
                if let Some(found) = &mut outline
                    && let Some(prepared) = self.session.known(found).await
                {
                    let executed = self.session.execute(&prepared, std::mem::take(&mut found.literals)).await;
                    self.answer(executed, false, false).await?;
                    return Ok(());
                }
                self.session.statements(&sql)
            }
            Err(error) => Err(error),
        };
        let statements = statements.and_then(|statements| match statements.len() {
            0 => Err(SqlError::empty_query("Query was empty")),
            1 => Ok(statements),
            _ if self.capabilities.contains(CapabilityFlags::CLIENT_MULTI_STATEMENTS) => Ok(statements),
            _ => Err(SqlError::syntax("You have an error in your SQL syntax; there are several statements")),
        });
        let statements = match statements {
            Ok(statements) => statements,
            Err(error) => {
                self.session.forget_warnings();
                self.failed(&error);
                return Ok(());
            }
        };
        let count = statements.len();
        for (index, tokens) in statements.into_iter().enumerate() {
            let executed = match self.session.plan_text(tokens).await {
                Ok((prepared, literals)) => {
                    if let Some(outline) = outline.take() {
                        self.session.learn(outline, &prepared, &literals);
                    }
                    self.session.execute(&prepared, literals).await
                }
                Err(error) => {
                    self.session.forget_warnings();
                    Err(error)
                }
            };
            if !self.answer(executed, false, index + 1 < count).await? {
                break;
            }
        }
        Ok(())
    }

    /// Sends what came of a statement; false after an error.
    async fn answer(
        &mut self,
        executed: Result<Outcome>,
        binary: bool,
        more: bool,
    ) -> std::result::Result<bool, End> {
        match executed {
            Ok(Outcome::Done(done)) => self.ok(&done, more),
            Ok(Outcome::Rows { head, mut rows }) => {
                self.wire.add(|output| put_column_count(head.columns().len(), output));
                for definition in head.definitions() {
                    self.wire.add(|output| output.extend_from_slice(definition));
                }
                if !self.deprecates_end() {
                    self.end_of_columns();
                }
                let mut found = 0;
                loop {
                    let sent = match &mut rows {
                        Rows::Cursor(cursor) if cursor.is_direct() => {
                            let (wire, scratch) = (&mut self.wire, &mut self.scratch);
                            let encode =
                                |row: &mut [ValueRef<'_>]| put_row(row, &head, binary, scratch, wire);
                            self.process.unless_killed(cursor.next_direct(encode)).await
                        }
                        _ => match self.process.unless_killed(rows.next()).await {
                            Ok(Some(chunk)) => Ok(Some(self.send_rows(&chunk, &head, binary).await?)),
                            Ok(None) => Ok(None),
                            Err(error) => Err(error),
                        },
                    };
                    match sent {
                        Ok(Some(count)) => found += count,
                        Ok(None) => break,
                        Err(error) => {
                            self.session.gather_losses();
                            self.session.after_error(&error).await;
                            self.failed(&error);
                            return Ok(false);
                        }
                    }
                    self.flush_if_full().await?;
                }
                self.session.facts.found_rows = found;
                self.session.gather_losses();
                let (status, warnings) = (self.status(more), self.session.warning_count());
                match self.deprecates_end() {
                    true => self.wire.add(|output| put_ok(&Done::default(), status, warnings, true, output)),
                    false => self.wire.add(|output| put_end(status, warnings, output)),
                }
            }
            Err(error) => {
                self.failed(&error);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds rows of a result; how many these were.
    async fn send_rows(
        &mut self,
        rows: &[Values],
        head: &ResultHead,
        binary: bool,
    ) -> std::result::Result<u64, End> {
        for row in rows {
            let scratch = &mut self.scratch;
            self.wire.add(|output| match binary {
                true => put_binary_row(row, head.types(), scratch, output),
                false => put_text_row(row, scratch, output),
            });
            self.flush_if_full().await?;
        }
        Ok(rows.len() as u64)
    }

    async fn prepare(&mut self, body: &[u8]) -> Result<()> {
        let sql = std::str::from_utf8(body).map_err(|_| SqlError::syntax("the statement is not UTF-8"))?;
        let (prepared, parameters) = self.plan(sql).await?;
        if self.statement_bytes + sql.len() > MAX_STATEMENT_BYTES {
            return Err(SqlError::out_of_memory("Out of memory: the prepared statements are too long"));
        }
        if self.statements.len() >= MAX_STATEMENTS {
            return Err(SqlError {
                code: 1_461,
                state: "42000",
                message: "Can't create more than max_prepared_stmt_count statements".to_owned(),
            });
        }
        let columns = match &prepared {
            Prepared::Planned(plan) => match plan.as_ref() {
                crate::plan::Plan::Select(select) => select.columns(&[], &self.session.facts, None),
                _ => Vec::new(),
            },
            Prepared::Query(query) => crate::query::describe(&mut self.session, query, parameters).await?,
            Prepared::Nested(_) | Prepared::Other(_) | Prepared::Account(_) | Prepared::Request(_) => {
                Vec::new()
            }
        };
        self.held_statements.grow(sql.len())?;
        while self.next_statement == 0 || self.statements.contains_key(&self.next_statement) {
            self.next_statement = self.next_statement.wrapping_add(1);
        }
        let number = self.next_statement;
        self.next_statement = number.wrapping_add(1);
        let (column_count, parameter_count) = (columns.len() as u16, parameters as u16);
        self.wire.add(|output| {
            output.push(0);
            output.extend_from_slice(&number.to_le_bytes());
            output.extend_from_slice(&column_count.to_le_bytes());
            output.extend_from_slice(&parameter_count.to_le_bytes());
            output.extend_from_slice(&[0, 0, 0]);
        });
        let parameter = ResultColumn::new("?", ColumnType::Varchar { characters: 1_024 });
        for _ in 0..parameters {
            self.wire.add(|output| put_column(&parameter, output));
        }
        if parameters > 0 && !self.deprecates_end() {
            self.end_of_columns();
        }
        for column in &columns {
            self.wire.add(|output| put_column(column, output));
        }
        if !columns.is_empty() && !self.deprecates_end() {
            self.end_of_columns();
        }
        let statement = Statement {
            sql: sql.to_owned(),
            prepared,
            current_at: 0,
            parameters,
            types: Vec::new(),
            long_data: vec![None; parameters],
        };
        self.statement_bytes += sql.len();
        self.statements.insert(number, statement);
        Ok(())
    }

    fn forget_statement(&mut self, number: u32) {
        if let Some(statement) = self.statements.remove(&number) {
            self.statement_bytes -= statement.sql.len();
            self.held_statements.shrink(statement.sql.len());
        }
    }

    fn forget_statements(&mut self) {
        self.statements.clear();
        self.statement_bytes = 0;
        self.long_bytes = 0;
        self.held_statements.clear();
        self.held_long.clear();
    }

    async fn plan(&mut self, sql: &str) -> Result<(Prepared, usize)> {
        let mut statements = self.session.statements(sql)?;
        if statements.len() != 1 {
            return Err(SqlError::syntax(
                "You have an error in your SQL syntax; one statement is prepared at a time",
            ));
        }
        let tokens = statements.remove(0);
        let parameters = tokens.parameters;
        if parameters > usize::from(u16::MAX) {
            return Err(SqlError {
                code: 1_390,
                state: "HY000",
                message: "Prepared statement contains too many placeholders".to_owned(),
            });
        }
        Ok((self.session.prepare(tokens).await?, parameters))
    }

    async fn execute(&mut self, body: &[u8]) -> std::result::Result<(), End> {
        let executed = match self.bound(body).await {
            Ok((prepared, values)) => self.session.execute(&prepared, values).await,
            Err(error) => {
                self.session.forget_warnings();
                Err(error)
            }
        };
        self.answer(executed, true, false).await.map(|_| ())
    }

    /// The statement of an execution and the values of its parameters.
    async fn bound(&mut self, body: &[u8]) -> Result<(Prepared, Vec<Value>)> {
        let mut fields = Fields(body);
        let number = fields.number(4)? as u32;
        let flags = fields.byte()?;
        fields.number(4)?;
        let unknown =
            || SqlError::unknown_statement(format!("Unknown prepared statement handler ({number})"));
        let statement = self.statements.get_mut(&number).ok_or_else(unknown)?;
        self.process.begins("Execute", self.session.facts.database.as_deref(), &statement.sql);
        if flags != 0 {
            return Err(SqlError::not_supported("Cursors of prepared statements are not supported"));
        }
        let count = statement.parameters;
        let values = parameters::read(fields, count, &mut statement.types, &mut statement.long_data)?;
        self.long_bytes = 0;
        self.held_long.clear();
        let prepared = statement.prepared.clone();
        if let Prepared::Planned(plan) = &prepared
            && !self.session.is_current(plan, &mut statement.current_at).await
        {
            let sql = self.statements.get(&number).ok_or_else(unknown)?.sql.clone();
            let (prepared, _) = self.plan(&sql).await?;
            if let Some(statement) = self.statements.get_mut(&number) {
                statement.prepared = prepared.clone();
            }
            return Ok((prepared, values));
        }
        Ok((prepared, values))
    }

    fn long_data(&mut self, body: &[u8]) -> Result<()> {
        let mut fields = Fields(body);
        let (number, index) = (fields.number(4)? as u32, fields.number(2)? as usize);
        self.long_bytes += fields.0.len();
        if self.long_bytes > MAX_LONG_DATA || self.held_long.grow(fields.0.len()).is_err() {
            // The execution finds no value and says so.
            self.forget_statement(number);
            return Err(SqlError::out_of_memory("Out of memory"));
        }
        if let Some(data) =
            self.statements.get_mut(&number).and_then(|statement| statement.long_data.get_mut(index))
        {
            data.get_or_insert_default().extend_from_slice(fields.0);
        }
        Ok(())
    }

    fn reset_statement(&mut self, body: &[u8]) -> Result<()> {
        let number = Fields(body).number(4)? as u32;
        let Some(statement) = self.statements.get_mut(&number) else {
            return Err(SqlError::unknown_statement(format!(
                "Unknown prepared statement handler ({number})"
            )));
        };
        statement.long_data.iter_mut().for_each(|data| *data = None);
        Ok(())
    }
}

/// Adds a row of a result that lies in an answer of the cluster.
fn put_row(
    row: &mut [ValueRef<'_>],
    head: &ResultHead,
    binary: bool,
    scratch: &mut Vec<u8>,
    wire: &mut Wire,
) {
    wire.add(|output| {
        if !binary {
            row.iter_mut().for_each(|value| put_text_value(std::mem::take(value), scratch, output));
            return;
        }
        let nulls = begin_binary_row(row.len(), output);
        for (index, (value, wire_type)) in row.iter_mut().zip(head.types()).enumerate() {
            put_binary_value((index, nulls), std::mem::take(value), *wire_type, scratch, output);
        }
    });
}
