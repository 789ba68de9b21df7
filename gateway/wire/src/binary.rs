//! Statements whose text holds bytes: drivers write `'…'` or `_binary'…'` with the bytes of a value as they are.

use crate::error::{Result, SqlError};
use std::borrow::Cow;

/// The text of a statement, in which literals of bytes that are not UTF-8 have become hexadecimal ones.
///
/// # Errors
/// 1064 when anything else is not UTF-8.
pub fn text(statement: &[u8]) -> Result<Cow<'_, str>> {
    if let Ok(text) = std::str::from_utf8(statement) {
        return Ok(Cow::Borrowed(text));
    }
    let mut rewritten = Vec::with_capacity(statement.len() * 2);
    let mut at = 0;
    while let Some(byte) = statement.get(at).copied() {
        if !matches!(byte, b'\'' | b'"' | b'`') {
            rewritten.push(byte);
            at += 1;
            continue;
        }
        let end = end_of_quote(statement, at);
        let literal = &statement[at..end];
        if byte == b'`' || std::str::from_utf8(literal).is_ok() {
            rewritten.extend_from_slice(literal);
        } else {
            if let Some(start) = introducer(&rewritten) {
                rewritten.truncate(start);
            }
            rewritten.extend_from_slice(b"x'");
            for byte in unescaped(literal) {
                rewritten.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
            rewritten.push(b'\'');
        }
        at = end;
    }
    let refused = |_| SqlError::syntax("You have an error in your SQL syntax; the statement is not UTF-8");
    String::from_utf8(rewritten).map(Cow::Owned).map_err(refused)
}

fn digit(number: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(number)]
}

/// Where the quote that begins here has ended.
fn end_of_quote(statement: &[u8], start: usize) -> usize {
    let quote = statement[start];
    let mut at = start + 1;
    while let Some(byte) = statement.get(at).copied() {
        if byte == b'\\' && quote != b'`' {
            at += 2;
        } else if byte != quote {
            at += 1;
        } else if statement.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    statement.len()
}

/// Where `_binary` begins, if the text ends with it.
fn introducer(text: &[u8]) -> Option<usize> {
    const WORD: &[u8] = b"_binary";
    let text = text.trim_ascii_end();
    let start = text.len().checked_sub(WORD.len())?;
    let alone = start == 0 || !(text[start - 1].is_ascii_alphanumeric() || text[start - 1] == b'_');
    (alone && text[start..].eq_ignore_ascii_case(WORD)).then_some(start)
}

/// The bytes that a literal stands for, quotes included.
fn unescaped(literal: &[u8]) -> Vec<u8> {
    let quote = literal[0];
    let inner = literal[1..].strip_suffix(&[quote]).unwrap_or(&literal[1..]);
    let mut bytes = Vec::with_capacity(inner.len());
    let mut at = 0;
    while let Some(byte) = inner.get(at).copied() {
        at += 1;
        let next = inner.get(at).copied();
        let Some(next) = next.filter(|_| byte == b'\\' || (byte == quote && next == Some(quote))) else {
            bytes.push(byte);
            continue;
        };
        at += 1;
        bytes.push(match (byte, next) {
            (b'\\', b'0') => 0,
            (b'\\', b'b') => 8,
            (b'\\', b'n') => b'\n',
            (b'\\', b'r') => b'\r',
            (b'\\', b't') => b'\t',
            (b'\\', b'Z') => 26,
            (_, other) => other,
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_hexadecimal() {
        let read = |statement: &[u8]| text(statement).map(Cow::into_owned);
        assert_eq!(read(b"SELECT 'a'").expect("text"), "SELECT 'a'");
        assert_eq!(
            read(b"INSERT INTO t VALUES (_binary'\xFF\\0\\'\\\\''\xC3', 'it''s', _binary 'a', _BINARY \"\xFE\")")
                .expect("rewritten"),
            "INSERT INTO t VALUES (x'FF00275C27C3', 'it''s', _binary 'a', x'FE')"
        );
        assert_eq!(read(b"SELECT a_binary'\xFF'").expect("rewritten"), "SELECT a_binaryx'FF'");
        for bad in [&b"SELECT \xFF"[..], b"SELECT `\xFF`", b"SELECT _binary`\xFF`"] {
            assert_eq!(read(bad).expect_err("no text").code, 1064);
        }
        read(b"SELECT _binary'\xFF").expect("the end of a quote is for the tokenizer to miss");
        read(b"SELECT _binary'\xFF\\").expect("so is what is behind a backslash");
    }
}
