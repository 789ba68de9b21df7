//! Functions of text.

use super::{
    Function, MAX_TEXT_BYTES, characters, hex, int, of_characters, start_of, too_long, whole_double,
};
use crate::error::{Result, SqlError, not_supported};
use crate::expression::losses::quoted;
use crate::value::compare::compare;
use crate::value::format::{text, write};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use duet_client::Value;
use md5::Md5;
use regex::Regex;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use std::borrow::Cow;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::time::{Duration, Instant};

/// Most bytes of a compiled regular expression.
const MAX_REGEX_BYTES: usize = 256 << 10;
/// The same for the longest texts.
const MIN_REGEX_BYTES: usize = 4 << 10;
/// Length of a text from which on regular expressions may only be smaller.
const LONG_TEXT_BYTES: usize = 64 << 10;
/// Longest regular expression.
const MAX_PATTERN_BYTES: usize = 64 << 10;
/// Longest time that a call looks for matches: each may look at all of the text behind it.
const MAX_MATCHING: Duration = Duration::from_secs(1);
/// Characters of a line of `TO_BASE64`.
const BASE64_LINE: usize = 76;

fn bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(value, &mut bytes);
    bytes
}

fn lower_hex(bytes: &[u8]) -> Value {
    Value::Text(hex(bytes).to_ascii_lowercase())
}

/// A place from 1 as an index; `None` outside.
fn index(value: &Value, length: usize) -> Option<usize> {
    let place = whole_double(value);
    (place >= 1.0 && place <= length as f64).then(|| place as usize - 1)
}

