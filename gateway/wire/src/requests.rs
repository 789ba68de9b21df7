//! Statements that the parser of SQL does not know, or does not know in MySQL's form: most of SHOW, `DESCRIBE table column`, and
//! what stands in the files that mysqldump writes.
//!
//! ```text
//! SHOW [COUNT(*)] {WARNINGS | ERRORS} [LIMIT [skip,] most]
//! SHOW CREATE {DATABASE | SCHEMA} [IF NOT EXISTS] name
//! SHOW {TABLE STATUS | OPEN TABLES | [FULL] TRIGGERS | EVENTS} [{FROM | IN} database] [LIKE 'pattern' | WHERE condition]
//! SHOW {FUNCTION | PROCEDURE} STATUS [LIKE 'pattern' | WHERE condition]
//! SHOW [EXTENDED] {INDEX | INDEXES | KEYS} {FROM | IN} table [{FROM | IN} database] [WHERE condition]
//! SHOW [STORAGE] ENGINES, SHOW PLUGINS, SHOW GRANTS [FOR user]
//! {DESCRIBE | DESC | EXPLAIN} table {column | 'pattern'}
//! CREATE {DATABASE | SCHEMA} [IF NOT EXISTS] name [options]
//! ALTER TABLE table {DISABLE | ENABLE} KEYS
//! START TRANSACTION WITH CONSISTENT SNAPSHOT
//! ```

use crate::accounts::Reader;
use crate::dialect::MySql;
use crate::error::{Result, SqlError};
use crate::parse::{Tokens, syntax};
use sqlparser::ast::ShowStatementFilter;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// A database, if one is named, and a table in it.
pub type TableName = (Option<String>, String);

/// A statement that is not for the parser.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Something is shown.
    Show(Subject, Option<Box<ShowStatementFilter>>),
    /// DESCRIBE of the columns whose names are like a pattern.
    Describe(TableName, String),
    /// CREATE DATABASE.
    CreateDatabase {
        /// One that exists is left as it is.
        if_not_exists: bool,
        /// Its name.
        name: String,
        /// The character set that its tables are to have.
        character_set: Option<String>,
        /// The collation that its tables are to have.
        collation: Option<String>,
    },
    /// ALTER TABLE … DISABLE KEYS and ENABLE KEYS.
    SwitchKeys(TableName),
    /// START TRANSACTION WITH CONSISTENT SNAPSHOT.
    Snapshot,
}

/// What SHOW shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// Warnings of the last statement: which ones, and how many are skipped and shown at most.
    Warnings {
        /// Nothing but errors.
        only_errors: bool,
        /// Skipped ones.
        skip: usize,
        /// Shown ones.
        most: usize,
    },
    /// How many warnings, or errors, these are.
    WarningCount {
        /// Nothing but errors.
        only_errors: bool,
    },
    /// CREATE DATABASE for a database as it is.
    CreateDatabase {
        /// As it is to be in that statement.
        if_not_exists: bool,
        /// Its name.
        name: String,
    },
    /// Tables of a database, with what is known of them.
    TableStatus(Option<String>),
    /// Tables that the server has opened.
    OpenTables(Option<String>),
    /// Triggers.
    Triggers(Option<String>),
    /// Events.
    Events(Option<String>),
    /// Stored functions and procedures.
    Routines,
    /// Indexes of a table.
    Indexes(TableName),
    /// Storage engines.
    Engines,
    /// Plugins.
    Plugins,
    /// What a user may do; `None` for the one who asks.
    Grants(Option<String>),
}

