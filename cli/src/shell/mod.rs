//! `duet shell`: SQL by way of a gateway, typed or from a file. It is a client of MySQL's protocol like any other.

mod commands;
mod failure;
mod print;
mod split;

use crate::admin::user::read_password;
use crate::output::{program, say};
use anyhow::{Context, Result, anyhow};
use commands::{Action, HELP, time_text};
use failure::Failure;
use mysql::consts::CapabilityFlags;
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder, Row, Value};
use print::{Form, Printer, text};
use rustyline::error::ReadlineError;
use rustyline::{Cmd, Config, DefaultEditor, KeyEvent};
use split::{Piece, Splitter, Statement};
use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Write};
use std::net::{IpAddr, Ipv6Addr};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Where MySQL's clients look for a server, and where gateways listen by default.
pub const DEFAULT_PORT: u16 = 3306;
/// Lines of the history.
const HISTORY_LINES: usize = 2_000;
/// How long a gateway may take to answer a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How deep files may execute each other.
const NESTED_FILES: usize = 16;
/// What `status` shows, in its order.
const STATUS: &str = "SELECT CONNECTION_ID(), DATABASE(), CURRENT_USER(), CONCAT(VERSION(), ' ', @@version_comment), \
                      @@character_set_server, @@character_set_client, @@character_set_connection";

/// Options of `duet shell`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Database to begin with
    pub database: Option<String>,
    /// Where a gateway listens for MySQL clients
    #[arg(long, value_name = "HOST[:PORT]", default_value = "127.0.0.1:3306", value_parser = gateway_address)]
    pub gateway: (String, u16),
    /// Name of the user
    #[arg(long, short = 'u', default_value = "root")]
    pub user: String,
    /// Ask for the password
    #[arg(long, short = 'p')]
    pub password: bool,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    pub password_file: Option<PathBuf>,
    /// Execute these statements and end
    #[arg(long, short = 'e', value_name = "SQL")]
    pub execute: Option<String>,
    /// Columns separated by tabs instead of tables
    #[arg(long, short = 'B')]
    pub batch: bool,
}

/// An address of a gateway, with the port where gateways listen by default unless it names another one.
fn gateway_address(text: &str) -> Result<(String, u16), String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text.to_owned(), DEFAULT_PORT));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().unwrap_or_default()),
        _ => (text, DEFAULT_PORT),
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let sound = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty() && host.chars().all(|letter| letter.is_alphanumeric() || "._-".contains(letter))
        }
    };
    match sound && port > 0 {
        true => Ok((bracketed.unwrap_or(host).to_owned(), port)),
        false => Err(format!("'{text}' is no address; write host, host:port or [IPv6 address]:port")),
    }
}

/// Runs the shell to its end.
///
/// # Errors
/// No gateway lets us in, or, when nobody types, a statement failed.
pub fn run(arguments: &Arguments) -> Result<()> {
    let password = match (&arguments.password_file, arguments.password) {
        (None, false) => None,
        (file, _) => {
            let prompt = format!("Password of '{}': ", arguments.user);
            Some(read_password(file.as_deref(), &prompt)?)
        }
    };
    let (host, port) = &arguments.gateway;
    let gateway = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let options = OptsBuilder::new()
        .ip_or_hostname(Some(host))
        .tcp_port(*port)
        .user(Some(&arguments.user))
        .pass(password)
        .db_name(arguments.database.as_ref())
        .prefer_socket(false)
        .tcp_connect_timeout(Some(CONNECT_WITHIN))
        .additional_capabilities(CapabilityFlags::CLIENT_MULTI_STATEMENTS);
    let connection = Conn::new(options.clone()).map_err(|error| {
        let nobody = matches!(error, mysql::Error::DriverError(_));
        let failure = anyhow::Error::new(Failure::of_connecting(error, &gateway));
        match nobody {
            true => anyhow!(
                "{failure}; `duet-gateway` or `{} demo` starts one, --gateway names another address",
                program()
            ),
            false => failure,
        }
    })?;
    let typed = arguments.execute.is_none() && io::stdin().is_terminal();
    let form = match !arguments.batch && (typed || io::stdout().is_terminal()) {
        true => Form::Table,
        false => Form::Tabs,
    };
    let running = Arc::default();
    let mut shell = Shell { connection, lost: false, options, gateway, form, typed, files: 0, running };
    match &arguments.execute {
        Some(sql) => shell.run_lines(sql.as_bytes(), None).map(|_| ()),
        None if typed => shell.interact(),
        None => shell.run_lines(io::stdin().lock(), None).map(|_| ()),
    }
}

