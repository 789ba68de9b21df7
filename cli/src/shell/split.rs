//! Where statements end: at a semicolon, `\g` or `\G`, outside of quotes and comments. Commands of the shell stand between them.

use super::commands::{self, Action};

/// A statement and how its rows are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text, without what ended it.
    pub sql: String,
    /// One column a line: it was ended by `\G`.
    pub vertical: bool,
}

/// What lines consist of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// To be sent to the gateway.
    Statement(Statement),
    /// To be done here, with its argument. That of [`Action::Print`] is the statement so far.
    Command(Action, String),
    /// A command, as it was written, that is none of ours.
    Unknown(String),
    /// The end of a statement that has no text.
    Nothing,
}

/// Collects lines until statements are complete.
#[derive(Debug)]
pub struct Splitter {
    /// The statement that has begun.
    text: String,
    inside: Inside,
    /// What ends a statement.
    delimiter: String,
}

impl Default for Splitter {
    fn default() -> Splitter {
        Splitter { text: String::new(), inside: Inside::Nothing, delimiter: ";".to_owned() }
    }
}

/// What surrounds the end of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Inside {
    #[default]
    Nothing,
    Quote(u8),
    /// A comment of a statement, which is sent with it.
    Comment,
    /// A comment before a statement, which is left out.
    EarlierComment,
}

impl Splitter {
    /// Adds a line, without its line feed; what it completes.
    pub fn add_line(&mut self, line: &str) -> Vec<Piece> {
        if !self.has_begun()
            && let Some(argument) = commands::delimiter(line)
        {
            return vec![self.set_delimiter(argument)];
        }
        if !self.has_begun()
            && !line.contains(&self.delimiter)
            && !line.contains("\\g")
            && let Some(command) = commands::named(line)
        {
            return vec![command];
        }
        let mut pieces = Vec::new();
        let bytes = line.as_bytes();
        // Where begins what has not been taken, and where we look.
        let (mut from, mut at) = (0, 0);
        while let Some(byte) = bytes.get(at).copied() {
            let next = bytes.get(at + 1).copied();
            let mut step = 1;
            match (self.inside, byte, next) {
                (Inside::Nothing, ..) if bytes[at..].starts_with(self.delimiter.as_bytes()) => {
                    self.take(&line[from..at]);
                    pieces.push(self.end(false));
                    step = self.delimiter.len();
                    from = at + step;
                }
                // NULL in files for LOAD DATA, and no command.
                (Inside::Nothing, b'\\', Some(b'N')) => step = 2,
                (Inside::Nothing, b'\\', Some(_)) => {
                    self.take(&line[from..at]);
                    let (piece, length) = self.command(&line[at..]);
                    pieces.extend(piece);
                    (from, step) = (at + length, length);
                }
                (Inside::Nothing, b'\'' | b'"' | b'`', _) => self.inside = Inside::Quote(byte),
                (Inside::Nothing, b'#', _) => break,
                (Inside::Nothing, b'-', Some(b'-'))
                    if bytes.get(at + 2).is_none_or(u8::is_ascii_whitespace) =>
                {
                    break;
                }
                (Inside::Nothing, b'/', Some(b'*')) => {
                    let means_something = matches!(bytes.get(at + 2), Some(b'!' | b'+'));
                    self.take(&line[from..at]);
                    (from, step) = (at, 2);
                    self.inside = match self.text.is_empty() && !means_something {
                        true => Inside::EarlierComment,
                        false => Inside::Comment,
                    };
                }
                (Inside::Quote(quote), b'\\', Some(_)) if quote != b'`' => step = 2,
                (Inside::Quote(quote), _, _) if byte == quote => self.inside = Inside::Nothing,
                (Inside::Comment, b'*', Some(b'/')) => (self.inside, step) = (Inside::Nothing, 2),
                (Inside::EarlierComment, b'*', Some(b'/')) => {
                    (self.inside, step) = (Inside::Nothing, 2);
                    from = at + 2;
                }
                _ => {}
            }
            at += step;
        }
        // What is looked at no more is a comment up to the end of the line.
        let is_left_out = match self.inside {
            Inside::EarlierComment => true,
            Inside::Nothing => self.text.is_empty() && line[from..at.min(line.len())].trim().is_empty(),
            Inside::Quote(_) | Inside::Comment => false,
        };
        if !is_left_out {
            self.take(&line[from..]);
            self.text.push('\n');
        }
        pieces
    }

    /// Lets statements end with the first word of this; the command, with that word.
    fn set_delimiter(&mut self, argument: &str) -> Piece {
        let word = argument.split_whitespace().next().unwrap_or_default();
        if !word.is_empty() && !word.contains('\\') {
            self.delimiter = word.to_owned();
        }
        Piece::Command(Action::Delimiter, word.to_owned())
    }

