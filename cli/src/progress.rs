//! Progress bars and numbers for people.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error that counts rows; without a known number of rows it only counts. Hidden where nobody looks.
pub fn rows_bar(name: &str, rows: Option<u64>) -> ProgressBar {
    let (bar, template) = match rows {
        Some(rows) => (ProgressBar::new(rows), "{prefix:22} {bar:30} {human_pos:>9}/{human_len} {per_sec}"),
        None => (ProgressBar::no_length(), "{prefix:22} {spinner} {human_pos:>9} {per_sec}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_prefix(name.to_owned())
}

/// `336,776`
pub fn count_text(count: u64) -> String {
    indicatif::HumanCount(count).to_string()
}

/// `1.5 MiB`
pub fn bytes_text(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
