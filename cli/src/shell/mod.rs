//! `duet shell`: SQL by way of a gateway, typed or from a file. It is a client of MySQL's protocol like any other.

mod print;
mod split;

use crate::admin::user::read_password;
use crate::output::program;
use anyhow::{Context, Result, anyhow};
use mysql::consts::CapabilityFlags;
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use print::{Form, Printer};
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};
use split::{Splitter, Statement};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Lines of the history.
const HISTORY_LINES: usize = 2_000;
/// How long a gateway may take to answer a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Options of `duet shell`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Database to begin with
    pub database: Option<String>,
    /// Where a gateway listens for MySQL clients
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3306", value_parser = gateway_address)]
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

fn gateway_address(text: &str) -> Result<(String, u16), String> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match parts {
        Some((host, port)) if !host.is_empty() && port > 0 => {
            Ok((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
        }
        _ => Err(format!("'{text}' is no address; write host:port")),
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
    let options = OptsBuilder::new()
        .ip_or_hostname(Some(host))
        .tcp_port(*port)
        .user(Some(&arguments.user))
        .pass(password)
        .db_name(arguments.database.as_ref())
        .prefer_socket(false)
        .tcp_connect_timeout(Some(CONNECT_WITHIN))
        .additional_capabilities(CapabilityFlags::CLIENT_MULTI_STATEMENTS);
    let connection = Conn::new(options.clone()).map_err(|error| match error {
        mysql::Error::MySqlError(error) => anyhow!("ERROR {} ({}): {}", error.code, error.state, error.message),
        other => anyhow!(
            "no gateway answers at {host}:{port} ({other}); `duet-gateway` or `{} demo` starts one, --gateway names another \
             address",
            program()
        ),
    })?;
    let mut shell = Shell { connection, options, form: Form::Tabs, running: Arc::default() };
    let typed = arguments.execute.is_none() && io::stdin().is_terminal();
    if !arguments.batch && (typed || io::stdout().is_terminal()) {
        shell.form = Form::Table;
    }
    if let Some(sql) = &arguments.execute {
        let mut splitter = Splitter::default();
        let statements = splitter.add(sql);
        return statements.iter().chain(&splitter.rest()).try_for_each(|statement| shell.run(statement));
    }
    match typed {
        true => shell.interact(),
        false => shell.run_input(io::stdin().lock()),
    }
}

struct Shell {
    connection: Conn,
    options: OptsBuilder,
    form: Form,
    /// Number of the connection while a statement runs, else 0.
    running: Arc<AtomicU32>,
}

/// An error as MySQL's own client prints it.
fn shown(error: mysql::Error) -> anyhow::Error {
    match error {
        mysql::Error::MySqlError(error) => {
            anyhow!("ERROR {} ({}): {}", error.code, error.state, error.message)
        }
        other => anyhow!("the connection to the gateway has failed: {other}"),
    }
}

impl Shell {
    /// Statements of a file or a pipe, up to the first that fails.
    fn run_input(&mut self, input: impl BufRead) -> Result<()> {
        let mut splitter = Splitter::default();
        for (number, line) in input.lines().enumerate() {
            let line = line.context("standard input cannot be read")?;
            for statement in splitter.add(&format!("{line}\n")) {
                self.run(&statement).with_context(|| format!("at line {}", number + 1))?;
            }
        }
        splitter.rest().map_or(Ok(()), |statement| self.run(&statement))
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
            let mut printer = Printer::new(&mut output, form, names);
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
        let history = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".duet_history"));
        if let Some(path) = &history {
            // The first time there is none.
            let _ = editor.load_history(path);
        }
        self.kill_on_interrupt();
        println!("SQL for Duet. Statements end with ; or \\G, `help` says more.");
        let mut splitter = Splitter::default();
        loop {
            let line = match editor.readline(if splitter.has_begun() { "   -> " } else { "duet> " }) {
                Ok(line) => line,
                // What was begun is forgotten.
                Err(ReadlineError::Interrupted) => {
                    splitter = Splitter::default();
                    continue;
                }
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(error).context("the terminal cannot be read"),
            };
            if !splitter.has_begun() {
                match line.trim().trim_end_matches(';').to_ascii_lowercase().as_str() {
                    "exit" | "quit" | "\\q" => break,
                    "help" | "\\h" | "?" => {
                        println!("{HELP}");
                        continue;
                    }
                    _ => {}
                }
            }
            if !line.trim().is_empty() && !has_password(&line) {
                let _ = editor.add_history_entry(&line);
            }
            for statement in splitter.add(&format!("{line}\n")) {
                self.running.store(self.connection.connection_id(), Ordering::Relaxed);
                let done = self.run(&statement);
                self.running.store(0, Ordering::Relaxed);
                if let Err(error) = done {
                    eprintln!("{error:#}");
                    self.connect_again();
                    break;
                }
            }
        }
        if let Some(path) = &history {
            // A history that cannot be kept is no reason to complain.
            let _ = editor.save_history(path);
        }
        Ok(())
    }

    /// A connection that has failed is made anew.
    fn connect_again(&mut self) {
        if self.connection.ping().is_ok() {
            return;
        }
        match Conn::new(self.options.clone()) {
            Ok(connection) => {
                self.connection = connection;
                eprintln!("connected again; transaction and variables are lost");
            }
            Err(error) => eprintln!("{:#}", shown(error)),
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

const HELP: &str = "Statements are sent to the gateway when they end with ; or \\G (one column a line).\n\
    SHOW TABLES;  DESCRIBE table;  USE database;  EXPLAIN SELECT …;  are statements as well.\n\
    Ctrl-C kills the statement that runs, or forgets what was typed. exit, quit or Ctrl-D leaves.";

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
    fn addresses_are_read() {
        assert_eq!(gateway_address("localhost:3306"), Ok(("localhost".to_owned(), 3306)));
        assert_eq!(gateway_address("[::1]:1"), Ok(("::1".to_owned(), 1)));
        for bad in ["", "localhost", ":1", "h:0", "h:99999"] {
            gateway_address(bad).expect_err(bad);
        }
    }
}