/// Calls a function of text, or of bytes, whose arguments are not NULL; `None` where it is none of them.
pub(super) fn call(function: Function, values: &[Value], of_bytes: bool) -> Result<Option<Value>> {
    let content = |index: usize| characters(&values[index], of_bytes);
    let made = |content: &str| of_characters(Cow::Borrowed(content), of_bytes);
    Ok(Some(match function {
        Function::PadLeft | Function::PadRight => pad(function, values, of_bytes)?,
        Function::Ascii => Value::Int(bytes(&values[0]).first().copied().map_or(0, i64::from)),
        Function::Ordinal => {
            let first: Vec<u8> = match &values[0] {
                Value::Bytes(bytes) => bytes.iter().take(1).copied().collect(),
                other => {
                    text(other).chars().next().map(|first| first.to_string().into_bytes()).unwrap_or_default()
                }
            };
            Value::Int(first.iter().fold(0, |number, byte| number << 8 | i64::from(*byte)))
        }
        Function::Unhex => {
            // The first digit of an odd number of them is a byte of its own.
            let digits = bytes(&values[0]);
            let digit = |digit: &u8| char::from(*digit).to_digit(16);
            let byte = |pair: &[u8]| {
                pair.iter().try_fold(0, |byte, one| digit(one).map(|value| byte << 4 | value as u8))
            };
            let pairs: Option<Vec<u8>> = digits.rchunks(2).rev().map(byte).collect();
            pairs.map_or(Value::Null, Value::Bytes)
        }
        Function::ToBase64 => Value::Text(to_base64(&bytes(&values[0]))),
        Function::FromBase64 => from_base64(&text(&values[0])).map_or(Value::Null, Value::Bytes),
        Function::Field => {
            let wanted = &values[0];
            let found = values[1..].iter().position(|value| {
                // What cannot be compared is not equal.
                compare(wanted, value).ok().flatten() == Some(Ordering::Equal)
            });
            found.map_or(Value::Int(0), |found| int(found + 1))
        }
        Function::Element => match index(&values[0], values.len() - 1) {
            Some(at) if values[at + 1] != Value::Null => of_characters(content(at + 1), of_bytes),
            _ => Value::Null,
        },
        Function::FindInSet => {
            let any_bytes = values.iter().any(|value| matches!(value, Value::Bytes(_)));
            let [wanted, list] = [0, 1].map(|index| characters(&values[index], any_bytes));
            if list.is_empty() {
                return Ok(Some(Value::Int(0)));
            }
            list.split(',').position(|part| part == wanted).map_or(Value::Int(0), |at| int(at + 1))
        }
        Function::SubstringIndex => {
            let wanted = whole_double(&values[2]);
            made(substring_index(&content(0), &content(1), wanted as i64))
        }
        Function::Insert => {
            let whole = content(0);
            let Some(start) = index(&values[1], whole.chars().count()) else {
                return Ok(Some(made(&whole)));
            };
            let (before, rest) = whole.split_at(start_of(&whole, start));
            let length = whole_double(&values[2]);
            let replaced =
                if (0.0..rest.len() as f64).contains(&length) { length as usize } else { rest.len() };
            of_characters(
                Cow::Owned([before, &content(3), &rest[start_of(rest, replaced)..]].concat()),
                of_bytes,
            )
        }
        Function::CompareText => Value::Int(bytes(&values[0]).cmp(&bytes(&values[1])) as i64),
        Function::Quote => {
            let mut output = String::from("'");
            for character in content(0).chars() {
                match character {
                    '\'' | '\\' => output.extend(['\\', character]),
                    '\0' => output.push_str("\\0"),
                    '\u{1a}' => output.push_str("\\Z"),
                    other => output.push(other),
                }
            }
            output.push('\'');
            of_characters(Cow::Owned(output), of_bytes)
        }
        Function::Characters => {
            let mut output = Vec::new();
            for value in values.iter().filter(|value| **value != Value::Null) {
                let number = crate::value::arithmetic::bits(value) as u32;
                // A number is as many bytes as it needs.
                let skip = (number.leading_zeros() / 8).min(3) as usize;
                output.extend_from_slice(&protocol_order(number)[skip..]);
            }
            Value::Bytes(output)
        }
        Function::BitLength => int(bytes(&values[0]).len() * 8),
        Function::Md5 => lower_hex(&Md5::digest(bytes(&values[0]))),
        Function::Sha1 => lower_hex(&Sha1::digest(bytes(&values[0]))),
        Function::Sha2 => {
            let content = bytes(&values[0]);
            match whole_double(&values[1]) as i64 {
                0 | 256 => lower_hex(&Sha256::digest(content)),
                224 => lower_hex(&Sha224::digest(content)),
                384 => lower_hex(&Sha384::digest(content)),
                512 => lower_hex(&Sha512::digest(content)),
                _ => Value::Null,
            }
        }
        Function::TrimBoth | Function::TrimStart | Function::TrimEnd => {
            let (whole, part) = (content(0), content(1));
            let mut rest = &*whole;
            while function != Function::TrimEnd && !part.is_empty() {
                let Some(shorter) = rest.strip_prefix(&*part) else { break };
                rest = shorter;
            }
            while function != Function::TrimStart && !part.is_empty() {
                let Some(shorter) = rest.strip_suffix(&*part) else { break };
                rest = shorter;
            }
            made(rest)
        }
        Function::Matches => {
            let flags = values.get(2).map(text).unwrap_or_default();
            let whole = text(&values[0]);
            with_regex(&text(&values[1]), &flags, whole.len(), |regex| {
                Ok(Value::Int(i64::from(regex.is_match(&whole))))
            })?
        }
        Function::RegexReplace => {
            let (whole, with) = (text(&values[0]), text(&values[2]));
            with_regex(&text(&values[1]), "", whole.len(), |regex| replaced(regex, &whole, &with))?
        }
        Function::RegexSubstring => {
            let whole = text(&values[0]);
            with_regex(&text(&values[1]), "", whole.len(), |regex| {
                let found = regex.find(&whole);
                Ok(found.map_or(Value::Null, |found| Value::Text(found.as_str().to_owned())))
            })?
        }
        Function::RegexPlace => {
            let whole = text(&values[0]);
            with_regex(&text(&values[1]), "", whole.len(), |regex| {
                let found = regex.find(&whole);
                Ok(found.map_or(Value::Int(0), |found| int(whole[..found.start()].chars().count() + 1)))
            })?
        }
        Function::UuidToBytes => {
            let digits = text(&values[0]).replace('-', "");
            let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            match (digits.len(), u128::from_str_radix(&digits, 16)) {
                (32, Ok(number)) if is_number => {
                    Value::Bytes((0..16).rev().map(|byte| (number >> (8 * byte)) as u8).collect())
                }
                _ => {
                    return Err(SqlError {
                        code: 1_411,
                        state: "HY000",
                        message: format!(
                            "Incorrect string value: '{}' for function uuid_to_bin",
                            quoted(&text(&values[0]))
                        ),
                    });
                }
            }
        }
        Function::BytesToUuid => {
            let content = bytes(&values[0]);
            if content.len() != 16 {
                return Ok(Some(Value::Null));
            }
            let digits = hex(&content).to_ascii_lowercase();
            let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
            Value::Text(parts.join("-"))
        }
        _ => return Ok(None),
    }))
}

