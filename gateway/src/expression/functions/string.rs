//! Functions of text.

use super::{Function, MAX_TEXT_BYTES, bounded, hex, int};
use crate::error::{Result, SqlError};
use crate::value::format::{text, write};
use crate::value::number::to_double;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use duet_client::Value;
use md5::Md5;
use regex::Regex;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use std::cell::RefCell;

/// Most bytes of a compiled regular expression.
const MAX_REGEX_BYTES: usize = 1 << 20;
/// Characters of a line of `TO_BASE64`.
const BASE64_LINE: usize = 76;

fn bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(value, &mut bytes);
    bytes
}

fn lower_hex(bytes: &[u8]) -> Value {
    Value::Text(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A place from 1 as an index; `None` outside.
fn index(value: &Value, length: usize) -> Option<usize> {
    let place = to_double(value).unwrap_or(0.0).round_ties_even();
    (place >= 1.0 && place <= length as f64).then(|| place as usize - 1)
}

/// Calls a function of text whose arguments are not NULL; `None` where it is none of them.
pub(super) fn call(function: Function, values: &[Value]) -> Result<Option<Value>> {
    Ok(Some(match function {
        Function::PadLeft | Function::PadRight => pad(function, values)?,
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
            let digits = text(&values[0]);
            let digits = if digits.len().is_multiple_of(2) { digits } else { format!("0{digits}") };
            let nibbles: Option<Vec<u32>> = digits.chars().map(|digit| digit.to_digit(16)).collect();
            nibbles.map_or(Value::Null, |nibbles| {
                Value::Bytes(nibbles.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
            })
        }
        Function::ToBase64 => bounded(to_base64(&bytes(&values[0])))?,
        Function::FromBase64 => from_base64(&text(&values[0])).map_or(Value::Null, Value::Bytes),
        Function::Field => {
            let wanted = &values[0];
            let found = values[1..].iter().position(|value| {
                *value != Value::Null
                    && crate::value::compare::order(wanted, value) == std::cmp::Ordering::Equal
            });
            found.map_or(Value::Int(0), |found| int(found + 1))
        }
        Function::Element => match index(&values[0], values.len() - 1) {
            Some(at) if values[at + 1] != Value::Null => Value::Text(text(&values[at + 1])),
            _ => Value::Null,
        },
        Function::FindInSet => {
            let (wanted, list) = (text(&values[0]), text(&values[1]));
            if list.is_empty() {
                return Ok(Some(Value::Int(0)));
            }
            list.split(',').position(|part| part == wanted).map_or(Value::Int(0), |at| int(at + 1))
        }
        Function::SubstringIndex => {
            let (whole, part) = (text(&values[0]), text(&values[1]));
            let wanted = to_double(&values[2]).unwrap_or(0.0).round_ties_even();
            Value::Text(substring_index(&whole, &part, wanted as i64).to_owned())
        }
        Function::Insert => {
            let whole: Vec<char> = text(&values[0]).chars().collect();
            let Some(start) = index(&values[1], whole.len()) else {
                return Ok(Some(Value::Text(whole.into_iter().collect())));
            };
            let length = to_double(&values[2]).unwrap_or(0.0).round_ties_even();
            let rest = whole.len() - start;
            let length = if (0.0..rest as f64).contains(&length) { length as usize } else { rest };
            let mut output: String = whole[..start].iter().collect();
            output.push_str(&text(&values[3]));
            output.extend(&whole[start + length..]);
            bounded(output)?
        }
        Function::CompareText => Value::Int(text(&values[0]).cmp(&text(&values[1])) as i64),
        Function::Quote => {
            let mut output = String::from("'");
            for character in text(&values[0]).chars() {
                match character {
                    '\'' | '\\' => output.extend(['\\', character]),
                    '\0' => output.push_str("\\0"),
                    '\u{1a}' => output.push_str("\\Z"),
                    other => output.push(other),
                }
            }
            output.push('\'');
            bounded(output)?
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
            match to_double(&values[1]).unwrap_or(-1.0) as i64 {
                0 | 256 => lower_hex(&Sha256::digest(content)),
                224 => lower_hex(&Sha224::digest(content)),
                384 => lower_hex(&Sha384::digest(content)),
                512 => lower_hex(&Sha512::digest(content)),
                _ => Value::Null,
            }
        }
        Function::TrimBoth | Function::TrimStart | Function::TrimEnd => {
            let (whole, part) = (text(&values[0]), text(&values[1]));
            let mut rest = whole.as_str();
            while function != Function::TrimEnd && !part.is_empty() {
                let Some(shorter) = rest.strip_prefix(part.as_str()) else { break };
                rest = shorter;
            }
            while function != Function::TrimStart && !part.is_empty() {
                let Some(shorter) = rest.strip_suffix(part.as_str()) else { break };
                rest = shorter;
            }
            Value::Text(rest.to_owned())
        }
        Function::Matches => {
            let flags = values.get(2).map(text).unwrap_or_default();
            with_regex(&text(&values[1]), &flags, |regex| {
                Ok(Value::Int(i64::from(regex.is_match(&text(&values[0])))))
            })?
        }
        Function::RegexReplace => {
            let (whole, with) = (text(&values[0]), text(&values[2]));
            with_regex(&text(&values[1]), "", |regex| replaced(regex, &whole, &with))?
        }
        Function::RegexSubstring => {
            let whole = text(&values[0]);
            with_regex(&text(&values[1]), "", |regex| {
                let found = regex.find(&whole);
                Ok(found.map_or(Value::Null, |found| Value::Text(found.as_str().to_owned())))
            })?
        }
        Function::RegexPlace => {
            let whole = text(&values[0]);
            with_regex(&text(&values[1]), "", |regex| {
                let found = regex.find(&whole);
                Ok(found.map_or(Value::Int(0), |found| int(whole[..found.start()].chars().count() + 1)))
            })?
        }
        Function::UuidToBytes => {
            let digits = text(&values[0]).replace('-', "");
            match (digits.len(), u128::from_str_radix(&digits, 16)) {
                (32, Ok(number)) => {
                    Value::Bytes((0..16).rev().map(|byte| (number >> (8 * byte)) as u8).collect())
                }
                _ => {
                    return Err(SqlError {
                        code: 1_411,
                        state: "HY000",
                        message: format!(
                            "Incorrect string value: '{}' for function uuid_to_bin",
                            text(&values[0])
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

fn pad(function: Function, values: &[Value]) -> Result<Value> {
    let wanted = to_double(&values[1]).unwrap_or(0.0).round_ties_even();
    let (mut whole, with) = (text(&values[0]), values.get(2).map_or_else(|| " ".to_owned(), text));
    if wanted < 0.0 || wanted > MAX_TEXT_BYTES as f64 {
        return Ok(Value::Null);
    }
    let (wanted, has) = (wanted as usize, whole.chars().count());
    if has >= wanted {
        return Ok(Value::Text(whole.chars().take(wanted).collect()));
    }
    let filling: String = with.chars().cycle().take(wanted - has).collect();
    match function {
        Function::PadLeft => whole.insert_str(0, &filling),
        _ => whole.push_str(&filling),
    }
    bounded(whole)
}

fn substring_index<'t>(whole: &'t str, part: &str, wanted: i64) -> &'t str {
    if part.is_empty() || wanted == 0 {
        return "";
    }
    let skipped = usize::try_from(wanted.unsigned_abs() - 1).unwrap_or(usize::MAX);
    match wanted > 0 {
        true => whole.match_indices(part).nth(skipped).map_or(whole, |(at, _)| &whole[..at]),
        false => whole.rmatch_indices(part).nth(skipped).map_or(whole, |(at, _)| &whole[at + part.len()..]),
    }
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
fn with_regex<T>(pattern: &str, flags: &str, with: impl FnOnce(&Regex) -> Result<T>) -> Result<T> {
    thread_local! {
        static LAST: RefCell<Option<(String, Regex)>> = const { RefCell::new(None) };
    }
    let mut whole = String::new();
    for flag in flags.chars() {
        match flag {
            'c' => {}
            'i' => whole.push_str("(?i)"),
            'm' => whole.push_str("(?m)"),
            'n' => whole.push_str("(?s)"),
            _ => return Err(SqlError::wrong_arguments("Incorrect arguments to regexp_like")),
        }
    }
    whole.push_str(pattern);
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

/// All matches replaced; `$1` is the first group, `\` makes the next character itself.
fn replaced(regex: &Regex, whole: &str, with: &str) -> Result<Value> {
    let mut output = String::new();
    let mut end = 0;
    for found in regex.captures_iter(whole) {
        let Some(all) = found.get(0) else { continue };
        output.push_str(&whole[end..all.start()]);
        end = all.end();
        let mut characters = with.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' => output.extend(characters.next()),
                '$' => match characters.peek().and_then(|digit| digit.to_digit(10)) {
                    Some(group) => {
                        characters.next();
                        output.push_str(found.get(group as usize).map_or("", |group| group.as_str()));
                    }
                    None => output.push('$'),
                },
                other => output.push(other),
            }
        }
        if output.len() > MAX_TEXT_BYTES {
            break;
        }
    }
    output.push_str(&whole[end..]);
    bounded(output)
}
