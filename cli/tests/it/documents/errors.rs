//! `docs/errors.md` against the codes.

use duet_protocol::error::ErrorCode;
use std::fmt::Write;

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
