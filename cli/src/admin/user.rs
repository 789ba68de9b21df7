//! `duet admin user`: who may come in through the SQL gateways.

use super::{TIMEOUT, text_table};
use crate::connection::Connection;
use crate::output::say;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};

/// Longest password, in bytes.
const MAX_PASSWORD_BYTES: u64 = 1_024;

/// Subcommands of `duet admin user`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum UserCommand {
    /// Add a user, who may come from anywhere
    Create(PasswordArguments),
    /// Give a user another password; connections that are open stay so
    SetPassword(PasswordArguments),
    /// Remove a user; connections that are open stay so
    Drop(NameArguments),
    /// Show the names of all users
    List(super::Arguments),
}

/// Options of `duet admin user create` and `duet admin user set-password`.
#[derive(Clone, Debug, clap::Args)]
pub struct PasswordArguments {
    /// Name of the user
    pub name: String,
    /// File whose first line is the password; without it the password is asked for, or read from a pipe
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Where the cluster is
    #[command(flatten)]
    pub connection: Connection,
}

/// Options of `duet admin user drop`.
#[derive(Clone, Debug, clap::Args)]
pub struct NameArguments {
    /// Name of the user
    pub name: String,
    /// Where the cluster is
    #[command(flatten)]
    pub connection: Connection,
}

/// Changes or shows the users.
///
/// # Errors
/// There is such a user already, or none; there is no password; no leading management node answers.
pub async fn run(command: &UserCommand) -> Result<()> {
    match command {
        UserCommand::Create(arguments) => {
            let password = new_password(arguments)?;
            let client = arguments.connection.open(TIMEOUT).await?;
            client.create_user(&arguments.name, password.as_bytes()).await?;
            say(format_args!("created the user '{}'; gateways know it within a second", arguments.name))
        }
        UserCommand::SetPassword(arguments) => {
            let password = new_password(arguments)?;
            let client = arguments.connection.open(TIMEOUT).await?;
            client.set_password(&arguments.name, password.as_bytes()).await?;
            say(format_args!(
                "the user '{}' has a new password; gateways know it within a second",
                arguments.name
            ))
        }
        UserCommand::Drop(arguments) => {
            let client = arguments.connection.open(TIMEOUT).await?;
            client.drop_user(&arguments.name).await?;
            say(format_args!("dropped the user '{}'; gateways know it within a second", arguments.name))
        }
        UserCommand::List(arguments) => {
            let client = arguments.connection.open(TIMEOUT).await?;
            let list = client.users().await?;
            let names: Vec<&str> = list.users.iter().map(|user| user.name.as_str()).collect();
            if arguments.json {
                return say(format_args!("{:#}", json!({ "version": list.version, "users": names })));
            }
            if names.is_empty() {
                return say(format_args!(
                    "there are no users; gateways let 'root' in without a password, from their own machine"
                ));
            }
            let mut text = text_table(&["user"]);
            for name in names {
                text.add_row([name]);
            }
            say(format_args!("{text}"))
        }
    }
}

fn new_password(arguments: &PasswordArguments) -> Result<String> {
    let prompt = format!("Password of '{}': ", arguments.name);
    let password = read_password(arguments.password_file.as_deref(), &prompt)?;
    if arguments.password_file.is_none() && std::io::stdin().is_terminal() {
        let again = rpassword::prompt_password("Once more: ").context("the password cannot be read")?;
        ensure!(again == password, "the passwords differ");
    }
    ensure!(!password.is_empty(), "the password is empty");
    Ok(password)
}

/// The first line of a file, or what is typed, or the first line of a pipe. Never an argument: others see those.
///
/// # Errors
/// The file cannot be read or is no text.
pub fn read_password(file: Option<&Path>, prompt: &str) -> Result<String> {
    let first_line = |mut input: Box<dyn Read>| -> std::io::Result<String> {
        let mut line = String::new();
        std::io::BufReader::new(input.by_ref().take(MAX_PASSWORD_BYTES)).read_line(&mut line)?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    };
    if let Some(path) = file {
        let opened = std::fs::File::open(path).map(|file| Box::new(file) as Box<dyn Read>);
        return opened
            .and_then(first_line)
            .with_context(|| format!("cannot read a password from {}", path.display()));
    }
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password(prompt).context("the password cannot be read");
    }
    first_line(Box::new(std::io::stdin())).context("cannot read a password from standard input")
}
