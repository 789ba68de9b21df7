//! Statements written by hand: what generated ones do not reach.

/// The statements, in order.
pub fn statements() -> Vec<String> {
    let text = include_str!("statements.sql");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("--"));
    lines.map(|line| line.trim_end_matches(';').to_owned()).collect()
}
