//! Text of statements to syntax trees: tokens first, which bound what the parser and everything behind it recurse into, and
//! of which the literals of data statements are taken out, so that statements of the same shape share a plan.

use crate::dialect::MySql;
use crate::error::{Result, SqlError, not_supported};
use crate::headings::{Headings, Place, headings, name_items};
use crate::requests::stored;
use crate::value::literal::literal;
use duet_client::Value;
use sqlparser::ast::{self, Statement};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace, Word};
use std::fmt::Write;

/// Most operators in a row without a comma or a bracket between them: expressions nest as deeply as that.
const MAX_CHAIN: usize = 1_000;
/// How deeply brackets nest at most.
const MAX_DEPTH: usize = 40;
/// Most words and signs of a text: each takes some hundred bytes.
const MAX_TOKENS: usize = 1_000_000;
/// Most words, signs, blanks and comments of a text: until blanks and comments are left out each takes a hundred bytes as well.
const MAX_PIECES: usize = 4_000_000;
/// Most literals of a statement whose plan is shared.
const MAX_SHARED_LITERALS: usize = 4_096;

/// The version of MySQL that this server says it is, as comments for versions write it.
const VERSION: u32 = 80_036;

/// A statement of a text, as tokens.
#[derive(Clone, Debug)]
pub struct Tokens {
    tokens: Vec<TokenWithSpan>,
    /// Parameters, or literals that were taken out.
    pub parameters: usize,
    /// Values of the literals that were taken out.
    pub literals: Vec<Value>,
    /// The text without these literals; equal for statements that share a plan. Empty when the plan is not shared.
    pub shape: String,
    /// What columns of results are called that have no name: their text.
    headings: Vec<Headings>,
}

pub(crate) fn syntax(detail: &str) -> SqlError {
    SqlError::syntax(format!("You have an error in your SQL syntax; {}", as_written(detail)))
}

/// A message with parameters as they were written: the parser sees them as `?0`, `?1` and so on.
fn as_written(message: &str) -> String {
    let mut parts = message.split('?');
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        written.push('?');
        written.push_str(part.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    }
    written
}

/// The statements of a text, separated by semicolons.
///
/// # Errors
/// 1064 when it is no SQL; 1436 when it nests too deeply.
pub fn tokens(sql: &str) -> Result<Vec<Tokens>> {
    let (words, blanks) = piece_counts(sql);
    if words > MAX_TOKENS || words + blanks > MAX_PIECES {
        return Err(SqlError::out_of_memory(
            "Out of memory: the statement has more than 1,000,000 words and signs, or more than 4,000,000 with its blanks and comments",
        ));
    }
    let all = with_versions(sql, words + blanks)?;
    let mut statements = Vec::new();
    let mut current = Vec::new();
    for token in all {
        match token.token {
            Token::SemiColon => statements.push(std::mem::take(&mut current)),
            Token::EOF => {}
            _ => current.push(token),
        }
    }
    statements.push(current);
    statements.retain(|statement| !statement.is_empty());
    // Semicolons of a program that would be stored are not between statements.
    if let Some(first) = statements.iter().position(|tokens| stored(tokens).is_some()) {
        statements.truncate(first + 1);
    }
    let mut place = Place::at_start(sql);
    statements.into_iter().map(|tokens| prepared(tokens, &mut place)).collect()
}

/// Tokens of a text without blanks and comments. What stands in `/*! … */`, or in `/*!50110 … */` for a version that is not above
/// ours, belongs to it, as in MySQL.
fn with_versions(sql: &str, pieces: usize) -> Result<Vec<TokenWithSpan>> {
    let mut all = without_blanks(sql, pieces)?;
    if all.iter().all(|token| conditional(&token.token).is_none()) {
        return Ok(all);
    }
    let mut expanded = Vec::new();
    for token in all.drain(..) {
        let Some(comment) = conditional(&token.token) else {
            expanded.push(token);
            continue;
        };
        let digits = comment.bytes().take(6).take_while(u8::is_ascii_digit).count();
        // A version has five digits, or six.
        let (version, content) = if digits < 5 { ("0", comment) } else { comment.split_at(digits) };
        if version.parse().is_ok_and(|version: u32| version <= VERSION) {
            let inner = without_blanks(content, 0)?.into_iter();
            let span = token.span;
            expanded.extend(inner.map(|inner| TokenWithSpan { token: inner.token, span }));
        }
    }
    Ok(expanded)
}

