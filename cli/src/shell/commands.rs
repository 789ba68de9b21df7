//! What the shell does itself. Names and letters are those of MySQL's own client, those it has and we do not included.

use super::split::Piece;

/// A deed of the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Forgets the statement that has begun.
    Clear,
    /// Connects anew, maybe with another database.
    Connect,
    /// Lets statements end with something else than a semicolon.
    Delimiter,
    /// Sends the statement, for an answer of one column a line.
    Ego,
    /// Sends the statement.
    Go,
    /// Says what there is.
    Help,
    /// Shows the statement that has begun.
    Print,
    /// Leaves.
    Quit,
    /// Executes a file.
    Source,
    /// Says what we are connected to.
    Status,
    /// Chooses a database.
    Use,
}

/// A command of MySQL's own client.
pub struct Command {
    name: &'static str,
    letter: char,
    /// Whether more may follow, up to a semicolon or the end of the line.
    pub takes_argument: bool,
    /// `None` when it is not known here.
    pub action: Option<Action>,
}

const fn ours(name: &'static str, letter: char, takes_argument: bool, action: Action) -> Command {
    Command { name, letter, takes_argument, action: Some(action) }
}

const fn unknown(name: &'static str, letter: char, takes_argument: bool) -> Command {
    Command { name, letter, takes_argument, action: None }
}

const COMMANDS: &[Command] = &[
    ours("?", '?', true, Action::Help),
    ours("clear", 'c', false, Action::Clear),
    ours("connect", 'r', true, Action::Connect),
    ours("delimiter", 'd', true, Action::Delimiter),
    ours("ego", 'G', false, Action::Ego),
    ours("exit", 'q', false, Action::Quit),
    ours("go", 'g', false, Action::Go),
    ours("help", 'h', true, Action::Help),
    ours("print", 'p', false, Action::Print),
    ours("quit", 'q', false, Action::Quit),
    ours("source", '.', true, Action::Source),
    ours("status", 's', false, Action::Status),
    ours("use", 'u', true, Action::Use),
    unknown("charset", 'C', true),
    unknown("edit", 'e', false),
    unknown("nopager", 'n', false),
    unknown("notee", 't', false),
    unknown("nowarning", 'w', false),
    unknown("pager", 'P', true),
    unknown("prompt", 'R', true),
    unknown("rehash", '#', false),
    unknown("resetconnection", 'x', false),
    unknown("system", '!', true),
    unknown("tee", 'T', true),
    unknown("warnings", 'W', false),
];

/// What `help` shows.
pub const HELP: &str = "\
Statements are sent to the gateway when they end with ; or \\g, or \\G (one column a line).
SHOW TABLES;  DESCRIBE table;  EXPLAIN SELECT …;  are statements as well.
Commands of the shell stand at the beginning of a statement, or anywhere by their letter:

  help     \\h \\?        this text
  clear    \\c           forget the statement that has begun
  connect  \\r DATABASE  connect anew; the database may be left out
  delimiter \\d WORD     statements end with this word instead of ;
  print    \\p           show the statement that has begun (by its letter only)
  quit     \\q           leave, as do exit and Ctrl-D
  source   \\. FILE      execute the statements and commands of a file
  status   \\s           server, connection, user, database, character sets, time since the start
  use      \\u DATABASE  choose a database

Ctrl-C kills the statement that runs, or forgets what was typed.
When the connection is lost the shell connects again and says so: an open transaction and the
variables of the session are lost then, and no statement is repeated.";

/// The command of a letter after a backslash.
pub fn by_letter(letter: char) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.letter == letter)
}

/// The argument of a line that sets the delimiter, which may contain the present one.
pub fn delimiter(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let (name, argument) = line.split_at_checked("delimiter".len())?;
    let ends = argument.chars().next().is_none_or(char::is_whitespace);
    (ends && name.eq_ignore_ascii_case("delimiter")).then(|| argument.trim())
}

/// A text that is a command with its argument; `None` if it is SQL.
pub fn named(text: &str) -> Option<Piece> {
    let text = text.trim();
    let (name, argument) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    let command = COMMANDS.iter().find(|command| command.name.eq_ignore_ascii_case(name))?;
    match command.action {
        _ if !argument.is_empty() && !command.takes_argument => None,
        // There is no statement that these could send or show.
        Some(Action::Ego | Action::Go | Action::Print) => Some(Piece::Nothing),
        Some(action) => Some(Piece::Command(action, argument.trim().to_owned())),
        None => Some(Piece::Unknown(command.name.to_owned())),
    }
}

/// A time as MySQL's own client writes it.
pub fn time_text(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "days"),
        (seconds / 3_600 % 24, "hours"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "sec"),
    ];
    let first = parts.iter().position(|(number, _)| *number > 0).unwrap_or(parts.len() - 1);
    let shown: Vec<String> = parts[first..].iter().map(|(number, unit)| format!("{number} {unit}")).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_command_that_there_is() {
        for command in COMMANDS.iter().filter(|command| command.action.is_some()) {
            assert!(HELP.contains(&format!("\\{}", command.letter)), "{}", command.name);
        }
    }

    #[test]
    fn times_are_written_like_those_of_mysql() {
        assert_eq!(time_text(0), "0 sec");
        assert_eq!(time_text(303), "5 min 3 sec");
        assert_eq!(time_text(90_061), "1 days 1 hours 1 min 1 sec");
    }
}
