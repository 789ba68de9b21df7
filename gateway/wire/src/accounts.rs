//! Statements about users, which the parser of SQL does not know in MySQL's form.
//!
//! ```text
//! CREATE USER [IF NOT EXISTS] name IDENTIFIED [WITH method] BY 'password' [, …]
//! ALTER USER [IF EXISTS] name | USER() IDENTIFIED [WITH method] BY 'password'
//! SET PASSWORD [FOR name] = 'password'
//! DROP USER [IF EXISTS] name [, …]
//! ```
//! A name may be followed by `@'%'`, and by no other host: users come from anywhere.

use crate::error::{Result, SqlError, not_supported};
use crate::parse::Tokens;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// A statement about users.
#[derive(Clone, PartialEq, Eq)]
pub enum AccountStatement {
    /// CREATE USER.
    Create {
        /// Users that exist are left as they are.
        if_not_exists: bool,
        /// Names and passwords.
        users: Vec<(String, String)>,
    },
    /// ALTER USER and SET PASSWORD.
    SetPassword {
        /// Users that do not exist are left out.
        if_exists: bool,
        /// Name; `None` for the one who says it.
        user: Option<String>,
        /// The new password.
        password: String,
    },
    /// DROP USER.
    Drop {
        /// Users that do not exist are left out.
        if_exists: bool,
        /// Names.
        users: Vec<String>,
    },
}

/// Without the passwords.
impl std::fmt::Debug for AccountStatement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccountStatement")
    }
}

/// Reads tokens one after the other.
pub(crate) struct Reader<'a> {
    pub(crate) tokens: &'a [TokenWithSpan],
}

impl Reader<'_> {
    pub(crate) fn peek(&self) -> Option<&Token> {
        self.tokens.first().map(|token| &token.token)
    }

    pub(crate) fn step(&mut self) {
        self.tokens = self.tokens.get(1..).unwrap_or_default();
    }

    /// Takes these words if they come next.
    pub(crate) fn takes(&mut self, words: &[&str]) -> bool {
        let comes = words.iter().enumerate().all(|(at, word)| {
            let token = self.tokens.get(at).map(|token| &token.token);
            matches!(token, Some(Token::Word(found)) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
        });
        if comes {
            self.tokens = &self.tokens[words.len()..];
        }
        comes
    }

    pub(crate) fn takes_token(&mut self, token: &Token) -> bool {
        let comes = self.peek() == Some(token);
        if comes {
            self.step();
        }
        comes
    }

    fn wrong(&self) -> SqlError {
        let near = self.peek().map(ToString::to_string).unwrap_or_default();
        SqlError::syntax(format!(
            "You have an error in your SQL syntax; near '{near}' in a statement about users"
        ))
    }

    fn expect(&mut self, words: &[&str]) -> Result<()> {
        if self.takes(words) { Ok(()) } else { Err(self.wrong()) }
    }

    fn text(&mut self) -> Result<String> {
        let text = match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => text.clone(),
            _ => return Err(self.wrong()),
        };
        self.step();
        Ok(text)
    }

    /// A name, as of a user who comes from anywhere.
    fn name(&mut self) -> Result<String> {
        match self.name_and_host()? {
            (name, None) => Ok(name),
            (name, Some(host)) if host == "%" => Ok(name),
            (_, Some(host)) => {
                let host: String = host.chars().take(64).collect();
                not_supported(&format!("users of one host, as @'{host}'"))
            }
        }
    }

    /// A name, and the host behind it.
    pub(crate) fn name_and_host(&mut self) -> Result<(String, Option<String>)> {
        let (mut name, quoted) = match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => (text.clone(), true),
            Some(Token::Word(word)) => (word.value.clone(), word.quote_style.is_some()),
            _ => return Err(self.wrong()),
        };
        self.step();
        // `name@` and `name@host` are words by themselves.
        let mut host = None;
        if let Some((before, behind)) = name.split_once('@').filter(|_| !quoted) {
            (host, name) = (Some(behind.to_owned()), before.to_owned());
        } else if self.takes_token(&Token::AtSign) {
            host = Some(String::new());
        } else if let Some(Token::Word(word)) = self.peek()
            && let Some(behind) = word.value.strip_prefix('@')
        {
            host = Some(behind.to_owned());
            self.step();
        }
        if host.as_deref() == Some("") {
            host = match self.peek() {
                Some(Token::Word(word)) => Some(word.value.clone()),
                Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => Some(text.clone()),
                _ => return Err(self.wrong()),
            };
            self.step();
        }
        Ok((name, host))
    }

    fn password(&mut self) -> Result<String> {
        self.expect(&["IDENTIFIED"])?;
        if self.takes(&["WITH"]) {
            let method = match self.peek() {
                Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => text.clone(),
                Some(Token::Word(word)) => word.value.clone(),
                _ => return Err(self.wrong()),
            };
            self.step();
            if !matches!(method.as_str(), "mysql_native_password" | "caching_sha2_password") {
                return Err(SqlError {
                    code: 1_524,
                    state: "HY000",
                    message: format!(
                        "Plugin '{}' is not loaded",
                        method.chars().take(64).collect::<String>()
                    ),
                });
            }
        }
        self.expect(&["BY"])?;
        self.text()
    }

    pub(crate) fn end(&self) -> Result<()> {
        if self.tokens.is_empty() { Ok(()) } else { Err(self.wrong()) }
    }
}