/// What stands behind the `!` of a comment for versions.
fn conditional(token: &Token) -> Option<&str> {
    match token {
        Token::Whitespace(Whitespace::MultiLineComment(comment)) => comment.strip_prefix('!'),
        _ => None,
    }
}

/// Tokens of a text of about so many: of its blanks and comments only those for versions.
fn without_blanks(text: &str, pieces: usize) -> Result<Vec<TokenWithSpan>> {
    let mut all = Vec::with_capacity(pieces);
    let tokenized = Tokenizer::new(&MySql, text).tokenize_with_location_into_buf(&mut all);
    tokenized.map_err(|error| syntax(&error.to_string()))?;
    all.retain(|token| !matches!(token.token, Token::Whitespace(_)) || conditional(&token.token).is_some());
    Ok(all)
}

/// About how many tokens a text has: quoted texts, words and single signs, those of comments for versions among them; and blanks
/// and comments.
fn piece_counts(text: &str) -> (usize, usize) {
    let sql = text.as_bytes();
    let (mut words, mut blanks, mut at) = (0, 0, 0);
    // No name has a character of four bytes.
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || (0x80..0xf0).contains(byte) || *byte == b'_';
    let line = |at: usize| sql[at..].iter().take_while(|byte| **byte != b'\n').count();
    while let Some(byte) = sql.get(at).copied() {
        at += 1;
        match byte {
            b'/' if sql.get(at) == Some(&b'*') => {
                blanks += 1;
                let inner = &text[at + 1..];
                // The tokenizer refuses a comment without an end. It ends at the first `*/`, so that none is within another one.
                let Some(length) = inner.find("*/") else { break };
                if inner.starts_with('!') {
                    let (inner_words, inner_blanks) = piece_counts(&inner[1..length]);
                    words += inner_words;
                    blanks += inner_blanks;
                }
                at += 1 + length + 2;
            }
            b'#' => {
                blanks += 1;
                at += line(at);
            }
            b'-' if text[at..]
                .strip_prefix('-')
                .is_some_and(|rest| rest.starts_with(char::is_whitespace)) =>
            {
                blanks += 1;
                at += line(at);
            }
            b'\'' | b'"' | b'`' => {
                words += 1;
                while let Some(inner) = sql.get(at).copied() {
                    at += if inner == b'\\' && byte != b'`' { 2 } else { 1 };
                    if inner == byte {
                        break;
                    }
                }
            }
            byte if byte.is_ascii_whitespace() => blanks += 1,
            byte if is_word(&byte) => {
                words += 1;
                at += sql[at..].iter().take_while(|byte| is_word(byte)).count();
            }
            _ => words += 1,
        }
    }
    (words, blanks)
}

fn prepared(mut tokens: Vec<TokenWithSpan>, place: &mut Place<'_>) -> Result<Tokens> {
    check_depth(&tokens)?;
    check_places_of_select(&tokens)?;
    let headings = headings(&tokens, place);
    name_modulo(&mut tokens);
    name_shared_locks(&mut tokens);
    name_assignments(&mut tokens);
    let mut parameters = 0;
    for token in &mut tokens {
        if let Token::Placeholder(name) = &mut token.token {
            *name = format!("?{parameters}");
            parameters += 1;
        }
    }
    Ok(Tokens { tokens, parameters, literals: Vec::new(), shape: String::new(), headings })
}

