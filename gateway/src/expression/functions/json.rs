//! Functions of JSON documents. They print documents as MySQL does: keys by length and then by bytes, `", "` and `": "` between parts.

use super::{Function, MAX_TEXT_BYTES, int, too_long};
use crate::error::{Result, SqlError, not_supported};
use crate::expression::losses::quoted;
use crate::value::format::text;
use duet_client::Value;
use rustc_hash::FxHashSet;
use serde_json::Value as Document;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::Write;

/// Most steps of a path.
const MAX_STEPS: usize = 100;
/// Most elements that a call looks at.
const MAX_LOOKS: usize = 1 << 24;
/// Most parts of the documents that a call reads, each of which takes about a hundred bytes.
const MAX_PARTS: usize = 1_000_000;
/// An object takes as much room as so many parts, also with a single key.
const PARTS_OF_OBJECT: usize = 8;
/// A list takes room for some elements, also with a single one.
const PARTS_OF_LIST: usize = 2;
/// How deeply documents nest at most that are made.
const MAX_DEPTH: usize = 100;

/// A place of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    at: usize,
    /// Whether it counts from the last one on: `last - 1`.
    from_end: bool,
}

impl Place {
    /// The index in a list of this length, which may be behind its end; `None` before its beginning.
    fn of(self, length: usize) -> Option<usize> {
        match self.from_end {
            true => self.at.checked_add(1).and_then(|behind| length.checked_sub(behind)),
            false => Some(self.at),
        }
    }
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// `.key`
    Key(String),
    /// `[place]`
    Index(Place),
    /// `[place to place]`
    Range(Place, Place),
    /// `.*`
    AnyKey,
    /// `[*]`
    AnyIndex,
    /// `**`: this place and all below it.
    Below,
}

fn wrong_path(path: &str) -> SqlError {
    SqlError {
        code: 3_143,
        state: "42000",
        message: format!("Invalid JSON path expression '{}'", quoted(path)),
    }
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
        if steps.len() == MAX_STEPS {
            return Err(wrong());
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
            steps.push(match (inner.trim(), inner.split_once(" to ")) {
                ("*", _) => Step::AnyIndex,
                (_, Some((from, to))) => {
                    let (from, to) = (place(from).ok_or_else(wrong)?, place(to).ok_or_else(wrong)?);
                    let backwards = if from.from_end { from.at < to.at } else { from.at > to.at };
                    if from.from_end == to.from_end && backwards {
                        return Err(wrong());
                    }
                    Step::Range(from, to)
                }
                (index, None) => Step::Index(place(index).ok_or_else(wrong)?),
            });
            rest = behind;
        } else {
            return Err(wrong());
        }
    }
    if steps.last() == Some(&Step::Below) {
        return Err(wrong());
    }
    Ok(steps)
}

/// `3`, `last`, `last - 3`.
fn place(text: &str) -> Option<Place> {
    let text = text.trim();
    let number = |digits: &str| digits.parse().ok().filter(|_| !digits.starts_with('+'));
    match text.strip_prefix("last").map(str::trim_start) {
        None => Some(Place { at: number(text)?, from_end: false }),
        Some("") => Some(Place { at: 0, from_end: true }),
        Some(offset) => Some(Place { at: number(offset.strip_prefix('-')?.trim_start())?, from_end: true }),
    }
}

/// Whether a step may lead to several places.
fn leads_to_several(step: &Step) -> bool {
    matches!(step, Step::AnyKey | Step::AnyIndex | Step::Range(..) | Step::Below)
}

/// Takes what is looked at from how much may be looked at.
fn spend(looks: &mut usize, size: usize) -> Result<()> {
    let Some(rest) = looks.checked_sub(size) else {
        return not_supported("paths to so many places of documents");
    };
    *looks = rest;
    Ok(())
}

