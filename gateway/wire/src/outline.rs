//! Outlines of texts: a simple change with its literals left out, found without taking it apart into words.
//!
//! Most texts that programs send are changes of one outline over and over, with other literals each time. One look at the bytes finds the outline and the
//! literals; the plan that the first of them got is then known. Whatever is not plain (comments, escapes, decimals, variables, further statements)
//! has none, and is read in full.

use duet_client::Value;

/// Longest text that is looked at.
const MAX_BYTES: usize = 16 << 10;
/// Most digits of an integer: all of these fit.
const MAX_DIGITS: usize = 18;
/// What outlines begin with, and no shape of tokens does.
const MARK: char = '\u{2}';

/// A text without its literals, and these.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    /// The text with a question mark for each literal.
    pub text: String,
    /// Integers and texts.
    pub literals: Vec<Value>,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

impl Outline {
    /// The outline of a text, if it is an INSERT, UPDATE, DELETE or REPLACE and plain.
    pub fn of(sql: &str) -> Option<Outline> {
        let bytes = sql.as_bytes();
        let verb = bytes.get(..6)?;
        let is_change = [&b"INSERT"[..], b"UPDATE", b"DELETE", b"REPLAC"]
            .iter()
            .any(|word| verb.eq_ignore_ascii_case(word));
        if !is_change || bytes.len() > MAX_BYTES {
            return None;
        }
        let mut outline = Outline { text: String::with_capacity(bytes.len() + 2), literals: Vec::new() };
        outline.text.push(MARK);
        let (mut at, mut copied) = (0, 0);
        while let Some(byte) = bytes.get(at).copied() {
            let next = bytes.get(at + 1).copied();
            let begin = at;
            match byte {
                b'\'' => {
                    let length = bytes[at + 1..].iter().position(|byte| matches!(byte, b'\'' | b'\\'))?;
                    let end = at + 1 + length;
                    let behind = bytes[end + 1..].iter().find(|byte| !byte.is_ascii_whitespace());
                    let is_joined = at > 0 && is_word(bytes[at - 1]);
                    if bytes[end] == b'\\' || is_joined || matches!(behind, Some(b'\'' | b'"')) {
                        return None;
                    }
                    outline.literals.push(Value::Text(sql[at + 1..end].to_owned()));
                    at = end + 1;
                }
                b'0'..=b'9' => {
                    at += bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let is_joined = bytes.get(at).is_some_and(|byte| is_word(*byte) || *byte == b'.')
                        || begin > 0 && bytes[begin - 1] == b'.';
                    if is_joined || at - begin > MAX_DIGITS {
                        return None;
                    }
                    outline.literals.push(Value::Int(sql[begin..at].parse().ok()?));
                }
                b'`' => {
                    at += bytes[at + 1..].iter().position(|byte| *byte == b'`')? + 2;
                    continue;
                }
                byte if is_word(byte) => {
                    at += bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
                    continue;
                }
                b'-' if next == Some(b'-') => return None,
                b'/' if next == Some(b'*') => return None,
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b'(' | b')' | b'.' | b'=' | b'<' | b'>' | b'+'
                | b'-' | b'*' | b'/' | b'%' => {
                    at += 1;
                    continue;
                }
                _ => return None,
            }
            outline.text.push_str(&sql[copied..begin]);
            outline.text.push('?');
            copied = at;
        }
        outline.text.push_str(&sql[copied..]);
        Some(outline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tokens;

    #[test]
    fn outlines_of_plain_changes_have_their_literals() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (sql, wanted, literals) in [
            (
                "INSERT INTO t (a, b) VALUES (0, 'x y')",
                "INSERT INTO t (a, b) VALUES (?, ?)",
                vec![Value::Int(0), text("x y")],
            ),
            (
                "update `t 1` set a1 = a1 - 5 where b='é'",
                "update `t 1` set a1 = a1 - ? where b=?",
                vec![Value::Int(5), text("é")],
            ),
            (
                "DELETE FROM t WHERE a IN (1,-2, 3 )",
                "DELETE FROM t WHERE a IN (?,-?, ? )",
                vec![1.into(), 2.into(), 3.into()],
            ),
            (
                "REPLACE t VALUES (999999999999999999, '')",
                "REPLACE t VALUES (?, ?)",
                vec![999_999_999_999_999_999i64.into(), text("")],
            ),
        ] {
            let outline = Outline::of(sql).expect(sql);
            assert_eq!(
                (outline.text.strip_prefix(MARK), &outline.literals),
                (Some(wanted), &literals),
                "{sql}"
            );
            let mut read = tokens(sql).expect(sql).remove(0);
            read.share();
            assert_eq!(read.literals, literals, "{sql}");
        }
    }

    #[test]
    fn what_is_not_plain_has_no_outline() {
        for rest in [
            "'a\\'b'",
            "'it''s'",
            "'a' 'b'",
            "'a' \"b\"",
            "x'41'",
            "N'a'",
            "1.5",
            ".5",
            "1e3",
            "0x41",
            "1000000000000000000",
            "\"a\"",
            "@a",
            "?",
            "1; DELETE FROM t",
            "1 -- x",
            "1 /* x */",
            "1 # x",
            "'open",
            "`open",
            "a || b",
            "a := 1",
            "{d '2024-01-01'}",
            "1\u{b}",
        ] {
            assert_eq!(Outline::of(&format!("INSERT INTO t VALUES ({rest}")), None, "{rest}");
        }
        assert_eq!(Outline::of("SELECT 1"), None);
        assert_eq!(Outline::of("CREATE"), None);
        assert_eq!(Outline::of("é"), None);
        assert_eq!(Outline::of(&format!("INSERT INTO t VALUES ('{}')", "x".repeat(MAX_BYTES))), None);
    }
}
