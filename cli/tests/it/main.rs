//! Integration tests of the whole workspace: crate directions, documents that must follow the code, and the
//! `duet` command itself.

mod command;
mod crate_directions;
mod decoders;
mod documents;
mod readme;
mod shell;
mod tidy;

use std::path::{Path, PathBuf};

/// Root of the repository.
fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the package lies in the workspace").to_owned()
}

/// Text of a file of the repository.
fn read(path: &str) -> String {
    let full = repository().join(path);
    std::fs::read_to_string(&full).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below `directory` (relative to the repository) whose name ends in `suffix`, sorted.
fn files_below(directory: &str, suffix: &str) -> Vec<PathBuf> {
    let mut open = vec![repository().join(directory)];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a readable directory") {
            let path = entry.expect("a readable entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                open.push(path);
            } else if name.ends_with(suffix) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