/// The places of a document that steps lead to, each of them once. `looks` is how many more places may be looked at.
fn found<'d>(document: &'d Document, steps: &[Step], looks: &mut usize) -> Result<Vec<&'d Document>> {
    let mut places = vec![document];
    for (index, step) in steps.iter().enumerate() {
        let mut next = Vec::new();
        let mut seen = FxHashSet::default();
        for place in places {
            step_from(place, step, &mut next, &mut seen, looks)?;
        }
        if steps[..index].contains(&Step::Below) {
            seen.clear();
            next.retain(|place| seen.insert(std::ptr::from_ref::<Document>(place)));
        }
        places = next;
    }
    Ok(places)
}

/// The places that a step leads to from one; of `**` those that were not seen.
fn step_from<'d>(
    place: &'d Document,
    step: &Step,
    next: &mut Vec<&'d Document>,
    seen: &mut FxHashSet<*const Document>,
    looks: &mut usize,
) -> Result<()> {
    spend(looks, 1)?;
    match (step, place) {
        (Step::Key(key), Document::Object(map)) => next.extend(map.get(key)),
        (Step::AnyKey, Document::Object(map)) => {
            spend(looks, map.len())?;
            next.extend(sorted(map).into_iter().map(|(_, inner)| inner));
        }
        (Step::AnyIndex, Document::Array(list)) => {
            spend(looks, list.len())?;
            next.extend(list);
        }
        (Step::Index(at), Document::Array(list)) => {
            next.extend(at.of(list.len()).and_then(|at| list.get(at)));
        }
        (Step::Range(from, to), Document::Array(list)) => {
            let behind = to.of(list.len()).map_or(0, |to| to.saturating_add(1).min(list.len()));
            // A place before the beginning is the beginning.
            let from = from.of(list.len()).unwrap_or(0);
            let within = list.get(from..behind).unwrap_or_default();
            spend(looks, within.len())?;
            next.extend(within);
        }
        // A value that is no list is the only element of one.
        (Step::Index(at), other) => next.extend((at.of(1) == Some(0)).then_some(other)),
        (Step::Range(from, to), other) => {
            let is_within = from.of(1).unwrap_or(0) == 0 && to.of(1).is_some();
            next.extend(is_within.then_some(other));
        }
        // What is below it has been seen with it.
        (Step::Below, inner) if seen.insert(std::ptr::from_ref(inner)) => {
            next.push(inner);
            match inner {
                Document::Object(map) => {
                    for (_, inner) in sorted(map) {
                        step_from(inner, step, next, seen, looks)?;
                    }
                }
                Document::Array(list) => {
                    for inner in list {
                        step_from(inner, step, next, seen, looks)?;
                    }
                }
                _ => {}
            }
        }
        _ => {}
    }
    Ok(())
}

/// Keys with their values, short keys first.
fn sorted(map: &serde_json::Map<String, Document>) -> Vec<(&String, &Document)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|(a, _), (b, _)| (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes())));
    entries
}

