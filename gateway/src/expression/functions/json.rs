//! Functions of JSON documents. They print documents as MySQL does: keys by length and then by bytes, `", "` and `": "` between parts.

use super::{Function, bounded, int};
use crate::error::{Result, SqlError, not_supported};
use crate::value::format::text;
use duet_client::Value;
use serde_json::Value as Document;
use std::fmt::Write;

/// A step of a path.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// `.key`
    Key(String),
    /// `[index]`, or from the end `[last - index]`.
    Index { at: usize, from_end: bool },
    /// `.*`
    AnyKey,
    /// `[*]`
    AnyIndex,
    /// `**`: this place and all below it.
    Below,
}

fn wrong_path(path: &str) -> SqlError {
    SqlError { code: 3_143, state: "42000", message: format!("Invalid JSON path expression '{path}'") }
}

/// The steps of `$.a."b c"[0][*].*`.
fn steps(path: &str) -> Result<Vec<Step>> {
    let wrong = || wrong_path(path);
    let mut rest = path.trim().strip_prefix('$').ok_or_else(wrong)?;
    let mut steps = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        if let Some(behind) = rest.strip_prefix("**") {
            steps.push(Step::Below);
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('.') {
            let behind = behind.trim_start();
            if let Some(behind) = behind.strip_prefix('*') {
                steps.push(Step::AnyKey);
                rest = behind;
            } else if behind.starts_with('"') {
                let mut documents = serde_json::Deserializer::from_str(behind).into_iter::<String>();
                let key = documents.next().and_then(std::result::Result::ok).ok_or_else(wrong)?;
                rest = behind.get(documents.byte_offset()..).ok_or_else(wrong)?;
                steps.push(Step::Key(key));
            } else {
                let is_name =
                    |character: &char| character.is_alphanumeric() || matches!(character, '_' | '$');
                let key: String = behind.chars().take_while(is_name).collect();
                if key.is_empty() || key.starts_with(|first: char| first.is_ascii_digit()) {
                    return Err(wrong());
                }
                rest = &behind[key.len()..];
                steps.push(Step::Key(key));
            }
        } else if let Some(behind) = rest.strip_prefix('[') {
            let (inner, behind) = behind.split_once(']').ok_or_else(wrong)?;
            let inner = inner.trim();
            steps.push(match inner.strip_prefix("last") {
                _ if inner == "*" => Step::AnyIndex,
                Some("") => Step::Index { at: 0, from_end: true },
                Some(offset) => {
                    let offset = offset.trim_start().strip_prefix('-').ok_or_else(wrong)?;
                    Step::Index { at: offset.trim().parse().map_err(|_| wrong())?, from_end: true }
                }
                None => Step::Index { at: inner.parse().map_err(|_| wrong())?, from_end: false },
            });
            rest = behind;
        } else {
            return Err(wrong());
        }
    }
    if steps.last() == Some(&Step::Below) {
        return Err(wrong());
    }
    // Each one goes through all that is below every place of the one before.
    if steps.iter().filter(|step| **step == Step::Below).count() > 2 {
        return not_supported("more than two ** in a path");
    }
    Ok(steps)
}

/// The places of a document that steps lead to.
fn found<'d>(document: &'d Document, steps: &[Step], all: &mut Vec<&'d Document>) {
    let Some((step, rest)) = steps.split_first() else {
        all.push(document);
        return;
    };
    match (step, document) {
        (Step::Key(key), Document::Object(map)) => {
            map.get(key).into_iter().for_each(|inner| found(inner, rest, all));
        }
        (Step::AnyKey, Document::Object(map)) => {
            sorted(map).into_iter().for_each(|(_, inner)| found(inner, rest, all));
        }
        (Step::AnyIndex, Document::Array(list)) => list.iter().for_each(|inner| found(inner, rest, all)),
        (Step::Index { at, from_end }, Document::Array(list)) => {
            let at = if *from_end { list.len().checked_sub(at + 1) } else { Some(*at) };
            at.and_then(|at| list.get(at)).into_iter().for_each(|inner| found(inner, rest, all));
        }
        // A value that is no list is the only element of one.
        (Step::Index { at: 0, .. }, other) => found(other, rest, all),
        (Step::Below, inner) => {
            found(inner, rest, all);
            match inner {
                Document::Object(map) => {
                    sorted(map).into_iter().for_each(|(_, inner)| found(inner, steps, all));
                }
                Document::Array(list) => list.iter().for_each(|inner| found(inner, steps, all)),
                _ => {}
            }
        }
        _ => {}
    }
}