/// `a MOD b` is `a % b`.
fn name_modulo(tokens: &mut [TokenWithSpan]) {
    for index in 1..tokens.len() {
        let is_mod = matches!(&tokens[index].token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("MOD"));
        let behind_operand = match &tokens[index - 1].token {
            Token::Number(..) | Token::SingleQuotedString(_) | Token::RParen | Token::Placeholder(_) => true,
            Token::Word(word) => word.keyword == Keyword::NoKeyword,
            _ => false,
        };
        let is_call = matches!(tokens.get(index + 1).map(|next| &next.token), Some(Token::LParen));
        if is_mod && behind_operand && !is_call {
            tokens[index].token = Token::Mod;
        }
    }
}

/// `LOCK IN SHARE MODE` is `FOR SHARE`.
fn name_shared_locks(tokens: &mut Vec<TokenWithSpan>) {
    const WORDS: [Keyword; 4] = [Keyword::LOCK, Keyword::IN, Keyword::SHARE, Keyword::MODE];
    if !tokens.iter().any(|token| keyword(&token.token) == Keyword::LOCK) {
        return;
    }
    let mut left_out = vec![false; tokens.len()];
    for at in 0..tokens.len().saturating_sub(WORDS.len() - 1) {
        let four = &mut tokens[at..at + WORDS.len()];
        if four.iter().map(|token| keyword(&token.token)).eq(WORDS) {
            four[0].token = Token::make_keyword("FOR");
            four[1].token = Token::make_keyword("SHARE");
            left_out[at + 2..at + WORDS.len()].fill(true);
        }
    }
    let mut left_out = left_out.into_iter();
    tokens.retain(|_| !left_out.next().unwrap_or_default());
}

/// `SET a := b` is `SET a = b`.
fn name_assignments(tokens: &mut [TokenWithSpan]) {
    if tokens.first().is_some_and(|first| keyword(&first.token) == Keyword::SET) {
        let assignments = tokens.iter_mut().filter(|token| token.token == Token::Assignment);
        assignments.for_each(|token| token.token = Token::Eq);
    }
}

/// The parser takes SELECT for a name where an operand is expected.
fn check_places_of_select(tokens: &[TokenWithSpan]) -> Result<()> {
    let misplaced = tokens.windows(2).find(|two| {
        if keyword(&two[1].token) != Keyword::SELECT {
            return false;
        }
        let before = &two[0].token;
        matches!(before, Token::Comma | Token::Eq | Token::Neq)
            || matches!(before, Token::Lt | Token::Gt | Token::LtEq | Token::GtEq)
            || matches!(before, Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod)
            || matches!(
                keyword(before),
                Keyword::SELECT | Keyword::WHERE | Keyword::HAVING | Keyword::BY | Keyword::AND | Keyword::OR
            )
    });
    match misplaced {
        None => Ok(()),
        Some(two) => Err(syntax(&format!("near '{}' at line {}", two[1].token, two[1].span.start.line))),
    }
}

fn check_depth(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut chains = vec![0_usize];
    // UNION and its kin nest whatever is between them.
    let mut unions = 0_usize;
    for token in tokens {
        unions += usize::from(matches!(
            keyword(&token.token),
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS
        ));
        match &token.token {
            Token::LParen => chains.push(0),
            Token::RParen => {
                if chains.len() > 1 {
                    chains.pop();
                }
            }
            Token::Comma => {
                if let Some(chain) = chains.last_mut() {
                    *chain = 0;
                }
            }
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) | Token::Period => {}
            Token::Word(word) if word.keyword == Keyword::NoKeyword => {}
            _ => {
                if let Some(chain) = chains.last_mut() {
                    *chain += 1;
                }
            }
        }
        if chains.len() > MAX_DEPTH
            || unions > MAX_CHAIN
            || chains.last().is_some_and(|chain| *chain > MAX_CHAIN)
        {
            return Err(SqlError::nested_too_deeply("Thread stack overrun: the statement nests too deeply"));
        }
    }
    Ok(())
}

/// A keyword of a token.
fn keyword(token: &Token) -> Keyword {
    match token {
        Token::Word(Word { keyword, quote_style: None, .. }) => *keyword,
        _ => Keyword::NoKeyword,
    }
}

