//! One connection: handshake, then commands until it ends.

use crate::error::{Result, SqlError};
use crate::server::Server;
use crate::session::{Outcome, Prepared, Session};
use crate::wire::handshake::{
    Login, Method, NONCE_BYTES, fast_path_done, greeting, login, switch_to_native, without_zero,
};
use crate::wire::packet::{Fields, MAX_PACKET_BYTES, Packets, ReadError, malformed};
use crate::wire::parameters::{self, ParameterType};
use crate::wire::results::{
    Done, ResultColumn, put_binary_row, put_column, put_column_count, put_end, put_error, put_ok,
    put_text_row,
};
use duet_client::{ColumnType, Value};
use mysql_common::constants::{CapabilityFlags, Command, StatusFlags};
use rustc_hash::FxHashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Time for the handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Longest packet before the password is known.
const HANDSHAKE_BYTES: usize = 64 << 10;
/// Most prepared statements of a connection.
const MAX_STATEMENTS: usize = 16_382;
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
];

type Wire = Packets<BufReader<OwnedReadHalf>, OwnedWriteHalf>;

/// A prepared statement.
struct Statement {
    sql: String,
    prepared: Prepared,
    parameters: usize,
    types: Vec<ParameterType>,
    long_data: Vec<Option<Vec<u8>>>,
}

struct Connection {
    server: Arc<Server>,
    wire: Wire,
    session: Session,
    capabilities: CapabilityFlags,
    statements: FxHashMap<u32, Statement>,
    next_statement: u32,
    long_bytes: usize,
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
pub async fn serve(server: Arc<Server>, stream: TcpStream, peer: SocketAddr, number: u32) {
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let mut wire = Packets::new(BufReader::with_capacity(32 << 10, reader), writer);
    let greeted = tokio::time::timeout(HANDSHAKE_WITHIN, greet(&server, &mut wire, peer, number)).await;
    let Ok(Some((login, session))) = greeted else { return };
    let mut connection = Connection {
        server,
        wire,
        session,
        capabilities: login.capabilities,
        statements: FxHashMap::default(),
        next_statement: 1,
        long_bytes: 0,
        scratch: Vec::new(),
    };
    // What was open is rolled back when it is dropped.
    let _ = connection.commands().await;
}

/// Says that there are too many connections.
pub async fn refuse(stream: TcpStream) {
    let (reader, writer) = stream.into_split();
    let mut wire = Packets::new(BufReader::with_capacity(16, reader), writer);
    wire.add(|output| put_error(&SqlError::too_many_connections("Too many connections"), output));
    let _ = tokio::time::timeout(Duration::from_secs(1), wire.flush()).await;
}

async fn tell(wire: &mut Wire, error: &SqlError) {
    wire.add(|output| put_error(error, output));
    let _ = wire.flush().await;
}

async fn greet(
    server: &Arc<Server>,
    wire: &mut Wire,
    peer: SocketAddr,
    number: u32,
) -> Option<(Login, Session)> {
    let nonce = nonce()?;
    wire.begin_command();
    wire.add(|output| greeting(number, &nonce, output));
    wire.flush().await.ok()?;
    let payload = match wire.read(HANDSHAKE_BYTES).await {
        Ok(payload) => payload,
        Err(ReadError::Closed) => return None,
        Err(ReadError::Broken(error)) => {
            tell(wire, &error).await;
            return None;
        }
    };
    let mut login = match login(&payload) {
        Ok(login) => login,
        Err(error) => {
            tell(wire, &error).await;
            return None;
        }
    };
    if login.method == Method::Other {
        wire.add(|output| switch_to_native(&nonce, output));
        wire.flush().await.ok()?;
        login.answer = without_zero(&wire.read(HANDSHAKE_BYTES).await.ok()?).to_vec();
        login.method = Method::Native;
    }
    let admitted = server.users.admits(&login.user, peer, login.method, &login.answer, &nonce);
    if !admitted {
        let using = if login.answer.is_empty() { "NO" } else { "YES" };
        let user: String = login.user.chars().take(64).collect();
        let text = format!("Access denied for user '{user}'@'{}' (using password: {using})", peer.ip());
        tell(wire, &SqlError::access_denied(text)).await;
        return None;
    }
    if login.method == Method::CachingSha2 && !login.answer.is_empty() {
        wire.add(fast_path_done);
    }
    let user = format!("{}@{}", login.user, peer.ip());
    let mut session = Session::new(Arc::clone(&server.catalog), Arc::clone(&server.plans), number, user);
    session.counts_found = login.capabilities.contains(CapabilityFlags::CLIENT_FOUND_ROWS);
    if let Some(database) = &login.database
        && let Err(error) = session.use_database(database).await
    {
        tell(wire, &error).await;
        return None;
    }
    wire.add(|output| put_ok(&Done::default(), session.status(), 0, false, output));
    wire.flush().await.ok()?;
    Some((login, session))
}

/// Random printable bytes: clients take zero for the end.
fn nonce() -> Option<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).ok()?;
    nonce.iter_mut().for_each(|byte| *byte = 33 + *byte % 94);
    Some(nonce)
}