/// Keys with their values, short keys first.
fn sorted(map: &serde_json::Map<String, Document>) -> Vec<(&String, &Document)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|(a, _), (b, _)| (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes())));
    entries
}

fn print(document: &Document, output: &mut String) {
    // Writing into memory cannot fail.
    match document {
        Document::Array(list) => {
            output.push('[');
            for (index, inner) in list.iter().enumerate() {
                if index > 0 {
                    output.push_str(", ");
                }
                print(inner, output);
            }
            output.push(']');
        }
        Document::Object(map) => {
            output.push('{');
            for (index, (key, inner)) in sorted(map).into_iter().enumerate() {
                if index > 0 {
                    output.push_str(", ");
                }
                let _ = write!(output, "{}: ", Document::String(key.clone()));
                print(inner, output);
            }
            output.push('}');
        }
        other => {
            let _ = write!(output, "{other}");
        }
    }
}

fn printed(document: &Document) -> Result<Value> {
    let mut output = String::new();
    print(document, &mut output);
    match bounded(output)? {
        Value::Text(text) => Ok(Value::Json(text)),
        other => Ok(other),
    }
}

/// The document that a value of JSON is, or text that is one.
fn document(value: &Value, place: usize, function: &str) -> Result<Document> {
    serde_json::from_str(&text(value)).map_err(|error| SqlError {
        code: 3_141,
        state: "22032",
        message: format!("Invalid JSON text in argument {place} to function {function}: \"{error}\""),
    })
}

/// A value of SQL as a document; text is a string.
fn as_document(value: &Value) -> Result<Document> {
    Ok(match value {
        Value::Null => Document::Null,
        Value::Json(_) => document(value, 1, "json")?,
        Value::Int(number) => Document::from(*number),
        Value::UInt(number) => Document::from(*number),
        Value::Bool(truth) => Document::from(i64::from(*truth)),
        Value::Double(_) | Value::Float(_) | Value::Decimal { .. } => {
            serde_json::from_str(&text(value)).unwrap_or(Document::Null)
        }
        other => Document::String(text(other)),
    })
}

/// What a string of JSON says; of all others their text.
fn unquoted(value: &str) -> Result<Value> {
    let trimmed = value.trim();
    if !trimmed.starts_with('"') {
        return Ok(Value::Text(value.to_owned()));
    }
    match serde_json::from_str::<String>(trimmed) {
        Ok(content) => Ok(Value::Text(content)),
        Err(error) => Err(SqlError {
            code: 3_141,
            state: "22032",
            message: format!("Invalid JSON text in argument 1 to function json_unquote: \"{error}\""),
        }),
    }
}

fn extract(values: &[Value]) -> Result<Value> {
    let whole = document(&values[0], 1, "json_extract")?;
    let mut all = Vec::new();
    let mut several = values.len() > 2;
    for path in &values[1..] {
        let steps = steps(&text(path))?;
        several |= steps.iter().any(|step| matches!(step, Step::AnyKey | Step::AnyIndex | Step::Below));
        found(&whole, &steps, &mut all);
    }
    match (all.as_slice(), several) {
        ([], _) => Ok(Value::Null),
        ([only], false) => printed(only),
        (all, _) => printed(&Document::Array(all.iter().map(|inner| Document::clone(inner)).collect())),
    }
}