/// Whether a literal behind this token is a value and nothing else.
fn precedes_value(token: &Token) -> bool {
    match token {
        Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::LParen
        | Token::Comma
        | Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod => true,
        other => matches!(
            keyword(other),
            Keyword::BETWEEN | Keyword::AND | Keyword::OR | Keyword::LIKE | Keyword::LIMIT | Keyword::OFFSET
        ),
    }
}

/// Adds a token to a shape, so that no other tokens have the same one: what is quoted is escaped.
fn put_shape(token: &Token, shape: &mut String) {
    // Writing into memory cannot fail.
    let _ = match token {
        Token::Word(Word { value, quote_style: None, .. }) => write!(shape, "{value} "),
        Token::Number(text, _) => write!(shape, "{text} "),
        Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::Period
        | Token::Mul
        | Token::Eq
        | Token::Lt
        | Token::Gt
        | Token::Plus
        | Token::Minus => write!(shape, "{token} "),
        // No word begins with this sign.
        other => write!(shape, "\u{1}{other:?} "),
    };
}

impl Tokens {
    /// The tokens themselves.
    pub fn tokens(&self) -> &[TokenWithSpan] {
        &self.tokens
    }

    /// Takes the literals of a data statement out and says its shape, if it is one whose plan can be shared.
    pub fn share(&mut self) {
        let first = self.tokens.first().map_or(Keyword::NoKeyword, |token| keyword(&token.token));
        let is_data = matches!(
            first,
            Keyword::SELECT | Keyword::INSERT | Keyword::UPDATE | Keyword::DELETE | Keyword::REPLACE
        );
        // What a call of STR_TO_DATE gives, a date or a time or both, its format says.
        let is_of_format = |token: &Token| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case("STR_TO_DATE"));
        let odd = |token: &TokenWithSpan| {
            matches!(keyword(&token.token), Keyword::CAST | Keyword::CONVERT | Keyword::INTERVAL)
                || is_of_format(&token.token)
                // Those that are not for the parser.
                || token.token == Token::Assignment
                || first == Keyword::SELECT && keyword(&token.token) == Keyword::INTO
        };
        if !is_data || self.parameters > 0 || self.tokens.iter().any(odd) {
            return;
        }
        let mut shape = String::new();
        for heading in self.headings.iter().flat_map(|headings| headings.items.iter().flatten()) {
            let _ = write!(shape, "{heading:?} ");
        }
        let mut inside = false;
        // Whether it was so before each bracket that is open.
        let mut outside = Vec::new();
        for index in 0..self.tokens.len() {
            let follows_value = index > 0 && precedes_value(&self.tokens[index - 1].token);
            let is_last_part = !matches!(
                self.tokens.get(index + 1).map(|token| &token.token),
                Some(Token::SingleQuotedString(_) | Token::DoubleQuotedString(_))
            );
            let token = &mut self.tokens[index].token;
            match keyword(token) {
                Keyword::WHERE | Keyword::VALUES | Keyword::VALUE | Keyword::SET | Keyword::LIMIT => {
                    inside = true;
                }
                Keyword::GROUP | Keyword::ORDER | Keyword::HAVING | Keyword::SELECT | Keyword::WINDOW => {
                    inside = false;
                }
                _ => {}
            }
            match token {
                Token::LParen => outside.push(inside),
                Token::RParen => inside = outside.pop().unwrap_or(inside),
                _ => {}
            }
            if inside && follows_value && is_last_part && self.literals.len() < MAX_SHARED_LITERALS {
                let value = match token {
                    Token::Number(text, _) => literal(&ast::Value::Number(text.clone(), false)).ok(),
                    Token::SingleQuotedString(text) => Some(Value::Text(std::mem::take(text))),
                    _ => None,
                };
                if let Some(value) = value {
                    *token = Token::Placeholder(format!("?{}", self.literals.len()));
                    self.literals.push(value);
                    shape.push_str("? ");
                    continue;
                }
            }
            put_shape(token, &mut shape);
        }
        self.parameters = self.literals.len();
        self.shape = shape;
    }

    /// The syntax tree.
    ///
    /// # Errors
    /// 1064 when the tokens are no statement.
    pub fn parse(mut self) -> Result<Statement> {
        check_modifiers(&self.tokens)?;
        index_for_key(&mut self.tokens);
        let mut statement = parsed(self.tokens, Parser::parse_statement)?;
        name_items(&mut statement, &self.headings);
        Ok(statement)
    }
}