impl Tokens {
    /// The statement about users that these tokens are, if they are one.
    ///
    /// # Errors
    /// 1064 and 1235 for one that is not well formed.
    pub fn account_statement(&self) -> Result<Option<AccountStatement>> {
        let mut reader = Reader { tokens: self.tokens() };
        let statement = if reader.takes(&["CREATE", "USER"]) {
            let if_not_exists = reader.takes(&["IF", "NOT", "EXISTS"]);
            let mut users = Vec::new();
            loop {
                users.push((reader.name()?, reader.password()?));
                if !reader.takes_token(&Token::Comma) {
                    break AccountStatement::Create { if_not_exists, users };
                }
            }
        } else if reader.takes(&["ALTER", "USER"]) {
            let if_exists = reader.takes(&["IF", "EXISTS"]);
            let own = reader.takes(&["USER"]);
            if own && !(reader.takes_token(&Token::LParen) && reader.takes_token(&Token::RParen)) {
                return Err(reader.wrong());
            }
            let user = if own { None } else { Some(reader.name()?) };
            AccountStatement::SetPassword { if_exists, user, password: reader.password()? }
        } else if reader.takes(&["SET", "PASSWORD"]) {
            let user = if reader.takes(&["FOR"]) { Some(reader.name()?) } else { None };
            if !reader.takes_token(&Token::Eq) {
                return Err(reader.wrong());
            }
            AccountStatement::SetPassword { if_exists: false, user, password: reader.text()? }
        } else if reader.takes(&["DROP", "USER"]) {
            let if_exists = reader.takes(&["IF", "EXISTS"]);
            let mut users = Vec::new();
            loop {
                users.push(reader.name()?);
                if !reader.takes_token(&Token::Comma) {
                    break AccountStatement::Drop { if_exists, users };
                }
            }
        } else {
            return Ok(None);
        };
        reader.end()?;
        Ok(Some(statement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tokens;

    fn read(sql: &str) -> Result<Option<AccountStatement>> {
        tokens(sql)?.remove(0).account_statement()
    }

    #[test]
    fn statements_about_users_are_read() {
        for name in ["ada", "'ada'", "`ada`", "\"ada\"", "'ada'@'%'", "ada@'%'", "'ada' @ '%'", "`ada`@`%`"] {
            let create = read(&format!("CREATE USER {name} IDENTIFIED BY 'x y'")).expect(name);
            let users = vec![("ada".to_owned(), "x y".to_owned())];
            assert!(create == Some(AccountStatement::Create { if_not_exists: false, users }), "{name}");
        }
        let set = |user: Option<&str>, if_exists| AccountStatement::SetPassword {
            if_exists,
            user: user.map(str::to_owned),
            password: "p".to_owned(),
        };
        for (sql, expected) in [
            ("ALTER USER ada IDENTIFIED WITH caching_sha2_password BY 'p'", set(Some("ada"), false)),
            (
                "alter user if exists ada identified with 'mysql_native_password' by 'p'",
                set(Some("ada"), true),
            ),
            ("ALTER USER USER() IDENTIFIED BY 'p'", set(None, false)),
            ("SET PASSWORD = 'p'", set(None, false)),
            ("SET PASSWORD FOR 'ada'@'%' = 'p'", set(Some("ada"), false)),
        ] {
            assert!(read(sql).expect(sql) == Some(expected), "{sql}");
        }
        let drop = read("DROP USER IF EXISTS ada, 'bob'@'%'").expect("sound");
        let users = vec!["ada".to_owned(), "bob".to_owned()];
        assert!(drop == Some(AccountStatement::Drop { if_exists: true, users }));
        assert!(read("SELECT 1").expect("another").is_none());
    }

    #[test]
    fn others_are_refused() {
        for (sql, code) in [
            ("CREATE USER ada", 1064),
            ("CREATE USER ada@localhost IDENTIFIED BY 'x'", 1235),
            ("CREATE USER 'ada'@'localhost' IDENTIFIED BY 'x'", 1235),
            ("CREATE USER 'ada'@ IDENTIFIED BY 'x'", 1235),
            ("CREATE USER ada IDENTIFIED WITH sha256_password BY 'x'", 1524),
            ("CREATE USER ada IDENTIFIED BY 'x' PASSWORD EXPIRE", 1064),
            ("DROP USER", 1064),
            ("DROP USER ada,", 1064),
            ("SET PASSWORD FOR ada 'x'", 1064),
        ] {
            let error = read(sql).expect_err(sql);
            assert_eq!(error.code, code, "{sql}: {error}");
        }
    }
}