/// Text that ends with an error where it gets too long.
#[derive(Default)]
struct Output(Vec<u8>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_TEXT_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Output {
    /// A string or a scalar.
    fn put(&mut self, scalar: &impl serde::Serialize) -> Result<()> {
        serde_json::to_writer(self, scalar).map_err(|_| too_long())
    }

    fn push(&mut self, text: &str) -> Result<()> {
        self.write_all(text.as_bytes()).map_err(|_| too_long())
    }

    /// What is before the part of a list or an object of this index: with `depth` on a line of its own.
    fn part(&mut self, index: usize, depth: Option<usize>) -> Result<()> {
        match depth {
            None if index == 0 => Ok(()),
            None => self.push(", "),
            Some(depth) => {
                self.push(if index == 0 { "\n" } else { ",\n" })?;
                (0..depth).try_for_each(|_| self.push("  "))
            }
        }
    }

    /// What is behind the last part.
    fn end(&mut self, parts: usize, depth: Option<usize>, sign: &str) -> Result<()> {
        if parts > 0
            && let Some(depth) = depth
        {
            self.push("\n")?;
            (0..depth).try_for_each(|_| self.push("  "))?;
        }
        self.push(sign)
    }

    /// A document, with a depth over several lines.
    fn print(&mut self, document: &Document, depth: Option<usize>) -> Result<()> {
        let below = depth.map(|depth| depth + 1);
        match document {
            Document::Array(list) => {
                self.push("[")?;
                for (index, inner) in list.iter().enumerate() {
                    self.part(index, below)?;
                    self.print(inner, below)?;
                }
                self.end(list.len(), depth, "]")
            }
            Document::Object(map) => {
                self.push("{")?;
                for (index, (key, inner)) in sorted(map).into_iter().enumerate() {
                    self.part(index, below)?;
                    self.put(key)?;
                    self.push(": ")?;
                    self.print(inner, below)?;
                }
                self.end(map.len(), depth, "}")
            }
            scalar => self.put(scalar),
        }
    }

    fn into_text(self) -> String {
        String::from_utf8(self.0).unwrap_or_default()
    }

    fn into_json(self) -> Value {
        Value::Json(self.into_text())
    }

    /// A document that was put together.
    ///
    /// # Errors
    /// 3157 where it nests too deeply.
    fn into_made(self) -> Result<Value> {
        let text = self.into_text();
        match extent(&text).1 <= MAX_DEPTH {
            true => Ok(Value::Json(text)),
            false => Err(SqlError {
                code: 3_157,
                state: "22032",
                message: "The JSON document exceeds the maximum depth.".to_owned(),
            }),
        }
    }
}

fn printed(document: &Document) -> Result<Value> {
    let mut output = Output::default();
    output.print(document, None)?;
    Ok(output.into_json())
}

/// Parts of a list that are printed by `put`.
fn printed_list<T>(
    parts: impl Iterator<Item = T>,
    put: impl Fn(&mut Output, T) -> Result<()>,
) -> Result<Value> {
    let mut output = Output::default();
    output.push("[")?;
    for (index, part) in parts.enumerate() {
        output.part(index, None)?;
        put(&mut output, part)?;
    }
    output.push("]")?;
    output.into_made()
}

/// A value of SQL as a document prints it: decimals with all of their digits.
fn print_value(output: &mut Output, value: &Value) -> Result<()> {
    match value {
        Value::Decimal { .. } => output.push(&text(value)),
        other => output.print(&as_document(other, &mut { MAX_PARTS })?, None),
    }
}

/// How many parts the document of a text has, and how deeply they nest.
fn extent(text: &str) -> (usize, usize) {
    let (mut parts, mut depth, mut deepest) = (1, 0_usize, 0);
    let mut within_string = false;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => within_string = !within_string,
            b'\\' if within_string => {
                bytes.next();
            }
            _ if within_string => {}
            b'{' | b'[' => {
                parts += if byte == b'{' { PARTS_OF_OBJECT } else { PARTS_OF_LIST };
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' | b':' => parts += 1,
            _ => {}
        }
    }
    (parts, deepest)
}

/// The document that a value of JSON is, or text that is one.
fn document(value: &Value, place: usize, function: &str) -> Result<Document> {
    document_within(value, place, function, &mut { MAX_PARTS })
}

/// The same, of which `left` is how many more parts may be read.
fn document_within(value: &Value, place: usize, function: &str, left: &mut usize) -> Result<Document> {
    let text = text(value);
    let Some(rest) = left.checked_sub(extent(&text).0) else {
        return Err(SqlError::out_of_memory(
            "Out of memory; the documents of a function have more than 1,000,000 parts",
        ));
    };
    *left = rest;
    serde_json::from_str(&text).map_err(|error| SqlError {
        code: 3_141,
        state: "22032",
        message: format!("Invalid JSON text in argument {place} to function {function}: \"{error}\""),
    })
}