impl Reader<'_> {
    /// Takes the first of the words that comes next; its number.
    fn takes_one(&mut self, words: &[&str]) -> Option<usize> {
        words.iter().position(|word| self.takes(&[word]))
    }

    fn wrong_request(&self) -> SqlError {
        let near = self.peek().map(ToString::to_string).unwrap_or_default();
        syntax(&format!("near '{near}'"))
    }

    fn ends(&self) -> Result<()> {
        if self.tokens.is_empty() { Ok(()) } else { Err(self.wrong_request()) }
    }

    fn identifier(&mut self) -> Result<String> {
        let name = match self.peek() {
            Some(Token::Word(word)) => word.value.clone(),
            _ => return Err(self.wrong_request()),
        };
        self.step();
        Ok(name)
    }

    fn table(&mut self) -> Result<TableName> {
        let first = self.identifier()?;
        match self.takes_token(&Token::Period) {
            true => Ok((Some(first), self.identifier()?)),
            false => Ok((None, first)),
        }
    }

    fn database(&mut self) -> Result<Option<String>> {
        match self.takes_one(&["FROM", "IN"]) {
            Some(_) => self.identifier().map(Some),
            None => Ok(None),
        }
    }

    fn whole_number(&mut self) -> Result<usize> {
        let number = match self.peek() {
            Some(Token::Number(digits, _)) => digits.parse().map_err(|_| self.wrong_request())?,
            _ => return Err(self.wrong_request()),
        };
        self.step();
        Ok(number)
    }

    /// A word, or a text in quotes.
    fn word_or_text(&mut self) -> Option<String> {
        let text = match self.peek() {
            Some(Token::Word(word)) => word.value.clone(),
            Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => text.clone(),
            _ => return None,
        };
        self.step();
        Some(text)
    }

    /// What is left is a filter, or nothing.
    fn filter(self) -> Result<Option<Box<ShowStatementFilter>>> {
        if self.tokens.is_empty() {
            return Ok(None);
        }
        let wrong = self.wrong_request();
        let mut parser = Parser::new(&MySql).with_tokens_with_locations(self.tokens.to_vec());
        match parser.parse_show_statement_filter() {
            Ok(Some(filter @ (ShowStatementFilter::Like(_) | ShowStatementFilter::Where(_))))
                if parser.peek_token() == Token::EOF =>
            {
                Ok(Some(Box::new(filter)))
            }
            _ => Err(wrong),
        }
    }
}

/// SHOW, behind that word; `None` when it is one for the parser.
fn show(mut reader: Reader<'_>) -> Result<Option<Request>> {
    let counted = reader.takes(&["COUNT"]);
    if counted {
        for token in [Token::LParen, Token::Mul, Token::RParen] {
            if !reader.takes_token(&token) {
                return Err(reader.wrong_request());
            }
        }
    }
    if let Some(number) = reader.takes_one(&["WARNINGS", "ERRORS"]) {
        let only_errors = number == 1;
        let mut limit = (0, usize::MAX);
        if counted {
            reader.ends()?;
            return Ok(Some(Request::Show(Subject::WarningCount { only_errors }, None)));
        }
        if reader.takes(&["LIMIT"]) {
            limit.1 = reader.whole_number()?;
            if reader.takes_token(&Token::Comma) {
                limit = (limit.1, reader.whole_number()?);
            } else if reader.takes(&["OFFSET"]) {
                limit.0 = reader.whole_number()?;
            }
        }
        reader.ends()?;
        let (skip, most) = limit;
        return Ok(Some(Request::Show(Subject::Warnings { only_errors, skip, most }, None)));
    }
    if counted {
        return Err(reader.wrong_request());
    }
    let subject = if reader.takes(&["CREATE", "DATABASE"]) || reader.takes(&["CREATE", "SCHEMA"]) {
        let if_not_exists = reader.takes(&["IF", "NOT", "EXISTS"]);
        let name = reader.identifier()?;
        reader.ends()?;
        Subject::CreateDatabase { if_not_exists, name }
    } else if reader.takes(&["TABLE", "STATUS"]) {
        Subject::TableStatus(reader.database()?)
    } else if reader.takes(&["OPEN", "TABLES"]) {
        Subject::OpenTables(reader.database()?)
    } else if reader.takes(&["FULL", "TRIGGERS"]) || reader.takes(&["TRIGGERS"]) {
        Subject::Triggers(reader.database()?)
    } else if reader.takes(&["EVENTS"]) {
        Subject::Events(reader.database()?)
    } else if reader.takes(&["FUNCTION", "STATUS"]) || reader.takes(&["PROCEDURE", "STATUS"]) {
        Subject::Routines
    } else if reader.takes(&["STORAGE", "ENGINES"]) || reader.takes(&["ENGINES"]) {
        reader.ends()?;
        Subject::Engines
    } else if reader.takes(&["PLUGINS"]) {
        reader.ends()?;
        Subject::Plugins
    } else if reader.takes(&["GRANTS"]) {
        let user = match reader.takes(&["FOR"]) {
            true if reader.takes(&["CURRENT_USER"]) => {
                let _ = reader.takes_token(&Token::LParen) && reader.takes_token(&Token::RParen);
                None
            }
            // Users come from anywhere, also from the host that is named.
            true => Some(reader.name_and_host()?.0),
            false => None,
        };
        reader.ends()?;
        Subject::Grants(user)
    } else {
        let _ = reader.takes(&["EXTENDED"]);
        if reader.takes_one(&["INDEX", "INDEXES", "KEYS"]).is_none()
            || reader.takes_one(&["FROM", "IN"]).is_none()
        {
            return Ok(None);
        }
        let (database, table) = reader.table()?;
        Subject::Indexes((reader.database()?.or(database), table))
    };
    Ok(Some(Request::Show(subject, reader.filter()?)))
}