/// The bytes of a number, the greatest first.
fn protocol_order(number: u32) -> [u8; 4] {
    [(number >> 24) as u8, (number >> 16) as u8, (number >> 8) as u8, number as u8]
}

fn pad(function: Function, values: &[Value], of_bytes: bool) -> Result<Value> {
    let wanted = whole_double(&values[1]);
    let whole = characters(&values[0], of_bytes);
    let with = values.get(2).map_or(Cow::Borrowed(" "), |with| characters(with, of_bytes));
    if wanted < 0.0 || wanted > MAX_TEXT_BYTES as f64 {
        return Ok(Value::Null);
    }
    let (wanted, has) = (wanted as usize, whole.chars().count());
    if has >= wanted {
        return Ok(of_characters(Cow::Borrowed(&whole[..start_of(&whole, wanted)]), of_bytes));
    }
    if with.is_empty() {
        return Ok(Value::Null);
    }
    let filling: String = with.chars().cycle().take(wanted - has).collect();
    let padded = match function {
        Function::PadLeft => filling + &whole,
        _ => whole.into_owned() + &filling,
    };
    Ok(of_characters(Cow::Owned(padded), of_bytes))
}

fn substring_index<'t>(whole: &'t str, part: &str, wanted: i64) -> &'t str {
    if part.is_empty() || wanted == 0 {
        return "";
    }
    let skipped = usize::try_from(wanted.unsigned_abs() - 1).unwrap_or(usize::MAX);
    if wanted > 0 {
        return whole.match_indices(part).nth(skipped).map_or(whole, |(at, _)| &whole[..at]);
    }
    // Occurrences are counted from the left also where they overlap.
    let before = whole.matches(part).count().checked_sub(skipped.saturating_add(1));
    let found = before.and_then(|before| whole.match_indices(part).nth(before));
    found.map_or(whole, |(at, _)| &whole[at + part.len()..])
}

/// With a new line after 76 characters each.
fn to_base64(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let mut output = String::with_capacity(encoded.len() + encoded.len() / BASE64_LINE);
    for (index, character) in encoded.chars().enumerate() {
        if index > 0 && index.is_multiple_of(BASE64_LINE) {
            output.push('\n');
        }
        output.push(character);
    }
    output
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let content: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(content).ok()
}

