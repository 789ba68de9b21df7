//! Statements written by hand: what generated ones do not reach.

/// The statements, in order.
pub fn statements() -> Vec<String> {
    let text = include_str!("statements.sql");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("--"));
    let mut statements: Vec<String> = lines.map(|line| line.trim_end_matches(';').to_owned()).collect();
    let expressions = include_str!("functions.sql").lines().map(str::trim);
    let expressions = expressions.filter(|line| !line.is_empty() && !line.starts_with("--"));
    statements.extend(expressions.map(|expression| format!("SELECT {expression}")));
    statements
}