impl Connection {
    async fn commands(&mut self) -> std::result::Result<(), End> {
        loop {
            self.wire.begin_command();
            let payload = match self.wire.read(MAX_PACKET_BYTES).await {
                Ok(payload) => payload,
                Err(ReadError::Closed) => return Ok(()),
                Err(ReadError::Broken(error)) => {
                    tell(&mut self.wire, &error).await;
                    return Ok(());
                }
            };
            let goes_on = self.command(&payload).await?;
            self.wire.give_back(payload);
            if !goes_on {
                return Ok(());
            }
            self.wire.flush().await?;
        }
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
            Command::COM_INIT_DB => match std::str::from_utf8(body) {
                Ok(name) => self.session.use_database(name).await,
                Err(_) => Err(SqlError::unknown_database("Unknown database")),
            },
            Command::COM_QUERY => return self.query(body).await.map(|()| true),
            Command::COM_STMT_PREPARE => match self.prepare(body).await {
                Ok(()) => return Ok(true),
                Err(error) => Err(error),
            },
            Command::COM_STMT_EXECUTE => return self.execute(body).await.map(|()| true),
            Command::COM_STMT_SEND_LONG_DATA => {
                // There is no answer, not even to an error.
                let _ = self.long_data(body);
                return Ok(true);
            }
            Command::COM_STMT_CLOSE => {
                if let Ok(number) = Fields(body).number(4) {
                    self.statements.remove(&(number as u32));
                }
                return Ok(true);
            }
            Command::COM_STMT_RESET => self.reset_statement(body),
            Command::COM_RESET_CONNECTION => {
                self.session.reset().await;
                self.statements.clear();
                self.long_bytes = 0;
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
                tell(
                    &mut self.wire,
                    &SqlError::not_supported("COM_CHANGE_USER is not supported; connect anew"),
                )
                .await;
                return Ok(false);
            }
            _ => Err(SqlError::unknown_command("Unknown command")),
        };
        match done {
            Ok(()) => self.ok(&Done::default(), false),
            Err(error) => self.error(&error),
        }
        Ok(true)
    }

    fn warnings(&self) -> u16 {
        u16::try_from(self.session.warnings.len()).unwrap_or(u16::MAX)
    }

    fn status(&self, more: bool) -> StatusFlags {
        let mut status = self.session.status();
        status.set(StatusFlags::SERVER_MORE_RESULTS_EXISTS, more);
        status
    }

    fn ok(&mut self, done: &Done, more: bool) {
        let (status, warnings) = (self.status(more), self.warnings());
        self.wire.add(|output| put_ok(done, status, warnings, false, output));
    }

    fn error(&mut self, error: &SqlError) {
        self.wire.add(|output| put_error(error, output));
    }

    fn deprecates_end(&self) -> bool {
        self.capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF)
    }

    fn end_of_columns(&mut self) {
        let status = self.status(false);
        self.wire.add(|output| put_end(status, 0, output));
    }

    async fn query(&mut self, body: &[u8]) -> std::result::Result<(), End> {
        let statements = match std::str::from_utf8(body) {
            Ok(sql) => self.session.statements(sql),
            Err(_) => {
                Err(SqlError::syntax("You have an error in your SQL syntax; the statement is not UTF-8"))
            }
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
                self.error(&error);
                return Ok(());
            }
        };
        let count = statements.len();
        for (index, tokens) in statements.into_iter().enumerate() {
            let executed = match self.session.plan_text(tokens).await {
                Ok((prepared, literals)) => self.session.execute(&prepared, literals).await,
                Err(error) => {
                    self.session.warnings.clear();
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
            Ok(Outcome::Rows { columns, mut rows }) => {
                self.wire.add(|output| put_column_count(columns.len(), output));
                for column in &columns {
                    self.wire.add(|output| put_column(column, output));
                }
                if !self.deprecates_end() {
                    self.end_of_columns();
                }
                let types: Vec<_> = columns.iter().map(ResultColumn::wire_type).collect();
                let mut found = 0;
                loop {
                    let chunk = match rows.next().await {
                        Ok(Some(chunk)) => chunk,
                        Ok(None) => break,
                        Err(error) => {
                            self.error(&error);
                            return Ok(false);
                        }
                    };
                    found += chunk.len() as u64;
                    for row in &chunk {
                        let scratch = &mut self.scratch;
                        self.wire.add(|output| match binary {
                            true => put_binary_row(row, &types, scratch, output),
                            false => put_text_row(row, scratch, output),
                        });
                        self.wire.flush_if_full().await?;
                    }
                }
                self.session.facts.found_rows = found;
                let (status, warnings) = (self.status(more), self.warnings());
                match self.deprecates_end() {
                    true => self.wire.add(|output| put_ok(&Done::default(), status, warnings, true, output)),
                    false => self.wire.add(|output| put_end(status, warnings, output)),
                }
            }
            Err(error) => {
                self.error(&error);
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn prepare(&mut self, body: &[u8]) -> Result<()> {
        let sql = std::str::from_utf8(body).map_err(|_| SqlError::syntax("the statement is not UTF-8"))?;
        let (prepared, parameters) = self.plan(sql).await?;
        if self.statements.len() >= MAX_STATEMENTS {
            return Err(SqlError {
                code: 1_461,
                state: "42000",
                message: "Can't create more than max_prepared_stmt_count statements".to_owned(),
            });
        }
        let columns = match &prepared {
            Prepared::Planned(plan) => match plan.as_ref() {
                crate::plan::Plan::Select(select) => select.columns(&[], None),
                _ => Vec::new(),
            },
            Prepared::Other(_) => Vec::new(),
        };
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
            parameters,
            types: Vec::new(),
            long_data: vec![None; parameters],
        };
        self.statements.insert(number, statement);
        Ok(())
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
        Ok((self.session.prepare(tokens.parse()?).await?, parameters))
    }

    async fn execute(&mut self, body: &[u8]) -> std::result::Result<(), End> {
        let executed = match self.bound(body).await {
            Ok((prepared, values)) => self.session.execute(&prepared, values).await,
            Err(error) => Err(error),
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
        if flags != 0 {
            return Err(SqlError::not_supported("Cursors of prepared statements are not supported"));
        }
        let count = statement.parameters;
        let values = parameters::read(fields, count, &mut statement.types, &mut statement.long_data)?;
        self.long_bytes = 0;
        let prepared = statement.prepared.clone();
        if let Prepared::Planned(plan) = &prepared
            && !self.session.is_current(plan).await
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
        if self.long_bytes > MAX_LONG_DATA {
            // The execution finds no value and says so.
            self.statements.remove(&number);
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