    /// Forgets the statement that has begun.
    pub fn clear(&mut self) {
        self.text.clear();
        self.inside = Inside::Nothing;
    }

    /// The statement so far.
    pub fn begun(&self) -> &str {
        &self.text
    }

    /// Whether a statement or a comment has begun.
    pub fn has_begun(&self) -> bool {
        !self.text.is_empty() || self.inside != Inside::Nothing
    }

    /// What a terminal shows before the next line.
    pub fn prompt(&self) -> &'static str {
        match self.inside {
            Inside::Nothing if self.text.is_empty() => "duet> ",
            Inside::Nothing => "   -> ",
            Inside::Quote(b'\'') => "   '> ",
            Inside::Quote(b'"') => "   \"> ",
            Inside::Quote(_) => "   `> ",
            Inside::Comment | Inside::EarlierComment => "  /*> ",
        }
    }

    /// What is left at the end of the input: a last statement may lack its semicolon.
    pub fn rest(&mut self) -> Option<Piece> {
        self.inside = Inside::Nothing;
        let piece = self.end(false);
        (piece != Piece::Nothing).then_some(piece)
    }

    /// What the command at the beginning of a text, a backslash and a letter, stands for, and its length with its argument.
    fn command(&mut self, text: &str) -> (Option<Piece>, usize) {
        let letter = text.chars().nth(1).unwrap_or_default();
        let word = &text[..1 + letter.len_utf8()];
        let command = commands::by_letter(letter);
        let (mut argument, mut length) = ("", word.len());
        if command.is_some_and(|command| command.takes_argument) {
            // A semicolon ends the argument, not the statement.
            argument = text[length..].split(';').next().unwrap_or_default();
            length = (length + argument.len() + 1).min(text.len());
        }
        let piece = match command.and_then(|command| command.action) {
            Some(Action::Delimiter) => return (Some(self.set_delimiter(&text[word.len()..])), text.len()),
            Some(Action::Clear) => {
                self.text.clear();
                None
            }
            Some(action @ (Action::Go | Action::Ego)) => Some(self.end(action == Action::Ego)),
            Some(Action::Print) => Some(Piece::Command(Action::Print, self.text.clone())),
            Some(action) => Some(Piece::Command(action, argument.trim().to_owned())),
            None => {
                // A statement that has begun is not sent without it: the gateway refuses it.
                if !self.text.is_empty() {
                    self.take(word);
                }
                Some(Piece::Unknown(word.to_owned()))
            }
        };
        (piece, length)
    }

    fn take(&mut self, part: &str) {
        self.text.push_str(if self.text.is_empty() { part.trim_start() } else { part });
    }

    fn end(&mut self, vertical: bool) -> Piece {
        let sql = std::mem::take(&mut self.text).trim_end().to_owned();
        match commands::named(&sql) {
            Some(command) => command,
            None if sql.is_empty() => Piece::Nothing,
            None => Piece::Statement(Statement { sql, vertical }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<Piece> {
        let mut splitter = Splitter::default();
        let mut pieces: Vec<Piece> = text.split('\n').flat_map(|line| splitter.add_line(line)).collect();
        pieces.extend(splitter.rest());
        pieces
    }

    fn split(text: &str) -> Vec<String> {
        let statements = pieces(text).into_iter().filter_map(|piece| match piece {
            Piece::Statement(statement) => Some(statement.sql),
            Piece::Nothing => None,
            other => panic!("{other:?}"),
        });
        statements.collect()
    }

    fn command(action: Action, argument: &str) -> Piece {
        Piece::Command(action, argument.to_owned())
    }

    fn statement(sql: &str) -> Piece {
        Piece::Statement(Statement { sql: sql.to_owned(), vertical: false })
    }

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes_and_comments() {
        assert_eq!(split("SELECT 1; SELECT 2"), ["SELECT 1", "SELECT 2"]);
        assert_eq!(split("SELECT ';', \";\", `;`;"), ["SELECT ';', \";\", `;`"]);
        assert_eq!(split(r"SELECT 'it\'s;', 'a''b;';"), [r"SELECT 'it\'s;', 'a''b;'"]);
        assert_eq!(split("SELECT 1 -- ; one\n + 2;"), ["SELECT 1 -- ; one\n + 2"]);
        assert_eq!(split("SELECT 1 # ;\n;SELECT 5--2;"), ["SELECT 1 # ;", "SELECT 5--2"]);
        assert_eq!(split("SELECT /* ; */ 1;;; "), ["SELECT /* ; */ 1"]);
        assert_eq!(split("SELECT `a\\`;"), ["SELECT `a\\`"]);
        assert_eq!(split("SELECT 'é;ü'; SELECT 'x"), ["SELECT 'é;ü'", "SELECT 'x"]);
        assert_eq!(split("SELECT \\N, '\\s';"), ["SELECT \\N, '\\s'"]);
    }

    #[test]
    fn statements_end_with_another_word_where_one_is_set() {
        let procedure = "CREATE PROCEDURE p() BEGIN\n DELETE FROM t; DELETE FROM u;\nEND";
        assert_eq!(
            pieces(&format!(
                "DELIMITER ;;\n{procedure} ;;\ndelimiter ;\nSELECT 1; \\d //\nSELECT 2; // SELECT 3//"
            )),
            [
                command(Action::Delimiter, ";;"),
                statement(procedure),
                command(Action::Delimiter, ";"),
                statement("SELECT 1"),
                command(Action::Delimiter, "//"),
                statement("SELECT 2;"),
                statement("SELECT 3"),
            ]
        );
        assert_eq!(pieces("delimiter\nSELECT 1;"), [command(Action::Delimiter, ""), statement("SELECT 1")]);
        assert_eq!(pieces("delimiters;"), [statement("delimiters")]);
    }

    #[test]
    fn comments_before_a_statement_are_left_out() {
        assert_eq!(split("-- first\n  # second\nSELECT 1; -- ; last"), ["SELECT 1"]);
        assert_eq!(split("/* ;\n ; */ SELECT 1; /* x */"), ["SELECT 1"]);
        assert_eq!(split("/*! SELECT 1 */; /*+ x */ SELECT 2;"), ["/*! SELECT 1 */", "/*+ x */ SELECT 2"]);
        assert_eq!(split("SELECT 1\n-- why\n+ 1;"), ["SELECT 1\n-- why\n+ 1"]);
        assert_eq!(pieces("-- which\nuse nyc"), [command(Action::Use, "nyc")]);
    }

    #[test]
    fn lines_are_collected() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.prompt(), "duet> ");
        assert!(splitter.add_line("SELECT '").is_empty() && splitter.has_begun());
        assert_eq!(splitter.prompt(), "   '> ");
        assert!(splitter.add_line(";").is_empty());
        let vertical = Statement { sql: "SELECT '\n;\n'".to_owned(), vertical: true };
        assert_eq!(splitter.add_line("' \\G"), [Piece::Statement(vertical)]);
        assert!(!splitter.has_begun());
        assert!(splitter.add_line("  ").is_empty() && !splitter.has_begun());
        assert!(splitter.add_line("SELECT /*").is_empty());
        assert_eq!(splitter.prompt(), "  /*> ");
    }

    #[test]
    fn commands_are_found_at_the_beginning_of_a_statement_or_by_their_letter() {
        assert_eq!(pieces("status"), [command(Action::Status, "")]);
        assert_eq!(pieces(" STATUS ; "), [command(Action::Status, "")]);
        assert_eq!(pieces("source /tmp/a b.sql"), [command(Action::Source, "/tmp/a b.sql")]);
        assert_eq!(pieces("use `nyc`; SELECT 1;"), [command(Action::Use, "`nyc`"), statement("SELECT 1")]);
        assert_eq!(pieces("\\u nyc; SELECT 1;"), [command(Action::Use, "nyc"), statement("SELECT 1")]);
        assert_eq!(pieces("\\. a.sql"), [command(Action::Source, "a.sql")]);
        assert_eq!(pieces("SELECT 1 \\s + 1;"), [command(Action::Status, ""), statement("SELECT 1  + 1")]);
        assert_eq!(pieces("SELECT 1 \\c SELECT 2\\g"), [statement("SELECT 2")]);
        assert_eq!(pieces("SELECT 1\n\\c\nSELECT 2;"), [statement("SELECT 2")]);
        assert_eq!(pieces("SELECT 1\\p;"), [command(Action::Print, "SELECT 1"), statement("SELECT 1")]);
        assert_eq!(pieces("SELECT\nstatus;"), [statement("SELECT\nstatus")]);
        assert_eq!(pieces("\\?"), [command(Action::Help, "")]);
        assert_eq!(pieces("help contents;"), [command(Action::Help, "contents")]);
        assert_eq!(pieces(";"), [Piece::Nothing]);
        assert_eq!(pieces("\\G"), [Piece::Nothing]);
    }

    #[test]
    fn what_is_no_command_is_named() {
        let unknown = |word: &str| Piece::Unknown(word.to_owned());
        assert_eq!(pieces("\\z"), [unknown("\\z")]);
        assert_eq!(pieces("\\é SELECT 1;"), [unknown("\\é"), statement("SELECT 1")]);
        assert_eq!(pieces("SELECT 1 \\z;"), [unknown("\\z"), statement("SELECT 1 \\z")]);
        assert_eq!(pieces("tee;"), [unknown("tee")]);
        assert_eq!(pieces("\\! ls; SELECT 1"), [unknown("\\!"), statement("SELECT 1")]);
    }
}