/// Whether a token is this word.
fn is_word(token: Option<&TokenWithSpan>, wanted: &str) -> bool {
    matches!(
        token.map(|token| &token.token),
        Some(Token::Word(word)) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted)
    )
}

/// Refuses modifiers that the parser takes for names.
fn check_modifiers(tokens: &[TokenWithSpan]) -> Result<()> {
    for (first, second, third) in [
        ("UPDATE", "IGNORE", ""),
        ("UPDATE", "LOW_PRIORITY", ""),
        ("DELETE", "IGNORE", ""),
        ("DELETE", "LOW_PRIORITY", ""),
        ("DELETE", "QUICK", "FROM"),
        ("CREATE", "UNLOGGED", ""),
    ] {
        let begins = is_word(tokens.first(), first) && is_word(tokens.get(1), second);
        if begins && (third.is_empty() || is_word(tokens.get(2), third)) {
            return not_supported(&format!("{first} {second}"));
        }
    }
    Ok(())
}

/// ALTER TABLE … DROP KEY is DROP INDEX, which the parser knows.
fn index_for_key(tokens: &mut [TokenWithSpan]) {
    if !is_word(tokens.first(), "ALTER") {
        return;
    }
    for index in 1..tokens.len() {
        if is_word(tokens.get(index - 1), "DROP") && is_word(tokens.get(index), "KEY") {
            tokens[index].token = Token::make_keyword("INDEX");
        }
    }
}