/// `table column`, behind DESCRIBE; `None` when it is something else.
fn describe(mut reader: Reader<'_>) -> Option<Request> {
    /// What EXPLAIN may begin with otherwise.
    const OTHERS: &[&str] =
        &["SELECT", "INSERT", "REPLACE", "UPDATE", "DELETE", "WITH", "TABLE", "VALUES", "ANALYZE", "FORMAT"];
    if reader.takes_one(OTHERS).is_some() {
        return None;
    }
    let table = reader.table().ok()?;
    let column = reader.word_or_text()?;
    reader.tokens.is_empty().then_some(Request::Describe(table, column))
}

/// CREATE DATABASE, behind these words; `None` when it has options that are for the parser to refuse.
fn create_database(mut reader: Reader<'_>) -> Option<Request> {
    let if_not_exists = reader.takes(&["IF", "NOT", "EXISTS"]);
    let name = reader.identifier().ok()?;
    let (mut character_set, mut collation) = (None, None);
    while !reader.tokens.is_empty() {
        let _ = reader.takes(&["DEFAULT"]);
        let sets = reader.takes(&["CHARACTER", "SET"]) || reader.takes(&["CHARSET"]);
        let collates = !sets && reader.takes(&["COLLATE"]);
        let encrypts = !sets && !collates && reader.takes(&["ENCRYPTION"]);
        let _ = reader.takes_token(&Token::Eq);
        let value = reader.word_or_text()?;
        match (sets, collates, encrypts) {
            (true, _, _) => character_set = Some(value),
            (_, true, _) => collation = Some(value),
            (_, _, true) if value.eq_ignore_ascii_case("N") => {}
            _ => return None,
        }
    }
    Some(Request::CreateDatabase { if_not_exists, name, character_set, collation })
}

/// The keys of a table are switched on or off, behind ALTER TABLE.
fn switch_keys(mut reader: Reader<'_>) -> Option<Request> {
    let table = reader.table().ok()?;
    let switches = reader.takes(&["DISABLE", "KEYS"]) || reader.takes(&["ENABLE", "KEYS"]);
    (switches && reader.tokens.is_empty()).then_some(Request::SwitchKeys(table))
}

impl Tokens {
    /// The statement that these tokens are, if it is one that is not for the parser.
    ///
    /// # Errors
    /// 1064 for one that is not well formed.
    pub fn request(&self) -> Result<Option<Request>> {
        read(self.tokens())
    }
}