struct Shell {
    connection: Conn,
    /// The session is over, and there is no other one yet.
    lost: bool,
    options: OptsBuilder,
    /// Where the gateway listens, as people write it.
    gateway: String,
    form: Form,
    /// Somebody types at a terminal: errors do not end us.
    typed: bool,
    /// Files that are being executed, one from within the other.
    files: usize,
    /// Number of the connection while a statement runs, else 0.
    running: Arc<AtomicU32>,
}

fn shown(error: mysql::Error) -> anyhow::Error {
    anyhow::Error::new(Failure::of(error))
}

fn complaint(message: String) -> anyhow::Error {
    anyhow::Error::new(Failure::new(message))
}

fn is_lost(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(Failure::is_lost)
}

impl Shell {
    /// Statements and commands of a file or a pipe. The first that fails ends us, or only says so where a user types and the file goes on,
    /// as MySQL's client does it. `Break` when they left.
    fn run_lines(&mut self, input: impl BufRead, file: Option<&Path>) -> Result<ControlFlow<()>> {
        let mut splitter = Splitter::default();
        // Where the statement begins.
        let mut began = 0;
        for (number, line) in (1..).zip(input.lines().map(Some).chain([None])) {
            if !splitter.has_begun() {
                began = number;
            }
            let pieces = match line {
                Some(line) => splitter.add_line(&line.with_context(|| match file {
                    Some(file) => format!("'{}' cannot be read", file.display()),
                    None => "standard input cannot be read".to_owned(),
                })?),
                None => splitter.rest().into_iter().collect(),
            };
            for piece in pieces {
                match self.perform(&piece) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => return Ok(ControlFlow::Break(())),
                    Err(mut error) => {
                        let failure = error.downcast_mut::<Failure>();
                        let ends = failure.is_none_or(|failure| {
                            failure.at(began, file);
                            failure.ends_file()
                        });
                        if ends || !self.typed {
                            return Err(error);
                        }
                        eprintln!("{error:#}");
                    }
                }
                began = number;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Does what a user wants; `Break` to leave.
    fn perform(&mut self, piece: &Piece) -> Result<ControlFlow<()>> {
        match piece {
            Piece::Statement(statement) => {
                self.be_connected()?;
                self.running.store(self.connection.connection_id(), Ordering::Relaxed);
                let done = self.run(statement);
                self.running.store(0, Ordering::Relaxed);
                done?;
            }
            Piece::Command(action, argument) => match action {
                Action::Quit => return Ok(ControlFlow::Break(())),
                Action::Help => say(format_args!("{HELP}"))?,
                Action::Print => say(format_args!("--------------\n{argument}\n--------------\n"))?,
                Action::Status => self.tell_status()?,
                Action::Use => self.choose_database(argument)?,
                Action::Source => self.run_file(Path::new(argument))?,
                Action::Connect => {
                    let options = self.options.clone();
                    self.connect(match argument.is_empty() {
                        true => options,
                        false => options.db_name(Some(unquoted(argument))),
                    })?;
                }
                Action::Delimiter if argument.is_empty() || argument.contains('\\') => {
                    let usage = "DELIMITER must be followed by a word without backslashes";
                    return Err(complaint(usage.to_owned()));
                }
                // The splitter has done that.
                Action::Delimiter | Action::Clear | Action::Ego | Action::Go => {}
            },
            Piece::Unknown(word) => {
                return Err(complaint(format!("Unknown command '{word}'; `help` says what there is")));
            }
            Piece::Nothing if self.typed => return Err(complaint("No query specified".to_owned())),
            Piece::Nothing => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Executes the file of `source`. To leave in a file is to leave the file.
    fn run_file(&mut self, path: &Path) -> Result<()> {
        if path.as_os_str().is_empty() {
            return Err(complaint("Usage: \\. <filename> | source <filename>".to_owned()));
        }
        if self.files >= NESTED_FILES {
            return Err(complaint(format!("Files are nested more than {NESTED_FILES} deep")));
        }
        let file = File::open(path)
            .map_err(|error| complaint(format!("Failed to open file '{}': {error}", path.display())))?;
        self.files += 1;
        let done = self.run_lines(io::BufReader::new(file), Some(path));
        self.files -= 1;
        done.map(|_| ())
    }

    fn choose_database(&mut self, argument: &str) -> Result<()> {
        let database = unquoted(argument);
        if database.is_empty() {
            return Err(complaint("USE must be followed by a database name".to_owned()));
        }
        self.be_connected()?;
        self.connection.select_db(database).map_err(shown)?;
        // After the loss of the connection as well.
        self.options = self.options.clone().db_name(Some(database));
        if self.typed { say(format_args!("Database changed")) } else { Ok(()) }
    }

    fn tell_status(&mut self) -> Result<()> {
        self.be_connected()?;
        let row: Option<Row> = self.connection.query_first(STATUS).map_err(shown)?;
        let cells: Vec<String> = row
            .map(Row::unwrap)
            .unwrap_or_default()
            .iter()
            .map(|value| if *value == Value::NULL { String::new() } else { text(value, Form::Tabs) })
            .collect();
        let counters: Vec<Row> = self.connection.query("SHOW STATUS").map_err(shown)?;
        let counter = |wanted: &str| {
            let row = counters.iter().find(|row| row.get::<String, _>(0).as_deref() == Some(wanted))?;
            row.get::<String, _>(1)?.parse::<u64>().ok()
        };
        let mut lines = Vec::new();
        let names = ["Connection id", "Current database", "Current user", "Server version"];
        let character_sets = ["Server characterset", "Client characterset", "Conn.  characterset"];
        for (name, cell) in names.iter().chain(&character_sets).zip(&cells) {
            lines.push(format!("{:24}{cell}", format!("{name}:")));
        }
        lines.push(format!("{:24}{}", "Gateway:", self.gateway));
        // This client has none.
        lines.push(format!("{:24}Not in use", "TLS:"));
        if let Some(seconds) = counter("Uptime") {
            lines.push(format!("{:24}{}", "Uptime:", time_text(seconds)));
        }
        if let (Some(threads), Some(questions)) = (counter("Threads_connected"), counter("Questions")) {
            lines.push(format!("\nThreads: {threads}  Questions: {questions}"));
        }
        let program = format!("duet shell {}", env!("CARGO_PKG_VERSION"));
        say(format_args!("--------------\n{program}\n\n{}\n--------------\n", lines.join("\n")))
    }

    /// Executes a statement and prints what comes.
    fn run(&mut self, statement: &Statement) -> Result<()> {
        let began = Instant::now();
        let form = if statement.vertical { Form::Vertical } else { self.form };
        let tells = form != Form::Tabs;
        let mut output = io::BufWriter::new(io::stdout().lock());
        let mut result = self.connection.query_iter(&statement.sql).map_err(shown)?;
        let mut warnings = 0;
        while let Some(set) = result.iter() {
            let names: Vec<String> =
                set.columns().as_ref().iter().map(|column| column.name_str().into_owned()).collect();
            let has_rows = !names.is_empty();
            let mut printer = Printer::new(&mut output, form, &names);
            let (affected, info) = (set.affected_rows(), set.info_str().into_owned());
            warnings = set.warnings();
            for row in set {
                let row = row.map_err(shown)?;
                written(printer.row(&row.unwrap()))?;
            }
            let rows = written(printer.end())?;
            if tells {
                let what = match (has_rows, rows) {
                    (true, 0) => "Empty set".to_owned(),
                    (true, 1) => "1 row in set".to_owned(),
                    (true, rows) => format!("{rows} rows in set"),
                    (false, _) if affected == 1 => "Query OK, 1 row affected".to_owned(),
                    (false, _) => format!("Query OK, {affected} rows affected"),
                };
                let noted = match warnings {
                    0 => String::new(),
                    1 => ", 1 warning".to_owned(),
                    several => format!(", {several} warnings"),
                };
                written(writeln!(output, "{what}{noted} ({:.3} s)", began.elapsed().as_secs_f64()))?;
                if !info.is_empty() {
                    written(writeln!(output, "{info}"))?;
                }
                written(writeln!(output))?;
            }
        }
        drop(result);
        if tells && warnings > 0 {
            let noted: Vec<(String, u32, String)> = self.connection.query("SHOW WARNINGS").map_err(shown)?;
            for (level, code, message) in noted {
                written(writeln!(output, "{level} {code}: {message}"))?;
            }
        }
        written(output.flush())
    }

    /// Reads lines from the terminal until its user leaves.
    fn interact(&mut self) -> Result<()> {
        let config = Config::builder().max_history_size(HISTORY_LINES).context("no history")?.build();
        let mut editor = DefaultEditor::with_config(config).context("the terminal cannot be used")?;
        // There is nothing to complete, and a tab in what is pasted is part of it.
        editor.bind_sequence(KeyEvent::from('\t'), Cmd::SelfInsert(1, '\t'));
        let history = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".duet_history"));
        if let Some(path) = &history {
            // The first time there is none.
            let _ = editor.load_history(path);
        }
        self.kill_on_interrupt();
        println!("SQL for Duet. Statements end with ; or \\g or \\G, `help` says more.");
        let mut splitter = Splitter::default();
        'session: loop {
            let text = match editor.readline(splitter.prompt()) {
                Ok(text) => text,
                // What was begun is forgotten.
                Err(ReadlineError::Interrupted) => {
                    splitter.clear();
                    continue;
                }
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(error).context("the terminal cannot be read"),
            };
            if !text.trim().is_empty() && !has_password(&format!("{}{text}", splitter.begun())) {
                let _ = editor.add_history_entry(&text);
            }
            // What was pasted may have several lines.
            for line in text.split('\n') {
                for piece in splitter.add_line(line) {
                    match self.perform(&piece) {
                        Ok(ControlFlow::Continue(())) => {}
                        Ok(ControlFlow::Break(())) => break 'session,
                        Err(error) => {
                            eprintln!("{error:#}");
                            if is_lost(&error) {
                                self.connect_again();
                            }
                            // Nobody can want the rest of what was typed: it may belong to a transaction that is no more.
                            if error.downcast_ref().is_some_and(Failure::ends_file) {
                                splitter.clear();
                                continue 'session;
                            }
                        }
                    }
                }
            }
        }
        println!("Bye");
        if let Some(path) = &history {
            // A history that cannot be kept is no reason to complain.
            let _ = editor.save_history(path);
        }
        Ok(())
    }

    /// Before something is sent at the wish of a user who types: a session that has ended meanwhile is an error, and nothing is sent, for it
    /// may have had a transaction. One that the user knows to be lost is made anew.
    fn be_connected(&mut self) -> Result<()> {
        if !self.typed {
            return Ok(());
        }
        if self.lost {
            return self.connect(self.options.clone());
        }
        self.connection.ping().map_err(|_| anyhow::Error::new(Failure::gone_away()))
    }

    /// Connects anew, from now on with these options.
    fn connect(&mut self, options: OptsBuilder) -> Result<()> {
        let connection = Conn::new(options.clone());
        self.connection =
            connection.map_err(|error| anyhow::Error::new(Failure::of_connecting(error, &self.gateway)))?;
        (self.lost, self.options) = (false, options);
        let database: Option<Option<String>> =
            self.connection.query_first("SELECT DATABASE()").map_err(shown)?;
        let database = database.flatten().unwrap_or_else(|| "*** NONE ***".to_owned());
        let number = self.connection.connection_id();
        say(format_args!("Connection id:    {number}\nCurrent database: {database}\n"))
    }

    /// Once after the loss of a session, and then before every statement until it succeeds.
    fn connect_again(&mut self) {
        self.lost = true;
        eprintln!(
            "The session is lost, with an open transaction and its variables; no statement is repeated. Connecting again..."
        );
        if let Err(error) = self.connect(self.options.clone()) {
            eprintln!("{error:#}\nThe next statement tries to connect again.");
        }
    }

    /// Ctrl-C kills the statement that runs, by way of another connection.
    fn kill_on_interrupt(&self) {
        let (running, options) = (Arc::clone(&self.running), self.options.clone());
        let Ok(mut signals) = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT]) else {
            return;
        };
        std::thread::spawn(move || {
            for _ in &mut signals {
                let number = running.load(Ordering::Relaxed);
                if number != 0 {
                    // When this fails the statement just goes on.
                    let _ = Conn::new(options.clone())
                        .and_then(|mut other| other.query_drop(format!("KILL QUERY {number}")));
                }
            }
        });
    }
}

