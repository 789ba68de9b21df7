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
//! KILL [CONNECTION | QUERY] expression
//! SELECT … INTO @name [, @name …] …
//! {CREATE | ALTER | DROP} … {TRIGGER | PROCEDURE | FUNCTION | EVENT | VIEW} …
//! ```

use crate::accounts::Reader;
use crate::dialect::MySql;
use crate::error::{Result, SqlError};
use crate::parse::{Tokens, parsed, syntax};
use sqlparser::ast::{Expr, ShowStatementFilter, Statement};
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
    /// KILL of the connection whose number this is, or only of its statement.
    Kill {
        /// Not the connection.
        only_query: bool,
        /// Its number.
        number: Box<Expr>,
    },
    /// SELECT … INTO user variables, whose names are in lower case.
    SelectInto(Vec<String>, Box<Statement>),
    /// What there is not: its name.
    Refused(String),
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

/// KILL, behind that word.
fn kill(mut reader: Reader<'_>) -> Result<Request> {
    let only_query = reader.takes_one(&["CONNECTION", "QUERY"]) == Some(1);
    let number = Box::new(parsed(reader.tokens.to_vec(), Parser::parse_expr)?);
    Ok(Request::Kill { only_query, number })
}

/// SELECT … INTO; `None` of one that gives its rows to the client.
fn select_into(tokens: &[TokenWithSpan]) -> Result<Option<Request>> {
    let mut depth = 0_usize;
    let into = tokens.iter().position(|token| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && Reader { tokens: std::slice::from_ref(token) }.takes(&["INTO"])
    });
    let Some(into) = into else { return Ok(None) };
    let mut reader = Reader { tokens: &tokens[into + 1..] };
    if reader.takes_one(&["OUTFILE", "DUMPFILE"]).is_some() {
        return Ok(Some(Request::Refused("SELECT … INTO OUTFILE and DUMPFILE".to_owned())));
    }
    let mut names = Vec::new();
    loop {
        let name = reader.identifier()?;
        match name.strip_prefix('@').filter(|name| !name.is_empty() && !name.starts_with('@')) {
            Some(name) => names.push(name.to_ascii_lowercase()),
            None => return Err(SqlError::undeclared_variable(format!("Undeclared variable: {name}"))),
        }
        if !reader.takes_token(&Token::Comma) {
            break;
        }
    }
    let rest = [&tokens[..into], reader.tokens].concat();
    Ok(Some(Request::SelectInto(names, Box::new(parsed(rest, Parser::parse_statement)?))))
}

/// The beginning of a statement about programs or views, of which there are none: `CREATE TRIGGER`.
pub(crate) fn stored(tokens: &[TokenWithSpan]) -> Option<String> {
    const VERBS: [&str; 3] = ["CREATE", "ALTER", "DROP"];
    const KINDS: [&str; 5] = ["TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "VIEW"];
    let mut reader = Reader { tokens };
    let verb = VERBS[reader.takes_one(&VERBS)?];
    loop {
        if let Some(kind) = reader.takes_one(&KINDS) {
            return Some(format!("{verb} {}", KINDS[kind]));
        }
        if reader.takes(&["DEFINER"]) {
            let _ = reader.takes_token(&Token::Eq);
            let user = reader.name_and_host().ok()?;
            if user.0.eq_ignore_ascii_case("CURRENT_USER") && reader.takes_token(&Token::LParen) {
                let _ = reader.takes_token(&Token::RParen);
            }
        } else if reader.takes(&["ALGORITHM"]) {
            let _ = reader.takes_token(&Token::Eq);
            reader.step();
        } else if reader.takes(&["SQL", "SECURITY"]) {
            reader.step();
        } else if !reader.takes(&["OR", "REPLACE"]) && !reader.takes(&["AGGREGATE"]) {
            return None;
        }
    }
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
    if let Some(what) = stored(tokens) {
        return Ok(Some(Request::Refused(what)));
    }
    if tokens.iter().any(|token| token.token == Token::Assignment) {
        return Ok(Some(Request::Refused("':=' in other statements than SET".to_owned())));
    }
    if reader.takes_one(&["SELECT", "WITH"]).is_some() {
        return select_into(tokens);
    }
    if reader.takes(&["KILL"]) {
        return kill(reader).map(Some);
    }
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
        let refused = |what: &str| Some(Request::Refused(what.to_owned()));
        for (sql, expected) in [
            ("CREATE TRIGGER t AFTER DELETE ON u FOR EACH ROW SET @a = 1", "CREATE TRIGGER"),
            (
                "CREATE DEFINER = CURRENT_USER() PROCEDURE p() BEGIN SELECT 1; SELECT 2; END",
                "CREATE PROCEDURE",
            ),
            ("create or replace aggregate function f returns int soname 'x'", "CREATE FUNCTION"),
            ("ALTER DEFINER='a'@'b' EVENT e DISABLE", "ALTER EVENT"),
            ("CREATE ALGORITHM=UNDEFINED DEFINER=a@b SQL SECURITY DEFINER VIEW v AS SELECT 1", "CREATE VIEW"),
        ] {
            assert_eq!(request(sql).expect(sql), refused(expected), "{sql}");
        }
        for (sql, expected, rest) in [
            ("SELECT a, 5 INTO @X, @y FROM t WHERE a = 1", &["x", "y"][..], "SELECT a, 5 FROM t WHERE a = 1"),
            ("SELECT (1) FROM t LIMIT 1 INTO @x FOR UPDATE", &["x"], "SELECT (1) FROM t LIMIT 1 FOR UPDATE"),
        ] {
            let Some(Request::SelectInto(names, statement)) = request(sql).expect(sql) else {
                panic!("{sql}")
            };
            assert_eq!(
                (names.as_slice(), statement.to_string().as_str()),
                (expected.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().as_slice(), rest)
            );
        }
        for (sql, only) in
            [("KILL 5", false), ("KILL CONNECTION 5", false), ("KILL QUERY CONNECTION_ID()", true)]
        {
            let killed = request(sql).expect(sql);
            assert!(matches!(killed, Some(Request::Kill { only_query, .. }) if only_query == only), "{sql}");
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
            "CREATE TABLE event (view INT PRIMARY KEY)",
            "INSERT INTO t SELECT 1",
            "SET @a := 5",
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
            "KILL",
            "KILL 5 6",
            "SELECT 1 INTO",
            "SELECT 1 INTO @a FROM",
            "SELECT 1, SELECT 2",
            "SHOW CREATE DATABASE d WHERE 1 = 0",
        ] {
            assert_eq!(request(sql).expect_err(sql).code, 1064, "{sql}");
        }
    }
}
