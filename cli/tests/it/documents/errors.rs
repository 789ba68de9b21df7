//! `docs/errors.md` against the codes.

use super::super::read;
use duet_protocol::error::ErrorCode;
use std::fmt::Write;

/// Splits `source` behind the first `mark`.
fn behind<'a>(source: &'a str, mark: &str) -> &'a str {
    source.split_once(mark).unwrap_or_else(|| panic!("`{mark}` is missing")).1
}

/// The table of an error enum, from its `code` function and the first documentation line of each variant.
fn table_of(path: &str, name: &str) -> String {
    let source = read(path);
    let body = behind(&source, &format!("pub enum {name} {{\n")).split("\n}").next().expect("an end");
    let codes =
        behind(&source, "pub const fn code(&self) -> u16 {").split("\n    }\n}").next().expect("an end");
    let lines: Vec<&str> = body.lines().collect();
    let mut table = String::from("\n| number | name | what happened |\n|---|---|---|\n");
    let mut count = 0;
    for line in codes.lines() {
        let Some(arm) = line.trim().strip_prefix("Self::") else { continue };
        let (pattern, code) = arm.trim_end_matches(',').split_once(" => ").expect("a code");
        let variant = pattern.split([' ', '(', '{']).next().expect("a name");
        let code: u16 = code.parse().expect("a number");
        let position = lines.iter().position(|line| {
            let line = line.strip_prefix("    ").unwrap_or_default();
            line.strip_prefix(variant).is_some_and(|rest| rest.starts_with([' ', ',', '(']))
        });
        let position = position.unwrap_or_else(|| panic!("{name}::{variant} is missing"));
        let above = lines[..position].iter().rev().skip_while(|line| !line.starts_with("    ///"));
        let documentation = above.take_while(|line| line.starts_with("    ///"));
        let meaning = documentation.last().map(|line| line.trim().trim_start_matches("/// "));
        writeln!(table, "| {code} | `{variant}` | {} |", meaning.expect("documentation")).expect("text");
        count += 1;
    }
    assert!(count > 10, "the codes of {name} were misread");
    table.push('\n');
    table
}

#[test]
fn the_lists_of_schema_row_and_scan_errors_follow_the_code() {
    let schema = table_of("protocol/src/schema/error.rs", "SchemaError");
    super::check_generated("docs/errors.md", "schema errors", &schema);
    let row = table_of("protocol/src/row/error.rs", "RowError");
    super::check_generated("docs/errors.md", "row errors", &row);
    let scan = table_of("protocol/src/scan_program/error.rs", "ScanError");
    super::check_generated("docs/errors.md", "scan errors", &scan);
}

#[test]
fn the_list_of_errors_follows_the_code() {
    let mut table = String::from("\n| number | name | retryable | what happened |\n|---|---|---|---|\n");
    for code in ErrorCode::ALL {
        let retryable = if code.is_retryable() { "yes" } else { "no" };
        writeln!(
            table,
            "| {} | `{}` | {retryable} | {} |",
            *code as u16,
            code.name(),
            code.description().trim()
        )
        .expect("text");
    }
    table.push('\n');
    super::check_generated("docs/errors.md", "cluster errors", &table);
}