/// Calls `with` with a compiled regular expression. The last one of a thread is kept: it is that of all rows of a statement.
///
/// `length` is that of the text that is matched. Matching takes time in proportion to it and to the size of the expression, so that a long text
/// may only be matched with a small one.
fn with_regex<T>(
    pattern: &str,
    flags: &str,
    length: usize,
    with: impl FnOnce(&Regex) -> Result<T>,
) -> Result<T> {
    thread_local! {
        static LAST: RefCell<Option<(String, Regex)>> = const { RefCell::new(None) };
    }
    if pattern.is_empty() {
        return Err(SqlError {
            code: 3_685,
            state: "HY000",
            message: "Illegal argument to a regular expression.".to_owned(),
        });
    }
    if pattern.len() > MAX_PATTERN_BYTES || flags.len() > MAX_PATTERN_BYTES {
        return not_supported("regular expressions of more than 64 KiB");
    }
    let mut whole = String::new();
    for flag in flags.chars() {
        match flag {
            // The last one of both counts.
            'c' => whole.push_str("(?-i)"),
            'i' => whole.push_str("(?i)"),
            'm' => whole.push_str("(?m)"),
            'n' => whole.push_str("(?s)"),
            _ => return Err(SqlError::wrong_arguments("Incorrect arguments to regexp_like")),
        }
    }
    whole.push_str(pattern);
    if length > LONG_TEXT_BYTES {
        let most = MAX_REGEX_BYTES.saturating_mul(LONG_TEXT_BYTES) / length;
        let built = regex::RegexBuilder::new(&whole).size_limit(most.max(MIN_REGEX_BYTES)).build();
        match built {
            Err(regex::Error::CompiledTooBig(_)) => return Err(timeout()),
            Err(_) => {}
            Ok(regex) => return with(&regex),
        }
    }
    LAST.with(|last| {
        let mut last = last.borrow_mut();
        if !matches!(&*last, Some((known, _)) if *known == whole) {
            let built = regex::RegexBuilder::new(&whole).size_limit(MAX_REGEX_BYTES).build();
            let regex = built.map_err(|error| {
                let shown: String = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
                SqlError {
                    code: 3_692,
                    state: "HY000",
                    message: format!("Incorrect description of a regular expression: {shown}"),
                }
            })?;
            *last = Some((whole, regex));
        }
        match &*last {
            Some((_, regex)) => with(regex),
            None => Err(SqlError::other("no regular expression")),
        }
    })
}

fn timeout() -> SqlError {
    let message = "Timeout exceeded in regular expression match.".to_owned();
    SqlError { code: 3_699, state: "HY000", message }
}

/// All matches replaced; `$1` is the first group, `\` makes the next character itself.
fn replaced(regex: &Regex, whole: &str, with: &str) -> Result<Value> {
    let begin = Instant::now();
    let mut output = String::new();
    let mut end = 0;
    for found in regex.captures_iter(whole) {
        if begin.elapsed() > MAX_MATCHING {
            return Err(timeout());
        }
        let Some(all) = found.get(0) else { continue };
        push(&mut output, &whole[end..all.start()])?;
        end = all.end();
        let mut rest = with;
        while let Some(at) = rest.find(['\\', '$']) {
            push(&mut output, &rest[..at])?;
            let (sign, behind) = rest[at..].split_at(1);
            let next = behind.chars().next();
            rest = &behind[next.map_or(0, char::len_utf8)..];
            match next {
                Some(digit) if sign == "$" => match digit.to_digit(10) {
                    Some(group) => {
                        push(&mut output, found.get(group as usize).map_or("", |group| group.as_str()))?;
                    }
                    None => {
                        output.push('$');
                        rest = behind;
                    }
                },
                Some(next) => output.push(next),
                None if sign == "$" => output.push('$'),
                None => {}
            }
        }
        push(&mut output, rest)?;
    }
    push(&mut output, &whole[end..])?;
    Ok(Value::Text(output))
}