/// A name without the quotes around it.
fn unquoted(name: &str) -> &str {
    let inner = |quote: char| name.strip_prefix(quote).and_then(|name| name.strip_suffix(quote));
    inner('`').or_else(|| inner('\'')).or_else(|| inner('"')).unwrap_or(name)
}

/// Whether a line may have a password in it.
fn has_password(line: &str) -> bool {
    let upper = line.to_ascii_uppercase();
    upper.contains("IDENTIFIED") || upper.contains("PASSWORD")
}

/// A reader that has seen enough, as `head`, is no error.
fn written<T: Default>(done: io::Result<T>) -> Result<T> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.context("standard output cannot be written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_quotes() {
        for name in ["nyc", "`nyc`", "'nyc'", "\"nyc\""] {
            assert_eq!(unquoted(name), "nyc");
        }
        assert_eq!(unquoted("`"), "`");
    }

    #[test]
    fn addresses_are_read() {
        assert_eq!(gateway_address("localhost:3306"), Ok(("localhost".to_owned(), 3306)));
        assert_eq!(gateway_address("[::1]:1"), Ok(("::1".to_owned(), 1)));
        for (host, read) in
            [("localhost", "localhost"), ("10.0.0.1", "10.0.0.1"), ("::1", "::1"), ("[::1]", "::1")]
        {
            assert_eq!(gateway_address(host), Ok((read.to_owned(), DEFAULT_PORT)));
        }
        for bad in ["", ":1", "h:", "h:0", "h:99999", "a b", "h:1:2", "[h]:1", "[::1", "http://h", "u@h:1"] {
            let error = gateway_address(bad).expect_err(bad);
            assert!(error.contains("is no address"), "{error}");
        }
    }
}