fn read(tokens: &[TokenWithSpan]) -> Result<Option<Request>> {
    let mut reader = Reader { tokens };
    if reader.takes(&["SHOW"]) {
        return show(reader);
    }
    if reader.takes_one(&["DESCRIBE", "DESC", "EXPLAIN"]).is_some() {
        return Ok(describe(reader));
    }
    if reader.takes(&["CREATE", "DATABASE"]) || reader.takes(&["CREATE", "SCHEMA"]) {
        return Ok(create_database(reader));
    }
    if reader.takes(&["ALTER", "TABLE"]) {
        return Ok(switch_keys(reader));
    }
    let snapshot = reader.takes(&["START", "TRANSACTION", "WITH", "CONSISTENT", "SNAPSHOT"]);
    Ok(snapshot.then_some(Request::Snapshot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tokens;

    fn request(sql: &str) -> Result<Option<Request>> {
        tokens(sql)?.remove(0).request()
    }

    fn shown(sql: &str) -> Subject {
        match request(sql).expect(sql) {
            Some(Request::Show(subject, _)) => subject,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn statements_that_are_not_for_the_parser_are_read() {
        let some = |name: &str| Some(name.to_owned());
        let warnings = |skip, most| Subject::Warnings { only_errors: false, skip, most };
        for (sql, expected) in [
            ("SHOW WARNINGS", warnings(0, usize::MAX)),
            ("show warnings limit 5", warnings(0, 5)),
            ("SHOW WARNINGS LIMIT 2, 5", warnings(2, 5)),
            ("SHOW COUNT(*) ERRORS", Subject::WarningCount { only_errors: true }),
            ("SHOW TABLE STATUS FROM d LIKE 'a%'", Subject::TableStatus(some("d"))),
            ("SHOW TABLE STATUS WHERE Name = 'a'", Subject::TableStatus(None)),
            ("SHOW TRIGGERS IN `d`", Subject::Triggers(some("d"))),
            ("SHOW INDEX FROM t FROM d", Subject::Indexes((some("d"), "t".to_owned()))),
            ("SHOW KEYS IN d.t", Subject::Indexes((some("d"), "t".to_owned()))),
            ("SHOW GRANTS FOR CURRENT_USER()", Subject::Grants(None)),
            ("SHOW GRANTS FOR 'ada'@'%'", Subject::Grants(some("ada"))),
            ("SHOW GRANTS FOR 'ada'@'localhost'", Subject::Grants(some("ada"))),
            (
                "SHOW CREATE SCHEMA IF NOT EXISTS d",
                Subject::CreateDatabase { if_not_exists: true, name: "d".to_owned() },
            ),
        ] {
            assert_eq!(shown(sql), expected, "{sql}");
        }
        let describe = |database: Option<&str>, column: &str| {
            Some(Request::Describe((database.map(str::to_owned), "t".to_owned()), column.to_owned()))
        };
        assert_eq!(request("DESC t c").expect("read"), describe(None, "c"));
        assert_eq!(request("DESCRIBE d.t 'c%'").expect("read"), describe(some("d").as_deref(), "c%"));
        let create = request(
            "CREATE DATABASE d DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT ENCRYPTION='N'",
        );
        let (character_set, collation) = (some("utf8mb4"), some("utf8mb4_bin"));
        let name = "d".to_owned();
        assert_eq!(
            create.expect("read"),
            Some(Request::CreateDatabase { if_not_exists: false, name, character_set, collation })
        );
    }

    #[test]
    fn others_are_left_or_refused() {
        for sql in [
            "SHOW TABLES",
            "SHOW VARIABLES LIKE 'a'",
            "EXPLAIN SELECT a",
            "EXPLAIN SELECT 1",
            "DESCRIBE t",
            "DESCRIBE d.t",
            "ALTER TABLE t ADD COLUMN c INT",
            "CREATE DATABASE d ENCRYPTION = 'Y'",
            "CREATE DATABASE d COMMENT 'x'",
            "START TRANSACTION",
            "SELECT 1",
        ] {
            assert_eq!(request(sql).expect(sql), None, "{sql}");
        }
        for sql in [
            "SHOW WARNINGS LIMIT",
            "SHOW WARNINGS x",
            "SHOW COUNT(*) TABLES",
            "SHOW TABLE STATUS FROM",
            "SHOW TABLE STATUS LIKE 'a' b",
            "SHOW INDEX FROM",
            "SHOW EVENTS 'a'",
            "SHOW CREATE DATABASE d WHERE 1 = 0",
        ] {
            assert_eq!(request(sql).expect_err(sql).code, 1064, "{sql}");
        }
    }
}