/// A value of SQL as a document; text is a string. `left` is how many more parts may be read.
fn as_document(value: &Value, left: &mut usize) -> Result<Document> {
    Ok(match value {
        Value::Null => Document::Null,
        Value::Json(_) => document_within(value, 1, "json", left)?,
        Value::Int(number) => Document::from(*number),
        Value::UInt(number) => Document::from(*number),
        Value::Bool(truth) => Document::Bool(*truth),
        Value::Double(_) | Value::Float(_) | Value::Decimal { .. } => {
            serde_json::from_str(&text(value)).unwrap_or(Document::Null)
        }
        other => Document::String(text(other)),
    })
}

/// What a string of JSON says; of all others their text.
fn unquoted(value: &str) -> Result<Value> {
    if value.len() < 2 || !value.starts_with('"') || !value.ends_with('"') {
        return Ok(Value::Text(value.to_owned()));
    }
    match serde_json::from_str::<String>(value) {
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
    let mut looks = MAX_LOOKS;
    for path in &values[1..] {
        let steps = steps(&text(path))?;
        several |= steps.iter().any(leads_to_several);
        all.extend(found(&whole, &steps, &mut looks)?);
        // Each is a sign at least, with two behind it.
        if all.len() > MAX_TEXT_BYTES / 3 {
            return Err(too_long());
        }
    }
    match (all.as_slice(), several) {
        ([], _) => Ok(Value::Null),
        ([only], false) => printed(only),
        (all, _) => printed_list(all.iter(), |output, inner| output.print(inner, None)),
    }
}

/// How scalars are searched: by kind, numbers as doubles.
fn order(a: &Document, b: &Document) -> Ordering {
    let kind = |document: &Document| match document {
        Document::Null => 0,
        Document::Bool(_) => 1,
        Document::Number(_) => 2,
        Document::String(_) => 3,
        Document::Array(_) | Document::Object(_) => 4,
    };
    match (a, b) {
        (Document::Bool(a), Document::Bool(b)) => a.cmp(b),
        (Document::Number(a), Document::Number(b)) => {
            // Zero has one form.
            let [a, b] = [a, b].map(|number| number.as_f64().unwrap_or(f64::MAX) + 0.0);
            a.total_cmp(&b)
        }
        (Document::String(a), Document::String(b)) => a.cmp(b),
        (a, b) => kind(a).cmp(&kind(b)),
    }
}

/// Whether a document has all of another one. `looks` is how many more elements may be looked at.
fn contains(whole: &Document, part: &Document, looks: &mut usize) -> Result<bool> {
    let size = if let Document::Array(list) = whole { list.len() + 1 } else { 1 };
    let Some(rest) = looks.checked_sub(size) else {
        return not_supported("JSON_CONTAINS of so many lists within lists");
    };
    *looks = rest;
    match (whole, part) {
        (Document::Array(list), part) => {
            let is_inner = |document: &&Document| document.is_array() || document.is_object();
            let (inner, mut scalars): (Vec<&Document>, Vec<&Document>) = list.iter().partition(is_inner);
            let parts = if let Document::Array(parts) = part { parts } else { std::slice::from_ref(part) };
            scalars.sort_unstable_by(|a, b| order(a, b));
            for part in parts {
                if !is_inner(&part) && scalars.binary_search_by(|scalar| order(scalar, part)).is_ok() {
                    continue;
                }
                let mut has = false;
                for inner in &inner {
                    has = contains(inner, part, looks)?;
                    if has {
                        break;
                    }
                }
                if !has {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Document::Object(map), Document::Object(parts)) => {
            for (key, part) in parts {
                match map.get(key) {
                    Some(inner) if contains(inner, part, looks)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        (Document::Object(_), _) | (_, Document::Array(_) | Document::Object(_)) => Ok(false),
        (a, b) => Ok(order(a, b) == Ordering::Equal),
    }
}

/// The place that a path leads to, or the whole without one.
fn at_path<'d>(whole: &'d Document, path: Option<&Value>) -> Result<Option<&'d Document>> {
    match path {
        None => Ok(Some(whole)),
        Some(path) => Ok(found(whole, &steps(&text(path))?, &mut { MAX_LOOKS })?.first().copied()),
    }
}

/// Calls a function of documents that takes NULL as one; `None` where it is none of these.
pub(super) fn call_with_nulls(function: Function, values: &[Value]) -> Result<Option<Value>> {
    Ok(Some(match function {
        Function::JsonArray => printed_list(values.iter(), print_value)?,
        Function::JsonObject => {
            // Keys in the order of documents; the last value of one counts.
            let mut map = BTreeMap::new();
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
                let key = text(key);
                map.insert((key.len(), key), value);
            }
            let mut output = Output::default();
            output.push("{")?;
            for (index, ((_, key), value)) in map.iter().enumerate() {
                output.part(index, None)?;
                output.put(key)?;
                output.push(": ")?;
                print_value(&mut output, value)?;
            }
            output.push("}")?;
            output.into_made()?
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
        Function::JsonQuote => {
            let mut output = Output::default();
            output.put(&text(&values[0]))?;
            Value::Text(output.into_text())
        }
        Function::JsonValid => {
            let valid = match &values[0] {
                Value::Json(_) => true,
                Value::Text(text) => serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
                _ => false,
            };
            Value::Int(i64::from(valid))
        }
        Function::JsonLength => match at_path(&document(&values[0], 1, "json_length")?, values.get(1))? {
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
        Function::JsonKeys => match at_path(&document(&values[0], 1, "json_keys")?, values.get(1))? {
            Some(Document::Object(map)) => {
                printed_list(sorted(map).into_iter(), |output, (key, _)| output.put(key))?
            }
            _ => Value::Null,
        },
        Function::JsonContains => {
            let part = document(&values[1], 2, "json_contains")?;
            match at_path(&document(&values[0], 1, "json_contains")?, values.get(2))? {
                Some(whole) => Value::Int(i64::from(contains(whole, &part, &mut { MAX_LOOKS })?)),
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
            let (mut count, mut looks) = (0, MAX_LOOKS);
            for path in &values[2..] {
                let places = found(&whole, &steps(&text(path))?, &mut looks)?;
                count += usize::from(!places.is_empty());
            }
            let has = if wanted_all { count == values.len() - 2 } else { count > 0 };
            Value::Int(i64::from(has))
        }
        Function::JsonValue => match at_path(&document(&values[0], 1, "json_value")?, values.get(1))? {
            None | Some(Document::Null | Document::Array(_) | Document::Object(_)) => Value::Null,
            Some(Document::String(content)) => Value::Text(content.clone()),
            Some(other) => Value::Text(other.to_string()),
        },
        Function::JsonPretty => {
            let whole = document(&values[0], 1, "json_pretty")?;
            let mut output = Output::default();
            output.print(&whole, Some(0))?;
            Value::Text(output.into_text())
        }
        Function::JsonSet | Function::JsonInsert | Function::JsonReplace | Function::JsonRemove => {
            changed(function, values)?
        }
        _ => return Ok(None),
    }))
}

/// `JSON_SET` and its kin, whose paths lead to one place each.
fn changed(function: Function, values: &[Value]) -> Result<Value> {
    let mut left = MAX_PARTS;
    let mut whole = document_within(&values[0], 1, "json_set", &mut left)?;
    let pairs: Vec<(&Value, Option<&Value>)> = match function {
        Function::JsonRemove => values[1..].iter().map(|path| (path, None)).collect(),
        _ if values.len().is_multiple_of(2) => {
            return Err(crate::expression::compile::wrong_count("json_set"));
        }
        _ => values[1..].chunks(2).map(|pair| (&pair[0], pair.get(1))).collect(),
    };
    if pairs.iter().any(|(path, _)| **path == Value::Null) {
        return Ok(Value::Null);
    }
    for (path, new) in pairs {
        let path = text(path);
        let steps = steps(&path)?;
        if steps.iter().any(leads_to_several) {
            return Err(SqlError {
                code: 3_149,
                state: "42000",
                message: "In this situation, path expressions may not contain the * and ** tokens or an array range."
                    .to_owned(),
            });
        }
        let Some((last, before)) = steps.split_last() else {
            match (new, function) {
                (Some(new), Function::JsonSet | Function::JsonReplace) => {
                    whole = as_document(new, &mut left)?;
                }
                (Some(_), _) => {}
                (None, _) => {
                    return Err(SqlError {
                        code: 3_153,
                        state: "42000",
                        message: "The path expression '$' is not allowed in this context.".to_owned(),
                    });
                }
            }
            continue;
        };
        let mut place = Some(&mut whole);
        for step in before {
            place = place.and_then(|place| inner_mut(place, step));
        }
        let Some(place) = place else { continue };
        let new = new.map(|new| as_document(new, &mut left)).transpose()?;
        change_at(place, last, new, function);
    }
    let mut output = Output::default();
    output.print(&whole, None)?;
    output.into_made()
}

fn inner_mut<'d>(document: &'d mut Document, step: &Step) -> Option<&'d mut Document> {
    match (step, document) {
        (Step::Key(key), Document::Object(map)) => map.get_mut(key),
        (Step::Index(at), Document::Array(list)) => at.of(list.len()).and_then(|at| list.get_mut(at)),
        (Step::Index(at), other) => Some(other).filter(|_| at.of(1) == Some(0)),
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
        (Step::Index(at), Document::Array(list)) => {
            let Some(at) = at.of(list.len()) else { return };
            match (new, list.get_mut(at)) {
                (None, Some(_)) => {
                    list.remove(at);
                }
                (Some(new), Some(old)) if replaces => *old = new,
                (Some(new), None) if inserts => list.push(new),
                _ => {}
            }
        }
        (Step::Index(at), other) if at.of(1) == Some(0) => {
            if let Some(new) = new.filter(|_| replaces) {
                *other = new;
            }
        }
        (Step::Index(_), other) => {
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
        assert_eq!(at("$.a[0 to 1]"), "[1, {\"b\": 2}]");
        assert_eq!(at("$.a[last to last]"), "[{\"b\": 2}]");
        assert_eq!(at("$.a[last-7 to 0]"), "[1]");
        assert_eq!(at("$.b[0 to 3]"), "[null]");
        assert_eq!(at("$.a[last-18446744073709551615]"), "");
        for wrong in
            ["", "a", "$.", "$[", "$[x]", "$.1", "$**", "$[1 to 0]", "$[+1]", "$[last+1]", "$[0 to ]"]
        {
            assert!(extract(&[document.clone(), written(wrong)]).is_err(), "{wrong}");
        }
        let deep = "[0]".repeat(MAX_STEPS + 1);
        assert_eq!(extract(&[document.clone(), written(&format!("${deep}"))]).expect_err("deep").code, 3_143);
    }

    fn written(content: &str) -> Value {
        Value::Text(content.to_owned())
    }

    fn called(function: Function, arguments: &[&str]) -> Result<String> {
        let values: Vec<Value> = arguments.iter().map(|argument| written(argument)).collect();
        call(function, &values).map(|value| text(&value.unwrap_or_default()))
    }

    #[test]
    fn places_below_are_found_once() {
        let nested = r#"{"a": {"a": {"b": 1}}, "c": [[5]]}"#;
        assert_eq!(called(Function::JsonExtract, &[nested, "$**.a**.b"]).expect("a path"), "[1]");
        assert_eq!(called(Function::JsonExtract, &[nested, "$.c**[0]"]).expect("a path"), "[[5], 5]");
        let lists = format!("{}{}", "[".repeat(100), "]".repeat(100));
        let path = format!("${}[0]", "**[0]".repeat(20));
        called(Function::JsonExtract, &[&lists, &path]).expect("soon");
    }

    #[test]
    fn documents_are_changed_where_paths_lead() {
        for (function, arguments, expected) in [
            (Function::JsonSet, vec!["[1]", "$[last-18446744073709551615]", "2"], "[1]"),
            (Function::JsonSet, vec!["[1]", "$[18446744073709551615]", "2"], "[1, \"2\"]"),
            (Function::JsonRemove, vec!["[1, 2]", "$[last-1]"], "[2]"),
            (Function::JsonUnquote, vec!["\"abc"], "\"abc"),
            (Function::JsonUnquote, vec!["\""], "\""),
            (Function::JsonUnquote, vec![" \"a\""], " \"a\""),
            (Function::JsonUnquote, vec!["\"a\\tb\""], "a\tb"),
            (
                Function::JsonPretty,
                vec![r#"{"bb": [1, {}], "a": []}"#],
                "{\n  \"a\": [],\n  \"bb\": [\n    1,\n    {}\n  ]\n}",
            ),
            (Function::JsonKeys, vec![r#"{"bb": 1, "a": 2}"#], r#"["a", "bb"]"#),
        ] {
            assert_eq!(called(function, &arguments).expect("no error"), expected, "{arguments:?}");
        }
        for (function, arguments, code) in [
            (Function::JsonRemove, ["{\"a\": 1}", "$"].as_slice(), 3_153),
            (Function::JsonRemove, &["{\"a\": 1}", "$.*"], 3_149),
            (Function::JsonSet, &["[1]", "$[0 to 1]", "2"], 3_149),
        ] {
            assert_eq!(called(function, arguments).expect_err("refused").code, code, "{arguments:?}");
        }
        let set = [written("[1]"), Value::Null, Value::Int(1)];
        assert_eq!(call(Function::JsonSet, &set).expect("no error"), Some(Value::Null));
        let list = [Value::Decimal { unscaled: 110, scale: 2 }, Value::Bool(true), Value::Null];
        let list = call_with_nulls(Function::JsonArray, &list).expect("a list");
        assert_eq!(text(&list.unwrap_or_default()), "[1.10, true, null]");
    }

    #[test]
    fn what_gets_too_long_is_refused() {
        let lists = format!("{}{}{}", "[".repeat(120), "0,".repeat(100_000) + "0", "]".repeat(120));
        assert_eq!(called(Function::JsonPretty, &[&lists]).expect_err("too long").code, 1_041);
        let control = "\u{1}".repeat(MAX_TEXT_BYTES / 4);
        assert_eq!(called(Function::JsonQuote, &[&control]).expect_err("too long").code, 1_041);
        let whole = format!("\"{}\"", "a".repeat(1 << 20));
        let paths: Vec<&str> = [whole.as_str()].into_iter().chain(["$"; 20]).collect();
        assert_eq!(called(Function::JsonExtract, &paths).expect_err("too long").code, 1_041);
    }

    #[test]
    fn documents_of_too_many_parts_are_refused() {
        let objects = |count: usize| format!("[{}0]", "{\"\":0},".repeat(count));
        assert_eq!(called(Function::JsonLength, &[&objects(1_000)]).expect("few"), "1001");
        assert_eq!(called(Function::JsonLength, &[&objects(400_000)]).expect_err("many").code, 1_041);
        // Signs within strings are no parts.
        let string = format!("[\"{}\", \"\\\"{}\"]", ",".repeat(MAX_PARTS), "[".repeat(MAX_PARTS));
        assert_eq!(called(Function::JsonLength, &[&string]).expect("two"), "2");
        assert_eq!(extent("{\"a]\": [[0], {}]}"), (3 + 2 * PARTS_OF_OBJECT + 2 * PARTS_OF_LIST, 3));
        // Those of a call count together.
        let half = Value::Json(objects(60_000));
        let set = |count: usize| {
            let pair = [written("$[0]"), half.clone()];
            let pairs = std::iter::repeat_n(pair, count).flatten();
            let values: Vec<Value> = std::iter::once(written("[]")).chain(pairs).collect();
            call(Function::JsonSet, &values)
        };
        assert!(set(1).is_ok());
        assert_eq!(set(2).expect_err("many").code, 1_041);
    }

    #[test]
    fn paths_to_too_many_places_are_refused() {
        let list = format!("[{}0]", "0,".repeat(900_000));
        let paths = |path: &str, count: usize| {
            let arguments: Vec<&str> =
                std::iter::once(list.as_str()).chain([path; 254]).take(count + 1).collect();
            called(Function::JsonExtract, &arguments)
        };
        assert!(paths("$[*]", 2).is_ok());
        assert_eq!(paths("$[*]", 254).expect_err("too long").code, 1_041);
        let deep = format!("${}[0]", "**[0]".repeat(20));
        assert_eq!(paths(&deep, 1).expect_err("too many").code, 1_235);
        let endless = format!("${}", ".a".repeat(1 << 20));
        let error = called(Function::JsonExtract, &["{}", &endless]).expect_err("too long");
        assert!(error.code == 3_143 && error.message.len() < 1_000, "{error}");
    }

    #[test]
    fn documents_that_nest_too_deeply_are_not_made() {
        let lists = |depth: usize| Value::Json(format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        let array = |depth: usize| call_with_nulls(Function::JsonArray, &[lists(depth)]);
        let object = |depth: usize| call_with_nulls(Function::JsonObject, &[written("a"), lists(depth)]);
        let set = |depth: usize| call(Function::JsonSet, &[written("{}"), written("$.a"), lists(depth)]);
        assert!(array(MAX_DEPTH - 1).is_ok() && object(MAX_DEPTH - 1).is_ok() && set(MAX_DEPTH - 1).is_ok());
        for made in [array(MAX_DEPTH), object(MAX_DEPTH), set(MAX_DEPTH)] {
            assert_eq!(made.expect_err("too deep").code, 3_157);
        }
    }

    #[test]
    fn large_lists_contain_each_other_soon() {
        let list = |from: usize| {
            let numbers: Vec<String> = (from..from + 30_000).map(|number| number.to_string()).collect();
            format!("[{}]", numbers.join(","))
        };
        let contains = |whole: &str, part: &str| called(Function::JsonContains, &[whole, part]);
        assert_eq!(contains(&list(0), &list(0)).expect("soon"), "1");
        assert_eq!(contains(&list(0), &list(1)).expect("soon"), "0");
        for (whole, part, expected) in [
            ("[1, 2, \"a\"]", "[1.0, \"a\"]", "1"),
            ("[1, [2]]", "2", "1"),
            ("[{\"a\": 1, \"b\": 2}]", "{\"a\": 1}", "1"),
            ("{\"a\": [1, 2]}", "{\"a\": 2}", "1"),
            ("[null]", "[null]", "1"),
            ("[null]", "[false]", "0"),
            ("1", "[1]", "0"),
            ("[]", "[]", "1"),
            ("{}", "1", "0"),
        ] {
            assert_eq!(contains(whole, part).expect("no error"), expected, "{whole} {part}");
        }
        let nested = format!("[{}[0]]", "[1],".repeat(30_000));
        let other = format!("[{}[0]]", "[2],".repeat(30_000));
        assert_eq!(contains(&nested, &other).expect("soon"), "0");
        let twos = format!("[{}3]", "0,".repeat(30_000));
        assert_eq!(contains(&nested, &twos).expect_err("too much").code, 1_235);
    }
}