/// Whether a document has all of another one.
fn contains(whole: &Document, part: &Document) -> bool {
    match (whole, part) {
        (Document::Array(list), Document::Array(parts)) => {
            parts.iter().all(|part| list.iter().any(|inner| contains(inner, part)))
        }
        (Document::Array(list), part) => list.iter().any(|inner| contains(inner, part)),
        (Document::Object(map), Document::Object(parts)) => {
            parts.iter().all(|(key, part)| map.get(key).is_some_and(|inner| contains(inner, part)))
        }
        (Document::Number(a), Document::Number(b)) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

/// The place that a path leads to, or the whole without one.
fn at_path(whole: Document, path: Option<&Value>) -> Result<Option<Document>> {
    let Some(path) = path else { return Ok(Some(whole)) };
    let steps = steps(&text(path))?;
    let mut all = Vec::new();
    found(&whole, &steps, &mut all);
    Ok(all.first().map(|inner| Document::clone(inner)))
}

/// Calls a function of documents that takes NULL as one; `None` where it is none of these.
pub(super) fn call_with_nulls(function: Function, values: &[Value]) -> Result<Option<Value>> {
    Ok(Some(match function {
        Function::JsonArray => {
            let parts = values.iter().map(as_document).collect::<Result<Vec<_>>>()?;
            printed(&Document::Array(parts))?
        }
        Function::JsonObject => {
            let mut map = serde_json::Map::new();
            for pair in values.chunks(2) {
                let [key, value] = pair else {
                    return Err(crate::expression::compile::wrong_count("json_object"));
                };
                if *key == Value::Null {
                    return Err(SqlError {
                        code: 3_158,
                        state: "22032",
                        message: "JSON documents may not contain NULL member names.".to_owned(),
                    });
                }
                map.insert(text(key), as_document(value)?);
            }
            printed(&Document::Object(map))?
        }
        _ => return Ok(None),
    }))
}

/// Calls a function of documents whose arguments are not NULL; `None` where it is none of them.
pub(super) fn call(function: Function, values: &[Value]) -> Result<Option<Value>> {
    Ok(Some(match function {
        Function::JsonExtract => extract(values)?,
        Function::JsonExtractText => match extract(values)? {
            Value::Null => Value::Null,
            inner => unquoted(&text(&inner))?,
        },
        Function::JsonUnquote => unquoted(&text(&values[0]))?,
        Function::JsonQuote => Value::Text(Document::String(text(&values[0])).to_string()),
        Function::JsonValid => {
            let valid = match &values[0] {
                Value::Json(_) => true,
                Value::Text(text) => serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
                _ => false,
            };
            Value::Int(i64::from(valid))
        }
        Function::JsonLength => match at_path(document(&values[0], 1, "json_length")?, values.get(1))? {
            None => Value::Null,
            Some(Document::Array(list)) => int(list.len()),
            Some(Document::Object(map)) => int(map.len()),
            Some(_) => Value::Int(1),
        },
        Function::JsonType => Value::Text(
            match document(&values[0], 1, "json_type")? {
                Document::Null => "NULL",
                Document::Bool(_) => "BOOLEAN",
                Document::Number(number) if number.is_i64() => "INTEGER",
                Document::Number(number) if number.is_u64() => "UNSIGNED INTEGER",
                Document::Number(_) => "DOUBLE",
                Document::String(_) => "STRING",
                Document::Array(_) => "ARRAY",
                Document::Object(_) => "OBJECT",
            }
            .to_owned(),
        ),
        Function::JsonKeys => match at_path(document(&values[0], 1, "json_keys")?, values.get(1))? {
            Some(Document::Object(map)) => {
                let keys = sorted(&map).into_iter().map(|(key, _)| Document::String(key.clone()));
                printed(&Document::Array(keys.collect()))?
            }
            _ => Value::Null,
        },
        Function::JsonContains => {
            let part = document(&values[1], 2, "json_contains")?;
            match at_path(document(&values[0], 1, "json_contains")?, values.get(2))? {
                Some(whole) => Value::Int(i64::from(contains(&whole, &part))),
                None => Value::Null,
            }
        }
        Function::JsonContainsPath => {
            let whole = document(&values[0], 1, "json_contains_path")?;
            let wanted_all = match text(&values[1]).to_ascii_lowercase().as_str() {
                "one" => false,
                "all" => true,
                _ => {
                    return Err(SqlError {
                        code: 3_154,
                        state: "42000",
                        message: "The oneOrAll argument to json_contains_path may take these values: 'one' or 'all'."
                            .to_owned(),
                    });
                }
            };
            let mut count = 0;
            for path in &values[2..] {
                let mut all = Vec::new();
                found(&whole, &steps(&text(path))?, &mut all);
                count += usize::from(!all.is_empty());
            }
            let has = if wanted_all { count == values.len() - 2 } else { count > 0 };
            Value::Int(i64::from(has))
        }
        Function::JsonValue => match at_path(document(&values[0], 1, "json_value")?, values.get(1))? {
            None | Some(Document::Null | Document::Array(_) | Document::Object(_)) => Value::Null,
            Some(Document::String(content)) => Value::Text(content),
            Some(other) => Value::Text(other.to_string()),
        },
        Function::JsonPretty => {
            let whole = document(&values[0], 1, "json_pretty")?;
            bounded(serde_json::to_string_pretty(&whole).unwrap_or_default())?
        }
        Function::JsonSet | Function::JsonInsert | Function::JsonReplace | Function::JsonRemove => {
            changed(function, values)?
        }
        _ => return Ok(None),
    }))
}

/// `JSON_SET` and its kin, whose paths lead to one place each.
fn changed(function: Function, values: &[Value]) -> Result<Value> {
    let mut whole = document(&values[0], 1, "json_set")?;
    let pairs: Vec<(&Value, Option<&Value>)> = match function {
        Function::JsonRemove => values[1..].iter().map(|path| (path, None)).collect(),
        _ if values.len().is_multiple_of(2) => {
            return Err(crate::expression::compile::wrong_count("json_set"));
        }
        _ => values[1..].chunks(2).map(|pair| (&pair[0], pair.get(1))).collect(),
    };
    for (path, new) in pairs {
        let path = text(path);
        let steps = steps(&path)?;
        let plain = steps.iter().all(|step| matches!(step, Step::Key(_) | Step::Index { .. }));
        let Some((last, before)) = steps.split_last().filter(|_| plain) else {
            match (steps.is_empty(), new, function) {
                (true, Some(new), Function::JsonSet | Function::JsonReplace) => {
                    whole = as_document(new)?;
                    continue;
                }
                (true, Some(_), _) => continue,
                _ => return Err(wrong_path(&path)),
            }
        };
        let mut place = Some(&mut whole);
        for step in before {
            place = place.and_then(|place| inner_mut(place, step));
        }
        let Some(place) = place else { continue };
        let new = new.map(as_document).transpose()?;
        change_at(place, last, new, function);
    }
    printed(&whole)
}

/// The index of a list that a step means, which may be behind its end.
fn place_in(list: &[Document], at: usize, from_end: bool) -> Option<usize> {
    if from_end { list.len().checked_sub(at + 1) } else { Some(at) }
}

fn inner_mut<'d>(document: &'d mut Document, step: &Step) -> Option<&'d mut Document> {
    match (step, document) {
        (Step::Key(key), Document::Object(map)) => map.get_mut(key),
        (Step::Index { at, from_end }, Document::Array(list)) => {
            place_in(list, *at, *from_end).and_then(|at| list.get_mut(at))
        }
        (Step::Index { at: 0, .. }, other) => Some(other),
        _ => None,
    }
}

