//! Documents whose tables follow from the code. Set `DUET_WRITE_DOCUMENTS=1` to rewrite them.

mod errors;
mod protocol;

use super::repository;
use std::sync::{Mutex, PoisonError};

/// Held while a document is read and rewritten: tests run in parallel.
static WRITING: Mutex<()> = Mutex::new(());

/// Compares the part of `document` between the markers of `name` with `expected`, or rewrites it.
fn check_generated(document: &str, name: &str, expected: &str) {
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let begin = format!("<!-- generated: {name} -->\n");
    let end = "<!-- end -->";
    let text = super::read(document);
    let (before, rest) =
        text.split_once(&begin).unwrap_or_else(|| panic!("{document} has no `{}`", begin.trim()));
    let (found, after) = rest.split_once(end).unwrap_or_else(|| panic!("{document}: `{name}` does not end"));
    if found == expected {
        return;
    }
    if std::env::var_os("DUET_WRITE_DOCUMENTS").is_some() {
        let text = format!("{before}{begin}{expected}{end}{after}");
        std::fs::write(repository().join(document), text).expect("the document is writable");
        return;
    }
    let different = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    panic!(
        "{document}: `{name}` does not follow the code; first difference: {different:?}. \
         Run the test with DUET_WRITE_DOCUMENTS=1 and look at the change."
    );
}