/// Appends to a text, up to the greatest length of a result.
fn push(output: &mut String, more: &str) -> Result<()> {
    if output.len() + more.len() > MAX_TEXT_BYTES {
        return Err(too_long());
    }
    output.push_str(more);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_as_people_write_them_are_small_enough() {
        for (pattern, text) in [
            (r"^[\w.+-]+@[\w-]+\.[\w.-]+$", "ann.lee+news@example.org"),
            (r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}$", "2024-01-02 03:04:05"),
            (r"^\p{L}+(\s+\p{L}+){1,5}$", "Ann Marie Lee"),
            (r"(?i)\b(error|warning|failed)\b.*\b(node|gateway)\s*\d+", "Error on node 3"),
            (r"^([0-9a-f]{8})-([0-9a-f]{4}-){3}[0-9a-f]{12}$", "01234567-89ab-cdef-0123-456789abcdef"),
        ] {
            let values = [Value::Text(text.to_owned()), Value::Text(pattern.to_owned())];
            let found = call(Function::Matches, &values, false).expect(pattern);
            assert_eq!(found, Some(Value::Int(1)), "{pattern}");
        }
    }

    #[test]
    fn occurrences_are_counted_from_the_left() {
        for (whole, part, wanted, expected) in [
            ("aaa", "aa", -1, "a"),
            ("aaaaa", "aa", -2, "aaa"),
            ("aaaaa", "aa", -3, "aaaaa"),
            ("a,b,c", ",", -2, "b,c"),
            ("a,b,c", ",", 2, "a,b"),
            ("a,b,c", ",", i64::MIN, "a,b,c"),
        ] {
            assert_eq!(substring_index(whole, part, wanted), expected, "{whole} {wanted}");
        }
    }

    #[test]
    fn matches_are_replaced() {
        let replace = |whole: &str, pattern: &str, with: &str| {
            let values = [whole, pattern, with].map(|part| Value::Text(part.to_owned()));
            call(Function::RegexReplace, &values, false).map(|value| text(&value.unwrap_or_default()))
        };
        for (whole, pattern, with, expected) in [
            ("a1b2", "([a-z])([0-9])", "$2$1", "1a2b"),
            ("abc", "b", "\\$1", "a$1c"),
            ("abc", "b", "$x$", "a$x$c"),
            ("abc", "b", "é\\", "aéc"),
            ("abc", "(b)", "[$1$7]", "a[b]c"),
        ] {
            assert_eq!(replace(whole, pattern, with).expect("replaced"), expected, "{whole} {with}");
        }
        assert_eq!(replace("abc", "", "x").expect_err("no pattern").code, 3_685);
        assert_eq!(
            replace("abc", &"a".repeat(MAX_PATTERN_BYTES + 1), "x").expect_err("too long").code,
            1_235
        );
        // Each match looks at all of the rest.
        let begin = Instant::now();
        assert_eq!(replace(&"a".repeat(1 << 20), "a[^b]*b|a", "x").expect_err("too slow").code, 3_699);
        assert!(begin.elapsed() < 10 * MAX_MATCHING, "{:?}", begin.elapsed());
    }

    #[test]
    fn the_last_flag_of_case_counts() {
        let matches = |flags: &str| {
            let values = ["A", "a", flags].map(|part| Value::Text(part.to_owned()));
            call(Function::Matches, &values, false).expect("no error")
        };
        for (flags, expected) in [("", 0), ("c", 0), ("i", 1), ("ic", 0), ("ci", 1), ("icn", 0), ("cim", 1)] {
            assert_eq!(matches(flags), Some(Value::Int(expected)), "{flags}");
        }
    }

    #[test]
    fn digits_are_bytes() {
        let unhex = |digits: &str| call(Function::Unhex, &[Value::Text(digits.to_owned())], false);
        assert_eq!(unhex("F41").expect("bytes"), Some(Value::Bytes(vec![0x0F, 0x41])));
        assert_eq!(unhex("+1").expect("no bytes"), Some(Value::Null));
        assert_eq!(unhex("").expect("no bytes"), Some(Value::Bytes(Vec::new())));
        let uuid = |digits: &str| call(Function::UuidToBytes, &[Value::Text(digits.to_owned())], false);
        assert!(uuid("01234567-89ab-cdef-0123-456789abcdef").is_ok());
        assert_eq!(uuid("+1234567-89ab-cdef-0123-456789abcdef").expect_err("a sign").code, 1_411);
    }
}