fn change_at(place: &mut Document, last: &Step, new: Option<Document>, function: Function) {
    let (inserts, replaces) = (function != Function::JsonReplace, function != Function::JsonInsert);
    match (last, place) {
        (Step::Key(key), Document::Object(map)) => match new {
            None => {
                map.remove(key);
            }
            Some(new) if if map.contains_key(key) { replaces } else { inserts } => {
                map.insert(key.clone(), new);
            }
            Some(_) => {}
        },
        (Step::Index { at, from_end }, Document::Array(list)) => {
            let Some(at) = place_in(list, *at, *from_end) else { return };
            match (new, list.get_mut(at)) {
                (None, Some(_)) => {
                    list.remove(at);
                }
                (Some(new), Some(old)) if replaces => *old = new,
                (Some(new), None) if inserts => list.push(new),
                _ => {}
            }
        }
        (Step::Index { at: 0, .. }, other) => {
            if let Some(new) = new.filter(|_| replaces) {
                *other = new;
            }
        }
        (Step::Index { .. }, other) => {
            if let Some(new) = new.filter(|_| inserts) {
                *other = Document::Array(vec![other.take(), new]);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_places() {
        let document = Value::Json(r#"{"a": [1, {"b": 2}], "c d": "x", "b": null}"#.to_owned());
        let at =
            |path: &str| text(&extract(&[document.clone(), Value::Text(path.to_owned())]).expect("a path"));
        assert_eq!(at("$.a[0]"), "1");
        assert_eq!(at("$.a[last].b"), "2");
        assert_eq!(at("$.\"c d\""), "\"x\"");
        assert_eq!(at("$.b"), "null");
        assert_eq!(at("$.z"), "");
        assert_eq!(at("$.a[*]"), "[1, {\"b\": 2}]");
        assert_eq!(at("$**.b"), "[null, 2]");
        assert_eq!(at("$"), r#"{"a": [1, {"b": 2}], "b": null, "c d": "x"}"#);
        for wrong in ["", "a", "$.", "$[", "$[x]", "$.1", "$**"] {
            assert!(extract(&[document.clone(), Value::Text(wrong.to_owned())]).is_err(), "{wrong}");
        }
    }
}