/// What tokens are, all of them together.
///
/// # Errors
/// 1064 when they are something else.
pub(crate) fn parsed<T>(
    tokens: Vec<TokenWithSpan>,
    parse: impl FnOnce(&mut Parser<'static>) -> std::result::Result<T, ParserError>,
) -> Result<T> {
    let mut parser = Parser::new(&MySql).with_tokens_with_locations(tokens);
    let failed = |error| match error {
        ParserError::RecursionLimitExceeded => {
            SqlError::nested_too_deeply("Thread stack overrun: the statement nests too deeply")
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => syntax(&text),
    };
    let all = parse(&mut parser).map_err(failed)?;
    let rest = parser.peek_token();
    match rest.token {
        Token::EOF => Ok(all),
        token => Err(syntax(&format!("near '{token}' at line {}", rest.span.start.line))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(sql: &str) -> Tokens {
        let mut all = tokens(sql).expect("tokens");
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    #[test]
    fn statements_of_one_shape_share_it() {
        let mut first = one("SELECT c FROM t WHERE id = 5 AND s = 'A\\'PL'");
        let mut second = one("SELECT c FROM t WHERE id =  77 AND s = ''");
        first.share();
        second.share();
        assert_eq!(first.shape, second.shape);
        assert_eq!(first.literals, [Value::Int(5), Value::Text("A'PL".to_owned())]);
        first.parse().expect("a statement");
    }

    #[test]
    fn formats_of_dates_stay() {
        for sql in [
            "SELECT a FROM t WHERE a = STR_TO_DATE('10:20:30', '%H:%i:%s')",
            "INSERT INTO t VALUES (1, str_to_date('2024-01-02', '%Y-%m-%d'))",
        ] {
            let mut tokens = one(sql);
            tokens.share();
            assert_eq!((tokens.shape.as_str(), tokens.parameters), ("", 0), "{sql}");
        }
    }

    #[test]
    fn items_are_called_what_was_written() {
        let names = |sql: &str| {
            let Statement::Query(query) = one(sql).parse().expect("a statement") else { panic!("a query") };
            let ast::SetExpr::Select(select) = *query.body else { panic!("a SELECT") };
            let name = |item: &ast::SelectItem| match item {
                ast::SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
                other => other.to_string(),
            };
            select.projection.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(names("SELECT 1/0,floor( c ) , a AS b, t.c FROM t"), ["1/0", "floor( c )", "b", "t.c"]);
        assert_eq!(names("select distinct  1+1 from t"), ["1+1"]);
        assert_eq!(
            names("SELECT 'é',\n concat('ü',\n 'x'), (SELECT max(a+1), 2 FROM u WHERE b = 5), c+1 d"),
            ["'é'", "concat('ü',\n 'x')", "(SELECT max(a+1), 2 FROM u WHERE b = 5)", "d"]
        );
        assert_eq!(names("SELECT (1+2) UNION SELECT 3+4".split(" UNION").next().unwrap()), ["(1+2)"]);
        let inner = one("SELECT * FROM (SELECT count(*), -1 FROM t) d").parse().expect("a statement");
        assert!(inner.to_string().contains("`count(*)`") && inner.to_string().contains("`-1`"), "{inner}");
        let mut first = one("SELECT 1+1 FROM t WHERE a = 5");
        let mut second = one("SELECT 1 + 1 FROM t WHERE a = 5");
        first.share();
        second.share();
        assert_ne!(first.shape, second.shape);
        let mut mixed = one("SELECT (SELECT a FROM t WHERE b = 7), 'x' FROM t WHERE c = 9");
        mixed.share();
        assert_eq!(mixed.literals, [Value::Int(7), Value::Int(9)]);
    }

    #[test]
    fn literals_that_are_no_values_stay() {
        for sql in [
            "SELECT 5 FROM t",
            "SELECT c FROM t ORDER BY 1",
            "SELECT c FROM t WHERE d = DATE '2024-01-01'",
            "SELECT CAST('5' AS DECIMAL(10, 2)) FROM t WHERE c = 1",
        ] {
            let mut tokens = one(sql);
            tokens.share();
            assert!(tokens.literals.is_empty(), "{sql}");
        }
    }

    #[test]
    fn comments_for_versions_are_statements() {
        let words = |sql: &str| {
            let all = tokens(sql).expect(sql);
            let words =
                |one: &Tokens| one.tokens.iter().map(|token| token.token.to_string()).collect::<Vec<_>>();
            all.iter().map(|one| words(one).join(" ")).collect::<Vec<_>>()
        };
        for (sql, expected) in [
            ("/*!40101 SET @a=@@b */;", &["SET @a = @@b"][..]),
            (
                "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `d` /*!40100 X */",
                &["CREATE DATABASE IF NOT EXISTS `d` X"],
            ),
            (
                "SELECT /*! 1 */ /* 2 */ /*!80036 3 */ /*!80037 4 */ /*!999999 5 */ /*!080000 6 */",
                &["SELECT 1 3 6"],
            ),
            ("SELECT /*!5 */", &["SELECT 5"]),
            ("/*M!999999\\- enable the sandbox mode */", &[]),
            ("/*!*/ /*!40101*/", &[]),
            ("/*!50003 SELECT 1 ; SELECT '2' */", &["SELECT 1", "SELECT '2'"]),
        ] {
            assert_eq!(words(sql), expected, "{sql}");
        }
        assert_eq!(tokens("/*!40101 SELECT 'a */").expect_err("an open text").code, 1064);
        let chain = format!("SELECT /*! {}1 */", "1+".repeat(100_000));
        assert_eq!(tokens(&chain).expect_err("deep").code, 1436);
    }

    #[test]
    fn other_statements_have_other_shapes() {
        let shape = |sql: &str| {
            let mut tokens = tokens(sql).expect(sql).remove(0);
            tokens.share();
            assert!(!tokens.shape.is_empty(), "{sql}");
            tokens.shape
        };
        for (one, other) in [
            ("SELECT t, 'x' , b , 'y' FROM j WHERE id = 2", "SELECT t, 'x'' , b , ''y' FROM j WHERE id = 2"),
            ("SELECT `a` , `b` FROM j", "SELECT `a`` , ``b` FROM j"),
            ("SELECT a FROM j WHERE `b` = 1", "SELECT a FROM j WHERE b = 1"),
            ("SELECT 1 + 1 FROM j", "SELECT '1 + 1' FROM j"),
            ("SELECT \"a\" , \"b\" FROM j", "SELECT \"a\"\" , \"\"b\" FROM j"),
            ("SELECT 'a' FROM j", "SELECT \"a\" FROM j"),
            ("SELECT X'41' FROM j", "SELECT '41' FROM j"),
            ("SELECT a+1 FROM j", "SELECT a + 1 FROM j"),
        ] {
            assert_ne!(shape(one), shape(other), "{one}");
        }
        assert_eq!(shape("SELECT a FROM j WHERE b = 'x''y'"), shape("SELECT a  FROM j WHERE b = 'z'"));
    }

    #[test]
    fn deep_statements_are_refused() {
        let chain = format!("SELECT {}1", "1+".repeat(100_000));
        assert_eq!(tokens(&chain).expect_err("deep").code, 1436);
        let brackets = format!("SELECT {}1{}", "(".repeat(1_000), ")".repeat(1_000));
        assert_eq!(tokens(&brackets).expect_err("deep").code, 1436);
        let unions = format!("SELECT 1, 2{}", " UNION SELECT 1, 2".repeat(100_000));
        assert_eq!(tokens(&unions).expect_err("deep").code, 1436);
        let minus = format!("SELECT {}1", "- ".repeat(100_000));
        assert_eq!(tokens(&minus).expect_err("deep").code, 1436);
        let list = format!("SELECT c FROM t WHERE id IN ({}1)", "1,".repeat(5_000));
        assert_eq!(tokens(&list).expect("flat").len(), 1);
        let rows = format!("INSERT INTO t VALUES {}(1, 'x')", "(1, 'x'), ".repeat(5_000));
        assert_eq!(tokens(&rows).expect("flat").len(), 1);
    }

    #[test]
    fn huge_statements_are_refused() {
        let list = format!("SELECT {}1", "1,".repeat(1_000_000));
        assert_eq!(tokens(&list).expect_err("huge").code, 1041);
        // Quotes in comments and backslashes in names hide nothing.
        let ones = "1,".repeat(1_000_000);
        for before in ["/* ' */", "-- '\n", "#'\n", "/*!999999 ' */", "`a\\`, "] {
            assert_eq!(tokens(&format!("SELECT {before}{ones}1")).expect_err(before).code, 1041);
        }
        assert_eq!(tokens(&format!("SELECT /*!40101 {ones} */ 1")).expect_err("huge").code, 1041);
        for blank in [" ", "\n", "/*!*/", "/* */", "-- \n", "#\n"] {
            let blanks = blank.repeat(4_000_000);
            assert_eq!(tokens(&format!("SELECT {blanks}1")).expect_err(blank).code, 1041);
        }
        let lines = format!("SELECT{}\n    1", "\n    1,".repeat(400_000));
        assert_eq!(tokens(&lines).expect("long")[0].tokens.len(), 800_002);
        let text = format!("SELECT '{}'", "(,\\'".repeat(1_000_000));
        assert_eq!(tokens(&text).expect("one literal").len(), 1);
    }

    #[test]
    fn errors_are_those_of_mysql() {
        for sql in
            ["SELEC 1", "SELECT 1 FROM", "SELECT 'abc", "SELECT 1 2 3 4", "INSERT INTO", ")", "SELECT `a"]
        {
            let error = tokens(sql).and_then(|mut all| all.remove(0).parse()).expect_err(sql);
            assert_eq!(error.code, 1064, "{sql}");
        }
        let error = one("SHOW TABLES LIKE ?").parse().expect_err("a parameter");
        assert!(error.message.contains("found: ? at"), "{error}");
        assert!(tokens(" ; ;").expect("nothing").is_empty());
    }
}
